//! Another limit of a class while tasks run and wait.
//!
//! Section `Classes` of `guide::rules`.

use super::classes::{ends, flash};
use crate::machine::tests::rig::{ms, Orders, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::ClassKey;
use crate::vocabulary::reason::ShutdownCause;

fn set_limit(rig: &mut Rig, limit: u32) -> Orders {
    rig.input(Input::ClassLimitRequested { class: ClassKey(0), limit })
}

/// Three of a class of which this many run at once.
fn three(limit: u32) -> Rig {
    let mut rig = Rig::with_classes(None, &[limit]);
    for name in ["a", "b", "c"] {
        rig.submit(flash(name).always()).whatever();
    }
    for name in ["a", "b", "c"].into_iter().take(limit as usize) {
        rig.claim(name).whatever();
    }
    rig
}

#[test]
fn a_higher_limit_lets_the_first_in_line_start() {
    let mut rig = three(1);
    rig.submit(flash("d")).whatever();
    assert_eq!(rig.class(0), (1, 3));
    set_limit(&mut rig, 3).gives(
        "start b/1 with permit 1
        start c/1 with permit 2",
    );
    assert_eq!((rig.class(0), rig.state("d")), ((3, 1), "runnable"));
    set_limit(&mut rig, 3).gives("");
}

#[test]
fn those_that_a_higher_limit_lets_on_wait_for_a_permit_to_run() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(flash("a"));
    rig.submit(flash("b")).has("* b waits for class 0");
    set_limit(&mut rig, 2).gives("* b waits for a permit");
    assert_eq!((rig.class(0), rig.permits()), ((2, 0), (1, 1)));
    ends(&mut rig, "a", "b/1 with permit 1");
}

#[test]
fn a_lower_limit_stops_nobody_and_nobody_starts_until_there_is_room() {
    let mut rig = three(3);
    rig.submit(flash("d")).has("* d waits for class 0");
    set_limit(&mut rig, 1).gives("");
    assert_eq!(rig.class(0), (3, 1), "they keep what they hold");
    for (name, held) in [("a", 2), ("c", 1)] {
        rig.at(ms(1)).returns(name, Return::Ok).has(&format!("* {name} waits for class 0"));
        assert_eq!(rig.class(0).0, held);
    }
    // "b" holds permit 1, which is not among the permits any more.
    rig.at(ms(2)).returns("b", Return::Ok).has("start d/1 with permit 0");
    assert_eq!(rig.class(0), (1, 3));
}

#[test]
fn a_number_above_a_lower_limit_is_given_out_again_once_the_limit_is_higher() {
    let mut rig = three(3);
    set_limit(&mut rig, 1).gives("");
    rig.at(ms(1)).returns("c", Return::Ok).has("* c waits for class 0");
    rig.returns("a", Return::Ok).has("* a waits for class 0");
    assert_eq!(rig.class(0), (1, 2), "b runs with permit 1");
    set_limit(&mut rig, 4).gives(
        "start c/2 with permit 0
        start a/2 with permit 2",
    );
    rig.submit(flash("d")).has("start d/1 with permit 3");
    assert_eq!(rig.class(0), (4, 0));
}

#[test]
fn a_successor_gets_the_permit_that_a_replaced_owner_held_under_the_higher_limit() {
    let mut rig = Rig::with_classes(Some(1), &[2]);
    rig.run(flash("a"));
    rig.submit(flash("b")).has("* b waits for a permit");
    set_limit(&mut rig, 1).gives("");
    rig.submit(flash("b2").slot("b").replace()).has("* b2 waits for a permit");
    assert_eq!((rig.class(0), rig.permits()), ((2, 0), (1, 1)));
    ends(&mut rig, "a", "b2/1 with permit 1");
}

#[test]
fn in_a_shutdown_a_higher_limit_starts_nothing() {
    let mut rig = three(1);
    rig.input(Input::ShutdownRequested(ShutdownCause::Requested))
        .has("tell a/1 shutdown until 100ms");
    set_limit(&mut rig, 3).has_none("start");
}

#[test]
fn beside_one_that_a_body_waits_for_a_higher_limit_lets_nobody_run_without_a_permit() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    for name in ["a", "b", "awaited"] {
        rig.submit(flash(name)).whatever();
    }
    rig.claim("a").whatever();
    rig.awaits("awaited").whatever();
    set_limit(&mut rig, 3).gives(
        "* b waits for a permit
        start awaited/1 with permit 2",
    );
}

#[test]
fn with_the_limit_zero_nothing_of_the_class_starts() {
    let mut rig = three(1);
    set_limit(&mut rig, 0).gives("");
    rig.at(ms(1)).returns("a", Return::Ok).has("* a waits for class 0");
    rig.submit(flash("d")).has("* d waits for class 0");
    assert_eq!(rig.class(0), (0, 4));
    set_limit(&mut rig, 1).gives("start b/1 with permit 0");
}
