//! What subscribers are told. Events observe; nothing depends on them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::output::error::TaskError;
use crate::output::mark::Mark;
use crate::output::outcome::Outcome;
use crate::platform::stall::Stall;
use crate::platform::unwind::UserValue;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{CancelReason, FailureCause, Rejection, ShutdownCause};

/// Receives events, on a thread of the supervisor that runs nothing else.
///
/// A slow callback delays the other subscribers of its lane and, once the lane is full, makes it
/// lose events; it never delays a task. A panic is caught and reported as an event.
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
    /// Called for each event, one at a time, in the order of `seq`; but for
    /// [`EventKind::SubscriberOverflow`], which comes as soon as the lane moves again.
    fn on_event(&mut self, event: &Event);

    /// The name in reports about this subscriber; read once, at the start. Default: the name of the
    /// type.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

/// A subscriber that a supervisor keeps.
pub(crate) type Subscriber = UserValue<Box<dyn Subscribe>>;

/// Something that happened. Shown as one line of `key=value` pairs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The event's place in the one causal order of its supervisor, from 1.
    /// [`EventKind::SubscriberOverflow`] carries the number of the first event that was lost.
    pub seq: u64,
    /// When the controller learnt of it, by the wall clock. What it learns together shares a time.
    pub at: SystemTime,
    /// The same moment, counted from the supervisor's start.
    pub since_start: Duration,
    /// The task it is about, if it is about one.
    pub task: Option<TaskRef>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Each variant has only its own fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A submission was taken from the intake. The first event of a task.
    Submitted {
        /// What should happen if its slot is busy.
        policy: AdmissionPolicy,
    },
    /// The task became the owner of its slot, or had none to wait for.
    Admitted,
    /// The task waits for its slot.
    Queued {
        /// How many wait there, this one included.
        depth: usize,
    },
    /// The submission will never run. The last event of a task.
    Rejected {
        /// Why.
        why: Rejection,
    },
    /// The slot's owner is on its way out, or no longer. That a slot got an owner or became idle is
    /// said by `Admitted` and `TaskEnded`.
    SlotTransition {
        /// True when its stop was recorded or it was abandoned; false when that is over.
        terminating: bool,
    },
    /// The task could start but for a permit.
    WaitingForPermit,
    /// A thread took the attempt up.
    AttemptStarting {
        /// The number of the attempt.
        attempt: u64,
    },
    /// The body returned `Ok`. Each attempt has exactly one terminal event: this one,
    /// `AttemptCancelled`, `AttemptFailed`, `AttemptPanicked`, `AttemptTimedOut`,
    /// `AttemptUnresponsive` or `AttemptAbandoned`.
    AttemptSucceeded {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return, if it had.
        told: Option<CancelReason>,
    },
    /// The body returned an error after it was told to return, or ended itself.
    AttemptCancelled {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Why it had been told to return; `None` if it ended itself.
        told: Option<CancelReason>,
        /// What it returned, unless that was its token's own `Cancelled`.
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
        /// Its text is the panic's message.
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
        /// Whether it returned `Ok`; a failure all the same.
        returned_ok: bool,
        /// What it returned, unless that was `Ok`.
        error: Option<TaskError>,
    },
    /// The body returned after it was told that it gave no sign of life.
    AttemptUnresponsive {
        /// The number of the attempt.
        attempt: u64,
        /// How long the body ran.
        ran: Duration,
        /// Whether it returned `Ok`; a failure all the same.
        returned_ok: bool,
        /// What it returned, unless that was `Ok`.
        error: Option<TaskError>,
    },
    /// The attempt passed its deadline and was told so.
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
        /// How long it has been silent, at least.
        silent_for: Duration,
        /// Where it said last that it was.
        mark: Option<Mark>,
    },
    /// A silent attempt gave a sign of life again.
    AttemptResponsive {
        /// The number of the attempt.
        attempt: u64,
    },
    /// The body outlived its grace and still runs. Its slot and permit stay held, unless
    /// `released`.
    AttemptAbandoned {
        /// The number of the attempt.
        attempt: u64,
        /// Why it had been told to return.
        reason: CancelReason,
        /// How long the body has run.
        ran: Duration,
        /// The thread it runs on.
        thread: Option<Arc<str>>,
        /// Where it said last that it was.
        mark: Option<Mark>,
        /// Whether its slot and permit were given up, by `AbandonPolicy::Release`.
        released: bool,
    },
    /// What the kernel knows of an attempt that is silent, overdue or abandoned. Linux only.
    StallReport {
        /// The number of the attempt.
        attempt: u64,
        /// What it is doing.
        stall: Stall,
    },
    /// A cancel hook has run for more than 100 ms.
    HookSlow {
        /// The number of the attempt that hung it up.
        attempt: u64,
        /// How long it has run.
        ran: Duration,
    },
    /// A cancel hook panicked.
    HookPanicked {
        /// The number of the attempt that hung it up.
        attempt: u64,
        /// The panic's message.
        message: Arc<str>,
    },
    /// The body of an abandoned attempt came back after all. Its result changes nothing.
    AttemptReturned {
        /// The number of the attempt.
        attempt: u64,
        /// How long after it was abandoned.
        late_by: Duration,
        /// Whether it returned `Ok`.
        returned_ok: bool,
        /// What it returned, unless that was `Ok`.
        error: Option<TaskError>,
    },
    /// A retry follows the failure of this attempt.
    RetryScheduled {
        /// The number of the attempt that failed.
        attempt: u64,
        /// How long until the next one.
        delay: Duration,
        /// How it failed.
        cause: FailureCause,
    },
    /// Another attempt follows the success of this one.
    RunScheduled {
        /// The number of the attempt that succeeded.
        attempt: u64,
        /// How long until the next one.
        delay: Duration,
    },
    /// The task has its outcome. The last event of a task that was admitted; only what its slot and
    /// an abandoned attempt still have to say follows.
    TaskEnded {
        /// How it ended.
        outcome: Outcome,
    },
    /// The system refused a thread; tried again after a delay, nothing is lost.
    ThreadRefused {
        /// What the system said; or what `on_thread_start` returned, as a text.
        error: Arc<std::io::Error>,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The supervisor begins to shut down: the door is closed and everything is told to stop.
    ShutdownRequested {
        /// The first request.
        cause: ShutdownCause,
    },
    /// Every task has its outcome. The last event of a supervisor, but for what is found out about
    /// threads that are stuck.
    ShutdownEnded,
    /// This lane was full and lost events.
    SubscriberOverflow {
        /// How many were lost.
        dropped: u64,
        /// The number of the first lost event.
        first: u64,
        /// The number of the last lost event.
        last: u64,
    },
    /// The destructor of a body, error or other user value panicked; nothing else changes.
    DropPanicked {
        /// The panic's message.
        message: Arc<str>,
    },
    /// A subscriber panicked; it stays subscribed.
    SubscriberPanicked {
        /// Its name.
        subscriber: Arc<str>,
        /// The panic's message.
        message: Arc<str>,
    },
}

impl EventKind {
    /// A stable `snake_case` name, for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::Admitted => "admitted",
            Self::Queued { .. } => "queued",
            Self::Rejected { .. } => "rejected",
            Self::SlotTransition { .. } => "slot_transition",
            Self::WaitingForPermit => "waiting_for_permit",
            Self::AttemptStarting { .. } => "attempt_starting",
            Self::AttemptSucceeded { .. } => "attempt_succeeded",
            Self::AttemptCancelled { .. } => "attempt_cancelled",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::AttemptPanicked { .. } => "attempt_panicked",
            Self::AttemptTimedOut { .. } => "attempt_timed_out",
            Self::AttemptUnresponsive { .. } => "attempt_unresponsive",
            Self::AttemptOverdue { .. } => "attempt_overdue",
            Self::AttemptSilent { .. } => "attempt_silent",
            Self::AttemptResponsive { .. } => "attempt_responsive",
            Self::AttemptAbandoned { .. } => "attempt_abandoned",
            Self::AttemptReturned { .. } => "attempt_returned",
            Self::StallReport { .. } => "stall_report",
            Self::HookSlow { .. } => "hook_slow",
            Self::HookPanicked { .. } => "hook_panicked",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::RunScheduled { .. } => "run_scheduled",
            Self::TaskEnded { .. } => "task_ended",
            Self::ThreadRefused { .. } => "thread_refused",
            Self::ShutdownRequested { .. } => "shutdown_requested",
            Self::ShutdownEnded => "shutdown_ended",
            Self::SubscriberOverflow { .. } => "subscriber_overflow",
            Self::DropPanicked { .. } => "drop_panicked",
            Self::SubscriberPanicked { .. } => "subscriber_panicked",
        }
    }

    /// A report about a subscriber. A panic while handling one is not reported again.
    pub(crate) const fn is_diagnostic(&self) -> bool {
        matches!(self, Self::SubscriberOverflow { .. } | Self::SubscriberPanicked { .. })
    }
}
