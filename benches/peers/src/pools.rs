//! Pools of closures: they run them, and leave it to the caller to learn of the end. For that each
//! job has a cell; `rusty_pool` brings its own. Two rows show what they cost without, with one
//! counter for all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPoolBuilder;
use scheduled_thread_pool::ScheduledThreadPool;
use threadpool::ThreadPool;

use crate::peer::{
    blocking_with_cells, burst_with_cells, cores, round_trips_with_cells, time, Blocking, Cell,
    Peer, Seen,
};

pub struct Threadpool;

impl Peer for Threadpool {
    fn name(&self) -> &'static str {
        "`threadpool`, one cell per job"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = ThreadPool::new(cores());
        burst_with_cells(1000, |job| pool.execute(job));
        Some(burst_with_cells(n, |job| pool.execute(job)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let pool = ThreadPool::new(cores());
        Some(round_trips_with_cells(n, |job| pool.execute(job)))
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        Some(blocking_with_cells(n, span, || ThreadPool::new(n), ThreadPool::execute))
    }
}

pub struct Rayon;

impl Peer for Rayon {
    fn name(&self) -> &'static str {
        "`rayon`, one cell per job"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = rayon_pool(cores());
        burst_with_cells(1000, |job| pool.spawn(job));
        Some(burst_with_cells(n, |job| pool.spawn(job)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let pool = rayon_pool(cores());
        Some(round_trips_with_cells(n, |job| pool.spawn(job)))
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        Some(blocking_with_cells(n, span, || rayon_pool(n), rayon::ThreadPool::spawn))
    }
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

pub struct Scheduled;

impl Peer for Scheduled {
    fn name(&self) -> &'static str {
        "`scheduled-thread-pool`, one cell per job"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = ScheduledThreadPool::new(cores());
        let execute = |job| drop(pool.execute(job));
        burst_with_cells(1000, execute);
        Some(burst_with_cells(n, execute))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let pool = ScheduledThreadPool::new(cores());
        Some(round_trips_with_cells(n, |job| drop(pool.execute(job))))
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let make = || ScheduledThreadPool::new(n);
        Some(blocking_with_cells(n, span, make, |pool, job| drop(pool.execute(job))))
    }
}

pub struct RustyPool;

impl Peer for RustyPool {
    fn name(&self) -> &'static str {
        "`rusty_pool`, its own handle per job"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = rusty_pool(cores(), cores());
        let burst = |n| {
            let handles: Vec<_> = (0..n).map(|_| pool.evaluate(|| 7)).collect();
            for handle in handles {
                assert_eq!(handle.await_complete(), 7);
            }
        };
        burst(1000);
        Some(time(|| burst(n)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let pool = rusty_pool(cores(), cores());
        let trip = || assert_eq!(pool.evaluate(|| 7).await_complete(), 7);
        trip();
        Some((0..n).map(|_| time(trip)).collect())
    }

    /// It grows when no worker is idle.
    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let seen = Seen::default();
        let spent = time(|| {
            let pool = rusty_pool(cores(), n);
            let handles: Vec<_> = (0..n)
                .map(|_| {
                    let seen = seen.clone();
                    pool.evaluate(move || seen.block(span))
                })
                .collect();
            for handle in handles {
                handle.await_complete();
            }
            pool
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}

fn rusty_pool(core: usize, max: usize) -> rusty_pool::ThreadPool {
    rusty_pool::ThreadPool::new(core, max, Duration::from_secs(10))
}

pub struct ThreadpoolCounter;

impl Peer for ThreadpoolCounter {
    fn name(&self) -> &'static str {
        "`threadpool`, one counter for all jobs"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = ThreadPool::new(cores());
        burst_with_cells(1000, |job| pool.execute(job));
        Some(burst_with_counter(n, |job| pool.execute(job)))
    }

    fn round_trips(&self, _: usize) -> Option<Vec<Duration>> {
        None
    }

    fn blocking(&self, _: usize, _: Duration) -> Option<Blocking> {
        None
    }
}

pub struct RayonCounter;

impl Peer for RayonCounter {
    fn name(&self) -> &'static str {
        "`rayon`, one counter for all jobs"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = rayon_pool(cores());
        burst_with_cells(1000, |job| pool.spawn(job));
        Some(burst_with_counter(n, |job| pool.spawn(job)))
    }

    fn round_trips(&self, _: usize) -> Option<Vec<Duration>> {
        None
    }

    fn blocking(&self, _: usize, _: Duration) -> Option<Blocking> {
        None
    }
}

/// The last of the jobs fills the one cell that is waited for.
fn burst_with_counter(n: usize, execute: impl Fn(Box<dyn FnOnce() + Send>)) -> Duration {
    time(|| {
        let left = Arc::new((AtomicUsize::new(n), Cell::default()));
        for _ in 0..n {
            let left = Arc::clone(&left);
            execute(Box::new(move || {
                if left.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                    left.1.fill();
                }
            }));
        }
        left.1.wait();
    })
}
