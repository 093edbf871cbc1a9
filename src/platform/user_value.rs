//! [`UserValue`]: where the destructors of user values run. Never on the controller.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::platform::sync::thread_local;
use crate::platform::unwind::catch;

/// A value of the user's, whose destructor is user code: it may panic, block, or call the
/// supervisor.
///
/// So this wrapper decides where it runs. On a thread that [keeps](keep_user_values) such values it
/// does not run at all: the value waits to be [taken](take_kept) to another thread. Elsewhere it
/// runs at once, and its panic goes no further; two that met would end the process.
pub(crate) struct UserValue<T: Send + 'static>(Option<T>);

/// A user value that a thread has kept instead of dropping it.
pub(crate) type Kept = UserValue<Box<dyn Send>>;

thread_local! {
    static DROPS: RefCell<Drops> = const { RefCell::new(Drops { kept: None, panics: None }) };
}

/// What becomes of user values that go out of use on this thread.
struct Drops {
    /// Where they wait, if this thread keeps them.
    kept: Option<Vec<Kept>>,
    /// Where the panics of their destructors are noted, if anybody asked for them.
    panics: Option<Vec<String>>,
}

/// From now on this thread runs no destructor of a user value.
pub(crate) fn keep_user_values() {
    DROPS.with(|drops| drops.borrow_mut().kept = Some(Vec::new()));
}

/// The user values that this thread has kept since it was last asked, for a thread that runs user
/// code.
pub(crate) fn take_kept() -> Vec<Kept> {
    DROPS.with(|drops| drops.borrow_mut().kept.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Runs something that drops user values, and gives back the messages of their panics.
pub(crate) fn panics_of(drops_values: impl FnOnce()) -> Vec<String> {
    let note = |panics| {
        DROPS.try_with(|drops| std::mem::replace(&mut drops.borrow_mut().panics, panics)).ok()
    };
    let outer = note(Some(Vec::new())).flatten();
    drops_values();
    note(outer).flatten().unwrap_or_default()
}

impl<T: Send + 'static> UserValue<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value itself, for one who runs user code anyway; what is left is empty.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> Deref for UserValue<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is taken or dropped")
    }
}

impl<T: Send + 'static> DerefMut for UserValue<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it is taken or dropped")
    }
}

impl<T: Send + 'static> Drop for UserValue<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        let mut value = Some(value);
        // A thread whose locals are gone keeps nothing: it is a user's.
        let _ = DROPS.try_with(|drops| {
            if let Some(kept) = &mut drops.borrow_mut().kept {
                let value = value.take().map(|value| Box::new(value) as Box<dyn Send>);
                kept.push(UserValue(value));
            }
        });
        let Err(message) = catch(|| drop(value)) else { return };
        let noted = DROPS.try_with(|drops| {
            let mut drops = drops.borrow_mut();
            drops.panics.as_mut().map(|panics| panics.push(message.clone())).is_some()
        });
        if !noted.unwrap_or(false) {
            // A logger is user code as well.
            let log = || log::warn!(target: "threadvisor", "a destructor panicked: {message}");
            let _ = catch(log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }

    #[test]
    fn destructors_that_panic_meet_nobody_and_are_told() {
        let panics = panics_of(|| {
            drop([UserValue::new(PanicsOnDrop), UserValue::new(PanicsOnDrop)]);
            assert_eq!(panics_of(|| drop(UserValue::new(PanicsOnDrop))).len(), 1);
        });
        assert_eq!(panics, ["a panic without a text"; 2]);
        // Nobody asked.
        drop(UserValue::new(PanicsOnDrop));
    }

    #[test]
    fn a_thread_that_keeps_user_values_runs_no_destructor() {
        let dropped = std::sync::Arc::new(());
        let value = UserValue::new(std::sync::Arc::clone(&dropped));
        let kept = std::thread::scope(|scope| {
            let keeper = scope.spawn(|| {
                keep_user_values();
                drop(value);
                drop(take_kept());
                take_kept()
            });
            keeper.join().unwrap()
        });
        assert_eq!((kept.len(), std::sync::Arc::strong_count(&dropped)), (1, 2));
        drop(kept);
        assert_eq!(std::sync::Arc::strong_count(&dropped), 1);
    }
}
