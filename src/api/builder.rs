//! [`SupervisorBuilder`]: the settings of a supervisor, and its start.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::api::manual_clock::ManualClock;
use crate::api::service_manager::{ServiceManager, SICK_AFTER};
use crate::api::subscribe::Subscribe;
use crate::api::supervisor::Supervisor;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::Event;
use crate::output::setting_errors::{InvalidSetting, StartError};
use crate::platform::model_clock::ModelClock;
use crate::platform::threads::ThreadSetup;
use crate::platform::user_value::UserValue;
use crate::runtime::start::{start, Setup};
use crate::runtime::{Dedicated, ServiceLink, Subscriber, Subscribers};
use crate::task::door::Door;
use crate::task::setters::TaskDefaults;
use crate::vocabulary::plan::{BodyKind, Limits};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::sorted::SortedMap;

/// Holds the settings of a supervisor; returned from [`Supervisor::builder`]. Setters never fail;
/// [`start`](Self::start) checks all settings.
///
/// For a setting that is a limit, `None` means no limit.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let error = Supervisor::builder().max_concurrent(0).start().unwrap_err();
/// let text = "max_concurrent cannot be 0: give at least 1, or None for no limit";
/// assert_eq!(error.to_string(), text);
/// let supervisor = Supervisor::builder().max_concurrent(4).grace(Duration::from_secs(1)).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until started"]
pub struct SupervisorBuilder {
    max_concurrent: Option<usize>,
    pub(super) classes: SortedMap<Arc<str>, usize>,
    max_tasks: Option<usize>,
    max_slot_queue: Option<usize>,
    max_abandoned: Option<usize>,
    intake_capacity: usize,
    event_capacity: usize,
    pub(super) grace: Duration,
    timer_slack: Duration,
    seed: Option<u64>,
    pub(super) defaults: TaskDefaults,
    pub(super) threads: ThreadSetup,
    pub(super) prespawn: usize,
    shared: Vec<Subscriber>,
    dedicated: Vec<Dedicated>,
    /// The setting by which SIGINT and SIGTERM mean the end.
    pub(super) signals: Option<&'static str>,
    pub(super) signal_drain: Option<Duration>,
    pub(super) signal_hooks: Vec<(Signal, SignalCallback)>,
    clock: Option<ManualClock>,
    #[cfg(all(unix, feature = "process"))]
    pub(super) output: Option<crate::task::out_lane::OnOutput>,
    service: Option<OpenService>,
    sick_after: Duration,
}

/// Opens what a service manager was asked for. Only a program that asks contains what that takes.
type OpenService = Box<dyn FnOnce() -> Result<Option<ServiceLink>, StartError> + Send>;

pub(super) type SignalCallback = UserValue<Box<dyn FnMut(&SupervisorHandle) + Send>>;

impl Supervisor {
    /// Returns a builder, in which every setting has its default. [`SupervisorBuilder::start`] then
    /// starts the supervisor.
    #[doc(alias = "new")]
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::new()
    }
}

impl SupervisorBuilder {
    fn new() -> Self {
        Self {
            max_concurrent: Some(1024),
            classes: SortedMap::default(),
            max_tasks: Some(1_000_000),
            max_slot_queue: Some(100),
            intake_capacity: 1024,
            event_capacity: 1024,
            grace: GRACE,
            timer_slack: Duration::ZERO,
            seed: None,
            defaults: TaskDefaults::default(),
            threads: ThreadSetup {
                name: "threadvisor".to_owned(),
                stack_size: None,
                by_task: false,
                callbacks: None,
            },
            max_abandoned: Some(16),
            prespawn: 0,
            shared: Vec::new(),
            dedicated: Vec::new(),
            signals: None,
            signal_drain: None,
            signal_hooks: Vec::new(),
            clock: None,
            #[cfg(all(unix, feature = "process"))]
            output: None,
            service: None,
            sick_after: SICK_AFTER,
        }
    }

    /// Sets how many attempts may run at the same time, at least 1. Abandoned attempts that still
    /// run and hold their permit count, too. Further attempts wait for a permit, except those of
    /// tasks that bodies wait for. With `None`, all tasks may run at the same time, each on its own
    /// thread. Default: 1024. It is fixed once the supervisor has started; the limit of a
    /// [class](Self::class_limit) is not.
    #[doc(alias = "pool_size")]
    #[doc(alias = "num_threads")]
    pub fn max_concurrent(mut self, attempts: impl Into<Option<usize>>) -> Self {
        self.max_concurrent = attempts.into();
        self
    }

    /// Sets how many tasks the supervisor may hold, including waiting tasks; at least 1. Further
    /// submissions are rejected as [`TooManyTasks`](crate::Rejection::TooManyTasks). Default: 1 000
    /// 000. See the example of [`AddError`](crate::AddError).
    pub fn max_tasks(mut self, tasks: impl Into<Option<usize>>) -> Self {
        self.max_tasks = tasks.into();
        self
    }

    /// Sets how many submissions may wait for one slot, at least 1. Further submissions with the
    /// policy [`Queue`](crate::AdmissionPolicy::Queue) are rejected as
    /// [`QueueFull`](crate::Rejection::QueueFull). Default: 100.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().max_slot_queue(1).start()?;
    /// let job = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let handle = supervisor.handle();
    /// let submit = |name| handle.submit(job(name).slot("disk"), AdmissionPolicy::Queue);
    /// let (_runs, _waits, third) = (submit("runs")?, submit("waits")?, submit("third")?);
    /// let why = Rejection::QueueFull { depth: 1, limit: 1 };
    /// assert!(matches!(third.wait()?, Outcome::Rejected(rejection) if rejection == why));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_slot_queue(mut self, submissions: impl Into<Option<usize>>) -> Self {
        self.max_slot_queue = submissions.into();
        self
    }

    /// Sets how many attempts, closings and hooks (callbacks included) may be stuck, that is, still
    /// run after their grace, before no more attempts are released. While that many are stuck,
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release) acts as `Hold`. While more are
    /// stuck, submissions are rejected as [`TooManyAbandoned`](crate::Rejection::TooManyAbandoned).
    /// The number of threads that hang is not limited by this, because admitted tasks still start
    /// attempts, but by a [class](Self::class_limit) under `Hold`. Default: 16. See the example of
    /// [`AbandonPolicy`](crate::AbandonPolicy).
    pub fn max_abandoned(mut self, attempts: impl Into<Option<usize>>) -> Self {
        self.max_abandoned = attempts.into();
        self
    }

    /// Sets how many undecided submissions the intake holds; a batch counts as one. The controller
    /// takes them out immediately, so the intake fills only in a burst. While it is full, `add` and
    /// `submit` wait, and `try_submit` returns `Full`. Must be from 1 to 1 048 576, because the
    /// memory is allocated at the start. Default: 1024. See the example of
    /// [`try_submit`](crate::SupervisorHandle::try_submit).
    pub fn intake_capacity(mut self, submissions: usize) -> Self {
        self.intake_capacity = submissions;
        self
    }

    /// Sets how many events the shared lane holds; without subscribers, it is used for warnings
    /// only, and holds 1024. Further events are dropped, counted, and reported as
    /// [`SubscriberOverflow`](crate::EventKind::SubscriberOverflow). At least 1. Default: 1024.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// let (say, lost) = std::sync::mpsc::channel();
    /// let supervisor = Supervisor::builder()
    ///     .event_capacity(2)
    ///     .on_event(move |event| match event.kind {
    ///         EventKind::SubscriberOverflow { dropped, .. } => drop(say.send(dropped)),
    ///         _ => drop(wait.recv()), // a slow callback
    ///     })
    ///     .start()?;
    /// for name in ["first", "second"] {
    ///     supervisor.handle().add(TaskSpec::once(name, |_| Ok(())))?.wait()?;
    /// }
    /// drop(go_on);
    /// assert!(lost.recv()? > 0); // two events were kept, the others are counted
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// Allows initial delays, and waits for retries and intervals, to end late by up to `span`,
    /// so that several end together: whenever the supervisor is awake, for whatever reason, it
    /// starts everything that is due, and it wakes up by itself only once something has been due
    /// for `span`. The grid of [`every`](crate::TaskSpec::every) does not move; of points that are
    /// closer together than `span`, some are skipped. Deadlines, graces, watchdogs and the sleeps
    /// of bodies are never late because of this. Default: zero.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// use threadvisor::ManualClock;
    /// let (clock, ms) = (ManualClock::new(), Duration::from_millis);
    /// let supervisor = Supervisor::builder().clock(&clock).timer_slack(ms(100)).start()?;
    /// let later = |delay| TaskSpec::once("later", |_| Ok(())).no_slot().initial_delay(delay);
    /// let tasks = supervisor.handle().add_all([later(ms(10)), later(ms(70))])?;
    /// assert_eq!(clock.advance_to_next(), Some(ms(110))); // one wake-up for both
    /// assert!(tasks.iter().all(|task| task.outcome().is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timer_slack(mut self, span: Duration) -> Self {
        self.timer_slack = span;
        self
    }

    /// Sets how long a body has to return once it is told to, unless its task has a grace of its
    /// own, and how long a shutdown may take as a whole. `None` sets no limit: both take as long as
    /// the bodies do. Default: 3 s, because procd kills a service after 5 s. Set less under BusyBox
    /// init, which kills after 1 s.
    pub fn grace(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.grace = span.into().unwrap_or(Duration::MAX);
        self
    }

    /// Makes the tasks live by this clock instead of real time, for tests: see [`ManualClock`]. Add
    /// tasks through the [`handle`](Supervisor::handle), because [`run`](Supervisor::run) waits in
    /// real time for an end that only the clock can bring. Default: real time.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Sets the seed of the random numbers for jitter, to make tests reproducible. Default: a seed
    /// from the system, so that identical boards use different delays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// let delay_with = |seed| {
    ///     let (say, delays) = std::sync::mpsc::channel();
    ///     let supervisor = Supervisor::builder()
    ///         .seed(seed)
    ///         .on_event(move |event| match event.kind {
    ///             EventKind::RetryScheduled { delay, .. } => drop(say.send(delay)),
    ///             _ => {}
    ///         })
    ///         .start()
    ///         .unwrap();
    ///     let probe = TaskSpec::new("probe", |_| Err("no answer".into()));
    ///     supervisor.handle().add(probe).unwrap();
    ///     delays.recv().unwrap()
    /// };
    /// assert_eq!(delay_with(7), delay_with(7));
    /// assert_ne!(delay_with(7), delay_with(8));
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the defaults for settings that a spec does not set itself. Default: the defaults named
    /// in the docs of each setter of [`TaskSpec`](crate::TaskSpec). See the example of
    /// [`TaskDefaults`].
    pub fn defaults(mut self, defaults: TaskDefaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// Calls `callback` for every event, on the thread of the shared lane. A slow callback delays
    /// the other subscribers of that lane, but never a task. See [`Subscribe`].
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (sender, failures) = std::sync::mpsc::channel();
    /// let supervisor = Supervisor::builder()
    ///     .on_event(move |event| {
    ///         if let EventKind::AttemptFailed { error, .. } = &event.kind {
    ///             let _ = sender.send(error.to_string());
    ///         }
    ///     })
    ///     .start()?;
    /// let report = supervisor.run([TaskSpec::once("probe", |_| Err("no answer".into()))])?;
    /// assert_eq!(failures.recv()?, "no answer");
    /// assert_eq!(report.exit_code(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(self, callback: impl FnMut(&Event) + Send + 'static) -> Self {
        self.subscriber(Callback(callback))
    }

    /// Adds a subscriber to the shared lane, which calls its subscribers one after the other. See
    /// the example of [`Subscribe`].
    pub fn subscriber(mut self, subscriber: impl Subscribe + 'static) -> Self {
        self.shared.push(UserValue::new(Box::new(subscriber)));
        self
    }

    /// Adds a subscriber with its own lane, that is, its own thread and a queue of `capacity`
    /// events (at least 1): for a subscriber that may block and must not delay others. See the
    /// example of [`dedicated_on_event`](Self::dedicated_on_event).
    pub fn dedicated_subscriber(
        mut self,
        subscriber: impl Subscribe + 'static,
        capacity: usize,
    ) -> Self {
        let subscriber = UserValue::new(Box::new(subscriber) as _);
        self.dedicated.push(Dedicated { subscriber, capacity, copy: Event::clone });
        self
    }

    /// Calls `callback` for every event, on its own lane: see
    /// [`dedicated_subscriber`](Self::dedicated_subscriber).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let (uploads, uploaded) = std::sync::mpsc::channel();
    /// let supervisor = Supervisor::builder()
    ///     .on_event(|event| println!("{event}")) // is not delayed by the next one
    ///     .dedicated_on_event(move |event| drop(uploads.send(event.to_string())), 8192)
    ///     .start()?;
    /// supervisor.run([TaskSpec::once("probe", |_| Ok(()))])?;
    /// assert!(uploaded.iter().any(|line| line.ends_with("event=shutdown_ended")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dedicated_on_event(
        self,
        callback: impl FnMut(&Event) + Send + 'static,
        capacity: usize,
    ) -> Self {
        self.dedicated_subscriber(Callback(callback), capacity)
    }

    /// Tells a service manager that the service is ready, lives, reloads and stops: see
    /// [`ServiceManager`]. The controller sends the messages, without a thread of its own and
    /// without blocking; workers write files and devices. Default: nobody is told anything. See the
    /// example of [`ServiceManager`].
    pub fn service_manager(mut self, service: ServiceManager) -> Self {
        self.sick_after = service.may_be_down();
        self.service = Some(Box::new(move || Ok(ServiceLink::new(service.open()?))));
        self
    }

    /// Checks the settings and starts the supervisor: one thread for the controller, one for each
    /// lane that has subscribers, one for signals if
    /// [`shutdown_on_signals`](Self::shutdown_on_signals) or another setting asks for signals, and
    /// the workers that [`prespawn`](Self::prespawn) asks for. With `stack_size` and without
    /// `prespawn`, a thread that ends at once shows whether the system grants such a stack. Other
    /// workers are started when there is work for them.
    ///
    /// Blocks until these threads have been started, and for up to 1 s until `on_thread_start` has
    /// returned on those of `prespawn`. Keep the supervisor in a variable: dropping it shuts it
    /// down.
    ///
    /// # Errors
    /// After an error, nothing is left running.
    /// - `Invalid`: a setting cannot work; the error names it and the remedy.
    /// - `Thread`: the system refused a thread; raise `ulimit -u` or the cgroup's `pids.max`.
    /// - `Signals`: the signal handlers could not be installed.
    /// - `SignalBlocked`: this thread blocks one of these signals, so it would never arrive;
    ///   unblock it first.
    /// - `ServiceManager`: a file of [`ServiceManager`] could not be opened; the error names it.
    /// - `Unsupported`: this system or build does not support this setting; for signals, enable the
    ///   feature `signals`.
    #[doc(alias = "build")]
    pub fn start(mut self) -> Result<Supervisor, StartError> {
        self.check()?;
        let classes = self.check_classes()?;
        let service = self.service.take().map_or(Ok(None), |open| open())?;
        let limits = Limits {
            max_concurrent: self.max_concurrent.map(saturate),
            classes: self.classes.values().copied().map(saturate).collect(),
            max_slot_queue: limit(self.max_slot_queue),
            // A key is 32 bits wide, and a task beyond the limit needs one as well, to be refused.
            max_tasks: limit(self.max_tasks).min(u32::MAX - 1),
            max_abandoned: limit(self.max_abandoned),
            grace: self.grace,
            signal_drain: self.signal_drain,
            event_flush: EVENT_FLUSH,
            timer_slack: self.timer_slack,
        };

        let clock = match &self.clock {
            Some(manual) => ModelClock::manual(manual.seat()),
            None => ModelClock::start_now(),
        };
        let (door, inbox) = Door::new(clock, self.intake_capacity, classes);
        let (signals, signal_hooks) = self.listen(&door)?;
        let setup = Setup {
            limits,
            seed: self.seed.unwrap_or_else(seed_from_system),
            defaults: self.defaults.0,
            threads: self.threads,
            prespawn: saturate(self.prespawn),
            subscribers: Subscribers {
                shared: self.shared,
                shared_capacity: self.event_capacity,
                dedicated: self.dedicated,
                #[cfg(all(unix, feature = "process"))]
                output: self.output,
            },
            signals,
            signal_hooks,
            service,
            sick_after: self.sick_after,
        };
        start(setup, &door, inbox)?;

        let patience = self.grace.saturating_add(EVENT_FLUSH);
        if let Some(clock) = &self.clock {
            clock.attach(&door);
        }
        Ok(Supervisor { door, patience, clock: self.clock })
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let some = "give at least 1";
        let some_or_none = "give at least 1, or None for no limit";
        let dedicated = self.dedicated.iter().map(|it| it.capacity).min();

        for (field, value, remedy) in [
            ("max_concurrent", self.max_concurrent, some_or_none),
            ("max_tasks", self.max_tasks, some_or_none),
            ("max_slot_queue", self.max_slot_queue, some_or_none),
            ("intake_capacity", Some(self.intake_capacity), some),
            ("event_capacity", Some(self.event_capacity), some),
            ("dedicated_subscriber", dedicated, some),
        ] {
            if value == Some(0) {
                return Err(InvalidSetting::new(field, 0, remedy));
            }
        }

        if self.intake_capacity > MAX_INTAKE {
            let remedy = "give at most 1048576, because `submit` waits while it is full";
            return Err(InvalidSetting::new("intake_capacity", self.intake_capacity, remedy));
        }
        self.defaults.0.validate(BodyKind::Repeat)
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("max_concurrent", &self.max_concurrent)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// A closure as a subscriber. With a blanket implementation instead, closures could not leave out
/// the type of their argument.
struct Callback<F>(F);

impl<F: FnMut(&Event) + Send> Subscribe for Callback<F> {
    fn on_event(&mut self, event: &Event) {
        (self.0)(event);
    }

    fn name(&self) -> &'static str {
        "on_event"
    }
}

/// `None`, which means no limit, becomes the largest number.
fn limit(n: Option<usize>) -> u32 {
    n.map_or(u32::MAX, saturate)
}

pub(super) fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The standard library takes its hash keys from the kernel, without blocking early in the boot.
fn seed_from_system() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// How long the delivery of the last events may take once everything has ended.
const EVENT_FLUSH: Duration = Duration::from_millis(250);

/// The channel of the intake allocates all its memory up front, and panics if it cannot.
const MAX_INTAKE: usize = 1 << 20;

/// Less than even the fastest init systems leave between SIGTERM and SIGKILL, except BusyBox.
const GRACE: Duration = Duration::from_secs(3);
