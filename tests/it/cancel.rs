//! Tokens, waits and graces: how a body learns that it should return, and what happens if it does
//! not.

use std::io;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, select, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::{AddError, CancelToken, WaitError};

use crate::support::{in_time, next, no_op, on_thread, outcome_of, resident, End, Puppet, Rig};
use crate::support::{slow_to_drop, WATCHDOG};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A way for a body to wait for another task.
type Wait = fn(&TaskContext, &TaskHandle) -> Result<Outcome, WaitError>;

/// Starts this as the body of a task. What it found comes on the channel.
fn in_body<T: Send + 'static>(
    handle: &SupervisorHandle,
    find: impl FnOnce(&TaskContext) -> T + Send + 'static,
) -> (TaskHandle, Receiver<T>) {
    let (start, started) = bounded(1);
    let (say, said) = bounded(1);
    let body = move |ctx: &TaskContext| {
        let _ = start.send(());
        let _ = say.send(find(ctx));
        Ok(ctx.check()?)
    };
    let task = handle.add(TaskSpec::once("finder", body).no_slot()).unwrap();
    next(&started);
    (task, said)
}

#[test]
fn a_sleeping_body_wakes_up_whenever_the_stop_comes() {
    let rig = Rig::new();
    for round in 0..400_u32 {
        let (say, said) = bounded(1);
        let body = move |ctx: &TaskContext| {
            let _ = say.send(());
            // Long enough to fail the test, and one that saturates.
            let span = if round % 2 == 0 { Duration::MAX } else { LONG };
            Ok(ctx.sleep(span)?)
        };
        let task = rig.handle.add(TaskSpec::new("sleeper", body)).unwrap();
        // The stop finds the body at another place each time: before, while or after it falls
        // asleep.
        if round % 4 != 0 {
            next(&said);
            (0..round % 50).for_each(|_| thread::yield_now());
        }
        task.cancel();
        assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
    }
}

#[test]
fn a_cancelled_token_is_sticky_and_says_why() {
    let rig = Rig::new();
    let (say, said) = bounded(1);
    let (task, seen) = in_body(&rig.handle, move |ctx| {
        let before = (ctx.is_cancelled(), ctx.reason(), ctx.check().is_ok());
        assert_eq!(before, (false, None, true));
        assert!(ctx.sleep(SHORT).is_ok());
        let _ = say.send(());
        let wakes = ctx.cancelled().recv().is_err();
        let asleep = ctx.sleep(Duration::MAX).unwrap_err();
        let other = ctx.token().clone();
        let far = on_thread(move || (other.check(), other.sleep(Duration::MAX), other.reason()));
        let late = select! {
            recv(ctx.cancelled()) -> end => end.is_err(),
            default => false,
        };
        (asleep, next(&far), wakes && late)
    });
    next(&said);
    task.cancel();
    task.cancel();
    let (asleep, (checked, slept, reason), disconnects) = next(&seen);
    assert_eq!(asleep.reason(), CancelReason::Stop);
    assert_eq!((checked, slept, reason), (Err(asleep), Err(asleep), Some(CancelReason::Stop)));
    assert!(disconnects, "also where it is asked for after the cancel");
    let kind = io::Error::from(asleep).kind();
    assert_eq!(kind, io::ErrorKind::Other, "`Interrupted` would be retried for ever");
    let _ = outcome_of(&task);
}

#[test]
fn every_attempt_has_a_token_of_its_own() {
    let rig = Rig::new();
    let (say, said) = unbounded::<CancelToken>();
    let (go, went) = unbounded::<()>();
    let body = move |ctx: &TaskContext| {
        say.send(ctx.token().clone())?;
        select! {
            recv(went) -> _ => Err("boom".into()),
            recv(ctx.cancelled()) -> _ => Ok(()),
        }
    };
    let spec = TaskSpec::new("fresh", body).backoff(BackoffPolicy::constant(SHORT));
    let task = rig.handle.add(spec).unwrap();
    let failed = next(&said);
    go.send(()).unwrap();
    let restarted = next(&said);
    assert!(task.restart());
    let stopped = next(&said);
    assert!(!stopped.is_cancelled());
    task.cancel();
    let _ = outcome_of(&task);
    let reasons = [failed, restarted, stopped].map(|token| token.reason());
    assert_eq!(reasons, [None, Some(CancelReason::Restart), Some(CancelReason::Stop)]);
}

/// What a body is told of its time: before it is cancelled, and after.
fn times(ctx: &TaskContext) -> (Option<Duration>, bool, Duration) {
    (ctx.remaining(), ctx.deadline().is_some(), ctx.io_timeout(LONG * 10))
}

#[test]
fn before_a_cancel_a_body_sees_its_deadline_and_then_its_grace() {
    // Timeout, grace, and what is left before and after the cancel.
    let cases = [
        (None, Duration::MAX, None, None),
        (None, LONG, None, Some(LONG)),
        (Some(LONG * 2), LONG, Some(LONG * 2), Some(LONG)),
        (Some(LONG), LONG * 3, Some(LONG), Some(LONG * 3)),
        (Some(LONG), Duration::MAX, Some(LONG), None),
        (Some(LONG), Duration::ZERO, Some(LONG), Some(Duration::ZERO)),
    ];
    let supervisor = Supervisor::builder().grace(WATCHDOG).start().unwrap();
    for (timeout, grace, before, after) in cases {
        let (say, said) = unbounded();
        let body = move |ctx: &TaskContext| {
            say.send(times(ctx))?;
            let _ = ctx.cancelled().recv();
            Ok(say.send(times(ctx))?)
        };
        let spec = TaskSpec::once("timed", body).timeout(timeout).grace(grace);
        let task = supervisor.handle().submit(spec, AdmissionPolicy::Queue).unwrap();
        let first = next(&said);
        task.cancel();
        for (expected, (left, has_deadline, io)) in [(before, first), (after, next(&said))] {
            let near = |left: Duration, span: Duration| left <= span && left + MINUTE >= span;
            assert_eq!(left.is_some(), expected.is_some(), "{timeout:?} {grace:?}");
            assert_eq!(has_deadline, expected.is_some());
            assert!(left.map_or(true, |left| near(left, expected.unwrap())), "{left:?}");
            let io_limit = expected.unwrap_or(LONG * 10).max(SHORT);
            assert!(near(io, io_limit), "{io:?}");
            assert!(io >= SHORT, "sockets refuse a timeout of zero");
        }
        let _ = outcome_of(&task);
    }
}

#[test]
fn a_wait_ends_with_the_outcome_for_everybody() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("awaited");
    let task = rig.handle.add(spec).unwrap();
    puppet.started();
    assert!(task.outcome().is_none() && task.wait_timeout(SHORT).unwrap().is_none());
    let waits: Vec<_> = (0..8)
        .map(|n| {
            let task = task.clone();
            on_thread(move || match n % 3 {
                0 => task.wait().unwrap(),
                1 => task.wait_timeout(Duration::MAX).unwrap().unwrap(),
                _ => {
                    select! { recv(task.ended()) -> end => assert!(end.is_err()) }
                    task.outcome().unwrap()
                }
            })
        })
        .collect();
    puppet.end(End::Ok);
    assert!(waits.iter().all(|wait| next(wait).is_success()));
    // Whoever comes late finds it as well.
    assert!(task.wait().unwrap().is_success() && task.ended().recv().is_err());
    assert!(task.wait_timeout(Duration::ZERO).unwrap().unwrap().is_success());
}

#[test]
fn a_dropped_handle_changes_nothing_and_a_shutdown_answers_every_wait() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("dropped");
    let id = rig.handle.add(spec).unwrap().id();
    puppet.started();
    let found = rig.handle.task(id).unwrap();
    assert_eq!((found.id(), found.name(), found.state()), (id, "dropped", TaskState::Running));
    let waiting = on_thread(move || found.wait());
    let queued = rig.handle.submit(no_op("dropped"), AdmissionPolicy::Queue).unwrap();
    let never = on_thread(move || queued.wait());
    rig.handle.request_shutdown();
    assert_eq!(puppet.told(), CancelReason::Shutdown);
    puppet.end(End::Obey);
    assert_eq!(next(&waiting).unwrap().to_string(), "cancelled (shutdown)");
    assert!(matches!(next(&never), Ok(Outcome::Rejected(Rejection::ShuttingDown))));
    rig.supervisor.shutdown().unwrap();
    assert!(rig.handle.task(id).is_none() && rig.handle.snapshot().is_err());
}

#[test]
fn a_wait_in_a_body_ends_when_that_body_should_return() {
    let (rig, elsewhere) = (Rig::new(), Rig::new());
    // Also for a task of another supervisor.
    for home in [&rig, &elsewhere] {
        let endless = home.handle.add(resident("endless").no_slot()).unwrap();
        let waits: [Wait; 3] = [
            |ctx, task| ctx.wait_for(task),
            |_, task| task.wait(),
            |_, task| task.wait_timeout(LONG).map(Option::unwrap),
        ];
        for wait in waits {
            let awaited = endless.clone();
            let (task, found) = in_body(&rig.handle, move |ctx| wait(ctx, &awaited));
            task.cancel();
            match next(&found) {
                Err(WaitError::Cancelled(why)) => assert_eq!(why.reason(), CancelReason::Stop),
                other => panic!("{other:?}"),
            }
            assert!(endless.outcome().is_none());
        }
        // An outcome that is there is found all the same.
        endless.cancel();
        let _ = outcome_of(&endless);
        let awaited = endless.clone();
        let (_, found) = in_body(&rig.handle, move |ctx| ctx.wait_for(&awaited));
        assert_eq!(next(&found).unwrap().to_string(), "cancelled (stop)");
    }
}

#[test]
fn a_body_waits_for_the_task_it_has_added() {
    let rig = Rig::new();
    let (parent, found) = in_body(&rig.handle, |ctx| {
        let child = ctx.handle().add(no_op("child")).unwrap();
        let gone = ctx.handle().task(ctx.id()).unwrap().id() == ctx.id();
        (ctx.wait_for(&child).unwrap().is_success(), child.wait().unwrap().is_success(), gone)
    });
    assert_eq!(next(&found), (true, true, true));
    assert!(outcome_of(&parent).is_success());
}

#[test]
fn a_wait_that_would_wait_for_itself_is_refused() {
    let rig = Rig::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (task, found) = in_body(&handle.clone(), move |ctx| {
        let own = ctx.handle().task(ctx.id()).unwrap();
        let waits = [
            own.wait().map(drop),
            own.wait_timeout(LONG).map(drop),
            ctx.wait_for(&own).map(drop),
            ctx.handle().flush_events(),
            supervisor.wait_idle(),
        ];
        let shutdown = supervisor.shutdown().is_err();
        let run = supervisor.run([no_op("back")]).unwrap_err();
        (waits, shutdown, matches!(run, AddError::WouldDeadlock { spec } if spec.len() == 1))
    });
    let (waits, shutdown, run) = next(&found);
    assert_eq!(waits, [Err(WaitError::WouldDeadlock); 5]);
    assert!(shutdown && run);
    let _ = outcome_of(&task);
    drop(rig);
}

#[test]
fn a_body_may_stop_itself_and_its_supervisor() {
    let rig = Rig::new();
    let (task, found) = in_body(&rig.handle, |ctx| {
        ctx.handle().task(ctx.id()).unwrap().cancel();
        ctx.sleep(Duration::MAX).unwrap_err().reason()
    });
    assert_eq!(next(&found), CancelReason::Stop);
    assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
    let (task, found) = in_body(&rig.handle, |ctx| {
        ctx.handle().request_shutdown();
        ctx.sleep(Duration::MAX).unwrap_err().reason()
    });
    assert_eq!(next(&found), CancelReason::Shutdown);
    assert_eq!(outcome_of(&task).to_string(), "cancelled (shutdown)");
}

#[test]
fn a_body_may_lend_its_context_to_threads_of_its_own() {
    let rig = Rig::new();
    let (task, found) = in_body(&rig.handle, |ctx| {
        thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| ctx.sleep(Duration::MAX).is_err()));
            threads.into_iter().all(|thread| thread.join().unwrap())
        })
    });
    task.cancel();
    assert!(next(&found), "a sleep was not ended");
    let _ = outcome_of(&task);
}

#[test]
fn who_outlives_the_grace_is_abandoned_and_holds_slot_and_permit_until_it_returns() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(1));
    let (spec, puppet) = Puppet::new("stuck");
    let task = rig.handle.add(spec.grace(SHORT)).unwrap();
    puppet.started();
    let next_owner = rig.handle.submit(no_op("stuck"), AdmissionPolicy::Queue).unwrap();
    let other = rig.handle.add(no_op("other")).unwrap();
    task.cancel();
    match outcome_of(&task) {
        Outcome::Abandoned { reason: CancelReason::Stop, stop: Some(StopReason::Stop) } => {}
        other => panic!("{other}"),
    }
    match rig.until(&task, "attempt_abandoned 1: stop").kind {
        EventKind::AttemptAbandoned { thread, .. } => assert!(thread.is_some()),
        other => panic!("{other:?}"),
    }
    let snapshot = rig.handle.snapshot().unwrap();
    assert_eq!(snapshot.task(task.id()).unwrap().state, TaskState::Abandoned);
    assert_eq!((snapshot.permits.held, snapshot.permits.waiting), (1, 1));
    assert!(!snapshot.is_healthy());
    assert_eq!([next_owner.state(), other.state()], [TaskState::Queued, TaskState::Runnable]);
    puppet.end(End::Fail);
    assert!(outcome_of(&next_owner).is_success() && outcome_of(&other).is_success());
    let story = rig.story(&task);
    assert_eq!(story.last().unwrap(), "slot_transition false");
    assert!(story.contains(&"attempt_returned 1: boom".to_owned()), "{story:?}");
    assert!(rig.handle.snapshot().unwrap().is_healthy());
}

#[test]
fn an_abandoned_attempt_is_retried_once_it_has_returned() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("overdue");
    let spec = spec.timeout(SHORT).grace(SHORT).backoff(BackoffPolicy::constant(LONG));
    let task = rig.handle.add(spec).unwrap();
    rig.until(&task, "attempt_abandoned 1: timeout");
    assert!(task.outcome().is_none() && puppet.started() == 1 && puppet.rests());
    let slot = rig.handle.snapshot().unwrap().slot("overdue").unwrap().status;
    assert_eq!(slot.label(), "terminating");
    puppet.end(End::Ok);
    rig.until(&task, "retry_scheduled 1: abandoned");
    let slot = rig.handle.snapshot().unwrap().slot("overdue").unwrap().status;
    assert_eq!(slot.label(), "running");
    let expected = [
        "attempt_starting 1",
        "attempt_stopping 1: timeout",
        "attempt_overdue 1",
        "attempt_abandoned 1: timeout",
        "slot_transition true",
        "attempt_returned 1: ok",
        "slot_transition false",
        "retry_scheduled 1: abandoned",
    ];
    assert_eq!(rig.story(&task)[2..], expected);
}

#[test]
fn an_attempt_abandoned_without_a_retry_left_has_its_outcome_then() {
    for told in [CancelReason::Timeout, CancelReason::Restart] {
        let rig = Rig::new();
        let (spec, puppet) = Puppet::new("last");
        let timeout = (told == CancelReason::Timeout).then_some(SHORT);
        let spec = spec.timeout(timeout).grace(Duration::ZERO).restart(RestartPolicy::Never);
        let task = rig.handle.add(spec).unwrap();
        puppet.started();
        assert!(told == CancelReason::Timeout || task.restart());
        match outcome_of(&task) {
            Outcome::Abandoned { reason, stop: None } => assert_eq!(reason, told),
            other => panic!("{other}"),
        }
        puppet.end(End::Ok);
        rig.until(&task, "attempt_returned 1: ok");
        assert!(puppet.rests());
    }
}

#[test]
fn a_stop_on_top_of_an_interruption_keeps_token_and_grace() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("both");
    let task = rig.handle.add(spec.timeout(SHORT).grace(LONG)).unwrap();
    assert_eq!(puppet.told(), CancelReason::Timeout);
    let ends =
        |task: &TaskHandle| rig.handle.snapshot().unwrap().task(task.id()).unwrap().next_wake;
    let before = ends(&task).unwrap();
    task.cancel();
    assert_eq!(ends(&task), Some(before));
    puppet.end(End::Obey);
    assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
    assert!(!puppet.end(End::Ok), "with the retry goes the body, before the outcome");
}

#[test]
fn a_body_that_is_slow_to_drop_delays_its_successor_and_nobody_else() {
    let rig = Rig::new();
    let (body, dropping, may) = slow_to_drop();
    let task = rig.handle.add(TaskSpec::new("slow", body)).unwrap();
    next(&dropping);
    assert!(task.outcome().is_none(), "what the body owns is part of it");
    let other = rig.handle.clone();
    assert!(in_time(move || other.add(no_op("other")).unwrap().wait()).unwrap().is_success());
    drop(may);
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_submission_cancelled_at_once_never_comes_to_more_than_one_end() {
    let rig = Rig::new();
    for _ in 0..300 {
        let task = rig.handle.submit(resident("fickle"), AdmissionPolicy::Queue).unwrap();
        task.cancel();
        let outcome = outcome_of(&task);
        let story = rig.story(&task);
        // In the intake as well: one act, one word.
        assert_eq!(outcome.to_string(), "cancelled (stop)");
        let ends = |event: &&String| event.starts_with("task_ended");
        assert_eq!(story.iter().filter(ends).count(), 1, "{story:?}");
    }
}

#[test]
fn a_stop_that_races_a_return_is_obeyed_without_a_retry() {
    let rig = Rig::new();
    for end in [End::Ok, End::Fail].repeat(300) {
        let (spec, puppet) = Puppet::new("racer");
        let backoff = BackoffPolicy::constant(LONG);
        let task = rig.handle.add(spec.backoff(backoff)).unwrap();
        puppet.started();
        puppet.end(end);
        task.cancel();
        let outcome = outcome_of(&task);
        let story = rig.story(&task);
        assert!(puppet.rests(), "{story:?}");
        match (end, outcome) {
            // The stop came too late for an end that is final anyway.
            (End::Ok, Outcome::Completed) => assert!(story.contains(&"attempt_succeeded 1".into())),
            (_, Outcome::Cancelled { reason: StopReason::Stop, returned }) => {
                // Whoever was told in time has its `Ok` noted.
                assert_eq!(matches!(returned, Some(Ok(()))), end == End::Ok, "{story:?}");
            }
            (_, other) => panic!("{end:?} ended as {other}: {story:?}"),
        }
        let ends = ["attempt_succeeded", "attempt_cancelled", "attempt_failed"];
        let terminal = |event: &&String| ends.iter().any(|end| event.starts_with(end));
        assert!(story.iter().filter(terminal).count() <= 1, "{story:?}");
    }
}
