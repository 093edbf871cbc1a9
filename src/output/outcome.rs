//! How a task ended.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::output::error::{
    debug_is_display, Cancelled, ExtendError, RecvError, TaskError, TaskResult, WaitError,
};
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::label::labels;
use crate::vocabulary::reason::{CancelReason, Rejection, StopReason};

/// Says how a task ended. Every accepted submission has exactly one outcome.
///
/// [`Completed`](Self::Completed) is the only success. `Failed` to `Abandoned`, and `Lost`, are
/// failures; `Cancelled` and `Rejected` are neither.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let body = |_: &TaskContext| Err(TaskError::fatal("no such device").with_exit_code(78));
/// let outcome = supervisor.handle().add(TaskSpec::new("probe", body))?.wait()?;
/// assert_eq!((outcome.label(), outcome.exit_code()), ("fatal", 78));
/// assert_eq!(outcome.to_string(), "fatal: no such device");
/// assert!(outcome.into_result().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The compiler warns where an outcome is dropped unread:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use threadvisor::prelude::*;
/// # fn run(handle: &SupervisorHandle, spec: TaskSpec) -> TaskResult {
/// handle.add(spec)?.wait()?; // it may have failed; `.wait()?.into_result()?` passes that on
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[must_use = "an outcome may be a failure: look at it, or use `into_result`"]
#[doc(alias = "ExitStatus")]
pub enum Outcome {
    /// The body returned `Ok`, and the restart policy asks for no further attempt.
    Completed,
    /// The task was stopped. Why it had failed before, if it had, is in
    /// [`RunReport::troubled`](crate::RunReport::troubled) and, until it is stopped, in
    /// [`TaskSnapshot::last_failure`](crate::TaskSnapshot::last_failure).
    Cancelled {
        /// The first stop that was requested.
        reason: StopReason,
        /// The result of the body. `None` if no body ran, or if it only passed on that it was
        /// [`Cancelled`]. An error is also named in the [`RunReport`](crate::RunReport) and logged
        /// as a warning, but it is not a failure.
        #[cfg_attr(feature = "serde", serde(default, with = "crate::output::data::returned"))]
        returned: Option<TaskResult>,
    },
    /// The body failed, and no retry was left.
    Failed {
        /// The last failure.
        error: TaskError,
    },
    /// The body failed with a [fatal](TaskError::fatal) error.
    Fatal {
        /// The error that the body returned.
        error: TaskError,
    },
    /// The body panicked, and no retry was left, the panic policy is `Fatal`, or the body had been
    /// told to stop.
    Panicked {
        /// An error whose text is the panic message.
        error: TaskError,
    },
    /// The body ran past its deadline, or was not ready in time, and no retry was left.
    TimedOut {
        /// The error that the body returned; `None` if that was `Ok` or a `Cancelled`. If it missed
        /// its [`ready_within`](crate::TaskSpec::ready_within), an error that says so, with that
        /// one as its source.
        error: Option<TaskError>,
    },
    /// The body gave no sign of life, and no retry was left.
    Unresponsive {
        /// The error that the body returned; `None` if that was `Ok` or a `Cancelled`.
        error: Option<TaskError>,
    },
    /// The body outlived its grace and may still run. Until it returns, its slot and permit stay
    /// held, unless they were given back under
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release). Where it hangs is in
    /// [`Snapshot::abandoned`](crate::Snapshot::abandoned) and in two events:
    /// [`AttemptAbandoned`](crate::EventKind::AttemptAbandoned) has its last mark,
    /// [`StallReport`](crate::EventKind::StallReport) its system call. To learn when it has
    /// returned, let the body own a value whose destructor says so; if it holds its slot, a task
    /// that is queued for that begins then.
    Abandoned {
        /// Why the body had been told to return.
        reason: CancelReason,
        /// The stop that was requested; `None` if there was only an interruption.
        stop: Option<StopReason>,
    },
    /// The submission never ran.
    Rejected(Rejection),
    /// The controller of the supervisor panicked, which is a bug in this crate. The body may have
    /// run. Callbacks of [`on_end`](crate::TaskHandle::on_end) also get this outcome in a forked
    /// child, which will never know the real one.
    Lost,
}

labels!(Outcome {
    Self::Completed => "completed",
    Self::Cancelled { .. } => "cancelled",
    Self::Failed { .. } => "failed",
    Self::Fatal { .. } => "fatal",
    Self::Panicked { .. } => "panicked",
    Self::TimedOut { .. } => "timed_out",
    Self::Unresponsive { .. } => "unresponsive",
    Self::Abandoned { .. } => "abandoned",
    Self::Rejected(_) => "rejected",
    Self::Lost => "lost",
});

macro_rules! predicates {
    ($($name:ident: $variant:pat, $word:literal;)+) => {$(
        #[doc = concat!("Returns whether the outcome is `", $word, "`.")]
        pub const fn $name(&self) -> bool {
            matches!(self, $variant)
        }
    )+};
}

impl Outcome {
    /// Returns whether the task succeeded, that is, whether the outcome is `Completed`.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Completed)
    }

    /// Returns whether the task failed. `Cancelled` and `Rejected` are neither success nor failure.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Completed | Self::Cancelled { .. } | Self::Rejected(_) => false,
            Self::Failed { .. }
            | Self::Fatal { .. }
            | Self::Panicked { .. }
            | Self::TimedOut { .. }
            | Self::Unresponsive { .. }
            | Self::Abandoned { .. }
            | Self::Lost => true,
        }
    }

    predicates! {
        is_cancelled: Self::Cancelled { .. }, "Cancelled";
        is_failed: Self::Failed { .. }, "Failed";
        is_fatal: Self::Fatal { .. }, "Fatal";
        is_panicked: Self::Panicked { .. }, "Panicked";
        is_timed_out: Self::TimedOut { .. }, "TimedOut";
        is_unresponsive: Self::Unresponsive { .. }, "Unresponsive";
        is_abandoned: Self::Abandoned { .. }, "Abandoned";
        is_rejected: Self::Rejected(_), "Rejected";
        is_lost: Self::Lost, "Lost";
    }

    /// Returns the error that came with the outcome; `None` if there was none. Of `Cancelled`, it
    /// is the one that the body returned, so an error alone does not mean that the task failed.
    pub const fn error(&self) -> Option<&TaskError> {
        match self {
            Self::Failed { error } | Self::Fatal { error } | Self::Panicked { error } => {
                Some(error)
            }
            Self::TimedOut { error } | Self::Unresponsive { error } => error.as_ref(),
            Self::Cancelled { returned: Some(Err(error)), .. } => Some(error),
            Self::Completed
            | Self::Cancelled { .. }
            | Self::Abandoned { .. }
            | Self::Rejected(_)
            | Self::Lost => None,
        }
    }

    /// Returns the exit code for a process whose purpose is this task: 0 unless the task failed; 70
    /// if it was abandoned; otherwise the code set by [`TaskError::with_exit_code`], or 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Completed | Self::Cancelled { .. } | Self::Rejected(_) => 0,
            Self::Abandoned { .. } => EXIT_SOFTWARE,
            Self::Failed { .. }
            | Self::Fatal { .. }
            | Self::Panicked { .. }
            | Self::TimedOut { .. }
            | Self::Unresponsive { .. }
            | Self::Lost => self.error().and_then(TaskError::exit_code).unwrap_or(1),
        }
    }

    /// Returns `Ok` for `Completed`, and the outcome as an error otherwise, so that `?` can be
    /// used.
    ///
    /// # Errors
    /// [`NotCompleted`], with the outcome inside, for every other outcome.
    pub fn into_result(self) -> Result<(), NotCompleted> {
        if self.is_success() {
            Ok(())
        } else {
            Err(NotCompleted(self))
        }
    }
}

/// Line breaks and control characters of an error's text are escaped.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(Text(self)))
    }
}

/// The text of an outcome as it is, for a reader that escapes it in its own way.
pub(super) struct Text<'a>(pub(super) &'a Outcome);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(outcome) = self;
        match outcome {
            Outcome::Completed | Outcome::Lost => f.write_str(outcome.label()),
            Outcome::Cancelled { reason, returned: None } => write!(f, "cancelled ({reason})"),
            Outcome::Cancelled { reason, returned: Some(Ok(())) } => {
                write!(f, "cancelled ({reason}), the body returned ok")
            }
            Outcome::Cancelled { reason, returned: Some(Err(error)) } => {
                write!(f, "cancelled ({reason}), the body returned an error: {error}")
            }
            Outcome::Failed { error } | Outcome::Fatal { error } | Outcome::Panicked { error } => {
                write!(f, "{}: {error}", outcome.label())
            }
            Outcome::TimedOut { error } | Outcome::Unresponsive { error } => {
                f.write_str(if outcome.is_timed_out() { "timed out" } else { outcome.label() })?;
                error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Outcome::Abandoned { reason, .. } => {
                write!(f, "abandoned ({reason}): the body outlived its grace")
            }
            Outcome::Rejected(why) => write!(f, "rejected: {why}"),
        }
    }
}

/// An error returned from [`Outcome::into_result`]: the task did not complete. It holds the
/// outcome. Its text includes that of the outcome's [`error`](Outcome::error), which is also its
/// source.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let probe = TaskSpec::once("probe", |_| Err("no such device".into()));
/// let error = supervisor.handle().add(probe)?.wait()?.into_result().unwrap_err();
/// assert_eq!(error.to_string(), "the task did not complete: failed: no such device");
/// assert!(error.0.is_failed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct NotCompleted(pub Outcome);

impl fmt::Display for NotCompleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task did not complete: {}", self.0)
    }
}

impl Error for NotCompleted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.error()?.as_error()?)
    }
}

/// An error returned from [`TaskOutput::wait`](crate::TaskOutput::wait) and
/// [`TaskOutput::wait_timeout`](crate::TaskOutput::wait_timeout): there is no value for the caller.
/// It holds no value itself, so that `?` works for every type of value.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let sum = TaskOutput::new();
/// let task = supervisor.handle().add(TaskSpec::once("sum", sum.fill_once(|_| Ok(1 + 1))))?;
/// assert_eq!(sum.wait(&task)?, 2);
/// assert!(matches!(sum.wait(&task), Err(TaskOutputError::Taken)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskOutputError {
    /// The task has another outcome than `Completed`. If it left a value all the same,
    /// [`take`](crate::TaskOutput::take) returns that.
    #[error(transparent)]
    NotCompleted(#[from] NotCompleted),
    /// The task completed, and its value was taken before.
    #[error("the task's value is gone: another `wait` or `take` has got it")]
    Taken,
    /// The wait ended early. A body that was told to return passes the error on with `?`.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The task completed, but the newest value is not its own. Pass the handle of the task whose
    /// body fills the output.
    #[error(
        "the newest value is not from this task: pass the handle of the task that fills the output"
    )]
    WrongTask,
}

debug_is_display!(NotCompleted, TaskOutputError);

#[derive(Debug, thiserror::Error)]
#[error("was not ready within {within:?}")]
struct NotReady {
    within: Duration,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TaskError {
    /// The error of an attempt that was not ready in time. What its body returned is its source.
    pub(crate) fn not_ready(within: Duration, returned: Option<Self>) -> Self {
        let code = returned.as_ref().and_then(Self::exit_code);
        let delay = returned.as_ref().and_then(Self::retry_delay);
        let source = returned.map(|error| Box::new(error.into_error()) as _);
        let mut error = Self::fail(NotReady { within, source });
        if let Some(code) = code {
            error = error.with_exit_code(code);
        }
        delay.into_iter().fold(error, Self::retry_after)
    }

    /// Whether the body only passed on that it was told, or ended its task on purpose: such an
    /// error adds nothing to the reason, unless the body has added something to it. After a stop
    /// there is no retry, so a delay adds nothing.
    pub(crate) fn is_passed_on(&self, told: CancelReason) -> bool {
        use CancelReason::{Timeout, Unresponsive};
        let delays = self.retry_delay().is_some() && matches!(told, Timeout | Unresponsive);
        if self.is_fatal() || self.exit_code().is_some() || delays {
            return false;
        }
        let Some(error) = self.as_error() else { return true };
        let of_io = error.downcast_ref().and_then(std::io::Error::get_ref);
        error.is::<Cancelled>()
            || of_io.is_some_and(<dyn Error + Send + Sync>::is::<Cancelled>)
            || matches!(error.downcast_ref(), Some(WaitError::Cancelled(_)))
            || matches!(error.downcast_ref(), Some(ExtendError::Cancelled(_)))
            || matches!(error.downcast_ref(), Some(RecvError::Cancelled(_)))
            || matches!(error.downcast_ref(), Some(TaskOutputError::Wait(WaitError::Cancelled(_))))
    }
}

/// "Internal software error" in the BSD `sysexits.h`: abandoned threads may still run and hold
/// state, or the error is a bug in this crate.
pub(super) const EXIT_SOFTWARE: u8 = 70;
