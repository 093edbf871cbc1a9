//! The threads of a world: they take up attempts sooner or later, run their bodies, and report.

use super::cells::Returned;
use super::{Chance, Happening, World, MAX_DELAY, MAX_REACTION};
use crate::machine::tests::rig::ms;
use crate::machine::{Finality, Input};
use crate::vocabulary::id::AttemptAddr;

impl World {
    pub(super) fn offer(&mut self, attempt: AttemptAddr, finality: Finality) {
        self.bodies.leaves(attempt.task.id);
        self.cells.offer(attempt, finality);
        // A thread that cannot be had makes the attempt wait long, and nothing else.
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Offer);
        let refused = dice.chance(self.profile.refused) && !self.healthy;
        if refused {
            self.coverage.met("starting", "refusal");
        }
        let delay = if refused { dice.span(ms(200)) } else { dice.delay(ms(3)) };
        self.schedule(delay, Happening::Claim(attempt));
    }

    pub(super) fn claim(&mut self, attempt: AttemptAddr) {
        if !self.cells.is_offered(attempt) {
            return;
        }
        if !self.has_groups {
            self.checker.claimed(self.now, attempt);
        }
        let at = self.now;
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Body);
        let (body, runs) = dice.body(&self.profile, self.healthy, MAX_REACTION);
        let plan = self.checker.plan(attempt.task.id);
        let reports = plan.has_deadline() || plan.watchdog.is_some();
        self.cells.claim(attempt, at, plan, body);
        if let Some(ready) = body.ready {
            self.schedule(ready, Happening::Ready(attempt));
        }
        if let Some(extension) = body.extension {
            self.schedule(extension.every, Happening::Extend(attempt));
        }
        if let Some(runs) = runs {
            self.schedule(runs, Happening::Return(attempt));
        }
        // The report may travel with the return, unless a timer hangs on it.
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Claim);
        if reports || dice.chance(60) {
            let arrives = at.after(dice.delay(MAX_DELAY));
            self.cells.report_claim(attempt, arrives);
            self.schedule_at(arrives, Happening::Message(Input::Claimed { attempt, at }));
        }
    }

    pub(super) fn body_is_ready(&mut self, attempt: AttemptAddr) {
        let at = self.now;
        let Some((claimed_at, until, claim)) = self.cells.say_ready(attempt) else { return };
        if !self.has_groups {
            self.checker.says_ready(attempt);
        }
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Ready);
        let arrives = at.after(dice.delay(MAX_DELAY)).max(claim);
        // What the worker reports later does not overtake it.
        self.cells.report_claim(attempt, arrives);
        let report = Input::Ready { attempt, claimed_at, at, until };
        self.schedule_at(arrives, Happening::Message(report));
    }

    pub(super) fn body_returns(&mut self, attempt: AttemptAddr) {
        let at = self.now;
        let Some(returned) = self.cells.returns(attempt, at) else { return };
        if !self.has_groups {
            self.checker.returned(attempt);
        }
        if returned.last {
            self.bodies.is_dropped_there(attempt.task.id, returned.released);
        }
        let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Return);
        let arrives = at.after(dice.delay(MAX_DELAY)).max(returned.claim_arrives);
        let Returned { claimed_at, told, ret, retry_after, last: dropped, .. } = returned;
        let report = Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after };
        self.schedule_at(arrives, Happening::Message(report));
    }
}
