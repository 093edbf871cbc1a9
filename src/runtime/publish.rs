//! The publisher: numbers and dates events, and puts them into the lanes.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::lane::{Lane, Subscriber};
use super::notice;
use crate::machine::{GroupNotice, Machine, Notice};
use crate::output::event::{Event, EventKind};
use crate::output::line::LogEvents;
use crate::platform::clock::RealClock;
use crate::platform::sync::channel::Receiver;
use crate::platform::threads::ThreadSetup;
use crate::platform::user_value::UserValue;
#[cfg(all(unix, feature = "process"))]
use crate::task::current;
use crate::task::door::Door;
#[cfg(all(unix, feature = "process"))]
use crate::task::fact::Fact;
#[cfg(all(unix, feature = "process"))]
use crate::task::out_lane::OutLane;
use crate::task::record::Record;
use crate::vocabulary::id::TaskAddr;
use crate::vocabulary::reason::StopReason;
use crate::vocabulary::time::Time;

/// All lanes, and the numbering of events.
pub(super) struct Publisher {
    door: Arc<Door>,
    options: ThreadSetup,
    shared: Option<Lane>,
    dedicated: Vec<(Lane, CopyEvent)>,
    /// There is no subscriber: warnings go to `log`, on a lane that the first of them starts.
    nobody: bool,
    /// Events on their way to the lanes: handing them over one by one would make the controller and
    /// the threads of the lanes contend for each.
    pending: Vec<Event>,
    /// The most of them.
    most: usize,
    seq: u64,
    /// The last reading of the wall clock, and when it was read.
    wall: (Time, SystemTime),
    dropped: u64,
    closed: bool,
}

/// What an event is about.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Supervisor,
    Task(&'a Record),
    Group(&'a Arc<str>),
}

/// The user's subscribers, with the capacities of their lanes.
#[derive(Default)]
pub(crate) struct Subscribers {
    pub(crate) shared: Vec<Subscriber>,
    pub(crate) shared_capacity: usize,
    pub(crate) dedicated: Vec<Dedicated>,
    /// The callback for the lines of processes.
    #[cfg(all(unix, feature = "process"))]
    pub(crate) output: Option<crate::task::out_lane::OnOutput>,
}

/// A subscriber with a lane of its own.
pub(crate) struct Dedicated {
    pub(crate) subscriber: Subscriber,
    pub(crate) capacity: usize,
    pub(crate) copy: CopyEvent,
}

/// The most events of one delivery, which is soon enough in a long turn.
const MOST: usize = 64;

/// How an event is copied for one lane more. Whoever asks for a lane brings it along, so that a
/// program with one lane contains no copying.
type CopyEvent = fn(&Event) -> Event;

impl Publisher {
    /// Starts the lanes. A refusal names the role of the thread.
    pub(super) fn start(
        subscribers: Subscribers,
        door: Arc<Door>,
        options: ThreadSetup,
    ) -> Result<Self, (String, io::Error)> {
        let nobody = subscribers.shared.is_empty() && subscribers.dedicated.is_empty();
        let mut publisher = Self {
            door,
            options,
            shared: None,
            dedicated: Vec::new(),
            nobody,
            pending: Vec::new(),
            most: MOST,
            seq: 0,
            wall: (Time::NEVER, SystemTime::UNIX_EPOCH),
            dropped: 0,
            closed: false,
        };

        // If a thread is refused, the lanes that have begun end with the publisher.
        if !subscribers.shared.is_empty() {
            let capacity = subscribers.shared_capacity;
            let all = move || subscribers.shared;
            let lane = publisher.lane("ev", all, capacity);
            publisher.shared = Some(lane.map_err(|error| ("ev".to_owned(), error))?);
        }
        for (number, dedicated) in (1..).zip(subscribers.dedicated) {
            let Dedicated { subscriber, capacity, copy } = dedicated;
            let role = format!("ev{number}");
            let lane = publisher.lane(&role, || vec![subscriber], capacity);
            publisher.dedicated.push((lane.map_err(|error| (role, error))?, copy));
        }
        #[cfg(all(unix, feature = "process"))]
        if let Some(on_output) = subscribers.output {
            publisher.start_output(on_output).map_err(|error| ("out".to_owned(), error))?;
        }
        Ok(publisher)
    }

    #[cfg(all(unix, feature = "process"))]
    fn start_output(&self, on_output: crate::task::out_lane::OnOutput) -> io::Result<()> {
        let door = Arc::clone(&self.door);
        self.options.spawn("out", self.options.stack_size, move |_| {
            current::belong_to(&door);
            let tell = |message| {
                let subscriber = "on_output".into();
                door.post(Fact::SubscriberPanicked { subscriber, message });
            };
            door.output.get_or_init(OutLane::default).serve(on_output, tell);
            door.post(Fact::LaneFlushed);
        })?;
        self.door.output.get_or_init(OutLane::default);
        Ok(())
    }

    fn lane(
        &mut self,
        role: &str,
        subscribers: impl FnOnce() -> Vec<Subscriber> + Send + 'static,
        capacity: usize,
    ) -> io::Result<Lane> {
        // What comes at once must not fill a small lane that keeps up.
        self.most = self.most.min(capacity / 4).max(1);
        Lane::start(role, subscribers, capacity, &self.options, &self.door)
    }

    /// Whether there is a subscriber, which gets every event.
    pub(super) const fn has_subscribers(&self) -> bool {
        !self.nobody
    }

    /// Whether the event of this notice would reach a subscriber or the log. `error_of` says
    /// whether the latest attempt of a task returned an error.
    pub(super) fn wants(
        &self,
        notice: Notice,
        machine: &Machine,
        error_of: impl FnOnce(TaskAddr) -> bool,
    ) -> bool {
        !self.nobody || notice::is_worth_a_warning(notice, machine, error_of)
    }

    /// Whether the event of a group would reach a subscriber or the log.
    pub(super) const fn wants_of_group(&self, notice: GroupNotice) -> bool {
        !self.nobody || matches!(notice, GroupNotice::Stopping { why: StopReason::Group, .. })
    }

    /// Numbers an event, and puts it into every lane with the next delivery.
    pub(super) fn publish(&mut self, now: Time, about: About<'_>, kind: EventKind) {
        if self.closed || (self.nobody && !self.start_warnings()) {
            return;
        }
        self.seq += 1;
        let (seq, since_start) = (self.seq, now.since_start());
        if self.wall.0 != now {
            self.wall = (now, RealClock::wall());
        }
        let (task, group) = match about {
            About::Supervisor => (None, None),
            About::Task(record) => (Some(record.task_ref()), record.group().cloned()),
            About::Group(name) => (None, Some(Arc::clone(name))),
        };
        self.pending.push(Event { seq, at: self.wall.1, since_start, task, group, kind });
        if self.pending.len() >= self.most {
            self.deliver();
        }
    }

    /// Puts the events up to now into every lane. This comes before an outcome is told or a request
    /// is answered, and before the controller waits or does what may take long.
    pub(super) fn deliver(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (last, others) = match (&self.shared, self.dedicated.split_last()) {
            (Some(shared), _) => (shared, &self.dedicated[..]),
            (None, Some(((last, _), others))) => (last, others),
            (None, None) => return,
        };
        for (lane, copy) in others {
            lane.push(&mut self.pending.iter().map(copy).collect());
        }
        last.push(&mut self.pending);
        // There was no room for the rest.
        self.pending.clear();
    }

    /// Logging is user code, so it happens on a lane. False if the log takes no warnings, or the
    /// system refuses a thread for them.
    fn start_warnings(&mut self) -> bool {
        const CAPACITY: usize = 1024;
        // A failed outcome is an error.
        if log::max_level() < log::LevelFilter::Error {
            return false;
        }
        if self.shared.is_none() {
            let logger = || vec![UserValue::new(Box::new(LogEvents::new()) as _)];
            self.shared = self.lane("ev", logger, CAPACITY).ok();
            self.dropped += u64::from(self.shared.is_none());
        }
        self.shared.is_some()
    }

    /// Returns a channel with a message once every event of the shared lane up to now is served or
    /// lost; `None` if that is already so.
    pub(super) fn flush(&mut self) -> Option<Receiver<()>> {
        self.deliver();
        self.shared.as_ref().and_then(Lane::flush)
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.shared.iter().chain(self.dedicated.iter().map(|(lane, _)| lane))
    }

    /// How many lanes have not called back all their events.
    pub(super) fn lanes_at_work(&self) -> usize {
        self.lanes().filter(|lane| !self.pending.is_empty() || !lane.is_at_rest()).count()
    }

    /// No further event follows. Each lane reports when it has served its last one; returns how
    /// many will.
    pub(super) fn close(&mut self) -> usize {
        self.deliver();
        self.closed = true;
        let lanes = self.lanes().map(Lane::close).count();
        #[cfg(all(unix, feature = "process"))]
        let lanes = lanes + self.door.output.get().map(OutLane::close).iter().count();
        lanes
    }

    /// The lanes are no longer awaited. Returns how many events subscribers did not get.
    pub(super) fn give_up(&mut self) -> u64 {
        self.deliver();
        self.dropped + self.lanes().map(Lane::give_up).sum::<u64>()
    }
}
