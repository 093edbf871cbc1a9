//! The life of a task: attempts, retries, pauses, restarts, and what its body owns.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, TryRecvError};
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use crate::support::{next, no_op, outcome_of, End, OnDrop, Puppet, Rig};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
const ZERO: Duration = Duration::ZERO;

/// Runs a task to its end. Its story must be this one, behind its submission and admission.
#[track_caller]
fn check_story(rig: &Rig, spec: TaskSpec, expected: &[&str]) -> TaskHandle {
    let task = rig.handle.add(spec).unwrap();
    let _ = outcome_of(&task);
    let story = rig.story(&task);
    assert_eq!(story[..2], ["submitted drop_if_running", "admitted"]);
    assert_eq!(story[2..], *expected);
    task
}

fn quickly(spec: TaskSpec) -> TaskSpec {
    spec.backoff(BackoffPolicy::constant(SHORT))
}

#[test]
fn a_task_tells_its_story_in_order_under_one_id() {
    let rig = Rig::new();
    let ok = ["attempt_starting 1", "attempt_succeeded 1", "task_ended completed"];
    let task = check_story(&rig, TaskSpec::once("once", |_| Ok(())).slot("port"), &ok);
    let failed = ["attempt_starting 1", "attempt_failed 1: boom", "task_ended failed: boom"];
    check_story(&rig, TaskSpec::once("once", |_| Err("boom")?), &failed);
    let flaky = |ctx: &TaskContext| if ctx.attempt() < 3 { Err("boom".into()) } else { Ok(()) };
    let retried = [
        "attempt_starting 1",
        "attempt_failed 1: boom",
        "retry_scheduled 1: failed",
        "attempt_starting 2",
        "attempt_failed 2: boom",
        "retry_scheduled 2: failed",
        "attempt_starting 3",
        "attempt_succeeded 3",
        "task_ended completed",
    ];
    check_story(&rig, quickly(TaskSpec::new("flaky", flaky)), &retried);

    let events = rig.events();
    assert!((1..).zip(&events).all(|(seq, event)| event.seq == seq), "an event was lost");
    assert!(events.windows(2).all(|pair| pair[0].since_start <= pair[1].since_start));
    for event in events.iter().filter_map(|event| event.task.as_ref()) {
        let of_first = event.id == task.id();
        assert_eq!(of_first, (&*event.name, event.slot.as_deref()) == ("once", Some("port")));
    }
}

#[test]
fn a_context_knows_the_attempt_and_the_failures_before_it() {
    let (say, said) = unbounded();
    let body = move |ctx: &TaskContext| {
        let last = ctx.last_failure().map(|error| (error.to_string(), error.is_panic()));
        say.send((ctx.attempt(), ctx.failures(), last)).unwrap();
        match ctx.attempt() {
            1 => Err("boom".into()),
            2 => std::panic::resume_unwind(Box::new("ouch")),
            3 => {
                let _ = ctx.sleep(Duration::MAX);
                Ok(())
            }
            4 => Ok(()),
            // Also if it was told of its deadline meanwhile.
            _ => Err(TaskError::fatal("enough")),
        }
    };
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let rig = Rig::start(Supervisor::builder().clock(&clock));
    let spec = TaskSpec::new("counts", body).timeout(Duration::from_secs(1));
    let task = rig.handle.add(quickly(spec.restart(RestartPolicy::Always))).unwrap();
    assert_eq!(clock.advance_until(&task, Duration::from_secs(60)).label(), "fatal");
    let last = |text: &str, panic| Some((text.to_owned(), panic));
    let expected = [
        (1, 0, None),
        (2, 1, last("boom", false)),
        (3, 2, last("ouch", true)),
        (4, 3, last("ran past its deadline", false)),
        (5, 0, None),
    ];
    assert_eq!(said.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_restart_leaves_the_streak_and_its_last_failure_alone() {
    for end in [End::Ok, End::Obey] {
        let (say, said) = unbounded();
        let body = move |ctx: &TaskContext| {
            let last = ctx.last_failure().map(ToString::to_string);
            say.send((ctx.attempt(), ctx.failures(), last))?;
            match ctx.attempt() {
                1 => Err("boom".into()),
                2 => match (ctx.cancelled().recv(), end) {
                    (_, End::Ok) => Ok(()),
                    _ => Ok(ctx.check()?),
                },
                _ => Ok(()),
            }
        };
        let rig = Rig::new();
        let task = rig.handle.add(quickly(TaskSpec::new("restarted", body))).unwrap();
        rig.until(&task, "attempt_starting 2");
        assert!(task.restart());
        let _ = outcome_of(&task);
        let boom = || Some("boom".to_owned());
        let seen: Vec<_> = said.iter().collect();
        assert_eq!(seen, [(1, 0, None), (2, 1, boom()), (3, 1, boom())], "returned {end:?}");
    }
}

#[test]
fn a_body_keeps_its_state_through_failures_panics_and_deadlines() {
    let (jobs, queue) = unbounded::<End>();
    let mut calls = 0;
    let body = move |ctx: &TaskContext| {
        calls += 1;
        assert_eq!(ctx.attempt(), calls);
        match queue.try_recv() {
            Ok(End::Fail) => Err("boom".into()),
            Ok(End::Panic) => std::panic::resume_unwind(Box::new("ouch")),
            Ok(End::Obey) => Ok(ctx.sleep(Duration::MAX)?),
            Ok(_) => Ok(()),
            Err(error) => Err(TaskError::fatal(error)),
        }
    };
    for job in [End::Fail, End::Panic, End::Ok, End::Obey, End::Panic] {
        jobs.send(job).unwrap();
    }
    let rig = Rig::new();
    let spec = TaskSpec::new("owner", body).timeout(Duration::from_millis(200));
    let task = rig.handle.add(quickly(spec.restart(RestartPolicy::Always))).unwrap();
    rig.until(&task, "attempt_timed_out 4: -");
    match outcome_of(&task) {
        Outcome::Fatal { error } => {
            assert_eq!(error.downcast_ref(), Some(&TryRecvError::Empty), "{error}");
        }
        other => panic!("{other}"),
    }
    let Err(_) = jobs.send(End::Ok) else { panic!("the body outlived its task") };
}

#[test]
fn a_body_may_be_shared_or_run_once() {
    let rig = Rig::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let spec = TaskSpec::shared("value", move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => Err("not yet".into()),
        _ => Ok(()),
    });
    let task = rig.handle.add(quickly(spec)).unwrap();
    assert!(outcome_of(&task).is_success());
    assert_eq!((runs.load(Ordering::Relaxed), Arc::strong_count(&runs)), (2, 1));

    let (once, said) = bounded(1);
    let moved = String::from("moved in and out");
    let body = move |_: &TaskContext| Ok(once.send(moved)?);
    let task = rig.handle.add(TaskSpec::once("once", body)).unwrap();
    assert_eq!(next(&said), "moved in and out");
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_body_that_succeeds_at_once_runs_again_without_pause() {
    let rig = Rig::new();
    let body = |ctx: &TaskContext| match ctx.attempt() {
        1..=150 => Ok(()),
        _ => Err(TaskError::cancelled()),
    };
    let spec = TaskSpec::new("eager", body).restart(RestartPolicy::Always);
    let task = rig.handle.add(spec).unwrap();
    let _ = outcome_of(&task);
    let story = rig.story(&task);
    assert!(story.contains(&"attempt_starting 151".to_owned()));
    for attempt in 1..=150 {
        assert_eq!(delay_after(&rig, &task, &format!("run_scheduled {attempt}")), ZERO);
    }
    assert!(!story.iter().any(|event| event.starts_with("retry")), "{story:?}");
    // A busy machine may make one of the runs long, but no two rows of 100 are in 150 runs.
    let warnings = story.iter().filter(|event| *event == "attempts_too_short").count();
    assert!(warnings <= 1, "{story:?}");
}

/// The delay of the pause or retry after the attempt of that number.
#[track_caller]
fn delay_after(rig: &Rig, task: &TaskHandle, event: &str) -> Duration {
    match rig.until(task, event).kind {
        EventKind::RetryScheduled { delay, .. } | EventKind::RunScheduled { delay, .. } => delay,
        other => panic!("{other:?} has no delay"),
    }
}

#[test]
fn repeat_after_waits_its_delay_after_a_success_and_no_less_after_a_failure() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("repeat_after");
    let backoff = BackoffPolicy::constant(LONG * 2).factor(1.0);
    let task =
        rig.handle.add(spec.repeat_after(LONG).backoff(BackoffPolicy::constant(SHORT))).unwrap();
    puppet.end(End::Ok);
    assert_eq!(delay_after(&rig, &task, "run_scheduled 1"), LONG);
    assert!(task.skip_wait());
    puppet.end(End::Fail);
    assert_eq!(delay_after(&rig, &task, "retry_scheduled 2: failed"), LONG);

    let (spec, puppet) = Puppet::new("backs off");
    let task = rig.handle.add(spec.repeat_after(LONG).backoff(backoff)).unwrap();
    puppet.end(End::Fail);
    assert_eq!(delay_after(&rig, &task, "retry_scheduled 1: failed"), LONG * 2);
}

#[test]
fn every_keeps_its_grid_whatever_comes_between() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("every");
    let spec = spec.every(LONG).backoff(BackoffPolicy::constant(SHORT));
    let task = rig.handle.add(spec).unwrap();
    let mut ticks = Vec::new();
    for attempt in 1..=4_u64 {
        assert_eq!(puppet.started(), attempt);
        let (end, text) = if attempt == 3 {
            (End::Fail, format!("retry_scheduled {attempt}: failed"))
        } else {
            (End::Ok, format!("run_scheduled {attempt}"))
        };
        puppet.end(end);
        let delay = delay_after(&rig, &task, &text);
        ticks.push(rig.until(&task, &text).since_start + delay);
        assert!(task.skip_wait());
    }
    // Skipped or failed or not, the next tick is the same one: an hour after the first start.
    let first = rig.until(&task, "attempt_starting 1").since_start + LONG;
    for tick in ticks {
        assert!(tick.abs_diff(first) < Duration::from_secs(60), "{tick:?}, not {first:?}");
    }
}

#[test]
fn every_skips_the_ticks_it_misses() {
    let rig = Rig::new();
    let interval = Duration::from_millis(20);
    let (spec, puppet) = Puppet::new("late");
    let task = rig.handle.add(spec.every(interval)).unwrap();
    puppet.started();
    // Another task lets several ticks go by while the first attempt runs.
    let clock = TaskSpec::new("clock", |ctx| match ctx.attempt() {
        1..=5 => Ok(()),
        _ => Err(TaskError::cancelled()),
    });
    let _ = outcome_of(&rig.handle.add(clock.repeat_after(interval)).unwrap());
    for _ in 0..3 {
        puppet.end(End::Ok);
    }
    rig.until(&task, "attempt_succeeded 3");
    for attempt in 1..=2 {
        let delay = delay_after(&rig, &task, &format!("run_scheduled {attempt}"));
        assert!(delay <= interval, "no tick is made up for, none is lost: {delay:?}");
    }
    let starts: Vec<_> =
        (1..=3).map(|n| rig.until(&task, &format!("attempt_starting {n}")).since_start).collect();
    assert!(starts[1] >= starts[0] + interval * 4, "{starts:?}");
}

#[test]
fn an_initial_delay_begins_with_ownership_and_holds_the_slot() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("delayed");
    let task = rig.handle.add(spec.initial_delay(LONG)).unwrap();
    assert_eq!((task.state(), puppet.rests()), (TaskState::Waiting, true));
    let refused = rig.handle.add(no_op("delayed")).unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::SlotBusy { .. })), "{refused}");
    assert!(task.skip_wait());
    assert_eq!(puppet.started(), 1);
    puppet.end(End::Ok);
    assert!(outcome_of(&task).is_success());

    let short = no_op("short").initial_delay(SHORT);
    check_story(
        &rig,
        short,
        &["attempt_starting 1", "attempt_succeeded 1", "task_ended completed"],
    );
}

#[test]
fn a_skipped_wait_is_a_retry_at_once() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("skipped");
    let task = rig.handle.add(spec.backoff(BackoffPolicy::constant(LONG))).unwrap();
    for skip in [TaskHandle::skip_wait, TaskHandle::restart] {
        let attempt = puppet.started();
        puppet.end(End::Fail);
        assert_eq!(delay_after(&rig, &task, &format!("retry_scheduled {attempt}: failed")), LONG);
        assert!(skip(&task));
    }
    assert_eq!(puppet.started(), 3);
    let snapshot = rig.handle.snapshot().unwrap();
    assert_eq!(snapshot.task(task.id()).unwrap().failures, 2);
    puppet.end(End::Ok);
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_body_that_runs_once_is_not_restarted() {
    let rig = Rig::new();
    let (start, started) = bounded(1);
    let (end, ended) = bounded::<()>(0);
    let body = move |_: &TaskContext| {
        start.send(())?;
        let _ = ended.recv();
        Ok(())
    };
    let task = rig.handle.add(TaskSpec::once("once", body)).unwrap();
    next(&started);
    assert!(!task.restart());
    assert_eq!(task.state(), TaskState::Running);
    drop(end);
    assert!(outcome_of(&task).is_success());
}

#[test]
fn attempts_of_one_task_never_overlap() {
    let rig = Rig::new();
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (say, said) = unbounded();
    let body = {
        let peak = Arc::clone(&peak);
        move |ctx: &TaskContext| {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = say.send(());
            let _ = ctx.cancelled().recv();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let task = rig.handle.add(TaskSpec::new("restarted", body)).unwrap();
    for _ in 0..200 {
        next(&said);
        // The second one finds this attempt on its way, or the next one running already.
        task.restart();
        task.restart();
    }
    task.cancel();
    let _ = outcome_of(&task);
    assert_eq!(peak.load(Ordering::SeqCst), 1);
    let story = rig.story(&task);
    assert!(!story.iter().any(|event| event.contains("scheduled")), "no restart is a failure");
}

#[test]
fn whoever_sees_the_outcome_finds_closed_what_the_body_owned() {
    let rig = Rig::new();
    for round in 0..100 {
        let (jobs, queue) = bounded::<u32>(1);
        let body = move |ctx: &TaskContext| {
            let _owned = &queue;
            match (round % 3, ctx.attempt()) {
                (0, _) => Ok(()),
                (1, _) => Err(TaskError::fatal("hopeless")),
                (_, 1) => Err("boom".into()),
                _ => Ok(ctx.sleep(Duration::MAX)?),
            }
        };
        let task = rig.handle.add(quickly(TaskSpec::new("owner", body))).unwrap();
        if round % 3 == 2 {
            rig.until(&task, "attempt_starting 2");
            task.cancel();
        }
        let _ = outcome_of(&task);
        assert!(jobs.send(round).is_err(), "the receiver is still open");
    }
}

#[test]
fn the_next_owner_of_a_slot_finds_closed_what_the_last_one_owned() {
    let rig = Rig::new();
    for asleep in [false, true].repeat(50) {
        let (jobs, queue) = bounded::<()>(1);
        let owner = move |ctx: &TaskContext| {
            let _owned: &Receiver<()> = &queue;
            Ok(ctx.sleep(Duration::MAX)?)
        };
        let delay = if asleep { LONG } else { Duration::ZERO };
        let owner = rig.handle.add(TaskSpec::new("tty", owner).initial_delay(delay)).unwrap();
        // A body that never ran is closed just as well.
        let heir = TaskSpec::once("tty", move |_| match jobs.send(()) {
            Ok(()) => Err("the port is still open".into()),
            Err(_) => Ok(()),
        });
        let heir = rig.handle.submit(heir, AdmissionPolicy::Replace).unwrap();
        let outcome = outcome_of(&heir);
        assert!(outcome.is_success(), "asleep {asleep}: {outcome}");
        let replaced = outcome_of(&owner).to_string();
        assert!(replaced.starts_with("cancelled (replace)"), "{replaced}");
    }
}

#[test]
fn an_error_reaches_outcome_and_events_as_it_was_returned() {
    let rig = Rig::new();
    let body = |_: &TaskContext| {
        let error = io::Error::new(io::ErrorKind::NotFound, "no such device");
        Err(TaskError::fail(error).with_exit_code(66))
    };
    let task = rig.handle.add(TaskSpec::new("reader", body).restart(RestartPolicy::Never)).unwrap();
    let outcome = outcome_of(&task);
    let check = |error: &TaskError| {
        let source = error.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!((source, error.exit_code()), (Some(io::ErrorKind::NotFound), Some(66)));
    };
    check(outcome.error().unwrap());
    assert_eq!((outcome.exit_code(), outcome.to_string()), (66, "failed: no such device".into()));
    match rig.until(&task, "attempt_failed 1: no such device").kind {
        EventKind::AttemptFailed { error, .. } => check(&error),
        other => panic!("{other:?}"),
    }
    let not_completed = outcome.into_result().unwrap_err();
    assert!(not_completed.to_string().contains("no such device"));
}

#[test]
fn a_destructor_that_panics_is_reported_and_changes_nothing() {
    let rig = Rig::new();
    let mut end = Some(OnDrop(|| std::panic::resume_unwind(Box::new("dropped badly"))));
    let body = move |_: &TaskContext| {
        let _owned = &mut end;
        Ok(())
    };
    let task = rig.handle.add(TaskSpec::new("fragile", body)).unwrap();
    assert!(outcome_of(&task).is_success());
    let reported = rig.events().into_iter().any(|event| match event.kind {
        EventKind::DropPanicked { message } => &*message == "dropped badly",
        _ => false,
    });
    assert!(reported);
    assert!(outcome_of(&rig.handle.add(no_op("fragile")).unwrap()).is_success());
}

#[test]
fn whoever_knows_that_a_body_runs_finds_it_running() {
    let rig = Rig::new();
    for _ in 0..1000 {
        let (spec, puppet) = Puppet::new("runs");
        let task = rig.handle.add(spec.timeout(LONG)).unwrap();
        puppet.started();
        // A request is served after the reports that were sent before it.
        assert_eq!(rig.story(&task).last().unwrap(), "attempt_starting 1");
        puppet.end(End::Ok);
        let _ = outcome_of(&task);
    }
}
