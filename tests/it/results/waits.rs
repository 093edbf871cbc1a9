//! Waits for an outcome and its value.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{TaskOutput, TaskOutputError, WaitError};

use super::counter;
use crate::support::{next, outcome_of, resident, Gate};

const MS: Duration = Duration::from_millis(1);

#[test]
fn of_two_waiters_one_gets_the_value() {
    let supervisor = Supervisor::builder().start().unwrap();
    let mut gate = Gate::new();
    let (output, hold) = (TaskOutput::new(), gate.hold());
    let body = output.fill(move |_| {
        hold();
        Ok(vec![1])
    });
    let task = supervisor.handle().add(TaskSpec::new("slow", body)).unwrap();
    gate.wait_entered();
    let got = thread::scope(|scope| {
        let waiters = [0; 2].map(|_| scope.spawn(|| output.wait(&task)));
        gate.open();
        waiters.map(|waiter| waiter.join().unwrap())
    });
    assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 1);
    let taken = |got: &&Result<_, _>| matches!(got, Err(TaskOutputError::Taken));
    assert_eq!(got.iter().filter(taken).count(), 1);
}

#[test]
fn the_second_wait_says_that_it_was_taken() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let task = supervisor.handle().add(counter(&output)).unwrap();
    assert_eq!(output.wait(&task).unwrap(), 1);
    assert!(matches!(output.wait(&task), Err(TaskOutputError::Taken)));
    assert!(matches!(output.wait_timeout(&task, MS), Err(TaskOutputError::Taken)));
    assert_eq!(output.take(), None);
}

#[test]
fn a_wait_with_a_limit_ends() {
    let supervisor = Supervisor::builder().start().unwrap();
    let mut gate = Gate::new();
    let (output, hold) = (TaskOutput::new(), gate.hold());
    let body = output.fill_once(move |_| {
        hold();
        Ok("late")
    });
    let task = supervisor.handle().add(TaskSpec::once("slow", body)).unwrap();
    for span in [Duration::ZERO, MS] {
        assert_eq!(output.wait_timeout(&task, span).unwrap(), None);
    }
    gate.open();
    assert_eq!(output.wait_timeout(&task, Duration::MAX).unwrap(), Some("late"));
}

#[test]
fn a_body_cannot_wait_for_its_own_value() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = Arc::new(TaskOutput::<()>::new());
    let (own, tasks) = bounded::<TaskHandle>(1);
    let (told, errors) = bounded(2);
    let place = Arc::downgrade(&output);
    let body = output.fill(move |_| {
        let (place, task) = (place.upgrade().unwrap(), tasks.recv()?);
        told.send(place.wait(&task).unwrap_err().to_string())?;
        told.send(place.wait_value(Duration::MAX).unwrap_err().to_string())?;
        Ok(())
    });
    let task = supervisor.handle().add(TaskSpec::new("own", body)).unwrap();
    own.send(task.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(next(&errors), WaitError::WouldDeadlock.to_string());
    }
    assert!(outcome_of(&task).is_success());
}

#[test]
fn the_wait_of_a_body_ends_with_its_cancel_and_adds_no_error() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let awaited = handle.add(resident("awaited")).unwrap();
    let waiter = TaskSpec::once("waiter", move |_| {
        let output = TaskOutput::<()>::new();
        Ok(output.wait(&awaited)?)
    });
    let waiter = handle.add(waiter).unwrap();
    assert!(waiter.wait_started().unwrap());
    waiter.cancel();
    let outcome = outcome_of(&waiter);
    assert!(matches!(outcome, Outcome::Cancelled { returned: None, .. }), "{outcome:?}");
}

#[test]
fn a_body_gets_the_value_of_a_task_that_starts_without_a_permit() {
    let supervisor = Supervisor::builder().max_concurrent(1).start().unwrap();
    let outer = TaskOutput::new();
    let body = outer.fill(|ctx| {
        let inner = TaskOutput::new();
        let spec = TaskSpec::new("inner", inner.fill(|_| Ok(20)));
        let task = ctx.handle().add(spec)?;
        Ok(inner.wait(&task)? + 1)
    });
    let task = supervisor.handle().add(TaskSpec::new("outer", body)).unwrap();
    assert_eq!(outer.wait(&task).unwrap(), 21);
}

#[test]
fn whoever_has_the_value_can_submit_for_the_slot_at_once() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let output = TaskOutput::new();
    for _ in 0..500 {
        let task = handle.add(counter(&output)).expect("the slot is free");
        assert_eq!(output.wait(&task).unwrap(), 1);
    }
}

#[test]
fn a_body_that_fails_for_want_of_a_value_says_why() {
    let supervisor = Supervisor::builder().start().unwrap();
    let body = |ctx: &TaskContext| {
        let inner = TaskOutput::<u8>::new();
        let fails = TaskSpec::once("inner", inner.fill_once(|_| Err("no carrier")?));
        inner.wait(&ctx.handle().add(fails)?)?;
        Ok(())
    };
    let task = supervisor.handle().add(TaskSpec::once("outer", body)).unwrap();
    let text = "failed: the task did not complete: failed: no carrier";
    assert_eq!(outcome_of(&task).to_string(), text);
}
