//! What happens to a group of the reference.

use super::groups_model::{Gate, Mode, Model, Place, Told, TIMEOUT, WITHIN};
use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::time::Time;

impl Model {
    pub(super) fn claim(&mut self, at: usize) {
        let now = self.now;
        let member = &mut self.members[at];
        member.claimed_at = Some(now);
        member.ready |= member.gate == Gate::Claimed;
        let timeout = if member.has_timeout { now.after(TIMEOUT) } else { Time::NEVER };
        let within = if member.gate == Gate::Says { now.after(WITHIN) } else { Time::NEVER };
        self.enter(at, Place::Running, timeout.min(within));
        self.advance();
    }

    /// It says that it is ready. Gives when it is overdue from now on.
    pub(super) fn says(&mut self, at: usize) -> (Time, Time) {
        let claimed_at = self.members[at].claimed_at.expect("it runs");
        let member = &self.members[at];
        let until = if member.has_timeout { claimed_at.after(TIMEOUT) } else { Time::NEVER };
        self.members[at].ready = true;
        self.enter(at, Place::Running, until);
        self.advance();
        (claimed_at, until)
    }

    pub(super) fn returns(&mut self, at: usize, ret: Return) {
        let asked = match self.members[at].place {
            Place::Stopping { stop, .. } => stop,
            _ => None,
        };
        match (self.members[at].place, ret) {
            (Place::Abandoned { over: true }, _) => self.enter(at, Place::Gone, Time::NEVER),
            (_, Return::Fatal) => self.end(at, "fatal", asked.is_none()),
            (Place::Abandoned { .. }, _) => {
                self.restart_others(at, true);
                self.back_off(at);
            }
            (Place::Stopping { told: Told::Stop, .. }, Return::Panicked) => {
                self.end(at, "panicked", false);
            }
            (Place::Stopping { stop: Some(why), .. }, _) => {
                self.end(at, &format!("cancelled by {why}"), false);
            }
            (Place::Stopping { told: Told::Timeout, .. }, _) => self.failed(at, "timed_out"),
            (_, Return::Panicked) => self.failed(at, "panicked"),
            (Place::Stopping { .. }, _) => {
                self.restart_others(at, false);
                self.go_on(at);
            }
            (_, Return::Failed) => self.failed(at, "failed"),
            (_, Return::Cancelled) => self.end(at, "cancelled by by_task", false),
            (_, Return::Ok) => self.succeeded(at),
        }
        self.advance();
    }

    fn succeeded(&mut self, at: usize) {
        self.members[at].streak = 0;
        if self.members[at].gate == Gate::Returned {
            self.members[at].ready = true;
            self.enter(at, Place::Turn, Time::NEVER);
        } else if self.members[at].restart == RestartPolicy::Always {
            self.restart_others(at, false);
            self.go_on(at);
        } else {
            self.end(at, "completed", false);
        }
    }

    pub(super) fn restart(&mut self, at: usize) -> bool {
        match self.members[at].place {
            Place::Running if matches!(self.mode, Mode::Stopping(_)) => return false,
            Place::Running => self.tell(at, Told::Restart, None),
            Place::Backoff | Place::Spacing => return self.skip(at),
            _ => return false,
        }
        self.advance();
        true
    }

    pub(super) fn skip(&mut self, at: usize) -> bool {
        if !matches!(self.members[at].place, Place::Backoff | Place::Spacing) {
            return false;
        }
        self.go_on(at);
        self.advance();
        true
    }

    pub(super) fn stop_one(&mut self, at: usize) {
        self.stop(at, "stop");
        self.advance();
    }

    pub(super) fn stop_group(&mut self) {
        self.stop_all("stop", "");
        self.advance();
    }

    pub(super) fn restart_group(&mut self) -> bool {
        if matches!(self.mode, Mode::Stopping(_) | Mode::Over) {
            return false;
        }
        if !self.members.iter().all(|it| it.back) {
            self.members.iter_mut().for_each(|it| it.back = true);
            self.begin_restart(0, "");
        }
        for at in 0..self.members.len() {
            if self.members[at].place == Place::Backoff {
                self.enter(at, Place::Turn, Time::NEVER);
            }
        }
        self.advance();
        true
    }

    pub(super) fn shut_down(&mut self) {
        self.shutdown = Some(self.now);
        self.stop_all("shutdown", "");
        for at in 0..self.members.len() {
            if let Place::Stopping { stop: Some(_), .. } = self.members[at].place {
                let due = self.members[at].due.min(self.shutdown_ends());
                self.members[at].due = due;
            }
        }
        self.advance();
    }

    /// All timers that are due by now, in the order in which they were set. An abandonment takes an
    /// order and its answer, so those come last, one by one.
    pub(super) fn pass(&mut self, now: Time) {
        self.now = now;
        while let Some(at) = self.due(false) {
            if self.members[at].place == Place::Running {
                self.tell(at, Told::Timeout, None);
            } else {
                self.go_on(at);
            }
        }
        self.advance();
        while let Some(at) = self.due(true) {
            let Place::Stopping { stop, .. } = self.members[at].place else { return };
            self.give_up(at, stop.is_some());
            self.advance();
        }
    }

    fn due(&self, stopping: bool) -> Option<usize> {
        let is_due = |at: &usize| {
            let member = &self.members[*at];
            let stops = matches!(member.place, Place::Stopping { .. });
            member.due <= self.now && stops == stopping
        };
        let due = (0..self.members.len()).filter(is_due);
        due.min_by_key(|&at| (self.members[at].due, self.members[at].set))
    }

    /// The grace is over.
    fn give_up(&mut self, at: usize, stop: bool) {
        let over = stop || self.is_spent(at) || !self.may_retry(at);
        self.members[at].streak += 1;
        self.enter(at, Place::Abandoned { over }, Time::NEVER);
        if over {
            self.said.push(format!("{at} abandoned"));
        } else {
            self.restart_others(at, true);
        }
        if over && !stop {
            self.lost(at);
        }
    }
}
