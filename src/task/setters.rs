//! The setters that a task and the defaults of all tasks have in common.

use std::time::Duration;

use crate::task::settings::Settings;
use crate::task::spec::TaskSpec;
use crate::vocabulary::backoff::BackoffPolicy;
use crate::vocabulary::plan::FailureLimit;
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

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
