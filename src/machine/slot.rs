//! One slot: its owner and its queue.

use alloc::vec::Vec;

use super::list::List;
use crate::vocabulary::id::{SlotKey, TaskKey};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The owner, which holds the slot until its last attempt has returned or was released.
    pub(crate) owner: Option<TaskKey>,
    pub(crate) queue: List,
    /// The number of tasks that name the slot, including those of a batch that is being decided.
    pub(super) named: u32,
}

impl Slot {
    /// Whether no task owns it, waits for it or is about to, so that it can be forgotten.
    pub(super) const fn is_vacant(&self) -> bool {
        self.named == 0
    }
}

/// All slots, by key. The runtime chooses dense keys; a key that was never used is a vacant slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    pub(crate) fn get(&self, key: SlotKey) -> Slot {
        self.0.get(key.0 as usize).copied().unwrap_or_default()
    }

    /// The slot of a key; makes room for it if the key is new.
    pub(super) fn get_mut(&mut self, key: SlotKey) -> &mut Slot {
        let at = key.0 as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, Slot::default());
        }
        &mut self.0[at]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotKey, &Slot)> {
        (0..).map(SlotKey).zip(&self.0)
    }
}
