//! The controller's answers about the state of tasks and of the supervisor.

use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::machine::{Health, State, Task};
use crate::output::group::GroupSnapshot;
use crate::output::snapshot::{
    ClassSnapshot, PermitCounts, SlotSnapshot, SlotStatus, Snapshot, TaskSnapshot, WorkerCounts,
};
use crate::runtime::values::Belongings;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::task::request::FoundGroup;
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{GroupAddr, SlotKey, TaskAddr, TaskId};
use crate::vocabulary::reason::{CancelReason, TaskState};

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

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let mut starting = Vec::new();
        let known = self.machine.tasks().iter().inspect(|task| {
            if let State::Starting { .. } = task.state {
                starting.push(task.addr);
            }
        });
        let mut tasks: Vec<_> = known.filter_map(|task| self.task_snapshot(task)).collect();
        tasks.sort_by_key(|task| task.task.id);
        // Few tasks are in this state; a second look at all others would cost as much as the rest.
        for task in starting {
            self.learn_of_claim(task);
            let now = self.machine.tasks().get(task.key).and_then(|task| self.task_snapshot(task));
            let place = tasks.binary_search_by_key(&task.id, |entry| entry.task.id);
            if let (Some(now), Ok(place)) = (now, place) {
                tasks[place] = now;
            }
        }
        #[cfg(all(unix, feature = "process"))]
        for (task, pid) in self.door.children.pids() {
            if let Ok(place) = tasks.binary_search_by_key(&task, |entry| entry.task.id) {
                tasks[place].pid.get_or_insert(pid);
            }
        }

        let machine = &self.machine;
        let real_now = self.door.clock.real.now();
        let counts = self.pool.counts(real_now);
        let abandoned = self.abandoned();
        // Bodies write claims and marks meanwhile, so the clock is read when all have been read.
        let at = self.door.clock.now().since_start();
        for task in &mut tasks {
            task.at = at;
        }
        Snapshot {
            at,
            draining: machine.is_draining(),
            shutting_down: !machine.is_running(),
            tasks,
            slots: self.slot_snapshots(),
            classes: self.class_snapshots(),
            groups: self.group_snapshots(),
            workers: WorkerCounts {
                threads: self.pool.threads() as usize,
                idle: counts.idle as usize,
                offered: self.pool.offered(),
                starving: self.pool.is_starving(real_now),
            },
            permits: PermitCounts {
                held: machine.permits_held() as usize,
                limit: machine.limits().max_concurrent.map(|limit| limit as usize),
                waiting: machine.waiting_for_permit() as usize,
            },
            abandoned,
            stuck_hooks: self.stuck_hooks(),
            well: self.is_well(),
        }
    }

    fn slot_snapshots(&self) -> Vec<SlotSnapshot> {
        let slots = self.machine.slots().iter().filter_map(|(key, slot)| {
            let owner = slot.owner.and_then(|owner| self.machine.tasks().get(owner));
            Some(SlotSnapshot {
                key: Arc::clone(self.values.slots.name(key.0)?),
                owner: owner.map(|task| task.addr.id),
                status: owner.map_or(SlotStatus::Idle, status),
                queued: slot.queue.len as usize,
            })
        });
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by(|a, b| a.key.cmp(&b.key));
        slots
    }

    fn class_snapshots(&self) -> Vec<ClassSnapshot> {
        let classes = self.machine.classes().iter().zip(self.door.classes.iter());
        let classes = classes.map(|(class, name)| ClassSnapshot {
            name: Arc::clone(name),
            limit: class.limit as usize,
            held: class.held() as usize,
            waiting: class.line.waiting() as usize,
        });
        classes.collect()
    }

    fn group_snapshots(&self) -> Vec<GroupSnapshot> {
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

    fn task_snapshot(&self, task: &Task) -> Option<TaskSnapshot> {
        let belongings = self.values.get(task.addr.key)?;
        let due = match task.state {
            // Neither the watchdog's next look nor the stable moment is anything to wait for.
            State::Running { deadline, .. } => deadline,
            _ => self.machine.due(task.addr.key),
        };
        // The cell of an attempt that is over says nothing of the task as it is now.
        let has_cell = task.state.holds_permit() || matches!(task.state, State::Closing(_));
        let cell = belongings.cell.as_ref().filter(|_| has_cell);
        let (told, health) = match task.state {
            State::Stopping { told, .. } | State::Abandoned { told, .. } => (Some(told), None),
            State::Running { health, .. } => (None, Some(health)),
            State::Intake
            | State::Queued
            | State::Runnable
            | State::Starting { .. }
            | State::Waiting(_)
            | State::Closing(_)
            | State::Over => (None, None),
        };

        Some(TaskSnapshot {
            task: belongings.task_ref(),
            state: task.state.name(),
            group: belongings.record().group().cloned(),
            phase: self.machine.phase_of(task.addr.key).map(|(_, phase)| phase),
            paused: task.is_paused(),
            attempt: task.attempt,
            failures: task.streak,
            since: task.since.since_start(),
            next_wake: (!due.is_never()).then(|| due.since_start()),
            last_failure: belongings.last_failure.clone().filter(|_| task.streak > 0),
            thread: cell.and_then(|cell| cell.thread()).map(|thread| thread.name),
            interrupted: matches!(told, Some(CancelReason::Timeout | CancelReason::Unresponsive)),
            silent: health == Some(Health::Silent),
            pid: None,
            required: self.required.contains(task.addr.id),
            ready: cell.is_some_and(|cell| cell.is_ready()),
            stable: health.is_some_and(|health| health.is_stable(self.now)),
            at: Duration::ZERO,
            mark: cell.and_then(|cell| cell.pulse.last_mark()),
            progress: cell.and_then(|cell| cell.pulse.progress()),
        })
    }
}

fn status(owner: &Task) -> SlotStatus {
    match owner.state.terminating_since(owner.since) {
        Some(since) => SlotStatus::Terminating { since: since.since_start() },
        None => SlotStatus::Running { since: owner.owner_since.since_start() },
    }
}
