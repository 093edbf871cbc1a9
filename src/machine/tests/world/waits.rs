//! Every wait ends: what has to happen by some moment, told from the inputs and the orders alone,
//! and late once that moment has passed. That nothing happens too soon is for `seen_task`
//! and `seen_attempt` to say.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::closings::MAX_OFFER;
use super::{MAX_DELAY, MAX_LATENESS, MAX_REACTION};
use crate::machine::{Answer, Effect, Input, Notice, Submission};
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::backoff::MIN_SPACING;
use crate::vocabulary::id::{AttemptAddr, SlotKey, TaskId};
use crate::vocabulary::plan::{AtDrain, Interval, Limits, Plan, SLOW};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::Decision;
use crate::vocabulary::time::Time;

/// A stop may take an answer to a revocation, one to a tell, one to an abandonment, and a report;
/// each of them at its slowest, and behind a timer at its latest.
const ANSWERS: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// Until a thread has the first attempt: the expiry.
    Start,
    /// Until the body is told or has returned: the deadline.
    Deadline,
    /// Until the body has returned or is given up: the grace.
    Grace,
    /// Until the next attempt is offered or waits for a permit: the wait before it.
    Next,
    /// Until the outcome of a task that was asked to stop.
    Outcome,
}

struct Task {
    plan: Plan,
    slot: Option<SlotKey>,
    policy: AdmissionPolicy,
    expires_at: Time,
    is_owner: bool,
    /// The latest that has begun.
    attempt: u64,
    /// It is an owner, and none is ordered.
    is_idle: bool,
    /// One that was abandoned, and has not come back.
    held: Option<u64>,
    /// It is paused, and so long was left for its start.
    paused: Option<Duration>,
    /// When its latest attempt ended or it was resumed, and whether a retry follows.
    idle_since: Time,
    retries: bool,
}

pub(super) struct Waits {
    limits: Limits,
    /// The grace that a shutdown uses up at most.
    grace: Duration,
    /// Those without outcome.
    tasks: BTreeMap<TaskId, Task>,
    ends: BTreeMap<(TaskId, Wait), Time>,
    /// When a shutdown begins after a drain that has begun.
    drain: Option<Time>,
    /// When a shutdown is over that has begun.
    shutdown: Time,
    finished: bool,
}

impl Waits {
    /// An obedient world is one whose bodies all return soon after they are told.
    pub(super) fn new(limits: Limits, obedient: bool) -> Self {
        Self {
            grace: if obedient { MAX_REACTION.min(limits.grace) } else { limits.grace },
            limits,
            tasks: BTreeMap::new(),
            ends: BTreeMap::new(),
            drain: None,
            shutdown: Time::NEVER,
            finished: false,
        }
    }

    /// The controller sleeps, so that all it is to do is late.
    pub(super) fn stall(&mut self, span: Duration) {
        self.ends.values_mut().for_each(|end| *end = end.after(span));
        self.drain = self.drain.map(|end| end.after(span));
        self.shutdown = self.shutdown.after(span);
    }

    pub(super) fn submitted(&mut self, submission: &Submission) {
        let plan = Plan::clone(&submission.plan);
        let expires_at =
            plan.expires_in.map_or(Time::NEVER, |span| submission.submitted_at.after(span));
        let (slot, policy) = (submission.slot, submission.policy);
        let task = Task {
            plan,
            slot,
            policy,
            expires_at,
            is_owner: false,
            attempt: 0,
            is_idle: false,
            held: None,
            paused: None,
            idle_since: Time::ZERO,
            retries: false,
        };
        self.tasks.insert(submission.addr.id, task);
    }

    pub(super) fn step(&mut self, now: Time, input: &Input, effects: &[Effect]) {
        for ((task, wait), end) in &self.ends {
            assert!(now <= *end, "{task} waits too long: {wait:?} had to end by {end:?}");
        }
        assert!(
            self.drain.map_or(true, |end| now <= end),
            "the drain had to end by {:?}",
            self.drain
        );
        assert!(now <= self.shutdown, "the shutdown had to end by {:?}", self.shutdown);
        self.input(now, input, effects);
        for &effect in effects {
            self.effect(now, effect);
        }
    }

    fn input(&mut self, now: Time, input: &Input, effects: &[Effect]) {
        let taken = effects.contains(&Effect::Answer(Answer::Taken(true)));
        match *input {
            Input::StopRequested(task) => self.asked(now, task.id, Duration::MAX),
            Input::SlotStopRequested(slot) => {
                let named = self.tasks.iter().filter(|(_, task)| task.slot == Some(slot));
                for task in named.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.asked(now, task, Duration::MAX);
                }
            }
            Input::SkipRequested(task) if taken => self.hurry(now, task.id),
            Input::RestartRequested(task) if taken => self.hurry(now, task.id),
            Input::IntervalRequested { task, interval } if taken => {
                self.interval_set(now, task.id, interval);
            }
            Input::TellAnswered { attempt, answer: TellAnswer::DeadlineMoved(deadline) } => {
                let task = attempt.task.id;
                // An answer about the attempt before may be later than the tell of the next.
                let known = self.tasks.get(&task).map(|known| known.attempt);
                let current = known == Some(attempt.number);
                if current && self.ends.remove(&(task, Wait::Grace)).is_some() {
                    self.begin(task, Wait::Deadline, deadline.max(now));
                }
            }
            _ => {}
        }
    }

    fn effect(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Decide { task, decision: Decision::Admitted | Decision::Queued { .. } } => {
                let known = &self.tasks[&task.id];
                let (policy, slot, expires_at) = (known.policy, known.slot, known.expires_at);
                self.begin(task.id, Wait::Start, expires_at);
                let queued =
                    matches!(effect, Effect::Decide { decision: Decision::Queued { .. }, .. });
                if queued && policy == AdmissionPolicy::Replace {
                    let owner = self.tasks.iter().find(|(_, it)| it.slot == slot && it.is_owner);
                    if let Some((&owner, _)) = owner {
                        self.asked(now, owner, Duration::MAX);
                    }
                }
            }
            Effect::Start { attempt, .. } => {
                self.end(attempt.task.id, Wait::Next);
                self.set_idle(attempt.task.id, None);
            }
            Effect::Tell { attempt, grace_until, .. } => {
                self.end(attempt.task.id, Wait::Deadline);
                self.begin(attempt.task.id, Wait::Grace, grace_until.max(now));
            }
            Effect::Finalize { attempt, grace_until } => {
                let until = slow(grace_until.max(now));
                if let Some(grace) = self.ends.get_mut(&(attempt.task.id, Wait::Grace)) {
                    *grace = until.min(*grace);
                }
            }
            Effect::Deliver { task, .. } => {
                self.tasks.remove(&task.id);
                self.ends.retain(|(of, _), _| *of != task.id);
            }
            Effect::BeginDrain { until } => {
                if self.drain.is_none() {
                    let stopped = self.tasks.iter().filter(|(_, task)| match task.plan.at_drain {
                        AtDrain::GoOn => false,
                        AtDrain::Finish => task.is_idle || task.held.is_some(),
                        AtDrain::Stop => true,
                    });
                    for task in stopped.map(|(id, _)| *id).collect::<Vec<_>>() {
                        self.asked(now, task, Duration::MAX);
                    }
                }
                self.drain = Some(slow(until));
            }
            Effect::CloseDoor { .. } => {
                self.drain = None;
                let end = now.after(self.grace).after(self.limits.event_flush);
                self.shutdown = slow(end);
                self.ask_all(now, self.limits.grace);
            }
            Effect::RestoreSignals => {
                self.shutdown = self.shutdown.min(slow(now.after(self.limits.event_flush)));
                self.ask_all(now, Duration::ZERO);
            }
            Effect::Finish => (self.shutdown, self.finished) = (Time::NEVER, true),
            Effect::Publish(notice) => self.notice(now, notice),
            _ => {}
        }
    }

    fn notice(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::TaskClosing { attempt } => {
                let task = attempt.task.id;
                let Some(known) = self.tasks.get(&task) else { return };
                let until = now.after(MAX_OFFER).after(known.plan.grace.max(SLOW));
                let asked = self.ends.get(&(task, Wait::Outcome)).copied();
                self.ends.retain(|(of, _), _| *of != task);
                self.begin(task, Wait::Outcome, until);
                if let (Some(asked), false) = (asked, self.shutdown.is_never()) {
                    self.ends.insert((task, Wait::Outcome), slow(until).min(asked));
                }
            }
            Notice::Admitted { task } => {
                let known = self.tasks.get_mut(&task.id).expect("admitted before its end");
                known.is_owner = true;
                let delay = known.plan.initial_delay;
                self.set_idle(task.id, Some(now));
                self.begin(task.id, Wait::Next, now.after(delay));
                if let Some(expiry) = self.ends.get_mut(&(task.id, Wait::Start)) {
                    *expiry = expiry.after(delay);
                }
            }
            Notice::WaitingForPermit { task, .. } => self.end(task.id, Wait::Next),
            Notice::AttemptStarting { attempt } => {
                let task = attempt.task.id;
                let known = self.tasks.get_mut(&task).expect("it has begun before its end");
                known.attempt = attempt.number;
                let timeout = known.plan.timeout.unwrap_or(Duration::MAX);
                self.end(task, Wait::Start);
                self.begin(task, Wait::Deadline, now.after(timeout));
            }
            Notice::TaskPaused { task } => self.pause(now, task.id),
            Notice::TaskResumed { task } => self.resume(now, task.id),
            Notice::AttemptEnded { attempt, .. } => {
                self.set_idle(attempt.task.id, Some(now));
                self.end(attempt.task.id, Wait::Deadline);
                self.end(attempt.task.id, Wait::Grace);
                self.begin(attempt.task.id, Wait::Next, now.after(MIN_SPACING));
                self.finished(now, attempt.task.id);
            }
            Notice::AttemptAbandoned { attempt, released, .. } => {
                self.finished(now, attempt.task.id);
                self.end(attempt.task.id, Wait::Grace);
                if released {
                    self.set_idle(attempt.task.id, Some(now));
                } else if let Some(known) = self.tasks.get_mut(&attempt.task.id) {
                    known.held = Some(attempt.number);
                }
            }
            Notice::AttemptReturned { attempt, .. } => self.returned(now, attempt),
            Notice::RetryScheduled { attempt, delay, .. }
            | Notice::RunScheduled { attempt, delay } => {
                if let Some(known) = self.tasks.get_mut(&attempt.task.id) {
                    known.retries = matches!(notice, Notice::RetryScheduled { .. });
                }
                let next = now.after(delay).after(MIN_SPACING);
                self.begin(attempt.task.id, Wait::Next, next);
            }
            _ => {}
        }
    }

    fn begin(&mut self, task: TaskId, wait: Wait, end: Time) {
        // Nothing has to start while it is paused.
        let paused = self.tasks.get(&task).is_some_and(|known| known.paused.is_some());
        if paused && wait == Wait::Next {
            return;
        }
        let slack = if wait == Wait::Next { self.limits.timer_slack } else { Duration::ZERO };
        self.ends.insert((task, wait), slow(end.after(slack)));
    }

    fn end(&mut self, task: TaskId, wait: Wait) {
        self.ends.remove(&(task, wait));
    }

    fn set_idle(&mut self, task: TaskId, since: Option<Time>) {
        if let Some(known) = self.tasks.get_mut(&task) {
            known.is_idle = since.is_some();
            known.idle_since = since.unwrap_or(known.idle_since);
        }
    }

    /// An attempt that was held has come back; what was released is no longer waited for.
    fn returned(&mut self, now: Time, attempt: AttemptAddr) {
        let held = self.tasks.get_mut(&attempt.task.id).and_then(|known| known.held.take());
        if held == Some(attempt.number) {
            self.set_idle(attempt.task.id, Some(now));
        }
    }

    fn pause(&mut self, now: Time, task: TaskId) {
        self.end(task, Wait::Next);
        let start = self.ends.remove(&(task, Wait::Start));
        let left = start.map_or(Duration::MAX, |start| now.until(start));
        let known = self.tasks.get_mut(&task).expect("paused before its end");
        known.paused = Some(left);
    }

    fn resume(&mut self, now: Time, task: TaskId) {
        let known = self.tasks.get_mut(&task).expect("resumed before its end");
        let left = known.paused.take().expect("only what is paused is resumed");
        let (is_idle, started) = (known.is_idle, known.attempt > 0);
        (known.idle_since, known.retries) = (now, false);
        let step = match known.plan.interval {
            Interval::Rate(step) if started => step,
            _ => Duration::ZERO,
        };
        if !started {
            self.ends.insert((task, Wait::Start), now.after(left));
        }
        if is_idle {
            self.begin(task, Wait::Next, now.after(step).after(MIN_SPACING));
        }
    }

    fn interval_set(&mut self, now: Time, task: TaskId, interval: Duration) {
        let known = self.tasks.get_mut(&task).expect("set before its end");
        let due = known.idle_since.after(interval);
        let (step, is_grid) = match known.plan.interval {
            Interval::Rate(_) => (Interval::Rate(interval), true),
            _ => (Interval::Delay(interval), false),
        };
        known.plan.interval = step;
        let (retries, first) = (known.retries, known.attempt == 0);
        let Some(&next) = self.ends.get(&(task, Wait::Next)) else { return };
        // A retry has a delay of its own, an initial delay stays as it is.
        let end = match retries || first {
            true if is_grid => next.max(due).after(interval),
            true => next.max(due),
            false => due,
        };
        self.begin(task, Wait::Next, end.max(now).after(MIN_SPACING));
    }

    /// Its next attempt is wanted now.
    fn hurry(&mut self, now: Time, task: TaskId) {
        if let Some(next) = self.ends.get_mut(&(task, Wait::Next)) {
            *next = slow(now.after(MIN_SPACING)).min(*next);
        }
    }

    fn ask_all(&mut self, now: Time, grace: Duration) {
        for task in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.asked(now, task, grace);
        }
    }

    /// Nothing may follow an attempt that has ended.
    fn finished(&mut self, now: Time, task: TaskId) {
        let known = self.tasks.get(&task);
        let ends = known.is_some_and(|known| known.plan.at_drain == AtDrain::Finish);
        if ends && self.drain.is_some() {
            self.asked(now, task, Duration::MAX);
        }
    }

    /// A stop was asked of a task, with so much grace at most: whatever its body does, its outcome
    /// follows.
    fn asked(&mut self, now: Time, task: TaskId, grace: Duration) {
        let Some(known) = self.tasks.get(&task) else { return };
        let (plan, mut most) = (&known.plan, known.plan.grace);
        if plan.needs_drop {
            most = most.saturating_add(MAX_OFFER).saturating_add(plan.grace.max(SLOW));
        }
        let until = slow(now.after(most.min(grace)));
        let outcome = self.ends.entry((task, Wait::Outcome)).or_insert(until);
        *outcome = until.min(*outcome);
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        assert!(self.finished && self.tasks.is_empty(), "somebody waits for ever");
    }
}

/// The latest moment for something that is due then.
fn slow(due: Time) -> Time {
    due.after((MAX_DELAY + MAX_LATENESS) * ANSWERS)
}
