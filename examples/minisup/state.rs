//! The state file: which processes minisup has started, so that the next minisup finds them if this
//! one is killed.
//!
//! A number of a process may be given to another one later. So the file says when each process
//! began, as the kernel counts it since the boot, and which boot that was: with these, a process is
//! itself or nobody. It is written whole under another name and renamed, so that it is never half
//! there; it need not survive a loss of power, because no process does.
//!
//! A process that had just begun when minisup was killed is not in the file yet. It is found by a
//! variable in its environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{kill_process_group, Pid, Signal};
use threadvisor::{Program, TaskContext};

use super::say;

/// The variable that says to whom a program belongs.
const MARK: &str = "MINISUP_PROGRAM";

pub(crate) struct State {
    path: PathBuf,
    boot: String,
    /// A line for each program.
    lines: BTreeMap<String, String>,
}

impl State {
    pub(crate) fn new(directory: &Path) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // A mark must mean the same everywhere.
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let (boot, path) = (boot.trim().to_owned(), directory.join("state"));
        Self { path, boot, lines: BTreeMap::new() }
    }

    /// Has the processes of a program found even if minisup is killed before it knows of them.
    pub(crate) fn mark(&self, name: &str, program: Program) -> Program {
        program.env(MARK, format!("{} {name}", self.path.display()))
    }

    /// A program has a new process. If this cannot be written, the programs matter more.
    pub(crate) fn started(&mut self, program: &str, pid: u32) {
        // One that is gone already need not be found.
        let Some((.., begun)) = stat(pid) else { return };
        self.lines.insert(program.to_owned(), format!("{pid} {begun} {program}\n"));
        if let Err(error) = self.write() {
            let path = self.path.display();
            say(format_args!("{path} cannot be written: {error}: make room there"));
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let lines: String = self.lines.values().map(String::as_str).collect();
        let written = fs::write(&new, format!("{}\n{lines}", self.boot));
        let renamed = written.and_then(|()| fs::rename(&new, &self.path));
        renamed.or_else(|error| fs::remove_file(&new).and(Err(error)))
    }

    /// Ends what another minisup has left: asks, waits for so long, and kills.
    pub(crate) fn end_survivors(&self, patience: Duration) {
        const LOOK: Duration = Duration::from_millis(20);
        let (mut left, (ctx, _canceller)) = (self.survivors(), TaskContext::detached());
        for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, 2 * LOOK * 50)] {
            for process in &left {
                process.signal(signal);
            }
            let mut waited = Duration::ZERO;
            while !left.is_empty() && waited < patience {
                let _ = ctx.sleep(LOOK);
                waited += LOOK;
                left.retain(Process::lives);
            }
        }
        for Process { name, pid, .. } in left {
            say(format_args!("{name} does not end: look with ps for the group {pid}"));
        }
    }

    fn survivors(&self) -> Vec<Process> {
        // Whoever cannot be read of here has the mark.
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let lines = text.lines().skip_while(|boot| *boot != self.boot).skip(1);
        let listed = lines.filter_map(Process::read);
        let listed = listed.filter(|process| stat(process.pid).is_some() && process.lives());
        let mut all: Vec<_> = listed.collect();
        let listed: Vec<_> = all.iter().map(|process| process.pid).collect();
        all.extend(pids().filter(|pid| !listed.contains(pid)).filter_map(|pid| self.marked(pid)));
        all
    }

    /// A process that leads a group and has the mark of this directory. One that leads a session
    /// has gone its own way; and this minisup itself may have been started by such a program.
    fn marked(&self, pid: u32) -> Option<Process> {
        let mark = format!("{MARK}={} ", self.path.display());
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let environment = String::from_utf8_lossy(&environment);
        let name = environment.split('\0').find_map(|it| it.strip_prefix(&mark))?.to_owned();
        let (runs, group, session, begun) = stat(pid)?;
        let is_own = runs && group == pid && session != pid && pid != std::process::id();
        is_own.then_some(Process { name, pid, begun })
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// What the file says of a process that leads a group.
struct Process {
    name: String,
    pid: u32,
    begun: u64,
}

impl Process {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [pid, begun, name] = words[..] else { return None };
        Some(Self { name: name.to_owned(), pid: pid.parse().ok()?, begun: begun.parse().ok()? })
    }

    /// Whether anything of its group runs: while that is so, the number of the group is nobody
    /// else's, even if the leader has ended.
    fn lives(&self) -> bool {
        stat(self.pid).map_or(true, |(.., begun)| begun == self.begun)
            && pids().filter_map(stat).any(|(runs, group, ..)| runs && group == self.pid)
    }

    fn signal(&self, signal: Signal) {
        let Self { name, pid, .. } = self;
        // It may have ended since the last look.
        let group = i32::try_from(*pid).ok().filter(|_| self.lives()).and_then(Pid::from_raw);
        if let Some(group) = group.filter(|group| *group != Pid::INIT) {
            let number = signal.as_raw();
            say(format_args!("{name} is left of a killed minisup: signal {number} to group {pid}"));
            let _ = kill_process_group(group, signal);
            // One that is stopped does not hear before it goes on.
            let _ = kill_process_group(group, Signal::CONT);
        }
    }
}

/// What `/proc/PID/stat` says of a process: whether it runs, its group, its session, and when it
/// began.
fn stat(pid: u32) -> Option<(bool, u32, u32, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The second field is the name of the program, in parentheses, and may contain anything.
    let fields: Vec<_> = text.rsplit_once(") ")?.1.split(' ').collect();
    let runs = !matches!(*fields.first()?, "Z" | "X");
    let [group, session] = [2, 3].map(|at| fields.get(at)?.parse().ok());
    Some((runs, group?, session?, fields.get(19)?.parse().ok()?))
}
