//! What an earlier owner of a slot has left: a body to be gone before the next one starts.

use std::sync::Arc;

use crate::platform::sync::{Condvar, Mutex};
use crate::platform::unwind;
use crate::task::body::Body;

/// A body that will not run again. Whoever needs it gone drops it, or waits for who is doing so: an
/// attempt that is revoked meanwhile passes on the wait, not the hope.
#[derive(Clone)]
pub(crate) struct Leftover(Arc<(Mutex<Remains>, Condvar)>);

enum Remains {
    Here(Body),
    BeingDropped,
    Gone,
}

impl Leftover {
    pub(crate) fn new(body: Body) -> Self {
        Self(Arc::new((Mutex::new(Remains::Here(body)), Condvar::new())))
    }

    /// Drops the body, or waits until it is dropped or that is `pointless`. Gives back the message
    /// of a panic in that.
    pub(crate) fn clear(&self, pointless: impl Fn() -> bool) -> Option<String> {
        let (remains, changed) = &*self.0;
        let mut state = remains.lock();
        match std::mem::replace(&mut *state, Remains::BeingDropped) {
            Remains::Here(body) => {
                drop(state);
                let panicked = unwind::drop_caught(body).err();
                *remains.lock() = Remains::Gone;
                changed.notify_all();
                return panicked;
            }
            other => *state = other,
        }
        while matches!(*state, Remains::BeingDropped) && !pointless() {
            changed.wait(&mut state);
        }
        None
    }

    /// Whoever waits should see whether that is still worth it.
    pub(crate) fn nudge(&self) {
        let (remains, changed) = &*self.0;
        drop(remains.lock());
        changed.notify_all();
    }
}
