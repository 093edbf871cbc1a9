//! The outcome cell: every waiter is woken, and sees the one outcome there is.

use std::sync::Arc;
use std::time::Duration;

use super::{record, record_of, LONG};
use crate::output::outcome::Outcome;
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::{thread, Mutex};
use crate::platform::user_value::UserValue;
use crate::runner::Check;
use crate::task::class_names::ClassNames;
use crate::task::door::Door;
use crate::task::record::{Promise, Record};
use crate::task::spec::TaskSpec;
use crate::vocabulary::reason::Decision;
use crate::vocabulary::reason::Rejection;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("record: all who wait are woken", 1500, all_who_wait_are_woken),
    Check::every("record: a wait for ever ends", a_wait_ends),
    Check::every("record: a wait for a while ends", a_timed_wait_ends),
    Check::some("record: a wait ends when it is over", 1500, a_wait_ends_when_over).timed(),
    Check::some("record: the ended channel disconnects", 1500, ended_disconnects),
    Check::every("record: the decision wakes, and brings the spec", the_decision_wakes),
    Check::every("record: a lost promise wakes", a_lost_promise_wakes),
    Check::every("record: the first outcome counts", the_first_outcome_counts),
    Check::some("record: every callback is called once", 1500, every_callback_is_called_once),
    Check::some("record: also after the supervisor", 1500, callbacks_are_called_after_the_end),
];

fn all_who_wait_are_woken() {
    let record = record();
    let waiters: Vec<_> = [Duration::MAX, LONG]
        .into_iter()
        .map(|span| {
            let record = Arc::clone(&record);
            thread::spawn(move || record.wait(span))
        })
        .collect();
    let decided = Arc::clone(&record);
    let decided = thread::spawn(move || decided.wait_decided());
    record.decide(Decision::Admitted, None);
    record.end(Outcome::Completed);
    for waiter in waiters {
        assert!(matches!(waiter.join().unwrap(), Some(Outcome::Completed)));
    }
    assert_eq!(decided.join().unwrap(), Some(Decision::Admitted));
}

fn a_wait_ends() {
    wait_for(Duration::MAX);
}

fn a_timed_wait_ends() {
    wait_for(LONG);
}

fn wait_for(span: Duration) {
    let record = record();
    let waiter = Arc::clone(&record);
    let waiter = thread::spawn(move || waiter.wait(span));
    record.end(Outcome::Completed);
    assert!(matches!(waiter.join().unwrap(), Some(Outcome::Completed)));
}

fn a_wait_ends_when_over() {
    let record = record();
    let (waiter, clock) = (Arc::clone(&record), record.door.clock.clone());
    let waiter = thread::spawn(move || {
        let due = clock.now().after(LONG);
        (waiter.wait(LONG), due, clock.now())
    });
    record.end(Outcome::Completed);
    let (outcome, due, at) = waiter.join().unwrap();
    assert!(outcome.is_some() || at >= due, "the wait ended too early");
}

fn ended_disconnects() {
    let record = record();
    let waiter = Arc::clone(&record);
    let waiter = thread::spawn(move || {
        assert!(waiter.ended().recv().is_err());
        assert!(waiter.outcome().is_some(), "the outcome is there before anybody is woken");
    });
    record.end(Outcome::Completed);
    waiter.join().unwrap();
}

fn the_decision_wakes() {
    let record = record();
    let caller = Arc::clone(&record);
    let caller = thread::spawn(move || (caller.wait_decided(), caller.take_refused().is_some()));
    let why = Rejection::TooManyTasks { limit: 1 };
    record.decide(Decision::Rejected(why), Some(TaskSpec::once("task", |_| Ok(()))));
    assert_eq!(caller.join().unwrap(), (Some(Decision::Rejected(why)), true));
}

fn a_lost_promise_wakes() {
    let record = record();
    let (waiter, promise) = (Arc::clone(&record), Promise::new(record));
    let waiter = thread::spawn(move || (waiter.wait_decided(), waiter.wait(Duration::MAX)));
    drop(promise);
    let (decision, outcome) = waiter.join().unwrap();
    assert!(decision.is_none() && matches!(outcome, Some(Outcome::Lost)));
}

fn the_first_outcome_counts() {
    let record = record();
    let enders = [Outcome::Completed, Outcome::Lost].map(|outcome| {
        let record = Arc::clone(&record);
        thread::spawn(move || {
            record.end(outcome);
            record.outcome().unwrap().to_string()
        })
    });
    let [first, second] = enders.map(|ender| ender.join().unwrap());
    assert_eq!(first, second, "two threads saw two outcomes");
}

fn every_callback_is_called_once() {
    let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
    let called = end_and_register(&record_of(&door), || {
        // A worker may run them while others come.
        inbox.requests.try_iter().for_each(drop);
    });
    inbox.requests.try_iter().for_each(drop);
    assert_each_once_in_order(&called);
}

fn callbacks_are_called_after_the_end() {
    let called = end_and_register(&record(), || {});
    assert_each_once_in_order(&called);
}

/// Two callbacks of one thread and one of another are registered while the task ends.
fn end_and_register(record: &Arc<Record>, work: impl FnOnce()) -> Arc<Mutex<Vec<u32>>> {
    let called = Arc::new(Mutex::new(Vec::new()));
    let register = |record: &Arc<Record>, number: u32| {
        let called = Arc::clone(&called);
        let call = move |outcome: &Outcome| {
            assert!(outcome.is_success());
            called.lock().push(number);
        };
        record.on_end(UserValue::new(Box::new(call)));
    };
    register(record, 1);
    let ender = Arc::clone(record);
    let ender = thread::spawn(move || ender.end(Outcome::Completed));
    let (own, other) = (Arc::clone(record), Arc::clone(&called));
    let registrar = thread::spawn(move || {
        let call = move |_: &Outcome| other.lock().push(3);
        own.on_end(UserValue::new(Box::new(call)));
    });
    register(record, 2);
    work();
    ender.join().unwrap();
    registrar.join().unwrap();
    called
}

fn assert_each_once_in_order(called: &Mutex<Vec<u32>>) {
    let mut called = called.lock().clone();
    assert_eq!(called.len(), 3, "{called:?}");
    called.retain(|&number| number < 3);
    assert_eq!(called, [1, 2], "out of order");
}
