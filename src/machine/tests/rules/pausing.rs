//! Pause and resume, in every state: the columns `pause` and `resume` of `State × event` of
//! `guide::rules`, and the text below that table.

use core::time::Duration;

use super::states_and_events::rig;
use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::{ClosingAnswer, Return};
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};
use crate::vocabulary::id::TaskId;

const PAUSED: &str = "* t paused\n answer true";
const RESUMED: &str = "* t resumed\n answer true";

/// Pauses "t" in a state, where that is a second time for nothing.
#[track_caller]
fn paused(state: &str) -> Rig {
    let mut rig = rig(state);
    rig.pause("t").gives(PAUSED);
    rig.pause("t").gives("answer false");
    rig
}

/// Where nothing follows, a pause is refused, and so is its end.
#[track_caller]
fn refused(mut rig: Rig) {
    let before = rig.deadline();
    rig.pause("t").gives("answer false");
    rig.resume("t").gives("answer false");
    assert_eq!((rig.deadline(), rig.is_paused("t")), (before, false));
}

#[test]
fn what_is_not_paused_is_not_resumed() {
    for state in
        ["queued", "runnable", "starting", "running", "interrupted", "abandoned", "waiting"]
    {
        rig(state).resume("t").gives("answer false");
    }
}

#[test]
fn intake() {
    // It is decided before any request about it is served, and a refusal leaves nothing to pause.
    let mut rig = Rig::new();
    rig.submit(task("t").cancelled()).whatever();
    let stale = rig.stale();
    rig.pause("t").gives("answer false");
    rig.resume("t").gives("answer false");
    assert_eq!(rig.stale(), stale + 2);
}

#[test]
fn queued() {
    let mut rig = paused("queued");
    assert_eq!(rig.state("t"), "queued");
    rig.idle();
    rig.skip("t").gives("answer false");
    rig.restart("t").gives("answer false");
    rig.at(ms(60)).returns("owner", Return::Ok).orders(
        "deliver owner: completed
        forget owner",
    );
    assert_eq!((rig.state("t"), rig.slot("owner").as_str()), ("waiting", "t running since 60ms"));
    rig.at(ms(70)).resume("t").gives("* t resumed\n start t/1\n answer true");

    // Resumed before its turn, it is as if nothing had been, but for its expiry.
    let mut rig = paused("queued");
    rig.at(ms(20)).resume("t").gives(RESUMED);
    rig.at(ms(60)).returns("owner", Return::Ok).has("start t/1");
    let mut rig = paused("queued");
    rig.at(ms(20)).resume("t").gives(RESUMED);
    rig.due_at(ms(62)).has("deliver t: rejected(expired)");

    paused("queued").stop("t").has("deliver t: cancelled by stop");
    paused("queued").shutdown().has("deliver t: rejected(shutting_down)");
}

#[test]
fn runnable() {
    let mut rig = paused("runnable");
    assert_eq!((rig.state("t"), rig.slot("t").as_str()), ("waiting", "t running since 0ns"));
    rig.idle();
    // Its place is given back, and it waits no longer.
    rig.submit(task("next")).whatever();
    rig.returns("busy", Return::Ok).has("start next/1");
    rig.at(ms(20)).resume("t").gives(
        "* t resumed
        * t waits for a permit
        answer true",
    );
    rig.due_at(ms(62)).has("deliver t: rejected(expired)");

    let mut rig = paused("runnable");
    rig.returns("busy", Return::Ok)
        .orders("deliver busy: completed\n forget busy\n forget slot busy");
    rig.resume("t").gives("* t resumed\n start t/1\n answer true");
}

#[test]
fn starting() {
    let mut rig = paused("starting");
    assert_eq!(rig.state("t"), "starting");
    // It runs this once.
    rig.idle();
    rig.at(ms(60)).claim("t").gives("* t/1 starting");
    rig.returns("t", Return::Failed).gives("* t/1 failed after 0ns");
    assert_eq!(rig.state("t"), "waiting");
    rig.idle();

    let mut rig = paused("starting");
    rig.at(ms(20)).resume("t").gives(RESUMED);
    rig.due_at(ms(62)).orders("revoke t/1");
    rig.revoked("t").has("deliver t: rejected(expired)");

    let mut rig = paused("starting");
    rig.stop("t").orders("revoke t/1");
    refused(rig);
}

/// The order to take it back is not taken back.
#[test]
fn starting_though_it_has_expired() {
    let mut rig = rig("starting");
    rig.due_at(ms(50)).orders("revoke t/1");
    rig.pause("t").gives(PAUSED);
    rig.at(ms(55)).resume("t").gives(RESUMED);
    rig.idle();
    rig.revoked("t").has("deliver t: rejected(expired)");
}

#[test]
fn running() {
    for state in ["running", "watched", "moved"] {
        let before = rig(state).deadline();
        let mut rig = paused(state);
        assert_eq!((rig.state("t"), rig.deadline()), ("running", before), "{state}");
        rig.returns("t", Return::Failed).gives("* t/1 failed after 8ms");
        assert_eq!(rig.state("t"), "waiting");
        rig.idle();
        rig.skip("t").gives("answer false");
        rig.restart("t").gives("answer false");
        rig.at(ms(30)).resume("t").gives("* t resumed\n start t/2\n answer true");

        let mut rig = paused(state);
        rig.resume("t").gives(RESUMED);
        rig.returns("t", Return::Failed).has("* t/1 retry in 10ms, failed");
    }
    paused("running").returns("t", Return::Ok).has("deliver t: completed");
    paused("running").stop("t").orders("tell t/1 stop until 108ms");
}

/// A restart is for the attempt that runs; the next one waits.
#[test]
fn running_and_told_to_restart() {
    let mut rig = paused("running");
    rig.restart("t").gives("tell t/1 restart until 108ms\n answer true");
    rig.told("t").whatever();
    rig.returns("t", Return::Cancelled).gives("* t/1 cancelled after 8ms");
    assert_eq!(rig.state("t"), "waiting");
    rig.idle();
}

#[test]
fn stopping_interrupted() {
    for state in ["interrupted", "unresponsive"] {
        let before = rig(state).deadline();
        let mut rig = paused(state);
        assert_eq!((rig.state("t"), rig.deadline()), ("stopping", before), "{state}");
        assert!(!rig.returns("t", Return::Ok).mentions("retry"));
        assert_eq!(rig.state("t"), "waiting");
        rig.idle();

        let mut rig = paused(state);
        rig.resume("t").gives(RESUMED);
        assert!(rig.returns("t", Return::Ok).mentions("retry"));
    }
    let mut rig = rig("running");
    rig.restart("t").whatever();
    rig.told("t").whatever();
    rig.pause("t").gives(PAUSED);
    rig.returns("t", Return::Ok).gives("* t/1 succeeded after 8ms ok");
    rig.resume("t").gives("* t resumed\n start t/2\n answer true");

    let mut rig = paused("interrupted");
    rig.stop("t").orders("finalize t/1 until 105ms");
    refused(rig);
}

#[test]
fn stopping_with_its_stop_recorded() {
    refused(rig("stopping"));
}

#[test]
fn abandoned_with_its_outcome_open() {
    let mut rig = paused("abandoned");
    assert_eq!(rig.state("t"), "abandoned");
    rig.returns("t", Return::Ok).gives(
        "* t/1 returned ok, late by 2ms
        * t slot no longer terminating",
    );
    assert_eq!((rig.state("t"), rig.permits()), ("waiting", (0, 0)));
    rig.idle();
    rig.resume("t").gives("* t resumed\n start t/2\n answer true");

    let mut rig = paused("abandoned");
    rig.resume("t").gives(RESUMED);
    rig.returns("t", Return::Ok).has("* t/1 retry in 10ms, abandoned");
    paused("abandoned").returns("t", Return::Fatal).has("deliver t: fatal");
}

#[test]
fn abandoned_with_its_outcome_given() {
    refused(rig("abandoned for good"));
    refused(rig("released for good"));
}

/// It may go on beside the attempt that was released, but for the pause.
#[test]
fn abandoned_and_released() {
    let mut rig = Rig::new();
    rig.run(task("t").release_shared().timeout(ms(5)).grace(ms(1)));
    rig.pause("t").gives(PAUSED);
    rig.due().whatever();
    rig.told("t").whatever();
    rig.abandon("t").has_none("* t/1 retry");
    assert_eq!((rig.state("t"), rig.permits()), ("waiting", (0, 0)));
    rig.idle();
    rig.resume("t").gives("* t resumed\n start t/2\n answer true");
}

#[test]
fn waiting() {
    for state in ["waiting", "released"] {
        let mut rig = paused(state);
        assert_eq!((rig.state("t"), rig.is_paused("t")), ("waiting", true));
        rig.idle();
        rig.skip("t").gives("answer false");
        rig.restart("t").gives("answer false");
        assert_eq!(rig.slot("t"), "t running since 0ns");
        rig.at(ms(90)).resume("t").gives("* t resumed\n start t/2\n answer true");
    }
    let mut rig = paused("waiting");
    rig.submit(task("heir").slot("t")).has("decide heir: queued behind 0");
    rig.stop("t").has("start heir/1");
    paused("waiting").shutdown().has("deliver t: cancelled by shutdown");
    let mut rig = paused("waiting");
    rig.submit(task("new").slot("t").replace()).has("start new/1");
}

#[test]
fn closing() {
    let spec = || task("t").open().initial_delay(ms(500)).grace(ms(10));
    let mut rig = Rig::new();
    rig.submit(spec()).whatever();
    rig.pause("t").gives(PAUSED);
    rig.stop("t").has("close t, stop");
    refused(rig);

    let mut rig = Rig::new();
    rig.submit(spec()).whatever();
    rig.at(ms(5)).stop("t").whatever();
    rig.at(ms(110)).closing_slow("t", ms(5)).whatever();
    rig.closing_answered("t", ClosingAnswer::Abandoned).whatever();
    refused(rig);
}

#[test]
fn over() {
    let mut rig = rig("over");
    let stale = rig.stale();
    rig.pause("t").gives("answer false");
    rig.resume("t").gives("answer false");
    assert_eq!(rig.stale(), stale + 2);
    let mut other = rig.attempt("t").task;
    other.id = TaskId::new(99);
    rig.input(Input::PauseRequested(other)).gives("answer false");
}

#[test]
fn a_resumed_task_starts_at_once_whatever_it_waited_for() {
    for spec in [
        task("t").repeat_after(ms(500)),
        task("t").always(),
        task("t").backoff(BackoffPolicy::constant(ms(500))).always(),
    ] {
        for ret in [Return::Ok, Return::Failed] {
            let mut rig = Rig::new();
            rig.run(spec.clone());
            rig.pause("t").whatever();
            rig.at(ms(8)).returns("t", ret).whatever();
            rig.at(ms(20)).resume("t").gives("* t resumed\n start t/2\n answer true");
        }
    }
    // An initial delay, too, also that of a task that was paused before it began.
    let mut rig = Rig::new();
    rig.submit(task("t").initial_delay(ms(500)).every(ms(30))).whatever();
    rig.pause("t").whatever();
    rig.at(ms(20)).resume("t").gives("* t resumed\n start t/1\n answer true");
    let mut rig = Rig::new();
    rig.run(task("owner"));
    rig.submit(task("t").slot("owner").initial_delay(ms(500))).whatever();
    rig.pause("t").whatever();
    rig.returns("owner", Return::Ok).whatever();
    rig.idle();
    rig.at(ms(20)).resume("t").gives("* t resumed\n start t/1\n answer true");
}

#[test]
fn a_task_on_a_grid_is_resumed_at_its_next_point() {
    for ret in [Return::Ok, Return::Failed] {
        let mut rig = Rig::new();
        rig.at(ms(3)).run(task("t").every(ms(10)));
        rig.pause("t").whatever();
        rig.at(ms(5)).returns("t", ret).whatever();
        rig.at(ms(47)).resume("t").gives(RESUMED);
        rig.due_at(ms(53)).has("start t/2");
        rig.claim("t").whatever();
        rig.at(ms(54)).returns("t", Return::Ok).has("* t/2 pause for 9ms");
    }
}

#[test]
fn a_pause_keeps_two_starts_apart() {
    let mut rig = Rig::new();
    rig.run(task("t"));
    rig.returns("t", Return::Failed).whatever();
    rig.pause("t").gives(PAUSED);
    rig.resume("t").gives(RESUMED);
    // While it waits for that, it can be paused again.
    rig.pause("t").gives(PAUSED);
    rig.resume("t").gives(RESUMED);
    rig.due_at(ms(1)).gives("start t/2");
}

#[test]
fn the_expiry_stands_still_before_the_first_attempt() {
    // 10 ms of an initial delay that lasts no longer, and 30 ms of waiting: 20 are left.
    let mut rig = Rig::with_permits(1);
    rig.run(task("busy"));
    rig.submit(task("t").initial_delay(ms(500)).expires_in(ms(50))).whatever();
    rig.at(ms(10)).pause("t").whatever();
    rig.idle();
    rig.at(ms(1000)).resume("t").has("* t waits for a permit");
    rig.at(ms(1030)).pause("t").whatever();
    rig.at(ms(2000)).resume("t").has("* t waits for a permit");
    rig.due_at(ms(2020)).has("deliver t: rejected(expired)");

    // For ever stays for ever.
    let mut rig = Rig::with_permits(1);
    rig.run(task("busy"));
    rig.submit(task("t").expires_in(Duration::MAX)).whatever();
    rig.at(ms(10)).pause("t").whatever();
    rig.at(ms(20)).resume("t").whatever();
    rig.idle();

    // What has expired, though nobody has noticed yet, expires when it is resumed.
    let mut rig = Rig::with_permits(1);
    rig.run(task("busy"));
    rig.submit(task("t").expires_in(ms(5))).whatever();
    rig.late_at(ms(6)).pause("t").gives(PAUSED);
    rig.at(ms(9)).resume("t").has("* t waits for a permit");
    rig.due_at(ms(9)).has("deliver t: rejected(expired)");
}

#[test]
fn a_pause_after_the_first_claim_expires_nothing() {
    let mut rig = Rig::new();
    rig.run(task("t").expires_in(ms(20)));
    rig.pause("t").whatever();
    rig.returns("t", Return::Failed).whatever();
    rig.at(ms(90)).resume("t").has("start t/2");
    rig.idle();
}

#[test]
fn a_resumed_task_begins_its_delays_and_its_patience_anew() {
    let growing = BackoffPolicy::exponential(ms(10), ms(500)).jitter(JitterPolicy::None);
    let mut rig = Rig::new();
    rig.run(task("t").backoff(growing).give_up_after(ms(50)));
    for (attempt, due) in [(1, 10), (2, 30)] {
        assert!(rig.returns("t", Return::Failed).mentions(&format!("t/{attempt} retry")));
        rig.due_at(ms(due)).whatever();
        rig.claim("t").whatever();
    }
    rig.at(ms(40)).pause("t").whatever();
    rig.returns("t", Return::Failed).whatever();
    rig.at(ms(200)).resume("t").whatever();
    rig.claim("t").whatever();
    // The first that counts since then; the streak goes on.
    rig.returns("t", Return::Failed).has("* t/4 retry in 10ms, failed");
    rig.due_at(ms(210)).whatever();
    rig.claim("t").whatever();
    rig.at(ms(251)).returns("t", Return::Failed).has("deliver t: failed");
}

/// A pause takes no budget away, and grants none.
#[test]
fn a_pause_grants_no_retry() {
    let mut rig = Rig::new();
    rig.run(task("t").max_retries(1));
    rig.pause("t").whatever();
    rig.returns("t", Return::Failed).whatever();
    rig.at(ms(9)).resume("t").whatever();
    rig.claim("t").whatever();
    rig.pause("t").whatever();
    rig.returns("t", Return::Failed).has("deliver t: failed");
    for spec in [task("t").never(), task("t").once()] {
        let mut rig = Rig::new();
        rig.run(spec);
        rig.pause("t").gives(PAUSED);
        rig.returns("t", Return::Ok).has("deliver t: completed");
    }
}

/// A body that waits for a paused task waits until that is resumed, and then it needs no permit.
#[test]
fn a_task_that_a_body_waits_for_can_be_paused() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("waiter"));
    rig.submit(task("t")).whatever();
    rig.pause("t").gives(PAUSED);
    rig.awaits("t").gives("");
    rig.at(ms(9)).resume("t").gives("* t resumed\n start t/1\n answer true");
}

#[test]
fn a_paused_heir_gives_up_the_place_that_it_would_inherit() {
    let mut rig = Rig::with_permits(1);
    rig.run(task("busy"));
    rig.submit(task("owner")).whatever();
    rig.submit(task("last")).whatever();
    rig.submit(task("t").slot("owner")).whatever();
    rig.pause("t").gives(PAUSED);
    rig.stop("owner").whatever();
    assert_eq!(rig.state("t"), "waiting");
    rig.resume("t").has("* t waits for a permit");
    rig.returns("busy", Return::Ok).has("start last/1");
}

/// It is not known to end by itself, so a drain treats it like a resident.
#[test]
fn a_drain_does_not_wait_for_a_paused_task() {
    let mut rig = paused("waiting");
    rig.drain(ms(500)).whatever();
    rig.intake_empty().has("deliver t: cancelled by shutdown");

    let mut rig = paused("waiting");
    rig.drain(ms(500)).whatever();
    rig.resume("t").has("start t/2");
    rig.intake_empty().gives("");

    // What is queued behind it waits in vain, whether the pause or the drain comes first.
    for pause_first in [true, false] {
        let mut rig = self::rig("running");
        rig.submit(task("heir").slot("t")).whatever();
        let orders = if pause_first {
            rig.pause("t").whatever();
            rig.drain(ms(500))
        } else {
            rig.drain(ms(500)).whatever();
            rig.pause("t")
        };
        orders.has("deliver heir: rejected(shutting_down)");
        assert!(rig.has_drained());
    }

    // Also once a paused task comes to own the slot.
    let mut rig = self::rig("running");
    rig.submit(task("paused").slot("t")).whatever();
    rig.submit(task("heir").slot("t")).whatever();
    rig.pause("paused").whatever();
    rig.drain(ms(500)).has_none("rejected");
    rig.returns("t", Return::Fatal).has("deliver heir: rejected(shutting_down)");
    assert!(rig.has_drained());
}

/// Its permit of a class goes to the next in line, and it leaves the line of its class.
#[test]
fn a_paused_task_holds_no_permit_of_its_class() {
    let mut rig = super::classes::crowded();
    rig.submit(super::classes::flash("t")).whatever();
    rig.submit(super::classes::flash("next")).has("* next waits for class 0");
    assert_eq!(rig.class(0), (1, 1));
    rig.pause("t").gives(
        "* t paused
        * next waits for a permit
        answer true",
    );
    assert_eq!((rig.state("t"), rig.class(0)), ("waiting", (1, 0)));
    rig.resume("t").gives("* t resumed\n * t waits for class 0\n answer true");
    rig.pause("t").gives(PAUSED);
    assert_eq!(rig.class(0), (1, 0));
}
