//! One event of each kind, and of each level that a kind can have.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{HookSource, Signal, Stall};

const MS: Duration = Duration::from_millis(1);

/// About the task `sample`, or about nothing in particular, as each kind wants.
pub(crate) fn events() -> Vec<Event> {
    let mut events: Vec<_> = of_tasks().into_iter().map(Event::sample).collect();
    events.extend(of_attempts().into_iter().map(Event::sample));
    events.extend(of_all().into_iter().map(|kind| {
        let mut event = Event::sample(kind);
        (event.task, event.group) = (None, Some("group".into()));
        event
    }));
    for (seq, event) in (1..).zip(&mut events) {
        event.seq = seq;
    }
    events
}

fn error() -> TaskError {
    TaskError::fatal("no such\ndevice").with_exit_code(7)
}

fn of_tasks() -> Vec<EventKind> {
    use EventKind as E;
    let sorry = Outcome::Cancelled { reason: StopReason::Shutdown, returned: Some(Err(error())) };
    let well = Outcome::Cancelled { reason: StopReason::Drain, returned: Some(Ok(())) };
    vec![
        E::Submitted { policy: AdmissionPolicy::Queue },
        E::Queued { depth: 2 },
        E::Admitted,
        E::Rejected { why: Rejection::QueueFull { depth: 3, limit: 3 } },
        E::WaitingForPermit { class: Some("flash".into()) },
        E::TaskPaused,
        E::TaskResumed,
        E::SlotTransition { terminating: true },
        E::TaskClosing,
        E::ClosingAbandoned { thread: Some("w1".into()) },
        E::ClosingReturned { late_by: MS },
        E::HookSlow { source: HookSource::TaskEnd, ran: MS },
        E::TaskEnded { outcome: Outcome::Completed, not_retried: None },
        E::TaskEnded { outcome: Outcome::Failed { error: error() }, not_retried: None },
        E::TaskEnded { outcome: sorry, not_retried: None },
        E::TaskEnded { outcome: well, not_retried: None },
        E::DropPanicked { message: "ouch".into() },
    ]
}

fn of_attempts() -> Vec<EventKind> {
    use EventKind as E;
    let (attempt, ran, returned_ok) = (2, 1500 * MS, false);
    vec![
        E::AttemptStarting { attempt, thread: Some("w1".into()) },
        E::AttemptReady { attempt, took: MS },
        E::AttemptStable { attempt, failures: 3 },
        E::AttemptsTooShort { attempt, runs: 100, within: 10 * MS },
        E::AttemptOverdue { attempt, ran, ready_within: None },
        E::AttemptOverdue { attempt, ran, ready_within: Some(MS) },
        E::AttemptSilent { attempt, silent_for: MS, mark: None },
        E::AttemptResponsive { attempt },
        E::StallReport { attempt, stall: Stall::default() },
        E::AttemptStopping { attempt, reason: CancelReason::Timeout, grace: Some(MS) },
        E::HookSlow { source: HookSource::Attempt(attempt), ran },
        E::HookPanicked { source: HookSource::Attempt(attempt), message: "ouch".into() },
        E::ProcessStarted { attempt, pid: 7 },
        E::ProcessKilled {
            attempt,
            pid: 7,
            why: "after 2.000 s: its helpers have not ended".into(),
        },
        E::ProcessExited { attempt, pid: 7, code: Some(1), signal: Some(Signal::TERM), ran },
        E::AttemptSucceeded { attempt, ran, told: None },
        E::AttemptCancelled { attempt, ran, told: None, error: None },
        E::AttemptCancelled { attempt, ran, told: Some(CancelReason::Stop), error: Some(error()) },
        E::AttemptFailed { attempt, ran, error: error() },
        E::AttemptPanicked { attempt, ran, error: error() },
        E::AttemptTimedOut { attempt, ran, late_by: MS, returned_ok, error: Some(error()) },
        E::AttemptUnresponsive { attempt, ran, returned_ok, error: None },
        E::AttemptAbandoned {
            attempt,
            reason: CancelReason::Stop,
            ran,
            thread: Some("w1".into()),
            mark: None,
            released: false,
            at_limit: true,
        },
        E::AttemptReturned { attempt, late_by: MS, returned_ok, error: Some(error()) },
        E::RetryScheduled { attempt, delay: MS, cause: FailureCause::Failed },
        E::RunScheduled { attempt, delay: MS },
    ]
}

fn of_all() -> Vec<EventKind> {
    use EventKind as E;
    let culprit = Event::sample(E::Admitted).task;
    let refused = Arc::new(std::io::Error::new(std::io::ErrorKind::WouldBlock, "no thread"));
    vec![
        E::GroupStarting,
        E::GroupReady { took: MS },
        E::GroupRestarting { culprit: culprit.clone(), restarts: 1 },
        E::GroupStopping { why: StopReason::Group, culprit: culprit.clone() },
        E::GroupStopping { why: StopReason::Stop, culprit: None },
        E::GroupEnded,
        E::HookSlow { source: HookSource::Signal(1.into()), ran: MS },
        E::ThreadRefused { error: Arc::clone(&refused), retry_in: MS },
        E::ServiceSick { tasks: culprit.into_iter().collect() },
        E::ServiceWell,
        E::NotifyFailed { error: refused },
        E::SubscriberOverflow { dropped: 3, first: 4, last: 6 },
        E::SubscriberPanicked { subscriber: "s".into(), message: "ouch".into() },
        E::DrainRequested { cause: ShutdownCause::Requested, limit: Some(MS) },
        E::ShutdownRequested { cause: ShutdownCause::Signal(15.into()), culprit: None },
        E::ShutdownEnded,
    ]
}
