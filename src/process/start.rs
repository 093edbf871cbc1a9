//! The start of a process, with an error that says what is wrong.

use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;

use crate::output::error::TaskResult;
use crate::platform::children::Child;
use crate::task::context::TaskContext;
use crate::vocabulary::signal::Signal;

/// Starts the process. A program file that was written a moment ago may still be open for writing,
/// in a process that another thread has just forked.
pub(super) fn start(
    command: &mut Command,
    reload: Signal,
    ctx: &TaskContext,
) -> TaskResult<(Child, std::process::Child)> {
    let (attempt, children) = (ctx.token().0.attempt, &ctx.record().door.children);
    let mut pause = Duration::from_millis(2);
    loop {
        match children.start(attempt, reload, || command.spawn()) {
            Err(error) if is_busy(&error) && pause < LONGEST => {
                ctx.sleep(pause)?;
                pause *= 2;
            }
            started => return Ok(started.map_err(|error| not_started(command, &error))?),
        }
    }
}

/// At this pause the file is busy for good.
const LONGEST: Duration = Duration::from_millis(32);

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error())
}

/// The system's error names neither the program nor the directory, and does not say which of them
/// is missing.
fn not_started(command: &Command, error: &io::Error) -> io::Error {
    let place = command.get_current_dir().map_or_else(String::new, |directory| {
        let lacks = if directory.is_dir() { "" } else { ", which is no directory" };
        format!(" in {}{lacks}", directory.display())
    });
    let program = command.get_program().to_string_lossy();
    let text = format!("cannot start {program}{place}: {error}");
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::panic::resume_unwind;
    use std::sync::Arc;

    use super::*;
    use crate::api::supervisor::Supervisor;
    use crate::platform::sync::atomic::{AtomicBool, Ordering};
    use crate::platform::sync::channel::bounded;
    use crate::platform::sync::thread::yield_now;
    use crate::platform::threads::spawn;
    use crate::platform::unwind;
    use crate::task::spec::TaskSpec;

    #[test]
    fn a_drop_during_a_panic_waits_for_a_program_that_is_being_started() {
        let supervisor = Supervisor::builder().start().unwrap();
        let (say, begun) = bounded(0);
        let (go, may_go) = bounded::<()>(0);
        let (tell, ended) = bounded(1);
        let is_there = Arc::new(AtomicBool::new(false));
        let there = Arc::clone(&is_there);
        let slow = TaskSpec::once("slow to start", move |ctx| {
            let (attempt, door) = (ctx.token().0.attempt, &ctx.record().door);
            let (child, mut process) = door.children.start(attempt, Signal::HUP, || {
                say.send((attempt, Arc::clone(door))).unwrap();
                may_go.recv().unwrap();
                let process = Command::new("sleep").arg("60").process_group(0).spawn();
                there.store(true, Ordering::Release);
                process
            })?;
            let status = process.wait()?;
            door.children.reap(&child, &mut process);
            tell.send(status.signal())?;
            Ok(())
        });
        supervisor.handle().add(slow).unwrap();
        let (attempt, door) = begun.recv().unwrap();

        let (report, dropped) = bounded(1);
        let window = move |_| {
            let panicked = unwind::catch(move || {
                let _supervisor = supervisor;
                resume_unwind(Box::new("the window is gone"));
            });
            report.send(panicked.is_err() && is_there.load(Ordering::Acquire)).unwrap();
        };
        let before = door.clock.real.now();
        spawn("window".to_owned(), None, Box::new(window)).unwrap();
        // Until the drop has come to the processes.
        let probe = || Err(io::ErrorKind::WouldBlock.into());
        let is_open = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while door.children.start(attempt, Signal::HUP, probe).is_err_and(|it| is_open(&it)) {
            yield_now();
        }
        go.send(()).unwrap();
        let has_waited = dropped.recv().unwrap();
        // A start may take longer than that on a busy machine.
        let is_late = before.until(door.clock.real.now()) >= Duration::from_secs(1);
        assert!(has_waited || is_late, "the process could have ended before it");
        assert_eq!(ended.recv().unwrap(), Some(Signal::KILL.as_raw()));
    }
}
