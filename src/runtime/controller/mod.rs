//! The controller: the one thread that owns the machine. It waits in one place only, until its end,
//! when it waits for the other threads to leave.
//!
//! Each module uses only those listed below it.

pub(crate) mod requests;

mod moment;

mod end;
mod perform;
mod serve;
mod service;
mod view;

mod settling;

pub(crate) use service::ServiceLink;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::examiner::Examiner;
use super::groups::Groups;
use super::pool::Pool;
use super::publish::Publisher;
use super::released::ReleasedAttempts;
use super::required::Required;
use super::shutdown::Shutdown;
use super::signals::Listener;
use super::tally::Tally;
use super::values::{Belongings, Values};
use crate::machine::{Answer, Effect, Input, Machine};
use crate::platform::linger::Linger;
use crate::platform::user_value;
use crate::task::door::{Door, Inbox};
use crate::task::on_signal::SignalHook;
use crate::task::request::Until;
use crate::task::settings::Settings;
use crate::vocabulary::time::{RealTime, Time};

pub(super) struct Controller {
    door: Arc<Door>,
    inbox: Inbox,
    machine: Machine,
    /// The time of this turn, for tasks and for threads.
    now: Time,
    real: RealTime,
    values: Values,
    groups: Groups,
    released: ReleasedAttempts,
    warned_of_limit: bool,
    pool: Pool,
    publisher: Publisher,
    examiner: Examiner,
    tally: Tally,
    shutdown: Shutdown,
    required: Required,
    service: Option<ServiceLink>,
    signal_hooks: Vec<Arc<SignalHook>>,
    /// Callers that wait for something to become so; each is asked at the end of a turn whether it
    /// has its answer, and answered by its drop if not before.
    waiters: Vec<Waiter>,
    /// How much the machine has been told so far; wraps around.
    inputs: u32,
    linger: Linger,
    /// Kept between steps to reuse its memory.
    effects: Vec<Effect>,
    /// The answers to orders that may come too late.
    feedback: VecDeque<Input>,
    /// The answer to the request being served.
    answer: Option<Answer>,
}

type Waiter = Box<dyn FnMut(&Controller) -> bool + Send>;

/// The most submissions that a turn takes when no request waits, so that facts and timers are
/// served even in a flood.
const SUBMISSIONS_PER_TURN: usize = 256;

impl Controller {
    pub(super) fn new(
        door: Arc<Door>,
        inbox: Inbox,
        machine: Machine,
        defaults: Settings,
        (signals, signal_hooks): (Option<Listener>, Vec<Arc<SignalHook>>),
        (pool, publisher): (Pool, Publisher),
        (service, sick_after): (Option<ServiceLink>, Duration),
    ) -> Self {
        let values = Values::new(defaults, machine.limits().grace);
        Self {
            door,
            inbox,
            machine,
            now: Time::ZERO,
            real: RealTime::ZERO,
            values,
            groups: Groups::default(),
            released: ReleasedAttempts::default(),
            warned_of_limit: false,
            pool,
            publisher,
            examiner: Examiner::default(),
            tally: Tally::default(),
            shutdown: Shutdown::new(signals),
            required: Required::new(sick_after),
            service,
            signal_hooks,
            waiters: Vec::new(),
            inputs: 0,
            linger: Linger::default(),
            effects: Vec::new(),
            feedback: VecDeque::new(),
            answer: None,
        }
    }

    /// Runs turns until the machine has ended.
    pub(super) fn run(&mut self) {
        loop {
            self.turn();
            if self.shutdown.finished {
                break;
            }
            self.wait();
        }
    }

    /// Counts the waiting messages, reads the clock, and serves facts, timers, submissions,
    /// requests and threads. A request sees every fact and submission made before it, because those
    /// are counted after the requests and served before them.
    pub(super) fn turn(&mut self) {
        let requests = self.inbox.requests.len();
        let facts = self.inbox.facts.len();
        let most = if requests == 0 { SUBMISSIONS_PER_TURN } else { usize::MAX };
        let submissions = self.inbox.intake.len().min(most);
        self.read_clock();

        for _ in 0..facts {
            let Ok(fact) = self.inbox.facts.try_recv() else { break };
            self.serve_fact(fact);
        }
        while self.machine.is_due(self.now) {
            self.feed(Input::TimerDue);
        }
        for _ in 0..submissions {
            let Ok(envelope) = self.inbox.intake.try_recv() else { break };
            self.serve_submission(envelope);
        }
        for _ in 0..requests {
            let Ok(request) = self.inbox.requests.try_recv() else { break };
            self.serve_request(request);
        }
        // What a body hands over before it returns is in the intake by now.
        if self.machine.has_drained() && self.inbox.intake.is_empty() {
            self.feed(Input::IntakeEmpty);
        }
        self.serve_service();
        self.serve_threads();
        self.answer_waiters();
    }

    fn read_clock(&mut self) {
        let clock = &self.door.clock;
        self.real = clock.real.now();
        self.now = clock.at(self.real);
        if self.flush_ends() <= self.real {
            self.now = self.now.max(self.machine.deadline());
        }
    }

    /// When the last events are no longer awaited. Subscribers run in real time, even where a
    /// manual clock holds that of the machine.
    fn flush_ends(&self) -> RealTime {
        let flush = self.machine.limits().event_flush;
        self.shutdown.completed_at().map_or(RealTime::NEVER, |complete| complete.after(flush))
    }

    /// The one place where the controller waits before its end: until there is a message, or
    /// something is due.
    pub(super) fn wait(&self) {
        let Inbox { intake, requests, facts } = &self.inbox;
        let clock = &self.door.clock;
        // The next turn finds out by itself which of them it is, or that the time is up.
        let messages = || facts.len() + requests.len() + intake.len();
        let due = clock.wakes_at(self.machine.deadline());
        let due = due.min(self.pool.deadline()).min(self.flush_ends());
        let due = self.service.as_ref().map_or(due, |link| due.min(link.service.deadline()));
        // What is already due must not wait: on a busy machine each yield may cost a time slice.
        if due > clock.real.now() && !self.linger.until(&clock.real, messages) {
            self.door.sleep(due, || messages() > 0);
        }
    }

    /// Passes one fact to the machine and carries out everything that follows.
    fn feed(&mut self, input: Input) {
        self.step(input);
        self.feed_pending();
    }

    fn feed_pending(&mut self) {
        while let Some(input) = self.feedback.pop_front() {
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.inputs = self.inputs.wrapping_add(1);
        let may_be_look = matches!(input, Input::TimerDue | Input::Looked { .. });
        self.machine.step(self.now, input, &mut effects);
        // To a service manager, a look of a watchdog that leads to nothing else is no change.
        let is_look = may_be_look && effects.iter().all(|it| matches!(it, Effect::Look { .. }));
        if let (Some(link), false) = (&mut self.service, is_look) {
            link.service.touch();
        }
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
    }

    /// Passes a request to the machine and returns its answer.
    fn ask(&mut self, input: Input) -> Option<Answer> {
        self.answer = None;
        self.feed(input);
        self.answer.take()
    }

    /// Ends a turn: offers its work to threads, starts and retires threads, and hands over all
    /// events that are left.
    fn serve_threads(&mut self) {
        // The system may take its time to start a thread.
        self.publisher.deliver();
        self.push_kept();
        if let Some(look) = self.examiner.next_look() {
            self.pool.push(look);
        }
        let crowded = !self.machine.is_below_cap();
        let facts = self.pool.manage(self.real, crowded);
        let any = !facts.is_empty();
        for fact in facts {
            self.serve_fact(fact);
        }
        // Work and values that this has left must not wait for a later turn.
        if self.push_kept() || any {
            self.pool.wake_by(self.real);
        }
        self.publisher.deliver();
    }

    /// Has a worker drop the user values that this thread has kept. False if there are none.
    fn push_kept(&mut self) -> bool {
        let kept = user_value::take_kept();
        let any = !kept.is_empty();
        if any {
            self.pool.push_kept(kept);
        }
        any
    }

    fn answer_waiters(&mut self) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain_mut(|has_answer| !has_answer(self));
        self.waiters = waiters;
    }

    /// Whether what a caller waits for is so.
    fn has_come(&self, until: Until) -> bool {
        // What lies in the intake may have been handed over by a body that has returned.
        let idle = || self.machine.is_idle() && self.inbox.intake.is_empty();
        let stopping = !self.machine.is_running();
        match until {
            Until::Idle => idle(),
            Until::IdleOrShutdown => stopping || idle(),
            Until::Shutdown => stopping,
        }
    }
}

#[cfg(test)]
#[path = "bug_tests.rs"]
mod tests;
