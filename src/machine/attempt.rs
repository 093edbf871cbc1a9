//! The life of an attempt, from the claim to what follows its end.

use alloc::vec::Vec;
use core::time::Duration;

use super::effect::{Effect, Notice};
use super::ending::{judge, End, Ending, Next};
use super::roster::GroupAct;
use super::step::Machine;
use super::task::{Health, Started, State, Stop, Wait, SHORT_RUN, SHORT_RUNS};
use crate::vocabulary::answer::{Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::backoff::MIN_SPACING;
use crate::vocabulary::id::TaskKey;
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::plan::Interval;
use crate::vocabulary::reason::{CancelReason, FailureCause, Rejection, StopReason};
use crate::vocabulary::time::Time;

/// When the next attempt of a task is to start.
#[derive(Clone, Copy)]
enum Start {
    AtOnce,
    AfterSuccess,
    /// With the next restart of its group.
    WithGroup,
    /// The delay of the retry is over at `until`.
    AfterFailure {
        until: Time,
        cause: FailureCause,
    },
}

impl Machine {
    /// A thread took the attempt up. This may come more than once: as a report, with an answer, or
    /// with the return.
    pub(super) fn claimed(&mut self, key: TaskKey, at: Time, out: &mut Vec<Effect>) {
        let State::Starting { stop, .. } = self.tasks[key].state else { return };
        self.begin(key, at, out);
        let deadline = self.tasks[key].plan.deadline_from(at);
        self.enter_running(key, at, at, deadline, self.tasks[key].young(at));
        // The revocation came too late, so the stop must be told.
        if let Some(stop) = stop {
            self.tell(key, at, stop.reason.as_cancel(), Some(stop), out);
        }
    }

    /// Notes the claim of an attempt.
    pub(super) fn begin(&mut self, key: TaskKey, at: Time, out: &mut Vec<Effect>) {
        let heard = self.heard;
        let task = self.task_mut(key);
        if task.anchor.is_never() {
            task.anchor = at;
        }
        task.started = Started::At(at);
        if heard {
            Self::publish(out, Notice::AttemptStarting { attempt: task.attempt_addr() });
        }
        if task.is_member && task.plan.ready_within.is_none() && !task.plan.step {
            self.member_ready(key);
        }
    }

    /// The answer to a revocation: the task ends without having run, or it runs. Either this or the
    /// report of the claim counts, whichever comes first.
    pub(super) fn revoke_answered(
        &mut self,
        key: TaskKey,
        answer: RevokeAnswer,
        out: &mut Vec<Effect>,
    ) {
        let State::Starting { stop, expired, sent_back } = self.tasks[key].state else { return };
        match answer {
            RevokeAnswer::AlreadyClaimed(at) => self.claimed(key, at, out),
            // A recorded expiry came first, because a stop clears the timer.
            RevokeAnswer::Revoked if expired => {
                self.end(key, End::Rejected(Rejection::Expired), out);
            }
            RevokeAnswer::Revoked if sent_back && self.stop_of(key, stop).is_none() => {
                let now = self.now;
                self.task_mut(key).forgive_wait(now);
                self.start_again(key, now, Start::WithGroup, out);
            }
            RevokeAnswer::Revoked => {
                // Only a drain revokes without a stop.
                let reason = stop.map_or(StopReason::Drain, |stop| stop.reason);
                self.end(key, End::Cancelled { reason, ret: None }, out);
            }
        }
    }

    /// A body says that its attempt is ready. From now on its deadline counts alone.
    pub(super) fn ready(
        &mut self,
        key: TaskKey,
        claimed_at: Time,
        at: Time,
        until: Time,
        out: &mut Vec<Effect>,
    ) {
        // The report of the claim may not have come.
        self.claimed(key, claimed_at, out);
        let attempt = self.tasks[key].attempt_addr();
        let (State::Running { .. } | State::Stopping { .. }) = self.tasks[key].state else {
            return;
        };
        Self::publish(out, Notice::AttemptReady { attempt, took: claimed_at.until(at) });
        if !self.tasks[key].plan.step {
            self.member_ready(key);
        }
        self.move_deadline(key, until);
    }

    /// Cancels the attempt's token and starts its grace. With a `stop`, nothing follows.
    pub(super) fn tell(
        &mut self,
        key: TaskKey,
        claimed_at: Time,
        told: CancelReason,
        stop: Option<Stop>,
        out: &mut Vec<Effect>,
    ) {
        let grace_until = self.now.after(self.tasks[key].plan.grace).min(self.phase.grace_until());
        // Remembered, because the deadline may turn out to have moved.
        let State::Running { health, .. } = self.tasks[key].state else { return };
        self.enter(key, State::Stopping { claimed_at, told, stop, health }, grace_until);
        let attempt = self.tasks[key].attempt_addr();
        out.push(Effect::Tell { attempt, reason: told, grace_until });
        // A grace of zero is already over, but body and hooks are told even so.
        self.end_grace(key, out);
    }

    /// Abandons a told attempt, or a closing, if it has no grace left.
    pub(super) fn end_grace(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        if self.timers.due(key) <= self.now {
            self.timers.clear(key);
            self.order_abandon(key, out);
        }
    }

    pub(super) fn order_abandon(&self, key: TaskKey, out: &mut Vec<Effect>) {
        let attempt = self.tasks[key].attempt_addr();
        out.push(if let State::Closing(_) = self.tasks[key].state {
            Effect::AbandonClosing { attempt }
        } else {
            Effect::Abandon { attempt }
        });
    }

    /// The answer to a tell. The grace is already running.
    pub(super) fn tell_answered(
        &mut self,
        key: TaskKey,
        answer: TellAnswer,
        out: &mut Vec<Effect>,
    ) {
        let State::Stopping { claimed_at, told, stop, mut health } = self.tasks[key].state else {
            return;
        };
        let attempt = self.tasks[key].attempt_addr();
        match answer {
            TellAnswer::Told if told == CancelReason::Timeout => {
                let ran = claimed_at.until(self.now);
                Self::publish(out, Notice::AttemptOverdue { attempt, ran });
                out.push(Effect::Examine { attempt });
            }
            // If it has returned, its report is under way. But its destructors may take long, so
            // its grace runs even so.
            TellAnswer::Told | TellAnswer::AlreadyReturned => {}
            // It moved its deadline before it was told, so it runs on as if the timer had not come.
            // But a stop that was asked in the meantime has not been told yet.
            TellAnswer::DeadlineMoved(deadline) => {
                if health == Health::Silent {
                    health = self.tasks[key].young(self.now);
                    Self::publish(out, Notice::AttemptResponsive { attempt });
                }
                self.enter_running(key, claimed_at, self.now, deadline, health);
                if let Some(stop) = stop {
                    self.tell(key, claimed_at, stop.reason.as_cancel(), Some(stop), out);
                }
            }
        }
    }

    /// A body returned: publishes the attempt's one terminal event and decides what follows.
    pub(super) fn returned(
        &mut self,
        key: TaskKey,
        at: Time,
        told: Option<CancelReason>,
        ret: Return,
        retry_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let claimed_at = self.tasks[key].last_start();
        let (mut has_recovered, mut skips_wait) = (false, false);
        let (stop, overdue_since) = match self.tasks[key].state {
            State::Running { health, .. } => {
                self.become_stable(key, health, at, out);
                (None, at)
            }
            State::Starting { stop, .. } => {
                self.become_stable(key, self.tasks[key].young(claimed_at), at, out);
                (stop, at)
            }
            State::Stopping { told: asked, stop, health, .. } => {
                has_recovered = health == Health::Stable;
                skips_wait = told.is_none() && self.is_by_hand(key, asked);
                (stop, self.tasks[key].since)
            }
            State::Abandoned { over, .. } => return self.returned_late(key, at, ret, over, out),
            State::Intake
            | State::Queued
            | State::Runnable
            | State::Waiting(_)
            | State::Closing(_)
            | State::Over => {
                debug_assert!(false, "a return without an attempt");
                return;
            }
        };

        let ran = claimed_at.until(at);
        let (ending, next) = judge(told, ret, self.tasks[key].plan.panic);
        let (attempt, late_by) = (self.tasks[key].attempt_addr(), overdue_since.until(at));
        if self.heard || ending != Ending::Succeeded {
            let returned_ok = ret == Return::Ok;
            let notice = Notice::AttemptEnded { attempt, told, ending, ran, late_by, returned_ok };
            Self::publish(out, notice);
        }

        // What the body was told has decided how the attempt ended. What was asked of the task
        // decides whether it goes on.
        let asked = self.stop_of(key, stop);
        let asked = asked.map(|stop| End::Cancelled { reason: stop.reason, ret: Some(ret) });
        match next {
            Next::Over(end) => {
                // It was not failing when it was stopped.
                if has_recovered {
                    self.task_mut(key).streak = 0;
                }
                // The body knows only that it was to stop. Why, the first stop says.
                let is_stop = told.is_some() && matches!(end, End::Cancelled { .. });
                self.end(key, asked.filter(|_| is_stop).unwrap_or(end), out);
            }
            Next::Again => {
                if let Some(end) = asked {
                    return self.end(key, end, out);
                }
                self.by_group_rules(GroupAct::RestartOthers { culprit: key, counts: false }, out);
                self.start_again(key, at, Start::AtOnce, out);
            }
            Next::Success => self.succeeded(key, at, ran, asked, out),
            // A stop after an interruption prevents the retry, and is the outcome even if none was
            // left.
            Next::Failure(cause) => match asked.filter(|_| told.is_some() && stop.is_some()) {
                Some(end) => self.end(key, end, out),
                None => self.failed(key, at, cause, retry_after, asked, out),
            },
        }
        // The body had returned before it could be told to restart.
        if skips_wait && self.tasks.find(attempt.task).is_some() {
            self.task_mut(key).begin_delays_anew();
            self.skip_wait(key, out);
        }
    }

    /// Whether a caller asked for the restart for which this is the reason.
    fn is_by_hand(&self, key: TaskKey, reason: CancelReason) -> bool {
        match reason {
            CancelReason::Restart => true,
            CancelReason::Group => self.group_of(key).is_some_and(|(group, _)| group.by_hand),
            _ => false,
        }
    }

    /// A success under `Always` is followed by the next attempt. A stop that was asked but not told
    /// prevents that, but does not change a completion.
    fn succeeded(
        &mut self,
        key: TaskKey,
        at: Time,
        ran: Duration,
        asked: Option<End>,
        out: &mut Vec<Effect>,
    ) {
        let task = self.task_mut(key);
        task.count_success();
        match asked {
            _ if task.finality().success => self.end(key, End::Completed, out),
            Some(_) if task.is_step() => self.end(key, End::Completed, out),
            Some(end) => self.end(key, end, out),
            None if task.is_step() => {
                self.member_ready(key);
                self.start_again(key, at, Start::WithGroup, out);
            }
            None => {
                if task.counts_too_short(ran) {
                    let (attempt, runs) = (task.attempt_addr(), u32::from(SHORT_RUNS));
                    let within = SHORT_RUN;
                    Self::publish(out, Notice::AttemptsTooShort { attempt, runs, within });
                }
                if self.tasks[key].plan.interval == Interval::None {
                    self.by_group_rules(
                        GroupAct::RestartOthers { culprit: key, counts: false },
                        out,
                    );
                }
                self.start_again(key, at, Start::AfterSuccess, out);
            }
        }
    }

    /// A failure is retried if a retry is left. A stop that was asked but not told prevents the
    /// retry; if no retry was left, it does not change the end.
    fn failed(
        &mut self,
        key: TaskKey,
        at: Time,
        cause: FailureCause,
        retry_after: Option<Duration>,
        asked: Option<End>,
        out: &mut Vec<Effect>,
    ) {
        let is_member = self.tasks[key].is_member;
        let spent = is_member && asked.is_none() && self.is_group_spent(key);
        let task = self.task_mut(key);
        let last = task.no_retry(at).or_else(|| spent.then_some(NoRetry::RestartLimit));
        task.count_failure(at);
        out.push(Effect::NoteFailure { attempt: task.attempt_addr(), cause, last });

        match (asked, End::of_failure(cause)) {
            (_, Some(end)) if last.is_some() => self.end(key, end, out),
            (Some(end), _) => self.end(key, end, out),
            (None, _) => {
                if is_member {
                    self.by_group_rules(
                        GroupAct::RestartOthers { culprit: key, counts: true },
                        out,
                    );
                }
                self.retry(key, at, cause, retry_after, out);
            }
        }
    }

    /// Schedules the retry of a failed attempt, with the delay counted from `at`: the one that its
    /// error asks for, which leaves the backoff as it is, or that of the backoff.
    pub(super) fn retry(
        &mut self,
        key: TaskKey,
        at: Time,
        cause: FailureCause,
        retry_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let delay = if let Some(delay) = retry_after {
            delay.max(MIN_SPACING)
        } else {
            let draw = self.rng.next();
            let task = self.task_mut(key);
            let backoff = task.plan.backoff;
            backoff.delay(&mut task.backoff, draw)
        };
        let until = at.after(delay);
        self.start_again(key, at, Start::AfterFailure { until, cause }, out);
    }

    /// Lets the task run again unless it is paused, but keeps the spacing between two starts, and
    /// gives its permit back. The attempt ended at `at`.
    fn start_again(&mut self, key: TaskKey, at: Time, start: Start, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        let is_member = task.is_member;
        let (held, stops) = (is_member && self.is_held(key), is_member && self.group_stops(key));
        let (attempt, spacing) = (task.attempt_addr(), task.spacing_until());
        let (wait, due) = match start {
            _ if task.paused => (Wait::Paused, Time::NEVER),
            Start::WithGroup => (Wait::Phase, Time::NEVER),
            Start::AfterFailure { .. } if stops => (Wait::Phase, Time::NEVER),
            Start::AtOnce | Start::AfterSuccess if held => (Wait::Phase, Time::NEVER),
            Start::AtOnce => (Wait::Spacing, spacing),
            Start::AfterFailure { until, cause } => {
                let due = task.retry_at(at, until);
                let delay = at.until(due);
                Self::publish(out, Notice::RetryScheduled { attempt, delay, cause });
                (Wait::Backoff { until }, due.max(spacing))
            }
            Start::AfterSuccess => {
                let due = task.next_run_at(at);
                Self::publish(out, Notice::RunScheduled { attempt, delay: at.until(due) });
                (Wait::Interval, due.max(spacing))
            }
        };

        // This comes before the permit passes on, so that the task no longer counts as holding it.
        // The task also gets in line behind those that wait for a permit.
        self.enter(key, State::Waiting(wait), Time::NEVER);
        if is_member {
            self.hold_others_back(key, out);
        }
        self.return_permit(out);
        self.return_class(key, out);
        if due > self.now {
            // A wait until `NEVER` has no timer and ends only by a request.
            self.set_timer(key, due);
        } else {
            self.end_wait(key, out);
        }
        if wait == Wait::Phase {
            // A step that is done does not end by itself.
            self.part_later();
        }
    }

    /// The wait of a task is over.
    pub(super) fn end_wait(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let now = self.now;
        self.task_mut(key).forgive_wait(now);
        if self.is_held(key) {
            return self.enter(key, State::Waiting(Wait::Phase), Time::NEVER);
        }
        self.timers.clear(key);
        self.line_up(key, None, out);
    }
}
