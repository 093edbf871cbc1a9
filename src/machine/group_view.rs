//! What groups show of themselves.

use super::roster::{Member, Mode};
use super::step::Machine;
use super::task::State;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{GroupAddr, TaskKey};

impl Machine {
    /// Where a group is in its life.
    pub(crate) fn group_state(&self, group: GroupAddr) -> GroupState {
        let Some(group) = self.groups.find(group) else { return GroupState::Over };
        let last = |is: &dyn Fn(&Member) -> bool| {
            group.members.iter().rev().find(|it| is(it)).map(|it| it.phase as usize)
        };
        match group.mode {
            Mode::Up if group.starting_since.is_none() => GroupState::Up,
            Mode::Up => GroupState::Starting { phase: group.released.saturating_sub(1) as usize },
            Mode::Restarting { from } => {
                let busy = |it: &Member| it.back && self.state_of(it).is_some_and(State::goes_back);
                let holds_up =
                    |it: &&Member| it.back && self.state_of(it).is_some_and(State::holds_group_up);
                GroupState::Restarting {
                    phase: last(&busy).unwrap_or(from as usize),
                    waits_for: group.members.iter().find(holds_up).map(|it| it.task.id),
                }
            }
            Mode::Stopping { .. } => {
                let phase = last(&|it| !self.has_outcome(it)).unwrap_or(0);
                GroupState::Stopping { phase }
            }
        }
    }

    /// The group of a member, and its phase.
    pub(crate) fn phase_of(&self, key: TaskKey) -> Option<(GroupAddr, usize)> {
        let (group, member) = self.groups.member(self.tasks.get(key)?)?;
        Some((group.addr, member.phase as usize))
    }
}
