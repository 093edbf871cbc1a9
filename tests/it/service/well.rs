//! What a snapshot says of the required tasks, by a clock that the tests hold.

use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::ManualClock;

use super::{LONG, MS};
use crate::support::{no_op, outcome_of, resident, Gate, Puppet};

struct Held {
    supervisor: Supervisor,
    clock: ManualClock,
}

impl Held {
    fn new(sick_after: Duration) -> Self {
        let clock = ManualClock::new();
        let builder = Supervisor::builder().clock(&clock).grace(MS);
        // Somebody must be told something, or nobody looks.
        let service = ServiceManager::socket("/nowhere", None).sick_after(sick_after);
        Self { supervisor: builder.service_manager(service).start().unwrap(), clock }
    }

    fn add(&self, spec: TaskSpec) -> TaskHandle {
        self.supervisor.handle().add(spec.required()).unwrap()
    }

    fn is_well(&self) -> bool {
        self.supervisor.handle().snapshot().unwrap().is_well()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_task_that_is_down_for_too_long_is_sick_until_it_runs_again() {
    let held = Held::new(10 * SECOND);
    let modem = TaskSpec::new("modem", |ctx| {
        if ctx.attempt() < 3 {
            Err("no carrier")?;
        }
        Ok(ctx.sleep(LONG)?)
    });
    held.add(modem.backoff(BackoffPolicy::constant(8 * SECOND)));
    held.clock.settle();
    assert!(held.is_well());
    held.clock.advance(9 * SECOND);
    assert!(held.is_well());
    held.clock.advance(2 * SECOND);
    assert!(!held.is_well());
    held.clock.advance(6 * SECOND);
    assert!(held.is_well());
    let snapshot = held.supervisor.handle().snapshot().unwrap();
    assert!(snapshot.tasks[0].required && !snapshot.is_healthy());
}

#[test]
fn a_paused_task_is_in_order_and_one_that_nobody_requires_always_is() {
    let held = Held::new(Duration::ZERO);
    let fails = |name| {
        let spec = TaskSpec::new(name, |_| Err("down")?);
        spec.backoff(BackoffPolicy::constant(LONG))
    };
    let down = held.add(fails("down"));
    held.supervisor.handle().add(fails("other")).unwrap();
    held.clock.advance(SECOND);
    assert!(!held.is_well());
    assert!(down.pause());
    assert!(held.is_well());
}

#[test]
fn a_task_that_has_failed_for_good_is_missed_until_another_stands_for_it() {
    let held = Held::new(LONG);
    let fails = || TaskSpec::once("gps", |_| Err("no such device")?);
    let _ = outcome_of(&held.add(fails()));
    assert!(!held.is_well());
    held.supervisor.handle().add(resident("gps").slot("other")).unwrap();
    assert!(!held.is_well());
    let stands_in = held.add(resident("gps"));
    assert!(held.is_well());
    stands_in.cancel();
    let _ = outcome_of(&stands_in);
    assert!(held.is_well());
    let _ = outcome_of(&held.add(no_op("completed")));
    assert!(held.is_well());
}

#[test]
fn a_stuck_attempt_is_sick_unless_another_has_taken_its_place() {
    for policy in [AbandonPolicy::Hold, AbandonPolicy::Release] {
        let supervisor = Supervisor::builder().grace(MS).start().unwrap();
        let handle = supervisor.handle();
        let mut gate = Gate::new();
        let hold = gate.hold();
        let spec = TaskSpec::shared("copy", move |ctx: &TaskContext| {
            if ctx.attempt() == 1 {
                hold();
            }
            Ok(ctx.sleep(Duration::MAX)?)
        });
        let spec = spec.abandon_policy(policy).backoff(BackoffPolicy::constant(MS));
        let task = handle.add(spec.required()).unwrap();
        gate.wait_entered();
        assert!(task.restart());
        let is_stuck = || !handle.snapshot().unwrap().abandoned.is_empty();
        while !is_stuck() {}
        if policy == AbandonPolicy::Hold {
            assert!(!handle.snapshot().unwrap().is_well());
        } else {
            while task.state() == TaskState::Abandoned {}
            assert!(handle.snapshot().unwrap().is_well());
        }
        gate.open();
    }
}

#[test]
fn without_a_service_manager_a_task_may_be_down_for_half_a_minute() {
    let clock = ManualClock::new();
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let (spec, puppet) = Puppet::new("a");
    supervisor.handle().add(spec.backoff(BackoffPolicy::constant(LONG)).required()).unwrap();
    puppet.started();
    puppet.end(crate::support::End::Fail);
    clock.settle();
    clock.advance(30 * SECOND);
    assert!(supervisor.handle().snapshot().unwrap().is_well());
    clock.advance(SECOND);
    assert!(!supervisor.handle().snapshot().unwrap().is_well());
}
