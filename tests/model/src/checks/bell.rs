//! The bell: whoever sleeps until it is rung misses nothing that was left for it before.

use std::sync::Arc;

use crate::platform::bell::Bell;
use crate::platform::clock::RealClock;
use crate::platform::sync::atomic::{AtomicUsize, Ordering};
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::vocabulary::time::RealTime;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("bell: what is left for a sleeper wakes it", 2000, || left_by(1)),
    Check::some("bell: each of two is heard", 2000, || left_by(2)),
];

/// What is left is as weakly ordered as a channel may be.
fn left_by(ringers: usize) {
    let (bell, left) = (Arc::new(Bell::default()), Arc::new(AtomicUsize::new(0)));
    let ringers: Vec<_> = (0..ringers)
        .map(|_| {
            let (bell, left) = (Arc::clone(&bell), Arc::clone(&left));
            thread::spawn(move || {
                left.fetch_add(1, Ordering::Release);
                bell.ring(|| true);
            })
        })
        .collect();
    let clock = RealClock::start_now();
    let mut seen = 0;
    while seen < ringers.len() {
        bell.sleep(&clock, RealTime::NEVER, || left.load(Ordering::Acquire) > seen);
        seen = left.load(Ordering::Acquire);
    }
    ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
}
