//! Many threads at once: every call is answered, every task ends once, no limit is exceeded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::AddError;

use crate::support::{
    in_time, next, no_op, on_thread, outcome_of, resident, thread_name, Gate, Rig, Trace,
};

/// Runs a call on several threads that begin together.
fn together<T: Send + 'static>(
    threads: usize,
    call: impl Fn(usize) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let line = Arc::new(Barrier::new(threads));
    let results: Vec<Receiver<T>> = (0..threads)
        .map(|n| {
            let (call, line) = (call.clone(), Arc::clone(&line));
            on_thread(move || {
                line.wait();
                call(n)
            })
        })
        .collect();
    results.iter().map(next).collect()
}

/// How many are inside at once, and were at most.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize)>);

impl Inside {
    fn enter(&self) {
        let now = self.0 .0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0 .1.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0 .0.fetch_sub(1, Ordering::SeqCst);
    }

    fn peak(&self) -> usize {
        self.0 .1.load(Ordering::SeqCst)
    }
}

#[test]
fn tasks_added_by_many_threads_are_all_held_and_all_end() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let adds = handle.clone();
    let tasks = together(8, move |thread| {
        let add = |n| adds.add(resident(&format!("task {thread} {n}"))).unwrap();
        (0..32).map(add).collect::<Vec<_>>()
    });
    let tasks: Vec<_> = tasks.into_iter().flatten().collect();
    let snapshot = handle.snapshot().unwrap();
    assert_eq!(snapshot.tasks.len(), 256);
    assert!(snapshot.tasks.windows(2).all(|pair| pair[0].task.id < pair[1].task.id));
    let mut ids: Vec<_> = tasks.iter().map(TaskHandle::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 256, "an id was given twice");
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!((report.stopped, report.abandoned.len()), (256, 0));
}

#[test]
fn of_many_adds_for_one_slot_exactly_one_is_admitted() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let results = together(64, move |_| handle.add(resident("twin")));
    let (admitted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let [Ok(owner)] = &admitted[..] else { panic!("{} admitted", admitted.len()) };
    for error in refused.into_iter().map(Result::unwrap_err) {
        let Some(Rejection::SlotBusy { owner: id, .. }) = error.rejection() else {
            panic!("{error}")
        };
        assert_eq!(id, owner.id());
        assert_eq!(error.into_spec().name(), "twin");
    }
}

#[test]
fn adding_and_cancelling_leaves_nothing_behind() {
    let supervisor = Arc::new(Supervisor::builder().start().unwrap());
    let handle = supervisor.handle();
    together(8, move |thread| {
        for n in 0..50 {
            let task = handle.add(resident(&format!("task {thread} {n}"))).unwrap();
            if n % 2 == 0 {
                handle.snapshot().unwrap();
            }
            task.cancel();
            assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
        }
    });
    let waits = Arc::clone(&supervisor);
    in_time(move || waits.wait_idle().unwrap());
    let snapshot = supervisor.handle().snapshot().unwrap();
    assert!(snapshot.tasks.is_empty() && snapshot.slots.is_empty(), "{snapshot}");
    assert_eq!((snapshot.permits.held, snapshot.permits.waiting), (0, 0));
}

#[test]
fn a_thousand_short_tasks_end_once_each_and_free_their_slots() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let tasks = together(4, move |_| {
        let submit = |n: usize| {
            let count = Arc::clone(&count);
            let spec = TaskSpec::once(format!("task {n}"), move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            handle.submit(spec.slot(format!("slot {}", n % 7)), AdmissionPolicy::Queue).unwrap()
        };
        (0..250).map(submit).collect::<Vec<_>>()
    });
    let done = tasks.iter().flatten().filter(|task| outcome_of(task).is_success()).count();
    // What found a queue of a hundred before it was refused.
    assert_eq!(runs.load(Ordering::SeqCst), done);
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!(report.outcomes.total(), 1000);
    assert_eq!(report.outcomes.completed, done as u64);
    assert_eq!(report.outcomes.rejected, 1000 - done as u64);
}

#[test]
fn many_cancels_of_one_task_end_it_once() {
    let supervisor = Supervisor::builder().start().unwrap();
    for _ in 0..20 {
        let task = supervisor.handle().add(resident("victim")).unwrap();
        let (victim, handle) = (task.clone(), supervisor.handle());
        together(8, move |n| {
            if n % 2 == 0 {
                victim.cancel();
            } else {
                handle.cancel_slot("victim");
            }
            outcome_of(&victim).label()
        });
        assert!(matches!(outcome_of(&task), Outcome::Cancelled { reason: StopReason::Stop, .. }));
    }
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!(report.outcomes.cancelled, 20);
}

#[test]
fn of_many_who_cancel_a_slot_one_is_told_that_it_asked_the_owner() {
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    handle.add(TaskSpec::new("port", gate.body())).unwrap();
    for n in 0..10 {
        handle.submit(no_op(&format!("{n}")).slot("port"), AdmissionPolicy::Queue).unwrap();
    }
    gate.wait_entered();
    let cancels = handle.clone();
    let found = together(16, move |_| cancels.cancel_slot("port"));
    assert_eq!(found.iter().filter(|found| found.owner_asked).count(), 1);
    assert_eq!(found.iter().map(|found| found.removed).sum::<usize>(), 10);
    gate.open();
}

#[test]
fn a_task_is_cancelled_from_bodies_and_subscribers_alike() {
    let (give, taken) = unbounded::<TaskHandle>();
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if matches!(event.kind, EventKind::AttemptStarting { .. }) {
                taken.try_iter().for_each(|task| task.cancel());
            }
        })
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let by_subscriber = handle.add(resident("by subscriber")).unwrap();
    give.send(by_subscriber.clone()).unwrap();
    let by_body = handle.add(resident("by body")).unwrap();
    let victim = by_body.clone();
    let killer = TaskSpec::once("killer", move |ctx| {
        victim.cancel();
        let outcome = ctx.wait_for(&victim)?;
        assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Stop, .. }));
        let itself = ctx.handle().task(ctx.id()).ok_or("it runs")?;
        itself.cancel();
        ctx.sleep(Duration::MAX)?;
        Ok(())
    });
    let killer = handle.add(killer).unwrap();
    for task in [by_subscriber, by_body, killer] {
        let outcome = outcome_of(&task);
        assert!(matches!(outcome, Outcome::Cancelled { .. }), "{task:?}: {outcome}");
    }
}

#[test]
fn no_more_attempts_run_at_once_than_there_are_permits_and_as_many_do() {
    let inside = Inside::default();
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().max_concurrent(4).start().unwrap();
    let handle = supervisor.handle();
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let (inside, hold) = (inside.clone(), gate.hold());
            let spec = TaskSpec::once(format!("task {n}"), move |_| {
                inside.enter();
                hold();
                inside.leave();
                Ok(())
            });
            handle.add(spec).unwrap()
        })
        .collect();
    (0..4).for_each(|_| gate.wait_entered());
    let permits = handle.snapshot().unwrap().permits;
    assert_eq!((permits.held, permits.limit, permits.waiting), (4, Some(4), 36));
    gate.open();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
    assert_eq!(inside.peak(), 4);
}

#[test]
fn an_abandoned_attempt_keeps_its_permit_until_it_returns() {
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().max_concurrent(1).start().unwrap();
    let handle = supervisor.handle();
    let stuck = handle.add(TaskSpec::new("stuck", gate.body()).grace(Duration::ZERO)).unwrap();
    gate.wait_entered();
    stuck.cancel();
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    let next = handle.add(no_op("next")).unwrap();
    assert_eq!(next.state(), TaskState::Runnable);
    let snapshot = handle.snapshot().unwrap();
    assert_eq!(snapshot.task(stuck.id()).map(|task| task.state), Some(TaskState::Abandoned));
    assert!(!snapshot.is_healthy());
    gate.open();
    assert!(outcome_of(&next).is_success());
}

#[test]
fn all_who_wait_for_a_task_hear_of_its_end() {
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().start().unwrap();
    let task = supervisor.handle().add(TaskSpec::new("slow", gate.body())).unwrap();
    gate.wait_entered();
    let waiters: Vec<_> = (0..16)
        .map(|n| {
            let task = task.clone();
            on_thread(move || match n % 4 {
                0 => task.wait().unwrap(),
                1 => outcome_of(&task),
                2 => {
                    let _ = task.ended().recv();
                    task.outcome().unwrap()
                }
                _ => {
                    let supervisor = Supervisor::builder().start().unwrap();
                    let waits = move |ctx: &TaskContext| match ctx.wait_for(&task)? {
                        Outcome::Completed => Ok(()),
                        other => Err(other.to_string().into()),
                    };
                    outcome_of(&supervisor.handle().add(TaskSpec::once("waits", waits)).unwrap())
                }
            })
        })
        .collect();
    assert!(task.wait_timeout(Duration::ZERO).unwrap().is_none());
    gate.open();
    assert!(waiters.iter().all(|waiter| next(waiter).is_success()));
}

#[test]
fn a_storm_of_replacements_ends_with_the_newest_and_never_two_at_once() {
    let inside = Inside::default();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (submit, count) = (handle.clone(), inside.clone());
    let tasks = together(8, move |_| {
        let replace = |n: usize| {
            let count = count.clone();
            let spec = TaskSpec::new(format!("version {n}"), move |ctx| {
                count.enter();
                let told = ctx.sleep(Duration::MAX);
                count.leave();
                Ok(told?)
            });
            submit.submit(spec.slot("config"), AdmissionPolicy::Replace).unwrap()
        };
        (0..25).map(replace).collect::<Vec<_>>()
    });
    let mut tasks: Vec<_> = tasks.into_iter().flatten().collect();
    assert!(tasks.iter().all(|task| task.wait_decided().is_ok()));
    // Whoever is left owns the slot or will; all others have ended or are about to.
    let last = loop {
        let snapshot = handle.snapshot().unwrap();
        match (&snapshot.tasks[..], snapshot.slot("config")) {
            ([only], Some(slot)) if only.state == TaskState::Running => {
                assert_eq!((slot.owner, slot.queued), (Some(only.task.id), 0));
                break only.task.id;
            }
            _ => {}
        }
    };
    let position = tasks.iter().position(|task| task.id() == last).unwrap();
    let newest = tasks.swap_remove(position);
    assert_eq!(newest.outcome().map(|outcome| outcome.label()), None);
    for task in &tasks {
        let outcome = outcome_of(task);
        let replaced = matches!(
            outcome,
            Outcome::Cancelled { reason: StopReason::Replace, .. }
                | Outcome::Rejected(Rejection::Superseded { .. })
        );
        assert!(replaced, "{task:?}: {outcome}");
    }
    in_time(move || drop(supervisor));
    assert_eq!(inside.peak(), 1);
}

#[test]
fn a_storm_of_drops_runs_one_and_refuses_the_rest() {
    let mut gate = Gate::new();
    let inside = Inside::default();
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (hold, count) = (Arc::new(gate.hold()), inside.clone());
    let tasks = together(8, move |_| {
        let submit = |_: usize| {
            let (hold, count) = (Arc::clone(&hold), count.clone());
            let spec = TaskSpec::once("poll", move |_| {
                count.enter();
                hold();
                count.leave();
                Ok(())
            });
            handle.submit(spec, AdmissionPolicy::DropIfRunning).unwrap()
        };
        (0..25).map(submit).collect::<Vec<_>>()
    });
    gate.wait_entered();
    assert!(tasks.iter().flatten().all(|task| task.wait_decided().is_ok()));
    gate.open();
    let outcomes: Vec<_> = tasks.iter().flatten().map(outcome_of).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_success()).count(), 1);
    let busy = |o: &&Outcome| matches!(o, Outcome::Rejected(Rejection::SlotBusy { .. }));
    assert_eq!(outcomes.iter().filter(busy).count(), 199);
    assert_eq!(inside.peak(), 1);
}

#[test]
fn a_storm_of_adds_against_a_shutdown_ends_and_each_is_answered() {
    let supervisor = Arc::new(Supervisor::builder().max_concurrent(4).start().unwrap());
    let handle = supervisor.handle();
    let results = together(8, move |thread| {
        let mut added = Vec::new();
        for n in 0..50 {
            match handle.add(resident(&format!("task {thread} {n}"))) {
                Ok(task) => added.push(task),
                Err(AddError::Closed { spec }) => {
                    assert_eq!(spec.name(), format!("task {thread} {n}"));
                }
                Err(error) => panic!("{error}"),
            }
            if (thread, n) == (3, 25) {
                handle.request_shutdown();
            }
        }
        added
    });
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 0, "{report}");
    for task in results.iter().flatten() {
        assert!(matches!(outcome_of(task), Outcome::Cancelled { .. }), "{task:?}");
    }
}

/// Both permits are held by bodies that wait for tasks of their own.
#[test]
fn bodies_that_wait_for_inner_tasks_do_not_stand_still() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(2));
    let mut gate = Gate::new();
    let outer = |name: &'static str| {
        let hold = gate.hold();
        let body = move |ctx: &TaskContext| {
            hold();
            let handle = ctx.handle();
            let inner = handle.add(no_op("inner").no_slot())?;
            // The second is queued behind a task that has no permit either.
            let queued = || no_op("queued").slot(format!("slot of {name}"));
            let first = handle.submit(queued(), AdmissionPolicy::Queue)?;
            let second = handle.submit(queued(), AdmissionPolicy::Queue)?;
            ctx.wait_for(&inner)?.into_result()?;
            assert!(second.wait_timeout(Duration::MAX)?.is_some());
            first.wait()?.into_result()?;
            Ok(())
        };
        rig.handle.add(TaskSpec::new(name, body)).unwrap()
    };
    let (a, b) = (outer("a"), outer("b"));
    gate.wait_entered();
    gate.wait_entered();
    gate.open();
    assert!(outcome_of(&a).is_success() && outcome_of(&b).is_success());
    assert_eq!(rig.handle.snapshot().unwrap().permits.waiting, 0);
}

#[test]
fn a_body_that_waits_for_what_is_queued_behind_it_is_told_so() {
    let rig = Rig::new();
    let body = |ctx: &TaskContext| {
        let behind = ctx.handle().submit(no_op("outer"), AdmissionPolicy::Queue)?;
        assert!(matches!(behind.wait(), Err(WaitError::WouldDeadlock)));
        assert!(matches!(ctx.wait_for(&behind), Err(WaitError::WouldDeadlock)));
        Ok(())
    };
    let outer = rig.handle.add(TaskSpec::new("outer", body)).unwrap();
    assert!(outcome_of(&outer).is_success());
}

/// A body may return before the controller hears that it was taken up.
#[test]
fn each_attempt_is_said_to_start_on_the_thread_that_runs_it() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).event_capacity(10_000);
    let supervisor = supervisor.start().unwrap();
    let (tell, told) = bounded(1000);
    let body = tell.clone();
    let specs = (0..500).map(|n| {
        let tell = body.clone();
        TaskSpec::new(format!("task {n}"), move |ctx| {
            tell.send((ctx.id(), Some(thread_name()))).unwrap();
            Ok(())
        })
    });
    let own = TaskSpec::new("own", move |ctx| Ok(tell.send((ctx.id(), Some(thread_name())))?));
    let own = own.dedicated_thread(ThreadOptions::new().name("mine"));
    let specs = specs.chain([own]).collect::<Vec<_>>();
    for task in supervisor.handle().add_all(specs).unwrap() {
        let _ = outcome_of(&task);
    }
    supervisor.shutdown().unwrap();
    let ran: HashMap<_, _> = told.try_iter().collect();
    let mut count = 0;
    for event in trace.events() {
        if let EventKind::AttemptStarting { thread, .. } = event.kind {
            let id = event.task.unwrap().id;
            assert_eq!(thread.as_deref(), ran[&id].as_deref());
            count += 1;
        }
    }
    assert_eq!(count, 501);
}
