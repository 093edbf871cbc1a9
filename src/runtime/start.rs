//! The start of a supervisor: its threads come up in order, or not at all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::controller::{Controller, ServiceLink};
use super::pool::Pool;
use super::publish::{Publisher, Subscribers};
use super::signals::Listener;
use crate::machine::Machine;
use crate::output::report::RunReport;
use crate::output::setting_errors::StartError;
use crate::platform::sync::Mutex;
use crate::platform::threads::ThreadSetup;
use crate::platform::unwind;
use crate::platform::user_value;
use crate::task::current;
use crate::task::door::{Door, Inbox};
use crate::task::envelope::Envelope;
use crate::task::on_signal::SignalHook;
use crate::task::settings::Settings;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::plan::Limits;
use crate::vocabulary::reason::ShutdownCause;

/// Everything that a supervisor is started with.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) seed: u64,
    pub(crate) defaults: Settings,
    pub(crate) threads: ThreadSetup,
    pub(crate) prespawn: u32,
    pub(crate) subscribers: Subscribers,
    pub(crate) signals: Option<Listener>,
    pub(crate) signal_hooks: Vec<Arc<SignalHook>>,
    pub(crate) service: Option<ServiceLink>,
    /// How long a required task may be down.
    pub(crate) sick_after: Duration,
}

/// The controller's own stack. No user code runs on it.
const STACK: usize = 256 * 1024;

/// Starts the controller and the other threads that were asked for. If a thread is refused, those
/// that already run are sent home.
pub(crate) fn start(setup: Setup, door: &Arc<Door>, inbox: Inbox) -> Result<(), StartError> {
    start_with(setup, door, inbox, Controller::run)
}

/// Does the same with turns that a test may replace.
pub(super) fn start_with(
    mut setup: Setup,
    door: &Arc<Door>,
    inbox: Inbox,
    turns: fn(&mut Controller),
) -> Result<(), StartError> {
    let threads = setup.threads.clone();
    let refused = |(role, source): (String, io::Error)| {
        Err(StartError::Thread { name: threads.name_of(&role), source })
    };
    let (unheard, prespawn) = (inbox.facts.clone(), setup.prespawn);
    let grace = setup.limits.grace;
    let mut pool = Pool::new(Arc::clone(door), unheard, threads.clone(), prespawn, grace);
    let subscribers = std::mem::take(&mut setup.subscribers);
    let publisher = match Publisher::start(subscribers, Arc::clone(door), threads.clone()) {
        Ok(publisher) => publisher,
        Err(error) => {
            // A subscriber that has started may have submitted something.
            door.close();
            door.empty_intake().for_each(Envelope::refuse);
            door.end(RunReport::of_nothing(ShutdownCause::Requested));
            return refused(error);
        }
    };
    let started = match threads.stack_size {
        // Otherwise only the first task would find out, and wait for ever.
        Some(size) if prespawn == 0 => threads.spawn("w1", Some(size), drop),
        _ => (0..prespawn).try_for_each(|_| pool.start_thread()).and_then(|()| pool.wait_set_up()),
    };
    let started = started.map_err(|error| (pool.role(), error));
    let Setup { limits, seed, defaults, signals, signal_hooks, service, sick_after, .. } = setup;
    let mut machine = Machine::without_groups(limits, seed);
    if !publisher.has_subscribers() {
        machine.leave_unheard();
    }
    let parts = (pool, publisher);
    let signals = (signals, signal_hooks);
    let door_of = Arc::clone(door);
    let service = (service, sick_after);
    let controller = Controller::new(door_of, inbox, machine, defaults, signals, parts, service);
    if let Err(error) = started {
        controller.give_up_and_end();
        return refused(error);
    }

    // The thread takes the controller out of a hand once it exists. If it is refused, the
    // controller must be here to close everything properly.
    let hand = Arc::new(Mutex::new(Some(controller)));
    let (take, own_door, own_threads) = (Arc::clone(&hand), Arc::clone(door), threads.clone());
    let spawned = threads.spawn("ctl", Some(STACK), move |_| {
        let controller = take.lock().take();
        if let Some(controller) = controller {
            run(controller, turns, own_door, own_threads);
        }
    });
    let Err(error) = spawned else { return Ok(()) };
    let controller = hand.lock().take();
    if let Some(controller) = controller {
        controller.give_up_and_end();
    }
    refused(("ctl".to_owned(), error))
}

/// The life of the controller's thread.
fn run(
    mut controller: Controller,
    turns: fn(&mut Controller),
    door: Arc<Door>,
    mut threads: ThreadSetup,
) {
    current::belong_to(&door);
    user_value::keep_user_values();
    // A panic here is a bug in this crate. It must not leave any caller waiting; and a logger is
    // user code, which may panic or block in turn, so that it comes last.
    let bug = unwind::catch(|| turns(&mut controller)).err();
    if bug.is_some() {
        controller.give_up();
    }
    let ended = unwind::catch(|| controller.end());
    if ended.is_err() {
        door.end(RunReport::of_nothing(ShutdownCause::ControllerPanicked));
    }

    #[cfg(all(unix, feature = "process"))]
    let unheard = door.output.get().map_or(0, crate::task::out_lane::OutLane::give_up);
    // Without a handle, the report can no longer be read, but its errors are user values. So are
    // the thread callbacks, once the last worker is gone.
    drop((door, threads.callbacks.take()));
    let last = user_value::take_kept();
    let mut leaked = 0;
    if !last.is_empty() && threads.spawn("w0", threads.stack_size, move |_| drop(last)).is_err() {
        // The thread was refused, so its closure was dropped here, and what it held was
        // kept again.
        let kept = user_value::take_kept();
        leaked = kept.len();
        std::mem::forget(kept);
    }

    for message in bug.into_iter().chain(ended.as_ref().err().cloned()) {
        let text = Escaped(message);
        log::error!(target: "threadvisor", "the controller panicked, a bug in this crate: {text}");
    }
    if let Ok(left @ 1..) = ended {
        log::warn!(
            target: "threadvisor",
            "{left} user values were not dropped in time: threads are stuck, as the report says, \
             or refused (raise `ulimit -u`)"
        );
    }
    #[cfg(all(unix, feature = "process"))]
    if unheard > 0 {
        log::warn!(
            target: "threadvisor",
            "{unheard} lines of processes were lost at the end, because on_output is too slow: let \
             it only hand them on"
        );
    }
    if leaked > 0 {
        log::warn!(
            target: "threadvisor",
            "{leaked} user values are leaked, because no thread could be started to drop them: \
             raise `ulimit -u` or the cgroup's `pids.max`"
        );
    }
}
