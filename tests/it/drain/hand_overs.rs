//! Whose tasks are taken during a drain, and that none is lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use super::{begun, drain_of, end_of};
use crate::support::{in_time, next, no_op, on_thread, outcome_of, Gate};

/// Each hand-over that a body may need, and each body that it is handed over by.
#[test]
fn what_the_supervisors_own_bodies_bring_is_taken() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (go, may_go) = bounded::<()>(0);
    let parent = TaskSpec::new("parent", move |ctx| {
        let _ = may_go.recv();
        let handle = ctx.handle();
        assert!(handle.is_draining());
        let child = handle.add(no_op("child"))?;
        let both = handle.add_all([no_op("one"), no_op("two")])?;
        let grandparent = TaskSpec::once("grandparent", |ctx| {
            Ok(ctx.handle().add(no_op("grandchild"))?.wait()?.into_result()?)
        });
        let later = handle.submit(grandparent, AdmissionPolicy::Queue)?;
        handle.try_submit(no_op("last"), AdmissionPolicy::Queue)?;
        for task in both.iter().chain([&child, &later]) {
            assert!(task.wait()?.is_success(), "{task:?}");
        }
        Ok(())
    });
    let parent = handle.add(parent.restart(RestartPolicy::Never)).unwrap();
    handle.request_drain(None);
    begun(&handle);
    drop(go);
    assert!(outcome_of(&parent).is_success());
    let report = next(&end_of(supervisor));
    assert_eq!((report.outcomes.completed, report.outcomes.total()), (7, 7));
}

#[test]
fn what_other_threads_bring_is_not_even_if_a_body_started_them_or_another_supervisor_runs_them() {
    let (supervisor, other) =
        (Supervisor::builder().start().unwrap(), Supervisor::builder().start().unwrap());
    let handle = supervisor.handle();
    let mut gate = Gate::new();
    handle.add(TaskSpec::new("gate", gate.body())).unwrap();
    handle.request_drain(None);
    begun(&handle);
    let is_closed =
        |handle: &SupervisorHandle| matches!(handle.add(no_op("a")), Err(AddError::Closed { .. }));
    let elsewhere = handle.clone();
    let foreign = other.handle().add(TaskSpec::once("foreign", move |_| {
        assert!(is_closed(&elsewhere));
        Ok(())
    }));
    assert!(outcome_of(&foreign.unwrap()).is_success());
    assert!(is_closed(&handle));
    gate.open();

    let (go, may_go) = bounded::<()>(0);
    let supervisor = Supervisor::builder().start().unwrap();
    let helped = supervisor.handle().add(TaskSpec::once("helped", move |ctx| {
        let _ = may_go.recv();
        let handle = ctx.handle();
        let refused = next(&on_thread(move || is_closed(&handle)));
        assert!(refused && !is_closed(&ctx.handle()));
        Ok(())
    }));
    supervisor.handle().request_drain(None);
    begun(&supervisor.handle());
    drop(go);
    assert!(outcome_of(&helped.unwrap()).is_success());
}

/// The return of a body and what it has handed over before come by different channels.
#[test]
fn what_a_body_hands_over_before_it_returns_is_never_lost() {
    fn follow_up(left: u32, ends: Arc<AtomicU32>) -> TaskSpec {
        TaskSpec::once(format!("link {left}"), move |ctx| {
            if left > 0 {
                let spec = follow_up(left - 1, Arc::clone(&ends));
                ctx.handle().try_submit(spec, AdmissionPolicy::Queue)?;
            }
            ends.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }
    for round in 0..30 {
        let supervisor = Supervisor::builder().start().unwrap();
        let ends = Arc::new(AtomicU32::new(0));
        supervisor.handle().add(follow_up(40, Arc::clone(&ends))).unwrap();
        let report = in_time(move || supervisor.drain(None).unwrap());
        assert_eq!(ends.load(Ordering::Relaxed), 41, "round {round}: {report}");
        assert_eq!(drain_of(&report).unfinished, 0);
    }
}

/// More than the controller takes in a turn, all of which ends in the turn that takes it.
#[test]
fn a_flood_of_a_body_is_decided_before_a_drain_or_a_wait_for_idleness_is_over() {
    for round in 0..40 {
        let supervisor = Supervisor::builder().intake_capacity(4096).start().unwrap();
        let handle = supervisor.handle();
        let (tell, told) = bounded(1);
        let (go, may_go) = bounded::<()>(0);
        let flood = TaskSpec::once("flood", move |ctx| {
            let _ = may_go.recv();
            for _ in 0..2000 {
                let expired = no_op("expired").no_slot().expires_in(Duration::from_nanos(1));
                let _ = ctx.handle().submit(expired, AdmissionPolicy::Queue)?;
            }
            let _ = tell.send(ctx.handle().submit(no_op("last"), AdmissionPolicy::Queue)?);
            Ok(())
        });
        handle.add(flood).unwrap();
        let drains = round % 2 == 0;
        if drains {
            handle.request_drain(None);
            begun(&handle);
        }
        let end = on_thread(move || {
            if drains {
                drop(supervisor.wait_shutdown().unwrap());
                return None;
            }
            supervisor.wait_idle().unwrap();
            Some(supervisor)
        });
        drop(go);
        let last = next(&told);
        let supervisor = next(&end);
        let outcome = last.outcome().expect("nothing is left");
        assert!(outcome.is_success(), "round {round}: {outcome}");
        drop(supervisor);
    }
}

/// Whichever of the two is first.
#[test]
fn each_of_many_hand_overs_at_the_same_time_is_taken_or_given_back() {
    for _ in 0..20 {
        let supervisor = Supervisor::builder().intake_capacity(4).start().unwrap();
        let barrier = Arc::new(Barrier::new(4));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (handle, barrier) = (supervisor.handle(), Arc::clone(&barrier));
                on_thread(move || {
                    barrier.wait();
                    let spec = || no_op("job").no_slot();
                    let submit = |_| handle.submit(spec(), AdmissionPolicy::Queue);
                    let tasks: Vec<_> = (0..50).map(submit).collect();
                    for task in tasks {
                        match task {
                            Ok(task) => drop(outcome_of(&task)),
                            Err(error) => assert_eq!(error.into_spec().name(), "job"),
                        }
                    }
                })
            })
            .collect();
        barrier.wait();
        let report = in_time(move || supervisor.drain(None).unwrap());
        callers.iter().for_each(next);
        let counts = &report.outcomes;
        assert_eq!(counts.completed + counts.rejected, counts.total());
    }
}
