//! [`TaskContext`]: a running body's view of its attempt and its supervisor.

use std::convert::Infallible;
use std::fmt;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::{Cancelled, RecvError, TaskError};
use crate::platform::manual::Seat;
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::channel::Receiver;
use crate::task::cell::Cell;
use crate::task::door::Door;
use crate::task::guards::CancelGuard;
use crate::task::record::Record;
use crate::task::token::{CancelToken, Canceller};
use crate::vocabulary::id::{ClassIndex, TaskId};
use crate::vocabulary::reason::CancelReason;

/// Gives a body access to its attempt and its supervisor. A context is lent to the body for one
/// attempt. Because it is `Sync`, the body can lend it to scoped threads and to [callbacks of a
/// library](crate::guide::c_libraries#callbacks-during-a-call).
///
/// Cancellation is cooperative, because a thread cannot be killed. A body should check its context
/// wherever it waits or loops:
///
/// | where the body | it calls |
/// |---|---|
/// | loops or computes | [`check`](Self::check) |
/// | pauses | [`sleep`](Self::sleep), instead of `thread::sleep` |
/// | receives messages | [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout), or [`cancelled`](Self::cancelled) in `select!` |
/// | waits for another task | [`wait_for`](Self::wait_for) |
/// | blocks in a call | [`on_cancel`](Self::on_cancel), [`on_cancel_every`](Self::on_cancel_every), [`interruptible`](Self::interruptible) |
/// | polls descriptors | [`cancel_fd`](Self::cancel_fd) |
/// | needs a timeout | [`io_timeout`](Self::io_timeout), [`extend_deadline`](Self::extend_deadline) |
/// | must hear of a drain | [`handle().is_draining()`](crate::SupervisorHandle::is_draining), or what [a server that drains](crate::guide::waking#a-server-that-drains) does |
/// | has a watchdog | [`heartbeat`](Self::heartbeat), [`allow_silence`](Self::allow_silence) |
/// | tells others where it is | [`ready`](Self::ready), [`mark`](Self::mark), [`progress`](Self::progress) |
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
    _counted: Option<DetachedBody>,
}

/// A body without a supervisor, which counts as busy until its context is dropped.
struct DetachedBody(Arc<Seat>);

impl Drop for DetachedBody {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl TaskContext {
    pub(crate) fn new(cell: Arc<Cell>, failures: u32, last_failure: Option<TaskError>) -> Self {
        Self { token: CancelToken(cell), failures, last_failure, _counted: None }
    }

    /// Creates a context without a supervisor, to test a body by itself. It stands for the first
    /// attempt of a task named `detached`, has no deadline, and is cancelled by the [`Canceller`].
    /// Its [`handle`](Self::handle) behaves like that of a supervisor that has ended.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (ctx, canceller) = TaskContext::detached();
    /// assert!(ctx.check().is_ok());
    /// canceller.cancel();
    /// assert_eq!(ctx.check().unwrap_err().reason(), CancelReason::Stop);
    /// ```
    pub fn detached() -> (Self, Canceller) {
        Self::detached_at(ModelClock::start_now())
    }

    pub(crate) fn detached_at(clock: ModelClock) -> (Self, Canceller) {
        let counted = clock.seat().cloned().map(DetachedBody);
        let door = Door::ended(clock);
        let record = Arc::new(Record::new(door, TaskId::new(1), Arc::from("detached"), None));
        let cell = Arc::new(Cell::detached(record));
        let canceller = Canceller(Arc::clone(&cell));
        (Self { _counted: counted, ..Self::new(cell, 0, None) }, canceller)
    }

    pub(super) fn cell(&self) -> &Arc<Cell> {
        &self.token.0
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.cell().record
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.record().name
    }

    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.record().id
    }

    /// Returns the name of the task's [group](crate::GroupSpec); `None` if it is in none.
    pub fn group(&self) -> Option<&str> {
        self.record().group().map(|group| &**group)
    }

    /// Returns the number of this attempt within its task, from 1.
    pub fn attempt(&self) -> u64 {
        self.cell().attempt.number
    }

    /// Returns the number of the permit that the attempt holds of its
    /// [class](crate::TaskSpec::class); `None` without a class. The number is below the limit of
    /// the class, or below an earlier, higher limit if
    /// [`set_class_limit`](crate::SupervisorHandle::set_class_limit) has lowered it. No other
    /// attempt holds the same number at the same time. A class is often a pool of things (licences,
    /// ports, accelerators), and the number says which of them the body may use. A retry may get
    /// another number. While a released attempt still runs, another attempt may have its number.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let ports = ["/dev/ttyUSB0", "/dev/ttyUSB1"];
    /// let supervisor = Supervisor::builder().class_limit("port", ports.len()).start()?;
    /// let probe = TaskSpec::once("probe", move |ctx| {
    ///     let port = ctx.class_index().map(|index| ports[index]);
    ///     assert_eq!(port, Some("/dev/ttyUSB0"));
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(probe.class("port"))?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn class_index(&self) -> Option<usize> {
        self.cell().class_index().map(ClassIndex::get)
    }

    /// Returns how many failures the task's streak had when this attempt was started; 0 outside of
    /// a streak. What ends a streak: see [`TaskSpec::stable_after`](crate::TaskSpec::stable_after).
    /// The value does not change while the attempt runs. See the example of
    /// [`last_failure`](Self::last_failure).
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the failure that this attempt retries; `None` in the first attempt and outside
    /// of a streak.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let link = TaskSpec::new("link", |ctx| match ctx.last_failure() {
    ///     None => Err("no carrier".into()),
    ///     Some(failure) => {
    ///         assert_eq!((ctx.failures(), &*failure.to_string()), (1, "no carrier"));
    ///         Ok(())
    ///     }
    /// });
    /// let link = link.backoff(BackoffPolicy::constant(Duration::from_millis(1)));
    /// assert!(supervisor.handle().add(link)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_failure(&self) -> Option<&TaskError> {
        self.last_failure.as_ref()
    }

    /// Returns the cancel token of this attempt, for code that needs nothing else from the context.
    /// A clone may outlive the attempt; once everything that the attempt leaves behind is dropped,
    /// the token can no longer be cancelled.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// fn sum(token: &CancelToken, numbers: &[u64]) -> Result<u64, Cancelled> {
    ///     let mut sum = 0;
    ///     for number in numbers {
    ///         token.check()?;
    ///         sum += number;
    ///     }
    ///     Ok(sum)
    /// }
    /// let (ctx, canceller) = TaskContext::detached();
    /// assert_eq!(sum(ctx.token(), &[1, 2, 3]), Ok(6));
    /// canceller.cancel();
    /// assert!(sum(ctx.token(), &[1, 2, 3]).is_err());
    /// ```
    pub fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Returns whether the body should return. Costs one atomic load. Where `?` can be used,
    /// [`check`](Self::check) is shorter.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns an error if the body should return, so that `?` leaves the body. Costs one atomic
    /// load.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (ctx, canceller) = TaskContext::detached();
    /// let mut rounds = 0;
    /// let mut body = |ctx: &TaskContext| -> TaskResult {
    ///     loop {
    ///         ctx.check()?;
    ///         rounds += 1; // one unit of work
    ///         if rounds == 3 { canceller.cancel() }
    ///     }
    /// };
    /// assert!(body(&ctx).is_err());
    /// assert_eq!((rounds, ctx.is_cancelled()), (3, true));
    /// ```
    ///
    /// # Errors
    /// [`Cancelled`] once the attempt was told to return; pass it on with `?`.
    #[doc(alias = "checkpoint")]
    pub fn check(&self) -> Result<(), Cancelled> {
        self.token.check()
    }

    /// Sleeps for `span`, or until the attempt is told to return. The thread does not wake up in
    /// between. With `Duration::MAX` it sleeps until it is told.
    ///
    /// # Errors
    /// [`Cancelled`] as soon as the attempt is told to return, or immediately if it already was;
    /// pass it on with `?`.
    pub fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        self.token.sleep(span)
    }

    /// Waits for the next message of a channel and returns it. The wait ends early when the attempt
    /// is told to return. The thread does not wake up in between.
    ///
    /// The token comes first: once the attempt was told to return, the call takes no message, even
    /// if there are some in the channel. A message that was taken is always returned.
    ///
    /// Unlike `select!` with [`cancelled`](Self::cancelled), this wait is known to a
    /// [`ManualClock`](crate::ManualClock).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// use threadvisor::crossbeam_channel::unbounded;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (jobs, queue) = unbounded();
    /// let worker = supervisor.handle().add(TaskSpec::new("worker", move |ctx| loop {
    ///     let job: String = ctx.recv(&queue)?;
    ///     println!("{job}");
    /// }))?;
    /// jobs.send("sweep".to_owned())?;
    /// worker.cancel();
    /// assert!(matches!(worker.wait()?, Outcome::Cancelled { returned: None, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `Cancelled`: the attempt was told to return; pass it on with `?`. To lose nothing at a
    ///   stop, match it instead and take what is left in the channel with `try_iter`.
    /// - `Disconnected`: the channel is empty and all its senders are gone. Passed on with `?`,
    ///   this is a failure like any other. If the senders go while the supervisor shuts down, the
    ///   call waits for up to a second until its own attempt is told, and returns `Cancelled`;
    ///   not in a group, where other phases are told later.
    ///
    /// [`RecvError`] is not in the prelude, since channels have a type of that name.
    #[doc(alias = "select")]
    pub fn recv<T: Send + 'static>(&self, channel: &Receiver<T>) -> Result<T, RecvError> {
        self.token.recv(channel)
    }

    /// Receives the next message of a channel like [`recv`](Self::recv), but waits for at most
    /// `span`; returns `None` if none has come by then. With a `span` of zero it does not wait;
    /// with `Duration::MAX` it waits for ever.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// use threadvisor::crossbeam_channel::unbounded;
    /// let (ctx, _canceller) = TaskContext::detached();
    /// let (jobs, queue) = unbounded();
    /// jobs.send("sweep")?;
    /// assert_eq!(ctx.recv_timeout(&queue, Duration::from_secs(1))?, Some("sweep"));
    /// assert_eq!(ctx.recv_timeout(&queue, Duration::from_millis(1))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        self.token.recv_timeout(channel, span)
    }

    /// Returns why the attempt was told to return, which is the first reason if there were several;
    /// `None` if it was not told.
    pub fn reason(&self) -> Option<CancelReason> {
        self.token.reason()
    }

    /// Returns a channel that disconnects when the attempt is told to return, for use in `select!`.
    /// Nothing is ever sent on it. The channel is created on first use.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// use threadvisor::crossbeam_channel::{select, unbounded};
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
    /// it uses may be freed. If a cancel also ends what the body waits in, such as `sleep`, `recv`
    /// or `wait`, the body may return before the hook runs, which then never does: put what must
    /// happen after a cancel after the wait, or into a destructor.
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
    ///     stream.read_to_string(&mut text)?; // blocks until the peer closes or the hook runs
    ///     ctx.check()?; // otherwise a text that the hook has cut off would count as whole
    ///     Ok(())
    /// }))?;
    /// let _peer = listener.accept()?;
    /// reader.cancel();
    /// assert!(matches!(reader.wait()?, Outcome::Cancelled { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "interrupt")]
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> CancelGuard {
        self.token.on_cancel(hook)
    }

    /// Registers a nudge: a hook that runs when the attempt is told to return, and then again every
    /// `period` (at least 1 ms) until its guard is dropped, the body has returned, or the
    /// supervisor has ended. The period is in real time, also under a
    /// [`ManualClock`](crate::ManualClock). Once the attempt is abandoned, the pause before each
    /// run is twice as long as the one before, up to a minute. Use it for libraries that lose an
    /// interrupt if it comes before the call, such as `sqlite3_interrupt`: see [an
    /// example](crate::guide::c_libraries#interrupts-that-get-lost). In all other respects it is
    /// like [`on_cancel`](Self::on_cancel).
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let query = TaskSpec::once("query", |ctx| {
    ///     let interrupt = Arc::new(AtomicBool::new(false));
    ///     let nudge = Arc::clone(&interrupt);
    ///     let period = Duration::from_millis(5);
    ///     let _hook = ctx.on_cancel_every(period, move || nudge.store(true, Relaxed));
    ///     while !ctx.is_cancelled() { std::thread::yield_now() }
    ///     interrupt.store(false, Relaxed); // as a library that forgets an early interrupt
    ///     while !interrupt.load(Relaxed) { std::thread::yield_now() } // the next nudge ends it
    ///     Ok(())
    /// });
    /// let query = supervisor.handle().add(query)?;
    /// query.wait_started()?;
    /// query.cancel();
    /// assert!(matches!(query.wait()?, Outcome::Cancelled { returned: Some(Ok(())), .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_cancel_every(
        &self,
        period: Duration,
        hook: impl FnMut() + Send + 'static,
    ) -> CancelGuard {
        self.token.on_cancel_every(period, hook)
    }

    /// Runs `call` on this thread with `wake` as its [cancel hook](Self::on_cancel), removes the
    /// hook when the call is over, and returns the call's result. Unlike with a guard, the hook
    /// cannot be removed too early by mistake. If the attempt was already told, `wake` runs first.
    /// So it may run before the call has begun; it may also run after the call has returned.
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
        self.token.interruptible(wake, call)
    }

    /// Returns a file descriptor that becomes readable when the attempt is told to return, and
    /// stays readable. Pass it to `poll` or a similar call together with the descriptor to wait
    /// for. It is created on first use. Never read from it, or the next wait will not end. Unix
    /// only. There is [an example](crate::guide::c_libraries#interrupts-that-get-lost).
    ///
    /// # Errors
    /// The system's error if it has no descriptors left; raise `ulimit -n`.
    #[cfg(unix)]
    #[doc(alias = "eventfd")]
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
