//! What threads of all kinds do to a supervisor while it runs: submit, cancel, ask, wait.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, SubmitError};

use crate::dice::Dice;
use crate::specs::{self, CLASSES};
use crate::world::World;

const POLICIES: [AdmissionPolicy; 4] = [
    AdmissionPolicy::Queue,
    AdmissionPolicy::Replace,
    AdmissionPolicy::DropIfRunning,
    AdmissionPolicy::KeepLatest,
];

/// One act of any kind, from any thread.
pub fn act(world: &Arc<World>, handle: &SupervisorHandle, dice: &mut Dice) {
    match dice.below(10) {
        0..=4 => submit(world, handle, dice),
        5 => add(world, handle, dice),
        _ => meddle(world, handle, dice),
    }
}

pub fn submit(world: &Arc<World>, handle: &SupervisorHandle, dice: &mut Dice) {
    let (spec, policy) = (specs::any(world, dice), dice.pick(&POLICIES));
    let (fault, name) = (spec.validate().err(), spec.name().to_owned());
    let submitted =
        if dice.one_in(3) { handle.try_submit(spec, policy) } else { handle.submit(spec, policy) };
    match submitted {
        Ok(task) => {
            if fault.is_some() {
                world.fault(format!("{task:?} is invalid and was accepted"));
            }
            world.accepted(task);
        }
        Err(SubmitError::Invalid { spec, .. }) if fault.is_some() => {
            check_name(world, &spec, &name);
        }
        Err(SubmitError::Closed { spec } | SubmitError::Full { spec }) => {
            check_name(world, &spec, &name);
        }
        Err(error) => world.fault(format!("refused as {error}")),
    }
}

fn check_name(world: &World, spec: &TaskSpec, name: &str) {
    if spec.name() != name {
        world.fault(format!("{name:?} was handed over, {spec:?} came back"));
    }
}

fn add(world: &Arc<World>, handle: &SupervisorHandle, dice: &mut Dice) {
    if dice.one_in(6) {
        return add_group(world, handle, dice);
    }
    if dice.one_in(2) {
        match handle.add(specs::any(world, dice)) {
            Ok(task) => world.accepted(task),
            Err(error) => note_refusal(world, &error, 1),
        }
        return;
    }
    let batch: Vec<_> = (0..dice.below(6)).map(|_| specs::any(world, dice)).collect();
    let count = batch.len();
    match handle.add_all(batch) {
        Ok(tasks) => tasks.into_iter().for_each(|task| world.accepted(task)),
        Err(error) => {
            note_refusal(world, &error, count);
            if error.into_spec().len() != count {
                world.fault("not all of a refused batch came back");
            }
        }
    }
}

/// Adds a group of a few members, whose name may be in use.
fn add_group(world: &Arc<World>, handle: &SupervisorHandle, dice: &mut Dice) {
    let mut group = GroupSpec::new(format!("g{}", dice.below(8)));
    group = match dice.below(4) {
        0 => group,
        1 => group.rest_for_one(),
        2 => group.one_for_all().restart_limit(2, Duration::from_millis(50)),
        _ => group.one_for_all(),
    };
    for _ in 0..=dice.below(3) {
        let members = (0..=dice.below(2)).map(|_| match dice.below(3) {
            0 => specs::any(world, dice).step(),
            1 => specs::any(world, dice).ready_within(Duration::from_millis(5)),
            _ => specs::any(world, dice),
        });
        group = group.then(members.collect::<Vec<_>>());
    }
    let count = group.as_ref().len();
    match handle.add_group(group) {
        Ok(group) => {
            if dice.one_in(4) {
                world.waits.fetch_add(count, Ordering::SeqCst);
                let _ = group.wait_ready(dice.up_to_ms(3));
            }
            group.members().iter().for_each(|member| world.accepted(member.clone()));
        }
        Err(error) => {
            note_refusal(world, &error, count);
            if error.into_spec().as_ref().len() != count {
                world.fault("not all of a refused group came back");
            }
        }
    }
}

fn meddle_with_group(handle: &SupervisorHandle, dice: &mut Dice) {
    let Some(group) = handle.group(&format!("g{}", dice.below(8))) else { return };
    match dice.below(4) {
        0 => group.cancel(),
        1 => drop(group.restart()),
        2 => drop(format!("{:?} {group:?}", group.state())),
        _ => drop(group.wait_ready(Duration::ZERO)),
    }
}

fn set_class_limit(handle: &SupervisorHandle, dice: &mut Dice) {
    let class = dice.pick(&CLASSES);
    handle.set_class_limit(class, 1 + dice.below(4)).expect("it is declared");
}

fn note_refusal<S: AsRef<[TaskSpec]>>(world: &World, error: &AddError<S>, count: usize) {
    match error {
        AddError::Rejected { .. } | AddError::Closed { .. } => {
            world.refused_adds.fetch_add(count, Ordering::SeqCst);
        }
        AddError::Invalid { .. } => {}
        other => world.fault(format!("an add was refused as {other}")),
    }
}

/// Asks and orders, without handing anything over.
pub fn meddle(world: &Arc<World>, handle: &SupervisorHandle, dice: &mut Dice) {
    let Some(task) = world.recent(|len| dice.below(len)) else { return };
    let slot = format!("s{}", dice.below(world.slots()));
    match dice.below(31) {
        30 => set_class_limit(handle, dice),
        28 | 29 => meddle_with_group(handle, dice),
        0..=5 => task.cancel(),
        6 | 7 => drop(task.skip_wait()),
        8 | 9 => drop(task.restart()),
        24 => drop(task.pause()),
        25 | 26 => drop(task.resume()),
        27 => drop(task.set_interval(dice.up_to_ms(20))),
        10 => drop(task.state()),
        11 => drop(task.wait_decided()),
        12 => {
            world.waits.fetch_add(1, Ordering::SeqCst);
            drop(task.wait_timeout(dice.up_to_ms(3)));
        }
        13 => drop(task.ended().try_recv()),
        14 => drop(task.wait_timeout(Duration::ZERO)),
        15 | 16 => drop(handle.cancel_slot(&slot)),
        17 => drop(handle.owner(&slot)),
        18 => drop(handle.task(task.id())),
        19 => drop(handle.flush_events()),
        20 => drop(format!("{task:?} {handle:?}")),
        21 | 22 => check_closed(world, handle, &task),
        _ => snapshot(world, handle),
    }
}

/// Cancels a task, which must then end soon, whatever hangs. Not for threads of the supervisor.
pub fn end_one(world: &World, handle: &SupervisorHandle, dice: &mut Dice) {
    if !world.prompt.load(Ordering::SeqCst) {
        return;
    }
    let Some(task) = world.recent(|len| dice.below(len)) else { return };
    task.cancel();
    for _ in 0..60 {
        if handle.is_shutting_down() {
            return;
        }
        if !matches!(task.wait_timeout(Duration::from_secs(1)), Ok(None)) {
            return check_closed(world, handle, &task);
        }
    }
    world.fault(format!("{task:?} was cancelled a minute ago and has no outcome"));
}

/// Whoever sees an outcome finds the body dropped, or named as stuck.
fn check_closed(world: &World, handle: &SupervisorHandle, task: &TaskHandle) {
    let Some(outcome) = task.outcome() else { return };
    // The end of a shutdown's grace does not wait for destructors.
    if matches!(outcome, Outcome::Abandoned { .. }) || handle.is_shutting_down() {
        return;
    }
    let Ok(snapshot) = handle.snapshot() else { return };
    let is_named = snapshot.abandoned.iter().any(|it| it.task.id == task.id());
    if world.has_body(task) && !is_named {
        world.fault(format!("{task:?} ended as {outcome} before its body was dropped"));
    }
}

/// A snapshot is one moment, in which everything fits together.
fn snapshot(world: &World, handle: &SupervisorHandle) {
    let Ok(snapshot) = handle.snapshot() else { return };
    let permits = snapshot.permits;
    if permits.limit.is_some_and(|limit| permits.held > world.most_permits(limit)) {
        world.fault(format!("{permits:?}"));
    }
    for slot in &snapshot.slots {
        let queued = |task: &&threadvisor::TaskSnapshot| {
            task.task.slot.as_ref() == Some(&slot.key) && task.state == TaskState::Queued
        };
        if snapshot.tasks.iter().filter(queued).count() != slot.queued {
            world.fault(format!("{slot:?} does not fit its tasks"));
        }
        let owner = slot.owner.and_then(|owner| snapshot.task(owner));
        if slot.owner.is_some() && owner.map_or(true, |owner| owner.state == TaskState::Queued) {
            world.fault(format!("{slot:?} is owned by {owner:?}"));
        }
    }
    drop(snapshot.to_string());
}
