//! Waiting costs nothing: no threads, and no wake-ups.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use threadvisor::crossbeam_channel::after;
use threadvisor::prelude::*;

use crate::program::{is_child, say, Program};

const TASKS: usize = 10_000;
/// Workers beyond the busiest moment of the last 10 s retire, so it takes two such windows.
const SHRUNK: Duration = Duration::from_secs(45);
const MEASURED: Duration = Duration::from_secs(3);

/// How often each thread of this process has been switched away from, by its id.
fn switches() -> BTreeMap<String, u64> {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap());
    threads
        .filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let counts = status.lines().filter_map(|line| {
                let (name, count) = line.split_once(':')?;
                name.ends_with("ctxt_switches").then(|| count.trim().parse::<u64>().unwrap())
            });
            Some((thread.file_name().to_string_lossy().into_owned(), counts.sum()))
        })
        .collect()
}

/// Time itself is what is waited for here.
fn pass(span: Duration) {
    let _ = after(span).recv();
}

#[test]
fn ten_thousand_waiting_tasks_hold_three_threads_at_most_and_wake_none() {
    const NAME: &str = "idle::ten_thousand_waiting_tasks_hold_three_threads_at_most_and_wake_none";
    if !is_child() {
        // Other tests must not be counted.
        let program = Program::start(NAME, &[]);
        program.expect("idle");
        assert!(program.status().success());
        return;
    }
    let before = switches();
    let supervisor = Supervisor::builder().intake_capacity(TASKS).start().unwrap();
    let handle = supervisor.handle();
    let hourly = |n| {
        let hour = Duration::from_secs(3600);
        let spec = TaskSpec::new(format!("task {n}"), |_| Ok(())).repeat_after(hour);
        handle.submit(spec, AdmissionPolicy::Queue).unwrap()
    };
    let tasks: Vec<_> = (0..TASKS).map(hourly).collect();
    let waiting = |task: &TaskHandle| task.state() == TaskState::Waiting;
    while !tasks.iter().all(waiting) {}

    let own = || {
        let mut now = switches();
        now.retain(|thread, _| !before.contains_key(thread));
        now
    };
    let step = Duration::from_millis(250);
    let mut passed = Duration::ZERO;
    // The controller, and what is left of the pool.
    while own().len() > 3 {
        assert!(passed < SHRUNK, "{} threads are left", own().len());
        pass(step);
        passed += step;
    }
    // Whatever the last window still has to do is done then.
    let mut quiet = own();
    loop {
        assert!(passed < SHRUNK, "it never comes to rest: {quiet:?}");
        pass(MEASURED);
        passed += MEASURED;
        let now = own();
        if now == quiet {
            break;
        }
        quiet = now;
    }
    assert!(quiet.len() <= 3, "{quiet:?}");
    assert_eq!(handle.snapshot().unwrap().tasks.len(), TASKS);
    say("idle");
    supervisor.shutdown().unwrap();
}
