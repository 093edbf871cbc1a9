//! Groups come up phase by phase.
//!
//! Section `Groups` of `guide::rules`.

use super::groups_restart::{line, obeys, up};
use crate::machine::tests::rig::{ms, task, Orders, Rig};
use crate::machine::tests::rig_groups::group;
use crate::machine::Input;
use crate::vocabulary::answer::Return;

/// The attempt says, now, that it is ready.
fn says(rig: &mut Rig, name: &str, number: u64) -> Orders {
    let mut attempt = rig.attempt(name);
    attempt.number = number;
    let now = rig.now();
    let until = crate::vocabulary::time::Time::NEVER;
    rig.input(Input::Ready { attempt, claimed_at: now, at: now, until })
}

#[test]
fn a_phase_starts_when_every_member_of_the_one_before_is_ready() {
    let mut rig = Rig::new();
    let spec = group().then([task("a"), task("b")]).then([task("c")]);
    rig.submit_group(spec).gives(
        "* a submitted drop_if_running
        decide a: admitted
        * a admitted
        * b submitted drop_if_running
        decide b: admitted
        * b admitted
        * c submitted drop_if_running
        decide c: admitted
        * c admitted
        * group starting
        start a/1
        start b/1",
    );
    assert_eq!(rig.states(&["a", "b", "c"]), "starting starting waiting");
    rig.idle();
    rig.at(ms(1)).claim("b").gives("* b/1 starting");
    assert_eq!(rig.group_state("a"), "starting 0");
    rig.at(ms(2)).claim("a").gives("* a/1 starting\n start c/1");
    assert_eq!(rig.group_state("a"), "starting 1");
    rig.at(ms(3)).claim("c").gives("* c/1 starting\n * group ready after 3ms");
    assert_eq!(rig.group_state("a"), "up");
}

#[test]
fn a_member_that_has_to_say_so_is_ready_when_it_does() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").ready_within(ms(10))]).then([task("b")])).whatever();
    rig.claim("a").gives("* a/1 starting");
    says(rig.at(ms(4)), "a", 1).gives("* a/1 ready after 0ns\n start b/1");
    // To say it again changes nothing.
    says(&mut rig, "a", 1).gives("* a/1 ready after 0ns");
    rig.claim("b").gives("* b/1 starting\n * group ready after 4ms");
}

#[test]
fn one_that_does_not_say_so_in_time_has_failed_and_holds_the_next_phase_up() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").ready_within(ms(10))]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.due_at(ms(10)).gives("tell a/1 timeout until 110ms");
    rig.told("a").whatever();
    rig.returns("a", Return::Cancelled).gives(
        "* a/1 timed_out after 10ms
        * a/1 retry in 10ms, timed_out",
    );
    assert_eq!(rig.states(&["a", "b"]), "waiting waiting");
    rig.due_at(ms(20)).gives("start a/2");
    rig.claim("a").whatever();
    // The word of an attempt that is over says nothing.
    let stale = rig.stale();
    says(&mut rig, "a", 1).gives("");
    assert_eq!(rig.stale(), stale + 1);
    says(&mut rig, "a", 2).has("start b/1");
}

#[test]
fn one_that_returns_before_it_is_ready_is_over_and_holds_nobody_up() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").ready_within(ms(10))]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).orders(
        "deliver a: completed
        forget a
        forget slot a
        start b/1",
    );
    rig.claim("b").has("* group ready after 0ns");
    rig.returns("b", Return::Ok)
        .orders("deliver b: completed\n forget b\n forget slot b\n forget group");
    assert_eq!(rig.group_state("a"), "over");
}

#[test]
fn a_step_is_ready_once_it_has_returned_and_then_waits() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").step()]).then([task("b")])).whatever();
    rig.claim("a").gives("* a/1 starting");
    assert!(!rig.finality("a").success, "it may run again");
    rig.returns("a", Return::Failed).orders("");
    rig.due_at(ms(10)).gives("start a/2");
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).gives("* a/2 succeeded after 0ns ok\n start b/1");
    assert_eq!(rig.state("a"), "waiting");
    rig.skip("a").gives("answer false");
    rig.restart("a").gives("answer false");
    rig.claim("b").whatever();
    assert_eq!((rig.group_state("a").as_str(), rig.permits().0), ("up", 1));
    // Its outcome comes when the group ends.
    rig.returns("b", Return::Ok).orders(
        "deliver b: completed
        forget b
        forget slot b
        deliver a: completed
        forget a
        forget slot a
        forget group",
    );
}

#[test]
fn a_group_of_steps_only_ends_when_all_are_done() {
    let mut rig = Rig::new();
    rig.run(task("x"));
    rig.submit_group(group().then([task("a").step(), task("b").step()]).then([task("c").step()]))
        .whatever();
    rig.claim_all(&["a", "b"]);
    rig.returns("b", Return::Ok).orders("");
    rig.returns("a", Return::Ok).orders("start c/1");
    rig.claim("c").gives("* c/1 starting");
    rig.at(ms(5)).returns("c", Return::Ok).gives(
        "* c/1 succeeded after 5ms ok
        * group ready after 5ms
        * c ended: completed
        deliver c: completed
        forget c
        forget slot c
        * b ended: completed
        deliver b: completed
        forget b
        forget slot b
        * a ended: completed
        deliver a: completed
        forget a
        forget slot a
        * group ended
        forget group",
    );
}

#[test]
fn a_group_is_admitted_as_a_whole_or_not_at_all() {
    let mut rig = Rig::new();
    rig.run(task("b"));
    rig.submit_group(group().then([task("a")]).then([task("b")]).then([task("c")])).orders(
        "decide a: rejected(batch_refused for b)
        deliver a: rejected(batch_refused for b)
        forget a
        forget slot a
        decide b: rejected(slot_busy b since 0ns)
        deliver b: rejected(slot_busy b since 0ns)
        forget b
        decide c: rejected(batch_refused for b)
        deliver c: rejected(batch_refused for b)
        forget c
        forget slot c
        forget group",
    );
    assert_eq!(rig.group_state("a"), "over");
    rig.restart_group("a").gives("answer false");
    rig.stop_group("a").gives("");
}

#[test]
fn two_members_do_not_name_one_slot() {
    let mut rig = Rig::new();
    let orders = rig.submit_group(group().then([task("a")]).then([task("b").slot("a")]));
    orders.has("decide b: rejected(slot_named_twice like a)");
    orders.has("forget group");
}

#[test]
fn members_that_run_at_intervals_are_ready_at_their_first_run_for_good() {
    let mut rig = Rig::new();
    let spec = group()
        .then([task("a").every(ms(10)), task("b").every(ms(10)).initial_delay(ms(5))])
        .then([task("c")]);
    rig.submit_group(spec).orders(
        "decide a: admitted
        decide b: admitted
        decide c: admitted
        start a/1",
    );
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).has("* a/1 pause for 10ms");
    // They are never ready at the same moment.
    rig.due_at(ms(5)).gives("start b/1");
    rig.claim("b").gives("* b/1 starting\n start c/1");
    rig.due_at(ms(10)).gives("start a/2");
}

#[test]
fn the_time_until_its_phase_is_released_does_not_expire_a_member() {
    let mut rig = Rig::with_permits(1);
    let b = task("b").expires_in(ms(10)).initial_delay(ms(30));
    rig.submit_group(group().then([task("a").step()]).then([b])).whatever();
    rig.claim("a").whatever();
    rig.idle();
    rig.at(ms(40)).returns("a", Return::Ok).orders("");
    // Its initial delay begins now.
    rig.due_at(ms(70)).gives("start b/1");
    // From here on it counts.
    rig.due_at(ms(80)).gives("revoke b/1");
    rig.revoked("b").has("deliver b: rejected(expired)");
}

#[test]
fn members_wait_for_permits_like_others() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("x"));
    rig.submit_group(group().then([task("a").step()]).then([task("b")]))
        .has("* a waits for a permit");
    rig.returns("x", Return::Ok).has("start a/1");
    rig.claim("a").whatever();
    rig.run(task("y"));
    rig.returns("a", Return::Ok).orders("start y/1\n");
}

#[test]
fn a_group_of_one_phase_starts_like_a_batch() {
    let mut batch = Rig::new();
    let mut grouped = Rig::new();
    let specs = || [task("a"), task("b").initial_delay(ms(5))];
    let policy = crate::vocabulary::policy::AdmissionPolicy::DropIfRunning;
    let of_batch = batch.submit_all(specs().map(|spec| spec.policy(policy)));
    let of_group = grouped.submit_group(group().then(specs()));
    let orders = |orders: Orders| {
        let mut lines = orders.0;
        lines.retain(|line| !line.starts_with("* group"));
        lines.sort();
        lines
    };
    assert_eq!(orders(of_batch), orders(of_group));
    for rig in [&mut batch, &mut grouped] {
        rig.claim("a").has("* a/1 starting");
        rig.due_at(ms(5)).gives("start b/1");
        rig.claim("b").has("* b/1 starting");
        rig.returns("a", Return::Failed).has("* a/1 retry in 10ms, failed");
        rig.due_at(ms(15)).gives("start a/2");
    }
}

#[test]
fn a_member_is_not_paused_and_waits_for_its_phase_whatever_is_asked() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a")]).then([task("b").every(ms(10))])).whatever();
    for name in ["a", "b"] {
        rig.pause(name).gives("answer false");
        rig.resume(name).gives("answer false");
    }
    rig.skip("b").gives("answer false");
    rig.restart("b").gives("answer false");
    rig.set_interval("b", ms(20)).gives("answer true");
    assert_eq!(rig.states(&["a", "b"]), "starting waiting");
    rig.claim_all(&["a", "b"]);
    rig.at(ms(3)).returns("b", Return::Ok).has("* b/1 pause for 17ms");
}

#[test]
fn what_stands_before_a_member_that_a_body_waits_for_needs_no_permit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("x"));
    rig.submit_group(group().then([task("a")]).then([task("b")])).has("* a waits for a permit");
    rig.awaits("b").gives("start a/1");
    rig.claim("a").has("start b/1");
    rig.claim("b").has("* group ready after 0ns");
    rig.awaits_no_more("b").gives("");
    rig.returns("a", Return::Failed).has("* a/1 retry in 10ms, failed");
    rig.due_at(ms(10)).gives("* a waits for a permit");
}

/// The claim wins over the revocation, and the word over the tell: it will be told even so.
#[test]
fn a_member_that_was_asked_to_stop_before_it_was_ready_is_not_ready() {
    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a")])).whatever();
    rig.stop("a").has("revoke a/1");
    rig.not_revoked("a").gives("* a/1 starting\n tell a/1 stop until 100ms");
    assert_eq!(rig.group_state("a"), "starting 0");
    rig.told("a").whatever();
    let orders = rig.returns("a", Return::Cancelled);
    orders.has("* group ended");
    orders.has_none("* group ready");

    let mut rig = Rig::new();
    rig.submit_group(group().then([task("a").ready_within(ms(10))]).then([task("b")])).whatever();
    rig.claim("a").whatever();
    rig.stop("a").has("tell a/1 stop until 100ms");
    says(&mut rig, "a", 1).gives("* a/1 ready after 0ns");
    assert_eq!(rig.state("b"), "waiting");
    rig.returns("a", Return::Cancelled).has("start b/1");
}

#[test]
fn one_at_rest_that_is_stopped_meanwhile_is_dropped_before_an_earlier_phase_is_told() {
    let spec = group().one_for_all().then([task("a")]).then([task("b")]).then([task("c").open()]);
    let mut rig = up(spec);
    rig.returns("c", Return::Failed).has("tell b/1 group until 110ms");
    rig.told("b").whatever();
    rig.stop("c").has("close c, stop");
    rig.returns("b", Return::Cancelled).has_none("tell a/1");
    rig.closed("c").has("tell a/1 group until 110ms");
    obeys(&mut rig, "a").has("start a/2");
}

#[test]
fn one_that_has_moved_its_deadline_in_time_is_told_to_go_back() {
    let b = task("b").timeout(ms(20));
    let mut rig = up(group().one_for_all().then([task("a")]).then([b, task("c")]));
    rig.due_at(ms(20)).has("tell b/1 timeout until 120ms");
    rig.returns("c", Return::Failed).has("* group restarting for c, 1");
    rig.moved("b", ms(500)).has("tell b/1 group until 120ms");
    obeys(&mut rig, "b").has("tell a/1 group until 120ms");
}

#[test]
fn a_member_that_fails_while_a_later_one_holds_up_its_phase_is_not_told() {
    let mut rig = up(line().one_for_all());
    rig.returns("c", Return::Failed).has("tell d/1 group until 110ms");
    rig.told("d").whatever();
    rig.returns("a", Return::Failed).has("* a/1 retry in 10ms, failed");
    rig.due_at(ms(20)).gives("");
    rig.abandon("d").has("tell b/1 group until 210ms");
    obeys(&mut rig, "b").orders("");
    assert_eq!(rig.group_state("a"), "restarting 0, waits for d");
    rig.stop("d").has("deliver d: abandoned, group, asked by stop");
    rig.returns("d", Return::Ok).orders("forget d\n forget slot d\n start a/2");
}

/// It had returned before it could be told, so it ends like any other, but is not waited for.
#[test]
fn by_hand_a_group_waits_for_no_backoff_of_a_member_that_had_just_failed() {
    let mut rig = Rig::new();
    rig.run_group(group().then([task("a")]));
    rig.claim("a").whatever();
    rig.at(ms(10)).restart_group("a").has("tell a/1 group until 110ms");
    rig.not_told("a").whatever();
    rig.returns_told("a", None, Return::Failed).has("start a/2");
}
