//! The watchdog: a run that makes no progress is ended with all that can be known about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, never, Sender};
use threadvisor::prelude::*;

use crate::world::{contained, lock};
use crate::{round, system};

/// So many looks, a second apart, without progress. Looks, and not time: a process that was stopped
/// has no looks either.
const PATIENCE: usize = 90;

#[derive(Default)]
pub struct Watch {
    steps: AtomicUsize,
    /// What each arena is at.
    stages: Mutex<BTreeMap<usize, Stage>>,
    /// Somebody panicked who should not.
    pub panicked: AtomicBool,
}

struct Stage {
    seed: u64,
    at: &'static str,
    handle: Option<SupervisorHandle>,
}

impl Watch {
    /// Notes progress.
    pub fn note(
        &self,
        arena: usize,
        seed: u64,
        at: &'static str,
        handle: Option<&SupervisorHandle>,
    ) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let old = lock(&self.stages).insert(arena, Stage { seed, at, handle: handle.cloned() });
        // It may bring the report of the end with it.
        contained(|| drop(old));
    }

    /// What an arena is at.
    pub fn stage(&self, arena: usize) -> &'static str {
        lock(&self.stages).get(&arena).map_or("was not begun", |stage| stage.at)
    }

    /// Looks on until the sender is dropped.
    pub fn start(&'static self, seed: u64) -> Sender<()> {
        let (end, ended) = bounded::<()>(0);
        let look = move || {
            let (mut before, mut looks) = (0, 0);
            while ended.recv_timeout(Duration::from_secs(1)).is_err_and(|error| error.is_timeout())
            {
                let steps = self.steps.load(Ordering::Relaxed);
                looks = if steps == before { looks + 1 } else { 0 };
                before = steps;
                if looks >= PATIENCE {
                    self.dump(seed);
                    std::process::abort();
                }
            }
        };
        // Before anything can be scarce.
        thread::Builder::new().name("watchdog".into()).spawn(look).expect("a first thread");
        end
    }

    fn dump(&self, seed: u64) {
        eprintln!("chaos hangs: THREADVISOR_CHAOS_SEED={seed}");
        for (arena, stage) in &*lock(&self.stages) {
            eprintln!("arena {arena}, supervisor {}: {}", stage.seed, stage.at);
            let Some(handle) = stage.handle.clone() else { continue };
            let (say, said) = bounded(1);
            let ask = move || drop(say.send(handle.snapshot().map(|it| it.to_string())));
            if thread::Builder::new().spawn(ask).is_ok() {
                eprintln!("{:?}", said.recv_timeout(Duration::from_secs(5)));
            }
        }
        // More than once: who is stuck, who is busy and who only came by shows in the difference.
        for _ in 0..3 {
            eprintln!("{}", system::thread_report());
            nap(Duration::from_secs(2));
        }
    }
}

/// The controllers that logged values as leaked, by the names of their threads.
static LEAKS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn controller_of(seed: u64) -> String {
    format!("ctl-{}", round::name_of(seed))
}

/// This thread has logged that values are leaked.
pub fn leak_heard() {
    lock(&LEAKS).insert(thread::current().name().unwrap_or_default().to_owned());
}

/// Whether that was logged for a supervisor, since this was last asked.
pub fn take_leak(seed: u64) -> bool {
    lock(&LEAKS).remove(&controller_of(seed))
}

/// Lets time pass.
pub fn nap(span: Duration) {
    let _ = never::<()>().recv_timeout(span);
}
