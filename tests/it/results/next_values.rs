//! Waits for the next value, without an outcome.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, select, unbounded, Sender};
use threadvisor::prelude::*;
use threadvisor::{TaskOutput, WaitError};

use super::counter;
use crate::clock::{secs, started};
use crate::support::{in_time, next, no_op, on_thread, outcome_of, resident, Gate, WATCHDOG};

const MS: Duration = Duration::from_millis(1);

/// A task that returns each number it is sent.
fn echo(output: &TaskOutput<u32>) -> (TaskSpec, Sender<u32>) {
    let (send, numbers) = unbounded::<u32>();
    let body = output.fill(move |ctx| {
        let number = select! {
            recv(numbers) -> number => number.map_err(|_| TaskError::fatal("no more"))?,
            recv(ctx.cancelled()) -> _ => return Err(ctx.check().unwrap_err().into()),
        };
        Ok(number)
    });
    (TaskSpec::new("echo", body).restart(RestartPolicy::Always), send)
}

#[test]
fn each_value_of_a_task_that_never_ends_can_be_waited_for() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let (spec, send) = echo(&output);
    supervisor.handle().add(spec).unwrap();
    for number in 0..100 {
        send.send(number).unwrap();
        assert_eq!(output.wait_value(WATCHDOG), Ok(Some(number)));
    }
    for span in [Duration::ZERO, MS] {
        assert_eq!(output.wait_value(span), Ok(None));
    }
}

#[test]
fn each_value_goes_to_one_of_those_that_wait() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = Arc::new(TaskOutput::new());
    let (spec, send) = echo(&output);
    supervisor.handle().add(spec).unwrap();
    let (got, values) = unbounded();
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let (output, got) = (Arc::clone(&output), got.clone());
            on_thread(move || {
                while let Ok(Some(value)) = output.wait_value(Duration::MAX) {
                    got.send(value).unwrap();
                }
            })
        })
        .collect();
    for number in 0..200 {
        send.send(number).unwrap();
        assert_eq!(next(&values), number);
    }
    drop(send);
    for waiter in waiters {
        next(&waiter);
    }
    assert!(values.is_empty());
}

#[test]
fn a_wait_ends_when_no_body_is_left_that_could_fill_it() {
    let output = TaskOutput::<u64>::new();
    assert_eq!(output.wait_value(Duration::MAX), Err(WaitError::Closed), "no body yet");
    let supervisor = Supervisor::builder().start().unwrap();
    let body = output.fill(|ctx| Ok(ctx.sleep(Duration::MAX).map(|()| 0)?));
    let task = supervisor.handle().add(TaskSpec::new("resident", body)).unwrap();
    let output = Arc::new(output);
    let waiter = Arc::clone(&output);
    let waiter = on_thread(move || waiter.wait_value(Duration::MAX));
    assert_eq!(output.wait_value(MS), Ok(None));
    task.cancel();
    assert_eq!(next(&waiter), Err(WaitError::Closed));
}

#[test]
fn a_wait_ends_when_the_supervisor_does() {
    let output = Arc::new(TaskOutput::<u64>::new());
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let spec = |name: &str| TaskSpec::new(name, output.fill(|ctx| Ok(ctx.attempt())));
    // One that waits for its first attempt, and one that never ran.
    handle.add(spec("waits").initial_delay(secs(3600))).unwrap();
    handle.add(resident("owner").slot("bus")).unwrap();
    handle.submit(spec("queued").slot("bus"), AdmissionPolicy::Queue).unwrap();
    let waiter = Arc::clone(&output);
    let waiter = on_thread(move || waiter.wait_value(Duration::MAX));
    drop(supervisor);
    assert_eq!(next(&waiter), Err(WaitError::Closed));
}

#[test]
fn a_wait_ends_when_the_spec_is_dropped() {
    let output = Arc::new(TaskOutput::<u64>::new());
    let spec = counter(&output);
    let waiter = Arc::clone(&output);
    let waiter = on_thread(move || waiter.wait_value(Duration::MAX));
    assert_eq!(output.wait_value(MS), Ok(None));
    drop(spec);
    assert_eq!(next(&waiter), Err(WaitError::Closed));
}

#[test]
fn the_last_value_is_there_even_if_no_body_is_left() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    assert!(outcome_of(&supervisor.handle().add(counter(&output)).unwrap()).is_success());
    drop(supervisor);
    assert_eq!(output.wait_value(Duration::MAX), Ok(Some(1)));
    assert_eq!(output.wait_value(Duration::MAX), Err(WaitError::Closed));
}

#[test]
fn the_wait_of_a_body_ends_with_its_cancel() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let output = TaskOutput::new();
    let (spec, _send) = echo(&output);
    handle.add(spec).unwrap();
    let waiter = move |_: &TaskContext| {
        output.wait_value(Duration::MAX)?;
        Ok(())
    };
    let waiter = handle.add(TaskSpec::new("waiter", waiter)).unwrap();
    assert!(waiter.wait_started().unwrap());
    waiter.cancel();
    let outcome = outcome_of(&waiter);
    assert!(matches!(outcome, Outcome::Cancelled { returned: None, .. }), "{outcome:?}");
}

#[test]
fn a_body_may_wait_for_the_values_of_another() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let numbers = TaskOutput::new();
    let (spec, send) = echo(&numbers);
    handle.add(spec).unwrap();
    let sum = TaskOutput::new();
    let (step, steps) = bounded(0);
    let body = sum.fill_once(move |_| {
        let mut sum = 0;
        while let Some(number) = numbers.wait_value(WATCHDOG)?.filter(|&number| number > 0) {
            sum += number;
            step.send(())?;
        }
        Ok(sum)
    });
    let task = handle.add(TaskSpec::once("sum", body)).unwrap();
    for number in [1, 2, 3] {
        send.send(number).unwrap();
        next(&steps);
    }
    send.send(0).unwrap();
    assert_eq!(sum.wait(&task).unwrap(), 6);
}

/// On a manual clock a body that waits for a value is parked, so the clock can move on to the
/// moment at which the value comes, and past the limit of the wait.
#[test]
fn a_body_that_waits_for_a_value_lets_a_manual_clock_move_on() {
    let (clock, supervisor) = started(|builder| builder);
    let handle = supervisor.handle();
    let output = TaskOutput::new();
    handle.add(counter(&output).initial_delay(secs(1)).every(secs(2))).unwrap();
    let (got, values) = unbounded();
    let now = clock.clone();
    let body = move |_: &TaskContext| loop {
        let value = output.wait_value(Duration::from_millis(1500))?;
        got.send((now.now(), value))?;
    };
    handle.add(TaskSpec::new("consumer", body)).unwrap();
    clock.advance(secs(4));
    let at = |time: u64, value| (Duration::from_millis(time), value);
    let expected = [at(1000, Some(1)), at(2500, None), at(3000, Some(2))];
    assert_eq!(values.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_parked_wait_ends_when_no_body_is_left() {
    let (clock, supervisor) = started(|builder| builder);
    let handle = supervisor.handle();
    let output = TaskOutput::<u64>::new();
    let body = output.fill(|ctx| Ok(ctx.sleep(Duration::MAX).map(|()| 0)?));
    let resident = handle.add(TaskSpec::new("resident", body)).unwrap();
    let (told, errors) = bounded(1);
    let waiter = move |_: &TaskContext| Ok(told.send(output.wait_value(secs(60)))?);
    handle.add(TaskSpec::new("waiter", waiter)).unwrap();
    clock.settle();
    resident.cancel();
    assert_eq!(next(&errors), Err(WaitError::Closed));
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn a_helper_thread_of_a_body_may_wait() {
    let supervisor = Supervisor::builder().start().unwrap();
    let mut gate = Gate::new();
    let hold = gate.hold();
    let output = TaskOutput::new();
    let body = output.fill(move |_| {
        hold();
        Ok(1)
    });
    supervisor.handle().add(TaskSpec::new("slow", body)).unwrap();
    gate.wait_entered();
    let sum = TaskOutput::new();
    let body = sum.fill_once(move |_| {
        let helped = thread::scope(|scope| scope.spawn(|| output.wait_value(WATCHDOG)).join());
        Ok(helped.map_err(|_| "a panic")??)
    });
    let task = supervisor.handle().add(TaskSpec::once("helped", body)).unwrap();
    assert!(task.wait_started().unwrap());
    gate.open();
    assert_eq!(in_time(move || sum.wait(&task)).unwrap(), Some(1));
}

#[test]
fn the_end_of_another_task_wakes_nobody_for_good() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let output = Arc::new(TaskOutput::new());
    let (spec, send) = echo(&output);
    handle.add(spec).unwrap();
    let waiter = Arc::clone(&output);
    let waiter = on_thread(move || waiter.wait_value(Duration::MAX));
    // Bodies that could have filled it come and go.
    for _ in 0..20 {
        drop(counter_of(&output));
        assert!(outcome_of(&handle.add(no_op("other")).unwrap()).is_success());
    }
    assert!(waiter.is_empty());
    send.send(7).unwrap();
    assert_eq!(next(&waiter), Ok(Some(7)));
}

fn counter_of(output: &TaskOutput<u32>) -> TaskSpec {
    TaskSpec::new("unused", output.fill(|_| Ok(0)))
}
