//! What callers ask of a task by hand: its next attempt now, a fresh attempt, a pause, another
//! interval.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::effect::{Answer, Effect, Notice};
use super::step::Machine;
use super::task::{Started, State, Wait};
use crate::vocabulary::id::{TaskAddr, TaskKey};
use crate::vocabulary::plan::{BodyKind, Interval};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

impl Machine {
    /// Serves a request about a task, and answers false if the task no longer exists.
    pub(super) fn answer(
        &mut self,
        task: TaskAddr,
        out: &mut Vec<Effect>,
        serve: impl FnOnce(&mut Self, TaskKey, &mut Vec<Effect>) -> bool,
    ) {
        let taken = self.find_task(task).is_some_and(|key| serve(self, key, out));
        out.push(Effect::Answer(Answer::Taken(taken)));
    }

    /// Starts the next attempt now. False unless the task is Waiting, and neither paused nor a
    /// member that waits for its phase. Whoever asks has probably mended the cause, so the delays
    /// begin anew.
    pub(super) fn skip_wait(&mut self, key: TaskKey, out: &mut Vec<Effect>) -> bool {
        let task = self.task_mut(key);
        let State::Waiting(wait) = task.state else { return false };
        if matches!(wait, Wait::Paused | Wait::Phase) {
            return false;
        }
        task.begin_delays_anew();
        let spacing = task.spacing_until();
        if spacing > self.now && !self.is_held(key) {
            self.enter(key, State::Waiting(Wait::Spacing), spacing);
        } else {
            self.end_wait(key, out);
        }
        true
    }

    /// Ends this attempt and starts the next one, without counting a failure. False unless the task
    /// is Running or Waiting, or if nothing would follow because its group stops.
    pub(super) fn restart(&mut self, key: TaskKey, out: &mut Vec<Effect>) -> bool {
        match self.tasks[key].state {
            State::Running { .. } if self.tasks[key].plan.body == BodyKind::Once => false,
            State::Running { .. } if self.group_stops(key) => false,
            State::Running { .. } if self.stop_of(key, None).is_some() => false,
            State::Running { claimed_at, .. } => {
                self.task_mut(key).begin_delays_anew();
                self.tell(key, claimed_at, CancelReason::Restart, None, out);
                true
            }
            State::Waiting(_) => self.skip_wait(key, out),
            State::Intake
            | State::Queued
            | State::Runnable
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Abandoned { .. }
            | State::Closing(_)
            | State::Over => false,
        }
    }

    /// From now on no attempt is offered to a thread. False if that is so already, if none will be
    /// anyway, or for a member of a group, on which others may rely.
    pub(super) fn pause(&mut self, key: TaskKey, out: &mut Vec<Effect>) -> bool {
        let now = self.now;
        let task = self.task_mut(key);
        if task.paused || task.is_member() || !task.state.may_go_on() {
            return false;
        }
        if let Started::Ahead { expires_at } = &mut task.started {
            // Its expiry stands still. An initial delay does not count either.
            let initial = task.state == State::Waiting(Wait::InitialDelay);
            let since = if initial { task.since } else { now };
            *expires_at = Time::ZERO.after(since.until(*expires_at));
        }
        task.paused = true;

        Self::publish(out, Notice::TaskPaused { task: task.addr });
        match task.state {
            State::Runnable => {
                self.leave_line(key, false);
                self.enter(key, State::Waiting(Wait::Paused), Time::NEVER);
                self.return_class(key, out);
            }
            State::Waiting(_) => self.enter(key, State::Waiting(Wait::Paused), Time::NEVER),
            State::Queued | State::Starting { .. } => self.timers.clear(key),
            State::Running { .. }
            | State::Stopping { .. }
            | State::Abandoned { .. }
            | State::Intake
            | State::Closing(_)
            | State::Over => {}
        }
        self.part_later();
        true
    }

    /// Ends a pause: a task that waits starts now, or at the next point of its grid. False if there
    /// is no pause.
    pub(super) fn resume(&mut self, key: TaskKey, out: &mut Vec<Effect>) -> bool {
        let now = self.now;
        let task = self.task_mut(key);
        if !task.is_paused() {
            return false;
        }
        task.paused = false;
        task.begin_delays_anew();
        task.begin_patience_anew();
        if let Started::Ahead { expires_at } = &mut task.started {
            *expires_at = now.after(expires_at.since_start());
        }

        Self::publish(out, Notice::TaskResumed { task: task.addr });
        match task.state {
            State::Waiting(_) => {
                let (wait, due) = match task.plan.interval {
                    Interval::Rate(_) if task.has_started() => {
                        (Wait::Interval, task.next_run_at(now))
                    }
                    Interval::None | Interval::Delay(_) | Interval::Rate(_) => (Wait::Spacing, now),
                };
                (task.state, task.since) = (State::Waiting(wait), now);
                self.wait_until(key, due, out);
            }
            State::Queued | State::Starting { expired: false, .. } => {
                let expiry = task.expiry();
                self.timers.set(key, expiry);
            }
            State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Abandoned { .. }
            | State::Intake
            | State::Runnable
            | State::Closing(_)
            | State::Over => {}
        }
        true
    }

    /// Gives a task another interval. False if it has none, or if nothing follows anyway. The grid
    /// is anchored anew at the next start, and a wait between two runs ends as if the interval had
    /// been the same when it began.
    pub(super) fn set_interval(
        &mut self,
        key: TaskKey,
        interval: Duration,
        out: &mut Vec<Effect>,
    ) -> bool {
        let task = self.task_mut(key);
        let new = match task.plan.interval {
            Interval::None => return false,
            Interval::Delay(_) => Interval::Delay(interval),
            Interval::Rate(_) => Interval::Rate(interval),
        };
        if interval.is_zero() || !task.state.may_go_on() {
            return false;
        }
        Arc::make_mut(&mut task.plan).interval = new;
        task.anchor = Time::NEVER;

        if let State::Waiting(wait) = task.state {
            match wait {
                Wait::Interval => {
                    let due = task.next_run_at(task.since);
                    self.wait_until(key, due, out);
                }
                Wait::Backoff { until } => {
                    let due = task.retry_at(task.since, until);
                    self.wait_until(key, due, out);
                }
                Wait::InitialDelay | Wait::Spacing | Wait::Paused | Wait::Phase => {}
            }
        }
        true
    }

    /// Lets a waiting task start then, or now if that has passed, but not too close to its last
    /// start.
    fn wait_until(&mut self, key: TaskKey, due: Time, out: &mut Vec<Effect>) {
        let due = due.max(self.tasks[key].spacing_until());
        if due > self.now {
            self.set_timer(key, due);
        } else {
            self.end_wait(key, out);
        }
    }
}
