//! An importer: files are parsed by worker tasks, in parallel but one at a time for each customer,
//! and what they return is added up.
//!
//! `cargo run --example importer` ends after about 0.2 s. It writes four small files into a
//! temporary directory, and imports them and one that is missing. Files of one customer share a
//! slot, so `acme-1` and `acme-2` never overlap, and `acme-2` waits even while `acme-1` waits for a
//! retry (with a class for each customer it would not). You see one line for each attempt and one
//! for each file: `acme-1`, `acme-2` and `bolt-1` with their rows and cents, `bolt-2` that failed
//! for good because of a wrong row, and `core-1` that failed after three attempts. The sum is 6
//! rows, 5054 cents, and the report says: 5 tasks, 3 completed, 1 failed, 1 fatal. Ctrl-C stops the
//! imports at their next row, and each says which; what is done by then is added up. `main` does
//! not return the report, so the exit code is 0.

use std::fs::{create_dir_all, read_to_string, remove_dir_all, write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use threadvisor::prelude::*;

type Error = Box<dyn std::error::Error>;

/// What one file holds.
struct Import {
    rows: usize,
    cents: u64,
}

/// Parses one file. Reading may fail for a moment and is retried; a row that is wrong stays wrong.
fn import(ctx: &TaskContext, path: &Path) -> TaskResult<Import> {
    println!("{}: attempt {}", ctx.name(), ctx.attempt());
    let text = read_to_string(path)?;
    let mut import = Import { rows: 0, cents: 0 };
    for (number, row) in (1..).zip(text.lines()) {
        let work = ctx.sleep(Duration::from_millis(20)); // ends on Ctrl-C
        work.map_err(|_told| format!("stopped at row {number}"))?;
        let cents = row.split_once(',').and_then(|(_, cents)| cents.trim().parse::<u64>().ok());
        let Some(cents) = cents else {
            let wrong = format!("row {number} is {row:?}");
            return Err(TaskError::fatal(wrong).with_exit_code(65)); // EX_DATAERR
        };
        import.rows += 1;
        import.cents += cents;
    }
    Ok(import)
}

/// The files to import, the last of which does not exist.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    create_dir_all(directory)?;
    let texts = [
        ("acme-1", "nails,120\nscrews,80\nhammer,1999\n"),
        ("acme-2", "saw,2450\n"),
        ("bolt-1", "wire,310\nfuse,95\n"),
        ("bolt-2", "lamp,499\nswitch,two\n"),
    ];
    for (name, text) in texts {
        write(directory.join(name), text)?;
    }
    let names = texts.map(|(name, _)| name).into_iter().chain(["core-1"]);
    Ok(names.map(|name| directory.join(name)).collect())
}

fn main() -> Result<(), Error> {
    let directory = std::env::temp_dir().join(format!("importer-{}", std::process::id()));
    let supervisor = Supervisor::builder()
        .max_concurrent(4)
        .max_slot_queue(10_000) // of each customer; by default the 102nd file would be rejected
        .shutdown_on_signals()
        .start()?;
    let handle = supervisor.handle();

    let mut imports = Vec::new();
    for path in files(&directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let customer = name.split('-').next().unwrap_or_default().to_owned();
        let output = TaskOutput::new();
        let spec = TaskSpec::new(name, output.fill(move |ctx| import(ctx, &path)))
            .slot(customer)
            .max_retries(2)
            .backoff(BackoffPolicy::constant(Duration::from_millis(50)))
            .timeout(Duration::from_secs(30));
        match handle.submit(spec, AdmissionPolicy::Queue) {
            Ok(task) => imports.push((task, output)),
            Err(SubmitError::Closed { spec }) => println!("{}: not begun", spec.name()), // Ctrl-C
            Err(error) => return Err(error.into()),
        }
    }

    let (mut rows, mut cents) = (0, 0);
    for (task, output) in &imports {
        let import = match output.wait(task) {
            Ok(import) => Some(import),
            Err(TaskOutputError::NotCompleted(NotCompleted(outcome))) => {
                println!("{}: {outcome}", task.name());
                output.take() // of a body that was told to stop after its last row
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(import) = import {
            println!("{}: {} rows, {} cents", task.name(), import.rows, import.cents);
            (rows, cents) = (rows + import.rows, cents + import.cents);
        }
    }
    println!("imported {rows} rows, {cents} cents");
    remove_dir_all(&directory)?;
    println!("{}", supervisor.shutdown()?);
    Ok(())
}
