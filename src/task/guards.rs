//! What a body holds while something is in force: a cancel hook, a span of silence.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::cell::Cell;
use crate::task::hook::Hook;

/// Keeps a cancel hook in place: the hook is removed when this is dropped.
///
/// After the drop the hook is not running and never will: what it uses may be freed. If it is
/// running on another thread at that moment, the drop waits for it; on its own thread it does not.
/// So do not drop a guard while holding a lock that the hook takes.
#[must_use = "a hook is removed when its guard is dropped"]
pub struct CancelGuard {
    cell: Arc<Cell>,
    /// Empty once the hook was left alone or removed.
    hook: Option<Arc<Hook>>,
}

impl CancelGuard {
    pub(crate) const fn new(cell: Arc<Cell>, hook: Arc<Hook>) -> Self {
        Self { cell, hook: Some(hook) }
    }

    /// Removes the hook without waiting. True if it has not run or has finished, and will not run
    /// any more; false if it is running on some thread right now.
    pub fn disarm(mut self) -> bool {
        self.take_out().map_or(true, |hook| hook.remove(false))
    }

    /// Leaves the hook in place for the rest of the attempt.
    pub fn forget(mut self) {
        self.hook = None;
    }

    fn take_out(&mut self) -> Option<Arc<Hook>> {
        let hook = self.hook.take()?;
        self.cell.unhook(&hook);
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

/// Silence is allowed while this is held, up to its span; see `TaskContext::allow_silence`.
#[must_use = "silence is allowed only while this is held"]
pub struct SilenceGuard {
    cell: Arc<Cell>,
    guard: u32,
}

impl SilenceGuard {
    pub(crate) fn new(cell: Arc<Cell>, span: Duration) -> Self {
        let guard = cell.pulse.allow(cell.clock().now().after(span));
        Self { cell, guard }
    }
}

impl Drop for SilenceGuard {
    fn drop(&mut self) {
        self.cell.pulse.disallow(self.guard);
    }
}

impl fmt::Debug for SilenceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SilenceGuard").finish_non_exhaustive()
    }
}
