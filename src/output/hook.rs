//! What events and reports say about hooks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::signal::Signal;

/// What a hook was registered with.
///
/// ```
/// use threadvisor::{EventKind, HookSource};
/// let source = HookSource::Attempt(1);
/// let panicked = EventKind::HookPanicked { source, message: "no such port".into() };
/// assert_eq!(panicked.to_string(), "hook_panicked attempt=1 message=\"no such port\"");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HookSource {
    /// The attempt with this number, of the task that the event is about.
    Attempt(u64),
    /// The supervisor, for this signal.
    Signal(Signal),
    /// The handle of the task that the event is about, for its end.
    TaskEnd,
}

/// Describes a callback of [`on_signal`](crate::SupervisorBuilder::on_signal) or
/// [`on_end`](crate::TaskHandle::on_end) that runs.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let report = supervisor.run([TaskSpec::once("job", |_| Ok(()))])?;
/// for hook in &report.shutdown.stuck_hooks {
///     eprintln!("still running: {hook}");
/// }
/// assert!(report.shutdown.stuck_hooks.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RunningHook {
    /// What it was registered with.
    pub source: HookSource,
    /// The task whose end it was called for; `None` for a signal.
    pub task: Option<TaskRef>,
    /// When it began to run, as time since the supervisor's start.
    pub since: Duration,
    /// The name of the thread it runs on.
    pub thread: Arc<str>,
    /// The kernel's id of that thread. Linux only.
    pub tid: Option<u32>,
}

impl fmt::Display for RunningHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hook")?;
        if let HookSource::Signal(signal) = self.source {
            write!(f, " of {signal}")?;
        }
        if let Some(task) = &self.task {
            write!(f, " for the end of {task}")?;
        }
        write!(f, ", on thread {}", Escaped(&self.thread))
    }
}
