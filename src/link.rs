//! The link between handles and the controller: the door, the intake behind it, the requests, and
//! the end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Cell;
use crate::clock::Clock;
use crate::id::TaskId;
use crate::linger::Linger;
use crate::outcome::Outcome;
use crate::policy::AdmissionPolicy;
use crate::reason::{Rejection, ShutdownCause, TaskState};
use crate::record::{Decision, Promise, Record};
use crate::report::{Failure, RunReport};
use crate::snapshot::Snapshot;
use crate::spec::TaskSpec;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::{self, Receiver, Sender, TrySendError};
use crate::sync::{Condvar, Mutex};
use crate::time::Time;
use crate::unwind;

pub(crate) struct Link {
    pub(crate) clock: Clock,
    /// Of those who wait for the end of a task.
    pub(crate) linger: Linger,
    door: Mutex<Door>,
    intake: Sender<Envelope>,
    /// A receiver of our own, so that whoever finds the door closed behind a submission can answer
    /// for it.
    behind_door: Receiver<Envelope>,
    requests: Sender<Request>,
    shutdown_asked: AtomicBool,
    /// The thread of last resort for hooks exists, or was asked for.
    hook_thread_asked: AtomicBool,
    report: Mutex<Option<Arc<RunReport>>>,
    ended: Condvar,
}

/// Ids are drawn where the door is seen to be open. A lock, since 64-bit atomics are not
/// everywhere.
struct Door {
    closed: bool,
    next_id: u64,
    /// Submissions that other callers have answered instead of the controller.
    refused: usize,
}

/// The controller's ends of the channels.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) intake: Receiver<Envelope>,
    pub(crate) requests: Receiver<Request>,
}

/// One hand-over: a submission, or a batch to be admitted all or none. Dropped unanswered, it says
/// that its tasks were lost.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) entries: Entries,
    pub(crate) policy: AdmissionPolicy,
    pub(crate) submitted_at: Time,
}

/// Most hand-overs are of one task, and should not pay for a list.
#[derive(Debug)]
pub(crate) enum Entries {
    One(Entry),
    Batch(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spec: TaskSpec,
    pub(crate) promise: Promise,
    /// The caller waits for the decision and wants a refused spec back.
    pub(crate) returns_spec: bool,
}

/// What a caller asks of the controller. Each reply is sent without blocking.
pub(crate) enum Request {
    Cancel(Arc<Record>),
    CancelSlot(String, Sender<SlotCancelled>),
    /// A destructor that ran wherever the last reference to a record was given up.
    DropPanicked {
        message: String,
    },
    Flush(Sender<Option<Receiver<()>>>),
    HookPanicked {
        cell: Arc<Cell>,
        message: String,
    },
    HookSlow {
        cell: Arc<Cell>,
        ran: Duration,
    },
    HookThread,
    Idle {
        or_shutdown: bool,
        reply: Sender<()>,
    },
    /// A hook that was hung up late is to be run again.
    Nudge {
        cell: Arc<Cell>,
        due: Time,
    },
    Owner(String, Sender<Option<Arc<Record>>>),
    Restart(Arc<Record>, Sender<bool>),
    Shutdown(ShutdownCause),
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        allow(dead_code, reason = "only a signal makes one")
    )]
    Signal(i32),
    SkipWait(Arc<Record>, Sender<bool>),
    Snapshot(Sender<Snapshot>),
    State(Arc<Record>, Sender<TaskState>),
    Task(TaskId, Sender<Option<Arc<Record>>>),
}

/// What `Handle::cancel_slot` found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotCancelled {
    /// Whether the slot had an owner that had not been asked to stop before.
    pub owner_asked: bool,
    /// How many waiting submissions were removed.
    pub removed: usize,
}

/// Why a hand-over did not happen.
#[derive(Debug)]
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

impl Request {
    /// The record that came with it.
    pub(crate) fn into_record(self) -> Option<Arc<Record>> {
        match self {
            Self::Cancel(record)
            | Self::Restart(record, _)
            | Self::SkipWait(record, _)
            | Self::State(record, _) => Some(record),
            Self::HookPanicked { cell, .. }
            | Self::HookSlow { cell, .. }
            | Self::Nudge { cell, .. } => Some(Arc::clone(&cell.record)),
            Self::CancelSlot(..)
            | Self::DropPanicked { .. }
            | Self::Flush(_)
            | Self::HookThread
            | Self::Idle { .. }
            | Self::Owner(..)
            | Self::Shutdown(_)
            | Self::Signal(_)
            | Self::Snapshot(_)
            | Self::Task(..) => None,
        }
    }
}

impl Entry {
    fn new(link: &Arc<Link>, id: u64, spec: TaskSpec, returns_spec: bool) -> Self {
        let (link, id) = (Arc::clone(link), TaskId::new(id));
        let record = Record::new(link, id, spec.shared_name(), spec.shared_slot());
        Self { spec, promise: Promise(Arc::new(record)), returns_spec }
    }
}

impl Link {
    pub(crate) fn new(clock: Clock, intake_capacity: usize) -> (Arc<Self>, Inbox) {
        let (intake, behind_door) = channel::bounded(intake_capacity);
        let (requests, asked) = channel::unbounded();
        let inbox = Inbox { intake: behind_door.clone(), requests: asked };
        let link = Self {
            clock,
            linger: Linger::default(),
            door: Mutex::new(Door { closed: false, next_id: 1, refused: 0 }),
            intake,
            behind_door,
            requests,
            shutdown_asked: AtomicBool::new(false),
            hook_thread_asked: AtomicBool::new(false),
            report: Mutex::new(None),
            ended: Condvar::new(),
        };
        (Arc::new(link), inbox)
    }

    /// The link to a supervisor that has ended.
    pub(crate) fn ended() -> Arc<Self> {
        let (link, _inbox) = Self::new(Clock::start_now(), 1);
        link.close_door();
        link.end(RunReport::of_nothing(ShutdownCause::Requested));
        link
    }

    /// Puts a spec into the intake; waits for room unless `blocking` is false.
    pub(crate) fn hand_over(
        self: &Arc<Self>,
        spec: TaskSpec,
        policy: AdmissionPolicy,
        returns_spec: bool,
        blocking: bool,
    ) -> Result<Arc<Record>, NotTaken<TaskSpec>> {
        let Some(id) = self.draw_ids(1) else { return Err(NotTaken::Closed(spec)) };
        let entry = Entry::new(self, id, spec, returns_spec);
        let record = Arc::clone(&entry.promise.0);
        self.put(Entries::One(entry), id, policy, blocking)
            .map(|()| record)
            .map_err(|not_taken| not_taken.map(|mut entries| entries.remove(0)))
    }

    /// Puts specs into the intake, to be admitted all or none; waits for room.
    pub(crate) fn hand_over_batch(
        self: &Arc<Self>,
        specs: Vec<TaskSpec>,
        policy: AdmissionPolicy,
    ) -> Result<Vec<Arc<Record>>, NotTaken<Vec<TaskSpec>>> {
        let Some(first) = self.draw_ids(specs.len()) else { return Err(NotTaken::Closed(specs)) };
        let entries = (first..).zip(specs).map(|(id, spec)| Entry::new(self, id, spec, true));
        let entries: Vec<_> = entries.collect();
        let records = entries.iter().map(|entry| Arc::clone(&entry.promise.0)).collect();
        self.put(Entries::Batch(entries), first, policy, true).map(|()| records)
    }

    fn put(
        &self,
        entries: Entries,
        first_id: u64,
        policy: AdmissionPolicy,
        blocking: bool,
    ) -> Result<(), NotTaken<Vec<TaskSpec>>> {
        let envelope = Envelope { entries, policy, submitted_at: self.clock.now() };
        if blocking {
            // Cannot fail: we hold a receiver.
            let _ = self.intake.send(envelope);
        } else if let Err(TrySendError::Full(envelope) | TrySendError::Disconnected(envelope)) =
            self.intake.try_send(envelope)
        {
            let specs = envelope.into_specs();
            // What fills it now will be refused: whoever comes again finds nothing better.
            let closed = self.door.lock().closed;
            return Err(if closed { NotTaken::Closed(specs) } else { NotTaken::Full(specs) });
        }
        match self.answer_behind_door(first_id) {
            Some(own) => Err(NotTaken::Closed(own.into_specs())),
            None => Ok(()),
        }
    }

    fn draw_ids(&self, count: usize) -> Option<u64> {
        let mut door = self.door.lock();
        let first = door.next_id;
        door.next_id += count as u64;
        (!door.closed).then_some(first)
    }

    /// If the door closed behind a submission, the controller may have looked into the intake for
    /// the last time before the submission lay there. So whoever put it there looks as well, and
    /// answers all it finds; its own comes back.
    fn answer_behind_door(&self, own_id: u64) -> Option<Envelope> {
        let mut door = self.door.lock();
        if !door.closed {
            return None;
        }
        // Under the lock, so that whoever counts finds each of them here or in the intake.
        let (own, others): (Vec<_>, Vec<_>) =
            self.behind_door.try_iter().partition(|found| found.first_id() == Some(own_id));
        door.refused += others.iter().map(Envelope::len).sum::<usize>();
        drop(door);
        // The caller's own call must not fail by another's destructor.
        for spec in others.into_iter().flat_map(Envelope::refuse) {
            let _ = unwind::drop_caught(spec);
        }
        own.into_iter().next()
    }

    /// How many submissions were answered behind the door.
    pub(crate) fn refused_behind_door(&self) -> usize {
        self.door.lock().refused
    }

    /// Nothing is accepted any more. The controller empties the intake after this.
    pub(crate) fn close_door(&self) {
        self.shutdown_asked.store(true, Ordering::Release);
        self.door.lock().closed = true;
    }

    /// What lies in the intake, for the controller to refuse.
    pub(crate) fn empty_intake(&self) -> impl Iterator<Item = Envelope> + '_ {
        self.behind_door.try_iter()
    }

    /// Sends a request; false if the supervisor has ended.
    pub(crate) fn send(&self, request: Request) -> bool {
        self.requests.send(request).is_ok()
    }

    /// Sends a request and waits for its answer, which the controller gives without waiting for
    /// anything. `None` if the supervisor has ended.
    pub(crate) fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = channel::bounded(1);
        self.requests.send(request(reply)).ok()?;
        answer.recv().ok()
    }

    /// A hook was hung up: makes sure that there will be a thread to run it.
    pub(crate) fn want_hook_thread(&self) {
        if !self.hook_thread_asked.load(Ordering::Relaxed)
            && !self.hook_thread_asked.swap(true, Ordering::AcqRel)
        {
            self.send(Request::HookThread);
        }
    }

    /// The thread was refused: the next hook asks again.
    pub(crate) fn hook_thread_refused(&self) {
        self.hook_thread_asked.store(false, Ordering::Release);
    }

    /// Asks for shutdown; sends only the first time.
    pub(crate) fn request_shutdown(&self, cause: ShutdownCause) {
        if !self.shutdown_asked.swap(true, Ordering::AcqRel) {
            self.send(Request::Shutdown(cause));
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown_asked.load(Ordering::Acquire)
    }

    /// The controller has ended. The first report counts.
    pub(crate) fn end(&self, report: RunReport) {
        let mut slot = self.report.lock();
        if slot.is_none() {
            *slot = Some(Arc::new(report));
        }
        self.ended.notify_all();
    }

    /// The user values that nobody else can reach any more.
    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        let last = self.report.get_mut().take().and_then(Arc::into_inner);
        last.map(|report| report.failures).unwrap_or_default()
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
        let due = self.clock.now().after(span);
        let mut slot = self.report.lock();
        while slot.is_none() && self.clock.now() < due {
            match self.clock.instant(due) {
                Some(instant) => {
                    self.ended.wait_until(&mut slot, instant);
                }
                None => self.ended.wait(&mut slot),
            }
        }
    }
}

/// Each error in the report is a user value that may panic when dropped; two at once must not.
impl Drop for Link {
    fn drop(&mut self) {
        for failure in self.take_failures() {
            let _ = unwind::drop_caught(failure);
        }
    }
}

impl Envelope {
    fn first_id(&self) -> Option<u64> {
        let first = match &self.entries {
            Entries::One(entry) => Some(entry),
            Entries::Batch(entries) => entries.first(),
        };
        first.map(|entry| entry.promise.0.id.get())
    }

    /// How many submissions it carries.
    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::One(_) => 1,
            Entries::Batch(entries) => entries.len(),
        }
    }

    /// Refuses everything: the door was closed. What nobody waits for comes back, to be dropped
    /// where user code may run.
    #[must_use = "user values must not be dropped on the controller"]
    pub(crate) fn refuse(self) -> Vec<TaskSpec> {
        let why = Rejection::ShuttingDown;
        let mut left = Vec::new();
        for Entry { spec, promise, returns_spec } in self.into_entries() {
            let record = Arc::clone(&promise.0);
            if returns_spec {
                record.decide(Decision::Rejected(why), Some(spec));
            } else {
                record.decide(Decision::Rejected(why), None);
                left.push(spec);
            }
            record.end(Outcome::Rejected(why));
        }
        left
    }

    fn into_specs(self) -> Vec<TaskSpec> {
        self.into_entries().into_iter().map(|entry| entry.spec).collect()
    }

    fn into_entries(self) -> Vec<Entry> {
        match self.entries {
            Entries::One(entry) => vec![entry],
            Entries::Batch(entries) => entries,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel(_) => "Cancel",
            Self::CancelSlot(..) => "CancelSlot",
            Self::DropPanicked { .. } => "DropPanicked",
            Self::Flush(_) => "Flush",
            Self::HookPanicked { .. } => "HookPanicked",
            Self::HookSlow { .. } => "HookSlow",
            Self::HookThread => "HookThread",
            Self::Idle { .. } => "Idle",
            Self::Nudge { .. } => "Nudge",
            Self::Owner(..) => "Owner",
            Self::Restart(..) => "Restart",
            Self::Shutdown(_) => "Shutdown",
            Self::Signal(_) => "Signal",
            Self::SkipWait(..) => "SkipWait",
            Self::Snapshot(_) => "Snapshot",
            Self::State(..) => "State",
            Self::Task(..) => "Task",
        })
    }
}
