//! The cell of an attempt, without threads, locks and clocks: what each side finds there. The
//! worker claims and returns, a revocation takes only what is offered, a tell and an abandonment
//! reach only what has not returned, and the body extends only what was not told. The tests of the
//! real cell drive it beside that.

use core::time::Duration;

use crate::vocabulary::answer::{AbandonAnswer, RevokeAnswer, TellAnswer};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offered,
    Claimed,
    /// The body has returned; what it leaves is being dropped.
    Leaving {
        last: bool,
    },
    Returned,
    Revoked,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct CellModel {
    phase: Phase,
    claimed_at: Time,
    /// Until told: the deadline. Then: the end of the grace.
    until: Time,
    /// The latest deadline that the body may ask for; `None` if it may not ask.
    max_until: Option<Time>,
    /// Until when the body has to say that it is ready.
    ready_by: Option<Time>,
    is_ready: bool,
    told: Option<CancelReason>,
    /// The body will not run again, whatever it returns.
    finalized: bool,
    abandoned: bool,
}

/// What a worker sees when its body has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) claimed_at: Time,
    pub(crate) told: Option<CancelReason>,
    /// The body will not run again.
    pub(crate) last: bool,
}

impl CellModel {
    pub(crate) const fn offered() -> Self {
        Self {
            phase: Phase::Offered,
            claimed_at: Time::ZERO,
            until: Time::NEVER,
            max_until: None,
            ready_by: None,
            is_ready: false,
            told: None,
            finalized: false,
            abandoned: false,
        }
    }

    pub(crate) fn is_offered(&self) -> bool {
        self.phase == Phase::Offered
    }

    /// Whether a thread is in the body.
    pub(crate) fn runs(&self) -> bool {
        self.phase == Phase::Claimed
    }

    /// When it was claimed, if it was; it may have returned since.
    pub(crate) const fn claimed_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Claimed | Phase::Leaving { .. } | Phase::Returned => Some(self.claimed_at),
            Phase::Offered | Phase::Revoked => None,
        }
    }

    pub(crate) const fn told(&self) -> Option<CancelReason> {
        self.told
    }

    pub(crate) fn until(&self) -> Time {
        let awaited = self.ready_by.filter(|_| self.told.is_none() && !self.is_ready);
        awaited.map_or(self.until, |ready_by| ready_by.min(self.until))
    }

    pub(crate) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The running body says that it is ready. Gives the deadline from now on, if that is news.
    pub(crate) fn say_ready(&mut self) -> Option<Time> {
        let news = self.runs() && self.told.is_none() && !self.is_ready;
        self.is_ready |= news;
        news.then_some(self.until)
    }

    pub(crate) const fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub(crate) const fn is_finalized(&self) -> bool {
        self.finalized
    }

    /// False if it was revoked.
    pub(crate) fn claim(
        &mut self,
        now: Time,
        timeout: Option<Duration>,
        max_timeout: Option<Duration>,
        ready_within: Option<Duration>,
    ) -> bool {
        if !self.is_offered() {
            return false;
        }
        self.phase = Phase::Claimed;
        self.claimed_at = now;
        self.until = timeout.map_or(Time::NEVER, |timeout| now.after(timeout));
        self.max_until = max_timeout.map(|most| now.after(most));
        self.ready_by = ready_within.map(|span| now.after(span));
        true
    }

    /// The running body returns.
    pub(crate) fn returned(
        &mut self,
        is_final: impl FnOnce(Option<CancelReason>, bool) -> bool,
    ) -> Seen {
        assert!(self.runs(), "only what runs can return: {self:?}");
        let last = self.finalized || is_final(self.told, self.abandoned);
        self.phase = Phase::Leaving { last };
        Seen { claimed_at: self.claimed_at, told: self.told, last }
    }

    /// All that the body has left is dropped.
    pub(crate) fn left(&mut self) {
        assert!(matches!(self.phase, Phase::Leaving { .. }), "nothing was left: {self:?}");
        self.phase = Phase::Returned;
    }

    pub(crate) fn revoke(&mut self) -> RevokeAnswer {
        if let Some(at) = self.claimed_at() {
            return RevokeAnswer::AlreadyClaimed(at);
        }
        self.phase = Phase::Revoked;
        RevokeAnswer::Revoked
    }

    pub(crate) fn tell(
        &mut self,
        reason: CancelReason,
        now: Time,
        grace_until: Time,
    ) -> TellAnswer {
        let answer = match self.phase {
            Phase::Claimed => TellAnswer::Told,
            // Only for what its destructors wait for.
            Phase::Leaving { .. } => TellAnswer::AlreadyReturned,
            Phase::Offered | Phase::Returned | Phase::Revoked => {
                return TellAnswer::AlreadyReturned;
            }
        };
        if self.told.is_some() {
            return answer;
        }
        if answer == TellAnswer::Told && reason == CancelReason::Timeout && self.until() > now {
            return TellAnswer::DeadlineMoved(self.until());
        }
        (self.told, self.until) = (Some(reason), grace_until);
        answer
    }

    pub(crate) fn finalize(&mut self, grace_until: Time) {
        self.finalized = true;
        if self.told.is_some() {
            self.until = grace_until;
        }
    }

    pub(crate) fn abandon(&mut self) -> AbandonAnswer {
        let last = match self.phase {
            // One that was not told, having asked for more time, is not abandoned.
            Phase::Claimed if self.told.is_some() => self.finalized,
            Phase::Leaving { last } => last,
            Phase::Claimed | Phase::Offered | Phase::Returned | Phase::Revoked => {
                return AbandonAnswer::NotAbandoned;
            }
        };
        self.abandoned = true;
        AbandonAnswer::Abandoned { last }
    }

    /// The body asks for `span` from now on. False if it does not get that.
    pub(crate) fn extend(&mut self, now: Time, span: Duration) -> bool {
        if self.told.is_some() {
            return false;
        }
        if self.until.is_never() {
            return true;
        }
        let wanted = now.after(span);
        if self.max_until.map_or(true, |most| wanted > most) {
            return false;
        }
        self.until = self.until.max(wanted);
        true
    }
}
