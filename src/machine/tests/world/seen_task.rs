//! All that a world was told about one task, and what must hold of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::seen_attempt::{Finding, SeenAttempt};
use super::seen_delays::Repeats;
use crate::machine::tests::as_stop;
use crate::machine::tests::rig::ms;
use crate::machine::{End, Ending, Submission};
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::id::{SlotKey, TaskAddr};
use crate::vocabulary::not_retried::NoRetry;
use crate::vocabulary::plan::{AtDrain, BodyKind, Interval, Plan};
use crate::vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};
use crate::vocabulary::reason::{CancelReason, Decision, FailureCause, Rejection, StopReason};
use crate::vocabulary::time::Time;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what was seen of a task")]
pub(super) struct SeenTask {
    pub(super) task: TaskAddr,
    pub(super) slot: Option<u32>,
    pub(super) slot_key: Option<SlotKey>,
    pub(super) policy: AdmissionPolicy,
    pub(super) plan: Plan,
    /// The next attempt may not be ordered before; zero once somebody was in a hurry.
    pub(super) not_before: Time,
    /// While it is paused: since when.
    pub(super) paused_at: Option<Time>,
    /// It waits for its next run, or for a retry, after the attempt of this number.
    pub(super) waits: Option<(u64, Repeats)>,
    /// Where its grid begins; `None` if that is the next start.
    pub(super) grid: Option<Time>,
    /// The claim of the latest attempt that the machine has heard of.
    pub(super) last_start: Option<Time>,
    pub(super) gives_back: bool,
    pub(super) expires_at: Time,
    /// How long an initial delay lasts that nobody cut short, once it has begun.
    pub(super) initial_wait: Option<Duration>,
    decision: Option<Decision>,
    pub(super) announced: Option<End>,
    delivered: Option<End>,
    /// Its body is being dropped.
    pub(super) is_closing: bool,
    pub(super) is_forgotten: bool,
    pub(super) attempt: u64,
    /// Bodies that wait for it.
    pub(super) awaited: u32,
    pub(super) attempts: BTreeMap<u64, SeenAttempt>,
    pub(super) first_claim: Option<Time>,
    last_claim: Option<Time>,
    pub(super) streak: u32,
    /// Short successes in a row, without an interval.
    pub(super) n_short: u32,
    pub(super) failures: Vec<Time>,
    /// The first failure of the streak.
    pub(super) first_failure: Option<Time>,
    /// Whether the latest failure came too late after that.
    pub(super) has_given_up: bool,
    /// Whether the latest failure may be retried.
    pub(super) may_retry: bool,
    pub(super) no_retry: Option<NoRetry>,
    /// The latest failure, until its error is noted.
    pub(super) unnoted: Option<(u64, FailureCause)>,
    /// The first stop that was asked of it.
    pub(super) stop: Option<StopReason>,
    /// A drain lets only its current attempt finish.
    pub(super) finishes: bool,
}

impl SeenTask {
    pub(super) fn new(submission: &Submission, slot: Option<u32>) -> Self {
        let plan = Plan::clone(&submission.plan);
        let expires_at =
            plan.expires_in.map_or(Time::NEVER, |span| submission.submitted_at.after(span));
        Self {
            task: submission.addr,
            slot,
            slot_key: submission.slot,
            policy: submission.policy,
            plan,
            not_before: Time::ZERO,
            paused_at: None,
            waits: None,
            grid: None,
            last_start: None,
            gives_back: submission.gives_back,
            expires_at,
            initial_wait: None,
            decision: None,
            announced: None,
            delivered: None,
            is_closing: false,
            is_forgotten: false,
            attempt: 0,
            awaited: 0,
            attempts: BTreeMap::new(),
            first_claim: None,
            last_claim: None,
            streak: 0,
            n_short: 0,
            failures: Vec::new(),
            first_failure: None,
            has_given_up: false,
            may_retry: false,
            no_retry: None,
            unnoted: None,
            stop: submission.cancelled.then_some(StopReason::Stop),
            finishes: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.delivered.is_none()
    }

    pub(super) fn is_over(&self, attempt: u64) -> bool {
        let attempt = &self.attempts[&attempt];
        attempt.returned_at.is_some() || (attempt.claimed_at.is_none() && attempt.revoke_answered)
    }

    /// Whether the task ends because its attempt was taken back.
    pub(super) fn was_revoked(&self) -> bool {
        self.attempts.get(&self.attempt).is_some_and(|attempt| attempt.claimed_at.is_none())
    }

    pub(super) fn decide(&mut self, now: Time, decision: Decision) {
        let refused = matches!(decision, Decision::Rejected(_));
        assert!(refused || now < self.expires_at, "{:?} is accepted too late", self.task);
        assert_eq!(self.decision.replace(decision), None, "{:?} is decided twice", self.task);
    }

    pub(super) fn admitted(&mut self, now: Time) {
        assert!(!matches!(self.decision, None | Some(Decision::Rejected(_))));
        self.not_before = now.after(self.plan.initial_delay);
        // A task that is paused waits for its resumption alone.
        self.initial_wait = self.paused_at.is_none().then_some(self.plan.initial_delay);
    }

    /// Somebody was in a hurry.
    pub(super) fn hurried(&mut self) {
        (self.not_before, self.initial_wait, self.waits) = (Time::ZERO, None, None);
    }

    /// Whether it was accepted and is not forgotten.
    pub(super) const fn is_held(&self) -> bool {
        let accepted = matches!(self.decision, Some(Decision::Admitted | Decision::Queued { .. }));
        accepted && !self.is_forgotten
    }

    /// Somebody asked it to stop; the first reason counts.
    pub(super) fn asked(&mut self, reason: StopReason) {
        if self.announced.is_none() && !self.is_closing {
            self.stop.get_or_insert(reason);
        }
    }

    /// Somebody asked for a fresh attempt, and was heard.
    pub(super) fn restarted(&mut self) {
        if let Some(last) = self.attempts.get_mut(&self.attempt) {
            last.restart_asked = true;
        }
    }

    /// A drain begins.
    pub(super) fn drained(&mut self) {
        let last = self.attempts.get(&self.attempt);
        let runs = last.is_some_and(|last| last.is_live() && last.abandoned_at.is_none());
        self.finishes = self.plan.at_drain == AtDrain::Finish;
        match self.plan.at_drain {
            AtDrain::Finish if runs => {}
            AtDrain::Finish | AtDrain::Stop => self.asked(StopReason::Drain),
            AtDrain::GoOn => {}
        }
    }

    pub(super) fn start(&mut self, now: Time, attempt: u64) {
        let task = self.task;
        assert_eq!(attempt, self.attempt + 1, "the attempts of {task:?} are misnumbered");
        assert!(!self.is_live(), "attempts of {task:?} overlap");
        assert_eq!(self.announced, None, "{task:?} is started after its end");
        assert!(now >= self.not_before, "{task:?} is started before its time");
        assert_eq!(self.paused_at, None, "{task:?} is started while it is paused");
        self.waits = None;
        let spacing = self.last_claim.map_or(Time::ZERO, |last| last.after(ms(1)));
        assert!(now >= spacing, "two starts of {task:?} are too close");
        assert!(attempt == 1 || self.plan.body != BodyKind::Once, "{task:?} has consumed its body");
        let last = self.attempts.get(&self.attempt);
        let again = !last.is_some_and(SeenAttempt::succeeded);
        assert!(again || self.plan.restart == RestartPolicy::Always, "{task:?} had succeeded");
        let stopped = last.is_some_and(|last| last.finalized || last.told_to_stop().is_some());
        assert!(!stopped && self.stop.is_none(), "{task:?} goes on after a stop");
        assert!(!self.finishes, "{task:?} starts anew in a drain");
        assert_eq!(self.unnoted, None, "{task:?} goes on without knowing what failed");
        let beside = self.attempts.values().any(|before| before.is_released);
        assert!(
            !beside || self.plan.body == BodyKind::Shared,
            "the body of {task:?} runs twice at a time"
        );
        self.attempt = attempt;
        self.attempts.insert(attempt, SeenAttempt::default());
    }

    pub(super) fn revoke(&mut self, attempt: u64) {
        self.live(attempt).revoke_ordered = true;
    }

    pub(super) fn revoke_answered(&mut self, attempt: u64) {
        let attempt = self.attempt(attempt);
        assert!(attempt.revoke_ordered, "an answer to nothing");
        attempt.revoke_answered = true;
    }

    /// A thread has it.
    pub(super) fn claimed(&mut self, now: Time, attempt: u64) {
        let attempt = self.live(attempt);
        assert!(!attempt.revoke_ordered, "an attempt begins although it was taken back");
        assert_eq!(attempt.claimed_at.replace(now), None);
        self.first_claim.get_or_insert(now);
        self.last_claim = Some(now);
    }

    /// The body came back; the machine does not know yet.
    pub(super) fn returned(&mut self, attempt: u64) {
        let attempt = self.attempt(attempt);
        assert!(attempt.claimed_at.is_some() && !attempt.has_returned);
        attempt.has_returned = true;
    }

    pub(super) fn tell(&mut self, now: Time, attempt: u64, reason: CancelReason, until: Time) {
        let (plan, stop) = (self.plan.clone(), self.stop);
        let is_asked = stop.map(StopReason::as_cancel) == Some(reason);
        let is_stop = as_stop(reason).is_some();
        assert!(is_asked || !is_stop, "{:?} is told {reason}: {stop:?}", self.task);
        self.live(attempt).tell(now, reason, until, &plan);
    }

    /// Gives whether a stop has to be told instead.
    pub(super) fn tell_answered(&mut self, now: Time, attempt: u64, answer: TellAnswer) -> bool {
        let plan = self.plan.clone();
        self.attempt(attempt).tell_answered(now, answer, &plan)
    }

    pub(super) fn look(&mut self, now: Time, attempt: u64) {
        let plan = self.plan.clone();
        self.live(attempt).look(now, &plan);
    }

    pub(super) fn looked(&mut self, attempt: u64, alive: bool) -> Finding {
        self.attempt(attempt).looked(alive)
    }

    pub(super) fn cancels_silence(&self) -> bool {
        self.plan.watchdog.is_some_and(|watchdog| watchdog.policy == WatchdogPolicy::Cancel)
    }

    pub(super) fn starting(&mut self, attempt: u64) {
        let plan = self.plan.clone();
        self.live(attempt).starting(&plan);
        let claimed_at = self.attempt(attempt).claimed_at;
        self.grid = self.grid.or(claimed_at);
        self.last_start = claimed_at;
    }

    pub(super) fn ended(&mut self, attempt: u64, told: Option<CancelReason>, ending: Ending) {
        let plan = self.plan.clone();
        let attempt = self.live(attempt);
        attempt.ended(told, ending, &plan);
        let in_silence = attempt.missed_stable(&plan);
        let claimed_at = attempt.claimed_at;
        let at = attempt.returned_at.expect("an attempt ends when its body has returned");
        assert!(self.streak == 0 || !in_silence, "{:?} was stable, and nobody said so", self.task);
        match ending {
            Ending::Succeeded if told.is_none() => {
                self.streak = 0;
                let ran = claimed_at.map_or(Duration::ZERO, |from| from.until(at));
                self.n_short = if ran < ms(10) { self.n_short + 1 } else { 0 };
            }
            Ending::Failed => self.fail(at, FailureCause::Failed),
            Ending::Panicked => self.fail(at, FailureCause::Panicked),
            Ending::TimedOut => self.fail(at, FailureCause::TimedOut),
            Ending::Unresponsive => self.fail(at, FailureCause::Unresponsive),
            Ending::Succeeded | Ending::Cancelled => {}
        }
        self.not_before = Time::ZERO;
    }

    pub(super) fn abandoned(&mut self, now: Time, attempt: u64, released: bool) {
        self.live(attempt).abandoned(now, released);
        self.fail(now, FailureCause::Abandoned);
    }

    /// Gives whether that ends the streak.
    pub(super) fn stable(&mut self, now: Time, attempt: u64, failures: u32) -> bool {
        let plan = self.plan.clone();
        self.live(attempt).stable(now, &plan);
        assert!(failures > 0 && failures == self.streak, "{:?}: another streak", self.task);
        let resident = plan.restart == RestartPolicy::Always || plan.stable_is_stated;
        let ends = resident && plan.timeout.is_none();
        if ends {
            self.streak = 0;
        }
        ends
    }

    pub(super) fn too_short(&self, attempt: u64) {
        assert_eq!((attempt, self.plan.interval), (self.attempt, Interval::None));
        assert_eq!(self.n_short, 100, "{:?} is warned", self.task);
    }

    /// The error of the latest failure is kept for the attempts that follow.
    pub(super) fn note(&mut self, attempt: u64, cause: FailureCause, last: Option<NoRetry>) {
        let latest = self.unnoted.take();
        assert_eq!(latest, Some((attempt, cause)), "another failure of {:?} is noted", self.task);
        let abandoned = cause == FailureCause::Abandoned;
        // Why an abandonment is the last failure, the stop of its outcome says.
        let own = self.no_retry.filter(|_| !abandoned || self.stop.is_none());
        let plan = &self.plan;
        let others = match last {
            Some(NoRetry::NotShared) => {
                abandoned && plan.abandon == AbandonPolicy::Release && plan.body != BodyKind::Shared
            }
            Some(NoRetry::RestartLimit) => self.slot.is_none(),
            _ => false,
        };
        assert!(last == own || (own.is_none() && others), "{:?}: {last:?}, not {own:?}", self.task);
    }

    pub(super) const fn is_announced(&self) -> bool {
        self.announced.is_some()
    }

    pub(super) const fn is_decided(&self) -> bool {
        self.decision.is_some()
    }

    /// Whether somebody asked it to stop.
    pub(super) const fn is_asked(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether it ends for a successor, that takes its place.
    pub(super) fn is_replaced(&self) -> bool {
        self.stop == Some(StopReason::Replace)
    }

    pub(super) fn closes(&mut self) {
        assert!(!core::mem::replace(&mut self.is_closing, true), "{:?} closes twice", self.task);
        assert!(self.delivered.is_none() || self.was_given_up(), "{:?} closes late", self.task);
    }

    pub(super) fn close_ordered(&self) {
        assert!(self.is_closing && self.plan.needs_drop, "{:?} is closed unasked", self.task);
    }

    fn was_given_up(&self) -> bool {
        let last = self.attempts.get(&self.attempt);
        last.is_some_and(|last| last.abandoned_at.is_some())
    }

    /// Whether its latest attempt was released, so that its end holds nothing.
    pub(super) fn is_released(&self) -> bool {
        self.attempts.get(&self.attempt).is_some_and(|last| last.is_released)
    }

    /// The deadline of the attempt that runs, the next look at it and its stable moment, as the
    /// machine has to know them.
    pub(super) fn running(&self) -> Option<(Time, Time, Time)> {
        let attempt = self.attempts.get(&self.attempt)?;
        Some((attempt.deadline?, attempt.next_look(), attempt.stable_at(&self.plan)))
    }

    pub(super) fn announced(&mut self, now: Time, end: End) {
        assert_eq!(self.announced.replace(end), None, "{:?} ends twice", self.task);
        let revoked = self.attempts.get(&self.attempt).filter(|last| last.claimed_at.is_none());
        let gives_up = matches!(end, End::Abandoned { .. });
        let over = gives_up || !self.is_live() || revoked.is_some_and(|last| last.revoke_answered);
        assert!(over, "{:?} ends while its attempt goes on", self.task);
        if end == End::Rejected(Rejection::Expired) {
            assert!(self.first_claim.is_none(), "{:?} expired after its start", self.task);
            // An initial delay does not count, unless somebody was in a hurry.
            let waited = self.initial_wait.unwrap_or(Duration::ZERO);
            assert!(now >= self.expires_at.after(waited), "{:?} expired too soon", self.task);
        }
    }

    pub(super) fn deliver(&mut self, end: End, streak: u32, closed: bool) {
        let task = self.task;
        assert_eq!(self.delivered.replace(end), None, "{task:?} has two outcomes");
        assert_eq!(self.announced, Some(end), "the outcome of {task:?} is not its end");
        // A failure that decides nothing, because the task ends even so, is not noted.
        let counted = streak + u32::from(self.unnoted.is_some());
        let latest = self.attempts.get(&self.attempt);
        let has_recovered = streak == 0 && latest.is_some_and(|latest| latest.is_stable);
        assert!(has_recovered || counted == self.streak, "the {streak} failures of {task:?}");
        assert!(
            !self.plan.shutdown_on_end || !is_own(end) || closed,
            "{task:?} had shutdown_on_end"
        );
        let rejected = matches!(end, End::Rejected(_));
        let removed = self.decision == Some(Decision::Rejected(Rejection::Removed));
        let accepted = matches!(self.decision, Some(Decision::Admitted | Decision::Queued { .. }));
        let stopped = matches!(end, End::Cancelled { .. } | End::Abandoned { .. });
        assert!(rejected || accepted || (removed && stopped));
        let judged =
            !matches!(end, End::Abandoned { .. } | End::Cancelled { .. } | End::Rejected(_));
        let last = self.attempts.get(&self.attempt);
        let given_up = last.is_some_and(|last| last.abandoned_at.is_some());
        let spent = last.is_some_and(|last| last.is_released) && self.plan.body != BodyKind::Shared;
        let fatal = end == End::Fatal && last.is_some_and(SeenAttempt::was_fatal);
        assert!(
            !judged || !given_up || fatal,
            "{task:?} ends by what an abandoned attempt returned"
        );
        let final_panic = self.plan.panic != PanicPolicy::Failure || self.was_told_to_stop();
        let by_drain = self.finishes.then_some(StopReason::Drain);
        match end {
            End::Failed | End::TimedOut | End::Unresponsive => {
                assert!(!self.may_retry, "{task:?} had a retry left");
                let told = last.and_then(|last| last.told_in_time);
                assert!(told.is_none() || self.stop.is_none(), "{task:?} was stopped as well");
            }
            End::Abandoned { stop: None, .. } => {
                let spent = spent || self.is_closing || self.finishes;
                assert!(!self.may_retry || spent, "{task:?} had a retry left");
                // A drop may hang at the end of a body that ended itself before it was told.
                assert!(self.is_closing || self.stop.is_none(), "{task:?} was stopped");
            }
            End::Abandoned { stop, .. } => assert_eq!(stop, self.stop.or(by_drain), "{task:?}"),
            End::Cancelled { reason, .. } if reason != StopReason::ByTask => {
                let stop = self.stop.or(by_drain);
                assert_eq!(Some(reason), stop, "{task:?} was not stopped so");
            }
            End::Panicked => assert!(!self.may_retry || final_panic, "{task:?} had a retry left"),
            End::Completed => {
                assert!(
                    self.plan.body == BodyKind::Once || self.plan.restart != RestartPolicy::Always
                );
            }
            _ => {}
        }
    }

    fn was_told_to_stop(&self) -> bool {
        let last = self.attempts.get(&self.attempt);
        last.and_then(SeenAttempt::told_to_stop).is_some()
    }

    pub(super) fn forget(&mut self) {
        let over = self.delivered.is_some() && !self.is_forgotten;
        assert!(over, "{:?} is forgotten too soon, or twice", self.task);
        self.is_forgotten = true;
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        let task = self.task;
        assert!(self.is_forgotten, "{task:?} is remembered for ever");
        assert!(self.decision.is_some(), "{task:?} was never decided");
        self.attempts.values().for_each(SeenAttempt::finish);
    }

    /// Whether an attempt is ordered that has not returned, nor been taken back, as far as the
    /// machine knows.
    pub(super) fn is_live(&self) -> bool {
        let last = self.attempts.get(&self.attempt);
        last.is_some_and(SeenAttempt::is_live)
    }

    /// The attempt that its task is about.
    pub(super) fn live(&mut self, attempt: u64) -> &mut SeenAttempt {
        assert_eq!(attempt, self.attempt, "an order to an attempt of the past");
        assert!(self.is_live(), "an order to an attempt that is over");
        self.attempt(attempt)
    }

    pub(super) fn attempt(&mut self, attempt: u64) -> &mut SeenAttempt {
        self.attempts.get_mut(&attempt).expect("an attempt that was ordered")
    }
}

/// Whether an end makes a task with `shutdown_on_end` take the supervisor with it.
fn is_own(end: End) -> bool {
    match end {
        End::Rejected(_) => false,
        End::Cancelled { reason, .. } => reason == StopReason::ByTask,
        End::Abandoned { stop, .. } => stop.is_none(),
        _ => true,
    }
}
