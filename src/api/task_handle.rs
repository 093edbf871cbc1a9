//! [`TaskHandle`]: one task, through all its attempts.

use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::WaitError;
use crate::output::outcome::Outcome;
use crate::platform::sync::channel::{self, select, Receiver};
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::record::Record;
use crate::task::request::Request;
use crate::task::token::CancelToken;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::{Decision, TaskState};

/// A handle to one task: the logical one, through all its attempts. Cheap to clone; dropping it
/// changes nothing.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let tick = TaskSpec::new("tick", |_| Ok(())).repeat_after(Duration::from_secs(60));
/// let task = supervisor.handle().add(tick)?;
/// assert!(task.wait_timeout(Duration::from_millis(1))?.is_none());
/// task.cancel();
/// assert!(matches!(task.wait()?, Outcome::Cancelled { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) record: Arc<Record>,
}

impl TaskHandle {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.record.id
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The key of the task's slot, if it has one.
    pub fn slot(&self) -> Option<&str> {
        self.record.slot.as_deref()
    }

    /// Where the task is in its life: `Over` as soon as its outcome is known.
    pub fn state(&self) -> TaskState {
        if self.record.outcome().is_some() {
            return TaskState::Over;
        }
        let record = Arc::clone(&self.record);
        self.record.door.ask(|reply| Request::State(record, reply)).unwrap_or(TaskState::Over)
    }

    /// Waits for the first decision about the submission. The controller decides without waiting
    /// for anything.
    ///
    /// # Errors
    /// `Closed` if the controller ended without deciding.
    pub fn wait_decided(&self) -> Result<Decision, WaitError> {
        self.record.wait_decided().ok_or(WaitError::Closed)
    }

    /// Waits for the outcome. Called from a body, it ends early when that body's attempt is told to
    /// return; the body's permit stays held meanwhile.
    ///
    /// # Errors
    /// - `WouldDeadlock` in a body of the task itself.
    /// - `Cancelled` once the calling body's attempt is told to return.
    pub fn wait(&self) -> Result<Outcome, WaitError> {
        self.wait_timeout(Duration::MAX).map(|outcome| outcome.unwrap_or(Outcome::Lost))
    }

    /// Waits for the outcome for at most `span`; `None` if it has not come by then.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, span: Duration) -> Result<Option<Outcome>, WaitError> {
        if let Some(outcome) = self.outcome() {
            return Ok(Some(outcome));
        }
        if current::runs(&self.record) {
            return Err(WaitError::WouldDeadlock);
        }
        match current::token() {
            None => Ok(self.record.wait(span)),
            Some(token) => {
                wait_for_disconnect(&self.record.ended(), Some(&token), span)?;
                Ok(self.outcome())
            }
        }
    }

    /// Waits until the outcome is there or the token is cancelled.
    pub(crate) fn wait_with(&self, token: &CancelToken) -> Result<Outcome, WaitError> {
        if let Some(outcome) = self.outcome() {
            return Ok(outcome);
        }
        wait_for_disconnect(&self.record.ended(), Some(token), Duration::MAX)?;
        self.outcome().ok_or(WaitError::Closed)
    }

    /// The outcome, if the task has ended.
    pub fn outcome(&self) -> Option<Outcome> {
        self.record.outcome()
    }

    /// A channel that disconnects when the task has ended, for `select!`; nothing is ever sent on
    /// it. Made on first use.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let task = supervisor.handle().add(TaskSpec::once("a", |_| Ok(())))?;
    /// assert!(task.ended().recv().is_err());
    /// assert!(task.outcome().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended(&self) -> Receiver<Infallible> {
        self.record.ended()
    }

    /// Asks the task to stop, and returns at once: a running body is told, a waiting or queued task
    /// ends without running. Repeating it changes nothing.
    pub fn cancel(&self) {
        if self.record.ask_cancel() {
            self.record.door.send(Request::Cancel(Arc::clone(&self.record)));
        }
    }

    /// Starts the next attempt now, if the task waits for its delay, backoff, interval or tick;
    /// false if it does not. The grid of `every` does not move.
    pub fn skip_wait(&self) -> bool {
        let record = Arc::clone(&self.record);
        self.record.door.ask(|reply| Request::SkipWait(record, reply)).unwrap_or(false)
    }

    /// Tells a running attempt to return and starts the next one at once, without counting a
    /// failure: for a SIGHUP or a door that came back. A waiting task starts now, as by
    /// [`skip_wait`](Self::skip_wait). False if the task neither runs nor waits, or runs a `once`
    /// body.
    pub fn restart(&self) -> bool {
        let record = Arc::clone(&self.record);
        self.record.door.ask(|reply| Request::Restart(record, reply)).unwrap_or(false)
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }
}

/// Two handles are equal if they are to the same task of the same supervisor.
impl PartialEq for TaskHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for TaskHandle {}

impl Hash for TaskHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.id.hash(state);
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}
/// Waits until a channel on which nothing is ever sent disconnects: true; or until `span` has
/// passed: false.
fn wait_for_disconnect<T>(
    end: &Receiver<T>,
    token: Option<&CancelToken>,
    span: Duration,
) -> Result<bool, WaitError> {
    let cancelled = token.map_or_else(channel::never, CancelToken::cancelled);
    select! {
        recv(end) -> _ => Ok(true),
        recv(cancelled) -> _ => match token.map(CancelToken::check) {
            Some(Err(cancelled)) => Err(WaitError::Cancelled(cancelled)),
            Some(Ok(())) | None => Ok(false),
        },
        default(span) => Ok(false),
    }
}

impl TaskContext {
    /// Waits for another task; ends early when this attempt is told to return. The permit stays
    /// held meanwhile.
    ///
    /// # Errors
    /// `Cancelled` once this attempt is told to return, `WouldDeadlock` for the attempt's own task.
    pub fn wait_for(&self, task: &TaskHandle) -> Result<Outcome, WaitError> {
        if Arc::ptr_eq(self.record(), task.record()) {
            return Err(WaitError::WouldDeadlock);
        }
        task.wait_with(self.token())
    }
}
