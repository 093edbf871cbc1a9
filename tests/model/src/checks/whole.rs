//! A whole supervisor, its controller included: every wait ends, every task has one outcome, and no
//! thread is left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::builder::SupervisorBuilder;
use crate::api::manual_clock::ManualClock;
use crate::api::supervisor::Supervisor;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::error::TaskResult;
use crate::output::event::EventKind;
use crate::output::outcome::Outcome;
use crate::platform::sync::{channel, thread};
use crate::runner::Check;
use crate::task::context::TaskContext;
use crate::task::spec::TaskSpec;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{Rejection, StopReason};
use crate::world;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("whole: a task is added and waited for", 500, added_and_waited_for).timed(),
    Check::some("whole: cancelled at any time", 500, cancelled_at_any_time).timed(),
    Check::some("whole: a body waits for another task", 500, a_body_waits_for_another).timed(),
    Check::some("whole: submitted while it shuts down", 500, submitted_while_it_shuts_down).timed(),
    Check::some("whole: a timeout meets the return", 500, a_timeout_meets_the_return).timed(),
    Check::some("whole: the successor replaces", 500, the_successor_replaces).timed(),
    Check::some("whole: a body hands over as it is drained", 500, a_body_hands_over).timed(),
    Check::some("whole: submitted while it drains", 500, submitted_while_it_drains).timed(),
    Check::some("whole: a destructor asks at the end", 500, a_destructor_asks_at_the_end),
    Check::some("whole: a period is a tick more", 500, a_period_is_a_tick_more),
    Check::some("whole: two who talk are not quiet", 500, two_who_talk_are_not_quiet),
];

/// Where timers fire at any time, a grace would as well, before the body could return.
fn builder() -> SupervisorBuilder {
    Supervisor::builder().seed(1).max_concurrent(2).grace(Duration::MAX)
}

fn resident(ctx: &TaskContext) -> TaskResult {
    Ok(ctx.sleep(Duration::MAX)?)
}

fn added_and_waited_for() {
    let terminal = Arc::new(Mutex::new(0));
    let count = Arc::clone(&terminal);
    let supervisor = builder().on_event(move |event| {
        let ends = matches!(event.kind, EventKind::TaskEnded { .. });
        *count.lock().unwrap() += u32::from(ends);
    });
    let supervisor = supervisor.start().unwrap();
    let handle = supervisor.handle();
    let task = handle.add(TaskSpec::once("a", |_| Ok(()))).unwrap();
    assert!(task.wait().unwrap().is_success());
    handle.flush_events().unwrap();
    assert_eq!(*terminal.lock().unwrap(), 1);
    drop(supervisor.shutdown().unwrap().shutdown);
}

fn cancelled_at_any_time() {
    let supervisor = builder().start().unwrap();
    let task = supervisor.handle().add(TaskSpec::new("a", resident)).unwrap();
    let user = task.clone();
    let user = thread::spawn(move || user.wait().unwrap());
    task.cancel();
    let outcome = user.join().unwrap();
    assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Stop, .. }), "{outcome}");
    supervisor.wait_idle().unwrap();
    drop(supervisor);
}

/// It ends with the outcome of the other or with its own cancel.
fn a_body_waits_for_another() {
    let supervisor = builder().start().unwrap();
    let handle = supervisor.handle();
    let other = handle.add(TaskSpec::new("other", resident)).unwrap();
    let (inside, waits) = channel::bounded(1);
    let awaited = other.clone();
    let waiter = TaskSpec::once("waiter", move |ctx| {
        let _ = inside.send(());
        let _ = ctx.wait_for(&awaited)?;
        Ok(())
    });
    let waiter = handle.add(waiter).unwrap();
    waits.recv().unwrap();
    let cancelled = if world::coin() { waiter.clone() } else { other };
    let user = thread::spawn(move || cancelled.cancel());
    let outcome = waiter.wait().unwrap();
    assert!(outcome.is_success() || matches!(outcome, Outcome::Cancelled { .. }), "{outcome}");
    user.join().unwrap();
    drop(supervisor.shutdown().unwrap().shutdown);
}

fn submitted_while_it_shuts_down() {
    let supervisor = builder().intake_capacity(1).start().unwrap();
    let users = [(); 2].map(|()| {
        let handle = supervisor.handle();
        thread::spawn(move || {
            let spec = TaskSpec::new("a", resident).no_slot();
            match handle.submit(spec, AdmissionPolicy::Queue) {
                Ok(task) => Some(task.wait().unwrap()),
                Err(_closed) => None,
            }
        })
    });
    drop(supervisor.shutdown().unwrap().shutdown);
    for outcome in users.map(|user| user.join().unwrap()).into_iter().flatten() {
        assert!(matches!(outcome, Outcome::Cancelled { .. } | Outcome::Rejected(_)), "{outcome}");
    }
}

/// What the body brings is taken, whatever comes first: the drain, its return or what it brings.
fn a_body_hands_over() {
    let supervisor = builder().start().unwrap();
    let (tell, told) = channel::bounded(1);
    let parent = TaskSpec::once("parent", move |ctx| {
        let last = TaskSpec::once("last", |_| Ok(()));
        let _ = tell.send(ctx.handle().submit(last, AdmissionPolicy::Queue)?);
        Ok(())
    });
    let parent = supervisor.handle().add(parent).unwrap();
    let report = supervisor.drain(None).unwrap();
    assert!(parent.outcome().unwrap().is_success());
    assert!(told.recv().unwrap().outcome().unwrap().is_success());
    assert_eq!((report.outcomes.completed, report.outcomes.total()), (2, 2));
    assert_eq!(report.shutdown.drain.unwrap().unfinished, 0);
}

/// Others find the door open or closed; what is taken has an outcome.
fn submitted_while_it_drains() {
    let supervisor = builder().intake_capacity(1).start().unwrap();
    let users = [(); 2].map(|()| {
        let handle = supervisor.handle();
        thread::spawn(move || {
            let spec = TaskSpec::once("a", |_| Ok(())).no_slot();
            match handle.submit(spec, AdmissionPolicy::Queue) {
                Ok(task) => Some(task.wait().unwrap()),
                Err(_closed) => None,
            }
        })
    });
    let report = supervisor.drain(None).unwrap();
    let outcomes = users.map(|user| user.join().unwrap()).into_iter().flatten();
    let mut completed = 0;
    for outcome in outcomes {
        let refused = matches!(outcome, Outcome::Rejected(Rejection::ShuttingDown));
        assert!(outcome.is_success() || refused, "{outcome}");
        completed += u64::from(outcome.is_success());
    }
    assert_eq!(report.outcomes.completed, completed);
}

/// The clock moves only when the body has returned and its next start is armed.
fn a_period_is_a_tick_more() {
    let clock = ManualClock::new().patience(Duration::MAX);
    let supervisor = builder().clock(&clock).start().unwrap();
    let ticks = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&ticks);
    let tick = TaskSpec::new("tick", move |ctx| {
        ctx.sleep(Duration::from_secs(1))?;
        *counted.lock().unwrap() += 1;
        Ok(())
    });
    let tick = supervisor.handle().add(tick.repeat_after(Duration::from_secs(1))).unwrap();
    for round in 0..3 {
        assert_eq!(*ticks.lock().unwrap(), round);
        clock.advance(Duration::from_secs(2));
    }
    tick.cancel();
    clock.settle();
    assert!(tick.outcome().is_some());
    drop(supervisor.shutdown().unwrap().shutdown);
}

/// Bodies of two supervisors on one clock send each other messages, of which neither hears.
fn two_who_talk_are_not_quiet() {
    let clock = ManualClock::new().patience(Duration::MAX);
    let supervisors = [0, 1].map(|_| builder().clock(&clock).start().unwrap());
    let ((ping, pings), (pong, pongs)) = (channel::unbounded(), channel::unbounded());
    let done = Arc::new(Mutex::new(false));
    let noted = Arc::clone(&done);
    let serves = TaskSpec::once("serves", move |ctx| {
        ctx.sleep(Duration::from_secs(1))?;
        for volley in 0..8 {
            ping.send(volley).map_err(|_| "gone")?;
            assert_eq!(ctx.recv(&pongs), Ok(volley));
            (0..9).for_each(|_| thread::yield_now());
        }
        *noted.lock().unwrap() = true;
        resident(ctx)
    });
    let returns = TaskSpec::once("returns", move |ctx| loop {
        let volley = ctx.recv(&pings)?;
        (0..9).for_each(|_| thread::yield_now());
        pong.send(volley).map_err(|_| "gone")?;
    });
    let tasks = [
        supervisors[0].handle().add(serves).unwrap(),
        supervisors[1].handle().add(returns).unwrap(),
    ];
    clock.advance(Duration::from_secs(1));
    assert!(*done.lock().unwrap(), "the clock would move on");
    tasks.iter().for_each(|task| task.cancel());
    clock.settle();
    assert!(tasks.iter().all(|task| task.outcome().is_some()));
    supervisors.iter().for_each(|it| drop(it.shutdown().unwrap().shutdown));
}

/// The deadline and the return, in either order: one outcome that fits what the body saw.
fn a_timeout_meets_the_return() {
    let supervisor = builder().start().unwrap();
    let minute = Duration::from_secs(60);
    let spec = TaskSpec::once("a", move |ctx| Ok(ctx.sleep(minute)?)).timeout(minute);
    let task = supervisor.handle().add(spec).unwrap();
    let outcome = task.wait().unwrap();
    assert!(matches!(outcome, Outcome::Completed | Outcome::TimedOut { .. }), "{outcome}");
    drop(supervisor.shutdown().unwrap().shutdown);
}

fn the_successor_replaces() {
    let supervisor = builder().start().unwrap();
    let handle = supervisor.handle();
    let spec = |name| TaskSpec::new(name, resident).slot("tty");
    let first = handle.submit(spec("first"), AdmissionPolicy::Replace).unwrap();
    let second = handle.submit(spec("second"), AdmissionPolicy::Replace).unwrap();
    let outcome = first.wait().unwrap();
    assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Replace, .. }), "{outcome}");
    second.cancel();
    assert!(matches!(second.wait().unwrap(), Outcome::Cancelled { .. }));
    drop(supervisor.shutdown().unwrap().shutdown);
}

struct AsksWhenDropped(SupervisorHandle);

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.snapshot();
    }
}

/// Without timers, a request that nobody serves would block its thread, and the end with it.
fn a_destructor_asks_at_the_end() {
    let supervisor = builder().start().unwrap();
    let handle = supervisor.handle();
    let asks = AsksWhenDropped(handle.clone());
    let spec = TaskSpec::new("a", move |_| {
        let _ = &asks;
        Ok(())
    });
    drop(handle.add(spec.initial_delay(Duration::MAX)).unwrap());
    drop(supervisor.shutdown().unwrap().shutdown);
}
