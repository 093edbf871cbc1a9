//! What a program was told about its processes.

use std::cell::Cell;
use std::time::Duration;

use super::exit::Codes;
use super::ready::ReadySign;
use crate::platform::children::Whom;
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
