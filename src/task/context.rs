//! What a running body sees: who it is, whether it should return, how much time it has.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::output::error::{Cancelled, ExtendError, TaskError};
use crate::platform::sync::channel::Receiver;
use crate::task::cell::Cell;
use crate::task::door::Door;
use crate::task::guards::{CancelGuard, SilenceGuard};
use crate::task::record::Record;
use crate::task::token::{CancelToken, Canceller};
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::CancelReason;

/// A body's view of its attempt and of its supervisor. `Sync`, so that it can be lent to scoped
/// threads.
///
/// Cancelling is cooperative: a thread cannot be killed. A body should look at its context wherever
/// it waits or loops: [`sleep`](Self::sleep) instead of `thread::sleep`, [`check`](Self::check) in
/// loops, [`cancelled`](Self::cancelled) in `select!`.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// fn body(ctx: &TaskContext) -> TaskResult {
///     loop {
///         // one unit of work
///         ctx.sleep(Duration::from_secs(1))?;
///     }
/// }
/// let (ctx, canceller) = TaskContext::detached();
/// canceller.cancel();
/// assert!(body(&ctx).is_err());
/// ```
pub struct TaskContext {
    token: CancelToken,
    failures: u32,
    last_failure: Option<TaskError>,
}

impl TaskContext {
    pub(crate) fn new(cell: Arc<Cell>, failures: u32, last_failure: Option<TaskError>) -> Self {
        Self { token: CancelToken(cell), failures, last_failure }
    }

    /// A context without a supervisor, to test a body by itself: first attempt of a task named
    /// `detached`, no deadline, cancelled when the [`Canceller`] says so. Its
    /// [`handle`](Self::handle) is that of a supervisor that has ended.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (ctx, _canceller) = TaskContext::detached();
    /// assert!(ctx.check().is_ok());
    /// assert_eq!(ctx.name(), "detached");
    /// ```
    pub fn detached() -> (Self, Canceller) {
        let record =
            Arc::new(Record::new(Door::ended(), TaskId::new(1), Arc::from("detached"), None));
        let cell = Arc::new(Cell::detached(record));
        let canceller = Canceller(Arc::clone(&cell));
        (Self::new(cell, 0, None), canceller)
    }

    #[cfg(all(unix, feature = "poll"))]
    pub(crate) fn clock(&self) -> &crate::platform::clock::Clock {
        self.cell().clock()
    }

    fn cell(&self) -> &Arc<Cell> {
        &self.token.0
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.cell().record
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.record().name
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.record().id
    }

    /// The number of this attempt within its task, from 1.
    pub fn attempt(&self) -> u64 {
        self.cell().attempt.attempt
    }

    /// How many failures in a row came before this attempt; 0 after a success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The latest failure of the streak that this attempt retries.
    pub fn last_failure(&self) -> Option<&TaskError> {
        self.last_failure.as_ref()
    }

    /// The attempt's cancel token, to be given to code that should not know the rest.
    pub fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Whether the body should return. One atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns early from a body that should return, with `?`.
    ///
    /// # Errors
    /// [`Cancelled`] once the attempt was told to return.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.token.check()
    }

    /// Sleeps for `span`, or until the attempt is told to return. No thread wakes up in between;
    /// `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// [`Cancelled`] as soon as the attempt is told to return, at once if it was before.
    pub fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        self.token.sleep(span)
    }

    /// Why the attempt was told to return; the first reason, `None` before.
    pub fn reason(&self) -> Option<CancelReason> {
        self.token.reason()
    }

    /// A channel that disconnects when the attempt is told to return, for `select!`. Made on first
    /// use.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # use threadvisor::crossbeam_channel::{select, unbounded};
    /// let (ctx, canceller) = TaskContext::detached();
    /// let (_sender, jobs) = unbounded::<u32>();
    /// canceller.cancel();
    /// let job = select! {
    ///     recv(jobs) -> job => job.ok(),
    ///     recv(ctx.cancelled()) -> _ => None,
    /// };
    /// assert_eq!(job, None);
    /// ```
    pub fn cancelled(&self) -> Receiver<Infallible> {
        self.token.cancelled()
    }

    /// When the attempt should be over: its deadline, or once it was told, the end of its grace.
    /// `None` without limit.
    pub fn deadline(&self) -> Option<Instant> {
        let cell = self.cell();
        cell.clock().instant(cell.until())
    }

    /// How long until [`deadline`](Self::deadline); zero if it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        let cell = self.cell();
        cell.clock().remaining(cell.until())
    }

    /// A timeout for a blocking call: [`remaining`](Self::remaining), at most `max`, and at least 1
    /// ms, because sockets refuse zero or take it for "for ever".
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (ctx, _canceller) = threadvisor::TaskContext::detached();
    /// assert_eq!(ctx.io_timeout(Duration::from_secs(2)), Duration::from_secs(2));
    /// assert_eq!(ctx.io_timeout(Duration::ZERO), Duration::from_millis(1));
    /// ```
    pub fn io_timeout(&self, max: Duration) -> Duration {
        self.remaining().map_or(max, |left| left.min(max)).max(Duration::from_millis(1))
    }

    /// Asks for `span` more, counted from now; a deadline that is later already stays. A body that
    /// asks before its deadline is never told of it by a timer that was due.
    ///
    /// A task without [`timeout`](crate::TaskSpec::timeout) needs no more: `Ok`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let minute = Duration::from_secs(60);
    /// let flash = TaskSpec::once("flash", move |ctx| {
    ///     ctx.extend_deadline(2 * minute)?; // erasing takes longer than the rest
    ///     assert!(ctx.remaining() > Some(minute));
    ///     assert!(ctx.extend_deadline(10 * minute).is_err());
    ///     Ok(())
    /// });
    /// let flash = supervisor.handle().add(flash.timeout(minute).max_timeout(5 * minute))?;
    /// assert!(flash.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `Cancelled` once the attempt was told to return.
    /// - `NoMaxTimeout` if the spec does not allow it: set `max_timeout`.
    /// - `BeyondMaxTimeout` if that much is not allowed; the error says how much is left.
    pub fn extend_deadline(&self, span: Duration) -> Result<(), ExtendError> {
        self.cell().extend(span)
    }

    /// Says that the body is alive, to the watchdog of its task. One relaxed atomic store.
    pub fn heartbeat(&self) {
        self.cell().pulse.beat();
    }

    /// A heartbeat that also says where the body is: shown when it is silent, abandoned or stuck at
    /// the end.
    pub fn mark(&self, label: impl Into<Cow<'static, str>>) {
        self.cell().pulse.mark(label.into(), self.cell().clock().now());
    }

    /// Allows silence for `span`, or until the guard is dropped: around a call that is known to
    /// take long. The watchdog's count begins anew then.
    pub fn allow_silence(&self, span: Duration) -> SilenceGuard {
        SilenceGuard::new(Arc::clone(self.cell()), span)
    }

    /// As [`CancelToken::on_cancel`].
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> CancelGuard {
        self.token.on_cancel(hook)
    }

    /// As [`CancelToken::on_cancel_every`].
    pub fn on_cancel_every(
        &self,
        period: Duration,
        hook: impl FnMut() + Send + 'static,
    ) -> CancelGuard {
        self.token.on_cancel_every(period, hook)
    }

    /// Runs `call` with `wake` as its cancel hook, and removes the hook when the call is over.
    /// Unlike a guard, it cannot be dropped too early by mistake.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (ctx, canceller) = TaskContext::detached();
    /// let (wake, woken) = std::sync::mpsc::channel();
    /// canceller.cancel();
    /// let word = ctx.interruptible(move || wake.send("woken").unwrap(), || woken.recv());
    /// assert_eq!(word, Ok("woken"));
    /// ```
    pub fn interruptible<T>(
        &self,
        wake: impl FnOnce() + Send + 'static,
        call: impl FnOnce() -> T,
    ) -> T {
        let _hook = self.on_cancel(wake);
        call()
    }

    /// As [`CancelToken::cancel_fd`].
    ///
    /// # Errors
    /// If the system has no descriptors left.
    #[cfg(unix)]
    pub fn cancel_fd(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.token.cancel_fd()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("attempt", &self.attempt())
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
