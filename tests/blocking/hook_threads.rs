//! Hooks that hang, and hooks that find no thread: none is lost as long as one thread can be had.

use std::sync::Mutex;
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, Receiver, Sender};
use threadvisor::prelude::*;
use threadvisor::AbandonedAttempt;

use crate::support::{next, no_op, outcome_of, thread_name, Gate};
use crate::{call_for, deaf, foreign_call, ms, Refusals, Stage};

/// A task that returns as soon as its hook runs, which is held by the gate.
fn hook_hangs(name: &str, gate: &Gate, entered: &Sender<()>) -> TaskSpec {
    let (hold, entered) = (gate.hold(), entered.clone());
    TaskSpec::once(name, move |ctx| {
        let (wake, call) = foreign_call();
        let hangs = move || {
            wake();
            hold();
        };
        ctx.on_cancel(hangs).forget();
        ctx.mark("asleep");
        let _ = entered.send(());
        call();
        Ok(ctx.check()?)
    })
}

#[test]
fn a_hook_that_outlives_the_grace_counts_as_abandoned_until_it_returns() {
    let mut gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().max_abandoned(0));
    let (enter, entered) = unbounded();
    let task = stage.add(hook_hangs("hangs", &gate, &enter).grace(ms(150)));
    next(&entered);
    assert!(stage.snapshot().is_healthy());
    task.cancel();
    // The body is polite; only its hook is not.
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    gate.wait_entered();
    stage.until_label(&task, "hook_slow");
    let entry = wait_for(&stage, 1).unwrap();
    assert!(entry.hook && !entry.released, "{entry:?}");
    assert_eq!((entry.task.id, entry.attempt), (task.id(), 1));
    assert_eq!(entry.reason, CancelReason::Stop);
    assert_eq!(entry.mark.as_ref().map(|mark| &*mark.label), Some("asleep"));
    let thread = entry.thread.clone().unwrap();
    assert!(thread.starts_with('w') || thread.starts_with("hook-"), "{thread}");
    assert_eq!(entry.tid.is_some(), cfg!(target_os = "linux"));
    assert!(entry.to_string().starts_with("a hook of hangs"), "{entry}");
    assert!(!stage.snapshot().is_healthy());
    let refused = stage.handle.add(no_op("refused")).unwrap_err();
    assert_eq!(refused.rejection(), Some(Rejection::TooManyAbandoned { limit: 0 }));
    gate.open();
    wait_for(&stage, 0);
    assert!(outcome_of(&stage.add(no_op("again"))).is_success());
    assert!(stage.snapshot().is_healthy());
}

/// Asks until the ledger has so many entries; the clock alone changes it, and no event tells.
fn wait_for(stage: &Stage, entries: usize) -> Option<AbandonedAttempt> {
    for _ in 0..6_000 {
        let snapshot = stage.snapshot();
        if snapshot.abandoned.len() == entries {
            return snapshot.abandoned.into_iter().next();
        }
        call_for(ms(10));
    }
    panic!("the ledger never had {entries} entries: {}", stage.snapshot());
}

#[test]
fn a_hook_that_hangs_does_not_keep_a_shutdown_beyond_grace_and_flush() {
    let gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().grace(ms(50)));
    let (enter, entered) = unbounded();
    let task = stage.add(hook_hangs("hangs", &gate, &enter));
    next(&entered);
    let (report, _) = stage.end();
    assert_eq!(report.stopped, 1, "{report}");
    assert!(report.elapsed < Duration::from_secs(10), "{report}");
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    drop(gate);
}

/// Its thread is what the ledger says, also when a nudge of the same attempt finds another one.
#[test]
fn the_ledger_keeps_to_the_thread_on_which_the_hook_hangs() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (say, said) = unbounded();
    let (go, going): (Sender<()>, Receiver<()>) = unbounded();
    let hold = Mutex::new(Some(gate.hold()));
    let body = move |ctx: &TaskContext| {
        let (hold, say) = (hold.lock().unwrap().take().unwrap(), say.clone());
        let hangs = move || {
            let _ = say.send(thread_name());
            hold();
        };
        ctx.on_cancel(hangs).forget();
        let _ = enter.send(());
        let _ = going.recv();
        ctx.on_cancel_every(ms(1), || {}).forget();
        let _ = enter.send(());
        let _ = going.recv();
        Ok(())
    };
    let task = stage.add(TaskSpec::once("both", body).grace(ms(150)));
    next(&entered);
    task.cancel();
    let thread = next(&said);
    // Body and hook.
    wait_for(&stage, 2);
    go.send(()).unwrap();
    next(&entered);
    for _ in 0..20 {
        let snapshot = stage.snapshot();
        let hook = snapshot.abandoned.iter().find(|entry| entry.hook);
        assert_eq!(hook.and_then(|it| it.thread.as_deref()), Some(&*thread), "{snapshot}");
        call_for(ms(10));
    }
    drop(go);
    gate.open();
    wait_for(&stage, 0);
}

/// The first registration finds threads refused for a while; a later one has to ask again.
#[test]
fn the_hook_thread_is_asked_for_again_at_each_registration() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    let stage = Stage::start(builder);
    let (go, going): (Sender<()>, Receiver<()>) = unbounded();
    let (say, said) = unbounded();
    let task = stage.add(TaskSpec::new("asks twice", move |ctx| {
        let (wake, call) = foreign_call();
        let _ = say.send(());
        next(&going);
        let _first = ctx.on_cancel(|| {});
        let _ = say.send(());
        next(&going);
        let _second = ctx.on_cancel(wake);
        let _ = say.send(());
        call();
        Ok(ctx.check()?)
    }));
    next(&said);
    refusals.begin();
    let alone = stage.add(no_op("alone"));
    // Refusals in a row are tried again later and later: then there is time to register meanwhile.
    stage.until_next("a refusal for long", |event| {
        matches!(event.kind, EventKind::ThreadRefused { retry_in, .. } if retry_in >= ms(150))
    });
    let _ = go.send(());
    next(&said);
    stage.snapshot();
    refusals.end();
    assert!(outcome_of(&alone).is_success());
    let _ = go.send(());
    next(&said);
    refusals.wait_started("hook-");
    refusals.fill_workers(&stage, 1);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    refusals.end();
}

/// The thread of last resort hangs in a hook, all workers are blocked, and threads are refused
/// often; then one can be had again.
#[test]
fn no_hook_is_lost_however_often_a_thread_was_refused() {
    let mut gate = Gate::new();
    let (builder, refusals) = Refusals::of(Supervisor::builder().grace(Duration::MAX));
    let stage = Stage::start(builder);
    let (enter, entered) = unbounded();
    let hangs = stage.add(hook_hangs("hangs", &gate, &enter));
    let waits = stage.add(deaf("waits", &enter));
    for _ in 0..2 {
        next(&entered);
    }
    refusals.wait_started("hook-");
    refusals.fill_workers(&stage, 1);
    hangs.cancel();
    gate.wait_entered();
    let _ = outcome_of(&hangs);
    // Its worker is free again: no more.
    refusals.fill_workers(&stage, 1);
    stage.events();
    waits.cancel();
    // As often as hooks may have threads of their own.
    for _ in 0..8 {
        stage.until_next("the next refusal", |event| event.kind.label() == "thread_refused");
    }
    refusals.end();
    assert!(matches!(outcome_of(&waits), Outcome::Cancelled { .. }));
    gate.open();
}

/// It finds every worker blocked and every thread refused.
#[test]
fn a_callback_of_on_end_runs_on_the_thread_of_last_resort() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    let stage = Stage::start(builder);
    let (tell, told) = unbounded();
    let task = stage.add(TaskSpec::new("waits", |_| Ok(())).initial_delay(Duration::MAX));
    task.on_end(move |_| tell.send(thread_name()).unwrap());
    refusals.wait_started("hook-");
    refusals.fill_workers(&stage, 1);
    task.cancel();
    let thread = next(&told);
    assert!(thread.starts_with("hook-"), "{thread}");
    refusals.end();
}

/// One callback holds the thread of last resort, and the other finds no thread.
#[test]
fn a_callback_that_waits_in_vain_for_a_thread_counts_as_leaked() {
    let mut gate = Gate::new();
    let (builder, refusals) = Refusals::of(Supervisor::builder().grace(Duration::MAX));
    let stage = Stage::start(builder);
    let (tell, told) = unbounded();
    let hold = gate.hold();
    let [hangs, waits] = ["hangs", "waits"]
        .map(|name| stage.add(TaskSpec::new(name, |_| Ok(())).initial_delay(Duration::MAX)));
    hangs.on_end(move |_| hold());
    waits.on_end(move |_| tell.send(()).unwrap());
    refusals.wait_started("hook-");
    refusals.fill_workers(&stage, 1);
    hangs.cancel();
    gate.wait_entered();
    waits.cancel();
    let _ = outcome_of(&waits);
    let (report, _) = stage.end();
    assert_eq!((report.values_leaked, told.len()), (2, 0), "{report}");
    gate.open();
    next(&told);
}
