//! What will end by itself may end before the shutdown begins, on threads. The rules themselves are
//! checked in `src/machine/tests/rules/drain.rs`.

mod hand_overs;
#[cfg(all(unix, feature = "signals"))]
mod signals;

use std::process::Termination;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::{DrainReport, ShutdownCause};

use crate::clock::{ms, secs, started, ticker};
use crate::program::{is_child, Program};
use crate::support::{
    brief, in_time, next, no_op, on_thread, outcome_of, resident, End, Gate, Puppet, Rig, Trace,
    WATCHDOG,
};

#[track_caller]
fn drain_of(report: &RunReport) -> &DrainReport {
    report.shutdown.drain.as_ref().expect("there was a drain")
}

/// Waits until the controller has served the request.
fn begun(handle: &SupervisorHandle) {
    assert!(handle.is_draining());
    assert!(handle.snapshot().unwrap().draining);
}

/// The supervisor's end, awaited on a thread of its own.
fn end_of(supervisor: Supervisor) -> Receiver<RunReport> {
    on_thread(move || supervisor.wait_shutdown().unwrap())
}

#[test]
fn work_in_hand_ends_and_others_find_the_door_closed_with_their_specs_back() {
    let rig = Rig::new();
    let handle = rig.handle.clone();
    let (spec, puppet) = Puppet::new("job");
    let job = handle.add(spec).unwrap();
    let next_in_line = handle.submit(no_op("next").slot("job"), AdmissionPolicy::Queue).unwrap();
    puppet.started();
    assert!(!handle.is_draining() && !handle.snapshot().unwrap().draining);
    handle.request_drain(None);
    begun(&handle);
    assert!(!handle.is_shutting_down() && !handle.snapshot().unwrap().shutting_down);

    let error = handle.add(no_op("a")).unwrap_err();
    assert!(matches!(error, AddError::Closed { .. }), "{error}");
    assert_eq!(error.into_spec().name(), "a");
    let error = handle.add_all([no_op("b"), no_op("c")]).unwrap_err();
    assert!(matches!(error, AddError::Closed { .. }), "{error}");
    assert_eq!(error.into_spec().len(), 2);
    let error = handle.submit(no_op("d"), AdmissionPolicy::Replace).unwrap_err();
    assert!(matches!(error, SubmitError::Closed { .. }), "{error}");
    assert_eq!(error.into_spec().name(), "d");
    let error = handle.try_submit(no_op("e"), AdmissionPolicy::Queue).unwrap_err();
    assert!(matches!(error, SubmitError::Closed { .. }), "{error}");
    assert_eq!(error.into_spec().name(), "e");

    puppet.end(End::Ok);
    let supervisor = rig.supervisor;
    let report = in_time(move || supervisor.wait_shutdown().unwrap());
    assert!(outcome_of(&job).is_success() && outcome_of(&next_in_line).is_success());
    assert_eq!((drain_of(&report).unfinished, drain_of(&report).limit), (0, None));
    assert_eq!((report.shutdown.cause, report.exit_code()), (ShutdownCause::Requested, 0));
    assert_eq!((report.outcomes.completed, report.outcomes.total()), (2, 2));
    assert!(handle.is_shutting_down() && !handle.is_draining());
}

#[test]
fn a_drain_of_an_idle_supervisor_ends_at_once() {
    let supervisor = Supervisor::builder().start().unwrap();
    supervisor.handle().add(resident("resident").restart(RestartPolicy::Always)).unwrap();
    let report = in_time(move || supervisor.drain(None).unwrap());
    assert_eq!(drain_of(&report).unfinished, 0);
    assert_eq!(report.outcomes.cancelled, 1);
}

#[test]
fn what_is_not_done_by_the_limit_is_named_in_the_report() {
    let (clock, supervisor) = started(|it| it.grace(secs(5)));
    let handle = supervisor.handle();
    let sleep = |name, span| TaskSpec::once(name, move |ctx| Ok(ctx.sleep(span)?));
    let quick = handle.add(sleep("quick", secs(10))).unwrap();
    let slow = handle.add(sleep("slow", secs(100))).unwrap();
    let behind = handle.submit(no_op("behind").slot("slow"), AdmissionPolicy::Queue).unwrap();
    let failing = TaskSpec::new("failing", |_| Err("no".into()));
    let failing = failing.backoff(BackoffPolicy::constant(secs(1000)));
    let failing = handle.add(failing).unwrap();
    handle.add(sleep("resident", Duration::MAX).slot("r").restart(RestartPolicy::Never)).unwrap();
    let beat = TaskSpec::new("beat", |_| Ok(())).every(secs(7));
    handle.add(beat).unwrap();
    clock.settle();
    handle.request_drain(secs(30));
    begun(&handle);
    clock.advance(secs(29));
    assert!(quick.outcome().unwrap().is_success() && handle.is_draining());
    assert!(slow.outcome().is_none() && behind.outcome().is_none());
    clock.advance(secs(1));
    let report = next(&end_of(supervisor));
    let drain = drain_of(&report);
    assert_eq!((drain.limit, drain.elapsed, drain.unfinished), (Some(secs(30)), secs(30), 4));
    let mut names: Vec<_> = drain.tasks.iter().map(|task| &*task.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["behind", "failing", "resident", "slow"]);
    let text = report.to_string();
    assert!(text.contains("\ndrain took 30.000 s of 30.000 s: 4 unfinished\n"), "{text}");
    assert!(text.contains("\n  unfinished: slow#"), "{text}");
    for task in [slow, failing] {
        let outcome = outcome_of(&task);
        assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Shutdown, .. }));
    }
    assert!(matches!(outcome_of(&behind), Outcome::Rejected(Rejection::ShuttingDown)));
    assert_eq!(clock.now(), secs(30));
}

#[test]
fn residents_go_on_and_what_waits_has_its_turn_where_the_time_is_moved() {
    let (clock, supervisor) = started(|it| it.max_concurrent(2));
    let (handle, ticks) = (supervisor.handle(), Arc::new(AtomicU32::new(0)));
    handle.add(ticker("beat", &ticks).every(secs(1))).unwrap();
    let retried = TaskSpec::new("retried", |ctx| {
        if ctx.attempt() < 3 {
            Err("not yet")?;
        }
        Ok(())
    });
    let retried = handle.add(retried.backoff(BackoffPolicy::constant(secs(4)))).unwrap();
    let delayed = handle.add(no_op("delayed").initial_delay(secs(6))).unwrap();
    clock.settle();
    handle.request_drain(secs(60));
    clock.advance(secs(20));
    assert!(outcome_of(&retried).is_success() && outcome_of(&delayed).is_success());
    let report = next(&end_of(supervisor));
    // It ended when the last of them did.
    assert!(drain_of(&report).elapsed >= secs(6) && drain_of(&report).elapsed <= secs(8));
    assert_eq!(drain_of(&report).unfinished, 0);
    assert!(ticks.load(Ordering::Relaxed) >= 6);
}

#[test]
fn an_acceptor_with_stop_at_drain_returns_and_what_it_still_brings_is_done() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("job");
    let job = rig.handle.add(spec).unwrap();
    puppet.started();
    let (tell, connections) = bounded(1);
    let acceptor = TaskSpec::new("acceptor", move |ctx| {
        let _ = ctx.cancelled().recv();
        let _ = tell.send(ctx.handle().add(no_op("connection"))?);
        Ok(ctx.check()?)
    });
    let acceptor = acceptor.restart(RestartPolicy::Always).stop_at_drain();
    let acceptor = rig.handle.add(acceptor).unwrap();
    rig.until(&acceptor, "attempt_starting 1");
    rig.handle.request_drain(None);
    let outcome = outcome_of(&acceptor);
    assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Drain, .. }), "{outcome}");
    assert!(outcome_of(&next(&connections)).is_success());
    assert!(rig.handle.is_draining() && job.outcome().is_none());
    puppet.end(End::Ok);
    let report = next(&end_of(rig.supervisor));
    assert_eq!((report.outcomes.completed, report.outcomes.cancelled), (2, 1));
}

/// The moment of the drain falls anywhere: between a claim and its report, too.
#[test]
fn a_job_with_finish_at_drain_is_done_or_has_not_begun() {
    const JOBS: u32 = 40;
    for round in 0..50_u32 {
        let supervisor = Supervisor::builder().max_concurrent(3).start().unwrap();
        let handle = supervisor.handle();
        let (begun, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let jobs = (0..JOBS).map(|number| {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            let job = TaskSpec::new(format!("job-{number}"), move |ctx| {
                begun.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
                ctx.check()?;
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            let job = if number % 2 == 0 { job.slot("shared") } else { job };
            handle.submit(job.finish_at_drain(), AdmissionPolicy::Queue).unwrap()
        });
        let jobs: Vec<_> = jobs.collect();
        while begun.load(Ordering::Relaxed) < round % JOBS {
            thread::yield_now();
        }
        handle.request_drain(None);
        let report = next(&end_of(supervisor));
        let completed = jobs.iter().filter(|job| outcome_of(job).is_success()).count();
        let (begun, done) = (begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
        assert_eq!((begun, done as usize), (done, completed), "{}", report.outcomes.cancelled);
        assert_eq!(drain_of(&report).unfinished, 0);
    }
}

#[test]
fn a_failure_that_a_drain_lets_nothing_follow_is_told_once() {
    let (rig, mut gate) = (Rig::new(), Gate::new());
    let hold = gate.hold();
    let job = TaskSpec::new("job", move |_| {
        hold();
        Err("no paper".into())
    });
    let job = rig.handle.add(job.finish_at_drain()).unwrap();
    job.wait_started().unwrap();
    rig.handle.request_drain(None);
    rig.until_label("drain_requested");
    gate.open();
    let report = next(&end_of(rig.supervisor));
    let text = report.troubled[0].to_string();
    assert!(text.ends_with("1 failure, last: no paper"), "{text}");
}

#[test]
fn tasks_of_a_resident_that_stays_are_refused() {
    let rig = Rig::new();
    let (spec, puppet) = Puppet::new("job");
    rig.handle.add(spec).unwrap();
    puppet.started();
    let shell = rig.handle.add(resident("shell").restart(RestartPolicy::Always)).unwrap();
    let behind = rig.handle.submit(no_op("behind").slot("shell"), AdmissionPolicy::Queue).unwrap();
    rig.handle.request_drain(None);
    assert!(matches!(outcome_of(&behind), Outcome::Rejected(Rejection::ShuttingDown)));
    assert!(shell.outcome().is_none());
    puppet.end(End::Ok);
    let report = next(&end_of(rig.supervisor));
    assert_eq!((report.outcomes.rejected, report.outcomes.cancelled), (1, 1));
}

#[test]
fn a_shutdown_a_drop_or_the_end_of_the_main_task_cuts_a_drain_short() {
    let cuts: [(fn(Supervisor), ShutdownCause); 2] = [
        (|supervisor| drop(supervisor.shutdown()), ShutdownCause::Requested),
        (drop, ShutdownCause::Dropped),
    ];
    for (cut, cause) in cuts {
        let trace = Trace::default();
        let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
        let handle = supervisor.handle();
        let (spec, puppet) = Puppet::new("job");
        handle.add(spec).unwrap();
        puppet.started();
        handle.request_drain(None);
        begun(&handle);
        let cut = on_thread(move || cut(supervisor));
        assert_eq!(puppet.told(), CancelReason::Shutdown);
        assert!(!handle.is_draining() && handle.is_shutting_down());
        puppet.end(End::Obey);
        next(&cut);
        let causes = trace.events().into_iter().filter_map(|event| match event.kind {
            EventKind::ShutdownRequested { cause, .. } => Some(cause),
            _ => None,
        });
        assert_eq!(causes.collect::<Vec<_>>(), [cause]);
    }

    let supervisor = Supervisor::builder().start().unwrap();
    let (main, puppet) = Puppet::new("main");
    let main = supervisor.handle().add(main.shutdown_on_end()).unwrap();
    let (other, held) = Puppet::new("other");
    supervisor.handle().add(other).unwrap();
    puppet.started();
    held.started();
    supervisor.handle().request_drain(None);
    begun(&supervisor.handle());
    puppet.end(End::Ok);
    assert_eq!(held.told(), CancelReason::Shutdown);
    held.end(End::Obey);
    let report = next(&end_of(supervisor));
    assert_eq!(report.shutdown.cause, ShutdownCause::TaskEnded(main.id()));
    assert_eq!(drain_of(&report).unfinished, 1);
}

#[test]
fn all_who_drain_get_the_same_report_and_the_first_end_counts() {
    let (clock, supervisor) = started(|it| it);
    let supervisor = Arc::new(supervisor);
    let handle = supervisor.handle();
    handle.add(TaskSpec::once("slow", |ctx| Ok(ctx.sleep(Duration::MAX)?))).unwrap();
    clock.settle();
    for limit in [None, Some(secs(10)), Some(secs(20))] {
        handle.request_drain(limit);
    }
    let drain = || {
        let supervisor = Arc::clone(&supervisor);
        on_thread(move || supervisor.drain(None).unwrap())
    };
    let callers = [drain(), drain(), drain()];
    clock.advance(secs(10));
    let reports = callers.map(|it| next(&it));
    for report in &reports {
        assert_eq!(report.to_string(), reports[0].to_string());
        assert_eq!(drain_of(report).elapsed, secs(10));
    }
}

#[test]
fn a_drain_in_the_supervisors_own_body_is_a_typed_error_and_a_request_works() {
    let supervisor = Arc::new(Supervisor::builder().start().unwrap());
    let weak = Arc::downgrade(&supervisor);
    let body = supervisor.handle().add(TaskSpec::once("body", move |ctx| {
        let supervisor = weak.upgrade().unwrap();
        supervisor.drain(None).unwrap_err();
        assert!(!ctx.handle().is_draining());
        ctx.handle().request_drain(secs(60));
        assert!(ctx.handle().is_draining());
        Ok(())
    }));
    assert!(outcome_of(&body.unwrap()).is_success());
    let supervisor = Arc::into_inner(supervisor).unwrap();
    let report = next(&end_of(supervisor));
    assert_eq!((drain_of(&report).limit, drain_of(&report).unfinished), (Some(secs(60)), 0));
}

/// The report of a supervisor that drains, once the body of another one, which waits in `call` for
/// its end, is told.
fn told_in_a_drain(call: fn(Supervisor) -> RunReport) -> RunReport {
    let (inner, outer) =
        (Supervisor::builder().start().unwrap(), Supervisor::builder().start().unwrap());
    let (spec, puppet) = Puppet::new("job");
    let handle = inner.handle();
    handle.add(spec).unwrap();
    puppet.started();
    let (tell, reports) = bounded(1);
    let waits = TaskSpec::once("waits", move |_| {
        let _ = tell.send(call(inner));
        Ok(())
    });
    let waits = outer.handle().add(waits).unwrap();
    while !handle.is_draining() {
        thread::yield_now();
    }
    waits.cancel();
    assert_eq!(puppet.told(), CancelReason::Shutdown);
    puppet.end(End::Obey);
    let report = next(&reports);
    assert_eq!(report.shutdown.cause, ShutdownCause::CallerTold);
    assert_eq!(drain_of(&report).unfinished, 1);
    report
}

#[test]
fn a_drain_in_the_body_of_another_supervisor_ends_with_that_body() {
    told_in_a_drain(|inner| inner.drain(None).unwrap());
}

/// What comes too late is dropped, but the wait is one of the body all the same.
#[test]
fn a_run_on_a_supervisor_that_drains_ends_with_the_body_that_called_it() {
    let report = told_in_a_drain(|inner| {
        inner.handle().request_drain(None);
        inner.run([no_op("late")]).unwrap()
    });
    assert_eq!(report.outcomes.rejected, 1);
}

#[test]
fn run_returns_when_a_drain_is_over_and_drops_the_specs_that_come_too_late() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (spec, puppet) = Puppet::new("job");
    let pulse = resident("pulse").restart(RestartPolicy::Always);
    let end = on_thread(move || supervisor.run([spec, pulse]).unwrap());
    puppet.started();
    handle.request_drain(None);
    begun(&handle);
    puppet.end(End::Ok);
    let report = next(&end);
    assert_eq!((report.outcomes.completed, report.outcomes.cancelled), (1, 1));
    assert_eq!(report.shutdown.cause, ShutdownCause::Requested);

    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (spec, puppet) = Puppet::new("job");
    handle.add(spec).unwrap();
    puppet.started();
    handle.request_drain(None);
    begun(&handle);
    let end = on_thread(move || supervisor.run([no_op("late")]).unwrap());
    puppet.end(End::Ok);
    let report = next(&end);
    assert_eq!((report.outcomes.completed, report.outcomes.rejected), (1, 1));
}

#[test]
fn events_tell_of_a_drain_before_the_shutdown() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    supervisor.handle().add(no_op("job")).unwrap();
    supervisor.drain(ms(30_000)).unwrap();
    let events = trace.events();
    let place = |label| events.iter().position(|event| event.kind.label() == label).unwrap();
    assert!(place("drain_requested") < place("shutdown_requested"));
    let event = &events[place("drain_requested")];
    assert!(event.task.is_none());
    assert_eq!(event.kind.to_string(), "drain_requested cause=requested limit=30.000s");
    assert!(matches!(
        event.kind,
        EventKind::DrainRequested { cause: ShutdownCause::Requested, limit: Some(_) }
    ));
    assert_eq!(brief(&event.kind), "drain_requested");
}

#[test]
fn a_drain_after_a_shutdown_or_after_the_end_changes_nothing() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    supervisor.shutdown().unwrap();
    handle.request_drain(None);
    assert!(!handle.is_draining());
    let report = in_time(move || supervisor.drain(WATCHDOG).unwrap());
    assert!(report.shutdown.drain.is_none());
}

#[test]
fn a_main_that_returns_a_report_with_something_unfinished_prints_it() {
    if is_child() {
        let supervisor = Supervisor::builder().start().unwrap();
        let slow = TaskSpec::once("slow", |ctx| Ok(ctx.sleep(Duration::MAX)?));
        let slow = supervisor.handle().add(slow).unwrap();
        slow.wait_started().unwrap();
        let report = supervisor.drain(Duration::ZERO).unwrap();
        assert_eq!((report.exit_code(), report.troubled.len()), (0, 0));
        let _ = report.report();
        return;
    }
    let name = "drain::a_main_that_returns_a_report_with_something_unfinished_prints_it";
    let program = Program::start(name, &[]);
    let errors = program.errors();
    assert!(errors.contains("unfinished: slow#1"), "{errors}");
}

#[cfg(not(all(any(unix, windows), feature = "signals")))]
#[test]
fn where_signals_are_not_supported_asking_for_a_drain_by_them_is_a_typed_error() {
    use threadvisor::StartError;

    let error = Supervisor::builder().drain_on_signals(None).start().unwrap_err();
    let expected = StartError::Unsupported("drain_on_signals");
    assert_eq!(error.to_string(), expected.to_string());
}
