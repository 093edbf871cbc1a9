//! Time that is moved by hand: what it shows, who sleeps on it, and how many bodies wait for it.
//!
//! A body that waits in a way that the supervisor can see is *parked*. Whoever wakes it takes the
//! mark away first, under the lock of its cell, so that a body that runs never counts as parked.
//! One that waits for a channel can be woken by anybody. It takes its own mark away before it takes
//! a message, so as long as it has not, the message lies there to be seen.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::platform::clock::RealClock;
use crate::platform::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{thread_local, Condvar, Mutex};
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::{RealTime, Time};

thread_local! {
    /// The address of the attempt whose body runs on this thread, which is only compared.
    static BODY: Cell<usize> = const { Cell::new(0) };
}

/// Notes that this thread runs the body of that attempt, until the guard is dropped.
pub(crate) fn enter_body(attempt: usize) -> impl Drop {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            BODY.with(|body| body.set(0));
        }
    }
    BODY.with(|body| body.set(attempt));
    Leave
}

/// Whether this thread runs the body of that attempt.
pub(crate) fn runs_body(attempt: usize) -> bool {
    BODY.try_with(|body| body.get() == attempt).unwrap_or(false)
}

/// The time itself. It counts from its own making, because several supervisors may share it.
#[derive(Default)]
pub(crate) struct Manual {
    state: Mutex<State>,
    /// Signalled when a detached body no longer runs.
    rested: Condvar,
    ignores_events: AtomicBool,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// Who is to be woken: when, and in which order they came.
    sleepers: SortedMap<(Duration, u64), Weak<dyn Sleeper>>,
    number: u64,
    /// Detached bodies that are not parked.
    detached: u32,
    /// Whether there ever was a detached body.
    has_detached: bool,
    /// How often a body that was parked, or is detached, began to run; wraps around.
    roused: u32,
    /// The threads that wait for a channel.
    listeners: SortedMap<u64, Listener>,
}

impl State {
    fn rouse(&mut self, detached: bool) {
        self.detached += u32::from(detached);
        self.has_detached |= detached;
        self.roused = self.roused.wrapping_add(1);
    }

    /// Those of some seats whose channels have something for them.
    fn with_news(&self, of: impl Fn(&Weak<Seat>) -> bool) -> Vec<Weak<dyn Sleeper>> {
        let heard = self.listeners.values().filter(|it| of(&it.seat) && (it.has_news)());
        heard.map(|it| Weak::clone(&it.sleeper)).collect()
    }
}

struct Listener {
    seat: Weak<Seat>,
    sleeper: Weak<dyn Sleeper>,
    /// Whether its channel has something for it, unless nobody waits for it anyway.
    has_news: Box<dyn Fn() -> bool + Send>,
    /// Dropped to wake the thread.
    bell: Option<Sender<Infallible>>,
}

/// Something that sleeps until the clock wakes it.
pub(crate) trait Sleeper: Send + Sync {
    /// Takes the mark away and wakes every thread that sleeps there.
    fn wake(&self);
}

impl Manual {
    pub(crate) fn now(&self) -> Duration {
        self.state.lock().now
    }

    /// Moves the time. It never goes back.
    pub(crate) fn set(&self, now: Duration) {
        let mut state = self.state.lock();
        state.now = state.now.max(now);
    }

    /// When the next sleeper is to be woken.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.state.lock().sleepers.first().map(|(due, _)| *due)
    }

    /// Wakes the sleepers that are due, in the order of their times, and of their coming.
    pub(crate) fn wake_sleepers(&self) {
        loop {
            let mut state = self.state.lock();
            let now = state.now;
            let Some((_, sleeper)) = state.sleepers.pop_first_if(|(due, _)| *due <= now) else {
                return;
            };
            // A sleeper has a lock of its own, under which this one is taken.
            drop(state);
            if let Some(sleeper) = sleeper.upgrade() {
                sleeper.wake();
            }
        }
    }

    /// The number of detached bodies that are not parked, or are about to be woken by a channel.
    pub(crate) fn detached(&self) -> u32 {
        let is_detached = |seat: &Weak<Seat>| {
            seat.upgrade().is_some_and(|seat| seat.detached.load(Ordering::Relaxed))
        };
        let state = self.state.lock();
        let (heard, detached) = (state.with_news(is_detached), state.detached);
        drop(state);
        wake_all(&heard);
        detached.max(u32::from(!heard.is_empty()))
    }

    pub(crate) fn has_detached(&self) -> bool {
        self.state.lock().has_detached
    }

    /// How often a body that was parked, or is detached, began to run; wraps around. If it is the
    /// same as before, none of them has run in between.
    pub(crate) fn roused(&self) -> u32 {
        self.state.lock().roused
    }

    /// Blocks until every detached body is parked or gone. False if some are not at `limit`.
    pub(crate) fn wait_detached(&self, clock: &RealClock, limit: RealTime) -> bool {
        let mut state = self.state.lock();
        while state.detached > 0 {
            if clock.now() >= limit {
                return false;
            }
            match clock.instant(limit) {
                None => self.rested.wait(&mut state),
                Some(instant) => {
                    self.rested.wait_until(&mut state, instant);
                }
            }
        }
        true
    }

    pub(crate) fn set_waits_for_events(&self, wait: bool) {
        self.ignores_events.store(!wait, Ordering::Relaxed);
    }
}

/// The place of one supervisor, or of one detached body, at a manual clock.
pub(crate) struct Seat {
    manual: Arc<Manual>,
    /// What the clock showed when the supervisor started.
    start: Duration,
    /// How many of its bodies are parked.
    parked: AtomicU32,
    /// Whether it belongs to a detached body whose context exists. Changed and used under the
    /// clock's lock.
    detached: AtomicBool,
}

impl Seat {
    pub(crate) fn new(manual: Arc<Manual>) -> Self {
        let start = manual.now();
        Self { manual, start, parked: AtomicU32::new(0), detached: AtomicBool::new(false) }
    }

    /// The place of a body without a supervisor, which counts as busy from now on.
    pub(crate) fn detached(manual: Arc<Manual>) -> Self {
        manual.state.lock().rouse(true);
        Self { detached: AtomicBool::new(true), ..Self::new(manual) }
    }

    /// The time since the supervisor started. It never reaches `NEVER`.
    pub(crate) fn now(&self) -> Time {
        const LATEST: Time = Time::from_nanos(Time::NEVER.as_nanos() - 1);
        Time::ZERO.after(self.manual.now().saturating_sub(self.start)).min(LATEST)
    }

    /// A moment of the supervisor on the clock's scale; `None` for `NEVER`.
    pub(crate) fn on_clock(&self, time: Time) -> Option<Duration> {
        (!time.is_never()).then(|| self.start.saturating_add(time.since_start()))
    }

    /// Whether subscribers must have been called back before all is quiet.
    pub(crate) fn waits_for_events(&self) -> bool {
        !self.manual.ignores_events.load(Ordering::Relaxed)
    }

    /// How many bodies are parked, if no channel is about to wake one of them: else none, and those
    /// are woken. Each of them comes to rest again, and says so.
    pub(crate) fn parked(&self) -> u32 {
        let state = self.manual.state.lock();
        let heard = state.with_news(|seat| std::ptr::eq(seat.as_ptr(), self));
        let parked = self.parked.load(Ordering::SeqCst);
        drop(state);
        wake_all(&heard);
        if heard.is_empty() {
            parked
        } else {
            0
        }
    }

    /// A body parks.
    pub(crate) fn park(&self) {
        let mut state = self.manual.state.lock();
        self.parked.fetch_add(1, Ordering::SeqCst);
        if self.detached.load(Ordering::Relaxed) {
            state.detached -= 1;
            self.manual.rested.notify_all();
        }
    }

    /// A body is about to be woken.
    pub(crate) fn unpark(&self) {
        let mut state = self.manual.state.lock();
        state.rouse(self.detached.load(Ordering::Relaxed));
        self.parked.fetch_sub(1, Ordering::SeqCst);
    }

    /// The context of a detached body is gone. A token of it may sleep or run on, unnoticed.
    pub(crate) fn leave(&self) {
        let mut state = self.manual.state.lock();
        self.detached.store(false, Ordering::Relaxed);
        if self.parked.load(Ordering::SeqCst) == 0 {
            state.detached -= 1;
            self.manual.rested.notify_all();
        }
    }

    /// Notes that this thread waits for a channel, until the guard is dropped.
    pub(crate) fn listen(
        self: &Arc<Self>,
        sleeper: Weak<dyn Sleeper>,
        has_news: Box<dyn Fn() -> bool + Send>,
    ) -> Listening<'_> {
        let seat = Arc::downgrade(self);
        let mut state = self.manual.state.lock();
        state.number += 1;
        let key = state.number;
        state.listeners.insert(key, Listener { seat, sleeper, has_news, bell: None });
        Listening { manual: &self.manual, key }
    }

    /// Wakes the threads of this sleeper that wait for channels.
    pub(crate) fn ring(&self, sleeper: *const ()) {
        let mut state = self.manual.state.lock();
        for listener in state.listeners.values_mut() {
            if listener.sleeper.as_ptr().cast() == sleeper {
                listener.bell = None;
            }
        }
    }

    /// Has the sleeper woken at `due`, unless the alarm is dropped before.
    pub(crate) fn alarm(&self, due: Time, sleeper: Weak<dyn Sleeper>) -> Option<Alarm<'_>> {
        let due = self.on_clock(due)?;
        let mut state = self.manual.state.lock();
        state.number += 1;
        let key = (due, state.number);
        state.sleepers.insert(key, sleeper);
        Some(Alarm { manual: &self.manual, key })
    }
}

pub(crate) struct Alarm<'a> {
    manual: &'a Manual,
    key: (Duration, u64),
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let sleeper = self.manual.state.lock().sleepers.remove(&self.key);
        drop(sleeper);
    }
}

/// A thread that waits for a channel.
pub(crate) struct Listening<'a> {
    manual: &'a Manual,
    key: u64,
}

impl Listening<'_> {
    /// A channel that disconnects when the sleeper is woken.
    pub(crate) fn bell(&self) -> Receiver<Infallible> {
        let (bell, rung) = channel::bounded(0);
        if let Some(listener) = self.manual.state.lock().listeners.get_mut(&self.key) {
            listener.bell = Some(bell);
        }
        rung
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let listener = self.manual.state.lock().listeners.remove(&self.key);
        drop(listener);
    }
}

fn wake_all(sleepers: &[Weak<dyn Sleeper>]) {
    sleepers.iter().filter_map(Weak::upgrade).for_each(|sleeper| sleeper.wake());
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("now", &self.now()).finish_non_exhaustive()
    }
}
