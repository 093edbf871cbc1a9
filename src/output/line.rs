//! An event as one line of `key=value` pairs, for terminals and logs. Times are in seconds.

use std::fmt;
use std::time::Duration;

use crate::output::event::{Event, EventKind, Subscribe};
use crate::vocabulary::time::Seconds;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={} event={}", Seconds(self.since_start), self.kind.label())?;
        let mut line = Line(f);
        if let Some(task) = &self.task {
            line.text("task", &task.name)?;
            line.plain("id", task.id)?;
            line.maybe("slot", task.slot.as_ref().filter(|slot| **slot != task.name))?;
        }
        line.fields(&self.kind)
    }
}

/// The label and the fields.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        Line(f).fields(self)
    }
}

/// A line in the making; each pair brings the space before it.
struct Line<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Line<'_, '_> {
    fn fields(&mut self, kind: &EventKind) -> fmt::Result {
        self.attempt(kind)?;
        match kind {
            EventKind::Submitted { policy } => self.plain("policy", policy),
            EventKind::Queued { depth } => self.plain("depth", depth),
            EventKind::Rejected { why } => {
                self.plain("why", why.label())?;
                self.text("text", why)
            }
            EventKind::SlotTransition { terminating } => self.plain("terminating", terminating),
            EventKind::TaskEnded { outcome } => {
                self.plain("outcome", outcome.label())?;
                let text = outcome.to_string();
                self.maybe("text", Some(text).filter(|text| text != outcome.label()))
            }
            EventKind::ThreadRefused { error, retry_in } => {
                self.text("error", error)?;
                self.span("retry_in", *retry_in)
            }
            EventKind::ShutdownRequested { cause } => self.text("cause", cause),
            EventKind::SubscriberOverflow { dropped, first, last } => {
                self.plain("dropped", dropped)?;
                self.plain("first", first)?;
                self.plain("last", last)
            }
            EventKind::DropPanicked { message } => self.text("message", message),
            EventKind::SubscriberPanicked { subscriber, message } => {
                self.text("subscriber", subscriber)?;
                self.text("message", message)
            }
            _ => Ok(()),
        }
    }

    /// The fields of what is about one attempt.
    fn attempt(&mut self, kind: &EventKind) -> fmt::Result {
        if let Some(attempt) = kind.attempt() {
            self.plain("attempt", attempt)?;
        }
        match kind {
            EventKind::AttemptSucceeded { ran, told, .. } => {
                self.span("ran", *ran)?;
                self.maybe("told", told.as_ref())
            }
            EventKind::AttemptCancelled { ran, told, error, .. } => {
                self.span("ran", *ran)?;
                self.maybe("told", told.as_ref())?;
                self.maybe("error", error.as_ref())
            }
            EventKind::AttemptFailed { ran, error, .. }
            | EventKind::AttemptPanicked { ran, error, .. } => {
                self.span("ran", *ran)?;
                self.text("error", error)
            }
            EventKind::AttemptTimedOut { ran, late_by, returned_ok, error, .. } => {
                self.span("ran", *ran)?;
                self.span("late_by", *late_by)?;
                self.plain("returned_ok", returned_ok)?;
                self.maybe("error", error.as_ref())
            }
            EventKind::AttemptUnresponsive { ran, returned_ok, error, .. } => {
                self.span("ran", *ran)?;
                self.plain("returned_ok", returned_ok)?;
                self.maybe("error", error.as_ref())
            }
            EventKind::AttemptOverdue { ran, .. } | EventKind::HookSlow { ran, .. } => {
                self.span("ran", *ran)
            }
            EventKind::AttemptSilent { silent_for, mark, .. } => {
                self.span("silent_for", *silent_for)?;
                self.maybe("mark", mark.as_ref())
            }
            EventKind::AttemptAbandoned { reason, ran, thread, mark, released, .. } => {
                self.plain("reason", reason)?;
                self.span("ran", *ran)?;
                self.plain("released", released)?;
                self.maybe("thread", thread.as_ref())?;
                self.maybe("mark", mark.as_ref())
            }
            EventKind::AttemptReturned { late_by, returned_ok, error, .. } => {
                self.span("late_by", *late_by)?;
                self.plain("returned_ok", returned_ok)?;
                self.maybe("error", error.as_ref())
            }
            EventKind::StallReport { stall, .. } => self.text("stall", stall),
            EventKind::HookPanicked { message, .. } => self.text("message", message),
            EventKind::RetryScheduled { delay, cause, .. } => {
                self.span("delay", *delay)?;
                self.plain("cause", cause)
            }
            EventKind::RunScheduled { delay, .. } => self.span("delay", *delay),
            _ => Ok(()),
        }
    }

    /// A value that never needs quotes.
    fn plain(&mut self, key: &str, value: impl fmt::Display) -> fmt::Result {
        write!(self.0, " {key}={value}")
    }

    fn span(&mut self, key: &str, span: Duration) -> fmt::Result {
        self.plain(key, format_args!("{}s", Seconds(span)))
    }

    /// A value that gets quotes if it has anything but letters, digits and a few signs.
    fn text(&mut self, key: &str, value: impl fmt::Display) -> fmt::Result {
        let text = value.to_string();
        let plain = |c: char| c.is_alphanumeric() || "-_./:@#+".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            self.plain(key, text)
        } else {
            write!(self.0, " {key}={text:?}")
        }
    }

    fn maybe(&mut self, key: &str, value: Option<impl fmt::Display>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.text(key, value))
    }
}

impl EventKind {
    /// The number of the attempt it is about, if it is about one.
    pub const fn attempt(&self) -> Option<u64> {
        match self {
            Self::AttemptStarting { attempt }
            | Self::AttemptSucceeded { attempt, .. }
            | Self::AttemptCancelled { attempt, .. }
            | Self::AttemptFailed { attempt, .. }
            | Self::AttemptPanicked { attempt, .. }
            | Self::AttemptTimedOut { attempt, .. }
            | Self::AttemptUnresponsive { attempt, .. }
            | Self::AttemptOverdue { attempt, .. }
            | Self::AttemptSilent { attempt, .. }
            | Self::AttemptResponsive { attempt }
            | Self::AttemptAbandoned { attempt, .. }
            | Self::AttemptReturned { attempt, .. }
            | Self::StallReport { attempt, .. }
            | Self::HookSlow { attempt, .. }
            | Self::HookPanicked { attempt, .. }
            | Self::RetryScheduled { attempt, .. }
            | Self::RunScheduled { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// How much it matters: failures and losses warn, what the supervisor does for them informs,
    /// the rest is detail.
    const fn level(&self) -> log::Level {
        match self {
            Self::TaskEnded { outcome } if outcome.is_failure() => log::Level::Error,
            Self::AttemptFailed { .. }
            | Self::AttemptPanicked { .. }
            | Self::AttemptTimedOut { .. }
            | Self::AttemptUnresponsive { .. }
            | Self::AttemptOverdue { .. }
            | Self::AttemptSilent { .. }
            | Self::AttemptAbandoned { .. }
            | Self::StallReport { .. }
            | Self::HookSlow { .. }
            | Self::HookPanicked { .. }
            | Self::ThreadRefused { .. }
            | Self::SubscriberOverflow { .. }
            | Self::DropPanicked { .. }
            | Self::SubscriberPanicked { .. } => log::Level::Warn,
            Self::Rejected { .. }
            | Self::AttemptReturned { .. }
            | Self::AttemptResponsive { .. }
            | Self::RetryScheduled { .. }
            | Self::TaskEnded { .. }
            | Self::ShutdownRequested { .. }
            | Self::ShutdownEnded => log::Level::Info,
            Self::Submitted { .. }
            | Self::Admitted
            | Self::Queued { .. }
            | Self::SlotTransition { .. }
            | Self::WaitingForPermit
            | Self::AttemptStarting { .. }
            | Self::AttemptSucceeded { .. }
            | Self::AttemptCancelled { .. }
            | Self::RunScheduled { .. } => log::Level::Debug,
        }
    }
}

/// A subscriber that writes each event as one `key=value` line through the `log` crate: failed
/// outcomes as errors, failed attempts, refused threads and lost events as warnings, their
/// consequences as information, the rest for debugging.
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().subscriber(LogEvents::new()).start()?;
/// let report = supervisor.run([TaskSpec::once("a", |_| Ok(()))])?;
/// assert_eq!(report.outcomes.completed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LogEvents(());

impl LogEvents {
    /// Logs every event, under the target `threadvisor`.
    pub const fn new() -> Self {
        Self(())
    }
}

impl Subscribe for LogEvents {
    fn on_event(&mut self, event: &Event) {
        log::log!(target: "threadvisor", event.kind.level(), "{event}");
    }

    fn name(&self) -> &'static str {
        "LogEvents"
    }
}
