//! The cells of all attempts of a world, each with the body that its thread runs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::seen_attempt::MISSES;
use crate::machine::tests::cell_model::{CellModel, Seen};
use crate::machine::Finality;
use crate::vocabulary::answer::{AbandonAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptAddr, TaskId};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

struct Cell {
    attempt: AttemptAddr,
    shared: CellModel,
    finality: Finality,
    released: bool,
    body: Body,
    returned_at: Time,
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
    /// When it says that it is ready, counted from its claim.
    pub(super) ready: Option<Duration>,
    /// The delay that its error asks for.
    pub(super) retry_after: Option<Duration>,
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
    pub(super) retry_after: Option<Duration>,
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

    pub(super) fn offer(&mut self, attempt: AttemptAddr, finality: Finality) {
        let cell = Cell {
            attempt,
            shared: CellModel::offered(),
            finality,
            released: false,
            body: Body {
                ret: Return::Ok,
                obeys: None,
                silence: None,
                extension: None,
                ready: None,
                retry_after: None,
            },
            returned_at: Time::NEVER,
            last_look: Time::ZERO,
            misses: 0,
            claim_arrives: Time::ZERO,
            carries_body: false,
        };
        let before = self.cells.insert((attempt.task.id, attempt.number), cell);
        assert!(before.is_none(), "an attempt is ordered twice");
    }

    pub(super) fn is_offered(&self, attempt: AttemptAddr) -> bool {
        self.cells[&(attempt.task.id, attempt.number)].shared.is_offered()
    }

    pub(super) fn claim(&mut self, attempt: AttemptAddr, at: Time, plan: &Plan, body: Body) {
        let cell = self.cell(attempt);
        let most = body.extension.map(|extension| extension.most);
        let claimed = cell.shared.claim(at, plan.timeout, most, plan.ready_within);
        assert!(claimed, "a claim takes what is offered");
        (cell.body, cell.last_look) = (body, at);
    }

    pub(super) fn report_claim(&mut self, attempt: AttemptAddr, arrives: Time) {
        self.cell(attempt).claim_arrives = arrives;
    }

    /// `None` if it has returned before.
    pub(super) fn returns(&mut self, attempt: AttemptAddr, at: Time) -> Option<Returned> {
        let cell = self.cell(attempt);
        if !cell.shared.runs() {
            return None;
        }
        let (ret, finality) = (cell.body.ret, cell.finality);
        let seen = cell.shared.returned(|told, given_up| finality.is_final(told, ret, given_up));
        cell.shared.left();
        (cell.returned_at, cell.carries_body) = (at, !seen.last);
        let (released, claim_arrives) = (cell.released, cell.claim_arrives);
        let Seen { claimed_at, told, last } = seen;
        // What panics or succeeds has no error.
        let has_error = !matches!(ret, Return::Ok | Return::Panicked);
        let retry_after = cell.body.retry_after.filter(|_| has_error);
        Some(Returned { claimed_at, told, ret, retry_after, last, released, claim_arrives })
    }

    /// Whether a report brings its body home, and whether anybody waits for it there.
    pub(super) fn report(&mut self, attempt: AttemptAddr) -> (bool, bool) {
        let cell = self.cell(attempt);
        (cell.carries_body, cell.released)
    }

    pub(super) fn revoke(&mut self, attempt: AttemptAddr) -> RevokeAnswer {
        self.cell(attempt).shared.revoke()
    }

    /// The body asks for more time. Gives when it asks again.
    pub(super) fn extend(&mut self, attempt: AttemptAddr, now: Time) -> Option<Duration> {
        let cell = self.cell(attempt);
        let Extension { every, by, .. } = cell.body.extension?;
        let asks = cell.shared.runs() && !cell.shared.until().is_never();
        (asks && cell.shared.extend(now, by)).then_some(every)
    }

    /// The body says that it is ready. Gives when it was claimed, its deadline from now on, and
    /// when the report of the claim arrives.
    pub(super) fn say_ready(&mut self, attempt: AttemptAddr) -> Option<(Time, Time, Time)> {
        let cell = self.cell(attempt);
        let until = cell.shared.say_ready()?;
        Some((cell.shared.claimed_at()?, until, cell.claim_arrives))
    }

    /// Also says how soon the body obeys, if it does.
    pub(super) fn tell(
        &mut self,
        attempt: AttemptAddr,
        reason: CancelReason,
        now: Time,
        grace_until: Time,
    ) -> (TellAnswer, Option<Duration>) {
        let answers_at_once = self.answers_at_once;
        let cell = self.cell(attempt);
        assert!(cell.shared.claimed_at().is_some(), "told before the claim");
        assert!(!cell.shared.runs() || cell.shared.told().is_none(), "told twice");
        let answer = cell.shared.tell(reason, now, grace_until);
        if answer != TellAnswer::Told {
            return (answer, None);
        }
        let silent = cell.misses >= MISSES || !answers_at_once;
        assert!(reason != CancelReason::Unresponsive || silent, "it gave signs of life");
        let obeys = cell.body.obeys;
        cell.body.ret = obeys.map_or(cell.body.ret, |(_, ret)| ret);
        (TellAnswer::Told, obeys.map(|(reaction, _)| reaction))
    }

    /// Looks for a sign of life since the last look.
    pub(super) fn look(&mut self, attempt: AttemptAddr, now: Time) -> bool {
        let cell = self.cell(attempt);
        let claimed_at = cell.shared.claimed_at().expect("a look at what somebody claimed");
        let silent = cell.body.silence.is_some_and(|(from, span)| {
            let from = claimed_at.after(from);
            from <= cell.last_look && now < from.after(span)
        });
        let alive = !silent && cell.last_look < cell.returned_at;
        cell.misses = if alive { 0 } else { cell.misses + 1 };
        cell.last_look = now;
        alive
    }

    pub(super) fn finalize(&mut self, attempt: AttemptAddr, grace_until: Time) {
        self.cell(attempt).shared.finalize(grace_until);
    }

    pub(super) fn abandon(&mut self, attempt: AttemptAddr) -> AbandonAnswer {
        self.cell(attempt).shared.abandon()
    }

    pub(super) fn release(&mut self, attempt: AttemptAddr) {
        let cell = self.cell(attempt);
        let for_good = cell.shared.is_abandoned() && cell.shared.is_finalized();
        assert!(for_good, "released, though not abandoned for good");
        cell.released = true;
    }

    /// Attempts whose bodies run.
    pub(super) fn running(&self) -> Vec<AttemptAddr> {
        self.cells.values().filter(|cell| cell.shared.runs()).map(|cell| cell.attempt).collect()
    }

    /// Whether a body of this task runs, other than a released one.
    pub(super) fn runs(&self, task: TaskId) -> bool {
        let own = self.cells.range((task, 0)..=(task, u64::MAX));
        own.map(|(_, cell)| cell).any(|cell| cell.shared.runs() && !cell.released)
    }

    fn cell(&mut self, attempt: AttemptAddr) -> &mut Cell {
        let cell = self.cells.get_mut(&(attempt.task.id, attempt.number));
        cell.expect("an attempt that was ordered")
    }
}
