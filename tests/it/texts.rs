//! What people read: errors with all their causes, and texts of users that stay on their line.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;

use crate::support::{next, outcome_of, resident, Rig};

/// An error as libraries make them: it says what was done, and its source says what went wrong.
#[derive(Debug)]
struct Reading(io::Error);

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the map")
    }
}

impl Error for Reading {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn missing() -> Reading {
    Reading(io::Error::new(io::ErrorKind::NotFound, "no such file"))
}

#[test]
fn the_cause_of_an_error_is_told_wherever_the_error_is() {
    let rig = Rig::new();
    let retried = TaskSpec::new("retried", |_| Err(missing().into()))
        .backoff(BackoffPolicy::constant(Duration::from_secs(3600)));
    let retried = rig.handle.add(retried).unwrap();
    let event = rig.until(&retried, "attempt_failed 1: reading the map: no such file");
    let pair = "error=\"reading the map: no such file\"";
    assert!(event.to_string().ends_with(pair), "{event}");
    let snapshot = rig.handle.snapshot().unwrap().to_string();
    assert!(snapshot.contains("last failure: reading the map: no such file"), "{snapshot}");

    let ends = rig.handle.add(TaskSpec::once("ends", |_| Err(missing().into()))).unwrap();
    let outcome = outcome_of(&ends);
    assert_eq!(outcome.to_string(), "failed: reading the map: no such file");
    assert_eq!(format!("{:#}", outcome.error().unwrap()), "reading the map: no such file");
    let report = rig.supervisor.shutdown().unwrap().to_string();
    assert!(report.contains(": failed: reading the map: no such file"), "{report}");
}

/// A line break, and what clears a terminal.
const ODD: &str = "a\nb\u{1b}[2J";
const SHOWN: &str = r"a\nb\u{1b}[2J";

/// Whether a text has the odd text, escaped, and nothing else that acts on a terminal.
#[track_caller]
fn check(text: &str, count: usize) {
    assert_eq!(text.matches(SHOWN).count(), count, "{text}");
    for line in text.lines() {
        assert!(!line.contains(char::is_control) && !line.starts_with('b'), "{text:?}");
    }
}

#[test]
fn names_errors_and_marks_are_escaped_in_every_text() {
    let rig = Rig::start(Supervisor::builder().grace(Duration::ZERO).thread_name(ODD));
    let (say, said) = unbounded();
    let (keep, gate) = bounded::<()>(0);
    let stuck = TaskSpec::new(ODD, move |ctx| {
        ctx.mark(ODD);
        say.send(())?;
        let _ = gate.recv();
        Ok(())
    });
    let stuck = rig.handle.add(stuck).unwrap();
    next(&said);
    let waits = TaskSpec::new("waits", |_| Err(ODD.into())).slot(format!("{ODD}2"));
    let waits = rig.handle.add(waits).unwrap();
    check(&rig.until(&waits, &format!("attempt_failed 1: {ODD}")).to_string(), 2);
    let snapshot = rig.handle.snapshot().unwrap();
    check(&snapshot.to_string(), 3);
    let seen = snapshot.task(stuck.id()).unwrap();
    assert_eq!(seen.thread.as_deref(), Some("w1-ab[2J"), "the system takes no control characters");
    check(&seen.mark.as_ref().unwrap().to_string(), 1);

    let busy = rig.handle.add(resident(ODD)).unwrap_err();
    check(&busy.to_string(), 1);
    check(&format!("{busy:?}"), 2);
    let invalid = rig.handle.submit(resident(ODD).timeout(Duration::ZERO), AdmissionPolicy::Queue);
    check(&invalid.unwrap_err().to_string(), 1);
    check(&resident("").slot(ODD).validate().unwrap_err().to_string(), 0);

    let fatal = TaskSpec::new(format!("{ODD}3"), |_| Err(TaskError::fatal(ODD)));
    let outcome = outcome_of(&rig.handle.add(fatal).unwrap());
    check(&outcome.to_string(), 1);
    let not_completed = outcome.into_result().unwrap_err();
    check(&not_completed.to_string(), 1);
    check(&format!("{not_completed:?}"), 1);
    let report = rig.supervisor.shutdown().unwrap();
    for event in rig.events() {
        let text = event.to_string();
        check(&text, text.matches(SHOWN).count());
    }
    // Two failures with their tasks, and one of them with a text; a task that was failing; the
    // refused one; the attempt that still runs, with its task and mark; and the exit code.
    check(&report.to_string(), 8);
    drop(keep);
}

/// A batch of a thousand must not fill the screen.
#[test]
fn an_error_that_gives_specs_back_names_some_and_counts_the_others() {
    let supervisor = Supervisor::builder().max_tasks(1).start().unwrap();
    let specs = (0..20).map(|n| TaskSpec::once(format!("task {n}"), |_| Ok(())));
    let error = supervisor.handle().add_all(specs).unwrap_err();
    let text = format!("{error:?}");
    let start =
        "task \"task 1\" was refused: the limit of 1 tasks is reached: wait for one to end, \
                 or raise max_tasks (handed back: [\"task 0\", ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("\"task 7\"] and 12 more)"), "{text}");
}

/// The looks of a watchdog are nothing that happens to a task.
#[test]
fn a_snapshot_says_what_comes_next_and_when() {
    let rig = Rig::new();
    let hour = Duration::from_secs(3600);
    let watched = rig.handle.add(resident("watched").watchdog(hour)).unwrap();
    let limited = rig.handle.add(resident("limited").watchdog(hour).timeout(2 * hour)).unwrap();
    let late = rig.handle.add(resident("late").initial_delay(hour)).unwrap();
    for task in [&watched, &limited] {
        rig.until(task, "attempt_starting 1");
    }
    let snapshot = rig.handle.snapshot().unwrap();
    assert_eq!(snapshot.task(watched.id()).unwrap().next_wake, None);
    let text = snapshot.to_string();
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("watched").ends_with(" s, attempt 1"), "{text}");
    assert!(line("limited").contains(", deadline in 7199."), "{text}");
    assert!(line("late").contains(", starts in 3599."), "{text}");
    late.cancel();
}
