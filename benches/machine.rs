//! Steps of the machine per second, without threads: what one decision costs at 10, 1 000 and
//! 100 000 tasks, for a submission, the start of a waiting task by its timer, the end of a running
//! one, a retry, and a cancel. `cargo bench --bench machine`.
//!
//! The machine is private, so it is compiled into this file by path.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::cast_precision_loss,
    reason = "only a part of each file is used, and none of it from outside"
)]

extern crate alloc;

mod harness;
#[path = "../src/machine/mod.rs"]
mod machine;
#[path = "../src/vocabulary/mod.rs"]
mod vocabulary;

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use harness::{show, Harness};
use machine::{Effect, Input, Machine, Submission};
use vocabulary::answer::Return;
use vocabulary::id::{AttemptAddr, SlotKey, TaskAddr, TaskId, TaskKey};
use vocabulary::plan::{AtDrain, BodyKind, Interval, Limits, Plan};
use vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use vocabulary::time::Time;

const HOUR: Duration = Duration::from_secs(3600);
/// Steps in a run; of few tasks, each steps more than once.
const STEPS: u32 = 10_000;
const RUNS: usize = 21;

fn main() {
    let harness = Harness::from_args();
    let nothing = |_: &mut Stepper, _: u32| {};
    let mut medians = Vec::new();
    for &tasks in sizes(&harness) {
        let mut bench = |name: &str, prepare: Step, step: Step, restore: Step| {
            let name = format!("machine/{name}, {tasks} tasks");
            if harness.wants(&name) {
                let stepper = Stepper::new(tasks);
                medians.push(run(&harness, &name, stepper, [prepare, step, restore]));
            }
        };
        bench(
            "submit",
            nothing,
            |it, n| {
                it.submit(it.tasks + n, Duration::ZERO);
                assert!(it.ordered(|effect| matches!(effect, Effect::Start { .. })));
            },
            |it, n| it.end(it.tasks + n),
        );
        bench(
            "submit, to wait",
            nothing,
            |it, n| {
                it.submit(it.tasks + n, HOUR);
                assert!(it.ordered(|effect| matches!(effect, Effect::Decide { .. })));
            },
            |it, n| it.cancel(it.tasks + n),
        );
        bench("timer", nothing, Stepper::fire, |it, _| {
            let key = it.fired.pop().expect("one fired at each step");
            it.end(key);
            it.submit_waiting(key);
        });
        bench(
            "end",
            |it, n| it.start(it.scattered(n)),
            |it, n| {
                it.end(it.scattered(n));
                assert!(it.ordered(|effect| matches!(effect, Effect::Deliver { .. })));
            },
            |it, n| it.submit_waiting(it.scattered(n)),
        );
        bench(
            "failure, to retry",
            |it, n| it.start(it.scattered(n)),
            |it, n| {
                it.returned(it.scattered(n), Return::Failed);
                assert!(!it.ordered(|effect| matches!(effect, Effect::Deliver { .. })));
            },
            nothing,
        );
        bench(
            "cancel",
            nothing,
            |it, n| {
                it.cancel(it.scattered(n));
                assert!(it.ordered(|effect| matches!(effect, Effect::Deliver { .. })));
            },
            |it, n| it.submit_waiting(it.scattered(n)),
        );
    }
    if harness.budgets {
        medians.sort_unstable();
        let [least, most] = [0, medians.len() - 1].map(|at| show(medians[at], 1));
        harness.tell("machine/", format!("{least} to {most}"));
    }
}

fn sizes(harness: &Harness) -> &'static [u32] {
    match (harness.quick, harness.budgets) {
        (true, _) => &[10],
        (false, true) => &[100_000],
        (false, false) => &[10, 1000, 100_000],
    }
}

type Step = fn(&mut Stepper, u32);

/// Only the middle one of the three is timed; the others bring the machine where it was.
fn run(harness: &Harness, name: &str, mut stepper: Stepper, steps: [Step; 3]) -> Duration {
    let [prepare, step, restore] = steps;
    let each = stepper.tasks.min(STEPS);
    let rounds = if harness.quick { 1 } else { STEPS / each };
    let mut run = || {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            (0..each).for_each(|n| prepare(&mut stepper, n));
            spent += harness::timed(|| (0..each).for_each(|n| step(&mut stepper, n))).0;
            (0..each).for_each(|n| restore(&mut stepper, n));
        }
        spent
    };
    // The first run lets the tables grow.
    run();
    let times = (0..harness.runs(RUNS)).map(|_| run()).collect();
    harness.report(name, (rounds * each) as usize, times)
}

/// A machine whose tasks own a slot each and wait for a moment of their own, an hour and more away.
struct Stepper {
    machine: Machine,
    /// Used again for each step, as the runtime does.
    effects: Vec<Effect>,
    tasks: u32,
    now: Time,
    fired: Vec<u32>,
}

impl Stepper {
    fn new(tasks: u32) -> Self {
        let limits = Limits {
            max_concurrent: None,
            classes: vec![1],
            max_slot_queue: 100,
            max_tasks: u32::MAX,
            max_abandoned: 16,
            grace: HOUR,
            signal_drain: None,
            event_flush: HOUR,
            timer_slack: Duration::ZERO,
        };
        let machine = Machine::new(limits, 1);
        let mut it =
            Self { machine, effects: Vec::new(), tasks, now: Time::ZERO, fired: Vec::new() };
        (0..tasks).for_each(|key| it.submit_waiting(key));
        it
    }

    fn step(&mut self, input: Input) {
        self.effects.clear();
        self.machine.step(self.now, input, &mut self.effects);
    }

    fn ordered(&self, is_it: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(is_it)
    }

    fn submit(&mut self, key: u32, initial_delay: Duration) {
        self.step(Input::Submitted(submission(key, initial_delay)));
    }

    fn submit_waiting(&mut self, key: u32) {
        // No two come due at once: each step is to fire one.
        self.now = self.now.after(Duration::from_nanos(1));
        let later = Duration::from_millis(u64::from(self.scattered(key) % 64));
        self.submit(key, HOUR + later);
    }

    fn start(&mut self, key: u32) {
        self.step(Input::SkipRequested(task(key)));
        let due = self.machine.due(TaskKey(key));
        if !due.is_never() {
            // Two starts of a task are a moment apart.
            self.now = self.now.max(due);
            self.step(Input::TimerDue);
        }
        let (attempt, at) = (self.attempt(key), self.now);
        self.step(Input::Claimed { attempt, at });
    }

    fn fire(&mut self, _: u32) {
        self.now = self.machine.deadline();
        self.step(Input::TimerDue);
        let started = |effect: &Effect| match effect {
            Effect::Start { attempt, .. } => Some(attempt.task.key.0),
            _ => None,
        };
        let key = self.effects.iter().find_map(started).expect("its wait is over");
        self.fired.push(key);
    }

    fn end(&mut self, key: u32) {
        self.returned(key, Return::Ok);
    }

    fn returned(&mut self, key: u32, ret: Return) {
        let (attempt, at) = (self.attempt(key), self.now);
        self.step(Input::Returned {
            attempt,
            claimed_at: at,
            at,
            told: None,
            ret,
            dropped: false,
            retry_after: None,
        });
    }

    fn cancel(&mut self, key: u32) {
        self.step(Input::StopRequested(task(key)));
    }

    fn attempt(&self, key: u32) -> AttemptAddr {
        let attempt = self.machine.tasks().get(TaskKey(key)).map_or(1, |task| task.attempt);
        AttemptAddr { task: task(key), number: attempt }
    }

    /// The tasks in an order that no cache expects; each once, since 7919 is prime.
    fn scattered(&self, n: u32) -> u32 {
        let place = u64::from(n) * 7919 % u64::from(self.tasks);
        u32::try_from(place).expect("it is less than `tasks`")
    }
}

/// Tasks that are planned alike share their plan, as in the runtime: those that start at once, and
/// those that wait for an hour and so many milliseconds.
static AT_ONCE: OnceLock<Arc<Plan>> = OnceLock::new();
static WAITING: [OnceLock<Arc<Plan>>; 64] = [const { OnceLock::new() }; 64];

fn submission(key: u32, initial_delay: Duration) -> Submission {
    let shared = match initial_delay.checked_sub(HOUR) {
        Some(later) => &WAITING[usize::try_from(later.as_millis()).expect("it is below 64")],
        None => &AT_ONCE,
    };
    let plan = Arc::clone(shared.get_or_init(|| plan(initial_delay)));
    assert_eq!(plan.initial_delay, initial_delay);
    Submission {
        addr: task(key),
        slot: Some(SlotKey(key)),
        policy: AdmissionPolicy::DropIfRunning,
        plan,
        submitted_at: Time::ZERO,
        cancelled: false,
        gives_back: false,
    }
}

fn plan(initial_delay: Duration) -> Arc<Plan> {
    Arc::new(Plan {
        restart: RestartPolicy::OnFailure,
        interval: Interval::None,
        initial_delay,
        backoff: vocabulary::backoff::BackoffPolicy::default(),
        retry_early: false,
        max_retries: u32::MAX,
        give_up_after: None,
        stable_after: HOUR,
        stable_is_stated: false,
        failure_limit: None,
        timeout: None,
        max_timeout: None,
        ready_within: None,
        step: false,
        grace: HOUR,
        expires_in: None,
        panic: vocabulary::policy::PanicPolicy::Failure,
        abandon: vocabulary::policy::AbandonPolicy::Hold,
        watchdog: None,
        needs_drop: false,
        shutdown_on_end: false,
        at_drain: AtDrain::GoOn,
        class: None,
        body: BodyKind::Repeat,
    })
}

fn task(key: u32) -> TaskAddr {
    TaskAddr { key: TaskKey(key), id: TaskId::new(u64::from(key) + 1) }
}
