//! Hooks: what a body hangs on its cancel token to wake a call that a flag cannot wake.
//!
//! ```text
//! Armed ──run──► Running ──► Spent       once
//!   │              └───────► Armed       a nudge, to be run again after its period
//!   └─remove──► Spent                    a running one is waited for, or marked to be spent
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Cell;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex};
use crate::unwind;

pub(crate) struct Hook {
    state: Mutex<State>,
    /// Signalled when it has run.
    ran: Condvar,
    /// A nudge is run again so long after it ran, until it is removed.
    pub(crate) period: Option<Duration>,
}

type Call = Box<dyn FnMut() + Send>;

enum State {
    Armed(Call),
    Running { on: ThreadId, removed: bool },
    Spent,
}

impl Hook {
    pub(crate) fn once(call: impl FnOnce() + Send + 'static) -> Self {
        let mut call = Some(call);
        Self::new(
            None,
            Box::new(move || {
                if let Some(call) = call.take() {
                    call();
                }
            }),
        )
    }

    pub(crate) fn nudge(period: Duration, call: impl FnMut() + Send + 'static) -> Self {
        Self::new(Some(period), Box::new(call))
    }

    fn new(period: Option<Duration>, call: Call) -> Self {
        Self { state: Mutex::new(State::Armed(call)), ran: Condvar::new(), period }
    }

    /// Runs it on this thread, unless it is spent or runs elsewhere. Gives back the message of its
    /// panic.
    pub(crate) fn run(&self) -> Option<String> {
        let running = State::Running { on: thread::current().id(), removed: false };
        let mut call = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, running) {
                State::Armed(call) => call,
                other => {
                    *state = other;
                    return None;
                }
            }
        };
        let panicked = unwind::catch(&mut call).err();
        let mut state = self.state.lock();
        if self.period.is_some() && matches!(*state, State::Running { removed: false, .. }) {
            *state = State::Armed(call);
            return panicked;
        }
        // What the hook holds is gone before anybody who waits for it goes on.
        drop(state);
        let dropped = unwind::drop_caught(call).err();
        *self.state.lock() = State::Spent;
        self.ran.notify_all();
        panicked.or(dropped)
    }

    /// From now on it is not run, if it was not yet. One that runs on another thread is waited for
    /// if `wait` is set. True if it does not run any more.
    pub(crate) fn remove(&self, wait: bool) -> bool {
        let mut state = self.state.lock();
        if let State::Armed(_) = *state {
            let call = std::mem::replace(&mut *state, State::Spent);
            drop(state);
            // The panic of a destructor must not come out of a guard that is dropped by a panic.
            let _ = unwind::drop_caught(call);
            return true;
        }
        loop {
            match &mut *state {
                State::Running { on, removed } => {
                    *removed = true;
                    if !wait || *on == thread::current().id() {
                        return false;
                    }
                }
                State::Armed(_) | State::Spent => return true,
            }
            self.ran.wait(&mut state);
        }
    }

    pub(crate) fn is_spent(&self) -> bool {
        matches!(*self.state.lock(), State::Spent)
    }
}

/// Keeps a cancel hook in place: the hook is removed when this is dropped.
///
/// After the drop the hook is not running and never will: what it uses may be freed. If it is
/// running on another thread at that moment, the drop waits for it; on its own thread it does not.
/// So do not drop a guard while holding a lock that the hook takes.
#[must_use = "a hook is removed when its guard is dropped"]
pub struct CancelGuard {
    cell: Arc<Cell>,
    /// Empty once the hook was left alone or removed.
    hook: Option<Arc<Hook>>,
}

impl CancelGuard {
    pub(crate) const fn new(cell: Arc<Cell>, hook: Arc<Hook>) -> Self {
        Self { cell, hook: Some(hook) }
    }

    /// Removes the hook without waiting. True if it has not run or has finished, and will not run
    /// any more; false if it is running on some thread right now.
    pub fn disarm(mut self) -> bool {
        self.take_out().map_or(true, |hook| hook.remove(false))
    }

    /// Leaves the hook in place for the rest of the attempt.
    pub fn forget(mut self) {
        self.hook = None;
    }

    fn take_out(&mut self) -> Option<Arc<Hook>> {
        let hook = self.hook.take()?;
        self.cell.unhook(&hook);
        Some(hook)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(hook) = self.take_out() {
            hook.remove(true);
        }
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard").finish_non_exhaustive()
    }
}
