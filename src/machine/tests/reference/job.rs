//! One task as the reference sees it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::End;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::plan::{BodyKind, Interval, Plan};
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::{CancelReason, StopReason};
use crate::vocabulary::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queued,
    Waiting,
    Runnable,
    Starting,
    Running,
    Stopping,
    Abandoned,
    Closing,
}

/// A wait for the next run, since the end of the one before; or for a retry, whose own delay is
/// over at `until`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) since: Time,
    pub(super) until: Option<Time>,
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "as naive as can be")]
pub(super) struct Job {
    pub(super) id: TaskId,
    pub(super) slot: Option<u32>,
    pub(super) plan: Plan,
    pub(super) place: Place,
    /// Its one timer, and when that was set, so that equal ones come due in their order.
    pub(super) due: Time,
    pub(super) set: u64,
    pub(super) expires_at: Time,
    /// While it waits for its initial delay.
    pub(super) delayed_since: Option<Time>,
    pub(super) attempt: u64,
    /// Bodies that wait for it.
    pub(super) awaited: u32,
    pub(super) streak: u32,
    /// Retries since the delays began anew.
    pub(super) n_delays: u32,
    pub(super) failures: Vec<Time>,
    /// So many of them do not count for `give_up_after`.
    pub(super) n_forgiven: usize,
    pub(super) paused: bool,
    /// While it is paused: how much of the expiry is left.
    pub(super) left: Duration,
    pub(super) wait: Option<Wait>,
    /// Where the grid begins, and whether that is to be the next start.
    pub(super) grid: Option<Time>,
    pub(super) grid_begins: bool,
    pub(super) first_start: Option<Time>,
    pub(super) last_start: Time,
    /// Of the attempt that runs; the latter only in a streak.
    pub(super) deadline: Time,
    pub(super) stable_at: Time,
    pub(super) told: Option<CancelReason>,
    pub(super) stop: Option<StopReason>,
    /// Its outcome is given, though it still holds what it has.
    pub(super) over: bool,
    pub(super) is_owner: bool,
    pub(super) has_class: bool,
    /// There is no body to be dropped, or not any more.
    pub(super) is_gone: bool,
    /// While it closes: how it ends, whether a thread is at it, and whether that is stuck.
    pub(super) end: Option<End>,
    pub(super) is_taken: bool,
    pub(super) is_stuck: bool,
}

impl Job {
    pub(super) fn new(id: TaskId, slot: Option<u32>, plan: Plan, expires_at: Time) -> Self {
        Self {
            id,
            slot,
            is_owner: false,
            has_class: false,
            is_gone: !plan.needs_drop,
            end: None,
            is_taken: false,
            is_stuck: false,
            plan,
            place: Place::Queued,
            due: expires_at,
            set: 0,
            expires_at,
            delayed_since: None,
            attempt: 0,
            awaited: 0,
            streak: 0,
            n_delays: 0,
            failures: Vec::new(),
            n_forgiven: 0,
            paused: false,
            left: Duration::ZERO,
            wait: None,
            grid: None,
            grid_begins: false,
            first_start: None,
            last_start: Time::ZERO,
            deadline: Time::NEVER,
            stable_at: Time::NEVER,
            told: None,
            stop: None,
            over: false,
        }
    }

    /// The budgets of failures, before this one is counted.
    pub(super) fn may_retry(&self, at: Time) -> bool {
        let plan = &self.plan;
        let recent =
            |within| self.failures.iter().filter(|failure| failure.after(within) > at).count();
        plan.body != BodyKind::Once
            && plan.restart != RestartPolicy::Never
            && self.streak < plan.max_retries
            && plan.give_up_after.map_or(true, |it| at <= self.first_failure(at).after(it))
            && plan.failure_limit.map_or(true, |it| recent(it.within) < it.failures as usize)
    }

    /// The first failure of the streak, which may be one at `at`.
    fn first_failure(&self, at: Time) -> Time {
        let earlier = (self.failures.len() - self.streak as usize).max(self.n_forgiven);
        self.failures.get(earlier).copied().unwrap_or(at)
    }

    /// When the next attempt is due.
    pub(super) fn due_after(&self, wait: Wait) -> Time {
        let until = wait.until.unwrap_or(wait.since);
        match self.plan.interval {
            _ if wait.until.is_some() && self.plan.retry_early => until,
            Interval::None => until,
            Interval::Delay(span) => until.max(wait.since.after(span)),
            // A retry does not miss a point at the very end of its delay.
            Interval::Rate(step) if wait.until.is_some() => {
                let just_before = Time::from_nanos(until.as_nanos() - 1);
                self.tick_after(just_before, step)
            }
            Interval::Rate(step) => self.tick_after(until, step),
        }
    }

    /// Points of the grid are tried one by one.
    pub(super) fn tick_after(&self, at: Time, step: Duration) -> Time {
        let mut tick = self.grid.unwrap_or(at);
        while tick <= at {
            tick = tick.after(step);
        }
        tick
    }
}
