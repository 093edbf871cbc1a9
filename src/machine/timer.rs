//! The timers of the machine: at most one per task, in 4-ary heaps whose entries are really
//! removed, so that dead timers do not pile up. Equal deadlines of one heap come due in the order
//! in which they were set.

use alloc::vec::Vec;
#[cfg(test)]
use core::mem::size_of;
use core::time::Duration;

use crate::vocabulary::id::TaskKey;
use crate::vocabulary::time::Time;

const ARITY: usize = 4;
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: Time,
    /// Orders equal deadlines; wraps around.
    sequence: u32,
    key: TaskKey,
}

/// The timers of all tasks. Those that may be late lie apart, or the first that may not be would be
/// hard to find among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    punctual: Heap,
    patient: Heap,
    /// How late a patient timer may be. If zero, none is.
    slack: Duration,
}

impl Timers {
    pub(super) fn new(slack: Duration) -> Self {
        Self { slack, ..Self::default() }
    }

    /// When the first timer is due. It need not be served before the [deadline](Self::deadline).
    pub(super) fn next_due(&self) -> Time {
        self.punctual.next_due().min(self.patient.next_due())
    }

    /// When a timer must be served at the latest.
    pub(super) fn deadline(&self) -> Time {
        self.punctual.next_due().min(self.patient.next_due().after(self.slack))
    }

    /// When this task's timer is due.
    pub(super) fn due(&self, key: TaskKey) -> Time {
        self.punctual.due(key).min(self.patient.due(key))
    }

    /// All timers, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskKey, Time)> + '_ {
        self.punctual.iter().chain(self.patient.iter())
    }

    /// Sets the task's timer; `NEVER` clears it.
    pub(super) fn set(&mut self, key: TaskKey, due: Time) {
        self.patient.clear(key);
        self.punctual.set(key, due);
    }

    /// Sets the task's timer, which may be late by the slack.
    pub(super) fn set_patient(&mut self, key: TaskKey, due: Time) {
        if self.slack.is_zero() {
            return self.punctual.set(key, due);
        }
        self.punctual.clear(key);
        self.patient.set(key, due);
    }

    /// Clears the task's timer, if there is one.
    pub(super) fn clear(&mut self, key: TaskKey) {
        self.patient.clear(key);
        self.punctual.clear(key);
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<TaskKey> {
        if self.patient.next_due() < self.punctual.next_due() {
            self.patient.pop_due(now)
        } else {
            self.punctual.pop_due(now)
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Heap {
    heap: Vec<Timer>,
    /// The position of each task's timer in the heap. It is not in the task's entry, so that a sift
    /// touches few cache lines.
    positions: Vec<u32>,
    sequence: u32,
}

impl Heap {
    fn next_due(&self) -> Time {
        self.heap.first().map_or(Time::NEVER, |timer| timer.due)
    }

    /// When this task's timer is due.
    fn due(&self, key: TaskKey) -> Time {
        self.position(key).map_or(Time::NEVER, |at| self.heap[at].due)
    }

    fn iter(&self) -> impl Iterator<Item = (TaskKey, Time)> + '_ {
        self.heap.iter().map(|timer| (timer.key, timer.due))
    }

    /// Sets the task's timer; `NEVER` clears it.
    fn set(&mut self, key: TaskKey, due: Time) {
        if due.is_never() {
            return self.clear(key);
        }

        // A timer that is set again goes behind those that were already set for the same time.
        self.sequence = self.sequence.wrapping_add(1);
        let timer = Timer { due, sequence: self.sequence, key };
        if let Some(at) = self.position(key) {
            self.heap[at] = timer;
            self.restore(at);
        } else {
            if self.positions.len() <= key.0 as usize {
                self.positions.resize(key.0 as usize + 1, ABSENT);
            }
            self.heap.push(timer);
            self.sift_up(self.heap.len() - 1);
        }
    }

    /// Clears the task's timer, if there is one.
    fn clear(&mut self, key: TaskKey) {
        let Some(at) = self.position(key) else { return };
        self.positions[key.0 as usize] = ABSENT;
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.restore(at);
        }
    }

    /// Takes the first timer that is due.
    fn pop_due(&mut self, now: Time) -> Option<TaskKey> {
        let first = self.heap.first().filter(|timer| timer.due <= now)?.key;
        self.clear(first);
        Some(first)
    }

    fn position(&self, key: TaskKey) -> Option<usize> {
        self.positions.get(key.0 as usize).filter(|&&at| at != ABSENT).map(|&at| at as usize)
    }

    /// Moves a timer from any position to its place in the heap.
    fn restore(&mut self, at: usize) {
        if self.sift_up(at) == at {
            self.sift_down(at);
        }
    }

    /// Moves the timers that are in the way; the timer itself is written only once.
    fn sift_up(&mut self, mut at: usize) -> usize {
        let timer = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.heap[parent].is_before(&timer) {
                break;
            }
            self.place(at, self.heap[parent]);
            at = parent;
        }
        self.place(at, timer);
        at
    }

    /// The same in the other direction: of up to four children, the earliest moves up.
    fn sift_down(&mut self, mut at: usize) {
        let timer = self.heap[at];
        loop {
            let children = at * ARITY + 1..(at * ARITY + 1 + ARITY).min(self.heap.len());
            let earlier =
                |a: usize, b: usize| if self.heap[b].is_before(&self.heap[a]) { b } else { a };
            let Some(child) = children.reduce(earlier) else { break };
            if timer.is_before(&self.heap[child]) {
                break;
            }
            self.place(at, self.heap[child]);
            at = child;
        }
        self.place(at, timer);
    }

    fn place(&mut self, at: usize, timer: Timer) {
        self.heap[at] = timer;
        self.positions[timer.key.0 as usize] = u32::try_from(at).unwrap_or(ABSENT);
    }
}

impl Timer {
    /// Of two with the same deadline, the one that was set first, unless half of all numbers lie
    /// between them.
    fn is_before(&self, other: &Self) -> bool {
        let first = self.sequence.wrapping_sub(other.sequence) > u32::MAX / 2;
        self.due < other.due || (self.due == other.due && first)
    }
}

/// The timer of a task, and where that lies in the heap.
#[cfg(test)]
pub(crate) const BYTES: usize = size_of::<Timer>() + size_of::<u32>();

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::machine::rng::Rng;

    impl Timers {
        /// For the audit.
        pub(crate) fn len(&self) -> usize {
            self.punctual.heap.len() + self.patient.heap.len()
        }
    }

    #[test]
    fn equal_deadlines_come_due_in_the_order_set() {
        // The numbers may wrap around meanwhile.
        for sequence in [0, u32::MAX - 2] {
            let mut timers = Timers::default();
            timers.punctual.sequence = sequence;
            for key in [3, 1, 2, 0] {
                timers.set(TaskKey(key), Time::from_nanos(5));
            }
            let due = core::iter::from_fn(|| timers.pop_due(Time::from_nanos(5)));
            assert_eq!(due.map(|key| key.0).collect::<Vec<_>>(), [3, 1, 2, 0]);
        }
    }

    #[test]
    fn a_patient_timer_is_due_early_and_late_only_at_its_deadline() {
        let mut timers = Timers::new(Duration::from_nanos(10));
        let at = Time::from_nanos;
        timers.set_patient(TaskKey(1), at(5));
        timers.set(TaskKey(2), at(20));
        timers.set_patient(TaskKey(3), at(7));
        assert_eq!((timers.next_due(), timers.deadline(), timers.len()), (at(5), at(15), 3));
        assert_eq!(timers.pop_due(at(6)), Some(TaskKey(1)));
        assert_eq!((timers.pop_due(at(6)), timers.deadline()), (None, at(17)));
        // A timer is of one kind at a time.
        timers.set(TaskKey(3), at(30));
        timers.set_patient(TaskKey(2), at(19));
        assert_eq!((timers.due(TaskKey(2)), timers.due(TaskKey(3))), (at(19), at(30)));
        assert_eq!((timers.deadline(), timers.len()), (at(29), 2));
        timers.clear(TaskKey(2));
        timers.clear(TaskKey(3));
        assert_eq!((timers.deadline(), timers.len()), (Time::NEVER, 0));
    }

    #[test]
    fn agrees_with_a_sorted_map_under_random_use() {
        let mut timers = Timers::default();
        let mut naive: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut rng = Rng::new(7);
        for sequence in 0..20_000 {
            let key = (rng.next() % 300) as u32;
            match rng.next() % 4 {
                0 => {
                    timers.clear(TaskKey(key));
                    naive.remove(&key);
                }
                1 => {
                    let popped = timers.pop_due(Time::from_nanos(500)).map(|key| key.0);
                    let first = naive.iter().min_by_key(|(_, &order)| order);
                    let expected = first.filter(|(_, &(due, _))| due <= 500).map(|(&key, _)| key);
                    assert_eq!(popped, expected);
                    if let Some(key) = popped {
                        naive.remove(&key);
                    }
                }
                _ => {
                    let due = rng.next() % 1000;
                    timers.set(TaskKey(key), Time::from_nanos(due));
                    naive.insert(key, (due, sequence));
                }
            }
            assert_eq!(timers.len(), naive.len());
            let next = naive.values().min().map_or(Time::NEVER, |&(due, _)| Time::from_nanos(due));
            assert_eq!(timers.next_due(), next);
        }
    }
}
