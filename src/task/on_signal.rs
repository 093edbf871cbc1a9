//! The hooks of `on_signal`: one at a time for each signal, and a signal that comes meanwhile is
//! remembered once.
//!
//! ```text
//! Idle ──ask──► Waiting ──begin──► Running ──ask──► Again
//!   ▲              ▲                  │ end            │ end
//!   └──────────────┼──────────────────┘                │
//!                  └────────────────────────────────────┘
//! ```

use std::time::Duration;

use crate::platform::sync::Mutex;
use crate::task::hook::Hook;
use crate::vocabulary::signal::Signal;

pub(crate) struct SignalHook {
    pub(crate) signal: Signal,
    hook: Hook,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting,
    Running,
    Again,
}

impl SignalHook {
    pub(crate) fn new(signal: Signal, call: impl FnMut() + Send + 'static) -> Self {
        // A nudge stays armed after a run; when it runs again is decided here.
        let hook = Hook::nudge(Duration::ZERO, call);
        Self { signal, hook, phase: Mutex::new(Phase::Idle) }
    }

    /// The signal has come. True if the hook now waits for a thread.
    pub(crate) fn ask(&self) -> bool {
        let mut phase = self.phase.lock();
        let before = *phase;
        *phase = match before {
            Phase::Idle | Phase::Waiting => Phase::Waiting,
            Phase::Running | Phase::Again => Phase::Again,
        };
        before == Phase::Idle
    }

    /// Runs the hook on this thread, which has taken it up. Returns the messages of its panics.
    pub(crate) fn run(&self) -> Vec<String> {
        *self.phase.lock() = Phase::Running;
        self.hook.run()
    }

    /// The run is over. True if the signal has come again, so that the hook waits for a thread.
    pub(crate) fn end(&self) -> bool {
        let mut phase = self.phase.lock();
        let again = *phase == Phase::Again;
        *phase = if again { Phase::Waiting } else { Phase::Idle };
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_while_its_hook_runs_is_remembered_once() {
        let hook = SignalHook::new(Signal::HUP, || {});
        assert!(hook.ask());
        assert!(!hook.ask(), "one that waits will see it");
        assert!(hook.run().is_empty());
        assert!(!hook.ask());
        assert!(!hook.ask());
        assert!(hook.end());
        assert!(!hook.ask(), "it waits again");
        assert!(hook.run().is_empty());
        assert!(!hook.end());
        assert!(hook.ask());
    }

    #[test]
    fn a_hook_that_panics_runs_at_the_next_signal_too() {
        let hook = SignalHook::new(Signal::HUP, || panic!("on purpose"));
        for _ in 0..2 {
            assert!(hook.ask());
            assert_eq!(hook.run(), ["on purpose"]);
            assert!(!hook.end());
        }
    }
}
