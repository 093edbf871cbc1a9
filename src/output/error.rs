//! Errors: one for what a body returns, one for each operation that can be refused. What was handed
//! in comes back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::vocabulary::reason::CancelReason;

/// What a body returns.
pub type TaskResult<T = ()> = Result<T, TaskError>;

/// Why a body failed. Made by `?` from any error, text or boxed error: then it may be retried.
///
/// [`fatal`](Self::fatal) says that a retry is pointless, [`cancelled`](Self::cancelled) that the
/// body ended itself on purpose. It does not implement `Error` itself, so that `?` can take
/// everything that does; turn it into a `Box<dyn Error>` with `?` or
/// [`into_error`](Self::into_error).
///
/// ```
/// # use threadvisor::{TaskError, TaskResult};
/// fn body(text: &str) -> TaskResult<u16> {
///     if text.is_empty() {
///         return Err(TaskError::fatal("no port configured").with_exit_code(78));
///     }
///     Ok(text.parse::<u16>()?)
/// }
/// assert!(body("").unwrap_err().is_fatal());
/// let error = body("8o80").unwrap_err();
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
#[derive(Clone)]
pub struct TaskError(Arc<Inner>);

struct Inner {
    kind: Kind,
    exit_code: Option<u8>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fail,
    Fatal,
    Cancelled,
    Panic,
}

impl TaskError {
    fn new(kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::new(Inner { kind, exit_code: None, source }))
    }

    /// A failure that may be retried: what `?` makes, for use without it.
    pub fn fail(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Fail, Some(error.into()))
    }

    /// A failure that ends the task under every restart policy.
    pub fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Fatal, Some(error.into()))
    }

    /// The body ends its task on purpose: the outcome is `Cancelled` with `StopReason::ByTask`,
    /// never a retry.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, None)
    }

    pub(crate) fn panic(message: String) -> Self {
        Self::new(Kind::Panic, Some(message.into()))
    }

    /// Sets what the process should exit with if this failure decides it, 1 to 255; 0 counts as 1.
    pub fn with_exit_code(self, code: u8) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { exit_code: Some(code.max(1)), ..inner })),
            // Only the one who makes an error sets its code; a shared one keeps what it has as its
            // source.
            Err(shared) => Self(Arc::new(Inner {
                kind: shared.kind,
                exit_code: Some(code.max(1)),
                source: Some(Box::new(Shared(Self(shared)))),
            })),
        }
    }

    /// The exit code, if one was set.
    pub fn exit_code(&self) -> Option<u8> {
        self.0.exit_code
    }

    /// Whether this ends the task under every restart policy.
    pub fn is_fatal(&self) -> bool {
        self.0.kind == Kind::Fatal
    }

    /// Whether the body ended itself on purpose.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// Whether this stands for a panic; its text is the panic's message.
    pub fn is_panic(&self) -> bool {
        self.0.kind == Kind::Panic
    }

    /// The error behind this one; `None` for [`cancelled`](Self::cancelled).
    pub fn as_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The error behind this one, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error().and_then(|source| source.downcast_ref())
    }

    /// An error value of the standard kind, with the error behind this one as its source.
    pub fn into_error(self) -> impl Error + Send + Sync + 'static {
        Shared(self)
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self::fail(error)
    }
}

impl From<TaskError> for Box<dyn Error> {
    fn from(error: TaskError) -> Self {
        Box::new(Shared(error))
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Some(source) => fmt::Display::fmt(source, f),
            None => f.write_str("cancelled by itself"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0.kind {
            Kind::Fail => "Fail",
            Kind::Fatal => "Fatal",
            Kind::Cancelled => "Cancelled",
            Kind::Panic => "Panic",
        };
        let mut tuple = f.debug_tuple(name);
        if let Some(source) = &self.0.source {
            tuple.field(source);
        }
        tuple.finish()
    }
}

/// A [`TaskError`] as a standard error.
#[derive(Debug)]
struct Shared(TaskError);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The text of the source is this error's own text: the chain goes on behind it.
        self.0.as_error().and_then(|source| source.source())
    }
}

/// The attempt was told to return: what `ctx.check()?` and `ctx.sleep(d)?` return early with.
///
/// A body passes it on with `?`; since its own token says the same, the supervisor knows that it
/// obeyed. Inside `std::io` code it becomes an `io::Error` of kind `Other`, because kind
/// `Interrupted` would be retried for ever by `read_exact` and its like.
///
/// ```
/// # use threadvisor::{CancelReason, Cancelled, TaskContext};
/// let (ctx, canceller) = TaskContext::detached();
/// canceller.cancel_for(CancelReason::Shutdown);
/// let cancelled: Cancelled = ctx.check().unwrap_err();
/// assert_eq!(cancelled.reason(), CancelReason::Shutdown);
/// assert_eq!(std::io::Error::from(cancelled).kind(), std::io::ErrorKind::Other);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled: {reason}")]
pub struct Cancelled {
    reason: CancelReason,
}

impl Cancelled {
    pub(crate) const fn new(reason: CancelReason) -> Self {
        Self { reason }
    }

    /// Why the attempt was told to return.
    pub const fn reason(&self) -> CancelReason {
        self.reason
    }
}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}

/// An error returned from `TaskContext::extend_deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// More was asked for than `max_timeout` allows, counted from the claim.
    #[error("the spec's max_timeout leaves {left:?}")]
    BeyondMaxTimeout {
        /// The most that may be asked for now.
        left: Duration,
    },
    /// The attempt was told to return; it is too late.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The spec has a `timeout` and no `max_timeout`.
    #[error("the spec allows no extension: set max_timeout")]
    NoMaxTimeout,
}

/// A value that cannot work: which, where, and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The task it was set for; `None` for one of the supervisor's own.
    pub task: Option<Arc<str>>,
    /// The name of the setter.
    pub field: &'static str,
    /// The value that was given.
    pub value: String,
    /// What to do instead.
    pub remedy: &'static str,
}

impl InvalidSetting {
    pub(crate) fn new(field: &'static str, value: impl fmt::Debug, remedy: &'static str) -> Self {
        Self { task: None, field, value: format!("{value:?}"), remedy }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "task {task:?}: ")?;
        }
        write!(f, "{} cannot be {}: {}", self.field, self.value, self.remedy)
    }
}

impl Error for InvalidSetting {}

/// An error returned from `SupervisorBuilder::start`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// The system refused a thread; nothing is left running. Check `ulimit -u` and the cgroup's
    /// `pids.max`.
    #[error("thread {name:?} could not be started: {source}")]
    Thread {
        /// The name it would have had.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("signal handlers could not be installed: {0}")]
    Signals(std::io::Error),
    /// Asked for something this build or system cannot do.
    #[error("{0} is not supported here: it needs Unix and the feature `signals`")]
    Unsupported(&'static str),
}

/// An error returned from waits: for an outcome, for a decision, for idleness, for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The waiting body was cancelled; pass it on with `?`.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The supervisor has ended; nothing more will come.
    #[error("the supervisor has ended")]
    Closed,
    /// The wait would wait for itself; do it on another thread.
    #[error("the wait would wait for itself")]
    WouldDeadlock,
}

/// An error returned from `Supervisor::shutdown` and `Supervisor::wait_shutdown` on a thread of the
/// same supervisor, which they would wait for. Use `SupervisorHandle::request_shutdown` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waiting for a supervisor's shutdown on one of its own threads would never end")]
pub struct WouldDeadlock;

/// An error returned from questions to a supervisor that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor has ended")]
pub struct Closed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_converts_by_question_mark() {
        fn io() -> TaskResult {
            Err(std::io::Error::new(std::io::ErrorKind::NotFound, "gone"))?
        }
        fn text() -> TaskResult {
            Err("text")?
        }
        fn owned() -> TaskResult {
            Err("owned".to_owned())?
        }
        fn boxed() -> TaskResult {
            Err(Box::<dyn Error + Send + Sync>::from("boxed"))?
        }
        fn out() -> Result<(), Box<dyn Error>> {
            text()?;
            Ok(())
        }
        assert!(io().unwrap_err().downcast_ref::<std::io::Error>().is_some());
        for (body, message) in
            [(text as fn() -> TaskResult, "text"), (owned, "owned"), (boxed, "boxed")]
        {
            assert_eq!(body().unwrap_err().to_string(), message);
        }
        assert_eq!(out().unwrap_err().to_string(), "text");
    }

    #[test]
    #[allow(unused_qualifications, reason = "the prelude of Rust 1.75 has no size_of")]
    fn a_task_error_is_one_pointer_wide() {
        assert_eq!(std::mem::size_of::<TaskError>(), std::mem::size_of::<usize>());
    }

    #[test]
    fn an_exit_code_is_kept_and_never_zero() {
        assert_eq!(TaskError::fail("x").with_exit_code(3).exit_code(), Some(3));
        assert_eq!(TaskError::fail("x").with_exit_code(0).exit_code(), Some(1));
        let error = TaskError::fatal("shared");
        let with_code = error.clone().with_exit_code(9);
        assert!(with_code.is_fatal());
        assert_eq!((with_code.exit_code(), with_code.to_string()), (Some(9), "shared".to_owned()));
    }
}
