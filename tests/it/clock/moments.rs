//! Everything that concerns tasks happens at its exact moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use super::{labels, ms, secs, started, ticker, Moments};

fn fixed(first: u64, max: u64) -> BackoffPolicy {
    BackoffPolicy::exponential(secs(first), secs(max)).jitter(JitterPolicy::None)
}

#[test]
fn gives_up_after_three_tries_and_says_so() {
    let (clock, supervisor) = started(|it| it);
    let poll = TaskSpec::new("poll", |_| Err("no answer".into()))
        .backoff(BackoffPolicy::exponential(secs(1), secs(60)).jitter(JitterPolicy::None))
        .max_retries(2);
    let poll = supervisor.handle().add(poll).unwrap();
    clock.advance(ms(2999));
    assert!(poll.outcome().is_none());
    clock.advance(ms(1));
    assert_eq!(poll.outcome().unwrap().label(), "failed");
}

#[test]
fn an_hour_of_backoff_has_each_attempt_at_its_second() {
    let (clock, supervisor) = started(|it| it);
    let (moments, watch) = (Moments::default(), clock.clone());
    let noted = moments.clone();
    let flaky = TaskSpec::new("flaky", move |_| {
        noted.note(&watch);
        Err("no".into())
    });
    supervisor.handle().add(flaky.backoff(fixed(1, 60))).unwrap();
    clock.advance(secs(3600));
    let mut expected = vec![0, 1, 3, 7, 15, 31, 63];
    while expected.last().unwrap() + 60 <= 3600 {
        expected.push(expected.last().unwrap() + 60);
    }
    assert_eq!(expected.len(), 65);
    moments.assert_eq(&expected.into_iter().map(secs).collect::<Vec<_>>());
}

/// The clock moves on while a body waits for a start, and not before the body has gone on.
#[test]
fn a_body_that_waits_for_a_start_goes_on_at_its_moment() {
    let (clock, supervisor) = started(|it| it.max_concurrent(1));
    let (moments, watch) = (Moments::default(), clock.clone());
    let noted = moments.clone();
    let waits = TaskSpec::once("waits", move |ctx| {
        let sleeps = TaskSpec::once("sleeps", |ctx| Ok(ctx.sleep(secs(5))?));
        let late = ctx.handle().add(sleeps.initial_delay(secs(10)))?;
        assert!(late.wait_started()?);
        noted.note(&watch);
        assert!(late.outcome().is_none(), "it has begun, and not ended");

        // One that ends without an attempt: it expires in the queue behind the other.
        let expires = TaskSpec::once("expires", |_| Ok(())).slot("sleeps").expires_in(secs(2));
        let never = ctx.handle().submit(expires, AdmissionPolicy::Queue)?;
        assert!(!never.wait_started()?);
        noted.note(&watch);

        let distant = TaskSpec::once("distant", |_| Ok(())).initial_delay(secs(1000));
        let told = ctx.handle().add(distant)?.wait_started();
        noted.note(&watch);
        Ok(told.map(drop)?)
    });
    let waits = supervisor.handle().add(waits.timeout(secs(100))).unwrap();
    clock.advance(secs(200));
    moments.assert_eq(&[secs(10), secs(12), secs(100)]);
    assert_eq!(waits.outcome().unwrap().label(), "timed_out");
}

#[test]
fn a_big_step_is_as_many_ticks() {
    let (clock, supervisor) = started(|it| it);
    let ticks = Arc::new(AtomicU32::new(0));
    supervisor.handle().add(ticker("tick", &ticks).every(secs(1))).unwrap();
    clock.advance(secs(1000));
    assert_eq!(ticks.load(Ordering::Relaxed), 1001);
}

#[test]
fn a_grid_of_a_billion_seconds_keeps_its_ticks() {
    let (clock, supervisor) = started(|it| it);
    let (moments, watch) = (Moments::default(), clock.clone());
    let noted = moments.clone();
    let yearly = TaskSpec::new("yearly", move |_| {
        noted.note(&watch);
        Ok(())
    });
    let year = secs(31_557_600);
    supervisor.handle().add(yearly.every(year)).unwrap();
    clock.advance(secs(1_000_000_000));
    let expected: Vec<_> = (0..=31).map(|n| year * n).collect();
    moments.assert_eq(&expected);
}

#[test]
fn sleeps_of_many_bodies_end_at_their_moments() {
    let (clock, supervisor) = started(|it| it);
    let (send, slept) = unbounded();
    for n in 0..64 {
        let (send, watch) = (send.clone(), clock.clone());
        let sleeper = TaskSpec::once(format!("sleeper-{n}"), move |ctx| {
            ctx.sleep(ms(100 + n))?;
            send.send((n, watch.now()))?;
            Ok(())
        });
        supervisor.handle().add(sleeper).unwrap();
    }
    // The pool grows in real time until all of them sleep at once.
    clock.settle();
    assert_eq!(supervisor.handle().snapshot().unwrap().permits.held, 64);
    clock.advance(secs(1));
    let slept: Vec<_> = slept.try_iter().collect();
    assert_eq!(slept.len(), 64);
    assert!(slept.iter().all(|(n, at)| *at == ms(100 + n)), "{slept:?}");
}

#[test]
fn zero_one_nanosecond_and_for_ever() {
    let (clock, supervisor) = started(|it| it);
    clock.advance(Duration::ZERO);
    assert_eq!(clock.now(), Duration::ZERO);
    let nap = TaskSpec::once("nap", |ctx| Ok(ctx.sleep(Duration::from_nanos(1))?));
    let nap = supervisor.handle().add(nap).unwrap();
    clock.settle();
    assert!(nap.outcome().is_none());
    clock.advance(Duration::from_nanos(1));
    assert!(nap.outcome().unwrap().is_success());

    // For ever ends when nothing more is due, and stays there.
    let late = TaskSpec::once("late", |_| Ok(())).initial_delay(secs(10));
    let late = supervisor.handle().add(late).unwrap();
    let endless = TaskSpec::once("endless", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let endless = supervisor.handle().add(endless).unwrap();
    clock.advance(Duration::MAX);
    assert!(late.outcome().unwrap().is_success());
    assert!(endless.outcome().is_none());
    assert_eq!(clock.now(), secs(10) + Duration::from_nanos(1));
    assert_eq!(clock.advance_to_next(), None);
}

#[test]
fn the_next_due_moment_is_found_wherever_it_is() {
    let (clock, supervisor) = started(|it| it);
    let sleeper = TaskSpec::once("sleeper", |ctx| Ok(ctx.sleep(secs(5))?));
    supervisor.handle().add(sleeper).unwrap();
    supervisor.handle().add(TaskSpec::once("later", |_| Ok(())).initial_delay(secs(7))).unwrap();
    assert_eq!(clock.advance_to_next(), Some(secs(5)));
    assert_eq!(clock.advance_to_next(), Some(secs(2)));
    assert_eq!(clock.advance_to_next(), None);
}

#[test]
fn the_time_moves_until_a_task_has_ended() {
    let (clock, supervisor) = started(|it| it);
    let poll = TaskSpec::new("poll", |_| Err("no".into())).backoff(fixed(1, 60)).max_retries(5);
    let poll = supervisor.handle().add(poll).unwrap();
    let outcome = clock.advance_until(&poll, secs(3600));
    assert_eq!((outcome.label(), clock.now()), ("failed", secs(31)));
}

#[test]
#[should_panic(expected = "patient has no outcome after 10s: it is running")]
fn a_task_that_does_not_end_in_time_is_named() {
    let (clock, supervisor) = started(|it| it);
    let patient = TaskSpec::once("patient", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let patient = supervisor.handle().add(patient).unwrap();
    let _ = clock.advance_until(&patient, secs(10));
}

#[test]
fn the_deadline_comes_before_the_sleep_that_ends_with_it() {
    let (clock, supervisor) = started(|it| it);
    let body = TaskSpec::once("body", |ctx| Ok(ctx.sleep(secs(5))?)).timeout(secs(5));
    let body = supervisor.handle().add(body).unwrap();
    clock.advance(secs(5));
    assert_eq!(body.outcome().unwrap().label(), "timed_out");
}

#[test]
fn what_a_body_sees_of_its_deadline_moves_with_the_clock() {
    let (clock, supervisor) = started(|it| it);
    let (send, seen) = unbounded();
    let body = TaskSpec::once("body", move |ctx| {
        let begun = ctx.deadline().unwrap();
        send.send((ctx.remaining().unwrap(), ctx.io_timeout(secs(60))))?;
        ctx.sleep(secs(7))?;
        assert_eq!(ctx.deadline(), Some(begun));
        send.send((ctx.remaining().unwrap(), ctx.io_timeout(secs(2))))?;
        Ok(())
    });
    let body = supervisor.handle().add(body.timeout(secs(10))).unwrap();
    clock.advance(secs(8));
    assert!(body.outcome().unwrap().is_success());
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen, [(secs(10), secs(10)), (secs(3), secs(2))]);
}

#[test]
fn events_bear_the_time_of_the_clock() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    clock.advance(secs(100));
    let started = Supervisor::builder().clock(&clock).on_event(labels(&log)).start();
    let supervisor = started.unwrap();
    let flaky = TaskSpec::new("flaky", |ctx| {
        ctx.sleep(secs(2))?;
        if ctx.attempt() < 2 {
            return Err("no".into());
        }
        Ok(())
    });
    supervisor.handle().add(flaky.backoff(fixed(3, 60))).unwrap();
    clock.advance(secs(60));
    // They count from the start of the supervisor, not of the clock.
    let log = log.lock().unwrap();
    let at = |label| log.iter().filter(|it| it.1 == label).map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(at("attempt_starting"), [secs(0), secs(5)]);
    assert_eq!(at("attempt_failed"), [secs(2)]);
    assert_eq!(at("task_ended"), [secs(7)]);
}

#[test]
fn a_snapshot_in_between_shows_the_time_of_the_clock() {
    let (clock, supervisor) = started(|it| it);
    let hourly = TaskSpec::new("hourly", |_| Ok(())).every(secs(3600));
    supervisor.handle().add(hourly).unwrap();
    clock.advance(secs(5400));
    let snapshot = supervisor.handle().snapshot().unwrap();
    assert_eq!(snapshot.at, secs(5400));
    assert_eq!((snapshot.tasks[0].attempt, snapshot.tasks[0].since), (2, secs(3600)));
}

#[test]
fn periodic_tasks_share_their_wake_ups_within_the_slack() {
    let (clock, supervisor) = started(|it| it.timer_slack(ms(500)));
    let moments = Moments::default();
    let notes = |name| {
        let (noted, watch) = (moments.clone(), clock.clone());
        TaskSpec::new(name, move |_| {
            noted.note(&watch);
            Ok(())
        })
    };
    let second = notes("second").initial_delay(secs(2));
    let tasks = [notes("first").every(secs(1)), second.every(secs(1))];
    supervisor.handle().add_all(tasks).unwrap();
    clock.advance(ms(5900));
    // Whoever asks wakes the supervisor up as well, so the last run of the first is not late.
    clock.advance(ms(100));
    let _ = supervisor.handle().snapshot().unwrap();
    clock.settle();
    let first = [0, 1500, 2500, 3500, 4500, 5500, 6000];
    let mut both = [&first[..], &[2500, 3500, 4500, 5500]].concat();
    both.sort_unstable();
    moments.assert_eq(&both.into_iter().map(ms).collect::<Vec<_>>());
}
