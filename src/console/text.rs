//! An event as a line for people, and whether it matters to them.

use std::time::SystemTime;

use crate::output::event::{Event, EventKind};
use crate::output::outcome::Outcome;
use crate::output::words::in_words;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::reason::StopReason;

/// A line, and how grave it is.
pub(super) type Line = (String, log::Level);

/// Whether an event is shown unless every one is: what went wrong, was refused, stopped or mended,
/// but neither what went well nor what a shutdown stopped as it was asked to.
pub(super) fn matters(kind: &EventKind) -> bool {
    let as_expected = match kind {
        EventKind::TaskEnded { outcome, .. } => matches!(
            outcome,
            Outcome::Completed
                | Outcome::Cancelled {
                    reason: StopReason::Shutdown,
                    returned: None | Some(Ok(()))
                }
        ),
        EventKind::AttemptReady { .. }
        | EventKind::GroupStarting
        | EventKind::GroupReady { .. }
        | EventKind::GroupStopping { why: StopReason::Shutdown, .. }
        | EventKind::GroupEnded
        | EventKind::ShutdownEnded => true,
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
    let who = match (&event.task, &event.group) {
        (Some(task), _) => format!("{task} "),
        (None, Some(group)) => format!("group {} ", Escaped(group)),
        (None, None) => String::new(),
    };
    (format!("{} {who}{}", clock(event.at), in_words(&event.kind)), event.kind.level())
}

/// The time of day, in UTC.
pub(super) fn clock(at: SystemTime) -> String {
    let secs = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}", secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::error::TaskError;
    use crate::output::mark::Mark;
    use crate::vocabulary::reason::CancelReason;
    use std::sync::Arc;
    use std::time::Duration;

    #[track_caller]
    fn check(kind: EventKind, text: &str) {
        let mut event = Event::sample(kind);
        event.at += Duration::from_secs(50 * 3600 + 2 * 60 + 7);
        if event.kind.label().starts_with("group") {
            (event.task, event.group) = (None, Some(Arc::from("li\nne")));
        }
        assert_eq!(line(&event), (format!("02:02:07 {text}"), event.kind.level()));
    }

    #[test]
    fn an_event_is_said_in_words() {
        use EventKind as E;
        let secs = Duration::from_secs;
        let error = || Some(TaskError::from("a\nb"));
        let at = Duration::ZERO;
        let mark = Some(Mark { label: "read".into(), at });
        let silent = E::AttemptSilent { attempt: 2, silent_for: secs(3), mark };
        check(silent, "sample#1 attempt 2 has been silent for 3.0s, at read");
        let unresponsive =
            E::AttemptUnresponsive { attempt: 2, ran: secs(9), returned_ok: false, error: error() };
        let text = "attempt 2 was unresponsive, and returned after 9.0s: a\\nb";
        check(unresponsive, &format!("sample#1 {text}"));
        let abandoned = E::AttemptAbandoned {
            attempt: 2,
            reason: CancelReason::Stop,
            ran: secs(70),
            thread: None,
            mark: None,
            released: false,
            at_limit: false,
        };
        check(abandoned, "sample#1 attempt 2 does not return; abandoned after 1m10s");
        check(E::TaskPaused, "sample#1 paused");
        let culprit = Event::sample(E::Admitted).task;
        let restarting = E::GroupRestarting { culprit: culprit.clone(), restarts: 2 };
        check(restarting, "group li\\nne restarts because of sample#1, restart 2");
        let stopping = E::GroupStopping { why: StopReason::Group, culprit };
        check(stopping, "group li\\nne stops (group) because of sample#1");
        let stopping = E::GroupStopping { why: StopReason::Stop, culprit: None };
        check(stopping, "group li\\nne stops (stop)");
        check(E::TaskClosing, "sample#1 task_closing");
        check(E::AttemptResponsive { attempt: 1 }, "sample#1 attempt 1 is responsive again");
    }

    #[test]
    fn what_went_as_it_was_asked_to_does_not_matter() {
        use EventKind as E;
        let ended = |outcome| matters(&E::TaskEnded { outcome, not_retried: None });
        let cancelled = |reason, returned| ended(Outcome::Cancelled { reason, returned });
        assert!(!ended(Outcome::Completed) && ended(Outcome::Lost));
        assert!(!cancelled(StopReason::Shutdown, None) && cancelled(StopReason::Stop, None));
        assert!(cancelled(StopReason::Drain, None)); // it may never have begun
        assert!(cancelled(StopReason::Shutdown, Some(Err("flush".into()))));
        let stopping = |why| matters(&E::GroupStopping { why, culprit: None });
        assert!(!stopping(StopReason::Shutdown) && stopping(StopReason::Stop));
        assert!(!matters(&E::ShutdownEnded) && !matters(&E::Admitted));
        assert!(matters(&E::TaskPaused) && is_in_table(&E::TaskPaused));
    }
}
