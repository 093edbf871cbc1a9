//! Who counts, at the edges: helper threads, contexts that are gone, ignored tasks, other
//! supervisors.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use super::{labels, ms, secs, started};
use crate::support::{in_time, next, on_thread, Gate};

#[test]
fn a_helper_that_does_not_wait_leaves_its_body_parked() {
    let (clock, supervisor) = started(|it| it);
    let (send, tokens) = bounded(1);
    let body = TaskSpec::once("body", move |ctx| {
        send.send(ctx.token().clone())?;
        Ok(ctx.sleep(secs(10))?)
    });
    let body = supervisor.handle().add(body).unwrap();
    let token = next(&tokens);
    clock.settle();
    token.sleep(Duration::ZERO).unwrap();
    clock.advance(secs(10));
    assert!(body.outcome().unwrap().is_success());
}

#[test]
fn a_token_that_outlives_its_detached_context_sleeps_but_does_not_count() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let (ctx, canceller) = TaskContext::detached_with(&clock);
    let (token, sleeps) = (ctx.token().clone(), ctx.token().clone());
    drop(ctx);
    let late = on_thread(move || token.sleep(secs(5)));
    while !late.is_full() {
        clock.advance(secs(5));
    }
    assert_eq!(next(&late), Ok(()));
    let told = on_thread(move || sleeps.sleep(Duration::MAX));
    canceller.cancel();
    assert!(next(&told).is_err());
    clock.settle();
}

#[test]
fn a_detached_context_may_be_dropped_while_its_token_sleeps() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let (ctx, canceller) = TaskContext::detached_with(&clock);
    let token = ctx.token().clone();
    let sleeps = on_thread(move || token.sleep(Duration::MAX));
    clock.settle();
    drop(ctx);
    clock.settle();
    canceller.cancel();
    assert!(next(&sleeps).is_err());
    clock.advance(secs(1));
    assert_eq!(clock.now(), secs(1));
}

#[test]
fn what_a_detached_body_starts_as_it_wakes_is_waited_for() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let handle = supervisor.handle();
    for _ in 0..200 {
        let first = TaskSpec::once("first", |ctx| Ok(ctx.sleep(secs(1))?));
        let first = handle.add(first).unwrap();
        let (ctx, _canceller) = TaskContext::detached_with(&clock);
        let submits = supervisor.handle();
        let body = on_thread(move || {
            let _ = ctx.wait_for(&first);
            let second = TaskSpec::once("second", |_| Ok(()));
            submits.submit(second.no_slot(), AdmissionPolicy::Queue).unwrap()
        });
        clock.advance(secs(1));
        assert!(next(&body).outcome().unwrap().is_success());
    }
}

#[test]
fn an_ignored_body_that_reports_nothing_is_not_waited_for() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let stuck = TaskSpec::new("stuck", gate.body()).initial_delay(secs(5));
    let stuck = supervisor.handle().add(stuck).unwrap();
    clock.ignore(&stuck);
    clock.advance(secs(20));
    gate.wait_entered();
}

#[test]
fn the_clock_moves_as_far_as_it_can() {
    for far in [Duration::MAX.saturating_sub(ms(1)), secs(u64::MAX / 1_000_000_000)] {
        let (clock, supervisor) = started(|it| it);
        let endless = TaskSpec::once("endless", |ctx| Ok(ctx.sleep(Duration::MAX)?));
        let endless = supervisor.handle().add(endless).unwrap();
        let moves = clock.clone();
        in_time(move || moves.advance(far));
        assert_eq!((clock.now(), endless.outcome().is_some()), (far, false));
        endless.cancel();
        in_time(move || clock.settle());
        assert_eq!(endless.outcome().unwrap().label(), "cancelled");
    }
}

#[test]
fn a_body_may_end_another_supervisor_of_its_clock() {
    let (clock, outer) = started(|it| it);
    let shared = clock.clone();
    let body = TaskSpec::once("body", move |ctx| {
        let inner = Supervisor::builder().clock(&shared).start()?;
        let sleeper = inner.handle().add(TaskSpec::new("sleeper", |ctx| {
            ctx.sleep(Duration::MAX)?;
            Ok(())
        }))?;
        ctx.sleep(secs(1))?;
        inner.shutdown_within(&shared).unwrap();
        assert!(sleeper.outcome().is_some());
        ctx.sleep(secs(1))?;
        drop(Supervisor::builder().clock(&shared).start()?);
        Ok(())
    });
    let body = outer.handle().add(body).unwrap();
    clock.advance(secs(2));
    assert!(body.outcome().unwrap().is_success());
}

#[test]
fn three_supervisors_pass_a_task_round_at_one_moment() {
    fn pass(to: Vec<SupervisorHandle>, left: usize, done: Arc<Gate>) -> TaskSpec {
        TaskSpec::once(format!("lap-{left}"), move |ctx| {
            if left == 0 {
                return Ok(());
            }
            let next = pass(to.clone(), left - 1, Arc::clone(&done));
            let next = to[left % to.len()].add(next)?;
            assert!(ctx.wait_for(&next)?.is_success());
            Ok(())
        })
    }
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let supervisors = [(); 3].map(|()| Supervisor::builder().clock(&clock).start().unwrap());
    let handles: Vec<_> = supervisors.iter().map(Supervisor::handle).collect();
    for lap in 1..50 {
        let first = pass(handles.clone(), 12, Arc::new(Gate::new())).initial_delay(secs(1));
        let first = handles[lap % 3].add(first).unwrap();
        clock.advance(ms(999));
        assert!(first.outcome().is_none());
        clock.advance(ms(1));
        assert!(first.outcome().unwrap().is_success());
    }
}

#[test]
fn what_the_destructor_of_a_task_starts_is_waited_for() {
    struct Starts(SupervisorHandle, Arc<std::sync::Mutex<Option<TaskHandle>>>);
    impl Drop for Starts {
        fn drop(&mut self) {
            let last = TaskSpec::once("last", |_| Ok(())).no_slot();
            *self.1.lock().unwrap() = self.0.submit(last, AdmissionPolicy::Queue).ok();
        }
    }
    let (clock, supervisor) = started(|it| it);
    for _ in 0..200 {
        let last = Arc::default();
        let starts = Starts(supervisor.handle(), Arc::clone(&last));
        // It never runs, so the controller has a worker drop it.
        let never = TaskSpec::once("never", move |_| {
            let _ = &starts;
            Ok(())
        });
        let never = supervisor.handle().add(never.initial_delay(secs(5))).unwrap();
        never.cancel();
        clock.settle();
        assert!(last.lock().unwrap().take().unwrap().outcome().unwrap().is_success());
    }
}

#[test]
fn a_panic_counts_at_its_moment() {
    let (clock, supervisor) = started(|it| it);
    let panics = TaskSpec::once("panics", |ctx| {
        ctx.sleep(secs(3))?;
        std::panic::resume_unwind(Box::new("no"));
    });
    let panics = supervisor.handle().add(panics).unwrap();
    clock.advance(ms(2999));
    assert!(panics.outcome().is_none());
    clock.advance(ms(1));
    assert_eq!(panics.outcome().unwrap().label(), "panicked");
    clock.advance(secs(1));
}

#[test]
fn an_attempt_is_stable_at_its_moment() {
    let log = Arc::default();
    let (clock, supervisor) = started(|it| it.on_event(labels(&log)));
    let steady = TaskSpec::new("steady", |ctx| match ctx.attempt() {
        1 => Err("no".into()),
        _ => Ok(ctx.sleep(Duration::MAX)?),
    });
    let steady = steady.backoff(BackoffPolicy::constant(secs(10))).stable_after(secs(30));
    supervisor.handle().add(steady).unwrap();
    let stable = || {
        let log: Vec<(Duration, &str)> = log.lock().unwrap().clone();
        log.into_iter().filter(|it| it.1 == "attempt_stable").map(|it| it.0).collect::<Vec<_>>()
    };
    clock.advance(ms(39_999));
    assert_eq!(stable(), []);
    clock.advance(secs(60));
    assert_eq!(stable(), [secs(40)]);
}

#[test]
fn sleepers_that_are_told_have_all_ended_when_it_is_quiet() {
    let (clock, supervisor) = started(|it| it);
    for _ in 0..20 {
        let asleep = [(); 30].map(|()| {
            let sleeper = TaskSpec::once("sleeper", |ctx| Ok(ctx.sleep(secs(60))?));
            supervisor.handle().submit(sleeper.no_slot(), AdmissionPolicy::Queue).unwrap()
        });
        clock.settle();
        for sleeper in &asleep {
            sleeper.cancel();
        }
        clock.settle();
        assert!(asleep.iter().all(|sleeper| sleeper.outcome().is_some()));
    }
    // What they slept for is not due any more.
    assert_eq!(clock.advance_to_next(), None);
}

#[test]
fn a_helper_that_sleeps_does_not_make_its_body_rest() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let (hold, (send, tokens)) = (gate.hold(), bounded(1));
    let body = TaskSpec::new("body", move |ctx| {
        send.send(ctx.token().clone())?;
        hold();
        Ok(())
    });
    supervisor.handle().add(body).unwrap();
    let token = next(&tokens);
    let helper = on_thread(move || token.sleep(secs(1)));
    gate.wait_entered();
    let clock = clock.patience(ms(50));
    assert_eq!(clock.try_advance(secs(5)).unwrap_err().busy.len(), 1);
    assert_eq!(clock.now(), secs(0), "the clock moved while the body ran");
    drop(gate);
    let clock = clock.patience(secs(60));
    // Nobody knows when it fell asleep.
    while !helper.is_full() {
        clock.advance(secs(1));
    }
}
