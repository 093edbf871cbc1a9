//! What a script asks of a task by hand.

use core::time::Duration;

use super::rig::{Orders, Rig};
use crate::machine::Input;

impl Rig {
    pub(super) fn skip(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::SkipRequested(task))
    }

    pub(super) fn restart(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::RestartRequested(task))
    }

    pub(super) fn pause(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::PauseRequested(task))
    }

    pub(super) fn resume(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::ResumeRequested(task))
    }

    pub(super) fn set_interval(&mut self, name: &str, interval: Duration) -> Orders {
        let task = self.task(name);
        self.input(Input::IntervalRequested { task, interval })
    }
}
