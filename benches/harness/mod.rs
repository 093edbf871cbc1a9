//! Times fixed work several times and prints the fastest, the median, the 99th percentile and the
//! slowest run, per unit of work. `cargo bench -- NAME` runs what has NAME in its name, and
//! `cargo bench -- --budgets` what the table of budgets needs; without `--bench`, as under `cargo
//! test --benches`, everything runs once, small, to see that it works.

mod budget;

use std::fmt::Display;
use std::time::{Duration, Instant};

pub(crate) struct Harness {
    filter: Option<String>,
    /// Only what is in the table of budgets.
    pub(crate) budgets: bool,
    /// One run of each, small.
    pub(crate) quick: bool,
}

impl Harness {
    pub(crate) fn from_args() -> Self {
        let args: Vec<_> = std::env::args().skip(1).collect();
        let budgets = args.iter().any(|arg| arg == "--budgets");
        let quick = !args.iter().any(|arg| arg == "--bench");
        let filter = args.into_iter().find(|arg| !arg.starts_with('-'));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        println!("{cores} cores; per unit of work, over several runs:");
        println!("{:44}{:>10}{:>10}{:>10}{:>10}", "", "fastest", "median", "99 %", "slowest");
        Self { filter, budgets, quick }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let is_asked = self.filter.as_deref().map_or(true, |filter| name.contains(filter));
        is_asked && (!self.budgets || budget::needs(name))
    }

    /// `n`, or little of it in a quick run.
    pub(crate) fn scaled(&self, n: usize) -> usize {
        if self.quick {
            n.min(32)
        } else {
            n
        }
    }

    pub(crate) fn runs(&self, n: usize) -> usize {
        if self.quick {
            1
        } else {
            n
        }
    }

    /// Times `work` on what `setup` makes; what it gives back is dropped outside the timer. Returns
    /// the median, per unit.
    pub(crate) fn bench<S, R>(
        &self,
        name: &str,
        units: usize,
        runs: usize,
        mut setup: impl FnMut() -> S,
        mut work: impl FnMut(S) -> R,
    ) -> Option<Duration> {
        self.wants(name).then(|| {
            let times = (0..self.runs(runs)).map(|_| {
                let made = setup();
                let (spent, result) = timed(|| work(made));
                drop(result);
                spent
            });
            self.report(name, units, times.collect())
        })
    }

    /// Prints times, whoever took them. Returns the median, per unit.
    pub(crate) fn report(&self, name: &str, units: usize, mut times: Vec<Duration>) -> Duration {
        times.sort_unstable();
        let last = times.len() - 1;
        let row = [0, last / 2, last * 99 / 100, last].map(|at| show(times[at], units));
        println!("{name:44}{:>10}{:>10}{:>10}{:>10}", row[0], row[1], row[2], row[3]);
        self.tell(name, &row[1]);
        times[last / 2].div_f64(float(units))
    }

    /// What the table of budgets has of a benchmark.
    pub(crate) fn tell(&self, name: &str, measured: impl Display) {
        if !self.quick {
            budget::tell(name, measured);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let began = Instant::now();
    let result = work();
    (began.elapsed(), result)
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn show(time: Duration, units: usize) -> String {
    let nanos = time.as_secs_f64() * 1e9 / float(units);
    match nanos {
        _ if nanos < 1e4 => format!("{nanos:.0} ns"),
        _ if nanos < 1e6 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

pub(crate) fn float(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::NAN, f64::from)
}
