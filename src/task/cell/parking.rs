//! How a body waits where a manual clock holds the time. While it waits, the cell marks it as
//! parked, so that the clock knows that nothing runs. Also the list by which those that wait for
//! something are woken, whatever the clock.

use std::sync::{Arc, Weak};

use super::{Cell, Phase, State};
use crate::output::error::Cancelled;
use crate::platform::manual::{self, Seat, Sleeper};
use crate::platform::sync::channel::{Receiver, Select, TryRecvError};
use crate::platform::sync::{Mutex, MutexGuard};
use crate::task::fact::Fact;
use crate::vocabulary::time::Time;

/// Whether the attempt counts as resting, under a manual clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Its claim may not have been told yet. If it rested before, the clock would move on without
    /// the claim, and its deadline would come late.
    Untold,
    No,
    /// The body waits for the clock, for its token, or for an outcome.
    Parked,
    /// Whatever it does, it is not waited for.
    Ignored,
}

impl Cell {
    /// Body: waits until `done` says so (true), `due` has come (false), or the token is cancelled.
    /// Whoever changes what `done` looks at has to [`wake`](Sleeper::wake) this cell.
    pub(crate) fn park(
        self: &Arc<Self>,
        seat: &Seat,
        due: Time,
        done: impl Fn() -> bool,
    ) -> Result<bool, Cancelled> {
        let wait = |mut state| {
            self.changed.wait(&mut state);
            state
        };
        self.park_by(seat, due, done, wait)
    }

    /// Does the same where `wait` waits for what `done` looks at, and for [`wake`](Sleeper::wake).
    fn park_by<'a>(
        self: &'a Arc<Self>,
        seat: &Seat,
        due: Time,
        done: impl Fn() -> bool,
        wait: impl Fn(MutexGuard<'a, State>) -> MutexGuard<'a, State>,
    ) -> Result<bool, Cancelled> {
        let is_body = self.is_on_body();
        let weak = Arc::downgrade(self);
        let _alarm = seat.alarm(due, weak);
        let mut state = self.state.lock();
        let found = loop {
            if let Err(cancelled) = self.check() {
                break Err(cancelled);
            }
            if done() {
                break Ok(true);
            }
            if self.clock().now() >= due {
                break Ok(false);
            }
            if is_body && state.rest == Rest::No && state.may_rest() {
                state.rest = Rest::Parked;
                seat.park();
                self.door().post(Fact::CameToRest);
            }
            state = wait(state);
        };
        // A helper must not take away the mark of its body, which sleeps on.
        if is_body && state.rest == Rest::Parked {
            self.unpark(&mut state);
            // Another thread with a detached token may have set it, and sets it again.
            self.rouse();
        }
        found
    }

    /// Body: waits until the channel has something (true), `due` has come (false), or the token is
    /// cancelled. It is taken only when the mark is gone. The clock may have taken a message first,
    /// in any case.
    pub(super) fn park_for<T: Send + 'static>(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        channel: &Receiver<T>,
        due: Time,
        taken: &Arc<Mutex<Option<T>>>,
    ) -> Result<bool, Cancelled> {
        let (told, woken) = (self.told_channel(), std::cell::Cell::new(false));
        let (counts, record) = (self.is_on_body(), Arc::clone(&self.record));
        let (own, hand) = (channel.clone(), Arc::clone(taken));
        let news = move || counts && !record.is_ignored() && has_news(&own, &hand);
        let listening = seat.listen(Arc::downgrade(self) as Weak<Self>, Box::new(news));
        let wait = |state| {
            // Made under the lock, so that no wake-up is missed.
            let bell = listening.bell();
            drop(state);
            let mut select = Select::new();
            select.recv(channel);
            select.recv(&told);
            select.recv(&bell);
            woken.set(select.ready() == 0);
            self.state.lock()
        };
        self.park_by(seat, due, || woken.get() || taken.lock().is_some(), wait)
    }

    /// Whether this thread is the body's. A helper thread does not keep the body from running.
    fn is_on_body(self: &Arc<Self>) -> bool {
        self.is_detached() || manual::runs_body(Arc::as_ptr(self) as usize)
    }

    /// Wakes every thread that sleeps here.
    fn rouse(&self) {
        self.changed.notify_all();
        if let Some(seat) = self.clock().seat() {
            seat.ring(std::ptr::addr_of!(*self).cast());
        }
    }

    /// Takes the mark away; the body is about to run.
    pub(super) fn unpark(&self, state: &mut State) {
        if state.rest == Rest::Parked {
            self.end_rest(state);
        }
    }

    /// Worker: the thread no longer runs this attempt.
    pub(super) fn end_rest(&self, state: &mut State) {
        if let (Rest::Parked | Rest::Ignored, Some(seat)) = (state.rest, self.clock().seat()) {
            state.rest = Rest::No;
            seat.unpark();
        }
    }

    /// Worker: the claim was told, and this thread runs the body now. The attempt rests from here
    /// on if its task is ignored.
    pub(crate) fn enter_body(self: &Arc<Self>) -> Option<impl Drop> {
        self.clock().seat()?;
        let mut state = self.state.lock();
        state.rest = Rest::No;
        if self.record.is_ignored() {
            self.rest_for_good(&mut state);
            self.door().post(Fact::CameToRest);
        }
        drop(state);
        Some(manual::enter_body(Arc::as_ptr(self) as usize))
    }

    /// Controller: from now on the attempt is not waited for.
    pub(crate) fn ignore(&self) {
        let mut state = self.state.lock();
        // One whose claim is untold will see that its task is ignored.
        if state.may_rest() && state.rest != Rest::Untold {
            self.rest_for_good(&mut state);
        }
    }

    fn rest_for_good(&self, state: &mut State) {
        let Some(seat) = self.clock().seat() else { return };
        if state.rest == Rest::No {
            seat.park();
        }
        state.rest = Rest::Ignored;
    }

    /// Whether a thread runs the attempt and does not rest.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.may_rest() && !matches!(state.rest, Rest::Parked | Rest::Ignored)
    }
}

/// Whether a channel has a message or is disconnected. No channel says the latter unless it is
/// asked for a message; what it gives goes into the hand of the body.
fn has_news<T>(channel: &Receiver<T>, hand: &Mutex<Option<T>>) -> bool {
    let mut hand = hand.lock();
    if hand.is_some() || !channel.is_empty() {
        return true;
    }
    match channel.try_recv() {
        Ok(message) => {
            *hand = Some(message);
            true
        }
        Err(TryRecvError::Disconnected) => true,
        Err(TryRecvError::Empty) => false,
    }
}

impl State {
    /// Only a thread can rest.
    const fn may_rest(&self) -> bool {
        matches!(self.phase, Phase::Claimed | Phase::Leaving { .. })
    }
}

impl Sleeper for Cell {
    fn wake(&self) {
        let mut state = self.state.lock();
        self.unpark(&mut state);
        self.rouse();
    }
}

/// The cells of those that wait for something to become known.
#[derive(Default)]
pub(crate) struct Waiting(Vec<Weak<Cell>>);

impl Waiting {
    pub(crate) fn add(&mut self, cell: &Arc<Cell>) {
        // A body that waits again and again is in the list once.
        let weak = Arc::downgrade(cell);
        self.0.retain(|it| it.strong_count() > 0 && !Weak::ptr_eq(it, &weak));
        self.0.push(weak);
    }

    pub(crate) fn contains(&self, cell: &Arc<Cell>) -> bool {
        self.0.iter().any(|it| Weak::as_ptr(it) == Arc::as_ptr(cell))
    }

    pub(crate) fn wake_all(self) {
        for cell in self.0.iter().filter_map(Weak::upgrade) {
            cell.wake();
        }
    }
}
