//! What is stuck, told from the orders alone: attempts that were given up and have not returned,
//! held or released, and hooks.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::machine::Machine;
use crate::vocabulary::id::{AttemptAddr, TaskId};

pub(super) struct Stuck {
    cap: u32,
    held: BTreeSet<(TaskId, u64)>,
    released: BTreeSet<(TaskId, u64)>,
    hooks: u32,
    /// Drops, and whether their tasks wait for them.
    drops: BTreeMap<TaskId, bool>,
}

impl Stuck {
    pub(super) const fn new(cap: u32) -> Self {
        Self {
            cap,
            held: BTreeSet::new(),
            released: BTreeSet::new(),
            hooks: 0,
            drops: BTreeMap::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.held.len() + self.released.len() + self.hooks as usize + self.drops.len()
    }

    pub(super) fn is_above_cap(&self) -> bool {
        self.count() > self.cap as usize
    }

    pub(super) fn is_released(&self, attempt: AttemptAddr) -> bool {
        self.released.contains(&(attempt.task.id, attempt.number))
    }

    pub(super) fn hook_abandoned(&mut self) {
        self.hooks += 1;
    }

    pub(super) fn hook_returned(&mut self) {
        self.hooks -= 1;
    }

    /// An attempt is given up, under this policy and in this way.
    pub(super) fn abandoned(&mut self, attempt: AttemptAddr, to_release: bool, released: bool) {
        let below_cap = self.count() < self.cap as usize;
        assert_eq!(released, to_release && below_cap, "{} of {}", self.count(), self.cap);
        let set = if released { &mut self.released } else { &mut self.held };
        assert!(set.insert((attempt.task.id, attempt.number)), "{attempt:?} is given up twice");
    }

    /// It has come back. Gives whether it was held.
    pub(super) fn returned(&mut self, attempt: AttemptAddr) -> bool {
        let attempt = (attempt.task.id, attempt.number);
        let (held, released) = (self.held.remove(&attempt), self.released.remove(&attempt));
        assert!(held != released, "{attempt:?} was not given up");
        held
    }

    /// The drop of a body is given up, under this policy and in this way.
    pub(super) fn drop_abandoned(&mut self, task: TaskId, to_release: bool, released: bool) {
        let below_cap = self.count() < self.cap as usize;
        assert_eq!(released, to_release && below_cap, "{} of {}", self.count(), self.cap);
        assert_eq!(self.drops.insert(task, !released), None, "given up twice");
    }

    pub(super) fn drop_returned(&mut self, task: TaskId) {
        assert!(self.drops.remove(&task).is_some(), "the drop of {task} was not given up");
    }

    pub(super) fn has_drop(&self, task: TaskId) -> bool {
        self.drops.contains_key(&task)
    }

    /// Whether something stuck keeps what the task has.
    pub(super) fn holds(&self, task: TaskId) -> bool {
        let held = self.held.iter().any(|(of, _)| *of == task);
        held || self.drops.get(&task).copied().unwrap_or(false)
    }

    pub(super) fn compare(&self, machine: &Machine) {
        assert_eq!(machine.stuck as usize, self.count(), "what is stuck is miscounted");
        let released = self.released.len() + self.drops.values().filter(|held| !**held).count();
        assert_eq!(machine.released.len(), released, "the ledger is wrong");
        assert!(released <= self.cap as usize, "more is released than may be");
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        assert_eq!(self.count(), 0, "something is stuck for ever");
    }
}
