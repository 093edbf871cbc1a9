//! Timeouts, grace and abandoned attempts that are held.
//!
//! Section `Deadlines, watchdog, grace, abandonment` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::{AbandonAnswer, Return, RevokeAnswer, TellAnswer};

/// "t" outlived its deadline of 10 ms and its grace of 5 ms and was abandoned, its heir waiting.
fn abandoned() -> Rig {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)).max_retries(1));
    rig.submit(task("heir").slot("t")).whatever();
    rig.due_at(ms(10)).whatever();
    rig.told("t").whatever();
    rig.due_at(ms(15)).whatever();
    rig.abandoned("t").whatever();
    rig
}

#[test]
fn the_run_clock_starts_at_the_claim() {
    let mut rig = Rig::new();
    rig.submit(task("t").timeout(ms(10))).whatever();
    rig.idle();
    rig.at(ms(40)).claim("t").gives("* t/1 starting");
    rig.due_at(ms(50)).gives("tell t/1 timeout until 150ms");
    rig.told("t").gives(
        "* t/1 overdue after 10ms
        examine t/1",
    );
    assert_eq!(rig.state("t"), "stopping");
}

#[test]
fn a_claim_reported_late_counts_from_when_it_was() {
    let mut rig = Rig::new();
    rig.submit(task("t").timeout(ms(10)).expires_in(ms(30))).whatever();
    rig.due_at(ms(30)).whatever();
    rig.at(ms(35)).not_revoked("t").whatever();
    rig.due_at(ms(45)).has("tell t/1 timeout until 145ms");
}

#[test]
fn no_retry_starts_before_the_body_has_returned() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.at(ms(60)).returns("t", Return::Cancelled).gives(
        "* t/1 timed_out after 60ms late by 50ms
        * t/1 retry in 10ms, timed_out",
    );
    rig.due_at(ms(70)).gives("start t/2");
    // The next attempt has a deadline of its own.
    rig.at(ms(75)).claim("t").whatever();
    rig.due_at(ms(85)).has("tell t/2 timeout until 185ms");
}

/// It returned before the deadline reached it: nothing was told, so nothing was late.
#[test]
fn a_body_that_returned_before_it_was_told_is_not_overdue() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)));
    rig.due().gives("tell t/1 timeout until 110ms");
    rig.not_told("t").gives("");
    rig.at(ms(11)).returns("t", Return::Ok).has("deliver t: completed");
}

#[test]
fn a_body_that_outlives_its_grace_is_abandoned_and_holds_slot_and_permit() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)));
    rig.due_at(ms(10)).whatever();
    rig.told("t").whatever();
    rig.due_at(ms(15)).gives("abandon t/1");
    assert_eq!(rig.state("t"), "stopping", "only the answer decides");
    rig.abandoned("t").gives(
        "* t/1 abandoned after 15ms, timeout
        examine t/1
        * t slot terminating",
    );
    assert_eq!((rig.state("t"), rig.permits()), ("abandoned", (1, 0)));
    rig.idle();
    assert!(!rig.is_idle(), "its outcome is open");
}

#[test]
fn a_body_that_returned_before_it_was_abandoned_ends_as_told() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.due().whatever();
    rig.not_abandoned("t").gives("");
    rig.idle();
    rig.at(ms(16)).returns("t", Return::Ok).gives(
        "* t/1 timed_out after 16ms late by 6ms ok
        * t/1 retry in 10ms, timed_out",
    );
}

#[test]
fn an_abandoned_attempt_with_a_retry_left_is_retried_when_it_has_returned() {
    let mut rig = abandoned();
    assert_eq!(rig.slot("t"), "t terminating since 15ms");
    // What it returns is only reported.
    rig.at(ms(100)).returns("t", Return::Panicked).gives(
        "* t/1 returned panicked, late by 85ms
        * t slot no longer terminating
        * t/1 retry in 10ms, abandoned",
    );
    assert_eq!((rig.state("t"), rig.permits()), ("waiting", (0, 0)));
    rig.due_at(ms(110)).gives("start t/2");
    // It counted as a failure.
    rig.claim("t").whatever();
    rig.returns("t", Return::Failed).has("deliver t: failed");
}

#[test]
fn a_fatal_error_of_an_abandoned_attempt_ends_its_task() {
    let mut rig = abandoned();
    rig.at(ms(100)).returns_dropped("t", Return::Fatal).gives(
        "* t/1 returned fatal, late by 85ms
        * t ended: fatal
        * t slot no longer terminating
        * heir admitted
        start heir/1
        deliver t: fatal
        forget t",
    );
}

#[test]
fn an_abandonment_is_a_failure_too_many_only_while_the_window_holds_the_last_one() {
    for (window, too_many) in [(25, false), (26, true)] {
        let mut rig = Rig::new();
        rig.run(task("t").failure_limit(1, ms(window)).timeout(ms(10)).grace(ms(5)));
        rig.returns("t", Return::Failed).whatever();
        rig.due_at(ms(10)).has("start t/2");
        rig.claim("t").whatever();
        rig.due_at(ms(20)).whatever();
        rig.told("t").whatever();
        rig.due_at(ms(25)).whatever();
        let over = rig.abandoned("t").after("deliver t: abandoned").is_some();
        assert_eq!(over, too_many, "a window of {window} ms");
    }
}

#[test]
fn an_abandoned_attempt_without_a_retry_has_its_outcome_at_once() {
    let mut rig = Rig::new();
    rig.run(task("t").never().timeout(ms(10)).grace(ms(5)));
    rig.submit(task("heir").slot("t")).whatever();
    rig.due().whatever();
    rig.told("t").whatever();
    rig.due().whatever();
    rig.abandoned("t").gives(
        "* t/1 abandoned after 15ms, timeout
        examine t/1
        * t slot terminating
        finalize t/1 until 15ms
        * t ended: abandoned, timeout
        deliver t: abandoned, timeout",
    );
    // This one outcome is out while the slot is held.
    assert_eq!((rig.state("t"), rig.state("heir")), ("abandoned", "queued"));
    rig.stop("t").gives("");
    rig.stop_slot("t").has("answer owner_asked=false removed=1");
    rig.submit(task("next").slot("t")).whatever();
    rig.at(ms(99)).returns("t", Return::Panicked).gives(
        "* t/1 returned panicked, late by 84ms
        * t slot no longer terminating
        * next admitted
        start next/1
        forget t",
    );
}

#[test]
fn a_stop_decides_the_outcome_of_an_abandoned_attempt() {
    let mut rig = abandoned();
    rig.at(ms(20)).stop("t").gives(
        "finalize t/1 until 20ms
        * t ended: abandoned, timeout, asked by stop
        deliver t: abandoned, timeout, asked by stop",
    );
    assert_eq!(rig.slot("t"), "t terminating since 15ms");
    rig.stop("t").gives("");
    rig.at(ms(30)).returns("t", Return::Ok).orders(
        "start heir/1
        forget t",
    );
}

#[test]
fn a_replace_decides_it_too_and_waits_for_the_return() {
    let mut rig = abandoned();
    let orders = rig.submit(task("new").slot("t").replace());
    orders.has("deliver heir: rejected(superseded by new)");
    orders.has("deliver t: abandoned, timeout, asked by replace");
    orders.has_none("start");
    rig.at(ms(30)).returns("t", Return::Ok).has("start new/1");
}

#[test]
fn told_to_stop_and_abandoned_has_its_outcome_at_once() {
    let mut rig = Rig::new();
    rig.run(task("t").grace(ms(5)));
    rig.at(ms(1)).stop("t").gives(
        "* t slot terminating
        tell t/1 stop until 6ms",
    );
    rig.told("t").whatever();
    rig.due_at(ms(6)).gives("abandon t/1");
    rig.abandoned("t").gives(
        "* t/1 abandoned after 6ms, stop
        examine t/1
        finalize t/1 until 6ms
        * t ended: abandoned, stop, asked by stop
        deliver t: abandoned, stop, asked by stop",
    );
}

#[test]
fn a_stop_on_top_of_a_deadline_keeps_the_grace_that_runs() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.at(ms(13)).stop("t").has("finalize t/1 until 15ms");
    rig.due_at(ms(15)).gives("abandon t/1");
    rig.abandoned("t").has("deliver t: abandoned, timeout, asked by stop");
}

#[test]
fn abandoned_after_a_restart_is_a_failure() {
    let mut rig = Rig::new();
    rig.run(task("t").max_retries(0).grace(ms(5)));
    rig.restart("t").whatever();
    rig.told("t").whatever();
    rig.due().whatever();
    rig.abandoned("t").has("deliver t: abandoned, restart");
}

#[test]
fn a_grace_of_zero_abandons_in_the_same_step() {
    let mut rig = Rig::new();
    rig.run(task("t").grace(ms(0)));
    rig.at(ms(1)).stop("t").gives(
        "* t slot terminating
        tell t/1 stop until 1ms
        abandon t/1",
    );
    rig.idle();
    rig.told("t").gives("");
    rig.abandoned("t").has("deliver t: abandoned, stop, asked by stop");

    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(0)));
    rig.due_at(ms(10)).gives(
        "tell t/1 timeout until 10ms
        abandon t/1",
    );
}

#[test]
fn a_grace_without_end_abandons_never() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(Duration::MAX));
    rig.due().gives("tell t/1 timeout until never");
    rig.told("t").whatever();
    rig.idle();
    rig.at(ms(3_600_000)).returns("t", Return::Ok).has("* t/1 retry in 10ms, timed_out");
}

#[test]
fn a_deadline_without_end_passes_never() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(Duration::MAX));
    rig.idle();
}

/// Whichever of the answers and the report comes first counts; the others find the attempt gone.
#[test]
fn answers_that_come_after_the_report_are_stale() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(0)));
    rig.due().whatever();
    rig.returns_told("t", Some(crate::vocabulary::reason::CancelReason::Timeout), Return::Ok)
        .whatever();
    let stale = rig.stale();
    rig.told("t").gives("");
    rig.abandoned("t").gives("");
    rig.returns("t", Return::Ok).gives("");
    rig.claim("t").gives("");
    assert_eq!(rig.stale(), stale + 4);
    rig.due_at(ms(20)).has("start t/2");
}

#[test]
fn what_is_said_about_an_earlier_attempt_is_stale() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    let attempt = rig.attempt("t");
    rig.returns("t", Return::Failed).whatever();
    rig.due().whatever();
    rig.claim("t").whatever();
    let at = rig.now();
    for input in [
        Input::Claimed { attempt, at },
        Input::Returned {
            attempt,
            claimed_at: at,
            at,
            told: None,
            ret: Return::Ok,
            dropped: false,
            retry_after: None,
        },
        Input::RevokeAnswered { attempt, answer: RevokeAnswer::Revoked },
        Input::TellAnswered { attempt, answer: TellAnswer::AlreadyReturned },
        Input::AbandonAnswered { attempt, answer: AbandonAnswer::Abandoned { last: false } },
    ] {
        rig.input(input).gives("");
    }
    assert_eq!((rig.state("t"), rig.stale()), ("running", 5));
}
