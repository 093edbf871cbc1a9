//! What an event says, in words for people.

use crate::output::error::TaskError;
use crate::output::event::EventKind;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::not_retried::AndWhy;
use crate::vocabulary::time::Short;

pub(crate) fn in_words(kind: &EventKind) -> String {
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
        E::AttemptOverdue { attempt, ready_within: Some(within), .. } => {
            format!("attempt {attempt} was not ready within {}", Short(*within))
        }
        E::AttemptOverdue { attempt, ran, .. } => {
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
        E::StallReport { attempt, stall } => format!("attempt {attempt}: {}", stall.of_attempt()),
        E::RetryScheduled { attempt, delay, .. } => {
            format!("attempt {} follows after at least {}", attempt + 1, Short(*delay))
        }
        E::Rejected { why } => format!("rejected: {why}"),
        E::TaskPaused => "paused".to_owned(),
        E::TaskResumed => "resumed".to_owned(),
        E::TaskEnded { outcome, not_retried } => {
            format!("ended: {outcome}{}", AndWhy(*not_retried))
        }
        E::GroupRestarting { culprit, restarts } => {
            format!("restarts{}, restart {restarts}", because(culprit.as_ref()))
        }
        E::GroupStopping { why, culprit } => {
            format!("stops ({why}){}", because(culprit.as_ref()))
        }
        E::DrainRequested { cause, .. } => format!("drain: {cause}"),
        E::ShutdownRequested { culprit: Some(task), .. } => format!("shutdown: {task} ended"),
        E::ShutdownRequested { cause, culprit: None } => format!("shutdown: {cause}"),
        E::ProcessStarted { pid, .. } => format!("process {pid} started"),
        E::ProcessKilled { pid, why, .. } => format!("process {pid} is killed: {}", Escaped(why)),
        E::ProcessExited { pid, code, signal, ran, .. } => {
            let end = match (code, signal) {
                (Some(code), _) => format!(" with code {code}"),
                (None, Some(signal)) => format!(" by {signal}"),
                (None, None) => String::new(),
            };
            format!("process {pid} ended after {}{end}", Short(*ran))
        }
        other => other.to_string(),
    }
}

fn because(culprit: Option<&TaskRef>) -> String {
    culprit.map_or_else(String::new, |culprit| format!(" because of {culprit}"))
}

fn why(error: Option<&TaskError>) -> String {
    error.map_or_else(String::new, |error| format!(": {}", Escaped(error)))
}
