//! Chance, seeded: the same seed makes the same choices, though the threads may take turns
//! differently.

use std::time::Duration;

/// The generator of Steele, Lea and Flood.
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % n).unwrap_or_default()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// From 0 up to `most` milliseconds, finer than that.
    pub fn up_to_ms(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.roll() % (most * 1000 + 1))
    }

    /// Other choices, that do not depend on how many this one makes.
    pub fn child(&mut self) -> Self {
        Self(self.roll())
    }
}
