//! A drain that a signal begins, in processes of their own.

use std::os::unix::process::ExitStatusExt;
use std::process::exit;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use threadvisor::crossbeam_channel::{after, never};
use threadvisor::prelude::*;
use threadvisor::ShutdownCause;

use super::drain_of;
use crate::clock::ms;
use crate::program::{is_child, say, wait_for_parent, Program};
use crate::support::resident;

fn draining() -> Supervisor {
    let builder = Supervisor::builder().grace(Duration::MAX);
    builder.drain_on_signals(None).start().unwrap()
}

fn leave(report: &RunReport) -> ! {
    say(&format!("{:?}", report.shutdown.cause));
    say(&format!("{} unfinished", drain_of(report).unfinished));
    exit(i32::from(report.exit_code()))
}

#[test]
fn the_first_signal_lets_work_end() {
    if is_child() {
        let supervisor = draining();
        let job = TaskSpec::once("job", |ctx| {
            say("runs");
            while !ctx.handle().is_draining() {
                thread::yield_now();
            }
            // An echo of the signal changes nothing.
            signal_hook::low_level::raise(SIGTERM)?;
            say("drains");
            wait_for_parent();
            Ok(ctx.check()?)
        });
        let pulse = resident("pulse").restart(RestartPolicy::Always);
        leave(&supervisor.run([job, pulse]).unwrap());
    }
    let mut program = Program::start("drain::signals::the_first_signal_lets_work_end", &[]);
    program.expect("runs");
    program.signal("TERM");
    program.expect("drains");
    program.go_on();
    program.expect(&format!("{:?}", ShutdownCause::Signal(SIGTERM.into())));
    program.expect("0 unfinished");
    assert_eq!(program.status().code(), Some(0));
}

/// A job that ends in the drain, one that waits for its class if it is to, and what brings work.
fn interrupted() -> ! {
    let with_waiting = std::env::var_os("WITH_WAITING").is_some();
    let builder = Supervisor::builder().class_limit("one", 1).drain_on_signals(None);
    let supervisor = builder.start().unwrap();
    let runs = TaskSpec::once("runs", |ctx| {
        say("runs");
        while !ctx.handle().is_draining() {
            thread::yield_now();
        }
        Ok(())
    });
    let waits = TaskSpec::once("waits", |_| Ok(()));
    let accepts = TaskSpec::new("accepts", |ctx| Ok(ctx.sleep(Duration::MAX)?)).stop_at_drain();
    let jobs = std::iter::once(runs).chain(with_waiting.then_some(waits));
    let jobs = jobs.map(|job| job.class("one").finish_at_drain());
    leave(&supervisor.run([accepts].into_iter().chain(jobs)).unwrap())
}

#[test]
fn the_exit_code_after_an_interrupt_tells_of_a_job_that_has_not_begun_but_of_no_acceptor() {
    const TEST: &str = "drain::signals::\
        the_exit_code_after_an_interrupt_tells_of_a_job_that_has_not_begun_but_of_no_acceptor";
    if is_child() {
        interrupted();
    }
    for (before, code) in [(&["env", "WITH_WAITING=1"][..], 130), (&[], 0)] {
        let program = Program::start(TEST, before);
        program.expect("runs");
        program.signal("INT");
        program.expect(&format!("{:?}", ShutdownCause::Signal(SIGINT.into())));
        program.expect("0 unfinished");
        assert_eq!(program.status().code(), Some(code), "{before:?}");
    }
}

#[test]
fn the_second_signal_shuts_down_the_third_ends_the_grace_and_one_more_the_process() {
    if is_child() {
        let supervisor = draining();
        let handle = supervisor.handle();
        let stuck = TaskSpec::once("stuck", move |ctx| {
            say("runs");
            while !ctx.handle().is_draining() {
                thread::yield_now();
            }
            // The span within which a signal counts as an echo has to pass.
            let _ = after(ms(400)).recv();
            say("drains");
            let _ = ctx.cancelled().recv();
            let _ = after(ms(400)).recv();
            say("told");
            let _ = never::<()>().recv();
            Ok(())
        });
        handle.add(stuck).unwrap();
        let report = supervisor.wait_shutdown().unwrap();
        let drain = drain_of(&report);
        say(&format!("{} unfinished, {}", drain.unfinished, report.exit_code()));
        let _ = never::<()>().recv();
    }
    let name = "drain::signals::\
                the_second_signal_shuts_down_the_third_ends_the_grace_and_one_more_the_process";
    let program = Program::start(name, &[]);
    program.expect("runs");
    program.signal("TERM");
    program.expect("drains");
    program.signal("INT");
    program.expect("told");
    program.signal("TERM");
    program.expect("1 unfinished, 70");
    assert_eq!(program.end_by("TERM").signal(), Some(SIGTERM));
}

#[test]
fn of_the_two_settings_the_last_one_counts() {
    if is_child() {
        let builder = Supervisor::builder().drain_on_signals(None).shutdown_on_signals();
        let supervisor = builder.start().unwrap();
        let report = supervisor.run([TaskSpec::once("job", |ctx| {
            say("runs");
            Ok(ctx.sleep(Duration::MAX)?)
        })]);
        say(&format!("drained: {}", report.unwrap().shutdown.drain.is_some()));
        exit(0);
    }
    let name = "drain::signals::of_the_two_settings_the_last_one_counts";
    let program = Program::start(name, &[]);
    program.expect("runs");
    program.signal("TERM");
    program.expect("drained: false");
    assert_eq!(program.status().code(), Some(0));
}
