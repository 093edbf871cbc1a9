//! Slots keep work apart that must not overlap, and the admission policy says what happens to more
//! work for a busy slot.
//!
//! `cargo run --example slots` ends after about 0.7 s. For each policy three syncs of one tenant
//! are requested at once. You see the answers of the request handler (202 accepted, 409 refused),
//! how each sync ended, and the journal they wrote: `queue` runs all three, `replace` stops the
//! first and skips the second (or stops it, if it has just begun), `drop_if_running` refuses the
//! second and the third, `keep_latest` lets the first finish and skips the second. The exit code is
//! 0.

use std::process::ExitCode;
use std::sync::mpsc::{channel, Sender};
use std::time::Duration;

use threadvisor::prelude::*;

type Error = Box<dyn std::error::Error>;

/// Copies the records of one sync into the tenant's journal, where two syncs that overlap would mix
/// their lines.
fn sync(name: &str, journal: Sender<String>) -> TaskSpec {
    TaskSpec::new(name, move |ctx| {
        for record in 1..=3 {
            ctx.sleep(Duration::from_millis(30))?;
            journal.send(format!("{}:{record}", ctx.name()))?;
        }
        Ok(())
    })
}

/// Returns what a web server would answer. It waits for the decision, which comes at once, and not
/// for the sync.
fn handle_request(
    handle: &SupervisorHandle,
    spec: TaskSpec,
    policy: AdmissionPolicy,
) -> Result<(u16, TaskHandle), Error> {
    let task = handle.submit(spec, policy)?;
    let status = match task.wait_decided()? {
        Decision::Admitted | Decision::Queued { .. } => 202,
        _ => 409, // Rejected, and whatever a later version may add
    };
    Ok((status, task))
}

fn main() -> Result<ExitCode, Error> {
    let supervisor = Supervisor::builder().start()?;
    let handle = supervisor.handle();
    for policy in [
        AdmissionPolicy::Queue,
        AdmissionPolicy::Replace,
        AdmissionPolicy::DropIfRunning,
        AdmissionPolicy::KeepLatest,
    ] {
        println!("{policy}:");
        let (journal, lines) = channel();
        let mut tasks = Vec::new();
        for name in ["first", "second", "third"] {
            let spec = sync(name, journal.clone()).slot(format!("tenant-{policy}"));
            let (status, task) = handle_request(&handle, spec, policy)?;
            println!("  {status} {name} {:?}", task.wait_decided()?);
            tasks.push(task);
        }
        drop(journal);
        for task in tasks {
            println!("  {} {}", task.name(), task.wait()?);
        }
        println!("  journal: {}", lines.iter().collect::<Vec<_>>().join(" "));
    }
    let report = supervisor.shutdown()?;
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
