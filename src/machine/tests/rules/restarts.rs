//! Whether and when a task runs again: policies, pauses, backoff and budgets.
//!
//! Sections `Retries` and `The next attempt` of `guide::rules`.

use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::machine::tests::rig_groups::group;
use crate::vocabulary::answer::Return::{self, Failed, Panicked};
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};
use crate::vocabulary::reason::CancelReason;

const OK: Return = Return::Ok;

/// Runs "t" and lets each attempt run for a while and return so; gives when each attempt but the
/// first began, in ms. The last attempt has to end the task.
fn starts(spec: Spec, attempts: &[(u64, Return)]) -> Vec<u64> {
    let mut rig = Rig::new();
    rig.run(spec);
    let mut now = ms(0);
    let mut starts = Vec::new();
    for (n, &(runs, ret)) in (1..).zip(attempts) {
        now += ms(runs);
        rig.at(now).returns("t", ret).whatever();
        if rig.state("t") == "waiting" {
            now = rig.deadline().since_start();
            rig.due().has(&format!("start t/{}", n + 1));
        }
        if n < attempts.len() {
            assert_eq!(rig.state("t"), "starting", "after attempt {n}");
            starts.push(u64::try_from(now.as_millis()).expect("a short script"));
            rig.claim("t").whatever();
        }
    }
    assert_eq!(rig.state("t"), "gone", "the last attempt was not the last");
    starts
}

fn growing() -> BackoffPolicy {
    BackoffPolicy::exponential(ms(10), ms(50)).jitter(JitterPolicy::None)
}

#[test]
fn never_runs_once_whatever_it_returns() {
    for ret in [OK, Failed, Panicked] {
        assert_eq!(starts(task("t").never(), &[(1, ret)]), []);
    }
}

#[test]
fn on_failure_runs_until_it_succeeds() {
    assert_eq!(starts(task("t"), &[(1, Failed), (1, Panicked), (1, OK)]), [11, 22]);
}

#[test]
fn always_runs_again_after_a_success_too() {
    let spec = task("t").always();
    let attempts = [(5, OK), (5, Failed), (5, OK), (5, Return::Fatal)];
    assert_eq!(starts(spec, &attempts), [5, 20, 25]);
}

#[test]
fn two_starts_are_a_millisecond_apart() {
    let spec = task("t").always();
    assert_eq!(starts(spec, &[(0, OK), (0, OK), (0, OK), (0, Return::Fatal)]), [1, 2, 3]);
    let spec = task("t").repeat_after(Duration::from_micros(1));
    assert_eq!(starts(spec, &[(0, OK), (0, OK), (0, Return::Fatal)]), [1, 2]);
    let spec = task("t").every(Duration::from_micros(1));
    assert_eq!(starts(spec, &[(0, OK), (0, OK), (0, Return::Fatal)]), [1, 2]);
    // A millisecond after the last start is late enough, without another wait.
    let mut rig = Rig::new();
    rig.run(task("t").always());
    rig.at(ms(1)).returns("t", OK).gives(
        "* t/1 succeeded after 1ms ok
        * t/1 pause for 0ns
        start t/2",
    );
    let hasty = BackoffPolicy::constant(Duration::ZERO);
    let spec = task("t").backoff(hasty).max_retries(2);
    assert_eq!(starts(spec, &[(0, Failed), (0, Failed), (0, Failed)]), [1, 2]);
}

#[test]
fn backoff_grows_up_to_its_cap() {
    let spec = task("t").backoff(growing());
    let failures = [(0, Failed), (0, Failed), (0, Failed), (0, Failed), (0, Failed), (0, OK)];
    assert_eq!(starts(spec, &failures), [10, 30, 70, 120, 170]);
}

#[test]
fn a_success_begins_the_backoff_anew() {
    let spec = task("t").always().backoff(growing());
    let attempts = [(1, Failed), (1, Failed), (1, OK), (1, Failed), (1, Return::Fatal)];
    assert_eq!(starts(spec, &attempts), [11, 32, 33, 44]);
}

#[test]
fn every_waits_from_the_end_of_one_attempt_to_the_next() {
    let spec = task("t").repeat_after(ms(30));
    assert_eq!(starts(spec, &[(5, OK), (40, OK), (5, Return::Fatal)]), [35, 105]);
    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(ms(30)));
    rig.at(ms(5)).returns("t", OK).gives(
        "* t/1 succeeded after 5ms ok
        * t/1 pause for 30ms",
    );
    assert_eq!(rig.state("t"), "waiting");
    assert_eq!(rig.permits(), (0, 0), "what waits holds no permit");
    rig.due_at(ms(35)).gives("start t/2");
}

#[test]
fn a_failure_under_every_waits_for_the_longer_of_backoff_and_pause() {
    let spec = task("t").repeat_after(ms(30)).backoff(growing());
    let attempts = [(0, Failed), (0, Failed), (0, Failed), (0, Failed), (0, Return::Fatal)];
    assert_eq!(starts(spec, &attempts), [30, 60, 100, 150]);
}

#[test]
fn at_rate_keeps_to_the_grid_of_the_first_start_and_skips_missed_ticks() {
    let mut rig = Rig::new();
    rig.at(ms(3)).run(task("t").every(ms(10)));
    rig.at(ms(7)).returns("t", OK).has("* t/1 pause for 6ms");
    rig.due_at(ms(13)).whatever();
    // It is claimed late; the grid does not move.
    rig.at(ms(15)).claim("t").whatever();
    rig.at(ms(38)).returns("t", OK).has("* t/2 pause for 5ms");
    rig.due_at(ms(43)).whatever();
    rig.claim("t").whatever();
    rig.at(ms(53)).returns("t", OK).has("* t/3 pause for 10ms");
    rig.due_at(ms(63)).has("start t/4");
}

#[test]
fn a_failure_under_at_rate_waits_for_the_first_tick_after_the_backoff() {
    let spec = task("t").every(ms(20)).backoff(growing());
    // The backoff ends at 11, 50, 102 and 170.
    let attempts = [(1, Failed), (10, Failed), (2, Failed), (0, Failed), (0, Return::Fatal)];
    assert_eq!(starts(spec, &attempts), [20, 60, 120, 180]);
    // One that ends on a tick has not missed it.
    let spec = task("t").every(ms(20)).backoff(BackoffPolicy::constant(ms(15)));
    assert_eq!(starts(spec, &[(5, Failed), (0, Return::Fatal)]), [20]);
}

#[test]
fn skipping_a_wait_does_not_move_the_grid() {
    let mut rig = Rig::new();
    rig.run(task("t").every(ms(10)));
    rig.at(ms(1)).returns("t", OK).whatever();
    rig.at(ms(4)).skip("t").gives(
        "start t/2
        answer true",
    );
    rig.claim("t").whatever();
    rig.at(ms(5)).returns("t", OK).has("* t/2 pause for 5ms");
}

#[test]
fn an_initial_delay_starts_with_ownership_and_holds_the_slot() {
    let mut rig = Rig::new();
    rig.at(ms(2)).submit(task("t").initial_delay(ms(10))).gives(
        "* t submitted queue
        decide t: admitted
        * t admitted",
    );
    assert_eq!((rig.state("t"), rig.slot("t")), ("waiting", "t running since 2ms".into()));
    rig.at(ms(4)).submit(task("u").slot("t").initial_delay(ms(10))).whatever();
    rig.due_at(ms(12)).gives("start t/1");
    rig.claim("t").whatever();
    rig.at(ms(20)).returns("t", OK).orders(
        "deliver t: completed
        forget t",
    );
    rig.due_at(ms(30)).gives("start u/1");
}

#[test]
fn max_retries_counts_from_the_first_failure_of_a_streak() {
    let spec = || task("t").max_retries(2);
    assert_eq!(starts(spec(), &[(0, Failed), (0, Failed), (0, Failed)]), [10, 20]);
    let attempts = [(1, Failed), (1, Failed), (1, OK), (1, Failed), (1, Panicked), (1, Failed)];
    assert_eq!(starts(spec().always(), &attempts), [11, 22, 23, 34, 45]);
    assert_eq!(starts(task("t").max_retries(0), &[(0, Failed)]), []);
}

#[test]
fn a_failure_limit_is_a_second_budget_over_a_sliding_window() {
    // Failures at 0, 10, 20: the third within 25 ms is one too many.
    let spec = || task("t").failure_limit(2, ms(25));
    assert_eq!(starts(spec(), &[(0, Failed), (0, Failed), (0, Failed)]), [10, 20]);
    // Failures at 0, 10, 25, 35: each leaves the window in time for the next but one.
    let attempts = [(0, Failed), (0, Failed), (5, Failed), (0, Failed), (0, OK)];
    assert_eq!(starts(spec(), &attempts), [10, 20, 35, 45]);
    // A success does not empty it.
    let attempts = [(0, Failed), (0, Failed), (1, OK), (0, Failed)];
    assert_eq!(starts(spec().always(), &attempts), [10, 20, 21]);
    assert_eq!(starts(task("t").failure_limit(0, ms(25)), &[(0, Failed)]), []);
}

#[test]
fn skip_wait_starts_the_next_attempt_now() {
    let mut rig = Rig::new();
    rig.submit(task("t").initial_delay(ms(500))).whatever();
    rig.at(ms(4)).skip("t").gives(
        "start t/1
        answer true",
    );
    rig.claim("t").whatever();
    rig.at(ms(6)).returns("t", Failed).whatever();
    rig.at(ms(7)).skip("t").gives(
        "start t/2
        answer true",
    );
    rig.skip("t").gives("answer false");
}

#[test]
fn skip_wait_keeps_two_starts_apart() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.returns("t", Failed).whatever();
    rig.skip("t").gives("answer true");
    rig.skip("t").gives("answer true");
    rig.due_at(ms(1)).gives("start t/2");
    rig.claim("t").whatever();
    rig.returns("t", Failed).whatever();
    rig.at(ms(2)).skip("t").gives(
        "start t/3
        answer true",
    );
}

#[test]
fn a_wait_without_end_is_ended_by_a_request() {
    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(Duration::MAX));
    rig.at(ms(5)).returns("t", OK).whatever();
    rig.idle();
    assert_eq!(rig.state("t"), "waiting");
    rig.at(ms(60_000)).skip("t").gives(
        "start t/2
        answer true",
    );
}

#[test]
fn restart_ends_this_attempt_and_begins_the_next_at_once() {
    let mut rig = Rig::new();
    rig.run(task("t").repeat_after(ms(500)));
    rig.at(ms(8)).restart("t").gives(
        "tell t/1 restart until 108ms
        answer true",
    );
    rig.told("t").gives("");
    assert_eq!(rig.state("t"), "stopping");
    assert_eq!(rig.slot("t"), "t running since 0ns");
    rig.restart("t").gives("answer false");
    rig.at(ms(9)).returns("t", Return::Cancelled).gives(
        "* t/1 cancelled after 9ms late by 1ms
        start t/2",
    );
}

#[test]
fn restart_of_a_waiting_task_skips_the_wait() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.returns("t", Failed).whatever();
    rig.at(ms(5)).restart("t").gives(
        "start t/2
        answer true",
    );
}

#[test]
fn a_body_that_runs_only_once_cannot_restart() {
    let mut rig = Rig::new();
    rig.run(task("t").once());
    rig.restart("t").gives("answer false");
}

/// The body returned before it was told: the end is judged as if nobody had asked.
#[test]
fn a_restart_that_comes_too_late_changes_nothing() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.restart("t").whatever();
    rig.not_told("t").gives("");
    rig.returns("t", Failed).has("* t/1 retry in 10ms, failed");
}

#[test]
fn jitter_comes_from_the_seed() {
    let delays = |seed: u64| {
        let mut rig = Rig::with_seed(seed);
        rig.run(task("t").backoff(BackoffPolicy::exponential(ms(100), ms(10_000))));
        let delays: Vec<_> = (0..5)
            .map(|_| {
                rig.returns("t", Failed).whatever();
                let now = rig.deadline();
                rig.due().whatever();
                rig.claim("t").whatever();
                now
            })
            .collect();
        delays
    };
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
}

#[test]
fn a_failure_is_noted_before_anything_follows_it() {
    let mut rig = Rig::with_notes();
    rig.run(task("t").timeout(ms(50)).grace(ms(10)));
    rig.at(ms(1)).returns("t", Failed).gives(
        "* t/1 failed after 1ms
        note t/1 failed
        * t/1 retry in 10ms, failed",
    );
    rig.due().has("start t/2");
    rig.claim("t").whatever();
    rig.due().whatever();
    rig.told("t").whatever();
    // It has returned nothing that could be told; the error of the attempt before is not its own.
    rig.abandon("t").gives(
        "* t/2 abandoned after 60ms, timeout
        note t/2 abandoned
        examine t/2
        * t slot terminating",
    );
    // Counted once, at its grace's end, and noted once.
    rig.at(ms(80)).returns("t", Failed).has_none("note");
}

#[test]
fn the_last_failure_says_why_it_is_the_last() {
    let limits = |spec: Spec| spec.max_retries(0).failure_limit(1, ms(50)).give_up_after(ms(1));
    for (spec, why) in [
        (limits(task("t").never()), "policy"),
        (limits(task("t").once()), "policy"),
        (limits(task("t")), "max_retries"),
    ] {
        let mut rig = Rig::with_notes();
        rig.run(spec);
        rig.returns("t", Failed).has(&format!("note t/1 failed, the last: {why}"));
    }
    for (spec, why) in [
        (task("t").failure_limit(1, ms(50)).give_up_after(ms(1)), "failure_limit"),
        (task("t").give_up_after(ms(1)), "give_up_after"),
    ] {
        let mut rig = Rig::with_notes();
        rig.run(spec);
        rig.returns("t", Failed).has("note t/1 failed");
        rig.due().whatever();
        rig.claim("t").whatever();
        rig.returns("t", Failed).has(&format!("note t/2 failed, the last: {why}"));
    }
}

#[test]
fn an_abandonment_says_why_it_is_the_last_failure_unless_it_was_stopped() {
    let abandoned = |spec: Spec, stops: bool| {
        let mut rig = Rig::with_notes();
        rig.run(spec.timeout(ms(5)).grace(ms(1)));
        rig.due().whatever();
        rig.told("t").whatever();
        if stops {
            rig.stop("t").whatever();
        }
        rig.abandon("t")
    };
    abandoned(task("t").max_retries(0), false).has("note t/1 abandoned, the last: max_retries");
    abandoned(task("t").release(), false).has("note t/1 abandoned, the last: not_shared");
    abandoned(task("t").release_shared(), false).has("note t/1 abandoned");
    abandoned(task("t"), false).has("note t/1 abandoned");
    abandoned(task("t").max_retries(0), true).has("note t/1 abandoned");
}

#[test]
fn a_member_is_not_retried_when_its_group_may_not_restart_again() {
    for spec in [group().one_for_all(), group().rest_for_one()] {
        let mut rig = Rig::with_notes();
        rig.run_group(spec.restart_limit(1, ms(1000)).then([task("a")]));
        rig.returns("a", Failed).has("note a/1 failed");
        rig.due().has("start a/2");
        rig.claim("a").whatever();
        rig.returns("a", Failed).has("note a/2 failed, the last: restart_limit");
    }
    // What limits the task itself comes first.
    let mut rig = Rig::with_notes();
    let both = task("a").max_retries(0);
    rig.run_group(group().one_for_all().restart_limit(0, ms(1000)).then([both]));
    rig.returns("a", Failed).has("note a/1 failed, the last: max_retries");
}

#[test]
fn what_counts_as_no_failure_is_not_noted() {
    for (told, ret) in
        [(None, OK), (None, Return::Cancelled), (Some(CancelReason::Restart), Failed)]
    {
        let mut rig = Rig::with_notes();
        rig.run(task("t").always());
        rig.returns_told("t", told, ret).has_none("note");
    }
    // A stop on top of an interruption takes the retry away, and the count with it.
    let mut rig = Rig::with_notes();
    rig.run(task("t").timeout(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.stop("t").whatever();
    rig.returns("t", Failed).has_none("note");
}
