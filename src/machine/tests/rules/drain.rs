//! What will end by itself may end, before the shutdown begins.
//!
//! Section `Drain` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;

/// Signals begin a drain of 1 s.
fn with_signals() -> Rig {
    Rig::with(|limits| limits.signal_drain = Some(ms(1000)))
}

#[test]
fn a_drain_without_work_is_over_once_the_intake_is_seen_to_be_empty() {
    let mut rig = Rig::new();
    rig.at(ms(3)).drain(ms(50)).gives(
        "* drain requested: requested, limit 50ms
        drain until 53ms",
    );
    assert!(rig.has_drained());
    rig.intake_empty().gives(
        "* shutdown requested: requested
        close door
        * shutdown ended
        flush events",
    );
    assert!(!rig.has_drained());
    rig.intake_empty().gives("");
}

#[test]
fn an_empty_intake_means_nothing_without_a_drain_or_before_the_last_outcome() {
    let mut rig = Rig::new();
    rig.intake_empty().gives("");
    rig.run(task("t"));
    rig.drain(ms(50)).whatever();
    assert!(!rig.has_drained());
    rig.intake_empty().gives("");
    rig.returns("t", Return::Ok).orders(
        "deliver t: completed
        forget t
        forget slot t",
    );
    assert!(rig.has_drained());
    rig.intake_empty().has("* shutdown requested: requested");
}

#[test]
fn at_its_limit_a_drain_says_what_is_unfinished_and_shuts_down() {
    let mut rig = Rig::new();
    rig.run(task("runs"));
    rig.run(task("resident").always());
    rig.submit(task("queued").slot("runs")).whatever();
    rig.drain(ms(50)).whatever();
    rig.due_at(ms(50)).gives(
        "unfinished runs
        unfinished queued
        * shutdown requested: requested
        close door
        * queued rejected(shutting_down)
        deliver queued: rejected(shutting_down)
        forget queued
        * runs slot terminating
        tell runs/1 shutdown until 150ms
        * resident slot terminating
        tell resident/1 shutdown until 150ms",
    );
}

#[test]
fn what_runs_starts_or_waits_for_a_permit_goes_on() {
    let mut rig = Rig::with_permits(2);
    rig.run(task("runs"));
    rig.submit(task("starts")).whatever();
    rig.submit(task("runnable")).whatever();
    rig.drain(ms(500)).orders("drain until 500ms");
    rig.claim("starts").gives("* starts/1 starting");
    rig.returns("runs", Return::Failed).has("start runnable/1");
    rig.claim("runnable").whatever();
    // A retry is due, which needs a permit.
    rig.due_at(ms(10)).gives("* runs waits for a permit");
    rig.returns("starts", Return::Ok).has("start runs/2");
    rig.claim("runs").whatever();
    rig.returns("runs", Return::Ok).whatever();
    assert!(!rig.has_drained());
    rig.returns("runnable", Return::Ok).whatever();
    rig.intake_empty().has("flush events");
}

#[test]
fn delays_backoff_and_deadlines_are_as_ever() {
    let mut rig = Rig::new();
    rig.submit(task("delayed").initial_delay(ms(30))).whatever();
    rig.run(task("late").never().timeout(ms(20)));
    rig.drain(ms(500)).whatever();
    rig.due_at(ms(20)).has("tell late/1 timeout until 120ms");
    rig.told("late").whatever();
    rig.returns("late", Return::Ok).has("deliver late: timed_out");
    rig.due_at(ms(30)).gives("start delayed/1");
    rig.claim("delayed").whatever();
    rig.returns("delayed", Return::Ok).whatever();
    rig.intake_empty().has("flush events");
}

#[test]
fn residents_go_on_and_are_not_waited_for() {
    let mut rig = Rig::new();
    rig.run(task("beat").every(ms(10)));
    rig.run(task("again").always());
    rig.run(task("job"));
    rig.drain(ms(500)).orders("drain until 500ms");
    rig.at(ms(1)).returns("beat", Return::Ok).has("* beat/1 pause for 9ms");
    rig.returns("again", Return::Ok).has("start again/2");
    rig.claim("again").whatever();
    rig.due_at(ms(10)).gives("start beat/2");
    rig.returns("job", Return::Ok).whatever();
    assert!(rig.has_drained());
    let orders = rig.intake_empty();
    orders.has_none("unfinished");
    orders.has("tell again/2 shutdown until 110ms");
    orders.has("revoke beat/2");
}

#[test]
fn a_resident_that_was_asked_to_stop_is_waited_for() {
    let mut rig = Rig::new();
    rig.run(task("resident").always());
    rig.submit(task("starting").always()).whatever();
    rig.submit(task("closing").always().open()).whatever();
    for name in ["resident", "starting", "closing"] {
        rig.stop(name).whatever();
    }
    rig.told("resident").whatever();
    rig.revoked("closing").whatever();
    rig.drain(ms(500)).orders("drain until 500ms");
    rig.returns("resident", Return::Ok).whatever();
    assert!(!rig.has_drained());
    rig.revoked("starting").whatever();
    assert!(!rig.has_drained());
    rig.closed("closing").has("deliver closing: cancelled by stop");
    assert!(rig.has_drained());
    // So is one that is stopped meanwhile.
    rig.submit(task("late").always()).whatever();
    assert!(rig.has_drained());
    rig.stop("late").whatever();
    assert!(!rig.has_drained());
    rig.revoked("late").whatever();
    assert!(rig.has_drained());
}

#[test]
fn an_abandoned_attempt_is_waited_for_until_its_task_has_its_outcome() {
    for resident in [false, true] {
        let plan = |spec: Spec| if resident { spec.always() } else { spec };
        let mut rig = Rig::new();
        rig.run(plan(task("retried").timeout(ms(10)).grace(ms(0))));
        rig.due().whatever();
        rig.told("retried").whatever();
        rig.abandoned("retried").whatever();
        rig.drain(ms(500)).orders("drain until 510ms");
        assert_eq!(rig.has_drained(), resident, "it goes on once its body returns");
        rig.returns("retried", Return::Ok).has("* retried/1 retry in 10ms, abandoned");
        assert_eq!(rig.has_drained(), resident);
        rig.stop("retried").whatever();
        assert!(rig.has_drained());

        rig.run(plan(task("given_up").grace(ms(0))));
        rig.stop("given_up").whatever();
        assert!(!rig.has_drained());
        rig.told("given_up").whatever();
        rig.abandoned("given_up").has("deliver given_up: abandoned, stop, asked by stop");
        assert!(rig.has_drained(), "nobody waits for a body that is given up");
    }
}

#[test]
fn a_stuck_drop_is_not_waited_for_once_the_outcome_is_given() {
    let mut rig = Rig::new();
    rig.submit(task("t").open().grace(ms(0))).whatever();
    rig.stop("t").whatever();
    rig.revoked("t").whatever();
    rig.drain(ms(500)).whatever();
    assert!(!rig.has_drained());
    rig.at(ms(100)).closing_slow("t", ms(0)).gives("abandon closing of t");
    rig.closing_answered("t", crate::vocabulary::answer::ClosingAnswer::Abandoned).whatever();
    assert!(rig.has_drained());
}

#[test]
fn what_queues_in_vain_is_refused_at_the_request() {
    let mut rig = Rig::with(|limits| limits.max_slot_queue = 9);
    rig.run(task("resident").always());
    rig.submit(task("behind").slot("resident").open()).whatever();
    rig.run(task("job"));
    rig.submit(task("next").slot("job")).whatever();
    rig.submit(task("endless").slot("job").always()).whatever();
    rig.submit(task("acceptor").slot("job").stop_at_drain()).whatever();
    rig.drain(ms(500)).gives(
        "* drain requested: requested, limit 500ms
        drain until 500ms
        * behind closing
        close behind, shutdown
        * endless rejected(shutting_down)
        deliver endless: rejected(shutting_down)
        forget endless
        * acceptor rejected(shutting_down)
        deliver acceptor: rejected(shutting_down)
        forget acceptor",
    );
    rig.closed("behind").has("deliver behind: rejected(shutting_down)");
    rig.returns("job", Return::Ok).has("start next/1");
    rig.claim("next").whatever();
    rig.returns("next", Return::Ok).whatever();
    assert!(rig.has_drained());
}

#[test]
fn what_queues_behind_a_resident_that_stops_has_its_turn() {
    let mut rig = Rig::new();
    rig.run(task("stopped").always());
    rig.stop_told("stopped");
    rig.submit(task("a").slot("stopped")).whatever();
    rig.run(task("acceptor").always().stop_at_drain());
    rig.submit(task("b").slot("acceptor")).whatever();
    rig.run(task("replaced").always());
    rig.submit(task("c").slot("replaced").replace()).whatever();
    rig.told("replaced").whatever();
    rig.drain(ms(500)).orders(
        "drain until 500ms
        tell acceptor/1 stop until 100ms",
    );
    rig.told("acceptor").whatever();
    for (owner, heir) in [("stopped", "a"), ("acceptor", "b"), ("replaced", "c")] {
        rig.returns(owner, Return::Ok).has(&alloc::format!("start {heir}/1"));
    }
}

/// Whatever state it is in, and whatever its restart policy.
#[test]
fn a_task_with_stop_at_drain_is_stopped_and_waited_for() {
    for resident in [false, true] {
        let plan = |spec: Spec| {
            let spec = spec.stop_at_drain();
            if resident {
                spec.always()
            } else {
                spec
            }
        };
        let mut rig = Rig::with_permits(6);
        rig.run(plan(task("waits")));
        rig.returns("waits", Return::Failed).whatever();
        rig.run(plan(task("runs")));
        rig.run(plan(task("told")));
        rig.restart("told").whatever();
        rig.told("told").whatever();
        rig.run(plan(task("abandoned").grace(ms(0))));
        rig.restart("abandoned").whatever();
        rig.told("abandoned").whatever();
        rig.abandoned("abandoned").whatever();
        rig.submit(plan(task("starts"))).whatever();
        rig.run(task("x"));
        rig.run(task("y"));
        rig.submit(plan(task("runnable"))).whatever();
        let mut again = rig.drain(ms(500));
        again.has("deliver waits: cancelled by drain");
        again.has("tell runs/1 stop until 100ms");
        again.has("finalize told/1 until 100ms");
        again.has("deliver abandoned: abandoned, restart, asked by drain");
        again.has("revoke starts/1");
        again.has("deliver runnable: cancelled by drain");
        rig.told("runs").whatever();
        rig.returns("x", Return::Ok).whatever();
        rig.returns("y", Return::Ok).whatever();
        rig.returns("told", Return::Ok).has("deliver told: cancelled by drain, ok");
        rig.revoked("starts").has("deliver starts: cancelled by drain");
        assert!(!rig.has_drained());
        again = rig.returns("runs", Return::Failed);
        again.has("deliver runs: cancelled by drain");
        assert!(rig.has_drained());
    }
}

#[test]
fn what_a_body_brings_is_taken_unless_it_would_be_in_vain() {
    let mut rig = Rig::new();
    rig.run(task("resident").always());
    rig.run(task("job"));
    rig.drain(ms(500)).whatever();
    rig.submit(task("child")).orders(
        "decide child: admitted
        start child/1",
    );
    // A body may need it, and stop it itself.
    rig.submit(task("helper").always()).has("decide helper: admitted");
    rig.submit(task("next").slot("job")).has("decide next: queued behind 0");
    rig.submit(task("endless").slot("job").always()).gives(
        "* endless submitted queue
        decide endless: rejected(shutting_down)
        * endless rejected(shutting_down)
        deliver endless: rejected(shutting_down)
        forget endless",
    );
    let refused = "rejected(shutting_down)";
    let decided = |rig: &mut Rig, spec: Spec, expected: &str| {
        let line = alloc::format!("decide {}: {expected}", spec.name);
        rig.submit(spec).has(&line);
    };
    decided(&mut rig, task("behind").slot("resident"), refused);
    let latest = task("latest").slot("resident").policy(AdmissionPolicy::KeepLatest);
    decided(&mut rig, latest, refused);
    decided(&mut rig, task("acceptor").stop_at_drain(), refused);
    decided(&mut rig, task("anew").slot("resident").always().replace(), refused);
    assert_eq!(rig.slot("resident"), "resident running since 0ns");
    let busy = task("busy").slot("resident").policy(AdmissionPolicy::DropIfRunning);
    decided(&mut rig, busy, "rejected(slot_busy resident since 0ns)");
    decided(&mut rig, task("takes_over").slot("resident").replace(), "queued behind 0");
    rig.told("resident").whatever();
    decided(&mut rig, task("after").slot("resident"), "queued behind 1");
}

#[test]
fn a_submission_that_is_decided_late_keeps_the_drain_going() {
    let mut rig = Rig::new();
    rig.run(task("job"));
    rig.drain(ms(500)).whatever();
    rig.returns("job", Return::Ok).whatever();
    assert!(rig.has_drained());
    rig.submit(task("follow_up")).has("start follow_up/1");
    assert!(!rig.has_drained());
    rig.intake_empty().gives("");
    rig.claim("follow_up").whatever();
    rig.returns("follow_up", Return::Ok).whatever();
    rig.intake_empty().has("flush events");
}

#[test]
fn of_two_drains_the_one_that_ends_first_counts_with_its_cause() {
    let mut rig = Rig::new();
    rig.run(task("t").grace(Duration::MAX));
    rig.drain(Duration::MAX).gives(
        "* drain requested: requested, limit 18446744073709551615.999999999s
        drain until never",
    );
    rig.at(ms(10)).drain(ms(500)).gives(
        "* drain requested: requested, limit 500ms
        drain until 510ms",
    );
    rig.at(ms(20)).drain(ms(490)).gives("");
    let cause = ShutdownCause::Dropped;
    rig.input(Input::DrainRequested { cause, limit: ms(480) }).gives(
        "* drain requested: dropped, limit 480ms
        drain until 500ms",
    );
    rig.due_at(ms(500)).has("* shutdown requested: dropped");
    rig.drain(ms(1)).gives("");
}

#[test]
fn a_second_drain_stops_nothing_anew() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.drain(ms(500)).whatever();
    rig.submit(task("helper").always()).whatever();
    rig.at(ms(1)).drain(ms(100)).orders("drain until 101ms");
}

#[test]
fn a_drain_without_time_is_a_shutdown_that_names_what_it_cuts_short() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.drain(ms(0)).whatever();
    let orders = rig.due_at(ms(0));
    orders.has("unfinished t");
    orders.has("tell t/1 shutdown until 100ms");
}

#[test]
fn a_shutdown_ends_a_drain_and_is_the_cause() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.drain(ms(500)).whatever();
    let orders = rig.at(ms(5)).input(Input::ShutdownRequested(ShutdownCause::Dropped));
    orders.has("unfinished t");
    orders.has("* shutdown requested: dropped");
    // The limit is no timer any more.
    assert_eq!(rig.deadline().since_start(), ms(105));
}

#[test]
fn a_task_with_shutdown_on_end_ends_a_drain() {
    let mut rig = Rig::new();
    rig.run(task("main").shutdown_on_end());
    rig.run(task("other"));
    rig.drain(ms(500)).whatever();
    let orders = rig.returns("main", Return::Ok);
    orders.has("unfinished other");
    orders.has("* shutdown requested: end of main");
    orders.has_none("unfinished main");
}

#[test]
fn a_stop_at_drain_is_no_end_of_its_own() {
    let mut rig = Rig::new();
    rig.run(task("main").shutdown_on_end().stop_at_drain());
    rig.run(task("other"));
    rig.drain(ms(500)).whatever();
    rig.told("main").whatever();
    rig.returns("main", Return::Ok).has_none("close door");
}

#[test]
fn the_first_signal_drains_the_second_shuts_down_and_the_third_ends_the_grace() {
    let mut rig = with_signals();
    rig.run(task("t").grace(Duration::MAX));
    rig.at(ms(5)).signal().gives(
        "* drain requested: SIGTERM, limit 1s
        drain until 1.005s",
    );
    rig.at(ms(306)).signal().gives(
        "unfinished t
        * shutdown requested: SIGTERM
        close door
        * t slot terminating
        tell t/1 shutdown until 1.306s",
    );
    rig.told("t").whatever();
    rig.at(ms(607)).signal().gives(
        "restore signals
        finalize t/1 until 607ms
        abandon t/1",
    );
}

#[test]
fn the_first_signal_within_a_drain_that_was_requested_is_a_drain_as_well() {
    for (limit, until) in [(ms(500), "500ms"), (ms(5000), "1.1s")] {
        let mut rig = with_signals();
        rig.run(task("t"));
        rig.drain(limit).whatever();
        let orders = rig.at(ms(100)).signal();
        orders.has_none("close door");
        assert_eq!(orders.mentions("drain until"), limit > ms(1000));
        assert_eq!(crate::machine::tests::render::show(rig.deadline()), until);
        rig.at(ms(450)).signal().has("* shutdown requested: SIGTERM");
    }
}

#[test]
fn without_a_drain_for_signals_the_first_one_ends_a_drain() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.drain(ms(500)).whatever();
    rig.signal().has("* shutdown requested: SIGTERM");
}

#[test]
fn a_batch_of_a_body_is_taken_or_refused_as_a_whole() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.drain(ms(500)).whatever();
    rig.submit_all([task("a"), task("b")]).has("start b/1");
    let orders = rig.submit_all([task("c"), task("d").stop_at_drain()]);
    orders.has("decide d: rejected(shutting_down)");
    orders.has("decide c: rejected(batch_refused for d)");
}

/// Another task takes the place of the one that is waited for, and one before it.
#[test]
fn whoever_is_left_is_found() {
    let mut rig = Rig::new();
    for name in ["a", "b", "c", "d"] {
        rig.run(if name == "b" { task(name).always() } else { task(name) });
    }
    rig.drain(ms(500)).whatever();
    for name in ["a", "d"] {
        rig.returns(name, Return::Ok).whatever();
    }
    rig.submit(task("e").key_of("a")).whatever();
    rig.returns("c", Return::Ok).whatever();
    assert!(!rig.has_drained());
    rig.stop("e").whatever();
    rig.revoked("e").whatever();
    assert!(rig.has_drained());
}
