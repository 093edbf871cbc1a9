//! The callbacks of `on_signal`, in processes of their own.

#[cfg(not(all(unix, feature = "signals")))]
#[test]
fn where_signals_are_not_supported_a_callback_is_a_typed_error() {
    use threadvisor::{StartError, Supervisor};

    let error = Supervisor::builder().on_signal(10, |_| {}).start().unwrap_err();
    assert!(matches!(error, StartError::Unsupported("on_signal")), "{error}");
}

#[cfg(all(unix, feature = "signals"))]
mod unix {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use signal_hook::consts::{SIGINT, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::low_level::raise;
    use threadvisor::crossbeam_channel::{after, unbounded, Receiver, Sender};
    use threadvisor::prelude::*;
    use threadvisor::{HookSource, Signal, StartError, SupervisorBuilder};

    use crate::program::{is_child, say, Program};
    use crate::support::{next, no_op, on_thread, thread_name, Gate};

    /// Runs this test once more, in a process of its own, which must come to its end.
    fn in_a_process(test: &str) {
        let program = Program::start(&format!("on_signal::unix::{test}"), &[]);
        program.expect("done");
        assert_eq!(program.status().code(), Some(0), "{test}");
    }

    /// A supervisor that says when it has heard of SIGUSR2, and so of every signal before.
    fn with_marker(builder: SupervisorBuilder) -> (Supervisor, impl Fn()) {
        let (mark, marked) = unbounded();
        let supervisor = builder.on_signal(SIGUSR2, move |_| mark.send(()).unwrap()).start();
        let is_heard = move || {
            raise(SIGUSR2).unwrap();
            next(&marked);
        };
        (supervisor.unwrap(), is_heard)
    }

    /// A callback that says that it runs, and is held by the gate.
    fn held(gate: &Gate) -> (impl FnMut(&SupervisorHandle) + Send, Receiver<String>) {
        let (enter, entered) = unbounded();
        let hold = gate.hold();
        let callback = move |_: &SupervisorHandle| {
            let _ = enter.send(thread_name());
            hold();
        };
        (callback, entered)
    }

    #[test]
    fn one_call_runs_at_a_time_and_a_signal_that_comes_meanwhile_is_remembered_once() {
        if !is_child() {
            let name =
                "one_call_runs_at_a_time_and_a_signal_that_comes_meanwhile_is_remembered_once";
            return in_a_process(name);
        }
        let mut gate = Gate::new();
        let (callback, entered) = held(&gate);
        let (supervisor, is_heard) =
            with_marker(Supervisor::builder().on_signal(SIGUSR1, callback));
        raise(SIGUSR1).unwrap();
        let thread = next(&entered);
        assert!(thread.starts_with('w') || thread.starts_with("hook"), "{thread}");
        for _ in 0..3 {
            raise(SIGUSR1).unwrap();
            is_heard();
        }
        assert!(entered.is_empty(), "two calls at a time");
        gate.open();
        next(&entered);
        is_heard();
        assert!(supervisor.handle().snapshot().unwrap().is_healthy());
        assert!(entered.is_empty(), "remembered more than once");
        raise(SIGUSR1).unwrap();
        next(&entered);
        say("done");
    }

    #[test]
    fn the_callback_may_use_the_supervisor_and_ends_on_a_worker() {
        struct Token(Sender<String>);
        impl Drop for Token {
            fn drop(&mut self) {
                let _ = self.0.send(thread_name());
            }
        }
        let name = "the_callback_may_use_the_supervisor_and_ends_on_a_worker";
        if !is_child() {
            return in_a_process(name);
        }
        let (drops, dropped) = unbounded();
        let (add, added) = unbounded();
        let token = Token(drops);
        let supervisor = Supervisor::builder()
            .max_concurrent(1)
            .on_signal(SIGUSR1, move |supervisor| {
                let _owned = &token;
                supervisor.flush_events().unwrap_err();
                add.send(supervisor.add(no_op("added")).unwrap()).unwrap();
            })
            .start()
            .unwrap();
        // It needs no permit.
        let resident = TaskSpec::new("resident", |ctx| Ok(ctx.sleep(Duration::MAX)?));
        let resident = supervisor.handle().add(resident).unwrap();
        raise(SIGUSR1).unwrap();
        let task: TaskHandle = next(&added);
        resident.cancel();
        assert!(task.wait().unwrap().is_success());
        supervisor.shutdown().unwrap();
        let thread = next(&dropped);
        let by_pool = thread.starts_with('w') && !thread.starts_with("w0");
        assert!(by_pool, "dropped on {thread}");
        say("done");
    }

    #[test]
    fn after_the_end_the_signal_has_the_effect_that_it_had_before() {
        if is_child() {
            let (ran, runs) = unbounded();
            let builder = Supervisor::builder().on_signal(SIGUSR1, move |_| ran.send(()).unwrap());
            let supervisor = builder.start().unwrap();
            raise(SIGUSR1).unwrap();
            next(&runs);
            supervisor.shutdown().unwrap();
            raise(SIGUSR1).unwrap();
            say("survived");
        }
        let name = "on_signal::unix::after_the_end_the_signal_has_the_effect_that_it_had_before";
        let program = Program::start(name, &[]);
        assert_eq!(program.status().signal(), Some(SIGUSR1));
    }

    #[test]
    fn no_call_starts_once_a_shutdown_has_begun() {
        if !is_child() {
            return in_a_process("no_call_starts_once_a_shutdown_has_begun");
        }
        let mut gate = Gate::new();
        let (callback, entered) = held(&gate);
        let (supervisor, is_heard) =
            with_marker(Supervisor::builder().on_signal(SIGUSR1, callback));
        raise(SIGUSR1).unwrap();
        next(&entered);
        raise(SIGUSR1).unwrap();
        is_heard();
        supervisor.handle().request_shutdown();
        gate.open();
        let report = supervisor.shutdown().unwrap();
        assert!(report.shutdown.stuck_hooks.is_empty());
        assert!(entered.is_empty(), "a call started");
        say("done");
    }

    #[test]
    fn a_slow_or_panicking_callback_is_reported_and_a_stuck_one_is_in_the_ledger() {
        if !is_child() {
            let name = "a_slow_or_panicking_callback_is_reported_and_a_stuck_one_is_in_the_ledger";
            return in_a_process(name);
        }
        let gate = Gate::new();
        let (callback, entered) = held(&gate);
        let ((tell, told), (tell_slow, slow)) = (unbounded(), unbounded());
        let supervisor = Supervisor::builder()
            .grace(Duration::from_millis(150))
            .max_abandoned(0)
            .on_signal(SIGUSR1, callback)
            .on_signal(SIGUSR2, |_| panic!("on purpose"))
            .on_event(move |event| match &event.kind {
                EventKind::HookSlow { source, .. } => tell_slow.send(*source).unwrap(),
                EventKind::HookPanicked { source, message } => {
                    assert_eq!(&**message, "on purpose");
                    tell.send((*source, event.to_string())).unwrap();
                }
                _ => {}
            })
            .start()
            .unwrap();
        for _ in 0..2 {
            raise(SIGUSR2).unwrap();
            let (source, line) = next(&told);
            assert_eq!(source, HookSource::Signal(Signal::USR2));
            assert!(line.contains(" signal=SIGUSR2 "), "{line}");
        }
        assert!(supervisor.handle().snapshot().unwrap().is_healthy());
        raise(SIGUSR1).unwrap();
        let thread = next(&entered);
        // On a busy machine a panic takes long as well.
        while next(&slow) != HookSource::Signal(Signal::USR1) {}
        let snapshot = std::iter::repeat_with(|| {
            let _ = after(Duration::from_millis(10)).recv();
            supervisor.handle().snapshot().unwrap()
        });
        let snapshot =
            snapshot.take(6000).find(|snapshot| !snapshot.stuck_hooks.is_empty()).unwrap();
        assert!(!snapshot.is_healthy() && snapshot.abandoned.is_empty());
        let refused = supervisor.handle().add(no_op("refused")).unwrap_err();
        assert_eq!(refused.rejection(), Some(Rejection::TooManyAbandoned { limit: 0 }));
        let ended = on_thread(move || supervisor.shutdown().unwrap());
        let report = next(&ended).shutdown;
        let [stuck] = &*report.stuck_hooks else { panic!("{report}") };
        assert_eq!((stuck.source, &*stuck.thread), (HookSource::Signal(Signal::USR1), &*thread));
        let line = format!("still running: the hook of SIGUSR1, on thread {thread}");
        assert!(report.to_string().contains(&line), "{report}");
        say("done");
    }

    #[test]
    fn a_signal_that_cannot_be_had_is_an_error_of_the_start() {
        let start = |signals: &[i32], shutdown: bool| {
            let mut builder = Supervisor::builder();
            if shutdown {
                builder = builder.shutdown_on_signals();
            }
            for &signal in signals {
                builder = builder.on_signal(signal, |_| {});
            }
            builder.start().unwrap_err()
        };
        for signal in [SIGKILL, SIGSEGV, 0, -1, i32::MIN, i32::MAX, 128] {
            let error = start(&[signal], false);
            assert!(matches!(error, StartError::Invalid(_)), "{signal}: {error}");
            let text = format!(
                "on_signal cannot be {signal}: choose another signal, because no program can \
                 handle this one"
            );
            assert_eq!(error.to_string(), text);
        }
        for error in [
            start(&[SIGTERM], true),
            start(&[SIGUSR1, SIGINT], true),
            start(&[SIGUSR1, SIGUSR1], false),
        ] {
            assert!(error.to_string().contains("set one callback for a signal"), "{error}");
        }
        // A signal without a name is a real-time one, or does not exist.
        assert!(matches!(start(&[127], false), StartError::Signals(_)));
    }
}
