//! What keeps a process from starting, and what it finds when it starts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{id, Command};

use rustix::process::{getrlimit, getuid, setrlimit, Resource, Rlimit};
use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;
use threadvisor::Program;

use super::{children, heard, run_once, sh, until_so, MS};
use crate::program::{is_child, say, Program as TestProgram};
use crate::support::{next, on_thread, outcome_of};

/// A folder of this test alone, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("threadvisor-{name}-{}", id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn script(&self, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join("script");
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn error_of(program: Program) -> String {
    run_once(program).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_started_is_named() {
    let text = error_of(Program::new("no-such-program"));
    assert_eq!(text, "cannot start no-such-program: No such file or directory (os error 2)");
    let text = error_of(Program::new("true").current_dir("/no/such"));
    assert!(text.starts_with("cannot start true in /no/such, which is no directory"), "{text}");
    let text = error_of(Program::new("no-such-program").current_dir("/"));
    assert!(text.starts_with("cannot start no-such-program in /: No such"), "{text}");
    let folder = Folder::new("named");
    assert!(error_of(Program::new(folder.script("", 0o644))).contains("Permission denied"));
    assert!(error_of(Program::new(folder.0.as_path())).contains("Permission denied"));
    assert!(error_of(Program::new(folder.script("exit", 0o755))).contains("Exec format error"));
}

#[test]
fn a_program_that_is_missing_is_tried_again() {
    let folder = Folder::new("missing");
    let path = folder.0.join("script");
    let supervisor = Supervisor::builder().start().unwrap();
    let program = TaskSpec::process("late", Program::new(path));
    let task = supervisor.handle().add(program.backoff(BackoffPolicy::constant(MS))).unwrap();
    while supervisor.handle().snapshot().unwrap().task(task.id()).unwrap().failures == 0 {}
    // Its first line is there before it can be started.
    folder.script("#!/bin/sh\nexit 0\n", 0o755);
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_program_that_is_being_written_is_tried_again_at_once() {
    let folder = Folder::new("busy");
    let path = folder.script("#!/bin/sh\n", 0o755);
    let writing = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(error_of(Program::new(path.as_path())).contains("Text file busy"));
    drop(writing);
    // How fast threads are is for the system to say, but not every time is the worst.
    let was_closed_in_time = |_| {
        let writing = OpenOptions::new().append(true).open(&path).unwrap();
        let closer = on_thread(move || {
            let _ = after(3 * MS).recv();
            drop(writing);
        });
        let result = run_once(Program::new(path.as_path()));
        next(&closer);
        result.is_ok()
    };
    assert!((0..100).any(was_closed_in_time));
}

#[test]
fn a_command_of_the_standard_library_is_taken_as_it_is() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $WORD"]).env("WORD", "hello");
    let (program, lines) = heard(Program::new(command));
    run_once(program).unwrap();
    assert_eq!(next(&lines), "hello");
}

#[test]
fn a_process_finds_a_clean_place() {
    let script = "read line; echo \"$line.\"; pwd; echo $WORD$GONE; \
                  test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leader; kill -PIPE $$";
    let program = sh(script).current_dir("/").env("WORD", "word").env_remove("GONE");
    let (program, lines) = heard(program);
    let error = run_once(program).unwrap_err();
    assert_eq!(error.to_string(), "killed by SIGPIPE; last output: . | / | word | leader");
    // Standard input is at its end from the start.
    assert_eq!(lines.try_iter().collect::<Vec<_>>(), [".", "/", "word", "leader"]);
}

#[test]
fn what_a_service_manager_told_us_is_not_passed_on() {
    if is_child() {
        let show = "echo \"<$NOTIFY_SOCKET$WATCHDOG_USEC$LISTEN_PID$LISTEN_FDNAMES>$LISTEN_FDS\"";
        let (program, lines) = heard(sh(show).env("LISTEN_FDS", "1"));
        run_once(program).unwrap();
        return say(&next(&lines));
    }
    let name = "process::starts::what_a_service_manager_told_us_is_not_passed_on";
    let told = ["env", "NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "LISTEN_PID=1", "LISTEN_FDS=7"];
    let program = TestProgram::start(name, &told);
    program.expect("<>1");
    assert!(program.status().success());
}

/// Whatever is refused, nothing is left of the process.
#[test]
fn without_descriptors_there_is_an_error_and_no_process() {
    if is_child() {
        let run = || heard(Program::new("true").merge_stderr()).0;
        let count = |of: &str| fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
        let threads = count("task");
        let mut held = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            held.push(file);
        }
        // A few are let go, until it works.
        let mut refused = 0;
        let (ctx, _canceller) = TaskContext::detached();
        while let Err(error) = run().run(&ctx) {
            assert!(error.to_string().contains("os error 24"), "{error}");
            refused += 1;
            held.pop().unwrap();
        }
        drop(held);
        say(&format!("refused: {}", refused > 3));
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        say(&format!("left: {}.", children.trim()));
        // Nor are descriptors left, also while the programs are kept. A thread that waits for a
        // process closes its own when it ends.
        let open = || {
            until_so(|| count("task") <= threads);
            count("fd")
        };
        let (before, mut programs) = (open(), [run(), run(), run()]);
        for program in &mut programs {
            program.run(&ctx).unwrap();
        }
        return say(&format!("more: {}.", open() - before));
    }
    let name = "process::starts::without_descriptors_there_is_an_error_and_no_process";
    let program = TestProgram::start(name, &["sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"]);
    program.expect("refused: true");
    program.expect("left: .");
    program.expect("more: 0.");
    assert!(program.status().success());
}

#[test]
fn where_the_status_of_a_child_is_lost_there_is_none() {
    if is_child() {
        let error = run_once(Program::new("true")).unwrap_err();
        assert!(error.is_fatal());
        return say(&error.to_string()[..27]);
    }
    let name = "process::starts::where_the_status_of_a_child_is_lost_there_is_none";
    let program = TestProgram::start(name, &["env", "--ignore-signal=CHLD"]);
    program.expect("this process ignores SIGCHL");
    assert!(program.status().success());
}

/// Neither a process nor the thread that waits for it can be had for a while.
#[test]
fn where_no_process_can_be_had_it_is_tried_again() {
    const OTHER_USER: [&str; 4] = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    if is_child() {
        let supervisor = Supervisor::builder().prespawn(1).start().unwrap();
        let handle = supervisor.handle();
        let before = getrlimit(Resource::Nproc);
        setrlimit(Resource::Nproc, Rlimit { current: Some(1), ..before }).unwrap();
        let spec = TaskSpec::process("late", Program::new("true"));
        let task = handle.add(spec.backoff(BackoffPolicy::constant(MS))).unwrap();
        let failed = loop {
            let snapshot = handle.snapshot().unwrap();
            let own = snapshot.task(task.id()).unwrap();
            if own.failures > 1 {
                break own.last_failure.clone().unwrap();
            }
        };
        assert!(children().is_empty());
        setrlimit(Resource::Nproc, before).unwrap();
        assert!(outcome_of(&task).is_success());
        return say(&failed.to_string());
    }
    // The limit is none for root.
    let before: &[&str] = if getuid().is_root() { &OTHER_USER } else { &[] };
    let can_be_run = |words: &[&str]| {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(words[0]);
        let status = command.args(&words[1..]).arg(own).arg("--list").output();
        status.is_ok_and(|output| output.status.success())
    };
    if !before.is_empty() && !can_be_run(before) {
        return;
    }
    let name = "process::starts::where_no_process_can_be_had_it_is_tried_again";
    let program = TestProgram::start(name, before);
    let refused = "Resource temporarily unavailable (os error 11)";
    if std::env::var_os("THREADVISOR_NO_PIDFD").is_some() {
        program.expect(refused);
    } else {
        program.expect(&format!("cannot start true: {refused}"));
    }
    assert!(program.status().success());
}
