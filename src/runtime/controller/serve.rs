//! Serves submissions, and facts and requests with one match each.

use std::sync::Arc;

use super::Controller;
use crate::machine::{GroupSubmission, Input, State, Submission};
use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::platform::stall::Stall;
use crate::runtime::groups::too_large;
use crate::runtime::pool::Work;
use crate::runtime::publish::About;
use crate::task::envelope::{Entry, Envelope};
use crate::task::fact::{Fact, HookOwner, Returned};
use crate::task::group::GroupEntry;
use crate::task::request::Request;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, SlotKey, TaskAddr};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::{RealTime, Time};

impl Controller {
    pub(super) fn serve_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Claimed { attempt, at } => {
                self.feed(Input::Claimed { attempt, at });
                self.note_may_be_ready();
            }
            Fact::Ready { attempt, claimed_at, at, until } => {
                self.feed(Input::Ready { attempt, claimed_at, at, until });
            }
            Fact::Warning { text } => self.pool.push(Work::Warn(text)),
            #[cfg(all(unix, feature = "process"))]
            Fact::Process { record, kind } => self.tell_of_process(&record, kind),
            Fact::Returned(returned) => self.take_home(returned),
            Fact::Closed { attempt } => self.feed(Input::Closed { attempt }),
            Fact::ClosingSlow { attempt, since } => {
                self.feed(Input::ClosingSlow { attempt, since });
            }
            Fact::DropPanicked { message } => {
                let message = Arc::from(message);
                self.publisher.publish(
                    self.now,
                    About::Supervisor,
                    EventKind::DropPanicked { message },
                );
            }
            Fact::Examined { cell, stall } => self.note_examined(cell.attempt, cell.closing, stall),
            Fact::LastResortWanted => {
                let mut facts = Vec::new();
                self.pool.start_last_resort(self.real, &mut facts);
                for fact in facts {
                    self.serve_fact(fact);
                }
            }
            Fact::HookPanicked { owner, message } => {
                let (source, message) = (owner.source(), Arc::from(message));
                let kind = EventKind::HookPanicked { source, message };
                self.publisher.publish(self.now, about(&owner), kind);
            }
            Fact::HookSlow { owner, ran } => {
                let kind = EventKind::HookSlow { source: owner.source(), ran };
                self.publisher.publish(self.now, about(&owner), kind);
            }
            Fact::HookAbandoned => self.feed(Input::HookAbandoned),
            Fact::HookReturned => self.feed(Input::HookReturned),
            Fact::HooksDue { cell, due } => self.pool.run_hooks_again(cell, due),
            Fact::ThreadRefused { error, retry_in } => {
                let kind = EventKind::ThreadRefused { error: Arc::new(error), retry_in };
                self.publisher.publish(self.now, About::Supervisor, kind);
            }
            Fact::RoomMade => self.pool.room_made(self.real),
            Fact::SetUpFailed { role, error } => {
                let refused = self.pool.set_up_failed(self.real, role, error);
                self.serve_fact(refused);
            }
            Fact::SubscriberPanicked { subscriber, message } => {
                let message = Arc::from(message);
                let kind = EventKind::SubscriberPanicked { subscriber, message };
                self.publisher.publish(self.now, About::Supervisor, kind);
            }
            // The end of this turn looks.
            Fact::CameToRest => {}
            Fact::ChoreFailed { error } => self.chore_failed(error),
            Fact::LaneFlushed => {
                if self.shutdown.lane_flushed() {
                    self.feed(Input::EventsFlushed);
                }
            }
        }
    }

    /// Takes a returned attempt's values back, and passes its facts to the machine.
    fn take_home(&mut self, mut returned: Returned) {
        let attempt = returned.attempt;
        let retry_after = returned.error.as_ref().and_then(TaskError::retry_delay);
        let mut dropped = true;
        if let Some(released) = self.released.find_mut(attempt, false) {
            released.error = returned.error.take();
        } else if let Some((belongings, kept)) = self.values.with_body(attempt.task.key) {
            if returned.told.is_none() && self.required.contains(attempt.task.id) {
                let cell = belongings.cell.as_ref();
                // No look has fallen into a short attempt.
                if cell.is_some_and(|cell| cell.pulse.look(self.now)) {
                    self.required.note_alive(attempt.task.id, attempt.number);
                }
                if returned.ret == Return::Ok {
                    self.required.note_works(attempt.task.id);
                }
            }
            dropped = belongings.take_home(kept, &mut returned);
        }
        let Returned { claimed_at, at, told, ret, .. } = returned;
        self.feed(Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after });
    }

    /// A thread was examined: the result belongs to the attempt that it runs.
    fn note_examined(&mut self, attempt: AttemptAddr, closing: bool, stall: Option<Stall>) {
        self.examiner.note_examined();
        if let Some(stall) = stall {
            let released = self.released.find_mut(attempt, closing);
            let record = if let Some(released) = released {
                released.stall = Some(stall.clone());
                Some(&released.cell.record)
            } else {
                self.values.note_stall(attempt, closing, &stall)
            };
            if let Some(record) = record {
                let kind = EventKind::StallReport { attempt: attempt.number, stall };
                self.publisher.publish(self.now, About::Task(record), kind);
            }
        }
        self.close_lanes();
        self.feed_pending();
    }

    /// Takes a hand-over from the intake.
    pub(super) fn serve_submission(&mut self, envelope: Envelope) {
        if !self.machine.is_running() {
            return self.refuse(envelope);
        }
        // A large hand-over takes long.
        if envelope.rest.is_some() {
            self.publisher.deliver();
        }
        let group = envelope.rest.as_ref().and_then(|rest| rest.group.as_ref());
        if let Some((_, serve)) = group {
            return serve(self, envelope);
        }
        if envelope.rest.is_some() {
            let batch = self.submissions(envelope);
            return self.feed(Input::BatchSubmitted(batch));
        }
        let Envelope { first, policy, submitted_at, .. } = envelope;
        let first = self.submission(first, policy, submitted_at);
        self.feed(Input::Submitted(first));
    }

    /// Takes in all submissions of a hand-over.
    fn submissions(&mut self, envelope: Envelope) -> Vec<Submission> {
        let (policy, at) = (envelope.policy, envelope.submitted_at);
        envelope.into_entries().map(|entry| self.submission(entry, policy, at)).collect()
    }

    pub(super) fn serve_group(&mut self, mut envelope: Envelope) {
        let group = envelope.rest.as_mut().and_then(|rest| rest.group.take());
        let Some((entry, _)) = group else { return };
        let records = envelope.records();
        let members = self.submissions(envelope);
        let GroupEntry { strategy, restart_limit, .. } = entry;
        let phases = entry.phases.clone();
        let (group, in_use) = self.groups.insert(entry, records);
        let refused = in_use.or_else(|| too_large(&self.machine, &phases, &members));
        let submission =
            GroupSubmission { group, strategy, restart_limit, phases, members, refused };
        self.machine.learn_groups();
        self.feed(Input::GroupSubmitted(submission));
    }

    fn submission(&mut self, entry: Entry, policy: AdmissionPolicy, at: Time) -> Submission {
        let record = entry.promise.record();
        let cancelled = record.cancel_asked();
        let gives_back = record.gives_back();
        let slot = record.slot().map(|name| SlotKey(self.values.slots.intern(name)));
        let required = entry.spec.is_required();
        let (task, plan) = self.values.insert(entry);
        if required {
            self.required.insert(task);
        }
        Submission { addr: task, slot, policy, plan, submitted_at: at, cancelled, gives_back }
    }

    pub(super) fn serve_request(&mut self, request: Request) {
        match request {
            Request::Ask(question) => question(self),
            Request::Drain(limit) => {
                let cause = ShutdownCause::Requested;
                self.feed(Input::DrainRequested { cause, limit });
            }
            Request::EndCalls(mut due) => {
                if let Some(record) = due.take().and_then(|mut due| due.take()) {
                    self.pool.push_end_calls(record);
                }
            }
            Request::Shutdown(cause) => self.feed(Input::ShutdownRequested(cause)),
            Request::Signal(signal, at) => self.serve_signal(signal, at),
        }
    }

    fn serve_signal(&mut self, signal: Signal, at: RealTime) {
        let hook = self.signal_hooks.iter().find(|hook| hook.signal == signal);
        match hook {
            None if self.shutdown.heeds_signal(at) => {
                self.feed(Input::SignalReceived(signal));
            }
            Some(hook) if self.machine.is_running() && hook.ask() => {
                self.pool.push_signal_hook(hook);
            }
            None | Some(_) => {}
        }
    }

    /// Informs the machine of a claim that was not reported. Every request about a task does so
    /// first, so that the task is never taken for unclaimed.
    pub(super) fn learn_of_claim(&mut self, task: TaskAddr) {
        let Some(known) = self.machine.tasks().get(task.key) else { return };
        let State::Starting { .. } = known.state else { return };
        let attempt = AttemptAddr { task, number: known.attempt };
        if let Some(at) = self.values.cell(attempt).and_then(|cell| cell.claimed_at()) {
            self.feed(Input::Claimed { attempt, at });
        }
    }
}

fn about(owner: &HookOwner) -> About<'_> {
    match owner {
        HookOwner::Attempt(cell) => About::Task(&cell.record),
        HookOwner::TaskEnd(record) => About::Task(record),
        HookOwner::Signal(_) => About::Supervisor,
    }
}
