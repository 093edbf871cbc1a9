//! A TCP listener whose `accept` loop ends as soon as it is told to return. A flag cannot wake
//! `accept`, and another thread cannot shut down a listener of the standard library, so the cancel
//! hook connects to it.
//!
//! `cargo run --example accept` ends after 0.5 s. You see three clients, each greeted by a task of
//! its own; then that the listener still runs after half a second without clients; and that the
//! shutdown takes a few milliseconds although the listener blocks in `accept`. The report counts 4
//! tasks: 3 completed, 1 cancelled. The exit code is 0.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use threadvisor::prelude::*;

/// With the feature `poll`, on Unix, `ctx.accept(&listener)?` in the loop is enough.
fn listen(ctx: &TaskContext, listener: &TcpListener) -> TaskResult {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into()); // 0.0.0.0 is nothing to connect to
    }
    // One hook for all calls of the loop. If it fails because the backlog is full, then `accept`
    // does not block; the timeout bounds the time it may take.
    let _hook = ctx.on_cancel(move || {
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    });
    loop {
        let (stream, peer) = listener.accept()?;
        // After the call, never before it: a cancel between a check and the call would be missed.
        ctx.check()?;
        ctx.handle().add(TaskSpec::once(format!("to {peer}"), move |_| greet(stream, peer)))?;
    }
}

fn greet(mut stream: TcpStream, peer: SocketAddr) -> TaskResult {
    Ok(writeln!(stream, "hello, {peer}")?)
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let supervisor = Supervisor::builder().start()?;
    let handle = supervisor.handle();
    let acceptor = TaskSpec::new("acceptor", move |ctx| listen(ctx, &listener));
    let acceptor = handle.add(acceptor.restart(RestartPolicy::Always))?;

    for client in 1..=3 {
        let mut text = String::new();
        TcpStream::connect(address)?.read_to_string(&mut text)?;
        println!("client {client} heard: {}", text.trim_end());
    }
    assert!(acceptor.wait_timeout(Duration::from_millis(500))?.is_none());
    println!("after 0.5 s without clients: acceptor is {}", acceptor.state());

    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
