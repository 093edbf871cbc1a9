//! Spans of time, made from events one by one: a task is always in one phase, and a thread runs one
//! attempt.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

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

/// What goes on.
#[derive(Clone)]
struct Phase {
    kind: Kind,
    attempt: u64,
    thread: Option<Arc<str>>,
    text: Option<Arc<str>>,
    start: u64,
    first: u64,
    /// What an attempt was told meanwhile.
    told: Option<Box<Self>>,
}

/// In place of the number of an attempt: the drop of a task's body.
const DROP: u64 = 0;

/// A task without outcome.
struct Open {
    task: TaskRef,
    group: Option<Arc<str>>,
    whole: Phase,
    /// The number of its latest attempt.
    attempts: u64,
    /// It waits to start unless something says what else it does.
    phase: Phase,
    paused: bool,
    /// What the last attempt or its failure said.
    error: Option<Arc<str>>,
}

/// Spreads ids, which count up: neighbours in time are neighbours in memory.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 ^= id ^ (id << 57);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All that is known.
#[derive(Default)]
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
    tasks: HashMap<TaskId, Open, BuildHasherDefault<IdHasher>>,
    /// Abandoned attempts whose threads are stuck; the attempt 0 is the drop of a body.
    stuck: HashMap<(TaskId, u64), (TaskRef, Phase)>,
    owners: HashMap<Arc<str>, TaskRef>,
    /// The phases of groups by their names, and that of the supervisor without one.
    others: HashMap<Option<Arc<str>>, Phase>,
}

impl Book {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
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
            let Self { capacity, evicted, lost, now, seq, .. } = *self;
            let finished = std::mem::take(&mut self.finished);
            *self = Self { capacity, finished, evicted, lost, now, seq, ..Self::default() };
            for span in open {
                self.push(Span { last: seq, ..span });
            }
        }
        match &event.task {
            Some(task) => self.task_event(task, event, text),
            None => self.other_event(event, text),
        }
    }

    fn other_event(&mut self, event: &Event, text: Option<Arc<str>>) {
        let kind = match &event.kind {
            EventKind::DrainRequested { .. } => Some(Kind::Drain),
            EventKind::ShutdownRequested { .. } => Some(Kind::Shutdown),
            EventKind::GroupStarting => Some(Kind::GroupStarts),
            EventKind::GroupReady { .. } => Some(Kind::GroupIsUp),
            EventKind::GroupRestarting { .. } => Some(Kind::GroupRestarts),
            EventKind::GroupStopping { .. } => Some(Kind::GroupStops),
            EventKind::GroupEnded | EventKind::ShutdownEnded => None,
            _ => return self.note(event, text),
        };
        if let Some(before) = self.others.remove(&event.group) {
            self.keep(before, event, self.now);
        }
        if let Some(kind) = kind {
            self.others.insert(event.group.clone(), self.phase(kind, text));
        }
    }

    fn task_event(&mut self, task: &TaskRef, event: &Event, mut text: Option<Arc<str>>) {
        use EventKind as E;
        if let Some((kind, ran)) = end_of(&event.kind) {
            return self.end_attempt(task, event, (kind, nanos(ran)), text);
        }
        let kind = match &event.kind {
            E::Submitted { .. } => {
                self.open(task, event);
                return;
            }
            E::Queued { .. } => {
                let owner = task.slot.as_ref().and_then(|slot| self.owners.get(slot));
                text = owner.map(|owner| format!("behind {owner}").into());
                Kind::Queued
            }
            E::Admitted => {
                let slot = task.slot.iter().map(|slot| (Arc::clone(slot), task.clone()));
                self.owners.extend(slot);
                Kind::Starting
            }
            E::WaitingForPermit { .. } => Kind::Permit,
            E::AttemptStarting { .. } => Kind::Running,
            E::AttemptStopping { .. } => return self.tell(task, event, text),
            E::AttemptReturned { attempt, .. } => return self.come_back(event, *attempt, text),
            E::StallReport { attempt, .. } => {
                // A drop that hangs has the number of the last attempt.
                let key = [*attempt, DROP].map(|number| (task.id, number));
                let key = key.into_iter().find(|key| self.stuck.contains_key(key));
                let Some((_, stuck)) = key.and_then(|key| self.stuck.get_mut(&key)) else {
                    return self.note(event, text);
                };
                let told = stuck.text.as_deref().unwrap_or_default();
                return stuck.text = text.map(|stall| format!("{told}; {stall}").into());
            }
            E::RetryScheduled { .. } => {
                if let (Some(error), Some(wait)) = (&self.open(task, event).error, &mut text) {
                    *wait = format!("{wait}: {error}").into();
                }
                Kind::Backoff
            }
            E::RunScheduled { .. } => Kind::Interval,
            E::TaskPaused | E::TaskResumed => {
                let open = self.open(task, event);
                open.paused = matches!(event.kind, E::TaskPaused);
                match (open.paused, open.phase.kind) {
                    (true, Kind::Queued | Kind::Running) => return,
                    (true, _) => Kind::Paused,
                    (false, Kind::Paused) => Kind::Starting,
                    (false, _) => return,
                }
            }
            E::TaskClosing if self.tasks.contains_key(&task.id) => Kind::Closing,
            E::ClosingAbandoned { thread } => {
                let text = Some("the drop of its body".into());
                let stuck = Phase { thread: thread.clone(), ..self.phase(Kind::Stuck, text) };
                self.stuck.insert((task.id, DROP), (task.clone(), stuck));
                return;
            }
            E::ClosingReturned { .. } => return self.come_back(event, DROP, None),
            E::TaskEnded { .. } => return self.end(task, event, text),
            E::Rejected { .. } => {
                self.note(event, text);
                return self.end(task, event, None);
            }
            _ => return self.note(event, text),
        };
        let mut phase = self.phase(kind, text);
        if let E::AttemptStarting { attempt, thread } = &event.kind {
            (phase.attempt, phase.thread) = (*attempt, thread.clone());
        }
        self.begin(task, event, phase);
    }

    /// A task without outcome. Its first events may be lost.
    fn open(&mut self, task: &TaskRef, event: &Event) -> &mut Open {
        let (now, seq) = (self.now, self.seq);
        self.tasks.entry(task.id).or_insert_with(|| Open {
            task: task.clone(),
            group: event.group.clone(),
            whole: Phase::new(Kind::Task, None, (now, seq)),
            phase: Phase::new(Kind::Starting, None, (now, seq)),
            attempts: 0,
            paused: false,
            error: None,
        })
    }

    fn phase(&self, kind: Kind, text: Option<Arc<str>>) -> Phase {
        Phase::new(kind, text, (self.now, self.seq))
    }

    fn begin(&mut self, task: &TaskRef, event: &Event, phase: Phase) {
        let before = std::mem::replace(&mut self.open(task, event).phase, phase);
        self.finish(before, event);
    }

    /// A wait that took no time is not worth a span.
    fn finish(&mut self, phase: Phase, event: &Event) {
        if phase.start < self.now {
            self.keep(phase.explained(event.group.as_ref()), event, self.now);
        }
    }

    fn tell(&mut self, task: &TaskRef, event: &Event, text: Option<Arc<str>>) {
        let told = self.phase(Kind::Told, text);
        let Phase { attempt, thread, told: of_phase, .. } = &mut self.open(task, event).phase;
        if event.kind.attempt() == Some(*attempt) {
            let (attempt, thread) = (*attempt, thread.clone());
            *of_phase = Some(Box::new(Phase { attempt, thread, ..told }));
        }
    }

    /// A claim and a return are learnt of late, and `ran` says how long it was between them.
    fn end_attempt(
        &mut self,
        task: &TaskRef,
        event: &Event,
        (kind, ran): (Kind, u64),
        text: Option<Arc<str>>,
    ) {
        let (now, attempt) = (self.now, event.kind.attempt().unwrap_or(0));
        let mut next = self.phase(Kind::Starting, None);
        let open = self.open(task, event);
        open.error.clone_from(&text);
        open.attempts = attempt;
        // What follows says itself why it waits, except for one that begins anew.
        next.kind = match event.kind {
            EventKind::AttemptAbandoned { released: false, .. } => Kind::Held,
            _ if open.paused => Kind::Paused,
            _ => Kind::Starting,
        };
        let since = open.whole.start;
        let mut runs = std::mem::replace(&mut open.phase, next);
        if runs.attempt != attempt {
            // Its start is lost.
            self.finish(runs, event);
            runs = Phase { attempt, ..self.phase(kind, None) };
        }
        let start = runs.start.min(now.saturating_sub(ran)).max(since);
        let end = start.saturating_add(ran).min(now);
        if let Some(told) = runs.told.take() {
            let start = told.start.clamp(start, end);
            self.keep(Phase { start, ..*told }, event, end);
        }
        if kind == Kind::Abandoned {
            let (thread, stuck) = (runs.thread.clone(), self.phase(Kind::Stuck, text.clone()));
            let stuck = Phase { attempt, thread, ..stuck };
            self.stuck.insert((task.id, attempt), (task.clone(), stuck));
        }
        self.keep(Phase { kind, text, start, ..runs }, event, end);
    }

    fn come_back(&mut self, event: &Event, attempt: u64, text: Option<Arc<str>>) {
        let stuck = event.task.as_ref().and_then(|task| self.stuck.remove(&(task.id, attempt)));
        if let Some((task, stuck)) = stuck {
            let text = text.or_else(|| stuck.text.clone());
            self.keep(Phase { text, ..stuck }, event, self.now);
            self.leave(&task);
        }
    }

    fn end(&mut self, task: &TaskRef, event: &Event, text: Option<Arc<str>>) {
        if let Some(Open { whole, attempts, phase, .. }) = self.tasks.remove(&task.id) {
            self.finish(phase, event);
            let has_failed = event.kind.level() == log::Level::Error;
            let kind = if has_failed { Kind::GaveUp } else { Kind::Task };
            let text = text.map(|text| match attempts {
                0 => format!("ended: {text}").into(),
                _ => format!("ended after attempt {attempts}: {text}").into(),
            });
            self.keep(Phase { kind, text, ..whole }, event, self.now);
            self.leave(task);
        }
    }

    /// The slot has no owner that anybody waits for, unless a thread still holds it.
    fn leave(&mut self, task: &TaskRef) {
        let Some(slot) = &task.slot else { return };
        let is_stuck = self.stuck.keys().any(|(stuck, _)| *stuck == task.id);
        let owner = self.owners.get(slot).map(|owner| owner.id);
        if owner == Some(task.id) && !is_stuck && !self.tasks.contains_key(&task.id) {
            self.owners.remove(slot);
        }
    }

    /// A moment, if the event has a text.
    fn note(&mut self, event: &Event, text: Option<Arc<str>>) {
        if text.is_some() {
            let is_bad = event.kind.level() <= log::Level::Warn;
            let note = self.phase(if is_bad { Kind::Warning } else { Kind::Note }, text);
            let attempt = event.kind.attempt().unwrap_or(0);
            self.keep(Phase { attempt, ..note }, event, self.now);
        }
    }

    /// Keeps what the event has ended.
    fn keep(&mut self, phase: Phase, event: &Event, end: u64) {
        let who = match (&event.task, &event.group) {
            (Some(task), _) => Who::Task(task.clone()),
            (None, Some(group)) => Who::Group(Arc::clone(group)),
            (None, None) => Who::Supervisor,
        };
        self.push(Span { end, last: self.seq, open: false, ..phase.span(who) });
    }

    fn push(&mut self, span: Span) {
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

    /// All spans. Those that go on end at `now`.
    pub(super) fn spans(&self, now: u64) -> Vec<Span> {
        self.finished.iter().cloned().chain(self.open_spans(now)).collect()
    }

    fn open_spans(&self, now: u64) -> Vec<Span> {
        let others = self.others.iter().map(|(group, phase)| {
            phase.clone().span(group.clone().map_or(Who::Supervisor, Who::Group))
        });
        let stuck = self.stuck.values();
        let stuck = stuck.map(|(task, phase)| phase.clone().span(Who::Task(task.clone())));
        let tasks = self.tasks.values().flat_map(|Open { task, group, whole, phase, .. }| {
            let phases = [Some(whole), Some(phase), phase.told.as_deref()].into_iter().flatten();
            let phases = phases.map(|it| it.clone().explained(group.as_ref()));
            phases.map(|it| it.span(Who::Task(task.clone())))
        });
        let all = others.chain(stuck).chain(tasks);
        all.map(|span| Span { end: now, ..span }).collect()
    }
}

impl Phase {
    const fn new(kind: Kind, text: Option<Arc<str>>, (start, first): (u64, u64)) -> Self {
        Self { kind, attempt: 0, thread: None, text, start, first, told: None }
    }

    /// A member of a group that waits to start waits for its turn.
    fn explained(mut self, group: Option<&Arc<str>>) -> Self {
        if let (Kind::Starting, Some(group)) = (self.kind, group) {
            self.text = Some(format!("its turn in group {group}").into());
        }
        self
    }

    fn span(self, who: Who) -> Span {
        let Self { kind, attempt, thread, text, start, first, told: _ } = self;
        let (open, end, last) = (true, start, u64::MAX);
        Span { kind, open, who, attempt, thread, text, start, end, first, last }
    }
}

/// How an attempt ended, if the event is a terminal one, and how long it ran.
fn end_of(event: &EventKind) -> Option<(Kind, Duration)> {
    use EventKind as E;
    match event {
        E::AttemptSucceeded { ran, .. } => Some((Kind::Succeeded, *ran)),
        E::AttemptCancelled { ran, .. } => Some((Kind::Cancelled, *ran)),
        E::AttemptFailed { ran, .. } => Some((Kind::Failed, *ran)),
        E::AttemptPanicked { ran, .. } => Some((Kind::Panicked, *ran)),
        E::AttemptTimedOut { ran, .. } => Some((Kind::TimedOut, *ran)),
        E::AttemptUnresponsive { ran, .. } => Some((Kind::Unresponsive, *ran)),
        E::AttemptAbandoned { ran, .. } => Some((Kind::Abandoned, *ran)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::policy::AdmissionPolicy;
    use std::mem::size_of;

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
                EventKind::TaskEnded {
                    outcome: crate::output::outcome::Outcome::Completed,
                    not_retried: None,
                },
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
