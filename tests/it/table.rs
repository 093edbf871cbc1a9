//! How an attempt ends and what follows, line by line; and what every request does in every state.

use std::time::Duration;

use threadvisor::crossbeam_channel::{Receiver, Sender};
use threadvisor::prelude::*;

use crate::support::{next, no_op, outcome_of, slow_to_drop, End, Puppet, Rig, WATCHDOG};

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
            let label = format!("{request:?}").to_lowercase();
            assert_eq!(puppet.told().label(), label, "the first request is the token's reason");
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

#[test]
fn a_fatal_error_ends_the_task_under_every_policy() {
    let fatal = ["attempt_failed 1: hopeless", "task_ended fatal: hopeless"];
    check(&[], End::Fatal, never, &fatal);
    check(&[], End::Fatal, always, &fatal);
    for told in [Stop, Replace, Shutdown, Timeout, Restart] {
        check(&[told], End::Fatal, retries, &fatal);
    }
    check(&[Timeout, Stop], End::Fatal, retries, &fatal);
}

#[test]
fn a_panic_is_final_by_policy_and_after_a_stop() {
    let panicked = ["attempt_panicked 1: ouch", "task_ended panicked: ouch"];
    check(&[], End::Panic, always_fatal_panic, &panicked);
    check(&[Timeout], End::Panic, always_fatal_panic, &panicked);
    check(&[Restart], End::Panic, always_fatal_panic, &panicked);
    for told in [Stop, Replace, Shutdown] {
        check(&[told], End::Panic, always, &panicked);
    }
}

#[test]
fn a_stopped_task_is_cancelled_whatever_it_returns() {
    for (told, reason) in [(Stop, "stop"), (Replace, "replace"), (Shutdown, "shutdown")] {
        let ended = format!("task_ended cancelled ({reason})");
        let ok = format!("{ended}, the body returned ok");
        check(&[told], End::Ok, always, &["attempt_succeeded 1", &ok]);
        check(&[told], End::Obey, always, &["attempt_cancelled 1: -", &ended]);
        check(&[told], End::Fail, retries, &["attempt_cancelled 1: boom", &ended]);
        let by_itself = "attempt_cancelled 1: cancelled by itself";
        check(&[told], End::Cancelled, always, &[by_itself, &ended]);
    }
    // Replaced while it is on its way to shut down, or the other way round: the first stop is the
    // outcome's.
    let ended = "task_ended cancelled (stop)";
    for second in [Replace, Shutdown, Stop] {
        check(&[Stop, second], End::Fail, retries, &["attempt_cancelled 1: boom", ended]);
    }
}

#[test]
fn an_attempt_told_of_its_deadline_has_failed_whatever_it_returns() {
    let ends = [
        (End::Ok, "-", ""),
        (End::Fail, "boom", ": boom"),
        (End::Obey, "-", ""),
        (End::Cancelled, "cancelled by itself", ": cancelled by itself"),
        (End::Panic, "ouch", ": ouch"),
    ];
    for (end, error, text) in ends {
        let timed_out = format!("attempt_timed_out 1: {error}");
        check(&[Timeout], end, never, &[&timed_out, &format!("task_ended timed_out{text}")]);
        let again = [&*timed_out, "retry_scheduled 1: timed_out", "attempt_starting 2"];
        check(&[Timeout], end, retries, &again);
    }
    let again = ["attempt_timed_out 1: -", "retry_scheduled 1: timed_out", "attempt_starting 2"];
    check(&[Timeout], End::Ok, always, &again);
}

#[test]
fn a_restart_is_followed_by_the_next_attempt_at_once_and_counts_as_nothing() {
    for shape in [never as fn(_) -> _, retries, always] {
        check(&[Restart], End::Ok, shape, &["attempt_succeeded 1", "attempt_starting 2"]);
        let obeyed = ["attempt_cancelled 1: -", "attempt_starting 2"];
        check(&[Restart], End::Obey, shape, &obeyed);
        check(&[Restart], End::Fail, shape, &["attempt_cancelled 1: boom", "attempt_starting 2"]);
    }
    let by_itself = "attempt_cancelled 1: cancelled by itself";
    check(&[Restart], End::Cancelled, retries, &[by_itself, "attempt_starting 2"]);
    let panicked = "attempt_panicked 1: ouch";
    let again = [panicked, "retry_scheduled 1: panicked", "attempt_starting 2"];
    check(&[Restart], End::Panic, retries, &again);
    check(&[Restart], End::Panic, never, &[panicked, "task_ended panicked: ouch"]);
}

#[test]
fn a_stop_on_top_of_an_interruption_takes_the_retry_away() {
    for (stop, reason) in [(Stop, "stop"), (Replace, "replace"), (Shutdown, "shutdown")] {
        let ended = format!("task_ended cancelled ({reason})");
        let ok = format!("{ended}, the body returned ok");
        check(&[Timeout, stop], End::Fail, retries, &["attempt_timed_out 1: boom", &ended]);
        check(&[Timeout, stop], End::Ok, retries, &["attempt_timed_out 1: -", &ok]);
        check(&[Timeout, stop], End::Ok, never, &["attempt_timed_out 1: -", &ok]);
        check(&[Restart, stop], End::Ok, always, &["attempt_succeeded 1", &ok]);
        check(&[Restart, stop], End::Fail, retries, &["attempt_cancelled 1: boom", &ended]);
    }
}

#[test]
fn a_task_that_ends_itself_is_never_retried() {
    let by_task = ["attempt_cancelled 1: cancelled by itself", "task_ended cancelled (by_task)"];
    for shape in [never as fn(_) -> _, retries, always] {
        check(&[], End::Cancelled, shape, &by_task);
    }
}

#[test]
fn a_failure_is_retried_by_policy_and_else_is_the_outcome() {
    let ends = [
        (End::Fail, "attempt_failed 1: boom", "failed", "boom"),
        (End::Foreign, "attempt_failed 1: cancelled: stop", "failed", "cancelled: stop"),
        (End::Panic, "attempt_panicked 1: ouch", "panicked", "ouch"),
    ];
    for (end, event, cause, text) in ends {
        check(&[], end, never, &[event, &format!("task_ended {cause}: {text}")]);
        let retry = format!("retry_scheduled 1: {cause}");
        check(&[], end, retries, &[event, &retry, "attempt_starting 2"]);
        check(&[], end, always, &[event, &retry, "attempt_starting 2"]);
    }
}

#[test]
fn a_success_completes_the_task_unless_it_always_runs_again() {
    for shape in [never as fn(_) -> _, retries] {
        check(&[], End::Ok, shape, &["attempt_succeeded 1", "task_ended completed"]);
        check(&[], End::Obey, shape, &["attempt_succeeded 1", "task_ended completed"]);
    }
    check(&[], End::Ok, always, &["attempt_succeeded 1", "attempt_starting 2"]);
    let paused = ["attempt_succeeded 1", "run_scheduled 1", "attempt_starting 2"];
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
    /// Was the slot's owner before, with a body that takes its time to be dropped.
    earlier: Option<SlowlyDropped>,
    rig: Rig,
}

impl Held {
    fn new(place: Place, shape: impl FnOnce(TaskSpec) -> TaskSpec) -> Self {
        let permits = if place == Place::Ready { 1 } else { 8 };
        let rig = Rig::start(Supervisor::builder().max_concurrent(permits).grace(WATCHDOG));
        let (mut holder, mut earlier) = (None, None);
        match place {
            Place::Queued => holder = Some(running(&rig, "slot")),
            Place::Ready => holder = Some(running(&rig, "other")),
            Place::Starting => earlier = Some(SlowlyDropped::owner(&rig, "slot")),
            _ => {}
        }
        let (spec, puppet) = Puppet::new("task");
        let spec = shape(spec.slot("slot").backoff(BackoffPolicy::constant(SHORT)));
        let spec = match place {
            Place::Overdue => spec.timeout(SHORT),
            Place::Abandoned => spec.timeout(SHORT).grace(Duration::ZERO),
            Place::AbandonedOver => spec.grace(Duration::ZERO),
            Place::Waiting => spec.initial_delay(LONG),
            _ => spec,
        };
        let task = rig.handle.submit(spec, AdmissionPolicy::Queue).unwrap();
        Self { task, puppet, holder, earlier, rig }
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
            Place::Starting => {
                let earlier = self.earlier.as_ref().unwrap();
                earlier.task.cancel();
                next(&earlier.dropping);
                TaskState::Starting
            }
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

/// A task with a body whose destructor does not return before it may.
struct SlowlyDropped {
    task: TaskHandle,
    dropping: Receiver<()>,
    _may: Sender<()>,
}

impl SlowlyDropped {
    /// One that owns the slot and never runs.
    fn owner(rig: &Rig, slot: &str) -> Self {
        let (body, dropping, may) = slow_to_drop();
        let spec = TaskSpec::new("earlier", body).slot(slot).initial_delay(LONG);
        Self { task: rig.handle.add(spec).unwrap(), dropping, _may: may }
    }
}

/// Asks something of a task in its place: then it must be there, with or without an outcome.
#[track_caller]
fn ask(place: Place, request: fn(&Held), state: TaskState, outcome: Option<&str>) {
    let held = Held::settled(place);
    request(&held);
    assert_eq!(held.task.state(), state, "{place:?}");
    let known = held.task.outcome().map(|outcome| outcome.to_string());
    assert_eq!(known.as_deref(), outcome, "{place:?}");
    // Whatever was asked, what never started never starts, and nothing starts again.
    let Held { task, puppet, holder, earlier, rig } = held;
    let rested = puppet.rests();
    drop((holder, earlier));
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
    let stop = |held: &Held| held.task.cancel();
    let over = TaskState::Over;
    let removed = "rejected: removed before its first attempt";
    ask(Queued, stop, over, Some(removed));
    ask(Ready, stop, over, Some("cancelled (stop)"));
    ask(Starting, stop, over, Some("cancelled (stop)"));
    ask(Running, stop, TaskState::Stopping, None);
    ask(Overdue, stop, TaskState::Stopping, None);
    ask(Restarting, stop, TaskState::Stopping, None);
    ask(Stopping, stop, TaskState::Stopping, None);
    ask(Abandoned, stop, over, Some("abandoned after being told: timeout"));
    ask(AbandonedOver, stop, over, Some("abandoned after being told: stop"));
    ask(Waiting, stop, over, Some("cancelled (stop)"));
    ask(Over, stop, over, Some("completed"));
}

#[test]
fn a_shutdown_reaches_every_state() {
    use Place::*;
    let shut_down = |held: &Held| held.rig.handle.request_shutdown();
    let over = TaskState::Over;
    let closing = "rejected: the supervisor is shutting down";
    ask(Queued, shut_down, over, Some(closing));
    ask(Ready, shut_down, over, Some("cancelled (shutdown)"));
    ask(Starting, shut_down, over, Some("cancelled (shutdown)"));
    ask(Running, shut_down, TaskState::Stopping, None);
    ask(Overdue, shut_down, TaskState::Stopping, None);
    ask(Restarting, shut_down, TaskState::Stopping, None);
    ask(Stopping, shut_down, TaskState::Stopping, None);
    ask(Abandoned, shut_down, over, Some("abandoned after being told: timeout"));
    ask(AbandonedOver, shut_down, over, Some("abandoned after being told: stop"));
    ask(Waiting, shut_down, over, Some("cancelled (shutdown)"));
    ask(Over, shut_down, over, Some("completed"));
}

/// Asks for the next attempt: taken or not.
#[track_caller]
fn ask_for_next(place: Place, request: fn(&TaskHandle) -> bool, taken: bool) {
    let held = Held::settled(place);
    assert_eq!(request(&held.task), taken, "{place:?}");
    if !taken {
        assert!(held.puppet.rests(), "{place:?}");
        return;
    }
    held.puppet.end(End::Ok);
    if place == Place::Running {
        assert_eq!(held.puppet.told(), CancelReason::Restart);
        assert_eq!(held.puppet.started(), 2);
    } else {
        assert_eq!(held.puppet.started(), 1);
    }
    held.puppet.end(End::Ok);
    assert!(outcome_of(&held.task).is_success());
}

#[test]
fn only_a_waiting_task_skips_its_wait() {
    use Place::*;
    for place in [Queued, Ready, Starting, Running, Overdue, Restarting, Stopping] {
        ask_for_next(place, TaskHandle::skip_wait, false);
    }
    for place in [Abandoned, AbandonedOver, Over] {
        ask_for_next(place, TaskHandle::skip_wait, false);
    }
    ask_for_next(Waiting, TaskHandle::skip_wait, true);
}

#[test]
fn only_a_running_or_waiting_task_restarts() {
    use Place::*;
    for place in [Queued, Ready, Starting, Overdue, Restarting, Stopping] {
        ask_for_next(place, TaskHandle::restart, false);
    }
    for place in [Abandoned, AbandonedOver, Over] {
        ask_for_next(place, TaskHandle::restart, false);
    }
    ask_for_next(Running, TaskHandle::restart, true);
    ask_for_next(Waiting, TaskHandle::restart, true);
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
