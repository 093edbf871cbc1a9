//! A console in a process of its own: on a real terminal, and how often it wakes.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};

use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcsetwinsize, Winsize};
use threadvisor::crossbeam_channel::after;

use super::*;
use crate::program::{is_child, say, Program, CHILD};
use crate::runner::runner;

/// Runs this test once more, with a terminal of this size as its output, and returns what it has
/// written there.
fn on_a_terminal(test: &str, variable: (&str, &str), columns: u16) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize { ws_row: 12, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let path = std::ffi::OsString::from_vec(ptsname(&terminal, []).unwrap().into_bytes());
    let open = || OwnedFd::from(File::options().read(true).write(true).open(&path).unwrap());
    let mut words = runner();
    words.push(std::env::current_exe().unwrap().to_string_lossy().into_owned());
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env(variable.0, variable.1)
        .stdout(Stdio::from(open()))
        .spawn()
        .unwrap();

    // Once nobody has it open for writing, reading is an error.
    let (mut terminal, mut written) = (File::from(terminal), Vec::new());
    let _ = terminal.read_to_end(&mut written);
    assert!(child.wait().unwrap().success());
    String::from_utf8(written).unwrap()
}

#[test]
fn a_terminal_is_known_by_itself_with_its_width_and_its_wishes() {
    const NAME: &str =
        "console::process::a_terminal_is_known_by_itself_with_its_width_and_its_wishes";
    if is_child() {
        let supervisor = started(&Console::stdout());
        let name = "a name that is too long for any table of this width";
        let fails = TaskSpec::once(name, |_| Err("no device".into()));
        supervisor.run([fails]).unwrap();
        return;
    }
    let drawn = on_a_terminal(NAME, ("UNUSED", ""), 40);
    assert!(drawn.contains("\x1b[2K") && drawn.contains("\x1b[1mLATEST\x1b[0m"), "{drawn}");
    let plain = on_a_terminal(NAME, ("NO_COLOR", "1"), 40);
    assert!(plain.contains("\x1b[2KLATEST\r\n"), "{plain}");
    let rows = plain.split("\x1b[2K").skip(1).map(|row| row.split("\r\n").next().unwrap());
    let widest = rows.map(|row| row.chars().count()).max();
    assert_eq!(widest, Some(40), "{plain}");
    let dumb = on_a_terminal(NAME, ("TERM", "dumb"), 40);
    assert!(!dumb.contains('\x1b') && dumb.contains("ended: failed: no device\r\n"), "{dumb}");
}

/// How often the thread that draws was switched away from.
fn switches() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let painter = threads
        .filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|it| it == "console\n"));
    let status = painter.map(|thread| fs::read_to_string(thread.join("status")).unwrap());
    let counts = status.flat_map(|status| {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = lines.map(|line| line.split_once(':').unwrap().1.trim().parse().unwrap());
        counts.collect::<Vec<u64>>()
    });
    counts.sum()
}

/// A task that says nothing new is as much at rest as one that never said anything.
#[test]
fn nothing_wakes_while_nothing_happens() {
    const NAME: &str = "console::process::nothing_wakes_while_nothing_happens";
    if !is_child() {
        // Other tests must not be counted.
        let program = Program::start(NAME, &[]);
        program.expect("idle");
        assert!(program.status().success());
        return;
    }
    let (console, terminal) = Terminal::new(80, 24);
    let supervisor = started(&console);
    supervisor.handle().add(resident("resident")).unwrap();
    terminal.until(&["running"]);
    // Time itself is what is waited for here: until the thread has not woken for so long, which is
    // longer than it puts off a drawing on a slow machine.
    let mut before = 0;
    while switches() != before {
        before = switches();
        assert!(before > 0, "there is no such thread");
        let _ = after(Duration::from_secs(3)).recv();
    }
    say("idle");
}
