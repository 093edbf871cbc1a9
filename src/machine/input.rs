//! The inputs of the machine: facts that have happened.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::vocabulary::answer::{AbandonAnswer, ClosingAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::id::{AttemptAddr, ClassKey, GroupAddr, SlotKey, TaskAddr};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{CancelReason, Rejection, ShutdownCause};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

/// A fact, handed to [`Machine::step`](super::Machine::step).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// A caller handed over a task.
    Submitted(Submission),
    /// A caller handed over several tasks, to be admitted all or none.
    BatchSubmitted(Vec<Submission>),
    /// A caller handed over a group, to be admitted as a whole or not at all.
    GroupSubmitted(GroupSubmission),
    /// A caller asked a group to stop.
    GroupStopRequested(GroupAddr),
    /// A caller asked for a restart of a group.
    GroupRestartRequested(GroupAddr),
    /// A caller asked a task to stop.
    StopRequested(TaskAddr),
    /// A caller asked a slot's owner to stop and its queue to be removed.
    SlotStopRequested(SlotKey),
    /// A caller asked for the next attempt now.
    SkipRequested(TaskAddr),
    /// A caller asked for a restart.
    RestartRequested(TaskAddr),
    /// A caller asked that no attempt starts until the task is resumed.
    PauseRequested(TaskAddr),
    /// A caller resumed a task.
    ResumeRequested(TaskAddr),
    /// A caller asked for another interval.
    IntervalRequested { task: TaskAddr, interval: Duration },
    /// A caller asked for another limit of a class.
    ClassLimitRequested { class: ClassKey, limit: u32 },
    /// A body waits for this task.
    WaitBegan(TaskAddr),
    /// That wait is over.
    WaitEnded(TaskAddr),
    /// A drain was requested.
    DrainRequested { cause: ShutdownCause, limit: Duration },
    /// A drain waits for no task, and no submission waits to be decided.
    IntakeEmpty,
    /// A shutdown was requested.
    ShutdownRequested(ShutdownCause),
    /// The process received a signal that means "end" and is no echo of another.
    SignalReceived(Signal),
    /// A thread has taken up an attempt.
    Claimed { attempt: AttemptAddr, at: Time },
    /// A body says that its attempt is ready, which is now overdue at `until`.
    Ready { attempt: AttemptAddr, claimed_at: Time, at: Time, until: Time },
    /// A body has returned.
    Returned {
        attempt: AttemptAddr,
        claimed_at: Time,
        at: Time,
        told: Option<CancelReason>,
        ret: Return,
        /// Whether the body is dropped, and will not run again.
        dropped: bool,
        /// The delay that its error asks for.
        retry_after: Option<Duration>,
    },
    /// The answer to [`Effect::Revoke`](super::Effect::Revoke).
    RevokeAnswered { attempt: AttemptAddr, answer: RevokeAnswer },
    /// The answer to [`Effect::Tell`](super::Effect::Tell).
    TellAnswered { attempt: AttemptAddr, answer: TellAnswer },
    /// The answer to [`Effect::Abandon`](super::Effect::Abandon).
    AbandonAnswered { attempt: AttemptAddr, answer: AbandonAnswer },
    /// The answer to [`Effect::Look`](super::Effect::Look).
    Looked { attempt: AttemptAddr, alive: bool },
    /// A thread took up the drop of a body at `since`, and has not finished it in [`SLOW`].
    ///
    /// [`SLOW`]: crate::vocabulary::plan::SLOW
    ClosingSlow { attempt: AttemptAddr, since: Time },
    /// The answer to [`Effect::AbandonClosing`](super::Effect::AbandonClosing).
    ClosingAnswered { attempt: AttemptAddr, answer: ClosingAnswer },
    /// The answer to [`Effect::Close`](super::Effect::Close): the body is dropped.
    Closed { attempt: AttemptAddr },
    /// A cancel hook outlived the grace of its attempt.
    HookAbandoned,
    /// A cancel hook that counted as abandoned has returned.
    HookReturned,
    /// Every lane has served or dropped its last event.
    EventsFlushed,
    /// The moment named by [`Machine::deadline`](super::Machine::deadline) has come.
    TimerDue,
}

/// A task as it enters the machine. The runtime chose the keys; they are free.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    pub(crate) addr: TaskAddr,
    pub(crate) slot: Option<SlotKey>,
    pub(crate) policy: AdmissionPolicy,
    pub(crate) plan: Arc<Plan>,
    pub(crate) submitted_at: Time,
    /// Whether it was cancelled while it lay in the intake.
    pub(crate) cancelled: bool,
    /// Whether its spec, with the body, is given back if it is refused.
    pub(crate) gives_back: bool,
}

/// A group as it enters the machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupSubmission {
    pub(crate) group: GroupAddr,
    pub(crate) strategy: Strategy,
    pub(crate) restart_limit: Option<RestartLimit>,
    /// The number of members of each phase, at least 1.
    pub(crate) phases: Vec<u32>,
    /// The members, in the order of their phases.
    pub(crate) members: Vec<Submission>,
    /// Why it cannot be admitted, as far as only the runtime knows.
    pub(crate) refused: Option<Rejection>,
}
