//! What the span of an event says.

use std::sync::Arc;

use crate::output::event::EventKind;
use crate::output::outcome::Outcome;
use crate::output::words::in_words;
use crate::vocabulary::not_retried::AndWhy;
use crate::vocabulary::time::Seconds;

/// The longest text that is kept, in characters.
const MAX_TEXT: usize = 400;

/// What the span of an event says. Errors are user code, so this is called without a lock.
pub(super) fn text_of(kind: &EventKind) -> Option<Arc<str>> {
    use EventKind as E;
    let mut text = match kind {
        E::AttemptFailed { error, .. }
        | E::AttemptPanicked { error, .. }
        | E::AttemptTimedOut { error: Some(error), .. }
        | E::AttemptUnresponsive { error: Some(error), .. }
        | E::AttemptReturned { error: Some(error), .. } => error.to_string(),
        E::AttemptCancelled { told, error, .. } => {
            let told = told.map_or_else(|| "on purpose".to_owned(), |told| told.to_string());
            error.as_ref().map_or_else(|| told.clone(), |error| format!("{told}, {error}"))
        }
        E::TaskEnded { outcome: Outcome::Completed, .. } => return None,
        E::TaskEnded { outcome, not_retried } => format!("{outcome}{}", AndWhy(*not_retried)),
        E::StallReport { stall, .. } => stall.of_attempt(),
        E::WaitingForPermit { class: Some(class) } => format!("class {class}"),
        E::RetryScheduled { delay, cause, .. } => format!("{} s, {cause}", Seconds(*delay)),
        E::RunScheduled { delay, .. } => format!("{} s", Seconds(*delay)),
        E::AttemptStopping { reason, grace, .. } => match grace {
            Some(grace) => format!("{reason}, grace {} s", Seconds(*grace)),
            None => reason.to_string(),
        },
        E::AttemptAbandoned { reason, mark, .. } => match mark {
            Some(mark) => format!("told: {reason}, last mark: {}", mark.label),
            None => format!("told: {reason}"),
        },
        E::GroupRestarting { culprit, .. } => match culprit {
            Some(culprit) => format!("because of {culprit}"),
            None => "as it was asked to".to_owned(),
        },
        E::GroupStopping { why, culprit } => match culprit {
            Some(culprit) => format!("{why}, because of {culprit}"),
            None => why.to_string(),
        },
        E::DrainRequested { cause, .. } | E::ShutdownRequested { cause, .. } => cause.to_string(),
        E::Rejected { .. }
        | E::AttemptOverdue { .. }
        | E::AttemptSilent { .. }
        | E::AttemptReady { .. }
        | E::AttemptStable { .. }
        | E::AttemptsTooShort { .. }
        | E::ProcessStarted { .. }
        | E::ProcessKilled { .. }
        | E::ProcessExited { .. }
        | E::ServiceSick { .. }
        | E::ServiceWell
        | E::NotifyFailed { .. }
        | E::HookSlow { .. }
        | E::HookPanicked { .. }
        | E::DropPanicked { .. }
        | E::ThreadRefused { .. }
        | E::SubscriberPanicked { .. }
        | E::SubscriberOverflow { .. } => in_words(kind),
        _ => return None,
    };
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    Some(text.into())
}
