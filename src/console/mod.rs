//! [`Console`]: a supervisor in a terminal, as a table that is drawn in place; elsewhere as lines.
//!
//! Each module uses only those listed below it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use crate::api::subscribe::Subscribe;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::{Event, EventKind};

mod painter;

mod screen;

mod progress;
mod text;

use painter::{Painter, Shared};
use screen::Size;

/// Shows on a terminal what a supervisor does. It is a subscriber, and at the same time the handle
/// through which the program prints.
///
/// On a terminal it draws [`Snapshot::table`](crate::Snapshot::table) in place, with a bar and a
/// rate where a body reports its [progress](crate::TaskContext::progress), and below it the latest
/// events that matter: failures, warnings, refusals, tasks that were stopped, the shutdown. One
/// that is too long for a line takes two. Text that is printed with [`println`](Self::println)
/// scrolls above the table. If the output is not a terminal, the same events are printed as lines.
/// Clones share the screen: give one to the supervisor, and others to the code that prints.
///
/// The time that is shown is UTC. The first line says when the table was drawn; the times in the
/// table are relative to that.
///
/// ```
/// use threadvisor::prelude::*;
/// use threadvisor::Console;
///
/// let console = Console::stdout();
/// let supervisor = Supervisor::builder().subscriber(console.clone()).start()?;
/// let copy = TaskSpec::once("copy", move |ctx| {
///     for done in 0..=3 {
///         ctx.progress(done, 3);
///     }
///     console.println("copied");
///     Ok(())
/// });
/// assert_eq!(supervisor.run([copy])?.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # When it draws
/// The table is redrawn after events, but at most four times a second, and less often if the table
/// is so large that drawing would take more than a tenth of the time. Once a drawing has seen a
/// progress, the table is drawn four times a second while it changes, without any event; while it
/// stands still, it is checked at longer and longer intervals, for 8 s in all. A progress that
/// begins, or goes on after that, is drawn with the next event. Otherwise nothing wakes up, so the
/// table of a supervisor at rest stays as it was.
///
/// If there is not enough room, tasks that need attention come first, then those that run, and the
/// others are counted. The last drawing, after the last event, stays on the screen. The mode of the
/// terminal is never changed and the cursor is never hidden, so there is nothing to restore,
/// however the process ends. A terminal that is made narrower may keep parts of the previous table.
///
/// # What else writes to the terminal
/// What another writer puts there is overwritten by the next drawing, and tears the table. So let
/// everything pass through [`println`](Self::println) of a clone, for example
/// - the log: with `env_logger`, `.format(move |_, record| { console.println(record.args());
///   Ok(()) })`,
/// - the messages of panics: `std::panic::set_hook(Box::new(move |panic|
///   console.println(panic)))`. The console shows those of bodies anyway,
/// - the lines of processes (feature `process`): `.on_output(move |line| console.println(line))`.
///
/// # Which output is a terminal
/// That of [`stdout`](Self::stdout) or [`stderr`](Self::stderr), if the system says so and the
/// environment variable `TERM` is not `dumb`; on Windows none is. There is colour on a terminal
/// unless the environment variable `NO_COLOR` is set and not empty.
pub struct Console {
    shared: Arc<Shared>,
    every_event: bool,
    /// Only the clone that the supervisor has called back has one, and no clone of it.
    painter: Option<Painter>,
}

impl Console {
    /// Returns a console that writes to standard output.
    pub fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self::on(io::stdout(), is_terminal.then_some(Size::OfStdout))
    }

    /// Returns a console that writes to standard error.
    pub fn stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self::on(io::stderr(), is_terminal.then_some(Size::OfStderr))
    }

    /// Returns a console that writes lines without colour to `writer`: for tests, with
    /// [`size`](Self::size) also of what a terminal would get. Each change of the screen is one
    /// call of [`write_all`](Write::write_all). The writer must not use the console itself. Its
    /// errors are ignored.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use threadvisor::prelude::*;
    /// use threadvisor::Console;
    /// #[derive(Clone, Default)]
    /// struct Kept(Arc<Mutex<Vec<u8>>>);
    /// impl std::io::Write for Kept {
    ///     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
    ///         self.0.lock().unwrap().write(bytes)
    ///     }
    ///     fn flush(&mut self) -> std::io::Result<()> {
    ///         Ok(())
    ///     }
    /// }
    /// let kept = Kept::default();
    /// let console = Console::to(kept.clone());
    /// let supervisor = Supervisor::builder().subscriber(console).start()?;
    /// let fails = TaskSpec::new("fails", |_| Err("no".into())).restart(RestartPolicy::Never);
    /// supervisor.run([fails])?;
    /// let text = String::from_utf8(kept.0.lock().unwrap().clone())?;
    /// assert!(text.contains("fails#1 attempt 1 failed: no\n"), "{text}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self::on(writer, None)
    }

    fn on(writer: impl Write + Send + 'static, terminal: Option<Size>) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = terminal.filter(|_| cfg!(unix) && !is_dumb);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let colour = terminal.is_some() && !no_colour;
        let shared = Arc::new(Shared::new(Box::new(writer), terminal, colour));
        Self { shared, every_event: false, painter: None }
    }

    /// Sets whether there are colours, regardless of the output and the environment. See the
    /// example of [`size`](Self::size).
    pub fn colour(self, colour: bool) -> Self {
        self.shared.screen.lock().colour = colour;
        self
    }

    /// Treats the output as a terminal of this size, regardless of what it is.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// use threadvisor::{prelude::*, Console};
    /// # #[derive(Clone, Default)]
    /// # struct Kept(Arc<Mutex<Vec<u8>>>);
    /// # impl std::io::Write for Kept {
    /// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
    /// #         self.0.lock().unwrap().write(bytes)
    /// #     }
    /// #     fn flush(&mut self) -> std::io::Result<()> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let kept = Kept::default();
    /// let console = Console::to(kept.clone()).size(80, 24).colour(false).every_event();
    /// let supervisor = Supervisor::builder().subscriber(console).start()?;
    /// supervisor.run([TaskSpec::once("copy", |_| Ok(()))])?;
    /// let text = String::from_utf8(kept.0.lock().unwrap().clone())?;
    /// assert!(text.contains("copy#1"), "{text}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn size(self, columns: u16, rows: u16) -> Self {
        self.shared.screen.lock().terminal = Some(Size::Fixed(columns, rows));
        self
    }

    /// Also prints every event, not only those that matter; on a terminal above the table. It
    /// counts for the clone that becomes the subscriber. See the example of [`size`](Self::size).
    pub fn every_event(mut self) -> Self {
        self.every_event = true;
        self
    }

    /// Prints a text and a line break, above the table if there is one. Like the macro of that
    /// name, it blocks while the terminal accepts no text. Errors are ignored.
    ///
    /// ```
    /// let console = threadvisor::Console::stdout();
    /// console.println("a text");
    /// console.println(format_args!("{} of {}", 1, 2));
    /// # let sent = console.clone();
    /// # assert!(std::thread::Builder::new().spawn(move || sent.println("two")).is_ok());
    /// ```
    pub fn println(&self, text: impl fmt::Display) {
        // What displays it is the caller's code, which may print as well.
        let text = text.to_string();
        self.shared.screen.lock().print(&text);
    }
}

impl Clone for Console {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), painter: None, ..*self }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("every_event", &self.every_event).finish_non_exhaustive()
    }
}

impl Subscribe for Console {
    fn on_start(&mut self, supervisor: &SupervisorHandle) {
        self.painter = Painter::start(&self.shared, supervisor);
    }

    fn on_event(&mut self, event: &Event) {
        let matters = text::matters(&event.kind);
        // An error's text is user code, so it is not made under the lock.
        let line = (matters || self.every_event).then(|| text::line(event));
        let below = matters && !text::is_in_table(&event.kind);
        // Where this clone draws no table, only lines are news.
        if line.is_some() || self.painter.is_some() {
            self.shared.note(line, self.every_event, below);
        }
        if matches!(event.kind, EventKind::ShutdownEnded) {
            self.painter = None;
        }
    }

    fn name(&self) -> &'static str {
        "Console"
    }
}
