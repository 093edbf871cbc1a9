//! A UDP receiver that blocks in `recv_from` and still returns as soon as it is told to. The
//! standard library cannot shut a UDP socket down, so the cancel hook sends the socket an empty
//! datagram.
//!
//! `cargo run --example udp` ends after 0.5 s. You see three datagrams arrive; that the receiver
//! still runs after half a second of silence; and a shutdown of a few milliseconds: 1 task, 1
//! cancelled. The exit code is 0.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use threadvisor::prelude::*;

/// A datagram to oneself arrives only if the socket is not connected, because a connected socket
/// takes datagrams from its peer alone. For a connected one, and where this use of the network is
/// not allowed, call `ctx.wait_readable(&socket, None)?` before each `recv` (feature `poll`).
fn receive(ctx: &TaskContext, socket: &UdpSocket, received: &Sender<String>) -> TaskResult {
    let waker = socket.try_clone()?;
    let mut own = socket.local_addr()?;
    if own.ip().is_unspecified() {
        own.set_ip(Ipv4Addr::LOCALHOST.into()); // 0.0.0.0 is nothing to send to
    }
    let _hook = ctx.on_cancel(move || {
        // It is lost only if the receive buffer is full, and then `recv_from` does not block.
        let _ = waker.send_to(&[], own);
    });
    let mut buffer = [0; 1500];
    loop {
        let (size, sender) = socket.recv_from(&mut buffer)?;
        // Not the empty datagram ends the task, which anybody may send, but the cancel.
        ctx.check()?;
        let text = String::from_utf8_lossy(&buffer[..size]);
        received.send(format!("{text:?} from {sender}"))?;
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let (sender, received) = channel();
    let supervisor = Supervisor::builder().start()?;
    let spec = TaskSpec::new("receiver", move |ctx| receive(ctx, &socket, &sender));
    let task = supervisor.handle().add(spec)?;

    let station = UdpSocket::bind("127.0.0.1:0")?;
    for reading in ["21.5", "21.6", "21.7"] {
        station.send_to(reading.as_bytes(), address)?;
        println!("received {}", received.recv()?);
    }
    assert!(task.wait_timeout(Duration::from_millis(500))?.is_none());
    println!("after 0.5 s of silence: receiver is {}", task.state());

    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
