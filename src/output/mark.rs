//! [`Mark`]: where a body said it was.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Says where a body was, by its own account: see [`TaskContext::mark`](crate::TaskContext::mark).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// The name the body gave to the place.
    pub label: Cow<'static, str>,
    /// When the body said so, as time since the supervisor's start.
    pub at: Duration,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
