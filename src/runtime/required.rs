//! The tasks that the service cannot do without, and what is wrong with them.

use std::time::Duration;

use crate::runtime::tally::MOST;
use crate::vocabulary::id::{TaskAddr, TaskId, TaskKey, TaskRef};
use crate::vocabulary::sorted::SortedMap;
use crate::vocabulary::time::Time;

/// All required tasks that are not over, and those that have failed for good.
pub(super) struct Required {
    tasks: SortedMap<TaskId, RequiredTask>,
    /// Each until another required task of the same name is accepted.
    failed: Vec<TaskRef>,
    /// How long one of them may be down.
    sick_after: Duration,
}

/// What the machine does not keep of a required task.
pub(super) struct RequiredTask {
    pub(super) key: TaskKey,
    /// When it failed for the first time since it last was in order.
    failing_since: Option<Time>,
    /// An attempt was silent, and neither it nor a later one has shown since that it works.
    silent: bool,
    /// The latest attempt that gave a sign of life to the watchdog.
    alive: u64,
    /// Its body has said that it is ready, and has not failed since.
    said_ready: bool,
}

/// What counts of the state of a required task.
#[derive(Clone, Copy, Debug, Default)]
// They are independent facts about one moment.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Standing {
    pub(super) abandoned: bool,
    /// It is paused, and no attempt of it runs.
    pub(super) rests: bool,
    /// Since when an attempt runs, if it was not told to return.
    pub(super) runs_since: Option<Time>,
    /// An attempt of it runs or has run.
    pub(super) has_run: bool,
    pub(super) attempt: u64,
    pub(super) streak: u32,
    /// Whether it says when it is ready.
    pub(super) says_ready: bool,
}

impl RequiredTask {
    /// What is wrong with it.
    fn trouble(&self, it: Standing, now: Time, sick_after: Duration) -> Option<String> {
        if it.abandoned {
            return Some("abandoned".to_owned());
        }
        if it.rests {
            return None;
        }
        if self.silent {
            return Some("silent".to_owned());
        }
        let lives = it.runs_since.is_some() && self.alive == it.attempt;
        let since = self.failing_since.filter(|_| !lives)?;
        // What an attempt is worth is known only at its end: until then, all is as it was before.
        let down = since.until(it.runs_since.unwrap_or(now));
        let failures = if it.streak == 1 { "failure" } else { "failures" };
        (down > sick_after).then(|| format!("down, {} {failures}", it.streak))
    }

    /// Whether it is ready now. One that does not say so is ready once it runs.
    pub(super) fn is_ready(&self, it: Standing) -> bool {
        // Between two runs that went well it is as ready as while it ran.
        let by_running = it.runs_since.is_some() || it.has_run && it.streak == 0;
        it.rests || if it.says_ready { self.said_ready } else { by_running }
    }
}

impl Required {
    pub(super) fn new(sick_after: Duration) -> Self {
        Self { tasks: SortedMap::default(), failed: Vec::new(), sick_after }
    }

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

    pub(super) fn failed(&self) -> &[TaskRef] {
        &self.failed
    }

    /// What is wrong with a task.
    pub(super) fn trouble(&self, task: &RequiredTask, it: Standing, now: Time) -> Option<String> {
        task.trouble(it, now, self.sick_after)
    }

    pub(super) fn insert(&mut self, TaskAddr { key, id }: TaskAddr) {
        let task =
            RequiredTask { key, failing_since: None, silent: false, alive: 0, said_ready: false };
        self.tasks.insert(id, task);
    }

    /// A task is accepted, and stands for one of the same name that has failed.
    pub(super) fn note_accepted(&mut self, id: TaskId, name: &str) {
        if self.contains(id) {
            self.failed.retain(|failed| &*failed.name != name);
        }
    }

    pub(super) fn note_failure(&mut self, id: TaskId, now: Time) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.failing_since.get_or_insert(now);
            task.said_ready = false;
        }
    }

    pub(super) fn note_silent(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.silent = true;
        }
    }

    /// An attempt has given a sign of life. True if it is its first, or the first after a silence.
    pub(super) fn note_alive(&mut self, id: TaskId, attempt: u64) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let is_new = task.silent || task.alive != attempt;
        (task.silent, task.alive) = (false, attempt);
        is_new
    }

    pub(super) fn note_ready(&mut self, id: TaskId) {
        self.note_works(id);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.said_ready = true;
        }
    }

    /// The task has succeeded, or has otherwise shown that it works.
    pub(super) fn note_works(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            (task.silent, task.failing_since) = (false, None);
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
    const ID: TaskId = TaskId::new(7);

    fn at(secs: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(secs))
    }

    fn one() -> Required {
        let mut required = Required::new(PATIENCE);
        required.insert(TaskAddr { key: TaskKey(1), id: ID });
        required
    }

    fn trouble(required: &Required, it: Standing, secs: u64) -> Option<String> {
        required.trouble(required.iter().next().unwrap(), it, at(secs))
    }

    fn waits(streak: u32) -> Standing {
        Standing { attempt: 9, streak, has_run: true, ..Standing::default() }
    }

    fn runs(since: u64, streak: u32) -> Standing {
        Standing { runs_since: Some(at(since)), ..waits(streak) }
    }

    #[test]
    fn a_task_is_in_order_until_it_has_failed_for_too_long() {
        let mut required = one();
        assert_eq!(trouble(&required, waits(0), 100), None);
        required.note_failure(ID, at(5));
        required.note_failure(ID, at(14));
        assert_eq!(trouble(&required, waits(2), 15), None);
        assert_eq!(trouble(&required, waits(2), 16).as_deref(), Some("down, 2 failures"));
        assert_eq!(trouble(&required, Standing { rests: true, ..waits(2) }, 16), None);
        required.note_works(ID);
        assert_eq!(trouble(&required, waits(2), 50), None);
        required.note_failure(ID, at(50));
        assert_eq!(trouble(&required, waits(1), 60), None);
        assert_eq!(trouble(&required, waits(1), 61).as_deref(), Some("down, 1 failure"));
    }

    #[test]
    fn an_attempt_neither_ends_the_trouble_nor_adds_to_it_by_running() {
        let mut required = one();
        required.note_failure(ID, at(0));
        assert_eq!(trouble(&required, runs(10, 1), 1000), None);
        assert!(trouble(&required, waits(1), 1000).is_some());
        assert!(trouble(&required, runs(11, 1), 11).is_some());
        assert!(trouble(&required, runs(11, 1), 1000).is_some());
        required.note_works(ID);
        assert_eq!(trouble(&required, runs(11, 1), 1000), None);
    }

    #[test]
    fn a_sign_of_life_counts_for_its_attempt_while_that_runs() {
        let mut required = one();
        required.note_failure(ID, at(0));
        required.note_alive(ID, 8);
        assert!(trouble(&required, runs(20, 3), 20).is_some());
        required.note_alive(ID, 9);
        assert_eq!(trouble(&required, runs(20, 3), 20), None);
        assert!(trouble(&required, waits(4), 20).is_some());
    }

    #[test]
    fn a_silent_task_is_in_order_once_it_has_shown_that_it_works() {
        let mut required = one();
        let ends: [fn(&mut Required); 3] =
            [|it| _ = it.note_alive(ID, 2), |it| it.note_works(ID), |it| it.note_ready(ID)];
        for end in ends {
            required.note_silent(ID);
            for it in [runs(0, 0), waits(1), waits(0)] {
                assert_eq!(trouble(&required, it, 0).as_deref(), Some("silent"));
            }
            end(&mut required);
            assert_eq!(trouble(&required, runs(0, 0), 0), None);
        }
        let abandoned = Standing { abandoned: true, ..waits(0) };
        assert_eq!(trouble(&required, abandoned, 0).as_deref(), Some("abandoned"));
    }

    #[test]
    fn a_task_is_ready_once_it_says_so_or_else_once_it_runs() {
        let mut required = one();
        let ready = |required: &Required, it| required.iter().next().unwrap().is_ready(it);
        let begins = Standing { attempt: 1, ..Standing::default() };
        assert!(!ready(&required, begins) && ready(&required, runs(0, 3)));
        assert!(ready(&required, Standing { rests: true, ..begins }));
        // A periodic task has run between two looks.
        assert!(ready(&required, waits(0)) && !ready(&required, waits(1)));

        let says = |it| Standing { says_ready: true, ..it };
        assert!(!ready(&required, says(runs(0, 0))) && !ready(&required, says(waits(0))));
        required.note_ready(ID);
        assert!(ready(&required, says(runs(0, 0))) && ready(&required, says(waits(0))));
        required.note_failure(ID, at(1));
        assert!(!ready(&required, says(waits(1))) && !ready(&required, says(runs(2, 1))));
        required.note_ready(ID);
        assert!(ready(&required, says(runs(2, 1))));
    }

    #[test]
    fn a_task_of_the_same_name_stands_for_one_that_failed() {
        let mut required = one();
        let task = |id| TaskRef { id, name: "gps".into(), slot: None };
        required.note_end(TaskId::new(8), || Some(task(TaskId::new(8))));
        assert!(required.failed().is_empty(), "it was not required");
        required.note_end(ID, || Some(task(ID)));
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
