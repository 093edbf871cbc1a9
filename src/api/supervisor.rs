//! The owner of it all: built, started, waited for, shut down.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::api::refused::AddError;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::error::{WaitError, WouldDeadlock};
use crate::output::report::RunReport;
use crate::task::current;
use crate::task::door::Door;
use crate::task::spec::TaskSpec;
use crate::vocabulary::reason::ShutdownCause;

/// Owns a supervisor. Dropping it asks for shutdown and waits for that, at most the grace and the
/// event flush; on one of its own threads, or while panicking, it only asks.
///
/// So `Supervisor::builder().start()?.handle()` is dead on the next line: keep the supervisor in a
/// variable. Tasks should hold a [`SupervisorHandle`], never the supervisor itself, which would
/// keep itself alive.
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
pub struct Supervisor {
    pub(super) door: Arc<Door>,
    /// The longest a drop waits.
    pub(super) patience: Duration,
}

impl Supervisor {
    /// A handle for other threads.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle::new(Arc::clone(&self.door))
    }

    /// Adds the tasks, all or none; waits until no task is without outcome, those added meanwhile
    /// included, or until shutdown is asked for; then shuts down.
    ///
    /// # Errors
    /// As [`SupervisorHandle::add_all`], with all specs back, and `WouldDeadlock` on one of the
    /// supervisor's own threads. The supervisor is shut down then, too.
    pub fn run(
        self,
        specs: impl IntoIterator<Item = TaskSpec>,
    ) -> Result<RunReport, AddError<Vec<TaskSpec>>> {
        if current::belongs_to(&self.door) {
            return Err(AddError::WouldDeadlock { spec: specs.into_iter().collect() });
        }
        let handle = self.handle();
        handle.add_all(specs)?;
        // Ends early only for a caller that is itself a cancelled body; then it is time to shut
        // down as well.
        let _ = handle.wait_idle(true);
        self.door.request_shutdown(ShutdownCause::Idle);
        Ok(RunReport::clone(&self.door.wait_ended()))
    }

    /// Waits until shutdown is asked for, also while there is nothing to do, and until it has
    /// ended.
    ///
    /// # Errors
    /// [`WouldDeadlock`] on one of the supervisor's own threads.
    pub fn wait_shutdown(self) -> Result<RunReport, WouldDeadlock> {
        if current::belongs_to(&self.door) {
            return Err(WouldDeadlock);
        }
        Ok(RunReport::clone(&self.door.wait_ended()))
    }

    /// Waits until no accepted submission is without outcome. A task that runs for ever never gets
    /// one.
    ///
    /// # Errors
    /// - `WouldDeadlock` on one of the supervisor's own threads.
    /// - `Cancelled` on another supervisor's worker, once its attempt is told to return.
    pub fn wait_idle(&self) -> Result<(), WaitError> {
        self.handle().wait_idle(false)
    }

    /// Shuts down and waits for it: the door closes, what waits is refused, everything that runs is
    /// told to return and has its grace. Takes at most the supervisor's grace and the event flush,
    /// whatever the bodies do. All callers, at once or later, get the same report.
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
    /// [`WouldDeadlock`] on one of the supervisor's own threads; use
    /// [`SupervisorHandle::request_shutdown`] there.
    pub fn shutdown(&self) -> Result<RunReport, WouldDeadlock> {
        if current::belongs_to(&self.door) {
            return Err(WouldDeadlock);
        }
        self.door.request_shutdown(ShutdownCause::Requested);
        Ok(RunReport::clone(&self.door.wait_ended()))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.door.request_shutdown(ShutdownCause::Dropped);
        if !current::belongs_to(&self.door) && !std::thread::panicking() {
            self.door.wait_ended_for(self.patience);
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("door", &self.door).finish_non_exhaustive()
    }
}
