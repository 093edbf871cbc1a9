//! The tasks that the service cannot do without, and what is wrong with them.

use std::time::Duration;

use crate::runtime::tally::MOST;
use crate::vocabulary::id::{TaskAddr, TaskId, TaskKey, TaskRef};
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::Time;

/// All required tasks that are not over, and those that have failed for good.
#[derive(Default)]
pub(super) struct Required {
    tasks: SortedMap<TaskId, RequiredTask>,
    /// Each until another required task of the same name is accepted.
    failed: Vec<TaskRef>,
}

/// What the machine does not keep of a required task.
pub(super) struct RequiredTask {
    pub(super) key: TaskKey,
    /// When the first attempt of the streak failed.
    failing_since: Option<Time>,
    /// An attempt was silent, and neither it nor a later one has given a sign since.
    silent: bool,
    /// The latest attempt that gave a sign of life to the watchdog.
    alive: u64,
    /// It has been ready, and has not failed since.
    pub(super) was_ready: bool,
}

/// What counts of the state of a required task.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "what is true of a task at one moment")]
pub(super) struct Standing {
    pub(super) abandoned: bool,
    /// It is paused, and no attempt of it runs.
    pub(super) rests: bool,
    /// An attempt runs and was not told to return.
    pub(super) runs: bool,
    /// An attempt of it runs or has run.
    pub(super) has_run: bool,
    pub(super) attempt: u64,
    pub(super) streak: u32,
    /// Whether it says when it is ready.
    pub(super) says_ready: bool,
    /// Whether the attempt has said so.
    pub(super) ready: bool,
    pub(super) watched: bool,
}

impl RequiredTask {
    /// What is wrong with it.
    pub(super) fn trouble(&self, it: Standing, now: Time, patience: Duration) -> Option<String> {
        if it.abandoned {
            return Some("abandoned".to_owned());
        }
        if it.rests {
            return None;
        }
        if self.silent {
            return Some("silent".to_owned());
        }
        // An attempt that hangs like those before it must not count until the watchdog notices.
        let shows_life = (it.ready || !it.says_ready) && (self.alive == it.attempt || !it.watched);
        let recovers = it.runs && shows_life;
        let since = self.failing_since.filter(|_| it.streak > 0 && !recovers)?;
        let failures = if it.streak == 1 { "failure" } else { "failures" };
        (since.until(now) > patience).then(|| format!("down, {} {failures}", it.streak))
    }

    /// Whether it is ready now. One that does not say so is ready once it runs.
    pub(super) fn is_ready(&mut self, it: Standing) -> bool {
        if it.streak > 0 {
            self.was_ready = false;
        }
        // Between two runs that went well it is as ready as while it ran.
        let by_running = it.runs || it.has_run && it.streak == 0;
        self.was_ready |= if it.says_ready { it.ready } else { by_running };
        it.rests || self.was_ready
    }
}

impl Required {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.failed.is_empty()
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.tasks.contains(&id)
    }

    /// In order.
    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RequiredTask> {
        self.tasks.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut RequiredTask> {
        self.tasks.values_mut()
    }

    pub(super) fn failed(&self) -> &[TaskRef] {
        &self.failed
    }

    pub(super) fn insert(&mut self, TaskAddr { key, id }: TaskAddr) {
        let task =
            RequiredTask { key, failing_since: None, silent: false, alive: 0, was_ready: false };
        self.tasks.insert(id, task);
    }

    /// A task is accepted, and stands for one of the same name that has failed.
    pub(super) fn note_accepted(&mut self, id: TaskId, name: &str) {
        if self.contains(id) {
            self.failed.retain(|failed| &*failed.name != name);
        }
    }

    /// An attempt has failed; `streak` counts it.
    pub(super) fn note_failure(&mut self, id: TaskId, streak: u32, now: Time) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if streak <= 1 {
            task.failing_since = None;
        }
        task.failing_since.get_or_insert(now);
    }

    pub(super) fn note_silent(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.silent = true;
        }
    }

    pub(super) fn note_alive(&mut self, id: TaskId, attempt: u64) {
        if let Some(task) = self.tasks.get_mut(&id) {
            (task.silent, task.alive) = (false, attempt);
        }
    }

    /// A task has its outcome.
    pub(super) fn note_end(&mut self, id: TaskId, failed: impl FnOnce() -> Option<TaskRef>) {
        if self.tasks.remove(&id).is_some() && self.failed.len() < MOST {
            self.failed.extend(failed());
        }
    }

    /// A task is gone. One that was refused may have no outcome.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.tasks.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(secs))
    }

    fn one() -> (Required, TaskId) {
        let (mut required, id) = (Required::default(), TaskId::new(7));
        required.insert(TaskAddr { key: TaskKey(1), id });
        (required, id)
    }

    fn trouble(required: &Required, it: Standing, secs: u64) -> Option<String> {
        required.iter().next().unwrap().trouble(it, at(secs), PATIENCE)
    }

    #[test]
    fn a_streak_is_in_order_until_the_patience_is_over() {
        let (mut required, id) = one();
        let waits = |streak| Standing { attempt: 9, streak, ..Standing::default() };
        assert_eq!(trouble(&required, waits(0), 100), None);
        required.note_failure(id, 1, at(5));
        required.note_failure(id, 2, at(14));
        assert_eq!(trouble(&required, waits(2), 15), None);
        assert_eq!(trouble(&required, waits(2), 16).as_deref(), Some("down, 2 failures"));
        assert_eq!(trouble(&required, Standing { runs: true, ..waits(2) }, 16), None);
        assert_eq!(trouble(&required, Standing { rests: true, ..waits(2) }, 16), None);
        required.note_failure(id, 1, at(50));
        assert_eq!(trouble(&required, waits(1), 55), None);
        assert_eq!(trouble(&required, waits(1), 61).as_deref(), Some("down, 1 failure"));
    }

    #[test]
    fn an_attempt_within_a_long_streak_counts_once_it_shows_life() {
        let (mut required, id) = one();
        required.note_failure(id, 1, at(0));
        let runs = Standing { runs: true, attempt: 4, streak: 3, ..Standing::default() };
        let watched = Standing { watched: true, ..runs };
        assert!(trouble(&required, watched, 20).is_some());
        required.note_alive(id, 3);
        assert!(trouble(&required, watched, 20).is_some());
        required.note_alive(id, 4);
        assert_eq!(trouble(&required, watched, 20), None);
        let says = Standing { says_ready: true, ..runs };
        assert!(trouble(&required, says, 20).is_some());
        assert_eq!(trouble(&required, Standing { ready: true, ..says }, 20), None);
    }

    #[test]
    fn a_silent_task_is_in_order_once_an_attempt_has_given_a_sign() {
        let (mut required, id) = one();
        let runs = Standing { runs: true, attempt: 1, watched: true, ..Standing::default() };
        required.note_silent(id);
        assert_eq!(trouble(&required, runs, 0).as_deref(), Some("silent"));
        let next = Standing { attempt: 2, ..runs };
        assert_eq!(trouble(&required, next, 0).as_deref(), Some("silent"));
        required.note_alive(id, 2);
        assert_eq!(trouble(&required, next, 0), None);
        let abandoned = Standing { abandoned: true, ..runs };
        assert_eq!(trouble(&required, abandoned, 0).as_deref(), Some("abandoned"));
    }

    #[test]
    fn a_task_is_ready_once_it_says_so_or_else_once_it_runs() {
        let ready = |it| one().0.iter_mut().next().unwrap().is_ready(it);
        let waits = Standing::default();
        let runs = Standing { runs: true, attempt: 1, ..waits };
        assert!(!ready(waits) && ready(runs));
        assert!(ready(Standing { rests: true, ..waits }));
        assert!(!ready(Standing { says_ready: true, ..runs }));
        assert!(ready(Standing { says_ready: true, ready: true, ..runs }));
        // A periodic task has run between two looks.
        assert!(ready(Standing { has_run: true, ..waits }));
        assert!(!ready(Standing { has_run: true, streak: 1, ..waits }));
        // A thread has not come for its first attempt yet.
        assert!(!ready(Standing { attempt: 1, ..waits }));
    }

    #[test]
    fn a_task_that_was_ready_is_not_once_it_has_failed() {
        let (mut required, _) = one();
        let task = required.iter_mut().next().unwrap();
        let said = Standing { says_ready: true, ready: true, runs: true, ..Standing::default() };
        assert!(task.is_ready(said));
        assert!(task.is_ready(Standing { ready: false, runs: false, ..said }));
        assert!(!task.is_ready(Standing { ready: false, runs: false, streak: 1, ..said }));
    }

    #[test]
    fn a_task_of_the_same_name_stands_for_one_that_failed() {
        let (mut required, id) = one();
        let task = |id| TaskRef { id, name: "gps".into(), slot: None };
        required.note_end(TaskId::new(8), || Some(task(TaskId::new(8))));
        assert!(required.failed().is_empty(), "it was not required");
        required.note_end(id, || Some(task(id)));
        assert_eq!(required.failed().len(), 1);
        let next = TaskId::new(9);
        required.note_accepted(next, "gps");
        assert_eq!(required.failed().len(), 1, "it is not required");
        required.insert(TaskAddr { key: TaskKey(1), id: next });
        required.note_accepted(next, "modem");
        assert_eq!(required.failed().len(), 1);
        required.note_accepted(next, "gps");
        assert!(required.failed().is_empty() && !required.is_empty());
    }
}
