//! Attempts that become stable, and the times that snapshots and events tell.

use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, TryRecvError};
use threadvisor::prelude::*;

use crate::support::{next, no_op, outcome_of, End, Puppet, Rig};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
const ZERO: Duration = Duration::ZERO;

/// A resident body never returns, so only its age can tell that it has recovered.
#[test]
fn a_resident_task_recovers_from_its_failures_by_running() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("link");
    let spec = spec.backoff(BackoffPolicy::constant(SHORT)).stable_after(SHORT * 3);
    let link = rig.handle.add(spec.restart(RestartPolicy::Always).max_retries(1)).unwrap();
    assert_eq!(puppet.started(), 1);
    for attempt in 2..=5 {
        // A retry is left each time, because the streak has ended.
        puppet.end(End::Fail);
        assert_eq!(puppet.started(), attempt);
        rig.until(&link, &format!("attempt_stable {attempt}: 1"));
        let snapshot = rig.handle.snapshot().unwrap();
        let seen = snapshot.task(link.id()).unwrap();
        assert!(seen.stable && snapshot.is_healthy(), "{seen:?}");
        assert_eq!((seen.failures, seen.last_failure.is_none()), (0, true));
    }
    link.cancel();
    puppet.end(End::Obey);
    let _ = outcome_of(&link);

    // A job whose spec does not set the span is healthy, but its streak goes on.
    let defaults = TaskDefaults::new().stable_after(SHORT);
    let rig = Rig::start(Supervisor::builder().defaults(defaults));
    let (spec, puppet) = Puppet::new("job");
    let job = rig.handle.add(spec.backoff(BackoffPolicy::constant(SHORT)).max_retries(1)).unwrap();
    puppet.end(End::Fail);
    rig.until(&job, "attempt_stable 2: 1");
    let snapshot = rig.handle.snapshot().unwrap();
    assert_eq!((snapshot.tasks[0].failures, snapshot.is_healthy()), (1, true));
    puppet.end(End::Fail);
    assert_eq!(outcome_of(&job).to_string(), "failed: boom");
}

/// A report names tasks that were failing when they were stopped, and not those that had recovered.
#[test]
fn a_task_that_had_recovered_was_not_failing_when_it_was_stopped() {
    let defaults = TaskDefaults::new().stable_after(SHORT);
    let rig = Rig::start(Supervisor::builder().defaults(defaults));
    let (spec, puppet) = Puppet::new("recovered");
    let recovered = rig.handle.add(spec.backoff(BackoffPolicy::constant(SHORT))).unwrap();
    puppet.end(End::Fail);
    rig.until(&recovered, "attempt_stable 2: 1");
    let (spec, failing) = Puppet::new("failing");
    let waits = rig.handle.add(spec.backoff(BackoffPolicy::constant(LONG))).unwrap();
    failing.end(End::Fail);
    rig.until(&waits, "retry_scheduled 1: failed");
    recovered.cancel();
    puppet.end(End::Obey);
    let _ = outcome_of(&recovered);
    let report = rig.supervisor.shutdown().unwrap();
    let named: Vec<_> =
        report.troubled.iter().map(|task| (&*task.task.name, task.failures)).collect();
    assert_eq!(named, [("failing", 1)], "{report}");
}

/// Bodies claim and mark while the snapshot is put together.
#[test]
fn no_time_in_a_snapshot_or_event_is_later_than_its_own() {
    let rig = Rig::new();
    let marking = TaskSpec::new("marking", |ctx| {
        while !ctx.is_cancelled() {
            ctx.mark("here");
        }
        Ok(())
    });
    let marking = rig.handle.add(marking.watchdog(LONG)).unwrap();
    for round in 0..300 {
        let name = format!("task {}", round % 8);
        let _ = rig.handle.submit(no_op(&name), AdmissionPolicy::Replace).unwrap();
        let snapshot = rig.handle.snapshot().unwrap();
        for task in &snapshot.tasks {
            let (since, mark) = (task.since, task.mark.as_ref().map_or(ZERO, |mark| mark.at));
            assert!(since <= snapshot.at && mark <= snapshot.at, "{round}: {snapshot:?}");
            assert_eq!(since + task.age(), snapshot.at);
        }
    }
    marking.cancel();
    let _ = outcome_of(&marking);
}

/// The body sets marks even while the event is made.
#[test]
fn the_mark_of_an_abandoned_attempt_is_not_later_than_the_event() {
    let rig = Rig::new();
    for round in 0..8 {
        let (say, marked) = bounded(1);
        let (end, ended) = bounded::<()>(0);
        let body = move |ctx: &TaskContext| {
            ctx.mark("here");
            say.send(())?;
            while ended.try_recv() == Err(TryRecvError::Empty) {
                ctx.mark("here");
            }
            Ok(())
        };
        let spec = TaskSpec::new(format!("marking {round}"), body).grace(ZERO);
        let task = rig.handle.add(spec).unwrap();
        next(&marked);
        task.cancel();
        let event = rig.until(&task, "attempt_abandoned 1: stop");
        let EventKind::AttemptAbandoned { mark: Some(mark), .. } = event.kind else {
            panic!("{event}");
        };
        assert!(mark.at <= event.since_start, "{mark:?}");
        drop(end);
        rig.until(&task, "attempt_returned 1: ok");
    }
}
