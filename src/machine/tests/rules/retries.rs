//! What an error and the spec say of a retry: its delay, how long a streak is retried, and whether
//! it waits for the next run.
//!
//! Sections `Retries` and `The next attempt` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::vocabulary::answer::Return::{self, Failed};
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};

fn growing(spec: Spec) -> Spec {
    spec.backoff(BackoffPolicy::exponential(ms(10), ms(500)).jitter(JitterPolicy::None))
}

/// The task's retry is due then, and a thread has it at once.
#[track_caller]
fn retried_at(rig: &mut Rig, at: Duration) {
    assert!(rig.due_at(at).mentions("start t/"));
    rig.claim("t").whatever();
}

#[test]
fn an_error_sets_the_delay_of_its_one_retry() {
    let mut rig = Rig::new();
    rig.run(growing(task("t")));
    rig.returns("t", Failed).has("* t/1 retry in 10ms, failed");
    retried_at(&mut rig, ms(10));
    rig.fails_for("t", ms(35)).gives(
        "* t/2 failed after 0ns
        * t/2 retry in 35ms, failed",
    );
    retried_at(&mut rig, ms(45));
    // The backoff goes on where it was.
    rig.returns("t", Failed).has("* t/3 retry in 20ms, failed");
    retried_at(&mut rig, ms(65));
    rig.fails_for("t", Duration::ZERO).has("* t/4 retry in 1ms, failed");
    retried_at(&mut rig, ms(66));
    rig.returns("t", Failed).has("* t/5 retry in 40ms, failed");
}

#[test]
fn a_delay_of_an_error_draws_no_number() {
    let delays = |asks: &[bool]| {
        let mut rig = Rig::with_seed(3);
        let backoff = BackoffPolicy::exponential(ms(100), ms(10_000));
        rig.run(task("t").backoff(backoff));
        let mut delays = Vec::new();
        for &asks in asks {
            let now = rig.now();
            if asks {
                rig.fails_for("t", ms(7)).has("* t/2 retry in 7ms, failed");
            } else {
                rig.returns("t", Failed).whatever();
                delays.push(now.until(rig.deadline()));
            }
            rig.due().whatever();
            rig.claim("t").whatever();
        }
        delays
    };
    assert_eq!(delays(&[false, true, false, false]), delays(&[false, false, false]));
}

#[test]
fn a_delay_without_end_is_ended_by_a_request() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.fails_for("t", Duration::MAX).whatever();
    rig.idle();
    rig.at(ms(9)).skip("t").gives(
        "start t/2
        answer true",
    );
}

#[test]
fn a_delay_of_an_error_counts_like_that_of_a_backoff_under_a_pause() {
    for (spec, delay, due) in [
        (task("t").repeat_after(ms(30)), ms(5), ms(30)),
        (task("t").repeat_after(ms(30)), ms(50), ms(50)),
        (task("t").every(ms(20)), ms(5), ms(20)),
        (task("t").every(ms(20)), ms(20), ms(20)),
        (task("t").every(ms(20)), ms(21), ms(40)),
        (task("t").every(ms(20)).retry_early(), ms(21), ms(21)),
        (task("t").repeat_after(ms(30)).retry_early(), ms(5), ms(5)),
    ] {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.fails_for("t", delay).whatever();
        rig.due_at(due).gives("start t/2");
    }
}

#[test]
fn a_delay_of_an_error_grants_no_retry() {
    for spec in [task("t").never(), task("t").once(), task("t").max_retries(0)] {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.fails_for("t", ms(35)).has("deliver t: failed");
    }
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.stop_told("t");
    rig.fails_for("t", ms(35)).has("deliver t: cancelled by stop");
}

/// The error is true, though it comes too late to change that the attempt has failed.
#[test]
fn a_delay_of_an_error_counts_after_the_deadline_and_not_after_a_restart() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.at(ms(6)).fails_for("t", ms(35)).has("* t/1 retry in 35ms, timed_out");
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.at(ms(2)).restart("t").whatever();
    rig.told("t").whatever();
    rig.fails_for("t", ms(35)).has("start t/2");
}

/// Its failure was the abandonment, and what it returns changes nothing.
#[test]
fn a_delay_of_an_error_does_not_count_after_the_abandonment() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(5)).grace(ms(1)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.abandon("t").whatever();
    rig.at(ms(8)).fails_for("t", ms(35)).has("* t/1 retry in 10ms, abandoned");
}

#[test]
fn a_failure_later_than_give_up_after_the_first_of_its_streak_is_final() {
    let mut rig = Rig::new();
    rig.at(ms(4)).run(task("t").give_up_after(ms(20)));
    rig.at(ms(7)).returns("t", Failed).has("* t/1 retry in 10ms, failed");
    retried_at(&mut rig, ms(17));
    rig.returns("t", Return::Panicked).has("* t/2 retry in 10ms, panicked");
    retried_at(&mut rig, ms(27));
    // As late as may be.
    rig.returns("t", Failed).has("* t/3 retry in 10ms, failed");
    retried_at(&mut rig, ms(37));
    rig.returns("t", Failed).has("deliver t: failed");
}

#[test]
fn the_first_failure_is_retried_however_late_it_comes() {
    let mut rig = Rig::new();
    rig.run(task("t").give_up_after(Duration::from_nanos(1)));
    rig.at(ms(900)).returns("t", Failed).has("* t/1 retry in 10ms, failed");
    retried_at(&mut rig, ms(910));
    rig.returns("t", Failed).has("deliver t: failed");
}

#[test]
fn what_ends_a_streak_begins_give_up_after_anew() {
    let mut rig = Rig::new();
    rig.run(task("t").always().give_up_after(ms(15)));
    rig.returns("t", Failed).whatever();
    retried_at(&mut rig, ms(10));
    rig.returns("t", Return::Ok).whatever();
    rig.due_at(ms(11)).whatever();
    rig.claim("t").whatever();
    rig.at(ms(16)).returns("t", Failed).has("* t/3 retry in 10ms, failed");
    retried_at(&mut rig, ms(26));
    rig.at(ms(31)).returns("t", Failed).has("* t/4 retry in 10ms, failed");
    retried_at(&mut rig, ms(41));
    rig.returns("t", Failed).has("deliver t: failed");

    // A stable moment, where that ends the streak.
    let mut rig = Rig::new();
    let spec = task("t").always().give_up_after(ms(15)).plan(|plan| plan.stable_after = ms(30));
    rig.run(spec);
    rig.returns("t", Failed).whatever();
    retried_at(&mut rig, ms(10));
    rig.due_at(ms(40)).gives("* t/2 stable after 1 failures");
    rig.at(ms(41)).returns("t", Failed).has("* t/2 retry in 10ms, failed");
}

/// A restart by hand begins the delays anew, but the streak goes on.
#[test]
fn a_request_does_not_begin_give_up_after_anew() {
    let mut rig = Rig::new();
    rig.run(task("t").give_up_after(ms(15)));
    rig.returns("t", Failed).whatever();
    rig.at(ms(3)).skip("t").whatever();
    rig.claim("t").whatever();
    rig.at(ms(16)).returns("t", Failed).has("deliver t: failed");
}

#[test]
fn an_abandonment_later_than_give_up_after_ends_its_task() {
    let spec = || task("t").give_up_after(ms(20)).timeout(ms(15)).grace(ms(1));
    for spec in [spec(), spec().release_shared()] {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.returns("t", Failed).whatever();
        retried_at(&mut rig, ms(10));
        rig.due_at(ms(25)).whatever();
        rig.told("t").whatever();
        rig.abandon("t").has("deliver t: abandoned, timeout");
    }
}

/// Both budgets hold at once, and each for itself.
#[test]
fn give_up_after_stands_beside_the_other_budgets() {
    for (spec, attempts) in [
        (task("t").give_up_after(ms(35)).max_retries(1), 2),
        (task("t").give_up_after(ms(15)).max_retries(9), 3),
        (task("t").give_up_after(ms(35)).failure_limit(2, ms(100)), 3),
        (task("t").give_up_after(ms(15)).failure_limit(9, ms(100)), 3),
    ] {
        let mut rig = Rig::new();
        rig.run(spec);
        for _ in 1..attempts {
            rig.returns("t", Failed).whatever();
            rig.due().whatever();
            rig.claim("t").whatever();
        }
        rig.returns("t", Failed).has("deliver t: failed");
    }
}

#[test]
fn an_early_retry_comes_after_the_backoff_alone_and_leaves_the_grid() {
    let mut rig = Rig::new();
    rig.run(growing(task("t").every(ms(100)).retry_early()));
    rig.at(ms(5)).returns("t", Failed).has("* t/1 retry in 10ms, failed");
    retried_at(&mut rig, ms(15));
    rig.returns("t", Failed).has("* t/2 retry in 20ms, failed");
    retried_at(&mut rig, ms(35));
    rig.at(ms(36)).returns("t", Return::Ok).has("* t/3 pause for 64ms");
    retried_at(&mut rig, ms(100));
    rig.returns("t", Return::Ok).has("* t/4 pause for 100ms");

    let mut rig = Rig::new();
    rig.run(growing(task("t").repeat_after(ms(100)).retry_early()));
    rig.at(ms(5)).returns("t", Failed).has("* t/1 retry in 10ms, failed");
    retried_at(&mut rig, ms(15));
    rig.returns("t", Return::Ok).has("* t/2 pause for 100ms");
}
