//! Every state × event, row by row.
//!
//! Section `State × event` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Orders, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;

/// Puts "t" into a state; the one permit is its own, or that of "busy" in Runnable.
pub(super) fn rig(state: &str) -> Rig {
    let mut rig = Rig::with_permits(1);
    match state {
        "queued" => {
            rig.run(task("owner"));
            rig.submit(task("t").slot("owner").expires_in(ms(50))).whatever();
        }
        "runnable" => {
            rig.run(task("busy"));
            rig.submit(task("t").expires_in(ms(50))).whatever();
        }
        "starting" => rig.submit(task("t").expires_in(ms(50))).whatever(),
        "running" => rig.run(task("t").timeout(ms(50))),
        "stopping" => {
            rig.run(task("t"));
            rig.stop_told("t");
        }
        "abandoned for good" => {
            rig.run(task("t").grace(ms(1)));
            rig.stop_told("t");
            rig.due().whatever();
            rig.abandoned("t").has("deliver t: abandoned, stop, asked by stop");
        }
        "waiting" => {
            rig.run(task("t"));
            rig.returns("t", Return::Failed).whatever();
        }
        "over" => {
            rig.run(task("t"));
            rig.returns("t", Return::Ok).whatever();
        }
        other => overrun(&mut rig, other),
    }
    rig.at(ms(8));
    rig
}

/// The states that an attempt gets into by going on for too long.
fn overrun(rig: &mut Rig, state: &str) {
    match state {
        "watched" => {
            rig.run(task("t").watched(ms(40)).timeout(ms(50)));
        }
        "moved" => {
            rig.run(task("t").timeout(ms(5)));
            rig.due().whatever();
            rig.moved("t", ms(50)).whatever();
        }
        "unresponsive" => {
            rig.run(task("t").guarded(ms(4)));
            for at in 1..=4 {
                rig.look_at(ms(at), "t", false).whatever();
            }
            rig.told("t").whatever();
        }
        "interrupted" => {
            rig.run(task("t").timeout(ms(5)));
            rig.due().whatever();
            rig.told("t").whatever();
        }
        "abandoned" => {
            rig.run(task("t").timeout(ms(5)).grace(ms(1)));
            rig.due().whatever();
            rig.told("t").whatever();
            rig.due().whatever();
            rig.abandoned("t").whatever();
        }
        "released" => {
            rig.run(task("t").release_shared().timeout(ms(5)).grace(ms(1)));
            rig.due().whatever();
            rig.told("t").whatever();
            rig.abandon("t").has("* t/1 retry in 10ms, abandoned");
        }
        "released for good" => {
            rig.run(task("t").release().timeout(ms(5)).grace(ms(1)));
            rig.due().whatever();
            rig.told("t").whatever();
            rig.abandon("t").has("deliver t: abandoned, timeout");
        }
        other => panic!("no state {other}"),
    }
}

#[track_caller]
fn check(state: &str, event: fn(&mut Rig) -> Orders, expected: &str) {
    event(&mut rig(state)).orders(expected);
}

fn stop(rig: &mut Rig) -> Orders {
    rig.stop("t")
}

fn shutdown(rig: &mut Rig) -> Orders {
    rig.shutdown()
}

#[test]
fn intake() {
    // What lies there is decided with the stop, the expiry or the shutdown known.
    let mut rig = Rig::new();
    rig.submit(task("a").cancelled()).has("decide a: rejected(removed)");
    rig.at(ms(5))
        .submit(task("b").expires_in(ms(5)).submitted_at(ms(0)))
        .has("decide b: rejected(expired)");
    rig.shutdown().whatever();
    rig.submit(task("c").cancelled()).has("decide c: rejected(shutting_down)");
}

#[test]
fn queued() {
    let ends = |end: &str| format!("deliver t: {end}\n forget t");
    check("queued", stop, &ends("cancelled by stop"));
    check("queued", |rig| rig.due_at(ms(50)), &ends("rejected(expired)"));
    let orders = shutdown(&mut rig("queued"));
    orders.has("deliver t: rejected(shutting_down)");
    let replaced = rig("queued").submit(task("new").slot("owner").replace());
    replaced.has("deliver t: rejected(superseded by new)");
    check("queued", |rig| rig.skip("t"), "answer false");
    check("queued", |rig| rig.restart("t"), "answer false");
}

#[test]
fn ready() {
    let ends = |end: &str| format!("deliver t: {end}\n forget t\n forget slot t");
    check("runnable", stop, &ends("cancelled by stop"));
    check("runnable", |rig| rig.due_at(ms(50)), &ends("rejected(expired)"));
    shutdown(&mut rig("runnable")).has("deliver t: cancelled by shutdown");
    check("runnable", |rig| rig.skip("t"), "answer false");
    check("runnable", |rig| rig.restart("t"), "answer false");
}

#[test]
fn starting() {
    check("starting", stop, "revoke t/1");
    check("starting", |rig| rig.due_at(ms(50)), "revoke t/1");
    check("starting", shutdown, "close door\n revoke t/1");
    check("starting", |rig| rig.skip("t"), "answer false");
    check("starting", |rig| rig.restart("t"), "answer false");
    let ends = |end: &str| format!("deliver t: {end}\n forget t\n forget slot t");
    for (event, end) in [
        (stop as fn(&mut Rig) -> Orders, "cancelled by stop"),
        (|rig| rig.due_at(ms(50)), "rejected(expired)"),
    ] {
        let mut rig = rig("starting");
        event(&mut rig).whatever();
        rig.revoked("t").orders(&ends(end));
        assert_eq!(rig.permits(), (0, 0));
    }
}

#[test]
fn starting_with_a_claim_that_was_faster() {
    let mut rig = rig("starting");
    rig.stop("t").whatever();
    rig.stop("t").gives("");
    rig.claim("t").gives(
        "* t/1 starting
        tell t/1 stop until 108ms",
    );
    // The answer says the same again.
    rig.not_revoked("t").gives("");
    rig.told("t").whatever();
    rig.returns("t", Return::Ok).has("deliver t: cancelled by stop, ok");
}

/// The whole attempt fitted between the order and the stop.
#[test]
fn starting_with_a_return_that_was_faster() {
    let mut rig = rig("starting");
    rig.stop("t").whatever();
    rig.returns("t", Return::Failed).gives(
        "* t/1 starting
        * t/1 failed after 0ns
        * t ended: cancelled by stop
        * t slot no longer terminating
        deliver t: cancelled by stop
        forget t
        forget slot t",
    );
    let stale = rig.stale();
    rig.not_revoked("t").gives("");
    assert_eq!(rig.stale(), stale + 1);
}

#[test]
fn running() {
    check("running", stop, "tell t/1 stop until 108ms");
    check("running", |rig| rig.due_at(ms(50)), "tell t/1 timeout until 150ms");
    check("running", shutdown, "close door\n tell t/1 shutdown until 108ms");
    check("running", |rig| rig.skip("t"), "answer false");
    check("running", |rig| rig.restart("t"), "tell t/1 restart until 108ms\n answer true");
    let mut rig = rig("running");
    rig.returns("t", Return::Failed).has("* t/1 retry in 10ms, failed");
}

#[test]
fn running_under_a_watchdog() {
    check("watched", stop, "tell t/1 stop until 108ms");
    check("watched", |rig| rig.due_at(ms(10)), "look at t/1");
    check("watched", shutdown, "close door\n tell t/1 shutdown until 108ms");
    check("watched", |rig| rig.skip("t"), "answer false");
    check("watched", |rig| rig.restart("t"), "tell t/1 restart until 108ms\n answer true");
    let mut rig = rig("watched");
    rig.returns("t", Return::Ok).has("deliver t: completed");
    rig.idle();
}

#[test]
fn running_with_a_deadline_that_was_moved() {
    check("moved", stop, "tell t/1 stop until 108ms");
    check("moved", |rig| rig.due_at(ms(50)), "tell t/1 timeout until 150ms");
    check("moved", shutdown, "close door\n tell t/1 shutdown until 108ms");
    check("moved", |rig| rig.skip("t"), "answer false");
    check("moved", |rig| rig.restart("t"), "tell t/1 restart until 108ms\n answer true");
    let mut rig = rig("moved");
    rig.returns("t", Return::Ok).has("deliver t: completed");
}

/// What is told once is told for good, and a body of one attempt has no second.
#[test]
fn running_once() {
    let mut rig = Rig::new();
    rig.run(task("t").once().timeout(ms(5)));
    rig.restart("t").gives("answer false");
    rig.due().whatever();
    rig.told("t").whatever();
    rig.returns("t", Return::Ok).has("deliver t: timed_out");
}

#[test]
fn stopping_unresponsive() {
    check("unresponsive", stop, "finalize t/1 until 104ms");
    check("unresponsive", |rig| rig.due_at(ms(104)), "abandon t/1");
    check("unresponsive", shutdown, "close door\n finalize t/1 until 104ms");
    check("unresponsive", |rig| rig.skip("t"), "answer false");
    check("unresponsive", |rig| rig.restart("t"), "answer false");
    let mut rig = rig("unresponsive");
    rig.returns("t", Return::Ok).has("* t/1 retry in 10ms, unresponsive");
}

/// The rest of the supervisor's grace, where that is less.
#[test]
fn stopping_in_a_shutdown_that_has_less_time() {
    for (spec, told) in [(task("t").timeout(ms(5)), "timeout"), (task("t"), "stop")] {
        let mut rig = Rig::with(|limits| limits.grace = ms(20));
        rig.run(spec);
        match told {
            "stop" => rig.at(ms(5)).stop("t").has("tell t/1 stop until 105ms"),
            _ => rig.due().has("tell t/1 timeout until 105ms"),
        }
        rig.told("t").whatever();
        rig.at(ms(8)).shutdown().orders("close door\n finalize t/1 until 28ms");
        rig.due_at(ms(28)).gives("abandon t/1");
    }
}

#[test]
fn stopping_interrupted() {
    check("interrupted", stop, "finalize t/1 until 105ms");
    check("interrupted", |rig| rig.due_at(ms(105)), "abandon t/1");
    check("interrupted", shutdown, "close door\n finalize t/1 until 105ms");
    check("interrupted", |rig| rig.skip("t"), "answer false");
    check("interrupted", |rig| rig.restart("t"), "answer false");
    let mut rig = rig("interrupted");
    rig.returns("t", Return::Ok).has("* t/1 retry in 10ms, timed_out");
}

#[test]
fn stopping_with_its_stop_recorded() {
    check("stopping", stop, "");
    check("stopping", |rig| rig.due_at(ms(100)), "abandon t/1");
    check("stopping", shutdown, "close door\n finalize t/1 until 100ms");
    check("stopping", |rig| rig.skip("t"), "answer false");
    check("stopping", |rig| rig.restart("t"), "answer false");
    let mut rig = rig("stopping");
    rig.returns("t", Return::Ok).has("deliver t: cancelled by stop, ok");
}

#[test]
fn abandoned_with_its_outcome_open() {
    let ends = "finalize t/1 until 8ms\n deliver t: abandoned, timeout, asked by stop";
    check("abandoned", stop, ends);
    rig("abandoned").idle();
    let orders = shutdown(&mut rig("abandoned"));
    orders.has("deliver t: abandoned, timeout, asked by shutdown");
    check("abandoned", |rig| rig.skip("t"), "answer false");
    check("abandoned", |rig| rig.restart("t"), "answer false");
    let mut rig = rig("abandoned");
    rig.returns("t", Return::Ok).gives(
        "* t/1 returned ok, late by 2ms
        * t slot no longer terminating
        * t/1 retry in 10ms, abandoned",
    );
}

#[test]
fn abandoned_with_its_outcome_given() {
    check("abandoned for good", stop, "");
    rig("abandoned for good").idle();
    check("abandoned for good", shutdown, "close door\n flush events");
    check("abandoned for good", |rig| rig.skip("t"), "answer false");
    check("abandoned for good", |rig| rig.restart("t"), "answer false");
    let mut rig = rig("abandoned for good");
    rig.returns("t", Return::Ok).gives(
        "* t/1 returned ok, late by 7ms
        * t slot no longer terminating
        forget t
        forget slot t",
    );
    assert_eq!((rig.slot("t"), rig.permits()), ("idle".into(), (0, 0)));
}

#[test]
fn abandoned_with_release_and_a_retry() {
    let ends = |end: &str| format!("deliver t: {end}\n forget t\n forget slot t");
    check("released", stop, &ends("cancelled by stop"));
    check("released", |rig| rig.due_at(ms(16)), "start t/2");
    shutdown(&mut rig("released")).has("deliver t: cancelled by shutdown");
    check("released", |rig| rig.skip("t"), "start t/2\n answer true");
    check("released", |rig| rig.restart("t"), "start t/2\n answer true");
    check("released", |rig| rig.returns("t", Return::Ok), "forget released t/1");
    assert_eq!((rig("released").permits(), rig("released").stuck()), ((0, 0), (1, 1)));
}

#[test]
fn abandoned_with_release_for_good() {
    check("released for good", stop, "");
    check("released for good", |rig| rig.looked("t", true), "");
    check("released for good", |rig| rig.abandoned("t"), "");
    rig("released for good").idle();
    check("released for good", shutdown, "close door\n flush events");
    check("released for good", |rig| rig.skip("t"), "answer false");
    check("released for good", |rig| rig.restart("t"), "answer false");
    check("released for good", |rig| rig.returns("t", Return::Ok), "forget released t/1");
    assert_eq!(rig("released for good").permits(), (0, 0));
}

#[test]
fn waiting() {
    let ends = |end: &str| format!("deliver t: {end}\n forget t\n forget slot t");
    check("waiting", stop, &ends("cancelled by stop"));
    check("waiting", |rig| rig.due_at(ms(10)), "start t/2");
    shutdown(&mut rig("waiting")).has("deliver t: cancelled by shutdown");
    check("waiting", |rig| rig.skip("t"), "start t/2\n answer true");
    check("waiting", |rig| rig.restart("t"), "start t/2\n answer true");
    let mut rig = rig("waiting");
    rig.submit(task("heir").slot("t")).whatever();
    rig.stop("t").orders(
        "start heir/1
        deliver t: cancelled by stop
        forget t",
    );
    rig.idle();
}

#[test]
fn over() {
    let mut rig = rig("over");
    let attempt = rig.attempt("t");
    let stale = rig.stale();
    rig.stop("t").gives("");
    rig.skip("t").gives("answer false");
    rig.restart("t").gives("answer false");
    rig.claim("t").gives("");
    rig.returns("t", Return::Ok).gives("");
    rig.told("t").gives("");
    rig.revoked("t").gives("");
    rig.abandoned("t").gives("");
    rig.looked("t", false).gives("");
    assert_eq!(rig.stale(), stale + 9);
    // Its key may belong to another by now.
    let mut other = attempt.task;
    other.id = crate::vocabulary::id::TaskId::new(99);
    rig.input(Input::StopRequested(other)).gives("");
    assert_eq!(rig.stale(), stale + 10);
}
