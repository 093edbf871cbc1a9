//! The record that the worker of an attempt, its body and the controller share, with the
//! transitions of the real one: claim and return are the worker's, revoke only takes what is
//! offered, tell and abandon only reach what has not returned, and extend what was not told.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::seen_attempt::MISSES;
use crate::machine::Finality;
use crate::vocabulary::answer::{AbandonAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptRef, TaskId};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offered,
    Revoked,
    Claimed { at: Time },
    Returned { claimed_at: Time, at: Time },
}

#[allow(clippy::struct_excessive_bools, reason = "what has happened, not what state it is in")]
struct Cell {
    attempt: AttemptRef,
    phase: Phase,
    finality: Finality,
    /// As the body has moved it.
    deadline: Time,
    told: Option<CancelReason>,
    /// A stop came after the token was told.
    finalized: bool,
    abandoned: bool,
    released: bool,
    body: Body,
    last_look: Time,
    /// Looks in a row that found no sign of life.
    misses: u32,
    /// When the report of the claim arrives; the worker's reports do not overtake each other.
    claim_arrives: Time,
    /// The body comes home with the report.
    carries_body: bool,
}

/// What a body does.
#[derive(Clone, Copy)]
pub(super) struct Body {
    pub(super) ret: Return,
    /// What it returns instead once told, and how soon; `None` for one that does not listen.
    pub(super) obeys: Option<(Duration, Return)>,
    /// When it falls silent and for how long, counted from its claim.
    pub(super) silence: Option<(Duration, Duration)>,
    pub(super) extension: Option<Extension>,
}

/// How a body asks for more time.
#[derive(Clone, Copy)]
pub(super) struct Extension {
    pub(super) every: Duration,
    pub(super) by: Duration,
    /// Counted from the claim.
    pub(super) most: Duration,
}

/// What is known when a body returns.
pub(super) struct Returned {
    pub(super) claimed_at: Time,
    pub(super) told: Option<CancelReason>,
    pub(super) ret: Return,
    /// It will not run again, so that its worker drops it.
    pub(super) last: bool,
    pub(super) released: bool,
    pub(super) claim_arrives: Time,
}

pub(super) struct Cells {
    cells: BTreeMap<(TaskId, u64), Cell>,
    /// What a look finds is known before the next.
    answers_at_once: bool,
}

impl Cells {
    pub(super) const fn new(answers_at_once: bool) -> Self {
        Self { cells: BTreeMap::new(), answers_at_once }
    }

    pub(super) fn offer(&mut self, attempt: AttemptRef, finality: Finality) {
        let cell = Cell {
            attempt,
            phase: Phase::Offered,
            finality,
            deadline: Time::NEVER,
            told: None,
            finalized: false,
            abandoned: false,
            released: false,
            body: Body { ret: Return::Ok, obeys: None, silence: None, extension: None },
            last_look: Time::ZERO,
            misses: 0,
            claim_arrives: Time::ZERO,
            carries_body: false,
        };
        let before = self.cells.insert((attempt.task.id, attempt.attempt), cell);
        assert!(before.is_none(), "an attempt is ordered twice");
    }

    pub(super) fn is_offered(&self, attempt: AttemptRef) -> bool {
        self.cells[&(attempt.task.id, attempt.attempt)].phase == Phase::Offered
    }

    pub(super) fn claim(&mut self, attempt: AttemptRef, at: Time, deadline: Time, body: Body) {
        let cell = self.cell(attempt);
        assert!(cell.phase == Phase::Offered, "a claim takes what is offered");
        (cell.phase, cell.body) = (Phase::Claimed { at }, body);
        (cell.deadline, cell.last_look) = (deadline, at);
    }

    pub(super) fn report_claim(&mut self, attempt: AttemptRef, arrives: Time) {
        self.cell(attempt).claim_arrives = arrives;
    }

    /// `None` if it has returned before.
    pub(super) fn returns(&mut self, attempt: AttemptRef, at: Time) -> Option<Returned> {
        let cell = self.cell(attempt);
        let Phase::Claimed { at: claimed_at } = cell.phase else { return None };
        cell.phase = Phase::Returned { claimed_at, at };
        let (told, ret) = (cell.told, cell.body.ret);
        // Once it is abandoned its result is only reported: what it returns decides nothing.
        let judged = !cell.abandoned && cell.finality.is_final(told, ret, at);
        let last = cell.finalized || judged;
        cell.carries_body = !last;
        let (released, claim_arrives) = (cell.released, cell.claim_arrives);
        Some(Returned { claimed_at, told, ret, last, released, claim_arrives })
    }

    /// Whether a report brings its body home, and whether anybody waits for it there.
    pub(super) fn report(&mut self, attempt: AttemptRef) -> (bool, bool) {
        let cell = self.cell(attempt);
        (cell.carries_body, cell.released)
    }

    pub(super) fn revoke(&mut self, attempt: AttemptRef) -> RevokeAnswer {
        let cell = self.cell(attempt);
        match cell.phase {
            Phase::Offered | Phase::Revoked => {
                cell.phase = Phase::Revoked;
                RevokeAnswer::Revoked
            }
            Phase::Claimed { at } | Phase::Returned { claimed_at: at, .. } => {
                RevokeAnswer::AlreadyClaimed(at)
            }
        }
    }

    /// The body asks for more time. Gives when it asks again.
    pub(super) fn extend(&mut self, attempt: AttemptRef, now: Time) -> Option<Duration> {
        let cell = self.cell(attempt);
        let (Phase::Claimed { at }, None) = (cell.phase, cell.told) else { return None };
        let Extension { every, by, most } = cell.body.extension?;
        let wanted = now.after(by);
        if cell.deadline.is_never() || wanted > at.after(most) {
            return None;
        }
        cell.deadline = cell.deadline.max(wanted);
        Some(every)
    }

    /// Also says how soon the body obeys, if it does.
    pub(super) fn tell(
        &mut self,
        attempt: AttemptRef,
        reason: CancelReason,
        now: Time,
    ) -> (TellAnswer, Option<Duration>) {
        let answers_at_once = self.answers_at_once;
        let cell = self.cell(attempt);
        if !cell.is_claimed() {
            assert!(matches!(cell.phase, Phase::Returned { .. }), "told before the claim");
            return (TellAnswer::AlreadyReturned, None);
        }
        if reason == CancelReason::Timeout && cell.deadline > now {
            return (TellAnswer::DeadlineMoved(cell.deadline), None);
        }
        let silent = cell.misses >= MISSES || !answers_at_once;
        assert!(reason != CancelReason::Unresponsive || silent, "it gave signs of life");
        assert_eq!(cell.told.replace(reason), None, "told twice");
        let obeys = cell.body.obeys;
        cell.body.ret = obeys.map_or(cell.body.ret, |(_, ret)| ret);
        (TellAnswer::Told, obeys.map(|(reaction, _)| reaction))
    }

    /// Looks for a sign of life since the last look.
    pub(super) fn look(&mut self, attempt: AttemptRef, now: Time) -> bool {
        let cell = self.cell(attempt);
        let (claimed_at, returned_at) = match cell.phase {
            Phase::Claimed { at } => (at, Time::NEVER),
            Phase::Returned { claimed_at, at } => (claimed_at, at),
            Phase::Offered | Phase::Revoked => panic!("a look at what nobody claimed"),
        };
        let silent = cell.body.silence.is_some_and(|(from, span)| {
            let from = claimed_at.after(from);
            from <= cell.last_look && now < from.after(span)
        });
        let alive = !silent && cell.last_look < returned_at;
        cell.misses = if alive { 0 } else { cell.misses + 1 };
        cell.last_look = now;
        alive
    }

    pub(super) fn finalize(&mut self, attempt: AttemptRef) {
        self.cell(attempt).finalized = true;
    }

    pub(super) fn abandon(&mut self, attempt: AttemptRef) -> AbandonAnswer {
        let cell = self.cell(attempt);
        // One that was not told, having asked for more time, is not given up.
        if !cell.is_claimed() || cell.told.is_none() {
            return AbandonAnswer::NotAbandoned;
        }
        cell.abandoned = true;
        AbandonAnswer::Abandoned { last: cell.finalized }
    }

    pub(super) fn release(&mut self, attempt: AttemptRef) {
        let cell = self.cell(attempt);
        assert!(cell.abandoned && cell.finalized, "released, though not given up for good");
        cell.released = true;
    }

    /// Attempts whose bodies run.
    pub(super) fn running(&self) -> Vec<AttemptRef> {
        self.cells.values().filter(|cell| cell.is_claimed()).map(|cell| cell.attempt).collect()
    }

    /// Whether the task's latest attempt was given up.
    pub(super) fn is_abandoned(&self, task: TaskId) -> bool {
        let latest = self.cells.range((task, 0)..=(task, u64::MAX)).next_back();
        latest.is_some_and(|(_, cell)| cell.abandoned)
    }

    fn cell(&mut self, attempt: AttemptRef) -> &mut Cell {
        let cell = self.cells.get_mut(&(attempt.task.id, attempt.attempt));
        cell.expect("an attempt that was ordered")
    }
}

impl Cell {
    const fn is_claimed(&self) -> bool {
        matches!(self.phase, Phase::Claimed { .. })
    }
}
