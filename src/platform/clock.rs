//! The only place where time is read.

use std::time::{Duration, Instant, SystemTime};

use crate::vocabulary::time::Time;

/// The clock of one supervisor: `Time` counts from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is the file the lint points to")]
    pub(crate) fn start_now() -> Self {
        Self { start: Instant::now() }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the file the lint points to")]
    pub(crate) fn now(&self) -> Time {
        Time::ZERO.after(Instant::now().saturating_duration_since(self.start))
    }

    /// The time as an `Instant`; `None` if it is too far away for one.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        if time.is_never() {
            return None;
        }
        self.start.checked_add(time.since_start())
    }

    /// The span until `time`; zero if it has passed, `None` for `NEVER`.
    pub(crate) fn remaining(&self, time: Time) -> Option<Duration> {
        (!time.is_never()).then(|| self.now().until(time))
    }

    pub(crate) fn wall() -> SystemTime {
        SystemTime::now()
    }
}
