//! What callers ask of a task by hand: pauses and intervals.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::prelude::*;

use super::{labels, ms, secs, started, ticker, Moments};
use crate::support::{next, on_thread};

#[test]
fn a_paused_task_runs_to_the_end_of_its_attempt_and_no_further() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (clock, supervisor) = started(|it| it.on_event(labels(&log)));
    let nap = TaskSpec::new("nap", |ctx| Ok(ctx.sleep(secs(10))?)).repeat_after(secs(5));
    let nap = supervisor.handle().add(nap).unwrap();
    clock.advance(secs(4));
    assert!(nap.pause());
    assert!(!nap.pause());
    let shown = || supervisor.handle().snapshot().unwrap().tasks[0].clone();
    assert_eq!((shown().state, shown().paused), (TaskState::Running, true));
    clock.advance(secs(100));
    assert_eq!((nap.state(), shown().paused), (TaskState::Waiting, true));
    assert_eq!((shown().attempt, shown().next_wake), (1, None));
    assert!(!nap.skip_wait() && !nap.restart());
    assert_eq!(supervisor.handle().owner("nap").as_ref(), Some(&nap));
    let text = supervisor.handle().snapshot().unwrap().to_string();
    assert!(text.contains("nap#1 waiting for 94.000 s, paused, attempt 1"), "{text}");

    assert!(nap.resume());
    assert!(!nap.resume());
    clock.settle();
    assert_eq!((nap.state(), shown().paused, shown().attempt), (TaskState::Running, false, 2));
    nap.cancel();
    assert!(!nap.pause() && !nap.resume());
    clock.settle();
    assert!(!nap.pause() && !nap.resume() && !nap.set_interval(secs(1)));
    let log = log.lock().unwrap();
    let paused: Vec<_> = log.iter().filter(|(_, it)| it.starts_with("task_p")).collect();
    let resumed: Vec<_> = log.iter().filter(|(_, it)| it.starts_with("task_r")).collect();
    assert_eq!(
        (paused, resumed),
        (vec![&(secs(4), "task_paused")], vec![&(secs(104), "task_resumed")])
    );
    assert!(!log.iter().any(|(_, it)| *it == "run_scheduled"), "{log:?}");
}

#[test]
fn whoever_waits_for_all_tasks_waits_for_the_paused_ones() {
    let (clock, supervisor) = started(|it| it);
    let handle = supervisor.handle();
    let late = TaskSpec::once("late", |_| Ok(())).initial_delay(secs(5)).expires_in(secs(60));
    let late = handle.add(late).unwrap();
    assert!(late.pause());
    let idle = on_thread(move || {
        supervisor.wait_idle().unwrap();
        supervisor
    });
    // Neither does it start, nor does it expire.
    clock.advance(secs(3600));
    assert!(idle.try_recv().is_err() && late.outcome().is_none());
    assert!(late.resume());
    let supervisor = next(&idle);
    assert!(late.outcome().unwrap().is_success());
    drop(supervisor);
}

#[test]
fn a_shutdown_ends_a_paused_task() {
    let (_clock, supervisor) = started(|it| it);
    let idle = TaskSpec::new("idle", |_| Ok(())).initial_delay(secs(1));
    let idle = supervisor.handle().add(idle).unwrap();
    assert!(idle.pause());
    supervisor.shutdown().unwrap();
    let stopped = Outcome::Cancelled { reason: StopReason::Shutdown, returned: None };
    assert_eq!(idle.outcome().unwrap().to_string(), stopped.to_string());
}

#[test]
fn a_body_can_pause_its_own_task() {
    let (clock, supervisor) = started(|it| it);
    let ran = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ran);
    let valve = TaskSpec::new("valve", move |ctx| {
        counted.fetch_add(1, Ordering::Relaxed);
        let own = ctx.handle().task(ctx.id()).ok_or("gone")?;
        assert!(own.pause());
        Ok(())
    });
    let valve = supervisor.handle().add(valve.every(secs(1))).unwrap();
    clock.advance(secs(60));
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert!(valve.resume());
    clock.advance(ms(1500));
    assert_eq!(ran.load(Ordering::Relaxed), 2);
}

#[test]
fn an_interval_is_set_for_one_task_alone() {
    let (clock, supervisor) = started(|it| it);
    let (a, b) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let hourly = |name, ticks| ticker(name, ticks).every(secs(3600));
    let fast = supervisor.handle().add(hourly("fast", &a)).unwrap();
    let slow = supervisor.handle().add(hourly("slow", &b)).unwrap();
    clock.advance(secs(601));
    assert!(fast.set_interval(secs(30)));
    assert!(!slow.set_interval(Duration::ZERO));
    // At once, because more than 30 s have passed since its last run, and then each 30 s.
    clock.advance(secs(60));
    assert_eq!((a.load(Ordering::Relaxed), b.load(Ordering::Relaxed)), (4, 1));
    let once = supervisor.handle().add(TaskSpec::new("once", |_| Ok(())).initial_delay(secs(1)));
    assert!(!once.unwrap().set_interval(secs(1)));
}

#[test]
fn the_grid_begins_anew_with_the_interval() {
    let (clock, supervisor) = started(|it| it);
    let moments = Moments::default();
    let noted = (moments.clone(), clock.clone());
    let poll = TaskSpec::new("poll", move |_| {
        noted.0.note(&noted.1);
        Ok(())
    });
    let poll = supervisor.handle().add(poll.every(secs(60))).unwrap();
    clock.advance(secs(70));
    assert!(poll.set_interval(secs(25)));
    clock.advance(secs(60));
    moments.assert_eq(&[secs(0), secs(60), secs(85), secs(110)]);
}
