//! The setters that specs and the defaults of all tasks have in common.

use std::sync::Arc;
use std::time::Duration;

use crate::task::settings::{Setting, Settings};
use crate::task::spec::TaskSpec;
use crate::vocabulary::backoff::BackoffPolicy;
use crate::vocabulary::plan::FailureLimit;
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

/// Holds the default settings for all tasks of a supervisor. A spec's own setting takes precedence;
/// a setting that neither has set keeps the crate's default. Pass the defaults to
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
#[must_use = "defaults do nothing until passed to a builder"]
pub struct TaskDefaults(pub(crate) Settings);

impl TaskDefaults {
    /// Returns defaults that set nothing: every task keeps the crate's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, setting: Setting) -> Self {
        self.0.set(setting);
        self
    }
}

/// Gives a type that has the method `with` its setters, so that a spec and the defaults of all
/// tasks have the same ones.
macro_rules! setters {
    ($type:ident) => {
        impl $type {
            /// Sets whether the body runs again after it has returned. Default:
            /// [`RestartPolicy::OnFailure`].
            ///
            /// ```
            /// # use threadvisor::prelude::*;
            /// # let supervisor = Supervisor::builder().start()?;
            /// let probe = |ctx: &TaskContext| match ctx.attempt() {
            ///     1 => Err("no answer".into()),
            ///     2 => Ok(()), // the end under `OnFailure`
            ///     _ => Err(TaskError::cancelled()), // the end under every policy
            /// };
            /// let probe = || TaskSpec::new("probe", probe);
            /// let run = |policy| supervisor.handle().add(probe().restart(policy)).unwrap().wait();
            /// assert!(run(RestartPolicy::Never)?.is_failed());
            /// assert!(run(RestartPolicy::OnFailure)?.is_success());
            /// assert!(run(RestartPolicy::Always)?.is_cancelled());
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "permanent")]
            #[doc(alias = "transient")]
            pub fn restart(self, policy: RestartPolicy) -> Self {
                self.with(Setting::Restart(policy))
            }

            /// Sets the delay between a failure and its retry. Default: 100 ms, doubled for each
            /// retry up to 30 s, with [`JitterPolicy::Equal`](crate::JitterPolicy::Equal). The
            /// delays start over after an attempt that has run for
            /// [`stable_after`](Self::stable_after), 60 s by default, also if it has failed or
            /// timed out in the end. See the example of [`BackoffPolicy`](crate::BackoffPolicy).
            #[doc(alias = "retry")]
            pub fn backoff(self, policy: BackoffPolicy) -> Self {
                self.with(Setting::Backoff(policy))
            }

            /// Puts the task into a class of the supervisor. However many slots its tasks have,
            /// only as many attempts of a class run at a time as
            /// [`class_limit`](crate::SupervisorBuilder::class_limit) says. A class that was not
            /// declared there is refused when the spec is handed over. Default: no class.
            ///
            /// Before each attempt, the task waits for a permit of its class, and then for one to
            /// run; it gives both back when the attempt has returned. While it waits for its class
            /// it holds no permit, so a full class holds up no task outside of it.
            /// [`TaskContext::class_index`](crate::TaskContext::class_index) tells the body which
            /// of the permits it has. A body cannot wait for another task of its own class, nor for
            /// one that is queued behind such a task: the wait returns `WouldDeadlock`.
            ///
            /// An attempt that hangs keeps its permit, also under `Release` once
            /// [`max_abandoned`](crate::SupervisorBuilder::max_abandoned) are stuck. So do not put
            /// a task that may hang into the class of tasks that must go on. How many tasks wait
            /// for a class is not limited: see
            /// [`try_submit`](crate::SupervisorHandle::try_submit). See the example of
            /// [`class_limit`](crate::SupervisorBuilder::class_limit).
            #[doc(alias = "semaphore")]
            #[doc(alias = "bulkhead")]
            pub fn class(self, name: impl Into<Arc<str>>) -> Self {
                self.with(Setting::Class(Some(name.into())))
            }

            /// Sets how many failures of a streak are retried: with 2, the third failure in a row
            /// ends the task; with 0, the first one does. A success ends a streak. A body that
            /// loops for ever has no successes: see [`stable_after`](Self::stable_after) for what
            /// ends its streak. A task with an interval ends as well; to skip the rest of a run and
            /// go on with the next, let the body count its tries and return `Ok` after the last
            /// one. To count failures of one kind only, or without progress, count them in the
            /// body, return [`fatal`](crate::TaskError::fatal) after the last, and set the delays
            /// with [`retry_after`](crate::TaskError::retry_after); the second
            /// example makes a fatal error of one that may be retried. Default: `None`, no limit.
            ///
            /// ```
            /// # use std::time::Duration;
            /// # use threadvisor::prelude::*;
            /// # let supervisor = Supervisor::builder().start()?;
            /// let probe = |ctx: &TaskContext| Err(format!("try {}", ctx.attempt()).into());
            /// let probe = TaskSpec::new("probe", probe)
            ///     .backoff(BackoffPolicy::constant(Duration::from_millis(1)))
            ///     .max_retries(2);
            /// let outcome = supervisor.handle().add(probe)?.wait()?;
            /// assert_eq!(outcome.to_string(), "failed: try 3");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// ```
            /// # use threadvisor::prelude::*;
            /// fn give_up(error: TaskError) -> TaskError {
            ///     let code = error.exit_code().unwrap_or(1);
            ///     TaskError::fatal(error.into_error()).with_exit_code(code) // with the same text
            /// }
            /// let error = give_up(TaskError::fail("wrong password").with_exit_code(77));
            /// assert_eq!((error.is_fatal(), error.exit_code()), (true, Some(77)));
            /// assert_eq!(error.to_string(), "wrong password");
            /// ```
            #[doc(alias = "attempts")]
            pub fn max_retries(self, most: impl Into<Option<u32>>) -> Self {
                self.with(Setting::MaxRetries(most.into()))
            }

            /// Sets for how long a streak of failures is retried: a failure that comes later than
            /// `span` after the first of its streak ends the task. Time in which the task waits
            /// counts, too. `span` must be above zero. What ends a streak also ends this span: a
            /// success, or what [`stable_after`](Self::stable_after) says. Default: `None`, no
            /// limit.
            ///
            /// Choose a span that ends between two retries: with retries every 2 s, 9 s or 11 s
            /// rather than 10 s. The span is checked when a failure comes, so the task may end up
            /// to one delay and one attempt later, and no delay is cut short. A body that loops for
            /// ever has no successes. Unless a `stable_after` that is shorter than `span` ends its
            /// streak, its second failure ends the task if it comes later than `span` after the
            /// first, however well the body has run in between.
            ///
            /// ```
            /// # use std::time::Duration;
            /// # use threadvisor::prelude::*;
            /// # let supervisor = Supervisor::builder().start()?;
            /// let upload = TaskSpec::new("upload", |_| Err("no route to host")?)
            ///     .backoff(BackoffPolicy::constant(Duration::from_millis(2)))
            ///     .give_up_after(Duration::from_millis(20));
            /// let outcome = supervisor.handle().add(upload)?.wait()?;
            /// assert!(matches!(outcome, Outcome::Failed { .. }));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn give_up_after(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::GiveUpAfter(span.into()))
            }

            /// Sets how long an attempt must run until it is stable, counted from the moment a
            /// thread takes it up, or from the last time that it gave a sign of life after a
            /// silence.
            ///
            /// At that moment the backoff starts again with its first delay, and the task counts as
            /// healthy. The streak of failures, which [`max_retries`](Self::max_retries) counts,
            /// also ends at that moment if the task is under [`RestartPolicy::Always`], or if the
            /// spec itself (not the defaults) sets this span; with a [`timeout`](Self::timeout) it
            /// does not. If there was a streak, [`AttemptStable`](crate::EventKind::AttemptStable)
            /// is published. Default: 60 s. With `Duration::MAX`, no attempt becomes stable: the
            /// delays of a job then grow however long its attempts take.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let minute = Duration::from_secs(60);
            /// let link = TaskSpec::new("link", move |ctx| {
            ///     ctx.sleep(10 * minute)?; // then the carrier is lost
            ///     Err("no carrier".into())
            /// });
            /// let link = supervisor.handle().add(link.max_retries(2).stable_after(minute))?;
            /// clock.advance(60 * minute); // each streak has one failure only
            /// assert_eq!(link.outcome().map(|outcome| outcome.to_string()), None);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn stable_after(self, span: Duration) -> Self {
                self.with(Setting::StableAfter(span))
            }

            /// Ends the task when more than `failures` failures fall within a sliding window of
            /// `within`: with 2, the third failure within that time ends it. Both must be above
            /// zero. This limit suits resident tasks, whose occasional
            /// successes end the streak that `max_retries` counts. `None` removes a limit that the
            /// defaults set. Default: `None`, no limit.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let second = Duration::from_secs(1);
            /// let link = TaskSpec::new("link", |ctx| match ctx.attempt() % 2 {
            ///     0 => Ok(()), // so no streak is longer than one failure
            ///     _ => Err("no carrier".into()),
            /// });
            /// let link = link.repeat_after(second).failure_limit(3, second * 60);
            /// let link = supervisor.handle().add(link)?;
            /// assert!(clock.advance_until(&link, second * 60).is_failed()); // at the fourth
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "intensity")]
            pub fn failure_limit(self, failures: impl Into<Option<u32>>, within: Duration) -> Self {
                let limit = failures.into().map(|failures| FailureLimit { failures, within });
                self.with(Setting::FailureLimit(limit))
            }

            /// Sets how long an attempt may run, counted from the moment a thread takes it up; must
            /// be above zero. At that deadline the body is told to return, and the attempt counts
            /// as a failure, which is retried like any other, even if the body returns `Ok`. A body
            /// that returns a [fatal](crate::TaskError::fatal) error once it is told ends the task:
            /// then there is no retry. The deadline may come between the body's last look and its
            /// return: a body whose work must not be done twice notes in a variable that it
            /// captures when it is done, and looks there first. The attempt ends only when the body
            /// returns, because a thread cannot be killed. A body that does not return within its
            /// grace is abandoned: if a retry is left, the task then has no outcome before the body
            /// returns, unless it is cancelled or under [`Release`](crate::AbandonPolicy::Release).
            /// Time in which the process is stopped (SIGSTOP, a paused virtual machine) counts,
            /// except where the system stops its monotonic clock, as Linux does while the machine
            /// is suspended. Default: `None`, no limit.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let slow = TaskSpec::new("slow", |ctx| Ok(ctx.sleep(Duration::from_secs(60))?))
            ///     .timeout(Duration::from_secs(5))
            ///     .max_retries(0);
            /// let slow = supervisor.handle().add(slow)?;
            /// let outcome = clock.advance_until(&slow, Duration::from_secs(10));
            /// assert!(outcome.is_timed_out());
            /// assert_eq!(clock.now(), Duration::from_secs(5));
            ///
            /// // An error may be retried, but the deadline must not be:
            /// let slow = TaskSpec::new("slow", |ctx| {
            ///     ctx.sleep(Duration::from_secs(60)).map_err(|told| match told.reason() {
            ///         CancelReason::Timeout => TaskError::fatal("too slow"),
            ///         _ => told.into(),
            ///     })
            /// });
            /// let slow = supervisor.handle().add(slow.timeout(Duration::from_secs(5)))?;
            /// assert!(clock.advance_until(&slow, Duration::from_secs(10)).is_fatal());
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "deadline")]
            pub fn timeout(self, limit: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Timeout(limit.into()))
            }

            /// Sets how long a body has to return once it is told to, before its attempt is
            /// abandoned. With zero the attempt is abandoned immediately, unless its body returns
            /// first; for a body that wakes up at that moment, this is not determined. With `None`
            /// it is never abandoned. A shutdown allows no more than the supervisor's own grace.
            /// Time in which the process is stopped counts, as for [`timeout`](Self::timeout).
            /// Default: the supervisor's grace.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let save = TaskSpec::once("save", |ctx| {
            ///     ctx.sleep(Duration::MAX).unwrap_err();
            ///     assert_eq!(ctx.remaining(), Some(Duration::from_secs(20))); // to save
            ///     Ok(())
            /// });
            /// let save = supervisor.handle().add(save.grace(Duration::from_secs(20)))?;
            /// save.wait_started()?;
            /// save.cancel();
            /// assert!(matches!(save.wait()?, Outcome::Cancelled { returned: Some(Ok(())), .. }));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn grace(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Grace(span.into().unwrap_or(Duration::MAX)))
            }

            /// Rejects the submission as [`Expired`](crate::Rejection::Expired) if no thread takes
            /// up its first attempt within `span` after the hand-over. An initial delay does not
            /// count, nor does a pause, nor the wait of a member for its phase. `span` must be
            /// above zero. Default: `None`, no limit.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let handle = supervisor.handle();
            /// let call = TaskSpec::new("call", |ctx| Ok(ctx.sleep(Duration::MAX)?)).slot("line");
            /// handle.add(call)?;
            /// let alarm = TaskSpec::once("alarm", |_| Ok(())).slot("line");
            /// let alarm = alarm.expires_in(Duration::from_secs(30)); // later it is of no use
            /// let alarm = handle.submit(alarm, AdmissionPolicy::Queue)?;
            /// clock.advance(Duration::from_secs(30));
            /// assert!(matches!(alarm.outcome(), Some(Outcome::Rejected(Rejection::Expired))));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "ttl")]
            pub fn expires_in(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::ExpiresIn(span.into()))
            }

            /// Sets how long an attempt may run in total if its body extends its deadline with
            /// [`TaskContext::extend_deadline`](crate::TaskContext::extend_deadline). The limit is
            /// counted from the moment a thread takes the attempt up, and must be at least the
            /// [`timeout`](Self::timeout). Default: `None`, which grants no extension;
            /// `Duration::MAX` grants any. See the example of
            /// [`extend_deadline`](crate::TaskContext::extend_deadline).
            pub fn max_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::MaxTimeout(limit.into()))
            }

            /// Requires each attempt to say that it is ready, with
            /// [`TaskContext::ready`](crate::TaskContext::ready), no later than `span` after a
            /// thread has taken it up. An attempt that has not done so by then is told to return,
            /// and counts as a failure like one that misses its [`timeout`](Self::timeout). The
            /// error of that failure says that the attempt was not ready; its exit code is that of
            /// the error that the body returns once it is told, if that [has
            /// one](crate::TaskError::with_exit_code). `span` must be above zero
            /// and at most the `timeout`; extending the deadline does not move it. Default: `None`,
            /// nothing is awaited.
            ///
            /// ```
            /// # use std::time::Duration;
            /// # use threadvisor::prelude::*;
            /// # let supervisor = Supervisor::builder().start()?;
            /// let link = TaskSpec::new("link", |ctx| {
            ///     // ... open the port, greet the device ...
            ///     ctx.ready();
            ///     ctx.sleep(Duration::from_secs(3600))?;
            ///     Ok(())
            /// });
            /// let ready_within = Duration::from_secs(5);
            /// let link = supervisor.handle().add(link.ready_within(ready_within))?;
            /// # while !supervisor.handle().snapshot()?.tasks[0].ready { std::thread::yield_now() }
            /// let entry = &supervisor.handle().snapshot()?.tasks[0];
            /// assert!(entry.ready);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "readiness")]
            pub fn ready_within(self, span: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::ReadyWithin(span.into()))
            }

            /// Watches each attempt for signs of life, which are
            /// [`heartbeat`](crate::TaskContext::heartbeat), [`mark`](crate::TaskContext::mark) and
            /// [`progress`](crate::TaskContext::progress). An attempt that gives none for
            /// `max_silence` is reported as [`AttemptSilent`](crate::EventKind::AttemptSilent);
            /// [`watchdog_policy`](Self::watchdog_policy) sets what follows.
            ///
            /// A wait in `sleep`, `recv` or `wait` is no sign of life: wait with
            /// [`recv_timeout`](crate::TaskContext::recv_timeout) for less than `max_silence` and
            /// give a heartbeat, or hold [`allow_silence`](crate::TaskContext::allow_silence).
            /// Between two attempts nothing is watched.
            ///
            /// The watchdog looks four times in each `max_silence`, from the moment a thread takes
            /// the attempt up, and at all attempts with the same `max_silence` together. An attempt
            /// is silent after four looks in a row without a sign of life, so between 1 and 1.25
            /// times `max_silence` after the last one, or an eighth earlier at most if the look
            /// that saw it was late. On a suspended or starved machine the watchdog looks
            /// less often, too, so it raises no false alarm. It wakes nothing up unless a watched
            /// attempt runs. `max_silence` must be at least 4 ms. Default: `None`, no watchdog.
            ///
            /// ```
            /// # use std::time::Duration;
            /// use threadvisor::{prelude::*, ManualClock};
            /// let clock = ManualClock::new();
            /// let supervisor = Supervisor::builder().clock(&clock).start()?;
            /// let second = Duration::from_secs(1);
            /// let reader = TaskSpec::new("reader", move |ctx| {
            ///     for _frame in 0..100 {
            ///         ctx.sleep(second)?;
            ///         ctx.heartbeat();
            ///     }
            ///     Ok(ctx.sleep(Duration::MAX)?) // no frame comes any more
            /// });
            /// let reader = reader.watchdog(5 * second).watchdog_policy(WatchdogPolicy::Cancel);
            /// let reader = supervisor.handle().add(reader.max_retries(0))?;
            /// assert!(clock.advance_until(&reader, 200 * second).is_unresponsive());
            /// assert!((105..107).contains(&clock.now().as_secs()));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "keepalive")]
            #[doc(alias = "liveness")]
            pub fn watchdog(self, max_silence: impl Into<Option<Duration>>) -> Self {
                self.with(Setting::Watchdog(max_silence.into()))
            }

            /// Sets what follows when a watched attempt is silent. Without a
            /// [`watchdog`](Self::watchdog) it has no effect. Default: [`WatchdogPolicy::Report`].
            /// See the example of [`watchdog`](Self::watchdog).
            pub fn watchdog_policy(self, policy: WatchdogPolicy) -> Self {
                self.with(Setting::WatchdogPolicy(policy))
            }

            /// Sets what happens to the slot, the permit and the permit of the class when an
            /// attempt outlives its grace. If a class stands for things, `Release` lets another
            /// attempt have the thing that the stuck body still uses. The page
            /// [`guide::c_libraries`](crate::guide::c_libraries#libraries-that-cannot-be-woken)
            /// compares both policies. Default: [`AbandonPolicy::Hold`]. See the example of
            /// [`AbandonPolicy`].
            #[doc(alias = "on_abandon")]
            pub fn abandon_policy(self, policy: AbandonPolicy) -> Self {
                self.with(Setting::AbandonPolicy(policy))
            }

            /// Sets what a panic in the body means. Default: [`PanicPolicy::Failure`]. See the
            /// example of [`PanicPolicy`].
            #[doc(alias = "on_panic")]
            pub fn panic_policy(self, policy: PanicPolicy) -> Self {
                self.with(Setting::PanicPolicy(policy))
            }
        }
    };
}

setters!(TaskSpec);
setters!(TaskDefaults);
