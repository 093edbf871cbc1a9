//! [`UserValue`]: where the destructors of user values run. Never on the controller.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::platform::sync::thread_local;
use crate::platform::unwind::catch;
use crate::vocabulary::escaped::Escaped;

/// A user value: its destructor is user code, which may panic, block, or call the supervisor.
///
/// So this wrapper decides where the destructor runs. On a thread that [keeps](keep_user_values)
/// such values it does not run: the value waits to be [taken](take_kept) to another thread.
/// Elsewhere it runs immediately, and its panic is caught, because a second panic during the first
/// would end the process.
pub(crate) struct UserValue<T: Send + 'static>(Option<T>);

/// A user value that a thread has kept instead of dropping it.
pub(crate) type Kept = UserValue<Box<dyn Send>>;

thread_local! {
    static DROPS: RefCell<Drops> = const { RefCell::new(Drops { kept: None, panics: None }) };
}

/// What happens to user values that are dropped on this thread.
struct Drops {
    /// The kept values, if this thread keeps them.
    kept: Option<Vec<Kept>>,
    /// The panics of their destructors, if `panics_of` asked for them.
    panics: Option<Vec<String>>,
}

/// From now on this thread runs no destructor of a user value.
pub(crate) fn keep_user_values() {
    DROPS.with(|drops| drops.borrow_mut().kept = Some(Vec::new()));
}

/// The user values that this thread has kept since the last call, for a thread that runs user code.
pub(crate) fn take_kept() -> Vec<Kept> {
    DROPS.with(|drops| drops.borrow_mut().kept.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Runs a closure that drops user values, and returns the messages of their panics.
pub(crate) fn panics_of(drops_values: impl FnOnce()) -> Vec<String> {
    let outer = swap_panics(Some(Vec::new()));
    drops_values();
    swap_panics(outer).unwrap_or_default()
}

fn swap_panics(panics: Option<Vec<String>>) -> Option<Vec<String>> {
    let swap = |drops: &RefCell<Drops>| std::mem::replace(&mut drops.borrow_mut().panics, panics);
    DROPS.try_with(swap).ok().flatten()
}

impl<T: Send + 'static> UserValue<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Takes the value itself out, for a caller that runs user code anyway.
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
        if self.0.is_some() {
            dispose(&mut self.0);
        }
    }
}

/// A value of any type on its way out.
trait Leaving {
    fn keep(&mut self) -> Option<Box<dyn Send>>;
    fn run_destructor(&mut self);
}

impl<T: Send + 'static> Leaving for Option<T> {
    fn keep(&mut self) -> Option<Box<dyn Send>> {
        self.take().map(|value| Box::new(value) as Box<dyn Send>)
    }

    fn run_destructor(&mut self) {
        *self = None;
    }
}

fn dispose(value: &mut dyn Leaving) {
    // A thread without its locals keeps nothing: it is a thread of the user.
    let kept = DROPS.try_with(|drops| {
        let mut drops = drops.borrow_mut();
        drops.kept.as_mut().map(|kept| kept.push(UserValue(value.keep()))).is_some()
    });
    if kept.unwrap_or(false) {
        return;
    }
    let Err(message) = catch(|| value.run_destructor()) else { return };
    let noted = DROPS.try_with(|drops| {
        let mut drops = drops.borrow_mut();
        drops.panics.as_mut().map(|panics| panics.push(message.clone())).is_some()
    });
    if !noted.unwrap_or(false) {
        // A logger is user code as well.
        let text = Escaped(message);
        let log = || log::warn!(target: "threadvisor", "a destructor panicked: {text}");
        let _ = catch(log);
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
        // No caller asked for the panics.
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
