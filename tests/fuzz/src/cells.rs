//! What the real cell of an attempt does: claim and return are the worker's, revoke takes only what
//! is offered, tell and abandon reach only what has not returned, extend only what was not told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::vocabulary::answer::{AbandonAnswer, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptRef, SlotKey, TaskId};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offered,
    Revoked,
    Claimed(Time),
    Returned(Time),
}

#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) attempt: AttemptRef,
    slot: Option<SlotKey>,
    phase: Phase,
    deadline: Time,
    told: Option<CancelReason>,
    finalized: bool,
    abandoned: bool,
    pub(crate) released: bool,
    /// It had its one terminal event.
    pub(crate) ended: bool,
}

impl Cell {
    pub(crate) fn is_offered(&self) -> bool {
        self.phase == Phase::Offered
    }

    pub(crate) const fn runs(&self) -> bool {
        matches!(self.phase, Phase::Claimed(_))
    }

    pub(crate) const fn told(&self) -> Option<CancelReason> {
        self.told
    }

    const fn claimed_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Claimed(at) | Phase::Returned(at) => Some(at),
            Phase::Offered | Phase::Revoked => None,
        }
    }

    pub(crate) const fn was_claimed(&self) -> bool {
        self.claimed_at().is_some()
    }

    /// The body returns; says when it had begun.
    pub(crate) fn returns(&mut self) -> Time {
        let Phase::Claimed(at) = self.phase else { panic!("only what runs can return") };
        self.phase = Phase::Returned(at);
        at
    }

    /// The body asks for more time.
    pub(crate) fn extend(&mut self, until: Time) {
        if self.runs() && self.told.is_none() && !self.deadline.is_never() {
            self.deadline = self.deadline.max(until);
        }
    }

    fn tell(&mut self, reason: CancelReason, now: Time) -> TellAnswer {
        if !self.runs() {
            assert!(self.was_claimed(), "told before the claim");
            return TellAnswer::AlreadyReturned;
        }
        if reason == CancelReason::Timeout && self.deadline > now {
            return TellAnswer::DeadlineMoved(self.deadline);
        }
        assert_eq!(self.told.replace(reason), None, "told twice");
        TellAnswer::Told
    }
}

#[derive(Default)]
pub(crate) struct Cells(BTreeMap<(TaskId, u64), Cell>);

impl Cells {
    pub(crate) fn offer(&mut self, attempt: AttemptRef, slot: Option<SlotKey>) {
        let earlier = self.0.range((attempt.task.id, 0)..).map(|(_, cell)| cell);
        for cell in earlier.take_while(|cell| cell.attempt.task.id == attempt.task.id) {
            assert!(cell.attempt.attempt < attempt.attempt, "{attempt:?} is no new attempt");
            assert!(!cell.is_offered(), "two attempts of a task are offered");
            assert!(!cell.runs() || cell.released, "attempts of a task overlap");
        }
        let cell = Cell {
            attempt,
            slot,
            phase: Phase::Offered,
            deadline: Time::NEVER,
            told: None,
            finalized: false,
            abandoned: false,
            released: false,
            ended: false,
        };
        self.0.insert((attempt.task.id, attempt.attempt), cell);
    }

    pub(crate) fn get(&mut self, attempt: AttemptRef) -> &mut Cell {
        let cell = self.0.get_mut(&(attempt.task.id, attempt.attempt));
        cell.expect("an attempt that was ordered")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Cell> {
        self.0.values()
    }

    pub(crate) fn claim(&mut self, attempt: AttemptRef, now: Time, timeout: Option<Duration>) {
        let slot = self.get(attempt).slot;
        let alone = self.all().all(|cell| !cell.runs() || cell.released || cell.slot != slot);
        assert!(alone || slot.is_none(), "two attempts run in one slot");
        let cell = self.get(attempt);
        assert!(cell.is_offered(), "a claim takes what is offered");
        cell.phase = Phase::Claimed(now);
        cell.deadline = timeout.map_or(Time::NEVER, |timeout| now.after(timeout));
    }

    pub(crate) fn revoke(&mut self, attempt: AttemptRef) -> RevokeAnswer {
        let cell = self.get(attempt);
        match cell.claimed_at() {
            Some(at) => RevokeAnswer::AlreadyClaimed(at),
            None => {
                cell.phase = Phase::Revoked;
                RevokeAnswer::Revoked
            }
        }
    }

    pub(crate) fn tell(&mut self, attempt: AttemptRef, why: CancelReason, now: Time) -> TellAnswer {
        self.get(attempt).tell(why, now)
    }

    pub(crate) fn finalize(&mut self, attempt: AttemptRef) {
        self.get(attempt).finalized = true;
    }

    pub(crate) fn abandon(&mut self, attempt: AttemptRef) -> AbandonAnswer {
        let cell = self.get(attempt);
        if !cell.runs() || cell.told.is_none() {
            return AbandonAnswer::NotAbandoned;
        }
        cell.abandoned = true;
        AbandonAnswer::Abandoned { last: cell.finalized }
    }

    pub(crate) fn release(&mut self, attempt: AttemptRef) {
        let cell = self.get(attempt);
        assert!(cell.abandoned && cell.finalized && !cell.released);
        cell.released = true;
    }

    pub(crate) fn end(&mut self, attempt: AttemptRef) {
        let cell = self.get(attempt);
        assert!(cell.was_claimed(), "{attempt:?} ended without having begun");
        assert!(!cell.ended, "{attempt:?} has two terminal events");
        cell.ended = true;
    }
}
