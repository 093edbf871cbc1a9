//! An outcome means closed: the body of a task is dropped before its outcome is seen and before its
//! slot passes on, however the task ended. A destructor that hangs keeps nothing else waiting.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, never, unbounded};
use threadvisor::prelude::*;
use threadvisor::{AbandonedAttempt, SupervisorBuilder, ThreadOptions, WaitError};

use crate::support::{
    in_time, next, no_op, outcome_of, resident, slow_to_drop, End, Gate, OnDrop, Puppet, Rig,
    WATCHDOG,
};

const LONG: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// What a program has open once at a time, and what takes its time to close.
#[derive(Clone, Default)]
struct Device(Arc<AtomicBool>);

impl Device {
    /// A body that owns the open device, runs at once, and succeeds or fails.
    fn body(&self, fails: bool) -> impl FnMut(&TaskContext) -> TaskResult + Send + 'static {
        assert!(!self.0.swap(true, Ordering::SeqCst), "the device is busy");
        let open = Arc::clone(&self.0);
        let port = OnDrop(move || {
            let _ = never::<()>().recv_timeout(20 * MS);
            open.store(false, Ordering::SeqCst);
        });
        move |_| {
            let _ = &port;
            if fails {
                Err("no answer")?;
            }
            Ok(())
        }
    }

    #[track_caller]
    fn is_closed_after(&self, task: &TaskHandle, expected: &str) {
        let outcome = outcome_of(task);
        assert!(!self.0.load(Ordering::SeqCst), "{expected}: it is open after {outcome}");
        assert_eq!(outcome.to_string(), expected);
    }
}

fn rig_with(builder: SupervisorBuilder) -> (Rig, TaskHandle, Puppet) {
    let rig = Rig::start(builder);
    let (spec, puppet) = Puppet::new("holder");
    let holder = rig.handle.add(spec.slot("held")).unwrap();
    puppet.started();
    (rig, holder, puppet)
}

/// Every end that does not go by a worker, and the two that time decides.
#[test]
fn the_device_is_closed_when_the_outcome_is_there_however_the_task_ended() {
    let (rig, _holder, _puppet) = rig_with(Supervisor::builder().grace(WATCHDOG));
    let crowded = Supervisor::builder().max_concurrent(1).grace(WATCHDOG);
    let (crowded, _other, _puppet_too) = rig_with(crowded);
    let (gate, opened) = bounded(0);
    let unready = Rig::start(Supervisor::builder().on_thread_start(move || {
        if std::thread::current().name() == Some("own") {
            let _: Result<(), _> = opened.recv();
        }
        Ok(())
    }));
    let device = Device::default();
    for _ in 0..20 {
        let spec = |fails| TaskSpec::new("device", device.body(fails));
        let add = |spec| rig.handle.add(spec).unwrap();
        let submit = |spec, policy| rig.handle.submit(spec, policy).unwrap();

        let waiting = add(spec(false).every(LONG));
        rig.until(&waiting, "run_scheduled 1");
        waiting.cancel();
        device.is_closed_after(&waiting, "cancelled (stop)");

        let delayed = add(spec(false).initial_delay(LONG));
        delayed.cancel();
        device.is_closed_after(&delayed, "cancelled (stop)");

        let replaced = add(spec(false).initial_delay(LONG));
        let heir = submit(resident("heir").slot("device"), AdmissionPolicy::Replace);
        device.is_closed_after(&replaced, "cancelled (replace)");
        heir.cancel();
        let _ = outcome_of(&heir);

        let queued = submit(spec(false).slot("held"), AdmissionPolicy::Queue);
        queued.cancel();
        device.is_closed_after(&queued, "cancelled (stop)");

        let expired =
            submit(spec(false).slot("held").expires_in(5 * MS), AdmissionPolicy::KeepLatest);
        device.is_closed_after(&expired, "rejected: expired before its first attempt");

        let old = submit(spec(false).slot("held"), AdmissionPolicy::Queue);
        let newer = submit(no_op("newer").slot("held"), AdmissionPolicy::KeepLatest);
        device.is_closed_after(&old, &format!("rejected: superseded by task {}", newer.id()));
        newer.cancel();

        let refused = submit(spec(false).slot("held"), AdmissionPolicy::DropIfRunning);
        let outcome = outcome_of(&refused).to_string();
        device.is_closed_after(&refused, &outcome);
        assert!(outcome.contains("has owned the slot"), "{outcome}");

        let tired = add(spec(true).failure_limit(1, LONG).backoff(BackoffPolicy::constant(MS)));
        device.is_closed_after(&tired, "failed: no answer");

        let runnable = crowded.handle.add(spec(false)).unwrap();
        runnable.cancel();
        device.is_closed_after(&runnable, "cancelled (stop)");

        let own = ThreadOptions::new().name("own");
        let starting = unready.handle.add(spec(false).dedicated_thread(own)).unwrap();
        assert_eq!(starting.state(), TaskState::Starting);
        starting.cancel();
        device.is_closed_after(&starting, "cancelled (stop)");

        // And the slot is free for whoever has seen that.
        let again = add(spec(false));
        device.is_closed_after(&again, "completed");
    }
    let own = no_op("own");
    let removed = rig.handle.submit(own.slot("held"), AdmissionPolicy::Queue).unwrap();
    let device_too = TaskSpec::new("device", device.body(false)).slot("held");
    let last = rig.handle.submit(device_too, AdmissionPolicy::Queue).unwrap();
    assert_eq!(rig.handle.cancel_slot("held").removed, 2);
    device.is_closed_after(&last, "rejected: removed before its first attempt");
    let _ = outcome_of(&removed);
    drop(gate);
}

/// The clock alone changes the ledger, and no event tells that.
#[track_caller]
fn wait_for(rig: &Rig, entries: usize) -> Vec<AbandonedAttempt> {
    for _ in 0..6_000 {
        let snapshot = rig.handle.snapshot().unwrap();
        if snapshot.abandoned.len() == entries {
            return snapshot.abandoned;
        }
        let _ = never::<()>().recv_timeout(10 * MS);
    }
    panic!("the ledger never had {entries} entries");
}

#[test]
fn a_destructor_that_hangs_keeps_no_other_and_is_named() {
    let (rig, holder, puppet) = rig_with(Supervisor::builder().grace(150 * MS));
    let (hangs, dropping, may) = slow_to_drop();
    let queue = |spec: TaskSpec| rig.handle.submit(spec, AdmissionPolicy::Queue).unwrap();
    let first = queue(TaskSpec::new("first", hangs).slot("held"));
    let (dropped, is_dropped) = unbounded();
    let value = OnDrop(move || {
        let _ = dropped.send(());
    });
    let second = TaskSpec::new("second", move |_| {
        let _ = &value;
        Ok(())
    });
    let second = queue(second.slot("held"));
    assert_eq!(rig.handle.cancel_slot("held").removed, 2);
    next(&dropping);
    next(&is_dropped);
    assert_eq!(outcome_of(&second).to_string(), "rejected: removed before its first attempt");
    puppet.end(End::Ok);
    let _ = outcome_of(&holder);

    let outcome = outcome_of(&first);
    assert!(matches!(outcome, Outcome::Rejected(Rejection::Removed)), "{outcome}");
    let entries = wait_for(&rig, 1);
    assert!(entries[0].closing && !entries[0].hook && !entries[0].released, "{entries:?}");
    assert_eq!((entries[0].task.id, entries[0].attempt), (first.id(), 0));
    assert!(entries[0].thread.is_some());
    assert!(entries[0].to_string().starts_with("a destructor of first"), "{entries:?}");
    assert!(!rig.handle.snapshot().unwrap().is_healthy());
    rig.until(&first, "closing_abandoned");
    drop(may);
    rig.until(&first, "closing_returned");
    assert!(rig.handle.snapshot().unwrap().is_healthy());
}

/// No message comes that could wake the controller while the drop hangs.
#[test]
fn a_drop_that_hangs_is_noticed_though_nothing_else_happens() {
    let rig = Rig::start(Supervisor::builder().grace(100 * MS));
    for _ in 0..3 {
        let (hangs, dropping, may) = slow_to_drop();
        let task = rig.handle.add(TaskSpec::new("hangs", hangs).initial_delay(LONG)).unwrap();
        task.cancel();
        next(&dropping);
        assert_eq!(outcome_of(&task).to_string(), "abandoned (stop): the body outlived its grace");
        drop(may);
        rig.until(&task, "closing_returned");
    }
}

/// Eight errands may run at a time, but slow ones do not count.
#[test]
fn a_tenth_hook_runs_in_time_beside_nine_that_hang() {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let mut gate = Gate::new();
    let (start, started) = unbounded();
    let bad = |n: u32| {
        let (hook, body, start) = (gate.hold(), gate.hold(), start.clone());
        TaskSpec::once(format!("bad {n}"), move |ctx| {
            let _hook = ctx.on_cancel(hook);
            start.send(())?;
            body();
            Ok(())
        })
    };
    let bad = rig.handle.add_all((0..9).map(bad)).unwrap();
    let good = TaskSpec::once("good", move |ctx| {
        let (wake, woken) = bounded::<()>(0);
        let _hook = ctx.on_cancel(move || drop(wake));
        start.send(())?;
        let _ = woken.recv();
        Ok(())
    });
    let good = rig.handle.add(good).unwrap();
    (0..10).for_each(|_| next(&started));
    rig.handle.request_shutdown();
    assert_eq!(outcome_of(&good).to_string(), "cancelled (shutdown), the body returned ok");
    assert!(bad.iter().all(|task| task.outcome().is_none()));
    gate.open();
}

/// A hundred hooks that are due at once do not start a hundred threads.
#[test]
fn few_threads_are_started_for_many_hooks() {
    let threads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&threads);
    let builder = Supervisor::builder().grace(WATCHDOG).on_thread_start(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let rig = Rig::start(builder);
    let (start, started) = unbounded();
    let spec = |n: u32| {
        let start = start.clone();
        TaskSpec::once(format!("task {n}"), move |ctx| {
            let (wake, woken) = bounded::<()>(0);
            let _hook = ctx.on_cancel(move || drop(wake));
            start.send(())?;
            let _ = woken.recv();
            Ok(())
        })
    };
    rig.handle.add_all((0..100).map(spec)).unwrap();
    (0..100).for_each(|_| next(&started));
    let before = threads.load(Ordering::SeqCst);
    assert_eq!(rig.supervisor.shutdown().unwrap().shutdown.stopped, 100);
    let more = threads.load(Ordering::SeqCst) - before;
    assert!(more <= 20, "{more} threads were started for a hundred hooks");
}

/// As with hooks; and attempts run, too.
#[test]
fn a_tenth_body_is_dropped_beside_nine_whose_drops_hang() {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let closes = |body| {
        let task = rig.handle.add(TaskSpec::new("task", body).initial_delay(LONG).no_slot());
        let task = task.unwrap();
        task.cancel();
        task
    };
    let hang = |_| {
        let (hangs, dropping, may) = slow_to_drop();
        (closes(hangs), dropping, may)
    };
    let bad: Vec<_> = (0..9).map(hang).collect();
    let (good, _dropping, _) = slow_to_drop();
    let good = closes(good);
    assert!(outcome_of(&rig.handle.add(no_op("plain")).unwrap()).is_success());
    for (_, dropping, _) in &bad {
        next(dropping);
    }
    assert_eq!(outcome_of(&good).to_string(), "cancelled (stop)");
    assert!(bad.iter().all(|(task, ..)| task.outcome().is_none()));
}

/// A cancel whose drop hangs is an abandonment, and the slot stays held until the drop returns.
#[test]
fn a_hanging_drop_keeps_the_slot_unless_the_policy_releases_it() {
    for policy in [AbandonPolicy::Hold, AbandonPolicy::Release] {
        let rig = Rig::start(Supervisor::builder().grace(100 * MS));
        let (hangs, dropping, may) = slow_to_drop();
        let spec = TaskSpec::new("slot", hangs).initial_delay(LONG).abandon_policy(policy);
        let task = rig.handle.add(spec).unwrap();
        let heir = rig.handle.submit(no_op("slot"), AdmissionPolicy::Queue).unwrap();
        task.cancel();
        next(&dropping);
        assert_eq!(task.state(), TaskState::Closing);
        let outcome = outcome_of(&task);
        assert_eq!(outcome.to_string(), "abandoned (stop): the body outlived its grace");
        if policy == AbandonPolicy::Hold {
            assert_eq!(heir.state(), TaskState::Queued);
            drop(may);
            assert!(outcome_of(&heir).is_success());
        } else {
            assert!(outcome_of(&heir).is_success());
            assert!(wait_for(&rig, 1)[0].released);
            drop(may);
        }
        rig.until(&task, "closing_returned");
    }
}

#[test]
fn a_shutdown_does_not_wait_for_drops_beyond_its_grace() {
    let rig = Rig::start(Supervisor::builder().grace(150 * MS));
    let (hangs, dropping, _may) = slow_to_drop();
    let hangs = TaskSpec::new("hangs", hangs).initial_delay(LONG);
    let hangs = rig.handle.add(hangs).unwrap();
    let Rig { supervisor, .. } = rig;
    let report = in_time(move || supervisor.shutdown().unwrap()).shutdown;
    next(&dropping);
    assert_eq!(outcome_of(&hangs).to_string(), "abandoned (shutdown): the body outlived its grace");
    assert_eq!((report.abandoned.len(), report.values_leaked), (1, 0), "{report}");
    assert!(report.abandoned[0].closing);
    assert!(report.elapsed >= 150 * MS, "{report}");
}

/// They are as quickly done as many hands can do them, but few hands are hired for it.
#[test]
fn a_thousand_bodies_that_are_cancelled_at_once_are_dropped_by_few_threads() {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let shared = Arc::new(());
    let spec = |n: u32| {
        let owned = Arc::clone(&shared);
        let body = move |_: &TaskContext| {
            let _ = &owned;
            Ok(())
        };
        TaskSpec::new(format!("task {n}"), body).initial_delay(LONG)
    };
    let tasks = rig.handle.add_all((0..1000).map(spec)).unwrap();
    for task in &tasks {
        task.cancel();
    }
    for (task, left) in tasks.iter().zip((1..=1000).rev()) {
        let _ = outcome_of(task);
        assert!(Arc::strong_count(&shared) <= left);
    }
    let threads = rig.handle.snapshot().unwrap().workers.threads;
    assert!(threads <= 20, "{threads} threads");
    // None of them counts as under way.
    rig.handle.add_all((0..1000).map(spec)).unwrap();
    let report = rig.supervisor.shutdown().unwrap().shutdown;
    assert_eq!((report.stopped, report.values_leaked), (1000, 0), "{report}");
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// While no thread can be had, a closing waits; a shutdown does not.
#[test]
fn a_body_whose_thread_is_refused_is_dropped_when_one_can_be_had() {
    for until_shutdown in [false, true] {
        let refuse = Arc::new(AtomicBool::new(true));
        let refuses = Arc::clone(&refuse);
        let builder = Supervisor::builder().grace(if until_shutdown { 50 * MS } else { WATCHDOG });
        let rig = Rig::start(builder.on_thread_start(move || {
            if refuses.load(Ordering::SeqCst) {
                Err(std::io::Error::other("no thread for you"))?;
            }
            Ok(())
        }));
        let device = Device::default();
        let spec = TaskSpec::new("device", device.body(false)).initial_delay(LONG);
        let task = rig.handle.add(spec).unwrap();
        let heir = rig.handle.submit(no_op("device"), AdmissionPolicy::Queue).unwrap();
        task.cancel();
        rig.until(&task, "slot_transition true");
        assert_eq!((task.state(), heir.state()), (TaskState::Closing, TaskState::Queued));
        if until_shutdown {
            let report = rig.supervisor.shutdown().unwrap().shutdown;
            assert_eq!((report.abandoned.len(), report.values_leaked), (0, 1), "{report}");
            assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
        } else {
            refuse.store(false, Ordering::SeqCst);
            device.is_closed_after(&task, "cancelled (stop)");
            assert!(outcome_of(&heir).is_success());
        }
    }
}

/// Nothing that a destructor waits for may hold up the end of its own task.
#[test]
fn a_destructor_asks_but_does_not_wait() {
    let rig = Rig::new();
    let other = rig.handle.add(resident("other")).unwrap();
    let (tell, told) = unbounded();
    let (own_in, own) = bounded::<TaskHandle>(1);
    let (handle, waits_for) = (rig.handle.clone(), other.clone());
    let value = OnDrop(move || {
        let own = next(&own);
        let added = handle.add(no_op("added")).is_ok();
        let answers = (own.wait().unwrap_err(), waits_for.wait().unwrap_err(), added);
        let _ = tell.send(answers);
    });
    let spec = TaskSpec::new("asks", move |_| {
        let _ = &value;
        Ok(())
    });
    let task = rig.handle.add(spec.initial_delay(LONG)).unwrap();
    own_in.send(task.clone()).unwrap();
    task.cancel();
    let answers = next(&told);
    assert!(matches!(answers.0, WaitError::WouldDeadlock), "{:?}", answers.0);
    assert!(matches!(answers.1, WaitError::Cancelled(_)), "{:?}", answers.1);
    assert!(answers.2);
    assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
}

/// What was thrown is no part of the body.
#[test]
fn a_payload_whose_destructor_blocks_does_not_hold_up_the_outcome() {
    let rig = Rig::start(Supervisor::builder().grace(100 * MS));
    let mut gate = Gate::new();
    let hold = gate.hold();
    let spec = TaskSpec::once("throws", move |_| {
        std::panic::resume_unwind(Box::new(SendOnDrop(Some(Box::new(hold)))))
    });
    let task = rig.handle.add(spec).unwrap();
    gate.wait_entered();
    assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
    let entry = wait_for(&rig, 1).remove(0);
    assert!(entry.closing && entry.attempt == 1, "{entry:?}");
    gate.open();
    wait_for(&rig, 0);
}

struct SendOnDrop(Option<Box<dyn Fn() + Send>>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// A retry would not help, however late the error comes.
#[test]
fn a_fatal_error_of_an_abandoned_attempt_ends_its_task() {
    let rig = Rig::new();
    let (entered_in, entered) = unbounded();
    let (open, opened) = bounded::<()>(0);
    let spec = TaskSpec::new("late", move |_| {
        let _ = entered_in.send(());
        let _ = opened.recv();
        Err(TaskError::fatal("no such device"))
    });
    let spec = spec.timeout(MS).grace(MS).backoff(BackoffPolicy::constant(MS));
    let task = rig.handle.add(spec).unwrap();
    next(&entered);
    rig.until(&task, "attempt_abandoned 1: timeout");
    drop(open);
    assert_eq!(outcome_of(&task).to_string(), "fatal: no such device");
    let story = rig.story(&task);
    let end = ["attempt_returned 1: no such device", "task_ended fatal: no such device"];
    assert!(story.windows(2).any(|pair| pair == end), "{story:?}");
}
