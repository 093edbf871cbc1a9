//! The phases of a supervisor.
//!
//! ```text
//! Running ─► Stopping (grace) ─► Flushing (events) ─► Ended
//! ```

use crate::vocabulary::time::Time;

/// How far the supervisor's own life has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The door is closed; every task has been asked to stop.
    Stopping {
        began: Time,
        grace_until: Time,
    },
    /// Every outcome is delivered; the lanes deliver the last events.
    Flushing {
        until: Time,
    },
    Ended,
}

impl Phase {
    /// When the phase ends by itself. Stopping does not: it ends with the last outcome, and the
    /// grace of each attempt has its own timer.
    pub(super) const fn deadline(self) -> Time {
        match self {
            Self::Flushing { until } => until,
            Self::Running | Self::Stopping { .. } | Self::Ended => Time::NEVER,
        }
    }

    /// The latest end of any grace that begins now.
    pub(super) const fn grace_until(self) -> Time {
        match self {
            Self::Stopping { grace_until, .. } => grace_until,
            Self::Running | Self::Flushing { .. } | Self::Ended => Time::NEVER,
        }
    }
}
