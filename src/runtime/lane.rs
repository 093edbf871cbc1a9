//! A lane: one bounded queue of events and the one thread that serves it. The shared lane serves
//! most subscribers; a dedicated one serves a single subscriber and delays nobody.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::Report;
use crate::clock::Clock;
use crate::current;
use crate::event::{Event, EventKind, Subscribe};
use crate::link::Link;
use crate::sync::channel::{self, Receiver, Sender};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;
use crate::unwind;

pub(super) struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something for the thread to do.
    ready: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Event>>,
    /// Events lost since the subscribers were last told.
    lost: Option<Lost>,
    /// Events taken into the queue, events called back, and events lost, since the beginning.
    accepted: u64,
    served: u64,
    dropped: u64,
    /// The thread waits for `ready`.
    waiting: bool,
    closed: bool,
    /// Nobody waits for the rest any more: it counts as lost.
    given_up: bool,
    /// Who waits until so many events are done.
    flushes: Vec<(u64, Sender<()>)>,
}

#[derive(Clone, Copy)]
struct Lost {
    dropped: u64,
    first: u64,
    last: u64,
}

/// A subscriber with the name it gave at the start.
struct Named {
    subscriber: Box<dyn Subscribe>,
    name: Arc<str>,
}

enum Next {
    Event(Arc<Event>),
    Lost(Lost),
    End,
}

impl Lane {
    pub(super) fn start(
        role: &str,
        subscribers: Vec<Box<dyn Subscribe>>,
        capacity: usize,
        options: &Threads,
        link: &Arc<Link>,
        reports: &Sender<Report>,
    ) -> io::Result<Self> {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, ready: Condvar::new(), capacity });
        let lane = Self { shared: Arc::clone(&shared) };
        let (link, reports) = (Arc::clone(link), reports.clone());
        options.spawn(role, options.stack_size, move |_| {
            current::belong_to(&link);
            shared.serve(subscribers, &link.clock, &reports);
        })?;
        Ok(lane)
    }

    /// Puts an event into the queue, or counts it as lost. Never waits.
    pub(crate) fn push(&self, event: &Arc<Event>) {
        let mut state = self.shared.state.lock();
        if state.queue.len() < self.shared.capacity {
            state.accepted += 1;
            state.queue.push_back(Arc::clone(event));
            if state.waiting {
                state.waiting = false;
                self.shared.ready.notify_one();
            }
        } else {
            state.dropped += 1;
            let seq = event.seq;
            let lost = state.lost.get_or_insert(Lost { dropped: 0, first: seq, last: seq });
            lost.dropped += 1;
            lost.last = seq;
        }
    }

    /// Brings word once every event up to now was called back or lost; `None` if that is so
    /// already.
    pub(crate) fn flush(&self) -> Option<Receiver<()>> {
        let mut state = self.shared.state.lock();
        if state.served >= state.accepted {
            return None;
        }
        let (sender, receiver) = channel::bounded(1);
        let target = state.accepted;
        state.flushes.push((target, sender));
        Some(receiver)
    }

    /// No event follows. The thread reports when it has served the last one.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.waiting = false;
        self.shared.ready.notify_one();
    }

    /// Nobody waits for the rest any more. Says how many events the subscribers did not get, those
    /// included that still wait.
    pub(super) fn give_up(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.given_up = true;
        state.dropped + (state.accepted - state.served)
    }
}

impl Shared {
    fn serve(&self, subscribers: Vec<Box<dyn Subscribe>>, clock: &Clock, reports: &Sender<Report>) {
        let mut subscribers: Vec<_> = subscribers
            .into_iter()
            .map(|subscriber| {
                let name = unwind::catch(|| Arc::from(subscriber.name()));
                Named { name: name.unwrap_or_else(|_| Arc::from("unnamed")), subscriber }
            })
            .collect();
        loop {
            match self.next() {
                Next::Event(event) => {
                    call_all(&mut subscribers, &event, reports);
                    // The last reference may carry user values, whose destructors may panic.
                    let _ = unwind::drop_caught(event);
                    self.count_served();
                }
                Next::Lost(lost) => call_all(&mut subscribers, &overflow(lost, clock), reports),
                Next::End => break,
            }
        }
        for named in subscribers {
            let _ = unwind::drop_caught(named);
        }
        // Not heard by a controller that has ended.
        let _ = reports.send(Report::LaneDrained);
    }

    fn next(&self) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.given_up {
                return Next::End;
            }
            if let Some(lost) = state.lost.take() {
                return Next::Lost(lost);
            }
            if let Some(event) = state.queue.pop_front() {
                return Next::Event(event);
            }
            if state.closed {
                return Next::End;
            }
            state.waiting = true;
            self.ready.wait(&mut state);
        }
    }

    fn count_served(&self) {
        let mut state = self.state.lock();
        state.served += 1;
        let served = state.served;
        state.flushes.retain(|(target, flushed)| {
            let waits = *target > served;
            if !waits {
                let _ = flushed.send(());
            }
            waits
        });
    }
}

/// A lane that nobody feeds any more must not wait for ever; nor must anybody wait for a subscriber
/// that is stuck.
impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
        self.shared.state.lock().flushes.clear();
    }
}

fn overflow(lost: Lost, clock: &Clock) -> Event {
    let Lost { dropped, first, last } = lost;
    Event {
        seq: first,
        at: Clock::wall(),
        since_start: clock.now().since_start(),
        task: None,
        kind: EventKind::SubscriberOverflow { dropped, first, last },
    }
}

fn call_all(subscribers: &mut [Named], event: &Event, reports: &Sender<Report>) {
    for Named { subscriber, name } in subscribers {
        let called = unwind::catch(|| subscriber.on_event(event));
        if let (Err(message), false) = (called, event.kind.is_diagnostic()) {
            let subscriber = Arc::clone(name);
            // Not heard by a controller that has ended.
            let _ = reports.send(Report::SubscriberPanicked { subscriber, message });
        }
    }
}
