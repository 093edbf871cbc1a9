//! The threads for errands: each finds a thread in time, few threads are started for them, and one
//! that hangs is noticed. The order of hooks within one attempt is in `task::cell`.
//! `README.md` in this folder describes the life of a hook and of a drop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::errands::{Errand, Of, StuckErrand};
use super::shared::{Call, Group, Locked, Place, Seat, Shared, State};
use super::Pool;
use crate::machine::pool::MAX_REPLACED;
use crate::platform::user_value::Kept;
use crate::task::cell::{Cell, Thread};
use crate::task::current;
use crate::task::fact::{Fact, HookOwner, Returned, Role};
use crate::task::on_signal::SignalHook;
use crate::task::record::Record;
use crate::task::token::CancelToken;
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::RealTime;

/// While no errand has waited for longer than this, one thread at a time is started for them: most
/// are over in microseconds, and a burst of them needs no more. Hooks that no thread has taken for
/// this long go to the thread of last resort as well.
const PATIENCE: Duration = Duration::from_millis(5);

/// The controller's part.
#[derive(Default)]
pub(super) struct ErrandThreads {
    /// Whose hooks run after this turn.
    pending: Vec<HookOwner>,
    /// Bodies and values to be dropped after this turn.
    drops: Vec<Errand>,
    /// Attempts whose nudges run again: when, and in which order they came.
    nudges: SortedMap<(RealTime, u64), Arc<Cell>>,
    nudge_number: u64,
    /// Where the thread of last resort waits, once it exists.
    last_resort: Option<Arc<Seat>>,
}

impl ErrandThreads {
    /// When the next nudge is due.
    pub(super) fn next_nudge(&self) -> RealTime {
        self.nudges.first().map_or(RealTime::NEVER, |(due, _)| *due)
    }

    /// How many errands wait for the end of the turn.
    pub(super) fn pending(&self) -> usize {
        self.pending.len() + self.drops.len()
    }

    /// Has user values dropped after this turn.
    pub(super) fn push_kept(&mut self, kept: Vec<Kept>) {
        self.drops.extend(kept.into_iter().map(Errand::Drop));
    }

    /// Offers the hooks that are due, and the drops, to the threads.
    pub(super) fn offer(&mut self, state: &mut State, now: RealTime) {
        while let Some((_, cell)) = self.nudges.pop_first_if(|(due, _)| *due <= now) {
            self.pending.push(HookOwner::Attempt(cell));
        }
        for owner in self.pending.drain(..) {
            state.errands.push_hooks(owner, now);
        }
        for errand in self.drops.drain(..) {
            state.errands.push_drop(errand, now);
        }
    }

    /// No nudge runs again.
    pub(super) fn forget_nudges(&mut self) {
        self.nudges.clear();
    }

    pub(super) fn call_home(&self, state: &mut Locked<'_>) {
        state.call(self.last_resort.clone(), Call::Work);
    }
}

impl Pool {
    /// Has the hooks of a told attempt run after this turn, once all its flags are set.
    pub(in crate::runtime) fn push_hooks(&mut self, cell: &Arc<Cell>) {
        self.errands.pending.push(HookOwner::Attempt(Arc::clone(cell)));
    }

    /// Has the hook of a signal run after this turn.
    pub(in crate::runtime) fn push_signal_hook(&mut self, hook: &Arc<SignalHook>) {
        self.errands.pending.push(HookOwner::Signal(Arc::clone(hook)));
    }

    /// Has the callbacks of a task that is over run after this turn.
    pub(in crate::runtime) fn push_end_calls(&mut self, record: Arc<Record>) {
        self.errands.pending.push(HookOwner::TaskEnd(record));
    }

    /// Has a body dropped after this turn.
    pub(in crate::runtime) fn push_close(&mut self, cell: Arc<Cell>) {
        self.errands.drops.push(Errand::Close(cell));
    }

    /// Has user values dropped after this turn.
    pub(in crate::runtime) fn push_kept(&mut self, kept: Vec<Kept>) {
        self.errands.push_kept(kept);
    }

    /// Has the nudges of an attempt run again.
    pub(in crate::runtime) fn run_hooks_again(&mut self, cell: Arc<Cell>, due: RealTime) {
        self.errands.nudge_number += 1;
        self.errands.nudges.insert((due, self.errands.nudge_number), cell);
    }

    /// Makes sure that every errand finds a thread, and that hanging ones are noticed.
    pub(super) fn serve_errands(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        let mut state = self.shared.lock();
        let again = state.errands.look(&self.shared.door.clock, now, self.grace, facts);
        let (takeable, room) = (state.errands.takeable(), state.errands.room());
        let (_, oldest_hook) = state.errands.waiting_hooks();
        let is_late = state.errands.oldest().is_some_and(|oldest| oldest.after(PATIENCE) <= now);
        // Threads that were called for other work may take an errand first.
        let work = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
        let wanted = if takeable == 0 { 0 } else { takeable.saturating_add(work) };
        let (available, awake) = state.available(now);
        let nobody_comes = available == 0 && state.on_errands <= state.errands.slow();
        for _ in awake..wanted.min(available) {
            state.call_one();
        }
        let (next_slow, slow) = (state.next_slow(now), state.slow(now));
        drop(state);

        self.wake_by(again);
        let missing = takeable.saturating_sub(available);
        // Those that have not come yet count as well. Of those that hang before they come, a few
        // are replaced.
        let room = room.min((MAX_REPLACED + 1).saturating_sub(slow));
        let most = if is_late { room } else { room.min(u32::from(nobody_comes)) };
        self.start_for_errands(missing.min(most.saturating_sub(awake)), now, facts);
        // More may start later, or those that were asked for may never come.
        if missing > 0 && (!is_late || awake > 0) {
            self.wake_by(now.after(PATIENCE));
        }
        if takeable > 0 {
            self.wake_by(next_slow);
            // A thread takes it up after this look. It may hang, and nothing else may happen.
            self.wake_by(now.after(SLOW));
        }

        let Some(oldest) = oldest_hook else { return };
        if oldest.after(PATIENCE) > now {
            self.wake_by(oldest.after(PATIENCE));
        } else {
            self.call_last_resort(now, facts);
        }
    }

    fn start_for_errands(&mut self, starts: u32, now: RealTime, facts: &mut Vec<Fact>) {
        for _ in 0..starts {
            if now < self.refused_until {
                // The thread of last resort may hang in a hook: look again.
                return self.wake_by(self.refused_until);
            }
            if let Err(error) = self.start_thread() {
                facts.push(self.refused(now, error));
            }
        }
    }

    fn call_last_resort(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        if let Some(seat) = &self.errands.last_resort {
            // It takes all waiting hooks as soon as it can, so no further look is needed.
            self.shared.lock().call(Some(Arc::clone(seat)), Call::Work);
        } else {
            self.start_last_resort(now, facts);
            self.wake_by(self.refused_until.max(now));
        }
    }

    /// Starts the thread of last resort, if it does not exist.
    pub(in crate::runtime) fn start_last_resort(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        if self.errands.last_resort.is_some() {
            return;
        }
        if now < self.refused_until {
            return self.no_last_resort();
        }

        let (place, seat) = (self.shared.place(Group::LastResort), Arc::new(Seat::default()));
        let waits = Arc::clone(&seat);
        let threads = &self.shared.threads;
        let started = threads
            .spawn("hook", threads.stack_size, move |name| work_on_hooks(place, name, &waits));
        match started {
            Ok(()) => self.errands.last_resort = Some(seat),
            Err(error) => facts.push(self.last_resort_refused(now, error)),
        }
    }

    /// The system refused the thread of last resort.
    pub(super) fn last_resort_refused(&mut self, now: RealTime, error: io::Error) -> Fact {
        self.no_last_resort();
        self.make_room();
        self.refused(now, error)
    }

    /// The next registered hook asks for the thread of last resort again.
    fn no_last_resort(&mut self) {
        self.errands.last_resort = None;
        self.shared.door.last_resort_refused();
    }

    /// Hooks that outlived their grace, and drops of what attempts left.
    pub(in crate::runtime) fn stuck_errands(&self) -> Vec<StuckErrand> {
        self.shared.state.lock().errands.stuck()
    }
}

impl Shared {
    /// Runs an errand that this thread has taken up.
    pub(super) fn run_errand(&self, errand: Errand, thread: &Thread) {
        match errand {
            Errand::Hooks(owner) => self.run_hooks(owner, thread),
            Errand::Close(cell) => self.close(cell, thread),
            Errand::Drop(value) => {
                self.drop_value(value);
                self.end_errand(thread, None);
            }
        }
    }

    /// Runs the hooks that this thread has taken up.
    fn run_hooks(&self, owner: HookOwner, thread: &Thread) {
        let (mut next, mut again) = (None, false);
        match &owner {
            HookOwner::Attempt(cell) => next = cell.run_hooks(),
            HookOwner::Signal(hook) => again = self.run_signal_hook(hook),
            HookOwner::TaskEnd(record) => record.run_end_calls(|message| {
                self.door.post(Fact::HookPanicked { owner: owner.clone(), message });
            }),
        }
        self.end_errand(thread, again.then(|| owner.clone()));
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

    /// Drops a body that will not run again.
    fn close(&self, cell: Arc<Cell>, thread: &Thread) {
        if let Some((load, _)) = cell.claim(thread) {
            let current = current::enter(&CancelToken(Arc::clone(&cell)));
            self.drop_value(load);
            drop(current);
            cell.left();
        }
        self.end_errand(thread, None);
        self.door.post(Fact::Closed { attempt: cell.attempt });
        self.drop_value(cell);
    }

    /// Reports an attempt, and drops what it left: its end does not wait for that.
    pub(super) fn report_and_drop<T>(
        &self,
        returned: Returned,
        cell: &Arc<Cell>,
        left: Option<T>,
        thread: &Thread,
    ) {
        // Noted first, so that whoever serves the report notices if the drop hangs.
        if left.is_some() {
            let of = Of::Left(Arc::clone(cell));
            self.state.lock().errands.begin(of, thread, &self.door.clock);
        }
        self.door.post(Fact::Returned(returned));
        if let Some(left) = left {
            self.drop_value(left);
            self.end_errand(thread, None);
        }
    }

    /// The thread has done its errand. Hooks may be to run `again`.
    fn end_errand(&self, thread: &Thread, again: Option<HookOwner>) {
        let mut state = self.state.lock();
        let was_abandoned = state.errands.end(thread);
        if let Some(owner) = again {
            state.errands.push_hooks(owner, self.door.clock.real.now());
        }
        drop(state);
        if was_abandoned {
            self.door.post(Fact::HookReturned);
        }
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
        if let Some(owner) = state.errands.take_hooks(&thread, &shared.door.clock) {
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
