//! Tasks brought into each state in which they can stay.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

pub struct StateOf {
    pub name: &'static str,
    /// How many tasks are tried: a running one takes a thread.
    pub most: usize,
}

pub const STATES: [StateOf; 9] = [
    StateOf { name: "interval", most: 100_000 },
    StateOf { name: "interval, a slot each", most: 100_000 },
    StateOf { name: "backoff", most: 100_000 },
    StateOf { name: "delayed", most: 100_000 },
    StateOf { name: "queued", most: 100_000 },
    StateOf { name: "running", most: 10_000 },
    StateOf { name: "running, with a watchdog of 1 s", most: 1000 },
    StateOf { name: "running, with a timeout", most: 1000 },
    StateOf { name: "interval of 100 ms", most: 1000 },
];

/// A supervisor full of tasks; they are cancelled when it goes.
pub struct Filled<'a>(&'a Supervisor);

impl<'a> Filled<'a> {
    pub fn new(supervisor: &'a Supervisor, state: &str, n: usize) -> Self {
        let handle = supervisor.handle();
        let name: Arc<str> = Arc::from("task");
        let no_op = || TaskSpec::new(Arc::clone(&name), |_| Ok(())).no_slot();
        let sleeper =
            || TaskSpec::new(Arc::clone(&name), |ctx| Ok(ctx.sleep(Duration::MAX)?)).no_slot();
        let submit = |spec: TaskSpec| drop(handle.submit(spec, AdmissionPolicy::Queue).unwrap());
        let mut expected = TaskState::Waiting;
        if state == "queued" {
            submit(sleeper().slot("taken"));
            expected = TaskState::Queued;
        } else if state.starts_with("running") {
            expected = TaskState::Running;
        }
        for i in 0..n {
            submit(match state {
                "interval" => no_op().repeat_after(HOUR),
                "interval, a slot each" => no_op().repeat_after(HOUR).slot(format!("slot-{i:06}")),
                "interval of 100 ms" => no_op().repeat_after(Duration::from_millis(100)),
                "delayed" => no_op().initial_delay(HOUR),
                "backoff" => {
                    let spec = TaskSpec::new(Arc::clone(&name), |_| Err("not yet")?).no_slot();
                    let policy = BackoffPolicy::constant(HOUR).jitter(JitterPolicy::None);
                    spec.backoff(policy)
                }
                "queued" => no_op().slot("taken"),
                "running" => sleeper(),
                "running, with a watchdog of 1 s" => sleeper().watchdog(Duration::from_secs(1)),
                "running, with a timeout" => sleeper().timeout(HOUR),
                _ => panic!("no such state: {state}"),
            });
        }
        let reached = || {
            let tasks = handle.snapshot().unwrap().tasks;
            tasks.iter().filter(|task| task.state == expected).count() >= n
        };
        // What is in motion is never all in one state.
        while state != "interval of 100 ms" && !reached() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(supervisor)
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        let handle = self.0.handle();
        for task in handle.snapshot().map(|it| it.tasks).unwrap_or_default() {
            // Of many it would take long, and the process ends anyway.
            if task.task.id.get() > 10 {
                return;
            }
            if let Some(task) = handle.task(task.task.id) {
                task.cancel();
            }
        }
    }
}

/// No-op tasks, their outcomes awaited.
pub fn burst(supervisor: &Supervisor, n: usize) {
    let handle = supervisor.handle();
    let name: Arc<str> = Arc::from("no-op");
    let make = || TaskSpec::once(Arc::clone(&name), |_| Ok(())).no_slot();
    let submit = |_| handle.submit(make(), AdmissionPolicy::Queue).unwrap();
    let tasks: Vec<_> = (0..n).map(submit).collect();
    for task in tasks {
        assert!(matches!(task.wait(), Ok(Outcome::Completed)));
    }
}
