//! Several supervisors that share the work by key: the way past the one controller of a supervisor,
//! on a machine with more cores than one controller can keep busy.
//!
//! `cargo run --example sharded` ends after about 2 s; with `--release` its rates mean something.
//! The hash of a key picks the supervisor, so that tasks with the same key have the same slot, run
//! in the order in which they were submitted, and never overlap. You see that they did; how many
//! tasks per second one supervisor does, and two and four together, compared with one; and how long
//! the shutdown of four takes: all are told at once, so that four bodies that take 100 ms each to
//! return need 100 ms together. The last lines are one report of all four: 804 tasks, 800
//! completed, 4 cancelled. The exit code is 0.
//!
//! On two idle cores you will see that several supervisors do less than one (0.8 to 0.9 times):
//! threads that submit and run tasks have the cores busy already. The page about performance has a
//! model that says from how many cores on two do more: 6 with bodies that compute for 1 µs, 20 with
//! 10 µs, more than 64 with 100 µs.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use threadvisor::prelude::*;
use threadvisor::OutcomeCounts;

type Error = Box<dyn std::error::Error>;

/// Supervisors that look like one.
struct Sharded {
    supervisors: Vec<(Supervisor, SupervisorHandle)>,
    hasher: RandomState,
}

impl Sharded {
    fn start(count: usize) -> Result<Self, Error> {
        let start = || {
            let supervisor = Supervisor::builder().max_slot_queue(100_000).start()?;
            let handle = supervisor.handle();
            Ok((supervisor, handle))
        };
        let supervisors = (0..count).map(|_| start()).collect::<Result<_, Error>>()?;
        Ok(Self { supervisors, hasher: RandomState::new() })
    }

    /// The key is the slot as well. Whatever must stay apart or in order has the same key.
    fn submit(&self, key: &Arc<str>, spec: TaskSpec) -> Result<TaskHandle, Error> {
        let count = self.supervisors.len() as u64;
        let at = usize::try_from(self.hasher.hash_one(key) % count)?;
        let handle = &self.supervisors[at].1;
        Ok(handle.submit(spec.slot(Arc::clone(key)), AdmissionPolicy::Queue)?)
    }

    /// All are told before one is waited for, so that their graces run side by side.
    fn shutdown(self) -> Result<Reports, Error> {
        self.supervisors.iter().for_each(|(_, handle)| handle.request_shutdown());
        let reports = self.supervisors.iter().map(|(supervisor, _)| supervisor.shutdown());
        Ok(Reports(reports.collect::<Result<_, _>>()?))
    }
}

/// The reports of all, as one.
struct Reports(Vec<RunReport>);

impl Reports {
    fn print(&self) {
        let sum = |count: fn(&OutcomeCounts) -> u64| -> u64 {
            self.0.iter().map(|report| count(&report.outcomes)).sum()
        };
        let [completed, cancelled] = [sum(|it| it.completed), sum(|it| it.cancelled)];
        println!(
            "{} tasks: {completed} completed, {cancelled} cancelled",
            sum(OutcomeCounts::total)
        );
        for failure in self.0.iter().flat_map(|report| &report.failures) {
            println!("{}: {}", failure.task, failure.outcome);
        }
        for stuck in self.0.iter().flat_map(|report| &report.shutdown.abandoned) {
            println!("abandoned: {stuck}");
        }
    }

    /// That of the first that has one.
    fn exit_code(&self) -> ExitCode {
        let mut codes = self.0.iter().map(RunReport::exit_code);
        codes.find(|code| *code != 0).unwrap_or(0).into()
    }
}

fn keys(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|n| format!("customer-{n}").into()).collect()
}

/// Each key's tasks note their number; they must not overtake each other.
fn in_order(sharded: &Sharded) -> Result<(), Error> {
    let mut tasks = Vec::new();
    let journals: Vec<_> = keys(8).into_iter().map(|key| (key, Arc::default())).collect();
    for number in 0..100 {
        for (key, journal) in &journals {
            let journal: Arc<Mutex<Vec<u32>>> = Arc::clone(journal);
            let spec = TaskSpec::once("note", move |_| {
                journal.lock().map_err(|_| "a note before panicked")?.push(number);
                Ok(())
            });
            tasks.push(sharded.submit(key, spec)?);
        }
    }
    for task in tasks {
        task.wait()?.into_result()?;
    }
    for (key, journal) in &journals {
        let numbers = journal.lock().map_err(|_| "a note panicked")?;
        assert!(numbers.iter().copied().eq(0..100), "{key}: {numbers:?}");
    }
    println!("{} keys, 100 tasks each: in order", journals.len());
    Ok(())
}

/// How many tasks that do nothing are done per second.
#[allow(clippy::disallowed_methods, reason = "this is about time")]
fn rate(count: usize, keys: &[Arc<str>]) -> Result<f64, Error> {
    let sharded = Sharded::start(count)?;
    let began = Instant::now();
    let submit = |key| sharded.submit(key, TaskSpec::once("no-op", |_| Ok(())));
    let tasks: Vec<_> = keys.iter().map(submit).collect::<Result<_, _>>()?;
    for task in &tasks {
        task.wait()?.into_result()?;
    }
    let spent = began.elapsed();
    sharded.shutdown()?;
    Ok(f64::from(u32::try_from(tasks.len())?) / spent.as_secs_f64())
}

/// In turns, so that what else the machine does meets all alike. The best of each counts.
fn compare() -> Result<(), Error> {
    let (counts, keys) = ([1, 2, 4], keys(5000));
    let mut best = counts.map(|_| 0.0);
    for _ in 0..9 {
        for (best, count) in best.iter_mut().zip(counts) {
            *best = rate(count, &keys)?.max(*best);
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("on {cores} cores, by the number of supervisors:");
    for (rate, count) in best.iter().zip(counts) {
        println!("  {count}: {rate:.0} tasks per second, {:.2} times one", rate / best[0]);
    }
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is about time, and a body that is deaf for a while"
)]
fn main() -> Result<ExitCode, Error> {
    compare()?;
    let sharded = Sharded::start(4)?;
    in_order(&sharded)?;
    for (supervisor, _) in &sharded.supervisors {
        let slow = TaskSpec::once("slow to return", |ctx| {
            let told = ctx.sleep(Duration::MAX);
            std::thread::sleep(Duration::from_millis(100));
            Ok(told?)
        });
        supervisor.handle().add(slow)?.wait_started()?;
    }
    let began = Instant::now();
    let reports = sharded.shutdown()?;
    println!("shutdown of all: {} ms", began.elapsed().as_millis());
    reports.print();
    Ok(reports.exit_code())
}
