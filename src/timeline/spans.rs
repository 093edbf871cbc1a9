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
    /// It went on when the picture was drawn.
    pub(super) open: bool,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) task: Option<TaskRef>,
    /// 0 if it is about none.
    pub(super) attempt: u64,
    pub(super) thread: Option<Seat>,
    pub(super) text: Option<Arc<str>>,
}

/// A thread by its name, and which of those that had this name at the same time.
pub(super) type Seat = (Arc<str>, usize);

/// A phase that goes on.
type Phase = (Kind, u64, Option<Arc<str>>);

/// A task without outcome.
struct Open {
    task: TaskRef,
    since: u64,
    phase: Option<Phase>,
    attempt: Option<Attempt>,
    paused: bool,
    /// What the last attempt or its failure said.
    error: Option<Arc<str>>,
}

struct Attempt {
    number: u64,
    since: u64,
    /// What the task waited for, until then or a little less: a claim is learnt of late.
    before: Option<Phase>,
    thread: Option<Seat>,
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
    pub(super) now: u64,
    open: HashMap<TaskId, Open>,
    /// Abandoned attempts whose threads are stuck; the attempt 0 is the drop of a body.
    stuck: HashMap<(TaskId, u64), Span>,
    owners: HashMap<Arc<str>, TaskRef>,
    /// Of the threads of a name, those that run an attempt, and when the last one ended.
    threads: HashMap<Arc<str>, Vec<(bool, u64)>>,
    drain: Option<Phase>,
    shutdown: Option<Phase>,
}

/// Names of threads that run nothing are forgotten from this many names on.
const MAX_IDLE_NAMES: usize = 1024;

impl Book {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            finished: VecDeque::new(),
            evicted: 0,
            lost: 0,
            gap: None,
            now: 0,
            open: HashMap::new(),
            stuck: HashMap::new(),
            owners: HashMap::new(),
            threads: HashMap::new(),
            drain: None,
            shutdown: None,
        }
    }

    pub(super) fn event(&mut self, event: &Event, text: Option<Arc<str>>) {
        self.now = self.now.max(nanos(event.since_start));
        if let EventKind::SubscriberOverflow { dropped, last, .. } = event.kind {
            self.lost += dropped;
            self.gap = Some(last);
        } else if self.gap.is_some_and(|last| event.seq > last) {
            // What has ended meanwhile is unknown, so all ends here.
            let open = self.open_spans(self.now);
            *self = Self {
                finished: std::mem::take(&mut self.finished),
                evicted: self.evicted,
                lost: self.lost,
                now: self.now,
                ..Self::new(self.capacity)
            };
            for span in open {
                self.finish(span);
            }
        }
        match &event.task {
            Some(task) => self.task_event(task, &event.kind, text),
            None => self.supervisor_event(&event.kind, text),
        }
    }

    fn supervisor_event(&mut self, kind: &EventKind, text: Option<Arc<str>>) {
        match kind {
            EventKind::DrainRequested { .. } => self.drain = Some((Kind::Drain, self.now, text)),
            EventKind::ShutdownRequested { .. } => {
                let drain = self.drain.take();
                self.finish_phase(drain, None);
                self.shutdown = Some((Kind::Shutdown, self.now, text));
            }
            EventKind::ShutdownEnded => {
                let shutdown = self.shutdown.take();
                self.finish_phase(shutdown, None);
            }
            _ => self.note(None, kind, text),
        }
    }

    fn task_event(&mut self, task: &TaskRef, kind: &EventKind, text: Option<Arc<str>>) {
        use EventKind as E;
        let now = self.now;
        if let Some((end, ran)) = end_of(kind) {
            return self.end_attempt(task, kind, end, ran, text);
        }
        match kind {
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
                self.begin(task, Kind::Starting, None);
            }
            E::WaitingForPermit { .. } => self.begin(task, Kind::Permit, text),
            E::AttemptStarting { attempt, thread } => self.start(task, *attempt, thread.as_ref()),
            E::AttemptStopping { .. } => {
                if let Some(attempt) = &mut self.open(task).attempt {
                    attempt.told = Some((Kind::Stopping, now, text));
                }
            }
            E::AttemptReturned { attempt, .. } => self.come_back(task, *attempt, text),
            E::StallReport { attempt, .. } => match self.stuck.get_mut(&(task.id, *attempt)) {
                Some(span) => {
                    let told = span.text.as_deref().unwrap_or_default();
                    span.text = text.map(|stall| format!("{told}; {stall}").into());
                }
                None => self.note(Some(task), kind, text),
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
                let is_queued = open.phase.as_ref().is_some_and(|(kind, ..)| *kind == Kind::Queued);
                if open.attempt.is_none() && !is_queued {
                    self.begin(task, Kind::Paused, None);
                }
            }
            E::TaskResumed => {
                let open = self.open(task);
                open.paused = false;
                if open.phase.as_ref().is_some_and(|(kind, ..)| *kind == Kind::Paused) {
                    self.begin(task, Kind::Starting, None);
                }
            }
            E::TaskClosing if self.open.contains_key(&task.id) => {
                self.begin(task, Kind::Closing, None);
            }
            E::ClosingAbandoned { thread } => {
                let seat = thread.as_ref().map(|name| (Arc::clone(name), 0));
                self.strand(task, 0, seat, Some("the drop of its body".into()));
            }
            E::ClosingReturned { .. } => self.come_back(task, 0, None),
            E::TaskEnded { .. } | E::Rejected { .. } => self.end(task, text),
            _ => self.note(Some(task), kind, text),
        }
    }

    /// A task without outcome. Its first events may be lost.
    fn open(&mut self, task: &TaskRef) -> &mut Open {
        let since = self.now;
        self.open.entry(task.id).or_insert_with(|| Open {
            task: task.clone(),
            since,
            phase: None,
            attempt: None,
            paused: false,
            error: None,
        })
    }

    fn begin(&mut self, task: &TaskRef, kind: Kind, text: Option<Arc<str>>) {
        let now = self.now;
        let before = self.open(task).phase.replace((kind, now, text));
        self.finish_phase(before.filter(|(_, start, _)| *start < now), Some(task));
    }

    fn start(&mut self, task: &TaskRef, number: u64, thread: Option<&Arc<str>>) {
        let (now, thread) = (self.now, thread.map(|name| self.sit(name)));
        let open = self.open(task);
        let before = open.phase.take();
        open.attempt = Some(Attempt { number, since: now, before, thread, told: None });
    }

    /// Takes a thread of this name that runs no attempt, as far as is known.
    fn sit(&mut self, name: &Arc<str>) -> Seat {
        if self.threads.len() >= MAX_IDLE_NAMES && !self.threads.contains_key(name) {
            self.threads.retain(|_, seats| seats.iter().any(|(busy, _)| *busy));
        }
        let seats = self.threads.entry(Arc::clone(name)).or_default();
        let free = seats.iter().position(|(busy, _)| !busy).unwrap_or(seats.len());
        seats.resize(seats.len().max(free + 1), (false, 0));
        seats[free].0 = true;
        (Arc::clone(name), free)
    }

    /// Draws an attempt and what came before it. A claim and a return are learnt of late, and `ran`
    /// says how long it was between them.
    fn end_attempt(
        &mut self,
        task: &TaskRef,
        event: &EventKind,
        kind: Kind,
        ran: u64,
        text: Option<Arc<str>>,
    ) {
        let now = self.now;
        let number = event.attempt().unwrap_or(0);
        let open = self.open(task);
        open.error.clone_from(&text);
        let attempt = open.attempt.take().filter(|attempt| attempt.number == number);
        open.phase = open.paused.then_some((Kind::Paused, now, None));
        let lost = Attempt { number, since: now, before: None, thread: None, told: None };
        let Attempt { since, before, thread, told, .. } = attempt.unwrap_or(lost);

        let seats = &mut self.threads;
        let seat = thread.as_ref().and_then(|(name, seat)| seats.get_mut(name)?.get_mut(*seat));
        let earliest = before.as_ref().map_or(since, |(_, start, _)| *start);
        let free_at = seat.as_ref().map_or(0, |seat| seat.1);
        let start = since.min(now.saturating_sub(ran)).max(earliest).max(free_at);
        let end = start.saturating_add(ran).min(now).max(start);
        if let Some(seat) = seat {
            *seat = (kind == Kind::Abandoned, end);
        }

        if let Some(phase) = before.filter(|(_, began, _)| *began < start) {
            self.finish(span(phase, start, Some(task)));
        }
        let of = |it| Span { attempt: number, thread: thread.clone(), ..it };
        let told = told.map(|(kind, at, text)| (kind, at.clamp(start, end), text));
        for phase in std::iter::once((kind, start, text.clone())).chain(told) {
            self.finish(of(span(phase, end, Some(task))));
        }
        if let EventKind::AttemptAbandoned { attempt, released, .. } = event {
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
        thread: Option<Seat>,
        text: Option<Arc<str>>,
    ) {
        let stuck = span((Kind::Stuck, self.now, text), self.now, Some(task));
        self.stuck.insert((task.id, attempt), Span { attempt, thread, ..stuck });
    }

    fn come_back(&mut self, task: &TaskRef, attempt: u64, text: Option<Arc<str>>) {
        let Some(stuck) = self.stuck.remove(&(task.id, attempt)) else { return };
        if let (Some((name, seat)), 1..) = (&stuck.thread, attempt) {
            if let Some(seat) = self.threads.get_mut(name).and_then(|seats| seats.get_mut(*seat)) {
                *seat = (false, self.now);
            }
        }
        let text = text.or_else(|| stuck.text.clone());
        self.finish(Span { end: self.now, text, ..stuck });
        self.leave(task);
    }

    fn end(&mut self, task: &TaskRef, text: Option<Arc<str>>) {
        let Some(open) = self.open.remove(&task.id) else { return };
        let now = self.now;
        self.finish_phase(open.phase.filter(|(_, start, _)| *start < now), Some(task));
        self.finish(span((Kind::Task, open.since, text), now, Some(task)));
        self.leave(task);
    }

    /// The slot has no owner that anybody waits for, unless a thread still holds it.
    fn leave(&mut self, task: &TaskRef) {
        let is_there = self.open.contains_key(&task.id)
            || self.stuck.keys().any(|(stuck, _)| *stuck == task.id);
        if let Some(slot) = task.slot.as_ref().filter(|_| !is_there) {
            if self.owners.get(slot).is_some_and(|owner| owner.id == task.id) {
                self.owners.remove(slot);
            }
        }
    }

    /// A moment, if the event has a text.
    fn note(&mut self, task: Option<&TaskRef>, kind: &EventKind, text: Option<Arc<str>>) {
        if text.is_some() {
            let note = span((Kind::Note, self.now, text), self.now, task);
            self.finish(Span { attempt: kind.attempt().unwrap_or(0), ..note });
        }
    }

    fn finish_phase(&mut self, phase: Option<Phase>, task: Option<&TaskRef>) {
        if let Some(phase) = phase {
            self.finish(span(phase, self.now, task));
        }
    }

    fn finish(&mut self, span: Span) {
        if self.finished.len() >= self.capacity {
            self.finished.pop_front();
            self.evicted += 1;
        }
        self.finished.push_back(span);
    }

    /// All spans. Those that go on end at `now`.
    pub(super) fn spans(&self, now: u64) -> Vec<Span> {
        self.finished.iter().cloned().chain(self.open_spans(now)).collect()
    }

    fn open_spans(&self, now: u64) -> Vec<Span> {
        let mut spans: Vec<_> = self.stuck.values().cloned().collect();
        let supervisor = self.drain.iter().chain(&self.shutdown).cloned();
        spans.extend(supervisor.map(|phase| span(phase, now, None)));
        let mut before = Vec::new();
        for Open { task, since, phase, attempt, .. } in self.open.values() {
            let whole = (Kind::Task, *since, None);
            let phases = std::iter::once(whole).chain(phase.clone());
            spans.extend(phases.map(|phase| span(phase, now, Some(task))));
            let Some(Attempt { number, since, before: first, thread, told }) = attempt else {
                continue;
            };
            before.extend(first.clone().map(|phase| span(phase, *since, Some(task))));
            let phases = std::iter::once((Kind::Running, *since, None)).chain(told.clone());
            let of = |it| Span { attempt: *number, thread: thread.clone(), ..it };
            spans.extend(phases.map(|phase| of(span(phase, now, Some(task)))));
        }
        for span in &mut spans {
            (span.open, span.end) = (true, now);
        }
        spans.extend(before.into_iter().filter(|span| span.start < span.end));
        spans
    }
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

fn span((kind, start, text): Phase, end: u64, task: Option<&TaskRef>) -> Span {
    let task = task.cloned();
    Span { kind, open: false, start, end, task, attempt: 0, thread: None, text }
}
