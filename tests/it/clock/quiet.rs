//! What the clock waits for, and whom it names when it waits in vain.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::{ManualClock, NotQuiet};

use super::{ms, secs, started, ticker};
use crate::support::{next, on_thread, Gate};

fn impatient(clock: &ManualClock) {
    let _ = clock.clone().patience(ms(20));
}

#[test]
fn a_body_that_blocks_elsewhere_is_named_with_its_mark_and_its_system_call() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let hold = gate.hold();
    let stuck = TaskSpec::new("stuck", move |ctx| {
        ctx.mark("reading");
        hold();
        Ok(())
    });
    supervisor.handle().add(stuck).unwrap();
    gate.wait_entered();
    impatient(&clock);
    let error = clock.try_advance(secs(1)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("not quiet after 20.0ms: stuck#1 attempt 1 on thread w"), "{text}");
    assert!(text.contains(", last at \"reading\""), "{text}");
    let [busy] = &error.busy[..] else { panic!("{error}") };
    let stall = busy.stall.as_ref();
    assert_eq!(stall.is_some(), cfg!(target_os = "linux"), "{error}");
    if let Some(call) = stall.and_then(|stall| stall.syscall.as_deref()) {
        assert_eq!(call, "futex");
    }
    assert_eq!(clock.now(), Duration::ZERO);
    drop(gate);
    let _ = clock.clone().patience(secs(60));
    clock.advance(secs(1));
    assert_eq!(clock.now(), secs(1));
}

#[test]
#[should_panic(expected = "not quiet after 20.0ms: stuck#1 attempt 1")]
fn to_advance_in_vain_panics_with_the_names() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    supervisor.handle().add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    impatient(&clock);
    clock.advance(secs(1));
}

#[test]
fn a_body_that_never_stops_sleeping_is_bounded_by_the_patience() {
    let (clock, supervisor) = started(|it| it);
    // Mostly it works at the moment when the patience ends.
    let busy = TaskSpec::new("busy", |ctx| loop {
        ctx.sleep(Duration::from_nanos(1))?;
        std::hint::black_box((0..20_000).map(std::hint::black_box).sum::<u64>());
    });
    supervisor.handle().add(busy).unwrap();
    let _ = clock.clone().patience(secs(1));
    let error = clock.try_advance(secs(1)).unwrap_err();
    assert!(error.steps > 0 && error.now < secs(1) && clock.now() == error.now, "{error}");
    let text = error.to_string();
    assert!(
        text.contains(" steps, at ") && text.contains("; probably there was more to come: "),
        "{text}"
    );
    assert!(error.more_to_come && !text.contains("`ignore`"), "{text}");
}

#[test]
fn a_task_that_is_ignored_is_not_waited_for() {
    let (clock, supervisor) = started(|it| it);
    let mut gate = Gate::new();
    let stuck = supervisor.handle().add(TaskSpec::new("stuck", gate.body())).unwrap();
    let polite = TaskSpec::once("polite", |ctx| Ok(ctx.sleep(secs(1))?));
    let polite = supervisor.handle().add(polite).unwrap();
    gate.wait_entered();
    clock.ignore(&stuck);
    clock.advance(secs(1));
    assert!(polite.outcome().unwrap().is_success());
    // It may come back at any moment, and counts for nothing twice.
    gate.open();
    assert!(stuck.wait().unwrap().is_success());
    clock.advance(secs(1));
}

#[test]
fn a_task_ignored_before_it_runs_is_never_waited_for() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let stuck = TaskSpec::new("stuck", gate.body()).initial_delay(secs(5)).grace(secs(1));
    let stuck = supervisor.handle().add(stuck.timeout(secs(10))).unwrap();
    clock.ignore(&stuck);
    clock.advance(secs(20));
    gate.wait_entered();
    assert_eq!(stuck.state().to_string(), "abandoned");
}

#[test]
fn a_thread_that_was_released_is_busy_until_it_is_ignored() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let hold = gate.hold();
    let stuck = TaskSpec::shared("stuck", move |ctx| {
        if ctx.attempt() == 1 {
            hold();
        }
        Ok(())
    });
    let stuck = stuck.timeout(secs(10)).grace(secs(1)).abandon_policy(AbandonPolicy::Release);
    let stuck = supervisor.handle().add(stuck).unwrap();
    gate.wait_entered();
    impatient(&clock);
    assert!(clock.try_advance(secs(60)).is_err());
    clock.ignore(&stuck);
    let _ = clock.clone().patience(secs(60));
    clock.advance(secs(60));
    // Its second attempt is not waited for either.
    assert!(stuck.wait().unwrap().is_success());
}

#[test]
fn nobody_who_is_waited_for_may_wait() {
    let (send, refused) = unbounded::<NotQuiet>();
    let (seen, heard) = (send.clone(), Arc::new(std::sync::OnceLock::<ManualClock>::new()));
    let of_subscriber = Arc::clone(&heard);
    let (clock, supervisor) = started(|it| {
        it.on_event(move |event| {
            if event.kind.label() == "submitted" {
                let clock = of_subscriber.wait_for_clock();
                seen.send(clock.try_advance(secs(1)).unwrap_err()).unwrap();
            }
        })
    });
    heard.set(clock.clone()).unwrap();
    let (own, hooked) = (clock.clone(), send.clone());
    let body = TaskSpec::once("body", move |ctx| {
        send.send(own.try_advance(secs(1)).unwrap_err())?;
        let (clock, (wake, woken)) = (own.clone(), bounded(1));
        let _hook = ctx.on_cancel(move || {
            hooked.send(clock.try_advance(secs(1)).unwrap_err()).unwrap();
            wake.send(()).unwrap();
        });
        let told = ctx.sleep(secs(60));
        woken.recv()?;
        Ok(told?)
    });
    let body = supervisor.handle().add(body).unwrap();
    clock.settle();
    body.cancel();
    clock.settle();
    let refused: Vec<_> = refused.try_iter().collect();
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|it| it.own_thread), "{refused:?}");
    assert!(refused[0].to_string().starts_with("a body, hook or subscriber cannot advance"));
}

/// A clock that a subscriber needs before it can be there.
trait WaitForClock {
    fn wait_for_clock(&self) -> ManualClock;
}

impl WaitForClock for std::sync::OnceLock<ManualClock> {
    fn wait_for_clock(&self) -> ManualClock {
        loop {
            if let Some(clock) = self.get() {
                return clock.clone();
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_subscriber_that_hangs_is_counted_unless_events_do_not_matter() {
    let gate = Gate::new();
    let hold = gate.hold();
    let (clock, supervisor) = started(|it| it.on_event(move |_| hold()));
    supervisor.handle().add(TaskSpec::once("task", |_| Ok(()))).unwrap();
    gate.wait_entered();
    impatient(&clock);
    let error = clock.try_advance(secs(1)).unwrap_err();
    assert_eq!((error.lanes, error.busy.len()), (1, 0));
    assert!(error.to_string().contains("subscribers on 1 lanes are not done"), "{error}");
    let clock = clock.settle_events(false).patience(secs(60));
    clock.advance(secs(1));
    assert_eq!(clock.now(), secs(1));
    drop(gate);
}

#[test]
fn a_hook_that_blocks_is_waited_for_and_named() {
    let (clock, supervisor) = started(|it| it);
    let gate = Gate::new();
    let hold = gate.hold();
    let body = TaskSpec::once("body", move |ctx| {
        let (wake, woken) = bounded(1);
        let _hook = ctx.on_cancel(move || {
            hold();
            wake.send(()).unwrap();
        });
        let told = ctx.sleep(secs(60));
        woken.recv()?;
        Ok(told?)
    });
    let body = supervisor.handle().add(body).unwrap();
    clock.settle();
    body.cancel();
    gate.wait_entered();
    impatient(&clock);
    let text = clock.try_advance(secs(1)).unwrap_err().to_string();
    assert!(text.contains("a hook of body#1 attempt 1 on thread "), "{text}");
    drop(gate);
    let _ = clock.clone().patience(secs(60));
    clock.settle();
    assert_eq!(body.outcome().unwrap().label(), "cancelled");
}

#[test]
fn two_threads_advance_one_after_the_other() {
    let (clock, supervisor) = started(|it| it);
    let ticks = Arc::new(AtomicU32::new(0));
    supervisor.handle().add(ticker("tick", &ticks).every(secs(1))).unwrap();
    let other = clock.clone();
    let done = on_thread(move || (0..100).for_each(|_| other.advance(secs(1))));
    (0..100).for_each(|_| clock.advance(secs(1)));
    next(&done);
    assert_eq!((clock.now(), ticks.load(Ordering::Relaxed)), (secs(200), 201));
}

#[test]
fn two_supervisors_on_one_clock_are_quiet_together() {
    let (clock, first) = started(|it| it);
    let second = Supervisor::builder().clock(&clock).start().unwrap();
    let (there, back) = (second.handle(), first.handle());
    let (send, arrived) = unbounded();
    let ping = TaskSpec::once("ping", move |ctx| {
        ctx.sleep(secs(1))?;
        let (back, send) = (back.clone(), send.clone());
        there.add(TaskSpec::once("pong", move |ctx| {
            ctx.sleep(secs(1))?;
            let send = send.clone();
            back.add(TaskSpec::once("ping again", move |_| Ok(send.send(())?)))?;
            Ok(())
        }))?;
        Ok(())
    });
    first.handle().add(ping).unwrap();
    clock.advance(ms(1999));
    assert!(arrived.try_recv().is_err());
    clock.advance(ms(1));
    assert!(arrived.try_recv().is_ok());
}

#[test]
fn clocks_of_two_supervisors_do_not_know_each_other() {
    let ((clock, supervisor), (other_clock, other)) = (started(|it| it), started(|it| it));
    // A body may advance the clock of another supervisor.
    let sleeper = TaskSpec::once("sleeper", |ctx| Ok(ctx.sleep(secs(1))?));
    let sleeper = other.handle().add(sleeper).unwrap();
    let body = TaskSpec::once("body", move |_| {
        other_clock.advance(secs(5));
        Ok(())
    });
    let body = supervisor.handle().add(body).unwrap();
    clock.settle();
    assert!(body.outcome().unwrap().is_success());
    assert!(sleeper.outcome().unwrap().is_success());
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn a_thread_that_cannot_be_used_is_tried_again_in_real_time() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let (clock, supervisor) = started(|it| {
        it.on_thread_start(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0..=2 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        })
    });
    let task = supervisor.handle().add(TaskSpec::once("task", |_| Ok(()))).unwrap();
    clock.settle();
    assert!(task.outcome().unwrap().is_success());
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn a_detached_body_sleeps_on_the_clock() {
    let clock = ManualClock::new();
    let (ctx, _canceller) = TaskContext::detached_with(&clock);
    let (send, laps) = unbounded();
    let watch = clock.clone();
    let body = on_thread(move || {
        for lap in 1..=3 {
            ctx.sleep(secs(lap))?;
            send.send(watch.now()).unwrap();
        }
        Ok::<_, Cancelled>(())
    });
    clock.advance(secs(3));
    assert_eq!(laps.try_iter().collect::<Vec<_>>(), [secs(1), secs(3)]);
    clock.advance(secs(3));
    assert_eq!(next(&body), Ok(()));
    clock.advance(secs(100));
}

#[test]
fn a_detached_body_is_woken_by_its_canceller() {
    let clock = ManualClock::new();
    let (ctx, canceller) = TaskContext::detached_with(&clock);
    let body = on_thread(move || ctx.sleep(secs(60)));
    clock.settle();
    canceller.cancel();
    assert_eq!(next(&body).unwrap_err().reason(), CancelReason::Stop);
    clock.settle();
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn a_detached_body_that_runs_is_waited_for() {
    let clock = ManualClock::new().patience(ms(20));
    let (ctx, _canceller) = TaskContext::detached_with(&clock);
    let error = clock.try_advance(secs(1)).unwrap_err();
    assert_eq!(error.detached, 1);
    assert!(error.to_string().contains("1 detached body busy: each must sleep"), "{error}");
    drop(ctx);
    clock.advance(secs(1));
}

#[test]
fn helper_threads_of_a_body_sleep_on_the_clock_but_do_not_count() {
    let (clock, supervisor) = started(|it| it);
    let (send, woke) = bounded(1);
    let body = TaskSpec::once("body", move |ctx| {
        let token = ctx.token().clone();
        let helper = std::thread::Builder::new().spawn(move || token.sleep(secs(5)))?;
        send.send(helper)?;
        ctx.sleep(secs(10))?;
        Ok(())
    });
    let body = supervisor.handle().add(body).unwrap();
    let helper = next(&woke);
    clock.advance(secs(10));
    assert!(body.outcome().unwrap().is_success());
    // Nobody knows when it fell asleep.
    while !helper.is_finished() {
        clock.advance(secs(5));
    }
    assert_eq!(helper.join().unwrap(), Ok(()));
}

#[test]
fn a_callback_for_the_end_of_a_task_is_waited_for_and_named() {
    let (clock, supervisor) = started(|it| it);
    let (mut gate, (tell, told)) = (Gate::new(), unbounded());
    let delayed = |name| TaskSpec::new(name, |_| Ok(())).initial_delay(secs(1));
    let task = supervisor.handle().add(delayed("quick")).unwrap();
    task.on_end(move |_| tell.send(()).unwrap());
    clock.advance(secs(2));
    told.try_recv().unwrap();

    let [task, ignored] =
        ["job", "ignored"].map(|name| supervisor.handle().add(delayed(name)).unwrap());
    task.on_end({
        let hold = gate.hold();
        move |_| hold()
    });
    ignored.on_end({
        let hold = gate.hold();
        move |_| hold()
    });
    clock.ignore(&ignored);
    for task in [&task, &ignored] {
        task.cancel();
        gate.wait_entered();
    }
    impatient(&clock);
    let error = clock.try_advance(secs(2)).unwrap_err();
    let [hook] = &error.hooks[..] else { panic!("{error}") };
    let text =
        format!("; the hook for the end of {task}, on thread", task = hook.task.as_ref().unwrap());
    assert_eq!(hook.task.as_ref().unwrap().id, task.id());
    assert!(error.to_string().contains(&text), "{error}");
    gate.open();
    let _ = clock.clone().patience(secs(60));
    clock.advance(secs(1));
}
