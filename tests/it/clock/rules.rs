//! Limits and policies in virtual time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;

use super::{labels, ms, secs, started};

#[test]
fn a_watchdog_looks_in_virtual_time() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (clock, supervisor) = started(|it| it.on_event(labels(&log)));
    let quiet = TaskSpec::once("quiet", |ctx| {
        ctx.heartbeat();
        ctx.sleep(secs(4))?;
        let _allowed = ctx.allow_silence(secs(100));
        ctx.sleep(secs(90))?;
        Ok(())
    });
    let quiet = supervisor.handle().add(quiet.watchdog(secs(5))).unwrap();
    clock.advance(secs(94));
    assert!(quiet.outcome().unwrap().is_success());
    let silent = |log: &Mutex<Vec<(Duration, &str)>>| {
        let log = log.lock().unwrap();
        log.iter().filter(|it| it.1 == "attempt_silent").map(|it| it.0).collect::<Vec<_>>()
    };
    assert_eq!(silent(&log), []);

    let hangs = TaskSpec::once("hangs", |ctx| Ok(ctx.sleep(secs(60))?)).watchdog(secs(5));
    let hangs = supervisor.handle().add(hangs).unwrap();
    clock.advance(secs(60));
    assert!(hangs.outcome().unwrap().is_success());
    assert_eq!(silent(&log).len(), 1);
    assert!(silent(&log)[0] <= secs(94 + 10));
}

#[test]
fn after_an_allowed_silence_a_watchdog_waits_for_its_whole_span() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (clock, supervisor) = started(|it| it.on_event(labels(&log)));
    // The watchdog looks each second; the silence is allowed until shortly after a look.
    let hangs = TaskSpec::once("hangs", |ctx| {
        let _allowed = ctx.allow_silence(ms(3100));
        Ok(ctx.sleep(secs(60))?)
    });
    let hangs = supervisor.handle().add(hangs.watchdog(secs(4))).unwrap();
    clock.advance(secs(60));
    assert!(hangs.outcome().unwrap().is_success());
    let log = log.lock().unwrap();
    let silent = log.iter().find(|it| it.1 == "attempt_silent").unwrap().0;
    assert!((ms(7100)..=ms(8100)).contains(&silent), "{silent:?}");
}

#[test]
fn what_waits_too_long_expires_at_its_moment() {
    let (clock, supervisor) = started(|it| it.max_concurrent(1));
    let long = TaskSpec::once("long", |ctx| Ok(ctx.sleep(secs(60))?));
    supervisor.handle().add(long).unwrap();
    let hasty = TaskSpec::once("hasty", |_| Ok(())).expires_in(secs(10));
    let hasty = supervisor.handle().submit(hasty, AdmissionPolicy::Queue).unwrap();
    clock.advance(ms(9999));
    assert!(hasty.outcome().is_none());
    clock.advance(ms(1));
    assert_eq!(hasty.outcome().unwrap().to_string(), "rejected: expired before its first attempt");
}

#[test]
fn a_window_of_failures_passes_with_the_clock() {
    let (clock, supervisor) = started(|it| it);
    let failing = |name: &'static str, pause| {
        TaskSpec::new(name, |_| Err("no".into()))
            .backoff(BackoffPolicy::constant(pause))
            .failure_limit(3, secs(60))
    };
    let rare = supervisor.handle().add(failing("rare", secs(61))).unwrap();
    let often = supervisor.handle().add(failing("often", secs(10))).unwrap();
    clock.advance(secs(600));
    assert_eq!(often.outcome().unwrap().label(), "failed");
    assert!(rare.outcome().is_none());
}

/// Subscribes to the delays before retries and runs.
fn delays(log: &Arc<Mutex<Vec<Duration>>>) -> impl FnMut(&Event) {
    let log = Arc::clone(log);
    move |event| {
        if let EventKind::RetryScheduled { delay, .. } | EventKind::RunScheduled { delay, .. } =
            event.kind
        {
            log.lock().unwrap().push(delay);
        }
    }
}

#[test]
fn an_error_says_when_to_come_back() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (clock, supervisor) = started(|it| it.on_event(delays(&log)));
    let busy = TaskSpec::new("busy", |ctx| match ctx.attempt() {
        1 => Err("no route".into()),
        2 => Err(TaskError::fail("too busy").retry_after(secs(90))),
        3 => Ok(ctx.sleep(secs(60))?),
        // It was told of its deadline, but knows what it knows.
        4 => ctx.sleep(secs(60)).map_err(|_| TaskError::fail("busy").retry_after(secs(7))),
        _ => Ok(()),
    });
    let busy = busy.backoff(BackoffPolicy::constant(secs(1))).timeout(secs(20));
    let busy = supervisor.handle().add(busy).unwrap();
    clock.advance(secs(600));
    assert!(busy.outcome().unwrap().is_success());
    assert_eq!(*log.lock().unwrap(), [secs(1), secs(90), secs(1), secs(7)]);
}

#[test]
fn a_streak_is_given_up_after_its_span() {
    let (clock, supervisor) =
        started(|it| it.defaults(TaskDefaults::new().give_up_after(secs(60))));
    let failing = |name: &'static str| {
        TaskSpec::new(name, |_| Err("no".into())).backoff(BackoffPolicy::constant(secs(25)))
    };
    let by_default = supervisor.handle().add(failing("by_default")).unwrap();
    let never = supervisor.handle().add(failing("never").give_up_after(None)).unwrap();
    clock.advance(secs(74));
    assert!(by_default.outcome().is_none());
    clock.advance(secs(1));
    assert_eq!(by_default.outcome().unwrap().label(), "failed");
    clock.advance(secs(600));
    assert!(never.outcome().is_none());
}

#[test]
fn a_daily_job_that_failed_for_a_moment_need_not_wait_for_the_next_day() {
    let (log, day) = (Arc::new(Mutex::new(Vec::new())), secs(86_400));
    let (clock, supervisor) = started(|it| it.on_event(delays(&log)));
    let daily = TaskSpec::new("daily", |ctx| match ctx.attempt() {
        1 => Err("no link yet".into()),
        _ => Ok(()),
    });
    let daily = daily.every(day).backoff(BackoffPolicy::constant(secs(30)));
    supervisor.handle().add(daily.retry_early()).unwrap();
    clock.advance(secs(60));
    assert_eq!(*log.lock().unwrap(), [secs(30), secs(86_370)]);
}

#[test]
fn a_body_submits_another_task_and_sleeps() {
    let (clock, supervisor) = started(|it| it);
    let handle = supervisor.handle();
    let (send, order) = unbounded();
    let outer = TaskSpec::once("outer", move |ctx| {
        let inner = send.clone();
        let inner = TaskSpec::once("inner", move |ctx| {
            ctx.sleep(secs(3))?;
            inner.send("inner")?;
            Ok(())
        });
        handle.add(inner)?;
        ctx.sleep(secs(5))?;
        send.send("outer")?;
        Ok(())
    });
    supervisor.handle().add(outer).unwrap();
    clock.advance(secs(5));
    assert_eq!(order.try_iter().collect::<Vec<_>>(), ["inner", "outer"]);
}

#[test]
fn a_body_that_waits_for_another_task_is_parked_until_that_ends() {
    let (clock, supervisor) = started(|it| it);
    let handle = supervisor.handle();
    let slow = TaskSpec::once("slow", |ctx| Ok(ctx.sleep(secs(10))?));
    let slow = handle.add(slow).unwrap();
    let waited_for = slow.clone();
    let waits = TaskSpec::once("waits", move |ctx| {
        assert_eq!(waited_for.wait_timeout(secs(4))?.map(|it| it.label()), None);
        assert!(ctx.wait_for(&waited_for)?.is_success());
        Ok(())
    });
    let waits = handle.add(waits).unwrap();
    clock.advance(ms(9999));
    assert!(waits.outcome().is_none());
    clock.advance(ms(1));
    assert!(waits.outcome().unwrap().is_success(), "{waits:?}");
}

#[test]
fn a_chain_of_tasks_that_bodies_start_happens_at_one_moment() {
    fn link(handle: SupervisorHandle, counted: Arc<Mutex<u32>>, left: u32) -> TaskSpec {
        TaskSpec::once(format!("link-{left}"), move |_| {
            *counted.lock().unwrap() += 1;
            if left > 0 {
                handle.clone().add(link(handle, counted, left - 1))?;
            }
            Ok(())
        })
    }
    let (clock, supervisor) = started(|it| it);
    let (handle, links) = (supervisor.handle(), Arc::new(Mutex::new(0)));
    let first = link(handle.clone(), Arc::clone(&links), 99).initial_delay(secs(1));
    handle.add(first).unwrap();
    clock.advance(secs(1));
    assert_eq!(*links.lock().unwrap(), 100);
}

#[test]
fn a_subscriber_that_starts_the_next_task_is_waited_for() {
    let (send, handles) = unbounded::<SupervisorHandle>();
    let (done, count) = unbounded();
    let mut left = 100;
    let mut handle = None;
    let (clock, supervisor) = started(|it| {
        it.on_event(move |event| {
            if event.kind.label() != "task_ended" || left == 0 {
                return;
            }
            left -= 1;
            let handle = handle.get_or_insert_with(|| handles.recv().unwrap());
            let next = TaskSpec::once("next", |_| Ok(())).no_slot();
            let _ = handle.submit(next, AdmissionPolicy::Queue);
            let _ = done.send(());
        })
    });
    send.send(supervisor.handle()).unwrap();
    let first = TaskSpec::once("first", |_| Ok(())).no_slot().initial_delay(secs(1));
    supervisor.handle().add(first).unwrap();
    clock.advance(secs(1));
    assert_eq!(count.try_iter().count(), 100);
    assert!(supervisor.handle().snapshot().unwrap().tasks.is_empty());
}

#[test]
fn bodies_on_dedicated_threads_count_as_well() {
    let (clock, supervisor) = started(|it| it);
    let sleeper = |name: &'static str| {
        TaskSpec::new(name, |ctx| Ok(ctx.sleep(secs(1))?))
            .dedicated_thread(ThreadOptions::new())
            .repeat_after(secs(1))
    };
    for name in ["a", "b", "c"] {
        supervisor.handle().add(sleeper(name)).unwrap();
    }
    clock.advance(ms(20_500));
    let snapshot = supervisor.handle().snapshot().unwrap();
    assert!(snapshot.tasks.iter().all(|task| task.attempt == 11), "{snapshot:?}");
}

#[test]
fn a_cancelled_sleeper_has_ended_when_all_is_quiet() {
    let (clock, supervisor) = started(|it| it);
    let sleeper = TaskSpec::once("sleeper", |ctx| Ok(ctx.sleep(secs(60))?));
    let sleeper = supervisor.handle().add(sleeper).unwrap();
    clock.settle();
    sleeper.cancel();
    clock.settle();
    assert_eq!(sleeper.outcome().unwrap().label(), "cancelled");
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn hooks_of_a_told_body_have_run_when_all_is_quiet() {
    let (clock, supervisor) = started(|it| it);
    let (send, ran) = unbounded();
    let body = TaskSpec::once("body", move |ctx| {
        let (wake, woken) = unbounded();
        let (first, second) = (send.clone(), send.clone());
        let _first = ctx.on_cancel(move || first.send(1).unwrap());
        let _second = ctx.on_cancel(move || {
            second.send(2).unwrap();
            wake.send(()).unwrap();
        });
        let told = ctx.sleep(secs(60));
        woken.recv()?;
        Ok(told?)
    });
    let body = supervisor.handle().add(body).unwrap();
    clock.settle();
    body.cancel();
    clock.settle();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(body.outcome().unwrap().label(), "cancelled");
}
