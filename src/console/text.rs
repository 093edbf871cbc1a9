//! An event as a line for people, and whether it matters to them.

use std::time::SystemTime;

use crate::output::error::TaskError;
use crate::output::event::{Event, EventKind};
use crate::output::outcome::Outcome;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::reason::StopReason;
use crate::vocabulary::time::Short;

/// A line, and how grave it is.
pub(super) type Line = (String, log::Level);

/// Whether an event is shown unless every one is: what went wrong, was refused, stopped or mended,
/// but neither what went well nor what a shutdown stopped as it was asked to.
pub(super) fn matters(kind: &EventKind) -> bool {
    let as_expected = match kind {
        EventKind::TaskEnded { outcome } => matches!(
            outcome,
            Outcome::Completed
                | Outcome::Cancelled {
                    reason: StopReason::Shutdown,
                    returned: None | Some(Ok(()))
                }
        ),
        EventKind::AttemptReady { .. } | EventKind::ShutdownEnded => true,
        _ => false,
    };
    kind.level() <= log::Level::Info && !as_expected
}

/// Whether the state of the task, or when its next attempt comes, says it as well.
pub(super) const fn is_in_table(kind: &EventKind) -> bool {
    use EventKind as E;
    matches!(
        kind,
        E::RetryScheduled { .. } | E::AttemptOverdue { .. } | E::TaskPaused | E::TaskResumed
    )
}

pub(super) fn line(event: &Event) -> Line {
    let task = event.task.as_ref().map_or_else(String::new, |task| format!("{task} "));
    (format!("{} {task}{}", clock(event.at), said(&event.kind)), event.kind.level())
}

/// The time of day, in UTC.
pub(super) fn clock(at: SystemTime) -> String {
    let secs = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}", secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

fn said(kind: &EventKind) -> String {
    use EventKind as E;
    match kind {
        E::AttemptFailed { attempt, error, .. } => {
            format!("attempt {attempt} failed: {}", Escaped(error))
        }
        E::AttemptPanicked { attempt, error, .. } => {
            format!("attempt {attempt} panicked: {}", Escaped(error))
        }
        E::AttemptTimedOut { attempt, ran, error, .. } => {
            format!("attempt {attempt} timed out after {}{}", Short(*ran), why(error.as_ref()))
        }
        E::AttemptUnresponsive { attempt, ran, error, .. } => {
            let (ran, why) = (Short(*ran), why(error.as_ref()));
            format!("attempt {attempt} was unresponsive, and returned after {ran}{why}")
        }
        E::AttemptOverdue { attempt, ran } => {
            format!("attempt {attempt} is over its limit after {}", Short(*ran))
        }
        E::AttemptSilent { attempt, silent_for, mark } => {
            let at = mark.as_ref().map_or_else(String::new, |mark| format!(", at {mark}"));
            format!("attempt {attempt} has been silent for {}{at}", Short(*silent_for))
        }
        E::AttemptResponsive { attempt } => format!("attempt {attempt} is responsive again"),
        E::AttemptAbandoned { attempt, ran, .. } => {
            format!("attempt {attempt} does not return; abandoned after {}", Short(*ran))
        }
        E::AttemptStable { attempt, .. } => format!("attempt {attempt} is stable"),
        E::StallReport { attempt, stall } => format!("attempt {attempt}: its thread is {stall}"),
        E::RetryScheduled { attempt, delay, .. } => {
            format!("attempt {} follows in {}", attempt + 1, Short(*delay))
        }
        E::Rejected { why } => format!("rejected: {why}"),
        E::TaskPaused => "paused".to_owned(),
        E::TaskResumed => "resumed".to_owned(),
        E::TaskEnded { outcome } => format!("ended: {outcome}"),
        E::DrainRequested { cause, .. } => format!("drain: {cause}"),
        E::ShutdownRequested { cause } => format!("shutdown: {cause}"),
        other => other.to_string(),
    }
}

fn why(error: Option<&TaskError>) -> String {
    error.map_or_else(String::new, |error| format!(": {}", Escaped(error)))
}
