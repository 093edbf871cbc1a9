//! Bodies that ask for more time: the machine hears of it when it tells them of a deadline that has
//! moved.
//!
//! Section `Deadlines, watchdog, grace, abandonment` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Rig};
use crate::vocabulary::answer::Return;

/// "t" runs since 0 with a deadline of 10 ms, has moved it, and has just been told of it.
fn told_of_the_old_deadline() -> Rig {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)));
    rig.due_at(ms(10)).gives("tell t/1 timeout until 110ms");
    rig
}

#[test]
fn a_deadline_that_was_moved_is_waited_for() {
    let mut rig = told_of_the_old_deadline();
    rig.moved("t", ms(35)).gives("");
    assert_eq!(rig.state("t"), "running");
    rig.due_at(ms(35)).gives("tell t/1 timeout until 135ms");
    rig.told("t").gives(
        "* t/1 overdue after 35ms
        examine t/1",
    );
    rig.at(ms(40)).returns("t", Return::Ok).gives(
        "* t/1 timed_out after 40ms late by 5ms ok
        * t/1 retry in 10ms, timed_out",
    );
}

#[test]
fn it_may_be_moved_again_and_again() {
    let mut rig = told_of_the_old_deadline();
    for at in [20, 50, 51, 90] {
        rig.moved("t", ms(at)).gives("");
        rig.due_at(ms(at)).gives(&format!("tell t/1 timeout until {}ms", at + 100));
    }
    rig.told("t").has("* t/1 overdue after 90ms");
}

#[test]
fn one_that_returns_in_the_time_it_asked_for_was_in_time() {
    let mut rig = told_of_the_old_deadline();
    rig.moved("t", ms(35)).gives("");
    rig.at(ms(30)).returns("t", Return::Ok).gives(
        "* t/1 succeeded after 30ms ok
        * t ended: completed
        deliver t: completed
        forget t
        forget slot t",
    );
    rig.idle();
}

/// The answer comes so late that the new deadline has passed as well.
#[test]
fn a_moved_deadline_that_has_passed_is_due_at_once() {
    let mut rig = told_of_the_old_deadline();
    rig.at(ms(20)).moved("t", ms(15)).gives("");
    rig.due().gives("tell t/1 timeout until 120ms");
}

#[test]
fn a_deadline_moved_for_ever_is_waited_for_no_more() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)));
    rig.due().whatever();
    rig.moved("t", core::time::Duration::MAX).gives("");
    rig.idle();
    rig.at(ms(99)).stop("t").has("tell t/1 stop until 104ms");
}

#[test]
fn the_next_attempt_has_the_deadline_of_the_plan() {
    let mut rig = told_of_the_old_deadline();
    rig.moved("t", ms(35)).whatever();
    rig.at(ms(30)).returns("t", Return::Failed).whatever();
    rig.due_at(ms(40)).gives("start t/2");
    rig.claim("t").whatever();
    rig.due_at(ms(50)).gives("tell t/2 timeout until 150ms");
}

/// The stop thought that the body had been told of its deadline.
#[test]
fn a_stop_that_came_between_is_told_instead() {
    let mut rig = told_of_the_old_deadline();
    rig.at(ms(12)).stop("t").gives(
        "* t slot terminating
        finalize t/1 until 110ms",
    );
    rig.at(ms(13)).moved("t", ms(35)).gives("tell t/1 stop until 113ms");
    assert_eq!(rig.slot("t"), "t terminating since 12ms");
    rig.told("t").gives("");
    rig.at(ms(20)).returns("t", Return::Failed).has("deliver t: cancelled by stop");
}

#[test]
fn a_replace_that_came_between_is_told_with_its_own_reason() {
    let mut rig = told_of_the_old_deadline();
    rig.submit(task("new").slot("t").replace()).has("finalize t/1 until 110ms");
    rig.moved("t", ms(35)).gives("tell t/1 replace until 110ms");
    rig.told("t").whatever();
    let orders = rig.at(ms(20)).returns("t", Return::Ok);
    orders.has("deliver t: cancelled by replace, ok");
    orders.has("start new/1");
}

/// The grace of the stop begins when it is told, within what the shutdown leaves.
#[test]
fn a_shutdown_that_came_between_bounds_the_grace() {
    let mut rig = Rig::with(|limits| limits.grace = ms(50));
    rig.run(task("t").timeout(ms(10)));
    rig.due().whatever();
    rig.at(ms(12)).shutdown().has("finalize t/1 until 62ms");
    rig.at(ms(13)).moved("t", ms(35)).gives("tell t/1 shutdown until 62ms");
    rig.told("t").whatever();
    rig.abandon("t").has("deliver t: abandoned, shutdown, asked by shutdown");
}

#[test]
fn a_signal_that_came_between_leaves_no_grace() {
    let mut rig = told_of_the_old_deadline();
    rig.signal().whatever();
    // The body is not known to have been told; it is given up, which finds that it was not.
    rig.wake_at(ms(340)).gives("abandon t/1");
    rig.signal().has("restore signals");
    rig.moved("t", ms(500)).gives(
        "tell t/1 shutdown until 340ms
        abandon t/1",
    );
    rig.not_abandoned("t").gives("");
    rig.told("t").gives("");
    rig.abandoned("t").has("deliver t: abandoned, shutdown, asked by shutdown");
}

#[test]
fn a_body_without_grace_that_was_not_told_is_not_given_up() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(0)));
    rig.due_at(ms(10)).gives(
        "tell t/1 timeout until 10ms
        abandon t/1",
    );
    rig.moved("t", ms(35)).gives("");
    rig.not_abandoned("t").gives("");
    assert_eq!(rig.state("t"), "running");
    rig.due_at(ms(35)).gives(
        "tell t/1 timeout until 35ms
        abandon t/1",
    );
    rig.told("t").has("* t/1 overdue after 35ms");
    rig.abandoned("t").has("* t/1 abandoned after 35ms, timeout");
}

/// The same with the answers the other way round.
#[test]
fn that_it_was_not_given_up_may_be_heard_first() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(0)));
    rig.due_at(ms(10)).whatever();
    rig.not_abandoned("t").gives("");
    rig.idle();
    rig.moved("t", ms(35)).gives("");
    rig.due_at(ms(35)).has("tell t/1 timeout until 35ms");
}

#[test]
fn without_grace_a_stop_that_came_between_gives_it_up() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(0)));
    rig.due_at(ms(10)).whatever();
    rig.stop("t").whatever();
    rig.moved("t", ms(35)).gives(
        "tell t/1 stop until 10ms
        abandon t/1",
    );
    rig.abandoned("t").has("deliver t: abandoned, stop, asked by stop");
}

#[test]
fn whoever_asks_for_more_time_is_alive() {
    let mut rig = Rig::new();
    rig.run(task("t").guarded(ms(40)).timeout(ms(35)));
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.due_at(ms(35)).gives("tell t/1 timeout until 135ms");
    rig.moved("t", ms(100)).gives("");
    // Three misses before do not count, nor does a look just after it.
    for at in [40, 50, 60, 70] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(80), "t", false).gives(
        "* t/1 silent for 45ms
        examine t/1
        tell t/1 unresponsive until 180ms",
    );
}

/// It was silent, and to ask for more time is a sign of life.
#[test]
fn a_silent_attempt_that_asked_for_more_time_has_resumed() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)).timeout(ms(45)));
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", false).has("* t/1 silent for 40ms");
    rig.due_at(ms(45)).gives("tell t/1 timeout until 145ms");
    rig.moved("t", ms(100)).gives("* t/1 responsive");
    rig.look_at(ms(50), "t", true).gives("");
}

#[test]
fn a_silent_attempt_that_asked_for_more_time_and_is_stopped_has_resumed_first() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)).timeout(ms(45)));
    for at in [10, 20, 30, 40] {
        rig.look_at(ms(at), "t", false).whatever();
    }
    rig.due_at(ms(45)).whatever();
    rig.stop("t").whatever();
    rig.moved("t", ms(100)).gives(
        "* t/1 responsive
        tell t/1 stop until 145ms",
    );
}

#[test]
fn the_moved_deadline_and_the_next_look_share_the_timer() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)).timeout(ms(5)));
    rig.due_at(ms(5)).whatever();
    rig.moved("t", ms(38)).whatever();
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", true).gives("");
    }
    rig.due_at(ms(38)).gives("tell t/1 timeout until 138ms");
}

#[test]
fn a_restart_is_told_whatever_the_deadline() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)));
    rig.at(ms(5)).restart("t").has("tell t/1 restart until 105ms");
    rig.told("t").gives("");
    rig.at(ms(12)).returns("t", Return::Ok).has("start t/2");
}
