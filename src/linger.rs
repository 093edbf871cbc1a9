//! A short wait by yielding the processor, before a thread parks.
//!
//! Parking and waking cost two switches through the kernel's sleep; where the answer is a few
//! microseconds away, giving up the processor a few times costs less. It is bounded, and yields
//! instead of spinning, so that it helps on one core as well and burns next to nothing on a busy
//! one.

use std::thread;
use std::time::Duration;

use crate::clock::Clock;

/// About what parking and waking cost.
const LINGER: Duration = Duration::from_micros(20);

/// Yields until `ready`, for a moment at the most. Whether it became ready.
pub(crate) fn linger(clock: &Clock, ready: impl Fn() -> bool) -> bool {
    if ready() {
        return true;
    }
    let end = clock.now().after(LINGER);
    loop {
        thread::yield_now();
        if ready() {
            return true;
        }
        if clock.now() >= end {
            return false;
        }
    }
}
