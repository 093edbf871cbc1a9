//! The door to the rules for groups, which a program without groups does not contain.

use alloc::vec::Vec;

use super::effect::Effect;
use super::roster::GroupAct;
use super::step::Machine;
use crate::vocabulary::plan::Limits;

impl Machine {
    /// A machine without tasks that knows all rules.
    // The runtime has the rules for groups learned when it meets the first one.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn new(limits: Limits, seed: u64) -> Self {
        let mut machine = Self::without_groups(limits, seed);
        machine.learn_groups();
        machine
    }

    /// From now on there may be groups. Nothing else names their rules, so that the linker leaves
    /// them out where this is never called.
    pub(crate) fn learn_groups(&mut self) {
        self.group_rules = Some(Self::act_on_groups);
    }

    fn act_on_groups(&mut self, act: GroupAct, out: &mut Vec<Effect>) -> bool {
        match act {
            GroupAct::Submit(submission) => self.submit_group(submission, out),
            GroupAct::Stop(group) => self.stop_group(group, out),
            GroupAct::Restart(group) => return self.restart_group(group, out),
            GroupAct::StopAll => self.stop_groups(out),
            GroupAct::PullBack(group) => self.pull_back(group, out),
            GroupAct::RestartOthers { culprit, counts } => {
                self.restart_others(culprit, counts, out);
            }
            GroupAct::MemberOver(member, end) => self.member_over(member, end, out),
            GroupAct::Advance => self.advance_groups(out),
        }
        true
    }
}
