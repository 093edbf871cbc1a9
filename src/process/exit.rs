//! How a process ended, and what that means for its attempt.

use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::output::error::{TaskError, TaskResult};
use crate::vocabulary::signal::Signal;

/// Says how a process ended: what [`Program::run`](crate::Program::run) returns, and what is in
/// the [`TaskError`] if that is a failure. It is displayed as one sentence, with the last lines
/// that the process has written to standard error, if these were captured.
///
/// ```
/// # use threadvisor::prelude::*;
/// use threadvisor::{ProcessExit, Program};
/// let (ctx, _canceller) = TaskContext::detached();
/// let error = Program::new("sh").args(["-c", "exit 3"]).run(&ctx).unwrap_err();
/// assert_eq!((error.to_string().as_str(), error.exit_code()), ("exit status 3", Some(3)));
/// let exit: &ProcessExit = error.downcast_ref().unwrap();
/// assert_eq!((exit.code, exit.signal), (Some(3), None));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessExit {
    /// The number that the process had.
    pub pid: u32,
    /// Its exit status; `None` if a signal ended it, or if the status was lost.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// How long it ran.
    pub ran: Duration,
    /// The last lines that it has written to standard error, or else to standard output: at most
    /// five, the beginning of each. Empty unless its output was captured, by
    /// [`capture`](crate::Program::capture), [`on_line`](crate::Program::on_line) or
    /// [`output`](crate::Program::output), or to look for a sign in it.
    pub last_lines: Vec<String>,
    /// It was told to end because it has not said that it is ready.
    pub(super) is_unready: bool,
    text: String,
}

/// What is known of a process that has ended.
pub(super) struct Ended {
    pub(super) pid: u32,
    /// `None` if somebody else has reaped it.
    pub(super) status: Option<ExitStatus>,
    pub(super) ran: Duration,
    /// The signal by which it was asked to stop, if it was.
    pub(super) asked: Option<Signal>,
    /// Why this crate killed it, if it did.
    pub(super) killed: Option<String>,
    pub(super) last_lines: Vec<String>,
    /// The sign that did not come, if it was told because of that.
    pub(super) missed: Option<String>,
}

/// Which exit statuses are no failures that may be retried.
#[derive(Default)]
pub(super) struct Codes {
    /// `None` for 0 alone.
    pub(super) success: Option<Vec<u8>>,
    pub(super) fatal: Vec<u8>,
    /// An end that nobody asked for is a failure, whatever the status.
    pub(super) must_not_end: bool,
}

impl Codes {
    pub(super) fn mean_success(&self, code: u8) -> bool {
        self.success.as_ref().map_or(code == 0, |codes| codes.contains(&code))
    }
}

/// The exit status of the process, or the signal that has ended it.
pub(super) fn parts(status: Option<ExitStatus>) -> (Option<u8>, Option<Signal>) {
    let code = status.and_then(|status| u8::try_from(status.code()?).ok());
    (code, status.and_then(|status| status.signal()).map(Signal::from_raw))
}

impl Ended {
    /// The result of the body that has run the process.
    pub(super) fn judge(self, codes: &Codes) -> TaskResult<ProcessExit> {
        let (code, signal) = parts(self.status);
        let core_dumped = self.status.is_some_and(|status| status.core_dumped());
        let mut text = self.text(code, signal, core_dumped);
        let is_success = match (code, signal) {
            (Some(code), _) => codes.mean_success(code),
            (None, Some(signal)) => Some(signal) == self.asked,
            // If it was asked to stop, it has done so.
            (None, None) => self.asked.is_some(),
        };
        let must_not = is_success && codes.must_not_end && self.asked.is_none();
        if must_not {
            text.push_str(", but it must not end");
        }
        let Self { pid, ran, last_lines, missed, .. } = self;
        let is_unready = missed.is_some();
        if let Some(missed) = missed {
            text = if is_success { missed } else { format!("{missed}; {text}") };
        }
        let exit =
            ProcessExit { pid, code, signal, core_dumped, ran, last_lines, is_unready, text };

        if is_success && !must_not {
            return Ok(exit);
        }
        let as_shells_say = signal.map(|signal| 128 + signal.as_raw());
        let is_fatal = code.is_some_and(|code| codes.fatal.contains(&code));
        let error = if is_fatal { TaskError::fatal(exit) } else { TaskError::fail(exit) };
        match code.map(i32::from).or(as_shells_say) {
            Some(number) => Err(error.with_exit_code(number)),
            None => Err(error),
        }
    }

    fn text(&self, code: Option<u8>, signal: Option<Signal>, core_dumped: bool) -> String {
        match (code, signal, &self.killed) {
            (Some(code), _, _) => format!("exit status {code}"),
            (None, Some(Signal::KILL), Some(why)) => why.clone(),
            (None, Some(Signal::KILL), None) if self.asked != Some(Signal::KILL) => {
                "killed by SIGKILL, but not by its supervisor (out of memory?)".to_owned()
            }
            (None, Some(signal), _) => {
                let dump = if core_dumped { " (core dumped)" } else { "" };
                format!("killed by {signal}{dump}")
            }
            (None, None, _) => {
                "exit status unknown: something else in this program reaps its children".to_owned()
            }
        }
    }
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if !self.last_lines.is_empty() {
            write!(f, "; last output: {}", self.last_lines.join(" | "))?;
        }
        Ok(())
    }
}

impl Error for ProcessExit {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: i32) -> Ended {
        Ended {
            pid: 7,
            status: Some(ExitStatus::from_raw(status)),
            ran: Duration::ZERO,
            asked: None,
            killed: None,
            last_lines: Vec::new(),
            missed: None,
        }
    }

    #[test]
    fn a_core_dump_is_told() {
        let judged = |status| of(status).judge(&Codes::default()).unwrap_err();
        let error = judged(0x80 + 11);
        assert_eq!(error.to_string(), "killed by SIGSEGV (core dumped)");
        assert_eq!(error.exit_code(), Some(139));
        assert!(error.downcast_ref::<ProcessExit>().unwrap().core_dumped);
        let error = judged(11);
        assert_eq!(error.to_string(), "killed by SIGSEGV");
        assert!(!error.downcast_ref::<ProcessExit>().unwrap().core_dumped);
    }

    #[test]
    fn the_signal_that_was_sent_is_a_success_and_no_other() {
        let asked = |status, asked| Ended { asked: Some(asked), ..of(status) };
        assert!(asked(15, Signal::TERM).judge(&Codes::default()).is_ok());
        assert!(asked(2, Signal::INT).judge(&Codes::default()).is_ok());
        assert!(asked(1, Signal::TERM).judge(&Codes::default()).is_err());
        assert!(of(15).judge(&Codes::default()).is_err());
        let lost = |asked| Ended { status: None, asked, ..of(0) }.judge(&Codes::default());
        assert!(lost(Some(Signal::TERM)).is_ok());
        assert!(lost(None).is_err());
    }

    #[test]
    fn the_sign_that_was_missed_is_told_with_the_end_that_followed() {
        let late = |status| Ended {
            missed: Some("no output".to_owned()),
            asked: Some(Signal::TERM),
            ..of(status)
        };
        let exit = late(15).judge(&Codes::default()).unwrap();
        assert_eq!((exit.to_string().as_str(), exit.is_unready), ("no output", true));
        let error = late(3 << 8).judge(&Codes::default()).unwrap_err();
        assert_eq!(error.to_string(), "no output; exit status 3");
        assert!(!of(0).judge(&Codes::default()).unwrap().is_unready);
    }

    #[test]
    fn what_must_not_end_has_failed_unless_it_was_asked_to() {
        let codes = Codes { success: Some(vec![0, 5]), fatal: vec![2], must_not_end: true };
        let error = of(0).judge(&codes).unwrap_err();
        assert_eq!(error.to_string(), "exit status 0, but it must not end");
        assert_eq!((error.exit_code(), error.is_fatal()), (Some(1), false), "0 is no failure's");
        assert_eq!(of(5 << 8).judge(&codes).unwrap_err().exit_code(), Some(5));
        assert!(of(2 << 8).judge(&codes).unwrap_err().is_fatal());
        assert_eq!(of(1 << 8).judge(&codes).unwrap_err().to_string(), "exit status 1");
        for status in [0, 5 << 8, 15] {
            let asked = Ended { asked: Some(Signal::TERM), ..of(status) };
            assert!(asked.judge(&codes).is_ok(), "{status}");
        }
    }
}
