//! The end of everything.
//!
//! Section `Shutdown` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::reason::ShutdownCause;

#[test]
fn an_idle_supervisor_flushes_its_events_and_finishes() {
    let mut rig = Rig::new();
    rig.at(ms(3)).shutdown().gives(
        "* shutdown requested: requested
        close door
        * shutdown ended
        flush events",
    );
    rig.at(ms(4)).flushed().gives("finish");
    rig.flushed().gives("");
    rig.idle();
}

#[test]
fn the_event_flush_has_a_deadline() {
    let mut rig = Rig::new();
    rig.at(ms(3)).shutdown().whatever();
    rig.due_at(ms(253)).gives("finish");
    rig.idle();
}

#[test]
fn what_waits_ends_first_and_what_runs_is_told() {
    let mut rig = Rig::with_permits(3);
    rig.run(task("runs").slot("s"));
    rig.submit(task("queued").slot("s")).whatever();
    rig.run(task("waits"));
    rig.returns("waits", Return::Failed).whatever();
    rig.run(task("stopped"));
    rig.stop_told("stopped");
    rig.submit(task("starts")).whatever();
    rig.submit(task("runnable")).whatever();
    rig.at(ms(5)).shutdown().gives(
        "* shutdown requested: requested
        close door
        * queued rejected(shutting_down)
        deliver queued: rejected(shutting_down)
        forget queued
        * waits ended: cancelled by shutdown
        deliver waits: cancelled by shutdown
        forget waits
        forget slot waits
        * runnable ended: cancelled by shutdown
        deliver runnable: cancelled by shutdown
        forget runnable
        forget slot runnable
        * runs slot terminating
        tell runs/1 shutdown until 105ms
        finalize stopped/1 until 100ms
        * starts slot terminating
        revoke starts/1",
    );
    rig.told("runs").whatever();
    rig.revoked("starts").orders(
        "deliver starts: cancelled by shutdown
        forget starts
        forget slot starts",
    );
    rig.returns("stopped", Return::Ok).has("deliver stopped: cancelled by stop, ok");
    rig.at(ms(9)).returns("runs", Return::Cancelled).gives(
        "* runs/1 cancelled after 9ms late by 4ms
        * runs ended: cancelled by shutdown
        * runs slot no longer terminating
        deliver runs: cancelled by shutdown
        forget runs
        forget slot s
        * shutdown ended
        flush events",
    );
}

#[test]
fn nothing_is_accepted_any_more() {
    let mut rig = Rig::new();
    rig.run(task("a"));
    rig.shutdown().whatever();
    rig.submit(task("b")).orders(
        "decide b: rejected(shutting_down)
        deliver b: rejected(shutting_down)
        forget b
        forget slot b",
    );
    rig.submit_all([task("c"), task("d")]).has("decide d: rejected(batch_refused for c)");
    rig.told("a").whatever();
    rig.returns("a", Return::Ok).has("flush events");
    // The flush is a state in which requests are still answered.
    rig.submit(task("e")).has("deliver e: rejected(shutting_down)");
    rig.skip("a").gives("answer false");
    rig.flushed().gives("finish");
}

#[test]
fn a_claim_on_its_way_is_told_at_once() {
    let mut rig = Rig::new();
    rig.submit(task("t")).whatever();
    rig.at(ms(5)).shutdown().has("revoke t/1");
    rig.at(ms(6)).not_revoked("t").gives(
        "* t/1 starting
        tell t/1 shutdown until 106ms",
    );
    rig.told("t").whatever();
    rig.returns("t", Return::Ok).has("deliver t: cancelled by shutdown, ok");
}

/// Neither a restart nor a success of a task that always restarts leads to another attempt.
#[test]
fn nothing_starts_any_more() {
    let mut rig = Rig::new();
    rig.run(task("a").always());
    rig.run(task("b"));
    rig.run(task("c").timeout(ms(1)));
    rig.restart("b").whatever();
    rig.told("b").whatever();
    rig.due().whatever();
    rig.told("c").whatever();
    rig.shutdown().whatever();
    rig.not_told("a").whatever();
    rig.returns("a", Return::Ok).has("deliver a: cancelled by shutdown, ok");
    rig.returns("b", Return::Ok).has("deliver b: cancelled by shutdown, ok");
    let orders = rig.returns("c", Return::Failed);
    orders.has("deliver c: cancelled by shutdown");
    orders.has("flush events");
}

#[test]
fn the_grace_of_the_supervisor_bounds_the_whole() {
    let mut rig = Rig::with(|limits| limits.grace = ms(50));
    rig.run(task("short").grace(ms(10)));
    rig.run(task("long").grace(Duration::MAX));
    rig.run(task("told").grace(ms(500)));
    rig.stop_told("told");
    let orders = rig.at(ms(20)).shutdown();
    orders.has("tell short/1 shutdown until 30ms");
    orders.has("tell long/1 shutdown until 70ms");
    orders.has("finalize told/1 until 70ms");
    for name in ["short", "long"] {
        rig.told(name).whatever();
    }
    rig.due_at(ms(30)).gives("abandon short/1");
    rig.abandoned("short").whatever();
    rig.due_at(ms(70)).gives(
        "abandon long/1
        abandon told/1",
    );
    rig.abandoned("long").has("deliver long: abandoned, shutdown, asked by shutdown");
    let orders = rig.abandoned("told");
    orders.has("deliver told: abandoned, stop, asked by stop");
    orders.has("flush events");
    rig.due_at(ms(320)).gives("finish");
    // A late return finds the books still open.
    rig.at(ms(400)).returns("long", Return::Ok).orders(
        "forget long
        forget slot long",
    );
}

#[test]
fn an_attempt_abandoned_earlier_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.run(task("t").timeout(ms(10)).grace(ms(5)));
    rig.due().whatever();
    rig.told("t").whatever();
    rig.due().whatever();
    rig.abandoned("t").whatever();
    rig.at(ms(20)).shutdown().gives(
        "* shutdown requested: requested
        close door
        finalize t/1 until 20ms
        * t ended: abandoned, timeout, asked by shutdown
        deliver t: abandoned, timeout, asked by shutdown
        * shutdown ended
        flush events",
    );
    assert_eq!(rig.state("t"), "abandoned");
}

#[test]
fn a_grace_of_zero_gives_up_at_once() {
    let mut rig = Rig::with(|limits| limits.grace = ms(0));
    rig.run(task("t"));
    rig.shutdown().orders(
        "close door
        tell t/1 shutdown until 0ns
        abandon t/1",
    );
    rig.told("t").gives("");
    rig.abandoned("t").has("flush events");
}

#[test]
fn a_shutdown_asked_for_again_is_the_same_one() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.shutdown().whatever();
    rig.told("t").whatever();
    rig.at(ms(50)).shutdown().gives("");
    rig.input(Input::ShutdownRequested(ShutdownCause::Dropped)).gives("");
    assert_eq!(rig.deadline().since_start(), ms(100));
}

#[test]
fn a_task_with_shutdown_on_end_takes_the_supervisor_with_it() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("t").shutdown_on_end());
    rig.submit(task("queued").slot("t")).whatever();
    rig.submit(task("runnable")).whatever();
    // The shutdown begins before slot and permit pass on: nobody starts in vain.
    rig.at(ms(5)).returns("t", Return::Ok).gives(
        "* t/1 succeeded after 5ms ok
        * t ended: completed
        * shutdown requested: end of t
        close door
        * queued rejected(shutting_down)
        deliver queued: rejected(shutting_down)
        forget queued
        * runnable ended: cancelled by shutdown
        deliver runnable: cancelled by shutdown
        forget runnable
        forget slot runnable
        deliver t: completed
        forget t
        forget slot t
        * shutdown ended
        flush events",
    );
}

#[test]
fn a_task_with_shutdown_on_end_that_goes_on_or_is_stopped_takes_nobody_with_it() {
    let mut rig = Rig::new();
    rig.run(task("a").shutdown_on_end());
    rig.returns("a", Return::Failed).has_none("close door");
    rig.stop("a").has_none("close door");
    rig.run(task("b").shutdown_on_end());
    rig.stop_told("b");
    rig.returns("b", Return::Ok).has_none("close door");
    rig.run(task("c"));
    rig.submit(task("d").slot("c").shutdown_on_end()).whatever();
    rig.stop("d").has_none("close door");
    rig.run(task("e").shutdown_on_end().grace(ms(1)));
    rig.stop_told("e");
    rig.due().whatever();
    rig.abandoned("e").has_none("close door");
}

#[test]
fn every_end_of_its_own_counts_for_shutdown_on_end() {
    for ret in [Return::Ok, Return::Failed, Return::Fatal, Return::Cancelled, Return::Panicked] {
        let mut rig = Rig::new();
        rig.run(task("t").never().shutdown_on_end());
        rig.returns("t", ret).has("* shutdown requested: end of t");
    }
    let mut rig = Rig::new();
    rig.run(task("t").never().shutdown_on_end().timeout(ms(5)).grace(ms(0)));
    rig.due().whatever();
    rig.abandoned("t").gives(
        "* t/1 abandoned after 5ms, timeout
        examine t/1
        * t slot terminating
        finalize t/1 until 5ms
        * t ended: abandoned, timeout
        * shutdown requested: end of t
        close door
        deliver t: abandoned, timeout
        * shutdown ended
        flush events",
    );
}

#[test]
fn the_first_cause_counts() {
    let mut rig = Rig::new();
    rig.run(task("a").never().shutdown_on_end());
    rig.run(task("b").never().shutdown_on_end());
    rig.returns("a", Return::Ok).has("* shutdown requested: end of a");
    rig.not_told("b").whatever();
    rig.returns("b", Return::Ok).has_none("* shutdown requested");
    rig.signal().gives("");
}

#[test]
fn a_signal_begins_a_shutdown() {
    let mut rig = Rig::new();
    rig.signal().has("* shutdown requested: SIGTERM");
}

#[test]
fn a_second_signal_ends_the_grace() {
    let mut rig = Rig::new();
    rig.run(task("a").grace(Duration::MAX));
    rig.run(task("b").grace(Duration::MAX));
    rig.signal().has("tell a/1 shutdown until 1s");
    rig.told("a").whatever();
    rig.told("b").whatever();
    rig.at(ms(301)).signal().gives(
        "restore signals
        finalize a/1 until 301ms
        abandon a/1
        finalize b/1 until 301ms
        abandon b/1",
    );
    rig.idle();
    rig.abandoned("a").has("deliver a: abandoned, shutdown, asked by shutdown");
    rig.abandoned("b").has("flush events");
    rig.at(ms(302)).signal().gives("");
}

/// Only signals are impatient.
#[test]
fn a_signal_after_a_request_escalates_and_a_request_after_a_signal_does_not() {
    let mut rig = Rig::new();
    rig.run(task("t").grace(Duration::MAX));
    rig.shutdown().whatever();
    rig.told("t").whatever();
    rig.at(ms(400)).shutdown().gives("");
    rig.at(ms(500)).signal().has("abandon t/1");
}

#[test]
fn a_signal_after_the_grace_gives_none_back() {
    let mut rig = Rig::new();
    rig.submit(task("t")).whatever();
    rig.shutdown().has("revoke t/1");
    rig.at(ms(1200)).signal().gives("restore signals");
    rig.at(ms(1201)).not_revoked("t").has("tell t/1 shutdown until 1s");
}

#[test]
fn an_urgent_shutdown_leaves_no_grace_to_a_claim_on_its_way() {
    let mut rig = Rig::new();
    rig.submit(task("t")).whatever();
    rig.signal().has("revoke t/1");
    rig.at(ms(400)).signal().gives("restore signals");
    rig.at(ms(401)).not_revoked("t").gives(
        "* t/1 starting
        tell t/1 shutdown until 400ms
        abandon t/1",
    );
}
