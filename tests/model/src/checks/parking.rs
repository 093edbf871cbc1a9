//! Bodies that park on a manual clock: whoever wakes one takes its mark away first, once.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::{attempt, body, load, me, record_of, LONG};
use crate::output::error::Cancelled;
use crate::output::outcome::Outcome;
use crate::platform::manual::{Manual, Seat};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::cell::{Allowance, Cell};
use crate::task::door::{Door, Inbox};
use crate::task::fact::Fact;
use crate::vocabulary::id::TaskKey;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("parking: the clock wakes a sleeper", 1500, the_clock_wakes_a_sleeper),
    Check::some("parking: told and due at once", 3000, told_and_due_at_once),
    Check::some("parking: each lap is seen to park", 1500, each_lap_is_seen_to_park),
    Check::some("parking: an outcome, a tell and the clock", 3000, an_outcome_a_tell_and_the_clock),
    Check::some("parking: a helper leaves the mark alone", 3000, a_helper_leaves_the_mark_alone),
    Check::some("parking: a claim is told before it rests", 3000, a_claim_is_told_before_it_rests),
    Check::some("parking: ignored at any time", 1500, ignored_at_any_time),
];

/// A claimed attempt on a manual clock.
struct Ground {
    manual: Arc<Manual>,
    seat: Arc<Seat>,
    cell: Arc<Cell>,
    inbox: Inbox,
}

impl Ground {
    fn offered() -> Self {
        let manual = Arc::new(Manual::default());
        let seat = Arc::new(Seat::new(Arc::clone(&manual)));
        let (door, inbox) = Door::new(ModelClock::manual(Arc::clone(&seat)), 1);
        let load = load(body(), Allowance::default());
        let record = record_of(&door);
        record.set_key(TaskKey(0));
        let cell = Arc::new(Cell::offer(record, attempt(1), load));
        Self { manual, seat, cell, inbox }
    }

    fn running() -> Self {
        let ground = Self::offered();
        assert!(ground.cell.claim(&me()).is_some());
        ground
    }

    /// What a body does on its own thread.
    fn body<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Arc<Cell>) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let (cell, seat) = (Arc::clone(&self.cell), Arc::clone(&self.seat));
        thread::spawn(move || {
            let here = cell.enter_body();
            let found = run(&cell);
            assert_eq!(seat.parked(), 0, "a body that runs counts as parked");
            drop(here);
            found
        })
    }

    fn wait_parked(&self) {
        assert!(matches!(self.inbox.facts.recv(), Ok(Fact::CameToRest)));
    }

    fn move_to(&self, time: Duration) {
        self.manual.set(time);
        self.manual.wake_sleepers();
    }
}

/// Waits until a moment, which may have passed.
fn until_long(cell: &Arc<Cell>) -> Result<bool, Cancelled> {
    let seat = Arc::clone(cell.clock().seat().unwrap());
    cell.park(&seat, Time::ZERO.after(LONG), || false)
}

/// Whether it has parked before or only looks at the clock after.
fn the_clock_wakes_a_sleeper() {
    let ground = Ground::running();
    let body = ground.body(until_long);
    ground.move_to(LONG);
    assert_eq!(body.join().unwrap(), Ok(false));
    assert_eq!(ground.seat.parked(), 0);
}

fn told_and_due_at_once() {
    let ground = Ground::running();
    let body = ground.body(until_long);
    let cell = Arc::clone(&ground.cell);
    let teller = thread::spawn(move || cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER));
    ground.move_to(LONG);
    let _ = teller.join().unwrap();
    let _ = body.join().unwrap();
    assert_eq!(ground.seat.parked(), 0);
}

/// Whoever hears that the body came to rest finds it parked; and it does not run before the clock
/// has moved.
fn each_lap_is_seen_to_park() {
    let ground = Ground::running();
    let laps = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&laps);
    let body = ground.body(move |cell| {
        for _ in 0..3 {
            cell.sleep(LONG).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for lap in 0..3 {
        ground.wait_parked();
        assert_eq!((ground.seat.parked(), laps.load(Ordering::SeqCst)), (1, lap));
        ground.move_to(LONG * (lap + 1));
    }
    body.join().unwrap();
    assert_eq!(ground.seat.parked(), 0);
}

fn an_outcome_a_tell_and_the_clock() {
    let ground = Ground::running();
    let awaited = record_of(&ground.cell.record.door);
    let (record, seat) = (Arc::clone(&awaited), Arc::clone(&ground.seat));
    let body = ground.body(move |cell| record.wait_parked(cell, &seat, LONG));
    let ender = thread::spawn(move || awaited.end(Outcome::Completed));
    let cell = Arc::clone(&ground.cell);
    let teller = thread::spawn(move || cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER));
    ground.move_to(LONG);
    ender.join().unwrap();
    let _ = teller.join().unwrap();
    let _ = body.join().unwrap();
    assert_eq!(ground.seat.parked(), 0);
}

/// Another thread that sleeps on the token wakes while the body sleeps on.
fn a_helper_leaves_the_mark_alone() {
    let ground = Ground::running();
    let body = ground.body(|cell| {
        let seat = Arc::clone(cell.clock().seat().unwrap());
        cell.park(&seat, Time::ZERO.after(LONG * 2), || false)
    });
    let cell = Arc::clone(&ground.cell);
    let helper = thread::spawn(move || until_long(&cell));
    ground.wait_parked();
    ground.move_to(LONG);
    assert_eq!(helper.join().unwrap(), Ok(false));
    // It may have been woken with the helper, and parks again.
    while ground.seat.parked() == 0 {
        ground.wait_parked();
    }
    ground.move_to(LONG * 2);
    assert_eq!(body.join().unwrap(), Ok(false));
    assert_eq!(ground.seat.parked(), 0);
}

/// Or the clock would move on without it.
fn a_claim_is_told_before_it_rests() {
    let ground = Ground::offered();
    let cell = Arc::clone(&ground.cell);
    let worker = thread::spawn(move || {
        let (_, at) = cell.claim(&me()).unwrap();
        cell.record.door.post(Fact::Claimed { attempt: cell.attempt, at });
        drop(cell.enter_body());
        let _ = cell.returned(|_, _| true);
        cell.left();
    });
    ground.cell.record.ignore();
    ground.cell.ignore();
    if ground.seat.parked() > 0 {
        assert!(matches!(ground.inbox.facts.try_recv(), Ok(Fact::Claimed { .. })));
    }
    worker.join().unwrap();
    assert_eq!(ground.seat.parked(), 0);
}

/// Before the claim, while it sleeps, or while it returns: it rests at most once, and in the end
/// not at all.
fn ignored_at_any_time() {
    let ground = Ground::offered();
    let ended = Arc::new(AtomicBool::new(false));
    let (cell, seat, done) =
        (Arc::clone(&ground.cell), Arc::clone(&ground.seat), Arc::clone(&ended));
    let worker = thread::spawn(move || {
        assert!(cell.claim(&me()).is_some());
        let here = cell.enter_body();
        let _ = until_long(&cell);
        drop(here);
        let _ = cell.returned(|_, _| true);
        cell.left();
        done.store(true, Ordering::SeqCst);
        assert_eq!(seat.parked(), 0);
    });
    ground.cell.record.ignore();
    ground.cell.ignore();
    assert!(ground.seat.parked() <= 1);
    ground.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    // If it was told before it was claimed, only the clock ends its sleep.
    ground.move_to(LONG);
    worker.join().unwrap();
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(ground.seat.parked(), 0);
}
