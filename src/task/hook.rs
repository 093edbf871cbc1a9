//! Hooks: what a body registers with its cancel token, to wake a call that a flag cannot wake.
//!
//! ```text
//! Armed ──run──► Running ──► Spent       once
//!   │              └───────► Armed       a nudge, to be run again after its period
//!   └─remove──► Spent                    waits for a running hook, or marks it to be spent
//! ```

use std::time::Duration;

use crate::platform::sync::thread::{self, ThreadId};
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::unwind;
use crate::platform::user_value::{self, UserValue};

pub(crate) struct Hook {
    state: Mutex<State>,
    /// Signalled when the hook has run.
    ran: Condvar,
    /// How long after each run of the attempt's hooks a nudge is due again; `None` for other hooks.
    pub(crate) period: Option<Duration>,
}

type Closure = UserValue<Box<dyn FnMut() + Send>>;

enum State {
    Armed(Closure),
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

    fn new(period: Option<Duration>, call: Box<dyn FnMut() + Send>) -> Self {
        let state = Mutex::new(State::Armed(UserValue::new(call)));
        Self { state, ran: Condvar::new(), period }
    }

    /// Runs the hook on this thread, unless it is spent or running elsewhere. Returns the messages
    /// of its panics.
    pub(crate) fn run(&self) -> Vec<String> {
        let running = State::Running { on: thread::current().id(), removed: false };
        let mut call = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, running) {
                State::Armed(call) => call,
                other => {
                    *state = other;
                    return Vec::new();
                }
            }
        };
        let mut panics: Vec<_> = unwind::catch(&mut **call).err().into_iter().collect();
        let mut state = self.state.lock();
        if self.period.is_some() && matches!(*state, State::Running { removed: false, .. }) {
            *state = State::Armed(call);
            return panics;
        }
        // Everything that the hook holds is dropped before a thread that waits for the hook goes
        // on.
        drop(state);
        panics.extend(user_value::panics_of(|| drop(call)));
        *self.state.lock() = State::Spent;
        self.ran.notify_all();
        panics
    }

    /// From now on the hook is not started. With `wait`, waits for a hook that runs on another
    /// thread. True if the hook is not running.
    pub(crate) fn remove(&self, wait: bool) -> bool {
        let mut state = self.state.lock();
        if let State::Armed(_) = *state {
            // The destructor of what the hook holds is the user's: not under the lock.
            let call = std::mem::replace(&mut *state, State::Spent);
            drop(state);
            drop(call);
            return true;
        }

        loop {
            match &mut *state {
                State::Running { on, removed } => {
                    // A nudge that runs now is not armed again.
                    *removed = true;
                    // To wait on its own thread would be to wait for itself.
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
