//! Carries out the machine's effects, in order, with the user's values it keeps. A late order comes
//! back as an input.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::finish::Shutdown;
use super::garbage::Garbage;
use super::ledger::Ledger;
use super::publish::Publisher;
use super::tables::{Job, Jobs, Plans, SlotNames};
use super::worker::{self, Attempt, Dedicated, Examinee};
use super::workers::{News, Workers};
use super::Returned;
use crate::machine::{Answer, Effect, End, Finality, Input, Machine, Notice, Submission};
use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::output::outcome::Outcome;
use crate::runtime::tally::Tally;
use crate::task::cell::{Allowance, Cell, Load};
use crate::task::door::Door;
use crate::task::envelope::{Entries, Entry, Envelope};
use crate::task::leftover::Leftover;
use crate::task::settings::Settings;
use crate::vocabulary::answer::{AbandonAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptRef, TaskAddr};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::policy::{AbandonPolicy, AdmissionPolicy};
use crate::vocabulary::reason::{CancelReason, Decision, FailureCause};
use crate::vocabulary::time::Time;

pub(super) struct Performer {
    pub(super) door: Arc<Door>,
    pub(super) machine: Machine,
    pub(super) jobs: Jobs,
    pub(super) slots: SlotNames,
    plans: Plans,
    pub(super) workers: Workers,
    pub(super) publisher: Publisher,
    pub(super) now: Time,
    /// The answer to the request being served.
    answer: Option<Answer>,
    effects: Vec<Effect>,
    /// What late orders found.
    pub(super) feedback: VecDeque<Input>,
    /// User values of this turn, to be dropped by a worker.
    pub(super) garbage: Vec<Garbage>,
    pub(super) tally: Tally,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) ledger: Ledger,
    /// Stuck attempts of this turn, and those whose threads are being looked at.
    pub(super) examinees: Vec<Examinee>,
    pub(super) examined_open: usize,
    /// The lanes are to be closed.
    pub(super) draining: bool,
    /// Lanes that have not served their last event.
    pub(super) lanes_open: usize,
    /// Signals have their default effect while this is set.
    pub(super) signals: Option<super::signals::Listener>,
    pub(super) finished: bool,
}

impl Performer {
    pub(super) fn new(
        door: Arc<Door>,
        machine: Machine,
        workers: Workers,
        publisher: Publisher,
        defaults: Settings,
        signals: Option<super::signals::Listener>,
    ) -> Self {
        let plans = Plans::new(defaults, machine.limits().grace);
        Self {
            door,
            machine,
            jobs: Jobs::default(),
            slots: SlotNames::default(),
            plans,
            workers,
            publisher,
            now: Time::ZERO,
            answer: None,
            effects: Vec::new(),
            feedback: VecDeque::new(),
            garbage: Vec::new(),
            tally: Tally::default(),
            shutdown: None,
            ledger: Ledger::default(),
            examinees: Vec::new(),
            examined_open: 0,
            draining: false,
            lanes_open: 0,
            signals,
            finished: false,
        }
    }

    /// Hands one fact to the machine and carries out all that follows.
    pub(super) fn feed(&mut self, input: Input) {
        self.step(input);
        self.feed_pending();
    }

    pub(super) fn feed_pending(&mut self) {
        while let Some(input) = self.feedback.pop_front() {
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.step(self.now, input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
    }

    /// Hands a request to the machine and gives back its answer.
    pub(super) fn ask(&mut self, input: Input) -> Option<Answer> {
        self.answer = None;
        self.feed(input);
        self.answer.take()
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Decide { task, decision } => self.decide(task, decision),
            Effect::Start { attempt, finality } => self.start(attempt, finality),
            Effect::Revoke { attempt } => self.revoke(attempt),
            Effect::Tell { attempt, reason, grace_until } => {
                self.tell(attempt, reason, grace_until);
            }
            Effect::Finalize { attempt, grace_until } => {
                if let Some(cell) = self.cell(attempt) {
                    cell.finalize(grace_until);
                }
            }
            Effect::Abandon { attempt } => {
                let found = self.cell(attempt).and_then(|cell| cell.abandon());
                let answer = found
                    .map_or(AbandonAnswer::NotAbandoned, |last| AbandonAnswer::Abandoned { last });
                self.feedback.push_back(Input::AbandonAnswered { attempt, answer });
            }
            Effect::Look { attempt } => {
                let alive = self.cell(attempt).is_some_and(|cell| cell.pulse.look(self.now));
                self.feedback.push_back(Input::Looked { attempt, alive });
            }
            Effect::Examine { attempt } => self.examine(attempt),
            Effect::NoteFailure { attempt, cause } => {
                if let Some(job) = self.jobs.get_mut(attempt.task.key) {
                    let returned = job.error.as_ref().filter(|_| cause != FailureCause::Abandoned);
                    let old = job.last_failure.replace(certain(returned.cloned(), cause));
                    self.garbage.extend(old.map(Garbage::Error));
                }
            }
            Effect::Release { attempt } => {
                if let Some(job) = self.jobs.get_mut(attempt.task.key) {
                    self.ledger.enter(attempt, job, self.now);
                }
            }
            Effect::ForgetReleased { attempt } => {
                if let Some(released) = self.ledger.remove(attempt) {
                    self.garbage.extend(released.error.map(Garbage::Error));
                    self.let_go(Some(Arc::clone(&released.cell.record)));
                }
            }
            Effect::Discard { task, heir } => self.discard(task, heir),
            Effect::Deliver { task, end } => self.deliver(task, end),
            Effect::Forget { task } => self.forget(task),
            Effect::ForgetSlot { slot } => self.slots.forget(slot),
            Effect::Answer(answer) => self.answer = Some(answer),
            Effect::Publish(notice) => self.publish(notice),
            Effect::CloseDoor => self.close_door(),
            Effect::RestoreSignals => self.signals = None,
            Effect::FlushEvents => {
                self.draining = true;
                self.close_lanes();
            }
            Effect::Finish => self.finished = true,
        }
    }

    /// Takes a hand-over from the intake.
    pub(super) fn submit(&mut self, envelope: Envelope) {
        let Envelope { entries, policy, submitted_at } = envelope;
        match entries {
            Entries::One(entry) => {
                let submission = self.submission(entry, policy, submitted_at);
                self.feed(Input::Submitted(submission));
            }
            Entries::Batch(entries) => {
                let entries = entries.into_iter();
                let batch = entries.map(|entry| self.submission(entry, policy, submitted_at));
                let batch = batch.collect();
                self.feed(Input::BatchSubmitted(batch));
            }
        }
    }

    fn submission(&mut self, entry: Entry, policy: AdmissionPolicy, at: Time) -> Submission {
        let plan = self.plans.of(&entry.spec);
        let record = &entry.promise.0;
        let cancelled = record.cancel_asked();
        let slot = record.slot.as_ref().map(|name| self.slots.intern(name));
        let task = self.jobs.insert(Job::new(entry, Arc::clone(&plan)));
        Submission { task, slot, policy, plan, submitted_at: at, cancelled }
    }

    /// Takes a returned attempt: its values home, its facts to the machine.
    pub(super) fn returned(&mut self, returned: Returned) {
        let Returned { attempt, claimed_at, at, told, ret, error, body } = returned;
        if let Some(released) = self.ledger.find(attempt) {
            released.error = error;
            self.garbage.extend(body.map(Garbage::Body));
        } else if let Some(job) = self.jobs.get_mut(attempt.task.key) {
            let old = std::mem::replace(&mut job.error, error);
            // A share of it may have been kept for a retry beside this attempt.
            job.body = body.or_else(|| job.body.take());
            // A task that waits keeps nothing of its last attempt open.
            job.cell = None;
            self.garbage.extend(old.map(Garbage::Error));
        }
        self.feed(Input::Returned { attempt, claimed_at, at, told, ret });
    }

    pub(super) fn drop_panicked(&mut self, message: &str) {
        let kind = EventKind::DropPanicked { message: Arc::from(message) };
        self.publisher.publish(self.now, None, kind);
    }

    fn tell(&mut self, attempt: AttemptRef, reason: CancelReason, grace_until: Time) {
        let Some(cell) = self.cell(attempt).cloned() else { return };
        let answer = cell.tell(reason, self.now, grace_until);
        if answer == TellAnswer::Told && cell.has_hooks() {
            self.workers.run_hooks(&cell);
        }
        self.feedback.push_back(Input::TellAnswered { attempt, answer });
    }

    pub(super) fn thread_refused(&mut self, error: io::Error) {
        let news = self.workers.refused(self.now, error);
        self.take_news(news);
    }

    /// A thread of its own was refused to an attempt.
    pub(super) fn put_back(&mut self, dedicated: Dedicated, error: io::Error) {
        let news = self.workers.put_back(self.now, dedicated, error);
        self.take_news(news);
    }

    pub(super) fn start_hook_thread(&mut self) {
        let mut news = Vec::new();
        self.workers.start_hook_thread(self.now, &mut news);
        for news in news {
            self.take_news(news);
        }
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Refused { error, retry_in } => {
                let kind = EventKind::ThreadRefused { error: Arc::new(error), retry_in };
                self.publisher.publish(self.now, None, kind);
            }
            News::HookSlow { cell, ran } => {
                self.publish_about(
                    &cell,
                    EventKind::HookSlow { attempt: cell.attempt.attempt, ran },
                );
                self.let_go(Some(Arc::clone(&cell.record)));
            }
            News::HookAbandoned => self.feed(Input::HookAbandoned),
        }
    }

    /// Publishes something about the task of an attempt.
    pub(super) fn publish_about(&mut self, cell: &Cell, kind: EventKind) {
        self.publisher.publish(self.now, Some(cell.record.task_ref()), kind);
    }

    pub(super) fn cell(&self, attempt: AttemptRef) -> Option<&Arc<Cell>> {
        self.jobs.get(attempt.task.key)?.cell.as_ref()
    }

    fn decide(&mut self, task: TaskAddr, decision: Decision) {
        let Some(job) = self.jobs.get_mut(task.key) else { return };
        let spec = job.spec.take();
        if let Decision::Rejected(_) = decision {
            let (back, left) = if job.returns_spec { (spec, None) } else { (None, spec) };
            self.garbage.extend(left.map(Garbage::Spec));
            return job.promise.0.decide(decision, back);
        }
        if let Some(mut spec) = spec {
            job.dedicated = spec.take_dedicated();
            job.body = spec.into_body();
        }
        job.promise.0.decide(decision, None);
    }

    fn start(&mut self, attempt: AttemptRef, finality: Finality) {
        let failures = self.machine.tasks().get(attempt.task.key).map_or(0, |task| task.streak);
        let watched = self.publisher.has_subscribers();
        let Some(job) = self.jobs.get_mut(attempt.task.key) else { return };
        let body = job.body.take().expect("a body that runs again is kept");
        job.body = body.share().filter(|_| job.plan.abandon == AbandonPolicy::Release);
        let Plan { timeout, max_timeout, watchdog, .. } = *job.plan;
        let load = Load {
            body,
            inherited: std::mem::take(&mut job.inherited),
            allowance: Allowance { timeout, max_timeout },
            failures,
            last_failure: job.last_failure.clone().filter(|_| failures > 0),
        };
        let cell = Arc::new(Cell::offer(Arc::clone(&job.promise.0), attempt, load));
        job.cell = Some(Arc::clone(&cell));
        job.stall = None;
        let reports_claim = watched || watchdog.is_some() || timeout.is_some();
        let attempt = Attempt { cell, finality, reports_claim };
        match job.dedicated.clone() {
            Some(options) => self.workers.push_dedicated(Dedicated { attempt, options }),
            None => self.workers.push(worker::Job::Attempt(attempt)),
        }
    }

    fn revoke(&mut self, attempt: AttemptRef) {
        let Some(job) = self.jobs.get_mut(attempt.task.key) else { return };
        let answer = match job.cell.as_ref().map(|cell| cell.revoke()) {
            Some(Ok(load)) => {
                load.inherited.iter().for_each(Leftover::nudge);
                job.body = Some(load.body);
                job.inherited = load.inherited;
                self.workers.note_revoked();
                RevokeAnswer::Revoked
            }
            Some(Err(claimed_at)) => RevokeAnswer::AlreadyClaimed(claimed_at),
            None => return,
        };
        self.feedback.push_back(Input::RevokeAnswered { attempt, answer });
    }

    fn discard(&mut self, task: TaskAddr, heir: Option<TaskAddr>) {
        let Some(job) = self.jobs.get_mut(task.key) else { return };
        let mut leftovers = std::mem::take(&mut job.inherited);
        leftovers.extend(job.body.take().map(Leftover::new));
        match heir.and_then(|heir| self.jobs.get_mut(heir.key)) {
            Some(heir) => heir.inherited.append(&mut leftovers),
            None => self.garbage.extend(leftovers.into_iter().map(Garbage::Leftover)),
        }
    }

    fn deliver(&mut self, task: TaskAddr, end: End) {
        let Some(job) = self.jobs.get(task.key) else { return };
        let outcome = outcome_of(end, Some(job));
        self.tally.count(&outcome, job.plan.shutdown_on_end, || job.task_ref());
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.count(task.id, end);
        }
        job.promise.0.end(outcome);
    }

    fn forget(&mut self, task: TaskAddr) {
        let Some(job) = self.jobs.remove(task) else { return };
        // Kept until a worker drops them: so no other reference to them is the last one here.
        self.garbage.extend(job.into_user_values());
    }

    fn publish(&mut self, notice: Notice) {
        match notice {
            Notice::ShutdownRequested { cause } => {
                self.shutdown = Some(Shutdown::begin(cause, self.now));
            }
            Notice::ShutdownEnded => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.end(self.now);
                }
            }
            Notice::AttemptReturned { attempt, late_by, ret } => {
                if let Some(released) = self.ledger.find(attempt) {
                    let (task, error) = (released.task.clone(), released.error.clone());
                    let (attempt, returned_ok) = (attempt.attempt, ret == Return::Ok);
                    let kind = EventKind::AttemptReturned { attempt, late_by, returned_ok, error };
                    return self.publisher.publish(self.now, Some(task), kind);
                }
            }
            _ => {}
        }
        self.publisher.notice(self.now, notice, &self.jobs, &self.machine);
    }

    /// Ends a turn: offers its jobs, starts and retires threads.
    pub(super) fn manage_threads(&mut self) {
        self.offer_garbage();
        // One look at a time, however many hang: a crowd of looks would ask for a crowd of threads.
        if !self.examinees.is_empty() && self.examined_open == 0 {
            let examinees = std::mem::take(&mut self.examinees);
            self.examined_open += examinees.len();
            self.workers.push(worker::Job::Examine(examinees));
        }
        for news in self.workers.manage(self.now) {
            self.take_news(news);
        }
    }

    pub(super) fn offer_garbage(&mut self) {
        if !self.garbage.is_empty() {
            let values = std::mem::take(&mut self.garbage);
            self.workers.push(worker::Job::Drop(values));
        }
    }
}

/// What the subscribers and waiters are told of an end.
pub(super) fn outcome_of(end: End, job: Option<&Job>) -> Outcome {
    let error = job.and_then(|job| job.error.clone());
    let certain = |cause| certain(error.clone(), cause);
    match end {
        End::Completed => Outcome::Completed,
        End::Cancelled { reason, returned_ok } => Outcome::Cancelled { reason, returned_ok },
        End::Failed => Outcome::Failed { error: certain(FailureCause::Failed) },
        End::Fatal => Outcome::Fatal { error: certain(FailureCause::Failed) },
        End::Panicked => Outcome::Panicked { error: certain(FailureCause::Panicked) },
        End::TimedOut => Outcome::TimedOut { error },
        End::Unresponsive => Outcome::Unresponsive { error },
        End::Abandoned { reason, stop } => Outcome::Abandoned { reason, stop },
        End::Rejected(why) => Outcome::Rejected(why),
    }
}

/// The error of a failure, which only a bug would leave without one.
pub(super) fn certain(error: Option<TaskError>, cause: FailureCause) -> TaskError {
    error.unwrap_or_else(|| without_error(cause))
}

/// The text of a failure that came without an error.
fn without_error(cause: FailureCause) -> TaskError {
    TaskError::fail(match cause {
        FailureCause::Failed => "failed",
        FailureCause::Panicked => "panicked",
        FailureCause::TimedOut => "ran past its deadline",
        FailureCause::Unresponsive => "gave no sign of life",
        FailureCause::Abandoned => "outlived its grace",
    })
}
