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
        // Nobody is told anything.
        let service = ServiceManager::default().sick_after(sick_after);
        Self { supervisor: builder.service_manager(service).start().unwrap(), clock }
    }

    fn add(&self, spec: TaskSpec) -> TaskHandle {
        self.supervisor.handle().add(spec.required()).unwrap()
    }

    fn is_well(&self) -> bool {
        self.supervisor.handle().snapshot().unwrap().is_well()
    }

    /// When it is well, if the clock shows each of these times in turn.
    fn is_well_at<const N: usize>(&self, times: [u64; N]) -> [bool; N] {
        self.clock.settle();
        times.map(|at| {
            let passed = self.supervisor.handle().snapshot().unwrap().at;
            self.clock.advance(Duration::from_millis(at).saturating_sub(passed));
            self.is_well()
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Fails at 0 s and 8 s, and then does this from 16 s on.
fn modem(recovers: fn(&TaskContext) -> Result<(), Cancelled>) -> TaskSpec {
    let modem = TaskSpec::new("modem", move |ctx| {
        if ctx.attempt() < 3 {
            Err("no carrier")?;
        }
        Ok(recovers(ctx)?)
    });
    modem.backoff(BackoffPolicy::constant(8 * SECOND))
}

#[test]
fn a_task_that_is_down_for_too_long_is_sick_until_it_is_stable() {
    let held = Held::new(10 * SECOND);
    held.add(modem(|ctx| ctx.sleep(LONG)));
    assert_eq!(held.is_well_at([0, 10_000, 10_001, 16_000]), [true, true, false, false]);
    assert_eq!(held.is_well_at([75_999, 76_000]), [false, true]);
    let snapshot = held.supervisor.handle().snapshot().unwrap();
    assert!(snapshot.tasks[0].required);
}

#[test]
fn a_task_that_was_down_for_a_moment_only_is_in_order_while_it_runs() {
    let held = Held::new(10 * SECOND);
    let flaps = TaskSpec::new("flaps", |ctx| {
        ctx.sleep(if ctx.attempt() == 2 { 50 * SECOND } else { Duration::ZERO })?;
        Err("no carrier")?
    });
    held.add(flaps.backoff(BackoffPolicy::constant(SECOND)));
    // It runs from 1 s to 51 s, and then fails again: only now is it seen to be of no use.
    assert_eq!(held.is_well_at([0, 1000, 50_999, 51_000]), [true, true, true, false]);
}

#[test]
fn a_task_that_was_sick_is_well_once_it_says_that_it_is_ready_or_gives_a_sign_of_life() {
    let held = Held::new(10 * SECOND);
    held.add(modem(|ctx| {
        ctx.sleep(SECOND)?;
        ctx.ready();
        ctx.sleep(LONG)
    }));
    assert_eq!(held.is_well_at([11_000, 16_999, 17_000, 18_000]), [false, false, true, true]);

    let held = Held::new(10 * SECOND);
    let watched = modem(|ctx| {
        ctx.heartbeat();
        ctx.sleep(LONG)
    });
    held.add(watched.watchdog(8 * SECOND));
    // The watchdog looks every two seconds.
    assert_eq!(held.is_well_at([11_000, 17_000, 19_000]), [false, false, true]);
}

#[test]
fn a_periodic_task_that_hangs_until_its_timeout_shows_no_life_by_running() {
    let held = Held::new(SECOND / 2);
    let gauge = TaskSpec::new("gauge", |ctx| Ok(ctx.sleep(Duration::MAX)?)).every(SECOND);
    let gauge = gauge.backoff(BackoffPolicy::constant(MS)).timeout(SECOND * 9 / 10);
    held.add(gauge.stable_after(SECOND / 2));
    // It fails for the first time at 0.9 s, and runs again from 1 s to 1.9 s.
    assert_eq!(held.is_well_at([899, 1500, 1899]), [true; 3]);
    assert_eq!(held.is_well_at([1900, 2500, 2899, 2950, 9500]), [false; 5]);
}

#[test]
fn a_task_of_short_runs_that_was_silent_once_is_well_after_its_next_success() {
    for beats in [false, true] {
        let held = Held::new(LONG);
        let gauge = TaskSpec::new("gauge", move |ctx| {
            if ctx.attempt() == 2 {
                ctx.sleep(Duration::MAX)?;
            }
            if beats {
                ctx.heartbeat();
                Err("the bus is busy")?;
            }
            Ok(())
        });
        let gauge = gauge.every(SECOND).backoff(BackoffPolicy::constant(MS));
        let gauge = gauge.watchdog(SECOND / 5).watchdog_policy(WatchdogPolicy::Cancel);
        held.add(gauge);
        assert_eq!(held.is_well_at([0, 1100, 1300, 1999]), [true, true, false, false]);
        assert_eq!(held.is_well_at([2000, 9000]), [true, true], "{beats}");
    }
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
