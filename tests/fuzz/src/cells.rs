//! The cells of all attempts of a history, and what must hold of any two of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cell_model::CellModel;
use crate::machine::Finality;
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::id::{AttemptAddr, SlotKey, TaskId};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) attempt: AttemptAddr,
    slot: Option<SlotKey>,
    pub(crate) shared: CellModel,
    pub(crate) finality: Finality,
    released: bool,
    /// It had its one terminal event.
    pub(crate) ended: bool,
}

impl Cell {
    pub(crate) fn is_offered(&self) -> bool {
        self.shared.is_offered()
    }

    pub(crate) fn runs(&self) -> bool {
        self.shared.runs()
    }
}

#[derive(Default)]
pub(crate) struct Cells(BTreeMap<(TaskId, u64), Cell>);

impl Cells {
    pub(crate) fn offer(
        &mut self,
        attempt: AttemptAddr,
        slot: Option<SlotKey>,
        finality: Finality,
    ) {
        let earlier = self.0.range((attempt.task.id, 0)..).map(|(_, cell)| cell);
        for cell in earlier.take_while(|cell| cell.attempt.task.id == attempt.task.id) {
            assert!(cell.attempt.number < attempt.number, "{attempt:?} is no new attempt");
            assert!(!cell.is_offered(), "two attempts of a task are offered");
            assert!(!cell.runs() || cell.released, "attempts of a task overlap");
        }
        let shared = CellModel::offered();
        let cell = Cell { attempt, slot, shared, finality, released: false, ended: false };
        self.0.insert((attempt.task.id, attempt.number), cell);
    }

    pub(crate) fn get(&mut self, attempt: AttemptAddr) -> &mut Cell {
        let cell = self.0.get_mut(&(attempt.task.id, attempt.number));
        cell.expect("an attempt that was ordered")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Cell> {
        self.0.values()
    }

    pub(crate) fn claim(&mut self, attempt: AttemptAddr, now: Time, timeout: Option<Duration>) {
        let slot = self.get(attempt).slot;
        let alone = self.all().all(|cell| !cell.runs() || cell.released || cell.slot != slot);
        assert!(alone || slot.is_none(), "two attempts run in one slot");
        let claimed = self.get(attempt).shared.claim(now, timeout, Some(Duration::MAX), None);
        assert!(claimed, "a claim takes what is offered");
    }

    pub(crate) fn tell(
        &mut self,
        attempt: AttemptAddr,
        why: CancelReason,
        now: Time,
        grace_until: Time,
    ) -> TellAnswer {
        let cell = &mut self.get(attempt).shared;
        assert!(cell.claimed_at().is_some(), "told before the claim");
        assert!(!cell.runs() || cell.told().is_none(), "told twice");
        cell.tell(why, now, grace_until)
    }

    pub(crate) fn release(&mut self, attempt: AttemptAddr) {
        let cell = self.get(attempt);
        assert!(cell.shared.is_abandoned() && cell.shared.is_finalized() && !cell.released);
        cell.released = true;
    }

    pub(crate) fn end(&mut self, attempt: AttemptAddr) {
        let cell = self.get(attempt);
        assert!(cell.shared.claimed_at().is_some(), "{attempt:?} ended without having begun");
        assert!(!cell.ended, "{attempt:?} has two terminal events");
        cell.ended = true;
    }
}
