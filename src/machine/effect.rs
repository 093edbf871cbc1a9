//! The machine's orders. They are small and `Copy`, and are performed in order before the next
//! input.

use core::time::Duration;

use super::ending::{End, Ending, Finality};
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, ClassIndex, ClassKey, GroupAddr, SlotKey, TaskAddr};
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{
    CancelReason, Decision, FailureCause, Rejection, ShutdownCause, SlotCancelled, StopReason,
};
use crate::vocabulary::time::Time;

/// An order for the runtime. The orders that may come too late (`Revoke`, `Tell`, `Abandon`,
/// `AbandonClosing`) and `Look` are each answered by an input that says what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Give the submitter the decision.
    Decide { task: TaskAddr, decision: Decision },
    /// Offer the attempt to a thread.
    Start { attempt: AttemptAddr, finality: Finality, class_index: Option<ClassIndex> },
    /// Take the attempt back, unless a thread has claimed it.
    Revoke { attempt: AttemptAddr },
    /// Cancel the attempt's token, unless its body has returned.
    Tell { attempt: AttemptAddr, reason: CancelReason, grace_until: Time },
    /// The attempt was already told. Its body will not run again, and its grace now ends at
    /// `grace_until`.
    Finalize { attempt: AttemptAddr, grace_until: Time },
    /// Abandon the attempt, unless it has returned.
    Abandon { attempt: AttemptAddr },
    /// Have a worker drop the body, which will not run again. The token of its destructors is
    /// cancelled for this reason.
    Close { attempt: AttemptAddr, reason: CancelReason },
    /// Abandon the closing, unless the body is dropped.
    AbandonClosing { attempt: AttemptAddr },
    /// Look for a sign of life of a watched attempt.
    Look { attempt: AttemptAddr },
    /// Find out what the attempt's thread is doing.
    Examine { attempt: AttemptAddr },
    /// The attempt has failed: keep its error for later attempts. An abandoned attempt has no
    /// error, even if an earlier attempt returned one. `last` says why no retry follows, if none
    /// does.
    NoteFailure { attempt: AttemptAddr, cause: FailureCause, last: Option<NoRetry> },
    /// The abandoned attempt or closing no longer belongs to its task; its return is awaited
    /// separately.
    Release { attempt: AttemptAddr, reason: CancelReason },
    /// A released attempt or closing has returned.
    ForgetReleased { attempt: AttemptAddr, closing: bool },
    /// Give the outcome to the callers that wait for it. `streak` counts the failures of the
    /// streak.
    Deliver { task: TaskAddr, end: End, streak: u32 },
    /// The task's key is free.
    Forget { task: TaskAddr },
    /// The slot's key is free.
    ForgetSlot { slot: SlotKey },
    /// Answer the request that was just passed in.
    Answer(Answer),
    /// Publish an event to the subscribers.
    Publish(Notice),
    /// Publish an event of a group to the subscribers.
    PublishGroup { group: GroupAddr, notice: GroupNotice },
    /// The group's key is free.
    ForgetGroup { group: GroupAddr },
    /// From now on, accept only what the supervisor's own bodies hand over. The drain ends then.
    BeginDrain { until: Time },
    /// The drain has waited for this task in vain.
    NoteUnfinished { task: TaskAddr },
    /// Accept nothing from now on, and refuse the submissions in the intake.
    CloseDoor { cause: ShutdownCause },
    /// Signals have their default effect again as soon as no echo can come.
    RestoreSignals,
    /// Let the lanes finish, and report when they have.
    FlushEvents,
    /// The machine has ended.
    Finish,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Whether a request by hand found something to do.
    Taken(bool),
    /// The result of `cancel_slot`.
    SlotCancelled(SlotCancelled),
}

/// The machine's half of an event, which the runtime completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Submitted {
        task: TaskAddr,
        policy: AdmissionPolicy,
    },
    Admitted {
        task: TaskAddr,
    },
    Queued {
        task: TaskAddr,
        depth: u32,
    },
    Rejected {
        task: TaskAddr,
        why: Rejection,
    },
    SlotTransition {
        task: TaskAddr,
        terminating: bool,
    },
    WaitingForPermit {
        task: TaskAddr,
        /// The class of whose permits it waits for one; `None` for a permit to run.
        class: Option<ClassKey>,
    },
    AttemptStarting {
        attempt: AttemptAddr,
    },
    AttemptEnded {
        attempt: AttemptAddr,
        told: Option<CancelReason>,
        ending: Ending,
        ran: Duration,
        late_by: Duration,
        returned_ok: bool,
    },
    RetryScheduled {
        attempt: AttemptAddr,
        delay: Duration,
        cause: FailureCause,
    },
    RunScheduled {
        attempt: AttemptAddr,
        delay: Duration,
    },
    TaskPaused {
        task: TaskAddr,
    },
    TaskResumed {
        task: TaskAddr,
    },
    AttemptOverdue {
        attempt: AttemptAddr,
        ran: Duration,
    },
    AttemptSilent {
        attempt: AttemptAddr,
        silent_for: Duration,
    },
    AttemptResponsive {
        attempt: AttemptAddr,
    },
    AttemptReady {
        attempt: AttemptAddr,
        took: Duration,
    },
    AttemptStable {
        attempt: AttemptAddr,
        failures: u32,
    },
    AttemptsTooShort {
        attempt: AttemptAddr,
        runs: u32,
        within: Duration,
    },
    AttemptAbandoned {
        attempt: AttemptAddr,
        reason: CancelReason,
        ran: Duration,
        released: bool,
        /// It was to be released, but too many are stuck.
        at_limit: bool,
    },
    AttemptReturned {
        attempt: AttemptAddr,
        late_by: Duration,
        ret: Return,
    },
    TaskClosing {
        attempt: AttemptAddr,
    },
    ClosingAbandoned {
        attempt: AttemptAddr,
    },
    ClosingReturned {
        attempt: AttemptAddr,
        late_by: Duration,
    },
    TaskEnded {
        task: TaskAddr,
        end: End,
        /// The number of its failures.
        streak: u32,
    },
    DrainRequested {
        cause: ShutdownCause,
        limit: Duration,
    },
    ShutdownRequested {
        cause: ShutdownCause,
    },
    ShutdownEnded,
}

/// The machine's half of an event of a group. The culprit is the member that failed, if it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupNotice {
    Starting,
    /// Every phase is ready, so long after the group began to start.
    Ready {
        took: Duration,
    },
    /// `restarts` counts those of the group so far, with this one.
    Restarting {
        culprit: Option<TaskAddr>,
        restarts: u32,
    },
    Stopping {
        why: StopReason,
        culprit: Option<TaskAddr>,
    },
    Ended,
}
