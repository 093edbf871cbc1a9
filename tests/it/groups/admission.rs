//! What is refused, with a remedy, and comes back whole.

use std::mem::size_of;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, SupervisorBuilder};

use super::LONG;
use crate::support::{no_op, outcome_of, resident, End, Rig};

#[track_caller]
fn refused(builder: SupervisorBuilder, group: GroupSpec) -> AddError<GroupSpec> {
    let rig = Rig::start(builder);
    let (name, shown) = (group.name().to_owned(), format!("{group:?}"));
    let error = rig.handle.add_group(group).unwrap_err();
    assert_eq!(rig.handle.snapshot().unwrap().tasks.len(), 0);
    assert!(rig.handle.group(&name).is_none());
    // It comes back as it was: the same error follows.
    let text = error.to_string();
    let group = error.into_spec();
    assert_eq!(format!("{group:?}"), shown);
    let again = rig.handle.add_group(group).unwrap_err();
    let without_ids = |text: &str| text.split('#').next().unwrap().to_owned();
    assert_eq!(without_ids(&again.to_string()), without_ids(&text));
    again
}

#[track_caller]
fn invalid(group: GroupSpec, text: &str) {
    let error = refused(Supervisor::builder(), group);
    assert!(matches!(error, AddError::Invalid { .. }), "{error}");
    assert_eq!(error.to_string(), text);
}

#[test]
fn what_cannot_work_is_named_with_a_remedy() {
    let group = || GroupSpec::new("line");
    let step = || TaskSpec::new("step", |_| Ok(())).step();
    let name = "name cannot be \"\": give a text that is not empty and has no NUL";
    invalid(GroupSpec::new("").then(step()), &format!("group \"\": {name}"));
    invalid(group(), "group \"line\": then cannot be missing: give the group at least one member");
    let empty = "then cannot be empty in phase 1: give each phase at least one member";
    invalid(group().then(step()).then([]), &format!("group \"line\": {empty}"));
    let once = "once cannot be a member: use TaskSpec::new, because a member may run again";
    invalid(group().then(no_op("a")), &format!("group \"line\": task \"a\": {once}"));
    invalid(
        group().then(step().timeout(Duration::ZERO)),
        "group \"line\": task \"step\": timeout cannot be 0ns: \
         give a span above zero, or None for no limit",
    );
    let always = "step cannot be under Always: \
                  leave out `restart` and any interval, because a step ends with its success";
    for spec in [step().restart(RestartPolicy::Always), step().every(LONG)] {
        invalid(group().then(spec), &format!("group \"line\": task \"step\": {always}"));
    }
    invalid(
        group().then(step().shutdown_on_end()),
        "group \"line\": task \"step\": step cannot be under shutdown_on_end: \
         let another member shut the supervisor down",
    );
    invalid(
        group().one_for_all().restart_limit(3, Duration::ZERO).then(step()),
        "group \"line\": restart_limit cannot be 0ns: give a span above zero",
    );
    invalid(
        group().restart_limit(3, LONG).then(step()),
        "group \"line\": restart_limit cannot be 3: set one_for_all or rest_for_one as \
         well, or max_retries or failure_limit of the members instead",
    );
    invalid(
        group().then(step().class("flash")),
        "group \"line\": task \"step\": class cannot be \"flash\": \
         declare it with SupervisorBuilder::class_limit",
    );
}

#[test]
fn only_a_member_of_a_group_is_a_step() {
    let rig = Rig::new();
    let step = || TaskSpec::new("alone", |_| Ok(())).step();
    let text = "task \"alone\": step cannot be set without a group: \
                leave it out, because only a member of a group can be a step";
    assert_eq!(rig.handle.add(step()).unwrap_err().to_string(), text);
    assert_eq!(rig.handle.add_all([step()]).unwrap_err().to_string(), text);
    let submitted = rig.handle.submit(step(), AdmissionPolicy::Queue);
    assert_eq!(submitted.unwrap_err().to_string(), text);
    let submitted = rig.handle.try_submit(step(), AdmissionPolicy::Queue);
    assert_eq!(submitted.unwrap_err().to_string(), text);
    assert_eq!(rig.supervisor.run([step()]).unwrap_err().to_string(), text);
}

/// What the defaults set does not count for a step.
#[test]
fn a_step_ends_with_its_success_whatever_the_defaults_are() {
    let always = TaskDefaults::new().restart(RestartPolicy::Always);
    let rig = Rig::start(Supervisor::builder().defaults(always));
    let group = GroupSpec::new("once").then(TaskSpec::new("step", |_| Ok(())).step());
    let group = rig.handle.add_group(group).unwrap();
    assert!(group.wait().unwrap()[0].is_success());
}

#[test]
fn a_group_that_could_never_be_up_is_refused() {
    let five = || {
        let readers = ["a", "b", "c"].map(resident);
        let step = TaskSpec::new("step", |_| Ok(())).step();
        GroupSpec::new("five").then(step).then(resident("driver")).then(readers)
    };
    let error = refused(Supervisor::builder().max_concurrent(3), five());
    assert_eq!(
        error.to_string(),
        "task \"step\" was refused: 4 members of its group run at once, and there are permits \
         for 3: raise max_concurrent or the limit of their class"
    );
    let rig = Rig::start(Supervisor::builder().max_concurrent(4));
    assert!(rig.handle.add_group(five()).unwrap().wait_ready(LONG).unwrap());

    // So with the permits of a class, unless they are given back.
    let both = || ["a", "b"].map(|name| resident(name).class("port"));
    let builder = || Supervisor::builder().class_limit("port", 1).class_limit("rest", 9);
    let error = refused(builder(), GroupSpec::new("ports").then(both()));
    let too_large = Rejection::GroupTooLarge { members: 2, limit: 1 };
    assert_eq!(error.rejection(), Some(too_large));
    let rig = Rig::start(builder());
    let both = both().map(|spec| spec.repeat_after(LONG));
    rig.handle.add_group(GroupSpec::new("ports").then(both)).unwrap();
}

#[test]
fn a_group_is_admitted_as_a_whole_or_not_at_all() {
    let rig = Rig::new();
    let line = |slot: &str| {
        GroupSpec::new(slot).then(resident("first")).then(resident("second").slot(slot.to_owned()))
    };
    let error = rig.handle.add_group(line("first")).unwrap_err();
    assert!(matches!(error.rejection(), Some(Rejection::SlotNamedTwice { .. })), "{error}");
    rig.handle.add(resident("owner").slot("tty")).unwrap();
    let error = rig.handle.add_group(line("tty")).unwrap_err();
    assert!(matches!(error.rejection(), Some(Rejection::SlotBusy { .. })), "{error}");
    assert!(format!("{error:?}").ends_with("(handed back: [\"first\", \"second\"])"), "{error:?}");
    assert_eq!(rig.handle.snapshot().unwrap().groups, []);

    let group = rig.handle.add_group(line("free")).unwrap();
    let other = GroupSpec::new("free").then(resident("other"));
    let error = rig.handle.add_group(other).unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::GroupNameInUse));
    assert_eq!(rig.handle.group("free"), Some(group));
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(report.groups.len(), 1);
    let text = report.to_string();
    assert!(text.contains("rejected, group_name_in_use: 1 (other)"), "{text}");
    let closed = rig.handle.add_group(line("late")).unwrap_err();
    assert!(matches!(&closed, AddError::Closed { spec } if spec.name() == "late"), "{closed}");
    assert_eq!(closed.into_spec().as_ref().len(), 2);
}

/// Those of the refused one end meanwhile.
#[test]
fn a_group_that_stops_is_told_apart_from_one_of_its_name_that_is_refused() {
    let rig = super::rig();
    let line = super::Line::up(&rig, GroupSpec::one_for_all);
    line.group.cancel();
    let [first, second] = &line.readers;
    first.told();
    first.end(End::Obey);
    assert!(outcome_of(line.member(1)).is_cancelled());
    let other = GroupSpec::new("line").then(resident("other")).then(resident("last"));
    let error = rig.handle.add_group(other).unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::GroupNameInUse));
    second.end(End::Obey);
    line.driver.told();
    line.driver.end(End::Obey);
    let _ = line.group.wait().unwrap();
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(report.groups[0].late, []);
    assert_eq!(report.groups[0].last.as_ref().map(|last| last.id), Some(line.member(0).id()));
}

#[test]
fn a_group_spec_is_one_pointer_wide() {
    assert_eq!(size_of::<GroupSpec>(), size_of::<usize>());
    assert_eq!(size_of::<AddError<GroupSpec>>(), size_of::<AddError>());
}
