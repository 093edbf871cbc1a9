//! A line of tasks that depend on each other: a modem is configured, a driver opens it, and then
//! two readers take the sentences that the driver has got. A pseudo-terminal stands in for the
//! modem.
//!
//! `cargo run --example group --features poll` ends after about half a second; `main` plays the
//! modem. You see that it is configured, that the driver opens it, and two sentences, one for each
//! reader. Then it is unplugged: the driver returns, the readers go back, and all begin anew. As
//! there is no modem yet, its configuration fails; the retry finds it plugged in again, and two
//! more sentences come. At the end the readers stop first, then the driver. The report says so:
//! group line: stopped (shutdown) in order, configure last, after 2 restarts. The exit code is 0.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions};
use threadvisor::crossbeam_channel::{unbounded, Receiver, Sender};
use threadvisor::prelude::*;

/// Where the modem is plugged in; nowhere while it is unplugged.
type Socket = Arc<Mutex<Option<PathBuf>>>;

/// Opens the modem in raw mode, and non-blocking, so that the only wait is one that a cancel ends.
fn open(socket: &Socket) -> TaskResult<File> {
    let path = socket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let path = path.ok_or("there is no modem")?;
    let flags = i32::try_from((OFlags::NOCTTY | OFlags::NONBLOCK).bits())?;
    let port = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// A step: it is done before the driver starts.
fn configure(socket: &Socket) -> TaskResult {
    open(socket)?.write_all(b"AT+GPS=1\n")?;
    println!("configure: done");
    Ok(())
}

/// Passes each sentence on to the reader of its kind.
fn drive(ctx: &TaskContext, socket: &Socket, readers: &[(u8, Sender<String>); 2]) -> TaskResult {
    let mut port = open(socket)?;
    println!("driver: the port is open");
    ctx.ready(); // the readers may start
    let mut line = Vec::new();
    while let Ok(Polled::Ready) = ctx.wait_readable(&port, None) {
        let mut buffer = [0; 64];
        match port.read(&mut buffer) {
            // Unplugged. Under `Always` any return restarts the line; after an error, it would wait
            // for the driver's backoff first.
            Ok(0) => break,
            Ok(size) => line.extend_from_slice(&buffer[..size]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let sentence: Vec<_> = line.drain(..=end).collect();
            if let Some((_, reader)) = readers.iter().find(|(kind, _)| *kind == sentence[0]) {
                reader.send(String::from_utf8_lossy(&sentence).trim().to_owned())?;
            }
        }
    }
    println!("driver: ends ({})", ctx.reason().map_or("the modem is gone", |it| it.label()));
    Ok(())
}

fn read(ctx: &TaskContext, sentences: &Receiver<String>, seen: &Sender<()>) -> TaskResult {
    while let Ok(sentence) = ctx.recv(sentences) {
        println!("{}: {sentence}", ctx.name());
        seen.send(())?;
    }
    println!("{}: ends ({})", ctx.name(), ctx.reason().map_or("", |it| it.label()));
    Ok(())
}

/// Plugs a modem in, and returns the end of it that the modem holds.
fn plug_in(socket: &Socket) -> Result<(File, File), Box<dyn std::error::Error>> {
    let modem = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?);
    grantpt(&modem)?;
    unlockpt(&modem)?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&modem, [])?.into_bytes()));
    *socket.lock().map_err(|_| "poisoned")? = Some(path);
    let held = open(socket).map_err(TaskError::into_error)?; // or what is written is lost
    Ok((modem, held))
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let (socket, (seen, sentences)) = (Socket::default(), unbounded());
    let ((gps_in, gps), (sms_in, sms)) = (unbounded(), unbounded());
    let readers = [(b'$', gps_in), (b'+', sms_in)];
    let reader = |name: &'static str, sentences: Receiver<String>| {
        let seen = seen.clone();
        TaskSpec::new(name, move |ctx| read(ctx, &sentences, &seen))
    };
    let (plug, port) = (Arc::clone(&socket), Arc::clone(&socket));
    let configure = TaskSpec::new("configure", move |_| configure(&plug));
    let driver = TaskSpec::new("driver", move |ctx| drive(ctx, &port, &readers));
    let (tell, failures) = unbounded();

    let (mut modem, held) = plug_in(&socket)?;
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if let (EventKind::AttemptFailed { error, .. }, Some(task)) = (&event.kind, &event.task)
            {
                println!("{}: failed: {error}", task.name);
                let _ = tell.send(());
            }
        })
        .start()?;
    let soon = BackoffPolicy::constant(Duration::from_millis(300));
    let line = GroupSpec::new("line")
        .one_for_all()
        .restart_limit(9, Duration::from_secs(600)) // if the modem stays away, the group stops
        .then(configure.step().backoff(soon))
        .then(driver.restart(RestartPolicy::Always).ready_within(Duration::from_secs(10)))
        .then([reader("gps", gps), reader("sms", sms)]); // side by side
    let line = supervisor.handle().add_group(line)?;
    let ready = Duration::from_secs(30);
    assert!(line.wait_ready(ready)?, "{:?}", line.state());
    modem.write_all(b"$GPGGA,52.5,13.4\n+CMTI: 1\n")?;
    let _ = (sentences.recv()?, sentences.recv()?);

    println!("\nmain: unplugs the modem");
    *socket.lock().map_err(|_| "poisoned")? = None;
    drop((modem, held));
    failures.recv()?;
    let (mut modem, _held) = plug_in(&socket)?;
    println!("main: plugs it in again");
    assert!(line.wait_ready(ready)?, "{:?}", line.state());
    modem.write_all(b"$GPGGA,52.6,13.5\n+CMTI: 2\n")?;
    let _ = (sentences.recv()?, sentences.recv()?);

    println!();
    let report = supervisor.shutdown()?;
    println!("\n{report}");
    Ok(report)
}
