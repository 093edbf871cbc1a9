//! The only place where panics are caught, around user code.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Whether a panic in a body, subscriber or destructor can be caught in this build.
///
/// It is `false` if the program was compiled with `panic = "abort"`. Then a panic anywhere ends the
/// process before this crate can do anything about it, and no policy applies. In that case, leave
/// the restart to the service manager.
///
/// ```
/// assert_eq!(threadvisor::PANIC_ISOLATION, cfg!(panic = "unwind"));
/// ```
pub const PANIC_ISOLATION: bool = cfg!(panic = "unwind");

/// Runs user code. A panic is returned as its message. The payload is dropped, or forgotten if its
/// drop panics, too.
pub(crate) fn catch<T>(user_code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(user_code)).map_err(|payload| {
        let message = message_of(&*payload);
        discard(payload);
        message
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// A payload is a user value as well. If its destructor panics with a second payload, that one is
/// leaked, because dropping it might go on for ever.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
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
    fn the_message_of_a_panic_comes_back() {
        assert_eq!(catch(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(catch(|| panic!("number {}", 7)), Err::<(), _>("number 7".to_owned()));
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn a_payload_whose_drop_panics_for_ever_does_not_escape() {
        let outcome = catch(|| std::panic::panic_any(PanicsOnDrop));
        assert_eq!(outcome, Err::<(), _>("a panic without a text".to_owned()));
    }
}
