//! Abandoned attempts that are not waited for, by `Release`, and the count of all that is stuck.
//!
//! Section `Deadlines, watchdog, grace, abandonment` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Orders, Rig, Spec};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::plan::BodyKind;
use crate::vocabulary::policy::PanicPolicy;
use crate::vocabulary::reason::CancelReason;

const TIMEOUT: Option<CancelReason> = Some(CancelReason::Timeout);

/// A deadline of 10 ms and a grace of 5 ms.
fn short(spec: Spec) -> Spec {
    spec.timeout(ms(10)).grace(ms(5))
}

/// Lets the running "name" pass its deadline and its grace.
#[track_caller]
fn outlive(rig: &mut Rig, name: &str) -> Orders {
    rig.due().whatever();
    rig.told(name).whatever();
    rig.abandon(name)
}

/// At most so many may be stuck before `Release` acts as `Hold`.
fn capped(most: u32) -> Rig {
    Rig::with(|limits| limits.max_abandoned = most)
}

#[test]
fn a_shared_body_is_retried_beside_the_attempt_that_is_stuck() {
    let mut rig = Rig::with_permits(1);
    rig.run(short(task("t").release_shared()));
    rig.submit(task("other")).whatever();
    let stuck = rig.attempt("t");
    // The permit goes to whoever waits for it.
    outlive(&mut rig, "t").gives(
        "* t/1 abandoned after 15ms, timeout, released
        examine t/1
        finalize t/1 until 15ms
        release t/1
        * t/1 retry in 10ms, abandoned
        start other/1",
    );
    assert_eq!((rig.state("t"), rig.slot("t").as_str()), ("waiting", "t running since 0ns"));
    assert_eq!((rig.permits(), rig.stuck()), ((1, 0), (1, 1)));
    rig.claim("other").whatever();
    rig.at(ms(20)).returns("other", Return::Ok).whatever();
    rig.due_at(ms(25)).gives("start t/2");
    rig.claim("t").gives("* t/2 starting");
    // Its late result says nothing about the attempt that runs now.
    rig.at(ms(30)).attempt_returns(stuck, TIMEOUT, Return::Fatal).gives(
        "* t/1 returned fatal, late by 15ms
        forget released t/1",
    );
    assert_eq!((rig.state("t"), rig.stuck(), rig.stale()), ("running", (0, 0), 0));
    rig.at(ms(31)).returns("t", Return::Ok).has("deliver t: completed");
}

#[test]
fn any_other_body_is_lost_and_the_slot_passes_on() {
    let mut rig = Rig::with_permits(1);
    rig.run(short(task("t").release()));
    rig.submit(task("heir").slot("t")).whatever();
    outlive(&mut rig, "t").gives(
        "* t/1 abandoned after 15ms, timeout, released
        examine t/1
        finalize t/1 until 15ms
        release t/1
        * t ended: abandoned, timeout
        * heir admitted
        start heir/1
        deliver t: abandoned, timeout
        forget t",
    );
    assert_eq!((rig.state("t"), rig.permits(), rig.stuck()), ("gone", (1, 0), (1, 1)));
    assert_eq!(rig.slot("t"), "heir running since 15ms");
    rig.at(ms(99)).returns("t", Return::Ok).gives(
        "* t/1 returned ok, late by 84ms
        forget released t/1",
    );
    assert_eq!((rig.state("heir"), rig.stuck()), ("starting", (0, 0)));
}

#[test]
fn a_stop_asked_before_is_the_reason_of_the_end() {
    for spec in [task("t").release(), task("t").release_shared()] {
        let mut rig = Rig::new();
        rig.run(short(spec));
        rig.at(ms(1)).stop("t").whatever();
        rig.told("t").whatever();
        rig.abandon("t").gives(
            "* t/1 abandoned after 6ms, stop, released
            examine t/1
            finalize t/1 until 6ms
            release t/1
            * t ended: abandoned, stop, asked by stop
            * t slot no longer terminating
            deliver t: abandoned, stop, asked by stop
            forget t
            forget slot t",
        );
        assert_eq!((rig.permits(), rig.stuck()), ((0, 0), (1, 1)));
    }
}

#[test]
fn a_stop_on_top_of_the_deadline_takes_the_retry_away() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared()));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.at(ms(12)).stop("t").has("finalize t/1 until 15ms");
    rig.abandon("t").has("deliver t: abandoned, timeout, asked by stop");
}

#[test]
fn a_stop_after_the_release_ends_the_wait_for_the_retry() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared()));
    let stuck = rig.attempt("t");
    outlive(&mut rig, "t").whatever();
    rig.at(ms(20)).stop("t").orders(
        "deliver t: cancelled by stop
        forget t
        forget slot t",
    );
    assert_eq!(rig.stuck(), (1, 1));
    rig.at(ms(30)).attempt_returns(stuck, TIMEOUT, Return::Ok).has("forget released t/1");
    assert_eq!(rig.stuck(), (0, 0));
}

#[test]
fn a_replaced_owner_that_is_released_makes_way() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release()));
    rig.at(ms(1)).submit(task("new").slot("t").replace()).has("tell t/1 replace until 6ms");
    rig.told("t").whatever();
    let orders = rig.abandon("t");
    orders.has("* t slot no longer terminating");
    orders.has("start new/1");
    orders.has("deliver t: abandoned, replace, asked by replace");
}

#[test]
fn it_counts_as_a_failure_until_no_retry_is_left() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared().max_retries(2)));
    for n in [1, 2] {
        outlive(&mut rig, "t").has(&format!("* t/{n} retry in 10ms, abandoned"));
        rig.due().has(&format!("start t/{}", n + 1));
        rig.claim("t").whatever();
    }
    let orders = outlive(&mut rig, "t");
    orders.has("* t/3 abandoned after 15ms, timeout, released");
    orders.has("deliver t: abandoned, timeout");
    // All three are still stuck, and come back in any order.
    assert_eq!((rig.permits(), rig.stuck()), ((0, 0), (3, 3)));
    for n in [2, 3, 1] {
        let attempt = crate::vocabulary::id::AttemptAddr { task: rig.task("t"), number: n };
        let orders = rig.attempt_returns(attempt, TIMEOUT, Return::Panicked);
        orders.has(&format!("forget released t/{n}"));
    }
    assert_eq!((rig.stuck(), rig.stale()), ((0, 0), 0));
}

#[test]
fn a_task_that_is_never_retried_ends_with_the_release() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared().never()));
    outlive(&mut rig, "t").has("deliver t: abandoned, timeout");
}

#[test]
fn a_failure_limit_counts_it_too() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared().failure_limit(1, ms(1000))));
    outlive(&mut rig, "t").has("* t/1 retry in 10ms, abandoned");
    rig.due().whatever();
    rig.claim("t").whatever();
    outlive(&mut rig, "t").has("deliver t: abandoned, timeout");
}

#[test]
fn a_released_restart_is_retried_with_backoff() {
    let mut rig = Rig::new();
    rig.run(task("t").release_shared().grace(ms(5)));
    rig.restart("t").whatever();
    rig.told("t").whatever();
    rig.abandon("t").has("* t/1 retry in 10ms, abandoned");
    // Nobody has to wait for that.
    rig.skip("t").gives(
        "start t/2
        answer true",
    );
}

#[test]
fn an_unresponsive_attempt_is_released_as_well() {
    let mut rig = Rig::new();
    rig.run(task("t").release_shared().guarded(ms(8)).grace(ms(5)));
    for at in [2, 4, 6, 8] {
        rig.look_at(ms(at), "t", false).whatever();
    }
    rig.told("t").whatever();
    let orders = rig.abandon("t");
    orders.has("* t/1 abandoned after 13ms, unresponsive, released");
    orders.has("* t/1 retry in 10ms, abandoned");
}

#[test]
fn a_task_with_shutdown_on_end_that_is_released_for_good_ends_everything() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release().shutdown_on_end()));
    outlive(&mut rig, "t").gives(
        "* t/1 abandoned after 15ms, timeout, released
        examine t/1
        finalize t/1 until 15ms
        release t/1
        * t ended: abandoned, timeout
        * shutdown requested: end of t
        close door
        deliver t: abandoned, timeout
        forget t
        forget slot t
        * shutdown ended
        flush events",
    );
}

#[test]
fn a_body_that_returned_before_it_was_given_up_is_not_released() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release()));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.due().gives("abandon t/1");
    rig.not_abandoned("t").gives("");
    rig.at(ms(16)).returns("t", Return::Ok).has("* t/1 retry in 10ms, timed_out");
    assert_eq!(rig.stuck(), (0, 0));
}

#[test]
fn at_the_cap_a_release_holds() {
    let mut rig = capped(1);
    rig.run(short(task("a").release()));
    outlive(&mut rig, "a").has("* a/1 abandoned after 15ms, timeout, released");
    rig.run(short(task("b").release()));
    outlive(&mut rig, "b").gives(
        "* b/1 abandoned after 15ms, timeout, at the limit
        examine b/1
        * b slot terminating",
    );
    assert_eq!((rig.state("b"), rig.permits(), rig.stuck()), ("abandoned", (1, 0), (2, 1)));
    // It goes on holding, also when there is room again.
    rig.at(ms(40)).returns("a", Return::Ok).has("forget released a/1");
    assert_eq!((rig.state("b"), rig.stuck()), ("abandoned", (1, 0)));
    // Held, it can be retried once it has returned, though its body is not shared.
    rig.at(ms(50)).returns("b", Return::Ok).has("* b/1 retry in 10ms, abandoned");
    assert_eq!(rig.stuck(), (0, 0));
    // And there is room for the next.
    rig.due().whatever();
    rig.claim("b").whatever();
    outlive(&mut rig, "b").has("* b/2 abandoned after 15ms, timeout, released");
}

#[test]
fn a_shared_body_is_held_where_that_is_the_policy() {
    let mut rig = Rig::new();
    rig.run(short(task("t").plan(|plan| plan.body = BodyKind::Shared)));
    outlive(&mut rig, "t").has_none("release");
    assert_eq!((rig.state("t"), rig.permits(), rig.stuck()), ("abandoned", (1, 0), (1, 0)));
}

#[test]
fn a_cap_of_zero_releases_nothing() {
    let mut rig = capped(0);
    rig.run(short(task("t").release_shared()));
    outlive(&mut rig, "t").has_none("release");
    assert_eq!((rig.state("t"), rig.stuck()), ("abandoned", (1, 0)));
}

#[test]
fn above_the_cap_nothing_new_is_accepted() {
    let mut rig = capped(1);
    rig.run(task("busy"));
    for name in ["a", "b"] {
        rig.submit(short(task(name))).whatever();
        rig.claim(name).whatever();
        // At the cap all is accepted; what is held counts like what is released.
        rig.submit(task("fits")).has("decide fits: admitted");
        rig.stop("fits").whatever();
        rig.revoked("fits").whatever();
        outlive(&mut rig, name).whatever();
    }
    assert_eq!(rig.stuck(), (2, 0));
    rig.submit(task("c")).gives(
        "* c submitted queue
        decide c: rejected(too_many_abandoned 1)
        * c rejected(too_many_abandoned 1)
        deliver c: rejected(too_many_abandoned 1)
        forget c
        forget slot c",
    );
    // Whatever the policy, and also behind an owner.
    let replace = task("d").slot("busy").replace();
    rig.submit(replace).has("decide d: rejected(too_many_abandoned 1)");
    assert_eq!(rig.state("busy"), "running");
    let orders = rig.submit_all([task("e"), task("f")]);
    orders.has("decide e: rejected(too_many_abandoned 1)");
    orders.has("decide f: rejected(batch_refused for e)");
    rig.returns("a", Return::Ok).whatever();
    rig.submit(task("g")).has("decide g: admitted");
}

#[test]
fn what_was_accepted_before_still_starts_above_the_cap() {
    let mut rig = capped(0);
    rig.run(short(task("t").never()));
    rig.submit(task("heir").slot("t")).whatever();
    rig.run(short(task("u")));
    rig.at(ms(1)).returns("u", Return::Failed).whatever();
    rig.due_at(ms(10)).whatever();
    rig.told("t").whatever();
    rig.due_at(ms(11)).gives("start u/2");
    rig.abandon("t").whatever();
    rig.returns("t", Return::Ok).has("start heir/1");
}

#[test]
fn stuck_hooks_are_counted_with_the_attempts() {
    let mut rig = capped(2);
    rig.input(Input::HookAbandoned).gives("");
    rig.input(Input::HookAbandoned).gives("");
    rig.submit(task("a")).has("decide a: admitted");
    // They leave no room for a release.
    rig.run(short(task("t").release()));
    outlive(&mut rig, "t").has_none("release");
    rig.submit(task("b")).has("decide b: rejected(too_many_abandoned 2)");
    rig.input(Input::HookReturned).gives("");
    rig.submit(task("c")).has("decide c: admitted");
    rig.input(Input::HookReturned).gives("");
    assert_eq!(rig.stuck(), (1, 0));
}

#[test]
fn the_attempt_beside_a_released_one_ends_by_itself() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared()));
    let stuck = rig.attempt("t");
    outlive(&mut rig, "t").whatever();
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.at(ms(26)).returns("t", Return::Ok).has("deliver t: completed");
    assert_eq!((rig.permits(), rig.stuck()), ((0, 0), (1, 1)));
    rig.at(ms(30)).attempt_returns(stuck, TIMEOUT, Return::Ok).has("forget released t/1");
    assert_eq!((rig.stuck(), rig.stale()), ((0, 0), 0));
}

/// The task is gone, and its key belongs to another, whose attempt has the same number.
#[test]
fn a_late_return_finds_its_attempt_though_the_key_has_another_owner() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release()));
    outlive(&mut rig, "t").has("forget t");
    rig.run(task("next").key_of("t"));
    rig.at(ms(20)).returns("t", Return::Failed).gives(
        "* t/1 returned failed, late by 5ms
        forget released t/1",
    );
    assert_eq!((rig.state("next"), rig.stuck(), rig.stale()), ("running", (0, 0), 0));
    // It may also come back after that one.
    let mut rig = Rig::new();
    rig.run(short(task("t").release()));
    outlive(&mut rig, "t").whatever();
    rig.run(task("next").key_of("t"));
    rig.returns("next", Return::Ok).has("deliver next: completed");
    assert_eq!(rig.stuck(), (1, 1));
    rig.returns("t", Return::Failed).has("forget released t/1");
    // The second time it is nobody's.
    rig.returns("t", Return::Failed).gives("");
    assert_eq!((rig.stuck(), rig.stale()), ((0, 0), 1));
}

#[test]
fn what_else_is_said_about_a_released_attempt_is_stale() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared()));
    outlive(&mut rig, "t").whatever();
    assert_eq!(rig.state("t"), "waiting");
    rig.told("t").gives("");
    rig.abandoned("t").gives("");
    rig.looked("t", false).gives("");
    rig.claim("t").gives("");
    assert_eq!((rig.stale(), rig.stuck()), (4, (1, 1)));
}

#[test]
fn a_shutdown_does_not_wait_for_what_was_released() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release()));
    outlive(&mut rig, "t").whatever();
    rig.at(ms(20)).shutdown().gives(
        "* shutdown requested: requested
        close door
        * shutdown ended
        flush events",
    );
    // It may come back at any time.
    rig.at(ms(21)).returns("t", Return::Ok).has("forget released t/1");
    rig.flushed().gives("finish");
}

#[test]
fn what_a_shutdown_gives_up_is_released_too() {
    let mut rig = Rig::new();
    rig.run(task("t").release_shared().panic(PanicPolicy::Fatal).grace(ms(5)));
    rig.shutdown().has("tell t/1 shutdown until 5ms");
    rig.told("t").whatever();
    let orders = rig.abandon("t");
    orders.has("* t/1 abandoned after 5ms, shutdown, released");
    orders.has("deliver t: abandoned, shutdown, asked by shutdown");
    orders.has("flush events");
    rig.flushed().gives("finish");
    assert_eq!(rig.stuck(), (1, 1));
    rig.returns("t", Return::Ok).has("forget released t/1");
    assert_eq!(rig.stuck(), (0, 0));
}

/// Waiting for its retry beside a released attempt, it ends like anything that waits.
#[test]
fn a_shutdown_ends_the_wait_beside_a_released_attempt() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared()));
    outlive(&mut rig, "t").whatever();
    let orders = rig.at(ms(20)).shutdown();
    orders.has("deliver t: cancelled by shutdown");
    orders.has("flush events");
}

#[test]
fn a_grid_is_kept_beside_a_released_attempt() {
    let mut rig = Rig::new();
    rig.run(short(task("t").release_shared().every(ms(40))));
    outlive(&mut rig, "t").has("* t/1 retry in 25ms, abandoned");
    rig.due_at(ms(40)).gives("start t/2");
}
