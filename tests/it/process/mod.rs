//! Processes as tasks. Only programs that every Linux has are started, and `/proc` is
//! looked at.
#![cfg(all(target_os = "linux", feature = "process"))]

mod events;
mod exits;
mod heavy;
mod outputs;
mod readiness;
mod starts;
mod stops;
mod stuck;
mod terminal;

use std::fs;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::Program;

use crate::support::next;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A script of the shell.
pub(crate) fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

/// A shell that ends when it is asked to, and whose helper then does `at_term`. The helper does
/// `first` before it waits.
pub(crate) fn with_helper(at_term: &str, first: &str) -> Program {
    let helper = format!("trap '{at_term}' TERM; echo up; {first}; while :; do sleep 0.01; done");
    sh(&format!("({helper}) & echo $!; wait"))
}

/// Waits until that helper hears signals, and returns its number.
#[track_caller]
pub(crate) fn helper_of(lines: &Receiver<String>) -> String {
    let mut said = [next(lines), next(lines)];
    said.sort();
    let [number, _up] = said;
    number
}

/// The program, and the lines that its processes write.
pub(crate) fn heard(program: Program) -> (Program, Receiver<String>) {
    let (tell, lines) = unbounded();
    let tell = move |line: &str| drop(tell.send(line.to_owned()));
    (program.on_line(move |_, line| tell(line.text)), lines)
}

/// Runs a program once, in a body without a supervisor.
pub(crate) fn run_once(mut program: Program) -> TaskResult<threadvisor::ProcessExit> {
    program.run(&TaskContext::detached().0)
}

/// Waits for a line. The shell tells as well which of its commands a signal has ended.
#[track_caller]
pub(crate) fn until(lines: &Receiver<String>, line: &str) {
    while next(lines) != line {}
}

/// Whether a process runs, and is not only waiting to be reaped.
pub(crate) fn is_alive(pid: &str) -> bool {
    !matches!(state_of(pid), None | Some('Z' | 'X'))
}

/// The scheduler's letter for a process; `None` if it is gone.
pub(crate) fn state_of(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

/// The processes that this one has to reap, by any of its threads.
pub(crate) fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let lists: Vec<_> = lists.collect();
    lists.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect()
}

/// Waits until a process that was killed is gone.
#[track_caller]
pub(crate) fn until_dead(pid: &str) {
    until_so(|| !is_alive(pid));
}

/// Waits until something is so that nobody tells of.
#[track_caller]
pub(crate) fn until_so(is_so: impl Fn() -> bool) {
    assert!((0..60_000).any(|_| is_so() || after(MS).recv().is_err()), "it does not come");
}
