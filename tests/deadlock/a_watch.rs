//! A watch over all locks of parking_lot, for as long as the process lives: threads that wait for
//! each other end it. Locks are all it sees, neither condition variables nor joins.
//!
//! A step of `.ci/run` puts this into a copy of the tests, with the feature `deadlock_detection`:
//! its packages need a newer compiler than the crate does.

use std::io::{stderr, Write};
use std::process::abort;
use std::thread;
use std::time::Duration;

use parking_lot::deadlock::check_deadlock;
use threadvisor::crossbeam_channel::after;

/// The first test by its name, and the only one that looks: each cycle is reported once.
#[test]
fn is_kept() {
    let watch = || loop {
        let _ = after(Duration::from_millis(100)).recv();
        let cycles = check_deadlock();
        for thread in cycles.iter().flatten() {
            let (id, trace) = (thread.thread_id(), thread.backtrace());
            // Not by `eprintln`, whose output is kept for the end of a test that has ended.
            let _ = writeln!(stderr(), "DEADLOCK, thread {id:?}\n{trace:#?}");
        }
        if !cycles.is_empty() {
            abort();
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).unwrap();
}
