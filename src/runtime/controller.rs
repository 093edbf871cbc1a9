//! The controller: the one thread that owns the machine. It waits in one place, and nothing else it
//! does ever waits.

use std::io;
use std::sync::Arc;

use super::perform::Performer;
use super::publish::{Publisher, Subscribers};
use super::signals::Listener;
use super::workers::Workers;
use super::Report;
use crate::machine::{Answer, Input, Machine};
use crate::output::error::StartError;
use crate::output::event::EventKind;
use crate::output::report::RunReport;
use crate::platform::linger::Linger;
use crate::platform::sync::channel::{self, Receiver, Select, Sender};
use crate::platform::threads::Threads;
use crate::platform::unwind;
use crate::task::current;
use crate::task::door::{Door, Inbox};
use crate::task::record::Record;
use crate::task::request::Request;
use crate::task::settings::Settings;
use crate::vocabulary::id;
use crate::vocabulary::plan::Limits;
use crate::vocabulary::reason::{ShutdownCause, SlotCancelled};

/// All that a supervisor is started with.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) seed: u64,
    pub(crate) defaults: Settings,
    pub(crate) threads: Threads,
    pub(crate) prespawn: u32,
    pub(crate) subscribers: Subscribers,
    pub(crate) signals: Option<Listener>,
}

/// Submissions taken in one turn when no request waits, so that reports and timers get their turn
/// under a flood.
const SUBMISSIONS_PER_TURN: usize = 256;
/// The controller's own stack. No user code runs on it.
const STACK: usize = 256 * 1024;

/// Starts the controller and all that was asked for. If any thread is refused, those that run are
/// sent home.
pub(crate) fn start(setup: Setup, door: &Arc<Door>, inbox: Inbox) -> Result<(), StartError> {
    start_with(setup, door, inbox, Controller::run)
}

/// The same with turns that a test may have replaced.
fn start_with(
    setup: Setup,
    door: &Arc<Door>,
    inbox: Inbox,
    turns: fn(&mut Controller),
) -> Result<(), StartError> {
    let refused = |role: &'static str| {
        move |source: io::Error| StartError::Thread { name: role.to_owned(), source }
    };
    let (reports_in, reports) = channel::unbounded();
    let threads = setup.threads.clone();
    let mut workers = Workers::new(
        Arc::clone(door),
        (reports_in.clone(), reports.clone()),
        threads.clone(),
        setup.prespawn,
    );
    let publisher =
        Publisher::start(setup.subscribers, Arc::clone(door), reports_in.clone(), threads.clone())
            .map_err(refused("ev"))?;
    let started = (0..setup.prespawn).try_for_each(|_| workers.start_thread());
    let machine = Machine::new(setup.limits, setup.seed);
    let performer = Performer::new(
        Arc::clone(door),
        machine,
        workers,
        publisher,
        setup.defaults,
        setup.signals,
    );
    let mut controller = Controller {
        performer,
        inbox,
        reports,
        _reports_in: reports_in,
        idle_waiters: Vec::new(),
        linger: Linger::default(),
    };
    if let Err(error) = started {
        controller.performer.give_up();
        controller.end();
        return Err(refused("w")(error));
    }
    // The controller moves into its thread only if that exists: what is refused must be closed
    // properly.
    let (hand, take) = channel::bounded(1);
    let door = Arc::clone(door);
    let own_threads = threads.clone();
    let spawned = threads.spawn("ctl", Some(STACK), move |_| {
        if let Ok(controller) = take.recv() {
            run(controller, turns, door, own_threads);
        }
    });
    match spawned {
        Ok(()) => {
            // Cannot fail: the thread waits for it.
            let _ = hand.send(controller);
            Ok(())
        }
        Err(error) => {
            controller.performer.give_up();
            controller.end();
            Err(refused("ctl")(error))
        }
    }
}

fn run(
    mut controller: Controller,
    turns: fn(&mut Controller),
    door: Arc<Door>,
    mut threads: Threads,
) {
    current::belong_to(&door);
    // A panic here is a bug in this crate. It must not leave anybody waiting.
    if let Err(message) = unwind::catch(|| turns(&mut controller)) {
        log::error!(target: "threadvisor", "the controller panicked: {message}");
        controller.performer.give_up();
    }
    match unwind::catch(|| controller.end()) {
        Ok(0) => {}
        Ok(left) => log::warn!(target: "threadvisor", "{left} user values not dropped in time"),
        Err(message) => {
            log::error!(target: "threadvisor", "the controller panicked at its end: {message}");
            door.end(RunReport::of_nothing(ShutdownCause::ControllerPanicked));
        }
    }
    // Without any handle left, nobody can read the report; but its errors are user values. So are
    // the hooks of the threads, once the last worker is gone.
    let failures = Arc::into_inner(door).map(|mut door| door.take_failures()).unwrap_or_default();
    let hooks = threads.hooks.take().and_then(Arc::into_inner);
    if failures.is_empty() && hooks.is_none() {
        return;
    }
    let last = (failures, hooks);
    let (hand, take) = channel::bounded(1);
    let spawned = threads.spawn("w0", threads.stack_size, move |_| {
        let Ok((failures, hooks)) = take.recv() else { return };
        for failure in failures {
            let _ = unwind::drop_caught(failure);
        }
        drop(hooks);
    });
    match spawned {
        // Cannot fail: the thread waits for it.
        Ok(()) => drop(hand.send(last)),
        Err(error) => {
            log::warn!(target: "threadvisor", "user values leaked for want of a thread: {error}");
            std::mem::forget(last);
        }
    }
}

struct Controller {
    performer: Performer,
    inbox: Inbox,
    reports: Receiver<Report>,
    /// Keeps the channel of reports connected while there is no worker.
    _reports_in: Sender<Report>,
    idle_waiters: Vec<IdleWaiter>,
    linger: Linger,
}

/// Somebody who waits until every task has its outcome.
struct IdleWaiter {
    or_shutdown: bool,
    reply: Sender<()>,
}

impl Controller {
    fn run(&mut self) {
        loop {
            self.turn();
            if self.performer.finished {
                break;
            }
            self.wait();
        }
    }

    /// Counts what lies there, looks at the clock, and serves: reports, timers, submissions,
    /// requests, threads. A request sees every report and submission made before it, because those
    /// are counted after the requests and served before them.
    fn turn(&mut self) {
        let requests = self.inbox.requests.len();
        let reports = self.reports.len();
        let most = if requests == 0 { SUBMISSIONS_PER_TURN } else { usize::MAX };
        let submissions = self.inbox.intake.len().min(most);
        self.performer.now = self.performer.door.clock.now();

        for _ in 0..reports {
            let Ok(report) = self.reports.try_recv() else { break };
            self.serve_report(report);
        }
        while self.performer.machine.deadline() <= self.performer.now {
            self.performer.feed(Input::TimerDue);
        }
        for _ in 0..submissions {
            let Ok(envelope) = self.inbox.intake.try_recv() else { break };
            if self.performer.machine.is_running() {
                self.performer.submit(envelope);
            } else {
                self.performer.refuse(envelope);
            }
        }
        for _ in 0..requests {
            let Ok(request) = self.inbox.requests.try_recv() else { break };
            self.serve_request(request);
        }
        self.performer.manage_threads();
        self.answer_idle_waiters();
    }

    /// The one place where the controller waits: until a message lies there, or something is due.
    fn wait(&self) {
        let Inbox { intake, requests } = &self.inbox;
        let clock = &self.performer.door.clock;
        let look = || {
            let nothing = self.reports.is_empty() && requests.is_empty() && intake.is_empty();
            (!nothing).then_some(())
        };
        let due = self.performer.machine.deadline().min(self.performer.workers.deadline());
        // What is due already waits for nobody: each yield may cost a slice on a busy machine.
        if due <= clock.now() || self.linger.until(clock, look).is_some() {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.reports);
        select.recv(requests);
        select.recv(intake);
        // Which of them it is, or that time is up, the next turn sees for itself.
        let _ = match clock.remaining(due) {
            Some(span) => select.ready_timeout(span).ok(),
            None => Some(select.ready()),
        };
    }

    fn serve_report(&mut self, report: Report) {
        match report {
            Report::Claimed { attempt, at } => self.performer.feed(Input::Claimed { attempt, at }),
            Report::Returned(returned) => self.performer.returned(returned),
            Report::DropPanicked { message } => self.performer.drop_panicked(&message),
            Report::Examined { attempt, stall } => self.performer.examined(attempt, stall),
            Report::HookReturned => self.performer.feed(Input::HookReturned),
            Report::HookThreadRefused { error } => {
                self.performer.workers.hook_thread_refused();
                self.performer.thread_refused(error);
            }
            Report::HooksDue { cell, due } => self.performer.workers.nudge(cell, due),
            Report::ThreadRefused { error, unserved: None } => {
                self.performer.thread_refused(error);
            }
            Report::ThreadRefused { error, unserved: Some(dedicated) } => {
                self.performer.put_back(*dedicated, error);
            }
            Report::SubscriberPanicked { subscriber, message } => {
                let kind =
                    EventKind::SubscriberPanicked { subscriber, message: Arc::from(message) };
                self.performer.publisher.publish(self.performer.now, None, kind);
            }
            Report::LaneFlushed => self.performer.lane_flushed(),
        }
    }

    fn serve_request(&mut self, request: Request) {
        match request {
            Request::Cancel(record) => {
                if let Some(task) = self.performer.find(&record) {
                    self.performer.feed(Input::StopRequested(task));
                }
                self.performer.let_go(Some(record));
            }
            Request::CancelSlot(slot, reply) => {
                let found = self.cancel_slot(&slot);
                let _ = reply.send(found);
            }
            Request::DropPanicked { message } => self.performer.drop_panicked(&message),
            Request::Flush(reply) => {
                let _ = reply.send(self.performer.publisher.flush());
            }
            Request::HookPanicked { cell, message } => {
                let message = Arc::from(message);
                let kind = EventKind::HookPanicked { attempt: cell.attempt.attempt, message };
                self.performer.publish_about(&cell, kind);
                self.performer.let_go(Some(Arc::clone(&cell.record)));
            }
            Request::HookSlow { cell, ran } => {
                let kind = EventKind::HookSlow { attempt: cell.attempt.attempt, ran };
                self.performer.publish_about(&cell, kind);
                self.performer.let_go(Some(Arc::clone(&cell.record)));
            }
            Request::HookThread => self.performer.start_hook_thread(),
            Request::Nudge { cell, due } => self.performer.workers.nudge(cell, due),
            Request::Idle { or_shutdown, reply } => {
                self.idle_waiters.push(IdleWaiter { or_shutdown, reply });
            }
            Request::Owner(slot, reply) => {
                let _ = reply.send(self.performer.owner(&slot));
            }
            Request::Restart(record, reply) => {
                let taken = self.ask_task(&record, Input::RestartRequested);
                let _ = reply.send(taken);
                self.performer.let_go(Some(record));
            }
            Request::Shutdown(cause) => self.performer.feed(Input::ShutdownRequested(cause)),
            Request::Signal(number) => self.performer.feed(Input::SignalReceived(number)),
            Request::SkipWait(record, reply) => {
                let taken = self.ask_task(&record, Input::SkipRequested);
                let _ = reply.send(taken);
                self.performer.let_go(Some(record));
            }
            Request::Snapshot(reply) => {
                let _ = reply.send(self.performer.snapshot());
            }
            Request::State(record, reply) => {
                let _ = reply.send(self.performer.state(&record));
                self.performer.let_go(Some(record));
            }
            Request::Task(id, reply) => {
                let _ = reply.send(self.performer.task(id));
            }
        }
    }

    /// Asks the machine about a task, after telling it of a claim that no report needed to tell.
    fn ask_task(&mut self, record: &Record, input: fn(id::TaskAddr) -> Input) -> bool {
        let Some(task) = self.performer.find(record) else { return false };
        if let Some((attempt, at)) = self
            .performer
            .machine
            .tasks()
            .get(task.key)
            .and_then(|task| self.performer.unreported_claim(task))
        {
            self.performer.feed(Input::Claimed { attempt, at });
        }
        self.performer.ask(input(task)) == Some(Answer::Taken(true))
    }

    fn cancel_slot(&mut self, slot: &str) -> SlotCancelled {
        let Some(key) = self.performer.slots.key(slot) else { return SlotCancelled::default() };
        match self.performer.ask(Input::SlotStopRequested(key)) {
            Some(Answer::SlotCancelled(found)) => found,
            Some(Answer::Taken(_)) | None => SlotCancelled::default(),
        }
    }

    fn answer_idle_waiters(&mut self) {
        let machine = &self.performer.machine;
        let (idle, stopping) = (machine.is_idle(), !machine.is_running());
        self.idle_waiters.retain(|waiter| {
            let answered = idle || (waiter.or_shutdown && stopping);
            if answered {
                let _ = waiter.reply.send(());
            }
            !answered
        });
    }

    /// Nothing is left: says so to everybody who waits. Gives the number of values leaked.
    fn end(self) -> usize {
        let Self { mut performer, inbox, idle_waiters, .. } = self;
        let door = Arc::clone(&performer.door);
        // Whoever asks from now on finds the channel closed; also a destructor that a worker runs.
        for request in inbox.requests.try_iter() {
            performer.let_go(request.into_record());
        }
        drop((inbox.requests, idle_waiters));
        let report = performer.into_report();
        let values_leaked = report.shutdown.values_leaked;
        door.end(report);
        values_leaked
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
