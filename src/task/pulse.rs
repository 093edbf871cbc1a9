//! The signs of life that a watched body gives and the watchdog looks for.

use std::borrow::Cow;

use crate::output::mark::Mark;
use crate::platform::sync::atomic::{AtomicBool, Ordering};
use crate::platform::sync::Mutex;
use crate::vocabulary::time::Time;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beat: AtomicBool,
    detail: Mutex<Option<Box<Detail>>>,
}

#[derive(Debug, Default)]
struct Detail {
    mark: Option<Mark>,
    /// Until when silence is allowed, for each guard that is held.
    allowed: Vec<(u32, Time)>,
    next_guard: u32,
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

    pub(super) fn allow(&self, until: Time) -> u32 {
        let mut detail = self.detail.lock();
        let detail = detail.get_or_insert_with(Box::default);
        let guard = detail.next_guard;
        detail.next_guard = guard.wrapping_add(1);
        detail.allowed.push((guard, until));
        guard
    }

    pub(super) fn disallow(&self, guard: u32) {
        if let Some(detail) = self.detail.lock().as_deref_mut() {
            detail.allowed.retain(|(id, _)| *id != guard);
        }
        self.beat();
    }
}
