//! A run report that is still being counted.

use crate::output::outcome::Outcome;
use crate::output::report::{FailedTask, OutcomeCounts, RunReport, ShutdownReport};
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::reason::ShutdownCause;

/// How many failures a report names.
const MAX_FAILURES: usize = 64;

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    outcomes: OutcomeCounts,
    failures: Vec<FailedTask>,
    first_code: Option<u8>,
    code_of_cause: Option<(TaskId, u8)>,
}

impl Tally {
    /// Counts submissions that were refused before there were tasks.
    pub(crate) fn count_rejected(&mut self, submissions: usize) {
        self.outcomes.rejected += submissions as u64;
    }

    pub(crate) fn count(
        &mut self,
        outcome: &Outcome,
        shutdown_on_end: bool,
        task: impl FnOnce() -> TaskRef,
    ) {
        self.outcomes.count(outcome);
        if !outcome.is_failure() {
            return;
        }
        let code = outcome.exit_code();
        self.first_code = self.first_code.or(Some(code));
        if !shutdown_on_end && self.failures.len() >= MAX_FAILURES {
            return;
        }
        let task = task();
        if shutdown_on_end {
            // Only the first such task to end can be the cause of the shutdown.
            self.code_of_cause.get_or_insert((task.id, code));
        }
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(FailedTask { task, outcome: outcome.clone() });
        }
    }

    pub(crate) fn into_report(self, shutdown: ShutdownReport) -> RunReport {
        let shutdown_on_end = match shutdown.cause {
            ShutdownCause::TaskEnded(id) => {
                self.code_of_cause.filter(|(task, _)| *task == id).map(|(_, code)| code)
            }
            ShutdownCause::Requested
            | ShutdownCause::Dropped
            | ShutdownCause::Idle
            | ShutdownCause::Signal(_)
            | ShutdownCause::ControllerPanicked => None,
        };
        let decisive = shutdown_on_end.or(self.first_code);
        RunReport { outcomes: self.outcomes, failures: self.failures, shutdown, decisive }
    }
}
