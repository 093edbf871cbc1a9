//! Dice: random numbers that a seed decides.

use core::time::Duration;

use crate::machine::rng::Rng;
use crate::vocabulary::policy::AdmissionPolicy;

pub(crate) struct Dice(Rng);

impl Dice {
    /// Dice for one purpose, which owe nothing to those for another.
    pub(crate) fn of(purpose: &[u64]) -> Self {
        // Neighbouring seeds must not give neighbouring worlds.
        let mix = |mixed: u64, &part: &u64| Rng::new(mixed ^ part).next();
        Self(Rng::new(purpose.iter().fold(0, mix)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        u32::try_from(self.next() % u64::from(n)).expect("a remainder is below its divisor")
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let n = u32::try_from(from.len()).expect("few things to choose from");
        (n > 0).then(|| &from[self.below(n) as usize])
    }

    pub(crate) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        *self.pick(from).expect("something to choose from")
    }

    /// Up to `most`, in steps of half a millisecond, so that things coincide.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        let steps = u32::try_from(most.as_micros() / 500).expect("short spans");
        Duration::from_micros(500) * self.below(steps + 1)
    }

    /// Mostly nothing, sometimes up to `most`.
    pub(crate) fn delay(&mut self, most: Duration) -> Duration {
        self.delay_in(25, most)
    }

    /// Up to `most` in so many of a hundred cases.
    pub(crate) fn delay_in(&mut self, percent: u32, most: Duration) -> Duration {
        if self.chance(percent) {
            self.span(most)
        } else {
            Duration::ZERO
        }
    }

    pub(crate) fn policy(&mut self) -> AdmissionPolicy {
        self.one_of(&[
            AdmissionPolicy::Queue,
            AdmissionPolicy::Queue,
            AdmissionPolicy::Replace,
            AdmissionPolicy::DropIfRunning,
            AdmissionPolicy::KeepLatest,
        ])
    }
}
