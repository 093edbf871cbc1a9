//! A drain: what will end by itself may end, before the shutdown begins. Like the shutdown, it is a
//! state, never a wait.

use alloc::vec::Vec;
use core::time::Duration;

use super::effect::{Effect, Notice};
use super::ending::End;
use super::input::Submission;
use super::phase::{Drain, Phase};
use super::step::Machine;
use super::task::{State, Stop, Task};
use crate::vocabulary::id::TaskKey;
use crate::vocabulary::plan::AtDrain;
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::{Rejection, ShutdownCause, StopReason};

impl Machine {
    /// Begins a drain. Of several, the one that ends first counts.
    pub(super) fn begin_drain(
        &mut self,
        cause: ShutdownCause,
        limit: Duration,
        out: &mut Vec<Effect>,
    ) {
        let until = self.now.after(limit);
        let drain = match self.phase {
            Phase::Running => {
                Drain { cause, until, signalled: false, waits_for: None, parts: true }
            }
            Phase::Draining(drain) if until < drain.until => Drain { cause, until, ..drain },
            Phase::Draining(_) | Phase::Stopping { .. } | Phase::Flushing { .. } | Phase::Ended => {
                return
            }
        };
        self.phase = Phase::Draining(drain);
        Self::publish(out, Notice::DrainRequested { cause, limit });
        out.push(Effect::BeginDrain { until });
    }

    /// A drain no longer waits for a task, so that what is queued behind it waits in vain. That is
    /// seen to at the end of the step, because it may happen once more meanwhile.
    pub(super) fn part_later(&mut self) {
        if let Phase::Draining(drain) = &mut self.phase {
            drain.parts = true;
        }
    }

    /// Whether to look for what waits in vain. Says so once.
    pub(super) fn take_parting(&mut self) -> bool {
        match &mut self.phase {
            Phase::Draining(drain) => core::mem::take(&mut drain.parts),
            Phase::Running | Phase::Stopping { .. } | Phase::Flushing { .. } | Phase::Ended => {
                false
            }
        }
    }

    /// Refuses what would wait in a queue in vain, and stops the tasks that bring more work or are
    /// not to begin any.
    pub(super) fn part_with_residents(&mut self, out: &mut Vec<Effect>) {
        let pick = |is: &dyn Fn(&Task) -> bool| -> Vec<_> {
            self.tasks.iter().filter(|task| is(task)).map(|task| task.addr.key).collect()
        };
        let queued = pick(&|task| task.state == State::Queued && self.queues_in_vain(task));
        let told = pick(&|task| task.plan.at_drain != AtDrain::GoOn && task.state != State::Queued);

        // The queues come first, so that no slot that becomes free below passes to a task that is
        // to be refused. The end of a member may stop its group, so each task is looked up once
        // more.
        for key in queued {
            if self.tasks.get(key).is_some_and(|task| task.state == State::Queued) {
                self.end(key, End::Rejected(Rejection::ShuttingDown), out);
            }
        }

        for key in told {
            let Some(task) = self.tasks.get(key) else { continue };
            match (task.plan.at_drain, task.state) {
                (AtDrain::GoOn, _)
                | (AtDrain::Finish, State::Running { .. } | State::Stopping { .. }) => {}
                // If a thread has claimed it, it runs, and does not hear of this.
                (AtDrain::Finish, State::Starting { stop: None, .. }) => {
                    out.push(Effect::Revoke { attempt: task.attempt_addr() });
                }
                // After a stuck attempt nothing follows, so that its outcome need not wait.
                (AtDrain::Finish | AtDrain::Stop, _) => self.stop(key, StopReason::Drain, out),
            }
        }
    }

    fn queues_in_vain(&self, task: &Task) -> bool {
        let owner = task.slot.and_then(|slot| self.slots.get(slot).owner);
        let owner = owner.map(|owner| &self.tasks[owner]);
        let resident = task.plan.restart == RestartPolicy::Always;
        let for_ever = owner.is_some_and(|owner| !self.will_end(owner));
        resident || task.plan.at_drain != AtDrain::GoOn || for_ever
    }

    /// Whether a drain refuses a submission, which comes from one of the supervisor's own bodies:
    /// only if it would be stopped immediately, or wait in a queue in vain.
    pub(super) fn drain_refuses(&self, submission: &Submission) -> bool {
        let Phase::Draining(_) = self.phase else { return false };
        let owner = submission.slot.and_then(|slot| self.slots.get(slot).owner);
        let resident = submission.plan.restart == RestartPolicy::Always;
        let in_vain = owner.is_some_and(|owner| match submission.policy {
            // It is refused for a reason of its own.
            AdmissionPolicy::DropIfRunning => false,
            AdmissionPolicy::Replace => resident,
            AdmissionPolicy::Queue | AdmissionPolicy::KeepLatest => {
                resident || !self.will_end(&self.tasks[owner])
            }
        });
        submission.plan.at_drain != AtDrain::GoOn || in_vain
    }

    /// A signal before any shutdown: the first begins a drain, if signals do that here, and the
    /// next one the shutdown.
    pub(super) fn signal_end(&mut self, cause: ShutdownCause, out: &mut Vec<Effect>) {
        let signalled = self.phase.drain().is_some_and(|drain| drain.signalled);
        match self.limits.signal_drain.filter(|_| !signalled) {
            Some(limit) => {
                self.begin_drain(cause, limit, out);
                if let Phase::Draining(drain) = &mut self.phase {
                    drain.signalled = true;
                }
            }
            None => self.begin_shutdown(cause, out),
        }
    }

    /// Looks whether the drain still waits for a task. Mostly it is the same as before.
    pub(super) fn advance_drain(&mut self) {
        if let Phase::Draining(drain) = self.phase {
            let from = drain.waits_for.unwrap_or(TaskKey(0));
            let waits_for = self.tasks.find_from(from, |task| self.is_waited_for(task));
            self.phase = Phase::Draining(Drain { waits_for, ..drain });
        }
    }

    /// Whether a drain waits for no task. A submission that is not decided yet may change that.
    pub(crate) fn has_drained(&self) -> bool {
        self.phase.drain().is_some_and(|drain| drain.waits_for.is_none())
    }

    /// Whether a drain is under way.
    pub(crate) const fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    /// No submission waits to be decided. If the drain waits for no task either, it is over.
    pub(super) fn intake_empty(&mut self, out: &mut Vec<Effect>) {
        if self.has_drained() {
            self.end_drain(out);
        }
    }

    /// The drain is over, or its time is.
    pub(super) fn end_drain(&mut self, out: &mut Vec<Effect>) {
        if let Phase::Draining(drain) = self.phase {
            self.begin_shutdown(drain.cause, out);
        }
    }

    /// The shutdown begins: says for which tasks a drain has waited in vain.
    pub(super) fn note_unfinished(&self, out: &mut Vec<Effect>) {
        if self.is_draining() {
            let unfinished = self.tasks.iter().filter(|task| self.is_waited_for(task));
            out.extend(unfinished.map(|task| Effect::NoteUnfinished { task: task.addr }));
        }
    }

    /// Whether a task comes to an end during a drain: unlike a resident, which runs until it is
    /// stopped, like its whole group, and unlike one that is paused.
    pub(super) fn will_end(&self, task: &Task) -> bool {
        let resident = task.plan.restart == RestartPolicy::Always || self.stays_with_group(task);
        let by_drain = task.plan.at_drain != AtDrain::GoOn;
        (!resident && !task.paused) || by_drain || task.state.stop_recorded()
    }

    /// The stop that was asked of a task; or, if a drain lets only its current attempt finish, one
    /// that its body need not hear of.
    pub(super) fn stop_of(&self, key: TaskKey, stop: Option<Stop>) -> Option<Stop> {
        let finishes = self.is_draining() && self.tasks[key].plan.at_drain == AtDrain::Finish;
        stop.or_else(|| finishes.then_some(Stop { reason: StopReason::Drain, at: self.now }))
    }

    /// Whether a drain waits for the outcome of a task.
    fn is_waited_for(&self, task: &Task) -> bool {
        self.will_end(task) && !task.state.is_over() && task.state != State::Over
    }
}
