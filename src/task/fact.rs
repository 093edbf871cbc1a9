//! What threads tell the controller: each message is a fact about an attempt, a hook, a thread or a
//! lane, sent without waiting for an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::platform::stall::Stall;
use crate::task::body::Body;
use crate::task::cell::Cell;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::AttemptAddr;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// Something that has happened on another thread.
pub(crate) enum Fact {
    /// A thread has taken up an attempt.
    Claimed { attempt: AttemptAddr, at: Time },
    /// A body has returned.
    Returned(Returned),
    /// The destructor of a user's value panicked.
    DropPanicked { message: String },
    /// A thread was looked at; nothing is known of one that had moved on.
    Examined { attempt: AttemptAddr, stall: Option<Stall> },
    /// A hook was registered, and there is no thread of last resort yet.
    HookThreadWanted,
    /// A hook panicked.
    HookPanicked { cell: Arc<Cell>, message: String },
    /// A hook takes, or took, long.
    HookSlow { cell: Arc<Cell>, ran: Duration },
    /// A hook outlived the grace of its attempt.
    HookAbandoned,
    /// A hook that had done so has returned.
    HookReturned,
    /// Hooks of an attempt are to be run again at that time.
    HooksDue { cell: Arc<Cell>, due: Time },
    /// A thread could not be had; another is tried after that time.
    ThreadRefused { error: io::Error, retry_in: Duration },
    /// A thread came, and what the user wants done first on each thread failed.
    SetUpFailed { role: Role, error: io::Error },
    /// A subscriber panicked.
    SubscriberPanicked { subscriber: Arc<str>, message: String },
    /// A lane has served its last event.
    LaneFlushed,
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Pooled,
    /// One attempt, which waits for another thread now.
    Dedicated,
    /// The one of last resort for hooks.
    Hooks,
}

/// How an attempt came back, with what it brought.
pub(crate) struct Returned {
    pub(crate) attempt: AttemptAddr,
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    pub(crate) ret: Return,
    pub(crate) error: Option<TaskError>,
    /// The body, unless it will not run again; then it is dropped already.
    pub(crate) body: Option<Body>,
}
