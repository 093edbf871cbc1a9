//! The door: what enters is answered, whoever finds it closed behind it.

use std::sync::Arc;
use std::time::Duration;

use crate::output::outcome::Outcome;
use crate::output::report::RunReport;
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::class_names::ClassNames;
use crate::task::door::{Door, Inbox, NotTaken, WhenFull};
use crate::task::envelope::OnRefusal;
use crate::task::record::Record;
use crate::task::spec::TaskSpec;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("door: nothing is lost behind it", 2000, nothing_is_lost_behind_it),
    Check::some("door: nothing is lost in a crowd", 2000, nothing_is_lost_in_a_crowd),
    Check::some("door: whoever waits for room gets out", 2000, whoever_waits_for_room_gets_out),
    Check::some("door: a drain lets own bodies in", 2000, a_drain_lets_own_bodies_in),
    Check::some("door: the end wakes who waits for it", 1500, the_end_wakes),
];

fn submit(door: &Arc<Door>, when_full: WhenFull) -> Result<Arc<Record>, NotTaken<TaskSpec>> {
    let spec = TaskSpec::once("task", |_| Ok(()));
    door.hand_over(spec, AdmissionPolicy::Queue, OnRefusal::Drop, when_full, |_| false)
}

/// Others get in before it closes to them, and then no more; own bodies get in until it closes.
fn a_drain_lets_own_bodies_in() {
    let (door, inbox) = Door::new(ModelClock::start_now(), 8, ClassNames::default());
    let own = || {
        let spec = TaskSpec::once("task", |_| Ok(()));
        let (queue, drop) = (AdmissionPolicy::Queue, OnRefusal::Drop);
        door.hand_over(spec, queue, drop, WhenFull::GiveUp, |_| true)
    };
    let others = Arc::clone(&door);
    let others = thread::spawn(move || {
        let first = submit(&others, WhenFull::GiveUp).is_ok();
        (first, submit(&others, WhenFull::GiveUp).is_ok())
    });
    let before = own().is_ok();
    door.close_to_others();
    let (after, late) = (own().is_ok(), submit(&door, WhenFull::GiveUp).is_ok());
    assert_eq!((before, after, late), (true, true, false));
    assert!(door.is_draining());
    let (first, second) = others.join().unwrap();
    assert!(first || !second, "the door opened again");
    assert_eq!(inbox.intake.len(), 2 + usize::from(first) + usize::from(second));
    // A drain that comes late does not open it again.
    close(&door, inbox);
    door.close_to_others();
    assert!(own().is_err() && !door.is_draining());
}

/// The controller closes the door, looks into the intake for the last time, and is gone. Says how
/// many submissions it refused.
fn close(door: &Door, inbox: Inbox) -> usize {
    door.close();
    let mut refused = 0;
    for envelope in door.empty_intake() {
        refused += envelope.len();
        envelope.refuse();
    }
    drop(inbox);
    refused
}

/// Whether it was accepted; then it was answered as well.
fn is_accepted(handed_over: Result<Arc<Record>, NotTaken<TaskSpec>>) -> bool {
    match handed_over {
        Ok(record) => {
            let outcome = record.outcome();
            assert!(matches!(outcome, Some(Outcome::Rejected(_))), "accepted, and never answered");
            true
        }
        Err(NotTaken::Closed(spec) | NotTaken::Full(spec)) => {
            assert_eq!(spec.name(), "task");
            false
        }
    }
}

fn nothing_is_lost_behind_it() {
    crowd(2, 1, WhenFull::GiveUp);
}

fn nothing_is_lost_in_a_crowd() {
    crowd(4, 3, WhenFull::GiveUp);
}

fn whoever_waits_for_room_gets_out() {
    crowd(1, 3, WhenFull::Wait);
}

fn crowd(capacity: usize, users: usize, when_full: WhenFull) {
    let (door, inbox) = Door::new(ModelClock::start_now(), capacity, ClassNames::default());
    let users: Vec<_> = (0..users)
        .map(|_| {
            let door = Arc::clone(&door);
            thread::spawn(move || submit(&door, when_full))
        })
        .collect();
    let refused = close(&door, inbox);
    let handed_over: Vec<_> = users.into_iter().map(|user| user.join().unwrap()).collect();
    let accepted = handed_over.into_iter().map(is_accepted).filter(|&accepted| accepted).count();
    assert_eq!(accepted, refused + door.refused_behind_door().0, "each is counted once");
}

fn the_end_wakes() {
    let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
    let (owner, other) = (Arc::clone(&door), Arc::clone(&door));
    let owner = thread::spawn(move || drop(owner.wait_ended()));
    let other = thread::spawn(move || other.wait_ended_for(Duration::from_secs(60)));
    door.end(RunReport::of_nothing(ShutdownCause::Requested));
    drop(inbox);
    owner.join().unwrap();
    other.join().unwrap();
}
