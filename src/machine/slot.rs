//! One slot: its owner and its queue.

use alloc::sync::Arc;

use super::list::List;
use super::table::SharedTable;
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
pub(crate) struct Slots(SharedTable<Slot>);

impl Slots {
    pub(crate) fn get(&self, key: SlotKey) -> Slot {
        self.0.get(key.0).copied().unwrap_or_default()
    }

    /// The slot of a key; makes room for it if the key is new.
    pub(super) fn get_mut(&mut self, key: SlotKey) -> &mut Slot {
        self.0.entry(key.0).get_or_insert_with(Slot::default)
    }

    // Only audits ask.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotKey, &Slot)> {
        (0..self.0.end()).filter_map(|key| Some((SlotKey(key), self.0.get(key)?)))
    }

    pub(super) fn share(&mut self) -> Arc<SharedTable<Slot>> {
        self.0.share()
    }
}
