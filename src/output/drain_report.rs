//! What became of a drain.

use std::fmt;
use std::time::Duration;

use crate::vocabulary::id::TaskRef;
use crate::vocabulary::time::Seconds;

/// Describes how a [drain](crate::Supervisor::drain) went, as part of the
/// [`ShutdownReport`](crate::ShutdownReport). How the unfinished tasks ended in the shutdown that
/// followed is counted there, as for all other tasks.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let serve = TaskSpec::new("serve", |ctx| Ok(ctx.sleep(Duration::MAX)?));
/// supervisor.handle().add(serve)?;
/// let report = supervisor.drain(Duration::from_millis(10))?;
/// let drain = report.shutdown.drain.expect("the shutdown began with a drain");
/// assert_eq!((drain.unfinished, drain.tasks[0].name.as_ref()), (1, "serve"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DrainReport {
    /// How long the drain could have taken; `None` for no limit.
    pub limit: Option<Duration>,
    /// The time from the first request until the shutdown began.
    pub elapsed: Duration,
    /// The number of tasks that the drain still waited for when it ended, because its limit had
    /// passed or a shutdown was requested in the meantime. Tasks that no drain waits for, such as
    /// those under [`Always`](crate::RestartPolicy::Always), are not counted.
    pub unfinished: usize,
    /// Up to 64 of the unfinished tasks.
    pub tasks: Vec<TaskRef>,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drain took {} s", Seconds(self.elapsed))?;
        if let Some(limit) = self.limit {
            write!(f, " of {} s", Seconds(limit))?;
        }
        write!(f, ": {} unfinished", self.unfinished)?;
        self.tasks.iter().try_for_each(|task| write!(f, "\n  unfinished: {task}"))
    }
}
