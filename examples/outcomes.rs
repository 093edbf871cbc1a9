//! Every outcome that a program can bring about, and what brings it about.
//!
//! `cargo run --example outcomes` ends in about half a second. You see one line per task: what it
//! did, the exit code that a process would end with, and its outcome. The panic prints its usual
//! message to the standard error. The report at the end names the abandoned attempt, which still
//! runs. Only `Lost` is not shown, because it takes a bug in this crate. `main` does not return the
//! report, so the exit code is 0.

use std::time::Duration;

use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;
use AdmissionPolicy::{DropIfRunning, KeepLatest, Queue, Replace};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn resident(name: &str) -> TaskSpec {
    TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?))
}

fn show(how: &str, task: &TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    let outcome = task.wait()?;
    println!("{how:<45} {:>2}  {outcome}", outcome.exit_code());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder().max_slot_queue(1).max_tasks(10).start()?;
    let handle = supervisor.handle();

    let fail = || Err(TaskError::fail("no link").with_exit_code(69));
    let fatal = || Err(TaskError::fatal("no such device").with_exit_code(78));
    let panics = TaskSpec::once("panics", |ctx| panic!("at attempt {}", ctx.attempt()));
    let late = TaskSpec::once("late", |ctx| Ok(ctx.sleep(Duration::MAX)?)).timeout(ms(50));
    let stuck = TaskSpec::once("stuck", |_| {
        let _ = after(ms(2000)).recv(); // a blocking call that knows nothing of its context
        Ok(())
    });
    let stuck = stuck.timeout(ms(50)).grace(ms(100));
    let silent = TaskSpec::once("silent", |ctx| Ok(ctx.sleep(Duration::MAX)?)).watchdog(ms(50));
    let silent = silent.watchdog_policy(WatchdogPolicy::Cancel);
    show("returned Ok", &handle.add(TaskSpec::new("ok", |_| Ok(())))?)?;
    show("failed, no retry left", &handle.add(TaskSpec::once("fails", move |_| fail()))?)?;
    show("failed for good", &handle.add(TaskSpec::new("fatal", move |_| fatal()))?)?;
    show("panicked, no retry left", &handle.add(panics)?)?;
    show("ran past its deadline, no retry left", &handle.add(late)?)?;
    show("ran past its deadline and its grace", &handle.add(stuck)?)?;
    show("gave no sign of life, no retry left", &handle.add(silent)?)?;
    show(
        "ended itself with TaskError::cancelled",
        &handle.add(TaskSpec::new("enough", |_| Err(TaskError::cancelled())))?,
    )?;

    let owner = handle.add(resident("first").slot("bus"))?;
    let by_queue = handle.submit(resident("second").slot("bus"), Queue)?;
    let too_many = handle.submit(resident("third").slot("bus"), Queue)?;
    let busy = handle.submit(resident("fourth").slot("bus"), DropIfRunning)?;
    let latest = handle.submit(resident("fifth").slot("bus"), KeepLatest)?;
    show("Queue on a full queue", &too_many)?;
    show("DropIfRunning on a busy slot", &busy)?;
    show("waited, until KeepLatest took its place", &by_queue)?;
    let newest = handle.submit(resident("sixth").slot("bus"), Replace)?;
    show("ran, until Replace took its slot", &owner)?;
    show("waited, until Replace took its place", &latest)?;
    let hasty = handle.submit(resident("hasty").slot("bus").expires_in(ms(50)), Queue)?;
    show("waited longer than expires_in", &hasty)?;
    let removed = handle.submit(resident("removed").slot("bus"), Queue)?;
    removed.cancel();
    show("cancelled while it waited", &removed)?;
    newest.cancel();
    show("cancelled while it ran", &newest)?;

    let running = handle.add(resident("running"))?;
    let waiting = handle.submit(resident("waiting").slot("running"), Queue)?;
    let many = (0..11).map(|n| resident(&format!("filler-{n}")));
    if let Err(error) = handle.add_all(many) {
        println!("{:<45}     {error}", "add_all of more than max_tasks, all refused");
    }
    let report = supervisor.shutdown()?;
    show("ran when the supervisor shut down", &running)?;
    show("waited when the supervisor shut down", &waiting)?;
    println!("{report}");
    Ok(())
}
