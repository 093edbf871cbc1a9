//! What a drain may refuse, stop and wait for, and when it is over, against the records.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::Checker;
use crate::machine::{Effect, Input, Notice};
use crate::vocabulary::id::{TaskAddr, TaskId};
use crate::vocabulary::plan::AtDrain;
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::{Rejection, ShutdownCause};
use crate::vocabulary::time::Time;

#[derive(Default)]
pub(super) struct Drains {
    /// When it ends at the latest, and its cause.
    drain: Option<(Time, ShutdownCause)>,
    signalled: bool,
    unfinished: BTreeSet<TaskId>,
}

impl Checker {
    pub(super) const fn is_draining(&self) -> bool {
        self.drains.drain.is_some()
    }

    /// Before the orders of a step are looked at: whether they begin what they have to, and nothing
    /// else.
    pub(super) fn begin_drain_or_end(&mut self, input: &Input, effects: &[Effect]) {
        let began = effects.iter().find_map(|effect| match effect {
            Effect::BeginDrain { until } => Some(*until),
            _ => None,
        });
        let closes = effects.iter().find_map(|effect| match effect {
            Effect::CloseDoor { cause } => Some(*cause),
            _ => None,
        });
        if self.closed_at.is_some() {
            return assert_eq!((began, closes), (None, None), "{input:?} in a shutdown");
        }
        let nothing_left = !self.records.keys().any(|task| self.is_waited_for(*task));
        let drain = self.drains.drain;
        let cause = drain.map(|(_, cause)| cause);
        let (expected, end) = match *input {
            Input::DrainRequested { cause, limit } => (self.drain(cause, limit), None),
            Input::ShutdownRequested(cause) => (None, Some(cause)),
            Input::SignalReceived(number) => self.signal(ShutdownCause::Signal(number)),
            Input::IntakeEmpty => (None, cause.filter(|_| nothing_left)),
            Input::TimerDue => (None, drain.filter(|it| it.0 <= self.now).map(|it| it.1)),
            _ => (None, None),
        };
        assert_eq!(began, expected, "the drain after {input:?}");
        let by_a_task = matches!(closes, Some(ShutdownCause::TaskEnded(_)));
        assert!(by_a_task || closes == end, "{input:?}: {closes:?} in place of {end:?}");
        if cause.is_some() && end.is_some() {
            self.sight(if nothing_left { "a drain is complete" } else { "a drain is cut short" });
        }
        if began.is_some() && drain.is_none() {
            self.part_with_residents(effects);
        } else if began.is_some() {
            self.sight("a drain is shortened");
        }
    }

    /// When the drain ends that has to begin now, or is to end earlier.
    fn drain(&mut self, cause: ShutdownCause, limit: Duration) -> Option<Time> {
        let until = self.now.after(limit);
        let counts = self.drains.drain.map_or(true, |(known, _)| until < known);
        if counts {
            self.drains.drain = Some((until, cause));
        }
        counts.then_some(until)
    }

    fn signal(&mut self, cause: ShutdownCause) -> (Option<Time>, Option<ShutdownCause>) {
        match self.limits.signal_drain {
            Some(limit) if !self.drains.signalled => {
                self.drains.signalled = true;
                (self.drain(cause, limit), None)
            }
            _ => (None, Some(cause)),
        }
    }

    /// What waits in queues in vain is refused, and nothing else that waits in them.
    pub(super) fn part_with_residents(&mut self, effects: &[Effect]) {
        let queued = |task: &TaskId| {
            let slot = self.records[task].slot;
            self.slots.queue(slot).contains(task)
        };
        let all: Vec<_> = self.records.keys().copied().collect();
        let (queued, others): (Vec<_>, Vec<_>) = all.into_iter().partition(queued);
        let in_vain = queued.into_iter().filter(|id| self.is_in_vain(*id));
        let mut expected: BTreeSet<_> = in_vain.collect();
        // A paused task that comes to own a slot does not end, so those behind it wait in vain.
        let owns = |effect: &Effect| match effect {
            Effect::Publish(Notice::Admitted { task }) => Some(task.id),
            _ => None,
        };
        for heir in effects.iter().filter_map(owns) {
            let record = &self.records[&heir];
            let behind = self.slots.queue(record.slot);
            let behind = behind.iter().filter(|id| record.paused_at.is_some() && **id != heir);
            expected.extend(behind.copied());
        }
        let leaves = |effect: &Effect| match effect {
            Effect::Publish(Notice::TaskClosing { attempt }) => Some(attempt.task.id),
            Effect::Publish(Notice::Rejected { task, why: Rejection::ShuttingDown }) => {
                Some(task.id)
            }
            _ => None,
        };
        let mut left: Vec<_> = effects.iter().filter_map(leaves).collect();
        // Those that are stopped may close as well.
        left.retain(|id| !others.contains(id));
        left.sort_unstable();
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(left, expected, "what waits in vain is refused");
        if !left.is_empty() {
            self.sight("queued in vain");
        }
        for id in others {
            let record = self.records.get_mut(&id).expect("its key");
            if record.is_held() {
                record.drained();
            }
        }
    }

    /// Whether a drain that begins refuses a task in a queue.
    fn is_in_vain(&self, task: TaskId) -> bool {
        let record = &self.records[&task];
        let owner = self.slots.owner(record.slot).expect("it waits for an owner");
        let owner_ends = self.records[&owner].plan.at_drain != AtDrain::GoOn;
        let resident = record.plan.restart == RestartPolicy::Always;
        let word = record.plan.at_drain != AtDrain::GoOn;
        resident || word || !(owner_ends || self.will_end(owner))
    }

    /// Whether a drain that is under way refuses a submission.
    pub(super) fn is_refused_in_drain(&self, task: TaskAddr) -> bool {
        let record = &self.records[&task.id];
        let resident = record.plan.restart == RestartPolicy::Always;
        let in_vain = match (self.slots.owner(record.slot), record.policy) {
            (None, _) | (_, AdmissionPolicy::DropIfRunning) => false,
            (_, AdmissionPolicy::Replace) => resident,
            (Some(owner), _) => resident || !self.will_end(owner),
        };
        self.drains.drain.is_some() && (record.plan.at_drain != AtDrain::GoOn || in_vain)
    }

    fn will_end(&self, task: TaskId) -> bool {
        let record = &self.records[&task];
        let stopped = record.is_closing || record.is_asked() || record.is_announced();
        let by_itself = record.plan.restart != RestartPolicy::Always && record.paused_at.is_none();
        stopped || by_itself || record.finishes
    }

    fn is_waited_for(&self, task: TaskId) -> bool {
        let record = &self.records[&task];
        record.is_decided() && !record.is_announced() && self.will_end(task)
    }

    pub(super) fn unfinished(&mut self, task: TaskAddr) {
        assert!(self.drains.drain.is_some(), "{task:?} is unfinished without a drain");
        assert!(self.is_waited_for(task.id), "{task:?} is unfinished though it was not awaited");
        assert!(self.drains.unfinished.insert(task.id), "{task:?} is unfinished twice");
    }

    pub(super) fn note_what_is_left(&self) {
        let left = self.records.keys().filter(|task| self.is_waited_for(**task)).count();
        let n_unfinished = self.drains.unfinished.len();
        assert_eq!(n_unfinished, if self.drains.drain.is_some() { left } else { 0 });
    }
}
