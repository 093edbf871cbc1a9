//! An event as one line of `key=value` pairs, for terminals and logs. Times are in seconds.

use std::fmt;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::output::event::EventKind as E;
use crate::output::event::{Event, EventKind};
use crate::output::hook::HookSource;
use crate::output::mark::Mark;
use crate::output::outcome::{Outcome, Text};
use crate::platform::chain::chain;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::not_retried::NotRetried;
use crate::vocabulary::reason::{FailureCause, StopReason};
use crate::vocabulary::time::Seconds;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={} event={}", Seconds(self.since_start), self.kind.label())?;
        let mut line = Line::new(f);
        if let Some(task) = &self.task {
            let slot = task.slot.as_ref().filter(|slot| **slot != task.name);
            line.text("task", &task.name).plain("id", task.id).maybe("slot", slot);
        }
        line.maybe("group", self.group.as_ref());
        line.fields(&self.kind)
    }
}

/// Shows the label and the fields, as the line of an event does.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        Line::new(f).fields(self)
    }
}

/// Writes the pairs of a line, each with a space before it. After an error it writes nothing more.
struct Line<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    result: fmt::Result,
}

impl<'a, 'b> Line<'a, 'b> {
    fn new(f: &'a mut fmt::Formatter<'b>) -> Self {
        Self { f, result: Ok(()) }
    }

    fn closing(&mut self, kind: &EventKind) -> &mut Self {
        match kind {
            EventKind::ClosingAbandoned { thread } => self.maybe("thread", thread.as_ref()),
            EventKind::ClosingReturned { late_by } => self.span("late_by", *late_by),
            _ => self,
        }
    }

    /// What concerns no task.
    fn surroundings(&mut self, kind: &EventKind) -> &mut Self {
        match kind {
            E::DropPanicked { message } => self.text("message", message),
            E::ThreadRefused { error, retry_in } => {
                self.text("error", chain(&**error)).span("retry_in", *retry_in)
            }
            E::ServiceSick { tasks } => {
                let names: Vec<_> = tasks.iter().map(ToString::to_string).collect();
                self.text("tasks", names.join(","))
            }
            E::NotifyFailed { error } => self.text("error", chain(&**error)),
            E::SubscriberOverflow { dropped, first, last } => {
                self.plain("dropped", dropped).plain("first", first).plain("last", last)
            }
            E::ShutdownRequested { cause, culprit } => {
                self.text("cause", cause).maybe("culprit", culprit.as_ref())
            }
            E::SubscriberPanicked { subscriber, message } => {
                self.text("subscriber", subscriber).text("message", message)
            }
            _ => self,
        }
    }

    /// An attempt that does not return in time.
    fn late(&mut self, kind: &EventKind) -> &mut Self {
        match kind {
            E::AttemptOverdue { ran, ready_within, .. } => {
                self.span("ran", *ran).limit("ready_within", *ready_within)
            }
            E::AttemptAbandoned { reason, ran, thread, mark, released, at_limit, .. } => {
                self.plain("reason", reason).span("ran", *ran).plain("released", released);
                self.maybe("why", at_limit.then_some("max_abandoned"));
                self.maybe("thread", thread.as_ref()).maybe("mark", label(mark.as_ref()))
            }
            _ => self,
        }
    }

    fn process(&mut self, kind: &EventKind) -> &mut Self {
        match kind {
            E::ProcessStarted { pid, .. } => self.plain("pid", pid),
            E::ProcessKilled { pid, why, .. } => self.plain("pid", pid).text("why", why),
            E::ProcessExited { pid, code, signal, ran, .. } => {
                let line = self.plain("pid", pid).maybe("code", *code);
                line.maybe("signal", *signal).span("ran", *ran)
            }
            _ => self,
        }
    }

    fn group(&mut self, kind: &EventKind) -> &mut Self {
        match kind {
            E::GroupReady { took } => self.span("took", *took),
            E::GroupRestarting { culprit, restarts } => {
                self.culprit(culprit.as_ref()).plain("restarts", restarts)
            }
            E::GroupStopping { why, culprit } => self.plain("why", why).culprit(culprit.as_ref()),
            _ => self,
        }
    }

    fn culprit(&mut self, culprit: Option<&TaskRef>) -> &mut Self {
        match culprit {
            Some(task) => self.text("culprit", &task.name).plain("culprit_id", task.id),
            None => self,
        }
    }

    fn fields(&mut self, kind: &EventKind) -> fmt::Result {
        self.subject(kind);
        match kind {
            E::Submitted { policy } => self.plain("policy", policy),
            E::Queued { depth } => self.plain("depth", depth),
            E::Rejected { why } => self.plain("why", why.label()).text("text", why),
            E::AttemptStarting { thread, .. } => self.maybe("thread", thread.as_ref()),
            E::AttemptStopping { reason, grace, .. } => {
                self.plain("reason", reason).limit("grace", *grace)
            }
            E::AttemptOverdue { .. } | E::AttemptAbandoned { .. } => self.late(kind),
            E::HookSlow { ran, .. } => self.span("ran", *ran),
            E::AttemptSilent { silent_for, mark, .. } => {
                self.span("silent_for", *silent_for).maybe("mark", label(mark.as_ref()))
            }
            E::StallReport { stall, .. } => self.text("stall", stall),
            E::AttemptSucceeded { ran, told, .. } => {
                self.span("ran", *ran).maybe("told", told.as_ref())
            }
            E::AttemptCancelled { ran, told, error, .. } => {
                self.span("ran", *ran).maybe("told", told.as_ref()).maybe("error", error.as_ref())
            }
            E::AttemptFailed { ran, error, .. } | E::AttemptPanicked { ran, error, .. } => {
                self.span("ran", *ran).text("error", error)
            }
            E::AttemptTimedOut { ran, late_by, returned_ok, error, .. } => {
                self.span("ran", *ran).span("late_by", *late_by).ended(*returned_ok, error.as_ref())
            }
            E::AttemptUnresponsive { ran, returned_ok, error, .. } => {
                self.span("ran", *ran).ended(*returned_ok, error.as_ref())
            }
            E::AttemptReturned { late_by, returned_ok, error, .. } => {
                self.span("late_by", *late_by).ended(*returned_ok, error.as_ref())
            }
            E::ProcessStarted { .. } | E::ProcessKilled { .. } | E::ProcessExited { .. } => {
                self.process(kind)
            }
            E::RetryScheduled { delay, cause, .. } => self.retry(*delay, *cause),
            E::RunScheduled { delay, .. } => self.span("delay", *delay),
            E::AttemptReady { took, .. } => self.span("took", *took),
            E::AttemptStable { failures, .. } => self.plain("failures", failures),
            E::AttemptsTooShort { runs, within, .. } => {
                self.plain("runs", runs).span("within", *within)
            }
            E::WaitingForPermit { class } => self.maybe("class", class.as_ref()),
            E::SlotTransition { terminating } => self.plain("terminating", terminating),
            E::ClosingAbandoned { .. } | E::ClosingReturned { .. } => self.closing(kind),
            E::TaskEnded { outcome, not_retried } => self.outcome(outcome, *not_retried),
            E::GroupReady { .. } | E::GroupRestarting { .. } | E::GroupStopping { .. } => {
                self.group(kind)
            }
            E::HookPanicked { message, .. } => self.text("message", message),
            E::DropPanicked { .. }
            | E::ThreadRefused { .. }
            | E::ServiceSick { .. }
            | E::NotifyFailed { .. }
            | E::SubscriberOverflow { .. }
            | E::ShutdownRequested { .. }
            | E::SubscriberPanicked { .. } => self.surroundings(kind),
            E::DrainRequested { cause, limit } => self.text("cause", cause).limit("limit", *limit),
            E::Admitted
            | E::TaskClosing
            | E::TaskPaused
            | E::TaskResumed
            | E::GroupStarting
            | E::GroupEnded
            | E::AttemptResponsive { .. }
            | E::ServiceWell
            | E::ShutdownEnded => self,
        }
        .result
    }

    fn retry(&mut self, delay: Duration, cause: FailureCause) -> &mut Self {
        self.span("delay", delay).plain("cause", cause)
    }

    fn outcome(&mut self, outcome: &Outcome, not_retried: Option<NotRetried>) -> &mut Self {
        let text = Some(Text(outcome).to_string()).filter(|text| text != outcome.label());
        let (why, failures) = not_retried.map(|it| (it.why, it.failures)).unzip();
        self.plain("outcome", outcome.label()).maybe("text", text);
        self.maybe("not_retried", why).maybe("failures", failures)
    }

    /// The attempt or the signal that the event is about.
    fn subject(&mut self, kind: &EventKind) {
        use EventKind as E;
        if let Some(attempt) = kind.attempt() {
            self.plain("attempt", attempt);
        }
        if let E::HookSlow { source: HookSource::Signal(signal), .. }
        | E::HookPanicked { source: HookSource::Signal(signal), .. } = kind
        {
            self.text("signal", signal);
        }
    }

    /// How a body returned, where its result does not count.
    fn ended(&mut self, returned_ok: bool, error: Option<&TaskError>) -> &mut Self {
        self.plain("returned_ok", returned_ok).maybe("error", error)
    }

    /// A value that never needs quotes.
    fn plain(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.write(key, &value)
    }

    // Not generic, so that a program contains it once, like `quote`.
    fn write(&mut self, key: &str, value: &dyn fmt::Display) -> &mut Self {
        if self.result.is_ok() {
            self.result = write!(self.f, " {key}={value}");
        }
        self
    }

    fn span(&mut self, key: &str, span: Duration) -> &mut Self {
        self.plain(key, format_args!("{}s", Seconds(span)))
    }

    /// A span, unless it has no end.
    fn limit(&mut self, key: &str, span: Option<Duration>) -> &mut Self {
        match span {
            Some(span) => self.span(key, span),
            None => self,
        }
    }

    /// A value that gets quotes if it contains anything except letters, digits and a few signs.
    fn text(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.quote(key, &value)
    }

    fn quote(&mut self, key: &str, value: &dyn fmt::Display) -> &mut Self {
        let text = value.to_string();
        let sign = |c| matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '#' | '+');
        let plain = |c: char| c.is_alphanumeric() || sign(c);
        if !text.is_empty() && text.chars().all(plain) {
            self.write(key, &text)
        } else {
            self.write(key, &format_args!("{text:?}"))
        }
    }

    fn maybe(&mut self, key: &str, value: Option<impl fmt::Display>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }
}

/// The label as it is, because the line escapes it.
fn label(mark: Option<&Mark>) -> Option<&str> {
    mark.map(|mark| &*mark.label)
}

impl EventKind {
    /// The log level: see [`LogEvents`].
    pub(crate) const fn level(&self) -> log::Level {
        match self {
            Self::TaskEnded { outcome, .. } if outcome.is_failure() => log::Level::Error,
            Self::TaskEnded {
                outcome: Outcome::Cancelled { returned: Some(Err(_)), .. }, ..
            }
            | Self::AttemptCancelled { told: Some(_), error: Some(_), .. }
            | Self::AttemptFailed { .. }
            | Self::GroupStopping { why: StopReason::Group, .. }
            | Self::GroupRestarting { .. }
            | Self::AttemptPanicked { .. }
            | Self::AttemptTimedOut { .. }
            | Self::AttemptUnresponsive { .. }
            | Self::AttemptOverdue { .. }
            | Self::AttemptSilent { .. }
            | Self::AttemptsTooShort { .. }
            | Self::AttemptAbandoned { .. }
            | Self::ClosingAbandoned { .. }
            | Self::ProcessKilled { .. }
            | Self::StallReport { .. }
            | Self::HookSlow { .. }
            | Self::HookPanicked { .. }
            | Self::ThreadRefused { .. }
            | Self::ServiceSick { .. }
            | Self::NotifyFailed { .. }
            | Self::SubscriberOverflow { .. }
            | Self::DropPanicked { .. }
            | Self::SubscriberPanicked { .. } => log::Level::Warn,
            Self::Rejected { .. }
            | Self::AttemptReturned { .. }
            | Self::ClosingReturned { .. }
            | Self::AttemptResponsive { .. }
            | Self::ServiceWell
            | Self::AttemptReady { .. }
            | Self::AttemptStable { .. }
            | Self::RetryScheduled { .. }
            | Self::TaskPaused
            | Self::TaskResumed
            | Self::TaskEnded { .. }
            | Self::GroupStarting
            | Self::GroupReady { .. }
            | Self::GroupStopping { .. }
            | Self::GroupEnded
            | Self::DrainRequested { .. }
            | Self::ShutdownRequested { .. }
            | Self::ShutdownEnded => log::Level::Info,
            Self::Submitted { .. }
            | Self::Admitted
            | Self::Queued { .. }
            | Self::SlotTransition { .. }
            | Self::WaitingForPermit { .. }
            | Self::AttemptStarting { .. }
            | Self::AttemptStopping { .. }
            | Self::ProcessStarted { .. }
            | Self::ProcessExited { .. }
            | Self::AttemptSucceeded { .. }
            | Self::AttemptCancelled { .. }
            | Self::TaskClosing
            | Self::RunScheduled { .. } => log::Level::Debug,
        }
    }
}

/// Writes each event as one `key=value` line through the `log` crate, under the target
/// `threadvisor`. Failed outcomes are errors; failed attempts, errors of stopped bodies, hangs,
/// attempts that are too short, processes that are killed, groups that restart or stop because of a
/// member, panics, slow hooks, a sick service, messages to its manager that fail, refused threads
/// and lost events are warnings; other outcomes and events of groups, rejections, retries, tasks
/// that are paused or resumed, attempts that are ready, stable, respond or return after all, a
/// service that is well again, drain and shutdown are information; the rest is for debugging.
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
    /// Returns a subscriber that logs every event.
    pub const fn new() -> Self {
        Self(())
    }

    pub(crate) fn log(event: &Event) {
        log::log!(target: "threadvisor", event.kind.level(), "{event}");
    }
}
