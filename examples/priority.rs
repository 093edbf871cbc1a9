//! A task whose threads have a priority and processors of their own, beside tasks that keep those
//! of the process; and, with the feature `poll`, the names under which `top -H` shows them.
//!
//! `cargo run --example priority --features poll` ends at once. On Linux the task `meter` has nice
//! value 5 and one processor, and the task `log` what the process has. Then `probe` asks for what
//! only a privileged process may have: if this one may not, its first line is an error that names
//! `on_start`, and the second the outcome; nothing else fails. Without Linux, `on_start` does
//! nothing here. The exit code is 0.

use std::io;

use threadvisor::prelude::*;

/// Changes the calling thread alone, which is what Linux does with a process id of zero.
#[cfg(target_os = "linux")]
fn set(nice: i32, only_one_processor: bool) -> io::Result<()> {
    use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

    rustix::process::setpriority_process(None, nice)?;
    if only_one_processor {
        let allowed = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        if let Some(processor) = (0..CpuSet::MAX_CPU).find(|it| allowed.is_set(*it)) {
            one.set(processor);
            sched_setaffinity(None, &one)?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn set(_nice: i32, _only_one_processor: bool) -> io::Result<()> {
    Ok(())
}

/// Says what the system knows about the thread that runs this.
fn look(ctx: &TaskContext) -> TaskResult {
    let shown = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
    let processors = std::thread::available_parallelism()?;
    #[cfg(target_os = "linux")]
    let nice = rustix::process::getpriority_process(None)?;
    #[cfg(not(target_os = "linux"))]
    let nice = "unknown";
    println!("{}: shown as {:?}, {processors} processors, nice {nice}", ctx.name(), shown.trim());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Supervisor::builder();
    #[cfg(feature = "poll")]
    let builder = builder.name_threads_by_task();
    let supervisor = builder.start()?;
    let tasks = supervisor.handle();

    let calm = ThreadOptions::new().on_start(|| set(5, true));
    let meter = tasks.add(TaskSpec::once("meter", look).dedicated_thread(calm))?;
    meter.wait()?.into_result()?;
    tasks.add(TaskSpec::once("log", look))?.wait()?.into_result()?;

    let urgent = ThreadOptions::new().on_start(|| set(-20, false));
    let probe = tasks.add(TaskSpec::once("probe", look).dedicated_thread(urgent))?;
    match probe.wait()? {
        Outcome::Failed { error } => println!("probe: {error}"),
        outcome => println!("probe: {outcome}"),
    }
    println!("{}", supervisor.shutdown()?);
    Ok(())
}
