//! Requests of callers to the controller. Each reply is sent without blocking.

use std::sync::Arc;
use std::time::Duration;

use crate::output::hook::RunningHook;
use crate::output::not_quiet::BusyAttempt;
use crate::output::snapshot::Snapshot;
use crate::platform::sync::channel::{Receiver, Sender};
use crate::platform::user_value::UserValue;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled, TaskState};
use crate::vocabulary::time::Time;

/// An order or a question to the controller.
pub(crate) enum Request {
    /// Stop this task.
    Cancel(Arc<Record>),
    /// Stop the owner of this slot, and remove the submissions that wait there.
    CancelSlot(String, Sender<SlotCancelled>),
    /// Stop this group.
    CancelGroup(Arc<GroupRecord>),
    /// Have the callbacks of a task run, which is over.
    EndCalls(UserValue<DueCalls>),
    /// Say when the shared lane has served every event up to now; `None` if it already has.
    Flush(Sender<Option<Receiver<()>>>),
    /// Which group has this name?
    Group(String, Sender<Option<FoundGroup>>),
    /// Where is this group in its life?
    GroupState(Arc<GroupRecord>, Sender<GroupState>),
    /// Say when this is so, or when the supervisor has ended.
    Idle {
        until: Until,
        reply: Sender<()>,
    },
    /// Who owns this slot?
    Owner(String, Sender<Option<Arc<Record>>>),
    /// Start no attempt until the task is resumed. This reply, like the next three, says whether
    /// that changes anything.
    Pause(Arc<Record>, Sender<bool>),
    Resume(Arc<Record>, Sender<bool>),
    /// Take this interval from now on.
    SetInterval(Arc<Record>, Duration, Sender<bool>),
    /// End this attempt and start the next one. The reply says whether there was one.
    Restart(Arc<Record>, Sender<bool>),
    /// Restart all members of this group, in order. The reply says whether it can.
    RestartGroup(Arc<GroupRecord>, Sender<bool>),
    /// A body waits for this task, or no longer does.
    WaitBegan(Arc<Record>),
    WaitEnded(Arc<Record>),
    /// Let what will end by itself end, for at most so long, then shut down.
    Drain(Duration),
    /// Shut down.
    Shutdown(ShutdownCause),
    /// The process received a signal that means "end".
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        allow(dead_code, reason = "only a signal makes one")
    )]
    Signal(i32),
    /// Start the next attempt now. The reply says whether the task was waiting for it.
    SkipWait(Arc<Record>, Sender<bool>),
    /// Say when nothing more happens before the clock moves. For manual clocks, like the next
    /// three.
    Settle(Sender<Settled>),
    /// Serve what is due.
    Tick(Sender<()>),
    /// What keeps the supervisor from settling?
    Unsettled(Sender<Unsettled>),
    /// Do not wait for this task when settling.
    Ignore(Arc<Record>),
    /// Would this task's attempt wait for its own class, if it waited for the other task?
    SharesClass(Arc<Record>, Arc<Record>, Sender<bool>),
    /// Tell the service manager.
    Service(ServiceRequest),
    /// What is the state of the supervisor?
    Snapshot(Sender<Snapshot>),
    /// What is the state of this task?
    State(Arc<Record>, Sender<TaskState>),
    /// Which task has this id?
    Task(TaskId, Sender<Option<Arc<Record>>>),
}

/// A group that has not ended, and its members.
pub(crate) type FoundGroup = (Arc<GroupRecord>, Vec<Arc<Record>>);

/// What the program has to say to the service manager.
pub(crate) enum ServiceRequest {
    /// All required tasks are handed over.
    Announce,
    /// This text stands in the status.
    Status(String),
    BeginReload,
    EndReload,
}

/// What a caller waits for who waits for the supervisor as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Every task has its outcome.
    Idle,
    IdleOrShutdown,
    /// A shutdown has begun.
    Shutdown,
}

/// Nothing more happens before the clock moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// When something is due.
    pub(crate) next: Time,
    /// How much the machine has been told so far; wraps around. If it was told nothing between two
    /// answers, nothing happened in between.
    pub(crate) inputs: u32,
}

/// What keeps a supervisor from settling.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) busy: Vec<BusyAttempt>,
    /// The hooks that run and belong to no attempt.
    pub(crate) hooks: Vec<RunningHook>,
    /// How many other destructors run.
    pub(crate) drops: u32,
    /// Attempts, hooks and drops that no thread has taken.
    pub(crate) unstarted: usize,
    /// Lanes that have not called back all their events.
    pub(crate) lanes: usize,
    pub(crate) next: Time,
}

/// The duty to run the callbacks of a task that is over, on its way to the controller. If the
/// supervisor has ended, whoever drops the duty runs them. It travels as a user value, so that this
/// is not the controller.
pub(crate) struct DueCalls(Option<Arc<Record>>);

impl DueCalls {
    pub(super) fn of(record: &Arc<Record>) -> UserValue<Self> {
        UserValue::new(Self(Some(Arc::clone(record))))
    }

    /// The task whose callbacks the taker must have run.
    pub(crate) fn take(&mut self) -> Option<Arc<Record>> {
        self.0.take()
    }
}

impl Drop for DueCalls {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            // No subscriber gets events any more.
            record.run_end_calls(|message| {
                let (of, text) = (record.task_ref(), Escaped(message));
                log::warn!(target: "threadvisor", "a callback of {of} panicked: {text}");
            });
        }
    }
}
