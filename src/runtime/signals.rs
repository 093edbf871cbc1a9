//! Signals: handled only if asked for, and with their default effect again once there is nothing
//! left to stop.

#[cfg(all(unix, feature = "signals"))]
pub(crate) use unix::Listener;

/// This system or this build has no signals.
#[cfg(not(all(unix, feature = "signals")))]
pub(crate) enum Listener {}

#[cfg(not(all(unix, feature = "signals")))]
impl Listener {
    pub(crate) fn start(
        _options: &crate::platform::threads::ThreadSetup,
        _door: &std::sync::Arc<crate::task::door::Door>,
    ) -> Result<Self, crate::output::error::StartError> {
        Err(crate::output::error::StartError::Unsupported("shutdown_on_signals"))
    }
}

#[cfg(all(unix, feature = "signals"))]
mod unix {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::{Handle, Signals};

    use crate::output::error::StartError;
    use crate::platform::sync::Mutex;
    use crate::platform::threads::ThreadSetup;
    use crate::task::door::Door;
    use crate::task::request::Request;

    /// Listens for SIGINT and SIGTERM until dropped. Then, if no other listener is left in the
    /// process, the signals have their default effect again.
    pub(crate) struct Listener {
        handle: Handle,
        default_effect: Arc<AtomicBool>,
    }

    /// Signals belong to the process, so all its supervisors share this state.
    struct Process {
        listeners: usize,
        /// While true, the signals act as if no handler had ever been installed.
        default_effect: Option<Arc<AtomicBool>>,
    }

    static PROCESS: Mutex<Process> = Mutex::new(Process { listeners: 0, default_effect: None });

    impl Listener {
        pub(crate) fn start(options: &ThreadSetup, door: &Arc<Door>) -> Result<Self, StartError> {
            let wanted: Vec<_> =
                [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)).collect();
            let default_effect = enter(&wanted).map_err(StartError::Signals)?;
            let started = Self::listen(&wanted, options, door);
            match started {
                Ok(handle) => Ok(Self { handle, default_effect }),
                Err(error) => {
                    leave(&default_effect);
                    Err(error)
                }
            }
        }

        fn listen(
            wanted: &[i32],
            options: &ThreadSetup,
            door: &Arc<Door>,
        ) -> Result<Handle, StartError> {
            let mut signals = Signals::new(wanted).map_err(StartError::Signals)?;
            let handle = signals.handle();
            let door = Arc::clone(door);
            let spawned = options.spawn("sig", Some(STACK), move |_| {
                crate::task::current::belong_to(&door);
                for signal in signals.forever() {
                    door.send(Request::Signal(signal));
                }
            });
            spawned.map_err(|source| StartError::Thread { name: "sig".to_owned(), source })?;
            Ok(handle)
        }
    }

    /// No user code runs on the thread that waits for signals.
    const STACK: usize = 128 * 1024;

    impl Drop for Listener {
        fn drop(&mut self) {
            leave(&self.default_effect);
            self.handle.close();
        }
    }

    /// The default effect must be registered before anything else, and only once per process,
    /// because a second registration would outlive the first listener.
    fn enter(signals: &[i32]) -> io::Result<Arc<AtomicBool>> {
        let mut process = PROCESS.lock();
        let flag = if let Some(flag) = &process.default_effect {
            Arc::clone(flag)
        } else {
            let flag = Arc::new(AtomicBool::new(false));
            for &signal in signals {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
            }
            process.default_effect = Some(Arc::clone(&flag));
            flag
        };
        process.listeners += 1;
        flag.store(false, Ordering::SeqCst);
        Ok(flag)
    }

    fn leave(flag: &AtomicBool) {
        let mut process = PROCESS.lock();
        process.listeners -= 1;
        if process.listeners == 0 {
            flag.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the process was started with this signal ignored, as shells do for background jobs;
    /// such a signal stays ignored. Without unsafe code, only Linux can say so.
    fn is_ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
    }
}
