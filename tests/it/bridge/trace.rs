//! Spans and events for the crate `tracing`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AttemptSpans, TraceEvents};
use tracing::dispatcher::with_default;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Level, Metadata};

use super::{names, table};
use crate::samples;
use crate::support::{outcome_of, Gate, Rig};

/// Keeps all spans and events.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// The first has the number 1.
    spans: Vec<Span>,
    events: Vec<Noted>,
    /// Those that a thread is in, the innermost last.
    inside: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    name: String,
    target: String,
    fields: Fields,
    handles: usize,
    is_root: bool,
    ended_at: Option<usize>,
}

#[derive(Clone, Debug)]
struct Noted {
    level: Level,
    target: String,
    fields: Fields,
    parent: Option<u64>,
}

type Fields = BTreeMap<String, String>;

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }
}

impl Recorder {
    fn dispatch(&self) -> Dispatch {
        Dispatch::new(self.clone())
    }

    /// Calls a subscriber back with these events.
    fn hear<'a>(&self, subscriber: &mut TraceEvents, events: impl IntoIterator<Item = &'a Event>) {
        with_default(&self.dispatch(), || {
            events.into_iter().for_each(|event| subscriber.on_event(event));
        });
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().spans.clone()
    }

    fn events(&self) -> Vec<Noted> {
        self.0.lock().unwrap().events.clone()
    }

    fn open(&self) -> usize {
        self.spans().iter().filter(|span| span.handles > 0).count()
    }
}

fn at(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

impl tracing::Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().unwrap();
        let metadata = attributes.metadata();
        let mut span = Span { handles: 1, is_root: attributes.is_root(), ..Span::default() };
        (span.name, span.target) = (metadata.name().into(), metadata.target().into());
        attributes.record(&mut Reader(&mut span.fields));
        seen.spans.push(span);
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Reader(&mut self.0.lock().unwrap().spans[at(id)].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut seen = self.0.lock().unwrap();
        let (metadata, mut fields) = (event.metadata(), Fields::new());
        event.record(&mut Reader(&mut fields));
        let inside = if event.is_contextual() { seen.inside.last().copied() } else { None };
        let parent = event.parent().map(Id::into_u64).or(inside);
        let (level, target) = (*metadata.level(), metadata.target().into());
        seen.events.push(Noted { level, target, fields, parent });
    }

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().inside.push(id.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().inside.pop();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().spans[at(id)].handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut seen = self.0.lock().unwrap();
        let events = seen.events.len();
        let span = &mut seen.spans[at(&id)];
        span.handles -= 1;
        if span.handles == 0 {
            span.ended_at = Some(events);
        }
        span.handles == 0
    }
}

/// Passes on what a supervisor says, with a recorder on the thread of the lane.
struct Scoped(Recorder, TraceEvents);

impl Subscribe for Scoped {
    fn on_event(&mut self, event: &Event) {
        let Self(recorder, trace) = self;
        recorder.hear(trace, [event]);
    }
}

fn of(attempt: u64, kind: impl FnOnce(u64) -> EventKind) -> Event {
    Event::sample(kind(attempt))
}

fn starting(attempt: u64) -> Event {
    of(attempt, |attempt| EventKind::AttemptStarting { attempt, thread: Some("w1".into()) })
}

fn succeeded(attempt: u64) -> Event {
    let (ran, told) = (Duration::from_millis(1500), None);
    of(attempt, |attempt| EventKind::AttemptSucceeded { attempt, ran, told })
}

#[test]
fn each_event_has_the_level_and_the_fields_that_the_page_says() {
    let mut seen = BTreeSet::new();
    for event in samples::events() {
        let recorder = Recorder::default();
        recorder.hear(&mut TraceEvents::new(), [&event]);
        let [noted] = &recorder.events()[..] else { panic!("{event}") };
        assert_eq!(noted.target, "threadvisor");
        let field = |name: &str| noted.fields.get(name).map(String::as_str);
        assert_eq!(field("message"), Some(event.kind.to_string().as_str()));
        assert_eq!(field("event"), Some(event.kind.label()));
        assert_eq!(field("seq"), Some(event.seq.to_string().as_str()));
        assert_eq!(field("task"), event.task.as_ref().map(|task| &*task.name));
        let id = event.task.as_ref().map(|task| task.id.get().to_string());
        assert_eq!(field("id").map(str::to_owned), id);
        let attempt = event.kind.attempt().map(|attempt| attempt.to_string());
        assert_eq!(field("attempt").map(str::to_owned), attempt);
        assert_eq!(field("group"), event.group.as_deref());
        seen.insert((noted.level.to_string().to_lowercase(), event.kind.label()));
    }
    let rows = table("Spans and events", "level");
    let rows: Vec<_> = rows.iter().map(|row| (row[0].clone(), names(&row[1]))).collect();
    let said =
        rows.iter().flat_map(|(level, names)| names.iter().map(move |name| (level.clone(), *name)));
    assert_eq!(seen, said.collect());
}

#[test]
fn the_span_of_an_attempt_has_the_fields_that_the_page_says() {
    let mut fields = BTreeSet::new();
    let mut words = BTreeSet::new();
    for mut event in samples::events() {
        let recorder = Recorder::default();
        event.group = Some("line".into());
        let mut trace = TraceEvents::new();
        recorder.hear(&mut trace, [&starting(2), &event]);
        let spans = recorder.spans();
        let Some(ended) = spans[0].fields.get("ended") else {
            // No other event makes a span, and only a return that comes late ends one.
            let open = usize::from(event.kind.label() != "attempt_returned");
            assert_eq!((spans.len(), recorder.open()), (1, open), "{event}");
            continue;
        };
        assert_eq!((&*spans[0].name, &*spans[0].target), ("attempt", "threadvisor"));
        assert!(spans[0].is_root);
        assert_eq!(event.kind.label(), format!("attempt_{ended}"));
        assert_eq!(spans[0].fields["ran"], "1.5");
        assert_eq!((spans.len(), recorder.open()), (1, 0), "{event}");
        // The event about the end is inside.
        assert_eq!((recorder.events()[1].parent, spans[0].ended_at), (Some(1), Some(2)), "{event}");
        words.insert(ended.clone());

        // If the start was lost, the span is as short as the event, and says the same.
        let recorder = Recorder::default();
        recorder.hear(&mut TraceEvents::new(), [&event]);
        let [span] = &recorder.spans()[..] else { panic!("{event}") };
        assert_eq!((&span.fields["ended"], span.ended_at), (ended, Some(1)));
        assert_eq!(span.fields.get("error"), spans[0].fields.get("error"));
        assert_eq!(span.fields["group"], "line");
        fields.extend(spans[0].fields.keys().cloned());
        fields.extend(span.fields.keys().cloned());
    }
    let rows = table("Spans and events", "field");
    let cells: Vec<_> = rows.iter().map(|row| names(&row[0])).collect();
    assert_eq!(fields, cells.iter().flatten().map(|it| (*it).to_owned()).collect());
    let ended = rows.iter().find(|row| row[0] == "`ended`").unwrap();
    assert_eq!(words, names(&ended[1]).into_iter().map(str::to_owned).collect());
}

#[test]
fn events_about_an_attempt_are_inside_its_span_while_it_lasts() {
    let recorder = Recorder::default();
    let ready = |attempt| EventKind::AttemptReady { attempt, took: Duration::ZERO };
    let story = [
        Event::sample(EventKind::Admitted),
        starting(1),
        of(1, ready),
        starting(2),
        of(1, ready),
        succeeded(1),
        of(1, |attempt| EventKind::RunScheduled { attempt, delay: Duration::ZERO }),
        of(2, ready),
    ];
    let mut trace = TraceEvents::new();
    recorder.hear(&mut trace, &story);
    let parents: Vec<_> = recorder.events().iter().map(|noted| noted.parent).collect();
    let (one, two) = (Some(1), Some(2));
    assert_eq!(parents, [None, one, one, two, one, one, None, two]);
    drop(trace);
    assert_eq!(recorder.open(), 0, "the subscriber takes what is left with it");
}

/// The lane first says what it has lost, then calls back what was before that in its queue.
#[test]
fn after_events_were_lost_no_span_stays_open_that_may_have_ended() {
    let recorder = Recorder::default();
    let mut trace = TraceEvents::new();
    let numbered = |seq, mut event: Event| {
        event.seq = seq;
        event
    };
    let lost = EventKind::SubscriberOverflow { dropped: 3, first: 4, last: 6 };
    let lost = numbered(4, Event::sample(lost));
    recorder.hear(&mut trace, [&numbered(1, starting(1)), &numbered(2, starting(2)), &lost]);
    assert_eq!(recorder.open(), 2);
    recorder.hear(&mut trace, [&numbered(3, succeeded(1))]);
    assert_eq!(recorder.open(), 1, "what comes from before the gap is as ever");
    recorder.hear(&mut trace, [&numbered(7, starting(8))]);
    let spans = recorder.spans();
    assert_eq!(spans.iter().map(|span| span.handles).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(!spans[1].fields.contains_key("ended"));

    // What ran on then has its end in one span even so.
    recorder.hear(&mut trace, [&numbered(9, succeeded(2)), &numbered(10, succeeded(8))]);
    let ended = recorder.spans().into_iter().filter(|span| span.fields.contains_key("ended"));
    let attempts: Vec<_> = ended.map(|span| span.fields["attempt"].clone()).collect();
    assert_eq!((attempts, recorder.open()), (vec!["1".into(), "8".into(), "2".into()], 0));
}

#[test]
fn a_body_logs_inside_the_one_span_of_its_attempt() {
    let recorder = Recorder::default();
    let trace = TraceEvents::new();
    let spans = trace.spans();
    let scoped = Scoped(recorder.clone(), trace);
    let rig = Rig::start(Supervisor::builder().subscriber(scoped));
    let logger = recorder.clone();
    let sensor = TaskSpec::new("sensor", move |ctx| {
        with_default(&logger.dispatch(), || {
            let _inside = spans.of(ctx).entered();
            tracing::info!("is read");
        });
        if ctx.attempt() < 3 {
            Err("again".into())
        } else {
            Ok(())
        }
    });
    let sensor = sensor.backoff(BackoffPolicy::constant(Duration::from_millis(1)));
    let sensor = rig.handle.add(sensor.slot("port")).unwrap();
    assert!(outcome_of(&sensor).is_success());
    rig.supervisor.shutdown().unwrap();

    let spans = recorder.spans();
    assert_eq!((spans.len(), recorder.open()), (3, 0), "one for each attempt: {spans:?}");
    for (span, ended) in spans.iter().zip(["failed", "failed", "succeeded"]) {
        assert_eq!(span.fields["ended"], ended);
        assert_eq!((&*span.fields["task"], &*span.fields["slot"]), ("sensor", "port"));
        assert!(span.fields["thread"].starts_with('w'), "{span:?}");
    }
    assert_eq!(spans[1].fields["error"], "again");
    let said = recorder.events().into_iter().filter(|noted| noted.fields["message"] == "is read");
    let mut parents: Vec<_> = said.map(|noted| noted.parent.unwrap()).collect();
    parents.sort_unstable();
    assert_eq!(parents, [1, 2, 3]);
}

#[test]
fn a_body_that_asks_for_its_span_after_it_was_abandoned_leaves_none_open() {
    let recorder = Recorder::default();
    let trace = TraceEvents::new();
    let spans = trace.spans();
    let scoped = Scoped(recorder.clone(), trace);
    let rig = Rig::start(Supervisor::builder().subscriber(scoped));
    let mut gate = Gate::new();
    let (logger, mut body) = (recorder.clone(), gate.body());
    let stuck = TaskSpec::new("stuck", move |ctx| {
        let result = body(ctx);
        with_default(&logger.dispatch(), || drop(spans.of(ctx)));
        result
    });
    let stuck = rig.handle.add(stuck.grace(Duration::ZERO)).unwrap();
    gate.wait_entered();
    stuck.cancel();
    rig.until(&stuck, "attempt_abandoned 1: stop");
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    rig.handle.flush_events().unwrap();
    assert_eq!(recorder.spans()[0].fields["ended"], "abandoned");
    assert_eq!(recorder.open(), 0, "an abandoned attempt has ended");
    gate.open();
    rig.until_label("attempt_returned");
    rig.handle.flush_events().unwrap();
    assert_eq!((recorder.spans().len(), recorder.open()), (2, 0));
    rig.supervisor.shutdown().unwrap();
}

#[test]
fn without_its_subscriber_a_body_gets_a_span_all_the_same() {
    let recorder = Recorder::default();
    let spans: AttemptSpans = TraceEvents::new().spans();
    let (ctx, _canceller) = TaskContext::detached();
    with_default(&recorder.dispatch(), || drop(spans.of(&ctx)));
    let [span] = &recorder.spans()[..] else { panic!("one") };
    assert_eq!((&*span.fields["task"], span.handles), ("detached", 0));
}

#[test]
fn a_lane_that_is_too_small_leaves_no_span_open() {
    let recorder = Recorder::default();
    let scoped = Scoped(recorder.clone(), TraceEvents::new());
    let supervisor = Supervisor::builder().event_capacity(2).subscriber(scoped).start().unwrap();
    let tasks: Vec<_> = (0..500).map(|_| TaskSpec::once("short", |_| Ok(())).no_slot()).collect();
    let report = supervisor.run(tasks).unwrap();
    assert_eq!((report.outcomes.completed, recorder.open()), (500, 0));
    assert!(recorder.spans().len() <= 1000);
}
