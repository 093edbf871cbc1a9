//! Lives that may end in a panic, and the search for the smallest that still does.

use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Which check failed, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failure {
    pub(super) at: String,
    pub(super) why: String,
}

thread_local! {
    static TRYING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Runs what may panic. A search provokes thousands of panics, so that none is printed.
pub(super) fn survives<T>(life: impl FnOnce() -> T) -> Result<T, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if !TRYING.get() {
                return others(panic);
            }
            let payload = panic.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let why = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("?");
            let at = panic.location().map_or_else(String::new, |at| {
                let file = at.file().rsplit('/').next().unwrap_or_default();
                format!("{file}:{}", at.line())
            });
            LAST.set(Some(Failure { at, why: why.to_owned() }));
        }));
    });
    let before = TRYING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(life));
    TRYING.set(before);
    result.map_err(|_| LAST.take().expect("the hook has seen the panic"))
}

/// Takes away all that is not needed for the failure, first in large pieces, then one by one.
pub(super) fn fewest<T: Clone>(mut items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut piece = items.len();
    while piece > 0 {
        let (mut at, before) = (0, items.len());
        while at < items.len() {
            let end = (at + piece).min(items.len());
            let without = [&items[..at], &items[end..]].concat();
            if fails(&without) {
                items = without;
            } else {
                at = end;
            }
        }
        // What one piece needed may be gone with a later one.
        if piece > 1 || items.len() == before {
            piece /= 2;
        }
    }
    items
}

#[test]
fn a_failure_is_told_by_its_place_and_its_text() {
    let failure = survives::<()>(|| panic!("{} is wrong", 7)).unwrap_err();
    assert_eq!((&*failure.why, failure.at.starts_with("shrinking.rs:")), ("7 is wrong", true));
    assert_eq!(survives(|| 7), Ok(7));
}

#[test]
fn the_fewest_are_those_that_it_takes() {
    let needs = |items: &[u32]| items.contains(&3) && items.contains(&17);
    assert_eq!(fewest((0..100).collect(), needs), [3, 17]);
    // 40 is only needed as long as 41 is there.
    let odd = |items: &[u32]| items.contains(&7) && (items.contains(&40) || !items.contains(&41));
    assert_eq!(fewest((0..100).collect(), odd), [7]);
    assert!(fewest(alloc::vec![1, 2], |_| true).is_empty());
}
