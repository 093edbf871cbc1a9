//! Tokio's pool for blocking calls, `spawn_blocking`, awaited from a thread outside the runtime.
//! What runs there cannot be cancelled.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::peer::{cores, time, Blocking, Peer, Seen};

pub struct SpawnBlocking;

impl Peer for SpawnBlocking {
    fn name(&self) -> &'static str {
        "tokio `spawn_blocking`"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let runtime = multi_thread();
        let burst = |n| {
            let handles: Vec<_> = (0..n).map(|_| runtime.spawn_blocking(|| ())).collect();
            runtime.block_on(async {
                for handle in handles {
                    handle.await.unwrap();
                }
            });
        };
        burst(1000);
        Some(time(|| burst(n)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let runtime = multi_thread();
        let trip = || runtime.block_on(runtime.spawn_blocking(|| ())).unwrap();
        trip();
        Some((0..n).map(|_| time(trip)).collect())
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let seen = Seen::default();
        let spent = time(|| {
            let runtime = multi_thread();
            let handles: Vec<_> = (0..n)
                .map(|_| {
                    let seen = seen.clone();
                    runtime.spawn_blocking(move || seen.block(span))
                })
                .collect();
            runtime.block_on(async {
                for handle in handles {
                    handle.await.unwrap();
                }
            });
            runtime
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}

/// With as many threads for blocking calls as there are by default: 512.
fn multi_thread() -> Runtime {
    runtime(true)
}

pub fn runtime(multi_thread: bool) -> Runtime {
    let mut builder = if multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.worker_threads(cores()).enable_all().build().unwrap()
}
