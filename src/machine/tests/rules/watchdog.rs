//! The watchdog: looks for signs of life, what silence leads to, and when the looking ends.
//!
//! Section `Deadlines, watchdog, grace, abandonment` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::reason::CancelReason;

/// "t" runs since 0 under a watchdog that reports after 40 ms, so that it looks every 10 ms.
fn watched() -> Rig {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)));
    rig
}

/// The same, with a watchdog that cancels.
fn guarded() -> Rig {
    let mut rig = Rig::new();
    rig.run(task("t").guarded(ms(40)));
    rig
}

/// Four looks find nothing, the last of them at 40 ms.
#[track_caller]
fn fall_silent(rig: &mut Rig) {
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", false).has("* t/1 silent for 40ms");
}

#[test]
fn it_looks_four_times_in_the_silence_it_allows_at_the_points_of_a_grid() {
    let mut rig = Rig::new();
    rig.submit(task("t").watched(ms(40))).whatever();
    rig.idle();
    rig.at(ms(5)).claim("t").gives("* t/1 starting");
    for at in [10, 20, 30, 40, 50, 60] {
        rig.look_at(ms(at), "t", true).gives("");
    }
}

#[test]
fn attempts_with_the_same_watchdog_are_looked_at_together() {
    let mut rig = Rig::new();
    for (at, name) in [(1, "a"), (4, "b"), (9, "c")] {
        rig.at(ms(at));
        rig.run(task(name).watched(ms(40)));
    }
    for at in [10, 20, 30] {
        rig.due_at(ms(at)).gives(
            "look at a/1
            look at b/1
            look at c/1",
        );
        for name in ["a", "b", "c"] {
            rig.looked(name, true).gives("");
        }
    }
}

/// The claim is a sign of life. A first look that follows it closely only tells whether there was
/// another one since.
#[test]
fn silence_takes_at_least_its_span_and_at_most_a_quarter_more_whenever_the_last_sign_was() {
    for claim in [0, 1, 9] {
        for alive_at_first in [false, true] {
            let mut rig = Rig::new();
            rig.submit(task("t").watched(ms(40))).whatever();
            rig.at(ms(claim)).claim("t").whatever();
            rig.look_at(ms(10), "t", alive_at_first).gives("");
            for at in [20, 30] {
                rig.look_at(ms(at), "t", false).gives("");
            }
            if claim == 0 && !alive_at_first {
                rig.look_at(ms(40), "t", false).has("* t/1 silent for 40ms");
                continue;
            }
            rig.look_at(ms(40), "t", false).gives("");
            let since = if alive_at_first { 10 } else { claim };
            let line = format!("* t/1 silent for {}ms", 50 - since);
            rig.look_at(ms(50), "t", false).has(&line);
        }
    }
}

/// No body is silent before its time because the controller was late; nor is it long after.
#[test]
fn after_a_late_look_the_next_is_at_the_nearest_point_a_quarter_later() {
    let mut rig = watched();
    rig.wake_at(ms(14)).gives("look at t/1");
    rig.looked("t", false).gives("");
    rig.look_at(ms(20), "t", false).gives("");
    rig.wake_at(ms(36)).gives("look at t/1");
    rig.looked("t", false).gives("");
    rig.look_at(ms(50), "t", false).has("* t/1 silent for 50ms");
}

#[test]
fn a_claim_reported_late_counts_from_when_it_was() {
    let mut rig = Rig::new();
    rig.submit(task("t").watched(ms(40))).whatever();
    let (attempt, at) = (rig.attempt("t"), rig.at(ms(5)).now());
    rig.at(ms(12)).input(Input::Claimed { attempt, at }).whatever();
    rig.wake_at(ms(12)).gives("look at t/1");
    rig.looked("t", false).gives("");
    for at in [20, 30, 40] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(50), "t", false).has("* t/1 silent for 45ms");
}

#[test]
fn an_attempt_without_a_watchdog_is_not_looked_at() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.idle();
}

#[test]
fn a_silence_without_end_is_allowed_without_looking() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(Duration::MAX));
    rig.idle();
}

#[test]
fn four_looks_in_a_row_that_find_nothing_make_an_attempt_silent() {
    let mut rig = watched();
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", false).gives(
        "* t/1 silent for 40ms
        examine t/1",
    );
    assert_eq!(rig.state("t"), "running", "this policy does no more than say so");
    // It is said once.
    for at in [50, 60, 70, 80, 90] {
        rig.look_at(ms(at), "t", false).gives("");
    }
}

#[test]
fn a_sign_of_life_begins_the_count_anew() {
    let mut rig = watched();
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", true).gives("");
    for at in [50, 60, 70] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(80), "t", false).has("* t/1 silent for 40ms");
}

#[test]
fn a_silent_attempt_that_resumes_may_fall_silent_again() {
    let mut rig = watched();
    fall_silent(&mut rig);
    rig.look_at(ms(50), "t", false).gives("");
    rig.look_at(ms(60), "t", true).gives("* t/1 responsive");
    rig.look_at(ms(70), "t", true).gives("");
    for at in [80, 90, 100] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(110), "t", false).gives(
        "* t/1 silent for 40ms
        examine t/1",
    );
    rig.look_at(ms(120), "t", true).gives("* t/1 responsive");
}

/// What a silent body returns is judged as ever, if it was not told.
#[test]
fn a_silent_attempt_that_was_only_reported_ends_as_it_returns() {
    let mut rig = watched();
    fall_silent(&mut rig);
    rig.at(ms(45)).returns("t", Return::Ok).has("deliver t: completed");
    rig.idle();
}

/// More looks than the count of them can hold.
#[test]
fn a_very_long_silence_is_counted_without_overflow() {
    let mut rig = watched();
    fall_silent(&mut rig);
    for look in 5..=600_u64 {
        rig.look_at(ms(10 * look), "t", false).gives("");
    }
    rig.look_at(ms(6010), "t", true).gives("* t/1 responsive");
}

#[test]
fn a_guarded_attempt_is_told_with_the_fourth_miss() {
    let mut rig = guarded();
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", false).gives(
        "* t/1 silent for 40ms
        examine t/1
        tell t/1 unresponsive until 140ms",
    );
    rig.told("t").gives("");
    assert_eq!(rig.state("t"), "stopping");
}

#[test]
fn unresponsive_is_a_failure_that_is_retried() {
    let mut rig = guarded();
    fall_silent(&mut rig);
    rig.told("t").whatever();
    rig.at(ms(60)).returns("t", Return::Ok).gives(
        "* t/1 unresponsive after 60ms late by 20ms ok
        * t/1 retry in 10ms, unresponsive",
    );
    rig.due_at(ms(70)).gives("start t/2");
    // The next attempt has a watch of its own.
    rig.at(ms(75)).claim("t").whatever();
    for at in [80, 90, 100, 110] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(120), "t", false).has("tell t/2 unresponsive until 220ms");
}

#[test]
fn unresponsive_without_a_retry_is_the_outcome() {
    for ret in [Return::Ok, Return::Failed, Return::Cancelled] {
        let mut rig = Rig::new();
        rig.run(task("t").guarded(ms(40)).never());
        fall_silent(&mut rig);
        rig.told("t").whatever();
        let orders = rig.at(ms(41)).returns("t", ret);
        orders.has("* t ended: unresponsive");
        orders.has("deliver t: unresponsive");
    }
}

#[test]
fn a_panic_of_an_unresponsive_body_is_judged_as_unresponsive() {
    let mut rig = guarded();
    fall_silent(&mut rig);
    rig.told("t").whatever();
    rig.at(ms(41)).returns("t", Return::Panicked).has("* t/1 retry in 10ms, unresponsive");
}

#[test]
fn an_unresponsive_body_that_outlives_its_grace_is_abandoned() {
    let mut rig = guarded();
    fall_silent(&mut rig);
    rig.told("t").whatever();
    rig.abandon("t").has("* t/1 abandoned after 140ms, unresponsive");
    rig.at(ms(150)).stop("t").has("deliver t: abandoned, unresponsive, asked by stop");
}

/// It came back before it was told: nothing was told, so it ends as it returns.
#[test]
fn a_body_that_returned_before_it_was_told_is_not_unresponsive() {
    let mut rig = guarded();
    fall_silent(&mut rig);
    rig.not_told("t").gives("");
    rig.at(ms(41)).returns("t", Return::Ok).has("deliver t: completed");
}

#[test]
fn a_stop_on_top_of_unresponsive_takes_the_retry_away() {
    let mut rig = guarded();
    fall_silent(&mut rig);
    rig.told("t").whatever();
    rig.at(ms(50)).stop("t").gives(
        "* t slot terminating
        finalize t/1 until 140ms",
    );
    let orders = rig.at(ms(60)).returns("t", Return::Ok);
    orders.has("* t/1 unresponsive after 60ms late by 20ms ok");
    orders.has("deliver t: cancelled by stop, ok");
}

/// Whatever is told first: no look follows, and an answer that is still under way means nothing.
#[test]
fn the_looking_ends_with_the_first_tell() {
    for told in [CancelReason::Stop, CancelReason::Restart, CancelReason::Shutdown] {
        let mut rig = Rig::new();
        rig.run(task("t").guarded(ms(40)).grace(Duration::MAX));
        for at in [10, 20, 30] {
            rig.look_at(ms(at), "t", false).gives("");
        }
        rig.due_at(ms(40)).gives("look at t/1");
        match told {
            CancelReason::Restart => rig.restart("t").whatever(),
            CancelReason::Shutdown => rig.shutdown().whatever(),
            _ => rig.stop("t").whatever(),
        }
        rig.looked("t", false).gives("");
        rig.told("t").gives("");
        assert!(rig.deadline() > rig.now().after(ms(900)), "{told}: it is still looked at");
    }
}

#[test]
fn a_look_that_is_answered_after_the_return_is_stale() {
    let mut rig = guarded();
    rig.due_at(ms(10)).gives("look at t/1");
    rig.returns("t", Return::Failed).whatever();
    let stale = rig.stale();
    rig.looked("t", false).gives("");
    assert_eq!(rig.stale(), stale + 1);
}

/// The box was suspended: a look comes three seconds late, and is one look.
#[test]
fn looks_missed_by_a_suspended_box_are_not_made_up_for() {
    let mut rig = guarded();
    rig.look_at(ms(10), "t", false).gives("");
    rig.wake_at(ms(3000)).gives("look at t/1");
    rig.looked("t", false).gives("");
    rig.look_at(ms(3010), "t", false).gives("");
    rig.look_at(ms(3020), "t", false).gives(
        "* t/1 silent for 3.02s
        examine t/1
        tell t/1 unresponsive until 3.12s",
    );
}

#[test]
fn deadline_and_look_share_one_timer() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)).timeout(ms(25)));
    rig.look_at(ms(10), "t", false).gives("");
    rig.look_at(ms(20), "t", false).gives("");
    rig.due_at(ms(25)).gives("tell t/1 timeout until 125ms");
    rig.told("t").whatever();
    // Nothing looks any more.
    rig.due_at(ms(125)).gives("abandon t/1");
}

#[test]
fn a_deadline_and_a_look_of_the_same_moment_are_the_deadline() {
    let mut rig = Rig::new();
    rig.run(task("t").guarded(ms(40)).timeout(ms(40)));
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.due_at(ms(40)).gives("tell t/1 timeout until 140ms");
}

#[test]
fn a_silence_that_is_only_reported_does_not_delay_the_deadline() {
    let mut rig = Rig::new();
    rig.run(task("t").watched(ms(40)).timeout(ms(45)));
    fall_silent(&mut rig);
    rig.due_at(ms(45)).gives("tell t/1 timeout until 145ms");
    rig.told("t").has("* t/1 overdue after 45ms");
}

#[test]
fn a_watch_longer_than_the_deadline_never_looks() {
    let mut rig = Rig::new();
    rig.run(task("t").guarded(ms(400)).timeout(ms(25)));
    rig.due_at(ms(25)).gives("tell t/1 timeout until 125ms");
}

/// A grace of zero: told and given up with the fourth miss.
#[test]
fn silence_without_grace_is_abandoned_in_the_same_step() {
    let mut rig = Rig::new();
    rig.run(task("t").guarded(ms(40)).grace(ms(0)));
    for at in [10, 20, 30] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(40), "t", false).gives(
        "* t/1 silent for 40ms
        examine t/1
        tell t/1 unresponsive until 40ms
        abandon t/1",
    );
    rig.idle();
}
