//! A hang caught by a watchdog: a body that gives no sign of life is cancelled as unresponsive and
//! tried again. Unlike a timeout, a watchdog does not bound how long the work takes.
//!
//! `cargo run --example watchdog` ends after 1.3 s. The poller reads eight sensors, one every 50
//! ms, and marks each; in attempt 1 sensor 3 does not answer. You see the silence noticed 0.2 s
//! later, with the last mark, `sensor 3`, and that the cancel hook ends the call. Attempt 2
//! completes, although it runs for four times as long and is silent for 0.4 s at its end, which it
//! announces. The exit code is 0.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Stands in for a bus: what is written at one end is read at the other.
fn bus() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok((TcpStream::connect(listener.local_addr()?)?, listener.accept()?.0))
}

fn poll(ctx: &TaskContext) -> TaskResult {
    let (mut port, mut sensors) = bus()?;
    let waker = port.try_clone()?;
    let _hook = ctx.on_cancel(move || {
        let _ = waker.shutdown(Shutdown::Both);
    });
    for sensor in 1..=8 {
        ctx.mark(format!("sensor {sensor}"));
        let hangs = ctx.attempt() == 1 && sensor == 3;
        if !hangs {
            sensors.write_all(&[sensor])?;
        }
        port.read_exact(&mut [0])?; // fails with the end of the stream once the hook has run
        ctx.sleep(ms(50))?;
    }
    // This is known to be long and silent, so the watchdog is told how long to wait.
    let loading = ctx.allow_silence(ms(2000));
    let _ = after(ms(400)).recv();
    drop(loading);
    Ok(())
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder().on_event(|event| println!("{event}")).start()?;
    let poller = TaskSpec::new("poller", poll)
        .watchdog(ms(200))
        .watchdog_policy(WatchdogPolicy::Cancel)
        .backoff(BackoffPolicy::constant(ms(10)));
    let report = supervisor.run([poller])?;
    println!("\n{report}");
    Ok(report)
}
