//! Tasks that run again and again: `repeat_after`, `every`, `initial_delay`, and `skip_wait` for a
//! run out of turn.
//!
//! `cargo run --example periodic` ends after 1.5 s. Each body takes 60 ms, that of `slow` 250 ms.
//! You see when the attempts of each task start: those of `repeat_after` every 260 ms (200 ms after
//! the end of the one before), of `every` every 200 ms, of `slow` every 400 ms (it misses every
//! other tick), of `late` from 500 ms on, and of `hourly` twice, because `main` did not want to
//! wait for an hour. The exit code is 0.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Reads a file, which is real work, and pretends that this takes `span`.
fn work(span: Duration) -> impl FnMut(&TaskContext) -> TaskResult {
    move |ctx| {
        let data = std::fs::read(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml")?;
        let sum: u64 = data.iter().copied().map(u64::from).sum();
        if sum == 0 {
            return Err(TaskError::fatal("an empty manifest"));
        }
        Ok(ctx.sleep(span)?)
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (starts, received) = mpsc::channel();
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if let (EventKind::AttemptStarting { .. }, Some(task)) = (&event.kind, &event.task) {
                // At the end of `main` the receiver is gone, and the last start is not counted.
                let _ = starts.send((task.name.to_string(), event.since_start.as_millis()));
            }
        })
        .start()?;
    let handle = supervisor.handle();
    let tasks = handle.add_all([
        TaskSpec::new("repeat_after", work(ms(60))).repeat_after(ms(200)),
        TaskSpec::new("every", work(ms(60))).every(ms(200)),
        TaskSpec::new("slow", work(ms(250))).every(ms(200)),
        TaskSpec::new("late", work(ms(60))).initial_delay(ms(500)).repeat_after(ms(200)),
        TaskSpec::new("hourly", work(ms(60))).repeat_after(Duration::from_secs(3600)),
    ])?;

    // This task has no outcome before it is stopped, so this waits for 700 ms.
    let hourly = &tasks[4];
    assert!(hourly.wait_timeout(ms(700))?.is_none());
    println!("hourly is {}; skip_wait: {}", hourly.state(), hourly.skip_wait());
    assert!(hourly.wait_timeout(ms(800))?.is_none());

    let report = supervisor.shutdown()?;
    let mut starts = BTreeMap::<String, Vec<u128>>::new();
    for (task, at) in received {
        starts.entry(task).or_default().push(at);
    }
    for (task, at) in starts {
        println!("{task:>12} started at ms {at:?}");
    }
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
