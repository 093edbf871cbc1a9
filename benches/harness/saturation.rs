//! From which rate of tasks on the one controller is what keeps the cores from doing more. What a
//! turn of it costs is measured here; how many turns there are on more cores than this machine has
//! is simulated; and what the simulation says of this machine is compared with this machine.
//!
//! Not in the model: caches that cores take from each other. On many cores all costs are higher, so
//! its rates are upper bounds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;

use crate::harness::{show, timed, Harness};
use crate::proc::time_on_core;
use crate::work::{all_completed, started, submit};

mod model;

use model::{Costs, Model};

const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

const BODIES: [Duration; 5] = [us(1), us(10), us(100), us(1000), us(10_000)];
const CORES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub(crate) fn table(harness: &Harness) {
    if !harness.wants("saturation") {
        return;
    }
    model::check();
    let Some(costs) = measured(harness) else {
        return println!("saturation: the system does not tell how long a thread has run");
    };
    println!("\nSaturation. {costs}\n");
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Bodies that compute, submitted at once, on {here} cores; per task:\n");
    println!("| body | the model says | measured | ratio |\n|---|---|---|---|");
    for body in [us(3), us(10), us(30), us(300)] {
        let measured = Stream::of(harness, body).wall;
        let model = Model { costs, cores: here, supervisors: 1, body };
        let said = model.at_once(harness.scaled(20_000));
        let ratio = said.as_secs_f64() / measured.as_secs_f64();
        let [body, said, measured] = [body, said, measured].map(|it| show(it, 1));
        println!("| {body} | {said} | {measured} | {ratio:.2} |");
    }
    println!("\nTasks per second at most, by cores; in bold where the controller is the limit:\n");
    let cores = CORES.map(|it| format!("{it}"));
    println!("| body | {} | cores that one keeps busy | two do more from |", cores.join(" | "));
    println!("|---{}|", "|---".repeat(CORES.len() + 2));
    for body in BODIES {
        row(harness, costs, body);
    }
}

fn row(harness: &Harness, costs: Costs, body: Duration) {
    let n = harness.scaled(20_000);
    let most = |cores, supervisors, n| Model { costs, cores, supervisors, body }.most(n);
    let cells = CORES.map(|cores| {
        let most = most(cores, 1, n);
        let bold = if most.is_controllers { "**" } else { "" };
        format!("{bold}{}{bold}", thousands(most.rate))
    });
    let busy = most(usize::MAX, 1, n).rate * body.as_secs_f64();
    // Roughly is enough here, and there are many to try.
    let rate = |cores, supervisors| most(cores, supervisors, n / 10).rate;
    let wins = |cores: &usize| rate(*cores, 2) > 1.1 * rate(*cores, 1);
    let from = (1..=64).find(wins).map_or(String::new(), |it| format!("{it} cores"));
    let body = show(body, 1);
    println!("| {body} | {} | {busy:.0} | {from} |", cells.join(" | "));
}

fn thousands(rate: f64) -> String {
    let thousands = rate / 1e3;
    format!("{thousands:.*}k", usize::from(thousands < 9.95))
}

/// Two streams give the costs: in one the controller always finds more to do, in the other the
/// bodies are so long that each report calls it.
fn measured(harness: &Harness) -> Option<Costs> {
    let (short, long) = (Stream::of(harness, Duration::ZERO), Stream::of(harness, us(100)));
    let message = short.controller? / 2;
    Some(Costs {
        message,
        call: long.controller?.saturating_sub(short.controller?),
        other: short.others,
        caller: long.others.saturating_sub(short.others),
    })
}

/// What a task of a burst takes: in all, of the controller, and of the other threads without its
/// body.
struct Stream {
    wall: Duration,
    controller: Option<Duration>,
    others: Duration,
}

impl Stream {
    fn of(harness: &Harness, body: Duration) -> Self {
        let n = usize::try_from(us(200_000).as_nanos() / body.max(us(2)).as_nanos());
        let n = harness.scaled(n.expect("it is small"));
        let units = u32::try_from(n).expect("it is small");
        let loops = loops(body);
        let supervisor = started();
        let handle = supervisor.handle();
        let name: Arc<str> = Arc::from("computes");
        let spec = || TaskSpec::once(Arc::clone(&name), move |_| compute(loops)).no_slot();
        let burst = |n| all_completed((0..n).map(|_| submit(&handle, spec())).collect());
        burst(1000.min(n));
        let streams = (0..harness.runs(9)).map(|_| {
            let time = |name| time_on_core(name).unwrap_or_default();
            let (controller, all) = (time("ctl-"), time(""));
            let (wall, ()) = timed(|| burst(n));
            let controller = time("ctl-").saturating_sub(controller);
            let others = time("").saturating_sub(all + controller) / units;
            let others = others.saturating_sub(body);
            let controller = (!controller.is_zero()).then(|| controller / units);
            Self { wall: wall / units, controller, others }
        });
        // The one that other programs disturbed least.
        streams.min_by_key(|it| it.wall).expect("there are some")
    }
}

/// How often `compute` must go round to take so long on a core that does nothing else.
fn loops(body: Duration) -> u32 {
    const MANY: u32 = 100_000;
    let times = (0..9).map(|_| timed(|| compute(MANY)).0);
    let fastest = times.min().expect("there are some").as_secs_f64();
    let loops = Duration::from_secs_f64(f64::from(MANY)).mul_f64(body.as_secs_f64() / fastest);
    u32::try_from(loops.as_secs()).expect("a body is short")
}

#[allow(clippy::unnecessary_wraps, reason = "it is a body")]
fn compute(loops: u32) -> TaskResult {
    let mut state = 1_u32;
    for n in 0..loops {
        state = black_box(state.wrapping_mul(747_796_405).wrapping_add(n));
    }
    Ok(())
}
