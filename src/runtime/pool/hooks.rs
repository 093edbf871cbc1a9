//! The threads for cancel hooks: who runs them, that each finds a thread in time, and that those
//! which hang are noticed. What runs within one attempt, and in which order, is in `task::cell`.
//! `README.md` beside this file tells the life of a hook.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::shared::{Call, Group, Place, Seat, Shared, State};
use super::Pool;
use crate::task::cell::{Cell, Thread, SLOW_HOOK};
use crate::task::fact::Fact;
use crate::vocabulary::time::Time;

/// Threads that may be started for hooks, beside those of the pool.
const MAX_STARTS: u32 = 8;
/// What nobody has taken for so long goes to the thread of last resort.
const PATIENCE: Duration = Duration::from_millis(5);

/// Under the pool's lock: attempts whose hooks wait for a thread, and hooks that run right now.
#[derive(Default)]
pub(super) struct HookQueue {
    waiting: VecDeque<(Arc<Cell>, Time)>,
    runs: Vec<HookRun>,
}

/// Hooks of one attempt that run right now.
struct HookRun {
    cell: Arc<Cell>,
    thread: Thread,
    since: Time,
    /// It was said that they are slow.
    slow: bool,
    /// They count as abandoned.
    abandoned: bool,
}

/// The controller's part.
#[derive(Default)]
pub(super) struct Hooks {
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

/// A hook that outlived the grace of its attempt and still runs.
pub(in crate::runtime) struct StuckHook {
    pub(in crate::runtime) cell: Arc<Cell>,
    pub(in crate::runtime) thread: Thread,
    pub(in crate::runtime) since: Time,
}

impl HookQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes up the hooks of an attempt, to be run on this thread.
    pub(super) fn begin(
        &mut self,
        thread: &Thread,
        now: impl FnOnce() -> Time,
    ) -> Option<Arc<Cell>> {
        let (cell, _) = self.waiting.pop_front()?;
        self.runs.push(HookRun {
            cell: Arc::clone(&cell),
            thread: thread.clone(),
            since: now(),
            slow: false,
            abandoned: false,
        });
        Some(cell)
    }

    /// They have returned. Says whether they counted as abandoned.
    fn end(&mut self, cell: &Arc<Cell>, thread: &Thread) -> bool {
        // Another thread may hang in a hook of the same attempt.
        let is_own = |run: &HookRun| {
            Arc::ptr_eq(&run.cell, cell) && Arc::ptr_eq(&run.thread.name, &thread.name)
        };
        let found = self.runs.iter().position(is_own);
        found.is_some_and(|position| self.runs.swap_remove(position).abandoned)
    }

    /// Notices hooks that are slow or abandoned. Says when to look again.
    fn look(&mut self, now: Time, facts: &mut Vec<Fact>) -> Time {
        let mut again = Time::NEVER;
        for run in &mut self.runs {
            let ran = run.since.until(now);
            if !run.slow && ran >= SLOW_HOOK {
                run.slow = true;
                facts.push(Fact::HookSlow { cell: Arc::clone(&run.cell), ran });
            }
            // A hook of an attempt that has little grace left may still take as long as is normal.
            let slow_at = run.since.after(SLOW_HOOK);
            let late_at = slow_at.max(run.cell.until());
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
}

impl Hooks {
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
            state.hooks.waiting.push_back((cell, now));
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
    pub(in crate::runtime) fn nudge(&mut self, cell: Arc<Cell>, due: Time) {
        self.hooks.nudge_number += 1;
        self.hooks.nudges.insert((due, self.hooks.nudge_number), cell);
    }

    /// Sees to it that every hook finds a thread, and that hooks which hang are noticed.
    pub(super) fn serve_hooks(&mut self, now: Time, facts: &mut Vec<Fact>) {
        let mut state = self.shared.state.lock();
        let again = state.hooks.look(now, facts);
        let oldest = state.hooks.waiting.front().map(|(_, offered_at)| *offered_at);
        let waiting = u32::try_from(state.hooks.waiting.len()).unwrap_or(u32::MAX);
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
                self.refused(now);
                facts.push(Fact::ThreadRefused { error });
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
            .spawn("hook", threads.stack_size, move |name| work_on_hooks(&place, name, &waits));
        match started {
            Ok(()) => self.hooks.last_resort = Some(seat),
            Err(error) => {
                self.last_resort_refused();
                self.refused(now);
                facts.push(Fact::ThreadRefused { error });
            }
        }
    }

    /// The thread of last resort could not be had. The next hook that is registered asks again.
    pub(in crate::runtime) fn last_resort_refused(&mut self) {
        self.hooks.last_resort = None;
        self.shared.door.hook_thread_refused();
    }

    /// Hooks that outlived the grace of their attempts.
    pub(in crate::runtime) fn stuck_hooks(&self) -> Vec<StuckHook> {
        let state = self.shared.state.lock();
        let stuck = state.hooks.runs.iter().filter(|run| run.abandoned);
        stuck
            .map(|run| StuckHook {
                cell: Arc::clone(&run.cell),
                thread: run.thread.clone(),
                since: run.since,
            })
            .collect()
    }
}

impl Shared {
    /// Runs the hooks of an attempt that this thread has taken up.
    pub(super) fn run_hooks(&self, cell: Arc<Cell>, thread: &Thread) {
        let next = cell.run_hooks();
        let was_abandoned = self.state.lock().hooks.end(&cell, thread);
        if was_abandoned {
            self.door.tell(Fact::HookReturned);
        }
        match next {
            Some(due) => self.door.tell(Fact::HooksDue { cell, due }),
            None => self.drop_value(cell),
        }
    }
}

/// The life of the thread of last resort: it runs the hooks that nobody else took in time.
fn work_on_hooks(place: &Place, name: Arc<str>, seat: &Seat) {
    let shared = &place.shared;
    let thread = match shared.begin_thread(name) {
        Ok(thread) => thread,
        Err(error) => return shared.door.tell(Fact::HookThreadRefused { error }),
    };
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
