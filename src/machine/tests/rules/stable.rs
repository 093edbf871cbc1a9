//! When an attempt is stable, and what that ends; and warnings about attempts that are too short.
//!
//! Section `Retries` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::machine::Input;
use crate::vocabulary::answer::Return::{Failed, Fatal, Ok, Panicked};
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};

/// Stable after 100 ms, with delays of 10, 20, 40 and 80 ms.
fn spec() -> Spec {
    let backoff = BackoffPolicy::exponential(ms(10), ms(80)).jitter(JitterPolicy::None);
    task("t").backoff(backoff).plan(|plan| plan.stable_after = ms(100))
}

fn stated() -> Spec {
    spec().plan(|plan| plan.stable_is_stated = true)
}

/// The first attempts fail immediately, and the next one is claimed.
fn fails(rig: &mut Rig, times: u32) {
    for _ in 0..times {
        rig.returns("t", Failed).whatever();
        rig.due().whatever();
        rig.claim("t").whatever();
    }
}

/// After two failures, the third attempt runs from 30 to 130 ms.
fn in_streak(spec: Spec) -> Rig {
    let mut rig = Rig::new();
    rig.run(spec);
    fails(&mut rig, 2);
    assert_eq!((rig.streak("t"), rig.now().since_start()), (2, ms(30)));
    rig
}

#[test]
fn a_stable_moment_ends_the_streak_of_a_resident_task_and_the_delays_of_every_task() {
    for (spec, streak) in [(spec(), 2), (stated(), 0), (spec().always(), 0)] {
        let mut rig = in_streak(spec);
        rig.due_at(ms(130)).gives("* t/3 stable after 2 failures");
        assert_eq!((rig.state("t"), rig.streak("t")), ("running", streak));
        rig.idle();
        rig.at(ms(500)).returns("t", Failed).gives(
            "* t/3 failed after 470ms
            * t/3 retry in 10ms, failed",
        );
        assert_eq!(rig.streak("t"), streak + 1);
    }
}

#[test]
fn outside_of_a_streak_there_is_no_timer_and_no_event() {
    let mut rig = Rig::new();
    rig.run(stated());
    rig.idle();
    rig.at(ms(500)).returns("t", Failed).has("* t/1 retry in 10ms, failed");
    // The first streak begins with this failure.
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.due_at(ms(610)).gives("* t/2 stable after 1 failures");
}

#[test]
fn an_attempt_with_a_timeout_proves_nothing_by_running() {
    for spec in [stated().timeout(ms(150)), stated().always().timeout(ms(150))] {
        let mut rig = in_streak(spec);
        rig.due_at(ms(130)).gives("* t/3 stable after 2 failures");
        assert_eq!(rig.streak("t"), 2);
        // The delays have begun anew even so, and the timeout counts as ever.
        rig.due_at(ms(180)).has("tell t/3 timeout until 280ms");
        rig.told("t").whatever();
        rig.returns("t", Ok).has("* t/3 retry in 10ms, timed_out");
        assert_eq!(rig.streak("t"), 3);
    }
}

#[test]
fn an_attempt_that_is_told_before_that_moment_does_not_become_stable() {
    let mut rig = in_streak(stated().timeout(ms(99)));
    rig.due_at(ms(129)).gives("tell t/3 timeout until 229ms");
    rig.told("t").whatever();
    rig.at(ms(200)).returns("t", Ok).has("* t/3 retry in 40ms, timed_out");
    // Also not if both are noticed at once.
    let mut rig = in_streak(stated().timeout(ms(99)));
    rig.wake_at(ms(300)).gives("tell t/3 timeout until 400ms");
}

#[test]
fn a_return_after_that_moment_counts_even_if_the_timer_was_late() {
    let mut rig = in_streak(stated());
    rig.late_at(ms(131)).returns("t", Panicked).gives(
        "* t/3 stable after 2 failures
        * t/3 panicked after 101ms
        * t/3 retry in 10ms, panicked",
    );
    let mut rig = in_streak(stated());
    rig.at(ms(129)).returns("t", Panicked).has("* t/3 retry in 40ms, panicked");
}

#[test]
fn a_claim_that_comes_with_the_return_counts_the_same() {
    let mut rig = Rig::new();
    rig.run(stated());
    rig.returns("t", Failed).whatever();
    rig.due().whatever();
    let (attempt, claimed_at) = (rig.attempt("t"), rig.now());
    let at = rig.late_at(ms(120)).now();
    let ret = Failed;
    let (told, dropped, retry_after) = (None, false, None);
    rig.input(Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after }).gives(
        "* t/2 starting
        * t/2 stable after 1 failures
        * t/2 failed after 110ms
        * t/2 retry in 10ms, failed",
    );
}

#[test]
fn a_budget_of_retries_begins_anew_with_the_streak() {
    let mut rig = in_streak(stated().max_retries(2));
    assert!(!rig.finality("t").failure, "the worker cannot know");
    rig.due_at(ms(130)).whatever();
    fails(&mut rig, 2);
    rig.returns("t", Failed).has("deliver t: failed");
    // Without that moment, the third failure is the last.
    in_streak(stated().max_retries(2)).returns("t", Failed).has("deliver t: failed");
}

#[test]
fn silence_puts_the_moment_off_until_after_the_next_sign_of_life() {
    let mut rig = Rig::new();
    rig.run(stated().watched(ms(80)));
    fails(&mut rig, 1);
    for at in [20, 40, 60, 80] {
        rig.look_at(ms(at), "t", false).gives("");
    }
    rig.look_at(ms(100), "t", false).has("* t/2 silent for 90ms");
    // 110 ms passes in silence.
    rig.look_at(ms(120), "t", false).gives("");
    rig.look_at(ms(140), "t", true).gives("* t/2 responsive");
    for at in [160, 180, 200, 220] {
        rig.look_at(ms(at), "t", true).gives("");
    }
    rig.due_at(ms(240)).gives(
        "* t/2 stable after 1 failures
        look at t/2",
    );
}

#[test]
fn a_moved_deadline_neither_repeats_nor_forgets_that_moment() {
    let mut rig = in_streak(stated().timeout(ms(60)));
    rig.due_at(ms(90)).gives("tell t/3 timeout until 190ms");
    rig.moved("t", ms(200)).gives("");
    rig.due_at(ms(130)).gives("* t/3 stable after 2 failures");
    rig.due_at(ms(200)).gives("tell t/3 timeout until 300ms");
    rig.moved("t", ms(600)).gives("");
    assert_eq!(rig.deadline().since_start(), ms(600), "it is not stable a second time");
}

#[test]
fn whoever_asks_for_the_next_attempt_begins_the_delays_anew() {
    let mut rig = in_streak(spec());
    rig.returns("t", Failed).has("* t/3 retry in 40ms, failed");
    rig.skip("t").has("answer true");
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.returns("t", Failed).has("* t/4 retry in 10ms, failed");
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.restart("t").has("tell t/5 restart until 141ms");
    rig.told("t").whatever();
    rig.returns("t", Ok).whatever();
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.returns("t", Failed).has("* t/6 retry in 10ms, failed");
    assert_eq!(rig.streak("t"), 5, "the streak goes on");
}

/// Short runs, of which each is followed by the next.
fn runs(rig: &mut Rig, n: u32, long: u64) -> bool {
    let mut warned = false;
    for _ in 0..n {
        let at = rig.now().after(ms(long)).since_start();
        let orders = rig.at(at).returns("t", Ok);
        warned |= orders.mentions("100 runs shorter than 10ms");
        if rig.state("t") == "waiting" {
            rig.due().whatever();
        }
        rig.claim("t").whatever();
    }
    warned
}

#[test]
fn a_hundred_short_runs_in_a_row_are_a_warning_once() {
    let mut rig = Rig::new();
    rig.run(task("t").always());
    assert!(!runs(&mut rig, 99, 9) && !runs(&mut rig, 1, 10) && !runs(&mut rig, 99, 9));
    // A failure ends the row as well.
    rig.returns("t", Failed).whatever();
    rig.due().whatever();
    rig.claim("t").whatever();
    assert!(!runs(&mut rig, 99, 0));
    assert!(runs(&mut rig, 1, 0));
    assert!(!runs(&mut rig, 500, 0), "it is said once");
}

#[test]
fn short_runs_with_a_pause_between_them_are_as_intended() {
    for spec in [task("t").repeat_after(ms(1)), task("t").every(ms(2))] {
        let mut rig = Rig::new();
        rig.run(spec);
        assert!(!runs(&mut rig, 250, 0));
    }
}

#[test]
fn a_fatal_error_after_a_stable_moment_is_fatal() {
    let mut rig = in_streak(stated());
    rig.due_at(ms(130)).whatever();
    rig.returns("t", Fatal).has("deliver t: fatal");
}
