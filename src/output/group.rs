//! Groups, as snapshots and reports show them.

use std::fmt;
use std::sync::Arc;

use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::reason::StopReason;

/// Shows one group of a [`Snapshot`](crate::Snapshot).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let driver = TaskSpec::new("driver", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let line = supervisor.handle().add_group(GroupSpec::new("line").then(driver))?;
/// line.wait_ready(std::time::Duration::from_secs(60))?;
/// let snapshot = supervisor.handle().snapshot()?;
/// assert_eq!(snapshot.groups[0].to_string(), "group line up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// The name of the group.
    pub name: Arc<str>,
    /// Where the group is in its life.
    pub state: GroupState,
    /// Its members, in the order of their phases, also those that have ended.
    pub members: Vec<TaskId>,
    /// How often it has restarted.
    pub restarts: u32,
}

impl fmt::Display for GroupSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} {}", Escaped(&self.name), Stage(&self.state))?;
        restarted(f, self.restarts)
    }
}

/// Where a group is in its life, in full.
pub(super) struct Stage<'a>(pub(super) &'a GroupState);

impl fmt::Display for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.label())?;
        match *self.0 {
            GroupState::Starting { phase }
            | GroupState::Stopping { phase }
            | GroupState::Restarting { phase, waits_for: None } => write!(f, ", phase {phase}"),
            GroupState::Restarting { phase, waits_for: Some(ref member) } => {
                write!(f, ", phase {phase}, waits for {member}")
            }
            GroupState::Up | GroupState::Over => Ok(()),
        }
    }
}

fn restarted(f: &mut fmt::Formatter<'_>, restarts: u32) -> fmt::Result {
    match restarts {
        0 => Ok(()),
        1 => f.write_str(", after 1 restart"),
        many => write!(f, ", after {many} restarts"),
    }
}

/// Names a group that has ended, and says how.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let line = GroupSpec::new("line").then(TaskSpec::new("driver", |_| Ok(())));
/// let report = supervisor.run_group(line)?;
/// assert_eq!(report.groups[0].stopped, None); // it ended by itself
/// assert_eq!(report.groups[0].last.as_ref().map(|task| task.name.as_ref()), Some("driver"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct EndedGroup {
    /// The name of the group.
    pub name: Arc<str>,
    /// Why it was stopped; `None` if each of its members ended otherwise.
    pub stopped: Option<StopReason>,
    /// The member that failed for good, or once too often for its
    /// [`restart_limit`](crate::GroupSpec::restart_limit), if that is why.
    pub culprit: Option<TaskRef>,
    /// How often it had restarted.
    pub restarts: u32,
    /// The members that ended after one of an earlier phase once the group was to stop, or were
    /// abandoned, in the order in which they ended; the first 8. If there are none, the group
    /// stopped in order.
    pub late: Vec<TaskRef>,
    /// The last member that ended.
    pub last: Option<TaskRef>,
}

impl EndedGroup {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, stopped: None, culprit: None, restarts: 0, late: Vec::new(), last: None }
    }

    pub(crate) fn note_late(&mut self, member: TaskRef) {
        const MOST: usize = 8;
        if self.late.len() < MOST {
            self.late.push(member);
        }
    }
}

impl fmt::Display for EndedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}: ", Escaped(&self.name))?;
        match (self.stopped, &self.culprit) {
            (None, _) => f.write_str("ended by itself")?,
            (Some(why), None) => write!(f, "stopped ({why})")?,
            (Some(_), Some(culprit)) => write!(f, "stopped (because of {culprit})")?,
        }
        if self.stopped.is_some() {
            f.write_str(if self.late.is_empty() { " in order" } else { " out of order" })?;
        }
        for (number, member) in self.late.iter().enumerate() {
            write!(f, "{}{member}", if number == 0 { " (late: " } else { ", " })?;
        }
        if !self.late.is_empty() {
            f.write_str(")")?;
        }
        if let Some(last) = &self.last {
            write!(f, ", {} last", Escaped(&last.name))?;
        }
        restarted(f, self.restarts)
    }
}
