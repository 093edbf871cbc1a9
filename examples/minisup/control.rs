//! The socket through which `minisup status` and its like speak with the minisup that runs.
//!
//! A client sends one line and reads until the end. The answer begins with a line `ok` or `error`.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;
use threadvisor::prelude::*;

use super::run::{locked, Off, Shared};
use super::Failure;

/// How long a client may take to send its line, or to read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whoever calls holds the lock of the directory, so a socket that is there is nobody's.
pub(crate) fn listen(directory: &Path) -> Result<UnixListener, Failure> {
    let path = directory.join("socket");
    let _ = fs::remove_file(&path);
    let before = umask(Mode::from(0o177));
    let listener = UnixListener::bind(&path);
    umask(before);
    let at = |error| format!("{}: {error}: name a directory in MINISUP_DIR", path.display());
    let listener = listener.map_err(at)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts clients: each is a task of its own, so that a slow one delays nobody.
pub(crate) fn serve(
    ctx: &TaskContext,
    listener: &UnixListener,
    shared: &Arc<Shared>,
) -> TaskResult {
    loop {
        ctx.wait_readable(listener, None)?;
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let shared = Arc::clone(shared);
        let client = TaskSpec::once("client", move |ctx| {
            // One that goes away in between is no failure of this program.
            let _ = answer(ctx, stream, &shared);
            Ok(())
        });
        ctx.handle().add(client.no_slot())?;
    }
}

fn answer(ctx: &TaskContext, mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // What has come until the end of the line, or of the patience, is the command.
    let mut line = String::new();
    let _ = BufReader::new((&stream).take(256)).read_line(&mut line);
    let answer = match line.trim_end().split_once(' ').unwrap_or_else(|| (line.trim_end(), "")) {
        ("stop", "") => {
            ctx.handle().request_shutdown();
            write!(stream, "ok\nminisup has ended\n")?;
            // The client reads until this process ends, and this with it.
            std::mem::forget(stream);
            return Ok(());
        }
        ("status", "") => Ok(ctx.handle().snapshot().map_err(io::Error::other)?.table(100, false)),
        (verb, name) => command(ctx, shared, verb, name),
    };
    let (word, text) = answer.map_or_else(|text| ("error", text), |text| ("ok", text));
    write!(stream, "{word}\n{text}\n")
}

fn command(ctx: &TaskContext, shared: &Shared, verb: &str, name: &str) -> Result<String, String> {
    let members = shared.group.members();
    let Some(index) = members.iter().position(|task| task.name() == name) else {
        let names = members.iter().map(TaskHandle::name).collect::<Vec<_>>().join(", ");
        return Err(format!("{verb}: there is no program {name:?}: there are {names}"));
    };
    let (task, switch) = (&members[index], &shared.switches[index]);
    let before = task.pid();
    let why = match verb {
        "start" if before.is_some() => return Ok(format!("{name} runs already")),
        "start" | "restart" => None,
        "stop" => Some("stopped by hand".to_owned()),
        _ => return Err(format!("{verb:?} is no command: there are status, start, stop, restart")),
    };
    let stops = why.is_some();
    *locked(switch) = Off { why, is_seen: false };
    let is_done = |told: bool| {
        let has_new = task.pid().is_some_and(|pid| Some(pid) != before);
        // One that waits for its phase has no process.
        let is_off = locked(switch).is_seen || !told && task.state() == TaskState::Waiting;
        has_new && !stops || is_off && stops
    };

    // No call of the crate waits for the next process of a task.
    let (mut told, look) = (task.restart(), Duration::from_millis(10));
    for _ in 0..200 + shared.grace.as_millis() / 10 {
        if is_done(told) {
            return Ok(format!("{name}: {verb}: done"));
        }
        ctx.sleep(look).map_err(|_| format!("{name}: {verb}: minisup itself stops"))?;
        // An attempt that is just beginning cannot be told yet.
        told = told || task.restart();
    }
    Err(format!("{name}: {verb}: not yet: minisup status shows the reason"))
}

/// Sends a command to the minisup that runs, and returns its answer.
pub(crate) fn ask(directory: &Path, command: &str) -> Result<String, Failure> {
    let path = directory.join("socket");
    let mut stream = UnixStream::connect(&path).map_err(|error| {
        let path = path.display();
        format!("{path}: {error}: start minisup with a configuration, or set MINISUP_DIR")
    })?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once('\n') {
        Some(("ok", text)) => Ok(text.trim_end().to_owned()),
        Some((_, text)) => Err(text.trim_end().into()),
        None => Err(format!("{command}: no answer: minisup has ended meanwhile").into()),
    }
}
