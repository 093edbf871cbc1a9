//! What a handle can do with the process of its task.

use crate::api::task_handle::TaskHandle;
use crate::vocabulary::signal::Signal;

/// These methods need Unix and the feature `process`.
impl TaskHandle {
    /// Returns the number of the process that the task's body runs; `None` if it runs none. Of
    /// several, it is the oldest.
    ///
    /// The process may have ended by the time the caller uses the number; to send a signal, use
    /// [`signal`](Self::signal), which never meets a stranger.
    pub fn pid(&self) -> Option<u32> {
        self.record.door.children.pid_of(self.id())
    }

    /// Sends a signal to the process that the task's body runs, and not to its helpers. Returns
    /// whether it was sent: false if no process runs, and for a signal that has no name. Nothing
    /// else happens: if the process ends because of the signal, it has ended by itself.
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

    /// Asks the process that the task's body runs to read its configuration anew, with the
    /// [`reload_signal`](crate::Program::reload_signal) of its program. Returns whether the signal
    /// was sent, as [`signal`](Self::signal) does.
    pub fn reload(&self) -> bool {
        self.signal_process(None)
    }

    /// A child that was forked from this process has no say in it.
    fn signal_process(&self, signal: Option<Signal>) -> bool {
        let door = &self.record.door;
        !door.is_forked() && door.children.signal_oldest_of(self.id(), signal)
    }
}
