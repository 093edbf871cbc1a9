//! What subscribers are told. Events only observe: nothing depends on whether they are read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::output::error::TaskError;
use crate::output::mark::Mark;
use crate::output::outcome::Outcome;
use crate::platform::stall::Stall;
use crate::platform::user_value::UserValue;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::label::labels;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{CancelReason, FailureCause, Rejection, ShutdownCause};

/// Receives events, on a thread of the supervisor that runs nothing but subscribers.
///
/// A slow callback delays the other subscribers of its lane and, once the lane is full, makes them
/// lose events; it never delays a task. A panic in a callback is caught and reported as an event.
/// Callbacks may use a [`SupervisorHandle`](crate::SupervisorHandle), but waiting for the
/// supervisor itself fails with `WouldDeadlock`.
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use threadvisor::prelude::*;
/// struct Names(Arc<Mutex<Vec<&'static str>>>);
/// impl Subscribe for Names {
///     fn on_event(&mut self, event: &Event) {
///         self.0.lock().unwrap().push(event.kind.label());
///     }
/// }
/// let names = Arc::new(Mutex::new(Vec::new()));
/// let supervisor = Supervisor::builder().subscriber(Names(Arc::clone(&names))).start()?;
/// supervisor.run([TaskSpec::once("a", |_| Ok(()))])?;
/// assert!(names.lock().unwrap().contains(&"attempt_succeeded"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Subscribe: Send {
    /// Is called for each event, one at a time, in the order of [`Event::seq`], except that
    /// [`EventKind::SubscriberOverflow`] comes as soon as the lane moves again.
    fn on_event(&mut self, event: &Event);

    /// Returns the name for reports about this subscriber. It is read once, at the start. Default:
    /// the name of the type.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

/// A subscriber that a supervisor keeps.
pub(crate) type Subscriber = UserValue<Box<dyn Subscribe>>;

/// Tells subscribers of one thing that happened. It is displayed as one line of `key=value` pairs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The event's place in the one causal order of its supervisor, from 1.
    /// [`EventKind::SubscriberOverflow`] carries the place of the first event that was lost.
    pub seq: u64,
    /// The time, by the wall clock, at which the controller learnt of it. What the controller
    /// learns together has the same time.
    pub at: SystemTime,
    /// The same moment, counted from the supervisor's start.
    pub since_start: Duration,
    /// The task it is about; `None` if it is about the supervisor.
    pub task: Option<TaskRef>,
    /// What happened.
    pub kind: EventKind,
}

/// Says what happened. Each variant has only its own fields; they are listed in the order of a
/// task's life, and what concerns the supervisor as a whole comes last.
///
/// Each attempt that began has exactly one terminal event: `AttemptSucceeded`, `AttemptCancelled`,
/// `AttemptFailed`, `AttemptPanicked`, `AttemptTimedOut`, `AttemptUnresponsive` or
/// `AttemptAbandoned`. The attempts of one task are numbered from 1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A submission was taken from the intake. This is the first event of a task.
    Submitted {
        /// What is to happen if its slot is busy.
        policy: AdmissionPolicy,
    },
    /// The task waits for its slot. It is admitted or rejected later.
    Queued {
        /// The number of submissions that wait there, this one included.
        depth: usize,
    },
    /// The task became the owner of its slot, or has none.
    Admitted,
    /// The submission will never run. This is the last event of its task.
    Rejected {
        /// Why it was rejected.
        why: Rejection,
    },
    /// The task could start, but all permits are held.
    WaitingForPermit,
    /// A thread took the attempt up, and the body runs.
    AttemptStarting {
        /// The number of the attempt.
        attempt: u64,
    },
    /// The attempt passed its deadline and was told to return.
    AttemptOverdue {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body has run.
        ran: Duration,
    },
    /// The attempt gave no sign of life for as long as its watchdog allows.
    AttemptSilent {
        /// The number of the attempt.
        attempt: u64,
        /// The least time for which it has been silent.
        silent_for: Duration,
        /// Where the body last said it was.
        mark: Option<Mark>,
    },
    /// A silent attempt gave a sign of life again.
    AttemptResponsive {
        /// The number of the attempt.
        attempt: u64,
    },
    /// The kernel was asked about an attempt that is silent, overdue or abandoned. Linux only.
    StallReport {
        /// The number of the attempt.
        attempt: u64,
        /// What its thread is doing.
        stall: Stall,
    },
    /// A cancel hook has run for more than 100 ms.
    HookSlow {
        /// The number of the attempt that registered the hook.
        attempt: u64,
        /// How long the hook has run.
        ran: Duration,
    },
    /// A cancel hook panicked.
    HookPanicked {
        /// The number of the attempt that registered the hook.
        attempt: u64,
        /// The message of the panic.
        message: Arc<str>,
    },
    /// The body returned `Ok`.
    AttemptSucceeded {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return; `None` if it had not.
        told: Option<CancelReason>,
    },
    /// The body returned an error after it was told to return, or ended its task on purpose.
    AttemptCancelled {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return; `None` if it ended itself.
        told: Option<CancelReason>,
        /// What it returned; `None` if that was its token's own `Cancelled`.
        error: Option<TaskError>,
    },
    /// The body returned an error.
    AttemptFailed {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// What it returned.
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
    /// The body returned after it was told that its deadline had passed.
    AttemptTimedOut {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// How long after its deadline it returned.
        late_by: Duration,
        /// Whether it returned `Ok`, which is a failure all the same.
        returned_ok: bool,
        /// What it returned; `None` if that was `Ok`.
        error: Option<TaskError>,
    },
    /// The body returned after it was told that it gave no sign of life.
    AttemptUnresponsive {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Whether it returned `Ok`, which is a failure all the same.
        returned_ok: bool,
        /// What it returned; `None` if that was `Ok`.
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
        /// The name of the thread it runs on.
        thread: Option<Arc<str>>,
        /// Where the body last said it was.
        mark: Option<Mark>,
        /// Whether its slot and permit were given up, by `AbandonPolicy::Release`. Otherwise they
        /// stay held until the body returns.
        released: bool,
    },
    /// The body of an abandoned attempt came back after all. Its result changes nothing.
    AttemptReturned {
        /// The number of the attempt.
        attempt: u64,
        /// How long after it was abandoned.
        late_by: Duration,
        /// Whether it returned `Ok`.
        returned_ok: bool,
        /// What it returned; `None` if that was `Ok`.
        error: Option<TaskError>,
    },
    /// A retry follows the failure of this attempt.
    RetryScheduled {
        /// The number of the attempt that failed.
        attempt: u64,
        /// How long until the next attempt.
        delay: Duration,
        /// How the attempt failed.
        cause: FailureCause,
    },
    /// Another attempt follows the success of this one.
    RunScheduled {
        /// The number of the attempt that succeeded.
        attempt: u64,
        /// How long until the next attempt.
        delay: Duration,
    },
    /// The owner of the slot is on its way out, or no longer. That a slot got an owner or became
    /// idle is told by `Admitted` and `TaskEnded`.
    SlotTransition {
        /// True once the owner's stop was recorded or the owner was abandoned; false once that is
        /// over.
        terminating: bool,
    },
    /// The task has its outcome. This is the last event of a task that was admitted, except for
    /// what its slot and an abandoned attempt still have to tell.
    TaskEnded {
        /// How the task ended.
        outcome: Outcome,
    },
    /// The destructor of a body, an error or another value of the user panicked. Nothing else
    /// changes.
    DropPanicked {
        /// The message of the panic.
        message: Arc<str>,
    },
    /// The system refused a thread. It is requested again later, and nothing is lost.
    ThreadRefused {
        /// What the system said, or what `on_thread_start` returned, as a text.
        error: Arc<std::io::Error>,
        /// How long until the next request.
        retry_in: Duration,
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
    /// The supervisor begins to shut down: the door is closed, and everything is told to stop.
    ShutdownRequested {
        /// The first request.
        cause: ShutdownCause,
    },
    /// Every task has its outcome. This is the last event of a supervisor, except for what is found
    /// out about threads that are stuck.
    ShutdownEnded,
}

labels!(EventKind {
    Self::Submitted { .. } => "submitted",
    Self::Queued { .. } => "queued",
    Self::Admitted => "admitted",
    Self::Rejected { .. } => "rejected",
    Self::WaitingForPermit => "waiting_for_permit",
    Self::AttemptStarting { .. } => "attempt_starting",
    Self::AttemptOverdue { .. } => "attempt_overdue",
    Self::AttemptSilent { .. } => "attempt_silent",
    Self::AttemptResponsive { .. } => "attempt_responsive",
    Self::StallReport { .. } => "stall_report",
    Self::HookSlow { .. } => "hook_slow",
    Self::HookPanicked { .. } => "hook_panicked",
    Self::AttemptSucceeded { .. } => "attempt_succeeded",
    Self::AttemptCancelled { .. } => "attempt_cancelled",
    Self::AttemptFailed { .. } => "attempt_failed",
    Self::AttemptPanicked { .. } => "attempt_panicked",
    Self::AttemptTimedOut { .. } => "attempt_timed_out",
    Self::AttemptUnresponsive { .. } => "attempt_unresponsive",
    Self::AttemptAbandoned { .. } => "attempt_abandoned",
    Self::AttemptReturned { .. } => "attempt_returned",
    Self::RetryScheduled { .. } => "retry_scheduled",
    Self::RunScheduled { .. } => "run_scheduled",
    Self::SlotTransition { .. } => "slot_transition",
    Self::TaskEnded { .. } => "task_ended",
    Self::DropPanicked { .. } => "drop_panicked",
    Self::ThreadRefused { .. } => "thread_refused",
    Self::SubscriberOverflow { .. } => "subscriber_overflow",
    Self::SubscriberPanicked { .. } => "subscriber_panicked",
    Self::ShutdownRequested { .. } => "shutdown_requested",
    Self::ShutdownEnded => "shutdown_ended",
});

impl EventKind {
    /// Returns the number of the attempt it is about; `None` if it is not about one.
    pub const fn attempt(&self) -> Option<u64> {
        match self {
            Self::AttemptStarting { attempt }
            | Self::AttemptOverdue { attempt, .. }
            | Self::AttemptSilent { attempt, .. }
            | Self::AttemptResponsive { attempt }
            | Self::StallReport { attempt, .. }
            | Self::HookSlow { attempt, .. }
            | Self::HookPanicked { attempt, .. }
            | Self::AttemptSucceeded { attempt, .. }
            | Self::AttemptCancelled { attempt, .. }
            | Self::AttemptFailed { attempt, .. }
            | Self::AttemptPanicked { attempt, .. }
            | Self::AttemptTimedOut { attempt, .. }
            | Self::AttemptUnresponsive { attempt, .. }
            | Self::AttemptAbandoned { attempt, .. }
            | Self::AttemptReturned { attempt, .. }
            | Self::RetryScheduled { attempt, .. }
            | Self::RunScheduled { attempt, .. } => Some(*attempt),
            Self::Submitted { .. }
            | Self::Queued { .. }
            | Self::Admitted
            | Self::Rejected { .. }
            | Self::WaitingForPermit
            | Self::SlotTransition { .. }
            | Self::TaskEnded { .. }
            | Self::DropPanicked { .. }
            | Self::ThreadRefused { .. }
            | Self::SubscriberOverflow { .. }
            | Self::SubscriberPanicked { .. }
            | Self::ShutdownRequested { .. }
            | Self::ShutdownEnded => None,
        }
    }

    /// Whether it is about a subscriber. A panic while handling such an event is not reported
    /// again.
    pub(crate) const fn is_diagnostic(&self) -> bool {
        matches!(self, Self::SubscriberOverflow { .. } | Self::SubscriberPanicked { .. })
    }
}
