//! [`ManualClock`]: time that a test moves by hand.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::api::task_handle::TaskHandle;
use crate::output::not_quiet::{BusyAttempt, NotQuiet};
use crate::output::outcome::Outcome;
use crate::platform::clock::RealClock;
use crate::platform::manual::{Manual, Seat};
use crate::platform::model_clock::ModelClock;
use crate::platform::stall::{self, Stall};
use crate::platform::sync::channel::{self, TryRecvError};
use crate::platform::sync::{Mutex, MutexGuard};
use crate::runtime::requests;
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::Door;
use crate::task::request::Settled;
use crate::task::token::Canceller;
use crate::vocabulary::time::RealTime;

/// A clock that only moves when a test advances it: hours of backoff take milliseconds, and every
/// attempt starts at its exact moment.
///
/// Give it to a supervisor with [`SupervisorBuilder::clock`](crate::SupervisorBuilder::clock). The
/// tasks run on real threads as always, but their times are those of this clock: initial delays,
/// backoff, intervals, timeouts, graces, watchdogs, expiry, [`TaskContext::sleep`],
/// [`TaskContext::recv`], and a body's waits for other tasks. [`advance`](Self::advance) moves the
/// clock from one due moment to the next, and at each of them waits until everything that is due
/// has happened, and nothing runs any more. The page [`guide::testing`](crate::guide::testing)
/// shows how to use it.
///
/// A body that blocks elsewhere, in `thread::sleep`, a socket or a channel's own `recv`, is busy:
/// the clock waits for it in real time, at most for its [`patience`](Self::patience).
///
/// These stay in real time: the growth of the pool, slow hooks, the periods of nudges, the waits of
/// callers (such as [`TaskHandle::wait_timeout`] in the test), the last events of a shutdown, the
/// time between two signals, `Event::at`, and system calls with a timeout, like `wait_readable`.
///
/// Clones are the same clock. Several supervisors may share one; it is quiet when all of them are.
///
/// ```
/// use std::time::Duration;
/// use threadvisor::prelude::*;
/// use threadvisor::ManualClock;
///
/// let clock = ManualClock::new();
/// let supervisor = Supervisor::builder().clock(&clock).start()?;
/// let backup = TaskSpec::new("backup", |_| Ok(())).every(Duration::from_secs(3600));
/// let backup = supervisor.handle().add(backup)?;
/// clock.advance(Duration::from_secs(24 * 3600));
/// assert_eq!(supervisor.handle().snapshot()?.tasks[0].attempt, 25);
/// # drop(backup);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "mock")]
#[doc(alias = "virtual_time")]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    manual: Arc<Manual>,
    supervisors: Mutex<Vec<(Weak<Door>, Arc<Seat>)>>,
    patience: Mutex<Duration>,
    /// Held by whoever moves the time.
    moving: Mutex<()>,
    /// [`ManualClock::move_to_end`], which only programs with such a clock contain.
    end: fn(&ManualClock, &Arc<Door>),
}

/// How long a clock waits by default.
const PATIENCE: Duration = Duration::from_secs(5);

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// Makes a clock that shows zero.
    pub fn new() -> Self {
        let shared = Shared {
            manual: Arc::default(),
            supervisors: Mutex::new(Vec::new()),
            patience: Mutex::new(PATIENCE),
            moving: Mutex::new(()),
            end: Self::move_to_end,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sets the longest real time that one call of [`advance`](Self::advance) and its like may
    /// take. Default 5 s. See the example of [`try_advance`](Self::try_advance).
    #[must_use]
    pub fn patience(self, real: Duration) -> Self {
        *self.shared.patience.lock() = real;
        self
    }

    /// Sets whether the clock waits until subscribers were called back. Default true. With `false`,
    /// a subscriber may hang, and what it does has no certain moment.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new().settle_events(false);
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// let slow = move |_: &Event| drop(wait.recv());
    /// let supervisor = Supervisor::builder().clock(&clock).on_event(slow).start()?;
    /// let task = supervisor.handle().add(TaskSpec::once("task", |_| Ok(())))?;
    /// clock.advance(Duration::from_secs(1)); // would otherwise wait for the callback
    /// assert!(task.outcome().is_some());
    /// # drop(go_on);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn settle_events(self, wait: bool) -> Self {
        self.shared.manual.set_waits_for_events(wait);
        self
    }

    /// Returns what the clock shows: the time since it was made. A supervisor that started later
    /// counts from its own start in events and snapshots.
    pub fn now(&self) -> Duration {
        self.shared.manual.now()
    }

    /// Moves the time by `span`, from one due moment to the next. At each of them, the supervisor
    /// acts first, then the sleeping bodies that are due wake up, and then the call waits until
    /// nothing runs any more. With a `span` of zero, it only waits. With `Duration::MAX`, it moves
    /// on until nothing more is due, and stays there; if there is a periodic task, something is
    /// always due, and the call ends when its patience does. If two threads call this, one waits
    /// for the other.
    ///
    /// Bodies that wake at the same moment run in parallel; in which order they return is not
    /// determined.
    ///
    /// # Panics
    /// If there is no quiet within the [`patience`](Self::patience), and if a body, hook or
    /// subscriber of a supervisor on this clock calls it. [`try_advance`](Self::try_advance)
    /// returns an error instead.
    #[track_caller]
    pub fn advance(&self, span: Duration) {
        quiet(self.try_advance(span));
    }

    /// Does the same as [`advance`](Self::advance), without a panic.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new().patience(Duration::from_millis(20));
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// let spec = TaskSpec::once("blocks", move |_| Ok(drop(wait.recv())));
    /// let task = supervisor.handle().add(spec)?; // waits where the clock cannot see it
    /// task.wait_started()?;
    /// let busy = clock.try_advance(Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(busy.busy[0].task.id, task.id());
    /// # drop(go_on);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotQuiet`] if there is no quiet within the [`patience`](Self::patience): its text names
    /// the busy bodies and the system calls they are in. The clock stays at the moment it had
    /// reached.
    pub fn try_advance(&self, span: Duration) -> Result<(), NotQuiet> {
        let mut mover = self.begin()?;
        let target = mover.clock.now().saturating_add(span);
        mover.move_to(target, || false)
    }

    /// Moves the time to the next due moment, and waits until everything that is due has happened.
    /// Returns how far that was; `None` if nothing will ever be due.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let minute = Duration::from_secs(60);
    /// let later = TaskSpec::once("later", |_| Ok(())).initial_delay(minute);
    /// let later = supervisor.handle().add(later)?;
    /// assert_eq!(clock.advance_to_next(), Some(minute));
    /// assert!(later.outcome().is_some());
    /// assert_eq!(clock.advance_to_next(), None); // nothing is left to be due
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// As [`advance`](Self::advance).
    #[track_caller]
    pub fn advance_to_next(&self) -> Option<Duration> {
        let moved = || {
            let mut mover = self.begin()?;
            let Some(next) = mover.settle()? else { return Ok(None) };
            let before = mover.clock.now();
            mover.step_to(next);
            mover.settle()?;
            Ok(Some(next.saturating_sub(before)))
        };
        quiet(moved())
    }

    /// Moves the time until the task has its outcome, at most by `limit`, and returns the outcome.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let second = Duration::from_secs(1);
    /// let fails = TaskSpec::new("fails", |_| Err("no answer".into()))
    ///     .backoff(BackoffPolicy::constant(10 * second))
    ///     .max_retries(3);
    /// let fails = supervisor.handle().add(fails)?;
    /// assert!(clock.advance_until(&fails, 60 * second).is_failed());
    /// assert_eq!(clock.now(), 30 * second); // three delays
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// As [`advance`](Self::advance), and if the task has no outcome after `limit`.
    #[track_caller]
    pub fn advance_until(&self, task: &TaskHandle, limit: Duration) -> Outcome {
        let moved = || {
            let mut mover = self.begin()?;
            let target = mover.clock.now().saturating_add(limit);
            mover.move_to(target, || task.outcome().is_some())
        };
        quiet(moved());
        match task.outcome() {
            Some(outcome) => outcome,
            None => {
                panic!("{} has no outcome after {limit:?}: it is {}", task.name(), task.state())
            }
        }
    }

    /// Waits, without moving the time, until everything that is due now has happened.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let task = supervisor.handle().add(TaskSpec::once("task", |_| Ok(())))?;
    /// clock.settle();
    /// assert!(task.outcome().is_some());
    /// assert_eq!(clock.now(), Duration::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// As [`advance`](Self::advance).
    #[track_caller]
    pub fn settle(&self) {
        self.advance(Duration::ZERO);
    }

    /// Stops waiting for this task, because its body, hook or destructor blocks for a good reason.
    /// From then on, it is undetermined at which moment the task does something. A body may call
    /// this, also for its own task: `clock.ignore(&ctx.handle().task(ctx.id()).unwrap())`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// let reads = TaskSpec::once("reads", move |_| Ok(drop(wait.recv())));
    /// let reads = supervisor.handle().add(reads.timeout(Duration::from_secs(5)))?;
    /// reads.wait_started()?;
    /// clock.ignore(&reads);
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(reads.state(), TaskState::Stopping); // it was told, and does not hear it
    /// # drop(go_on);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ignore(&self, task: &TaskHandle) {
        // An attempt that begins from now on sees it, and a running one is told by the request.
        task.record.ignore();
        requests::ignore(&task.record);
    }

    /// The place of a supervisor that starts now.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::new(Seat::new(Arc::clone(&self.shared.manual)))
    }

    /// From now on this supervisor is waited for.
    pub(super) fn attach(&self, door: &Arc<Door>) {
        let Some(seat) = door.clock.seat() else { return };
        self.shared.supervisors.lock().push((Arc::downgrade(door), Arc::clone(seat)));
    }

    fn supervisors(&self) -> Vec<(Arc<Door>, Arc<Seat>)> {
        let mut all = self.shared.supervisors.lock();
        all.retain(|(door, _)| door.strong_count() > 0);
        all.iter().filter_map(|(door, seat)| Some((door.upgrade()?, Arc::clone(seat)))).collect()
    }

    fn begin(&self) -> Result<Mover<'_>, NotQuiet> {
        // Before the lock, whose holder may wait for this very thread.
        if self.is_own_thread() {
            return Err(NotQuiet::own_thread(self.now()));
        }
        Ok(Mover::new(self))
    }

    /// Whether this thread belongs to a supervisor on this clock, so that movers wait for it.
    fn is_own_thread(&self) -> bool {
        self.supervisors().iter().any(|(door, _)| current::belongs_to(door))
    }

    /// Moves the time until that supervisor, which is shutting down, needs it no more. A body that
    /// does not return within the patience is left to its grace. In a body of another supervisor
    /// on this clock the time stands, because whoever moves it waits for that body.
    pub(super) fn end(&self, door: &Arc<Door>) {
        (self.shared.end)(self, door);
    }

    fn move_to_end(&self, door: &Arc<Door>) {
        let Some(seat) = door.clock.seat().filter(|_| !self.is_own_thread()) else { return };
        let mut mover = Mover::new(self);
        loop {
            let settled = mover.settle();
            let due = requests::unsettled(door).and_then(|it| seat.on_clock(it.next));
            let Some(due) = due else { return };
            mover.step_to(settled.ok().flatten().map_or(due, |next| next.min(due)));
        }
    }
}

#[track_caller]
fn quiet<T>(moved: Result<T, NotQuiet>) -> T {
    match moved {
        Ok(found) => found,
        Err(not_quiet) => panic!("{not_quiet}"),
    }
}

/// One call that moves the time.
struct Mover<'a> {
    clock: &'a ManualClock,
    real: RealClock,
    /// How long it may take.
    limit: RealTime,
    steps: u64,
    stepped_at: RealTime,
    _moving: MutexGuard<'a, ()>,
}

impl<'a> Mover<'a> {
    fn new(clock: &'a ManualClock) -> Self {
        let moving = clock.shared.moving.lock();
        let real = RealClock::start_now();
        let stepped_at = real.now();
        let limit = stepped_at.after(*clock.shared.patience.lock());
        Self { clock, real, limit, steps: 0, stepped_at, _moving: moving }
    }

    fn manual(&self) -> &'a Manual {
        &self.clock.shared.manual
    }

    /// Moves the time to `target`, or until `done`.
    fn move_to(&mut self, target: Duration, done: impl Fn() -> bool) -> Result<(), NotQuiet> {
        loop {
            let next = self.settle()?;
            if done() {
                return Ok(());
            }
            match next.filter(|next| *next <= target) {
                None if target == Duration::MAX => return Ok(()),
                None => {
                    self.manual().set(target);
                    return Ok(());
                }
                Some(_) if self.real.now() >= self.limit => return Err(self.not_quiet()),
                Some(next) => self.step_to(next),
            }
        }
    }

    /// Moves the time to a moment at which something is due, and has it happen.
    fn step_to(&mut self, moment: Duration) {
        self.manual().set(moment);
        for (door, _) in self.clock.supervisors() {
            requests::tick(&door);
        }
        self.manual().wake_sleepers();
        (self.steps, self.stepped_at) = (self.steps + 1, self.real.now());
    }

    /// Waits until all is quiet. Returns when something is due next.
    fn settle(&self) -> Result<Option<Duration>, NotQuiet> {
        let mut before = None;
        loop {
            let roused = self.manual().roused();
            if !self.manual().wait_detached(&self.real, self.limit) {
                return Err(self.not_quiet());
            }
            let (mut next, mut inputs) = (None, Vec::new());
            for (door, seat) in self.clock.supervisors() {
                let Some(settled) = self.ask_settled(&door)? else { continue };
                inputs.push(settled.inputs);
                next = earlier(next, seat.on_clock(settled.next));
            }
            // A supervisor that had settled may have heard of another one since, or of a detached
            // body that it had woken. If no body began to run throughout two rounds, then none ran
            // in the second one, and what one of them had sent to another showed there.
            let alone = inputs.len() <= 1 && !self.manual().has_detached();
            let calm = alone || before == Some((self.manual().roused(), inputs.clone()));
            if calm && self.manual().detached() == 0 {
                return Ok(earlier(next, self.manual().next()));
            }
            before = Some((roused, inputs));
        }
    }

    /// `None` if the supervisor has ended.
    fn ask_settled(&self, door: &Door) -> Result<Option<Settled>, NotQuiet> {
        let (reply, answer) = channel::bounded(1);
        if !requests::settle(door, reply) {
            return Ok(None);
        }
        let left = self.real.remaining(self.limit).unwrap_or(Duration::MAX);
        if let Ok(settled) = answer.recv_timeout(left) {
            return Ok(Some(settled));
        }
        match answer.try_recv() {
            Ok(settled) => Ok(Some(settled)),
            Err(TryRecvError::Disconnected) => Ok(None),
            Err(TryRecvError::Empty) => Err(self.not_quiet()),
        }
    }

    /// Says who is busy, and in which system call.
    fn not_quiet(&self) -> NotQuiet {
        let span = *self.clock.shared.patience.lock();
        let mut found = NotQuiet::after(span, self.steps, self.clock.now());
        let takes_steps = self.steps > 1 && self.real.now() < self.stepped_at.after(span / 2);
        for (door, _) in self.clock.supervisors() {
            let Some(unsettled) = requests::unsettled(&door) else { continue };
            found.busy.extend(unsettled.busy);
            found.hooks.extend(unsettled.hooks);
            found.drops += unsettled.drops;
            found.unstarted += unsettled.unstarted;
            found.lanes += unsettled.lanes;
        }
        let process_of = |busy: &BusyAttempt| busy.stall.as_ref().and_then(|stall| stall.pid);
        let ids: Vec<_> = found.busy.iter().map(|busy| process_of(busy).or(busy.tid)).collect();
        for (busy, stall) in found.busy.iter_mut().zip(stall::examine(&ids, &self.real)) {
            let pid = process_of(busy);
            busy.stall = stall.map(|stall| Stall { pid, ..stall });
        }
        found.detached = self.manual().detached() as usize;
        found.judged(takes_steps)
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl TaskContext {
    /// Creates a context for a body without a supervisor, whose time is that of the clock: to test
    /// a body that sleeps. Run the body on a thread of its own and advance the clock from the test.
    /// It counts as busy until it sleeps, receives, or the context is dropped, so move the context
    /// into it. Any thread that sleeps or receives by its token counts as the body.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadvisor::prelude::*;
    /// use threadvisor::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// let (ctx, _canceller) = TaskContext::detached_with(&clock);
    /// let body = std::thread::spawn(move || ctx.sleep(Duration::from_secs(3600)));
    /// clock.advance(Duration::from_secs(3600));
    /// assert_eq!(body.join().unwrap(), Ok(()));
    /// ```
    pub fn detached_with(clock: &ManualClock) -> (Self, Canceller) {
        let seat = Seat::detached(Arc::clone(&clock.shared.manual));
        Self::detached_at(ModelClock::manual(Arc::new(seat)))
    }
}
