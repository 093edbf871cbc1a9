//! What threads report to the controller: each message is a fact about an attempt, a hook, a thread
//! or a lane, sent without waiting for an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::platform::stall::Stall;
use crate::task::body::Body;
use crate::task::cell::Cell;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::AttemptRef;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// Something that has happened on another thread.
pub(crate) enum Fact {
    /// A thread has taken up an attempt.
    Claimed { attempt: AttemptRef, at: Time },
    /// A body has returned.
    Returned(Returned),
    /// The destructor of a user value panicked.
    DropPanicked { message: String },
    /// A thread was examined; `None` if it had moved on.
    Examined { attempt: AttemptRef, stall: Option<Stall> },
    /// The first hook of the supervisor was registered: a thread of last resort is needed.
    HookRegistered,
    /// A hook panicked.
    HookPanicked { cell: Arc<Cell>, message: String },
    /// A hook takes, or took, over 100 ms.
    HookSlow { cell: Arc<Cell>, ran: Duration },
    /// A hook outlived the grace of its attempt.
    HookAbandoned,
    /// A hook that counted as abandoned has returned.
    HookReturned,
    /// Nudges of an attempt are due again at that time.
    HooksDue { cell: Arc<Cell>, due: Time },
    /// The system refused the thread of last resort for hooks.
    HookThreadRefused { error: io::Error },
    /// The system refused a thread of the pool, or its `on_thread_start` failed.
    ThreadRefused { error: io::Error },
    /// The system refused a dedicated thread for an attempt, which waits for the next try.
    DedicatedRefused { error: io::Error },
    /// A subscriber panicked.
    SubscriberPanicked { subscriber: Arc<str>, message: String },
    /// A lane has served its last event.
    LaneFlushed,
}

/// How an attempt returned, with its error and its body.
pub(crate) struct Returned {
    pub(crate) attempt: AttemptRef,
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    pub(crate) ret: Return,
    pub(crate) error: Option<TaskError>,
    /// The body; `None` if it will not run again, because then it is already dropped.
    pub(crate) body: Option<Body>,
}
