//! What an attempt answers: how its body came back, and what an order found that may come too late.

use crate::vocabulary::time::Time;

/// How a body came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    Ok,
    /// An error that may be retried.
    Failed,
    /// An error that says it is final.
    Fatal,
    /// `TaskError::cancelled()`.
    Cancelled,
    Panicked,
}

/// What a revocation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevokeAnswer {
    /// The attempt never began and never will.
    Revoked,
    /// A thread had taken it up at this time.
    AlreadyClaimed(Time),
}

/// What a cancellation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TellAnswer {
    /// The token is cancelled.
    Told,
    /// The body has returned; its report is under way.
    AlreadyReturned,
    /// The body had asked for more time before its deadline came.
    DeadlineMoved(Time),
}

/// What an abandonment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AbandonAnswer {
    /// From now on the attempt's return is a note. With `last`, its body will not run again.
    Abandoned { last: bool },
    /// The body has returned, and its report is under way; or it was not told, having asked for
    /// more time.
    NotAbandoned,
}
