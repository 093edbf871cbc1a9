//! Who gets a slot, who waits, who is refused; batches and limits; and how a snapshot shows it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, SlotStatus, SubmitError, TaskSnapshot};

use crate::support::{no_op, outcome_of, resident, End, Gate, Puppet, Rig};

use AdmissionPolicy::{DropIfRunning, KeepLatest, Queue, Replace};

const LONG: Duration = Duration::from_secs(3600);
const POLICIES: [AdmissionPolicy; 4] = [Queue, Replace, DropIfRunning, KeepLatest];

/// A slot with a running owner and two submissions that wait for it.
struct Busy {
    rig: Rig,
    owner: TaskHandle,
    puppet: Puppet,
    waiting: [TaskHandle; 2],
}

const SLOT: &str = "slot";

impl Busy {
    fn new() -> Self {
        let rig = Rig::start(Supervisor::builder().max_slot_queue(3));
        let (spec, puppet) = Puppet::new("owner");
        let owner = rig.handle.add(spec.slot(SLOT)).unwrap();
        puppet.started();
        let waiting = ["first", "second"].map(|name| submit(&rig, name, Queue));
        Self { rig, owner, puppet, waiting }
    }

    /// Lets the owner and all that waits come to their ends, in this order.
    #[track_caller]
    fn check_order(self, expected: &[&str]) {
        self.puppet.end(End::Ok);
        let _ = outcome_of(&self.owner);
        let _ = self.rig.handle.submit(no_op("last").slot(SLOT), Queue).unwrap().wait().unwrap();
        let events = self.rig.events();
        let starts =
            events.iter().filter(|event| matches!(event.kind, EventKind::AttemptStarting { .. }));
        let order: Vec<_> =
            starts.filter_map(|event| event.task.as_ref()).map(|t| &*t.name).collect();
        assert_eq!(order, [&["owner"], expected, &["last"]].concat());
    }
}

fn submit(rig: &Rig, name: &str, policy: AdmissionPolicy) -> TaskHandle {
    rig.handle.submit(no_op(name).slot(SLOT), policy).unwrap()
}

fn rejection(task: &TaskHandle) -> Option<Rejection> {
    match outcome_of(task) {
        Outcome::Rejected(why) => Some(why),
        _ => None,
    }
}

#[test]
fn an_idle_slot_starts_every_submission() {
    let rig = Rig::new();
    for policy in POLICIES {
        let task = submit(&rig, "task", policy);
        assert_eq!(task.wait_decided(), Ok(Decision::Admitted), "{policy}");
        assert!(outcome_of(&task).is_success(), "{policy}");
        assert_eq!(rig.story(&task)[..2], [&*format!("submitted {policy}"), "admitted"]);
    }
    assert!(rig.handle.snapshot().unwrap().slots.is_empty(), "an idle slot is forgotten");
}

#[test]
fn queue_waits_behind_all_that_wait_up_to_the_limit() {
    let busy = Busy::new();
    let [first, second] = &busy.waiting;
    assert_eq!(first.wait_decided(), Ok(Decision::Queued { ahead: 0 }));
    assert_eq!(second.wait_decided(), Ok(Decision::Queued { ahead: 1 }));
    let third = submit(&busy.rig, "third", Queue);
    assert_eq!(third.wait_decided(), Ok(Decision::Queued { ahead: 2 }));
    let full = submit(&busy.rig, "full", Queue);
    let why = Rejection::QueueFull { depth: 3, limit: 3 };
    assert_eq!(full.wait_decided(), Ok(Decision::Rejected(why)));
    assert_eq!(rejection(&full), Some(why));
    assert_eq!(busy.rig.story(&full), ["submitted queue", "rejected queue_full"]);
    assert_eq!(busy.rig.story(&third), ["submitted queue", "queued 3"]);
    assert_eq!(busy.owner.state(), TaskState::Running);
    busy.check_order(&["first", "second", "third"]);
}

#[test]
fn replace_asks_the_owner_once_and_overwrites_the_head_beyond_any_limit() {
    let busy = Busy::new();
    submit(&busy.rig, "third", Queue);
    let older = submit(&busy.rig, "older", Replace);
    assert_eq!(older.wait_decided(), Ok(Decision::Queued { ahead: 0 }));
    assert_eq!(busy.puppet.told(), CancelReason::Replace);
    assert_eq!(rejection(&busy.waiting[0]), Some(Rejection::Superseded { by: older.id() }));
    let newer = submit(&busy.rig, "newer", Replace);
    let _ = newer.wait_decided().unwrap();
    assert_eq!(rejection(&older), Some(Rejection::Superseded { by: newer.id() }));
    let transitions = busy.rig.story(&busy.owner);
    let terminating = |event: &&String| *event == "slot_transition true";
    assert_eq!(transitions.iter().filter(terminating).count(), 1);
    let snapshot = busy.rig.handle.snapshot().unwrap();
    let slot = snapshot.slot(SLOT).unwrap();
    assert!(matches!(slot.status, SlotStatus::Terminating { .. }));
    assert_eq!((slot.owner, slot.queued), (Some(busy.owner.id()), 3));
    busy.check_order(&["newer", "second", "third"]);
}

#[test]
fn drop_if_running_is_refused_and_told_by_whom() {
    let busy = Busy::new();
    let since = busy.rig.until(&busy.owner, "admitted").since_start;
    let why = Rejection::SlotBusy { owner: busy.owner.id(), since };
    let refused = submit(&busy.rig, "refused", DropIfRunning);
    assert_eq!(refused.wait_decided(), Ok(Decision::Rejected(why)));
    assert_eq!(busy.rig.story(&refused), ["submitted drop_if_running", "rejected slot_busy"]);
    let error = busy.rig.handle.add(no_op("added").slot(SLOT)).unwrap_err();
    assert_eq!(error.rejection(), Some(why));
    assert!(error.to_string().contains("added"), "{error}");
    assert_eq!(error.into_spec().name(), "added");
    assert_eq!(busy.owner.state(), TaskState::Running);
    busy.check_order(&["first", "second"]);
}

#[test]
fn keep_latest_replaces_all_that_waits_and_leaves_the_owner_alone() {
    let busy = Busy::new();
    submit(&busy.rig, "third", Queue);
    let latest = submit(&busy.rig, "latest", KeepLatest);
    assert_eq!(latest.wait_decided(), Ok(Decision::Queued { ahead: 0 }));
    for task in &busy.waiting {
        assert_eq!(rejection(task), Some(Rejection::Superseded { by: latest.id() }));
        assert_eq!(busy.rig.story(task).last().unwrap(), "rejected superseded");
    }
    assert_eq!(busy.owner.state(), TaskState::Running);
    busy.check_order(&["latest"]);
}

#[test]
fn a_slot_is_busy_while_its_owner_sleeps_or_lingers() {
    let rig = Rig::new();
    let asleep = rig.handle.add(no_op("asleep").slot(SLOT).initial_delay(LONG)).unwrap();
    let (spec, puppet) = Puppet::new("lingers");
    let abandoned = rig.handle.add(spec.grace(Duration::ZERO)).unwrap();
    puppet.started();
    abandoned.cancel();
    assert!(matches!(outcome_of(&abandoned), Outcome::Abandoned { .. }));
    for (slot, owner) in [(SLOT, &asleep), ("lingers", &abandoned)] {
        let refused = rig.handle.add(no_op("late").slot(slot)).unwrap_err();
        match refused.rejection() {
            Some(Rejection::SlotBusy { owner: by, .. }) => assert_eq!(by, owner.id()),
            _ => panic!("{slot}: {refused}"),
        }
        assert_eq!(rig.handle.owner(slot).unwrap().id(), owner.id());
    }
    // Whoever waits for the slot of an abandoned attempt runs once its body has really returned.
    let heir = rig.handle.submit(no_op("heir").slot("lingers"), Queue).unwrap();
    assert_eq!(heir.wait_decided(), Ok(Decision::Queued { ahead: 0 }));
    let status = rig.handle.snapshot().unwrap().slot("lingers").unwrap().status;
    assert!(matches!(status, SlotStatus::Terminating { .. }));
    assert_eq!(heir.state(), TaskState::Queued);
    puppet.end(End::Ok);
    assert!(outcome_of(&heir).is_success());
    let after = [
        "attempt_abandoned 1: stop",
        "task_ended abandoned (stop): the body outlived its grace",
        "attempt_returned 1: ok",
        "slot_transition false",
    ];
    assert!(rig.story(&abandoned).ends_with(&after.map(str::to_owned)));
}

#[test]
fn a_replaced_owner_that_waits_for_its_permit_leaves_its_place_to_the_successor() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(1));
    let (spec, puppet) = Puppet::new("running");
    rig.handle.add(spec).unwrap();
    puppet.started();
    let owner = submit(&rig, "owner", Queue);
    let other = rig.handle.add(no_op("other")).unwrap();
    let heir = submit(&rig, "heir", Replace);
    assert_eq!(outcome_of(&owner).to_string(), "cancelled (replace)");
    assert_eq!([heir.state(), other.state()], [TaskState::Runnable; 2]);
    puppet.end(End::Ok);
    let _ = outcome_of(&other);
    let _ = outcome_of(&heir);
    let start = |task| rig.until(task, "attempt_starting 1").seq;
    assert!(start(&heir) < start(&other));
}

#[test]
fn a_cancelled_replacement_takes_nothing_back_from_the_owner() {
    let busy = Busy::new();
    let head = submit(&busy.rig, "head", Replace);
    assert_eq!(busy.puppet.told(), CancelReason::Replace);
    head.cancel();
    assert_eq!(outcome_of(&head).to_string(), "cancelled (stop)");
    assert_eq!(busy.owner.state(), TaskState::Stopping);
    assert_eq!(busy.owner.clone().id(), busy.owner.id());
    let owner = busy.owner.clone();
    busy.check_order(&["second"]);
    assert_eq!(outcome_of(&owner).to_string(), "cancelled (replace), the body returned ok");
}

#[test]
fn cancel_slot_stops_the_owner_and_removes_all_that_waits() {
    let busy = Busy::new();
    let answer = busy.rig.handle.cancel_slot(SLOT);
    assert_eq!((answer.owner_asked, answer.removed), (true, 2));
    for task in &busy.waiting {
        assert_eq!(rejection(task), Some(Rejection::Removed));
    }
    let again = busy.rig.handle.cancel_slot(SLOT);
    assert_eq!((again.owner_asked, again.removed), (false, 0));
    assert_eq!(busy.puppet.told(), CancelReason::Stop);
    busy.puppet.end(End::Obey);
    assert_eq!(outcome_of(&busy.owner).to_string(), "cancelled (stop)");
    let nobody = busy.rig.handle.cancel_slot("nobody's");
    assert_eq!((nobody.owner_asked, nobody.removed), (false, 0));
    assert!(busy.rig.handle.owner(SLOT).is_none());
}

#[test]
fn tasks_without_a_slot_and_in_different_slots_conflict_with_nothing() {
    let rig = Rig::new();
    let mut gate = Gate::new();
    let mut tasks = Vec::new();
    for policy in POLICIES.repeat(2) {
        tasks
            .push(rig.handle.submit(TaskSpec::new("same", gate.body()).no_slot(), policy).unwrap());
    }
    for key in ["a", "b", "c"] {
        tasks.push(rig.handle.add(TaskSpec::new("same", gate.body()).slot(key)).unwrap());
    }
    for _ in &tasks {
        gate.wait_entered();
    }
    assert!(tasks[0].slot().is_none() && tasks[8].slot() == Some("a"));
    gate.open();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
}

#[test]
fn a_batch_is_admitted_whole_or_not_at_all() {
    let rig = Rig::new();
    let handle = &rig.handle;
    let tasks = handle.add_all(["a", "b"].map(resident)).unwrap();
    assert_eq!([tasks[0].name(), tasks[1].name()], ["a", "b"]);
    assert!(tasks[0].id() < tasks[1].id());
    // A busy slot, then a slot that is named twice.
    for (names, culprit) in [(["c", "b", "d"], "b"), (["c", "d", "c"], "c")] {
        match handle.add_all(names.map(resident)).unwrap_err() {
            AddError::Rejected { task, why, spec } => {
                let label = if culprit == "b" { "slot_busy" } else { "slot_named_twice" };
                assert_eq!((&*task, why.label()), (culprit, label));
                let back: Vec<_> = spec.iter().map(TaskSpec::name).collect();
                assert_eq!(back, names);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(handle.snapshot().unwrap().tasks.len(), 2);
    }
    let started = |event: &Event| matches!(event.kind, EventKind::AttemptStarting { .. });
    for task in &tasks {
        rig.until(task, "attempt_starting 1");
    }
    assert_eq!(rig.events().into_iter().filter(started).count(), 2);
    assert!(handle.add_all([]).unwrap().is_empty());
    assert!(handle.add_all(["c", "d"].map(resident)).is_ok(), "a refused batch leaves nothing");
}

#[test]
fn a_full_supervisor_refuses_until_a_task_has_ended() {
    let rig = Rig::start(Supervisor::builder().max_tasks(2));
    let tasks = rig.handle.add_all(["a", "b"].map(resident)).unwrap();
    let refused = rig.handle.add(resident("c")).unwrap_err();
    assert_eq!(refused.rejection(), Some(Rejection::TooManyTasks { limit: 2 }));
    tasks[0].cancel();
    let _ = outcome_of(&tasks[0]);
    rig.handle.add(refused.into_spec()).unwrap();
}

#[test]
fn a_closed_door_gives_every_spec_back() {
    let rig = Rig::new();
    rig.supervisor.shutdown().unwrap();
    let handle = &rig.handle;
    assert!(handle.is_shutting_down());
    assert!(matches!(handle.add(no_op("a")), Err(AddError::Closed { spec }) if spec.name() == "a"));
    let batch = handle.add_all(["a", "b"].map(no_op)).unwrap_err();
    assert!(matches!(batch, AddError::Closed { spec } if spec.len() == 2));
    for submit in [SupervisorHandle::submit, SupervisorHandle::try_submit] {
        let refused = submit(handle, no_op("a"), Queue).unwrap_err();
        assert!(matches!(refused, SubmitError::Closed { spec } if spec.name() == "a"));
    }
}

#[test]
fn whoever_saw_the_outcome_is_never_refused_the_slot() {
    // Watched and unwatched attempts report in different ways.
    let unwatched = Supervisor::builder().start().unwrap();
    for handle in [&Rig::new().handle, &unwatched.handle()] {
        let mut ok = true;
        for round in 0..2048 {
            ok = !ok;
            let body = move |_: &TaskContext| if ok { Ok(()) } else { Err("boom".into()) };
            let task = handle.submit(TaskSpec::once(SLOT, body), DropIfRunning).unwrap();
            assert_eq!(task.wait_decided(), Ok(Decision::Admitted), "round {round}");
            if round % 3 == 0 {
                let _ = task.ended().recv();
            }
            assert_eq!(outcome_of(&task).is_success(), ok, "round {round}");
        }
    }
}

#[test]
fn a_full_intake_gives_the_spec_back_or_makes_the_caller_wait() {
    let supervisor = Supervisor::builder().intake_capacity(1).start().unwrap();
    let (handle, runs) = (supervisor.handle(), Arc::new(AtomicUsize::new(0)));
    let counted = || {
        let runs = Arc::clone(&runs);
        let body = move |_: &TaskContext| {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        TaskSpec::once("counted", body).no_slot()
    };
    let (mut tasks, mut full) = (Vec::new(), 0);
    // The controller needs longer for one than this loop: sooner or later it is still at it.
    while full < 10 {
        match handle.try_submit(counted(), Queue) {
            Ok(task) => tasks.push(task),
            Err(SubmitError::Full { spec }) => {
                full += 1;
                assert_eq!(spec.name(), "counted");
                tasks.push(handle.submit(spec, Queue).unwrap());
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
    assert_eq!(runs.load(Ordering::SeqCst), tasks.len());
}

#[test]
fn a_snapshot_shows_every_task_slot_and_permit_at_one_moment() {
    let rig = Rig::start(Supervisor::builder().max_concurrent(3));
    let (spec, flaky) = Puppet::new("flaky");
    let backoff = BackoffPolicy::constant(LONG);
    let waits = rig.handle.add(spec.slot("z").backoff(backoff)).unwrap();
    flaky.end(End::Fail);
    rig.until(&waits, "retry_scheduled 1: failed");
    let (spec, puppet) = Puppet::new("runs");
    let runs = rig.handle.add(spec.slot("a").timeout(LONG)).unwrap();
    puppet.started();
    let queued = rig.handle.submit(no_op("queued").slot("a"), Queue).unwrap();
    let _ = queued.wait_decided().unwrap();

    let snapshot = rig.handle.snapshot().unwrap();
    let ids: Vec<_> = snapshot.tasks.iter().map(|task| task.task.id).collect();
    assert_eq!(ids, [waits.id(), runs.id(), queued.id()], "by id");
    let states: Vec<_> = snapshot.tasks.iter().map(|task| (task.state, task.attempt)).collect();
    let expected = [(TaskState::Waiting, 1), (TaskState::Running, 1), (TaskState::Queued, 0)];
    assert_eq!(states, expected);
    let [waiting, running, queued] = &snapshot.tasks[..] else { unreachable!() };
    let last = waiting.last_failure.as_ref().map(ToString::to_string);
    assert_eq!((waiting.failures, last.as_deref()), (1, Some("boom")));
    assert_eq!((running.failures, queued.failures), (0, 0));
    assert_eq!([&waiting.thread, &queued.thread], [&None, &None], "a wait holds no thread");
    assert!(running.thread.is_some());
    let wakes = |task: &TaskSnapshot| task.next_wake.map(|due| due > snapshot.at);
    assert_eq!([waiting, running, queued].map(wakes), [Some(true), Some(true), None]);
    let slots: Vec<_> = snapshot.slots.iter().map(|slot| (&*slot.key, slot.queued)).collect();
    assert_eq!(slots, [("a", 1), ("z", 0)], "by key");
    assert_eq!(snapshot.slot("a").unwrap().owner, Some(runs.id()));
    assert_eq!((snapshot.permits.held, snapshot.permits.limit), (1, Some(3)));
    assert!(!snapshot.is_healthy(), "a task in a streak of failures needs attention");
    let text = snapshot.to_string();
    assert!(text.contains("boom") && text.contains("runs") && text.contains("tasks=3"), "{text}");

    waits.skip_wait();
    flaky.end(End::Ok);
    let _ = outcome_of(&waits);
    assert!(rig.handle.snapshot().unwrap().is_healthy());
    // A name may come back, an id never does.
    assert!(rig.handle.add(no_op("flaky")).unwrap().id() > waits.id());
    assert!(rig.handle.task(waits.id()).is_none() && rig.handle.task(runs.id()).is_some());
}

#[test]
fn each_of_several_is_taken_or_given_back_by_itself() {
    // Room for one at a time.
    let rig = Rig::start(Supervisor::builder().intake_capacity(1).max_slot_queue(1));
    let names = ["a", "", "b", "c", "d"];
    let specs = names.map(|name| resident(name).slot("one"));
    let taken = rig.handle.submit_all(specs, Queue);
    let found: Vec<_> = taken
        .iter()
        .map(|it| match it {
            Ok(task) => format!("{}: {}", task.name(), task.wait_decided().unwrap().label()),
            Err(SubmitError::Invalid { error, spec }) => {
                format!("{}: {}", spec.name(), error.field)
            }
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(found, ["a: admitted", ": name", "b: queued", "c: rejected", "d: rejected"]);

    let many = (0..500).map(|n| no_op(&n.to_string()));
    for task in rig.handle.submit_all(many, Queue) {
        assert!(outcome_of(&task.unwrap()).is_success());
    }

    rig.supervisor.shutdown().unwrap();
    let late = rig.handle.submit_all(["x", "y"].map(no_op), Queue);
    let back = late.into_iter().map(|it| match it {
        Err(SubmitError::Closed { spec }) => spec.name().to_owned(),
        other => panic!("{other:?}"),
    });
    assert_eq!(back.collect::<Vec<_>>(), ["x", "y"]);
}
