//! Plans and limits out of bytes, such as pass the checks of a hand-over.

use std::time::Duration;

use crate::bytes::Bytes;
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};
use crate::vocabulary::plan::{AtDrain, BodyKind, FailureLimit, Interval, Limits, Plan, Watchdog};
use crate::vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};

const MOMENT: Duration = Duration::from_nanos(1);

pub(crate) fn limits(bytes: &mut Bytes<'_>) -> Limits {
    let limits = Limits {
        max_concurrent: bytes.pick(&[None, Some(1), Some(2), Some(5)]),
        classes: vec![1, 2],
        max_slot_queue: bytes.pick(&[100, 1, 2, u32::MAX]),
        max_tasks: bytes.pick(&[u32::MAX - 1, 1, 3, 10]),
        max_abandoned: bytes.pick(&[16, 0, 1, 2]),
        grace: bytes.span(),
        signal_drain: None,
        event_flush: Duration::from_millis(250),
        timer_slack: Duration::ZERO,
    };
    // No byte of its own, or the histories that are kept would mean something else.
    let signal_drain = (limits.max_slot_queue == 2).then_some(Duration::from_millis(20));
    Limits { signal_drain, ..limits }
}

pub(crate) fn admission(bytes: &mut Bytes<'_>) -> AdmissionPolicy {
    bytes.pick(&[
        AdmissionPolicy::Queue,
        AdmissionPolicy::Replace,
        AdmissionPolicy::DropIfRunning,
        AdmissionPolicy::KeepLatest,
    ])
}

pub(crate) fn plan(bytes: &mut Bytes<'_>) -> Plan {
    let once = bytes.seldom();
    let restart =
        bytes.pick(&[RestartPolicy::OnFailure, RestartPolicy::Never, RestartPolicy::Always]);
    let repeats = restart == RestartPolicy::Always && !once;
    let interval = match bytes.byte() % 3 {
        1 if repeats => Interval::Delay(bytes.span().max(MOMENT)),
        2 if repeats => Interval::Rate(bytes.span().max(MOMENT)),
        _ => Interval::None,
    };
    Plan {
        restart: if once { RestartPolicy::Never } else { restart },
        interval,
        initial_delay: if bytes.seldom() { bytes.span() } else { Duration::ZERO },
        backoff: backoff(bytes),
        retry_early: bytes.seldom(),
        max_retries: bytes.maybe(|bytes| bytes.byte().into()).unwrap_or(u32::MAX),
        stable_after: bytes.span(),
        stable_is_stated: bytes.flag(),
        give_up_after: bytes.maybe(|bytes| bytes.span().max(MOMENT)),
        failure_limit: bytes.maybe(|bytes| FailureLimit {
            failures: u32::from(bytes.byte()).max(1),
            within: bytes.span().max(MOMENT),
        }),
        timeout: bytes.maybe(|bytes| bytes.span().max(MOMENT)),
        max_timeout: None,
        ready_within: None,
        step: false,
        grace: bytes.span(),
        expires_in: bytes.maybe(|bytes| bytes.span().max(MOMENT)),
        needs_drop: false,
        panic: if bytes.flag() { PanicPolicy::Fatal } else { PanicPolicy::Failure },
        abandon: if bytes.flag() { AbandonPolicy::Release } else { AbandonPolicy::Hold },
        watchdog: bytes.maybe(|bytes| Watchdog {
            max_silence: bytes.span().max(Duration::from_millis(4)),
            policy: bytes.pick(&[WatchdogPolicy::Report, WatchdogPolicy::Cancel]),
        }),
        shutdown_on_end: bytes.seldom(),
        at_drain: AtDrain::GoOn,
        class: None,
        body: match once {
            true => BodyKind::Once,
            false if bytes.flag() => BodyKind::Shared,
            false => BodyKind::Repeat,
        },
    }
}

fn backoff(bytes: &mut Bytes<'_>) -> BackoffPolicy {
    let first = bytes.span();
    let max = first.max(bytes.span()).max(Duration::from_millis(1));
    let policy = BackoffPolicy::exponential(first, max);
    policy.factor(bytes.pick(&[1.0, 1.5, 2.0, f64::MAX])).jitter(bytes.pick(&[
        JitterPolicy::None,
        JitterPolicy::Full,
        JitterPolicy::Equal,
        JitterPolicy::Decorrelated,
    ]))
}
