//! What can be set for one task and, as a default, for all: setters, checks, and how the two
//! combine.

use std::fmt;
use std::time::Duration;

use crate::vocabulary::backoff::{BackoffPolicy, MIN_SPACING};
use crate::vocabulary::plan::{BodyKind, FailureLimit, Pause, Plan, Watchdog};
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

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
pub(super) struct Rest {
    pub(super) backoff: Option<BackoffPolicy>,
    pub(super) max_retries: Option<Option<u32>>,
    pub(super) stable_after: Option<Duration>,
    pub(super) failure_limit: Option<FailureLimit>,
    pub(super) timeout: Option<Option<Duration>>,
    pub(super) grace: Option<Duration>,
    pub(super) expires_in: Option<Option<Duration>>,
    pub(super) panic_policy: Option<PanicPolicy>,
    pub(super) max_timeout: Option<Option<Duration>>,
    pub(super) abandon_policy: Option<AbandonPolicy>,
    pub(super) watchdog: Option<Option<Duration>>,
    pub(super) watchdog_policy: Option<WatchdogPolicy>,
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
            shutdown_on_end: false,
            body: BodyKind::Repeat,
        }
    }

    /// Nothing is set but `restart`.
    pub(crate) const fn is_plain(&self) -> bool {
        self.rest.is_none()
    }

    pub(super) fn rest(&mut self) -> &mut Rest {
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
