//! The timeline: what is drawn of events that are made up here, and of real threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use threadvisor::prelude::*;
use threadvisor::{TaskId, Timeline, TimelineLog};

use crate::support::no_op;

mod drawn;
mod made_up;
mod on_threads;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const STUCK: &str = "abandoned, thread stuck";

/// A slice as a viewer reads it. Times are in nanoseconds.
#[derive(Clone, Debug)]
struct Slice {
    group: String,
    row: (u64, String),
    label: String,
    start: u64,
    end: u64,
    is_moment: bool,
    args: Value,
}

impl Slice {
    fn text(&self) -> &str {
        self.args["text"].as_str().unwrap()
    }

    fn is_attempt(&self) -> bool {
        self.args["attempt"].is_u64()
            && !["told to return", "event", "warning", STUCK].contains(&&*self.label)
    }
}

/// What a viewer reads, which has no slices that overlap without one lying in the other.
#[track_caller]
fn read(log: &TimelineLog) -> Vec<Slice> {
    let mut text = Vec::new();
    log.write_chrome(&mut text).unwrap();
    let slices = parse(&text);
    check_nesting(&slices);
    slices
}

fn parse(text: &[u8]) -> Vec<Slice> {
    let all: Value = serde_json::from_slice(text).unwrap();
    let events = all["traceEvents"].as_array().unwrap();
    let mut names = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "M") {
        let key = (event["name"].to_string(), event["pid"].as_u64(), event["tid"].as_u64());
        names.insert(key, event["args"]["name"].as_str().unwrap_or_default().to_owned());
    }
    let name = |what: &str, pid: &Value, tid: Option<u64>| -> String {
        names[&(format!("\"{what}\""), pid.as_u64(), tid)].clone()
    };
    let read = |event: &Value| {
        let (start, tid) = (nanos(&event["ts"]).unwrap(), event["tid"].as_u64());
        Slice {
            group: name("process_name", &event["pid"], None),
            row: (tid.unwrap(), name("thread_name", &event["pid"], tid)),
            label: event["cat"].as_str().unwrap().to_owned(),
            start,
            end: start + nanos(&event["dur"]).unwrap_or(0),
            is_moment: event["ph"] == "i",
            args: event["args"].clone(),
        }
    };
    let slices = events.iter().filter(|it| it["cat"].is_string());
    slices.filter(|it| it["ph"] == "X" || it["ph"] == "i").map(read).collect()
}

/// The slices of a page: the name of the row, the label, the task, the attempt, and the text.
type OnPage = (String, String, String, u64, String);

fn read_page(log: &TimelineLog) -> Vec<OnPage> {
    let mut page = Vec::new();
    log.write_html(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: Value = serde_json::from_str(data).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let slices = data["slices"].as_array().unwrap();
    let slice = |slice: &[Value]| {
        let at = |place: usize| usize::try_from(slice[place].as_u64().unwrap()).unwrap();
        (
            text(&data["rows"][at(0)][1]),
            text(&data["kinds"][at(1)][0]),
            text(&data["strings"][at(6)]),
            slice[5].as_u64().unwrap(),
            text(&data["strings"][at(7)]),
        )
    };
    assert_eq!(slices.len() % 8, 0);
    slices.chunks(8).map(slice).collect()
}

/// Of a number of microseconds with three decimals.
fn nanos(micros: &Value) -> Option<u64> {
    let text = format!("{:.3}", micros.as_f64()?);
    text.replace('.', "").parse().ok()
}

#[track_caller]
fn check_nesting(slices: &[Slice]) {
    let mut rows = BTreeMap::<u64, Vec<&Slice>>::new();
    for slice in slices.iter().filter(|slice| !slice.is_moment) {
        rows.entry(slice.row.0).or_default().push(slice);
    }
    for row in rows.values_mut() {
        row.sort_by_key(|it| (it.start, std::cmp::Reverse(it.end)));
        let mut around: Vec<&Slice> = Vec::new();
        for slice in row {
            around.retain(|outer| outer.end > slice.start);
            if let Some(outer) = around.last() {
                assert!(slice.end <= outer.end, "{slice:?} juts out of {outer:?}");
            }
            around.push(slice);
        }
    }
}

/// Those of one group: their rows, labels, and times in milliseconds.
fn drawn(slices: &[Slice], group: &str) -> Vec<(String, String, u64, u64)> {
    let of = slices.iter().filter(|it| it.group == group && it.label != "task");
    let mut drawn: Vec<_> = of
        .map(|it| (it.row.1.clone(), it.label.clone(), it.start / 1_000_000, it.end / 1_000_000))
        .collect();
    drawn.sort_by_key(|it| it.2);
    drawn
}

/// A timeline that is fed by hand, with tasks that have real ids.
struct Feed {
    timeline: Timeline,
    log: TimelineLog,
    ids: Vec<TaskId>,
    seq: u64,
    now: Duration,
}

impl Feed {
    fn new(tasks: usize) -> Self {
        Self::with_capacity(tasks, 100_000)
    }

    fn with_capacity(tasks: usize, spans: usize) -> Self {
        let supervisor = Supervisor::builder().start().unwrap();
        let specs = (0..tasks).map(|n| no_op(&format!("{n}"))).collect::<Vec<_>>();
        let handles = supervisor.handle().add_all(specs).unwrap();
        let ids = handles.iter().map(TaskHandle::id).collect();
        let (timeline, log) = Timeline::new();
        Self { timeline: timeline.capacity(spans), log, ids, seq: 0, now: Duration::ZERO }
    }

    /// An event about the task of that number.
    fn say(&mut self, at: u64, task: usize, kind: EventKind) {
        self.say_of(at, task, &format!("task {task}"), Some("slot"), kind);
    }

    fn say_of(&mut self, at: u64, task: usize, name: &str, slot: Option<&str>, kind: EventKind) {
        let mut event = self.event(at, kind);
        let about = event.task.as_mut().unwrap();
        (about.id, about.name) = (self.ids[task], Arc::from(name));
        about.slot = slot.map(Arc::from);
        self.timeline.on_event(&event);
    }

    fn say_of_all(&mut self, at: u64, kind: EventKind) {
        let mut event = self.event(at, kind);
        event.task = None;
        self.timeline.on_event(&event);
    }

    fn say_of_group(&mut self, at: u64, group: &str, kind: EventKind) {
        let mut event = self.event(at, kind);
        (event.task, event.group) = (None, Some(Arc::from(group)));
        self.timeline.on_event(&event);
    }

    fn event(&mut self, at: u64, kind: EventKind) -> Event {
        self.seq += 1;
        self.now = ms(at);
        let mut event = Event::sample(kind);
        (event.seq, event.since_start) = (self.seq, self.now);
        event
    }

    /// A task that is taken in, and its first attempt.
    fn begin(&mut self, at: u64, task: usize, thread: &str) {
        self.say(at, task, submitted());
        self.say(at, task, EventKind::Admitted);
        self.say(at, task, starting(1, thread));
    }
}

fn submitted() -> EventKind {
    EventKind::Submitted { policy: AdmissionPolicy::Queue }
}

fn starting(attempt: u64, thread: &str) -> EventKind {
    EventKind::AttemptStarting { attempt, thread: Some(thread.into()) }
}

fn stopping(attempt: u64, reason: CancelReason) -> EventKind {
    EventKind::AttemptStopping { attempt, reason, grace: Some(ms(3000)) }
}

fn succeeded(attempt: u64, ran: u64) -> EventKind {
    EventKind::AttemptSucceeded { attempt, ran: ms(ran), told: None }
}

fn failed(attempt: u64, ran: u64) -> EventKind {
    EventKind::AttemptFailed { attempt, ran: ms(ran), error: "boom".into() }
}

fn abandoned(attempt: u64, ran: u64, released: bool) -> EventKind {
    let (reason, ran, thread, mark) = (CancelReason::Timeout, ms(ran), None, None);
    let at_limit = false;
    EventKind::AttemptAbandoned { attempt, reason, ran, thread, mark, released, at_limit }
}

fn returned(attempt: u64) -> EventKind {
    EventKind::AttemptReturned { attempt, late_by: ms(1), returned_ok: true, error: None }
}

fn retry(attempt: u64, delay: u64) -> EventKind {
    let cause = FailureCause::Failed;
    EventKind::RetryScheduled { attempt, delay: ms(delay), cause }
}

fn ended() -> EventKind {
    EventKind::TaskEnded { outcome: Outcome::Completed, not_retried: None }
}
