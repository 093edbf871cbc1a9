//! A seeded world around the machine: threads that take up attempts sooner or later, bodies that
//! obey or do not, messages that take their time.
//!
//! `recipe` says what its users ask for, `families` which faults there are, `chances` what chance
//! decides; `users`, `threads` and `cells` are those who act. What must hold is looked after by
//! five that know nothing of each other: `checker` with what it has seen of tasks, attempts,
//! `queues`, `classes` and of what is `stuck`, `waits`, `events`, `bodies`, and `said` with the
//! grammar of the page; where there are groups, by the last three and `groups`. `coverage` counts
//! what was met, and `simulation` is the test.

mod bodies;
mod cells;
mod chances;
mod checker;
mod classes;
mod closings;
mod coverage;
mod events;
mod families;
mod groups;
mod orders;
mod pairs;
mod queues;
mod recipe;
mod repeats;
mod said;
mod seen_attempt;
mod seen_delays;
mod seen_task;
mod simulation;
mod stuck;
mod threads;
mod users;
mod waits;

use std::rc::Rc;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Write as _;
use core::time::Duration;

use crate::machine::tests::audit::{audit, audit_empty};
use crate::machine::tests::audit_face::{audit_held, held_of_classes, is_overdue};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::machine::{Effect, Input, Machine};
use crate::vocabulary::answer::ClosingAnswer;
use crate::vocabulary::id::{AttemptAddr, ClassKey, GroupKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::time::Time;
use bodies::Bodies;
use cells::Cells;
use checker::Checker;
use closings::Closings;
use coverage::Coverage;
use events::Events;
use families::{Families, Family, Profile};
use groups::Watch;
use recipe::{Recipe, Request};
use said::Story;
use waits::Waits;

/// No message takes longer than this.
const MAX_DELAY: Duration = ms(5);
/// No timer is noticed later than this.
const MAX_LATENESS: Duration = ms(1);
/// How long a body that obeys goes on once told.
const MAX_REACTION: Duration = ms(4);
/// A world that takes more steps than this does not drain.
const MAX_STEPS: u64 = 10_000;

/// What a world was told and ordered, line by line; to be read when it is no more.
type Journal = Rc<RefCell<String>>;

#[allow(clippy::struct_excessive_bools, reason = "how far a world has got")]
struct World {
    seed: u64,
    families: Families,
    profile: Profile,
    machine: Machine,
    checker: Checker,
    waits: Waits,
    events: Events,
    story: Story,
    /// It has groups, and only their watch looks after what follows from what.
    has_groups: bool,
    watch: Watch,
    coverage: Coverage,
    bodies: Bodies,
    now: Time,
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    answers_at_once: bool,
    /// The intake is about to be looked into.
    looks: bool,
    cells: Cells,
    closings: Closings,
    tasks: BTreeMap<TaskId, TaskAddr>,
    free_keys: Vec<TaskKey>,
    slots: BTreeMap<u32, SlotKey>,
    free_slots: Vec<SlotKey>,
    free_groups: Vec<GroupKey>,
    n_keys: u32,
    n_slots: u32,
    n_groups: u32,
    n_waits: usize,
    requests_left: usize,
    /// The controller does nothing before.
    asleep_until: Time,
    /// Faults are over: bodies return soon, and hung ones too.
    healthy: bool,
    finished: bool,
    /// Messages about attempts that have come to their end, to be sent once more.
    past: Vec<Input>,
    steps: u64,
    journal: Option<Journal>,
}

/// What is left of a world.
struct Life {
    steps: u64,
    coverage: Coverage,
}

#[allow(clippy::large_enum_variant, reason = "a world is small")]
enum Happening {
    Request(Request),
    Claim(AttemptAddr),
    Return(AttemptAddr),
    /// The body asks for more time.
    Extend(AttemptAddr),
    /// The body says that it is ready.
    Ready(AttemptAddr),
    Message(Input),
    /// A thread takes up the drop of a body.
    Drop(AttemptAddr),
    /// The body is dropped.
    Dropped(AttemptAddr),
}

/// What an attempt throws dice for: each time with dice of its own.
#[derive(Clone, Copy)]
enum Chance {
    Offer,
    Body,
    Claim,
    Return,
    Answer,
    Heal,
    Drop,
    Hang,
    Closed,
    React,
    Ready,
}

impl World {
    fn new(recipe: Recipe) -> Self {
        let Recipe { seed, families, script } = recipe;
        let profile = Profile::new(&mut Dice::of(&[seed, 4]), families);
        let mut dice = Dice::of(&[seed, 5]);
        let limits = dice.limits(families.have(Family::Limits));
        let obedient = profile.is_obedient();
        let answers_at_once = profile.late == 0;
        let mut world = Self {
            seed,
            families,
            machine: Machine::new(limits.clone(), seed),
            checker: Checker::new(limits.clone()),
            waits: Waits::new(limits.clone(), obedient),
            events: Events::new(limits.max_concurrent),
            story: Story::default(),
            has_groups: families.have(Family::Groups),
            watch: Watch::new(limits.grace),
            coverage: Coverage::default(),
            bodies: Bodies::default(),
            now: Time::ZERO,
            agenda: BTreeMap::new(),
            sequence: 0,
            answers_at_once,
            looks: false,
            cells: Cells::new(answers_at_once),
            closings: Closings::default(),
            tasks: BTreeMap::new(),
            free_keys: Vec::new(),
            slots: BTreeMap::new(),
            free_slots: Vec::new(),
            free_groups: Vec::new(),
            n_keys: 0,
            n_slots: 0,
            n_groups: 0,
            n_waits: 0,
            requests_left: script.len(),
            asleep_until: Time::ZERO,
            healthy: false,
            finished: false,
            past: Vec::new(),
            steps: 0,
            journal: None,
            profile,
        };
        for request in script {
            world.schedule_at(request.at, Happening::Request(request));
        }
        world
    }

    /// Has everything written down.
    fn with_journal(mut self, journal: &Journal) -> Self {
        self.journal = Some(Rc::clone(journal));
        self
    }

    /// Lives through it all.
    fn live(mut self) -> Life {
        while self.requests_left > 0 || self.now < self.asleep_until {
            if !self.turn() {
                self.now = self.asleep_until;
            }
        }
        let ends = self.machine.limits().grace < Duration::MAX;
        if self.profile.hard_end && !self.machine.is_running() && ends {
            // Whatever hangs is left to the deadlines of the shutdown.
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
        let keys = (self.free_keys.len(), self.free_slots.len(), self.slots.len());
        let expected = (self.n_keys as usize, self.n_slots as usize, 0);
        assert_eq!(keys, expected, "a task or a slot is never forgotten");
        self.bodies.finish();
        self.story.finish();
        self.events.finish();
        if self.has_groups {
            assert_eq!(self.free_groups.len(), self.n_groups as usize, "a group is left");
        } else {
            self.waits.finish();
            self.checker.finish();
        }
        Life { steps: self.steps, coverage: self.coverage }
    }

    /// Dice that owe nothing to what others throw, so that a world with less in it is otherwise the
    /// same.
    fn dice(&self, task: TaskId, attempt: u64, chance: Chance) -> Dice {
        Dice::of(&[self.seed, task.get(), attempt, chance as u64])
    }

    /// The next thing that happens, or the next timer; false if nothing is left.
    fn turn(&mut self) -> bool {
        let next = self.agenda.keys().next().map_or(Time::NEVER, |&(at, _)| at);
        let deadline = self.machine.deadline();
        if next.is_never() && deadline.is_never() {
            return false;
        }
        let due = deadline.max(self.asleep_until);
        let mut dice = Dice::of(&[self.seed, 6, due.as_nanos(), next.as_nanos()]);
        let punctual = next > due.after(MAX_LATENESS) || dice.chance(80);
        if due <= next && punctual && !deadline.is_never() {
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
        let for_the_controller = matches!(happening, Happening::Request(_) | Happening::Message(_));
        if for_the_controller && self.now < self.asleep_until {
            return self.schedule_at(self.asleep_until, happening);
        }
        match happening {
            Happening::Request(request) => {
                self.request(request.wish);
                self.requests_left = self.requests_left.saturating_sub(1);
            }
            Happening::Claim(attempt) => self.claim(attempt),
            Happening::Return(attempt) => self.body_returns(attempt),
            Happening::Extend(attempt) => {
                if let Some(again) = self.cells.extend(attempt, self.now) {
                    self.schedule(again, Happening::Extend(attempt));
                }
            }
            Happening::Ready(attempt) => self.body_is_ready(attempt),
            Happening::Message(input) => {
                let mut input = input;
                self.looks &= input != Input::IntakeEmpty;
                if let Input::Returned { attempt, dropped, .. } = &mut input {
                    let (carried, released) = self.cells.report(*attempt);
                    *dropped = self.bodies.comes_home(attempt.task.id, carried, released);
                }
                self.feed(input);
            }
            Happening::Drop(attempt) => self.drop_body(attempt),
            Happening::Dropped(attempt) => self.body_dropped(attempt),
        }
    }

    fn schedule(&mut self, delay: Duration, happening: Happening) {
        self.schedule_at(self.now.after(delay), happening);
    }

    fn schedule_at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), happening);
    }

    /// Faults are over. What would go on for ever is stopped.
    fn heal(&mut self) {
        self.healthy = true;
        for attempt in self.cells.running() {
            let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Heal);
            self.schedule(dice.span(ms(50)), Happening::Return(attempt));
        }
        for attempt in self.closings.running() {
            let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Heal);
            self.schedule(dice.span(ms(50)), Happening::Dropped(attempt));
        }
        let paused = self.machine.tasks().iter().filter(|task| task.is_paused());
        for task in paused.map(|task| task.addr).collect::<Vec<_>>() {
            self.feed(Input::ResumeRequested(task));
        }
        let held_back = (0..).map(ClassKey).zip(self.machine.classes());
        let held_back = held_back.filter(|(_, class)| class.limit == 0).map(|(key, _)| key);
        for class in held_back.collect::<Vec<_>>() {
            self.feed(Input::ClassLimitRequested { class, limit: 1 });
        }
        let endless = self.machine.tasks().iter().filter(|task| is_endless(&task.plan));
        for task in endless.map(|task| task.addr).collect::<Vec<_>>() {
            self.feed(Input::StopRequested(task));
        }
    }

    /// Hands the machine a fact and performs what it orders; answers that take no time follow at
    /// once.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.steps += 1;
            if let Input::ClosingAnswered { attempt, answer: ClosingAnswer::Untaken } = input {
                assert!(!self.machine.is_running(), "a drop is given up though there is time");
                self.bodies.is_given_up(attempt.task.id, true);
            }
            assert!(self.steps < MAX_STEPS, "the world does not drain");
            self.remember(&input);
            effects.clear();
            self.step(&input, &mut effects);
            for &effect in &effects {
                if let Some((attempt, answer)) = self.perform(effect) {
                    let mut dice = self.dice(attempt.task.id, attempt.number, Chance::Answer);
                    if self.answers_at_once {
                        inputs.push_back(answer);
                    } else {
                        let delay = dice.delay_in(self.profile.late, MAX_DELAY);
                        self.schedule(delay, Happening::Message(answer));
                    }
                }
            }
        }
        self.look_into_intake();
    }

    /// What the drain has waited for is over; whether there is more is seen a little later.
    fn look_into_intake(&mut self) {
        if self.machine.has_drained() && !self.looks {
            let mut dice = Dice::of(&[self.seed, 8, self.now.as_nanos()]);
            self.looks = true;
            self.schedule(dice.delay_in(50, MAX_DELAY), Happening::Message(Input::IntakeEmpty));
        }
    }

    fn step(&mut self, input: &Input, effects: &mut Vec<Effect>) {
        let now = self.now;
        if let Some(journal) = &self.journal {
            writeln!(journal.borrow_mut(), "{now:?} {input:?}").expect("a string takes it");
        }
        self.coverage.before(&self.machine, now, input);
        let held = held_of_classes(&self.machine);
        self.machine.step(now, input.clone(), effects);
        audit_held(&self.machine, &held);
        if let Some(journal) = &self.journal {
            let mut journal = journal.borrow_mut();
            for effect in &*effects {
                writeln!(journal, "    {effect:?}").expect("a string takes it");
            }
        }
        // Without time for the events, that end is due at once.
        let flush_begins = effects.contains(&Effect::FlushEvents);
        let still_due = !flush_begins && is_overdue(&self.machine, now);
        assert!(*input != Input::TimerDue || !still_due, "a timer that was due is still set");
        self.coverage.after(effects);
        for effect in &*effects {
            if let Effect::Publish(notice) = effect {
                self.story.add(*notice);
            }
        }
        self.events.input(input);
        for effect in &*effects {
            if let Effect::Publish(notice) = effect {
                self.events.see(*notice);
            }
        }
        if self.has_groups {
            self.watch.step(now, input, effects, &self.cells, &mut self.coverage);
        } else {
            self.waits.step(now, input, effects);
            self.checker.step(now, input, effects, &self.machine, &mut self.coverage);
        }
        self.n_waits += usize::from(matches!(input, Input::WaitBegan(_)));
        audit(&self.machine, self.beyond());
    }

    /// At most so many attempts have started without a permit.
    fn beyond(&self) -> usize {
        if self.has_groups {
            self.n_waits
        } else {
            self.checker.beyond()
        }
    }
}

/// Whether it may take for ever, or longer than a world lasts, although its body does all it can.
fn is_endless(plan: &Plan) -> bool {
    let waits = plan.initial_delay.max(plan.backoff.max) > ms(1000);
    let too_short = plan.timeout.is_some_and(|timeout| timeout < ms(1));
    plan.restart == RestartPolicy::Always || waits || too_short
}
