//! A lane: one bounded queue of events and the one thread that serves it. The shared lane serves
//! most subscribers. A dedicated lane serves a single subscriber, so that it delays no other.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::output::event::{Event, EventKind};
use crate::platform::clock::RealClock;
use crate::platform::linger::Linger;
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::threads::ThreadSetup;
use crate::platform::unwind;
use crate::platform::user_value::UserValue;
use crate::task::current;
use crate::task::door::Door;
use crate::task::fact::Fact;

/// A subscriber as its lane knows it: what `Subscribe` is to users.
pub(crate) trait Listen: Send {
    fn on_start(&mut self, door: &Arc<Door>);
    fn on_event(&mut self, event: &Event);
    fn name(&self) -> &str;
}

pub(crate) type Subscriber = UserValue<Box<dyn Listen>>;

pub(super) struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something for the thread to do.
    ready: Condvar,
    capacity: usize,
    /// Events that the thread has taken from the queue and not served yet. Only the thread changes
    /// this, and increases it only under the lock.
    in_hand: AtomicUsize,
    /// The remaining events are no longer awaited and count as lost. Set under the lock.
    given_up: AtomicBool,
    /// The subscribers must hear of a loss before the next event. Changed under the lock.
    lossy: AtomicBool,
    linger: Linger,
}

#[derive(Default)]
struct State {
    /// By value, because memory that one thread allocates and another frees makes both wait for the
    /// allocator.
    queue: VecDeque<Event>,
    /// Events lost since the last `SubscriberOverflow`.
    lost: Option<Lost>,
    /// Events taken into the queue, and events lost, since the beginning.
    accepted: u64,
    dropped: u64,
    /// Whether the thread waits for `ready`.
    waiting: bool,
    closed: bool,
    /// The callers that wait until this many events are done.
    flushes: Vec<(u64, Sender<()>)>,
}

#[derive(Clone, Copy)]
struct Lost {
    dropped: u64,
    first: u64,
    last: u64,
}

/// A subscriber, with the name that it returned at the start.
struct Named {
    subscriber: Subscriber,
    name: Arc<str>,
}

/// The number of events for which an idle lane keeps room.
const KEPT: usize = 64;

enum Next {
    /// Events have been taken into the hand.
    Events,
    Lost(Lost),
    End,
}

impl Lane {
    /// Starts the thread, which calls `subscribers` first. If the thread is refused, the closure is
    /// dropped here.
    pub(super) fn start(
        role: &str,
        subscribers: impl FnOnce() -> Vec<Subscriber> + Send + 'static,
        capacity: usize,
        options: &ThreadSetup,
        door: &Arc<Door>,
    ) -> io::Result<Self> {
        let state = Mutex::new(State::default());
        let (in_hand, given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let lossy = AtomicBool::new(false);
        let (ready, linger) = (Condvar::new(), Linger::default());
        let shared = Shared { state, ready, capacity, in_hand, given_up, lossy, linger };
        let shared = Arc::new(shared);

        // The handle exists before the thread: if the thread is refused, its drop closes the lane.
        let lane = Self { shared: Arc::clone(&shared) };
        let door = Arc::clone(door);
        options.spawn(role, options.stack_size, move |_| {
            current::belong_to(&door);
            shared.serve(subscribers(), &door);
        })?;
        Ok(lane)
    }

    /// Takes events into the queue, in order. Those for which there is no room are counted as lost,
    /// and left to the caller. Never waits.
    pub(crate) fn push(&self, events: &mut Vec<Event>) {
        let mut state = self.shared.state.lock();
        // The event that is being served has left the queue.
        let in_hand = self.shared.in_hand.load(Ordering::Relaxed).saturating_sub(1);
        let room = self.shared.capacity.saturating_sub(state.queue.len() + in_hand);
        let fit = room.min(events.len());
        state.accepted += fit as u64;
        state.queue.extend(events.drain(..fit));
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let dropped = events.len() as u64;
            state.dropped += dropped;
            self.shared.lossy.store(true, Ordering::Relaxed);
            let none = Lost { dropped: 0, first: first.seq, last: last.seq };
            let lost = state.lost.get_or_insert(none);
            lost.dropped += dropped;
            lost.last = last.seq;
        }
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.shared.ready.notify_one();
        }
    }

    /// Returns a channel with a message once every event up to now is served or lost; `None` if
    /// that is already so.
    pub(crate) fn flush(&self) -> Option<Receiver<()>> {
        let mut state = self.shared.state.lock();
        if self.shared.unserved(&state) == 0 {
            return None;
        }
        let (sender, receiver) = channel::bounded(1);
        let target = state.accepted;
        state.flushes.push((target, sender));
        Some(receiver)
    }

    /// No further event follows. The thread reports when it has served the last one.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.waiting = false;
        drop(state);
        self.shared.ready.notify_one();
    }

    /// Whether the thread has called back all its events, or gets no more.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.shared.state.lock();
        state.waiting || state.closed
    }

    /// The remaining events are no longer awaited. Returns how many events the subscribers did not
    /// get, including the remaining ones.
    pub(super) fn give_up(&self) -> u64 {
        let state = self.shared.state.lock();
        self.shared.given_up.store(true, Ordering::Release);
        state.dropped + self.shared.unserved(&state)
    }
}

impl Shared {
    fn serve(&self, subscribers: Vec<Subscriber>, door: &Arc<Door>) {
        let mut subscribers: Vec<_> = subscribers
            .into_iter()
            .map(|subscriber| {
                let name = unwind::catch(|| Arc::from(subscriber.name()));
                Named { name: name.unwrap_or_else(|_| Arc::from("unnamed")), subscriber }
            })
            .collect();
        for Named { subscriber, name } in &mut subscribers {
            if let Err(message) = unwind::catch(|| subscriber.on_start(door)) {
                door.post(Fact::SubscriberPanicked { subscriber: Arc::clone(name), message });
            }
        }
        let mut hand = VecDeque::new();
        let mut heard_of_loss = false;
        loop {
            match self.next(&mut hand, heard_of_loss, door) {
                Next::Events => {
                    heard_of_loss = false;
                    while let Some(event) = hand.pop_front() {
                        call_all(&mut subscribers, &event, door);
                        drop(event);
                        self.in_hand.fetch_sub(1, Ordering::Release);
                        // A loss comes before the next event, and a lane that was given up serves
                        // no more.
                        if self.is_given_up() || self.lossy.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
                Next::Lost(lost) => {
                    heard_of_loss = true;
                    call_all(&mut subscribers, &overflow(lost, &door.clock), door);
                }
                Next::End => break,
            }
        }

        // The rest has user values, which must not be dropped under the lock.
        let rest = std::mem::take(&mut self.state.lock().queue);
        drop((hand, rest, subscribers));
        door.post(Fact::LaneFlushed);
    }

    /// Waits for something to do. Between two losses comes an event that was kept, or a subscriber
    /// that stays too slow would hear of losses only.
    fn next(&self, hand: &mut VecDeque<Event>, heard_of_loss: bool, door: &Door) -> Next {
        let mut state = self.state.lock();
        if hand.is_empty() && self.news(&state) == 0 {
            // A thread that has just served may be needed again in a moment.
            self.answer_flushes(&mut state);
            drop(state);
            self.linger.until(&door.clock.real, || self.news(&self.state.lock()));
            state = self.state.lock();
        }
        loop {
            self.answer_flushes(&mut state);
            if self.is_given_up() {
                return Next::End;
            }
            let has_events = !hand.is_empty() || !state.queue.is_empty();
            let lost = if heard_of_loss && has_events { None } else { state.lost.take() };
            if let Some(lost) = lost {
                self.lossy.store(false, Ordering::Relaxed);
                return Next::Lost(lost);
            }
            if !hand.is_empty() {
                return Next::Events;
            }
            if !state.queue.is_empty() {
                if state.flushes.is_empty() {
                    std::mem::swap(hand, &mut state.queue);
                } else {
                    // A flush that waits for this event does not wait for the events behind it.
                    hand.extend(state.queue.pop_front());
                }
                self.in_hand.store(hand.len(), Ordering::Relaxed);
                return Next::Events;
            }
            if state.closed {
                return Next::End;
            }
            // Room for a flood is not kept.
            state.queue.shrink_to(KEPT);
            hand.shrink_to(KEPT);
            state.waiting = true;
            if door.clock.seat().is_some() {
                door.post(Fact::CameToRest);
            }
            self.ready.wait(&mut state);
        }
    }

    /// How much there is to do.
    fn news(&self, state: &State) -> usize {
        let told = self.is_given_up() || state.closed || state.lost.is_some();
        usize::from(told) + state.queue.len()
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Events that were accepted but not yet served.
    fn unserved(&self, state: &State) -> u64 {
        // The thread counts an event down once it is served.
        (state.queue.len() + self.in_hand.load(Ordering::Acquire)) as u64
    }

    fn answer_flushes(&self, state: &mut State) {
        let served = state.accepted - self.unserved(state);
        state.flushes.retain(|(target, flushed)| {
            let waits = *target > served;
            if !waits {
                let _ = flushed.send(());
            }
            waits
        });
    }
}

/// A lane that gets no more events must not wait for ever, and no thread may wait for a stuck
/// subscriber.
impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
        self.shared.state.lock().flushes.clear();
    }
}

fn overflow(lost: Lost, clock: &ModelClock) -> Event {
    let Lost { dropped, first, last } = lost;
    Event {
        seq: first,
        at: RealClock::wall(),
        since_start: clock.now().since_start(),
        task: None,
        group: None,
        kind: EventKind::SubscriberOverflow { dropped, first, last },
    }
}

fn call_all(subscribers: &mut [Named], event: &Event, door: &Door) {
    for Named { subscriber, name } in subscribers {
        let called = unwind::catch(|| subscriber.on_event(event));
        if let (Err(message), false) = (called, event.kind.is_diagnostic()) {
            let subscriber = Arc::clone(name);
            door.post(Fact::SubscriberPanicked { subscriber, message });
        }
    }
}
