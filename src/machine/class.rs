//! Classes, and the lines for permits: a task waits first for a permit of its class, holding
//! nothing, and then for a permit to run. So a full class holds up no other task.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::line::Line;
use super::step::Machine;
use super::task::State;
use super::tasks::Tasks;
use crate::vocabulary::id::{ClassKey, TaskKey};

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
                self.wait_for_permit(key, Some(class), out);
                // Others may stand now before one that a body waits for.
                if self.runnable.waiting() > 0 && !self.awaited.is_empty() {
                    self.let_start(&self.all_awaited(), out);
                }
                return;
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
        let (line, tasks) = self.line_of(self.tasks[key].class_line());
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

    /// A body waits for this task, and keeps its own permit. If the task, or one that has to run
    /// before it, had to wait for a permit to run, all of these might be held by bodies that wait.
    pub(super) fn wait_began(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let task = self.task_mut(key);
        task.awaited = task.awaited.saturating_add(1);
        self.awaited.insert(key, ());
        if self.runnable.waiting() > 0 {
            self.let_start(&self.with_predecessors([key]), out);
        }
    }

    pub(super) fn wait_ended(&mut self, key: TaskKey) {
        let task = self.task_mut(key);
        task.awaited = task.awaited.saturating_sub(1);
        if task.awaited == 0 {
            self.awaited.remove(&key);
        }
    }

    /// Starts those of these tasks that wait for a permit to run.
    fn let_start(&mut self, keys: &[TaskKey], out: &mut Vec<Effect>) {
        for &key in keys {
            let task = &self.tasks[key];
            if task.state == State::Runnable && task.class_line().is_none() {
                self.leave_line(key, false);
                self.start(key, out);
            }
        }
    }

    /// The task that must have run before this one can: the owner of the slot for which it is
    /// queued, or itself.
    pub(crate) fn stands_before(&self, key: TaskKey) -> TaskKey {
        let task = &self.tasks[key];
        let queued_for = task.slot.filter(|_| task.state == State::Queued);
        queued_for.and_then(|slot| self.slots.get(slot).owner).unwrap_or(key)
    }

    /// Whether a body waits for this task, or for one that can run only after it.
    fn needs_no_permit(&self, key: TaskKey) -> bool {
        !self.awaited.is_empty()
            && (self.tasks[key].awaited > 0 || self.all_awaited().contains(&key))
    }

    /// The tasks that bodies wait for, and those that have to run before them.
    fn all_awaited(&self) -> Vec<TaskKey> {
        self.with_predecessors(self.awaited.keys().copied())
    }

    /// These tasks, and those that have to run before them: the owner of the slot for which one of
    /// them is queued, all of its group, since a member comes to run only after those of earlier
    /// phases, and the holders of the permits of the class for which it waits.
    fn with_predecessors(&self, keys: impl IntoIterator<Item = TaskKey>) -> Vec<TaskKey> {
        let mut found: Vec<_> = keys.into_iter().collect();
        let (mut groups, mut classes) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(&key) = found.get(at) {
            at += 1;
            let task = &self.tasks[key];
            let first = self.stands_before(key);
            found.extend(Some(first).filter(|&first| first != key));
            let group = self.groups.key_of(task).filter(|group| !groups.contains(group));
            if let Some(group) = group {
                groups.push(group);
                let members = self.groups.get(group).into_iter().flat_map(|it| &it.members);
                found.extend(members.filter_map(|member| self.tasks.find(member.task)));
            }
            let class = task.class_line().filter(|_| task.state == State::Runnable);
            classes.extend(class.filter(|class| !classes.contains(class)));
        }

        // A holder has nothing to wait for but its permit to run.
        for class in classes {
            found.extend(self.classes[class.0 as usize].holders());
        }
        found
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
