//! Who gets a slot, who waits and who is refused: each policy on an idle and a busy slot, and what
//! bounds them.
//!
//! Section `Slots and admission` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::SlotKey;
use crate::vocabulary::policy::AdmissionPolicy::{self, DropIfRunning, KeepLatest, Queue, Replace};

const POLICIES: [AdmissionPolicy; 4] = [Queue, Replace, DropIfRunning, KeepLatest];

/// "owner" runs in the slot "s" since 0 ms, and these wait.
fn busy<const N: usize>(waiting: [&'static str; N]) -> Rig {
    let mut rig = Rig::new();
    rig.run(task("owner").slot("s"));
    for name in waiting {
        rig.submit(task(name).slot("s")).whatever();
    }
    rig.at(ms(5));
    rig
}

#[test]
fn an_idle_slot_starts_every_submission() {
    for policy in POLICIES {
        let mut rig = Rig::new();
        rig.submit(task("a").slot("s").policy(policy)).gives(&format!(
            "* a submitted {policy}
            decide a: admitted
            * a admitted
            start a/1"
        ));
        assert_eq!(rig.slot("s"), "a running since 0ns");
    }
}

#[test]
fn a_task_without_a_slot_waits_for_none() {
    let mut rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.submit(task(name).no_slot().policy(DropIfRunning)).has(&format!("start {name}/1"));
    }
}

#[test]
fn queue_pushes_back() {
    let mut rig = busy(["a"]);
    rig.submit(task("b").slot("s")).gives(
        "* b submitted queue
        decide b: queued behind 1
        * b queued, depth 2",
    );
    rig.returns("owner", Return::Ok).orders(
        "start a/1
        deliver owner: completed
        forget owner",
    );
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).has("start b/1");
}

#[test]
fn queue_is_limited() {
    let mut rig = busy(["a", "b", "c"]);
    rig.submit(task("d").slot("s")).gives(
        "* d submitted queue
        decide d: rejected(queue_full 3/3)
        * d rejected(queue_full 3/3)
        deliver d: rejected(queue_full 3/3)
        forget d",
    );
    rig.submit(task("e").slot("s").policy(KeepLatest)).has("decide e: queued behind 0");
    rig.submit(task("f").slot("s")).has("decide f: queued behind 1");
}

#[test]
fn replace_becomes_the_head_and_asks_the_owner_to_stop_once() {
    let mut rig = busy(["a", "b"]);
    rig.submit(task("c").slot("s").replace()).gives(
        "* c submitted replace
        * a rejected(superseded by c)
        deliver a: rejected(superseded by c)
        forget a
        decide c: queued behind 0
        * c queued, depth 2
        * owner slot terminating
        tell owner/1 replace until 105ms",
    );
    rig.told("owner").whatever();
    assert_eq!(rig.slot("s"), "owner terminating since 5ms");
    let orders = rig.at(ms(6)).submit(task("d").slot("s").replace());
    orders.has("deliver c: rejected(superseded by d)");
    orders.has("decide d: queued behind 0");
    orders.has_none("tell");
    orders.has_none("finalize");
    rig.returns("owner", Return::Cancelled).orders(
        "start d/1
        deliver owner: cancelled by replace
        forget owner",
    );
    // The tail kept its order.
    rig.claim("d").whatever();
    rig.returns("d", Return::Ok).has("start b/1");
}

#[test]
fn replace_is_never_limited() {
    let mut rig = Rig::with(|limits| limits.max_slot_queue = 0);
    rig.run(task("owner").slot("s"));
    rig.submit(task("a").slot("s")).has("deliver a: rejected(queue_full 0/0)");
    rig.submit(task("b").slot("s").replace()).has("decide b: queued behind 0");
    rig.submit(task("c").slot("s").replace()).has("decide c: queued behind 0");
}

#[test]
fn drop_if_running_is_refused_and_says_by_whom() {
    let mut rig = busy(["a"]);
    rig.submit(task("b").slot("s").policy(DropIfRunning)).gives(
        "* b submitted drop_if_running
        decide b: rejected(slot_busy owner since 0ns)
        * b rejected(slot_busy owner since 0ns)
        deliver b: rejected(slot_busy owner since 0ns)
        forget b",
    );
}

#[test]
fn keep_latest_replaces_all_that_waits_and_leaves_the_owner_alone() {
    let mut rig = busy(["a", "b"]);
    rig.submit(task("c").slot("s").policy(KeepLatest)).gives(
        "* c submitted keep_latest
        * a rejected(superseded by c)
        deliver a: rejected(superseded by c)
        forget a
        * b rejected(superseded by c)
        deliver b: rejected(superseded by c)
        forget b
        decide c: queued behind 0
        * c queued, depth 1",
    );
    assert_eq!(rig.slot("s"), "owner running since 0ns");
}

#[test]
fn keep_latest_replaces_the_head_of_a_replace_too_and_the_stop_stays() {
    let mut rig = busy([]);
    rig.submit(task("a").slot("s").replace()).whatever();
    rig.told("owner").whatever();
    rig.submit(task("b").slot("s").policy(KeepLatest)).has("deliver a: rejected(superseded by b)");
    let orders = rig.returns("owner", Return::Ok);
    orders.has("deliver owner: cancelled by replace, ok");
    orders.has("start b/1");
}

/// Busy is a slot with an owner in whatever state.
#[test]
fn a_slot_whose_owner_waits_is_busy() {
    let mut rig = Rig::new();
    rig.run(task("owner").slot("s").repeat_after(ms(3_600_000)));
    rig.returns("owner", Return::Ok).whatever();
    assert_eq!(rig.state("owner"), "waiting");
    rig.submit(task("a").slot("s").policy(DropIfRunning))
        .has("decide a: rejected(slot_busy owner since 0ns)");
    rig.submit(task("b").slot("s")).has("decide b: queued behind 0");
    // An owner without an attempt ends in the same step.
    rig.submit(task("c").slot("s").replace()).orders(
        "deliver b: rejected(superseded by c)
        forget b
        decide c: queued behind 0
        start c/1
        deliver owner: cancelled by replace
        forget owner",
    );
}

#[test]
fn an_owner_that_is_merely_overdue_is_running_and_an_abandoned_one_terminating() {
    let mut rig = Rig::new();
    rig.run(task("owner").slot("s").timeout(ms(10)).grace(ms(10)));
    rig.due_at(ms(10)).whatever();
    rig.told("owner").whatever();
    assert_eq!(rig.slot("s"), "owner running since 0ns");
    rig.due_at(ms(20)).whatever();
    rig.abandoned("owner").has("* owner slot terminating");
    assert_eq!(rig.slot("s"), "owner terminating since 20ms");
    rig.at(ms(30)).returns("owner", Return::Ok).has("* owner slot no longer terminating");
    assert_eq!(rig.slot("s"), "owner running since 0ns");
}

#[test]
fn an_idle_slot_is_forgotten() {
    let mut rig = Rig::new();
    rig.run(task("a").slot("s"));
    rig.submit(task("b").slot("s")).whatever();
    rig.returns("a", Return::Ok).has_none("forget slot");
    rig.claim("b").whatever();
    rig.returns("b", Return::Ok).has("forget slot s");
    assert_eq!(rig.slot("s"), "idle");
}

#[test]
fn the_key_of_an_unknown_slot_names_an_idle_one() {
    let mut rig = Rig::new();
    rig.input(Input::SlotStopRequested(SlotKey(77))).gives("answer owner_asked=false removed=0");
}

/// Events of the end, slot and permit pass on, then the outcome.
#[test]
fn a_terminal_step_delivers_the_outcome_last() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("a").slot("s"));
    rig.submit(task("b").slot("s")).whatever();
    rig.submit(task("c")).whatever();
    rig.at(ms(2)).returns("a", Return::Ok).gives(
        "* a/1 succeeded after 2ms ok
        * a ended: completed
        start c/1
        * b admitted
        * b waits for a permit
        deliver a: completed
        forget a",
    );
    rig.claim("c").whatever();
    rig.returns("c", Return::Ok).orders(
        "start b/1
        deliver c: completed
        forget c
        forget slot c",
    );
}

#[test]
fn cancelling_what_waits_removes_it_and_nothing_else() {
    let mut rig = busy(["a", "b", "c"]);
    rig.stop("b").gives(
        "* b ended: cancelled by stop
        deliver b: cancelled by stop
        forget b",
    );
    rig.stop("b").gives("");
    rig.returns("owner", Return::Ok).has("start a/1");
    rig.claim("a").whatever();
    rig.returns("a", Return::Ok).has("start c/1");
}

#[test]
fn cancelling_the_head_of_a_replace_takes_nothing_back_from_the_owner() {
    let mut rig = busy(["a"]);
    rig.submit(task("b").slot("s").replace()).has("deliver a: rejected(superseded by b)");
    rig.told("owner").whatever();
    rig.stop("b").has("deliver b: cancelled by stop");
    assert_eq!(rig.slot("s"), "owner terminating since 5ms");
    rig.returns("owner", Return::Failed).has("deliver owner: cancelled by replace");
}

#[test]
fn stopping_a_slot_removes_what_waits_and_stops_the_owner() {
    let mut rig = busy(["a", "b"]);
    rig.stop_slot("s").orders(
        "deliver a: rejected(removed)
        forget a
        deliver b: rejected(removed)
        forget b
        tell owner/1 stop until 105ms
        answer owner_asked=true removed=2",
    );
    rig.told("owner").whatever();
    rig.submit(task("c").slot("s")).whatever();
    rig.stop_slot("s").orders(
        "deliver c: rejected(removed)
        forget c
        answer owner_asked=false removed=1",
    );
}

#[test]
fn a_batch_is_admitted_whole() {
    let mut rig = Rig::new();
    rig.submit_all([task("a"), task("b"), task("c").no_slot()]).orders(
        "decide a: admitted
        start a/1
        decide b: admitted
        start b/1
        decide c: admitted
        start c/1",
    );
}

#[test]
fn a_batch_is_refused_whole() {
    let mut rig = busy([]);
    let drop = |name| task(name).policy(DropIfRunning);
    rig.submit_all([drop("a"), drop("b").slot("s"), drop("c")]).orders(
        "decide a: rejected(batch_refused for b)
        deliver a: rejected(batch_refused for b)
        forget a
        forget slot a
        decide b: rejected(slot_busy owner since 0ns)
        deliver b: rejected(slot_busy owner since 0ns)
        forget b
        decide c: rejected(batch_refused for b)
        deliver c: rejected(batch_refused for b)
        forget c
        forget slot c",
    );
}

#[test]
fn a_batch_that_names_a_slot_twice_is_refused_and_forgets_it_once() {
    let mut rig = Rig::new();
    rig.at(ms(7)).submit_all([task("a").slot("s"), task("b").slot("s")]).orders(
        "decide a: rejected(batch_refused for b)
        deliver a: rejected(batch_refused for b)
        forget a
        decide b: rejected(slot_named_twice like a)
        deliver b: rejected(slot_named_twice like a)
        forget b
        forget slot s",
    );
}

#[test]
fn a_batch_counts_its_own_tasks() {
    let mut rig = Rig::with(|limits| limits.max_tasks = 2);
    rig.submit_all([task("a"), task("b"), task("c")]).has("decide c: rejected(too_many_tasks 2)");
    assert!(rig.is_idle());
    rig.submit_all([task("d"), task("e")]).has("start e/1");
}

#[test]
fn there_is_a_most_of_tasks() {
    let mut rig = Rig::with(|limits| limits.max_tasks = 2);
    rig.run(task("a"));
    rig.submit(task("b").slot("a")).whatever();
    rig.submit(task("c").slot("a").replace()).has("deliver c: rejected(too_many_tasks 2)");
    rig.returns("a", Return::Ok).whatever();
    rig.submit(task("d").slot("a")).has("decide d: queued behind 0");
}

#[test]
fn an_expired_submission_is_refused_when_decided() {
    let mut rig = Rig::new();
    let spec = task("a").expires_in(ms(10)).submitted_at(ms(2));
    rig.at(ms(12)).submit(spec).has("decide a: rejected(expired)");
    rig.submit(task("b").expires_in(ms(10)).submitted_at(ms(3))).has("start b/1");
}

#[test]
fn a_submission_cancelled_in_the_intake_is_not_admitted() {
    let mut rig = Rig::new();
    rig.submit(task("a").cancelled()).gives(
        "* a submitted queue
        decide a: rejected(removed)
        * a ended: cancelled by stop
        deliver a: cancelled by stop
        forget a
        forget slot a",
    );
}

#[test]
fn a_submission_expires_in_the_queue() {
    let mut rig = busy([]);
    rig.submit(task("a").slot("s").replace().expires_in(ms(10))).whatever();
    rig.told("owner").whatever();
    rig.due_at(ms(15)).orders(
        "deliver a: rejected(expired)
        forget a",
    );
    // The stop it asked for stays.
    assert_eq!(rig.slot("s"), "owner terminating since 5ms");
}

#[test]
fn a_submission_expires_while_it_waits_for_a_permit_and_the_slot_passes_on() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("other"));
    rig.submit(task("a").slot("s").expires_in(ms(10))).whatever();
    rig.submit(task("b").slot("s")).whatever();
    assert_eq!((rig.state("a"), rig.permits()), ("runnable", (1, 1)));
    rig.due_at(ms(10)).gives(
        "* a rejected(expired)
        * b admitted
        * b waits for a permit
        deliver a: rejected(expired)
        forget a",
    );
}

#[test]
fn a_submission_expires_while_it_waits_for_a_thread() {
    let mut rig = Rig::new();
    rig.submit(task("a").expires_in(ms(10))).whatever();
    rig.due_at(ms(10)).gives("revoke a/1");
    rig.idle();
    rig.revoked("a").gives(
        "* a rejected(expired)
        deliver a: rejected(expired)
        forget a
        forget slot a",
    );
}

#[test]
fn a_claim_in_time_ends_the_expiry() {
    let mut rig = Rig::new();
    rig.submit(task("a").expires_in(ms(10))).whatever();
    rig.due_at(ms(10)).gives("revoke a/1");
    rig.not_revoked("a").gives("* a/1 starting");
    rig.idle();
    // Nor does a later attempt expire.
    rig.returns("a", Return::Failed).whatever();
    rig.due_at(ms(20)).has("start a/2");
    rig.idle();
}

/// Its expiry passes while it is being taken back for a stop: the stop was first.
#[test]
fn a_stopped_submission_does_not_expire() {
    let mut rig = Rig::new();
    rig.submit(task("a").expires_in(ms(10))).whatever();
    rig.at(ms(9)).stop("a").has("revoke a/1");
    rig.idle();
    rig.at(ms(11)).revoked("a").has("deliver a: cancelled by stop");
}

#[test]
fn an_initial_delay_does_not_count_against_the_expiry() {
    let mut rig = Rig::with_permits(1);
    rig.submit(task("a").initial_delay(ms(100)).expires_in(ms(10)).submitted_at(ms(0))).whatever();
    rig.at(ms(20)).run(task("other"));
    rig.due_at(ms(100)).gives("* a waits for a permit");
    rig.due_at(ms(110)).has("deliver a: rejected(expired)");
}

#[test]
fn an_expiry_beyond_all_times_never_comes() {
    let mut rig = Rig::new();
    rig.submit(task("a").expires_in(Duration::MAX)).whatever();
    rig.idle();
}
