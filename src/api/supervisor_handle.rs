//! [`SupervisorHandle`]: the part of a supervisor that other threads, bodies and subscribers use.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::api::group_handle::GroupHandle;
use crate::api::group_spec::GroupSpec;
use crate::api::refused::{reclaim, refusal, AddError, Refusal, SubmitError};
use crate::api::task_handle::TaskHandle;
use crate::output::error::WaitError;
use crate::platform::sync::channel::{self, select, Sender, TryRecvError};
use crate::runtime::requests;
use crate::task::cell::Waiting;
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::{Door, NotTaken, WhenFull};
use crate::task::envelope::{OnRefusal, Serve};
use crate::task::group::GroupEntry;
use crate::task::record::Record;
use crate::task::request::Until;
use crate::task::spec::TaskSpec;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::Time;

/// Adds, finds and stops tasks, and observes the supervisor. It is cheap to clone and can be used
/// from any thread, including in bodies, hooks and subscribers.
///
/// A handle keeps nothing alive: once the [`Supervisor`](crate::Supervisor) has ended, its methods
/// return `Closed`, `None` or an empty answer. Methods that ask the controller block for a round
/// trip to its thread, which never waits for user code.
///
/// | to | call | if its slot is busy |
/// |---|---|---|
/// | add one task | [`add`](Self::add) | the spec comes back |
/// | add several, all or none | [`add_all`](Self::add_all) | all specs come back |
/// | add one, and choose | [`submit`](Self::submit) | as the [`AdmissionPolicy`] says |
/// | add several, independently | [`submit_all`](Self::submit_all) | as the policy says |
/// | add one, and never block | [`try_submit`](Self::try_submit) | as the policy says |
/// | add tasks that depend on each other | [`add_group`](Self::add_group) | the group comes back |
/// | find a task | [`task`](Self::task), [`owner`](Self::owner) | |
/// | free a slot | [`cancel_slot`](Self::cancel_slot) | |
/// | let more or fewer of a class run at once | [`set_class_limit`](Self::set_class_limit) | |
/// | see everything at one moment | [`snapshot`](Self::snapshot) | |
/// | ask for the end | [`request_shutdown`](Self::request_shutdown), [`request_drain`](Self::request_drain) | |
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().start()?;
/// let parent = TaskSpec::once("parent", |ctx| {
///     let child = ctx.handle().add(TaskSpec::once("child", |_| Ok(())))?;
///     ctx.wait_for(&child)?.into_result()?;
///     Ok(())
/// });
/// assert!(supervisor.handle().add(parent)?.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SupervisorHandle {
    pub(super) door: Arc<Door>,
}

impl SupervisorHandle {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// What the clock of the tasks shows, in nanoseconds since the start.
    #[cfg(feature = "timeline")]
    pub(crate) fn nanos(&self) -> u64 {
        self.door.clock.now().as_nanos()
    }

    /// Adds a task unless its slot is busy, and returns once that is decided.
    ///
    /// This is [`submit`](Self::submit) with [`AdmissionPolicy::DropIfRunning`], except that it
    /// waits for the decision and gives the spec back on a refusal. Blocks while the intake is
    /// full, and for the round trip to the controller, but not until the body runs.
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
    /// Each error gives the spec back.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Rejected`: the slot is busy, or a limit is reached; wait for the owner that the error
    ///   names, [`submit`](Self::submit) with another policy, or raise the limit that the error
    ///   names.
    /// - `Closed`: the supervisor is shutting down, or it is draining and the caller is not one of
    ///   its bodies. During a shutdown, a refused call of one of its bodies waits for up to a
    ///   second until the body is told, so that `?` is no failure. In a group it does not wait.
    #[doc(alias = "spawn")]
    pub fn add(&self, spec: TaskSpec) -> Result<TaskHandle, AddError> {
        if let Err(error) = spec.validate_for(&self.door.classes) {
            return Err(AddError::Invalid { error, spec });
        }

        let policy = AdmissionPolicy::DropIfRunning;
        let (back, own) = (OnRefusal::GiveBack, current::runs_body_of);
        let refused = match self.door.hand_over(spec, policy, back, WhenFull::Wait, own) {
            Ok(record) => match refusal(&record) {
                None => return Ok(TaskHandle { record }),
                Some(why) => why.with_spec(reclaim(&record)),
            },
            // `Full` cannot occur here, because this call waits for room.
            Err(NotTaken::Closed(spec) | NotTaken::Full(spec)) => AddError::Closed { spec },
        };
        current::hear_of_shutdown(&self.door);
        Err(refused)
    }

    /// Adds several tasks, all or none, and returns their handles in the order of the specs. If two
    /// of them name the same slot, the second is refused, and with it all of them;
    /// [`submit_all`](Self::submit_all) lets them queue.
    ///
    /// Blocks as [`add`](Self::add) does.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let task = |name| TaskSpec::once(name, |_| Ok(()));
    /// let error = supervisor.handle().add_all([task("a"), task("b"), task("a")]).unwrap_err();
    /// assert!(matches!(error.rejection(), Some(Rejection::SlotNamedTwice { .. })));
    /// assert_eq!(error.into_spec().len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each error gives all specs back, in their order, and none of the tasks is started.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Rejected`: one of the tasks was refused; the error names the task and the reason.
    /// - `Closed`: the supervisor is shutting down, or it is draining and the caller is not one of
    ///   its bodies.
    #[doc(alias = "spawn")]
    pub fn add_all(
        &self,
        specs: impl IntoIterator<Item = TaskSpec>,
    ) -> Result<Vec<TaskHandle>, AddError<Vec<TaskSpec>>> {
        let specs: Vec<_> = specs.into_iter().collect();
        let classes = &self.door.classes;
        if let Some(error) = specs.iter().find_map(|spec| spec.validate_for(classes).err()) {
            return Err(AddError::Invalid { error, spec: specs });
        }
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        let records = self.admit(specs, None)?;
        Ok(records.into_iter().map(|record| TaskHandle { record }).collect())
    }

    fn admit(
        &self,
        specs: Vec<TaskSpec>,
        group: Option<(GroupEntry, Serve)>,
    ) -> Result<Vec<Arc<Record>>, AddError<Vec<TaskSpec>>> {
        let policy = AdmissionPolicy::DropIfRunning;
        let records = match self.door.hand_over_batch(specs, group, policy, current::runs_body_of) {
            Ok(records) => records,
            Err(NotTaken::Closed(spec) | NotTaken::Full(spec)) => {
                current::hear_of_shutdown(&self.door);
                return Err(AddError::Closed { spec });
            }
        };

        // The others were refused only because of the task that has a reason of its own.
        let refusals: Vec<_> = records.iter().filter_map(|record| refusal(record)).collect();
        match refusals.into_iter().min_by_key(Refusal::is_borrowed) {
            None => Ok(records),
            Some(why) => {
                current::hear_of_shutdown(&self.door);
                Err(why.with_spec(records.iter().map(|it| reclaim(it)).collect()))
            }
        }
    }

    /// Adds a group, all of it or nothing, and returns once that is decided. The first phase starts
    /// at once, and each further one once those before it are ready; [`GroupHandle::wait_ready`]
    /// waits until all are.
    ///
    /// Blocks as [`add`](Self::add) does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let resident = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?));
    /// let line = GroupSpec::new("line").then(resident("driver")).then(resident("reader"));
    /// handle.add_group(line)?;
    /// let refused = handle.add_group(GroupSpec::new("line").then(resident("a"))).unwrap_err();
    /// assert_eq!(refused.rejection(), Some(Rejection::GroupNameInUse));
    /// assert_eq!(refused.into_spec().name(), "line");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each error gives the group back, and none of its members is started.
    /// - `Invalid`: a setting of the group or of a member cannot work; the error names it and the
    ///   remedy. A member cannot be a [`once`](TaskSpec::once) task.
    /// - `Rejected`: a member was refused, as by [`add_all`](Self::add_all), or the whole group
    ///   was: its name is in use, or more of its members would run at once than there are permits.
    /// - `Closed`: the supervisor is shutting down, or it is draining and the caller is not one of
    ///   its bodies.
    pub fn add_group(&self, group: GroupSpec) -> Result<GroupHandle, AddError<GroupSpec>> {
        let parts = group.take_apart(&self.door.classes);
        let (rest, members, entry) =
            parts.map_err(|(error, spec)| AddError::Invalid { error, spec })?;
        let record = Arc::clone(&entry.record);
        match self.admit(members, Some((entry, requests::serve_group))) {
            Ok(members) => Ok(GroupHandle::new(record, members)),
            Err(error) => Err(error.map(|members| rest.with_members(members))),
        }
    }

    /// Submits a task with an admission policy, which says what happens if its slot is busy.
    ///
    /// Blocks while the intake is full, but does not wait for the decision;
    /// [`TaskHandle::wait_decided`] does. In a body, the error `Closed` may take up to 1 s during a
    /// shutdown. What the controller refuses has the outcome `Rejected`.
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
    /// Each error gives the spec back.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Closed`: the supervisor is shutting down, or it is draining and the caller is not one of
    ///   its bodies. The report does not count the spec: a program that got it back was cut short
    ///   even if the report's [exit code](crate::RunReport::exit_code) is 0.
    #[doc(alias = "spawn")]
    pub fn submit(
        &self,
        spec: TaskSpec,
        policy: AdmissionPolicy,
    ) -> Result<TaskHandle, SubmitError> {
        self.hand_over(spec, policy, WhenFull::Wait)
    }

    /// Submits several tasks with one policy, each independently, as [`submit`](Self::submit) does.
    /// Returns, in their order, a handle for each that was accepted and an error for each that was
    /// not. A refusal does not affect the others; [`add_all`](Self::add_all) adds all or none.
    ///
    /// Tasks that share a slot run one after the other with [`AdmissionPolicy::Queue`]. At most
    /// [`max_slot_queue`](crate::SupervisorBuilder::max_slot_queue) of them, by default 100, may
    /// wait for one slot; the others end as `Rejected` with
    /// [`QueueFull`](crate::Rejection::QueueFull). Raise it for a batch.
    ///
    /// Blocks while the intake is full, so there may be more tasks than the intake has room for.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let names = ["north", "", "south"];
    /// let syncs = names.map(|tenant| TaskSpec::once(tenant, |_| Ok(())));
    /// let taken = supervisor.handle().submit_all(syncs, AdmissionPolicy::KeepLatest);
    /// let refused: Vec<_> = taken.iter().map(|it| it.is_err()).collect();
    /// assert_eq!(refused, [false, true, false]); // a name cannot be empty
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each error gives its spec back, and is one of those of [`submit`](Self::submit): `Invalid`
    /// or, for this spec and all that follow, `Closed`. The report does not count specs that came
    /// back. If a batch must be complete, look at each result, and compare
    /// [`outcomes.completed`](crate::OutcomeCounts::completed) with the number of specs.
    #[doc(alias = "spawn")]
    #[must_use = "the specs that were refused are in it"]
    pub fn submit_all(
        &self,
        specs: impl IntoIterator<Item = TaskSpec>,
        policy: AdmissionPolicy,
    ) -> Vec<Result<TaskHandle, SubmitError>> {
        specs.into_iter().map(|spec| self.submit(spec, policy)).collect()
    }

    /// Submits a task like [`submit`](Self::submit), but never blocks.
    ///
    /// `Full` means that the intake is full, which the controller empties at once; it says nothing
    /// about how many tasks wait. Their number is limited for each slot
    /// ([`max_slot_queue`](crate::SupervisorBuilder::max_slot_queue)) and as a whole
    /// ([`max_tasks`](crate::SupervisorBuilder::max_tasks)), but not for a class, nor for tasks
    /// that wait for a permit. To limit these, let each body own a seat, as in
    /// [`guide::from_threads`](crate::guide::from_threads#a-pool).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let upload = TaskSpec::once("upload", |_| Ok(()));
    /// match supervisor.handle().try_submit(upload, AdmissionPolicy::Queue) {
    ///     Ok(upload) => assert!(upload.wait()?.is_success()),
    ///     Err(full @ SubmitError::Full { .. }) => eprintln!("not now: {:?}", full.into_spec()),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each error gives the spec back.
    /// - `Full`: the intake is full; try again later, or raise `intake_capacity`.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Closed`: the supervisor is shutting down, or it is draining and the caller is not one of
    ///   its bodies.
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
        if let Err(error) = spec.validate_for(&self.door.classes) {
            return Err(SubmitError::Invalid { error, spec });
        }

        let own = current::runs_body_of;
        match self.door.hand_over(spec, policy, OnRefusal::Drop, when_full, own) {
            Ok(record) => Ok(TaskHandle { record }),
            Err(NotTaken::Closed(spec)) => {
                if let WhenFull::Wait = when_full {
                    current::hear_of_shutdown(&self.door);
                }
                Err(SubmitError::Closed { spec })
            }
            Err(NotTaken::Full(spec)) => Err(SubmitError::Full { spec }),
        }
    }

    /// Requests a shutdown and returns immediately. From then on, no submission is taken. Only the
    /// first request counts; later requests change nothing.
    /// [`Supervisor::wait_shutdown`](crate::Supervisor::wait_shutdown) waits for the end.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let last = TaskSpec::once("last", |ctx| Ok(ctx.handle().request_shutdown()));
    /// handle.add(last)?;
    /// let report = supervisor.wait_shutdown()?;
    /// assert!(matches!(report.shutdown.cause, ShutdownCause::Requested));
    /// assert!(handle.is_shutting_down());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "stop")]
    pub fn request_shutdown(&self) {
        self.door.request_shutdown(ShutdownCause::Requested);
    }

    /// Requests a [drain](crate::Supervisor::drain) and returns immediately. From then on, only the
    /// supervisor's own bodies may hand over tasks. A `limit` of `None` sets no limit. Of several
    /// drains, the one that ends first counts. Once a shutdown was requested, this changes nothing.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// handle.add(TaskSpec::once("in-hand", move |_| Ok(drop(wait.recv()))))?;
    /// handle.request_drain(None);
    /// assert!(handle.is_draining());
    /// assert!(handle.add(TaskSpec::once("late", |_| Ok(()))).is_err());
    /// drop(go_on); // the work in hand ends, and the supervisor with it
    /// assert_eq!(supervisor.wait_shutdown()?.outcomes.completed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_drain(&self, limit: impl Into<Option<Duration>>) {
        self.door.request_drain(limit.into().unwrap_or(Duration::MAX));
    }

    /// Returns whether a drain was requested, and no shutdown since then. Returns immediately.
    pub fn is_draining(&self) -> bool {
        self.door.is_draining()
    }

    /// Returns whether a shutdown was requested or the supervisor has ended. Returns immediately.
    pub fn is_shutting_down(&self) -> bool {
        self.door.is_shutting_down()
    }

    /// Waits until every event up to now has been delivered to the subscribers of the shared lane
    /// or counted as dropped; it does not wait for other lanes. It is meant for tests that look at
    /// events.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (say, labels) = std::sync::mpsc::channel();
    /// let supervisor = Supervisor::builder()
    ///     .on_event(move |event| drop(say.send(event.kind.label())))
    ///     .start()?;
    /// supervisor.handle().add(TaskSpec::once("probe", |_| Ok(())))?.wait()?;
    /// supervisor.handle().flush_events()?;
    /// assert_eq!(labels.try_iter().last(), Some("task_ended"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `WouldDeadlock`: this is one of the supervisor's own threads; wait on another thread.
    /// - `Cancelled`: the caller is a body of another supervisor and was told to return; pass it
    ///   on.
    /// - `Closed`: the supervisor has ended, or this is a child that was forked from its process.
    pub fn flush_events(&self) -> Result<(), WaitError> {
        if current::belongs_to(&self.door) {
            return Err(WaitError::WouldDeadlock);
        }

        let Ok(shared_lane) = requests::flush(&self.door) else {
            return Err(WaitError::Closed);
        };
        // Without a shared lane there is nothing to wait for.
        let Some(flushed) = shared_lane else { return Ok(()) };

        let Some(token) = current::token() else {
            return flushed.recv().map_err(|_| WaitError::Closed);
        };
        select! {
            recv(flushed) -> word => word.map_err(|_| WaitError::Closed),
            recv(token.cancelled()) -> _ => token.check().map_err(WaitError::Cancelled),
        }
    }

    /// The wait of a body ends early when its attempt is told.
    pub(crate) fn wait_until(&self, until: Until) -> Result<(), WaitError> {
        if current::belongs_to(&self.door) {
            return Err(WaitError::WouldDeadlock);
        }

        if self.door.is_forked() {
            return Err(WaitError::Closed);
        }
        // The channel disconnects also when the supervisor has ended, and every task with it.
        let (reply, come) = channel::bounded::<Infallible>(0);
        let Some(token) = current::token() else {
            requests::wait_until(&self.door, until, reply);
            let _ = come.recv();
            return Ok(());
        };
        let mut body = Waiting::default();
        body.add(&token.0);
        requests::wait_until(&self.door, until, WakesBody { reply: Some(reply), body });
        let has_come = || come.try_recv() == Err(TryRecvError::Disconnected);
        token.0.wait_until(Time::NEVER, has_come).map_err(WaitError::Cancelled)
    }
}

/// A reply that wakes a body once it is dropped.
struct WakesBody {
    reply: Option<Sender<Infallible>>,
    body: Waiting,
}

impl Drop for WakesBody {
    fn drop(&mut self) {
        self.reply = None;
        std::mem::take(&mut self.body).wake_all();
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
    /// Returns a handle to the supervisor, for example to add further tasks. A body that waits for
    /// its own supervisor gets `WouldDeadlock`.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle::new(Arc::clone(&self.record().door))
    }
}
