//! What the controller hears from threads that run user code.

use std::io;
use std::sync::Arc;

use super::worker::Dedicated;
use crate::output::error::TaskError;
use crate::platform::stall::Stall;
use crate::task::body::Body;
use crate::task::cell::Cell;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::AttemptRef;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(super) enum Report {
    Claimed { attempt: AttemptRef, at: Time },
    Returned(Returned),
    DropPanicked { message: String },
    Examined { attempt: AttemptRef, stall: Option<Stall> },
    HookReturned,
    HookThreadRefused { error: io::Error },
    HooksDue { cell: Arc<Cell>, due: Time },
    SubscriberPanicked { subscriber: Arc<str>, message: String },
    ThreadRefused { error: io::Error, unserved: Option<Box<Dedicated>> },
    LaneFlushed,
}

/// How an attempt came back, with what it brought.
pub(super) struct Returned {
    pub(super) attempt: AttemptRef,
    pub(super) claimed_at: Time,
    pub(super) at: Time,
    pub(super) told: Option<CancelReason>,
    pub(super) ret: Return,
    pub(super) error: Option<TaskError>,
    /// The body, unless it will not run again; then it is dropped already.
    pub(super) body: Option<Body>,
}

impl Report {
    /// Whether to drop it may run user code.
    pub(super) fn may_hold_user_values(&self) -> bool {
        match self {
            Self::Returned(Returned { error, body, .. }) => error.is_some() || body.is_some(),
            Self::ThreadRefused { unserved, .. } => unserved.is_some(),
            // It may be the last to know how the task ended.
            Self::HooksDue { cell, .. } => {
                cell.record.outcome().is_some_and(|outcome| outcome.is_failure())
            }
            Self::Claimed { .. }
            | Self::DropPanicked { .. }
            | Self::Examined { .. }
            | Self::HookReturned
            | Self::HookThreadRefused { .. }
            | Self::SubscriberPanicked { .. }
            | Self::LaneFlushed => false,
        }
    }
}
