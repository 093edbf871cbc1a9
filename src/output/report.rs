//! Reports about a supervisor that has ended.

use std::fmt;
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::time::Duration;

use crate::output::mark::Mark;
use crate::output::outcome::{Outcome, EXIT_SOFTWARE};
use crate::platform::stall::Stall;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::time::Seconds;

/// Describes how a shutdown went. All callers get the same report, as part of the [`RunReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The first request for shutdown.
    pub cause: ShutdownCause,
    /// The time from the first request until every task had its outcome.
    pub elapsed: Duration,
    /// The number of tasks that have ended since the shutdown began; abandoned ones are not
    /// counted.
    pub stopped: usize,
    /// The number of waiting submissions that were rejected because of the shutdown.
    pub rejected: usize,
    /// The attempts that still ran at the end, including those abandoned earlier. Their threads go
    /// on until the process ends, so a program that has any should exit without destroying anything
    /// that they may still use.
    pub abandoned: Vec<AbandonedAttempt>,
    /// The number of events that were lost over the whole life of the supervisor, because a lane
    /// was full or had not delivered them when the event flush ended.
    pub events_dropped: u64,
    /// The number of user values that had not been dropped when the report was made, because no
    /// thread was available to drop them. They are leaked unless a stuck thread returns. The number
    /// is also logged, as are values that are leaked after the report: thread hooks and unread
    /// errors.
    pub values_leaked: usize,
}

/// Describes an attempt, or a cancel hook of one, that outlived its grace and still runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AbandonedAttempt {
    /// The task.
    pub task: TaskRef,
    /// The number of the attempt.
    pub attempt: u64,
    /// When it was abandoned, or when the stuck hook began to run, as time since the supervisor's
    /// start.
    pub since: Duration,
    /// Why the attempt had been told to return.
    pub reason: CancelReason,
    /// The name of the thread it runs on.
    pub thread: Option<Arc<str>>,
    /// The kernel's id of that thread, as `ps -T` and `/proc/self/task` show it. Linux only.
    pub tid: Option<u32>,
    /// The last [mark](crate::TaskContext::mark) of the body.
    pub mark: Option<Mark>,
    /// What the kernel knew about the thread.
    pub stall: Option<Stall>,
    /// Whether its slot and permit were given back, under
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release).
    pub released: bool,
    /// Whether a cancel hook of the attempt is stuck, and not its body.
    pub hook: bool,
}

impl fmt::Display for AbandonedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = if self.hook { "a hook of " } else { "" };
        write!(f, "{hook}{} attempt {}, told: {}", self.task, self.attempt, self.reason)?;
        if let Some(thread) = &self.thread {
            write!(f, ", on thread {}", Escaped(thread))?;
        }
        if let Some(mark) = &self.mark {
            write!(f, ", last at {mark:?}", mark = mark.label)?;
        }
        self.stall.as_ref().map_or(Ok(()), |stall| write!(f, ", {stall}"))
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shutdown ({}) took {} s: {} stopped, {} rejected, {} abandoned",
            self.cause,
            Seconds(self.elapsed),
            self.stopped,
            self.rejected,
            self.abandoned.len(),
        )?;

        // Losses are named only if there are any.
        if self.events_dropped > 0 {
            write!(f, ", {} events dropped", self.events_dropped)?;
        }
        if self.values_leaked > 0 {
            write!(f, ", {} values leaked", self.values_leaked)?;
        }

        for attempt in &self.abandoned {
            write!(f, "\n  still running: {attempt}")?;
        }
        Ok(())
    }
}

/// Counts how many tasks ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field counts the outcome of its name")]
pub struct OutcomeCounts {
    pub completed: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub fatal: u64,
    pub panicked: u64,
    pub timed_out: u64,
    pub unresponsive: u64,
    pub abandoned: u64,
    pub rejected: u64,
    pub lost: u64,
}

impl OutcomeCounts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Cancelled { .. } => &mut self.cancelled,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Fatal { .. } => &mut self.fatal,
            Outcome::Panicked { .. } => &mut self.panicked,
            Outcome::TimedOut { .. } => &mut self.timed_out,
            Outcome::Unresponsive { .. } => &mut self.unresponsive,
            Outcome::Abandoned { .. } => &mut self.abandoned,
            Outcome::Rejected(_) => &mut self.rejected,
            Outcome::Lost => &mut self.lost,
        } += 1;
    }

    /// Returns the number of tasks that failed: `Failed` to `Abandoned`, and `Lost`.
    pub const fn failures(&self) -> u64 {
        self.failed
            + self.fatal
            + self.panicked
            + self.timed_out
            + self.unresponsive
            + self.abandoned
            + self.lost
    }

    /// Returns the number of all tasks.
    pub const fn total(&self) -> u64 {
        self.completed + self.cancelled + self.rejected + self.failures()
    }
}

/// Names a task that failed, with its outcome.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedTask {
    /// The task.
    pub task: TaskRef,
    /// How the task ended.
    pub outcome: Outcome,
}

/// Describes what a supervisor did in its life; returned from
/// [`Supervisor::run`](crate::Supervisor::run),
/// [`Supervisor::wait_shutdown`](crate::Supervisor::wait_shutdown) and
/// [`Supervisor::shutdown`](crate::Supervisor::shutdown).
///
/// A `main` that returns it exits with [`exit_code`](Self::exit_code) and, unless that is 0, prints
/// the report to standard error.
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().start()?;
/// let bad = TaskSpec::once("bad", |_| Err(TaskError::fail("no such device").with_exit_code(3)));
/// let report = supervisor.run([TaskSpec::once("good", |_| Ok(())), bad])?;
/// assert_eq!((report.outcomes.completed, report.outcomes.failed), (1, 1));
/// assert_eq!(report.exit_code(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The number of tasks that ended in each way.
    pub outcomes: OutcomeCounts,
    /// The first 64 failures, in the order in which they happened.
    pub failures: Vec<FailedTask>,
    /// How the shutdown went.
    pub shutdown: ShutdownReport,
    /// The exit code of the failure that determines the report's exit code.
    pub(crate) decisive: Option<u8>,
}

impl RunReport {
    pub(crate) fn of_nothing(cause: ShutdownCause) -> Self {
        let shutdown = ShutdownReport {
            cause,
            elapsed: Duration::ZERO,
            stopped: 0,
            rejected: 0,
            abandoned: Vec::new(),
            events_dropped: 0,
            values_leaked: 0,
        };
        let (outcomes, failures) = (OutcomeCounts::default(), Vec::new());
        Self { outcomes, failures, shutdown, decisive: None }
    }

    /// Returns the code with which the process should exit. The first line that applies counts:
    ///
    /// - 70 if the controller panicked;
    /// - 0 if there were no failures, even after a signal, which is the normal way to end a
    ///   service;
    /// - 70 if all failures are `Abandoned`;
    /// - the code set by [`TaskError::with_exit_code`](crate::TaskError::with_exit_code) for the
    ///   task whose end shut the supervisor down, or else for the first failure;
    /// - 1.
    #[doc(alias = "exit_status")]
    pub fn exit_code(&self) -> u8 {
        let failures = self.outcomes.failures();
        if self.shutdown.cause == ShutdownCause::ControllerPanicked {
            EXIT_SOFTWARE
        } else if failures == 0 {
            0
        } else if failures == self.outcomes.abandoned {
            EXIT_SOFTWARE
        } else {
            self.decisive.filter(|&code| code != 0).unwrap_or(1)
        }
    }
}

impl From<&RunReport> for ExitCode {
    fn from(report: &RunReport) -> Self {
        Self::from(report.exit_code())
    }
}

/// Lets `main` return its report. The process exits with the report's exit code and, unless that is
/// 0, prints the report to standard error.
impl Termination for RunReport {
    fn report(self) -> ExitCode {
        let code = self.exit_code();
        if code != 0 {
            eprintln!("{self}");
        }
        ExitCode::from(code)
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.outcomes;
        let total = counts.total();
        write!(f, "{total} task{}", if total == 1 { "" } else { "s" })?;

        let named = [
            ("completed", counts.completed),
            ("cancelled", counts.cancelled),
            ("failed", counts.failed),
            ("fatal", counts.fatal),
            ("panicked", counts.panicked),
            ("timed out", counts.timed_out),
            ("unresponsive", counts.unresponsive),
            ("abandoned", counts.abandoned),
            ("rejected", counts.rejected),
            ("lost", counts.lost),
        ];
        for (position, (name, count)) in named.iter().filter(|(_, count)| *count > 0).enumerate() {
            write!(f, "{} {count} {name}", if position == 0 { ":" } else { "," })?;
        }

        for failure in &self.failures {
            write!(f, "\n  {}: {}", failure.task, failure.outcome)?;
        }
        write!(f, "\n{}", self.shutdown)
    }
}
