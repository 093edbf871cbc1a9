//! A console in a process of its own: on a real terminal, and how often it wakes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcsetwinsize, Winsize};
use threadvisor::crossbeam_channel::after;

use super::*;
use crate::program::{is_child, say, wait_for_parent, Program, CHILD};
use crate::runner::runner;

/// A terminal that the system provides.
pub(super) struct Pty {
    pub(super) master: File,
    path: OsString,
}

impl Pty {
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = OsString::from_vec(ptsname(&master, []).unwrap().into_bytes());
        let pty = Self { master: File::from(master), path };
        pty.resize(columns, rows);
        pty
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// What a program writes to. It does not become the terminal of this process.
    pub(super) fn open(&self) -> File {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        File::options().read(true).write(true).custom_flags(flags).open(&self.path).unwrap()
    }

    /// The next part of what was written.
    fn read(&mut self) -> String {
        let watchdog = Timespec { tv_sec: 60, tv_nsec: 0 };
        let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
        while poll(&mut ready, Some(&watchdog)) == Err(Errno::INTR) {}
        assert!(ready[0].revents().contains(PollFlags::IN), "nothing came");
        let mut buffer = [0; 4096];
        let size = self.master.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    }

    /// Runs this test once more, with the terminal as its output.
    fn run(&self, test: &str, variable: (&str, &str)) -> Child {
        let mut words = runner();
        words.push(std::env::current_exe().unwrap().to_string_lossy().into_owned());
        Command::new(&words[0])
            .args(&words[1..])
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env(variable.0, variable.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(self.open()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// What this test, run once more, writes to a terminal of this width.
fn on_a_terminal(test: &str, variable: (&str, &str), columns: u16) -> String {
    let mut pty = Pty::new(columns, 12);
    let mut child = pty.run(test, variable);
    // Once nobody has it open for writing, reading is an error.
    let mut written = Vec::new();
    let _ = pty.master.read_to_end(&mut written);
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

/// The next drawing has the size that the terminal has by then. When the terminal is gone, the
/// program goes on.
#[test]
fn a_terminal_may_change_its_size_and_go_away_meanwhile() {
    const NAME: &str = "console::process::a_terminal_may_change_its_size_and_go_away_meanwhile";
    if is_child() {
        let supervisor = started(&Console::stdout());
        let moves = TaskSpec::new("a long name of a task that moves", |ctx| {
            for done in 0.. {
                ctx.progress(done, 1_000_000);
                ctx.sleep(Duration::from_millis(10))?;
            }
            Ok(())
        });
        supervisor.handle().add(moves).unwrap();
        wait_for_parent();
        supervisor.handle().add(failing("port")).unwrap();
        supervisor.handle().flush_events().unwrap();
        supervisor.shutdown().unwrap();
        eprintln!("ended");
        return;
    }
    let mut pty = Pty::new(90, 24);
    let mut child = pty.run(NAME, ("NO_COLOR", "1"));
    let mut until = |columns: u16, rows: u16| {
        pty.resize(columns, rows);
        let mut written = String::new();
        let fits = |drawing: &str| {
            let lines: Vec<_> = drawing.split("\x1b[2K").skip(1).map(str::trim_end).collect();
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            let is_high = (2..rows.into()).contains(&lines.len());
            is_high && (usize::from(columns) / 2..=columns.into()).contains(&widest)
        };
        for _ in 0..200 {
            written.push_str(&pty.read());
            let drawings = written.split("\x1b[?7l").skip(1);
            let whole = drawings.filter_map(|it| it.split_once("\x1b[?7h")).map(|it| it.0);
            if whole.last().is_some_and(fits) {
                return;
            }
        }
        panic!("it is not drawn in {columns} columns and {rows} rows: {written}");
    };
    until(90, 24);
    until(30, 5);
    until(60, 3);
    until(90, 24);
    drop(pty);
    child.stdin = None;
    let errors = BufReader::new(child.stderr.take().unwrap());
    let ended = on_thread(move || errors.lines().any(|line| line.unwrap() == "ended"));
    assert!(next(&ended));
    let _ = child.wait().unwrap();
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
