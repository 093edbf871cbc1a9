//! Attempts that outlive their grace: held, so that nothing else uses what they use, or released,
//! so that work goes on without them.

use alloc::vec::Vec;
use core::time::Duration;

use super::effect::{Effect, Notice};
use super::ending::End;
use super::roster::GroupAct;
use super::step::{Machine, Released};
use super::task::{State, Stop};
use crate::vocabulary::answer::{AbandonAnswer, Return};
use crate::vocabulary::id::{AttemptAddr, TaskKey};
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::plan::BodyKind;
use crate::vocabulary::policy::AbandonPolicy;
use crate::vocabulary::reason::{CancelReason, FailureCause};
use crate::vocabulary::time::Time;

impl Machine {
    /// The grace is over and the body has not returned. That is a failure, and the attempt's one
    /// terminal event. The policy decides whether the task still waits for the body.
    pub(super) fn abandon_answered(
        &mut self,
        key: TaskKey,
        answer: AbandonAnswer,
        out: &mut Vec<Effect>,
    ) {
        let State::Stopping { claimed_at, told, stop, .. } = self.tasks[key].state else { return };
        // Otherwise it has returned, and its report is under way; or it moved its deadline in time,
        // and the answer to `Tell` says so.
        let AbandonAnswer::Abandoned { last } = answer else { return };
        let (now, below_cap) = (self.now, self.is_below_cap());
        let spent = stop.is_none() && self.is_group_spent(key);
        let is_last = self.stop_of(key, stop).is_some();
        let task = self.task_mut(key);
        let attempt = task.attempt_addr();

        // At the limit `Release` acts as `Hold`, or nothing would bound the number of stuck
        // threads.
        let to_release = task.plan.abandon == AbandonPolicy::Release;
        let (released, at_limit) = (to_release && below_cap, to_release && !below_cap);
        // Whether a retry is left is asked before this failure is counted, as for any other
        // failure. `last` comes from the cell: the worker drops the body, so there is nothing left
        // to retry with.
        let no_retry = task.no_retry(now).or_else(|| spent.then_some(NoRetry::RestartLimit));
        let over = is_last || last || no_retry.is_some();
        let can_follow = !over && task.plan.body == BodyKind::Shared;
        let left = (released && !over && !can_follow).then_some(NoRetry::NotShared);
        let no_retry = no_retry.or(left).filter(|_| stop.is_none());
        task.count_failure(now);
        self.stuck += 1;

        let ran = claimed_at.until(now);
        let reason = told;
        let notice = Notice::AttemptAbandoned { attempt, reason, ran, released, at_limit };
        Self::publish(out, notice);
        let cause = FailureCause::Abandoned;
        out.push(Effect::NoteFailure { attempt, cause, last: no_retry });
        out.push(Effect::Examine { attempt });
        if released {
            return self.release_attempt(key, attempt, told, stop, can_follow, out);
        }

        self.enter(key, State::Abandoned { claimed_at, told, stop, over: false }, Time::NEVER);
        if stop.is_none() {
            // With a recorded stop, the slot is already terminating.
            self.publish_slot(key, true, out);
        }
        if over {
            self.conclude_abandoned(key, out);
        } else {
            self.by_group_rules(GroupAct::RestartOthers { culprit: key, counts: true }, out);
        }
    }

    /// Delivers the outcome of an abandoned attempt's task. Slot and permit stay held until the
    /// body returns.
    pub(super) fn conclude_abandoned(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let State::Abandoned { claimed_at, told, stop, .. } = self.tasks[key].state else { return };
        let task = &self.tasks[key];
        let (addr, attempt, streak) = (task.addr, task.attempt_addr(), task.streak);
        let end = End::Abandoned { reason: told, stop: stop.map(|stop| stop.reason) };
        self.task_mut(key).state = State::Abandoned { claimed_at, told, stop, over: true };
        self.touch_group(key);
        // Nothing follows, so the worker drops the body as soon as it returns.
        out.push(Effect::Finalize { attempt, grace_until: self.now });
        self.announce_end(key, end, out);
        self.end_supervisor_with(key, end, out);
        out.push(Effect::Deliver { task: addr, end, streak });
    }

    /// The abandonment ends the attempt: its task goes on without it, or ends.
    fn release_attempt(
        &mut self,
        key: TaskKey,
        attempt: AttemptAddr,
        told: CancelReason,
        stop: Option<Stop>,
        can_follow: bool,
        out: &mut Vec<Effect>,
    ) {
        self.released.push(Released { attempt, since: self.now, closing: false });
        // This attempt's share of the body is dropped when it returns, even if another share runs
        // on.
        out.push(Effect::Finalize { attempt, grace_until: self.now });
        out.push(Effect::Release { attempt, reason: told });

        if can_follow {
            self.by_group_rules(GroupAct::RestartOthers { culprit: key, counts: true }, out);
            self.retry(key, self.now, FailureCause::Abandoned, None, out);
        } else {
            // The body is left to the thread that is stuck in it.
            let stop = stop.map(|stop| stop.reason);
            self.conclude(key, End::Abandoned { reason: told, stop }, out);
        }
    }

    /// Notes the return of a released attempt. False if the attempt was not released.
    pub(super) fn returned_released(
        &mut self,
        attempt: AttemptAddr,
        at: Time,
        ret: Return,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(late_by) = self.take_released(attempt, false, at) else { return false };
        // Its task may have been forgotten, and its key may be another's: nothing else is touched.
        Self::publish(out, Notice::AttemptReturned { attempt, late_by, ret });
        out.push(Effect::ForgetReleased { attempt, closing: false });
        true
    }

    /// Forgets what was released and has returned at `at`. Returns how late that was.
    pub(super) fn take_released(
        &mut self,
        attempt: AttemptAddr,
        closing: bool,
        at: Time,
    ) -> Option<Duration> {
        let is_it = |it: &Released| it.attempt == attempt && it.closing == closing;
        let position = self.released.iter().position(is_it)?;
        self.stuck -= 1;
        Some(self.released.swap_remove(position).since.until(at))
    }

    /// An abandoned attempt returned: its failure has its consequences. Of its result only a fatal
    /// error counts, because a retry would not help.
    pub(super) fn returned_late(
        &mut self,
        key: TaskKey,
        at: Time,
        ret: Return,
        over: bool,
        out: &mut Vec<Effect>,
    ) {
        let task = &self.tasks[key];
        let attempt = task.attempt_addr();
        let late_by = task.since.until(at);
        self.stuck -= 1;
        Self::publish(out, Notice::AttemptReturned { attempt, late_by, ret });

        if over || ret == Return::Fatal {
            // If the outcome is already delivered, slot and permit are left.
            self.end(key, End::Fatal, out);
        } else {
            // The failure was counted at the end of the grace; only the retry has waited for the
            // body.
            self.publish_slot(key, false, out);
            self.retry(key, at, FailureCause::Abandoned, None, out);
        }
    }
}
