//! A short wait that yields the processor, before a thread parks.
//!
//! Parking and waking cost two trips through the kernel's sleep. If the answer is a few
//! microseconds away, yielding the processor a few times costs less. The wait is bounded, and
//! yields instead of spinning, so that it also helps on a single core.
//!
//! While other threads compute, a yield gives them whole time slices, milliseconds each, but a
//! parked thread runs as soon as it is woken. So if a yield returns late, lingering ends, and if
//! something had to wait for that, it pauses for a time that makes up for it.

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

/// A late yield that brought as much gave the time to the threads that brought it.
const MANY: usize = 16;

/// The pause after a late yield that kept something waiting is this many times its duration, or as
/// many times the pause before, if that has not been over for long. So a busy machine is soon left
/// alone.
const PAUSE: u32 = 10;

/// The longest pause in milliseconds: on a machine that stays busy, one yield in that time is late.
const LONGEST_PAUSE: u32 = 30_000;

/// Each kind of thread has its own, because in a burst it is the other kinds that make a yield
/// late.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    /// When the pause ends: milliseconds since the start, wrapping around after 49 days. It has
    /// only 32 bits, because some processors have no 64-bit atomics.
    resumes: AtomicU32,
    /// The length of that pause, in milliseconds.
    latest: AtomicU32,
}

impl Linger {
    /// Yields until `look` finds something, for about `LINGER`, or until a yield is late. `look`
    /// says how much there is. True if there is something.
    pub(crate) fn until(&self, clock: &RealClock, look: impl Fn() -> usize) -> bool {
        if look() > 0 {
            return true;
        }
        let began = clock.now();
        if self.is_paused(began) {
            return false;
        }

        let (end, mut yielded_at) = (began.after(LINGER), began);
        loop {
            thread::yield_now();
            let (found, now) = (look(), clock.now());
            let late = self.took(yielded_at, now, found);
            if late || found > 0 || now >= end {
                return found > 0;
            }
            yielded_at = now;
        }
    }

    fn is_paused(&self, now: RealTime) -> bool {
        let left = self.resumes.load(Ordering::Relaxed).wrapping_sub(wrapped_millis(now));
        (1..=LONGEST_PAUSE).contains(&left)
    }

    /// Notes how long a yield took. True if it was late.
    fn took(&self, began: RealTime, now: RealTime, found: usize) -> bool {
        let late = began.until(now) > LATE;
        // Where nothing was found, nothing had to wait.
        if late && (1..MANY).contains(&found) {
            let latest = self.latest.load(Ordering::Relaxed);
            let over_for = wrapped_millis(now).wrapping_sub(self.resumes.load(Ordering::Relaxed));
            let latest = if over_for <= latest { latest } else { 0 };
            let span = u32::try_from(began.until(now).as_millis()).unwrap_or(u32::MAX);
            let pause = span.max(latest).max(1).saturating_mul(PAUSE).min(LONGEST_PAUSE);
            let end = now.after(Duration::from_millis(pause.into()));
            // Of several threads that were late, the latest counts.
            if !self.is_paused(end) {
                self.latest.store(pause, Ordering::Relaxed);
                self.resumes.store(wrapped_millis(end), Ordering::Relaxed);
            }
        }
        late
    }
}

// It wraps around on purpose.
#[allow(clippy::cast_possible_truncation)]
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
    fn a_late_yield_that_kept_something_waiting_is_made_up_for() {
        let linger = Linger::default();
        // A prompt one, one that kept nothing waiting, and one that other threads of ours used.
        assert!(!linger.took(ms(0), RealTime::from_nanos(100_000), 1));
        assert!(linger.took(ms(7), ms(10), 0) && linger.took(ms(7), ms(10), MANY));
        assert!(!linger.is_paused(ms(10)));
        assert!(linger.took(ms(7), ms(10), 1));
        // Another that was less late ends no pause.
        assert!(linger.took(ms(9), ms(10), 1));
        for (now, paused) in [(10, true), (39, true), (40, false), (100_000, false)] {
            assert_eq!(linger.is_paused(ms(now)), paused, "at {now} ms");
        }
    }

    #[test]
    fn a_machine_that_stays_busy_is_left_alone_for_longer_each_time() {
        let (linger, mut now) = (Linger::default(), 1000);
        for pause in [30, 300, 3000, 30_000, 30_000] {
            assert!(linger.took(ms(now - 3), ms(now), 1));
            assert!(linger.is_paused(ms(now + pause - 1)) && !linger.is_paused(ms(now + pause)));
            now += pause + 1;
        }
        // It was not busy for as long again.
        now += 30_000;
        assert!(linger.took(ms(now - 3), ms(now), 1));
        assert!(linger.is_paused(ms(now + 29)) && !linger.is_paused(ms(now + 30)));
    }

    #[test]
    fn a_process_that_was_stopped_lingers_again_after_half_a_minute() {
        let linger = Linger::default();
        assert!(linger.took(ms(0), ms(3_600_000), 1));
        assert!(linger.is_paused(ms(3_629_999)));
        assert!(!linger.is_paused(ms(3_630_000)));
    }

    #[test]
    fn pauses_pass_the_wrapping_of_the_scale() {
        let linger = Linger::default();
        let wrap = 1 << 32;
        assert!(linger.took(ms(wrap - 2), ms(wrap - 1), 1));
        assert!(linger.is_paused(ms(wrap + 8)));
        assert!(!linger.is_paused(ms(wrap + 9)));
    }

    #[test]
    fn what_lies_there_is_found_even_in_a_pause() {
        let (linger, clock) = (Linger::default(), RealClock::start_now());
        let now = clock.now();
        assert!(linger.took(now, now.after(Duration::from_secs(1)), 1));
        assert!(linger.until(&clock, || 1));
        assert!(!linger.until(&clock, || 0));
    }
}
