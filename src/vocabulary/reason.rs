//! The reasons for a cancel, a stop, a rejection, a failure and a shutdown; and the task states.

use core::fmt;
use core::time::Duration;

use crate::vocabulary::id::TaskId;
use crate::vocabulary::label::{labels, named};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Seconds;

/// Says why a token was cancelled: by the first request that reached the attempt.
///
/// ```
/// # use threadvisor::{CancelReason, TaskContext};
/// let (ctx, canceller) = TaskContext::detached();
/// canceller.cancel_for(CancelReason::Shutdown);
/// assert_eq!(ctx.reason(), Some(CancelReason::Shutdown)); // what the body is told
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CancelReason {
    /// `cancel` was called on the task or its group, or `cancel_slot` on its slot, a drain stopped
    /// a task with `TaskSpec::stop_at_drain`, or a group stops because of another member.
    Stop,
    /// A newer submission is to take over the slot.
    Replace,
    /// The supervisor is shutting down.
    Shutdown,
    /// The attempt ran past its deadline, or did not say in time that it is ready.
    Timeout,
    /// The attempt gave no sign of life for too long.
    Unresponsive,
    /// `restart` was called: the next attempt follows immediately.
    Restart,
    /// The group of the task restarts: the next attempt follows when it is its phase's turn.
    Group,
}

named!(CancelReason {
    Self::Stop => "stop",
    Self::Replace => "replace",
    Self::Shutdown => "shutdown",
    Self::Timeout => "timeout",
    Self::Unresponsive => "unresponsive",
    Self::Restart => "restart",
    Self::Group => "group",
});

/// Says why a task was cancelled: by the first request to stop it.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let done = TaskSpec::new("done", |_| Err(TaskError::cancelled())); // of its own accord
/// let outcome = supervisor.handle().add(done)?.wait()?;
/// assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::ByTask, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum StopReason {
    /// The body ended itself with `TaskError::cancelled()`.
    ByTask,
    /// `cancel` was called on the task or its group, or `cancel_slot` on its slot.
    Stop,
    /// A drain stopped a task with `TaskSpec::stop_at_drain`, or one with `finish_at_drain` before
    /// its next attempt. A body that is told of it gets [`CancelReason::Stop`].
    Drain,
    /// A newer submission took over the slot.
    Replace,
    /// The supervisor shut down.
    Shutdown,
    /// The group of the task was stopped, because another member had failed for good or the group
    /// had restarted too often. Its body is told [`CancelReason::Stop`].
    Group,
}

named!(StopReason {
    Self::ByTask => "by_task",
    Self::Stop => "stop",
    Self::Drain => "drain",
    Self::Replace => "replace",
    Self::Shutdown => "shutdown",
    Self::Group => "group",
});

impl StopReason {
    /// The reason that the token is cancelled with. `ByTask` is never told; it maps to `Stop`. So
    /// do `Drain` and `Group`, the latter because [`CancelReason::Group`] is an interruption.
    pub(crate) const fn as_cancel(self) -> CancelReason {
        match self {
            Self::ByTask | Self::Stop | Self::Drain | Self::Group => CancelReason::Stop,
            Self::Replace => CancelReason::Replace,
            Self::Shutdown => CancelReason::Shutdown,
        }
    }
}

/// Says which kind of failure a retry follows.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let retry = EventKind::RetryScheduled {
///     attempt: 1,
///     delay: Duration::from_secs(2),
///     cause: FailureCause::TimedOut,
/// };
/// assert_eq!(retry.to_string(), "retry_scheduled attempt=1 delay=2.000s cause=timed_out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FailureCause {
    /// The body returned an error.
    Failed,
    /// The body panicked.
    Panicked,
    /// The body ran past its deadline, or did not say in time that it is ready.
    TimedOut,
    /// The body gave no sign of life.
    Unresponsive,
    /// The body outlived its grace.
    Abandoned,
}

named!(FailureCause {
    Self::Failed => "failed",
    Self::Panicked => "panicked",
    Self::TimedOut => "timed_out",
    Self::Unresponsive => "unresponsive",
    Self::Abandoned => "abandoned",
});

/// Says why a submission never ran.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = || TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let owner = supervisor.handle().add(wait())?;
/// match supervisor.handle().add(wait()).unwrap_err().rejection() {
///     Some(Rejection::SlotBusy { owner: busy, .. }) => assert_eq!(busy, owner.id()),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Rejection {
    /// Another task of the same batch was refused, and a batch is admitted as a whole or not at
    /// all.
    BatchRefused {
        /// The task that was refused for a reason of its own.
        culprit: TaskId,
    },
    /// Its `expires_in` had passed before its first attempt was taken up.
    Expired,
    /// There is a group of this name, which has not ended.
    GroupNameInUse,
    /// More members of the group run at once (all but the steps of other phases, and those with an
    /// interval) than `max_concurrent`, or the limit of a class, allows: with these limits, the
    /// group would never be ready.
    GroupTooLarge {
        /// How many members run at once.
        members: usize,
        /// How many may.
        limit: usize,
    },
    /// The slot's queue already holds as many submissions as `max_slot_queue` allows.
    QueueFull {
        /// How many submissions wait.
        depth: usize,
        /// How many may wait.
        limit: usize,
    },
    /// `cancel_slot` removed it from the queue. As a decision also: it was cancelled before it was
    /// decided; its outcome is then `Cancelled`.
    Removed,
    /// The supervisor was shutting down, or was draining and the task could not have run to its
    /// end.
    ShuttingDown,
    /// The slot has an owner, and the policy was `DropIfRunning`.
    SlotBusy {
        /// The task that owns the slot.
        owner: TaskId,
        /// When it became the owner, counted from the supervisor's start.
        since: Duration,
    },
    /// An earlier task of the same batch names the same slot. `SupervisorHandle::submit_all` with
    /// `AdmissionPolicy::Queue` lets tasks of one slot run one after the other.
    SlotNamedTwice {
        /// The earlier task.
        first: TaskId,
    },
    /// A newer submission took its place in the queue.
    Superseded {
        /// The newer submission.
        by: TaskId,
    },
    /// More attempts, closings and hooks are stuck than `max_abandoned` allows.
    TooManyAbandoned {
        /// How many may be stuck.
        limit: usize,
    },
    /// The supervisor holds as many tasks as `max_tasks` allows.
    TooManyTasks {
        /// How many tasks it may hold.
        limit: usize,
    },
}

labels!(Rejection {
    Self::BatchRefused { .. } => "batch_refused",
    Self::Expired => "expired",
    Self::GroupNameInUse => "group_name_in_use",
    Self::GroupTooLarge { .. } => "group_too_large",
    Self::QueueFull { .. } => "queue_full",
    Self::Removed => "removed",
    Self::ShuttingDown => "shutting_down",
    Self::SlotBusy { .. } => "slot_busy",
    Self::SlotNamedTwice { .. } => "slot_named_twice",
    Self::Superseded { .. } => "superseded",
    Self::TooManyAbandoned { .. } => "too_many_abandoned",
    Self::TooManyTasks { .. } => "too_many_tasks",
});

impl Rejection {
    /// Whether it would have been taken if a limit had been higher.
    pub(crate) const fn is_for_want_of_room(self) -> bool {
        matches!(
            self,
            Self::QueueFull { .. } | Self::TooManyTasks { .. } | Self::TooManyAbandoned { .. }
        )
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchRefused { culprit } => {
                write!(f, "task {culprit} of the same batch was refused, so none was added")
            }
            Self::Expired => f.write_str("expired before its first attempt"),
            Self::GroupNameInUse => {
                f.write_str("another group has this name: wait for its end, or choose another name")
            }
            Self::GroupTooLarge { members, limit } => write!(
                f,
                "{members} members of its group run at once, and there are permits for {limit}: \
                 raise max_concurrent or the limit of their class"
            ),
            Self::QueueFull { depth, limit } => {
                write!(
                    f,
                    "the queue of the slot is full, {depth} tasks wait in it: try again later, \
                     or raise max_slot_queue ({limit})"
                )
            }
            Self::Removed => f.write_str("removed before its first attempt"),
            Self::ShuttingDown => f.write_str("the supervisor is draining or shutting down"),
            Self::SlotBusy { owner, since } => {
                let since = Seconds(*since);
                write!(
                    f,
                    "task {owner} has owned the slot since second {since}: wait for its end, \
                     or `submit` with another admission policy"
                )
            }
            Self::SlotNamedTwice { first } => {
                write!(
                    f,
                    "task {first} of the same batch has the same slot: give each its own, \
                     or hand them over with `submit_all(specs, AdmissionPolicy::Queue)`"
                )
            }
            Self::Superseded { by } => write!(f, "superseded by task {by}"),
            Self::TooManyAbandoned { limit } => {
                write!(
                    f,
                    "more than {limit} attempts and hooks are stuck: find them in a snapshot, \
                     or raise max_abandoned"
                )
            }
            Self::TooManyTasks { limit } => {
                write!(
                    f,
                    "the limit of {limit} tasks is reached: wait for one to end, \
                     or raise max_tasks"
                )
            }
        }
    }
}

/// The controller's first decision about a submission.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = || TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let submit = || supervisor.handle().submit(wait(), AdmissionPolicy::Queue);
/// assert_eq!(submit()?.wait_decided()?, Decision::Admitted);
/// assert!(matches!(submit()?.wait_decided()?, Decision::Queued { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[must_use = "a decision may be a refusal"]
pub enum Decision {
    /// It owns its slot, or has none, and starts as soon as its initial delay and the permits
    /// allow.
    Admitted,
    /// It waits for its slot.
    Queued {
        /// How many submissions wait before it.
        ahead: usize,
    },
    /// It will never run.
    Rejected(Rejection),
}

labels!(Decision {
    Self::Admitted => "admitted",
    Self::Queued { .. } => "queued",
    Self::Rejected(_) => "rejected",
});

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted => f.write_str(self.label()),
            Self::Queued { ahead } => write!(f, "queued behind {ahead}"),
            Self::Rejected(why) => write!(f, "rejected: {why}"),
        }
    }
}

/// Says what `SupervisorHandle::cancel_slot` found.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = || TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// for _ in 0..3 {
///     supervisor.handle().submit(wait(), AdmissionPolicy::Queue)?;
/// }
/// let cancelled = supervisor.handle().cancel_slot("wait");
/// assert_eq!((cancelled.owner_asked, cancelled.removed), (true, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotCancelled {
    /// Whether the slot had an owner that had not already been asked to stop.
    pub owner_asked: bool,
    /// How many waiting submissions were removed.
    pub removed: usize,
}

/// Says why a supervisor shut down: by the first request.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let report = supervisor.run([TaskSpec::once("job", |_| Ok(()))])?;
/// assert_eq!(report.shutdown.cause, ShutdownCause::Idle); // no task was left
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ShutdownCause {
    /// `Supervisor::shutdown`, `Supervisor::drain`, `request_shutdown` or `request_drain` was
    /// called.
    Requested,
    /// The `Supervisor` was dropped.
    Dropped,
    /// `Supervisor::run` found no task left.
    Idle,
    /// `Supervisor::run`, `run_group`, `wait_shutdown` or `drain` was called by a body of another
    /// supervisor, and that body was told to return.
    CallerTold,
    /// The process received this signal.
    Signal(Signal),
    /// This task ended by itself, and its spec has `TaskSpec::shutdown_on_end`.
    TaskEnded(TaskId),
    /// The controller thread panicked, which is a bug in this crate.
    ControllerPanicked,
}

labels!(ShutdownCause {
    Self::Requested => "requested",
    Self::Dropped => "dropped",
    Self::Idle => "idle",
    Self::CallerTold => "caller_told",
    Self::Signal(_) => "signal",
    Self::TaskEnded(_) => "task_ended",
    Self::ControllerPanicked => "controller_panicked",
});

impl fmt::Display for ShutdownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::TaskEnded(id) => write!(f, "task {id} ended"),
            Self::Requested
            | Self::Dropped
            | Self::Idle
            | Self::CallerTold
            | Self::ControllerPanicked => f.write_str(self.label()),
        }
    }
}

/// Says where a task is in its life.
///
/// ```text
/// Intake ─► Queued ─► Runnable ─► Starting ─► Running ─► Stopping ─► Abandoned
///    │         │       ▲    ▲                  │           │           │
///    │         ▼       │    └──── Waiting ◄────┴───────────┴───────────┘
///    └─────────┴───────┴── or Waiting first    each may become Closing, or Over
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TaskState {
    /// The task is handed over, but not decided yet.
    Intake,
    /// The task waits in its slot's queue.
    Queued,
    /// The task owns its slot, if it has one, and waits for a permit.
    Runnable,
    /// The task has a permit, and its attempt is offered to a thread.
    Starting,
    /// The body runs.
    Running,
    /// The body was told to return and has its grace.
    Stopping,
    /// The body outlived its grace and still runs.
    Abandoned,
    /// The task waits for its initial delay, its backoff, its interval or its phase, or is
    /// [paused](crate::TaskHandle::pause), and holds no thread and no permit.
    Waiting,
    /// The body will not run again, and is being dropped on a worker, or waits for one.
    Closing,
    /// The task has ended, and its outcome is known.
    Over,
}

named!(TaskState {
    Self::Intake => "intake",
    Self::Queued => "queued",
    Self::Runnable => "runnable",
    Self::Starting => "starting",
    Self::Running => "running",
    Self::Stopping => "stopping",
    Self::Abandoned => "abandoned",
    Self::Waiting => "waiting",
    Self::Closing => "closing",
    Self::Over => "over",
});
