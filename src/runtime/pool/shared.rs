//! What the controller and the threads of the pool share, under one lock: the waiting work, the
//! idle threads, and the thread counts.

use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::errands::Errands;
use crate::machine::pool::{Counts, SLOW_SET_UP};
use crate::machine::Finality;
use crate::platform::linger::Linger;
use crate::platform::sync::atomic::{AtomicBool, Ordering};
use crate::platform::sync::channel::Receiver;
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::platform::threads::{ThreadOptions, ThreadSetup};
use crate::runtime::service::Chores;
use crate::task::cell::Cell;
use crate::task::door::Door;
use crate::task::fact::Fact;
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::RealTime;

/// Something for a worker to do.
pub(in crate::runtime) enum Work {
    Attempt(Attempt),
    Examine(Vec<Examinee>),
    Chores(Arc<Chores>),
    /// To be logged.
    Warn(String),
}

/// One attempt on its way to a thread. The body is in the cell, so that a revocation can take it
/// back.
pub(in crate::runtime) struct Attempt {
    pub(in crate::runtime) cell: Arc<Cell>,
    pub(in crate::runtime) finality: Finality,
    /// Whether the claim must be reported before the return.
    pub(in crate::runtime) reports_claim: bool,
    /// Why it can never have the thread that it asks for. It fails in place of running.
    pub(in crate::runtime) no_thread: Option<io::Error>,
}

/// An attempt that asks for a dedicated thread.
pub(in crate::runtime) struct Dedicated {
    pub(in crate::runtime) attempt: Attempt,
    pub(in crate::runtime) options: Box<ThreadOptions>,
    pub(in crate::runtime) offered_at: RealTime,
}

/// An attempt that is silent, overdue or abandoned, or an abandoned closing, whose thread is to be
/// examined.
pub(in crate::runtime) struct Examinee {
    pub(in crate::runtime) cell: Arc<Cell>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Signalled when a thread has left.
    pub(super) left: Condvar,
    /// Where threads find facts that the controller no longer takes.
    pub(super) unheard: Receiver<Fact>,
    pub(super) door: Arc<Door>,
    pub(super) linger: Linger,
    pub(super) threads: ThreadSetup,
}

#[derive(Default)]
pub(super) struct State {
    /// The work, with the time at which it was offered.
    pub(super) queue: VecDeque<(Work, RealTime)>,
    pub(super) errands: Errands,
    /// Attempts whose dedicated threads came but could not serve them.
    pub(super) unserved: Vec<Dedicated>,
    /// Idle threads, the latest last. The latest is reused first, so that the others can retire.
    pub(super) idle: Vec<Arc<Seat>>,
    threads: ThreadCounts,
    /// When the pooled threads were asked for that have not been set up yet, by their numbers.
    coming: SortedMap<u64, RealTime>,
    asked: u64,
    /// When the latest thread of any group was set up.
    pub(super) arrived_at: Option<RealTime>,
    /// A thread was sent home to make room for another.
    making_room: bool,
    /// Threads of the pool that are working, and the most there were since the last look.
    pub(super) busy: u32,
    pub(super) peak_busy: u32,
    /// How many of them have taken up an errand and not come back.
    pub(super) on_errands: u32,
    /// Whether the thread of last resort runs hooks, or still reports that it has.
    pub(super) last_resort_busy: bool,
    /// How often work was taken up; wraps around.
    picked: u32,
    pub(super) closed: bool,
}

/// Threads that run or are being started, each in exactly one group. Changed by [`Place`]s, and
/// when threads are sent home.
#[derive(Default)]
struct ThreadCounts {
    pooled: u32,
    dedicated: u32,
    last_resort: u32,
    leaving: u32,
}

/// How a thread is counted.
#[derive(Clone, Copy)]
pub(super) enum Group {
    /// It takes work from the queue.
    Pooled,
    /// It was started for a single attempt.
    Dedicated,
    /// It is the thread of last resort for hooks.
    LastResort,
    /// It was pooled and goes home.
    Leaving,
}

/// The entry of one thread in the counts, from the request for the thread until it has left. The
/// entry of a refused thread is removed as well.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    group: Group,
    /// Its number among those that are coming.
    coming: Option<u64>,
}

/// Where an idle thread waits to be called. Changed only under the pool's lock.
#[derive(Default)]
pub(super) struct Seat {
    called: AtomicBool,
    to_leave: AtomicBool,
    changed: Condvar,
}

/// The pool's lock, held to call threads. It is released before they are woken: fields are dropped
/// in this order.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    called: Called,
}

#[derive(Default)]
struct Called(Vec<Arc<Seat>>);

/// Why an idle thread is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Work,
    Leave,
}

impl Seat {
    /// Notes the call, under the pool's lock. The thread is woken after that is released, or it
    /// would have to wait for it.
    pub(super) fn call(&self, call: Call) {
        self.to_leave.store(call == Call::Leave, Ordering::Relaxed);
        self.called.store(true, Ordering::Relaxed);
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits to be called.
    pub(super) fn wait(&self, state: &mut MutexGuard<'_, State>) -> Call {
        while !self.called.load(Ordering::Relaxed) {
            self.changed.wait(state);
        }
        self.called.store(false, Ordering::Relaxed);
        if self.to_leave.load(Ordering::Relaxed) {
            Call::Leave
        } else {
            Call::Work
        }
    }
}

impl ThreadCounts {
    fn of(&mut self, group: Group) -> &mut u32 {
        match group {
            Group::Pooled => &mut self.pooled,
            Group::Dedicated => &mut self.dedicated,
            Group::LastResort => &mut self.last_resort,
            Group::Leaving => &mut self.leaving,
        }
    }
}

impl State {
    pub(super) fn counts(&self, now: RealTime) -> Counts {
        Counts {
            queued: small(self.queue.len()),
            oldest: self.queue.front().map(|(_, offered_at)| *offered_at),
            threads: self.threads.pooled,
            slow: self.slow(now),
            idle: small(self.idle.len()),
            busy: self.busy,
            peak_busy: self.peak_busy,
            picked: self.picked,
        }
    }

    /// The number of pooled threads whose set-up may hang.
    pub(super) fn slow(&self, now: RealTime) -> u32 {
        let is_slow = |asked_at: &&RealTime| asked_at.until(now) >= SLOW_SET_UP;
        small(self.coming.values().take_while(is_slow).count())
    }

    pub(super) fn is_any_coming(&self) -> bool {
        !self.coming.is_empty()
    }

    /// When the next set-up becomes slow.
    pub(super) fn next_slow(&self, now: RealTime) -> RealTime {
        let mut slow_at = self.coming.values().map(|asked_at| asked_at.after(SLOW_SET_UP));
        slow_at.find(|slow_at| *slow_at > now).unwrap_or(RealTime::NEVER)
    }

    /// Since when the oldest work has waited here for a thread.
    pub(super) fn oldest(&self) -> Option<RealTime> {
        let is_husk = |work: &Work| matches!(work, Work::Attempt(it) if it.cell.is_revoked());
        let work = self.queue.iter().find(|(work, _)| !is_husk(work)).map(|(_, at)| *at);
        let unserved = self.unserved.iter().map(|it| it.offered_at);
        work.into_iter().chain(self.errands.oldest()).chain(unserved).min()
    }

    /// The number of threads that have not left yet.
    pub(super) const fn alive(&self) -> u32 {
        self.staying() + self.threads.leaving
    }

    /// The number of threads that were not sent home.
    pub(super) const fn staying(&self) -> u32 {
        self.threads.pooled + self.threads.dedicated + self.threads.last_resort
    }

    /// The number of threads that run something that a manual clock waits for. A dedicated thread
    /// does from its start.
    pub(super) fn working(&self) -> u32 {
        let working = self.busy + self.threads.dedicated + u32::from(self.last_resort_busy);
        working - self.errands.ignored()
    }

    /// How many attempts, hooks and drops no thread has taken.
    pub(super) fn untaken(&self) -> usize {
        self.queue.len() + self.unserved.len() + self.errands.waiting()
    }

    /// The number of pooled threads that will look for work, and how many of them are awake or are
    /// being started.
    pub(super) fn available(&self, now: RealTime) -> (u32, u32) {
        let available = self.threads.pooled.saturating_sub(self.busy + self.slow(now));
        (available, available.saturating_sub(small(self.idle.len())))
    }

    /// How much there is for a thread to take or to hear of.
    pub(super) fn news(&self) -> usize {
        usize::from(self.closed) + self.queue.len() + self.errands.takeable() as usize
    }

    /// Takes the oldest work.
    pub(super) fn take(&mut self) -> Option<Work> {
        let (work, _) = self.queue.pop_front()?;
        self.picked = self.picked.wrapping_add(1);
        Some(work)
    }

    pub(super) fn begin_work(&mut self) {
        self.busy += 1;
        self.peak_busy = self.peak_busy.max(self.busy);
    }
}

impl Locked<'_> {
    pub(super) fn offer(&mut self, work: Work, now: RealTime) {
        self.queue.push_back((work, now));
        self.call_one();
    }

    pub(super) fn call_one(&mut self) {
        let seat = self.idle.pop();
        self.call(seat, Call::Work);
    }

    /// Sends the thread home that has been idle longest, if there are more than `keep`, so that the
    /// system may grant another. One at a time.
    pub(super) fn make_room(&mut self, keep: u32) {
        if !self.making_room && !self.idle.is_empty() && self.threads.pooled > keep {
            self.making_room = true;
            self.send_home(1);
        }
    }

    /// Sends home the threads that have been idle longest, and begins a new window for the peak.
    pub(super) fn shrink(&mut self, retire: u32) {
        self.send_home(retire);
        self.peak_busy = self.busy;
    }

    fn send_home(&mut self, threads: u32) {
        let retire = (threads as usize).min(self.idle.len());
        let retired = u32::try_from(retire).unwrap_or_default();
        self.threads.pooled -= retired;
        self.threads.leaving += retired;
        let seats: Vec<_> = self.idle.drain(..retire).collect();
        self.call(seats, Call::Leave);
    }

    /// Calls every idle thread.
    pub(super) fn call_all(&mut self) {
        let idle = std::mem::take(&mut self.state.idle);
        self.call(idle, Call::Work);
    }

    pub(super) fn call(&mut self, seats: impl IntoIterator<Item = Arc<Seat>>, call: Call) {
        let seats = seats.into_iter().inspect(|seat| seat.call(call));
        self.called.0.extend(seats);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        self.0.iter().for_each(|seat| seat.wake());
    }
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Shared {
    /// Takes the lock to call threads.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), called: Called::default() }
    }

    /// Counts a thread that is about to be started.
    pub(super) fn place(self: &Arc<Self>, group: Group) -> Place {
        let now = self.door.clock.real.now();
        let mut state = self.state.lock();
        *state.threads.of(group) += 1;
        state.asked += 1;
        let number = state.asked;
        let coming = matches!(group, Group::Pooled).then_some(number);
        if coming.is_some() {
            state.coming.insert(number, now);
        }
        Place { shared: Arc::clone(self), group, coming }
    }

    /// A thread has nothing more to do, and has reported all that it did. A manual clock may have
    /// waited for that.
    pub(super) fn note_rest(&self) {
        if self.door.clock.seat().is_some() {
            self.door.post(Fact::CameToRest);
        }
    }
}

impl Place {
    /// The thread was set up.
    pub(super) fn has_come(&mut self) {
        let now = self.shared.door.clock.real.now();
        let mut state = self.shared.state.lock();
        state.arrived_at = Some(now);
        if let Some(number) = self.coming.take() {
            state.coming.remove(&number);
            self.shared.left.notify_all();
        }
    }

    /// The thread was sent home, and is already counted as leaving.
    pub(super) fn was_sent_home(&mut self) {
        self.group = Group::Leaving;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        *state.threads.of(self.group) -= 1;
        if let Some(number) = self.coming {
            state.coming.remove(&number);
        }
        let is_leaving = matches!(self.group, Group::Leaving);
        let made_room = is_leaving && std::mem::take(&mut state.making_room);
        drop(state);
        self.shared.left.notify_all();
        if made_room {
            self.shared.door.post(Fact::RoomMade);
        }
        self.shared.note_rest();
    }
}
