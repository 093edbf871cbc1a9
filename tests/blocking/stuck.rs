//! Bodies that do not come back: what is held for them, what is released, and what is known of
//! them.

use std::panic;
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, TryRecvError};
use threadvisor::prelude::*;
use threadvisor::{AbandonPolicy, FailureCause, SlotStatus};

use crate::support::{next, no_op, outcome_of, resident, Gate};
use crate::{is_about, ms, Stage};

/// A shared body that a gate holds in each attempt before this one; then it returns at once.
fn stuck_before(attempt: u64, name: &str, hold: impl Fn() + Send + Sync + 'static) -> TaskSpec {
    TaskSpec::shared(name, move |ctx| {
        if ctx.attempt() < attempt {
            hold();
        }
        Ok(())
    })
}

fn at_once() -> BackoffPolicy {
    BackoffPolicy::constant(ms(1))
}

#[test]
fn hold_keeps_slot_and_permit_until_the_body_returns() {
    let mut gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().max_concurrent(1));
    let stuck = stage.add(TaskSpec::new("stuck", gate.body()).slot("port").grace(Duration::ZERO));
    gate.wait_entered();
    stuck.cancel();
    assert!(matches!(
        outcome_of(&stuck),
        Outcome::Abandoned { reason: CancelReason::Stop, stop: Some(StopReason::Stop) }
    ));
    let other = stage.add(no_op("other"));
    let heir = stage.handle.submit(no_op("heir").slot("port"), AdmissionPolicy::Queue).unwrap();
    assert_eq!((other.state(), heir.state()), (TaskState::Runnable, TaskState::Queued));
    let snapshot = stage.snapshot();
    assert_eq!((snapshot.permits.held, snapshot.permits.waiting), (1, 1), "{snapshot}");
    let slot = snapshot.slot("port").unwrap();
    assert!(matches!(slot.status, SlotStatus::Terminating { .. }), "{slot:?}");
    assert!(!stage.abandoned().released);
    gate.open();
    assert!(outcome_of(&other).is_success() && outcome_of(&heir).is_success());
    let event = stage.until_label(&stuck, "attempt_returned");
    assert!(
        matches!(
            event.kind,
            EventKind::AttemptReturned { attempt: 1, late_by, returned_ok: true, error: None }
                if late_by > Duration::ZERO
        ),
        "{event}"
    );
    let terminal = ["attempt_abandoned", "attempt_succeeded", "attempt_cancelled", "task_ended"];
    let labels: Vec<_> = stage.seen(&stuck, &terminal).iter().map(|it| it.kind.label()).collect();
    assert_eq!(labels, ["attempt_abandoned", "task_ended"], "its result changes nothing");
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    assert!(stage.snapshot().abandoned.is_empty() && stage.snapshot().is_healthy());
}

#[test]
fn what_has_been_stuck_for_longer_comes_first() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let add = |name| stage.add(TaskSpec::new(name, gate.body()).grace(Duration::ZERO));
    let (late, early) = (add("late"), add("early"));
    for task in [&early, &late] {
        assert!(task.wait_started().unwrap());
        task.cancel();
        assert!(matches!(outcome_of(task), Outcome::Abandoned { .. }));
    }
    let snapshot = stage.snapshot();
    let (report, _) = stage.end();
    gate.open();
    for stuck in [snapshot.abandoned, report.abandoned] {
        let names: Vec<_> = stuck.iter().map(|it| it.task.name.to_string()).collect();
        assert_eq!(names, ["early", "late"]);
    }
}

#[test]
fn a_held_attempt_is_retried_only_when_it_has_returned() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let spec = stuck_before(2, "held", gate.hold());
    let task = stage.add(spec.timeout(ms(10)).grace(ms(10)).backoff(at_once()));
    gate.wait_entered();
    stage.until_label(&task, "attempt_abandoned");
    assert!(task.outcome().is_none());
    let now = stage.snapshot();
    let entry = now.task(task.id()).unwrap();
    assert_eq!((entry.state, entry.interrupted, entry.attempt), (TaskState::Abandoned, true, 1));
    assert!(!now.is_healthy());
    assert_eq!(stage.seen(&task, &["attempt_starting"]).len(), 1);
    gate.open();
    assert!(outcome_of(&task).is_success());
    let story = stage.seen(&task, &["attempt_returned", "retry_scheduled", "attempt_starting"]);
    let labels: Vec<_> = story.iter().map(|it| it.kind.label()).collect();
    let expected = ["attempt_starting", "attempt_returned", "retry_scheduled", "attempt_starting"];
    assert_eq!(labels, expected);
    assert!(
        matches!(
            story[2].kind,
            EventKind::RetryScheduled { attempt: 1, cause: FailureCause::Abandoned, .. }
        ),
        "{}",
        story[2]
    );
}

#[test]
fn a_released_closure_ends_and_its_slot_and_permit_pass_on() {
    let mut gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().max_concurrent(1));
    let hold = gate.hold();
    let body = move |_: &TaskContext| {
        hold();
        Err("a late word".into())
    };
    let spec = TaskSpec::new("stuck", body).slot("port").timeout(ms(10)).grace(ms(10));
    let stuck = stage.add(spec.abandon_policy(AbandonPolicy::Release));
    gate.wait_entered();
    let heir = stage.handle.submit(no_op("heir").slot("port"), AdmissionPolicy::Queue).unwrap();
    assert!(matches!(
        outcome_of(&stuck),
        Outcome::Abandoned { reason: CancelReason::Timeout, stop: None }
    ));
    assert!(outcome_of(&heir).is_success(), "while the old body still runs");
    let event = stage.until_label(&stuck, "attempt_abandoned");
    assert!(
        matches!(event.kind, EventKind::AttemptAbandoned { released: true, attempt: 1, .. }),
        "{event}"
    );
    let entry = stage.abandoned();
    assert!(entry.released && !entry.hook, "{entry:?}");
    assert_eq!((entry.task.id, entry.reason), (stuck.id(), CancelReason::Timeout));
    assert_eq!(stage.snapshot().permits.held, 0);
    gate.open();
    let event = stage.until_label(&stuck, "attempt_returned");
    let EventKind::AttemptReturned { returned_ok: false, error: Some(error), .. } = &event.kind
    else {
        panic!("{event}")
    };
    assert_eq!(error.to_string(), "a late word");
    assert!(stage.snapshot().abandoned.is_empty());
}

#[test]
fn a_released_task_value_is_retried_beside_its_stuck_thread() {
    let mut gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().max_concurrent(1));
    let spec = stuck_before(3, "beside", gate.hold());
    let spec = spec.timeout(ms(10)).grace(ms(10)).backoff(at_once());
    let task = stage.add(spec.abandon_policy(AbandonPolicy::Release));
    assert!(outcome_of(&task).is_success());
    let stuck: Vec<_> =
        stage.snapshot().abandoned.iter().map(|it| (it.attempt, it.released)).collect();
    assert_eq!(stuck, [(1, true), (2, true)]);
    gate.open();
    for attempt in [1, 2] {
        let returned = |event: &Event| match event.kind {
            EventKind::AttemptReturned { attempt: own, .. } => own == attempt,
            _ => false,
        };
        stage.until("a late return", |event| is_about(event, &task) && returned(event));
    }
    assert_eq!(stage.seen(&task, &["attempt_succeeded"]).len(), 1);
    assert!(stage.snapshot().abandoned.is_empty());
}

/// Attempt 1 fails, attempt 2 hangs, and attempt 3 is asked what went before.
#[test]
fn what_follows_an_abandoned_attempt_is_told_of_it_and_not_of_an_older_error() {
    for policy in [AbandonPolicy::Release, AbandonPolicy::Hold] {
        let mut gate = Gate::new();
        let stage = Stage::new();
        let (hold, (say, said)) = (gate.hold(), unbounded());
        let body = move |ctx: &TaskContext| {
            say.send((ctx.failures(), ctx.last_failure().map(ToString::to_string)))?;
            match ctx.attempt() {
                1 => return Err("boom".into()),
                2 => hold(),
                _ => {}
            }
            Ok(())
        };
        let spec = TaskSpec::shared("told", body).timeout(ms(50)).grace(ms(10));
        let task = stage.add(spec.backoff(at_once()).abandon_policy(policy));
        gate.wait_entered();
        stage.until_label(&task, "attempt_abandoned");
        if policy == AbandonPolicy::Hold {
            let now = stage.snapshot();
            let entry = now.task(task.id()).unwrap();
            let last = entry.last_failure.as_ref().map(ToString::to_string);
            assert_eq!((entry.failures, last.as_deref()), (2, Some("outlived its grace")));
            gate.open();
        }
        assert!(outcome_of(&task).is_success());
        let last = |text: &str| Some(text.to_owned());
        let expected = [(0, None), (1, last("boom")), (2, last("outlived its grace"))];
        assert_eq!(said.iter().take(3).collect::<Vec<_>>(), expected, "{policy:?}");
    }
}

#[test]
fn a_late_panic_changes_nothing_either() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let hold = gate.hold();
    let body = move |_: &TaskContext| {
        hold();
        panic::resume_unwind(Box::new("much too late"))
    };
    let spec = TaskSpec::once("stuck", body).panic_policy(PanicPolicy::Fatal);
    let stuck = stage.add(spec.grace(Duration::ZERO).abandon_policy(AbandonPolicy::Release));
    gate.wait_entered();
    stuck.cancel();
    assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
    gate.open();
    let event = stage.until_label(&stuck, "attempt_returned");
    assert!(event.to_string().contains("much too late"), "{event}");
    assert!(stage.seen(&stuck, &["attempt_panicked"]).is_empty());
}

/// The promise of the issue, word for word.
#[test]
fn with_sixteen_released_bodies_that_never_return_work_goes_on_and_all_are_named() {
    let gate = Gate::new();
    let grace = ms(300);
    let stage = Stage::start(Supervisor::builder().grace(grace).thread_name("stuck"));
    let release = |name: String| {
        let hold = gate.hold();
        let body = move |ctx: &TaskContext| {
            ctx.mark("in the driver");
            hold();
            Ok(())
        };
        let spec =
            TaskSpec::new(name, body).timeout(ms(20)).grace(ms(20)).restart(RestartPolicy::Never);
        stage.add(spec.abandon_policy(AbandonPolicy::Release))
    };
    let stuck: Vec<_> = (0..16).map(|n| release(format!("stuck {n}"))).collect();
    for task in &stuck {
        let outcome = outcome_of(task);
        assert!(matches!(outcome, Outcome::Abandoned { stop: None, .. }), "{outcome}");
    }
    assert_eq!(stage.snapshot().permits.held, 0);
    for n in 0..100 {
        assert!(outcome_of(&stage.add(no_op(&format!("new {n}")))).is_success());
    }
    // At the cap, Release acts as Hold; above it, nothing is taken on.
    let held = release("one more".to_owned());
    let event = stage.until_label(&held, "attempt_abandoned");
    let EventKind::AttemptAbandoned { released: false, at_limit: true, .. } = event.kind else {
        panic!("{event}")
    };
    assert!(event.to_string().contains(" released=false why=max_abandoned"), "{event}");
    assert_eq!(stage.snapshot().permits.held, 1);
    let refused = stage.handle.add(no_op("refused")).unwrap_err();
    assert_eq!(refused.rejection(), Some(Rejection::TooManyAbandoned { limit: 16 }));

    let (report, _) = stage.end();
    assert!(report.elapsed < grace + Duration::from_secs(10), "{report}");
    assert_eq!(report.abandoned.len(), 17, "{report}");
    let text = report.to_string();
    for task in &stuck {
        let entry = report.abandoned.iter().find(|entry| entry.task.id == task.id()).unwrap();
        assert_eq!((entry.attempt, entry.reason), (1, CancelReason::Timeout));
        assert!(entry.released && entry.thread.as_ref().is_some_and(|it| it.ends_with("-stuck")));
        assert_eq!(entry.mark.as_ref().map(|mark| &*mark.label), Some("in the driver"));
        assert!(text.contains(&format!("{} attempt 1", entry.task)), "{text}");
        #[cfg(target_os = "linux")]
        {
            assert!(entry.tid.is_some(), "{entry:?}");
            let stall = entry.stall.as_ref().unwrap_or_else(|| panic!("{entry} is not explained"));
            assert!(is_asleep(stall), "{stall}");
        }
    }
}

#[cfg(target_os = "linux")]
fn is_asleep(stall: &threadvisor::Stall) -> bool {
    let futex = |text: &Option<String>| text.as_ref().is_some_and(|it| it.contains("futex"));
    stall.state == Some('S')
        && stall.cpu < stall.over
        && (futex(&stall.syscall) || futex(&stall.wait_channel) || !can_see_calls())
}

/// Some systems do not show system calls, and name no wait channels.
#[cfg(target_os = "linux")]
fn can_see_calls() -> bool {
    std::fs::read_to_string("/proc/thread-self/syscall").is_ok()
}

#[test]
fn above_the_cap_nothing_is_taken_on_until_one_returns() {
    let (mut first, second) = (Gate::new(), Gate::new());
    let stage = Stage::start(Supervisor::builder().max_abandoned(1));
    let stick = |name: &str, gate: &Gate| {
        let spec = TaskSpec::new(name, gate.body()).grace(Duration::ZERO);
        let task = stage.add(spec.abandon_policy(AbandonPolicy::Release));
        gate.wait_entered();
        task
    };
    let one = stick("one", &first);
    let two = stick("two", &second);
    let waiting = stage.handle.submit(no_op("w").slot("two"), AdmissionPolicy::Queue).unwrap();
    one.cancel();
    let _ = outcome_of(&one);
    // At the cap: still open for work.
    assert!(outcome_of(&stage.add(no_op("a"))).is_success());
    two.cancel();
    let _ = outcome_of(&two);
    let released: Vec<_> = stage.snapshot().abandoned.iter().map(|it| it.released).collect();
    assert_eq!(released.iter().filter(|it| **it).count(), 1, "the cap holds");
    assert_eq!(released.len(), 2);
    let refused = stage.handle.submit(no_op("b"), AdmissionPolicy::Queue).unwrap();
    let why = Rejection::TooManyAbandoned { limit: 1 };
    assert_eq!(refused.wait_decided().unwrap(), Decision::Rejected(why));
    assert!(matches!(outcome_of(&refused), Outcome::Rejected(own) if own == why));
    assert_eq!(waiting.state(), TaskState::Queued, "what was decided before stays");
    first.open();
    stage.until_label(&one, "attempt_returned");
    assert!(outcome_of(&stage.add(no_op("c"))).is_success());
}

#[test]
fn the_ledger_says_who_where_since_when_and_why() {
    let gate = Gate::new();
    let stage = Stage::start(Supervisor::builder().thread_name("ledger"));
    let (say, said) = unbounded();
    let hold = gate.hold();
    let task = stage.add(
        TaskSpec::new("modem", move |ctx| {
            let _ = say.send(crate::support::thread_name());
            ctx.mark("opening");
            ctx.mark(format!("writing byte {}", 7));
            hold();
            Ok(())
        })
        .timeout(ms(20))
        .grace(ms(20)),
    );
    let thread = next(&said);
    let before = stage.snapshot();
    assert_eq!(before.task(task.id()).unwrap().thread.as_deref(), Some(&*thread));
    let event = stage.until_label(&task, "attempt_abandoned");
    let EventKind::AttemptAbandoned {
        attempt: 1, reason, ran, thread: own, mark, released, ..
    } = event.kind.clone()
    else {
        panic!("{event}")
    };
    assert_eq!((reason, released, own.as_deref()), (CancelReason::Timeout, false, Some(&*thread)));
    assert!(ran >= ms(40), "{ran:?}");
    let mark = mark.unwrap();
    assert_eq!(&*mark.label, "writing byte 7");
    #[cfg(target_os = "linux")]
    stage.until_next("a look at it", |event| event.kind.label() == "stall_report");
    let entry = stage.abandoned();
    assert_eq!((&entry.task, entry.attempt), (event.task.as_ref().unwrap(), 1));
    assert_eq!((entry.thread.as_deref(), entry.reason), (Some(&*thread), CancelReason::Timeout));
    assert_eq!((entry.since, entry.mark.clone()), (event.since_start, Some(mark.clone())));
    assert!(mark.at <= entry.since);
    #[cfg(target_os = "linux")]
    {
        let comm = format!("/proc/self/task/{}/comm", entry.tid.unwrap());
        assert_eq!(std::fs::read_to_string(comm).unwrap().trim_end(), thread);
        assert!(is_asleep(entry.stall.as_ref().unwrap()), "{entry}");
    }
    let text = stage.snapshot().to_string();
    assert!(text.contains("still running: modem"), "{text}");
    assert!(text.contains("\"writing byte 7\"") && text.contains(&thread), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stall_report_names_the_call_that_blocks() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let gate = Gate::new();
    let stage = Stage::new();
    let watch = |spec: TaskSpec| stage.add(spec.timeout(ms(20)).grace(ms(100)));
    let sleeps = watch(TaskSpec::new("sleeps", gate.body()));
    let (near, mut far) = UnixStream::pair().unwrap();
    let reads = watch(TaskSpec::new("reads", move |_| {
        let _ = far.read(&mut [0; 1])?;
        Ok(())
    }));
    let looked = |task: &TaskHandle| {
        stage.until_label(task, "attempt_abandoned");
        let reports = |event: &Event| is_about(event, task) && event.kind.label() == "stall_report";
        while stage.events().iter().filter(|event| reports(event)).count() < 2 {
            stage.until_next("a look", reports);
        }
        stage.seen(task, &["stall_report"]).into_iter().map(|event| match event.kind {
            EventKind::StallReport { attempt: 1, stall } => stall,
            other => panic!("{other:?}"),
        })
    };
    assert!(looked(&sleeps).all(|stall| is_asleep(&stall)));
    for stall in looked(&reads) {
        let call = stall.syscall.clone().unwrap_or_default();
        assert!(stall.state == Some('S') && stall.cpu < ms(1), "{stall}");
        // An emulator shows the calls of the machine that it runs on.
        let known = ["read", "recvfrom", "socketcall"].contains(&&*call);
        assert!(known || cfg!(target_arch = "arm") || !can_see_calls(), "{stall}");
    }
    drop(near);
}

/// It may get no processor while it is looked at; then it is looked at again.
#[cfg(target_os = "linux")]
#[test]
fn a_stall_report_shows_what_a_spinning_body_costs() {
    let stage = Stage::new();
    let (end, ends) = unbounded::<()>();
    let body = move |_: &TaskContext| {
        while ends.try_recv() == Err(TryRecvError::Empty) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    let spins = stage.add(TaskSpec::new("spins", body).timeout(ms(20)).backoff(at_once()));
    loop {
        let reports = |event: &Event| event.kind.label() == "stall_report";
        let event = stage.until_next("a look", reports);
        let EventKind::StallReport { stall, .. } = event.kind else { unreachable!() };
        assert!(stall.state == Some('R') && stall.syscall.is_none(), "{stall}");
        assert!(stall.to_string().starts_with("running, "), "{stall}");
        if stall.cpu > ms(1) {
            break;
        }
        end.send(()).unwrap();
    }
    drop(end);
    spins.cancel();
    let _ = outcome_of(&spins);
}

#[test]
fn a_supervisor_is_healthy_again_when_the_streak_is_over() {
    let stage = Stage::new();
    let (go, going) = unbounded::<bool>();
    let task = stage.add(
        TaskSpec::new("moody", move |_| {
            let good = going.recv()?;
            if good {
                return Ok(());
            }
            Err("mood".into())
        })
        .repeat_after(ms(1))
        .backoff(at_once()),
    );
    let _other = stage.add(resident("resident"));
    assert!(stage.snapshot().is_healthy());
    go.send(false).unwrap();
    stage.until_label(&task, "retry_scheduled");
    assert!(!stage.snapshot().is_healthy());
    go.send(true).unwrap();
    stage.until_label(&task, "run_scheduled");
    assert!(stage.snapshot().is_healthy());
    drop(go);
}
