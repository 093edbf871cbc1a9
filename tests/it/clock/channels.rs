//! Bodies that wait for channels, which anybody may wake without the clock's knowledge.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use threadvisor::prelude::*;
use threadvisor::{ManualClock, RecvError};

use super::{ms, secs, started, Moments};
use crate::support::{next, on_thread};

/// A supervisor on a clock that waits for a slow machine.
fn patient() -> (ManualClock, Supervisor) {
    let (clock, supervisor) = started(|it| it);
    (clock.patience(secs(60)), supervisor)
}

/// A task that notes when each message comes, and passes it on.
fn noted(
    name: &str,
    clock: &ManualClock,
    from: Receiver<u32>,
    to: Sender<u32>,
) -> (TaskSpec, Moments) {
    let (moments, clock) = (Moments::default(), clock.clone());
    let notes = moments.clone();
    let spec = TaskSpec::new(name, move |ctx| loop {
        let message = ctx.recv(&from)?;
        notes.note(&clock);
        let _ = to.send(message);
    });
    (spec.restart(RestartPolicy::Never), moments)
}

#[test]
fn a_wait_for_a_channel_is_quiet_and_its_limit_is_on_the_clock() {
    let (clock, supervisor) = patient();
    let (send, from) = unbounded::<()>();
    let (moments, watch) = (Moments::default(), clock.clone());
    let notes = moments.clone();
    let polls = TaskSpec::once("polls", move |ctx| {
        for lap in 1..=3 {
            assert_eq!(ctx.recv_timeout(&from, secs(lap))?, None);
            notes.note(&watch);
        }
        Ok(ctx.recv(&from)?)
    });
    let polls = supervisor.handle().add(polls).unwrap();
    clock.advance(secs(3600));
    moments.assert_eq(&[secs(1), secs(3), secs(6)]);
    send.send(()).unwrap();
    clock.settle();
    assert!(polls.outcome().unwrap().is_success());
    assert_eq!(clock.now(), secs(3600));
}

#[test]
fn what_was_sent_is_received_before_the_clock_moves() {
    let (clock, supervisor) = patient();
    let ((send, from), (to, arrived)) = (unbounded(), unbounded());
    let (spec, moments) = noted("relay", &clock, from, to);
    supervisor.handle().add(spec).unwrap();
    let mut expected = Vec::new();
    for round in 0..100 {
        send.send(round).unwrap();
        clock.advance(secs(1));
        expected.push(secs(round.into()));
        assert_eq!(arrived.try_recv(), Ok(round));
    }
    moments.assert_eq(&expected);
}

/// Each hop begins where the one before comes to rest.
#[test]
fn a_message_passes_through_many_bodies_in_no_time() {
    let (clock, supervisor) = patient();
    let (feed, mut from) = unbounded();
    let mut moments = Vec::new();
    for hop in 0..8 {
        let (to, next_from) = if hop % 2 == 0 { unbounded() } else { bounded(0) };
        let (spec, noted) = noted(&format!("hop-{hop}"), &clock, from, to);
        supervisor.handle().add(spec).unwrap();
        moments.push(noted);
        from = next_from;
    }
    let (sink, arrived) = unbounded();
    let (spec, last) = noted("sink", &clock, from, sink);
    supervisor.handle().add(spec).unwrap();
    moments.push(last);
    let source = TaskSpec::new("source", move |ctx| Ok(feed.send(u32::try_from(ctx.attempt())?)?));
    supervisor.handle().add(source.every(secs(1))).unwrap();
    for _ in 1..30 {
        clock.advance(secs(1));
    }
    let expected: Vec<_> = (0..30).map(secs).collect();
    for noted in moments {
        noted.assert_eq(&expected);
    }
    assert_eq!(arrived.try_iter().collect::<Vec<_>>(), (1..31).collect::<Vec<_>>());
}

#[test]
fn the_end_of_a_sender_is_heard_before_the_clock_moves() {
    let (clock, supervisor) = patient();
    for round in 0..40 {
        let (send, from) = if round % 2 == 0 { unbounded::<()>() } else { bounded(0) };
        let watch = clock.clone();
        let hears = TaskSpec::once("hears", move |ctx| {
            let heard = ctx.recv_timeout(&from, secs(3600));
            assert_eq!((heard, watch.now()), (Err(RecvError::Disconnected), secs(2 * round + 1)));
            Ok(())
        });
        let hears = supervisor.handle().add(hears).unwrap();
        let ends = TaskSpec::once("ends", move |ctx| {
            let _send = send;
            Ok(ctx.sleep(secs(1))?)
        });
        supervisor.handle().add(ends).unwrap();
        clock.advance(secs(2));
        assert!(hears.outcome().unwrap().is_success(), "{hears:?}");
    }
}

#[test]
fn who_waits_for_a_channel_is_told_like_a_sleeper() {
    let (clock, supervisor) = patient();
    let (_send, from) = unbounded::<()>();
    let deadline = TaskSpec::once("deadline", move |ctx| Ok(ctx.recv(&from)?)).timeout(secs(5));
    let deadline = supervisor.handle().add(deadline).unwrap();
    assert_eq!(clock.advance_until(&deadline, secs(60)).label(), "timed_out");
    assert_eq!(clock.now(), secs(5));
}

#[test]
fn one_of_two_takes_the_message_and_the_other_rests_on() {
    let (clock, supervisor) = patient();
    let (send, from) = unbounded::<u32>();
    let sum = Arc::new(AtomicU32::new(0));
    for n in 0..4 {
        let (from, sum) = (from.clone(), Arc::clone(&sum));
        let spec = TaskSpec::new(format!("worker-{n}"), move |ctx| loop {
            sum.fetch_add(ctx.recv(&from)?, Ordering::Relaxed);
        });
        supervisor.handle().add(spec).unwrap();
    }
    for round in 1..=100 {
        send.send(1).unwrap();
        clock.advance(ms(1));
        assert_eq!(sum.load(Ordering::Relaxed), round);
    }
}

#[test]
fn a_task_that_is_ignored_may_receive_at_any_time() {
    let (clock, supervisor) = patient();
    let ((send, from), (to, arrived)) = (unbounded(), unbounded());
    let (spec, _) = noted("relay", &clock, from, to);
    let relay = supervisor.handle().add(spec).unwrap();
    clock.settle();
    clock.ignore(&relay);
    for round in 0..20 {
        for n in 0..100 {
            send.send(100 * round + n).unwrap();
        }
        clock.advance(secs(1));
        for n in 0..100 {
            assert_eq!(next(&arrived), 100 * round + n);
        }
    }
}

#[test]
fn a_helper_that_receives_does_not_count() {
    let (clock, supervisor) = patient();
    let ((send, from), (hand, helpers)) = (unbounded::<u32>(), bounded(1));
    let body = TaskSpec::once("body", move |ctx| {
        let token = ctx.token().clone();
        hand.send(on_thread(move || {
            let sum: u32 = (0..5000).map(|_| token.recv(&from).unwrap()).sum();
            (sum, token.recv_timeout(&from, secs(5)))
        }))?;
        Ok(ctx.sleep(secs(10))?)
    });
    let body = supervisor.handle().add(body).unwrap();
    let helper = next(&helpers);
    for _ in 0..50 {
        (0..100).try_for_each(|_| send.send(1)).unwrap();
        clock.settle();
    }
    clock.advance(secs(10));
    assert!(body.outcome().unwrap().is_success());
    // Nobody knows when it began to wait.
    let found = loop {
        if let Ok(found) = helper.try_recv() {
            break found;
        }
        clock.advance(secs(5));
    };
    assert_eq!(found, (5000, Ok(None)));
}

#[test]
fn a_detached_body_receives_on_the_clock() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let (ctx, _canceller) = TaskContext::detached_with(&clock);
    let (send, from) = unbounded::<u32>();
    let (moments, watch) = (Moments::default(), clock.clone());
    let notes = moments.clone();
    let body = on_thread(move || {
        while ctx.recv_timeout(&from, secs(60))?.is_some() {
            notes.note(&watch);
        }
        Ok::<_, RecvError>(())
    });
    let expected: Vec<_> = (0..50).map(secs).collect();
    for n in 0..50 {
        send.send(n).unwrap();
        clock.advance(secs(1));
    }
    moments.assert_eq(&expected);
    clock.advance(secs(60));
    assert_eq!(next(&body), Ok(()));
}

/// Two threads with one detached token: the one that waits on counts again when the other is done.
#[test]
fn threads_of_a_detached_body_receive_side_by_side() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let (ctx, _canceller) = TaskContext::detached_with(&clock);
    let token = ctx.token().clone();
    let ((send, from), (other_send, other)) = (unbounded::<u32>(), unbounded::<u32>());
    let first = on_thread(move || ctx.recv(&from).map(|it| (it, ctx)));
    let second = on_thread(move || token.recv(&other));
    clock.advance(secs(1));
    other_send.send(2).unwrap();
    assert_eq!(next(&second), Ok(2));
    clock.advance(secs(1));
    send.send(1).unwrap();
    let (found, ctx) = next(&first).unwrap();
    assert_eq!(found, 1);
    drop(ctx);
    clock.advance(secs(1));
}

#[test]
fn two_supervisors_talk_through_channels_in_no_time() {
    let (clock, first) = patient();
    let second = Supervisor::builder().clock(&clock).start().unwrap();
    let ((serve, there), (strike, back)) = (unbounded::<u32>(), unbounded::<u32>());
    let volleys = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&volleys);
    let serves = TaskSpec::new("serves", move |ctx| loop {
        ctx.sleep(secs(1))?;
        for volley in 0..30 {
            serve.send(volley)?;
            assert_eq!(ctx.recv(&back)?, volley);
            // Long enough for the clock to look at the other side meanwhile.
            (0..2000).for_each(|_| hint::spin_loop());
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let returns = TaskSpec::new("returns", move |ctx| loop {
        let volley = ctx.recv(&there)?;
        (0..2000).for_each(|_| hint::spin_loop());
        strike.send(volley)?;
    });
    second.handle().add(returns).unwrap();
    first.handle().add(serves).unwrap();
    for round in 0..30 {
        assert_eq!(volleys.load(Ordering::Relaxed), round * 30);
        clock.advance(secs(1));
    }
}

#[test]
fn the_time_limit_of_a_receive_never_passes_in_real_time() {
    let (clock, supervisor) = patient();
    let (_send, from) = unbounded::<()>();
    let waits = TaskSpec::once("waits", move |ctx| match ctx.recv_timeout(&from, ms(1))? {
        Some(()) => Err("something came".into()),
        None => Ok(()),
    });
    let waits = supervisor.handle().add(waits).unwrap();
    clock.settle();
    assert!(waits.wait_timeout(ms(20)).unwrap().is_none());
    clock.advance(ms(1));
    assert!(waits.outcome().unwrap().is_success());
    assert_eq!(clock.now(), Duration::from_millis(1));
}
