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
