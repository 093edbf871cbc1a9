//! The one entry point: [`Machine::step`] takes a fact and returns the orders;
//! [`Machine::deadline`] says when the next timer is due.

use alloc::vec::Vec;

use super::effect::{Answer, Effect, Notice};
use super::input::Input;
use super::line::{Class, Line};
use super::phase::Phase;
use super::rng::Rng;
use super::roster::{GroupAct, Groups};
use super::slot::Slots;
use super::task::{State, Task, Wait};
use super::tasks::Tasks;
use super::timer::Timers;
use crate::vocabulary::id::{AttemptAddr, TaskAddr, TaskKey};
use crate::vocabulary::plan::{Interval, Limits};
use crate::vocabulary::reason::{Rejection, StopReason};
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::Time;

/// All state of a supervisor and all its rules.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(super) now: Time,
    pub(super) limits: Limits,
    /// Whether anybody hears of what goes well. If not, most notices of each task are not made.
    pub(super) heard: bool,
    pub(super) rng: Rng,
    pub(super) tasks: Tasks,
    pub(super) slots: Slots,
    pub(super) timers: Timers,
    /// The number of permits that are held; more than there are if bodies wait for tasks.
    pub(super) permits: u32,
    /// Owners that wait for a permit, in order.
    pub(super) runnable: Line,
    pub(super) classes: Vec<Class>,
    pub(super) groups: Groups,
    /// `None` if there was never a group.
    pub(super) group_rules: Option<GroupRules>,
    /// The tasks that bodies wait for.
    pub(super) awaited: SortedMap<TaskKey, ()>,
    /// The number of tasks without an outcome.
    pub(super) open: u32,
    pub(super) phase: Phase,
    /// Abandoned attempts and closings that still run, but whose tasks went on without them.
    pub(super) released: Vec<Released>,
    /// The number of attempts, hooks and closings that outlived their grace and still run.
    pub(super) stuck: u32,
    /// The number of messages about tasks or attempts that no longer exist.
    pub(super) stale: u64,
}

/// The rules for groups; says whether they did what was asked.
type GroupRules = fn(&mut Machine, GroupAct, &mut Vec<Effect>) -> bool;

/// An abandoned attempt, or the closing after it, that its task does not wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Released {
    pub(super) attempt: AttemptAddr,
    pub(super) since: Time,
    pub(super) closing: bool,
}

impl Machine {
    /// A machine without tasks that does not know the rules for groups yet. The seed affects only
    /// the jitter.
    pub(crate) fn without_groups(limits: Limits, seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            classes: limits.classes.iter().map(|&limit| Class::new(limit)).collect(),
            timers: Timers::new(limits.timer_slack),
            limits,
            heard: true,
            rng: Rng::new(seed),
            tasks: Tasks::default(),
            slots: Slots::default(),
            permits: 0,
            runnable: Line::default(),
            groups: Groups::default(),
            group_rules: None,
            awaited: SortedMap::default(),
            open: 0,
            phase: Phase::Running,
            released: Vec::new(),
            stuck: 0,
            stale: 0,
        }
    }

    /// There is no subscriber.
    pub(crate) fn leave_unheard(&mut self) {
        self.heard = false;
    }

    /// Takes a fact that is known at `now` and appends the effects, which must be performed in this
    /// order and before the next fact.
    // It has one arm for each input.
    #[allow(clippy::too_many_lines)]
    pub(crate) fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        debug_assert!(now >= self.now, "time went back");
        self.now = self.now.max(now);

        match input {
            // Requests of users.
            Input::Submitted(submission) => self.submit(submission, out),
            Input::BatchSubmitted(batch) => self.submit_batch(batch, out),
            Input::GroupSubmitted(submission) => {
                self.by_group_rules(GroupAct::Submit(submission), out);
            }
            Input::GroupStopRequested(group) => {
                self.by_group_rules(GroupAct::Stop(group), out);
            }
            Input::GroupRestartRequested(group) => {
                let taken = self.by_group_rules(GroupAct::Restart(group), out);
                out.push(Effect::Answer(Answer::Taken(taken)));
            }
            Input::StopRequested(task) => {
                if let Some(key) = self.find_task(task) {
                    self.stop(key, StopReason::Stop, out);
                }
            }
            Input::SlotStopRequested(slot) => self.stop_slot(slot, out),
            Input::SkipRequested(task) => self.answer(task, out, Self::skip_wait),
            Input::RestartRequested(task) => self.answer(task, out, Self::restart),
            Input::PauseRequested(task) => self.answer(task, out, Self::pause),
            Input::ResumeRequested(task) => self.answer(task, out, Self::resume),
            Input::IntervalRequested { task, interval } => {
                self.answer(task, out, |this, key, out| this.set_interval(key, interval, out));
            }
            Input::ClassLimitRequested { class, limit } => self.set_class_limit(class, limit, out),
            Input::WaitBegan(task) => {
                if let Some(key) = self.find_task(task) {
                    self.wait_began(key, out);
                }
            }
            Input::WaitEnded(task) => {
                if let Some(key) = self.find_task(task) {
                    self.wait_ended(key);
                }
            }
            Input::DrainRequested { cause, limit } => self.begin_drain(cause, limit, out),
            Input::IntakeEmpty => self.intake_empty(out),
            Input::ShutdownRequested(cause) => self.begin_shutdown(cause, out),
            Input::SignalReceived(signal) => self.signal(signal, out),

            // Reports of threads about their attempts.
            Input::Claimed { attempt, at } => {
                self.with_attempt(attempt, |this, key| this.claimed(key, at, out));
            }
            Input::Ready { attempt, claimed_at, at, until } => {
                self.with_attempt(attempt, |this, key| this.ready(key, claimed_at, at, until, out));
            }
            Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after } => {
                // A released attempt no longer belongs to its task, so these are searched first.
                if !self.returned_released(attempt, at, ret, out) {
                    self.with_attempt(attempt, |this, key| {
                        this.tasks[key].holds_body &= !dropped;
                        // A stop asked in the meantime came too late to be told.
                        if let State::Starting { .. } = this.tasks[key].state {
                            this.begin(key, claimed_at, out);
                        }
                        this.returned(key, at, told, ret, retry_after, out);
                    });
                }
            }

            // Answers to orders that may come too late.
            Input::RevokeAnswered { attempt, answer } => {
                self.with_attempt(attempt, |this, key| this.revoke_answered(key, answer, out));
            }
            Input::TellAnswered { attempt, answer } => {
                self.with_attempt(attempt, |this, key| this.tell_answered(key, answer, out));
            }
            Input::AbandonAnswered { attempt, answer } => {
                self.with_attempt(attempt, |this, key| this.abandon_answered(key, answer, out));
            }
            Input::Looked { attempt, alive } => {
                self.with_attempt(attempt, |this, key| this.looked(key, alive, out));
            }

            // Bodies that will not run again.
            Input::ClosingSlow { attempt, since } => self.closing_slow(attempt, since, out),
            Input::ClosingAnswered { attempt, answer } => {
                self.closing_answered(attempt, answer, out);
            }
            Input::Closed { attempt } => self.closed(attempt, out),

            Input::HookAbandoned => self.stuck += 1,
            Input::HookReturned => self.stuck = self.stuck.saturating_sub(1),
            Input::EventsFlushed => self.end_flush(out),
            Input::TimerDue => self.fire_timers(out),
        }

        // Any input may have changed something for a drain or about a group, each of these may have
        // for the other, and any may have led to the last outcome.
        loop {
            if self.take_parting() {
                self.part_with_residents(out);
            } else if self.groups.touched.is_empty() {
                break;
            } else {
                self.by_group_rules(GroupAct::Advance, out);
            }
        }
        self.advance_shutdown(out);
    }

    /// When to pass in [`Input::TimerDue`] next, at the latest; `NEVER` if there is no timer.
    pub(crate) fn deadline(&self) -> Time {
        self.timers.deadline().min(self.phase.deadline())
    }

    /// Whether [`Input::TimerDue`] would do something now: whoever is awake need not wait for the
    /// [deadline](Self::deadline), so that one wake-up serves all.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.timers.next_due().min(self.phase.deadline()) <= now
    }

    /// Whether every task has its outcome.
    pub(crate) const fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Whether no shutdown has begun.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Draining(_))
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) const fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub(crate) const fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) const fn permits_held(&self) -> u32 {
        self.permits
    }

    pub(crate) const fn waiting_for_permit(&self) -> u32 {
        self.runnable.waiting()
    }

    /// When the task's timer is due: the start, the deadline or the next look, the end of the
    /// grace, or the expiry. A start may come later by `timer_slack`.
    // Only audits ask.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn due(&self, key: TaskKey) -> Time {
        self.timers.due(key)
    }

    /// Whether fewer attempts, hooks and closings are stuck than `max_abandoned` allows.
    pub(crate) const fn is_below_cap(&self) -> bool {
        self.stuck < self.limits.max_abandoned
    }

    /// Has the rules for groups do something; says whether they did.
    pub(super) fn by_group_rules(&mut self, act: GroupAct, out: &mut Vec<Effect>) -> bool {
        debug_assert!(self.group_rules.is_some() || !matches!(act, GroupAct::Submit(_)));
        self.group_rules.is_some_and(|rules| rules(self, act, out))
    }

    /// The one place where a message about a task that no longer exists is dropped.
    pub(super) fn find_task(&mut self, task: TaskAddr) -> Option<TaskKey> {
        let found = self.tasks.find(task);
        self.stale += u64::from(found.is_none());
        found
    }

    /// Serves a message about an attempt, if that still exists.
    fn with_attempt(&mut self, attempt: AttemptAddr, serve: impl FnOnce(&mut Self, TaskKey)) {
        if let Some(key) = self.find_attempt(attempt) {
            serve(self, key);
        }
    }

    /// An attempt exists from its order to its return, and its task holds a permit for that time.
    fn find_attempt(&mut self, attempt: AttemptAddr) -> Option<TaskKey> {
        let key = self.find_task(attempt.task)?;
        let found = &self.tasks[key];
        let current = found.attempt == attempt.number && found.state.holds_permit();
        self.stale += u64::from(!current);
        current.then_some(key)
    }

    /// Moves a task to a state, with the state's one timer.
    pub(super) fn enter(&mut self, key: TaskKey, state: State, due: Time) {
        let now = self.now;
        let task = &mut self.tasks[key];
        task.state = state;
        task.since = now;
        let is_member = task.is_member();
        self.set_timer(key, due);
        if is_member {
            self.touch_group(key);
        }
    }

    /// Sets the timer of a task's state. A wait for a delay, a retry or an interval may end late,
    /// so that one wake-up ends several.
    pub(super) fn set_timer(&mut self, key: TaskKey, due: Time) {
        let task = &self.tasks[key];
        let may_be_late = match task.state {
            State::Waiting(Wait::InitialDelay | Wait::Backoff { .. }) => true,
            State::Waiting(Wait::Interval) => task.plan.interval != Interval::None,
            State::Waiting(Wait::Spacing | Wait::Paused | Wait::Phase)
            | State::Intake
            | State::Queued
            | State::Runnable
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Abandoned { .. }
            | State::Closing(_)
            | State::Over => false,
        };
        if may_be_late {
            self.timers.set_patient(key, due);
        } else {
            self.timers.set(key, due);
        }
    }

    /// Serves all due timers one by one, because serving one may clear or set others.
    fn fire_timers(&mut self, out: &mut Vec<Effect>) {
        while let Some(key) = self.timers.pop_due(self.now) {
            match self.tasks[key].state {
                State::Queued | State::Runnable => {
                    self.end(key, super::End::Rejected(Rejection::Expired), out);
                }
                State::Starting { stop, sent_back, .. } => {
                    // A thread may have claimed it by now: only the cell knows.
                    self.tasks[key].state = State::Starting { stop, expired: true, sent_back };
                    out.push(Effect::Revoke { attempt: self.tasks[key].attempt_addr() });
                }
                State::Running { .. } => self.running_due(key, out),
                State::Stopping { .. } | State::Closing(_) => self.order_abandon(key, out),
                State::Waiting(_) => self.end_wait(key, out),
                State::Intake | State::Abandoned { .. } | State::Over => {
                    debug_assert!(false, "a timer in a state that has none");
                }
            }
        }

        if self.phase.deadline() <= self.now {
            self.end_drain(out);
            self.end_flush(out);
            self.step_down();
        }
    }

    pub(super) fn task_mut(&mut self, key: TaskKey) -> &mut Task {
        &mut self.tasks[key]
    }

    pub(super) fn publish(out: &mut Vec<Effect>, notice: Notice) {
        out.push(Effect::Publish(notice));
    }
}
