//! The picture: which row each span is drawn in. Slices of one row overlap only if one lies in the
//! other, because viewers show anything else wrongly without a word.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::kind::{Kind, Look, Shape};
use super::spans::{Span, Who};
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskId;

/// The parts of the picture, from top to bottom.
pub(super) const PARTS: [&str; 6] =
    ["supervisor", "groups", "abandoned", "slots and tasks", "threads", "attempts of other tasks"];

const SUPERVISOR: usize = 0;
const GROUPS: usize = 1;
pub(super) const ABANDONED: usize = 2;
pub(super) const TASKS: usize = 3;
pub(super) const THREADS: usize = 4;
const OTHERS: usize = 5;

pub(super) struct Row {
    /// An index of [`PARTS`].
    pub(super) part: usize,
    pub(super) name: String,
}

pub(super) struct Slice {
    pub(super) row: usize,
    pub(super) span: usize,
    pub(super) start: u64,
    pub(super) end: u64,
}

pub(super) struct Picture {
    pub(super) rows: Vec<Row>,
    /// By row, then by start.
    pub(super) slices: Vec<Slice>,
    pub(super) spans: Vec<Span>,
    /// What there is to see, in nanoseconds since the start of the supervisor.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Spans that gave way to later ones, and events that were lost.
    pub(super) evicted: u64,
    pub(super) lost: u64,
}

/// Below so many rows, slots and tasks would not be read. Of those, only the attempts are shown.
const MAX_ROWS: usize = 500;

/// Spans that stand in one row, whatever stands beside them: all of one task, or a single one.
struct Item {
    spans: Vec<usize>,
    first: u64,
    last: u64,
}

/// What has one name: a slot, a thread. Items that were there at the same time need a row each.
#[derive(Default)]
struct Track {
    items: Vec<Item>,
    has_trouble: bool,
}

/// The part, whether it is the name of a task without slot, and the name.
type Name = (usize, bool, Arc<str>);

impl Picture {
    pub(super) fn new(spans: Vec<Span>, to: u64, evicted: u64, lost: u64) -> Self {
        // A task may have begun long before the first thing that is still known of it.
        let starts = spans.iter().filter(|span| span.kind != Kind::Task).map(|span| span.start);
        let from = starts.min().or_else(|| spans.iter().map(|span| span.start).min()).unwrap_or(0);
        let (rows, slices) = (Vec::new(), Vec::new());
        let mut picture = Self { rows, slices, spans, from, to, evicted, lost };

        let mut others = Track::default();
        for ((part, _, name), track) in picture.tracks() {
            let rest = picture.draw(part, &name, track);
            let attempts = rest.into_iter().flat_map(|item| item.spans);
            let attempts = attempts.filter(|&it| picture.spans[it].kind.is_attempt());
            others.items.extend(attempts.map(|it| Item::of(it, &picture.spans[it])));
        }
        others.items.sort_by_key(|item| item.first);
        picture.draw(OTHERS, "attempts", others);
        picture.clamp();
        picture
    }

    /// The tracks in the order in which they are drawn.
    fn tracks(&self) -> Vec<(Name, Track)> {
        let mut tracks = BTreeMap::<Name, Track>::new();
        // Where the item of a task is.
        let mut tasks = HashMap::<TaskId, usize>::new();
        for (index, span) in self.spans.iter().enumerate() {
            let (name, task) = match &span.who {
                Who::Supervisor => ((SUPERVISOR, false, Arc::from(PARTS[SUPERVISOR])), None),
                Who::Group(name) => ((GROUPS, false, Arc::clone(name)), None),
                Who::Task(task) if span.kind == Kind::Stuck => {
                    ((ABANDONED, false, Arc::clone(&task.name)), None)
                }
                Who::Task(task) => {
                    let slot = task.slot.as_ref();
                    ((TASKS, slot.is_none(), Arc::clone(slot.unwrap_or(&task.name))), Some(task.id))
                }
            };
            let track = tracks.entry(name).or_default();
            track.has_trouble |= span.kind.look().is_trouble;
            let items = &mut track.items;
            let place = task.map_or(items.len(), |task| *tasks.entry(task).or_insert(items.len()));
            match items.get_mut(place) {
                Some(item) => item.add(index, span),
                None => items.push(Item::of(index, span)),
            }
            if let Some(thread) = span.thread.as_ref().filter(|_| span.kind != Kind::Told) {
                let track = tracks.entry((THREADS, false, Arc::clone(thread))).or_default();
                track.items.push(Item::of(index, span));
            }
        }
        for track in tracks.values_mut() {
            track.items.sort_by_key(|item| item.first);
        }
        let mut tracks: Vec<_> = tracks.into_iter().collect();
        // Threads by their numbers. Elsewhere those with trouble come first, and have a row even if
        // others have none.
        tracks.sort_by_cached_key(|((part, _, name), track)| match *part {
            THREADS => (*part, false, name.len() as u64),
            _ => (*part, !track.has_trouble, track.items[0].first),
        });
        tracks
    }

    /// Gives each item the first row of this name that is free. Returns those for which no row is
    /// left.
    fn draw(&mut self, part: usize, name: &str, track: Track) -> Vec<Item> {
        let (own, mut rest) = (self.rows.len(), Vec::new());
        let mut taken_until = Vec::new();
        for item in track.items {
            let free = taken_until.iter().position(|&last| last <= item.first);
            let lane = free.unwrap_or(taken_until.len());
            if free.is_none() {
                if part == TASKS && self.rows.len() >= MAX_ROWS {
                    rest.push(item);
                    continue;
                }
                self.rows.push(Row { part, name: short(name) });
                taken_until.push(0);
            }
            taken_until[lane] = item.last;
            self.slices.extend(item.spans.into_iter().map(|span| {
                let Span { start, end, .. } = self.spans[span];
                Slice { row: own + lane, span, start, end }
            }));
        }
        rest
    }

    /// What went wrong, and when, in the order of that. An attempt stands in the row of its task
    /// and in that of its thread, and an abandoned one in a row of its own.
    pub(super) fn trouble(&self) -> Vec<(u64, &Span)> {
        let own = self.slices.iter().filter(|slice| self.rows[slice.row].part != THREADS);
        let spans = own.map(|slice| &self.spans[slice.span]);
        let trouble = spans.filter(|it| it.kind.look().is_trouble && it.kind != Kind::Abandoned);
        // An attempt fails when it ends, and a thread is stuck from its abandonment on.
        let at = |it: &Span| if it.kind == Kind::Stuck { it.start } else { it.end };
        let mut trouble: Vec<_> = trouble.map(|it| (at(it), it)).collect();
        trouble.sort_by_key(|(at, it)| (*at, it.kind == Kind::GaveUp));
        trouble
    }

    /// In a row, a slice ends what is as deep as itself, and what lies in another ends with it.
    fn clamp(&mut self) {
        let depth = |slice: &Slice| self.spans[slice.span].kind.look().shape.depth();
        self.slices.sort_by_key(|it| (it.row, it.start, depth(it), it.end));
        let mut around: Vec<usize> = Vec::new();
        for next in 0..self.slices.len() {
            let Slice { row, start, .. } = self.slices[next];
            let own = depth(&self.slices[next]);
            while let Some(outer) = around.last().map(|&it| &mut self.slices[it]) {
                if outer.row == row && outer.end > start && depth(outer) < own {
                    let end = outer.end;
                    self.slices[next].end = self.slices[next].end.min(end);
                    break;
                }
                if outer.row == row {
                    outer.end = outer.end.min(start);
                }
                around.pop();
            }
            around.push(next);
        }
    }
}

impl Item {
    fn of(index: usize, span: &Span) -> Self {
        Self { spans: vec![index], first: span.first, last: span.last }
    }

    fn add(&mut self, index: usize, span: &Span) {
        self.spans.push(index);
        (self.first, self.last) = (self.first.min(span.first), self.last.max(span.last));
    }
}

impl Span {
    /// What it is, in words: whose, which attempt, what of it, and the text.
    pub(super) fn words(&self) -> String {
        match &self.text {
            Some(text) => format!("{}: {}", self.title(), Escaped(text)),
            None => self.title(),
        }
    }

    pub(super) fn title(&self) -> String {
        let Look { label, shape, .. } = self.kind.look();
        match &self.who {
            Who::Supervisor => label.to_owned(),
            Who::Group(name) => short(&format!("{name}: {label}")),
            Who::Task(task) if matches!(shape, Shape::Frame | Shape::Diamond) => {
                short(&task.to_string())
            }
            Who::Task(task) if self.attempt > 0 => {
                format!("{} attempt {}: {label}", short(&task.to_string()), self.attempt)
            }
            Who::Task(task) => format!("{}: {label}", short(&task.to_string())),
        }
    }
}

/// A name or a text as it is shown: on one line, and not too long.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 200;
    let text = Escaped(text).to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
