//! Serves submissions, and facts and requests with one match each.

use std::sync::Arc;

use super::{Controller, IdleWaiter};
use crate::machine::{Answer, GroupSubmission, Input, State, Submission};
use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::platform::stall::Stall;
use crate::platform::sync::channel::Sender;
use crate::runtime::groups::too_large;
use crate::runtime::publish::About;
use crate::task::envelope::{Entry, Envelope, OnRefusal, Rest};
use crate::task::fact::{Fact, HookOwner, Returned};
use crate::task::group::GroupEntry;
use crate::task::record::Record;
use crate::task::request::{Request, ServiceRequest, Until};
use crate::vocabulary::id::{AttemptAddr, SlotKey, TaskAddr};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled};
use crate::vocabulary::time::Time;

impl Controller {
    pub(super) fn serve_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Claimed { attempt, at } => self.feed(Input::Claimed { attempt, at }),
            Fact::Ready { attempt, claimed_at, at, until } => {
                self.feed(Input::Ready { attempt, claimed_at, at, until });
            }
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
        } else if let Some(belongings) = self.values.get_mut(attempt.task.key) {
            dropped = belongings.take_home(&mut returned);
        }
        let Returned { claimed_at, at, told, ret, .. } = returned;
        self.feed(Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after });
    }

    /// A thread was examined: the result belongs to the attempt that it runs.
    fn note_examined(&mut self, attempt: AttemptAddr, closing: bool, stall: Option<Stall>) {
        self.examiner.note_examined();
        let released = self.released.find_mut(attempt, closing);
        let released = released.map(|it| (&it.cell, &mut it.stall));
        let known = released.or_else(|| {
            let belongings = self.values.get_mut(attempt.task.key)?;
            let cell = belongings.cell.as_ref()?;
            let latest = cell.attempt == attempt && cell.closing == closing;
            latest.then_some((cell, &mut belongings.stall))
        });
        if let (Some(stall), Some((cell, place))) = (stall, known) {
            *place = Some(Box::new(stall.clone()));
            let kind = EventKind::StallReport { attempt: attempt.number, stall };
            self.publisher.publish(self.now, About::Task(&cell.record), kind);
        }
        self.close_lanes();
        self.feed_pending();
    }

    /// Takes a hand-over from the intake.
    pub(super) fn serve_submission(&mut self, envelope: Envelope) {
        if !self.machine.is_running() {
            return self.refuse(envelope);
        }
        let Envelope { first, rest, policy, submitted_at } = envelope;
        let Some(rest) = rest else {
            let first = self.submission(first, policy, submitted_at);
            return self.feed(Input::Submitted(first));
        };
        let Rest { entries, group } = *rest;
        let all = std::iter::once(first).chain(entries);
        let (records, batch) = all
            .map(|entry| {
                let record = Arc::clone(&entry.promise.0);
                (record, self.submission(entry, policy, submitted_at))
            })
            .unzip();
        match group {
            Some(group) => self.serve_group(group, records, batch),
            None => self.feed(Input::BatchSubmitted(batch)),
        }
    }

    fn serve_group(
        &mut self,
        entry: GroupEntry,
        records: Vec<Arc<Record>>,
        members: Vec<Submission>,
    ) {
        let GroupEntry { strategy, restart_limit, .. } = entry;
        let phases = entry.phases.clone();
        let (group, in_use) = self.groups.insert(entry, records);
        let refused = in_use.or_else(|| too_large(self.machine.limits(), &phases, &members));
        self.feed(Input::GroupSubmitted(GroupSubmission {
            group,
            strategy,
            restart_limit,
            phases,
            members,
            refused,
        }));
    }

    fn submission(&mut self, entry: Entry, policy: AdmissionPolicy, at: Time) -> Submission {
        let record = &entry.promise.0;
        let cancelled = record.cancel_asked();
        let gives_back = entry.on_refusal == OnRefusal::GiveBack;
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
            Request::Cancel(record) => {
                if let Some(task) = self.find(&record) {
                    self.feed(Input::StopRequested(task));
                }
            }
            Request::CancelGroup(record) => {
                if let Some(group) = self.groups.find(&record) {
                    self.feed(Input::GroupStopRequested(group));
                }
            }
            Request::CancelSlot(slot, reply) => answer(&reply, self.cancel_slot(&slot)),
            Request::EndCalls(mut due) => {
                if let Some(record) = due.take().and_then(|mut due| due.take()) {
                    self.pool.push_end_calls(record);
                }
            }
            Request::Flush(reply) => answer(&reply, self.publisher.flush()),
            Request::Group(name, reply) => answer(&reply, self.group(&name)),
            Request::GroupState(record, reply) => answer(&reply, self.group_state(&record)),
            Request::Idle { until, reply } => {
                if until != Until::Idle {
                    self.serve_service_request(ServiceRequest::Announce);
                }
                self.idle_waiters.push(IdleWaiter { until, reply });
            }
            Request::Owner(slot, reply) => answer(&reply, self.owner(&slot)),
            Request::WaitBegan(record) => self.tell_of_wait(&record, Input::WaitBegan),
            Request::WaitEnded(record) => self.tell_of_wait(&record, Input::WaitEnded),
            Request::Restart(record, reply) => {
                answer(&reply, self.ask_task(&record, Input::RestartRequested));
            }
            Request::RestartGroup(record, reply) => {
                let group = self.groups.find(&record);
                let asked = group.map(|group| self.ask(Input::GroupRestartRequested(group)));
                answer(&reply, asked.flatten() == Some(Answer::Taken(true)));
            }
            Request::Pause(record, reply) => {
                answer(&reply, self.ask_task(&record, Input::PauseRequested));
            }
            Request::Resume(record, reply) => {
                answer(&reply, self.ask_task(&record, Input::ResumeRequested));
            }
            Request::SetInterval(record, interval, reply) => {
                let input = |task| Input::IntervalRequested { task, interval };
                answer(&reply, self.ask_task(&record, input));
            }
            Request::Ignore(record) => self.ignore(&record),
            Request::Settle(reply) => self.settling.add(reply),
            Request::Drain(limit) => {
                let cause = ShutdownCause::Requested;
                self.feed(Input::DrainRequested { cause, limit });
            }
            Request::Shutdown(cause) => self.feed(Input::ShutdownRequested(cause)),
            Request::Signal(number) => self.serve_signal(number),
            Request::SharesClass(waiter, record, reply) => {
                answer(&reply, self.shares_class(&waiter, &record));
            }
            Request::SkipWait(record, reply) => {
                answer(&reply, self.ask_task(&record, Input::SkipRequested));
            }
            Request::Service(request) => self.serve_service_request(request),
            Request::Snapshot(reply) => answer(&reply, self.snapshot()),
            Request::State(record, reply) => answer(&reply, self.state(&record)),
            // What was due was served earlier in this turn.
            Request::Tick(reply) => answer(&reply, ()),
            Request::Unsettled(reply) => answer(&reply, self.unsettled()),
            Request::Task(id, reply) => answer(&reply, self.task(id)),
        }
    }

    fn serve_signal(&mut self, number: i32) {
        let hook = self.signal_hooks.iter().find(|hook| hook.signal == number);
        match hook {
            None => self.feed(Input::SignalReceived(number)),
            Some(hook) if self.machine.is_running() && hook.ask() => {
                self.pool.push_signal_hook(hook);
            }
            Some(_) => {}
        }
    }

    fn tell_of_wait(&mut self, record: &Record, input: fn(TaskAddr) -> Input) {
        if let Some(task) = self.find(record) {
            self.feed(input(task));
        }
    }

    fn ask_task(&mut self, record: &Record, input: impl FnOnce(TaskAddr) -> Input) -> bool {
        let Some(task) = self.find(record) else { return false };
        self.learn_of_claim(task);
        self.ask(input(task)) == Some(Answer::Taken(true))
    }

    fn cancel_slot(&mut self, slot: &str) -> SlotCancelled {
        let Some(key) = self.values.slots.key(slot) else { return SlotCancelled::default() };
        match self.ask(Input::SlotStopRequested(SlotKey(key))) {
            Some(Answer::SlotCancelled(found)) => found,
            Some(Answer::Taken(_)) | None => SlotCancelled::default(),
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

/// The caller may have stopped waiting; then the answer is dropped.
fn answer<T>(reply: &Sender<T>, answer: T) {
    let _ = reply.send(answer);
}
