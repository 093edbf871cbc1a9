//! Tasks on a manual clock: what is promised about time that a test moves.

mod closing;
mod by_hand;
mod channels;
mod edges;
mod moments;
mod quiet;
mod rounds;
mod rules;
mod stopping;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{ManualClock, SupervisorBuilder};

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A supervisor on a clock of its own.
pub(crate) fn started(
    settings: impl FnOnce(SupervisorBuilder) -> SupervisorBuilder,
) -> (ManualClock, Supervisor) {
    let clock = ManualClock::new().patience(secs(60));
    let supervisor = settings(Supervisor::builder().seed(1).clock(&clock)).start().unwrap();
    (clock, supervisor)
}

/// Moments at which something happened, on the clock.
#[derive(Clone, Default)]
pub(crate) struct Moments(Arc<Mutex<Vec<Duration>>>);

impl Moments {
    pub(crate) fn note(&self, clock: &ManualClock) {
        self.0.lock().unwrap().push(clock.now());
    }

    #[track_caller]
    pub(crate) fn assert_eq(&self, expected: &[Duration]) {
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

/// Subscribes to the labels of all events, with their times.
pub(crate) fn labels(log: &Arc<Mutex<Vec<(Duration, &'static str)>>>) -> impl FnMut(&Event) {
    let log = Arc::clone(log);
    move |event| log.lock().unwrap().push((event.since_start, event.kind.label()))
}

/// A task that counts its attempts.
pub(crate) fn ticker(name: &str, ticks: &Arc<AtomicU32>) -> TaskSpec {
    let counted = Arc::clone(ticks);
    TaskSpec::new(name, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}
