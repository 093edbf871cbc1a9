//! The settings of a supervisor that are about its threads.

use std::io;

use crate::api::builder::SupervisorBuilder;
use crate::platform::threads::StartCallback;
use crate::platform::user_value::UserValue;

impl SupervisorBuilder {
    /// Sets the last part of the names of all threads. Linux shows 15 bytes of a thread's name, so
    /// the part that distinguishes threads comes first, as in `w3-NAME`. Default: `threadvisor`.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().thread_name("gateway").start()?;
    /// let task = TaskSpec::once("task", |_| {
    ///     assert_eq!(std::thread::current().name(), Some("w1-gateway"));
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(task)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.threads.name = name.into();
        self
    }

    /// Makes each worker show the name of the task whose attempt it runs, in place of its own: in
    /// `top -H`, `ps -T`, gdb and `perf`. Only the first 15 bytes of the name are shown, so what
    /// distinguishes tasks should come first. When the attempt is over, the worker shows its own
    /// name again. A dedicated thread with a [name](crate::ThreadOptions::name) of its own keeps
    /// it.
    ///
    /// Only what the system shows changes: in events, reports and
    /// [`Thread::name`](std::thread::Thread::name), workers have their own names. This takes two
    /// system calls for each attempt. Default: workers always show their own names.
    ///
    /// Only Linux can do that; on other systems this setting has no effect.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # if cfg!(not(target_os = "linux")) { return Ok(()); }
    /// let supervisor = Supervisor::builder().name_threads_by_task().start()?;
    /// let task = TaskSpec::once("read-sensor", |_| {
    ///     assert_eq!(std::fs::read_to_string("/proc/thread-self/comm")?, "read-sensor\n");
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(task)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "poll")]
    pub fn name_threads_by_task(mut self) -> Self {
        self.threads.by_task = true;
        self
    }

    /// Sets the stack size, in bytes, of the threads that run user code. Default: 2 MiB, as in the
    /// standard library. Only the part that is used takes memory. [`start`](Self::start) fails if
    /// the system refuses a thread with that stack size.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().stack_size(16 << 20).start()?;
    /// let deep = TaskSpec::once("deep", |_| {
    ///     let frame = std::hint::black_box([1_u8; 3 << 20]); // more than 2 MiB
    ///     assert_eq!(frame[0], 1);
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(deep)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.threads.stack_size = Some(bytes);
        self
    }

    /// Calls `callback` on each thread that runs bodies and cancel hooks, before anything else runs
    /// there. Use it to set the thread's priority or affinity, for example, or to attach it to a
    /// virtual machine. For the threads of a single task there is
    /// [`ThreadOptions::on_start`](crate::ThreadOptions::on_start).
    ///
    /// If the callback fails or panics, the thread counts as refused: an event reports it, the
    /// supervisor tries another thread later, and nothing is lost. On a thread of
    /// [`prespawn`](Self::prespawn), it is an error of [`start`](Self::start). If the callback
    /// takes longer than 1 s on a pooled or dedicated thread, another is started in place of that
    /// thread, for up to 8 such threads at a time.
    ///
    /// Every thread inherits the scheduling policy and priority of the thread that calls
    /// [`start`](Self::start). If that is a real-time thread, set the policy of the workers back
    /// here.
    ///
    /// The channels and locks between the threads ignore priorities. A thread with a real-time
    /// policy may have to wait for a preempted thread with a lower priority. On a single core it
    /// waits until the kernel's throttling lets that thread run (`sched_rt_runtime_us`, by default
    /// within a second).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # use std::cell::Cell;
    /// thread_local!(static ATTACHED: Cell<bool> = const { Cell::new(false) });
    /// let supervisor = Supervisor::builder()
    ///     .on_thread_start(|| Ok(ATTACHED.set(true)))
    ///     .on_thread_stop(|| ATTACHED.set(false))
    ///     .start()?;
    /// let task = TaskSpec::once("task", |_| {
    ///     assert!(ATTACHED.get());
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(task)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_thread_start(
        mut self,
        callback: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let callback = StartCallback::new("on_thread_start", callback);
        self.threads.callbacks_mut().on_start = Some(callback);
        self
    }

    /// Calls `callback` on each thread on which `on_thread_start` succeeded, just before the
    /// thread ends.
    pub fn on_thread_stop(mut self, callback: impl Fn() + Send + Sync + 'static) -> Self {
        self.threads.callbacks_mut().on_stop = Some(UserValue::new(Box::new(callback)));
        self
    }

    /// Starts `workers` threads together with the supervisor and never retires them. Use it on
    /// systems that may refuse a thread later: one for each body that runs at once, and one for
    /// what else workers do, such as hooks. If many hooks, callbacks or destructors come at once,
    /// or take milliseconds, more are started for them: see
    /// [threads](crate::guide::embedded#threads-and-wake-ups). Default: 0.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().prespawn(2).start()?;
    /// let workers = supervisor.handle().snapshot()?.workers;
    /// assert_eq!(workers.threads, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prespawn(mut self, workers: usize) -> Self {
        self.prespawn = workers;
        self
    }
}
