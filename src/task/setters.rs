//! The setters that a task and the defaults of all tasks have in common.

use std::time::Duration;

use crate::task::settings::{Setting, Settings};
use crate::task::spec::TaskSpec;
use crate::vocabulary::backoff::BackoffPolicy;
use crate::vocabulary::plan::FailureLimit;
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

/// Holds settings for every task of a supervisor. What a spec sets itself beats them; what neither
/// sets has the default of the crate. Given to
/// [`SupervisorBuilder::defaults`](crate::SupervisorBuilder::defaults).
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
    /// Returns defaults that set nothing: every task has the defaults of the crate.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, setting: Setting) -> Self {
        self.0.set(setting);
        self
    }
}

/// Gives a type with the method `with` its setters, so that a task and the defaults of all tasks
/// read alike.
macro_rules! setters {
    ($type:ident) => {
        impl $type {
            /// Sets whether the body runs again after it has returned. Default:
            /// [`RestartPolicy::OnFailure`].
            pub fn restart(self, policy: RestartPolicy) -> Self {
                self.with(Setting::Restart(policy))
            }

            /// Sets the delays between a failure and its retry. Default: 100 ms, doubled for each
            /// retry up to 30 s, with [`JitterPolicy::Equal`](crate::JitterPolicy::Equal).
            pub fn backoff(self, policy: BackoffPolicy) -> Self {
                self.with(Setting::Backoff(policy))
            }

            /// Sets how many retries may follow the first failure of a streak; after one more
            /// failure the task ends. Only a success ends the streak. Default: `None`, no limit.
            pub fn max_retries(self, most: impl Into<Option<u32>>) -> Self {
                self.with(Setting::MaxRetries(most.into()))
            }

            /// Sets how long an attempt must have run before it failed for the delays to begin
            /// anew with the first. The streak of failures goes on. An attempt that was told of its
            /// deadline never counts as stable. Default: 60 s.
            pub fn stable_after(self, span: Duration) -> Self {
                self.with(Setting::StableAfter(span))
            }

            /// Ends the task when more than `failures` fall within a sliding span of `within`. This
            /// is a budget for resident tasks, whose streaks an occasional success would reset.
            /// `None` removes the limit that the defaults set. Default: `None`, no limit.
            pub fn failure_limit(self, failures: impl Into<Option<u32>>, within: Duration) -> Self {
                let limit = failures.into().map(|failures| FailureLimit { failures, within });
                self.with(Setting::FailureLimit(limit))
            }

            /// Sets how long an attempt may run, counted from the moment a thread took it up. At
            /// that deadline the body is told to return, and the attempt counts as failed whatever
            /// the body returns. It ends when the body returns, since a thread cannot be killed.
            /// Default: `None`, no limit.
            pub fn timeout(self, limit: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Timeout(limit.into()))
            }

            /// Sets how long a body has to return once it is told, before its attempt is abandoned.
            /// Zero abandons it in the same step, `None` never. A shutdown allows no more than the
            /// supervisor's own grace. Default: the supervisor's grace.
            pub fn grace(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Grace(span.into().unwrap_or(Duration::MAX)))
            }

            /// Rejects the submission as [`Expired`](crate::Rejection::Expired) if no thread has
            /// taken up its first attempt within `span` of being handed over. An initial delay does
            /// not count. Default: `None`, no limit.
            pub fn expires_in(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::ExpiresIn(span.into()))
            }

            /// Sets how long an attempt may run after its body has asked for more time, by
            /// [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline). It counts
            /// from the moment a thread took the attempt up and is at least the
            /// [`timeout`](Self::timeout). Default: `None`, no extension is granted.
            pub fn max_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::MaxTimeout(limit.into()))
            }

            /// Watches each attempt for signs of life, which are
            /// [`heartbeat`](crate::TaskContext::heartbeat) and
            /// [`mark`](crate::TaskContext::mark). An attempt that gives none for `max_silence` is
            /// reported as [`AttemptSilent`](crate::EventKind::AttemptSilent), and what follows is
            /// set by [`watchdog_policy`](Self::watchdog_policy).
            ///
            /// The watchdog looks four times in `max_silence`, which is at least 4 ms and begins
            /// when a thread takes the attempt up; silent is an attempt that was silent at four
            /// looks in a row. A suspended or starved machine looks less often as well, so it
            /// raises no false alarm. Nothing wakes up unless a watched attempt runs. Default:
            /// `None`, no watchdog.
            pub fn watchdog(self, max_silence: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Watchdog(max_silence.into()))
            }

            /// Sets what follows when a watched attempt is silent. Default:
            /// [`WatchdogPolicy::Report`].
            pub fn watchdog_policy(self, policy: WatchdogPolicy) -> Self {
                self.with(Setting::WatchdogPolicy(policy))
            }

            /// Sets what becomes of the slot and the permit when an attempt outlives its grace.
            /// Default: [`AbandonPolicy::Hold`].
            #[doc(alias = "on_abandon")]
            pub fn abandon_policy(self, policy: AbandonPolicy) -> Self {
                self.with(Setting::AbandonPolicy(policy))
            }

            /// Sets what a panic in the body means. Default: [`PanicPolicy::Failure`].
            #[doc(alias = "on_panic")]
            pub fn panic_policy(self, policy: PanicPolicy) -> Self {
                self.with(Setting::PanicPolicy(policy))
            }
        }
    };
}

setters!(TaskSpec);
setters!(TaskDefaults);
