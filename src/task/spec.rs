//! What a user hands over: a name, a body, and how to treat it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::{InvalidSetting, TaskResult};
use crate::platform::sync::Mutex;
use crate::platform::threads::ThreadOptions;
use crate::task::body::Body;
use crate::task::context::TaskContext;
use crate::task::settings::{fault, Fault, Settings};
use crate::vocabulary::plan::{BodyKind, Pause, Plan};
use crate::vocabulary::policy::RestartPolicy;

/// One unit of supervised work: a name, a body and its policies.
///
/// Constructors and setters never fail; everything is checked once, where the spec is handed over,
/// or early by [`validate`](Self::validate). What is not set comes from the supervisor's
/// [`TaskDefaults`](crate::TaskDefaults). It is one pointer wide, so that errors which carry it
/// back stay small. Not `Clone`, because a body is one value: make another spec.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// let mut calls = 0;
/// let spec = TaskSpec::new("poll", move |ctx| {
///     calls += 1;
///     assert_eq!(ctx.attempt(), calls);
///     if calls < 3 { Err("not yet")? }
///     Ok(())
/// })
/// .backoff(BackoffPolicy::constant(Duration::from_millis(1)))
/// .timeout(Duration::from_secs(5));
/// # let supervisor = Supervisor::builder().start()?;
/// let task = supervisor.handle().add(spec)?;
/// assert!(task.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a spec does nothing until it is handed to a supervisor"]
pub struct TaskSpec(Box<Inner>);

struct Inner {
    name: Arc<str>,
    slot: SlotChoice,
    settings: Settings,
    extra: Option<Box<Extra>>,
    shutdown_on_end: bool,
    once: bool,
    /// Only ever reached by `get_mut`: the lock makes a body that is not `Sync` shareable as part
    /// of an error.
    body: Mutex<Option<Body>>,
}

/// What few tasks set.
#[derive(Default)]
struct Extra {
    pause: Pause,
    initial_delay: Duration,
    dedicated: Option<Box<ThreadOptions>>,
}

/// All that most tasks set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain {
    restart: Option<RestartPolicy>,
    body: BodyKind,
}

enum SlotChoice {
    /// The slot of the task's name.
    Name,
    Key(Arc<str>),
    None,
}

impl TaskSpec {
    /// A task whose body may run many times. It is one value that keeps its state between attempts,
    /// so it may own a receiver, a counter or a port.
    pub fn new(
        name: impl Into<Arc<str>>,
        body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Self {
        Self::with_body(name.into(), Body::repeat(body))
    }

    /// A task whose body runs once at most: implies [`RestartPolicy::Never`].
    pub fn once(
        name: impl Into<Arc<str>>,
        body: impl FnOnce(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Self {
        let mut spec = Self::with_body(name.into(), Body::once(body));
        spec.0.once = true;
        spec.restart(RestartPolicy::Never)
    }

    /// A task whose body is shared by its attempts: the only kind that can run again beside an
    /// attempt of its own that was abandoned, under
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release). Its state, if it has any, needs
    /// locks of its own.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// struct Probe { path: &'static str }
    /// impl Probe {
    ///     fn run(&self) -> std::io::Result<()> {
    ///         std::fs::metadata(self.path).map(drop)
    ///     }
    /// }
    /// let probe = Probe { path: "/" };
    /// let spec = TaskSpec::shared("probe", move |_| Ok(probe.run()?));
    /// # let supervisor = Supervisor::builder().start()?;
    /// assert!(supervisor.handle().add(spec)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shared(
        name: impl Into<Arc<str>>,
        body: impl Fn(&TaskContext) -> TaskResult + Send + Sync + 'static,
    ) -> Self {
        Self::with_body(name.into(), Body::shared(body))
    }

    fn with_body(name: Arc<str>, body: Body) -> Self {
        Self(Box::new(Inner {
            name,
            slot: SlotChoice::Name,
            settings: Settings::default(),
            extra: None,
            shutdown_on_end: false,
            once: false,
            body: Mutex::new(Some(body)),
        }))
    }

    /// The task's name. Names need not be unique; slots keep tasks apart.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key of the task's slot; `None` after [`no_slot`](Self::no_slot).
    pub fn slot_key(&self) -> Option<&str> {
        match &self.0.slot {
            SlotChoice::Name => Some(&self.0.name),
            SlotChoice::Key(key) => Some(key),
            SlotChoice::None => None,
        }
    }

    /// Sets the slot: at most one task owns it at a time. Default: a slot named as the task.
    pub fn slot(mut self, key: impl Into<Arc<str>>) -> Self {
        self.0.slot = SlotChoice::Key(key.into());
        self
    }

    /// Takes the task out of all slots: it conflicts with nothing, and every admission policy
    /// starts it.
    pub fn no_slot(mut self) -> Self {
        self.0.slot = SlotChoice::None;
        self
    }

    /// Runs the body again `delay` after it succeeded; implies [`RestartPolicy::Always`]. After a
    /// failure the next attempt comes after the backoff, but never sooner than `delay`. Replaces
    /// [`every`](Self::every).
    pub fn repeat_after(mut self, delay: Duration) -> Self {
        self.extra_mut().pause = Pause::Delay(delay);
        self.restart(RestartPolicy::Always)
    }

    /// Runs the body at the points of a grid `interval` apart, anchored at the first start; implies
    /// [`RestartPolicy::Always`]. Points that pass while it runs are skipped. After a failure the
    /// next attempt comes at the first point after the backoff. Replaces
    /// [`repeat_after`](Self::repeat_after).
    pub fn every(mut self, interval: Duration) -> Self {
        self.extra_mut().pause = Pause::Rate(interval);
        self.restart(RestartPolicy::Always)
    }

    /// Waits so long between admission and the first attempt; the slot is held meanwhile. Default:
    /// zero.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.extra_mut().initial_delay = delay;
        self
    }

    /// When this task ends by itself, for good, the supervisor shuts down: for the task that is the
    /// job. A stop or a refusal does not count.
    pub fn shutdown_on_end(mut self) -> Self {
        self.0.shutdown_on_end = true;
        self
    }

    /// Runs each attempt on a fresh thread of its own instead of a pooled worker: for C libraries
    /// that keep state in thread-locals, or for a stack of another size.
    pub fn dedicated_thread(mut self, options: ThreadOptions) -> Self {
        self.extra_mut().dedicated = Some(Box::new(options));
        self
    }

    /// Checks the settings, as handing over does.
    ///
    /// # Errors
    /// [`InvalidSetting`] for the first value that cannot work, with its remedy.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.find_fault().map_or(Ok(()), |(field, value, remedy)| {
            let task = Some(Arc::clone(&self.0.name));
            Err(InvalidSetting { task, field, value, remedy })
        })
    }

    fn find_fault(&self) -> Option<Fault> {
        let inner = &*self.0;
        let once = "a `once` body runs once: use TaskSpec::new for one that runs again";
        match self.pause() {
            Pause::Delay(pause) if inner.once => return Some(fault("repeat_after", &pause, once)),
            Pause::Rate(pause) if inner.once => return Some(fault("every", &pause, once)),
            Pause::None | Pause::Delay(_) | Pause::Rate(_) => {}
        }
        if inner.name.is_empty() || inner.name.contains('\0') {
            return Some(fault(
                "name",
                &inner.name,
                "give a text that is not empty and has no NUL",
            ));
        }
        if self.slot_key().is_some_and(|key| key.is_empty() || key.contains('\0')) {
            return Some(fault(
                "slot",
                &self.slot_key().unwrap_or_default(),
                "give a text that is not empty and has no NUL, or use no_slot",
            ));
        }
        match self.pause() {
            Pause::None => {}
            Pause::Delay(pause) if pause.is_zero() => {
                return Some(fault(
                    "repeat_after",
                    &pause,
                    "use restart(Always) to run again at once",
                ));
            }
            Pause::Rate(pause) if pause.is_zero() => {
                return Some(fault("every", &pause, "use restart(Always) to run again at once"));
            }
            Pause::Delay(_) | Pause::Rate(_) => {
                if inner.settings.restart != Some(RestartPolicy::Always) {
                    let remedy =
                        "`repeat_after` and `every` need Always: leave `restart` or them out";
                    return Some(fault(
                        "restart",
                        &inner.settings.restart.unwrap_or_default(),
                        remedy,
                    ));
                }
            }
        }
        if inner.once && inner.settings.restart != Some(RestartPolicy::Never) {
            return Some(fault("restart", &inner.settings.restart.unwrap_or_default(), once));
        }
        inner.settings.find_fault()
    }

    /// What decides the plan of a task that sets no more than this; `None` if it does.
    pub(crate) fn plain(&self) -> Option<Plain> {
        let inner = &*self.0;
        let plain = inner.extra.is_none() && inner.settings.is_plain() && !inner.shutdown_on_end;
        let restart = inner.settings.restart;
        plain.then(|| Plain { restart, body: self.body_kind() })
    }

    fn body_kind(&self) -> BodyKind {
        match *self.0.body.lock() {
            Some(Body::Shared(_)) => BodyKind::Shared,
            Some(Body::Once(_)) => BodyKind::Once,
            Some(Body::Repeat(_)) | None => BodyKind::Repeat,
        }
    }

    /// All that is not a user value, with the defaults filled in.
    pub(crate) fn plan(&self, defaults: &Settings, supervisor_grace: Duration) -> Plan {
        let inner = &*self.0;
        Plan {
            pause: self.pause(),
            initial_delay: inner.extra.as_ref().map_or(Duration::ZERO, |it| it.initial_delay),
            shutdown_on_end: inner.shutdown_on_end,
            body: self.body_kind(),
            ..inner.settings.plan(defaults, supervisor_grace)
        }
    }

    pub(crate) fn settings_mut(&mut self) -> &mut Settings {
        &mut self.0.settings
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.0.extra.get_or_insert_with(Box::default)
    }

    fn pause(&self) -> Pause {
        self.0.extra.as_ref().map_or(Pause::None, |extra| extra.pause)
    }

    pub(crate) fn take_dedicated(&mut self) -> Option<Box<ThreadOptions>> {
        self.0.extra.as_mut()?.dedicated.take()
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    pub(crate) fn shared_slot(&self) -> Option<Arc<str>> {
        match &self.0.slot {
            SlotChoice::Name => Some(self.shared_name()),
            SlotChoice::Key(key) => Some(Arc::clone(key)),
            SlotChoice::None => None,
        }
    }

    pub(crate) fn into_body(mut self) -> Option<Body> {
        self.0.body.get_mut().take()
    }
}

/// One spec is a list of one, so that errors can name what they carry back, be it one or many.
impl AsRef<[Self]> for TaskSpec {
    fn as_ref(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

impl fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpec")
            .field("name", &self.0.name)
            .field("slot", &self.slot_key())
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
