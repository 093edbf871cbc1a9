//! The threads for hooks: which thread runs a hook, that each hook finds a thread in time,
//! and that a hanging hook is noticed. The order of hooks within one attempt is in `task::cell`.
//! `README.md` in this folder describes the life of a hook.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::hook_queue::StuckHook;
use super::shared::{Call, Group, Place, Seat, Shared, State};
use super::Pool;
use crate::task::cell::{Cell, Thread};
use crate::task::fact::{Fact, HookOwner, Role};
use crate::task::on_signal::SignalHook;
use crate::vocabulary::time::RealTime;

/// The most threads that are started for waiting hooks, besides those that the arithmetic starts.
const MAX_STARTS: u32 = 8;
/// Hooks that no thread has taken for this long go to the thread of last resort.
const PATIENCE: Duration = Duration::from_millis(5);

/// The controller's part.
#[derive(Default)]
pub(super) struct HookThreads {
    /// Whose hooks run after this turn.
    pending: Vec<HookOwner>,
    /// Attempts whose nudges run again: when, and in which order they came.
    nudges: BTreeMap<(RealTime, u64), Arc<Cell>>,
    nudge_number: u64,
    /// Where the thread of last resort waits, once it exists.
    last_resort: Option<Arc<Seat>>,
    /// Threads started for the hooks that are waiting now.
    starts: u32,
}

impl HookThreads {
    /// When the next nudge is due.
    pub(super) fn next_nudge(&self) -> RealTime {
        self.nudges.keys().next().map_or(RealTime::NEVER, |(due, _)| *due)
    }

    /// How many owners wait for the end of the turn.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Offers the hooks that are due to the threads.
    pub(super) fn offer(&mut self, state: &mut State, now: RealTime) {
        while let Some(entry) = self.nudges.first_entry().filter(|entry| entry.key().0 <= now) {
            self.pending.push(HookOwner::Attempt(entry.remove()));
        }
        for owner in self.pending.drain(..) {
            state.hooks.push(owner, now);
            state.call_one();
        }
    }

    /// A refused thread does not count as one of those started for hooks.
    pub(super) fn forget_start(&mut self) {
        self.starts = self.starts.saturating_sub(1);
    }

    /// No nudge runs again.
    pub(super) fn forget_nudges(&mut self) {
        self.nudges.clear();
    }

    pub(super) fn call_home(&self) {
        if let Some(seat) = &self.last_resort {
            seat.call(Call::Work);
        }
    }
}

impl Pool {
    /// Has the hooks of a told attempt run after this turn, once all its flags are set.
    pub(in crate::runtime) fn push_hooks(&mut self, cell: &Arc<Cell>) {
        self.hooks.pending.push(HookOwner::Attempt(Arc::clone(cell)));
    }

    /// Has the hook of a signal run after this turn.
    pub(in crate::runtime) fn push_signal_hook(&mut self, hook: &Arc<SignalHook>) {
        self.hooks.pending.push(HookOwner::Signal(Arc::clone(hook)));
    }

    /// Has the nudges of an attempt run again.
    pub(in crate::runtime) fn run_hooks_again(&mut self, cell: Arc<Cell>, due: RealTime) {
        self.hooks.nudge_number += 1;
        self.hooks.nudges.insert((due, self.hooks.nudge_number), cell);
    }

    /// Makes sure that every hook finds a thread, and that hanging hooks are noticed.
    pub(super) fn serve_hooks(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        let mut state = self.shared.state.lock();
        let again = state.hooks.look(&self.shared.door.clock, now, facts);
        let (waiting, oldest) = state.hooks.waiting();
        let missing = waiting.saturating_sub(state.available(now));
        let next_slow = state.next_slow(now);
        drop(state);

        self.wake_by(again);
        let Some(oldest) = oldest else {
            self.hooks.starts = 0;
            return;
        };
        self.wake_by(next_slow);
        self.start_for_hooks(missing, now, facts);
        if oldest.after(PATIENCE) > now {
            self.wake_by(oldest.after(PATIENCE));
        } else {
            self.call_last_resort(now, facts);
        }
    }

    fn start_for_hooks(&mut self, missing: u32, now: RealTime, facts: &mut Vec<Fact>) {
        for _ in 0..missing.min(MAX_STARTS - self.hooks.starts) {
            if now < self.refused_until {
                // The thread of last resort may hang in a hook: look again.
                self.wake_by(self.refused_until);
                break;
            }
            self.hooks.starts += 1;
            if let Err(error) = self.start_thread() {
                facts.push(self.refused(now, error));
            }
        }
    }

    fn call_last_resort(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        if let Some(seat) = &self.hooks.last_resort {
            // It takes all waiting hooks as soon as it can, so no further look is needed.
            let _state = self.shared.state.lock();
            seat.call(Call::Work);
        } else {
            self.start_last_resort(now, facts);
            self.wake_by(self.refused_until.max(now));
        }
    }

    /// Starts the thread of last resort, if it does not exist.
    pub(in crate::runtime) fn start_last_resort(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        if self.hooks.last_resort.is_some() {
            return;
        }
        if now < self.refused_until {
            return self.last_resort_refused();
        }

        let (place, seat) = (self.shared.place(Group::LastResort), Arc::new(Seat::default()));
        let waits = Arc::clone(&seat);
        let threads = &self.shared.threads;
        let started = threads
            .spawn("hook", threads.stack_size, move |name| work_on_hooks(place, name, &waits));
        match started {
            Ok(()) => self.hooks.last_resort = Some(seat),
            Err(error) => {
                self.last_resort_refused();
                facts.push(self.refused(now, error));
            }
        }
    }

    /// The system refused the thread of last resort. The next registered hook asks for it again.
    pub(super) fn last_resort_refused(&mut self) {
        self.hooks.last_resort = None;
        self.shared.door.last_resort_refused();
    }

    /// Hooks that outlived their grace.
    pub(in crate::runtime) fn stuck_hooks(&self) -> Vec<StuckHook> {
        self.shared.state.lock().hooks.stuck()
    }
}

impl Shared {
    /// Runs the hooks that this thread has taken up.
    pub(super) fn run_hooks(&self, owner: HookOwner, thread: &Thread) {
        let (mut next, mut again) = (None, false);
        match &owner {
            HookOwner::Attempt(cell) => next = cell.run_hooks(),
            HookOwner::Signal(hook) => again = self.run_signal_hook(hook),
        }
        let mut state = self.state.lock();
        let was_abandoned = state.hooks.end(&owner, thread);
        if again {
            state.hooks.push(owner.clone(), self.door.clock.real.now());
        }
        drop(state);
        if was_abandoned {
            self.door.post(Fact::HookReturned);
        }
        match (owner, next) {
            (HookOwner::Attempt(cell), Some(due)) => self.door.post(Fact::HooksDue { cell, due }),
            (owner, _) => self.drop_value(owner),
        }
    }

    /// Returns whether the hook is to run again.
    fn run_signal_hook(&self, hook: &Arc<SignalHook>) -> bool {
        // It may have waited until a shutdown began, in which it would come too late.
        if self.door.is_shutting_down() {
            return false;
        }
        for message in hook.run() {
            let owner = HookOwner::Signal(Arc::clone(hook));
            self.door.post(Fact::HookPanicked { owner, message });
        }
        hook.end()
    }
}

/// The life of the thread of last resort, which runs the hooks that no other thread took in time.
fn work_on_hooks(mut place: Place, name: Arc<str>, seat: &Seat) {
    let shared = Arc::clone(&place.shared);
    let thread = match shared.begin_thread(name) {
        Ok(thread) => thread,
        Err(error) => return place.give_up(Role::Hooks, error),
    };
    place.has_come();

    // It takes nothing but hooks, so that a long attempt never keeps it from them.
    let mut state = shared.state.lock();
    loop {
        if let Some(owner) = state.hooks.begin(&thread, &shared.door.clock) {
            state.last_resort_busy = true;
            drop(state);
            shared.run_hooks(owner, &thread);
            state = shared.state.lock();
            state.last_resort_busy = false;
            shared.note_rest();
        } else if state.closed {
            break;
        } else {
            seat.wait(&mut state);
        }
    }
    drop(state);
    shared.end_thread();
}
