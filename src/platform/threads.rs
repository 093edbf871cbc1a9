//! How threads are started: their names, their stacks, and the user's callbacks on each.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::platform::chain::chain;
use crate::platform::sync::thread;
use crate::platform::unwind;
use crate::platform::user_value::UserValue;

/// Describes the threads of one task, for
/// [`TaskSpec::dedicated_thread`](crate::TaskSpec::dedicated_thread).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let options = ThreadOptions::new().name("modem").stack_size(256 * 1024);
/// let modem = TaskSpec::once("modem", |_| {
///     assert_eq!(std::thread::current().name(), Some("modem"));
///     Ok(())
/// });
/// let modem = supervisor.handle().add(modem.dedicated_thread(options))?;
/// assert!(modem.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "options do nothing until passed to a spec"]
pub struct ThreadOptions {
    name: Option<String>,
    stack_size: Option<usize>,
    on_start: Option<Arc<StartCallback>>,
}

impl ThreadOptions {
    /// Returns the options of a thread with the name and stack size of the supervisor's workers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the thread's name; only its first 15 bytes are used, which is all that Linux shows.
    /// Default: a name like those of the supervisor's workers.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of the thread's stack, in bytes. Default: the supervisor's
    /// [`stack_size`](crate::SupervisorBuilder::stack_size). If no system can grant it, the attempt
    /// fails with the system's error, and the task ends as [`Fatal`](crate::Outcome::Fatal).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Calls `callback` on the thread of each attempt, before the body runs there: to set the
    /// priority, the scheduling policy or the processors of this task's threads, without touching
    /// those of other tasks. It runs after
    /// [`on_thread_start`](crate::SupervisorBuilder::on_thread_start), which is called on all
    /// threads that run bodies and hooks. Default: nothing.
    ///
    /// The call is the first part of the attempt: timeout, watchdog, cancel and grace apply to it
    /// as to the body. If it fails or panics, the body does not run, and the attempt fails with
    /// an error that begins with `on_start failed`, of the same [`kind`](io::Error::kind). What
    /// follows is up to the restart policy, as after any failure of the body. If the attempt is
    /// told to return during the call, the body does not run either.
    ///
    /// The callback is dropped some time after the last task with these options has ended.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # fn set_nice(_: i32) -> std::io::Result<()> { Err(std::io::Error::other("not allowed")) }
    /// # let supervisor = Supervisor::builder().start()?;
    /// let urgent = ThreadOptions::new().on_start(|| set_nice(-10)); // for example of `rustix`
    /// let meter = TaskSpec::once("meter", |_| Ok(())).dedicated_thread(urgent);
    /// let outcome = supervisor.handle().add(meter)?.wait()?;
    /// assert_eq!(outcome.to_string(), "failed: on_start failed: not allowed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_start(
        mut self,
        callback: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_start = Some(Arc::new(StartCallback::new("on_start", callback)));
        self
    }

    /// Calls the task's callback on its thread. `None` if there is none.
    pub(crate) fn begin(&self) -> Option<io::Result<()>> {
        self.on_start.as_ref().map(|it| it.call())
    }
}

impl fmt::Debug for ThreadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadOptions")
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .field("on_start", &self.on_start.is_some())
            .finish()
    }
}

/// A callback of the user at the start of a thread.
pub(crate) struct StartCallback {
    setter: &'static str,
    callback: UserValue<Box<dyn Fn() -> io::Result<()> + Send + Sync>>,
}

impl StartCallback {
    pub(crate) fn new(
        setter: &'static str,
        callback: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { setter, callback: UserValue::new(Box::new(callback)) }
    }

    /// Runs it. Its error or panic is named by its setter.
    pub(crate) fn call(&self) -> io::Result<()> {
        unwind::catch(|| (self.callback)().map_err(|error| (error.kind(), chain(&error))))
            .unwrap_or_else(|message| Err((io::ErrorKind::Other, message)))
            // Only the text, because the destructor of the user's error must not run just anywhere.
            .map_err(|(kind, text)| io::Error::new(kind, format!("{} failed: {text}", self.setter)))
    }
}

type StopCallback = dyn Fn() + Send + Sync;

/// The user's settings for all threads of a supervisor.
#[derive(Clone)]
pub(crate) struct ThreadSetup {
    /// The part of thread names that distinguishes this supervisor from others.
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    /// Whether a thread shows the task's name while an attempt runs there.
    pub(crate) by_task: bool,
    /// `None` if the user set no callback.
    pub(crate) callbacks: Option<Arc<ThreadCallbacks>>,
}

/// The user's callbacks on each thread that runs bodies and cancel hooks.
#[derive(Default)]
pub(crate) struct ThreadCallbacks {
    pub(crate) on_start: Option<StartCallback>,
    pub(crate) on_stop: Option<UserValue<Box<StopCallback>>>,
}

/// Linux shows 15 bytes of a thread's name, so what distinguishes it comes first.
const MAX_NAME: usize = 15;

impl ThreadSetup {
    /// To set one of the callbacks, while there is no other reference to them.
    pub(crate) fn callbacks_mut(&mut self) -> &mut ThreadCallbacks {
        let callbacks = self.callbacks.get_or_insert_with(Arc::default);
        Arc::get_mut(callbacks).expect("the builder has the only reference")
    }

    /// Starts a thread of this role.
    pub(crate) fn spawn(
        &self,
        role: &str,
        stack_size: Option<usize>,
        run: impl FnOnce(Arc<str>) + Send + 'static,
    ) -> io::Result<()> {
        spawn(self.name_of(role), stack_size, Box::new(run))
    }

    /// The name of the thread of this role.
    pub(crate) fn name_of(&self, role: &str) -> String {
        shown(&format!("{role}-{}", self.name))
    }

    /// Whether a thread that was refused with this error may be granted later.
    pub(crate) fn may_ever_have(&self, options: &ThreadOptions, error: &io::Error) -> bool {
        let stack_size = options.stack_size.or(self.stack_size).unwrap_or_default();
        error.kind() != io::ErrorKind::InvalidInput && stack_size < MAX_STACK
    }

    /// Whether a thread with these options of a task, or a pooled one, shows the task's name.
    pub(crate) fn shows_task(&self, options: Option<&ThreadOptions>) -> bool {
        self.by_task && options.map_or(true, |it| it.name.is_none())
    }

    /// Starts a thread with a task's options, and with this role in its name if they have none.
    pub(crate) fn spawn_with(
        &self,
        options: &ThreadOptions,
        role: &str,
        run: impl FnOnce(Arc<str>) + Send + 'static,
    ) -> io::Result<()> {
        let name = options.name.as_deref().map_or_else(|| self.name_of(role), shown);
        spawn(name, options.stack_size.or(self.stack_size), Box::new(run))
    }
}

/// Has the system show this name for the calling thread, where that is possible.
#[cfg(all(target_os = "linux", feature = "poll"))]
pub(crate) fn show_as(name: &str) {
    if let Ok(name) = std::ffi::CString::new(shown(name)) {
        // It cannot fail, and only people read it.
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(not(all(target_os = "linux", feature = "poll")))]
pub(crate) const fn show_as(_name: &str) {}

/// The part of a name that the system can take and shows.
fn shown(name: &str) -> String {
    // What prints the name, such as the message of a panic, prints it as it is.
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    name
}

/// No process has more room for one stack than this.
const MAX_STACK: usize = if usize::BITS > 32 { 1 << (usize::BITS - 17) } else { 1 << 31 };

/// Starts a thread that waits for a child process, where the system cannot say by a descriptor that
/// it has ended.
#[cfg(all(unix, feature = "process"))]
pub(crate) fn spawn_waiter(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    const STACK: usize = 128 * 1024;
    spawn("wait-child".to_owned(), Some(STACK), Box::new(|_| run()))
}

/// What a thread runs, with its name.
type Run = Box<dyn FnOnce(Arc<str>) + Send>;

/// The one place where threads are started. What they run is boxed, so that a program contains the
/// code that starts one once.
pub(crate) fn spawn(name: String, stack_size: Option<usize>, run: Run) -> io::Result<()> {
    let shown: Arc<str> = Arc::from(name.as_str());
    let mut builder = thread::Builder::new().name(name);
    if let Some(size) = stack_size {
        builder = builder.stack_size(size);
    }
    builder.spawn(move || run(shown)).map(drop)
}

impl fmt::Debug for ThreadSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadSetup").field("name", &self.name).finish_non_exhaustive()
    }
}
