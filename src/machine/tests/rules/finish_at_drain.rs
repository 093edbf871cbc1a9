//! A drain lets the attempt that runs finish, and starts no other.
//!
//! Section `Drain` of `guide::rules`.

use crate::machine::tests::rig::{ms, task, Rig, Spec};
use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::AdmissionPolicy;

/// It runs, and a drain has begun.
fn draining(spec: Spec) -> Rig {
    let mut rig = Rig::with_permits(2);
    rig.run(spec.finish_at_drain());
    rig.drain(ms(500)).orders("drain until 500ms");
    assert!(!rig.has_drained(), "it is waited for");
    rig
}

#[test]
fn what_is_between_attempts_ends_and_what_has_a_thread_does_not_hear_of_it() {
    let mut rig = Rig::with_permits(5);
    rig.run(task("retries").finish_at_drain());
    rig.returns("retries", Return::Failed).whatever();
    rig.run(task("repeats").every(ms(50)).finish_at_drain());
    rig.returns("repeats", Return::Ok).whatever();
    rig.submit(task("later").initial_delay(ms(50)).finish_at_drain()).whatever();
    rig.run(task("stuck").grace(ms(0)).finish_at_drain());
    rig.restart("stuck").whatever();
    rig.told("stuck").whatever();
    rig.abandoned("stuck").whatever();
    rig.run(task("runs").slot("s").always().finish_at_drain());
    rig.submit(task("queued").slot("s").finish_at_drain()).whatever();
    rig.submit(task("other").slot("s")).whatever();
    rig.submit(task("starts").finish_at_drain()).whatever();
    rig.submit(task("claimed").finish_at_drain()).whatever();
    rig.run(task("x"));
    rig.submit(task("runnable").finish_at_drain()).whatever();
    let began = rig.drain(ms(500));
    began.has("deliver queued: rejected(shutting_down)");
    for name in ["retries", "repeats", "later", "runnable"] {
        began.has(&alloc::format!("deliver {name}: cancelled by drain"));
    }
    began.has("deliver stuck: abandoned, restart, asked by drain");
    began.has_none("tell runs/1");
    // Whether a thread has it, the answer says.
    began.has("revoke starts/1");
    began.has("revoke claimed/1");
    rig.revoked("starts").has("deliver starts: cancelled by drain");
    rig.not_revoked("claimed").has("* claimed/1 starting");
    rig.returns("claimed", Return::Ok).has("deliver claimed: completed");
    // What a task of its slot had waited for comes, too.
    let next = rig.returns("runs", Return::Ok);
    next.has("deliver runs: cancelled by drain, ok");
    next.has("start other/1");
    rig.claim("other").whatever();
    rig.returns("other", Return::Ok).whatever();
    rig.returns("x", Return::Ok).whatever();
    assert!(rig.has_drained());
}

#[test]
fn no_attempt_follows_and_an_end_of_its_own_stays_as_it_is() {
    let ends = |spec: Spec, ret, end: &str| {
        let mut rig = draining(spec);
        rig.returns("t", ret).has(&alloc::format!("deliver t: {end}"));
        assert!(rig.has_drained());
    };
    ends(task("t"), Return::Ok, "completed");
    ends(task("t"), Return::Failed, "cancelled by drain");
    ends(task("t"), Return::Panicked, "cancelled by drain");
    ends(task("t").max_retries(0), Return::Failed, "failed");
    ends(task("t"), Return::Fatal, "fatal");
    ends(task("t"), Return::Cancelled, "cancelled by by_task");
    ends(task("t").always(), Return::Ok, "cancelled by drain, ok");
    ends(task("t").every(ms(5)), Return::Failed, "cancelled by drain");
}

#[test]
fn an_attempt_that_is_interrupted_is_the_last_as_well() {
    let last = task("t").max_retries(0);
    for (spec, end) in [(task("t"), "cancelled by drain"), (last, "timed_out")] {
        let mut rig = draining(spec.timeout(ms(10)));
        rig.at(ms(10)).due().has("tell t/1 timeout until 110ms");
        rig.told("t").whatever();
        rig.returns("t", Return::Failed).has(&alloc::format!("deliver t: {end}"));
    }

    let mut rig = Rig::new();
    rig.run(task("t").finish_at_drain());
    rig.restart("t").whatever();
    rig.told("t").whatever();
    rig.drain(ms(500)).orders("drain until 500ms");
    rig.returns("t", Return::Ok).has("deliver t: cancelled by drain, ok");

    let mut rig = draining(task("t").timeout(ms(10)).grace(ms(0)));
    rig.at(ms(10)).due().whatever();
    rig.told("t").whatever();
    rig.abandoned("t").has("deliver t: abandoned, timeout");
    assert!(rig.has_drained());
}

/// Nothing would follow, so that it would be a stop.
#[test]
fn a_restart_by_hand_is_not_taken() {
    let mut rig = draining(task("t"));
    rig.restart("t").gives("answer false");
    rig.returns("t", Return::Ok).has("deliver t: completed");
}

#[test]
fn a_pause_of_the_attempt_that_runs_does_not_keep_the_drain_from_waiting() {
    let mut rig = draining(task("t").always());
    rig.pause("t").whatever();
    assert!(!rig.has_drained());
    rig.returns("t", Return::Ok).has("deliver t: cancelled by drain, ok");
    assert!(rig.has_drained());
}

#[test]
fn what_a_body_brings_meanwhile_is_refused() {
    let mut rig = draining(task("t").slot("s"));
    let refused = "decide more: rejected(shutting_down)";
    rig.submit(task("more").finish_at_drain()).has(refused);
    let replaces = task("more").slot("s").policy(AdmissionPolicy::Replace);
    rig.submit(replaces.finish_at_drain()).has(refused);
    rig.submit(task("other").slot("s")).has("decide other: queued behind 0");
    rig.returns("t", Return::Ok).has("start other/1");
}

#[test]
fn without_a_drain_nothing_is_different() {
    let mut rig = Rig::new();
    rig.run(task("t").always().finish_at_drain());
    rig.returns("t", Return::Ok).whatever();
    rig.at(ms(1)).due().has("start t/2");
}
