//! Threadvisor.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use crate::peer::{time, Blocking, Peer, Seen};

pub struct Threadvisor;

impl Peer for Threadvisor {
    fn name(&self) -> &'static str {
        "**threadvisor**"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let name: Arc<str> = Arc::from("no-op");
        let burst = |n| {
            let tasks: Vec<_> = (0..n).map(|_| submit(&handle, no_op(&name))).collect();
            for task in &tasks {
                assert!(matches!(task.wait(), Ok(Outcome::Completed)));
            }
            tasks
        };
        burst(1000);
        Some(time(|| burst(n)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let name: Arc<str> = Arc::from("no-op");
        let trip = || {
            let task = submit(&handle, no_op(&name));
            assert!(matches!(task.wait(), Ok(Outcome::Completed)));
        };
        trip();
        Some((0..n).map(|_| time(trip)).collect())
    }

    fn cancels(&self, n: usize) -> Option<Vec<Duration>> {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let cancel = |_| {
            let (ready_in, ready) = bounded(1);
            let spec = TaskSpec::once("sleeper", move |ctx| {
                ready_in.send(())?;
                Ok(ctx.sleep(Duration::MAX)?)
            });
            let task = submit(&handle, spec);
            ready.recv().unwrap();
            time(|| {
                task.cancel();
                assert!(matches!(task.wait(), Ok(Outcome::Cancelled { .. })));
            })
        };
        Some((0..n).map(cancel).collect())
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let seen = Seen::default();
        let spent = time(|| {
            let supervisor = Supervisor::builder().start().unwrap();
            let handle = supervisor.handle();
            let body = |_| {
                let seen = seen.clone();
                TaskSpec::once("blocking", move |_| {
                    seen.block(span);
                    Ok(())
                })
            };
            let tasks: Vec<_> = (0..n).map(|i| submit(&handle, body(i).no_slot())).collect();
            for task in &tasks {
                assert!(matches!(task.wait(), Ok(Outcome::Completed)));
            }
            (supervisor, tasks)
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}

fn no_op(name: &Arc<str>) -> TaskSpec {
    TaskSpec::once(Arc::clone(name), |_| Ok(())).no_slot()
}

fn submit(handle: &SupervisorHandle, spec: TaskSpec) -> TaskHandle {
    handle.submit(spec, AdmissionPolicy::Queue).unwrap()
}
