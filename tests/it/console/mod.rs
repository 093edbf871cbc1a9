//! A supervisor in a terminal, and in what is none.

#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod robust;
mod terminal;

use std::io::{self, Write};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Sender};
use threadvisor::prelude::*;
use threadvisor::Console;

use crate::support::{next, no_op, on_thread, outcome_of, resident, Gate};
use terminal::Terminal;

const LONG: Duration = Duration::from_secs(3600);

fn started(console: &Console) -> Supervisor {
    Supervisor::builder().subscriber(console.clone()).start().unwrap()
}

/// A task that fails, and then waits for an hour.
fn failing(name: &str) -> TaskSpec {
    TaskSpec::new(name, |_| Err("no device".into())).backoff(BackoffPolicy::constant(LONG))
}

/// The lines without the time that each begins with.
fn said(text: &str) -> Vec<&str> {
    let rest = |line| str::split_once(line, ' ').map_or(line, |(_, rest)| rest);
    // How long ago something was is different each time.
    text.lines().map(|line| rest(line).split(" since ").next().unwrap()).collect()
}

#[test]
fn what_matters_is_a_line_where_there_is_no_terminal() {
    let (console, terminal) = Terminal::none(0);
    let supervisor = started(&console);
    let handle = supervisor.handle();
    console.println("said\nin two lines");
    assert!(outcome_of(&handle.add(no_op("well")).unwrap()).is_success());
    let panics = TaskSpec::once("panics", |_| panic!("ouch\nagain"));
    assert!(!outcome_of(&handle.add(panics).unwrap()).is_success());
    let held = handle.add(resident("held")).unwrap();
    let refused = handle.submit(no_op("held"), AdmissionPolicy::DropIfRunning).unwrap();
    let _ = outcome_of(&refused);
    held.cancel();
    let _ = outcome_of(&held);
    handle.add(failing("port")).unwrap();
    terminal.until(&["follows"]);
    supervisor.shutdown().unwrap();
    let text = terminal.text();
    assert_eq!(
        said(&text)[2..],
        [
            "panics#2 attempt 1 panicked: ouch\\nagain",
            "panics#2 ended: panicked: ouch\\nagain",
            "held#4 rejected: task #3 has owned the slot",
            "held#3 ended: cancelled (stop)",
            "port#5 attempt 1 failed: no device",
            "port#5 attempt 2 follows after at least 1h00m",
            "shutdown: requested",
        ]
    );
    assert!(text.starts_with("said\nin two lines\n"));
}

#[test]
fn every_event_is_a_line_if_asked_for() {
    let (console, terminal) = Terminal::none(0);
    let supervisor = Supervisor::builder().subscriber(console.every_event()).start().unwrap();
    supervisor.run([no_op("well")]).unwrap();
    let text = terminal.text();
    let said = said(&text);
    assert_eq!(said[0], "well#1 submitted policy=drop_if_running");
    assert!(said.contains(&"well#1 ended: completed"), "{text}");
    assert_eq!(said[said.len() - 2..], ["shutdown: idle", "shutdown_ended"]);
}

/// Tells of each write.
struct Told(Sender<String>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn colours_say_how_grave_a_line_is() {
    let (tell, told) = unbounded();
    let supervisor = started(&Console::to(Told(tell)).colour(true));
    let fails = TaskSpec::once("fails", |_| Err("no".into()));
    supervisor.run([fails]).unwrap();
    let lines: Vec<String> = told.try_iter().collect();
    assert!(lines[0].starts_with("\x1b[33m") && lines[0].ends_with("failed: no\x1b[0m\n"));
    assert!(lines[1].starts_with("\x1b[31m") && lines[1].ends_with("ended: failed: no\x1b[0m\n"));
    assert!(lines[2].ends_with(" shutdown: idle\n"), "{lines:?}");
}

#[test]
fn the_table_is_drawn_in_place_and_what_is_printed_scrolls_above_it() {
    let (console, terminal) = Terminal::new(60, 12);
    let supervisor = started(&console);
    let mut gate = Gate::new();
    let hold = gate.hold();
    let printer = console.clone();
    let prints = TaskSpec::once("prints", move |_| {
        for n in 0..40 {
            printer.println(format_args!("line {n} {}", "x".repeat(n * 2)));
        }
        hold();
        for n in 40..80 {
            printer.println(format_args!("line {n}"));
        }
        Ok(())
    });
    let prints = supervisor.handle().add(prints).unwrap();
    supervisor.handle().add(failing("port")).unwrap();
    gate.wait_entered();
    let shown = terminal.until(&["prints#1", "no device", "LATEST", "line 39"]);
    assert_eq!(shown.matches("prints#1").count(), 1, "{shown}");
    gate.open();
    let _ = outcome_of(&prints);
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.shutdown.events_dropped, 0);
    console.println("the end");

    let text = terminal.text();
    let lines: Vec<_> = text.lines().collect();
    let of_first = |n: usize| format!("line {n} {}", "x".repeat(n * 2));
    let expected = (0..40).map(of_first).chain((40..80).map(|n| format!("line {n}")));
    assert!(expected.eq(lines[..80].iter().map(ToString::to_string)), "{text}");
    assert!(
        lines[80].contains(" UTC, shut down, up ") && lines[80].ends_with(", tasks 0"),
        "{text}"
    );
    assert!(lines[81].starts_with("threads "), "{text}");
    assert_eq!(lines[82], "LATEST");
    assert!(lines[83].ends_with("port#2 attempt 1 failed: no device"), "{text}");
    assert!(lines[84].ends_with("shutdown: requested"), "{text}");
    assert_eq!(lines[85..], ["the end"]);
}

#[test]
fn a_drawing_is_never_higher_than_the_terminal_and_shows_first_what_needs_attention() {
    let (console, terminal) = Terminal::new(50, 10);
    let supervisor = started(&console);
    for n in 0..30 {
        supervisor.handle().add(resident(&format!("resident {n}"))).unwrap();
    }
    supervisor.handle().add(failing("port")).unwrap();
    let shown = terminal.until(&["\nport#31 ", "LATEST"]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 9, "{shown}");
    assert!(lines[0].contains(" tasks 31, failing 1, "), "{shown}");
    assert!(lines[3].starts_with("port#31 ") && lines[3].contains(" no device"), "{shown}");
    assert_eq!(lines[6], "and 28 more tasks", "{shown}");
    supervisor.shutdown().unwrap();
    let text = terminal.text();
    assert!(text.lines().count() <= 9, "{text}");
}

#[test]
fn a_progress_that_moves_is_drawn_without_any_event() {
    let (console, terminal) = Terminal::new(100, 24);
    let supervisor = started(&console);
    let (go, steps) = bounded::<u64>(0);
    let copy = TaskSpec::once("copy", move |ctx| {
        ctx.mark("reading");
        while let Ok(done) = ctx.recv(&steps) {
            ctx.progress(done, 10);
        }
        Ok(())
    });
    let copy = supervisor.handle().add(copy).unwrap();
    go.send(1).unwrap();
    // Whether the first drawing shows it depends on when the body got so far.
    supervisor.handle().add(no_op("event")).unwrap();
    terminal.until(&["10% [------]", "1/10; reading"]);
    go.send(6).unwrap();
    terminal.until(&["60% [###---]"]);
    go.send(10).unwrap();
    terminal.until(&["100% [######]"]);
    drop(go);
    let _ = outcome_of(&copy);
}

/// An output that takes nothing while its gate is closed.
struct Stuck(Box<dyn Fn() + Send>);

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        (self.0)();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn an_output_that_takes_nothing_delays_no_task_and_no_shutdown() {
    for console in [Console::to, |stuck| Console::to(stuck).size(80, 24)] {
        let mut gate = Gate::new();
        let supervisor = started(&console(Stuck(Box::new(gate.hold()))));
        let handle = supervisor.handle();
        handle.add(failing("port")).unwrap();
        gate.wait_entered();
        assert!(outcome_of(&handle.add(no_op("well")).unwrap()).is_success());
        let ended = on_thread(move || supervisor.shutdown().unwrap());
        assert!(next(&ended).shutdown.events_dropped > 0);
        gate.open();
    }
}
