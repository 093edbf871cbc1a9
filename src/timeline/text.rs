//! What the span of an event says.

use std::sync::Arc;

use crate::output::event::EventKind;
use crate::vocabulary::time::Seconds;

/// The longest text that is kept, in characters.
const MAX_TEXT: usize = 400;

/// What the span of an event says. Errors are user code, so this is called without a lock.
pub(super) fn text_of(kind: &EventKind) -> Option<Arc<str>> {
    use EventKind as E;
    let mut text = match kind {
        E::AttemptFailed { error, .. }
        | E::AttemptPanicked { error, .. }
        | E::AttemptCancelled { error: Some(error), .. }
        | E::AttemptTimedOut { error: Some(error), .. }
        | E::AttemptUnresponsive { error: Some(error), .. }
        | E::AttemptReturned { error: Some(error), .. } => error.to_string(),
        E::TaskEnded { outcome } => outcome.to_string(),
        E::Rejected { why } => format!("rejected: {why}"),
        E::StallReport { stall, .. } => stall.to_string(),
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
        E::DrainRequested { cause, .. } | E::ShutdownRequested { cause } => cause.to_string(),
        E::AttemptOverdue { .. }
        | E::AttemptSilent { .. }
        | E::AttemptReady { .. }
        | E::AttemptStable { .. }
        | E::AttemptsTooShort { .. }
        | E::HookSlow { .. }
        | E::HookPanicked { .. }
        | E::DropPanicked { .. }
        | E::ThreadRefused { .. }
        | E::SubscriberPanicked { .. }
        | E::SubscriberOverflow { .. } => kind.to_string(),
        _ => return None,
    };
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    Some(text.into())
}
