//! What the controller answers when asked how things are.

use std::sync::Arc;

use super::perform::Performer;
use crate::machine::{State, Task};
use crate::output::snapshot::{
    PermitCounts, SlotSnapshot, SlotStatus, Snapshot, TaskSnapshot, WorkerCounts,
};
use crate::task::record::Record;
use crate::vocabulary::id;
use crate::vocabulary::reason::{CancelReason, TaskState};
use crate::vocabulary::time::Time;

impl Performer {
    pub(super) fn find(&self, record: &Record) -> Option<id::TaskAddr> {
        let task = id::TaskAddr { key: record.key()?, id: record.id };
        let found = self.machine.tasks().get(task.key)?;
        (found.task == task).then_some(task)
    }

    /// The claim of an attempt that the machine takes for unclaimed, since nobody needed to report
    /// it.
    pub(super) fn unreported_claim(&self, task: &Task) -> Option<(id::AttemptRef, Time)> {
        let State::Starting { .. } = task.state else { return None };
        let at = self.jobs.get(task.task.key)?.cell.as_ref()?.claimed_at()?;
        Some((id::AttemptRef { task: task.task, attempt: task.attempt }, at))
    }

    pub(super) fn task(&self, id: id::TaskId) -> Option<Arc<Record>> {
        let mut records = self.jobs.iter().map(|job| &job.promise.0);
        let found = records.find(|record| record.id == id)?;
        Some(Arc::clone(found)).filter(|record| record.outcome().is_none())
    }

    pub(super) fn owner(&self, slot: &str) -> Option<Arc<Record>> {
        let slot = self.slots.key(slot)?;
        let owner = self.machine.slots().get(slot).owner?;
        Some(Arc::clone(&self.jobs.get(owner)?.promise.0))
    }

    pub(super) fn state(&self, record: &Record) -> TaskState {
        // An abandoned attempt outlives its task's outcome.
        let found = self.find(record).filter(|_| record.outcome().is_none());
        let Some(task) = found else { return TaskState::Over };
        self.machine.tasks().get(task.key).map_or(TaskState::Over, |task| {
            if self.unreported_claim(task).is_some() {
                TaskState::Running
            } else {
                task.state.name()
            }
        })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let machine = &self.machine;
        let tasks = machine.tasks().iter().filter_map(|task| self.task_snapshot(task));
        let mut tasks: Vec<_> = tasks.collect();
        tasks.sort_by_key(|task| task.task.id);
        let counts = self.workers.counts();
        Snapshot {
            at: self.now.since_start(),
            shutting_down: !machine.is_running(),
            tasks,
            slots: self.slot_snapshots(),
            workers: WorkerCounts {
                threads: self.workers.threads() as usize,
                idle: counts.idle as usize,
                offered: counts.queued as usize,
            },
            permits: PermitCounts {
                held: machine.permits_held() as usize,
                limit: machine.limits().max_concurrent.map(|limit| limit as usize),
                waiting: machine.waiting_for_permit() as usize,
            },
            abandoned: self.abandoned(),
        }
    }

    fn slot_snapshots(&self) -> Vec<SlotSnapshot> {
        let slots = self.machine.slots().iter().filter_map(|(key, slot)| {
            let owner = slot.owner.and_then(|owner| self.machine.tasks().get(owner));
            Some(SlotSnapshot {
                key: Arc::clone(self.slots.name(key)?),
                owner: owner.map(|task| task.task.id),
                status: owner.map_or(SlotStatus::Idle, status),
                queued: slot.queue.len as usize,
            })
        });
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by(|a, b| a.key.cmp(&b.key));
        slots
    }

    fn task_snapshot(&self, task: &Task) -> Option<TaskSnapshot> {
        let job = self.jobs.get(task.task.key)?;
        let claim = self.unreported_claim(task);
        let due = self.machine.due(task.task.key);
        let cell = job.cell.as_ref().filter(|_| task.state.holds_permit());
        let (told, silent) = match task.state {
            State::Stopping { told, .. } | State::Abandoned { told, .. } => (Some(told), false),
            State::Running { watch, .. } => (None, watch.is_some_and(|watch| watch.silent)),
            State::Intake
            | State::Queued
            | State::Runnable
            | State::Starting { .. }
            | State::Waiting(_)
            | State::Over => (None, false),
        };
        Some(TaskSnapshot {
            task: job.task_ref(),
            state: if claim.is_some() { TaskState::Running } else { task.state.name() },
            attempt: task.attempt,
            failures: task.streak,
            since: claim.map_or(task.since, |(_, at)| at).since_start(),
            next_wake: (!due.is_never()).then(|| due.since_start()),
            last_failure: job.last_failure.clone().filter(|_| task.streak > 0),
            thread: cell.and_then(|cell| cell.thread()).map(|thread| thread.name),
            interrupted: matches!(told, Some(CancelReason::Timeout | CancelReason::Unresponsive)),
            silent,
            mark: cell.and_then(|cell| cell.pulse.last_mark()),
        })
    }
}

fn status(owner: &Task) -> SlotStatus {
    match owner.state.terminating_since(owner.since) {
        Some(since) => SlotStatus::Terminating { since: since.since_start() },
        None => SlotStatus::Running { since: owner.owner_since.since_start() },
    }
}
