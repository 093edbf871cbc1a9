//! A short wait that yields the processor, before a thread parks.
//!
//! Parking and waking cost two trips through the kernel's sleep. If the answer is a few
//! microseconds away, yielding the processor a few times costs less. The wait is bounded, and
//! yields instead of spinning, so that it also helps on a single core.
//!
//! While other threads compute, a yield gives them whole time slices, milliseconds each, but a
//! parked thread runs as soon as it is woken. So if a yield returns late and has gained nothing,
//! lingering pauses for a time that makes up for it.

use std::time::Duration;

use crate::platform::clock::RealClock;
use crate::platform::sync::atomic::{AtomicU32, Ordering};
use crate::platform::sync::thread;
use crate::vocabulary::time::RealTime;

/// About what parking and waking cost.
const LINGER: Duration = Duration::from_micros(20);

/// Longer than a yield to threads that soon yield themselves; shorter than the time slice of a
/// thread that computes, which is at least 0.7 ms (Linux `base_slice_ns`, on one processor).
const LATE: Duration = Duration::from_micros(500);

/// After a late yield, lingering pauses for this many times its duration, so that it costs a tenth
/// of the time at most.
const PAUSE: u32 = 10;

/// The longest pause in milliseconds. A longer one could not be distinguished from a wrap-around of
/// the time.
const LONGEST_PAUSE: u32 = 10_000;

/// Each kind of thread has its own, because in a burst it is the other kinds that make a yield
/// late.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    /// When the pause ends: milliseconds since the start, wrapping around after 49 days. It has
    /// only 32 bits, because some processors have no 64-bit atomics.
    resumes: AtomicU32,
}

impl Linger {
    /// Yields until `look` finds something, for about `LINGER`.
    pub(crate) fn until<T>(&self, clock: &RealClock, look: impl Fn() -> Option<T>) -> Option<T> {
        let found = look();
        if found.is_some() {
            return found;
        }
        let began = clock.now();
        if self.is_paused(began) {
            return None;
        }

        let end = began.after(LINGER);
        loop {
            thread::yield_now();
            // The look comes first: what is found counts, however late the yield came back.
            let (found, now) = (look(), clock.now());
            if found.is_some() {
                return found;
            }
            if now >= end {
                self.took(began, now);
                return None;
            }
        }
    }

    fn is_paused(&self, now: RealTime) -> bool {
        let left = self.resumes.load(Ordering::Relaxed).wrapping_sub(wrapped_millis(now));
        (1..=LONGEST_PAUSE).contains(&left)
    }

    fn took(&self, began: RealTime, now: RealTime) {
        let span = began.until(now);
        if span > LATE {
            let pause = span.saturating_mul(PAUSE).min(Duration::from_millis(LONGEST_PAUSE.into()));
            let end = now.after(pause);
            if !self.is_paused(end) {
                self.resumes.store(wrapped_millis(end), Ordering::Relaxed);
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it is to wrap around")]
fn wrapped_millis(time: RealTime) -> u32 {
    time.since_start().as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> RealTime {
        RealTime::from_nanos(n * 1_000_000)
    }

    #[test]
    fn a_late_yield_is_made_up_for_a_prompt_one_is_not() {
        let linger = Linger::default();
        linger.took(ms(0), RealTime::from_nanos(100_000));
        assert!(!linger.is_paused(ms(0)));
        linger.took(ms(7), ms(10));
        // Another that was less late ends no pause.
        linger.took(ms(9), ms(10));
        for (now, paused) in [(10, true), (39, true), (40, false), (100_000, false)] {
            assert_eq!(linger.is_paused(ms(now)), paused, "at {now} ms");
        }
    }

    #[test]
    fn a_process_that_was_stopped_lingers_again_after_ten_seconds() {
        let linger = Linger::default();
        linger.took(ms(0), ms(3_600_000));
        assert!(linger.is_paused(ms(3_609_999)));
        assert!(!linger.is_paused(ms(3_610_000)));
    }

    #[test]
    fn pauses_pass_the_wrapping_of_the_scale() {
        let linger = Linger::default();
        let wrap = 1 << 32;
        linger.took(ms(wrap - 2), ms(wrap - 1));
        assert!(linger.is_paused(ms(wrap + 8)));
        assert!(!linger.is_paused(ms(wrap + 9)));
    }

    #[test]
    fn what_lies_there_is_found_even_in_a_pause() {
        let (linger, clock) = (Linger::default(), RealClock::start_now());
        let now = clock.now();
        linger.took(now, now.after(Duration::from_secs(60)));
        assert_eq!(linger.until(&clock, || Some(1)), Some(1));
    }
}
