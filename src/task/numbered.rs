//! Values in the order in which they came, each of which can be taken out at once by its number.

/// The values, in the order of their numbers. One that was taken out leaves a gap, so that the
/// others need not move. The last entry is never a gap.
#[derive(Debug)]
pub(crate) struct Numbered<T>(Vec<(u64, Option<T>)>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Numbered<T> {
    /// Enters a value after all others, and returns its number. The number is given again once
    /// this value and all later ones are gone.
    pub(super) fn push(&mut self, value: T) -> u64 {
        let Self(entries) = self;
        if entries.len() == entries.capacity() {
            entries.retain(|(_, value)| value.is_some());
            // As many can come as there are, until gaps are looked for again.
            entries.reserve_exact(entries.len().max(1));
        }
        let number = entries.last().map_or(0, |(last, _)| last + 1);
        entries.push((number, Some(value)));
        number
    }

    /// Takes out the value with this number, if it is the one that is meant.
    pub(super) fn take(&mut self, number: u64, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        let Self(entries) = self;
        let at = entries.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, place) = &mut entries[at];
        let taken = if place.as_ref().is_some_and(is_it) { place.take() } else { None };
        while let Some((_, None)) = entries.last() {
            entries.pop();
        }
        taken
    }

    /// The values from this number on, with their numbers.
    pub(super) fn from(&mut self, number: u64) -> impl Iterator<Item = (u64, &mut T)> {
        let at = self.0.partition_point(|(earlier, _)| *earlier < number);
        self.0[at..].iter_mut().filter_map(|(number, value)| Some((*number, value.as_mut()?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|(_, value)| value.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::dice::Dice;

    #[test]
    fn values_stay_in_order_and_are_found_whatever_is_taken_between() {
        for seed in 1..200 {
            let mut dice = Dice::of(&[seed]);
            let (mut numbered, mut known) = (Numbered::default(), Vec::new());
            let growth = 30 + u32::try_from(seed % 4).unwrap() * 20;
            for value in 0..300 {
                if dice.chance(growth) {
                    known.push((numbered.push(value), value));
                } else if !known.is_empty() {
                    let at = dice.below(u32::try_from(known.len()).unwrap()) as usize;
                    let (number, value) = known.remove(at);
                    assert_eq!(numbered.take(number, |it| *it != value), None, "another is meant");
                    assert_eq!(numbered.take(number, |it| *it == value), Some(value));
                    assert_eq!(numbered.take(number, |it| *it == value), None, "it is gone");
                }
                let from = known.get(known.len() / 2).map_or(0, |(number, _)| *number);
                let later: Vec<_> = numbered.from(from).map(|(number, it)| (number, *it)).collect();
                assert_eq!(later, known[known.len() / 2..]);
                assert!(numbered.iter().eq(known.iter().map(|(_, value)| value)));
                assert_eq!(numbered.is_empty(), known.is_empty());
            }
        }
    }

    #[test]
    fn gaps_take_no_more_room_than_as_many_values_again() {
        let mut numbered = Numbered::default();
        let first = numbered.push(0);
        assert_eq!(numbered.0.capacity(), 1, "most have one value, which takes one place");
        let mut last = numbered.push(0);
        for value in 0..10_000 {
            let next = numbered.push(value);
            assert!(numbered.take(last, |_| true).is_some());
            last = next;
        }
        assert!(numbered.0.capacity() <= 8, "{} places for 2 values", numbered.0.capacity());
        assert!(
            numbered.take(first, |_| true).is_some() && numbered.take(last, |_| true).is_some()
        );
        assert!(numbered.is_empty());
    }
}
