//! What a drain refuses, stops and waits for.

use alloc::vec::Vec;
use core::time::Duration;

use super::job::{Job, Place};
use super::model::Model;
use crate::machine::{End, Submission};
use crate::vocabulary::id::TaskId;
use crate::vocabulary::plan::AtDrain;
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::{Rejection, StopReason};

impl Model {
    pub(super) fn begin_drain(&mut self, limit: Duration) {
        let until = self.now.after(limit);
        if self.closes.is_some() {
            return;
        }
        let known = self.drain;
        self.drain = Some(known.map_or(until, |known| known.min(until)));
        if known.is_none() {
            self.stop_for_drain();
        }
    }

    pub(super) fn stop_for_drain(&mut self) {
        let all = self.jobs.clone();
        let owner = |job: &Job| all.iter().find(|it| it.is_owner && it.slot == job.slot);
        let goes_on = |job: &Job| !job.will_end();
        for job in all.iter().filter(|job| job.place == Place::Queued) {
            let resident = job.plan.restart == RestartPolicy::Always;
            let is_there = self.jobs.iter().any(|it| it.id == job.id);
            let in_vain = resident || job.has_word() || owner(job).is_some_and(goes_on);
            if is_there && in_vain {
                self.end(job.id, End::Rejected(Rejection::ShuttingDown));
            }
        }
        let stops = |job: &&Job| match job.plan.at_drain {
            AtDrain::GoOn => false,
            AtDrain::Finish => {
                !matches!(job.place, Place::Queued | Place::Running | Place::Stopping)
            }
            AtDrain::Stop => job.place != Place::Queued,
        };
        // A thread answers later, so that what it gives back comes too late for those that wait.
        let (starting, others): (Vec<_>, Vec<_>) =
            all.iter().filter(stops).partition(|job| job.place == Place::Starting);
        for job in others.into_iter().chain(starting) {
            if !self.jobs.iter().any(|it| it.id == job.id) {
                continue;
            }
            self.stop(job.id, StopReason::Drain);
        }
    }

    /// Of what is handed over in a drain.
    pub(super) fn is_refused(&mut self, submission: &Submission, owner: Option<TaskId>) -> bool {
        let resident = submission.plan.restart == RestartPolicy::Always;
        let in_vain = owner.is_some_and(|owner| match submission.policy {
            AdmissionPolicy::DropIfRunning => false,
            AdmissionPolicy::Replace => resident,
            _ => resident || !self.job(owner).will_end(),
        });
        self.drain.is_some() && (submission.plan.at_drain != AtDrain::GoOn || in_vain)
    }

    /// Whether nothing follows what the task does now.
    pub(super) fn finishes(&mut self, id: TaskId) -> bool {
        self.drain.is_some() && self.job(id).plan.at_drain == AtDrain::Finish
    }

    pub(super) fn has_drained(&self) -> bool {
        self.drain.is_some() && !self.jobs.iter().any(|job| job.will_end() && !job.over)
    }

    pub(super) fn intake_empty(&mut self) {
        if self.has_drained() {
            self.shut_down();
        }
    }
}

impl Job {
    fn has_word(&self) -> bool {
        self.plan.at_drain != AtDrain::GoOn
    }

    fn will_end(&self) -> bool {
        let stopped =
            self.has_word() || self.stop.is_some() || self.place == Place::Closing || self.over;
        stopped || (self.plan.restart != RestartPolicy::Always && !self.paused)
    }
}
