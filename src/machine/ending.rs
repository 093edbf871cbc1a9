//! How an attempt ends, and what follows: the table of rules, in its order.
//!
//! What the body was *told* before it returned decides how its attempt ends. What was *asked* of
//! the task decides whether the task goes on; that half is in `attempt.rs`. The worker judges by
//! the same function, because it must know whether the body runs again before it reports.

use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::PanicPolicy;
use crate::vocabulary::reason::{CancelReason, FailureCause, Rejection, StopReason};

/// How an attempt ended: its one terminal event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Cancelled,
    Failed,
    Panicked,
    TimedOut,
    Unresponsive,
}

/// What follows the end of an attempt, if nothing was asked of the task in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing follows, under every policy.
    Over(End),
    /// The restart policy decides; without a retry, this cause becomes the outcome.
    Failure(FailureCause),
    Success,
    /// The next attempt follows immediately, and nothing is counted.
    Again,
}

/// How a task ended: its one outcome, without user values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    /// With what the body returned in this attempt; `None` if no body ran.
    Cancelled {
        reason: StopReason,
        ret: Option<Return>,
    },
    Failed,
    Fatal,
    Panicked,
    TimedOut,
    Unresponsive,
    Abandoned {
        reason: CancelReason,
        stop: Option<StopReason>,
    },
    Rejected(Rejection),
}

impl End {
    /// The outcome of a failure that is not retried; `None` for an abandonment, whose outcome has
    /// more fields.
    pub(super) const fn of_failure(cause: FailureCause) -> Option<Self> {
        match cause {
            FailureCause::Failed => Some(Self::Failed),
            FailureCause::Panicked => Some(Self::Panicked),
            FailureCause::TimedOut => Some(Self::TimedOut),
            FailureCause::Unresponsive => Some(Self::Unresponsive),
            FailureCause::Abandoned => None,
        }
    }

    /// What the destructors of a closing find that their token was cancelled for.
    pub(super) const fn told_in_closing(self) -> CancelReason {
        match self {
            Self::Cancelled { reason, .. } => reason.as_cancel(),
            Self::Abandoned { reason, .. } => reason,
            Self::Rejected(Rejection::ShuttingDown) => CancelReason::Shutdown,
            Self::Rejected(Rejection::Superseded { .. }) => CancelReason::Replace,
            Self::Completed
            | Self::Failed
            | Self::Fatal
            | Self::Panicked
            | Self::TimedOut
            | Self::Unresponsive
            | Self::Rejected(_) => CancelReason::Stop,
        }
    }

    /// Whether this is a failure. A stop or a refusal is neither failure nor success.
    pub(crate) const fn is_failure(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled { .. } | Self::Rejected(_) => false,
            Self::Failed
            | Self::Fatal
            | Self::Panicked
            | Self::TimedOut
            | Self::Unresponsive
            | Self::Abandoned { .. } => true,
        }
    }

    /// Whether the task ended by itself, and not by a stop or a refusal.
    pub(super) fn is_own(self) -> bool {
        use StopReason::{Drain, Group, Replace, Shutdown, Stop};
        match self {
            Self::Completed
            | Self::Cancelled { reason: StopReason::ByTask, .. }
            | Self::Failed
            | Self::Fatal
            | Self::Panicked
            | Self::TimedOut
            | Self::Unresponsive => true,
            Self::Abandoned { stop, .. } => stop.is_none(),
            Self::Rejected(_)
            | Self::Cancelled { reason: Stop | Drain | Replace | Shutdown | Group, .. } => false,
        }
    }
}

/// What a body had been told when it returned, as far as that decides anything.
#[derive(Clone, Copy)]
enum Told {
    Nothing,
    Stop(StopReason),
    Timeout,
    Unresponsive,
    Restart,
}

impl Told {
    const fn of(told: Option<CancelReason>) -> Self {
        match told {
            None => Self::Nothing,
            Some(CancelReason::Stop) => Self::Stop(StopReason::Stop),
            Some(CancelReason::Replace) => Self::Stop(StopReason::Replace),
            Some(CancelReason::Shutdown) => Self::Stop(StopReason::Shutdown),
            Some(CancelReason::Timeout) => Self::Timeout,
            Some(CancelReason::Unresponsive) => Self::Unresponsive,
            Some(CancelReason::Restart | CancelReason::Group) => Self::Restart,
        }
    }
}

/// Judges the return of an attempt that was not abandoned. The first line that applies decides.
pub(crate) fn judge(told: Option<CancelReason>, ret: Return, panic: PanicPolicy) -> (Ending, Next) {
    use Return::{Cancelled, Failed, Fatal, Ok, Panicked};
    match (Told::of(told), ret) {
        // A fatal error counts whatever the body was told, because a retry would not help.
        (_, Fatal) => (Ending::Failed, Next::Over(End::Fatal)),
        (_, Panicked) if panic != PanicPolicy::Failure => {
            (Ending::Panicked, Next::Over(End::Panicked))
        }
        (Told::Stop(_), Panicked) => (Ending::Panicked, Next::Over(End::Panicked)),

        // The body was told to stop: nothing follows, and its return is all that was asked.
        (Told::Stop(reason), Ok) => {
            (Ending::Succeeded, Next::Over(End::Cancelled { reason, ret: Some(ret) }))
        }
        (Told::Stop(reason), Failed | Cancelled) => {
            (Ending::Cancelled, Next::Over(End::Cancelled { reason, ret: Some(ret) }))
        }

        // The body was told that it had failed: its result comes too late to change that.
        (Told::Timeout, Ok | Failed | Cancelled | Panicked) => {
            (Ending::TimedOut, Next::Failure(FailureCause::TimedOut))
        }
        (Told::Unresponsive, Ok | Failed | Cancelled | Panicked) => {
            (Ending::Unresponsive, Next::Failure(FailureCause::Unresponsive))
        }

        // The body was told to restart, or nothing. A panic is a failure even after it was told.
        (Told::Restart | Told::Nothing, Panicked) => {
            (Ending::Panicked, Next::Failure(FailureCause::Panicked))
        }
        (Told::Restart, Ok) => (Ending::Succeeded, Next::Again),
        (Told::Restart, Failed | Cancelled) => (Ending::Cancelled, Next::Again),

        (Told::Nothing, Cancelled) => {
            let end = End::Cancelled { reason: StopReason::ByTask, ret: Some(ret) };
            (Ending::Cancelled, Next::Over(end))
        }
        (Told::Nothing, Failed) => (Ending::Failed, Next::Failure(FailureCause::Failed)),
        (Told::Nothing, Ok) => (Ending::Succeeded, Next::Success),
    }
}

/// Which ends of an attempt would be the task's last, as known when the attempt starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finality {
    /// A success is final.
    pub(crate) success: bool,
    /// A failure is final, whenever it comes.
    pub(crate) failure: bool,
    pub(crate) panic: PanicPolicy,
}

impl Finality {
    /// Whether an attempt that returned like this was the task's last, whatever the clock says. Of
    /// what an abandoned attempt returns, only a fatal error counts.
    pub(crate) fn is_final(self, told: Option<CancelReason>, ret: Return, abandoned: bool) -> bool {
        if abandoned {
            return ret == Return::Fatal;
        }
        match judge(told, ret, self.panic).1 {
            Next::Over(_) => true,
            Next::Failure(_) => self.failure,
            Next::Success => self.success,
            Next::Again => false,
        }
    }
}
