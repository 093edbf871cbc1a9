//! A table with dense keys that grows in small blocks, so that no entry ever moves and little room
//! is unused.

use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    blocks: Vec<Box<[Option<T>; BLOCK]>>,
}

/// The block is small, for programs with few tasks and little memory.
const BLOCK: usize = 16;

impl<T> Table<T> {
    /// Puts a value under a key; returns the previous value.
    pub(crate) fn insert(&mut self, key: u32, value: T) -> Option<T> {
        let (block, place) = split(key);
        while self.blocks.len() <= block {
            self.blocks.push(Box::new(core::array::from_fn(|_| None)));
        }
        self.blocks[block][place].replace(value)
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let (block, place) = split(key);
        self.blocks.get_mut(block)?[place].take()
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        let (block, place) = split(key);
        self.blocks.get(block)?[place].as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        let (block, place) = split(key);
        self.blocks.get_mut(block)?[place].as_mut()
    }

    /// The values from this key on, in the order of their keys.
    pub(crate) fn iter_from(&self, key: u32) -> impl Iterator<Item = &T> {
        let (block, place) = split(key);
        let own = self.blocks.get(block).into_iter().flat_map(move |own| own[place..].iter());
        own.chain(self.blocks.iter().skip(block + 1).flat_map(|it| it.iter())).flatten()
    }

    /// All values, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.iter().flatten())
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
        let from = |key| table.iter_from(key).copied().collect::<Vec<_>>();
        assert_eq!((from(0), from(15)), (vec![0, 15, 16, 1000], vec![15, 16, 1000]));
        assert_eq!((from(17), from(1001), from(u32::MAX)), (vec![1000], vec![], vec![]));
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
}
