//! All tasks, by key.

use alloc::sync::Arc;

use super::table::SharedTable;
use super::task::Task;
use crate::vocabulary::id::{TaskAddr, TaskKey};

/// All tasks, by key. The runtime chooses dense keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    entries: SharedTable<Task>,
    len: u32,
    /// How often rules visited a task: what a step costs. Benches are compiled for tests, too, but
    /// without assertions.
    #[cfg(all(test, debug_assertions))]
    pub(super) visits: core::cell::Cell<u64>,
}

impl Tasks {
    /// Enters a task under the key that the runtime chose for it.
    pub(super) fn insert(&mut self, task: Task) {
        let key = task.addr.key.0;
        let entry = self.entries.entry(key);
        assert!(entry.is_none(), "task key {key} is taken");
        *entry = Some(task);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: TaskKey) {
        if self.entries.remove(key.0).is_some() {
            self.len -= 1;
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, key: TaskKey) -> Option<&Task> {
        self.entries.get(key.0)
    }

    /// The key of a task, if it is still the same task.
    pub(super) fn find(&self, task: TaskAddr) -> Option<TaskKey> {
        self.get(task.key).filter(|found| found.addr.id == task.id).map(|_| task.key)
    }

    /// A task of this kind: the first from this key on, or else the first of all.
    pub(super) fn find_from(&self, key: TaskKey, is: impl Fn(&Task) -> bool) -> Option<TaskKey> {
        let all = self.entries.iter_from(key.0).chain(self.entries.iter());
        all.filter(|task| is(task)).map(|task| task.addr.key).next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.entries.iter()
    }

    pub(super) fn share(&mut self) -> Arc<SharedTable<Task>> {
        self.entries.share()
    }
}

impl core::ops::Index<TaskKey> for Tasks {
    type Output = Task;

    fn index(&self, key: TaskKey) -> &Task {
        #[cfg(all(test, debug_assertions))]
        self.visits.set(self.visits.get() + 1);
        self.get(key).expect("keys inside the machine name living tasks")
    }
}

impl core::ops::IndexMut<TaskKey> for Tasks {
    fn index_mut(&mut self, key: TaskKey) -> &mut Task {
        #[cfg(all(test, debug_assertions))]
        self.visits.set(self.visits.get() + 1);
        self.entries.get_mut(key.0).expect("keys inside the machine name living tasks")
    }
}
