//! Signals of Unix. What a signal did before is noted for the whole process when a supervisor first
//! listens to it, because later only our own handler could be seen.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use signal_hook::consts::{FORBIDDEN, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::masks::Masks;
use super::ECHO;
use crate::output::setting_errors::{InvalidSetting, StartError};
use crate::platform::clock::RealClock;
use crate::platform::sync::{channel, Mutex};
use crate::platform::threads::ThreadSetup;
use crate::platform::unwind;
use crate::task::door::Door;
use crate::task::request::Request;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::RealTime;

/// Listens for signals until dropped. Then a signal that no other listener of the process waits
/// for has the effect again that it had before; if one has just come, that begins a little later,
/// because its echo would end the process.
pub(crate) struct Listener {
    heard: Arc<Mutex<Heard>>,
    clock: RealClock,
    _handlers: Handlers,
}

struct Heard {
    /// Until this is gone, the signals do what they do for listeners.
    presence: Option<Presence>,
    /// The echo of the latest signal that means the end has come by this time.
    quiet_from: RealTime,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut heard = self.heard.lock();
        if heard.quiet_from <= self.clock.now() {
            // Before the handlers, so that there is no moment in which a signal does nothing.
            heard.presence = None;
        }
    }
}

impl Listener {
    /// With `end`, the setting that asks for it, SIGINT and SIGTERM mean the end.
    pub(crate) fn start(
        end: Option<&'static str>,
        hooks: &[i32],
        options: &ThreadSetup,
        door: &Arc<Door>,
    ) -> Result<Self, StartError> {
        let mut wanted = if end.is_some() { vec![SIGINT, SIGTERM] } else { Vec::new() };
        for &signal in hooks {
            wanted.push(check(signal, &wanted)?);
        }
        let masks = Masks::read();
        wanted.retain(|&signal| {
            let is_ignored = masks.is_ignored(signal);
            if is_ignored {
                let signal = Signal::from_raw(signal);
                // A logger is user code.
                let _ = unwind::catch(|| {
                    log::warn!(
                        target: "threadvisor",
                        "{signal} was ignored when this program began, and stays so: a shell \
                         starts programs in the background like that, and nohup does"
                    );
                });
            }
            !is_ignored
        });
        if let Some(&signal) = wanted.iter().find(|&&signal| masks.is_blocked(signal)) {
            return Err(StartError::SignalBlocked(signal.into()));
        }

        note_effects(&wanted, masks).map_err(StartError::Signals)?;
        let mut signals = Signals::new(&wanted).map_err(StartError::Signals)?;
        let handlers = Handlers(signals.handle());
        let presence = Some(Presence::begin(wanted));
        let heard = Arc::new(Mutex::new(Heard { presence, quiet_from: RealTime::ZERO }));
        let clock = door.clock.real;
        let listener = Self { heard: Arc::clone(&heard), clock, _handlers: handlers };
        let door = Arc::clone(door);
        let spawned = options.spawn("sig", Some(STACK), move |_| {
            crate::task::current::belong_to(&door);
            for signal in signals.forever() {
                let at = clock.now();
                if end.is_some() && [SIGINT, SIGTERM].contains(&signal) {
                    heard.lock().quiet_from = at.after(ECHO);
                }
                door.send(Request::Signal(signal.into(), at));
            }
            drop(door);

            // The handlers stay until then, and an echo does nothing.
            let rest = clock.now().until(heard.lock().quiet_from);
            let _ = channel::after(rest).recv();
            heard.lock().presence = None;
        });
        spawned.map_err(|source| StartError::Thread { name: options.name_of("sig"), source })?;
        Ok(listener)
    }
}

/// Checks a signal of `on_signal`, which comes in addition to the others.
fn check(signal: i32, others: &[i32]) -> Result<i32, InvalidSetting> {
    let remedy = if !(1..MAX_SIGNAL).contains(&signal) || FORBIDDEN.contains(&signal) {
        "choose another signal, because no program can handle this one"
    } else if others.contains(&signal) {
        "set one callback for a signal, and none for those that shut down or drain"
    } else {
        return Ok(signal);
    };
    Err(InvalidSetting::new("on_signal", signal, remedy))
}

/// No system has more signals than this.
const MAX_SIGNAL: i32 = 128;

/// No user code runs on the thread that waits for signals.
const STACK: usize = 128 * 1024;

/// The handlers of one listener, which its thread removes once this is dropped.
struct Handlers(Handle);

impl Drop for Handlers {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A signal to which a supervisor of this process listens or has listened.
struct Known {
    signal: i32,
    listeners: usize,
    /// While true, the signal has its default effect. `None` if it had a handler when a supervisor
    /// first listened to it: that handler is called before ours, and after they are gone.
    default_effect: Option<Arc<AtomicBool>>,
}

/// Signals belong to the process, so all its supervisors share this.
static PROCESS: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// Notes what the signals do before there is a handler of ours, which would be all that can be seen
/// later. A default effect can be had back only if it is registered before everything else.
fn note_effects(signals: &[i32], masks: Masks) -> io::Result<()> {
    let mut process = PROCESS.lock();
    for &signal in signals {
        if process.iter().any(|known| known.signal == signal) {
            continue;
        }
        let by_default = (!masks.is_caught(signal)).then(|| Arc::new(AtomicBool::new(true)));
        if let Some(flag) = &by_default {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(flag))?;
        }
        process.push(Known { signal, listeners: 0, default_effect: by_default });
    }
    Ok(())
}

/// Says that these signals have a listener, until dropped.
struct Presence(Vec<i32>);

impl Presence {
    fn begin(signals: Vec<i32>) -> Self {
        change_listeners(&signals, |listeners| listeners + 1);
        Self(signals)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        change_listeners(&self.0, |listeners| listeners - 1);
    }
}

fn change_listeners(signals: &[i32], change: fn(usize) -> usize) {
    for known in PROCESS.lock().iter_mut().filter(|known| signals.contains(&known.signal)) {
        known.listeners = change(known.listeners);
        if let Some(flag) = &known.default_effect {
            flag.store(known.listeners == 0, Ordering::SeqCst);
        }
    }
}
