//! What must hold of everything a world is told and ordered, kept apart from both the world and the
//! machine: a record of each task, two of who waits where, and one of what is stuck.

mod by_hand;
mod drains;
mod notices;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::classes::Classes;
use super::coverage::Coverage;
use super::queues::{Permits, Slots};
use super::seen_attempt::Finding;
use super::seen_task::SeenTask;
use super::stuck::Stuck;
use crate::machine::task::Health;
use crate::machine::{Answer, Effect, End, Input, Machine, Notice, State, Submission};
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::id::{AttemptAddr, TaskAddr, TaskId};
use crate::vocabulary::plan::{Limits, Plan};
use crate::vocabulary::policy::{AbandonPolicy, AdmissionPolicy};
use crate::vocabulary::reason::{CancelReason, Decision, Rejection, StopReason};
use crate::vocabulary::time::Time;

pub(super) struct Checker {
    limits: Limits,
    now: Time,
    records: BTreeMap<TaskId, SeenTask>,
    permits: Permits,
    classes: Classes,
    slots: Slots,
    stuck: Stuck,
    /// Attempts that threads work on, but for the released: physically, whatever the machine knows.
    n_claimed: u32,
    /// The rarer things that the step has met.
    sights: Vec<&'static str>,
    drains: drains::Drains,
    closed_at: Option<Time>,
    flushed: bool,
    finished: bool,
}

impl Checker {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            permits: Permits::new(limits.max_concurrent.unwrap_or(u32::MAX)),
            classes: Classes::new(&limits.classes),
            stuck: Stuck::new(limits.max_abandoned),
            limits,
            now: Time::ZERO,
            records: BTreeMap::new(),
            slots: Slots::default(),
            n_claimed: 0,
            sights: Vec::new(),
            drains: drains::Drains::default(),
            closed_at: None,
            flushed: false,
            finished: false,
        }
    }

    pub(super) fn plan(&self, task: TaskId) -> &Plan {
        &self.records[&task].plan
    }

    pub(super) fn slot(&self, task: TaskId) -> Option<u32> {
        self.records[&task].slot
    }

    /// How many attempts that are not over started beyond the limit, because bodies wait for them.
    pub(super) fn beyond(&self) -> usize {
        self.permits.beyond()
    }

    /// Whether the machine was told all that there is to say about an attempt.
    pub(super) fn is_over(&self, attempt: AttemptAddr) -> bool {
        self.records[&attempt.task.id].is_over(attempt.number)
    }

    pub(super) fn submitted(&mut self, submission: &Submission, slot: Option<u32>) {
        self.records.insert(submission.addr.id, SeenTask::new(submission, slot));
    }

    pub(super) fn gives_back(&self, task: TaskId) -> bool {
        self.records[&task].gives_back
    }

    pub(super) fn is_forgotten(&self, task: TaskId) -> bool {
        self.records[&task].is_forgotten && !self.stuck.has_drop(task)
    }

    /// A thread takes up an attempt.
    pub(super) fn claimed(&mut self, now: Time, attempt: AttemptAddr) {
        assert_eq!(self.closed_at, None, "an attempt begins after the door was closed");
        self.n_claimed += 1;
        assert!(u64::from(self.n_claimed) <= self.permits.most(), "too many bodies run");
        let record = self.record(attempt.task);
        record.claimed(now, attempt.number);
        let (slot, class) = (record.slot, record.plan.class);
        self.slots.enter(slot, attempt.task.id);
        self.classes.enter_body(class);
    }

    pub(super) fn says_ready(&mut self, attempt: AttemptAddr) {
        self.record(attempt.task).attempt(attempt.number).says_ready();
    }

    /// A body returns.
    pub(super) fn returned(&mut self, attempt: AttemptAddr) {
        let record = self.record(attempt.task);
        record.returned(attempt.number);
        if !record.attempt(attempt.number).is_released {
            self.make_way(attempt);
        }
    }

    /// An attempt is in nobody's way any more.
    fn make_way(&mut self, attempt: AttemptAddr) {
        self.n_claimed -= 1;
        let record = self.record(attempt.task);
        let (slot, class) = (record.slot, record.plan.class);
        self.slots.leave(slot, attempt.task.id);
        self.classes.leave_body(class);
    }

    pub(super) fn step(
        &mut self,
        now: Time,
        input: &Input,
        effects: &[Effect],
        machine: &Machine,
        coverage: &mut Coverage,
    ) {
        self.now = now;
        self.begin_step(input, effects);
        for &effect in effects {
            self.effect(effect, effects);
        }
        self.permits.compare(machine);
        self.classes.compare(machine);
        let kept = self.permits.line().any(|waiting| self.needs_no_permit(waiting));
        assert!(!kept, "a task that a body waits for has to wait for a permit");
        self.stuck.compare(machine);
        for task in machine.tasks().iter() {
            if let State::Running { deadline, health, .. } = task.state {
                let known = self.records[&task.addr.id].running();
                let stable_at = match health {
                    Health::Young { stable_at } => stable_at,
                    Health::Stable | Health::Silent => Time::NEVER,
                };
                let expected = Some((deadline, task.next_look(), stable_at));
                assert_eq!(known, expected, "the times of {:?}", task.addr);
            }
        }
        let held = self.records.values().filter(|record| record.is_held()).count();
        assert!(held <= self.limits.max_tasks as usize, "more tasks than there may be");
        self.sights.drain(..).for_each(|what| coverage.met("sight", what));
    }

    fn begin_step(&mut self, input: &Input, effects: &[Effect]) {
        self.begin_drain_or_end(input, effects);
        match *input {
            Input::SkipRequested(task)
                if effects.contains(&Effect::Answer(Answer::Taken(true))) =>
            {
                self.record(task).hurried();
            }
            Input::RestartRequested(task)
                if effects.contains(&Effect::Answer(Answer::Taken(true))) =>
            {
                self.record(task).hurried();
                self.record(task).restarted();
            }
            Input::PauseRequested(_)
            | Input::ResumeRequested(_)
            | Input::ClassLimitRequested { .. }
            | Input::IntervalRequested { .. } => self.asked_by_hand(input, effects),
            Input::WaitBegan(task) => self.record(task).awaited += 1,
            Input::WaitEnded(task) => self.record(task).awaited -= 1,
            Input::StopRequested(task) => self.record(task).asked(StopReason::Stop),
            Input::SlotStopRequested(slot) => {
                let all = self.records.values_mut().filter(|record| record.is_held());
                all.filter(|record| record.slot_key == Some(slot))
                    .for_each(|record| record.asked(StopReason::Stop));
            }
            Input::Ready { attempt, until, .. } => {
                self.record(attempt.task).attempt(attempt.number).ready_reported(until);
            }
            Input::Returned { attempt, at, told, ret, retry_after, .. } => {
                let seen = self.record(attempt.task).attempt(attempt.number);
                seen.reported(at, told, ret, retry_after);
                if self.stuck.is_released(attempt) {
                    let noted = matches!(
                        effects,
                        [
                            Effect::Publish(Notice::AttemptReturned { .. }),
                            Effect::ForgetReleased { .. }
                        ]
                    );
                    assert!(noted, "the return of a released attempt led to {effects:?}");
                }
            }
            Input::TellAnswered { attempt, answer } => self.tell_answered(attempt, answer, effects),
            Input::Looked { attempt, alive } => self.looked(attempt, alive, effects),
            Input::HookAbandoned => self.stuck.hook_abandoned(),
            Input::HookReturned => self.stuck.hook_returned(),
            Input::RevokeAnswered { attempt, .. } => {
                self.record(attempt.task).revoke_answered(attempt.number);
            }
            Input::SignalReceived(_) => {
                let urgent = self.closed_at.is_some() && !self.flushed;
                assert_eq!(
                    effects.contains(&Effect::RestoreSignals),
                    urgent,
                    "a signal is misread"
                );
            }
            _ => {}
        }
    }

    fn tell_answered(&mut self, attempt: AttemptAddr, answer: TellAnswer, effects: &[Effect]) {
        let now = self.now;
        let stopped = self.record(attempt.task).tell_answered(now, attempt.number, answer);
        let told = effects.iter().any(|effect| matches!(effect, Effect::Tell { .. }));
        assert_eq!(told, stopped, "a stop that came between is told: {attempt:?}");
        if let TellAnswer::DeadlineMoved(_) = answer {
            self.sight("a deadline was moved");
            if stopped {
                self.sight("a stop came before the news of a moved deadline");
            }
        }
    }

    fn looked(&mut self, attempt: AttemptAddr, alive: bool, effects: &[Effect]) {
        let finding = self.record(attempt.task).looked(attempt.number, alive);
        let found = match effects.first() {
            Some(Effect::Publish(Notice::AttemptSilent { .. })) => Finding::Silent,
            Some(Effect::Publish(Notice::AttemptResponsive { .. })) => Finding::Resumed,
            _ => Finding::Nothing,
        };
        assert_eq!(found, finding, "a look at {attempt:?} is misread");
        let reason = CancelReason::Unresponsive;
        let is_told = |effect: &Effect| match effect {
            Effect::Tell { reason: why, .. } => *why == reason,
            _ => false,
        };
        let told = effects.iter().any(is_told);
        let silent = finding == Finding::Silent && self.record(attempt.task).cancels_silence();
        assert_eq!(told, silent, "{attempt:?} is told it is unresponsive");
    }

    #[allow(clippy::too_many_lines, reason = "one line for each order")]
    fn effect(&mut self, effect: Effect, effects: &[Effect]) {
        let now = self.now;
        match effect {
            Effect::Decide { task, decision } => self.decide(task, decision),
            Effect::Look { .. }
            | Effect::Examine { .. }
            | Effect::Release { .. }
            | Effect::ForgetReleased { .. } => self.effect_on_the_stuck(effect),
            Effect::Start { attempt, class_index, .. } => {
                assert_eq!(self.closed_at, None, "an attempt is ordered after the door was closed");
                let record = self.record(attempt.task);
                record.start(now, attempt.number);
                let class = record.plan.class;
                let task = attempt.task.id;
                if self.classes.start(class, task, class_index) {
                    self.sight("a permit of a class is inherited");
                }
                if self.permits.take(task, self.needs_no_permit(task)) {
                    self.sight("started without a permit");
                    if !self.is_awaited(task) {
                        self.sight("started without a permit for one that waits for its class");
                    }
                }
            }
            Effect::Revoke { attempt } => self.record(attempt.task).revoke(attempt.number),
            Effect::Tell { attempt, reason, grace_until } => {
                let at_once = effects.contains(&Effect::Abandon { attempt });
                // A shutdown that begins in the same step may have taken the grace away.
                let shortened = |effect: &Effect| match effect {
                    Effect::Finalize { attempt: it, grace_until: until } => {
                        *it == attempt && *until <= now
                    }
                    _ => false,
                };
                let no_grace = grace_until <= now || effects.iter().any(shortened);
                assert_eq!(at_once, no_grace, "no grace is no time");
                let latest = self.closed_at.map_or(Time::NEVER, |at| at.after(self.limits.grace));
                assert!(grace_until <= latest, "the grace outlasts that of the shutdown");
                self.record(attempt.task).tell(now, attempt.number, reason, grace_until);
            }
            Effect::Finalize { attempt, grace_until } => {
                self.record(attempt.task).live(attempt.number).finalize(grace_until);
            }
            Effect::Abandon { attempt } => {
                self.record(attempt.task).live(attempt.number).abandon(now);
            }
            Effect::NoteFailure { attempt, cause, last } => {
                self.record(attempt.task).note(attempt.number, cause, last);
            }
            Effect::Close { attempt, .. } => self.record(attempt.task).close_ordered(),
            Effect::Deliver { task, end, streak } => {
                self.deliver(task, end, streak);
                if self.records[&task.id].has_given_up {
                    self.sight("gave up after its span");
                }
            }
            Effect::Forget { task } => {
                let record = self.record(task);
                record.forget();
                let slot = record.slot;
                self.slots.vacate(slot, task.id);
            }
            Effect::Publish(Notice::ClosingAbandoned { attempt }) => {
                let is_release = |it: &Effect| match it {
                    Effect::Release { attempt: it, .. } => *it == attempt,
                    _ => false,
                };
                let released = effects.iter().any(is_release);
                let record = self.record(attempt.task);
                let to_release = record.plan.abandon == AbandonPolicy::Release;
                self.stuck.drop_abandoned(attempt.task.id, to_release, released);
                self.sight(if released { "a drop is released" } else { "a drop is held" });
            }
            Effect::Publish(notice) => self.notice(notice),
            Effect::NoteUnfinished { task } => self.unfinished(task),
            Effect::CloseDoor { .. } => {
                self.note_what_is_left();
                assert_eq!(self.closed_at.replace(now), None, "the door is closed twice");
                let held = self.records.values_mut().filter(|record| record.is_held());
                held.for_each(|record| record.asked(StopReason::Shutdown));
            }
            Effect::FlushEvents => {
                let open = self.records.values().filter(|record| record.is_open()).count();
                assert_eq!(open, 0, "the flush begins before the last outcome");
                self.flushed = true;
            }
            Effect::Finish => {
                assert!(self.flushed && !self.finished, "the end has come twice or too soon");
                self.finished = true;
            }
            Effect::PublishGroup { .. } | Effect::ForgetGroup { .. } => {
                panic!("no group is in these worlds");
            }
            Effect::BeginDrain { .. }
            | Effect::AbandonClosing { .. }
            | Effect::ForgetSlot { .. }
            | Effect::Answer(_)
            | Effect::RestoreSignals => {}
        }
    }

    fn effect_on_the_stuck(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Look { attempt } => self.record(attempt.task).look(now, attempt.number),
            Effect::Examine { attempt } if self.records[&attempt.task.id].is_closing => {}
            Effect::Release { attempt, .. } if self.records[&attempt.task.id].is_closing => {}
            Effect::ForgetReleased { closing: true, .. } => {}
            Effect::Examine { attempt } => {
                self.record(attempt.task).live(attempt.number).examine();
            }
            Effect::Release { attempt, .. } => {
                let record = self.record(attempt.task);
                record.live(attempt.number).release();
                if !record.attempt(attempt.number).has_returned {
                    self.make_way(attempt);
                }
                self.give_back(attempt.task.id);
            }
            Effect::ForgetReleased { attempt, .. } => {
                self.record(attempt.task).attempt(attempt.number).forget();
            }
            _ => unreachable!("{effect:?} is not about what is stuck"),
        }
    }

    fn decide(&mut self, task: TaskAddr, decision: Decision) {
        let now = self.now;
        let closed = self.closed_at.is_some();
        let refused = decision == Decision::Rejected(Rejection::ShuttingDown);
        let with_batch = matches!(decision, Decision::Rejected(Rejection::BatchRefused { .. }));
        let expected = closed || self.is_refused_in_drain(task);
        assert!(with_batch || refused == expected, "{task:?}: {decision:?}");
        if refused && !closed {
            self.sight("refused in a drain");
        }
        let crowded = self.stuck.is_above_cap();
        let too_many = matches!(decision, Decision::Rejected(Rejection::TooManyAbandoned { .. }));
        assert!(!crowded || matches!(decision, Decision::Rejected(_)), "{task:?}: {decision:?}");
        assert!(crowded || !too_many, "{task:?}: {decision:?}");
        if too_many {
            self.sight("refused because too much is stuck");
        }
        let record = self.record(task);
        record.decide(now, decision);
        let (slot, policy) = (record.slot, record.policy);
        let limit = self.limits.max_slot_queue;
        self.slots.decide(slot, policy, task.id, decision, limit as usize);
        if let (Decision::Queued { .. }, AdmissionPolicy::Replace) = (decision, policy) {
            if let Some(owner) = self.slots.owner(slot) {
                let owner = self.records.get_mut(&owner).expect("an owner was submitted");
                owner.asked(StopReason::Replace);
            }
        }
    }

    fn deliver(&mut self, task: TaskAddr, end: End, streak: u32) {
        let closed = self.closed_at.is_some();
        let record = self.record(task);
        record.deliver(end, streak, closed);
        let slot = record.slot;
        if !matches!(end, End::Abandoned { .. }) || record.is_released() {
            assert!(!self.permits.is_held_by(task.id), "an outcome before the permit passed on");
            let keeps = self.slots.keeps_waiting(slot, task.id);
            let holds = self.stuck.holds(task.id);
            assert!(!keeps || holds, "an outcome before the slot passed on");
        }
    }

    fn sight(&mut self, what: &'static str) {
        self.sights.push(what);
    }

    fn task_ends(&mut self, task: TaskAddr, end: End) {
        let now = self.now;
        let record = self.record(task);
        record.announced(now, end);
        let (slot, revoked) = (record.slot, record.was_revoked());
        if revoked && !record.is_closing {
            self.give_back(task.id);
        }
        if !self.stuck.holds(task.id) {
            self.leave_lines(task.id, end);
        }
        self.slots.leave_queue(slot, task.id);
    }

    /// The body is to be dropped: everything but the slot, and a place for an heir, is left.
    fn closes(&mut self, task: TaskAddr) {
        let record = self.record(task);
        record.closes();
        let (slot, class, revoked) = (record.slot, record.plan.class, record.was_revoked());
        let replaced = record.is_replaced();
        if revoked {
            self.give_back(task.id);
        }
        if self.classes.close(class, task.id, replaced) {
            self.sight("a permit of a class, or a place in its line, is kept");
        }
        if self.permits.close(task.id, replaced) {
            self.sight("a place in the line is kept");
        }
        self.slots.leave_queue(slot, task.id);
    }

    fn give_back(&mut self, task: TaskId) {
        self.permits.give_back(task);
        self.classes.give_back(self.records[&task].plan.class, task);
    }

    fn leave_lines(&mut self, task: TaskId, end: End) {
        self.permits.leave(task, end);
        self.classes.leave(self.records[&task].plan.class, task, end);
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        self.classes.finish();
        assert!(self.finished && self.n_claimed == 0);
        self.records.values().for_each(SeenTask::finish);
        self.stuck.finish();
    }

    /// Whether a body waits for a task, or for one that waits for its slot.
    fn is_awaited(&self, task: TaskId) -> bool {
        let record = &self.records[&task];
        let owns = self.slots.is_owned_by(record.slot, task);
        let queue = self.slots.queue(record.slot).iter().filter(|_| owns);
        record.awaited > 0 || queue.copied().any(|it| self.records[&it].awaited > 0)
    }

    /// Whether a body waits for a task, or for one that can run only after it.
    fn needs_no_permit(&self, task: TaskId) -> bool {
        let mut held = self.classes.each().filter(|(_, holds)| holds(task));
        let holds_up = held.any(|(mut line, _)| line.any(|waiting| self.is_awaited(waiting)));
        self.is_awaited(task) || holds_up
    }

    fn record(&mut self, task: TaskAddr) -> &mut SeenTask {
        let record = self.records.get_mut(&task.id).expect("a task that was submitted");
        assert_eq!(record.task, task, "a task is called by a key that is not its own");
        record
    }
}
