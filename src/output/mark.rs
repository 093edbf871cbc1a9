//! [`Mark`]: where a body said it was.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Where a body said it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// What the body called it.
    pub label: Cow<'static, str>,
    /// When it said so, counted from the supervisor's start.
    pub at: Duration,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
