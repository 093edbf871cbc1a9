//! [`Mark`] and [`Progress`]: by which a body says where it is and how far it has got.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::vocabulary::escaped::Escaped;

/// Says where a body was when it called [`TaskContext::mark`](crate::TaskContext::mark).
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
