//! [`TraceEvents`]: attempts as spans, and events, for the crate `tracing`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use tracing::field::Empty;
use tracing::{Level, Span};

use super::ended;
use crate::api::subscribe::Subscribe;
use crate::output::error::TaskError;
use crate::output::event::{Event, EventKind};
use crate::platform::sync::Mutex;
use crate::task::context::TaskContext;
use crate::vocabulary::id::{TaskId, TaskRef};

/// Passes events on to the crate `tracing`, under the target `threadvisor`: each event as one of
/// `tracing`, with the level of [`LogEvents`](crate::LogEvents), and each attempt as a span.
///
/// The span `attempt` lasts from the moment at which the subscriber hears of the attempt's start
/// until it hears of its end, and is that of all events about the attempt in between. Nothing
/// enters it, because the subscriber runs on a thread of its own. A body that shall log inside its
/// span enters it by [`spans`](Self::spans). Where events were lost, the spans that were open then
/// end without a word on how. [`guide::telemetry`](crate::guide::telemetry) lists all names.
///
/// What collects the spans must be the global default of `tracing` before the supervisor starts.
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::TraceEvents;
/// let trace = TraceEvents::new();
/// let spans = trace.spans();
/// let supervisor = Supervisor::builder().subscriber(trace).start()?;
/// let sensor = TaskSpec::new("sensor", move |ctx| {
///     let _inside = spans.of(ctx).entered();
///     tracing::info!("is read"); // knows its task and its attempt
///     Ok(())
/// });
/// assert_eq!(supervisor.run([sensor])?.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "hand it to the builder as a subscriber"]
pub struct TraceEvents {
    open: Arc<Open>,
    /// The last of the events that were lost, until a later one comes.
    gap: Option<u64>,
}

/// Gives a body the span of its attempt: see [`TraceEvents::spans`].
///
/// ```
/// use threadvisor::{prelude::*, TraceEvents};
/// let trace = TraceEvents::new();
/// let spans = trace.spans();
/// let supervisor = Supervisor::builder().subscriber(trace).start()?;
/// let sensor = TaskSpec::once("sensor", move |ctx| {
///     let _inside = spans.of(ctx).entered();
///     tracing::info!("is read"); // inside the span of this attempt
///     Ok(())
/// });
/// assert_eq!(supervisor.run([sensor])?.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AttemptSpans(Weak<Open>);

type Key = (TaskId, u64);

/// The spans of attempts that run. Whoever needs one first makes it, outside the lock, because what
/// collects spans is user code.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<Key, Arc<OnceLock<Span>>>>);

impl Open {
    fn make(&self, key: Key, make: impl FnOnce() -> Span) -> Span {
        let place = Arc::clone(self.0.lock().entry(key).or_default());
        place.get_or_init(make).clone()
    }

    fn get(&self, key: Key) -> Option<Span> {
        let place = self.0.lock().get(&key).cloned();
        place?.get().cloned()
    }

    fn take(&self, key: Key) -> Option<Span> {
        let place = self.0.lock().remove(&key);
        place?.get().cloned()
    }

    fn clear(&self) {
        let _all = std::mem::take(&mut *self.0.lock());
    }
}

impl TraceEvents {
    /// Returns the subscriber.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what gives bodies the spans of their attempts, for the supervisor that gets this
    /// subscriber.
    pub fn spans(&self) -> AttemptSpans {
        AttemptSpans(Arc::downgrade(&self.open))
    }

    /// The span of the attempt that the event is about. It is open afterwards, unless the attempt
    /// has ended.
    fn span_of(&self, event: &Event) -> Option<Span> {
        let (task, attempt) = (event.task.as_ref()?, event.kind.attempt()?);
        let (key, make) = ((task.id, attempt), || span(task, event.group.as_deref(), attempt));
        match &event.kind {
            EventKind::AttemptStarting { thread, .. } => {
                let span = self.open.make(key, make);
                span.record("thread", thread.as_deref());
                Some(span)
            }
            EventKind::AttemptReturned { .. } => self.open.take(key),
            kind => match ended(kind) {
                Some((ended, ran)) => {
                    let span = self.open.take(key).unwrap_or_else(make);
                    span.record("ended", ended).record("ran", ran.as_secs_f64());
                    span.record("error", error(kind).map(ToString::to_string).as_deref());
                    Some(span)
                }
                None => self.open.get(key),
            },
        }
    }
}

impl AttemptSpans {
    /// Returns the span of the attempt that the context belongs to, to be
    /// [entered](tracing::Span::entered) on the threads that work for it. If the supervisor has no
    /// [`TraceEvents`] that these spans are from, it is a span that nobody else knows of.
    pub fn of(&self, ctx: &TaskContext) -> Span {
        let (task, attempt) = (ctx.record().task_ref(), ctx.attempt());
        let make = || span(&task, ctx.group(), attempt);
        match self.0.upgrade() {
            Some(open) => open.make((task.id, attempt), make),
            None => make(),
        }
    }
}

fn span(task: &TaskRef, group: Option<&str>, attempt: u64) -> Span {
    tracing::span!(
        target: "threadvisor",
        parent: None,
        Level::INFO,
        "attempt",
        task = &*task.name,
        id = task.id.get(),
        attempt,
        slot = task.slot.as_deref(),
        group,
        thread = Empty,
        ended = Empty,
        ran = Empty,
        error = Empty,
    )
}

fn error(kind: &EventKind) -> Option<&TaskError> {
    use EventKind as E;
    match kind {
        E::AttemptFailed { error, .. } | E::AttemptPanicked { error, .. } => Some(error),
        E::AttemptCancelled { error, .. }
        | E::AttemptTimedOut { error, .. }
        | E::AttemptUnresponsive { error, .. } => error.as_ref(),
        _ => None,
    }
}

impl Subscribe for TraceEvents {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::SubscriberOverflow { last, .. } = event.kind {
            self.gap = Some(last);
        } else if self.gap.is_some_and(|last| event.seq > last) {
            // What has ended meanwhile is unknown.
            self.gap = None;
            self.open.clear();
        }

        let span = self.span_of(event);
        let parent = span.as_ref().and_then(Span::id);
        // The level is a part of what is known of a place in the code.
        macro_rules! at {
            ($level:ident) => {
                tracing::event!(
                    target: "threadvisor",
                    parent: parent,
                    Level::$level,
                    event = event.kind.label(),
                    seq = event.seq,
                    task = event.task.as_ref().map(|task| &*task.name),
                    id = event.task.as_ref().map(|task| task.id.get()),
                    attempt = event.kind.attempt(),
                    group = event.group.as_deref(),
                    "{}",
                    event.kind
                )
            };
        }
        match event.kind.level() {
            log::Level::Error => at!(ERROR),
            log::Level::Warn => at!(WARN),
            log::Level::Info => at!(INFO),
            log::Level::Debug | log::Level::Trace => at!(DEBUG),
        }
    }

    fn name(&self) -> &'static str {
        "TraceEvents"
    }
}
