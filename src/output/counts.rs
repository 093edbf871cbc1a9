//! The counts of a report: outcomes, and rejections by reason.

use std::fmt;
use std::sync::Arc;

use crate::output::outcome::Outcome;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::label::Label;
use crate::vocabulary::reason::Rejection;

/// Counts how many tasks ended in each way.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let bad = TaskSpec::once("bad", |_| Err("no such device".into()));
/// let counts = supervisor.run([TaskSpec::once("good", |_| Ok(())), bad])?.outcomes;
/// assert_eq!((counts.completed, counts.failures(), counts.total()), (1, 1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
// Each field counts the outcome that has its name.
#[allow(missing_docs)]
pub struct OutcomeCounts {
    pub completed: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub fatal: u64,
    pub panicked: u64,
    pub timed_out: u64,
    pub unresponsive: u64,
    pub abandoned: u64,
    pub rejected: u64,
    pub lost: u64,
}

impl OutcomeCounts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Cancelled { .. } => &mut self.cancelled,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Fatal { .. } => &mut self.fatal,
            Outcome::Panicked { .. } => &mut self.panicked,
            Outcome::TimedOut { .. } => &mut self.timed_out,
            Outcome::Unresponsive { .. } => &mut self.unresponsive,
            Outcome::Abandoned { .. } => &mut self.abandoned,
            Outcome::Rejected(_) => &mut self.rejected,
            Outcome::Lost => &mut self.lost,
        } += 1;
    }

    /// Returns the number of tasks that failed: `Failed` to `Abandoned`, and `Lost`.
    pub const fn failures(&self) -> u64 {
        let told = self.timed_out.saturating_add(self.unresponsive);
        let others = self.failed.saturating_add(self.fatal).saturating_add(self.panicked);
        told.saturating_add(others).saturating_add(self.abandoned).saturating_add(self.lost)
    }

    /// Returns the number of all tasks.
    pub const fn total(&self) -> u64 {
        let others = self.completed.saturating_add(self.cancelled);
        self.failures().saturating_add(others).saturating_add(self.rejected)
    }
}

/// Counts the submissions that were rejected for one reason.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let wait = || TaskSpec::new("wait", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// supervisor.handle().add(wait())?;
/// assert!(supervisor.handle().add(wait()).is_err()); // its slot is busy
/// let report = supervisor.shutdown()?;
/// assert_eq!(report.rejections[0].to_string(), "rejected, slot_busy: 1 (wait)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RejectionCount {
    /// The [label](Rejection::label) of the reason.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::output::data::label"))]
    pub why: Label,
    /// How many there were.
    pub count: u64,
    /// The names of the first 8 of them, as far as they are known.
    pub tasks: Vec<Arc<str>>,
}

impl RejectionCount {
    pub(crate) fn note(list: &mut Vec<Self>, why: Rejection, count: usize, names: &[Arc<str>]) {
        const MOST: usize = 8;
        if count == 0 {
            return;
        }
        let label = why.label();
        let place = list.iter().position(|entry| entry.why == label).unwrap_or_else(|| {
            list.push(Self { why: label, count: 0, tasks: Vec::new() });
            list.len() - 1
        });
        let entry = &mut list[place];
        entry.count += count as u64;
        let room = MOST.saturating_sub(entry.tasks.len());
        entry.tasks.extend(names.iter().take(room).cloned());
    }
}

impl fmt::Display for RejectionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected, {}: {}", self.why, self.count)?;
        let names: Vec<_> = self.tasks.iter().map(|name| Escaped(name).to_string()).collect();
        let more = if self.count > names.len() as u64 { ", …" } else { "" };
        if names.is_empty() {
            return Ok(());
        }
        write!(f, " ({}{more})", names.join(", "))
    }
}
