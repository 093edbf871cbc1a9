//! Errands: what runs on the pool's threads outside the permits. These are the hooks of attempts
//! and signals, and the drops of bodies and other user values. Under the pool's lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::platform::model_clock::ModelClock;
use crate::platform::user_value::Kept;
use crate::task::cell::{Cell, Thread};
use crate::task::fact::{Fact, HookOwner};
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::time::{RealTime, Time};

/// So many errands may run before the others wait. Those that are slow no longer count, while few
/// are stuck.
const MAX_RUNS: u32 = 8;

pub(super) enum Errand {
    Hooks(HookOwner),
    /// The drop of a body that will not run again.
    Close(Arc<Cell>),
    /// The drop of a user value that was left on the controller.
    Drop(Kept),
}

#[derive(Default)]
pub(super) struct Errands {
    hooks: VecDeque<(HookOwner, RealTime)>,
    drops: VecDeque<(Errand, RealTime)>,
    runs: Vec<Run>,
    /// As many errands and attempts are stuck as `max_abandoned` allows, so that slow ones count.
    pub(super) crowded: bool,
}

/// An errand that is being run.
struct Run {
    of: Of,
    thread: Thread,
    began: RealTime,
    since: Time,
    /// It has run for [`SLOW`].
    slow: bool,
    /// It counts as abandoned. Whether a closing does is for the machine to say.
    abandoned: bool,
}

/// What a run is about.
#[derive(Clone)]
pub(in crate::runtime) enum Of {
    Hooks(HookOwner),
    Close(Arc<Cell>),
    /// Something that an attempt left.
    Left(Arc<Cell>),
    Value,
}

/// A hook that outlived its grace, or the drop of what an attempt left, that still runs.
pub(in crate::runtime) struct StuckErrand {
    pub(in crate::runtime) owner: HookOwner,
    pub(in crate::runtime) is_hook: bool,
    pub(in crate::runtime) thread: Thread,
    pub(in crate::runtime) since: Time,
}

impl Errand {
    fn of(&self) -> Of {
        match self {
            Self::Hooks(owner) => Of::Hooks(owner.clone()),
            Self::Close(cell) => Of::Close(Arc::clone(cell)),
            Self::Drop(_) => Of::Value,
        }
    }
}

impl Of {
    /// Whether a manual clock does not wait for it.
    fn is_ignored(&self) -> bool {
        match self {
            Self::Hooks(HookOwner::Attempt(cell)) | Self::Close(cell) | Self::Left(cell) => {
                cell.record.is_ignored()
            }
            Self::Hooks(HookOwner::TaskEnd(record)) => record.is_ignored(),
            Self::Hooks(HookOwner::Signal(_)) | Self::Value => false,
        }
    }
}

impl Errands {
    pub(super) fn push_hooks(&mut self, owner: HookOwner, now: RealTime) {
        self.hooks.push_back((owner, now));
    }

    pub(super) fn push_drop(&mut self, errand: Errand, now: RealTime) {
        self.drops.push_back((errand, now));
    }

    /// How many hook errands wait, and since when the first of them waits.
    pub(super) fn waiting_hooks(&self) -> (u32, Option<RealTime>) {
        let oldest = self.hooks.front().map(|(_, offered_at)| *offered_at);
        (u32::try_from(self.hooks.len()).unwrap_or(u32::MAX), oldest)
    }

    pub(super) fn waiting_drops(&self) -> usize {
        self.drops.len()
    }

    /// How many more errands may run.
    pub(super) fn room(&self) -> u32 {
        let counts = |run: &&Run| self.crowded || !run.slow;
        let running = self.runs.iter().filter(counts).count();
        MAX_RUNS.saturating_sub(u32::try_from(running).unwrap_or(u32::MAX))
    }

    /// How many of those that run are slow.
    pub(super) fn slow(&self) -> u32 {
        let slow = self.runs.iter().filter(|run| run.slow).count();
        u32::try_from(slow).unwrap_or(u32::MAX)
    }

    /// How many errands a thread that looks for work would take.
    pub(super) fn takeable(&self) -> u32 {
        let drops = u32::try_from(self.drops.len()).unwrap_or(u32::MAX);
        self.waiting_hooks().0.saturating_add(if drops == 0 { 0 } else { drops.min(self.room()) })
    }

    /// Takes up an errand, to be run on this thread. Hooks go first, because the grace of their
    /// attempts is running. With `all`, there is no bound for drops.
    pub(super) fn take(
        &mut self,
        thread: &Thread,
        all: bool,
        clock: &ModelClock,
    ) -> Option<Errand> {
        if !self.hooks.is_empty() {
            return self.take_hooks(thread, clock).map(Errand::Hooks);
        }
        if self.drops.is_empty() || !(all || self.room() > 0) {
            return None;
        }
        let (errand, _) = self.drops.pop_front()?;
        self.begin(errand.of(), thread, clock);
        Some(errand)
    }

    /// Takes up the hooks of one owner, to be run on this thread.
    pub(super) fn take_hooks(&mut self, thread: &Thread, clock: &ModelClock) -> Option<HookOwner> {
        let (owner, _) = self.hooks.pop_front()?;
        self.begin(Of::Hooks(owner.clone()), thread, clock);
        Some(owner)
    }

    /// Notes what a thread runs, which is one thing at a time.
    pub(super) fn begin(&mut self, of: Of, thread: &Thread, clock: &ModelClock) {
        let (began, since) = (clock.real.now(), clock.now());
        let thread = thread.clone();
        self.runs.push(Run { of, thread, began, since, slow: false, abandoned: false });
    }

    /// The thread has done it. Returns whether it counted as abandoned.
    pub(super) fn end(&mut self, thread: &Thread) -> bool {
        let is_own = |run: &Run| Arc::ptr_eq(&run.thread.name, &thread.name);
        let found = self.runs.iter().position(is_own);
        found.is_some_and(|position| self.runs.swap_remove(position).abandoned)
    }

    /// Notices what is slow or abandoned. What concerns no attempt (any more) has the
    /// supervisor's `grace`. Returns when to look again.
    pub(super) fn look(
        &mut self,
        clock: &ModelClock,
        now: RealTime,
        grace: Duration,
        facts: &mut Vec<Fact>,
    ) -> RealTime {
        let mut again = RealTime::NEVER;
        for run in &mut self.runs {
            let (since, ran) = (run.since, run.began.until(now));
            if !run.slow && ran >= SLOW {
                run.slow = true;
                match &run.of {
                    Of::Hooks(owner) => {
                        facts.push(Fact::HookSlow { owner: owner.clone(), ran });
                    }
                    Of::Close(cell) => {
                        facts.push(Fact::ClosingSlow { attempt: cell.attempt, since });
                    }
                    Of::Left(_) | Of::Value => {}
                }
            }
            // Even if its attempt has little grace left, a hook may take the normal time.
            let slow_at = run.began.after(SLOW);
            let late_at = match &run.of {
                Of::Hooks(owner) => slow_at.max(clock.wakes_at(owner.until(since, grace))),
                Of::Left(_) => run.began.after(grace.max(SLOW)),
                Of::Close(_) | Of::Value => RealTime::NEVER,
            };
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

    /// The number of errands that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.hooks.len() + self.drops.len()
    }

    /// Since when the oldest of them waits.
    pub(super) fn oldest(&self) -> Option<RealTime> {
        let drop = self.drops.front().map(|(_, offered_at)| *offered_at);
        self.waiting_hooks().1.into_iter().chain(drop).min()
    }

    /// What is being run that a manual clock waits for, by which thread, and since when.
    pub(super) fn running(&self) -> Vec<(Of, Thread, Time)> {
        let awaited = self.runs.iter().filter(|run| !run.of.is_ignored());
        awaited.map(|run| (run.of.clone(), run.thread.clone(), run.since)).collect()
    }

    /// How many threads run what a manual clock does not wait for.
    pub(super) fn ignored(&self) -> u32 {
        let ignored = self.runs.iter().filter(|run| run.of.is_ignored()).count();
        u32::try_from(ignored).unwrap_or(u32::MAX)
    }

    /// What counts as abandoned and belongs to an attempt.
    pub(super) fn stuck(&self) -> Vec<StuckErrand> {
        let stuck = self.runs.iter().filter(|run| run.abandoned);
        let entry = |run: &Run| {
            let (owner, is_hook) = match &run.of {
                Of::Hooks(owner) => (owner.clone(), true),
                Of::Left(cell) => (HookOwner::Attempt(Arc::clone(cell)), false),
                Of::Close(_) | Of::Value => return None,
            };
            Some(StuckErrand { owner, is_hook, thread: run.thread.clone(), since: run.since })
        };
        stuck.filter_map(entry).collect()
    }

    /// The number of waiting errands that must not be lost when the pool is closed: drops, and
    /// callbacks of `on_end`.
    pub(super) fn waiting_duties(&self) -> usize {
        let is_duty = |(owner, _): &&(HookOwner, _)| matches!(owner, HookOwner::TaskEnd(_));
        self.drops.len() + self.hooks.iter().filter(is_duty).count()
    }

    /// The number of values that are not dropped, and of tasks whose callbacks have not returned,
    /// that no report names.
    pub(super) fn undropped(&self) -> usize {
        let unnamed = |run: &&Run| match &run.of {
            Of::Hooks(HookOwner::Attempt(_) | HookOwner::Signal(_)) => false,
            Of::Close(cell) => !cell.is_abandoned(),
            Of::Hooks(HookOwner::TaskEnd(_)) | Of::Left(_) | Of::Value => !run.abandoned,
        };
        self.waiting_duties() + self.runs.iter().filter(unnamed).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::sync::Mutex;
    use crate::platform::user_value::UserValue;
    use crate::task::on_signal::SignalHook;
    use crate::vocabulary::signal::Signal;

    fn thread(n: usize) -> Thread {
        Thread { name: format!("w{n}").into(), tid: None }
    }

    /// A drop that notes its number.
    fn drop_of(n: u32, dropped: &Arc<Mutex<Vec<u32>>>) -> Errand {
        struct Notes(u32, Arc<Mutex<Vec<u32>>>);
        impl Drop for Notes {
            fn drop(&mut self) {
                self.1.lock().push(self.0);
            }
        }
        Errand::Drop(UserValue::new(Box::new(Notes(n, Arc::clone(dropped)))))
    }

    #[test]
    fn hooks_go_first_and_no_more_than_eight_drops_run_unless_they_are_slow() {
        let (clock, mut errands) = (ModelClock::start_now(), Errands::default());
        let (now, dropped) = (clock.real.now(), Arc::default());
        for n in 0..20 {
            errands.push_drop(drop_of(n, &dropped), now);
        }
        let hook = Arc::new(SignalHook::new(Signal::HUP, || ()));
        errands.push_hooks(HookOwner::Signal(hook), now);

        let first = errands.take(&thread(0), false, &clock);
        assert!(matches!(first, Some(Errand::Hooks(_))));
        let take = |errands: &mut Errands, from: usize| {
            let drops = (from..).map_while(|n| errands.take(&thread(n), false, &clock));
            drops.take(50).count()
        };
        // The hook runs as well.
        assert_eq!((take(&mut errands, 1), errands.takeable(), errands.room()), (7, 0, 0));
        assert_eq!(*dropped.lock(), (0..7).collect::<Vec<_>>());

        let mut facts = Vec::new();
        let later = now.after(SLOW + SLOW);
        errands.look(&clock, later, Duration::ZERO, &mut facts);
        errands.crowded = true;
        assert_eq!(take(&mut errands, 20), 0);
        errands.crowded = false;
        assert_eq!((take(&mut errands, 20), errands.waiting_drops()), (8, 5));
        // At the end, all that is left is taken.
        assert!(errands.take(&thread(30), true, &clock).is_some());
        assert!(errands.take(&thread(31), false, &clock).is_none());
    }
}
