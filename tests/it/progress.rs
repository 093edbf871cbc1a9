//! How far a body says it has got.

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;

use crate::clock::{secs, started};
use crate::support::{next, Rig};

#[test]
fn the_latest_progress_of_the_attempt_is_in_the_snapshot_and_in_its_text() {
    let rig = Rig::new();
    let ((say, said), (go, steps)) = (unbounded(), bounded::<()>(0));
    let task = TaskSpec::new("copy", move |ctx| {
        let step = || {
            let _ = say.send(());
            ctx.recv(&steps)
        };
        if ctx.attempt() > 1 {
            return Ok(step()?);
        }
        step()?;
        ctx.progress(3, None);
        step()?;
        ctx.progress(u64::MAX, 7);
        step()?;
        Err("again".into())
    });
    let backoff = BackoffPolicy::constant(std::time::Duration::from_millis(1));
    let task = rig.handle.add(task.backoff(backoff)).unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        next(&said);
        let snapshot = rig.handle.snapshot().unwrap();
        let progress = snapshot.task(task.id()).unwrap().progress;
        let text = progress.map(|it| it.to_string());
        let line = format!(", done {}", text.as_deref().unwrap_or_default());
        assert_eq!(snapshot.to_string().contains(&line), text.is_some(), "{snapshot}");
        seen.push(progress.map(|it| (it.done, it.total)));
        go.send(()).unwrap();
    }
    assert_eq!(seen, [None, Some((3, None)), Some((u64::MAX, Some(7))), None]);
}

#[test]
fn progress_is_a_sign_of_life() {
    let (clock, supervisor) = started(|it| it);
    let alive = TaskSpec::once("alive", |ctx| {
        for n in 0..20 {
            ctx.progress(n, 20);
            ctx.sleep(secs(1))?;
        }
        Ok(())
    });
    let alive = alive.watchdog(secs(4)).watchdog_policy(WatchdogPolicy::Cancel);
    let alive = supervisor.handle().add(alive).unwrap();
    assert!(clock.advance_until(&alive, secs(60)).is_success());
}
