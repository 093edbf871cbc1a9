//! What the service manager is told, and when: a pure piece, which gets the time and facts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::time::{nanos, RealTime};

/// A message to the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What must arrive, and in its order: READY, RELOADING, STOPPING.
    Kept,
    /// The next one says the same, or more.
    Replaced,
}

/// When to try again what could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The receiver's queue is full.
    Soon,
    /// There is no receiver: together with the next message.
    WithNext,
}

/// What the supervisor knows at a moment.
pub(in crate::runtime) struct Facts<'a> {
    /// All required tasks are ready, and the program has announced itself.
    pub(in crate::runtime) ready: bool,
    /// How long it takes at most until they are, as far as each of them has a bound.
    pub(in crate::runtime) start_bound: Option<Duration>,
    /// What is wrong with the required tasks.
    pub(in crate::runtime) sick: Option<&'a str>,
    /// One line about the supervisor.
    pub(in crate::runtime) status: &'a dyn Fn() -> String,
}

#[derive(Debug)]
// They are independent facts.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct ServiceState {
    /// Whether anybody gets the messages.
    talks: bool,
    /// The period of the service manager's watchdog, and that of the hardware.
    watchdog: Beat,
    hardware: Beat,
    phase: Phase,
    reloads: u32,
    reload_told: bool,
    kept: VecDeque<Datagram>,
    /// A sign for the watchdog is to be given.
    sign_waits: bool,
    status_waits: Option<String>,
    status: String,
    /// No status is made before this time.
    status_from: RealTime,
    /// When the start is to be extended, as far as it has a bound.
    extend_at: RealTime,
    start_bound: Option<Duration>,
    sick: bool,
    blocked: Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// With whether it was ready before, so that somebody waits for pings.
    Stopping {
        was_ready: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    No,
    Until(RealTime),
    UntilNews,
}

/// A sign of life that is due once in each period, unless the service is sick.
#[derive(Debug)]
struct Beat {
    period: Option<Duration>,
    next: RealTime,
    missed: bool,
}

impl Beat {
    const fn new(period: Option<Duration>) -> Self {
        Self { period, next: RealTime::NEVER, missed: false }
    }

    fn begin(&mut self, first: RealTime) {
        if self.period.is_some() {
            self.next = first;
        }
    }

    /// Whether to give the sign now. One that was left out is given as soon as all is well, and
    /// those that a suspended process has missed are not made up for.
    fn is_due(&mut self, now: RealTime, well: bool) -> bool {
        let Some(period) = self.period else { return false };
        let due = self.next <= now;
        if due {
            self.next = now.after(period);
            self.missed = true;
        }
        let gives = self.missed && well;
        if gives {
            self.missed = false;
            self.next = now.after(period);
        }
        gives
    }
}

const PING: &str = "WATCHDOG=1";

/// A shorter period would do nothing but ping.
const SHORTEST: Duration = Duration::from_millis(1);
const RETRY: Duration = Duration::from_millis(100);
const STATUS_SPACING: Duration = Duration::from_secs(1);
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// "Infinity" is refused by the receiver.
const LONGEST_EXTENSION: Duration = Duration::from_secs(24 * 60 * 60);
/// The receiver takes 4 KiB.
const MAX_STATUS: usize = 1024;

impl ServiceState {
    pub(super) fn new(talks: bool, watchdog: Option<Duration>, hardware: Option<Duration>) -> Self {
        Self {
            talks,
            watchdog: Beat::new(watchdog.filter(|_| talks).map(|it| (it / 2).max(SHORTEST))),
            hardware: Beat::new(hardware),
            phase: Phase::Starting,
            reloads: 0,
            reload_told: false,
            kept: VecDeque::new(),
            sign_waits: false,
            status_waits: None,
            status: String::new(),
            status_from: RealTime::ZERO,
            extend_at: RealTime::ZERO.after(EXTEND_EVERY),
            start_bound: None,
            sick: false,
            blocked: Blocked::No,
        }
    }

    /// How often a sign of life is given: twice in each period of the service manager.
    pub(super) const fn ping_period(&self) -> Option<Duration> {
        self.watchdog.period
    }

    pub(super) fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    pub(super) const fn is_sick(&self) -> bool {
        self.sick
    }

    /// When [`step`](Self::step) has something to do although nothing has changed.
    pub(super) fn deadline(&self) -> RealTime {
        let extend =
            if self.is_starting() && self.start_bound.is_some() { self.extend_at } else { NEVER };
        let waits = match self.blocked {
            Blocked::Until(time) => time,
            Blocked::No if !self.kept.is_empty() => RealTime::ZERO,
            Blocked::No | Blocked::UntilNews => NEVER,
        };
        let beats = self.watchdog.next.min(self.hardware.next);
        beats.min(extend).min(waits)
    }

    /// When to call [`step`](Self::step) if something has changed.
    pub(super) fn next_look(&self) -> RealTime {
        let missed = self.watchdog.missed || self.hardware.missed;
        if self.is_starting() || missed || !self.talks {
            RealTime::ZERO
        } else {
            self.status_from
        }
    }

    /// When the next status can be made; `NEVER` before the service is ready.
    pub(super) fn next_status(&self) -> RealTime {
        if self.talks && !self.is_starting() {
            self.status_from
        } else {
            NEVER
        }
    }

    /// A drain or a shutdown begins, which may take so long.
    pub(super) fn begin_stopping(&mut self, extension: Duration) {
        if !self.is_stopping() {
            self.phase = Phase::Stopping { was_ready: self.phase == Phase::Ready };
            self.keep(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", micros(extension)));
        }
    }

    /// `monotonic` is what the clock of the service manager shows, if that can be known.
    pub(super) fn begin_reload(&mut self, monotonic: Option<u64>) {
        self.reloads += 1;
        if self.reloads == 1 && self.phase == Phase::Ready {
            self.reload_told = true;
            let when = monotonic.map_or_else(String::new, |it| format!("\nMONOTONIC_USEC={it}"));
            self.keep(format!("RELOADING=1{when}"));
        }
    }

    pub(super) fn end_reload(&mut self) {
        self.reloads = self.reloads.saturating_sub(1);
        if self.reloads == 0 && std::mem::take(&mut self.reload_told) && !self.is_stopping() {
            self.keep("READY=1".to_owned());
        }
    }

    fn keep(&mut self, text: String) {
        if self.talks {
            self.kept.push_back(Datagram { text, kind: Kind::Kept });
            self.note_news();
        }
    }

    fn note_news(&mut self) {
        if self.blocked == Blocked::UntilNews {
            self.blocked = Blocked::No;
        }
    }

    /// Whether the hardware's watchdog is to be petted now.
    pub(super) fn pets(&mut self, now: RealTime, facts: &Facts<'_>) -> bool {
        let well = self.is_stopping() || facts.sick.is_none();
        self.hardware.is_due(now, well)
    }

    /// The next message at this moment; `None` once nothing is left to be said. The caller says
    /// with [`undelivered`](Self::undelivered) if it could not be sent.
    pub(super) fn step(&mut self, now: RealTime, facts: &Facts<'_>) -> Option<Datagram> {
        if matches!(self.blocked, Blocked::Until(time) if time <= now) {
            self.blocked = Blocked::No;
        }
        match self.phase {
            Phase::Starting if facts.ready => self.become_ready(now, facts),
            Phase::Starting => {
                if let Some(datagram) = self.extend_start(now, facts) {
                    return Some(datagram);
                }
            }
            Phase::Ready | Phase::Stopping { .. } => self.look(now, facts),
        }

        if self.blocked != Blocked::No {
            return None;
        }
        if let Some(kept) = self.kept.pop_front() {
            return Some(kept);
        }
        let text = if std::mem::take(&mut self.sign_waits) {
            PING.to_owned()
        } else {
            format!("STATUS={}", self.status_waits.take()?)
        };
        Some(Datagram { text, kind: Kind::Replaced })
    }

    fn become_ready(&mut self, now: RealTime, facts: &Facts<'_>) {
        self.phase = Phase::Ready;
        if let Some(half) = self.watchdog.period {
            self.watchdog.begin(now.after(half));
        }
        self.hardware.begin(now);
        self.sick = facts.sick.is_some();
        if self.talks {
            self.status = self.status_of(facts);
            self.status_from = now.after(STATUS_SPACING);
            self.keep(format!("READY=1\nSTATUS={}", self.status));
        }
    }

    fn extend_start(&mut self, now: RealTime, facts: &Facts<'_>) -> Option<Datagram> {
        self.start_bound = facts.start_bound.filter(|_| self.talks);
        let bound = self.start_bound.filter(|_| self.extend_at <= now)?;
        self.note_news();
        self.extend_at = now.after(EXTEND_EVERY);
        let extension = micros(bound.saturating_add(EXTEND_EVERY));
        Some(Datagram { text: format!("EXTEND_TIMEOUT_USEC={extension}"), kind: Kind::Replaced })
    }

    fn look(&mut self, now: RealTime, facts: &Facts<'_>) {
        // The service manager watches while it stops the service, too.
        self.sick = facts.sick.is_some() && !self.is_stopping();
        if self.watchdog.is_due(now, !self.sick) {
            self.sign_waits = true;
            self.note_news();
        }
        self.sign_waits &= !self.sick;
        if self.talks && self.status_from <= now {
            // Also if it is the same: to count all tasks takes a while if there are many.
            self.status_from = now.after(STATUS_SPACING);
            let status = self.status_of(facts);
            if status != self.status {
                self.status_waits = Some(status.clone());
                self.status = status;
                self.note_news();
            }
        }
    }

    fn status_of(&self, facts: &Facts<'_>) -> String {
        let mut status = (facts.status)();
        if let (Some(sick), false) = (facts.sick, self.is_stopping()) {
            status = format!("sick: {sick}; {status}");
        }
        // A line break would begin another variable.
        let mut status = Escaped(status).to_string();
        if status.len() > MAX_STATUS {
            let end = (0..=MAX_STATUS).rev().find(|end| status.is_char_boundary(*end));
            status.truncate(end.unwrap_or(0));
        }
        status
    }

    /// A message could not be sent.
    pub(super) fn undelivered(&mut self, now: RealTime, datagram: Datagram, again: Again) {
        self.blocked = match again {
            Again::Soon => Blocked::Until(now.after(RETRY)),
            Again::WithNext => Blocked::UntilNews,
        };
        let Datagram { text, kind } = datagram;
        match kind {
            Kind::Kept => self.kept.push_front(Datagram { text, kind }),
            Kind::Replaced => match text.strip_prefix("STATUS=") {
                Some(status) => {
                    self.status_waits.get_or_insert_with(|| status.to_owned());
                }
                // Without a receiver, the next one comes in its own time.
                None if again == Again::WithNext => {}
                None if text == PING => self.sign_waits = true,
                None => self.extend_at = now.after(RETRY),
            },
        }
    }
}

const NEVER: RealTime = RealTime::NEVER;

fn micros(span: Duration) -> u64 {
    nanos(span.min(LONGEST_EXTENSION)) / 1000
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
