//! Counters and histograms for the crate `metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use threadvisor::prelude::*;
use threadvisor::CountEvents;

use super::{names, table};
use crate::samples;

/// The kinds and sums of all time series, by their names and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<Series, (&'static str, f64)>>>);

type Series = (String, Vec<(String, String)>);

struct One(Kept, &'static str, Series);

impl One {
    fn add(&self, value: f64) {
        let Self(Kept(all), kind, series) = self;
        all.lock().unwrap().entry(series.clone()).or_insert((kind, 0.0)).1 += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(f64::from(u32::try_from(value).unwrap()));
    }

    fn absolute(&self, _: u64) {
        panic!("nothing sets a counter");
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Kept {
    fn one(&self, kind: &'static str, key: &Key) -> Arc<One> {
        let labels = key.labels().map(|it| (it.key().to_owned(), it.value().to_owned()));
        Arc::new(One(self.clone(), kind, (key.name().to_owned(), labels.collect())))
    }

    fn hear<'a>(&self, count: &mut CountEvents, events: impl IntoIterator<Item = &'a Event>) {
        metrics::with_local_recorder(self, || {
            events.into_iter().for_each(|event| count.on_event(event));
        });
    }

    fn take(&self) -> BTreeMap<Series, (&'static str, f64)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let series = (name.to_owned(), labels.collect());
        self.0.lock().unwrap().get(&series).map_or(0.0, |(_, value)| *value)
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one("counter", key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("there is none")
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one("histogram", key))
    }
}

#[test]
fn each_event_changes_the_metrics_that_the_page_says() {
    let rows = table("Metrics", "metric");
    assert_eq!(rows.len(), 6);
    let kept = Kept::default();
    for event in samples::events() {
        for named in [false, true] {
            let mut count = CountEvents::new();
            if named {
                count = count.tasks(["sample"]);
            }
            kept.hear(&mut count, [&event]);
            let label = event.kind.label();
            let said = rows
                .iter()
                .filter(|row| row[3] == "every event" || names(&row[3]).contains(&label));
            let said = said.map(|row| {
                let labels = names(&row[2]).into_iter().filter(|it| named || *it != "task");
                let labels: Vec<_> = labels.map(str::to_owned).collect();
                (names(&row[0])[0].to_owned(), labels, row[1].clone())
            });
            let seen = kept.take().into_iter().map(|((name, labels), (kind, value))| {
                assert!(value > 0.0);
                let labels = labels.into_iter().map(|(key, value)| {
                    assert!(key != "task" || value == "sample");
                    key
                });
                (name, labels.collect::<Vec<_>>(), kind.to_owned())
            });
            assert_eq!(seen.collect::<BTreeSet<_>>(), said.collect(), "{event}");
        }
    }
}

#[test]
fn the_labels_say_how_and_why() {
    let (kept, mut count) = (Kept::default(), CountEvents::new());
    kept.hear(&mut count, &samples::events());
    let events = samples::events().len();
    let of_events = |((name, _), (_, value)): (Series, (_, f64))| {
        (name == "threadvisor_events_total").then_some(value)
    };
    let sum: f64 = kept.0.lock().unwrap().clone().into_iter().filter_map(of_events).sum();
    assert!((sum - f64::from(u32::try_from(events).unwrap())).abs() < 0.5);
    for (name, label, value, expected) in [
        ("threadvisor_events_total", "event", "task_ended", 4.0),
        ("threadvisor_attempt_seconds", "ended", "cancelled", 3.0),
        ("threadvisor_attempt_seconds", "ended", "timed_out", 1.5),
        ("threadvisor_retries_total", "cause", "failed", 1.0),
        ("threadvisor_tasks_total", "outcome", "cancelled", 2.0),
        ("threadvisor_tasks_total", "outcome", "rejected", 1.0),
        ("threadvisor_rejections_total", "why", "queue_full", 1.0),
    ] {
        let found = kept.value(name, &[(label, value)]);
        assert!((found - expected).abs() < 1e-9, "{name} {value}: {found}");
    }
    let lost = kept.value("threadvisor_events_lost_total", &[]);
    assert!((lost - 3.0).abs() < 0.5, "{lost}");
}

/// Neither the number of tasks nor what they say makes a time series.
#[test]
fn the_number_of_time_series_has_the_limit_that_the_page_says() {
    let page = include_str!("../../../src/guide/telemetry.md");
    for (count, limit) in [(CountEvents::new(), 86), (CountEvents::new().tasks(["a", "b"]), 130)] {
        let (kept, mut count) = (Kept::default(), count);
        for name in ["a", "b", "c", "d", "e"] {
            for id in 0..20 {
                let mut events = samples::events();
                for outcome in outcomes() {
                    events.push(Event::sample(EventKind::TaskEnded { outcome, not_retried: None }));
                }
                for why in rejections(name) {
                    events.push(Event::sample(EventKind::Rejected { why }));
                }
                for cause in CAUSES {
                    let (attempt, delay) = (id, Duration::from_millis(id));
                    let kind = EventKind::RetryScheduled { attempt, delay, cause };
                    events.push(Event::sample(kind));
                }
                for event in &mut events {
                    if let Some(task) = &mut event.task {
                        task.name = name.into();
                        task.slot = Some(format!("{name}-{id}").into());
                    }
                }
                kept.hear(&mut count, &events);
            }
        }
        assert_eq!(kept.take().len(), limit);
    }
    let text = "There are at most 86 time series without names, and 22 more for each name.";
    assert!(page.replace('\n', " ").contains(text));
}

const CAUSES: [FailureCause; 5] = [
    FailureCause::Failed,
    FailureCause::Panicked,
    FailureCause::TimedOut,
    FailureCause::Unresponsive,
    FailureCause::Abandoned,
];

fn outcomes() -> Vec<Outcome> {
    let error = || TaskError::from("boom");
    vec![
        Outcome::Fatal { error: error() },
        Outcome::Panicked { error: error() },
        Outcome::TimedOut { error: None },
        Outcome::Unresponsive { error: None },
        Outcome::Abandoned { reason: CancelReason::Restart, stop: None },
        Outcome::Lost,
    ]
}

fn rejections(name: &str) -> Vec<Rejection> {
    let id = Event::sample(EventKind::Admitted).task.unwrap().id;
    let limit = name.len();
    vec![
        Rejection::BatchRefused { culprit: id },
        Rejection::Expired,
        Rejection::GroupNameInUse,
        Rejection::GroupTooLarge { members: 2, limit },
        Rejection::Removed,
        Rejection::ShuttingDown,
        Rejection::SlotBusy { owner: id, since: Duration::ZERO },
        Rejection::SlotNamedTwice { first: id },
        Rejection::Superseded { by: id },
        Rejection::TooManyAbandoned { limit },
        Rejection::TooManyTasks { limit },
    ]
}

/// Passes on what a supervisor says, with a recorder on the thread of the lane.
struct Scoped(Kept, CountEvents);

impl Subscribe for Scoped {
    fn on_event(&mut self, event: &Event) {
        let Self(kept, count) = self;
        kept.hear(count, [event]);
    }
}

#[test]
fn a_supervisor_is_counted() {
    let kept = Kept::default();
    let count = CountEvents::new().tasks(["sensor"]);
    let builder = Supervisor::builder().subscriber(Scoped(kept.clone(), count));
    let body = |ctx: &TaskContext| if ctx.attempt() < 3 { Err("again".into()) } else { Ok(()) };
    let sensor = TaskSpec::new("sensor", body);
    let sensor = sensor.backoff(BackoffPolicy::constant(Duration::from_millis(1)));
    let other = TaskSpec::new("else", |_| Err(TaskError::fatal("no")));
    builder.start().unwrap().run([sensor, other]).unwrap();
    let near = |name, labels: &[_], value: f64| (kept.value(name, labels) - value).abs() < 0.5;
    let (sensor, other) = (("task", "sensor"), ("task", "other"));
    assert!(near("threadvisor_retries_total", &[("cause", "failed"), sensor], 2.0));
    assert!(near("threadvisor_tasks_total", &[("outcome", "completed"), sensor], 1.0));
    assert!(near("threadvisor_tasks_total", &[("outcome", "fatal"), other], 1.0));
    assert!(near("threadvisor_events_total", &[("event", "attempt_failed")], 3.0));
}
