//! One task as the machine sees it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use super::ending::{End, Finality};
use crate::vocabulary::backoff::{BackoffState, MIN_SPACING};
use crate::vocabulary::id::{AttemptAddr, ClassIndex, ClassKey, SlotKey, TaskAddr, TaskKey};
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::plan::{BodyKind, Interval, Plan};
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::{CancelReason, StopReason, TaskState};
use crate::vocabulary::time::Time;

/// The state of a task. Data that exists only in one state is stored in that state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Being decided; only within one step.
    Intake,
    /// In its slot's queue.
    Queued,
    /// Owner; in the line of its class, or with a permit of its class, if it has one, in the line
    /// for permits.
    Runnable,
    /// Owner with a permit; offered to a thread. If a stop or an expiry is recorded, or its group
    /// sends it back, a revocation is under way.
    Starting { stop: Option<Stop>, expired: bool, sent_back: bool },
    /// Owner with a permit; a thread has claimed the attempt. The body may have moved its deadline
    /// without a message; the answer to a tell says so.
    Running { claimed_at: Time, deadline: Time, health: Health },
    /// Told to return; `stop` once a stop was asked. If there is no timer, the answer to `Abandon`
    /// or a report under way is awaited. `health` is what it was before, since the attempt may turn
    /// out to have moved its deadline.
    Stopping { claimed_at: Time, told: CancelReason, stop: Option<Stop>, health: Health },
    /// Outlived its grace; holds slot and permit until its body returns. `over` once the outcome is
    /// delivered.
    Abandoned { claimed_at: Time, told: CancelReason, stop: Option<Stop>, over: bool },
    /// Owner without a permit, until its timer is due.
    Waiting(Wait),
    /// The body will not run again, and is offered to a thread or being dropped by one.
    Closing(Closing),
    /// Ended; only within one step.
    Over,
}

/// A task whose body is being dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// How the task ends once the body is dropped.
    pub(crate) end: End,
    /// Since when its slot is terminating, if it owns one.
    pub(super) terminating: Time,
    /// It keeps its place in line, and its class permit if it has one, for the heir.
    pub(super) keeps_place: bool,
    /// The outcome is delivered.
    pub(crate) over: bool,
    /// It outlived its grace.
    pub(crate) stuck: bool,
}

/// The state of the watch over an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(super) next_look: Time,
    /// When the latest sign of life was seen, or the attempt was claimed.
    pub(super) last_sign: Time,
    /// After so many looks in a row without a sign of life, the attempt is silent.
    pub(super) left: u32,
}

/// What is known of the health of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is stable from `stable_at` on. Only in a streak is there a timer for that moment.
    Young { stable_at: Time },
    /// That moment has come in a streak, and has had its consequences.
    Stable,
    /// Its silence was published.
    Silent,
}

impl Health {
    /// Whether the attempt is stable.
    pub(crate) fn is_stable(self, now: Time) -> bool {
        match self {
            Self::Young { stable_at } => stable_at <= now,
            Self::Stable => true,
            Self::Silent => false,
        }
    }
}

/// What a waiting task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    InitialDelay,
    /// The retry after a failure. The delay of the backoff, or of the error, is over at `until`.
    Backoff {
        until: Time,
    },
    /// The interval after a success.
    Interval,
    /// The 1 ms between two starts.
    Spacing,
    /// Until a caller resumes it.
    Paused,
    /// Until its group releases its phase.
    Phase,
}

/// The first stop asked of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) reason: StopReason,
    pub(crate) at: Time,
}

impl State {
    /// The public name of the state.
    pub(crate) const fn name(self) -> TaskState {
        match self {
            Self::Intake => TaskState::Intake,
            Self::Queued => TaskState::Queued,
            Self::Runnable => TaskState::Runnable,
            Self::Starting { .. } => TaskState::Starting,
            Self::Running { .. } => TaskState::Running,
            Self::Stopping { .. } => TaskState::Stopping,
            Self::Abandoned { .. } => TaskState::Abandoned,
            Self::Waiting(_) => TaskState::Waiting,
            Self::Closing(_) => TaskState::Closing,
            Self::Over => TaskState::Over,
        }
    }

    /// Whether the task has an attempt that was ordered and has not ended for it.
    pub(crate) const fn holds_permit(self) -> bool {
        match self {
            Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Abandoned { .. } => true,
            Self::Intake
            | Self::Queued
            | Self::Runnable
            | Self::Waiting(_)
            | Self::Closing(_)
            | Self::Over => false,
        }
    }

    /// Whether another attempt may follow, as far as nobody has asked the task to stop.
    pub(super) const fn may_go_on(self) -> bool {
        match self {
            Self::Queued | Self::Runnable | Self::Running { .. } | Self::Waiting(_) => true,
            Self::Starting { stop, .. } | Self::Stopping { stop, .. } => stop.is_none(),
            Self::Abandoned { over, .. } => !over,
            Self::Intake | Self::Closing(_) | Self::Over => false,
        }
    }

    /// Whether the outcome is already delivered.
    pub(crate) const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Abandoned { over: true, .. } | Self::Closing(Closing { over: true, .. })
        )
    }

    /// Whether the watchdog has found its attempt silent. Nobody looks at one that was told.
    pub(crate) const fn is_silent(self) -> bool {
        let (Self::Running { health, .. } | Self::Stopping { health, .. }) = self else {
            return false;
        };
        matches!(health, Health::Silent)
    }

    /// Since when the owner of a slot is terminating: its stop is recorded, it is abandoned, or it
    /// closes.
    pub(crate) fn terminating_since(self, entered: Time) -> Option<Time> {
        match self {
            Self::Starting { stop, .. } | Self::Stopping { stop, .. } => stop.map(|stop| stop.at),
            Self::Abandoned { stop, .. } => Some(stop.map_or(entered, |stop| stop.at.min(entered))),
            Self::Closing(closing) => Some(closing.terminating),
            Self::Intake
            | Self::Queued
            | Self::Runnable
            | Self::Running { .. }
            | Self::Waiting(_)
            | Self::Over => None,
        }
    }
}

/// How often the watchdog looks in the silence that it allows.
pub(super) const LOOKS: u32 = 4;

/// This many successes in a row, each of an attempt shorter than `SHORT_RUN`, are probably a
/// mistake.
pub(super) const SHORT_RUNS: u8 = 100;
pub(super) const SHORT_RUN: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) addr: TaskAddr,
    pub(crate) slot: Option<SlotKey>,
    /// Shared by tasks with the same plan.
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    /// Whether there is a body that must be dropped before the end: it needs a drop, and is neither
    /// dropped nor given back.
    pub(super) holds_body: bool,
    /// When the state was entered.
    pub(crate) since: Time,
    /// When the task became the owner of its slot, or was admitted without one.
    pub(crate) owner_since: Time,
    /// No attempt is offered to a thread until a caller resumes the task.
    pub(super) paused: bool,
    /// The number of the latest attempt; 0 before the first.
    pub(crate) attempt: u64,
    /// Failures since the last success, or the last stable moment that ended a streak.
    pub(crate) streak: u32,
    /// Successes in a row, without an interval, of attempts that were very short.
    pub(super) short_runs: u8,
    /// The number of bodies that wait for the task.
    pub(super) awaited: u32,
    /// Whether it is in a group, which is not over: that knows its members.
    pub(super) is_member: bool,
    /// Which permit of its class it holds.
    pub(crate) class_index: Option<ClassIndex>,
    pub(super) backoff: BackoffState,
    /// Boxed, because few tasks need it, and each has this field.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) started: Started,
    /// The first start, from which the grid of `every` is counted; `NEVER` if the next start is to
    /// be that.
    pub(super) anchor: Time,
    /// Neighbours in the one list a task may be in: its slot's queue, the line of its class, or the
    /// line for permits.
    pub(super) links: Links,
}

/// Whether the first attempt was claimed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Started {
    /// Not yet: the submission expires then, or while it is paused, when so much time has passed.
    Ahead { expires_at: Time },
    /// The latest attempt was claimed then.
    At(Time),
}

/// What a task has only if its settings ask for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    /// The watch over the attempt that runs, or what is left of an earlier one.
    watch: Option<Watch>,
    pub(super) failures: Failures,
}

/// The neighbours of a task in a list, in half the room that two options would take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

/// No task has this key.
const NOBODY: u32 = u32::MAX;

impl Default for Links {
    fn default() -> Self {
        Self { before: NOBODY, after: NOBODY }
    }
}

impl Links {
    pub(super) fn before(self) -> Option<TaskKey> {
        Some(TaskKey(self.before)).filter(|key| key.0 != NOBODY)
    }

    pub(super) fn after(self) -> Option<TaskKey> {
        Some(TaskKey(self.after)).filter(|key| key.0 != NOBODY)
    }

    pub(super) fn set_before(&mut self, key: Option<TaskKey>) {
        self.before = key.map_or(NOBODY, |key| key.0);
    }

    pub(super) fn set_after(&mut self, key: Option<TaskKey>) {
        self.after = key.map_or(NOBODY, |key| key.0);
    }
}

/// When a task has failed, as far as its limits need to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    /// The latest failures, for `failure_limit`; at most as many as the limit allows.
    pub(super) latest: VecDeque<Time>,
    /// The first failure of the streak that counts for `give_up_after`; of an earlier streak if
    /// there is none.
    first: Option<Time>,
}

impl Task {
    pub(super) const fn attempt_addr(&self) -> AttemptAddr {
        AttemptAddr { task: self.addr, number: self.attempt }
    }

    /// The class for whose permit it waits, if it is in line.
    pub(crate) fn class_line(&self) -> Option<ClassKey> {
        self.plan.class.filter(|_| self.class_index.is_none())
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused && self.state.may_go_on()
    }

    pub(super) const fn has_started(&self) -> bool {
        matches!(self.started, Started::At(_))
    }

    /// When the submission expires; `NEVER` if it no longer can, or not while it is paused.
    pub(super) const fn expiry(&self) -> Time {
        match self.started {
            Started::Ahead { expires_at } if !self.paused => expires_at,
            Started::Ahead { .. } | Started::At(_) => Time::NEVER,
        }
    }

    /// When the latest attempt was claimed, if one was.
    pub(super) const fn last_start(&self) -> Time {
        match self.started {
            Started::At(last) => last,
            Started::Ahead { .. } => Time::ZERO,
        }
    }

    /// The earliest time for the next start.
    pub(super) fn spacing_until(&self) -> Time {
        match self.started {
            Started::At(last) => last.after(MIN_SPACING),
            Started::Ahead { .. } => Time::ZERO,
        }
    }

    /// The finality of an attempt that is ordered now. If its streak may end while it runs, no
    /// failure is final for want of retries.
    pub(super) fn finality_ahead(&self) -> Finality {
        self.finality_in(if self.stable_ends_streak() { 0 } else { self.streak })
    }

    /// The finality of an attempt that is judged now.
    pub(super) fn finality(&self) -> Finality {
        self.finality_in(self.streak)
    }

    fn finality_in(&self, streak: u32) -> Finality {
        let most = self.plan.max_retries;
        let once = self.plan.body == BodyKind::Once;
        Finality {
            success: (once || self.plan.restart != RestartPolicy::Always) && !self.is_step(),
            failure: once
                || self.plan.restart == RestartPolicy::Never
                || (most < u32::MAX && streak >= most),
            panic: self.plan.panic,
        }
    }

    /// Why a failure at this time is not retried, if it is not.
    pub(super) fn no_retry(&self, at: Time) -> Option<NoRetry> {
        let plan = &self.plan;
        let runs_once = plan.body == BodyKind::Once || plan.restart == RestartPolicy::Never;
        if self.finality().failure {
            return Some(if runs_once { NoRetry::Policy } else { NoRetry::MaxRetries });
        }
        let failures = self.rare.as_ref().map(|rare| &rare.failures);
        // With as many failures as the limit allows, one more is final until the oldest drops out.
        let exhausted = plan.failure_limit.filter(|limit| {
            let latest = failures.map(|failures| &failures.latest);
            let full = latest.map_or(0, VecDeque::len) >= limit.failures as usize;
            let oldest = latest.and_then(VecDeque::front).copied().unwrap_or(Time::NEVER);
            full && at < oldest.after(limit.within)
        });
        let first = failures.and_then(|failures| failures.first).filter(|_| self.streak > 0);
        let spent = plan.give_up_after.zip(first).filter(|(span, first)| at > first.after(*span));
        exhausted.map(|_| NoRetry::FailureLimit).or_else(|| spent.map(|_| NoRetry::GiveUpAfter))
    }

    /// Whether a stable moment ends the streak. A body with a timeout, or one that ends with its
    /// success, is expected to return, and proves nothing by running.
    fn stable_ends_streak(&self) -> bool {
        let resident = self.plan.restart == RestartPolicy::Always || self.plan.stable_is_stated;
        resident && self.plan.timeout.is_none()
    }

    /// An attempt that was claimed, or gave a sign of life again, at `from`.
    pub(super) fn young(&self, from: Time) -> Health {
        Health::Young { stable_at: from.after(self.plan.stable_after) }
    }

    pub(super) fn watch(&self) -> Option<&Watch> {
        self.rare.as_ref()?.watch.as_ref()
    }

    pub(super) fn watch_mut(&mut self) -> Option<&mut Watch> {
        self.rare.as_mut()?.watch.as_mut()
    }

    pub(crate) fn next_look(&self) -> Time {
        self.watch().map_or(Time::NEVER, |watch| watch.next_look)
    }

    /// When a running attempt needs attention next.
    pub(super) fn running_due(&self) -> Time {
        let State::Running { deadline, health, .. } = self.state else { return Time::NEVER };
        let stable_at = match health {
            Health::Young { stable_at } if self.streak > 0 => stable_at,
            Health::Young { .. } | Health::Stable | Health::Silent => Time::NEVER,
        };
        deadline.min(self.next_look()).min(stable_at)
    }

    /// Counts a stable moment.
    pub(super) fn count_stable(&mut self) {
        self.begin_delays_anew();
        if self.stable_ends_streak() {
            self.streak = 0;
        }
    }

    pub(super) fn begin_delays_anew(&mut self) {
        self.backoff = BackoffState::default();
    }

    /// The next failure counts as the first for `give_up_after`.
    pub(super) fn begin_patience_anew(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.failures.first = None;
        }
    }

    /// Counts a failure.
    pub(super) fn count_failure(&mut self, at: Time) {
        let is_first = self.streak == 0;
        self.streak = self.streak.saturating_add(1);
        if self.short_runs < u8::MAX {
            self.short_runs = 0;
        }
        if self.plan.failure_limit.is_none() && self.plan.give_up_after.is_none() {
            return;
        }

        let failures = &mut self.rare.get_or_insert_with(Box::default).failures;
        if is_first || failures.first.is_none() {
            failures.first = Some(at);
        }
        // Only as many failures as the limit allows matter, so no more are kept.
        if let Some(limit) = self.plan.failure_limit {
            if failures.latest.len() >= limit.failures as usize {
                failures.latest.pop_front();
            }
            if limit.failures > 0 {
                failures.latest.push_back(at);
            }
        }
    }

    /// Begins the watch over an attempt, with a sign of life.
    pub(super) fn watch_from(&mut self, sign: Time) {
        if let Some(watchdog) = self.plan.watchdog {
            let period = watchdog.max_silence / LOOKS;
            let next_look = sign.next_tick(Time::ZERO, period);
            // A look sooner than a period after the sign does not fill its share of the silence.
            let left = LOOKS + u32::from(next_look < sign.after(period));
            let watch = Watch { next_look, last_sign: sign, left };
            self.rare.get_or_insert_with(Box::default).watch = Some(watch);
        }
    }

    /// Counts a success, which ends the streak and makes the delays start over.
    pub(super) fn count_success(&mut self) {
        self.streak = 0;
        self.begin_delays_anew();
    }

    /// Counts an attempt that succeeded after `ran` and is followed by another. True if it makes
    /// too many short ones in a row, which is said once.
    pub(super) fn counts_too_short(&mut self, ran: Duration) -> bool {
        if self.plan.interval != Interval::None || self.short_runs == u8::MAX {
            return false;
        }
        self.short_runs = if ran < SHORT_RUN { self.short_runs + 1 } else { 0 };
        let too_many = self.short_runs >= SHORT_RUNS;
        if too_many {
            self.short_runs = u8::MAX;
        }
        too_many
    }
}
