//! `std::thread::spawn` and `join`: what one writes without any library. The cancel is hand-made: a
//! flag and a condition variable on which the body sleeps.

use std::sync::mpsc::sync_channel;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::peer::{time, Blocking, Cell, Peer, Seen};

pub struct Threads;

impl Peer for Threads {
    fn name(&self) -> &'static str {
        "`thread::spawn`, `join`"
    }

    fn burst_size(&self) -> usize {
        10_000
    }

    fn burst(&self, n: usize) -> Option<Duration> {
        Some(time(|| {
            // The short ones end as fast as they are made, so that there are never many.
            let threads: Vec<_> = (0..n).map(|_| thread::spawn(|| ())).collect();
            for thread in threads {
                thread.join().unwrap();
            }
        }))
    }

    fn round_trips(&self, n: usize) -> Option<Vec<Duration>> {
        Some((0..n).map(|_| time(|| thread::spawn(|| ()).join().unwrap())).collect())
    }

    fn cancels(&self, n: usize) -> Option<Vec<Duration>> {
        let cancel = |_| {
            let (ready_in, ready) = sync_channel(1);
            let flag = Arc::new(Cell::default());
            let told = Arc::clone(&flag);
            let thread = thread::spawn(move || {
                ready_in.send(()).unwrap();
                told.wait();
            });
            ready.recv().unwrap();
            time(|| {
                flag.fill();
                thread.join().unwrap();
            })
        };
        Some((0..n).map(cancel).collect())
    }

    fn blocking(&self, n: usize, span: Duration) -> Option<Blocking> {
        let seen = Seen::default();
        let spent = time(|| {
            let threads: Vec<_> = (0..n)
                .map(|_| {
                    let seen = seen.clone();
                    thread::spawn(move || seen.block(span))
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        Some(Blocking { spent, threads: seen.threads() })
    }
}
