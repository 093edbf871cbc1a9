//! What holds of the machine between two steps, whatever has happened, as far as its face shows it:
//! for those who compile the machine and see no more of it. `audit` also looks inside.

use alloc::vec::Vec;

use crate::machine::{Machine, State, Task};
use crate::vocabulary::id::{ClassKey, SlotKey};
use crate::vocabulary::time::Time;

/// Panics unless every invariant that shows holds. At most so many attempts have started beyond the
/// limit, because bodies wait for them or did so; and with each of these, all that hold permits of
/// its class, and its group.
pub(crate) fn audit_face(machine: &Machine, beyond: usize) {
    let count = |is: fn(&Task) -> bool| machine.tasks().iter().filter(|task| is(task)).count();
    audit_permits(machine, count(|task| task.state.holds_permit()), beyond);
    let runnable = count(|task| task.state == State::Runnable);
    let in_line = machine.classes().iter().map(|class| class.line.waiting()).sum::<u32>();
    let waiting = machine.waiting_for_permit() + in_line;
    assert_eq!(waiting as usize, runnable, "who waits is miscounted");
    audit_classes(machine);
    let open = count(|task| !task.state.is_over());
    assert_eq!(machine.is_idle(), open == 0, "tasks without outcome are miscounted");
    // Those that were refused are still there until they are closed.
    let accepted = count(|task| task.owner_since != Time::NEVER || task.state == State::Queued);
    assert!(accepted <= machine.limits().max_tasks as usize, "too many tasks");
    for (key, slot) in machine.slots().iter() {
        let waiting = |task: &&Task| task.slot == Some(key) && task.state == State::Queued;
        let queued = machine.tasks().iter().filter(waiting).count();
        assert_eq!(slot.queue.len as usize, queued, "a queue is miscounted");
        assert!(slot.owner.is_some() || queued == 0, "somebody waits for an idle slot");
        let owner = slot.owner.map(|owner| machine.tasks().get(owner).expect("an owner is a task"));
        assert!(owner.map_or(true, |it| it.slot == Some(key)), "{owner:?} owns another's slot");
    }
    for task in machine.tasks().iter() {
        if let Some(slot) = task.slot {
            audit_owner(machine, task, slot);
        }
        audit_timer(machine, task);
        // A member is told when it is the turn of its phase.
        let ends = task.is_member() || ends(task);
        assert!(machine.is_running() || ends, "{task:?} goes on in a shutdown");
    }
    audit_deadline(machine);
}

fn audit_permits(machine: &Machine, held: usize, beyond: usize) {
    let (limit, permits) = (machine.limits().max_concurrent, machine.permits_held());
    assert_eq!(permits as usize, held, "permits are not conserved");
    let held_up = machine.classes().iter().map(|class| class.held() as usize).sum::<usize>();
    // The group of those that are stuck may have ended before they have.
    let was_member =
        |task: &&Task| task.is_member() || matches!(task.state, State::Abandoned { .. });
    let members = machine.tasks().iter().filter(was_member).count();
    let beyond = if beyond == 0 { 0 } else { beyond.saturating_add(held_up + members) };
    let most = limit.map_or(usize::MAX, |most| (most as usize).saturating_add(beyond));
    assert!(held <= most, "{held} permits are held, and there are {most}");
    let nobody_waits = machine.waiting_for_permit() == 0;
    let full = limit.is_some_and(|most| permits >= most);
    assert!(nobody_waits || full, "a task waits although a permit is free");
}

/// How many permits of each class are held.
pub(crate) fn held_of_classes(machine: &Machine) -> Vec<u32> {
    let mut held = Vec::new();
    for class in machine.classes() {
        held.push(class.held());
    }
    held
}

/// Only a limit that was lowered leaves more permits held than it allows, and no step adds to them.
pub(crate) fn audit_held(machine: &Machine, before: &[u32]) {
    for (class, &before) in machine.classes().iter().zip(before) {
        let most = class.limit.max(before);
        assert!(class.held() <= most, "more permits of a class than there are");
    }
}

fn audit_classes(machine: &Machine) {
    for (class, at) in machine.classes().iter().zip(0..) {
        let own = |task: &&Task| task.plan.class == Some(ClassKey(at));
        let members: Vec<_> = machine.tasks().iter().filter(own).collect();
        let held = members.iter().filter(|task| task.class_index.is_some()).count();
        assert_eq!(class.held() as usize, held, "the permits of a class are not conserved");
        let full = class.held() >= class.limit;
        assert!(full || class.line.waiting() == 0, "a task waits although its class has room");
        let lacks = |task: &&&Task| task.state.holds_permit() && task.class_index.is_none();
        let lacking = members.iter().find(lacks);
        assert!(lacking.is_none(), "{lacking:?} runs without a permit of its class");
    }
    let mut others = machine.tasks().iter().filter(|task| task.plan.class.is_none());
    assert!(others.all(|task| task.class_index.is_none()), "a permit of no class");
}

fn audit_owner(machine: &Machine, task: &Task, slot: SlotKey) {
    let owns = machine.slots().get(slot).owner == Some(task.addr.key);
    // Refused tasks and those that waited in the queue close without having owned the slot.
    let owner = match task.state {
        State::Closing(_) => !task.owner_since.is_never(),
        _ => task.state != State::Queued,
    };
    assert_eq!(owns, owner, "{task:?} is not where its slot has it");
}

fn audit_timer(machine: &Machine, task: &Task) {
    let due = machine.due(task.addr.key);
    let right = match task.state {
        State::Intake | State::Over => panic!("{task:?} was left within a step"),
        State::Queued | State::Runnable => {
            // Offers to members are taken back.
            let never_ran = task.attempt == 0 || task.is_member();
            due.is_never() || (never_ran && task.plan.expires_in.is_some())
        }
        State::Starting { stop: None, expired: false, sent_back: false } => {
            due.is_never() || task.plan.expires_in.is_some()
        }
        State::Starting { .. } | State::Abandoned { .. } => due.is_never(),
        // Looks, and in a streak the stable moment, come before the deadline.
        State::Running { deadline, .. } if task.streak == 0 && task.plan.watchdog.is_none() => {
            due == deadline
        }
        State::Running { deadline, .. } => due <= deadline,
        // A shutdown bounds every grace, also that of an attempt whose own has passed already.
        State::Stopping { .. } => {
            !machine.is_running() || due.is_never() || due <= task.since.after(task.plan.grace)
        }
        State::Closing(closing) => {
            due.is_never() || (!closing.stuck && (!machine.is_running() || due > task.since))
        }
        State::Waiting(_) => due.is_never() || due >= task.since,
    };
    assert!(right, "the timer of {task:?} is set to {due:?}");
}

/// Whether a task is on its way out, whatever it does.
const fn ends(task: &Task) -> bool {
    match task.state {
        State::Starting { stop, expired, sent_back } => stop.is_some() || expired || sent_back,
        State::Stopping { stop, .. } => stop.is_some(),
        State::Abandoned { over, .. } => over,
        State::Closing(_) => true,
        State::Intake
        | State::Queued
        | State::Runnable
        | State::Running { .. }
        | State::Waiting(_)
        | State::Over => false,
    }
}

fn audit_deadline(machine: &Machine) {
    let dues = machine.tasks().iter().map(|task| machine.due(task.addr.key));
    let first = dues.min().unwrap_or(Time::NEVER);
    let latest = first.after(machine.limits().timer_slack);
    assert!(machine.deadline() <= latest, "a timer would be slept through");
    let by_itself = !machine.is_running() || machine.is_draining();
    assert!(by_itself || machine.deadline() >= first, "nothing is due then");
}

/// Panics unless nothing is left of anything that ever was.
pub(crate) fn audit_face_empty(machine: &Machine) {
    assert_eq!(machine.tasks().iter().count(), 0, "a task is left");
    assert_eq!(machine.permits_held(), 0, "a permit is left");
    assert!(machine.classes().iter().all(|class| class.held() == 0), "a class permit is left");
    assert!(machine.slots().iter().all(|(_, slot)| slot.owner.is_none()), "a slot is left");
}

/// Whether something that is due is left after the machine was told of that. Not so if all of it is
/// members that were offered to threads at this time: those that were sent back may have expired
/// before anybody looked.
pub(crate) fn is_overdue(machine: &Machine, now: Time) -> bool {
    let due = |task: &&Task| machine.due(task.addr.key) <= now;
    let mut due = machine.tasks().iter().filter(due).peekable();
    let offered = |task: &Task| {
        let offered = matches!(task.state, State::Runnable | State::Starting { .. });
        task.is_member() && offered && task.since == now
    };
    let offers_late = due.peek().is_some() && due.all(offered);
    machine.deadline() <= now && !offers_late
}
