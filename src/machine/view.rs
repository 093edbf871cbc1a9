//! [`View`]: what a snapshot shows of the machine, as it was at one moment.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::slot::Slot;
use super::step::Machine;
use super::table::SharedTable;
use super::task::{State, Task};
use crate::vocabulary::id::{TaskAddr, TaskKey};
use crate::vocabulary::time::Time;

/// It is made quickly, however many tasks there are, and can be read on any thread.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) tasks: Arc<SharedTable<Task>>,
    pub(crate) slots: Arc<SharedTable<Slot>>,
    timers: Vec<(TaskKey, Time)>,
    /// The members of groups, with their phases.
    members: Vec<(TaskAddr, u32)>,
}

impl Machine {
    pub(crate) fn view(&mut self) -> View {
        View {
            tasks: self.tasks.share(),
            slots: self.slots.share(),
            timers: self.timers.iter().collect(),
            members: self.groups.members().collect(),
        }
    }
}

impl Task {
    /// As it would be if the claim of its attempt had been reported.
    pub(crate) fn as_claimed(&self, at: Time) -> Self {
        let (deadline, health) = (self.plan.deadline_from(at), self.young(at));
        let state = State::Running { claimed_at: at, deadline, health };
        Self { state, since: at, ..self.clone() }
    }
}

impl View {
    /// All tasks, each with the time of its timer and its phase.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (&Task, Time, Option<usize>)> {
        let end = self.tasks.end() as usize;
        let (mut due, mut phases) = (vec![Time::NEVER; end], Vec::new());
        for &(key, time) in &self.timers {
            due[key.0 as usize] = time;
        }
        if !self.members.is_empty() {
            phases.resize(end, None);
        }
        for &(task, phase) in &self.members {
            if self.tasks.get(task.key.0).is_some_and(|found| found.addr == task) {
                phases[task.key.0 as usize] = Some(phase as usize);
            }
        }
        self.tasks.iter().map(move |task| {
            let at = task.addr.key.0 as usize;
            (task, due[at], phases.get(at).copied().flatten())
        })
    }
}
