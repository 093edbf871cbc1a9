//! The main job of this crate: tasks on real input that fail in every way, supervised until one of
//! them says that it is over.
//!
//! `cargo run --example quickstart --features console` ends after 4 s. On a terminal you see the
//! tasks as a table, and above it what they print; without the feature, or elsewhere, a line for
//! each event that matters. `load` reads a file under /proc every second (where there is none, it
//! fails and is retried). `count` reports its progress, and `again` asks for a second `count`,
//! which is refused, because its slot is busy. `device` is a TCP peer that comes, falls silent and
//! goes; `client` follows it: the watchdog notices its silence. Both are a group: the client starts
//! once the device listens, and when that fails, both start again. `query` runs into its limit,
//! `parse` panics, and both are retried. `session` is the task whose end ends the others. The
//! report counts 8 tasks and a refusal: 5 completed, 3 cancelled, 1 rejected. The exit code is 0.
//! Ctrl-C ends it early, with exit code 130.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use threadvisor::prelude::*;
#[cfg(feature = "console")]
use threadvisor::Console;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Every second.
fn load(console: &Console) -> TaskResult {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let minute: f64 = text.split(' ').next().ok_or("an empty file")?.parse()?;
    console.println(format_args!("load: {minute}"));
    Ok(())
}

/// Counts slowly, so that there is time to see how far it has got.
fn count(ctx: &TaskContext, console: &Console) -> TaskResult {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))?;
    let mut files: Vec<_> = files.collect::<Result<_, _>>()?;
    files.retain(|file| file.path().is_file());
    let mut lines = 0;
    for (done, file) in (1..).zip(&files) {
        ctx.sleep(ms(100))?; // returns early once the body was told to return
        lines += std::fs::read_to_string(file.path())?.lines().count();
        ctx.progress(done, files.len() as u64);
    }
    console.println(format_args!("count: {lines} lines in the examples"));
    Ok(())
}

/// A task owns the slot of its name, so there is no second one beside it.
fn again(ctx: &TaskContext) -> TaskResult {
    ctx.sleep(ms(300))?;
    let second = TaskSpec::new("count", |_| Ok(()));
    ctx.handle().submit(second, AdmissionPolicy::DropIfRunning)?;
    Ok(())
}

/// Sends three numbers and then nothing for a while. At the end its sockets close.
fn device(ctx: &TaskContext, address: SocketAddr) -> TaskResult {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    ctx.ready(); // the next phase of the group may start
    let mut clients = Vec::new();
    for reading in 1..=3 {
        ctx.sleep(ms(200))?;
        clients.extend(listener.incoming().map_while(Result::ok));
        clients.retain_mut(|client| writeln!(client, "{reading}").is_ok());
    }
    ctx.sleep(ms(700))?;
    Err("the device was unplugged".into())
}

/// Connects to a peer. A read that blocks there ends once the body is told to return.
fn connect(ctx: &TaskContext, address: SocketAddr) -> TaskResult<(TcpStream, CancelGuard)> {
    let stream = TcpStream::connect_timeout(&address, ctx.io_timeout(ms(500)))?;
    let waker = stream.try_clone()?;
    let hook = ctx.on_cancel(move || drop(waker.shutdown(Shutdown::Both)));
    Ok((stream, hook))
}

/// Reads until the peer closes the connection or the attempt is told to return. With
/// `RestartPolicy::Always` it runs again after that.
fn client(ctx: &TaskContext, console: &Console, address: SocketAddr) -> TaskResult {
    let (stream, _hook) = connect(ctx, address)?;
    for line in BufReader::new(stream).lines() {
        ctx.check()?; // it was told to return, so the hook has ended the read
        console.println(format_args!("client: reading {} in attempt {}", line?, ctx.attempt()));
        ctx.heartbeat(); // if none comes, the watchdog notices
    }
    Ok(ctx.check()?)
}

/// In the first attempt nobody answers, and the time limit ends the wait.
fn query(ctx: &TaskContext, console: &Console) -> TaskResult {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut stream, _hook) = connect(ctx, listener.local_addr()?)?;
    let mut peer = listener.accept()?.0;
    if ctx.attempt() > 1 {
        peer.write_all(b"42")?;
    }
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    console.println(format_args!("query: {}", String::from_utf8_lossy(&answer)));
    Ok(())
}

/// A panic is a failure like any other.
fn parse(ctx: &TaskContext) -> TaskResult {
    ctx.sleep(ms(600))?;
    let fields: Vec<_> = "eth0 up 100".split(' ').collect();
    let speed: u32 = fields[if ctx.attempt() == 1 { 7 } else { 2 }].parse()?;
    assert_eq!(speed, 100);
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let console = Console::stdout();
    std::panic::set_hook(Box::new(|_| ())); // the message of a panic is in its event
    let builder = Supervisor::builder().subscriber(console.clone());
    #[cfg(feature = "signals")]
    let builder = builder.shutdown_on_signals();
    let supervisor = builder.start()?;

    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // a port that is free
    let soon = BackoffPolicy::exponential(ms(100), ms(400));
    let [for_load, for_count, for_client, for_query] = [(); 4].map(|()| console.clone());
    let client = TaskSpec::new("client", move |ctx| client(ctx, &for_client, address));
    let link = GroupSpec::new("link")
        .rest_for_one()
        .then([TaskSpec::new("device", move |ctx| device(ctx, address))
            .ready_within(ms(500))
            .backoff(BackoffPolicy::constant(ms(500)))])
        .then([client.restart(RestartPolicy::Always).backoff(soon).watchdog(ms(400))]);
    supervisor.handle().add_group(link)?;
    let report = supervisor.run([
        TaskSpec::new("load", move |_| load(&for_load)).every(ms(1000)),
        TaskSpec::new("count", move |ctx| count(ctx, &for_count)),
        TaskSpec::new("again", again),
        TaskSpec::new("query", move |ctx| query(ctx, &for_query)).timeout(ms(900)).backoff(soon),
        TaskSpec::new("parse", parse).backoff(soon),
        TaskSpec::once("session", |ctx| Ok(ctx.sleep(ms(4000))?)).shutdown_on_end(),
    ])?;
    console.println(format_args!("\n{report}"));
    Ok(ExitCode::from(&report))
}

/// What is needed of it here, without the feature: lines.
#[cfg(not(feature = "console"))]
#[derive(Clone)]
struct Console;

#[cfg(not(feature = "console"))]
impl Console {
    const fn stdout() -> Self {
        Self
    }

    #[allow(clippy::unused_self, reason = "as the one with a table")]
    fn println(&self, text: impl std::fmt::Display) {
        println!("{text}");
    }
}

#[cfg(not(feature = "console"))]
impl Subscribe for Console {
    fn on_event(&mut self, event: &Event) {
        use EventKind as E;
        let is_usual = matches!(
            event.kind,
            E::Submitted { .. }
                | E::Admitted
                | E::AttemptStarting { .. }
                | E::AttemptSucceeded { .. }
                | E::AttemptCancelled { .. }
                | E::RunScheduled { .. }
                | E::SlotTransition { .. }
                | E::TaskClosing
        );
        if !is_usual {
            println!("{event}");
        }
    }
}
