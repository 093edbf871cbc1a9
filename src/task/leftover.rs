//! Leftovers: the body of an earlier owner of a slot must be dropped before the next owner's
//! starts.

use std::sync::Arc;

use crate::platform::sync::{Condvar, Mutex};

/// A value that is no longer used and must be dropped before another attempt goes on. The thread
/// that needs it dropped drops it, or waits for the thread that is dropping it. An attempt that is
/// revoked in the meantime passes the leftover on, so that this duty is not lost.
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

    /// Drops the value, or waits until it is dropped or the wait is `pointless`.
    pub(crate) fn clear(&self, pointless: impl Fn() -> bool) {
        let (remains, changed) = &*self.0;
        let mut state = remains.lock();
        match std::mem::replace(&mut *state, Remains::BeingDropped) {
            // Its destructor may take long, so it does not run under the lock.
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

    /// Wakes the waiting threads, so that they check whether their wait is pointless.
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
