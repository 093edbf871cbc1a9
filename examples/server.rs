//! A TCP server whose connections are tasks, and which is drained on SIGTERM or Ctrl-C: it accepts
//! nothing more, but each request that it has begun is answered, for at most a second.
//!
//! `cargo run --example server` plays the clients and the administrator, too, and ends after 1.3 s.
//! You see four requests, then a SIGTERM while all of them are worked on; the end of the acceptor;
//! the answers to three of them; that the next client is refused; and that the fourth request,
//! which would take a minute, is cut short. The report counts 6 tasks: 4 completed, one of them for
//! the connection that wakes the acceptor, and 2 cancelled. It names the one that was unfinished.
//! The exit code is 0, because SIGTERM is how a service ends. Without Unix or the feature `signals`
//! the drain is requested through a handle.
//!
//! `cargo run --example server 127.0.0.1:7000` only serves: try it with `nc 127.0.0.1 7000`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::time::Duration;

use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;

const SIGNALS: bool = cfg!(all(unix, feature = "signals"));
const LIMIT: Duration = Duration::from_secs(1);

/// Makes a task of each connection. The hook wakes `accept`, which no flag can wake; with the
/// feature `poll`, on Unix, `ctx.accept(&listener)?` needs none.
fn accept(ctx: &TaskContext, listener: &TcpListener) -> TaskResult {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into()); // 0.0.0.0 is nothing to connect to
    }
    let _hook = ctx.on_cancel(move || {
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    });
    loop {
        let (stream, peer) = listener.accept()?;
        // It may have been told to return by now. But a client may have come before the hook, so
        // it is served: during a drain, what a body adds is taken. The hook's own connection ends
        // at once.
        let name = format!("to {peer}");
        ctx.handle().add(TaskSpec::once(name, move |ctx| serve(ctx, &stream)))?;
        ctx.check()?;
    }
}

/// Answers line by line, until the client hangs up, or until it has nothing to ask in a drain.
fn serve(ctx: &TaskContext, stream: &TcpStream) -> TaskResult {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (mut lines, mut answers) = (BufReader::new(stream), stream);
    let mut line = String::new();
    loop {
        ctx.check()?;
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let work = if line == "slow\n" { 60_000 } else { 300 };
                ctx.sleep(Duration::from_millis(work))?;
                answers.write_all(line.to_uppercase().as_bytes())?;
                line.clear();
            }
            // Half a line may have come: the rest will follow.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if line.is_empty() && ctx.handle().is_draining() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Plays four clients, and the administrator.
fn play(address: SocketAddr, supervisor: &SupervisorHandle) -> std::io::Result<()> {
    let mut clients = Vec::new();
    for request in ["one\n", "two\n", "three\n", "slow\n"] {
        let mut client = TcpStream::connect(address)?;
        client.write_all(request.as_bytes())?;
        clients.push(client);
    }
    println!("4 requests are sent");
    let _ = after(Duration::from_millis(150)).recv();

    println!("terminating");
    if SIGNALS {
        Command::new("kill").arg(std::process::id().to_string()).status()?;
    } else {
        supervisor.request_drain(LIMIT);
    }
    for mut client in clients {
        let mut answer = String::new();
        // A connection that is cut short ends like any other, or is reset.
        let end = client.read_to_string(&mut answer);
        println!("answer: {:?}", answer.trim_end());
        assert!(end.is_ok() || answer.is_empty());
        if answer == "ONE\n" {
            let refused = TcpStream::connect(address).err().map(|error| error.kind());
            println!("one more client: {refused:?}");
        }
    }
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let listener = TcpListener::bind(given.as_deref().unwrap_or("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    println!("process {} listens on {address}", std::process::id());

    let builder = Supervisor::builder().on_event(|event| {
        use EventKind::{DrainRequested, ShutdownRequested, TaskEnded};
        if let DrainRequested { .. } | ShutdownRequested { .. } | TaskEnded { .. } = event.kind {
            println!("{event}");
        }
    });
    let supervisor = if SIGNALS { builder.drain_on_signals(LIMIT) } else { builder }.start()?;
    let acceptor = TaskSpec::new("acceptor", move |ctx| accept(ctx, &listener));
    let acceptor = acceptor.restart(RestartPolicy::Always).stop_at_drain();
    supervisor.handle().add(acceptor)?;

    if given.is_none() {
        play(address, &supervisor.handle())?;
    }
    let report = supervisor.wait_shutdown()?;
    println!("\n{report}");
    Ok(ExitCode::from(&report))
}
