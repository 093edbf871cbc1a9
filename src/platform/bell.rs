//! A bell: one thread sleeps until it is rung, and others ring it after they have left something
//! for that thread.
//!
//! The thread announces that it goes to sleep, and then looks once more; the others leave what they
//! have, and then look whether it sleeps. Of two such looks, at least one sees what the other
//! thread did before its own.

use crate::platform::clock::RealClock;
use crate::platform::sync::atomic::{fence, AtomicBool, Ordering};
use crate::platform::sync::{Condvar, Mutex};
use crate::vocabulary::time::RealTime;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The thread sleeps, or is about to, and nobody has rung since.
    sleeps: AtomicBool,
    /// Only so that nobody rings between the thread's last look at `sleeps` and its sleep.
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Wakes the thread, if it sleeps. To be called after something was left for it, without locks.
    /// A forked child has no such thread, which may have held the lock at the fork: there nobody
    /// `is_here`.
    pub(crate) fn ring(&self, is_here: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst);
        let sleeps = self.sleeps.load(Ordering::Relaxed) && is_here();
        if sleeps && self.sleeps.swap(false, Ordering::Release) {
            drop(self.lock.lock());
            self.rung.notify_one();
        }
    }

    /// Sleeps until the bell is rung, or until `due`, unless there is something already. Only one
    /// thread at a time may sleep here.
    pub(crate) fn sleep(
        &self,
        clock: &RealClock,
        due: RealTime,
        has_something: impl FnOnce() -> bool,
    ) {
        self.sleeps.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_something() {
            let instant = clock.instant(due);
            let mut guard = self.lock.lock();
            while self.sleeps.load(Ordering::Acquire) && clock.now() < due {
                match instant {
                    None => self.rung.wait(&mut guard),
                    Some(instant) => {
                        self.rung.wait_until(&mut guard, instant);
                    }
                }
            }
        }
        self.sleeps.store(false, Ordering::Relaxed);
    }
}
