//! The supervisor of the programs: each is a task, and all are a group, in phases by `after`.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{flock, FlockOperation};
use threadvisor::prelude::*;

use super::config::{self, Restart, Settings};
use super::state::State;
use super::{control, say, Failure};

/// What commands work on.
pub(crate) struct Shared {
    pub(crate) group: GroupHandle,
    pub(crate) switches: Vec<Switch>,
    /// The longest that a program may take to stop.
    pub(crate) grace: Duration,
}

/// Whether a program should run, and why not.
pub(crate) type Switch = Arc<Mutex<Off>>;

#[derive(Default)]
pub(crate) struct Off {
    pub(crate) why: Option<String>,
    /// Its body has seen that, so that there is no process.
    pub(crate) is_seen: bool,
}

/// Runs the programs of a file until somebody says `stop`, or a signal does.
pub(crate) fn run(path: &str, directory: &Path) -> Result<u8, Failure> {
    let phases = config::read(path)?;
    let _lock = lock(directory)?;
    let mut state = State::new(directory);
    let grace = phases.iter().flatten().map(Settings::grace).max().unwrap_or_default();
    state.end_survivors(grace);
    let listener = control::listen(directory)?;
    let (mut group, mut switches) = (GroupSpec::new("programs").required(), Vec::new());
    let count = u32::try_from(phases.len())?;
    for phase in phases {
        let task = |program: &Settings| task(program, &state, &mut switches);
        group = group.then(phase.iter().map(task).collect::<Vec<_>>());
    }
    let supervisor = Supervisor::builder()
        .shutdown_on_signals()
        .service_manager(ServiceManager::from_env())
        .grace(grace * count) // each phase gets a share
        .stack_size(128 * 1024)
        .on_event(move |event| {
            if let (EventKind::ProcessStarted { pid, .. }, Some(task)) = (&event.kind, &event.task)
            {
                state.started(&task.name, *pid);
            }
            if event.group.is_some() {
                say(event);
            }
        })
        .start()?;

    let group = supervisor.handle().add_group(group)?;
    let shared = Arc::new(Shared { group, switches, grace });
    let control = TaskSpec::new("control", move |ctx| control::serve(ctx, &listener, &shared));
    let report = supervisor.run([control.restart(RestartPolicy::Always)])?;

    if report.shutdown.abandoned.is_empty() {
        let _ = fs::remove_file(directory.join("state"));
    }
    say(&report);
    Ok(report.exit_code())
}

/// Keeps others out of the directory for as long as this process lives, in whatever way it ends.
fn lock(directory: &Path) -> Result<File, Failure> {
    let path = directory.display();
    let at = |error| format!("{path}: {error}: name another directory in MINISUP_DIR");
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
    let file = File::create(directory.join("lock")).map_err(at)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        format!("{path}: another minisup runs there: stop that, or set MINISUP_DIR")
    })?;
    Ok(file)
}

/// A program that does not run, because it was stopped or has ended, keeps its attempt, which
/// waits; so it keeps its place in the group, too, and can be started there again.
fn task(settings: &Settings, state: &State, switches: &mut Vec<Switch>) -> TaskSpec {
    let mut program = state.mark(&settings.name, settings.to_program());
    let (restart, switch) = (settings.restart, Switch::default());
    let longest = LONGEST_BACKOFF.max(settings.backoff);
    switches.push(Arc::clone(&switch));
    let body = move |ctx: &TaskContext| {
        if locked(&switch).why.is_none() {
            match (program.run(ctx), restart) {
                (result, _) if ctx.is_cancelled() => return result.map(drop),
                (Err(error), Restart::Always | Restart::OnFailure) => return Err(error),
                (Ok(_), _) => locked(&switch).why = Some("it has ended by itself".into()),
                (Err(error), Restart::Never) => locked(&switch).why = Some(error.to_string()),
            }
        }
        let mut off = locked(&switch);
        off.is_seen = true;
        ctx.mark(off.why.clone().unwrap_or_default());
        drop(off);
        ctx.ready(); // others need not wait for it
        Ok(ctx.sleep(Duration::MAX)?) // until a command restarts it
    };
    TaskSpec::new(&*settings.name, body)
        .no_slot()
        .restart(RestartPolicy::Always)
        .backoff(BackoffPolicy::exponential(settings.backoff, longest))
        .ready_within(READY_WITHIN)
        .grace(settings.grace())
        .shutdown_on_end()
}

const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
