//! The drops of bodies that will not run again: offered, taken up, done.

use std::collections::BTreeMap;

use crate::vocabulary::answer::ClosingAnswer;
use crate::vocabulary::id::{AttemptAddr, TaskId};
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::time::Time;

#[derive(Clone, Copy)]
enum Phase {
    Offered,
    Taken { since: Time },
    Dropped,
}

#[derive(Default)]
pub(crate) struct Closings(BTreeMap<TaskId, (AttemptAddr, Phase)>);

impl Closings {
    pub(crate) fn offer(&mut self, attempt: AttemptAddr) {
        let before = self.0.insert(attempt.task.id, (attempt, Phase::Offered));
        assert!(before.is_none(), "{attempt:?} is closed twice");
    }

    pub(crate) fn has(&self, attempt: AttemptAddr) -> bool {
        self.0.contains_key(&attempt.task.id)
    }

    pub(crate) fn abandon(&self, attempt: AttemptAddr) -> ClosingAnswer {
        match self.0[&attempt.task.id].1 {
            Phase::Offered => ClosingAnswer::Untaken,
            Phase::Taken { .. } => ClosingAnswer::Abandoned,
            Phase::Dropped => ClosingAnswer::Dropped,
        }
    }

    pub(crate) fn undone(&self) -> Vec<AttemptAddr> {
        let undone = self.0.values().filter(|(_, phase)| !matches!(phase, Phase::Dropped));
        undone.map(|(attempt, _)| *attempt).collect()
    }

    /// One that was offered is taken up; one that was taken up is done, which is told.
    pub(crate) fn go_on(&mut self, attempt: AttemptAddr, now: Time) -> bool {
        let (_, phase) = self.0.get_mut(&attempt.task.id).expect("one that is undone");
        let done = matches!(phase, Phase::Taken { .. });
        *phase = if done { Phase::Dropped } else { Phase::Taken { since: now } };
        done
    }

    /// Those that a thread has been at for a while, and since when.
    pub(crate) fn slow(&self, now: Time) -> Vec<(AttemptAddr, Time)> {
        let slow = |(attempt, phase): &(AttemptAddr, Phase)| match phase {
            Phase::Taken { since } if since.until(now) >= SLOW => Some((*attempt, *since)),
            _ => None,
        };
        self.0.values().filter_map(slow).collect()
    }
}
