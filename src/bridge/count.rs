//! [`CountEvents`]: events, attempts and tasks as numbers, for the crate `metrics`.

use std::collections::HashSet;
use std::sync::Arc;

use metrics::{Label, Unit};

use super::ended;
use crate::api::subscribe::Subscribe;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::{Event, EventKind};

/// Counts events, attempts and outcomes with the crate `metrics`, whose recorder must be there
/// before the supervisor starts. [`guide::telemetry`](crate::guide::telemetry) lists all names and
/// labels, which are an interface.
///
/// No label has the id of a task. None has its name, unless [`tasks`](Self::tasks) asks for it. So
/// the number of time series has a limit, however many tasks there are.
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::CountEvents;
/// let count = CountEvents::new().tasks(["sensor"]);
/// let supervisor = Supervisor::builder().subscriber(count).start()?;
/// assert_eq!(supervisor.run([TaskSpec::new("sensor", |_| Ok(()))])?.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "hand it to the builder as a subscriber"]
pub struct CountEvents {
    tasks: Option<HashSet<Arc<str>>>,
}

const EVENTS: &str = "threadvisor_events_total";
const EVENTS_LOST: &str = "threadvisor_events_lost_total";
const ATTEMPT_SECONDS: &str = "threadvisor_attempt_seconds";
const RETRIES: &str = "threadvisor_retries_total";
const TASKS: &str = "threadvisor_tasks_total";
const REJECTIONS: &str = "threadvisor_rejections_total";

impl CountEvents {
    /// Returns the subscriber.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the tasks with these names each by itself, and all others together, as `other`: the
    /// metrics about attempts, retries and outcomes get the label `task`. Each name makes as many
    /// time series as there are values of the other label. Default: no such label.
    pub fn tasks(mut self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.tasks = Some(names.into_iter().map(Into::into).collect());
        self
    }

    fn labels(&self, event: &Event, key: &'static str, value: &'static str) -> Vec<Label> {
        let mut labels = vec![Label::from_static_parts(key, value)];
        if let (Some(names), Some(task)) = (&self.tasks, &event.task) {
            labels.push(match names.get(&task.name) {
                Some(name) => Label::new("task", Arc::clone(name)),
                None => Label::from_static_parts("task", "other"),
            });
        }
        labels
    }
}

impl Subscribe for CountEvents {
    fn on_start(&mut self, _: &SupervisorHandle) {
        metrics::describe_counter!(EVENTS, "Events, by their label");
        metrics::describe_counter!(EVENTS_LOST, "Events that were lost because the lane was full");
        let text = "How long attempts ran, by how they ended";
        metrics::describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, text);
        metrics::describe_counter!(RETRIES, "Retries, by how the attempt before has failed");
        metrics::describe_counter!(TASKS, "Tasks that are over, by their outcome");
        metrics::describe_counter!(REJECTIONS, "Submissions that were rejected, by the reason");
    }

    fn on_event(&mut self, event: &Event) {
        metrics::counter!(EVENTS, "event" => event.kind.label()).increment(1);
        if let Some((ended, ran)) = ended(&event.kind) {
            let labels = self.labels(event, "ended", ended);
            metrics::histogram!(ATTEMPT_SECONDS, labels).record(ran);
        }
        match &event.kind {
            EventKind::RetryScheduled { cause, .. } => {
                let labels = self.labels(event, "cause", cause.label());
                metrics::counter!(RETRIES, labels).increment(1);
            }
            EventKind::TaskEnded { outcome, .. } => {
                let labels = self.labels(event, "outcome", outcome.label());
                metrics::counter!(TASKS, labels).increment(1);
            }
            EventKind::Rejected { why } => {
                let labels = self.labels(event, "outcome", "rejected");
                metrics::counter!(TASKS, labels).increment(1);
                metrics::counter!(REJECTIONS, "why" => why.label()).increment(1);
            }
            EventKind::SubscriberOverflow { dropped, .. } => {
                metrics::counter!(EVENTS_LOST).increment(*dropped);
            }
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        "CountEvents"
    }
}
