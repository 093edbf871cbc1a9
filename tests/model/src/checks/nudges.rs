//! Hooks that run again and again: somebody always knows when the next run is due, until the guard
//! is gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::Stage;
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::cell::Cell;
use crate::task::fact::Fact;
use crate::task::token::CancelToken;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::{RealTime, Time};
use crate::world;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("nudges: there is always a next run", 2000, there_is_always_a_next_run),
    Check::some("nudges: none after the guard is gone", 2000, none_after_the_guard),
    Check::some("nudges: a slow one is left alone", 2000, a_slow_one_is_left_alone),
    Check::some("nudges: one wake-up serves them all", 2000, one_wake_up_serves_them_all),
];

const PERIOD: Duration = Duration::from_millis(50);

/// As the controller keeps them: when the hooks of the attempt are to be run again.
fn due(stage: &Stage, ran: Option<RealTime>) -> Vec<RealTime> {
    let late = stage.inbox.facts.try_iter().filter_map(|fact| match fact {
        Fact::HooksDue { due, .. } => Some(due),
        _ => None,
    });
    ran.into_iter().chain(late).collect()
}

fn nudge(cell: &Arc<Cell>, runs: &Arc<AtomicUsize>) -> crate::task::guards::CancelGuard {
    let runs = Arc::clone(runs);
    CancelToken(Arc::clone(cell)).on_cancel_every(PERIOD, move || {
        runs.fetch_add(1, Ordering::Relaxed);
    })
}

/// Registered before, while and after the hooks run: it runs, and runs again.
fn there_is_always_a_next_run() {
    let stage = Stage::running();
    let runs = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let bodies = runs.clone().map(|runs| {
        let cell = Arc::clone(&stage.cell);
        thread::spawn(move || nudge(&cell, &runs))
    });
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let ran = stage.cell.has_hooks().then(|| stage.cell.run_hooks()).flatten();
    let guards = bodies.map(|body| body.join().unwrap());
    let mut due_at = due(&stage, ran);
    for round in 2..4 {
        world::advance(PERIOD);
        let now = stage.cell.clock().real.now();
        let before = [&runs[0], &runs[1]].map(|runs| runs.load(Ordering::Relaxed));
        assert!(due_at.iter().any(|due| *due <= now), "round {round}: nobody knows of it");
        let ran = stage.cell.run_hooks();
        for (runs, before) in runs.iter().zip(before) {
            assert!(before >= 1, "it was not run at once");
            assert!(runs.load(Ordering::Relaxed) > before, "round {round}: it was not run again");
        }
        due_at.retain(|due| *due > now);
        due_at.extend(due(&stage, ran));
    }
    drop(guards);
    assert!(!stage.cell.has_hooks());
}

fn none_after_the_guard() {
    let stage = Stage::running();
    let runs = Arc::new(AtomicUsize::new(0));
    let guard = nudge(&stage.cell, &runs);
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let runners = [(); 2].map(|()| {
        let cell = Arc::clone(&stage.cell);
        thread::spawn(move || {
            cell.run_hooks();
            world::advance(PERIOD);
            cell.run_hooks();
        })
    });
    let seen = Arc::clone(&runs);
    let body = thread::spawn(move || {
        drop(guard);
        seen.load(Ordering::Relaxed)
    });
    let when_gone = body.join().unwrap();
    runners.into_iter().for_each(|runner| runner.join().unwrap());
    assert_eq!(runs.load(Ordering::Relaxed), when_gone, "it ran after its guard was gone");
}

/// One that is due again while it still runs is not run beside itself, and its guard gets out.
fn a_slow_one_is_left_alone() {
    let stage = Stage::running();
    let runs = Arc::new(AtomicUsize::new(0));
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let (body, up) = (CancelToken(Arc::clone(&stage.cell)), Arc::clone(&runs));
    let body = thread::spawn(move || {
        drop(body.on_cancel_every(PERIOD, move || {
            world::advance(PERIOD);
            thread::yield_now();
            up.fetch_add(1, Ordering::Relaxed);
        }));
    });
    stage.cell.run_hooks();
    body.join().unwrap();
    assert!(runs.load(Ordering::Relaxed) >= 1);
    assert!(!stage.cell.has_hooks());
}

/// Of all runs that are due, a single one is asked for at each moment.
fn one_wake_up_serves_them_all() {
    let stage = Stage::running();
    let runs = Arc::new(AtomicUsize::new(0));
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let bodies = [(); 3].map(|()| {
        let (cell, runs) = (Arc::clone(&stage.cell), Arc::clone(&runs));
        thread::spawn(move || nudge(&cell, &runs))
    });
    let guards = bodies.map(|body| body.join().unwrap());
    let asked = due(&stage, None);
    assert!(asked.windows(2).all(|pair| pair[0] > pair[1]) || asked.len() == 1, "{asked:?}");
    drop(guards);
}
