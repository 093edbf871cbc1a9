//! How far the end of a supervisor has got, and what its report says about the shutdown.

use super::signals::Listener;
use crate::machine::End;
use crate::output::report::{AbandonedAttempt, ShutdownReport};
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::Time;

pub(super) struct Ending {
    shutdown: Option<Shutdown>,
    /// Signals have their former effect again once this is dropped.
    pub(super) signals: Option<Listener>,
    /// The lanes are to be closed, or are closed; then, how many have not served their last event.
    lanes: Lanes,
    /// The machine has ended.
    pub(super) finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    Serving,
    ToBeClosed,
    Flushing { open: usize },
}

/// The facts about the shutdown under way.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    cause: ShutdownCause,
    began: Time,
    ended: Time,
    stopped: usize,
    rejected: usize,
}

impl Ending {
    pub(super) const fn new(signals: Option<Listener>) -> Self {
        Self { shutdown: None, signals, lanes: Lanes::Serving, finished: false }
    }

    /// A shutdown begins.
    pub(super) fn begin(&mut self, cause: ShutdownCause, now: Time) {
        self.shutdown = Some(Shutdown { cause, began: now, ended: now, stopped: 0, rejected: 0 });
    }

    /// Every task has its outcome.
    pub(super) fn note_complete(&mut self, now: Time) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.ended = now;
        }
        self.lanes = Lanes::ToBeClosed;
    }

    /// Whether the lanes are to be closed now.
    pub(super) fn lanes_wait(&self) -> bool {
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

    /// Counts a task that ended since the shutdown began.
    pub(super) fn count(&mut self, task: TaskId, end: End) {
        let Some(shutdown) = &mut self.shutdown else { return };
        match end {
            // This task ended before the shutdown that it caused.
            _ if shutdown.cause == ShutdownCause::TaskEnded(task) => {}
            End::Rejected(_) => shutdown.rejected += 1,
            End::Abandoned { .. } => {}
            End::Completed
            | End::Cancelled { .. }
            | End::Failed
            | End::Fatal
            | End::Panicked
            | End::TimedOut
            | End::Unresponsive => shutdown.stopped += 1,
        }
    }

    /// Counts submissions that the closing door refused.
    pub(super) fn count_refused(&mut self, submissions: usize) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.rejected += submissions;
        }
    }

    /// The controller has panicked: what it knew about a shutdown no longer counts.
    pub(super) fn give_up(&mut self) {
        self.shutdown = None;
        self.signals = None;
    }

    /// When the last events and the threads must be done.
    pub(super) fn complete_at(&self, now: Time) -> Time {
        self.shutdown.map_or(now, |shutdown| shutdown.ended)
    }

    /// The report about the shutdown. Without a shutdown, the controller has panicked.
    pub(super) fn into_report(
        self,
        abandoned: Vec<AbandonedAttempt>,
        events_dropped: u64,
        values_leaked: usize,
    ) -> ShutdownReport {
        let cause = self.shutdown.map_or(ShutdownCause::ControllerPanicked, |it| it.cause);
        let elapsed = self.shutdown.map(|it| it.began.until(it.ended)).unwrap_or_default();
        let (stopped, rejected) = self.shutdown.map_or((0, 0), |it| (it.stopped, it.rejected));
        ShutdownReport {
            cause,
            elapsed,
            stopped,
            rejected,
            abandoned,
            events_dropped,
            values_leaked,
        }
    }
}
