//! How the model checker goes through the schedules of a check.

use crate::runner::{number, Check};

#[cfg(feature = "loom")]
pub(crate) use all::{can, search};
#[cfg(not(feature = "loom"))]
pub(crate) use some::{can, search};

#[cfg(not(feature = "loom"))]
mod some {
    use std::env;

    use shuttle::scheduler::{
        DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler,
    };
    use shuttle::{Config, MaxSteps, Runner};

    use super::{number, Check};
    use crate::runner::Effort;

    /// How many preemptions the second kind of schedules has.
    const DEPTH: usize = 3;
    /// More schedules than this are too many to go through.
    const EVERY: usize = 20_000;

    pub(crate) const fn can(_check: &Check) -> bool {
        true
    }

    pub(crate) fn search(check: Check) -> usize {
        if let Ok(schedule) = env::var("MODEL_REPLAY") {
            return under(check, ReplayScheduler::new_from_encoded(&schedule));
        }
        match check.effort {
            Effort::Every => {
                let count = under(check, DfsScheduler::new(Some(EVERY), false));
                assert!(count < EVERY, "{}: too large to be searched as a whole", check.name);
                count
            }
            Effort::Some(count) => {
                let count = count * number("MODEL_TIMES", 1);
                let seed = number("MODEL_SEED", 1) as u64;
                under(check, RandomScheduler::new_from_seed(seed, count))
                    + under(check, PctScheduler::new_from_seed(seed, DEPTH, count))
            }
        }
    }

    fn under(check: Check, scheduler: impl Scheduler + 'static) -> usize {
        let mut config = Config::new();
        config.stack_size = 256 * 1024;
        config.max_steps = MaxSteps::FailAfter(100_000);
        // That it takes every ordering for the strongest is known: see loom.
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(move || check.run())
    }
}

#[cfg(feature = "loom")]
mod all {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    use super::{number, Check};
    use crate::world::Timers;

    /// Loom knows no timers.
    pub(crate) fn can(check: &Check) -> bool {
        check.timers == Timers::Never
    }

    pub(crate) fn search(check: Check) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = Some(number("MODEL_PREEMPTIONS", 2));
        let counted = Arc::clone(&count);
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            check.run();
        });
        count.load(Ordering::Relaxed)
    }
}
