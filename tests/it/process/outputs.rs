//! What a process writes.

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use threadvisor::prelude::*;
use threadvisor::{OutputStream, Program};

use super::{heard, run_once, sh, LONG};
use crate::support::{next, outcome_of};

fn lines_of(program: Program) -> Vec<String> {
    let (program, lines) = heard(program);
    run_once(program).unwrap();
    lines.try_iter().collect()
}

/// It may be cut short.
#[test]
fn the_output_of_a_process_that_was_stopped_is_no_result() {
    let (ctx, canceller) = TaskContext::detached();
    let program = sh("echo half; exec sleep 1000").on_line(move |_, _| canceller.cancel());
    let error = { program }.output(&ctx).unwrap_err();
    assert!(error.downcast_ref::<Cancelled>().is_some(), "{error}");
}

#[test]
fn lines_come_whole_whatever_ends_them() {
    let script = r"printf 'one\ntwo\r\n10%%\r20%%\r\nla'; printf 'st'";
    assert_eq!(lines_of(sh(script)), ["one", "two", "10%", "20%", "last"]);
    // A character is split over two reads, and there are bytes that are no text.
    let script = r"printf 'a\303'; sleep 0.05; printf '\244b\n\377\000x\n'";
    assert_eq!(lines_of(sh(script)), ["aäb", "\u{fffd}\0x"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_says_so() {
    let (tell, told) = unbounded();
    let program = sh("printf '%040d\n' 7").max_line(16).on_line(move |_, line| {
        tell.send((line.text.len(), line.cut)).unwrap();
    });
    run_once(program).unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(16, true), (16, true), (8, false)]);
}

#[test]
fn both_streams_are_read_while_the_other_is_full() {
    let script = "for n in 1 2 3 4; do head -c 300000 /dev/zero | tr '\\0' x; echo; \
                  { head -c 300000 /dev/zero | tr '\\0' y; echo; } >&2; done";
    let (tell, told) = unbounded();
    let program = sh(script).max_line(1 << 20).on_line(move |_, line| {
        tell.send((line.stream, line.text.len())).unwrap();
    });
    run_once(program).unwrap();
    let mut lines: Vec<_> = told.try_iter().collect();
    lines.sort_by_key(|line| line.0 == OutputStream::Stderr);
    let (out, err) = ((OutputStream::Stdout, 300_000), (OutputStream::Stderr, 300_000));
    assert_eq!(lines, [out, out, out, out, err, err, err, err]);
}

#[test]
fn one_pipe_for_both_keeps_their_order() {
    let script = "for n in 1 2 3; do echo out $n; echo err $n >&2; done";
    let lines = lines_of(sh(script).merge_stderr());
    assert_eq!(lines, ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3"]);
    // Each run has a pipe of its own, with an end.
    let (mut program, lines) = heard(sh("echo x").merge_stderr());
    for _ in 0..3 {
        program.run(&TaskContext::detached().0).unwrap();
    }
    assert_eq!(lines.try_iter().count(), 3);
}

#[test]
fn output_is_returned_up_to_a_mebibyte() {
    let (ctx, _canceller) = TaskContext::detached();
    let output = sh("echo out; echo err >&2").output(&ctx).unwrap();
    assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!((output.lost, output.exit.code), (0, Some(0)));
    let output = sh("head -c 1500000 /dev/zero").output(&ctx).unwrap();
    assert_eq!((output.stdout.len(), output.lost), (1 << 20, 1_500_000 - (1 << 20)));
    let error = sh("echo why >&2; exit 1").output(&ctx).unwrap_err();
    assert_eq!(error.to_string(), "exit status 1; last output: why");
}

/// A supervisor whose callback passes each line on and then waits for the other end.
fn listening() -> (Supervisor, Receiver<(String, u64)>, Sender<()>) {
    let (tell, told) = unbounded();
    let (go_on, gate) = bounded::<()>(0);
    let builder = Supervisor::builder().grace(LONG).on_output(move |line| {
        let _ = tell.send((line.to_string(), line.lost));
        let _ = gate.recv();
    });
    (builder.start().unwrap(), told, go_on)
}

#[test]
fn captured_lines_go_to_the_supervisor() {
    let (supervisor, lines, go_on) = listening();
    drop(go_on);
    for name in ["a", "b"] {
        let program = sh("echo 1; echo 2").capture();
        supervisor.handle().add(TaskSpec::process(name, program)).unwrap();
    }
    let mut lines: Vec<_> = (0..4).map(|_| next(&lines).0).collect();
    lines.sort();
    assert_eq!(lines, ["a: 1", "a: 2", "b: 1", "b: 2"]);
}

#[test]
fn a_slow_listener_holds_up_no_process_and_every_lost_line_counts() {
    let (supervisor, lines, go_on) = listening();
    let handle = supervisor.handle();
    let run = |name: &'static str, script: &str| {
        let task = handle.add(TaskSpec::process(name, sh(script).capture())).unwrap();
        assert!(outcome_of(&task).is_success());
    };
    // The first line stays with the listener.
    run("first", "echo x");
    assert_eq!(next(&lines), ("first: x".to_owned(), 0));
    run("many", "n=0; while [ $n -lt 6000 ]; do echo $n; n=$((n+1)); done");
    drop(go_on);
    for n in 0..4096 {
        assert_eq!(next(&lines), (format!("many: {n}"), 0));
    }
    run("last", "echo x");
    assert_eq!(next(&lines), ("last: x".to_owned(), 6000 - 4096));
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_whose_output_was_taken_writes_to_that_of_this_process_again() {
    let is_inherited = "for fd in 1 2; do \
                        own=$(readlink /proc/$$/fd/$fd); ours=$(readlink /proc/$PPID/fd/$fd); \
                        [ \"$own\" = \"$ours\" ] || exit 1; \
                        done";
    let (ctx, _canceller) = TaskContext::detached();
    for program in [sh(is_inherited), sh(is_inherited).merge_stderr()] {
        let mut program = program.success_codes([0, 1]);
        assert_eq!(program.output(&ctx).unwrap().exit.code, Some(1));
        assert_eq!(program.run(&ctx).unwrap().code, Some(0));
    }
}

#[test]
fn a_flood_of_lines_pushes_no_event_out() {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().on_output(|_| ()).on_event(move |event| {
        assert!(!matches!(event.kind, EventKind::SubscriberOverflow { .. }));
        let _ = tell.send(());
    });
    let supervisor = builder.start().unwrap();
    let flood = sh("head -c 300000 /dev/zero | tr '\\0' '\\n'").capture();
    let task = supervisor.handle().add(TaskSpec::process("flood", flood)).unwrap();
    assert!(outcome_of(&task).is_success());
    supervisor.handle().flush_events().unwrap();
    assert!((5..50).contains(&told.len()));
}

#[test]
fn a_panic_of_the_listener_is_told_and_it_goes_on() {
    let (tell, told) = unbounded();
    let (say, said) = unbounded();
    let builder = Supervisor::builder()
        .on_event(move |event| {
            if let EventKind::SubscriberPanicked { subscriber, message } = &event.kind {
                say.send(format!("{subscriber}: {message}")).unwrap();
            }
        })
        .on_output(move |line| {
            tell.send(line.text.to_owned()).unwrap();
            if line.text == "1" {
                std::panic::resume_unwind(Box::new("ouch"));
            }
        });
    let program = sh("echo 1; echo 2").capture();
    let supervisor = builder.start().unwrap();
    supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    assert_eq!([next(&told), next(&told)], ["1", "2"]);
    assert_eq!(next(&said), "on_output: ouch");
}
