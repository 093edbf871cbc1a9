//! What ran when, on which thread, and why it waited: a subscriber that remembers, and three ways
//! to draw what it has seen.
//!
//! Each module uses only those listed below it.

mod html;

mod chrome;
mod svg;

mod picture;

mod spans;

mod kind;
mod text;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use crate::api::subscribe::Subscribe;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::Event;
use crate::platform::sync::Mutex;
use picture::Picture;
use spans::Book;
use text::text_of;

/// A subscriber that remembers what tasks and threads did, to be drawn: which task waited for what,
/// which attempt ran on which thread and how it ended, what was abandoned and when.
///
/// It keeps the last 10 000 spans of time (see [`capacity`](Self::capacity)), about 1.5 MB, and
/// what goes on. [`TimelineLog`] draws them at any time. Names are kept whole, other texts up to
/// 400 characters. Give it a [lane of its own](crate::SupervisorBuilder::dedicated_subscriber) with
/// room for bursts: what a lane loses is missing in the picture.
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::Timeline;
/// let (timeline, log) = Timeline::new();
/// let supervisor = Supervisor::builder().dedicated_subscriber(timeline, 8192).start()?;
/// supervisor.run([TaskSpec::new("sensor", |_| Ok(()))])?;
/// let mut page = Vec::new();
/// log.write_html(&mut page)?; // or to a file
/// assert!(String::from_utf8(page)?.contains("sensor"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "hand it to the builder as a subscriber"]
pub struct Timeline(Arc<Shared>);

/// Draws what a [`Timeline`] has seen. It can be cloned, used on any thread, while the supervisor
/// runs and after its end. No call changes what is remembered or waits for the supervisor.
///
/// What still goes on is drawn up to now. [`guide::timeline`](crate::guide::timeline) says how to
/// read it.
///
/// ```
/// use threadvisor::{prelude::*, Timeline};
/// let (timeline, log) = Timeline::new();
/// let supervisor = Supervisor::builder().subscriber(timeline).start()?;
/// supervisor.run([TaskSpec::once("job", |_| Ok(()))])?;
/// let mut picture = Vec::new();
/// log.write_svg(&mut picture)?;
/// assert!(picture.starts_with(b"<svg") && log.dropped() == 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TimelineLog(Arc<Shared>);

struct Shared {
    book: Mutex<Book>,
    /// Knows what time it is.
    supervisor: Mutex<Option<SupervisorHandle>>,
}

const CAPACITY: usize = 10_000;

impl Timeline {
    /// Returns the subscriber, and the log that draws what it has seen.
    pub fn new() -> (Self, TimelineLog) {
        let (book, supervisor) = (Mutex::new(Book::new(CAPACITY)), Mutex::new(None));
        let shared = Arc::new(Shared { book, supervisor });
        (Self(Arc::clone(&shared)), TimelineLog(shared))
    }

    /// Sets how many spans that are over are kept (at least 1); the oldest give way. A span takes
    /// about 150 bytes, and an error its text. An attempt is one span, its wait another, and what
    /// it was told a third. Default: 10 000.
    ///
    /// ```
    /// use threadvisor::{prelude::*, Timeline};
    /// let (timeline, log) = Timeline::new();
    /// let timeline = timeline.capacity(100); // about 15 kB
    /// let supervisor = Supervisor::builder().dedicated_subscriber(timeline, 4096).start()?;
    /// let job = |_| TaskSpec::once("job", |_| Ok(())).no_slot();
    /// supervisor.run((0..200).map(job))?;
    /// assert!(log.dropped() >= 100); // the oldest spans
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(self, spans: usize) -> Self {
        *self.0.book.lock() = Book::new(spans.max(1));
        self
    }
}

impl Subscribe for Timeline {
    fn on_start(&mut self, supervisor: &SupervisorHandle) {
        *self.0.supervisor.lock() = Some(supervisor.clone());
    }

    fn on_event(&mut self, event: &Event) {
        let text = text_of(&event.kind);
        self.0.book.lock().event(event, text);
    }

    fn name(&self) -> &'static str {
        "Timeline"
    }
}

impl TimelineLog {
    /// Writes one HTML file that needs neither network nor other files: to look at, and to attach
    /// to a bug report. Without script it shows the picture of [`write_svg`](Self::write_svg). See
    /// the example of [`Timeline`].
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_html(&self, out: impl Write) -> io::Result<()> {
        self.write(out, html::write)
    }

    /// Writes a picture of all that is remembered, with up to 80 rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_svg(&self, out: impl Write) -> io::Result<()> {
        self.write(out, svg::write)
    }

    /// Writes the JSON that <https://ui.perfetto.dev> and `chrome://tracing` read.
    ///
    /// ```
    /// use threadvisor::{prelude::*, Timeline};
    /// let (timeline, log) = Timeline::new();
    /// let supervisor = Supervisor::builder().subscriber(timeline).start()?;
    /// supervisor.run([TaskSpec::once("job", |_| Ok(()))])?;
    /// let mut trace = Vec::new();
    /// log.write_chrome(&mut trace)?;
    /// assert!(String::from_utf8(trace)?.contains("\"traceEvents\""));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_chrome(&self, out: impl Write) -> io::Result<()> {
        self.write(out, chrome::write)
    }

    /// Returns how much is missing: spans that gave way to later ones, and events that the lane
    /// lost.
    pub fn dropped(&self) -> u64 {
        let book = self.0.book.lock();
        book.evicted + book.lost
    }

    fn write<W: Write>(
        &self,
        out: W,
        write: fn(&Picture, &mut BufWriter<W>) -> io::Result<()>,
    ) -> io::Result<()> {
        let picture = self.picture();
        let mut out = BufWriter::new(out);
        write(&picture, &mut out)?;
        out.flush()
    }

    fn picture(&self) -> Picture {
        let now = self.0.supervisor.lock().as_ref().map_or(0, SupervisorHandle::nanos);
        let book = self.0.book.lock();
        let now = now.max(book.now);
        let (spans, evicted, lost) = (book.spans(now), book.evicted, book.lost);
        drop(book);
        Picture::new(spans, now, evicted, lost)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").finish_non_exhaustive()
    }
}

impl fmt::Debug for TimelineLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimelineLog").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}
