//! The state of a supervisor at one moment, as one consistent record.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::output::mark::Mark;
use crate::output::report::AbandonedAttempt;
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::label::named;
use crate::vocabulary::reason::TaskState;
use crate::vocabulary::time::Seconds;

/// What a supervisor was doing at one moment. All times count from its start.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let gate = TaskSpec::new("gate", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// supervisor.handle().add(gate)?;
/// let snapshot = supervisor.handle().snapshot()?;
/// assert_eq!(snapshot.tasks[0].task.name.as_ref(), "gate");
/// assert!(snapshot.is_healthy());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub at: Duration,
    /// Whether the door is closed.
    pub shutting_down: bool,
    /// Every task the supervisor knows, by id.
    pub tasks: Vec<TaskSnapshot>,
    /// Every slot with an owner or a queue, by key.
    pub slots: Vec<SlotSnapshot>,
    /// The worker threads.
    pub workers: WorkerCounts,
    /// The permits.
    pub permits: PermitCounts,
    /// The ledger: every attempt and hook that outlived its grace and still runs.
    pub abandoned: Vec<AbandonedAttempt>,
}

impl Snapshot {
    /// Whether nothing needs attention: no attempt is abandoned, silent or was told of an
    /// interruption, and no task is in a streak of failures.
    pub fn is_healthy(&self) -> bool {
        let well = |task: &TaskSnapshot| task.failures == 0 && !task.interrupted && !task.silent;
        self.abandoned.is_empty() && self.tasks.iter().all(well)
    }

    /// The task with this id.
    pub fn task(&self, id: TaskId) -> Option<&TaskSnapshot> {
        self.tasks.iter().find(|task| task.task.id == id)
    }

    /// The slot with this key; `None` if it is idle and nobody waits for it.
    pub fn slot(&self, key: &str) -> Option<&SlotSnapshot> {
        self.slots.iter().find(|slot| &*slot.key == key)
    }
}

/// One task of a [`Snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// Which task.
    pub task: TaskRef,
    /// Where it is in its life. `Abandoned` also when its outcome is known already.
    pub state: TaskState,
    /// The number of its latest attempt, 0 before the first.
    pub attempt: u64,
    /// Its failures since its last success.
    pub failures: u32,
    /// Since when it is in its state.
    pub since: Duration,
    /// When something happens by itself: the next start, the deadline, the end of the grace, the
    /// expiry.
    pub next_wake: Option<Duration>,
    /// Its latest failure, kept until a success.
    pub last_failure: Option<TaskError>,
    /// The thread that runs it.
    pub thread: Option<Arc<str>>,
    /// Whether its attempt was told to return for a reason other than a stop or restart.
    pub interrupted: bool,
    /// Whether its attempt gives no sign of life, by its watchdog.
    pub silent: bool,
    /// Where its body said last that it was.
    pub mark: Option<Mark>,
}

/// One slot of a [`Snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotSnapshot {
    /// The slot's key.
    pub key: Arc<str>,
    /// Who owns it.
    pub owner: Option<TaskId>,
    /// What its owner is doing.
    pub status: SlotStatus,
    /// How many wait for it.
    pub queued: usize,
}

/// Whether a slot is free, derived from the state of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotStatus {
    /// Nobody owns it.
    Idle,
    /// It has an owner, in whatever state.
    Running {
        /// Since when the owner owns it, counted from the supervisor's start.
        since: Duration,
    },
    /// Its owner was asked to stop, or is abandoned.
    Terminating {
        /// Since when, counted from the supervisor's start.
        since: Duration,
    },
}

named!(SlotStatus {
    Self::Idle => "idle",
    Self::Running { .. } => "running",
    Self::Terminating { .. } => "terminating",
});

/// The worker threads of a [`Snapshot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerCounts {
    /// Threads that run or are starting.
    pub threads: usize,
    /// Threads that wait for work.
    pub idle: usize,
    /// Attempts that no thread has taken up.
    pub offered: usize,
}

/// The permits of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermitCounts {
    /// Permits that are out, those of abandoned attempts included.
    pub held: usize,
    /// How many there are; `None` is unlimited.
    pub limit: Option<usize>,
    /// Tasks that wait for one.
    pub waiting: usize,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.tasks.iter();
        write!(f, "tasks={} slots={}", self.tasks.len(), self.slots.len())?;
        write!(f, " threads={} permits={}", self.workers.threads, self.permits.held)?;
        write!(f, " abandoned={}", self.abandoned.len())?;
        for task in tasks {
            let held = Seconds(self.at.saturating_sub(task.since));
            write!(f, "\n  {} {} for {held} s", task.task, task.state)?;
            if task.attempt > 0 {
                write!(f, ", attempt {}", task.attempt)?;
            }
            if let Some(next) = task.next_wake {
                write!(f, ", wakes in {} s", Seconds(next.saturating_sub(self.at)))?;
            }
            if let Some(mark) = &task.mark {
                write!(f, ", at {mark}")?;
            }
            if let Some(failure) = &task.last_failure {
                write!(f, ", last failure: {failure}")?;
            }
        }
        for attempt in &self.abandoned {
            write!(f, "\n  still running: {attempt}")?;
        }
        Ok(())
    }
}
