//! Taskvisor 0.1.2. It has no outcomes: a burst is `run` with all tasks, which returns when the
//! last has ended, and a round trip ends when the body says so, a little before its task has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taskvisor_01::{BackoffPolicy, RestartPolicy, Supervisor, SupervisorConfig, TaskFn, TaskSpec};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::peer::{time, Blocking, Peer, Seen};
use crate::tokio_blocking::runtime;

pub struct Taskvisor {
    pub multi_thread: bool,
}

impl Peer for Taskvisor {
    fn name(&self) -> &'static str {
        if self.multi_thread {
            "taskvisor 0.1.2, multi-thread"
        } else {
            "taskvisor 0.1.2, current-thread"
        }
    }

    fn burst_size(&self) -> usize {
        10_000
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        runtime(self.multi_thread).block_on(async {
            let supervisor = supervisor();
            let body = |_: CancellationToken| async { Ok(()) };
            let began = Instant::now();
            let specs = (0..n).map(|i| spec(TaskFn::arc(format!("{i}"), body)));
            supervisor.run(specs.collect()).await.unwrap();
            Some(began.elapsed())
        })
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        runtime(self.multi_thread).block_on(async {
            let handle = supervisor().serve();
            let mut times = Vec::new();
            for i in 0..=n {
                let done = Arc::new(Notify::new());
                let ended = Arc::clone(&done);
                let body = move |_: CancellationToken| {
                    let ended = Arc::clone(&ended);
                    async move {
                        ended.notify_one();
                        Ok(())
                    }
                };
                let spec = spec(TaskFn::arc(format!("{i}"), body));
                let began = Instant::now();
                handle.add(spec).unwrap();
                done.notified().await;
                times.push(began.elapsed());
            }
            handle.shutdown().await.unwrap();
            times.remove(0);
            Some(times)
        })
    }

    fn cancels(&self, n: usize) -> Option<Vec<Duration>> {
        runtime(self.multi_thread).block_on(async {
            let handle = supervisor().serve();
            let mut times = Vec::new();
            for i in 0..n {
                let ready = Arc::new(Notify::new());
                let started = Arc::clone(&ready);
                let name = format!("{i}");
                let body = move |token: CancellationToken| {
                    let started = Arc::clone(&started);
                    async move {
                        started.notify_one();
                        token.cancelled().await;
                        Ok(())
                    }
                };
                let spec = spec(TaskFn::arc(name.clone(), body));
                handle.add_and_wait(spec, Duration::from_secs(5)).await.unwrap();
                ready.notified().await;
                let began = Instant::now();
                assert!(handle.cancel(&name).await.unwrap());
                times.push(began.elapsed());
            }
            handle.shutdown().await.unwrap();
            Some(times)
        })
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let seen = Seen::default();
        let spent = time(|| {
            let runtime = runtime(self.multi_thread);
            runtime.block_on(async {
                let specs: Vec<_> = (0..n)
                    .map(|i| {
                        let seen = seen.clone();
                        let body = move |_: CancellationToken| {
                            let seen = seen.clone();
                            async move {
                                tokio::task::spawn_blocking(move || seen.block(span))
                                    .await
                                    .unwrap();
                                Ok(())
                            }
                        };
                        spec(TaskFn::arc(format!("{i}"), body))
                    })
                    .collect();
                supervisor().run(specs).await.unwrap();
            });
            runtime
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}

/// A bus that loses nothing: 0.1.2 loses tasks with their events.
fn supervisor() -> Arc<Supervisor> {
    let config = SupervisorConfig { bus_capacity: 1 << 18, ..SupervisorConfig::default() };
    Supervisor::new(config, vec![])
}

fn spec(task: taskvisor_01::TaskRef) -> TaskSpec {
    TaskSpec::new(task, RestartPolicy::Never, BackoffPolicy::default(), None)
}
