//! Waits that end without what was waited for.

use std::panic;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{ManualClock, RecvError};

use super::Table;
use crate::support::{outcome_of, resident};

#[test]
fn of_a_body_or_a_caller() {
    let mut table = Table::new("waits");
    let (ctx, canceller) = TaskContext::detached();
    canceller.cancel_for(CancelReason::Timeout);
    let told = ctx.check().unwrap_err();
    table.row("Cancelled", told);
    let left = Duration::from_millis(1500);
    for (what, error) in [
        ("ExtendError::BeyondMaxTimeout", ExtendError::BeyondMaxTimeout { left }),
        ("ExtendError::Cancelled", ExtendError::Cancelled(told)),
        ("ExtendError::NoMaxTimeout", ExtendError::NoMaxTimeout),
    ] {
        table.row(what, error);
    }
    table.row("RecvError::Cancelled", RecvError::Cancelled(told));
    table.row("RecvError::Disconnected", RecvError::Disconnected);
    for (what, error) in [
        ("WaitError::Cancelled", WaitError::Cancelled(told)),
        ("WaitError::Closed", WaitError::Closed),
        ("WaitError::NotReady", WaitError::NotReady),
        ("WaitError::WouldDeadlock", WaitError::WouldDeadlock),
    ] {
        table.row(what, error);
    }
    let failed = Outcome::Failed { error: TaskError::fail("no such device") };
    for (what, error) in [
        ("TaskOutputError::NotCompleted", failed.into_result().unwrap_err().into()),
        ("TaskOutputError::Taken", TaskOutputError::Taken),
        ("TaskOutputError::Wait", TaskOutputError::Wait(WaitError::Closed)),
        ("TaskOutputError::WrongTask", TaskOutputError::WrongTask),
    ] {
        table.row(what, error);
    }
    table.check();
}

#[test]
fn of_a_manual_clock() {
    let mut table = Table::new("manual_clock");
    let clock = ManualClock::new();
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let own = clock.clone();
    let advances = TaskSpec::once("advances", move |_| Ok(own.try_advance(Duration::ZERO)?));
    let outcome = outcome_of(&supervisor.handle().add(advances).unwrap());
    table.row("NotQuiet, in a body", outcome.error().unwrap());

    let waits = supervisor.handle().add(resident("waits")).unwrap();
    let too_early = panic::AssertUnwindSafe(|| clock.advance_until(&waits, Duration::from_secs(1)));
    let message = panic::catch_unwind(too_early).unwrap_err();
    table.row("advance_until, in vain", message.downcast_ref::<String>().unwrap());

    let impatient = ManualClock::new().patience(Duration::from_millis(50));
    let (_detached, _canceller) = TaskContext::detached_with(&impatient);
    let waited = impatient.try_advance(Duration::from_secs(1)).unwrap_err().to_string();
    let (before, after) = waited.split_once(':').unwrap_or((&waited, ""));
    table.row("NotQuiet, because of a body", format_args!("{before}:{after}"));
    table.check();
}
