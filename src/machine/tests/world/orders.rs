//! What becomes of the orders of the machine in a world.

use super::{Chance, Happening, World};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::machine::{Effect, Input, Notice};
use crate::vocabulary::id::AttemptAddr;
use crate::vocabulary::reason::Decision;

impl World {
    pub(super) fn perform(&mut self, effect: Effect) -> Option<(AttemptAddr, Input)> {
        match effect {
            Effect::Start { attempt, finality, .. } => self.offer(attempt, finality),
            Effect::Revoke { attempt } => {
                if self.cells.is_offered(attempt) {
                    self.bodies.comes_back(attempt.task.id);
                }
                let answer = self.cells.revoke(attempt);
                return Some((attempt, Input::RevokeAnswered { attempt, answer }));
            }
            Effect::Tell { attempt, reason, grace_until } => {
                let (answer, reaction) = self.cells.tell(attempt, reason, self.now, grace_until);
                if let Some(reaction) = reaction {
                    self.schedule(reaction, Happening::Return(attempt));
                }
                return Some((attempt, Input::TellAnswered { attempt, answer }));
            }
            Effect::Finalize { attempt, grace_until } => self.cells.finalize(attempt, grace_until),
            Effect::Abandon { attempt } => {
                let answer = self.cells.abandon(attempt);
                return Some((attempt, Input::AbandonAnswered { attempt, answer }));
            }
            Effect::Look { attempt } => {
                let alive = self.cells.look(attempt, self.now);
                return Some((attempt, Input::Looked { attempt, alive }));
            }
            Effect::Close { attempt, .. } => self.close(attempt),
            Effect::AbandonClosing { attempt } => {
                let answer = self.closings.abandon(attempt);
                return Some((attempt, Input::ClosingAnswered { attempt, answer }));
            }
            Effect::Release { attempt, .. } if self.closings.has(attempt.task.id) => {}
            Effect::Release { attempt, .. } => {
                self.cells.release(attempt);
                self.bodies.is_released(attempt.task.id);
            }
            Effect::Forget { task } => {
                self.bodies.is_forgotten(task.id);
                self.free_keys.push(task.key);
            }
            Effect::ForgetSlot { slot } => {
                let n_known = self.slots.len();
                self.slots.retain(|_, known| *known != slot);
                assert_eq!(self.slots.len() + 1, n_known, "a slot is forgotten once");
                self.free_slots.push(slot);
            }
            Effect::FlushEvents => {
                let delay = Dice::of(&[self.seed, 7]).span(ms(100));
                self.schedule(delay, Happening::Message(Input::EventsFlushed));
            }
            Effect::ForgetGroup { group } => self.free_groups.push(group.key),
            Effect::Finish => self.finished = true,
            Effect::Deliver { task, end, .. } => {
                self.bodies.is_over(task.id, end);
                let mut dice = self.dice(task.id, 0, Chance::React);
                if dice.chance(self.profile.reacts) && !self.healthy {
                    self.react(&mut dice, task.id);
                }
            }
            Effect::Decide { .. } | Effect::Publish(_) => self.note_bodies(effect),
            Effect::Answer(_)
            | Effect::BeginDrain { .. }
            | Effect::NoteUnfinished { .. }
            | Effect::CloseDoor { .. }
            | Effect::PublishGroup { .. }
            | Effect::RestoreSignals
            | Effect::Examine { .. }
            | Effect::NoteFailure { .. }
            | Effect::ForgetReleased { .. } => {}
        }
        None
    }

    /// What becomes of a body without an order about it.
    fn note_bodies(&mut self, effect: Effect) {
        match effect {
            Effect::Decide { task, decision: Decision::Rejected(_) }
                if self.checker.gives_back(task.id) || !self.machine.is_running() =>
            {
                self.bodies.is_given_back(task.id);
            }
            Effect::Publish(Notice::Admitted { task }) => self.bodies.is_admitted(task.id),
            Effect::Publish(Notice::ClosingAbandoned { attempt }) => {
                self.bodies.is_given_up(attempt.task.id, false);
            }
            _ => {}
        }
    }
}
