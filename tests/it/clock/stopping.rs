//! Shutdown where the time stands.

use std::time::Duration;

use threadvisor::prelude::*;

use super::{secs, started};
use crate::support::{in_time, next, on_thread, Gate};

#[test]
fn sleepers_return_at_once_and_no_time_passes() {
    let (clock, supervisor) = started(|it| it);
    let sleeper = TaskSpec::new("sleeper", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let sleeper = supervisor.handle().add(sleeper).unwrap();
    clock.settle();
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.shutdown.abandoned.len(), 0);
    assert_eq!(sleeper.outcome().unwrap().label(), "cancelled");
    assert_eq!((clock.now(), report.shutdown.elapsed), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn a_deaf_body_is_abandoned_when_its_grace_has_passed_on_the_clock() {
    let (clock, supervisor) = started(|it| it.grace(secs(30)));
    let gate = Gate::new();
    let deaf = supervisor.handle().add(TaskSpec::new("deaf", gate.body())).unwrap();
    gate.wait_entered();
    let _ = clock.clone().patience(Duration::from_millis(20));
    let report = supervisor.shutdown_within(&clock).unwrap();
    assert_eq!((report.shutdown.abandoned.len(), report.shutdown.elapsed), (1, secs(30)));
    assert_eq!(deaf.outcome().unwrap().label(), "abandoned");
    assert_eq!(clock.now(), secs(30));
    drop(gate);
}

#[test]
fn a_body_that_needs_its_grace_to_tidy_up_gets_it() {
    let (clock, supervisor) = started(|it| it.grace(secs(30)));
    let tidy = TaskSpec::once("tidy", |ctx| {
        let told = ctx.sleep(Duration::MAX);
        // Work that takes real time, not the clock's.
        std::fs::read_dir("/").map(Iterator::count)?;
        Ok(told?)
    });
    let tidy = supervisor.handle().add(tidy).unwrap();
    clock.settle();
    let report = supervisor.shutdown_within(&clock).unwrap();
    assert_eq!(report.shutdown.abandoned.len(), 0);
    assert_eq!(tidy.outcome().unwrap().label(), "cancelled");
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn a_shutdown_on_one_thread_is_moved_on_by_another() {
    let (clock, supervisor) = started(|it| it.grace(secs(30)));
    let gate = Gate::new();
    let deaf = supervisor.handle().add(TaskSpec::new("deaf", gate.body())).unwrap();
    gate.wait_entered();
    clock.ignore(&deaf);
    let handle = supervisor.handle();
    handle.request_shutdown();
    let report = on_thread(move || supervisor.shutdown().unwrap());
    clock.advance(secs(30));
    assert_eq!(next(&report).shutdown.abandoned.len(), 1);
    drop(gate);
}

#[test]
fn a_supervisor_that_is_dropped_moves_the_clock_to_its_end() {
    let (clock, supervisor) = started(|it| it.grace(secs(3600)));
    let gate = Gate::new();
    let deaf = supervisor.handle().add(TaskSpec::new("deaf", gate.body())).unwrap();
    gate.wait_entered();
    let clock = clock.patience(Duration::from_millis(20));
    in_time(move || drop(supervisor));
    assert_eq!(deaf.outcome().unwrap().label(), "abandoned");
    assert_eq!(clock.now(), secs(3600));
    drop(gate);
}

#[test]
fn a_subscriber_that_hangs_delays_the_end_in_real_time_only() {
    let gate = Gate::new();
    let hold = gate.hold();
    let (clock, supervisor) = started(|it| it.on_event(move |_| hold()));
    supervisor.handle().add(TaskSpec::once("task", |_| Ok(()))).unwrap();
    gate.wait_entered();
    let report = in_time(move || supervisor.shutdown().unwrap());
    assert!(report.shutdown.events_dropped > 0);
    assert_eq!(clock.now(), Duration::ZERO);
    drop(gate);
}

#[test]
fn a_clock_outlives_its_supervisors() {
    let (clock, supervisor) = started(|it| it);
    supervisor.shutdown().unwrap();
    drop(supervisor);
    clock.advance(secs(5));
    let next = Supervisor::builder().clock(&clock).start().unwrap();
    let task = next.handle().add(TaskSpec::once("task", |_| Ok(())).initial_delay(secs(1)));
    let task = task.unwrap();
    clock.advance(secs(1));
    assert!(task.outcome().unwrap().is_success());
    assert_eq!(clock.now(), secs(6));
}
