//! The model checker's primitives in the shapes that the crate expects of its own `sync`.

#[cfg(feature = "loom")]
use loom as checker;
#[cfg(not(feature = "loom"))]
use shuttle as checker;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

#[cfg(feature = "loom")]
pub(crate) use crate::loom_thread_local as thread_local;
pub(crate) use checker::sync::atomic;
#[cfg(not(feature = "loom"))]
pub(crate) use shuttle::thread_local;

/// Loom's does not know constant values.
#[cfg(feature = "loom")]
#[macro_export]
macro_rules! loom_thread_local {
    ($(#[$doc:meta])* static $name:ident: $type:ty = const $init:block;) => {
        loom::thread_local! { static $name: $type = $init; }
    };
}

pub(crate) use crate::channel;
use crate::world;

/// As parking_lot's: not poisoned by a panic.
#[derive(Default)]
pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Empty only while a condition variable has it.
    guard: Option<checker::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checker::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, guard: Some(self.take()) }
    }

    /// Waits: whoever finds a lock taken waits for it anyway, except in a forked child.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(self.lock())
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> checker::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("the lock is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("the lock is held")
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(checker::sync::Condvar);

/// What `wait_until` found; nobody asks.
pub(crate) struct Waited(());

impl Condvar {
    #[cfg(feature = "loom")]
    pub(crate) fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    #[cfg(not(feature = "loom"))]
    pub(crate) const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.guard.take().expect("the lock is held");
        guard.guard = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Where timers may fire it wakes up at any time, with or without a reason: whoever waits so
    /// looks again. Where none does, only a notification ends it.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, due: Instant) -> Waited {
        let due = world::time(due);
        if world::may_fire(due) {
            world::fires(due);
            drop(guard.guard.take());
            thread::yield_now();
            guard.guard = Some(guard.mutex.take());
        } else {
            self.wait(guard);
        }
        Waited(())
    }
}

pub(crate) mod thread {
    //! Threads that may be refused.

    use std::io;

    use super::checker;
    pub(crate) use super::checker::thread::{current, spawn, yield_now, JoinHandle, ThreadId};

    use crate::world;

    /// The same everywhere, so that a seed means the same everywhere.
    pub(crate) fn processors() -> u32 {
        1
    }

    pub(crate) struct Builder(checker::thread::Builder, String);

    impl Builder {
        pub(crate) fn new() -> Self {
            Self(checker::thread::Builder::new(), String::new())
        }

        pub(crate) fn name(self, name: String) -> Self {
            Self(self.0.name(name.clone()), name)
        }

        /// What a user's thread needs says nothing of what the checker's needs.
        pub(crate) fn stack_size(self, _bytes: usize) -> Self {
            self
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            run: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            if world::refuses_thread(&self.1) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.spawn(run)
        }
    }
}
