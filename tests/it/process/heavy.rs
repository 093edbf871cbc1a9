//! Many processes, in a process of their own: `.ci/deep processes` runs these.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};
use threadvisor::crossbeam_channel::{after, bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::Program;

use super::{children, heard, is_alive, run_once, sh, until_so, LONG, MS};
use crate::support::{next, outcome_of};

/// What a process may be like.
const SCRIPTS: [&str; 11] = [
    "exec sleep 1000",
    "trap '' TERM; while :; do sleep 0.01; done",
    "kill -STOP $$; sleep 1000",
    "sleep 1000 & sleep 1000 & wait",
    "(trap '' TERM; sleep 1000) & exit 0",
    "sleep 1000 >&- 2>&- & exit 3",
    "(trap 'sleep 0.02; exit' TERM; while :; do sleep 0.01; done) & wait",
    "trap 'exit 7' TERM; while :; do sleep 0.01; done",
    "yes",
    "exit 0",
    "exit 3",
];

/// Numbers that look random.
struct Dice(u32);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % n
    }
}

/// The living processes by their groups.
fn groups() -> BTreeMap<String, String> {
    let stats = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| {
            let (_, rest) = stat.rsplit_once(") ")?;
            let fields: Vec<_> = rest.split(' ').collect();
            (!matches!(fields[0], "Z" | "X")).then(|| (fields[2].to_owned(), stat.clone()))
        })
        .collect()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// In kilobytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Real time since the boot.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

#[test]
#[ignore = "takes minutes: .ci/deep processes"]
fn whatever_processes_do_nothing_of_them_is_left() {
    let rounds = std::env::var("THREADVISOR_ROUNDS").ok().and_then(|it| it.parse().ok());
    let mut foreign = Command::new("sleep").arg("100000").spawn().unwrap();
    let (begun, mut dice) = (descriptors(), Dice(1));
    let (tell, started) = unbounded();
    let builder = Supervisor::builder().on_output(|_| ()).on_event(move |event| {
        if let EventKind::ProcessStarted { pid, .. } = event.kind {
            let _ = tell.send(pid.to_string());
        }
    });
    let supervisor = builder.start().unwrap();
    let handle = supervisor.handle();
    let (mut n, mut early) = (0, None);
    while n < rounds.unwrap_or(10_000) {
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                n += 1;
                let script = SCRIPTS[usize::try_from(dice.below(11)).unwrap()];
                let mut program = sh(script).stop_timeout(50 * MS);
                if script == "yes" || dice.below(2) == 0 {
                    program = program.capture();
                }
                let spec = TaskSpec::process("task", program).no_slot();
                let spec = spec.backoff(BackoffPolicy::constant(MS));
                handle.add(spec.restart(RestartPolicy::OnFailure)).unwrap()
            })
            .collect();
        // Somebody else's child ends meanwhile, and its status is still there.
        let mut other = Command::new("sh").args(["-c", "exit 9"]).spawn().unwrap();
        for task in &tasks {
            let _ = after(Duration::from_micros(dice.below(3000).into())).recv();
            if dice.below(8) == 0 {
                task.restart();
            }
            task.cancel();
        }
        for task in &tasks {
            let outcome = outcome_of(task);
            assert!(!matches!(outcome, Outcome::Abandoned { .. }), "{outcome}");
        }
        assert_eq!(other.wait().unwrap().code(), Some(9));
        handle.flush_events().unwrap();
        // What was killed may take a moment to be gone.
        let groups_begun: Vec<_> = started.try_iter().collect();
        let left = || {
            let living = groups();
            groups_begun.iter().find_map(|group| living.get(group).cloned())
        };
        until_so(|| left().is_none());
        assert_eq!(children(), [foreign.id().to_string()]);
        // By now there are as many threads as there will be.
        if n >= 500 {
            early.get_or_insert_with(|| (memory(), descriptors()));
        }
    }
    if let Some((bytes, fds)) = early {
        let grown = memory().saturating_sub(bytes);
        println!("after {n} processes: {grown} kB more");
        assert!(grown < 4_000, "{grown} kB more");
        assert!(descriptors() <= fds + 8, "{} descriptors, {fds} before", descriptors());
    }
    let _ = supervisor.shutdown().unwrap();
    assert_eq!(foreign.try_wait().unwrap(), None);
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    drop((supervisor, handle));
    assert!(descriptors() <= begun, "{} descriptors are left", descriptors() - begun);
}

/// What goes through: much without a line break, and many lines.
const FLOOD: usize = 500_000_000;
const LINE: &str = "a line that is as long as those that programs write";

/// Runs it to its end, while this process hardly grows.
fn flood(supervisor: &Supervisor, program: Program) {
    let (before, began) = (memory(), now());
    let task = supervisor.handle().add(TaskSpec::process("flood", program)).unwrap();
    let mut most = 0;
    while task.outcome().is_none() {
        most = most.max(memory().saturating_sub(before));
        let _ = after(10 * MS).recv();
    }
    assert!(outcome_of(&task).is_success());
    println!("{most} kB more, {:.1?}", now().saturating_sub(began));
    assert!(most < 8_000, "{most} kB more");
}

/// To the body: all of it, and what is told of the process as well.
#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn half_a_gigabyte_goes_to_a_body_in_little_memory_and_nothing_is_lost() {
    let script = format!("yes {LINE} | head -c {FLOOD}");
    for (script, breaks) in [(format!("head -c {FLOOD} /dev/zero"), 0), (script, 1)] {
        let (tell, told) = unbounded();
        let builder = Supervisor::builder().on_event(move |event| {
            let _ = tell.send(event.kind.label());
        });
        let supervisor = builder.start().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let sum = Arc::clone(&heard);
        let program = sh(&script).on_line(move |_, line| {
            sum.fetch_add(line.text.len() + breaks, Ordering::Relaxed);
        });
        flood(&supervisor, program);
        // The last line is not a whole one, and has no break.
        let unbroken = breaks * usize::from(FLOOD % (LINE.len() + 1) > 0);
        assert_eq!(heard.load(Ordering::Relaxed), FLOOD + unbroken);
        supervisor.handle().flush_events().unwrap();
        let told: Vec<_> = told.try_iter().collect();
        for label in ["attempt_starting", "process_started", "process_exited", "task_ended"] {
            let count = told.iter().filter(|it| **it == label).count();
            assert_eq!(count, 1, "{label}: {told:?}");
        }
    }
}

/// To the lane: what it has no room for is counted.
#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn half_a_gigabyte_goes_past_a_slow_listener_in_little_memory_and_what_is_lost_is_counted() {
    let (say, said) = unbounded();
    let (go_on, gate) = bounded::<()>(0);
    let [came, lost] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (comes, is_lost) = (Arc::clone(&came), Arc::clone(&lost));
    let builder = Supervisor::builder()
        .on_output(move |line| {
            is_lost.fetch_add(line.lost.try_into().unwrap(), Ordering::Relaxed);
            comes.fetch_add(1, Ordering::Relaxed);
            let _ = gate.recv();
        })
        .on_event(move |event| {
            assert!(!matches!(event.kind, EventKind::SubscriberOverflow { .. }));
            let _ = say.send(event.kind.label());
        });
    let supervisor = builder.start().unwrap();
    // The first line stays with the listener.
    flood(&supervisor, sh("echo first").capture());
    until_so(|| came.load(Ordering::Relaxed) == 1);
    flood(&supervisor, sh(&format!("yes {LINE} | head -c {FLOOD}")).capture());
    drop(go_on);
    until_so(|| came.load(Ordering::Relaxed) == 1 + ROOM);
    // The next line that finds room says what was lost before it.
    flood(&supervisor, sh("echo last").capture());
    until_so(|| came.load(Ordering::Relaxed) == 2 + ROOM);
    let lines = FLOOD.div_ceil(LINE.len() + 1);
    assert_eq!(lost.load(Ordering::Relaxed), lines - ROOM);
    supervisor.handle().flush_events().unwrap();
    let told: Vec<_> = said.try_iter().collect();
    for label in ["attempt_starting", "process_started", "process_exited", "task_ended"] {
        let count = told.iter().filter(|it| **it == label).count();
        assert_eq!(count, 3, "{label}: {told:?}");
    }
}

/// How many lines the lane holds.
const ROOM: usize = 4096;

#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn many_threads_start_processes_and_each_pipe_has_an_end() {
    let run = || (0..1000).all(|_| run_once(sh("exit 0").merge_stderr()).is_ok());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap()));
    });
    assert!(children().is_empty());
}

/// How soon processes hear of a cancel, and how long a shutdown of many deaf ones takes: numbers
/// for a machine without other work.
#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn processes_hear_of_a_cancel_soon() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let mut spans: Vec<_> = (0..500)
        .map(|_| {
            let (program, lines) = heard(sh("echo $$; exec sleep 1000"));
            let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
            let pid = next(&lines);
            let began = now();
            task.cancel();
            while is_alive(&pid) {}
            let span = now().saturating_sub(began);
            let _ = outcome_of(&task);
            span
        })
        .collect();
    spans.sort();
    let [half, most, worst] = [spans[250], spans[494], spans[499]];
    println!("ended after {half:.1?}, p99 {most:.1?}, at most {worst:.1?}");

    let grace = Duration::from_secs(3);
    let supervisor = Supervisor::builder().grace(grace).start().unwrap();
    let (tell, lines) = unbounded();
    let specs = (0..200).map(|n| {
        let deaf = sh("trap '' TERM; echo $$; exec sleep 1000").stop_timeout(grace);
        let tell = tell.clone();
        let deaf = deaf.on_line(move |_, line| drop(tell.send(line.text.to_owned())));
        TaskSpec::process(format!("deaf {n}"), deaf).grace(grace)
    });
    supervisor.handle().add_all(specs.collect::<Vec<_>>()).unwrap();
    (0..200).for_each(|_| drop(next(&lines)));
    let began = now();
    let report = supervisor.shutdown().unwrap();
    let span = now().saturating_sub(began);
    println!("200 deaf processes with {grace:?} of grace: gone after {span:.3?}");
    assert_eq!(report.outcomes.cancelled, 200, "{report}");
    assert!(children().is_empty());
}
