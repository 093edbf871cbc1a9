//! An outcome means closed: a body that will not run again is dropped before its slot passes on and
//! before its outcome.

use crate::machine::tests::rig::{ms, task, Orders, Rig, Spec};
use crate::vocabulary::answer::{ClosingAnswer, Return};
use crate::vocabulary::policy::AdmissionPolicy;

/// A task that waits for its initial delay and has a body to drop; `heir` waits for the slot.
fn waiting(shape: impl FnOnce(Spec) -> Spec) -> Rig {
    let mut rig = Rig::new();
    let spec = task("t").open().initial_delay(ms(500));
    rig.submit(shape(spec)).whatever();
    rig.submit(task("heir").slot("t")).whatever();
    rig
}

/// Closing since 5 ms.
fn closing() -> Rig {
    let mut rig = waiting(|spec| spec);
    rig.at(ms(5)).stop("t").whatever();
    rig
}

fn is_stuck(rig: &mut Rig) -> Orders {
    rig.at(ms(110)).closing_slow("t", ms(10)).orders("abandon closing of t");
    rig.closing_answered("t", ClosingAnswer::Abandoned)
}

#[test]
fn the_outcome_and_the_slot_wait_for_the_drop() {
    let mut rig = waiting(|spec| spec);
    rig.at(ms(5)).stop("t").gives(
        "* t closing
        * t slot terminating
        close t, stop",
    );
    assert_eq!((rig.state("t"), rig.slot("t").as_str()), ("closing", "t terminating since 5ms"));
    rig.idle();
    rig.at(ms(30)).closed("t").gives(
        "* t ended: cancelled by stop
        * t slot no longer terminating
        * heir admitted
        start heir/1
        deliver t: cancelled by stop
        forget t",
    );
}

#[test]
fn every_end_that_no_worker_foresees_closes() {
    type Cause = fn(&mut Rig) -> Orders;
    let ends: [(&str, Cause); 3] = [
        ("cancelled by stop", |rig| rig.stop("a")),
        ("rejected(expired)", Rig::due),
        ("rejected(superseded by b)", |rig| rig.submit(task("b").slot("heir").replace())),
    ];
    for (end, cause) in ends {
        let mut rig = Rig::new();
        rig.run(task("heir"));
        rig.submit(task("a").slot("heir").open().expires_in(ms(50))).whatever();
        cause(&mut rig).has("* a closing");
        assert_eq!(rig.state("a"), "closing");
        rig.closed("a").has(&format!("deliver a: {end}"));
    }
    // By time alone is one failure too many.
    let mut rig = Rig::new();
    rig.run(task("t").open().failure_limit(1, ms(1000)));
    rig.returns("t", Return::Failed).has_none("close");
    rig.due().whatever();
    rig.claim("t").whatever();
    rig.returns("t", Return::Failed).has("close t, stop");
    rig.closed("t").has("deliver t: failed");
}

#[test]
fn what_a_worker_has_dropped_and_what_needs_no_drop_ends_at_once() {
    let mut rig = Rig::new();
    rig.run(task("t").open());
    rig.returns_dropped("t", Return::Ok).has("deliver t: completed");
    let mut rig = Rig::new();
    rig.submit(task("t").initial_delay(ms(5))).whatever();
    rig.stop("t").has("deliver t: cancelled by stop");
    let mut rig = Rig::new();
    rig.run(task("s"));
    let refused = task("t").slot("s").open().policy(AdmissionPolicy::DropIfRunning);
    rig.submit(refused.gives_back()).has_none("close");
}

#[test]
fn a_refused_submission_counts_until_it_is_closed() {
    let mut rig = Rig::with(|limits| limits.max_tasks = 2);
    rig.run(task("s"));
    let busy = AdmissionPolicy::DropIfRunning;
    rig.submit(task("t").slot("s").open().policy(busy)).has("close t, stop");
    rig.submit(task("u")).has("decide u: rejected(too_many_tasks 2)");
    rig.closed("t").whatever();
    rig.submit(task("v")).has("start v/1");
}

#[test]
fn a_closing_owner_gives_its_permit_back() {
    let mut rig = Rig::with_permits(1);
    rig.submit(task("t").open()).whatever();
    rig.submit(task("next")).whatever();
    rig.stop("t").orders("revoke t/1");
    rig.revoked("t").orders(
        "close t, stop
        start next/1",
    );
    assert_eq!(rig.permits(), (1, 0));
}

#[test]
fn a_replaced_owner_keeps_its_place_in_the_line_for_its_heir() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("runs"));
    rig.submit(task("t").open()).whatever();
    rig.submit(task("behind")).whatever();
    rig.submit(task("heir").slot("t").replace()).has("close t, replace");
    assert_eq!(rig.permits(), (1, 1));
    // It is passed over.
    rig.returns("runs", Return::Ok).has("start behind/1");
    rig.submit(task("last")).has("* last waits for a permit");
    rig.closed("t").has("* heir waits for a permit");
    rig.claim("behind").whatever();
    rig.returns("behind", Return::Ok).has("start heir/1");
}

#[test]
fn requests_about_a_closing_task_change_nothing() {
    let mut rig = closing();
    rig.stop("t").gives("");
    rig.skip("t").gives("answer false");
    rig.restart("t").gives("answer false");
    rig.stop_slot("t").has("answer owner_asked=false removed=1");
    rig.closed("t").has("deliver t: cancelled by stop");
}

#[test]
fn the_grace_runs_from_the_moment_a_worker_takes_it_and_is_no_less_than_it_takes_to_tell() {
    for (grace, until) in [(0, 120), (100, 120), (250, 270)] {
        let mut rig = waiting(|spec| spec.grace(ms(grace)));
        rig.at(ms(5)).stop("t").whatever();
        rig.at(ms(119)).closing_slow("t", ms(20)).gives("");
        rig.due_at(ms(until)).gives("abandon closing of t");
        rig.closing_answered("t", ClosingAnswer::Dropped).gives("");
        rig.closed("t").has("deliver t: cancelled by stop");
    }
}

#[test]
fn a_stuck_drop_has_its_outcome_and_holds_its_slot() {
    let mut rig = closing();
    is_stuck(&mut rig).gives(
        "* t closing abandoned
        examine t/0
        * t ended: abandoned, stop, asked by stop
        deliver t: abandoned, stop, asked by stop",
    );
    assert_eq!((rig.stuck(), rig.slot("t").as_str()), ((1, 0), "t terminating since 5ms"));
    rig.closing_answered("t", ClosingAnswer::Abandoned).gives("");
    rig.at(ms(300)).closed("t").gives(
        "* t closed, late by 190ms
        * t slot no longer terminating
        * heir admitted
        start heir/1
        forget t",
    );
    assert_eq!(rig.stuck(), (0, 0));
}

#[test]
fn a_stuck_drop_that_is_released_passes_its_slot_on() {
    let mut rig = waiting(Spec::release);
    rig.at(ms(5)).stop("t").whatever();
    is_stuck(&mut rig).gives(
        "* t closing abandoned
        examine t/0
        release t/0
        * t ended: abandoned, stop, asked by stop
        * t slot no longer terminating
        * heir admitted
        start heir/1
        deliver t: abandoned, stop, asked by stop
        forget t",
    );
    assert_eq!(rig.stuck(), (1, 1));
    rig.at(ms(300)).closed("t").gives(
        "* t closed, late by 190ms
        forget released closing t/0",
    );
    rig.closed("t").gives("");
    assert_eq!((rig.stuck(), rig.stale()), ((0, 0), 1));
}

#[test]
fn any_other_outcome_than_a_cancel_stays_what_it_is() {
    let mut rig = Rig::new();
    rig.run(task("owner"));
    rig.submit(task("t").slot("owner").open().expires_in(ms(5))).whatever();
    rig.due().whatever();
    is_stuck(&mut rig).has("deliver t: rejected(expired)");
}

/// The end was its own, whatever becomes of the drop.
#[test]
fn a_stuck_drop_does_not_keep_the_end_of_its_task_from_ending_everything() {
    let mut rig = Rig::new();
    rig.run(task("t").open().shutdown_on_end().failure_limit(0, ms(1000)));
    rig.returns("t", Return::Failed).has("close t, stop");
    is_stuck(&mut rig).gives(
        "* t closing abandoned
        examine t/1
        * t ended: failed
        * shutdown requested: end of t
        close door
        deliver t: failed
        * shutdown ended
        flush events",
    );
}

#[test]
fn at_the_end_of_a_shutdown_no_drop_is_waited_for() {
    for (answer, end) in [
        (ClosingAnswer::Untaken, "cancelled by shutdown"),
        (ClosingAnswer::Abandoned, "abandoned, shutdown, asked by shutdown"),
    ] {
        let mut rig = waiting(|spec| spec);
        rig.at(ms(5)).shutdown().has("close t, shutdown");
        rig.due_at(ms(1005)).gives("abandon closing of t");
        rig.closing_answered("t", answer).has(&format!("deliver t: {end}"));
        assert!(rig.is_idle());
    }
    // One that closes already hurries, and a second signal leaves it no time.
    let mut rig = closing();
    rig.at(ms(6)).signal().has_none("abandon");
    rig.at(ms(400)).signal().has("abandon closing of t");
}

/// Its report was on its way when it was abandoned.
#[test]
fn the_slot_waits_for_the_body_that_a_late_attempt_brings() {
    let mut rig = Rig::new();
    rig.run(task("t").open());
    rig.submit(task("heir").slot("t")).whatever();
    rig.stop_told("t");
    rig.abandon("t").has("deliver t: abandoned, stop, asked by stop");
    rig.returns("t", Return::Ok).orders("close t, stop");
    rig.closed("t").gives(
        "* t slot no longer terminating
        * heir admitted
        start heir/1
        forget t",
    );
}
