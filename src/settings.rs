//! What can be set for one task and, as a default, for all: setters, checks, and how the two
//! combine.

use std::fmt;
use std::time::Duration;

use crate::backoff::{BackoffPolicy, MIN_SPACING};
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

/// What can be set for one task and for all: `None` is inherited. Most tasks set little, so that
/// little is kept for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) restart: Option<RestartPolicy>,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default)]
#[allow(clippy::option_option, reason = "the inner `None` is a setting: no limit")]
struct Rest {
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
        let (here, there) = (self.rest.as_deref(), defaults.rest.as_deref());
        let max_silence = set(here, there, |it| it.watchdog).flatten();
        let policy = set(here, there, |it| it.watchdog_policy).unwrap_or_default();
        Plan {
            restart: self.restart.or(defaults.restart).unwrap_or_default(),
            pause: Pause::None,
            initial_delay: Duration::ZERO,
            backoff: set(here, there, |it| it.backoff).unwrap_or_default(),
            max_retries: set(here, there, |it| it.max_retries).flatten(),
            stable_after: set(here, there, |it| it.stable_after).unwrap_or(STABLE_AFTER),
            failure_limit: set(here, there, |it| it.failure_limit),
            timeout: set(here, there, |it| it.timeout).flatten(),
            max_timeout: set(here, there, |it| it.max_timeout).flatten(),
            grace: set(here, there, |it| it.grace).unwrap_or(supervisor_grace),
            expires_in: set(here, there, |it| it.expires_in).flatten(),
            panic: set(here, there, |it| it.panic_policy).unwrap_or_default(),
            abandon: set(here, there, |it| it.abandon_policy).unwrap_or_default(),
            watchdog: max_silence.map(|max_silence| Watchdog { max_silence, policy }),
            significant: false,
            once: false,
            shared: false,
        }
    }

    /// Nothing is set but `restart`.
    pub(crate) const fn is_plain(&self) -> bool {
        self.rest.is_none()
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_with(Box::default)
    }

    pub(crate) fn find_fault(&self) -> Option<Fault> {
        self.rest.as_deref().and_then(Rest::find_fault)
    }
}

impl Rest {
    fn find_fault(&self) -> Option<Fault> {
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

/// What is set here, else there.
fn set<T>(
    here: Option<&Rest>,
    there: Option<&Rest>,
    choice: impl Fn(&Rest) -> Option<T>,
) -> Option<T> {
    here.and_then(&choice).or_else(|| there.and_then(&choice))
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
                $settings.rest().backoff = Some(policy);
                $self
            }

            /// Sets how many retries may follow the first failure of a streak; only a success ends
            /// the streak. Default: `None`, no limit.
            pub fn max_retries(mut $self, most: impl Into<Option<u32>>) -> Self {
                $settings.rest().max_retries = Some(most.into());
                $self
            }

            /// Sets how long an attempt must have run before its failure for the delays to begin
            /// anew. One that was told of its deadline never counts as stable. Default: 60 s.
            pub fn stable_after(mut $self, span: Duration) -> Self {
                $settings.rest().stable_after = Some(span);
                $self
            }

            /// Ends the task when more than `failures` fall within a sliding span `within`: a
            /// budget for resident tasks, whose streaks a success now and then would reset.
            /// Default: off.
            pub fn failure_limit(mut $self, failures: u32, within: Duration) -> Self {
                $settings.rest().failure_limit = Some(FailureLimit { failures, within });
                $self
            }

            /// Sets how long an attempt may run. At that deadline it is told, and counts as failed
            /// whatever it returns; a thread cannot be killed. Counted from the moment a thread
            /// took it up. Default: `None`, no limit.
            pub fn timeout(mut $self, limit: impl Into<Option<Duration>>) -> Self {
                $settings.rest().timeout = Some(limit.into());
                $self
            }

            /// Sets how long a body has to return once told, before it is given up as abandoned.
            /// Zero gives it up in the same step, `Duration::MAX` never. A shutdown allows no more
            /// than the supervisor's own grace. Default: the supervisor's grace.
            pub fn grace(mut $self, span: Duration) -> Self {
                $settings.rest().grace = Some(span);
                $self
            }

            /// Refuses the submission as `Expired` if no thread has taken up its first attempt so
            /// long after it was handed over; an initial delay does not count. Default: `None`, no
            /// limit.
            pub fn expires_in(mut $self, span: impl Into<Option<Duration>>) -> Self {
                $settings.rest().expires_in = Some(span.into());
                $self
            }

            /// Sets how far a body may extend its deadline by
            /// [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline), counted from
            /// the moment a thread took the attempt up. Default: `None`, not at all.
            pub fn max_timeout(mut $self, limit: impl Into<Option<Duration>>) -> Self {
                $settings.rest().max_timeout = Some(limit.into());
                $self
            }

            /// Watches for signs of life: [`heartbeat`](crate::TaskContext::heartbeat),
            /// [`mark`](crate::TaskContext::mark). Looks four times in `max_silence`, which begins
            /// when a thread takes the attempt up; an attempt that was silent at four looks in a
            /// row is `AttemptSilent`. A suspended or starved machine looks less often as well, so
            /// it raises no false alarm. Wakes somebody only while a watched attempt runs. At least
            /// 4 ms. Default: `None`, no watchdog.
            pub fn watchdog(mut $self, max_silence: impl Into<Option<Duration>>) -> Self {
                $settings.rest().watchdog = Some(max_silence.into());
                $self
            }

            /// Sets what follows when a watched attempt is silent. Default:
            /// [`WatchdogPolicy::Report`].
            pub fn watchdog_policy(mut $self, policy: WatchdogPolicy) -> Self {
                $settings.rest().watchdog_policy = Some(policy);
                $self
            }

            /// Sets what becomes of slot and permit when an attempt outlives its grace. Default:
            /// [`AbandonPolicy::Hold`].
            pub fn abandon_policy(mut $self, policy: AbandonPolicy) -> Self {
                $settings.rest().abandon_policy = Some(policy);
                $self
            }

            /// Sets what a panic in the body means. Default: [`PanicPolicy::Failure`].
            pub fn panic_policy(mut $self, policy: PanicPolicy) -> Self {
                $settings.rest().panic_policy = Some(policy);
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
