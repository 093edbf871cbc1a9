//! The end of a supervisor: the door closes, the lanes finish, the threads leave, the report is
//! made.

use std::sync::Arc;

use super::garbage::Garbage;
use super::perform::Performer;
use crate::machine::{End, Input};
use crate::output::outcome::Outcome;
use crate::output::report::{RunReport, ShutdownReport};
use crate::task::envelope::Envelope;
use crate::task::record::Record;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::time::Time;

/// What is known of the shutdown under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shutdown {
    cause: ShutdownCause,
    began: Time,
    ended: Time,
    stopped: usize,
    rejected: usize,
}

impl Shutdown {
    pub(super) const fn begin(cause: ShutdownCause, now: Time) -> Self {
        Self { cause, began: now, ended: now, stopped: 0, rejected: 0 }
    }

    pub(super) fn end(&mut self, now: Time) {
        self.ended = now;
    }

    /// Counts a task that ended since it began.
    pub(super) fn count(&mut self, task: TaskId, end: End) {
        match end {
            // This one ended before the shutdown that it is the cause of.
            _ if self.cause == ShutdownCause::TaskEnded(task) => {}
            End::Rejected(_) => self.rejected += 1,
            End::Abandoned { .. } => {}
            End::Completed
            | End::Cancelled { .. }
            | End::Failed
            | End::Fatal
            | End::Panicked
            | End::TimedOut
            | End::Unresponsive => self.stopped += 1,
        }
    }
}

impl Performer {
    pub(super) fn close_door(&mut self) {
        let door = Arc::clone(&self.door);
        door.close_door();
        door.empty_intake().for_each(|envelope| self.refuse(envelope));
    }

    /// Refuses what was handed over while the door was closing. It was accepted, so it counts.
    pub(super) fn refuse(&mut self, envelope: Envelope) {
        let refused = envelope.len();
        self.tally.count_rejected(refused);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.rejected += refused;
        }
        self.garbage.extend(envelope.refuse().into_iter().map(Garbage::Spec));
    }

    /// Gives up a reference to a record that may be the last one, and bring user values with it.
    pub(super) fn let_go(&mut self, record: Option<Arc<Record>>) {
        let over = record.filter(|record| record.outcome().is_some_and(|it| it.is_failure()));
        self.garbage.extend(over.map(Garbage::Record));
    }

    /// Lets the lanes finish, once the last thread was looked at.
    pub(super) fn close_lanes(&mut self) {
        if self.examined_open > 0 || !self.examinees.is_empty() {
            return;
        }
        self.lanes_open = self.publisher.close();
        if self.lanes_open == 0 {
            self.feedback.push_back(Input::EventsFlushed);
        }
    }

    /// A lane has served its last event.
    pub(super) fn lane_flushed(&mut self) {
        self.lanes_open = self.lanes_open.saturating_sub(1);
        if self.lanes_open == 0 {
            self.feed(Input::EventsFlushed);
        }
    }

    /// The last word, once everything has ended.
    pub(super) fn into_report(mut self) -> RunReport {
        let panicked = Shutdown::begin(ShutdownCause::ControllerPanicked, self.now);
        let shutdown = self.shutdown.unwrap_or(panicked);
        let abandoned = self.abandoned();
        let stuck = u32::try_from(abandoned.len()).unwrap_or(u32::MAX);
        for job in self.jobs.drain() {
            if job.promise.0.outcome().is_none() {
                self.tally.count(&Outcome::Lost, job.plan.shutdown_on_end, || job.task_ref());
            }
            self.garbage.extend(job.into_user_values());
        }
        self.garbage.extend(self.workers.take_dedicated());
        for released in std::mem::take(&mut self.ledger).into_records() {
            self.let_go(Some(released));
        }
        self.manage_threads();
        // The news of that may have brought more.
        self.offer_garbage();
        // Idle workers leave within the time that the last events have.
        let due = shutdown.ended.after(self.machine.limits().event_flush);
        let values_leaked = self.workers.close(stuck, due);
        let behind_door = self.door.refused_behind_door();
        self.tally.count_rejected(behind_door);
        self.tally.into_report(ShutdownReport {
            cause: shutdown.cause,
            elapsed: shutdown.began.until(shutdown.ended),
            stopped: shutdown.stopped,
            rejected: shutdown.rejected + behind_door,
            abandoned,
            events_dropped: self.publisher.give_up(),
            values_leaked,
        })
    }

    /// After a panic of the controller: nobody is left waiting, every body is told.
    pub(super) fn give_up(&mut self) {
        self.close_door();
        for job in self.jobs.iter() {
            let Some(cell) = &job.cell else { continue };
            if let Ok(load) = cell.revoke() {
                self.garbage.push(Garbage::Body(load.body));
                self.garbage.extend(load.inherited.into_iter().map(Garbage::Leftover));
            } else {
                cell.tell(CancelReason::Shutdown, self.now, Time::NEVER);
                if cell.has_hooks() {
                    self.workers.run_hooks(cell);
                }
            }
        }
        self.shutdown = None;
        self.publisher.close();
        self.signals = None;
    }
}
