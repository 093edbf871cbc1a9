//! How many threads a pool starts and retires, to the moment and to the number.
//!
//! Section `Threads` of `guide::rules`.

use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::pool::{Arithmetic, Counts, Orders};
use crate::machine::tests::rig::ms;
use crate::vocabulary::time::RealTime;

const EAGER: u32 = 2;

fn at(micros: u64) -> RealTime {
    RealTime::ZERO.after(Duration::from_micros(micros))
}

/// All threads busy, jobs waiting since the beginning.
const fn busy(threads: u32, queued: u32) -> Counts {
    Counts {
        queued,
        oldest: Some(RealTime::ZERO),
        threads,
        slow: 0,
        idle: 0,
        busy: threads,
        peak_busy: threads,
        picked: 0,
    }
}

#[test]
fn what_lacks_of_the_few_is_started_and_no_more() {
    let mut pool = Arithmetic::new(EAGER, 0);
    assert_eq!(pool.decide(at(0), busy(1, 10)).start, 1);
    assert_eq!(pool.decide(at(0), busy(2, 10)).start, 0);
}

#[test]
fn while_the_few_are_missing_the_queue_is_looked_at_again_and_again() {
    let mut pool = Arithmetic::new(EAGER, 0);
    pool.decide(at(0), busy(1, 10));
    assert_eq!(pool.deadline(), at(500));
    pool.decide(at(200), busy(1, 10));
    assert_eq!(pool.deadline(), at(500));
    pool.decide(at(900), busy(1, 10));
    assert_eq!(pool.deadline(), at(1400));
}

#[test]
fn a_queue_stands_still_after_half_a_millisecond_and_then_after_longer() {
    let mut pool = Arithmetic::new(EAGER, 0);
    let mut threads = 2;
    let mut looks = Vec::new();
    let mut now = at(0);
    assert_eq!(pool.decide(now, busy(threads, 10_000)).start, 0);
    while threads < 200 {
        // Nobody has to look before the deadline.
        let soon = RealTime::from_nanos(pool.deadline().as_nanos() - 1).max(now);
        assert_eq!(pool.decide(soon, busy(threads, 10_000)).start, 0);
        looks.push(now.until(pool.deadline()));
        assert!(looks.len() < 100, "the pool does not grow: {threads} threads after {now:?}");
        now = pool.deadline();
        loop {
            let started = pool.decide(now, busy(threads, 10_000)).start;
            threads += started;
            if started == 0 || pool.deadline() > now {
                break;
            }
        }
    }
    assert_eq!(looks[..4], [Duration::from_micros(500), ms(1), ms(2), ms(4)]);
    assert!(looks[4..].iter().all(|look| *look == ms(4)), "{looks:?}");
}

#[test]
fn threads_on_their_way_are_waited_for_until_a_job_is_late() {
    let coming = Counts { threads: 4, busy: 2, ..busy(4, 10) };
    let mut pool = Arithmetic::new(EAGER, 0);
    pool.decide(at(0), coming);
    assert_eq!(pool.decide(at(500), coming).start, 0);
    assert_eq!(pool.decide(at(1000), coming).start, 0);
    assert!(pool.decide(at(6000), coming).start > 0);
}

#[test]
fn idle_threads_are_not_on_their_way() {
    let some_idle = Counts { idle: 2, busy: 2, ..busy(4, 10) };
    let mut pool = Arithmetic::new(EAGER, 0);
    pool.decide(at(0), some_idle);
    assert_eq!(pool.decide(at(500), some_idle).start, 4);
}

#[test]
fn once_no_thread_is_surplus_nobody_wakes_for_it() {
    let mut pool = Arithmetic::new(EAGER, 1);
    let idle = Counts { threads: 10, idle: 10, ..Counts::default() };
    pool.decide(at(0), idle);
    let orders = pool.decide(at(10_000_000), idle);
    assert_eq!(orders, Orders { start: 0, retire: 9, reset_peak: true });
    assert!(pool.deadline().is_never());
}

#[test]
fn threads_that_stay_surplus_are_looked_at_again_after_another_window() {
    let mut pool = Arithmetic::new(EAGER, 1);
    let idle = Counts { threads: 10, idle: 10, peak_busy: 7, ..Counts::default() };
    pool.decide(at(0), idle);
    assert_eq!(pool.decide(at(10_000_000), idle).retire, 3);
    assert_eq!(pool.deadline(), at(20_000_000));
}
