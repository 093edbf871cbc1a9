//! The same work on threadvisor and on what one might use instead, in one process, in turns.
//! `README.md` says what each column includes.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [ROUNDS] [NAME]`

mod bare;
mod ours;
mod peer;
mod pools;
mod taskvisor_01;
mod taskvisor_09;
mod threads;
mod tokio_blocking;

use std::time::Duration;

use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::TimeVal;
use peer::{Blocking, Peer};

const BLOCKING: (usize, Duration) = (1000, Duration::from_millis(100));
/// So many that what is spent on making and freeing a pool does not count.
const LATENCIES: usize = 2000;
const MICRO: f64 = 1e-6;

/// What was measured of one peer.
#[derive(Default)]
struct Row {
    burst: Column,
    round_trip: Column,
    cancel: Column,
    blocking: Column,
    threads: usize,
}

#[derive(Default)]
struct Column {
    /// A time per unit for each round, or for each unit.
    times: Vec<Duration>,
    units: usize,
    spent: Spent,
}

impl Column {
    /// The set-up counts as far as the processor is concerned.
    fn measure<R>(&mut self, units: usize, work: impl FnOnce() -> Option<R>) -> Option<R> {
        let before = Spent::so_far();
        let result = work()?;
        let after = Spent::so_far();
        self.units += units;
        self.spent.cpu += after.cpu - before.cpu;
        self.spent.voluntary += after.voluntary - before.voluntary;
        self.spent.involuntary += after.involuntary - before.involuntary;
        Some(result)
    }

    fn median(&self) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_unstable();
        Some(times.get(times.len().checked_sub(1)? / 2)?.as_secs_f64())
    }

    /// Time as a multiple of `unit` seconds, with its ratio to ours; processor time of a unit in
    /// microseconds; its switches, voluntary and involuntary.
    fn cells(&self, ours: &Self, unit: f64, digits: usize) -> String {
        let (Some(time), Some(our_time)) = (self.median(), ours.median()) else {
            return "– | – | –".to_owned();
        };
        let each = |sum: f64| sum / u32::try_from(self.units).map_or(f64::NAN, f64::from);
        let ratio = time / our_time;
        format!(
            "{:.digits$} ({ratio:.*}) | {:.1} | {:.1} + {:.1}",
            time / unit,
            usize::from(ratio < 9.95),
            each(self.spent.cpu) / MICRO,
            each(self.spent.voluntary),
            each(self.spent.involuntary),
        )
    }
}

/// Of the whole process, with the threads that have ended.
#[derive(Default)]
struct Spent {
    /// In seconds.
    cpu: f64,
    voluntary: f64,
    involuntary: f64,
}

impl Spent {
    #[allow(clippy::cast_precision_loss)]
    fn so_far() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let cpu = |time: TimeVal| time.tv_sec() as f64 + MICRO * time.tv_usec() as f64;
        Self {
            cpu: cpu(usage.user_time()) + cpu(usage.system_time()),
            voluntary: usage.voluntary_context_switches() as f64,
            involuntary: usage.involuntary_context_switches() as f64,
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let rounds = args.next().map_or(7, |text| text.parse().expect("ROUNDS is a number"));
    let filter = args.next().unwrap_or_default();
    let peers: Vec<Box<dyn Peer>> =
        all().into_iter().filter(|it| it.name().contains(&filter)).collect();
    let mut rows: Vec<Row> = peers.iter().map(|_| Row::default()).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        // Another one begins each time, so that nobody always follows the same one.
        for at in (0..peers.len()).map(|at| (at + round) % peers.len()) {
            measure(peers[at].as_ref(), &mut rows[at]);
        }
    }
    print(&peers, &rows, rounds);
}

fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(ours::Threadvisor),
        Box::new(taskvisor_09::Taskvisor { multi_thread: false }),
        Box::new(taskvisor_09::Taskvisor { multi_thread: true }),
        Box::new(taskvisor_01::Taskvisor { multi_thread: false }),
        Box::new(taskvisor_01::Taskvisor { multi_thread: true }),
        Box::new(tokio_blocking::SpawnBlocking),
        Box::new(threads::Threads),
        Box::new(pools::Threadpool),
        Box::new(pools::Rayon),
        Box::new(pools::RustyPool),
        Box::new(pools::Scheduled),
        Box::new(bare::Bare),
        Box::new(pools::ThreadpoolCounter),
        Box::new(pools::RayonCounter),
    ]
}

fn measure(peer: &dyn Peer, row: &mut Row) {
    let n = peer.burst_size();
    let per_task = u32::try_from(n).expect("it is small");
    let spent = row.burst.measure(n, || peer.burst(n));
    row.burst.times.extend(spent.map(|spent| spent / per_task));
    let times = row.round_trip.measure(LATENCIES, || peer.round_trips(LATENCIES));
    row.round_trip.times.extend(times.into_iter().flatten());
    let times = row.cancel.measure(LATENCIES, || peer.cancels(LATENCIES));
    row.cancel.times.extend(times.into_iter().flatten());
    let (n, span) = BLOCKING;
    let found = row.blocking.measure(n, || peer.blocking(n, span));
    if let Some(Blocking { spent, threads }) = found {
        row.blocking.times.push(spent);
        row.threads = row.threads.max(threads);
    }
}

fn print(peers: &[Box<dyn Peer>], rows: &[Row], rounds: usize) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let cores = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
    let columns = ["burst, µs", "round trip, µs", "cancel, µs", "blocking, ms"];
    println!("On {cores}, {rounds} rounds:\n");
    let columns = columns.map(|it| format!("{it} | CPU, µs | switches"));
    println!("| | {} | threads |", columns.join(" | "));
    println!("|---{}|", "|---".repeat(13));
    let ours = &rows[0];
    for (peer, row) in peers.iter().zip(rows) {
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            peer.name(),
            row.burst.cells(&ours.burst, MICRO, 2),
            row.round_trip.cells(&ours.round_trip, MICRO, 1),
            row.cancel.cells(&ours.cancel, MICRO, 1),
            row.blocking.cells(&ours.blocking, 1000.0 * MICRO, 0),
            if row.threads == 0 { "–".to_owned() } else { row.threads.to_string() }
        );
    }
    println!();
}
