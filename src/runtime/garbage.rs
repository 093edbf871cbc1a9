//! User values to be dropped: by a worker, one by one, and never on the controller.

use std::sync::Arc;

use super::reports::{Report, Returned};
use super::worker::{Attempt, Job, Shared, State};
use crate::output::error::TaskError;
use crate::task::body::Body;
use crate::task::leftover::Leftover;
use crate::task::record::Record;
use crate::task::spec::TaskSpec;

/// A user value to be dropped where user code may run.
#[allow(dead_code, reason = "the values are there to be dropped")]
pub(super) enum Garbage {
    /// What is left of one that was revoked.
    Attempt(Attempt),
    Body(Body),
    Error(TaskError),
    Leftover(Leftover),
    Record(Arc<Record>),
    Report(Report),
    Spec(TaskSpec),
}

impl Shared {
    pub(super) fn drop_garbage(&self, value: Garbage) {
        match value {
            Garbage::Report(report) => self.drop_report(report),
            value => self.drop_value(value),
        }
    }

    fn drop_report(&self, report: Report) {
        match report {
            Report::Returned(Returned { error, body, .. }) => {
                self.drop_value(error);
                self.drop_value(body);
            }
            report => self.drop_value(report),
        }
    }

    /// What threads say once nobody listens any more, they drop themselves before they leave.
    pub(super) fn drop_unheard(&self) {
        if !self.state.lock().closed {
            return;
        }
        // What a drop reports comes back here as well, and holds no user value.
        while let Ok(report) = self.unheard.try_recv() {
            self.drop_report(report);
        }
    }

    /// No thread is left that may drop them.
    pub(super) fn forget_user_values(&self) {
        let mut state = self.state.lock();
        std::mem::forget(std::mem::take(&mut state.hooks));
        for (job, _) in std::mem::take(&mut state.queue) {
            match job {
                // Revoked, so that nothing of the user's is left in it.
                Job::Attempt(attempt) => drop(attempt),
                job => std::mem::forget(job),
            }
        }
    }
}

/// What nobody has taken: this is a thread that runs user code.
impl Drop for Shared {
    fn drop(&mut self) {
        let State { hooks, queue, .. } = std::mem::take(self.state.get_mut());
        for hooks in hooks {
            self.drop_value(hooks);
        }
        for (job, _) in queue {
            match job {
                Job::Drop(values) => values.into_iter().for_each(|it| self.drop_garbage(it)),
                job => self.drop_value(job),
            }
        }
    }
}
