//! The watchdog: silence is noticed, whoever beats is left alone, and nobody else pays for it.

use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::{FailureCause, ManualClock};

use crate::support::{next, outcome_of, resident, Gate};
use crate::{call_for, ms, Stage};

fn labels(stage: &Stage, task: &TaskHandle) -> Vec<&'static str> {
    let watched =
        ["attempt_silent", "attempt_responsive", "attempt_overdue", "attempt_unresponsive"];
    stage.seen(task, &watched).iter().map(|event| event.kind.label()).collect()
}

#[test]
fn a_body_that_hangs_at_once_is_noticed_and_reported_and_goes_on_when_it_beats() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let hold = gate.hold();
    let (beat, beaten) = unbounded::<()>();
    let task = stage.add(
        TaskSpec::new("hangs in open", move |ctx| {
            hold();
            ctx.mark("opened");
            beaten.iter().for_each(|()| ctx.heartbeat());
            Ok(ctx.check()?)
        })
        .watchdog(ms(40)),
    );
    gate.wait_entered();
    let event = stage.until_label(&task, "attempt_silent");
    let EventKind::AttemptSilent { attempt: 1, silent_for, mark: None } = &event.kind else {
        panic!("{event}")
    };
    assert!(*silent_for >= ms(40), "{event}");
    #[cfg(target_os = "linux")]
    stage.until_label(&task, "stall_report");
    let now = stage.snapshot();
    assert!(now.task(task.id()).unwrap().silent && !now.is_healthy());
    assert_eq!(task.state(), TaskState::Running, "only reported");
    gate.open();
    stage.until_label(&task, "attempt_responsive");
    // The next silence names the place.
    let again = |event: &Event| event.kind.label() == "attempt_silent";
    let event = stage.until_next("silent again", again);
    let EventKind::AttemptSilent { mark: Some(mark), .. } = &event.kind else { panic!("{event}") };
    assert_eq!(&*mark.label, "opened");
    assert!(stage.snapshot().to_string().contains("at opened"));
    beat.send(()).unwrap();
    stage.until_next("resumed again", |event| event.kind.label() == "attempt_responsive");
    drop(beat);
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_silent_body_is_cancelled_retried_and_ends_as_unresponsive() {
    let stage = Stage::new();
    let (say, said) = unbounded();
    let task = stage.add(
        TaskSpec::new("silent", move |ctx| {
            let _ = ctx.cancelled().recv();
            let _ = say.send(ctx.reason());
            Ok(())
        })
        .watchdog(ms(8))
        .watchdog_policy(WatchdogPolicy::Cancel)
        .backoff(BackoffPolicy::constant(ms(1)))
        .max_retries(1),
    );
    assert!(matches!(outcome_of(&task), Outcome::Unresponsive { error: None }));
    let reasons: Vec<_> = said.try_iter().collect();
    assert_eq!(reasons, [Some(CancelReason::Unresponsive); 2]);
    let one = ["attempt_silent", "attempt_unresponsive"];
    assert_eq!(labels(&stage, &task), [one, one].concat());
    let event = stage.until_label(&task, "retry_scheduled");
    assert!(
        matches!(
            event.kind,
            EventKind::RetryScheduled { attempt: 1, cause: FailureCause::Unresponsive, .. }
        ),
        "{event}"
    );
}

#[test]
fn a_body_that_was_told_for_its_silence_is_silent_in_snapshots_until_it_returns() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let hold = gate.hold();
    let deaf = TaskSpec::once("deaf", move |_| {
        hold();
        Ok(())
    });
    let deaf = deaf.watchdog(ms(8)).watchdog_policy(WatchdogPolicy::Cancel);
    let task = stage.add(deaf.grace(Duration::from_secs(60)));
    gate.wait_entered();
    stage.until_label(&task, "attempt_silent");
    let now = stage.snapshot();
    let seen = now.task(task.id()).unwrap();
    assert_eq!(seen.state, TaskState::Stopping);
    assert!(seen.silent && seen.interrupted && !seen.stable, "{seen:?}");
    gate.open();
    assert!(outcome_of(&task).is_unresponsive());
}

#[test]
fn a_silent_body_that_ignores_its_cancel_is_abandoned() {
    let gate = Gate::new();
    let stage = Stage::new();
    let spec = TaskSpec::new("deaf", gate.body()).restart(RestartPolicy::Never);
    let spec = spec.watchdog(ms(8)).watchdog_policy(WatchdogPolicy::Cancel).grace(ms(10));
    let task = stage.add(spec);
    assert!(matches!(
        outcome_of(&task),
        Outcome::Abandoned { reason: CancelReason::Unresponsive, stop: None }
    ));
    assert_eq!(stage.abandoned().reason, CancelReason::Unresponsive);
}

#[test]
fn whoever_beats_is_not_silent() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let (say, said) = unbounded();
    let hear = move |event: &Event| say.send(event.kind.label()).unwrap();
    let supervisor = Supervisor::builder().clock(&clock).on_event(hear).start().unwrap();
    let body = |beat: fn(&TaskContext)| {
        move |ctx: &TaskContext| {
            // Long after silence would have been noticed.
            for _ in 0..300 {
                beat(ctx);
                ctx.sleep(ms(900))?;
            }
            Ok(())
        }
    };
    let watch = |spec: TaskSpec| {
        let cancel = spec.watchdog(Duration::from_secs(1)).watchdog_policy(WatchdogPolicy::Cancel);
        supervisor.handle().add(cancel.restart(RestartPolicy::Never)).unwrap()
    };
    let beats = watch(TaskSpec::new("beats", body(TaskContext::heartbeat)));
    let marks = watch(TaskSpec::new("marks", body(|ctx| ctx.mark("here"))));
    clock.advance(Duration::from_secs(270));
    for task in [&beats, &marks] {
        assert!(task.outcome().unwrap().is_success(), "{task:?}");
    }
    assert!(said.try_iter().all(|label| label != "attempt_silent"));
}

#[test]
fn silence_is_allowed_while_the_guard_is_held_and_no_longer_than_said() {
    let stage = Stage::new();
    let (say, said) = unbounded();
    let allowed = stage.add(
        TaskSpec::once("allowed", move |ctx| {
            let long = ctx.allow_silence(Duration::MAX);
            let short = ctx.allow_silence(ms(1));
            call_for(ms(200));
            drop(short);
            call_for(ms(50));
            drop(long);
            let _ = say.send(());
            // The count begins anew here, and nobody beats any more.
            Ok(ctx.sleep(Duration::MAX)?)
        })
        .watchdog(ms(20))
        .watchdog_policy(WatchdogPolicy::Cancel),
    );
    let brief = stage.add(
        TaskSpec::once("brief", |ctx| {
            let _guard = ctx.allow_silence(ms(30));
            Ok(ctx.sleep(Duration::MAX)?)
        })
        .watchdog(ms(20))
        .watchdog_policy(WatchdogPolicy::Cancel),
    );
    next(&said);
    for task in [&allowed, &brief] {
        assert!(matches!(outcome_of(task), Outcome::Unresponsive { .. }));
        assert_eq!(labels(&stage, task), ["attempt_silent", "attempt_unresponsive"]);
    }
    let ran = |task: &TaskHandle| match stage.until_label(task, "attempt_unresponsive").kind {
        EventKind::AttemptUnresponsive { ran, .. } => ran,
        other => panic!("{other:?}"),
    };
    // What was allowed, and the span of the watchdog without the period in which the last sign was
    // seen and an eighth for how late that was.
    assert!(ran(&allowed) >= ms(250 + 12), "{:?}", ran(&allowed));
    assert!(ran(&brief) >= ms(30 + 12), "{:?}", ran(&brief));
}

#[test]
fn deadline_and_watchdog_go_together() {
    let stage = Stage::new();
    // The deadline comes first.
    let overdue = stage.add(
        TaskSpec::once("overdue", |ctx| Ok(ctx.sleep(Duration::MAX)?))
            .timeout(ms(20))
            .watchdog(Duration::from_secs(3600))
            .watchdog_policy(WatchdogPolicy::Cancel),
    );
    assert!(matches!(outcome_of(&overdue), Outcome::TimedOut { .. }));
    assert_eq!(labels(&stage, &overdue), ["attempt_overdue"]);
    // The silence comes first; the deadline says nothing more.
    let silent = stage.add(
        TaskSpec::once("silent", |ctx| Ok(ctx.sleep(Duration::MAX)?))
            .watchdog(ms(8))
            .watchdog_policy(WatchdogPolicy::Cancel)
            .timeout(Duration::from_secs(3600)),
    );
    assert!(matches!(outcome_of(&silent), Outcome::Unresponsive { .. }));
    assert_eq!(labels(&stage, &silent), ["attempt_silent", "attempt_unresponsive"]);
    // Silent and reported, then overdue as well. Only where the controller first gets to run after
    // the deadline, it has nothing to say but that: then once more with a later one.
    let both = |timeout| {
        let task = stage.add(
            TaskSpec::once("both", |ctx| Ok(ctx.sleep(Duration::MAX)?))
                .watchdog(ms(8))
                .timeout(timeout),
        );
        assert!(matches!(outcome_of(&task), Outcome::TimedOut { .. }));
        labels(&stage, &task)
    };
    let mut found = both(ms(100));
    if found == ["attempt_overdue"] {
        found = both(Duration::from_secs(10));
    }
    assert_eq!(found, ["attempt_silent", "attempt_overdue"]);
}

#[test]
fn marks_are_kept_without_a_watchdog_and_each_attempt_begins_without() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let hold = gate.hold();
    let mark_of = |task: &TaskHandle| {
        let now = stage.snapshot();
        now.task(task.id()).unwrap().mark.clone().map(|mark| mark.label.into_owned())
    };
    let task = stage.add(TaskSpec::new("marks", move |ctx| {
        if ctx.attempt() == 1 {
            ctx.mark("first");
        }
        hold();
        Ok(ctx.sleep(Duration::MAX)?)
    }));
    gate.wait_entered();
    assert_eq!(mark_of(&task).as_deref(), Some("first"));
    assert!(task.restart());
    gate.open();
    gate.wait_entered();
    assert_eq!(mark_of(&task), None);
    assert!(labels(&stage, &task).is_empty());
}

/// Voluntary switches of the controller are what it wakes up for.
#[cfg(target_os = "linux")]
#[test]
fn nobody_wakes_up_for_tasks_that_are_not_watched_or_wait() {
    let stage = Stage::start(Supervisor::builder().thread_name("quiet"));
    let _plain = stage.add(resident("plain"));
    let (say, said) = unbounded();
    let waiting = stage.add(
        TaskSpec::new("waits", move |_| {
            let _ = say.send(());
            Ok(())
        })
        .watchdog(ms(4))
        .repeat_after(Duration::from_secs(3600)),
    );
    next(&said);
    stage.until_label(&waiting, "run_scheduled");
    let controller = thread_named("ctl-quiet");
    // A flush, so that the event's lane is done; then what the last turn still had to do.
    stage.events();
    call_for(ms(50));
    let before = switches(controller);
    call_for(ms(300));
    let woken = switches(controller) - before;
    assert!(woken <= 2, "the controller woke up {woken} times in 300 ms");
    // A watched one that runs is looked at.
    let _watched = stage.add(resident("watched").watchdog(ms(40)));
    let looks = || {
        call_for(ms(30));
        switches(controller) - before > 10
    };
    assert!((0..1000).any(|_| looks()), "nobody looks at a watched one");
}

#[cfg(target_os = "linux")]
fn thread_named(name: &str) -> u32 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let found = tasks.map(|task| task.unwrap()).find(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    found.unwrap().file_name().to_str().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
fn switches(tid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
