//! A short wait by yielding the processor, before a thread parks.
//!
//! Parking and waking cost two switches through the kernel's sleep; where the answer is a few
//! microseconds away, giving up the processor a few times costs less. It is bounded, and yields
//! instead of spinning, so that it helps on one core as well and burns next to nothing on a busy
//! one.

use std::time::Duration;

use crate::clock::Clock;
use crate::sync::thread;

/// About what parking and waking cost.
const LINGER: Duration = Duration::from_micros(20);

/// Yields until `look` finds something, for a moment at the most.
pub(crate) fn linger<T>(clock: &Clock, look: impl Fn() -> Option<T>) -> Option<T> {
    let found = look();
    if found.is_some() {
        return found;
    }
    let end = clock.now().after(LINGER);
    loop {
        thread::yield_now();
        let found = look();
        if found.is_some() || clock.now() >= end {
            return found;
        }
    }
}
