//! Which values there may be, what the compiler infers, and what it costs those that have none.
#![allow(clippy::unnecessary_wraps, reason = "the functions stand for others that fail")]

use std::cell::Cell;
use std::error::Error;
use std::mem::size_of;

use threadvisor::prelude::*;
use threadvisor::{TaskOutput, TaskOutputError};

use crate::support::{no_op, outcome_of};

/// The value of a task that returns it.
fn through<T: Send + 'static>(value: T) -> T {
    let supervisor = Supervisor::builder().stack_size(32 << 20).start().unwrap();
    let output = TaskOutput::new();
    let spec = TaskSpec::once("value", output.fill_once(move |_| Ok(value)));
    output.wait(&supervisor.handle().add(spec).unwrap()).unwrap()
}

#[test]
fn a_value_may_be_of_any_type_that_can_be_sent() {
    through(());
    assert_eq!(through(Cell::new(1)).get(), 1, "not `Sync`");
    assert_eq!(through(String::from("text")), "text");
    assert!(through(Box::<dyn Error + Send + Sync>::from("boxed")).to_string() == "boxed");

    let supervisor = Supervisor::builder().start().unwrap();
    let task = through(supervisor.handle().add(no_op("task")).unwrap());
    assert!(outcome_of(&task).is_success());

    let inner = TaskOutput::new();
    let spec = TaskSpec::new("inner", inner.fill(|_| Ok(5)));
    let task = supervisor.handle().add(spec).unwrap();
    assert_eq!(through(inner).wait(&task).unwrap(), 5);
}

#[test]
#[allow(clippy::large_stack_arrays, reason = "that is what is tried")]
fn a_value_may_be_larger_than_a_usual_stack() {
    let large = std::thread::Builder::new().stack_size(64 << 20);
    let large = large.spawn(|| through([7_u8; 3 << 20])[(3 << 20) - 1]).unwrap();
    assert_eq!(large.join().unwrap(), 7);
}

#[test]
fn an_output_can_be_shared_and_moved_whatever_its_value_is() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<TaskOutput<Cell<u8>>>();
    is_send_and_sync::<TaskOutputError>();
}

#[test]
fn types_are_inferred_from_the_body_with_every_kind_of_error() {
    fn parses(text: &str) -> Result<u16, std::num::ParseIntError> {
        text.parse()
    }
    fn boxed() -> Result<u8, Box<dyn Error + Send + Sync>> {
        Ok(1)
    }
    let output = TaskOutput::new();
    let spec = TaskSpec::new(
        "inferred",
        output.fill(|ctx| {
            ctx.check()?;
            if ctx.attempt() > 1 {
                Err("text")?;
            }
            let port = parses("8080")?;
            let length = std::fs::metadata("/")?.len();
            Ok((port, boxed()?, length > 0))
        }),
    );
    let supervisor = Supervisor::builder().start().unwrap();
    let task = supervisor.handle().add(spec.slot("bus")).unwrap();
    assert_eq!(output.wait(&task).unwrap(), (8080, 1, true));
}

#[test]
fn a_function_that_names_the_context_is_a_body_as_well() {
    fn body(ctx: &TaskContext) -> TaskResult<u64> {
        Ok(ctx.attempt())
    }
    let (ctx, _canceller) = TaskContext::detached();
    let output = TaskOutput::new();
    output.fill(body)(&ctx).unwrap();
    output.fill_once(body)(&ctx).unwrap();
    output.fill_shared(body)(&ctx).unwrap();
    assert_eq!(output.take(), Some(1));
}

#[test]
fn a_question_mark_passes_the_error_on() {
    fn boxed(output: &TaskOutput<Cell<u8>>, task: &TaskHandle) -> Result<u8, Box<dyn Error>> {
        Ok(output.wait(task)?.get())
    }
    fn body(output: &TaskOutput<Cell<u8>>, task: &TaskHandle) -> TaskResult<u8> {
        Ok(output.wait(task)?.get())
    }
    let supervisor = Supervisor::builder().start().unwrap();
    let task = supervisor.handle().add(no_op("other")).unwrap();
    let output = TaskOutput::new();
    let texts = [
        boxed(&output, &task).unwrap_err().to_string(),
        body(&output, &task).unwrap_err().to_string(),
    ];
    assert_eq!(
        texts,
        [TaskOutputError::WrongTask.to_string(), TaskOutputError::WrongTask.to_string()]
    );
}

#[test]
fn the_debug_of_an_output_says_whether_there_is_a_value() {
    struct NotDebug;
    let (ctx, _canceller) = TaskContext::detached();
    let output = TaskOutput::default();
    assert_eq!(format!("{output:?}"), "TaskOutput { has_value: false, .. }");
    output.fill(|_| Ok(NotDebug))(&ctx).unwrap();
    assert_eq!(format!("{output:?}"), "TaskOutput { has_value: true, .. }");
}

#[test]
fn nobody_else_pays_for_it() {
    assert_eq!(size_of::<TaskOutput<[u8; 1000]>>(), size_of::<usize>());
    assert_eq!(size_of::<TaskSpec>(), size_of::<usize>());
    assert_eq!(size_of::<TaskHandle>(), size_of::<usize>());
    assert!(size_of::<TaskOutputError>() <= size_of::<Outcome>() + size_of::<usize>());
}
