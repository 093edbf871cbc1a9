//! What Linux knows of this process.

use std::fs;

pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// How often any thread of this process went to sleep or was put aside.
pub fn switches() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux has it");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| {
            field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches")
        })
        .sum()
}

/// Time on a processor in ticks of 10 ms, in user space and in the kernel.
pub fn cpu_ticks() -> usize {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<usize>().ok()).sum()
}

pub fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    field(&status, "VmRSS") * 1024
}

fn field(status: &str, name: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
