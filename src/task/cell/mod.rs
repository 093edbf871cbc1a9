//! The cell of one attempt: what worker, controller and body share about it, under one lock.
//!
//! ```text
//! Offered ──claim (worker)──► Claimed ──return──► Leaving ──► Returned (worker)
//!    └─────revoke (controller)──► Revoked
//! ```
//!
//! Only while the cell is `Claimed` can the attempt be told, and until it is told, the body may
//! extend its deadline. The attempt can be abandoned while it is `Claimed` and told, or `Leaving`.
//! Orders that may come too late return what they found, so that they do no harm. The cell
//! is also the cancel token: sticky, first reason wins, and fresh for each attempt, so that an old
//! cancel cannot hit a new attempt.

mod hooks;
mod parking;
mod told;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::{ExtendError, TaskError};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::{Condvar, Mutex};
use crate::task::body::Body;
use crate::task::door::Door;
use crate::task::end_channel::EndChannel;
use crate::task::fact::Fact;
use crate::task::numbered::Numbered;
use crate::task::pulse::Pulse;
use crate::task::record::Record;
use crate::vocabulary::answer::{AbandonAnswer, ClosingAnswer, TellAnswer};
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::{AttemptAddr, ClassIndex, TaskAddr, TaskKey};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) use hooks::Registered;
pub(crate) use parking::Waiting;

pub(crate) struct Cell {
    pub(crate) record: Arc<Record>,
    pub(crate) attempt: AttemptAddr,
    /// Whether and why the attempt was told: written under the lock, read without it.
    told: told::Told,
    /// Whether the body is only to be dropped: a closing, not an attempt.
    pub(crate) closing: bool,
    /// Signs of life, for the watchdog.
    pub(crate) pulse: Pulse,
    state: Mutex<State>,
    /// Signalled when the attempt is told; the body's sleeps wait on it.
    changed: Condvar,
    #[cfg(unix)]
    fd: crate::platform::wake_fd::WakeFd,
}

struct State {
    phase: Phase,
    claimed_at: Time,
    /// Until the attempt is told, the time when it is overdue; then the time when its grace ends.
    until: Time,
    /// The latest deadline that the body may ask for; `None` if it may not ask.
    max_until: Option<Time>,
    ready: Ready,
    /// Set if the body will not run again, whatever it returns.
    finalized: bool,
    abandoned: bool,
    /// Which permit of its class it holds, from the claim on.
    class_index: Option<ClassIndex>,
    rest: parking::Rest,
    /// The thread that took it up. It stays, because events name it later.
    thread: Option<Thread>,
    told_channel: EndChannel,
    hooks: hooks::Hooks,
}

/// Whether the body has said that it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// Nobody waits for that.
    Unasked,
    /// It has to until then.
    By(Time),
    Said,
    /// It was told because it had not said so by then.
    Missed(Time),
}

enum Phase {
    Offered(Load),
    Claimed,
    /// The body has returned. The values that it leaves are being dropped, which may take long as
    /// well.
    Leaving {
        last: bool,
    },
    Returned,
    Revoked,
}

/// The thread that runs an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) name: Arc<str>,
    /// The kernel's id of it, on Linux.
    pub(crate) tid: Option<u32>,
}

/// What an attempt carries to its worker.
pub(crate) struct Load {
    pub(crate) body: Body,
    pub(crate) allowance: Allowance,
    pub(crate) class_index: Option<ClassIndex>,
    /// The failures of the streak, and the latest of them.
    pub(crate) failures: u32,
    pub(crate) last_failure: Option<TaskError>,
}

/// How long an attempt may run, and how far it may extend that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_timeout: Option<Duration>,
    pub(crate) ready_within: Option<Duration>,
}

/// What the cell says when the body has returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    /// The body will not run again.
    pub(crate) last: bool,
    /// Within what it had to be ready, if it was told because it was not.
    pub(crate) not_ready: Option<Duration>,
}

impl State {
    /// When the attempt is overdue; once it is told, when its grace ends.
    fn due(&self) -> Time {
        match self.ready {
            Ready::By(ready_by) => self.until.min(ready_by),
            Ready::Unasked | Ready::Said | Ready::Missed(_) => self.until,
        }
    }

    /// Within what it had to be ready, if it was told because it was not.
    fn not_ready(&self) -> Option<Duration> {
        match self.ready {
            Ready::Missed(ready_by) => Some(self.claimed_at.until(ready_by)),
            Ready::Unasked | Ready::By(_) | Ready::Said => None,
        }
    }
}

impl Cell {
    pub(crate) fn offer(record: Arc<Record>, attempt: AttemptAddr, load: Load) -> Self {
        Self::new(record, attempt, Phase::Offered(load))
    }

    /// The cell of a body that is only to be dropped. Its token is cancelled from the start, so
    /// that no destructor waits.
    pub(crate) fn closing(
        record: Arc<Record>,
        attempt: AttemptAddr,
        body: Body,
        reason: CancelReason,
    ) -> Self {
        let allowance = Allowance::default();
        let load = Load { body, allowance, class_index: None, failures: 0, last_failure: None };
        let cell = Self { closing: true, ..Self::offer(record, attempt, load) };
        cell.told.set(reason);
        cell
    }

    /// The cell of an attempt without a supervisor.
    pub(crate) fn detached(record: Arc<Record>) -> Self {
        let task = TaskAddr { key: TaskKey(0), id: record.id };
        Self::new(record, AttemptAddr { task, number: 1 }, Phase::Claimed)
    }

    fn new(record: Arc<Record>, attempt: AttemptAddr, phase: Phase) -> Self {
        let rest = match phase {
            Phase::Offered(_) => parking::Rest::Untold,
            _ => parking::Rest::No,
        };
        Self {
            record,
            attempt,
            told: told::Told::default(),
            closing: false,
            pulse: Pulse::default(),
            state: Mutex::new(State {
                phase,
                claimed_at: Time::ZERO,
                until: Time::NEVER,
                max_until: None,
                ready: Ready::Unasked,
                finalized: false,
                abandoned: false,
                class_index: None,
                rest,
                thread: None,
                told_channel: EndChannel::default(),
                hooks: hooks::Hooks::default(),
            }),
            changed: Condvar::new(),
            #[cfg(unix)]
            fd: crate::platform::wake_fd::WakeFd::default(),
        }
    }

    /// Worker: takes the attempt up, with its load, and returns the time of the claim. `None` if it
    /// was revoked.
    pub(crate) fn claim(&self, thread: &Thread) -> Option<(Load, Time)> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Claimed) {
            Phase::Offered(load) => {
                // Named under the same lock, so that nobody sees a claimed attempt without thread.
                state.thread = Some(thread.clone());
                state.class_index = load.class_index;
                let at = self.begin(&mut state, load.allowance);
                Some((load, at))
            }
            other => {
                state.phase = other;
                None
            }
        }
    }

    fn begin(&self, state: &mut State, allowance: Allowance) -> Time {
        let now = self.clock().now();
        state.claimed_at = now;
        state.until = allowance.timeout.map_or(Time::NEVER, |timeout| now.after(timeout));
        state.max_until = allowance.max_timeout.map(|most| now.after(most));
        let ready_by = allowance.ready_within.map(|span| Ready::By(now.after(span)));
        state.ready = ready_by.unwrap_or(Ready::Unasked);
        now
    }

    /// Worker: the body has returned, and what it was told no longer changes. This decides, from
    /// that and from whether it was abandoned, whether the body has run for the last time. The
    /// remaining hooks will never run, and are returned to be dropped.
    pub(crate) fn returned(
        &self,
        is_final: impl FnOnce(Option<CancelReason>, bool) -> bool,
    ) -> (Seen, Numbered<Registered>) {
        let mut state = self.state.lock();
        let (told, at) = (self.reason(), self.clock().now());
        let last = state.finalized || is_final(told, state.abandoned);
        state.phase = Phase::Leaving { last };
        let not_ready = state.not_ready();
        let seen = Seen { claimed_at: state.claimed_at, at, told, last, not_ready };
        (seen, state.hooks.take_all())
    }

    /// Worker: everything is dropped. From now on no order of the controller reaches the attempt.
    pub(crate) fn left(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Returned;
        self.end_rest(&mut state);
    }

    /// Controller: takes the attempt back, or returns when it was claimed.
    pub(crate) fn revoke(&self) -> Result<Load, Time> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Revoked) {
            Phase::Offered(load) => Ok(load),
            other => {
                state.phase = other;
                Err(state.claimed_at)
            }
        }
    }

    /// Controller: cancels the token; the first reason counts.
    pub(crate) fn tell(&self, reason: CancelReason, now: Time, grace_until: Time) -> TellAnswer {
        let mut state = self.state.lock();
        let answer = match state.phase {
            Phase::Claimed => TellAnswer::Told,
            // The body has not heard of it, but its destructors may wait for something.
            Phase::Leaving { .. } => TellAnswer::AlreadyReturned,
            Phase::Offered(_) | Phase::Returned | Phase::Revoked => {
                return TellAnswer::AlreadyReturned;
            }
        };
        if self.told.is_set() {
            return answer;
        }
        let due = state.due();
        if answer == TellAnswer::Told && reason == CancelReason::Timeout && due > now {
            return TellAnswer::DeadlineMoved(due);
        }

        self.told.set(reason);
        state.ready = match state.ready {
            Ready::By(by) if reason == CancelReason::Timeout && by <= state.until => {
                Ready::Missed(by)
            }
            Ready::Unasked | Ready::By(_) | Ready::Missed(_) => Ready::Unasked,
            Ready::Said => Ready::Said,
        };
        state.until = grace_until;
        self.unpark(&mut state);
        state.told_channel.disconnect();
        drop(state);
        self.changed.notify_all();
        #[cfg(unix)]
        self.fd.wake();
        answer
    }

    /// Controller: the body of a told attempt will not run again, and its grace ends at
    /// `grace_until`.
    pub(crate) fn finalize(&self, grace_until: Time) {
        let mut state = self.state.lock();
        state.finalized = true;
        // An attempt that was not told, because it moved its deadline, is about to be told.
        if self.told.is_set() {
            #[cfg(all(unix, feature = "process"))]
            if grace_until < state.until {
                self.fd.hang_up();
            }
            state.until = grace_until;
        }
    }

    /// Controller: abandons an attempt whose grace is over.
    pub(crate) fn abandon(&self) -> AbandonAnswer {
        let mut state = self.state.lock();
        let last = match state.phase {
            // An attempt that was not told, because it moved its deadline, is not abandoned either.
            Phase::Claimed if self.told.is_set() => state.finalized,
            Phase::Leaving { last } => last,
            Phase::Claimed | Phase::Offered(_) | Phase::Returned | Phase::Revoked => {
                return AbandonAnswer::NotAbandoned;
            }
        };
        state.abandoned = true;
        AbandonAnswer::Abandoned { last }
    }

    /// Controller: abandons a closing whose grace is over.
    pub(crate) fn abandon_closing(&self) -> ClosingAnswer {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Offered(_) => ClosingAnswer::Untaken,
            Phase::Claimed | Phase::Leaving { .. } => {
                state.abandoned = true;
                ClosingAnswer::Abandoned
            }
            Phase::Returned | Phase::Revoked => ClosingAnswer::Dropped,
        }
    }

    /// Body: runs `store`, unless what the body returns does not count, because the attempt was
    /// abandoned or told of something that makes it a failure. No such order comes in between.
    pub(crate) fn store_if_it_counts(&self, store: impl FnOnce()) {
        let state = self.state.lock();
        let fails = [CancelReason::Timeout, CancelReason::Unresponsive].map(Some);
        if !state.abandoned && !fails.contains(&self.reason()) {
            store();
        }
    }

    /// Body: moves the deadline to `span` from now, unless it is already later.
    pub(crate) fn extend(&self, span: Duration) -> Result<(), ExtendError> {
        let mut state = self.state.lock();
        self.check()?;
        if state.until.is_never() {
            return Ok(());
        }
        let Some(most) = state.max_until else { return Err(ExtendError::NoMaxTimeout) };
        let now = self.clock().now();
        let wanted = now.after(span);
        if wanted > most {
            return Err(ExtendError::BeyondMaxTimeout { left: now.until(most) });
        }
        state.until = state.until.max(wanted);
        Ok(())
    }

    /// Body: others may rely on this attempt from now on.
    pub(crate) fn say_ready(&self) {
        let mut state = self.state.lock();
        let untold = matches!(state.phase, Phase::Claimed) && !self.told.is_set();
        if !untold || state.ready == Ready::Said {
            return;
        }
        let awaited = state.ready != Ready::Unasked;
        state.ready = Ready::Said;
        let (claimed_at, until, at) = (state.claimed_at, state.until, self.clock().now());
        self.door().post(Fact::Ready { attempt: self.attempt, claimed_at, at, until });
        drop(state);
        if let (false, Some(group), 1) = (awaited, self.record.group(), self.attempt.number) {
            let (task, group) = (Escaped(&self.record.name), Escaped(group));
            let text = format!(
                "task {task} of group {group} has said that it is ready, but no phase waits for \
                 that: set ready_within"
            );
            self.door().post(Fact::Warning { text });
        }
    }

    /// Worker: the task completes. If members of its group rely on it, nobody restarts it.
    pub(crate) fn warn_of_completed(&self) {
        if let (true, Some(group)) = (self.is_ready(), self.record.group()) {
            let (task, group) = (Escaped(&self.record.name), Escaped(group));
            let text = format!(
                "task {task} was ready and has completed, and group {group} goes on without it: \
                 if it must not end, set restart(Always)"
            );
            self.door().post(Fact::Warning { text });
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().ready == Ready::Said
    }

    /// Within what it had to be ready, if it was told because it was not.
    pub(crate) fn not_ready(&self) -> Option<Duration> {
        self.state.lock().not_ready()
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Revoked)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.lock().abandoned
    }

    /// When the attempt was claimed, if it was; it may have returned since.
    pub(crate) fn claimed_at(&self) -> Option<Time> {
        let state = self.state.lock();
        match state.phase {
            Phase::Claimed | Phase::Leaving { .. } | Phase::Returned => Some(state.claimed_at),
            Phase::Offered(_) | Phase::Revoked => None,
        }
    }

    /// Whether a thread is in the body, or in the destructors after it.
    pub(crate) fn has_thread(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Claimed | Phase::Leaving { .. })
    }

    /// Which permit of its class the attempt holds, or held.
    pub(crate) fn class_index(&self) -> Option<ClassIndex> {
        self.state.lock().class_index
    }

    /// The thread that took the attempt up.
    pub(crate) fn thread(&self) -> Option<Thread> {
        self.state.lock().thread.clone()
    }

    /// When the attempt should be over: its deadline until it is told, then the end of its grace.
    pub(crate) fn until(&self) -> Time {
        self.state.lock().due()
    }

    /// Whether no supervisor runs it.
    fn is_detached(&self) -> bool {
        self.record.key().is_none()
    }

    pub(crate) fn clock(&self) -> &ModelClock {
        &self.door().clock
    }

    fn door(&self) -> &Door {
        &self.record.door
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("told", &self.reason()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
