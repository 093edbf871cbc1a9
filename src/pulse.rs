//! Signs of life: what a watched body gives, and the watchdog looks for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Cell;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::Mutex;
use crate::time::Time;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beat: AtomicBool,
    detail: Mutex<Option<Box<Detail>>>,
}

#[derive(Debug, Default)]
struct Detail {
    mark: Option<Mark>,
    /// Until when silence is allowed, for each guard that is out.
    allowed: Vec<(u32, Time)>,
    next_guard: u32,
}

/// Where a body said it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// What the body called it.
    pub label: Cow<'static, str>,
    /// When it said so, counted from the supervisor's start.
    pub at: Duration,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.beat.store(true, Ordering::Relaxed);
    }

    pub(crate) fn mark(&self, label: Cow<'static, str>, now: Time) {
        let mut detail = self.detail.lock();
        detail.get_or_insert_with(Box::default).mark = Some(Mark { label, at: now.since_start() });
        self.beat();
    }

    pub(crate) fn last_mark(&self) -> Option<Mark> {
        self.detail.lock().as_ref().and_then(|detail| detail.mark.clone())
    }

    /// Whether there was a sign of life since the last look, or none is needed now.
    pub(crate) fn look(&self, now: Time) -> bool {
        let beat = self.beat.swap(false, Ordering::Relaxed);
        let detail = self.detail.lock();
        let allowed = |detail: &Detail| detail.allowed.iter().any(|(_, until)| *until > now);
        beat || detail.as_deref().is_some_and(allowed)
    }

    fn allow(&self, until: Time) -> u32 {
        let mut detail = self.detail.lock();
        let detail = detail.get_or_insert_with(Box::default);
        let guard = detail.next_guard;
        detail.next_guard = guard.wrapping_add(1);
        detail.allowed.push((guard, until));
        guard
    }

    fn disallow(&self, guard: u32) {
        if let Some(detail) = self.detail.lock().as_deref_mut() {
            detail.allowed.retain(|(id, _)| *id != guard);
        }
        self.beat();
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
