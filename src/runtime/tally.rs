//! A run report that is still being counted.

use crate::output::outcome::Outcome;
use crate::output::report::{FailedTask, OutcomeCounts, RunReport, ShutdownReport};
use crate::vocabulary::id::TaskRef;

/// How many failures a report names.
const MAX_FAILURES: usize = 64;

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    outcomes: OutcomeCounts,
    failures: Vec<FailedTask>,
    first_code: Option<u8>,
    /// What the task asks for whose end was the cause of the shutdown.
    code_of_cause: Option<u8>,
}

impl Tally {
    /// Counts submissions that were refused before there were tasks.
    pub(crate) fn count_rejected(&mut self, submissions: usize) {
        self.outcomes.rejected += submissions as u64;
    }

    /// Counts an outcome. The task is named if it failed and there is room.
    pub(crate) fn count(
        &mut self,
        outcome: &Outcome,
        is_cause: bool,
        task: impl FnOnce() -> TaskRef,
    ) {
        self.outcomes.count(outcome);
        if !outcome.is_failure() {
            return;
        }
        let code = outcome.exit_code();
        self.first_code = self.first_code.or(Some(code));
        if is_cause {
            self.code_of_cause = Some(code);
        }
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(FailedTask { task: task(), outcome: outcome.clone() });
        }
    }

    pub(crate) fn into_report(self, shutdown: ShutdownReport) -> RunReport {
        let decisive = self.code_of_cause.or(self.first_code);
        RunReport { outcomes: self.outcomes, failures: self.failures, shutdown, decisive }
    }
}
