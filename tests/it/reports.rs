//! What a program that returns its report as `main` does tells people: its exit code, and what it
//! writes to standard error.

use std::error::Error;
use std::process::{exit, Termination};
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use crate::program::{is_child, Program};
use crate::support::{next, no_op, outcome_of, resident, Gate};

/// Leaves as a `main` would that returns this.
fn leave(result: Result<RunReport, Box<dyn Error>>) -> ! {
    let code = result.as_ref().map_or(1, RunReport::exit_code);
    let _ = Termination::report(result);
    exit(i32::from(code))
}

/// Runs this test as a program; it must exit with the code and write each of the texts.
#[track_caller]
fn check(test: &str, before: &[&str], code: i32, texts: &[&str]) {
    let program = Program::start(&format!("reports::{test}"), before);
    assert_eq!(program.status().code(), Some(code));
    let errors = program.errors();
    for text in texts {
        assert!(errors.contains(text), "{text:?} is not in: {errors}");
    }
    assert!(!texts.is_empty() || errors.is_empty(), "{errors}");
}

/// One body that is held, a hundred that wait for its slot, and some for which there is no room.
fn overfill(handle: &SupervisorHandle, gate: &Gate, submissions: usize) {
    let first = TaskSpec::new("file 0", gate.body()).slot("disk");
    handle.submit(first, AdmissionPolicy::Queue).unwrap();
    gate.wait_entered();
    for n in 1..submissions {
        let spec = TaskSpec::once(format!("file {n}"), |_| Ok(())).slot("disk");
        // Decided before anything of the queue can run.
        let _ = handle.submit(spec, AdmissionPolicy::Queue).unwrap().wait_decided().unwrap();
    }
}

#[test]
fn work_for_which_there_was_no_room_is_told() {
    if is_child() {
        let supervisor = Supervisor::builder().start().unwrap();
        let mut gate = Gate::new();
        overfill(&supervisor.handle(), &gate, 130);
        gate.open();
        leave(supervisor.run([]).map_err(Into::into));
    }
    let first: Vec<_> = (101..109).map(|n| format!("file {n}")).collect();
    let named = format!("rejected, queue_full: 29 ({}, …)", first.join(", "));
    let line = "exit code 75: 29 submissions were lost for want of room";
    let test = "work_for_which_there_was_no_room_is_told";
    check(test, &[], 75, &["130 tasks: 101 completed, 29 rejected", &named, line]);
    // Nobody may be there to read it.
    if cfg!(target_os = "linux") {
        check(test, &["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"], 75, &[]);
    }
}

#[test]
fn a_spec_that_came_back_is_not_lost() {
    let supervisor = Supervisor::builder().max_tasks(1).start().unwrap();
    let handle = supervisor.handle();
    handle.add(resident("resident")).unwrap();
    assert!(handle.add(no_op("back")).is_err());
    let report = supervisor.shutdown().unwrap();
    assert_eq!((report.rejections[0].why, report.rejections[0].count), ("too_many_tasks", 1));
    assert_eq!(report.exit_code(), 0, "{report}");
}

/// Another task ends the run, so the failures of this one would be seen by nobody.
#[test]
fn a_task_that_failed_until_it_was_stopped_is_told() {
    if is_child() {
        let supervisor = Supervisor::builder().start().unwrap();
        let (tell, failed) = bounded(1);
        let sensor = TaskSpec::new("sensor", move |ctx| {
            if ctx.failures() == 2 {
                tell.send(())?;
            }
            std::fs::read_to_string("/no/such/sensor")?;
            Ok(())
        });
        let sensor = sensor.backoff(BackoffPolicy::constant(Duration::from_millis(1)));
        let job = TaskSpec::once("job", move |_| {
            next(&failed);
            Ok(())
        });
        supervisor.handle().add(sensor).unwrap();
        leave(supervisor.run([job.shutdown_on_end()]).map_err(Into::into));
    }
    let told = ["2 tasks: 1 completed, 1 cancelled", "cancelled while failing: sensor#1, "];
    let last = "failures, last: No such file or directory (os error 2)";
    let test = "a_task_that_failed_until_it_was_stopped_is_told";
    check(test, &[], 0, &[told[0], told[1], last, "exit code 0: no task ended with a failure"]);
}

/// What a stop finds at first hand, or after some failures.
#[test]
fn an_error_of_a_last_flush_is_told() {
    if is_child() {
        let supervisor = Supervisor::builder().start().unwrap();
        let (tell, told) = bounded(1);
        let writer = TaskSpec::new("writer", move |ctx| {
            tell.send(())?;
            let _ = ctx.sleep(Duration::MAX);
            Err(std::io::Error::other("disk full").into())
        });
        let writer = supervisor.handle().add(writer).unwrap();
        next(&told);
        writer.cancel();
        let outcome = outcome_of(&writer);
        let Outcome::Cancelled { reason: StopReason::Stop, returned: Some(Err(error)) } = &outcome
        else {
            panic!("{outcome}")
        };
        assert!(error.downcast_ref::<std::io::Error>().is_some());
        assert_eq!((outcome.exit_code(), outcome.is_failure()), (0, false));
        leave(supervisor.shutdown().map_err(Into::into));
    }
    let line = "writer#1: cancelled (stop), the body returned an error: disk full";
    check("an_error_of_a_last_flush_is_told", &[], 0, &[line]);
}

/// Each way to pass on that the body was told.
#[test]
fn a_body_that_only_passes_on_its_cancel_has_returned_nothing_to_tell() {
    let supervisor = Supervisor::builder().start().unwrap();
    let bodies: [fn(&TaskContext) -> TaskResult; 6] = [
        |ctx| Ok(ctx.sleep(Duration::MAX)?),
        |ctx| Err(std::io::Error::from(ctx.sleep(Duration::MAX).unwrap_err()).into()),
        |ctx| Err(WaitError::from(ctx.sleep(Duration::MAX).unwrap_err()).into()),
        |ctx| {
            let _ = ctx.sleep(Duration::MAX);
            Ok(ctx.extend_deadline(Duration::MAX)?)
        },
        |ctx| {
            if let Some(task) = ctx.handle().owner("forever") {
                let _ = task.wait()?;
            }
            Ok(())
        },
        |ctx| {
            let _ = ctx.sleep(Duration::MAX);
            Err(TaskError::cancelled())
        },
    ];
    supervisor.handle().add(resident("forever")).unwrap();
    let (say, said) = bounded(bodies.len());
    for (n, body) in bodies.into_iter().enumerate() {
        let say = say.clone();
        let spec = TaskSpec::once(format!("body {n}"), move |ctx| {
            say.send(())?;
            body(ctx)
        });
        supervisor.handle().add(spec.timeout(Duration::from_secs(3600))).unwrap();
    }
    (0..bodies.len()).for_each(|_| next(&said));
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.outcomes.failures(), 0, "{report}");
    assert!(report.troubled.is_empty(), "{report}");
}

#[test]
fn an_error_of_main_is_its_text() {
    if is_child() {
        let supervisor = Supervisor::builder().start().unwrap();
        let bad = TaskSpec::new("bad", |_| Ok(())).every(Duration::ZERO);
        leave(supervisor.run([bad]).map_err(Into::into));
    }
    let text =
        "Error: task \"bad\": every cannot be 0ns: use restart(Always) to run again at once \
                (handed back: [\"bad\"])";
    check("an_error_of_main_is_its_text", &[], 1, &[text]);
}

#[cfg(all(unix, feature = "signals"))]
mod signals {
    use signal_hook::consts::{SIGINT, SIGTERM};

    use super::*;

    /// The signal comes while the program opens its devices.
    fn signalled(signal: i32) -> Supervisor {
        let supervisor = Supervisor::builder().shutdown_on_signals().start().unwrap();
        raise(&supervisor, signal);
        supervisor
    }

    fn raise(supervisor: &Supervisor, signal: i32) {
        signal_hook::low_level::raise(signal).unwrap();
        while supervisor.handle().snapshot().is_ok_and(|snapshot| !snapshot.shutting_down) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_service_that_is_ended_before_it_runs_ends_well() {
        if is_child() {
            leave(signalled(SIGTERM).run([resident("a")]).map_err(Into::into));
        }
        check("signals::a_service_that_is_ended_before_it_runs_ends_well", &[], 0, &[]);
    }

    #[test]
    fn a_job_that_is_interrupted_before_it_runs_is_told() {
        if is_child() {
            leave(signalled(SIGINT).run([no_op("a")]).map_err(Into::into));
        }
        let texts = ["rejected, shutting_down: 1 (a)", "exit code 130: SIGINT cut 1 task"];
        check("signals::a_job_that_is_interrupted_before_it_runs_is_told", &[], 130, &texts);
    }

    #[test]
    fn work_that_the_end_of_a_service_cuts_short_is_told() {
        if is_child() {
            let report = signalled(SIGTERM).run([no_op("a")]).unwrap();
            eprintln!("{report}");
            leave(Ok(report));
        }
        let text = "exit code 0: no task ended with a failure, but SIGTERM cut 1 task short";
        check("signals::work_that_the_end_of_a_service_cuts_short_is_told", &[], 0, &[text]);
    }

    #[test]
    fn work_that_an_interrupt_cuts_short_is_told() {
        if is_child() {
            let supervisor = Supervisor::builder().shutdown_on_signals().start().unwrap();
            let gate = Gate::new();
            overfill(&supervisor.handle(), &gate, 90);
            let resident = resident("resident").restart(RestartPolicy::Always);
            supervisor.handle().add(resident).unwrap();
            raise(&supervisor, SIGINT);
            drop(gate);
            leave(supervisor.wait_shutdown().map_err(Into::into));
        }
        // The first of them had been told to stop, and returned `Ok`.
        let texts =
            ["rejected, shutting_down: 89 (file 1, ", "code 130: SIGINT cut 89 tasks short"];
        check("signals::work_that_an_interrupt_cuts_short_is_told", &[], 130, &texts);
    }

    #[test]
    fn an_interrupted_service_ends_well() {
        if is_child() {
            let supervisor = Supervisor::builder().shutdown_on_signals().start().unwrap();
            let resident = resident("resident").restart(RestartPolicy::Always);
            supervisor.handle().add(resident).unwrap();
            // It returns `Ok` when it is told.
            let (tell, told) = bounded(1);
            let job = TaskSpec::once("job", move |ctx| {
                tell.send(())?;
                let _ = ctx.sleep(Duration::MAX);
                Ok(())
            });
            supervisor.handle().add(job).unwrap();
            next(&told);
            signal_hook::low_level::raise(SIGINT).unwrap();
            leave(supervisor.wait_shutdown().map_err(Into::into));
        }
        check("signals::an_interrupted_service_ends_well", &[], 0, &[]);
    }
}
