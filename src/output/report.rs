//! Reports about a supervisor that has ended.

use std::fmt;
use std::io::{self, Write as _};
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::time::Duration;

use crate::output::counts::{OutcomeCounts, RejectionCount};
use crate::output::drain_report::DrainReport;
use crate::output::error::TaskError;
use crate::output::group::EndedGroup;
use crate::output::hook::RunningHook;
use crate::output::mark::Mark;
use crate::output::outcome::{Outcome, EXIT_SOFTWARE};
use crate::platform::stall::Stall;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::not_retried::{AndWhy, NotRetried};
use crate::vocabulary::reason::{CancelReason, Rejection, ShutdownCause, StopReason};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Seconds;

/// Describes how a shutdown went. All callers get the same report, as part of the [`RunReport`].
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// supervisor.handle().add(TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?)))?;
/// let shutdown = supervisor.shutdown()?.shutdown;
/// assert_eq!((shutdown.stopped, shutdown.abandoned.len(), shutdown.events_dropped), (1, 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The first request for shutdown.
    pub cause: ShutdownCause,
    /// The time from the first request until every task had its outcome.
    pub elapsed: Duration,
    /// The drain that came before it; `None` if there was none.
    pub drain: Option<DrainReport>,
    /// The number of tasks that have ended since the shutdown began; abandoned ones are not
    /// counted.
    pub stopped: usize,
    /// The number of waiting submissions that were rejected because of the shutdown.
    pub rejected: usize,
    /// The attempts that still ran at the end, including those abandoned earlier, by `since`.
    /// Their threads go on until the process ends, so a program that has any should exit without
    /// destroying anything that they may still use.
    pub abandoned: Vec<AbandonedAttempt>,
    /// The callbacks of [`on_signal`](crate::SupervisorBuilder::on_signal) and
    /// [`on_end`](crate::TaskHandle::on_end) that had outlived their grace and still ran at the
    /// end.
    pub stuck_hooks: Vec<RunningHook>,
    /// The number of events that were lost over the whole life of the supervisor, because a lane
    /// was full, or because not every callback for them had returned when the event flush ended. It
    /// is the sum over all lanes: an event that two lanes lost counts twice, and may have reached
    /// the subscribers of a third. For the losses of a single lane, see
    /// [`SubscriberOverflow`](crate::EventKind::SubscriberOverflow).
    pub events_dropped: u64,
    /// The number of user values that had not been dropped when the report was made, because no
    /// thread was available to drop them, and of tasks whose callbacks of
    /// [`on_end`](crate::TaskHandle::on_end) had not returned by then. They are leaked unless a
    /// stuck thread returns. The number is also logged, as are values that are leaked after the
    /// report: thread hooks and unread errors.
    pub values_leaked: usize,
}

/// Describes an attempt, a cancel hook of one, or the drop of a body, that outlived its grace and
/// still runs.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().grace(Duration::from_millis(10)).start()?;
/// let (_open, gate) = std::sync::mpsc::channel::<()>();
/// let deaf = TaskSpec::once("deaf", move |ctx| {
///     ctx.mark("in a call that nothing can wake");
///     Ok(drop(gate.recv()))
/// });
/// supervisor.handle().add(deaf)?.wait_started()?;
/// let stuck = &supervisor.shutdown()?.shutdown.abandoned[0];
/// assert_eq!((stuck.task.name.as_ref(), stuck.reason), ("deaf", CancelReason::Shutdown));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct AbandonedAttempt {
    /// The task.
    pub task: TaskRef,
    /// The number of the attempt; 0 for the destructor of a body that never ran.
    pub attempt: u64,
    /// When it was abandoned, or when the stuck hook, or the drop of what the attempt had left,
    /// began to run, as time since the supervisor's start.
    pub since: Duration,
    /// Why the attempt had been told to return.
    pub reason: CancelReason,
    /// The name of the thread it runs on.
    pub thread: Option<Arc<str>>,
    /// The kernel's id of that thread, as `ps -T` and `/proc/self/task` show it. Linux only.
    pub tid: Option<u32>,
    /// The last [mark](crate::TaskContext::mark) of the body.
    pub mark: Option<Mark>,
    /// What the kernel knew about the thread. `None` until it has been examined, a moment after
    /// `since`; the event [`StallReport`](crate::EventKind::StallReport) says when. Linux
    /// only.
    pub stall: Option<Stall>,
    /// Whether its permits were given back, under
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release), and its slot unless the task is
    /// retried.
    pub released: bool,
    /// Whether a cancel hook of the attempt is stuck, and not its body.
    pub hook: bool,
    /// Whether what is stuck is a destructor: of the body, which will not run again, or of what the
    /// attempt left.
    pub closing: bool,
}

impl fmt::Display for AbandonedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match (self.hook, self.closing) {
            (true, _) => "a hook of ",
            (false, true) => "a destructor of ",
            (false, false) => "",
        };
        write!(f, "{part}{} attempt {}, told: {}", self.task, self.attempt, self.reason)?;
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
        if let Some(drain) = &self.drain {
            writeln!(f, "{drain}")?;
        }
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
            write!(f, ", {} dropped", counted(self.events_dropped, "event"))?;
        }
        if self.values_leaked > 0 {
            write!(f, ", {} leaked", counted(self.values_leaked as u64, "value"))?;
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

/// Names a task that failed, with its outcome.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let report = supervisor.run([TaskSpec::once("bad", |_| Err("no such device".into()))])?;
/// let failed = &report.failures[0];
/// assert_eq!((failed.task.to_string(), failed.outcome.label()), ("bad#1".to_owned(), "failed"));
/// assert_eq!(failed.to_string(), "bad#1: failed: no such device");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FailedTask {
    /// The task.
    pub task: TaskRef,
    /// How the task ended.
    pub outcome: Outcome,
    /// Why its last failure was not retried; `None` if the outcome says why, as
    /// [`EventKind::TaskEnded`](crate::EventKind::TaskEnded) explains.
    pub not_retried: Option<NotRetried>,
}

impl fmt::Display for FailedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.task, self.outcome, AndWhy(self.not_retried))
    }
}

/// Names a task that was stopped while not all was well with it: it was in a streak of failures, or
/// its body returned an error when it was told to stop.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let flush = TaskSpec::new("flush", |ctx| {
///     let _ = ctx.sleep(std::time::Duration::MAX);
///     Err("the disk is full".into()) // the last write, once it was told to stop
/// });
/// supervisor.handle().add(flush)?.wait_started()?;
/// let troubled = &supervisor.shutdown()?.troubled[0];
/// assert!(troubled.to_string().ends_with("the body returned an error: the disk is full"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TroubledTask {
    /// The task.
    pub task: TaskRef,
    /// How the task ended, which is `Cancelled`, with the error that the body returned.
    pub outcome: Outcome,
    /// The number of failures in its streak: since its last success, or since a stable moment that
    /// ended the streak. A resident that works again is in its streak until
    /// [`stable_after`](crate::TaskSpec::stable_after), also if it has said that it is ready.
    pub failures: u32,
    /// The latest of these failures.
    pub last_failure: Option<TaskError>,
}

impl fmt::Display for TroubledTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures == 0 {
            return write!(f, "{}: {}", self.task, self.outcome);
        }
        let s = if self.failures == 1 { "" } else { "s" };
        write!(f, "cancelled while failing: {}, {} failure{s}", self.task, self.failures)?;
        if let Some(failure) = &self.last_failure {
            write!(f, ", last: {}", Escaped(failure))?;
        }
        // A body that a drain merely denies a retry was not told: its error is the last failure.
        let by_drain = matches!(self.outcome, Outcome::Cancelled { reason: StopReason::Drain, .. });
        let text = self.last_failure.as_ref().filter(|_| by_drain).map(ToString::to_string);
        match self.outcome.error() {
            Some(error) if text.is_some_and(|text| text == error.to_string()) => Ok(()),
            Some(error) => write!(f, "; told to return, it returned: {}", Escaped(error)),
            None => Ok(()),
        }
    }
}

/// What the exit code depends on, beside the outcomes.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ExitFacts {
    /// The failure that determines the code, and its code.
    pub(crate) decisive: Option<(TaskRef, u8)>,
    /// Submissions that found no room, and whose specs nobody got back.
    pub(crate) no_room: u64,
    /// Tasks that would have ended by themselves, but were stopped or refused by the shutdown.
    pub(crate) cut_short: u64,
}

/// Describes what a supervisor did in its life; returned from
/// [`Supervisor::run`](crate::Supervisor::run),
/// [`Supervisor::wait_shutdown`](crate::Supervisor::wait_shutdown),
/// [`Supervisor::drain`](crate::Supervisor::drain) and
/// [`Supervisor::shutdown`](crate::Supervisor::shutdown).
///
/// A `main` that returns the report exits with [`exit_code`](Self::exit_code). It also prints the
/// report to standard error if that code is not 0, a task is [troubled](Self::troubled), or a drain
/// was unfinished. A program with [a code of its own](crate::guide::stopping#exit-codes) prints the
/// text without its last line, which is about the code.
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().start()?;
/// let bad = TaskSpec::once("bad", |_| Err(TaskError::fail("no such device").with_exit_code(3)));
/// let report = supervisor.run([TaskSpec::once("good", |_| Ok(())), bad])?;
/// assert_eq!((report.outcomes.completed, report.outcomes.failed), (1, 1));
/// assert_eq!(report.exit_code(), 3);
/// assert!(report.to_string().ends_with("exit code 3: for the failure of bad#2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RunReport {
    /// The number of tasks that ended in each way.
    pub outcomes: OutcomeCounts,
    /// The rejected submissions, counted by reason.
    pub rejections: Vec<RejectionCount>,
    /// The first 64 failures, in the order in which they happened.
    pub failures: Vec<FailedTask>,
    /// The first 64 tasks that were stopped while not all was well with them.
    pub troubled: Vec<TroubledTask>,
    /// The first 64 groups that ended, in the order in which they did.
    pub groups: Vec<EndedGroup>,
    /// How the shutdown went.
    pub shutdown: ShutdownReport,
    pub(crate) facts: ExitFacts,
}

impl RunReport {
    pub(crate) fn of_nothing(cause: ShutdownCause) -> Self {
        Self {
            outcomes: OutcomeCounts::default(),
            rejections: Vec::new(),
            failures: Vec::new(),
            troubled: Vec::new(),
            groups: Vec::new(),
            shutdown: ShutdownReport {
                cause,
                elapsed: Duration::ZERO,
                drain: None,
                stopped: 0,
                rejected: 0,
                abandoned: Vec::new(),
                stuck_hooks: Vec::new(),
                events_dropped: 0,
                values_leaked: 0,
            },
            facts: ExitFacts::default(),
        }
    }

    /// Counts submissions that came too late for the supervisor.
    pub(crate) fn count_too_late(&mut self, names: &[Arc<str>]) {
        self.outcomes.rejected += names.len() as u64;
        let why = Rejection::ShuttingDown;
        RejectionCount::note(&mut self.rejections, why, names.len(), names);
        self.facts.cut_short += names.len() as u64;
    }

    /// Returns the code with which the process should exit. The first line that applies counts, and
    /// the report's text says which it was:
    ///
    /// - 70 (`EX_SOFTWARE`) if the controller panicked, or if there were failures and all of them
    ///   are `Abandoned`;
    /// - if there were failures, the code set by
    ///   [`TaskError::with_exit_code`](crate::TaskError::with_exit_code) for the task whose end
    ///   shut the supervisor down, or else for the first failure; if none was set, 70 if that task
    ///   was abandoned, and 1 otherwise;
    /// - 75 (`EX_TEMPFAIL`) if a submission was rejected as `QueueFull`, `TooManyTasks` or
    ///   `TooManyAbandoned`, and its spec was not given back;
    /// - 130 if SIGINT ended the supervisor and a task that would have ended by itself (whose
    ///   restart policy is not `Always`) was stopped by that without returning `Ok`, or was
    ///   rejected as `ShuttingDown`; a task that a drain stops by `stop_at_drain` does not count;
    /// - 0, also after SIGTERM, which is the normal way to end a service.
    ///
    /// A callback that is stuck, of `on_signal` or `on_end`, does not count: see
    /// [`stuck_hooks`](crate::ShutdownReport::stuck_hooks).
    ///
    /// A task that has failed counts for the supervisor's whole life. In a service whose tasks come
    /// and go, such as one for each connection, the body should handle the errors that it expects,
    /// such as a peer that resets, and return `Ok`; otherwise the first of them sets the code. A
    /// body that ignores the shutdown, even after a drain, is abandoned, which is a failure: if
    /// there was no other, the code is 70. An attempt that was abandoned earlier, and whose task
    /// has gone on, does not count: its thread is in [`abandoned`](ShutdownReport::abandoned), if
    /// it still hangs.
    ///
    /// Specs that came back as `Closed` are not counted. A program that got one back was cut short
    /// even if the code is 0. A batch job that must not count as done after SIGTERM compares
    /// [`outcomes.completed`](OutcomeCounts::completed) with the number of tasks that it submitted.
    #[doc(alias = "exit_status")]
    pub fn exit_code(&self) -> u8 {
        self.verdict().0
    }

    /// The exit code, and the line that it comes from.
    fn verdict(&self) -> (u8, String) {
        let (failures, abandoned) = (self.outcomes.failures(), self.outcomes.abandoned);
        let ExitFacts { decisive, no_room, cut_short } = &self.facts;
        let cause = self.shutdown.cause;
        if cause == ShutdownCause::ControllerPanicked {
            (EXIT_SOFTWARE, "the controller panicked, a bug in this crate".to_owned())
        } else if failures > 0 && failures == abandoned {
            (EXIT_SOFTWARE, "every failure is an abandoned attempt".to_owned())
        } else if let Some((task, code)) = decisive {
            (*code, format!("for the failure of {task}"))
        } else if *no_room > 0 {
            (EXIT_NO_ROOM, {
                let were = if *no_room == 1 { "was" } else { "were" };
                format!("{} {were} lost for want of room", counted(*no_room, "submission"))
            })
        } else if let (ShutdownCause::Signal(signal), 1..) = (cause, *cut_short) {
            let cut = format!("{signal} cut {} short", counted(*cut_short, "task"));
            match signal {
                Signal::INT => (EXIT_INTERRUPTED, cut),
                _ => (0, format!("no task ended with a failure, but {cut}")),
            }
        } else {
            (0, "no task ended with a failure".to_owned())
        }
    }
}

/// A number of things, such as "1 task" or "2 tasks".
fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// "Try again later" in the BSD `sysexits.h`.
const EXIT_NO_ROOM: u8 = 75;

/// The code that shells give to a program that SIGINT has ended.
const EXIT_INTERRUPTED: u8 = 130;

impl From<&RunReport> for ExitCode {
    fn from(report: &RunReport) -> Self {
        Self::from(report.exit_code())
    }
}

/// Lets `main` return its report. The process exits with the report's exit code. It also prints the
/// report to standard error if that code is not 0, a task is troubled, or a drain was unfinished.
impl Termination for RunReport {
    fn report(self) -> ExitCode {
        let code = self.exit_code();
        let unfinished = self.shutdown.drain.as_ref().is_some_and(|drain| drain.unfinished > 0);
        if code != 0 || unfinished || !self.troubled.is_empty() {
            // `eprintln` would panic, and change the code, if nobody reads.
            let _ = writeln!(io::stderr(), "{self}");
        }
        ExitCode::from(code)
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.outcomes;
        let total = counts.total();
        f.write_str(&counted(total, "task"))?;

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
            write!(f, "\n  {failure}")?;
        }
        for troubled in &self.troubled {
            write!(f, "\n  {troubled}")?;
        }
        for rejected in &self.rejections {
            write!(f, "\n  {rejected}")?;
        }
        for group in &self.groups {
            write!(f, "\n  {group}")?;
        }
        let (code, line) = self.verdict();
        write!(f, "\n{}\nexit code {code}: {line}", self.shutdown)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_thing_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|it| super::counted(it, "task")),
            ["0 tasks", "1 task", "2 tasks"]
        );
    }
}
