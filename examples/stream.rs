//! A TCP client that blocks in `read` while its peer is silent, and still returns as soon as it is
//! told to: the cancel hook shuts the socket down, through a second handle to it.
//!
//! `cargo run --example stream` ends after 0.6 s; `main` plays the peer. You see two readings, and
//! after 0.3 s of silence, in which the client blocks, a restart: it connects again, as after a
//! change of its settings, and no failure is counted. After one more reading and 0.3 s of silence
//! comes the shutdown, which takes no more than a few milliseconds: 1 task, 1 cancelled. The exit
//! code is 0.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use threadvisor::prelude::*;

const SILENCE: Duration = Duration::from_millis(300);

fn client(ctx: &TaskContext, peer: SocketAddr, readings: &Sender<String>) -> TaskResult {
    // No hook can wake `connect`, so it gets a timeout.
    let stream = TcpStream::connect_timeout(&peer, ctx.io_timeout(Duration::from_secs(2)))?;
    let waker = stream.try_clone()?;
    let _hook = ctx.on_cancel(move || {
        // Closing it instead would wake nobody on Linux, and free its number for another file.
        let _ = waker.shutdown(Shutdown::Both);
    });
    println!("client: attempt {} connected", ctx.attempt());
    for line in BufReader::new(stream).lines() {
        readings.send(line?)?;
    }
    // The stream has ended, because of the hook or because the peer went away.
    ctx.check()?;
    Err("the peer hung up".into())
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, readings) = channel();
    let supervisor = Supervisor::builder().start()?;
    let spec = TaskSpec::new("client", move |ctx| client(ctx, address, &sender));
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Always))?;

    let (mut peer, _) = listener.accept()?;
    writeln!(peer, "21.5\n21.6")?;
    println!("reading {}, then {}, then nothing", readings.recv()?, readings.recv()?);
    assert!(task.wait_timeout(SILENCE)?.is_none());

    println!("restarted: {}", task.restart());
    let (mut peer, _) = listener.accept()?;
    writeln!(peer, "21.7")?;
    println!("reading {}, then nothing", readings.recv()?);
    assert!(task.wait_timeout(SILENCE)?.is_none());

    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
