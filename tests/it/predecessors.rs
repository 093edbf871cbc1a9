//! Faults that supervisors before this one had, each as the promise that it broke.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::{AddError, StartError, SubmitError};

use crate::support::{in_time, next, no_op, on_thread, outcome_of, resident, Gate, OnDrop, Trace};

/// A supervisor whose only subscriber is stuck and whose lane is full: it loses nearly all events.
fn deaf(gate: &Gate) -> Supervisor {
    let hold = gate.hold();
    Supervisor::builder().event_capacity(1).on_event(move |_| hold()).start().unwrap()
}

#[test]
fn lost_events_leave_no_task_no_slot_and_no_waiter_behind() {
    let gate = Gate::new();
    let supervisor = deaf(&gate);
    let handle = supervisor.handle();
    let slot = |n| no_op(&format!("task {n}")).slot("slot");
    for n in 0..50 {
        // Each would be refused if the slot of the one before were freed by an event.
        assert!(outcome_of(&handle.add(slot(n)).unwrap()).is_success());
    }
    let queued: Vec<_> =
        (0..50).map(|n| handle.submit(slot(n), AdmissionPolicy::Queue).unwrap()).collect();
    assert!(queued.iter().all(|task| outcome_of(task).is_success()));
    let victim = handle.add(resident("victim")).unwrap();
    victim.cancel();
    assert!(matches!(outcome_of(&victim), Outcome::Cancelled { .. }));
    let report = in_time(move || supervisor.run([slot(0)]).unwrap());
    assert_eq!(report.outcomes.total(), 102);
    assert!(report.shutdown.events_dropped > 500, "{report}");
}

#[test]
fn run_runs_all_its_tasks_though_their_events_are_lost() {
    let gate = Gate::new();
    let specs: Vec<_> = (0..500).map(|n| no_op(&format!("task {n}"))).collect();
    let supervisor = deaf(&gate);
    let report = in_time(move || supervisor.run(specs).unwrap());
    assert_eq!(report.outcomes.completed, 500);
}

#[test]
fn a_refused_duplicate_is_an_error_and_no_event_of_success() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    let handle = supervisor.handle();
    let owner = handle.add(resident("twin")).unwrap();
    let error = handle.add(TaskSpec::once("twin", |_| panic!("it started"))).unwrap_err();
    assert!(matches!(error, AddError::Rejected { .. }), "{error}");
    handle.flush_events().unwrap();
    let events = trace.events();
    let of_twin = events.iter().filter(|event| {
        event.task.as_ref().is_some_and(|task| &*task.name == "twin" && task.id != owner.id())
    });
    let labels: Vec<_> = of_twin.map(|event| event.kind.label()).collect();
    assert_eq!(labels, ["submitted", "rejected"]);
}

#[test]
fn an_old_handle_never_touches_a_newer_task_of_the_same_name() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let old = handle.add(resident("port")).unwrap();
    handle.cancel_slot("port");
    let _ = outcome_of(&old);
    let new = handle.add(resident("port")).unwrap();
    assert!(new.id() > old.id());
    old.cancel();
    assert!(!old.skip_wait() && !old.restart());
    assert!(handle.task(old.id()).is_none());
    // The owner is asked after the cancel was served.
    assert_eq!(handle.owner("port").map(|owner| owner.id()), Some(new.id()));
    assert_eq!(handle.task(new.id()).map(|found| found.id()), Some(new.id()));
    assert!(new.outcome().is_none());
}

#[test]
fn cancelling_what_was_never_there_frees_nobodys_slot() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let owner = handle.add(resident("port")).unwrap();
    let queued = handle.submit(resident("queued").slot("port"), AdmissionPolicy::Queue).unwrap();
    let found = handle.cancel_slot("another");
    assert!(!found.owner_asked && found.removed == 0);
    queued.cancel();
    assert!(matches!(outcome_of(&queued), Outcome::Cancelled { .. }));
    assert_eq!(handle.owner("port").map(|owner| owner.id()), Some(owner.id()));
    assert!(handle.add(no_op("third").slot("port")).is_err());
}

#[test]
fn a_stubborn_cancelled_task_freezes_nobody_else() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().grace(Duration::from_millis(100)).start().unwrap();
    let handle = supervisor.handle();
    let stuck = handle.add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    stuck.cancel();
    for n in 0..50 {
        assert!(outcome_of(&handle.add(no_op(&format!("task {n}"))).unwrap()).is_success());
    }
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
}

#[test]
fn a_shutdown_starts_nothing_that_was_queued() {
    for _ in 0..20 {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        handle.add(resident("owner")).unwrap();
        let started = Arc::new(Mutex::new(0));
        let queued: Vec<_> = (0..10)
            .map(|n| {
                let started = Arc::clone(&started);
                let spec = TaskSpec::once(format!("queued {n}"), move |_| {
                    *started.lock().unwrap() += 1;
                    Ok(())
                });
                handle.submit(spec.slot("owner"), AdmissionPolicy::Queue).unwrap()
            })
            .collect();
        in_time(move || supervisor.shutdown().unwrap().shutdown);
        for task in &queued {
            let outcome = outcome_of(task);
            assert!(matches!(outcome, Outcome::Rejected(Rejection::ShuttingDown)), "{outcome}");
        }
        assert_eq!(*started.lock().unwrap(), 0);
    }
}

#[test]
fn the_last_events_are_delivered_before_shutdown_returns() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    let task = supervisor.handle().add(resident("resident")).unwrap();
    let report = supervisor.shutdown().unwrap().shutdown;
    if report.events_dropped == 0 {
        let labels = trace.labels(None);
        assert!(labels.ends_with(&["shutdown_ended"]), "{labels:?}");
        assert!(trace.labels(Some(&task)).contains(&"task_ended"), "{labels:?}");
    }
}

struct TellsAndHolds(Box<dyn Fn()>);

impl Drop for TellsAndHolds {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    static AT_EXIT: RefCell<Option<TellsAndHolds>> = const { RefCell::new(None) };
}

#[test]
fn thread_locals_that_never_finish_dropping_do_not_delay_the_end() {
    let gate = Gate::new();
    let (for_worker, for_lane) = (gate.hold(), gate.hold());
    let mut leave = Some(for_lane);
    let supervisor = Supervisor::builder()
        .on_event(move |_| {
            if let Some(hold) = leave.take() {
                AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(TellsAndHolds(Box::new(hold))));
            }
        })
        .start()
        .unwrap();
    let spec = TaskSpec::once("leaves something", move |_| {
        AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(TellsAndHolds(Box::new(for_worker))));
        Ok(())
    });
    let _ = outcome_of(&supervisor.handle().add(spec).unwrap());
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 0, "{report}");
    gate.wait_entered();
    gate.wait_entered();
}

#[test]
fn a_blocking_destructor_stalls_neither_the_controller_nor_other_tasks() {
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for policy in [AdmissionPolicy::Queue, AdmissionPolicy::DropIfRunning] {
        let slow = OnDrop(gate.hold());
        let spec = TaskSpec::new("slow", move |ctx| {
            let _owned = &slow;
            Ok(ctx.sleep(Duration::MAX)?)
        });
        let task = handle.submit(spec.slot("slot"), policy).unwrap();
        if policy == AdmissionPolicy::Queue {
            handle.submit(resident("owner").slot("slot"), AdmissionPolicy::Replace).unwrap();
        } else {
            assert!(matches!(outcome_of(&task), Outcome::Rejected(_)));
        }
        gate.wait_entered();
        for n in 0..20 {
            assert!(outcome_of(&handle.add(no_op(&format!("task {n}"))).unwrap()).is_success());
        }
        assert!(handle.snapshot().is_ok());
    }
    gate.open();
}

#[test]
fn a_task_that_ends_itself_is_over_under_every_policy() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let spec = TaskSpec::new("ends itself", |_| Err(TaskError::cancelled())).restart(policy);
        let outcome = outcome_of(&handle.add(spec).unwrap());
        let by_task = matches!(outcome, Outcome::Cancelled { reason: StopReason::ByTask, .. });
        assert!(by_task, "{outcome}");
    }
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!(report.outcomes.cancelled, 3);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the least time that may pass is the promise")]
fn a_body_that_succeeds_at_once_for_ever_does_not_spin() {
    const RUNS: u64 = 50;
    let supervisor = Supervisor::builder().start().unwrap();
    let before = Instant::now();
    let (tell, told) = bounded(1);
    let spec = TaskSpec::new("eager", move |ctx| {
        if ctx.attempt() > RUNS {
            let _ = tell.try_send(Instant::now());
        }
        Ok(())
    });
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Always)).unwrap();
    let after = next(&told);
    assert!(after - before >= Duration::from_millis(RUNS), "{:?}", after - before);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
}

#[test]
fn a_flood_of_submissions_starves_neither_requests_nor_ends() {
    let supervisor = Supervisor::builder().intake_capacity(64).start().unwrap();
    let handle = supervisor.handle();
    let floods: Vec<_> = (0..2)
        .map(|thread| {
            let handle = handle.clone();
            on_thread(move || {
                for n in 0.. {
                    let spec = no_op(&format!("flood {thread} {n}")).no_slot();
                    if let Err(SubmitError::Closed { .. }) =
                        handle.try_submit(spec, AdmissionPolicy::Queue)
                    {
                        return n;
                    }
                }
                unreachable!("the door is closed some day")
            })
        })
        .collect();
    for n in 0..50 {
        let task = handle.submit(resident(&format!("task {n}")), AdmissionPolicy::Queue).unwrap();
        handle.snapshot().unwrap();
        task.cancel();
        assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    }
    in_time(move || supervisor.shutdown().unwrap().shutdown);
    for flood in &floods {
        next(flood);
    }
}

#[test]
fn a_slot_is_free_for_whoever_saw_its_owner_end() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for n in 0..500 {
        // `add` refuses a busy slot, and the name is the same each time.
        let task = handle.add(no_op("poll")).unwrap_or_else(|error| panic!("round {n}: {error}"));
        assert!(outcome_of(&task).is_success());
    }
}

#[test]
fn a_wait_that_begins_while_the_task_ends_hears_of_it() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for n in 0..500 {
        let task = handle.submit(no_op("quick").no_slot(), AdmissionPolicy::Queue).unwrap();
        // Before, while and after: no moment is lost.
        for _ in 0..n % 50 {
            std::hint::spin_loop();
        }
        if n % 2 == 0 {
            assert!(in_time({
                let ended = task.ended();
                move || ended.recv().is_err()
            }));
        }
        assert!(outcome_of(&task).is_success());
    }
}

#[test]
fn an_end_without_handles_lets_go_of_every_value() {
    let (tell, told) = unbounded();
    let value = |name: &'static str| {
        let tell = tell.clone();
        OnDrop(move || tell.send(name).unwrap_or_default())
    };
    let (of_body, of_lane) = (value("body"), value("subscriber"));
    let supervisor = Supervisor::builder()
        .on_event(move |_| {
            let _owned = &of_lane;
        })
        .start()
        .unwrap();
    let spec = TaskSpec::new("resident", move |ctx| {
        let _owned = &of_body;
        Ok(ctx.sleep(Duration::MAX)?)
    });
    drop(supervisor.handle().add(spec).unwrap());
    in_time(move || drop(supervisor));
    let mut dropped = [next(&told), next(&told)];
    dropped.sort_unstable();
    assert_eq!(dropped, ["body", "subscriber"]);
}

/// No system has room for such a stack, so no thread with it can be had.
const NO_ROOM: usize = usize::MAX - (1 << 20);

#[test]
fn a_refused_thread_is_an_error_of_the_start_by_its_name() {
    let builder = || Supervisor::builder().stack_size(NO_ROOM);
    let refused = |builder: SupervisorBuilder| match builder.start() {
        Err(StartError::Thread { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(builder().prespawn(2)), "w1-threadvisor");
    assert_eq!(refused(builder().on_event(|_| ())), "ev-threadvisor");
    assert_eq!(refused(builder().dedicated_on_event(|_| (), 8)), "ev1-threadvisor");
    assert_eq!(refused(builder()), "w1-threadvisor");
}

/// A body whose destructor hangs has returned, and yet its thread does not come back.
#[test]
fn a_destructor_that_blocks_is_given_up_like_a_body() {
    let gate = Gate::new();
    let slow = OnDrop(gate.hold());
    let supervisor = Supervisor::builder().grace(Duration::from_millis(20)).start().unwrap();
    let spec = TaskSpec::new("slow to drop", move |_| {
        let _owned = &slow;
        Ok(())
    });
    let task = supervisor.handle().add(spec).unwrap();
    gate.wait_entered();
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 1, "{report}");
    assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }));
}

/// What one task wants of its thread may never be had; the others must not wait for it.
#[test]
fn a_thread_that_can_never_be_had_keeps_no_other_from_coming() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let huge = ThreadOptions::new().stack_size(NO_ROOM);
    let never = handle.add(no_op("never").dedicated_thread(huge)).unwrap();
    let soon = handle.add(no_op("soon").dedicated_thread(ThreadOptions::new())).unwrap();
    assert!(outcome_of(&soon).is_success());
    assert!(matches!(outcome_of(&never), Outcome::Fatal { .. }));
}

/// Each replacement waits for the destructor until it is replaced itself, and no longer.
#[test]
fn no_thread_waits_for_a_destructor_that_blocks_however_many_replacements_come() {
    const REPLACEMENTS: usize = 12;
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let slow = OnDrop(gate.hold());
    // It never runs, so its body is dropped before anybody else owns the slot.
    let first = TaskSpec::new("slot", move |_| {
        let _owned = &slow;
        Ok(())
    });
    handle.add(first.initial_delay(Duration::MAX)).unwrap();
    let replace = || handle.submit(resident("slot"), AdmissionPolicy::Replace).unwrap();
    let mut tasks = vec![replace()];
    gate.wait_entered();
    for _ in 1..REPLACEMENTS {
        tasks.push(replace());
    }
    let last = tasks.pop().unwrap();
    for task in &tasks {
        assert!(matches!(outcome_of(task), Outcome::Rejected(Rejection::Superseded { .. })));
    }
    // One is in the destructor.
    let observer = handle.clone();
    in_time(move || loop {
        let workers = observer.snapshot().unwrap().workers;
        if workers.threads - workers.idle <= 1 && workers.offered == 0 {
            return;
        }
        std::thread::yield_now();
    });
    assert_eq!(last.state(), TaskState::Queued);
    gate.open();
    while last.state() != TaskState::Running {
        std::thread::yield_now();
    }
}

/// Whatever was accepted is counted, also what lay in the intake when the door closed.
#[test]
fn the_report_counts_everything_that_was_accepted() {
    for _ in 0..100 {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        // One alone: where there are more, one of them may answer for another.
        let accepted = on_thread(move || {
            let mut accepted = 0;
            while handle.submit(no_op("task").no_slot(), AdmissionPolicy::Queue).is_ok() {
                accepted += 1;
            }
            accepted
        });
        let asks = supervisor.handle();
        let report = on_thread(move || supervisor.wait_shutdown().unwrap());
        asks.request_shutdown();
        let (report, accepted) = (next(&report), next(&accepted));
        assert_eq!(report.outcomes.total(), accepted, "{report}");
        assert_eq!(report.outcomes.rejected, report.shutdown.rejected as u64);
    }
}
