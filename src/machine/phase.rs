//! The phases of a supervisor.
//!
//! ```text
//! Running ─► Stopping (grace) ─► Flushing (events) ─► Ended
//!    └─► Draining ─▲
//! ```

use core::time::Duration;

use crate::vocabulary::id::TaskKey;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::Time;

/// How far the supervisor's own life has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The door is closed for all but the supervisor's own bodies; what will end may end.
    Draining(Drain),
    /// The door is closed; every task has been asked to stop, or will be when the later phases of
    /// its group have had their share of the time.
    Stopping {
        began: Time,
        grace_until: Time,
        /// The share of each phase of a group, and how many are over.
        share: Duration,
        steps: u32,
        /// When the next one is over; `NEVER` if it is the last.
        next_step: Time,
    },
    /// Every outcome is delivered; the lanes deliver the last events.
    Flushing {
        until: Time,
    },
    Ended,
}

/// A drain under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    pub(super) cause: ShutdownCause,
    /// When the shutdown begins at the latest.
    pub(super) until: Time,
    /// A signal has begun it, or has come since.
    pub(super) signalled: bool,
    /// One of the tasks that it waits for; `None` if there is none.
    pub(super) waits_for: Option<TaskKey>,
    /// Something has changed, so that some may now wait in a queue in vain.
    pub(super) parts: bool,
}

impl Phase {
    /// When the phase needs attention. Stopping does not end by itself: it ends with the last
    /// outcome, and the grace of each attempt has its own timer.
    pub(super) const fn deadline(self) -> Time {
        match self {
            Self::Draining(Drain { until, .. }) | Self::Flushing { until } => until,
            Self::Stopping { next_step, .. } => next_step,
            Self::Running | Self::Ended => Time::NEVER,
        }
    }

    /// The latest end of any grace that begins now.
    pub(super) const fn grace_until(self) -> Time {
        match self {
            Self::Stopping { grace_until, .. } => grace_until,
            Self::Running | Self::Draining(_) | Self::Flushing { .. } | Self::Ended => Time::NEVER,
        }
    }

    /// How many phases of a group have had their share of the time of a shutdown.
    pub(super) const fn steps(self) -> u32 {
        match self {
            Self::Stopping { steps, .. } => steps,
            Self::Running | Self::Draining(_) | Self::Flushing { .. } | Self::Ended => 0,
        }
    }

    pub(super) const fn drain(self) -> Option<Drain> {
        match self {
            Self::Draining(drain) => Some(drain),
            Self::Running | Self::Stopping { .. } | Self::Flushing { .. } | Self::Ended => None,
        }
    }
}
