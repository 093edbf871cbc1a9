//! What holds of groups between two steps, whatever has happened.

use alloc::vec::Vec;

use crate::machine::roster::{Group, Member, Mode};
use crate::machine::task::{Closing, State, Task, Wait};
use crate::machine::Machine;
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::reason::CancelReason;

/// A member, and its task if that is not forgotten.
type Found<'a> = (&'a Member, Option<&'a Task>);

pub(super) fn audit_groups(machine: &Machine) {
    assert!(machine.groups.touched.is_empty(), "a group was not advanced");
    for group in machine.groups.iter() {
        let find = |member: &Member| {
            machine.tasks.get(member.task.key).filter(|task| task.addr == member.task)
        };
        let members: Vec<_> = group.members.iter().map(|it| (it, find(it))).collect();
        audit_group(machine, group, &members);
    }
    let n_members = machine.tasks.iter().filter(|task| task.is_member()).count();
    assert_eq!(
        machine.groups.n_members(),
        n_members,
        "a member is forgotten, and not by its group"
    );
    for task in machine.tasks.iter() {
        let member = machine.groups.member(task);
        let known = member.map_or_else(|| !task.is_member(), |(_, it)| it.task == task.addr);
        assert!(known, "{task:?} is in a group that does not know it");
        let waits = task.state == State::Waiting(Wait::Phase);
        assert!(!waits || member.is_some(), "{task:?} waits for the phase of no group");
        assert!(!waits || machine.due(task.addr.key).is_never(), "{task:?} has a timer");
        assert!(!waits || task.class_index.is_none(), "{task:?} holds a permit of its class");
        assert!(member.is_none() || !task.paused, "{task:?} is paused");
    }
}

fn audit_group(machine: &Machine, group: &Group, members: &[Found<'_>]) {
    assert!(members.iter().any(has_no_outcome), "{group:?} is over and not forgotten");
    let resident = |found: &&Found<'_>| {
        has_no_outcome(found) && found.1.is_some_and(|task| task.plan.is_resident())
    };
    let residents = members.iter().filter(resident).count();
    assert_eq!(group.residents, residents, "{group:?} has lost count");
    for (member, task) in members {
        let Some(task) = task else { continue };
        assert_eq!(machine.groups.key_of(task), Some(group.addr.key), "{task:?} is in no group");
        // Of a phase that is not released, nobody runs or is about to.
        let begins = task.state == State::Waiting(Wait::Phase) || is_on_its_way_out(task);
        assert!(member.phase < group.released || begins, "{task:?} comes before its phase");
    }
    match group.mode {
        Mode::Up => audit_up(group, members),
        Mode::Restarting { from } => audit_restart(group, from, members),
        Mode::Stopping { .. } => audit_stop(machine, group, members),
    }
    let stops = matches!(group.mode, Mode::Stopping { .. });
    assert!(machine.is_running() || stops, "{group:?} goes on in a shutdown");
}

fn audit_up(group: &Group, members: &[Found<'_>]) {
    assert!(members.iter().all(|(it, _)| !it.back), "{group:?} sends somebody back");
    let released = members.iter().filter(|(it, _)| it.phase < group.released);
    let settled = released.clone().all(|found| found.0.ready || !has_no_outcome(found));
    let up = group.released == group.phases() && group.starting_since.is_none();
    assert_eq!(settled, up, "{group:?} does not come up, or did too early");
    for (member, task) in released {
        let waits = task.is_some_and(|task| task.state == State::Waiting(Wait::Phase));
        let parked = task.is_some_and(|task| task.plan.step) && member.ready;
        assert!(!waits || parked, "{task:?} waits for ever");
    }
}

fn audit_restart(group: &Group, from: u32, members: &[Found<'_>]) {
    assert!(group.starting_since.is_some(), "{group:?} is up and restarts");
    let back = || members.iter().filter(|(it, _)| it.back);
    assert!(back().next().is_some(), "{group:?} restarts for nobody");
    assert!(back().all(|(it, _)| it.phase >= from), "{group:?} restarts from too late");
    let rests = |task: &Task| task.state == State::Waiting(Wait::Phase);
    let rest = back().all(|(_, task)| task.map_or(true, rests));
    assert!(!rest, "{group:?} does not start again");
    for (member, task) in back() {
        let Some(task) = task else { continue };
        assert_held(task, false);
        let later = back().filter(|(it, _)| it.phase > member.phase);
        let later = later.filter_map(|(_, task)| *task);
        let busy = later.clone().filter(|task| goes_back(task)).count();
        // One that was at rest may have been stopped for itself since then.
        let running = later.filter(|task| task.state.holds_permit() && goes_back(task)).count();
        match task.state {
            State::Running { .. } => assert!(busy > 0, "{task:?} is not told"),
            State::Stopping { told: CancelReason::Group, .. } => {
                assert_eq!(running, 0, "{task:?} was told before its turn");
            }
            _ => {}
        }
    }
}

fn audit_stop(machine: &Machine, group: &Group, members: &[Found<'_>]) {
    let last = group.phases() - 1;
    for (member, task) in members {
        let Some(task) = task else { continue };
        assert_held(task, true);
        let is_due = last - member.phase <= machine.phase.steps();
        let later = members.iter().filter(|(it, _)| it.phase > member.phase);
        let waits = !is_due && later.filter(|found| has_no_outcome(found)).count() > 0;
        assert!(waits || is_on_its_way_out(task), "{task:?} is not stopped");
    }
}

/// It does not start, because its group restarts or stops.
fn assert_held(task: &Task, stops: bool) {
    let held = match task.state {
        State::Starting { stop, expired, sent_back } => stop.is_some() || expired || sent_back,
        State::Waiting(Wait::Phase) => true,
        State::Waiting(Wait::Backoff { .. }) => !stops,
        State::Waiting(_) | State::Runnable => false,
        _ => true,
    };
    assert!(held, "{task:?} goes on while its group restarts or stops");
}

fn goes_back(task: &Task) -> bool {
    match task.state {
        State::Waiting(_) | State::Abandoned { .. } => false,
        State::Closing(Closing { stuck, over, .. }) => !stuck && !over,
        _ => true,
    }
}

fn has_no_outcome(found: &Found<'_>) -> bool {
    found.1.is_some_and(|task| !task.state.is_over())
}

fn is_on_its_way_out(task: &Task) -> bool {
    match task.state {
        State::Starting { stop, .. } | State::Stopping { stop, .. } => stop.is_some(),
        State::Abandoned { over, .. } => over,
        State::Closing(_) => true,
        _ => false,
    }
}

/// Whether a task stays until its group ends.
pub(super) fn stays(machine: &Machine, task: &Task) -> bool {
    let Some((group, own)) = machine.groups.member(task) else { return false };
    let is = |it: &Member, what: fn(&Task) -> bool| {
        machine.tasks.get(it.task.key).is_some_and(|found| found.addr == it.task && what(found))
    };
    let resident =
        |task: &Task| task.plan.restart == RestartPolicy::Always && !task.state.is_over();
    let parked = |task: &Task| task.plan.step && task.state == State::Waiting(Wait::Phase);
    group.members.iter().any(|it| is(it, resident)) || (own.ready && is(own, parked))
}
