//! [`TaskSpec`]: the description of a task that a user hands over: its name, body and settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskResult;
use crate::output::setting_errors::InvalidSetting;
use crate::platform::sync::Mutex;
use crate::platform::threads::ThreadOptions;
use crate::task::body::Body;
use crate::task::class_names::ClassNames;
use crate::task::context::TaskContext;
use crate::task::settings::{Setting, Settings};
use crate::vocabulary::plan::{BodyKind, Plan};

/// Describes one unit of supervised work: a name, a body and its policies.
///
/// Constructors and setters never fail. All settings are checked when the spec is handed over, or
/// earlier by [`validate`](Self::validate). Settings that the spec does not set come from the
/// supervisor's [`TaskDefaults`](crate::TaskDefaults). The last call of a setter counts.
///
/// | for | use |
/// |---|---|
/// | a body that keeps its state between attempts | [`new`](Self::new) |
/// | a body that runs once and may consume what it owns | [`once`](Self::once) |
/// | a body that is retried even beside its own stuck attempt | [`shared`](Self::shared) |
/// | running again after a success | [`repeat_after`](Self::repeat_after), [`every`](Self::every), [`restart`](Self::restart) |
/// | how soon a failure is retried | [`backoff`](Self::backoff), [`retry_early`](Self::retry_early) |
/// | how often, or for how long | [`max_retries`](Self::max_retries), [`give_up_after`](Self::give_up_after), [`failure_limit`](Self::failure_limit) |
/// | a task that must not run beside another | [`slot`](Self::slot), [`class`](Self::class), [`no_slot`](Self::no_slot) |
/// | a limit on an attempt, its silence, the wait before it | [`timeout`](Self::timeout), [`watchdog`](Self::watchdog), [`expires_in`](Self::expires_in) |
/// | a group or a service that relies on it | [`ready_within`](Self::ready_within), [`step`](Self::step), [`required`](Self::required) |
/// | a body that does not return when it is told | [`grace`](Self::grace), [`abandon_policy`](Self::abandon_policy) |
/// | a thread of its own | [`dedicated_thread`](Self::dedicated_thread) |
/// | the end of the program | [`shutdown_on_end`](Self::shutdown_on_end), [`stop_at_drain`](Self::stop_at_drain), [`finish_at_drain`](Self::finish_at_drain) |
///
/// A spec is not `Clone`, because its body is one value: create two to run the work twice.
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
    dedicated: Option<Box<ThreadOptions>>,
    /// Whether dropping the body may run code.
    needs_drop: bool,
    required: bool,
    /// The lock makes the spec `Sync`, which errors need, although a body need not be `Sync`.
    body: Mutex<Option<Body>>,
}

enum SlotChoice {
    /// The slot of the task's name.
    Name,
    Key(Arc<str>),
    None,
}

impl TaskSpec {
    /// Creates a task whose body may run many times. The body is a single value that keeps its
    /// state from attempt to attempt, so it may own a receiver, a counter or a port without a lock.
    ///
    /// The name is also the task's slot, so at most one task of a name runs at a time, unless
    /// [`slot`](Self::slot) or [`no_slot`](Self::no_slot) says otherwise.
    #[doc(alias = "spawn")]
    pub fn new(
        name: impl Into<Arc<str>>,
        body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Self {
        let needs_drop = needs_drop_of(&body);
        Self::with_body(name.into(), Body::repeat(body), needs_drop)
    }

    /// Creates a task whose body runs at most once, which implies
    /// [`RestartPolicy::Never`](crate::RestartPolicy::Never). The body may consume what it owns.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (answer, answers) = std::sync::mpsc::channel();
    /// let lines = vec!["one".to_owned(), "two".to_owned()];
    /// let join = TaskSpec::once("join", move |_| Ok(answer.send(lines.concat())?));
    /// assert!(supervisor.handle().add(join)?.wait()?.is_success());
    /// assert_eq!(answers.recv()?, "onetwo");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn once(
        name: impl Into<Arc<str>>,
        body: impl FnOnce(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Self {
        let needs_drop = needs_drop_of(&body);
        Self::with_body(name.into(), Body::once(body), needs_drop)
    }

    /// Creates a task whose attempts share the body. A shared body needs its own locks for the
    /// state that it changes.
    ///
    /// This is the only kind of task that can be retried beside its own abandoned attempt, under
    /// [`AbandonPolicy::Release`](crate::AbandonPolicy::Release).
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
        let needs_drop = needs_drop_of(&body);
        Self::with_body(name.into(), Body::shared(body), needs_drop)
    }

    fn with_body(name: Arc<str>, body: Body, needs_drop: bool) -> Self {
        Self(Box::new(Inner {
            name,
            slot: SlotChoice::Name,
            settings: Settings::default(),
            dedicated: None,
            needs_drop,
            required: false,
            body: Mutex::new(Some(body)),
        }))
    }

    /// Returns the task's name. Names need not be unique; slots keep tasks apart.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the key of the task's slot; `None` after [`no_slot`](Self::no_slot). See the example
    /// of [`no_slot`](Self::no_slot).
    pub fn slot_key(&self) -> Option<&str> {
        match &self.0.slot {
            SlotChoice::Name => Some(&self.0.name),
            SlotChoice::Key(key) => Some(key),
            SlotChoice::None => None,
        }
    }

    /// Sets the slot, which at most one task owns at a time. Default: the slot whose key is the
    /// task's name.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let on_port = |name| TaskSpec::once(name, |_| Ok(())).slot("/dev/ttyUSB0");
    /// let names = ["update", "read", "log"];
    /// let tasks = supervisor.handle().submit_all(names.map(on_port), AdmissionPolicy::Queue);
    /// assert!(tasks.into_iter().all(|task| task.is_ok())); // they run one after the other
    /// assert_eq!(supervisor.run([])?.outcomes.completed, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "key")]
    #[doc(alias = "mutex")]
    pub fn slot(mut self, key: impl Into<Arc<str>>) -> Self {
        self.0.slot = SlotChoice::Key(key.into());
        self
    }

    /// Gives the task no slot: it conflicts with nothing, and every admission policy starts it.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let mail = || TaskSpec::once("mail", |_| Ok(()));
    /// assert_eq!(mail().slot_key(), Some("mail"));
    /// assert_eq!(mail().no_slot().slot_key(), None);
    /// supervisor.handle().add_all([mail().no_slot(), mail().no_slot()])?; // side by side
    /// assert_eq!(supervisor.run([])?.outcomes.completed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_slot(mut self) -> Self {
        self.0.slot = SlotChoice::None;
        self
    }

    /// Marks a task that the service cannot do without. A [service manager](crate::ServiceManager)
    /// is told that the service is ready once all required tasks are, and gets signs of life only
    /// while [`Snapshot::is_well`](crate::Snapshot::is_well). A required task is ready once it runs
    /// or, with [`ready_within`](Self::ready_within), has said so. One that has failed for good
    /// counts as missing until another of its name is accepted; one that ended otherwise does not.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let gps = TaskSpec::once("gps", |_| Err("no such device")?).required();
    /// supervisor.handle().add(gps)?.wait()?;
    /// assert!(!supervisor.handle().snapshot()?.is_well());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn required(mut self) -> Self {
        self.0.required = true;
        self
    }

    pub(crate) fn is_required(&self) -> bool {
        self.0.required
    }

    /// Runs each attempt on its own new thread instead of a pooled worker. Use it for C libraries
    /// that keep state in thread-locals, or for a stack size, a priority or processors of its own.
    /// See the examples of [`ThreadOptions`] and of [handles that belong to a
    /// thread](crate::guide::c_libraries#handles-that-belong-to-a-thread).
    pub fn dedicated_thread(mut self, options: ThreadOptions) -> Self {
        self.0.dedicated = Some(Box::new(options));
        self
    }

    /// Checks the settings early, as they are checked when the spec is handed over. Whether its
    /// class exists, and whether it may be a step, is checked only then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::TaskSpec;
    /// let spec = TaskSpec::new("poll", |_| Ok(())).timeout(Duration::ZERO);
    /// let error = spec.validate().unwrap_err();
    /// assert_eq!((error.field, &*error.value), ("timeout", "0ns"));
    /// ```
    ///
    /// # Errors
    /// [`InvalidSetting`] for the first value that cannot work; the error names the remedy.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.check().map_err(|fault| InvalidSetting { task: Some(self.shared_name()), ..fault })
    }

    /// Checks the settings for a supervisor that has these classes.
    pub(crate) fn validate_for(&self, classes: &ClassNames) -> Result<(), InvalidSetting> {
        self.check_for(classes, self.0.settings.check_alone())
    }

    /// Checks the settings for a member of a group.
    pub(crate) fn validate_member(&self, classes: &ClassNames) -> Result<(), InvalidSetting> {
        let once = InvalidSetting::new(
            "once",
            format_args!("a member"),
            "use TaskSpec::new, because a member may run again",
        );
        let is_once = self.body_kind() == BodyKind::Once;
        self.check_for(classes, if is_once { Err(once) } else { Ok(()) })
    }

    fn check_for(
        &self,
        classes: &ClassNames,
        place: Result<(), InvalidSetting>,
    ) -> Result<(), InvalidSetting> {
        self.validate()?;
        let of_task = |fault| InvalidSetting { task: Some(self.shared_name()), ..fault };
        place.and_then(|()| self.0.settings.check_class(classes)).map_err(of_task)
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        if unusable(&self.0.name) {
            let remedy = "give a text that is not empty and has no NUL";
            return Err(InvalidSetting::new("name", &self.0.name, remedy));
        }
        if let Some(key) = self.slot_key().filter(|key| unusable(key)) {
            let remedy = "give a text that is not empty and has no NUL, or use no_slot";
            return Err(InvalidSetting::new("slot", key, remedy));
        }
        self.0.settings.validate(self.body_kind())
    }

    /// Returns everything except user values, with the defaults filled in.
    pub(crate) fn plan(
        &self,
        defaults: &Settings,
        supervisor_grace: Duration,
        classes: &ClassNames,
    ) -> Plan {
        let mut plan = self.0.settings.plan(defaults, supervisor_grace, self.body_kind(), classes);
        plan.needs_drop = self.0.needs_drop;
        plan
    }

    fn body_kind(&self) -> BodyKind {
        // The body is present until the spec is taken apart.
        self.0.body.lock().as_ref().map_or(BodyKind::Once, Body::kind)
    }

    pub(crate) fn with(mut self, setting: Setting) -> Self {
        self.0.settings.set(setting);
        self
    }

    pub(crate) fn take_dedicated(&mut self) -> Option<Box<ThreadOptions>> {
        self.0.dedicated.take()
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

/// Whether a text is no name of a task, a slot or a class.
pub(crate) fn unusable(text: &str) -> bool {
    text.is_empty() || text.contains('\0')
}

const fn needs_drop_of<T>(_: &T) -> bool {
    std::mem::needs_drop::<T>()
}

/// A spec counts as a list of one, so that an error can name the specs it gives back, one or many.
impl AsRef<[Self]> for TaskSpec {
    fn as_ref(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

/// A spec counts as a list of one, so that [`GroupSpec::then`](crate::GroupSpec::then) takes one or
/// many.
impl IntoIterator for TaskSpec {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

impl fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpec")
            .field("name", &self.0.name)
            .field("slot", &self.slot_key())
            .field("settings", &self.0.settings)
            .field("dedicated_thread", &self.0.dedicated)
            .finish_non_exhaustive()
    }
}
