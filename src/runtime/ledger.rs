//! The ledger of abandoned attempts: who outlived its grace and still runs, with what is known of
//! it.

use std::sync::Arc;

use super::perform::Performer;
use super::tables::Job;
use super::worker::Examinee;
use crate::machine::State;
use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::output::report::AbandonedAttempt;
use crate::platform::stall::Stall;
use crate::task::cell::{Cell, Thread};
use crate::task::record::Record;
use crate::vocabulary::id::{AttemptRef, TaskRef};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// An attempt that its task does not wait for any more.
pub(super) struct Released {
    pub(super) attempt: AttemptRef,
    pub(super) task: TaskRef,
    pub(super) cell: Arc<Cell>,
    pub(super) since: Time,
    pub(super) stall: Option<Box<Stall>>,
    /// What it returned, when it has.
    pub(super) error: Option<TaskError>,
}

#[derive(Default)]
pub(super) struct Ledger(Vec<Released>);

impl Ledger {
    pub(super) fn enter(&mut self, attempt: AttemptRef, job: &mut Job, since: Time) {
        let Some(cell) = job.cell.take() else { return };
        let (task, stall) = (job.task_ref(), job.stall.take());
        self.0.push(Released { attempt, task, cell, since, stall, error: None });
    }

    /// The records of those that have not come back.
    pub(super) fn into_records(self) -> impl Iterator<Item = Arc<Record>> {
        self.0.into_iter().map(|released| Arc::clone(&released.cell.record))
    }

    pub(super) fn find(&mut self, attempt: AttemptRef) -> Option<&mut Released> {
        self.0.iter_mut().find(|released| released.attempt == attempt)
    }

    pub(super) fn remove(&mut self, attempt: AttemptRef) -> Option<Released> {
        let found = self.0.iter().position(|released| released.attempt == attempt)?;
        Some(self.0.swap_remove(found))
    }
}

impl Performer {
    /// Has the thread of a stuck attempt looked at, where that can be done.
    pub(super) fn examine(&mut self, attempt: AttemptRef) {
        let Some(cell) = self.cell(attempt).cloned() else { return };
        if cell.thread().is_some_and(|thread| thread.tid.is_some()) {
            self.examinees.push(Examinee { attempt, cell });
        }
    }

    /// A thread was looked at.
    pub(super) fn examined(&mut self, attempt: AttemptRef, stall: Option<Stall>) {
        self.examined_open -= 1;
        let released = self.ledger.find(attempt).map(|it| (it.task.clone(), &mut it.stall));
        let known = released.or_else(|| {
            let job = self.jobs.get_mut(attempt.task.key)?;
            let task = job.task_ref();
            let latest = job.cell.as_ref()?.attempt == attempt;
            latest.then_some((task, &mut job.stall))
        });
        if let (Some(stall), Some((task, place))) = (stall, known) {
            *place = Some(Box::new(stall.clone()));
            let kind = EventKind::StallReport { attempt: attempt.attempt, stall };
            self.publisher.publish(self.now, Some(task), kind);
        }
        if self.draining && self.lanes_open == 0 {
            self.close_lanes();
            self.feed_pending();
        }
    }

    /// Everything that outlived its grace and still runs.
    pub(super) fn abandoned(&self) -> Vec<AbandonedAttempt> {
        let held = self.machine.tasks().iter().filter_map(|task| {
            let State::Abandoned { .. } = task.state else { return None };
            let job = self.jobs.get(task.task.key)?;
            let stall = job.stall.clone();
            Some(entry(job.task_ref(), job.cell.as_ref()?, task.since, stall))
        });
        let released = self.ledger.0.iter().map(|it| {
            let entry = entry(it.task.clone(), &it.cell, it.since, it.stall.clone());
            AbandonedAttempt { released: true, ..entry }
        });
        let hooks = self.workers.stuck_hooks().into_iter().map(|hook| {
            let record = &hook.cell.record;
            let entry = entry(record.task_ref(), &hook.cell, hook.since, None);
            let Thread { name, tid } = hook.thread;
            AbandonedAttempt { hook: true, thread: Some(name), tid, ..entry }
        });
        held.chain(released).chain(hooks).collect()
    }
}

fn entry(task: TaskRef, cell: &Cell, since: Time, stall: Option<Box<Stall>>) -> AbandonedAttempt {
    let thread = cell.thread();
    AbandonedAttempt {
        task,
        attempt: cell.attempt.attempt,
        since: since.since_start(),
        reason: cell.reason().unwrap_or(CancelReason::Stop),
        tid: thread.as_ref().and_then(|thread| thread.tid),
        thread: thread.map(|thread| thread.name),
        mark: cell.pulse.last_mark(),
        stall: stall.map(|stall| *stall),
        released: false,
        hook: false,
    }
}
