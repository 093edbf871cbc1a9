//! What a task may ask of its own threads, and what the system shows of those that tasks share.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;

use crate::support::{no_op, outcome_of, Gate};
use crate::{ms, Stage};

#[test]
fn the_hook_of_a_task_runs_on_its_threads_alone_after_that_of_all_threads() {
    type Log = Arc<Mutex<Vec<(&'static str, thread::ThreadId)>>>;
    let log = Log::default();
    let note = |what| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push((what, thread::current().id()))
    };
    let (all, own, body) = (note("all"), note("own"), note("body"));
    let stage = Stage::start(Supervisor::builder().on_thread_start(move || {
        all();
        Ok(())
    }));
    let options = ThreadOptions::new().on_start(move || {
        own();
        Ok(())
    });
    let spec = TaskSpec::new("own", move |ctx| {
        body();
        if ctx.attempt() < 3 {
            return Err("again".into());
        }
        Ok(())
    });
    let spec = spec.backoff(BackoffPolicy::constant(ms(1))).dedicated_thread(options);
    let task = stage.add(spec);
    assert!(outcome_of(&task).is_success());
    let other = no_op("other").dedicated_thread(ThreadOptions::new());
    assert!(outcome_of(&stage.add(other)).is_success());
    assert!(outcome_of(&stage.add(no_op("pooled"))).is_success());
    stage.end();

    let log = log.lock().unwrap();
    let bodies: Vec<_> = log.iter().filter(|it| it.0 == "body").map(|it| it.1).collect();
    assert_eq!(bodies.len(), 3);
    for id in bodies {
        let calls: Vec<_> = log.iter().filter(|it| it.1 == id).map(|it| it.0).collect();
        assert_eq!(calls, ["all", "own", "body"]);
    }
    assert_eq!(log.iter().filter(|it| it.0 == "own").count(), 3);
}

#[test]
fn a_failing_hook_of_a_task_fails_its_attempt_by_name_and_holds_nobody_up() {
    let stage = Stage::new();
    let calls = AtomicUsize::new(0);
    let options =
        ThreadOptions::new().on_start(move || match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err(io::Error::new(io::ErrorKind::PermissionDenied, "no rights")),
            1 => panic::resume_unwind(Box::new("no machine")),
            _ => Ok(()),
        });
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let spec = TaskSpec::new("runs in the end", move |ctx| {
        count.fetch_add(1, Ordering::SeqCst);
        assert_eq!((ctx.attempt(), ctx.failures()), (3, 2));
        let last = ctx.last_failure().map(ToString::to_string);
        assert!(last.is_some_and(|text| text.contains("on_start failed: no machine")));
        Ok(())
    });
    let again = BackoffPolicy::constant(ms(1));
    let task = stage.add(spec.backoff(again).max_retries(2).dedicated_thread(options));
    assert!(outcome_of(&task).is_success());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let errors: Vec<_> = stage
        .seen(&task, &["attempt_failed"])
        .iter()
        .map(|event| match &event.kind {
            EventKind::AttemptFailed { error, .. } => error.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, ["on_start failed: no rights", "on_start failed: no machine"]);

    // The rights are missing for ever: that is the end of this task, and of nothing else.
    let never = ThreadOptions::new().on_start(|| Err(io::ErrorKind::PermissionDenied.into()));
    let refused = stage.add(no_op("refused").dedicated_thread(never));
    let Outcome::Failed { error } = outcome_of(&refused) else { panic!("{refused:?}") };
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::PermissionDenied), "{error}");
    assert_eq!(error.to_string(), "on_start failed: permission denied");
    let refused_thread = |event: &Event| matches!(event.kind, EventKind::ThreadRefused { .. });
    assert!(!stage.events().iter().any(refused_thread));
    assert!(stage.snapshot().is_healthy());
}

#[test]
fn a_hook_of_a_task_that_hangs_is_told_and_abandoned_as_its_body_would_be() {
    let stage = Stage::start(Supervisor::builder().grace(Duration::ZERO));
    let mut gate = Gate::new();
    let hold = gate.hold();
    let options = ThreadOptions::new().name("hangs").on_start(move || {
        hold();
        Ok(())
    });
    let (say, said) = unbounded();
    let spec = TaskSpec::new("late", move |_| {
        let _ = say.send(());
        Ok(())
    });
    let task = stage.add(spec.timeout(ms(1)).max_retries(0).dedicated_thread(options));
    let outcome = outcome_of(&task);
    assert!(matches!(outcome, Outcome::Abandoned { .. }), "{outcome}");
    assert_eq!(stage.abandoned().thread.as_deref(), Some("hangs"));
    gate.wait_entered();
    gate.open();
    stage.until_label(&task, "attempt_returned");
    assert!(said.try_recv().is_err(), "a body began to work that had been abandoned");
}

#[test]
fn a_task_that_is_stopped_during_its_hook_does_not_begin() {
    let stage = Stage::new();
    let mut gate = Gate::new();
    let hold = gate.hold();
    let options = ThreadOptions::new().on_start(move || {
        hold();
        Ok(())
    });
    let spec = TaskSpec::new("stopped", |_| Err("it has begun".into()));
    let task = stage.add(spec.dedicated_thread(options));
    gate.wait_entered();
    task.cancel();
    stage.snapshot();
    gate.open();
    let outcome = outcome_of(&task);
    let passed_on = Outcome::Cancelled { reason: StopReason::Stop, returned: None };
    assert_eq!(outcome.to_string(), passed_on.to_string());
}

#[cfg(all(target_os = "linux", feature = "poll"))]
mod shown {
    use super::*;
    use crate::deaf;
    use crate::support::{next, thread_name};
    use threadvisor::crossbeam_channel::Sender;

    /// What the system shows for a thread of this process.
    fn shown(thread: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap();
        text.trim_end_matches('\n').to_owned()
    }

    fn own_tid() -> String {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// What is shown while it runs, its thread's id, and its name.
    type Seen = (String, String, String);

    fn look(name: &str, say: &Sender<Seen>) -> TaskSpec {
        let say = say.clone();
        TaskSpec::new(name, move |_| {
            let tid = own_tid();
            let _ = say.send((shown(&tid), tid, thread_name()));
            Ok(())
        })
        .restart(RestartPolicy::Never)
    }

    #[test]
    fn a_worker_shows_the_task_while_it_runs_it_and_its_own_name_afterwards() {
        let stage = Stage::start(Supervisor::builder().name_threads_by_task());
        let (say, said) = unbounded();
        let panics = TaskSpec::once("panics", |_| panic::resume_unwind(Box::new("on purpose")));
        let _ = outcome_of(&stage.add(panics));
        for (task, expected) in [
            ("short", "short"),
            ("sync of tenant 42", "sync of tenant "),
            // Not in the middle of a character.
            ("fourteen bytesü", "fourteen bytes"),
            ("no\n control", "no control"),
        ] {
            let _ = outcome_of(&stage.add(look(task, &say)));
            let (during, tid, name) = next(&said);
            assert_eq!(during, expected);
            assert!(name.starts_with('w'), "{name}");
            assert_eq!(shown(&tid), name);
        }
    }

    #[test]
    fn a_thread_with_a_name_of_its_own_keeps_it() {
        let stage = Stage::start(Supervisor::builder().name_threads_by_task());
        let (say, said) = unbounded();
        for (options, expected) in
            [(ThreadOptions::new().name("modem"), "modem"), (ThreadOptions::new(), "dial")]
        {
            let _ = outcome_of(&stage.add(look("dial", &say).dedicated_thread(options)));
            assert_eq!(next(&said).0, expected);
        }
    }

    #[test]
    fn names_of_threads_are_their_own_unless_that_is_asked_for() {
        let stage = Stage::new();
        let (say, said) = unbounded();
        let _ = outcome_of(&stage.add(look("task", &say)));
        let (during, _, name) = next(&said);
        assert_eq!(during, name);
    }

    /// The reports still know the thread as the worker that it is.
    #[test]
    fn an_abandoned_body_is_still_shown_by_its_task() {
        let stage =
            Stage::start(Supervisor::builder().grace(Duration::ZERO).name_threads_by_task());
        let (enter, entered) = unbounded();
        let (say, said) = unbounded();
        let mut gate = Gate::new();
        let hold = gate.hold();
        let body = TaskSpec::once("stuck", move |_| {
            let tid = own_tid();
            let _ = say.send((shown(&tid), tid, thread_name()));
            hold();
            Ok(())
        });
        let task = stage.add(body);
        gate.wait_entered();
        let (during, tid, name) = next(&said);
        task.cancel();
        let outcome = outcome_of(&task);
        assert!(matches!(outcome, Outcome::Abandoned { .. }), "{outcome}");
        assert_eq!((&*during, &*shown(&tid)), ("stuck", "stuck"));
        assert_eq!(stage.abandoned().thread.as_deref(), Some(&*name));
        // Another worker runs the others.
        stage.add(deaf("other", &enter));
        next(&entered);
        gate.open();
        stage.until_label(&task, "attempt_returned");
        assert_eq!(shown(&tid), name);
    }
}
