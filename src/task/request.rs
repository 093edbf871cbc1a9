//! What a caller asks of the controller. Each reply is sent without blocking.

use std::sync::Arc;

use crate::output::snapshot::Snapshot;
use crate::platform::sync::channel::{Receiver, Sender};
use crate::task::record::Record;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled, TaskState};

/// Something that somebody wants done, or wants to know.
pub(crate) enum Request {
    /// Stop this task.
    Cancel(Arc<Record>),
    /// Stop the owner of this slot, and remove what waits there.
    CancelSlot(String, Sender<SlotCancelled>),
    /// Say when the shared lane has called back every event up to now; `None` if it has already.
    Flush(Sender<Option<Receiver<()>>>),
    /// Say when no task is without outcome, or when a shutdown begins if that is enough.
    Idle { or_shutdown: bool, reply: Sender<()> },
    /// Who owns this slot?
    Owner(String, Sender<Option<Arc<Record>>>),
    /// End this attempt and start the next one. Says whether there was one.
    Restart(Arc<Record>, Sender<bool>),
    /// Shut down.
    Shutdown(ShutdownCause),
    /// The process received a signal that means "end".
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        allow(dead_code, reason = "only a signal makes one")
    )]
    Signal(i32),
    /// Start the next attempt now. Says whether the task waited for it.
    SkipWait(Arc<Record>, Sender<bool>),
    /// How is everything?
    Snapshot(Sender<Snapshot>),
    /// How is this task?
    State(Arc<Record>, Sender<TaskState>),
    /// Which task has this id?
    Task(TaskId, Sender<Option<Arc<Record>>>),
}
