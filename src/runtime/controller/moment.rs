//! [`Moment`]: what a snapshot is made of. The controller only shares its tables as they are, which
//! is quick; whoever asked for the snapshot makes it of them on its own thread.

use std::sync::Arc;
use std::time::Duration;

use super::end::{abandoned, oldest_first};
use super::Controller;
use crate::machine::table::SharedTable;
use crate::machine::{State, Task, View};
use crate::output::snapshot::{
    PermitCounts, SlotSnapshot, SlotStatus, Snapshot, TaskSnapshot, WorkerCounts,
};
use crate::runtime::values::Belongings;
use crate::task::door::Door;
use crate::vocabulary::id::{ClassIndex, TaskId};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(super) struct Moment {
    machine: View,
    belongings: Arc<SharedTable<Belongings>>,
    required: Vec<TaskId>,
    now: Time,
    /// All that does not depend on the number of tasks.
    snapshot: Snapshot,
}

impl Controller {
    pub(super) fn moment(&mut self) -> Moment {
        let (machine, belongings) = (self.machine.view(), self.values.share());
        let required = self.required.ids().collect();
        Moment { machine, belongings, required, now: self.now, snapshot: self.sketch() }
    }

    fn sketch(&self) -> Snapshot {
        let machine = &self.machine;
        let real_now = self.door.clock.real.now();
        let counts = self.pool.counts(real_now);
        Snapshot {
            at: self.door.clock.now().since_start(),
            draining: machine.is_draining(),
            shutting_down: !machine.is_running(),
            tasks: Vec::new(),
            slots: Vec::new(),
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
            abandoned: self.abandoned_beside(),
            stuck_hooks: self.stuck_hooks(),
            well: self.is_well(),
        }
    }
}

impl Moment {
    pub(super) fn snapshot(self, door: &Door) -> Snapshot {
        let mut tasks = Vec::with_capacity(self.machine.tasks.end() as usize);
        let mut held = Vec::new();
        let mut at = self.snapshot.at;
        for (task, due, phase) in self.machine.tasks() {
            let Some(belongings) = self.belongings.get(task.addr.key.0) else { continue };
            let mut entry = self.task_snapshot(task, due, phase, belongings);
            entry.class = task.plan.class.and_then(|class| door.classes.name(class)).cloned();
            // Bodies claim and set marks meanwhile.
            let mark = entry.mark.as_ref().map_or(Duration::ZERO, |mark| mark.at);
            at = at.max(entry.since).max(mark);
            tasks.push(entry);
            held.extend(abandoned(task, belongings));
        }
        tasks.sort_by_key(|task| task.task.id);
        #[cfg(all(unix, feature = "process"))]
        for (task, pid) in door.children.pids() {
            if let Ok(place) = tasks.binary_search_by_key(&task, |entry| entry.task.id) {
                tasks[place].pid.get_or_insert(pid);
            }
        }
        for task in &mut tasks {
            task.at = at;
        }
        let slots = self.slot_snapshots();
        let abandoned = oldest_first(held.into_iter().chain(self.snapshot.abandoned));
        Snapshot { at, tasks, slots, abandoned, ..self.snapshot }
    }

    fn slot_snapshots(&self) -> Vec<SlotSnapshot> {
        let View { tasks, slots, .. } = &self.machine;
        let mut names = vec![None; slots.end() as usize];
        for task in tasks.iter() {
            let belongings = self.belongings.get(task.addr.key.0);
            if let (Some(slot), Some(belongings)) = (task.slot, belongings) {
                names[slot.0 as usize] = belongings.record().slot();
            }
        }
        let shown = (0..).zip(names).filter_map(|(key, name)| {
            let slot = slots.get(key)?;
            let owner = slot.owner.and_then(|owner| tasks.get(owner.0));
            Some(SlotSnapshot {
                key: Arc::clone(name?),
                owner: owner.map(|task| task.addr.id),
                status: owner.map_or(SlotStatus::Idle, status),
                queued: slot.queue.len as usize,
            })
        });
        let mut slots: Vec<_> = shown.collect();
        slots.sort_by(|a, b| a.key.cmp(&b.key));
        slots
    }

    fn task_snapshot(
        &self,
        task: &Task,
        timer: Time,
        phase: Option<usize>,
        belongings: &Belongings,
    ) -> TaskSnapshot {
        let claimed = claimed(task, belongings);
        let task = claimed.as_ref().unwrap_or(task);
        let due = match task.state {
            // Neither the watchdog's next look nor the stable moment is anything to wait for.
            State::Running { deadline, .. } => deadline,
            _ => timer,
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

        TaskSnapshot {
            task: belongings.task_ref(),
            state: task.state.name(),
            group: belongings.record().group().cloned(),
            phase,
            class: None,
            class_index: task.class_index.map(ClassIndex::get),
            paused: task.is_paused(),
            attempt: task.attempt,
            failures: task.streak,
            since: task.since.since_start(),
            next_wake: (!due.is_never()).then(|| due.since_start()),
            last_failure: belongings.last_failure.clone().filter(|_| task.streak > 0),
            thread: cell.and_then(|cell| cell.thread()).map(|thread| thread.name),
            interrupted: matches!(told, Some(CancelReason::Timeout | CancelReason::Unresponsive)),
            silent: task.state.is_silent(),
            pid: None,
            required: self.required.binary_search(&task.addr.id).is_ok(),
            ready: cell.is_some_and(|cell| cell.is_ready()),
            stable: health.is_some_and(|health| health.is_stable(self.now)),
            at: Duration::ZERO,
            mark: cell.and_then(|cell| cell.pulse.last_mark()),
            progress: cell.and_then(|cell| cell.pulse.progress()),
        }
    }
}

/// The task with a claim that was not reported.
fn claimed(task: &Task, belongings: &Belongings) -> Option<Task> {
    let State::Starting { .. } = task.state else { return None };
    let at = belongings.cell.as_ref()?.claimed_at()?;
    Some(task.as_claimed(at))
}

fn status(owner: &Task) -> SlotStatus {
    match owner.state.terminating_since(owner.since) {
        Some(since) => SlotStatus::Terminating { since: since.since_start() },
        None => SlotStatus::Running { since: owner.owner_since.since_start() },
    }
}
