//! What events and snapshots say of a process.

use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::{ManualClock, ProcessExit, Signal};

use super::{heard, helper_of, run_once, sh, with_helper, LONG, MS};
use crate::support::{next, outcome_of};

/// A supervisor, and the events about processes.
fn observed(grace: Duration) -> (Supervisor, Receiver<EventKind>) {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().grace(grace).on_event(move |event| {
        if event.kind.label().starts_with("process") {
            assert!(event.task.is_some() && event.kind.attempt() == Some(1));
            let _ = tell.send(event.kind.clone());
        }
    });
    (builder.start().unwrap(), told)
}

#[test]
fn a_process_is_told_of_from_its_start_to_its_end() {
    let (supervisor, events) = observed(LONG);
    let (program, lines) = heard(sh("echo $$; read line; exit 3"));
    // The pipe to which nobody writes holds it until it gets a signal.
    let program = program.stdin(std::process::Stdio::piped());
    let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
    let task = supervisor.handle().add(spec).unwrap();
    let own: u32 = next(&lines).parse().unwrap();
    let EventKind::ProcessStarted { pid, .. } = next(&events) else { panic!() };
    let snapshot = supervisor.handle().snapshot().unwrap();
    assert_eq!((pid, task.pid()), (own, Some(own)));
    assert_eq!(snapshot.task(task.id()).unwrap().pid, Some(own));
    assert!(task.signal(Signal::USR1));
    let _ = outcome_of(&task);
    match next(&events) {
        EventKind::ProcessExited { pid, code: None, signal: Some(Signal::USR1), .. } => {
            assert_eq!(pid, own);
        }
        other => panic!("{other}"),
    }
    assert_eq!(task.pid(), None);
    assert_eq!(
        EventKind::ProcessStarted { attempt: 1, pid: 7 }.to_string(),
        "process_started attempt=1 pid=7"
    );
}

#[test]
fn a_process_that_must_be_killed_is_told_of() {
    let (supervisor, events) = observed(LONG);
    let (program, lines) = heard(sh("trap '' TERM; echo up; while :; do sleep 0.01; done"));
    let program = program.stop_timeout(10 * MS);
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    next(&lines);
    task.cancel();
    let _ = outcome_of(&task);
    let labels = [next(&events), next(&events), next(&events)];
    match &labels[1] {
        EventKind::ProcessKilled { why, .. } => assert!(why.ends_with("s: it ignores SIGTERM")),
        other => panic!("{other}"),
    }
    assert_eq!(labels[2].label(), "process_exited");
}

#[test]
fn the_process_of_an_abandoned_attempt_is_killed_before_that_is_told() {
    let (supervisor, events) = observed(10 * MS);
    let (let_go, held) = bounded::<()>(0);
    let (tell, told) = bounded::<()>(0);
    let program = sh("trap '' TERM; echo up; while :; do sleep 0.01; done");
    let program = program.on_line(move |_, _| {
        let _ = (tell.send(()), held.recv());
    });
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    next(&told);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }));
    assert_eq!(next(&events).label(), "process_started");
    match next(&events) {
        EventKind::ProcessKilled { why, .. } => assert_eq!(&*why, "its attempt is abandoned"),
        other => panic!("{other}"),
    }
    drop(let_go);
    assert_eq!(next(&events).label(), "process_exited");
}

#[test]
fn the_end_of_a_process_is_told_after_a_panic_too() {
    let (supervisor, events) = observed(LONG);
    let program = sh("echo x; exec sleep 1000");
    let program = program.on_line(|_, _| std::panic::resume_unwind(Box::new("ouch")));
    let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
    let task = supervisor.handle().add(spec).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
    assert_eq!(next(&events).label(), "process_started");
    assert_eq!(next(&events).label(), "process_exited");
}

/// Of several processes of one body, the oldest counts.
#[test]
fn a_body_may_run_several_processes() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let (tell, told) = bounded(0);
    let spec = TaskSpec::once("two", move |ctx| {
        let (mut first, lines) = heard(sh("echo $$; exec sleep 1000"));
        let (mut second, more) = heard(sh("echo $$; exec sleep 1000"));
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| first.run(ctx));
            let _ = tell.send(next(&lines));
            let two = scope.spawn(|| second.run(ctx));
            let _ = tell.send(next(&more));
            (one.join().unwrap(), two.join().unwrap())
        });
        let obeyed = |result: &TaskResult<ProcessExit>| result.is_ok();
        assert!(obeyed(&one) && obeyed(&two));
        Ok(())
    });
    let task = supervisor.handle().add(spec).unwrap();
    let (first, second) = (next(&told), next(&told));
    assert_eq!(task.pid().map(|pid| pid.to_string()), Some(first));
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    assert!(!super::is_alive(&second));
    assert!(run_once(sh("exit 0")).is_ok());
}

/// What its own thread does is known: it waits.
#[test]
fn a_process_is_looked_at_in_place_of_its_thread() {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().grace(LONG).on_event(move |event| {
        if let EventKind::StallReport { stall, .. } = &event.kind {
            let _ = tell.send(stall.clone());
        }
    });
    let supervisor = builder.start().unwrap();
    let (program, lines) = heard(sh("echo up; exec sleep 1000").heartbeat_on_output());
    let spec = TaskSpec::process("task", program).watchdog(100 * MS);
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Never)).unwrap();
    next(&lines);
    // Before the process was there, its thread was looked at; and now it falls silent again.
    let stall = std::iter::repeat_with(|| next(&told)).find(|stall| stall.pid.is_some()).unwrap();
    let pid = task.pid().unwrap();
    assert_eq!(stall.pid, Some(pid));
    assert!(stall.to_string().starts_with(&format!("process {pid} ")), "{stall}");
    assert_ne!(stall.syscall.as_deref(), Some("ppoll"), "{stall}");
    assert!(task.signal(Signal::KILL));
    let _ = outcome_of(&task);
}

/// A clock that loses its patience tells of the process as well.
#[test]
fn a_clock_that_is_not_quiet_looks_at_the_process() {
    let clock = ManualClock::new().patience(50 * MS);
    let supervisor = Supervisor::builder().clock(&clock).grace(LONG).start().unwrap();
    let (program, lines) = heard(sh("echo up; exec sleep 1000"));
    let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
    let task = supervisor.handle().add(spec).unwrap();
    next(&lines);
    let not_quiet = clock.try_advance(MS).unwrap_err();
    let stall = not_quiet.busy[0].stall.as_ref().unwrap();
    assert_eq!(stall.pid, task.pid());
    let process = format!("process {} ", task.pid().unwrap());
    assert!(not_quiet.to_string().contains(&process), "{not_quiet}");
    assert!(task.signal(Signal::KILL));
    let _ = outcome_of(&task);
}

/// Its process has ended, and so the thread has something else to do.
#[test]
fn a_thread_whose_process_has_ended_is_looked_at_itself() {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().grace(10 * MS).on_event(move |event| {
        if let EventKind::StallReport { stall, .. } = &event.kind {
            let _ = tell.send(stall.clone());
        }
    });
    let supervisor = builder.start().unwrap();
    let (go_on, gate) = bounded::<()>(0);
    let (say, said) = unbounded();
    let program = sh("echo $$").on_line(move |_, line| {
        let _ = say.send(line.text.to_owned());
        let _ = gate.recv();
    });
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    super::until_dead(&next(&said));
    assert!(task.restart());
    assert_eq!(next(&told).pid, None);
    drop(go_on);
    task.cancel();
    let _ = outcome_of(&task);
}

/// Its helper is killed, and the leader is told to have ended when it did.
#[test]
fn a_leader_that_obeys_has_ended_though_its_helper_has_not() {
    let (supervisor, events) = observed(LONG);
    let (program, lines) = heard(with_helper("", "exec >&- 2>&-"));
    let spec = TaskSpec::process("task", program.stop_timeout(300 * MS));
    let task = supervisor.handle().add(spec).unwrap();
    helper_of(&lines);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
    assert_eq!(next(&events).label(), "process_started");
    match next(&events) {
        EventKind::ProcessExited { signal: Some(Signal::TERM), .. } => {}
        other => panic!("{other}"),
    }
    let why = "s: a process that it left behind did not end";
    match next(&events) {
        EventKind::ProcessKilled { why: told, .. } => assert!(told.ends_with(why), "{told}"),
        other => panic!("{other}"),
    }
    drop(supervisor);
    assert!(events.recv().is_err());
}

#[test]
fn who_is_left_behind_by_a_process_that_ends_by_itself_is_told_to_be_killed() {
    let (supervisor, events) = observed(LONG);
    let program = sh("sleep 1000 >&- 2>&- & exit 3");
    let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
    let _ = outcome_of(&supervisor.handle().add(spec).unwrap());
    assert_eq!(next(&events).label(), "process_started");
    assert_eq!(next(&events).label(), "process_exited");
    match next(&events) {
        EventKind::ProcessKilled { why, .. } => {
            assert_eq!(&*why, "it has ended, and has left a process behind");
        }
        other => panic!("{other}"),
    }
    // Nor is anybody said to be killed where nobody is left, or who is left is left on purpose.
    let alone = TaskSpec::process("alone", sh("exit 0"));
    let _ = outcome_of(&supervisor.handle().add(alone).unwrap());
    let leaves = TaskSpec::process("leaves", sh("sleep 0.1 >&- 2>&- & exit 0").leave_helpers());
    let _ = outcome_of(&supervisor.handle().add(leaves).unwrap());
    drop(supervisor);
    assert!(events.iter().all(|event| event.label() != "process_killed"));
}
