//! Runs checks under schedule after schedule, two checks at a time, and says what was run.
//!
//! | variable | means | without it |
//! |---|---|---|
//! | `MODEL_ONLY` | only checks whose name contains this | all |
//! | `MODEL_TIMES` | so many times as many schedules (shuttle) | 1 |
//! | `MODEL_SEED` | where the schedules begin (shuttle) | 1 |
//! | `MODEL_REPLAY` | the schedule that a failure printed; `MODEL_ONLY` names its check (shuttle) | – |
//! | `MODEL_PREEMPTIONS` | all schedules with at most so many preemptions (loom) | 2 |

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::search;
use crate::world::{self, Timers};

/// A promise, and threads that try to break it.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) effort: Effort,
    pub(crate) timers: Timers,
    run: fn(),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Small enough for every schedule there is.
    Every,
    /// So many schedules at random, and as many of those with few preemptions.
    Some(usize),
}

impl Check {
    pub(crate) const fn every(name: &'static str, run: fn()) -> Self {
        Self { name, effort: Effort::Every, timers: Timers::Never, run }
    }

    pub(crate) const fn some(name: &'static str, schedules: usize, run: fn()) -> Self {
        let effort = Effort::Some(schedules);
        Self { name, effort, timers: Timers::Never, run }
    }

    /// Timers fire at any time.
    pub(crate) const fn timed(self) -> Self {
        Self { timers: Timers::Any, ..self }
    }

    /// One execution.
    pub(crate) fn run(&self) {
        world::begin(self.timers);
        (self.run)();
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number is wanted"))
}

pub(crate) fn run(lists: &[&[Check]]) -> ExitCode {
    let only = env::var("MODEL_ONLY").unwrap_or_default();
    let wanted = |check: &Check| check.name.contains(&only) && search::can(check);
    let checks: Vec<_> = lists.concat().into_iter().filter(wanted).collect();
    let (next, failed, schedules) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let began = world::real_time();
    let serve = || {
        while let Some(&check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
            match on_a_thread_of_its_own(check) {
                Some(count) => {
                    schedules.fetch_add(count, Ordering::Relaxed);
                }
                None => {
                    println!("FAILED  {}", check.name);
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(serve);
        scope.spawn(serve);
    });
    let (failed, schedules) = (failed.into_inner(), schedules.into_inner());
    let (count, took) = (checks.len(), began.elapsed().as_secs_f32());
    println!("{count} checks, {failed} failed, {schedules} schedules, {took:.1} s");
    if failed > 0 || count == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A failed execution leaves its thread unusable.
#[allow(clippy::disallowed_methods, reason = "without a thread nothing can be checked")]
fn on_a_thread_of_its_own(check: Check) -> Option<usize> {
    std::thread::spawn(move || timed(check)).join().ok()
}

/// Says how many schedules it went through. Panics at one that breaks the promise.
fn timed(check: Check) -> usize {
    let began = world::real_time();
    let schedules = search::search(check);
    println!("{schedules:8} schedules {:6} ms  {}", began.elapsed().as_millis(), check.name);
    schedules
}
