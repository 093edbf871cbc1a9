//! Why the failure that ended a task was not retried.

use core::fmt;

use super::label::named;

/// Says what has kept a failure from being retried, in [`NotRetried`].
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::NoRetry;
/// # let supervisor = Supervisor::builder().start()?;
/// let once = TaskSpec::once("once", |_| Err("no such device".into()));
/// let last = supervisor.run([once])?.failures[0].not_retried.unwrap();
/// assert_eq!((last.why, last.why.label()), (NoRetry::Policy, "policy"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum NoRetry {
    /// The restart policy is `Never`, or the body is that of
    /// [`TaskSpec::once`](crate::TaskSpec::once).
    Policy,
    /// The retries that [`TaskSpec::max_retries`](crate::TaskSpec::max_retries) allows were made.
    MaxRetries,
    /// [`TaskSpec::failure_limit`](crate::TaskSpec::failure_limit) allows no more failures now.
    FailureLimit,
    /// The span of [`TaskSpec::give_up_after`](crate::TaskSpec::give_up_after) has passed since the
    /// first failure.
    GiveUpAfter,
    /// [`GroupSpec::restart_limit`](crate::GroupSpec::restart_limit) allows its group no more
    /// restarts now.
    RestartLimit,
    /// The body was [released](crate::AbandonPolicy::Release) with the thread that is stuck in it.
    /// Only one of [`TaskSpec::shared`](crate::TaskSpec::shared) can be retried then.
    NotShared,
}

named!(NoRetry {
    Self::Policy => "policy",
    Self::MaxRetries => "max_retries",
    Self::FailureLimit => "failure_limit",
    Self::GiveUpAfter => "give_up_after",
    Self::RestartLimit => "restart_limit",
    Self::NotShared => "not_shared",
});

/// Says why the failure that ended a task was not retried: in [`FailedTask`](crate::FailedTask) and
/// [`EventKind::TaskEnded`](crate::EventKind::TaskEnded).
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::NoRetry;
/// # use std::time::Duration;
/// # let supervisor = Supervisor::builder().start()?;
/// let dies = TaskSpec::new("dies", |_| Err("no carrier".into()))
///     .backoff(BackoffPolicy::constant(Duration::from_millis(1)))
///     .failure_limit(2, Duration::from_secs(10));
/// let report = supervisor.run([dies])?;
/// let last = report.failures[0].not_retried.unwrap();
/// assert_eq!((last.why, last.failures), (NoRetry::FailureLimit, 3));
/// assert_eq!(last.to_string(), "not retried: failure_limit, 3 failures");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NotRetried {
    /// What has kept it from that.
    pub why: NoRetry,
    /// The failures that counted, the last one included: those of the streak, or those within the
    /// window of `failure_limit`.
    pub failures: u32,
}

/// What it adds to a sentence: nothing where nobody expects a retry.
pub(crate) struct AndWhy(pub(crate) Option<NotRetried>);

impl fmt::Display for AndWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(it) if it.why != NoRetry::Policy => write!(f, "; {it}"),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for NotRetried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.failures == 1 { "" } else { "s" };
        write!(f, "not retried: {}, {} failure{s}", self.why, self.failures)
    }
}
