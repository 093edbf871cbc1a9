//! What a bug in the controller does: a panic that no input is known to bring about.

use super::*;
use crate::api::refused::AddError;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::{Event, EventKind};
use crate::output::outcome::Outcome;
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::channel::{bounded, unbounded, Receiver, Sender};
use crate::platform::sync::thread;
use crate::platform::threads::ThreadSetup;
use crate::platform::user_value::UserValue;
use crate::runtime::publish::About;
use crate::runtime::start::{start_with, Setup};
use crate::runtime::{Listen, Subscribers};
use crate::task::class_names::ClassNames;
use crate::task::door::Door;
use crate::task::settings::Settings;
use crate::task::spec::TaskSpec;
use crate::vocabulary::plan::Limits;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::ShutdownCause;
use std::time::Duration;

/// No wait takes this long unless somebody is left waiting.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Turns, until it panics where it should have shut down.
fn run_with_a_bug(controller: &mut Controller) {
    loop {
        controller.wait();
        assert!(!controller.door.is_shutting_down(), "a bug");
        controller.turn();
    }
}

pub(super) struct Listens(pub(super) Sender<&'static str>);

impl Listen for Listens {
    fn on_start(&mut self, _: &Arc<Door>) {}

    fn on_event(&mut self, event: &Event) {
        let _ = self.0.send(event.kind.label());
    }

    fn name(&self) -> &'static str {
        "listens"
    }
}

/// Says that it was dropped.
struct Token(Sender<&'static str>, &'static str);

impl Drop for Token {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

pub(super) fn setup(subscriber: impl Listen + 'static) -> Setup {
    let shared = vec![UserValue::new(Box::new(subscriber) as _)];
    Setup {
        limits: Limits {
            max_concurrent: Some(3),
            classes: Vec::new(),
            max_slot_queue: 9,
            max_tasks: 9,
            max_abandoned: 9,
            grace: WATCHDOG,
            signal_drain: None,
            event_flush: WATCHDOG,
            timer_slack: Duration::ZERO,
        },
        seed: 1,
        defaults: Settings::default(),
        threads: ThreadSetup {
            name: "test".to_owned(),
            stack_size: None,
            by_task: false,
            callbacks: None,
        },
        prespawn: 0,
        subscribers: Subscribers { shared, shared_capacity: 1024, ..Subscribers::default() },
        signals: None,
        signal_hooks: Vec::new(),
        service: None,
        sick_after: Duration::ZERO,
    }
}

/// A supervisor whose controller runs so, and the labels of its events.
pub(super) fn started(
    run: fn(&mut Controller),
) -> (Arc<Door>, SupervisorHandle, Receiver<&'static str>) {
    let (heard, events) = unbounded();
    let (door, inbox) = Door::new(ModelClock::start_now(), 9, ClassNames::default());
    start_with(setup(Listens(heard)), &door, inbox, run).unwrap();
    let handle = SupervisorHandle::new(Arc::clone(&door));
    (door, handle, events)
}

/// Bodies that wait for good in each way, and tasks that have not begun.
#[test]
fn a_controller_that_panics_leaves_nobody_waiting() {
    let (door, handle, events) = started(run_with_a_bug);
    let (drops, dropped) = unbounded();
    let (runs, running) = unbounded();
    let body = |name| {
        let (token, runs) = (Token(drops.clone(), name), runs.clone());
        move || {
            let _owned = &token;
            runs.send(name).unwrap();
        }
    };

    let hello = body("asleep");
    let asleep = TaskSpec::once("asleep", move |ctx| {
        hello();
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let hello = body("hooked");
    let hooked = TaskSpec::once("hooked", move |ctx| {
        let (wake, woken) = bounded(1);
        let _hook = ctx.on_cancel(move || wake.send(()).unwrap_or_default());
        hello();
        Ok(woken.recv()?)
    });
    let hello = body("selects");
    let selects = TaskSpec::once("selects", move |ctx| {
        hello();
        let _ = ctx.cancelled().recv();
        Ok(())
    });
    let idle = |name| {
        let hello = body(name);
        TaskSpec::once(name, move |_| {
            hello();
            Ok(())
        })
    };
    let mut tasks = handle.add_all([asleep, hooked, selects]).unwrap();
    let mut names: Vec<_> = (0..3).map(|_| running.recv_timeout(WATCHDOG).unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["asleep", "hooked", "selects"]);
    let delayed = idle("delayed").initial_delay(Duration::MAX);
    tasks.extend(handle.add_all([idle("runnable"), delayed]).unwrap());
    let queued = idle("queued").slot("asleep");
    tasks.push(handle.submit(queued, AdmissionPolicy::Queue).unwrap());
    handle.flush_events().unwrap();

    handle.request_shutdown();
    for task in &tasks {
        assert!(matches!(task.wait_timeout(WATCHDOG), Ok(Some(Outcome::Lost))), "{}", task.name());
    }
    let mut left: Vec<_> = tasks.iter().map(|_| dropped.recv_timeout(WATCHDOG).unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["asleep", "delayed", "hooked", "queued", "runnable", "selects"]);
    let report = door.wait_ended();
    assert_eq!(report.shutdown.cause, ShutdownCause::ControllerPanicked);
    assert_eq!((report.outcomes.lost, report.failures.len()), (6, 6));
    assert_eq!(report.exit_code(), 70);
    assert!(matches!(handle.add(idle("late")), Err(AddError::Closed { .. })));
    assert!(handle.snapshot().is_err());
    // The lane's thread leaves once it has served all it had.
    while events.recv_timeout(WATCHDOG).map_err(|it| assert!(!it.is_timeout())).is_ok() {}
}

/// Publishes events once the lane rests, and panics before the end of the turn.
fn publish_and_panic(controller: &mut Controller) {
    while controller.publisher.lanes_at_work() > 0 {
        thread::yield_now();
    }
    controller.publisher.publish(controller.now, About::Supervisor, EventKind::ServiceWell);
    // Nobody may take the lane to be at rest while an event is on its way to it.
    if controller.publisher.lanes_at_work() == 1 {
        let kind = EventKind::DropPanicked { message: "of a value".into() };
        controller.publisher.publish(controller.now, About::Supervisor, kind);
    }
    panic!("a bug");
}

/// Nobody waits for the lanes then, so what they do not get to is counted.
#[test]
fn events_of_before_a_panic_of_the_controller_are_called_back_or_counted() {
    let (door, _handle, events) = started(publish_and_panic);
    let shutdown = &door.wait_ended().shutdown;
    assert_eq!(shutdown.cause, ShutdownCause::ControllerPanicked);
    let seen = std::iter::from_fn(|| events.recv_timeout(WATCHDOG).ok()).count();
    assert!(seen as u64 + shutdown.events_dropped >= 2, "{seen}, {shutdown:?}");
}

/// A process, with a helper, that does not end when it is asked to.
#[cfg(all(target_os = "linux", feature = "process"))]
#[test]
fn a_controller_that_panics_leaves_no_process() {
    use crate::platform::stall::is_alive;
    use crate::process::program::Program;

    let (door, handle, _events) = started(run_with_a_bug);
    let (tell, lines) = unbounded();
    let script = "trap '' TERM; sleep 1000 >&- 2>&- & echo $!; echo $$; wait; wait";
    let program = Program::new("sh").args(["-c", script]);
    let program = program.on_line(move |_, line| tell.send(line.text.to_owned()).unwrap());
    let task = handle.add(TaskSpec::process("deaf", program)).unwrap();
    let pids = [(); 2].map(|()| lines.recv_timeout(WATCHDOG).unwrap());
    handle.request_shutdown();
    assert!(matches!(task.wait_timeout(WATCHDOG), Ok(Some(Outcome::Lost))));
    let due = door.clock.real.now().after(WATCHDOG);
    while pids.iter().any(|pid| is_alive(pid.parse().unwrap())) {
        assert!(door.clock.real.now() < due, "{pids:?}");
    }
}
