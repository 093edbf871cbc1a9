//! The phases of an attempt: claim against revocation, and the return against every order.

use std::sync::Arc;
use std::time::Duration;

use super::{me, Stage, LONG};
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::cell::Allowance;
use crate::task::fact::Fact;
use crate::vocabulary::answer::{AbandonAnswer, TellAnswer};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::every("attempt: claimed or revoked", claimed_or_revoked),
    Check::every("attempt: told or returned", told_or_returned),
    Check::every("attempt: abandoned or returned", abandoned_or_returned),
    Check::every("attempt: its last return is known to all", its_last_return_is_known_to_all),
    Check::every("attempt: extended or told", extended_or_told),
    Check::every("attempt: ready or told", ready_or_told),
];

fn claimed_or_revoked() {
    let Stage { cell, .. } = Stage::offered(Allowance::default());
    let worker = Arc::clone(&cell);
    let worker = thread::spawn(move || worker.claim(&me()).is_some());
    let revoked = cell.revoke().is_ok();
    let claimed = worker.join().unwrap();
    assert!(claimed ^ revoked, "claimed: {claimed}, revoked: {revoked}");
    assert_eq!(cell.is_revoked(), revoked);
    assert_eq!(cell.claimed_at().is_some(), claimed);
}

/// What the controller finds and what the worker sees agree.
fn told_or_returned() {
    let Stage { cell, .. } = Stage::running();
    let worker = Arc::clone(&cell);
    let worker = thread::spawn(move || {
        let (seen, _) = worker.returned(|told, _| told.is_some());
        worker.left();
        seen
    });
    let found = cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let seen = worker.join().unwrap();
    assert_eq!(found == TellAnswer::Told, seen.told.is_some());
    // After the return a token is cancelled only for what is being dropped, and unseen.
    assert!(seen.told.is_none() || cell.reason() == seen.told);
    assert_eq!(seen.last, seen.told.is_some());
}

/// An end is final for both sides or for neither, though what comes back would make it final.
fn abandoned_or_returned() {
    let Stage { cell, .. } = Stage::running();
    cell.tell(CancelReason::Timeout, Time::NEVER, Time::NEVER);
    let worker = Arc::clone(&cell);
    let worker = thread::spawn(move || {
        let (seen, _) = worker.returned(|_, abandoned| !abandoned);
        worker.left();
        seen.last
    });
    let abandoned = cell.abandon();
    let last = worker.join().unwrap();
    match abandoned {
        AbandonAnswer::Abandoned { last: said } => {
            assert_eq!(said, last, "the controller was told otherwise");
        }
        AbandonAnswer::NotAbandoned => assert!(last),
    }
}

fn its_last_return_is_known_to_all() {
    let Stage { cell, .. } = Stage::running();
    cell.tell(CancelReason::Timeout, Time::NEVER, Time::NEVER);
    let worker = Arc::clone(&cell);
    let worker = thread::spawn(move || {
        let (seen, _) = worker.returned(|_, _| false);
        worker.left();
        seen.last
    });
    cell.finalize(Time::ZERO);
    let abandoned = cell.abandon();
    let last = worker.join().unwrap();
    assert!(
        abandoned == AbandonAnswer::NotAbandoned
            || abandoned == (AbandonAnswer::Abandoned { last })
    );
}

/// A body that asks before its deadline is never told of it by a timer that was due.
fn extended_or_told() {
    let timeout = Some(Duration::from_nanos(1));
    let Stage { cell, .. } = {
        let max_timeout = Some(2 * LONG);
        Stage::claimed(Allowance { timeout, max_timeout, ready_within: None })
    };
    let deadline = cell.until();
    let body = Arc::clone(&cell);
    let body = thread::spawn(move || body.extend(LONG));
    let found = cell.tell(CancelReason::Timeout, deadline, Time::NEVER);
    let extended = body.join().unwrap();
    match found {
        TellAnswer::Told => assert!(extended.is_err()),
        TellAnswer::DeadlineMoved(until) => {
            assert!(extended.is_ok() && until > deadline);
            assert_eq!(cell.reason(), None);
            assert_eq!(cell.until(), until);
        }
        TellAnswer::AlreadyReturned => panic!("it has not returned"),
    }
}

/// A body that says it before it is told is not told by a timer that was due, and says it once.
fn ready_or_told() {
    let ready_within = Some(Duration::from_nanos(1));
    let stage = Stage::claimed(Allowance { ready_within, ..Allowance::default() });
    let cell = &stage.cell;
    let due = cell.until();
    let body = Arc::clone(cell);
    let body = thread::spawn(move || {
        body.say_ready();
        body.say_ready();
    });
    let found = cell.tell(CancelReason::Timeout, due, Time::NEVER);
    body.join().unwrap();
    let said = stage.inbox.facts.try_iter().filter(|it| matches!(it, Fact::Ready { .. })).count();
    match found {
        TellAnswer::Told => assert_eq!((said, cell.is_ready()), (0, false)),
        TellAnswer::DeadlineMoved(until) => {
            assert_eq!((said, cell.is_ready()), (1, true));
            assert!(until.is_never() && cell.reason().is_none());
        }
        TellAnswer::AlreadyReturned => panic!("it has not returned"),
    }
}
