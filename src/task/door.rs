//! The door, where callers, threads and the controller of a supervisor meet: the intake, the
//! requests, the facts, and the end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::report::RunReport;
use crate::platform::bell::Bell;
use crate::platform::linger::Linger;
use crate::platform::model_clock::ModelClock;
#[cfg(all(unix, feature = "process"))]
use crate::platform::stall;
use crate::platform::sync::atomic::{AtomicBool, Ordering};
use crate::platform::sync::channel::{self, Receiver, Sender, TrySendError};
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::task::class_names::ClassNames;
use crate::task::envelope::{Entry, Envelope, OnRefusal, Rest, Serve};
use crate::task::fact::Fact;
use crate::task::group::GroupEntry;
use crate::task::record::Record;
use crate::task::request::Request;
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::{AttemptAddr, TaskId};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::RealTime;

pub(crate) struct Door {
    pub(crate) clock: ModelClock,
    pub(crate) classes: ClassNames,
    #[cfg(all(unix, feature = "process"))]
    pub(crate) children: crate::platform::children::Children,
    /// Where the lines of processes go, if anybody wants them.
    #[cfg(all(unix, feature = "process"))]
    pub(crate) output: std::sync::OnceLock<crate::task::out_lane::OutLane>,
    /// The process whose threads these are.
    process: u32,
    /// For threads that wait for the outcome of a task.
    pub(crate) linger: Linger,
    latch: Mutex<Latch>,
    intake: Sender<Envelope>,
    /// The door's own receiver, so that a caller whose submission lies behind a closed door can
    /// answer it.
    behind_door: Receiver<Envelope>,
    requests: Sender<Request>,
    facts: Sender<Fact>,
    /// Rung after each message.
    bell: Bell,
    drain_asked: AtomicBool,
    shutdown_asked: AtomicBool,
    /// Whether the thread of last resort for hooks exists or was asked for.
    last_resort_asked: AtomicBool,
    /// The controller has ended and receives no more facts.
    nobody_listens: AtomicBool,
    report: Mutex<Option<Arc<RunReport>>>,
    ended: Condvar,
}

/// Ids are drawn together with the check that the door is open. This is a lock, because not every
/// platform has 64-bit atomics.
struct Latch {
    closed: bool,
    next_id: u64,
    /// The number of submissions that callers have answered instead of the controller, and of those
    /// among them whose specs nobody got back.
    refused: (usize, usize),
}

/// Says whether this thread runs a body of the supervisor.
pub(crate) type IsOwnBody = fn(&Arc<Door>) -> bool;

/// The first id of the next supervisor of this process, so that the ids of two of them differ.
fn first_id() -> u64 {
    // Not the lock of the platform, which a model checker would begin anew each time.
    static LATEST: std::sync::Mutex<u16> = std::sync::Mutex::new(0);
    let mut latest = LATEST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *latest = latest.wrapping_add(1);
    TaskId::first_of(*latest)
}

/// The controller's ends of the channels.
pub(crate) struct Inbox {
    pub(crate) intake: Receiver<Envelope>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) facts: Receiver<Fact>,
}

/// What a hand-over does while the intake is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    GiveUp,
}

/// Why a hand-over did not happen.
pub(crate) enum NotTaken<S> {
    Closed(S),
    Full(S),
}

impl<S> NotTaken<S> {
    fn map<T>(self, f: impl FnOnce(S) -> T) -> NotTaken<T> {
        match self {
            Self::Closed(spec) => NotTaken::Closed(f(spec)),
            Self::Full(spec) => NotTaken::Full(f(spec)),
        }
    }
}

/// Locks, for callers that may be in a forked child. `None` there if another thread held the lock
/// at the fork, and so holds it for ever.
pub(crate) fn lock_unless<T>(
    is_forked: impl FnOnce() -> bool,
    mutex: &Mutex<T>,
) -> Option<MutexGuard<'_, T>> {
    mutex.try_lock().or_else(|| (!is_forked()).then(|| mutex.lock()))
}

impl Door {
    pub(crate) fn new(
        clock: ModelClock,
        intake_capacity: usize,
        classes: ClassNames,
    ) -> (Arc<Self>, Inbox) {
        let (intake, behind_door) = channel::bounded(intake_capacity);
        let (requests, asked) = channel::unbounded();
        let (facts, posted) = channel::unbounded();
        let inbox = Inbox { intake: behind_door.clone(), requests: asked, facts: posted };
        let door = Self {
            clock,
            classes,
            #[cfg(all(unix, feature = "process"))]
            children: crate::platform::children::Children::default(),
            #[cfg(all(unix, feature = "process"))]
            output: std::sync::OnceLock::new(),
            process: std::process::id(),
            linger: Linger::default(),
            latch: Mutex::new(Latch { closed: false, next_id: first_id(), refused: (0, 0) }),
            intake,
            behind_door,
            requests,
            facts,
            bell: Bell::default(),
            drain_asked: AtomicBool::new(false),
            shutdown_asked: AtomicBool::new(false),
            last_resort_asked: AtomicBool::new(false),
            nobody_listens: AtomicBool::new(false),
            report: Mutex::new(None),
            ended: Condvar::new(),
        };
        (Arc::new(door), inbox)
    }

    /// The process for whose end the thread of an attempt waits, unless that has ended.
    #[cfg(all(unix, feature = "process"))]
    pub(crate) fn process_of(&self, attempt: AttemptAddr) -> Option<u32> {
        self.children.pid_of_attempt(attempt).filter(|pid| stall::is_alive(*pid))
    }

    #[cfg(not(all(unix, feature = "process")))]
    // Without the feature `process` there is nothing to ask.
    #[allow(clippy::unused_self)]
    pub(crate) const fn process_of(&self, _: AttemptAddr) -> Option<u32> {
        None
    }

    /// The door of a supervisor that has ended.
    pub(crate) fn ended(clock: ModelClock) -> Arc<Self> {
        let (door, _inbox) = Self::new(clock, 1, ClassNames::default());
        door.close();
        door.end(RunReport::of_nothing(ShutdownCause::Requested));
        door
    }

    /// Whether this process is a child that was forked from that of the supervisor. It has none of
    /// the supervisor's threads, so nothing in it may wait for them. This is a system call: for
    /// callers that are about to block.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// Puts a spec into the intake.
    pub(crate) fn hand_over(
        self: &Arc<Self>,
        spec: TaskSpec,
        policy: AdmissionPolicy,
        refused: OnRefusal,
        when_full: WhenFull,
        is_own: IsOwnBody,
    ) -> Result<Arc<Record>, NotTaken<TaskSpec>> {
        if refused == OnRefusal::GiveBack && self.is_forked() {
            return Err(NotTaken::Closed(spec));
        }
        let Some(id) = self.draw_ids(1, is_own) else { return Err(NotTaken::Closed(spec)) };
        let first = Entry::new(self, id, spec, refused);
        let record = Arc::clone(first.promise.record());
        let envelope = Envelope { first, rest: None, policy, submitted_at: self.clock.now() };
        self.put(envelope, when_full)
            .map(|()| record)
            .map_err(|not_taken| not_taken.map(|envelope| envelope.first.spec))
    }

    /// Puts specs into the intake, to be admitted all or none, as a group if it is given; waits for
    /// room. Refused specs are given back.
    pub(crate) fn hand_over_batch(
        self: &Arc<Self>,
        specs: Vec<TaskSpec>,
        group: Option<(GroupEntry, Serve)>,
        policy: AdmissionPolicy,
        is_own: IsOwnBody,
    ) -> Result<Vec<Arc<Record>>, NotTaken<Vec<TaskSpec>>> {
        let count = specs.len();
        let first_id = if self.is_forked() { None } else { self.draw_ids(count, is_own) };
        let Some(first_id) = first_id else { return Err(NotTaken::Closed(specs)) };
        let name = group.as_ref().map(|(group, _)| Arc::clone(&group.record.name));
        let back = OnRefusal::GiveBack;
        let entry = |(id, spec)| Entry::in_group(self, id, spec, back, name.as_ref());
        let mut entries = (first_id..).zip(specs).map(entry);
        let Some(first) = entries.next() else { return Ok(Vec::new()) };
        let rest: Vec<_> = entries.collect();

        let rest = Some(Box::new(Rest { entries: rest, group }));
        let envelope = Envelope { first, rest, policy, submitted_at: self.clock.now() };
        let records = envelope.records();
        self.put(envelope, WhenFull::Wait)
            .map(|()| records)
            .map_err(|not_taken| not_taken.map(Envelope::into_specs))
    }

    fn put(&self, envelope: Envelope, when_full: WhenFull) -> Result<(), NotTaken<Envelope>> {
        let first_id = envelope.first_id();
        if let Err(TrySendError::Full(envelope) | TrySendError::Disconnected(envelope)) =
            self.intake.try_send(envelope)
        {
            match when_full {
                WhenFull::Wait if self.is_forked() => return Err(NotTaken::Closed(envelope)),
                // This cannot fail, because the door holds a receiver.
                WhenFull::Wait => drop(self.intake.send(envelope)),
                WhenFull::GiveUp => {
                    // Behind a closed door, everything in the intake will be refused, so trying
                    // again is pointless.
                    let closed = self.latch_unless_forked().map_or(true, |latch| latch.closed);
                    let why = if closed { NotTaken::Closed } else { NotTaken::Full };
                    return Err(why(envelope));
                }
            }
        }
        self.ring();
        self.answer_behind_door(first_id).map_or(Ok(()), |own| Err(NotTaken::Closed(own)))
    }

    fn latch_unless_forked(&self) -> Option<MutexGuard<'_, Latch>> {
        lock_unless(|| self.is_forked(), &self.latch)
    }

    /// A request closes the door even before the controller knows of it, so that whoever has made
    /// the request, or sees that somebody has, hands nothing over after it.
    fn draw_ids(self: &Arc<Self>, count: usize, is_own: IsOwnBody) -> Option<u64> {
        let mut latch = self.latch_unless_forked()?;
        let first = latch.next_id;
        latch.next_id += count as u64;
        let drains = self.drain_asked.load(Ordering::Acquire);
        let open = !self.is_shutting_down() && (!drains || is_own(self));
        open.then_some(first)
    }

    /// If the door has closed since a submission began, the controller may have looked into the
    /// intake for the last time before the submission was there. So the caller looks as well, and
    /// answers every submission it finds; its own is returned.
    fn answer_behind_door(&self, own_id: u64) -> Option<Envelope> {
        let mut latch = self.latch_unless_forked().filter(|latch| latch.closed)?;
        // Under the lock, so that a count finds each of them either here or in the intake.
        let (own, others): (Vec<_>, Vec<_>) =
            self.behind_door.try_iter().partition(|found| found.first_id() == own_id);
        for other in &others {
            latch.refused.0 += other.len();
            latch.refused.1 += other.lost();
        }
        drop(latch);

        others.into_iter().for_each(Envelope::refuse);
        own.into_iter().next()
    }

    /// The number of submissions that callers answered behind the closed door, and of those among
    /// them whose specs nobody got back.
    pub(crate) fn refused_behind_door(&self) -> (usize, usize) {
        self.latch.lock().refused
    }

    /// From now on only the supervisor's own bodies may hand something over. What others have begun
    /// to hand over before is taken.
    pub(crate) fn close_to_others(&self) {
        self.drain_asked.store(true, Ordering::Release);
    }

    /// From now on nothing is accepted. The controller empties the intake after this.
    pub(crate) fn close(&self) {
        self.shutdown_asked.store(true, Ordering::Release);
        self.latch.lock().closed = true;
    }

    /// Takes the submissions out of the intake, for the controller to refuse.
    pub(crate) fn empty_intake(&self) -> impl Iterator<Item = Envelope> + '_ {
        self.behind_door.try_iter()
    }

    /// Sends the controller a fact. Never waits. After the controller has ended, the fact is
    /// dropped here, because a thread that hangs for ever keeps the channel open.
    pub(crate) fn post(&self, fact: Fact) {
        if !self.nobody_listens.load(Ordering::Relaxed) {
            let _ = self.facts.try_send(fact);
            self.ring();
        }
    }

    /// Sends a request; false if the supervisor has ended.
    pub(crate) fn send(&self, request: Request) -> bool {
        let sent = self.requests.try_send(request).is_ok();
        self.ring();
        sent
    }

    fn ring(&self) {
        self.bell.ring(|| !self.is_forked());
    }

    /// The controller, or whoever starts it: sleeps until there is a message, or until `due`.
    pub(crate) fn sleep(&self, due: RealTime, has_message: impl FnOnce() -> bool) {
        self.bell.sleep(&self.clock.real, due, has_message);
    }

    /// A hook was registered: makes sure that there is a thread to run it.
    pub(crate) fn want_last_resort(&self) {
        if !self.last_resort_asked.load(Ordering::Relaxed)
            && !self.last_resort_asked.swap(true, Ordering::AcqRel)
        {
            self.post(Fact::LastResortWanted);
        }
    }

    /// The thread was refused: the next hook asks again.
    pub(crate) fn last_resort_refused(&self) {
        self.last_resort_asked.store(false, Ordering::Release);
    }

    /// Requests a drain.
    pub(crate) fn request_drain(&self, limit: Duration) {
        self.drain_asked.store(true, Ordering::Release);
        self.send(Request::Drain(limit));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_asked.load(Ordering::Acquire) && !self.is_shutting_down()
    }

    /// Requests a shutdown; only the first call sends the request.
    pub(crate) fn request_shutdown(&self, cause: ShutdownCause) {
        if !self.shutdown_asked.swap(true, Ordering::AcqRel) {
            self.send(Request::Shutdown(cause));
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown_asked.load(Ordering::Acquire)
    }

    /// Whether a shutdown is under way, in which every body is told soon, or was.
    pub(crate) fn stops_bodies(&self) -> bool {
        self.is_shutting_down() && !self.nobody_listens.load(Ordering::Relaxed)
    }

    /// The controller has ended. The first report counts.
    pub(crate) fn end(&self, report: RunReport) {
        self.nobody_listens.store(true, Ordering::Relaxed);
        self.report.lock().get_or_insert_with(|| Arc::new(report));
        self.ended.notify_all();
    }

    /// Blocks until the controller has ended.
    pub(crate) fn wait_ended(&self) -> Arc<RunReport> {
        let mut slot = self.report.lock();
        loop {
            if let Some(report) = &*slot {
                return Arc::clone(report);
            }
            self.ended.wait(&mut slot);
        }
    }

    /// Blocks until the controller has ended or `span` has passed.
    pub(crate) fn wait_ended_for(&self, span: Duration) {
        let clock = &self.clock.real;
        let due = clock.now().after(span);
        let mut slot = self.report.lock();
        while slot.is_none() && clock.now() < due {
            match clock.instant(due) {
                Some(instant) => {
                    self.ended.wait_until(&mut slot, instant);
                }
                None => self.ended.wait(&mut slot),
            }
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_posted_after_the_end_is_not_kept() {
        let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
        door.post(Fact::LastResortWanted);
        door.end(RunReport::of_nothing(ShutdownCause::Requested));
        door.post(Fact::LastResortWanted);
        assert_eq!(inbox.facts.len(), 1);
    }

    #[test]
    fn a_request_closes_the_door_before_the_controller_knows_of_it() {
        let offer = |door: &Arc<Door>, is_own: IsOwnBody| {
            let spec = TaskSpec::once("late", |_| Ok(()));
            let policy = AdmissionPolicy::DropIfRunning;
            let taken = door.hand_over(spec, policy, OnRefusal::GiveBack, WhenFull::GiveUp, is_own);
            let batch = vec![TaskSpec::once("late", |_| Ok(()))];
            let all = door.hand_over_batch(batch, None, policy, is_own);
            assert_eq!(taken.is_ok(), all.is_ok());
            !matches!(taken, Err(NotTaken::Closed(_)))
        };
        let (door, _inbox) = Door::new(ModelClock::start_now(), 8, ClassNames::default());
        assert!(offer(&door, |_| false));
        door.request_drain(Duration::MAX);
        assert!(!offer(&door, |_| false));
        assert!(offer(&door, |_| true));
        door.request_shutdown(ShutdownCause::Requested);
        assert!(!offer(&door, |_| true));
    }
}
