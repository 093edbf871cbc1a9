//! Carries out the machine's orders with the user values. The answer to an order that may come too
//! late goes back to the machine as an input.

#[cfg(all(unix, feature = "process"))]
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::machine::{Effect, End, Finality, GroupNotice, Input, Notice};
use crate::output::event::EventKind;
use crate::runtime::notice::{kind_of, outcome_of, task_of, Details};
use crate::runtime::pool::{Attempt, Dedicated, Work};
use crate::runtime::publish::About;
use crate::runtime::values::Belongings;
#[cfg(all(unix, feature = "process"))]
use crate::task::record::Record;
use crate::vocabulary::answer::{AbandonAnswer, ClosingAnswer, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptAddr, ClassIndex, GroupAddr, TaskAddr};
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::reason::{CancelReason, Decision, FailureCause, ShutdownCause};
use crate::vocabulary::time::Time;

impl Controller {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Decide { task, decision } => {
                self.decide(task, decision);
            }
            Effect::Start { attempt, finality, class_index } => {
                self.start(attempt, finality, class_index);
            }
            Effect::Revoke { attempt } => self.revoke(attempt),
            Effect::Tell { attempt, reason, grace_until } => {
                self.tell(attempt, reason, grace_until);
            }
            Effect::Finalize { attempt, grace_until } => {
                if let Some(cell) = self.values.cell(attempt) {
                    cell.finalize(grace_until);
                }
            }
            Effect::Abandon { attempt } => self.abandon(attempt),
            Effect::Close { attempt, reason } => self.close(attempt, reason),
            Effect::AbandonClosing { attempt } => {
                let cell = self.values.cell(attempt);
                let answer = cell.map_or(ClosingAnswer::Dropped, |cell| cell.abandon_closing());
                self.feedback.push_back(Input::ClosingAnswered { attempt, answer });
            }
            Effect::Look { attempt } => {
                self.look(attempt);
            }
            Effect::Examine { attempt } => {
                if let Some(cell) = self.values.cell(attempt) {
                    self.examiner.push(cell);
                }
            }
            Effect::NoteFailure { attempt, cause, last } => {
                self.note_failure(attempt.task, cause, last);
            }
            Effect::Release { attempt, reason } => {
                if let Some(belongings) = self.values.get_mut(attempt.task.key) {
                    self.released.enter(attempt, belongings, reason, self.now);
                }
            }
            Effect::ForgetReleased { attempt, closing } => self.released.remove(attempt, closing),
            Effect::Deliver { task, end, streak } => self.deliver(task, end, streak),
            Effect::Forget { task } => {
                self.required.forget(task.id);
                self.values.remove(task);
            }
            Effect::ForgetSlot { slot } => self.values.slots.forget(slot.0),
            Effect::Answer(answer) => self.answer = Some(answer),
            Effect::Publish(notice) => self.publish(notice),
            Effect::PublishGroup { group, notice } => self.publish_group(group, notice),
            Effect::ForgetGroup { group } => self.groups.forget(group),
            Effect::BeginDrain { until } => self.begin_drain(until),
            Effect::NoteUnfinished { task } => self.note_unfinished(task),
            Effect::CloseDoor { cause } => {
                self.shutdown.begin(cause, self.now, self.real);
                self.begin_stopping(Duration::ZERO);
                self.close_door();
            }
            Effect::RestoreSignals => self.shutdown.signals = None,
            Effect::FlushEvents => {
                self.shutdown.note_complete(self.now, self.real);
                self.close_lanes();
            }
            Effect::Finish => self.shutdown.finished = true,
        }
    }

    fn decide(&mut self, task: TaskAddr, decision: Decision) {
        let Some((belongings, kept)) = self.values.with_body(task.key) else { return };
        belongings.decide(kept, decision);
        if !matches!(decision, Decision::Rejected(_)) {
            self.required.note_accepted(task.id, &belongings.record().name);
            self.look_at_watchdog(task);
        }
    }

    fn look(&mut self, attempt: AttemptAddr) {
        let cell = self.values.cell(attempt);
        let alive = cell.is_some_and(|cell| cell.pulse.look(self.now));
        if alive && self.required.note_alive(attempt.task.id, attempt.number) {
            if let Some(link) = &mut self.service {
                link.service.touch();
            }
        }
        self.feedback.push_back(Input::Looked { attempt, alive });
    }

    fn note_failure(&mut self, task: TaskAddr, cause: FailureCause, last: Option<NoRetry>) {
        if let Some(belongings) = self.values.get_mut(task.key) {
            belongings.note_failure(cause, last);
        }
        self.required.note_failure(task.id, self.now);
    }

    fn begin_drain(&mut self, until: Time) {
        self.shutdown.begin_drain(until, self.now);
        self.begin_stopping(self.now.until(until));
        self.door.close_to_others();
    }

    fn note_unfinished(&mut self, task: TaskAddr) {
        let belongings = self.values.get(task.key);
        self.shutdown.note_unfinished(|| belongings.map(Belongings::task_ref));
    }

    fn start(&mut self, attempt: AttemptAddr, finality: Finality, class_index: Option<ClassIndex>) {
        let failures = self.machine.tasks().get(attempt.task.key).map_or(0, |task| task.streak);
        let Some((belongings, kept)) = self.values.with_body(attempt.task.key) else { return };
        let cell = belongings.load(kept, attempt, class_index, failures);
        // If nothing depends on the claim, it is reported with the return, which saves a message.
        let required = self.required.contains(attempt.task.id);
        let watched = required || self.publisher.has_subscribers() || failures > 0;
        let plan = &belongings.plan;
        let is_member = belongings.record().group().is_some();
        let reports_claim = watched || plan.watchdog.is_some() || plan.has_deadline() || is_member;
        let attempt = Attempt { cell, finality, reports_claim, no_thread: None };
        match belongings.dedicated().cloned().map(Box::new) {
            Some(options) => {
                let offered_at = self.real;
                self.pool.push_dedicated(Dedicated { attempt, options, offered_at });
            }
            None => self.pool.push(Work::Attempt(attempt)),
        }
    }

    fn revoke(&mut self, attempt: AttemptAddr) {
        let Some((belongings, kept)) = self.values.with_body(attempt.task.key) else { return };
        let Some(answer) = belongings.revoke(kept) else { return };
        // Of an attempt with a thread of its own, nothing lies in the queue.
        if answer == RevokeAnswer::Revoked && belongings.dedicated().is_none() {
            self.pool.note_revoked();
        }
        self.feedback.push_back(Input::RevokeAnswered { attempt, answer });
    }

    fn tell(&mut self, attempt: AttemptAddr, reason: CancelReason, grace_until: Time) {
        let Some(cell) = self.values.cell(attempt) else { return };
        let answer = cell.tell(reason, self.now, grace_until);
        if answer == TellAnswer::Told {
            if cell.has_hooks() {
                self.pool.push_hooks(cell);
            }
            if self.publisher.has_subscribers() {
                let grace = Some(self.now.until(grace_until)).filter(|_| !grace_until.is_never());
                let kind = EventKind::AttemptStopping { attempt: attempt.number, reason, grace };
                self.publisher.publish(self.now, About::Task(&cell.record), kind);
            }
        }
        self.feedback.push_back(Input::TellAnswered { attempt, answer });
    }

    fn abandon(&mut self, attempt: AttemptAddr) {
        let cell = self.values.cell(attempt);
        let answer = cell.map_or(AbandonAnswer::NotAbandoned, |cell| cell.abandon());
        // Nobody else may be able to any more.
        #[cfg(all(unix, feature = "process"))]
        if let AbandonAnswer::Abandoned { .. } = answer {
            self.kill_processes_of(attempt);
        }
        self.feedback.push_back(Input::AbandonAnswered { attempt, answer });
    }

    #[cfg(all(unix, feature = "process"))]
    fn kill_processes_of(&mut self, attempt: AttemptAddr) {
        let record = self.values.get(attempt.task.key).map(|it| Arc::clone(it.record()));
        for pid in self.door.children.kill_attempt(attempt) {
            let why = "its attempt is abandoned".into();
            let kind = EventKind::ProcessKilled { attempt: attempt.number, pid, why };
            if let Some(record) = &record {
                self.tell_of_process(record, kind);
            }
        }
    }

    /// Without a subscriber, what follows for the attempt is warning enough, except where a process
    /// had to be killed: of a helper, nothing else tells that.
    #[cfg(all(unix, feature = "process"))]
    pub(super) fn tell_of_process(&mut self, record: &Record, kind: EventKind) {
        let is_killed = matches!(kind, EventKind::ProcessKilled { .. });
        if is_killed || self.publisher.has_subscribers() {
            self.publisher.publish(self.now, About::Task(record), kind);
        }
    }

    fn close(&mut self, attempt: AttemptAddr, reason: CancelReason) {
        let belongings = self.values.with_body(attempt.task.key);
        match belongings.and_then(|(it, kept)| it.close(kept, attempt, reason)) {
            Some(cell) => self.pool.push_close(cell),
            None => self.feedback.push_back(Input::Closed { attempt }),
        }
    }

    fn deliver(&mut self, task: TaskAddr, end: End, streak: u32) {
        let Some(belongings) = self.values.get(task.key) else { return };
        let outcome = outcome_of(end, belongings.error.as_ref());
        let is_cause = self.shutdown.is_caused_by(task.id);
        self.tally.count(&outcome, is_cause, streak, belongings);
        self.shutdown.count(task.id, end);
        self.groups.note_outcome(belongings.record(), &outcome);
        let failed = outcome.is_failure();
        self.required.note_end(task.id, || failed.then(|| belongings.task_ref()));
        // Whoever has the outcome finds the events that led to it in the lanes.
        self.publisher.deliver();
        belongings.record().end(outcome);
    }

    fn publish(&mut self, notice: Notice) {
        self.note_health(notice);
        let values = &self.values;
        let error_of = |task: TaskAddr| values.get(task.key).is_some_and(|it| it.error.is_some());
        if !self.publisher.wants(notice, &self.machine, error_of) {
            return;
        }
        let about = task_of(notice);
        let belongings = about.and_then(|task| self.values.get(task.key));
        // The return of a released attempt does not concern its task, which may be in another
        // attempt or no longer exist.
        let released = match notice {
            Notice::AttemptReturned { attempt, .. } => self.released.find(attempt, false),
            Notice::ClosingReturned { attempt, .. } => self.released.find(attempt, true),
            _ => None,
        };
        let (about, details) = match (released, belongings) {
            (Some(it), _) => {
                let (error, cell) = (it.error.as_ref(), Some(&it.cell));
                let details = Details { error, cell, ..Details::default() };
                (About::Task(&it.cell.record), details)
            }
            (None, Some(it)) => {
                let not_retried = match notice {
                    Notice::TaskEnded { streak, .. } => it.not_retried(streak),
                    _ => None,
                };
                let (error, cell) = (it.error.as_ref(), it.cell.as_ref());
                let details = Details { error, cell, not_retried, ..Details::default() };
                (About::Task(it.record()), details)
            }
            (None, None) => {
                let culprit = match notice {
                    Notice::ShutdownRequested { cause: ShutdownCause::TaskEnded(id) } => {
                        let mut all = self.values.iter().map(Belongings::record);
                        all.find(|record| record.id == id).map(|record| record.task_ref())
                    }
                    _ => None,
                };
                (About::Supervisor, Details { culprit, ..Details::default() })
            }
        };
        let kind = kind_of(notice, self.now, &self.door.classes, details);
        self.publisher.publish(self.now, about, kind);
        if matches!(notice, Notice::AttemptAbandoned { at_limit: true, .. }) {
            self.warn_of_limit();
        }
    }

    /// From now on, an attempt that hangs may hold up others, which is not what its spec asks for.
    fn warn_of_limit(&mut self) {
        if !std::mem::replace(&mut self.warned_of_limit, true) {
            let most = self.machine.limits().max_abandoned;
            self.pool.push(Work::Warn(format!(
                "max_abandoned, {most}, are stuck: abandoned attempts are no longer released, but \
                 hold their slots and permits until they return"
            )));
        }
    }

    /// What a notice says of a required task.
    fn note_health(&mut self, notice: Notice) {
        match notice {
            Notice::AttemptSilent { attempt, .. } => self.required.note_silent(attempt.task.id),
            Notice::AttemptReady { attempt, .. } => {
                self.required.note_ready(attempt.task.id);
                self.note_may_be_ready();
            }
            Notice::AttemptStable { attempt, .. } => {
                // What is expected to return proves nothing by running.
                let task = self.machine.tasks().get(attempt.task.key);
                if task.is_some_and(|task| task.plan.timeout.is_none()) {
                    self.required.note_works(attempt.task.id);
                }
            }
            _ => {}
        }
    }

    fn publish_group(&mut self, addr: GroupAddr, notice: GroupNotice) {
        let Some(group) = self.groups.get_mut(addr) else { return };
        let values = &self.values;
        let kind = group.note(notice, |task| values.get(task.key).map(Belongings::task_ref));
        if notice == GroupNotice::Ended {
            self.tally.count_group(&group.told);
        }
        if self.publisher.wants_of_group(notice) {
            self.publisher.publish(self.now, About::Group(&group.record().name), kind);
        }
    }
}
