//! Processes beside a terminal: this program is in its foreground, and they are not.
#![cfg(feature = "signals")]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use threadvisor::prelude::*;

use super::{heard, run_once, sh, LONG};
use crate::program::{is_child, say, Program as TestProgram};

/// The program of this test, with a terminal of its own, and the other end of that.
fn on_terminal(test: &str) -> (TestProgram, OwnedFd) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    // The first terminal that the leader of a session opens is that of the session.
    let take_it = "exec <\"$0\"; exec \"$@\"";
    (TestProgram::start(test, &["setsid", "sh", "-c", take_it, &name]), terminal)
}

/// In the program: whether it has a terminal, as it should.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[test]
fn a_process_that_reads_is_not_stopped_by_the_terminal() {
    if is_child() {
        let (program, lines) = heard(sh("read line; echo \"read: $?\"; kill -0 $$ && echo lives"));
        run_once(program).unwrap();
        let lines: Vec<_> = lines.try_iter().collect();
        return say(&format!("{} {lines:?}", has_terminal()));
    }
    let name = "process::terminal::a_process_that_reads_is_not_stopped_by_the_terminal";
    let (program, _terminal) = on_terminal(name);
    program.expect(r#"true ["read: 1", "lives"]"#);
    assert!(program.status().success());
}

#[test]
fn ctrl_c_reaches_a_process_once_and_by_its_supervisor() {
    if is_child() {
        let script = "trap 'echo int' INT; trap 'echo term; sleep 0.1; exit 0' TERM; echo up; \
                      while :; do sleep 0.01; done";
        let process = sh(script).on_line(|_, line| say(line.text));
        let builder = Supervisor::builder().shutdown_on_signals().grace(LONG);
        let report = builder.start().unwrap().run([TaskSpec::process("task", process)]).unwrap();
        say(&format!("{} {}", has_terminal(), report.shutdown.cause));
        return;
    }
    let name = "process::terminal::ctrl_c_reaches_a_process_once_and_by_its_supervisor";
    let (program, terminal) = on_terminal(name);
    program.expect("up");
    File::from(terminal.try_clone().unwrap()).write_all(b"\x03").unwrap();
    let said = program.until("true SIGINT");
    let signals: Vec<_> = said.iter().filter(|line| *line == "int" || *line == "term").collect();
    assert_eq!(signals, ["term"]);
    assert!(program.status().success());
}
