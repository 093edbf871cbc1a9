//! The picture: which row each span is drawn in. Slices of one row overlap only if one lies in the
//! other, because viewers show anything else wrongly without a word.

use std::collections::{BTreeMap, HashMap};

use super::kind::Kind;
use super::spans::Span;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskId;

/// The parts of the picture, from top to bottom.
pub(super) const GROUPS: [&str; 4] = ["supervisor", "abandoned", "slots and tasks", "threads"];

pub(super) struct Row {
    /// An index of [`GROUPS`].
    pub(super) group: usize,
    pub(super) name: String,
}

pub(super) struct Slice {
    pub(super) row: usize,
    /// How many slices it lies in.
    pub(super) depth: u8,
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

/// More rows of slots and tasks would not be read. Of further tasks, only the attempts are shown.
const MAX_ROWS: usize = 500;

/// All spans of one task that stand in the row of its slot.
struct Whole {
    spans: Vec<usize>,
    start: u64,
    end: u64,
    trouble: bool,
}

/// Rows of one name: each is free again at that time.
#[derive(Default)]
struct Lanes(Vec<(usize, u64)>);

impl Picture {
    pub(super) fn new(spans: Vec<Span>, to: u64, evicted: u64, lost: u64) -> Self {
        // A task may have begun long before the first thing that is still known of it.
        let starts = spans.iter().filter(|span| span.kind != Kind::Task).map(|span| span.start);
        let from = starts.min().or_else(|| spans.iter().map(|span| span.start).min()).unwrap_or(0);
        let (rows, slices) = (Vec::new(), Vec::new());
        let mut picture = Self { rows, slices, spans, from, to, evicted, lost };
        picture.draw_supervisor();
        picture.draw_abandoned();
        picture.draw_tasks();
        picture.draw_threads();
        picture.nest();
        picture
    }

    fn draw_supervisor(&mut self) {
        let own = self.find(|span| span.task.is_none());
        if !own.is_empty() {
            let row = self.row(0, "supervisor");
            for span in own {
                self.add(row, span);
            }
        }
    }

    fn draw_abandoned(&mut self) {
        let mut lanes = Lanes::default();
        for span in self.find(|span| span.kind == Kind::Stuck) {
            let (start, end) = (self.spans[span].start, self.spans[span].end);
            let row = lanes.find(start, end).unwrap_or_else(|| {
                let row = self.row(1, "abandoned");
                lanes.take(row, end)
            });
            self.add(row, span);
        }
    }

    /// One row for each slot, or for each name of tasks without slot; more if tasks of it lived at
    /// the same time.
    fn draw_tasks(&mut self) {
        let mut wholes = HashMap::<TaskId, Whole>::new();
        for (index, span) in self.spans.iter().enumerate() {
            let Some(task) = span.task.as_ref().filter(|_| span.kind != Kind::Stuck) else {
                continue;
            };
            let new = || Whole { spans: Vec::new(), start: u64::MAX, end: 0, trouble: false };
            let whole = wholes.entry(task.id).or_insert_with(new);
            whole.spans.push(index);
            whole.start = whole.start.min(span.start);
            whole.end = whole.end.max(span.end);
            whole.trouble |= span.kind.is_trouble();
        }
        let mut keys = BTreeMap::<_, Vec<Whole>>::new();
        for whole in wholes.into_values() {
            let task = self.spans[whole.spans[0]].task.as_ref().expect("a span of a task");
            let slot = task.slot.clone();
            keys.entry((slot.is_none(), slot.unwrap_or_else(|| task.name.clone())))
                .or_default()
                .push(whole);
        }
        let mut keys: Vec<_> = keys.into_iter().map(|((_, name), tasks)| (name, tasks)).collect();
        for (_, tasks) in &mut keys {
            tasks.sort_by_key(|it| (it.start, it.spans[0]));
        }
        // Those with trouble come first, and have a row even if others have none.
        keys.sort_by_key(|(_, tasks)| (!tasks.iter().any(|it| it.trouble), tasks[0].start));

        let first = self.rows.len();
        let mut folded = Vec::new();
        for (name, tasks) in keys {
            let mut lanes = Lanes::default();
            for it in tasks {
                let row = lanes.find(it.start, it.end).or_else(|| {
                    let is_full = self.rows.len() - first >= MAX_ROWS;
                    (!is_full).then(|| lanes.take(self.row(2, &name), it.end))
                });
                match row {
                    Some(row) => it.spans.into_iter().for_each(|span| self.add(row, span)),
                    None => folded.extend(it.spans),
                }
            }
        }
        folded.retain(|&span| self.spans[span].kind.is_attempt());
        folded.sort_by_key(|&span| self.spans[span].start);
        let mut lanes = Lanes::default();
        for span in folded {
            let (start, end) = (self.spans[span].start, self.spans[span].end);
            let row = lanes.find(start, end);
            let row = row.unwrap_or_else(|| lanes.take(self.row(2, "attempts of others"), end));
            self.add(row, span);
        }
    }

    fn draw_threads(&mut self) {
        let mut seats = BTreeMap::<_, Vec<usize>>::new();
        for (index, span) in self.spans.iter().enumerate() {
            if let Some((name, seat)) = span.thread.clone().filter(|_| span.kind != Kind::Stopping)
            {
                seats.entry((name.len(), name, seat)).or_default().push(index);
            }
        }
        for ((_, name, _), spans) in seats {
            let row = self.row(3, &name);
            for span in spans {
                self.add(row, span);
            }
        }
    }

    /// The spans of this kind, by start.
    fn find(&self, which: impl Fn(&Span) -> bool) -> Vec<usize> {
        let mut found: Vec<_> =
            (0..self.spans.len()).filter(|&it| which(&self.spans[it])).collect();
        found.sort_by_key(|&it| self.spans[it].start);
        found
    }

    fn row(&mut self, group: usize, name: &str) -> usize {
        self.rows.push(Row { group, name: short(name) });
        self.rows.len() - 1
    }

    fn add(&mut self, row: usize, span: usize) {
        let Span { start, end, .. } = self.spans[span];
        self.slices.push(Slice { row, depth: 0, span, start, end });
    }

    /// Gives each slice the slices that it lies in. What would jut out is cut off.
    fn nest(&mut self) {
        let kind = |slice: &Slice| self.spans[slice.span].kind;
        self.slices.sort_by_key(|it| (it.row, it.start, kind(it) != Kind::Task, it.end, kind(it)));
        let mut around: Vec<(usize, u64)> = Vec::new();
        for slice in &mut self.slices {
            let is_over = |&(row, end): &(usize, u64)| row != slice.row || end <= slice.start;
            while around.last().is_some_and(is_over) {
                around.pop();
            }
            if let Some(&(_, end)) = around.last() {
                slice.end = slice.end.min(end);
            }
            slice.depth = u8::try_from(around.len()).unwrap_or(u8::MAX);
            around.push((slice.row, slice.end));
        }
    }
}

impl Lanes {
    /// A row that is free from then on, which is taken until `end`.
    fn find(&mut self, start: u64, end: u64) -> Option<usize> {
        let free = self.0.iter_mut().find(|(_, until)| *until <= start)?;
        free.1 = end;
        Some(free.0)
    }

    fn take(&mut self, row: usize, end: u64) -> usize {
        self.0.push((row, end));
        row
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
