//! The drops of bodies that will not run again: offered, taken up sooner or later, short or long.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Chance, Happening, World, MAX_DELAY};
use crate::machine::tests::rig::ms;
use crate::machine::Input;
use crate::vocabulary::answer::ClosingAnswer;
use crate::vocabulary::id::{AttemptAddr, TaskId};
use crate::vocabulary::plan::SLOW;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offered,
    Taken,
    Dropped,
}

/// No drop is offered longer than this.
pub(super) const MAX_OFFER: Duration = ms(200);

#[derive(Default)]
pub(super) struct Closings(BTreeMap<TaskId, (AttemptAddr, Phase)>);

impl Closings {
    pub(super) fn abandon(&self, attempt: AttemptAddr) -> ClosingAnswer {
        match self.0[&attempt.task.id].1 {
            Phase::Offered => ClosingAnswer::Untaken,
            Phase::Taken => ClosingAnswer::Abandoned,
            Phase::Dropped => ClosingAnswer::Dropped,
        }
    }

    pub(super) fn has(&self, task: TaskId) -> bool {
        self.0.contains_key(&task)
    }

    /// Those that threads are in.
    pub(super) fn running(&self) -> Vec<AttemptAddr> {
        let taken = self.0.values().filter(|(_, phase)| *phase == Phase::Taken);
        taken.map(|(attempt, _)| *attempt).collect()
    }
}

impl World {
    /// Has a thread drop a body, some time.
    pub(super) fn close(&mut self, attempt: AttemptAddr) {
        self.bodies.closes(attempt.task.id);
        let before = self.closings.0.insert(attempt.task.id, (attempt, Phase::Offered));
        assert!(before.is_none(), "{attempt:?} is closed twice");
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Drop);
        let refused = dice.chance(self.profile.refused) && !self.healthy;
        let delay = if refused { dice.span(MAX_OFFER) } else { dice.delay(ms(3)) };
        self.schedule(delay, Happening::Drop(attempt));
    }

    /// A thread takes it up.
    pub(super) fn drop_body(&mut self, attempt: AttemptAddr) {
        let since = self.now;
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Hang);
        let hangs = dice.chance(self.profile.hung_drops) && !self.healthy;
        let span = if hangs { dice.span(ms(3000)) } else { dice.delay(ms(20)) };
        self.closings.0.insert(attempt.task.id, (attempt, Phase::Taken));
        self.schedule(span, Happening::Dropped(attempt));
        if span > SLOW {
            let slow = Input::ClosingSlow { attempt, since };
            self.schedule(SLOW + dice.delay(MAX_DELAY), Happening::Message(slow));
        }
    }

    /// It has.
    pub(super) fn body_dropped(&mut self, attempt: AttemptAddr) {
        let (_, phase) = self.closings.0[&attempt.task.id];
        if phase == Phase::Taken {
            self.closings.0.insert(attempt.task.id, (attempt, Phase::Dropped));
            self.bodies.is_closed(attempt.task.id);
            let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Closed);
            self.schedule(dice.delay(MAX_DELAY), Happening::Message(Input::Closed { attempt }));
        }
    }
}
