//! Heap bytes and allocations of a task in each state, threads, wake-ups and resident memory.
//! `cargo run --release --manifest-path benches/footprint/Cargo.toml` (Linux). Each row is measured
//! in a process of its own.

#[allow(dead_code, reason = "the other benchmarks need the rest")]
#[path = "../../harness/budget.rs"]
mod budget;
mod counting;
#[allow(dead_code, reason = "the other benchmarks need the rest")]
#[path = "../../harness/proc.rs"]
mod proc;
mod states;

use std::process::Command;
use std::time::Duration;

use states::{Filled, STATES};
use threadvisor::Supervisor;

const WATCHED: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(),
        ["budgets"] => budgets(),
        ["heap", state, n] => heap(state, n.parse().expect("a number")),
        ["burst", n] => burst(n.parse().expect("a number")),
        ["wakeups", state, n] => wakeups(state, n.parse().expect("a number")),
        ["resident", n] => resident(n.parse().expect("a number")),
        _ => panic!("budgets | heap STATE N | burst N | wakeups STATE N | resident N"),
    }
}

fn all() {
    println!("Heap of one task, all closures empty, one name shared by all; no handle is kept.\n");
    println!("| state | tasks | bytes | allocations held | made in all | threads |");
    println!("|---|---|---|---|---|---|");
    for state in STATES {
        for n in [1000, 10_000, 100_000] {
            if n <= state.most {
                run(&["heap", state.name, &n.to_string()]);
            }
        }
    }
    println!("\nAllocations of a task in a burst of no-op tasks, from spec to outcome.\n");
    println!("| tasks | made | bytes asked for | left over |");
    println!("|---|---|---|---|");
    run(&["burst", "100000"]);
    println!("\nOver {} s, 1000 tasks (0 where idle):\n", WATCHED.as_secs());
    println!("| state | wake-ups per second | CPU | threads |");
    println!("|---|---|---|---|");
    run(&["wakeups", "nothing", "0"]);
    for state in STATES {
        run(&["wakeups", state.name, "1000"]);
    }
    println!(
        "\nResident memory of a running, sleeping body (default stack of 2 MiB, mostly unused).\n"
    );
    println!("| bodies | resident, each | heap, each | threads |");
    println!("|---|---|---|---|");
    run(&["resident", "1000"]);
}

/// What the table of budgets needs.
fn budgets() {
    run(&["heap", "interval", "1000"]);
    run(&["heap", "interval", "100000"]);
    run(&["wakeups", "nothing", "0"]);
    run(&["wakeups", "interval", "1000"]);
    run(&["wakeups", "running, with a watchdog of 1 s", "1000"]);
}

fn run(args: &[&str]) {
    let program = std::env::current_exe().expect("it is known");
    let status = Command::new(program).args(args).status().expect("it starts");
    assert!(status.success(), "{args:?} failed");
}

fn heap(state: &str, n: usize) {
    let supervisor = started();
    // The tables have their first size, the first threads exist.
    drop(Filled::new(&supervisor, "delayed", 1));
    let (before, made_before) = (counting::live(), counting::made());
    let filled = Filled::new(&supervisor, state, n);
    let (live, made) = (counting::live(), counting::made());
    let per = |now: usize, then: usize| ratio(now.saturating_sub(then), n);
    let bytes = per(live.bytes, before.bytes);
    println!(
        "| {state} | {n} | {bytes:.0} | {:.2} | {:.2} | {} |",
        per(live.blocks, before.blocks),
        per(made.blocks, made_before.blocks),
        proc::threads()
    );
    let name = format!("heap, {state}");
    budget::tell(&name, format!("{bytes:.0} B ({n} tasks), {} threads in all", proc::threads()));
    drop(filled);
}

fn burst(n: usize) {
    let supervisor = started();
    states::burst(&supervisor, n);
    // The tables have their full size now.
    let (live, made) = (counting::live(), counting::made());
    states::burst(&supervisor, n);
    let (live_after, made_after) = (counting::live(), counting::made());
    println!(
        "| {n} | {:.2} | {:.0} | {:.2} |",
        ratio(made_after.blocks - made.blocks, n),
        ratio(made_after.bytes - made.bytes, n),
        ratio(live_after.blocks.saturating_sub(live.blocks), n)
    );
}

fn wakeups(state: &str, n: usize) {
    let supervisor = started();
    let filled = (n > 0).then(|| Filled::new(&supervisor, state, n));
    std::thread::sleep(Duration::from_millis(500));
    let switches = || proc::switches().iter().sum::<usize>();
    let (before, cpu) = (switches(), proc::cpu_ticks());
    std::thread::sleep(WATCHED);
    // One of them is our own, from the sleep.
    let woken = switches().saturating_sub(before).saturating_sub(1);
    let cpu = proc::cpu_ticks().saturating_sub(cpu) * 10;
    let seconds = usize::try_from(WATCHED.as_secs()).expect("it is short");
    let rate = ratio(woken, seconds);
    println!("| {state} | {rate:.1} | {cpu} ms | {} |", proc::threads());
    budget::tell(&format!("wake-ups, {state}"), format!("{rate:.1}/s, {cpu} ms in {seconds} s"));
    drop(filled);
}

fn resident(n: usize) {
    let supervisor = started();
    let (heap, resident) = (counting::live(), proc::resident_bytes());
    let filled = Filled::new(&supervisor, "running", n);
    println!(
        "| {n} | {:.0} | {:.0} | {} |",
        ratio(proc::resident_bytes().saturating_sub(resident), n),
        ratio(counting::live().bytes - heap.bytes, n),
        proc::threads()
    );
    drop(filled);
}

fn started() -> Supervisor {
    let builder = Supervisor::builder().max_concurrent(None).max_slot_queue(1_000_000);
    builder.start().expect("it starts")
}

fn ratio(part: usize, whole: usize) -> f64 {
    let small = |n: usize| u32::try_from(n).map_or(f64::NAN, f64::from);
    small(part) / small(whole)
}
