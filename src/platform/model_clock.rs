//! The clock that tasks live by: real time, unless a manual clock holds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::platform::clock::RealClock;
use crate::platform::manual::Seat;
use crate::vocabulary::time::{Moment, RealTime, Time};

#[derive(Clone, Debug)]
pub(crate) struct ModelClock {
    pub(crate) real: RealClock,
    seat: Option<Arc<Seat>>,
}

impl ModelClock {
    /// A clock whose time is real.
    pub(crate) fn start_now() -> Self {
        Self { real: RealClock::start_now(), seat: None }
    }

    /// A clock whose time is moved by hand.
    pub(crate) fn manual(seat: Arc<Seat>) -> Self {
        Self { real: RealClock::start_now(), seat: Some(seat) }
    }

    /// The place at the manual clock, if there is one.
    pub(crate) fn seat(&self) -> Option<&Arc<Seat>> {
        self.seat.as_ref()
    }

    pub(crate) fn now(&self) -> Time {
        self.at(None)
    }

    /// What this clock shows, if the real time is already known to be `real`.
    pub(crate) fn at(&self, real: impl Into<Option<RealTime>>) -> Time {
        match &self.seat {
            Some(seat) => seat.now(),
            None => same(real.into().unwrap_or_else(|| self.real.now())),
        }
    }

    /// When a thread that waits for `time` must wake up by itself. A manual clock wakes it.
    pub(crate) fn wakes_at(&self, time: Time) -> RealTime {
        match &self.seat {
            None => same(time),
            Some(seat) if time <= seat.now() => RealTime::ZERO,
            Some(_) => RealTime::NEVER,
        }
    }

    /// The time as an `Instant`; `None` if it is too far away for one. That of a manual clock can
    /// only be compared with others of it.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.real.instant(same(time))
    }

    /// The span until `time`; zero if it has passed, `None` for `NEVER`.
    pub(crate) fn remaining(&self, time: Time) -> Option<Duration> {
        (!time.is_never()).then(|| self.now().until(time))
    }
}

/// Without a manual clock, both scales are the same.
const fn same<A: Copy + PartialEq, B: Copy + PartialEq>(moment: Moment<A>) -> Moment<B> {
    Moment::from_nanos(moment.as_nanos())
}
