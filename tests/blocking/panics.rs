//! What a panic in a body means: a failure, the end of the task, or the end of the process.

use std::panic;
use std::process::Output;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::{FailureCause, PANIC_ISOLATION};

use crate::support::{next, outcome_of};
use crate::{child, deaf, ms, plays, Stage};

fn ouch(_: &TaskContext) -> TaskResult {
    panic::resume_unwind(Box::new("ouch"))
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{:?}: {}", output.status, String::from_utf8_lossy(&all))
}

#[test]
fn a_panic_is_a_failure_that_is_retried() {
    let stage = Stage::new();
    let spec = TaskSpec::new("fails", ouch).backoff(BackoffPolicy::constant(ms(1)));
    let task = stage.add(spec.max_retries(2));
    let Outcome::Panicked { error } = outcome_of(&task) else { panic!("{:?}", outcome_of(&task)) };
    assert!(error.is_panic() && error.to_string() == "ouch");
    assert_eq!(stage.seen(&task, &["attempt_panicked"]).len(), 3);
    let event = stage.until_label(&task, "retry_scheduled");
    assert!(
        matches!(
            event.kind,
            EventKind::RetryScheduled { attempt: 1, cause: FailureCause::Panicked, .. }
        ),
        "{event}"
    );
    let spec = TaskSpec::new("recovers", |ctx| if ctx.attempt() < 3 { ouch(ctx) } else { Ok(()) });
    let recovers = stage.add(spec.backoff(BackoffPolicy::constant(ms(1))));
    assert!(outcome_of(&recovers).is_success());
}

#[test]
fn a_fatal_panic_ends_the_task_under_every_policy() {
    let stage = Stage::new();
    for restart in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let spec = TaskSpec::new("fatal", ouch).restart(restart).panic_policy(PanicPolicy::Fatal);
        let task = stage.add(spec);
        assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
        assert_eq!(stage.seen(&task, &["attempt_panicked"]).len(), 1);
        assert!(stage.seen(&task, &["retry_scheduled"]).is_empty());
    }
    // Errors are not panics.
    let fails = |ctx: &TaskContext| if ctx.attempt() == 1 { Err("no".into()) } else { Ok(()) };
    let spec = TaskSpec::new("fails", fails).backoff(BackoffPolicy::constant(ms(1)));
    assert!(outcome_of(&stage.add(spec.panic_policy(PanicPolicy::Fatal))).is_success());
}

#[test]
fn abort_ends_the_process_by_the_signal_and_only_for_a_panic() {
    const PART: &str = "abort";
    if plays(PART) {
        let stage = Stage::new();
        let fails = TaskSpec::new("fails", |_| Err("no".into())).restart(RestartPolicy::Never);
        let fails = stage.add(fails.panic_policy(PanicPolicy::Abort));
        assert!(matches!(outcome_of(&fails), Outcome::Failed { .. }));
        println!("an error is survived");
        let body = |_: &TaskContext| panic!("that is too much");
        let spec = TaskSpec::new("aborts", body).panic_policy(PanicPolicy::Abort);
        let _ = outcome_of(&stage.add(spec));
        return println!("the panic is survived");
    }
    let name = "panics::abort_ends_the_process_by_the_signal_and_only_for_a_panic";
    let output = child(name, PART, &[]);
    let text = text(&output);
    assert!(text.contains("an error is survived"), "{text}");
    assert!(!text.contains("the panic is survived"), "{text}");
    assert!(text.contains("that is too much"), "the panic hides its message: {text}");
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        // A runner may give the signal on as a shell does.
        let aborted = output.status.signal() == Some(6) || output.status.code() == Some(134);
        assert!(aborted, "{text}");
    }
}

#[test]
fn this_build_can_catch_panics_and_says_so() {
    assert_eq!(PANIC_ISOLATION, cfg!(panic = "unwind"));
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let bystander = stage.add(deaf("bystander", &enter));
    next(&entered);
    let spec = TaskSpec::once("ouch", ouch);
    assert!(matches!(outcome_of(&stage.add(spec)), Outcome::Panicked { .. }));
    assert_eq!(bystander.state(), TaskState::Running);
}

/// A stop that was told does not hide a crash.
#[test]
fn a_panic_after_a_stop_is_still_a_panic() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let spec = TaskSpec::new("crashes", move |ctx| {
        let _ = enter.send(());
        let _ = ctx.cancelled().recv();
        ouch(ctx)
    });
    let task = stage.add(spec);
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
}

/// A signal comes in on a thread of its own; what it stops may hang in a call that only a hook
/// wakes.
#[cfg(all(unix, feature = "signals"))]
#[test]
fn a_signal_wakes_what_only_a_hook_can_wake() {
    const PART: &str = "signal";
    if plays(PART) {
        let supervisor = Supervisor::builder().shutdown_on_signals().start().unwrap();
        let (enter, entered) = unbounded();
        let task = supervisor.handle().add(deaf("deaf", &enter)).unwrap();
        next(&entered);
        let kill = std::process::Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", std::process::id())])
            .status();
        assert!(kill.unwrap().success());
        let report = supervisor.wait_shutdown().unwrap();
        assert!(matches!(report.shutdown.cause, ShutdownCause::Signal(Signal::TERM)));
        assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
        return println!("stopped by a signal");
    }
    let output = child("panics::a_signal_wakes_what_only_a_hook_can_wake", PART, &[]);
    let text = text(&output);
    assert!(output.status.success() && text.contains("stopped by a signal"), "{text}");
}
