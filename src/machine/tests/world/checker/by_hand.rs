//! What is asked by hand: a pause, its end, another interval or limit of a class.

use super::Checker;
use crate::machine::{Answer, Effect, Input, Notice};
use crate::vocabulary::id::TaskAddr;

impl Checker {
    pub(super) fn asked_by_hand(&mut self, input: &Input, effects: &[Effect]) {
        let taken = effects.contains(&Effect::Answer(Answer::Taken(true)));
        let first = effects.first();
        let fits = match *input {
            Input::PauseRequested(task) => {
                taken == (first == Some(&Effect::Publish(Notice::TaskPaused { task })))
            }
            Input::ResumeRequested(task) => {
                taken == (first == Some(&Effect::Publish(Notice::TaskResumed { task })))
            }
            Input::IntervalRequested { task, interval } => {
                if taken {
                    self.record(task).interval_set(interval);
                }
                true
            }
            Input::ClassLimitRequested { class, limit } => {
                self.classes.set_limit(class, limit);
                true
            }
            _ => unreachable!("{input:?} is asked otherwise"),
        };
        assert!(fits, "{input:?} led to {effects:?}");
        if let (Input::PauseRequested(task), true) = (input, taken) {
            let now = self.now;
            self.record(*task).paused(now);
            if self.is_draining() {
                self.part_with_residents(effects);
            }
        }
    }

    /// A paused task waits for no permit, and holds none of its class while it does not run.
    pub(super) fn gives_up_place(&mut self, task: TaskAddr) {
        let record = self.record(task);
        let (class, is_live) = (record.plan.class, record.is_live());
        if !is_live {
            self.permits.close(task.id, false);
            self.classes.close(class, task.id, false);
        }
    }
}
