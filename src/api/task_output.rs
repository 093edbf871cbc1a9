//! [`TaskOutput`]: the value that the body of a task has returned.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::api::task_handle::TaskHandle;
use crate::output::error::{TaskResult, WaitError};
use crate::output::outcome::{Outcome, TaskOutputError};
use crate::platform::sync::atomic::{AtomicU32, Ordering};
use crate::platform::sync::{Mutex, MutexGuard};
use crate::platform::user_value::{self, UserValue};
use crate::task::cell::Waiting;
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::lock_unless;
use crate::task::fact::Fact;
use crate::task::record::Record;

/// Receives the values that the body of a task returns, and keeps the newest of them until it is
/// taken.
///
/// [`fill`](Self::fill) turns a body that returns a value into one for
/// [`TaskSpec::new`](crate::TaskSpec::new); [`fill_once`](Self::fill_once) and
/// [`fill_shared`](Self::fill_shared) do so for the other kinds. The spec is an ordinary spec, and
/// the task an ordinary task.
///
/// The value is there before the task's outcome is. Each success replaces the value of the one
/// before; a failed attempt leaves it, and so does one that was told of its deadline or its
/// silence, or was abandoned before its body returned. The page
/// [`guide::results`](crate::guide::results) shows which call is for which task.
///
/// A value that nobody takes is dropped by the thread that replaces it or, at the end, by the one
/// that drops the output: a worker or a thread of yours, never the controller. Once the output is
/// dropped, values are dropped as soon as they are returned. A panic of a value's destructor is
/// caught and reported, as that of a body is.
///
/// `T` must be `Send`, because the value comes from another thread; it need not be `Sync`. The
/// output is `Send` and `Sync`, and one pointer wide.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let sum = TaskOutput::new();
/// let spec = TaskSpec::new("sum", sum.fill(|ctx| {
///     let mut sum = 0_u64;
///     for n in 1..=100 {
///         ctx.check()?;
///         sum += n;
///     }
///     Ok(sum)
/// }));
/// let task = supervisor.handle().add(spec.timeout(Duration::from_secs(5)))?;
/// assert_eq!(sum.wait(&task)?, 5050);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The compiler refuses a value that must stay on its thread:
///
/// ```compile_fail
/// # use std::rc::Rc;
/// # use threadvisor::{TaskOutput, TaskSpec};
/// let shared = TaskOutput::new();
/// let spec = TaskSpec::new("shared", shared.fill(|_| Ok(Rc::new(1))));
/// ```
#[doc(alias = "JoinHandle")]
#[doc(alias = "Future")]
#[must_use = "without its output, a task's values are dropped"]
pub struct TaskOutput<T: Send + 'static>(Arc<Place<T>>);

/// Where the value is, and the process whose bodies fill it; 0 as long as there are none.
struct Place<T: Send + 'static> {
    process: AtomicU32,
    state: Mutex<Values<T>>,
}

type Values<T> = State<Option<UserValue<Box<T>>>>;

impl<T: Send + 'static> Place<T> {
    fn lock(&self) -> MutexGuard<'_, Values<T>> {
        self.state.lock()
    }

    fn is_forked(&self) -> bool {
        ![0, std::process::id()].contains(&self.process.load(Ordering::Relaxed))
    }

    fn unless_forked(&self) -> Option<MutexGuard<'_, Values<T>>> {
        lock_unless(|| self.is_forked(), &self.state)
    }
}

impl<T: Send + 'static> Default for Place<T> {
    fn default() -> Self {
        Self { process: AtomicU32::new(0), state: Mutex::default() }
    }
}

#[derive(Default)]
struct State<V> {
    value: V,
    /// The task that returned the newest value, even if that was taken.
    from: Weak<Record>,
    /// The task whose body began last.
    begun: Weak<Record>,
    /// Those that wait for a value.
    waiting: Waiting,
}

impl<T: Send + 'static> TaskOutput<T> {
    /// Creates an output without a value.
    ///
    /// ```
    /// # use threadvisor::TaskOutput;
    /// assert_eq!(TaskOutput::<u64>::new().take(), None);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns a body that returns a value into one for [`TaskSpec::new`](crate::TaskSpec::new),
    /// whose values go into this output.
    ///
    /// Several bodies may fill one output, also those of different tasks: the newest value counts.
    /// If the compiler says that the body cannot move out of a captured variable, the body consumes
    /// what it owns: use [`fill_once`](Self::fill_once).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let size = TaskOutput::new();
    /// let mut body = size.fill(|_| Ok(std::fs::metadata("/")?.len()));
    /// let (ctx, _canceller) = TaskContext::detached(); // or `TaskSpec::new("size", body)`
    /// assert!(body(&ctx).is_ok());
    /// assert!(size.take().is_some());
    /// ```
    pub fn fill(
        &self,
        mut body: impl FnMut(&TaskContext) -> TaskResult<T> + Send + 'static,
    ) -> impl FnMut(&TaskContext) -> TaskResult + Send + 'static {
        let filler = Filler::new(self);
        move |ctx| filler.run(ctx, &mut body)
    }

    /// Turns a body that returns a value into one for [`TaskSpec::once`](crate::TaskSpec::once),
    /// whose value goes into this output. Such a body is not retried.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (sorted, mut words) = (TaskOutput::new(), vec!["b", "a"]);
    /// let spec = TaskSpec::once("sort", sorted.fill_once(move |_| {
    ///     words.sort_unstable();
    ///     Ok(words)
    /// }));
    /// let task = supervisor.handle().add(spec)?;
    /// assert_eq!(sorted.wait(&task)?, ["a", "b"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill_once(
        &self,
        body: impl FnOnce(&TaskContext) -> TaskResult<T> + Send + 'static,
    ) -> impl FnOnce(&TaskContext) -> TaskResult + Send + 'static {
        let filler = Filler::new(self);
        move |ctx| filler.run(ctx, body)
    }

    /// Turns a body that returns a value into one for
    /// [`TaskSpec::shared`](crate::TaskSpec::shared), whose values go into this output. Once an
    /// attempt is abandoned, its value no longer counts.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let host = TaskOutput::new();
    /// let body = host.fill_shared(|_| Ok(std::net::Ipv4Addr::LOCALHOST));
    /// let spec = TaskSpec::shared("host", body);
    /// let task = supervisor.handle().add(spec.abandon_policy(AbandonPolicy::Release))?;
    /// assert!(host.wait(&task)?.is_loopback());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill_shared(
        &self,
        body: impl Fn(&TaskContext) -> TaskResult<T> + Send + Sync + 'static,
    ) -> impl Fn(&TaskContext) -> TaskResult + Send + Sync + 'static {
        let filler = Filler::new(self);
        move |ctx| filler.run(ctx, &body)
    }

    /// Takes the newest value out; `None` if there is none, or it was taken. Returns immediately.
    ///
    /// Use this for tasks that run again and again, and for a value that a task has left although
    /// it did not complete.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let count = TaskOutput::new();
    /// let spec = TaskSpec::new("count", count.fill(|ctx| match ctx.attempt() {
    ///     3 => Err(TaskError::fatal("no more")),
    ///     attempt => Ok(attempt),
    /// }));
    /// let task = supervisor.handle().add(spec.restart(RestartPolicy::Always))?;
    /// assert!(task.wait()?.is_fatal());
    /// assert_eq!((count.take(), count.take()), (Some(2), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take(&self) -> Option<T> {
        let value = self.0.unless_forked()?.value.take();
        value.and_then(unwrap)
    }

    /// Waits for the outcome of `task`, the task that fills this output, through all attempts and
    /// retries, and takes its value. A body may wait, as with [`TaskHandle::wait`].
    ///
    /// A task that runs for ever has no outcome until it is stopped: use [`take`](Self::take) or
    /// [`wait_value`](Self::wait_value). On a thread that a body has started itself, use
    /// [`TaskContext::wait_for`] and then `take`.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let port = TaskOutput::<u16>::new();
    /// let spec = TaskSpec::once("port", port.fill_once(|_| Ok("8o80".parse()?)));
    /// let error = port.wait(&supervisor.handle().add(spec)?).unwrap_err();
    /// let TaskOutputError::NotCompleted(NotCompleted(outcome)) = error else { panic!("{error}") };
    /// assert_eq!(outcome.to_string(), "failed: invalid digit found in string");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// After an error, nothing was taken: if there is a value, [`take`](Self::take) still returns
    /// it.
    /// - `NotCompleted`: the task has another outcome than `Completed`, which the error holds. If
    ///   the task was stopped and its body returned `Ok` even so, that value is there.
    /// - `Taken`: the task's value was taken before, by another `wait` or `take`.
    /// - `WrongTask`: the task completed, but the newest value is not its own; pass the handle of
    ///   the task whose body fills this output.
    /// - `Wait`: the wait ended early, as that of [`TaskHandle::wait`] does. A body that was told
    ///   to return passes the error on with `?`.
    #[doc(alias = "join")]
    pub fn wait(&self, task: &TaskHandle) -> Result<T, TaskOutputError> {
        let outcome = task.wait()?;
        self.value_of(task, outcome)
    }

    /// Waits for at most `span`, like [`wait`](Self::wait); returns `None` if the task has not
    /// ended by then. With a `span` of zero it does not wait.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let answer = TaskOutput::<u32>::new();
    /// let spec = TaskSpec::new("deep thought", answer.fill(|ctx| {
    ///     ctx.sleep(Duration::MAX)?;
    ///     Ok(42)
    /// }));
    /// let task = supervisor.handle().add(spec)?;
    /// assert_eq!(answer.wait_timeout(&task, Duration::from_millis(1))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(
        &self,
        task: &TaskHandle,
        span: Duration,
    ) -> Result<Option<T>, TaskOutputError> {
        let outcome = task.wait_timeout(span)?;
        outcome.map(|outcome| self.value_of(task, outcome)).transpose()
    }

    fn value_of(&self, task: &TaskHandle, outcome: Outcome) -> Result<T, TaskOutputError> {
        outcome.into_result()?;
        let value = {
            let mut state = self.0.unless_forked().ok_or(WaitError::Closed)?;
            if Weak::as_ptr(&state.from) != Arc::as_ptr(task.record()) {
                return Err(TaskOutputError::WrongTask);
            }
            state.value.take()
        };
        value.and_then(unwrap).ok_or(TaskOutputError::Taken)
    }

    /// Takes the newest value, or waits for the next one for at most `span`; returns `None` if
    /// there is none by then. With `Duration::MAX` it waits for ever. It does not wait for an
    /// outcome, so it suits tasks that run again and again. If several threads wait, each value
    /// goes to one of them.
    ///
    /// The wait of a body ends early when its attempt is told to return. The body keeps its permit
    /// meanwhile, and the body that it waits for needs one of its own.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let fix = TaskOutput::new();
    /// let spec = TaskSpec::new("gps", fix.fill(|ctx| Ok(("N 52.5", "E 13.4", ctx.attempt()))));
    /// let gps = supervisor.handle().add(spec.every(Duration::from_millis(10)))?;
    /// let first = fix.wait_value(Duration::from_secs(60))?.expect("no fix for a minute");
    /// let second = fix.wait_value(Duration::from_secs(60))?.expect("no fix for a minute");
    /// assert!(second.2 > first.2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `Closed`: there is no value, and none can come, because no body is left that fills this
    ///   output, or this process was forked from that of the body.
    /// - `WouldDeadlock`: the caller is the body that fills this output.
    /// - `Cancelled`: the caller is a body that was told to return; pass it on with `?`.
    pub fn wait_value(&self, span: Duration) -> Result<Option<T>, WaitError> {
        let token = current::token_to_wait_with();
        let (cell, task) = (&token.0, Arc::as_ptr(&token.0.record));
        let due = cell.clock().now().after(span);
        // One that was told before is answered at once.
        let hears = !token.is_cancelled() && !span.is_zero();
        loop {
            // The time is read first, so that a value which came in time is not missed.
            let late = cell.clock().now() >= due;
            let mut state = self.0.unless_forked().ok_or(WaitError::Closed)?;
            if let Some(value) = state.value.take() {
                drop(state);
                return Ok(unwrap(value));
            }
            if Arc::weak_count(&self.0) == 0 || self.0.is_forked() {
                drop(state);
                if hears {
                    cell.hear_of_shutdown(Duration::MAX)?;
                }
                return Err(WaitError::Closed);
            }
            if Weak::as_ptr(&state.begun) == task {
                return Err(WaitError::WouldDeadlock);
            }
            if late {
                return Ok(None);
            }
            // Whoever changes anything from here on takes the list and wakes this thread, which
            // may find that another was faster.
            state.waiting.add(cell);
            drop(state);
            cell.wait_until(due, || !self.0.lock().waiting.contains(cell))?;
        }
    }
}

/// Wakes those that wait, to look again. The locks of their cells are not taken under this one.
fn wake<T: Send + 'static>(place: &Place<T>) {
    let Some(mut state) = place.unless_forked() else { return };
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.wake_all();
}

/// What a body needs to fill an output. It does not keep the output alive, so that a value whose
/// output is gone is not kept either. As long as it lives, another value may come.
struct Filler<T: Send + 'static>(Weak<Place<T>>);

impl<T: Send + 'static> Filler<T> {
    fn new(output: &TaskOutput<T>) -> Self {
        // In a child that was forked since, nobody may wait for bodies of before.
        let (place, order) = (&output.0, Ordering::Relaxed);
        if Arc::weak_count(place) == 0 {
            place.process.store(std::process::id(), order);
        }
        Self(Arc::downgrade(&output.0))
    }

    fn run(
        &self,
        ctx: &TaskContext,
        body: impl FnOnce(&TaskContext) -> TaskResult<T>,
    ) -> TaskResult {
        if let Some(place) = self.0.upgrade() {
            // A body that runs here shows where they run.
            place.process.store(std::process::id(), Ordering::Relaxed);
            place.lock().begun = Arc::downgrade(ctx.record());
        }
        let mut value = Some(UserValue::new(Box::new(body(ctx)?)));

        let place = self.0.upgrade();
        if let Some(place) = &place {
            ctx.token().0.store_if_it_counts(|| {
                let mut state = place.lock();
                std::mem::swap(&mut state.value, &mut value);
                state.from = Arc::downgrade(ctx.record());
            });
            wake(place);
        }
        // What was there or is not wanted, and what the output has left if it was just dropped.
        for message in user_value::panics_of(|| drop((value, place))) {
            ctx.record().door.post(Fact::DropPanicked { message });
        }
        Ok(())
    }
}

impl<T: Send + 'static> Drop for Filler<T> {
    fn drop(&mut self) {
        let place = std::mem::take(&mut self.0).upgrade();
        // Only now, when this is counted no more, may those that wait look.
        if let Some(place) = place {
            wake(&place);
        }
    }
}

fn unwrap<T: Send + 'static>(mut value: UserValue<Box<T>>) -> Option<T> {
    value.take().map(|value| *value)
}

impl<T: Send + 'static> Default for TaskOutput<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Shows whether there is a value, which need not be `Debug` itself.
impl<T: Send + 'static> fmt::Debug for TaskOutput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_value = self.0.unless_forked().is_some_and(|state| state.value.is_some());
        f.debug_struct("TaskOutput").field("has_value", &has_value).finish_non_exhaustive()
    }
}
