//! Guards that a body holds while a cancel hook or allowed silence is in force.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::cell::Cell;
use crate::task::hook::Hook;

/// Keeps a cancel hook registered; dropping the guard removes the hook.
///
/// Once the guard is dropped, the hook is not running and never will run, so what it uses may be
/// freed. If the hook is running on another thread, the drop waits for it; on the hook's own thread
/// the drop does not wait. So do not drop a guard while holding a lock that the hook takes.
///
/// ```
/// # use threadvisor::prelude::*;
/// let (ctx, canceller) = TaskContext::detached();
/// let (say, said) = std::sync::mpsc::channel();
/// let guard = ctx.on_cancel(move || { let _ = say.send("woken"); });
/// canceller.cancel();
/// assert_eq!(said.recv()?, "woken");
/// drop(guard); // from here on the hook is not running
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the hook is removed when this is dropped: bind it to a name, not to `_`"]
pub struct CancelGuard {
    cell: Arc<Cell>,
    /// The number of the hook in the cell.
    number: u64,
    /// `None` once the hook was removed or the guard was forgotten.
    hook: Option<Arc<Hook>>,
}

impl CancelGuard {
    pub(crate) const fn new(cell: Arc<Cell>, number: u64, hook: Arc<Hook>) -> Self {
        Self { cell, number, hook: Some(hook) }
    }

    /// Removes the hook without waiting for it. Returns true if the hook is not running and never
    /// will run; false if it is running on some thread right now.
    ///
    /// ```
    /// # let (ctx, canceller) = threadvisor::TaskContext::detached();
    /// let hook = ctx.on_cancel(|| unreachable!("it was removed"));
    /// assert!(hook.disarm());
    /// canceller.cancel();
    /// ```
    pub fn disarm(mut self) -> bool {
        self.take_out().map_or(true, |hook| hook.remove(false))
    }

    /// Leaves the hook in place for the rest of the attempt. If it already runs when the body
    /// returns, nobody waits for it: it may still run when the outcome is known. If it has not
    /// begun by then, it never will.
    ///
    /// ```
    /// # let (ctx, canceller) = threadvisor::TaskContext::detached();
    /// let (say, said) = std::sync::mpsc::channel();
    /// ctx.on_cancel(move || say.send("told").unwrap()).forget();
    /// canceller.cancel();
    /// assert_eq!(said.recv(), Ok("told"));
    /// ```
    pub fn forget(mut self) {
        self.hook = None;
    }

    fn take_out(&mut self) -> Option<Arc<Hook>> {
        let hook = self.hook.take()?;
        self.cell.unhook(self.number, &hook);
        Some(hook)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(hook) = self.take_out() {
            hook.remove(true);
        }
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard").finish_non_exhaustive()
    }
}

/// Allows silence while it is held, up to its span; returned from
/// [`TaskContext::allow_silence`](crate::TaskContext::allow_silence).
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let backup = TaskSpec::new("backup", |ctx| {
///     ctx.heartbeat();
///     let _silence = ctx.allow_silence(Duration::from_secs(600)); // for one long call
///     Ok(())
/// });
/// let backup = backup.watchdog(Duration::from_secs(5)).watchdog_policy(WatchdogPolicy::Cancel);
/// assert!(supervisor.handle().add(backup)?.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "silence is allowed only while this is held: bind it to a name, not to `_`"]
pub struct SilenceGuard {
    cell: Arc<Cell>,
    number: u64,
}

impl SilenceGuard {
    pub(crate) fn new(cell: Arc<Cell>, span: Duration) -> Self {
        let number = cell.pulse.allow(cell.clock().now().after(span));
        Self { cell, number }
    }
}

impl Drop for SilenceGuard {
    fn drop(&mut self) {
        self.cell.pulse.disallow(self.number);
    }
}

impl fmt::Debug for SilenceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SilenceGuard").finish_non_exhaustive()
    }
}
