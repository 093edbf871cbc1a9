//! Changing what is supervised while it runs: add, look, skip a wait, restart, cancel, free a slot.
//!
//! `cargo run --example dynamic` ends within a second. You see eight numbered steps, with a
//! snapshot of all tasks before the changes, and a table of them after; then the shutdown, which
//! stops `tail`, the only task left. The exit code is 0.

use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use threadvisor::prelude::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a file and stays with it. A restart makes it open the file again, as SIGHUP makes a daemon
/// do.
fn tail(ctx: &TaskContext, opened: &Sender<u64>) -> TaskResult {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    println!("   tail: attempt {} opened a file of {} lines", ctx.attempt(), text.lines().count());
    opened.send(ctx.attempt())?;
    Ok(ctx.sleep(Duration::MAX)?)
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder().start()?;
    let handle = supervisor.handle();
    let (opened, attempts) = channel();

    println!("1. add");
    let tail_task = handle.add(TaskSpec::new("tail", move |ctx| tail(ctx, &opened)))?;
    attempts.recv_timeout(PATIENCE)?;
    let (ran, runs) = channel();
    let report = handle.add(
        TaskSpec::new("report", move |ctx| Ok(ran.send(ctx.attempt())?))
            .repeat_after(Duration::from_secs(3600))
            .initial_delay(Duration::from_secs(3600)),
    )?;
    // Two more for one slot: the first owns it, the second waits behind it.
    let resident = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?)).slot("tty0");
    let _shell = handle.add(resident("shell"))?;
    let modem = handle.submit(resident("modem"), AdmissionPolicy::Queue)?;
    println!("   modem: {:?}", modem.wait_decided()?);

    println!("2. add the same name again: its slot is busy, and the spec comes back");
    match handle.add(TaskSpec::once("tail", |_| Ok(()))) {
        Err(error) => {
            println!("   {error}");
            println!("   got back: {}", error.into_spec().name());
        }
        Ok(task) => println!("   unexpected: {} runs", task.id()),
    }

    println!("3. look");
    println!("   {}", handle.snapshot()?);

    println!("4. skip_wait: run the report now, not in an hour");
    println!("   {}; attempt {}", report.skip_wait(), runs.recv_timeout(PATIENCE)?);

    println!("5. restart: the file was rotated");
    println!("   {}; attempt {}", tail_task.restart(), attempts.recv_timeout(PATIENCE)?);

    println!("6. cancel one task");
    report.cancel();
    println!("   report: {}", report.wait()?);

    println!("7. free a slot: its owner and what waits for it");
    println!("   {:?}", handle.cancel_slot("tty0"));
    println!("   modem: {}", modem.wait()?);

    println!("8. look again");
    println!("{}", handle.snapshot()?.table(80, false));

    let report = supervisor.shutdown()?;
    println!("tail: {}\n{report}", tail_task.wait()?);
    Ok(report)
}
