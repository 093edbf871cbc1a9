//! A terminal that is not there: what stands on its screen after what was written to it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use threadvisor::crossbeam_channel::{unbounded, Receiver, Sender};
use threadvisor::Console;

use crate::support::next;

/// The screen, with the lines that have left it at its top.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    rows: usize,
    lines: Vec<String>,
    /// Where the cursor stands, counted from the first line of all.
    row: usize,
    column: usize,
}

impl Screen {
    /// What the console may use of a terminal's language, and nothing else.
    fn write(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(code) = rest.strip_prefix("\x1b[") {
                let end = code.find(|c: char| c.is_ascii_alphabetic()).expect("a cut sequence");
                let (number, letter) = (&code[..end], &code[end..=end]);
                rest = &code[end + 1..];
                self.obey(number, letter);
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\r' => self.column = 0,
                c => {
                    assert!(!c.is_control(), "{c:?} in {text:?}");
                    self.put(c);
                }
            }
        }
    }

    fn obey(&mut self, number: &str, letter: &str) {
        match (number, letter) {
            ("", "J") => {
                let column = self.column;
                self.line().truncate(column);
                self.lines.truncate(self.row + 1);
            }
            ("2", "K") => self.line().clear(),
            ("?7", "l" | "h") | (_, "m") => {}
            (up, "A") => {
                let top = self.lines.len().max(self.row + 1).saturating_sub(self.rows);
                self.row = self.row.saturating_sub(up.parse().unwrap()).max(top);
            }
            other => panic!("no console needs {other:?}"),
        }
    }

    fn line(&mut self) -> &mut String {
        while self.lines.len() <= self.row {
            self.lines.push(String::new());
        }
        &mut self.lines[self.row]
    }

    /// Tests print ASCII only.
    fn put(&mut self, c: char) {
        let column = self.column;
        let line = self.line();
        let rest = line.split_off(column);
        line.push(c);
        line.push_str(rest.get(1..).unwrap_or_default());
        self.column += 1;
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// Keeps what is written, and tells of each write.
#[derive(Clone)]
pub(crate) struct Output {
    screen: Arc<Mutex<Screen>>,
    tell: Sender<String>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let mut screen = self.screen.lock().unwrap();
        screen.write(&text);
        let _ = self.tell.send(screen.text());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console on such a terminal.
pub(crate) struct Terminal {
    pub(crate) output: Output,
    written: Receiver<String>,
}

impl Terminal {
    pub(crate) fn new(columns: u16, rows: u16) -> (Console, Self) {
        let (console, terminal) = Self::none(rows.into());
        (console.size(columns, rows), terminal)
    }

    /// An output that is no terminal.
    pub(crate) fn none(rows: usize) -> (Console, Self) {
        let (tell, written) = unbounded();
        let screen = Arc::new(Mutex::new(Screen { rows, ..Screen::default() }));
        let output = Output { screen, tell };
        (Console::to(output.clone()), Self { output, written })
    }

    /// Waits until the screen shows all of these, and returns what it shows then.
    #[track_caller]
    pub(crate) fn until(&self, shown: &[&str]) -> String {
        loop {
            let screen = next(&self.written);
            if shown.iter().all(|text| screen.contains(text)) {
                return screen;
            }
        }
    }

    /// What the screen shows now.
    pub(crate) fn text(&self) -> String {
        self.output.screen.lock().unwrap().text()
    }
}
