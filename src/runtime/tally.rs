//! A run report that is still being counted.

use std::sync::Arc;

use super::values::Belongings;
use crate::output::counts::{OutcomeCounts, RejectionCount};
use crate::output::group::EndedGroup;
use crate::output::outcome::Outcome;
use crate::output::report::{ExitFacts, FailedTask, RunReport, ShutdownReport, TroubledTask};
use crate::vocabulary::plan::AtDrain;
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::{Rejection, StopReason};

/// How many tasks each list of a report names.
pub(super) const MOST: usize = 64;

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    outcomes: OutcomeCounts,
    rejections: Vec<RejectionCount>,
    failures: Vec<FailedTask>,
    troubled: Vec<TroubledTask>,
    groups: Vec<EndedGroup>,
    facts: ExitFacts,
}

impl Tally {
    /// Counts submissions that the closing door refused before there were tasks, with the names
    /// that are known. Of `lost` ones, nobody got the spec back.
    pub(crate) fn count_refused(&mut self, all: usize, lost: usize, names: &[Arc<str>]) {
        self.outcomes.rejected += all as u64;
        RejectionCount::note(&mut self.rejections, Rejection::ShuttingDown, all, names);
        self.facts.cut_short += lost as u64;
    }

    /// Counts an outcome. The task is named if all was not well and there is room.
    pub(crate) fn count(
        &mut self,
        outcome: &Outcome,
        is_cause: bool,
        streak: u32,
        belongings: &Belongings,
    ) {
        self.outcomes.count(outcome);
        let task = || belongings.task_ref();
        let is_lost = !belongings.record().gives_back();
        let ends_by_itself = belongings.plan.restart != RestartPolicy::Always;

        match outcome {
            Outcome::Rejected(why) => {
                let name = Arc::clone(&belongings.record().name);
                RejectionCount::note(&mut self.rejections, *why, 1, &[name]);
                self.facts.no_room += u64::from(is_lost && why.is_for_want_of_room());
                let shut = *why == Rejection::ShuttingDown;
                self.facts.cut_short += u64::from(is_lost && shut && ends_by_itself);
            }
            Outcome::Cancelled { reason, returned } => {
                let done = matches!(returned, Some(Ok(())));
                let is_cut = match reason {
                    StopReason::Shutdown => true,
                    // What a drain is to stop has done its part by then.
                    StopReason::Drain => belongings.plan.at_drain == AtDrain::Finish,
                    StopReason::ByTask
                    | StopReason::Stop
                    | StopReason::Replace
                    | StopReason::Group => false,
                };
                let cut_short = is_cut && ends_by_itself && !done;
                self.facts.cut_short += u64::from(cut_short);
                let is_troubled = streak > 0 || matches!(returned, Some(Err(_)));
                if is_troubled && self.troubled.len() < MOST {
                    self.troubled.push(TroubledTask {
                        task: task(),
                        outcome: outcome.clone(),
                        failures: streak,
                        last_failure: belongings.last_failure.clone().filter(|_| streak > 0),
                    });
                }
            }
            failure if failure.is_failure() => {
                if is_cause || self.facts.decisive.is_none() {
                    self.facts.decisive = Some((task(), outcome.exit_code()));
                }
                if self.failures.len() < MOST {
                    let (task, not_retried) = (task(), belongings.not_retried(streak));
                    self.failures.push(FailedTask { task, outcome: outcome.clone(), not_retried });
                }
            }
            _ => {}
        }
    }

    /// Names a group that has ended, if there is room.
    pub(crate) fn count_group(&mut self, group: &EndedGroup) {
        if self.groups.len() < MOST {
            self.groups.push(group.clone());
        }
    }

    pub(crate) fn into_report(self, shutdown: ShutdownReport) -> RunReport {
        let Self { outcomes, rejections, failures, troubled, groups, facts } = self;
        RunReport { outcomes, rejections, failures, troubled, groups, shutdown, facts }
    }
}
