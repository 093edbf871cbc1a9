//! Ctrl-C of a Windows console. The crate `ctrlc` can install its handler once in a process and
//! never removes it, so the handler stays, and tells all supervisors that listen.

use std::io;
use std::sync::Arc;

use crate::output::setting_errors::StartError;
use crate::platform::sync::Mutex;
use crate::platform::threads::ThreadSetup;
use crate::task::door::Door;
use crate::task::request::Request;
use crate::vocabulary::signal::Signal;

/// Listens for Ctrl-C until dropped. If nobody listens, Ctrl-C has no effect.
pub(crate) struct Listener(Arc<Door>);

struct Process {
    handled: bool,
    listeners: Vec<Arc<Door>>,
}

/// The console belongs to the process, so all its supervisors share this.
static PROCESS: Mutex<Process> = Mutex::new(Process { handled: false, listeners: Vec::new() });

impl Listener {
    pub(crate) fn start(
        _end: Option<&'static str>,
        hooks: &[i32],
        _options: &ThreadSetup,
        door: &Arc<Door>,
    ) -> Result<Self, StartError> {
        if !hooks.is_empty() {
            return Err(StartError::Unsupported("on_signal"));
        }
        let mut process = PROCESS.lock();
        if !process.handled {
            ctrlc::set_handler(tell_listeners).map_err(|error| match error {
                ctrlc::Error::System(error) => StartError::Signals(error),
                other => StartError::Signals(io::Error::new(io::ErrorKind::Other, other)),
            })?;
            process.handled = true;
        }
        process.listeners.push(Arc::clone(door));
        Ok(Self(Arc::clone(door)))
    }
}

/// On the thread of `ctrlc`, which does not say which of the console's events came: all are SIGINT,
/// as C calls Ctrl-C on Windows, too. No reference to a door is taken, because the last one runs
/// the destructors of users.
fn tell_listeners() {
    for door in &PROCESS.lock().listeners {
        door.send(Request::Signal(Signal::INT, door.clock.real.now()));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut process = PROCESS.lock();
        let at = process.listeners.iter().position(|door| Arc::ptr_eq(door, &self.0));
        let door = at.map(|at| process.listeners.swap_remove(at));
        drop(process);
        drop(door);
    }
}
