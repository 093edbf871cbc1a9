//! The errors of a refused hand-over: the reason, and the specs that come back.

use std::fmt;
use std::sync::Arc;

use crate::output::error::TaskError;
use crate::output::setting_errors::InvalidSetting;
use crate::task::record::Record;
use crate::task::spec::TaskSpec;
use crate::vocabulary::reason::{Decision, Rejection};

/// An error returned from [`SupervisorHandle::add`](crate::SupervisorHandle::add),
/// [`SupervisorHandle::add_all`](crate::SupervisorHandle::add_all),
/// [`SupervisorHandle::add_group`](crate::SupervisorHandle::add_group),
/// [`Supervisor::run`](crate::Supervisor::run) and
/// [`Supervisor::run_group`](crate::Supervisor::run_group). It gives back `S`, the spec, all the
/// specs or the group that was handed in. Its `Debug`, which is what `main` prints, is its message
/// and the names of these tasks.
///
/// ```
/// # use threadvisor::prelude::*;
/// let supervisor = Supervisor::builder().max_tasks(1).start()?;
/// let wait = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// supervisor.handle().add(wait("first"))?;
/// let refused = supervisor.handle().add(wait("second")).unwrap_err();
/// assert_eq!(refused.rejection(), Some(Rejection::TooManyTasks { limit: 1 }));
/// assert_eq!(refused.into_spec().name(), "second"); // for another try
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AddError<S: AsRef<[TaskSpec]> = TaskSpec> {
    /// The supervisor is shutting down or draining, and nothing was started. Only another
    /// supervisor can take the specs.
    #[error("the supervisor is draining or shutting down: it takes no more tasks")]
    Closed {
        /// The spec or specs that were handed in.
        spec: S,
    },
    /// A setting cannot work. Correct it and try again.
    #[error("{error}")]
    Invalid {
        /// The setting, its value, and the remedy.
        error: InvalidSetting,
        /// The spec or specs that were handed in.
        spec: S,
    },
    /// The task, or one of the batch, was refused, and none of them was started.
    #[error("task {task:?} was refused: {why}")]
    Rejected {
        /// The name of the refused task.
        task: Arc<str>,
        /// Why it was refused.
        why: Rejection,
        /// The spec or specs that were handed in.
        spec: S,
    },
    /// `run` or `run_group` was called on one of the supervisor's own threads, which would wait for
    /// itself, or in a child that was forked from the supervisor's process.
    #[error(
        "one of the supervisor's own threads would wait for itself: use add_all or add_group there"
    )]
    WouldDeadlock {
        /// The spec or specs that were handed in.
        spec: S,
    },
}

impl<S: AsRef<[TaskSpec]>> AddError<S> {
    /// Returns the spec or specs that were handed in, so that they can be handed in again.
    pub fn into_spec(self) -> S {
        match self {
            Self::Closed { spec }
            | Self::Invalid { spec, .. }
            | Self::Rejected { spec, .. }
            | Self::WouldDeadlock { spec } => spec,
        }
    }

    fn spec(&self) -> &S {
        match self {
            Self::Closed { spec }
            | Self::Invalid { spec, .. }
            | Self::Rejected { spec, .. }
            | Self::WouldDeadlock { spec } => spec,
        }
    }

    /// The same error, which gives back something else.
    pub(super) fn map<T: AsRef<[TaskSpec]>>(self, change: impl FnOnce(S) -> T) -> AddError<T> {
        match self {
            Self::Closed { spec } => AddError::Closed { spec: change(spec) },
            Self::Invalid { error, spec } => AddError::Invalid { error, spec: change(spec) },
            Self::Rejected { task, why, spec } => {
                AddError::Rejected { task, why, spec: change(spec) }
            }
            Self::WouldDeadlock { spec } => AddError::WouldDeadlock { spec: change(spec) },
        }
    }

    /// Returns why the task was rejected; `None` for every other error.
    pub const fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Rejected { why, .. } => Some(*why),
            Self::Closed { .. } | Self::Invalid { .. } | Self::WouldDeadlock { .. } => None,
        }
    }
}

/// An error returned from [`SupervisorHandle::submit`](crate::SupervisorHandle::submit),
/// [`submit_all`](crate::SupervisorHandle::submit_all) and
/// [`try_submit`](crate::SupervisorHandle::try_submit). It gives back `S`, the
/// spec that was handed in. Its `Debug` is its message and the name of the task.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let handle = supervisor.handle();
/// supervisor.shutdown()?;
/// let late = handle.submit(TaskSpec::once("late", |_| Ok(())), AdmissionPolicy::Queue);
/// match late {
///     Err(SubmitError::Closed { spec }) => assert_eq!(spec.name(), "late"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError<S: AsRef<[TaskSpec]> = TaskSpec> {
    /// The supervisor is shutting down or draining. Only another supervisor can take the spec.
    #[error("the supervisor is draining or shutting down: it takes no more tasks")]
    Closed {
        /// The spec or specs that were handed in.
        spec: S,
    },
    /// The intake is full. Only `try_submit` returns this error; `submit` waits instead. Try again
    /// later, or raise `intake_capacity`.
    #[error("the intake is full: try again later, or raise intake_capacity")]
    Full {
        /// The spec or specs that were handed in.
        spec: S,
    },
    /// A setting cannot work. Correct it and try again.
    #[error("{error}")]
    Invalid {
        /// The setting, its value, and the remedy.
        error: InvalidSetting,
        /// The spec or specs that were handed in.
        spec: S,
    },
}

impl<S: AsRef<[TaskSpec]>> SubmitError<S> {
    /// Returns the spec or specs that were handed in, so that they can be handed in again. See the
    /// example of [`try_submit`](crate::SupervisorHandle::try_submit).
    pub fn into_spec(self) -> S {
        match self {
            Self::Closed { spec } | Self::Full { spec } | Self::Invalid { spec, .. } => spec,
        }
    }

    fn spec(&self) -> &S {
        match self {
            Self::Closed { spec } | Self::Full { spec } | Self::Invalid { spec, .. } => spec,
        }
    }
}

/// `main` prints the `Debug` of an error, so that has the message and the tasks that come back.
fn debug<S: AsRef<[TaskSpec]>>(
    f: &mut fmt::Formatter<'_>,
    error: &dyn fmt::Display,
    spec: &S,
) -> fmt::Result {
    const MOST: usize = 8;
    let specs = spec.as_ref();
    let names: Vec<_> = specs.iter().take(MOST).map(TaskSpec::name).collect();
    write!(f, "{error} (handed back: {names:?}")?;
    match specs.len() {
        0..=MOST => f.write_str(")"),
        all => write!(f, " and {} more)", all - MOST),
    }
}

impl<S: AsRef<[TaskSpec]>> fmt::Debug for AddError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, self, self.spec())
    }
}

impl<S: AsRef<[TaskSpec]>> fmt::Debug for SubmitError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, self, self.spec())
    }
}

/// Why a task was not added. The specs that the error gives back are added later.
pub(super) enum Refusal {
    Closed,
    Rejected { task: Arc<str>, why: Rejection },
}

impl Refusal {
    /// Whether the task was refused only because of another task of the same batch.
    pub(super) const fn is_borrowed(&self) -> bool {
        matches!(self, Self::Rejected { why: Rejection::BatchRefused { .. }, .. })
    }

    pub(super) fn with_spec<S: AsRef<[TaskSpec]>>(self, spec: S) -> AddError<S> {
        match self {
            Self::Closed | Self::Rejected { why: Rejection::ShuttingDown, .. } => {
                AddError::Closed { spec }
            }
            Self::Rejected { task, why } => AddError::Rejected { task, why, spec },
        }
    }
}

/// Waits for the decision about an added task.
pub(super) fn refusal(record: &Record) -> Option<Refusal> {
    match record.wait_decided() {
        Some(Decision::Admitted | Decision::Queued { .. }) => None,
        Some(Decision::Rejected(why)) => {
            Some(Refusal::Rejected { task: Arc::clone(&record.name), why })
        }
        None => Some(Refusal::Closed),
    }
}

/// The spec of a refused submission. It is missing only if the controller panicked.
pub(super) fn reclaim(record: &Record) -> TaskSpec {
    record.take_refused().unwrap_or_else(|| {
        TaskSpec::once(Arc::clone(&record.name), |_| Err(TaskError::fatal("the body was lost")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // The prelude of Rust 1.75 has no size_of.
    #[allow(unused_qualifications)]
    fn errors_that_carry_a_spec_stay_small() {
        assert_eq!(std::mem::size_of::<TaskSpec>(), std::mem::size_of::<usize>());
        assert!(std::mem::size_of::<AddError>() < 128);
        assert!(std::mem::size_of::<SubmitError>() < 128);
    }
}
