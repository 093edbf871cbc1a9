//! Hooks that are repeated until the call has noticed, and the descriptor that becomes readable:
//! for calls that lose an interrupt which comes too early, and for `poll`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, bounded, unbounded, Sender};
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use crate::support::{next, outcome_of, WATCHDOG};
use crate::{call_for, ms, Drops, Stage};

/// Sleeps until it was nudged so often.
fn nudged_often(name: &str, times: usize, enter: &Sender<()>) -> (TaskSpec, Arc<AtomicUsize>) {
    let (enter, runs) = (enter.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&runs);
    let spec = TaskSpec::new(name, move |ctx| {
        let (say, said) = unbounded();
        let count = Arc::clone(&count);
        let guard = ctx.on_cancel_every(ms(1), move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = say.send(());
        });
        let _ = enter.send(());
        for _ in 0..times {
            next(&said);
        }
        drop(guard);
        // The box is gone at once, though the next run was due in a millisecond.
        assert!(said.iter().count() < 1_000, "the nudge is kept after its guard's drop");
        Ok(ctx.check()?)
    });
    (spec, runs)
}

#[test]
fn a_nudge_repeats_until_its_guard_is_dropped_and_not_after() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (first, runs) = nudged_often("first", 5, &enter);
    let (second, _) = nudged_often("second", 20, &enter);
    let (first, second) = (stage.add(first), stage.add(second));
    for _ in 0..2 {
        next(&entered);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0, "nudged before the cancel");
    first.cancel();
    assert!(matches!(outcome_of(&first), Outcome::Cancelled { .. }));
    let at_end = runs.load(Ordering::SeqCst);
    assert!(at_end >= 5);
    // Time enough for twenty more.
    second.cancel();
    assert!(matches!(outcome_of(&second), Outcome::Cancelled { .. }));
    assert_eq!(runs.load(Ordering::SeqCst), at_end, "nudged after its guard's drop");
}

#[test]
fn a_nudge_that_is_hung_up_late_runs_at_once_and_repeats() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (say, said) = unbounded();
    let task = stage.add(TaskSpec::new("late", move |ctx| {
        let _ = enter.send(());
        let _ = ctx.sleep(Duration::MAX);
        let say = say.clone();
        let (nudge, nudged) = unbounded();
        let _guard = ctx.on_cancel_every(ms(1), move || {
            let _ = nudge.send(());
        });
        let _ = say.send(nudged.len());
        for _ in 0..5 {
            next(&nudged);
        }
        Ok(())
    }));
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
    assert_eq!(next(&said), 1);
}

/// There is nobody left to be woken.
#[test]
fn a_nudge_hung_up_after_its_attempt_has_returned_is_not_repeated() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (say, tokens) = unbounded();
    let ended = stage.add(TaskSpec::new("ended", move |ctx| {
        let _ = say.send(ctx.token().clone());
        Ok(ctx.sleep(Duration::MAX)?)
    }));
    let token = next(&tokens);
    ended.cancel();
    let _ = outcome_of(&ended);
    let (nudge, nudged) = unbounded();
    token
        .on_cancel_every(ms(1), move || {
            let _ = nudge.send(());
        })
        .forget();
    // Time enough for some more.
    let (spec, _) = nudged_often("other", 20, &enter);
    let other = stage.add(spec);
    next(&entered);
    other.cancel();
    let _ = outcome_of(&other);
    assert_eq!(nudged.len(), 1);
}

/// A call that knows an interrupt only while it is inside, like `sqlite3_interrupt`.
#[test]
fn an_interrupt_that_comes_too_early_is_repeated_until_it_is_noticed() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    for round in 0..100 {
        let enter = enter.clone();
        let task = stage.add(TaskSpec::once("statement", move |ctx| {
            let (interrupt, inside) = bounded::<()>(0);
            // Lost unless somebody is inside.
            let _nudge = ctx.on_cancel_every(ms(1), move || {
                let _ = interrupt.try_send(());
            });
            let _ = enter.send(());
            (0..round * 97 % 2_000).for_each(|_| std::hint::spin_loop());
            next(&inside);
            Ok(ctx.check()?)
        }));
        next(&entered);
        task.cancel();
        assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }), "round {round}");
    }
}

/// Each run takes longer than the period, so the next one is always due.
#[test]
fn nudges_that_are_always_due_do_not_starve_the_hooks_behind_them() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let task = stage.add(TaskSpec::new("slow nudges", move |ctx| {
        let lasting = || call_for(ms(3));
        let _first = ctx.on_cancel_every(ms(1), lasting);
        let _second = ctx.on_cancel_every(ms(1), lasting);
        let (wake, woken) = bounded(1);
        let _last = ctx.on_cancel(move || {
            let _ = wake.send(());
        });
        let _ = enter.send(());
        next(&woken);
        Ok(ctx.check()?)
    }));
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }), "{:?}", outcome_of(&task));
}

/// Many short runs are not one long one.
#[test]
fn a_nudge_that_goes_on_for_long_is_neither_slow_nor_abandoned() {
    let stage = Stage::start(Supervisor::builder().max_abandoned(0));
    let (enter, entered) = unbounded();
    // On a loaded machine, a short run may take long as well.
    let long_runs = Arc::new(AtomicUsize::new(0));
    let long = Arc::clone(&long_runs);
    let task = stage.add(TaskSpec::new("patient", move |ctx| {
        let (nudge, nudged) = unbounded();
        let long = Arc::clone(&long);
        let _guard = ctx.on_cancel_every(ms(1), move || {
            let is_long = after(ms(50));
            call_for(ms(2));
            let _ = nudge.send(());
            long.fetch_add(usize::from(is_long.try_recv().is_ok()), Ordering::Relaxed);
        });
        let _ = enter.send(());
        for _ in 0..100 {
            next(&nudged);
        }
        Ok(())
    }));
    next(&entered);
    task.cancel();
    let _ = outcome_of(&task);
    let slow = stage.seen(&task, &["hook_slow"]).len();
    assert!(slow <= long_runs.load(Ordering::Relaxed), "{slow}");
    assert!(stage.snapshot().abandoned.is_empty());
}

#[test]
fn a_nudge_on_an_abandoned_body_comes_ever_less_often() {
    let clock = ManualClock::new().patience(WATCHDOG);
    let stage = Stage::start(Supervisor::builder().clock(&clock).grace(ms(1)));
    let (enter, entered) = unbounded();
    let (nudge, nudged) = unbounded();
    let (go_on, gate) = bounded::<()>(0);
    let hello = enter.clone();
    let deaf = stage.add(TaskSpec::once("deaf", move |ctx| {
        let nudge = nudge.clone();
        let _guard = ctx.on_cancel_every(ms(1), move || {
            let _ = nudge.send(());
        });
        let _ = hello.send(());
        let _ = gate.recv();
        Ok(())
    }));
    clock.ignore(&deaf);
    next(&entered);
    deaf.cancel();
    clock.advance(ms(1));
    assert!(matches!(outcome_of(&deaf), Outcome::Abandoned { .. }));
    let _ = nudged.try_iter().count();
    // Meanwhile another one is run 200 times. Twenty pauses that double take a quarter of an hour.
    let (spec, _) = nudged_often("other", 200, &enter);
    let other = stage.add(spec);
    next(&entered);
    other.cancel();
    let _ = outcome_of(&other);
    assert!(nudged.len() < 20, "{}", nudged.len());
    drop(go_on);
}

#[test]
fn what_a_nudge_holds_is_dropped_with_its_guard_between_two_runs() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let drops = Drops::default();
    let value = Mutex::new(Some(drops.value()));
    let counted = drops.clone();
    let task = stage.add(TaskSpec::new("sparse", move |ctx| {
        let (nudge, nudged) = unbounded();
        let value = value.lock().unwrap().take();
        let hour = Duration::from_secs(3600);
        let guard = ctx.on_cancel_every(hour, move || {
            let _ = (&value, nudge.send(()));
        });
        let _ = enter.send(());
        next(&nudged);
        drop(guard);
        assert_eq!(counted.count(), 1);
        Ok(())
    }));
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
}

#[cfg(unix)]
mod descriptors {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;

    use threadvisor::CancelToken;

    use crate::{child, plays};

    /// What reading from the descriptor says: the number of bytes, or `None` if there is nothing.
    fn read(token: &CancelToken, patience: Duration) -> Option<usize> {
        let own = token.cancel_fd().unwrap().try_clone_to_owned().unwrap();
        let mut stream = UnixStream::from(own);
        stream.set_read_timeout(Some(patience)).unwrap();
        match stream.read(&mut [0; 1]) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_descriptor_is_readable_for_ever_once_cancelled_made_before_or_after() {
        let (early, canceller) = TaskContext::detached();
        assert_eq!(read(early.token(), ms(1)), None);
        canceller.cancel();
        let (late, canceller) = TaskContext::detached();
        canceller.cancel();
        for ctx in [&early, &late] {
            for _ in 0..3 {
                assert_eq!(read(ctx.token(), ms(10_000)), Some(0));
            }
        }
    }

    #[test]
    fn a_read_from_the_descriptor_is_woken_whenever_the_cancel_comes() {
        let stage = Stage::new();
        let (enter, entered) = unbounded();
        for round in 0..200_u32 {
            let enter = enter.clone();
            let task = stage.add(TaskSpec::once("polls", move |ctx| {
                let _ = enter.send(());
                (0..round * 97 % 3_000).for_each(|_| std::hint::spin_loop());
                assert_eq!(read(ctx.token(), WATCHDOG), Some(0));
                Ok(ctx.check()?)
            }));
            next(&entered);
            (0..round * 89 % 3_000).for_each(|_| std::hint::spin_loop());
            task.cancel();
            assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }), "round {round}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_are_closed_with_their_attempt() {
        const PART: &str = "descriptors";
        if !plays(PART) {
            let name = "nudges::descriptors::descriptors_are_closed_with_their_attempt";
            let output = child(name, PART, &[]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return assert!(output.status.success(), "{text}");
        }
        let open = || {
            let names = std::fs::read_dir("/proc/self/fd").unwrap();
            names.map(|name| name.unwrap().file_name()).collect::<BTreeSet<_>>().len()
        };
        let stage = Stage::new();
        let before = open();
        let (made, cancelled) = (Arc::new(AtomicUsize::new(0)), unbounded());
        for n in 0..50 {
            let (made, enter) = (Arc::clone(&made), cancelled.0.clone());
            let task = stage.add(TaskSpec::once("asks", move |ctx| {
                ctx.cancel_fd()?;
                made.fetch_add(1, Ordering::SeqCst);
                let _ = enter.send(());
                if n % 2 == 0 {
                    ctx.sleep(Duration::MAX)?;
                }
                Ok(())
            }));
            next(&cancelled.1);
            task.cancel();
            let _ = outcome_of(&task);
        }
        let (waits, asked) = unbounded();
        let hourly = stage.add(
            TaskSpec::new("hourly", move |ctx| {
                ctx.cancel_fd()?;
                let _ = waits.send(());
                Ok(())
            })
            .repeat_after(Duration::from_secs(3600)),
        );
        next(&asked);
        stage.until_label(&hourly, "run_scheduled");
        stage.snapshot();
        assert_eq!(made.load(Ordering::SeqCst), 50);
        assert_eq!(open(), before, "descriptors of attempts that have ended are open");
    }
}
