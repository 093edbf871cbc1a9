//! The hand-off to a lane: every event is called back or counted as lost, whatever happens to the
//! lane and its subscribers.

#![warn(dead_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::lane::{Lane, Listen};
use crate::api::subscribe::Subscribe;
use crate::output::event::{Event, EventKind};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{thread, Mutex};
use crate::platform::threads::ThreadSetup;
use crate::platform::user_value::UserValue;
use crate::runner::Check;
use crate::task::class_names::ClassNames;
use crate::task::door::Door;
use crate::task::fact::Fact;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("lane: called back or counted as lost", 2000, called_back_or_counted),
    Check::some("lane: a flush sees all before it", 2000, a_flush_sees_all),
    Check::some("lane: a flush waits for nothing behind it", 2000, a_flush_waits_for_no_more),
    Check::some("lane: what is in hand takes room", 2000, what_is_in_hand_takes_room),
    Check::some("lane: whatever it does, it hears the next", 2000, it_hears_the_next),
    Check::some("lane: a flush ends with the lane", 1500, a_flush_ends_with_the_lane),
    Check::some("lane: given up, the rest is counted", 2000, given_up),
    Check::some("lane: a panic concerns nobody else", 1000, a_panic_concerns_nobody_else),
];

#[derive(Clone, Copy, Debug)]
enum Heard {
    Event(u64),
    Lost { dropped: u64, first: u64, last: u64 },
}

/// A subscriber that writes down what it hears; first it says so and waits to be let go on, if it
/// was told to.
#[derive(Clone, Default)]
struct Notes {
    _first: DropsSlowly,
    heard: Arc<Mutex<Vec<Heard>>>,
    inside: Option<Sender<()>>,
    go_on: Option<Receiver<()>>,
}

impl Subscribe for Notes {
    fn on_event(&mut self, event: &Event) {
        if let Some(inside) = &self.inside {
            let _ = inside.send(());
        }
        if let Some(go_on) = &self.go_on {
            let _ = go_on.recv();
        }
        self.heard.lock().push(match event.kind {
            EventKind::SubscriberOverflow { dropped, first, last } => {
                Heard::Lost { dropped, first, last }
            }
            _ => Heard::Event(event.seq),
        });
    }
}

impl Notes {
    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    fn delivered(&self) -> Vec<u64> {
        let seq = |heard| match heard {
            Heard::Event(seq) => Some(seq),
            Heard::Lost { .. } => None,
        };
        self.heard().into_iter().filter_map(seq).collect()
    }
}

/// Its drop takes time: another thread may go on meanwhile.
#[derive(Clone, Default)]
struct DropsSlowly(());

impl Drop for DropsSlowly {
    fn drop(&mut self) {
        thread::yield_now();
    }
}

struct Panics;

impl Subscribe for Panics {
    fn on_event(&mut self, _event: &Event) {
        std::panic::resume_unwind(Box::new("a subscriber"));
    }
}

fn threads() -> ThreadSetup {
    ThreadSetup { name: "model".to_owned(), stack_size: None, by_task: false, callbacks: None }
}

fn start(subscribers: Vec<Box<dyn Listen>>, capacity: usize) -> (Lane, Receiver<Fact>) {
    let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
    let subscribers = subscribers.into_iter().map(UserValue::new).collect();
    let lane = Lane::start("ev", move || subscribers, capacity, &threads(), &door).unwrap();
    (lane, inbox.facts)
}

fn event(seq: u64) -> Event {
    let (at, since_start) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
    Event { seq, at, since_start, task: None, group: None, kind: EventKind::Admitted }
}

/// Until the lane has served its last event. Says how many panics were reported before.
fn panics_until_flushed(facts: &Receiver<Fact>) -> usize {
    let mut panics = 0;
    while let Ok(fact) = facts.recv() {
        match fact {
            Fact::LaneFlushed => return panics,
            Fact::SubscriberPanicked { .. } => panics += 1,
            _ => panic!("a lane says no such thing"),
        }
    }
    panic!("it ended without a word");
}

fn called_back_or_counted() {
    const EVENTS: u64 = 6;
    let notes = Notes::default();
    let (lane, facts) = start(vec![Box::new(notes.clone())], 2);
    // The second hand-over alone is more than there is room for.
    for batch in [1..=1, 2..=5, 6..=EVENTS] {
        lane.push(&mut batch.map(event).collect());
    }
    lane.close();
    panics_until_flushed(&facts);
    assert_eq!(Arc::strong_count(&notes.heard), 1, "its subscriber is not dropped yet");
    let (heard, delivered) = (notes.heard(), notes.delivered());
    assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {heard:?}");
    let mut counted = 0;
    for (position, heard_of) in heard.iter().enumerate() {
        let Heard::Lost { dropped, first, last } = *heard_of else { continue };
        let missing = (first..=last).filter(|seq| !delivered.contains(seq)).count();
        assert_eq!(dropped, missing as u64, "a summary is wrong: {heard:?}");
        let later = |heard: &Heard| matches!(heard, Heard::Event(seq) if *seq > last);
        assert!(!heard[..position].iter().any(later), "told too late: {heard:?}");
        counted += dropped;
    }
    assert_eq!(delivered.len() as u64 + counted, EVENTS, "{heard:?}");
    assert_eq!(lane.give_up(), counted);
}

fn a_flush_sees_all() {
    let notes = Notes::default();
    let (lane, facts) = start(vec![Box::new(notes.clone())], 2);
    for seq in 1..=2 {
        lane.push(&mut vec![event(seq)]);
    }
    let flush = lane.flush();
    lane.push(&mut vec![event(3)]);
    if let Some(flushed) = flush {
        flushed.recv().expect("the lane is still there");
    }
    assert!(notes.delivered().starts_with(&[1, 2]), "{:?}", notes.heard());
    let flush = lane.flush();
    flush.into_iter().for_each(|flushed| flushed.recv().expect("the lane is still there"));
    assert_eq!(notes.delivered().len() as u64 + lane.give_up(), 3);
    drop(lane);
    panics_until_flushed(&facts);
}

/// Only those before it can be served, so it would never be answered.
fn a_flush_waits_for_no_more() {
    let (free, go_on) = channel::unbounded();
    let notes = Notes { go_on: Some(go_on), ..Notes::default() };
    let (lane, facts) = start(vec![Box::new(notes.clone())], 4);
    (1..=2).for_each(|seq| lane.push(&mut vec![event(seq)]));
    let flushed = lane.flush().expect("nothing was called back yet");
    (3..=4).for_each(|seq| lane.push(&mut vec![event(seq)]));
    let user = thread::spawn(move || {
        (1..=2).for_each(|_| drop(free.send(())));
        free
    });
    flushed.recv().expect("the lane is still there");
    assert_eq!(notes.delivered(), [1, 2], "{:?}", notes.heard());
    drop(user.join().unwrap());
    drop(lane);
    panics_until_flushed(&facts);
    assert_eq!(notes.delivered(), [1, 2, 3, 4]);
}

/// As many wait behind the one that is being called back as there is room for, whether the lane has
/// them in its queue or took them out already.
fn what_is_in_hand_takes_room() {
    let (free, go_on) = channel::unbounded();
    let (inside, stuck) = channel::unbounded();
    let notes = Notes { inside: Some(inside), go_on: Some(go_on), ..Notes::default() };
    let (lane, facts) = start(vec![Box::new(notes.clone())], 2);
    (1..=2).for_each(|seq| lane.push(&mut vec![event(seq)]));
    stuck.recv().unwrap();
    (3..=6).for_each(|seq| lane.push(&mut vec![event(seq)]));
    drop::<Sender<()>>(free);
    lane.close();
    panics_until_flushed(&facts);
    let heard = notes.heard();
    assert_eq!(notes.delivered(), [1, 2, 3], "{heard:?}");
    let told = |heard: &Heard| matches!(heard, Heard::Lost { dropped: 3, first: 4, last: 6 });
    assert!(heard.iter().any(told), "{heard:?}");
    assert_eq!(lane.give_up(), 3);
}

/// It takes its queue, serves it, looks again, parks: an event may come at any of these moments,
/// and each is called back without any other after it.
fn it_hears_the_next() {
    let (inside, heard) = channel::unbounded();
    let notes = Notes { inside: Some(inside), ..Notes::default() };
    let (lane, facts) = start(vec![Box::new(notes.clone())], 2);
    lane.push(&mut vec![event(1)]);
    heard.recv().unwrap();
    (2..=3).for_each(|seq| lane.push(&mut vec![event(seq)]));
    (2..=3).for_each(|_| heard.recv().unwrap());
    lane.push(&mut vec![event(4)]);
    heard.recv().unwrap();
    drop(lane);
    panics_until_flushed(&facts);
    assert_eq!(notes.delivered(), [1, 2, 3, 4]);
}

/// Nobody waits for a subscriber that is stuck.
fn a_flush_ends_with_the_lane() {
    let (free, go_on) = channel::unbounded();
    let notes = Notes { go_on: Some(go_on), ..Notes::default() };
    let (lane, facts) = start(vec![Box::new(notes)], 2);
    lane.push(&mut vec![event(1)]);
    let flushed = lane.flush().expect("nothing was called back yet");
    let user = thread::spawn(move || flushed.recv().is_err());
    drop(lane);
    assert!(user.join().unwrap(), "it was not called back");
    drop::<Sender<()>>(free);
    panics_until_flushed(&facts);
}

fn given_up() {
    const EVENTS: u64 = 4;
    let notes = Notes::default();
    let (lane, facts) = start(vec![Box::new(notes.clone())], 2);
    (1..=EVENTS).for_each(|seq| lane.push(&mut vec![event(seq)]));
    let missed = lane.give_up();
    drop(lane);
    panics_until_flushed(&facts);
    let delivered = notes.delivered().len() as u64;
    // One may have been in the middle of being called back.
    assert!(
        (EVENTS..=EVENTS + 1).contains(&(delivered + missed)),
        "{delivered} delivered, {missed} missed"
    );
}

fn a_panic_concerns_nobody_else() {
    let notes = Notes::default();
    let (lane, facts) = start(vec![Box::new(Panics), Box::new(notes.clone())], 4);
    (1..=3).for_each(|seq| lane.push(&mut vec![event(seq)]));
    lane.close();
    assert_eq!(panics_until_flushed(&facts), 3);
    assert_eq!(notes.delivered(), [1, 2, 3]);
}
