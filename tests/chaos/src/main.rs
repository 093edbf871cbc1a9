//! Chaos: for a given time, supervisors are started, used by threads that do everything that can be
//! done, and ended in every way, while bodies, hooks, destructors and subscribers fail, panic, hang
//! and meddle, and threads are refused. Meanwhile a slot never passes on, and no outcome is seen,
//! before a body is dropped or named as stuck; and what is cancelled, and the supervisor itself,
//! ends soon whatever hangs. In the end everything accepted has one outcome, and nothing is left:
//! no value, no thread, no descriptor, no memory.
//!
//! `cargo run --release -- [SECONDS] [MODE]...`, each mode for so many seconds (5), in a process of
//! its own; one line each.
//!
//! | mode | what is different |
//! |---|---|
//! | `plain` | nothing; what runs without a mode |
//! | `one-core` | pinned to one core |
//! | `one-permit` | `max_concurrent` is 1 everywhere |
//! | `few-threads` | `prlimit --nproc=24`, as another user if this is root |
//! | `starved` | the same with 5, of which this program has two |
//!
//! `THREADVISOR_CHAOS_SEED` repeats the choices of a run that failed, `THREADVISOR_CHAOS_ONLY`
//! those of one supervisor again and again; the threads may take turns differently.

mod acts;
mod bodies;
mod dice;
mod listen;
mod round;
mod specs;
mod system;
mod watch;
mod world;

use std::env;
use std::hash::{BuildHasher, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use dice::Dice;
use round::{Tally, Wishes};
use system::{holdings, Holdings};
use threadvisor::crossbeam_channel::after;
use watch::{nap, Watch};
use world::lock;

const SEED: &str = "THREADVISOR_CHAOS_SEED";
const ONLY: &str = "THREADVISOR_CHAOS_ONLY";
/// Says which mode a child process is to run, and how long.
const CHILD: &str = "THREADVISOR_CHAOS_CHILD";

fn main() -> ExitCode {
    if let Ok(orders) = env::var(CHILD) {
        let (mode, seconds) = orders.split_once(' ').unwrap_or((&orders, "5"));
        return run(mode, seconds.parse().unwrap_or(5));
    }
    let mut words: Vec<_> = env::args().skip(1).collect();
    let seconds = match words.first().and_then(|word| word.parse::<u64>().ok()) {
        Some(seconds) => {
            words.remove(0);
            seconds
        }
        None => 5,
    };
    if words.is_empty() {
        words.push("plain".to_owned());
    }
    let failed = words.iter().filter(|mode| !start(mode, seconds)).count();
    ExitCode::from(u8::from(failed > 0))
}

/// How many the system lets this program have.
fn most_threads(mode: &str) -> Option<u32> {
    match mode {
        "few-threads" => Some(24),
        "starved" => Some(5),
        _ => None,
    }
}

/// Runs a mode as a child process, since some bind the process as a whole.
fn start(mode: &str, seconds: u64) -> bool {
    let program = env::current_exe().expect("the path of this program");
    let user = 64_300 + std::process::id() % 200;
    let setpriv = format!("setpriv --reuid={user} --regid={user} --clear-groups");
    let ways = match mode {
        "plain" | "one-permit" => vec![String::new()],
        "one-core" => vec!["taskset -c 0".to_owned()],
        _ => {
            let Some(most) = most_threads(mode) else {
                eprintln!("{mode}: no such mode");
                return false;
            };
            let limit = format!("prlimit --nproc={most}:{most}");
            vec![format!("{limit} {setpriv}"), limit]
        }
    };
    for way in ways {
        let mut words: Vec<_> = way.split_whitespace().collect();
        // Only where it can run this program, and not as a root, whom no limit binds.
        let probe = format!("test -x {} && test $(id -u) -ne 0", program.display());
        let shell = [&words[..], &["sh", "-c", &probe]].concat();
        let fits = Command::new(shell[0]).args(&shell[1..]).status().is_ok_and(|it| it.success());
        if most_threads(mode).is_some() && !fits {
            continue;
        }
        let path = program.to_string_lossy();
        words.push(&path);
        let mut command = Command::new(words[0]);
        let orders = format!("{mode} {seconds}");
        return command.args(&words[1..]).env(CHILD, orders).status().is_ok_and(|it| it.success());
    }
    println!("chaos {mode}: skipped, no way to a limited user here");
    true
}

static ONLY_WATCH: std::sync::OnceLock<Watch> = std::sync::OnceLock::new();

/// Runs one mode in this process.
fn run(mode: &str, seconds: u64) -> ExitCode {
    let given = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(chance);
    let watch = ONLY_WATCH.get_or_init(Watch::default);
    let _watchdog = watch.start(seed);
    quiet_panics();
    log::set_logger(&Listener).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let wishes = Wishes {
        max_concurrent: (mode == "one-permit").then_some(1),
        scarce: most_threads(mode).is_some(),
    };
    let arenas = if wishes.scarce { 1 } else { 3 };
    match epochs(seed, seconds, arenas, wishes, watch) {
        Ok(summary) => {
            println!("chaos {mode}: {seconds} s, seed {seed}: {summary}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("chaos {mode} FAILED, {SEED}={seed}: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Epochs of several supervisors at a time; after each, nothing may be left.
fn epochs(
    seed: u64,
    seconds: u64,
    arenas: usize,
    wishes: Wishes,
    watch: &'static Watch,
) -> Result<String, String> {
    let only = env::var(ONLY).ok().and_then(|seed| seed.parse().ok());
    let over = after(Duration::from_secs(seconds));
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    let before = holdings();
    let mut warm: Option<Holdings> = None;
    let (mut epochs, mut most_threads) = (0, 0);
    while epochs < WARM_UP + 1 || over.try_recv().is_err() {
        let one = |dice: &mut Dice| only.unwrap_or_else(|| dice.roll() >> 16);
        let seeds: Vec<Vec<u64>> =
            (0..arenas).map(|_| (0..4).map(|_| one(&mut dice)).collect()).collect();
        let peak = epoch(&seeds, wishes, watch, &mut tally)?;
        most_threads = most_threads.max(peak);
        let now = quiesce(&before)?;
        epochs += 1;
        if epochs == WARM_UP {
            warm = Some(now);
        } else if let Some(warm) = &warm {
            check_memory(warm, &now, &tally, most_threads)?;
        }
    }
    let grown = holdings().bytes.saturating_sub(warm.map_or(0, |warm| warm.bytes));
    let Tally { supervisors, refused_starts, accepted, attempts, values_leaked, outcomes, .. } =
        tally;
    let outcomes: Vec<_> =
        outcomes.iter().map(|(label, count)| format!("{count} {label}")).collect();
    Ok(format!(
        "{supervisors} supervisors ({refused_starts} refused), {accepted} accepted ({}), \
         {attempts} attempts, {most_threads} threads at most; left: 0 threads, 0 descriptors, \
         {values_leaked} values known as leaked, {grown} B",
        outcomes.join(", "),
    ))
}

/// The first epochs fill what is kept for the life of the process.
const WARM_UP: usize = 3;

/// A few supervisors after each other in each arena, the arenas side by side.
fn epoch(
    seeds: &[Vec<u64>],
    wishes: Wishes,
    watch: &'static Watch,
    tally: &mut Tally,
) -> Result<usize, String> {
    let faults = Mutex::new(Vec::new());
    let shared = Mutex::new(tally);
    let (peak, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for (arena, seeds) in seeds.iter().enumerate().rev() {
            let (faults, shared, peak, done) = (&faults, &shared, &peak, &done);
            let play = move || {
                for &seed in seeds {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    let mut own = Tally::default();
                    let played =
                        AssertUnwindSafe(|| round::play(arena, seed, wishes, watch, &mut own));
                    let found = catch_unwind(played).unwrap_or_else(|_| {
                        let stage = watch.stage(arena);
                        vec![format!("a panic came out of a call from outside, where it {stage}")]
                    });
                    peak.fetch_max(own.most_threads, Ordering::SeqCst);
                    lock(shared).add(own);
                    if !found.is_empty() {
                        done.store(true, Ordering::SeqCst);
                        lock(faults).push(format!("supervisor {seed}: {}", found.join("; ")));
                    }
                }
            };
            // Where threads are scarce there is one arena, and it is here.
            if arena == 0 {
                play();
            } else {
                let spawned = thread::Builder::new().name("arena".into()).spawn_scoped(scope, play);
                drop(spawned.expect("a thread for an arena"));
            }
        }
    });
    if watch.panicked.load(Ordering::SeqCst) {
        lock(&faults).push("a panic that is not chaos's own, see above".to_owned());
    }
    let faults = lock(&faults).join("\n");
    if faults.is_empty() {
        Ok(peak.load(Ordering::SeqCst))
    } else {
        Err(faults)
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.supervisors += other.supervisors;
        self.refused_starts += other.refused_starts;
        self.accepted += other.accepted;
        self.attempts += other.attempts;
        self.values_leaked += other.values_leaked;
        for (label, count) in other.outcomes {
            *self.outcomes.entry(label).or_default() += count;
        }
    }
}

/// Waits until no thread and no descriptor is left that was not there before.
fn quiesce(before: &Holdings) -> Result<Holdings, String> {
    for _ in 0..7_500 {
        let now = holdings();
        if now.threads.len() <= before.threads.len() && now.descriptors <= before.descriptors {
            return Ok(now);
        }
        nap(Duration::from_millis(2));
    }
    let now = holdings();
    Err(format!("left behind: {:?}, {} descriptors", now.threads, now.descriptors))
}

/// What may be kept: by `parking_lot` a table of 3 to 6 places of 64 B for each thread that there
/// ever was at once, with all smaller tables before it; the values known as leaked, each with a
/// body, a spec or an error; and 64 KiB for buffers of the standard library and the arenas' own.
fn check_memory(
    warm: &Holdings,
    now: &Holdings,
    tally: &Tally,
    most_threads: usize,
) -> Result<(), String> {
    let slack = 64 * 1024 + most_threads * 1024 + tally.values_leaked * 8 * 1024;
    let grown = now.bytes.saturating_sub(warm.bytes);
    if grown <= slack {
        return Ok(());
    }
    Err(format!("{grown} B more than after the first epochs, {slack} B are explained"))
}

fn chance() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 16
}

/// The panics of chaos itself come without the hook; any other is a fault and is printed.
fn quiet_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Some(watch) = ONLY_WATCH.get() {
            watch.panicked.store(true, Ordering::SeqCst);
        }
        usual(info);
    }));
}

/// Hears what supervisors without subscribers have to say.
struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if text.contains("user values") {
            watch::leak_heard();
        }
        if text.contains("controller panicked") {
            eprintln!("{text}");
            if let Some(watch) = ONLY_WATCH.get() {
                watch.panicked.store(true, Ordering::SeqCst);
            }
        }
    }

    fn flush(&self) {}
}
