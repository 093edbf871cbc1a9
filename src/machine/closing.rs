//! Closing: a body that will not run again is dropped by a worker, before the task's slot passes on
//! and before its outcome is seen.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::ending::End;
use super::roster::GroupAct;
use super::step::{Machine, Released};
use super::task::{Closing, State};
use crate::vocabulary::answer::ClosingAnswer;
use crate::vocabulary::id::{AttemptAddr, TaskKey};
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::policy::AbandonPolicy;
use crate::vocabulary::reason::StopReason;
use crate::vocabulary::time::Time;

impl Machine {
    /// Ends a task whose body will not run again: in this step if there is nothing to drop,
    /// otherwise once a worker has dropped it.
    pub(super) fn end(&mut self, key: TaskKey, end: End, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        if !task.holds_body {
            return self.conclude(key, end, out);
        }
        let (attempt, state) = (task.attempt_addr(), task.state);
        let terminating = state.terminating_since(task.since);
        let closing = Closing {
            end,
            terminating: terminating.unwrap_or(self.now),
            keeps_place: state.leaves_place(end),
            over: state.is_over(),
            stuck: false,
        };

        self.by_group_rules(GroupAct::MemberOver(key, end), out);
        Self::publish(out, Notice::TaskClosing { attempt });
        if terminating.is_none() && self.owned_slot(key).is_some() {
            self.publish_slot(key, true, out);
        }
        self.enter(key, State::Closing(closing), self.phase.grace_until());
        out.push(Effect::Close { attempt, reason: end.told_in_closing() });
        self.vacate(key, state, closing.keeps_place, out);
        self.end_grace(key, out);
    }

    /// A thread has been dropping the body for as long as any drop may take. From now on, its grace
    /// is measured.
    pub(super) fn closing_slow(
        &mut self,
        attempt: AttemptAddr,
        since: Time,
        out: &mut Vec<Effect>,
    ) {
        let Some((key, closing)) = self.find_closing(attempt) else { return };
        if !closing.stuck {
            let due = since.after(self.tasks[key].plan.grace.max(SLOW));
            self.timers.set(key, due.min(self.phase.grace_until()));
            self.end_grace(key, out);
        }
    }

    /// The grace of a closing is over, or that of the shutdown.
    pub(super) fn closing_answered(
        &mut self,
        attempt: AttemptAddr,
        answer: ClosingAnswer,
        out: &mut Vec<Effect>,
    ) {
        let Some((key, closing)) = self.find_closing(attempt) else { return };
        match answer {
            // Nobody will take it up before the end, so the outcome waits no longer.
            ClosingAnswer::Untaken => self.conclude(key, closing.end, out),
            // Its report is under way.
            ClosingAnswer::Dropped => {}
            ClosingAnswer::Abandoned if closing.stuck => {}
            ClosingAnswer::Abandoned => self.abandon_closing(key, closing, out),
        }
    }

    /// The outcome waits no longer. The slot does, unless the policy releases it.
    fn abandon_closing(&mut self, key: TaskKey, closing: Closing, out: &mut Vec<Effect>) {
        let (task, below_cap) = (&self.tasks[key], self.is_below_cap());
        let (addr, attempt, streak) = (task.addr, task.attempt_addr(), task.streak);
        let released = task.plan.abandon == AbandonPolicy::Release && below_cap;
        let end = match closing.end {
            End::Cancelled { reason, .. } => {
                let stop = Some(reason).filter(|&reason| reason != StopReason::ByTask);
                End::Abandoned { reason: reason.as_cancel(), stop }
            }
            other => other,
        };
        self.stuck += 1;
        Self::publish(out, Notice::ClosingAbandoned { attempt });
        out.push(Effect::Examine { attempt });
        if released {
            self.released.push(Released { attempt, since: self.now, closing: true });
            out.push(Effect::Release { attempt, reason: end.told_in_closing() });
            return self.conclude(key, end, out);
        }

        let state = State::Closing(Closing { end, over: true, stuck: true, ..closing });
        self.enter(key, state, Time::NEVER);
        if !closing.over {
            self.announce_end(key, end, out);
            self.end_supervisor_with(key, end, out);
            out.push(Effect::Deliver { task: addr, end, streak });
        }
    }

    /// The body is dropped.
    pub(super) fn closed(&mut self, attempt: AttemptAddr, out: &mut Vec<Effect>) {
        if let Some(late_by) = self.take_released(attempt, true, self.now) {
            Self::publish(out, Notice::ClosingReturned { attempt, late_by });
            return out.push(Effect::ForgetReleased { attempt, closing: true });
        }
        let Some((key, closing)) = self.find_closing(attempt) else { return };
        if closing.stuck {
            self.stuck -= 1;
            let late_by = self.tasks[key].since.until(self.now);
            Self::publish(out, Notice::ClosingReturned { attempt, late_by });
        }
        self.conclude(key, closing.end, out);
    }

    fn find_closing(&mut self, attempt: AttemptAddr) -> Option<(TaskKey, Closing)> {
        let key = self.find_task(attempt.task)?;
        let State::Closing(closing) = self.tasks[key].state else {
            self.stale += 1;
            return None;
        };
        Some((key, closing))
    }
}

impl State {
    /// Whether a task that ends like this leaves its place in the queue for permits to the heir.
    pub(super) fn leaves_place(self, end: End) -> bool {
        match self {
            Self::Closing(closing) => closing.keeps_place,
            Self::Runnable => {
                matches!(end, End::Cancelled { reason: StopReason::Replace, .. })
            }
            Self::Intake
            | Self::Queued
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Abandoned { .. }
            | Self::Waiting(_)
            | Self::Over => false,
        }
    }
}
