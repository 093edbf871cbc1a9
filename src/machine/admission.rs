//! Admission: which task gets a slot, waits or is refused; and how slots pass on.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::ending::End;
use super::input::Submission;
use super::roster::GroupAct;
use super::step::Machine;
use super::task::{Links, Started, State, Task, Wait};
use crate::vocabulary::backoff::BackoffState;
use crate::vocabulary::id::{SlotKey, TaskId, TaskKey};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{Decision, Rejection, StopReason};
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::Time;

impl Machine {
    /// Admits a task, queues it, or refuses it.
    pub(super) fn submit(&mut self, submission: Submission, out: &mut Vec<Effect>) {
        self.name_slot(&submission);
        let refusal = self.refusal(&submission, 0);
        self.decide(submission, refusal, false, out);
    }

    /// Admits all or none. Of two tasks that name the same slot, the second is refused.
    pub(super) fn submit_batch(&mut self, batch: Vec<Submission>, out: &mut Vec<Effect>) {
        let culprit = self.refusal_of_batch(&batch);
        self.decide_batch(batch, culprit, false, out);
    }

    /// The task of a batch that cannot be admitted, and why. All slots are named first, so that a
    /// slot that is named twice is forgotten once.
    pub(super) fn refusal_of_batch(&mut self, batch: &[Submission]) -> Option<(TaskId, Rejection)> {
        let mut named = SortedMap::default();
        for submission in batch {
            self.name_slot(submission);
        }

        (0..).zip(batch).find_map(|(ahead, submission)| {
            let twice = submission.slot.and_then(|slot| named.insert(slot, submission.addr.id));
            let twice = twice.map(|first| Rejection::SlotNamedTwice { first });
            let why = self.refusal(submission, ahead).or(twice)?;
            Some((submission.addr.id, why))
        })
    }

    /// Decides each task of a batch, even if refused: each was accepted into the intake and has an
    /// outcome.
    pub(super) fn decide_batch(
        &mut self,
        batch: Vec<Submission>,
        culprit: Option<(TaskId, Rejection)>,
        is_member: bool,
        out: &mut Vec<Effect>,
    ) {
        for submission in batch {
            let refusal = culprit.map(|(culprit, why)| {
                if submission.addr.id == culprit {
                    why
                } else {
                    Rejection::BatchRefused { culprit }
                }
            });
            self.decide(submission, refusal, is_member, out);
        }
    }

    /// Keeps a slot in the table for as long as any task names it.
    fn name_slot(&mut self, submission: &Submission) {
        if let Some(slot) = submission.slot {
            self.slots.get_mut(slot).named += 1;
        }
    }

    /// Why a submission cannot be admitted now, if `ahead` others are admitted before it.
    fn refusal(&self, submission: &Submission, ahead: u32) -> Option<Rejection> {
        if !self.is_running() || self.drain_refuses(submission) {
            return Some(Rejection::ShuttingDown);
        }
        // Reasons in the submission itself come before limits.
        if submission.cancelled {
            return Some(Rejection::Removed);
        }
        if submission.expires_at() <= self.now {
            return Some(Rejection::Expired);
        }

        if self.tasks.len().saturating_add(ahead) >= self.limits.max_tasks {
            return Some(Rejection::TooManyTasks { limit: self.limits.max_tasks as usize });
        }
        if self.stuck > self.limits.max_abandoned {
            let limit = self.limits.max_abandoned as usize;
            return Some(Rejection::TooManyAbandoned { limit });
        }

        // Only a slot with an owner refuses a submission.
        let slot = self.slots.get(submission.slot?);
        let owner = &self.tasks[slot.owner?];
        let (depth, limit) = (slot.queue.len, self.limits.max_slot_queue);
        match submission.policy {
            AdmissionPolicy::DropIfRunning => Some(Rejection::SlotBusy {
                owner: owner.addr.id,
                since: owner.owner_since.since_start(),
            }),
            AdmissionPolicy::Queue if depth >= limit => {
                Some(Rejection::QueueFull { depth: depth as usize, limit: limit as usize })
            }
            AdmissionPolicy::Queue | AdmissionPolicy::Replace | AdmissionPolicy::KeepLatest => None,
        }
    }

    /// Enters a task into the tables, and refuses, queues or starts it.
    fn decide(
        &mut self,
        submission: Submission,
        refusal: Option<Rejection>,
        is_member: bool,
        out: &mut Vec<Effect>,
    ) {
        let (task, slot, policy) = (submission.addr, submission.slot, submission.policy);
        let gives_back = submission.gives_back;
        if self.heard {
            Self::publish(out, Notice::Submitted { task, policy });
        }
        self.tasks.insert(self.new_task(submission, is_member));
        self.open += 1;

        // A refused task ends like any other: with an event and an outcome.
        if let Some(why) = refusal {
            out.push(Effect::Decide { task, decision: Decision::Rejected(why) });
            // A stop has the same outcome in every state.
            let stopped = End::Cancelled { reason: StopReason::Stop, ret: None };
            let end = if why == Rejection::Removed { stopped } else { End::Rejected(why) };
            // Behind the closed door nobody waits for a drop.
            let waits = !gives_back && self.is_running();
            self.task_mut(task.key).holds_body &= waits;
            return self.end(task.key, end, out);
        }

        match slot {
            Some(slot) if self.slots.get(slot).owner.is_some() => {
                self.enqueue(task.key, slot, policy, out);
            }
            Some(_) | None => {
                out.push(Effect::Decide { task, decision: Decision::Admitted });
                self.become_owner(task.key, None, out);
            }
        }
    }

    /// A task in its initial state.
    fn new_task(&self, submission: Submission, is_member: bool) -> Task {
        Task {
            addr: submission.addr,
            slot: submission.slot,
            started: Started::Ahead { expires_at: submission.expires_at() },
            holds_body: submission.plan.needs_drop,
            plan: submission.plan,
            state: State::Intake,
            since: self.now,
            owner_since: Time::NEVER,
            paused: false,
            attempt: 0,
            streak: 0,
            short_runs: 0,
            awaited: 0,
            is_member,
            class_index: None,
            backoff: BackoffState::default(),
            rare: None,
            anchor: Time::NEVER,
            links: Links::default(),
        }
    }

    /// Puts a task into the queue of a busy slot.
    fn enqueue(
        &mut self,
        key: TaskKey,
        slot: SlotKey,
        policy: AdmissionPolicy,
        out: &mut Vec<Effect>,
    ) {
        let task = self.tasks[key].addr;
        let head = self.slots.get(slot).queue.first;

        // Displaced tasks go first, so that the depth published below is that of the queue.
        let displaced = match policy {
            AdmissionPolicy::Replace => usize::from(head.is_some()),
            AdmissionPolicy::KeepLatest => self.slots.get(slot).queue.len as usize,
            AdmissionPolicy::Queue | AdmissionPolicy::DropIfRunning => 0,
        };
        for _ in 0..displaced {
            if let Some(old) = self.slots.get(slot).queue.first {
                self.end(old, End::Rejected(Rejection::Superseded { by: task.id }), out);
            }
        }

        let ahead = if policy == AdmissionPolicy::Replace {
            self.slots.get_mut(slot).queue.push_front(&mut self.tasks, key);
            0
        } else {
            self.slots.get_mut(slot).queue.push_back(&mut self.tasks, key);
            self.slots.get(slot).queue.len as usize - 1
        };
        self.enter(key, State::Queued, self.tasks[key].expiry());
        out.push(Effect::Decide { task, decision: Decision::Queued { ahead } });
        Self::publish(out, Notice::Queued { task, depth: self.slots.get(slot).queue.len });

        // The stop comes last, because an owner that ends in this step passes the slot to this
        // task.
        if policy == AdmissionPolicy::Replace {
            if let Some(owner) = self.slots.get(slot).owner {
                self.stop(owner, StopReason::Replace, out);
            }
        }
    }

    /// Gives a task its slot, if it has one, and lets it start: immediately, or in the place of a
    /// task of the same class that waited for a permit.
    fn become_owner(&mut self, key: TaskKey, place: Option<TaskKey>, out: &mut Vec<Effect>) {
        let (now, heard) = (self.now, self.heard);
        let task = self.task_mut(key);
        task.owner_since = now;
        let (slot, delay, paused) = (task.slot, task.plan.initial_delay, task.paused);
        if heard {
            Self::publish(out, Notice::Admitted { task: task.addr });
        }
        if let Some(slot) = slot {
            self.slots.get_mut(slot).owner = Some(key);
        }

        if paused {
            self.enter(key, State::Waiting(Wait::Paused), Time::NEVER);
            self.part_later();
        } else if self.tasks[key].is_member {
            self.enter(key, State::Waiting(Wait::Phase), Time::NEVER);
        } else if delay.is_zero() {
            self.line_up(key, place, out);
        } else {
            // It gives up its place, if it had one, so that its own delay delays no other task.
            self.enter(key, State::Waiting(Wait::InitialDelay), now.after(delay));
        }
    }

    /// Takes a permit and offers the next attempt to a thread.
    pub(super) fn start(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        self.permits += 1;
        let task = self.task_mut(key);
        task.attempt = task.attempt.saturating_add(1);
        let (attempt, finality, expiry) =
            (task.attempt_addr(), task.finality_ahead(), task.expiry());
        let class_index = task.class_index;
        let state = State::Starting { stop: None, expired: false, sent_back: false };
        self.enter(key, state, expiry);
        out.push(Effect::Start { attempt, finality, class_index });
    }

    /// Ends a task whose body is gone, in this order: its last event; the shutdown that it may
    /// cause; permit and slot pass on; its outcome. If that is already delivered, only what the
    /// task still holds passes on.
    pub(super) fn conclude(&mut self, key: TaskKey, end: End, out: &mut Vec<Effect>) {
        let Task { addr: task, slot, state, since, streak, .. } = self.tasks[key];
        let (over, place) = (state.is_over(), state.leaves_place(end));
        let class = if place { self.tasks[key].class_line() } else { None };
        if !over {
            self.announce_end(key, end, out);
        }
        self.enter(key, State::Over, Time::NEVER);
        if !over {
            self.end_supervisor_with(key, end, out);
        }

        self.vacate(key, state, place, out);
        if let Some(slot) = slot.filter(|&slot| self.slots.get(slot).owner == Some(key)) {
            if state.terminating_since(since).is_some() {
                self.publish_slot(key, false, out);
            }
            self.pass_on(slot, place.then_some(key), out);
        }
        if place {
            // Only now, so that the heir could take over the place.
            let (line, tasks) = self.line_of(class);
            line.list.remove(tasks, key);
            line.passed_over -= 1;
            self.return_class(key, out);
        }
        if !over {
            out.push(Effect::Deliver { task, end, streak });
        }
        self.forget(key, out);
    }

    /// Publishes the last event of a task, which is then no longer open.
    pub(super) fn announce_end(&mut self, key: TaskKey, end: End, out: &mut Vec<Effect>) {
        let Task { addr: task, is_member, streak, .. } = self.tasks[key];
        self.open -= 1;
        if is_member {
            self.member_decided(key);
        }
        Self::publish(
            out,
            match end {
                End::Rejected(why) => Notice::Rejected { task, why },
                End::Completed
                | End::Cancelled { .. }
                | End::Failed
                | End::Fatal
                | End::Panicked
                | End::TimedOut
                | End::Unresponsive
                | End::Abandoned { .. } => Notice::TaskEnded { task, end, streak },
            },
        );
        // If it has closed, its group learned of the end before.
        if is_member && !matches!(self.tasks[key].state, State::Closing(_)) {
            self.by_group_rules(GroupAct::MemberOver(key, end), out);
        }
    }

    /// Gives back what a task that waited or ran in `state` held, except its slot.
    pub(super) fn vacate(
        &mut self,
        key: TaskKey,
        state: State,
        keeps_place: bool,
        out: &mut Vec<Effect>,
    ) {
        let Task { slot, is_member, class_index, .. } = self.tasks[key];
        if is_member {
            self.hold_others_back(key, out);
        }
        if let (State::Queued, Some(slot)) = (state, slot) {
            self.slots.get_mut(slot).queue.remove(&mut self.tasks, key);
        }
        if state == State::Runnable {
            self.leave_line(key, keeps_place);
        }
        // The permit goes to the task that has waited longest, not to the heir.
        if state.holds_permit() {
            self.return_permit(out);
        }
        if !keeps_place && class_index.is_some() {
            self.return_class(key, out);
        }
    }

    /// The slot that the task owns.
    pub(super) fn owned_slot(&self, key: TaskKey) -> Option<SlotKey> {
        self.tasks[key].slot.filter(|&slot| self.slots.get(slot).owner == Some(key))
    }

    /// Gives a slot to the first task in its queue. With a `place`, that one takes the named task's
    /// place in the queue for permits.
    fn pass_on(&mut self, slot: SlotKey, place: Option<TaskKey>, out: &mut Vec<Effect>) {
        let entry = self.slots.get_mut(slot);
        entry.owner = None;
        if let Some(heir) = entry.queue.first {
            entry.queue.remove(&mut self.tasks, heir);
            let class = self.tasks[heir].plan.class;
            let place = place.filter(|&place| self.tasks[place].plan.class == class);
            self.become_owner(heir, place, out);
        }
    }

    /// Forgets a task that no longer holds anything, and also its slot if that is vacant.
    pub(super) fn forget(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let Task { addr: task, slot, is_member, .. } = self.tasks[key];
        if is_member {
            self.leave_group(key);
        }
        self.timers.clear(key);
        self.awaited.remove(&key);
        self.tasks.remove(key);
        out.push(Effect::Forget { task });
        if let Some(slot) = slot {
            let entry = self.slots.get_mut(slot);
            entry.named -= 1;
            if entry.is_vacant() {
                out.push(Effect::ForgetSlot { slot });
            }
        }
    }
}

impl Submission {
    fn expires_at(&self) -> Time {
        self.plan.expires_in.map_or(Time::NEVER, |span| self.submitted_at.after(span))
    }
}
