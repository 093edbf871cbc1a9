//! Stops: of one task, of a slot, of the supervisor. A shutdown is a state, never a wait.

use alloc::vec::Vec;
use core::time::Duration;

use super::effect::{Answer, Effect, Notice};
use super::ending::End;
use super::phase::Phase;
use super::roster::GroupAct;
use super::step::Machine;
use super::task::{State, Stop};
use crate::vocabulary::id::{SlotKey, TaskKey};
use crate::vocabulary::reason::{Rejection, ShutdownCause, SlotCancelled, StopReason};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

impl Machine {
    /// Asks a task to stop, in whatever state it is. The first stop counts.
    pub(super) fn stop(&mut self, key: TaskKey, reason: StopReason, out: &mut Vec<Effect>) {
        let asked = Some(Stop { reason, at: self.now });
        match self.tasks[key].state {
            // No thread has it, so it ends without one, but for the drop of its body.
            State::Queued => {
                let end = match reason {
                    StopReason::Shutdown => End::Rejected(Rejection::ShuttingDown),
                    StopReason::ByTask
                    | StopReason::Stop
                    | StopReason::Drain
                    | StopReason::Replace
                    | StopReason::Group => End::Cancelled { reason, ret: None },
                };
                self.end(key, end, out);
            }
            // What it was to do is done.
            State::Waiting(_) if self.is_done_step(key) => self.end(key, End::Completed, out),
            State::Runnable | State::Waiting(_) => {
                self.end(key, End::Cancelled { reason, ret: None }, out);
            }

            // A thread may have claimed the attempt, or may claim it at any moment. So the stop is
            // recorded, and the answer to the order decides.
            State::Starting { stop: None, expired, sent_back } => {
                // The first request decides the outcome: a stopped task no longer expires.
                self.timers.clear(key);
                self.task_mut(key).state = State::Starting { stop: asked, expired, sent_back };
                self.publish_slot(key, true, out);
                out.push(Effect::Revoke { attempt: self.tasks[key].attempt_addr() });
            }
            State::Running { claimed_at, .. } => {
                self.publish_slot(key, true, out);
                self.tell(key, claimed_at, reason.as_cancel(), asked, out);
            }

            // The attempt was already told. A stop prevents the retry and leaves the token as it
            // is; only a shutdown shortens the grace.
            State::Stopping { claimed_at, told, stop: None, health } => {
                self.task_mut(key).state =
                    State::Stopping { claimed_at, told, stop: asked, health };
                self.publish_slot(key, true, out);
                self.shorten_grace(key, out);
            }
            State::Stopping { stop: Some(_), .. } => {
                if reason == StopReason::Shutdown {
                    self.shorten_grace(key, out);
                }
            }
            // Nothing follows, so the outcome need not wait for the body.
            State::Abandoned { claimed_at, told, stop: None, over: false } => {
                self.task_mut(key).state =
                    State::Abandoned { claimed_at, told, stop: asked, over: false };
                self.conclude_abandoned(key, out);
            }
            // Only the end of a shutdown's grace makes it hurry.
            State::Closing(closing) => {
                if reason == StopReason::Shutdown && !closing.stuck {
                    let due = self.timers.due(key).min(self.phase.grace_until());
                    self.timers.set(key, due);
                    self.end_grace(key, out);
                }
            }
            State::Starting { stop: Some(_), .. }
            | State::Abandoned { .. }
            | State::Intake
            | State::Over => {}
        }
    }

    /// Limits the rest of a told attempt's grace by that of the shutdown, and notes that its body
    /// will not run again.
    fn shorten_grace(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let due = self.timers.due(key).min(self.phase.grace_until());
        self.timers.set(key, due);
        let attempt = self.tasks[key].attempt_addr();
        out.push(Effect::Finalize { attempt, grace_until: due });
        self.end_grace(key, out);
    }

    /// Publishes that the slot's owner is terminating, or no longer is.
    pub(super) fn publish_slot(&self, key: TaskKey, terminating: bool, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        if task.slot.is_some() {
            Self::publish(out, Notice::SlotTransition { task: task.addr, terminating });
        }
    }

    /// Stops a slot's owner and refuses the tasks in its queue.
    pub(super) fn stop_slot(&mut self, slot: SlotKey, out: &mut Vec<Effect>) {
        let removed = self.slots.get(slot).queue.len as usize;
        // The queue comes first, or the end of the owner would start a task that is to be removed.
        while let Some(waiting) = self.slots.get(slot).queue.first {
            self.end(waiting, End::Rejected(Rejection::Removed), out);
        }
        let owner = self.slots.get(slot).owner;
        let owner_asked = owner.is_some_and(|owner| !self.tasks[owner].state.stop_recorded());
        if let Some(owner) = owner {
            self.stop(owner, StopReason::Stop, out);
        }
        out.push(Effect::Answer(Answer::SlotCancelled(SlotCancelled { owner_asked, removed })));
    }

    /// Begins the shutdown if a task with `shutdown_on_end` has ended by itself.
    pub(super) fn end_supervisor_with(&mut self, key: TaskKey, end: End, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        if task.plan.shutdown_on_end && end.is_own() {
            let cause = ShutdownCause::TaskEnded(task.addr.id);
            self.begin_shutdown(cause, out);
        }
    }

    /// Closes the door and stops all tasks. The first cause counts.
    pub(super) fn begin_shutdown(&mut self, cause: ShutdownCause, out: &mut Vec<Effect>) {
        if !self.is_running() {
            return;
        }
        self.note_unfinished(out);
        let began = self.now;
        let phases = self.groups.most_phases().max(1);
        let share = self.limits.grace / phases;
        self.phase = Phase::Stopping {
            began,
            grace_until: began.after(self.limits.grace),
            share,
            steps: 0,
            next_step: if phases > 1 { began.after(share) } else { Time::NEVER },
        };
        Self::publish(out, Notice::ShutdownRequested { cause });
        out.push(Effect::CloseDoor { cause });

        // Waiting tasks go first, so that no slot or permit that becomes free below passes to them.
        let own = self.tasks.iter().filter(|task| task.is_told_alone());
        let keys: Vec<_> = own.map(|task| (task.state, task.addr.key)).collect();
        let waits = |state| matches!(state, State::Queued | State::Runnable | State::Waiting(_));
        let queued = keys.iter().filter(|(state, _)| *state == State::Queued);
        let owners = keys.iter().filter(|(state, _)| waits(*state) && *state != State::Queued);
        let running = keys.iter().filter(|(state, _)| !waits(*state));
        for &(_, key) in queued.chain(owners) {
            self.stop(key, StopReason::Shutdown, out);
        }
        self.by_group_rules(GroupAct::StopAll, out);
        for &(_, key) in running {
            self.stop(key, StopReason::Shutdown, out);
        }
    }

    /// One more phase of each group has had its share of the time.
    pub(super) fn step_down(&mut self) {
        let Phase::Stopping { began, grace_until, share, .. } = self.phase else { return };
        let most = self.groups.most_phases();
        let mut steps = 0;
        let after = |steps| began.after(share.saturating_mul(steps));
        while steps < most && after(steps + 1) <= self.now {
            steps += 1;
        }
        let next_step = if steps + 1 < most { after(steps + 1) } else { Time::NEVER };
        self.phase = Phase::Stopping { began, grace_until, share, steps, next_step };
        self.groups.touch_all();
    }

    /// Begins a drain or a shutdown, or makes it urgent.
    pub(super) fn signal(&mut self, signal: Signal, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Running | Phase::Draining(_) => {
                self.signal_end(ShutdownCause::Signal(signal), out);
            }
            Phase::Stopping { began, grace_until, .. } => {
                // It may be over by now.
                let (grace_until, next_step) = (grace_until.min(self.now), Time::NEVER);
                let (share, steps) = (Duration::ZERO, u32::MAX);
                self.phase = Phase::Stopping { began, grace_until, share, steps, next_step };
                out.push(Effect::RestoreSignals);
                let own = self.tasks.iter().filter(|task| task.is_told_alone());
                let keys: Vec<_> = own.map(|task| task.addr.key).collect();
                for key in keys {
                    self.stop(key, StopReason::Shutdown, out);
                }
                self.groups.touch_all();
            }
            Phase::Flushing { .. } | Phase::Ended => {}
        }
    }

    /// Once every outcome is delivered, lets the lanes serve the last events.
    pub(super) fn advance_shutdown(&mut self, out: &mut Vec<Effect>) {
        self.advance_drain();
        if let (Phase::Stopping { .. }, true) = (self.phase, self.is_idle()) {
            self.phase = Phase::Flushing { until: self.now.after(self.limits.event_flush) };
            Self::publish(out, Notice::ShutdownEnded);
            out.push(Effect::FlushEvents);
        }
    }

    /// The lanes are done, or their time is over.
    pub(super) fn end_flush(&mut self, out: &mut Vec<Effect>) {
        if let Phase::Flushing { .. } = self.phase {
            self.phase = Phase::Ended;
            out.push(Effect::Finish);
        }
    }
}

impl State {
    /// Whether a stop was asked of the task before its end.
    pub(super) const fn stop_asked(self) -> bool {
        match self {
            Self::Starting { stop, .. }
            | Self::Stopping { stop, .. }
            | Self::Abandoned { stop, .. } => stop.is_some(),
            Self::Intake
            | Self::Queued
            | Self::Runnable
            | Self::Running { .. }
            | Self::Waiting(_)
            | Self::Closing(_)
            | Self::Over => false,
        }
    }

    /// Whether a stop of an owner in this state would change nothing.
    pub(super) const fn stop_recorded(self) -> bool {
        match self {
            Self::Starting { stop, .. } | Self::Stopping { stop, .. } => stop.is_some(),
            Self::Abandoned { stop, over, .. } => stop.is_some() || over,
            Self::Closing(_) => true,
            Self::Intake
            | Self::Queued
            | Self::Runnable
            | Self::Running { .. }
            | Self::Waiting(_)
            | Self::Over => false,
        }
    }
}
