//! Closings under a manual clock: it is quiet only once the bodies are dropped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::never;
use threadvisor::prelude::*;

use super::{ms, secs, started};
use crate::support::{next, outcome_of, slow_to_drop, Gate, OnDrop};

const LONG: Duration = secs(1000);

#[test]
fn the_clock_waits_until_every_body_is_dropped() {
    let (clock, supervisor) = started(|it| it);
    let dropped = Arc::new(AtomicU32::new(0));
    for round in 1..=20 {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let counted = Arc::clone(&dropped);
                let value = OnDrop(move || {
                    let _ = never::<()>().recv_timeout(ms(n % 3));
                    counted.fetch_add(1, Ordering::SeqCst);
                });
                let spec = TaskSpec::new(format!("task {n}"), move |_| {
                    let _ = &value;
                    Ok(())
                });
                supervisor.handle().add(spec.initial_delay(LONG)).unwrap()
            })
            .collect();
        tasks.iter().for_each(TaskHandle::cancel);
        clock.advance(secs(1));
        assert_eq!(dropped.load(Ordering::SeqCst), round * 20);
        assert!(tasks.iter().all(|task| task.outcome().is_some()));
        assert_eq!(clock.now(), secs(round.into()));
    }
}

#[test]
fn a_drop_that_hangs_is_named_and_may_be_ignored() {
    let (clock, supervisor) = started(|it| it);
    let (hangs, dropping, may) = slow_to_drop();
    let spec = TaskSpec::new("hangs", hangs).initial_delay(LONG).grace(secs(5));
    let task = supervisor.handle().add(spec).unwrap();
    task.cancel();
    next(&dropping);
    let _ = clock.clone().patience(ms(20));
    let error = clock.try_advance(secs(10)).unwrap_err();
    assert!(error.to_string().contains("a destructor of hangs#1 on thread"), "{error}");
    clock.ignore(&task);
    let _ = clock.clone().patience(secs(60));
    clock.advance(secs(10));
    assert_eq!(outcome_of(&task).to_string(), "abandoned (stop): the body outlived its grace");
    drop(may);
}

#[test]
fn a_task_ignored_before_its_body_is_dropped_is_never_waited_for() {
    let (clock, supervisor) = started(|it| it);
    let (hangs, dropping, _may) = slow_to_drop();
    let spec = TaskSpec::new("hangs", hangs).initial_delay(LONG).grace(secs(5));
    let task = supervisor.handle().add(spec).unwrap();
    clock.ignore(&task);
    task.cancel();
    next(&dropping);
    clock.advance(secs(4));
    assert_eq!(task.state(), TaskState::Closing);
    clock.advance(secs(10));
    assert_eq!(outcome_of(&task).to_string(), "abandoned (stop): the body outlived its grace");
}

#[test]
fn a_hook_that_hangs_may_be_ignored_too() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let (hook, body) = (gate.hold(), gate.hold());
    let spec = TaskSpec::once("hooked", move |ctx| {
        ctx.on_cancel(hook).forget();
        let told = ctx.sleep(LONG);
        body();
        Ok(told?)
    });
    let task = supervisor.handle().add(spec).unwrap();
    clock.settle();
    clock.ignore(&task);
    task.cancel();
    (0..2).for_each(|_| gate.wait_entered());
    clock.advance(secs(10));
    assert_eq!(clock.now(), secs(10));
    drop(gate);
}

/// The error of a failure that another has replaced: no task waits for that.
#[test]
fn a_value_whose_drop_hangs_is_counted() {
    struct Hangs(Option<Box<dyn FnOnce() + Send + Sync>>);
    impl std::fmt::Display for Hangs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("it hangs")
        }
    }
    impl std::fmt::Debug for Hangs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("it hangs")
        }
    }
    impl std::error::Error for Hangs {}
    impl Drop for Hangs {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|hang| hang());
        }
    }
    let (clock, supervisor) = started(|it| it);
    let mut gate = Gate::new();
    let mut hold = Some(gate.hold());
    let spec = TaskSpec::new("fails", move |ctx| match hold.take() {
        Some(hold) => Err(Hangs(Some(Box::new(hold))))?,
        None if ctx.attempt() == 2 => Err("again")?,
        None => Ok(()),
    });
    let task = supervisor.handle().add(spec).unwrap();
    clock.advance(ms(1));
    assert!(task.skip_wait());
    gate.wait_entered();
    let _ = clock.clone().patience(ms(20));
    let error = clock.try_advance(secs(10)).unwrap_err();
    assert!(error.to_string().ends_with("; 1 other destructors run"), "{error}");
    gate.open();
    let _ = clock.clone().patience(secs(60));
    clock.advance(secs(10));
    assert!(outcome_of(&task).is_success());
}
