//! The clock of an execution, in the shape of the crate's own.

use std::time::{Duration, Instant, SystemTime};

use crate::vocabulary::time::RealTime;
use crate::world;

#[derive(Clone, Copy, Debug)]
pub(crate) struct RealClock(());

impl RealClock {
    pub(crate) fn start_now() -> Self {
        Self(())
    }

    pub(crate) fn now(&self) -> RealTime {
        world::look_at_clock()
    }

    pub(crate) fn instant(&self, time: RealTime) -> Option<Instant> {
        world::instant(time)
    }

    pub(crate) fn remaining(&self, time: RealTime) -> Option<Duration> {
        (!time.is_never()).then(|| self.now().until(time))
    }

    pub(crate) fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}
