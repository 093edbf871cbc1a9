//! A service: it runs until SIGTERM or Ctrl-C, and each task puts its affairs in order before it
//! returns.
//!
//! `cargo run --example resident` writes samples to a file and sends itself a SIGTERM after 1.5 s.
//! You see the start and the end of each task, what `sample` and `upload` did when they were told
//! to return, and a report that names the cause, `SIGTERM`. The exit code is 0. Without Unix or
//! the feature `signals` it requests the shutdown through a handle, and the cause is `requested`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;

const SIGNALS: bool = cfg!(all(unix, feature = "signals"));

/// Writes a sample every 20 ms. Returns `Ok` when told to return, since the file is complete.
fn sample(ctx: &TaskContext, path: &Path) -> TaskResult {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut samples = 0;
    while ctx.sleep(Duration::from_millis(20)).is_ok() {
        samples += 1;
        writeln!(file, "{samples}")?;
    }
    file.into_inner()?.sync_all()?;
    println!("sample: wrote {samples} lines, file closed");
    Ok(())
}

/// Works in steps of 100 ms and finishes the one it has begun, for which it has its grace.
fn upload(ctx: &TaskContext) -> TaskResult {
    let mut pending = 0;
    while !ctx.is_cancelled() {
        pending += 1;
        // One step, which a stop must not cut short, so it does not wait on the context.
        let _ = after(Duration::from_millis(100)).recv();
    }
    println!("upload: told {:?}, {pending} steps done", ctx.reason());
    println!("upload: at most {:.1?} left", ctx.remaining().unwrap_or(Duration::MAX));
    Ok(ctx.check()?) // passes `Cancelled` on; after a stop the outcome is `Cancelled` anyway
}

/// Plays the administrator.
fn terminate(ctx: &TaskContext) -> TaskResult {
    if SIGNALS {
        Command::new("kill").arg(std::process::id().to_string()).status()?;
    } else {
        ctx.handle().request_shutdown();
    }
    Ok(())
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let path: PathBuf = std::env::temp_dir().join(format!("threadvisor-{}", std::process::id()));
    let target = path.clone();
    let builder = Supervisor::builder().grace(Duration::from_secs(2)).on_event(|event| {
        use EventKind::{AttemptStarting, ShutdownEnded, ShutdownRequested, TaskEnded};
        if let AttemptStarting { .. }
        | TaskEnded { .. }
        | ShutdownRequested { .. }
        | ShutdownEnded = event.kind
        {
            println!("{event}");
        }
    });
    let supervisor = if SIGNALS { builder.shutdown_on_signals() } else { builder }.start()?;
    let tasks = supervisor.handle();
    tasks.add(TaskSpec::new("sample", move |ctx| sample(ctx, &target)))?;
    tasks.add(TaskSpec::new("upload", upload).restart(RestartPolicy::Always))?;
    tasks.add(TaskSpec::once("terminate", terminate).initial_delay(Duration::from_millis(1500)))?;

    let report = supervisor.wait_shutdown()?;
    println!("\n{report}");
    std::fs::remove_file(path)?;
    Ok(report)
}
