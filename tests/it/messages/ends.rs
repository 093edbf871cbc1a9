//! How tasks end, and what the report of a supervisor says about that.

use std::fmt;
use std::io;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use super::Table;
use crate::support::{next, no_op, outcome_of, resident, Gate};

/// An error with a cause, as libraries make them.
#[derive(Debug)]
struct Reading(io::Error);

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the map")
    }
}

impl std::error::Error for Reading {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn boom() -> TaskError {
    TaskError::fail("no such device")
}

#[test]
fn of_a_task() {
    let mut table = Table::new("outcomes");
    let stop = StopReason::Stop;
    let cancelled = |returned| Outcome::Cancelled { reason: stop, returned };
    let (reason, late) = (CancelReason::Timeout, CancelReason::Shutdown);
    for (what, outcome) in [
        ("Outcome::Completed", Outcome::Completed),
        ("Outcome::Cancelled", cancelled(None)),
        ("Outcome::Cancelled, the body returned Ok", cancelled(Some(Ok(())))),
        ("Outcome::Cancelled, the body returned an error", cancelled(Some(Err(boom())))),
        ("Outcome::Failed", Outcome::Failed { error: boom() }),
        ("Outcome::Fatal", Outcome::Fatal { error: boom() }),
        ("Outcome::Panicked", Outcome::Panicked { error: boom() }),
        ("Outcome::TimedOut", Outcome::TimedOut { error: None }),
        ("Outcome::TimedOut, with an error", Outcome::TimedOut { error: Some(boom()) }),
        ("Outcome::Unresponsive", Outcome::Unresponsive { error: None }),
        ("Outcome::Unresponsive, with an error", Outcome::Unresponsive { error: Some(boom()) }),
        ("Outcome::Abandoned", Outcome::Abandoned { reason, stop: None }),
        ("Outcome::Abandoned, at the end", {
            Outcome::Abandoned { reason: late, stop: Some(StopReason::Shutdown) }
        }),
        ("Outcome::Rejected", Outcome::Rejected(Rejection::Removed)),
        ("Outcome::Lost", Outcome::Lost),
    ] {
        table.row(what, &outcome);
        if outcome.is_failed() {
            table.row("the same, as an error", outcome.into_result().unwrap_err());
        }
    }
    table.check();
}

/// The texts of errors that bodies return, and of those that the crate makes for them.
#[test]
fn of_an_attempt() {
    let mut table = Table::new("task_errors");
    let missing = io::Error::new(io::ErrorKind::NotFound, "no such file");
    table.row("an error with its cause", TaskError::from(Reading(missing)));
    table.row("TaskError::fatal", TaskError::fatal("no port configured"));
    table.row("TaskError::cancelled", TaskError::cancelled());

    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let (say, said) = bounded(9);
    let second = Duration::from_secs(1);
    let slow = |name: &str| {
        let say = say.clone();
        TaskSpec::new(name, move |ctx| {
            match ctx.last_failure() {
                Some(failure) => say.send(failure.to_string())?,
                None => drop(ctx.sleep(Duration::MAX)),
            }
            Ok(())
        })
        .backoff(BackoffPolicy::constant(second))
    };
    let silent = slow("silent").watchdog(second).watchdog_policy(WatchdogPolicy::Cancel);
    for (what, spec) in [
        ("a timeout", slow("slow").timeout(second)),
        ("ready_within", slow("late").ready_within(second)),
        ("a watchdog", silent),
    ] {
        supervisor.handle().add(spec).unwrap();
        clock.advance(Duration::from_secs(9));
        table.row(what, next(&said));
    }

    let refuses = ThreadOptions::new().on_start(|| Err(io::Error::other("needs CAP_SYS_NICE")));
    let supervisor = Supervisor::builder().start().unwrap();
    let urgent = no_op("urgent").dedicated_thread(refuses);
    let panics = TaskSpec::once("panics", |_| panic!("index out of bounds"));
    for (what, spec) in [("on_start of its thread", urgent), ("a panic", panics)] {
        let outcome = outcome_of(&supervisor.handle().add(spec).unwrap());
        table.row(what, outcome.error().unwrap());
    }
    table.check();
}

/// What the kernel knows of a stuck thread is on Linux only, and differs.
fn without_stall(report: &RunReport) -> String {
    let text = report.to_string();
    let lines = text.lines().map(|line| line.split_inclusive("\"in read\"").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn of_a_supervisor() {
    let mut table = Table::new("reports");
    let well = Supervisor::builder().start().unwrap().run([no_op("job")]).unwrap();
    table.row("all is well", well);

    let supervisor = Supervisor::builder().start().unwrap();
    let (say, said) = bounded(1);
    let flaky = TaskSpec::new("flaky", move |ctx| {
        if ctx.attempt() == 2 {
            say.send(())?;
            ctx.sleep(Duration::MAX)?;
        }
        Err("no answer".into())
    });
    let flaky = flaky.backoff(BackoffPolicy::constant(Duration::from_millis(1)));
    supervisor.handle().add(flaky).unwrap();
    next(&said);
    let line = GroupSpec::new("line").then(TaskSpec::new("driver", |_| Ok(())));
    supervisor.handle().add_group(line).unwrap().wait().unwrap();
    assert!(supervisor.handle().add(resident("flaky")).is_err());
    let fatal = |_: &TaskContext| Err(TaskError::fatal("no device").with_exit_code(78));
    let probe = supervisor.handle().add(TaskSpec::once("probe", fatal)).unwrap();
    assert!(outcome_of(&probe).is_failure());
    let text = supervisor.shutdown().unwrap().to_string();
    let (before, owner) = text.split_once("since second").unwrap_or((&text, ""));
    table.row("a failure, a task that was failing, a refusal, a group", before.to_owned() + owner);

    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let mut gate = Gate::new();
    let hold = gate.hold();
    let deaf = TaskSpec::new("deaf", move |ctx| {
        ctx.mark("in read");
        hold();
        Ok(())
    });
    supervisor.handle().add(deaf).unwrap();
    gate.wait_entered();
    let report = supervisor.shutdown().unwrap();
    table.row("a body that does not return", without_stall(&report));
    gate.open();

    let supervisor = Supervisor::builder().max_slot_queue(1).start().unwrap();
    let mut gate = Gate::new();
    for name in ["a", "b", "c"] {
        let spec = TaskSpec::new(name, gate.body()).slot("disk");
        let task = supervisor.handle().submit(spec, AdmissionPolicy::Queue).unwrap();
        let _ = task.wait_decided().unwrap();
    }
    gate.open();
    table.row("no room", supervisor.run([]).unwrap());
    table.check();
}

/// Ends that a test cannot bring about without losing its own process.
#[cfg(feature = "serde")]
#[test]
fn of_a_process() {
    let mut table = Table::new("reports_of_other_ends");
    let report = Supervisor::builder().start().unwrap().run([no_op("job")]).unwrap();
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"cause\":\"idle\"") && json.contains("\"cut_short\":0"), "{json}");
    for (what, cause) in
        [("interrupted", r#""cause":{"signal":2}"#), ("a bug", r#""cause":"controller_panicked""#)]
    {
        let json = json.replace("\"cut_short\":0", "\"cut_short\":2");
        let json = json.replace("\"cause\":\"idle\"", cause);
        table.row(what, serde_json::from_str::<RunReport>(&json).unwrap());
    }
    table.check();
}
