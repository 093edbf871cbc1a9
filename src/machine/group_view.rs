//! What groups show of themselves.

use super::roster::{Member, Mode};
use super::step::Machine;
use super::task::State;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{GroupAddr, TaskAddr, TaskKey, TaskRef};

impl Machine {
    /// Where a group is in its life. A task for which it waits is told by what `name` gives.
    pub(crate) fn group_state(
        &self,
        group: GroupAddr,
        name: impl FnOnce(TaskAddr) -> Option<TaskRef>,
    ) -> GroupState {
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
                    waits_for: group.members.iter().find(holds_up).and_then(|it| name(it.task)),
                }
            }
            Mode::Stopping { .. } => {
                let phase = last(&|it| !self.has_outcome(it)).unwrap_or(0);
                GroupState::Stopping { phase }
            }
        }
    }

    /// Whether a member waits in vain for another of its group, because that starts only once this
    /// one is ready, or is a step, which ends with the group.
    pub(crate) fn holds_up(&self, waiter: TaskKey, other: TaskKey, until_end: bool) -> bool {
        let (Some((group, own)), Some((of, other))) = (self.group_of(waiter), self.group_of(other))
        else {
            return false;
        };
        let released_later = own.phase < other.phase && group.released <= other.phase;
        let goes_on = group.addr == of.addr && !self.has_outcome(other);
        let ends_later = until_end && self.tasks[other.task.key].plan.step;
        goes_on
            && !matches!(group.mode, Mode::Stopping { .. })
            && ((released_later && !own.ready) || ends_later)
    }
}
