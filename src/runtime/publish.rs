//! Events: made of the machine's notices, the wall clock and the user's values, and put into the
//! lanes.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::lane::Lane;
use super::perform::certain;
use super::tables::{Job, Jobs};
use super::Report;
use crate::machine::{Ending, Machine, Notice};
use crate::output::event::{Event, EventKind, Subscriber};
use crate::output::line::LogEvents;
use crate::platform::clock::Clock;
use crate::platform::sync::channel::{Receiver, Sender};
use crate::platform::threads::Threads;
use crate::platform::unwind::Caught;
use crate::task::door::Door;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::reason::FailureCause;
use crate::vocabulary::time::Time;

/// All lanes, and the numbering of events.
pub(super) struct Publisher {
    door: Arc<Door>,
    reports: Sender<Report>,
    options: Threads,
    shared: Option<Lane>,
    dedicated: Vec<Lane>,
    /// Nobody subscribed: warnings go to `log`, on a lane that is started for the first of them.
    nobody: bool,
    seq: u64,
    /// What the wall clock said when it was last asked, and at which moment that was.
    wall: (Time, SystemTime),
    dropped: u64,
    closed: bool,
}

/// The subscribers a user named, with the capacities of their lanes.
#[derive(Default)]
pub(crate) struct Subscribers {
    pub(crate) shared: Vec<Subscriber>,
    pub(crate) shared_capacity: usize,
    pub(crate) dedicated: Vec<(Subscriber, usize)>,
}

impl Publisher {
    pub(super) fn start(
        subscribers: Subscribers,
        door: Arc<Door>,
        reports: Sender<Report>,
        options: Threads,
    ) -> io::Result<Self> {
        let nobody = subscribers.shared.is_empty() && subscribers.dedicated.is_empty();
        let mut publisher = Self {
            door,
            reports,
            options,
            shared: None,
            dedicated: Vec::new(),
            nobody,
            seq: 0,
            wall: (Time::NEVER, SystemTime::UNIX_EPOCH),
            dropped: 0,
            closed: false,
        };
        if !subscribers.shared.is_empty() {
            let capacity = subscribers.shared_capacity;
            publisher.shared = Some(publisher.lane("ev", subscribers.shared, capacity)?);
        }
        for (number, (subscriber, capacity)) in (1..).zip(subscribers.dedicated) {
            let lane = publisher.lane(&format!("ev{number}"), vec![subscriber], capacity)?;
            publisher.dedicated.push(lane);
        }
        Ok(publisher)
    }

    fn lane(&self, role: &str, subscribers: Vec<Subscriber>, capacity: usize) -> io::Result<Lane> {
        Lane::start(role, subscribers, capacity, &self.options, &self.door, &self.reports)
    }

    /// Whether somebody hears of everything.
    pub(super) const fn has_subscribers(&self) -> bool {
        !self.nobody
    }

    /// Makes the event of a notice and puts it into the lanes; costs nothing where nobody listens.
    pub(super) fn notice(&mut self, now: Time, notice: Notice, jobs: &Jobs, machine: &Machine) {
        if self.nobody && !is_worth_a_warning(notice, machine) {
            return;
        }
        let job = task_of(notice).and_then(|task| jobs.get(task.key));
        self.publish(now, job.map(Job::task_ref), kind_of(notice, job));
    }

    /// Puts an event into every lane.
    pub(super) fn publish(&mut self, now: Time, task: Option<TaskRef>, kind: EventKind) {
        if self.closed || (self.nobody && !self.start_warnings()) {
            return;
        }
        self.seq += 1;
        let (seq, since_start) = (self.seq, now.since_start());
        if self.wall.0 != now {
            self.wall = (now, Clock::wall());
        }
        let event = Event { seq, at: self.wall.1, since_start, task, kind };
        let mut lanes = self.shared.iter().chain(&self.dedicated).peekable();
        while let Some(lane) = lanes.next() {
            if lanes.peek().is_none() {
                return lane.push(event);
            }
            lane.push(event.clone());
        }
    }

    /// Logging is user code, so it happens on a lane. False if nobody wants warnings, or no thread
    /// can be had for them.
    fn start_warnings(&mut self) -> bool {
        const CAPACITY: usize = 1024;
        // A failed outcome is an error.
        if log::max_level() < log::LevelFilter::Error {
            return false;
        }
        if self.shared.is_none() {
            let logger = Caught::new(Box::new(LogEvents::new()) as _);
            self.shared = self.lane("ev", vec![logger], CAPACITY).ok();
            self.dropped += u64::from(self.shared.is_none());
        }
        self.shared.is_some()
    }

    /// Brings word once every event of the shared lane up to now was called back or lost.
    pub(super) fn flush(&self) -> Option<Receiver<()>> {
        self.shared.as_ref().and_then(Lane::flush)
    }

    /// No event follows. Each lane reports when it has served its last one; says how many will.
    pub(super) fn close(&mut self) -> usize {
        self.closed = true;
        self.shared.iter().chain(&self.dedicated).map(Lane::close).count()
    }

    /// Nobody waits for the lanes any more. Says how many events subscribers did not get.
    pub(super) fn give_up(&self) -> u64 {
        self.dropped + self.shared.iter().chain(&self.dedicated).map(Lane::give_up).sum::<u64>()
    }
}

/// Without a subscriber, the first failure of a streak and every failed outcome are logged, and who
/// is stuck.
fn is_worth_a_warning(notice: Notice, machine: &Machine) -> bool {
    match notice {
        Notice::AttemptEnded { attempt, ending, .. } => {
            let failed = !matches!(ending, Ending::Succeeded | Ending::Cancelled);
            let task = machine.tasks().get(attempt.task.key);
            // The step that made the notice has counted it.
            failed && task.is_some_and(|task| task.streak <= 1)
        }
        Notice::TaskEnded { end, .. } => end.is_failure(),
        Notice::AttemptAbandoned { .. } => true,
        Notice::Submitted { .. }
        | Notice::Admitted { .. }
        | Notice::Queued { .. }
        | Notice::Rejected { .. }
        | Notice::SlotTransition { .. }
        | Notice::WaitingForPermit { .. }
        | Notice::AttemptStarting { .. }
        | Notice::RetryScheduled { .. }
        | Notice::RunScheduled { .. }
        | Notice::AttemptOverdue { .. }
        | Notice::AttemptSilent { .. }
        | Notice::AttemptResponsive { .. }
        | Notice::AttemptReturned { .. }
        | Notice::ShutdownRequested { .. }
        | Notice::ShutdownEnded => false,
    }
}

fn task_of(notice: Notice) -> Option<id::TaskAddr> {
    match notice {
        Notice::Submitted { task, .. }
        | Notice::Admitted { task }
        | Notice::Queued { task, .. }
        | Notice::Rejected { task, .. }
        | Notice::SlotTransition { task, .. }
        | Notice::WaitingForPermit { task }
        | Notice::TaskEnded { task, .. } => Some(task),
        Notice::AttemptStarting { attempt }
        | Notice::AttemptEnded { attempt, .. }
        | Notice::RetryScheduled { attempt, .. }
        | Notice::RunScheduled { attempt, .. }
        | Notice::AttemptOverdue { attempt, .. }
        | Notice::AttemptSilent { attempt, .. }
        | Notice::AttemptResponsive { attempt }
        | Notice::AttemptAbandoned { attempt, .. }
        | Notice::AttemptReturned { attempt, .. } => Some(attempt.task),
        Notice::ShutdownRequested { .. } | Notice::ShutdownEnded => None,
    }
}

fn kind_of(notice: Notice, job: Option<&Job>) -> EventKind {
    let error = job.and_then(|job| job.error.clone());
    let cell = job.and_then(|job| job.cell.as_ref());
    match notice {
        Notice::Submitted { policy, .. } => EventKind::Submitted { policy },
        Notice::Admitted { .. } => EventKind::Admitted,
        Notice::Queued { depth, .. } => EventKind::Queued { depth: depth as usize },
        Notice::Rejected { why, .. } => EventKind::Rejected { why },
        Notice::SlotTransition { terminating, .. } => EventKind::SlotTransition { terminating },
        Notice::WaitingForPermit { .. } => EventKind::WaitingForPermit,
        Notice::AttemptStarting { attempt } => {
            EventKind::AttemptStarting { attempt: attempt.attempt }
        }
        Notice::AttemptEnded { attempt, told, ending, ran, late_by, returned_ok } => {
            let attempt = attempt.attempt;
            match ending {
                Ending::Succeeded => EventKind::AttemptSucceeded { attempt, ran, told },
                Ending::Cancelled => EventKind::AttemptCancelled { attempt, ran, told, error },
                Ending::Failed => EventKind::AttemptFailed {
                    attempt,
                    ran,
                    error: certain(error, FailureCause::Failed),
                },
                Ending::Panicked => EventKind::AttemptPanicked {
                    attempt,
                    ran,
                    error: certain(error, FailureCause::Panicked),
                },
                Ending::TimedOut => {
                    EventKind::AttemptTimedOut { attempt, ran, late_by, returned_ok, error }
                }
                Ending::Unresponsive => {
                    EventKind::AttemptUnresponsive { attempt, ran, returned_ok, error }
                }
            }
        }
        Notice::RetryScheduled { attempt, delay, cause } => {
            EventKind::RetryScheduled { attempt: attempt.attempt, delay, cause }
        }
        Notice::RunScheduled { attempt, delay } => {
            EventKind::RunScheduled { attempt: attempt.attempt, delay }
        }
        Notice::AttemptOverdue { attempt, ran } => {
            EventKind::AttemptOverdue { attempt: attempt.attempt, ran }
        }
        Notice::AttemptSilent { attempt, silent_for } => {
            let mark = cell.and_then(|cell| cell.pulse.last_mark());
            EventKind::AttemptSilent { attempt: attempt.attempt, silent_for, mark }
        }
        Notice::AttemptResponsive { attempt } => {
            EventKind::AttemptResponsive { attempt: attempt.attempt }
        }
        Notice::AttemptAbandoned { attempt, reason, ran, released } => {
            let mark = cell.and_then(|cell| cell.pulse.last_mark());
            let thread = cell.and_then(|cell| cell.thread()).map(|thread| thread.name);
            let attempt = attempt.attempt;
            EventKind::AttemptAbandoned { attempt, reason, ran, thread, mark, released }
        }
        Notice::AttemptReturned { attempt, late_by, ret } => {
            let (attempt, returned_ok) = (attempt.attempt, ret == Return::Ok);
            EventKind::AttemptReturned { attempt, late_by, returned_ok, error }
        }
        Notice::TaskEnded { end, .. } => {
            EventKind::TaskEnded { outcome: super::perform::outcome_of(end, job) }
        }
        Notice::ShutdownRequested { cause } => EventKind::ShutdownRequested { cause },
        Notice::ShutdownEnded => EventKind::ShutdownEnded,
    }
}
