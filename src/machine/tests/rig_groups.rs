//! Groups in scripts: a list of phases, and what is asked of a group, which has the name of its
//! first member.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::rig::{Orders, Rig, Spec};
use crate::machine::{GroupSubmission, Input};
use crate::vocabulary::group::{GroupState, RestartLimit, Strategy};
use crate::vocabulary::id::{GroupAddr, GroupKey, TaskAddr, TaskRef};
use crate::vocabulary::policy::AdmissionPolicy;

/// A group in the making.
#[derive(Clone, Default)]
pub(super) struct GroupSpec {
    strategy: Strategy,
    limit: Option<RestartLimit>,
    phases: Vec<Vec<Spec>>,
}

/// A group without phases, `one_for_one`.
pub(super) fn group() -> GroupSpec {
    GroupSpec::default()
}

impl GroupSpec {
    pub(super) fn one_for_all(self) -> Self {
        Self { strategy: Strategy::OneForAll, ..self }
    }

    pub(super) fn rest_for_one(self) -> Self {
        Self { strategy: Strategy::RestForOne, ..self }
    }

    pub(super) fn restart_limit(self, restarts: u32, within: Duration) -> Self {
        Self { limit: Some(RestartLimit { restarts, within }), ..self }
    }

    /// One more phase.
    pub(super) fn then(mut self, phase: impl IntoIterator<Item = Spec>) -> Self {
        self.phases.push(phase.into_iter().collect());
        self
    }
}

impl Rig {
    pub(super) fn submit_group(&mut self, spec: GroupSpec) -> Orders {
        let phases = spec.phases.iter().map(|phase| u32::try_from(phase.len()).expect("few"));
        let phases = phases.collect();
        let policy = AdmissionPolicy::DropIfRunning;
        let members = spec.phases.into_iter().flatten();
        let members: Vec<_> = members.map(|spec| self.submission(spec.policy(policy))).collect();
        let first = members[0].addr;
        self.input(Input::GroupSubmitted(GroupSubmission {
            group: GroupAddr { key: GroupKey(first.key.0), first: first.id },
            strategy: spec.strategy,
            restart_limit: spec.limit,
            phases,
            members,
            refused: None,
        }))
    }

    /// Submits a group, and has each attempt claimed as soon as it is offered.
    pub(super) fn run_group(&mut self, spec: GroupSpec) {
        let phases = spec.phases.clone();
        self.submit_group(spec).whatever();
        self.claim_all(&phases.iter().flatten().map(|spec| spec.name).collect::<Vec<_>>());
    }

    /// Has each of these claimed, in this order.
    pub(super) fn claim_all(&mut self, names: &[&str]) {
        for name in names {
            assert_eq!(self.state(name), "starting", "{name} is not offered");
            self.claim(name).whatever();
        }
    }

    pub(super) fn stop_group(&mut self, name: &str) -> Orders {
        let group = self.group(name);
        self.input(Input::GroupStopRequested(group))
    }

    pub(super) fn restart_group(&mut self, name: &str) -> Orders {
        let group = self.group(name);
        self.input(Input::GroupRestartRequested(group))
    }

    /// Where a group is in its life.
    pub(super) fn group_state(&self, name: &str) -> String {
        let named = |task: TaskAddr| {
            let name = self.name(task.id).into();
            Some(TaskRef { id: task.id, name, slot: None })
        };
        match self.machine().group_state(self.group(name), named) {
            GroupState::Starting { phase } => format!("starting {phase}"),
            GroupState::Up => "up".to_owned(),
            GroupState::Restarting { phase, waits_for: None } => format!("restarting {phase}"),
            GroupState::Restarting { phase, waits_for: Some(task) } => {
                format!("restarting {phase}, waits for {}", task.name)
            }
            GroupState::Stopping { phase } => format!("stopping {phase}"),
            GroupState::Over => "over".to_owned(),
        }
    }

    /// The states of tasks, one after the other.
    pub(super) fn states(&self, names: &[&str]) -> String {
        names.iter().map(|name| self.state(name)).collect::<Vec<_>>().join(" ")
    }

    fn group(&self, name: &str) -> GroupAddr {
        let first = self.task(name);
        GroupAddr { key: GroupKey(first.key.0), first: first.id }
    }
}
