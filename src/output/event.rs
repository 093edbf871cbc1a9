//! Events, which subscribers receive. They only observe: nothing depends on whether they are read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::output::error::TaskError;
use crate::output::hook::HookSource;
use crate::output::mark::Mark;
use crate::output::outcome::Outcome;
use crate::platform::stall::Stall;
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::not_retried::NotRetried;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{CancelReason, FailureCause, Rejection, ShutdownCause, StopReason};
use crate::vocabulary::signal::Signal;

/// Describes one thing that happened. An event is displayed as one line of `key=value` pairs.
///
/// ```
/// # use threadvisor::prelude::*;
/// let (say, said) = std::sync::mpsc::channel();
/// let supervisor = Supervisor::builder()
///     .on_event(move |event| { let _ = say.send(event.to_string()); })
///     .start()?;
/// supervisor.run([TaskSpec::once("job", |_| Ok(()))])?;
/// let first = said.recv()?; // t=0.000041 event=submitted task=job id=#1 policy=drop_if_running
/// assert!(first.contains(" event=submitted task=job id=#1 "), "{first}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Event {
    /// The number of the event in the single causal order of its supervisor, from 1.
    /// [`EventKind::SubscriberOverflow`] has the number of the first lost event.
    pub seq: u64,
    /// The wall-clock time at which the controller learnt of it. Everything that the controller
    /// learns in one turn has the same time.
    pub at: SystemTime,
    /// The same moment on the monotonic clock, counted from the supervisor's start. With a
    /// [`ManualClock`](crate::ManualClock), it is the time of that clock, while `at` stays real.
    pub since_start: Duration,
    /// The task that the event is about; `None` if it is about the supervisor.
    pub task: Option<TaskRef>,
    /// The name of the group that the event is about, or of the task's group; `None` if there is
    /// none.
    pub group: Option<Arc<str>>,
    /// What happened.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub kind: EventKind,
}

impl Event {
    /// Returns an event of this kind, to test a subscriber by itself. It is about a task named
    /// `sample`; every field can be changed.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let mut count = 0;
    /// let mut subscriber = |event: &Event| count += u32::from(event.kind.label() == "admitted");
    /// subscriber(&Event::sample(EventKind::Admitted));
    /// assert_eq!(count, 1);
    /// ```
    pub fn sample(kind: EventKind) -> Self {
        let name: Arc<str> = Arc::from("sample");
        let task = TaskRef { id: TaskId::new(1), name: Arc::clone(&name), slot: Some(name) };
        let (at, since_start) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
        Self { seq: 1, at, since_start, task: Some(task), group: None, kind }
    }
}

/// Says what happened. The variants about a task come first, in the order of a task's life; those
/// about a group follow, and those about the supervisor come last.
///
/// Each attempt that began has exactly one terminal event: `AttemptSucceeded`, `AttemptCancelled`,
/// `AttemptFailed`, `AttemptPanicked`, `AttemptTimedOut`, `AttemptUnresponsive` or
/// `AttemptAbandoned`. The attempts of one task are numbered from 1.
///
/// ```
/// # use threadvisor::prelude::*;
/// /// How many attempts have failed.
/// fn count(failed: &mut u32, event: &Event) {
///     if let EventKind::AttemptFailed { .. } | EventKind::AttemptPanicked { .. } = event.kind {
///         *failed += 1;
///     }
/// }
/// let mut failed = 0;
/// count(&mut failed, &Event::sample(EventKind::Admitted));
/// assert_eq!((failed, EventKind::Admitted.label()), (0, "admitted"));
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// A submission was taken from the intake. This is the first event of a task.
    Submitted {
        /// What happens to the submission if its slot is busy.
        policy: AdmissionPolicy,
    },
    /// The task waits for its slot. It is admitted, rejected or cancelled later.
    Queued {
        /// The number of submissions in the slot's queue, including this one.
        depth: usize,
    },
    /// The task became the owner of its slot, or has no slot.
    Admitted,
    /// The submission will never run. This is the last event of its task, except for one about its
    /// slot.
    Rejected {
        /// Why it was rejected.
        why: Rejection,
    },
    /// The task could start, but all permits are held.
    WaitingForPermit {
        /// The class of which all permits are held; `None` for the permits to run.
        class: Option<Arc<str>>,
    },
    /// A thread took the attempt up, and the body runs.
    AttemptStarting {
        /// The number of the attempt.
        attempt: u64,
        /// The name of the thread that runs it.
        thread: Option<Arc<str>>,
    },
    /// The attempt was told to return: its token is cancelled, and its hooks are about to run.
    AttemptStopping {
        /// The number of the attempt.
        attempt: u64,
        /// Why it was told to return.
        reason: CancelReason,
        /// How long the body has to return; `None` for no limit.
        grace: Option<Duration>,
    },
    /// The attempt passed its deadline, or has not said in time that it is ready, and was told to
    /// return.
    AttemptOverdue {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body has run.
        ran: Duration,
        /// The [`ready_within`](crate::TaskSpec::ready_within) that it missed; `None` if it passed
        /// its deadline.
        ready_within: Option<Duration>,
    },
    /// The attempt has given no sign of life for as long as its watchdog allows.
    AttemptSilent {
        /// The number of the attempt.
        attempt: u64,
        /// How long it has been silent, at least.
        silent_for: Duration,
        /// The last mark of the body.
        mark: Option<Mark>,
    },
    /// A silent attempt gave a sign of life again.
    AttemptResponsive {
        /// The number of the attempt.
        attempt: u64,
    },
    /// The attempt said that it is [ready](crate::TaskContext::ready).
    AttemptReady {
        /// The number of the attempt.
        attempt: u64,
        /// How long that took, from the moment a thread took the attempt up.
        took: Duration,
    },
    /// The attempt has run for [`stable_after`](crate::TaskSpec::stable_after) after failures of
    /// its task: a body that never returns has no success that could say so.
    AttemptStable {
        /// The number of the attempt.
        attempt: u64,
        /// How many failures the streak had.
        failures: u32,
    },
    /// Many attempts in a row succeeded in a very short time and without an interval. Published
    /// once for a task. Nothing else follows; probably the body should wait for work, or the task
    /// needs [`repeat_after`](crate::TaskSpec::repeat_after).
    AttemptsTooShort {
        /// The number of the latest of these attempts.
        attempt: u64,
        /// How many attempts there were: 100.
        runs: u32,
        /// Each of them was shorter than this: 10 ms.
        within: Duration,
    },
    /// The thread of a silent, overdue or abandoned attempt was examined, or the process that the
    /// attempt runs. Linux only.
    StallReport {
        /// The number of the attempt.
        attempt: u64,
        /// What it is doing.
        stall: Stall,
    },
    /// Something has run for more than 100 ms: the callback of
    /// [`on_signal`](crate::SupervisorBuilder::on_signal), those of
    /// [`on_end`](crate::TaskHandle::on_end) of a task, or the cancel hooks of an attempt. Those
    /// that run one after the other count together.
    HookSlow {
        /// What the hook was registered with.
        source: HookSource,
        /// How long the hook has run.
        ran: Duration,
    },
    /// A cancel hook, or a callback of `on_signal` or `on_end`, panicked.
    HookPanicked {
        /// What the hook was registered with.
        source: HookSource,
        /// The message of the panic.
        message: Arc<str>,
    },
    /// The body has started a process. Feature `process`.
    ProcessStarted {
        /// The number of the attempt.
        attempt: u64,
        /// The number of the process.
        pid: u32,
    },
    /// A process has not ended in time, or has ended and left others behind: all of them are
    /// killed. Feature `process`.
    ProcessKilled {
        /// The number of the attempt.
        attempt: u64,
        /// The number of the process that the body has started.
        pid: u32,
        /// Since when it was asked to stop, what kept it from that, as far as that is known, or who
        /// else is killed.
        why: Arc<str>,
    },
    /// A process that the body has started has ended. Feature `process`.
    ProcessExited {
        /// The number of the attempt.
        attempt: u64,
        /// The number that the process had.
        pid: u32,
        /// Its exit status; `None` if a signal ended it, or if the status was lost.
        code: Option<u8>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// How long it ran.
        ran: Duration,
    },
    /// The body returned `Ok`.
    AttemptSucceeded {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return; `None` if it had not been told.
        told: Option<CancelReason>,
    },
    /// The body returned an error after it was told to return, or ended its task on purpose.
    AttemptCancelled {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return; `None` if it ended its task on purpose.
        told: Option<CancelReason>,
        /// The error that it returned. If it was told, `None` stands for a `Cancelled`. If it ended
        /// its task on purpose, this is its [`TaskError::cancelled`].
        error: Option<TaskError>,
    },
    /// The body returned an error.
    AttemptFailed {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// The error that it returned.
        error: TaskError,
    },
    /// The body panicked.
    AttemptPanicked {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// An error whose text is the message of the panic.
        error: TaskError,
    },
    /// The body returned after it was told of its deadline.
    AttemptTimedOut {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// How long after its deadline it returned.
        late_by: Duration,
        /// Whether it returned `Ok`. The attempt is a failure in any case.
        returned_ok: bool,
        /// The error that it returned; `None` if that was `Ok` or a `Cancelled`. If it missed its
        /// [`ready_within`](crate::TaskSpec::ready_within), an error that says so, with that one as
        /// its source.
        error: Option<TaskError>,
    },
    /// The body returned after it was told that it was unresponsive.
    AttemptUnresponsive {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Whether it returned `Ok`. The attempt is a failure in any case.
        returned_ok: bool,
        /// The error that it returned; `None` if that was `Ok` or a `Cancelled`.
        error: Option<TaskError>,
    },
    /// The body outlived its grace and still runs.
    AttemptAbandoned {
        /// The number of the attempt.
        attempt: u64,
        /// Why it had been told to return.
        reason: CancelReason,
        /// How long the body has run.
        ran: Duration,
        /// The name of the thread that it runs on.
        thread: Option<Arc<str>>,
        /// The last mark of the body.
        mark: Option<Mark>,
        /// Whether its permits were given back, under `AbandonPolicy::Release`, and its slot unless
        /// the task is retried. Otherwise they stay held until the body returns.
        released: bool,
        /// Whether it was to be released, but is held because
        /// [`max_abandoned`](crate::SupervisorBuilder::max_abandoned) are stuck already.
        at_limit: bool,
    },
    /// The body of an abandoned attempt returned after all. Its result changes nothing, except that
    /// a fatal error ends a task that still waits for it.
    AttemptReturned {
        /// The number of the attempt.
        attempt: u64,
        /// How long after its abandonment it returned.
        late_by: Duration,
        /// Whether it returned `Ok`.
        returned_ok: bool,
        /// The error that it returned; `None` if that was `Ok` or a `Cancelled`.
        error: Option<TaskError>,
    },
    /// A retry follows the failure of this attempt.
    RetryScheduled {
        /// The number of the attempt that failed.
        attempt: u64,
        /// How long it takes at least until the next attempt is due. With
        /// [`timer_slack`](crate::SupervisorBuilder::timer_slack) it may start later by that.
        delay: Duration,
        /// How the attempt failed.
        cause: FailureCause,
    },
    /// Another attempt follows the success of this one, even if without an interval.
    RunScheduled {
        /// The number of the attempt that succeeded.
        attempt: u64,
        /// How long it takes at least until the next attempt is due. With
        /// [`timer_slack`](crate::SupervisorBuilder::timer_slack) it may start later by that.
        delay: Duration,
    },
    /// The task was [paused](crate::TaskHandle::pause): an attempt that runs goes on, and no
    /// further one starts.
    TaskPaused,
    /// The task was [resumed](crate::TaskHandle::resume).
    TaskResumed,
    /// The owner of the slot began to terminate, or no longer does. A slot gets an owner with
    /// `Admitted` and loses it with `TaskEnded` or `Rejected`; but an owner that is abandoned under
    /// `Hold` keeps its slot until its body returns or is dropped.
    SlotTransition {
        /// True if the owner was asked to stop, was abandoned or closes; false once that is over.
        terminating: bool,
    },
    /// The body will not run again, and a worker drops it. The outcome follows once it is dropped.
    TaskClosing,
    /// The drop of the body outlived its grace and still runs. The outcome waits no longer.
    ClosingAbandoned {
        /// The name of the thread that it runs on.
        thread: Option<Arc<str>>,
    },
    /// The body is dropped after all.
    ClosingReturned {
        /// How long after its abandonment the drop returned.
        late_by: Duration,
    },
    /// The task has its outcome. This is the last event of an admitted task, except for events
    /// about its slot, its hooks, an abandoned attempt or an abandoned drop.
    TaskEnded {
        /// How the task ended.
        outcome: Outcome,
        /// Why the failure that ended it was not retried; `None` if the task has not failed, or if
        /// its outcome says why: it is `Fatal`, was stopped, or has panicked under another
        /// [`PanicPolicy`](crate::PanicPolicy) than `Failure`.
        not_retried: Option<NotRetried>,
    },
    /// The group was admitted, and its first phase starts.
    GroupStarting,
    /// Every phase of the group is ready. Comes again after each restart.
    GroupReady {
        /// How long that took, from the start or the restart of the group.
        took: Duration,
    },
    /// Members of the group go back, last phase first, and start again in order.
    GroupRestarting {
        /// The member because of which it restarts: it has failed, has returned under `Always`, or
        /// was restarted by hand. `None` if the restart of the group was asked for.
        culprit: Option<TaskRef>,
        /// How often the group has restarted so far, this time included.
        restarts: u32,
    },
    /// The members of the group stop, last phase first.
    GroupStopping {
        /// Why they stop: `Group` if a member has failed for good, or too often.
        why: StopReason,
        /// The member that has failed.
        culprit: Option<TaskRef>,
    },
    /// Every member of the group has its outcome.
    GroupEnded,
    /// The destructor of a body, an error or another user value panicked, or `on_thread_stop` did.
    /// Nothing else changes.
    DropPanicked {
        /// The message of the panic.
        message: Arc<str>,
    },
    /// The system refused a thread. Another try follows, and nothing is lost.
    ThreadRefused {
        /// The error of the system, or the one that `on_thread_start` returned, as a text.
        #[cfg_attr(feature = "serde", serde(with = "crate::output::data::io_error"))]
        error: Arc<std::io::Error>,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// [Required](crate::TaskSpec::required) tasks are not in order. Published once, until all are,
    /// and only if a [`ServiceManager`](crate::ServiceManager) has anything to tell or to write:
    /// when the next message is due or, without a socket, when the controller next hears of
    /// anything or resets the timer of the watchdog. [`is_well`](crate::Snapshot::is_well) says it
    /// at once, and of a sickness that is over by then there is no event.
    ServiceSick {
        /// The required tasks that are not in order.
        tasks: Vec<TaskRef>,
    },
    /// All required tasks are in order again, after `ServiceSick`.
    ServiceWell,
    /// The service manager could not be told something. Published for the first of several failures
    /// in a row.
    NotifyFailed {
        /// The error of the system.
        #[cfg_attr(feature = "serde", serde(with = "crate::output::data::io_error"))]
        error: Arc<std::io::Error>,
    },
    /// The lane of this subscriber was full and lost events.
    SubscriberOverflow {
        /// How many events were lost.
        dropped: u64,
        /// The number of the first lost event.
        first: u64,
        /// The number of the last lost event.
        last: u64,
    },
    /// A subscriber panicked. It stays subscribed.
    SubscriberPanicked {
        /// The name of the subscriber.
        subscriber: Arc<str>,
        /// The message of the panic.
        message: Arc<str>,
    },
    /// A drain began, or one that ends earlier was requested. Only the supervisor's own bodies may
    /// hand over tasks now.
    DrainRequested {
        /// Who asked for it.
        cause: ShutdownCause,
        /// How long it may take; `None` for no limit.
        limit: Option<Duration>,
    },
    /// A shutdown begins: no more submissions are taken, and every task is asked to stop.
    ShutdownRequested {
        /// The first request for a shutdown, or the drain that it ends.
        cause: ShutdownCause,
        /// The task that has ended, if the cause is [`ShutdownCause::TaskEnded`].
        culprit: Option<TaskRef>,
    },
    /// Every task has its outcome. This is the last event of a supervisor, except for events about
    /// stuck threads.
    ShutdownEnded,
}
