//! When a task runs again, and how often, by the sections `Retries` and `The next attempt` of
//! `guide::rules`.

use core::time::Duration;

use super::seen_attempt::SeenAttempt;
use super::seen_task::SeenTask;
use crate::machine::tests::rig::ms;
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::plan::{BodyKind, Interval};
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::FailureCause;
use crate::vocabulary::time::Time;

/// What a task waits for between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    Run,
    Retry,
}

impl SeenTask {
    pub(super) fn paused(&mut self, now: Time) {
        let may = self.announced.is_none() && self.stop.is_none();
        assert!(may && self.paused_at.is_none(), "{:?} is paused in vain", self.task);
        (self.paused_at, self.waits) = (Some(now), None);
        if now < self.not_before {
            // Its initial delay is cut short.
            self.initial_wait = None;
        }
    }

    pub(super) fn resumed(&mut self, now: Time) {
        let may = self.announced.is_none() && self.stop.is_none();
        let since = self.paused_at.take();
        assert!(may && since.is_some(), "{:?} is resumed in vain", self.task);
        self.first_failure = None;
        if self.first_claim.is_none() {
            let paused = since.map_or(Duration::ZERO, |since| since.until(now));
            self.expires_at = self.expires_at.after(paused);
        }
        if self.is_live() {
            return;
        }
        self.not_before = now;
        if let (Interval::Rate(step), Some(last)) = (self.plan.interval, self.last_start) {
            self.not_before = now.next_tick(self.grid.unwrap_or(last), step);
            self.waits = Some((self.attempt, Repeats::Run));
        }
    }

    pub(super) fn interval_set(&mut self, interval: Duration) {
        self.plan.interval = match self.plan.interval {
            Interval::None => unreachable!("{:?} has no interval", self.task),
            Interval::Delay(_) => Interval::Delay(interval),
            Interval::Rate(_) => Interval::Rate(interval),
        };
        self.grid = None;
        if let Some((attempt, repeats)) = self.waits {
            let early = repeats == Repeats::Retry && self.plan.retry_early;
            let at = self.attempt(attempt).freed_at();
            self.not_before = match self.plan.interval {
                Interval::Delay(span) if !early => at.after(span),
                _ => at,
            };
        }
    }

    /// A failure: whether it may be retried, by the rules as they stand in `guide::rules`.
    pub(super) fn fail(&mut self, at: Time, cause: FailureCause) {
        assert_eq!(self.unnoted, None, "a failure of {:?} was never noted", self.task);
        self.unnoted = Some((self.attempt, cause));
        let plan = &self.plan;
        let budget = self.streak < plan.max_retries;
        let window = plan.failure_limit.map_or(true, |limit| {
            let recent = self.failures.iter().filter(|failure| failure.after(limit.within) > at);
            recent.count() < limit.failures as usize
        });
        if self.streak == 0 || self.first_failure.is_none() {
            self.first_failure = Some(at);
        }
        let patience = plan.give_up_after.unwrap_or(Duration::MAX);
        self.has_given_up = self.first_failure.expect("this one at least").after(patience) < at;
        let restarts = plan.body != BodyKind::Once && plan.restart != RestartPolicy::Never;
        let reasons = [
            (restarts, NoRetry::Policy),
            (budget, NoRetry::MaxRetries),
            (window, NoRetry::FailureLimit),
            (!self.has_given_up, NoRetry::GiveUpAfter),
        ];
        self.no_retry = reasons.into_iter().find_map(|(goes_on, why)| (!goes_on).then_some(why));
        self.may_retry = self.no_retry.is_none();
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
        assert_eq!(self.paused_at, None, "{task:?} is retried while it is paused");
        self.waits = Some((self.attempt, Repeats::Retry));
        self.not_before = at.after(delay);
        let least = at.after(asked.unwrap_or(ms(1)));
        let interval = if self.plan.retry_early { Interval::None } else { self.plan.interval };
        match (interval, asked) {
            (Interval::None, Some(_)) => assert_eq!(self.not_before, least, "{task:?} had asked"),
            (Interval::None, None) => {}
            (Interval::Delay(span), Some(_)) => {
                assert_eq!(self.not_before, least.max(at.after(span)), "{task:?} had asked");
            }
            (Interval::Delay(span), None) => assert!(self.not_before >= at.after(span)),
            (Interval::Rate(step), _) => {
                self.keeps_grid();
                let soon = asked.is_none() || self.not_before < least.after(step);
                assert!(self.not_before >= least && (soon || self.not_before.is_never()));
            }
        }
        let early = self.plan.retry_early && self.plan.interval != Interval::None;
        self.hears_late_restart();
        match asked {
            _ if early => Some("retried early"),
            Some(_) => Some("retried when its error asked"),
            None => None,
        }
    }

    pub(super) fn pause(&mut self, attempt: u64, delay: Duration) {
        let at =
            self.attempt(attempt).returned_at.expect("no next run before the body has returned");
        assert!(self.plan.restart == RestartPolicy::Always && self.plan.body != BodyKind::Once);
        if let Interval::Delay(span) = self.plan.interval {
            assert_eq!(at.after(delay), at.after(span), "{:?} goes on too soon", self.task);
        }
        assert_eq!(self.paused_at, None, "{:?} goes on while it is paused", self.task);
        self.waits = Some((attempt, Repeats::Run));
        self.not_before = at.after(delay);
        self.keeps_grid();
        self.hears_late_restart();
    }

    /// A restart that found that the body had returned ends what is waited for then.
    fn hears_late_restart(&mut self) {
        if self.attempts.get(&self.attempt).is_some_and(SeenAttempt::was_restarted_late) {
            self.hurried();
        }
    }

    fn keeps_grid(&self) {
        if self.not_before.is_never() {
            return;
        }
        // After another interval was set, the grid is that of the last start until the next.
        if let (Interval::Rate(step), Some(anchor)) =
            (self.plan.interval, self.grid.or(self.last_start))
        {
            let off = anchor.until(self.not_before).as_nanos() % step.as_nanos();
            assert_eq!(off, 0, "{:?} leaves its grid", self.task);
        }
    }
}
