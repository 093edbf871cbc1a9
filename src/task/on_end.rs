//! The callbacks of `on_end`: one at a time for each task, in the order of their registration.

use std::collections::VecDeque;

use crate::output::outcome::Outcome;
use crate::platform::user_value::UserValue;

pub(crate) type EndCall = UserValue<Box<dyn FnOnce(&Outcome) + Send>>;

/// The callbacks that have not begun.
#[derive(Default)]
pub(crate) struct EndCalls {
    waiting: VecDeque<EndCall>,
    /// The task is over, and a thread runs the callbacks or will.
    due: bool,
}

impl EndCalls {
    pub(super) fn push(&mut self, call: EndCall) {
        self.waiting.push_back(call);
    }

    /// The task is over. True if somebody must now see to the callbacks.
    pub(super) fn fall_due(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.due, true)
    }

    pub(super) fn next(&mut self) -> Option<EndCall> {
        let next = self.waiting.pop_front();
        self.due = next.is_some();
        next
    }
}
