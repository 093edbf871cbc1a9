//! Classes: how many of a kind run at once, who waits for its class, and in which order.
//!
//! Section `Classes` of `guide::rules`. Class 0 stands for "flash", class 1 for "net".

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::vocabulary::answer::Return;

const FLASH: u32 = 0;
pub(super) const NET: u32 = 1;

pub(super) fn flash(name: &'static str) -> Spec {
    task(name).class(FLASH)
}

/// Plenty of permits to run, one for flash, two for net; "writer" runs in flash.
pub(super) fn busy() -> Rig {
    let mut rig = Rig::with_classes(None, &[1, 2]);
    rig.run(flash("writer"));
    rig
}

/// One permit to run, which "busy" has; plenty of flash and net.
pub(super) fn crowded() -> Rig {
    let mut rig = Rig::with_classes(Some(1), &[1, 2]);
    rig.run(task("busy"));
    rig
}

pub(super) fn ends(rig: &mut Rig, name: &str, next: &str) {
    rig.returns(name, Return::Ok).has(&format!("start {next}"));
    rig.claim(next.split_once('/').expect("an attempt").0).whatever();
}

#[test]
fn no_more_of_a_class_run_than_it_has_permits() {
    let mut rig = Rig::with_classes(None, &[1, 2]);
    rig.submit(task("a").class(NET)).has("start a/1 with permit 0");
    rig.submit(task("b").class(NET)).has("start b/1 with permit 1");
    rig.submit(task("c").class(NET)).gives(
        "* c submitted queue
        decide c: admitted
        * c admitted
        * c waits for class 1",
    );
    assert_eq!((rig.state("c"), rig.class(1), rig.class(0)), ("runnable", (2, 1), (0, 0)));
    assert_eq!(rig.permits(), (2, 0), "it waits for its class, and for nothing else");
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).gives(
        "* a/1 succeeded after 0ns ok
        * a ended: completed
        start c/1 with permit 0
        deliver a: completed
        forget a
        forget slot a",
    );
}

#[test]
fn a_full_class_at_the_head_of_the_line_holds_up_no_other() {
    let mut rig = Rig::with_classes(Some(2), &[1]);
    rig.run(flash("writer"));
    rig.run(task("busy"));
    for name in ["f1", "f2", "f3"] {
        rig.submit(flash(name)).has(&format!("* {name} waits for class 0"));
    }
    rig.submit(task("other")).has("* other waits for a permit");
    ends(&mut rig, "busy", "other/1");
    rig.submit(task("another")).has("* another waits for a permit");
    ends(&mut rig, "writer", "another/1");
    assert_eq!((rig.state("f1"), rig.class(0), rig.permits()), ("runnable", (1, 2), (2, 1)));
}

/// The next of a class starts when this one gives its permit back.
fn gives_back(spec: Spec, end: impl FnOnce(&mut Rig)) {
    let mut rig = Rig::with_classes(None, &[1]);
    rig.run(spec.class(FLASH));
    rig.submit(flash("next")).has("* next waits for class 0");
    end(&mut rig);
    assert_eq!((rig.state("next"), rig.class(0).0), ("starting", 1));
}

#[test]
fn a_permit_of_a_class_comes_back_with_every_end_of_an_attempt() {
    for ret in [Return::Ok, Return::Failed, Return::Panicked, Return::Fatal, Return::Cancelled] {
        gives_back(task("a").max_retries(1), |rig| rig.returns("a", ret).whatever());
    }
    gives_back(task("a").always(), |rig| rig.returns("a", Return::Ok).whatever());
    gives_back(task("a").timeout(ms(5)), |rig| {
        rig.due_at(ms(5)).has("tell a/1 timeout until 105ms");
        rig.told("a").whatever();
        assert_eq!(rig.state("next"), "runnable", "until the body has returned");
        rig.returns("a", Return::Ok).has("start next/1 with permit 0");
    });
    gives_back(task("a"), |rig| {
        rig.stop_told("a");
        assert_eq!(rig.state("next"), "runnable");
        rig.returns("a", Return::Ok).whatever();
    });
    gives_back(task("a"), |rig| {
        rig.restart("a").whatever();
        rig.told("a").whatever();
        rig.at(ms(2)).returns("a", Return::Failed).has("* a waits for class 0");
    });
    // A body that must still be dropped runs no more.
    gives_back(task("a").open(), |rig| {
        rig.returns("a", Return::Failed).whatever();
        rig.stop("a").has("close a, stop");
    });
}

#[test]
fn a_revoked_attempt_gives_the_permit_of_its_class_back_and_a_refused_thread_does_not() {
    let mut rig = Rig::with_classes(None, &[1]);
    // No thread takes it up.
    rig.submit(flash("a").expires_in(ms(50))).has("start a/1 with permit 0");
    rig.submit(flash("b")).has("* b waits for class 0");
    rig.submit(flash("c")).whatever();
    assert_eq!((rig.state("a"), rig.class(0)), ("starting", (1, 2)));
    rig.due_at(ms(50)).gives("revoke a/1");
    assert_eq!(rig.class(0), (1, 2), "only the answer gives it back");
    rig.revoked("a").has("start b/1 with permit 0");
    rig.stop("b").has("revoke b/1");
    rig.revoked("b").has("start c/1 with permit 0");
}

#[test]
fn an_abandoned_attempt_keeps_the_permit_of_its_class_under_hold_alone() {
    let mut rig = busy();
    rig.submit(flash("next")).whatever();
    rig.stop_told("writer");
    rig.abandon("writer").has("deliver writer: abandoned, stop, asked by stop");
    assert_eq!(rig.class(0), (1, 1), "it holds what it uses");
    rig.returns("writer", Return::Ok).has("start next/1 with permit 0");

    gives_back(task("a").release(), |rig| {
        rig.stop_told("a");
        rig.abandon("a").has("start next/1 with permit 0");
    });
    // With a retry, too.
    gives_back(task("a").release_shared().timeout(ms(5)), |rig| {
        rig.due_at(ms(5)).whatever();
        rig.told("a").whatever();
        rig.abandon("a").has("start next/1 with permit 0");
        rig.due().has("* a waits for class 0");
    });
}

#[test]
fn what_is_released_at_the_cap_holds_its_class() {
    let mut rig = Rig::with(|limits| {
        (limits.max_abandoned, limits.classes) = (0, [1].to_vec());
    });
    rig.run(flash("a").release());
    rig.submit(flash("next")).whatever();
    rig.stop_told("a");
    rig.abandon("a").has_none("start");
    assert_eq!(rig.class(0), (1, 1));
    rig.returns("a", Return::Ok).has("start next/1 with permit 0");
}

#[test]
fn a_cancel_in_the_line_of_a_class_takes_nothing_from_it() {
    let mut rig = busy();
    for name in ["a", "b", "c"] {
        rig.submit(flash(name)).whatever();
    }
    rig.stop("b").gives(
        "* b ended: cancelled by stop
        deliver b: cancelled by stop
        forget b
        forget slot b",
    );
    assert_eq!(rig.class(0), (1, 2));
    ends(&mut rig, "writer", "a/1 with permit 0");
    rig.claim("a").whatever();
    ends(&mut rig, "a", "c/1 with permit 0");
}

#[test]
fn a_cancel_in_the_line_for_permits_gives_the_permit_of_the_class_on() {
    let mut rig = crowded();
    rig.submit(flash("a")).has("* a waits for a permit");
    rig.submit(task("b")).whatever();
    rig.submit(flash("c")).has("* c waits for class 0");
    assert_eq!((rig.class(0), rig.permits()), ((1, 1), (1, 2)));
    rig.stop("a").gives(
        "* a ended: cancelled by stop
        * c waits for a permit
        deliver a: cancelled by stop
        forget a
        forget slot a",
    );
    assert_eq!((rig.class(0), rig.permits()), ((1, 0), (1, 2)));
    // Its place in the line for permits is the last.
    ends(&mut rig, "busy", "b/1");
    ends(&mut rig, "b", "c/1 with permit 0");
}

#[test]
fn a_submission_expires_in_both_lines() {
    let mut rig = crowded();
    rig.submit(flash("a").expires_in(ms(10))).has("* a waits for a permit");
    rig.submit(flash("b").expires_in(ms(20))).has("* b waits for class 0");
    rig.submit(flash("c").expires_in(ms(15))).has("* c waits for class 0");
    rig.due_at(ms(10)).gives(
        "* a rejected(expired)
        * b waits for a permit
        deliver a: rejected(expired)
        forget a
        forget slot a",
    );
    rig.due_at(ms(15)).has("deliver c: rejected(expired)");
    assert_eq!(rig.class(0), (1, 0));
    rig.due_at(ms(20)).has("deliver b: rejected(expired)");
    assert_eq!((rig.class(0), rig.permits()), ((0, 0), (1, 0)));
}

#[test]
fn within_a_class_nobody_overtakes_not_even_by_a_restart() {
    let mut rig = busy();
    for name in ["a", "b"] {
        rig.submit(flash(name)).whatever();
    }
    rig.restart("writer").whatever();
    rig.told("writer").whatever();
    rig.at(ms(5)).returns("writer", Return::Failed).gives(
        "* writer/1 cancelled after 5ms late by 5ms
        start a/1 with permit 0
        * writer waits for class 0",
    );
    rig.claim("a").whatever();
    ends(&mut rig, "a", "b/1 with permit 0");
    ends(&mut rig, "b", "writer/2 with permit 0");
}

#[test]
fn a_flood_of_one_class_leaves_the_other_permits_alone() {
    let mut rig = Rig::with_classes(Some(3), &[2]);
    for name in ["u1", "u2", "u3", "u4", "u5", "u6"] {
        rig.submit(task(name).class(FLASH)).whatever();
    }
    assert_eq!((rig.class(0), rig.permits()), ((2, 4), (2, 0)));
    rig.submit(task("a")).has("start a/1");
    rig.submit(task("b")).has("* b waits for a permit");
    // It goes before all that wait for the class.
    rig.claim("u1").whatever();
    rig.returns("u1", Return::Ok).gives(
        "* u1/1 succeeded after 0ns ok
        * u1 ended: completed
        start b/1
        * u3 waits for a permit
        deliver u1: completed
        forget u1
        forget slot u1",
    );
    rig.claim("a").whatever();
    ends(&mut rig, "a", "u3/1 with permit 0");
}

#[test]
fn a_class_may_have_as_many_permits_as_there_are_and_more() {
    for limit in [2, 9] {
        let mut rig = Rig::with_classes(Some(2), &[limit]);
        rig.submit(flash("a")).has("start a/1 with permit 0");
        rig.submit(flash("b")).has("start b/1 with permit 1");
        let waits = if limit == 2 { "* c waits for class 0" } else { "* c waits for a permit" };
        rig.submit(flash("c")).has(waits);
        rig.claim("a").whatever();
        let index = if limit == 2 { 0 } else { 2 };
        ends(&mut rig, "a", &format!("c/1 with permit {index}"));
    }
}

#[test]
fn a_shutdown_empties_both_lines_and_starts_nobody() {
    let mut rig = crowded();
    rig.submit(flash("a")).has("* a waits for a permit");
    rig.submit(flash("b")).has("* b waits for class 0");
    rig.submit(flash("c")).whatever();
    rig.submit(task("d")).whatever();
    rig.shutdown().gives(
        "* shutdown requested: requested
        close door
        * a ended: cancelled by shutdown
        deliver a: cancelled by shutdown
        forget a
        forget slot a
        * b ended: cancelled by shutdown
        deliver b: cancelled by shutdown
        forget b
        forget slot b
        * c ended: cancelled by shutdown
        deliver c: cancelled by shutdown
        forget c
        forget slot c
        * d ended: cancelled by shutdown
        deliver d: cancelled by shutdown
        forget d
        forget slot d
        * busy slot terminating
        tell busy/1 shutdown until 100ms",
    );
    assert_eq!((rig.class(0), rig.permits()), ((0, 0), (1, 0)));

    // An attempt that ends later passes nothing on.
    let mut rig = busy();
    rig.submit(flash("a").open()).whatever();
    rig.shutdown().has_none("start");
    rig.told("writer").whatever();
    rig.returns("writer", Return::Ok).has_none("start");
    rig.closed("a").has("deliver a: cancelled by shutdown");
}

#[test]
fn the_event_says_for_what_a_task_waits() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(flash("writer"));
    rig.submit(task("other")).has("* other waits for a permit");
    rig.submit(flash("a")).has("* a waits for class 0");
    rig.returns("writer", Return::Ok).gives(
        "* writer/1 succeeded after 0ns ok
        * writer ended: completed
        start other/1
        * a waits for a permit
        deliver writer: completed
        forget writer
        forget slot writer",
    );
}

#[test]
fn without_a_limit_on_attempts_a_class_has_one_all_the_same() {
    let mut rig = busy();
    rig.submit(flash("a")).has("* a waits for class 0");
    rig.submit(task("b")).has("start b/1");
    assert_eq!((rig.permits(), rig.class(0)), ((2, 0), (1, 1)));
}

#[test]
fn a_task_that_waits_for_its_time_holds_no_permit_of_its_class() {
    let mut rig = busy();
    rig.submit(flash("later").initial_delay(ms(5))).has_none("* later waits");
    rig.returns("writer", Return::Failed).whatever();
    assert_eq!((rig.state("writer"), rig.class(0)), ("waiting", (0, 0)));
    rig.due_at(ms(5)).has("start later/1 with permit 0");
    rig.due_at(ms(10)).has("* writer waits for class 0");
}

#[test]
fn each_holder_has_a_number_of_its_own() {
    let mut rig = Rig::with_classes(None, &[3]);
    for (name, index) in [("a", 0), ("b", 1), ("c", 2)] {
        rig.submit(flash(name).always()).has(&format!("start {name}/1 with permit {index}"));
        rig.claim(name).whatever();
    }
    rig.submit(flash("d")).whatever();
    rig.submit(flash("e")).whatever();
    rig.at(ms(1)).returns("c", Return::Ok).has("start d/1 with permit 2");
    rig.returns("a", Return::Ok).has("start e/1 with permit 0");
    rig.claim("d").whatever();
    rig.returns("d", Return::Ok).has("start c/2 with permit 2");
}

#[test]
fn a_slot_and_a_class_are_independent() {
    let mut rig = busy();
    rig.submit(task("plain")).has("start plain/1");
    rig.submit(flash("second").slot("writer")).has("* second queued, depth 1");
    rig.submit(flash("other")).has("* other waits for class 0");
    // The slot comes first: only then is there a place in the line of the class.
    rig.returns("writer", Return::Ok).gives(
        "* writer/1 succeeded after 0ns ok
        * writer ended: completed
        start other/1 with permit 0
        * second admitted
        * second waits for class 0
        deliver writer: completed
        forget writer",
    );
}

#[test]
fn before_a_retry_the_permit_to_run_passes_on_before_that_of_the_class() {
    let mut rig = Rig::with_classes(Some(1), &[1]);
    rig.run(flash("a"));
    rig.submit(flash("b")).has("* b waits for class 0");
    // The next of the class finds the permit to run free.
    let orders = rig.returns("a", Return::Failed);
    orders.has("start b/1 with permit 0");
    orders.has_none("* b waits");
}
