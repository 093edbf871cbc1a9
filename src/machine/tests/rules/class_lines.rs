//! Classes where one task stands for another: successors that take the places of replaced owners,
//! and tasks that bodies wait for.
//!
//! Section `Classes` of `guide::rules`.

use super::classes::{busy, crowded, ends, flash, NET};
use crate::machine::tests::rig::{ms, task, Rig};
use crate::vocabulary::answer::{ClosingAnswer, Return};
use crate::vocabulary::policy::AbandonPolicy;

#[test]
fn a_replace_within_a_class_takes_the_place_in_either_line() {
    let mut rig = busy();
    for name in ["a", "b", "c"] {
        rig.submit(flash(name)).whatever();
    }
    rig.submit(flash("b2").slot("b").replace()).gives(
        "* b2 submitted replace
        decide b2: queued behind 0
        * b2 queued, depth 1
        * b ended: cancelled by replace
        * b2 admitted
        * b2 waits for class 0
        deliver b: cancelled by replace
        forget b",
    );
    ends(&mut rig, "writer", "a/1 with permit 0");
    ends(&mut rig, "a", "b2/1 with permit 0");

    let mut rig = crowded();
    rig.submit(flash("a")).whatever();
    rig.submit(task("b")).whatever();
    rig.submit(flash("c")).whatever();
    rig.submit(flash("a2").slot("a").replace()).has("* a2 waits for a permit");
    assert_eq!((rig.class(0), rig.permits()), ((1, 1), (1, 2)), "the permit is kept for it");
    ends(&mut rig, "busy", "a2/1 with permit 0");
    ends(&mut rig, "a2", "b/1");
}

#[test]
fn a_replace_with_another_class_goes_to_the_end() {
    // Out of the line for permits: the permit of the class goes to the next that waits for it.
    let mut rig = crowded();
    rig.submit(flash("a")).whatever();
    rig.submit(task("b")).whatever();
    rig.submit(flash("c")).has("* c waits for class 0");
    rig.submit(task("a2").slot("a").class(NET).replace()).gives(
        "* a2 submitted replace
        decide a2: queued behind 0
        * a2 queued, depth 1
        * a ended: cancelled by replace
        * a2 admitted
        * a2 waits for a permit
        * c waits for a permit
        deliver a: cancelled by replace
        forget a",
    );
    assert_eq!((rig.class(0), rig.class(1), rig.permits()), ((1, 0), (1, 0), (1, 3)));
    ends(&mut rig, "busy", "b/1");
    ends(&mut rig, "b", "a2/1 with permit 0");
    ends(&mut rig, "a2", "c/1 with permit 0");

    // Out of the line of the class, into none, and the other way round.
    let mut rig = busy();
    rig.submit(flash("a")).whatever();
    rig.submit(task("a2").slot("a").replace()).has("start a2/1");
    assert_eq!(rig.class(0), (1, 0));
    let mut rig = crowded();
    rig.submit(task("a")).whatever();
    rig.submit(task("b")).whatever();
    rig.submit(flash("a2").slot("a").replace()).has("* a2 waits for a permit");
    ends(&mut rig, "busy", "b/1");
}

#[test]
fn a_successor_with_an_initial_delay_leaves_the_permit_of_the_class() {
    let mut rig = crowded();
    rig.submit(flash("a")).whatever();
    rig.submit(flash("b")).has("* b waits for class 0");
    let orders = rig.submit(flash("a2").slot("a").replace().initial_delay(ms(9)));
    orders.has("* b waits for a permit");
    assert_eq!((rig.state("a2"), rig.class(0)), ("waiting", (1, 0)));
}

#[test]
fn a_replaced_owner_that_closes_keeps_the_permit_of_its_class_for_its_successor() {
    let mut rig = crowded();
    rig.submit(flash("a").open()).has("* a waits for a permit");
    rig.submit(task("b")).whatever();
    rig.submit(flash("c")).has("* c waits for class 0");
    rig.submit(flash("a2").slot("a").replace()).has("close a, replace");
    assert_eq!((rig.state("a"), rig.class(0), rig.permits()), ("closing", (1, 1), (1, 1)));
    ends(&mut rig, "busy", "b/1");
    rig.closed("a").has("* a2 waits for a permit");
    assert_eq!((rig.class(0), rig.permits()), ((1, 1), (1, 1)));
    ends(&mut rig, "b", "a2/1 with permit 0");
}

#[test]
fn a_replaced_owner_that_closes_in_the_line_of_its_class_is_passed_over() {
    let mut rig = busy();
    rig.submit(flash("a").open()).whatever();
    rig.submit(flash("b")).whatever();
    rig.submit(flash("a2").slot("a").replace()).has("close a, replace");
    assert_eq!(rig.class(0), (1, 1));
    rig.submit(flash("c")).whatever();
    ends(&mut rig, "writer", "b/1 with permit 0");
    rig.closed("a").has("* a2 waits for class 0");
    ends(&mut rig, "b", "a2/1 with permit 0");
    ends(&mut rig, "a2", "c/1 with permit 0");
}

#[test]
fn a_successor_finds_room_that_came_while_its_place_was_kept() {
    let mut rig = Rig::with_classes(Some(2), &[1]);
    rig.run(flash("writer"));
    rig.run(task("busy"));
    rig.submit(flash("a").open()).has("* a waits for class 0");
    rig.submit(flash("a2").slot("a").replace()).has("close a, replace");
    rig.returns("writer", Return::Ok).has_none("start");
    rig.submit(task("b")).whatever();
    rig.submit(task("c")).has("* c waits for a permit");
    // The place was one in the other line.
    rig.closed("a").has("* a2 waits for a permit");
    ends(&mut rig, "busy", "c/1");
    rig.claim("b").whatever();
    ends(&mut rig, "b", "a2/1 with permit 0");
}

#[test]
fn a_kept_permit_goes_on_if_there_is_no_successor_after_all() {
    let mut rig = crowded();
    rig.submit(flash("a").open()).whatever();
    rig.submit(flash("c")).has("* c waits for class 0");
    rig.submit(flash("a2").slot("a").replace()).whatever();
    rig.stop("a2").has("deliver a2: cancelled by stop");
    assert_eq!(rig.class(0), (1, 1), "until the body is dropped");
    rig.closed("a").has("* c waits for a permit");
}

#[test]
fn a_closing_that_is_held_holds_what_it_keeps() {
    for (policy, held) in [(AbandonPolicy::Hold, (1, 1)), (AbandonPolicy::Release, (1, 0))] {
        let mut rig = crowded();
        rig.submit(flash("a").open().plan(|plan| plan.abandon = policy)).whatever();
        rig.submit(flash("c")).whatever();
        rig.submit(task("a2").slot("a").replace()).whatever();
        rig.closing_slow("a", ms(0)).whatever();
        rig.due_at(ms(100)).gives("abandon closing of a");
        rig.closing_answered("a", ClosingAnswer::Abandoned).whatever();
        assert_eq!(rig.class(0), held);
        rig.closed("a").whatever();
        assert_eq!((rig.class(0), rig.state("c")), ((1, 0), "runnable"));
    }
}

#[test]
fn what_a_body_waits_for_skips_the_line_for_permits_but_not_its_class() {
    let mut rig = Rig::with_classes(Some(2), &[1]);
    rig.run(task("outer"));
    rig.run(flash("writer"));
    rig.submit(flash("inner")).has("* inner waits for class 0");
    rig.awaits("inner").gives("");
    assert_eq!(rig.state("inner"), "runnable");
    rig.submit(task("other")).has("* other waits for a permit");
    rig.returns("writer", Return::Ok).has("start inner/1 with permit 0");
    assert_eq!((rig.permits(), rig.state("other")), ((3, 0), "starting"));
}

#[test]
fn who_holds_up_what_a_body_waits_for_needs_no_permit_either() {
    // The only permit is with the body that waits, and those before "inner" would need one.
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(task("outer"));
    rig.submit(flash("first")).has("* first waits for a permit");
    rig.submit(flash("second")).has("* second waits for class 0");
    rig.submit(flash("inner")).whatever();
    rig.submit(flash("last")).whatever();
    rig.awaits("inner").gives("start first/1 with permit 0");
    for (name, next) in [("first", "second"), ("second", "inner")] {
        rig.claim(name).whatever();
        rig.returns(name, Return::Ok).has(&format!("start {next}/1 with permit 0"));
    }
    rig.claim("inner").whatever();
    rig.returns("inner", Return::Ok).has("* last waits for a permit");
    assert_eq!((rig.class(0), rig.permits()), ((1, 0), (1, 1)));
}

#[test]
fn a_wait_for_what_is_queued_reaches_through_the_slot_and_the_class() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(task("outer"));
    rig.submit(flash("first")).has("* first waits for a permit");
    rig.submit(flash("owner").slot("s")).has("* owner waits for class 0");
    rig.submit(task("inner").slot("s")).has("* inner queued, depth 1");
    rig.awaits("inner").gives("start first/1 with permit 0");
    rig.claim("first").whatever();
    rig.returns("first", Return::Ok).has("start owner/1 with permit 0");
    rig.claim("owner").whatever();
    rig.returns("owner", Return::Ok).has("start inner/1");
}

#[test]
fn a_wait_that_is_over_or_whose_task_has_gone_helps_nobody() {
    // Over, the task stopped, or the task that was queued stopped.
    for end in ["leave", "stop inner", "stop queued"] {
        let mut rig = Rig::with_classes(Some(1), &[1]);
        rig.run(task("outer"));
        rig.submit(task("blocker").class(0)).whatever();
        rig.submit(flash("owner").slot("s")).whatever();
        rig.submit(task("inner").slot("s")).whatever();
        let awaited = if end == "stop inner" { "owner" } else { "inner" };
        rig.awaits(awaited).gives("start blocker/1 with permit 0");
        match end {
            "leave" => rig.awaits_no_more("inner").gives(""),
            "stop inner" => rig.stop("owner").whatever(),
            _ => rig.stop("inner").whatever(),
        }
        rig.submit(flash("next")).has("* next waits for class 0");
        rig.claim("blocker").whatever();
        let passes_on = if end == "stop inner" { "next" } else { "owner" };
        let waits = format!("* {passes_on} waits for a permit");
        rig.returns("blocker", Return::Ok).has(&waits);
    }
}

#[test]
fn a_wait_that_begins_when_its_task_comes_into_the_line_counts_too() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(task("outer"));
    rig.submit(flash("first")).has("* first waits for a permit");
    rig.submit(flash("inner").initial_delay(ms(5))).whatever();
    rig.awaits("inner").gives("");
    rig.due_at(ms(5)).gives(
        "* inner waits for class 0
        start first/1 with permit 0",
    );
}

#[test]
fn all_that_hold_what_an_awaited_task_needs_start_and_no_task_of_another_class() {
    let mut rig = Rig::with_classes(Some(1), &[2, 1]);
    rig.run(task("outer"));
    rig.submit(flash("first")).has("* first waits for a permit");
    rig.submit(flash("second")).has("* second waits for a permit");
    rig.submit(task("before").class(NET)).has("* before waits for a permit");
    rig.submit(flash("inner")).has("* inner waits for class 0");
    rig.awaits("inner").gives(
        "start first/1 with permit 0
        start second/1 with permit 1",
    );
    rig.stop("before").whatever();
    rig.submit(task("after").class(NET)).has("* after waits for a permit");
}

#[test]
fn a_task_that_two_bodies_wait_for_is_awaited_until_neither_does() {
    for (n_over, inner) in [(1, "start inner/1 with permit 0"), (2, "* inner waits for a permit")] {
        let mut rig = Rig::with_classes(Some(2), &[1]);
        rig.run(task("outer"));
        rig.run(task("other"));
        rig.submit(flash("first")).has("* first waits for a permit");
        rig.submit(flash("inner")).has("* inner waits for class 0");
        rig.awaits("inner").gives("start first/1 with permit 0");
        rig.awaits("inner").gives("");
        for _ in 0..n_over {
            rig.awaits_no_more("inner").gives("");
        }
        rig.claim("first").whatever();
        rig.returns("first", Return::Ok).has(inner);
    }
}
