//! What the users of a seeded world ask for.

use alloc::vec::Vec;

use super::super::{Input, Submission};
use super::rig::ms;
use super::world::{Happening, World};
use crate::id::{SlotKey, TaskAddr, TaskId, TaskKey};
use crate::policy::AbandonPolicy;
use crate::reason::ShutdownCause;
use crate::time::Time;

impl World {
    pub(super) fn request(&mut self) {
        match self.dice.below(100) {
            0..=49 => {
                let submission = self.submission();
                self.feed(Input::Submitted(submission));
            }
            50..=56 => {
                let n_specs = 1 + self.dice.below(4);
                let batch = (0..n_specs).map(|_| self.submission()).collect();
                self.feed(Input::BatchSubmitted(batch));
            }
            57..=66 => self.request_about_a_task(Input::StopRequested),
            67..=72 => {
                let slots: Vec<_> = self.slots.values().copied().collect();
                if let Some(&slot) = self.dice.pick(&slots) {
                    self.feed(Input::SlotStopRequested(slot));
                }
            }
            73..=80 => self.request_about_a_task(Input::SkipRequested),
            81..=88 => self.request_about_a_task(Input::RestartRequested),
            89..=94 => self.repeat_a_message(),
            95 => self.feed(Input::TimerDue),
            96 => self.feed(Input::EventsDrained),
            97 if self.dice.chance(self.profile.shutdown) => self.request_the_end(),
            98..=99 if self.dice.chance(self.profile.stuck_hook) => {
                let stuck = self.dice.span(ms(200));
                self.schedule(stuck, Happening::Message(Input::HookReturned));
                self.feed(Input::HookAbandoned);
            }
            _ => {}
        }
    }

    fn request_about_a_task(&mut self, input: fn(TaskAddr) -> Input) {
        // Mostly a young one, which is more likely to be alive.
        let from = if self.dice.chance(80) { self.tasks.len().saturating_sub(8) } else { 0 };
        if let Some(&task) = self.dice.pick(&self.tasks[from..]) {
            self.feed(input(task));
        }
    }

    pub(super) fn request_the_end(&mut self) {
        if self.dice.chance(50) {
            return self.feed(Input::ShutdownRequested(ShutdownCause::Dropped));
        }
        self.feed(Input::SignalReceived(15));
        for delay in [ms(100), ms(350), ms(400)] {
            let again = self.now.after(delay);
            self.schedule_at(again, Happening::Message(Input::SignalReceived(2)));
        }
    }

    fn submission(&mut self) -> Submission {
        let id = TaskId::new(self.tasks.len() as u64 + 1);
        let key = self.free_keys.pop().unwrap_or_else(|| {
            self.n_keys += 1;
            TaskKey(self.n_keys - 1)
        });
        let task = TaskAddr { key, id };
        self.tasks.push(task);
        let name = self.dice.chance(85).then(|| self.dice.below(self.profile.slots));
        let slot = name.map(|name| self.intern(name));
        let submission = Submission {
            task,
            slot,
            policy: self.dice.policy(),
            plan: self.dice.plan(&self.profile).into(),
            submitted_at: Time::from_nanos(
                self.now.as_nanos().saturating_sub(u64::from(self.dice.below(2_000_000))),
            ),
            cancelled: self.dice.chance(3),
        };
        self.checker.submitted(&submission, name);
        let released = submission.plan.abandon == AbandonPolicy::Release;
        self.bodies.arrives(id, name, released && submission.plan.shared);
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
