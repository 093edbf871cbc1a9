//! What an earlier owner of a slot has left: a body to be gone before the next one starts.

use std::sync::Arc;

use crate::platform::sync::{Condvar, Mutex};

/// A value that is out of use and must be gone before somebody else goes on. Whoever needs it gone
/// drops it, or waits for the thread that is doing so: an attempt that is revoked meanwhile passes
/// on this duty, not just the hope that somebody else does it.
pub(crate) struct Leftover<T>(Arc<(Mutex<Remains<T>>, Condvar)>);

enum Remains<T> {
    Here(T),
    BeingDropped,
    Gone,
}

impl<T> Leftover<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new((Mutex::new(Remains::Here(value)), Condvar::new())))
    }

    /// Drops the value, or waits until it is dropped or that is `pointless`.
    pub(crate) fn clear(&self, pointless: impl Fn() -> bool) {
        let (remains, changed) = &*self.0;
        let mut state = remains.lock();
        match std::mem::replace(&mut *state, Remains::BeingDropped) {
            // Its destructor may take long: not under the lock.
            Remains::Here(value) => {
                drop(state);
                drop(value);
                *remains.lock() = Remains::Gone;
                changed.notify_all();
                return;
            }
            other => *state = other,
        }
        while matches!(*state, Remains::BeingDropped) && !pointless() {
            changed.wait(&mut state);
        }
    }

    /// Whoever waits should see whether that is still worth it.
    pub(crate) fn wake_waiters(&self) {
        let (remains, changed) = &*self.0;
        drop(remains.lock());
        changed.notify_all();
    }
}

impl<T> Clone for Leftover<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
