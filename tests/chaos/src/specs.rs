//! Specs of every kind, most of them valid.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::WatchdogPolicy;

use crate::bodies::{self, Actor};
use crate::dice::Dice;
use crate::world::{lock, World};

/// The classes of each supervisor.
pub const CLASSES: [&str; 2] = ["c0", "c1"];

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub fn any(world: &Arc<World>, dice: &mut Dice) -> TaskSpec {
    let slot = Some(dice.below(world.slots())).filter(|_| !dice.one_in(8));
    let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let panics = dice.one_in(10);
    let actor = Actor { value: world.body(&name, panics).slow(dice), slot };
    let mut own = dice.child();
    let mut once = false;
    let mut spec = match dice.below(5) {
        0 => {
            once = true;
            TaskSpec::once(name, move |ctx| {
                let returned = bodies::run(&actor, ctx, &mut own);
                // By itself it would be dropped after the value is returned, and a panic in that
                // leaks what is returned: not our doing.
                drop(actor);
                returned
            })
        }
        1 => {
            let own = Mutex::new(own);
            TaskSpec::shared(name, move |ctx| bodies::run(&actor, ctx, &mut lock(&own).child()))
        }
        _ => TaskSpec::new(name, move |ctx| bodies::run(&actor, ctx, &mut own)),
    };
    spec = match slot {
        Some(slot) => spec.slot(format!("s{slot}")),
        None => spec.no_slot(),
    };
    // Only where owners may overlap, since that is what a release does.
    if slot.is_some_and(|slot| slot >= world.released_from) && !dice.one_in(4) {
        spec = spec.abandon_policy(AbandonPolicy::Release);
    }
    if dice.one_in(4) {
        spec = spec.class(dice.pick(&CLASSES));
    }
    if !once {
        spec = restarts(spec, dice);
    }
    spec = limits(spec, dice, world.may_hang);
    if dice.one_in(20) {
        spec = spec.dedicated_thread(own_thread(world, dice));
    }
    if dice.one_in(60) {
        spec = invalid(spec, dice);
    }
    spec
}

fn own_thread(world: &Arc<World>, dice: &mut Dice) -> ThreadOptions {
    let options = ThreadOptions::new().name("own").stack_size(256 * 1024);
    if dice.one_in(2) {
        return options;
    }
    let value = world.value("start hook of a task", dice.one_in(8)).slow(dice);
    let own = Mutex::new(dice.child());
    options.on_start(move || {
        let mut dice = lock(&own).child();
        match dice.below(12) {
            0 => return Err(std::io::Error::other("no rights")),
            1 => resume_unwind(Box::new("a start hook of a task")),
            2 if value.world().may_hang && dice.one_in(8) => value.world().hang(None),
            2 => value.world().hang(Some(dice.up_to_ms(60))),
            _ => {}
        }
        Ok(())
    })
}

fn restarts(spec: TaskSpec, dice: &mut Dice) -> TaskSpec {
    let mut spec = match dice.below(8) {
        0 => spec.restart(RestartPolicy::Never),
        1 => spec.restart(RestartPolicy::Always),
        2 => spec.repeat_after(dice.up_to_ms(20) + MS),
        3 => spec.every(dice.up_to_ms(20) + MS),
        _ => spec,
    };
    if dice.one_in(4) {
        spec = spec.max_retries(u32::try_from(dice.below(4)).unwrap_or_default());
    }
    if dice.one_in(8) {
        spec = spec.failure_limit(1 + u32::try_from(dice.below(5)).unwrap_or_default(), MS * 50);
    }
    if dice.one_in(8) {
        spec = spec.give_up_after(dice.up_to_ms(60) + MS);
    }
    if dice.one_in(6) {
        spec = spec.retry_early();
    }
    spec.backoff(match dice.below(4) {
        0 => BackoffPolicy::constant(dice.up_to_ms(10)).jitter(JitterPolicy::Full),
        1 => BackoffPolicy::exponential(MS, MS * 20).factor(1.5),
        2 => BackoffPolicy::exponential(MS, MS * 30).jitter(JitterPolicy::Decorrelated),
        _ => BackoffPolicy::constant(MS * 2),
    })
}

fn limits(mut spec: TaskSpec, dice: &mut Dice, may_hang: bool) -> TaskSpec {
    if dice.one_in(4) {
        spec = spec.timeout(dice.up_to_ms(20) + MS);
        if dice.one_in(2) {
            spec = spec.max_timeout(MS * 60);
        }
    }
    if dice.one_in(3) {
        spec = spec.grace(match dice.below(5) {
            0 => Duration::ZERO,
            // Never given up, and so it must come back by itself.
            1 if !may_hang => Duration::MAX,
            _ => dice.up_to_ms(40),
        });
    }
    if dice.one_in(6) {
        spec = spec.expires_in(dice.up_to_ms(30) + MS);
    }
    if dice.one_in(5) {
        spec = spec.watchdog(dice.up_to_ms(16) + MS * 4).watchdog_policy(if dice.one_in(2) {
            WatchdogPolicy::Cancel
        } else {
            WatchdogPolicy::Report
        });
    }
    if dice.one_in(10) {
        spec = spec.panic_policy(PanicPolicy::Fatal);
    }
    if dice.one_in(10) {
        spec = spec.stable_after(dice.up_to_ms(5));
    }
    if dice.one_in(8) {
        let forever = dice.one_in(6);
        spec = spec.initial_delay(if forever { Duration::MAX } else { dice.up_to_ms(30) });
    }
    if dice.one_in(2000) {
        spec = spec.shutdown_on_end();
    }
    match dice.below(10) {
        0 => spec = spec.stop_at_drain(),
        1 => spec = spec.finish_at_drain(),
        _ => {}
    }
    spec
}

/// Something that cannot work; two of them may happen to cancel each other out.
fn invalid(spec: TaskSpec, dice: &mut Dice) -> TaskSpec {
    match dice.below(6) {
        0 => spec.timeout(Duration::ZERO),
        1 => spec.repeat_after(Duration::ZERO),
        2 => spec.slot("nul\0"),
        3 => spec.watchdog(MS),
        4 => spec.backoff(BackoffPolicy::constant(MS).factor(f64::NAN)),
        _ => spec.expires_in(Duration::ZERO),
    }
}

const MS: Duration = Duration::from_millis(1);
