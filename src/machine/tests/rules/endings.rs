//! How an attempt ends and what follows, line by line.
//!
//! Section `How an attempt ends and what follows` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Orders, Rig, Spec};
use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::{AdmissionPolicy, PanicPolicy};
use crate::vocabulary::reason::CancelReason::{
    self, Group, Replace, Restart, Shutdown, Stop, Timeout, Unresponsive,
};

const EVERY_RETURN: [Return; 5] =
    [Return::Ok, Return::Failed, Return::Fatal, Return::Cancelled, Return::Panicked];
const NOT_FATAL: [Return; 4] = [Return::Ok, Return::Failed, Return::Cancelled, Return::Panicked];
const STOPS: [CancelReason; 3] = [Stop, Replace, Shutdown];

/// Has the running task "t" told, and answers that it was in time.
fn tell(rig: &mut Rig, reason: CancelReason) {
    match reason {
        Stop => rig.stop("t").whatever(),
        Replace => rig.submit(task("next").slot("t").replace()).whatever(),
        Shutdown => rig.shutdown().whatever(),
        Restart => rig.restart("t").whatever(),
        Timeout => rig.due_at(ms(5)).whatever(),
        // Its watchdog or its group tells it so; the end is judged alike whoever does.
        Unresponsive | Group => return,
    }
    rig.told("t").whatever();
}

/// Runs "t" from 0 to 6 ms, told of this at 5 ms, and lets it return.
fn end(spec: Spec, told: Option<CancelReason>, ret: Return) -> (Rig, Orders) {
    let mut rig = Rig::new();
    rig.run(if told == Some(Timeout) { spec.timeout(ms(5)) } else { spec });
    if let Some(reason) = told {
        rig.at(ms(5));
        tell(&mut rig, reason);
    }
    let orders = rig.at(ms(6)).returns_told("t", told, ret);
    (rig, orders)
}

/// Checks the attempt's one event and what follows: an outcome, a retry and its cause, or "again"
/// for the next attempt at once.
#[track_caller]
fn check(spec: Spec, told: Option<CancelReason>, ret: Return, event: &str, follows: &str) {
    let (rig, orders) = end(spec, told, ret);
    let ended = orders.after("* t/1 ").expect("an event of the attempt");
    assert!(ended.starts_with(&format!("{event} after 6ms")), "{told:?}, {ret:?}: {ended}");
    let outcome = orders.after("deliver t: ");
    let retry = orders.after("* t/1 retry in 10ms, ");
    let again = (rig.state("t") == "starting").then_some("again");
    let found = [outcome, retry, again].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(found, [follows], "{told:?}, {ret:?}");
}

#[test]
fn an_abandoned_attempt_returns_without_a_second_end() {
    for ret in EVERY_RETURN {
        let mut rig = Rig::new();
        rig.run(task("t").grace(ms(1)));
        rig.stop_told("t");
        rig.due_at(ms(1)).whatever();
        rig.abandoned("t").has("deliver t: abandoned, stop, asked by stop");
        let orders = rig.at(ms(9)).returns("t", ret);
        let name = format!("{ret:?}").to_lowercase();
        orders.gives(&format!(
            "* t/1 returned {name}, late by 8ms
            * t slot no longer terminating
            forget t
            forget slot t"
        ));
    }
}

#[test]
fn a_fatal_error_is_final_under_every_policy_whatever_was_told() {
    let told = [Stop, Replace, Shutdown, Timeout, Unresponsive, Restart];
    for told in told.into_iter().map(Some).chain([None]) {
        for spec in [task("t").never(), task("t"), task("t").always()] {
            check(spec, told, Return::Fatal, "failed", "fatal");
        }
    }
}

#[test]
fn a_panic_is_final_if_the_policy_says_so_or_a_stop_was_told() {
    for told in [None, Some(Timeout), Some(Unresponsive), Some(Restart)] {
        for policy in [PanicPolicy::Fatal, PanicPolicy::Abort] {
            check(task("t").panic(policy), told, Return::Panicked, "panicked", "panicked");
        }
    }
    for told in STOPS {
        check(task("t"), Some(told), Return::Panicked, "panicked", "panicked");
        check(task("t").always(), Some(told), Return::Panicked, "panicked", "panicked");
    }
}

#[test]
fn told_to_stop_and_ok_is_cancelled_and_says_so() {
    for told in STOPS {
        let outcome = format!("cancelled by {told}, ok");
        for spec in [task("t").never(), task("t"), task("t").always()] {
            check(spec, Some(told), Return::Ok, "succeeded", &outcome);
        }
    }
}

#[test]
fn told_to_stop_and_any_other_error_is_cancelled_and_never_retried() {
    for told in STOPS {
        let outcome = format!("cancelled by {told}");
        for ret in [Return::Failed, Return::Cancelled] {
            for spec in [task("t").never(), task("t"), task("t").always()] {
                check(spec, Some(told), ret, "cancelled", &outcome);
            }
        }
    }
}

#[test]
fn told_of_the_deadline_is_a_failure_whatever_it_returned() {
    for ret in NOT_FATAL {
        check(task("t"), Some(Timeout), ret, "timed_out", "timed_out");
        check(task("t").always(), Some(Timeout), ret, "timed_out", "timed_out");
        check(task("t").never(), Some(Timeout), ret, "timed_out", "timed_out");
    }
    let (_, orders) = end(task("t"), Some(Timeout), Return::Ok);
    orders.gives(
        "* t/1 timed_out after 6ms late by 1ms ok
        * t/1 retry in 10ms, timed_out",
    );
}

#[test]
fn told_of_its_silence_is_a_failure_whatever_it_returned() {
    for ret in NOT_FATAL {
        check(task("t"), Some(Unresponsive), ret, "unresponsive", "unresponsive");
        check(task("t").never(), Some(Unresponsive), ret, "unresponsive", "unresponsive");
    }
}

#[test]
fn told_to_restart_and_no_panic_goes_on_at_once_under_every_policy() {
    for spec in [|| task("t").never(), || task("t"), || task("t").repeat_after(ms(500))] {
        check(spec(), Some(Restart), Return::Ok, "succeeded", "again");
        check(spec(), Some(Restart), Return::Failed, "cancelled", "again");
        check(spec(), Some(Restart), Return::Cancelled, "cancelled", "again");
    }
    check(task("t"), Some(Restart), Return::Panicked, "panicked", "panicked");
}

#[test]
fn a_restart_counts_as_no_failure() {
    let mut rig = Rig::new();
    rig.run(task("t").max_retries(0));
    for n in 1..5 {
        rig.at(ms(10 * n)).restart("t").gives(&format!(
            "tell t/{n} restart until {}ms
            answer true",
            10 * n + 100
        ));
        rig.told("t").gives("");
        rig.returns("t", Return::Failed).gives(&format!(
            "* t/{n} cancelled after 10ms
            start t/{}",
            n + 1
        ));
        rig.claim("t").whatever();
    }
    rig.returns("t", Return::Failed).has("deliver t: failed");
}

/// Nor as a success: it says nothing about whether the body can do its work.
#[test]
fn a_restart_does_not_break_the_streak() {
    let mut rig = Rig::new();
    rig.run(task("t").max_retries(1));
    rig.returns("t", Return::Failed).has("* t/1 retry in 10ms, failed");
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.at(ms(20)).restart("t").whatever();
    rig.told("t").whatever();
    rig.returns("t", Return::Ok).has("start t/3");
    rig.claim("t").whatever();
    rig.returns("t", Return::Failed).has("deliver t: failed");
}

/// The body has returned before it could be told: it ends like any other, and what it would wait
/// for then is skipped.
#[test]
fn a_restart_that_comes_too_late_skips_the_wait() {
    let restarted_too_late = |spec| {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.at(ms(5)).restart("t").has("answer true");
        rig.not_told("t").gives("");
        rig
    };
    restarted_too_late(task("t")).returns_told("t", None, Return::Failed).gives(
        "* t/1 failed after 5ms
        * t/1 retry in 10ms, failed
        start t/2",
    );
    restarted_too_late(task("t").repeat_after(ms(500))).returns_told("t", None, Return::Ok).gives(
        "* t/1 succeeded after 5ms ok
        * t/1 pause for 500ms
        start t/2",
    );
    restarted_too_late(task("t")).returns_told("t", None, Return::Ok).has("* t ended: completed");
    let orders = restarted_too_late(task("t").never()).returns_told("t", None, Return::Failed);
    orders.has("* t ended: failed");
    let mut paused = restarted_too_late(task("t"));
    paused.pause("t").whatever();
    paused.returns_told("t", None, Return::Failed).gives("* t/1 failed after 5ms");
    let mut stopped = restarted_too_late(task("t"));
    stopped.stop("t").whatever();
    stopped.returns_told("t", None, Return::Failed).has("* t ended: cancelled by stop");
}

#[test]
fn a_body_that_cancels_itself_is_never_retried() {
    for spec in [task("t").never(), task("t"), task("t").always()] {
        check(spec, None, Return::Cancelled, "cancelled", "cancelled by by_task");
    }
}

#[test]
fn a_panic_is_a_failure() {
    check(task("t"), None, Return::Panicked, "panicked", "panicked");
    check(task("t").always(), None, Return::Panicked, "panicked", "panicked");
    let (_, orders) = end(task("t").never(), None, Return::Panicked);
    orders.has("deliver t: panicked");
    let (_, orders) = end(task("t"), None, Return::Panicked);
    orders.has("* t/1 retry in 10ms, panicked");
}

#[test]
fn any_other_error_is_a_failure() {
    let (_, orders) = end(task("t"), None, Return::Failed);
    orders.gives(
        "* t/1 failed after 6ms
        * t/1 retry in 10ms, failed",
    );
    let (_, orders) = end(task("t").never(), None, Return::Failed);
    orders.gives(
        "* t/1 failed after 6ms
        * t ended: failed
        deliver t: failed
        forget t
        forget slot t",
    );
}

#[test]
fn a_success_completes_the_task_unless_it_always_restarts() {
    check(task("t").never(), None, Return::Ok, "succeeded", "completed");
    check(task("t"), None, Return::Ok, "succeeded", "completed");
    check(task("t").once(), None, Return::Ok, "succeeded", "completed");
    check(task("t").always(), None, Return::Ok, "succeeded", "again");
}

/// A stop that comes too late to be told: the end the attempt earned, and no retry.
#[test]
fn a_stop_not_told_in_time_leaves_a_final_end_as_it_is() {
    let late = |spec: Spec, ret| {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.at(ms(5)).stop("t").has("tell t/1 stop until 105ms");
        rig.not_told("t").gives("");
        let orders = rig.at(ms(6)).returns_told("t", None, ret);
        let event =
            orders.after("* t/1 ").and_then(|line| line.split(' ').next()).map(str::to_owned);
        (event.expect("an end"), orders.after("deliver t: ").expect("an outcome").to_owned())
    };
    let check = |spec, ret, event: &str, outcome: &str| {
        assert_eq!(late(spec, ret), (event.to_owned(), outcome.to_owned()), "{ret:?}");
    };
    check(task("t").never(), Return::Failed, "failed", "failed");
    check(task("t").never(), Return::Panicked, "panicked", "panicked");
    check(task("t"), Return::Ok, "succeeded", "completed");
    check(task("t"), Return::Fatal, "failed", "fatal");
    check(task("t"), Return::Cancelled, "cancelled", "cancelled by by_task");
    check(task("t").max_retries(0), Return::Failed, "failed", "failed");
    check(task("t"), Return::Failed, "failed", "cancelled by stop");
    check(task("t"), Return::Panicked, "panicked", "cancelled by stop");
    check(task("t").always(), Return::Ok, "succeeded", "cancelled by stop, ok");
}

#[test]
fn a_stop_on_top_of_an_interruption_keeps_token_and_grace_and_takes_the_retry() {
    for (told, name) in [(Timeout, "timed_out"), (Restart, "cancelled")] {
        let mut rig = Rig::new();
        rig.run(if told == Timeout { task("t").timeout(ms(5)) } else { task("t") });
        rig.at(ms(5));
        tell(&mut rig, told);
        rig.at(ms(6)).stop("t").gives(
            "* t slot terminating
            finalize t/1 until 105ms",
        );
        assert_eq!(rig.deadline().since_start(), ms(105));
        let orders = rig.at(ms(7)).returns("t", Return::Failed);
        assert!(orders.after("* t/1 ").is_some_and(|line| line.starts_with(name)));
        orders.has("deliver t: cancelled by stop");
        orders.has_none("start");
    }
}

/// No retry was left anyway; it is cancelled all the same.
#[test]
fn a_stop_on_top_of_an_interruption_is_the_outcome_also_of_a_last_attempt() {
    let mut rig = Rig::new();
    rig.run(task("t").never().timeout(ms(5)));
    rig.due().whatever();
    rig.told("t").has("* t/1 overdue after 5ms");
    rig.stop("t").whatever();
    let orders = rig.at(ms(7)).returns("t", Return::Ok);
    orders.has("* t/1 timed_out after 7ms late by 2ms ok");
    orders.has("deliver t: cancelled by stop, ok");
}

#[test]
fn the_first_stop_is_the_outcome_and_the_first_request_the_token() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(5)));
    rig.due_at(ms(5)).gives("tell t/1 timeout until 105ms");
    rig.told("t").whatever();
    rig.submit(task("next").slot("t").replace()).whatever();
    rig.stop("t").gives("");
    rig.shutdown().has("finalize t/1 until 105ms");
    rig.returns("t", Return::Cancelled).has("deliver t: cancelled by replace");
}

#[test]
fn a_panic_after_a_deadline_and_a_stop_is_judged_by_what_was_told() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.stop("t").whatever();
    let orders = rig.returns("t", Return::Panicked);
    orders.has("* t/1 timed_out after 5ms");
    orders.has("deliver t: cancelled by stop");
}

#[test]
fn a_success_breaks_the_streak_of_failures() {
    let mut rig = Rig::new();
    rig.run(task("t").always().max_retries(1));
    rig.returns("t", Return::Failed).has("* t/1 retry in 10ms, failed");
    rig.due().has("start t/2");
    rig.claim("t").whatever();
    rig.returns("t", Return::Ok).whatever();
    rig.due().has("start t/3");
    rig.claim("t").whatever();
    rig.returns("t", Return::Failed).has("* t/3 retry in 10ms, failed");
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.returns("t", Return::Failed).has("deliver t: failed");
}

/// The order to start says which ends are final, so that the worker drops the body before it
/// reports.
#[test]
fn the_order_to_start_says_which_ends_are_final() {
    let finality = |spec: Spec| {
        let mut rig = Rig::new();
        rig.submit(spec).whatever();
        let finality = rig.finality("t");
        let is_final = |told, ret| finality.is_final(told, ret, false);
        // Of what an abandoned attempt returns, only this counts.
        let late = EVERY_RETURN.map(|ret| finality.is_final(Some(Timeout), ret, true));
        assert_eq!(late, [false, false, true, false, false]);
        let ends = EVERY_RETURN.map(|ret| is_final(None, ret));
        assert!(NOT_FATAL.iter().all(|&ret| is_final(Some(Stop), ret)));
        assert_eq!(is_final(Some(Timeout), Return::Ok), is_final(None, Return::Failed));
        assert!(!is_final(Some(Restart), Return::Cancelled));
        ends
    };
    // Ok, Failed, Fatal, Cancelled, Panicked
    assert_eq!(finality(task("t")), [true, false, true, true, false]);
    assert_eq!(finality(task("t").always()), [false, false, true, true, false]);
    assert_eq!(finality(task("t").never()), [true; 5]);
    assert_eq!(finality(task("t").once()), [true; 5]);
    assert_eq!(finality(task("t").max_retries(0)), [true; 5]);
    // When the window has passed is not for the worker to say.
    let limited = task("t").failure_limit(1, ms(9));
    assert_eq!(finality(limited), [true, false, true, true, false]);
    assert_eq!(finality(task("t").panic(PanicPolicy::Fatal)), [true, false, true, true, true]);
}

#[test]
fn a_claim_may_travel_with_the_return() {
    let mut rig = Rig::new();
    rig.submit(task("t").policy(AdmissionPolicy::KeepLatest)).gives(
        "* t submitted keep_latest
        decide t: admitted
        * t admitted
        start t/1",
    );
    rig.at(ms(3)).returns("t", Return::Ok).gives(
        "* t/1 starting
        * t/1 succeeded after 0ns ok
        * t ended: completed
        deliver t: completed
        forget t
        forget slot t",
    );
}
