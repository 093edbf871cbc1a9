//! What the kernel knows of a thread that does not come back: read from `/proc`, best effort.

use std::fmt;
use std::time::Duration;

/// What a thread that hangs is doing, as far as Linux tells: "blocked in `recvfrom`, no CPU" and
/// "spinning" look different here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The system call it is in: its name if this crate knows it, else `syscall 123`.
    pub syscall: Option<String>,
    /// The place in the kernel where it sleeps.
    pub wait_channel: Option<String>,
    /// The scheduler's letter: `R` runs, `S` sleeps, `D` sleeps and cannot be interrupted.
    pub state: Option<char>,
    /// How much CPU time it used while it was looked at.
    pub cpu: Duration,
    /// How long it was looked at.
    pub over: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.syscall, &self.wait_channel, self.state) {
            (Some(call), Some(channel), _) => write!(f, "in {call} ({channel})")?,
            (Some(call), None, _) => write!(f, "in {call}")?,
            (None, Some(channel), _) => write!(f, "waiting in {channel}")?,
            (None, None, Some('R')) => f.write_str("running")?,
            (None, None, Some(state)) => write!(f, "in state {state}")?,
            (None, None, None) => f.write_str("unknown")?,
        }
        write!(f, ", {:.0?} CPU in {:.0?}", self.cpu, self.over)
    }
}

/// The kernel's number for the calling thread, where that can be had without unsafe code.
pub(crate) fn own_tid() -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let door = std::fs::read_link("/proc/thread-self").ok()?;
    door.file_name()?.to_str()?.parse().ok()
}

/// Looks at threads twice, with a wait in between that says how long it took.
pub(crate) fn look(tids: &[Option<u32>], wait: impl FnOnce() -> Duration) -> Vec<Option<Stall>> {
    let first =
        tids.iter().map(|tid| tid.and_then(|tid| Some((tid, cpu_time(tid)?, describe(tid)))));
    let first: Vec<_> = first.collect();
    let over = wait();
    let looked = first.into_iter().map(|found| {
        let (tid, before, stall) = found?;
        let cpu = cpu_time(tid)?.saturating_sub(before);
        Some(Stall { cpu, over, ..stall })
    });
    looked.collect()
}

fn describe(tid: u32) -> Stall {
    let channel = read(tid, "wchan").filter(|channel| channel != "0" && !channel.is_empty());
    let stat = read(tid, "stat");
    Stall {
        syscall: read(tid, "syscall").and_then(|text| syscall_name(&text)),
        wait_channel: channel,
        state: stat.as_deref().and_then(|stat| fields(stat)?.next()?.chars().next()),
        ..Stall::default()
    }
}

fn read(tid: u32, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/task/{tid}/{file}")).ok()
}

/// The fields of a `stat` file behind the thread's name, which may contain anything.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// From `schedstat`, in nanoseconds, or where that is not compiled in from `stat`, in ticks.
fn cpu_time(tid: u32) -> Option<Duration> {
    let exact = read(tid, "schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
    if let Some(nanos) = exact {
        return Some(Duration::from_nanos(nanos));
    }
    let stat = read(tid, "stat")?;
    let mut times = fields(&stat)?.skip(11);
    let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    // Every architecture of Linux shows 100 ticks a second to programs.
    Some(Duration::from_millis(ticks * 10))
}

fn syscall_name(text: &str) -> Option<String> {
    let number = text.split_ascii_whitespace().next()?.parse::<u32>().ok()?;
    let known = SYSCALLS.iter().find(|(known, _)| *known == number);
    Some(known.map_or_else(|| format!("syscall {number}"), |(_, name)| (*name).to_owned()))
}

/// The calls in which threads are known to hang, by architecture (`asm/unistd.h`).
#[cfg(target_arch = "x86_64")]
const SYSCALLS: [(u32, &str); 24] = [
    (0, "read"),
    (1, "write"),
    (7, "poll"),
    (16, "ioctl"),
    (19, "readv"),
    (23, "select"),
    (34, "pause"),
    (35, "nanosleep"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (61, "wait4"),
    (72, "fcntl"),
    (73, "flock"),
    (74, "fsync"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (257, "openat"),
    (271, "ppoll"),
    (288, "accept4"),
];
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "riscv32"))]
const SYSCALLS: [(u32, &str); 19] = [
    (22, "epoll_pwait"),
    (25, "fcntl"),
    (29, "ioctl"),
    (32, "flock"),
    (56, "openat"),
    (63, "read"),
    (64, "write"),
    (65, "readv"),
    (72, "pselect6"),
    (73, "ppoll"),
    (82, "fsync"),
    (98, "futex"),
    (115, "clock_nanosleep"),
    (202, "accept"),
    (203, "connect"),
    (206, "sendto"),
    (207, "recvfrom"),
    (212, "recvmsg"),
    (260, "wait4"),
];
#[cfg(target_arch = "arm")]
const SYSCALLS: [(u32, &str); 15] = [
    (3, "read"),
    (4, "write"),
    (54, "ioctl"),
    (114, "wait4"),
    (142, "select"),
    (162, "nanosleep"),
    (168, "poll"),
    (240, "futex"),
    (252, "epoll_wait"),
    (283, "connect"),
    (285, "accept"),
    (292, "recvfrom"),
    (297, "recvmsg"),
    (322, "openat"),
    (422, "futex_time64"),
];
#[cfg(target_arch = "x86")]
const SYSCALLS: [(u32, &str); 17] = [
    (3, "read"),
    (4, "write"),
    (54, "ioctl"),
    (102, "socketcall"),
    (114, "wait4"),
    (118, "fsync"),
    (142, "select"),
    (143, "flock"),
    (145, "readv"),
    (162, "nanosleep"),
    (168, "poll"),
    (221, "fcntl"),
    (240, "futex"),
    (256, "epoll_wait"),
    (295, "openat"),
    (371, "recvfrom"),
    (422, "futex_time64"),
];
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "riscv32",
    target_arch = "arm"
)))]
const SYSCALLS: [(u32, &str); 0] = [];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse_the_fields() {
        let stat = "17 (a) S (b)) D 1 2 3";
        assert_eq!(
            fields(stat).and_then(|mut fields| fields.next().map(str::to_owned)).unwrap(),
            "D"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_calling_thread_is_seen_running_and_using_cpu() {
        let stalls = look(&[own_tid(), None], || {
            let mut sum = 0_u64;
            for n in 0..20_000_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            Duration::from_millis(1)
        });
        let stall = stalls[0].clone().unwrap();
        assert_eq!((stall.state, &stalls[1]), (Some('R'), &None));
        assert!(stall.cpu > Duration::ZERO, "{stall}");
    }
}
