//! A task's settings as the supervisor knows them, and the supervisor's own limits, with all
//! defaults filled in.

use alloc::vec::Vec;
use core::time::Duration;

use crate::vocabulary::backoff::BackoffPolicy;
use crate::vocabulary::id::ClassKey;
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};
use crate::vocabulary::time::Time;

/// Hooks and drops that take longer than this are slow. Shorter ones are not abandoned while the
/// supervisor runs.
pub(crate) const SLOW: Duration = Duration::from_millis(100);

/// How long a watched attempt may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watchdog {
    pub(crate) max_silence: Duration,
    pub(crate) policy: WatchdogPolicy,
}

/// What a drain does with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtDrain {
    /// It goes on until it ends by itself.
    GoOn,
    /// The attempt that runs may finish. No other starts.
    Finish,
    /// It is stopped when the drain begins.
    Stop,
}

/// What follows a success under [`RestartPolicy::Always`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Interval {
    #[default]
    None,
    /// A fixed delay from the end of one attempt to the start of the next.
    Delay(Duration),
    /// The next point of a grid anchored at the first start.
    Rate(Duration),
}

/// How often a body can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Many times, one attempt at a time: it is a single value that each attempt gives back.
    Repeat,
    /// Once: its first attempt consumes it.
    Once,
    /// Many times, even beside an abandoned attempt of its own.
    Shared,
}

/// The most failures within a sliding window; one more ends the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureLimit {
    pub(crate) failures: u32,
    pub(crate) within: Duration,
}

/// Everything about a task that is not a user value, with all defaults filled in.
#[derive(Clone, Debug, PartialEq)]
// The settings have nothing to do with each other.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Plan {
    pub(crate) restart: RestartPolicy,
    pub(crate) interval: Interval,
    pub(crate) initial_delay: Duration,
    pub(crate) backoff: BackoffPolicy,
    /// Whether a retry comes after its delay alone, without regard to the interval.
    pub(crate) retry_early: bool,
    /// `u32::MAX` for no limit, because an `Option` would make each plan larger.
    pub(crate) max_retries: u32,
    /// A failure later than this after the first of its streak is not retried.
    pub(crate) give_up_after: Option<Duration>,
    pub(crate) stable_after: Duration,
    /// Whether the spec itself states `stable_after`.
    pub(crate) stable_is_stated: bool,
    pub(crate) failure_limit: Option<FailureLimit>,
    pub(crate) timeout: Option<Duration>,
    /// How far a body may extend its deadline.
    pub(crate) max_timeout: Option<Duration>,
    /// How soon after its claim an attempt must say that it is ready.
    pub(crate) ready_within: Option<Duration>,
    /// Whether it is a member that is ready once it has returned `Ok`, and then waits for the next
    /// restart of its group.
    pub(crate) step: bool,
    pub(crate) grace: Duration,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) panic: PanicPolicy,
    pub(crate) abandon: AbandonPolicy,
    pub(crate) watchdog: Option<Watchdog>,
    pub(crate) shutdown_on_end: bool,
    pub(crate) at_drain: AtDrain,
    pub(crate) class: Option<ClassKey>,
    pub(crate) body: BodyKind,
    /// Whether dropping the body may run code.
    pub(crate) needs_drop: bool,
}

impl Plan {
    /// When an attempt that was claimed at `claimed_at` is overdue, unless it says something.
    pub(crate) fn deadline_from(&self, claimed_at: Time) -> Time {
        let span = self.timeout.into_iter().chain(self.ready_within).min();
        span.map_or(Time::NEVER, |span| claimed_at.after(span))
    }

    /// Whether it runs until it is stopped.
    pub(crate) fn is_resident(&self) -> bool {
        self.restart == RestartPolicy::Always
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.timeout.is_some() || self.ready_within.is_some()
    }
}

/// The bounds of one supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// The most attempts at a time; `None` for no limit.
    pub(crate) max_concurrent: Option<u32>,
    /// The most attempts of each class at a time.
    pub(crate) classes: Vec<u32>,
    pub(crate) max_slot_queue: u32,
    pub(crate) max_tasks: u32,
    /// The number of stuck attempts, hooks and closings from which on `Release` acts as `Hold`.
    pub(crate) max_abandoned: u32,
    /// Bounds a shutdown as a whole.
    pub(crate) grace: Duration,
    /// What a drain may take that a signal begins; `None` if it begins a shutdown instead.
    pub(crate) signal_drain: Option<Duration>,
    /// Bounds the delivery of the last events after that.
    pub(crate) event_flush: Duration,
    /// Waits for delays, retries and intervals end late by less than this, so that one wake-up ends
    /// several.
    pub(crate) timer_slack: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each task has one, unless another has the same.
    #[test]
    // The prelude of Rust 1.75 has no size_of.
    #[allow(unused_qualifications)]
    fn a_plan_stays_small() {
        assert!(core::mem::size_of::<Plan>() <= 272);
    }
}
