//! What the kernel knows about a thread or a process that hangs: read from `/proc`, best effort.

use std::ffi::c_long;
use std::fmt;
use std::time::Duration;

use crate::platform::clock::RealClock;
use crate::platform::sync::channel;

/// Describes what a hanging thread is doing, as far as Linux reports it: a thread that is blocked
/// in `recvfrom` and uses no CPU looks different from one that spins. Of an attempt that runs a
/// process, it is the first thread of that process, because its own only waits.
///
/// ```
/// use threadvisor::Stall;
/// /// Whether a thread that hangs uses the processor.
/// fn spins(stall: &Stall) -> bool {
///     stall.cpu > stall.over / 2
/// }
/// assert!(!spins(&Stall::default()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stall {
    /// The number of the process that was examined in place of the attempt's own thread.
    pub pid: Option<u32>,
    /// The system call that the thread is in: its name if this crate knows it, otherwise `syscall
    /// 123`.
    pub syscall: Option<String>,
    /// The place in the kernel where the thread sleeps.
    pub wait_channel: Option<String>,
    /// The scheduler's letter: `R` runs, `S` sleeps, `D` sleeps and cannot be interrupted.
    pub state: Option<char>,
    /// How much CPU time the thread used while it was examined.
    pub cpu: Duration,
    /// How long the thread was examined.
    pub over: Duration,
}

impl Stall {
    /// Says of an attempt what its thread does, or its process.
    #[cfg(any(feature = "console", feature = "timeline"))]
    pub(crate) fn of_attempt(&self) -> String {
        let thread = if self.pid.is_none() { "thread is " } else { "" };
        format!("its {thread}{self}")
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "process {pid} ")?;
        }
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

/// The kernel's id of the calling thread, where it can be read without unsafe code.
pub(crate) fn own_tid() -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// Whether a process runs, and does not only wait to be reaped.
#[cfg(all(unix, feature = "process"))]
pub(crate) fn is_alive(pid: u32) -> bool {
    !matches!(describe(pid).state, None | Some('Z' | 'X'))
}

/// How long threads are examined.
const LOOK: Duration = Duration::from_millis(20);

/// Examines threads: looks at them twice, with one pause in between.
pub(crate) fn examine(tids: &[Option<u32>], clock: &RealClock) -> Vec<Option<Stall>> {
    look(tids, || {
        let began = clock.now();
        let _ = channel::never::<()>().recv_timeout(LOOK);
        began.until(clock.now())
    })
}

/// The wait in between returns how long it took.
fn look(tids: &[Option<u32>], wait: impl FnOnce() -> Duration) -> Vec<Option<Stall>> {
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
    // Found for the first thread of another process as well.
    std::fs::read_to_string(format!("/proc/{tid}/task/{tid}/{file}")).ok()
}

/// The fields of a `stat` file after the thread's name, which may contain any characters.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// From `schedstat`, in nanoseconds, or from `stat`, in ticks, if the kernel has no `schedstat`.
fn cpu_time(tid: u32) -> Option<Duration> {
    let exact = read(tid, "schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
    if let Some(nanos) = exact {
        return Some(Duration::from_nanos(nanos));
    }
    let stat = read(tid, "stat")?;
    let mut times = fields(&stat)?.skip(11);
    let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    // Linux reports 100 ticks a second to programs on every architecture.
    Some(Duration::from_millis(ticks * 10))
}

fn syscall_name(text: &str) -> Option<String> {
    let number = text.split_ascii_whitespace().next()?.parse::<c_long>().ok()?;
    if number < 0 {
        return None; // in no system call, but stopped on the way back from the kernel
    }
    let mut calls = SYSCALLS.iter().chain(WITH_LONG_TIMES);
    let known = calls.find(|(known, _)| *known == number);
    let name = known.and_then(|(_, name)| name.strip_prefix("SYS_"));
    Some(name.map_or_else(|| format!("syscall {number}"), str::to_owned))
}

/// Pairs libc's number of each call with its name. A call that the architecture does not have gets
/// `-1`, which is not a number of a call: where libc has a name, the inner name hides the outer
/// one.
#[cfg(target_os = "linux")]
macro_rules! syscalls {
    ($($call:ident)*) => {{
        $(const $call: c_long = -1;)*
        {
            use libc::*;
            &[$(($call, stringify!($call))),*]
        }
    }};
}

/// The calls in which threads are known to hang.
#[cfg(target_os = "linux")]
// They are libc's names, and each architecture has others.
#[allow(clippy::wildcard_imports, dead_code, non_upper_case_globals, unused_imports)]
const SYSCALLS: &[(c_long, &str)] = syscalls! {
    SYS__newselect SYS_accept SYS_accept4 SYS_clock_nanosleep SYS_close SYS_connect SYS_epoll_pwait
    SYS_epoll_pwait2 SYS_epoll_wait SYS_fallocate SYS_fcntl SYS_fcntl64 SYS_fdatasync SYS_flock
    SYS_fsync SYS_futex SYS_getdents64 SYS_io_uring_enter SYS_ioctl SYS_ipc SYS_mq_timedreceive
    SYS_mq_timedsend SYS_msgrcv SYS_msgsnd SYS_msync SYS_nanosleep SYS_newfstatat SYS_open
    SYS_openat SYS_pause SYS_poll SYS_ppoll SYS_pread64 SYS_pselect6 SYS_pwrite64 SYS_read SYS_readv
    SYS_recv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_renameat SYS_renameat2 SYS_restart_syscall
    SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_select SYS_semop
    SYS_semtimedop SYS_send SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_socketcall
    SYS_splice SYS_statx SYS_sync SYS_syncfs SYS_unlinkat SYS_wait4 SYS_waitid SYS_waitpid SYS_write
    SYS_writev
};
#[cfg(not(target_os = "linux"))]
const SYSCALLS: &[(c_long, &str)] = &[];

/// The calls with 64-bit times that C libraries use instead on 32 bits. libc has their numbers only
/// for few architectures, but on all architectures they come at the same distance before this call.
#[cfg(all(target_os = "linux", target_pointer_width = "32"))]
const WITH_LONG_TIMES: &[(c_long, &str)] = &[
    (libc::SYS_pidfd_send_signal - 2, "SYS_futex_time64"),
    (libc::SYS_pidfd_send_signal - 3, "SYS_rt_sigtimedwait_time64"),
    (libc::SYS_pidfd_send_signal - 10, "SYS_ppoll_time64"),
    (libc::SYS_pidfd_send_signal - 11, "SYS_pselect6_time64"),
    (libc::SYS_pidfd_send_signal - 17, "SYS_clock_nanosleep_time64"),
];
#[cfg(not(all(target_os = "linux", target_pointer_width = "32")))]
const WITH_LONG_TIMES: &[(c_long, &str)] = &[];

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
    fn calls_are_named_as_the_kernel_names_them() {
        let name = |text: String| syscall_name(&text);
        assert_eq!(name(format!("{} 0x4 0x7ffc", libc::SYS_read)).unwrap(), "read");
        assert_eq!(name(format!("{} 0x0", libc::SYS_futex)).unwrap(), "futex");
        assert_eq!(name("99999 0x0".to_owned()).unwrap(), "syscall 99999");
        assert_eq!(name("running".to_owned()), None);
        assert_eq!(name("-1 0x7ffc 0x4000".to_owned()), None);
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
