//! How the users of a world get what they ask for.

use alloc::vec::Vec;

use super::recipe::{Draft, GroupDraft, Request, Target, Wish};
use super::{Happening, World};
use crate::machine::roster::Group;
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::machine::{GroupSubmission, Input, State, Submission};
use crate::vocabulary::id::{GroupAddr, GroupKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::BodyKind;
use crate::vocabulary::policy::{AbandonPolicy, AdmissionPolicy};
use crate::vocabulary::time::Time;

/// The ids of those who react to the end of others begin here.
const REACTIONS: u64 = 1_000_000;

impl World {
    pub(super) fn request(&mut self, wish: Wish) {
        match wish {
            Wish::Submit(draft) => {
                let submission = self.submission(draft);
                self.feed(Input::Submitted(submission));
            }
            Wish::SubmitAll(drafts) => {
                let batch = drafts.into_iter().map(|draft| self.submission(draft)).collect();
                self.feed(Input::BatchSubmitted(batch));
            }
            Wish::SubmitGroup(draft) => self.submit_group(draft),
            Wish::StopGroupOf(target) => {
                if let Some(group) = self.group_of(target) {
                    self.feed(Input::GroupStopRequested(group));
                }
            }
            Wish::RestartGroupOf(target) => {
                if let Some(group) = self.group_of(target) {
                    self.feed(Input::GroupRestartRequested(group));
                }
            }
            Wish::Stop(task) => self.request_about(task, Input::StopRequested),
            Wish::Skip(task) => self.request_about(task, Input::SkipRequested),
            Wish::Restart(task) => self.request_about(task, Input::RestartRequested),
            Wish::Pause(task) => self.request_about(task, Input::PauseRequested),
            Wish::Resume(task) => self.request_about(task, Input::ResumeRequested),
            Wish::SetInterval(task, interval) => {
                self.request_about(task, |task| Input::IntervalRequested { task, interval });
            }
            Wish::SetClassLimit(class, limit) => {
                self.feed(Input::ClassLimitRequested { class, limit });
            }
            Wish::Await(target, span) => {
                if let Some(task) = self.find(target) {
                    self.schedule(span, Happening::Message(Input::WaitEnded(task)));
                    self.feed(Input::WaitBegan(task));
                }
            }
            Wish::StopSlotOf(target) => {
                let name = self.find(target).and_then(|task| self.checker.slot(task.id));
                if let Some(&slot) = name.and_then(|name| self.slots.get(&name)) {
                    self.feed(Input::SlotStopRequested(slot));
                }
            }
            Wish::Drain(cause, limit) => self.feed(Input::DrainRequested { cause, limit }),
            Wish::End(cause) => self.feed(Input::ShutdownRequested(cause)),
            Wish::Signal(number) => self.feed(Input::SignalReceived(number)),
            Wish::Repeat(which) => self.repeat_a_message(which),
            Wish::Wake => self.feed(Input::TimerDue),
            Wish::Flushed => self.feed(Input::EventsFlushed),
            Wish::IntakeEmpty => self.feed(Input::IntakeEmpty),
            Wish::Hook(span) => {
                self.schedule(span, Happening::Message(Input::HookReturned));
                self.feed(Input::HookAbandoned);
            }
            Wish::Stall(span) => {
                self.asleep_until = self.now.after(span);
                self.waits.stall(span);
            }
        }
    }

    fn request_about(&mut self, target: Target, input: impl FnOnce(TaskAddr) -> Input) {
        if let Some(task) = self.find(target) {
            self.feed(input(task));
        }
    }

    /// Nobody asks for what was never submitted.
    fn find(&self, target: Target) -> Option<TaskAddr> {
        let which = match target {
            Target::Task(task) => return self.tasks.get(&task).copied(),
            Target::Odd(which) => which,
        };
        let mut odd: Vec<_> = self.machine.tasks().iter().collect();
        odd.retain(|task| is_odd(task.state));
        if odd.iter().any(|task| is_stuck(task.state)) && which % 2 == 0 {
            odd.retain(|task| is_stuck(task.state));
        }
        Dice::of(&[which]).pick(&odd).map(|task| task.addr)
    }

    /// Whoever hears of the end submits the next for the same slot, at once.
    pub(super) fn react(&mut self, dice: &mut Dice, task: TaskId) {
        if task.get() >= REACTIONS {
            return;
        }
        let id = TaskId::new(task.get() + REACTIONS);
        let mut draft = Draft::new(dice, &self.profile, self.families, id);
        draft.slot = self.checker.slot(task);
        draft.policy = AdmissionPolicy::DropIfRunning;
        let request = Request { at: self.now, wish: Wish::Submit(draft) };
        self.requests_left += 1;
        self.schedule(ms(0), Happening::Request(request));
    }

    fn submit_group(&mut self, draft: GroupDraft) {
        let GroupDraft { strategy, limit, phases, members } = draft;
        let members: Vec<_> = members.into_iter().map(|draft| self.submission(draft)).collect();
        let key = self.free_groups.pop().unwrap_or_else(|| {
            self.n_groups += 1;
            GroupKey(self.n_groups - 1)
        });
        let group = GroupAddr { key, first: members[0].addr.id };
        self.feed(Input::GroupSubmitted(GroupSubmission {
            group,
            strategy,
            restart_limit: limit,
            phases,
            members,
            refused: None,
        }));
    }

    /// The group of a task, whether it is over or not.
    fn group_of(&self, target: Target) -> Option<GroupAddr> {
        let task = self.find(target);
        let own = task.and_then(|task| self.watch.group_of(task.id));
        own.or_else(|| self.machine.groups().iter().map(Group::addr).next())
    }

    fn submission(&mut self, draft: Draft) -> Submission {
        let id = draft.id;
        let key = self.free_keys.pop().unwrap_or_else(|| {
            self.n_keys += 1;
            TaskKey(self.n_keys - 1)
        });
        let task = TaskAddr { key, id };
        self.tasks.insert(id, task);
        let submission = Submission {
            addr: task,
            slot: draft.slot.map(|name| self.intern(name)),
            policy: draft.policy,
            plan: draft.plan.into(),
            submitted_at: Time::ZERO.after(self.now.since_start().saturating_sub(draft.age)),
            cancelled: draft.cancelled,
            gives_back: draft.gives_back,
        };
        self.checker.submitted(&submission, draft.slot);
        self.waits.submitted(&submission);
        self.events.submitted(id, draft.slot, submission.plan.class);
        let released = submission.plan.abandon == AbandonPolicy::Release;
        let is_copied = released && submission.plan.body == BodyKind::Shared;
        self.bodies.arrives(id, draft.slot, is_copied, submission.plan.needs_drop);
        submission
    }

    fn intern(&mut self, name: u32) -> SlotKey {
        if let Some(&known) = self.slots.get(&name) {
            return known;
        }
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.n_slots += 1;
            SlotKey(self.n_slots - 1)
        });
        self.slots.insert(name, slot);
        slot
    }
}

fn is_odd(state: State) -> bool {
    match state {
        State::Starting { .. }
        | State::Stopping { .. }
        | State::Abandoned { .. }
        | State::Waiting(_)
        | State::Closing(_)
        | State::Runnable => true,
        State::Intake | State::Queued | State::Running { .. } | State::Over => false,
    }
}

const fn is_stuck(state: State) -> bool {
    matches!(state, State::Abandoned { over: false, .. })
}
