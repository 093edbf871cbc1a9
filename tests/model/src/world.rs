//! What surrounds the threads of one execution: its time, and what the system may do to them.
//!
//! An execution runs on one thread of the system, so its world can be a thread local of std.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::vocabulary::time::RealTime;

/// When a wait with a timeout ends for want of anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timers {
    /// Never: a wake-up that is lost leaves its thread blocked, which the checker sees.
    Never,
    /// Whenever the scheduler likes, as on a machine where anything may take any time.
    Any,
}

/// Which threads that are asked for cannot be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusing {
    None,
    Some,
    /// Those of the pool.
    Workers,
}

#[derive(Clone, Copy)]
struct World {
    now: RealTime,
    timers: Timers,
    refusing: Refusing,
}

const BIG_BANG: World =
    World { now: RealTime::ZERO, timers: Timers::Any, refusing: Refusing::None };

thread_local! {
    static WORLD: Cell<World> = const { Cell::new(BIG_BANG) };
    /// A name for the beginning on the system's scale, where only names are compared.
    static EPOCH: Instant = real_time();
}

#[allow(clippy::disallowed_methods, reason = "what the crate sees as time is not this")]
pub(crate) fn real_time() -> Instant {
    Instant::now()
}

fn change<T>(change: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|cell| {
        let mut world = cell.get();
        let value = change(&mut world);
        cell.set(world);
        value
    })
}

/// At the beginning of each execution.
pub(crate) fn begin(timers: Timers) {
    change(|world| *world = World { timers, ..BIG_BANG });
}

pub(crate) fn set_timers(timers: Timers) {
    change(|world| world.timers = timers);
}

/// Whether from now on the scheduler may refuse a thread.
pub(crate) fn refuse_threads(may: bool) {
    change(|world| world.refusing = if may { Refusing::Some } else { Refusing::None });
}

/// From now on no thread can be had for the pool.
pub(crate) fn refuse_workers() {
    change(|world| world.refusing = Refusing::Workers);
}

pub(crate) fn refuses_thread(name: &str) -> bool {
    match change(|world| world.refusing) {
        Refusing::None => false,
        Refusing::Some => coin(),
        Refusing::Workers => name.starts_with('w'),
    }
}

/// A choice that belongs to the schedule. Loom offers none.
pub(crate) fn coin() -> bool {
    die(2) == 1
}

/// One of so many.
#[cfg(not(feature = "loom"))]
pub(crate) fn die(sides: usize) -> usize {
    shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..sides)
}

#[cfg(feature = "loom")]
pub(crate) fn die(_sides: usize) -> usize {
    0
}

/// RealTime moves on when somebody looks at it, so that a loop which waits for it ends.
pub(crate) fn look_at_clock() -> RealTime {
    const LOOK: Duration = Duration::from_micros(10);
    change(|world| {
        world.now = world.now.after(LOOK);
        world.now
    })
}

pub(crate) fn advance(span: Duration) {
    change(|world| world.now = world.now.after(span));
}

/// Whether a timer that is due then fires now. If so, it is then.
pub(crate) fn fires(due: RealTime) -> bool {
    let fires = !due.is_never() && change(|world| world.timers) == Timers::Any && coin();
    if fires {
        change(|world| world.now = world.now.max(due));
    }
    fires
}

/// Whether such a timer may fire at all.
pub(crate) fn may_fire(due: RealTime) -> bool {
    !due.is_never() && change(|world| world.timers) == Timers::Any
}

pub(crate) fn instant(time: RealTime) -> Option<Instant> {
    (!time.is_never())
        .then(|| EPOCH.with(|epoch| *epoch))
        .and_then(|it| it.checked_add(time.since_start()))
}

pub(crate) fn time(instant: Instant) -> RealTime {
    RealTime::ZERO.after(instant.duration_since(EPOCH.with(|epoch| *epoch)))
}
