//! `set_interval`: which tasks have one, the wait that is under way, and the grid.
//!
//! Section `The next attempt` of `guide::rules`.

use core::time::Duration;

use super::states_and_events::rig;
use crate::machine::tests::rig::{ms, task, Rig};
use crate::vocabulary::answer::Return;
use crate::vocabulary::backoff::BackoffPolicy;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn only_a_task_that_has_an_interval_can_get_another() {
    for state in
        ["queued", "runnable", "starting", "running", "interrupted", "abandoned", "waiting"]
    {
        rig(state).set_interval("t", ms(9)).gives("answer false");
    }
    for spec in [task("t").repeat_after(ms(500)), task("t").every(ms(500))] {
        let mut rig = Rig::new();
        rig.run(spec.clone());
        rig.set_interval("t", Duration::ZERO).gives("answer false");
        rig.set_interval("t", ms(30)).gives("answer true");
        rig.returns("t", Return::Ok).has("* t/1 pause for 30ms");
        // Where nothing follows, there is nothing to set.
        let mut rig = Rig::new();
        rig.run(spec);
        rig.stop("t").whatever();
        rig.set_interval("t", ms(30)).gives("answer false");
        rig.told("t").whatever();
        rig.returns("t", Return::Ok).whatever();
        rig.set_interval("t", ms(30)).gives("answer false");
    }
}

#[test]
fn a_wait_that_is_under_way_ends_as_if_the_interval_had_been_that_one() {
    for (spec, interval, at, due) in [
        (task("t").repeat_after(HOUR), ms(30), ms(20), Some(ms(35))),
        (task("t").repeat_after(HOUR), ms(30), ms(700), None),
        (task("t").repeat_after(ms(30)), HOUR, ms(20), Some(HOUR + ms(5))),
        (task("t").every(HOUR), ms(30), ms(20), Some(ms(30))),
        (task("t").every(HOUR), ms(30), ms(700), None),
        (task("t").every(ms(30)), HOUR, ms(20), Some(HOUR)),
        (task("t").every(ms(30)), ms(3), ms(20), None),
    ] {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.at(ms(5)).returns("t", Return::Ok).whatever();
        match due {
            Some(due) => {
                rig.at(at).set_interval("t", interval).gives("answer true");
                rig.due_at(due).gives("start t/2");
            }
            None => rig.at(at).set_interval("t", interval).gives("start t/2\n answer true"),
        }
    }
}

#[test]
fn a_wait_for_ever_takes_the_interval_too() {
    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(Duration::MAX));
    rig.returns("t", Return::Ok).whatever();
    rig.idle();
    rig.at(ms(5)).set_interval("t", ms(30)).gives("answer true");
    rig.at(ms(6)).set_interval("t", Duration::MAX).gives("answer true");
    rig.idle();
    rig.at(ms(7)).set_interval("t", ms(30)).gives("answer true");
    rig.due_at(ms(30)).gives("start t/2");
}

/// The delay of the backoff stays what it was.
#[test]
fn a_retry_comes_no_sooner_than_its_own_delay() {
    let backoff = BackoffPolicy::constant(ms(50));
    for (spec, interval, due) in [
        (task("t").repeat_after(HOUR), ms(30), ms(55)),
        (task("t").repeat_after(HOUR), ms(70), ms(75)),
        (task("t").repeat_after(ms(70)), HOUR, HOUR + ms(5)),
        (task("t").every(HOUR), ms(30), ms(60)),
        (task("t").every(ms(60)), HOUR, HOUR),
        (task("t").every(HOUR).retry_early(), ms(30), ms(55)),
        (task("t").repeat_after(HOUR).retry_early(), ms(70), ms(55)),
    ] {
        let mut rig = Rig::new();
        rig.run(spec.backoff(backoff));
        rig.at(ms(5)).returns("t", Return::Failed).whatever();
        rig.at(ms(20)).set_interval("t", interval).gives("answer true");
        rig.due_at(due).gives("start t/2");
    }
}

#[test]
fn the_grid_is_anchored_at_the_next_start() {
    // Told while it runs: the next start is on a grid from its last start, and begins the new one.
    let mut rig = Rig::new();
    rig.at(ms(3)).run(task("t").every(ms(10)));
    rig.at(ms(4)).returns("t", Return::Ok).whatever();
    rig.due_at(ms(13)).whatever();
    rig.at(ms(15)).claim("t").whatever();
    rig.at(ms(16)).set_interval("t", ms(40)).gives("answer true");
    rig.at(ms(17)).returns("t", Return::Ok).has("* t/2 pause for 38ms");
    rig.due_at(ms(55)).whatever();
    rig.at(ms(56)).claim("t").whatever();
    rig.at(ms(60)).returns("t", Return::Ok).has("* t/3 pause for 36ms");
    // And then it stays, though a thread comes late.
    rig.due_at(ms(96)).whatever();
    rig.at(ms(99)).claim("t").whatever();
    rig.at(ms(100)).returns("t", Return::Ok).has("* t/4 pause for 36ms");

    // Told while it waits.
    let mut rig = Rig::new();
    rig.at(ms(3)).run(task("t").every(HOUR));
    rig.at(ms(4)).returns("t", Return::Ok).whatever();
    rig.at(ms(700)).set_interval("t", ms(30)).has("start t/2");
    rig.claim("t").whatever();
    rig.at(ms(710)).returns("t", Return::Ok).has("* t/2 pause for 20ms");

    // Told before the first start, which is the anchor anyway.
    let mut rig = Rig::new();
    rig.submit(task("t").every(HOUR)).whatever();
    rig.set_interval("t", ms(30)).gives("answer true");
    rig.at(ms(7)).claim("t").whatever();
    rig.at(ms(10)).returns("t", Return::Ok).has("* t/1 pause for 27ms");
}

#[test]
fn other_waits_stay_as_they_are() {
    let mut rig = Rig::new();
    rig.submit(task("t").every(HOUR).initial_delay(ms(80))).whatever();
    rig.at(ms(5)).set_interval("t", ms(30)).gives("answer true");
    rig.due_at(ms(80)).gives("start t/1");

    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(HOUR));
    rig.returns("t", Return::Ok).whatever();
    rig.pause("t").whatever();
    rig.at(ms(50)).set_interval("t", ms(30)).gives("answer true");
    rig.idle();
    rig.at(ms(60)).resume("t").has("start t/2");

    // A pause that is over leaves a wait for the grid, which is a wait like any other.
    let mut rig = Rig::new();
    rig.run(task("t").every(ms(40)));
    rig.pause("t").whatever();
    rig.at(ms(5)).returns("t", Return::Ok).whatever();
    rig.at(ms(50)).resume("t").gives("* t resumed\n answer true");
    rig.at(ms(51)).set_interval("t", ms(70)).gives("answer true");
    rig.due_at(ms(70)).gives("start t/2");
}

#[test]
fn two_starts_stay_a_millisecond_apart() {
    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(HOUR));
    rig.returns("t", Return::Ok).whatever();
    rig.set_interval("t", Duration::from_nanos(1)).gives("answer true");
    rig.due_at(ms(1)).gives("start t/2");
}
