//! The promises of the front page, on real threads.

use std::time::Duration;

use threadvisor::prelude::*;

fn submit_all(
    handle: &SupervisorHandle,
    count: usize,
    spec: impl Fn() -> TaskSpec,
) -> Vec<TaskHandle> {
    let submit = |_| handle.submit(spec().no_slot(), AdmissionPolicy::Queue).unwrap();
    (0..count).map(submit).collect()
}

#[test]
fn a_burst_of_short_tasks_completes_on_a_handful_of_threads() {
    // Where others keep the processors busy, short tasks look like blocked ones for a moment.
    let fewest = (0..3).map(|_| threads_of_a_burst()).find(|threads| *threads <= TASKS / 1000);
    assert!(fewest.is_some(), "over {} threads in each burst", TASKS / 1000);
}

const TASKS: usize = 100_000;

fn threads_of_a_burst() -> usize {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let tasks = submit_all(&handle, TASKS, || TaskSpec::once("no-op", |_| Ok(())));
    // None has retired yet: that takes ten seconds.
    let threads = handle.snapshot().unwrap().workers.threads;
    for task in &tasks {
        assert!(task.wait().unwrap().is_success());
    }
    let report = supervisor.run([]).unwrap();
    assert_eq!(report.outcomes.completed, TASKS as u64);
    threads
}

#[test]
fn a_burst_of_blocking_tasks_all_run_at_once() {
    const TASKS: usize = 500;
    let supervisor = Supervisor::builder().stack_size(256 * 1024).start().unwrap();
    // Each waits until all are there: with one thread too few, none would end.
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(TASKS));
    let tasks = submit_all(&supervisor.handle(), TASKS, || {
        let barrier = std::sync::Arc::clone(&barrier);
        TaskSpec::once("meets the others", move |_| {
            barrier.wait();
            Ok(())
        })
    });
    for task in &tasks {
        let outcome = task.wait_timeout(Duration::from_secs(60)).unwrap();
        assert!(outcome.expect("the pool stopped growing").is_success());
    }
}
