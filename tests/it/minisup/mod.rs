//! The tool of `examples/minisup`, run as a process of its own, on programs that every Linux has;
//! in `real`, on servers.
#![cfg(all(target_os = "linux", feature = "poll", feature = "process", feature = "signals"))]

mod commands;
mod config;
mod crash;
mod real;
mod running;
mod stopping;
#[path = "../../../examples/minisup/main.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod tool;

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::process::{is_alive, until_dead, MS};
use crate::program::{is_child, CHILD};
use crate::runner::runner;
use threadvisor::crossbeam_channel::after;

/// Not a test, but the tool, in a process of its own: its words are in a variable.
#[test]
fn the_tool() {
    if is_child() {
        let words = env::var(CHILD).unwrap();
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        let directory = env::var_os("MINISUP_DIR").unwrap();
        std::process::exit(tool::tool(&words, Path::new(&directory)).into());
    }
}

/// The guide names that number.
#[test]
fn it_has_at_most_500_lines_of_code() {
    let files = [
        include_str!("../../../examples/minisup/config.rs"),
        include_str!("../../../examples/minisup/control.rs"),
        include_str!("../../../examples/minisup/main.rs"),
        include_str!("../../../examples/minisup/run.rs"),
        include_str!("../../../examples/minisup/state.rs"),
    ];
    let lines = files.into_iter().flat_map(str::lines).map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(code <= 500, "{code}");
}

/// A directory with a configuration, and the minisup that runs there.
struct Site {
    directory: PathBuf,
    tool: Option<Child>,
}

impl Site {
    fn new(test: &str, config: &str) -> Self {
        let name = format!("minisup-{test}-{}", std::process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("box.toml"), config).unwrap();
        Self { directory, tool: None }
    }

    /// A minisup that runs already.
    fn running(test: &str, config: &str) -> Self {
        let mut site = Self::new(test, config);
        site.start();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What a file holds; nothing if there is none.
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// This test binary as the tool; what it says goes to `said`.
    fn command(&self, words: &str) -> Command {
        let mut all = runner();
        all.push(env::current_exe().unwrap().to_string_lossy().into_owned());
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]);
        command.args(["minisup::the_tool", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CHILD, words).env("MINISUP_DIR", &self.directory);
        let said = File::options().append(true).create(true).open(self.path("said")).unwrap();
        command.current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command
    }

    #[track_caller]
    fn start(&mut self) {
        self.start_by(|_| {});
    }

    /// Starts minisup, and waits until it answers.
    #[track_caller]
    fn start_by(&mut self, change: impl FnOnce(&mut Command)) {
        let mut command = self.command("box.toml");
        change(&mut command);
        self.tool = Some(command.spawn().unwrap());
        self.until(|site| site.ask("status").is_some());
    }

    /// Runs the tool to its end: its exit code, and what it has said.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let output = self.command(words).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The answer to a command; `None` if nobody listens.
    fn ask(&self, command: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("socket")).ok()?;
        stream.write_all(format!("{command}\n").as_bytes()).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Gives a command that must be obeyed.
    #[track_caller]
    fn tell(&self, command: &str) {
        let answer = self.ask(command);
        let is_ok = answer.as_ref().is_some_and(|answer| answer.starts_with("ok\n"));
        assert!(is_ok, "{answer:?}; minisup says:\n{}", self.file("said"));
    }

    /// Waits until something is so.
    #[track_caller]
    fn until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let comes = (0..60_000).any(|_| is_so(self) || after(MS).recv().is_err());
        assert!(comes, "it does not come; minisup says:\n{}", self.file("said"));
    }

    /// The number of a program's process, by the state file; it must come.
    #[track_caller]
    fn pid(&self, program: &str) -> String {
        self.new_pid(program, "")
    }

    /// The same, once it is another one.
    #[track_caller]
    fn new_pid(&self, program: &str, before: &str) -> String {
        let find = |site: &Self| {
            let state = site.file("state");
            let mut lines = state.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(_, rest)| rest.ends_with(&format!(" {program}"))).map(|it| it.0.to_owned())
        };
        let mut found = None;
        self.until(|site| {
            found = find(site).filter(|pid| *pid != before);
            found.is_some()
        });
        found.unwrap()
    }

    /// Kills minisup itself.
    fn kill(&mut self) {
        let mut tool = self.tool.take().unwrap();
        tool.kill().unwrap();
        tool.wait().unwrap();
    }

    fn signal_tool(&self, name: &str) {
        signal(name, &self.tool.as_ref().unwrap().id().to_string());
    }

    /// Waits until minisup has ended.
    #[track_caller]
    fn status(&mut self) -> ExitStatus {
        let mut tool = self.tool.take().unwrap();
        let mut status = None;
        self.until(|_| {
            status = tool.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Stops minisup, which must end well.
    #[track_caller]
    fn stop(&mut self) {
        self.tell("stop");
        let status = self.status();
        assert!(status.success(), "{status}:\n{}", self.file("said"));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(tool) = &mut self.tool {
            let _ = tool.kill();
            let _ = tool.wait();
        }
        // Whatever a failed test has left.
        for line in self.file("state").lines().skip(1) {
            let pid = line.split(' ').next().unwrap_or_default();
            if is_alive(pid) {
                signal("KILL", &format!("-{pid}"));
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Sends a signal; to a whole group, if the number is negative.
fn signal(name: &str, pid: &str) {
    // It may have ended meanwhile.
    let _ = Command::new("kill").args([&format!("-{name}"), "--", pid]).status();
}

/// A program that tells in `log` when it begins and ends, and needs so long for its end.
fn polite(name: &str, rest: &str) -> String {
    let script = format!(
        "trap 'echo {name} ends >>log; exit' TERM; echo {name} begins >>log; echo ready; \
         while :; do sleep 0.01; done"
    );
    format!("[{name}]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n{rest}\n")
}

/// A program that ignores the signal, and is killed after so many seconds.
fn deaf(name: &str, seconds: &str) -> String {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    format!(
        "[{name}]\ncommand = [\"sh\", \"-c\", \"{script}\"]\nready = \"line ready\"\n\
         stop = {{ time = {seconds} }}\n"
    )
}

/// A program that does nothing.
fn idle(name: &str, rest: &str) -> String {
    format!("[{name}]\ncommand = [\"sleep\", \"1000\"]\n{rest}\n")
}
