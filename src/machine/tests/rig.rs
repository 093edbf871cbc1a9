//! A machine on a virtual clock, driven by a script. What it orders is compared line by line, one
//! effect a line; lines that begin with `*` are events.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::audit::audit;
pub(super) use super::orders::Orders;
use super::render::{show, Names};
pub(super) use super::spec::{ms, task, Spec};
use crate::machine::{Effect, Finality, Input, Machine, Notice, Submission};
use crate::vocabulary::answer::{AbandonAnswer, ClosingAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::id::{AttemptAddr, TaskAddr, TaskId};
use crate::vocabulary::plan::Limits;
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

/// What the script has said of an attempt. A script answers for the cell, right or wrong: it also
/// says what late, lost and repeated messages say.
#[derive(Clone, Copy, Default)]
struct Said {
    claimed_at: Option<Time>,
    ordered: Option<CancelReason>,
    told: Option<CancelReason>,
    finality: Option<Finality>,
}

pub(super) struct Rig {
    machine: Machine,
    now: Time,
    names: Names,
    said: BTreeMap<(TaskId, u64), Said>,
    shows_notes: bool,
    /// How many waits of bodies have begun.
    n_waits: usize,
    /// The next return says that the body is dropped.
    dropped: bool,
    /// The error of the next return asks for this delay.
    retry_after: Option<Duration>,
}

impl Rig {
    /// Plenty of permits, 3 places in a queue, 20 tasks, 1 s of grace, 250 ms to flush.
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Self::limits();
        change(&mut limits);
        Self {
            machine: Machine::new(limits, 7),
            now: Time::ZERO,
            names: Names::default(),
            said: BTreeMap::new(),
            shows_notes: false,
            n_waits: 0,
            dropped: false,
            retry_after: None,
        }
    }

    /// Writes `NoteFailure` out as well. Most scripts are not about it: it goes with each failure.
    pub(super) fn with_notes() -> Self {
        Self { shows_notes: true, ..Self::new() }
    }

    pub(super) fn with_seed(seed: u64) -> Self {
        Self { machine: Machine::new(Self::limits(), seed), ..Self::new() }
    }

    const fn limits() -> Limits {
        Limits {
            max_concurrent: None,
            classes: Vec::new(),
            max_slot_queue: 3,
            max_tasks: 20,
            max_abandoned: 16,
            grace: ms(1000),
            signal_drain: None,
            event_flush: ms(250),
            timer_slack: ms(0),
        }
    }

    /// So many permits to run, and of each class.
    pub(super) fn with_classes(permits: Option<u32>, classes: &[u32]) -> Self {
        Self::with(|limits| {
            limits.max_concurrent = permits;
            limits.classes = classes.to_vec();
        })
    }

    /// One permit: the second task has to wait.
    pub(super) fn with_permits(permits: u32) -> Self {
        Self::with(|limits| limits.max_concurrent = Some(permits))
    }

    /// Moves the clock. A script may not run past a timer without saying so by [`due`](Self::due).
    #[track_caller]
    pub(super) fn at(&mut self, now: Duration) -> &mut Self {
        let now = Time::ZERO.after(now);
        assert!(self.now <= now, "the script goes back in time");
        assert!(self.machine.deadline() >= now, "a timer is due at {}", show(self.deadline()));
        self.now = now;
        self
    }

    /// Moves the clock past a timer that nobody has noticed yet.
    pub(super) fn late_at(&mut self, now: Duration) -> &mut Self {
        self.now = Time::ZERO.after(now);
        self
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    pub(super) fn deadline(&self) -> Time {
        self.machine.deadline()
    }

    /// Moves the clock to the next timer and lets it come due.
    #[track_caller]
    pub(super) fn due(&mut self) -> Orders {
        let due = self.deadline();
        assert!(!due.is_never(), "no timer is set");
        self.now = self.now.max(due);
        let orders = self.input(Input::TimerDue);
        assert!(self.deadline() > self.now, "a timer that was due is still set");
        orders
    }

    /// As [`due`](Self::due), at a moment the script expects.
    #[track_caller]
    pub(super) fn due_at(&mut self, at: Duration) -> Orders {
        assert_eq!(show(self.deadline()), show(Time::ZERO.after(at)), "the next timer");
        self.due()
    }

    /// Lets what was due come due later, as after a box was suspended.
    #[track_caller]
    pub(super) fn wake_at(&mut self, at: Duration) -> Orders {
        let at = Time::ZERO.after(at);
        assert!(self.deadline() < at, "nothing is due by then");
        self.now = at;
        self.input(Input::TimerDue)
    }

    #[track_caller]
    pub(super) fn idle(&self) {
        assert!(self.deadline().is_never(), "a timer is due at {}", show(self.deadline()));
    }

    pub(super) fn input(&mut self, input: Input) -> Orders {
        let mut effects = Vec::new();
        self.machine.step(self.now, input, &mut effects);
        audit(&self.machine, self.n_waits);
        let is_note = |effect: &Effect| matches!(effect, Effect::NoteFailure { .. });
        effects.retain(|effect| self.shows_notes || !is_note(effect));
        Orders(effects.into_iter().map(|effect| self.perform(effect)).collect())
    }

    pub(super) fn submit(&mut self, spec: Spec) -> Orders {
        let submission = self.submission(spec);
        self.input(Input::Submitted(submission))
    }

    pub(super) fn submit_all<const N: usize>(&mut self, specs: [Spec; N]) -> Orders {
        let batch = specs.map(|spec| self.submission(spec));
        self.input(Input::BatchSubmitted(batch.into()))
    }

    /// Submits a task and has a thread claim its first attempt.
    pub(super) fn run(&mut self, spec: Spec) {
        let name = spec.name;
        self.submit(spec).whatever();
        self.claim(name).whatever();
    }

    /// Has a thread claim the task's current attempt, now.
    pub(super) fn claim(&mut self, name: &str) -> Orders {
        let (attempt, at) = (self.attempt(name), self.now);
        self.said(attempt).claimed_at = Some(at);
        self.input(Input::Claimed { attempt, at })
    }

    /// The task's body returns and says so, now. Without a claim before, that travels with it.
    pub(super) fn returns(&mut self, name: &str, ret: Return) -> Orders {
        let attempt = self.attempt(name);
        let told = self.said(attempt).told;
        self.returns_told(name, told, ret)
    }

    /// As [`returns`](Self::returns), with what the body was told.
    pub(super) fn returns_told(
        &mut self,
        name: &str,
        told: Option<CancelReason>,
        ret: Return,
    ) -> Orders {
        let attempt = self.attempt(name);
        self.attempt_returns(attempt, told, ret)
    }

    /// As [`returns_told`](Self::returns_told), for an attempt that may not be the latest.
    pub(super) fn attempt_returns(
        &mut self,
        attempt: AttemptAddr,
        told: Option<CancelReason>,
        ret: Return,
    ) -> Orders {
        let at = self.now;
        let claimed_at = self.said(attempt).claimed_at.unwrap_or(at);
        self.said(attempt).told = told;
        let (dropped, retry_after) = (mem::take(&mut self.dropped), self.retry_after.take());
        self.input(Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after })
    }

    /// As [`returns`](Self::returns), with an error that asks for a delay before its retry.
    pub(super) fn fails_for(&mut self, name: &str, delay: Duration) -> Orders {
        self.retry_after = Some(delay);
        self.returns(name, Return::Failed)
    }

    /// As [`returns`](Self::returns), from a worker that has dropped the body.
    pub(super) fn returns_dropped(&mut self, name: &str, ret: Return) -> Orders {
        self.dropped = true;
        self.returns(name, ret)
    }

    /// The body is dropped.
    pub(super) fn closed(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::Closed { attempt })
    }

    /// Its drop was taken up then, and takes long.
    pub(super) fn closing_slow(&mut self, name: &str, since: Duration) -> Orders {
        let (attempt, since) = (self.attempt(name), Time::ZERO.after(since));
        self.input(Input::ClosingSlow { attempt, since })
    }

    /// The answer to `AbandonClosing`.
    pub(super) fn closing_answered(&mut self, name: &str, answer: ClosingAnswer) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::ClosingAnswered { attempt, answer })
    }

    /// The answer to `Tell`: in time.
    pub(super) fn told(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        let said = self.said(attempt);
        said.told = said.ordered;
        self.input(Input::TellAnswered { attempt, answer: TellAnswer::Told })
    }

    /// The answer to `Tell`: too late.
    pub(super) fn not_told(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::TellAnswered { attempt, answer: TellAnswer::AlreadyReturned })
    }

    /// The answer to `Tell`: the body had moved its deadline.
    pub(super) fn moved(&mut self, name: &str, deadline: Duration) -> Orders {
        let attempt = self.attempt(name);
        self.said(attempt).ordered = None;
        let answer = TellAnswer::DeadlineMoved(Time::ZERO.after(deadline));
        self.input(Input::TellAnswered { attempt, answer })
    }

    /// The answer to `Look`.
    pub(super) fn looked(&mut self, name: &str, alive: bool) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::Looked { attempt, alive })
    }

    /// A look that is due then, and what it finds.
    #[track_caller]
    pub(super) fn look_at(&mut self, at: Duration, name: &str, alive: bool) -> Orders {
        let attempt = self.attempt(name).number;
        self.due_at(at).gives(&format!("look at {name}/{attempt}"));
        self.looked(name, alive)
    }

    /// The answer to `Revoke`.
    pub(super) fn revoked(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::RevokeAnswered { attempt, answer: RevokeAnswer::Revoked })
    }

    /// The answer to `Revoke`: a thread was faster, just now.
    pub(super) fn not_revoked(&mut self, name: &str) -> Orders {
        let (attempt, at) = (self.attempt(name), self.now);
        self.said(attempt).claimed_at = Some(at);
        self.input(Input::RevokeAnswered { attempt, answer: RevokeAnswer::AlreadyClaimed(at) })
    }

    /// The answer to `Abandon`.
    pub(super) fn abandoned(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::AbandonAnswered {
            attempt,
            answer: AbandonAnswer::Abandoned { last: false },
        })
    }

    /// Has the attempt abandoned when its grace is over.
    #[track_caller]
    pub(super) fn abandon(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name).number;
        self.due().gives(&format!("abandon {name}/{attempt}"));
        self.abandoned(name)
    }

    /// The answer to `Abandon`: too late, or too early.
    pub(super) fn not_abandoned(&mut self, name: &str) -> Orders {
        let attempt = self.attempt(name);
        self.input(Input::AbandonAnswered { attempt, answer: AbandonAnswer::NotAbandoned })
    }

    pub(super) fn stop(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::StopRequested(task))
    }

    /// Stops a running task that is told in time.
    pub(super) fn stop_told(&mut self, name: &str) {
        self.stop(name).whatever();
        self.told(name).whatever();
    }

    pub(super) fn stop_slot(&mut self, slot: &str) -> Orders {
        let slot = self.names.find_slot(slot).expect("a slot in use");
        self.input(Input::SlotStopRequested(slot))
    }

    /// A body waits for a task.
    pub(super) fn awaits(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.n_waits += 1;
        self.input(Input::WaitBegan(task))
    }

    pub(super) fn awaits_no_more(&mut self, name: &str) -> Orders {
        let task = self.task(name);
        self.input(Input::WaitEnded(task))
    }

    pub(super) fn drain(&mut self, limit: Duration) -> Orders {
        self.input(Input::DrainRequested { cause: ShutdownCause::Requested, limit })
    }

    /// No submission waits to be decided.
    pub(super) fn intake_empty(&mut self) -> Orders {
        self.input(Input::IntakeEmpty)
    }

    pub(super) fn shutdown(&mut self) -> Orders {
        self.input(Input::ShutdownRequested(ShutdownCause::Requested))
    }

    pub(super) fn signal(&mut self) -> Orders {
        self.input(Input::SignalReceived(Signal::TERM))
    }

    pub(super) fn flushed(&mut self) -> Orders {
        self.input(Input::EventsFlushed)
    }

    /// The state's name; "gone" for a task that is forgotten.
    pub(super) fn state(&self, name: &str) -> &'static str {
        let task = self.task(name);
        let found = self.machine.tasks().get(task.key).filter(|found| found.addr.id == task.id);
        found.map_or("gone", |found| found.state.name().label())
    }

    pub(super) fn is_paused(&self, name: &str) -> bool {
        let found = self.machine.tasks().get(self.task(name).key);
        found.is_some_and(crate::machine::Task::is_paused)
    }

    pub(super) fn streak(&self, name: &str) -> u32 {
        self.machine.tasks().get(self.task(name).key).expect("it is not forgotten").streak
    }

    /// "idle", "running" or "terminating", and since when.
    pub(super) fn slot(&self, slot: &str) -> String {
        let Some(key) = self.names.find_slot(slot) else { return "idle".to_owned() };
        let Some(owner) = self.machine.slots().get(key).owner else { return "idle".to_owned() };
        let owner = self.machine.tasks().get(owner).expect("an owner is a task");
        let name = self.names.task(owner.addr.id);
        match owner.state.terminating_since(owner.since) {
            Some(since) => format!("{name} terminating since {}", show(since)),
            None => format!("{name} running since {}", show(owner.owner_since)),
        }
    }

    pub(super) fn permits(&self) -> (u32, u32) {
        (self.machine.permits_held(), self.machine.waiting_for_permit())
    }

    /// How many permits of a class are held, and how many tasks wait for one.
    pub(super) fn class(&self, class: usize) -> (u32, u32) {
        let class = &self.machine.classes()[class];
        (class.held(), class.line.waiting())
    }

    pub(super) fn stale(&self) -> u64 {
        self.machine.stale
    }

    /// How much is stuck, and how many attempts of that are released.
    pub(super) fn stuck(&self) -> (u32, usize) {
        (self.machine.stuck, self.machine.released.len())
    }

    pub(super) fn has_drained(&self) -> bool {
        self.machine.has_drained()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    /// What the order to start the current attempt said about being the last.
    pub(super) fn finality(&self, name: &str) -> Finality {
        let attempt = self.attempt(name);
        self.said[&(attempt.task.id, attempt.number)].finality.expect("an attempt was ordered")
    }

    pub(super) fn task(&self, name: &str) -> TaskAddr {
        self.names.find_task(name)
    }

    /// The latest attempt that was ordered.
    pub(super) fn attempt(&self, name: &str) -> AttemptAddr {
        let task = self.task(name);
        let of_task = (task.id, 0)..=(task.id, u64::MAX);
        let latest = self.said.range(of_task).next_back();
        AttemptAddr { task, number: latest.map_or(0, |((_, attempt), _)| *attempt) }
    }

    fn said(&mut self, attempt: AttemptAddr) -> &mut Said {
        self.said.entry((attempt.task.id, attempt.number)).or_default()
    }

    pub(super) const fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn name(&self, task: TaskId) -> &'static str {
        self.names.task(task)
    }

    pub(super) fn submission(&mut self, spec: Spec) -> Submission {
        let key = spec.key_of.map(|name| self.task(name).key);
        Submission {
            addr: self.names.new_task(spec.name, key),
            slot: spec.slot.map(|slot| self.names.intern_slot(slot)),
            policy: spec.policy,
            plan: spec.plan.into(),
            submitted_at: spec.submitted_at.map_or(self.now, |at| Time::ZERO.after(at)),
            cancelled: spec.cancelled,
            gives_back: spec.gives_back,
        }
    }

    /// Keeps what later steps of the script need, and writes the effect out.
    fn perform(&mut self, effect: Effect) -> String {
        let line = self.names.render(effect);
        match effect {
            Effect::Start { attempt, finality, .. } => {
                self.said(attempt).finality = Some(finality);
            }
            Effect::Tell { attempt, reason, .. } => self.said(attempt).ordered = Some(reason),
            Effect::Publish(Notice::AttemptEnded { attempt, told, .. }) => {
                assert_eq!(told, self.said(attempt).told, "the event says what was told");
            }
            Effect::ForgetSlot { slot } => self.names.forget_slot(slot),
            _ => {}
        }
        line
    }
}
