//! Turns the machine's notices into events and outcomes, with the user values.

use std::sync::Arc;
use std::time::Duration;

use crate::machine::{End, Ending, Machine, Notice};
use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::output::mark::Mark;
use crate::output::outcome::Outcome;
use crate::task::cell::Cell;
use crate::task::class_names::ClassNames;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{TaskAddr, TaskRef};
use crate::vocabulary::not_retried::NotRetried;
use crate::vocabulary::reason::{CancelReason, FailureCause, StopReason};
use crate::vocabulary::time::Time;

/// What the runtime adds to a notice.
#[derive(Default)]
pub(super) struct Details<'a> {
    /// The error that the attempt returned, if any.
    pub(super) error: Option<&'a TaskError>,
    pub(super) cell: Option<&'a Arc<Cell>>,
    pub(super) not_retried: Option<NotRetried>,
    /// The task whose end is the cause.
    pub(super) culprit: Option<TaskRef>,
}

/// Without a subscriber, the first failure of a streak, every failed outcome, every abandonment,
/// and an error that a stopped body returned are logged. A failure that ends its task is logged as
/// its outcome.
pub(super) fn is_worth_a_warning(
    notice: Notice,
    machine: &Machine,
    error_of: impl FnOnce(TaskAddr) -> bool,
) -> bool {
    match notice {
        Notice::AttemptEnded { attempt, ending, .. } => {
            let failed = !matches!(ending, Ending::Succeeded | Ending::Cancelled);
            let task = machine.tasks().get(attempt.task.key);
            // The step that made the notice has already counted the failure.
            failed && task.is_some_and(|task| task.streak <= 1)
        }
        Notice::TaskEnded { task, end: End::Cancelled { ret, .. }, .. } => {
            matches!(ret, Some(Return::Failed | Return::Panicked)) && error_of(task)
        }
        Notice::TaskEnded { end, .. } => end.is_failure(),
        Notice::AttemptAbandoned { .. }
        | Notice::ClosingAbandoned { .. }
        | Notice::AttemptsTooShort { .. } => true,
        Notice::Submitted { .. }
        | Notice::Admitted { .. }
        | Notice::Queued { .. }
        | Notice::Rejected { .. }
        | Notice::SlotTransition { .. }
        | Notice::WaitingForPermit { .. }
        | Notice::AttemptStarting { .. }
        | Notice::RetryScheduled { .. }
        | Notice::RunScheduled { .. }
        | Notice::TaskPaused { .. }
        | Notice::TaskResumed { .. }
        | Notice::AttemptOverdue { .. }
        | Notice::AttemptSilent { .. }
        | Notice::AttemptResponsive { .. }
        | Notice::AttemptReady { .. }
        | Notice::AttemptStable { .. }
        | Notice::AttemptReturned { .. }
        | Notice::TaskClosing { .. }
        | Notice::ClosingReturned { .. }
        | Notice::DrainRequested { .. }
        | Notice::ShutdownRequested { .. }
        | Notice::ShutdownEnded => false,
    }
}

/// The task a notice is about, if it is about one.
pub(super) fn task_of(notice: Notice) -> Option<TaskAddr> {
    match notice {
        Notice::Submitted { task, .. }
        | Notice::Admitted { task }
        | Notice::Queued { task, .. }
        | Notice::Rejected { task, .. }
        | Notice::SlotTransition { task, .. }
        | Notice::WaitingForPermit { task, .. }
        | Notice::TaskPaused { task }
        | Notice::TaskResumed { task }
        | Notice::TaskEnded { task, .. } => Some(task),
        Notice::AttemptStarting { attempt }
        | Notice::AttemptEnded { attempt, .. }
        | Notice::RetryScheduled { attempt, .. }
        | Notice::RunScheduled { attempt, .. }
        | Notice::AttemptOverdue { attempt, .. }
        | Notice::AttemptSilent { attempt, .. }
        | Notice::AttemptResponsive { attempt }
        | Notice::AttemptReady { attempt, .. }
        | Notice::AttemptStable { attempt, .. }
        | Notice::AttemptsTooShort { attempt, .. }
        | Notice::AttemptAbandoned { attempt, .. }
        | Notice::AttemptReturned { attempt, .. }
        | Notice::TaskClosing { attempt }
        | Notice::ClosingAbandoned { attempt }
        | Notice::ClosingReturned { attempt, .. } => Some(attempt.task),
        Notice::DrainRequested { .. }
        | Notice::ShutdownRequested { .. }
        | Notice::ShutdownEnded => None,
    }
}

/// The event of a notice.
pub(super) fn kind_of(
    notice: Notice,
    now: Time,
    classes: &ClassNames,
    details: Details<'_>,
) -> EventKind {
    let Details { error, cell, not_retried, culprit } = details;
    let thread = || Some(cell?.thread()?.name);
    // The body may have set its mark since this turn began, and an event tells only of the past.
    let mark = || {
        let mark = cell.and_then(|cell| cell.pulse.last_mark());
        mark.map(|mark| Mark { at: mark.at.min(now.since_start()), ..mark })
    };
    match notice {
        Notice::Submitted { policy, .. } => EventKind::Submitted { policy },
        Notice::Admitted { .. } => EventKind::Admitted,
        Notice::Queued { depth, .. } => EventKind::Queued { depth: depth as usize },
        Notice::Rejected { why, .. } => EventKind::Rejected { why },
        Notice::SlotTransition { terminating, .. } => EventKind::SlotTransition { terminating },
        Notice::WaitingForPermit { class, .. } => {
            let class = class.and_then(|class| classes.name(class)).cloned();
            EventKind::WaitingForPermit { class }
        }
        Notice::TaskPaused { .. } => EventKind::TaskPaused,
        Notice::TaskResumed { .. } => EventKind::TaskResumed,
        Notice::AttemptStarting { attempt } => {
            EventKind::AttemptStarting { attempt: attempt.number, thread: thread() }
        }
        Notice::AttemptEnded { attempt, told, ending, ran, late_by, returned_ok } => {
            ended(attempt.number, told, ending, ran, late_by, returned_ok, error.cloned())
        }
        Notice::RetryScheduled { attempt, delay, cause } => {
            EventKind::RetryScheduled { attempt: attempt.number, delay, cause }
        }
        Notice::RunScheduled { attempt, delay } => {
            EventKind::RunScheduled { attempt: attempt.number, delay }
        }
        Notice::AttemptOverdue { attempt, ran } => {
            let ready_within = cell.and_then(|cell| cell.not_ready());
            EventKind::AttemptOverdue { attempt: attempt.number, ran, ready_within }
        }
        Notice::AttemptSilent { attempt, silent_for } => {
            EventKind::AttemptSilent { attempt: attempt.number, silent_for, mark: mark() }
        }
        Notice::AttemptResponsive { attempt } => {
            EventKind::AttemptResponsive { attempt: attempt.number }
        }
        Notice::AttemptReady { attempt, took } => {
            EventKind::AttemptReady { attempt: attempt.number, took }
        }
        Notice::AttemptStable { attempt, failures } => {
            EventKind::AttemptStable { attempt: attempt.number, failures }
        }
        Notice::AttemptsTooShort { attempt, runs, within } => {
            EventKind::AttemptsTooShort { attempt: attempt.number, runs, within }
        }
        Notice::AttemptAbandoned { attempt, reason, ran, released, at_limit } => {
            let (thread, attempt, mark) = (thread(), attempt.number, mark());
            EventKind::AttemptAbandoned { attempt, reason, ran, thread, mark, released, at_limit }
        }
        Notice::AttemptReturned { attempt, late_by, ret } => {
            let (attempt, returned_ok) = (attempt.number, ret == Return::Ok);
            EventKind::AttemptReturned { attempt, late_by, returned_ok, error: error.cloned() }
        }
        Notice::TaskClosing { .. } => EventKind::TaskClosing,
        Notice::ClosingAbandoned { .. } => EventKind::ClosingAbandoned { thread: thread() },
        Notice::ClosingReturned { late_by, .. } => EventKind::ClosingReturned { late_by },
        Notice::TaskEnded { end, .. } => {
            EventKind::TaskEnded { outcome: outcome_of(end, error), not_retried }
        }
        Notice::DrainRequested { cause, limit } => {
            let limit = Some(limit).filter(|&limit| limit < Duration::MAX);
            EventKind::DrainRequested { cause, limit }
        }
        Notice::ShutdownRequested { cause } => EventKind::ShutdownRequested { cause, culprit },
        Notice::ShutdownEnded => EventKind::ShutdownEnded,
    }
}

/// The one terminal event of an attempt that returned.
fn ended(
    attempt: u64,
    told: Option<CancelReason>,
    ending: Ending,
    ran: Duration,
    late_by: Duration,
    returned_ok: bool,
    error: Option<TaskError>,
) -> EventKind {
    match ending {
        Ending::Succeeded => EventKind::AttemptSucceeded { attempt, ran, told },
        Ending::Cancelled => EventKind::AttemptCancelled { attempt, ran, told, error },
        Ending::Failed => {
            let error = error_or_text(error, FailureCause::Failed);
            EventKind::AttemptFailed { attempt, ran, error }
        }
        Ending::Panicked => {
            let error = error_or_text(error, FailureCause::Panicked);
            EventKind::AttemptPanicked { attempt, ran, error }
        }
        Ending::TimedOut => {
            EventKind::AttemptTimedOut { attempt, ran, late_by, returned_ok, error }
        }
        Ending::Unresponsive => EventKind::AttemptUnresponsive { attempt, ran, returned_ok, error },
    }
}

/// The outcome that subscribers and waiting callers get for an end.
pub(super) fn outcome_of(end: End, error: Option<&TaskError>) -> Outcome {
    let error = error.cloned();
    match end {
        End::Completed => Outcome::Completed,
        End::Cancelled { reason, ret } => {
            let returned = match ret {
                None => None,
                // Its own error is what ended the task, and says no more.
                Some(Return::Cancelled) if reason == StopReason::ByTask => None,
                Some(Return::Ok) => Some(Ok(())),
                Some(Return::Cancelled | Return::Failed | Return::Fatal | Return::Panicked) => {
                    error.map(Err)
                }
            };
            Outcome::Cancelled { reason, returned }
        }
        End::Failed => Outcome::Failed { error: error_or_text(error, FailureCause::Failed) },
        End::Fatal => Outcome::Fatal { error: error_or_text(error, FailureCause::Failed) },
        End::Panicked => Outcome::Panicked { error: error_or_text(error, FailureCause::Panicked) },
        End::TimedOut => Outcome::TimedOut { error },
        End::Unresponsive => Outcome::Unresponsive { error },
        End::Abandoned { reason, stop } => Outcome::Abandoned { reason, stop },
        End::Rejected(why) => Outcome::Rejected(why),
    }
}

/// The error of a failure, or a text of this crate for a failure without one.
pub(super) fn error_or_text(error: Option<TaskError>, cause: FailureCause) -> TaskError {
    error.unwrap_or_else(|| {
        TaskError::fail(match cause {
            FailureCause::Failed => "failed",
            FailureCause::Panicked => "panicked",
            FailureCause::TimedOut => "ran past its deadline",
            FailureCause::Unresponsive => "gave no sign of life",
            FailureCause::Abandoned => "outlived its grace",
        })
    })
}
