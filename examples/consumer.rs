//! A consumer that blocks on an empty queue and still returns as soon as it is told to: `select!`
//! waits for a job and for the cancel at once. No job is lost; what it has not taken stays in the
//! queue.
//!
//! `cargo run --example consumer` ends after 0.7 s. You see three of four jobs done. The bad job
//! costs itself and a retry of the task, but not the job behind it, because the body keeps its
//! receiver. After 0.5 s on an empty queue, a last job begins before the shutdown and is finished
//! within the grace, and one more stays in the queue. The exit code is 0.

use std::process::ExitCode;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, select, unbounded, Receiver, Sender};
use threadvisor::prelude::*;

fn consume(ctx: &TaskContext, jobs: &Receiver<&'static str>, done: &Sender<String>) -> TaskResult {
    let cancelled = ctx.cancelled(); // outside the loop, since it is the same channel each time
    loop {
        // When both are ready, `select!` picks either; the cancel should come first.
        ctx.check()?;
        let job = select! {
            recv(jobs) -> job => job?, // an error once all senders are gone: the work has ended
            recv(cancelled) -> _ => continue,
        };
        if job == "bad" {
            return Err(format!("cannot print {job:?}").into());
        }
        done.send(format!("attempt {} begins {job:?}", ctx.attempt()))?;
        // 50 ms of work that a stop must not cut short, so it does not wait on the context.
        let _ = after(Duration::from_millis(50)).recv();
        done.send(format!("attempt {} printed {job:?}", ctx.attempt()))?;
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (print, jobs) = unbounded();
    let (sender, done) = unbounded();
    let left = jobs.clone();
    let supervisor = Supervisor::builder()
        .on_event(|event| {
            if let EventKind::AttemptFailed { error, .. } = &event.kind {
                println!("failed: {error}");
            }
        })
        .start()?;
    let spec = TaskSpec::new("printer", move |ctx| consume(ctx, &jobs, &sender));
    let spec = spec.backoff(BackoffPolicy::constant(Duration::from_millis(10)));
    let task = supervisor.handle().add(spec)?;

    for job in ["letter", "invoice", "bad", "label"] {
        print.send(job)?;
    }
    for line in done.iter().take(6) {
        println!("{line}");
    }
    assert!(task.wait_timeout(Duration::from_millis(500))?.is_none());
    println!("after 0.5 s without jobs: printer is {}", task.state());

    print.send("last page")?;
    print.send("too late")?;
    println!("{}", done.recv()?);
    let report = supervisor.shutdown()?;
    println!("{}\nleft in the queue: {:?}", done.recv()?, left.try_iter().collect::<Vec<_>>());
    println!("{report}");
    Ok(ExitCode::from(&report)) // a `main` that returns the report prints it as well
}
