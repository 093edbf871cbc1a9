//! Work that fails and is tried again: the delays of each jitter, and the ways in which retrying
//! ends.
//!
//! `cargo run --example retry` ends after about 2 s. You see a table with the range of the first
//! five delays for each jitter, then the failures and delays of four tasks, and how each ended:
//! `late_file` completed once its file was there, `no_file` failed after 1 + 3 attempts,
//! `bad_config` was fatal in its first, and `hasty` passed its deadline twice. The report would
//! make the exit code 1, but `main` does not return it, so it is 0.

use std::path::{Path, PathBuf};
use std::time::Duration;

use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn read(path: &Path) -> TaskResult {
    let text = std::fs::read_to_string(path)?;
    if text.is_empty() {
        return Err("still empty".into()); // a failure without `?`: `.into()`, or `TaskError::fail`
    }
    println!("read {text:?}");
    Ok(())
}

fn preview() {
    let backoff = BackoffPolicy::exponential(ms(100), ms(1000));
    for jitter in
        [JitterPolicy::None, JitterPolicy::Full, JitterPolicy::Equal, JitterPolicy::Decorrelated]
    {
        print!("{:>12}:", jitter.label());
        for range in backoff.jitter(jitter).preview(5) {
            print!(" {:>4}..={:<4}", range.start().as_millis(), range.end().as_millis());
        }
        println!(" ms");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    preview();
    let path: PathBuf = std::env::temp_dir().join(format!("threadvisor-{}", std::process::id()));
    let (read_path, written_path) = (path.clone(), path.clone());
    let supervisor = Supervisor::builder()
        .on_event(|event| {
            if let EventKind::AttemptFailed { .. }
            | EventKind::AttemptTimedOut { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::TaskEnded { .. } = event.kind
            {
                println!("{event}");
            }
        })
        // These apply to every task that does not set its own.
        .defaults(TaskDefaults::new().backoff(BackoffPolicy::exponential(ms(100), ms(1000))))
        .start()?;
    let report = supervisor.run([
        TaskSpec::new("late_file", move |_| read(&read_path)),
        TaskSpec::once("writer", move |_| Ok(std::fs::write(written_path, "here I am")?))
            .initial_delay(ms(600)),
        TaskSpec::new("no_file", |_| read(Path::new("/no/such/file")))
            .max_retries(3)
            .backoff(BackoffPolicy::constant(ms(150))),
        TaskSpec::new("bad_config", |ctx| {
            let retries: u8 = "many".parse().map_err(TaskError::fatal)?; // no retry can help
            println!("attempt {}: {retries} retries", ctx.attempt());
            Ok(())
        }),
        TaskSpec::new("hasty", |ctx| Ok(ctx.sleep(ms(5000))?)).timeout(ms(200)).max_retries(1),
    ])?;
    println!("\n{report}");
    std::fs::remove_file(path)?;
    // Three of the tasks failed on purpose.
    assert_eq!(report.exit_code(), 1);
    Ok(())
}
