//! Errors of settings: one that cannot work, and a supervisor that does not start.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::output::error::debug_is_display;
use crate::platform::chain::chain;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::signal::Signal;

/// An invalid setting: the field, its value, and the remedy. It is returned inside
/// [`AddError`](crate::AddError), [`SubmitError`](crate::SubmitError) and [`StartError`], and from
/// [`TaskSpec::validate`](crate::TaskSpec::validate) and
/// [`SupervisorHandle::set_class_limit`](crate::SupervisorHandle::set_class_limit).
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let spec = TaskSpec::new("poll", |_| Ok(())).every(Duration::ZERO);
/// let invalid = spec.validate().unwrap_err();
/// assert_eq!(invalid.field, "every");
/// let text = "task \"poll\": every cannot be 0ns: use restart(Always) to run again at once";
/// assert_eq!(invalid.to_string(), text);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The name of the task whose setting it is; `None` if it is one of the supervisor or a group.
    pub task: Option<Arc<str>>,
    /// The name of the group whose setting it is, or of whose member; `None` if there is no group.
    pub group: Option<Arc<str>>,
    /// The name of the setter, such as `timeout`.
    pub field: &'static str,
    /// The invalid value, as its `Debug` shows it, and the one that it does not go with.
    pub value: String,
    /// What to do instead.
    pub remedy: &'static str,
}

impl InvalidSetting {
    pub(crate) fn new(field: &'static str, value: impl fmt::Debug, remedy: &'static str) -> Self {
        Self { task: None, group: None, field, value: format!("{value:?}"), remedy }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "group {group:?}: ")?;
        }
        if let Some(task) = &self.task {
            write!(f, "task {task:?}: ")?;
        }
        let value = Escaped(&self.value);
        write!(f, "{} cannot be {value}: {}", self.field, self.remedy)
    }
}

impl Error for InvalidSetting {}

/// An error returned from [`SupervisorBuilder::start`](crate::SupervisorBuilder::start). After it,
/// nothing is left running.
///
/// ```
/// # use threadvisor::prelude::*;
/// match Supervisor::builder().max_concurrent(0).start() {
///     Err(StartError::Invalid(invalid)) => assert_eq!(invalid.field, "max_concurrent"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work; the error names the remedy.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// The system refused a thread. Check `ulimit -u` and the cgroup's `pids.max`.
    #[error(
        "thread {name:?} could not be started (check `ulimit -u` and the cgroup's pids.max): {}",
        shown(.source)
    )]
    Thread {
        /// The name that the thread would have had, such as `ctl-threadvisor`.
        name: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("signal handlers could not be installed: {}", shown(.0))]
    Signals(#[source] std::io::Error),
    /// The calling thread blocks this signal, and so would every thread of the supervisor: it would
    /// never arrive. Unblock it before `start()`, or call `start()` on a thread that does not block
    /// it. Linux only; elsewhere a blocked signal is not noticed.
    #[error("{0} is blocked on this thread and would never arrive: unblock it before start()")]
    SignalBlocked(Signal),
    /// A file or a device of [`ServiceManager`](crate::ServiceManager) could not be opened.
    #[error("service_manager cannot use {}: {}", Escaped(path.display()), shown(.source))]
    ServiceManager {
        /// The path of the file.
        path: std::path::PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// This setting is not supported by this build or system.
    #[error("{0} is not supported here: {needs}", needs = needs(.0))]
    Unsupported(&'static str),
}

debug_is_display!(InvalidSetting, StartError);

/// What a setting needs that is not supported everywhere.
fn needs(setting: &str) -> &'static str {
    match setting {
        "service_manager" => "it needs Unix",
        "on_signal" => "it needs Unix and the feature `signals`",
        _ => "it needs the feature `signals`, and Unix or Windows",
    }
}

/// An error with its sources, within a text of this crate.
fn shown(error: &std::io::Error) -> Escaped<String> {
    Escaped(chain(error))
}
