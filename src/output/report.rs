//! What is left to say when a supervisor has ended.

use std::fmt;
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::time::Duration;

use crate::output::mark::Mark;
use crate::output::outcome::{Outcome, EXIT_SOFTWARE};
use crate::platform::stall::Stall;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::time::Seconds;

/// How a shutdown went. All callers get the same one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The first request.
    pub cause: ShutdownCause,
    /// From the first request until every task had its outcome.
    pub elapsed: Duration,
    /// How many tasks ended because of it, abandoned ones not counted.
    pub stopped: usize,
    /// How many waiting submissions were refused because of it.
    pub rejected: usize,
    /// The attempts that still ran at the end, those abandoned earlier included. Their threads are
    /// left to the process: if there are any, leave it without running destructors that they may
    /// get in the way of.
    pub abandoned: Vec<AbandonedAttempt>,
    /// How many events no subscriber got, over the whole life of the supervisor.
    pub events_dropped: u64,
    /// How many user values could not be dropped in time, because no thread could be had for it.
    /// Unless one comes back that was stuck, they are leaked. This is logged as well, and so is
    /// what is leaked after the report: hooks of the threads, and errors that nobody has read.
    pub values_leaked: usize,
}

/// An attempt that outlived its grace and never came back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AbandonedAttempt {
    /// Its task.
    pub task: TaskRef,
    /// Its number.
    pub attempt: u64,
    /// When it was abandoned, counted from the supervisor's start.
    pub since: Duration,
    /// Why it had been told to return.
    pub reason: CancelReason,
    /// The thread it runs on.
    pub thread: Option<Arc<str>>,
    /// The kernel's number for that thread, on Linux: what `ps -T` and `/proc/self/task` show.
    pub tid: Option<u32>,
    /// Where it said last that it was.
    pub mark: Option<Mark>,
    /// What the kernel knew of it.
    pub stall: Option<Stall>,
    /// Whether its slot and permit were given up, by `AbandonPolicy::Release`.
    pub released: bool,
    /// Whether it is a cancel hook of the attempt that hangs, and not its body.
    pub hook: bool,
}

impl fmt::Display for AbandonedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = if self.hook { "a hook of " } else { "" };
        write!(f, "{hook}{} attempt {}, told: {}", self.task, self.attempt, self.reason)?;
        if let Some(thread) = &self.thread {
            write!(f, ", on thread {thread}")?;
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

/// How many tasks ended in each way.
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

    /// How many tasks failed.
    pub const fn failures(&self) -> u64 {
        self.failed
            + self.fatal
            + self.panicked
            + self.timed_out
            + self.unresponsive
            + self.abandoned
            + self.lost
    }

    /// How many tasks there were.
    pub const fn total(&self) -> u64 {
        self.completed + self.cancelled + self.rejected + self.failures()
    }
}

/// A task that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedTask {
    /// Which task.
    pub task: TaskRef,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a supervisor did in its life, from `Supervisor::run` and `Supervisor::wait_shutdown`.
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
    /// How many tasks ended in each way.
    pub outcomes: OutcomeCounts,
    /// The first 64 failures, in their order.
    pub failures: Vec<FailedTask>,
    /// How the shutdown went.
    pub shutdown: ShutdownReport,
    /// What the failure that decides the exit code asks for.
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

    /// What the process should exit with, as a number: 70 if the controller panicked; 0 without
    /// failures (a signal is a clean stop); 70 if all failures are abandoned attempts; else what
    /// the task asks for whose end was the cause of the shutdown, or the first
    /// failure; else 1.
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

/// A program's `main` may return its report: if that is not a success, it is printed to the
/// standard error, and its exit code is the process's.
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
