//! All that a world was told about one attempt, and what must hold of it.

use core::time::Duration;

use crate::machine::tests::as_stop;
use crate::machine::Ending;
use crate::vocabulary::answer::{Return, TellAnswer};
use crate::vocabulary::plan::{BodyKind, Plan};
use crate::vocabulary::policy::PanicPolicy;
use crate::vocabulary::reason::{CancelReason, StopReason};
use crate::vocabulary::time::{nanos, Time};

/// Looks in a row that find nothing make an attempt silent.
pub(super) const MISSES: u32 = 4;

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "what has happened, not what state it is in")]
pub(super) struct SeenAttempt {
    pub(super) claimed_at: Option<Time>,
    /// As the report said, once the machine has it.
    pub(super) returned_at: Option<Time>,
    pub(super) has_returned: bool,
    pub(super) revoke_ordered: bool,
    /// The machine knows what the revocation found.
    pub(super) revoke_answered: bool,
    pub(super) restart_asked: bool,
    /// As the machine knows it.
    pub(super) deadline: Option<Time>,
    said_ready: bool,
    /// The deadline from then on, once the machine is told.
    ready_until: Option<Time>,
    n_ready: u32,
    told: Option<CancelReason>,
    /// The machine knows that the token is cancelled.
    is_told: bool,
    pub(super) told_in_time: Option<CancelReason>,
    ret: Option<Return>,
    /// The delay that its error asked for.
    pub(super) retry_after: Option<Duration>,
    grace_until: Option<Time>,
    /// A stop came after the token was told.
    pub(super) finalized: bool,
    abandon_ordered: bool,
    pub(super) abandoned_at: Option<Time>,
    /// Its end is to be its release.
    pub(super) leaves: bool,
    pub(super) is_released: bool,
    is_forgotten: bool,
    next_look: Option<Time>,
    /// The next look does not count if it finds nothing.
    looks_soon: bool,
    misses: u32,
    is_silent: bool,
    /// The latest of its claim and the moment at which it resumed, until it is stable.
    young_since: Option<Time>,
    pub(super) is_stable: bool,
    /// Threads to be looked at, for an event that says why.
    to_examine: u32,
    n_starting: u32,
    n_overdue: u32,
    /// Terminal events.
    n_ended: u32,
    /// Notes of a late return.
    n_noted: u32,
}

/// What a look that the machine hears of has to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    Silent,
    Resumed,
}

impl SeenAttempt {
    /// Whether its task may not go on without it.
    pub(super) const fn is_live(&self) -> bool {
        let held = self.abandoned_at.is_some() && !self.is_released && self.n_noted == 0;
        self.n_ended == 0 || held
    }

    /// Whether it came to a success of its own.
    pub(super) fn succeeded(&self) -> bool {
        let ended = self.abandoned_at.is_none() && self.told_in_time.is_none();
        ended && self.ret == Some(Return::Ok)
    }

    /// Whether it came back with what is final under every policy.
    pub(super) fn is_final(&self, panic: PanicPolicy) -> bool {
        let panicked = self.ret == Some(Return::Panicked) && panic != PanicPolicy::Failure;
        (self.abandoned_at.is_none() && panicked) || (self.was_fatal() && !self.is_released)
    }

    pub(super) fn was_fatal(&self) -> bool {
        self.ret == Some(Return::Fatal)
    }

    pub(super) fn told_to_stop(&self) -> Option<StopReason> {
        self.told_in_time.and_then(as_stop)
    }

    /// When its task went on without it: at its return, or at its release.
    pub(super) fn freed_at(&self) -> Time {
        let released = self.abandoned_at.filter(|_| self.is_released);
        released.or(self.returned_at).expect("nothing follows before the body has returned")
    }

    pub(super) fn starting(&mut self, plan: &Plan) {
        let claimed_at = self.claimed_at.expect("an attempt has begun that nobody claimed");
        assert_eq!((self.n_starting, self.n_ended), (0, 0), "{self:?}");
        self.n_starting = 1;
        let deadline = [plan.timeout, plan.ready_within].into_iter().flatten().min();
        let deadline = deadline.map_or(Time::NEVER, |span| claimed_at.after(span));
        (self.deadline, self.next_look) = (Some(deadline), first_look(claimed_at, plan));
        self.looks_soon = self.next_look() < claimed_at.after(period(plan).unwrap_or_default());
        self.young_since = Some(claimed_at);
    }

    pub(super) fn says_ready(&mut self) {
        assert!(!self.said_ready && !self.has_returned);
        self.said_ready = true;
    }

    pub(super) fn ready_reported(&mut self, until: Time) {
        self.ready_until = Some(until);
    }

    /// From then on only its deadline counts.
    pub(super) fn ready(&mut self) {
        assert_eq!((self.n_starting, self.n_ended, self.n_ready), (1, 0, 0), "{self:?}");
        self.n_ready = 1;
        let until = self.ready_until.expect("ready without a word");
        if self.told.is_none() {
            self.deadline = Some(until);
        }
    }

    /// Whether the machine takes its body for running and untold.
    const fn runs(&self) -> bool {
        self.n_starting == 1 && self.n_ended == 0 && self.told.is_none()
    }

    pub(super) fn tell(&mut self, now: Time, reason: CancelReason, until: Time, plan: &Plan) {
        assert!(self.claimed_at.is_some(), "only a body that runs can be told");
        assert_eq!(self.told.replace(reason), None, "told twice: {self:?}");
        let why = match reason {
            CancelReason::Timeout => self.deadline.is_some_and(|deadline| deadline <= now),
            CancelReason::Unresponsive => self.misses == MISSES,
            CancelReason::Restart => self.restart_asked && plan.body != BodyKind::Once,
            CancelReason::Group => panic!("no group is in these worlds"),
            // The record of the task knows who asked.
            CancelReason::Stop | CancelReason::Replace | CancelReason::Shutdown => true,
        };
        assert!(why, "told {reason} without reason: {self:?}");
        assert!(until <= now.after(plan.grace), "the grace is too long: {self:?}");
        self.grace_until = Some(until);
    }

    /// The machine hears what a tell found. Gives whether a stop has to be told instead.
    pub(super) fn tell_answered(&mut self, now: Time, answer: TellAnswer, plan: &Plan) -> bool {
        if self.n_ended > 0 {
            return false;
        }
        assert!(self.told.is_some(), "an answer to nothing: {self:?}");
        match answer {
            TellAnswer::AlreadyReturned => assert!(self.has_returned),
            TellAnswer::Told => self.is_told = true,
            TellAnswer::DeadlineMoved(deadline) => {
                assert_eq!(self.told.take(), Some(CancelReason::Timeout));
                (self.grace_until, self.abandon_ordered) = (None, false);
                (self.deadline, self.next_look) = (Some(deadline), first_look(now, plan));
                self.looks_soon = self.next_look() < now.after(period(plan).unwrap_or_default());
                self.misses = 0;
                return self.finalized;
            }
        }
        false
    }

    /// Somebody asked for a restart, and the body had returned before it could be told.
    pub(super) fn was_restarted_late(&self) -> bool {
        let is_over = self.returned_at.is_some() && self.abandoned_at.is_none();
        is_over && self.told == Some(CancelReason::Restart) && self.told_in_time.is_none()
    }

    pub(super) fn finalize(&mut self, until: Time) {
        assert!(self.told.is_some());
        self.grace_until = self.grace_until.map(|before| before.min(until));
        self.finalized |= !self.leaves;
    }

    pub(super) fn look(&mut self, now: Time, plan: &Plan) {
        assert!(self.runs(), "a look at an attempt that does not run, or was told: {self:?}");
        assert!(now >= self.next_look(), "a look too soon: {self:?}");
        // The point of the grid that is the closest to a period from now.
        self.next_look = period(plan).map(|period| on_grid(now.after(period / 2), period));
    }

    /// When to look; never if it is not watched.
    pub(super) fn next_look(&self) -> Time {
        self.next_look.unwrap_or(Time::NEVER)
    }

    /// The machine hears what a look found. Gives what that has to lead to.
    pub(super) fn looked(&mut self, alive: bool) -> Finding {
        if !self.runs() {
            return Finding::Nothing;
        }
        // The first look may come sooner than a period after the claim, and does not count then.
        let counts = !std::mem::take(&mut self.looks_soon);
        self.misses = if alive { 0 } else { self.misses + u32::from(counts) };
        match (self.is_silent, self.misses) {
            (true, 0) => Finding::Resumed,
            (false, MISSES) => Finding::Silent,
            _ => Finding::Nothing,
        }
    }

    pub(super) fn silent(&mut self) {
        assert!(self.misses >= MISSES && !self.is_silent, "silent too soon, or twice: {self:?}");
        self.is_silent = true;
        (self.young_since, self.is_stable) = (None, false);
        self.to_examine += 1;
    }

    pub(super) fn resumed(&mut self, now: Time) {
        assert!(self.is_silent && self.misses == 0, "it was not silent: {self:?}");
        self.is_silent = false;
        self.young_since = Some(now);
    }

    /// When it is to be called stable; never if it is silent, or was called so.
    pub(super) fn stable_at(&self, plan: &Plan) -> Time {
        let since = self.young_since.filter(|_| !self.is_stable);
        since.map_or(Time::NEVER, |since| since.after(plan.stable_after))
    }

    /// Whether it came to its stable moment before it returned, untold, and was not called so.
    pub(super) fn missed_stable(&self, plan: &Plan) -> bool {
        let returned_at = self.returned_at.expect("it has ended");
        self.told.is_none() && self.stable_at(plan) <= returned_at
    }

    pub(super) fn stable(&mut self, now: Time, plan: &Plan) {
        assert!(self.told.is_none() && self.n_ended == 0, "stable when it was told: {self:?}");
        let until = self.returned_at.unwrap_or(now);
        assert!(self.stable_at(plan) <= until, "stable too soon, or twice: {self:?}");
        self.is_stable = true;
    }

    pub(super) fn overdue(&mut self) {
        let known = (self.told, self.is_told, self.n_ended);
        assert_eq!(known, (Some(CancelReason::Timeout), true, 0), "not overdue: {self:?}");
        self.n_overdue += 1;
        self.to_examine += 1;
        assert_eq!(self.n_overdue, 1, "overdue twice");
    }

    pub(super) fn examine(&mut self) {
        assert!(self.to_examine > 0, "examined without an event that says why: {self:?}");
        self.to_examine -= 1;
    }

    /// The machine is told of the return.
    pub(super) fn reported(
        &mut self,
        at: Time,
        told: Option<CancelReason>,
        ret: Return,
        retry_after: Option<Duration>,
    ) {
        assert_eq!(self.returned_at.replace(at), None, "the world reports a return twice");
        (self.told_in_time, self.ret) = (told, Some(ret));
        // What comes back after the abandonment says nothing.
        self.retry_after = retry_after.filter(|_| self.abandoned_at.is_none());
    }

    /// The one event of an attempt that has returned.
    pub(super) fn ended(&mut self, told: Option<CancelReason>, ending: Ending, plan: &Plan) {
        let ret = self.ret.expect("an attempt ends when its body has returned");
        assert_eq!(ending, expected(told, ret, plan.panic), "the end is misjudged: {self:?}");
        assert_eq!((self.n_starting, self.n_ended), (1, 0), "a second end: {self:?}");
        assert_eq!(self.n_ready, u32::from(self.said_ready), "its word was lost: {self:?}");
        assert_eq!(told, self.told_in_time, "the event says what was told: {self:?}");
        self.n_ended = 1;
    }

    pub(super) fn abandon(&mut self, now: Time) {
        let until = self.grace_until.expect("only a body that was told can be abandoned");
        assert!(now >= until, "abandoned within its grace: {self:?}");
        self.abandon_ordered = true;
    }

    /// The one event of an attempt that has not.
    pub(super) fn abandoned(&mut self, now: Time, released: bool) {
        assert!(self.abandon_ordered, "abandoned without order: {self:?}");
        assert_eq!((self.n_starting, self.n_ended), (1, 0), "a second end: {self:?}");
        self.n_ended = 1;
        self.to_examine += 1;
        (self.abandoned_at, self.leaves) = (Some(now), released);
    }

    pub(super) fn release(&mut self) {
        assert!(self.leaves && !self.is_released, "released unasked, or twice: {self:?}");
        self.is_released = true;
    }

    /// An abandoned attempt has come back.
    pub(super) fn noted(&mut self) {
        assert!(self.abandoned_at.is_some() && self.has_returned);
        self.n_noted += 1;
        assert_eq!(self.n_noted, 1, "a late return is noted twice");
    }

    pub(super) fn forget(&mut self) {
        let over = self.is_released && self.n_noted == 1 && !self.is_forgotten;
        assert!(over, "forgotten too soon, or twice: {self:?}");
        self.is_forgotten = true;
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        let ran = u32::from(self.claimed_at.is_some());
        assert_eq!((self.n_starting, self.n_ended), (ran, ran), "{self:?}");
        assert_eq!(self.n_noted, u32::from(self.abandoned_at.is_some()), "{self:?}");
        assert_eq!((self.leaves, self.is_released), (self.is_released, self.is_forgotten));
        assert_eq!(self.to_examine, 0, "never examined: {self:?}");
    }
}

/// How far two looks at an attempt lie apart.
fn period(plan: &Plan) -> Option<Duration> {
    plan.watchdog.map(|watchdog| watchdog.max_silence / MISSES)
}

/// The first point of the grid after a sign of life.
fn first_look(sign: Time, plan: &Plan) -> Option<Time> {
    period(plan).map(|period| on_grid(sign.after(Duration::from_nanos(1)), period))
}

/// The first point of the grid, which begins with the supervisor, from then on.
fn on_grid(from: Time, period: Duration) -> Time {
    let mut point = from.as_nanos() / nanos(period) * nanos(period);
    if point < from.as_nanos() {
        point += nanos(period);
    }
    Time::from_nanos(point)
}

/// The table in `How an attempt ends and what follows` of `guide::rules`, row by row.
fn expected(told: Option<CancelReason>, ret: Return, panic: PanicPolicy) -> Ending {
    let stopped = told.is_some_and(|told| as_stop(told).is_some());
    let final_panic = stopped || panic != PanicPolicy::Failure;
    match (told, ret) {
        (_, Return::Fatal) => Ending::Failed,
        (_, Return::Panicked) if final_panic => Ending::Panicked,
        (_, Return::Ok) if stopped => Ending::Succeeded,
        _ if stopped => Ending::Cancelled,
        (Some(CancelReason::Timeout), _) => Ending::TimedOut,
        (Some(CancelReason::Unresponsive), _) => Ending::Unresponsive,
        (_, Return::Panicked) => Ending::Panicked,
        (Some(_), Return::Failed) | (_, Return::Cancelled) => Ending::Cancelled,
        (None, Return::Failed) => Ending::Failed,
        (_, Return::Ok) => Ending::Succeeded,
    }
}
