//! The settings of a supervisor about signals.

use std::sync::Arc;
use std::time::Duration;

use crate::api::builder::SupervisorBuilder;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::setting_errors::StartError;
use crate::platform::user_value::UserValue;
use crate::runtime::signals::Listener;
use crate::task::door::Door;
use crate::task::on_signal::SignalHook;
use crate::vocabulary::signal::Signal;

impl SupervisorBuilder {
    /// Shuts the supervisor down on SIGINT and SIGTERM. A second signal makes the grace zero. After
    /// that, and after the supervisor has ended, the signals have the effect again that they had
    /// before. Of several supervisors with this setting in one process, each hears of every signal,
    /// and the former effect comes back once none listens any more. Without this setting, no
    /// handler is ever installed.
    ///
    /// A signal does not count within 300 ms (of real time) after the last one that did, because a
    /// Ctrl-C often arrives twice, nor within 300 ms after the shutdown began.
    ///
    /// A handler that the program had installed before is called as well, before the supervisor
    /// hears of the signal. One that the program installs later with `sigaction` takes the signal
    /// away from the supervisor. Do not register one with the crate `signal-hook` while or after a
    /// supervisor listens, for a signal that had its default effect until then: once the
    /// supervisors have ended, that effect comes first.
    ///
    /// On Linux, a signal that is ignored at the start stays ignored, which is logged. Elsewhere,
    /// every signal is taken to have had its default effect.
    ///
    /// On Windows, Ctrl-C and Ctrl-Break in the console of the program mean shutdown, and count as
    /// SIGINT. Their former effect does not come back: they go to the supervisors that
    /// listen and, once none does, are ignored, so that they no longer end the program. Windows
    /// ends a program right after it was told that its console is closed or that the user logs off:
    /// there is no time for a shutdown. Every supervisor of the process shares one handler, which
    /// the crate `ctrlc` installs. A program that has used that crate itself gets the error
    /// `Signals`.
    ///
    /// This setting needs Unix or Windows, and the feature `signals`; otherwise
    /// [`start`](Self::start) returns `Unsupported`.
    #[doc(alias = "ctrl_c")]
    #[doc(alias = "SIGTERM")]
    pub fn shutdown_on_signals(mut self) -> Self {
        (self.signals, self.signal_drain) = (Some("shutdown_on_signals"), None);
        self
    }

    /// Begins a [drain](crate::Supervisor::drain) on SIGINT and SIGTERM. A second signal begins the
    /// shutdown at once, and a third one makes the grace zero. What
    /// [`shutdown_on_signals`](Self::shutdown_on_signals) says of signals holds here as well. Of
    /// these two settings, the last one counts. `None` sets no limit.
    ///
    /// The drain works off what waits for a slot, a class or a retry, too, and waits up to `limit`
    /// for a stuck thread whose task has no outcome yet, and for what is queued behind it. It does
    /// not wait for tasks that repeat: those under `Always`, `every` or `repeat_after`.
    ///
    /// Give less than the time after which the service manager kills, less the
    /// [`grace`](Self::grace) and the event flush.
    ///
    /// A body that ignores the shutdown which follows the drain is abandoned; if nothing else
    /// failed, the [exit code](crate::RunReport::exit_code) is then 70. A task that failed at any
    /// time before the signal counts as well. See [a server that
    /// drains](crate::guide::waking#a-server-that-drains) for how an idle connection learns of it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # if cfg!(not(all(unix, feature = "signals"))) { return Ok(()); }
    /// let supervisor = Supervisor::builder().drain_on_signals(Duration::from_secs(20)).start()?;
    /// let server = TaskSpec::once("server", |_| Ok(())); // ends before any signal
    /// assert!(supervisor.run([server])?.shutdown.drain.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "graceful")]
    pub fn drain_on_signals(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into().unwrap_or(Duration::MAX);
        (self.signals, self.signal_drain) = (Some("drain_on_signals"), Some(limit));
        self
    }

    /// Calls `callback` when the process gets this signal: for example to reload the configuration.
    /// The signal can also be given as a number, such as `libc::SIGHUP`. Each signal can have one
    /// callback. A second one is an error of [`start`](Self::start), and so is one for SIGINT or
    /// SIGTERM beside [`shutdown_on_signals`](Self::shutdown_on_signals) or
    /// [`drain_on_signals`](Self::drain_on_signals). Without these two settings, the callbacks of
    /// SIGINT and SIGTERM decide what happens, as in the second example.
    ///
    /// It runs on a worker, or on `hook-NAME` if none takes it within 5 ms, and is treated as a
    /// cancel hook: it needs no permit, an event says that it panicked or takes over 100 ms, and
    /// one that outlives the supervisor's [`grace`](Self::grace) counts as stuck and is named in
    /// the [snapshot](crate::Snapshot::stuck_hooks) and the
    /// [report](crate::ShutdownReport::stuck_hooks). For each signal one call runs at a time; a
    /// signal that comes in the meantime is remembered once. No call starts once a shutdown has
    /// begun.
    ///
    /// For the effect that the signal has after the supervisor, for ignored signals and for other
    /// handlers, the same holds as for [`shutdown_on_signals`](Self::shutdown_on_signals).
    /// Real-time signals need a handler of the program, because their default effect cannot be
    /// restored. This setting needs Unix and the feature `signals`; otherwise
    /// [`start`](Self::start) returns `Unsupported`.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Signal};
    /// # if cfg!(not(all(unix, feature = "signals"))) { return Ok(()); }
    /// let supervisor = Supervisor::builder()
    ///     .shutdown_on_signals()
    ///     .on_signal(Signal::HUP, |supervisor| {
    ///         if let Some(server) = supervisor.owner("server") {
    ///             server.restart();
    ///         }
    ///     })
    ///     .start()?;
    /// assert!(supervisor.handle().snapshot()?.stuck_hooks.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Here, the first Ctrl-C or SIGTERM begins a drain, and the second one stops at once. No
    /// signal is ignored because it comes soon after another, none makes the grace zero, and the
    /// cause of the shutdown is `Requested`, so the exit code is not 130:
    /// ```
    /// # use threadvisor::{prelude::*, Signal};
    /// # if cfg!(not(all(unix, feature = "signals"))) { return Ok(()); }
    /// let end = |supervisor: &SupervisorHandle| match supervisor.is_draining() {
    ///     false => supervisor.request_drain(None),
    ///     true => supervisor.request_shutdown(),
    /// };
    /// let builder = Supervisor::builder().on_signal(Signal::INT, end);
    /// let supervisor = builder.on_signal(Signal::TERM, end).start()?;
    /// # let own = std::process::id().to_string();
    /// # assert!(std::process::Command::new("kill").args(["-TERM", &own]).status()?.success());
    /// let report = supervisor.wait_shutdown()?; // once a signal has come
    /// assert!(report.shutdown.drain.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SIGHUP")]
    pub fn on_signal(
        mut self,
        signal: impl Into<Signal>,
        callback: impl FnMut(&SupervisorHandle) + Send + 'static,
    ) -> Self {
        self.signal_hooks.push((signal.into(), UserValue::new(Box::new(callback))));
        self
    }

    pub(super) fn listen(
        &mut self,
        door: &Arc<Door>,
    ) -> Result<(Option<Listener>, Vec<Arc<SignalHook>>), StartError> {
        if self.signals.is_none() && self.signal_hooks.is_empty() {
            return Ok((None, Vec::new()));
        }
        let signals: Vec<_> = self.signal_hooks.iter().map(|(signal, _)| signal.as_raw()).collect();
        let listener = Listener::start(self.signals, &signals, &self.threads, door)?;
        let hooks = self.signal_hooks.drain(..).map(|(signal, mut callback)| {
            let handle = SupervisorHandle::new(Arc::clone(door));
            Arc::new(SignalHook::new(signal, move || callback(&handle)))
        });
        Ok((Some(listener), hooks.collect()))
    }
}
