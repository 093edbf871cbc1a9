//! Specs and defaults out of bytes, and a naive opinion on whether their values can work: the
//! crate's check must agree, and name one of the faults.

use std::io::ErrorKind;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{CancelReason, InvalidSetting, Rejection};

use crate::bytes::Bytes;

const MS: Duration = Duration::from_millis(1);

/// One of the setters that a spec and the defaults share.
macro_rules! set_one {
    ($bytes:ident, $set:ident, $into:ident) => {
        match $bytes.byte() % 13 {
            0 => $into.backoff($set.backoff($bytes)),
            1 => $into.max_retries($bytes.maybe(|bytes| bytes.byte().into())),
            2 => $into.stable_after($bytes.span()),
            3 => {
                let (failures, within) = ($bytes.byte().into(), $bytes.span());
                $set.failures = Some((failures, within));
                $into.failure_limit(failures, within)
            }
            4 => {
                $set.timeout = $bytes.maybe(Bytes::span);
                $into.timeout($set.timeout)
            }
            5 => $into.grace($bytes.span()),
            6 => {
                $set.expires_in = $bytes.maybe(Bytes::span);
                $into.expires_in($set.expires_in)
            }
            7 => {
                $set.max_timeout = $bytes.maybe(Bytes::span);
                $into.max_timeout($set.max_timeout)
            }
            8 => {
                $set.watchdog = $bytes.maybe(Bytes::span);
                $into.watchdog($set.watchdog)
            }
            9 => $into.watchdog_policy(if $bytes.flag() {
                WatchdogPolicy::Cancel
            } else {
                WatchdogPolicy::Report
            }),
            10 => {
                $set.give_up_after = $bytes.maybe(Bytes::span);
                $into.give_up_after($set.give_up_after)
            }
            11 => $into.abandon_policy(if $bytes.flag() {
                AbandonPolicy::Release
            } else {
                AbandonPolicy::Hold
            }),
            _ => $into.panic_policy(if $bytes.flag() {
                PanicPolicy::Fatal
            } else {
                PanicPolicy::Failure
            }),
        }
    };
}

/// Makes specs, defaults and what else can be made without a thread, and looks at all of it.
///
/// # Panics
/// If a check is wrong, or anything else panics.
pub fn settings(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let made = spec(&mut bytes);
    made.check();
    let (defaults, _) = defaults(&mut bytes);
    let _ = format!("{defaults:?} {:?}", defaults.clone());
    context(&mut bytes);
    errors(&mut bytes);
}

/// A spec, what it is called, and the fields that are wrong.
pub(crate) struct Made {
    pub(crate) spec: TaskSpec,
    pub(crate) name: String,
    pub(crate) slot: Option<String>,
    pub(crate) faults: Vec<&'static str>,
}

impl Made {
    pub(crate) fn check(&self) {
        assert_eq!(self.spec.name(), self.name);
        assert_eq!(self.spec.slot_key(), self.slot.as_deref());
        let _ = format!("{:?} {:#?}", self.spec, self.spec);
        match self.spec.validate() {
            Ok(()) => assert!(self.faults.is_empty(), "{:?} in {:?}", self.faults, self.spec),
            Err(error) => check_fault(&error, &self.faults, Some(&self.name)),
        }
    }
}

pub(crate) fn check_fault(error: &InvalidSetting, faults: &[&str], task: Option<&str>) {
    assert!(faults.contains(&error.field), "{error}, though only {faults:?} are wrong");
    assert_eq!(error.task.as_deref(), task);
    let text = error.to_string();
    assert!(text.contains(error.field) && text.ends_with(error.remedy), "{text}");
    assert!(!error.remedy.is_empty() && !text.contains('\n'), "{text:?}");
    let _ = format!("{error:?}");
}

/// The body of a spec made here: returns at once, or when told.
fn body(kind: u8, text: String) -> impl Fn(&TaskContext) -> TaskResult + Send + Sync + 'static {
    move |ctx| {
        ctx.mark(text.clone());
        match kind % 8 {
            0..=2 => Ok(()),
            3 => Err(text.clone().into()),
            4 => Err(TaskError::fatal(text.clone()).with_exit_code(kind)),
            5 => Err(TaskError::cancelled()),
            6 => Ok(ctx.wait_for(&ctx.handle().owner(&text).ok_or("nobody")?).map(drop)?),
            _ => Ok(ctx.sleep(Duration::MAX)?),
        }
    }
}

pub(crate) fn spec(bytes: &mut Bytes<'_>) -> Made {
    let name = bytes.text();
    let body = body(bytes.byte(), bytes.text());
    let kind = bytes.byte() % 3;
    let mut spec = match kind {
        0 => TaskSpec::new(name.as_str(), body),
        1 => TaskSpec::once(name.as_str(), body),
        _ => TaskSpec::shared(name.as_str(), body),
    };
    let mut slot = Some(name.clone());
    let (mut pause, mut restart) = (None, (kind == 1).then_some(RestartPolicy::Never));
    let mut set = Set::default();
    for _ in 0..bytes.byte() % 16 {
        spec = match bytes.byte() % 16 {
            0 => {
                slot = Some(bytes.text());
                spec.slot(slot.clone().unwrap_or_default())
            }
            1 => {
                slot = None;
                spec.no_slot()
            }
            2 => {
                let span = bytes.span();
                (pause, restart) = (Some(("repeat_after", span)), Some(RestartPolicy::Always));
                spec.repeat_after(span)
            }
            3 => {
                let span = bytes.span();
                (pause, restart) = (Some(("every", span)), Some(RestartPolicy::Always));
                spec.every(span)
            }
            4 => spec.initial_delay(bytes.span()),
            5 if bytes.flag() => spec.retry_early(),
            5 if bytes.flag() => spec.stop_at_drain(),
            5 if bytes.flag() => spec.finish_at_drain(),
            5 => spec.shutdown_on_end(),
            6 => spec.dedicated_thread(options(bytes)),
            7 => {
                restart = Some(bytes.pick(&RESTARTS));
                spec.restart(restart.unwrap_or_default())
            }
            _ => set_one!(bytes, set, spec),
        };
    }
    let mut faults = set.faults();
    let unusable = |text: &str| text.is_empty() || text.contains('\0');
    faults.extend(unusable(&name).then_some("name"));
    faults.extend(slot.as_deref().is_some_and(unusable).then_some("slot"));
    let always = restart == Some(RestartPolicy::Always);
    if let Some((field, span)) = pause {
        faults.extend((kind == 1 || span.is_zero()).then_some(field));
        faults.extend((!always).then_some("restart"));
    }
    faults.extend((kind == 1 && restart != Some(RestartPolicy::Never)).then_some("restart"));
    Made { spec, name, slot, faults }
}

const RESTARTS: [RestartPolicy; 3] =
    [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];

/// What was set last of what a spec and the defaults have in common.
#[derive(Default)]
struct Set {
    factor: Option<f64>,
    first: Duration,
    max: Duration,
    failures: Option<(u32, Duration)>,
    timeout: Option<Duration>,
    max_timeout: Option<Duration>,
    expires_in: Option<Duration>,
    watchdog: Option<Duration>,
    give_up_after: Option<Duration>,
}

impl Set {
    fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        let mut add = |wrong: bool, field| faults.extend(wrong.then_some(field));
        if let Some(factor) = self.factor {
            add(!(1.0..f64::INFINITY).contains(&factor), "backoff.factor");
            let constant = if self.first == self.max { "backoff" } else { "backoff.max" };
            add(self.max < MS, constant);
            add(self.first > self.max, "backoff.first");
        }
        if let Some((failures, within)) = self.failures {
            add(failures == 0 || within.is_zero(), "failure_limit");
        }
        add(self.timeout == Some(Duration::ZERO), "timeout");
        add(self.expires_in == Some(Duration::ZERO), "expires_in");
        add(self.give_up_after == Some(Duration::ZERO), "give_up_after");
        add(self.watchdog.is_some_and(|silence| silence < 4 * MS), "watchdog");
        let most = self.max_timeout.unwrap_or(Duration::MAX);
        add(self.timeout.is_some_and(|timeout| most < timeout), "max_timeout");
        faults
    }

    fn backoff(&mut self, bytes: &mut Bytes<'_>) -> BackoffPolicy {
        (self.first, self.max) = (bytes.span(), bytes.span());
        let factor = match bytes.byte() {
            0 => 1.0,
            1 => 0.999,
            2 => f64::NAN,
            3 => f64::INFINITY,
            4 => f64::MAX,
            5 => -2.0,
            _ => f64::from_bits(bytes.number()),
        };
        self.factor = Some(factor);
        let jitter = bytes.pick(&[
            JitterPolicy::None,
            JitterPolicy::Full,
            JitterPolicy::Equal,
            JitterPolicy::Decorrelated,
        ]);
        let policy = BackoffPolicy::exponential(self.first, self.max).factor(factor).jitter(jitter);
        let preview = policy.preview(bytes.below(80));
        if self.faults().is_empty() {
            for range in preview {
                assert!(range.start() <= range.end() && *range.start() >= MS, "{policy:?}");
                assert!(*range.end() <= self.max.max(MS), "{policy:?} gives {range:?}");
            }
        }
        policy
    }
}

/// Defaults, and the fields that are wrong.
pub(crate) fn defaults(bytes: &mut Bytes<'_>) -> (TaskDefaults, Vec<&'static str>) {
    let mut set = Set::default();
    let mut defaults = TaskDefaults::new();
    for _ in 0..bytes.byte() % 8 {
        defaults = set_one!(bytes, set, defaults);
    }
    (defaults, set.faults())
}

pub(crate) fn options(bytes: &mut Bytes<'_>) -> ThreadOptions {
    let mut options = ThreadOptions::new();
    if bytes.flag() {
        options = options.name(bytes.text());
    }
    if bytes.flag() {
        options = options.stack_size(bytes.size());
    }
    if bytes.seldom() {
        let fails = bytes.flag();
        options =
            options.on_start(move || if fails { Err(ErrorKind::Other.into()) } else { Ok(()) });
    }
    let _ = format!("{options:?}");
    options
}

fn context(bytes: &mut Bytes<'_>) {
    let reasons = [
        CancelReason::Stop,
        CancelReason::Replace,
        CancelReason::Shutdown,
        CancelReason::Timeout,
        CancelReason::Unresponsive,
        CancelReason::Restart,
        CancelReason::Group,
    ];
    let (ctx, canceller) = TaskContext::detached();
    ctx.mark(bytes.text());
    drop(ctx.allow_silence(bytes.span()));
    let _ = ctx.extend_deadline(bytes.span()).map_err(|error| format!("{error} {error:?}"));
    assert!(ctx.sleep(Duration::ZERO).is_ok() && ctx.reason().is_none());
    let (reason, grace, max) = (bytes.pick(&reasons), bytes.span(), bytes.span());
    let _guard = ctx.on_cancel_every(bytes.span(), || ());
    canceller.cancel_with_grace(reason, grace);
    canceller.cancel_for(bytes.pick(&reasons));
    assert_eq!(ctx.sleep(bytes.span()).map_err(|it| it.reason()), Err(reason));
    assert_eq!(ctx.reason(), Some(reason));
    assert!(ctx.remaining().map_or(true, |left| left <= grace));
    let timeout = ctx.io_timeout(max);
    assert!(timeout >= MS && timeout <= max.max(MS));
    assert!(ctx.extend_deadline(bytes.span()).is_err());
    let _ = format!("{ctx:?} {:?} {canceller:?} {:?}", ctx.deadline(), ctx.token());
}

fn errors(bytes: &mut Bytes<'_>) {
    let text = bytes.text();
    let error = match bytes.byte() % 4 {
        0 => TaskError::fail(text.as_str()),
        1 => TaskError::fatal(text.as_str()),
        2 => TaskError::from(std::io::Error::other(text.as_str())),
        _ => TaskError::cancelled(),
    };
    let kept = bytes.flag().then(|| error.clone());
    let code = bytes.byte();
    let error = error.with_exit_code(code);
    assert_eq!(error.exit_code(), Some(code.max(1)));
    assert!(error.is_cancelled() || error.to_string() == text);
    assert!(kept.map_or(true, |kept| kept.exit_code().is_none()));
    for outcome in outcomes(&error) {
        let _ = format!("{outcome} {outcome:?} {}", outcome.label());
        assert!(!(outcome.is_success() && outcome.is_failure()));
        assert_eq!(outcome.exit_code() == 0, !outcome.is_failure());
        assert_eq!(outcome.clone().into_result().is_ok(), outcome.is_success());
    }
    let _ = format!("{error:?} {}", error.clone().into_error());
}

fn outcomes(error: &TaskError) -> Vec<Outcome> {
    let some = || Some(error.clone());
    vec![
        Outcome::Completed,
        Outcome::Cancelled { reason: StopReason::ByTask, returned: Some(Ok(())) },
        Outcome::Failed { error: error.clone() },
        Outcome::Fatal { error: error.clone() },
        Outcome::Panicked { error: error.clone() },
        Outcome::TimedOut { error: some() },
        Outcome::Unresponsive { error: None },
        Outcome::Abandoned { reason: CancelReason::Timeout, stop: None },
        Outcome::Rejected(Rejection::QueueFull { depth: usize::MAX, limit: 0 }),
        Outcome::Lost,
    ]
}
