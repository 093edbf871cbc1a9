//! Bodies that park on a manual clock: whoever wakes one takes its mark away first, once.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::{attempt, body, load, me, record_of, LONG};
use crate::output::error::{Cancelled, RecvError};
use crate::output::outcome::Outcome;
use crate::platform::manual::{Manual, Seat};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::{channel, thread};
use crate::runner::Check;
use crate::task::cell::{Allowance, Cell};
use crate::task::class_names::ClassNames;
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
    Check::some("parking: a message is seen", 3000, a_message_is_seen),
    Check::some("parking: a stolen message is forgotten", 3000, a_stolen_message_is_forgotten),
    Check::some("parking: what a helper hears does not count", 3000, a_helper_hears_for_itself),
    Check::some("parking: a message, a tell and the clock", 3000, a_message_a_tell_and_the_clock),
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
        let (door, inbox) =
            Door::new(ModelClock::manual(Arc::clone(&seat)), 1, ClassNames::default());
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

    /// Another attempt of the same supervisor.
    fn beside(&self) -> Self {
        let load = load(body(), Allowance::default());
        let record = record_of(&self.cell.record.door);
        record.set_key(TaskKey(1));
        let cell = Arc::new(Cell::offer(record, attempt(2), load));
        assert!(cell.claim(&me()).is_some());
        let (manual, seat) = (Arc::clone(&self.manual), Arc::clone(&self.seat));
        let (_, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
        Self { manual, seat, cell, inbox }
    }

    /// What a body does on its own thread.
    fn body<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Arc<Cell>) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let cell = Arc::clone(&self.cell);
        thread::spawn(move || {
            let here = cell.enter_body();
            let found = run(&cell);
            assert!(cell.is_busy(), "a body that runs counts as parked");
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
    let record = Arc::clone(&awaited);
    let body = ground.body(move |cell| record.wait_in_body(cell, LONG));
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

/// Whoever finds all bodies parked finds them with nothing to receive.
fn a_message_is_seen() {
    let ground = Ground::running();
    let beside = ground.beside();
    let (send, from) = channel::unbounded();
    let received = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&received);
    let receiver = ground.body(move |cell| {
        assert_eq!(cell.receive(&from, LONG), Ok(Some(7)));
        noted.store(true, Ordering::SeqCst);
        until_long(cell)
    });
    let sender = beside.body(move |cell| {
        send.send(7).map_err(drop).unwrap();
        until_long(cell)
    });
    while ground.seat.parked() < 2 {
        ground.wait_parked();
    }
    assert!(received.load(Ordering::SeqCst), "the clock would move on");
    ground.move_to(LONG);
    assert_eq!((receiver.join().unwrap(), sender.join().unwrap()), (Ok(false), Ok(false)));
    assert_eq!(ground.seat.parked(), 0);
}

/// Whoever was woken for a message that another thread took says that it came to rest again.
fn a_stolen_message_is_forgotten() {
    let ground = Ground::running();
    let (send, from) = channel::unbounded();
    let stolen = from.clone();
    let receiver = ground.body(move |cell| {
        let found = cell.receive(&from, LONG);
        until_long(cell).unwrap();
        found
    });
    let thief = thread::spawn(move || {
        send.send(7).map_err(drop).unwrap();
        let taken = stolen.try_recv().is_ok();
        (taken, send)
    });
    while ground.seat.parked() == 0 {
        ground.wait_parked();
    }
    let (taken, _send) = thief.join().unwrap();
    ground.move_to(LONG);
    assert_eq!(receiver.join().unwrap(), Ok(Some(7).filter(|_| !taken)));
    assert_eq!(ground.seat.parked(), 0);
}

/// The body sleeps on, whatever lies in the channel of another thread of it.
fn a_helper_hears_for_itself() {
    let ground = Ground::running();
    let body = ground.body(until_long);
    let (send, from) = channel::unbounded();
    let cell = Arc::clone(&ground.cell);
    let helper = thread::spawn(move || cell.receive(&from, LONG));
    ground.wait_parked();
    send.send(7).map_err(drop).unwrap();
    assert_eq!(ground.seat.parked(), 1);
    assert_eq!(helper.join().unwrap(), Ok(Some(7)));
    ground.move_to(LONG);
    assert_eq!(body.join().unwrap(), Ok(false));
}

fn a_message_a_tell_and_the_clock() {
    let ground = Ground::running();
    let (send, from) = channel::unbounded();
    let rest = from.clone();
    let body = ground.body(move |cell| cell.receive(&from, LONG));
    let sender = thread::spawn(move || send.send(7).map_err(drop).unwrap());
    let cell = Arc::clone(&ground.cell);
    let teller = thread::spawn(move || cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER));
    // The clock looks, and may take the message.
    ground.seat.parked();
    ground.move_to(LONG);
    sender.join().unwrap();
    let _ = teller.join().unwrap();
    let found = body.join().unwrap();
    assert_ne!(found, Err(RecvError::Disconnected), "the message came first");
    assert_eq!(rest.len(), usize::from(found != Ok(Some(7))), "the message is lost");
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
