//! Hooks: what a body hangs on its cancel token to wake a call that a flag cannot wake.
//!
//! ```text
//! Armed ──run──► Running ──► Spent       once
//!   │              └───────► Armed       a nudge, to be run again after its period
//!   └─remove──► Spent                    a running one is waited for, or marked to be spent
//! ```

use std::time::Duration;

use crate::platform::sync::thread::{self, ThreadId};
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::unwind;

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
