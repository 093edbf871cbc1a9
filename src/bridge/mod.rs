//! Subscribers that pass on what happens to the facades of other crates.
//!
//! Each module uses only those listed below it.

#[cfg(feature = "metrics")]
pub(crate) mod count;
#[cfg(feature = "tracing")]
pub(crate) mod trace;

use std::time::Duration;

use crate::output::event::EventKind;

/// How an attempt ended, and how long it ran, if the event is a terminal one.
fn ended(kind: &EventKind) -> Option<(&'static str, Duration)> {
    use EventKind as E;
    match kind {
        E::AttemptSucceeded { ran, .. }
        | E::AttemptCancelled { ran, .. }
        | E::AttemptFailed { ran, .. }
        | E::AttemptPanicked { ran, .. }
        | E::AttemptTimedOut { ran, .. }
        | E::AttemptUnresponsive { ran, .. }
        | E::AttemptAbandoned { ran, .. } => Some((&kind.label()["attempt_".len()..], *ran)),
        _ => None,
    }
}
