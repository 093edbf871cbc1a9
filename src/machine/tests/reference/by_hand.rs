//! What callers ask for by hand.

use core::time::Duration;

use super::job::{Job, Place, Wait};
use super::model::Model;
use crate::machine::tests::rig::ms;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::plan::{BodyKind, Interval};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

impl Model {
    /// Gives whether it has done anything.
    pub(super) fn skip(&mut self, id: TaskId) -> bool {
        let now = self.now;
        let job = self.job(id);
        let spacing = job.first_start.map_or(Time::ZERO, |_| job.last_start.after(ms(1)));
        if job.place == Place::Waiting && !job.paused {
            (job.n_delays, job.wait) = (0, None);
        }
        match job.place {
            Place::Waiting if job.paused => return false,
            Place::Waiting if spacing > now => self.put(id, Place::Waiting, spacing),
            Place::Waiting => self.end_wait(id),
            _ => return false,
        }
        true
    }

    pub(super) fn restart(&mut self, id: TaskId) -> bool {
        let finishes = self.finishes(id);
        let job = self.job(id);
        match job.place {
            Place::Running if job.plan.body == BodyKind::Once || finishes => false,
            Place::Running => {
                job.n_delays = 0;
                self.tell(id, CancelReason::Restart);
                true
            }
            _ => self.skip(id),
        }
    }

    /// Nobody has asked it to stop, and it has not ended.
    fn goes_on(job: &Job) -> bool {
        !job.over && job.stop.is_none() && job.place != Place::Closing
    }

    pub(super) fn pause(&mut self, id: TaskId) -> bool {
        let now = self.now;
        let job = self.job(id);
        if job.paused || !Self::goes_on(job) {
            return false;
        }
        job.paused = true;
        if job.first_start.is_none() {
            job.left = job.delayed_since.take().unwrap_or(now).until(job.expires_at);
        }
        job.wait = None;
        let place = job.place;
        match place {
            Place::Queued | Place::Starting => self.put(id, place, Time::NEVER),
            Place::Runnable | Place::Waiting => {
                self.line.retain(|waiting| *waiting != id);
                self.class_lines.values_mut().for_each(|line| line.retain(|it| *it != id));
                self.job(id).has_class = false;
                self.put(id, Place::Waiting, Time::NEVER);
                self.settle();
            }
            Place::Running | Place::Stopping | Place::Abandoned | Place::Closing => {}
        }
        if self.drain.is_some() {
            self.stop_for_drain();
        }
        true
    }

    pub(super) fn resume(&mut self, id: TaskId) -> bool {
        let now = self.now;
        let job = self.job(id);
        if !job.paused || !Self::goes_on(job) {
            return false;
        }
        (job.paused, job.n_delays, job.n_forgiven) = (false, 0, job.failures.len());
        if job.first_start.is_none() {
            job.expires_at = now.after(job.left);
        }
        let place = job.place;
        match place {
            Place::Queued | Place::Starting => {
                let expiry = self.expiry(id);
                self.put(id, place, expiry);
            }
            Place::Waiting => {
                let mut due = now;
                if let (Interval::Rate(step), Some(_)) = (job.plan.interval, job.first_start) {
                    due = job.tick_after(now, step);
                    job.wait = Some(Wait { since: now, until: None });
                }
                self.wait_until(id, due);
            }
            _ => {}
        }
        true
    }

    pub(super) fn set_interval(&mut self, id: TaskId, interval: Duration) -> bool {
        let job = self.job(id);
        if job.plan.interval == Interval::None || interval.is_zero() || !Self::goes_on(job) {
            return false;
        }
        job.plan.interval = match job.plan.interval {
            Interval::Rate(_) => Interval::Rate(interval),
            Interval::None | Interval::Delay(_) => Interval::Delay(interval),
        };
        if job.first_start.is_some() {
            (job.grid, job.grid_begins) = (Some(job.last_start), true);
        }
        if let (Place::Waiting, Some(wait)) = (job.place, job.wait) {
            let due = job.due_after(wait);
            self.wait_until(id, due);
        }
        true
    }

    fn wait_until(&mut self, id: TaskId, due: Time) {
        let job = self.job(id);
        let spacing = job.first_start.map_or(Time::ZERO, |_| job.last_start.after(ms(1)));
        let due = due.max(spacing);
        self.put(id, Place::Waiting, due);
        if due <= self.now {
            self.end_wait(id);
        }
    }
}
