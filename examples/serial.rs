//! A reader of a serial line that waits for its port and for a cancel at once, so that a dead line
//! cannot hold it. A pseudo-terminal stands in for the port.
//!
//! `cargo run --example serial --features poll` ends after 0.5 s; `main` plays the device. You see
//! two sentences; then come 0.3 s of silence in which the reader waits without waking up, and half
//! a sentence, after which it takes the silence for a dead device. That is a failure, so the port
//! is opened again. The shutdown takes a few milliseconds: 1 task, 1 cancelled. The exit code is 0.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions};
use threadvisor::prelude::*;

/// Opens a port as one opens a serial line: in raw mode, and non-blocking, so that the only wait is
/// the one that a cancel ends.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    let port = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// Between sentences the line may be silent for ever, within a sentence only for this long.
const HALF_A_SENTENCE: Duration = Duration::from_millis(100);

fn read(ctx: &TaskContext, path: &Path, sentences: &Sender<String>) -> TaskResult {
    let mut port = open(path)?;
    sentences.send(format!("(attempt {} opened the port)", ctx.attempt()))?;
    let mut line = Vec::new();
    loop {
        let patience = Some(HALF_A_SENTENCE).filter(|_| !line.is_empty());
        // Waits with `poll` for the port and for `ctx.cancel_fd()`; a cancel ends it as an error.
        if ctx.wait_readable(&port, patience)? == Polled::TimedOut {
            return Err(format!("silent after {} bytes of a sentence", line.len()).into());
        }
        let mut buffer = [0; 64];
        match port.read(&mut buffer) {
            Ok(0) => return Err("the port is gone".into()),
            Ok(size) => line.extend_from_slice(&buffer[..size]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            sentences.send(String::from_utf8_lossy(&line[..end]).into_owned())?;
            line.drain(..=end);
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut device = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?);
    grantpt(&device)?;
    unlockpt(&device)?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&device, [])?.into_bytes()));
    let _held = open(&path)?; // unlike a port, a pseudo-terminal may vanish when it is not open
    let (sender, sentences) = channel();
    let supervisor = Supervisor::builder()
        .on_event(|event| {
            if let EventKind::AttemptFailed { error, .. } = &event.kind {
                println!("failed: {error}");
            }
        })
        .start()?;
    let task = TaskSpec::new("reader", move |ctx| read(ctx, &path, &sender));
    let task = supervisor.handle().add(task.restart(RestartPolicy::Always))?;
    println!("{}", sentences.recv()?);
    device.write_all(b"$TEMP,21.5\n$TEMP,21.6\n")?;
    println!("{}\n{}", sentences.recv()?, sentences.recv()?);
    assert!(task.wait_timeout(Duration::from_millis(300))?.is_none());
    device.write_all(b"$TEMP,2")?;
    println!("{}", sentences.recv()?);

    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
