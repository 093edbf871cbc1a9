//! The signs of life that a watched body gives and the watchdog looks for.

use std::borrow::Cow;

use crate::output::mark::{Mark, Progress};
use crate::platform::sync::atomic::{AtomicBool, Ordering};
use crate::platform::sync::Mutex;
use crate::task::numbered::Numbered;
use crate::vocabulary::time::Time;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beat: AtomicBool,
    detail: Mutex<Option<Box<Detail>>>,
}

#[derive(Debug, Default)]
struct Detail {
    mark: Option<Mark>,
    progress: Option<Progress>,
    /// Until when silence is allowed, for each guard that is held.
    allowed: Numbered<Time>,
    /// When the watchdog looked last, as far as there was something to look at.
    last_look: Option<Time>,
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

    pub(crate) fn note_progress(&self, progress: Progress) {
        self.detail.lock().get_or_insert_with(Box::default).progress = Some(progress);
        self.beat();
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        self.detail.lock().as_ref().and_then(|detail| detail.progress)
    }

    pub(crate) fn last_mark(&self) -> Option<Mark> {
        self.detail.lock().as_ref().and_then(|detail| detail.mark.clone())
    }

    /// Whether there was a sign of life since the last look, or none was needed for a part of that
    /// time.
    pub(crate) fn look(&self, now: Time) -> bool {
        let beat = self.beat.swap(false, Ordering::Relaxed);
        let mut detail = self.detail.lock();
        let Some(detail) = detail.as_deref_mut() else { return beat };
        let last = detail.last_look.replace(now).unwrap_or(Time::ZERO);
        beat || detail.allowed.iter().any(|until| *until > last)
    }

    /// Returns the number by which to [disallow](Self::disallow) it.
    pub(super) fn allow(&self, until: Time) -> u64 {
        let mut detail = self.detail.lock();
        detail.get_or_insert_with(Box::default).allowed.push(until)
    }

    pub(super) fn disallow(&self, number: u64) {
        if let Some(detail) = self.detail.lock().as_deref_mut() {
            detail.allowed.take(number, |_| true);
        }
        self.beat();
    }
}
