//! [`Supervisor`]: the owner of all tasks and threads, which waits for them and shuts them down.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::api::group_spec::GroupSpec;
use crate::api::manual_clock::ManualClock;
use crate::api::refused::AddError;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::error::{WaitError, WouldDeadlock};
use crate::output::report::RunReport;
use crate::task::current;
use crate::task::door::Door;
use crate::task::request::Until;
use crate::task::spec::TaskSpec;
use crate::vocabulary::reason::ShutdownCause;

/// Owns a running supervisor with all its tasks and threads; returned from
/// [`SupervisorBuilder::start`](crate::SupervisorBuilder::start).
///
/// | to | call |
/// |---|---|
/// | run tasks to their end, or a group | [`run`](Self::run), [`run_group`](Self::run_group) |
/// | serve until a shutdown is requested | [`wait_shutdown`](Self::wait_shutdown) |
/// | wait until no task is left, then continue | [`wait_idle`](Self::wait_idle) |
/// | stop everything now | [`shutdown`](Self::shutdown) |
/// | stop, but let current work finish first | [`drain`](Self::drain) |
/// | add, find and stop tasks, on any thread | [`handle`](Self::handle) |
///
/// The page [`guide::stopping`](crate::guide::stopping) compares the ways to end.
///
/// Dropping the supervisor requests a shutdown and waits for it to end, for at most the grace plus
/// the event flush. On one of the supervisor's own threads, or while panicking, the drop only
/// requests the shutdown; while panicking, it also kills the programs that tasks run, and waits for
/// up to a second for those that are being started. So keep the supervisor in a variable: a handle
/// obtained by `…start()?.handle()` is already dead on the next line, because the temporary
/// supervisor was dropped. Bodies should hold a [`SupervisorHandle`], never the supervisor itself,
/// which would keep itself alive.
///
/// A child that is forked from the process has none of the supervisor's threads. So every call that
/// would wait for them returns there at once: as if the supervisor had ended, or with
/// `WouldDeadlock` where a report would be returned. The child never learns of an outcome that
/// comes after the fork, and may miss an earlier one that another thread was just reading.
/// [`state`](crate::TaskHandle::state) says `Over` all the same, and
/// [`ended`](crate::TaskHandle::ended) is disconnected. What `submit`, `submit_all` and
/// `try_submit` still take there is never run. Signals to which the supervisor listens have no
/// effect in the child until it calls `exec`.
///
/// As in any child of a process with threads, a lock that another thread holds at the fork stays
/// locked for ever, such as that of the allocator, of the logger, or of the context of a running
/// body. If another thread was submitting a task at that moment, `submit`, `submit_all` and
/// `try_submit` may hang in the child for the same reason. So let the child call `exec` soon, and
/// start no supervisor in it. A program that turns itself into a daemon must do so before it starts
/// a supervisor.
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().start()?;
/// let report = supervisor.run([TaskSpec::once("hello", |ctx| {
///     println!("attempt {}", ctx.attempt());
///     Ok(())
/// })])?;
/// assert_eq!(report.outcomes.completed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ThreadPool")]
#[doc(alias = "Executor")]
pub struct Supervisor {
    pub(super) door: Arc<Door>,
    /// The longest that a drop waits.
    pub(super) patience: Duration,
    pub(super) clock: Option<ManualClock>,
}

impl Supervisor {
    /// Returns a handle, which adds and observes tasks from any thread.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle::new(Arc::clone(&self.door))
    }

    /// Runs `specs` to their end: adds all of them or none, waits until every task has its outcome,
    /// then shuts down and returns the report.
    ///
    /// The call also waits for tasks that were added before it or are added in the meantime.
    /// Therefore `run([])` is of use: hand over tasks that share a slot first, with
    /// [`SupervisorHandle::submit_all`] and
    /// [`AdmissionPolicy::Queue`](crate::AdmissionPolicy::Queue), and then let `run([])` wait for
    /// them. It does not wait for callbacks of [`on_end`](crate::TaskHandle::on_end) that have yet
    /// to add tasks: then use [`wait_shutdown`](Self::wait_shutdown).
    ///
    /// It returns earlier if a shutdown is requested by a signal, a handle or a task with
    /// [`shutdown_on_end`](TaskSpec::shutdown_on_end). A program whose tasks never end needs one of
    /// these. If a drain or a shutdown was requested even before the call, `run` drops the specs,
    /// which the report counts as rejected, and returns the report once the shutdown has ended. If
    /// the caller is a body of another supervisor and is told to return, `run` shuts down
    /// ([`ShutdownCause::CallerTold`]).
    ///
    /// # Errors
    /// Each error gives all specs back. The supervisor shuts down after an error, too.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Rejected`: a task was refused, for example because two specs name the same slot; the
    ///   error names the task and the reason.
    /// - `WouldDeadlock`: this is one of the supervisor's own threads, where you can use
    ///   [`SupervisorHandle::add_all`] instead, or a child that was forked from its process.
    #[doc(alias = "block_on")]
    pub fn run(
        self,
        specs: impl IntoIterator<Item = TaskSpec>,
    ) -> Result<RunReport, AddError<Vec<TaskSpec>>> {
        if self.would_wait_for_ever() {
            return Err(AddError::WouldDeadlock { spec: specs.into_iter().collect() });
        }
        self.run_added(self.handle().add_all(specs))
    }

    /// Runs a group to its end, as [`run`](Self::run) runs tasks: adds it, waits until every task
    /// of the supervisor has its outcome, then shuts down and returns the report.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let migrate = TaskSpec::new("migrate", |_| Ok(())).step();
    /// let serve = TaskSpec::new("serve", |_| Ok(())); // starts when that is done
    /// let group = GroupSpec::new("service").then(migrate).then(serve);
    /// let report = Supervisor::builder().start()?.run_group(group)?;
    /// assert_eq!(report.outcomes.completed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Each error gives the group back. The supervisor shuts down after an error, too.
    /// - `Invalid`, `Rejected`: as [`SupervisorHandle::add_group`].
    /// - `WouldDeadlock`: this is one of the supervisor's own threads, where you can use
    ///   [`SupervisorHandle::add_group`] instead, or a child that was forked from its process.
    pub fn run_group(self, group: GroupSpec) -> Result<RunReport, AddError<GroupSpec>> {
        if self.would_wait_for_ever() {
            return Err(AddError::WouldDeadlock { spec: group });
        }
        self.run_added(self.handle().add_group(group))
    }

    /// Waits for the end of what was added, unless it was refused.
    fn run_added<T, S: AsRef<[TaskSpec]>>(
        &self,
        added: Result<T, AddError<S>>,
    ) -> Result<RunReport, AddError<S>> {
        match added {
            Ok(_) => Ok(self.shut_down_after(Until::IdleOrShutdown)),
            // The request came first: that is how it ends, and no error.
            Err(AddError::Closed { spec }) => {
                let names: Vec<_> = spec.as_ref().iter().map(TaskSpec::shared_name).collect();
                drop(spec);
                let mut report = self.shut_down_after(Until::Shutdown);
                report.count_too_late(&names);
                Ok(report)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of the supervisor's work, or until the caller is a body that is told to
    /// return; shuts down, if that was not asked before.
    fn shut_down_after(&self, until: Until) -> RunReport {
        let cause = match self.handle().wait_until(until) {
            Err(WaitError::Cancelled(_)) => ShutdownCause::CallerTold,
            Ok(()) | Err(_) => ShutdownCause::Idle,
        };
        self.door.request_shutdown(cause);
        RunReport::clone(&self.door.wait_ended())
    }

    /// Waits until a shutdown has been requested and has ended, and returns the report. Unlike
    /// [`run`](Self::run), it keeps waiting when there is no task left, which suits a service that
    /// adds tasks as it goes. In a body of another supervisor it shuts down when that body is told
    /// to return, like [`run`](Self::run).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let job = handle.add(TaskSpec::once("job", |ctx| Ok(ctx.handle().request_shutdown())))?;
    /// let report = supervisor.wait_shutdown()?;
    /// assert!(job.outcome().is_some());
    /// assert_eq!(report.outcomes.total(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldDeadlock`] on one of the supervisor's own threads, which would wait for itself; wait
    /// on another thread. It is also returned in a child that was forked from the supervisor's
    /// process.
    #[doc(alias = "join")]
    pub fn wait_shutdown(self) -> Result<RunReport, WouldDeadlock> {
        if self.would_wait_for_ever() {
            return Err(WouldDeadlock);
        }
        Ok(self.shut_down_after(Until::Shutdown))
    }

    /// Whether this is one of the supervisor's own threads, or a child process that has none of
    /// them.
    fn would_wait_for_ever(&self) -> bool {
        current::belongs_to(&self.door) || self.door.is_forked()
    }

    /// Waits until every accepted submission has its outcome. The supervisor keeps running. Blocks
    /// for ever if a task runs for ever.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().max_concurrent(2).start()?;
    /// let jobs = (1..=5).map(|n| TaskSpec::once(format!("job {n}"), |_| Ok(())));
    /// let jobs = supervisor.handle().add_all(jobs)?;
    /// supervisor.wait_idle()?;
    /// assert!(jobs.iter().all(|job| job.outcome().is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `WouldDeadlock`: this is one of the supervisor's own threads; wait on another thread.
    /// - `Cancelled`: the caller is a body of another supervisor and was told to return; pass it
    ///   on.
    /// - `Closed`: this is a child that was forked from the supervisor's process.
    #[doc(alias = "join")]
    pub fn wait_idle(&self) -> Result<(), WaitError> {
        self.handle().wait_until(Until::Idle)
    }

    /// Shuts the supervisor down, waits until it has ended, and returns the report.
    ///
    /// The supervisor takes no more submissions, rejects those that wait for a slot, and tells
    /// every running attempt to return within its grace. Blocks for at most the supervisor's
    /// [grace](crate::SupervisorBuilder::grace) plus the event flush (3.25 s by default), whatever
    /// the bodies do. In addition, it takes about 2 µs to end each task that waits, which matters
    /// with hundreds of thousands. The report names the attempts that still run then. All callers,
    /// concurrent or later, get the same report. On a manual clock, a grace only ends if the clock
    /// is advanced: use [`shutdown_within`](Self::shutdown_within).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().start()?;
    /// let resident = TaskSpec::new("resident", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    /// let resident = supervisor.handle().add(resident)?;
    /// let report = supervisor.shutdown()?;
    /// assert_eq!((report.outcomes.cancelled, report.shutdown.abandoned.len()), (1, 0));
    /// let outcome = resident.wait()?;
    /// assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Shutdown, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldDeadlock`] on one of the supervisor's own threads, which would wait for itself; use
    /// [`SupervisorHandle::request_shutdown`] there. It is also returned in a child that was forked
    /// from the supervisor's process.
    #[doc(alias = "stop")]
    pub fn shutdown(&self) -> Result<RunReport, WouldDeadlock> {
        if self.would_wait_for_ever() {
            return Err(WouldDeadlock);
        }
        self.door.request_shutdown(ShutdownCause::Requested);
        Ok(RunReport::clone(&self.door.wait_ended()))
    }

    /// Lets current work finish, then shuts the supervisor down, waits until it has ended, and
    /// returns the report. Current work is all that was handed over: what waits for a slot, for a
    /// full class or for a retry is worked off as well. If only what runs is to be finished, give
    /// the jobs [`finish_at_drain`](TaskSpec::finish_at_drain).
    ///
    /// From the request on, only the supervisor's own bodies may hand over tasks, on the threads
    /// that run them, so that none of them fails because of the drain; all other submissions are
    /// refused. Tasks with [`stop_at_drain`](TaskSpec::stop_at_drain) are told to stop, and those
    /// with `finish_at_drain` begin no attempt. All others go on, including their retries and
    /// backoff. The drain waits for every task except those that never end by themselves: tasks
    /// under [`RestartPolicy::Always`](crate::RestartPolicy::Always), and members of a group that
    /// has one, that were not asked to stop and do not have `finish_at_drain`, and those that are
    /// paused. Tasks that wait in the queue of such a task are rejected, and so are tasks under
    /// `Always` that wait in any queue. When there is nothing left to wait for, or `limit` has
    /// passed, the shutdown begins. `None` sets no limit; then a thread that is stuck under
    /// [`Hold`](crate::AbandonPolicy::Hold) with a retry left keeps the drain waiting for ever, and
    /// so does a task of a class whose limit is 0, or a task whose delay is `Duration::MAX`.
    ///
    /// A request for a shutdown, or the end of a task with
    /// [`shutdown_on_end`](TaskSpec::shutdown_on_end), ends the drain early. In a body of another
    /// supervisor, the drain also ends when that body is told to return, as [`run`](Self::run)
    /// does. Blocks for at most `limit` and the time of a [`shutdown`](Self::shutdown). The
    /// [report](crate::DrainReport) names what was not finished.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let job = TaskSpec::once("job", |ctx| Ok(ctx.sleep(Duration::from_millis(20))?));
    /// let job = handle.add(job)?;
    /// let pulse = TaskSpec::new("pulse", |_| Ok(())).every(Duration::from_secs(1));
    /// handle.add(pulse)?; // is not waited for, but goes on meanwhile
    /// let report = supervisor.drain(Duration::from_secs(30))?;
    /// assert!(job.wait()?.is_success());
    /// assert_eq!(report.shutdown.drain.map(|drain| drain.unfinished), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldDeadlock`] on one of the supervisor's own threads, which would wait for itself; use
    /// [`SupervisorHandle::request_drain`] there. It is also returned in a child that was forked
    /// from the supervisor's process.
    #[doc(alias = "graceful")]
    pub fn drain(&self, limit: impl Into<Option<Duration>>) -> Result<RunReport, WouldDeadlock> {
        if self.would_wait_for_ever() {
            return Err(WouldDeadlock);
        }
        self.handle().request_drain(limit);
        Ok(self.shut_down_after(Until::Shutdown))
    }

    /// Shuts down like [`shutdown`](Self::shutdown) on a manual clock, and advances the clock if
    /// the shutdown needs it. If bodies do not return within the clock's
    /// [`patience`](ManualClock::patience), the clock moves to the end of their grace. A body of
    /// another supervisor on this clock cannot advance it: there, the call only waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let tidy = TaskSpec::new("tidy", |ctx| {
    ///     ctx.sleep(Duration::MAX).unwrap_err(); // until it is told to return
    ///     Ok(())
    /// });
    /// supervisor.handle().add(tidy)?.wait_started()?;
    /// let report = supervisor.shutdown_within(&clock)?;
    /// assert_eq!(report.outcomes.cancelled, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldDeadlock`] on one of the supervisor's own threads, which would wait for itself; use
    /// [`SupervisorHandle::request_shutdown`] there. It is also returned in a child that was forked
    /// from the supervisor's process.
    pub fn shutdown_within(&self, clock: &ManualClock) -> Result<RunReport, WouldDeadlock> {
        if self.would_wait_for_ever() {
            return Err(WouldDeadlock);
        }
        self.door.request_shutdown(ShutdownCause::Requested);
        clock.end(&self.door);
        self.shutdown()
    }
}

/// Longer than a program takes to start, unless its file is out of reach.
#[cfg(all(unix, feature = "process"))]
const STARTED_SOON: Duration = Duration::from_secs(1);

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.door.request_shutdown(ShutdownCause::Dropped);
        if !self.would_wait_for_ever() && !std::thread::panicking() {
            if let Some(clock) = &self.clock {
                clock.end(&self.door);
            }
            self.door.wait_ended_for(self.patience);
        }
        // Nobody waits for the shutdown, so the process may end before it.
        #[cfg(all(unix, feature = "process"))]
        if std::thread::panicking() && !self.door.is_forked() {
            let real = &self.door.clock.real;
            self.door.children.end(real, real.now().after(STARTED_SOON));
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("door", &self.door).finish_non_exhaustive()
    }
}
