//! Hooks that wait for a thread, and hooks that are running; under the pool's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::platform::model_clock::ModelClock;
use crate::task::cell::{Thread, SLOW_HOOK};
use crate::task::fact::{Fact, HookOwner};
use crate::vocabulary::time::{RealTime, Time};

#[derive(Default)]
pub(super) struct HookQueue {
    waiting: VecDeque<(HookOwner, RealTime)>,
    runs: Vec<HookRun>,
}

/// Hooks of one owner that are running.
struct HookRun {
    owner: HookOwner,
    thread: Thread,
    began: RealTime,
    /// The same moment, for reports.
    since: Time,
    /// Whether they were reported as slow.
    slow: bool,
    /// Whether they count as abandoned.
    abandoned: bool,
}

/// A hook that outlived its grace and still runs.
pub(in crate::runtime) struct StuckHook {
    pub(in crate::runtime) owner: HookOwner,
    pub(in crate::runtime) thread: Thread,
    pub(in crate::runtime) since: Time,
}

impl HookQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes up the hooks of one owner, to be run on this thread.
    pub(super) fn begin(&mut self, thread: &Thread, clock: &ModelClock) -> Option<HookOwner> {
        let (owner, _) = self.waiting.pop_front()?;
        self.runs.push(HookRun {
            owner: owner.clone(),
            thread: thread.clone(),
            began: clock.real.now(),
            since: clock.now(),
            slow: false,
            abandoned: false,
        });
        Some(owner)
    }

    /// They have returned. Returns whether they counted as abandoned.
    pub(super) fn end(&mut self, owner: &HookOwner, thread: &Thread) -> bool {
        // Another thread may hang in a hook of the same attempt.
        let is_own =
            |run: &HookRun| run.owner.is(owner) && Arc::ptr_eq(&run.thread.name, &thread.name);
        let found = self.runs.iter().position(is_own);
        found.is_some_and(|position| self.runs.swap_remove(position).abandoned)
    }

    /// Notices hooks that are slow or abandoned. Returns when to look again.
    pub(super) fn look(
        &mut self,
        clock: &ModelClock,
        now: RealTime,
        facts: &mut Vec<Fact>,
    ) -> RealTime {
        let mut again = RealTime::NEVER;
        for run in &mut self.runs {
            let ran = run.began.until(now);
            if !run.slow && ran >= SLOW_HOOK {
                run.slow = true;
                facts.push(Fact::HookSlow { owner: run.owner.clone(), ran });
            }
            // Even if its attempt has little grace left, a hook may take the normal time.
            let slow_at = run.began.after(SLOW_HOOK);
            let late_at = slow_at.max(clock.wakes_at(run.owner.until(run.since)));
            if !run.abandoned && late_at <= now {
                run.abandoned = true;
                facts.push(Fact::HookAbandoned);
            }
            again = match (run.slow, run.abandoned) {
                (false, _) => again.min(slow_at),
                (true, false) => again.min(late_at),
                (true, true) => again,
            };
        }
        again
    }

    pub(super) fn push(&mut self, owner: HookOwner, now: RealTime) {
        self.waiting.push_back((owner, now));
    }

    /// How many owners wait, and since when the first of them waits.
    pub(super) fn waiting(&self) -> (u32, Option<RealTime>) {
        let oldest = self.waiting.front().map(|(_, offered_at)| *offered_at);
        (u32::try_from(self.waiting.len()).unwrap_or(u32::MAX), oldest)
    }

    /// Whose hooks are running, and the threads that run them.
    pub(super) fn running(&self) -> impl Iterator<Item = (&HookOwner, &Thread)> {
        self.runs.iter().map(|run| (&run.owner, &run.thread))
    }

    /// The hooks that outlived their grace.
    pub(super) fn stuck(&self) -> Vec<StuckHook> {
        let stuck = self.runs.iter().filter(|run| run.abandoned);
        stuck
            .map(|run| StuckHook {
                owner: run.owner.clone(),
                thread: run.thread.clone(),
                since: run.since,
            })
            .collect()
    }
}
