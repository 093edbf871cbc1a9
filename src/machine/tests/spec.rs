//! Submissions for scripts.

use core::time::Duration;

use crate::vocabulary::backoff::BackoffPolicy;
use crate::vocabulary::id::ClassKey;
use crate::vocabulary::plan::{AtDrain, BodyKind, FailureLimit, Interval, Plan, Watchdog};
use crate::vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A submission in the making, with plain values: in the slot of its own name, policy `Queue`,
/// 10 ms of backoff, 100 ms of grace, a body that needs no drop.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) slot: Option<&'static str>,
    pub(super) policy: AdmissionPolicy,
    pub(super) plan: Plan,
    pub(super) submitted_at: Option<Duration>,
    pub(super) cancelled: bool,
    /// Its spec is given back if it is refused.
    pub(super) gives_back: bool,
    /// It is given the key of this task, which is forgotten.
    pub(super) key_of: Option<&'static str>,
}

pub(super) fn task(name: &'static str) -> Spec {
    Spec {
        name,
        slot: Some(name),
        policy: AdmissionPolicy::Queue,
        plan: Plan {
            restart: RestartPolicy::OnFailure,
            interval: Interval::None,
            initial_delay: Duration::ZERO,
            backoff: BackoffPolicy::constant(ms(10)),
            retry_early: false,
            max_retries: u32::MAX,
            give_up_after: None,
            stable_after: ms(60_000),
            stable_is_stated: false,
            failure_limit: None,
            timeout: None,
            max_timeout: None,
            ready_within: None,
            step: false,
            grace: ms(100),
            expires_in: None,
            panic: PanicPolicy::Failure,
            abandon: AbandonPolicy::Hold,
            watchdog: None,
            shutdown_on_end: false,
            at_drain: AtDrain::GoOn,
            class: None,
            body: BodyKind::Repeat,
            needs_drop: false,
        },
        submitted_at: None,
        cancelled: false,
        gives_back: false,
        key_of: None,
    }
}

impl Spec {
    pub(super) fn slot(self, slot: &'static str) -> Self {
        Self { slot: Some(slot), ..self }
    }

    pub(super) fn no_slot(self) -> Self {
        Self { slot: None, ..self }
    }

    pub(super) fn policy(self, policy: AdmissionPolicy) -> Self {
        Self { policy, ..self }
    }

    pub(super) fn replace(self) -> Self {
        self.policy(AdmissionPolicy::Replace)
    }

    /// Handed over at this moment, decided later.
    pub(super) fn submitted_at(self, at: Duration) -> Self {
        Self { submitted_at: Some(at), ..self }
    }

    pub(super) fn cancelled(self) -> Self {
        Self { cancelled: true, ..self }
    }

    pub(super) fn gives_back(self) -> Self {
        Self { gives_back: true, ..self }
    }

    /// Its body needs a drop.
    pub(super) fn open(self) -> Self {
        self.plan(|plan| plan.needs_drop = true)
    }

    pub(super) fn class(self, class: u32) -> Self {
        self.plan(|plan| plan.class = Some(ClassKey(class)))
    }

    pub(super) fn key_of(self, name: &'static str) -> Self {
        Self { key_of: Some(name), ..self }
    }

    pub(super) fn plan(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    pub(super) fn never(self) -> Self {
        self.plan(|plan| plan.restart = RestartPolicy::Never)
    }

    pub(super) fn always(self) -> Self {
        self.plan(|plan| plan.restart = RestartPolicy::Always)
    }

    pub(super) fn once(self) -> Self {
        self.never().plan(|plan| plan.body = BodyKind::Once)
    }

    pub(super) fn repeat_after(self, pause: Duration) -> Self {
        self.always().plan(|plan| plan.interval = Interval::Delay(pause))
    }

    pub(super) fn every(self, step: Duration) -> Self {
        self.always().plan(|plan| plan.interval = Interval::Rate(step))
    }

    pub(super) fn initial_delay(self, delay: Duration) -> Self {
        self.plan(|plan| plan.initial_delay = delay)
    }

    pub(super) fn backoff(self, backoff: BackoffPolicy) -> Self {
        self.plan(|plan| plan.backoff = backoff)
    }

    pub(super) fn max_retries(self, most: u32) -> Self {
        self.plan(|plan| plan.max_retries = most)
    }

    pub(super) fn give_up_after(self, span: Duration) -> Self {
        self.plan(|plan| plan.give_up_after = Some(span))
    }

    pub(super) fn retry_early(self) -> Self {
        self.plan(|plan| plan.retry_early = true)
    }

    pub(super) fn failure_limit(self, failures: u32, within: Duration) -> Self {
        self.plan(|plan| plan.failure_limit = Some(FailureLimit { failures, within }))
    }

    pub(super) fn timeout(self, timeout: Duration) -> Self {
        self.plan(|plan| plan.timeout = Some(timeout))
    }

    pub(super) fn ready_within(self, span: Duration) -> Self {
        self.plan(|plan| plan.ready_within = Some(span))
    }

    /// Ready once it has returned.
    pub(super) fn step(self) -> Self {
        self.plan(|plan| plan.step = true)
    }

    pub(super) fn grace(self, grace: Duration) -> Self {
        self.plan(|plan| plan.grace = grace)
    }

    pub(super) fn expires_in(self, span: Duration) -> Self {
        self.plan(|plan| plan.expires_in = Some(span))
    }

    pub(super) fn panic(self, panic: PanicPolicy) -> Self {
        self.plan(|plan| plan.panic = panic)
    }

    /// Given up without being waited for; its body can not run twice at a time.
    pub(super) fn release(self) -> Self {
        self.plan(|plan| plan.abandon = AbandonPolicy::Release)
    }

    /// As [`release`](Self::release), with a body that can.
    pub(super) fn release_shared(self) -> Self {
        self.release().plan(|plan| plan.body = BodyKind::Shared)
    }

    /// Silence is an event.
    pub(super) fn watched(self, max_silence: Duration) -> Self {
        let policy = WatchdogPolicy::Report;
        self.plan(|plan| plan.watchdog = Some(Watchdog { max_silence, policy }))
    }

    /// Silence is a failure.
    pub(super) fn guarded(self, max_silence: Duration) -> Self {
        let policy = WatchdogPolicy::Cancel;
        self.plan(|plan| plan.watchdog = Some(Watchdog { max_silence, policy }))
    }

    pub(super) fn stop_at_drain(self) -> Self {
        self.plan(|plan| plan.at_drain = AtDrain::Stop)
    }

    pub(super) fn finish_at_drain(self) -> Self {
        self.plan(|plan| plan.at_drain = AtDrain::Finish)
    }

    pub(super) fn shutdown_on_end(self) -> Self {
        self.plan(|plan| plan.shutdown_on_end = true)
    }
}
