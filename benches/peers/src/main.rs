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

use peer::{Blocking, Peer};

const BLOCKING: (usize, Duration) = (1000, Duration::from_millis(100));
const LATENCIES: usize = 300;

/// What was measured of one peer, a time per unit for each round.
#[derive(Default)]
struct Row {
    burst: Vec<Duration>,
    round_trip: Vec<Duration>,
    cancel: Vec<Duration>,
    blocking: Vec<Duration>,
    threads: usize,
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
    row.burst.extend(peer.burst(n).map(|spent| spent / per_task));
    row.round_trip.extend(peer.round_trips(LATENCIES).into_iter().flatten());
    row.cancel.extend(peer.cancels(LATENCIES).into_iter().flatten());
    let (n, span) = BLOCKING;
    if let Some(Blocking { spent, threads }) = peer.blocking(n, span) {
        row.blocking.push(spent);
        row.threads = row.threads.max(threads);
    }
}

fn print(peers: &[Box<dyn Peer>], rows: &[Row], rounds: usize) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    println!(
        "Medians of {rounds} rounds on {cores} cores; behind each its ratio to threadvisor.\n"
    );
    println!("| | burst of | per task | | round trip | | cancel | | 1000 × 100 ms | threads |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let ours = &rows[0];
    for (peer, row) in peers.iter().zip(rows) {
        print!("| {} | {} ", peer.name(), peer.burst_size());
        for (times, ours) in [
            (&row.burst, &ours.burst),
            (&row.round_trip, &ours.round_trip),
            (&row.cancel, &ours.cancel),
        ] {
            match (median(times), median(ours)) {
                (Some(time), Some(ours)) => {
                    print!("| {} | {:.2} ", micros(time), time.as_secs_f64() / ours.as_secs_f64());
                }
                _ => print!("| – | "),
            }
        }
        match median(&row.blocking) {
            Some(time) => println!("| {} ms | {} |", time.as_millis(), row.threads),
            None => println!("| – | |"),
        }
    }
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().checked_sub(1)? / 2).copied()
}

fn micros(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}
