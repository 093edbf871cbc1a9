//! The least that could do: a queue, as many threads as there are cores, a cell for each job.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::peer::{
    blocking_with_cells, burst_with_cells, cores, round_trips_with_cells, Blocking, Peer,
};

pub struct Bare;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    state: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

struct Pool {
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let queue = Arc::new(Queue::default());
        let worker = |_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.work())
        };
        Self { workers: (0..threads).map(worker).collect(), queue }
    }

    fn execute(&self, job: Job) {
        self.queue.state.lock().unwrap().0.push_back(job);
        self.queue.changed.notify_one();
    }
}

impl Queue {
    fn work(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(job) = state.0.pop_front() {
                drop(state);
                job();
                state = self.state.lock().unwrap();
            } else if state.1 {
                return;
            } else {
                state = self.changed.wait(state).unwrap();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state.lock().unwrap().1 = true;
        self.queue.changed.notify_all();
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

impl Peer for Bare {
    fn name(&self) -> &'static str {
        "a bare pool of mutex and condvar"
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        let pool = Pool::new(cores());
        burst_with_cells(1000, |job| pool.execute(job));
        Some(burst_with_cells(n, |job| pool.execute(job)))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        let pool = Pool::new(cores());
        Some(round_trips_with_cells(n, |job| pool.execute(job)))
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        Some(blocking_with_cells(n, span, || Pool::new(n), Pool::execute))
    }
}
