//! Round trips on a machine whose cores compute, beside a chain of three std channels: what a
//! hand-over costs that waits for nobody's time slice.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::never;

use crate::harness::{float, show, timed, Harness};
use crate::work::{no_op, on_busy_cores, on_one_core, started, submit};

const PAUSES: [(&str, Duration, usize); 5] = [
    ("none", Duration::ZERO, 4000),
    ("20 µs", Duration::from_micros(20), 4000),
    ("100 µs", Duration::from_micros(100), 4000),
    ("1 ms", Duration::from_millis(1), 2000),
    ("10 ms", Duration::from_millis(10), 1000),
];

/// Shorter than any time slice, and longer than a round trip that waits for none.
const SLICE: Duration = Duration::from_micros(500);

/// A thread computes on each core that this one may use.
pub(crate) fn round_trips(harness: &Harness) {
    cells(harness, "busy cores");
    on_one_core(|| cells(harness, "busy core, pinned"));
}

fn cells(harness: &Harness, place: &str) {
    if !harness.wants(place) {
        return;
    }
    println!(
        "{place}: round trip, beside a chain of three std channels (median; 99 %; how many waited \
         for a time slice)"
    );
    let supervisor = started();
    let handle = supervisor.handle();
    let chain = Chain::new();
    let name: Arc<str> = Arc::from("no-op");
    let (mut ratios, mut shares) = (Vec::new(), Vec::new());
    on_busy_cores(|| {
        for (pause_name, pause, n) in PAUSES {
            let (mut ours, mut chains) = (Vec::new(), Vec::new());
            let warm_up = harness.scaled(200);
            for run in 0..warm_up + harness.scaled(n) {
                rest(pause);
                let (in_chain, ()) = timed(|| chain.trip());
                rest(pause);
                let spec = no_op(&name);
                let (spent, outcome) = timed(|| submit(&handle, spec).wait());
                assert!(outcome.expect("it is not our own").is_success());
                if run >= warm_up {
                    chains.push(in_chain);
                    ours.push(spent);
                }
            }
            chains.sort_unstable();
            ours.sort_unstable();
            let cell = |share: usize| {
                let at = (ours.len() - 1) * share / 100;
                let ratio = ours[at].as_secs_f64() / chains[at].as_secs_f64();
                let (ours, chain) = (show(ours[at], 1), show(chains[at], 1));
                (ratio, format!("{ours:>9} /{chain:>9} = {ratio:5.2}"))
            };
            let ((median, typical), (worst, rare)) = (cell(50), cell(99));
            let share = format!("{:.1} / {:.1} %", waited(&ours), waited(&chains));
            println!("  pause {pause_name:8}{typical:>34}{rare:>34}{share:>16}");
            ratios.push(format!("{median:.1} ({worst:.1})"));
            shares.push(share);
        }
    });
    harness.tell(place, ratios.join(", "));
    harness.tell(&format!("{place}, time slices"), shares.join(", "));
}

/// How many of these times, in per cent, have a time slice of another thread in them.
fn waited(times: &[Duration]) -> f64 {
    let waited = times.iter().filter(|time| **time > SLICE).count();
    float(waited) * 100.0 / float(times.len())
}

fn rest(pause: Duration) {
    if !pause.is_zero() {
        let _ = never::<()>().recv_timeout(pause);
    }
}

/// Two threads that pass on what they get.
struct Chain {
    first: Sender<()>,
    last: Receiver<()>,
}

impl Chain {
    #[allow(clippy::disallowed_methods, reason = "this is the thing to compare with")]
    fn new() -> Self {
        let (first, a) = channel();
        let (to_b, b) = channel();
        let (to_last, last) = channel();
        thread::spawn(move || a.iter().try_for_each(|()| to_b.send(())));
        thread::spawn(move || b.iter().try_for_each(|()| to_last.send(())));
        Self { first, last }
    }

    fn trip(&self) {
        self.first.send(()).expect("the chain is there");
        self.last.recv().expect("the chain is there");
    }
}
