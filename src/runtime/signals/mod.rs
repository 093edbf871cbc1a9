//! Signals: handled only if asked for, and with the effect that they had before once there is
//! nothing left to stop.
//!
//! Each module uses only those listed below it.

use std::time::Duration;

/// A signal this soon after the shutdown began, or after another signal, is the same keystroke,
/// delivered twice: to the process group, and by a parent process that forwards it. This is real
/// time, also where tasks live by a clock that is moved by hand.
pub(crate) const ECHO: Duration = Duration::from_millis(300);

#[cfg(all(unix, feature = "signals"))]
mod unix;

#[cfg(all(windows, feature = "signals"))]
mod windows;

#[cfg(all(unix, feature = "signals"))]
mod masks;

#[cfg(all(unix, feature = "signals"))]
pub(crate) use unix::Listener;

#[cfg(all(windows, feature = "signals"))]
pub(crate) use windows::Listener;

/// This system or this build has no signals.
#[cfg(not(all(any(unix, windows), feature = "signals")))]
pub(crate) enum Listener {}

#[cfg(not(all(any(unix, windows), feature = "signals")))]
impl Listener {
    pub(crate) fn start(
        end: Option<&'static str>,
        _hooks: &[i32],
        _options: &crate::platform::threads::ThreadSetup,
        _door: &std::sync::Arc<crate::task::door::Door>,
    ) -> Result<Self, crate::output::setting_errors::StartError> {
        Err(crate::output::setting_errors::StartError::Unsupported(end.unwrap_or("on_signal")))
    }
}
