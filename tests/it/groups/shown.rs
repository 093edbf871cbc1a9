//! Groups in snapshots, events and texts.

use threadvisor::prelude::*;

use super::{rig, Line, LONG, MS};
use crate::support::{resident, End, Puppet, Rig, WATCHDOG};

/// The state of a group, and those of its members that have not ended, from one snapshot.
fn seen(rig: &Rig) -> (GroupState, Vec<TaskState>) {
    let snapshot = rig.handle.snapshot().unwrap();
    let group = snapshot.group("line").unwrap().clone();
    let states = group.members.iter().filter_map(|id| {
        let task = snapshot.task(*id)?;
        assert_eq!(task.group.as_deref(), Some("line"));
        Some(task.state)
    });
    let states = states.collect();
    (group.state, states)
}

#[test]
fn a_snapshot_shows_one_moment_in_each_part_of_a_groups_life() {
    use TaskState::{Abandoned, Running, Stopping, Waiting};
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let ((configure, step), (driver, modem)) = (Puppet::new("configure"), Puppet::new("driver"));
    let (reader, gps) = Puppet::new("gps");
    let line = GroupSpec::new("line")
        .one_for_all()
        .then(configure.step())
        .then(driver.backoff(BackoffPolicy::constant(LONG)).grace(20 * MS))
        .then(reader);
    let line = rig.handle.add_group(line).unwrap();
    step.started();
    assert_eq!(seen(&rig), (GroupState::Starting { phase: 0 }, vec![Running, Waiting, Waiting]));
    let snapshot = rig.handle.snapshot().unwrap();
    let phases: Vec<_> = snapshot.tasks.iter().map(|task| (task.phase, task.next_wake)).collect();
    assert_eq!(phases, [(Some(0), None), (Some(1), None), (Some(2), None)]);
    assert!(snapshot.to_string().contains("\n  group line starting, phase 0"), "{snapshot}");
    let table = snapshot.table(80, false);
    assert!(table.contains("\nGROUP  STATE              RESTARTS  MEMBERS\n"), "{table}");
    let row = "\nline   starting, phase 0         0  configure#1, driver#2, gps#3";
    assert!(table.contains(row), "{table}");
    step.end(End::Ok);
    let _ = (modem.started(), gps.started());
    assert!(line.wait_ready(WATCHDOG).unwrap());
    assert_eq!(seen(&rig), (GroupState::Up, vec![Waiting, Running, Running]));

    assert!(line.restart());
    gps.told();
    let (state, members) = seen(&rig);
    assert!(matches!(state, GroupState::Restarting { waits_for: None, .. }), "{state:?}");
    assert_eq!(members, [Waiting, Running, Stopping]);
    gps.end(End::Obey);
    modem.told();
    rig.until(&line.members()[1], "attempt_abandoned 1: group");
    let (state, members) = seen(&rig);
    let GroupState::Restarting { waits_for: Some(driver), .. } = state else {
        panic!("{state:?}");
    };
    assert_eq!((driver.id, &*driver.name), (line.members()[1].id(), "driver"));
    assert_eq!(members, [Waiting, Abandoned, Waiting]);
    let text = rig.handle.snapshot().unwrap().to_string();
    assert!(text.contains(&format!(", waits for {driver}, after 1 restart")), "{text}");

    // The body returns after all: the group goes on from there, once its backoff is over.
    modem.end(End::Obey);
    rig.until(&line.members()[1], "retry_scheduled 1: abandoned");
    assert!(line.members()[1].skip_wait());
    step.started();
    line.cancel();
    step.told();
    let (state, members) = seen(&rig);
    assert!(matches!(state, GroupState::Stopping { .. }), "{state:?}");
    assert_eq!(members[0], Stopping);
    step.end(End::Obey);
    let _ = line.wait().unwrap();
    assert_eq!(rig.handle.snapshot().unwrap().groups, []);
    assert_eq!(rig.handle.snapshot().unwrap().tasks.len(), 0);
}

#[test]
fn events_of_members_name_their_group() {
    let rig = rig();
    let alone = rig.handle.add(resident("alone")).unwrap();
    let line = Line::up(&rig, GroupSpec::one_for_all);
    line.driver.end(End::Fail);
    for reader in &line.readers {
        reader.told();
        reader.end(End::Obey);
    }
    line.driver.started();
    line.readers_start();
    assert!(line.group.wait_ready(WATCHDOG).unwrap());
    let events = rig.events();
    for event in &events {
        let of_alone = event.task.as_ref().is_some_and(|task| task.id == alone.id());
        assert_eq!(event.group.as_deref(), Some("line").filter(|_| !of_alone), "{event}");
        assert_eq!(event.to_string().contains(" group=line"), !of_alone, "{event}");
    }
    let has = |text: &str| events.iter().any(|event| event.to_string().contains(text));
    assert!(has("event=group_starting group=line"));
    assert!(has("event=attempt_failed task=driver id=#2 group=line attempt=1 "));
    assert!(has("event=group_restarting group=line culprit=driver culprit_id=#2 restarts=1"));
    line.stop();
    let last = rig.until_group("line", "group_stopping stop").to_string();
    assert!(last.ends_with("event=group_stopping group=line why=stop"), "{last}");
}

#[test]
fn odd_names_of_groups_stay_on_their_line() {
    const ODD: &str = "a\nb\u{1b}[2J";
    const SHOWN: &str = r"a\nb\u{1b}[2J";
    let rig = rig();
    let driver = TaskSpec::new(ODD, |_| Err(TaskError::fatal("no port")));
    let reader = TaskSpec::new("reader", move |ctx| Ok(ctx.sleep(LONG)?));
    let group = GroupSpec::new(ODD).one_for_all().then(driver.initial_delay(LONG)).then(reader);
    let group = rig.handle.add_group(group).unwrap();
    let snapshot = rig.handle.snapshot().unwrap().to_string();
    let again = GroupSpec::new(ODD).then(resident("other").timeout(std::time::Duration::ZERO));
    let refused = rig.handle.add_group(again).unwrap_err().to_string();
    assert!(group.members()[0].skip_wait());
    let _ = group.wait().unwrap();
    let events: Vec<_> = rig.events().iter().map(ToString::to_string).collect();
    let report = rig.supervisor.shutdown().unwrap().to_string();
    assert!(report.contains(&format!("group {SHOWN}: stopped (because of {SHOWN}#1) in order")));
    let texts = events.iter().chain([&snapshot, &refused, &report]);
    for text in texts {
        assert!(text.contains(SHOWN), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("a\nb"), "{text}");
    }
}
