//! [`CancelToken`]: whether an attempt should return, and what is to wake it if it cannot look.

use std::convert::Infallible;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::Cancelled;
use crate::platform::sync::channel::Receiver;
use crate::task::cell::Cell;
use crate::task::guards::CancelGuard;
use crate::task::hook::Hook;
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// Says whether one attempt should return: what a [`TaskContext`](crate::TaskContext) gives to code
/// that should not know the rest. Cheap to clone, and usable from any thread.
///
/// It is sticky: once cancelled, it stays so. Each attempt has a fresh one, and one whose attempt
/// has ended is never cancelled again. Only the supervisor cancels it.
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
pub struct CancelToken(pub(crate) Arc<Cell>);

impl CancelToken {
    /// Returns whether the attempt should return. Costs one atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_told()
    }

    /// Returns an error once the attempt should return, so that `?` leaves the body.
    ///
    /// # Errors
    /// [`Cancelled`] once the attempt was told to return; pass it on with `?`.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.0.check()
    }

    /// Sleeps for `span`, or until the attempt is told to return. The thread does not wake up in
    /// between; `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// [`Cancelled`] as soon as the attempt is told to return; at once if it was told before.
    pub fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        self.0.sleep(span)
    }

    /// Returns why the attempt was told to return: the first reason, or `None` before.
    pub fn reason(&self) -> Option<CancelReason> {
        self.0.reason()
    }

    /// Returns a channel that disconnects when the attempt is told to return, for `select!`.
    /// Nothing is ever sent on it. It is made on first use.
    pub fn cancelled(&self) -> Receiver<Infallible> {
        self.0.told_channel()
    }

    /// Registers a hook that runs once, when the attempt is told to return: to wake a call that a
    /// flag cannot wake, by shutting down its socket, say. The page
    /// [`guide::waking`](crate::guide::waking) tells which call is woken how.
    ///
    /// The hook runs on a thread of the supervisor, after the flag is set, in the order of
    /// registration with the attempt's other hooks; at once on the calling thread, if the attempt
    /// was told before. It should not block: one that takes longer than 100 ms is an event, and one
    /// that outlives the grace counts as abandoned. A panic in it is an event. Dropping the guard
    /// removes it.
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

    /// Registers a hook that runs when the attempt is told to return, and again each `period` (at
    /// least 1 ms) until the guard is dropped: for calls that lose an interrupt which comes before
    /// them, such as `sqlite3_interrupt`. Otherwise as [`on_cancel`](Self::on_cancel).
    pub fn on_cancel_every(
        &self,
        period: Duration,
        hook: impl FnMut() + Send + 'static,
    ) -> CancelGuard {
        self.register(Hook::nudge(period.max(Duration::from_millis(1)), hook))
    }

    fn register(&self, hook: Hook) -> CancelGuard {
        let hook = Arc::new(hook);
        self.0.register(&hook);
        CancelGuard::new(Arc::clone(&self.0), hook)
    }

    /// A file descriptor that becomes readable when the attempt is told to return, and stays so:
    /// for `poll` and its like, beside the descriptor that is waited for. Made on first use; never
    /// read from it.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    #[cfg(unix)]
    pub fn cancel_fd(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.0.fd()
    }
}

/// Cancels a [detached](crate::TaskContext::detached) context, in a test of a body. Hooks run on
/// the thread that cancels, nudges once.
#[derive(Debug)]
pub struct Canceller(pub(super) Arc<Cell>);

impl Canceller {
    /// Cancels the context as `cancel` on a task would: the reason is
    /// [`CancelReason::Stop`], unless it was cancelled before.
    pub fn cancel(&self) {
        self.cancel_for(CancelReason::Stop);
    }

    /// Cancels the context for this reason; the first one counts.
    pub fn cancel_for(&self, reason: CancelReason) {
        self.tell(reason, Time::NEVER);
    }

    /// Cancels the context and gives it this long to return: what `remaining` speaks of from then
    /// on.
    pub fn cancel_with_grace(&self, reason: CancelReason, grace: Duration) {
        let now = self.0.clock().now();
        self.tell(reason, now.after(grace));
    }

    fn tell(&self, reason: CancelReason, grace_until: Time) {
        // A deadline in a test is said to have come.
        let told = self.0.tell(reason, Time::NEVER, grace_until);
        debug_assert_eq!(told, TellAnswer::Told);
        // No supervisor is there to do it on another thread.
        self.0.run_hooks();
    }
}
