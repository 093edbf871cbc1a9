//! Errors: one that a body returns, and one for each operation that can be refused. The errors that
//! give specs back are in `api/refused.rs`.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::platform::chain::chain;
use crate::platform::user_value::UserValue;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::nanos;

/// The result of a body. See [`TaskError`] for how other errors become one.
///
/// ```
/// # use threadvisor::prelude::*;
/// fn port(ctx: &TaskContext, text: &str) -> TaskResult<u16> {
///     ctx.check()?;
///     Ok(text.parse()?)
/// }
/// let (ctx, _canceller) = TaskContext::detached();
/// assert_eq!(port(&ctx, "8080").unwrap(), 8080);
/// ```
pub type TaskResult<T = ()> = Result<T, TaskError>;

/// Says why a body failed. `?` converts any error, text or boxed error into it, as a failure that
/// may be retried.
///
/// Use [`fatal`](Self::fatal) if a retry is pointless, and [`cancelled`](Self::cancelled) if the
/// body ends its task on purpose.
///
/// This type is meant for the outermost closure only. It does not implement `Error`, so that `?`
/// can convert every type that does. Let the functions that a body calls return your own error
/// type, and convert it in the closure: `|ctx| Ok(work(ctx)?)`. You cannot write
/// `From<YourError> for TaskError`, because `?` converts every error already. If some of your
/// errors are fatal, or carry a delay or an exit code, give your type a method, as the second
/// example does: `|ctx| work(ctx).map_err(MyError::into_task_error)`. To get a standard error back,
/// use `?` in a function that returns `Box<dyn Error>`, or [`into_error`](Self::into_error).
///
/// Its text, in `Display` and `Debug`, is that of the error and of all its sources, joined by `: `.
/// A source whose text the error itself already ends with is left out. Wherever else this crate
/// shows the error (in events, outcomes, snapshots and reports), line breaks and control characters
/// are escaped.
///
/// ```
/// # use threadvisor::{TaskContext, TaskError, TaskResult, TaskSpec};
/// fn port(text: &str) -> Result<u16, std::num::ParseIntError> {
///     text.parse()
/// }
/// let body = |text: &'static str| move |_: &TaskContext| -> TaskResult {
///     if text.is_empty() {
///         return Err(TaskError::fatal("no port configured").with_exit_code(78));
///     }
///     Ok(drop(port(text)?))
/// };
/// # let (ctx, _canceller) = TaskContext::detached();
/// assert!(body("")(&ctx).unwrap_err().is_fatal());
/// let error = body("8o80")(&ctx).unwrap_err();
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// let _spec = TaskSpec::new("listen", body("8080"));
/// ```
///
/// An error type of your own that says what follows:
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::{TaskContext, TaskError, TaskSpec};
/// #[derive(Debug)]
/// enum FetchError {
///     Busy(Duration),
///     NoSuchAccount,
/// }
/// # impl std::fmt::Display for FetchError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         f.write_str("cannot fetch")
/// #     }
/// # }
/// impl std::error::Error for FetchError {}
///
/// impl FetchError {
///     fn into_task_error(self) -> TaskError {
///         match self {
///             Self::Busy(delay) => TaskError::fail(self).retry_after(delay),
///             Self::NoSuchAccount => TaskError::fatal(self).with_exit_code(77),
///         }
///     }
/// }
///
/// fn fetch(ctx: &TaskContext) -> Result<(), FetchError> {
///     match ctx.attempt() {
///         1 => Err(FetchError::Busy(Duration::from_secs(90))),
///         _ => Err(FetchError::NoSuchAccount),
///     }
/// }
/// let body = |ctx: &TaskContext| fetch(ctx).map_err(FetchError::into_task_error);
/// # let (ctx, _canceller) = TaskContext::detached();
/// assert_eq!(body(&ctx).unwrap_err().retry_delay(), Some(Duration::from_secs(90)));
/// let _spec = TaskSpec::new("fetch", body);
/// ```
#[derive(Clone)]
pub struct TaskError(Arc<Inner>);

struct Inner {
    kind: Kind,
    exit_code: Option<u8>,
    /// In nanoseconds, which take less memory than a `Duration`.
    retry_after: Option<NonZeroU64>,
    source: Option<UserValue<Box<dyn Error + Send + Sync>>>,
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
        let source = source.map(UserValue::new);
        Self(Arc::new(Inner { kind, exit_code: None, retry_after: None, source }))
    }

    /// Creates a failure that may be retried, as `?` does.
    pub fn fail(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Fail, Some(error.into()))
    }

    /// Creates a failure that ends the task as [`Outcome::Fatal`](crate::Outcome::Fatal), under
    /// every restart policy. `TaskError::fatal(error.into_error())` makes one of a `TaskError`: see
    /// the example of [`max_retries`](crate::TaskSpec::max_retries).
    pub fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Fatal, Some(error.into()))
    }

    /// Creates the error with which a body ends its task on purpose. There is no retry; the outcome
    /// is [`Outcome::Cancelled`](crate::Outcome::Cancelled) with
    /// [`StopReason::ByTask`](crate::StopReason::ByTask).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let poll = TaskSpec::new("poll", |_| Err(TaskError::cancelled())); // all is done
    /// let outcome = supervisor.handle().add(poll.restart(RestartPolicy::Always))?.wait()?;
    /// assert_eq!(outcome.to_string(), "cancelled (by_task)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, None)
    }

    /// Reads an error that was the payload of a panic.
    pub(crate) fn text_of_payload(payload: &(dyn Any + Send)) -> Option<String> {
        payload.downcast_ref::<Self>().map(ToString::to_string)
    }

    pub(crate) fn panic(message: String) -> Self {
        Self::new(Kind::Panic, Some(message.into()))
    }

    /// Sets the code with which the process should exit if this failure determines it: see
    /// [`RunReport::exit_code`](crate::RunReport::exit_code). The error that a body returns after
    /// it missed a deadline counts, too, also if it is a `Cancelled` with this code. From 1 to
    /// 255; anything else counts as 1. That of a child process fits:
    /// `error.with_exit_code(status.code().unwrap_or(1))`.
    #[doc(alias = "exit_status")]
    pub fn with_exit_code(self, code: impl TryInto<u8>) -> Self {
        let code = code.try_into().map_or(1, |code: u8| code.max(1));
        self.change(|inner| inner.exit_code = Some(code))
    }

    /// Sets the delay before the retry of this failure, in place of that of the
    /// [backoff](crate::TaskSpec::backoff): for a server that says when to come back. There is no
    /// jitter, and the backoff goes on where it was with the next failure that asks for no delay.
    /// At least 1 ms; with `Duration::MAX`, until [`skip_wait`](crate::TaskHandle::skip_wait).
    ///
    /// Nothing else changes: whether there is a retry is decided as for any failure, and under
    /// `repeat_after` and `every` the delay counts as that of a backoff does. If the error is not
    /// followed by a retry, the delay has no meaning.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// let poll = |status: u16| match status {
    ///     429 => Err(TaskError::fail("too busy").retry_after(Duration::from_secs(90))),
    ///     _ => Ok(()),
    /// };
    /// assert_eq!(poll(429).unwrap_err().retry_delay(), Some(Duration::from_secs(90)));
    /// ```
    pub fn retry_after(self, delay: Duration) -> Self {
        self.change(|inner| inner.retry_after = NonZeroU64::new(nanos(delay).max(1)))
    }

    fn change(self, change: impl FnOnce(&mut Inner)) -> Self {
        // Other clones stay as they are: this becomes a new error that wraps the shared one.
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            exit_code: shared.exit_code,
            retry_after: shared.retry_after,
            source: Some(UserValue::new(Box::new(Shared(Self(shared))))),
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Returns the exit code; `None` if none was set.
    pub fn exit_code(&self) -> Option<u8> {
        self.0.exit_code
    }

    /// Returns the delay that [`retry_after`](Self::retry_after) has set; `None` if the backoff
    /// decides.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after.map(|nanos| Duration::from_nanos(nanos.get()))
    }

    /// Returns whether this error ends the task under every restart policy.
    pub fn is_fatal(&self) -> bool {
        self.0.kind == Kind::Fatal
    }

    /// Returns whether the body ended its task on purpose.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// Returns whether this error stands for a panic. Its text is then the panic message.
    pub fn is_panic(&self) -> bool {
        self.0.kind == Kind::Panic
    }

    /// Returns the error behind this one; `None` for [`cancelled`](Self::cancelled).
    pub fn as_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref().map(|source| &**source)
    }

    /// Returns the error behind this one if it is an `E`. See the example of [`TaskError`].
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.as_error().and_then(|source| source.downcast_ref())
    }

    /// Converts this into a standard error with the text, the sources and the `Debug` that a
    /// standard error has: the text is that of the error behind it without its sources.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
    /// let error: Box<dyn std::error::Error> = TaskError::fail(missing).into_error().into();
    /// assert_eq!(error.to_string(), "no such file"); // for anyhow, or a `main` of your own
    /// ```
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
        match self.as_error() {
            Some(error) => f.write_str(&chain(error)),
            None => f.write_str("cancelled by itself"),
        }
    }
}

/// A [`TaskError`] as a standard error: its text is that of the error behind it alone, because the
/// chain of its sources is that of the error behind it.
struct Shared(TaskError);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_error() {
            Some(error) => write!(f, "{error}"),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

/// A `main` that returns an error prints its `Debug`, so that is the text which says what is wrong.
macro_rules! debug_is_display {
    ($($name:ty),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    )+};
}
pub(crate) use debug_is_display;

debug_is_display!(TaskError, WaitError, WouldDeadlock, Closed);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_error().and_then(|source| source.source())
    }
}

/// An error returned from [`TaskContext::check`](crate::TaskContext::check),
/// [`TaskContext::sleep`](crate::TaskContext::sleep) and similar methods: the attempt was told to
/// return.
///
/// A body passes it on with `?`. Whether the body was told is decided by the attempt's own token,
/// not by this error. If the body returns it as it is, or inside an `io::Error`, a [`WaitError`], a
/// [`RecvError`], an [`ExtendError`] or a [`TaskOutputError`](crate::TaskOutputError), the outcome
/// of the stopped task has no error (`returned` is `None`), and the task does not count as
/// [troubled](crate::RunReport::troubled). Inside any other error, such as one of your own, it
/// counts as an error of the body: pass the `Cancelled` on as it is where that matters.
///
/// In functions that return `io::Error`, `?` converts it to the kind `Other`, because
/// `read_exact` and similar functions would retry the kind `Interrupted` for ever.
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

    /// Returns why the attempt was told to return.
    pub const fn reason(&self) -> CancelReason {
        self.reason
    }
}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}

/// An error returned from [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline).
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let upload = TaskSpec::new("upload", |ctx| match ctx.extend_deadline(Duration::from_secs(60)) {
///     Err(ExtendError::BeyondMaxTimeout { left }) => Ok(ctx.extend_deadline(left / 2)?),
///     other => Ok(other?),
/// });
/// let upload = upload.timeout(Duration::from_secs(5)).max_timeout(Duration::from_secs(30));
/// assert!(supervisor.handle().add(upload)?.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// The body asked for more time than `max_timeout` allows; ask for at most `left`.
    #[error("max_timeout leaves {left:?}: ask for no more than that, or raise it")]
    BeyondMaxTimeout {
        /// The longest span that the body could ask for. It gets shorter as time passes.
        left: Duration,
    },
    /// The attempt was already told to return, which cannot be undone; pass the error on with `?`.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The spec has a `timeout` and no `max_timeout`; set one.
    #[error("the task allows no extension of its timeout: set max_timeout")]
    NoMaxTimeout,
}

/// An error returned from [`TaskContext::recv`](crate::TaskContext::recv) and
/// [`TaskContext::recv_timeout`](crate::TaskContext::recv_timeout). No message was taken.
///
/// A body that collects messages matches it: see
/// [a pipeline that loses nothing](crate::guide::waking#a-pipeline-that-loses-nothing).
///
/// ```
/// use threadvisor::{crossbeam_channel::unbounded, RecvError, TaskContext};
/// let (ctx, _canceller) = TaskContext::detached();
/// let (sender, readings) = unbounded();
/// sender.send(7).unwrap();
/// drop(sender);
/// assert_eq!(ctx.recv(&readings), Ok(7));
/// assert_eq!(ctx.recv(&readings), Err(RecvError::Disconnected));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The attempt was told to return; pass the error on with `?`.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The channel is empty and all its senders are gone: no message will ever come.
    #[error("the channel is empty, and no sender is left: no message will come")]
    Disconnected,
}

/// An error returned from a wait for an outcome, a decision, a group that is ready, idleness or the
/// delivery of events.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let selfish = TaskSpec::once("selfish", |ctx| {
///     let own = ctx.handle().task(ctx.id()).ok_or("no such task")?;
///     assert_eq!(own.wait().unwrap_err(), WaitError::WouldDeadlock); // it would wait for itself
///     Ok(())
/// });
/// assert!(supervisor.handle().add(selfish)?.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The waiting attempt was told to return; pass the error on with `?`.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The supervisor has ended, or this process was forked from that of the supervisor, or no body
    /// is left that fills the output: the wait would never be answered.
    #[error("the wait would never end: the supervisor has ended, or nothing will fill the output")]
    Closed,
    /// The group stops, or has ended, so it will not be ready; the outcomes of its members say why.
    #[error("the group was stopped, or ended before it was ready: see its members' outcomes")]
    NotReady,
    /// The caller would wait for itself; wait on another thread.
    #[error("the caller would wait for itself: wait on another thread")]
    WouldDeadlock,
}

/// An error returned from [`Supervisor::shutdown`](crate::Supervisor::shutdown) and
/// [`Supervisor::wait_shutdown`](crate::Supervisor::wait_shutdown) on one of the supervisor's own
/// threads, which would wait for itself: use
/// [`SupervisorHandle::request_shutdown`](crate::SupervisorHandle::request_shutdown) there. It is
/// also returned in a child that was forked from the supervisor's process.
///
/// ```
/// use std::sync::Arc;
/// # use threadvisor::prelude::*;
/// let supervisor = Arc::new(Supervisor::builder().start()?);
/// let own = Arc::downgrade(&supervisor);
/// let body = move |_: &TaskContext| {
///     let own = own.upgrade().ok_or("it has ended")?;
///     let text = own.shutdown().unwrap_err().to_string();
///     assert!(text.ends_with("use request_shutdown"));
///     Ok(())
/// };
/// assert!(supervisor.handle().add(TaskSpec::once("last", body))?.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "one of the supervisor's own threads, or a forked child, would wait for ever: use \
         request_shutdown"
)]
pub struct WouldDeadlock;

/// An error returned from [`SupervisorHandle::snapshot`](crate::SupervisorHandle::snapshot): the
/// supervisor has ended.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let handle = supervisor.handle();
/// supervisor.shutdown()?;
/// assert_eq!(handle.snapshot().unwrap_err(), threadvisor::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor has ended: its report says how its tasks ended")]
pub struct Closed;

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
