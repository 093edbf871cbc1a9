//! The delay before a retry: growth, cap and jitter, in integer nanoseconds.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::vocabulary::label::named;
use crate::vocabulary::time::nanos;

/// Determines how the delay before a retry is spread, so that tasks which failed together are not
/// retried together.
///
/// The four kinds are those of Brooker, "Exponential Backoff And Jitter", AWS 2015. `d` is the
/// delay after growth and cap.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::{BackoffPolicy, JitterPolicy};
/// let ms = Duration::from_millis;
/// let backoff = BackoffPolicy::exponential(ms(100), ms(800)); // with `Equal`
/// assert_eq!(backoff.preview(1), [ms(50)..=ms(100)]);
/// assert_eq!(backoff.jitter(JitterPolicy::None).preview(1), [ms(100)..=ms(100)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum JitterPolicy {
    /// The delay is exactly `d`.
    None,
    /// The delay is uniformly distributed in `0..=d`.
    Full,
    /// The delay is half of `d`, plus a uniformly distributed part of the other half. The default.
    #[default]
    Equal,
    /// The delay is uniformly distributed between `first` and three times the previous delay, and
    /// capped at `max`. It grows by chance; `factor` has no effect.
    Decorrelated,
}

named!(JitterPolicy {
    Self::None => "none",
    Self::Full => "full",
    Self::Equal => "equal",
    Self::Decorrelated => "decorrelated",
});

/// Determines the delay before retry `n`, counted from 0: `min(max, first * factor^n)`, with jitter
/// applied, and never less than 1 ms. Set by [`TaskSpec::backoff`](crate::TaskSpec::backoff).
///
/// The default is 100 ms, doubled for each retry up to 30 s, with [`JitterPolicy::Equal`]. The
/// fields can be read and set; their values are checked when the task is handed over.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::{BackoffPolicy, JitterPolicy};
/// let ms = Duration::from_millis;
/// let backoff = BackoffPolicy::exponential(ms(100), ms(500)).jitter(JitterPolicy::None);
/// let delays: Vec<_> = backoff.preview(4).into_iter().map(|range| *range.end()).collect();
/// assert_eq!(delays, [ms(100), ms(200), ms(400), ms(500)]);
/// assert_eq!((backoff.max, backoff.factor), (ms(500), 2.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackoffPolicy {
    /// The delay before the first retry, without jitter; at most `max`.
    pub first: Duration,
    /// The delay at which growth stops; at least 1 ms.
    pub max: Duration,
    /// The factor by which the delay grows with each retry; finite and at least 1.
    pub factor: f64,
    /// How the delays are spread.
    pub jitter: JitterPolicy,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl BackoffPolicy {
    /// Returns a policy whose delay begins with `first`, doubles with each retry, and stops growing
    /// at `max`, with [`JitterPolicy::Equal`].
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self { first, max, factor: 2.0, jitter: JitterPolicy::Equal }
    }

    /// Returns a policy with the same delay before each retry, without jitter. See the example of
    /// [`factor`](Self::factor).
    pub const fn constant(delay: Duration) -> Self {
        Self { first: delay, max: delay, factor: 1.0, jitter: JitterPolicy::None }
    }

    /// Sets the factor by which the delay grows with each retry; finite and at least 1. Default: 2.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::BackoffPolicy;
    /// let ms = Duration::from_millis;
    /// let constant = BackoffPolicy::constant(ms(100));
    /// assert_eq!(constant.preview(2), [ms(100)..=ms(100), ms(100)..=ms(100)]);
    /// let thrice = BackoffPolicy::exponential(ms(100), ms(1000)).factor(3.0);
    /// assert_eq!(thrice.preview(3)[2], ms(450)..=ms(900));
    /// ```
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how the delays are spread. Default: [`JitterPolicy::Equal`].
    pub const fn jitter(mut self, jitter: JitterPolicy) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the shortest and the longest possible delay before each of the first `n` retries.
    pub fn preview(&self, n: usize) -> Vec<RangeInclusive<Duration>> {
        let mut low = BackoffState::default();
        let mut high = BackoffState::default();
        (0..n).map(|_| self.delay(&mut low, 0)..=self.delay(&mut high, u64::MAX)).collect()
    }

    /// Returns the delay before the next retry of a streak. `draw` is a random number: 0 gives the
    /// shortest delay, the largest gives the longest.
    pub(crate) fn delay(&self, state: &mut BackoffState, draw: u64) -> Duration {
        let (first, max) = (nanos(self.first), nanos(self.max));
        let grown = if state.0 == 0 { first } else { state.0 }.min(max);

        let delay = match self.jitter {
            JitterPolicy::None => grown,
            JitterPolicy::Full => pick(0, grown, draw),
            JitterPolicy::Equal => pick(grown - grown / 2, grown, draw),
            JitterPolicy::Decorrelated => {
                pick(first, grown.saturating_mul(3).max(first), draw).min(max)
            }
        };

        // Decorrelated delays grow from the drawn delay, all others from the delay without jitter.
        state.0 = match self.jitter {
            JitterPolicy::None | JitterPolicy::Full | JitterPolicy::Equal => self.grow(grown),
            JitterPolicy::Decorrelated => delay,
        };

        Duration::from_nanos(delay).max(MIN_SPACING)
    }

    // `as` saturates, and a delay needs no more than the 53 exact bits of an f64.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn grow(&self, delay: u64) -> u64 {
        (delay as f64 * self.factor) as u64
    }
}

/// How far the delays have grown, or with `Decorrelated` the latest delay, in nanoseconds. The
/// beginning is 0, which no delay grows to unless it begins with that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackoffState(u64);

/// A number in `low..=high`, drawn by multiplication instead of remainder (Lemire 2019), so that
/// its bias is below 2⁻⁶⁴ of the range.
// The product shifted by 64 is at most `high - low`.
#[allow(clippy::cast_possible_truncation)]
fn pick(low: u64, high: u64, draw: u64) -> u64 {
    let span = u128::from(high - low) + 1;
    low + ((u128::from(draw) * span) >> 64) as u64
}

/// Two starts of one task are never closer together than this, whatever the reason.
pub(crate) const MIN_SPACING: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[track_caller]
    fn check(policy: BackoffPolicy, expected: &[(u64, u64)]) {
        let ranges: Vec<_> = expected.iter().map(|&(low, high)| ms(low)..=ms(high)).collect();
        assert_eq!(policy.preview(expected.len()), ranges);
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_cap() {
        let plain = BackoffPolicy::exponential(ms(100), ms(1000)).jitter(JitterPolicy::None);
        check(plain, &[(100, 100), (200, 200), (400, 400), (800, 800), (1000, 1000), (1000, 1000)]);
        check(plain.factor(1.0), &[(100, 100), (100, 100)]);
        check(plain.factor(1.5), &[(100, 100), (150, 150), (225, 225)]);
    }

    #[test]
    fn each_jitter_keeps_its_range() {
        let base = BackoffPolicy::exponential(ms(100), ms(1000));
        check(base.jitter(JitterPolicy::Full), &[(1, 100), (1, 200), (1, 400)]);
        check(base.jitter(JitterPolicy::Equal), &[(50, 100), (100, 200), (200, 400)]);
        check(base.jitter(JitterPolicy::Decorrelated), &[(100, 300), (100, 900), (100, 1000)]);
    }

    #[test]
    fn every_draw_lies_in_the_preview() {
        let mut draw: u64 = 1;
        for jitter in [
            JitterPolicy::None,
            JitterPolicy::Full,
            JitterPolicy::Equal,
            JitterPolicy::Decorrelated,
        ] {
            let policy = BackoffPolicy::exponential(ms(3), ms(700)).jitter(jitter);
            for _ in 0..200 {
                let mut state = BackoffState::default();
                for range in policy.preview(12) {
                    draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let delay = policy.delay(&mut state, draw);
                    assert!(range.contains(&delay), "{jitter:?}: {delay:?} outside {range:?}");
                }
            }
        }
    }

    #[test]
    fn extremes_neither_overflow_nor_go_below_a_millisecond() {
        let huge = BackoffPolicy::exponential(Duration::MAX, Duration::MAX).factor(f64::MAX);
        for range in huge.preview(5) {
            assert!(*range.end() > Duration::from_secs(1 << 33));
        }
        check(BackoffPolicy::exponential(Duration::ZERO, ms(1)), &[(1, 1), (1, 1)]);
        check(BackoffPolicy::constant(Duration::from_nanos(5)), &[(1, 1)]);
    }
}
