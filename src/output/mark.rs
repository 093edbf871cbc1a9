//! [`Mark`]: a label by which a body says where it is.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::vocabulary::escaped::Escaped;

/// Says where a body was when it called [`TaskContext::mark`](crate::TaskContext::mark).
#[derive(Clone, Debug, PartialEq, Eq)]
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
