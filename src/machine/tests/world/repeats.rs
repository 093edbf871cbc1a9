//! What the machine is told again about what is over.

use alloc::vec::Vec;
use core::mem;

use super::World;
use crate::machine::tests::audit::audit;
use crate::machine::tests::dice::Dice;
use crate::machine::Input;
use crate::vocabulary::id::AttemptAddr;

impl World {
    /// Keeps what was said about an attempt, for [`repeat_a_message`](Self::repeat_a_message).
    pub(super) fn remember(&mut self, input: &Input) {
        if attempt_of(input).is_some() {
            self.past.push(input.clone());
            if self.past.len() > 64 {
                self.past.remove(0);
            }
        }
    }

    /// A message about an attempt that is over changes nothing, however it came to be there.
    pub(super) fn repeat_a_message(&mut self, which: u64) {
        if self.has_groups {
            return;
        }
        let past = mem::take(&mut self.past);
        let over: Vec<_> = past
            .iter()
            .filter(|input| match input {
                Input::ClosingSlow { attempt, .. }
                | Input::ClosingAnswered { attempt, .. }
                | Input::Closed { attempt } => self.checker.is_forgotten(attempt.task.id),
                _ => attempt_of(input).is_some_and(|it| self.checker.is_over(it)),
            })
            .cloned()
            .collect();
        self.past = past;
        let Some(input) = Dice::of(&[which]).pick(&over).cloned() else { return };
        self.coverage.before(&self.machine, self.now, &input);
        let (stale, mut effects) = (self.machine.stale, Vec::new());
        self.machine.step(self.now, input.clone(), &mut effects);
        assert!(effects.is_empty(), "a stale {input:?} led to {effects:?}");
        assert_eq!(self.machine.stale, stale + 1, "{input:?} was not seen to be stale");
        audit(&self.machine, self.beyond());
    }
}

fn attempt_of(input: &Input) -> Option<AttemptAddr> {
    match *input {
        Input::Claimed { attempt, .. }
        | Input::Ready { attempt, .. }
        | Input::Returned { attempt, .. }
        | Input::RevokeAnswered { attempt, .. }
        | Input::TellAnswered { attempt, .. }
        | Input::AbandonAnswered { attempt, .. }
        | Input::Looked { attempt, .. }
        | Input::ClosingSlow { attempt, .. }
        | Input::ClosingAnswered { attempt, .. }
        | Input::Closed { attempt } => Some(attempt),
        Input::Submitted(_)
        | Input::BatchSubmitted(_)
        | Input::GroupSubmitted(_)
        | Input::GroupStopRequested(_)
        | Input::GroupRestartRequested(_)
        | Input::StopRequested(_)
        | Input::SlotStopRequested(_)
        | Input::SkipRequested(_)
        | Input::RestartRequested(_)
        | Input::PauseRequested(_)
        | Input::ResumeRequested(_)
        | Input::IntervalRequested { .. }
        | Input::ClassLimitRequested { .. }
        | Input::WaitBegan(_)
        | Input::WaitEnded(_)
        | Input::DrainRequested { .. }
        | Input::IntakeEmpty
        | Input::ShutdownRequested(_)
        | Input::SignalReceived(_)
        | Input::HookAbandoned
        | Input::HookReturned
        | Input::EventsFlushed
        | Input::TimerDue => None,
    }
}
