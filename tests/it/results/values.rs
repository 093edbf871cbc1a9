//! Which value is there, and from when on.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::{AddError, TaskOutput, TaskOutputError};

use super::counter;
use crate::support::{next, no_op, outcome_of, resident, Gate, Rig};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_value_is_there_when_the_outcome_is() {
    let rounds = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for round in 0..rounds {
        let output = TaskOutput::new();
        let task = handle.add(TaskSpec::once("round", output.fill_once(move |_| Ok(round))));
        // The outcome may be there already, or still come.
        assert!(outcome_of(&task.unwrap()).is_success());
        assert_eq!(output.take(), Some(round));
    }
}

#[test]
fn the_value_is_there_when_the_success_is_an_event() {
    let output = Arc::new(TaskOutput::new());
    let (seen, values) = unbounded();
    let place = Arc::clone(&output);
    let look = move |event: &Event| {
        if matches!(event.kind, EventKind::AttemptSucceeded { .. }) {
            let _ = seen.send(place.take());
        }
    };
    let supervisor = Supervisor::builder().on_event(look).start().unwrap();
    let task = supervisor.handle().add(TaskSpec::new("a", output.fill(|_| Ok(1)))).unwrap();
    assert_eq!(next(&values), Some(1));
    assert!(matches!(output.wait(&task), Err(TaskOutputError::Taken)));
}

#[test]
fn after_retries_it_is_the_value_of_the_attempt_that_succeeded() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let spec = TaskSpec::new(
        "third time",
        output.fill(|ctx| match ctx.attempt() {
            3 => Ok(ctx.attempt()),
            attempt => Err(format!("attempt {attempt}"))?,
        }),
    );
    let task = supervisor.handle().add(spec.backoff(BackoffPolicy::constant(MS))).unwrap();
    assert_eq!(output.wait(&task).unwrap(), 3);
}

#[test]
fn of_a_task_that_runs_again_and_again_the_newest_value_is_there() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let spec = TaskSpec::new(
        "always",
        output.fill(|ctx| match ctx.attempt() {
            7 => Err(TaskError::fatal("enough")),
            attempt => Ok(attempt),
        }),
    );
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Always)).unwrap();
    assert!(outcome_of(&task).is_fatal());
    assert_eq!((output.take(), output.take()), (Some(6), None));
}

#[test]
fn a_failure_and_a_panic_leave_the_older_value() {
    for (name, ends_panicked) in [("fails", false), ("panics", true)] {
        let supervisor = Supervisor::builder().start().unwrap();
        let output = TaskOutput::new();
        let body = output.fill(move |ctx| match ctx.attempt() {
            1 => Ok("old"),
            _ if ends_panicked => std::panic::resume_unwind(Box::new("ouch")),
            _ => Err("boom")?,
        });
        let spec = TaskSpec::new(name, body).restart(RestartPolicy::Always).max_retries(0);
        let task = supervisor.handle().add(spec).unwrap();
        let outcome = outcome_of(&task);
        assert_eq!((outcome.is_failed(), outcome.is_panicked()), (!ends_panicked, ends_panicked));
        let error = output.wait(&task).unwrap_err();
        assert!(matches!(error, TaskOutputError::NotCompleted(NotCompleted(_))), "{error}");
        assert_eq!(output.take(), Some("old"));
    }
}

#[test]
fn a_body_that_is_stopped_and_returns_ok_leaves_its_value() {
    let rig = Rig::new();
    let output = TaskOutput::new();
    let body = output.fill_once(|ctx| {
        let _ = ctx.sleep(Duration::MAX);
        Ok("flushed")
    });
    let task = rig.handle.add(TaskSpec::once("flusher", body)).unwrap();
    assert!(task.wait_started().unwrap());
    task.cancel();
    let error = output.wait(&task).unwrap_err();
    let TaskOutputError::NotCompleted(NotCompleted(outcome)) = error else { panic!("{error}") };
    assert!(matches!(outcome, Outcome::Cancelled { returned: Some(Ok(())), .. }), "{outcome}");
    assert_eq!(output.take(), Some("flushed"));
}

#[test]
fn a_body_that_is_told_to_restart_and_returns_ok_leaves_its_value() {
    let rig = Rig::new();
    let output = TaskOutput::new();
    let spec = TaskSpec::new(
        "reloads",
        output.fill(|ctx| {
            if ctx.attempt() == 1 {
                let _ = ctx.sleep(Duration::MAX);
                return Ok(ctx.attempt());
            }
            Err(TaskError::fatal("the second attempt"))
        }),
    );
    let task = rig.handle.add(spec).unwrap();
    assert!(task.wait_started().unwrap());
    assert!(task.restart());
    assert!(outcome_of(&task).is_fatal());
    assert_eq!(output.take(), Some(1));
}

#[test]
fn a_body_that_is_told_of_its_deadline_leaves_nothing() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let body = output.fill(|ctx| {
        let _ = ctx.sleep(Duration::MAX);
        Ok("late")
    });
    let spec = TaskSpec::new("late", body).timeout(MS).max_retries(0);
    let task = supervisor.handle().add(spec).unwrap();
    assert!(outcome_of(&task).is_timed_out());
    assert_eq!(output.take(), None);
}

#[test]
fn a_body_that_is_told_it_is_unresponsive_leaves_nothing() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let body = output.fill(|ctx| {
        let _ = ctx.sleep(Duration::MAX);
        Ok("silent")
    });
    let spec = TaskSpec::new("silent", body).watchdog(4 * MS).max_retries(0);
    let spec = spec.watchdog_policy(WatchdogPolicy::Cancel);
    let task = supervisor.handle().add(spec).unwrap();
    assert!(outcome_of(&task).is_unresponsive());
    assert_eq!(output.take(), None);
}

#[test]
fn the_value_of_a_retry_counts_and_not_that_of_the_attempt_that_was_released() {
    let (rig, mut gate) = (Rig::new(), Gate::new());
    let (output, hold) = (TaskOutput::new(), gate.hold());
    let body = output.fill_shared(move |ctx| {
        if ctx.attempt() == 1 {
            hold();
        }
        Ok(ctx.attempt())
    });
    let spec = TaskSpec::shared("shared", body).timeout(MS).grace(Duration::ZERO);
    let spec = spec.abandon_policy(AbandonPolicy::Release);
    let task = rig.handle.add(spec.backoff(BackoffPolicy::constant(MS))).unwrap();
    // On a busy machine the second attempt may be too slow as well.
    assert!(output.wait(&task).unwrap() > 1);
    gate.open();
    rig.until(&task, "attempt_returned 1: ok");
    assert_eq!(output.take(), None, "a value of the attempt that was abandoned");
}

#[test]
fn a_task_that_never_ran_has_no_value() {
    let supervisor = Supervisor::builder().max_slot_queue(1).start().unwrap();
    let handle = supervisor.handle();
    handle.add(resident("owner").slot("bus")).unwrap();
    let output = TaskOutput::new();
    let one = |name: &str| TaskSpec::new(name, output.fill(|_| Ok(1))).slot("bus");

    let refused = handle.add(one("refused")).unwrap_err();
    assert!(matches!(refused, AddError::Rejected { why: Rejection::SlotBusy { .. }, .. }));
    let expired = handle.submit(one("hasty").expires_in(MS), AdmissionPolicy::Queue).unwrap();
    assert!(matches!(outcome_of(&expired), Outcome::Rejected(Rejection::Expired)));
    let superseded = handle.submit(one("first"), AdmissionPolicy::Queue).unwrap();
    let _newest = handle.submit(one("second"), AdmissionPolicy::KeepLatest).unwrap();
    for task in [expired, superseded] {
        let error = output.wait(&task).unwrap_err();
        let TaskOutputError::NotCompleted(NotCompleted(outcome)) = error else { panic!("{error}") };
        assert!(outcome.is_rejected(), "{outcome}");
    }
    assert_eq!(output.take(), None);
}

#[test]
fn a_spec_that_was_given_back_can_be_added_again() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let owner = handle.add(resident("owner").slot("bus")).unwrap();
    let output = TaskOutput::new();
    let refused = handle.add(counter(&output).slot("bus")).unwrap_err();
    let AddError::Rejected { spec, .. } = refused else { panic!("{refused}") };
    owner.cancel();
    assert!(owner.wait().unwrap().is_cancelled());
    assert_eq!(output.wait(&handle.add(spec).unwrap()).unwrap(), 1);
}

#[test]
fn a_value_can_be_taken_after_run() {
    let output = TaskOutput::new();
    let report = Supervisor::builder().start().unwrap().run([counter(&output)]).unwrap();
    assert_eq!((report.exit_code(), output.take()), (0, Some(1)));
}

#[test]
fn the_output_outlives_the_supervisor() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let task = supervisor.handle().add(counter(&output)).unwrap();
    assert!(outcome_of(&task).is_success());
    drop(supervisor);
    assert_eq!(output.wait(&task).unwrap(), 1);
}

#[test]
fn a_task_without_a_slot_has_a_value() {
    let supervisor = Supervisor::builder().start().unwrap();
    let outputs: Vec<_> = (0..8).map(|_| TaskOutput::new()).collect();
    let specs = outputs.iter().map(|output| counter(output).no_slot());
    let tasks = supervisor.handle().add_all(specs).unwrap();
    for (output, task) in outputs.iter().zip(&tasks) {
        assert_eq!(output.wait(task).unwrap(), 1);
    }
}

#[test]
fn several_tasks_may_fill_one_output_and_each_gets_only_its_own() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let output = TaskOutput::new();
    let first = handle.add(TaskSpec::new("first", output.fill(|_| Ok("first")))).unwrap();
    assert!(outcome_of(&first).is_success());
    let second = handle.add(TaskSpec::new("second", output.fill(|_| Ok("second")))).unwrap();
    assert!(outcome_of(&second).is_success());
    assert!(matches!(output.wait(&first), Err(TaskOutputError::WrongTask)));
    assert_eq!(output.wait(&second).unwrap(), "second");
}

#[test]
fn the_handle_of_another_task_gets_nothing() {
    let supervisor = Supervisor::builder().start().unwrap();
    let other_supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let task = supervisor.handle().add(counter(&output)).unwrap();
    assert!(outcome_of(&task).is_success());
    let other = supervisor.handle().add(no_op("other")).unwrap();
    // The first task of another supervisor.
    let foreign = other_supervisor.handle().add(counter(&TaskOutput::new())).unwrap();
    for wrong in [other, foreign] {
        assert!(matches!(output.wait(&wrong), Err(TaskOutputError::WrongTask)));
    }
    assert_eq!(output.wait(&task).unwrap(), 1);
}

#[test]
fn a_task_that_completes_without_filling_it_is_the_wrong_one() {
    let supervisor = Supervisor::builder().start().unwrap();
    let output = TaskOutput::new();
    let mut fails = output.fill(|_| -> TaskResult<()> { Err("boom")? });
    let spec = TaskSpec::new("careless", move |ctx| {
        assert!(fails(ctx).is_err());
        Ok(())
    });
    let task = supervisor.handle().add(spec).unwrap();
    assert!(matches!(output.wait(&task), Err(TaskOutputError::WrongTask)));
}

#[test]
fn a_body_within_a_body_counts_as_well_and_can_still_be_told() {
    let rig = Rig::new();
    let output = TaskOutput::new();
    let mut inner = output.fill(|ctx| Ok(ctx.attempt()));
    let (filled, waits) = bounded(1);
    let spec = TaskSpec::new("outer", move |ctx| {
        inner(ctx)?;
        filled.send(())?;
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let task = rig.handle.add(spec).unwrap();
    next(&waits);
    assert_eq!(output.take(), Some(1));
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: None, .. }));
}
