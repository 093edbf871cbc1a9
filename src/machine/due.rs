//! When the next attempt of a task is due.

use super::task::{Started, Task};
use crate::vocabulary::plan::Interval;
use crate::vocabulary::time::Time;

impl Task {
    /// When the next attempt is due after a success at `at`.
    pub(super) fn next_run_at(&self, at: Time) -> Time {
        match self.plan.interval {
            Interval::None => at,
            Interval::Delay(delay) => at.after(delay),
            Interval::Rate(step) => at.next_tick(self.grid_from(at), step),
        }
    }

    /// When the retry is due after a failure at `at`, if its own delay is over at `until`.
    pub(super) fn retry_at(&self, at: Time, until: Time) -> Time {
        match self.plan.interval {
            Interval::Delay(_) | Interval::Rate(_) if self.plan.retry_early => until,
            Interval::None => until,
            Interval::Delay(delay) => until.max(at.after(delay)),
            Interval::Rate(step) => {
                // A point of the grid at the very end of the delay is not missed.
                until.tick_from(self.grid_from(at), step)
            }
        }
    }

    /// A point of the grid of `every`, for an attempt that ended at `at`.
    fn grid_from(&self, at: Time) -> Time {
        match (self.started, self.anchor) {
            (Started::Ahead { .. }, _) => at,
            (Started::At(last), Time::NEVER) => last,
            (Started::At(_), anchor) => anchor,
        }
    }
}
