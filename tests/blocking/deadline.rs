//! Deadlines that a body can read, use for its own calls, and move.

use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::{ExtendError, ManualClock};

use crate::support::{next, outcome_of, Gate};
use crate::{ms, Stage};

const HOUR: Duration = Duration::from_secs(3600);
/// How late a loaded machine may be.
const MINUTE: Duration = Duration::from_secs(60);

/// Runs a body that checks its context: a panic in it is a failed test.
#[track_caller]
fn checked(
    shape: impl FnOnce(TaskSpec) -> TaskSpec,
    body: impl FnOnce(&TaskContext) + Send + 'static,
) {
    let stage = Stage::new();
    let spec = TaskSpec::once("checked", move |ctx| {
        body(ctx);
        Ok(())
    });
    let outcome = outcome_of(&stage.add(shape(spec)));
    assert!(outcome.is_success(), "{outcome}");
}

#[test]
fn without_a_timeout_there_is_no_deadline_and_more_time_is_always_granted() {
    checked(
        |spec| spec,
        |ctx| {
            assert_eq!((ctx.deadline(), ctx.remaining()), (None, None));
            assert_eq!(ctx.io_timeout(HOUR), HOUR);
            assert_eq!(ctx.io_timeout(Duration::MAX), Duration::MAX);
            assert_eq!(ctx.io_timeout(Duration::ZERO), ms(1));
            assert_eq!(ctx.extend_deadline(Duration::MAX), Ok(()));
            assert_eq!(ctx.extend_deadline(Duration::ZERO), Ok(()));
            assert_eq!(ctx.deadline(), None);
        },
    );
}

#[test]
fn the_deadline_counts_from_the_claim_and_bounds_blocking_calls() {
    checked(
        |spec| spec.timeout(HOUR),
        |ctx| {
            let deadline = ctx.deadline().unwrap();
            let left = ctx.remaining().unwrap();
            assert!(left <= HOUR && left + MINUTE > HOUR, "{left:?}");
            assert_eq!(ctx.deadline(), Some(deadline));
            let io = ctx.io_timeout(2 * HOUR);
            assert!(io <= left && io + MINUTE > HOUR, "{io:?}");
            assert_eq!(ctx.io_timeout(ms(5)), ms(5));
        },
    );
}

#[test]
fn after_the_cancel_they_speak_of_the_grace() {
    let stage = Stage::new();
    let (say, said) = unbounded();
    let spec = TaskSpec::once("told", move |ctx| {
        let before = ctx.deadline().unwrap();
        let _ = ctx.sleep(Duration::MAX);
        let _ = say.send((before, ctx.deadline(), ctx.remaining(), ctx.io_timeout(HOUR)));
        assert!(matches!(
            ctx.extend_deadline(ms(1)),
            Err(ExtendError::Cancelled(told)) if told.reason() == CancelReason::Timeout
        ));
        Ok(())
    });
    stage.add(spec.timeout(ms(10)).max_timeout(HOUR).grace(HOUR / 2));
    let (before, deadline, remaining, io) = next(&said);
    let grace = deadline.unwrap() - before;
    assert!(grace >= HOUR / 2 && grace < HOUR / 2 + MINUTE, "{grace:?}");
    assert!(remaining.unwrap() <= HOUR / 2);
    assert!(io <= HOUR / 2 && io + MINUTE > HOUR / 2);

    // A grace without end has none, one that is over leaves the least that a socket takes.
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel();
    assert_eq!((ctx.deadline(), ctx.remaining(), ctx.io_timeout(HOUR)), (None, None, HOUR));
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel_with_grace(CancelReason::Stop, Duration::ZERO);
    assert_eq!((ctx.remaining(), ctx.io_timeout(HOUR)), (Some(Duration::ZERO), ms(1)));
}

#[test]
fn the_first_reason_and_its_grace_count() {
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel_with_grace(CancelReason::Replace, HOUR);
    let grace = ctx.deadline();
    canceller.cancel_with_grace(CancelReason::Shutdown, ms(1));
    assert_eq!((ctx.reason(), ctx.deadline()), (Some(CancelReason::Replace), grace));
    assert_eq!(ctx.check().unwrap_err().reason(), CancelReason::Replace);

    // A stop on top of an interruption: the token keeps its reason, the outcome has the stop.
    let mut gate = Gate::new();
    let stage = Stage::new();
    let (hold, (say, said)) = (gate.hold(), unbounded());
    let task = stage.add(
        TaskSpec::new("twice", move |ctx| {
            hold();
            let _ = say.send(ctx.reason());
            Ok(())
        })
        .timeout(ms(5))
        .grace(HOUR),
    );
    stage.until_label(&task, "attempt_overdue");
    task.cancel();
    stage.snapshot();
    gate.open();
    assert_eq!(next(&said), Some(CancelReason::Timeout));
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { reason: StopReason::Stop, .. }));
}

#[test]
fn more_time_is_granted_up_to_the_bound_and_never_taken_away() {
    checked(
        |spec| spec.timeout(HOUR).max_timeout(3 * HOUR),
        |ctx| {
            let before = ctx.deadline().unwrap();
            assert_eq!(ctx.extend_deadline(2 * HOUR), Ok(()));
            let after = ctx.deadline().unwrap();
            assert!(after >= before + HOUR && ctx.remaining().unwrap() <= 2 * HOUR);
            // What is later already stays.
            assert_eq!(ctx.extend_deadline(ms(1)), Ok(()));
            assert_eq!(ctx.extend_deadline(Duration::ZERO), Ok(()));
            assert_eq!(ctx.deadline(), Some(after));
            for beyond in [4 * HOUR, Duration::MAX] {
                match ctx.extend_deadline(beyond) {
                    Err(ExtendError::BeyondMaxTimeout { left }) => {
                        assert!(left <= 3 * HOUR && left + MINUTE > 3 * HOUR, "{left:?}");
                        // What is left can be had, but for the time that the call takes.
                        assert_eq!(ctx.extend_deadline(left.saturating_sub(ms(1))), Ok(()));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(ctx.deadline().unwrap() > after);
        },
    );
}

#[test]
fn without_a_bound_no_more_time_is_granted() {
    checked(
        |spec| spec.timeout(HOUR),
        |ctx| {
            let before = ctx.deadline();
            for span in [Duration::ZERO, ms(1), Duration::MAX] {
                assert_eq!(ctx.extend_deadline(span), Err(ExtendError::NoMaxTimeout));
            }
            assert_eq!(ctx.deadline(), before);
        },
    );
}

#[test]
fn a_body_that_asked_once_is_told_at_its_new_deadline() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let asks = TaskSpec::once("asks once", |ctx| {
        ctx.extend_deadline(ms(700))?;
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let asks = supervisor.handle().add(asks.timeout(ms(500)).max_timeout(HOUR)).unwrap();
    clock.advance(ms(699));
    assert!(asks.outcome().is_none());
    clock.advance(ms(1));
    assert!(matches!(asks.outcome(), Some(Outcome::TimedOut { .. })), "{asks:?}");
}

/// Asks right at the deadline, again and again. `Ok` is a promise: nobody is told before then.
#[test]
fn who_asked_in_time_is_never_told_of_the_deadline() {
    const TASKS: u32 = 4;
    let rounds = if cfg!(debug_assertions) { 100 } else { 1_000 };
    let stage = Stage::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|own| {
            let near = Duration::from_micros(5) * own;
            let mut granted = 0;
            let body =
                move |ctx: &TaskContext| ask_at_the_last_moment(ctx, near, rounds, &mut granted);
            let spec = TaskSpec::new(format!("asks {own}"), body);
            let spec = spec.timeout(ms(2)).max_timeout(HOUR).grace(HOUR);
            stage.add(spec.backoff(BackoffPolicy::constant(ms(1))))
        })
        .collect();
    for task in &tasks {
        assert!(outcome_of(task).is_success(), "{:?}", outcome_of(task));
    }
}

/// A body whose grace is an hour. Returns when it was told, though not too early, or was granted
/// more time so often.
fn ask_at_the_last_moment(
    ctx: &TaskContext,
    near: Duration,
    rounds: usize,
    granted: &mut usize,
) -> TaskResult {
    let mut promised = None;
    loop {
        while ctx.remaining() > Some(near) && !ctx.is_cancelled() {
            std::thread::yield_now();
        }
        let (deadline, left) = (ctx.deadline(), ctx.remaining());
        // No later than this call, and exact unless the deadline is over.
        let asked_at = deadline.zip(left).and_then(|(deadline, left)| deadline.checked_sub(left));
        if !ctx.is_cancelled() && ctx.extend_deadline(ms(2)).is_ok() {
            promised = asked_at.map(|at| at + ms(2));
            *granted += 1;
        } else {
            // The grace began when it was told.
            let told_at = ctx.deadline().and_then(|end| end.checked_sub(HOUR));
            if told_at < promised {
                return Err(TaskError::fatal("told though more time was granted"));
            }
            return Err("too late".into());
        }
        if *granted >= rounds {
            return Ok(());
        }
    }
}
