//! Guards of hooks: what dropping, disarming and forgetting promise, under races too; nudges; and
//! what becomes of the hooks themselves.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use threadvisor::prelude::*;
use threadvisor::{CancelGuard, CancelToken, Canceller};

use crate::support::{in_time, next, on_thread, outcome_of, Gate};
use crate::{deaf, foreign_call, ms, Drops, Stage};

/// How often a race is tried.
const ROUNDS: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };

/// A thread that cancels whatever it is given, at once.
fn cancelling_thread() -> (Sender<Canceller>, Receiver<()>) {
    let (give, given) = bounded::<Canceller>(0);
    let done = on_thread(move || given.iter().for_each(|it| it.cancel()));
    (give, done)
}

/// Wastes a little time, another amount each round, so that a race falls out in every way.
fn dither(round: usize) {
    (0..round.wrapping_mul(7919) % 300).for_each(|_| std::hint::spin_loop());
}

#[test]
fn after_its_guard_is_dropped_a_hook_does_not_run_whatever_the_race() {
    let (give, done) = cancelling_thread();
    let (mut ran, mut spared) = (0, 0);
    for round in 0..ROUNDS {
        let (ctx, canceller) = TaskContext::detached();
        let (calls, drops) = (Arc::new(AtomicUsize::new(0)), Drops::default());
        let gone = Arc::new(AtomicBool::new(false));
        let (count, was_gone, value) = (Arc::clone(&calls), Arc::clone(&gone), drops.value());
        let guard = ctx.on_cancel(move || {
            let _value = &value;
            assert!(!was_gone.load(Ordering::SeqCst), "the hook runs after its guard's drop");
            count.fetch_add(1, Ordering::SeqCst);
        });
        give.send(canceller).unwrap();
        dither(round);
        drop(guard);
        gone.store(true, Ordering::SeqCst);
        let at_drop = calls.load(Ordering::SeqCst);
        assert!(at_drop <= 1, "a hook ran twice");
        assert_eq!(drops.count(), 1, "what the hook holds is gone with its guard");
        let _ = ctx.sleep(Duration::MAX);
        assert_eq!(calls.load(Ordering::SeqCst), at_drop, "it ran after its guard's drop");
        *(if at_drop == 1 { &mut ran } else { &mut spared }) += 1;
    }
    drop(give);
    next(&done);
    println!("{ran} ran, {spared} were spared");
}

#[test]
fn a_hook_that_races_with_the_cancel_runs_exactly_once() {
    let (give, done) = cancelling_thread();
    for round in 0..ROUNDS {
        let (ctx, canceller) = TaskContext::detached();
        let (say, said) = unbounded();
        give.send(canceller).unwrap();
        dither(round);
        let (again, drops) = (say.clone(), Drops::default());
        let (one, other) = (drops.value(), drops.value());
        let first = ctx.on_cancel(move || {
            let _ = (&one, say.send(1));
        });
        ctx.on_cancel(move || {
            let _ = (&other, again.send(2));
        })
        .forget();
        let mut heard = [next(&said), next(&said)];
        heard.sort_unstable();
        assert_eq!(heard, [1, 2], "round {round}");
        drop(first);
        assert!(said.recv().is_err(), "round {round}: a hook ran twice, or is still kept");
        assert_eq!(drops.count(), 2);
    }
    drop(give);
    next(&done);
}

#[test]
fn a_cancel_that_races_with_a_bodys_guards_is_not_lost() {
    let rounds = ROUNDS / 20;
    let stage = Stage::start(Supervisor::builder().grace(Duration::MAX));
    let (enter, entered) = unbounded();
    for round in 0..rounds {
        let enter = enter.clone();
        let task = stage.add(TaskSpec::once("racer", move |ctx| {
            let _ = enter.send(());
            for _ in 0..round % 4 {
                drop(ctx.on_cancel(|| {}));
            }
            let (wake, call) = foreign_call();
            let _hook = ctx.on_cancel(wake);
            call();
            Ok(ctx.check()?)
        }));
        if round % 2 == 0 {
            next(&entered);
        }
        dither(round);
        task.cancel();
        assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }), "round {round}");
        stage.handle.flush_events().unwrap();
    }
}

#[test]
fn a_guard_may_be_dropped_by_its_own_hook_and_by_another_hook() {
    let (ctx, canceller) = TaskContext::detached();
    let (say, said) = unbounded();
    let own: Arc<Mutex<Option<CancelGuard>>> = Arc::default();
    let other: Arc<Mutex<Option<CancelGuard>>> = Arc::default();
    let (own_cell, other_cell, tell) = (Arc::clone(&own), Arc::clone(&other), say.clone());
    let drops = Drops::default();
    let value = drops.value();
    *own.lock().unwrap() = Some(ctx.on_cancel(move || {
        let _value = &value;
        let (own, other) = (own_cell.lock().unwrap().take(), other_cell.lock().unwrap().take());
        drop(own);
        drop(other);
        let _ = tell.send("first");
    }));
    let late = drops.value();
    *other.lock().unwrap() = Some(ctx.on_cancel(move || {
        let _ = (&late, say.send("second"));
    }));
    in_time(move || canceller.cancel());
    // The second one was not reached when its guard was dropped.
    assert_eq!(said.iter().collect::<Vec<_>>(), ["first"]);
    assert_eq!(drops.count(), 2);
}

#[test]
fn dropping_a_guard_waits_for_its_hook_that_runs_elsewhere_and_disarming_does_not() {
    for disarm in [false, true] {
        let mut gate = Gate::new();
        let (ctx, canceller) = TaskContext::detached();
        let (finished, hold) = (Arc::new(AtomicBool::new(false)), gate.hold());
        let finish = Arc::clone(&finished);
        let guard = ctx.on_cancel(move || {
            hold();
            finish.store(true, Ordering::SeqCst);
        });
        let told = on_thread(move || canceller.cancel());
        gate.wait_entered();
        if disarm {
            assert!(!in_time(move || guard.disarm()), "a running hook was said not to run");
            assert!(!finished.load(Ordering::SeqCst), "it was waited for");
            gate.open();
        } else {
            let (begin, ready) = bounded(0);
            let finish = Arc::clone(&finished);
            let dropped = on_thread(move || {
                let _ = begin.send(());
                drop(guard);
                finish.load(Ordering::SeqCst)
            });
            next(&ready);
            gate.open();
            assert!(next(&dropped), "the drop did not wait for the hook");
        }
        next(&told);
    }
}

/// The same, but the waiting drop is seen to wait: the hook goes on only after the drop has begun
/// to wait, as far as that can be known from outside.
#[test]
fn a_waiting_drop_is_not_over_while_the_hook_runs() {
    let gate = Gate::new();
    let (ctx, canceller) = TaskContext::detached();
    let guard = ctx.on_cancel(gate.hold());
    let told = on_thread(move || canceller.cancel());
    gate.wait_entered();
    let dropped = on_thread(move || drop(guard));
    assert!(dropped.recv_timeout(ms(50)).is_err(), "the drop is over and the hook is not");
    drop(gate);
    next(&dropped);
    next(&told);
}

#[test]
fn disarming_says_whether_the_hook_still_runs() {
    let (ctx, canceller) = TaskContext::detached();
    let drops = Drops::default();
    let (one, two) = (drops.value(), drops.value());
    let before = ctx.on_cancel(move || unreachable!("{:p}", &one));
    assert!(before.disarm());
    assert_eq!(drops.count(), 1);
    let after = ctx.on_cancel(move || {
        let _ = (&two, 0);
    });
    canceller.cancel();
    assert!(after.disarm());
    assert_eq!(drops.count(), 2);
    // From inside itself: it is running.
    let place: Arc<Mutex<Option<CancelGuard>>> = Arc::default();
    let (ctx, canceller) = TaskContext::detached();
    let (inside, (say, said)) = (Arc::clone(&place), unbounded());
    let hook = ctx.on_cancel(move || {
        let guard = inside.lock().unwrap().take().unwrap();
        let _ = say.send(guard.disarm());
    });
    *place.lock().unwrap() = Some(hook);
    in_time(move || canceller.cancel());
    assert!(!next(&said));
}

#[test]
fn a_hook_is_removed_by_a_guard_that_unwinds_and_a_cancel_may_come_from_there() {
    struct CancelsOnDrop(TaskHandle);
    impl Drop for CancelsOnDrop {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (drops, ran) = (Drops::default(), Arc::new(AtomicBool::new(false)));
    let victim = stage.add(deaf("victim", &enter));
    next(&entered);
    let (last, value, run) = (CancelsOnDrop(victim.clone()), drops.value(), Arc::clone(&ran));
    let thrower = stage.add(TaskSpec::once("thrower", move |ctx| {
        let _last = last;
        let hook = move || {
            let _ = (&value, run.store(true, Ordering::SeqCst));
        };
        ctx.interruptible(hook, || panic::resume_unwind(Box::new("thrown")))
    }));
    assert!(matches!(outcome_of(&thrower), Outcome::Panicked { .. }));
    assert!(matches!(outcome_of(&victim), Outcome::Cancelled { .. }));
    assert_eq!((drops.count(), ran.load(Ordering::SeqCst)), (1, false));
    // Cancelling what has ended changes nothing.
    thrower.cancel();
    stage.snapshot();
    assert!(matches!(outcome_of(&thrower), Outcome::Panicked { .. }));
}

#[test]
fn a_panicking_destructor_of_a_hook_does_not_come_out_of_its_guard() {
    struct Throws;
    impl Drop for Throws {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic::resume_unwind(Box::new("dropped"));
            }
        }
    }
    let (ctx, canceller) = TaskContext::detached();
    let (one, two) = (Throws, Throws);
    let removed = ctx.on_cancel(move || {
        let _ = (&one, 0);
    });
    let ran = ctx.on_cancel(move || {
        let _ = (&two, 0);
    });
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        drop(removed);
        canceller.cancel();
        drop(ran);
    }));
    assert!(caught.is_ok());
}

/// Every way in which a hook can go, each with a value that must be dropped once, and only then.
#[test]
fn what_a_hook_holds_is_dropped_once_on_every_path() {
    let drops = Drops::default();
    let hook = || {
        let value = drops.value();
        move || {
            let _ = (&value, 0);
        }
    };
    let (ctx, canceller) = TaskContext::detached();
    drop(ctx.on_cancel(hook()));
    drop(ctx.on_cancel_every(ms(1), hook()));
    assert_eq!(drops.count(), 2, "a dropped guard");
    ctx.on_cancel(hook()).forget();
    let kept = ctx.on_cancel(hook());
    assert_eq!(drops.count(), 2, "a forgotten guard, and one that is kept");
    canceller.cancel();
    assert_eq!(drops.count(), 4, "hooks that ran");
    drop(kept);
    ctx.on_cancel(hook()).forget();
    assert_eq!(drops.count(), 5, "a hook that came late");
    let (ctx, canceller) = TaskContext::detached();
    ctx.on_cancel(hook()).forget();
    drop((ctx, canceller));
    assert_eq!(drops.count(), 6, "a token that was never cancelled");

    let stage = Stage::new();
    let (say, tokens) = unbounded();
    let (once, nudge) = (Mutex::new(Some(hook())), Mutex::new(Some(hook())));
    let task = stage.add(TaskSpec::new("forgets", move |ctx| {
        ctx.on_cancel(once.lock().unwrap().take().unwrap()).forget();
        ctx.on_cancel_every(ms(1), nudge.lock().unwrap().take().unwrap()).forget();
        let _ = say.send(ctx.token().clone());
        Ok(())
    }));
    let _ = outcome_of(&task);
    assert_eq!(drops.count(), 8, "an attempt that returned, though its token is kept");
    let token: CancelToken = next(&tokens);
    let guard = token.on_cancel(hook());
    assert_eq!(drops.count(), 8, "the guard keeps a hook that can never run");
    stage.end();
    assert!(!token.is_cancelled(), "an attempt that has ended is not cancelled again");
    drop(guard);
    token.on_cancel(hook()).forget();
    drop(token);
    assert_eq!(drops.count(), 10, "a token that outlives its supervisor");
}

#[cfg(target_os = "linux")]
#[test]
fn a_loop_that_hangs_up_a_million_hooks_does_not_grow() {
    fn pages() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    }
    let stage = Stage::new();
    let task = stage.add(TaskSpec::once("loops", |ctx| {
        let before = pages();
        for _ in 0..1_000_000 {
            drop(ctx.on_cancel(|| {}));
        }
        // Other tests of this process use some as well; a million leaks would be 30 000 pages.
        let grown = pages().saturating_sub(before);
        if grown > 20_000 {
            return Err(format!("grew by {grown} pages").into());
        }
        Ok(())
    }));
    assert!(outcome_of(&task).is_success(), "{:?}", outcome_of(&task));
}
