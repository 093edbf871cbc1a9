//! What a caller asks of the controller.

use std::sync::Arc;
use std::time::Duration;

use crate::output::snapshot::Snapshot;
use crate::platform::sync::channel::{Receiver, Sender};
use crate::task::cell::Cell;
use crate::task::record::Record;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled, TaskState};
use crate::vocabulary::time::Time;

/// What a caller asks of the controller. Each reply is sent without blocking.
pub(crate) enum Request {
    Cancel(Arc<Record>),
    CancelSlot(String, Sender<SlotCancelled>),
    /// A destructor that ran wherever the last reference to a record was given up.
    DropPanicked {
        message: String,
    },
    Flush(Sender<Option<Receiver<()>>>),
    HookPanicked {
        cell: Arc<Cell>,
        message: String,
    },
    HookSlow {
        cell: Arc<Cell>,
        ran: Duration,
    },
    HookThread,
    Idle {
        or_shutdown: bool,
        reply: Sender<()>,
    },
    /// A hook that was hung up late is to be run again.
    Nudge {
        cell: Arc<Cell>,
        due: Time,
    },
    Owner(String, Sender<Option<Arc<Record>>>),
    Restart(Arc<Record>, Sender<bool>),
    Shutdown(ShutdownCause),
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        allow(dead_code, reason = "only a signal makes one")
    )]
    Signal(i32),
    SkipWait(Arc<Record>, Sender<bool>),
    Snapshot(Sender<Snapshot>),
    State(Arc<Record>, Sender<TaskState>),
    Task(TaskId, Sender<Option<Arc<Record>>>),
}

impl Request {
    /// The record that came with it.
    pub(crate) fn into_record(self) -> Option<Arc<Record>> {
        match self {
            Self::Cancel(record)
            | Self::Restart(record, _)
            | Self::SkipWait(record, _)
            | Self::State(record, _) => Some(record),
            Self::HookPanicked { cell, .. }
            | Self::HookSlow { cell, .. }
            | Self::Nudge { cell, .. } => Some(Arc::clone(&cell.record)),
            Self::CancelSlot(..)
            | Self::DropPanicked { .. }
            | Self::Flush(_)
            | Self::HookThread
            | Self::Idle { .. }
            | Self::Owner(..)
            | Self::Shutdown(_)
            | Self::Signal(_)
            | Self::Snapshot(_)
            | Self::Task(..) => None,
        }
    }
}
