//! Threads that cannot be had: never, not now, or not before another has gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, never, unbounded};
use threadvisor::prelude::*;
use threadvisor::{Snapshot, StartError};

use crate::support::{next, no_op, outcome_of};
use crate::{deaf, ms, Refusals, Stage};

/// No address space has room for such a stack; the first is not even a size.
const IMPOSSIBLE: [usize; 2] = [usize::MAX, usize::MAX - (1 << 20)];

#[test]
fn a_stack_that_can_never_be_had_ends_the_attempt_with_that_error() {
    let stage = Stage::new();
    for stack_size in IMPOSSIBLE {
        let drops = crate::Drops::default();
        let value = drops.value();
        let spec = TaskSpec::new("huge", move |_| {
            let _owned = &value;
            Ok(())
        });
        let options = ThreadOptions::new().stack_size(stack_size);
        let task = stage.add(spec.restart(RestartPolicy::Always).dedicated_thread(options));
        let Outcome::Fatal { error } = outcome_of(&task) else { panic!("{:?}", task.outcome()) };
        let system: &std::io::Error = error.downcast_ref().unwrap();
        assert!(system.raw_os_error().is_some(), "{system}");
        assert_eq!(drops.count(), 1);
        stage.events();
        let story = ["attempt_starting", "attempt_failed", "task_ended", "retry_scheduled"];
        let seen = stage.seen(&task, &story);
        let labels: Vec<_> = seen.iter().map(|event| event.kind.label()).collect();
        assert_eq!(labels, story[..3]);
    }
    assert!(stage.snapshot().is_healthy());
}

#[test]
fn a_stack_size_of_all_threads_that_cannot_be_had_is_an_error_of_the_start() {
    for stack_size in IMPOSSIBLE {
        for prespawn in [0, 1] {
            let builder = Supervisor::builder().stack_size(stack_size).prespawn(prespawn);
            let error = builder.start().unwrap_err();
            let StartError::Thread { name, .. } = &error else { panic!("{error}") };
            assert!(name.starts_with('w'), "{name}");
        }
    }
}

#[test]
fn a_failing_set_up_of_prespawned_workers_is_an_error_of_the_start() {
    for (prespawn, fails_from) in [(1, 0), (3, 2)] {
        let calls = AtomicUsize::new(0);
        let builder = Supervisor::builder().prespawn(prespawn).on_thread_start(move || match calls
            .fetch_add(1, Ordering::SeqCst)
        {
            call if call >= fails_from => Err(std::io::Error::other("no priority")),
            _ => Ok(()),
        });
        let error = builder.start().unwrap_err();
        assert!(error.to_string().contains("on_thread_start failed: no priority"), "{error}");
    }
}

#[test]
fn a_set_up_of_prespawned_workers_that_hangs_does_not_keep_the_start() {
    let calls = AtomicUsize::new(0);
    let builder = Supervisor::builder().prespawn(2).on_thread_start(move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = never::<()>().recv();
        }
        Ok(())
    });
    let stage = Stage::start(builder.grace(ms(100)));
    assert!(outcome_of(&stage.add(no_op("on the other"))).is_success());
}

/// Asks until the snapshot fits; the clock alone changes it.
fn until(stage: &Stage, fits: fn(&Snapshot) -> bool) {
    for _ in 0..6_000 {
        if fits(&stage.snapshot()) {
            return;
        }
        let _ = after(ms(10)).recv();
    }
    panic!("never: {}", stage.snapshot());
}

#[test]
fn another_is_started_in_place_of_a_thread_whose_set_up_hangs() {
    for dedicated in [false, true] {
        let (go_on, held) = unbounded::<()>();
        let calls = AtomicUsize::new(0);
        let builder = Supervisor::builder().on_thread_start(move || {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = held.recv();
            }
            Ok(())
        });
        let runs = Arc::new(AtomicUsize::new(0));
        let run = Arc::clone(&runs);
        let alone = TaskSpec::new("alone", move |_| {
            run.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let own = ThreadOptions::new();
        let stage = Stage::start(builder);
        let alone = stage.add(if dedicated { alone.dedicated_thread(own) } else { alone });
        assert!(outcome_of(&alone).is_success());
        assert!(stage.snapshot().is_healthy(), "no work waits any more");
        // Whoever comes late finds nothing to do.
        drop(go_on);
        stage.supervisor.shutdown().unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn while_work_waits_and_no_thread_can_be_started_the_supervisor_is_not_healthy() {
    for dedicated in [false, true] {
        let (builder, refusals) = Refusals::of(Supervisor::builder());
        let stage = Stage::start(builder);
        refusals.begin();
        assert!(stage.snapshot().is_healthy());
        let spec = no_op("waits");
        let own = ThreadOptions::new();
        let task = stage.add(if dedicated { spec.dedicated_thread(own) } else { spec });
        let refused = stage.until("a refusal", |event| event.kind.label() == "thread_refused");
        assert!(refused.to_string().contains("on_thread_start failed: no thread for you"));
        until(&stage, |snapshot| {
            let starving = snapshot.to_string().contains(" starving=true");
            assert_eq!(starving, snapshot.workers.starving);
            assert_eq!(starving, !snapshot.is_healthy());
            starving
        });
        assert!(task.outcome().is_none());
        refusals.end();
        assert!(outcome_of(&task).is_success());
        assert!(stage.snapshot().is_healthy(), "{}", stage.snapshot());
    }
}

/// As many threads as a system of its own limit would allow.
#[test]
fn an_idle_worker_goes_home_where_that_makes_room_for_a_dedicated_thread() {
    const MOST: usize = 4;
    let alive = Arc::new(AtomicUsize::new(0));
    let (starts, stops) = (Arc::clone(&alive), Arc::clone(&alive));
    let builder = Supervisor::builder().on_thread_start(move || {
        let room = |alive| (alive < MOST).then_some(alive + 1);
        let granted = starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room);
        granted.map(drop).map_err(|_| std::io::Error::from_raw_os_error(11))
    });
    let stage = Stage::start(builder.on_thread_stop(move || {
        stops.fetch_sub(1, Ordering::SeqCst);
    }));
    let meet = Arc::new(std::sync::Barrier::new(MOST));
    let together: Vec<_> = (0..MOST)
        .map(|n| {
            let meet = Arc::clone(&meet);
            stage.add(TaskSpec::once(format!("together {n}"), move |_| {
                meet.wait();
                Ok(())
            }))
        })
        .collect();
    for task in &together {
        assert!(outcome_of(task).is_success());
    }
    until(&stage, |snapshot| snapshot.workers.idle == MOST);
    let own = no_op("own").dedicated_thread(ThreadOptions::new());
    let own = stage.add(own);
    assert!(own.wait_timeout(Duration::from_secs(5)).unwrap().is_some(), "{}", stage.snapshot());
    let refusals = stage.events();
    let refusals = refusals.iter().filter(|event| event.kind.label() == "thread_refused").count();
    assert!((1..5).contains(&refusals), "{refusals} tries, as if nobody had gone");

    // The thread of last resort comes in the same way.
    let (enter, entered) = unbounded();
    let deaf = stage.add(deaf("deaf", &enter));
    next(&entered);
    deaf.cancel();
    assert!(matches!(outcome_of(&deaf), Outcome::Cancelled { .. }));
}
