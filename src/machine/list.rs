//! A queue of tasks that are linked through their entries. Entering it, leaving it from the middle
//! and taking a neighbour's place cost the same however long the queue is, and an empty queue costs
//! no memory. A task is in at most one queue.

use super::tasks::Tasks;
use crate::vocabulary::id::TaskKey;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(super) first: Option<TaskKey>,
    last: Option<TaskKey>,
    pub(crate) len: u32,
}

impl List {
    pub(super) fn push_back(&mut self, tasks: &mut Tasks, key: TaskKey) {
        self.link(tasks, self.last, key, None);
    }

    pub(super) fn push_front(&mut self, tasks: &mut Tasks, key: TaskKey) {
        self.link(tasks, None, key, self.first);
    }

    pub(super) fn insert_before(&mut self, tasks: &mut Tasks, next: TaskKey, key: TaskKey) {
        self.link(tasks, tasks[next].links.before(), key, Some(next));
    }

    /// Takes a task out from any position. The task must be in this queue.
    pub(super) fn remove(&mut self, tasks: &mut Tasks, key: TaskKey) {
        let links = core::mem::take(&mut tasks[key].links);
        let (before, after) = (links.before(), links.after());
        match before {
            Some(before) => tasks[before].links.set_after(after),
            None => self.first = after,
        }
        match after {
            Some(after) => tasks[after].links.set_before(before),
            None => self.last = before,
        }
        self.len -= 1;
    }

    /// Puts a task between two neighbours; `None` is the end of the queue on that side.
    fn link(
        &mut self,
        tasks: &mut Tasks,
        before: Option<TaskKey>,
        key: TaskKey,
        after: Option<TaskKey>,
    ) {
        let links = &mut tasks[key].links;
        links.set_before(before);
        links.set_after(after);

        match before {
            Some(before) => tasks[before].links.set_after(Some(key)),
            None => self.first = Some(key),
        }

        match after {
            Some(after) => tasks[after].links.set_before(Some(key)),
            None => self.last = Some(key),
        }
        self.len += 1;
    }
}
