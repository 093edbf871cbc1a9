//! Groups stop, the last phase first: by hand, for a failure, in a drain and in a shutdown.
//!
//! Section `Groups` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Orders, Rig};
use crate::machine::tests::rig_groups::{group, GroupSpec};
use crate::vocabulary::answer::Return;

/// "a", then "b" and "c", then "d".
fn line() -> GroupSpec {
    group().then([task("a")]).then([task("b"), task("c")]).then([task("d")])
}

/// A group that is up, at 10 ms.
fn up(spec: GroupSpec) -> Rig {
    let mut rig = Rig::new();
    rig.run_group(spec);
    assert_eq!(rig.group_state("a"), "up");
    rig.at(ms(10));
    rig
}

/// The body is told, and returns at once.
fn obeys(rig: &mut Rig, name: &str) -> Orders {
    rig.told(name).whatever();
    rig.returns(name, Return::Ok)
}

#[test]
fn a_group_stops_phase_by_phase_from_the_last() {
    let mut rig = up(line());
    rig.stop_group("a").gives(
        "* group stopping, stop
        * d slot terminating
        tell d/1 stop until 110ms",
    );
    assert_eq!(rig.group_state("a"), "stopping 2");
    rig.stop_group("a").gives("");
    rig.restart_group("a").gives("answer false");
    obeys(&mut rig, "d").orders(
        "deliver d: cancelled by stop, ok
        forget d
        forget slot d
        tell c/1 stop until 110ms
        tell b/1 stop until 110ms",
    );
    obeys(&mut rig, "b").orders("deliver b: cancelled by stop, ok\n forget b\n forget slot b");
    obeys(&mut rig, "c").has("tell a/1 stop until 110ms");
    obeys(&mut rig, "a").gives(
        "* a/1 succeeded after 10ms ok
        * a ended: cancelled by stop, ok
        * a slot no longer terminating
        deliver a: cancelled by stop, ok
        forget a
        forget slot a
        * group ended
        forget group",
    );
    let stale = rig.stale();
    rig.stop_group("a").gives("");
    rig.restart_group("a").gives("answer false");
    assert_eq!((rig.stale(), rig.group_state("a").as_str()), (stale + 2, "over"));
}

#[test]
fn an_abandoned_member_does_not_hold_up_the_phase_before() {
    let mut rig = up(line());
    rig.stop_group("a").whatever();
    rig.told("d").whatever();
    rig.abandon("d").orders(
        "examine d/1
        finalize d/1 until 110ms
        deliver d: abandoned, stop, asked by stop
        tell c/1 stop until 210ms
        tell b/1 stop until 210ms",
    );
}

#[test]
fn what_waits_holds_its_body_until_its_phase_is_told() {
    let mut rig = up(group().then([task("a").open()]).then([task("b")]));
    rig.returns("a", Return::Failed).whatever();
    rig.stop_group("a").orders("tell b/1 stop until 110ms");
    // A driver in backoff does not close its port under running readers, and does not start either.
    assert_eq!(rig.state("a"), "waiting");
    rig.told("b").whatever();
    rig.at(ms(30)).returns("b", Return::Ok).has("close a, stop");
    rig.closed("a").has("deliver a: cancelled by stop");
}

#[test]
fn a_failure_meanwhile_is_not_retried() {
    let mut rig = up(line());
    rig.stop_group("a").whatever();
    rig.returns("a", Return::Failed).gives("* a/1 failed after 10ms");
    rig.returns("b", Return::Ok).has("deliver b: completed");
    obeys(&mut rig, "d").has("tell c/1 stop until 110ms");
    obeys(&mut rig, "c").has("deliver a: cancelled by stop");
    assert_eq!(rig.group_state("a"), "over");
}

#[test]
fn an_offer_is_taken_back_at_once_and_closes_in_order() {
    let mut rig = up(line());
    rig.returns("a", Return::Failed).whatever();
    rig.due_at(ms(20)).gives("start a/2");
    rig.stop_group("a").orders("revoke a/2\n tell d/1 stop until 120ms");
    rig.revoked("a").gives("");
    assert_eq!(rig.state("a"), "waiting");
    obeys(&mut rig, "d").whatever();
    obeys(&mut rig, "b").whatever();
    obeys(&mut rig, "c").has("deliver a: cancelled by stop");
}

#[test]
fn steps_that_are_done_are_completed_and_others_cancelled() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").step(), task("b").step()]).then([task("c")]))
        .whatever();
    rig.claim_all(&["a", "b"]);
    rig.returns("a", Return::Ok).whatever();
    rig.stop_group("a").orders(
        "deliver c: cancelled by stop
        forget c
        forget slot c
        tell b/1 stop until 100ms
        deliver a: completed
        forget a
        forget slot a",
    );
    // It was not told in time: what it has done is done.
    rig.not_told("b").whatever();
    rig.returns("b", Return::Ok).has("deliver b: completed");
}

/// Its body comes back while its group restarts, and is dropped when the last outcome is there.
#[test]
fn one_that_closes_after_its_outcome_does_not_keep_its_group() {
    let mut rig = up(group().one_for_all().then([task("a")]).then([task("b").open()]));
    rig.restart_group("a").whatever();
    rig.told("b").whatever();
    rig.abandon("b").has("tell a/1 group until 210ms");
    rig.stop("a").whatever();
    rig.stop("b").has("deliver b: abandoned, group, asked by stop");
    rig.returns("b", Return::Ok).has("close b, stop");
    obeys(&mut rig, "a").has("* group ended");
    rig.closed("b").has("forget b");
}

/// What it was to do is done, and the stop only takes its further runs away.
#[test]
fn a_step_that_is_done_is_completed_whoever_stops_it() {
    let stops: [fn(&mut Rig) -> Orders; 4] = [
        |rig| rig.stop("a"),
        |rig| rig.stop_slot("a"),
        |rig| rig.submit(task("x").slot("a").replace()),
        |rig| rig.drain(ms(1000)),
    ];
    for stop in stops {
        let mut rig = Rig::new();
        let a = task("a").step().stop_at_drain().open();
        rig.submit_group(group().one_for_all().then([a]).then([task("b")])).whatever();
        rig.claim("a").whatever();
        rig.returns("a", Return::Ok).whatever();
        rig.claim("b").has("* group ready after 0ns");
        stop(&mut rig).has("close a, stop");
        rig.closed("a").has("deliver a: completed");
        assert_eq!(rig.group_state("a"), "up");
    }
    // Sent back, and about to run again: nothing of this start is done.
    let mut rig = Rig::new();
    rig.submit_group(group().one_for_all().then([task("a").step()]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).whatever();
    rig.claim("b").whatever();
    rig.at(ms(10)).returns("b", Return::Failed).whatever();
    rig.due_at(ms(20)).gives("start a/2");
    rig.stop("a").gives("* a slot terminating\n revoke a/2");
    rig.revoked("a").has("deliver a: cancelled by stop");
}

#[test]
fn a_member_that_fails_for_good_stops_its_group() {
    for spec in [line().one_for_all(), line().rest_for_one()] {
        let mut rig = up(spec);
        rig.returns("c", Return::Fatal).gives(
            "* c/1 failed after 10ms
            * c ended: fatal
            * group stopping, group for c
            deliver c: fatal
            forget c
            forget slot c
            * d slot terminating
            tell d/1 stop until 110ms",
        );
        obeys(&mut rig, "d").has("deliver d: cancelled by group, ok");
        rig.told("b").whatever();
        // A panic after a stop is what it is.
        rig.returns("b", Return::Panicked).has("deliver b: panicked");
        obeys(&mut rig, "a").has("* group ended");
    }
}

#[test]
fn it_stops_those_that_never_ran() {
    let mut rig = Rig::new();
    let c = task("c").open();
    rig.submit_group(group().then([task("a"), task("b")]).then([c])).whatever();
    rig.claim("a").whatever();
    let orders = rig.returns("b", Return::Fatal);
    orders.has("* group stopping, group for b");
    orders.has("close c, stop");
    assert_eq!(rig.state("a"), "running");
    rig.closed("c").has("tell a/1 stop until 100ms");
    obeys(&mut rig, "a").has("forget group");
}

#[test]
fn one_for_one_goes_on_once_it_was_up() {
    let mut rig = up(line());
    rig.returns("a", Return::Fatal).orders("deliver a: fatal\n forget a\n forget slot a");
    assert_eq!(rig.group_state("a"), "up");
    assert_eq!(rig.states(&["b", "c", "d"]), "running running running");
    // Before that, the later phases would never be released.
    let mut rig = Rig::new();
    rig.submit_group(line()).whatever();
    rig.claim("a").whatever();
    rig.returns("b", Return::Fatal).has("* group stopping, group for b");
}

#[test]
fn the_last_retry_of_a_member_is_that_of_the_group() {
    let mut rig = up(group().one_for_all().then([task("a")]).then([task("b").never()]));
    rig.returns("b", Return::Failed).has("tell a/1 stop until 110ms");
    obeys(&mut rig, "a").has("deliver a: cancelled by group, ok");
}

#[test]
fn a_member_that_was_stopped_is_settled_even_if_its_body_hangs() {
    let mut rig = Rig::new();
    rig.submit_group(
        group().one_for_all().then([task("a").ready_within(ms(500))]).then([task("b")]),
    )
    .whatever();
    rig.claim("a").whatever();
    rig.at(ms(10)).stop_told("a");
    assert_eq!(rig.state("b"), "waiting");
    // Until then nobody knows whether others may rely on it.
    let orders = rig.abandon("a");
    orders.has("deliver a: abandoned, stop, asked by stop");
    orders.has("start b/1");
    // A restart waits for its body, which others might run into.
    rig.claim("b").has("* group ready after 110ms");
    rig.returns("b", Return::Failed).has("* group restarting for b, 1");
    rig.due_at(ms(120)).gives("");
    rig.returns("a", Return::Ok).has("start b/2");
}

#[test]
fn a_member_is_stopped_or_replaced_alone() {
    let mut rig = up(line().one_for_all());
    rig.stop("c").orders("tell c/1 stop until 110ms");
    obeys(&mut rig, "c").orders("deliver c: cancelled by stop, ok\n forget c\n forget slot c");
    // The next owner of a slot is a stranger.
    rig.submit(task("x").slot("b").replace()).has("tell b/1 replace until 110ms");
    obeys(&mut rig, "b").has("start x/1");
    rig.claim("x").whatever();
    assert_eq!(rig.group_state("a"), "up");
    rig.stop_slot("d").has("tell d/1 stop until 110ms");
    obeys(&mut rig, "d").whatever();
    rig.stop_group("a").whatever();
    obeys(&mut rig, "a").has("forget group");
    assert_eq!(rig.state("x"), "running");
}

/// It would return before its turn, and nothing would follow.
#[test]
fn a_member_of_a_group_that_stops_is_not_restarted() {
    for shuts_down in [false, true] {
        let mut rig = up(line());
        let orders = if shuts_down { rig.shutdown() } else { rig.stop_group("a") };
        orders.has_none("tell a/1");
        rig.restart("a").gives("answer false");
        assert_eq!(rig.state("a"), "running");
    }
}

#[test]
fn a_member_that_fails_after_it_was_stopped_is_settled_like_any_that_was() {
    for ret in [Return::Panicked, Return::Fatal] {
        let mut rig = up(line().one_for_all());
        rig.stop_told("c");
        rig.returns("c", ret).has_none("* group");
        assert_eq!(rig.group_state("a"), "up");
    }
}

#[test]
fn a_restart_gives_way_to_a_stop() {
    let mut rig = up(line().one_for_all());
    rig.returns("b", Return::Failed).has("tell d/1 group until 110ms");
    rig.stop_group("a").gives(
        "* group stopping, stop
        * d slot terminating
        finalize d/1 until 110ms",
    );
    // It keeps what it was told.
    let orders = obeys(&mut rig, "d");
    orders.has("deliver d: cancelled by stop, ok");
    orders.has("deliver b: cancelled by stop");
    obeys(&mut rig, "c").has("tell a/1 stop until 110ms");
}

#[test]
fn a_shutdown_stops_a_group_in_order_and_all_others_at_once() {
    let mut rig = up(line());
    rig.run(task("x"));
    rig.shutdown().orders(
        "close door
        tell x/1 shutdown until 110ms
        tell d/1 shutdown until 110ms",
    );
    obeys(&mut rig, "x").whatever();
    obeys(&mut rig, "d").has("tell b/1 shutdown until 110ms");
    obeys(&mut rig, "b").has("deliver b: cancelled by shutdown, ok");
    obeys(&mut rig, "c").has("tell a/1 shutdown until 110ms");
    let orders = obeys(&mut rig, "a");
    orders.has("* group ended");
    orders.has("flush events");
}

/// Three phases share a second: each has at most a third of it.
#[test]
fn a_phase_that_hangs_has_its_share_of_the_time_of_a_shutdown() {
    let hangs = |name| task(name).grace(ms(5000));
    let spec = group().then([hangs("a")]).then([hangs("b"), hangs("c")]).then([hangs("d")]);
    let mut rig = up(spec);
    rig.shutdown().has("tell d/1 shutdown until 1.01s");
    rig.told("d").whatever();
    rig.due().orders("tell c/1 shutdown until 1.01s\n tell b/1 shutdown until 1.01s");
    assert_eq!(rig.now().since_start(), ms(10) + ms(1000) / 3);
    rig.told("b").whatever();
    rig.told("c").whatever();
    rig.due().orders("tell a/1 shutdown until 1.01s");
    assert_eq!(rig.now().since_start(), ms(10) + ms(1000) / 3 * 2);
    rig.told("a").whatever();
    // The end of nobody's grace moves.
    rig.due_at(ms(1010)).orders("abandon d/1\n abandon c/1\n abandon b/1\n abandon a/1");
}

#[test]
fn unused_time_goes_to_the_phases_that_follow() {
    let hangs = |name| task(name).grace(ms(5000));
    let mut rig = up(group().then([task("a")]).then([hangs("b")]).then([task("c")]));
    rig.shutdown().whatever();
    rig.at(ms(20));
    obeys(&mut rig, "c").has("tell b/1 shutdown until 1.01s");
    rig.told("b").whatever();
    rig.due().gives("");
    rig.due().orders("tell a/1 shutdown until 776.666666ms");
}

#[test]
fn in_a_shutdown_what_waits_closes_when_it_is_its_turn() {
    let mut rig = up(line().one_for_all());
    rig.returns("d", Return::Failed).whatever();
    obeys(&mut rig, "b").whatever();
    rig.shutdown().orders(
        "close door
        deliver d: cancelled by shutdown
        forget d
        forget slot d
        finalize c/1 until 110ms
        deliver b: cancelled by shutdown
        forget b
        forget slot b",
    );
    obeys(&mut rig, "c").has("tell a/1 shutdown until 110ms");
}

#[test]
fn a_second_signal_tells_all_at_once() {
    let mut rig = up(group().then([task("a").grace(ms(5000))]).then([task("b").grace(ms(5000))]));
    rig.signal().has("tell b/1 shutdown until 1.01s");
    rig.told("b").whatever();
    rig.at(ms(400)).signal().orders(
        "restore signals
        finalize b/1 until 400ms
        abandon b/1
        tell a/1 shutdown until 400ms
        abandon a/1",
    );
}

#[test]
fn a_significant_member_ends_the_supervisor_in_order() {
    let mut rig =
        up(group().then([task("a")]).then([task("b").shutdown_on_end()]).then([task("c")]));
    let orders = rig.returns("b", Return::Ok);
    orders.has("* shutdown requested: end of b");
    orders.has("tell c/1 shutdown until 110ms");
    orders.has_none("tell a/1");
    obeys(&mut rig, "c").has("tell a/1 shutdown until 110ms");
}

#[test]
fn a_drain_waits_for_a_group_that_ends_by_itself() {
    let mut rig = up(group().then([task("a")]).then([task("b")]));
    rig.drain(ms(1000)).whatever();
    assert!(!rig.has_drained());
    rig.returns("a", Return::Ok).whatever();
    rig.returns("b", Return::Ok).has("forget group");
    assert!(rig.has_drained());
}

#[test]
fn a_drain_waits_neither_for_a_group_with_a_resident_nor_for_a_step_that_is_done() {
    let mut rig = up(group().then([task("a").always()]).then([task("b")]));
    rig.submit(task("x").slot("b")).has("decide x: queued behind 0");
    rig.drain(ms(1000)).has("deliver x: rejected(shutting_down)");
    assert!(rig.has_drained());
    rig.intake_empty().has("tell b/1 shutdown until 110ms");

    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").step()]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.drain(ms(1000)).whatever();
    rig.returns("a", Return::Ok).whatever();
    rig.claim("b").whatever();
    assert!(!rig.has_drained());
    rig.returns("b", Return::Ok).whatever();
    assert!(rig.has_drained());
}

#[test]
fn a_drain_stops_a_member_that_asks_for_it_alone() {
    let mut rig = up(group().then([task("a").always()]).then([task("b").always().stop_at_drain()]));
    rig.drain(ms(1000)).has("tell b/1 stop until 110ms");
    obeys(&mut rig, "b").has("deliver b: cancelled by drain, ok");
    assert_eq!(rig.state("a"), "running");
    rig.intake_empty().has("tell a/1 shutdown until 110ms");
}

#[test]
fn a_drain_waits_for_the_attempts_of_members_that_are_to_finish() {
    let member = |name| task(name).always().finish_at_drain();
    let mut rig = up(group().then([member("a")]).then([member("b")]));
    rig.drain(ms(1000)).has_none("tell");
    assert!(!rig.has_drained());
    rig.returns("b", Return::Ok).has("deliver b: cancelled by drain, ok");
    assert_eq!(rig.state("a"), "running");
    rig.returns("a", Return::Ok).has("deliver a: cancelled by drain, ok");
    assert!(rig.has_drained());

    // A failure that would be retried ends the member, and the others go on as without it.
    let mut rig = up(group().then([member("a")]).then([member("b")]));
    rig.drain(ms(1000)).whatever();
    rig.returns("a", Return::Failed).has("deliver a: cancelled by drain");
    assert_eq!(rig.state("b"), "running");

    // A restart of the group is told as ever, but nothing follows.
    let mut rig = up(group().then([member("a")]).then([member("b")]));
    rig.drain(ms(1000)).whatever();
    rig.restart_group("a").has("tell b/1 group until 110ms");
    obeys(&mut rig, "b").has("deliver b: cancelled by drain, ok");
}

#[test]
fn what_queues_behind_a_step_that_comes_to_be_done_in_a_drain_is_refused() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").step()]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.submit(task("x").slot("a")).has("decide x: queued behind 0");
    rig.drain(ms(1000)).has_none("deliver x");
    rig.returns("a", Return::Ok).has("deliver x: rejected(shutting_down)");
}
