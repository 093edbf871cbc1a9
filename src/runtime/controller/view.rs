//! The controller's answers about the state of tasks and of the supervisor.

use std::sync::Arc;

use super::Controller;
use crate::output::group::GroupSnapshot;
use crate::output::snapshot::ClassSnapshot;
use crate::runtime::values::Belongings;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::task::request::FoundGroup;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{GroupAddr, SlotKey, TaskAddr, TaskId};
use crate::vocabulary::reason::TaskState;

impl Controller {
    pub(super) fn find(&self, record: &Record) -> Option<TaskAddr> {
        let task = TaskAddr { key: record.key()?, id: record.id };
        let found = self.machine.tasks().get(task.key)?;
        (found.addr == task).then_some(task)
    }

    /// Whether the other task, or the owner of the slot for which it is queued, is of the waiter's
    /// class; or whether it waits for the waiter's slot, or in their group for the waiter.
    pub(super) fn waits_in_vain(&self, waiter: &Record, other: &Record, until_end: bool) -> bool {
        let (Some(waiter), Some(other)) = (self.find(waiter), self.find(other)) else {
            return false;
        };
        let class = |key| self.machine.tasks().get(key).and_then(|task| task.plan.class);
        let first = self.machine.stands_before(other.key);
        let own = class(waiter.key);
        let in_class = own.is_some() && (class(other.key) == own || class(first) == own);
        let in_queue = first == waiter.key && first != other.key;
        in_class || in_queue || self.machine.holds_up(waiter.key, other.key, until_end)
    }

    pub(super) fn task(&self, id: TaskId) -> Option<Arc<Record>> {
        let mut records = self.values.iter().map(Belongings::record);
        let found = records.find(|record| record.id == id)?;
        Some(Arc::clone(found)).filter(|record| record.outcome().is_none())
    }

    pub(super) fn owner(&self, slot: &str) -> Option<Arc<Record>> {
        let slot = SlotKey(self.values.slots.key(slot)?);
        let owner = self.machine.slots().get(slot).owner?;
        Some(Arc::clone(self.values.get(owner)?.record()))
    }

    pub(super) fn state(&mut self, record: &Record) -> TaskState {
        // An abandoned attempt may still run after its task's outcome.
        let found = self.find(record).filter(|_| record.outcome().is_none());
        let Some(task) = found else { return TaskState::Over };
        self.learn_of_claim(task);
        self.machine.tasks().get(task.key).map_or(TaskState::Over, |task| task.state.name())
    }

    pub(super) fn class_snapshots(&self) -> Vec<ClassSnapshot> {
        let classes = self.machine.classes().iter().zip(self.door.classes.iter());
        let classes = classes.map(|(class, name)| ClassSnapshot {
            name: Arc::clone(name),
            limit: class.limit as usize,
            held: class.held() as usize,
            waiting: class.line.waiting() as usize,
        });
        classes.collect()
    }

    pub(super) fn group_snapshots(&self) -> Vec<GroupSnapshot> {
        let groups = self.machine.groups().iter().filter_map(|group| {
            let known = self.groups.get(group.addr())?;
            Some(GroupSnapshot {
                name: Arc::clone(&known.record().name),
                state: self.state_of_group(group.addr()),
                members: known.members.iter().map(|member| member.id).collect(),
                restarts: known.told.restarts,
            })
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    pub(super) fn group(&self, name: &str) -> Option<FoundGroup> {
        let group = self.groups.named(name)?;
        Some((Arc::clone(group.record()), group.members.clone()))
    }

    pub(super) fn group_state(&self, record: &Arc<GroupRecord>) -> GroupState {
        self.groups.find(record).map_or(GroupState::Over, |group| self.state_of_group(group))
    }

    fn state_of_group(&self, group: GroupAddr) -> GroupState {
        let name = |task: TaskAddr| self.values.get(task.key).map(Belongings::task_ref);
        self.machine.group_state(group, name)
    }
}
