//! When a task runs again, and how often, by the sections `Retries` and `The next attempt` of
//! `guide::rules`.

use core::time::Duration;

use super::seen_task::SeenTask;
use crate::machine::tests::rig::ms;
use crate::vocabulary::plan::{BodyKind, Pause};
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::FailureCause;
use crate::vocabulary::time::Time;

impl SeenTask {
    /// A failure: whether it may be retried, by the rules as they stand in `guide::rules`.
    pub(super) fn fail(&mut self, at: Time, cause: FailureCause) {
        assert_eq!(self.unnoted, None, "a failure of {:?} was never noted", self.task);
        self.unnoted = Some((self.attempt, cause));
        let plan = &self.plan;
        let budget = plan.max_retries.map_or(true, |most| self.streak < most);
        let window = plan.failure_limit.map_or(true, |limit| {
            let recent = self.failures.iter().filter(|failure| failure.after(limit.within) > at);
            recent.count() < limit.failures as usize
        });
        if self.streak == 0 {
            self.first_failure = Some(at);
        }
        let patience = plan.give_up_after.unwrap_or(Duration::MAX);
        self.has_given_up = self.first_failure.expect("this one at least").after(patience) < at;
        let restarts = plan.body != BodyKind::Once && plan.restart != RestartPolicy::Never;
        self.may_retry = restarts && budget && window && !self.has_given_up;
        self.streak += 1;
        self.n_short = 0;
        self.failures.push(at);
    }

    /// Gives what is worth a note.
    pub(super) fn retry(
        &mut self,
        attempt: u64,
        delay: Duration,
        cause: FailureCause,
    ) -> Option<&'static str> {
        let task = self.task;
        assert!(self.may_retry, "{task:?} is retried once too often");
        assert_eq!(self.unnoted, None, "{task:?} is retried before its failure is noted");
        let panic = self.plan.panic;
        let attempt = self.attempt(attempt);
        assert!(!attempt.is_final(panic), "{task:?} is retried after what is final");
        assert_eq!(attempt.abandoned_at.is_some(), cause == FailureCause::Abandoned);
        let (at, beside) = (attempt.freed_at(), attempt.is_released);
        let asked = attempt.retry_after.map(|asked| asked.max(ms(1)));
        assert!(
            !beside || self.plan.body == BodyKind::Shared,
            "the body of {task:?} would run twice at a time"
        );
        assert!(delay >= ms(1), "{task:?} is retried at once");
        self.not_before = at.after(delay);
        let least = at.after(asked.unwrap_or(ms(1)));
        let pause = if self.plan.retry_early { Pause::None } else { self.plan.pause };
        match (pause, asked) {
            (Pause::None, Some(_)) => assert_eq!(self.not_before, least, "{task:?} had asked"),
            (Pause::None, None) => {}
            (Pause::Delay(pause), Some(_)) => {
                assert_eq!(self.not_before, least.max(at.after(pause)), "{task:?} had asked");
            }
            (Pause::Delay(pause), None) => assert!(self.not_before >= at.after(pause)),
            (Pause::Rate(step), _) => {
                self.keeps_grid();
                let soon = asked.is_none() || self.not_before < least.after(step);
                assert!(self.not_before >= least && (soon || self.not_before.is_never()));
            }
        }
        let early = self.plan.retry_early && self.plan.pause != Pause::None;
        match asked {
            _ if early => Some("retried early"),
            Some(_) => Some("retried when its error asked"),
            None => None,
        }
    }

    pub(super) fn pause(&mut self, attempt: u64, delay: Duration) {
        let at = self.attempt(attempt).returned_at.expect("no pause before the body has returned");
        assert!(self.plan.restart == RestartPolicy::Always && self.plan.body != BodyKind::Once);
        assert!(
            !matches!(self.plan.pause, Pause::Delay(pause) if at.after(delay) != at.after(pause))
        );
        self.not_before = at.after(delay);
        self.keeps_grid();
    }

    fn keeps_grid(&self) {
        if self.not_before.is_never() {
            return;
        }
        if let (Pause::Rate(step), Some(anchor)) = (self.plan.pause, self.first_claim) {
            let off = anchor.until(self.not_before).as_nanos() % step.as_nanos();
            assert_eq!(off, 0, "{:?} leaves its grid", self.task);
        }
    }
}
