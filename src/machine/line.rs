//! The lines in which owners wait for permits: one for the permits to run, and one for each class,
//! with the permits of that class.

use alloc::vec::Vec;

use super::list::List;
use super::task::State;
use super::tasks::Tasks;
use crate::vocabulary::id::{ClassIndex, TaskKey};

/// Those that wait, in order. Replaced owners that close stay in it, to keep their places for their
/// heirs, and are passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    pub(super) list: List,
    /// How many of them only keep their places.
    pub(super) passed_over: u32,
}

impl Line {
    /// The number of those that wait.
    pub(crate) const fn waiting(&self) -> u32 {
        self.list.len - self.passed_over
    }

    /// The first that waits.
    pub(super) fn first(&self, tasks: &Tasks) -> Option<TaskKey> {
        Self::first_from(self.list.first, tasks)
    }

    /// The first that waits, from this one on.
    pub(super) fn first_from(mut first: Option<TaskKey>, tasks: &Tasks) -> Option<TaskKey> {
        while let Some(key) = first.filter(|&key| tasks[key].state != State::Runnable) {
            first = tasks[key].links.after();
        }
        first
    }

    /// Puts a task at the end, or before the one whose place it takes.
    pub(super) fn enter(&mut self, tasks: &mut Tasks, key: TaskKey, place: Option<TaskKey>) {
        match place {
            Some(place) => self.list.insert_before(tasks, place, key),
            None => self.list.push_back(tasks, key),
        }
    }
}

/// The permits of one class, and who waits for one.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) limit: u32,
    pub(crate) line: Line,
    /// Who holds which permit, as far as they were ever held.
    holders: Vec<Option<TaskKey>>,
    /// Those of them below the limit that nobody holds.
    free: Vec<ClassIndex>,
    held: u32,
}

impl Class {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, line: Line::default(), holders: Vec::new(), free: Vec::new(), held: 0 }
    }

    /// The number of permits that are held: more than the limit, if that was lowered meanwhile.
    pub(crate) const fn held(&self) -> u32 {
        self.held
    }

    pub(super) const fn is_full(&self) -> bool {
        self.held >= self.limit
    }

    /// Takes a permit; `None` if all are held.
    pub(super) fn take(&mut self, key: TaskKey) -> Option<ClassIndex> {
        if self.is_full() {
            return None;
        }
        // If none is free, those who hold others have all that were ever held.
        let index = self.free.pop().unwrap_or_else(|| {
            self.holders.push(None);
            ClassIndex::new(saturate(self.holders.len() - 1))
        });
        self.holders[index.get()] = Some(key);
        self.held += 1;
        Some(index)
    }

    /// Passes a permit from its holder to another task.
    pub(super) fn hand_over(&mut self, index: ClassIndex, heir: TaskKey) {
        self.holders[index.get()] = Some(heir);
    }

    pub(super) fn give_back(&mut self, index: ClassIndex) {
        self.holders[index.get()] = None;
        self.held -= 1;
        if index.get() < self.limit as usize {
            self.free.push(index);
        }
    }

    /// Sets another limit. Nobody loses a permit by it.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        let known = self.holders.iter().zip(0..limit);
        let free = known.filter(|(holder, _)| holder.is_none());
        self.free = free.map(|(_, index)| ClassIndex::new(index)).collect();
        // The lowest is taken first.
        self.free.reverse();
    }

    /// Whether the numbers below the limit that nobody holds are free, and no others.
    #[cfg(test)]
    pub(super) fn audit_free(&self) {
        let known = self.holders.iter().zip(0..self.limit);
        let unheld = known.filter(|(holder, _)| holder.is_none()).map(|(_, index)| index as usize);
        let mut free: Vec<_> = self.free.iter().map(|index| index.get()).collect();
        free.sort_unstable();
        assert_eq!(free, unheld.collect::<Vec<_>>(), "the free permits are misread");
        assert_eq!(self.held as usize, self.holders().count(), "the held permits are miscounted");
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.holders.iter().copied().flatten()
    }
}

/// There are no more holders than tasks.
fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
