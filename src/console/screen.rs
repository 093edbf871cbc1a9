//! What has been drawn, and how it is drawn anew in its place.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Write;

use super::text::Line;
use crate::output::columns::fitting;
use crate::output::table::{cut, Tint};

/// What the console writes to, and what stands there.
pub(super) struct Screen {
    writer: Box<dyn Write + Send>,
    /// `None` if it is no terminal.
    pub(super) terminal: Option<Size>,
    pub(super) colour: bool,
    /// Whether there is a painter, which draws a table. Otherwise there are lines only.
    pub(super) has_table: bool,
    /// Whether there is news that is not drawn yet.
    pub(super) news: bool,
    table: String,
    /// The latest lines that matter.
    latest: VecDeque<Line>,
    /// The whole drawing, as it was written.
    frame: String,
    /// The lines of the drawing that stand above the cursor.
    height: usize,
}

/// Where the size of a terminal is known from.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Fixed(u16, u16),
    OfStdout,
    OfStderr,
}

impl Size {
    /// Columns and rows; what every terminal has if the system does not know them.
    fn get(self) -> (usize, usize) {
        let (columns, rows) = match self {
            Self::Fixed(columns, rows) => (columns, rows),
            #[cfg(unix)]
            Self::OfStdout => ask(std::io::stdout()),
            #[cfg(unix)]
            Self::OfStderr => ask(std::io::stderr()),
            #[cfg(not(unix))]
            Self::OfStdout | Self::OfStderr => (0, 0),
        };
        let known = |number, usual| if number == 0 { usual } else { usize::from(number) };
        (known(columns, 80), known(rows, 24))
    }
}

#[cfg(unix)]
fn ask(terminal: impl std::os::fd::AsFd) -> (u16, u16) {
    rustix::termios::tcgetwinsize(terminal).map_or((0, 0), |size| (size.ws_col, size.ws_row))
}

/// How much fits: the columns, the lines of the table, and the lines of the latest below it.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) columns: usize,
    pub(super) rows: usize,
    latest: usize,
}

/// How many of the latest lines are kept.
const LATEST: usize = 8;

impl Screen {
    pub(super) fn new(writer: Box<dyn Write + Send>, terminal: Option<Size>, colour: bool) -> Self {
        Self {
            writer,
            terminal,
            colour,
            has_table: false,
            news: false,
            table: String::new(),
            latest: VecDeque::new(),
            frame: String::new(),
            height: 0,
        }
    }

    /// The room for the next drawing.
    pub(super) fn room(&self) -> Room {
        let (columns, rows) = self.terminal.map_or((80, 24), Size::get);
        let latest = self.latest(columns, rows / 3).len();
        let head = usize::from(latest > 0);
        // The cursor stands on a line of its own.
        Room { columns, rows: (rows - 1).saturating_sub(head + latest), latest }
    }

    /// Takes up a line of an event: as a line in any case or only without a table, and below it.
    pub(super) fn note(&mut self, (text, level): Line, as_line: bool, below: bool) {
        if as_line || !self.has_table {
            self.print(&self.tinted(&text, level));
        }
        if below && self.has_table {
            if self.latest.len() == LATEST {
                self.latest.pop_front();
            }
            self.latest.push_back((text, level));
        }
    }

    /// As many of the latest lines as fit. What is too long for one line continues on another.
    fn latest(&self, columns: usize, room: usize) -> Vec<String> {
        let mut lines = VecDeque::new();
        for (text, level) in self.latest.iter().rev() {
            let parts = in_two(text, columns, room);
            if lines.len() + parts.len() > room {
                break;
            }
            for part in parts.iter().rev() {
                lines.push_front(self.tinted(part, *level).into_owned());
            }
        }
        lines.into()
    }

    fn tinted<'a>(&self, text: &'a str, level: log::Level) -> Cow<'a, str> {
        let tint = match level {
            log::Level::Error => Tint::Red,
            log::Level::Warn => Tint::Yellow,
            _ => Tint::None,
        };
        tint.on(text, self.colour)
    }

    /// Prints a text above the drawing.
    pub(super) fn print(&mut self, text: &str) {
        if self.height == 0 {
            self.write(&format!("{text}\n"));
        } else {
            // A text may be longer than a line, so what stands there is erased before.
            let up = self.to_the_top();
            let frame = std::mem::take(&mut self.frame);
            self.write(&format!("{up}\x1b[J{text}\n{frame}"));
            self.frame = frame;
        }
    }

    /// Draws a table that was made for this room, or the same again, in the place of the last one.
    pub(super) fn draw(&mut self, table: Option<String>, room: Room) {
        self.table = table.unwrap_or_else(|| std::mem::take(&mut self.table));
        let mut lines: Vec<_> = self.table.lines().take(room.rows).map(str::to_owned).collect();
        if room.latest > 0 {
            lines.push(Tint::Bold.on("LATEST", self.colour).into_owned());
            lines.extend(self.latest(room.columns, room.latest));
        }

        // A line with wide characters would else continue on the next one.
        let mut frame = String::from("\x1b[?7l");
        for line in &lines {
            // It is erased before, for behind its last column a terminal would erase that as well.
            frame.extend(["\x1b[2K", line, "\n"]);
        }
        frame.push_str("\x1b[?7h");
        let up = self.to_the_top();
        self.write(&format!("{up}{frame}\x1b[J"));
        (self.frame, self.height) = (frame, lines.len());
    }

    /// What stands there stays, and nothing more is drawn.
    pub(super) fn leave(&mut self) {
        self.has_table = false;
        self.table.clear();
        self.frame.clear();
        self.latest.clear();
        self.height = 0;
    }

    fn to_the_top(&self) -> String {
        if self.height == 0 {
            String::new()
        } else {
            format!("\r\x1b[{}A", self.height)
        }
    }

    /// Nobody can be told that nobody reads.
    fn write(&mut self, text: &str) {
        let _ = self.writer.write_all(text.as_bytes());
        let _ = self.writer.flush();
    }
}

/// A line that begins with its time, broken at a space if it is too long and there is room.
fn in_two(text: &str, columns: usize, room: usize) -> Vec<Cow<'_, str>> {
    const TIME: usize = "00:00:00 ".len();
    let first = fitting(text, columns);
    match first.rfind(' ').filter(|place| *place >= TIME) {
        Some(end) if first.len() < text.len() && room > 1 => {
            let rest = cut(&text[end + 1..], columns - TIME).into_owned();
            vec![text[..end].into(), format!("{:TIME$}{rest}", "").into()]
        }
        _ => vec![cut(text, columns)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_goes_on_below_itself_if_there_is_room() {
        let text = "12:00:00 count#9 rejected: the slot is busy: wait until its body has returned";
        assert_eq!(in_two(text, 77, 8), [text]);
        let parts = [
            "12:00:00 count#9 rejected: the slot is",
            "         busy: wait until its body has ret~",
        ];
        assert_eq!(in_two(text, 43, 8), parts);
        assert_eq!(in_two(text, 43, 1), ["12:00:00 count#9 rejected: the slot is bus~"]);
        assert_eq!(in_two(text, 8, 8), ["12:00:0~"]);
        assert_eq!(in_two("12:00:00 abcdefghij", 12, 8), ["12:00:00 ab~"]);
    }
}
