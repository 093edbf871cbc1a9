//! The thread that draws the table: when it draws, and when it ends.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::progress::{Rates, BEAT};
use super::screen::{Screen, Size};
use super::text::{clock, Line};
use crate::api::supervisor_handle::SupervisorHandle;
use crate::platform::clock::RealClock;
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::{threads, unwind};
use crate::vocabulary::time::RealTime;

/// What all clones of a console have in common.
pub(super) struct Shared {
    pub(super) screen: Mutex<Screen>,
    /// Signalled when there is something for the painter to do.
    ready: Condvar,
}

impl Shared {
    pub(super) fn new(writer: Box<dyn Write + Send>, terminal: Option<Size>, colour: bool) -> Self {
        let screen = Mutex::new(Screen::new(writer, terminal, colour));
        Self { screen, ready: Condvar::new() }
    }

    /// Takes up an event, and its line if it has one.
    pub(super) fn note(&self, line: Option<Line>, as_line: bool, below: bool) {
        let mut screen = self.screen.lock();
        if let Some(line) = line {
            screen.note(line, as_line, below);
        }
        if screen.has_table && !screen.news {
            screen.news = true;
            self.ready.notify_one();
        }
    }

    /// Waits until the pause is over and there is news, or it is time to look. False once there is
    /// no table any more.
    fn wait(&self, clock: &RealClock, pause: Duration, next_look: Option<Duration>) -> bool {
        let pause_over = clock.now().after(pause);
        let look = next_look.map_or(RealTime::NEVER, |wait| clock.now().after(wait));
        let mut screen = self.screen.lock();
        while screen.has_table {
            let now = clock.now();
            let until = if now < pause_over {
                pause_over
            } else if screen.news || now >= look {
                screen.news = false;
                return true;
            } else {
                look
            };
            match clock.instant(until) {
                Some(until) => drop(self.ready.wait_until(&mut screen, until)),
                None => self.ready.wait(&mut screen),
            }
        }
        false
    }

    /// Draws the state of the supervisor; what was drawn last if it has ended.
    fn draw(
        &self,
        supervisor: &SupervisorHandle,
        rates: &mut Rates,
        now: RealTime,
        has_ended: bool,
    ) {
        let (room, colour) = {
            let screen = self.screen.lock();
            (screen.room(), screen.colour)
        };
        // The controller answers and errors are displayed meanwhile, so the lock is not held.
        let table = supervisor.snapshot().ok().map(|mut snapshot| {
            rates.show(&mut snapshot, now);
            let mut drawn_at = format!("{} UTC, ", clock(RealClock::wall()));
            if has_ended {
                snapshot.shutting_down = false;
                drawn_at.push_str("shut down, ");
            }
            snapshot.table_within(&drawn_at, (room.columns, room.rows), colour)
        });
        let mut screen = self.screen.lock();
        if screen.has_table {
            screen.draw(table, room);
        }
    }
}

/// Draws until it is dropped; what was drawn last stays on the screen.
pub(super) struct Painter {
    shared: Arc<Shared>,
    supervisor: SupervisorHandle,
}

/// Drawing takes this share of the time at most, but is not put off for longer than that.
const SHARE: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Painter {
    /// Starts the thread, if there is a terminal without a table. If the system refuses it, events
    /// are lines.
    pub(super) fn start(shared: &Arc<Shared>, supervisor: &SupervisorHandle) -> Option<Self> {
        {
            let mut screen = shared.screen.lock();
            if screen.terminal.is_none() || screen.has_table {
                return None;
            }
            (screen.has_table, screen.news) = (true, false);
        }
        let painter = Self { shared: Arc::clone(shared), supervisor: supervisor.clone() };
        let (shared, supervisor) = (Arc::clone(shared), supervisor.clone());
        let paint = move |_| {
            let clock = RealClock::start_now();
            let (mut rates, mut pause) = (Rates::new(), Duration::ZERO);
            while shared.wait(&clock, pause, rates.next_look) {
                let began = clock.now();
                // The text of an error is user code.
                let _ = unwind::catch(|| shared.draw(&supervisor, &mut rates, began, false));
                let took = began.until(clock.now());
                pause = BEAT.max(took.saturating_mul(SHARE).min(LONGEST_PAUSE));
            }
        };
        let is_refused = threads::spawn("console".to_owned(), None, Box::new(paint)).is_err();
        if is_refused {
            painter.shared.screen.lock().leave();
        }
        (!is_refused).then_some(painter)
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        let _ = unwind::catch(|| {
            self.shared.draw(&self.supervisor, &mut Rates::new(), RealTime::ZERO, true);
        });
        self.shared.screen.lock().leave();
        self.shared.ready.notify_one();
    }
}
