//! The state of a supervisor at one moment, as one consistent value.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::output::group::GroupSnapshot;
use crate::output::hook::RunningHook;
use crate::output::mark::{Mark, Progress};
use crate::output::report::AbandonedAttempt;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::label::named;
use crate::vocabulary::reason::TaskState;
use crate::vocabulary::time::Seconds;

/// Shows what a supervisor was doing at one moment; returned from
/// [`SupervisorHandle::snapshot`](crate::SupervisorHandle::snapshot). All its times count from the
/// supervisor's start.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// When the snapshot was taken. No time in it is later, except `next_wake`.
    pub at: Duration,
    /// Whether a drain is under way: until what will end has ended, only the supervisor's own
    /// bodies may hand over tasks.
    pub draining: bool,
    /// Whether the supervisor is shutting down and takes no more tasks.
    pub shutting_down: bool,
    /// Every task without an outcome, and every one that keeps its slot because its body still runs
    /// or is being dropped, in the order of their ids. Tasks that have ended are not here; released
    /// attempts are only in [`abandoned`](Self::abandoned).
    pub tasks: Vec<TaskSnapshot>,
    /// Every slot with an owner or a queue, in the order of their keys.
    pub slots: Vec<SlotSnapshot>,
    /// Every class that the supervisor has, in the order of their names.
    pub classes: Vec<ClassSnapshot>,
    /// Every group that has not ended, in the order of their names.
    pub groups: Vec<GroupSnapshot>,
    /// The worker threads.
    pub workers: WorkerCounts,
    /// The permits.
    pub permits: PermitCounts,
    /// Every attempt, cancel hook and drop of a body that outlived its grace and still runs, by
    /// `since`.
    pub abandoned: Vec<AbandonedAttempt>,
    /// Every callback of [`on_signal`](crate::SupervisorBuilder::on_signal) and
    /// [`on_end`](crate::TaskHandle::on_end) that outlived the supervisor's grace and still runs.
    pub stuck_hooks: Vec<RunningHook>,
    pub(crate) well: bool,
}

impl Snapshot {
    /// Returns whether nothing needs attention: no attempt is abandoned or silent, no hook or drop
    /// is stuck, no attempt was told of its deadline or its silence, no task is in a streak of
    /// failures unless its attempt is stable, and no work has waited for over a second for a thread
    /// that cannot be started.
    ///
    /// A drain or a shutdown does not affect health. A readiness check, which asks whether new work
    /// is welcome, should also look at [`draining`](Self::draining) and
    /// [`shutting_down`](Self::shutting_down).
    pub fn is_healthy(&self) -> bool {
        let well = |task: &TaskSnapshot| {
            (task.failures == 0 || task.stable) && !task.interrupted && !task.silent
        };
        let stuck = !self.abandoned.is_empty() || !self.stuck_hooks.is_empty();
        !stuck && !self.workers.starving && self.tasks.iter().all(well)
    }

    /// Returns whether the [required](crate::TaskSpec::required) tasks are in order: none of them
    /// is silent, abandoned under `Hold`, down for longer than it may be, or has failed for good.
    /// This is what a [service manager](crate::ServiceManager) is told;
    /// [`is_healthy`](Self::is_healthy) speaks of all tasks.
    ///
    /// A task is down from its first failure until it shows that it works: an attempt succeeds,
    /// says that it is [ready](crate::TaskContext::ready), or, without a
    /// [`timeout`](crate::TaskSpec::timeout), is stable. It may be down for
    /// [`sick_after`](crate::ServiceManager::sick_after). An attempt that runs does not change the
    /// verdict until it ends, except that one with a [`watchdog`](crate::TaskSpec::watchdog) is in
    /// order once it has given a sign of life. A success, `ready` or a sign of life ends a silence.
    /// A paused task is in order if no attempt of it runs.
    pub const fn is_well(&self) -> bool {
        self.well
    }

    /// Returns the task with this id; `None` if the supervisor no longer knows it. See the example
    /// of [`group`](Self::group).
    pub fn task(&self, id: TaskId) -> Option<&TaskSnapshot> {
        // They are in this order, unless somebody has put them into another.
        let found = self.tasks.binary_search_by_key(&id, |task| task.task.id).ok();
        let found = found.map(|place| &self.tasks[place]);
        found.or_else(|| self.tasks.iter().find(|task| task.task.id == id))
    }

    /// Returns the class with this name; `None` if the supervisor has no such class. See the
    /// example of [`ClassSnapshot`].
    pub fn class(&self, name: &str) -> Option<&ClassSnapshot> {
        self.classes.iter().find(|class| &*class.name == name)
    }

    /// Returns the group with this name; `None` if there is none, or it has ended.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let reader = TaskSpec::new("reader", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let line = supervisor.handle().add_group(GroupSpec::new("line").then(reader))?;
    /// let snapshot = supervisor.handle().snapshot()?;
    /// assert!(snapshot.group("line").is_some() && snapshot.group("other").is_none());
    /// let reader = snapshot.task(line.members()[0].id()).expect("it has no outcome");
    /// assert_eq!((reader.group.as_deref(), reader.phase), (Some("line"), Some(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, name: &str) -> Option<&GroupSnapshot> {
        self.groups.iter().find(|group| &*group.name == name)
    }

    /// Returns the slot with this key; `None` if the slot is idle and nothing waits for it. See the
    /// example of [`SlotSnapshot`].
    pub fn slot(&self, key: &str) -> Option<&SlotSnapshot> {
        // They are in this order, unless somebody has put them into another.
        let found = self.slots.binary_search_by(|slot| (*slot.key).cmp(key)).ok();
        let found = found.map(|place| &self.slots[place]);
        found.or_else(|| self.slots.iter().find(|slot| &*slot.key == key))
    }
}

/// Shows one task of a [`Snapshot`].
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let _wait = supervisor.handle().add(wait)?;
/// let snapshot = supervisor.handle().snapshot()?;
/// let task = &snapshot.tasks[0];
/// assert_eq!((task.task.name.as_ref(), task.failures, task.paused), ("wait", 0, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
// They are independent facts about one moment.
#[allow(clippy::struct_excessive_bools)]
pub struct TaskSnapshot {
    /// The task.
    pub task: TaskRef,
    /// The state of the task. An abandoned task is `Abandoned` even if its outcome is already
    /// known.
    pub state: TaskState,
    /// The name of its [group](crate::GroupSpec); `None` if it is in none.
    pub group: Option<Arc<str>>,
    /// The phase of its group that it is in, from 0. A member that is `Waiting` without a
    /// `next_wake` waits for its group: for the phases before it, for others that stop first, or,
    /// as a step that is done, for the next restart.
    pub phase: Option<usize>,
    /// The name of its [class](crate::TaskSpec::class); `None` if it is in none.
    pub class: Option<Arc<str>>,
    /// Which permit of its class it holds, from 0. A task that is `Runnable` waits for a permit of
    /// its class if it has a class and holds none; otherwise it waits for one of
    /// [`max_concurrent`](crate::SupervisorBuilder::max_concurrent).
    pub class_index: Option<usize>,
    /// Whether the task is [paused](crate::TaskHandle::pause). An attempt may still run.
    pub paused: bool,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u64,
    /// The number of failures in the streak: since the last success, or since a stable moment that
    /// ended the streak.
    pub failures: u32,
    /// When the task entered its state, counted from the supervisor's start, as
    /// [`Snapshot::at`] is.
    pub since: Duration,
    /// When something will next happen to it by itself: the next start, the deadline, the end of
    /// the grace, or the expiry. `None` if nothing will. A body that has extended its deadline may
    /// have moved this moment.
    pub next_wake: Option<Duration>,
    /// The latest failure of the streak.
    pub last_failure: Option<TaskError>,
    /// The name of the thread that runs the attempt.
    pub thread: Option<Arc<str>>,
    /// Whether the attempt was told to return because of its deadline or its silence.
    pub interrupted: bool,
    /// Whether the watchdog has found the attempt silent. It stays so until the attempt gives a
    /// sign of life or, once it is told to return, until it returns or is abandoned.
    pub silent: bool,
    /// Whether the service cannot do without the task: see
    /// [`required`](crate::TaskSpec::required).
    pub required: bool,
    /// Whether the attempt is stable: it has run for
    /// [`stable_after`](crate::TaskSpec::stable_after), and was not told to return.
    pub stable: bool,
    /// Whether the attempt has said that it is [ready](crate::TaskContext::ready).
    pub ready: bool,
    /// The number of the process that its body runs, the oldest of several. Feature `process`.
    pub pid: Option<u32>,
    pub(crate) at: Duration,
    /// The last [mark](crate::TaskContext::mark) of the body; `None` while no attempt runs.
    pub mark: Option<Mark>,
    /// How far the body of the attempt [has got](crate::TaskContext::progress), if it says so;
    /// `None` while no attempt runs, such as between two of them.
    pub progress: Option<Progress>,
}

impl TaskSnapshot {
    /// Returns how long the task had been in its state when the snapshot was taken.
    pub fn age(&self) -> Duration {
        self.at.saturating_sub(self.since)
    }
}

/// Shows one slot of a [`Snapshot`].
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let wait = supervisor.handle().add(wait)?;
/// let snapshot = supervisor.handle().snapshot()?;
/// let slot = snapshot.slot("wait").expect("it has an owner");
/// assert_eq!((slot.owner, slot.queued), (Some(wait.id()), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotSnapshot {
    /// The slot's key.
    pub key: Arc<str>,
    /// The task that owns the slot.
    pub owner: Option<TaskId>,
    /// Whether the slot is free, from the state of its owner.
    pub status: SlotStatus,
    /// The number of submissions that wait for the slot.
    pub queued: usize,
}

/// Says whether a slot is free, derived from the state of its owner.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let _wait = supervisor.handle().add(wait)?;
/// let snapshot = supervisor.handle().snapshot()?;
/// let slot = snapshot.slot("wait").expect("it has an owner");
/// assert_eq!(slot.status.label(), "running");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SlotStatus {
    /// The slot has no owner.
    Idle,
    /// The slot has an owner, even if no attempt is running.
    Running {
        /// When the owner became the owner.
        since: Duration,
    },
    /// The owner was asked to stop, its attempt is abandoned, or its body is being dropped.
    Terminating {
        /// When that began.
        since: Duration,
    },
}

named!(SlotStatus {
    Self::Idle => "idle",
    Self::Running { .. } => "running",
    Self::Terminating { .. } => "terminating",
});

/// Shows one class of a [`Snapshot`].
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().class_limit("flash", 1).start()?;
/// let snapshot = supervisor.handle().snapshot()?;
/// let class = snapshot.class("flash").expect("the builder has declared it");
/// assert_eq!((class.limit, class.held, class.waiting), (1, 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ClassSnapshot {
    /// The name of the class.
    pub name: Arc<str>,
    /// The number of its permits.
    pub limit: usize,
    /// The permits that are held, including those of attempts that are abandoned under `Hold`, and
    /// of tasks that wait for a permit to run. More than `limit` only after
    /// [`set_class_limit`](crate::SupervisorHandle::set_class_limit) has lowered it.
    pub held: usize,
    /// The number of tasks that wait for a permit of the class.
    pub waiting: usize,
}

/// Counts the worker threads of a [`Snapshot`].
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let snapshot = supervisor.handle().snapshot()?;
/// assert!(!snapshot.workers.starving);
/// assert!(snapshot.workers.idle <= snapshot.workers.threads);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WorkerCounts {
    /// The threads that exist or are being started, with those of
    /// [`dedicated_thread`](crate::TaskSpec::dedicated_thread) and the thread of last resort.
    pub threads: usize,
    /// The threads that wait for work.
    pub idle: usize,
    /// The work that no pooled thread has taken up yet: attempts, user values to be dropped,
    /// threads to be examined. Hooks, and attempts that wait for a thread of their own, are not
    /// counted.
    pub offered: usize,
    /// Whether something has waited for over a second, and no thread can be started for it: the
    /// system refuses them, or `on_thread_start` fails or takes over a second.
    pub starving: bool,
}

/// Counts the permits of a [`Snapshot`].
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().max_concurrent(4).start()?;
/// let snapshot = supervisor.handle().snapshot()?;
/// assert_eq!((snapshot.permits.limit, snapshot.permits.waiting), (Some(4), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PermitCounts {
    /// The permits that are held, including those of attempts that are abandoned under `Hold`, and
    /// beyond the limit those of tasks that bodies wait for.
    pub held: usize,
    /// The number of permits; `None` is no limit.
    pub limit: Option<usize>,
    /// The number of tasks that wait for a permit. Those that wait for one of their class are
    /// counted [there](Snapshot::classes).
    pub waiting: usize,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.tasks.iter();
        write!(f, "tasks={} slots={}", self.tasks.len(), self.slots.len())?;
        write!(f, " threads={} permits={}", self.workers.threads, self.permits.held)?;
        write!(f, " abandoned={}", self.abandoned.len())?;
        if self.workers.starving {
            f.write_str(" starving=true")?;
        }

        for task in tasks {
            let held = Seconds(task.age());
            write!(f, "\n  {} {} for {held} s", task.task, task.state)?;
            if task.paused {
                f.write_str(", paused")?;
            }
            if task.attempt > 0 {
                write!(f, ", attempt {}", task.attempt)?;
            }
            if task.silent {
                f.write_str(", silent")?;
            }
            if let Some(next) = task.next_wake {
                let what = match task.state {
                    TaskState::Waiting => "starts",
                    TaskState::Running => "deadline",
                    TaskState::Stopping | TaskState::Closing => "grace ends",
                    _ => "expires",
                };
                write!(f, ", {what} in {} s", Seconds(next.saturating_sub(self.at)))?;
            }
            if let Some(mark) = &task.mark {
                write!(f, ", at {mark}")?;
            }
            if let Some(progress) = task.progress {
                write!(f, ", done {progress}")?;
            }
            if let Some(failure) = &task.last_failure {
                write!(f, ", last failure: {}", Escaped(failure))?;
            }
        }

        for group in &self.groups {
            write!(f, "\n  {group}")?;
        }
        for attempt in &self.abandoned {
            write!(f, "\n  still running: {attempt}")?;
        }
        for hook in &self.stuck_hooks {
            write!(f, "\n  still running: {hook}")?;
        }
        Ok(())
    }
}
