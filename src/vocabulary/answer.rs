//! The answers of an attempt: how its body returned, and what an order that may come too late
//! found.

use crate::vocabulary::time::Time;

/// How a body returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    Ok,
    /// An error that may be retried.
    Failed,
    /// A fatal error.
    Fatal,
    /// `TaskError::cancelled()`.
    Cancelled,
    Panicked,
}

/// The answer to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevokeAnswer {
    /// The attempt never began and never will.
    Revoked,
    /// A thread had taken it up at this time.
    AlreadyClaimed(Time),
}

/// The answer to a tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TellAnswer {
    /// The token is cancelled.
    Told,
    /// The body has returned; its report is under way.
    AlreadyReturned,
    /// The body had moved its deadline before it was told of it.
    DeadlineMoved(Time),
}

/// The answer to the abandonment of a closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosingAnswer {
    /// No thread has taken it up.
    Untaken,
    /// A thread is in the destructors, and counts as stuck from now on.
    Abandoned,
    /// The body is dropped; the report is under way.
    Dropped,
}

/// The answer to an abandonment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AbandonAnswer {
    /// The attempt is abandoned. With `last`, its body will not run again.
    Abandoned { last: bool },
    /// The body has returned, and its report is under way; or it was not told, because it moved its
    /// deadline.
    NotAbandoned,
}
