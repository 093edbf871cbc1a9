//! Waits for groups, and what handles of them find.

use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{ManualClock, WaitError};

use super::{rig, Line, LONG, MS};
use crate::support::{in_time, next, on_thread, outcome_of, resident, End, Puppet, Rig, WATCHDOG};

/// A group that is not ready before its one member is let.
fn slow(rig: &Rig) -> (GroupHandle, Puppet) {
    let (spec, step) = Puppet::new("step");
    let group = GroupSpec::new("slow").then(spec.step()).then(resident("after"));
    let group = rig.handle.add_group(group).unwrap();
    step.started();
    (group, step)
}

#[test]
fn a_wait_ends_when_the_group_is_ready_or_will_never_be() {
    let rig = rig();
    let (group, step) = slow(&rig);
    assert!(!group.wait_ready(Duration::ZERO).unwrap());
    assert!(!group.wait_ready(MS).unwrap());
    let waits: Vec<_> = (0..4)
        .map(|_| {
            let group = group.clone();
            on_thread(move || group.wait_ready(Duration::MAX))
        })
        .collect();
    step.end(End::Ok);
    assert!(waits.iter().all(|it| next(it).unwrap()));
    let waits = {
        let group = group.clone();
        on_thread(move || group.wait().map(|outcomes| outcomes.len()))
    };
    group.cancel();
    assert_eq!(next(&waits).unwrap(), 2);
    assert!(matches!(group.wait_ready(MS), Err(WaitError::NotReady)));

    let (group, step) = slow(&rig);
    let waits = {
        let group = group.clone();
        on_thread(move || group.wait_ready(LONG))
    };
    step.end(End::Fatal);
    let error = next(&waits).unwrap_err();
    assert_eq!(error, WaitError::NotReady);
    assert!(error.to_string().contains("see its members' outcomes"), "{error}");
    let _ = group.wait().unwrap();
}

/// A group of steps has been what it was to be.
#[test]
fn a_group_that_was_ready_when_it_ended_stays_so() {
    let rig = rig();
    let step = |name| TaskSpec::new(name, |_| Ok(())).step();
    let group = rig.handle.add_group(GroupSpec::new("a").then(step("b")).then(step("c"))).unwrap();
    assert!(group.wait().unwrap().iter().all(Outcome::is_success));
    assert!(group.wait_ready(Duration::ZERO).unwrap());
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(report.groups[0].to_string(), "group a: ended by itself, b last");
    assert!(group.wait_ready(Duration::ZERO).unwrap());
    assert_eq!(group.state(), GroupState::Over);
    assert!(!group.restart());
    group.cancel();
}

#[test]
fn the_wait_of_a_body_ends_with_its_attempt() {
    let rig = rig();
    let (group, step) = slow(&rig);
    let (hello, waits) = bounded(2);
    let wait = |name, wait: fn(&GroupHandle) -> Result<bool, WaitError>| {
        let (group, hello) = (group.clone(), hello.clone());
        TaskSpec::new(name, move |_| {
            hello.send(()).unwrap();
            wait(&group)?;
            Ok(())
        })
    };
    let ready = wait("ready", |group| group.wait_ready(Duration::MAX));
    let over = wait("over", |group| group.wait().map(|_| true));
    for task in rig.handle.add_all([ready, over]).unwrap() {
        next(&waits);
        task.cancel();
        let outcome = outcome_of(&task);
        assert!(matches!(outcome, Outcome::Cancelled { returned: None, .. }), "{outcome}");
    }
    group.cancel();
    step.told();
    step.end(End::Obey);
    let _ = group.wait().unwrap();
}

#[test]
fn a_member_that_waits_for_its_own_group_would_wait_for_itself() {
    let rig = rig();
    let member = TaskSpec::new("member", |ctx| {
        let own = ctx.handle().group(ctx.group().unwrap()).unwrap();
        assert_eq!(own.wait_ready(LONG), Err(WaitError::WouldDeadlock));
        assert!(matches!(own.wait(), Err(WaitError::WouldDeadlock)));
        assert_eq!(own.state(), GroupState::Starting { phase: 0 });
        Ok(())
    });
    let group = GroupSpec::new("own").then(member.step()).then(resident("later"));
    let group = rig.handle.add_group(group).unwrap();
    assert!(group.wait_ready(WATCHDOG).unwrap());
    assert!(rig.story(&group.members()[0]).iter().all(|line| !line.contains("panicked")));
}

/// What starts only when the body is ready, or ends with the group, never comes while it waits.
#[test]
fn a_member_that_waits_for_one_that_waits_for_it_is_told_so() {
    let rig = rig();
    let (give, given) = bounded::<Vec<TaskHandle>>(1);
    let step = TaskSpec::new("step", move |ctx| {
        let [_, driver, later] = &given.recv()?[..] else { panic!("three members") };
        assert_eq!(driver.wait().unwrap_err(), WaitError::WouldDeadlock);
        assert_eq!(ctx.wait_for(later).unwrap_err(), WaitError::WouldDeadlock);
        assert_eq!(later.wait_timeout(LONG).unwrap_err(), WaitError::WouldDeadlock);
        assert_eq!(later.wait_started(), Err(WaitError::WouldDeadlock));
        assert!(later.wait_timeout(Duration::ZERO)?.is_none(), "a look is no wait");
        Ok(())
    });
    let (pass, passed) = bounded::<Vec<TaskHandle>>(1);
    let driver = TaskSpec::new("driver", move |ctx| {
        let [step, _, later] = &passed.recv()?[..] else { panic!("three members") };
        assert_eq!(step.wait().unwrap_err(), WaitError::WouldDeadlock);
        assert!(step.wait_started()?);
        assert_eq!(later.wait_started(), Err(WaitError::WouldDeadlock));
        ctx.ready();
        // Now it comes, and ends by itself.
        assert!(later.wait_started()? && later.wait()?.is_success());
        Ok(())
    });
    let line = GroupSpec::new("line").then(step.step()).then(driver.ready_within(WATCHDOG));
    let line = line.then(TaskSpec::new("later", |_| Ok(())));
    let line = rig.handle.add_group(line).unwrap();
    give.send(line.members().to_vec()).unwrap();
    pass.send(line.members().to_vec()).unwrap();
    let outcomes = line.wait().unwrap();
    assert!(outcomes.iter().all(Outcome::is_success), "{outcomes:?}");
    let _ = rig.supervisor.shutdown().unwrap();
}

/// It keeps its permit, so there is none for them.
#[test]
fn members_need_no_permit_while_a_body_waits_for_them() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(2).grace(WATCHDOG));
    let occupied = rig.handle.add(resident("occupies")).unwrap();
    occupied.wait_started().unwrap();
    let body = TaskSpec::once("waits", |ctx| {
        let step = |name| TaskSpec::new(name, |_| Ok(())).step();
        let group = GroupSpec::new("inner").then(step("a")).then([step("b"), step("c")]);
        let group = ctx.handle().add_group(group)?;
        assert!(group.wait_ready(WATCHDOG)?);
        assert_eq!(group.wait()?.len(), 3);
        Ok(())
    });
    let waits = rig.handle.add(body).unwrap();
    assert!(outcome_of(&waits).is_success());
}

#[test]
fn the_group_of_a_name_is_found_until_it_has_ended_and_its_name_is_free_then() {
    let rig = rig();
    let line = Line::up(&rig, GroupSpec::one_for_all);
    let early = line.group.clone();
    line.driver.end(End::Fail);
    line.readers.iter().for_each(|it| assert_eq!(it.told(), CancelReason::Group));
    line.readers_end();
    line.driver.started();
    line.readers_start();

    let found = rig.handle.group("line").unwrap();
    assert_eq!((&found, found.members()), (&early, early.members()));
    assert!(rig.handle.group("lane").is_none());
    // One from before the restart controls it as well.
    early.cancel();
    line.readers_go_back(CancelReason::Stop);
    line.driver.end(End::Obey);
    let _ = found.wait().unwrap();
    assert!(rig.handle.group("line").is_none());
    for _ in 0..20 {
        let again = GroupSpec::new("line").then(TaskSpec::new("driver", |_| Ok(())));
        let again = rig.handle.add_group(again).unwrap();
        assert_ne!(again, early);
        let _ = again.wait().unwrap();
    }
    assert_eq!(early.state(), GroupState::Over);
    let handle = rig.handle.clone();
    let _ = rig.supervisor.shutdown().unwrap();
    assert!(handle.group("line").is_none());
}

#[test]
fn a_group_that_is_run_is_run_to_its_end() {
    let step = |name| TaskSpec::new(name, |_| Ok(())).step();
    let group = move || GroupSpec::new("all").then(step("a")).then(step("b"));
    let supervisor = Supervisor::builder().start().unwrap();
    let report = in_time(move || supervisor.run_group(group()).unwrap());
    assert_eq!((report.outcomes.completed, report.exit_code()), (2, 0));

    let supervisor = Supervisor::builder().start().unwrap();
    supervisor.handle().request_shutdown();
    let report = in_time(move || supervisor.run_group(group()).unwrap());
    assert_eq!(report.outcomes.rejected, 2);

    let supervisor = Supervisor::builder().start().unwrap();
    let ((give, own), (say, said)) = (bounded::<Supervisor>(1), bounded(1));
    let task = TaskSpec::once("own", move |_| {
        say.send(own.recv()?.run_group(group()).map(drop))?;
        Ok(())
    });
    let _ = supervisor.handle().add(task).unwrap();
    give.send(supervisor).unwrap();
    match next(&said) {
        Err(AddError::WouldDeadlock { spec }) => assert_eq!(spec.name(), "all"),
        other => panic!("{other:?}"),
    }
}

/// The backoff of a member, and a wait of a body for the group, in virtual time.
#[test]
fn a_manual_clock_moves_on_while_bodies_wait_for_a_group() {
    let clock = ManualClock::new();
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let driver = TaskSpec::new("driver", |ctx| {
        if ctx.attempt() < 3 {
            ctx.sleep(LONG)?; // not ready in time
        }
        ctx.ready();
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let driver = driver.ready_within(Duration::from_secs(10));
    let line = GroupSpec::new("line").one_for_all().then(driver).then(resident("reader"));
    let line = supervisor.handle().add_group(line).unwrap();
    let group = line.clone();
    let waits = TaskSpec::once("waits", move |_| {
        assert!(!group.wait_ready(Duration::from_secs(15))?);
        assert!(group.wait_ready(Duration::MAX)?);
        Ok(())
    });
    let waits = supervisor.handle().add(waits).unwrap();
    clock.advance(Duration::from_secs(60));
    assert!(outcome_of(&waits).is_success());
    assert_eq!(line.state(), GroupState::Up);
    let _ = supervisor.shutdown_within(&clock).unwrap();
}

/// Restarts and stops race with claims and returns; whatever comes first, it comes up, and ends.
#[test]
fn a_group_that_is_restarted_again_and_again_comes_up_and_ends() {
    let rig = rig();
    for round in 0..40 {
        let member = |name: &'static str| {
            let body = move |ctx: &TaskContext| {
                ctx.ready();
                if ctx.attempt() % 3 == 2 {
                    return Err(std::fmt::Error.into());
                }
                Ok(ctx.sleep(LONG)?)
            };
            TaskSpec::new(name, body)
        };
        let step = TaskSpec::new("step", |_| Ok(())).step();
        let group = GroupSpec::new("line").then(step).then([member("a"), member("b")]);
        let group = if round % 2 == 0 { group.one_for_all() } else { group.rest_for_one() };
        // The name and the slots of the one before are free.
        let group = rig.handle.add_group(group.then(member("c").ready_within(WATCHDOG))).unwrap();
        let restarts: Vec<_> = (0..2)
            .map(|_| {
                let group = group.clone();
                on_thread(move || (0..round % 8).all(|_| group.restart()))
            })
            .collect();
        group.members()[1].restart();
        if round % 4 == 3 {
            group.members()[2].cancel();
        }
        assert!(restarts.iter().all(next));
        assert!(group.wait_ready(WATCHDOG).unwrap(), "{:?}", group.state());
        group.cancel();
        assert!(!group.restart());
        assert_eq!(group.wait().unwrap().len(), 4);
    }
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(report.outcomes.rejected, 0);
}
