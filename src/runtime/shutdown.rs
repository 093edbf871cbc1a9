//! How far the shutdown of a supervisor has got, and what its report says about it.

use std::time::Duration;

use super::signals::{Listener, ECHO};
use super::tally::MOST;
use crate::machine::End;
use crate::output::drain_report::DrainReport;
use crate::output::report::{AbandonedAttempt, ShutdownReport};
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::{RealTime, Time};

pub(super) struct Shutdown {
    /// The drain under way or before, and when it began.
    drain: Option<(Time, DrainReport)>,
    progress: Option<Progress>,
    /// Signals have their default effect again once this is dropped, and no echo can come.
    pub(super) signals: Option<Listener>,
    /// A signal before this time is an echo.
    signals_from: RealTime,
    /// Whether the lanes serve, are to be closed, or are closed: then, how many have not served
    /// their last event.
    lanes: Lanes,
    /// The machine has ended.
    pub(super) finished: bool,
    /// When every task had its outcome.
    completed_at: Option<RealTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    Serving,
    ToBeClosed,
    Flushing { open: usize },
}

/// The facts about the shutdown under way.
#[derive(Clone, Copy, Debug)]
struct Progress {
    cause: ShutdownCause,
    began: Time,
    ended: Time,
    stopped: usize,
    rejected: usize,
}

impl Shutdown {
    pub(super) const fn new(signals: Option<Listener>) -> Self {
        Self {
            drain: None,
            progress: None,
            signals,
            signals_from: RealTime::ZERO,
            lanes: Lanes::Serving,
            finished: false,
            completed_at: None,
        }
    }

    /// A drain begins, or is to end earlier.
    pub(super) fn begin_drain(&mut self, until: Time, now: Time) {
        let none =
            DrainReport { limit: None, elapsed: Duration::ZERO, unfinished: 0, tasks: Vec::new() };
        let (began, drain) = self.drain.get_or_insert((now, none));
        drain.limit = (!until.is_never()).then(|| began.until(until));
    }

    /// The drain has waited for this task in vain.
    pub(super) fn note_unfinished(&mut self, task: impl FnOnce() -> Option<TaskRef>) {
        let Some((_, drain)) = &mut self.drain else { return };
        drain.unfinished += 1;
        if drain.tasks.len() < MOST {
            drain.tasks.extend(task());
        }
    }

    /// Whether a signal that means the end, and came at this time, counts. If it does, one that
    /// follows it too closely does not.
    pub(super) fn heeds_signal(&mut self, at: RealTime) -> bool {
        let heeds = self.signals_from <= at;
        if heeds {
            self.signals_from = at.after(ECHO);
        }
        heeds
    }

    /// A shutdown begins.
    pub(super) fn begin(&mut self, cause: ShutdownCause, now: Time, real: RealTime) {
        self.signals_from = real.after(ECHO);
        if let Some((began, drain)) = &mut self.drain {
            drain.elapsed = began.until(now);
        }
        self.progress = Some(Progress { cause, began: now, ended: now, stopped: 0, rejected: 0 });
    }

    /// Every task has its outcome.
    pub(super) fn note_complete(&mut self, now: Time, real: RealTime) {
        self.completed_at = Some(real);
        if let Some(progress) = &mut self.progress {
            progress.ended = now;
        }
        self.lanes = Lanes::ToBeClosed;
    }

    /// Whether the lanes are to be closed now.
    pub(super) fn lanes_to_be_closed(&self) -> bool {
        self.lanes == Lanes::ToBeClosed
    }

    /// The lanes are closed, and this many have events left.
    pub(super) fn lanes_closed(&mut self, open: usize) {
        self.lanes = Lanes::Flushing { open };
    }

    /// A lane has served its last event. True if it was the last one.
    pub(super) fn lane_flushed(&mut self) -> bool {
        let Lanes::Flushing { open } = &mut self.lanes else { return false };
        *open = open.saturating_sub(1);
        *open == 0
    }

    /// Whether the end of this task is what the shutdown came from.
    pub(super) fn is_caused_by(&self, task: TaskId) -> bool {
        self.progress.is_some_and(|it| it.cause == ShutdownCause::TaskEnded(task))
    }

    /// Counts a task that ended since the shutdown began.
    pub(super) fn count(&mut self, task: TaskId, end: End) {
        // The task that is the cause ended before the shutdown began.
        if self.is_caused_by(task) {
            return;
        }
        let Some(progress) = &mut self.progress else { return };
        match end {
            End::Rejected(_) => progress.rejected += 1,
            End::Abandoned { .. } => {}
            End::Completed
            | End::Cancelled { .. }
            | End::Failed
            | End::Fatal
            | End::Panicked
            | End::TimedOut
            | End::Unresponsive => progress.stopped += 1,
        }
    }

    /// Counts submissions that the closing door refused.
    pub(super) fn count_refused(&mut self, submissions: usize) {
        if let Some(progress) = &mut self.progress {
            progress.rejected += submissions;
        }
    }

    /// The controller has panicked: what it knew about a shutdown no longer counts.
    pub(super) fn give_up(&mut self) {
        self.progress = None;
        self.signals = None;
    }

    /// When every task had its outcome.
    pub(super) const fn completed_at(&self) -> Option<RealTime> {
        self.completed_at
    }

    /// The report about the shutdown. Without a shutdown, the controller has panicked.
    pub(super) fn into_report(
        self,
        abandoned: Vec<AbandonedAttempt>,
        events_dropped: u64,
        values_leaked: usize,
    ) -> ShutdownReport {
        let cause = self.progress.map_or(ShutdownCause::ControllerPanicked, |it| it.cause);
        let elapsed = self.progress.map(|it| it.began.until(it.ended)).unwrap_or_default();
        let (stopped, rejected) = self.progress.map_or((0, 0), |it| (it.stopped, it.rejected));
        ShutdownReport {
            cause,
            elapsed,
            drain: self.drain.map(|(_, drain)| drain),
            stopped,
            rejected,
            abandoned,
            stuck_hooks: Vec::new(),
            events_dropped,
            values_leaked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_unless_it_is_the_echo_of_another_or_of_what_began_the_shutdown() {
        let at = |millis| RealTime::ZERO.after(Duration::from_millis(millis));
        let mut shutdown = Shutdown::new(None);
        shutdown.begin(ShutdownCause::Requested, Time::ZERO, at(1000));
        let times = [1000, 1299, 1300, 1599, 1600, 1601, 1900];
        let heeded = times.map(|millis| shutdown.heeds_signal(at(millis)));
        assert_eq!(heeded, [false, false, true, false, true, false, true]);
    }
}
