//! What the machine orders: small, `Copy`, performed in order before the next input.

use core::time::Duration;

use super::ending::{End, Ending, Finality, Return};
use crate::id::{AttemptRef, SlotKey, TaskKey, TaskRef};
use crate::policy::AdmissionPolicy;
use crate::reason::{CancelReason, FailureCause, Rejection, ShutdownCause};
use crate::time::Time;

/// An order for the runtime. The three orders to an attempt that may come too late (`Revoke`, `Tell`, `Abandon`) are
/// each answered by an input that says what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell the submitter what became of the submission.
    Decide { task: TaskRef, decision: Verdict },
    /// Offer the attempt to a thread.
    Start { attempt: AttemptRef, finality: Finality },
    /// Take the attempt back unless a thread has it.
    Revoke { attempt: AttemptRef },
    /// Cancel the attempt's token unless its body has returned.
    Tell { attempt: AttemptRef, reason: CancelReason, grace_until: Time },
    /// The attempt was told before: its body will not run again, and this is when its grace ends now.
    Finalize { attempt: AttemptRef, grace_until: Time },
    /// Give the attempt up unless its body has returned.
    Abandon { attempt: AttemptRef },
    /// Drop the body, if it is still there: with the heir's next attempt before that is claimed, else soon.
    Discard { task: TaskRef, heir: Option<TaskRef> },
    /// Give the outcome to whoever waits for it.
    Deliver { task: TaskRef, end: End },
    /// The task's key is free.
    Forget { task: TaskRef },
    /// The slot's key is free.
    ForgetSlot { slot: SlotKey },
    /// Answer the request just handed in.
    Answer(Answer),
    /// Tell the subscribers.
    Publish(Notice),
    /// Accept nothing any more; refuse what lies in the intake.
    CloseDoor,
    /// Signals have their default effect again.
    RestoreSignals,
    /// Let the lanes finish and say so.
    DrainEvents,
    /// The machine has ended.
    Finish,
}

/// The first decision about a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    Queued { ahead: u32 },
    Rejected(Rejection),
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Whether a skip or restart found something to do.
    Taken(bool),
    /// What a stop of a slot found.
    SlotStopped { owner_asked: bool, removed: u32 },
}

/// Something worth telling: the machine's half of an event, completed by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Submitted {
        task: TaskRef,
        policy: AdmissionPolicy,
    },
    Admitted {
        task: TaskRef,
    },
    Queued {
        task: TaskRef,
        depth: u32,
    },
    Rejected {
        task: TaskRef,
        why: Rejection,
    },
    SlotTransition {
        task: TaskRef,
        terminating: bool,
    },
    WaitingForPermit {
        task: TaskRef,
    },
    AttemptStarting {
        attempt: AttemptRef,
    },
    AttemptEnded {
        attempt: AttemptRef,
        ending: Ending,
        ran: Duration,
        late_by: Duration,
        returned_ok: bool,
    },
    RetryScheduled {
        attempt: AttemptRef,
        delay: Duration,
        cause: FailureCause,
    },
    PauseScheduled {
        attempt: AttemptRef,
        delay: Duration,
    },
    AttemptOverdue {
        attempt: AttemptRef,
        ran: Duration,
    },
    AttemptAbandoned {
        attempt: AttemptRef,
        reason: CancelReason,
        ran: Duration,
    },
    AttemptReturned {
        attempt: AttemptRef,
        late_by: Duration,
        ret: Return,
    },
    TaskEnded {
        task: TaskRef,
        end: End,
    },
    ShutdownRequested {
        cause: ShutdownCause,
    },
    ShutdownEnded,
}
