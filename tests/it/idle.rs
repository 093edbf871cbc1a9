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

/// Waits until of the threads that have come since at most so many are left, and none of them is
/// woken any more. Returns how many there are then.
fn until_quiet(before: &BTreeMap<String, u64>, threads: usize) -> usize {
    let own = || {
        let mut now = switches();
        now.retain(|thread, _| !before.contains_key(thread));
        now
    };
    let step = Duration::from_millis(250);
    let mut passed = Duration::ZERO;
    // What is left of the pool may be more, and whatever the last window still has to do is done
    // then.
    let mut quiet = own();
    loop {
        assert!(passed < SHRUNK, "it never comes to rest: {quiet:?}");
        let span = if quiet.len() > threads { step } else { MEASURED };
        pass(span);
        passed += span;
        let now = own();
        if now == quiet && now.len() <= threads {
            return now.len();
        }
        quiet = now;
    }
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

    let left = until_quiet(&before, 3);
    assert!(left <= 3, "{left}");
    assert_eq!(handle.snapshot().unwrap().tasks.len(), TASKS);
    say("idle");
    supervisor.shutdown().unwrap();
}

#[cfg(feature = "process")]
#[test]
fn a_running_process_takes_one_thread_and_wakes_none_nor_does_a_service_manager() {
    const NAME: &str =
        "idle::a_running_process_takes_one_thread_and_wakes_none_nor_does_a_service_manager";
    if !is_child() {
        let program = Program::start(NAME, &[]);
        program.expect("idle");
        assert!(program.status().success());
        return;
    }
    let place = std::env::temp_dir().join(format!("threadvisor-idle-{}", std::process::id()));
    let manager = std::os::unix::net::UnixDatagram::bind(&place).unwrap();
    let before = switches();
    let builder = Supervisor::builder().on_output(|_| ());
    let service = ServiceManager::socket(&place, None);
    let supervisor = builder.service_manager(service).start().unwrap();
    let sleeper = threadvisor::Program::new("sleep").arg("1000").capture();
    let sleeper = TaskSpec::process("sleeper", sleeper).required();
    supervisor.handle().add(sleeper).unwrap().wait_started().unwrap();
    supervisor.handle().announce_ready();
    let mut said = [0; 64];
    let length = manager.recv(&mut said).unwrap();
    assert!(said[..length].starts_with(b"READY=1"));

    // The controller, the body that waits, and the lane of the output. The service has none.
    let waits_for_it = usize::from(std::env::var_os("THREADVISOR_NO_PIDFD").is_some());
    assert_eq!(until_quiet(&before, 3 + waits_for_it), 3 + waits_for_it);
    fs::remove_file(&place).unwrap();
    say("idle");
    let _ = supervisor.shutdown().unwrap();
}
