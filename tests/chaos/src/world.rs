//! What everybody in the life of one supervisor shares: the ledger of what was accepted, the values
//! that must be dropped, who runs where, and the faults found.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use threadvisor::prelude::*;

use crate::listen::Note;

pub struct World {
    pub seed: u64,
    pub max_concurrent: usize,
    /// Attempts of these slots may be released, so that owners may overlap.
    pub released_from: usize,
    /// How often a body began to wait for a task, which then needs no permit, nor does the owner of
    /// its slot.
    pub waits: AtomicUsize,
    slots: Vec<AtomicUsize>,
    running: AtomicUsize,
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
    /// How many values of each kind there are.
    values: Mutex<BTreeMap<&'static str, usize>>,
    pub attempts: AtomicUsize,
    /// How many threads the process had just before the end.
    pub threads: AtomicUsize,
    pub notes: Mutex<Vec<Note>>,
    pub draining: AtomicBool,
    faults: Mutex<Vec<String>>,
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
            slots: (0..slots).map(|_| AtomicUsize::new(0)).collect(),
            running: AtomicUsize::new(0),
            gate: (Mutex::new(false), Condvar::new()),
            may_hang,
            refusals: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            ledger: Mutex::default(),
            recent: Mutex::default(),
            refused_adds: AtomicUsize::new(0),
            orphan: Mutex::default(),
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

    /// A body begins: is it alone in its slot, and has it a permit?
    pub fn enter(self: &Arc<Self>, slot: Option<usize>) -> Inside {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let checked = slot.filter(|&slot| slot < self.released_from);
        if let Some(slot) = checked {
            let others = self.slots[slot].fetch_add(1, Ordering::SeqCst);
            if others > 0 {
                self.fault(format!("{others} others run in slot {slot}"));
            }
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            let most = self.most_permits(self.max_concurrent);
            if running > most {
                self.fault(format!("{running} run, {most} may"));
            }
        }
        Inside { world: Arc::clone(self), slot: checked }
    }

    /// A wait may end before the task that it exempted, so each counts for good.
    pub fn most_permits(&self, limit: usize) -> usize {
        limit.saturating_add(2 * self.waits.load(Ordering::SeqCst))
    }

    pub fn value(self: &Arc<Self>, kind: &'static str, panics: bool) -> Value {
        *lock(&self.values).entry(kind).or_default() += 1;
        Value { world: Arc::clone(self), kind, panics }
    }

    /// Values that were made and not dropped.
    pub fn values_left(&self) -> BTreeMap<&'static str, usize> {
        let mut left = lock(&self.values).clone();
        left.retain(|_, count| *count > 0);
        left
    }
}

/// Held while a body runs.
pub struct Inside {
    world: Arc<World>,
    slot: Option<usize>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.world.running.fetch_sub(1, Ordering::SeqCst);
            self.world.slots[slot].fetch_sub(1, Ordering::SeqCst);
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
}

impl Value {
    pub const fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        *lock(&self.world.values).entry(self.kind).or_default() -= 1;
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name.starts_with("ctl-") {
            self.world.fault(format!("a {} was dropped on the controller's thread", self.kind));
        }
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
