//! What can be set for one task and, as a default, for all: setters, checks, and how the two
//! combine.

use std::fmt;
use std::time::Duration;

use crate::backoff::{BackoffPolicy, MIN_SPACING};
use crate::cell::Allowance;
use crate::policy::{
    AbandonPolicy, FailureLimit, PanicPolicy, Pause, Plan, RestartPolicy, Watchdog, WatchdogPolicy,
};
use crate::spec::TaskSpec;

/// An attempt that ran so long before it failed was doing well.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The watchdog looks four times in the span it allows, and no more often than once a millisecond.
const MIN_SILENCE: Duration = Duration::from_millis(4);

/// A field, its value, and a remedy.
pub(crate) type Fault = (&'static str, String, &'static str);

pub(crate) fn fault(field: &'static str, value: &dyn fmt::Debug, remedy: &'static str) -> Fault {
    (field, format!("{value:?}"), remedy)
}

/// What can be set for one task and for all: `None` is inherited.
#[derive(Clone, Debug, Default)]
#[allow(clippy::option_option, reason = "the inner `None` is a setting: no limit")]
pub(crate) struct Settings {
    restart: Option<RestartPolicy>,
    backoff: Option<BackoffPolicy>,
    max_retries: Option<Option<u32>>,
    stable_after: Option<Duration>,
    failure_limit: Option<FailureLimit>,
    timeout: Option<Option<Duration>>,
    grace: Option<Duration>,
    expires_in: Option<Option<Duration>>,
    panic_policy: Option<PanicPolicy>,
    max_timeout: Option<Option<Duration>>,
    abandon_policy: Option<AbandonPolicy>,
    watchdog: Option<Option<Duration>>,
    watchdog_policy: Option<WatchdogPolicy>,
}

impl Settings {
    /// What is set here, else there, else the crate's own default. The rest of the plan is that of
    /// a plain task.
    pub(crate) fn plan(&self, defaults: &Self, supervisor_grace: Duration) -> Plan {
        let max_silence = self.watchdog.or(defaults.watchdog).flatten();
        let policy = self.watchdog_policy.or(defaults.watchdog_policy).unwrap_or_default();
        Plan {
            restart: self.restart.or(defaults.restart).unwrap_or_default(),
            pause: Pause::None,
            initial_delay: Duration::ZERO,
            backoff: self.backoff.or(defaults.backoff).unwrap_or_default(),
            max_retries: self.max_retries.or(defaults.max_retries).flatten(),
            stable_after: self.stable_after.or(defaults.stable_after).unwrap_or(STABLE_AFTER),
            failure_limit: self.failure_limit.or(defaults.failure_limit),
            timeout: self.timeout.or(defaults.timeout).flatten(),
            grace: self.grace.or(defaults.grace).unwrap_or(supervisor_grace),
            expires_in: self.expires_in.or(defaults.expires_in).flatten(),
            panic: self.panic_policy.or(defaults.panic_policy).unwrap_or_default(),
            abandon: self.abandon_policy.or(defaults.abandon_policy).unwrap_or_default(),
            watchdog: max_silence.map(|max_silence| Watchdog { max_silence, policy }),
            significant: false,
            once: false,
            shared: false,
        }
    }

    pub(crate) fn allowance(&self, defaults: &Self) -> Allowance {
        Allowance {
            timeout: self.timeout.or(defaults.timeout).flatten(),
            max_timeout: self.max_timeout.or(defaults.max_timeout).flatten(),
        }
    }

    pub(crate) const fn restart(&self) -> Option<RestartPolicy> {
        self.restart
    }

    pub(crate) fn find_fault(&self) -> Option<Fault> {
        if let Some(backoff) = self.backoff {
            if !(backoff.factor.is_finite() && backoff.factor >= 1.0) {
                return Some(fault(
                    "backoff.factor",
                    &backoff.factor,
                    "give a finite number from 1 on",
                ));
            }
            if backoff.max < MIN_SPACING {
                return Some(fault("backoff.max", &backoff.max, "give at least 1 ms"));
            }
            if backoff.first > backoff.max {
                return Some(fault("backoff.first", &backoff.first, "give at most `max`"));
            }
        }
        if let Some(limit) = self.failure_limit {
            if limit.failures == 0 {
                return Some(fault(
                    "failure_limit",
                    &limit.failures,
                    "use restart(Never) to allow none",
                ));
            }
            if limit.within.is_zero() {
                return Some(fault("failure_limit", &limit.within, "give a span above zero"));
            }
        }
        if let Some(Some(timeout @ Duration::ZERO)) = self.timeout {
            return Some(fault(
                "timeout",
                &timeout,
                "give a span above zero, or None for no limit",
            ));
        }
        if let (Some(Some(timeout)), Some(Some(most))) = (self.timeout, self.max_timeout) {
            if most < timeout {
                return Some(fault("max_timeout", &most, "give at least `timeout`"));
            }
        }
        if let Some(Some(silence)) = self.watchdog {
            if silence < MIN_SILENCE {
                return Some(fault("watchdog", &silence, "give at least 4 ms, or None for none"));
            }
        }
        if let Some(Some(expiry @ Duration::ZERO)) = self.expires_in {
            return Some(fault(
                "expires_in",
                &expiry,
                "give a span above zero, or None for no limit",
            ));
        }
        None
    }
}

/// Gives a type that holds `Settings` their setters, so that a task and the defaults of all tasks
/// read alike.
macro_rules! setters {
    ($type:ident, |$self:ident| $settings:expr) => {
        impl $type {
            /// Sets whether the body runs again after it returned. Default:
            /// [`RestartPolicy::OnFailure`].
            pub fn restart(mut $self, policy: RestartPolicy) -> Self {
                $settings.restart = Some(policy);
                $self
            }

            /// Sets the delays between a failure and its retry. Default: 100 ms, doubled up to 30
            /// s, half of it jitter.
            pub fn backoff(mut $self, policy: BackoffPolicy) -> Self {
                $settings.backoff = Some(policy);
                $self
            }

            /// Sets how many retries may follow the first failure of a streak; only a success ends
            /// the streak. Default: `None`, no limit.
            pub fn max_retries(mut $self, most: impl Into<Option<u32>>) -> Self {
                $settings.max_retries = Some(most.into());
                $self
            }

            /// Sets how long an attempt must have run before its failure for the delays to begin
            /// anew. One that was told of its deadline never counts as stable. Default: 60 s.
            pub fn stable_after(mut $self, span: Duration) -> Self {
                $settings.stable_after = Some(span);
                $self
            }

            /// Ends the task when more than `failures` fall within a sliding span `within`: a
            /// budget for resident tasks, whose streaks a success now and then would reset.
            /// Default: off.
            pub fn failure_limit(mut $self, failures: u32, within: Duration) -> Self {
                $settings.failure_limit = Some(FailureLimit { failures, within });
                $self
            }

            /// Sets how long an attempt may run. At that deadline it is told, and counts as failed
            /// whatever it returns; a thread cannot be killed. Counted from the moment a thread
            /// took it up. Default: `None`, no limit.
            pub fn timeout(mut $self, limit: impl Into<Option<Duration>>) -> Self {
                $settings.timeout = Some(limit.into());
                $self
            }

            /// Sets how long a body has to return once told, before it is given up as abandoned.
            /// Zero gives it up in the same step, `Duration::MAX` never. A shutdown allows no more
            /// than the supervisor's own grace. Default: the supervisor's grace.
            pub fn grace(mut $self, span: Duration) -> Self {
                $settings.grace = Some(span);
                $self
            }

            /// Refuses the submission as `Expired` if no thread has taken up its first attempt so
            /// long after it was handed over; an initial delay does not count. Default: `None`, no
            /// limit.
            pub fn expires_in(mut $self, span: impl Into<Option<Duration>>) -> Self {
                $settings.expires_in = Some(span.into());
                $self
            }

            /// Sets how far a body may extend its deadline by
            /// [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline), counted from
            /// the moment a thread took the attempt up. Default: `None`, not at all.
            pub fn max_timeout(mut $self, limit: impl Into<Option<Duration>>) -> Self {
                $settings.max_timeout = Some(limit.into());
                $self
            }

            /// Watches for signs of life: [`heartbeat`](crate::TaskContext::heartbeat),
            /// [`mark`](crate::TaskContext::mark). Looks four times in `max_silence`, which begins
            /// when a thread takes the attempt up; an attempt that was silent at four looks in a
            /// row is `AttemptSilent`. A suspended or starved machine looks less often as well, so
            /// it raises no false alarm. Wakes somebody only while a watched attempt runs. At least
            /// 4 ms. Default: `None`, no watchdog.
            pub fn watchdog(mut $self, max_silence: impl Into<Option<Duration>>) -> Self {
                $settings.watchdog = Some(max_silence.into());
                $self
            }

            /// Sets what follows when a watched attempt is silent. Default:
            /// [`WatchdogPolicy::Report`].
            pub fn watchdog_policy(mut $self, policy: WatchdogPolicy) -> Self {
                $settings.watchdog_policy = Some(policy);
                $self
            }

            /// Sets what becomes of slot and permit when an attempt outlives its grace. Default:
            /// [`AbandonPolicy::Hold`].
            pub fn abandon_policy(mut $self, policy: AbandonPolicy) -> Self {
                $settings.abandon_policy = Some(policy);
                $self
            }

            /// Sets what a panic in the body means. Default: [`PanicPolicy::Failure`].
            pub fn panic_policy(mut $self, policy: PanicPolicy) -> Self {
                $settings.panic_policy = Some(policy);
                $self
            }
        }
    };
}

setters!(TaskSpec, |self| self.settings_mut());
setters!(TaskDefaults, |self| self.0);

/// Settings for every task of a supervisor; what a spec sets itself beats them.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let defaults = TaskDefaults::new().timeout(Duration::from_secs(5)).max_retries(2);
/// let supervisor = Supervisor::builder().defaults(defaults).start()?;
/// let patient = TaskSpec::once("patient", |ctx| {
///     assert_eq!(ctx.deadline(), None);
///     Ok(())
/// });
/// let task = supervisor.handle().add(patient.timeout(None))?;
/// assert!(task.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "defaults do nothing until given to a builder"]
pub struct TaskDefaults(pub(crate) Settings);

impl TaskDefaults {
    /// Nothing set: every task has the defaults of the crate.
    pub fn new() -> Self {
        Self::default()
    }
}
