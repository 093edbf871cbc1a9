//! Phases start one after the other, and stop in the reverse order.

use std::sync::{Arc, Mutex};

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::ManualClock;

use super::{rig, Line, LONG, MS};
use crate::support::{next, outcome_of, resident, thread_name, End, OnDrop, Puppet, Rig, WATCHDOG};

/// What has happened so far, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn each_phase_starts_when_the_one_before_is_ready_and_stops_before_it() {
    let (rig, log) = (rig(), Log::default());
    let (go, may_say) = bounded::<()>(0);
    let configure = log.clone();
    let configure = TaskSpec::new("configure", move |_| {
        configure.add("configure");
        Ok(())
    });
    let says = log.clone();
    let driver = TaskSpec::new("driver", move |ctx| {
        let _ = may_say.recv();
        says.add("driver ready");
        ctx.ready();
        let _ = ctx.cancelled().recv();
        says.add("driver told");
        Ok(())
    });
    let (run, running) = unbounded();
    let reader = |name: &'static str| {
        let (log, run) = (log.clone(), run.clone());
        TaskSpec::new(name, move |ctx| {
            log.add("reader");
            run.send(())?;
            let _ = ctx.cancelled().recv();
            assert_eq!(ctx.group(), Some("line"));
            log.add("reader told");
            Ok(())
        })
    };
    let line = GroupSpec::new("line")
        .then(configure.step())
        .then(driver.ready_within(WATCHDOG))
        .then([reader("gps"), reader("sms")]);
    let line = rig.handle.add_group(line).unwrap();
    assert_eq!(line.name(), "line");
    let names: Vec<_> = line.members().iter().map(TaskHandle::name).collect();
    assert_eq!(names, ["configure", "driver", "gps", "sms"]);

    // The driver runs, but has not said that it is ready.
    rig.until(&line.members()[1], "attempt_starting 1");
    assert_eq!(line.state(), GroupState::Starting { phase: 1 });
    assert!(!line.wait_ready(std::time::Duration::ZERO).unwrap());
    assert_eq!(line.members()[2].state(), TaskState::Waiting);
    assert_eq!(log.lines(), ["configure"]);
    drop(go);
    assert!(line.wait_ready(WATCHDOG).unwrap());
    for _reader in 0..2 {
        next(&running);
    }

    let report = rig.supervisor.shutdown().unwrap();
    let lines = log.lines();
    let up = ["configure", "driver ready", "reader", "reader"];
    let down = ["reader told", "reader told", "driver told"];
    assert_eq!(lines[lines.len() - 3..], down);
    assert_eq!(lines.iter().filter(|it| !it.ends_with(" told")).collect::<Vec<_>>(), up);
    let text = "group line: stopped (shutdown) in order, driver last";
    // The step has kept its body, and ends with the phase before.
    let text = text.replace("driver last", "configure last");
    assert_eq!(report.groups[0].to_string(), text);
    assert!(report.to_string().contains(&format!("\n  {text}")), "{report}");
    let outcomes = line.wait().unwrap();
    assert!(outcomes[0].is_success(), "{outcomes:?}");
    assert!(outcomes[1..].iter().all(Outcome::is_cancelled), "{outcomes:?}");
    assert_eq!(line.state(), GroupState::Over);
    let story = rig.group_story("line");
    assert_eq!(story, ["group_starting", "group_ready", "group_stopping shutdown", "group_ended"]);
}

/// The order of stopping covers members only.
#[test]
fn a_task_that_a_member_has_added_is_told_at_once() {
    let rig = rig();
    let (handle, (add, added)) = (rig.handle.clone(), bounded(1));
    let ((last, last_strings), (child, child_strings)) =
        (Puppet::new("last"), Puppet::new("child"));
    let child = Mutex::new(Some(child));
    let parent = TaskSpec::new("parent", move |ctx| {
        if let Some(child) = child.lock().unwrap().take() {
            add.send(handle.add(child)?)?;
        }
        let _ = ctx.cancelled().recv();
        Ok(())
    });
    let group = rig.handle.add_group(GroupSpec::new("line").then(parent).then(last)).unwrap();
    let child = next(&added);
    let _ = (child_strings.started(), last_strings.started());

    rig.handle.request_shutdown();
    assert_eq!(child_strings.told(), CancelReason::Shutdown);
    assert!(child_strings.end(End::Obey));
    assert!(outcome_of(&child).is_cancelled());
    // Its parent runs on, because the last phase has not returned.
    assert_eq!(last_strings.told(), CancelReason::Shutdown);
    assert_eq!(group.members()[0].state(), TaskState::Running);
    assert!(last_strings.end(End::Obey));
    assert!(group.wait().unwrap().iter().all(Outcome::is_cancelled));
}

#[test]
fn a_phase_waits_for_every_member_of_the_one_before() {
    let rig = rig();
    let ((first, one), (second, two)) = (Puppet::new("one"), Puppet::new("two"));
    let (last, three) = Puppet::new("three");
    let group = GroupSpec::new("steps").then([first.step(), second.step()]).then(last);
    let group = rig.handle.add_group(group).unwrap();
    let _ = (one.started(), two.started());
    two.end(End::Ok);
    rig.until(&group.members()[1], "attempt_succeeded 1");
    assert_eq!(group.state(), GroupState::Starting { phase: 0 });
    assert!(three.rests());
    // One that fails is retried, and only then is the phase ready.
    one.end(End::Fail);
    assert_eq!(one.started(), 2);
    assert!(three.rests());
    one.end(End::Ok);
    three.started();
    three.end(End::Ok);
    assert!(group.wait().unwrap().iter().all(Outcome::is_success));
    // The outcome of a step comes with the end of its group.
    let story = rig.story(&group.members()[1]);
    let at = |text: &str| story.iter().position(|line| line == text).unwrap();
    assert!(at("attempt_succeeded 1") < at("task_ended completed"), "{story:?}");
    assert!(two.rests());
}

#[test]
fn a_member_that_is_not_ready_in_time_is_retried_and_holds_the_next_phase_up() {
    let rig = rig();
    let driver = TaskSpec::new("driver", |ctx| {
        if ctx.attempt() > 1 {
            ctx.ready();
        }
        Ok(ctx.sleep(LONG)?)
    });
    let (reader, strings) = Puppet::new("reader");
    let line = GroupSpec::new("line").then(driver.ready_within(20 * MS)).then(reader);
    let line = rig.handle.add_group(line).unwrap();
    strings.started();
    let story = rig.story(&line.members()[0]);
    let says = |text: &str| story.iter().any(|line| line.starts_with(text));
    assert!(says("attempt_timed_out 1: was not ready within 20ms"), "{story:?}");
    assert!(says("attempt_ready "), "{story:?}");
    let overdue = rig.until(&line.members()[0], "attempt_overdue 1").to_string();
    assert!(overdue.ends_with(" ready_within=0.020s"), "{overdue}");
    assert!(line.wait_ready(WATCHDOG).unwrap());
    line.cancel();
    strings.told();
    strings.end(End::Obey);
    let _ = line.wait().unwrap();
}

/// What the body says of it is the source, and is found there.
#[test]
fn a_missed_word_is_told_in_outcome_and_report() {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let text = |error: Option<&'static str>| {
        let driver = TaskSpec::new("driver", move |ctx| {
            ctx.sleep(LONG).map_err(|cancelled| match error {
                Some(error) => TaskError::fail(error).with_exit_code(7),
                None => cancelled.into(),
            })
        });
        let driver = driver.ready_within(MS).timeout(LONG).max_retries(0);
        let line = GroupSpec::new("line").then(driver).then(resident("reader"));
        let outcomes = rig.handle.add_group(line).unwrap().wait().unwrap();
        assert!(outcomes[0].is_timed_out() && outcomes[1].is_cancelled(), "{outcomes:?}");
        assert_eq!(outcomes[0].exit_code(), if error.is_some() { 7 } else { 1 });
        outcomes[0].to_string()
    };
    assert_eq!(text(None), "timed out: was not ready within 1ms");
    assert_eq!(text(Some("no port")), "timed out: was not ready within 1ms: no port");
    let report = rig.supervisor.shutdown().unwrap().to_string();
    let told =
        "driver#1: timed out: was not ready within 1ms; not retried: max_retries, 1 failure\n";
    assert!(report.contains(told), "{report}");
}

#[test]
fn one_that_was_ready_and_runs_too_long_is_an_ordinary_timeout() {
    let clock = ManualClock::new().patience(WATCHDOG);
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let late = TaskSpec::new("late", |ctx| {
        ctx.ready();
        Ok(ctx.sleep(LONG)?)
    });
    let late = late.ready_within(20 * MS).timeout(20 * MS).max_retries(0);
    let late = supervisor.handle().add(late).unwrap();
    clock.advance(LONG);
    assert_eq!(outcome_of(&late).to_string(), "timed out");
    let _ = supervisor.shutdown_within(&clock).unwrap();
}

/// Also those that wait: a driver in its backoff does not close its port under running readers.
#[test]
fn bodies_are_dropped_on_workers_in_the_order_in_which_the_group_stops() {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let (tell, dropped) = unbounded();
    let owned = |name: &'static str| {
        let tell = tell.clone();
        OnDrop(move || tell.send((name, thread_name())).unwrap())
    };
    let value = owned("driver");
    let driver = TaskSpec::new("driver", move |ctx| {
        let _ = &value;
        ctx.ready();
        Err("unplugged".into())
    });
    let driver = driver.backoff(BackoffPolicy::constant(LONG)).ready_within(WATCHDOG);
    let value = owned("reader");
    let (go, may_return) = bounded::<()>(0);
    let reader = TaskSpec::new("reader", move |ctx| {
        let _ = (&value, ctx.cancelled().recv(), may_return.recv());
        Ok(())
    });
    let value = owned("late");
    let late = TaskSpec::new("late", move |_| {
        let _ = &value;
        Ok(())
    });
    let late = late.ready_within(WATCHDOG).initial_delay(LONG);
    let line = GroupSpec::new("line").then(driver).then(reader).then(late);
    let line = rig.handle.add_group(line).unwrap();
    rig.until(&line.members()[1], "attempt_starting 1");
    rig.until(&line.members()[0], "retry_scheduled 1: failed");

    line.cancel();
    rig.until(&line.members()[1], "attempt_stopping 1: stop");
    let is_on_worker = |(name, thread): (&'static str, String)| {
        assert!(thread.starts_with('w'), "{name} was dropped on {thread}");
        name
    };
    assert_eq!(is_on_worker(next(&dropped)), "late");
    assert_ne!(line.members()[0].state(), TaskState::Over);
    assert!(dropped.is_empty());
    drop(go);
    assert_eq!(is_on_worker(next(&dropped)), "reader");
    assert_eq!(is_on_worker(next(&dropped)), "driver");
    assert!(line.wait().unwrap().iter().all(Outcome::is_cancelled));
}

#[test]
fn a_member_that_outlives_its_grace_holds_the_others_up_no_longer() {
    let rig = rig();
    let (spec, driver) = Puppet::new("driver");
    let (stuck, reader) = Puppet::new("reader");
    let line = GroupSpec::new("line").then(spec).then(stuck.grace(MS));
    let line = rig.handle.add_group(line).unwrap();
    let _ = (driver.started(), reader.started());
    line.cancel();
    assert!(outcome_of(&line.members()[1]).is_abandoned());
    driver.told();
    driver.end(End::Obey);
    let _ = line.wait().unwrap();
    reader.end(End::Obey);
    rig.until(&line.members()[1], "attempt_returned 1: -");
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(
        report.groups[0].to_string(),
        "group line: stopped (stop) out of order (late: reader#2), driver last"
    );
}

#[test]
fn a_shutdown_is_bounded_even_if_a_phase_does_not_return() {
    // Of which the driver has half.
    let rig = Rig::start(Supervisor::builder().grace(2000 * MS));
    let (stuck, reader) = Puppet::new("reader");
    let line = GroupSpec::new("line").then(resident("driver")).then(stuck);
    let line = rig.handle.add_group(line).unwrap();
    reader.started();
    let report = rig.supervisor.shutdown().unwrap();
    assert_eq!(report.shutdown.abandoned.len(), 1);
    let late: Vec<_> = report.groups[0].late.iter().map(|member| &*member.name).collect();
    assert_eq!(late, ["reader"]);
    assert!(line.wait().unwrap()[0].is_cancelled(), "the driver is told all the same");
    reader.end(End::Obey);
}

#[test]
fn fifty_groups_of_five_come_up_and_go_down_in_order() {
    come_and_go(50);
}

/// `cargo test --release --test it thousand_groups -- --ignored --nocapture` says how long it
/// takes.
#[test]
#[ignore = "it needs 5000 threads"]
fn a_thousand_groups_of_five_come_up_and_go_down_in_order() {
    come_and_go(1000);
}

fn come_and_go(number: usize) {
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG).max_concurrent(None));
    let log = Log::default();
    let member = |group: usize, phase: usize| {
        let log = log.clone();
        TaskSpec::new(format!("{group}/{phase}"), move |ctx| {
            let _ = ctx.cancelled().recv();
            log.add(ctx.name());
            Ok(())
        })
    };
    let began = rig.handle.snapshot().unwrap().at;
    let add = |group: usize| {
        let spec = GroupSpec::new(format!("g{group}"));
        let spec = (0..5).fold(spec, |spec, phase| spec.then(member(group, phase)));
        rig.handle.add_group(spec).unwrap()
    };
    let groups: Vec<_> = (0..number).map(add).collect();
    assert!(groups.iter().all(|group| group.wait_ready(WATCHDOG).unwrap()));
    let snapshot = rig.handle.snapshot().unwrap();
    assert!(snapshot.groups.iter().all(|group| group.state == GroupState::Up));
    let report = rig.supervisor.shutdown().unwrap();
    println!(
        "up in {:?}, down in {:?}",
        snapshot.at.saturating_sub(began),
        report.shutdown.elapsed
    );
    assert_eq!(report.groups.len(), number.min(64));
    assert_eq!(usize::try_from(report.outcomes.cancelled).unwrap(), 5 * number);
    assert!(report.groups.iter().all(|group| group.late.is_empty()));
    let mut told = vec![Vec::new(); number];
    for line in log.lines() {
        let (group, phase) = line.split_once('/').unwrap();
        told[group.parse::<usize>().unwrap()].push(phase.to_owned());
    }
    assert!(told.iter().all(|phases| *phases == ["4", "3", "2", "1", "0"]), "{told:?}");
}

#[test]
fn a_line_that_is_cancelled_stops_its_readers_first() {
    let rig = rig();
    let line = Line::up(&rig, |group| group);
    line.group.cancel();
    line.group.cancel();
    line.readers_go_back(CancelReason::Stop);
    assert_eq!(line.driver.told(), CancelReason::Stop);
    assert_eq!(line.group.state(), GroupState::Stopping { phase: 0 });
    assert!(!line.group.restart());
    line.driver.end(End::Obey);
    assert!(line.group.wait().unwrap().iter().all(Outcome::is_cancelled));
    line.group.cancel();
    assert!(!line.group.restart());
}
