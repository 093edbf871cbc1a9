//! Many processes, in a process of their own: `.ci/deep processes` runs these.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{getpgrp, kill_process, waitid, Pid, Signal, WaitId, WaitIdOptions};
use rustix::time::{clock_gettime, ClockId};
use threadvisor::crossbeam_channel::{after, bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::Program;

use super::{children, heard, run_once, sh, until_so, LONG, MS};
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

/// Waits until a child has ended, and leaves it to be reaped.
fn until_ended(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), ended) {}
}

/// A process without anything around it, and its first line.
fn bare(script: &str) -> (Child, String) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut child, mut line) = (command.spawn().unwrap(), String::new());
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

/// The median, the 99th percentile, and the longest.
fn ranks(mut spans: Vec<Duration>) -> [Duration; 3] {
    spans.sort();
    let last = spans.len() - 1;
    [spans[last / 2], spans[last * 99 / 100], spans[last]]
}

/// From a cancel to the death, beside what it takes to do that by hand: to signal, to wait, and to
/// look once whether anybody of the group is left. The look belongs to it, because it may keep the
/// only processor from the thread that measures. Whatever else the machine does holds up both.
#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn a_cancel_ends_a_process_as_soon_as_a_signal_by_hand() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let script = "echo $$; read line";
    let spans = (0..500).map(|_| {
        let (mut child, pid) = bare(script);
        let began = now();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        until_ended(&pid);
        assert!(groups().contains_key(&getpgrp().as_raw_nonzero().to_string()));
        let by_hand = now().saturating_sub(began);
        child.wait().unwrap();

        let (program, lines) = heard(sh(script).stdin(Stdio::piped()));
        let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
        let pid = next(&lines);
        let began = now();
        task.cancel();
        until_ended(&pid);
        let ours = now().saturating_sub(began);
        let _ = outcome_of(&task);
        (by_hand, ours)
    });
    let (by_hand, ours): (Vec<_>, Vec<_>) = spans.unzip();
    let (by_hand, ours) = (ranks(by_hand), ranks(ours));
    println!("median, p99 and worst: by hand {by_hand:.1?}, by a cancel {ours:.1?}");
    for (by_hand, ours) in by_hand.iter().zip(ours).take(2) {
        assert!(ours < *by_hand * 5, "{ours:?} is more than 5 times {by_hand:?}");
    }
}

/// Many deaf processes take as long as one: the time that they have, and that to kill and reap all.
#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn many_deaf_processes_are_gone_as_soon_as_without_a_supervisor() {
    let (patience, deaf) = (Duration::from_secs(1), "trap '' TERM; echo $$; exec sleep 1000");
    let mut children: Vec<_> = (0..200).map(|_| bare(deaf).0).collect();
    let began = now();
    let signal = |children: &[Child], signal| {
        for child in children {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    };
    signal(&children, Signal::TERM);
    let _ = after(patience).recv();
    signal(&children, Signal::KILL);
    for child in &mut children {
        child.wait().unwrap();
    }
    let alone = now().saturating_sub(began);

    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let (tell, lines) = unbounded();
    let specs = (0..200).map(|n| {
        let tell = tell.clone();
        let program = sh(deaf).stop_timeout(patience);
        let program = program.on_line(move |_, line| drop(tell.send(line.text.to_owned())));
        TaskSpec::process(format!("deaf {n}"), program)
    });
    supervisor.handle().add_all(specs.collect::<Vec<_>>()).unwrap();
    (0..200).for_each(|_| drop(next(&lines)));
    let began = now();
    let report = supervisor.shutdown().unwrap();
    let ours = now().saturating_sub(began);
    println!("200 deaf processes: gone after {alone:.3?} without, {ours:.3?} with a supervisor");
    assert_eq!(report.outcomes.cancelled, 200, "{report}");
    assert!(super::children().is_empty());
    assert!(ours < alone * 3, "{ours:?} is more than 3 times {alone:?}");
}
