//! Guards in large numbers: each costs as much as each of a few.

use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{CancelGuard, Canceller};

use crate::ms;

/// Does something with so many guards.
type Way = fn(usize);

/// How long this thread has computed: on a machine under load, what takes longer waits more often
/// for its processor.
#[cfg(unix)]
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// As near as it comes there.
#[cfg(not(unix))]
#[allow(clippy::disallowed_methods, reason = "only how the times grow is compared")]
fn computed() -> Duration {
    use std::time::Instant;
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// How much longer an attempt with `FACTOR` times as many guards takes: the shortest of some tries
/// of each.
fn growth(drop_guards: Way) -> f64 {
    let shortest = |count| {
        let time = |_| {
            let began = computed();
            drop_guards(count);
            computed().saturating_sub(began)
        };
        (0..3).map(time).min().unwrap()
    };
    shortest(FEW * FACTOR).as_secs_f64() / shortest(FEW).as_secs_f64()
}

const FEW: usize = 300;
const FACTOR: usize = 16;

fn hooked(count: usize) -> (TaskContext, Canceller, Vec<CancelGuard>) {
    let (ctx, canceller) = TaskContext::detached();
    let guards = (0..count).map(|_| ctx.on_cancel(|| {})).collect();
    (ctx, canceller, guards)
}

#[test]
fn each_of_many_guards_costs_as_much_as_each_of_few() {
    let ways: [(&str, Way); 5] = [
        ("dropped in the order of registration", |count| drop(hooked(count))),
        ("dropped in the opposite order", |count| {
            let (_ctx, _, mut guards) = hooked(count);
            while guards.pop().is_some() {}
        }),
        ("their hooks run", |count| hooked(count).1.cancel()),
        ("nudges run", |count| {
            let (ctx, canceller) = TaskContext::detached();
            let nudge = |_| ctx.on_cancel_every(Duration::from_secs(3600), || {});
            let guards: Vec<_> = (0..count).map(nudge).collect();
            canceller.cancel();
            drop(guards);
        }),
        ("silence is allowed", |count| {
            let (ctx, _) = TaskContext::detached();
            let guards: Vec<_> = (0..count).map(|_| ctx.allow_silence(ms(1000))).collect();
            drop(guards);
        }),
    ];
    // In proportion it is 16, with the square of the number 256. A try may go wrong; only one that
    // is slow each time does more than its part.
    let slow = ways.map(|(way, drop_guards)| {
        let mut growth = (0..20).map(|_| growth(drop_guards));
        growth.all(|growth| growth >= 64.0).then_some(way)
    });
    assert_eq!(slow.iter().flatten().next(), None, "{FACTOR} times as many take far longer");
}
