//! The groups behind the machine's keys: their names, what their handles share, and what the report
//! says of them.

use std::sync::Arc;

use super::values::Names;
use crate::machine::table::Table;
use crate::machine::{GroupNotice, Machine, Submission};
use crate::output::event::EventKind;
use crate::output::group::EndedGroup;
use crate::output::outcome::Outcome;
use crate::task::group::{GroupEntry, GroupRecord, Readiness};
use crate::task::record::Record;
use crate::vocabulary::id::{ClassKey, GroupAddr, GroupKey, TaskAddr, TaskId, TaskRef};
use crate::vocabulary::plan::Interval;
use crate::vocabulary::reason::Rejection;

/// What the runtime keeps of one group.
pub(super) struct Group {
    addr: GroupAddr,
    entry: GroupEntry,
    pub(super) members: Vec<Arc<Record>>,
    /// What there is to say of its end so far.
    pub(super) told: EndedGroup,
    /// The earliest phase of a member that was stopped.
    phase: usize,
}

impl Group {
    pub(super) fn record(&self) -> &Arc<GroupRecord> {
        &self.entry.record
    }

    /// The event of a notice, and what it means for those that wait.
    pub(super) fn note(
        &mut self,
        notice: GroupNotice,
        name: impl Fn(TaskAddr) -> Option<TaskRef>,
    ) -> EventKind {
        match notice {
            GroupNotice::Starting => EventKind::GroupStarting,
            GroupNotice::Ready { took } => {
                self.record().note(Readiness::Ready);
                EventKind::GroupReady { took }
            }
            GroupNotice::Restarting { culprit, restarts } => {
                self.record().note(Readiness::Awaited);
                self.told.restarts = restarts;
                EventKind::GroupRestarting { culprit: culprit.and_then(name), restarts }
            }
            GroupNotice::Stopping { why, culprit } => {
                self.record().note(Readiness::Never);
                let culprit = culprit.and_then(name);
                self.told.stopped = Some(why);
                self.told.culprit.clone_from(&culprit);
                EventKind::GroupStopping { why, culprit }
            }
            GroupNotice::Ended => EventKind::GroupEnded,
        }
    }

    /// The phase of the member that was handed over at this place of the group.
    fn phase_of(&self, place: u64) -> usize {
        let mut before = 0;
        let starts_after = |&&members: &&u32| {
            before += u64::from(members);
            before <= place
        };
        self.entry.phases.iter().take_while(starts_after).count()
    }

    /// The place at which a task was handed over; `None` for one of another group of this name,
    /// which was refused. The ids of a group follow each other.
    fn place_of(&self, member: &Record) -> Option<u64> {
        let place = member.id.get().checked_sub(self.addr.first.get())?;
        Some(place).filter(|&place| place < self.members.len() as u64)
    }

    fn note_outcome(&mut self, member: &Record, outcome: &Outcome) {
        let Some(place) = self.place_of(member) else { return };
        if self.told.stopped.is_some() {
            let phase = self.phase_of(place);
            if phase > self.phase || outcome.is_abandoned() {
                self.told.note_late(member.task_ref());
            }
            if outcome.is_cancelled() || outcome.is_abandoned() {
                self.phase = self.phase.min(phase);
            }
        }
        self.told.last = Some(member.task_ref());
    }
}

/// All groups that have not ended.
#[derive(Default)]
pub(super) struct Groups {
    names: Names,
    entries: Table<Group>,
}

impl Groups {
    /// Takes a group in. The refusal says that there is one of its name.
    pub(super) fn insert(
        &mut self,
        entry: GroupEntry,
        members: Vec<Arc<Record>>,
    ) -> (GroupAddr, Option<Rejection>) {
        let key = self.names.intern(&entry.record.name);
        let first = members.first().map_or(TaskId::new(0), |first| first.id);
        let addr = GroupAddr { key: GroupKey(key), first };
        if self.entries.get(key).is_some() {
            return (addr, Some(Rejection::GroupNameInUse));
        }
        let told = EndedGroup::new(Arc::clone(&entry.record.name));
        let group = Group { addr, entry, members, told, phase: usize::MAX };
        self.entries.insert(key, group);
        (addr, None)
    }

    pub(super) fn forget(&mut self, group: GroupAddr) {
        if self.get(group).is_some() {
            self.names.forget(group.key.0);
            self.entries.remove(group.key.0);
        }
    }

    pub(super) fn get(&self, group: GroupAddr) -> Option<&Group> {
        self.entries.get(group.key.0).filter(|found| found.addr == group)
    }

    pub(super) fn get_mut(&mut self, group: GroupAddr) -> Option<&mut Group> {
        self.entries.get_mut(group.key.0).filter(|found| found.addr == group)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Group> {
        self.entries.get(self.names.key(name)?)
    }

    pub(super) fn find(&self, record: &Arc<GroupRecord>) -> Option<GroupAddr> {
        let group = self.named(&record.name)?;
        Arc::ptr_eq(group.record(), record).then_some(group.addr)
    }

    /// A member has its outcome.
    pub(super) fn note_outcome(&mut self, member: &Record, outcome: &Outcome) {
        let key = member.group().and_then(|name| self.names.key(name));
        if let Some(group) = key.and_then(|key| self.entries.get_mut(key)) {
            group.note_outcome(member, outcome);
        }
    }
}

/// The refusal of a group of which more members run at once than there are permits for. One of them
/// could not start, nor could what comes after it. Those with an interval give theirs back.
pub(super) fn too_large(
    machine: &Machine,
    phases: &[u32],
    members: &[Submission],
) -> Option<Rejection> {
    let at_once = |class: Option<ClassKey>| {
        let (mut members, mut residents, mut most) = (members.iter(), 0, 0);
        for &size in phases {
            let phase = members.by_ref().take(size as usize).map(|member| &member.plan);
            let of_class = phase.filter(|plan| class.is_none() || plan.class == class);
            let running = of_class.filter(|plan| plan.interval == Interval::None);
            let (steps, others): (Vec<_>, Vec<_>) = running.partition(|plan| plan.step);
            residents += others.len();
            most = most.max(residents + steps.len());
        }
        most
    };
    let classes = (0..).map(|key| Some(ClassKey(key))).zip(machine.classes());
    let classes = classes.map(|(key, class)| (key, class.limit));
    let all = machine.limits().max_concurrent.map(|limit| (None, limit)).into_iter().chain(classes);
    all.map(|(class, limit)| (at_once(class), limit as usize))
        .find(|&(members, limit)| members > limit)
        .map(|(members, limit)| Rejection::GroupTooLarge { members, limit })
}
