//! How a task ended.

use std::fmt;

use crate::output::error::TaskError;
use crate::vocabulary::reason::{CancelReason, Rejection, StopReason};

/// How a task ended. Every accepted submission has exactly one.
///
/// [`Completed`](Self::Completed) is the only success. `Failed` to `Abandoned`, and `Lost`, are
/// failures; `Cancelled` and `Rejected` are neither.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let task = supervisor.handle().add(TaskSpec::once("sum", |_| Ok(())))?;
/// assert!(task.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "an outcome may be a failure: look at it, or use `into_result`"]
pub enum Outcome {
    /// The body returned `Ok`, and the restart policy asks for no more.
    Completed,
    /// The task was stopped.
    Cancelled {
        /// The first stop that was asked.
        reason: StopReason,
        /// Whether the body returned `Ok` all the same; false if none ran.
        returned_ok: bool,
    },
    /// The body failed, and no retry was left.
    Failed {
        /// The last failure.
        error: TaskError,
    },
    /// The body failed and said that a retry is pointless.
    Fatal {
        /// What it returned.
        error: TaskError,
    },
    /// The body panicked, and no retry was left or a stop was told.
    Panicked {
        /// Its text is the panic's message.
        error: TaskError,
    },
    /// The body ran past its deadline, and no retry was left.
    TimedOut {
        /// What it returned, unless that was `Ok`.
        error: Option<TaskError>,
    },
    /// The body gave no sign of life, and no retry was left.
    Unresponsive {
        /// What it returned, unless that was `Ok`.
        error: Option<TaskError>,
    },
    /// The body outlived its grace; it may still run. Its slot and permit are held until it
    /// returns.
    Abandoned {
        /// Why it had been told to return.
        reason: CancelReason,
        /// The stop that was asked, if one was.
        stop: Option<StopReason>,
    },
    /// The submission never ran.
    Rejected(Rejection),
    /// The supervisor's controller panicked: a bug in this crate. The body may have run.
    Lost,
}

impl Outcome {
    /// A stable `snake_case` name, for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
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
        }
    }

    /// Whether the task did what it was for: `Completed`.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Completed)
    }

    /// Whether the task failed. `Cancelled` and `Rejected` are neither success nor failure.
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

    /// The error that came with it, if one did.
    pub const fn error(&self) -> Option<&TaskError> {
        match self {
            Self::Failed { error } | Self::Fatal { error } | Self::Panicked { error } => {
                Some(error)
            }
            Self::TimedOut { error } | Self::Unresponsive { error } => error.as_ref(),
            Self::Completed
            | Self::Cancelled { .. }
            | Self::Abandoned { .. }
            | Self::Rejected(_)
            | Self::Lost => None,
        }
    }

    /// What a process that exists for this task should exit with: 0 unless it failed; 70 if it was
    /// abandoned; else the error's own code, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Abandoned { .. } => EXIT_SOFTWARE,
            _ if !self.is_failure() => 0,
            _ => self.error().and_then(TaskError::exit_code).unwrap_or(1),
        }
    }

    /// `Ok` for `Completed`, else the outcome as an error.
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

/// "Internal software error" of the BSD `sysexits.h`: threads may be left, so state may be too. Or
/// the error is ours.
pub(crate) const EXIT_SOFTWARE: u8 = 70;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed | Self::Lost => f.write_str(self.label()),
            Self::Cancelled { reason, returned_ok: false } => write!(f, "cancelled ({reason})"),
            Self::Cancelled { reason, returned_ok: true } => {
                write!(f, "cancelled ({reason}), the body returned ok")
            }
            Self::Failed { error } | Self::Fatal { error } | Self::Panicked { error } => {
                write!(f, "{}: {error}", self.label())
            }
            Self::TimedOut { error } | Self::Unresponsive { error } => match error {
                Some(error) => write!(f, "{}: {error}", self.label()),
                None => f.write_str(self.label()),
            },
            Self::Abandoned { reason, .. } => write!(f, "abandoned after being told: {reason}"),
            Self::Rejected(why) => write!(f, "rejected: {why}"),
        }
    }
}

/// A task did not complete: its [`Outcome`] as an error, from [`Outcome::into_result`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("the task did not complete: {0}")]
pub struct NotCompleted(pub Outcome);
