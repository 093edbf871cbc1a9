//! How long a start takes at most, as the controller of a real supervisor finds it.

use std::sync::{Mutex, PoisonError};

use super::super::tests::started;
use super::*;
use crate::task::spec::TaskSpec;
use crate::vocabulary::backoff::BackoffPolicy;

/// What the latest turn has found: nobody can ask a controller for it.
static BOUND: Mutex<Option<Duration>> = Mutex::new(None);

fn run_and_look(controller: &mut Controller) {
    loop {
        controller.turn();
        let bound = controller.start_bound();
        *BOUND.lock().unwrap_or_else(PoisonError::into_inner) = bound;
        if controller.shutdown.finished {
            return;
        }
        controller.wait();
    }
}

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_start_has_a_bound_while_each_required_task_has_one_and_none_has_failed() {
    let (door, handle, _events) = started(run_and_look);
    let bound = || {
        // Of two questions that are answered, the turn of the first is over.
        let _ = (handle.snapshot().unwrap(), handle.snapshot().unwrap());
        *BOUND.lock().unwrap_or_else(PoisonError::into_inner)
    };
    let sleeps = |name, within| {
        let spec = TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?));
        spec.ready_within(within).required()
    };
    assert_eq!(bound(), Some(Duration::ZERO), "nobody is waited for");

    let first = handle.add(sleeps("first", LONG)).unwrap();
    first.wait_started().unwrap();
    let found = bound().unwrap();
    assert!(found <= LONG && found > LONG / 2, "{found:?}");
    // One that has not begun has all of its time.
    let second = handle.add(sleeps("second", 3 * LONG).initial_delay(LONG)).unwrap();
    assert_eq!(bound(), Some(3 * LONG));
    let third = TaskSpec::new("third", |_| Ok(())).initial_delay(LONG).required();
    let third = handle.add(third).unwrap();
    assert_eq!(bound(), None, "it does not say when it is ready");
    third.cancel();
    let _ = third.wait().unwrap();
    assert_eq!(bound(), Some(3 * LONG));
    second.cancel();
    let _ = second.wait().unwrap();

    let fails = TaskSpec::new("fails", |_| Err("no carrier")?);
    let fails = fails.backoff(BackoffPolicy::constant(LONG)).ready_within(LONG).required();
    let fails = handle.add(fails).unwrap();
    while handle.snapshot().unwrap().task(fails.id()).unwrap().failures == 0 {}
    assert_eq!(bound(), None, "it has failed");
    fails.cancel();
    let _ = fails.wait().unwrap();
    assert!(bound().is_some());
    let gone = TaskSpec::once("gone", |_| Err("no such device")?).required();
    let _ = handle.add(gone).unwrap().wait().unwrap();
    assert_eq!(bound(), None, "it has failed for good");
    handle.request_shutdown();
    door.wait_ended();
}
