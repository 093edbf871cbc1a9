//! [`SupervisorHandle`]: what other threads, bodies and subscribers use of a supervisor.

use std::fmt;
use std::sync::Arc;

use crate::api::refused::{reclaim, refusal, AddError, Refusal, SubmitError};
use crate::api::task_handle::TaskHandle;
use crate::output::error::{Closed, WaitError};
use crate::output::snapshot::Snapshot;
use crate::platform::sync::channel::{self, select};
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::{Door, NotTaken, WhenFull};
use crate::task::envelope::Refused;
use crate::task::request::Request;
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled};

/// A handle to a running supervisor: cheap to clone, usable from any thread, bodies and subscribers
/// included.
///
/// It keeps nothing alive. When the [`Supervisor`](crate::Supervisor) has ended, what it is asked
/// is answered with `Closed` or `None`.
///
/// Calls that ask the controller something wait for its answer, which comes without waiting for any
/// user code.
#[derive(Clone)]
pub struct SupervisorHandle {
    door: Arc<Door>,
}

impl SupervisorHandle {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
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
        let record = match self.door.hand_over(spec, policy, Refused::GivenBack, WhenFull::Wait) {
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
        let records = match self.door.hand_over_batch(specs, policy) {
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
        self.hand_over(spec, policy, WhenFull::Wait)
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
        self.hand_over(spec, policy, WhenFull::GiveUp)
    }

    fn hand_over(
        &self,
        spec: TaskSpec,
        policy: AdmissionPolicy,
        when_full: WhenFull,
    ) -> Result<TaskHandle, SubmitError> {
        if let Err(error) = spec.validate() {
            return Err(SubmitError::Invalid { error, spec });
        }
        match self.door.hand_over(spec, policy, Refused::Dropped, when_full) {
            Ok(record) => Ok(TaskHandle { record }),
            Err(NotTaken::Closed(spec)) => Err(SubmitError::Closed { spec }),
            Err(NotTaken::Full(spec)) => Err(SubmitError::Full { spec }),
        }
    }

    /// The task with this id, until it has its outcome. Takes time linear in the number of tasks.
    pub fn task(&self, id: TaskId) -> Option<TaskHandle> {
        let record = self.door.ask(|reply| Request::Task(id, reply))??;
        Some(TaskHandle { record })
    }

    /// The task that owns this slot. An abandoned task owns its slot until its body has returned,
    /// its outcome given or not.
    pub fn owner(&self, slot: &str) -> Option<TaskHandle> {
        let record = self.door.ask(|reply| Request::Owner(slot.to_owned(), reply))??;
        Some(TaskHandle { record })
    }

    /// Stops the slot's owner and removes all that waits for it. To let the queue go on instead,
    /// cancel the [`owner`](Self::owner).
    pub fn cancel_slot(&self, slot: &str) -> SlotCancelled {
        self.door.ask(|reply| Request::CancelSlot(slot.to_owned(), reply)).unwrap_or_default()
    }

    /// The state of everything at one moment. Takes time linear in the number of tasks.
    ///
    /// # Errors
    /// [`Closed`] once the supervisor has ended.
    pub fn snapshot(&self) -> Result<Snapshot, Closed> {
        self.door.ask(Request::Snapshot).ok_or(Closed)
    }

    /// Asks for shutdown, and returns at once; the first request counts. From any thread.
    pub fn request_shutdown(&self) {
        self.door.request_shutdown(ShutdownCause::Requested);
    }

    /// Whether a shutdown was asked for, or the supervisor has ended.
    pub fn is_shutting_down(&self) -> bool {
        self.door.is_shutting_down()
    }

    /// Waits until the subscribers of the shared lane were called back for every event up to now,
    /// or the events were counted as dropped. For tests.
    ///
    /// # Errors
    /// - `WouldDeadlock` on a thread of the same supervisor.
    /// - `Cancelled` on another supervisor's worker, once its attempt is told to return.
    /// - `Closed` once the supervisor has ended.
    pub fn flush_events(&self) -> Result<(), WaitError> {
        if current::belongs_to(&self.door) {
            return Err(WaitError::WouldDeadlock);
        }
        match self.door.ask(Request::Flush) {
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
        if current::belongs_to(&self.door) {
            return Err(WaitError::WouldDeadlock);
        }
        let (reply, idle) = channel::bounded(1);
        if !self.door.send(Request::Idle { or_shutdown, reply }) {
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

impl fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorHandle")
            .field("shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

impl TaskContext {
    /// A handle to the supervisor. Waiting for the supervisor itself on one of its threads is
    /// refused.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle::new(Arc::clone(&self.record().door))
    }
}
