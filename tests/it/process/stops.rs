//! How a process is stopped, with all that belongs to it.

use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::{ProcessExit, Program, Signal};

use super::{heard, helper_of, is_alive, sh, until, until_dead, with_helper, LONG, MS};
use crate::support::{next, on_thread, outcome_of};

/// A task that runs the program under a supervisor with this grace.
fn started(grace: Duration, program: Program) -> (Supervisor, TaskHandle, Receiver<String>) {
    let supervisor = Supervisor::builder().grace(grace).start().unwrap();
    let (program, lines) = heard(program);
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    (supervisor, task, lines)
}

/// What the body returned when its task was cancelled.
fn returned(task: &TaskHandle) -> Option<TaskResult> {
    task.cancel();
    match outcome_of(task) {
        Outcome::Cancelled { returned, .. } => returned,
        other => panic!("{other}"),
    }
}

#[test]
fn a_process_that_obeys_is_a_success() {
    let (_supervisor, task, lines) =
        started(LONG, sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"));
    assert_eq!(next(&lines), "up");
    assert!(matches!(returned(&task), Some(Ok(()))));
    until(&lines, "bye"); // what it says at its end is heard
                          // Neither does one that the signal ends fail.
    let (_supervisor, task, lines) = started(LONG, sh("echo up; exec sleep 1000"));
    next(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))));
    // But an exit status of its own is what it says.
    let (_supervisor, task, lines) =
        started(LONG, sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"));
    next(&lines);
    assert_eq!(returned(&task).unwrap().unwrap_err().exit_code(), Some(7));
}

#[test]
fn a_deaf_process_is_killed_within_its_grace() {
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let (_supervisor, task, lines) = started(LONG, sh(deaf).stop_timeout(20 * MS));
    next(&lines);
    let error = returned(&task).unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("killed after ") && text.contains(": it ignores SIGTERM"), "{text}");
    assert_eq!(error.downcast_ref::<ProcessExit>().unwrap().signal, Some(Signal::KILL));
}

#[test]
fn a_signal_that_is_blocked_is_named() {
    let mut command = std::process::Command::new("env");
    command.args(["--block-signal=TERM", "sh", "-c", "echo up; exec sleep 1000"]);
    let (_supervisor, task, lines) = started(LONG, Program::new(command).stop_timeout(20 * MS));
    next(&lines);
    let text = returned(&task).unwrap().unwrap_err().to_string();
    assert!(text.contains(" s: it blocks SIGTERM"), "{text}");
}

#[test]
fn a_process_that_is_stopped_is_woken_to_end() {
    let (_supervisor, task, lines) = started(LONG, sh("echo up; kill -STOP $$; sleep 1000"));
    next(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))));
}

#[test]
fn another_signal_may_mean_stop() {
    let script = "trap 'echo int; exit 0' INT; echo up; while :; do sleep 0.01; done";
    let (_supervisor, task, lines) = started(LONG, sh(script).stop_signal(Signal::INT));
    next(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))));
    until(&lines, "int");
}

/// The shell dies at once and its server ends later: that is waited for.
#[test]
fn a_helper_has_its_time_to_end_though_the_leader_is_gone() {
    let server = with_helper("sleep 0.2; echo done; exit", ":");
    let (_supervisor, task, lines) = started(LONG, server);
    helper_of(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))));
    until(&lines, "done");
}

/// Also one that holds no pipe.
#[test]
fn a_helper_that_does_not_end_is_killed() {
    let deaf = with_helper("", "exec >&- 2>&-").stop_timeout(300 * MS);
    let (_supervisor, task, lines) = started(LONG, deaf);
    let helper = helper_of(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))), "the leader has obeyed");
    until_dead(&helper);
}

#[test]
fn only_the_leader_is_asked_if_that_is_wanted() {
    let script = "(trap 'echo told' TERM; echo up; while :; do sleep 0.01; done) & \
                  trap 'exit 0' TERM; wait";
    let program = sh(script).stop_leader_only().stop_timeout(100 * MS);
    let (_supervisor, task, lines) = started(LONG, program);
    next(&lines);
    assert!(matches!(returned(&task), Some(Ok(()))));
    assert!(!lines.try_iter().any(|line| line == "told"));
}

/// By the controller: the thread of the attempt may be anywhere.
#[test]
fn an_attempt_that_is_abandoned_has_its_process_killed() {
    let supervisor = Supervisor::builder().grace(10 * MS).start().unwrap();
    let (held, holds) = bounded::<String>(0);
    let (go_on, gate) = bounded::<()>(0);
    // The body does not come back from the line that it is told.
    let script = "trap '' TERM; sleep 1000 & echo $! $$; while :; do sleep 0.01; done";
    let program = sh(script).on_line(move |_, line| {
        let _ = held.send(line.text.to_owned());
        let _ = gate.recv();
    });
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    let pids = next(&holds);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }));
    pids.split(' ').for_each(until_dead);
    drop(go_on);
}

#[test]
fn without_grace_a_process_is_killed_at_once() {
    let (supervisor, task, lines) =
        started(Duration::ZERO, sh("trap '' TERM; echo $$; sleep 1000"));
    let pid = next(&lines);
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.outcomes.abandoned + report.outcomes.cancelled, 1);
    until_dead(&pid);
    assert!(task.outcome().is_some());
}

#[test]
fn a_supervisor_that_is_dropped_in_a_panic_kills_its_processes() {
    let (supervisor, _task, lines) = started(LONG, sh("trap '' TERM; echo $$; sleep 1000"));
    let pid = next(&lines);
    let panics = move || {
        let _supervisor = supervisor;
        panic!("on purpose");
    };
    assert!(on_thread::<()>(panics).recv().is_err());
    until_dead(&pid);
}

/// The next attempt finds the port free.
#[test]
fn a_restart_begins_when_all_of_the_old_process_is_gone() {
    let slow = with_helper("sleep 0.1; exit", "exec >&- 2>&-");
    let (_supervisor, task, lines) = started(LONG, slow);
    let first = helper_of(&lines);
    assert!(task.restart());
    until(&lines, "up"); // the next one
    assert!(!is_alive(&first));
    task.cancel();
    let _ = outcome_of(&task);
}

#[test]
fn a_timeout_stops_the_process_and_is_a_failure() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let (program, lines) = heard(sh("echo $$; exec sleep 1000"));
    let spec = TaskSpec::process("task", program).timeout(50 * MS).max_retries(1);
    let task = supervisor.handle().add(spec.backoff(BackoffPolicy::constant(MS))).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::TimedOut { .. }));
    for pid in lines.try_iter() {
        assert!(!is_alive(&pid));
    }
}

#[test]
fn a_panic_of_a_callback_leaves_no_process() {
    let supervisor = Supervisor::builder().start().unwrap();
    let (tell, pids) = unbounded();
    let program = sh("echo $$; exec sleep 1000").on_line(move |_, line| {
        tell.send(line.text.to_owned()).unwrap();
        panic!("on purpose");
    });
    let spec = TaskSpec::process("panics", program).restart(RestartPolicy::Never);
    let task = supervisor.handle().add(spec).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
    assert!(!is_alive(&next(&pids)));
}

#[test]
fn a_handle_signals_the_process_until_it_is_reaped() {
    let script = "trap 'echo hup' HUP; trap 'echo usr' USR1; trap 'exit 3' QUIT; echo $$; \
                  while :; do sleep 0.01; done";
    let supervisor = Supervisor::builder().start().unwrap();
    let (program, lines) = heard(sh(script));
    let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
    let task = supervisor.handle().add(spec).unwrap();
    let pid = next(&lines);
    assert_eq!(task.pid().map(|pid| pid.to_string()), Some(pid));
    assert!(task.reload());
    assert_eq!(next(&lines), "hup");
    assert!(task.signal(Signal::USR1));
    assert_eq!(next(&lines), "usr");
    assert!(!task.signal(Signal::from_raw(0)), "that is no signal");
    assert!(task.signal(Signal::QUIT));
    let Outcome::Failed { error, .. } = outcome_of(&task) else { panic!("{task:?}") };
    assert_eq!(error.exit_code(), Some(3));
    assert!(!task.signal(Signal::QUIT) && !task.reload() && task.pid().is_none());
}

#[test]
fn the_time_to_stop_raises_a_grace_that_is_not_set_and_is_refused_above_one_that_is() {
    let spec = || TaskSpec::process("task", Program::new("true").stop_timeout(LONG));
    assert!(spec().validate().is_ok());
    let error = spec().grace(LONG / 2).validate().unwrap_err();
    assert_eq!(
        (error.field, error.remedy),
        ("stop_timeout", "give at most `grace`, or raise that")
    );
}

#[test]
fn without_an_end_of_the_grace_a_process_has_all_the_time_it_takes() {
    let script = "trap 'echo term' TERM; trap 'exit 0' USR1; echo up; while :; do sleep 0.01; done";
    let supervisor = Supervisor::builder().grace(None).start().unwrap();
    let (program, lines) = heard(sh(script));
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    next(&lines);
    task.cancel();
    until(&lines, "term");
    assert!(task.outcome().is_none());
    assert!(task.signal(Signal::USR1));
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
}

#[test]
fn a_process_that_is_replaced_is_gone_before_its_successor_starts() {
    let slow = with_helper("sleep 0.1; exit", "exec >&- 2>&-");
    let (supervisor, first, lines) = started(LONG, slow);
    let helper = helper_of(&lines);
    let (program, later) = heard(sh("echo up; exec sleep 1000"));
    let second = TaskSpec::process("task", program);
    let second = supervisor.handle().submit(second, AdmissionPolicy::Replace).unwrap();
    next(&later);
    assert!(!is_alive(&helper));
    let _ = outcome_of(&first);
    second.cancel();
    let _ = outcome_of(&second);
}

#[test]
fn a_shutdown_ends_many_deaf_processes_at_once() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let (tell, lines) = unbounded();
    let specs: Vec<_> = (0..200)
        .map(|n| {
            let tell = tell.clone();
            let deaf = sh("trap '' TERM; echo $$; exec sleep 1000").stop_timeout(20 * MS);
            let deaf = deaf.on_line(move |_, line| drop(tell.send(line.text.to_owned())));
            TaskSpec::process(format!("deaf {n}"), deaf)
        })
        .collect();
    supervisor.handle().add_all(specs).unwrap();
    let pids: Vec<_> = (0..200).map(|_| next(&lines)).collect();
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.outcomes.cancelled, 200);
    assert!(!pids.iter().any(|pid| is_alive(pid)));
}

#[test]
fn a_shutdown_hurries_processes_that_were_told_before_it() {
    let supervisor = Supervisor::builder().grace(3000 * MS).start().unwrap();
    let handle = supervisor.handle();
    let started = |name: &'static str, program: Program| {
        let (program, lines) = heard(program);
        let task = handle.add(TaskSpec::process(name, program).grace(2 * LONG)).unwrap();
        until(&lines, "up");
        task
    };
    let deaf = || sh("trap '' TERM; echo up; exec sleep 1000");
    let helper = sh("(trap '' TERM; echo up; exec sleep 1000) & exec sleep 1000");
    let tasks = [
        started("deaf", deaf()),
        started("with stop_timeout", deaf().stop_timeout(LONG)),
        started("with a deaf helper", helper.stop_timeout(LONG)),
    ];
    for task in &tasks {
        task.cancel();
        while task.state() != TaskState::Stopping {}
    }
    let report = supervisor.shutdown().unwrap();
    assert_eq!((report.outcomes.cancelled, report.exit_code()), (3, 0), "{report}");
}

/// What holds the pipe is not of the group, and never silent.
#[test]
fn a_stop_while_the_rest_of_the_output_is_read_is_obeyed_in_time() {
    let script = "setsid sh -c 'echo $$; while :; do echo x; sleep 0.01; done' & \
                  sleep 0.1; echo leader $$";
    let (_supervisor, task, lines) = started(900 * MS, sh(script));
    let stranger = next(&lines);
    let leader = loop {
        if let Some(pid) = next(&lines).strip_prefix("leader ") {
            break pid.to_owned();
        }
    };
    until_dead(&leader);
    task.cancel();
    let outcome = outcome_of(&task);
    super::run_once(Program::new("kill").args(["-KILL", &stranger])).unwrap();
    assert!(!matches!(outcome, Outcome::Abandoned { .. }), "{outcome}");
}

#[cfg(feature = "signals")]
#[test]
fn a_second_signal_to_the_supervisor_leaves_no_process() {
    use crate::program::{is_child, say, Program as TestProgram};
    use threadvisor::crossbeam_channel::after;

    if !is_child() {
        let name = "process::stops::a_second_signal_to_the_supervisor_leaves_no_process";
        let program = TestProgram::start(name, &[]);
        program.expect("gone");
        assert!(program.status().success());
        return;
    }
    let builder = Supervisor::builder().shutdown_on_signals().grace(LONG);
    let supervisor = builder.start().unwrap();
    let handle = supervisor.handle();
    let (program, lines) = heard(sh("trap '' TERM; echo $$; exec sleep 1000"));
    let task = handle.add(TaskSpec::process("deaf", program)).unwrap();
    let pid = next(&lines);
    let ended = on_thread(move || supervisor.wait_shutdown().unwrap());
    let raise = || signal_hook::low_level::raise(Signal::TERM.as_raw()).unwrap();
    raise();
    while !handle.snapshot().unwrap().shutting_down {}
    // One that comes sooner counts as the echo of the first.
    let _ = after(400 * MS).recv();
    assert!(is_alive(&pid) && task.outcome().is_none());
    raise();
    let report = next(&ended);
    assert_eq!(report.outcomes.abandoned, 1, "{report}");
    until_dead(&pid);
    say("gone");
}
