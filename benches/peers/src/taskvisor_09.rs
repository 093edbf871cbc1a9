//! Taskvisor 0.9.0 through its documented way to learn outcomes: watched adds, each awaited to its
//! admission, then all outcomes. Blocking bodies go through `spawn_blocking`, as its guide says.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskvisor::{
    Supervisor, SupervisorConfig, SupervisorHandle, TaskContext, TaskFn, TaskOutcome, TaskSpec,
    TaskWaiter,
};
use tokio::sync::Notify;

use crate::peer::{time, Blocking, Peer, Seen};
use crate::tokio_blocking::runtime;

pub struct Taskvisor {
    pub multi_thread: bool,
}

impl Peer for Taskvisor {
    fn name(&self) -> &'static str {
        if self.multi_thread {
            "taskvisor 0.9.0, multi-thread"
        } else {
            "taskvisor 0.9.0, current-thread"
        }
    }

    fn burst_size(&self) -> usize {
        10_000
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        runtime(self.multi_thread).block_on(async {
            let handle = serve();
            completed(add(&handle, no_op("warm".into())).await).await;
            let began = Instant::now();
            let mut waiters = Vec::with_capacity(n);
            for i in 0..n {
                waiters.push(add(&handle, no_op(format!("{i}").into())).await);
            }
            for waiter in waiters {
                completed(waiter).await;
            }
            let spent = began.elapsed();
            handle.shutdown().await.unwrap();
            Some(spent)
        })
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        runtime(self.multi_thread).block_on(async {
            let handle = serve();
            let mut times = Vec::new();
            for i in 0..=n {
                let spec = no_op(format!("{i}").into());
                let began = Instant::now();
                completed(add(&handle, spec).await).await;
                times.push(began.elapsed());
            }
            handle.shutdown().await.unwrap();
            times.remove(0);
            Some(times)
        })
    }

    fn cancels(&self, n: usize) -> Option<Vec<Duration>> {
        runtime(self.multi_thread).block_on(async {
            let handle = serve();
            let mut times = Vec::new();
            for i in 0..n {
                let ready = Arc::new(Notify::new());
                let started = Arc::clone(&ready);
                let body = TaskFn::arc(move |ctx: TaskContext| {
                    let started = Arc::clone(&started);
                    async move {
                        started.notify_one();
                        ctx.cancelled().await;
                        Ok(())
                    }
                });
                let waiter = add(&handle, TaskSpec::once(format!("{i}"), body)).await;
                ready.notified().await;
                let began = Instant::now();
                assert!(handle.cancel(waiter.id()).execute().await.unwrap());
                assert!(matches!(waiter.wait().await.unwrap(), TaskOutcome::Canceled));
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
                let handle = serve();
                let mut waiters = Vec::with_capacity(n);
                for i in 0..n {
                    let seen = seen.clone();
                    let body = TaskFn::arc(move |_: TaskContext| {
                        let seen = seen.clone();
                        async move {
                            tokio::task::spawn_blocking(move || seen.block(span)).await.unwrap();
                            Ok(())
                        }
                    });
                    waiters.push(add(&handle, TaskSpec::once(format!("{i}"), body)).await);
                }
                for waiter in waiters {
                    completed(waiter).await;
                }
            });
            runtime
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}

fn serve() -> SupervisorHandle {
    let capacity = NonZeroUsize::new(16_384).unwrap();
    let config = SupervisorConfig::default()
        .with_bus_capacity(capacity)
        .with_max_registered_tasks(Some(capacity))
        .with_ownership_capacity(Some(capacity));
    Supervisor::new(config, vec![]).serve().unwrap()
}

fn no_op(name: Arc<str>) -> TaskSpec {
    TaskSpec::once(name, TaskFn::arc(|_: TaskContext| async { Ok(()) }))
}

async fn add(handle: &SupervisorHandle, spec: TaskSpec) -> TaskWaiter {
    handle.add(spec).watch().execute().await.unwrap()
}

async fn completed(waiter: TaskWaiter) {
    assert!(matches!(waiter.wait().await.unwrap(), TaskOutcome::Completed));
}
