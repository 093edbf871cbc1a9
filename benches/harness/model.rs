//! Supervisors, their controllers, and bodies that compute, on so many cores; in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::harness::{float, show};

/// What a task costs on a core, beside its body.
#[derive(Clone, Copy)]
pub(super) struct Costs {
    /// Of the controller, for a message: a task has two, its submission and its report.
    pub(super) message: Duration,
    /// Of the controller, for a turn that it was called to from its sleep; and of who calls it.
    pub(super) call: Duration,
    pub(super) caller: Duration,
    /// Of the threads that submit it, run it, and wait for it.
    pub(super) other: Duration,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [message, call, caller, other] =
            [self.message, self.call, self.caller, self.other].map(|it| show(it, 1));
        write!(f, "Measured: the controller spends {message} on a message, and {call} more on a ")?;
        write!(f, "turn for which it must be woken. The thread that wakes it spends {caller}; ")?;
        write!(f, "the other threads spend {other} on a task, without its body.")
    }
}

#[derive(Clone, Copy)]
pub(super) struct Model {
    pub(super) costs: Costs,
    pub(super) cores: usize,
    pub(super) supervisors: usize,
    pub(super) body: Duration,
}

pub(super) struct Most {
    /// Tasks per second.
    pub(super) rate: f64,
    pub(super) is_controllers: bool,
}

impl Model {
    /// The time for each of `n` tasks that are submitted all at once.
    pub(super) fn at_once(self, n: usize) -> Duration {
        Run::new(self, vec![Duration::ZERO; n]).finish().0.div_f64(float(n))
    }

    /// The highest rate at which what arrives at random is done as fast as it arrives.
    pub(super) fn most(self, n: usize) -> Most {
        let Costs { message, other, .. } = self.costs;
        let controllers = float(self.supervisors) / (2.0 * message.as_secs_f64());
        let cores = float(self.cores) / (other + self.body).as_secs_f64();
        // Without a limit of cores, theirs is not a number, and the other one is taken.
        let (mut low, mut high) = (0.0, controllers.min(cores));
        let mut is_controllers = false;
        for _ in 0..12 {
            let rate = (low + high) / 2.0;
            let arrivals = arrivals(rate, n);
            let last = arrivals.last().copied().unwrap_or_default();
            let (end, busy) = Run::new(self, arrivals).finish();
            if end < last.mul_f64(1.02) + 2 * self.body {
                let share = busy.as_secs_f64() / end.as_secs_f64() / float(self.supervisors);
                (low, is_controllers) = (rate, share > 0.9);
            } else {
                high = rate;
            }
        }
        Most { rate: low, is_controllers }
    }
}

/// That it says what can be told without it.
pub(super) fn check() {
    let (none, us) = (Duration::ZERO, Duration::from_micros(1));
    let free = Costs { message: none, call: none, caller: none, other: none };
    let bodies = Model { costs: free, cores: 4, supervisors: 1, body: us };
    assert_eq!(bodies.at_once(400), us / 4, "the cores are the limit");

    let slow = Model { costs: Costs { message: us, ..free }, cores: 64, ..bodies };
    for (supervisors, expected) in [(1, 2 * us), (2, us)] {
        let said = Model { supervisors, ..slow }.at_once(20_000).as_secs_f64();
        let off = (said / expected.as_secs_f64() - 1.0).abs();
        assert!(off < 0.05, "the controllers are the limit: off by {off}");
    }
}

/// Without memory: the gaps are distributed exponentially.
fn arrivals(rate: f64, n: usize) -> Vec<Duration> {
    let mean = Duration::from_secs_f64(1.0 / rate);
    let gaps = random().map(|it| mean.mul_f64(-it.ln()));
    let moments = gaps.scan(Duration::ZERO, |now, gap| {
        *now += gap;
        Some(*now)
    });
    moments.take(n).collect()
}

/// Above 0 and up to 1, the same numbers each time (`SplitMix64`).
fn random() -> impl Iterator<Item = f64> {
    let states = (1..).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    states.map(|state| {
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let upper = u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("it is half as wide");
        (f64::from(upper) + 1.0) / 2f64.powi(32)
    })
}

/// What a core does that is no controller's.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Work {
    Body,
    /// To the controller, that a body has ended.
    Call,
}

#[derive(Clone, Copy, Default)]
struct Controller {
    submissions: usize,
    reports: usize,
    /// Until when, and how many bodies may begin then.
    turn: Option<(Duration, usize)>,
    awake: Awake,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Awake {
    /// It has looked and found nothing.
    #[default]
    No,
    /// Since it was called, it waits for a core.
    Called,
    Yes,
}

impl Controller {
    /// Whether it has to be called.
    fn call(&mut self) -> bool {
        let sleeps = self.awake == Awake::No;
        if sleeps {
            self.awake = Awake::Called;
        }
        sleeps
    }
}

struct Run {
    model: Model,
    arrivals: std::vec::IntoIter<Duration>,
    now: Duration,
    controllers: Vec<Controller>,
    /// What waits for a core, by supervisor.
    ready: VecDeque<usize>,
    /// Each holds a core until its end.
    working: BinaryHeap<Reverse<(Duration, Work, usize)>>,
    busy: Duration,
}

impl Run {
    fn new(model: Model, arrivals: Vec<Duration>) -> Self {
        Self {
            model,
            arrivals: arrivals.into_iter(),
            now: Duration::ZERO,
            controllers: vec![Controller::default(); model.supervisors],
            ready: VecDeque::new(),
            working: BinaryHeap::new(),
            busy: Duration::ZERO,
        }
    }

    /// When the last task has ended, and how long the controllers were busy.
    fn finish(mut self) -> (Duration, Duration) {
        let mut keys = random().skip(1); // those of the gaps would go together with them
        loop {
            let turn = (0..).zip(&self.controllers).filter_map(|(at, it)| Some((it.turn?.0, at)));
            let turn = turn.min();
            let work = self.working.peek().map(|Reverse((end, ..))| *end);
            let arrival = self.arrivals.as_slice().first().copied();
            let ends = [turn.map(|(end, _)| end), work, arrival];
            let Some(next) = ends.into_iter().flatten().min() else { break };
            self.now = next;
            match turn {
                Some((end, at)) if end == next => self.end_turn(at),
                _ if work == Some(next) => self.end_work(),
                _ => {
                    let _ = self.arrivals.next();
                    let key = keys.next().expect("it never ends");
                    let mut at = 0;
                    while key > float(at + 1) / float(self.controllers.len()) {
                        at += 1;
                    }
                    let it = &mut self.controllers[at];
                    it.submissions += 1;
                    it.call();
                }
            }
            self.begin_turns();
            self.begin_bodies();
        }
        (self.now, self.busy)
    }

    fn end_turn(&mut self, at: usize) {
        let it = &mut self.controllers[at];
        let (_, begin) = it.turn.take().expect("it has a turn");
        if it.submissions + it.reports == 0 {
            it.awake = Awake::No;
        }
        self.ready.extend((0..begin).map(|_| at));
    }

    fn end_work(&mut self) {
        let Some(Reverse((_, work, at))) = self.working.pop() else { return };
        let it = &mut self.controllers[at];
        if work == Work::Body {
            it.reports += 1;
            if it.call() {
                self.working.push(Reverse((self.now + self.model.costs.caller, Work::Call, at)));
            }
        }
    }

    /// Before bodies: who has slept gets a core before who computes. But it waits for one.
    fn begin_turns(&mut self) {
        let Costs { message, call, .. } = self.model.costs;
        for at in 0..self.controllers.len() {
            let is_room = self.is_room();
            let it = &mut self.controllers[at];
            let begin = it.submissions.min(64);
            let messages = begin + it.reports;
            if it.turn.is_some() || messages == 0 || !is_room {
                continue;
            }
            let called = if it.awake == Awake::Called { call } else { Duration::ZERO };
            let span = message.mul_f64(float(messages)) + called;
            it.turn = Some((self.now + span, begin));
            (it.submissions, it.reports) = (it.submissions - begin, 0);
            it.awake = Awake::Yes;
            self.busy += span;
        }
    }

    fn begin_bodies(&mut self) {
        while self.is_room() {
            let Some(at) = self.ready.pop_front() else { break };
            let end = self.now + self.model.costs.other + self.model.body;
            self.working.push(Reverse((end, Work::Body, at)));
        }
    }

    fn is_room(&self) -> bool {
        let turns = self.controllers.iter().filter(|it| it.turn.is_some()).count();
        turns + self.working.len() < self.model.cores
    }
}
