//! A seeded world around the machine: users who ask for things, threads that take up attempts
//! sooner or later, bodies that obey or do not, messages that take their time. What must hold in it
//! is in `checkers` and `bodies`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::mem;
use core::time::Duration;

use super::super::{Effect, End, Finality, Input, Machine};
use super::audit::{audit, audit_empty};
use super::bodies::Bodies;
use super::cells::Cells;
use super::checkers::{Checker, Sights};
use super::dice::{Dice, Profile};
use super::rig::ms;
use crate::id::{AttemptRef, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::policy::RestartPolicy;
use crate::reason::{ShutdownCause, StopReason};
use crate::time::Time;

/// No message takes longer than this.
pub(super) const MAX_DELAY: Duration = ms(5);
/// No timer is noticed later than this.
pub(super) const MAX_LATENESS: Duration = ms(1);
/// How long a body that obeys goes on once told.
pub(super) const MAX_REACTION: Duration = ms(4);
/// A world that takes more steps than this does not drain.
const MAX_STEPS: u64 = 30_000;

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) profile: Profile,
    pub(super) machine: Machine,
    pub(super) checker: Checker,
    pub(super) bodies: Bodies,
    pub(super) now: Time,
    pub(super) agenda: BTreeMap<(Time, u64), Happening>,
    pub(super) sequence: u64,
    pub(super) cells: Cells,
    pub(super) tasks: Vec<TaskAddr>,
    pub(super) free_keys: Vec<TaskKey>,
    pub(super) slots: BTreeMap<u32, SlotKey>,
    pub(super) free_slots: Vec<SlotKey>,
    pub(super) n_keys: u32,
    pub(super) n_slots: u32,
    pub(super) requests_left: u32,
    /// Faults are over: bodies return soon, and hung ones too.
    pub(super) healthy: bool,
    pub(super) finished: bool,
    /// Messages about attempts that have come to their end, to be sent once more.
    pub(super) past: Vec<Input>,
    pub(super) steps: u64,
    pub(super) journal: Option<String>,
}

/// What is left of a world.
#[derive(PartialEq, Eq)]
pub(super) struct Life {
    pub(super) steps: u64,
    /// Every order, if there was a journal.
    pub(super) orders: String,
    pub(super) sights: Sights,
}

#[allow(clippy::large_enum_variant, reason = "a world is small")]
pub(super) enum Happening {
    Request,
    Claim(AttemptRef),
    Return(AttemptRef),
    /// The body asks for more time.
    Extend(AttemptRef),
    Message(Input),
    /// The job that drops a body nobody inherits is run.
    Drop(TaskId),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let profile = dice.profile();
        let limits = dice.limits();
        let obedient = profile.is_obedient();
        Self {
            machine: Machine::new(limits.clone(), dice.next()),
            checker: Checker::new(limits, obedient),
            bodies: Bodies::default(),
            now: Time::ZERO,
            agenda: BTreeMap::new(),
            sequence: 0,
            cells: Cells::new(profile.answers_at_once),
            tasks: Vec::new(),
            free_keys: Vec::new(),
            slots: BTreeMap::new(),
            free_slots: Vec::new(),
            n_keys: 0,
            n_slots: 0,
            requests_left: 20 + dice.below(100),
            healthy: false,
            finished: false,
            past: Vec::new(),
            steps: 0,
            journal: None,
            dice,
            profile,
        }
    }

    /// Has every order written down.
    pub(super) fn with_journal(mut self) -> Self {
        self.journal = Some(String::new());
        self
    }

    /// Lives through it all.
    pub(super) fn live(mut self) -> Life {
        self.schedule(Duration::ZERO, Happening::Request);
        while self.requests_left > 0 {
            self.turn();
        }
        if self.profile.ends_hard {
            // Whatever hangs is left to the deadlines of the shutdown.
            self.request_the_end();
            while !self.finished && self.turn() {}
        }
        self.heal();
        while self.turn() {}
        assert!(self.machine.is_idle(), "a task has no outcome although nothing happens any more");
        audit_empty(&self.machine);
        if !self.finished {
            self.feed(Input::ShutdownRequested(ShutdownCause::Requested));
            while self.turn() {}
        }
        assert!(self.finished, "the shutdown does not end");
        audit_empty(&self.machine);
        self.bodies.finish();
        let sights = self.checker.finish();
        Life { steps: self.steps, orders: self.journal.unwrap_or_default(), sights }
    }

    /// The next thing that happens, or the next timer; false if nothing is left.
    fn turn(&mut self) -> bool {
        let next = self.agenda.keys().next().map_or(Time::NEVER, |&(at, _)| at);
        let due = self.machine.deadline();
        if next.is_never() && due.is_never() {
            return false;
        }
        let punctual = next > due.after(MAX_LATENESS) || self.dice.chance(80);
        if due <= next && punctual {
            self.now = self.now.max(due);
            self.feed(Input::TimerDue);
        } else if let Some((&(at, sequence), _)) = self.agenda.iter().next() {
            self.now = self.now.max(at);
            if let Some(happening) = self.agenda.remove(&(at, sequence)) {
                self.happen(happening);
            }
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Request => {
                self.request();
                self.requests_left = self.requests_left.saturating_sub(1);
                if self.requests_left > 0 {
                    let gap = self.dice.span(self.profile.gap);
                    self.schedule(gap, Happening::Request);
                }
            }
            Happening::Claim(attempt) => self.claim(attempt),
            Happening::Return(attempt) => self.body_returns(attempt),
            Happening::Extend(attempt) => {
                if let Some(again) = self.cells.extend(attempt, self.now) {
                    self.schedule(again, Happening::Extend(attempt));
                }
            }
            Happening::Message(input) => {
                if let Input::Returned { attempt, .. } = input {
                    let (carried, released) = self.cells.report(attempt);
                    self.bodies.comes_home(attempt.task.id, carried, released);
                }
                self.feed(input);
            }
            Happening::Drop(task) => self.bodies.drop_body(task),
        }
    }

    pub(super) fn schedule(&mut self, delay: Duration, happening: Happening) {
        self.schedule_at(self.now.after(delay), happening);
    }

    pub(super) fn schedule_at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), happening);
    }

    /// Faults are over. What would go on for ever is stopped.
    fn heal(&mut self) {
        self.healthy = true;
        for attempt in self.cells.running() {
            let within = self.dice.span(ms(50));
            self.schedule(within, Happening::Return(attempt));
        }
        let endless =
            self.machine.tasks().iter().filter(|task| task.plan.restart == RestartPolicy::Always);
        for task in endless.map(|task| task.task).collect::<Vec<_>>() {
            self.feed(Input::StopRequested(task));
        }
    }

    /// Hands the machine a fact and performs what it orders; answers that take no time follow at
    /// once.
    pub(super) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.steps += 1;
            assert!(self.steps < MAX_STEPS, "the world does not drain");
            self.remember(&input);
            effects.clear();
            self.machine.step(self.now, input.clone(), &mut effects);
            audit(&self.machine);
            let still_due = self.machine.deadline() <= self.now;
            assert!(input != Input::TimerDue || !still_due, "a timer that was due is still set");
            self.checker.step(self.now, &input, &effects, &self.machine);
            if let Some(journal) = &mut self.journal {
                writeln!(journal, "{:?} {effects:?}", self.now).expect("a string takes it");
            }
            for &effect in &effects {
                if let Some(answer) = self.perform(effect) {
                    if self.profile.answers_at_once {
                        inputs.push_back(answer);
                    } else {
                        let delay = self.dice.delay_in(self.profile.late, MAX_DELAY);
                        self.schedule(delay, Happening::Message(answer));
                    }
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Start { attempt, finality } => self.offer(attempt, finality),
            Effect::Revoke { attempt } => {
                if self.cells.is_offered(attempt) {
                    self.bodies.comes_back(attempt.task.id);
                }
                let answer = self.cells.revoke(attempt);
                return Some(Input::RevokeAnswered { attempt, answer });
            }
            Effect::Tell { attempt, reason, .. } => {
                let (answer, reaction) = self.cells.tell(attempt, reason, self.now);
                if let Some(reaction) = reaction {
                    self.schedule(reaction, Happening::Return(attempt));
                }
                return Some(Input::TellAnswered { attempt, answer });
            }
            Effect::Finalize { attempt, .. } => self.cells.finalize(attempt),
            Effect::Abandon { attempt } => {
                let answer = self.cells.abandon(attempt);
                return Some(Input::AbandonAnswered { attempt, answer });
            }
            Effect::Look { attempt } => {
                let alive = self.cells.look(attempt, self.now);
                return Some(Input::Looked { attempt, alive });
            }
            Effect::Release { attempt } => {
                self.cells.release(attempt);
                self.bodies.is_released(attempt.task.id);
            }
            Effect::Discard { task, heir } => {
                let heir = heir.map(|heir| heir.id);
                for body in self.bodies.discard(task.id, heir) {
                    let delay = self.dice.delay(ms(20));
                    self.schedule(delay, Happening::Drop(body));
                }
            }
            Effect::Forget { task } => self.free_keys.push(task.key),
            Effect::ForgetSlot { slot } => {
                let n_known = self.slots.len();
                self.slots.retain(|_, known| *known != slot);
                assert_eq!(self.slots.len() + 1, n_known, "a slot is forgotten once");
                self.free_slots.push(slot);
            }
            Effect::DrainEvents => {
                let delay = self.dice.span(ms(100));
                self.schedule(delay, Happening::Message(Input::EventsDrained));
            }
            Effect::Finish => self.finished = true,
            Effect::Deliver { task, end } => self.deliver(task, end),
            Effect::Decide { .. }
            | Effect::Answer(_)
            | Effect::Publish(_)
            | Effect::CloseDoor
            | Effect::RestoreSignals
            | Effect::Examine { .. }
            | Effect::ForgetReleased { .. } => {}
        }
        None
    }

    /// An end that the worker could foresee has found the body dropped.
    fn deliver(&self, task: TaskAddr, end: End) {
        let foreseen = match end {
            End::Completed
            | End::Failed
            | End::Fatal
            | End::Panicked
            | End::TimedOut
            | End::Unresponsive => true,
            End::Cancelled { reason, .. } => reason == StopReason::ByTask,
            End::Abandoned { .. } | End::Rejected(_) => false,
        };
        let abandoned = self.cells.is_abandoned(task.id);
        assert!(
            !foreseen || abandoned || self.bodies.is_dropped(task.id),
            "{end:?} is the end of {task:?}, and its worker kept the body"
        );
    }

    fn offer(&mut self, attempt: AttemptRef, finality: Finality) {
        self.bodies.leaves(attempt.task.id);
        self.cells.offer(attempt, finality);
        // A thread that cannot be had makes the attempt wait long, and nothing else.
        let refused = !self.healthy && self.dice.chance(self.profile.refused);
        let delay = if refused { self.dice.span(ms(200)) } else { self.dice.delay(ms(3)) };
        self.schedule(delay, Happening::Claim(attempt));
    }

    fn claim(&mut self, attempt: AttemptRef) {
        if !self.cells.is_offered(attempt) {
            return;
        }
        let slot = self.checker.claimed(self.now, attempt);
        self.bodies.is_claimed(attempt.task.id, slot);
        let at = self.now;
        let (body, runs) = self.dice.body(&self.profile, self.healthy, MAX_REACTION);
        let plan = self.checker.plan(attempt.task.id);
        let (timeout, watched) = (plan.timeout, plan.watchdog.is_some());
        let deadline = timeout.map_or(Time::NEVER, |timeout| at.after(timeout));
        self.cells.claim(attempt, at, deadline, body);
        if let Some(extension) = body.extension {
            self.schedule(extension.every, Happening::Extend(attempt));
        }
        if let Some(runs) = runs {
            self.schedule(runs, Happening::Return(attempt));
        }
        // The report may travel with the return, unless a timer hangs on it.
        if timeout.is_some() || watched || self.dice.chance(60) {
            let arrives = at.after(self.dice.delay(MAX_DELAY));
            self.cells.report_claim(attempt, arrives);
            self.schedule_at(arrives, Happening::Message(Input::Claimed { attempt, at }));
        }
    }

    fn body_returns(&mut self, attempt: AttemptRef) {
        let at = self.now;
        let Some(returned) = self.cells.returns(attempt, at) else { return };
        self.checker.returned(attempt);
        if returned.last {
            self.bodies.is_dropped_there(attempt.task.id, returned.released);
        }
        let arrives = at.after(self.dice.delay(MAX_DELAY)).max(returned.claim_arrives);
        let (claimed_at, told, ret) = (returned.claimed_at, returned.told, returned.ret);
        let report = Input::Returned { attempt, claimed_at, at, told, ret };
        self.schedule_at(arrives, Happening::Message(report));
    }

    /// Keeps what was said about an attempt, for [`repeat_a_message`](Self::repeat_a_message).
    fn remember(&mut self, input: &Input) {
        if attempt_of(input).is_some() {
            self.past.push(input.clone());
            if self.past.len() > 64 {
                self.past.remove(0);
            }
        }
    }

    /// A message about an attempt that is over changes nothing, however it came to be there.
    pub(super) fn repeat_a_message(&mut self) {
        let past = mem::take(&mut self.past);
        let over: Vec<_> = past
            .iter()
            .filter(|input| attempt_of(input).is_some_and(|attempt| self.checker.is_over(attempt)))
            .cloned()
            .collect();
        self.past = past;
        let Some(input) = self.dice.pick(&over).cloned() else { return };
        let (stale, mut effects) = (self.machine.stale, Vec::new());
        self.machine.step(self.now, input.clone(), &mut effects);
        assert!(effects.is_empty(), "a stale {input:?} led to {effects:?}");
        assert_eq!(self.machine.stale, stale + 1, "{input:?} was not seen to be stale");
        audit(&self.machine);
    }
}

fn attempt_of(input: &Input) -> Option<AttemptRef> {
    match *input {
        Input::Claimed { attempt, .. }
        | Input::Returned { attempt, .. }
        | Input::RevokeAnswered { attempt, .. }
        | Input::TellAnswered { attempt, .. }
        | Input::AbandonAnswered { attempt, .. }
        | Input::Looked { attempt, .. } => Some(attempt),
        Input::Submitted(_)
        | Input::BatchSubmitted(_)
        | Input::StopRequested(_)
        | Input::SlotStopRequested(_)
        | Input::SkipRequested(_)
        | Input::RestartRequested(_)
        | Input::ShutdownRequested(_)
        | Input::SignalReceived(_)
        | Input::HookAbandoned
        | Input::HookReturned
        | Input::EventsDrained
        | Input::TimerDue => None,
    }
}
