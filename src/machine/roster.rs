//! The groups: who belongs to them, and how far each has got.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::ending::End;
use super::input::GroupSubmission;
use super::table::Table;
use super::task::{Started, State, Task, Wait};
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::id::{GroupAddr, GroupKey, TaskAddr, TaskKey};
use crate::vocabulary::reason::StopReason;
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::Time;

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(super) addr: GroupAddr,
    pub(super) strategy: Strategy,
    pub(super) limit: Option<RestartLimit>,
    /// In the order of their phases.
    pub(super) members: Vec<Member>,
    /// How many phases are released.
    pub(super) released: u32,
    pub(super) mode: Mode,
    /// A caller asked for the restart that is under way.
    pub(super) by_hand: bool,
    /// When it began to start, at first or after a restart was asked for; `None` once every phase
    /// has been ready since then.
    pub(super) starting_since: Option<Time>,
    pub(super) restarts: u32,
    /// How many members under `Always` have no outcome.
    pub(super) residents: usize,
    /// How many members, from the first on, are known to be settled.
    pub(super) settled: usize,
    /// Those that go back or stop wait for nothing but their phase, and will not until the group
    /// goes on.
    pub(super) held: bool,
    /// From which member on all that go back or stop are told: the last phase comes first.
    pub(super) told: usize,
    /// From which member on nobody is awaited any more: all that go back are at rest or abandoned,
    /// all that stop are over, and while the group is up, all are over or steps that are done.
    pub(super) rest: usize,
    /// The latest restarts that count, at most as many as the limit allows.
    latest: VecDeque<Time>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) task: TaskAddr,
    pub(super) phase: u32,
    /// It was released at least once.
    pub(super) released: bool,
    /// It has been ready since it was last released.
    pub(super) ready: bool,
    /// It is part of the restart under way: it goes back, and is then released again.
    pub(super) back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Phases are released one after the other, until all are.
    Up,
    /// Members go back, the last phase first; then the phases from this one on are released again.
    Restarting { from: u32 },
    /// Members stop, the last phase first.
    Stopping { reason: StopReason },
}

impl Group {
    pub(super) fn new(
        addr: GroupAddr,
        strategy: Strategy,
        limit: Option<RestartLimit>,
        members: Vec<Member>,
        residents: usize,
        now: Time,
    ) -> Self {
        Self {
            addr,
            strategy,
            limit,
            released: 0,
            mode: Mode::Up,
            by_hand: false,
            starting_since: Some(now),
            restarts: 0,
            residents,
            settled: 0,
            held: true,
            told: members.len(),
            rest: members.len(),
            members,
            latest: VecDeque::new(),
        }
    }

    /// How many phases there are.
    pub(super) fn phases(&self) -> u32 {
        self.members.last().map_or(0, |member| member.phase + 1)
    }

    pub(crate) const fn addr(&self) -> GroupAddr {
        self.addr
    }

    /// From which phase on the group restarts for this member; `None` if it does not, or already
    /// does from there or an earlier one.
    pub(super) fn restarts_from(&self, member: &Member) -> Option<u32> {
        let from = match self.strategy {
            Strategy::OneForOne => return None,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => member.phase,
        };
        match self.mode {
            Mode::Up => Some(from),
            Mode::Restarting { from: now } => Some(from).filter(|&from| from < now),
            Mode::Stopping { .. } => None,
        }
    }

    /// Whether one more restart is one too many.
    pub(super) fn is_spent(&self, now: Time) -> bool {
        self.limit.is_some_and(|limit| {
            let full = self.latest.len() >= limit.restarts as usize;
            let oldest = self.latest.front().copied().unwrap_or(Time::NEVER);
            full && now < oldest.after(limit.within)
        })
    }

    pub(super) fn count_restart(&mut self, now: Time) {
        let most = self.limit.map_or(0, |limit| limit.restarts as usize);
        if most > 0 {
            if self.latest.len() >= most {
                self.latest.pop_front();
            }
            self.latest.push_back(now);
        }
    }

    /// Members go back from now on, or stop.
    pub(super) fn hold(&mut self, mode: Mode) {
        (self.mode, self.held) = (mode, false);
        self.look_anew();
    }

    /// One that was told, or at rest, may be so no longer.
    pub(super) fn look_anew(&mut self) {
        (self.told, self.rest) = (self.members.len(), self.members.len());
    }

    /// Begins a restart from this phase on, for a member or for all.
    pub(super) fn begin_restart(&mut self, from: u32, culprit: Option<TaskKey>, now: Time) {
        self.hold(Mode::Restarting { from });
        for member in &mut self.members {
            let rest = member.phase > from && self.strategy == Strategy::RestForOne;
            let all = culprit.is_none() || self.strategy == Strategy::OneForAll;
            member.back |= all || rest || Some(member.task.key) == culprit;
        }
        self.restarts = self.restarts.saturating_add(1);
        self.starting_since = Some(now);
    }

    /// All that had to go back is at rest: phases are released again.
    pub(super) fn end_restart(&mut self, from: u32) {
        (self.mode, self.by_hand) = (Mode::Up, false);
        (self.released, self.settled) = (from, 0);
        self.look_anew();
        for member in &mut self.members {
            member.ready &= !member.back;
            member.back = false;
        }
    }
}

impl Task {
    pub(crate) const fn is_member(&self) -> bool {
        self.is_member
    }

    /// Whether it is told of a shutdown at once. A member is told when it is the turn of its phase,
    /// but one that was asked to stop before is to hurry.
    pub(super) const fn is_told_alone(&self) -> bool {
        !self.is_member() || self.state.stop_recorded()
    }

    /// Whether a success makes it wait for the next restart of its group.
    pub(super) fn is_step(&self) -> bool {
        self.plan.step && self.is_member()
    }

    /// Neither the initial delay nor the time until its phase is released counts against the
    /// expiry, from the moment on that it was sent back: one of these waits is over.
    pub(super) fn forgive_wait(&mut self, now: Time) {
        if let State::Waiting(Wait::InitialDelay | Wait::Phase)
        | State::Starting { sent_back: true, .. } = self.state
        {
            if let Started::Ahead { expires_at } = &mut self.started {
                *expires_at = expires_at.after(self.since.until(now));
            }
        }
    }
}

/// What the other rules ask of those for groups.
pub(super) enum GroupAct {
    Submit(GroupSubmission),
    Stop(GroupAddr),
    Restart(GroupAddr),
    StopAll,
    /// Let those that go back or stop wait for their phase.
    PullBack(GroupKey),
    /// A member will start again.
    RestartOthers {
        culprit: TaskKey,
        counts: bool,
    },
    /// A member has ended.
    MemberOver(TaskKey, End),
    /// Advance those of which something has changed.
    Advance,
}

/// All groups, and those that are to be advanced before the step ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    entries: Table<Group>,
    /// The groups of all members that exist, and their places there.
    by_member: Table<(GroupKey, usize)>,
    pub(super) touched: SortedMap<GroupKey, ()>,
}

impl Groups {
    pub(super) fn insert(&mut self, group: Group) {
        let key = group.addr.key.0;
        for (place, member) in group.members.iter().enumerate() {
            self.by_member.insert(member.task.key.0, (group.addr.key, place));
        }
        assert!(self.entries.insert(key, group).is_none(), "group key {key} is taken");
    }

    /// The group of a task.
    pub(super) fn key_of(&self, task: &Task) -> Option<GroupKey> {
        Some(self.place_of(task)?.0)
    }

    fn place_of(&self, task: &Task) -> Option<(GroupKey, usize)> {
        // Most tasks are in no group, and are not looked up.
        if task.is_member {
            self.by_member.get(task.addr.key.0).copied()
        } else {
            None
        }
    }

    /// The group of a task, and what that knows of it.
    pub(super) fn member(&self, task: &Task) -> Option<(&Group, &Member)> {
        let (key, place) = self.place_of(task)?;
        let group = self.get(key)?;
        Some((group, group.members.get(place)?))
    }

    pub(super) fn member_mut(&mut self, task: &Task) -> Option<&mut Member> {
        let (key, place) = self.place_of(task)?;
        self.get_mut(key)?.members.get_mut(place)
    }

    /// A member leaves the tables, or its group does.
    pub(super) fn forget_member(&mut self, key: TaskKey) {
        self.by_member.remove(key.0);
    }

    pub(super) fn remove(&mut self, key: GroupKey) -> Option<Group> {
        self.entries.remove(key.0)
    }

    pub(crate) fn get(&self, key: GroupKey) -> Option<&Group> {
        self.entries.get(key.0)
    }

    pub(super) fn get_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        self.entries.get_mut(key.0)
    }

    /// The group at this address, if it is still the same group.
    pub(super) fn find(&self, group: GroupAddr) -> Option<&Group> {
        self.get(group.key).filter(|found| found.addr == group)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.entries.iter()
    }

    /// The members of all groups, with their phases.
    pub(super) fn members(&self) -> impl Iterator<Item = (TaskAddr, u32)> + '_ {
        let members = self.iter().flat_map(|group| &group.members);
        members.map(|member| (member.task, member.phase))
    }

    pub(super) fn touch_all(&mut self) {
        for group in self.entries.iter() {
            self.touched.insert(group.addr.key, ());
        }
    }

    /// The most phases that any group has.
    pub(super) fn most_phases(&self) -> u32 {
        self.entries.iter().map(Group::phases).max().unwrap_or(0)
    }
}

#[cfg(test)]
impl Groups {
    /// For the audit.
    pub(crate) fn n_members(&self) -> usize {
        self.by_member.iter().count()
    }
}
