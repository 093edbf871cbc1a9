//! What the worlds have gone through: every input, order, event, end and policy, and every pair of
//! a state and an event that the section `State × event` of `guide::rules` calls possible.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::groups::SIGHTS;
use super::pairs::PAIRS;
use crate::machine::step::Released;
use crate::machine::task::Wait;
use crate::machine::{
    Answer, Effect, End, Ending, Input, Machine, Notice, State, Submission, Task,
};
use crate::vocabulary::answer::{AbandonAnswer, ClosingAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::backoff::JitterPolicy;
use crate::vocabulary::id::{AttemptAddr, TaskAddr};
use crate::vocabulary::plan::{Interval, Plan};
use crate::vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};
use crate::vocabulary::reason::{
    CancelReason, Decision, FailureCause, Rejection, ShutdownCause, StopReason,
};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

type Name = &'static str;

/// Lists the variants of an enum twice: to name a value, which does not compile with one missing,
/// and to ask whether each was met.
macro_rules! variants {
    ($($type:ident { $($variant:ident),+ $(,)? })+) => {
        trait Variant { fn name(&self) -> (Name, Name); }
        $(impl Variant for $type {
            fn name(&self) -> (Name, Name) {
                let variant = match self { $($type::$variant { .. } => stringify!($variant)),+ };
                (stringify!($type), variant)
            }
        })+
        const VARIANTS: &[(Name, &[Name])] =
            &[$((stringify!($type), &[$(stringify!($variant)),+])),+];
    };
}

variants! {
    Input {
        Submitted, BatchSubmitted, GroupSubmitted, GroupStopRequested, GroupRestartRequested,
        StopRequested, SlotStopRequested, SkipRequested, RestartRequested, PauseRequested,
        ResumeRequested, IntervalRequested, ClassLimitRequested, WaitBegan, WaitEnded,
        DrainRequested, IntakeEmpty, ShutdownRequested, SignalReceived, Claimed, Ready, Returned,
        RevokeAnswered, TellAnswered, AbandonAnswered, Looked, HookAbandoned, HookReturned,
        EventsFlushed, TimerDue, ClosingSlow, ClosingAnswered, Closed,
    }
    RevokeAnswer { Revoked, AlreadyClaimed }
    TellAnswer { Told, AlreadyReturned, DeadlineMoved }
    AbandonAnswer { Abandoned, NotAbandoned }
    ClosingAnswer { Untaken, Abandoned, Dropped }
    Return { Ok, Failed, Fatal, Cancelled, Panicked }
    Effect {
        Decide, Start, Revoke, Tell, Finalize, Abandon, Look, Examine, NoteFailure,
        Release, ForgetReleased,
        Close, AbandonClosing, Deliver, Forget, ForgetSlot, Answer, Publish,
        PublishGroup, ForgetGroup,
        BeginDrain,
        NoteUnfinished, CloseDoor,
        RestoreSignals, FlushEvents, Finish,
    }
    Decision { Admitted, Queued, Rejected }
    Answer { Taken, SlotCancelled }
    Notice {
        Submitted, Admitted, Queued, Rejected, SlotTransition, WaitingForPermit, AttemptStarting,
        AttemptEnded, RetryScheduled, RunScheduled, TaskPaused, TaskResumed,
        AttemptOverdue, AttemptSilent,
        AttemptResponsive, AttemptReady, AttemptStable, AttemptsTooShort,
        AttemptAbandoned, AttemptReturned, TaskClosing, ClosingAbandoned, ClosingReturned,
        TaskEnded, DrainRequested, ShutdownRequested, ShutdownEnded,
    }
    Ending { Succeeded, Cancelled, Failed, Panicked, TimedOut, Unresponsive }
    End {
        Completed, Cancelled, Failed, Fatal, Panicked, TimedOut, Unresponsive, Abandoned, Rejected,
    }
    StopReason { ByTask, Stop, Drain, Replace, Shutdown, Group }
    CancelReason { Stop, Replace, Shutdown, Timeout, Unresponsive, Restart, Group }
    FailureCause { Failed, Panicked, TimedOut, Unresponsive, Abandoned }
    Rejection {
        BatchRefused, Expired, QueueFull, Removed, ShuttingDown, SlotBusy,
        SlotNamedTwice, Superseded, TooManyAbandoned, TooManyTasks, GroupNameInUse, GroupTooLarge,
    }
    RestartPolicy { Never, OnFailure, Always }
    AdmissionPolicy { Queue, Replace, DropIfRunning, KeepLatest }
    PanicPolicy { Failure, Fatal, Abort }
    AbandonPolicy { Hold, Release }
    WatchdogPolicy { Report, Cancel }
    JitterPolicy { None, Full, Equal, Decorrelated }
    Interval { None, Delay, Rate }
}

/// The causes that a machine is told of or makes; a controller that panics is none.
const CAUSES: &[Name] = &["requested", "dropped", "idle", "signal", "task_ended"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage(BTreeMap<(Name, Name), u64>);

impl Coverage {
    pub(super) fn met(&mut self, group: Name, name: Name) {
        *self.0.entry((group, name)).or_default() += 1;
    }

    fn variant(&mut self, value: &impl Variant) {
        let (group, name) = value.name();
        self.met(group, name);
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, n)| *self.0.entry(*what).or_default() += n);
    }

    /// How often each was met that has to be, the rarest first.
    pub(super) fn rarest(&self) -> Vec<(u64, Name, Name)> {
        let causes: &[(Name, &[Name])] = &[("cause", CAUSES)];
        let all = [VARIANTS, causes, PAIRS].concat();
        let each =
            all.iter().flat_map(|&(group, names)| names.iter().map(move |&name| (group, name)));
        // So many short runs in a row are for a script, and groups for worlds of their own.
        let elsewhere = |name: Name| name == "AttemptsTooShort" || name.contains("Group");
        let each = each.filter(|(_, name)| !elsewhere(name));
        let count = |(group, name)| (self.0.get(&(group, name)).copied().unwrap_or(0), group, name);
        let mut counts: Vec<_> = each.map(count).collect();
        counts.sort_unstable();
        counts
    }

    /// The same of what only groups bring about.
    pub(super) fn rarest_of_groups(&self) -> Vec<(u64, Name, Name)> {
        let count = |&name: &Name| {
            let seen = self.0.get(&("groups", name)).copied().unwrap_or(0);
            (seen, "groups", name)
        };
        let mut counts: Vec<_> = SIGHTS.iter().map(count).collect();
        counts.sort_unstable();
        counts
    }

    /// What a step is about to be told, and in what state that finds the tasks it concerns.
    pub(super) fn before(&mut self, machine: &Machine, now: Time, input: &Input) {
        self.variant(input);
        match input {
            Input::Submitted(submission) => self.submission(machine, now, submission),
            Input::BatchSubmitted(batch) => {
                for submission in batch {
                    self.submission(machine, now, submission);
                }
            }
            Input::SlotStopRequested(slot) => {
                let named = machine.tasks().iter().filter(|task| task.slot == Some(*slot));
                named.for_each(|task| self.met(name(task), "stop of the slot"));
            }
            Input::StopRequested(_)
            | Input::SkipRequested(_)
            | Input::RestartRequested(_)
            | Input::PauseRequested(_)
            | Input::ResumeRequested(_)
            | Input::IntervalRequested { .. }
            | Input::WaitBegan(_) => self.request(machine, input),
            Input::DrainRequested { .. }
            | Input::ShutdownRequested(_)
            | Input::SignalReceived(_) => self.before_end(machine, input),
            Input::Claimed { attempt, .. } => self.attempt(machine, *attempt, "claim"),
            Input::Ready { attempt, .. } => self.attempt(machine, *attempt, "ready"),
            Input::Returned { attempt, ret, told, .. } => {
                self.variant(ret);
                if let Some(told) = told {
                    self.variant(told);
                }
                self.attempt(machine, *attempt, "end");
            }
            Input::RevokeAnswered { .. }
            | Input::TellAnswered { .. }
            | Input::AbandonAnswered { .. }
            | Input::Looked { .. } => self.answer(machine, input),
            Input::ClosingSlow { .. } | Input::ClosingAnswered { .. } | Input::Closed { .. } => {
                self.before_closing(machine, input);
            }
            Input::TimerDue => {
                let due = machine.tasks().iter().filter(|task| machine.due(task.addr.key) <= now);
                due.for_each(|task| self.met(name(task), "timer"));
            }
            Input::GroupSubmitted(_)
            | Input::GroupStopRequested(_)
            | Input::GroupRestartRequested(_)
            | Input::ClassLimitRequested { .. }
            | Input::WaitEnded(_)
            | Input::IntakeEmpty
            | Input::HookAbandoned
            | Input::HookReturned
            | Input::EventsFlushed => {}
        }
    }

    fn answer(&mut self, machine: &Machine, input: &Input) {
        match input {
            Input::RevokeAnswered { attempt, answer } => {
                self.variant(answer);
                let revoked = *answer == RevokeAnswer::Revoked;
                let what = if revoked { "revoked" } else { "already claimed" };
                self.attempt(machine, *attempt, what);
            }
            Input::TellAnswered { attempt, answer } => {
                self.variant(answer);
                let what = match answer {
                    TellAnswer::Told => "told",
                    TellAnswer::AlreadyReturned => "already returned",
                    TellAnswer::DeadlineMoved(_) => "deadline moved",
                };
                self.attempt(machine, *attempt, what);
            }
            Input::AbandonAnswered { attempt, answer } => {
                self.variant(answer);
                let abandoned = *answer != AbandonAnswer::NotAbandoned;
                let what = if abandoned { "abandoned" } else { "not abandoned" };
                self.attempt(machine, *attempt, what);
            }
            Input::Looked { attempt, alive } => {
                let what = if *alive { "sign of life" } else { "no sign of life" };
                self.attempt(machine, *attempt, what);
            }
            _ => unreachable!("{input:?} answers no order"),
        }
    }

    fn before_end(&mut self, machine: &Machine, input: &Input) {
        match input {
            Input::DrainRequested { .. } if machine.is_draining() => {}
            Input::DrainRequested { .. } => self.all(machine, "drain"),
            Input::ShutdownRequested(cause) => {
                self.met("cause", cause.label());
                self.all(machine, "shutdown");
            }
            Input::SignalReceived(_) => {
                self.met("cause", ShutdownCause::Signal(Signal::TERM).label());
                self.all(machine, if machine.is_running() { "shutdown" } else { "urgent" });
            }
            _ => unreachable!("{input:?} ends nothing"),
        }
    }

    fn before_closing(&mut self, machine: &Machine, input: &Input) {
        match input {
            Input::ClosingSlow { attempt, .. } => self.closing(machine, *attempt, "slow"),
            Input::ClosingAnswered { attempt, answer } => {
                self.variant(answer);
                let what = match answer {
                    ClosingAnswer::Untaken => "untaken",
                    ClosingAnswer::Abandoned => "abandoned",
                    ClosingAnswer::Dropped => "dropped",
                };
                self.closing(machine, *attempt, what);
            }
            Input::Closed { attempt } => self.closing(machine, *attempt, "closed"),
            _ => unreachable!("{input:?} is not about a closing"),
        }
    }

    fn request(&mut self, machine: &Machine, input: &Input) {
        match *input {
            Input::StopRequested(task) => self.task(machine, task, "stop"),
            Input::WaitBegan(task) => self.task(machine, task, "await"),
            Input::SkipRequested(task) => self.task(machine, task, "skip"),
            Input::RestartRequested(task) => self.task(machine, task, "restart"),
            Input::PauseRequested(task) => self.task(machine, task, "pause"),
            Input::ResumeRequested(task) => self.task(machine, task, "resume"),
            Input::IntervalRequested { task, .. } => self.task(machine, task, "interval"),
            _ => unreachable!("{input:?} is not about a task"),
        }
    }

    fn submission(&mut self, machine: &Machine, now: Time, submission: &Submission) {
        self.plan(&submission.plan);
        self.variant(&submission.policy);
        let expiry = submission.plan.expires_in.map(|span| submission.submitted_at.after(span));
        match () {
            () if !machine.is_running() => self.met("intake", "shutdown"),
            () if machine.is_draining() => self.met("intake", "drain"),
            () if submission.cancelled => self.met("intake", "stop"),
            () if expiry.is_some_and(|expiry| expiry <= now) => self.met("intake", "timer"),
            () => {}
        }
        let slot = submission.slot.map(|slot| machine.slots().get(slot)).unwrap_or_default();
        let Some(owner) = slot.owner else { return };
        if submission.policy == AdmissionPolicy::Replace {
            self.met(name(&machine.tasks()[owner]), "replace");
        }
    }

    fn plan(&mut self, plan: &Plan) {
        self.variant(&plan.restart);
        self.variant(&plan.interval);
        self.variant(&plan.panic);
        self.variant(&plan.abandon);
        self.variant(&plan.backoff.jitter);
        if let Some(watchdog) = plan.watchdog {
            self.variant(&watchdog.policy);
        }
    }

    fn all(&mut self, machine: &Machine, event: Name) {
        machine.tasks().iter().for_each(|task| self.met(name(task), event));
    }

    fn task(&mut self, machine: &Machine, task: TaskAddr, event: Name) {
        let found = machine.tasks().get(task.key).filter(|found| found.addr.id == task.id);
        self.met(found.map_or("over", |found| name(found)), event);
    }

    fn closing(&mut self, machine: &Machine, attempt: AttemptAddr, event: Name) {
        let is_it = |it: &Released| it.attempt == attempt && it.closing;
        if machine.released.iter().any(is_it) {
            return self.met("released", event);
        }
        self.task(machine, attempt.task, event);
    }

    fn attempt(&mut self, machine: &Machine, attempt: AttemptAddr, event: Name) {
        let is_it = |it: &Released| it.attempt == attempt && !it.closing;
        if machine.released.iter().any(is_it) {
            return self.met("released", event);
        }
        let found = machine.tasks().get(attempt.task.key);
        let found = found.filter(|found| found.addr.id == attempt.task.id);
        let found = found.filter(|found| found.attempt == attempt.number);
        self.met(found.map_or("over", |found| name(found)), event);
    }

    /// What a step has ordered.
    pub(super) fn after(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.variant(effect);
            match effect {
                Effect::Decide { decision, .. } => {
                    self.variant(decision);
                    if let Decision::Rejected(why) = decision {
                        self.variant(why);
                    }
                }
                Effect::Answer(answer) => self.variant(answer),
                Effect::NoteFailure { cause, .. } => self.variant(cause),
                Effect::Publish(notice) => self.notice(notice),
                _ => {}
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.variant(notice);
        match notice {
            Notice::AttemptEnded { ending, .. } => self.variant(ending),
            Notice::Rejected { why, .. } => {
                self.variant(&End::Rejected(*why));
                self.variant(why);
                if let Rejection::Superseded { .. } = why {
                    self.met("queued", "superseded");
                }
            }
            Notice::TaskEnded { end, .. } => {
                self.variant(end);
                if let End::Cancelled { reason, .. } = end {
                    self.variant(reason);
                }
            }
            Notice::ShutdownRequested { cause } => self.met("cause", cause.label()),
            _ => {}
        }
    }
}

fn name(task: &Task) -> Name {
    match task.state {
        State::Intake => "intake",
        State::Queued => "queued",
        State::Runnable => "runnable",
        State::Starting { stop: None, expired: false, .. } => "starting",
        State::Starting { .. } => "revoking",
        State::Running { .. } if task.plan.watchdog.is_some() => "watched",
        State::Running { .. } => "running",
        State::Stopping { stop: None, .. } => "interrupted",
        State::Stopping { stop: Some(_), .. } => "stopping",
        State::Abandoned { over: false, .. } => "abandoned",
        State::Abandoned { over: true, .. } => "abandoned, over",
        State::Waiting(Wait::Paused) => "paused",
        State::Waiting(_) => "waiting",
        State::Closing(closing) if closing.over => "closing, over",
        State::Closing(_) => "closing",
        State::Over => "over",
    }
}
