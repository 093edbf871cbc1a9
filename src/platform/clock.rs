//! The only place where time is read.

use std::time::{Duration, Instant, SystemTime};

use crate::vocabulary::time::RealTime;

/// Real time, from the start of a supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealClock {
    start: Instant,
}

impl RealClock {
    // This is the file the lint points to.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn start_now() -> Self {
        Self { start: Instant::now() }
    }

    // This is the file the lint points to.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn now(&self) -> RealTime {
        RealTime::ZERO.after(Instant::now().saturating_duration_since(self.start))
    }

    /// The time as an `Instant`; `None` if it is too far away for one.
    pub(crate) fn instant(&self, time: RealTime) -> Option<Instant> {
        if time.is_never() {
            return None;
        }
        self.start.checked_add(time.since_start())
    }

    /// The span until `time`; zero if it has passed, `None` for `NEVER`.
    pub(crate) fn remaining(&self, time: RealTime) -> Option<Duration> {
        (!time.is_never()).then(|| self.now().until(time))
    }

    pub(crate) fn wall() -> SystemTime {
        SystemTime::now()
    }
}
