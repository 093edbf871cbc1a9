//! Signals, in processes of their own: nothing unasked, a clean stop when asked, and a way out.

#[cfg(not(all(any(unix, windows), feature = "signals")))]
#[test]
fn where_signals_are_not_supported_asking_for_them_is_a_typed_error() {
    use threadvisor::{StartError, Supervisor};

    let error = Supervisor::builder().shutdown_on_signals().start().unwrap_err();
    assert!(matches!(error, StartError::Unsupported("shutdown_on_signals")), "{error}");
}

#[cfg(all(windows, feature = "signals"))]
mod windows {
    use threadvisor::{StartError, Supervisor};

    /// The handler is installed once in a process, so a second supervisor must not ask for it.
    #[test]
    fn one_supervisor_after_the_other_and_two_at_once_listen() {
        let listening = || Supervisor::builder().shutdown_on_signals().start().unwrap();
        listening().shutdown().unwrap();
        let (one, other) = (listening(), listening());
        one.shutdown().unwrap();
        other.shutdown().unwrap();
    }

    #[test]
    fn a_callback_is_a_typed_error_beside_a_shutdown_too() {
        let builder = Supervisor::builder().shutdown_on_signals().on_signal(2, |_| {});
        let error = builder.start().unwrap_err();
        assert!(matches!(error, StartError::Unsupported("on_signal")), "{error}");
    }
}

#[cfg(all(unix, feature = "signals"))]
mod unix {
    use std::os::unix::process::ExitStatusExt;
    use std::process::exit;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    use std::time::Duration;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use threadvisor::crossbeam_channel::{after, bounded, never};
    use threadvisor::prelude::*;
    use threadvisor::{ManualClock, RunReport, ShutdownCause, Signal, StartError};

    use crate::program::{is_child, say, say_warnings, wait_for_parent, Program};
    use crate::runner::runner;
    use crate::support::{on_thread, resident};

    /// Without a grace that ends by itself: only a signal can end it.
    fn listening() -> Supervisor {
        Supervisor::builder().shutdown_on_signals().grace(Duration::MAX).start().unwrap()
    }

    /// Waits until a signal no longer counts as the echo of an earlier one.
    fn echo_passes() {
        let _ = after(Duration::from_millis(400)).recv();
    }

    /// Says how it went, and leaves as a `main` would.
    fn leave(report: &RunReport) -> ! {
        say(&format!("{:?}", report.shutdown.cause));
        say(&format!("{} abandoned", report.shutdown.abandoned.len()));
        exit(i32::from(report.exit_code()))
    }

    #[test]
    fn without_being_asked_a_supervisor_leaves_signals_alone() {
        if is_child() {
            let supervisor = Supervisor::builder().start().unwrap();
            supervisor.handle().add(resident("resident")).unwrap();
            say("runnable");
            leave(&supervisor.wait_shutdown().unwrap());
        }
        let name = "signals::unix::without_being_asked_a_supervisor_leaves_signals_alone";
        let program = Program::start(name, &[]);
        program.expect("runnable");
        program.signal("TERM");
        assert_eq!(program.status().signal(), Some(SIGTERM));
    }

    #[test]
    fn a_signal_is_a_clean_stop() {
        if is_child() {
            let supervisor = listening();
            let resident = resident("resident").restart(RestartPolicy::Always);
            supervisor.handle().add(resident).unwrap();
            say("runnable");
            leave(&supervisor.wait_shutdown().unwrap());
        }
        for (name, number) in [("TERM", SIGTERM), ("INT", SIGINT)] {
            let program = Program::start("signals::unix::a_signal_is_a_clean_stop", &[]);
            program.expect("runnable");
            program.signal(name);
            program.expect(&format!("{:?}", ShutdownCause::Signal(number.into())));
            program.expect("0 abandoned");
            assert_eq!(program.status().code(), Some(0));
        }
    }

    #[test]
    fn a_signal_ends_run() {
        if is_child() {
            let supervisor = listening();
            let spec = TaskSpec::new("says", |ctx| {
                say("runnable");
                Ok(ctx.sleep(Duration::MAX)?)
            });
            leave(&supervisor.run([spec]).unwrap());
        }
        let program = Program::start("signals::unix::a_signal_ends_run", &[]);
        program.expect("runnable");
        program.signal("INT");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGINT.into())));
        assert_eq!(program.status().code(), Some(130), "it was no resident");
    }

    #[test]
    fn the_echo_of_a_signal_is_no_second_one() {
        if is_child() {
            let supervisor = listening();
            let spec = TaskSpec::new("tidy", |ctx| {
                say("runnable");
                ctx.sleep(Duration::MAX).unwrap_err();
                // At once, as by a parent that forwards what the process group got as well.
                signal_hook::low_level::raise(SIGTERM)?;
                signal_hook::low_level::raise(SIGINT)?;
                say("told");
                wait_for_parent();
                Ok(())
            });
            leave(&supervisor.run([spec]).unwrap());
        }
        let mut program =
            Program::start("signals::unix::the_echo_of_a_signal_is_no_second_one", &[]);
        program.expect("runnable");
        program.signal("TERM");
        program.expect("told");
        program.go_on();
        program.expect("0 abandoned");
        assert_eq!(program.status().code(), Some(0));
    }

    #[test]
    fn a_later_signal_ends_the_grace_and_one_more_the_process() {
        if is_child() {
            let supervisor = listening();
            let spec = TaskSpec::new("stuck", |ctx| {
                say("runnable");
                ctx.sleep(Duration::MAX).unwrap_err();
                echo_passes();
                say("told");
                let _ = never::<()>().recv();
                Ok(())
            });
            supervisor.handle().add(spec).unwrap();
            let report = supervisor.wait_shutdown().unwrap();
            say(&format!("{} abandoned, {}", report.shutdown.abandoned.len(), report.exit_code()));
            let _ = never::<()>().recv();
        }
        let name = "signals::unix::a_later_signal_ends_the_grace_and_one_more_the_process";
        let program = Program::start(name, &[]);
        program.expect("runnable");
        program.signal("TERM");
        program.expect("told");
        program.signal("INT");
        program.expect("1 abandoned, 70");
        assert_eq!(program.end_by("TERM").signal(), Some(SIGTERM));
    }

    #[test]
    fn a_later_signal_counts_although_the_clock_of_the_tasks_stands_still() {
        if is_child() {
            let builder = Supervisor::builder().shutdown_on_signals().grace(Duration::MAX);
            let supervisor = builder.clock(&ManualClock::new()).start().unwrap();
            let spec = TaskSpec::new("stuck", |ctx| {
                signal_hook::low_level::raise(SIGTERM)?;
                ctx.sleep(Duration::MAX).unwrap_err();
                echo_passes();
                signal_hook::low_level::raise(SIGTERM)?;
                let _ = never::<()>().recv();
                Ok(())
            });
            leave(&supervisor.run([spec]).unwrap());
        }
        let name = "signals::unix::\
                    a_later_signal_counts_although_the_clock_of_the_tasks_stands_still";
        let program = Program::start(name, &[]);
        program.expect("1 abandoned");
        assert_eq!(program.status().code(), Some(70));
    }

    /// It comes when the grace is over, and when the supervisor has ended as well.
    #[test]
    fn the_echo_of_the_last_signal_does_not_end_the_process_before_its_report() {
        if is_child() {
            let supervisor = listening();
            let (tell, raised) = bounded(1);
            let spec = TaskSpec::new("stuck", move |ctx| {
                say("runnable");
                ctx.sleep(Duration::MAX).unwrap_err();
                echo_passes();
                tell.send(after(Duration::from_millis(200)))?;
                signal_hook::low_level::raise(SIGTERM)?;
                let _ = never::<()>().recv();
                Ok(())
            });
            let report = supervisor.run([spec]).unwrap();
            // Unless the machine is so busy that it would be no echo any more.
            if raised.recv().unwrap().try_recv().is_err() {
                signal_hook::low_level::raise(SIGINT).unwrap();
            }
            leave(&report);
        }
        let name = "signals::unix::\
                    the_echo_of_the_last_signal_does_not_end_the_process_before_its_report";
        let program = Program::start(name, &[]);
        program.expect("runnable");
        program.signal("TERM");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGTERM.into())));
        program.expect("1 abandoned");
        assert_eq!(program.status().code(), Some(70));
    }

    #[test]
    fn after_the_end_signals_have_their_default_effect_and_can_be_asked_for_again() {
        if is_child() {
            listening().shutdown().unwrap();
            let again = listening();
            say("again");
            let report = again.wait_shutdown().unwrap();
            say(&format!("{:?}", report.shutdown.cause));
            let _ = never::<()>().recv();
        }
        let name = "signals::unix::\
                    after_the_end_signals_have_their_default_effect_and_can_be_asked_for_again";
        let program = Program::start(name, &[]);
        program.expect("again");
        program.signal("TERM");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGTERM.into())));
        assert_eq!(program.end_by("TERM").signal(), Some(SIGTERM));
    }

    #[test]
    fn a_signal_that_is_ignored_from_the_start_stays_ignored() {
        if is_child() {
            say_warnings();
            let supervisor = listening();
            say("runnable");
            leave(&supervisor.wait_shutdown().unwrap());
        }
        if !runner().is_empty() {
            // An emulator has handlers of its own, so the system does not tell what was ignored.
            return;
        }
        let name = "signals::unix::a_signal_that_is_ignored_from_the_start_stays_ignored";
        let ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"];
        let program = Program::start(name, &ignoring);
        let said = program.until("runnable");
        let warned: Vec<_> = said.iter().filter(|line| line.starts_with("SIG")).collect();
        let [warned] = *warned else { panic!("{said:?}") };
        assert!(warned.starts_with("SIGINT was ignored when this program began, and stays so"));
        program.signal("INT");
        program.signal("TERM");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGTERM.into())));
        assert_eq!(program.status().code(), Some(0));
    }

    #[test]
    fn a_handler_of_the_program_works_before_during_and_after() {
        if is_child() {
            let heard = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(SIGINT, Arc::clone(&heard)).unwrap();
            let interrupt = || {
                signal_hook::low_level::raise(SIGINT).unwrap();
                say(if heard.swap(false, Ordering::SeqCst) { "heard" } else { "not heard" });
            };
            interrupt();
            let supervisor = listening();
            interrupt();
            let report = supervisor.wait_shutdown().unwrap();
            say(&format!("{:?}", report.shutdown.cause));
            interrupt();
            drop(listening());
            interrupt();
            say("over");
            let _ = never::<()>().recv();
        }
        let name = "signals::unix::a_handler_of_the_program_works_before_during_and_after";
        let program = Program::start(name, &[]);
        program.expect("heard");
        program.expect("heard");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGINT.into())));
        program.expect("heard");
        program.expect("heard");
        program.expect("over");
        // SIGTERM has no handler, so it ends the process as ever.
        assert_eq!(program.end_by("TERM").signal(), Some(SIGTERM));
    }

    #[test]
    fn a_signal_that_is_blocked_is_an_error_of_the_start() {
        if is_child() {
            let error = Supervisor::builder().shutdown_on_signals().start().unwrap_err();
            assert!(matches!(error, StartError::SignalBlocked(Signal::TERM)), "{error}");
            say(&error.to_string());
            Supervisor::builder().start().unwrap();
            say("works without");
            return;
        }
        let block = ["env", "--block-signal=TERM"];
        let can_block = Command::new(block[0]).args([block[1], "true"]).status();
        if !runner().is_empty() || !can_block.is_ok_and(|status| status.success()) {
            return;
        }
        let name = "signals::unix::a_signal_that_is_blocked_is_an_error_of_the_start";
        let program = Program::start(name, &block);
        let text = "SIGTERM is blocked on this thread and would never arrive";
        program.expect(&format!("{text}: unblock it before start()"));
        program.expect("works without");
        assert_eq!(program.status().code(), Some(0));
    }

    #[test]
    fn two_supervisors_hear_the_same_signal_and_one_that_ends_leaves_it_to_the_other() {
        if is_child() {
            let (first, second) = (listening(), listening());
            let third = listening();
            third.shutdown().unwrap();
            say("runnable");
            let ended = on_thread(move || first.wait_shutdown().unwrap());
            let report = second.wait_shutdown().unwrap();
            let cause = ended.recv().unwrap().shutdown.cause;
            assert_eq!(cause, report.shutdown.cause);
            leave(&report);
        }
        let name = "signals::unix::\
                    two_supervisors_hear_the_same_signal_and_one_that_ends_leaves_it_to_the_other";
        let program = Program::start(name, &[]);
        program.expect("runnable");
        program.signal("TERM");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGTERM.into())));
        assert_eq!(program.status().code(), Some(0));
    }

    #[test]
    fn many_supervisors_may_come_and_go_and_the_last_gives_the_signals_back() {
        if is_child() {
            let keep = Arc::new(listening());
            for _ in 0..20 {
                drop(listening());
            }
            assert!(!keep.handle().is_shutting_down());
            drop(keep);
            say("runnable");
            let _ = never::<()>().recv();
        }
        let name = "signals::unix::\
                    many_supervisors_may_come_and_go_and_the_last_gives_the_signals_back";
        let program = Program::start(name, &[]);
        program.expect("runnable");
        program.signal("INT");
        assert_eq!(program.status().signal(), Some(SIGINT));
    }
}
