//! `run`, `wait_shutdown` and `wait_idle`: when they end, what they report, where they refuse.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{AddError, ShutdownCause, WaitError, WouldDeadlock};

use crate::support::{in_time, next, no_op, on_thread, outcome_of, resident, Gate, Rig};

fn failing(name: &str, exit_code: Option<u8>) -> TaskSpec {
    TaskSpec::once(name, move |_| {
        let error = TaskError::fail("failed as it was told");
        Err(exit_code.map_or_else(|| error.clone(), |code| error.clone().with_exit_code(code)))
    })
}

#[test]
fn run_ends_when_nothing_is_left_tasks_added_meanwhile_included() {
    let supervisor = Supervisor::builder().start().unwrap();
    let parent = TaskSpec::once("parent", |ctx| {
        for n in 0..10 {
            let child = TaskSpec::once(format!("child {n}"), |ctx| {
                ctx.handle().add(no_op("grandchild").slot(format!("of {}", ctx.name())))?;
                Ok(())
            });
            ctx.handle().submit(child, AdmissionPolicy::Queue)?;
        }
        Ok(())
    });
    let report = in_time(move || supervisor.run([parent, no_op("other")]).unwrap());
    assert_eq!(report.outcomes.completed, 22, "{report}");
    assert_eq!(report.outcomes.total(), 22, "{report}");
    assert_eq!(report.shutdown.cause, ShutdownCause::Idle);
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn run_of_nothing_returns_at_once() {
    let supervisor = Supervisor::builder().start().unwrap();
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!(report.outcomes.total(), 0);
}

#[test]
fn run_ends_when_shutdown_is_asked_meanwhile() {
    let supervisor = Supervisor::builder().start().unwrap();
    let asks = TaskSpec::once("asks", |ctx| {
        ctx.handle().request_shutdown();
        Ok(())
    });
    let report = in_time(move || supervisor.run([resident("resident"), asks]).unwrap());
    assert_eq!(report.shutdown.cause, ShutdownCause::Requested);
    assert_eq!(report.outcomes.total(), 2, "{report}");
}

#[test]
fn run_joins_a_shutdown_that_came_first_and_counts_the_specs() {
    let supervisor = Supervisor::builder().start().unwrap();
    supervisor.handle().request_shutdown();
    // Answered after the request was served: now the door is closed.
    let _ = supervisor.handle().snapshot();
    let report = in_time(move || supervisor.run([no_op("a"), no_op("b")]).unwrap());
    assert_eq!(report.shutdown.cause, ShutdownCause::Requested);
    assert_eq!((report.outcomes.rejected, report.exit_code()), (2, 0));
    let text = report.to_string();
    assert!(text.contains("\n  rejected, shutting_down: 2 (a, b)\n"), "{text}");
}

#[test]
fn a_refused_batch_starts_no_body_and_ends_the_supervisor() {
    let started = Arc::new(AtomicBool::new(false));
    let spec = || {
        let started = Arc::clone(&started);
        TaskSpec::once("twin", move |_| {
            started.store(true, Ordering::SeqCst);
            Ok(())
        })
    };
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let specs = [spec(), no_op("innocent"), spec()];
    let error = in_time(move || supervisor.run(specs).unwrap_err());
    let AddError::Rejected { task, why, spec } = error else { panic!("{error}") };
    assert_eq!((&*task, spec.len()), ("twin", 3));
    assert!(matches!(why, Rejection::SlotNamedTwice { .. }), "{why}");
    let text = why.to_string();
    assert!(
        text.contains(" of the same batch has the same slot: give each its own, or "),
        "{text}"
    );
    assert!(text.ends_with("with `submit_all(specs, AdmissionPolicy::Queue)`"), "{text}");
    assert!(handle.is_shutting_down());
    assert!(!started.load(Ordering::SeqCst));
}

#[test]
fn waits_for_the_own_supervisor_are_refused_in_bodies_and_subscribers() {
    let (give, taken) = bounded::<Supervisor>(1);
    let (tell, told) = bounded(1);
    let body = TaskSpec::once("body", move |ctx| {
        let supervisor = taken.recv()?;
        assert_eq!(supervisor.shutdown().err(), Some(WouldDeadlock));
        assert_eq!(supervisor.wait_idle(), Err(WaitError::WouldDeadlock));
        assert_eq!(ctx.handle().flush_events(), Err(WaitError::WouldDeadlock));
        let own = ctx.handle().task(ctx.id()).expect("it runs");
        assert_eq!(own.wait().err(), Some(WaitError::WouldDeadlock));
        assert_eq!(ctx.wait_for(&own).err(), Some(WaitError::WouldDeadlock));
        assert!(!ctx.handle().is_shutting_down(), "a refused wait asks for nothing");
        match supervisor.run([no_op("a"), no_op("b")]) {
            Err(AddError::WouldDeadlock { spec }) => assert_eq!(spec.len(), 2),
            other => panic!("{other:?}"),
        }
        assert!(ctx.handle().is_shutting_down(), "`run` has consumed the supervisor");
        tell.send(())?;
        Ok(())
    });
    let supervisor = Supervisor::builder().start().unwrap();
    let task = supervisor.handle().add(body).unwrap();
    give.send(supervisor).unwrap();
    let outcome = outcome_of(&task);
    assert!(!outcome.is_failure(), "{outcome}");
    next(&told);

    let (give, taken) = bounded::<Supervisor>(1);
    let (tell, told) = bounded(1);
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if matches!(event.kind, EventKind::AttemptStarting { .. }) {
                let supervisor = taken.recv().unwrap();
                let idle = supervisor.wait_idle();
                let flushed = supervisor.handle().flush_events();
                tell.send((idle, flushed, supervisor.wait_shutdown().err())).unwrap();
            }
        })
        .start()
        .unwrap();
    supervisor.handle().add(resident("resident")).unwrap();
    give.send(supervisor).unwrap();
    let refused = Err(WaitError::WouldDeadlock);
    assert_eq!(next(&told), (refused, refused, Some(WouldDeadlock)));
}

#[test]
fn wait_shutdown_waits_also_while_there_is_nothing_to_do() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let ended = on_thread(move || supervisor.wait_shutdown().unwrap());
    assert!(outcome_of(&handle.add(no_op("a")).unwrap()).is_success());
    assert!(outcome_of(&handle.add(no_op("b")).unwrap()).is_success());
    assert!(ended.try_recv().is_err(), "nobody asked for shutdown");
    handle.request_shutdown();
    let report = next(&ended);
    assert_eq!(report.shutdown.cause, ShutdownCause::Requested);
    assert_eq!(report.outcomes.completed, 2);
}

#[test]
fn wait_idle_waits_for_every_outcome_and_asks_for_nothing() {
    let mut gate = Gate::new();
    let supervisor = Arc::new(Supervisor::builder().start().unwrap());
    let handle = supervisor.handle();
    in_time({
        let supervisor = Arc::clone(&supervisor);
        move || supervisor.wait_idle().unwrap()
    });
    let slow = handle.add(TaskSpec::once("slow", {
        let mut body = gate.body();
        move |ctx| body(ctx)
    }));
    let slow = slow.unwrap();
    let queued = handle.submit(no_op("queued").slot("slow"), AdmissionPolicy::Queue).unwrap();
    gate.wait_entered();
    let idle = on_thread({
        let supervisor = Arc::clone(&supervisor);
        move || supervisor.wait_idle().map(|()| (slow.outcome(), queued.outcome()))
    });
    assert!(handle.snapshot().is_ok_and(|snapshot| snapshot.tasks.len() == 2));
    assert!(idle.try_recv().is_err());
    gate.open();
    let (slow, queued) = next(&idle).unwrap();
    assert!(slow.is_some_and(|outcome| outcome.is_success()));
    assert!(queued.is_some_and(|outcome| outcome.is_success()));
    assert!(!handle.is_shutting_down());
    assert!(outcome_of(&handle.add(no_op("after")).unwrap()).is_success());
}

#[test]
fn an_abandoned_task_with_its_outcome_does_not_keep_a_supervisor_busy() {
    let gate = Gate::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let stuck = TaskSpec::new("stuck", gate.body()).grace(Duration::ZERO);
    let stuck = supervisor.handle().add(stuck).unwrap();
    gate.wait_entered();
    stuck.cancel();
    let report = in_time(move || {
        supervisor.wait_idle().unwrap();
        supervisor.run([]).unwrap()
    });
    assert_eq!(report.outcomes.abandoned, 1, "{report}");
    assert_eq!(report.exit_code(), 70);
}

#[test]
fn a_wait_in_a_body_of_another_supervisor_ends_with_its_attempt() {
    let mut gate = Gate::new();
    let busy = Arc::new(Supervisor::builder().start().unwrap());
    let long = busy.handle().add(TaskSpec::new("long", gate.body())).unwrap();
    gate.wait_entered();
    let other = Supervisor::builder().start().unwrap();
    let (tell, told) = bounded(2);
    let (say, begun) = bounded(2);
    let body = |name: &str, wait: Box<dyn Fn() -> Option<WaitError> + Send>| {
        let (tell, say) = (tell.clone(), say.clone());
        TaskSpec::once(name, move |_| {
            say.send(())?;
            tell.send(wait())?;
            Ok(())
        })
    };
    let supervisor = Arc::clone(&busy);
    let for_idle = body("idle", Box::new(move || supervisor.wait_idle().err()));
    let for_task = body("task", Box::new(move || long.wait().err()));
    other.handle().add_all([for_idle, for_task]).unwrap();
    next(&begun);
    next(&begun);
    in_time(move || other.shutdown().unwrap().shutdown);
    for _ in 0..2 {
        let error = next(&told);
        assert!(
            matches!(error, Some(WaitError::Cancelled(c)) if c.reason() == CancelReason::Shutdown),
            "{error:?}"
        );
    }
    gate.open();
}

#[test]
fn the_exit_code_tells_how_it_went() {
    let code_of = |specs: Vec<TaskSpec>| {
        let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
        in_time(move || {
            for spec in specs {
                // One after the other, so that the order of failures is known.
                let _ = outcome_of(&supervisor.handle().add(spec).unwrap());
            }
            supervisor.shutdown().unwrap();
            supervisor.wait_shutdown().unwrap().exit_code()
        })
    };
    assert_eq!(code_of(vec![]), 0);
    assert_eq!(code_of(vec![no_op("a")]), 0);
    let cancelled = || TaskSpec::once("c", |_| Err(TaskError::cancelled()));
    assert_eq!(code_of(vec![no_op("a"), cancelled()]), 0);
    assert_eq!(code_of(vec![failing("a", None)]), 1);
    assert_eq!(code_of(vec![failing("a", Some(3)), failing("b", Some(4))]), 3);
    assert_eq!(code_of(vec![failing("a", Some(255)), no_op("b")]), 255);
    assert_eq!(code_of(vec![failing("a", None), failing("b", Some(4))]), 1);
    let fatal = TaskSpec::new("f", |_| Err(TaskError::fatal("no").with_exit_code(78)));
    assert_eq!(code_of(vec![fatal]), 78);
    let panics = TaskSpec::once("p", |_| panic!("a body's own"));
    assert_eq!(code_of(vec![panics]), 1);
    let job = failing("job", Some(9)).shutdown_on_end();
    assert_eq!(code_of(vec![failing("a", Some(3)), job]), 9);
    let job = no_op("job").shutdown_on_end();
    assert_eq!(code_of(vec![failing("a", Some(3)), job]), 3);
}

#[test]
fn seventy_says_that_all_failures_are_stuck_threads() {
    let gate = Gate::new();
    let stuck = || {
        let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
        supervisor.handle().add(TaskSpec::new("stuck", gate.body())).unwrap();
        gate.wait_entered();
        supervisor
    };
    let supervisor = stuck();
    supervisor.shutdown().unwrap();
    let report = in_time(move || supervisor.wait_shutdown().unwrap());
    assert_eq!(report.exit_code(), 70, "{report}");

    let supervisor = stuck();
    let _ = outcome_of(&supervisor.handle().add(failing("a", Some(3))).unwrap());
    supervisor.shutdown().unwrap();
    let report = in_time(move || supervisor.wait_shutdown().unwrap());
    assert_eq!(report.exit_code(), 3, "{report}");
}

#[test]
fn the_first_64_failures_are_kept_and_all_are_counted() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    for n in 0..70 {
        let _ = outcome_of(&handle.add(failing(&format!("task {n}"), None)).unwrap());
    }
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!((report.outcomes.failed, report.failures.len()), (70, 64));
    for (n, failure) in report.failures.iter().enumerate() {
        assert_eq!(&*failure.task.name, format!("task {n}"));
        assert!(matches!(failure.outcome, Outcome::Failed { .. }));
    }
}

/// As a library does that has a supervisor of its own and is called in a body.
#[test]
fn a_supervisor_that_a_body_runs_ends_with_that_body() {
    type End = fn(Supervisor) -> RunReport;
    let ends: [End; 2] = [
        |inner| inner.run([resident("inner")]).unwrap(),
        |inner| {
            inner.handle().add(resident("inner")).unwrap();
            inner.wait_shutdown().unwrap()
        },
    ];
    for end in ends {
        let outer = Supervisor::builder().start().unwrap();
        let (tell, told) = bounded(1);
        let (say, begun) = bounded(1);
        let body = TaskSpec::once("outer", move |_| {
            let say = say.clone();
            let inner = Supervisor::builder().on_event(move |event| {
                if let EventKind::AttemptStarting { .. } = event.kind {
                    let _ = say.send(());
                }
            });
            tell.send(end(inner.start()?))?;
            Ok(())
        });
        let outer_task = outer.handle().add(body).unwrap();
        next(&begun);
        outer_task.cancel();
        let report: RunReport = next(&told);
        assert_eq!(report.shutdown.cause, ShutdownCause::CallerTold);
        assert_eq!((report.outcomes.cancelled, report.shutdown.abandoned.len()), (1, 0));
        assert!(matches!(
            outcome_of(&outer_task),
            Outcome::Cancelled { returned: Some(Ok(())), .. }
        ));
    }
}

#[test]
fn a_start_is_waited_for() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(1));
    let mut gate = Gate::new();
    let first = rig.handle.add(TaskSpec::new("first", gate.body())).unwrap();
    assert!(first.wait_started().unwrap());
    let waiting = rig.handle.add(no_op("waiting")).unwrap();
    let delayed = rig.handle.add(no_op("delayed").initial_delay(Duration::MAX)).unwrap();
    let waits =
        [waiting.clone(), delayed.clone()].map(|task| on_thread(move || task.wait_started()));
    delayed.cancel();
    assert!(!next(&waits[1]).unwrap(), "it has ended without an attempt");
    gate.open();
    assert!(next(&waits[0]).unwrap());
    for task in [&first, &waiting] {
        let _ = outcome_of(task);
        assert!(task.wait_started().unwrap(), "also when it is over");
    }

    // A body may wait for it as well, until it is told. Its only permit is its own.
    let (tell, told) = bounded(2);
    let body = move |ctx: &TaskContext| {
        let inner = ctx.handle().add(no_op("inner"))?;
        assert!(inner.wait_started()?);
        let never = ctx.handle().add(no_op("never").initial_delay(Duration::MAX))?;
        tell.send(None)?;
        tell.send(never.wait_started().err())?;
        never.cancel();
        Ok(())
    };
    let outer = rig.handle.add(TaskSpec::new("outer", body)).unwrap();
    assert!(next(&told).is_none());
    outer.cancel();
    assert!(matches!(next(&told), Some(WaitError::Cancelled(_))));
    let _ = outcome_of(&outer);
}
