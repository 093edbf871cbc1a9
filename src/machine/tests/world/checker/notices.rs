//! What the notices say, against the records.

use super::Checker;
use crate::machine::{End, Ending, Notice};
use crate::vocabulary::id::{ClassKey, TaskAddr};
use crate::vocabulary::policy::AbandonPolicy;

impl Checker {
    pub(super) fn notice(&mut self, notice: Notice) {
        let now = self.now;
        match notice {
            Notice::Admitted { task } => {
                let record = self.record(task);
                record.admitted(now);
                let (slot, class) = (record.slot, record.plan.class);
                if let Some(before) = self.slots.owner(slot) {
                    let left = self.records[&before].is_announced();
                    assert!(left && !self.stuck.holds(before), "a slot has two owners");
                    self.slots.vacate(slot, before);
                    // Only within a class can one take the place of the other.
                    if self.records[&before].plan.class == class {
                        self.permits.heir(before, task.id);
                        self.classes.heir(class, before, task.id);
                    }
                }
                self.slots.admit(slot, task.id);
            }
            Notice::WaitingForPermit { task, class } => {
                // So no other interval has anything to change.
                self.record(task).waits = None;
                self.waits(task, class);
            }
            Notice::AttemptStarting { attempt } => {
                self.record(attempt.task).starting(attempt.number);
            }
            Notice::AttemptSilent { .. }
            | Notice::AttemptResponsive { .. }
            | Notice::AttemptReady { .. }
            | Notice::AttemptStable { .. }
            | Notice::AttemptsTooShort { .. }
            | Notice::AttemptOverdue { .. }
            | Notice::AttemptEnded { .. }
            | Notice::AttemptAbandoned { .. }
            | Notice::AttemptReturned { .. } => self.attempt_notice(notice),
            Notice::RetryScheduled { attempt, delay, cause } => {
                let sights = self.record(attempt.task).retry(attempt.number, delay, cause);
                self.sights.extend(sights);
            }
            Notice::TaskPaused { task } => self.gives_up_place(task),
            Notice::TaskResumed { task } => self.record(task).resumed(now),
            Notice::RunScheduled { attempt, delay } => {
                self.record(attempt.task).pause(attempt.number, delay);
            }
            Notice::Rejected { task, why } => self.task_ends(task, End::Rejected(why)),
            Notice::TaskEnded { task, end, .. } => self.task_ends(task, end),
            Notice::TaskClosing { attempt } => self.closes(attempt.task),
            Notice::ClosingReturned { attempt, .. } => {
                self.stuck.drop_returned(attempt.task.id);
                self.leave_lines(attempt.task.id, End::Completed);
            }
            Notice::ClosingAbandoned { .. }
            | Notice::Submitted { .. }
            | Notice::Queued { .. }
            | Notice::SlotTransition { .. }
            | Notice::DrainRequested { .. }
            | Notice::ShutdownRequested { .. }
            | Notice::ShutdownEnded => {}
        }
    }

    fn waits(&mut self, task: TaskAddr, class: Option<ClassKey>) {
        let own = self.record(task).plan.class;
        if let Some(class) = class {
            assert_eq!(own, Some(class), "{task:?} waits for another class");
            self.classes.wait(class, task.id);
            return self.sight("waits for its class");
        }
        if self.classes.take(own, task.id) {
            self.sight("a permit of a class is inherited");
        }
        self.permits.wait(task.id);
    }

    fn attempt_notice(&mut self, notice: Notice) {
        let now = self.now;
        match notice {
            Notice::AttemptSilent { attempt, .. } => {
                self.record(attempt.task).live(attempt.number).silent();
                self.sight("silent");
            }
            Notice::AttemptResponsive { attempt } => {
                self.record(attempt.task).live(attempt.number).resumed(now);
                self.sight("resumed");
            }
            Notice::AttemptReady { attempt, .. } => {
                self.record(attempt.task).live(attempt.number).ready();
                self.sight("ready");
            }
            Notice::AttemptStable { attempt, failures } => {
                let ends = self.record(attempt.task).stable(now, attempt.number, failures);
                self.sight(if ends { "stable, and the streak is over" } else { "stable" });
            }
            Notice::AttemptsTooShort { attempt, .. } => {
                self.record(attempt.task).too_short(attempt.number);
            }
            Notice::AttemptOverdue { attempt, .. } => {
                self.record(attempt.task).live(attempt.number).overdue();
            }
            Notice::AttemptEnded { attempt, told, ending, .. } => {
                self.record(attempt.task).ended(attempt.number, told, ending);
                self.give_back(attempt.task.id);
                if ending == Ending::Unresponsive {
                    self.sight("unresponsive");
                }
            }
            Notice::AttemptAbandoned { attempt, released, at_limit, .. } => {
                let record = self.record(attempt.task);
                record.abandoned(now, attempt.number, released);
                let to_release = record.plan.abandon == AbandonPolicy::Release;
                assert_eq!(at_limit, to_release && !released, "{attempt:?}");
                self.stuck.abandoned(attempt, to_release, released);
                self.sight(if released {
                    "released"
                } else if to_release {
                    "held at the cap"
                } else {
                    "held"
                });
            }
            Notice::AttemptReturned { attempt, .. } => {
                self.record(attempt.task).attempt(attempt.number).noted();
                if self.record(attempt.task).attempt(attempt.number).was_fatal() {
                    self.sight("a fatal error came late");
                }
                if self.stuck.returned(attempt) {
                    self.give_back(attempt.task.id);
                } else if self.record(attempt.task).attempt != attempt.number {
                    self.sight("returned beside a later attempt");
                } else {
                    self.sight("returned after its release");
                }
            }
            _ => unreachable!("{notice:?} is not about what an attempt does"),
        }
    }
}
