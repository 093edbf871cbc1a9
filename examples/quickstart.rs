//! The main job of this crate: five kinds of task on real input, supervised until one of them says
//! that it is over.
//!
//! `cargo run --example quickstart` ends after 4 s. You see one line per event, and between them
//! what the tasks print. `load` reads a file under /proc every second (where there is none, it
//! fails and is retried), `lines` counts once and is done, `device` is a TCP peer that comes and
//! goes, `client` follows it and reconnects with backoff, and `session` is the task whose end ends
//! the others. The last lines are the report: 5 tasks, 2 completed, 3 cancelled. The exit code is
//! 0.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn load(_ctx: &TaskContext) -> TaskResult {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let minute: f64 = text.split(' ').next().ok_or("an empty file")?.parse()?;
    println!("load: {minute}");
    Ok(())
}

fn lines(ctx: &TaskContext) -> TaskResult {
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))? {
        ctx.check()?; // returns early once the body was told to return
        count += std::fs::read_to_string(entry?.path())?.lines().count();
    }
    println!("lines: {count} in the examples");
    Ok(())
}

/// Sends a number every 0.2 s for 0.8 s; then its sockets close.
fn device(ctx: &TaskContext, address: SocketAddr) -> TaskResult {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    for reading in 1..=4 {
        ctx.sleep(ms(200))?;
        clients.extend(listener.incoming().map_while(Result::ok));
        clients.retain_mut(|client| writeln!(client, "{reading}").is_ok());
    }
    Ok(())
}

/// Any error is a failure, which is retried with backoff; `Ok` ends the streak of failures, and
/// with `RestartPolicy::Always` the body runs again.
fn client(ctx: &TaskContext, address: SocketAddr) -> TaskResult {
    let stream = TcpStream::connect_timeout(&address, ctx.io_timeout(ms(500)))?;
    stream.set_read_timeout(Some(ctx.io_timeout(ms(500))))?;
    println!("client: connected in attempt {}", ctx.attempt());
    for line in BufReader::new(stream).lines() {
        println!("client: reading {}", line?);
        ctx.check()?;
    }
    Ok(())
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // a port that is free
    let supervisor = Supervisor::builder().on_event(|event| println!("{event}")).start()?;
    let report = supervisor.run([
        TaskSpec::new("load", load).every(ms(1000)),
        TaskSpec::new("lines", lines).timeout(ms(2000)),
        TaskSpec::new("device", move |ctx| device(ctx, address)).repeat_after(ms(700)),
        TaskSpec::new("client", move |ctx| client(ctx, address))
            .restart(RestartPolicy::Always)
            .backoff(BackoffPolicy::exponential(ms(100), ms(400))),
        TaskSpec::once("session", |ctx| Ok(ctx.sleep(ms(4000))?)).shutdown_on_end(),
    ])?;
    println!("\n{report}");
    Ok(report)
}
