//! Bodies: a few acts, and then an end, of every kind.

use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::CancelGuard;

use crate::acts;
use crate::dice::Dice;
use crate::world::{lock, Value, World};

/// What a body owns.
pub struct Actor {
    pub value: Value,
    pub slot: Option<usize>,
}

const MS: Duration = Duration::from_millis(1);

pub fn run(actor: &Actor, ctx: &TaskContext, dice: &mut Dice) -> TaskResult {
    let world = actor.value.world();
    let _inside = world.enter(actor.slot, &actor.value);
    let mut guards = Vec::new();
    for _ in 0..dice.below(4) {
        act(world, ctx, dice, &mut guards)?;
    }
    end(world, ctx, dice)
}

fn end(world: &Arc<World>, ctx: &TaskContext, dice: &mut Dice) -> TaskResult {
    match dice.below(100) {
        0..=7 => Err("a failure".into()),
        8 | 9 => Err(TaskError::fail("busy").retry_after(dice.up_to_ms(10))),
        10..=14 => Err(world.value("error", dice.one_in(2)).slow(dice).into()),
        15 | 16 => Err(TaskError::fatal(world.value("error", false))),
        17 | 18 => Err(TaskError::cancelled()),
        19..=22 => resume_unwind(Box::new("a body")),
        23 | 24 => resume_unwind(Box::new(world.value("payload", dice.one_in(2)).slow(dice))),
        25 if world.may_hang && dice.one_in(4) => {
            world.hang(None);
            Ok(())
        }
        26 | 27 => {
            // Takes no notice until long after its grace.
            world.hang(Some(dice.up_to_ms(150)));
            Err("late".into())
        }
        28 if world.draining.load(Ordering::SeqCst) => {
            drop(lock(&world.orphan).take());
            Ok(())
        }
        29..=40 => Ok(ctx.check()?),
        _ => Ok(()),
    }
}

fn act(
    world: &Arc<World>,
    ctx: &TaskContext,
    dice: &mut Dice,
    guards: &mut Vec<CancelGuard>,
) -> TaskResult {
    match dice.below(26) {
        0..=5 => ctx.sleep(dice.up_to_ms(15))?,
        6 => ctx.sleep(Duration::MAX)?,
        7 => world.hang(Some(dice.up_to_ms(20))),
        8..=10 => {
            let size = 1 << dice.below(18);
            std::hint::black_box(vec![1_u8; size]);
        }
        11 | 12 => guards.push(hook(world, ctx, dice)),
        13 => hook(world, ctx, dice).forget(),
        14 => drop(hook(world, ctx, dice).disarm()),
        15 => {
            let value = world.value("nudge", dice.one_in(8)).slow(dice);
            let period = dice.up_to_ms(3);
            guards.push(ctx.on_cancel_every(period, move || {
                let _owned = &value;
            }));
        }
        16 => {
            let (wake, woken) = bounded(1);
            // Only its own hook wakes this one; kept short, for it may never be told.
            ctx.interruptible(
                move || {
                    let _ = wake.send(());
                },
                || woken.recv_timeout(Duration::from_millis(20)).is_ok(),
            );
        }
        17 => drop(ctx.cancel_fd()),
        18 => {
            ctx.heartbeat();
            ctx.mark(format!("mark {}", dice.below(10)));
            let _quiet = ctx.allow_silence(dice.up_to_ms(10));
            ctx.sleep(dice.up_to_ms(5))?;
        }
        19 => drop(ctx.extend_deadline(dice.up_to_ms(30))),
        20 => {
            if let Some(task) = world.recent(|len| dice.below(len)) {
                world.waits.fetch_add(1, Ordering::SeqCst);
                drop(task.wait_timeout(dice.up_to_ms(5)));
                if ctx.deadline().is_some() {
                    world.waits.fetch_add(1, Ordering::SeqCst);
                    drop(ctx.wait_for(&task));
                }
            }
        }
        21 if dice.one_in(8) => inner_supervisor(),
        22 => helper(ctx),
        23 if dice.one_in(200) => ctx.handle().request_shutdown(),
        _ => acts::act(world, &ctx.handle(), dice),
    }
    Ok(())
}

fn hook(world: &Arc<World>, ctx: &TaskContext, dice: &mut Dice) -> CancelGuard {
    let (value, handle, mut dice) =
        (world.value("hook", dice.one_in(8)).slow(dice), ctx.handle(), dice.child());
    ctx.on_cancel(move || match dice.below(12) {
        0 if value.world().may_hang && dice.one_in(8) => value.world().hang(None),
        0 => value.world().hang(Some(dice.up_to_ms(150))),
        1 => resume_unwind(Box::new("a hook")),
        2 => acts::submit(value.world(), &handle, &mut dice),
        3 | 4 => acts::meddle(value.world(), &handle, &mut dice),
        _ => {}
    })
}

/// A supervisor of its own, started and dropped while the body runs.
fn inner_supervisor() {
    // Threads may be scarce.
    let Ok(inner) = Supervisor::builder().thread_name("inner").grace(MS * 20).start() else {
        return;
    };
    let handle = inner.handle();
    let nap = TaskSpec::new("nap", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let nap = handle.add(nap);
    let done = handle.submit(TaskSpec::once("no-op", |_| Ok(())), AdmissionPolicy::Queue);
    drop(done.map(|done| done.wait_timeout(MS * 5)));
    drop((inner, nap));
}

/// Lends the context to a thread of its own.
fn helper(ctx: &TaskContext) {
    thread::scope(|scope| {
        let lent = || ctx.sleep(MS).is_ok();
        let spawned = thread::Builder::new().name("helper".into()).spawn_scoped(scope, lent);
        drop(spawned.map(thread::ScopedJoinHandle::join));
    });
}
