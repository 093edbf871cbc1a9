//! Cancel hooks: when they run, on which thread, in which order, and what happens to those that are
//! slow, panic, hang, or find no thread.

use std::panic;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Sender};
use threadvisor::prelude::*;
use threadvisor::{CancelToken, HookSource, SlotCancelled, WaitError, WouldDeadlock};

use crate::support::{next, no_op, outcome_of, thread_name, Gate, WATCHDOG};
use crate::{call_for, deaf, foreign_call, ms, Refusals, Stage};

/// A body that does as little as it can about being cancelled: its hook says on which thread it
/// ran.
fn tells_its_thread(name: &str, entered: &Sender<()>, ran_on: &Sender<String>) -> TaskSpec {
    let (entered, ran_on) = (entered.clone(), ran_on.clone());
    TaskSpec::new(name, move |ctx| {
        let (wake, call) = foreign_call();
        let ran_on = ran_on.clone();
        let _hook = ctx.on_cancel(move || {
            let _ = ran_on.send(thread_name());
            wake();
        });
        let _ = entered.send(());
        call();
        Ok(ctx.check()?)
    })
}

#[test]
fn a_hook_runs_for_every_reason_and_never_on_the_controller() {
    let stage = Stage::start(Supervisor::builder().thread_name("hooks"));
    let (enter, entered) = unbounded();
    let (say, ran_on) = unbounded();
    let spec = |name: &str| tells_its_thread(name, &enter, &say).restart(RestartPolicy::Never);
    let check = |why: &str| {
        let thread = next(&ran_on);
        let pooled = thread.starts_with('w') || thread.starts_with("hook-");
        assert!(pooled && thread.ends_with("-hooks"), "{why}: on {thread}");
    };
    let stopped = stage.add(spec("stopped"));
    let restarted = stage.add(spec("restarted").restart(RestartPolicy::OnFailure));
    let replaced = stage.add(spec("replaced"));
    let _late = stage.add(spec("late").timeout(ms(5)));
    let silent = spec("silent").watchdog(ms(5)).watchdog_policy(WatchdogPolicy::Cancel);
    let _silent = stage.add(silent);
    for _ in 0..5 {
        next(&entered);
    }
    check("timeout or unresponsive");
    check("timeout or unresponsive");
    stopped.cancel();
    check("stop");
    assert!(restarted.restart());
    check("restart");
    next(&entered);
    let heir = no_op("heir").slot("replaced");
    stage.handle.submit(heir, AdmissionPolicy::Replace).unwrap();
    check("replace");
    let _ = outcome_of(&replaced);
    stage.end();
    check("shutdown");
}

#[test]
fn hooks_of_one_attempt_run_in_their_order_on_one_thread() {
    let stage = Stage::new();
    let (say, said) = unbounded();
    let (enter, entered) = unbounded();
    let spec = TaskSpec::new("many", move |ctx| {
        let (wake, call) = foreign_call();
        let guards: Vec<_> = (0..50)
            .map(|n| {
                let say = say.clone();
                ctx.on_cancel(move || {
                    let _ = say.send((n, thread::current().id()));
                })
            })
            .collect();
        let _last = ctx.on_cancel(wake);
        let _ = enter.send(());
        call();
        drop(guards);
        Ok(())
    });
    let task = stage.add(spec);
    next(&entered);
    task.cancel();
    let _ = outcome_of(&task);
    let ran: Vec<_> = said.try_iter().collect();
    assert_eq!(ran.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert!(ran.iter().all(|(_, thread)| *thread == ran[0].1), "{ran:?}");
}

#[test]
fn hooks_of_different_attempts_run_in_parallel() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    // Each hook waits for all others to run as well.
    let (meet, join) = bounded(0);
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let (enter, meet, join) = (enter.clone(), meet.clone(), join.clone());
            let spec = TaskSpec::new(format!("meets {n}"), move |ctx| {
                let (wake, call) = foreign_call();
                let (meet, join) = (meet.clone(), join.clone());
                let _hook = ctx.on_cancel(move || {
                    if n == 0 {
                        (0..5).for_each(|_| join.recv_timeout(WATCHDOG).unwrap());
                    } else {
                        meet.send_timeout((), WATCHDOG).unwrap();
                    }
                    wake();
                });
                let _ = enter.send(());
                call();
                Ok(())
            });
            stage.add(spec)
        })
        .collect();
    for _ in &tasks {
        next(&entered);
    }
    tasks[0].cancel();
    tasks[1..].iter().for_each(TaskHandle::cancel);
    for task in &tasks {
        assert!(matches!(outcome_of(task), Outcome::Cancelled { .. }));
    }
}

#[test]
fn a_hook_hung_up_after_the_cancel_runs_at_once_on_its_caller() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let (say, said) = unbounded();
    let task = stage.add(TaskSpec::new("late", move |ctx| {
        let _ = enter.send(());
        let _ = ctx.sleep(Duration::MAX);
        let (inside, again) = (say.clone(), ctx.token().clone());
        ctx.on_cancel(move || {
            // A hook may register another one.
            let deeper = inside.clone();
            again
                .on_cancel(move || {
                    let _ = deeper.send(thread::current().id());
                })
                .forget();
            let _ = inside.send(thread::current().id());
        })
        .forget();
        assert_eq!(say.len(), 2, "on_cancel came back before its hook had run");
        let _ = say.send(thread::current().id());
        Ok(())
    }));
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }), "{:?}", outcome_of(&task));
    let threads: Vec<_> = said.try_iter().collect();
    assert_eq!(threads, vec![threads[0]; 3]);
}

#[test]
fn a_panicking_hook_is_an_event_and_the_others_run() {
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let task = stage.add(TaskSpec::new("brittle", move |ctx| {
        let (wake, call) = foreign_call();
        let bad = ctx.on_cancel(|| panic::resume_unwind(Box::new("ouch")));
        let _good = ctx.on_cancel(wake);
        let _ = enter.send(());
        call();
        drop(bad);
        // Late ones as well.
        let _late = ctx.on_cancel(|| panic::resume_unwind(Box::new("late ouch".to_owned())));
        Ok(())
    }));
    next(&entered);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: Some(Ok(())), .. }));
    let events = stage.seen(&task, &["hook_panicked"]);
    let messages = events.iter().map(|event| match &event.kind {
        EventKind::HookPanicked { source: HookSource::Attempt(1), message } => message.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(messages.collect::<Vec<_>>(), ["ouch", "late ouch"]);
}

#[test]
fn a_slow_hook_is_an_event_while_it_runs_and_a_quick_one_is_not() {
    let mut gate = Gate::new();
    let stage = Stage::new();
    let (enter, entered) = unbounded();
    let quick = ["quick", "again", "thrice"].map(|name| stage.add(deaf(name, &enter)));
    let hold = Mutex::new(Some(gate.hold()));
    let slow = stage.add(TaskSpec::new("slow", move |ctx| {
        let hold = hold.lock().unwrap().take().unwrap();
        let (wake, call) = foreign_call();
        let _held = ctx.on_cancel(hold);
        let _last = ctx.on_cancel(wake);
        let _ = enter.send(());
        call();
        Ok(ctx.check()?)
    }));
    for _ in 0..4 {
        next(&entered);
    }
    quick.iter().for_each(TaskHandle::cancel);
    slow.cancel();
    let event = stage.until_label(&slow, "hook_slow");
    let EventKind::HookSlow { source, ran } = event.kind else { panic!("{event}") };
    assert_eq!(source, HookSource::Attempt(1));
    assert!(ran >= ms(100), "{event}");
    gate.open();
    let _ = outcome_of(&slow);
    assert_eq!(stage.seen(&slow, &["hook_slow"]).len(), 1);
    // A busy machine may make one slow.
    let is_never_slow = |task| stage.seen(task, &["hook_slow"]).is_empty();
    assert!(quick.iter().any(is_never_slow), "{:?}", stage.events());
}

#[test]
fn a_slow_hook_on_its_callers_thread_is_an_event_too() {
    let stage = Stage::new();
    let task = stage.add(TaskSpec::new("late", |ctx| {
        ctx.handle().task(ctx.id()).unwrap().cancel();
        let _ = ctx.sleep(Duration::MAX);
        ctx.on_cancel(|| call_for(ms(101))).forget();
        ctx.on_cancel(|| {}).forget();
        Ok(())
    }));
    let _ = outcome_of(&task);
    assert_eq!(stage.seen(&task, &["hook_slow"]).len(), 1);
}

#[test]
fn all_flags_of_a_shutdown_are_set_before_any_hook_runs() {
    const TASKS: usize = 100;
    // Idle workers, so that a hook could run at once.
    let stage = Stage::start(Supervisor::builder().prespawn(TASKS + 20));
    let tokens: Arc<Mutex<Vec<CancelToken>>> = Arc::default();
    let (say, said) = unbounded();
    let (enter, entered) = unbounded();
    for n in 0..TASKS {
        let (tokens, say, enter) = (Arc::clone(&tokens), say.clone(), enter.clone());
        stage.add(TaskSpec::new(format!("one of {n}"), move |ctx| {
            tokens.lock().unwrap().push(ctx.token().clone());
            let (all, say) = (Arc::clone(&tokens), say.clone());
            let (wake, call) = foreign_call();
            let _hook = ctx.on_cancel(move || {
                let told = all.lock().unwrap().iter().filter(|token| token.is_cancelled()).count();
                let _ = say.send(told);
                wake();
            });
            let _ = enter.send(());
            call();
            Ok(())
        }));
    }
    for _ in 0..TASKS {
        next(&entered);
    }
    stage.end();
    let seen: Vec<_> = said.try_iter().collect();
    assert_eq!(seen, [TASKS; TASKS]);
}

#[test]
fn a_hook_may_call_everything_that_does_not_wait_for_it() {
    let stage = Stage::new();
    let (say, said) = unbounded();
    let (enter, entered) = unbounded();
    let other = stage.add(TaskSpec::new("other", |ctx| Ok(ctx.sleep(Duration::MAX)?)));
    let supervisor = Arc::new(stage.supervisor);
    let (own, weak) = (Arc::new(Mutex::new(None::<TaskHandle>)), Arc::downgrade(&supervisor));
    let own_task = Arc::clone(&own);
    let spec = TaskSpec::new("busy", move |ctx| {
        let (wake, call) = foreign_call();
        let (token, handle, other) = (ctx.token().clone(), ctx.handle(), other.clone());
        let (own_task, say, weak) = (Arc::clone(&own_task), say.clone(), weak.clone());
        let _hook = ctx.on_cancel(move || {
            use_token(&token);
            use_handle(&handle);
            use_task(&own_task.lock().unwrap().clone().unwrap(), true);
            use_task(&other, false);
            assert_eq!(weak.upgrade().unwrap().shutdown().unwrap_err(), WouldDeadlock);
            assert_eq!(weak.upgrade().unwrap().wait_idle(), Err(WaitError::WouldDeadlock));
            let _ = say.send(());
            wake();
        });
        let _ = enter.send(());
        call();
        Ok(())
    });
    let task = stage.handle.add(spec).unwrap();
    next(&entered);
    *own.lock().unwrap() = Some(task.clone());
    task.cancel();
    let _ = outcome_of(&task);
    next(&said);
    let panicked = |event: &Event| event.kind.label() == "hook_panicked";
    stage.handle.flush_events().unwrap();
    let panics: Vec<_> = stage.coming.try_iter().filter(panicked).collect();
    assert!(panics.is_empty(), "{panics:?}");
}

fn use_token(token: &CancelToken) {
    assert!(token.is_cancelled());
    assert_eq!(token.check().unwrap_err().reason(), CancelReason::Stop);
    assert_eq!(token.reason(), Some(CancelReason::Stop));
    assert!(token.sleep(Duration::MAX).is_err());
    assert!(token.cancelled().recv().is_err());
    let _inner = token.on_cancel(|| {});
    let _nudge = token.on_cancel_every(ms(1), || {});
    #[cfg(unix)]
    assert!(token.cancel_fd().is_ok());
}

fn use_handle(handle: &SupervisorHandle) {
    assert!(!handle.snapshot().unwrap().tasks.is_empty());
    assert!(handle.owner("busy").is_some());
    assert!(handle.add(no_op("added")).is_ok());
    assert!(handle.add_all([no_op("one"), no_op("two")]).is_ok());
    assert!(handle.submit(no_op("sub"), AdmissionPolicy::Queue).is_ok());
    assert!(handle.try_submit(no_op("try"), AdmissionPolicy::KeepLatest).is_ok());
    assert_eq!(handle.cancel_slot("nobody"), SlotCancelled::default());
    assert_eq!(handle.flush_events(), Err(WaitError::WouldDeadlock));
    assert!(!handle.is_shutting_down());
}

fn use_task(task: &TaskHandle, told: bool) {
    assert_eq!(task.wait_decided().unwrap(), Decision::Admitted);
    assert_eq!(task.state() == TaskState::Stopping, told);
    assert!(task.outcome().is_none());
    assert!(task.ended().try_recv().is_err());
    assert!(task.wait_timeout(Duration::ZERO).unwrap().is_none());
    assert!(!task.skip_wait());
    task.cancel();
    assert!(!task.restart());
}

/// All threads are refused, and every worker is in a body: only the hook thread is left.
#[test]
fn hooks_run_when_every_worker_is_blocked_and_no_thread_can_be_had() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    let stage = Stage::start(builder);
    let (enter, entered) = unbounded();
    let (say, ran_on) = unbounded();
    let tasks: Vec<_> =
        (0..20).map(|n| stage.add(tells_its_thread(&format!("deaf {n}"), &enter, &say))).collect();
    for _ in &tasks {
        next(&entered);
    }
    // It was asked for with the first hook.
    refusals.wait_started("hook-");
    refusals.fill_workers(&stage, 1);
    tasks.iter().for_each(TaskHandle::cancel);
    for task in &tasks {
        assert!(matches!(outcome_of(task), Outcome::Cancelled { .. }));
    }
    let threads: Vec<_> = ran_on.try_iter().collect();
    assert_eq!(threads.len(), 20);
    assert!(threads[0].starts_with("hook-"), "{threads:?}");
    refusals.end();
}

#[test]
fn a_thousand_bodies_that_only_a_hook_can_wake_are_stopped() {
    let stage = Stage::start(Supervisor::builder().grace(Duration::MAX));
    let (enter, entered) = unbounded();
    let tasks: Vec<_> = (0..1000).map(|n| stage.add(deaf(&format!("deaf {n}"), &enter))).collect();
    for _ in 0..1000 {
        next(&entered);
    }
    let (report, _) = stage.end();
    assert_eq!((report.stopped, report.abandoned.len()), (1000, 0), "{report}");
    for task in &tasks {
        assert!(matches!(
            outcome_of(task),
            Outcome::Cancelled { reason: StopReason::Shutdown, returned: None }
        ));
    }
}
