//! What the machine orders: small, `Copy`, performed in order before the next input.

use core::time::Duration;

use super::ending::{End, Ending, Finality};
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, SlotKey, TaskAddr};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{
    CancelReason, Decision, FailureCause, Rejection, ShutdownCause, SlotCancelled,
};
use crate::vocabulary::time::Time;

/// An order for the runtime. The three orders to an attempt that may come too late (`Revoke`,
/// `Tell`, `Abandon`) are each answered by an input that says what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell the submitter what became of the submission.
    Decide { task: TaskAddr, decision: Decision },
    /// Offer the attempt to a thread.
    Start { attempt: AttemptAddr, finality: Finality },
    /// Take the attempt back unless a thread has it.
    Revoke { attempt: AttemptAddr },
    /// Cancel the attempt's token unless its body has returned.
    Tell { attempt: AttemptAddr, reason: CancelReason, grace_until: Time },
    /// The attempt was told before: its body will not run again, and this is when its grace ends
    /// now.
    Finalize { attempt: AttemptAddr, grace_until: Time },
    /// Give the attempt up unless its body has returned.
    Abandon { attempt: AttemptAddr },
    /// Look for a sign of life of a watched attempt.
    Look { attempt: AttemptAddr },
    /// Find out what the attempt's thread is doing.
    Examine { attempt: AttemptAddr },
    /// The attempt has failed: keep its error for the attempts after it. An abandoned one has left
    /// none, whatever an earlier one returned.
    NoteFailure { attempt: AttemptAddr, cause: FailureCause },
    /// The abandoned attempt is its task's no more; its return is awaited apart.
    Release { attempt: AttemptAddr, reason: CancelReason },
    /// A released attempt has returned.
    ForgetReleased { attempt: AttemptAddr },
    /// Drop the body, if it is still there: with the heir's next attempt before that is claimed,
    /// else soon.
    Discard { task: TaskAddr, heir: Option<TaskAddr> },
    /// Give the outcome to whoever waits for it.
    Deliver { task: TaskAddr, end: End },
    /// The task's key is free.
    Forget { task: TaskAddr },
    /// The slot's key is free.
    ForgetSlot { slot: SlotKey },
    /// Answer the request just handed in.
    Answer(Answer),
    /// Tell the subscribers.
    Publish(Notice),
    /// Accept nothing any more; refuse what lies in the intake.
    CloseDoor { cause: ShutdownCause },
    /// Signals have their default effect again.
    RestoreSignals,
    /// Let the lanes finish and say so.
    FlushEvents,
    /// The machine has ended.
    Finish,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Whether a skip or restart found something to do.
    Taken(bool),
    /// What a stop of a slot found.
    SlotCancelled(SlotCancelled),
}

/// Something worth telling: the machine's half of an event, completed by the runtime.
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
    AttemptAbandoned {
        attempt: AttemptAddr,
        reason: CancelReason,
        ran: Duration,
        released: bool,
    },
    AttemptReturned {
        attempt: AttemptAddr,
        late_by: Duration,
        ret: Return,
    },
    TaskEnded {
        task: TaskAddr,
        end: End,
    },
    ShutdownRequested {
        cause: ShutdownCause,
    },
    ShutdownEnded,
}
