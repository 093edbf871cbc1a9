//! Attempts that say that others may rely on them, and those that have to.
//!
//! Section `Deadlines, watchdog, grace, abandonment` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Orders, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::{Return, TellAnswer};
use crate::vocabulary::time::Time;

/// "t" says it at `at`, claimed at `since`, and is overdue at `until` from then on.
fn says(rig: &mut Rig, since: Duration, at: Duration, until: Option<Duration>) -> Orders {
    let [claimed_at, at] = [since, at].map(|span| Time::ZERO.after(span));
    let until = until.map_or(Time::NEVER, |span| Time::ZERO.after(span));
    let attempt = rig.attempt("t");
    rig.input(Input::Ready { attempt, claimed_at, at, until })
}

/// The answer to `Tell`: it was ready before.
fn never_due(rig: &mut Rig) -> Orders {
    let (attempt, answer) = (rig.attempt("t"), TellAnswer::DeadlineMoved(Time::NEVER));
    rig.input(Input::TellAnswered { attempt, answer })
}

/// "t" runs since 0 and has to be ready at 10 ms.
fn awaited() -> Rig {
    let mut rig = Rig::new();
    rig.run(task("t").ready_within(ms(10)));
    rig
}

#[test]
fn one_that_is_ready_in_time_has_no_deadline_any_more() {
    let mut rig = awaited();
    says(rig.at(ms(7)), ms(0), ms(7), None).gives("* t/1 ready after 7ms");
    rig.idle();
}

#[test]
fn one_that_is_not_is_overdue() {
    let mut rig = awaited();
    rig.due_at(ms(10)).gives("tell t/1 timeout until 110ms");
    rig.told("t").gives(
        "* t/1 overdue after 10ms
        examine t/1",
    );
    rig.at(ms(12)).returns("t", Return::Cancelled).gives(
        "* t/1 timed_out after 12ms late by 2ms
        * t/1 retry in 10ms, timed_out",
    );
    // Each attempt has to say it anew.
    rig.due_at(ms(22)).gives("start t/2");
    rig.claim("t").whatever();
    rig.due_at(ms(32)).has("tell t/2 timeout until 132ms");
}

#[test]
fn then_its_timeout_counts() {
    let mut rig = Rig::new();
    rig.run(task("t").ready_within(ms(10)).timeout(ms(30)));
    says(rig.at(ms(7)), ms(0), ms(7), Some(ms(30))).gives("* t/1 ready after 7ms");
    rig.due_at(ms(30)).gives("tell t/1 timeout until 130ms");
}

/// The word and the timer cross; the cell knows which was first.
#[test]
fn one_that_was_ready_just_before_it_was_told_runs_on() {
    for report_first in [false, true] {
        let mut rig = awaited();
        rig.due_at(ms(10)).gives("tell t/1 timeout until 110ms");
        if report_first {
            says(&mut rig, ms(0), ms(9), None).gives("* t/1 ready after 9ms");
            never_due(&mut rig).gives("");
        } else {
            never_due(&mut rig).gives("");
            says(&mut rig, ms(0), ms(9), None).gives("* t/1 ready after 9ms");
        }
        assert_eq!(rig.state("t"), "running");
        rig.idle();
    }
}

#[test]
fn a_word_that_overtakes_the_report_of_the_claim_brings_it() {
    let mut rig = Rig::new();
    rig.submit(task("t")).whatever();
    says(rig.at(ms(3)), ms(1), ms(2), None).gives(
        "* t/1 starting
        * t/1 ready after 1ms",
    );
    rig.claim("t").gives("");
    rig.returns("t", Return::Ok).has("* t ended: completed");
}

#[test]
fn a_word_of_an_attempt_that_is_over_says_nothing() {
    let mut rig = Rig::new();
    rig.run(task("t").ready_within(ms(10)).grace(ms(0)));
    rig.due_at(ms(10)).has("abandon t/1");
    rig.told("t").whatever();
    rig.abandoned("t").has("* t/1 abandoned after 10ms, timeout");
    says(&mut rig, ms(0), ms(9), None).gives("");
    rig.returns("t", Return::Ok).whatever();
    says(&mut rig, ms(0), ms(9), None).gives("");
}
