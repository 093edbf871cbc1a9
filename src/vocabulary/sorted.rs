//! [`SortedMap`]: a map for few entries, whose code is far smaller than that of a B-tree.

use alloc::collections::VecDeque;

/// Entries in the order of their keys. To enter or remove one takes a step for each entry between
/// it and the nearer end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortedMap<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Puts a value under a key; returns the previous value.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                let last = self.0.len();
                // The insertion of the library would be most of the code of this map.
                if at < last / 2 {
                    self.0.push_front((key, value));
                    (0..at).for_each(|place| self.0.swap(place, place + 1));
                } else {
                    self.0.push_back((key, value));
                    (at..last).rev().for_each(|place| self.0.swap(place, place + 1));
                }
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.place(key).ok()?;
        let last = self.0.len() - 1;
        let removed = if at < last / 2 {
            (0..at).rev().for_each(|place| self.0.swap(place, place + 1));
            self.0.pop_front()
        } else {
            (at..last).for_each(|place| self.0.swap(place, place + 1));
            self.0.pop_back()
        };
        removed.map(|(_, value)| value)
    }

    /// Takes the first entry out, if its key is like that.
    pub(crate) fn pop_first_if(&mut self, is: impl FnOnce(&K) -> bool) -> Option<(K, V)> {
        self.first().filter(|key| is(key))?;
        self.0.pop_front()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.place(key).ok()?;
        Some(&mut self.0[at].1)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }
}

impl<K, V> SortedMap<K, V> {
    pub(crate) fn first(&self) -> Option<&K> {
        self.0.front().map(|(key, _)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::dice::Dice;
    use alloc::collections::btree_map::{BTreeMap, OccupiedEntry};

    #[test]
    fn agrees_with_a_tree_under_random_use() {
        let (mut sorted, mut tree) = (SortedMap::default(), BTreeMap::new());
        let mut dice = Dice::of(&[7]);
        for value in 0..5000 {
            let key = dice.below(40);
            assert_eq!(sorted.contains(&key), tree.contains_key(&key));
            match dice.below(4) {
                0 | 1 => assert_eq!(sorted.insert(key, value), tree.insert(key, value)),
                2 => assert_eq!(sorted.remove(&key), tree.remove(&key)),
                _ => {
                    let first = tree.first_entry().filter(|it| *it.key() < key);
                    let first = first.map(OccupiedEntry::remove_entry);
                    assert_eq!(sorted.pop_first_if(|it| *it < key), first);
                }
            }
            assert_eq!(sorted.get_mut(&key), tree.get_mut(&key));
            assert!(sorted.iter().map(|(key, value)| (key, value)).eq(&tree));
            assert!(sorted.values().eq(tree.values()) && sorted.values_mut().eq(tree.values_mut()));
            assert_eq!((sorted.first(), sorted.is_empty()), (tree.keys().next(), tree.is_empty()));
        }
        sorted.clear();
        assert!(sorted.is_empty() && sorted.iter().next().is_none());
    }
}
