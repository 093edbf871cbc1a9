//! [`Time`] and [`RealTime`]: nanoseconds since the supervisor started, on two scales.
//!
//! Whatever concerns tasks happens in model time, which a manual clock can hold; threads wait in
//! real time, which always passes. They are different types, so that no thread can wait for a clock
//! that stands still.
//!
//! Neither is an `Instant`, which has neither a zero nor a "never" and cannot be created freely in
//! a test. All arithmetic saturates.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

/// A moment on a scale of the supervisor's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment<Scale>(u64, PhantomData<Scale>);

/// The scale of tasks: delays, deadlines, graces, sleeps, events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Model {}

/// The scale of threads: their growth and retirement, the patience of hooks, waits of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Real {}

pub(crate) type Time = Moment<Model>;
pub(crate) type RealTime = Moment<Real>;

impl<Scale: Copy + PartialEq> Moment<Scale> {
    /// The moment the supervisor started.
    pub(crate) const ZERO: Self = Self(0, PhantomData);
    /// Later than every moment that can occur (584 years).
    pub(crate) const NEVER: Self = Self(u64::MAX, PhantomData);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos, PhantomData)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since the supervisor started.
    pub(crate) const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The moment `span` later; `NEVER` once out of range.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)), PhantomData)
    }

    /// The span from this moment to `later`; zero if that has passed.
    pub(crate) const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// The first point after this moment of the grid `anchor + k * step`. A step of zero counts as
    /// one nanosecond.
    pub(crate) fn next_tick(self, anchor: Self, step: Duration) -> Self {
        let step = nanos(step).max(1);
        let passed = self.0.saturating_sub(anchor.0) / step;
        Self(anchor.0.saturating_add(passed.saturating_add(1).saturating_mul(step)), PhantomData)
    }

    /// The first point of the same grid that is not before this moment.
    pub(crate) fn tick_from(self, anchor: Self, step: Duration) -> Self {
        let step = nanos(step).max(1);
        let passed = self.0.saturating_sub(anchor.0).div_ceil(step);
        Self(anchor.0.saturating_add(passed.saturating_mul(step)), PhantomData)
    }
}

/// Whole nanoseconds, saturating at 584 years.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A span as seconds with milliseconds, or with micro- or nanoseconds if it is shorter.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (0, nanos @ 1..=999) => write!(f, "0.{nanos:09}"),
            (0, nanos @ 1_000..=999_999) => write!(f, "0.{:06}", nanos / 1_000),
            (secs, nanos) => write!(f, "{secs}.{:03}", nanos / 1_000_000),
        }
    }
}

/// A span for people, in at most six characters up to 99 days: `340ms`, `7.2s`, `45s`, `2m05s`,
/// `1h02m`, `3d04h`. What is left over is cut off.
pub(crate) struct Short(pub(crate) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (minutes, hours) = (secs / 60, secs / 3600);
        match secs {
            0 => write!(f, "{millis}ms"),
            1..=9 => write!(f, "{secs}.{}s", millis / 100),
            10..=59 => write!(f, "{secs}s"),
            60..=3599 => write!(f, "{minutes}m{:02}s", secs % 60),
            3600..=86_399 => write!(f, "{hours}h{:02}m", minutes % 60),
            _ => write!(f, "{}d{:02}h", hours / 24, hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_for_people_is_short() {
        for (millis, shown) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (125_000, "2m05s"),
            (3_599_999, "59m59s"),
            (3_720_000, "1h02m"),
            (86_399_999, "23h59m"),
            (273_600_000, "3d04h"),
            (86_400_000_000, "1000d00h"),
        ] {
            assert_eq!(Short(Duration::from_millis(millis)).to_string(), shown);
        }
    }

    #[test]
    fn no_span_but_zero_is_shown_as_zero() {
        for (nanos, shown) in [
            (0, "0.000"),
            (1, "0.000000001"),
            (213_999, "0.000213"),
            (999_999, "0.000999"),
            (1_000_000, "0.001"),
            (5_000_000_001, "5.000"),
        ] {
            assert_eq!(Seconds(Duration::from_nanos(nanos)).to_string(), shown);
        }
    }
}
