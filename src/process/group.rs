//! What the system shows of processes and their groups.

#[cfg(target_os = "linux")]
use std::{fs::File, io::Read};

use rustix::process::Pid;

use crate::platform::children::Children;
use crate::vocabulary::signal::Signal;

/// Whether any process of the group still runs, apart from those that have ended and wait to be
/// reaped.
pub(super) fn has_living_members(group: Pid, children: &Children) -> bool {
    has_living(group, 0, children)
}

/// Says the same, but looks only at processes that began after the leader, which is soon done.
/// Where numbers have begun anew since then, it may miss one.
pub(super) fn has_left_others(group: Pid, children: &Children) -> bool {
    has_living(group, group.as_raw_nonzero().get(), children)
}

#[cfg(target_os = "linux")]
fn has_living(group: Pid, above: i32, children: &Children) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // Each that was started here leads a group of its own: to read of all others takes less time.
    let leaders = children.numbers();
    let mut others = numbers.filter(|number| *number > above && !leaders.contains(number));
    let lives = (true, group.as_raw_nonzero().get());
    others.any(|number| stat_of(number) == Some(lives))
}

/// Whether a process is of the group. The system's own call for that is no use: of a process that
/// has no group here, it gives a number that `rustix` takes for granted not to be zero.
#[cfg(target_os = "linux")]
pub(super) fn has_member(group: Pid, pid: Pid) -> bool {
    let found = stat_of(pid.as_raw_nonzero().get());
    found.is_some_and(|(_, own)| own == group.as_raw_nonzero().get())
}

/// Whether a process still runs, and the number of its group.
#[cfg(target_os = "linux")]
fn stat_of(number: i32) -> Option<(bool, i32)> {
    // One call, and not one for each few bytes: what is wanted stands at the beginning. A process
    // that has ended meanwhile has no file any more.
    let mut stat = [0; 256];
    let length = File::open(format!("/proc/{number}/stat")).ok()?.read(&mut stat).ok()?;
    let stat = String::from_utf8_lossy(&stat[..length]);
    // The name of the program comes first, in parentheses, and may contain anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let lives = !matches!(fields.next()?, "Z" | "X");
    Some((lives, fields.nth(1)?.parse().ok()?))
}

#[cfg(not(target_os = "linux"))]
fn has_living(group: Pid, _above: i32, _children: &Children) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

/// What a process does about a signal, if that explains why it does not end.
pub(super) fn resists(pid: Pid, signal: Signal) -> &'static str {
    if has_in_mask(&pid.as_raw_nonzero().to_string(), "SigIgn:", signal) {
        "ignores"
    } else if has_in_mask(&pid.as_raw_nonzero().to_string(), "SigBlk:", signal) {
        "blocks"
    } else {
        ""
    }
}

/// Whether this process ignores SIGCHLD, so that the status of a child is lost when it ends.
pub(super) fn ignores_children() -> bool {
    has_in_mask("self", "SigIgn:", Signal::CHLD)
}

/// Whether a mask of the process has the signal. Where the system shows none, it has not.
fn has_in_mask(process: &str, mask: &str, signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
        return false;
    };
    let line = status.lines().find_map(|line| line.strip_prefix(mask));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let bit = u32::try_from(signal.as_raw() - 1).ok().and_then(|n| 1_u64.checked_shl(n));
    bits.zip(bit).is_some_and(|(bits, bit)| bits & bit != 0)
}
