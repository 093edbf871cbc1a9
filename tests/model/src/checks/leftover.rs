//! What an earlier owner has left: gone before the next one goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{atomic, thread};
use crate::runner::Check;
use crate::task::leftover::Leftover;

pub(crate) const CHECKS: &[Check] = &[
    Check::every("leftover: gone before anybody goes on", gone_before_anybody_goes_on),
    Check::some("leftover: gone before any of three goes on", 1500, gone_before_any_of_three),
    Check::some("leftover: a pointless wait ends", 2000, a_pointless_wait_ends),
];

/// Says when it is gone, having taken a while for that.
struct Device(Arc<AtomicBool>);

impl Drop for Device {
    fn drop(&mut self) {
        thread::yield_now();
        self.0.store(true, Ordering::Relaxed);
    }
}

fn leftover() -> (Leftover<Device>, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    let device = Device(Arc::clone(&gone));
    (Leftover::new(device), gone)
}

fn gone_before_anybody_goes_on() {
    clear_it_with(1);
}

fn gone_before_any_of_three() {
    clear_it_with(2);
}

fn clear_it_with(others: usize) {
    let (leftover, gone) = leftover();
    let others: Vec<_> = (0..others)
        .map(|_| {
            let (leftover, gone) = (leftover.clone(), Arc::clone(&gone));
            thread::spawn(move || {
                leftover.clear(|| false);
                assert!(gone.load(Ordering::Relaxed), "went on before it was gone");
            })
        })
        .collect();
    leftover.clear(|| false);
    assert!(gone.load(Ordering::Relaxed), "went on before it was gone");
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// Hangs in its destructor until it may go on.
struct Hangs {
    inside: Sender<()>,
    go_on: Receiver<()>,
}

impl Drop for Hangs {
    fn drop(&mut self) {
        let _ = self.inside.send(());
        let _ = self.go_on.recv();
    }
}

/// Who waits for a destructor that hangs goes on once its own attempt is revoked.
fn a_pointless_wait_ends() {
    let (inside, hangs) = channel::bounded(1);
    let (free, go_on) = channel::bounded(1);
    let device = Hangs { inside, go_on };
    let leftover = Leftover::new(device);
    let dropper = leftover.clone();
    let dropper = thread::spawn(move || dropper.clear(|| false));
    hangs.recv().unwrap();
    let revoked = Arc::new(atomic::AtomicBool::new(false));
    let (waiter, pointless) = (leftover.clone(), Arc::clone(&revoked));
    let waiter = thread::spawn(move || waiter.clear(|| pointless.load(Ordering::Relaxed)));
    revoked.store(true, Ordering::Relaxed);
    leftover.wake_waiters();
    waiter.join().unwrap();
    free.send(()).ok().unwrap();
    dropper.join().unwrap();
}
