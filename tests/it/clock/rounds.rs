//! The lost tick: a body that has returned has armed its next start before the clock moves on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use threadvisor::prelude::*;

use super::{ms, secs, started, ticker};

/// As many rounds as the variable says; 2000 by default.
fn rounds() -> u32 {
    std::env::var("THREADVISOR_ROUNDS").map_or(2000, |text| text.parse().unwrap())
}

#[test]
fn each_period_is_exactly_one_tick_more() {
    let (clock, supervisor) = started(|it| it);
    let ticks = Arc::new(AtomicU32::new(0));
    supervisor.handle().add(ticker("grid", &ticks).every(secs(1))).unwrap();
    clock.settle();
    for round in 1..=rounds() {
        assert_eq!(ticks.load(Ordering::Relaxed), round);
        clock.advance(secs(1));
    }
}

#[test]
fn each_period_is_one_tick_more_beside_fifty_bodies_that_sleep() {
    let (clock, supervisor) = started(|it| it);
    for n in 0..50 {
        let sleeper = TaskSpec::new(format!("sleeper-{n}"), move |ctx| {
            ctx.sleep(ms(100 + n))?;
            Ok(())
        });
        supervisor.handle().add(sleeper.every(secs(1))).unwrap();
    }
    let ticks = Arc::new(AtomicU32::new(0));
    supervisor.handle().add(ticker("pause", &ticks).repeat_after(ms(700))).unwrap();
    clock.settle();
    for round in 1..=rounds() / 20 {
        assert_eq!(ticks.load(Ordering::Relaxed), round);
        clock.advance(ms(700));
    }
}
