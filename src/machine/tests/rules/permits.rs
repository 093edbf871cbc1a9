//! The right to run an attempt: who holds one, who waits, in which order.
//!
//! Section `Slots and admission` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::tests::rig_groups::group;
use crate::vocabulary::answer::Return;

/// Runs "busy" with the only permit.
fn taken() -> Rig {
    let mut rig = Rig::with_permits(1);
    rig.run(task("busy"));
    rig
}

fn give_back(rig: &mut Rig, name: &str, next: &str) {
    rig.returns(name, Return::Ok).has(&format!("start {next}/1"));
    rig.claim(next).whatever();
}

#[test]
fn no_more_attempts_than_permits() {
    let mut rig = Rig::with_permits(2);
    rig.submit(task("a")).has("start a/1");
    rig.submit(task("b")).has("start b/1");
    rig.submit(task("c")).gives(
        "* c submitted queue
        decide c: admitted
        * c admitted
        * c waits for a permit",
    );
    assert_eq!(rig.permits(), (2, 1));
    assert_eq!((rig.state("a"), rig.state("c")), ("starting", "runnable"));
}

#[test]
fn permits_pass_on_in_the_order_of_waiting() {
    let mut rig = taken();
    for name in ["a", "b", "c"] {
        rig.submit(task(name)).whatever();
    }
    give_back(&mut rig, "busy", "a");
    give_back(&mut rig, "a", "b");
    give_back(&mut rig, "b", "c");
    rig.returns("c", Return::Ok).whatever();
    assert_eq!(rig.permits(), (0, 0));
}

#[test]
fn a_revoked_attempt_gives_its_permit_back() {
    let mut rig = Rig::with_permits(1);
    rig.submit(task("a")).has("start a/1");
    rig.submit(task("b")).whatever();
    rig.stop("a").gives(
        "* a slot terminating
        revoke a/1",
    );
    assert_eq!(rig.permits(), (1, 1), "only the answer gives it back");
    rig.revoked("a").gives(
        "* a ended: cancelled by stop
        start b/1
        * a slot no longer terminating
        deliver a: cancelled by stop
        forget a
        forget slot a",
    );
}

#[test]
fn a_task_that_waits_holds_no_permit_and_comes_last_in_line() {
    let mut rig = taken();
    rig.submit(task("a")).whatever();
    rig.at(ms(3)).returns("busy", Return::Failed).gives(
        "* busy/1 failed after 3ms
        * busy/1 retry in 10ms, failed
        start a/1",
    );
    rig.claim("a").whatever();
    rig.at(ms(4)).submit(task("b")).whatever();
    rig.due_at(ms(13)).gives("* busy waits for a permit");
    give_back(&mut rig, "a", "b");
    rig.returns("b", Return::Ok).has("start busy/2");
}

#[test]
fn an_attempt_that_follows_at_once_lets_the_line_go_first() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("a").always());
    rig.submit(task("b")).whatever();
    rig.at(ms(5)).returns("a", Return::Ok).gives(
        "* a/1 succeeded after 5ms ok
        * a/1 pause for 0ns
        start b/1
        * a waits for a permit",
    );
}

#[test]
fn cancelling_one_that_waits_ends_it_in_the_same_step() {
    let mut rig = taken();
    for name in ["a", "b", "c"] {
        rig.submit(task(name)).whatever();
    }
    rig.submit(task("heir").slot("b")).whatever();
    rig.stop("b").gives(
        "* b ended: cancelled by stop
        * heir admitted
        * heir waits for a permit
        deliver b: cancelled by stop
        forget b",
    );
    give_back(&mut rig, "busy", "a");
    give_back(&mut rig, "a", "c");
    give_back(&mut rig, "c", "heir");
}

#[test]
fn a_replace_takes_the_place_of_an_owner_that_waits_for_its_permit() {
    let mut rig = taken();
    for name in ["a", "b", "c"] {
        rig.submit(task(name)).whatever();
    }
    rig.submit(task("b2").slot("b").replace()).gives(
        "* b2 submitted replace
        decide b2: queued behind 0
        * b2 queued, depth 1
        * b ended: cancelled by replace
        * b2 admitted
        * b2 waits for a permit
        deliver b: cancelled by replace
        forget b",
    );
    // And again: a busy key cannot starve.
    rig.submit(task("b3").slot("b").replace()).has("deliver b2: cancelled by replace");
    assert_eq!(rig.permits(), (1, 3));
    give_back(&mut rig, "busy", "a");
    give_back(&mut rig, "a", "b3");
    give_back(&mut rig, "b3", "c");
}

#[test]
fn the_first_and_the_last_in_line_can_be_replaced_too() {
    let mut rig = taken();
    rig.submit(task("a")).whatever();
    rig.submit(task("b")).whatever();
    rig.submit(task("a2").slot("a").replace()).whatever();
    rig.submit(task("b2").slot("b").replace()).whatever();
    rig.submit(task("c")).whatever();
    give_back(&mut rig, "busy", "a2");
    give_back(&mut rig, "a2", "b2");
    give_back(&mut rig, "b2", "c");
}

#[test]
fn a_successor_with_an_initial_delay_leaves_the_line() {
    let mut rig = taken();
    rig.submit(task("a")).whatever();
    rig.submit(task("b")).whatever();
    rig.submit(task("a2").slot("a").replace().initial_delay(ms(9))).whatever();
    assert_eq!((rig.state("a2"), rig.permits()), ("waiting", (1, 1)));
    give_back(&mut rig, "busy", "b");
}

#[test]
fn a_later_attempt_can_be_replaced_in_line() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("a"));
    rig.returns("a", Return::Failed).whatever();
    rig.run(task("busy"));
    rig.due_at(ms(10)).whatever();
    rig.submit(task("b")).whatever();
    assert_eq!(rig.state("a"), "runnable");
    rig.submit(task("a2").slot("a").replace()).has("deliver a: cancelled by replace");
    give_back(&mut rig, "busy", "a2");
}

#[test]
fn an_abandoned_attempt_keeps_its_permit_until_it_returns() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("a").never().grace(ms(5)));
    rig.submit(task("b")).whatever();
    rig.stop_told("a");
    rig.due_at(ms(5)).gives("abandon a/1");
    let orders = rig.abandoned("a");
    orders.has("deliver a: abandoned, stop, asked by stop");
    orders.has_none("start");
    assert_eq!(rig.permits(), (1, 1));
    rig.at(ms(50)).returns("a", Return::Ok).has("start b/1");
}

#[test]
fn a_task_that_a_body_waits_for_starts_without_a_permit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("outer"));
    rig.submit(task("other")).whatever();
    rig.submit(task("inner")).has("* inner waits for a permit");
    rig.awaits("inner").gives("start inner/1");
    assert_eq!(rig.permits(), (2, 1), "the waiter keeps its own");
    rig.claim("inner").whatever();
    // The next in line still waits for the limit.
    rig.returns("inner", Return::Ok).has_none("start");
    rig.returns("outer", Return::Ok).has("start other/1");
}

#[test]
fn what_is_awaited_before_it_is_runnable_never_waits_for_a_permit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("outer"));
    rig.submit(task("inner").initial_delay(ms(5))).whatever();
    rig.awaits("inner").gives("");
    rig.due().gives("start inner/1");
    rig.claim("inner").whatever();
    rig.returns("inner", Return::Failed).whatever();
    rig.due().has("start inner/2");
    rig.claim("inner").whatever();
    // The wait ends early: the attempt runs on, and its retry waits like any other.
    rig.awaits_no_more("inner").gives("");
    assert_eq!(rig.permits(), (2, 0));
    rig.returns("inner", Return::Failed).whatever();
    rig.due().has("* inner waits for a permit");
}

/// Each of them has to run before the next: `way` is an earlier phase of the member that owns the
/// slot for which `inner` is queued.
#[test]
fn the_group_of_the_owner_before_an_awaited_task_needs_no_permit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("outer"));
    let later = task("later").slot("s");
    rig.submit_group(group().then([task("way")]).then([later])).whatever();
    rig.submit(task("inner").slot("s")).whatever();
    rig.awaits("inner").gives("start way/1");
    rig.claim("way").has("start later/1");
    rig.claim("later").whatever();
    rig.returns("later", Return::Ok).has("start inner/1");
}

#[test]
fn the_holders_of_a_class_for_which_an_earlier_phase_waits_need_no_permit() {
    for awaited_first in [false, true] {
        let mut rig = Rig::with_classes(Some(1), &[1]);
        rig.run(task("outer"));
        rig.submit(task("holder").class(0)).has("* holder waits for a permit");
        if awaited_first {
            let way = task("way").class(0).initial_delay(ms(5));
            rig.submit_group(group().then([way]).then([task("later")])).whatever();
            rig.awaits("later").gives("");
            rig.due_at(ms(5)).has("start holder/1 with permit 0");
        } else {
            let way = task("way").class(0);
            rig.submit_group(group().then([way]).then([task("later")])).whatever();
            rig.awaits("later").gives("start holder/1 with permit 0");
        }
        rig.claim("holder").whatever();
        rig.returns("holder", Return::Ok).has("start way/1 with permit 0");
    }
}

#[test]
fn the_owner_of_the_slot_for_which_an_awaited_task_is_queued_needs_no_permit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("outer"));
    rig.submit(task("first").slot("s")).has("* first waits for a permit");
    rig.submit(task("second").slot("s")).whatever();
    rig.submit(task("third").slot("s")).whatever();
    rig.awaits("third").gives("start first/1");
    rig.claim("first").whatever();
    rig.returns("first", Return::Ok).has("start second/1");
    rig.claim("second").whatever();
    rig.returns("second", Return::Ok).has("start third/1");
    assert_eq!(rig.permits(), (2, 0));
}
