//! How the end of a process is judged.

use std::fs;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{ProcessExit, Program, Signal};

use super::{heard, is_alive, run_once, sh, until_dead, MS};
use crate::program::{is_child, say, say_warnings, Program as TestProgram};
use crate::service::Place;
use crate::support::{next, on_thread, outcome_of, Rig};

#[test]
fn an_exit_status_is_kept() {
    let exit = run_once(Program::new("true")).unwrap();
    assert_eq!((exit.code, exit.signal, exit.core_dumped), (Some(0), None, false));
    assert_eq!(exit.to_string(), "exit status 0");
    for code in [1, 3, 255] {
        let error = run_once(sh(&format!("exit {code}"))).unwrap_err();
        assert_eq!((error.exit_code(), error.is_fatal()), (Some(code), false));
        assert_eq!(error.to_string(), format!("exit status {code}"));
    }
}

#[test]
fn which_codes_mean_success_or_the_end_is_for_the_program_to_say() {
    let exit_with = |code: u8| sh(&format!("exit {code}")).success_codes([5]).fatal_codes([2, 6]);
    assert_eq!(run_once(exit_with(5)).unwrap().code, Some(5));
    assert_eq!(run_once(exit_with(0)).unwrap_err().exit_code(), Some(1), "0 is none of them");
    let error = run_once(exit_with(2)).unwrap_err();
    assert!(error.is_fatal());
    assert_eq!(error.exit_code(), Some(2));
    assert_eq!(error.downcast_ref::<ProcessExit>().unwrap().code, Some(2));

    let supervisor = Supervisor::builder().start().unwrap();
    let spec = TaskSpec::process("wrong", exit_with(6)).restart(RestartPolicy::Always);
    let report = supervisor.run([spec]).unwrap();
    assert_eq!((report.outcomes.fatal, report.exit_code()), (1, 6));
}

#[test]
fn a_signal_of_somebody_else_is_a_failure() {
    for (name, signal) in [("TERM", Signal::TERM), ("SEGV", Signal::SEGV)] {
        let error = run_once(sh(&format!("ulimit -c 0; kill -{name} $$"))).unwrap_err();
        assert_eq!(error.to_string(), format!("killed by SIG{name}"));
        assert_eq!(i32::from(error.exit_code().unwrap()), 128 + signal.as_raw());
        let exit: &ProcessExit = error.downcast_ref().unwrap();
        assert_eq!((exit.code, exit.signal), (None, Some(signal)));
    }
    let error = run_once(sh("kill -KILL $$")).unwrap_err();
    assert_eq!(error.to_string(), "killed by SIGKILL, but not by its supervisor (out of memory?)");
    assert_eq!(error.exit_code(), Some(137));
}

/// Whether there is one is for the system to say.
#[test]
fn a_core_dump_is_told() {
    let folder = Place::new();
    fs::create_dir(&folder.0).unwrap();
    let program = sh("ulimit -c unlimited; kill -SEGV $$").current_dir(&folder.0);
    let error = run_once(program).unwrap_err();
    let exit: &ProcessExit = error.downcast_ref().unwrap();
    let is_there = fs::read_dir(&folder.0).unwrap().count() > 0;
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // Elsewhere it may be, or a program may have got it.
    if !pattern.contains(['/', '|']) {
        assert_eq!(exit.core_dumped, is_there);
    }
    assert_eq!(error.to_string().ends_with(" (core dumped)"), exit.core_dumped);
    fs::remove_dir_all(&folder.0).unwrap();
}

#[test]
fn the_last_words_of_a_process_are_in_its_error() {
    let script = "echo out; for n in 1 2 3 4 5 6; do echo line $n >&2; done; exit 1";
    let error = run_once(heard(sh(script)).0).unwrap_err();
    let lines = "line 2 | line 3 | line 4 | line 5 | line 6";
    assert_eq!(error.to_string(), format!("exit status 1; last output: {lines}"));
    let exit: &ProcessExit = error.downcast_ref().unwrap();
    assert_eq!(exit.last_lines.len(), 5);
    let error = run_once(heard(sh("echo out; exit 1")).0).unwrap_err();
    assert_eq!(error.to_string(), "exit status 1; last output: out");
}

#[test]
fn helpers_that_are_left_are_killed_unless_they_are_to_stay() {
    let daemon = "sleep 1000 & echo $!; exit 0";
    let (program, lines) = heard(sh(daemon));
    run_once(program).unwrap();
    until_dead(&next(&lines));

    let (program, lines) = heard(sh("sleep 1000 >&- 2>&- & echo $!").leave_helpers());
    run_once(program).unwrap();
    let pid = next(&lines);
    assert!(is_alive(&pid));
    run_once(Program::new("kill").args(["-KILL", &pid])).unwrap();
    until_dead(&pid);
}

/// A process that has left the group holds the pipe.
#[test]
fn a_stranger_with_the_pipe_does_not_hold_up_the_end() {
    let (program, lines) =
        heard(sh("setsid sh -c 'echo $$; exec sleep 1000' & wait_for_it=1; sleep 0.2"));
    let exit = run_once(program).unwrap();
    assert!(exit.ran < Duration::from_secs(60));
    let pid = next(&lines);
    assert!(is_alive(&pid), "it has left the group on purpose");
    run_once(Program::new("kill").args(["-KILL", &pid])).unwrap();
}

#[test]
fn what_a_stranger_writes_later_is_told_once_to_be_lost() {
    if is_child() {
        say_warnings();
        let (mut program, lines) = heard(sh("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.2"));
        for _ in 0..2 {
            program.run(&TaskContext::detached().0).unwrap();
            run_once(Program::new("kill").args(["-KILL", &next(&lines)])).unwrap();
        }
        return say("done");
    }
    let name = "process::exits::what_a_stranger_writes_later_is_told_once_to_be_lost";
    let said = TestProgram::start(name, &[]).until("done");
    let text = "the output of ";
    assert_eq!(said.iter().filter(|line| line.starts_with(text)).count(), 1, "{said:?}");
}

/// One that never stops writing is heard for a second.
#[test]
fn a_stranger_that_goes_on_writing_does_not_hold_up_the_end_either() {
    let (program, lines) = heard(sh("setsid sh -c 'echo $$; exec yes' & sleep 0.2"));
    run_once(program).unwrap();
    let pid = next(&lines);
    until_dead(&pid);
}

#[test]
fn a_process_is_run_again_as_any_body() {
    let supervisor = Supervisor::builder().start().unwrap();
    let (program, lines) = heard(sh("echo run; exit 1"));
    let spec = TaskSpec::process("fails", program).backoff(BackoffPolicy::constant(MS));
    let task = supervisor.handle().add(spec.max_retries(3)).unwrap();
    let Outcome::Failed { error, .. } = outcome_of(&task) else { panic!("{task:?}") };
    assert_eq!(error.exit_code(), Some(1));
    assert_eq!(lines.try_iter().count(), 4, "each attempt had its own pipes");
}

/// Its number may belong to anybody, although its output is still read.
#[test]
fn a_process_that_somebody_else_has_reaped_gets_no_signal() {
    let rig = Rig::new();
    let (tell, helpers) = bounded(1);
    let program = sh("setsid sleep 1000 & echo $$ $!; exit 3").on_line(move |_, line| {
        let (own, helper) = line.text.split_once(' ').unwrap();
        let own = rustix::process::Pid::from_raw(own.parse().unwrap());
        rustix::process::waitpid(own, rustix::process::WaitOptions::empty()).unwrap();
        tell.send(helper.to_owned()).unwrap();
    });
    let spec = TaskSpec::process("robbed", program).restart(RestartPolicy::Never);
    let task = rig.handle.add(spec).unwrap();
    let helper = next(&helpers);
    rig.until_label("process_exited");
    assert_eq!((task.pid(), task.signal(Signal::USR1)), (None, false));
    let text = outcome_of(&task).to_string();
    assert!(text.contains("something else in this program reaps its children"), "{text}");
    assert!(is_alive(&helper), "it may be anybody's");
    let helper = rustix::process::Pid::from_raw(helper.parse().unwrap()).unwrap();
    rustix::process::kill_process(helper, rustix::process::Signal::KILL).unwrap();
}

/// Whoever waits for any child takes the status away.
#[test]
fn without_a_status_there_is_an_end_all_the_same() {
    if is_child() {
        let done = std::sync::Arc::new(());
        let running = std::sync::Arc::downgrade(&done);
        let thief = on_thread(move || {
            while running.strong_count() > 0 {
                let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
            }
        });
        let stolen = || run_once(Program::new("true")).err().map(|error| error.to_string());
        let text = std::iter::repeat_with(stolen).flatten().next().unwrap();
        drop(done);
        next(&thief);
        return say(&text);
    }
    let name = "process::exits::without_a_status_there_is_an_end_all_the_same";
    let program = TestProgram::start(name, &[]);
    program.expect("exit status unknown: something else in this program reaps its children");
    assert!(program.status().success());
}
