//! The values behind the machine's keys: bodies, errors, promises; and names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::notice::error_or_text;
use crate::machine::table::{SharedTable, Table};
use crate::output::error::TaskError;
use crate::output::outcome::Outcome;
use crate::platform::stall::Stall;
use crate::platform::threads::ThreadOptions;
use crate::task::body::Body;
use crate::task::cell::{Allowance, Cell, Load};
use crate::task::class_names::ClassNames;
use crate::task::envelope::Entry;
use crate::task::fact::Returned;
use crate::task::record::Record;
use crate::task::settings::Settings;
use crate::task::spec::TaskSpec;
use crate::vocabulary::answer::RevokeAnswer;
use crate::vocabulary::id::{AttemptAddr, ClassIndex, TaskAddr, TaskKey, TaskRef};
use crate::vocabulary::not_retried::{NoRetry, NotRetried};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::policy::AbandonPolicy;
use crate::vocabulary::reason::{CancelReason, Decision, FailureCause};

/// What the runtime keeps of one task, but for its body. Snapshots read it elsewhere.
#[derive(Clone)]
pub(super) struct Belongings {
    record: Arc<Record>,
    pub(super) plan: Arc<Plan>,
    /// The cell of the latest attempt.
    pub(super) cell: Option<Arc<Cell>>,
    /// The error that the latest attempt returned, if any.
    pub(super) error: Option<TaskError>,
    /// The latest failure, for the attempts that retry it.
    pub(super) last_failure: Option<TaskError>,
    /// Boxed, because few tasks need it, and each has this field.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Default)]
struct Rare {
    /// The options of its dedicated threads, if it asks for them.
    dedicated: Option<Box<ThreadOptions>>,
    /// What the kernel knew about the latest attempt, if that was examined.
    stall: Option<Stall>,
    /// Why its latest failure is its last.
    no_retry: Option<NoRetry>,
}

/// What there is of a task's body, as long as no worker has it.
pub(super) enum BodyStore {
    /// The whole spec, until the submission is decided.
    Spec(TaskSpec),
    /// The body, while it is neither in a cell nor with a worker.
    Body(Option<Body>),
}

impl BodyStore {
    fn take_body(&mut self) -> Option<Body> {
        match self {
            Self::Body(body) => body.take(),
            Self::Spec(_) => None,
        }
    }
}

impl Belongings {
    fn new(record: Arc<Record>, plan: Arc<Plan>) -> Self {
        Self { record, plan, cell: None, error: None, last_failure: None, rare: None }
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    pub(super) fn task_ref(&self) -> TaskRef {
        self.record().task_ref()
    }

    pub(super) fn dedicated(&self) -> Option<&ThreadOptions> {
        self.rare.as_ref()?.dedicated.as_deref()
    }

    pub(super) fn stall(&self) -> Option<&Stall> {
        self.rare.as_ref()?.stall.as_ref()
    }

    pub(super) fn set_stall(&mut self, stall: Option<Stall>) {
        if stall.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_with(Box::default).stall = stall;
        }
    }

    /// Passes the decision on. A refused spec goes back with it, if the caller waits for that.
    pub(super) fn decide(&mut self, kept: &mut BodyStore, decision: Decision) {
        let refused = matches!(decision, Decision::Rejected(_));
        let gives_back = refused && self.record.gives_back();
        let spec = match std::mem::replace(kept, BodyStore::Body(None)) {
            BodyStore::Spec(spec) => Some(spec),
            BodyStore::Body(body) => {
                *kept = BodyStore::Body(body);
                None
            }
        };
        let back = match spec {
            Some(mut spec) if !gives_back => {
                if let Some(dedicated) = spec.take_dedicated() {
                    self.rare.get_or_insert_with(Box::default).dedicated = Some(dedicated);
                }
                *kept = BodyStore::Body(spec.into_body());
                None
            }
            spec => spec,
        };
        self.record.decide(decision, back);
    }

    /// Puts the body into the cell of a new attempt.
    pub(super) fn load(
        &mut self,
        kept: &mut BodyStore,
        attempt: AttemptAddr,
        class_index: Option<ClassIndex>,
        failures: u32,
    ) -> Arc<Cell> {
        let body = kept.take_body().expect("a body that runs again is kept");
        // A share of it stays for a retry beside this attempt.
        let share = body.share().filter(|_| self.plan.abandon == AbandonPolicy::Release);
        *kept = BodyStore::Body(share);
        let Plan { timeout, max_timeout, ready_within, .. } = *self.plan;
        let load = Load {
            body,
            allowance: Allowance { timeout, max_timeout, ready_within },
            class_index,
            failures,
            last_failure: self.last_failure.clone().filter(|_| failures > 0),
        };
        let cell = Arc::new(Cell::offer(Arc::clone(self.record()), attempt, load));
        self.cell = Some(Arc::clone(&cell));
        self.set_stall(None);
        cell
    }

    /// Takes the attempt back, unless a thread has claimed it.
    pub(super) fn revoke(&self, kept: &mut BodyStore) -> Option<RevokeAnswer> {
        match self.cell.as_ref()?.revoke() {
            Ok(load) => {
                *kept = BodyStore::Body(Some(load.body));
                Some(RevokeAnswer::Revoked)
            }
            Err(claimed_at) => Some(RevokeAnswer::AlreadyClaimed(claimed_at)),
        }
    }

    /// Keeps the failure for the attempt that retries it. An abandoned attempt has no error.
    pub(super) fn note_failure(&mut self, cause: FailureCause, last: Option<NoRetry>) {
        let returned = self.error.clone().filter(|_| cause != FailureCause::Abandoned);
        self.last_failure = Some(error_or_text(returned, cause));
        if last.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_with(Box::default).no_retry = last;
        }
    }

    /// Why the failure that has ended the task was not retried, after a streak of this length.
    pub(super) fn not_retried(&self, streak: u32) -> Option<NotRetried> {
        let why = self.rare.as_ref()?.no_retry?;
        let in_window = self.plan.failure_limit.filter(|_| why == NoRetry::FailureLimit);
        let failures = in_window.map_or(streak, |limit| limit.failures.saturating_add(1));
        Some(NotRetried { why, failures })
    }

    /// Takes the error and the body of a returned attempt back. True if there is no body left.
    pub(super) fn take_home(&mut self, kept: &mut BodyStore, returned: &mut Returned) -> bool {
        self.error = returned.error.take();
        // A share of it may have been kept for a retry beside this attempt.
        let body = returned.body.take().or_else(|| kept.take_body());
        let none = body.is_none();
        *kept = BodyStore::Body(body);
        // A waiting task does not keep the cell of its last attempt.
        self.cell = None;
        none
    }

    /// Puts the body into the cell of a closing.
    pub(super) fn close(
        &mut self,
        kept: &mut BodyStore,
        attempt: AttemptAddr,
        reason: CancelReason,
    ) -> Option<Arc<Cell>> {
        let record = Arc::clone(&self.record);
        let cell = Arc::new(Cell::closing(record, attempt, kept.take_body()?, reason));
        self.cell = Some(Arc::clone(&cell));
        self.set_stall(None);
        Some(cell)
    }
}

/// All belongings, under the keys that the machine uses, and the names of slots. A task that is
/// removed without an outcome is lost.
pub(super) struct Values {
    belongings: SharedTable<Belongings>,
    bodies: Table<BodyStore>,
    /// The lowest number above all keys in use.
    next: u32,
    free: Vec<u32>,
    pub(super) slots: Names,
    plans: Plans,
}

impl Values {
    pub(super) fn new(defaults: Settings, grace: Duration) -> Self {
        Self {
            belongings: SharedTable::default(),
            bodies: Table::default(),
            next: 0,
            free: Vec::new(),
            slots: Names::default(),
            plans: Plans { defaults, grace, latest: None },
        }
    }

    /// Takes a submission in, and gives it a key.
    pub(super) fn insert(&mut self, entry: Entry) -> (TaskAddr, Arc<Plan>) {
        let Entry { spec, promise } = entry;
        let record = promise.take_over();
        let plan = self.plans.of(&spec, &record.door.classes);
        let key = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let task = TaskAddr { key: TaskKey(key), id: record.id };
        record.set_key(task.key);
        self.belongings.insert(key, Belongings::new(record, Arc::clone(&plan)));
        self.bodies.insert(key, BodyStore::Spec(spec));
        (task, plan)
    }

    pub(super) fn remove(&mut self, task: TaskAddr) {
        let Some(belongings) = self.belongings.remove(task.key.0) else { return };
        belongings.record.end(Outcome::Lost);
        self.free.push(task.key.0);
        let body = self.bodies.remove(task.key.0).and_then(|mut kept| kept.take_body());
        // What runs no code need not go to another thread.
        if let Some(body) = body.filter(|_| !belongings.plan.needs_drop) {
            body.drop_here();
        }
    }

    /// Takes all out that are left; they have no outcome yet unless they were given one.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Belongings> + '_ {
        (0..self.next).filter_map(|key| {
            self.bodies.remove(key);
            self.belongings.remove(key)
        })
    }

    /// All belongings as they are now, to be read elsewhere.
    pub(super) fn share(&mut self) -> Arc<SharedTable<Belongings>> {
        self.belongings.share()
    }

    pub(super) fn get(&self, key: TaskKey) -> Option<&Belongings> {
        self.belongings.get(key.0)
    }

    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Belongings> {
        self.belongings.get_mut(key.0)
    }

    pub(super) fn with_body(&mut self, key: TaskKey) -> Option<(&mut Belongings, &mut BodyStore)> {
        self.belongings.get_mut(key.0).zip(self.bodies.get_mut(key.0))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Belongings> {
        self.belongings.iter()
    }

    /// Notes what the kernel knew about an attempt or a closing, if that is its task's latest.
    pub(super) fn note_stall(
        &mut self,
        attempt: AttemptAddr,
        closing: bool,
        stall: &Stall,
    ) -> Option<&Arc<Record>> {
        let belongings = self.get_mut(attempt.task.key)?;
        belongings.cell.as_ref().filter(|it| it.attempt == attempt && it.closing == closing)?;
        belongings.set_stall(Some(stall.clone()));
        Some(&belongings.record)
    }

    /// The cell of an attempt, if that is its task's latest.
    pub(super) fn cell(&self, attempt: AttemptAddr) -> Option<&Arc<Cell>> {
        let cell = self.get(attempt.task.key)?.cell.as_ref()?;
        (cell.attempt == attempt).then_some(cell)
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for belongings in self.belongings.iter() {
            belongings.record.end(Outcome::Lost);
        }
    }
}

/// Makes plans, and shares them: most tasks of a program have the same plan as the one before, and
/// a separate plan would add half to the memory of a waiting task.
struct Plans {
    defaults: Settings,
    grace: Duration,
    latest: Option<Arc<Plan>>,
}

impl Plans {
    fn of(&mut self, spec: &TaskSpec, classes: &ClassNames) -> Arc<Plan> {
        let plan = spec.plan(&self.defaults, self.grace, classes);
        let known = self.latest.take().filter(|latest| **latest == plan);
        let plan = known.unwrap_or_else(|| Arc::new(plan));
        self.latest = Some(Arc::clone(&plan));
        plan
    }
}

/// Keys by name, of slots or of groups. What the machine has forgotten has no key.
#[derive(Default)]
pub(super) struct Names {
    keys: HashMap<Arc<str>, u32>,
    names: Vec<Option<Arc<str>>>,
    free: Vec<u32>,
}

impl Names {
    pub(super) fn intern(&mut self, name: &Arc<str>) -> u32 {
        if let Some(&key) = self.keys.get(name) {
            return key;
        }
        let key = self.free.pop().unwrap_or_else(|| {
            self.names.push(None);
            u32::try_from(self.names.len() - 1).expect("there are no more names than tasks")
        });
        self.names[key as usize] = Some(Arc::clone(name));
        self.keys.insert(Arc::clone(name), key);
        key
    }

    pub(super) fn forget(&mut self, key: u32) {
        if let Some(name) = self.names[key as usize].take() {
            self.keys.remove(&name);
            self.free.push(key);
        }
    }

    pub(super) fn key(&self, name: &str) -> Option<u32> {
        self.keys.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::machine::{Task, TIMER_BYTES};

    /// What the guide says of the bytes of a waiting task.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_bytes_of_a_waiting_task_are_what_the_page_says() {
        let page = include_str!("../guide/performance.md");
        let counts = 2 * size_of::<usize>();
        let parts = [
            ("state", size_of::<Option<Task>>()),
            ("record", size_of::<Record>() + counts),
            ("belongings", size_of::<Option<Belongings>>()),
            ("body", size_of::<Option<BodyStore>>()),
            ("timer", TIMER_BYTES),
        ];
        for (part, bytes) in parts {
            assert!(page.contains(&format!("| {part} | {bytes} |")), "{part}: {bytes}");
        }
        let all: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        assert!(page.contains(&format!("| in all | {all} |")), "in all: {all}");
    }
}
