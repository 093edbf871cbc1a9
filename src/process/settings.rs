//! What a program was told about its processes.

use std::cell::Cell;
use std::time::Duration;

use super::exit::Codes;
use super::lines::MIN_LINE;
use super::ready::ReadySign;
use crate::output::setting_errors::InvalidSetting;
use crate::platform::children::{has_name, Whom};
use crate::vocabulary::signal::Signal;

pub(super) struct Settings {
    pub(super) stop_signal: Signal,
    /// `None` for two thirds of the grace.
    pub(super) stop_timeout: Option<Duration>,
    pub(super) stop_whom: Whom,
    pub(super) leave_helpers: bool,
    pub(super) codes: Codes,
    pub(super) output: Listening,
    pub(super) reload_signal: Signal,
    pub(super) ready_by: Option<ReadySign>,
    /// It is a service, and none of its processes has ended yet.
    pub(super) is_new: Cell<bool>,
    /// It was said that its output was not read to its end.
    pub(super) has_warned: Cell<bool>,
}

/// What is done with what they write.
pub(super) struct Listening {
    pub(super) capture: bool,
    pub(super) merge_stderr: bool,
    pub(super) max_line: usize,
    pub(super) heartbeat: bool,
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let Self { codes, output, .. } = self;
        if let Some(code) = codes.fatal.iter().find(|code| codes.mean_success(**code)) {
            let remedy = "leave it out, or set success_codes (by default 0) without it";
            return Err(InvalidSetting::new("fatal_codes", code, remedy));
        }
        if output.max_line < MIN_LINE {
            let remedy = "give at least 16 bytes";
            return Err(InvalidSetting::new("max_line", output.max_line, remedy));
        }
        let signals = [("stop_signal", self.stop_signal), ("reload_signal", self.reload_signal)];
        match signals.into_iter().find(|(_, signal)| !has_name(*signal)) {
            Some((field, signal)) => {
                let remedy = "choose one that has a name; others cannot be sent";
                Err(InvalidSetting::new(field, signal.as_raw(), remedy))
            }
            None => Ok(()),
        }
    }

    /// Whether the output is needed, even if nobody is told of it.
    pub(super) const fn hears(&self) -> bool {
        let sign = matches!(self.ready_by, Some(ReadySign::FirstOutput | ReadySign::Line(_)));
        sign || self.output.heartbeat
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stop_signal: Signal::TERM,
            stop_timeout: None,
            stop_whom: Whom::Group,
            leave_helpers: false,
            codes: Codes::default(),
            output: Listening {
                capture: false,
                merge_stderr: false,
                max_line: 8 * 1024,
                heartbeat: false,
            },
            reload_signal: Signal::HUP,
            ready_by: None,
            is_new: Cell::new(false),
            has_warned: Cell::new(false),
        }
    }
}
