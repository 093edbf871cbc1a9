//! What a failure of a member means for the others.

use threadvisor::prelude::*;
use threadvisor::ThreadOptions;

use super::{rig, Line, LONG, MS};
use crate::support::{next, on_thread, outcome_of, resident, End, Gate, Puppet, Rig, WATCHDOG};

#[test]
fn under_one_for_one_the_others_go_on() {
    let rig = rig();
    let line = Line::up(&rig, |group| group);
    line.driver.end(End::Fail);
    assert_eq!(line.driver.started(), 2);
    assert!(line.readers.iter().all(Puppet::rests));
    assert!(line.group.wait_ready(MS).unwrap(), "a group that is up stays so");
    // Nor does a failure for good concern them.
    line.driver.end(End::Fatal);
    assert!(outcome_of(line.member(0)).is_fatal());
    assert_eq!(line.member(1).state(), TaskState::Running);
    assert_eq!(rig.group_story("line"), ["group_starting", "group_ready"]);
    for reader in &line.readers {
        reader.end(End::Ok);
    }
    let outcomes = line.group.wait().unwrap();
    assert!(outcomes[0].is_fatal() && outcomes[1..].iter().all(Outcome::is_success));
    assert_eq!(rig.group_story("line")[2..], ["group_ended"]);
}

#[test]
fn under_one_for_all_all_return_and_start_again_in_order() {
    let rig = rig();
    let line = Line::up(&rig, GroupSpec::one_for_all);
    // A reader fails: its neighbour goes back, and only then the driver.
    line.readers[0].end(End::Fail);
    assert_eq!(line.readers[1].told(), CancelReason::Group);
    assert_eq!(line.member(0).state(), TaskState::Running);
    line.readers[1].end(End::Obey);
    assert_eq!(line.driver.told(), CancelReason::Group);
    assert!(!line.group.wait_ready(MS).unwrap());
    line.driver.end(End::Obey);
    assert_eq!(line.driver.started(), 2);
    for reader in &line.readers {
        assert_eq!(reader.started(), 2);
    }
    assert!(line.group.wait_ready(WATCHDOG).unwrap());
    let story = rig.group_story("line");
    assert_eq!(story, ["group_starting", "group_ready", "group_restarting 1: gps", "group_ready"]);
    // Only the one that failed has a failure.
    let snapshot = rig.handle.snapshot().unwrap();
    let failures: Vec<_> = snapshot.tasks.iter().map(|task| task.failures).collect();
    assert_eq!(failures, [0, 1, 0]);
    assert_eq!(snapshot.group("line").unwrap().restarts, 1);
    line.stop();
    let report = rig.supervisor.shutdown().unwrap();
    let text = "group line: stopped (stop) in order, driver last, after 1 restart";
    assert_eq!(report.groups[0].to_string(), text);
}

/// Its first attempt is the second that was offered to a thread.
#[test]
fn the_start_of_a_member_that_was_sent_back_before_is_seen() {
    let mut gate = Gate::new();
    let hold = gate.hold();
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG).on_thread_start(move || {
        if std::thread::current().name() == Some("late") {
            hold();
        }
        Ok(())
    }));
    let (driver, strings) = Puppet::new("driver");
    let late = resident("late").dedicated_thread(ThreadOptions::new().name("late"));
    let soon = BackoffPolicy::constant(MS);
    let group = GroupSpec::new("pair").one_for_all().then([driver.backoff(soon), late]);
    let group = rig.handle.add_group(group).unwrap();
    assert_eq!(strings.started(), 1);
    gate.wait_entered();
    strings.end(End::Fail);
    rig.until_group("pair", "group_restarting 1: driver");
    assert_eq!(strings.started(), 2);

    let late = group.members()[1].clone();
    let started = on_thread(move || late.wait_started());
    gate.open();
    assert!(next(&started).unwrap());
    group.cancel();
    strings.end(End::Obey);
}

#[test]
fn under_rest_for_one_earlier_phases_and_neighbours_go_on() {
    let rig = rig();
    let ((a, first), (b, second)) = (Puppet::new("a"), Puppet::new("b"));
    let ((beside, neighbour), (c, third)) = (Puppet::new("beside"), Puppet::new("c"));
    let group = GroupSpec::new("line").rest_for_one().then(a).then([b, beside]).then(c);
    let group = rig.handle.add_group(group).unwrap();
    for it in [&first, &second, &neighbour, &third] {
        assert_eq!(it.started(), 1);
    }
    second.end(End::Panic);
    assert_eq!(third.told(), CancelReason::Group);
    third.end(End::Obey);
    assert_eq!((second.started(), third.started()), (2, 2));
    assert!(first.rests() && neighbour.rests());
    assert_eq!(rig.group_story("line")[2], "group_restarting 1: b");
    group.cancel();
    for it in [&third, &second, &neighbour, &first] {
        it.end(End::Obey);
    }
    let _ = group.wait().unwrap();
}

#[test]
fn a_member_that_fails_for_good_stops_its_group() {
    let rig = rig();
    let line = Line::up(&rig, GroupSpec::one_for_all);
    line.driver.end(End::Fatal);
    for reader in &line.readers {
        assert_eq!(reader.told(), CancelReason::Stop);
        reader.end(End::Obey);
    }
    let outcomes = line.group.wait().unwrap();
    let is_of_group =
        |it: &Outcome| matches!(it, Outcome::Cancelled { reason: StopReason::Group, .. });
    assert!(outcomes[0].is_fatal() && outcomes[1..].iter().all(is_of_group), "{outcomes:?}");
    assert_eq!(rig.group_story("line")[2..], ["group_stopping group: driver", "group_ended"]);
    let report = rig.supervisor.shutdown().unwrap();
    let text = report.groups[0].to_string();
    assert!(text.starts_with("group line: stopped (because of driver#1) in order, "), "{text}");
}

#[test]
fn a_group_that_restarts_too_often_stops() {
    let rig = rig();
    let line = Line::up(&rig, |group| group.one_for_all().restart_limit(1, LONG));
    for attempt in [2, 3] {
        line.driver.end(End::Fail);
        for reader in &line.readers {
            reader.told();
            reader.end(End::Obey);
        }
        if attempt == 2 {
            assert_eq!(line.driver.started(), 2);
            line.readers_start();
        }
    }
    let outcomes = line.group.wait().unwrap();
    assert!(outcomes[0].is_failed(), "{outcomes:?}");
    let story = rig.group_story("line");
    assert_eq!(story[story.len() - 2..], ["group_stopping group: driver", "group_ended"]);
    assert_eq!(rig.handle.snapshot().unwrap().groups, []);
}

/// Such as a driver that returns when its port is unplugged.
#[test]
fn the_return_of_a_resident_counts_for_the_others_even_if_it_is_ok() {
    let rig = rig();
    let (spec, driver) = Puppet::new("driver");
    let (reader, strings) = Puppet::new("reader");
    let spec = spec.restart(RestartPolicy::Always);
    let line = GroupSpec::new("line").rest_for_one().then(spec).then(reader);
    let line = rig.handle.add_group(line).unwrap();
    let _ = (driver.started(), strings.started());
    driver.end(End::Ok);
    assert_eq!(strings.told(), CancelReason::Group);
    strings.end(End::Ok);
    assert_eq!((driver.started(), strings.started()), (2, 2));
    line.cancel();
    let _ = (strings.end(End::Obey), driver.end(End::Obey));
    let _ = line.wait().unwrap();
}

#[test]
fn a_restart_by_hand_is_one_of_all_in_order_and_counts_nothing() {
    let rig = rig();
    let line = Line::up(&rig, |group| group);
    assert!(line.group.restart());
    // It was up, but what it waits for now is the new start.
    assert!(!line.group.wait_ready(MS).unwrap());
    line.readers_go_back(CancelReason::Group);
    assert_eq!(line.driver.told(), CancelReason::Group);
    assert!(matches!(line.group.state(), GroupState::Restarting { .. }));
    line.driver.end(End::Obey);
    assert_eq!(line.driver.started(), 2);
    line.readers.iter().for_each(|reader| assert_eq!(reader.started(), 2));
    assert!(line.group.wait_ready(WATCHDOG).unwrap());
    let snapshot = rig.handle.snapshot().unwrap();
    assert!(snapshot.tasks.iter().all(|task| task.failures == 0));
    assert_eq!(rig.group_story("line")[2], "group_restarting 1");
    line.stop();
}

#[test]
fn a_member_can_be_restarted_and_stopped_by_itself_but_not_paused() {
    let rig = rig();
    let line = Line::up(&rig, GroupSpec::rest_for_one);
    assert!(!line.member(0).pause());
    assert!(line.member(0).restart());
    assert_eq!(line.driver.told(), CancelReason::Restart);
    line.driver.end(End::Obey);
    line.readers.iter().for_each(|it| assert_eq!(it.told(), CancelReason::Group));
    line.readers_end();
    assert_eq!(line.driver.started(), 2);
    line.readers.iter().for_each(|it| assert_eq!(it.started(), 2));

    // As its slot is free, somebody else may have it; the group never gets it back.
    line.member(1).cancel();
    line.readers[0].told();
    line.readers[0].end(End::Obey);
    let _ = outcome_of(line.member(1));
    rig.handle.add(resident("stranger").slot("gps")).unwrap();
    assert_eq!(line.member(2).state(), TaskState::Running);
    line.driver.end(End::Fail);
    line.readers[1].told();
    line.readers[1].end(End::Obey);
    assert_eq!((line.driver.started(), line.readers[1].started()), (3, 3));
    assert!(line.group.wait_ready(WATCHDOG).unwrap());
    line.group.cancel();
    let _ = (line.readers[1].end(End::Obey), line.driver.end(End::Obey));
    let _ = line.group.wait().unwrap();
}
