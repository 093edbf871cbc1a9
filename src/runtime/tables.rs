//! The user's values behind the machine's keys, and the keys behind the names of slots.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::garbage::Garbage;
use crate::machine::table::Table;
use crate::output::error::TaskError;
use crate::platform::stall::Stall;
use crate::platform::threads::ThreadOptions;
use crate::task::body::Body;
use crate::task::cell::Cell;
use crate::task::envelope::Entry;
use crate::task::leftover::Leftover;
use crate::task::record::Promise;
use crate::task::settings::Settings;
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::{self, SlotKey, TaskKey, TaskRef};
use crate::vocabulary::plan::Plan;

/// What the runtime keeps of a task.
pub(super) struct Job {
    pub(super) promise: Promise,
    /// Whole until the submission is decided.
    pub(super) spec: Option<TaskSpec>,
    pub(super) returns_spec: bool,
    pub(super) plan: Arc<Plan>,
    /// At home: not in a cell, not with a worker.
    pub(super) body: Option<Body>,
    /// Bodies of earlier owners of the slot, to be dropped before this one starts.
    pub(super) inherited: Vec<Leftover>,
    /// The cell of the latest attempt.
    pub(super) cell: Option<Arc<Cell>>,
    /// What the latest attempt returned, unless that was `Ok`.
    pub(super) error: Option<TaskError>,
    /// The latest failure, for the attempts that retry it.
    pub(super) last_failure: Option<TaskError>,
    /// A thread of its own for each attempt, if it wants one.
    pub(super) dedicated: Option<Box<ThreadOptions>>,
    /// What the kernel knew of the latest attempt, if that was looked at.
    pub(super) stall: Option<Box<Stall>>,
}

impl Job {
    pub(super) fn new(entry: Entry, plan: Arc<Plan>) -> Self {
        Self {
            promise: entry.promise,
            spec: Some(entry.spec),
            returns_spec: entry.returns_spec,
            plan,
            body: None,
            inherited: Vec::new(),
            cell: None,
            error: None,
            last_failure: None,
            dedicated: None,
            stall: None,
        }
    }

    pub(super) fn task_ref(&self) -> TaskRef {
        self.promise.0.task_ref()
    }

    /// All that must not be dropped on the controller.
    pub(super) fn into_user_values(self) -> impl Iterator<Item = Garbage> {
        let leftovers = self.inherited.into_iter().map(Garbage::Leftover);
        let errors = self.error.into_iter().chain(self.last_failure).map(Garbage::Error);
        let spec = self.spec.map(Garbage::Spec);
        leftovers.chain(self.body.map(Garbage::Body)).chain(spec).chain(errors)
    }
}

/// All jobs, under the keys that the machine uses.
#[derive(Default)]
pub(super) struct Jobs {
    entries: Table<Job>,
    /// Above all keys in use.
    next: u32,
    free: Vec<u32>,
}

impl Jobs {
    pub(super) fn insert(&mut self, job: Job) -> id::TaskAddr {
        let key = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let task = id::TaskAddr { key: TaskKey(key), id: job.promise.0.id };
        job.promise.0.set_key(task.key);
        self.entries.insert(key, job);
        task
    }

    pub(super) fn remove(&mut self, task: id::TaskAddr) -> Option<Job> {
        let job = self.entries.remove(task.key.0)?;
        self.free.push(task.key.0);
        Some(job)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Job> + '_ {
        (0..self.next).filter_map(|key| self.entries.remove(key))
    }

    pub(super) fn get(&self, key: TaskKey) -> Option<&Job> {
        self.entries.get(key.0)
    }

    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Job> {
        self.entries.get_mut(key.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.entries.iter()
    }
}

/// Makes plans, and shares them: most tasks of a program are planned like the one before, and a
/// plan of its own would add half to the memory of a task that waits.
pub(super) struct Plans {
    defaults: Settings,
    grace: Duration,
    latest: Option<Arc<Plan>>,
}

impl Plans {
    pub(super) const fn new(defaults: Settings, grace: Duration) -> Self {
        Self { defaults, grace, latest: None }
    }

    pub(super) fn of(&mut self, spec: &TaskSpec) -> Arc<Plan> {
        let plan = spec.plan(&self.defaults, self.grace);
        let known = self.latest.take().filter(|latest| **latest == plan);
        let plan = known.unwrap_or_else(|| Arc::new(plan));
        self.latest = Some(Arc::clone(&plan));
        plan
    }
}

/// Slot keys by name. A slot that the machine has forgotten has no key.
#[derive(Default)]
pub(super) struct SlotNames {
    keys: HashMap<Arc<str>, SlotKey>,
    names: Vec<Option<Arc<str>>>,
    free: Vec<u32>,
}

impl SlotNames {
    pub(super) fn intern(&mut self, name: &Arc<str>) -> SlotKey {
        if let Some(&key) = self.keys.get(name) {
            return key;
        }
        let key = self.free.pop().unwrap_or_else(|| {
            self.names.push(None);
            u32::try_from(self.names.len() - 1).expect("there are no more slots than tasks")
        });
        self.names[key as usize] = Some(Arc::clone(name));
        self.keys.insert(Arc::clone(name), SlotKey(key));
        SlotKey(key)
    }

    pub(super) fn forget(&mut self, key: SlotKey) {
        if let Some(name) = self.names[key.0 as usize].take() {
            self.keys.remove(&name);
            self.free.push(key.0);
        }
    }

    pub(super) fn key(&self, name: &str) -> Option<SlotKey> {
        self.keys.get(name).copied()
    }

    pub(super) fn name(&self, key: SlotKey) -> Option<&Arc<str>> {
        self.names.get(key.0 as usize)?.as_ref()
    }
}
