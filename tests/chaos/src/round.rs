//! The life of one supervisor: started with chance settings, used by threads of all kinds, ended in
//! one of many ways, and then everything it accepted is looked at.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{RunReport, ShutdownCause, ShutdownReport, StartError, SupervisorBuilder};

use crate::dice::Dice;
use crate::listen::{self, Bookkeeper, Nuisance};
use crate::specs::CLASSES;
use crate::watch::{nap, take_leak, Watch};
use crate::world::{contained, lock, World};
use crate::{acts, specs, system};

/// What is asked of a run.
#[derive(Clone, Copy)]
pub struct Wishes {
    pub max_concurrent: Option<usize>,
    /// Whether the system itself refuses threads.
    pub scarce: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub supervisors: usize,
    pub refused_starts: usize,
    pub accepted: usize,
    pub attempts: usize,
    pub values_leaked: usize,
    pub most_threads: usize,
    pub outcomes: BTreeMap<&'static str, usize>,
}

const MS: Duration = Duration::from_millis(1);
/// No wait takes so long unless a promise is broken.
const FOREVER: Duration = Duration::from_secs(75);

/// What is known of the end.
#[derive(Default)]
struct Known {
    run: Option<RunReport>,
    shutdown: Option<ShutdownReport>,
}

impl Known {
    fn report(&self) -> Option<&ShutdownReport> {
        self.run.as_ref().map(|run| &run.shutdown).or(self.shutdown.as_ref())
    }
}

/// One supervisor from beginning to end; the faults come back.
pub fn play(
    arena: usize,
    seed: u64,
    wishes: Wishes,
    watch: &Watch,
    tally: &mut Tally,
) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let slots = 1 + dice.below(300);
    let max = wishes.max_concurrent.unwrap_or_else(|| dice.pick(&[1, 2, 4, 16, 64, 1024]));
    let world = Arc::new(World::new(seed, slots, max, dice.one_in(2)));
    watch.note(arena, seed, "starts", None);
    // Said of another of the same name.
    take_leak(seed);
    let known_handle = Arc::new(OnceLock::new());
    let supervisor = match builder(&world, &mut dice, &known_handle, wishes).start() {
        Ok(supervisor) => supervisor,
        // With threads spawned at the start, a set-up that fails is an error of the start.
        Err(StartError::Thread { .. })
            if wishes.scarce || world.refusals.load(Ordering::SeqCst) > 0 =>
        {
            tally.refused_starts += 1;
            // The callback at the end of a thread that was started may hang.
            world.open_gate();
            return world.faults();
        }
        Err(error) => return vec![format!("no start: {error}")],
    };
    tally.supervisors += 1;
    let handle = supervisor.handle();
    let _ = known_handle.set(handle.clone());
    drop(known_handle);
    watch.note(arena, seed, "runs", Some(&handle));
    let known = drive(&world, supervisor, &handle, &mut dice);
    watch.note(arena, seed, "ends", Some(&handle));
    await_end(&world, &handle);
    check_closings(&world, &known);
    world.open_gate();
    contained(|| drop(handle));
    watch.note(arena, seed, "has ended", None);
    settle(&world, known, tally);
    watch.note(arena, seed, "is settled", None);
    world.faults()
}

/// What tells its threads from others.
pub fn name_of(seed: u64) -> String {
    format!("{}", seed % 10_000)
}

fn classes(builder: SupervisorBuilder, dice: &mut Dice) -> SupervisorBuilder {
    CLASSES.iter().fold(builder, |it, class| it.class_limit(*class, dice.pick(&[1, 2, 8])))
}

fn builder(
    world: &Arc<World>,
    dice: &mut Dice,
    handle: &Arc<OnceLock<SupervisorHandle>>,
    wishes: Wishes,
) -> SupervisorBuilder {
    let grace = match dice.below(6) {
        0 => Duration::ZERO,
        // Only where every body comes back by itself, and is dropped by a thread.
        1 if !world.may_hang && !wishes.scarce => Duration::MAX,
        2 => MS * 200,
        _ => dice.up_to_ms(40),
    };
    let max_abandoned = dice.pick(&[0, 2, 16, 1000]);
    let _ = world.grace.set(grace);
    world.prompt.store(max_abandoned == 1000 && !wishes.scarce, Ordering::SeqCst);
    let mut builder = classes(Supervisor::builder(), dice)
        .thread_name(name_of(world.seed))
        .max_concurrent(world.max_concurrent)
        .max_slot_queue(dice.pick(&[1, 3, 100]))
        .max_tasks(dice.pick(&[5, 50, 1_000_000, 1_000_000, 1_000_000, 1_000_000]))
        .max_abandoned(max_abandoned)
        .intake_capacity(dice.pick(&[1, 8, 1024]))
        .event_capacity(dice.pick(&[1, 16, 1024]))
        .grace(grace)
        .seed(dice.roll())
        .stack_size(256 * 1024);
    if dice.one_in(4) && !wishes.scarce {
        builder = builder.prespawn(dice.below(5));
    }
    if dice.one_in(4) {
        builder = builder.defaults(TaskDefaults::new().max_retries(3).timeout(MS * 40));
    }
    if dice.one_in(6) {
        builder = builder.shutdown_on_signals();
    }
    if dice.one_in(4) {
        builder = builder.name_threads_by_task();
    }
    if dice.one_in(2) {
        world.refusals.store(dice.pick(&[0, 10, 60]), Ordering::SeqCst);
        let (refuse, stop) =
            (world.value("start hook", dice.one_in(2)), world.value("stop hook", dice.one_in(2)));
        let start = move || match start_of_thread(refuse.world()) {
            0 => Ok(()),
            1 => Err(std::io::Error::other("no thread for you")),
            _ => resume_unwind(Box::new("a start hook")),
        };
        let stops = Mutex::new(dice.child());
        builder = builder.on_thread_start(start).on_thread_stop(move || {
            let mut dice = lock(&stops).child();
            match dice.below(100) {
                0 => resume_unwind(Box::new("a stop hook")),
                1 if stop.world().may_hang => stop.world().hang(None),
                1..=4 => stop.world().hang(Some(dice.up_to_ms(60))),
                _ => {}
            }
        });
    }
    let nuisance = |dice: &mut Dice| Nuisance {
        value: world.value("subscriber", dice.one_in(4)),
        dice: dice.child(),
        handle: Arc::clone(handle),
        nameless: dice.one_in(4),
    };
    if dice.one_in(2) {
        builder = builder.subscriber(nuisance(dice));
    }
    if dice.one_in(4) {
        builder = builder.dedicated_subscriber(nuisance(dice), dice.pick(&[1, 100]));
    }
    if !dice.one_in(4) {
        builder =
            builder.dedicated_subscriber(Bookkeeper(world.value("subscriber", false)), 1 << 20);
    }
    builder
}

/// Whether a thread is refused, and how, perhaps after a while. The threads share no dice, so they
/// count.
fn start_of_thread(world: &World) -> usize {
    let refusals = world.refusals.load(Ordering::SeqCst);
    let number = world.starts.fetch_add(1, Ordering::SeqCst);
    let mut dice = Dice::new(world.seed ^ number as u64);
    let roll = dice.below(100);
    match dice.below(400) {
        // Long enough to count as slow.
        0 => world.hang(Some(MS * 1100)),
        1..=20 => world.hang(Some(dice.up_to_ms(30))),
        _ => {}
    }
    usize::from(roll < refusals) + usize::from(roll < refusals / 4)
}

/// Lets threads act on it, and ends it, perhaps while they do.
fn drive(
    world: &Arc<World>,
    supervisor: Supervisor,
    handle: &SupervisorHandle,
    dice: &mut Dice,
) -> Known {
    thread::scope(|scope| {
        let drivers: Vec<_> = (0..=dice.below(3))
            .filter_map(|_| {
                let (mut dice, ops) = (dice.child(), 20 + dice.below(500));
                let drive = move || {
                    for _ in 0..ops {
                        contained(|| acts::act(world, handle, &mut dice));
                        if dice.one_in(20) {
                            nap(dice.up_to_ms(4));
                        }
                        if dice.one_in(60) {
                            acts::end_one(world, handle, &mut dice);
                        }
                        if handle.is_shutting_down() && dice.one_in(10) {
                            break;
                        }
                    }
                };
                // Where threads are scarce there may be none.
                thread::Builder::new().name("driver".into()).spawn_scoped(scope, drive).ok()
            })
            .collect();
        if drivers.is_empty() {
            (0..50).for_each(|_| contained(|| acts::submit(world, handle, dice)));
        }
        if dice.one_in(2) {
            nap(dice.up_to_ms(300));
        } else {
            for driver in drivers {
                driver.join().unwrap_or_default();
            }
            nap(dice.up_to_ms(30));
        }
        if dice.one_in(2) {
            world.refusals.store(0, Ordering::SeqCst);
        }
        world.draining.store(true, Ordering::SeqCst);
        world.threads.store(system::threads().len(), Ordering::SeqCst);
        end(world, supervisor, handle, dice)
    })
}

/// Ends it in one of many ways.
fn end(
    world: &Arc<World>,
    supervisor: Supervisor,
    handle: &SupervisorHandle,
    dice: &mut Dice,
) -> Known {
    let mut known = Known::default();
    if dice.one_in(4) {
        handle.request_drain(dice.up_to_ms(200));
        nap(dice.up_to_ms(20));
    }
    match dice.below(10) {
        0 => drop(supervisor),
        1 => {
            handle.request_shutdown();
            known.run = supervisor.wait_shutdown().ok();
        }
        2 => {
            let batch: Vec<_> = (0..dice.below(4)).map(|_| specs::any(world, dice)).collect();
            let (count, soon) = (batch.len(), dice.up_to_ms(50));
            thread::scope(|scope| {
                let request = move || {
                    nap(soon);
                    handle.request_shutdown();
                };
                let asks = thread::Builder::new().name("asks".into());
                if asks.spawn_scoped(scope, request).is_err() {
                    handle.request_shutdown();
                }
                contained(|| known.run = supervisor.run(batch).ok());
            });
            world.refused_adds.fetch_add(count, Ordering::SeqCst);
        }
        3 => {
            *lock(&world.orphan) = Some(supervisor);
            nap(dice.up_to_ms(40));
            let left = lock(&world.orphan).take();
            drop(left);
        }
        4 => {
            let while_panicking = || {
                let _dropped = supervisor;
                resume_unwind(Box::new("a user"));
            };
            let _: Result<(), _> = catch_unwind(AssertUnwindSafe(while_panicking));
        }
        5 => thread::scope(|scope| {
            let ask = || drop(supervisor.shutdown());
            let other = thread::Builder::new().name("other".into()).spawn_scoped(scope, ask);
            known.shutdown = supervisor.shutdown().ok().map(|report| report.shutdown);
            drop(other.map(thread::ScopedJoinHandle::join));
        }),
        6 | 7 => known.run = supervisor.drain(dice.up_to_ms(200)).ok(),
        _ => known.shutdown = supervisor.shutdown().ok().map(|report| report.shutdown),
    }
    known
}

/// A drop may have only asked.
fn await_end(world: &World, handle: &SupervisorHandle) {
    for _ in 0..FOREVER.as_millis() / 2 {
        let mut ended = false;
        contained(|| ended = handle.snapshot().is_err());
        if ended {
            return;
        }
        nap(MS * 2);
    }
    world.fault("it never ended");
}

/// While all that hangs still hangs: it has delayed nothing for longer than a grace, and the report
/// knows of it.
fn check_closings(world: &World, known: &Known) {
    let Some(report) = known.report() else { return };
    let bound = world.grace.get().and_then(|grace| grace.checked_add(OVERSLEPT));
    if bound.is_some_and(|bound| report.elapsed > bound) {
        world.fault(format!("with a grace of {:?} the end took {:?}", world.grace, report.elapsed));
    }
    let (left, named) = (world.unclosed(), report.abandoned.len() + report.values_leaked);
    if left > named {
        world.fault(format!("{left} bodies are left, {named} are in the report: {report}"));
    }
}

/// How late a thread may be on a busy machine.
const OVERSLEPT: Duration = Duration::from_secs(15);

/// Everything accepted has its outcome, the books agree, and no value is left.
fn settle(world: &Arc<World>, known: Known, tally: &mut Tally) {
    let tasks = world.take_ledger();
    tally.accepted += tasks.len();
    tally.most_threads = world.threads.load(Ordering::SeqCst);
    tally.attempts += world.attempts.load(Ordering::SeqCst);
    let mut outcomes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for task in &tasks {
        let Ok(Some(outcome)) = task.wait_timeout(FOREVER) else {
            world.fault(format!("{task:?} has no outcome"));
            continue;
        };
        if matches!(outcome, Outcome::Lost) || task.state() != TaskState::Over {
            world.fault(format!("{task:?} is {} and {outcome}", task.state()));
        }
        *outcomes.entry(outcome.label()).or_default() += 1;
    }
    listen::check_books(world, &tasks);
    let leaked = check_report(world, &known, &outcomes);
    for task in &tasks {
        let label = task.outcome().map(|outcome| outcome.label());
        *outcomes.entry(label.unwrap_or("none")).or_default() -= 1;
    }
    if outcomes.values().any(|&changed| changed != 0) {
        world.fault(format!("outcomes have changed: {outcomes:?}"));
    }
    for task in &tasks {
        let label = task.outcome().map_or("none", |outcome| outcome.label());
        *tally.outcomes.entry(label).or_default() += 1;
    }
    for task in tasks {
        contained(|| drop(task));
    }
    contained(|| drop(known));
    await_values(world, leaked, tally);
}

fn check_report(
    world: &World,
    known: &Known,
    outcomes: &BTreeMap<&'static str, usize>,
) -> Option<usize> {
    let shutdown = known.report()?;
    if shutdown.cause == ShutdownCause::ControllerPanicked {
        world.fault("the controller panicked");
    }
    if let Some(run) = &known.run {
        let counts = &run.outcomes;
        let told = [
            ("completed", counts.completed),
            ("cancelled", counts.cancelled),
            ("failed", counts.failed),
            ("fatal", counts.fatal),
            ("panicked", counts.panicked),
            ("timed_out", counts.timed_out),
            ("unresponsive", counts.unresponsive),
            ("abandoned", counts.abandoned),
            ("lost", counts.lost),
        ];
        // `run` has tasks of its own, whose handles nobody has.
        let unseen = world.refused_adds.load(Ordering::SeqCst) as u64;
        for (label, told) in told {
            let seen = outcomes.get(label).copied().unwrap_or_default() as u64;
            if told < seen || told > seen + unseen {
                world.fault(format!("{told} {label} in the report, {seen} in the ledger"));
            }
        }
    }
    Some(shutdown.values_leaked)
}

/// Once nobody is held any more, all user values are dropped; those that the report calls leaked
/// are not, nor those of which the log says so.
fn await_values(world: &Arc<World>, leaked: Option<usize>, tally: &mut Tally) {
    let mut excused = leaked.is_some_and(|leaked| leaked > 0);
    let patience = FOREVER / 5;
    for waited in 0..patience.as_millis() / 2 {
        // A body that was given up may have been at it when the ledger was taken.
        for late in world.take_ledger() {
            if late.outcome().is_none() {
                world.fault(format!("{late:?} has no outcome"));
            }
            contained(|| drop(late));
        }
        excused |= take_leak(world.seed);
        if world.values_left().is_empty() {
            return;
        }
        // What a thread has that comes back late may go yet.
        if excused && waited > 150 {
            break;
        }
        nap(MS * 2);
    }
    let left = world.values_left();
    tally.values_leaked += left.values().sum::<usize>();
    if !excused {
        let threads = system::threads();
        world.fault(format!("{left:?} are left, {leaked:?} in the report; {threads:?}"));
    }
}
