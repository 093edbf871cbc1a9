//! The only place where panics are caught, around user code.

use std::any::Any;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::panic::{self, catch_unwind, AssertUnwindSafe};
use std::sync::Once;

use crate::platform::chain::chain;

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

/// Whether places of panics are asked for.
static PLACES: Once = Once::new();

thread_local! {
    /// Where the latest panic of this thread came from, if that is asked for.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Has the message of each panic that the crate catches end with its place: `, at src/job.rs:12`.
///
/// The place is known only to the panic hook, which belongs to the whole process. So this sets a
/// hook, once, which notes the place and then calls the one that was there before. Call it early in
/// `main`, after any other panic hook is set: a hook that is set later and does not call this one
/// replaces it. On a thread that is panicking it does nothing.
///
/// ```
/// use threadvisor::prelude::*;
///
/// threadvisor::panic_places();
/// let supervisor = Supervisor::builder().start()?;
/// let divides = TaskSpec::once("divides", |_| panic!("by zero")).restart(RestartPolicy::Never);
/// let outcome = supervisor.handle().add(divides)?.wait()?.to_string();
/// assert!(outcome.starts_with("panicked: by zero, at ") && outcome.contains(".rs:"), "{outcome}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn panic_places() {
    // A hook cannot be set during a panic.
    if std::thread::panicking() {
        return;
    }
    PLACES.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|it| format!("{}:{}", it.file(), it.line()));
            // No place is known while the thread ends.
            let _ = PLACE.try_with(|known| known.set(place));
            before(info);
        }));
    });
}

/// The place of this thread's latest panic, which is given once.
fn take_place() -> Option<String> {
    let known = PLACES.is_completed().then(|| PLACE.try_with(Cell::take));
    known?.ok().flatten()
}

/// Runs user code. A panic is returned as its message. The payload is dropped.
pub(crate) fn catch<T>(user_code: impl FnOnce() -> T) -> Result<T, String> {
    catch_with(user_code, |_| None).map_err(|(message, _)| message)
}

/// Does the same with a reader for further types of payloads. The payload is returned as well,
/// because its destructor may take long.
pub(crate) fn catch_with<T>(
    user_code: impl FnOnce() -> T,
    read: fn(&(dyn Any + Send)) -> Option<String>,
) -> Result<T, (String, Payload)> {
    // What was thrown may be passed on, which no hook hears: then an older place is none of it.
    drop(take_place());
    catch_unwind(AssertUnwindSafe(user_code)).map_err(|payload| {
        let place = take_place();
        // The text of an error is user code as well.
        let read = AssertUnwindSafe(|| message_of(&*payload).or_else(|| read(&*payload)));
        let text = catch_unwind(read).map_err(discard).ok().flatten();
        let mut text = text.unwrap_or_else(|| "a panic without a text".to_owned());
        if let Some(place) = place {
            text = format!("{text}, at {place}");
        }
        (text, Payload(Some(payload)))
    })
}

/// What was thrown. It is forgotten if its drop panics, too.
pub(crate) struct Payload(Option<Box<dyn Any + Send>>);

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(discard);
    }
}

/// The text that a payload has or stands for.
fn message_of(payload: &(dyn Any + Send)) -> Option<String> {
    if let Some(text) = payload.downcast_ref::<&str>() {
        Some((*text).to_owned())
    } else if let Some(text) = payload.downcast_ref::<String>() {
        Some(text.clone())
    } else if let Some(error) = payload.downcast_ref::<io::Error>() {
        Some(chain(error))
    } else {
        payload.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| chain(&**error))
    }
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
            panic::panic_any(Self);
        }
    }

    #[test]
    fn the_message_of_a_panic_comes_back() {
        assert_eq!(catch(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(catch(|| panic!("number {}", 7)), Err::<(), _>("number 7".to_owned()));
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn an_error_as_a_payload_is_read() {
        let io = || io::Error::other("no device");
        let read = |payload| catch::<()>(|| panic::resume_unwind(payload)).unwrap_err();
        assert_eq!(read(Box::new(io())), "no device");
        assert_eq!(read(Box::new(Box::<dyn Error + Send + Sync>::from(io()))), "no device");
        let further = |payload: &(dyn Any + Send)| payload.downcast_ref().map(u8::to_string);
        let number = catch_with(|| panic::resume_unwind(Box::new(7_u8)), further);
        assert_eq!(number.map_err(|(message, _)| message), Err::<(), _>("7".to_owned()));
    }

    #[test]
    fn a_payload_whose_text_panics_does_not_escape() {
        #[derive(Debug)]
        struct Mute;
        impl std::fmt::Display for Mute {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("no text")
            }
        }
        impl Error for Mute {}
        let payload = Box::<dyn Error + Send + Sync>::from(Mute);
        let outcome = catch(|| panic::resume_unwind(Box::new(payload)));
        assert_eq!(outcome, Err::<(), _>("a panic without a text".to_owned()));
    }

    #[test]
    fn a_payload_whose_drop_panics_for_ever_does_not_escape() {
        let outcome = catch(|| panic::panic_any(PanicsOnDrop));
        assert_eq!(outcome, Err::<(), _>("a panic without a text".to_owned()));
    }
}
