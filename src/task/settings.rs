//! The user's settings for one task or, as defaults, for all tasks: how they become a plan, and
//! which values are refused.

use std::sync::Arc;
use std::time::Duration;

use crate::output::setting_errors::InvalidSetting;
use crate::task::class_names::ClassNames;
use crate::vocabulary::backoff::{BackoffPolicy, MIN_SPACING};
use crate::vocabulary::plan::{AtDrain, BodyKind, FailureLimit, Interval, Plan, Watchdog};
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

/// All settings, in the order in which they were set: the last one of a kind counts. They are
/// dropped with the spec once the task is decided, so a waiting task does not pay for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

/// The value of one setter.
#[derive(Clone, Debug)]
pub(crate) enum Setting {
    AbandonPolicy(AbandonPolicy),
    AtDrain(AtDrain),
    Backoff(BackoffPolicy),
    Class(Option<Arc<str>>),
    Every(Duration),
    ExpiresIn(Option<Duration>),
    FailureLimit(Option<FailureLimit>),
    GiveUpAfter(Option<Duration>),
    Grace(Duration),
    InitialDelay(Duration),
    MaxRetries(Option<u32>),
    MaxTimeout(Option<Duration>),
    PanicPolicy(PanicPolicy),
    ReadyWithin(Option<Duration>),
    /// What a program cannot have.
    #[cfg(all(unix, feature = "process"))]
    Refused(Box<InvalidSetting>),
    RepeatAfter(Duration),
    Restart(RestartPolicy),
    RetryEarly,
    ShutdownOnEnd,
    StableAfter(Duration),
    Step,
    /// How long a process may take to end.
    #[cfg(all(unix, feature = "process"))]
    StopTimeout(Duration),
    Timeout(Option<Duration>),
    Watchdog(Option<Duration>),
    WatchdogPolicy(WatchdogPolicy),
}

impl Settings {
    pub(super) fn set(&mut self, setting: Setting) {
        // Most specs have one or two settings, and room for more would be freed unused.
        self.0.reserve_exact(1);
        self.0.push(setting);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plan of a task with these settings. They take precedence over what its kind of body
    /// implies, which takes precedence over the defaults.
    pub(crate) fn plan(
        &self,
        defaults: &Self,
        supervisor_grace: Duration,
        body: BodyKind,
        classes: &ClassNames,
    ) -> Plan {
        let mut plan = Plan {
            restart: RestartPolicy::default(),
            interval: Interval::None,
            initial_delay: Duration::ZERO,
            backoff: BackoffPolicy::default(),
            retry_early: false,
            max_retries: u32::MAX,
            give_up_after: None,
            stable_after: STABLE_AFTER,
            stable_is_stated: self.0.iter().any(|it| matches!(it, Setting::StableAfter(_))),
            failure_limit: None,
            timeout: None,
            max_timeout: None,
            ready_within: None,
            step: false,
            grace: supervisor_grace,
            expires_in: None,
            panic: PanicPolicy::default(),
            abandon: AbandonPolicy::default(),
            watchdog: None,
            shutdown_on_end: false,
            at_drain: AtDrain::GoOn,
            class: None,
            body,
            needs_drop: true,
        };
        let implied = self.implied_restart(body).map(Setting::Restart);
        let (mut silence, mut watchdog_policy) = (None, WatchdogPolicy::default());

        for setting in defaults.0.iter().chain(&implied).chain(&self.0) {
            match *setting {
                Setting::AbandonPolicy(policy) => plan.abandon = policy,
                Setting::AtDrain(what) => plan.at_drain = what,
                Setting::Backoff(policy) => plan.backoff = policy,
                Setting::Class(ref name) => {
                    plan.class = name.as_ref().and_then(|name| classes.key(name));
                }
                Setting::Every(interval) => {
                    (plan.interval, plan.restart) =
                        (Interval::Rate(interval), RestartPolicy::Always);
                }
                Setting::ExpiresIn(span) => plan.expires_in = span,
                Setting::FailureLimit(limit) => plan.failure_limit = limit,
                Setting::GiveUpAfter(span) => plan.give_up_after = span,
                Setting::Grace(span) => plan.grace = span,
                Setting::InitialDelay(delay) => plan.initial_delay = delay,
                Setting::MaxRetries(most) => plan.max_retries = most.unwrap_or(u32::MAX),
                Setting::MaxTimeout(limit) => plan.max_timeout = limit,
                Setting::PanicPolicy(policy) => plan.panic = policy,
                Setting::ReadyWithin(span) => plan.ready_within = span,
                Setting::RepeatAfter(delay) => {
                    (plan.interval, plan.restart) = (Interval::Delay(delay), RestartPolicy::Always);
                }
                #[cfg(all(unix, feature = "process"))]
                Setting::Refused(_) => {}
                Setting::Restart(policy) => plan.restart = policy,
                Setting::RetryEarly => plan.retry_early = true,
                Setting::ShutdownOnEnd => plan.shutdown_on_end = true,
                Setting::StableAfter(span) => plan.stable_after = span,
                Setting::Step => plan.step = true,
                #[cfg(all(unix, feature = "process"))]
                Setting::StopTimeout(span) => plan.grace = self.grace_to_stop(plan.grace, span),
                Setting::Timeout(limit) => plan.timeout = limit,
                Setting::Watchdog(max_silence) => silence = max_silence,
                Setting::WatchdogPolicy(policy) => watchdog_policy = policy,
            }
        }

        // Neither has a meaning without the other, and either may be set first.
        let watchdog = |max_silence| Watchdog { max_silence, policy: watchdog_policy };
        plan.watchdog = silence.map(watchdog);
        plan
    }

    /// What a task of this kind does if its spec says nothing, whatever the defaults are.
    fn implied_restart(&self, body: BodyKind) -> Option<RestartPolicy> {
        match body {
            BodyKind::Once => Some(RestartPolicy::Never),
            BodyKind::Repeat | BodyKind::Shared => {
                self.is_step().then_some(RestartPolicy::OnFailure)
            }
        }
    }

    fn is_step(&self) -> bool {
        self.0.iter().any(|setting| matches!(setting, Setting::Step))
    }

    /// Checks what a task without a group cannot have.
    pub(crate) fn check_alone(&self) -> Result<(), InvalidSetting> {
        if self.is_step() {
            let remedy = "leave it out, because only a member of a group can be a step";
            return Err(InvalidSetting::new("step", format_args!("set without a group"), remedy));
        }
        Ok(())
    }

    /// Checks that the supervisor has declared the class that these settings choose.
    pub(crate) fn check_class(&self, classes: &ClassNames) -> Result<(), InvalidSetting> {
        let latest = self.0.iter().rev().find_map(|setting| match setting {
            Setting::Class(class) => Some(class.as_ref()),
            _ => None,
        });
        match latest.flatten() {
            Some(name) if classes.key(name).is_none() => {
                let remedy = "declare it with SupervisorBuilder::class_limit";
                Err(InvalidSetting::new("class", name, remedy))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the values, independently of the supervisor and its defaults.
    pub(crate) fn validate(&self, body: BodyKind) -> Result<(), InvalidSetting> {
        if self.is_empty() {
            return Ok(());
        }
        #[cfg(all(unix, feature = "process"))]
        self.check_program()?;
        let classes = ClassNames::default();
        check(&self.plan(&Self::default(), Duration::ZERO, body, &classes))
    }
}

#[cfg(all(unix, feature = "process"))]
impl Settings {
    /// A grace that the spec does not set is raised, so that there is time to stop a process and to
    /// see that it has ended.
    fn grace_to_stop(&self, grace: Duration, stop_timeout: Duration) -> Duration {
        match self.own_grace() {
            Some(own) => own,
            None => grace.max(stop_timeout.saturating_add(stop_timeout / 2)),
        }
    }

    fn own_grace(&self) -> Option<Duration> {
        self.0.iter().rev().find_map(|it| match it {
            Setting::Grace(span) => Some(*span),
            _ => None,
        })
    }

    fn check_program(&self) -> Result<(), InvalidSetting> {
        let refused = self.0.iter().find_map(|it| match it {
            Setting::Refused(invalid) => Some(InvalidSetting::clone(invalid)),
            _ => None,
        });
        if let Some(invalid) = refused {
            return Err(invalid);
        }
        // Only a program sets it, once.
        let stop_timeout = self.0.iter().find_map(|it| match it {
            Setting::StopTimeout(span) => Some(*span),
            _ => None,
        });
        match stop_timeout.zip(self.own_grace()) {
            Some((stop, grace)) if stop > grace => {
                let remedy = "give at most `grace`, or raise that";
                Err(unfit("stop_timeout", stop, ("grace", grace), remedy))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn check(plan: &Plan) -> Result<(), InvalidSetting> {
    check_restart(plan)?;

    let BackoffPolicy { first, max, factor, .. } = plan.backoff;
    if !(factor.is_finite() && factor >= 1.0) {
        let remedy = "give a finite number of at least 1";
        return Err(InvalidSetting::new(
            "backoff.factor",
            format_args!("{}", in_words(factor)),
            remedy,
        ));
    }
    if max < MIN_SPACING {
        if first == max {
            return Err(InvalidSetting::new("backoff", max, "give a delay of at least 1 ms"));
        }
        return Err(InvalidSetting::new("backoff.max", max, "give at least 1 ms"));
    }
    if first > max {
        return Err(unfit("backoff.first", first, ("max", max), "give at most `max`"));
    }

    if let Some(FailureLimit { failures, within }) = plan.failure_limit {
        if failures == 0 {
            let remedy = "use restart(Never) to allow none";
            return Err(InvalidSetting::new("failure_limit", failures, remedy));
        }
        if within.is_zero() {
            return Err(InvalidSetting::new("failure_limit", within, "give a span above zero"));
        }
    }

    let no_span = "give a span above zero, or None for no limit";
    if plan.timeout == Some(Duration::ZERO) {
        return Err(InvalidSetting::new("timeout", Duration::ZERO, no_span));
    }
    if plan.ready_within == Some(Duration::ZERO) {
        return Err(InvalidSetting::new("ready_within", Duration::ZERO, no_span));
    }
    if let (Some(span), Some(timeout)) = (plan.ready_within, plan.timeout) {
        if span > timeout {
            return Err(unfit(
                "ready_within",
                span,
                ("timeout", timeout),
                "give at most `timeout`",
            ));
        }
    }
    if plan.expires_in == Some(Duration::ZERO) {
        return Err(InvalidSetting::new("expires_in", Duration::ZERO, no_span));
    }
    if plan.give_up_after == Some(Duration::ZERO) {
        return Err(InvalidSetting::new("give_up_after", Duration::ZERO, no_span));
    }
    if let (Some(most), Some(timeout)) = (plan.max_timeout, plan.timeout) {
        if most < timeout {
            return Err(unfit(
                "max_timeout",
                most,
                ("timeout", timeout),
                "give at least `timeout`",
            ));
        }
    }
    if let Some(Watchdog { max_silence, .. }) = plan.watchdog {
        if max_silence < MIN_SILENCE {
            let remedy = "give at least 4 ms, or None for no watchdog";
            return Err(InvalidSetting::new("watchdog", max_silence, remedy));
        }
    }
    Ok(())
}

/// A factor that cannot work. To show its digits would take 10 KB of code in every program.
fn in_words(factor: f64) -> &'static str {
    match factor {
        _ if factor.is_nan() => "NaN",
        _ if factor < 1.0 => "below 1",
        _ => "infinite",
    }
}

/// Two settings that do not go together.
fn unfit(
    field: &'static str,
    value: Duration,
    (other, its): (&str, Duration),
    remedy: &'static str,
) -> InvalidSetting {
    InvalidSetting::new(field, format_args!("{value:?} with a {other} of {its:?}"), remedy)
}

/// Checks that the kind of body, the interval and the restart policy go together.
fn check_restart(plan: &Plan) -> Result<(), InvalidSetting> {
    let once = "use TaskSpec::new, because a body of TaskSpec::once runs only once";
    let interval = match plan.interval {
        Interval::None => None,
        Interval::Delay(delay) => Some(("repeat_after", delay)),
        Interval::Rate(interval) => Some(("every", interval)),
    };

    if let Some((field, span)) = interval {
        if plan.body == BodyKind::Once {
            return Err(InvalidSetting::new(field, span, once));
        }
        if span.is_zero() {
            let remedy = "use restart(Always) to run again at once";
            return Err(InvalidSetting::new(field, span, remedy));
        }
        if plan.restart != RestartPolicy::Always {
            let remedy =
                "leave it out, because a task with `every` or `repeat_after` always restarts";
            return Err(InvalidSetting::new("restart", plan.restart, remedy));
        }
    }

    if plan.step && (plan.shutdown_on_end || plan.restart == RestartPolicy::Always) {
        let (field, with, remedy) = if plan.shutdown_on_end {
            ("step", "shutdown_on_end", "let another member shut the supervisor down")
        } else {
            (
                "step",
                "Always",
                "leave out `restart` and any interval, because a step ends with its success",
            )
        };
        return Err(InvalidSetting::new(field, format_args!("under {with}"), remedy));
    }
    if plan.body == BodyKind::Once && plan.restart != RestartPolicy::Never {
        return Err(InvalidSetting::new("restart", plan.restart, once));
    }
    Ok(())
}

/// An attempt that has run for this long is stable.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The watchdog looks four times in the span that it allows, but no more often than once a
/// millisecond.
const MIN_SILENCE: Duration = Duration::from_millis(4);
