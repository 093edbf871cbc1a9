//! [`Mark`] and [`Progress`]: by which a body says where it is and how far it has got.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::vocabulary::escaped::Escaped;

/// Says where a body was when it called [`TaskContext::mark`](crate::TaskContext::mark).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let copy = TaskSpec::new("copy", |ctx| {
///     ctx.mark("header");
///     Ok(ctx.sleep(std::time::Duration::MAX)?)
/// });
/// let copy = supervisor.handle().add(copy)?;
/// let mark = loop {
///     let snapshot = supervisor.handle().snapshot()?;
///     if let Some(mark) = snapshot.task(copy.id()).and_then(|task| task.mark.clone()) {
///         break mark;
///     }
/// };
/// assert_eq!(mark.to_string(), "header");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Mark {
    /// The label that the body gave.
    pub label: Cow<'static, str>,
    /// When the body set the mark, as time since the supervisor's start.
    pub at: Duration,
}

/// Shows the label, with line breaks and control characters escaped.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(&self.label))
    }
}

/// Says how far a body had got when it last called
/// [`TaskContext::progress`](crate::TaskContext::progress). Displayed as `3/10`, or as `3` without
/// a total.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let copy = TaskSpec::new("copy", |ctx| {
///     ctx.progress(3, 10);
///     Ok(ctx.sleep(std::time::Duration::MAX)?)
/// });
/// let copy = supervisor.handle().add(copy)?;
/// let progress = loop {
///     let snapshot = supervisor.handle().snapshot()?;
///     if let Some(progress) = snapshot.task(copy.id()).and_then(|task| task.progress) {
///         break progress;
///     }
/// };
/// assert_eq!(progress.to_string(), "3/10");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Progress {
    /// How much is done, in the unit of the body.
    pub done: u64,
    /// How much there is to do; `None` if the body does not know.
    pub total: Option<u64>,
}

impl Progress {
    pub(crate) const fn new(done: u64, total: Option<u64>) -> Self {
        Self { done, total }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.done)?;
        self.total.map_or(Ok(()), |total| write!(f, "/{total}"))
    }
}
