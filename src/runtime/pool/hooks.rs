//! The threads for cancel hooks: who runs them, that each finds a thread in time, and that those
//! which hang are noticed. What runs within one attempt, and in which order, is in `task::cell`.
//! `README.md` beside this file tells the life of a hook.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::hook_queue::StuckHook;
use super::shared::{Call, Group, Place, Seat, Shared, State};
use super::Pool;
use crate::task::cell::{Cell, Thread};
use crate::task::fact::{Fact, Role};
use crate::vocabulary::time::Time;

/// Threads that may be started for hooks, beside those of the pool.
const MAX_STARTS: u32 = 8;
/// What nobody has taken for so long goes to the thread of last resort.
const PATIENCE: Duration = Duration::from_millis(5);

/// The controller's part.
#[derive(Default)]
pub(super) struct HookThreads {
    /// Attempts whose hooks are to be run after this turn.
    pending: Vec<Arc<Cell>>,
    /// Hooks to be run again: when, and in which order they came.
    nudges: BTreeMap<(Time, u64), Arc<Cell>>,
    nudge_number: u64,
    /// Where the thread of last resort waits, once it exists.
    last_resort: Option<Arc<Seat>>,
    /// Threads started for the hooks that wait now.
    starts: u32,
}

impl HookThreads {
    /// When the next nudge is due.
    pub(super) fn next_nudge(&self) -> Time {
        self.nudges.keys().next().map_or(Time::NEVER, |(due, _)| *due)
    }

    /// Puts what is to be run now before the threads.
    pub(super) fn offer(&mut self, state: &mut State, now: Time) {
        while let Some(entry) = self.nudges.first_entry().filter(|entry| entry.key().0 <= now) {
            self.pending.push(entry.remove());
        }
        for cell in self.pending.drain(..) {
            state.hooks.push(cell, now);
            state.call_one();
        }
    }

    /// A thread that was refused is not one of those that hooks may have.
    pub(super) fn forget_start(&mut self) {
        self.starts = self.starts.saturating_sub(1);
    }

    /// No hook is run again.
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
    /// Has the hooks of a told attempt run after the turn, in which all flags are set first.
    pub(in crate::runtime) fn push_hooks(&mut self, cell: &Arc<Cell>) {
        self.hooks.pending.push(Arc::clone(cell));
    }

    /// Has the hooks of an attempt run again.
    pub(in crate::runtime) fn run_hooks_again(&mut self, cell: Arc<Cell>, due: Time) {
        self.hooks.nudge_number += 1;
        self.hooks.nudges.insert((due, self.hooks.nudge_number), cell);
    }

    /// Sees to it that every hook finds a thread, and that hooks which hang are noticed.
    pub(super) fn serve_hooks(&mut self, now: Time, facts: &mut Vec<Fact>) {
        let mut state = self.shared.state.lock();
        let again = state.hooks.look(now, facts);
        let (waiting, oldest) = state.hooks.waiting();
        let missing = waiting.saturating_sub(state.available());
        drop(state);

        self.wake_by(again);
        let Some(oldest) = oldest else {
            self.hooks.starts = 0;
            return;
        };
        self.start_for_hooks(missing, now, facts);
        if oldest.after(PATIENCE) > now {
            self.wake_by(oldest.after(PATIENCE));
        } else {
            self.call_last_resort(now, facts);
        }
    }

    fn start_for_hooks(&mut self, missing: u32, now: Time, facts: &mut Vec<Fact>) {
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

    fn call_last_resort(&mut self, now: Time, facts: &mut Vec<Fact>) {
        if let Some(seat) = &self.hooks.last_resort {
            // It takes all that is there, as soon as it can; nobody need look again.
            let _state = self.shared.state.lock();
            seat.call(Call::Work);
        } else {
            self.start_last_resort(now, facts);
            self.wake_by(self.refused_until.max(now));
        }
    }

    /// Starts the thread of last resort, if it is not there.
    pub(in crate::runtime) fn start_last_resort(&mut self, now: Time, facts: &mut Vec<Fact>) {
        if self.hooks.last_resort.is_some() {
            return;
        }
        if now < self.refused_until {
            return self.last_resort_refused();
        }

        let (place, seat) = (self.shared.place(Group::Beside), Arc::new(Seat::default()));
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

    /// The thread of last resort could not be had. The next hook that is registered asks again.
    pub(super) fn last_resort_refused(&mut self) {
        self.hooks.last_resort = None;
        self.shared.door.hook_thread_refused();
    }

    /// Hooks that outlived the grace of their attempts.
    pub(in crate::runtime) fn stuck_hooks(&self) -> Vec<StuckHook> {
        self.shared.state.lock().hooks.stuck()
    }
}

impl Shared {
    /// Runs the hooks of an attempt that this thread has taken up.
    pub(super) fn run_hooks(&self, cell: Arc<Cell>, thread: &Thread) {
        let next = cell.run_hooks();
        let was_abandoned = self.state.lock().hooks.end(&cell, thread);
        if was_abandoned {
            self.door.post(Fact::HookReturned);
        }
        match next {
            Some(due) => self.door.post(Fact::HooksDue { cell, due }),
            None => self.drop_value(cell),
        }
    }
}

/// The life of the thread of last resort: it runs the hooks that nobody else took in time.
fn work_on_hooks(place: Place, name: Arc<str>, seat: &Seat) {
    let shared = Arc::clone(&place.shared);
    let thread = match shared.begin_thread(name) {
        Ok(thread) => thread,
        Err(error) => return place.give_up(Role::Hooks, error),
    };

    // It takes nothing but hooks, so that a long attempt never keeps it from them.
    let mut state = shared.state.lock();
    loop {
        if let Some(cell) = state.hooks.begin(&thread, || shared.door.clock.now()) {
            drop(state);
            shared.run_hooks(cell, &thread);
            state = shared.state.lock();
        } else if state.closed {
            break;
        } else {
            seat.wait(&mut state);
        }
    }
    drop(state);
    shared.end_thread();
}
