//! The record of a group: nobody who waits for it sleeps on when it is ready, or will never be.

use std::sync::Arc;
use std::time::Duration;

use super::{Stage, LONG};
use crate::output::error::WaitError;
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::group::{GroupEntry, GroupRecord, Readiness};
use crate::vocabulary::group::Strategy;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("group: a wait meets the news", 1500, a_wait_meets_the_news),
    Check::some("group: two waits, and what comes after the news", 1500, two_waits),
    Check::some("group: a wait meets a tell", 1500, a_wait_meets_a_tell),
    Check::some("group: a group that is lost", 1500, a_group_that_is_lost),
];

fn group() -> (Arc<GroupRecord>, GroupEntry) {
    let record = Arc::new(GroupRecord::new(Arc::from("line")));
    let (strategy, restart_limit, phases) = (Strategy::OneForAll, None, vec![1]);
    let entry = GroupEntry { record: Arc::clone(&record), strategy, restart_limit, phases };
    (record, entry)
}

fn wait(record: &Arc<GroupRecord>) -> thread::JoinHandle<Result<bool, WaitError>> {
    let (stage, record) = (Stage::running(), Arc::clone(record));
    thread::spawn(move || record.wait_ready(&stage.cell, Duration::MAX))
}

fn a_wait_meets_the_news() {
    let (record, _entry) = group();
    let waiter = wait(&record);
    record.note(Readiness::Ready);
    assert_eq!(waiter.join().unwrap(), Ok(true));
}

/// It restarts at once: whoever has missed that it was ready hears when it is the next time.
fn two_waits() {
    let (record, _entry) = group();
    let waiters = [wait(&record), wait(&record)];
    record.note(Readiness::Ready);
    record.note(Readiness::Awaited);
    record.note(Readiness::Never);
    for waiter in waiters {
        let heard = waiter.join().unwrap();
        assert!(matches!(heard, Ok(true) | Err(WaitError::NotReady)), "{heard:?}");
    }
}

fn a_wait_meets_a_tell() {
    let ((record, _entry), stage) = (group(), Stage::running());
    let cell = Arc::clone(&stage.cell);
    let waiter = {
        let record = Arc::clone(&record);
        thread::spawn(move || record.wait_ready(&cell, Duration::MAX))
    };
    let teller = thread::spawn(move || {
        stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::ZERO.after(LONG))
    });
    record.note(Readiness::Ready);
    let heard = waiter.join().unwrap();
    assert!(matches!(heard, Ok(true) | Err(WaitError::Cancelled(_))), "{heard:?}");
    let _ = teller.join().unwrap();
}

fn a_group_that_is_lost() {
    let (record, entry) = group();
    let waiter = wait(&record);
    drop(entry);
    assert_eq!(waiter.join().unwrap(), Err(WaitError::NotReady));
}
