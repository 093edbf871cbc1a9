//! What users do with the processes of tasks: a handle signals them, and a supervisor hands on what
//! they write.

use crate::api::builder::SupervisorBuilder;
use crate::api::task_handle::TaskHandle;
use crate::output::output_line::OutputLine;
use crate::platform::user_value::UserValue;
use crate::vocabulary::signal::Signal;

/// These methods need Unix and the feature `process`.
impl TaskHandle {
    /// Returns the number of the process that the task's body runs; `None` if it runs none. Of
    /// several, it is the oldest.
    ///
    /// The process may have ended by the time the caller uses the number; to send a signal, use
    /// [`signal`](Self::signal), which never meets a stranger, unless other code of the program
    /// reaps its children.
    pub fn pid(&self) -> Option<u32> {
        let door = &self.record.door;
        (!door.is_forked()).then(|| door.children.pid_of(self.id())).flatten()
    }

    /// Sends a signal to the process that the task's body runs, and not to its helpers. Returns
    /// whether it was sent: false if no process runs, and for a signal that has no name. Nothing
    /// else happens: if the process ends because of the signal, it counts as ended by itself.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program, Signal};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let sleeper = TaskSpec::process("sleeper", Program::new("sleep").arg("1000"));
    /// let sleeper = supervisor.handle().add(sleeper.restart(RestartPolicy::Never))?;
    /// while sleeper.pid().is_none() { std::thread::yield_now() }
    /// assert!(sleeper.signal(Signal::INT));
    /// assert_eq!(sleeper.wait()?.to_string(), "failed: killed by SIGINT");
    /// assert!(!sleeper.signal(Signal::INT));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "kill")]
    pub fn signal(&self, signal: Signal) -> bool {
        self.signal_process(Some(signal))
    }

    /// Asks the process that the task's body runs to reload its configuration, with the
    /// [`reload_signal`](crate::Program::reload_signal) of its program. Returns whether the signal
    /// was sent, as [`signal`](Self::signal) does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Program, ReadySign};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let server = "trap 'exit 7' HUP; echo listening; while :; do sleep 0.01; done";
    /// let server = Program::new("sh").args(["-c", server]);
    /// let server = server.ready_by(ReadySign::Line("listening".into()));
    /// let server = TaskSpec::process("server", server).restart(RestartPolicy::Never);
    /// let server = supervisor.handle().add(server)?;
    /// # while !supervisor.handle().snapshot()?.tasks[0].ready { std::thread::yield_now() }
    /// assert!(server.reload()); // SIGHUP, which most servers take as a request to reload
    /// assert!(server.wait()?.to_string().starts_with("failed: exit status 7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reload(&self) -> bool {
        self.signal_process(None)
    }

    /// A child that was forked from this process has no say in it.
    fn signal_process(&self, signal: Option<Signal>) -> bool {
        let door = &self.record.door;
        !door.is_forked() && door.children.signal_oldest_of(self.id(), signal)
    }
}

/// This method needs Unix and the feature `process`.
impl SupervisorBuilder {
    /// Calls `callback` with each line that a process writes whose program is set to
    /// [`capture`](crate::Program::capture), on a thread of its own, `out-NAME`. Of this setting,
    /// the last call counts.
    ///
    /// A slow callback delays neither a process nor an event: once 4096 lines or 1 MiB wait for it,
    /// further lines are lost, and the next one that is not says [how many](OutputLine::lost). The
    /// lines that wait when the last task has ended are handed on within the event flush; how many
    /// are left then is logged. The wait of
    /// [`flush_events`](crate::SupervisorHandle::flush_events) is not for lines. A panic of the
    /// callback is a [`SubscriberPanicked`](crate::EventKind::SubscriberPanicked).
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// let (send, lines) = std::sync::mpsc::channel();
    /// let supervisor = Supervisor::builder()
    ///     .on_output(move |line| drop(send.send(line.to_string())))
    ///     .start()?;
    /// let list = Program::new("echo").arg("hello").capture();
    /// supervisor.handle().add(TaskSpec::process("list", list))?;
    /// assert_eq!(lines.recv()?, "list: hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_output(mut self, callback: impl FnMut(&OutputLine<'_>) + Send + 'static) -> Self {
        self.output = Some(UserValue::new(Box::new(callback)));
        self
    }
}
