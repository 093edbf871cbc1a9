//! Locks, atomics, channels, threads and thread locals. No other file names their crates, except
//! for the atomic flag that signals share with their library, so that a model checker can put its
//! own in their place.

pub(crate) use std::sync::atomic;
pub(crate) use std::thread_local;

pub(crate) use crossbeam_channel as channel;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

pub(crate) mod thread {
    pub(crate) use std::thread::*;

    /// How many processors this thread may use; 0 if that is not known. Linux says so in a file,
    /// and to ask std, which also reads the quotas of the cgroup, would take 20 KB of code in every
    /// program.
    #[cfg(target_os = "linux")]
    pub(crate) fn processors() -> u32 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"));
        let digits = mask.unwrap_or_default().chars().filter_map(|it| it.to_digit(16));
        digits.map(u32::count_ones).sum()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn processors() -> u32 {
        let known = available_parallelism().map_or(0, std::num::NonZeroUsize::get);
        u32::try_from(known).unwrap_or(u32::MAX)
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn as_many_processors_are_found_as_std_finds_without_a_quota() {
            let std = std::thread::available_parallelism().unwrap().get();
            assert!(super::processors() as usize >= std);
        }
    }
}
