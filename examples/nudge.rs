//! A C library whose interrupt is lost when it comes too early, as that of `SQLite` is. One hook is
//! not enough: a nudge repeats the interrupt until the call has returned.
//!
//! `cargo run --example nudge` ends after 0.2 s. The body is told to return while it prepares, so
//! the first interrupts find no statement to end; then it runs a statement that would take for
//! ever. You see that some interrupts were lost (about 15) and that one was not, and that the task
//! ended as cancelled. The exit code is 0.

use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, bounded};
use threadvisor::prelude::*;

/// Stands in for a handle of the library. One thread may use it and others may interrupt it, but
/// not after it was closed, which in C would be a use after free.
#[derive(Default)]
struct Database {
    statement: Mutex<Statement>,
    changed: Condvar,
}

#[derive(Clone, Default)]
struct Statement {
    running: bool,
    interrupted: bool,
    interrupts_lost: u32,
}

impl Database {
    /// Blocks until it is interrupted; interrupts that came before are forgotten.
    fn run_statement(&self) -> Result<(), &'static str> {
        let mut statement = self.statement.lock().unwrap_or_else(PoisonError::into_inner);
        (statement.running, statement.interrupted) = (true, false);
        while !statement.interrupted {
            statement = self.changed.wait(statement).unwrap_or_else(PoisonError::into_inner);
        }
        statement.running = false;
        Err("interrupted")
    }

    fn interrupt(&self) {
        let mut statement = self.statement.lock().unwrap_or_else(PoisonError::into_inner);
        if statement.running {
            statement.interrupted = true;
            self.changed.notify_all();
        } else {
            statement.interrupts_lost += 1;
        }
    }

    fn interrupts_lost(&self) -> u32 {
        self.statement.lock().unwrap_or_else(PoisonError::into_inner).interrupts_lost
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (tell, started) = bounded(1);
    let query = TaskSpec::once("query", move |ctx| {
        let database = Arc::new(Database::default());
        let handle = Arc::clone(&database);
        // Runs every 10 ms from the cancel on, until the guard is dropped.
        let nudge = ctx.on_cancel_every(Duration::from_millis(10), move || handle.interrupt());
        tell.send(())?;
        let _ = after(Duration::from_millis(150)).recv(); // prepares, without looking at a flag
        let result = database.run_statement();
        // After this no interrupt runs or ever will, so the handle may be closed.
        drop(nudge);
        println!("{} interrupts were lost, one was not", database.interrupts_lost());
        drop(database);
        Ok(result?)
    });
    let supervisor = Supervisor::builder().start()?;
    let query = supervisor.handle().add(query)?;
    started.recv()?;
    query.cancel();
    println!("query: {}", query.wait()?);
    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
