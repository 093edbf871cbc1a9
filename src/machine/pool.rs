//! How many worker threads there should be, from counts alone.
//!
//! A burst of short tasks must not start a thread for each task, but the tasks of a burst of
//! blocking ones must all run soon. The two look the same when they arrive; they differ in how fast
//! they are picked up. So a few threads start immediately, and more, in doubling steps, only when
//! the queue stands still.

use core::time::Duration;

use crate::vocabulary::time::RealTime;

/// The queue stands still if nothing was picked up for this long: `STANDSTILL` at first, up to
/// `MAX_STANDSTILL` as the steps grow. If other work keeps the processors busy, short jobs stand
/// still as well; but the more threads there are, the less likely it is that none of them gets to
/// run.
const STANDSTILL: Duration = Duration::from_micros(500);
const MAX_STANDSTILL: Duration = Duration::from_millis(4);
/// A job that has waited this long is late, unless the jobs are short and there are just many of
/// them.
const LATE: Duration = Duration::from_millis(5);
/// If jobs are shorter than this on average, there are just many of them, and more threads would
/// not help.
const SHORT_JOB: Duration = Duration::from_micros(100);
/// How long a requested thread may take before the queue is measured again.
const THREAD_PATIENCE: Duration = Duration::from_millis(100);
/// A requested thread that takes longer than this may never come: its set-up may hang.
pub(crate) const SLOW_SET_UP: Duration = Duration::from_secs(1);
/// The most slow threads in whose place others are started. If all of them hang, more would too.
pub(crate) const MAX_REPLACED: u32 = 8;
const FIRST_STEP: u32 = 4;
/// The most threads started in one turn of the controller, so that a large step does not delay
/// cancels by much.
const STARTS_PER_TURN: u32 = 8;
/// Threads beyond the peak demand of a window of this length are surplus.
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_REFUSAL_DELAY: Duration = Duration::from_millis(10);
const MAX_REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The counts of the pool now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Jobs that no thread has picked up.
    pub(crate) queued: u32,
    /// When the oldest of them was offered.
    pub(crate) oldest: Option<RealTime>,
    /// Threads that run or are starting.
    pub(crate) threads: u32,
    /// Of those, the ones that have been starting for longer than `SLOW_SET_UP`.
    pub(crate) slow: u32,
    /// Threads that wait for a job.
    pub(crate) idle: u32,
    /// Threads that work on a job.
    pub(crate) busy: u32,
    /// The most threads that were busy at once since the last `reset_peak`.
    pub(crate) peak_busy: u32,
    /// Jobs picked up since the pool began; wraps.
    pub(crate) picked: u32,
}

/// What to do about the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) start: u32,
    pub(crate) retire: u32,
    pub(crate) reset_peak: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Arithmetic {
    /// The number of threads to start immediately.
    eager: u32,
    /// The number of threads never to retire.
    keep: u32,
    /// How many threads the next standstill adds.
    step: u32,
    /// The threads of a step that are still to be started.
    pending: u32,
    /// When a queue that was not empty was last measured, and how many jobs had been picked up by
    /// then.
    measured: Option<(RealTime, u32)>,
    refusal_delay: Duration,
    /// Jobs picked up by the time of the last decision.
    picked: u32,
    /// No thread is started before this time.
    refused_until: RealTime,
    /// When the window ends; `NEVER` without surplus threads.
    window_ends: RealTime,
    deadline: RealTime,
}

impl Arithmetic {
    /// A pool without threads yet, of which the first `eager` start immediately and `keep` never
    /// retire.
    pub(crate) const fn new(eager: u32, keep: u32) -> Self {
        Self {
            eager,
            keep,
            step: FIRST_STEP,
            pending: 0,
            measured: None,
            refusal_delay: FIRST_REFUSAL_DELAY,
            picked: 0,
            refused_until: RealTime::ZERO,
            window_ends: RealTime::NEVER,
            deadline: RealTime::NEVER,
        }
    }

    /// When to call [`decide`](Self::decide) at the latest.
    pub(crate) const fn deadline(&self) -> RealTime {
        self.deadline
    }

    /// The system refused a thread. Returns how long until the next try.
    pub(crate) fn refused(&mut self, now: RealTime) -> Duration {
        let delay = self.refusal_delay;
        self.refusal_delay = (delay * 2).min(MAX_REFUSAL_DELAY);
        self.refused_until = now.after(delay);
        self.pending = 0;
        self.deadline = self.deadline.min(self.refused_until);
        delay
    }

    /// Decides about the threads from the counts. Call it whenever the counts have changed, and at
    /// the deadline.
    pub(crate) fn decide(&mut self, now: RealTime, counts: Counts) -> Orders {
        if counts.picked != self.picked {
            // A job was picked up, so a requested thread has really come.
            (self.picked, self.refusal_delay) = (counts.picked, FIRST_REFUSAL_DELAY);
        }
        let (start, grow_at) = self.grow(now, counts);
        let mut orders = self.shrink(now, counts);
        orders.start = start;
        self.deadline = grow_at.min(self.window_ends);
        orders
    }

    /// How many threads to start, and when to decide again.
    fn grow(&mut self, now: RealTime, counts: Counts) -> (u32, RealTime) {
        let fresh = counts.threads.saturating_sub(counts.idle + counts.busy + counts.slow);
        // The threads that are starting take a job each.
        let starting = fresh + counts.slow.saturating_sub(MAX_REPLACED);
        let missing = counts.queued.saturating_sub(counts.idle + starting);
        let present = counts.threads - counts.slow.min(counts.threads).min(MAX_REPLACED);

        if counts.queued == 0 {
            (self.measured, self.pending, self.step) = (None, 0, FIRST_STEP);
            return (0, RealTime::NEVER);
        }
        if now < self.refused_until {
            return (0, self.refused_until);
        }

        // The eager threads start immediately; more start only when the time of a measurement is
        // over and the queue stands still.
        let (since, picked) = *self.measured.get_or_insert((now, counts.picked));
        let measure_at = since.after(self.patience());
        if present < self.eager {
            self.pending = self.pending.max(self.eager - present);
            if now >= measure_at {
                self.measured = Some((now, counts.picked));
            }
        } else if now >= measure_at {
            if stands_still(now, since, counts.picked.wrapping_sub(picked), counts) {
                self.pending = self.pending.max(self.step);
                self.step = self.step.saturating_mul(2);
            }
            self.measured = Some((now, counts.picked));
        }

        // A large step is spread over several turns, and dropped as far as it is no longer needed.
        let start = self.pending.min(missing).min(STARTS_PER_TURN);
        self.pending = self.pending.min(missing) - start;
        let measure_again = self.measured.map_or(now, |(since, _)| since).after(self.patience());
        if missing == 0 {
            // Each job has a thread on its way, so there is nothing to decide before one comes. A
            // slow one is not looked for: it will take the job if it comes, or say that it failed.
            let look = fresh > 0 || counts.idle > 0;
            let look_at = measure_again.max(now.after(THREAD_PATIENCE));
            return (0, if look { look_at } else { RealTime::NEVER });
        }
        (start, if self.pending > 0 { now } else { measure_again })
    }

    fn patience(&self) -> Duration {
        STANDSTILL.saturating_mul(self.step / FIRST_STEP).min(MAX_STANDSTILL)
    }

    /// How many idle threads to retire, once a window.
    fn shrink(&mut self, now: RealTime, counts: Counts) -> Orders {
        let mut orders = Orders::default();
        let threads = counts.threads.saturating_sub(counts.slow);
        if threads <= counts.busy.max(self.keep) {
            // All threads are busy or to be kept.
            self.window_ends = RealTime::NEVER;
        } else if self.window_ends.is_never() {
            // The peak demand is measured in a window that begins with the surplus.
            self.window_ends = now.after(WINDOW);
            orders.reset_peak = true;
        } else if self.window_ends <= now {
            let needed = counts.peak_busy.max(self.keep);
            orders.retire = threads.saturating_sub(needed).min(counts.idle);
            orders.reset_peak = true;
            let surplus = threads - orders.retire > counts.busy.max(self.keep);
            self.window_ends = if surplus { now.after(WINDOW) } else { RealTime::NEVER };
        }
        orders
    }
}

/// Whether a queue that was last measured at `since` makes too little progress, if `picked` jobs
/// were picked up since then.
fn stands_still(now: RealTime, since: RealTime, picked: u32, counts: Counts) -> bool {
    let late = counts.oldest.is_some_and(|oldest| oldest.until(now) > LATE);
    let worked = since.until(now).saturating_mul(counts.busy);
    let arriving = counts.threads > counts.idle + counts.busy + counts.slow;
    if picked > 0 {
        late && worked > SHORT_JOB.saturating_mul(picked)
    } else {
        // Requested threads that have not come yet lack a processor, which more threads would not
        // provide.
        late || !arriving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> RealTime {
        RealTime::from_nanos(n * 1_000_000)
    }

    fn busy(threads: u32, queued: u32, picked: u32) -> Counts {
        Counts {
            queued,
            oldest: Some(RealTime::ZERO),
            threads,
            busy: threads,
            picked,
            ..Counts::default()
        }
    }

    #[test]
    fn an_empty_pool_starts_a_few_threads_at_once() {
        let mut pool = Arithmetic::new(2, 0);
        assert_eq!(pool.decide(ms(0), Counts { queued: 100, ..Counts::default() }).start, 2);
        let mut pool = Arithmetic::new(2, 0);
        assert_eq!(pool.decide(ms(0), Counts { queued: 1, ..Counts::default() }).start, 1);
    }

    #[test]
    fn a_moving_queue_of_short_jobs_gets_no_more_threads() {
        let mut pool = Arithmetic::new(2, 0);
        pool.decide(ms(0), busy(0, 100_000, 0));
        for turn in 1..100_u32 {
            let orders = pool.decide(ms(turn.into()), busy(2, 100_000 - 1000 * turn, 1000 * turn));
            assert_eq!(orders.start, 0, "turn {turn}");
        }
    }

    #[test]
    fn a_standing_queue_doubles_the_step_and_works_it_off_eight_a_turn() {
        let mut pool = Arithmetic::new(2, 0);
        let (mut threads, mut now, mut turns) = (0, RealTime::ZERO, 0);
        while threads < 1000 {
            let queued = 1000 - threads;
            let orders = pool.decide(now, busy(threads, queued, threads));
            assert!(orders.start <= STARTS_PER_TURN);
            threads += orders.start;
            now = pool.deadline().max(now);
            turns += 1;
            assert!(turns < 1000, "the pool stopped growing at {threads} threads");
        }
        assert!(now < ms(40), "1000 blocking jobs had their threads only after {now:?}");
    }

    #[test]
    fn threads_under_way_are_counted() {
        let mut pool = Arithmetic::new(2, 0);
        let counts = Counts { queued: 2, threads: 2, oldest: Some(ms(0)), ..Counts::default() };
        pool.decide(ms(0), counts);
        assert_eq!(pool.decide(ms(10), counts).start, 0);
    }

    #[test]
    fn a_thread_that_is_slow_to_come_is_not_looked_for_without_pause() {
        let mut pool = Arithmetic::new(2, 0);
        let counts = Counts { queued: 1, threads: 1, oldest: Some(ms(0)), ..Counts::default() };
        for turn in 0..10 {
            assert_eq!(pool.decide(ms(turn), counts).start, 0);
            assert!(pool.deadline() >= ms(turn + 100), "turn {turn}: looked at without cause");
        }
    }

    #[test]
    fn in_place_of_a_thread_that_may_never_come_another_is_started() {
        let mut pool = Arithmetic::new(1, 0);
        let one = Counts { queued: 1, threads: 1, oldest: Some(ms(0)), ..Counts::default() };
        assert_eq!(pool.decide(ms(0), one).start, 0);
        assert!(pool.deadline() <= ms(1_000), "nobody looks when it becomes slow");
        assert_eq!(pool.decide(ms(1_100), Counts { slow: 1, ..one }).start, 1);
        let two = Counts { threads: 2, slow: 1, ..one };
        assert_eq!(pool.decide(ms(1_200), two).start, 0, "the other is on its way");
    }

    #[test]
    fn threads_that_all_hang_are_neither_looked_for_nor_replaced_for_ever() {
        let mut pool = Arithmetic::new(2, 0);
        let (mut threads, mut now, mut looks) = (0, ms(0), 0);
        while !now.is_never() {
            // Each hangs from its start, and so is slow at the next look after a second.
            let counts = Counts {
                queued: 1,
                oldest: Some(ms(0)),
                threads,
                slow: threads,
                ..Counts::default()
            };
            let start = pool.decide(now, counts).start;
            threads += start;
            let fresh = Counts { slow: threads - start, threads, ..counts };
            if start > 0 {
                assert_eq!(pool.decide(now, fresh).start, 0);
                now = now.after(SLOW_SET_UP);
            } else {
                now = pool.deadline();
            }
            looks += 1;
            assert!(looks < 100, "looked for without end");
        }
        assert_eq!(threads, MAX_REPLACED + 1);
    }

    #[test]
    fn a_thread_that_hangs_is_no_surplus() {
        let mut pool = Arithmetic::new(2, 0);
        let hangs = Counts { threads: 1, slow: 1, ..Counts::default() };
        assert_eq!(pool.decide(ms(0), hangs), Orders::default());
        assert_eq!(pool.deadline(), RealTime::NEVER);
    }

    #[test]
    fn a_refusal_delays_the_next_try_and_a_success_forgets_it() {
        let mut pool = Arithmetic::new(2, 0);
        let queued = Counts { queued: 5, oldest: Some(ms(0)), ..Counts::default() };
        assert_eq!(pool.decide(ms(0), queued).start, 2);
        assert_eq!(pool.refused(ms(0)), Duration::from_millis(10));
        assert_eq!(pool.decide(ms(5), queued).start, 0);
        assert_eq!(pool.deadline(), ms(10));
        assert_eq!(pool.decide(ms(10), queued).start, 2);
        assert_eq!(pool.refused(ms(10)), Duration::from_millis(20));
        for _ in 0..20 {
            pool.refused(ms(10));
        }
        assert_eq!(pool.refused(ms(10)), Duration::from_secs(1));
        pool.decide(ms(10), Counts { picked: 1, ..queued });
        assert_eq!(pool.refused(ms(10)), Duration::from_millis(10));
    }

    #[test]
    fn surplus_over_the_busiest_moment_of_the_window_retires() {
        let mut pool = Arithmetic::new(2, 1);
        let idle = |peak_busy| Counts { threads: 10, idle: 10, peak_busy, ..Counts::default() };
        assert!(pool.decide(ms(0), idle(10)).reset_peak);
        assert_eq!(pool.decide(ms(9_999), idle(4)).retire, 0);
        assert_eq!(pool.decide(ms(10_000), idle(4)).retire, 6);
        let left = Counts { threads: 4, idle: 4, ..Counts::default() };
        assert_eq!(pool.decide(ms(20_000), left).retire, 3);
        let kept = Counts { threads: 1, idle: 1, ..Counts::default() };
        assert_eq!(pool.decide(ms(20_001), kept), Orders::default());
        assert_eq!(pool.deadline(), RealTime::NEVER, "an idle pool waits for nothing");
    }
}
