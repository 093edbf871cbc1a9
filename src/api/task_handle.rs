//! [`TaskHandle`]: one task, through all its attempts.

use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::WaitError;
use crate::output::outcome::Outcome;
use crate::platform::sync::channel::Receiver;
use crate::platform::user_value::UserValue;
use crate::runtime::requests;
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::record::Record;
use crate::task::token::CancelToken;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{Decision, TaskState};

/// Observes, steers and stops one task, through all its attempts. It is cheap to clone and can be
/// used from any thread. Dropping it changes nothing.
///
/// | to | call |
/// |---|---|
/// | wait for the end | [`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout); in `select!` [`ended`](Self::ended) |
/// | be called at the end, without waiting | [`on_end`](Self::on_end) |
/// | look, without waiting | [`outcome`](Self::outcome), [`state`](Self::state) |
/// | wait until it runs | [`wait_started`](Self::wait_started) |
/// | stop it for good | [`cancel`](Self::cancel) |
/// | start the next attempt now | [`skip_wait`](Self::skip_wait) if it waits, [`restart`](Self::restart) also if it runs |
/// | hold it back | [`pause`](Self::pause), [`resume`](Self::resume) |
/// | run it more or less often | [`set_interval`](Self::set_interval) |
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let tick = TaskSpec::new("tick", |_| Ok(())).repeat_after(Duration::from_secs(60));
/// let task = supervisor.handle().add(tick)?;
/// assert!(task.wait_timeout(Duration::from_millis(1))?.is_none());
/// task.cancel();
/// assert!(matches!(task.wait()?, Outcome::Cancelled { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "JoinHandle")]
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) record: Arc<Record>,
}

impl TaskHandle {
    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.record.id
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Returns the key of the task's slot; `None` if it has no slot.
    pub fn slot(&self) -> Option<&str> {
        self.record.slot().map(|slot| &**slot)
    }

    /// Returns the state of the task, which is `Over` as soon as its outcome is known.
    ///
    /// Blocks for a round trip to the controller, so do not poll it: [`wait`](Self::wait) and
    /// [`ended`](Self::ended) wait for the end, and events report what happens before.
    pub fn state(&self) -> TaskState {
        if self.record.outcome().is_some() {
            return TaskState::Over;
        }
        requests::state(&self.record)
    }

    /// Waits for the controller's first decision about the submission. The controller decides
    /// without waiting for user code. A queued task may still be rejected later.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let sync = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let first = handle.submit(sync("first").slot("tenant-42"), AdmissionPolicy::Queue)?;
    /// let second = handle.submit(sync("second").slot("tenant-42"), AdmissionPolicy::Queue)?;
    /// assert_eq!(first.wait_decided()?, Decision::Admitted);
    /// assert_eq!(second.wait_decided()?, Decision::Queued { ahead: 0 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`: the controller has ended without a decision, or this is a child that was forked
    /// from the supervisor's process.
    #[doc(alias = "decided")]
    pub fn wait_decided(&self) -> Result<Decision, WaitError> {
        self.record.wait_decided().ok_or(WaitError::Closed)
    }

    /// Waits for the outcome, through all attempts and retries. A task that runs for ever has none
    /// until it is stopped. Once the task has ended, every call returns the outcome immediately;
    /// but if a shutdown has ended it, a body that is about to be told of that waits for it first.
    ///
    /// A body may wait for another task. It keeps its permit while it waits, and the other task
    /// starts without waiting for one. The wait ends early when the body's own attempt is told to
    /// return. On a thread that the body has started itself, the call knows nothing of the body: it
    /// ignores the cancel, and the other task may have to wait for a permit. Use
    /// [`TaskContext::wait_for`] there.
    ///
    /// # Errors
    /// - `WouldDeadlock`: the caller is the task's own body, or a body that stands in the way of
    ///   the task: the task is queued for the slot of the caller's task, is of the same
    ///   [class](crate::TaskSpec::class) or queued behind such a task, or is in the same
    ///   [group](crate::GroupSpec) a step or in a phase that waits for the caller. Wait on another
    ///   thread.
    /// - `Cancelled`: the caller is a body that was told to return; pass it on with `?`.
    /// - `Closed`: this is a child that was forked from the supervisor's process.
    #[doc(alias = "join")]
    pub fn wait(&self) -> Result<Outcome, WaitError> {
        self.wait_timeout(Duration::MAX).map(|outcome| outcome.unwrap_or(Outcome::Lost))
    }

    /// Waits for the outcome for at most `span`, like [`wait`](Self::wait); returns `None` if the
    /// task has not ended by then. With a `span` of zero it does not wait.
    ///
    /// # Errors
    /// The same as those of [`wait`](Self::wait).
    #[doc(alias = "join")]
    pub fn wait_timeout(&self, span: Duration) -> Result<Option<Outcome>, WaitError> {
        if let Some(token) = current::token() {
            return self.wait_in_body(&token, span);
        }
        match self.outcome() {
            None if self.record.door.is_forked() => Err(WaitError::Closed),
            None => Ok(self.record.wait(span)),
            outcome => Ok(outcome),
        }
    }

    /// Waits until the outcome is there or the token is cancelled.
    pub(crate) fn wait_with(&self, token: &CancelToken) -> Result<Outcome, WaitError> {
        self.wait_in_body(token, Duration::MAX)?.ok_or(WaitError::Closed)
    }

    /// Waits until there is an outcome, the body of the token is told to return, or `span` has
    /// passed.
    fn wait_in_body(
        &self,
        token: &CancelToken,
        span: Duration,
    ) -> Result<Option<Outcome>, WaitError> {
        let hears = !token.is_cancelled() && !span.is_zero();
        if let Some(outcome) = self.record.outcome_in_body(&token.0, hears)? {
            return Ok(Some(outcome));
        }
        if current::runs(&self.record) {
            return Err(WaitError::WouldDeadlock);
        }
        if self.record.door.is_forked() {
            return Err(WaitError::Closed);
        }
        let _awaiting = if span.is_zero() { None } else { self.await_in_body(token, true)? };
        Ok(self.record.wait_in_body(&token.0, span)?)
    }

    /// Notes that the body of the token waits for this task, if both have the same supervisor.
    pub(super) fn await_in_body(
        &self,
        token: &CancelToken,
        until_end: bool,
    ) -> Result<Option<Awaiting<'_>>, WaitError> {
        let (waiter, other) = (&token.0.record, &self.record);
        if !Arc::ptr_eq(&waiter.door, &other.door) {
            return Ok(None);
        }
        // What is queued behind the waiter's own slot never gets it, for example.
        let one_slot = waiter.slot().is_some() && waiter.slot() == other.slot();
        let one_group = waiter.group().is_some() && waiter.group() == other.group();
        let suspect = one_slot || one_group || token.0.class_index().is_some();
        if suspect && requests::waits_in_vain(waiter, other, until_end) {
            return Err(WaitError::WouldDeadlock);
        }
        Ok(Some(Awaiting::new(&self.record)))
    }

    /// Waits until a thread has taken up the task's first attempt, and returns true; returns false
    /// if the task has ended before any thread did. When this returns true, the body may be about
    /// to begin, or may already be over.
    ///
    /// A body may wait, as with [`wait`](Self::wait).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let server = |ctx: &TaskContext| Ok(ctx.sleep(std::time::Duration::MAX)?);
    /// let server = supervisor.handle().add(TaskSpec::new("server", server))?;
    /// assert!(server.wait_started()?);
    /// assert_eq!(server.state(), TaskState::Running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `WouldDeadlock`: the caller is a body that stands in the way of the task: the task is
    ///   queued for the slot of the caller's task, is of the same [class](crate::TaskSpec::class)
    ///   or queued behind such a task, or is in a phase of the caller's [group](crate::GroupSpec)
    ///   that waits for the caller. Wait on another thread.
    /// - `Cancelled`: the caller is a body that was told to return; pass it on with `?`.
    /// - `Closed`: this is a child that was forked from the supervisor's process.
    pub fn wait_started(&self) -> Result<bool, WaitError> {
        if let Some(started) = self.record.started() {
            return Ok(started);
        }
        if self.record.door.is_forked() {
            return Err(WaitError::Closed);
        }

        let token = current::token_to_wait_with();
        let _awaiting = self.await_in_body(&token, false)?;
        self.record.wait_started(&token.0)?;
        Ok(self.record.started().unwrap_or(false))
    }

    /// Returns the outcome; `None` if the task has not ended. Returns immediately.
    pub fn outcome(&self) -> Option<Outcome> {
        self.record.outcome()
    }

    /// Returns a channel that disconnects when the task has ended, for use in `select!`. Nothing is
    /// ever sent on it. The channel is created on first use.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let task = supervisor.handle().add(TaskSpec::once("a", |_| Ok(())))?;
    /// assert!(task.ended().recv().is_err());
    /// assert!(task.outcome().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended(&self) -> Receiver<Infallible> {
        self.record.ended()
    }

    /// Registers `callback`, which is called once with the outcome: when the task has ended, or now
    /// if it is over. Returns immediately, unless the supervisor has ended. Unlike an event, the
    /// call is never lost, even if the handle is dropped. It may come after [`wait`](Self::wait)
    /// has returned, and before subscribers get the last events of the task.
    ///
    /// The callback runs on a worker, or on `hook-NAME` if none takes it within 5 ms, as a hook: it
    /// needs no permit and should return soon. The callbacks of one task run one at a time, in the
    /// order of registration. An event reports those that panic or take over 100 ms. One that
    /// outlives the supervisor's grace is in [`stuck_hooks`](crate::Snapshot::stuck_hooks). It is
    /// no body: calls such as `shutdown` return `WouldDeadlock` in it, and it may hand over tasks
    /// until a drain or a shutdown begins.
    ///
    /// `run`, `wait_idle` and drains do not wait for it, nor for tasks that it will hand over. At
    /// the end of the supervisor it has the 250 ms of the event flush; if it takes longer, it may
    /// end with the process, and the report counts it
    /// ([`values_leaked`](crate::ShutdownReport::values_leaked)). The exit code does not change.
    ///
    /// Once the supervisor has ended, `callback` is called on this thread before this returns. If
    /// an earlier callback of the task still runs, this one is called after it, on its thread. A
    /// panic then goes to the log. In a forked child, `callback` is called before this returns,
    /// with `Lost` if the outcome is not known there.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let task = supervisor.handle().add(TaskSpec::once("export", |_| Ok(())))?;
    /// task.on_end(move |outcome| drop(tell.send(outcome.is_success())));
    /// assert!(told.recv()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_end(&self, callback: impl FnOnce(&Outcome) + Send + 'static) {
        if self.record.door.is_forked() {
            return callback(&self.outcome().unwrap_or(Outcome::Lost));
        }
        self.record.on_end(UserValue::new(Box::new(callback)));
    }

    /// Asks the task to stop for good, and returns immediately: a running body is told to return
    /// within its grace, and a waiting or queued task ends without another attempt. Further calls
    /// change nothing. [`wait`](Self::wait) waits for the end. Of several, cancel the newest first.
    #[doc(alias = "stop")]
    #[doc(alias = "abort")]
    pub fn cancel(&self) {
        if self.record.ask_cancel() {
            requests::cancel(&self.record);
        }
    }

    /// Starts the next attempt now if the task waits for its initial delay, its backoff, or its
    /// interval. Two attempts begin at least 1 ms apart, so a manual clock may have to be moved.
    /// The delays of the backoff start over; the grid of `every` does not move. Returns false if
    /// the task is not [`Waiting`](TaskState::Waiting), is paused, or waits for its phase.
    ///
    /// Blocks for a round trip to the controller, but not until the attempt runs. To tell the
    /// values of runs apart, let the body put [`attempt`](TaskContext::attempt) into its value.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let report = TaskSpec::once("report", |_| Ok(())).initial_delay(std::time::Duration::MAX);
    /// let report = supervisor.handle().add(report)?;
    /// assert!(report.skip_wait());
    /// assert!(report.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "retry_now")]
    pub fn skip_wait(&self) -> bool {
        requests::skip_wait(&self.record)
    }

    /// Tells a running attempt to return, and starts the next one as soon as it has returned,
    /// without counting a failure: for example after a SIGHUP, or when a link has come up. A
    /// waiting task starts now, as with [`skip_wait`](Self::skip_wait); one whose attempt has just
    /// returned does not wait. The delays of the backoff start over. Returns false if the task
    /// neither runs nor waits, waits paused or for its phase, runs a `once` body, stops with its
    /// group, or finishes at a drain.
    ///
    /// Blocks for a round trip to the controller; a body that restarts its own task is told then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (opened, attempts) = std::sync::mpsc::channel();
    /// let tail = supervisor.handle().add(TaskSpec::new("tail", move |ctx| {
    ///     opened.send(ctx.attempt())?; // a real body would open the rotated file here
    ///     Ok(ctx.sleep(Duration::MAX)?)
    /// }))?;
    /// assert_eq!(attempts.recv()?, 1);
    /// assert!(tail.restart());
    /// assert_eq!(attempts.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restart(&self) -> bool {
        requests::restart(&self.record)
    }

    /// Pauses the task: a running attempt goes on until it ends by itself, and no further one
    /// starts until [`resume`](Self::resume). Retries and runs that would have come during the
    /// pause are not made up for. Returns false if the task is paused already, was asked to stop,
    /// has ended, or is a member of a group.
    ///
    /// The task keeps its slot, so what is queued behind it waits, and so do
    /// [`Supervisor::run`](crate::Supervisor::run) and `wait_idle`. It holds neither thread nor
    /// permit, and before the first attempt, the time of `expires_in` stands still. An attempt that
    /// is just being handed to a thread still runs, and `restart` then returns false.
    /// [`skip_wait`](Self::skip_wait) does not start a paused task. [`restart`](Self::restart) ends
    /// the attempt that runs; the next one waits. Blocks for a round trip to the controller, but
    /// not until the attempt has ended.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let poll = TaskSpec::new("poll", |_| Ok(())).every(Duration::from_millis(5));
    /// let poll = supervisor.handle().add(poll)?;
    /// assert!(poll.pause()); // the device is being updated
    /// assert!(!poll.pause());
    /// assert!(supervisor.handle().snapshot()?.tasks[0].paused);
    /// assert!(poll.resume());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> bool {
        requests::pause(&self.record)
    }

    /// Ends a [pause](Self::pause). A waiting task starts now; under `every`, a task that has run
    /// before starts at the next point of its grid. The delays of the backoff and the time of
    /// `give_up_after` start over. Returns false if the task is not paused, was asked to stop, or
    /// has ended.
    ///
    /// Blocks for a round trip to the controller, but not until the attempt runs.
    pub fn resume(&self) -> bool {
        requests::resume(&self.record)
    }

    /// Sets the interval of a task that was made with [`every`](crate::TaskSpec::every) or
    /// [`repeat_after`](crate::TaskSpec::repeat_after). If the task now waits for its next run or a
    /// retry, the wait ends as if the interval had been set when it began; if that time has already
    /// passed, it ends now. The initial delay stays. The grid of `every` starts over at the next
    /// start. Returns false if the task has no interval, was asked to stop or has ended, or if
    /// `interval` is zero.
    ///
    /// Blocks for a round trip to the controller.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (ran, runs) = std::sync::mpsc::channel();
    /// let poll = TaskSpec::new("poll", move |_| Ok(ran.send(())?));
    /// let poll = supervisor.handle().add(poll.every(Duration::from_secs(3600)))?;
    /// runs.recv()?;
    /// assert!(poll.set_interval(Duration::from_millis(5)));
    /// runs.recv()?; // not in an hour
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_interval(&self, interval: Duration) -> bool {
        requests::set_interval(&self.record, interval)
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }
}

/// Two handles are equal if they refer to the same task of the same supervisor.
impl PartialEq for TaskHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for TaskHandle {}

impl Hash for TaskHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.id.hash(state);
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

impl TaskContext {
    /// Waits for the outcome of another task, or until this attempt is told to return. The attempt
    /// keeps its permit while it waits, and the other task starts without waiting for one.
    ///
    /// On the body's own thread, [`TaskHandle::wait`] does the same. This method also works on
    /// other threads to which the body has lent its context. When this attempt is told to return,
    /// the other task goes on, unless the body cancels it. A hook would not do: the wait ends by
    /// itself, and the hook of a body that has returned does not run. All further waits of a told
    /// body end at once, too, but not that for [`ended`](TaskHandle::ended).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().max_concurrent(1).start()?;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let parent = TaskSpec::once("parent", move |ctx| {
    ///     let child = TaskSpec::once("child", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    ///     let child = ctx.handle().add(child)?;
    ///     tell.send(child.clone())?;
    ///     let outcome = ctx.wait_for(&child); // the child runs without a permit
    ///     if outcome.is_err() {
    ///         child.cancel(); // who stops the parent stops both, and the child ends first
    ///         let _ = child.ended().recv_timeout(ctx.io_timeout(Duration::from_secs(2)));
    ///     }
    ///     Ok(outcome?.into_result()?)
    /// });
    /// let parent = supervisor.handle().add(parent)?;
    /// let child = told.recv()?;
    /// parent.cancel();
    /// parent.wait()?;
    /// assert!(child.outcome().is_some_and(|child| child.is_cancelled()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `WouldDeadlock`: `task` is this attempt's own task, or this attempt stands in its way:
    ///   `task` is queued for the slot of this attempt's task, is of the same
    ///   [class](crate::TaskSpec::class) or queued behind such a task, or is in the same
    ///   [group](crate::GroupSpec) a step or in a phase that waits for this attempt.
    /// - `Cancelled`: this attempt was told to return; pass it on with `?`.
    #[doc(alias = "join")]
    pub fn wait_for(&self, task: &TaskHandle) -> Result<Outcome, WaitError> {
        if Arc::ptr_eq(self.record(), task.record()) {
            return Err(WaitError::WouldDeadlock);
        }
        task.wait_with(self.token())
    }
}

/// As long as it lives, a body waits for the task, which then needs no permit.
pub(super) struct Awaiting<'a>(&'a Arc<Record>);

impl<'a> Awaiting<'a> {
    fn new(record: &'a Arc<Record>) -> Self {
        requests::wait_began(record);
        Self(record)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        requests::wait_ended(self.0);
    }
}
