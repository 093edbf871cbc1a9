//! That what the machine decides is what users see, on threads: each way in which an attempt can
//! end, and a request in each state. The rules themselves are checked without threads, row by row,
//! in `src/machine/tests/rules`.

use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, Sender};
use threadvisor::prelude::*;

use crate::support::{no_op, outcome_of, End, Puppet, Rig, WATCHDOG};

/// What an attempt is told before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stop,
    Replace,
    Shutdown,
    Timeout,
    Restart,
}

use Told::{Replace, Restart, Shutdown, Stop, Timeout};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);

/// Shapes of tasks: what follows when nothing else decides.
fn never(spec: TaskSpec) -> TaskSpec {
    spec.restart(RestartPolicy::Never)
}

fn retries(spec: TaskSpec) -> TaskSpec {
    spec.restart(RestartPolicy::OnFailure).backoff(BackoffPolicy::constant(SHORT))
}

fn always(spec: TaskSpec) -> TaskSpec {
    retries(spec).restart(RestartPolicy::Always)
}

fn always_fatal_panic(spec: TaskSpec) -> TaskSpec {
    always(spec).panic_policy(PanicPolicy::Fatal)
}

/// Lets the first attempt be told all that, and then return. The rest of the story must be this
/// one: to the task's end, or to the start of the second attempt.
#[track_caller]
fn check(told: &[Told], end: End, shape: fn(TaskSpec) -> TaskSpec, rest: &[&str]) {
    let again = rest.last() == Some(&"attempt_starting 2");
    let rig = Rig::start(Supervisor::builder().grace(WATCHDOG));
    let (task, _puppet) = play(&rig.handle, told, end, shape, again);
    if again {
        rig.until(&task, "attempt_starting 2");
    }
    let mut story = rig.story(&task);
    // The slot's part of the story is told elsewhere, and nothing is fixed beyond the second start.
    story.retain(|event| !event.starts_with("slot_transition"));
    story.truncate(story.iter().position(|e| e == "attempt_starting 2").map_or(99, |at| at + 1));
    let mut expected = vec!["submitted drop_if_running", "admitted", "attempt_starting 1"];
    let stopping = told.first().map(|first| format!("attempt_stopping 1: {}", label(*first)));
    expected.extend(stopping.as_deref());
    expected.extend(told.contains(&Timeout).then_some("attempt_overdue 1"));
    expected.extend(rest);
    assert_eq!(story, expected, "told {told:?}, returned {end:?}");

    // With nobody to watch, a claim may travel with its return: another path to the same end.
    let alone = Supervisor::builder().grace(WATCHDOG).start().unwrap();
    let (unwatched, _puppet) = play(&alone.handle(), told, end, shape, again);
    for task in [task, unwatched].iter().filter(|_| !again) {
        let outcome = task.outcome().unwrap();
        assert_eq!(rest.last(), Some(&&*format!("task_ended {outcome}")), "told {told:?}, {end:?}");
    }
}

fn play(
    handle: &SupervisorHandle,
    told: &[Told],
    end: End,
    shape: fn(TaskSpec) -> TaskSpec,
    again: bool,
) -> (TaskHandle, Puppet) {
    let (spec, puppet) = Puppet::new("task");
    let timeout = told.contains(&Timeout).then_some(SHORT);
    let task = handle.add(shape(spec.timeout(timeout))).unwrap();
    assert_eq!(puppet.started(), 1);
    for (earlier, request) in told.iter().enumerate() {
        match request {
            Stop => task.cancel(),
            Replace => drop(handle.submit(no_op("task"), AdmissionPolicy::Replace).unwrap()),
            Shutdown => handle.request_shutdown(),
            Timeout => {}
            Restart => assert!(task.restart()),
        }
        if earlier == 0 {
            let reason = puppet.told();
            assert_eq!(reason.label(), label(*request), "the first request is the token's reason");
        }
        // An answer says that the controller has dealt with all that was asked before.
        assert_eq!(task.state(), TaskState::Stopping);
    }
    puppet.end(end);
    if again {
        assert_eq!(puppet.started(), 2);
    } else {
        let _ = outcome_of(&task);
    }
    (task, puppet)
}

fn label(told: Told) -> String {
    format!("{told:?}").to_lowercase()
}

/// One row for each line of the table in `guide::rules` (all but the first, see
/// `blocking/stuck.rs`), so chosen that each reason is told once, and each kind of return comes
/// once.
#[test]
fn each_ending_is_told_as_it_was_whether_anybody_watches_or_not() {
    let fatal = ["attempt_failed 1: hopeless", "task_ended fatal: hopeless"];
    check(&[], End::Fatal, always, &fatal);
    let panicked = ["attempt_panicked 1: ouch", "task_ended panicked: ouch"];
    check(&[], End::Panic, always_fatal_panic, &panicked);
    check(&[Stop], End::Panic, always, &panicked);
    let ended = "task_ended cancelled (shutdown), the body returned ok";
    check(&[Shutdown], End::Ok, always, &["attempt_succeeded 1", ended]);
    let ended = "task_ended cancelled (replace)";
    check(&[Replace], End::Obey, always, &["attempt_cancelled 1: -", ended]);
    let flush = "task_ended cancelled (stop), the body returned an error: boom";
    check(&[Stop], End::Fail, retries, &["attempt_cancelled 1: boom", flush]);
    let ended = "task_ended cancelled (stop)";

    let timed_out = ["attempt_timed_out 1: boom", "task_ended timed out: boom"];
    check(&[Timeout], End::Fail, never, &timed_out);
    let again = ["attempt_timed_out 1: -", "retry_scheduled 1: timed_out", "attempt_starting 2"];
    check(&[Timeout], End::Ok, always, &again);
    check(&[Restart], End::Ok, never, &["attempt_succeeded 1", "attempt_starting 2"]);
    check(&[Restart], End::Obey, retries, &["attempt_cancelled 1: -", "attempt_starting 2"]);
    // The token keeps the first reason of all, the outcome has the first stop.
    check(&[Timeout, Stop], End::Fail, retries, &["attempt_timed_out 1: boom", flush]);
    check(&[Stop, Shutdown], End::Obey, retries, &["attempt_cancelled 1: -", ended]);

    let by_task = ["attempt_cancelled 1: cancelled by itself", "task_ended cancelled (by_task)"];
    check(&[], End::Cancelled, retries, &by_task);
    let again = ["attempt_panicked 1: ouch", "retry_scheduled 1: panicked", "attempt_starting 2"];
    check(&[], End::Panic, retries, &again);
    check(&[], End::Fail, never, &["attempt_failed 1: boom", "task_ended failed: boom"]);
    let foreign = "attempt_failed 1: cancelled: stop";
    check(
        &[],
        End::Foreign,
        retries,
        &[foreign, "retry_scheduled 1: failed", "attempt_starting 2"],
    );
    check(&[], End::Ok, retries, &["attempt_succeeded 1", "task_ended completed"]);
    let paused = ["attempt_succeeded 1", "run_scheduled 1", "attempt_starting 2"];
    check(&[], End::Ok, always, &paused);
    check(&[], End::Ok, |spec| spec.repeat_after(SHORT), &paused);
    check(&[], End::Ok, |spec| spec.every(SHORT), &paused);
}

/// Where a task can be. Two places that share a state are told apart where requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued,
    Ready,
    Starting,
    Running,
    Overdue,
    Restarting,
    Stopping,
    /// Abandoned after its deadline: it may go on once it has returned.
    Abandoned,
    /// Abandoned after a stop: its outcome is known.
    AbandonedOver,
    Waiting,
    Over,
}

/// A task brought to its place, and what keeps it there.
struct Held {
    task: TaskHandle,
    puppet: Puppet,
    /// Holds the slot or the permit that the task needs.
    holder: Option<Puppet>,
    /// Keeps its thread from getting ready.
    gate: Option<Sender<()>>,
    rig: Rig,
}

impl Held {
    fn new(place: Place, shape: impl FnOnce(TaskSpec) -> TaskSpec) -> Self {
        let permits = if place == Place::Ready { 1 } else { 8 };
        let (gate, opened) = bounded(0);
        let builder = Supervisor::builder().max_concurrent(permits).grace(WATCHDOG);
        let rig = Rig::start(builder.on_thread_start(move || {
            if std::thread::current().name() == Some("own") {
                let _: Result<(), _> = opened.recv();
            }
            Ok(())
        }));
        let mut holder = None;
        match place {
            Place::Queued => holder = Some(running(&rig, "slot")),
            Place::Ready => holder = Some(running(&rig, "other")),
            _ => {}
        }
        let (spec, puppet) = Puppet::new("task");
        let spec = shape(spec.slot("slot").backoff(BackoffPolicy::constant(SHORT)));
        let spec = match place {
            Place::Overdue => spec.timeout(SHORT),
            Place::Abandoned => spec.timeout(SHORT).grace(Duration::ZERO),
            Place::AbandonedOver => spec.grace(Duration::ZERO),
            Place::Waiting => spec.initial_delay(LONG),
            Place::Starting => spec.dedicated_thread(ThreadOptions::new().name("own")),
            _ => spec,
        };
        let task = rig.handle.submit(spec, AdmissionPolicy::Queue).unwrap();
        Self { task, puppet, holder, gate: Some(gate), rig }
    }

    /// Brings the task to its place and says in which state it should be there.
    #[track_caller]
    fn arrive(&self, place: Place) -> TaskState {
        let Self { task, puppet, rig, .. } = self;
        if !matches!(place, Place::Queued | Place::Ready | Place::Starting | Place::Waiting) {
            assert_eq!(puppet.started(), 1);
        }
        match place {
            Place::Queued => TaskState::Queued,
            Place::Ready => TaskState::Runnable,
            Place::Starting => TaskState::Starting,
            Place::Running => TaskState::Running,
            Place::Overdue => {
                assert_eq!(puppet.told(), CancelReason::Timeout);
                TaskState::Stopping
            }
            Place::Restarting => {
                assert!(task.restart());
                TaskState::Stopping
            }
            Place::Stopping => {
                task.cancel();
                TaskState::Stopping
            }
            Place::Abandoned => {
                rig.until(task, "attempt_abandoned 1: timeout");
                TaskState::Abandoned
            }
            Place::AbandonedOver => {
                task.cancel();
                let _ = outcome_of(task);
                TaskState::Over
            }
            Place::Waiting => TaskState::Waiting,
            Place::Over => {
                puppet.end(End::Ok);
                let _ = outcome_of(task);
                TaskState::Over
            }
        }
    }

    #[track_caller]
    fn settled(place: Place) -> Self {
        let held = Self::new(place, |spec| spec);
        let state = held.arrive(place);
        assert_eq!(held.task.state(), state, "{place:?}");
        held
    }
}

/// A running task that holds a slot and a permit.
fn running(rig: &Rig, slot: &str) -> Puppet {
    let (spec, puppet) = Puppet::new("holder");
    rig.handle.add(spec.slot(slot)).unwrap();
    puppet.started();
    puppet
}

/// Stops a task in its place: then it is there, with or without an outcome, and starts no more.
#[track_caller]
fn stop(place: Place, state: TaskState, outcome: Option<&str>) {
    let Held { task, puppet, holder, gate, rig } = Held::settled(place);
    task.cancel();
    if state == TaskState::Over {
        // It is over once its body is dropped.
        let _ = outcome_of(&task);
    }
    assert_eq!(task.state(), state, "{place:?}");
    let known = task.outcome().map(|outcome| outcome.to_string());
    assert_eq!(known.as_deref(), outcome, "{place:?}");
    let rested = puppet.rests();
    drop((holder, gate));
    puppet.end(End::Ok);
    let _ = outcome_of(&task);
    rig.supervisor.shutdown().unwrap();
    let story = rig.story(&task);
    assert!(rested && puppet.rests(), "{place:?}: {story:?}");
    let ends = |event: &&String| event.starts_with("task_ended") || event.starts_with("rejected");
    assert_eq!(story.iter().filter(ends).count(), 1, "{place:?}: {story:?}");
}

#[test]
fn a_stop_is_obeyed_in_every_state() {
    use Place::*;
    let over = TaskState::Over;
    stop(Queued, over, Some("cancelled (stop)"));
    stop(Ready, over, Some("cancelled (stop)"));
    stop(Starting, over, Some("cancelled (stop)"));
    for place in [Running, Overdue, Restarting, Stopping] {
        stop(place, TaskState::Stopping, None);
    }
    stop(Abandoned, over, Some("abandoned (timeout): the body outlived its grace"));
    stop(AbandonedOver, over, Some("abandoned (stop): the body outlived its grace"));
    stop(Waiting, over, Some("cancelled (stop)"));
    stop(Over, over, Some("completed"));
}

#[test]
fn only_a_running_or_waiting_task_is_hurried() {
    use Place::*;
    for place in [Queued, Ready, Starting, Overdue, Restarting, Stopping, Abandoned, Over] {
        let held = Held::settled(place);
        assert!(!held.task.skip_wait() && !held.task.restart(), "{place:?}");
        assert!(held.puppet.rests(), "{place:?}");
    }
    let held = Held::settled(Running);
    assert!(!held.task.skip_wait() && held.task.restart());
    assert_eq!(held.puppet.told(), CancelReason::Restart);
    held.puppet.end(End::Ok);
    assert_eq!(held.puppet.started(), 2);
    for hurry in [TaskHandle::skip_wait, TaskHandle::restart] {
        let held = Held::settled(Waiting);
        assert!(hurry(&held.task));
        assert_eq!(held.puppet.started(), 1);
    }
}

#[test]
fn what_waits_for_its_first_attempt_expires() {
    for place in [Place::Queued, Place::Ready, Place::Starting] {
        let held = Held::new(place, |spec| spec.expires_in(Duration::from_millis(50)));
        held.arrive(place);
        let outcome = outcome_of(&held.task);
        assert!(matches!(outcome, Outcome::Rejected(Rejection::Expired)), "{place:?}: {outcome}");
        assert!(held.puppet.rests(), "{place:?}");
    }
}
