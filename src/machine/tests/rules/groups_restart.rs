//! Groups restart: who goes back, in which order, and who starts again when.
//!
//! Section `Groups` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::tests::rig_groups::{group, GroupSpec};
use crate::vocabulary::answer::Return;

/// "a", then "b" and "c", then "d".
pub(super) fn line() -> GroupSpec {
    group().then([task("a")]).then([task("b"), task("c")]).then([task("d")])
}

/// A group that is up, at 10 ms.
pub(super) fn up(spec: GroupSpec) -> Rig {
    let mut rig = Rig::new();
    rig.run_group(spec);
    assert_eq!(rig.group_state("a"), "up");
    rig.at(ms(10));
    rig
}

/// The body is told, and returns at once.
pub(super) fn obeys(rig: &mut Rig, name: &str) -> crate::machine::tests::rig::Orders {
    rig.told(name).whatever();
    rig.returns(name, Return::Cancelled)
}

#[test]
fn one_for_one_restarts_only_the_member_that_failed() {
    let mut rig = up(line());
    rig.returns("a", Return::Failed).gives(
        "* a/1 failed after 10ms
        * a/1 retry in 10ms, failed",
    );
    assert_eq!(rig.group_state("a"), "up");
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").gives("* a/2 starting");
}

#[test]
fn one_for_all_sends_all_back_the_last_phase_first_and_starts_again_in_order() {
    let mut rig = up(line().one_for_all());
    rig.returns("b", Return::Failed).gives(
        "* b/1 failed after 10ms
        * group restarting for b, 1
        * b/1 retry in 10ms, failed
        tell d/1 group until 110ms",
    );
    assert_eq!(rig.group_state("a"), "restarting 2");
    // Told is not enough: the phase before is told when the later one is at rest.
    rig.told("d").gives("");
    rig.at(ms(12)).returns("d", Return::Cancelled).gives(
        "* d/1 cancelled after 12ms late by 2ms
        tell c/1 group until 112ms",
    );
    // The culprit waits for its own retry, and is left alone.
    assert_eq!(rig.states(&["a", "b", "c", "d"]), "running waiting stopping waiting");
    obeys(&mut rig, "c").orders("tell a/1 group until 112ms");
    assert_eq!(rig.group_state("a"), "restarting 0");
    obeys(&mut rig, "a").orders("");
    // All others are at rest: the culprit's backoff is that of the group.
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").gives("* a/2 starting\n start b/2\n start c/2");
    rig.claim("b").gives("* b/2 starting");
    rig.claim("c").gives("* c/2 starting\n start d/2");
    rig.at(ms(25)).claim("d").gives("* d/2 starting\n * group ready after 15ms");
}

#[test]
fn nobody_starts_while_a_sibling_still_runs_from_before() {
    let mut rig = up(line().one_for_all());
    rig.returns("d", Return::Failed).has("tell b/1 group until 110ms");
    obeys(&mut rig, "b").orders("");
    rig.told("c").whatever();
    // The retry is due, and waits.
    rig.due_at(ms(20)).gives("");
    assert_eq!(rig.states(&["a", "b", "c", "d"]), "running waiting stopping waiting");
    rig.returns("c", Return::Ok).has("tell a/1 group until 120ms");
    rig.told("a").whatever();
    rig.returns("a", Return::Ok).gives("* a/1 succeeded after 20ms ok\n start a/2");
}

#[test]
fn rest_for_one_restarts_later_phases_but_no_neighbours() {
    let mut rig = up(line().rest_for_one());
    rig.returns("b", Return::Failed).orders("tell d/1 group until 110ms");
    obeys(&mut rig, "d").orders("");
    assert_eq!(rig.states(&["a", "b", "c", "d"]), "running waiting running waiting");
    assert_eq!(rig.group_state("a"), "restarting 1");
    rig.due_at(ms(20)).gives("start b/2");
    rig.claim("b").gives("* b/2 starting\n start d/2");
    rig.claim("d").has("* group ready after 10ms");
}

#[test]
fn a_neighbour_that_fails_meanwhile_is_waited_for_and_not_counted() {
    let mut rig = up(line().rest_for_one().restart_limit(1, ms(1000)));
    rig.returns("b", Return::Failed).has("tell d/1 group until 110ms");
    rig.at(ms(15)).returns("c", Return::Failed).gives(
        "* c/1 failed after 15ms
        * c/1 retry in 10ms, failed",
    );
    obeys(&mut rig, "d").orders("");
    rig.due_at(ms(20)).gives("");
    rig.due_at(ms(25)).gives("start b/2\n start c/2");
}

#[test]
fn a_failure_in_an_earlier_phase_moves_the_restart_there_and_counts() {
    let mut rig = up(line().rest_for_one().restart_limit(2, ms(1000)));
    rig.returns("d", Return::Failed).gives(
        "* d/1 failed after 10ms
        * group restarting for d, 1
        * d/1 retry in 10ms, failed",
    );
    rig.at(ms(15)).returns("a", Return::Failed).gives(
        "* a/1 failed after 15ms
        * group restarting for a, 2
        * a/1 retry in 10ms, failed
        tell c/1 group until 115ms
        tell b/1 group until 115ms",
    );
    obeys(&mut rig, "b").whatever();
    obeys(&mut rig, "c").whatever();
    rig.due_at(ms(20)).gives("");
    rig.due_at(ms(25)).gives("start a/2");
    rig.claim("a").has("start c/2");
    rig.claim_all(&["b", "c", "d"]);
    // The budget is spent.
    rig.returns("d", Return::Failed).orders(
        "deliver d: failed
        forget d
        forget slot d
        tell c/2 stop until 125ms
        tell b/2 stop until 125ms",
    );
    assert_eq!(rig.group_state("a"), "stopping 1");
}

#[test]
fn a_second_failure_while_it_restarts_has_its_own_backoff_and_counts_nothing() {
    let mut rig = up(line().one_for_all().restart_limit(1, ms(1000)));
    rig.returns("d", Return::Failed).whatever();
    // It is about to be told, and fails by itself.
    rig.at(ms(17)).returns("b", Return::Failed).gives(
        "* b/1 failed after 17ms late by 7ms
        * b/1 retry in 10ms, failed",
    );
    obeys(&mut rig, "c").orders("tell a/1 group until 117ms");
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(20)).gives("");
    // The group starts at the later of the two.
    rig.due_at(ms(27)).gives("start a/2");
    assert_eq!((rig.streak("b"), rig.streak("d"), rig.streak("c")), (1, 1, 0));
}

#[test]
fn a_panic_of_one_that_is_told_is_a_failure_of_its_own() {
    let mut rig = up(line().one_for_all().restart_limit(1, ms(1000)));
    rig.returns("b", Return::Failed).whatever();
    rig.told("d").whatever();
    rig.returns("d", Return::Panicked).has("* d/1 retry in 10ms, panicked");
    assert_eq!((rig.streak("d"), rig.group_state("a").as_str()), (1, "restarting 1"));
}

#[test]
fn whoever_skips_the_wait_of_the_culprit_starts_the_group() {
    let mut rig = up(group().one_for_all().then([task("a")]).then([task("b")]));
    rig.returns("b", Return::Failed).has("tell a/1 group until 110ms");
    obeys(&mut rig, "a").orders("");
    rig.skip("b").gives("answer true\n start a/2");
    rig.claim("a").has("start b/2");
}

#[test]
fn the_streaks_and_delays_of_siblings_stay_what_they_are() {
    let mut rig = up(line().one_for_all());
    rig.returns("d", Return::Failed).whatever();
    for name in ["b", "c", "a"] {
        obeys(&mut rig, name).whatever();
    }
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").whatever();
    rig.claim_all(&["b", "c", "d"]);
    let streaks = ["a", "b", "c", "d"].map(|name| rig.streak(name));
    assert_eq!(streaks, [0, 0, 0, 1]);
    assert_eq!(rig.attempt("c").number, 2);
}

#[test]
fn an_offer_is_taken_back_and_one_that_was_claimed_is_told() {
    for claim_won in [false, true] {
        let mut rig = up(group().one_for_all().then([task("a")]).then([task("b"), task("c")]));
        rig.returns("b", Return::Failed).has("tell c/1 group until 110ms");
        obeys(&mut rig, "c").has("tell a/1 group until 110ms");
        obeys(&mut rig, "a").orders("");
        rig.due_at(ms(20)).gives("start a/2");
        rig.claim("a").has("start c/2");
        rig.at(ms(21)).claim("b").whatever();
        rig.returns("b", Return::Failed).orders("revoke c/2");
        if claim_won {
            rig.not_revoked("c").gives("* c/2 starting\n tell c/2 group until 121ms");
            obeys(&mut rig, "c").has("tell a/2 group until 121ms");
        } else {
            rig.revoked("c").gives("tell a/2 group until 121ms");
            assert_eq!(rig.state("c"), "waiting");
        }
        obeys(&mut rig, "a").orders("");
        rig.due_at(ms(31)).gives("start a/3");
        rig.claim("a").gives("* a/3 starting\n start b/3\n start c/3");
    }
}

#[test]
fn one_that_waits_for_a_permit_leaves_the_line() {
    let mut rig = Rig::with_permits(3);
    rig.run_group(group().one_for_all().then([task("a")]).then([task("b")]));
    rig.run(task("x"));
    rig.at(ms(1)).returns("b", Return::Failed).has("tell a/1 group until 101ms");
    rig.run(task("y"));
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(11)).gives("start a/2");
    rig.claim("a").has("* b waits for a permit");
    rig.submit(task("z")).has("* z waits for a permit");
    assert_eq!(rig.permits(), (3, 2));
    // Its permit passes to nobody of its group, and the line is as it was.
    rig.returns("a", Return::Failed).orders("start z/1");
    assert_eq!((rig.permits(), rig.state("b")), ((3, 0), "waiting"));
}

#[test]
fn an_abandoned_member_holds_the_group_up_until_it_has_returned() {
    let mut rig = up(line().one_for_all());
    rig.returns("d", Return::Failed).whatever();
    rig.told("b").whatever();
    obeys(&mut rig, "c").orders("");
    rig.due_at(ms(20)).gives("");
    // Those of the phase before are told even so.
    rig.abandon("b").orders("examine b/1\n tell a/1 group until 210ms");
    obeys(&mut rig, "a").orders("");
    assert_eq!(rig.group_state("a"), "restarting 0, waits for b");
    rig.at(ms(150)).returns("b", Return::Ok).gives(
        "* b/1 returned ok, late by 40ms
        * b slot no longer terminating
        * b/1 retry in 10ms, abandoned",
    );
    assert_eq!((rig.streak("b"), rig.group_state("a").as_str()), (1, "restarting 0"));
    rig.due_at(ms(160)).gives("start a/2");
}

#[test]
fn a_member_that_is_abandoned_sends_others_back_at_once() {
    let mut rig = up(group().one_for_all().then([task("a")]).then([task("b").timeout(ms(50))]));
    rig.due_at(ms(50)).whatever();
    rig.told("b").whatever();
    rig.abandon("b").gives(
        "* b/1 abandoned after 150ms, timeout
        examine b/1
        * b slot terminating
        * group restarting for b, 1
        tell a/1 group until 250ms",
    );
    assert_eq!(rig.group_state("a"), "restarting 0, waits for b");
    obeys(&mut rig, "a").orders("");
    rig.at(ms(200)).returns("b", Return::Failed).has("* b/1 retry in 10ms, abandoned");
    rig.due_at(ms(210)).gives("start a/2");
}

#[test]
fn the_culprit_is_abandoned_when_the_budget_is_spent() {
    let spec = group().one_for_all().restart_limit(0, ms(1000));
    let mut rig = up(spec.then([task("a")]).then([task("b").timeout(ms(50))]));
    rig.due_at(ms(50)).whatever();
    rig.told("b").whatever();
    rig.abandon("b").gives(
        "* b/1 abandoned after 150ms, timeout
        examine b/1
        * b slot terminating
        finalize b/1 until 150ms
        * b ended: abandoned, timeout
        * group stopping, group for b
        deliver b: abandoned, timeout
        * a slot terminating
        tell a/1 stop until 250ms",
    );
    // Its slot is held until it returns.
    assert_eq!(rig.slot("b"), "b terminating since 150ms");
    rig.told("a").whatever();
    rig.returns("a", Return::Ok).has("deliver a: cancelled by group, ok");
    rig.returns("b", Return::Ok).has("forget slot b");
}

#[test]
fn the_budget_counts_a_window() {
    let spec = group().one_for_all().restart_limit(1, ms(100));
    let mut rig = up(spec.then([task("a")]));
    for (at, line) in [(10, "* group restarting for a, 1"), (110, "* group restarting for a, 2")] {
        rig.at(ms(at)).returns("a", Return::Failed).has(line);
        rig.due().has(&format!("start a/{}", rig.attempt("a").number));
        rig.claim("a").whatever();
    }
    rig.at(ms(209)).returns("a", Return::Failed).has("deliver a: failed");
}

#[test]
fn one_that_is_released_is_not_waited_for() {
    let b = task("b").timeout(ms(50)).release_shared();
    let mut rig = up(group().one_for_all().then([task("a")]).then([b]));
    rig.due_at(ms(50)).whatever();
    rig.told("b").whatever();
    rig.abandon("b").has("* group restarting for b, 1");
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(160)).gives("start a/2");
    // One whose body cannot run twice at a time has failed for good.
    let mut rig =
        up(group().one_for_all().then([task("a")]).then([task("b").timeout(ms(50)).release()]));
    rig.due_at(ms(50)).whatever();
    rig.told("b").whatever();
    let orders = rig.abandon("b");
    orders.has("* group stopping, group for b");
    orders.has("tell a/1 stop until 250ms");
}

#[test]
fn a_group_is_restarted_by_hand_under_every_strategy() {
    for spec in [line(), line().rest_for_one(), line().one_for_all()] {
        let mut rig = up(spec);
        rig.restart_group("a")
            .gives("* group restarting, 1\n answer true\n tell d/1 group until 110ms");
        assert_eq!(rig.group_state("a"), "restarting 2");
        rig.restart_group("a").gives("answer true");
        obeys(&mut rig, "d").orders("tell c/1 group until 110ms\n tell b/1 group until 110ms");
        obeys(&mut rig, "c").orders("");
        obeys(&mut rig, "b").orders("tell a/1 group until 110ms");
        obeys(&mut rig, "a").orders("start a/2");
        rig.claim("a").whatever();
        rig.claim_all(&["b", "c"]);
        rig.claim("d").has("* group ready after 0ns");
    }
}

#[test]
fn by_hand_it_goes_back_to_the_first_phase_and_waits_for_no_backoff() {
    let mut rig = up(line().rest_for_one());
    rig.returns("d", Return::Failed).has("* group restarting for d, 1");
    rig.restart_group("a").has("* group restarting, 2");
    rig.told("c").whatever();
    rig.returns("c", Return::Ok).whatever();
    obeys(&mut rig, "b").has("tell a/1 group until 110ms");
    obeys(&mut rig, "a").orders("start a/2");
    // Of a group that starts as well.
    rig.restart_group("a").has("revoke a/2");
    rig.revoked("a").gives("start a/3");
}

#[test]
fn a_member_restarted_by_hand_takes_others_with_it_and_nothing_is_counted() {
    let mut rig = up(line().rest_for_one().restart_limit(0, ms(1000)));
    rig.restart("a").gives("tell a/1 restart until 110ms\n answer true");
    rig.told("a").whatever();
    rig.returns("a", Return::Cancelled).gives(
        "* a/1 cancelled after 10ms
        * group restarting for a, 1
        tell d/1 group until 110ms",
    );
    obeys(&mut rig, "d").whatever();
    obeys(&mut rig, "b").whatever();
    obeys(&mut rig, "c").orders("start a/2");
    assert_eq!(rig.streak("a"), 0);
}

#[test]
fn a_resident_that_returns_takes_others_with_it() {
    let mut rig = up(group()
        .one_for_all()
        .restart_limit(0, ms(9))
        .then([task("a").always()])
        .then([task("b")]));
    rig.returns("a", Return::Ok).has("* group restarting for a, 1");
    obeys(&mut rig, "b").orders("start a/2");
    rig.claim("a").has("start b/2");
    // With an interval it is expected to.
    let mut rig = up(group().one_for_all().then([task("a").every(ms(20))]).then([task("b")]));
    rig.returns("a", Return::Ok).gives("* a/1 succeeded after 10ms ok\n * a/1 pause for 10ms");
}

#[test]
fn waits_between_runs_end_when_the_group_restarts() {
    let mut rig = up(group()
        .one_for_all()
        .then([task("a")])
        .then([task("b").every(ms(100)), task("c").initial_delay(ms(0))]));
    rig.returns("b", Return::Ok).whatever();
    rig.returns("c", Return::Failed).has("tell a/1 group until 110ms");
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(20)).gives("start a/2");
    // The grid stays, and it is released at once.
    rig.claim("a").has("start b/2");
    rig.claim("b").whatever();
    rig.at(ms(30)).returns("b", Return::Ok).has("* b/2 pause for 70ms");
}

#[test]
fn steps_run_again_with_the_group_and_not_with_a_neighbour() {
    let spec = || group().then([task("a").step()]).then([task("b")]);
    let start = |spec: GroupSpec| {
        let mut rig = Rig::new();
        rig.submit_group(spec).whatever();
        rig.claim("a").whatever();
        rig.returns("a", Return::Ok).has("start b/1");
        rig.claim("b").whatever();
        rig.at(ms(10)).returns("b", Return::Failed).whatever();
        rig
    };
    let mut rig = start(spec());
    rig.due_at(ms(20)).gives("start b/2");
    let mut rig = start(spec().rest_for_one());
    rig.due_at(ms(20)).gives("start b/2");
    let mut rig = start(spec().one_for_all());
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").gives("* a/2 starting");
    rig.returns("a", Return::Ok).has("start b/2");
}

#[test]
fn a_member_told_of_its_deadline_is_not_told_again() {
    let mut rig =
        up(group().one_for_all().then([task("a")]).then([task("b").timeout(ms(20)), task("c")]));
    rig.due_at(ms(20)).has("tell b/1 timeout until 120ms");
    rig.told("b").whatever();
    rig.returns("c", Return::Failed).has("* group restarting for c, 1");
    assert_eq!(rig.state("a"), "running");
    // Its failure is its own, and counts in no budget.
    rig.returns("b", Return::Cancelled).orders("tell a/1 group until 120ms");
}

#[test]
fn a_member_over_stays_over() {
    let mut rig = up(line().one_for_all());
    rig.returns("c", Return::Ok).has("deliver c: completed");
    rig.returns("d", Return::Failed).has("tell b/1 group until 110ms");
    obeys(&mut rig, "b").whatever();
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").gives("* a/2 starting\n start b/2");
}

#[test]
fn an_initial_delay_counts_from_the_first_release_only() {
    let mut rig = Rig::new();
    let b = task("b").initial_delay(ms(5));
    rig.submit_group(group().one_for_all().then([task("a")]).then([b, task("c")])).whatever();
    rig.claim_all(&["a", "c"]);
    rig.due_at(ms(5)).gives("start b/1");
    rig.claim("b").has("* group ready after 5ms");
    rig.returns("c", Return::Failed).has("tell b/1 group until 105ms");
    obeys(&mut rig, "b").has("tell a/1 group until 105ms");
    obeys(&mut rig, "a").orders("");
    rig.due_at(ms(15)).gives("start a/2");
    rig.claim("a").gives("* a/2 starting\n start b/2\n start c/2");
}

#[test]
fn a_step_whose_claim_wins_is_told_in_its_turn() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").step()]).then([task("b")])).whatever();
    rig.restart_group("a").has("revoke a/1");
    rig.not_revoked("a").gives("* a/1 starting\n tell a/1 group until 100ms");
}

#[test]
fn what_was_restarted_by_hand_takes_nothing_from_the_budget() {
    let mut rig = up(group().one_for_all().restart_limit(1, ms(1000)).then([task("a")]));
    rig.restart("a").whatever();
    obeys(&mut rig, "a").has("* group restarting for a, 1");
    rig.claim("a").whatever();
    rig.returns("a", Return::Failed).has("* group restarting for a, 2");
}

#[test]
fn the_time_in_which_an_offer_is_taken_back_does_not_count_for_its_expiry() {
    let mut rig = Rig::new();
    let b = task("b").expires_in(ms(20));
    rig.submit_group(group().one_for_all().then([task("a"), b])).whatever();
    rig.claim("a").whatever();
    rig.at(ms(5));
    rig.returns("a", Return::Failed).has("revoke b/1");
    rig.due_at(ms(15)).gives("");
    rig.at(ms(30));
    rig.revoked("b").gives("start a/2\n start b/2");
    rig.due_at(ms(45)).gives("revoke b/2");
}
