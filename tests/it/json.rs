//! Events, snapshots, reports and outcomes as JSON, and back.

use std::fmt::Debug;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{from_value, json, to_value, Value};
use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use crate::arbitrary::Arbitrary;
use crate::samples;
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
fn every_event_reads_back() {
    samples::events().iter().for_each(check);
    let mut made = Arbitrary::new(1);
    for _ in 0..100 {
        for kind in kinds_of(&mut made) {
            let mut event = Event::sample(kind);
            (event.seq, event.task, event.group) = (made.value(), made.value(), made.value());
            check(&event);
        }
    }
    made.check_variants();
}

/// Those with fields of types that have more values than a sample shows.
fn kinds_of(made: &mut Arbitrary) -> Vec<EventKind> {
    let (attempt, ran, released) = (made.value(), made.value(), made.value());
    let at_limit = made.value();
    let (reason, thread, mark) = (made.value(), made.value(), made.value());
    vec![
        EventKind::Submitted { policy: made.value() },
        EventKind::Rejected { why: made.value() },
        EventKind::AttemptSilent { attempt, silent_for: ran, mark: made.value() },
        EventKind::StallReport { attempt, stall: made.value() },
        EventKind::HookSlow { source: made.value(), ran },
        EventKind::AttemptStopping { attempt, reason: made.value(), grace: made.value() },
        EventKind::AttemptCancelled { attempt, ran, told: made.value(), error: made.value() },
        EventKind::AttemptAbandoned { attempt, reason, ran, thread, mark, released, at_limit },
        EventKind::RetryScheduled { attempt, delay: ran, cause: made.value() },
        EventKind::TaskEnded { outcome: made.value(), not_retried: made.value() },
        EventKind::GroupRestarting { culprit: made.value(), restarts: made.value() },
        EventKind::GroupStopping { why: made.value(), culprit: made.value() },
        EventKind::ServiceSick { tasks: made.value() },
        EventKind::DrainRequested { cause: made.value(), limit: made.value() },
    ]
}

/// Any value of the type is the same when it is read back, also if there are more fields, as a
/// later version may write them.
fn reads_back<T: Serialize + DeserializeOwned + Debug>(made: &mut Arbitrary) {
    for _ in 0..60 {
        let value: T = made.value();
        let text = serde_json::to_string(&value).unwrap();
        let back: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
        let mut written = to_value(&back).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), written);
        check_names(&written);
        add_fields(&mut written);
        let back: T = from_value(written).unwrap();
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }
}

/// Adds a field to each object that is no enum, as far as that can be seen, and no time: those are
/// not ours.
fn add_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(add_fields);
            if fields.len() > 1 && !fields.contains_key("nanos") {
                fields.insert("of_a_later_version".to_owned(), json!([{}]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(add_fields),
        _ => {}
    }
}

#[test]
fn whatever_a_supervisor_tells_reads_back() {
    let mut made = Arbitrary::new(2);
    reads_back::<Snapshot>(&mut made);
    reads_back::<RunReport>(&mut made);
    reads_back::<Outcome>(&mut made);
    reads_back::<Decision>(&mut made);
    reads_back::<Rejection>(&mut made);
    reads_back::<threadvisor::SlotCancelled>(&mut made);
    made.check_variants();
}

#[test]
fn what_was_read_is_shown_without_a_panic() {
    let mut made = Arbitrary::new(3);
    for _ in 0..60 {
        let snapshot: Snapshot = made.value();
        let report: RunReport = made.value();
        assert!(!format!("{snapshot}{}{report}", snapshot.table(80, false)).is_empty());
        let _ = (snapshot.is_healthy(), snapshot.is_well(), report.exit_code());
        let _ = snapshot.tasks.iter().map(TaskSnapshot::age).max();
    }
    let most = u64::MAX;
    let counts = json!({
        "completed": most, "cancelled": most, "failed": most, "fatal": most, "panicked": most,
        "timed_out": most, "unresponsive": most, "abandoned": most, "rejected": most, "lost": most,
    });
    let counts: threadvisor::OutcomeCounts = from_value(counts).unwrap();
    assert_eq!((counts.failures(), counts.total()), (most, most));
}

/// The name of a variant: alone, or with its fields.
fn name(value: &impl Serialize) -> String {
    match to_value(value).unwrap() {
        Value::String(name) => name,
        Value::Object(fields) => fields.into_iter().next().unwrap().0,
        other => panic!("{other}"),
    }
}

#[test]
fn variants_are_named_by_their_labels() {
    fn check<T: Serialize + DeserializeOwned>(made: &mut Arbitrary, label: fn(&T) -> &'static str) {
        for _ in 0..100 {
            let value = made.value();
            assert_eq!(name(&value), label(&value));
        }
    }
    let mut made = Arbitrary::new(4);
    check(&mut made, Outcome::label);
    check(&mut made, Decision::label);
    check(&mut made, Rejection::label);
    check(&mut made, TaskState::label);
    check(&mut made, GroupState::label);
    check(&mut made, AdmissionPolicy::label);
    check(&mut made, CancelReason::label);
    check(&mut made, StopReason::label);
    check(&mut made, FailureCause::label);
    check(&mut made, ShutdownCause::label);
    check(&mut made, threadvisor::SlotStatus::label);
    made.check_variants();
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

#[test]
fn a_variant_of_a_later_version_is_refused_by_its_name() {
    let error = from_value::<Outcome>(json!({"postponed": {"until": 7}})).unwrap_err().to_string();
    assert!(error.contains("postponed") && error.contains("timed_out"), "{error}");
    let mut event = to_value(Event::sample(EventKind::Admitted)).unwrap();
    event["event"] = "postponed".into();
    let error = from_value::<Event>(event).unwrap_err().to_string();
    assert!(error.contains("postponed") && error.contains("admitted"), "{error}");
}

/// As a field that an older version did not write.
#[test]
fn a_field_that_may_be_null_may_be_missing() {
    let mut snapshot = to_value(Arbitrary::new(5).value::<Snapshot>()).unwrap();
    snapshot["tasks"] = json!([to_value(Arbitrary::new(6).value::<TaskSnapshot>()).unwrap()]);
    let task = snapshot["tasks"][0].as_object_mut().unwrap();
    assert!(task.remove("pid").is_some() && task.remove("progress").is_some());
    let back: Snapshot = from_value(snapshot).unwrap();
    assert_eq!((back.tasks[0].pid, back.tasks[0].progress), (None, None));

    let cancelled: Outcome = from_value(json!({"cancelled": {"reason": "stop"}})).unwrap();
    assert!(matches!(cancelled, Outcome::Cancelled { returned: None, .. }), "{cancelled:?}");
}
