//! What the machine orders, in words: the names that a script gave its tasks and slots, one line an
//! effect.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::{Answer, Effect, End, Ending, GroupNotice, Notice};
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, ClassKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::reason::{Decision, Rejection, ShutdownCause};
use crate::vocabulary::time::Time;

#[derive(Default)]
pub(super) struct Names {
    /// By id. Keys are used again by request only, so that a stale one is seen to be stale.
    tasks: Vec<(&'static str, TaskAddr)>,
    /// By key; a forgotten slot leaves a gap, so that a key used by mistake has no name.
    slots: Vec<Option<&'static str>>,
}

impl Names {
    pub(super) fn new_task(&mut self, name: &'static str, key: Option<TaskKey>) -> TaskAddr {
        let fresh = TaskKey(u32::try_from(self.tasks.len()).expect("few tasks"));
        let key = key.unwrap_or(fresh);
        let task = TaskAddr { key, id: TaskId::new(self.tasks.len() as u64 + 1) };
        self.tasks.push((name, task));
        task
    }

    /// The latest task of this name.
    pub(super) fn find_task(&self, name: &str) -> TaskAddr {
        let found = self.tasks.iter().rev().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no task {name}")).1
    }

    pub(super) fn intern_slot(&mut self, slot: &'static str) -> SlotKey {
        self.find_slot(slot).unwrap_or_else(|| {
            self.slots.push(Some(slot));
            self.find_slot(slot).expect("just added")
        })
    }

    pub(super) fn find_slot(&self, slot: &str) -> Option<SlotKey> {
        let at = self.slots.iter().position(|known| *known == Some(slot))?;
        u32::try_from(at).ok().map(SlotKey)
    }

    pub(super) fn forget_slot(&mut self, slot: SlotKey) {
        self.slots[slot.0 as usize] = None;
    }

    pub(super) fn task(&self, id: TaskId) -> &'static str {
        self.tasks.iter().find(|(_, task)| task.id == id).expect("a task of the script").0
    }

    fn attempt(&self, attempt: AttemptAddr) -> String {
        format!("{}/{}", self.task(attempt.task.id), attempt.number)
    }

    /// An effect in one line.
    pub(super) fn render(&self, effect: Effect) -> String {
        match effect {
            Effect::Decide { task, decision } => {
                let decision = match decision {
                    Decision::Admitted => "admitted".to_owned(),
                    Decision::Queued { ahead } => format!("queued behind {ahead}"),
                    Decision::Rejected(why) => self.why(why),
                };
                format!("decide {}: {decision}", self.task(task.id))
            }
            Effect::Start { attempt, class_index: None, .. } => {
                format!("start {}", self.attempt(attempt))
            }
            Effect::Start { attempt, class_index: Some(index), .. } => {
                format!("start {} with permit {}", self.attempt(attempt), index.get())
            }
            Effect::Revoke { attempt } => format!("revoke {}", self.attempt(attempt)),
            Effect::Tell { attempt, reason, grace_until } => {
                format!("tell {} {reason} until {}", self.attempt(attempt), show(grace_until))
            }
            Effect::Finalize { attempt, grace_until } => {
                format!("finalize {} until {}", self.attempt(attempt), show(grace_until))
            }
            Effect::Abandon { attempt } => format!("abandon {}", self.attempt(attempt)),
            Effect::Look { attempt } => format!("look at {}", self.attempt(attempt)),
            Effect::Examine { attempt } => format!("examine {}", self.attempt(attempt)),
            Effect::NoteFailure { attempt, cause, last } => {
                let last = last.map(|why| format!(", the last: {why}")).unwrap_or_default();
                format!("note {} {cause}{last}", self.attempt(attempt))
            }
            Effect::Release { attempt, .. } => format!("release {}", self.attempt(attempt)),
            Effect::ForgetReleased { attempt, closing } => {
                let closing = if closing { "closing " } else { "" };
                format!("forget released {closing}{}", self.attempt(attempt))
            }
            Effect::Close { attempt, reason } => {
                format!("close {}, {reason}", self.task(attempt.task.id))
            }
            Effect::AbandonClosing { attempt } => {
                format!("abandon closing of {}", self.task(attempt.task.id))
            }
            Effect::Deliver { task, end, .. } => {
                format!("deliver {}: {}", self.task(task.id), self.end(end))
            }
            Effect::Forget { task } => format!("forget {}", self.task(task.id)),
            Effect::ForgetSlot { slot } => {
                format!("forget slot {}", self.slots[slot.0 as usize].expect("a slot in use"))
            }
            Effect::Answer(Answer::Taken(taken)) => format!("answer {taken}"),
            Effect::Answer(Answer::SlotCancelled(found)) => {
                format!("answer owner_asked={} removed={}", found.owner_asked, found.removed)
            }
            Effect::Publish(notice) => format!("* {}", self.notice(notice)),
            Effect::PublishGroup { notice, .. } => format!("* group {}", self.group_notice(notice)),
            Effect::ForgetGroup { .. } => "forget group".to_owned(),
            Effect::BeginDrain { until } => format!("drain until {}", show(until)),
            Effect::NoteUnfinished { task } => format!("unfinished {}", self.task(task.id)),
            Effect::CloseDoor { .. } => "close door".to_owned(),
            Effect::RestoreSignals => "restore signals".to_owned(),
            Effect::FlushEvents => "flush events".to_owned(),
            Effect::Finish => "finish".to_owned(),
        }
    }

    fn notice(&self, notice: Notice) -> String {
        let name = |task: TaskAddr| self.task(task.id);
        match notice {
            Notice::Submitted { task, policy } => format!("{} submitted {policy}", name(task)),
            Notice::Admitted { task } => format!("{} admitted", name(task)),
            Notice::Queued { task, depth } => format!("{} queued, depth {depth}", name(task)),
            Notice::Rejected { task, why } => format!("{} {}", name(task), self.why(why)),
            Notice::SlotTransition { task, terminating } => {
                let how = if terminating { "terminating" } else { "no longer terminating" };
                format!("{} slot {how}", name(task))
            }
            Notice::WaitingForPermit { task, class } => waits(name(task), class),
            Notice::AttemptStarting { attempt } => {
                format!("{} starting", self.attempt(attempt))
            }
            Notice::AttemptEnded { attempt, told: _, ending, ran, late_by, returned_ok } => {
                let late =
                    if late_by.is_zero() { String::new() } else { format!(" late by {late_by:?}") };
                let ok = if returned_ok { " ok" } else { "" };
                let ending = ending_name(ending);
                format!("{} {ending} after {ran:?}{late}{ok}", self.attempt(attempt))
            }
            Notice::RetryScheduled { attempt, delay, cause } => {
                format!("{} retry in {delay:?}, {cause}", self.attempt(attempt))
            }
            Notice::RunScheduled { attempt, delay } => {
                format!("{} pause for {delay:?}", self.attempt(attempt))
            }
            Notice::TaskPaused { task } => format!("{} paused", name(task)),
            Notice::TaskResumed { task } => format!("{} resumed", name(task)),
            Notice::AttemptOverdue { attempt, ran } => {
                format!("{} overdue after {ran:?}", self.attempt(attempt))
            }
            Notice::AttemptSilent { attempt, silent_for } => {
                format!("{} silent for {silent_for:?}", self.attempt(attempt))
            }
            Notice::AttemptResponsive { .. }
            | Notice::AttemptReady { .. }
            | Notice::AttemptStable { .. } => self.health(notice),
            Notice::AttemptsTooShort { attempt, runs, within } => {
                format!("{}: {runs} runs shorter than {within:?}", self.attempt(attempt))
            }
            Notice::AttemptAbandoned { attempt, reason, ran, released, at_limit } => {
                let released = if released { ", released" } else { "" };
                let limit = if at_limit { ", at the limit" } else { "" };
                let attempt = self.attempt(attempt);
                format!("{attempt} abandoned after {ran:?}, {reason}{released}{limit}")
            }
            Notice::AttemptReturned { attempt, late_by, ret } => {
                let ret = format!("{ret:?}").to_lowercase();
                format!("{} returned {ret}, late by {late_by:?}", self.attempt(attempt))
            }
            Notice::TaskClosing { attempt } => format!("{} closing", name(attempt.task)),
            Notice::ClosingAbandoned { attempt } => {
                format!("{} closing abandoned", name(attempt.task))
            }
            Notice::ClosingReturned { attempt, late_by } => {
                format!("{} closed, late by {late_by:?}", name(attempt.task))
            }
            Notice::TaskEnded { task, end, .. } => {
                format!("{} ended: {}", name(task), self.end(end))
            }
            Notice::DrainRequested { cause, limit } => {
                format!("drain requested: {cause}, limit {limit:?}")
            }
            Notice::ShutdownRequested { cause: ShutdownCause::TaskEnded(id) } => {
                format!("shutdown requested: end of {}", self.task(id))
            }
            Notice::ShutdownRequested { cause } => format!("shutdown requested: {cause}"),
            Notice::ShutdownEnded => "shutdown ended".to_owned(),
        }
    }

    fn group_notice(&self, notice: GroupNotice) -> String {
        let culprit = |culprit: Option<TaskAddr>| {
            culprit.map_or_else(String::new, |task| format!(" for {}", self.task(task.id)))
        };
        match notice {
            GroupNotice::Starting => "starting".to_owned(),
            GroupNotice::Ready { took } => format!("ready after {took:?}"),
            GroupNotice::Restarting { culprit: task, restarts } => {
                format!("restarting{}, {restarts}", culprit(task))
            }
            GroupNotice::Stopping { why, culprit: task } => {
                format!("stopping, {why}{}", culprit(task))
            }
            GroupNotice::Ended => "ended".to_owned(),
        }
    }

    fn health(&self, notice: Notice) -> String {
        match notice {
            Notice::AttemptResponsive { attempt } => {
                format!("{} responsive", self.attempt(attempt))
            }
            Notice::AttemptReady { attempt, took } => {
                format!("{} ready after {took:?}", self.attempt(attempt))
            }
            Notice::AttemptStable { attempt, failures } => {
                format!("{} stable after {failures} failures", self.attempt(attempt))
            }
            _ => unreachable!("{notice:?} is not about the health of an attempt"),
        }
    }

    fn end(&self, end: End) -> String {
        match end {
            End::Completed => "completed".to_owned(),
            End::Cancelled { reason, ret: Some(Return::Ok) } => {
                format!("cancelled by {reason}, ok")
            }
            End::Cancelled { reason, .. } => format!("cancelled by {reason}"),
            End::Failed => "failed".to_owned(),
            End::Fatal => "fatal".to_owned(),
            End::Panicked => "panicked".to_owned(),
            End::TimedOut => "timed_out".to_owned(),
            End::Unresponsive => "unresponsive".to_owned(),
            End::Abandoned { reason, stop: None } => format!("abandoned, {reason}"),
            End::Abandoned { reason, stop: Some(stop) } => {
                format!("abandoned, {reason}, asked by {stop}")
            }
            End::Rejected(why) => self.why(why),
        }
    }

    fn why(&self, why: Rejection) -> String {
        let detail = match why {
            Rejection::BatchRefused { culprit } => format!(" for {}", self.task(culprit)),
            Rejection::QueueFull { depth, limit } => format!(" {depth}/{limit}"),
            Rejection::SlotBusy { owner, since } => {
                format!(" {} since {since:?}", self.task(owner))
            }
            Rejection::SlotNamedTwice { first } => format!(" like {}", self.task(first)),
            Rejection::Superseded { by } => format!(" by {}", self.task(by)),
            Rejection::TooManyAbandoned { limit } | Rejection::TooManyTasks { limit } => {
                format!(" {limit}")
            }
            Rejection::GroupTooLarge { members, limit } => format!(" {members}/{limit}"),
            Rejection::Expired
            | Rejection::GroupNameInUse
            | Rejection::Removed
            | Rejection::ShuttingDown => String::new(),
        };
        format!("rejected({}{detail})", why.label())
    }
}

fn waits(name: &str, class: Option<ClassKey>) -> String {
    match class {
        Some(class) => format!("{name} waits for class {}", class.0),
        None => format!("{name} waits for a permit"),
    }
}

const fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Succeeded => "succeeded",
        Ending::Cancelled => "cancelled",
        Ending::Failed => "failed",
        Ending::Panicked => "panicked",
        Ending::TimedOut => "timed_out",
        Ending::Unresponsive => "unresponsive",
    }
}

pub(super) fn show(at: Time) -> String {
    if at.is_never() {
        "never".to_owned()
    } else {
        format!("{:?}", at.since_start())
    }
}
