//! A supervisor that does not start, and tasks that it does not take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{Closed, WouldDeadlock};

use super::Table;
use crate::support::{no_op, resident};

#[test]
fn of_a_start() {
    let mut table = Table::new("start");
    let system = || io::Error::new(io::ErrorKind::WouldBlock, "Resource temporarily unavailable");
    let invalid = no_op("").validate().unwrap_err();
    for (what, error) in [
        ("StartError::Invalid", StartError::Invalid(invalid)),
        ("StartError::Signals", StartError::Signals(system())),
        ("StartError::SignalBlocked", StartError::SignalBlocked(15.into())),
        ("StartError::Thread", {
            StartError::Thread { name: "ctl-threadvisor".to_owned(), source: system() }
        }),
        ("StartError::Unsupported, the service", StartError::Unsupported("service_manager")),
        ("StartError::Unsupported, a signal", StartError::Unsupported("on_signal")),
        ("StartError::Unsupported, signals", StartError::Unsupported("drain_on_signals")),
    ] {
        table.row(what, error);
    }
    table.check();
}

/// Why a task is refused, whether as an error, a decision, an outcome or an event.
#[test]
fn of_a_rejection() {
    let mut table = Table::new("rejections");
    let supervisor = Supervisor::builder().start().unwrap();
    let ids = ["a", "b"].map(|name| supervisor.handle().add(resident(name)).unwrap().id());
    let since = Duration::from_secs(3);
    for (what, why) in [
        ("Rejection::BatchRefused", Rejection::BatchRefused { culprit: ids[0] }),
        ("Rejection::Expired", Rejection::Expired),
        ("Rejection::GroupNameInUse", Rejection::GroupNameInUse),
        ("Rejection::GroupTooLarge", Rejection::GroupTooLarge { members: 5, limit: 4 }),
        ("Rejection::QueueFull", Rejection::QueueFull { depth: 100, limit: 100 }),
        ("Rejection::Removed", Rejection::Removed),
        ("Rejection::ShuttingDown", Rejection::ShuttingDown),
        ("Rejection::SlotBusy", Rejection::SlotBusy { owner: ids[0], since }),
        ("Rejection::SlotNamedTwice", Rejection::SlotNamedTwice { first: ids[0] }),
        ("Rejection::Superseded", Rejection::Superseded { by: ids[1] }),
        ("Rejection::TooManyAbandoned", Rejection::TooManyAbandoned { limit: 16 }),
        ("Rejection::TooManyTasks", Rejection::TooManyTasks { limit: 64 }),
    ] {
        table.row(what, why);
    }
    table.check();
}

#[test]
fn of_an_add_or_a_submit() {
    let mut table = Table::new("handing_over");
    let task: Arc<str> = Arc::from("sensor");
    let error = || no_op("").validate().unwrap_err();
    let (spec, why) = (|| no_op("sensor"), Rejection::TooManyTasks { limit: 64 });
    for (what, error) in [
        ("AddError::Closed", AddError::Closed { spec: spec() }),
        ("AddError::Invalid", AddError::Invalid { error: error(), spec: spec() }),
        ("AddError::Rejected", AddError::Rejected { task, why, spec: spec() }),
        ("AddError::WouldDeadlock", AddError::WouldDeadlock { spec: spec() }),
    ] {
        table.row(what, &error);
        if what == "AddError::Rejected" {
            table.row("the same, as `main` prints it", format_args!("{error:?}"));
        }
    }
    for (what, error) in [
        ("SubmitError::Closed", SubmitError::Closed { spec: spec() }),
        ("SubmitError::Full", SubmitError::Full { spec: spec() }),
        ("SubmitError::Invalid", SubmitError::Invalid { error: error(), spec: spec() }),
    ] {
        table.row(what, error);
    }
    table.row("Closed, of a snapshot", Closed);
    table.row("WouldDeadlock, of a shutdown", WouldDeadlock);
    table.check();
}
