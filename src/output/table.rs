//! A snapshot as a table for people: for a terminal, as wide as that is.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::output::columns::{columns, fitting};
use crate::output::group::Stage;
use crate::output::report::AbandonedAttempt;
use crate::output::snapshot::{Snapshot, TaskSnapshot};
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::reason::TaskState;
use crate::vocabulary::time::Short;

impl Snapshot {
    /// Returns the snapshot as a table for people: two lines of totals, the tasks, and below them,
    /// if there are any, the groups, the slots with a queue, the classes, and the threads that are
    /// stuck, with the call that each is in.
    ///
    /// Of a task it says its state and how long that has lasted (SINCE), the number of its latest
    /// attempt, how many attempts have failed in a row (FAIL), what comes NEXT and when or what it
    /// waits for (the owner of its slot, or a permit), and what the body said last or why it
    /// failed. The error of an earlier attempt begins with `last:`.
    ///
    /// No line is longer than `width`, and each row is one line. A cell that is cut ends with `~`.
    /// If there is too little room, the columns that say the least are left out. Characters of East
    /// Asia and pictures count as two columns. Names, marks and errors are escaped, so they cannot
    /// have an effect on the terminal. With `colour`, heads are bold, and what needs attention is
    /// yellow or red, by the escape sequences of ANSI. The last line has no line break at its end.
    ///
    /// This takes no lock, does not block, and takes time in proportion to the number of tasks.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let gate = TaskSpec::new("gate", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// supervisor.handle().add(gate)?;
    /// let table = supervisor.handle().snapshot()?.table(80, false);
    /// assert!(table.contains("\ngate#1 "));
    /// assert!(table.lines().all(|line| line.chars().count() <= 80));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn table(&self, width: usize, colour: bool) -> String {
        self.table_within("", (width, usize::MAX), colour)
    }

    /// The table with a text before its first line, in so many columns and lines at most. If there
    /// is no room for all tasks, those that need attention come first, then those that run.
    pub(crate) fn table_within(
        &self,
        before: &str,
        (width, lines): (usize, usize),
        colour: bool,
    ) -> String {
        let mut out = Out { text: String::new(), width, colour };
        out.line(&format!("{before}{}", self.task_totals()));
        out.line(&self.thread_totals());
        let (groups, slots, classes, stuck) =
            (self.group_rows(), self.slot_rows(), self.class_rows(), self.stuck_rows());
        let others = groups.height() + slots.height() + classes.height() + stuck.height();

        // Two lines of totals, and a head.
        let room = lines.saturating_sub(3 + others);
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        let hidden = if tasks.len() > room { tasks.len() - room.saturating_sub(1) } else { 0 };
        if hidden > 0 {
            let runs = |state| matches!(state, TaskState::Running | TaskState::Stopping);
            tasks.sort_by_key(|task| std::cmp::Reverse((task.tint(), runs(task.state))));
            tasks.truncate(tasks.len() - hidden);
        }
        self.task_rows(&tasks).write(&mut out);
        if hidden > 0 {
            out.line(&format!("and {hidden} more tasks"));
        }
        groups.write(&mut out);
        slots.write(&mut out);
        classes.write(&mut out);
        stuck.write(&mut out);
        out.text
    }

    fn task_totals(&self) -> String {
        let mut text = format!("up {}, tasks {}", Short(self.at), self.tasks.len());
        let count =
            |is: &dyn Fn(&TaskSnapshot) -> bool| self.tasks.iter().filter(|task| is(task)).count();
        let failing = count(&|task| task.failures > 0 && !task.stable);
        if failing > 0 {
            let _ = write!(text, ", failing {failing}");
        }
        for state in STATES {
            let number = count(&|task| task.state == state);
            if number > 0 {
                let _ = write!(text, ", {state} {number}");
            }
        }
        text
    }

    fn thread_totals(&self) -> String {
        let phase = match (self.shutting_down, self.draining) {
            (true, _) => "shutting down, ",
            (false, true) => "draining, ",
            (false, false) => "",
        };
        let (threads, permits) = (self.workers, self.permits);
        let starving = if threads.starving { ", starving" } else { "" };
        let mut text = format!("{phase}threads {}{starving}", threads.threads);
        let _ = write!(text, ", idle {}, permits {}", threads.idle, permits.held);
        let _ = permits.limit.map_or(Ok(()), |limit| write!(text, "/{limit}"));
        if permits.waiting > 0 {
            let _ = write!(text, ", waiting {}", permits.waiting);
        }
        text
    }

    fn task_rows(&self, tasks: &[&TaskSnapshot]) -> Section<7> {
        let rows = tasks.iter().map(|task| {
            let failures =
                if task.failures > 0 { task.failures.to_string() } else { String::new() };
            let cells = [
                task.task.to_string(),
                task.state.to_string(),
                task.attempt.to_string(),
                failures,
                Short(task.age()).to_string(),
                self.next(task),
                task.news(),
            ];
            (cells, task.tint())
        });
        let columns = [
            Column("TASK", Left, NEVER_HIDDEN),
            Column("STATE", Left, 6),
            Column("ATTEMPT", Right, 1),
            Column("FAIL", Right, 4),
            Column("SINCE", Right, 2),
            Column("NEXT", Left, 3),
            Column("MARK, ERROR", Left, 5),
        ];
        Section { columns, rows: rows.collect() }
    }

    /// What comes next, and when; or what the task waits for.
    fn next(&self, task: &TaskSnapshot) -> String {
        let what = match task.state {
            _ if task.paused => return "paused".to_owned(),
            TaskState::Waiting if task.group.is_some() && task.next_wake.is_none() => {
                return "its turn".to_owned();
            }
            TaskState::Waiting => "run in",
            TaskState::Running => "limit in",
            TaskState::Stopping | TaskState::Closing => "grace for",
            _ => "expires in",
        };
        let due =
            task.next_wake.map(|next| format!("{what} {}", Short(next.saturating_sub(task.at))));
        [self.waits_for(task), due].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// For whom or for what it is held back.
    fn waits_for(&self, task: &TaskSnapshot) -> Option<String> {
        match (task.state, &task.class) {
            (TaskState::Queued, _) => {
                let owner = self.slot(task.task.slot.as_deref()?)?.owner?;
                Some(format!("after {}", self.task(owner)?.task))
            }
            (TaskState::Runnable, Some(class)) if task.class_index.is_none() => {
                Some(format!("permit of {}", Escaped(class)))
            }
            (TaskState::Runnable, _) => Some("permit".to_owned()),
            _ => None,
        }
    }

    fn group_rows(&self) -> Section<4> {
        let rows = self.groups.iter().map(|group| {
            let waits = matches!(group.state, GroupState::Restarting { waits_for: Some(_), .. });
            let (name, stage) = (Escaped(&group.name).to_string(), Stage(&group.state).to_string());
            let tint = if waits { Tint::Red } else { Tint::None };
            let members = group.members.iter().filter_map(|member| self.task(*member));
            let members: Vec<_> = members.map(|member| member.task.to_string()).collect();
            ([name, stage, group.restarts.to_string(), members.join(", ")], tint)
        });
        let columns = [
            Column("GROUP", Left, NEVER_HIDDEN),
            Column("STATE", Left, 3),
            Column("RESTARTS", Right, 1),
            Column("MEMBERS", Left, 2),
        ];
        Section { columns, rows: rows.collect() }
    }

    fn slot_rows(&self) -> Section<4> {
        let busy = self.slots.iter().filter(|slot| slot.queued > 0);
        let rows = busy.map(|slot| {
            let owner = slot.owner.and_then(|owner| self.task(owner));
            let owner = owner.map_or_else(String::new, |owner| owner.task.to_string());
            let queued = slot.queued.to_string();
            let tint = if slot.status.label() == "terminating" { Tint::Yellow } else { Tint::None };
            ([Escaped(&slot.key).to_string(), slot.status.to_string(), queued, owner], tint)
        });
        let columns = [
            Column("SLOT", Left, NEVER_HIDDEN),
            Column("STATUS", Left, 1),
            Column("QUEUED", Right, 3),
            Column("OWNER", Left, 2),
        ];
        Section { columns, rows: rows.collect() }
    }

    fn class_rows(&self) -> Section<4> {
        let rows = self.classes.iter().map(|class| {
            let [held, limit, waiting] =
                [class.held, class.limit, class.waiting].map(|number| number.to_string());
            ([Escaped(&class.name).to_string(), held, limit, waiting], Tint::None)
        });
        let columns = [
            Column("CLASS", Left, NEVER_HIDDEN),
            Column("HELD", Right, 3),
            Column("LIMIT", Right, 1),
            Column("WAITING", Right, 2),
        ];
        Section { columns, rows: rows.collect() }
    }

    fn stuck_rows(&self) -> Section<4> {
        let row = |what: &str, thread: &str, since, call: &str| {
            let since = Short(self.at.saturating_sub(since)).to_string();
            ([what.to_owned(), since, Escaped(thread).to_string(), call.to_owned()], Tint::Red)
        };
        let attempts = self.abandoned.iter().map(|stuck| {
            let thread = stuck.thread.as_deref().unwrap_or_default();
            let call = stuck.stall.as_ref().map_or_else(String::new, ToString::to_string);
            row(&part(stuck), thread, stuck.since, &call)
        });
        let hooks = self.stuck_hooks.iter().map(|hook| {
            let task = hook.task.as_ref().map_or_else(String::new, |task| format!(" of {task}"));
            row(&format!("hook{task}"), &hook.thread, hook.since, "")
        });
        let columns = [
            Column("STUCK", Left, NEVER_HIDDEN),
            Column("SINCE", Right, 2),
            Column("THREAD", Left, 1),
            Column("CALL", Left, 3),
        ];
        Section { columns, rows: attempts.chain(hooks).collect() }
    }
}

/// The first ones are still seen where a line is cut.
const STATES: [TaskState; 10] = [
    TaskState::Abandoned,
    TaskState::Running,
    TaskState::Waiting,
    TaskState::Stopping,
    TaskState::Queued,
    TaskState::Runnable,
    TaskState::Starting,
    TaskState::Intake,
    TaskState::Closing,
    TaskState::Over,
];

/// What of a task is stuck.
fn part(stuck: &AbandonedAttempt) -> String {
    let part = match (stuck.hook, stuck.closing) {
        (true, _) => "hook of ",
        (false, true) => "drop of ",
        (false, false) => "",
    };
    format!("{part}{}", stuck.task)
}

impl TaskSnapshot {
    /// Which process runs, what the body says of itself, and what went wrong last. While it waits,
    /// that is why.
    fn news(&self) -> String {
        let last = if self.state == TaskState::Waiting { "" } else { "last: " };
        let parts = [
            self.silent.then(|| "silent".to_owned()),
            self.pid.map(|pid| format!("pid {pid}")),
            self.mark.as_ref().map(ToString::to_string),
            self.progress.map(|progress| progress.to_string()),
            self.last_failure.as_ref().map(|failure| format!("{last}{}", Escaped(failure))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn tint(&self) -> Tint {
        if self.silent || self.state == TaskState::Abandoned {
            Tint::Red
        } else if self.interrupted || self.failures > 0 && !self.stable {
            Tint::Yellow
        } else {
            Tint::None
        }
    }
}

/// A table of its own: its columns have the same width in all its rows.
struct Section<const N: usize> {
    columns: [Column; N],
    /// The tint is that of the second column.
    rows: Vec<([String; N], Tint)>,
}

/// The head, the side that the cells are at, and which columns are hidden first: the lowest.
struct Column(&'static str, Side, u8);

const NEVER_HIDDEN: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}
use Side::{Left, Right};

/// In the order of what needs attention.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tint {
    None,
    Bold,
    Yellow,
    Red,
}

impl Tint {
    const fn code(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bold => "\x1b[1m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }

    pub(crate) fn on(self, text: &str, colour: bool) -> Cow<'_, str> {
        match (colour, self) {
            (false, _) | (true, Self::None) => text.into(),
            (true, tint) => [tint.code(), text, "\x1b[0m"].concat().into(),
        }
    }
}

/// To so few characters the first and the last column may be cut.
const SHORT_CELL: usize = 10;

/// What stands between two columns.
const GAP: usize = 2;

impl<const N: usize> Section<N> {
    /// The lines that it takes, with its head.
    fn height(&self) -> usize {
        self.rows.len() + usize::from(!self.rows.is_empty())
    }

    /// The width of each column; `None` if it is hidden.
    fn widths(&self, room: usize) -> [Option<usize>; N] {
        let mut natural = [0; N];
        for (place, column) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().map(|(cells, _)| columns(&cells[place]));
            natural[place] = cells.max().unwrap_or(0).max(column.0.len());
        }
        let mut widths = natural.map(Some);
        for place in [0, N - 1] {
            widths[place] = Some(natural[place].min(SHORT_CELL));
        }

        let used = |widths: &[Option<usize>; N]| {
            widths.iter().flatten().map(|width| width + GAP).sum::<usize>() - GAP
        };
        while used(&widths) > room {
            let shown = (1..N).filter(|place| widths[*place].is_some());
            let Some(least) = shown.min_by_key(|place| self.columns[*place].2) else { break };
            widths[least] = None;
        }
        if used(&widths) > room {
            widths[0] = Some(room);
        }

        // The first column may take half of what is left, or what the last one has no use for.
        let half = (room - used(&widths)).div_ceil(2);
        for (place, most) in [(0, half), (N - 1, usize::MAX), (0, usize::MAX)] {
            let spare = room - used(&widths);
            if let Some(width) = &mut widths[place] {
                *width += most.min(spare).min(natural[place].saturating_sub(*width));
            }
        }
        widths
    }

    fn write(&self, out: &mut Out) {
        if self.rows.is_empty() {
            return;
        }
        let widths = self.widths(out.width);
        out.begin_line();
        let heads = self.columns.iter().map(|column| (column.0, Tint::Bold));
        self.write_row(out, &widths, heads);
        for (cells, tint) in &self.rows {
            out.begin_line();
            let tints = (0..N).map(|place| if place == 1 { *tint } else { Tint::None });
            self.write_row(out, &widths, cells.iter().map(String::as_str).zip(tints));
        }
    }

    fn write_row<'a>(
        &self,
        out: &mut Out,
        widths: &[Option<usize>; N],
        cells: impl Iterator<Item = (&'a str, Tint)>,
    ) {
        // Spaces wait for the next text, so that no line ends with any.
        let mut spaces = 0;
        for (((text, tint), width), column) in cells.zip(widths).zip(&self.columns) {
            let Some(width) = *width else { continue };
            let text = cut(text, width);
            let rest = width - columns(&text);
            if column.1 == Right {
                spaces += rest;
            }
            if !text.is_empty() {
                out.spaces(spaces);
                out.tinted(&text, tint);
                spaces = 0;
            }
            spaces += GAP + if column.1 == Left { rest } else { 0 };
        }
    }
}

/// What fits into `width` characters. The id at the end of a task's name is kept.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return text.into();
    }
    let tail = text.rfind('#').map_or("", |place| &text[place..]);
    let is_id = tail.len() > 1 && tail[1..].bytes().all(|byte| byte.is_ascii_digit());
    let tail = if is_id && tail.len() + 2 <= width { tail } else { "" };
    let kept = width.saturating_sub(1 + tail.len());
    let cut = fitting(text, kept);
    if width == 0 { String::new() } else { format!("{cut}~{tail}") }.into()
}

struct Out {
    text: String,
    width: usize,
    colour: bool,
}

impl Out {
    fn begin_line(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn line(&mut self, text: &str) {
        self.begin_line();
        self.text.push_str(&cut(text, self.width));
    }

    fn spaces(&mut self, number: usize) {
        self.text.extend(std::iter::repeat(' ').take(number));
    }

    fn tinted(&mut self, text: &str, tint: Tint) {
        self.text.push_str(&tint.on(text, self.colour));
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(crate) mod tests;
