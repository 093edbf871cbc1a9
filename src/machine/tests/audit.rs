//! What holds of the machine's whole state between two steps, whatever has happened.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::audit_face::{audit_face, audit_face_empty};
use super::audit_groups::{audit_groups, stays};
use crate::machine::line::Line;
use crate::machine::list::List;
use crate::machine::phase::Phase;
use crate::machine::step::Released;
use crate::machine::task::{Closing, Health, State, Task, LOOKS};
use crate::machine::Machine;
use crate::vocabulary::id::{ClassKey, TaskKey};
use crate::vocabulary::plan::{AtDrain, BodyKind};
use crate::vocabulary::policy::{RestartPolicy, WatchdogPolicy};
use crate::vocabulary::time::Time;

/// Panics unless every invariant of the machine holds. At most so many attempts have started beyond
/// the limit, because bodies wait for them or did so.
pub(super) fn audit(machine: &Machine, beyond: usize) {
    audit_face(machine, beyond);
    audit_queues(machine);
    audit_awaited(machine);
    audit_classes(machine);
    audit_timers(machine);
    for task in machine.tasks.iter() {
        audit_task(machine, task);
    }
    audit_stuck(machine);
    audit_groups(machine);
    audit_drain(machine);
    let open = machine.tasks.iter().filter(|task| !is_over(task)).count();
    assert_eq!(machine.open as usize, open, "tasks without outcome are miscounted");
    assert_eq!(machine.tasks.len() as usize, machine.tasks.iter().count());
    let complete = matches!(machine.phase, Phase::Flushing { .. } | Phase::Ended);
    let ends = !machine.is_running();
    assert_eq!(complete, ends && machine.is_idle(), "the flush begins with the last outcome");
}

/// Panics unless the machine has forgotten everything that ever was.
pub(super) fn audit_empty(machine: &Machine) {
    audit(machine, 0);
    audit_face_empty(machine);
    assert_eq!(machine.timers.len(), 0, "a timer is left");
    assert_eq!(machine.runnable.list.len, 0, "somebody waits for a permit");
    assert!(machine.slots.iter().all(|(_, slot)| slot.is_vacant()), "a slot is left");
    assert_eq!((machine.stuck, machine.released.len()), (0, 0), "something is stuck for ever");
}

/// Whatever waits in a queue will have its turn.
fn audit_drain(machine: &Machine) {
    let Some(drain) = machine.phase.drain() else { return };
    let ends = |task: &Task| {
        let stopped = match task.state {
            State::Starting { stop, .. } | State::Stopping { stop, .. } => stop.is_some(),
            State::Abandoned { stop, over, .. } => stop.is_some() || over,
            State::Closing(_) => true,
            _ => false,
        };
        let resident = task.plan.restart == RestartPolicy::Always || stays(machine, task);
        stopped || (!resident && !task.paused) || task.plan.at_drain != AtDrain::GoOn
    };
    for (_, slot) in machine.slots.iter() {
        for key in members(machine, slot.queue) {
            let owner = &machine.tasks[slot.owner.expect("somebody waits for it")];
            let task = &machine.tasks[key];
            assert!(ends(owner), "{task:?} waits for ever, for {owner:?}");
            let resident = task.plan.restart == RestartPolicy::Always;
            assert!(!resident && task.plan.at_drain == AtDrain::GoOn, "{task:?} waits in vain");
        }
    }
    let mut waited_for = machine.tasks.iter().filter(|task| ends(task) && !is_over(task));
    let known = drain.waits_for.map(|key| &machine.tasks[key]);
    assert_eq!(known.is_some(), waited_for.next().is_some(), "what the drain waits for");
    assert!(known.map_or(true, |task| ends(task) && !is_over(task)), "{known:?} is waited for");
}

fn audit_queues(machine: &Machine) {
    for (slot, entry) in machine.slots.iter() {
        for key in members(machine, entry.queue) {
            let task = &machine.tasks[key];
            assert_eq!((task.slot, task.state), (Some(slot), State::Queued));
            // Whoever becomes an owner would otherwise have a group before it all at once.
            assert!(!task.is_member, "{task:?} is a member in a queue");
        }
        let named = machine.tasks.iter().filter(|task| task.slot == Some(slot)).count();
        let left = |task: &&Task| {
            let closes = matches!(task.state, State::Closing(_));
            task.slot == Some(slot) && closes && task.owner_since.is_never()
        };
        let left = machine.tasks.iter().filter(left).count();
        let known = entry.queue.len as usize + usize::from(entry.owner.is_some()) + left;
        assert_eq!(named, known, "a task of a slot neither owns it nor waits for it");
        assert_eq!(entry.named as usize, named, "the tasks of a slot are miscounted");
    }
    audit_line(machine, machine.runnable, None);
}

fn audit_line(machine: &Machine, line: Line, class: Option<ClassKey>) {
    let waiting = members(machine, line.list);
    let passed_over = waiting.iter().filter(|key| keeps_place(&machine.tasks[**key])).count();
    assert_eq!(line.passed_over as usize, passed_over, "kept places are miscounted");
    let runnable = |key: &&TaskKey| machine.tasks[**key].state == State::Runnable;
    assert_eq!(waiting.iter().filter(runnable).count() + passed_over, waiting.len());
    let stray = waiting.iter().find(|key| machine.tasks[**key].class_line() != class);
    assert_eq!(stray, None, "it is in the wrong line");
}

const fn keeps_place(task: &Task) -> bool {
    matches!(task.state, State::Closing(Closing { keeps_place: true, .. }))
}

fn audit_classes(machine: &Machine) {
    for (class, at) in machine.classes.iter().zip(0..) {
        audit_line(machine, class.line, Some(ClassKey(at)));
        let mut holders = Vec::new();
        for task in machine.tasks.iter().filter(|task| task.plan.class == Some(ClassKey(at))) {
            let Some(index) = task.class_index else { continue };
            let may_hold = task.state.holds_permit() || task.state == State::Runnable;
            assert!(may_hold || keeps_place(task), "{task:?} holds a permit of its class");
            holders.push((index.get(), task.addr.key));
        }
        class.audit_free();
        holders.sort_unstable();
        let twice = holders.windows(2).find(|two| two[0].0 == two[1].0);
        assert_eq!(twice, None, "one permit of a class is held twice");
        let held: Vec<_> = holders.iter().map(|&(_, key)| key).collect();
        assert_eq!(class.holders().collect::<Vec<_>>(), held, "the holders are misread");
    }
}

/// Nothing that has to run before what a body waits for is in line for a permit to run.
fn audit_awaited(machine: &Machine) {
    let awaited = machine.tasks.iter().filter(|task| task.awaited > 0);
    let mut found: BTreeSet<_> = awaited.map(|task| task.addr.key).collect();
    let noted: BTreeSet<_> = machine.awaited.keys().copied().collect();
    assert_eq!(noted, found, "who is waited for is mistaken");
    loop {
        let before: Vec<_> = found.iter().flat_map(|key| run_before(machine, *key)).collect();
        let known = found.len();
        found.extend(before);
        if found.len() == known {
            break;
        }
    }
    let in_line = |task: &&Task| task.state == State::Runnable && task.class_line().is_none();
    let awaits = |class: ClassKey| {
        let mut lines = found.iter().map(|key| &machine.tasks[*key]);
        lines.any(|task| task.state == State::Runnable && task.class_line() == Some(class))
    };
    let is_in_the_way =
        |task: &&Task| found.contains(&task.addr.key) || task.plan.class.is_some_and(awaits);
    let holds_up = machine.tasks.iter().filter(in_line).find(is_in_the_way);
    assert!(holds_up.is_none(), "{holds_up:?} holds up what a body waits for");
}

/// The owner of the slot for which a task is queued, and its group.
fn run_before(machine: &Machine, key: TaskKey) -> Vec<TaskKey> {
    let task = &machine.tasks[key];
    let slot = task.slot.filter(|_| task.state == State::Queued);
    let group = machine.groups.key_of(task);
    let is_before = |it: &&Task| {
        let owns = slot.is_some_and(|slot| machine.slots.get(slot).owner == Some(it.addr.key));
        owns || (group.is_some() && machine.groups.key_of(it) == group)
    };
    machine.tasks.iter().filter(is_before).map(|it| it.addr.key).collect()
}

fn audit_timers(machine: &Machine) {
    let due: Vec<_> = machine
        .tasks
        .iter()
        .map(|task| machine.timers.due(task.addr.key))
        .filter(|due| !due.is_never())
        .collect();
    assert_eq!(machine.timers.len(), due.len(), "a timer belongs to no task");
    let first = due.into_iter().min().unwrap_or(Time::NEVER);
    assert_eq!(machine.timers.next_due(), first);
    let deadline = machine.timers.deadline();
    assert!(first <= deadline && deadline <= first.after(machine.limits.timer_slack));
    assert_eq!(machine.deadline(), deadline.min(machine.phase.deadline()));
}

fn audit_task(machine: &Machine, task: &Task) {
    let due = machine.timers.due(task.addr.key);
    let right = match task.state {
        State::Queued
        | State::Runnable
        | State::Starting { stop: None, expired: false, sent_back: false } => due == task.expiry(),
        State::Running { deadline, health, .. } => {
            audit_watch(machine, task, health);
            let look = task.next_look();
            let stable = match health {
                Health::Young { stable_at } if task.streak > 0 => stable_at,
                _ => Time::NEVER,
            };
            due == look.min(deadline).min(stable)
        }
        // A member that was interrupted hurries when it is the turn of its phase.
        State::Stopping { stop: None, .. } if task.is_member() => true,
        State::Stopping { .. } if !machine.is_running() => {
            due.is_never() || due <= machine.phase.grace_until()
        }
        // The face shows all that there is to them.
        State::Starting { .. }
        | State::Stopping { .. }
        | State::Abandoned { .. }
        | State::Waiting(_)
        | State::Closing(_)
        | State::Intake
        | State::Over => true,
    };
    assert!(right, "the timer of {task:?} is set to {due:?}");
    assert!(task.state != State::Queued || task.attempt == 0, "an owner went back to the queue");
    assert!(!task.has_started() || task.attempt > 0, "{task:?} started without an attempt");
    assert!(task.since <= machine.now && task.last_start() <= machine.now);
    let window = task.plan.failure_limit.map_or(0, |limit| limit.failures as usize);
    assert!(task.n_failures() <= window, "the window of failures outgrew its limit");
    if let State::Abandoned { stop: Some(_), over, .. } = task.state {
        assert!(over, "a stopped and abandoned task has no outcome");
    }
}

impl Task {
    fn n_failures(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.failures.latest.len())
    }
}

fn audit_watch(machine: &Machine, task: &Task, health: Health) {
    let (watch, watchdog) = (task.watch(), task.plan.watchdog);
    assert_eq!(watch.is_some(), watchdog.is_some(), "{task:?} is watched, or is not");
    let (Some(watch), Some(watchdog)) = (watch, watchdog) else { return };
    let span = watchdog.max_silence / LOOKS;
    assert!(watch.next_look <= machine.now.after(span * 2), "{task:?} is looked at too late");
    assert!(watch.last_sign <= machine.now);
    let silent = health == Health::Silent;
    let told = watchdog.policy == WatchdogPolicy::Cancel && silent;
    assert!(!told, "{task:?} is silent and was not told");
    assert_eq!(silent, watch.left == 0, "the misses of {task:?}");
}

fn audit_stuck(machine: &Machine) {
    let held = machine.tasks.iter().filter(|task| match task.state {
        State::Abandoned { .. } => true,
        State::Closing(closing) => closing.stuck,
        _ => false,
    });
    let known = machine.released.len() + held.count();
    assert!(machine.stuck as usize >= known, "something stuck is not counted");
    for (at, released) in machine.released.iter().enumerate() {
        let attempt = released.attempt;
        let others = &machine.released[..at];
        let same = |other: &Released| (other.attempt, other.closing) == (attempt, released.closing);
        assert!(!others.iter().any(same), "released twice");
        assert!(released.since <= machine.now);
        let Some(key) = machine.tasks.find(attempt.task) else { continue };
        assert!(!released.closing, "a released closing has a task");
        let task = &machine.tasks[key];
        assert!(task.plan.body == BodyKind::Shared, "{task:?} goes on without its body");
        let own = task.attempt == attempt.number && task.state.holds_permit();
        assert!(!own, "{task:?} still holds a released attempt");
    }
}

/// Those in a list, its links checked both ways.
pub(super) fn members(machine: &Machine, list: List) -> Vec<TaskKey> {
    let mut seen = BTreeSet::new();
    let mut before = None;
    let mut next = list.first;
    let mut members = Vec::new();
    while let Some(key) = next {
        assert!(seen.insert(key), "a list is a ring");
        let task = machine.tasks.get(key).expect("a list holds tasks");
        assert_eq!(task.links.before(), before, "a list is broken at {task:?}");
        members.push(key);
        (before, next) = (Some(key), task.links.after());
    }
    assert_eq!(members.len(), list.len as usize, "a list is miscounted");
    members
}

fn is_over(task: &Task) -> bool {
    task.state.is_over()
}
