//! Values that nobody takes: where they are dropped, and what their destructors may do.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::{TaskOutput, WaitError};

use crate::panics::Drops;
use crate::support::{in_time, next, outcome_of, Gate, OnDrop, Rig};

/// A value that does something when it is dropped.
type Acts = OnDrop<Box<dyn FnMut() + Send>>;

fn acts(act: impl FnMut() + Send + 'static) -> Acts {
    OnDrop(Box::new(act))
}

/// Succeeds so many times, then fails for good.
fn times<T: Send + 'static>(
    output: &TaskOutput<T>,
    times: u64,
    make: impl Fn() -> T + Send + 'static,
) -> TaskSpec {
    let body = output.fill(move |ctx| {
        if ctx.attempt() > times {
            return Err(TaskError::fatal("enough"));
        }
        Ok(make())
    });
    TaskSpec::new("times", body).restart(RestartPolicy::Always)
}

#[test]
fn values_that_are_replaced_are_dropped_on_workers() {
    let drops = Drops::new(false);
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let task = supervisor.handle().add(times(&output, 50, drops.maker())).unwrap();
    assert!(outcome_of(&task).is_fatal());
    drop(output.take().unwrap());
    drop(supervisor);
    let (here, workers): (Vec<_>, Vec<_>) =
        drops.check_threads().into_iter().partition(|thread| !thread.starts_with('w'));
    assert_eq!((here.len(), workers.len()), (1, 49), "{here:?}");
}

#[test]
fn an_old_value_whose_destructor_panics_is_an_event_and_the_task_goes_on() {
    let drops = Drops::new(true);
    let rig = Rig::new();
    let output = TaskOutput::new();
    let task = rig.handle.add(times(&output, 3, drops.maker())).unwrap();
    assert!(outcome_of(&task).is_fatal());
    let panicked = |event: &&Event| matches!(event.kind, EventKind::DropPanicked { .. });
    assert_eq!(rig.events().iter().filter(panicked).count(), 2);
    let newest = output.take();
    assert!(newest.is_some());
    std::mem::forget(newest); // it would panic here
}

#[test]
fn once_the_output_is_dropped_values_are_dropped_as_they_are_returned() {
    let drops = Drops::new(true);
    let rig = Rig::new();
    let output = TaskOutput::new();
    let spec = times(&output, 3, drops.maker());
    drop(output);
    let task = rig.handle.add(spec).unwrap();
    assert!(outcome_of(&task).is_fatal());
    let panicked = |event: &&Event| matches!(event.kind, EventKind::DropPanicked { .. });
    assert_eq!(rig.events().iter().filter(panicked).count(), 3);
    let threads = drops.check_threads();
    assert!(threads.iter().all(|thread| thread.starts_with('w')), "{threads:?}");
}

#[test]
fn an_output_takes_its_value_along_whose_panic_meets_nobody() {
    let drops = Drops::new(true);
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let make = drops.maker();
    let spec = TaskSpec::once("one", output.fill_once(move |_| Ok(make())));
    assert!(outcome_of(&supervisor.handle().add(spec).unwrap()).is_success());
    drop(output);
    drops.check(1);
}

#[test]
fn the_late_value_of_an_abandoned_attempt_is_dropped_on_its_thread() {
    let (drops, mut gate) = (Drops::new(false), Gate::new());
    let rig = Rig::start(Supervisor::builder().grace(Duration::ZERO));
    let (output, make, hold) = (TaskOutput::new(), drops.maker(), gate.hold());
    let body = output.fill_once(move |_| {
        hold();
        Ok(make())
    });
    let task = rig.handle.add(TaskSpec::once("stuck", body)).unwrap();
    gate.wait_entered();
    task.cancel();
    assert!(outcome_of(&task).is_abandoned());
    gate.open();
    rig.until(&task, "attempt_returned 1: ok");
    assert!(output.take().is_none());
    let threads = drops.check_threads();
    assert!(threads.len() == 1 && threads[0].starts_with('w'), "{threads:?}");
}

#[test]
fn a_task_that_nobody_can_wait_for_leaves_no_value_behind() {
    let drops = Drops::new(false);
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let body = {
        let make = drops.maker();
        output.fill(move |ctx| {
            let _ = ctx.sleep(Duration::MAX);
            Ok(make())
        })
    };
    let task = supervisor.handle().add(TaskSpec::new("resident", body)).unwrap();
    assert!(task.wait_started().unwrap());
    drop((supervisor, output, task));
    drops.check(1);
}

/// The destructor of a value that is replaced may look into the output that it was in, and no lock
/// is held; it is part of its attempt, so it cannot wait for its own task.
#[test]
fn a_destructor_may_use_its_output_and_its_task() {
    let rig = Rig::new();
    let output = Arc::new(TaskOutput::<Acts>::new());
    let (found, finds) = unbounded();
    let (place, handle) = (Arc::downgrade(&output), rig.handle.clone());
    let make = move || {
        let (place, found, handle) = (place.clone(), found.clone(), handle.clone());
        acts(move || {
            let Some(place) = place.upgrade() else { return };
            let newer = place.take();
            let waits = place.wait_value(Duration::MAX).err();
            let task = handle.owner("times");
            let _ = found.send((newer.is_some(), waits, task.map(|task| task.wait().err())));
            std::mem::forget(newer);
        })
    };
    let task = rig.handle.add(times(&output, 2, make)).unwrap();
    let (newer, waits, waits_for_task) = next(&finds);
    assert!(newer, "the new value is there before the old one is dropped");
    assert_eq!(waits, Some(WaitError::WouldDeadlock));
    assert_eq!(waits_for_task, Some(Some(WaitError::WouldDeadlock)));
    assert!(outcome_of(&task).is_fatal());
}

#[test]
fn a_destructor_that_hangs_is_an_attempt_that_hangs() {
    let mut gate = Gate::new();
    let rig = Rig::start(Supervisor::builder().grace(Duration::ZERO));
    let output = TaskOutput::new();
    let hold = Arc::new(gate.hold());
    let make = move || {
        let hold = Arc::clone(&hold);
        acts(move || hold())
    };
    let task = rig.handle.add(times(&output, 2, make)).unwrap();
    gate.wait_entered();
    task.cancel();
    assert!(outcome_of(&task).is_abandoned());
    let newest = output.take();
    assert!(newest.is_some(), "it was there before the attempt was abandoned");
    gate.open();
    rig.until(&task, "attempt_returned 2: ok");
    in_time(move || drop(newest));
}
