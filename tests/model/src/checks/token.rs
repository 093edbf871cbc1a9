//! The cancel token: whoever waits for it is woken, whatever way it waits.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::{Stage, LONG};
use crate::output::error::RecvError;
use crate::platform::sync::{channel, thread};
use crate::runner::Check;
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::every("token: a sleep for ever ends when told", a_sleep_ends_when_told),
    Check::every("token: a sleep for a while ends when told", a_timed_sleep_ends_when_told),
    Check::some("token: all who sleep are woken", 1500, all_who_sleep_are_woken),
    Check::some("token: a receive ends when told", 1500, a_receive_ends_when_told),
    Check::some("token: a shutdown is heard", 1500, a_shutdown_is_heard),
    Check::some("token: a message or the cancel", 1500, a_message_or_the_cancel),
    Check::some("token: a sleep ends when it is over", 1500, a_sleep_ends_when_it_is_over).timed(),
    Check::some("token: done disconnects", 1500, done_disconnects),
    Check::some("token: done disconnects for all", 1500, done_disconnects_for_all),
    Check::every("token: the descriptor becomes readable", the_descriptor_becomes_readable),
    Check::every("token: the first reason counts", the_first_reason_counts),
];

fn a_sleep_ends_when_told() {
    sleep_until_told(Duration::MAX);
}

/// The timer does not fire, so only the wake-up ends the sleep.
fn a_timed_sleep_ends_when_told() {
    sleep_until_told(LONG);
}

fn sleep_until_told(span: Duration) {
    let Stage { cell, .. } = Stage::running();
    let sleeper = Arc::clone(&cell);
    let sleeper = thread::spawn(move || sleeper.sleep(span));
    assert_eq!(cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER), TellAnswer::Told);
    let woken = sleeper.join().unwrap();
    assert_eq!(woken.unwrap_err().reason(), CancelReason::Stop);
}

fn a_receive_ends_when_told() {
    let Stage { cell, .. } = Stage::running();
    let (_send, from) = channel::unbounded::<u32>();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.receive(&from, Duration::MAX));
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    assert!(matches!(body.join().unwrap(), Err(RecvError::Cancelled(_))));
}

/// The senders have gone before the body is told, and no timer fires.
fn a_shutdown_is_heard() {
    let Stage { cell, .. } = Stage::running();
    cell.record.door.request_shutdown(ShutdownCause::Requested);
    let (_, from) = channel::unbounded::<u32>();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.receive(&from, Duration::MAX));
    cell.tell(CancelReason::Shutdown, Time::ZERO, Time::NEVER);
    assert!(matches!(body.join().unwrap(), Err(RecvError::Cancelled(_))));
}

/// The message is returned, or still lies there.
fn a_message_or_the_cancel() {
    let Stage { cell, .. } = Stage::running();
    let (send, from) = channel::unbounded();
    let rest = from.clone();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.receive(&from, Duration::MAX));
    let sender = thread::spawn(move || send.send(7).is_ok());
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    assert!(sender.join().unwrap());
    match body.join().unwrap() {
        Ok(message) => assert_eq!((message, rest.len()), (Some(7), 0)),
        Err(error) => assert!(matches!(error, RecvError::Cancelled(_)) && rest.len() == 1),
    }
}

fn all_who_sleep_are_woken() {
    let Stage { cell, .. } = Stage::running();
    let sleepers: Vec<_> = [Duration::MAX, LONG, Duration::MAX]
        .into_iter()
        .map(|span| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || cell.sleep(span))
        })
        .collect();
    cell.tell(CancelReason::Timeout, Time::NEVER, Time::NEVER);
    for sleeper in sleepers {
        assert_eq!(sleeper.join().unwrap().unwrap_err().reason(), CancelReason::Timeout);
    }
}

fn a_sleep_ends_when_it_is_over() {
    let Stage { cell, .. } = Stage::running();
    let sleeper = Arc::clone(&cell);
    let sleeper = thread::spawn(move || {
        let due = sleeper.clock().now().after(LONG);
        (sleeper.sleep(LONG), due, sleeper.clock().now())
    });
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let (woken, due, at) = sleeper.join().unwrap();
    assert!(woken.is_err() || at >= due, "the sleep ended too early");
}

fn done_disconnects() {
    let Stage { cell, .. } = Stage::running();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.told_channel().recv());
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    assert!(body.join().unwrap().is_err());
}

fn done_disconnects_for_all() {
    let Stage { cell, .. } = Stage::running();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let done = cell.told_channel();
                assert!(done.recv().is_err());
                assert!(cell.check().is_err(), "the flag is set before anybody is woken");
            })
        })
        .collect();
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

fn the_descriptor_becomes_readable() {
    let Stage { cell, .. } = Stage::running();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.fd().unwrap().try_clone_to_owned().unwrap());
    cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let mut stream = UnixStream::from(body.join().unwrap());
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it ends, and so is readable for ever");
}

fn the_first_reason_counts() {
    let Stage { cell, .. } = Stage::running();
    let seen = Arc::new(AtomicUsize::new(0));
    let tellers = [(CancelReason::Stop, 1), (CancelReason::Timeout, 2)].map(|(reason, grace)| {
        let (cell, seen) = (Arc::clone(&cell), Arc::clone(&seen));
        thread::spawn(move || {
            let found = cell.tell(reason, Time::NEVER, Time::from_nanos(grace));
            assert_eq!(found, TellAnswer::Told);
            let first = cell.reason().unwrap();
            seen.fetch_add(usize::from(first == CancelReason::Stop), Ordering::Relaxed);
        })
    });
    tellers.into_iter().for_each(|teller| teller.join().unwrap());
    let stops = seen.load(Ordering::Relaxed);
    assert!(stops == 0 || stops == 2, "the reason changed");
    let grace = if stops == 0 { 2 } else { 1 };
    assert_eq!(cell.until(), Time::from_nanos(grace), "reason and grace come together");
}
