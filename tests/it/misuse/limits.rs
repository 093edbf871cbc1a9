//! Durations at their limits: nothing, less than a millisecond, for ever.

use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::{ExtendError, SubmitError};

use crate::support::{in_time, next, outcome_of, Gate};

const ZERO: Duration = Duration::ZERO;
const NANO: Duration = Duration::from_nanos(1);
const MICRO: Duration = Duration::from_micros(999);
const MS: Duration = Duration::from_millis(1);
const MAX: Duration = Duration::MAX;

/// What the body does.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// Succeeds at its first attempt, and ends itself at a second one.
    Succeeds,
    /// Fails at its first attempt, and succeeds at the second.
    Fails,
    /// Sleeps until it is told.
    Sleeps,
}
use Body::{Fails, Sleeps, Succeeds};

/// What happens to the task.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// It is refused, and this field is named.
    Refused(&'static str),
    /// It has this outcome, by itself.
    Ends(&'static str),
    /// It waits for ever; skipped, it has this outcome.
    Waits(&'static str),
}
use Happens::{Ends, Refused, Waits};

type Set = fn(TaskSpec, Duration) -> TaskSpec;

/// The setting, a value, a body, and what happens.
#[rustfmt::skip]
const ROWS: [(&str, Duration, Body, Set, Happens); 53] = [
    ("timeout", ZERO, Succeeds, |spec, it| spec.timeout(it), Refused("timeout")),
    ("timeout", NANO, Sleeps, |spec, it| spec.timeout(it).max_retries(0), Ends("timed_out")),
    ("timeout", MICRO, Sleeps, |spec, it| spec.timeout(it).max_retries(0), Ends("timed_out")),
    ("timeout", MAX, Succeeds, |spec, it| spec.timeout(it), Ends("completed")),
    ("max_timeout", ZERO, Succeeds, |spec, it| spec.max_timeout(it), Ends("completed")),
    ("max_timeout", NANO, Succeeds, |spec, it| spec.timeout(MS).max_timeout(it),
        Refused("max_timeout")),
    ("max_timeout", MAX, Succeeds, |spec, it| spec.timeout(it).max_timeout(it), Ends("completed")),
    ("grace", ZERO, Succeeds, |spec, it| spec.grace(it), Ends("completed")),
    ("grace", NANO, Succeeds, |spec, it| spec.grace(it), Ends("completed")),
    ("grace", MAX, Succeeds, |spec, it| spec.grace(it), Ends("completed")),
    ("grace, told", MAX, Sleeps, |spec, it| spec.grace(it).timeout(MS).max_retries(0),
        Ends("timed_out")),
    ("repeat_after", ZERO, Succeeds, |spec, it| spec.repeat_after(it), Refused("repeat_after")),
    ("repeat_after", NANO, Succeeds, |spec, it| spec.repeat_after(it), Ends("cancelled")),
    ("repeat_after", MICRO, Succeeds, |spec, it| spec.repeat_after(it), Ends("cancelled")),
    ("repeat_after", MAX, Succeeds, |spec, it| spec.repeat_after(it), Waits("cancelled")),
    ("failed", MAX, Fails, |spec, it| spec.repeat_after(it).max_retries(1), Waits("waiting")),
    ("every", ZERO, Succeeds, |spec, it| spec.every(it), Refused("every")),
    ("every", NANO, Succeeds, |spec, it| spec.every(it), Ends("cancelled")),
    ("every", MICRO, Succeeds, |spec, it| spec.every(it), Ends("cancelled")),
    ("every", MAX, Succeeds, |spec, it| spec.every(it), Waits("cancelled")),
    ("every, failed", MAX, Fails, |spec, it| spec.every(it).max_retries(1), Waits("waiting")),
    ("initial_delay", ZERO, Succeeds, |spec, it| spec.initial_delay(it), Ends("completed")),
    ("initial_delay", NANO, Succeeds, |spec, it| spec.initial_delay(it), Ends("completed")),
    ("initial_delay", MAX, Succeeds, |spec, it| spec.initial_delay(it), Waits("completed")),
    ("backoff", ZERO, Fails, |spec, it| spec.backoff(constant(it)), Refused("backoff")),
    ("backoff", MICRO, Fails, |spec, it| spec.backoff(constant(it)), Refused("backoff")),
    ("backoff", MS, Fails, |spec, it| spec.backoff(constant(it)), Ends("completed")),
    ("backoff", MAX, Fails, |spec, it| spec.backoff(constant(it)), Waits("completed")),
    ("backoff, first", ZERO, Fails, |spec, it| spec.backoff(growing(it, MS)), Ends("completed")),
    ("backoff, first", NANO, Fails, |spec, it| spec.backoff(growing(it, MAX)), Ends("completed")),
    ("backoff, first", MAX, Fails, |spec, it| spec.backoff(growing(it, MS)),
        Refused("backoff.first")),
    ("backoff, drawn", MAX, Fails, |spec, it| spec.backoff(drawn(it)), Waits("completed")),
    ("stable_after", ZERO, Fails, |spec, it| spec.stable_after(it), Ends("completed")),
    ("stable_after", NANO, Fails, |spec, it| spec.stable_after(it), Ends("completed")),
    ("stable_after", MAX, Fails, |spec, it| spec.stable_after(it), Ends("completed")),
    ("failure_limit", ZERO, Fails, |spec, it| spec.failure_limit(1, it), Refused("failure_limit")),
    ("failure_limit", NANO, Fails, |spec, it| spec.failure_limit(1, it), Ends("completed")),
    ("failure_limit", MAX, Fails, |spec, it| spec.failure_limit(1, it), Ends("completed")),
    ("give_up_after", ZERO, Fails, |spec, it| spec.give_up_after(it), Refused("give_up_after")),
    ("give_up_after", NANO, Fails, |spec, it| spec.give_up_after(it), Ends("completed")),
    ("give_up_after", MAX, Fails, |spec, it| spec.give_up_after(it), Ends("completed")),
    ("expires_in", ZERO, Succeeds, |spec, it| spec.expires_in(it), Refused("expires_in")),
    ("expires_in", NANO, Succeeds, |spec, it| spec.expires_in(it), Ends("rejected")),
    ("expires_in", MAX, Succeeds, |spec, it| spec.expires_in(it), Ends("completed")),
    ("expires_in, delayed", MAX, Succeeds, |spec, it| spec.expires_in(it).initial_delay(it),
        Waits("completed")),
    ("watchdog", ZERO, Succeeds, |spec, it| spec.watchdog(it), Refused("watchdog")),
    ("watchdog", NANO, Succeeds, |spec, it| spec.watchdog(it), Refused("watchdog")),
    ("watchdog", MICRO, Succeeds, |spec, it| spec.watchdog(it), Refused("watchdog")),
    ("watchdog", MAX, Succeeds, |spec, it| spec.watchdog(it), Ends("completed")),
    ("all", NANO, Fails, |spec, it| all(spec, it).max_retries(1), Ends("completed")),
    ("all", MAX, Succeeds, |spec, it| all(spec, it).timeout(it), Waits("completed")),
    ("all, repeat", MAX, Succeeds, |spec, it| all(spec, it).repeat_after(it), Waits("waiting")),
    ("all, every", MAX, Succeeds, |spec, it| all(spec, it).every(it), Waits("waiting")),
];

const fn constant(delay: Duration) -> BackoffPolicy {
    BackoffPolicy::constant(delay)
}

const fn growing(first: Duration, max: Duration) -> BackoffPolicy {
    BackoffPolicy::exponential(first, max).jitter(JitterPolicy::None)
}

const fn drawn(max: Duration) -> BackoffPolicy {
    BackoffPolicy::exponential(max, max).jitter(JitterPolicy::Decorrelated)
}

/// Everything that takes any duration above zero.
fn all(spec: TaskSpec, it: Duration) -> TaskSpec {
    let spec = spec.initial_delay(it).stable_after(it).grace(it).max_timeout(it);
    spec.failure_limit(3, it).backoff(growing(it.min(MS), it.max(MS)))
}

fn spec_of(body: Body) -> TaskSpec {
    let spec = TaskSpec::new("limit", move |ctx| match (body, ctx.attempt()) {
        (Succeeds, 1) => Ok(()),
        (Succeeds, _) => Err(TaskError::cancelled()),
        (Fails, 1) => Err("no".into()),
        (Fails, _) => Ok(()),
        (Sleeps, _) => Ok(ctx.sleep(MAX)?),
    });
    spec.backoff(constant(MS))
}

#[test]
fn every_setting_takes_any_duration_or_says_which_it_does_not() {
    for (what, value, body, set, happens) in ROWS {
        let supervisor = Supervisor::builder().grace(Duration::from_secs(60)).start().unwrap();
        let handle = supervisor.handle();
        let row = format!("{what}({value:?}), a body that {body:?}");
        let submitted = handle.submit(set(spec_of(body), value), AdmissionPolicy::Queue);
        let task = match (submitted, happens) {
            (Err(SubmitError::Invalid { error, .. }), Refused(field)) => {
                assert_eq!(error.field, field, "{row}: {error}");
                continue;
            }
            (Ok(task), Ends(_) | Waits(_)) => task,
            (submitted, _) => panic!("{row}: {submitted:?}, not {happens:?}"),
        };
        let expected = match happens {
            Waits(label) => {
                while !task.skip_wait() {
                    assert!(task.outcome().is_none(), "{row}: {task:?}, not {happens:?}");
                    std::thread::yield_now();
                }
                label
            }
            Ends(label) | Refused(label) => label,
        };
        if expected == "waiting" {
            // It goes round again, and waits for ever again.
            let waits = |task: &TaskSnapshot| {
                task.attempt > 0 && task.state == TaskState::Waiting && task.next_wake.is_none()
            };
            while !handle.snapshot().unwrap().task(task.id()).is_some_and(waits) {
                assert!(task.outcome().is_none(), "{row}: {task:?}");
                std::thread::yield_now();
            }
            task.cancel();
            assert_eq!(outcome_of(&task).label(), "cancelled", "{row}");
        } else {
            assert_eq!(outcome_of(&task).label(), expected, "{row}");
        }
        in_time(move || drop(supervisor));
    }
}

/// A body that takes no notice of its token.
#[test]
fn a_grace_without_length_gives_up_at_once_and_an_endless_one_never() {
    for grace in [ZERO, NANO, MICRO, MAX] {
        let mut gate = Gate::new();
        let supervisor = Supervisor::builder().start().unwrap();
        let spec = TaskSpec::new("deaf", gate.body()).grace(grace);
        let task = supervisor.handle().add(spec).unwrap();
        gate.wait_entered();
        task.cancel();
        if grace == MAX {
            assert_eq!(task.state(), TaskState::Stopping);
            gate.open();
            assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
        } else {
            assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }), "{grace:?}");
        }
    }
}

#[test]
fn the_supervisors_own_grace_may_have_any_length() {
    for grace in [ZERO, NANO, MICRO, MAX] {
        let supervisor = Supervisor::builder().grace(grace).start().unwrap();
        let task = supervisor.handle().add(spec_of(Sleeps)).unwrap();
        let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
        // Where there is no time to obey, it may be given up, and still be back before the report.
        let gave_up = matches!(outcome_of(&task), Outcome::Abandoned { .. });
        assert_eq!(report.stopped, usize::from(!gave_up), "{grace:?}: {report}");
        assert!(report.abandoned.len() <= usize::from(gave_up), "{grace:?}: {report}");
        assert!(grace < MAX || !gave_up, "{report}");
    }
}

/// What a body does with a duration, and what it gets for it.
type Call = (&'static str, fn(&TaskContext, Duration) -> String, [&'static str; 3]);

const CALLS: [Call; 8] = [
    ("sleep", |ctx, it| format!("{:?}", ctx.sleep(it).is_ok()), ["true", "true", "false"]),
    ("token sleep", |ctx, it| ctx.token().sleep(it).is_ok().to_string(), ["true", "true", "false"]),
    ("io_timeout", |ctx, it| format!("{:?}", ctx.io_timeout(it) >= MS), ["true", "true", "true"]),
    ("on_cancel_every", nudge, ["once", "once", "once"]),
    ("allow_silence", |ctx, it| format!("{:?}", ctx.allow_silence(it)), [SILENCE; 3]),
    ("extend_deadline", extend, ["granted", "granted", "too much"]),
    ("cancel_with_grace", cancel_with_grace, ["told", "told", "told"]),
    ("wait_timeout", wait, ["nothing", "nothing", "cancelled"]),
];
const SILENCE: &str = "SilenceGuard { .. }";

/// Hung up once told, a nudge runs at once, whatever its period.
fn nudge(_: &TaskContext, period: Duration) -> String {
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel();
    let (tell, told) = unbounded();
    let _guard = ctx.on_cancel_every(period, move || tell.send(()).unwrap_or_default());
    if told.len() == 1 { "once" } else { "not once" }.to_owned()
}

fn extend(ctx: &TaskContext, span: Duration) -> String {
    match ctx.extend_deadline(span) {
        Ok(()) => "granted".to_owned(),
        Err(ExtendError::BeyondMaxTimeout { .. }) => "too much".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn cancel_with_grace(_: &TaskContext, grace: Duration) -> String {
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel_with_grace(CancelReason::Stop, grace);
    assert_eq!(ctx.remaining().is_none(), grace == MAX);
    if ctx.is_cancelled() { "told" } else { "not told" }.to_owned()
}

/// For a task that never ends.
fn wait(ctx: &TaskContext, span: Duration) -> String {
    let other = ctx.handle().owner("other").expect("it runs");
    match other.wait_timeout(span) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(outcome)) => outcome.to_string(),
        Err(error) => error.to_string()[..9].to_owned(),
    }
}

#[test]
fn every_call_takes_any_duration() {
    for (what, call, expected) in CALLS {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let other = spec_of(Sleeps).slot("other");
        handle.add(other).unwrap();
        for (value, expected) in [ZERO, NANO, MAX].into_iter().zip(expected) {
            let (tell, told) = unbounded();
            let (enter, entered) = unbounded();
            let spec = TaskSpec::once("calls", move |ctx| {
                enter.send(())?;
                tell.send(call(ctx, value))?;
                Ok(())
            });
            let minutes = Duration::from_secs(600);
            let task = handle.add(spec.timeout(minutes).max_timeout(2 * minutes)).unwrap();
            next(&entered);
            if value == MAX {
                task.cancel();
            }
            let _ = outcome_of(&task);
            let got = next(&told);
            // It may be told before it calls.
            let late = value == MAX && what == "extend_deadline" && got.starts_with("cancelled");
            assert!(got == expected || late, "{what}({value:?}): {got}, not {expected}");
        }
    }
}
