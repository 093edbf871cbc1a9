//! What Linux knows of this process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) fn threads() -> usize {
    folders().count()
}

/// Each thread's folder; none where there is no Linux.
fn folders() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|it| it.path())
}

/// How often a thread of this process went to sleep, and how often one was put aside or yielded.
pub(crate) fn switches() -> [usize; 2] {
    let files = folders().filter_map(|path| fs::read_to_string(path.join("status")).ok());
    files.fold([0, 0], |[slept, aside], status| {
        [
            slept + field(&status, "voluntary_ctxt_switches"),
            aside + field(&status, "nonvoluntary_ctxt_switches"),
        ]
    })
}

/// How long the threads whose names begin like this have run; `None` if there is none.
pub(crate) fn time_on_core(name: &str) -> Option<Duration> {
    let is_named = |path: &PathBuf| {
        let found = fs::read_to_string(path.join("comm"));
        found.is_ok_and(|found| found.starts_with(name))
    };
    let ran = folders().filter(is_named).filter_map(|path| {
        let times = fs::read_to_string(path.join("schedstat")).ok()?;
        times.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    ran.reduce(|sum, one| sum + one)
}

/// Time on a processor in ticks of 10 ms, in user space and in the kernel.
pub(crate) fn cpu_ticks() -> usize {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<usize>().ok()).sum()
}

pub(crate) fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    field(&status, "VmRSS") * 1024
}

fn field(status: &str, name: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
