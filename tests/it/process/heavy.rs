//! Many processes, in a process of their own: `.ci/deep processes` runs these.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, unbounded};
use threadvisor::prelude::*;

use super::{children, run_once, sh, MS};
use crate::support::outcome_of;

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
    let mut n = 0;
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
        let patience = (0..1000).find(|_| left().is_none() || after(MS).recv().is_err());
        assert!(patience.is_some(), "it lives on: {:?}", left());
        assert_eq!(children(), [foreign.id().to_string()]);
    }
    let _ = supervisor.shutdown().unwrap();
    assert_eq!(foreign.try_wait().unwrap(), None);
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    drop((supervisor, handle));
    assert!(descriptors() <= begun, "{} descriptors are left", descriptors() - begun);
}

#[test]
#[ignore = "takes a while: .ci/deep processes"]
fn half_a_gigabyte_goes_through_in_little_memory() {
    let before = memory();
    let supervisor = Supervisor::builder().on_output(|_| ()).start().unwrap();
    for script in [
        "head -c 500000000 /dev/zero",
        "yes a line that is as long as those that programs write | head -c 500000000",
    ] {
        let task = TaskSpec::process("flood", sh(script).capture());
        let task = supervisor.handle().add(task).unwrap();
        while task.outcome().is_none() {
            let grown = memory().saturating_sub(before);
            assert!(grown < 32_000, "{grown} kB more");
            let _ = after(10 * MS).recv();
        }
        assert!(outcome_of(&task).is_success());
    }
}

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
