//! The end of a job, for which its body is dropped first.

use super::job::Place;
use super::model::Model;
use crate::machine::End;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::policy::AbandonPolicy;
use crate::vocabulary::reason::StopReason;
use crate::vocabulary::time::Time;

impl Model {
    /// The job has come to its end, but for its body.
    pub(super) fn end(&mut self, id: TaskId, end: End) {
        let flushes = self.jobs.iter().all(|job| job.over);
        let closes = self.closes.filter(|_| !flushes).unwrap_or(Time::NEVER);
        let now = self.now;
        let job = self.job(id);
        if job.is_gone {
            return self.finish(id, end);
        }
        job.end = Some(end);
        let replaced = matches!(end, End::Cancelled { reason: StopReason::Replace, .. });
        if !replaced || job.place != Place::Runnable {
            job.has_class = false;
            self.line.retain(|waiting| *waiting != id);
            self.class_lines.values_mut().for_each(|line| line.retain(|waiting| *waiting != id));
        }
        self.queues.values_mut().for_each(|queue| queue.retain(|queued| *queued != id));
        self.put(id, Place::Closing, closes);
        self.settle();
        if closes <= now {
            self.end_closing(id);
        }
    }

    /// A thread is at it, and for long.
    pub(super) fn hang(&mut self, id: TaskId) {
        let flushes = self.jobs.iter().all(|job| job.over);
        let closes = self.closes.filter(|_| !flushes).unwrap_or(Time::NEVER);
        let now = self.now;
        let job = self.job(id);
        job.is_taken = true;
        let due = now.after(job.plan.grace.max(SLOW)).min(closes);
        self.put(id, Place::Closing, due);
        if due <= now {
            self.end_closing(id);
        }
    }

    /// Its body is dropped.
    pub(super) fn closed(&mut self, id: TaskId) {
        let end = self.job(id).end.expect("it closes");
        self.finish(id, end);
    }

    /// The grace of the drop, or of the shutdown, is over.
    pub(super) fn end_closing(&mut self, id: TaskId) {
        let crowded = self.stuck() >= self.limits.max_abandoned as usize;
        let job = self.job(id);
        let end = job.end.expect("it closes");
        if !job.is_taken {
            return self.finish(id, end);
        }
        let end = match end {
            End::Cancelled { reason, .. } => {
                let stop = Some(reason).filter(|reason| *reason != StopReason::ByTask);
                End::Abandoned { reason: reason.as_cancel(), stop }
            }
            other => other,
        };
        if job.plan.abandon == AbandonPolicy::Release && !crowded {
            self.released_drops.push(id);
            return self.finish(id, end);
        }
        (job.end, job.is_stuck) = (Some(end), true);
        let over = job.over;
        self.put(id, Place::Closing, Time::NEVER);
        if !over {
            self.deliver(id, end);
        }
    }
}
