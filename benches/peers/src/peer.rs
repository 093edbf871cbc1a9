//! What every peer is asked to do, and the parts they share.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// A way to have work done on other threads. Each method sets up what it needs, warms it up, and
/// times only the work; what a peer cannot do is `None`.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// How many tasks a burst has: fewer for those that would take long.
    fn burst_size(&self) -> usize {
        100_000
    }

    /// `n` bodies that do nothing handed over one by one; every one's end awaited.
    fn burst(&self, n: usize) -> Option<Duration>;

    /// One body handed over and its end awaited, `n` times.
    fn round_trips(&self, n: usize) -> Option<Vec<Duration>>;

    /// From the request that a running, sleeping body should end to the word that it has, `n`
    /// times.
    fn cancels(&self, _n: usize) -> Option<Vec<Duration>> {
        None
    }

    /// `n` bodies that each block their thread for `span`, handed over at once.
    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking>;
}

pub struct Blocking {
    pub spent: Duration,
    /// How many threads ran them.
    pub threads: usize,
}

/// Workers of a pool of fixed size.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get)
}

pub fn time<R>(work: impl FnOnce() -> R) -> Duration {
    let began = Instant::now();
    let result = work();
    let spent = began.elapsed();
    drop(result);
    spent
}

/// One awaited result: what a user of a bare pool writes.
#[derive(Default)]
pub struct Cell {
    done: Mutex<bool>,
    changed: Condvar,
}

impl Cell {
    pub fn fill(&self) {
        *self.done.lock().unwrap() = true;
        self.changed.notify_one();
    }

    pub fn wait(&self) {
        let mut done = self.done.lock().unwrap();
        while !*done {
            done = self.changed.wait(done).unwrap();
        }
    }
}

/// A burst on a pool of closures, a cell for each.
pub fn burst_with_cells(n: usize, execute: impl Fn(Box<dyn FnOnce() + Send>)) -> Duration {
    time(|| {
        let cells: Vec<_> = (0..n)
            .map(|_| {
                let cell = Arc::new(Cell::default());
                let filled = Arc::clone(&cell);
                execute(Box::new(move || filled.fill()));
                cell
            })
            .collect();
        for cell in &cells {
            cell.wait();
        }
        cells
    })
}

pub fn round_trips_with_cells(
    n: usize,
    execute: impl Fn(Box<dyn FnOnce() + Send>),
) -> Vec<Duration> {
    let trip = || {
        let cell = Arc::new(Cell::default());
        let filled = Arc::clone(&cell);
        execute(Box::new(move || filled.fill()));
        cell.wait();
    };
    trip();
    (0..n).map(|_| time(trip)).collect()
}

/// The threads that blocking bodies ran on.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashSet<ThreadId>>>);

impl Seen {
    /// What a blocking body does.
    pub fn block(&self, span: Duration) {
        self.0.lock().unwrap().insert(thread::current().id());
        thread::sleep(span);
    }

    pub fn threads(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Blocking bodies on a pool that is made for them, with a thread each: its making is part of it.
pub fn blocking_with_cells<P>(
    n: usize,
    span: Duration,
    make: impl FnOnce() -> P,
    execute: impl Fn(&P, Box<dyn FnOnce() + Send>),
) -> Blocking {
    let seen = Seen::default();
    let spent = time(|| {
        let pool = make();
        let cells: Vec<_> = (0..n)
            .map(|_| {
                let cell = Arc::new(Cell::default());
                let (filled, seen) = (Arc::clone(&cell), seen.clone());
                execute(
                    &pool,
                    Box::new(move || {
                        seen.block(span);
                        filled.fill();
                    }),
                );
                cell
            })
            .collect();
        for cell in &cells {
            cell.wait();
        }
        pool
    });
    Blocking { spent, threads: seen.threads() }
}
