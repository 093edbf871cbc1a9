//! Events, snapshots, reports and outcomes as JSON, and back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{from_value, json, to_value, Value};
use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{HookSource, Stall};

use crate::support::{no_op, outcome_of, resident, Gate, Rig};

const MS: Duration = Duration::from_millis(1);

/// No key and no name of a variant is anything but `snake_case`.
#[track_caller]
fn check_names(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(plain), "{name}");
                check_names(value);
            }
        }
        Value::Array(items) => items.iter().for_each(check_names),
        _ => {}
    }
}

/// The event says the same when it is read back.
#[track_caller]
pub(crate) fn check(event: &Event) {
    let written = to_value(event).unwrap();
    assert_eq!(written["event"], event.kind.label(), "{written}");
    check_names(&written);
    let back: Event = from_value(written.clone()).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(back.to_string(), event.to_string());
    assert_eq!(to_value(&back).unwrap(), written);
}

#[test]
fn an_event_is_flat_and_has_its_label() {
    let error = TaskError::fatal("no such device").with_exit_code(7);
    let kind = EventKind::AttemptFailed { attempt: 2, ran: 1500 * MS, error };
    let mut event = Event::sample(kind);
    event.seq = 9;
    let expected = json!({
        "seq": 9,
        "at": {"secs_since_epoch": 0, "nanos_since_epoch": 0},
        "since_start": {"secs": 0, "nanos": 0},
        "task": {"id": 1, "name": "sample", "slot": "sample"},
        "group": null,
        "event": "attempt_failed",
        "attempt": 2,
        "ran": {"secs": 1, "nanos": 500_000_000},
        "error": "no such device",
    });
    assert_eq!(to_value(&event).unwrap(), expected);
    let text = serde_json::to_string(&event).unwrap();
    let back: Event = serde_json::from_str(&text).unwrap();
    let EventKind::AttemptFailed { error, .. } = back.kind else { panic!("{back}") };
    // What it becomes: a failure with the same text.
    assert!(!error.is_fatal() && error.exit_code().is_none(), "{error}");
    assert_eq!(error.to_string(), "no such device");
}

#[test]
fn events_that_are_rare_read_back() {
    let mut stall = Stall::default();
    (stall.syscall, stall.state) = (Some("read".to_owned()), Some('S'));
    let refused = std::io::Error::new(std::io::ErrorKind::WouldBlock, "no thread");
    let returned = Some(Err(TaskError::from("flush failed")));
    let cancelled = Outcome::Cancelled { reason: StopReason::Shutdown, returned };
    let well = Outcome::Cancelled { reason: StopReason::Stop, returned: Some(Ok(())) };
    for kind in [
        EventKind::StallReport { attempt: 1, stall },
        EventKind::ThreadRefused { error: Arc::new(refused), retry_in: MS },
        EventKind::SubscriberOverflow { dropped: 3, first: 4, last: 6 },
        EventKind::SubscriberPanicked { subscriber: "s".into(), message: "ouch".into() },
        EventKind::HookSlow { source: HookSource::Signal(1), ran: MS },
        EventKind::HookSlow { source: HookSource::TaskEnd, ran: MS },
        EventKind::Rejected { why: Rejection::TooManyTasks { limit: 7 } },
        EventKind::AttemptStopping { attempt: 1, reason: CancelReason::Stop, grace: None },
        EventKind::ShutdownRequested { cause: ShutdownCause::Signal(15) },
        EventKind::TaskEnded { outcome: cancelled },
        EventKind::TaskEnded { outcome: well },
        EventKind::TaskEnded { outcome: Outcome::Rejected(Rejection::Expired) },
        EventKind::TaskEnded { outcome: Outcome::Lost },
    ] {
        check(&Event::sample(kind.clone()));
        let mut of_all = Event::sample(kind);
        of_all.task = None;
        check(&of_all);
    }
}

/// The name of a variant: alone, or with its fields.
fn name(value: &impl serde::Serialize) -> String {
    match to_value(value).unwrap() {
        Value::String(name) => name,
        Value::Object(fields) => fields.into_iter().next().unwrap().0,
        other => panic!("{other}"),
    }
}

#[test]
fn variants_are_named_by_their_labels() {
    let (error, reason) = (|| TaskError::from("boom"), StopReason::ByTask);
    let id = Event::sample(EventKind::Admitted).task.unwrap().id;
    let why = [
        Rejection::BatchRefused { culprit: id },
        Rejection::Expired,
        Rejection::QueueFull { depth: 1, limit: 1 },
        Rejection::Removed,
        Rejection::ShuttingDown,
        Rejection::SlotBusy { owner: id, since: MS },
        Rejection::SlotNamedTwice { first: id },
        Rejection::Superseded { by: id },
        Rejection::TooManyAbandoned { limit: 1 },
        Rejection::TooManyTasks { limit: 1 },
    ];
    for why in why {
        assert_eq!(name(&why), why.label());
    }
    for outcome in [
        Outcome::Completed,
        Outcome::Cancelled { reason, returned: None },
        Outcome::Failed { error: error() },
        Outcome::Fatal { error: error() },
        Outcome::Panicked { error: error() },
        Outcome::TimedOut { error: None },
        Outcome::Unresponsive { error: None },
        Outcome::Abandoned { reason: CancelReason::Restart, stop: Some(reason) },
        Outcome::Rejected(Rejection::Expired),
        Outcome::Lost,
    ] {
        assert_eq!(name(&outcome), outcome.label());
        let back: Outcome = from_value(to_value(&outcome).unwrap()).unwrap();
        assert_eq!(back.to_string(), outcome.to_string());
    }
    for state in [TaskState::Intake, TaskState::Runnable, TaskState::Closing, TaskState::Over] {
        assert_eq!(name(&state), state.label());
    }
    for policy in [AdmissionPolicy::DropIfRunning, AdmissionPolicy::KeepLatest] {
        assert_eq!(name(&policy), policy.label());
    }
    assert_eq!(name(&FailureCause::TimedOut), FailureCause::TimedOut.label());
    assert_eq!(name(&ShutdownCause::CallerTold), ShutdownCause::CallerTold.label());
}

/// A supervisor with something in each part of its snapshot and its report.
#[test]
fn a_snapshot_and_a_report_read_back() {
    let mut gate = Gate::new();
    let rig = Rig::start(Supervisor::builder().grace(MS).class_limit("flash", 2));
    let fails = TaskSpec::new("fails", |_| Err(TaskError::fail("boom").with_exit_code(9)));
    let fails = rig.handle.add(fails.max_retries(0)).unwrap();
    let _ = outcome_of(&fails);
    let (entered, enter) = bounded(1);
    let marks = TaskSpec::new("marks", move |ctx| {
        ctx.mark("here");
        ctx.progress(1, 2);
        entered.send(()).unwrap();
        Ok(ctx.sleep(Duration::MAX)?)
    });
    rig.handle.add(marks.class("flash")).unwrap();
    crate::support::next(&enter);
    let stuck = rig.handle.add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    stuck.cancel();
    let _ = outcome_of(&stuck);
    let queued = TaskSpec::new("queued", |_| Ok(())).slot("marks");
    let _queued = rig.handle.submit(queued, AdmissionPolicy::Queue).unwrap();
    let dropped = rig.handle.submit(no_op("marks"), AdmissionPolicy::DropIfRunning).unwrap();
    let _ = outcome_of(&dropped);

    let snapshot = rig.handle.snapshot().unwrap();
    let written = to_value(&snapshot).unwrap();
    check_names(&written);
    assert_eq!(written["abandoned"][0]["task"]["name"], "stuck");
    let back: Snapshot = from_value(written.clone()).unwrap();
    assert_eq!(to_value(&back).unwrap(), written);
    assert_eq!(back.is_healthy(), snapshot.is_healthy());
    assert_eq!(format!("{:?}", back.slots.len()), format!("{:?}", snapshot.slots.len()));

    let _running = rig.handle.add(resident("running")).unwrap();
    let report = rig.supervisor.shutdown().unwrap();
    let written = to_value(&report).unwrap();
    check_names(&written);
    let back: RunReport = from_value(written.clone()).unwrap();
    assert_eq!(to_value(&back).unwrap(), written);
    assert_eq!(back.to_string(), report.to_string());
    assert_eq!(back.exit_code(), report.exit_code());
    assert_eq!(report.exit_code(), 9);
    gate.open();
}

#[test]
fn what_is_no_label_is_refused() {
    let count = json!({"why": "because", "count": 1, "tasks": []});
    let error = from_value::<threadvisor::RejectionCount>(count).unwrap_err().to_string();
    assert!(error.contains("because") && error.contains("queue_full"), "{error}");
}
