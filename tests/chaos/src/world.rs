//! What everybody in the life of one supervisor shares: the ledger of what was accepted, the values
//! that must be dropped, who runs where, and the faults found.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use threadvisor::prelude::*;

use crate::dice::Dice;
use crate::listen::Note;

pub struct World {
    pub seed: u64,
    pub max_concurrent: usize,
    /// Attempts of these slots may be released, so that owners may overlap.
    pub released_from: usize,
    /// How often a body began to wait for a task, which then needs no permit, nor does the owner of
    /// its slot.
    pub waits: AtomicUsize,
    slots: Vec<Slot>,
    running: AtomicUsize,
    /// The grace of the supervisor.
    pub grace: OnceLock<Duration>,
    /// Whether a task that is cancelled has its outcome soon, whatever hangs: threads are to be
    /// had, and no number of stuck destructors keeps others waiting.
    pub prompt: AtomicBool,
    /// Bodies that hang until the end wait for this.
    gate: (Mutex<bool>, Condvar),
    /// Whether bodies may hang until the end.
    pub may_hang: bool,
    /// Per cent of the threads that are refused.
    pub refusals: AtomicUsize,
    /// Threads asked for so far.
    pub starts: AtomicUsize,
    /// Everything accepted.
    ledger: Mutex<Vec<TaskHandle>>,
    /// Some of it, to be meddled with.
    recent: Mutex<VecDeque<TaskHandle>>,
    /// Submissions that came back undone though they reached the controller.
    pub refused_adds: AtomicUsize,
    /// A supervisor to be dropped by whoever finds it.
    pub orphan: Mutex<Option<Supervisor>>,
    /// The bodies by the names of their tasks.
    bodies: Mutex<HashMap<String, Body>>,
    /// How many values of each kind there are.
    values: Mutex<BTreeMap<&'static str, usize>>,
    pub attempts: AtomicUsize,
    /// How many threads the process had just before the end.
    pub threads: AtomicUsize,
    pub notes: Mutex<Vec<Note>>,
    pub draining: AtomicBool,
    faults: Mutex<Vec<String>>,
}

/// Whether a body is not dropped yet.
type Body = Arc<AtomicBool>;

#[derive(Default)]
struct Slot {
    inside: AtomicUsize,
    /// The body of its latest owner that ran.
    latest: Mutex<Option<Body>>,
}

/// Runs what may drop values that panic, on a thread where nobody else would catch that.
pub fn contained(run: impl FnOnce()) {
    // The payload is dropped here, and may panic as well: then there is only a `Thud` left.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

/// Poison is what panicking bodies leave behind, and says nothing here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, slots: usize, max_concurrent: usize, may_hang: bool) -> Self {
        Self {
            seed,
            max_concurrent,
            released_from: slots - slots / 4,
            waits: AtomicUsize::new(0),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            running: AtomicUsize::new(0),
            grace: OnceLock::new(),
            prompt: AtomicBool::new(false),
            gate: (Mutex::new(false), Condvar::new()),
            may_hang,
            refusals: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            ledger: Mutex::default(),
            recent: Mutex::default(),
            refused_adds: AtomicUsize::new(0),
            orphan: Mutex::default(),
            bodies: Mutex::default(),
            values: Mutex::default(),
            attempts: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            notes: Mutex::default(),
            draining: AtomicBool::new(false),
            faults: Mutex::default(),
        }
    }

    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Blocks, whatever the token says; at most until the end.
    pub fn hang(&self, span: Option<Duration>) {
        let (open, opened) = &self.gate;
        let open = lock(open);
        let Some(span) = span else {
            drop(opened.wait_while(open, |open| !*open));
            return;
        };
        drop(opened.wait_timeout_while(open, span, |open| !*open));
    }

    pub fn open_gate(&self) {
        *lock(&self.gate.0) = true;
        self.gate.1.notify_all();
    }

    /// Notes that a submission was accepted.
    pub fn accepted(&self, task: TaskHandle) {
        let mut recent = lock(&self.recent);
        recent.push_back(task.clone());
        if recent.len() > 64 {
            recent.pop_front();
        }
        drop(recent);
        lock(&self.ledger).push(task);
    }

    pub fn recent(&self, pick: impl FnOnce(usize) -> usize) -> Option<TaskHandle> {
        let recent = lock(&self.recent);
        let position = pick(recent.len());
        recent.get(position).cloned()
    }

    /// All that was accepted; the world forgets it, and with it the way back to itself.
    pub fn take_ledger(&self) -> Vec<TaskHandle> {
        lock(&self.recent).clear();
        std::mem::take(&mut *lock(&self.ledger))
    }

    pub fn fault(&self, text: impl Into<String>) {
        let mut faults = lock(&self.faults);
        if faults.len() < 20 {
            faults.push(text.into());
        }
    }

    pub fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    /// A body begins: is it alone in its slot, has the last owner closed, and has it a permit?
    pub fn enter(self: &Arc<Self>, slot: Option<usize>, body: &Value) -> Inside {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let checked = slot.filter(|&slot| slot < self.released_from);
        if let Some(slot) = checked {
            let others = self.slots[slot].inside.fetch_add(1, Ordering::SeqCst);
            if others > 0 {
                self.fault(format!("{others} others run in slot {slot}"));
            }
            let own = body.body.clone();
            let before = std::mem::replace(&mut *lock(&self.slots[slot].latest), own);
            let is_own = before.as_ref().map(Arc::as_ptr) == body.body.as_ref().map(Arc::as_ptr);
            if !is_own && before.is_some_and(|before| before.load(Ordering::SeqCst)) {
                self.fault(format!("slot {slot} has passed on before its owner was closed"));
            }
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            let most = self.most_permits(self.max_concurrent);
            if running > most {
                self.fault(format!("{running} run, {most} may"));
            }
        }
        Inside { world: Arc::clone(self), slot: checked }
    }

    /// A wait may end before the tasks that it exempted, so each counts for good.
    pub fn most_permits(&self, limit: usize) -> usize {
        limit.saturating_add(EXEMPT * self.waits.load(Ordering::SeqCst))
    }

    pub fn value(self: &Arc<Self>, kind: &'static str, panics: bool) -> Value {
        *lock(&self.values).entry(kind).or_default() += 1;
        Value { world: Arc::clone(self), kind, panics, hangs: Duration::ZERO, body: None }
    }

    /// What the body of a task owns.
    pub fn body(self: &Arc<Self>, task: &str, panics: bool) -> Value {
        let body = Arc::new(AtomicBool::new(true));
        lock(&self.bodies).insert(task.to_owned(), Arc::clone(&body));
        let mut value = self.value("body", panics);
        value.body = Some(body);
        value
    }

    /// Whether the body of this task is not dropped yet.
    pub fn has_body(&self, task: &TaskHandle) -> bool {
        lock(&self.bodies).get(task.name()).is_some_and(|body| body.load(Ordering::SeqCst))
    }

    /// How many bodies there still are of tasks that have ended in another way than at the door.
    pub fn unclosed(&self) -> usize {
        let at_door = |outcome| matches!(outcome, Outcome::Rejected(Rejection::ShuttingDown));
        let ended = |task: &&TaskHandle| task.outcome().is_some_and(|it| !at_door(it));
        lock(&self.ledger).iter().filter(ended).filter(|task| self.has_body(task)).count()
    }

    /// Values that were made and not dropped.
    pub fn values_left(&self) -> BTreeMap<&'static str, usize> {
        let mut left = lock(&self.values).clone();
        left.retain(|_, count| *count > 0);
        left
    }
}

/// How many tasks one wait exempts at most: the task, the owner of the slot for which it is queued,
/// a group of 6, and the holders of a class of 8.
const EXEMPT: usize = 1 + 1 + 6 + 8;

/// Held while a body runs.
pub struct Inside {
    world: Arc<World>,
    slot: Option<usize>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.world.running.fetch_sub(1, Ordering::SeqCst);
            self.world.slots[slot].inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The payload of a destructor's panic: without a size, since one that comes while another payload
/// is dropped is leaked on purpose.
struct Thud;

/// Something of the user's: part of a body, hook or subscriber, an error, a payload.
pub struct Value {
    world: Arc<World>,
    kind: &'static str,
    panics: bool,
    /// How long its destructor takes on a thread of the supervisor, perhaps until the end.
    hangs: Duration,
    body: Option<Body>,
}

impl Value {
    /// Perhaps its destructor takes its time.
    pub fn slow(mut self, dice: &mut Dice) -> Self {
        self.hangs = match dice.below(40) {
            0 if self.world.may_hang => Duration::MAX,
            0..=2 => dice.up_to_ms(150),
            _ => Duration::ZERO,
        };
        self
    }

    pub const fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name.starts_with("ctl-") {
            self.world.fault(format!("a {} was dropped on the controller's thread", self.kind));
        }
        // What is given back is dropped by its user, for whom the end waits.
        let is_worker = name.strip_prefix('w').is_some_and(|it| it.starts_with(char::is_numeric));
        let is_pool = is_worker || name == "own" || name.starts_with("hook-");
        if is_pool && !self.hangs.is_zero() {
            self.world.hang(Some(self.hangs).filter(|span| *span < Duration::MAX));
        }
        if let Some(body) = &self.body {
            body.store(false, Ordering::SeqCst);
        }
        *lock(&self.world.values).entry(self.kind).or_default() -= 1;
        // A second panic while the first unwinds would end the process, whoever catches.
        if self.panics && !std::thread::panicking() {
            resume_unwind(Box::new(Thud));
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value as an error")
    }
}

impl std::error::Error for Value {}
