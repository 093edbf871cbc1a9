//! Values that panic when they are dropped: each panic is contained, and none keeps another value
//! from being dropped. Two at once would end the process: the tests being alive is the proof.
//!
//! One thing nobody can contain, because it happens within the user's own code: a closure that is
//! called once and panics while it owns a value whose destructor panics as well.
#![allow(clippy::unnecessary_wraps, reason = "the rows of a table have one type")]

use std::io;
use std::panic::{catch_unwind, panic_any, resume_unwind, AssertUnwindSafe};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::{StartError, SupervisorBuilder};

use crate::panics::{Drops, Value};
use crate::support::{in_time, next, no_op, on_thread, outcome_of, Gate, Trace};

/// What is tried: by a spec made of values that panic when dropped.
type Try = fn(&Drops) -> TaskSpec;

/// What is tried, the outcome, how many panics of destructors are reported as events, and how many
/// values there are.
#[rustfmt::skip]
const ROWS: [(&str, Try, &str, usize, usize); 9] = [
    ("a body", of_body, "completed", 1, 1),
    ("a body and its error", of_body_and_error, "failed", 1, 2),
    ("a payload", |drops| with(drops, |make, _| panic_any(make())), "panicked", 0, 1),
    ("a hook whose guard is dropped", |drops| with(drops, guard_dropped), "completed", 0, 1),
    ("two hooks left behind", |drops| with(drops, two_forgotten), "completed", 2, 2),
    ("a nudge and a hook left behind", |drops| with(drops, nudge_forgotten), "completed", 2, 2),
    ("a hook that runs", |drops| with(drops, told), "cancelled", 0, 1),
    ("a nudge that panics", |drops| with(drops, told_and_panics), "cancelled", 0, 1),
    ("a hook registered too late", |drops| with(drops, too_late), "cancelled", 0, 1),
];

fn of_body(drops: &Drops) -> TaskSpec {
    let value = drops.value();
    TaskSpec::new("body", move |_| {
        let _owned = &value;
        Ok(())
    })
}

fn of_body_and_error(drops: &Drops) -> TaskSpec {
    let (value, mut fail) = (drops.value(), drops.failing());
    let spec = TaskSpec::new("body and error", move |ctx| {
        let _owned = &value;
        fail(ctx)
    });
    spec.restart(RestartPolicy::Never)
}

type Act = fn(&dyn Fn() -> Value, &TaskContext) -> TaskResult;

fn with(drops: &Drops, act: Act) -> TaskSpec {
    let make = drops.maker();
    TaskSpec::new("acts", move |ctx| act(&make, ctx)).restart(RestartPolicy::Never)
}

/// A closure that owns the value.
fn owns(value: Value) -> impl FnMut() + Send {
    move || {
        let _owned = &value;
    }
}

fn guard_dropped(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    drop(ctx.on_cancel(owns(make())));
    Ok(())
}

fn two_forgotten(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    ctx.on_cancel(owns(make())).forget();
    ctx.on_cancel(owns(make())).forget();
    Ok(())
}

fn nudge_forgotten(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    ctx.on_cancel_every(Duration::MAX, owns(make())).forget();
    ctx.on_cancel(owns(make())).forget();
    Ok(())
}

/// Waits until its hook has run; the test sees to it that it does.
fn told(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    let guard = ctx.on_cancel(owns(make()));
    ctx.handle().cancel_slot("acts");
    let _ = ctx.cancelled().recv();
    drop(guard);
    Ok(())
}

fn told_and_panics(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    let mut owns = owns(make());
    let guard = ctx.on_cancel_every(Duration::MAX, move || {
        owns();
        resume_unwind(Box::new("a nudge's own"))
    });
    ctx.handle().cancel_slot("acts");
    let _ = ctx.cancelled().recv();
    drop(guard);
    Ok(())
}

fn too_late(make: &dyn Fn() -> Value, ctx: &TaskContext) -> TaskResult {
    ctx.handle().cancel_slot("acts");
    let _ = ctx.cancelled().recv();
    ctx.on_cancel(owns(make())).forget();
    Ok(())
}

#[test]
fn a_destructor_that_panics_changes_no_outcome_and_harms_nobody() {
    for (what, attempt, outcome, reported, values) in ROWS {
        let (drops, trace) = (Drops::new(true), Trace::default());
        let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
        let handle = supervisor.handle();
        let task = handle.add(attempt(&drops)).unwrap();
        assert_eq!(outcome_of(&task).label(), outcome, "{what}");
        assert!(outcome_of(&handle.add(no_op("next")).unwrap()).is_success(), "{what}");
        handle.flush_events().unwrap();
        let labels = trace.labels(None);
        let told = labels.iter().filter(|label| **label == "drop_panicked").count();
        assert_eq!(told, reported, "{what}: {labels:?}");
        in_time(move || drop(supervisor));
        // The outcome holds the error, and so do the events: whoever is the last drops it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop((task, handle))));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(trace)));
        drops.check(values);
    }
}

/// They come back when nobody is left to take them: what they bring is dropped, each for itself.
#[test]
fn body_and_error_of_a_stuck_attempt_may_both_panic_at_the_very_end() {
    let (drops, mut gate, slow_drop) = (Drops::new(true), Gate::new(), Gate::new());
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let handle = supervisor.handle();
    for n in 0..3 {
        let (hold, value, mut fail) = (gate.hold(), drops.value(), drops.failing());
        let stuck = TaskSpec::new(format!("stuck {n}"), move |ctx| {
            let _owned = &value;
            hold();
            fail(ctx)
        });
        handle.add(stuck).unwrap();
        gate.wait_entered();
    }
    // Holds the end for a while, when the controller has looked at its last report.
    let slow = crate::support::OnDrop(slow_drop.hold());
    let queued = TaskSpec::new("queued", move |_| {
        let _owned = &slow;
        Ok(())
    });
    handle.submit(queued.slot("stuck 0"), AdmissionPolicy::Queue).unwrap();
    let report = on_thread(move || supervisor.shutdown().unwrap().shutdown);
    slow_drop.wait_entered();
    gate.open();
    next(&report);
    drop((slow_drop, handle));
    drops.check(6);
}

#[test]
fn the_errors_of_a_report_may_all_panic_when_nobody_has_read_it() {
    for with_handle in [false, true] {
        let drops = Drops::new(true);
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        for n in 0..5 {
            let spec = TaskSpec::once(format!("fails {n}"), drops.failing());
            assert!(handle.add(spec).unwrap().ended().recv().is_err());
        }
        let last = with_handle.then(|| supervisor.handle());
        drop(handle);
        in_time(move || drop(supervisor));
        // The last handle brings the report with it.
        drop(last);
        drops.check(5);
    }
}

/// Neither on the controller nor together.
#[test]
fn the_hooks_of_the_threads_may_both_panic_when_dropped() {
    for used in [false, true] {
        let drops = Drops::new(true);
        let (start, stop) = (drops.value(), owns_shared(drops.value()));
        let builder = Supervisor::builder().on_thread_start(move || {
            let _owned = &start;
            Ok(())
        });
        let supervisor = builder.on_thread_stop(stop).start().unwrap();
        if used {
            let _ = outcome_of(&supervisor.handle().add(no_op("uses a worker")).unwrap());
        }
        in_time(move || drop(supervisor));
        drops.check(2);
    }
}

/// The controller has the last reference to it.
#[test]
fn the_hook_of_a_task_may_panic_when_dropped() {
    for is_used in [false, true] {
        let drops = Drops::new(true);
        let start = owns_shared(drops.value());
        let options = ThreadOptions::new().on_start(move || {
            start();
            Ok(())
        });
        let supervisor = Supervisor::builder().start().unwrap();
        let spec = no_op("own").dedicated_thread(options);
        if is_used {
            assert!(outcome_of(&supervisor.handle().add(spec).unwrap()).is_success());
        } else {
            let late = supervisor.handle().add(spec.initial_delay(Duration::MAX)).unwrap();
            late.cancel();
            let _ = outcome_of(&late);
        }
        in_time(move || drop(supervisor));
        drops.check(1);
    }
}

fn owns_shared(value: Value) -> impl Fn() + Send + Sync {
    move || {
        let _owned = &value;
    }
}

#[test]
fn subscribers_may_panic_when_dropped() {
    let drops = Drops::new(true);
    let mut builder = Supervisor::builder();
    for _ in 0..3 {
        let mut own = owns(drops.value());
        builder = builder.on_event(move |_| own());
    }
    let supervisor = builder.start().unwrap();
    let _ = outcome_of(&supervisor.handle().add(no_op("makes events")).unwrap());
    in_time(move || drop(supervisor));
    drops.check(3);
}

/// Dropped as it is, or started in vain.
#[test]
fn all_that_a_builder_was_given_may_panic_when_nothing_comes_of_it() {
    let builder = |drops: &Drops| {
        let owns = || {
            let mut owns = owns(drops.value());
            move |_: &Event| owns()
        };
        Supervisor::builder()
            .on_event(owns())
            .on_event(owns())
            .dedicated_subscriber(Listens(drops.value()), 1)
            .dedicated_subscriber(Listens(drops.value()), 1)
            .on_thread_stop(owns_shared(drops.value()))
    };
    let vain: [fn(SupervisorBuilder); 3] = [
        drop,
        |builder| assert!(matches!(builder.max_tasks(0).start(), Err(StartError::Invalid(_)))),
        |builder| {
            // No system has room for such a stack.
            let refused = builder.stack_size(usize::MAX - (1 << 20)).start();
            assert!(matches!(refused, Err(StartError::Thread { .. })));
        },
    ];
    for end in vain {
        let drops = Drops::new(true);
        end(builder(&drops));
        drops.check(5);
    }
}

struct Listens(#[allow(dead_code, reason = "it is there to be dropped")] Value);

impl Subscribe for Listens {
    fn on_event(&mut self, _: &Event) {}
}

/// A thread that the user's hook refuses goes on to the controller as an event, its error does not.
#[test]
fn the_error_of_a_start_hook_is_dropped_where_it_was_made() {
    let drops = Drops::new(true);
    let (make, mut refusals) = (drops.maker(), 0..1);
    let refusals = std::sync::Mutex::new(move || refusals.next().map(|_| make()));
    let trace = Trace::default();
    let builder = Supervisor::builder().on_thread_start(move || {
        let refused = (refusals.lock().unwrap())();
        refused.map_or(Ok(()), |value| Err(io::Error::other(value)))
    });
    let supervisor = builder.subscriber(trace.clone()).start().unwrap();
    let task = supervisor.handle().add(no_op("gets the second thread")).unwrap();
    assert!(outcome_of(&task).is_success());
    in_time(move || drop(supervisor));
    assert!(trace.labels(None).contains(&"thread_refused"));
    drop(trace);
    drops.check(1);
}

/// The lane of a subscriber that comes back too late has the last references to them.
#[test]
fn errors_in_events_that_nobody_heard_may_all_panic() {
    let (drops, mut gate) = (Drops::new(true), Gate::new());
    let hold = gate.hold();
    let supervisor = Supervisor::builder().on_event(move |_| hold()).start().unwrap();
    let handle = supervisor.handle();
    // More than a report keeps.
    for n in 0..100 {
        let spec = TaskSpec::new(format!("fails {n}"), drops.failing());
        let _ = outcome_of(&handle.add(spec.restart(RestartPolicy::Never)).unwrap());
    }
    gate.wait_entered();
    drop(handle);
    in_time(move || drop(supervisor));
    gate.open();
    drops.check(100);
}

/// Refused by the end while they lie in the intake: on whatever thread they are dropped, it lives.
#[test]
fn specs_refused_at_the_door_may_panic_when_dropped() {
    for _ in 0..30 {
        let drops = Drops::new(true);
        let supervisor = Supervisor::builder().start().unwrap();
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (handle, make) = (supervisor.handle(), drops.maker());
                on_thread(move || {
                    let mut count = 0;
                    loop {
                        let value = make();
                        let spec = TaskSpec::new("refused", move |_| {
                            let _owned = &value;
                            Ok(())
                        });
                        count += 1;
                        let refused = handle.submit(spec.no_slot(), AdmissionPolicy::Queue).err();
                        if let Some(refused) = refused {
                            // One's own comes back; dropping it harms nobody either.
                            drop(refused);
                            return count;
                        }
                    }
                })
            })
            .collect();
        in_time(move || drop(supervisor));
        for submitter in &submitters {
            assert!(next(submitter) > 0, "a submitter was ended by another's value");
        }
        drops.check_threads();
    }
}

/// Whoever has the last reference: that thread goes on, and subscribers are told.
#[test]
fn the_error_of_an_end_may_panic_wherever_its_last_handle_is_dropped() {
    let drops = Drops::new(true);
    let (said, told) = unbounded();
    let builder = Supervisor::builder().on_event(move |event| {
        if event.kind.label() == "drop_panicked" {
            said.send(()).unwrap();
        }
    });
    let supervisor = builder.start().unwrap();
    let handle = supervisor.handle();
    // A report keeps the first 64.
    let tasks: Vec<_> = (0..70)
        .map(|n| {
            let spec = TaskSpec::new(format!("fails {n}"), drops.failing());
            handle.add(spec.restart(RestartPolicy::Never)).unwrap()
        })
        .collect();
    for task in &tasks {
        let _ = task.ended().recv();
    }
    handle.flush_events().unwrap();
    drop(tasks);
    (0..6).for_each(|_| next(&told));
    in_time(move || drop((supervisor, handle)));
    drops.check(70);
    assert!(told.try_recv().is_err(), "no more than were reported");
}

/// A nudge keeps its attempt until its period is over, and with it the error of the end.
#[test]
fn errors_that_only_nudges_keep_are_dropped_by_a_worker() {
    let drops = Drops::new(true);
    let supervisor = Supervisor::builder().start().unwrap();
    // More than a report keeps.
    for n in 0..70 {
        let (make, (ran, has_run)) = (drops.maker(), bounded(1));
        let spec = TaskSpec::new(format!("nudged {n}"), move |ctx: &TaskContext| {
            let ran = ran.clone();
            ctx.on_cancel_every(Duration::MAX / 2, move || ran.try_send(()).unwrap_or_default())
                .forget();
            let _ = ctx.cancelled().recv();
            let _ = has_run.recv();
            Err(make().into())
        });
        let spec = spec.restart(RestartPolicy::Never).timeout(Duration::from_millis(1));
        let _ = outcome_of(&supervisor.handle().add(spec).unwrap());
    }
    in_time(move || drop(supervisor));
    drops.check(70);
}

/// The body returns while its nudge runs, so that the nudge's thread has the last of it.
#[test]
fn a_nudge_that_outlives_its_body_may_panic_when_dropped() {
    let drops = Drops::new(true);
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    let handle = supervisor.handle();
    let (value, mut gate) = (drops.value(), Gate::new());
    let (hold, mut owns) = (gate.hold(), owns(value));
    let ((tell, told), (enter, entered)) = (bounded(1), bounded(1));
    let spec = TaskSpec::once("nudged", move |ctx| {
        let nudge = move || {
            owns();
            tell.send(()).unwrap();
            hold();
        };
        ctx.on_cancel_every(Duration::MAX / 2, nudge).forget();
        enter.send(())?;
        Ok(told.recv()?)
    });
    let task = handle.add(spec).unwrap();
    next(&entered);
    task.cancel();
    gate.wait_entered();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
    gate.open();
    // The thread that ran it has caught it, and goes on.
    in_time(move || {
        while !trace.labels(None).contains(&"hook_panicked") {
            handle.flush_events().unwrap();
        }
    });
    drop(task);
    in_time(move || drop(supervisor));
    drops.check(1);
}

/// Nobody waits for the attempt any more: its error is not dropped on the
/// controller, and its panic harms nobody.
#[test]
fn the_late_error_of_a_released_attempt_is_dropped_by_a_worker() {
    for (watched, shared) in [(false, false), (false, true), (true, false), (true, true)] {
        for panicking in [false, true] {
            let (drops, mut gate) = (Drops::new(panicking), Gate::new());
            let mut builder = Supervisor::builder().grace(Duration::ZERO);
            if watched {
                builder = builder.on_event(|_| ());
            }
            let supervisor = builder.start().unwrap();
            let handle = supervisor.handle();
            let (hold, make) = (gate.hold(), drops.maker());
            let body = move |ctx: &TaskContext| {
                if ctx.attempt() > 1 {
                    return Ok(());
                }
                hold();
                Err(make().into())
            };
            let spec = if shared {
                TaskSpec::shared("released", body)
            } else {
                TaskSpec::new("released", body)
            };
            let retry = BackoffPolicy::constant(Duration::from_millis(1));
            let spec = spec.abandon_policy(AbandonPolicy::Release).backoff(retry);
            // Long enough for the second attempt on a busy machine.
            let task = handle.add(spec.timeout(Duration::from_millis(50))).unwrap();
            gate.wait_entered();
            let label = outcome_of(&task).label();
            assert_eq!(label, if shared { "completed" } else { "abandoned" });
            gate.open();
            while !handle.snapshot().unwrap().abandoned.is_empty() {
                std::thread::yield_now();
            }
            drop((task, handle));
            in_time(move || drop(supervisor));
            drops.check(1);
        }
    }
}
