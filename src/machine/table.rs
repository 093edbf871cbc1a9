//! Tables with dense keys that grow in small blocks, so that no entry ever moves and little room is
//! unused.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    /// A block that has never had a value is `None`.
    blocks: Vec<Option<Box<Block<T>>>>,
}

type Block<T> = [Option<T>; BLOCK];

/// The block is small, for programs with few tasks and little memory.
const BLOCK: usize = 16;

impl<T> Table<T> {
    /// Puts a value under a key; returns the previous value.
    pub(crate) fn insert(&mut self, key: u32, value: T) -> Option<T> {
        self.entry(key).replace(value)
    }

    fn entry(&mut self, key: u32) -> &mut Option<T> {
        let (block, place) = split(key);
        if self.blocks.len() <= block || self.blocks[block].is_none() {
            self.make_room(block);
        }
        &mut self.blocks[block].as_mut().expect("there is room now")[place]
    }

    #[cold]
    fn make_room(&mut self, block: usize) {
        self.blocks.resize_with(self.blocks.len().max(block + 1), || None);
        let empty: Box<[Option<T>]> = (0..BLOCK).map(|_| None).collect();
        self.blocks[block] = empty.try_into().ok();
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let (block, place) = split(key);
        self.blocks.get_mut(block)?.as_mut()?[place].take()
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        let (block, place) = split(key);
        self.block(block)?[place].as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        let (block, place) = split(key);
        self.blocks.get_mut(block)?.as_mut()?[place].as_mut()
    }

    /// All values, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().flat_map(|block| block.iter().flatten())
    }

    fn block(&self, block: usize) -> Option<&Block<T>> {
        self.blocks.get(block)?.as_deref()
    }
}

/// A table that can be read elsewhere as it was at one moment. To share it takes no longer for many
/// values than for few: whoever changes a value while its block is still read copies the block
/// first.
#[derive(Clone, Debug)]
pub(crate) struct SharedTable<T> {
    own: Table<T>,
    /// Has the blocks that are missing in `own`.
    shared: Option<Shared<T>>,
}

#[derive(Clone, Debug)]
struct Shared<T> {
    table: Arc<SharedTable<T>>,
    /// How a block is copied. Whoever shares the table brings it along, so that a program in which
    /// nobody does contains no copying.
    copy: fn(&Block<T>) -> Box<Block<T>>,
}

impl<T> SharedTable<T> {
    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        let (block, place) = split(key);
        self.block(block)?[place].as_ref()
    }

    /// The values from this key on, in the order of their keys.
    pub(crate) fn iter_from(&self, key: u32) -> impl Iterator<Item = &T> {
        let (first, place) = split(key);
        let blocks = (first..self.own.blocks.len()).map(move |block| {
            let skipped = if block == first { place } else { 0 };
            self.block(block).map_or(&[][..], |block| &block[skipped..])
        });
        blocks.flatten().flatten()
    }

    /// All values, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    /// A number above all keys.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.own.blocks.len() * BLOCK).unwrap_or(u32::MAX)
    }

    fn block(&self, block: usize) -> Option<&Block<T>> {
        self.own.block(block).or_else(|| self.shared.as_ref()?.table.block(block))
    }

    pub(crate) fn insert(&mut self, key: u32, value: T) -> Option<T> {
        self.changeable(key).insert(key, value)
    }

    /// Where the value of a key is, or is to be.
    pub(crate) fn entry(&mut self, key: u32) -> &mut Option<T> {
        self.changeable(key).entry(key)
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        self.changeable(key).remove(key)
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.changeable(key).get_mut(key)
    }

    /// The table with the block of this key.
    fn changeable(&mut self, key: u32) -> &mut Table<T> {
        if self.shared.is_some() {
            self.own_block(key);
        }
        &mut self.own
    }

    #[cold]
    fn own_block(&mut self, key: u32) {
        self.take_back();
        let (block, _) = split(key);
        let Some(Shared { table, copy }) = &self.shared else { return };
        if let Some(own @ None) = self.own.blocks.get_mut(block) {
            *own = table.block(block).map(copy);
        }
    }

    /// Takes back what nobody reads any longer.
    fn take_back(&mut self) {
        while let Some(Shared { table, copy }) = self.shared.take() {
            match Arc::try_unwrap(table) {
                Ok(back) => {
                    for (own, back) in self.own.blocks.iter_mut().zip(back.own.blocks) {
                        if own.is_none() {
                            *own = back;
                        }
                    }
                    self.shared = back.shared;
                }
                Err(table) => {
                    self.shared = Some(Shared { table, copy });
                    return;
                }
            }
        }
    }
}

impl<T: Clone> SharedTable<T> {
    /// The table as it is now.
    pub(crate) fn share(&mut self) -> Arc<Self> {
        self.take_back();
        let blocks = self.own.blocks.iter().map(|_| None).collect();
        let own = core::mem::replace(&mut self.own, Table { blocks });
        let table = Arc::new(Self { own, shared: self.shared.take() });
        let copy = |block: &Block<T>| Box::new(block.clone());
        self.shared = Some(Shared { table: Arc::clone(&table), copy });
        table
    }
}

impl<T> Default for SharedTable<T> {
    fn default() -> Self {
        Self { own: Table::default(), shared: None }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

const fn split(key: u32) -> (usize, usize) {
    (key as usize / BLOCK, key as usize % BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn values_are_found_under_their_keys_until_removed() {
        let mut table = Table::default();
        for key in [0, 15, 16, 1000] {
            assert_eq!(table.get(key), None);
            assert_eq!(table.insert(key, key), None);
        }
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), vec![0, 15, 16, 1000]);
        *table.get_mut(15).expect("it was put there") = 7;
        assert_eq!(
            (table.insert(15, 8), table.remove(15), table.remove(15)),
            (Some(7), Some(8), None)
        );
        assert_eq!((table.get(17), table.get(u32::MAX)), (None, None));
        assert_eq!(table.get_mut(u32::MAX), None);
        assert_eq!(table.remove(u32::MAX), None);
        assert_eq!(table.iter().count(), 3);
    }
    fn values(table: &SharedTable<u32>) -> Vec<u32> {
        table.iter().copied().collect()
    }

    #[test]
    fn a_shared_table_is_read_as_it_was() {
        let mut table = SharedTable::default();
        for key in [0, 15, 16, 1000] {
            table.insert(key, key);
        }
        let from = |key| table.iter_from(key).copied().collect::<Vec<_>>();
        assert_eq!((from(0), from(15)), (vec![0, 15, 16, 1000], vec![15, 16, 1000]));
        assert_eq!((from(17), from(1001), from(u32::MAX)), (vec![1000], vec![], vec![]));

        let first = table.share();
        *table.get_mut(15).expect("it was put there") = 7;
        assert_eq!((table.insert(17, 17), table.remove(1000)), (None, Some(1000)));
        let second = table.share();
        assert_eq!((table.remove(0), table.insert(2000, 2000)), (Some(0), None));
        assert_eq!(values(&first), vec![0, 15, 16, 1000]);
        assert_eq!(values(&second), vec![0, 7, 16, 17]);
        assert_eq!(values(&table), vec![7, 16, 17, 2000]);
        assert_eq!((first.get(0), second.get(15), table.get(16)), (Some(&0), Some(&7), Some(&16)));
        drop(first);
        assert_eq!((values(&second), values(&table)), (vec![0, 7, 16, 17], vec![7, 16, 17, 2000]));
    }

    #[test]
    fn what_nobody_reads_any_longer_is_neither_kept_nor_copied() {
        let value = Arc::new(());
        let mut table = SharedTable::default();
        for key in 0..40 {
            table.insert(key, Arc::clone(&value));
        }
        for _ in 0..3 {
            drop(table.share());
        }
        assert_eq!(Arc::strong_count(&value), 41);
        let shared = table.share();
        table.remove(0);
        assert_eq!(Arc::strong_count(&value), 41 + BLOCK - 1, "one block was copied");
        drop(shared);
        table.remove(20);
        assert!(table.shared.is_none());
        assert_eq!(Arc::strong_count(&value), 41 - 2);
    }
}
