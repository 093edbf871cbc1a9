//! A test in a process of its own: for what belongs to a process, such as its signals and threads.
#![allow(dead_code, reason = "which tests there are depends on the system and the features")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, Receiver};

use crate::runner::runner;
use crate::support::{next, on_thread};

/// This test binary once more, for one test, in a process of its own.
pub(crate) struct Program {
    pid: u32,
    lines: Receiver<String>,
    stdin: Option<ChildStdin>,
    status: Receiver<ExitStatus>,
    errors: Receiver<String>,
}

pub(crate) const CHILD: &str = "THREADVISOR_TEST_CHILD";

/// Whether this process was started by [`Program::start`].
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

impl Program {
    /// Runs the test of this name; `before` comes before the command, to set the stage.
    pub(crate) fn start(test: &str, before: &[&str]) -> Self {
        // Otherwise a child that outlives what should end it would have children of its own.
        assert!(!is_child(), "the child went on");
        #[cfg(all(unix, feature = "signals"))]
        pass_on_default_signals();
        let mut words: Vec<_> = before.iter().map(ToString::to_string).collect();
        words.extend(runner());
        words.push(env::current_exe().unwrap().to_string_lossy().into_owned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, stdin) = (child.id(), child.stdin.take());
        let output = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = on_thread(move || {
            let mut written = String::new();
            let _ = stderr.read_to_string(&mut written);
            eprint!("{written}");
            written
        });
        let (tell, lines) = unbounded();
        let status = on_thread(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
            child.wait().unwrap()
        });
        Self { pid, lines, stdin, status, errors }
    }

    /// Waits for a line.
    #[track_caller]
    pub(crate) fn expect(&self, line: &str) {
        let _ = self.until(line);
    }

    /// Waits for a line, and returns those before it.
    #[track_caller]
    pub(crate) fn until(&self, line: &str) -> Vec<String> {
        std::iter::repeat_with(|| next(&self.lines)).take_while(|said| said != line).collect()
    }

    /// Sends the signal of this name.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.try_signal(name));
    }

    /// Sends the signal of this name, if the process has not ended.
    fn try_signal(&self, name: &str) -> bool {
        let kill = format!("kill -{name} {}", self.pid);
        Command::new("sh").args(["-c", &kill]).status().unwrap().success()
    }

    /// Sends the signal until it ends the process: at first it may count as the echo of another.
    #[track_caller]
    pub(crate) fn end_by(&self, name: &str) -> ExitStatus {
        let soon = Duration::from_millis(100);
        let ended = |_| {
            let _ = self.try_signal(name); // the last one may have ended it meanwhile
            self.status.recv_timeout(soon).ok()
        };
        (0..600).find_map(ended).expect("it does not end")
    }

    /// Lets [`wait_for_parent`] in the program return.
    pub(crate) fn go_on(&mut self) {
        self.stdin = None;
    }

    /// What it has written to standard error, once it has ended.
    #[track_caller]
    pub(crate) fn errors(&self) -> String {
        next(&self.errors)
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn status(&self) -> ExitStatus {
        next(&self.status)
    }
}

/// Shells start what runs in the background with some signals ignored, and programs inherit that;
/// but a signal that is caught has its default effect again in a program that is started.
#[cfg(all(unix, feature = "signals"))]
fn pass_on_default_signals() {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Once};

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_default;

    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(|| {
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::new(AtomicBool::new(true))).unwrap();
        }
    });
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_empty() && thread::panicking() {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        }
    }
}

/// In a program: prints a line of its own.
pub(crate) fn say(line: &str) {
    println!("\n{line}");
}

/// In a program: prints each warning that is logged from now on.
pub(crate) fn say_warnings() {
    log::set_logger(&Says).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
}

struct Says;

impl log::Log for Says {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "threadvisor");
        say(&record.args().to_string());
    }

    fn flush(&self) {}
}

/// In a program: blocks until the parent says so, or has ended.
pub(crate) fn wait_for_parent() {
    let _ = std::io::stdin().read_line(&mut String::new());
}
