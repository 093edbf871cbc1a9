//! A subscriber that counts events and outcomes by their stable labels and sums up run times, for a
//! metrics endpoint.
//!
//! `cargo run --example metrics` ends after about 1 s. You see the counters in the text format that
//! Prometheus reads: ended tasks by outcome, events by kind, rejections by reason, retries and
//! seconds of run time by task. The report follows. One task fails on purpose, and since `main`
//! does not return the report, the exit code is 0 all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Values by metric and label. Clones share them: one goes to the supervisor, one to the code that
/// serves the endpoint.
#[derive(Clone, Default)]
struct Metrics(Arc<Mutex<BTreeMap<String, f64>>>);

impl Metrics {
    fn add(&self, metric: &str, label: &str, value: &str, n: f64) {
        let key = format!("threadvisor_{metric}_total{{{label}=\"{value}\"}}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += n;
    }

    fn render(&self) -> String {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join("\n")
    }
}

impl Subscribe for Metrics {
    fn on_event(&mut self, event: &Event) {
        self.add("events", "kind", event.kind.label(), 1.0);
        let Some(task) = &event.task else { return };
        match &event.kind {
            EventKind::AttemptSucceeded { ran, .. } | EventKind::AttemptFailed { ran, .. } => {
                self.add("run_seconds", "task", &task.name, ran.as_secs_f64());
            }
            EventKind::RetryScheduled { .. } => self.add("retries", "task", &task.name, 1.0),
            EventKind::TaskEnded { outcome } => self.add("ended", "outcome", outcome.label(), 1.0),
            // A refused submission has this as its last event, and no `TaskEnded`.
            EventKind::Rejected { why } => self.add("rejected", "why", why.label(), 1.0),
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        "metrics"
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::default();
    let supervisor = Supervisor::builder().subscriber(metrics.clone()).start()?;
    let report = supervisor.run([
        TaskSpec::new("uptime", |ctx| {
            let seconds = std::fs::read_to_string("/proc/uptime")?;
            // Every third attempt fails, so that there is something to count.
            if ctx.attempt() % 3 == 0 {
                Err(seconds.into())
            } else {
                Ok(())
            }
        })
        .repeat_after(ms(50))
        .backoff(BackoffPolicy::constant(ms(20))),
        // This one submits a second task for the slot of the first, which is refused.
        TaskSpec::once("double", |ctx| {
            let double = TaskSpec::once("uptime", |_| Ok(()));
            ctx.handle().submit(double, AdmissionPolicy::DropIfRunning)?;
            Ok(())
        }),
        TaskSpec::once("absent", |_| Ok(std::fs::metadata("/no/such/file").map(drop)?)),
        TaskSpec::once("window", |ctx| Ok(ctx.sleep(ms(1000))?)).shutdown_on_end(),
    ])?;
    // `run` returns once the last event was delivered, or the time allowed for that is over.
    println!("{}\n\n{report}", metrics.render());
    Ok(())
}
