//! Shutdown: bounded, the same for all callers, and nobody is left without an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, Closed, ShutdownCause, SlotCancelled, SubmitError, WaitError};

use crate::support::{
    in_time, next, no_op, on_thread, outcome_of, resident, Gate, Trace, WATCHDOG,
};

/// Long enough that nothing is given up by a slow machine, short enough to be waited for.
const GRACE: Duration = Duration::from_millis(200);
/// How much later than promised a loaded machine may be.
const MARGIN: Duration = Duration::from_secs(10);

fn is_stopped(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Cancelled { reason: StopReason::Shutdown, .. })
}

#[test]
fn concurrent_and_late_callers_get_the_same_report() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|n| supervisor.handle().add(resident(&format!("resident {n}"))).unwrap())
        .collect();
    let supervisor = Arc::new(supervisor);
    let together = Arc::new(Barrier::new(8));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (supervisor, together) = (Arc::clone(&supervisor), Arc::clone(&together));
            on_thread(move || {
                together.wait();
                supervisor.shutdown().unwrap().shutdown
            })
        })
        .collect();
    let mut reports: Vec<_> = callers.iter().map(|report| format!("{:?}", next(report))).collect();
    reports.push(format!("{:?}", supervisor.shutdown().unwrap().shutdown));
    reports.dedup();
    assert_eq!(reports.len(), 1, "{reports:#?}");
    assert!(reports[0].contains("stopped: 4"), "{reports:?}");
    for task in &tasks {
        assert!(is_stopped(&outcome_of(task)), "{task:?}");
    }
    let labels = trace.labels(None);
    for once in ["shutdown_requested", "shutdown_ended"] {
        assert_eq!(labels.iter().filter(|label| **label == once).count(), 1, "{labels:?}");
    }
    assert_eq!(labels.last(), Some(&"shutdown_ended"));
}

#[test]
fn stubborn_bodies_delay_a_shutdown_by_no_more_than_the_grace_and_are_named() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().grace(GRACE).thread_name("stub").start().unwrap();
    let handle = supervisor.handle();
    let stuck = handle.add(TaskSpec::new("stuck", gate.body()).slot("port")).unwrap();
    let waiting = handle.submit(no_op("next").slot("port"), AdmissionPolicy::Queue).unwrap();
    let polite = handle.add(resident("polite")).unwrap();
    gate.wait_entered();
    let thread = handle.snapshot().unwrap().task(stuck.id()).unwrap().thread.clone().unwrap();

    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert!(report.elapsed >= GRACE && report.elapsed < GRACE + MARGIN, "{report}");
    assert_eq!((report.stopped, report.rejected, report.abandoned.len()), (1, 1, 1), "{report}");
    let left = &report.abandoned[0];
    assert_eq!((&*left.task.name, left.task.id, left.attempt), ("stuck", stuck.id(), 1));
    assert_eq!(left.reason, CancelReason::Shutdown);
    assert_eq!(left.thread.as_deref(), Some(&*thread));
    assert!(thread.starts_with('w') && thread.ends_with("-stub"), "{thread}");
    assert!(report.to_string().contains(&format!("on thread {thread}")), "{report}");
    assert!(matches!(
        outcome_of(&stuck),
        Outcome::Abandoned { reason: CancelReason::Shutdown, stop: Some(StopReason::Shutdown) }
    ));
    assert!(is_stopped(&outcome_of(&polite)));
    assert!(matches!(outcome_of(&waiting), Outcome::Rejected(Rejection::ShuttingDown)));
}

#[test]
fn an_abandoned_body_keeps_its_slot_until_it_returns() {
    let mut gate = Gate::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (hold, count) = (gate.hold(), Arc::clone(&inside));
    let stuck = TaskSpec::new("stuck", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        hold();
        count.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    });
    let stuck = handle.add(stuck.slot("port").grace(Duration::ZERO)).unwrap();
    gate.wait_entered();
    let count = Arc::clone(&inside);
    let heir = TaskSpec::once("heir", move |_| {
        assert_eq!(count.load(Ordering::SeqCst), 0, "two owners");
        Ok(())
    });
    let heir = handle.submit(heir.slot("port"), AdmissionPolicy::Replace).unwrap();
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    assert_eq!(heir.state(), TaskState::Queued);
    assert_eq!(handle.owner("port").map(|owner| owner.id()), Some(stuck.id()));
    let refused = handle.add(no_op("third").slot("port")).unwrap_err();
    assert!(matches!(
        refused.rejection(),
        Some(Rejection::SlotBusy { owner, .. }) if owner == stuck.id()
    ));
    gate.open();
    assert!(outcome_of(&heir).is_success());
}

#[test]
fn an_attempt_abandoned_before_the_shutdown_is_listed_and_not_waited_for() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().grace(Duration::MAX).start().unwrap();
    let spec = TaskSpec::new("stuck", gate.body()).grace(Duration::ZERO);
    let stuck = supervisor.handle().add(spec).unwrap();
    gate.wait_entered();
    stuck.cancel();
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 1, "{report}");
    assert_eq!(report.abandoned[0].reason, CancelReason::Stop);
}

#[test]
fn grace_zero_waits_for_nobody() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    // Its own grace is bounded by the supervisor's.
    let spec = TaskSpec::new("stuck", gate.body()).grace(Duration::MAX);
    let stuck = supervisor.handle().add(spec).unwrap();
    gate.wait_entered();
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 1, "{report}");
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
}

#[test]
fn an_endless_grace_ends_with_the_last_obedient_body() {
    let supervisor = Supervisor::builder().grace(Duration::MAX).start().unwrap();
    let spec = TaskSpec::new("tidy", |ctx| {
        while ctx.sleep(Duration::MAX).is_ok() {}
        assert_eq!(ctx.remaining(), None, "there is no limit to the grace");
        Ok(())
    });
    let tidy = supervisor.handle().add(spec).unwrap();
    let started = no_op("after");
    let _ = outcome_of(&supervisor.handle().add(started).unwrap());
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!((report.stopped, report.abandoned.len()), (1, 0), "{report}");
    assert!(is_stopped(&outcome_of(&tidy)));
}

#[test]
fn what_waits_is_refused_or_cancelled_without_running() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().max_concurrent(1).grace(Duration::ZERO).start().unwrap();
    let handle = supervisor.handle();
    let never = |name: &str| TaskSpec::new(name, |_| panic!("started after the shutdown began"));
    handle.add(TaskSpec::new("owner", gate.body())).unwrap();
    gate.wait_entered();
    let queued = handle.submit(never("queued").slot("owner"), AdmissionPolicy::Queue).unwrap();
    let ready = handle.add(never("runnable")).unwrap();
    let delayed = handle.add(never("delayed").initial_delay(Duration::MAX)).unwrap();
    assert_eq!(ready.state(), TaskState::Runnable);
    assert_eq!(delayed.state(), TaskState::Waiting);
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!((report.stopped, report.rejected), (2, 1), "{report}");
    assert!(matches!(outcome_of(&queued), Outcome::Rejected(Rejection::ShuttingDown)));
    for task in [ready, delayed] {
        let outcome = outcome_of(&task);
        assert!(is_stopped(&outcome), "{outcome}");
        assert!(matches!(outcome, Outcome::Cancelled { returned: None, .. }), "{outcome}");
    }
}

/// Submits by all three ways until the door is closed, and keeps what was accepted.
fn submit_until_closed(handle: &SupervisorHandle, number: usize) -> Vec<TaskHandle> {
    let mut accepted = Vec::new();
    for round in 0.. {
        let name = format!("task {number} {round}");
        let spec = TaskSpec::once(name.clone(), |_| Ok(())).slot(format!("slot {}", round % 3));
        let closed = match round % 3 {
            0 => match handle.submit(spec, AdmissionPolicy::Queue) {
                Ok(task) => {
                    accepted.push(task);
                    None
                }
                Err(SubmitError::Closed { spec }) => Some(spec),
                Err(error) => panic!("{error}"),
            },
            1 => match handle.try_submit(spec, AdmissionPolicy::KeepLatest) {
                Ok(task) => {
                    accepted.push(task);
                    None
                }
                Err(SubmitError::Closed { spec }) => Some(spec),
                Err(SubmitError::Full { .. }) => None,
                Err(error) => panic!("{error}"),
            },
            _ => match handle.add(spec) {
                Ok(task) => {
                    accepted.push(task);
                    None
                }
                Err(AddError::Closed { spec }) => Some(spec),
                Err(error) => {
                    let spec = error.into_spec();
                    assert_eq!(spec.name(), name);
                    None
                }
            },
        };
        if let Some(spec) = closed {
            assert_eq!(spec.name(), name, "the spec comes back");
            break;
        }
    }
    accepted
}

#[test]
fn every_submission_against_a_closing_door_is_answered() {
    for round in 0..60 {
        let supervisor =
            Supervisor::builder().intake_capacity(1 + round % 4).max_concurrent(2).start().unwrap();
        let together = Arc::new(Barrier::new(9));
        let submitters: Vec<_> = (0..8)
            .map(|number| {
                let (handle, together) = (supervisor.handle(), Arc::clone(&together));
                on_thread(move || {
                    together.wait();
                    submit_until_closed(&handle, number)
                })
            })
            .collect();
        together.wait();
        // The round decides how deep in the flood the door closes.
        for _ in 0..round {
            let _ = supervisor.handle().snapshot();
        }
        let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
        assert_eq!(report.abandoned.len(), 0, "round {round}: {report}");
        for submitter in &submitters {
            for task in next(submitter) {
                let outcome = outcome_of(&task);
                assert!(!outcome.is_failure(), "round {round}: {task:?} ended as {outcome}");
                assert!(task.wait_decided().is_ok(), "round {round}: {task:?}");
            }
        }
    }
}

#[test]
fn requested_by_a_body_or_a_subscriber_it_comes_to_its_end() {
    let supervisor = Supervisor::builder().start().unwrap();
    let spec = TaskSpec::once("body", |ctx| {
        ctx.handle().request_shutdown();
        assert!(ctx.handle().is_shutting_down());
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let task = supervisor.handle().add(spec).unwrap();
    let report = in_time(move || supervisor.wait_shutdown().unwrap());
    assert_eq!(report.shutdown.cause, ShutdownCause::Requested);
    assert!(is_stopped(&outcome_of(&task)));

    let own: Arc<OnceLock<SupervisorHandle>> = Arc::default();
    let handle = Arc::clone(&own);
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if matches!(event.kind, EventKind::AttemptStarting { .. }) {
                handle.get().unwrap().request_shutdown();
            }
        })
        .start()
        .unwrap();
    own.set(supervisor.handle()).unwrap();
    let task = supervisor.handle().add(resident("resident")).unwrap();
    in_time(move || supervisor.wait_shutdown().unwrap());
    assert!(is_stopped(&outcome_of(&task)));
}

#[test]
fn shutdown_on_end_takes_the_supervisor_along_only_by_the_tasks_own_end() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let stopped = handle.add(resident("stopped").shutdown_on_end()).unwrap();
    stopped.cancel();
    let _ = outcome_of(&stopped);
    assert!(!handle.is_shutting_down(), "a stop is not the task's own end");
    let owner = handle.add(resident("other")).unwrap();
    let refused = no_op("refused").slot("other").shutdown_on_end();
    let refused = handle.submit(refused, AdmissionPolicy::DropIfRunning).unwrap();
    let _ = outcome_of(&refused);
    assert!(!handle.is_shutting_down(), "a refusal is not the task's own end");

    let job = handle.add(no_op("job").shutdown_on_end()).unwrap();
    assert!(outcome_of(&job).is_success());
    assert!(handle.is_shutting_down(), "the shutdown begins before the outcome is given");
    let report = in_time(move || supervisor.wait_shutdown().unwrap());
    assert_eq!(report.shutdown.cause, ShutdownCause::TaskEnded(job.id()));
    assert!(is_stopped(&outcome_of(&owner)));
    assert_eq!(report.exit_code(), 0);
}

/// Sets its flag when dropped.
struct Note(Arc<AtomicUsize>);

impl Drop for Note {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_dropped_supervisor_waits_for_its_bodies_and_their_destructors() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let supervisor = Supervisor::builder().start().unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let note = Note(Arc::clone(&dropped));
            let spec = TaskSpec::new(format!("task {n}"), move |ctx| {
                let _owned = &note;
                Ok(ctx.sleep(Duration::MAX)?)
            });
            supervisor.handle().add(spec).unwrap()
        })
        .collect();
    in_time(move || drop(supervisor));
    assert!(tasks.iter().all(|task| task.outcome().is_some()));
    assert_eq!(dropped.load(Ordering::SeqCst), 20);
}

#[test]
fn a_drop_waits_no_longer_than_grace_and_flush() {
    let gate = Gate::new();
    let hold = gate.hold();
    let supervisor = Supervisor::builder().grace(GRACE).on_event(move |_| hold()).start().unwrap();
    supervisor.handle().add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    in_time(move || drop(supervisor));
}

#[test]
fn a_drop_on_an_own_thread_or_while_panicking_only_asks() {
    // In a body. It would wait for itself for ever.
    let builder = || Supervisor::builder().grace(Duration::MAX);
    let supervisor = builder().start().unwrap();
    let place = Arc::new(Mutex::new(None));
    let own = Arc::clone(&place);
    let gate = Gate::new();
    let entered = gate.hold();
    let task = TaskSpec::once("body", move |ctx| {
        while own.lock().unwrap().is_none() {
            ctx.sleep(Duration::from_millis(1))?;
        }
        drop(own.lock().unwrap().take());
        assert!(ctx.handle().is_shutting_down());
        Ok(())
    });
    let task = supervisor.handle().add(task).unwrap();
    *place.lock().unwrap() = Some(supervisor);
    assert!(matches!(outcome_of(&task), Outcome::Completed | Outcome::Cancelled { .. }));

    // In a subscriber.
    let place: Arc<Mutex<Option<Supervisor>>> = Arc::default();
    let own = Arc::clone(&place);
    let supervisor = builder()
        .on_event(move |event| {
            if matches!(event.kind, EventKind::AttemptStarting { .. }) {
                drop(own.lock().unwrap().take());
            }
        })
        .start()
        .unwrap();
    let handle = supervisor.handle();
    *place.lock().unwrap() = Some(supervisor);
    assert!(is_stopped(&outcome_of(&handle.add(resident("resident")).unwrap())));

    // While panicking: the stuck body would hold the drop for ever.
    let supervisor = builder().start().unwrap();
    let handle = supervisor.handle();
    let stuck = TaskSpec::new("stuck", move |_| {
        entered();
        Ok(())
    });
    handle.add(stuck).unwrap();
    gate.wait_entered();
    let panicked = in_time(move || {
        let panics = move || {
            let _owned = supervisor;
            panic!("while it owns a supervisor");
        };
        thread::Builder::new().spawn(panics).unwrap().join()
    });
    assert!(panicked.is_err());
    assert!(handle.is_shutting_down());
}

#[test]
fn the_handle_of_a_temporary_supervisor_is_dead_on_the_next_line() {
    let handle = Supervisor::builder().start().unwrap().handle();
    assert!(handle.is_shutting_down());
    assert!(matches!(handle.add(no_op("late")), Err(AddError::Closed { .. })));
}

#[test]
fn after_the_end_every_method_answers_and_none_hangs() {
    let supervisor = Supervisor::builder().subscriber(Trace::default()).start().unwrap();
    let handle = supervisor.handle();
    let task = handle.add(resident("resident").slot("port")).unwrap();
    supervisor.shutdown().unwrap();
    let late = move || {
        let spec = handle.add(no_op("late")).unwrap_err();
        assert!(matches!(&spec, AddError::Closed { spec } if spec.name() == "late"), "{spec}");
        let specs = handle.add_all([no_op("a"), no_op("b")]).unwrap_err();
        assert!(matches!(&specs, AddError::Closed { spec } if spec.len() == 2), "{specs}");
        assert!(handle.add_all([]).is_ok_and(|tasks| tasks.is_empty()));
        for policy in [AdmissionPolicy::Queue, AdmissionPolicy::Replace] {
            assert!(matches!(handle.submit(no_op("a"), policy), Err(SubmitError::Closed { .. })));
            assert!(matches!(
                handle.try_submit(no_op("a"), policy),
                Err(SubmitError::Closed { .. })
            ));
        }
        assert!(handle.task(task.id()).is_none());
        assert!(handle.owner("port").is_none());
        assert_eq!(handle.cancel_slot("port"), SlotCancelled::default());
        assert!(matches!(handle.snapshot(), Err(Closed)));
        handle.request_shutdown();
        assert!(handle.is_shutting_down());
        assert_eq!(handle.flush_events(), Err(WaitError::Closed));

        assert_eq!(task.state(), TaskState::Over);
        assert_eq!(task.wait_decided(), Ok(Decision::Admitted));
        assert!(task.wait().is_ok_and(|outcome| is_stopped(&outcome)));
        assert!(task.wait_timeout(Duration::ZERO).is_ok_and(|outcome| outcome.is_some()));
        assert!(task.ended().recv().is_err());
        task.cancel();
        assert!(!task.skip_wait() && !task.restart());
        assert!(supervisor.wait_idle().is_ok());
        assert!(supervisor.shutdown().is_ok());
    };
    in_time(late);
}

#[test]
fn requests_are_answered_while_a_shutdown_waits() {
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().grace(WATCHDOG).start().unwrap();
    let handle = supervisor.handle();
    let slow = handle.add(TaskSpec::new("slow", gate.body())).unwrap();
    gate.wait_entered();
    let report = on_thread(move || supervisor.shutdown().unwrap().shutdown);
    handle.request_shutdown();
    let snapshot = handle.snapshot().unwrap();
    assert!(snapshot.shutting_down);
    assert_eq!(snapshot.task(slow.id()).map(|task| task.state), Some(TaskState::Stopping));
    assert!(matches!(handle.add(no_op("late")), Err(AddError::Closed { .. })));
    assert_eq!(handle.flush_events(), Ok(()));
    gate.open();
    assert_eq!(next(&report).stopped, 1);
}
