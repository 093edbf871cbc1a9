//! The record of one submission, shared by its handles and the controller: identity, decision,
//! outcome.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::Cancelled;
use crate::output::outcome::Outcome;
use crate::platform::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::platform::sync::channel::{self, Receiver};
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::platform::{unwind, user_value};
use crate::task::cell::{Cell, Waiting};
use crate::task::door::{lock_unless, Door};
use crate::task::end_channel::EndChannel;
use crate::task::fact::Fact;
use crate::task::on_end::{EndCall, EndCalls};
use crate::task::request::{DueCalls, Request};
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::{TaskId, TaskKey, TaskRef};
use crate::vocabulary::reason::{Decision, Rejection, StopReason};
use crate::vocabulary::time::Time;

pub(crate) struct Record {
    pub(crate) door: Arc<Door>,
    pub(crate) id: TaskId,
    pub(crate) name: Arc<str>,
    place: Place,
    /// The controller's key for the task; `NO_KEY` until it has one.
    key: AtomicU32,
    cancel_asked: AtomicBool,
    /// A manual clock does not wait for it.
    ignored: AtomicBool,
    /// Whether the caller waits for the decision, and gets a refused spec back with it.
    gives_back: bool,
    state: Mutex<State>,
    changed: Condvar,
}

/// Where a task belongs. Only few are in a group, so that this takes no room from the others.
enum Place {
    /// It has a slot and no group.
    Slot(Arc<str>),
    /// It has a group, or neither.
    Group(Option<Box<Membership>>),
}

struct Membership {
    group: Arc<str>,
    slot: Option<Arc<str>>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    /// Boxed, because many records are kept and few need it.
    rare: Option<Box<Rare>>,
    decision: Option<Decided>,
    /// How many were ahead of it, if it was queued.
    ahead: u32,
    /// Whether somebody sleeps until there is a decision.
    decision_awaited: bool,
    /// Whether a thread has taken up the first attempt.
    started: bool,
}

/// A decision in less room.
#[derive(Clone, Copy)]
enum Decided {
    Admitted,
    Queued,
    Rejected,
}

#[derive(Default)]
struct Rare {
    refused: Option<Refused>,
    waiters: Waiters,
    calls: EndCalls,
}

struct Refused {
    why: Rejection,
    /// The spec of an `add`, on its way back to the caller.
    spec: Option<TaskSpec>,
}

/// Those that wait in other ways than on `changed`.
#[derive(Default)]
struct Waiters {
    channel: EndChannel,
    waiting: Waiting,
    /// Those that wait only for the first attempt.
    waiting_for_start: Waiting,
}

impl State {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }
}

const NO_KEY: u32 = u32::MAX;

impl Record {
    pub(crate) fn new(door: Arc<Door>, id: TaskId, name: Arc<str>, slot: Option<Arc<str>>) -> Self {
        Self {
            door,
            id,
            name,
            place: slot.map_or(Place::Group(None), Place::Slot),
            key: AtomicU32::new(NO_KEY),
            cancel_asked: AtomicBool::new(false),
            ignored: AtomicBool::new(false),
            gives_back: false,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The record of a submission whose spec is given back if it is refused, or not.
    pub(super) fn given_back(mut self, gives_back: bool) -> Self {
        self.gives_back = gives_back;
        self
    }

    pub(crate) const fn gives_back(&self) -> bool {
        self.gives_back
    }

    /// The record of a member of that group.
    pub(super) fn in_group(mut self, group: &Arc<str>) -> Self {
        let slot = self.slot().cloned();
        self.place = Place::Group(Some(Box::new(Membership { group: Arc::clone(group), slot })));
        self
    }

    pub(crate) fn slot(&self) -> Option<&Arc<str>> {
        match &self.place {
            Place::Slot(slot) => Some(slot),
            Place::Group(membership) => membership.as_ref()?.slot.as_ref(),
        }
    }

    pub(crate) fn group(&self) -> Option<&Arc<str>> {
        match &self.place {
            Place::Group(Some(membership)) => Some(&membership.group),
            Place::Group(None) | Place::Slot(_) => None,
        }
    }

    /// The task as events and reports name it.
    pub(crate) fn task_ref(&self) -> TaskRef {
        TaskRef { id: self.id, name: Arc::clone(&self.name), slot: self.slot().cloned() }
    }

    /// Only the controller uses the key. A body may ask whether there is one: it was set before the
    /// body was offered, and never is for a detached one.
    pub(crate) fn key(&self) -> Option<TaskKey> {
        Some(self.key.load(Ordering::Relaxed)).filter(|&key| key != NO_KEY).map(TaskKey)
    }

    pub(crate) fn set_key(&self, key: TaskKey) {
        self.key.store(key.0, Ordering::Relaxed);
    }

    fn unless_forked(&self) -> Option<MutexGuard<'_, State>> {
        lock_unless(|| self.door.is_forked(), &self.state)
    }

    /// Notes that a cancel was asked. True only the first time.
    pub(crate) fn ask_cancel(&self) -> bool {
        !self.cancel_asked.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn cancel_asked(&self) -> bool {
        self.cancel_asked.load(Ordering::Acquire)
    }

    /// The first decision counts.
    pub(crate) fn decide(&self, decision: Decision, refused: Option<TaskSpec>) {
        let mut state = self.state.lock();
        if state.decision.is_none() {
            state.decision = Some(match decision {
                Decision::Admitted => Decided::Admitted,
                Decision::Queued { ahead } => {
                    state.ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
                    Decided::Queued
                }
                Decision::Rejected(why) => {
                    state.rare().refused = Some(Refused { why, spec: refused });
                    Decided::Rejected
                }
            });
            let awaited = std::mem::take(&mut state.decision_awaited);
            drop(state);
            if awaited {
                self.changed.notify_all();
            }
        }
    }

    /// The first outcome counts. A submission that ends undecided was lost.
    pub(crate) fn end(self: &Arc<Self>, outcome: Outcome) {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.outcome = Some(outcome);
            let rare = state.rare.as_mut();
            let rare = rare.map(|it| (std::mem::take(&mut it.waiters), it.calls.fall_due()));
            let (waiters, due) = rare.unzip();
            // Nobody who wakes up is to wait for this lock. A cell has a lock of its own, under
            // which this one is taken.
            drop(state);
            self.changed.notify_all();
            if let Some(mut waiters) = waiters {
                waiters.channel.disconnect();
                waiters.waiting.wake_all();
                waiters.waiting_for_start.wake_all();
            }
            if due == Some(true) {
                self.see_to_end_calls();
            }
        }
    }

    /// Has a callback called once there is an outcome.
    pub(crate) fn on_end(self: &Arc<Self>, call: EndCall) {
        self.door.want_last_resort();
        let mut state = self.state.lock();
        let over = state.outcome.is_some();
        let calls = &mut state.rare().calls;
        calls.push(call);
        let due = over && calls.fall_due();
        drop(state);
        if due {
            self.see_to_end_calls();
        }
    }

    /// If the supervisor has ended, the callbacks run here.
    fn see_to_end_calls(self: &Arc<Self>) {
        self.door.send(Request::EndCalls(DueCalls::of(self)));
    }

    /// Runs the callbacks of `on_end` on this thread, also those that come meanwhile.
    pub(crate) fn run_end_calls(&self, mut tell_panic: impl FnMut(String)) {
        let next = || self.state.lock().rare.as_mut()?.calls.next()?.take();
        let Some(outcome) = self.outcome() else { return };
        while let Some(call) = next() {
            unwind::catch(|| call(&outcome)).unwrap_or_else(&mut tell_panic);
        }
    }

    /// Worker: an attempt was taken up. The number of the first one is not always 1, because a
    /// member of a group may be sent back before.
    pub(crate) fn note_started(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.started, true) {
            return;
        }
        let rare = state.rare.as_mut();
        let waiting = rare.map(|rare| std::mem::take(&mut rare.waiters.waiting_for_start));
        // A cell has a lock of its own, under which this one is taken.
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake_all();
        }
    }

    /// Whether the first attempt was taken up; `None` if it still may be.
    pub(crate) fn started(&self) -> Option<bool> {
        let state = self.unless_forked()?;
        (state.started || state.outcome.is_some()).then_some(state.started)
    }

    /// Waits until that is known, or the token of the cell is cancelled.
    pub(crate) fn wait_started(&self, cell: &Arc<Cell>) -> Result<(), Cancelled> {
        self.state.lock().rare().waiters.waiting_for_start.add(cell);
        cell.wait_until(Time::NEVER, || self.started().is_some())
    }

    /// Blocks until decided; `None` if the controller ended without a decision.
    pub(crate) fn wait_decided(&self) -> Option<Decision> {
        let mut state = self.unless_forked()?;
        while state.decision.is_none() && state.outcome.is_none() {
            if self.door.is_forked() {
                return None;
            }
            state.decision_awaited = true;
            self.changed.wait(&mut state);
        }
        Some(match state.decision? {
            Decided::Admitted => Decision::Admitted,
            Decided::Queued => Decision::Queued { ahead: state.ahead as usize },
            Decided::Rejected => Decision::Rejected(state.rare.as_ref()?.refused.as_ref()?.why),
        })
    }

    pub(crate) fn take_refused(&self) -> Option<TaskSpec> {
        self.state.lock().rare.as_mut()?.refused.as_mut()?.spec.take()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.unless_forked()?.outcome.clone()
    }

    /// Blocks until there is an outcome, or `span` has passed.
    pub(crate) fn wait(&self, span: Duration) -> Option<Outcome> {
        let clock = &self.door.clock.real;
        self.door.linger.until(clock, || usize::from(self.state.lock().outcome.is_some()));

        // One absolute deadline, so that early wake-ups do not prolong the wait.
        let due = clock.now().after(span);
        let instant = clock.instant(due);
        let mut state = self.state.lock();
        loop {
            match (&state.outcome, instant) {
                (Some(outcome), _) => return Some(outcome.clone()),
                (None, None) => self.changed.wait(&mut state),
                (None, Some(_)) if clock.now() >= due => return None,
                (None, Some(instant)) => {
                    self.changed.wait_until(&mut state, instant);
                }
            }
        }
    }

    /// A channel that disconnects when there is an outcome; in a forked child at once.
    pub(crate) fn ended(&self) -> Receiver<Infallible> {
        if self.door.is_forked() {
            return channel::bounded(0).1;
        }
        let mut state = self.state.lock();
        let over = state.outcome.is_some();
        state.rare().waiters.channel.receiver(over)
    }

    /// Body: waits for the outcome, at most for `span`, or until the token of its cell is
    /// cancelled.
    pub(crate) fn wait_in_body(
        &self,
        cell: &Arc<Cell>,
        span: Duration,
    ) -> Result<Option<Outcome>, Cancelled> {
        self.state.lock().rare().waiters.waiting.add(cell);
        let due = cell.clock().now().after(span);
        cell.wait_until(due, || self.state.lock().outcome.is_some())?;
        self.outcome_in_body(cell, true)
    }

    /// Body: returns the outcome, if there is one. If a shutdown has led to it, a body that `hears`
    /// of that waits until it is told, because tasks that wait end before bodies are told: so one
    /// that passes the outcome on is no failure.
    pub(crate) fn outcome_in_body(
        &self,
        cell: &Arc<Cell>,
        hears: bool,
    ) -> Result<Option<Outcome>, Cancelled> {
        let outcome = self.outcome();
        let by_shutdown = match &outcome {
            Some(Outcome::Rejected(why)) => *why == Rejection::ShuttingDown,
            Some(Outcome::Cancelled { reason, .. }) => *reason == StopReason::Shutdown,
            _ => false,
        };
        if hears && by_shutdown && Arc::ptr_eq(&cell.record.door, &self.door) {
            cell.hear_of_shutdown(Duration::MAX)?;
        }
        Ok(outcome)
    }

    pub(crate) fn is_ignored(&self) -> bool {
        self.ignored.load(Ordering::Relaxed)
    }

    /// From now on a manual clock does not wait for the task.
    pub(crate) fn ignore(&self) {
        self.ignored.store(true, Ordering::Relaxed);
    }
}

/// The last reference may be dropped by any thread. Panics in the destructors of the outcome's
/// error and of a refused spec do not concern that thread: they are reported to the supervisor.
impl Drop for Record {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut());
        for message in user_value::panics_of(|| drop(state)) {
            self.door.post(Fact::DropPanicked { message });
        }
    }
}

/// The duty to give a record its outcome: if the promise is dropped before that, the outcome is
/// `Lost`.
pub(crate) struct Promise(Option<Arc<Record>>);

impl Promise {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(Some(record))
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        self.0.as_ref().expect("it has its record until it is taken over")
    }

    /// Somebody else has the duty now.
    pub(crate) fn take_over(mut self) -> Arc<Record> {
        self.0.take().expect("it is taken over once")
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            record.end(Outcome::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // The prelude of Rust 1.75 has no size_of.
    #[allow(unused_qualifications)]
    fn a_task_without_a_group_has_no_room_for_one() {
        assert_eq!(std::mem::size_of::<Place>(), std::mem::size_of::<Option<Arc<str>>>());
        assert!(std::mem::size_of::<Record>() <= 120, "{}", std::mem::size_of::<Record>());
    }
}
