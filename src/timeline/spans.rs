//! Spans of time, made from events one by one: a task is always in one phase, and a thread runs one
//! attempt.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::kind::Kind;
use crate::output::event::{Event, EventKind};
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::time::nanos;

/// One slice of the picture. Times are nanoseconds since the start of the supervisor.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) kind: Kind,
    /// Its end is not known.
    pub(super) open: bool,
    pub(super) who: Who,
    /// 0 if it is about none.
    pub(super) attempt: u64,
    pub(super) thread: Option<Arc<str>>,
    pub(super) text: Option<Arc<str>>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The numbers of the events that say so: their order is right where the times are not.
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Who {
    Supervisor,
    Group(Arc<str>),
    Task(TaskRef),
}

/// A phase that goes on.
#[derive(Clone)]
struct Phase {
    kind: Kind,
    start: u64,
    first: u64,
    text: Option<Arc<str>>,
}

/// A task without outcome.
struct Open {
    task: TaskRef,
    whole: Phase,
    phase: Option<Phase>,
    attempt: Option<Attempt>,
    paused: bool,
    /// What the last attempt or its failure said.
    error: Option<Arc<str>>,
}

struct Attempt {
    number: u64,
    thread: Option<Arc<str>>,
    runs: Phase,
    told: Option<Phase>,
}

/// All that is known.
pub(super) struct Book {
    capacity: usize,
    finished: VecDeque<Span>,
    /// How many finished spans gave way to later ones.
    pub(super) evicted: u64,
    /// How many events the lane lost, and the last of them until a later one comes.
    pub(super) lost: u64,
    gap: Option<u64>,
    /// The time and the number of the latest event.
    pub(super) now: u64,
    seq: u64,
    tasks: HashMap<TaskId, Open>,
    /// Abandoned attempts whose threads are stuck; the attempt 0 is the drop of a body.
    stuck: HashMap<(TaskId, u64), Span>,
    owners: HashMap<Arc<str>, TaskRef>,
    /// The phases of groups by their names, and that of the supervisor without one.
    others: HashMap<Option<Arc<str>>, Phase>,
}

impl Book {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            finished: VecDeque::new(),
            evicted: 0,
            lost: 0,
            gap: None,
            now: 0,
            seq: 0,
            tasks: HashMap::new(),
            stuck: HashMap::new(),
            owners: HashMap::new(),
            others: HashMap::new(),
        }
    }

    pub(super) fn event(&mut self, event: &Event, text: Option<Arc<str>>) {
        self.now = self.now.max(nanos(event.since_start));
        self.seq = self.seq.max(event.seq);
        if let EventKind::SubscriberOverflow { dropped, last, .. } = event.kind {
            self.lost += dropped;
            self.gap = Some(last);
        } else if self.gap.is_some_and(|last| event.seq > last) {
            // What has ended meanwhile is unknown, so all ends here.
            let open = self.open_spans(self.now);
            let Self { evicted, lost, now, seq, .. } = *self;
            let finished = std::mem::take(&mut self.finished);
            *self = Self { finished, evicted, lost, now, seq, ..Self::new(self.capacity) };
            for span in open {
                self.keep(Span { last: seq, ..span });
            }
        }
        match &event.task {
            Some(task) => self.task_event(task, event, text),
            None => self.other_event(event, text),
        }
    }

    fn other_event(&mut self, event: &Event, text: Option<Arc<str>>) {
        let who = event.group.clone().map_or(Who::Supervisor, Who::Group);
        let kind = match &event.kind {
            EventKind::DrainRequested { .. } => Kind::Drain,
            EventKind::ShutdownRequested { .. } => Kind::Shutdown,
            EventKind::GroupStarting => Kind::GroupStarts,
            EventKind::GroupReady { .. } => Kind::GroupIsUp,
            EventKind::GroupRestarting { .. } => Kind::GroupRestarts,
            EventKind::GroupStopping { .. } => Kind::GroupStops,
            EventKind::GroupEnded | EventKind::ShutdownEnded => {
                let before = self.others.remove(&event.group);
                return self.finish(before, &who);
            }
            _ => return self.note(event, &who, text),
        };
        let phase = self.phase(kind, text);
        let before = self.others.insert(event.group.clone(), phase);
        self.finish(before, &who);
    }

    fn task_event(&mut self, task: &TaskRef, event: &Event, text: Option<Arc<str>>) {
        use EventKind as E;
        if let Some((end, ran)) = end_of(&event.kind) {
            return self.end_attempt(task, event, (end, ran), text);
        }
        match &event.kind {
            E::Submitted { .. } => _ = self.open(task),
            E::Queued { .. } => {
                let owner = task.slot.as_ref().and_then(|slot| self.owners.get(slot));
                let behind = owner.map(|owner| format!("behind {owner}").into());
                self.begin(task, Kind::Queued, behind);
            }
            E::Admitted => {
                if let Some(slot) = &task.slot {
                    self.owners.insert(Arc::clone(slot), task.clone());
                }
                self.begin(task, Kind::Starting, turn(event));
            }
            E::WaitingForPermit { .. } => self.begin(task, Kind::Permit, text),
            E::AttemptStarting { attempt, thread } => self.start(task, *attempt, thread.clone()),
            E::AttemptStopping { .. } => {
                let told = self.phase(Kind::Told, text);
                if let Some(attempt) = &mut self.open(task).attempt {
                    attempt.told = Some(told);
                }
            }
            E::AttemptReturned { attempt, .. } => self.come_back(task, *attempt, text),
            E::StallReport { attempt, .. } => match self.stuck.get_mut(&(task.id, *attempt)) {
                Some(span) => {
                    let told = span.text.as_deref().unwrap_or_default();
                    span.text = text.map(|stall| format!("{told}; {stall}").into());
                }
                None => self.note(event, &Who::Task(task.clone()), text),
            },
            E::RetryScheduled { .. } => {
                let error = self.open(task).error.as_ref();
                let why = error.map(|error| format!("{}: {error}", text.as_deref().unwrap_or("")));
                self.begin(task, Kind::Backoff, why.map(Arc::from).or(text));
            }
            E::RunScheduled { .. } => self.begin(task, Kind::Interval, text),
            E::TaskPaused => {
                let open = self.open(task);
                open.paused = true;
                let is_queued = open.phase.as_ref().is_some_and(|it| it.kind == Kind::Queued);
                if open.attempt.is_none() && !is_queued {
                    self.begin(task, Kind::Paused, None);
                }
            }
            E::TaskResumed => {
                let open = self.open(task);
                open.paused = false;
                if open.phase.as_ref().is_some_and(|it| it.kind == Kind::Paused) {
                    self.begin(task, Kind::Starting, turn(event));
                }
            }
            E::TaskClosing if self.tasks.contains_key(&task.id) => {
                self.begin(task, Kind::Closing, None);
            }
            E::ClosingAbandoned { thread } => {
                self.strand(task, 0, thread.clone(), Some("the drop of its body".into()));
            }
            E::ClosingReturned { .. } => self.come_back(task, 0, None),
            E::TaskEnded { .. } => self.end(task, text),
            E::Rejected { .. } => {
                self.note(event, &Who::Task(task.clone()), text.clone());
                self.end(task, text);
            }
            _ => self.note(event, &Who::Task(task.clone()), text),
        }
    }

    /// A task without outcome. Its first events may be lost.
    fn open(&mut self, task: &TaskRef) -> &mut Open {
        let whole = self.phase(Kind::Task, None);
        self.tasks.entry(task.id).or_insert_with(|| {
            let (task, phase, attempt) = (task.clone(), None, None);
            Open { task, whole, phase, attempt, paused: false, error: None }
        })
    }

    fn phase(&self, kind: Kind, text: Option<Arc<str>>) -> Phase {
        Phase { kind, start: self.now, first: self.seq, text }
    }

    fn begin(&mut self, task: &TaskRef, kind: Kind, text: Option<Arc<str>>) {
        let phase = self.phase(kind, text);
        let before = self.open(task).phase.replace(phase);
        self.finish(before, &Who::Task(task.clone()));
    }

    fn start(&mut self, task: &TaskRef, number: u64, thread: Option<Arc<str>>) {
        let runs = self.phase(Kind::Running, None);
        let open = self.open(task);
        open.attempt = Some(Attempt { number, thread, runs, told: None });
        let before = open.phase.take();
        self.finish(before, &Who::Task(task.clone()));
    }

    /// A claim and a return are learnt of late, and `ran` says how long it was between them.
    fn end_attempt(
        &mut self,
        task: &TaskRef,
        event: &Event,
        (kind, ran): (Kind, u64),
        text: Option<Arc<str>>,
    ) {
        let (now, number) = (self.now, event.kind.attempt().unwrap_or(0));
        let (paused, turn) =
            (self.phase(Kind::Paused, None), self.phase(Kind::Starting, turn(event)));
        let lost = self.phase(kind, None);
        let open = self.open(task);
        open.error.clone_from(&text);
        // What follows says itself why it waits, except for one that begins anew.
        open.phase = Some(if open.paused { paused } else { turn });
        let known = open.attempt.take().filter(|attempt| attempt.number == number);
        let lost = Attempt { number, thread: None, runs: lost, told: None };
        let Attempt { thread, runs, told, .. } = known.unwrap_or(lost);

        let start = runs.start.min(now.saturating_sub(ran)).max(open.whole.start);
        let end = start.saturating_add(ran).min(now);
        let runs = Phase { kind, start, text: text.clone(), ..runs };
        let told = told.map(|told| Phase { start: told.start.clamp(start, end), ..told });
        for phase in std::iter::once(runs).chain(told) {
            let span = self.span(phase, end, Who::Task(task.clone()));
            self.keep(Span { attempt: number, thread: thread.clone(), ..span });
        }
        if let EventKind::AttemptAbandoned { attempt, released, .. } = &event.kind {
            self.strand(task, *attempt, thread, text);
            if !released {
                self.begin(task, Kind::Held, None);
            }
        }
    }

    /// A thread is stuck from now on.
    fn strand(
        &mut self,
        task: &TaskRef,
        attempt: u64,
        thread: Option<Arc<str>>,
        text: Option<Arc<str>>,
    ) {
        let stuck = self.span(self.phase(Kind::Stuck, text), self.now, Who::Task(task.clone()));
        self.stuck.insert((task.id, attempt), Span { attempt, thread, ..stuck });
    }

    fn come_back(&mut self, task: &TaskRef, attempt: u64, text: Option<Arc<str>>) {
        let Some(stuck) = self.stuck.remove(&(task.id, attempt)) else { return };
        let text = text.or_else(|| stuck.text.clone());
        self.keep(Span { end: self.now, last: self.seq, text, ..stuck });
        self.leave(task);
    }

    fn end(&mut self, task: &TaskRef, text: Option<Arc<str>>) {
        let Some(Open { whole, phase, .. }) = self.tasks.remove(&task.id) else { return };
        let who = Who::Task(task.clone());
        self.finish(phase, &who);
        let whole = self.span(Phase { text, ..whole }, self.now, who);
        self.keep(whole);
        self.leave(task);
    }

    /// The slot has no owner that anybody waits for, unless a thread still holds it.
    fn leave(&mut self, task: &TaskRef) {
        let is_there = self.tasks.contains_key(&task.id)
            || self.stuck.keys().any(|(stuck, _)| *stuck == task.id);
        if let Some(slot) = task.slot.as_ref().filter(|_| !is_there) {
            if self.owners.get(slot).is_some_and(|owner| owner.id == task.id) {
                self.owners.remove(slot);
            }
        }
    }

    /// A moment, if the event has a text.
    fn note(&mut self, event: &Event, who: &Who, text: Option<Arc<str>>) {
        if text.is_some() {
            let is_bad = event.kind.level() <= log::Level::Warn;
            let kind = if is_bad { Kind::Warning } else { Kind::Note };
            let note = self.span(self.phase(kind, text), self.now, who.clone());
            self.keep(Span { attempt: event.kind.attempt().unwrap_or(0), ..note });
        }
    }

    /// A wait that took no time is not worth a span.
    fn finish(&mut self, phase: Option<Phase>, who: &Who) {
        let is_worth_it = |it: &Phase| it.start < self.now || !matches!(who, Who::Task(_));
        if let Some(phase) = phase.filter(is_worth_it) {
            self.keep(self.span(phase, self.now, who.clone()));
        }
    }

    fn keep(&mut self, span: Span) {
        if self.finished.len() >= self.capacity {
            self.finished.pop_front();
            self.evicted += 1;
        }
        let room = self.capacity - self.finished.len();
        if self.finished.len() == self.finished.capacity() {
            // It doubles as ever, but takes no room for spans that are not kept.
            self.finished.reserve_exact(room.min(self.finished.len().max(64)));
        }
        self.finished.push_back(span);
    }

    fn span(&self, phase: Phase, end: u64, who: Who) -> Span {
        let Phase { kind, start, first, text } = phase;
        let (attempt, thread, last) = (0, None, self.seq);
        Span { kind, open: false, who, attempt, thread, text, start, end, first, last }
    }

    /// All spans. Those that go on end at `now`.
    pub(super) fn spans(&self, now: u64) -> Vec<Span> {
        self.finished.iter().cloned().chain(self.open_spans(now)).collect()
    }

    fn open_spans(&self, now: u64) -> Vec<Span> {
        let mut spans: Vec<_> = self.stuck.values().cloned().collect();
        for (group, phase) in &self.others {
            let who = group.clone().map_or(Who::Supervisor, Who::Group);
            spans.push(self.span(phase.clone(), now, who));
        }
        for Open { task, whole, phase, attempt, .. } in self.tasks.values() {
            let of_task = |phase: &Phase| self.span(phase.clone(), now, Who::Task(task.clone()));
            spans.extend(std::iter::once(whole).chain(phase).map(of_task));
            let Some(Attempt { number, thread, runs, told }) = attempt else { continue };
            let of_attempt = |span| Span { attempt: *number, thread: thread.clone(), ..span };
            spans.extend(std::iter::once(runs).chain(told).map(of_task).map(of_attempt));
        }
        for span in &mut spans {
            (span.open, span.end, span.last) = (true, now, u64::MAX);
        }
        spans
    }
}

/// What a member of a group waits for.
fn turn(event: &Event) -> Option<Arc<str>> {
    event.group.as_ref().map(|group| format!("its turn in group {group}").into())
}

/// How an attempt ended, if the event is a terminal one, and how long it ran.
fn end_of(event: &EventKind) -> Option<(Kind, u64)> {
    let (kind, ran) = match event {
        EventKind::AttemptSucceeded { ran, .. } => (Kind::Succeeded, ran),
        EventKind::AttemptCancelled { ran, .. } => (Kind::Cancelled, ran),
        EventKind::AttemptFailed { ran, .. } => (Kind::Failed, ran),
        EventKind::AttemptPanicked { ran, .. } => (Kind::Panicked, ran),
        EventKind::AttemptTimedOut { ran, .. } => (Kind::TimedOut, ran),
        EventKind::AttemptUnresponsive { ran, .. } => (Kind::Unresponsive, ran),
        EventKind::AttemptAbandoned { ran, .. } => (Kind::Abandoned, ran),
        _ => return None,
    };
    Some((kind, nanos(*ran)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::policy::AdmissionPolicy;
    use std::mem::size_of;
    use std::time::Duration;

    /// What the documentation of `Timeline::capacity` says, and nothing for tasks that are over.
    #[test]
    fn a_span_takes_about_150_bytes_and_nothing_else_is_kept() {
        let mut book = Book::new(10_000);
        for n in 1..=10_000 {
            let name: Arc<str> = format!("task {n}").into();
            let ran = Duration::ZERO;
            for kind in [
                EventKind::Submitted { policy: AdmissionPolicy::Queue },
                EventKind::Admitted,
                EventKind::AttemptStarting { attempt: 1, thread: Some(Arc::clone(&name)) },
                EventKind::AttemptSucceeded { attempt: 1, ran, told: None },
                EventKind::TaskEnded { outcome: crate::output::outcome::Outcome::Completed },
            ] {
                let mut event = Event::sample(kind);
                (event.seq, event.since_start) = (book.seq + 1, Duration::from_millis(book.seq));
                let slot = Some(Arc::clone(&name));
                event.task = Some(TaskRef { id: TaskId::new(n), name: Arc::clone(&name), slot });
                book.event(&event, None);
            }
        }
        assert_eq!(book.finished.len(), 10_000);
        let bytes = book.finished.capacity() * size_of::<Span>();
        assert!(bytes <= 10_000 * 150, "{bytes} bytes");
        let others = book.tasks.len() + book.stuck.len() + book.owners.len() + book.others.len();
        assert_eq!(others, 0);
    }
}
