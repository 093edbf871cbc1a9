//! Groups: how they restart, how often they may, and where they are in their life.

use core::time::Duration;

use crate::vocabulary::id::TaskRef;
use crate::vocabulary::label::labels;

/// Which members go back when one has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Strategy {
    /// None but that one.
    #[default]
    OneForOne,
    /// All.
    OneForAll,
    /// That one and all members of later phases.
    RestForOne,
}

/// The most restarts of a group within a sliding window; one more stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RestartLimit {
    pub(crate) restarts: u32,
    pub(crate) within: Duration,
}

/// Says where a group is in its life. Phases are numbered from 0.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let driver = TaskSpec::new("driver", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let line = supervisor.handle().add_group(GroupSpec::new("line").then(driver))?;
/// line.cancel();
/// line.wait()?;
/// assert_eq!(line.state(), GroupState::Over);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum GroupState {
    /// The members of this phase are not all ready yet, and no later phase has started.
    Starting {
        /// The latest phase that has started.
        phase: usize,
    },
    /// Every phase is ready.
    Up,
    /// Members go back, the last phase first, before they start again in order. Under
    /// [`rest_for_one`](crate::GroupSpec::rest_for_one), this includes a member of the last phase
    /// that waits for its retry, with which no other goes back.
    Restarting {
        /// The phase that goes back, or the one from which the group starts again.
        phase: usize,
        /// A member whose body outlived its grace and still runs: the group starts again once it
        /// has returned.
        waits_for: Option<TaskRef>,
    },
    /// Members stop, the last phase first.
    Stopping {
        /// The phase that stops.
        phase: usize,
    },
    /// Every member has its outcome.
    Over,
}

labels!(GroupState {
    Self::Starting { .. } => "starting",
    Self::Up => "up",
    Self::Restarting { .. } => "restarting",
    Self::Stopping { .. } => "stopping",
    Self::Over => "over",
});
