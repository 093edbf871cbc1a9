//! The supervisor and the attempt of this thread, by which a wait knows whether it would wait for
//! itself and which token ends it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::platform::sync::thread_local;
use crate::task::context::TaskContext;
use crate::task::door::Door;
use crate::task::record::Record;
use crate::task::token::CancelToken;

thread_local! {
    static CURRENT: RefCell<Current> =
        const { RefCell::new(Current { supervisor: None, attempt: None }) };
}

struct Current {
    /// The address of the supervisor's door, which is only compared, never dereferenced.
    supervisor: Option<usize>,
    /// The token of the body that runs.
    attempt: Option<CancelToken>,
}

/// Marks this thread as one of the supervisor's own, for the rest of its life.
pub(crate) fn belong_to(door: &Arc<Door>) {
    let address = Arc::as_ptr(door) as usize;
    CURRENT.with(|current| current.borrow_mut().supervisor = Some(address));
}

/// Whether this thread is one of the supervisor's own.
pub(crate) fn belongs_to(door: &Arc<Door>) -> bool {
    let address = Arc::as_ptr(door) as usize;
    with(|current| current.supervisor == Some(address)).unwrap_or(false)
}

/// Notes which body runs on this thread, until the guard is dropped.
pub(crate) fn enter(token: &CancelToken) -> impl Drop {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            let left = CURRENT.with(|current| current.borrow_mut().attempt.take());
            drop(left);
        }
    }
    CURRENT.with(|current| current.borrow_mut().attempt = Some(token.clone()));
    Leave
}

/// Whether this thread runs a body of that task.
pub(crate) fn runs(record: &Arc<Record>) -> bool {
    let is_it = |token: &CancelToken| Arc::ptr_eq(&token.0.record, record);
    with(|current| current.attempt.as_ref().is_some_and(is_it)).unwrap_or(false)
}

/// Whether this thread runs a body of that supervisor.
pub(crate) fn runs_body_of(door: &Arc<Door>) -> bool {
    let is_it = |token: &CancelToken| Arc::ptr_eq(&token.0.record.door, door);
    with(|current| current.attempt.as_ref().is_some_and(is_it)).unwrap_or(false)
}

/// What this thread asked for was refused. If it runs a body of that supervisor, which is shutting
/// down, it waits until that is told: so a refusal that the body passes on is no failure.
pub(crate) fn hear_of_shutdown(door: &Arc<Door>) {
    if let Some(token) = token().filter(|token| Arc::ptr_eq(&token.0.record.door, door)) {
        // The refusal is what the caller returns.
        let _ = token.0.hear_of_shutdown(Duration::MAX);
    }
}

/// The token of the body that runs on this thread.
pub(crate) fn token() -> Option<CancelToken> {
    with(|current| current.attempt.clone()).flatten()
}

/// The token with which this thread waits: that of its body or, if it runs none, one that nobody
/// cancels.
pub(crate) fn token_to_wait_with() -> CancelToken {
    token().unwrap_or_else(|| TaskContext::detached().0.token().clone())
}

/// `None` while the thread locals are being destroyed; user code may still call this crate then.
fn with<T>(look: impl FnOnce(&Current) -> T) -> Option<T> {
    CURRENT.try_with(|current| look(&current.borrow())).ok()
}
