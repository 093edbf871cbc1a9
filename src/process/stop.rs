//! How a process is asked to stop, when it is killed, and what becomes of those it leaves behind.

use std::time::Duration;

use super::{group, EventKind, RealTime, Running, Seconds, Signal, Stage, Told, QUIET};
use crate::platform::unwind;

impl Running<'_> {
    /// The attempt was told: asks the process to stop, if it has not ended.
    pub(super) fn tell(&mut self, stage: Stage) -> Stage {
        if !matches!(stage, Stage::Running) {
            // Only now there is a limit to the time for what is left in the pipes.
            return self.draining();
        }
        let told_at = self.clock.now();
        self.asked = Some(self.settings.stop_signal);
        self.send(self.settings.stop_signal, self.settings.stop_whom);
        // A process that is stopped does not act on a signal before it goes on.
        self.send(Signal::CONT, self.settings.stop_whom);
        Stage::Stopping { told_at, kill_at: self.kill_at() }
    }

    /// The grace was made shorter after the attempt was told.
    pub(super) fn hurry(&self, stage: Stage) -> Stage {
        match stage {
            Stage::Stopping { told_at, kill_at } => {
                Stage::Stopping { told_at, kill_at: kill_at.min(self.kill_at()) }
            }
            Stage::Helpers { told_at, kill_at, look_at, pause } => {
                let kill_at = kill_at.min(self.kill_at());
                Stage::Helpers { told_at, kill_at, look_at, pause }
            }
            Stage::Draining { until, quiet_at } => {
                Stage::Draining { until: until.min(self.drain_until()), quiet_at }
            }
            Stage::Running | Stage::Killed => stage,
        }
    }

    fn kill_at(&self) -> RealTime {
        let patience = patience(self.settings.stop_timeout, self.ctx.remaining());
        patience.map_or(RealTime::NEVER, |span| self.clock.now().after(span))
    }

    /// What has become due.
    pub(super) fn advance(&mut self, stage: Stage) -> Stage {
        let now = self.clock.now();
        match stage {
            // This thread may have been held up, and the process may have ended meanwhile.
            Stage::Stopping { kill_at, .. } if kill_at <= now && self.has_ended() => {
                self.ended(stage)
            }
            Stage::Stopping { told_at, kill_at } if kill_at <= now => {
                self.kill(told_at);
                Stage::Killed
            }
            Stage::Helpers { told_at, kill_at, look_at, pause } if kill_at.min(look_at) <= now => {
                if !group::has_living_members(self.child.pid, self.children) {
                    return self.draining();
                }
                if kill_at <= now {
                    self.kill(told_at);
                    return self.draining();
                }
                let pause = (pause * 2).min(LONGEST_PAUSE);
                Stage::Helpers { told_at, kill_at, look_at: self.clock.now().after(pause), pause }
            }
            Stage::Running
            | Stage::Stopping { .. }
            | Stage::Killed
            | Stage::Helpers { .. }
            | Stage::Draining { .. } => stage,
        }
    }

    /// The process has ended.
    pub(super) fn ended(&self, stage: Stage) -> Stage {
        match stage {
            Stage::Running => {
                if !self.settings.leave_helpers && !self.stolen {
                    self.kill_left_over();
                }
                self.draining()
            }
            Stage::Stopping { told_at, kill_at } if !self.stolen => {
                let (look_at, pause) = (self.clock.now(), FIRST_PAUSE / 2);
                Stage::Helpers { told_at, kill_at, look_at, pause }
            }
            Stage::Stopping { .. } | Stage::Killed => self.draining(),
            Stage::Helpers { .. } | Stage::Draining { .. } => stage,
        }
    }

    /// Kills what a process that has ended by itself has left behind, and says once what becomes of
    /// a program that has put itself into the background.
    fn kill_left_over(&self) {
        let is_quick = self.end.is_some_and(|(_, ran)| ran < QUICK);
        let has_left_others = group::has_left_others(self.child.pid, self.children);
        let is_first = is_quick && has_left_others && self.settings.is_new.take();
        if self.children.kill(self.child.pid) && has_left_others {
            self.post_killed("it has ended, and has left a process behind".to_owned());
        }
        if is_first {
            let task = self.ctx.record().task_ref();
            // A logger is user code.
            let _ = unwind::catch(|| {
                log::warn!(
                    target: "threadvisor",
                    "the process of {task} has ended at once, and what it has left in the \
                     background is killed: run it in the foreground, or leave_helpers"
                );
            });
        }
    }

    fn draining(&self) -> Stage {
        let quiet_at = self.clock.now().after(QUIET);
        Stage::Draining { until: self.drain_until(), quiet_at }
    }

    fn drain_until(&self) -> RealTime {
        let grace = self.ctx.remaining().filter(|_| self.told != Told::No);
        let span = grace.map_or(LONGEST_DRAIN, |grace| LONGEST_DRAIN.min(grace / 2));
        self.clock.now().after(span)
    }

    /// It has not ended in time.
    fn kill(&mut self, told_at: RealTime) {
        let after = Seconds(told_at.until(self.clock.now()));
        let why = match group::resists(self.child.pid, self.settings.stop_signal) {
            _ if self.end.is_some() => "a process that it left behind did not end".to_owned(),
            "" => "it did not end".to_owned(),
            resists => format!("it {resists} {}", self.settings.stop_signal),
        };
        if !self.children.kill(self.child.pid) {
            // Whoever has abandoned the attempt has killed it, and told of that.
            return;
        }
        let why = format!("after {after} s: {why}");
        if self.end.is_none() {
            self.killed = Some(format!("killed {why}"));
        }
        self.post_killed(why);
    }

    fn post_killed(&self, why: String) {
        let (attempt, pid, why) = (self.ctx.attempt(), self.child.number(), why.into());
        self.post(EventKind::ProcessKilled { attempt, pid, why });
    }
}

/// How long a process may take to end; `None` without a limit.
fn patience(stop_timeout: Option<Duration>, grace: Option<Duration>) -> Option<Duration> {
    let patience = stop_timeout.or_else(|| grace.map(|grace| grace / 3 * 2));
    // It must be gone before the grace is over, or the attempt is abandoned.
    let most = grace.map(|grace| grace.saturating_sub((grace / 10).min(MARGIN)));
    [patience, most].into_iter().flatten().min()
}

/// A service that ends so soon may have put itself into the background.
const QUICK: Duration = Duration::from_secs(1);

/// What is left of the grace when a process is killed: time to see that, and to read the rest.
const MARGIN: Duration = Duration::from_millis(100);

/// The looks at the helpers of a process that has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How long what is left in the pipes is read at most.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_killed_before_its_grace_is_over() {
        let ms = Duration::from_millis;
        let cases = [
            (None, None, None),
            (None, Some(3000), Some(2000)),
            (Some(500), Some(3000), Some(500)),
            (Some(3000), Some(3000), Some(2900)),
            (Some(500), Some(500), Some(450)),
            (Some(500), None, Some(500)),
            (None, Some(0), Some(0)),
        ];
        for (stop_timeout, grace, span) in cases {
            assert_eq!(patience(stop_timeout.map(ms), grace.map(ms)), span.map(ms));
        }
    }
}
