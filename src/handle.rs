//! What users hold: [`Handle`] to the supervisor, [`TaskHandle`] to one task.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::context::CancelToken;
use crate::current;
use crate::error::{AddError, Closed, SubmitError, TaskError, WaitError};
use crate::id::TaskId;
use crate::link::{Link, NotTaken, Request, SlotCancelled};
use crate::outcome::Outcome;
use crate::policy::AdmissionPolicy;
use crate::reason::{Rejection, ShutdownCause, TaskState};
use crate::record::{Decision, Record};
use crate::snapshot::Snapshot;
use crate::spec::TaskSpec;
use crate::sync::channel::{self, select, Receiver};

/// A handle to a running supervisor: cheap to clone, usable from any thread, bodies and subscribers
/// included.
///
/// It keeps nothing alive. When the [`Supervisor`](crate::Supervisor) has ended, what it is asked
/// is answered with `Closed` or `None`.
///
/// Calls that ask the controller something wait for its answer, which comes without waiting for any
/// user code.
#[derive(Clone)]
pub struct Handle {
    link: Arc<Link>,
}

impl Handle {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Adds a task, unless its slot has an owner: a submission with `DropIfRunning` whose decision
    /// is awaited.
    ///
    /// Blocks while the intake is full, and for the decision.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let resident = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let first = handle.add(resident("a").slot("tty"))?;
    /// let refused = handle.add(resident("b").slot("tty")).unwrap_err();
    /// assert!(matches!(
    ///     refused.rejection(),
    ///     Some(Rejection::SlotBusy { owner, .. }) if owner == first.id()
    /// ));
    /// assert_eq!(refused.into_spec().name(), "b");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each gives the spec back.
    /// - `Invalid`: a setting cannot work; the error says which and what to do.
    /// - `Rejected`: the slot is busy, or the supervisor is full; wait for the owner named, or
    ///   raise `max_tasks`.
    /// - `Closed`: the supervisor is shutting down.
    pub fn add(&self, spec: TaskSpec) -> Result<TaskHandle, AddError> {
        if let Err(error) = spec.validate() {
            return Err(AddError::Invalid { error, spec });
        }
        let policy = AdmissionPolicy::DropIfRunning;
        let record = match self.link.hand_over(spec, policy, true, true) {
            Ok(record) => record,
            Err(NotTaken::Closed(spec) | NotTaken::Full(spec)) => {
                return Err(AddError::Closed { spec });
            }
        };
        match refusal(&record) {
            None => Ok(TaskHandle { record }),
            Some(why) => Err(why.with_spec(reclaim(&record))),
        }
    }

    /// Adds several tasks, all or none. A slot named twice is busy for the second.
    ///
    /// Blocks while the intake is full, and for the decision. The handles come in the order of the
    /// specs.
    ///
    /// # Errors
    /// As [`add`](Self::add), with all the specs in their order; then none of them was started.
    pub fn add_all(
        &self,
        specs: impl IntoIterator<Item = TaskSpec>,
    ) -> Result<Vec<TaskHandle>, AddError<Vec<TaskSpec>>> {
        let specs: Vec<_> = specs.into_iter().collect();
        if let Some(error) = specs.iter().find_map(|spec| spec.validate().err()) {
            return Err(AddError::Invalid { error, spec: specs });
        }
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        let policy = AdmissionPolicy::DropIfRunning;
        let records = match self.link.hand_over_batch(specs, policy) {
            Ok(records) => records,
            Err(NotTaken::Closed(spec) | NotTaken::Full(spec)) => {
                return Err(AddError::Closed { spec });
            }
        };
        // The one with a reason of its own explains the refusal of the others.
        let refusals: Vec<_> = records.iter().filter_map(|record| refusal(record)).collect();
        match refusals.into_iter().min_by_key(Refusal::is_borrowed) {
            None => Ok(records.into_iter().map(|record| TaskHandle { record }).collect()),
            Some(why) => Err(why.with_spec(records.iter().map(|it| reclaim(it)).collect())),
        }
    }

    /// Submits a task under an admission policy. Blocks while the intake is full, but not for the
    /// decision; a refusal is the outcome `Rejected`, and an event.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let sync = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let older = handle.submit(sync("older").slot("tenant-42"), AdmissionPolicy::Replace)?;
    /// let newer = handle.submit(sync("newer").slot("tenant-42"), AdmissionPolicy::Replace)?;
    /// assert!(matches!(older.wait()?, Outcome::Cancelled { reason: StopReason::Replace, .. }));
    /// assert_ne!(newer.state(), TaskState::Over);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each gives the spec back.
    /// - `Invalid`: a setting cannot work; the error says which and what to do.
    /// - `Closed`: the supervisor is shutting down.
    pub fn submit(
        &self,
        spec: TaskSpec,
        policy: AdmissionPolicy,
    ) -> Result<TaskHandle, SubmitError> {
        self.hand_over(spec, policy, true)
    }

    /// Submits a task without ever blocking.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and `Full` while the intake is full.
    pub fn try_submit(
        &self,
        spec: TaskSpec,
        policy: AdmissionPolicy,
    ) -> Result<TaskHandle, SubmitError> {
        self.hand_over(spec, policy, false)
    }

    fn hand_over(
        &self,
        spec: TaskSpec,
        policy: AdmissionPolicy,
        blocking: bool,
    ) -> Result<TaskHandle, SubmitError> {
        if let Err(error) = spec.validate() {
            return Err(SubmitError::Invalid { error, spec });
        }
        match self.link.hand_over(spec, policy, false, blocking) {
            Ok(record) => Ok(TaskHandle { record }),
            Err(NotTaken::Closed(spec)) => Err(SubmitError::Closed(spec)),
            Err(NotTaken::Full(spec)) => Err(SubmitError::Full(spec)),
        }
    }

    /// The task with this id, until it has its outcome. Takes time linear in the number of tasks.
    pub fn task(&self, id: TaskId) -> Option<TaskHandle> {
        let record = self.link.ask(|reply| Request::Task(id, reply))??;
        Some(TaskHandle { record })
    }

    /// The task that owns this slot. An abandoned task owns its slot until its body has returned,
    /// its outcome given or not.
    pub fn owner(&self, slot: &str) -> Option<TaskHandle> {
        let record = self.link.ask(|reply| Request::Owner(slot.to_owned(), reply))??;
        Some(TaskHandle { record })
    }

    /// Stops the slot's owner and removes all that waits for it. To let the queue go on instead,
    /// cancel the [`owner`](Self::owner).
    pub fn cancel_slot(&self, slot: &str) -> SlotCancelled {
        self.link.ask(|reply| Request::CancelSlot(slot.to_owned(), reply)).unwrap_or_default()
    }

    /// The state of everything at one moment. Takes time linear in the number of tasks.
    ///
    /// # Errors
    /// [`Closed`] once the supervisor has ended.
    pub fn snapshot(&self) -> Result<Snapshot, Closed> {
        self.link.ask(Request::Snapshot).ok_or(Closed)
    }

    /// Asks for shutdown, and returns at once; the first request counts. From any thread.
    pub fn request_shutdown(&self) {
        self.link.request_shutdown(ShutdownCause::Requested);
    }

    /// Whether a shutdown was asked for, or the supervisor has ended.
    pub fn is_shutting_down(&self) -> bool {
        self.link.is_shutting_down()
    }

    /// Waits until the subscribers of the shared lane were called back for every event up to now,
    /// or the events were counted as dropped. For tests.
    ///
    /// # Errors
    /// - `WouldDeadlock` on a thread of the same supervisor.
    /// - `Cancelled` on another supervisor's worker, once its attempt is told to return.
    /// - `Closed` once the supervisor has ended.
    pub fn flush_events(&self) -> Result<(), WaitError> {
        if current::belongs_to(&self.link) {
            return Err(WaitError::WouldDeadlock);
        }
        match self.link.ask(Request::Flush) {
            None => Err(WaitError::Closed),
            Some(None) => Ok(()),
            Some(Some(flushed)) => match current::token() {
                None => flushed.recv().map_err(|_| WaitError::Closed),
                Some(token) => select! {
                    recv(flushed) -> word => word.map_err(|_| WaitError::Closed),
                    recv(token.cancelled()) -> _ => token.check().map_err(WaitError::Cancelled),
                },
            },
        }
    }

    pub(crate) fn wait_idle(&self, or_shutdown: bool) -> Result<(), WaitError> {
        if current::belongs_to(&self.link) {
            return Err(WaitError::WouldDeadlock);
        }
        let (reply, idle) = channel::bounded(1);
        if !self.link.send(Request::Idle { or_shutdown, reply }) {
            return Ok(());
        }
        let Some(token) = current::token() else {
            // A disconnect means that the supervisor has ended, and with it every task.
            let _ = idle.recv();
            return Ok(());
        };
        select! {
            recv(idle) -> _ => Ok(()),
            recv(token.cancelled()) -> _ => token.check().map_err(WaitError::Cancelled),
        }
    }
}

/// Why a task was not added, before it is known what comes back with the error.
enum Refusal {
    Closed,
    Rejected { task: Arc<str>, why: Rejection },
}

impl Refusal {
    /// The reason is that of another task of the same batch.
    const fn is_borrowed(&self) -> bool {
        matches!(self, Self::Rejected { why: Rejection::BatchRefused { .. }, .. })
    }

    fn with_spec<S: fmt::Debug>(self, spec: S) -> AddError<S> {
        match self {
            Self::Closed | Self::Rejected { why: Rejection::ShuttingDown, .. } => {
                AddError::Closed { spec }
            }
            Self::Rejected { task, why } => AddError::Rejected { task, why, spec },
        }
    }
}

/// Waits for the decision about an added task.
fn refusal(record: &Record) -> Option<Refusal> {
    match record.wait_decided() {
        Some(Decision::Admitted | Decision::Queued { .. }) => None,
        Some(Decision::Rejected(why)) => {
            Some(Refusal::Rejected { task: Arc::clone(&record.name), why })
        }
        None => Some(Refusal::Closed),
    }
}

/// The spec of a refused submission. Only a controller that panicked keeps one.
fn reclaim(record: &Record) -> TaskSpec {
    record.take_refused().unwrap_or_else(|| {
        TaskSpec::once(Arc::clone(&record.name), |_| Err(TaskError::fatal("the body was lost")))
    })
}

/// Waits until a channel on which nothing is ever sent disconnects: true; or until `span` has
/// passed: false.
fn wait_for_disconnect<T>(
    end: &Receiver<T>,
    token: Option<&CancelToken>,
    span: Duration,
) -> Result<bool, WaitError> {
    let cancelled = token.map_or_else(channel::never, CancelToken::cancelled);
    select! {
        recv(end) -> _ => Ok(true),
        recv(cancelled) -> _ => match token.map(CancelToken::check) {
            Some(Err(cancelled)) => Err(WaitError::Cancelled(cancelled)),
            Some(Ok(())) | None => Ok(false),
        },
        default(span) => Ok(false),
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

/// A handle to one task: the logical one, through all its attempts. Cheap to clone; dropping it
/// changes nothing.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let tick = TaskSpec::new("tick", |_| Ok(())).every(Duration::from_secs(60));
/// let task = supervisor.handle().add(tick)?;
/// assert!(task.wait_timeout(Duration::from_millis(1))?.is_none());
/// task.cancel();
/// assert!(matches!(task.wait()?, Outcome::Cancelled { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TaskHandle {
    record: Arc<Record>,
}

impl TaskHandle {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.record.id
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The key of the task's slot, if it has one.
    pub fn slot(&self) -> Option<&str> {
        self.record.slot.as_deref()
    }

    /// Where the task is in its life: `Over` as soon as its outcome is known.
    pub fn state(&self) -> TaskState {
        if self.record.outcome().is_some() {
            return TaskState::Over;
        }
        let record = Arc::clone(&self.record);
        self.record.link.ask(|reply| Request::State(record, reply)).unwrap_or(TaskState::Over)
    }

    /// Waits for the first decision about the submission. The controller decides without waiting
    /// for anything.
    ///
    /// # Errors
    /// `Closed` if the controller ended without deciding.
    pub fn decided(&self) -> Result<Decision, WaitError> {
        self.record.wait_decided().ok_or(WaitError::Closed)
    }

    /// Waits for the outcome. Called from a body, it ends early when that body's attempt is told to
    /// return; the body's permit stays held meanwhile.
    ///
    /// # Errors
    /// - `WouldDeadlock` in a body of the task itself.
    /// - `Cancelled` once the calling body's attempt is told to return.
    pub fn wait(&self) -> Result<Outcome, WaitError> {
        self.wait_timeout(Duration::MAX).map(|outcome| outcome.unwrap_or(Outcome::Lost))
    }

    /// Waits for the outcome for at most `span`; `None` if it has not come by then.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, span: Duration) -> Result<Option<Outcome>, WaitError> {
        if let Some(outcome) = self.outcome() {
            return Ok(Some(outcome));
        }
        if current::runs(&self.record) {
            return Err(WaitError::WouldDeadlock);
        }
        match current::token() {
            None => Ok(self.record.wait(span)),
            Some(token) => {
                wait_for_disconnect(&self.record.ended(), Some(&token), span)?;
                Ok(self.outcome())
            }
        }
    }

    /// Waits until the outcome is there or the token is cancelled.
    pub(crate) fn wait_with(&self, token: &CancelToken) -> Result<Outcome, WaitError> {
        if let Some(outcome) = self.outcome() {
            return Ok(outcome);
        }
        wait_for_disconnect(&self.record.ended(), Some(token), Duration::MAX)?;
        self.outcome().ok_or(WaitError::Closed)
    }

    /// The outcome, if the task has ended.
    pub fn outcome(&self) -> Option<Outcome> {
        self.record.outcome()
    }

    /// A channel that disconnects when the task has ended, for `select!`; nothing is ever sent on
    /// it. Made on first use.
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

    /// Asks the task to stop, and returns at once: a running body is told, a waiting or queued task
    /// ends without running. Repeating it changes nothing.
    pub fn cancel(&self) {
        if self.record.ask_cancel() {
            self.record.link.send(Request::Cancel(Arc::clone(&self.record)));
        }
    }

    /// Starts the next attempt now, if the task waits for its delay, backoff, interval or tick;
    /// false if it does not. The grid of `at_rate` does not move.
    pub fn skip_wait(&self) -> bool {
        let record = Arc::clone(&self.record);
        self.record.link.ask(|reply| Request::SkipWait(record, reply)).unwrap_or(false)
    }

    /// Tells a running attempt to return and starts the next one at once, without counting a
    /// failure: for a SIGHUP or a link that came back. A waiting task starts now, as by
    /// [`skip_wait`](Self::skip_wait). False if the task neither runs nor waits, or runs a `once`
    /// body.
    pub fn restart(&self) -> bool {
        let record = Arc::clone(&self.record);
        self.record.link.ask(|reply| Request::Restart(record, reply)).unwrap_or(false)
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
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
