//! Who owns what and who waits for it, told from the orders alone: the slots with their queues, and
//! the one queue for permits.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::machine::{End, Machine};
use crate::vocabulary::id::TaskId;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{Decision, Rejection, StopReason};

#[derive(Default)]
struct Slot {
    owner: Option<TaskId>,
    queue: Vec<TaskId>,
    /// Whose body runs, physically.
    body: Option<TaskId>,
}

/// By name.
#[derive(Default)]
pub(super) struct Slots(BTreeMap<u32, Slot>);

impl Slots {
    fn slot(&mut self, slot: Option<u32>) -> Option<&mut Slot> {
        slot.map(|slot| self.0.entry(slot).or_default())
    }

    pub(super) fn decide(
        &mut self,
        slot: Option<u32>,
        policy: AdmissionPolicy,
        task: TaskId,
        decision: Decision,
        limit: usize,
    ) {
        let Some(slot) = self.slot(slot) else {
            assert!(!matches!(decision, Decision::Queued { .. }), "{task} waits for no slot");
            return;
        };
        match decision {
            Decision::Admitted => assert_eq!(slot.owner, None, "{task} gets a slot that is owned"),
            Decision::Queued { ahead } => {
                assert!(slot.owner.is_some(), "{task} waits for an idle slot");
                assert_ne!(policy, AdmissionPolicy::DropIfRunning);
                let first = policy == AdmissionPolicy::Replace;
                let at = if first { 0 } else { slot.queue.len() };
                assert_eq!(ahead, at, "{task} is at the wrong place of the queue");
                assert!(
                    policy != AdmissionPolicy::KeepLatest || at == 0,
                    "{task} did not replace all that waited"
                );
                assert!(policy != AdmissionPolicy::Queue || at < limit, "{task} is one too many");
                slot.queue.insert(at, task);
            }
            Decision::Rejected(Rejection::QueueFull { .. }) => {
                assert_eq!(policy, AdmissionPolicy::Queue);
                assert!(slot.queue.len() >= limit, "{task} finds a full queue that is not full");
            }
            Decision::Rejected(Rejection::SlotBusy { owner, .. }) => {
                assert_eq!(policy, AdmissionPolicy::DropIfRunning);
                assert_eq!(slot.owner, Some(owner), "{owner} owns no slot");
            }
            Decision::Rejected(_) => {}
        }
    }

    pub(super) fn admit(&mut self, slot: Option<u32>, task: TaskId) {
        let Some(slot) = self.slot(slot) else { return };
        assert_eq!(slot.owner.replace(task), None, "a slot has two owners");
        if let Some(at) = slot.queue.iter().position(|&waiting| waiting == task) {
            assert_eq!(at, 0, "{task} overtook {:?}", slot.queue);
            slot.queue.remove(0);
        }
    }

    pub(super) fn leave_queue(&mut self, slot: Option<u32>, task: TaskId) {
        if let Some(slot) = self.slot(slot) {
            slot.queue.retain(|&waiting| waiting != task);
        }
    }

    /// The task has nothing to do with its slot any more.
    pub(super) fn vacate(&mut self, slot: Option<u32>, task: TaskId) {
        if let Some(slot) = self.slot(slot).filter(|slot| slot.owner == Some(task)) {
            slot.owner = None;
        }
    }

    pub(super) fn is_owned_by(&self, slot: Option<u32>, task: TaskId) -> bool {
        self.owner(slot) == Some(task)
    }

    /// Whether a task still owns a slot that others wait for.
    pub(super) fn keeps_waiting(&self, slot: Option<u32>, task: TaskId) -> bool {
        let slot = slot.and_then(|slot| self.0.get(&slot));
        slot.is_some_and(|slot| slot.owner == Some(task) && !slot.queue.is_empty())
    }

    pub(super) fn queue(&self, slot: Option<u32>) -> &[TaskId] {
        slot.and_then(|slot| self.0.get(&slot)).map_or(&[], |slot| &slot.queue)
    }

    pub(super) fn owner(&self, slot: Option<u32>) -> Option<TaskId> {
        self.0.get(&slot?)?.owner
    }

    /// A body begins to run.
    pub(super) fn enter(&mut self, slot: Option<u32>, task: TaskId) {
        let Some(slot) = self.slot(slot) else { return };
        assert_eq!(slot.body.replace(task), None, "two bodies run in one slot");
    }

    pub(super) fn leave(&mut self, slot: Option<u32>, task: TaskId) {
        let Some(slot) = self.slot(slot) else { return };
        assert_eq!(slot.body.take(), Some(task));
    }
}

pub(super) struct Permits {
    limit: u32,
    holders: Vec<TaskId>,
    /// Those of them that did not have to wait, because a body waits for them.
    beyond: Vec<TaskId>,
    line: Vec<TaskId>,
    /// Those in the line that close, and only keep a place for their heirs.
    passed_over: BTreeSet<TaskId>,
    /// Who left the line for a successor, and from where.
    place: Option<(TaskId, usize)>,
    successor: Option<TaskId>,
}

impl Permits {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            holders: Vec::new(),
            beyond: Vec::new(),
            line: Vec::new(),
            passed_over: BTreeSet::new(),
            place: None,
            successor: None,
        }
    }

    pub(super) fn is_held_by(&self, task: TaskId) -> bool {
        self.holders.contains(&task)
    }

    pub(super) fn wait(&mut self, task: TaskId) {
        let place = self.place.filter(|_| self.successor == Some(task));
        let at = place.map_or(self.line.len(), |(_, at)| at);
        self.line.insert(at, task);
        (self.place, self.successor) = (None, None);
    }

    /// The task's attempt is ordered. Gives whether it needed no permit.
    pub(super) fn take(&mut self, task: TaskId, is_awaited: bool) -> bool {
        let full = self.holders.len() as u64 >= u64::from(self.limit);
        if full && is_awaited {
            self.line.retain(|&waiting| waiting != task);
            self.beyond.push(task);
        } else {
            let first = self.line.iter().position(|waiting| !self.passed_over.contains(waiting));
            if let Some(first) = first {
                assert_eq!(self.line[first], task, "a permit went past the line {:?}", self.line);
                self.line.remove(first);
            }
            assert!(!full, "more permits than there are");
        }
        assert!(!self.holders.contains(&task), "attempts of {task} overlap");
        self.holders.push(task);
        full
    }

    /// How many did not have to wait.
    pub(super) fn beyond(&self) -> usize {
        self.beyond.len()
    }

    /// How many may run at once now.
    pub(super) fn most(&self) -> u64 {
        u64::from(self.limit) + self.beyond() as u64
    }

    pub(super) fn line(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.line.iter().copied().filter(|waiting| !self.passed_over.contains(waiting))
    }

    pub(super) fn give_back(&mut self, task: TaskId) {
        let at = self.holders.iter().position(|&holder| holder == task);
        self.holders.swap_remove(at.expect("a permit is given back by its holder"));
        self.beyond.retain(|&holder| holder != task);
    }

    /// The task closes. Gives whether it keeps its place for its heir.
    pub(super) fn close(&mut self, task: TaskId, replaced: bool) -> bool {
        let waits = self.line.contains(&task);
        if waits && replaced {
            self.passed_over.insert(task);
        } else {
            self.line.retain(|&waiting| waiting != task);
        }
        waits && replaced
    }

    /// The task ends. One that is replaced leaves its place in the line to its heir.
    pub(super) fn leave(&mut self, task: TaskId, end: End) {
        let Some(at) = self.line.iter().position(|&waiting| waiting == task) else { return };
        self.line.remove(at);
        let kept = self.passed_over.remove(&task);
        let replaced = matches!(end, End::Cancelled { reason: StopReason::Replace, .. }) || kept;
        self.place = replaced.then_some((task, at));
    }

    pub(super) fn heir(&mut self, task: TaskId, heir: TaskId) {
        if self.place.is_some_and(|(left, _)| left == task) {
            self.successor = Some(heir);
        }
    }

    pub(super) fn compare(&mut self, machine: &Machine) {
        (self.place, self.successor) = (None, None);
        assert_eq!(self.holders.len(), machine.permits_held() as usize, "permits are miscounted");
        let waiting = self.line.len() - self.passed_over.len();
        assert_eq!(waiting, machine.waiting_for_permit() as usize);
        assert!(
            waiting == 0 || self.holders.len() as u64 >= u64::from(self.limit),
            "somebody waits although a permit is free"
        );
    }
}
