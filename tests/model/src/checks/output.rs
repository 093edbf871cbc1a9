//! The output of a task: a value is had once, by somebody who waits, whoever comes first.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::{record_of, Stage};
use crate::api::task_output::TaskOutput;
use crate::output::error::{TaskResult, WaitError};
use crate::output::outcome::Outcome;
use crate::platform::manual::{Manual, Seat};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::cell::{Allowance, Cell};
use crate::task::class_names::ClassNames;
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::Door;
use crate::vocabulary::answer::AbandonAnswer;
use crate::vocabulary::id::TaskKey;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::every("output: a take meets a fill", a_take_meets_a_fill),
    Check::every("output: the value is there before the outcome", before_the_outcome),
    Check::some("output: two waiters, two values", 3000, two_waiters_two_values),
    Check::some("output: a wait ends with the last body", 3000, a_wait_ends_with_the_last_body),
    Check::some("output: a fill meets the end of its output", 1500, a_fill_meets_the_end),
    Check::some("output: a fill meets an abandonment", 3000, a_fill_meets_an_abandonment),
    Check::some("output: a fill meets a deadline", 3000, a_fill_meets_a_deadline),
    Check::some("output: a parked wait and a value", 3000, a_parked_wait_and_a_value),
    Check::some("output: a parked wait, a value and a tell", 3000, a_parked_wait_and_a_tell),
];

/// A value that counts how often it is dropped.
struct Counted(u32, Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

fn context(stage: &Stage) -> TaskContext {
    TaskContext::new(Arc::clone(&stage.cell), 0, None)
}

/// Runs a body of that attempt on its own thread.
fn fill(
    stage: &Stage,
    body: impl FnOnce(&TaskContext) -> TaskResult + Send + 'static,
) -> thread::JoinHandle<()> {
    let ctx = context(stage);
    thread::spawn(move || assert!(body(&ctx).is_ok()))
}

fn a_take_meets_a_fill() {
    let (stage, drops) = (Stage::running(), Arc::new(AtomicU32::new(0)));
    let output = TaskOutput::new();
    let mut body = output.fill({
        let drops = Arc::clone(&drops);
        let mut number = 0;
        move |_| {
            number += 1;
            Ok(Counted(number, Arc::clone(&drops)))
        }
    });
    let worker = fill(&stage, move |ctx| {
        body(ctx)?;
        body(ctx)
    });
    let taken = [output.take(), output.take()].map(|value| value.map(|value| value.0));
    worker.join().unwrap();
    let left = output.take().map(|value| value.0);
    let seen: Vec<_> = taken.into_iter().chain([left]).flatten().collect();
    assert!(seen == [1, 2] || seen == [2], "{seen:?}");
    drop(output);
    assert_eq!(drops.load(Ordering::SeqCst), 2, "each is dropped once");
}

fn before_the_outcome() {
    let stage = Stage::running();
    let output = TaskOutput::new();
    let worker = {
        let (body, record) = (output.fill_once(|_| Ok(1)), Arc::clone(&stage.cell.record));
        fill(&stage, move |ctx| {
            body(ctx)?;
            record.end(Outcome::Completed);
            Ok(())
        })
    };
    assert!(stage.cell.record.wait(Duration::MAX).is_some());
    assert_eq!(output.take(), Some(1));
    worker.join().unwrap();
}

/// No waiter sleeps while there is a value, and each value is had once or replaced.
fn two_waiters_two_values() {
    let stage = Stage::running();
    let output = Arc::new(TaskOutput::new());
    let mut number = 0;
    let mut body = output.fill(move |_| {
        number += 1;
        Ok(number)
    });
    let waiters = [0; 2].map(|_| {
        let output = Arc::clone(&output);
        thread::spawn(move || output.wait_value(Duration::MAX))
    });
    let worker = fill(&stage, move |ctx| {
        body(ctx)?;
        body(ctx)
    });
    worker.join().unwrap();
    let mut got = waiters.map(|waiter| waiter.join().unwrap());
    got.sort_by_key(|got| got.ok().flatten());
    let both = [Ok(Some(1)), Ok(Some(2))];
    assert!(got == both || got == [Err(WaitError::Closed), Ok(Some(2))], "{got:?}");
}

fn a_wait_ends_with_the_last_body() {
    let output = Arc::new(TaskOutput::<u32>::new());
    let bodies = [0; 2].map(|_| output.fill(|_| Ok(1)));
    let waiter = Arc::clone(&output);
    let waiter = thread::spawn(move || waiter.wait_value(Duration::MAX));
    let droppers = bodies.map(|body| thread::spawn(move || drop(body)));
    assert_eq!(waiter.join().unwrap(), Err(WaitError::Closed));
    for dropper in droppers {
        dropper.join().unwrap();
    }
}

/// Whoever comes last drops the value.
fn a_fill_meets_the_end() {
    let (stage, drops) = (Stage::running(), Arc::new(AtomicU32::new(0)));
    let output = TaskOutput::new();
    let counted = Arc::clone(&drops);
    let body = output.fill_once(move |_| Ok(Counted(1, counted)));
    let worker = fill(&stage, body);
    drop(output.take());
    drop(output);
    worker.join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// Once somebody knows that an attempt was abandoned, its value never comes.
fn a_fill_meets_an_abandonment() {
    let stage = Stage::running();
    let output = TaskOutput::new();
    let body = output.fill_once(|_| Ok(1));
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let worker = fill(&stage, body);
    assert!(matches!(stage.cell.abandon(), AbandonAnswer::Abandoned { .. }));
    let then = output.take();
    worker.join().unwrap();
    assert!(then.is_some() || output.take().is_none(), "it came after the abandonment");
}

fn a_fill_meets_a_deadline() {
    let stage = Stage::claimed(Allowance {
        timeout: Some(Duration::ZERO),
        max_timeout: None,
        ready_within: None,
    });
    let output = TaskOutput::new();
    let body = output.fill_once(|_| Ok(1));
    let worker = fill(&stage, body);
    let now = stage.cell.clock().now();
    let _ = stage.cell.tell(CancelReason::Timeout, now, Time::NEVER);
    assert!(stage.cell.is_told());
    let then = output.take();
    worker.join().unwrap();
    assert!(then.is_some() || output.take().is_none(), "it came after the deadline was told");
}

fn a_parked_wait_and_a_value() {
    assert_eq!(a_parked_wait(false), Ok(Some(1)));
}

fn a_parked_wait_and_a_tell() {
    let found = a_parked_wait(true);
    assert!(matches!(found, Ok(Some(1)) | Err(WaitError::Cancelled(_))), "{found:?}");
}

/// On a manual clock: whatever wakes the body takes its mark away.
fn a_parked_wait(told: bool) -> Result<Option<u32>, WaitError> {
    let seat = Arc::new(Seat::new(Arc::new(Manual::default())));
    let (door, inbox) = Door::new(ModelClock::manual(Arc::clone(&seat)), 1, ClassNames::default());
    let attempt = || {
        let record = record_of(&door);
        record.set_key(TaskKey(0));
        let load = super::load(super::body(), Allowance::default());
        let cell = Arc::new(Cell::offer(record, super::attempt(1), load));
        assert!(cell.claim(&super::me()).is_some());
        cell
    };
    let (filling, waiting) = (attempt(), attempt());
    let output = TaskOutput::new();
    let body = output.fill_once(|_| Ok(1));
    let unused = output.fill_once(|_| Ok(2));
    let waiter = {
        let (cell, seat) = (Arc::clone(&waiting), Arc::clone(&seat));
        thread::spawn(move || {
            let ctx = TaskContext::new(Arc::clone(&cell), 0, None);
            let here = (cell.enter_body(), current::enter(ctx.token()));
            let found = output.wait_value(Duration::MAX);
            assert_eq!(seat.parked(), 0, "a body that runs counts as parked");
            drop(here);
            found
        })
    };
    let ctx = TaskContext::new(filling, 0, None);
    let filler = thread::spawn(move || {
        drop(unused);
        assert!(body(&ctx).is_ok());
    });
    if told {
        waiting.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    }
    filler.join().unwrap();
    let found = waiter.join().unwrap();
    assert_eq!(seat.parked(), 0);
    drop(inbox);
    found
}
