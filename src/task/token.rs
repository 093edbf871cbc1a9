//! [`CancelToken`]: whether an attempt should return, and the hooks that wake it if it is blocked.

use std::convert::Infallible;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::output::error::{Cancelled, RecvError};
use crate::platform::sync::channel::Receiver;
use crate::task::cell::Cell;
use crate::task::guards::CancelGuard;
use crate::task::hook::Hook;
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// Says whether one attempt should return. A body passes it to code that needs nothing else from
/// its [`TaskContext`](crate::TaskContext). It is cheap to clone and can be used from any thread.
///
/// A token is sticky: once cancelled, it stays cancelled. Each attempt has a fresh token. Once
/// everything that its attempt leaves behind is dropped, a token can no longer be cancelled. Only
/// the supervisor cancels it or, in a test of a body, its [`Canceller`].
///
/// ```
/// # use threadvisor::prelude::*;
/// let (ctx, canceller) = TaskContext::detached();
/// let token = ctx.token().clone();
/// assert!(token.check().is_ok());
/// canceller.cancel();
/// assert_eq!(token.reason(), Some(CancelReason::Stop));
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "CancellationToken")]
#[doc(alias = "StopToken")]
pub struct CancelToken(pub(crate) Arc<Cell>);

impl CancelToken {
    /// Returns whether the attempt should return. Costs one atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_told()
    }

    /// Checks whether the attempt should return, so that `?` leaves the body. Costs one atomic
    /// load.
    ///
    /// # Errors
    /// [`Cancelled`] once the attempt was told to return; pass it on with `?`.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.0.check()
    }

    /// Sleeps for `span`, or until the attempt is told to return. The thread does not wake up in
    /// between. With `Duration::MAX` it sleeps until it is told. See the example of
    /// [`TaskContext`](crate::TaskContext).
    ///
    /// # Errors
    /// [`Cancelled`] as soon as the attempt is told to return, or immediately if it already was;
    /// pass it on with `?`.
    pub fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        self.0.sleep(span)
    }

    /// Waits for the next message of a channel and returns it. The wait ends early when the attempt
    /// is told to return. The thread does not wake up in between.
    ///
    /// The token comes first: once the attempt was told to return, the call takes no message, even
    /// if there are some in the channel. A message that was taken is always returned.
    ///
    /// Unlike `select!` with [`cancelled`](Self::cancelled), this wait is known to a
    /// [`ManualClock`](crate::ManualClock), if it is the body of this token's attempt that waits.
    /// See the example of [`TaskContext::recv`](crate::TaskContext::recv).
    ///
    /// # Errors
    /// - `Cancelled`: the attempt was told to return; pass it on with `?`.
    /// - `Disconnected`: the channel is empty and all its senders are gone. Passed on with `?`,
    ///   this is a failure like any other. While the supervisor shuts down, the call first waits to
    ///   be told for up to a second; not in a group.
    #[doc(alias = "select")]
    pub fn recv<T: Send + 'static>(&self, channel: &Receiver<T>) -> Result<T, RecvError> {
        // Without a limit there is no `None`.
        self.0.receive(channel, Duration::MAX)?.ok_or(RecvError::Disconnected)
    }

    /// Receives the next message of a channel like [`recv`](Self::recv), but waits for at most
    /// `span`; returns `None` if none has come by then. With a `span` of zero it does not wait;
    /// with `Duration::MAX` it waits for ever. See the example of
    /// [`TaskContext::recv_timeout`](crate::TaskContext::recv_timeout).
    ///
    /// # Errors
    /// - `Cancelled`: the attempt was told to return; pass it on with `?`.
    /// - `Disconnected`: the channel is empty and all its senders are gone. Passed on with `?`,
    ///   this is a failure like any other. If that happens while the supervisor shuts down, the
    ///   call waits to be told for up to a second, but no longer than `span`; not in a group.
    pub fn recv_timeout<T: Send + 'static>(
        &self,
        channel: &Receiver<T>,
        span: Duration,
    ) -> Result<Option<T>, RecvError> {
        self.0.receive(channel, span)
    }

    /// Returns why the attempt was told to return, which is the first reason if there were several;
    /// `None` if it was not told.
    pub fn reason(&self) -> Option<CancelReason> {
        self.0.reason()
    }

    /// Returns a channel that disconnects when the attempt is told to return, for use in `select!`.
    /// Nothing is ever sent on it. The channel is created on first use. See the example of
    /// [`TaskContext::cancelled`](crate::TaskContext::cancelled).
    pub fn cancelled(&self) -> Receiver<Infallible> {
        self.0.told_channel()
    }

    /// Registers a hook that runs once, when the attempt is told to return. Use it to wake a call
    /// that a flag cannot wake, for example by shutting down its socket. The page
    /// [`guide::waking`](crate::guide::waking) explains how to wake which call.
    ///
    /// The hook runs on a thread of the supervisor, after the token is cancelled and after the
    /// hooks that this attempt registered earlier. A hook registered after the cancel runs
    /// immediately, on the calling thread, before this call returns. A hook should not block: an
    /// event reports a hook that takes longer than 100 ms, and if it also outlives the grace, it
    /// counts as stuck. A panic in a hook is also reported as an event.
    ///
    /// Dropping the guard removes the hook; if the hook is running on another thread, the drop
    /// waits for it. Once the guard is dropped, the hook is not running and never will run, so what
    /// it uses may be freed. Beside a wait that ends by itself, such as `sleep`, `recv` or `wait`,
    /// a hook may never run, because the body leaves first: put what must happen after a cancel
    /// behind the wait, or into a destructor.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use std::net::{Shutdown, TcpListener, TcpStream};
    /// # use threadvisor::prelude::*;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let reader = supervisor.handle().add(TaskSpec::new("reader", move |ctx| {
    ///     let mut stream = TcpStream::connect(address)?;
    ///     let waker = stream.try_clone()?;
    ///     let _hook = ctx.on_cancel(move || { let _ = waker.shutdown(Shutdown::Both); });
    ///     let mut text = String::new();
    ///     stream.read_to_string(&mut text)?; // blocks until the peer closes, or the hook runs
    ///     ctx.check()?; // otherwise a text that the hook has cut off would count as whole
    ///     Ok(())
    /// }))?;
    /// let _peer = listener.accept()?;
    /// reader.cancel();
    /// assert!(matches!(reader.wait()?, Outcome::Cancelled { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> CancelGuard {
        self.register(Hook::once(hook))
    }

    /// Registers a nudge: a hook that runs when the attempt is told to return, and then again every
    /// `period` (at least 1 ms) until its guard is dropped, the body has returned, or the
    /// supervisor has ended. The period is in real time, also under a
    /// [`ManualClock`](crate::ManualClock). Once the attempt is abandoned, the pause before each
    /// run is twice as long as the one before, up to a minute. Use it for libraries that lose an
    /// interrupt if it comes before the call, such as `sqlite3_interrupt`. In all other respects it
    /// is like [`on_cancel`](Self::on_cancel). See the example of
    /// [`TaskContext::on_cancel_every`](crate::TaskContext::on_cancel_every).
    pub fn on_cancel_every(
        &self,
        period: Duration,
        hook: impl FnMut() + Send + 'static,
    ) -> CancelGuard {
        self.register(Hook::nudge(period.max(Duration::from_millis(1)), hook))
    }

    /// Runs `call` on this thread with `wake` as its [cancel hook](Self::on_cancel), removes the
    /// hook when the call is over, and returns the call's result. If the attempt was already told
    /// to return, `wake` runs first. See the example of
    /// [`TaskContext::interruptible`](crate::TaskContext::interruptible).
    pub fn interruptible<T>(
        &self,
        wake: impl FnOnce() + Send + 'static,
        call: impl FnOnce() -> T,
    ) -> T {
        let _hook = self.on_cancel(wake);
        call()
    }

    /// Returns the moment by which the attempt should be over: its deadline or, once it was told to
    /// return, the end of its grace; before it is ready, the end of `ready_within` if that comes
    /// earlier. `None` if there is no limit. Under a [`ManualClock`](crate::ManualClock) use
    /// [`remaining`](Self::remaining). See the example of
    /// [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline).
    pub fn deadline(&self) -> Option<Instant> {
        self.0.clock().instant(self.0.until())
    }

    /// Returns the time left until the [`deadline`](Self::deadline): zero once that has passed,
    /// `None` if there is no limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.clock().remaining(self.0.until())
    }

    /// Returns a timeout for a blocking call: the [remaining](Self::remaining) time, at most `max`,
    /// and at least 1 ms, because sockets refuse zero or treat it as no limit. See the example of
    /// [`TaskContext::io_timeout`](crate::TaskContext::io_timeout).
    pub fn io_timeout(&self, max: Duration) -> Duration {
        self.remaining().map_or(max, |left| left.min(max)).max(Duration::from_millis(1))
    }

    fn register(&self, hook: Hook) -> CancelGuard {
        let hook = Arc::new(hook);
        let number = self.0.register(&hook);
        CancelGuard::new(Arc::clone(&self.0), number, hook)
    }

    /// Returns a file descriptor that becomes readable when the attempt is told to return, and
    /// stays readable. Pass it to `poll` or a similar call together with the descriptor to wait
    /// for. It is created on first use. Never read from it, or the next wait will not end. Unix
    /// only. There is [an example](crate::guide::c_libraries#interrupts-that-get-lost).
    ///
    /// # Errors
    /// The system's error if it has no descriptors left; raise `ulimit -n`.
    #[cfg(unix)]
    pub fn cancel_fd(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.0.fd()
    }
}

/// Cancels a [detached](crate::TaskContext::detached) context, in a test of a body. Hooks run on
/// the thread that cancels, before the call returns. A nudge runs only once.
///
/// ```
/// # use threadvisor::prelude::*;
/// let (ctx, canceller) = TaskContext::detached();
/// assert!(ctx.check().is_ok());
/// canceller.cancel_for(CancelReason::Timeout);
/// assert_eq!(ctx.check().unwrap_err().reason(), CancelReason::Timeout);
/// canceller.cancel(); // changes nothing: the first reason stays
/// assert_eq!(ctx.reason(), Some(CancelReason::Timeout));
/// ```
#[derive(Debug)]
pub struct Canceller(pub(super) Arc<Cell>);

impl Canceller {
    /// Cancels the context as `cancel` on a task would, with the reason [`CancelReason::Stop`]. If
    /// it was already cancelled, the first reason stays.
    pub fn cancel(&self) {
        self.cancel_for(CancelReason::Stop);
    }

    /// Cancels the context with this reason. If it was already cancelled, the first reason stays.
    pub fn cancel_for(&self, reason: CancelReason) {
        self.tell(reason, Time::NEVER);
    }

    /// Cancels the context with this reason and gives the body `grace` to return, which `deadline`,
    /// `remaining` and `io_timeout` then reflect. If it was already cancelled, nothing changes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let (ctx, canceller) = TaskContext::detached_with(&ManualClock::new());
    /// canceller.cancel_with_grace(CancelReason::Shutdown, Duration::from_secs(3));
    /// assert_eq!(ctx.remaining(), Some(Duration::from_secs(3)));
    /// assert_eq!(ctx.reason(), Some(CancelReason::Shutdown));
    /// ```
    pub fn cancel_with_grace(&self, reason: CancelReason, grace: Duration) {
        let now = self.0.clock().now();
        self.tell(reason, now.after(grace));
    }

    fn tell(&self, reason: CancelReason, grace_until: Time) {
        // With `NEVER`, a `Timeout` in a test always counts as due.
        let told = self.0.tell(reason, Time::NEVER, grace_until);
        debug_assert_eq!(told, TellAnswer::Told);
        // There is no supervisor that could run them on another thread.
        self.0.run_hooks();
    }
}
