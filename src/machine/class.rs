//! Classes, and the lines for permits: a task waits first for a permit of its class, holding
//! nothing, and then for a permit to run. So a full class holds up no other task.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::line::Line;
use super::step::Machine;
use super::task::State;
use super::tasks::Tasks;
use crate::vocabulary::id::{ClassKey, SlotKey, TaskKey};

impl Machine {
    /// Starts the task's next attempt, or puts it in line for a permit of its class or to run: at
    /// the end, or in the place of a task of the same class that leaves the line.
    pub(super) fn line_up(
        &mut self,
        key: TaskKey,
        mut place: Option<TaskKey>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(class) = self.tasks[key].plan.class {
            let permits = &mut self.classes[class.0 as usize];
            let inherited = place.and_then(|place| self.tasks[place].class_index.take());
            if let Some(index) = inherited {
                permits.hand_over(index, key);
                self.tasks[key].class_index = Some(index);
            } else if let Some(index) = permits.take(key) {
                // The place was one in the line of the class.
                place = None;
                self.tasks[key].class_index = Some(index);
            } else {
                permits.line.enter(&mut self.tasks, key, place);
                return self.wait_for_class(key, class, out);
            }
        }
        self.line_up_to_run(key, place, out);
    }

    fn line_up_to_run(&mut self, key: TaskKey, place: Option<TaskKey>, out: &mut Vec<Effect>) {
        if self.has_permit() || self.needs_no_permit(key) {
            self.start(key, out);
        } else {
            self.runnable.enter(&mut self.tasks, key, place);
            self.wait_for_permit(key, None, out);
        }
    }

    fn wait_for_class(&mut self, key: TaskKey, class: ClassKey, out: &mut Vec<Effect>) {
        self.wait_for_permit(key, Some(class), out);
        if self.is_awaited(key) {
            self.let_holders_start(class, out);
        }
    }

    fn wait_for_permit(&mut self, key: TaskKey, class: Option<ClassKey>, out: &mut Vec<Effect>) {
        self.enter(key, State::Runnable, self.tasks[key].expiry());
        if self.heard {
            Self::publish(out, Notice::WaitingForPermit { task: self.tasks[key].addr, class });
        }
    }

    /// The line that a task is in, and the tasks.
    pub(super) fn line_of(&mut self, class: Option<ClassKey>) -> (&mut Line, &mut Tasks) {
        let line = match class {
            Some(class) => &mut self.classes[class.0 as usize].line,
            None => &mut self.runnable,
        };
        (line, &mut self.tasks)
    }

    /// A task no longer waits for a permit. It may keep its place for its heir, and is then passed
    /// over.
    pub(super) fn leave_line(&mut self, key: TaskKey, keeps_place: bool) {
        let class = self.tasks[key].class_line();
        if let Some(class) = class {
            self.classes[class.0 as usize].awaited -= u32::from(self.is_awaited(key));
        }
        let (line, tasks) = self.line_of(class);
        if keeps_place {
            line.passed_over += 1;
        } else {
            line.list.remove(tasks, key);
        }
    }

    /// Gives back the permit of its class that a task holds, if it holds one. The first in the line
    /// of the class gets it, and starts or goes to the end of the line for permits to run.
    pub(super) fn return_class(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let task = self.task_mut(key);
        let Some(index) = task.class_index.take() else { return };
        let Some(class) = task.plan.class else { return };
        self.classes[class.0 as usize].give_back(index);
        let mut first = self.classes[class.0 as usize].line.list.first;
        if let Some(next) = self.serve_class(class, &mut first) {
            self.line_up_to_run(next, None, out);
        }
    }

    /// Has at most so many attempts of a class run at once from now on. Nobody loses a permit. Each
    /// of those that get one starts, or goes to the end of the line for permits to run.
    pub(super) fn set_class_limit(&mut self, class: ClassKey, limit: u32, out: &mut Vec<Effect>) {
        self.classes[class.0 as usize].set_limit(limit);
        let mut from = self.classes[class.0 as usize].line.list.first;
        // All get theirs before one goes on, which might need no permit to run because of another.
        let mut served = Vec::new();
        while let Some(next) = self.serve_class(class, &mut from) {
            served.push(next);
        }
        for key in served {
            self.line_up_to_run(key, None, out);
        }
    }

    /// Gives a permit of a class, if one is free, to the first that waits from this one on, which
    /// moves past it.
    fn serve_class(&mut self, class: ClassKey, from: &mut Option<TaskKey>) -> Option<TaskKey> {
        // Once a shutdown has begun, nothing starts.
        if !self.is_running() || self.classes[class.0 as usize].is_full() {
            return None;
        }
        let next = Line::first_from(*from, &self.tasks)?;
        *from = self.tasks[next].links.after();
        self.leave_line(next, false);
        self.tasks[next].class_index = self.classes[class.0 as usize].take(next);
        Some(next)
    }

    /// A body waits for this task, and keeps its own permit. If the task, or the owner of the slot
    /// for which it is queued, or those that hold the permits of the class for which that waits,
    /// had to wait for a permit to run, all of these might be held by bodies that wait.
    pub(super) fn wait_began(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let first = self.stands_before(key);
        let found = &self.tasks[first];
        let waits = found.state == State::Runnable;
        let class = found.class_line();
        let is_counted = class.is_some() && self.is_awaited(first);

        let task = self.task_mut(key);
        task.awaited = task.awaited.saturating_add(1);
        // A task that closes may name a slot for which it no longer waits.
        let queued_for = task.slot.filter(|_| task.state == State::Queued);
        if let Some(slot) = queued_for {
            self.awaited.insert((slot, key), ());
        }
        match class {
            Some(class) if waits && !is_counted => self.let_holders_start(class, out),
            None if waits => {
                self.leave_line(first, false);
                self.start(first, out);
            }
            Some(_) | None => {}
        }
        self.let_group_start(key, out);
    }

    /// A body waits for a member, which comes to run only after those of earlier phases. So none of
    /// its group waits for a permit to run.
    fn let_group_start(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        for mate in self.mates(key) {
            let task = &self.tasks[mate];
            if task.state == State::Runnable && task.class_line().is_none() {
                self.leave_line(mate, false);
                self.start(mate, out);
            }
        }
    }

    /// The members of a task's group that are not forgotten, with itself.
    fn mates(&self, key: TaskKey) -> Vec<TaskKey> {
        let group = self.groups.key_of(&self.tasks[key]).and_then(|group| self.groups.get(group));
        let members = group.into_iter().flat_map(|group| &group.members);
        members.filter_map(|member| self.tasks.find(member.task)).collect()
    }

    pub(super) fn wait_ended(&mut self, key: TaskKey) {
        let first = self.stands_before(key);
        let task = self.task_mut(key);
        if task.awaited == 0 {
            return;
        }
        task.awaited -= 1;
        if let (0, Some(slot)) = (task.awaited, task.slot) {
            self.awaited.remove(&(slot, key));
        }
        self.recount_awaited(first);
    }

    /// Takes a task out of the queue of a slot.
    pub(super) fn leave_queue(&mut self, slot: SlotKey, key: TaskKey) {
        let entry = self.slots.get_mut(slot);
        entry.queue.remove(&mut self.tasks, key);
        let owner = entry.owner;
        if let (Some(owner), true) = (owner, self.awaited.remove(&(slot, key)).is_some()) {
            self.recount_awaited(owner);
        }
    }

    /// One more in the line of a class is awaited, and comes to run only after those that hold the
    /// permits of the class.
    fn let_holders_start(&mut self, class: ClassKey, out: &mut Vec<Effect>) {
        let class = &mut self.classes[class.0 as usize];
        class.awaited += 1;
        let in_line = |key: &TaskKey| self.tasks[*key].state == State::Runnable;
        let holders: Vec<_> = class.holders().filter(in_line).collect();
        for holder in holders {
            self.leave_line(holder, false);
            self.start(holder, out);
        }
    }

    /// A body no longer waits for this owner, or for a task that is queued for its slot.
    fn recount_awaited(&mut self, first: TaskKey) {
        let task = &self.tasks[first];
        let class = task.class_line().filter(|_| task.state == State::Runnable);
        if let Some(class) = class.filter(|_| !self.is_awaited(first)) {
            self.classes[class.0 as usize].awaited -= 1;
        }
    }

    /// The task that must have run before this one can: the owner of the slot for which it is
    /// queued, or itself.
    pub(crate) fn stands_before(&self, key: TaskKey) -> TaskKey {
        let task = &self.tasks[key];
        let queued_for = task.slot.filter(|_| task.state == State::Queued);
        queued_for.and_then(|slot| self.slots.get(slot).owner).unwrap_or(key)
    }

    /// Whether a body waits for this owner, or for a task that can run only after it: one that is
    /// queued for its slot, waits for its class, or is in its group.
    fn needs_no_permit(&self, key: TaskKey) -> bool {
        let class = self.tasks[key].plan.class;
        class.is_some_and(|class| self.classes[class.0 as usize].awaited > 0)
            || self.is_awaited(key)
            || self.mates(key).into_iter().any(|mate| self.tasks[mate].awaited > 0)
    }

    /// Whether a body waits for this owner, or for a task that is queued for its slot.
    fn is_awaited(&self, key: TaskKey) -> bool {
        let task = &self.tasks[key];
        let in_queue = |slot| self.awaited.first_from(&(slot, TaskKey(0)));
        let first = task.slot.and_then(in_queue).map(|(slot, _)| *slot);
        task.awaited > 0 || (first.is_some() && first == task.slot)
    }

    fn has_permit(&self) -> bool {
        self.limits.max_concurrent.map_or(true, |most| self.permits < most)
    }

    /// Gives a permit to run back and passes it on.
    pub(super) fn return_permit(&mut self, out: &mut Vec<Effect>) {
        self.permits -= 1;
        while self.has_permit() {
            let Some(next) = self.runnable.first(&self.tasks) else { break };
            self.leave_line(next, false);
            self.start(next, out);
        }
    }
}
