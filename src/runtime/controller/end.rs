//! The end of a supervisor: the door closes, the lanes finish, the threads leave, and the report is
//! made.

use std::sync::Arc;

use super::{Belongings, Controller, ReleasedAttempts};
use crate::machine::{Input, State, Task};
use crate::output::hook::RunningHook;
use crate::output::outcome::Outcome;
use crate::output::report::{AbandonedAttempt, RunReport};
use crate::platform::stall::Stall;
use crate::platform::sync::channel;
use crate::task::cell::{Cell, Thread};
use crate::task::envelope::Envelope;
use crate::task::fact::HookOwner;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

impl Controller {
    pub(super) fn close_door(&mut self) {
        let door = Arc::clone(&self.door);
        door.close();
        door.empty_intake().for_each(|envelope| self.refuse(envelope));
    }

    /// Refuses submissions that were handed over while the door was closing. They were accepted, so
    /// they count.
    pub(super) fn refuse(&mut self, envelope: Envelope) {
        let refused = envelope.len();
        self.tally.count_refused(refused, envelope.lost(), &envelope.names());
        self.shutdown.count_refused(refused);
        envelope.refuse();
    }

    /// Lets the lanes finish, once it is time and the last thread has been examined.
    pub(super) fn close_lanes(&mut self) {
        if !self.shutdown.lanes_to_be_closed() || !self.examiner.is_idle() {
            return;
        }
        let open = self.publisher.close();
        self.shutdown.lanes_closed(open);
        if open == 0 {
            self.feedback.push_back(Input::EventsFlushed);
        }
    }

    /// After a panic of the controller: no caller is left waiting, and every body is told.
    pub(in crate::runtime) fn give_up(&mut self) {
        self.close_door();
        #[cfg(all(unix, feature = "process"))]
        self.door.children.close();
        for belongings in self.values.iter() {
            let Some(cell) = &belongings.cell else { continue };
            if cell.revoke().is_err() {
                cell.tell(CancelReason::Shutdown, self.now, Time::NEVER);
                if cell.has_hooks() {
                    self.pool.push_hooks(cell);
                }
            }
        }
        self.shutdown.give_up();
        // Nothing lets go of the hardware's watchdog.
        self.service = None;
        self.publisher.close();
    }

    /// Closes everything after the system has refused a thread at the start.
    pub(in crate::runtime) fn give_up_and_end(mut self) {
        self.give_up();
        self.end();
    }

    /// Ends the supervisor and wakes all callers that wait for it. Returns the number of leaked
    /// values.
    pub(in crate::runtime) fn end(mut self) -> usize {
        // From now on every caller finds the channel closed, even a destructor that a worker runs.
        self.inbox.requests = channel::never();
        let door = Arc::clone(&self.door);
        self.waiters.clear();
        let report = self.into_report();
        let values_leaked = report.shutdown.values_leaked;
        door.end(report);
        values_leaked
    }

    /// The report, once everything has ended.
    fn into_report(mut self) -> RunReport {
        let (abandoned, stuck_hooks) = (self.abandoned(), self.stuck_hooks());
        let stuck = u32::try_from(abandoned.len() + stuck_hooks.len()).unwrap_or(u32::MAX);
        for belongings in self.values.drain() {
            if belongings.record().outcome().is_none() {
                self.tally.count(&Outcome::Lost, false, 0, &belongings);
                belongings.record().end(Outcome::Lost);
            }
        }
        self.released = ReleasedAttempts::default();
        self.signal_hooks.clear();
        self.end_service(stuck);
        self.serve_threads();
        // Idle workers get the same time to leave as the last events.
        let complete = self.shutdown.completed_at().unwrap_or(self.real);
        let due = complete.after(self.machine.limits().event_flush);
        let values_leaked = self.pool.close(stuck, due);
        // An attempt that was abandoned while it started a process kills that, if there is time.
        #[cfg(all(unix, feature = "process"))]
        self.door.children.end(&self.door.clock.real, due);
        let (behind_door, lost) = self.door.refused_behind_door();
        self.tally.count_refused(behind_door, lost, &[]);
        self.shutdown.count_refused(behind_door);
        let events_dropped = self.publisher.give_up();
        let mut shutdown = self.shutdown.into_report(abandoned, events_dropped, values_leaked);
        shutdown.stuck_hooks = stuck_hooks;
        self.tally.into_report(shutdown)
    }

    /// Everything that outlived its grace and still runs.
    fn abandoned(&self) -> Vec<AbandonedAttempt> {
        let held = self.machine.tasks().iter();
        let held = held.filter_map(|task| abandoned(task, self.values.get(task.addr.key)?));
        oldest_first(held.chain(self.abandoned_beside()))
    }

    /// Those attempts and drops that their tasks do not wait for, and hooks.
    pub(super) fn abandoned_beside(&self) -> Vec<AbandonedAttempt> {
        let released = self.released.iter().map(|it| {
            let entry = entry(it.task.clone(), &it.cell, it.told, it.since, it.stall.clone());
            AbandonedAttempt { released: true, ..entry }
        });
        let hooks = self.pool.stuck_errands().into_iter().filter_map(|hook| {
            let HookOwner::Attempt(cell) = hook.owner else { return None };
            // Hooks run because the attempt was told.
            let told = cell.reason().unwrap_or(CancelReason::Stop);
            let entry = entry(cell.record.task_ref(), &cell, told, hook.since, None);
            let Thread { name, tid } = hook.thread;
            let (is_hook, closing) = (hook.is_hook, !hook.is_hook);
            Some(AbandonedAttempt { hook: is_hook, closing, thread: Some(name), tid, ..entry })
        });
        released.chain(hooks).collect()
    }

    /// The callbacks of `on_signal` and `on_end` that outlived their grace and still run.
    pub(super) fn stuck_hooks(&self) -> Vec<RunningHook> {
        let stuck = self.pool.stuck_errands().into_iter().filter_map(|hook| {
            let is_own = !matches!(hook.owner, HookOwner::Attempt(_));
            is_own.then(|| hook.owner.running(hook.thread, hook.since))
        });
        stuck.collect()
    }
}

/// They are inserted one by one: there are few, most come in order, and a sort would make every
/// program larger.
pub(super) fn oldest_first(
    entries: impl IntoIterator<Item = AbandonedAttempt>,
) -> Vec<AbandonedAttempt> {
    let mut sorted: Vec<AbandonedAttempt> = Vec::new();
    for entry in entries {
        let at = sorted.partition_point(|other| other.since <= entry.since);
        sorted.insert(at, entry);
    }
    sorted
}

/// The attempt of a task, or the drop of its body, if that outlived its grace.
pub(super) fn abandoned(task: &Task, belongings: &Belongings) -> Option<AbandonedAttempt> {
    let (cell, stall) = (belongings.cell.as_ref()?, belongings.stall());
    let told = match task.state {
        State::Abandoned { told, .. } => told,
        State::Closing(closing) if closing.stuck => cell.reason()?,
        _ => return None,
    };
    Some(entry(belongings.task_ref(), cell, told, task.since, stall.cloned()))
}

fn entry(
    task: TaskRef,
    cell: &Cell,
    told: CancelReason,
    since: Time,
    stall: Option<Stall>,
) -> AbandonedAttempt {
    let thread = cell.thread();
    AbandonedAttempt {
        task,
        attempt: cell.attempt.number,
        since: since.since_start(),
        reason: told,
        tid: thread.as_ref().and_then(|thread| thread.tid),
        thread: thread.map(|thread| thread.name),
        mark: cell.pulse.last_mark(),
        stall,
        released: false,
        hook: false,
        closing: cell.closing,
    }
}
