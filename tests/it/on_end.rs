//! The callbacks of `on_end`: each is called once, in order, on a worker, whatever becomes of the
//! supervisor.

use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, unbounded, Receiver, Sender, TryRecvError};
use threadvisor::prelude::*;
use threadvisor::{HookSource, WaitError, WouldDeadlock};

use crate::support::{next, no_op, on_thread, outcome_of, resident, thread_name, Gate, Rig};

const LONG: Duration = Duration::from_secs(3600);

/// A callback that says a word, on which thread, and with which outcome.
fn says(
    tell: &Sender<(&'static str, String, String)>,
    word: &'static str,
) -> impl FnOnce(&Outcome) + Send {
    let tell = tell.clone();
    move |outcome| tell.send((word, thread_name(), outcome.to_string())).unwrap()
}

fn words<T>(told: &Receiver<(&'static str, T, String)>) -> Vec<&'static str> {
    told.try_iter().map(|(word, _, _)| word).collect()
}

#[test]
fn callbacks_are_called_once_in_order_on_a_worker_with_the_outcome() {
    let rig = Rig::new();
    let (mut gate, (tell, told)) = (Gate::new(), unbounded());
    let hold = gate.hold();
    let body = move |_: &TaskContext| {
        hold();
        Err(TaskError::fatal("boom"))
    };
    let task = rig.handle.add(TaskSpec::once("job", body)).unwrap();
    gate.wait_entered();
    for word in ["one", "two", "three"] {
        // Which handle they are registered with, and whether that lives on, does not matter.
        task.clone().on_end(says(&tell, word));
    }
    assert_eq!(told.try_recv().unwrap_err(), TryRecvError::Empty);
    gate.open();
    for word in ["one", "two", "three"] {
        let (said, thread, outcome) = next(&told);
        assert_eq!((said, &*outcome), (word, "fatal: boom"));
        assert!(thread.starts_with('w') || thread.starts_with("hook"), "{thread}");
    }

    // The task is over.
    task.on_end(says(&tell, "four"));
    let (said, thread, _) = next(&told);
    assert!(said == "four" && thread != thread_name() && !thread.starts_with("ctl"), "{thread}");
    drop((task, rig, tell));
    assert_eq!(
        told.recv().unwrap_err().to_string(),
        "receiving on an empty and disconnected channel"
    );
}

#[test]
fn a_callback_that_comes_while_an_earlier_one_runs_waits_for_it() {
    let rig = Rig::new();
    let (mut gate, (tell, told)) = (Gate::new(), unbounded());
    let task = rig.handle.add(no_op("job")).unwrap();
    let (hold, first) = (gate.hold(), says(&tell, "first"));
    task.on_end(move |outcome| {
        hold();
        first(outcome);
    });
    gate.wait_entered();
    task.on_end(says(&tell, "second"));
    // That of another task has its own thread.
    let other = rig.handle.add(no_op("other")).unwrap();
    other.on_end(says(&tell, "other"));
    assert_eq!(next(&told).0, "other");
    gate.open();
    assert_eq!((next(&told).0, next(&told).0), ("first", "second"));
}

#[test]
fn refused_submissions_have_their_callbacks_called_too() {
    let rig = Rig::new();
    let owner = rig.handle.add(resident("owner").slot("s")).unwrap();
    assert!(owner.wait_started().unwrap());
    let (tell, told) = unbounded();
    let queued = rig.handle.submit(resident("queued").slot("s"), AdmissionPolicy::Queue).unwrap();
    queued.on_end(says(&tell, "queued"));
    rig.handle.cancel_slot("s");
    assert_eq!(next(&told).2, queued.wait().unwrap().to_string());
}

#[test]
fn a_panic_is_told_and_keeps_no_other_callback_from_being_called() {
    let (tell_event, events) = unbounded();
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if let EventKind::HookPanicked { source, message } = &event.kind {
                tell_event.send((*source, message.to_string(), event.to_string())).unwrap();
            }
        })
        .start()
        .unwrap();
    let task = supervisor.handle().add(no_op("job")).unwrap();
    let (tell, told) = unbounded();
    task.on_end(|_| std::panic::resume_unwind(Box::new("on purpose")));
    task.on_end(says(&tell, "second"));
    assert_eq!(next(&told).0, "second");
    let (source, message, line) = next(&events);
    assert_eq!((source, &*message), (HookSource::TaskEnd, "on purpose"));
    assert!(line.contains("task=job") && !line.contains("attempt="), "{line}");
    assert!(supervisor.handle().snapshot().unwrap().is_healthy());
}

#[test]
fn a_callback_that_hangs_is_told_and_named_and_delays_only_its_successors() {
    let (tell_slow, slow) = unbounded();
    let supervisor = Supervisor::builder()
        .grace(Duration::from_millis(1))
        .max_abandoned(0)
        .on_event(move |event| {
            if let EventKind::HookSlow { source, .. } = event.kind {
                tell_slow.send((source, event.task.clone().unwrap().id)).unwrap();
            }
        })
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let (mut gate, (tell, told)) = (Gate::new(), unbounded());
    let task = handle.add(no_op("job")).unwrap();
    let hold = gate.hold();
    task.on_end(move |_| hold());
    task.on_end(says(&tell, "after"));
    gate.wait_entered();
    assert_eq!(next(&slow), (HookSource::TaskEnd, task.id()));
    let snapshot = std::iter::repeat_with(|| {
        let _ = after(Duration::from_millis(10)).recv();
        handle.snapshot().unwrap()
    });
    let snapshot = snapshot.take(6000).find(|it| !it.stuck_hooks.is_empty()).unwrap();
    assert!(!snapshot.is_healthy() && snapshot.abandoned.is_empty(), "{snapshot}");
    let refused = handle.add(no_op("refused")).unwrap_err();
    assert_eq!(refused.rejection(), Some(Rejection::TooManyAbandoned { limit: 0 }));

    let ended = on_thread(move || supervisor.shutdown().unwrap());
    let report = next(&ended).shutdown;
    let [stuck] = &*report.stuck_hooks else { panic!("{report}") };
    assert_eq!((stuck.source, stuck.task.as_ref().unwrap().id), (HookSource::TaskEnd, task.id()));
    let line = format!(
        "still running: the hook for the end of {}, on thread ",
        stuck.task.as_ref().unwrap()
    );
    assert!(report.to_string().contains(&line), "{report}");
    assert_eq!(report.values_leaked, 0, "it is named");
    // The supervisor has ended, but order is kept.
    task.on_end(says(&tell, "last"));
    assert_eq!(told.try_recv().unwrap_err(), TryRecvError::Empty);
    gate.open();
    assert_eq!((next(&told).0, next(&told).0), ("after", "last"));
}

#[test]
fn a_callback_cannot_wait_for_its_own_supervisor() {
    let supervisor = Arc::new(Supervisor::builder().start().unwrap());
    let handle = supervisor.handle();
    let task = handle.add(no_op("job")).unwrap();
    let (tell, told) = unbounded();
    let (weak, own) = (Arc::downgrade(&supervisor), task.clone());
    task.on_end(move |_| {
        let shutdown = weak.upgrade().unwrap().shutdown().map(drop);
        // What does not wait for the callback works.
        let more = handle.add(no_op("more")).unwrap().wait();
        tell.send((shutdown, handle.flush_events(), own.wait(), more)).unwrap();
    });
    let (shutdown, flush, own, more) = next(&told);
    assert_eq!(shutdown.unwrap_err(), WouldDeadlock);
    assert_eq!(flush.unwrap_err(), WaitError::WouldDeadlock);
    assert!(own.unwrap().is_success() && more.unwrap().is_success());
    drop(supervisor);
}

/// Tasks that run, wait in a slot, or lie in the intake, end at the last moment in different ways.
#[test]
fn a_shutdown_returns_when_all_callbacks_have_been_called() {
    for round in 0..20 {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let (tell, told) = unbounded();
        let mut called = 0;
        for _ in 0..8 {
            let slot = |spec: TaskSpec| spec.slot("s");
            for spec in [resident("free"), slot(resident("slot"))] {
                let task = handle.submit(spec, AdmissionPolicy::Queue).unwrap();
                task.on_end(says(&tell, "called"));
                called += 1;
            }
        }
        let report = supervisor.shutdown().unwrap();
        let said: Vec<_> = told.try_iter().collect();
        assert_eq!((said.len(), report.shutdown.values_leaked), (called, 0), "{round}: {report}");
        assert!(said.iter().all(|(_, thread, _)| !thread.starts_with("ctl")), "{said:?}");
    }
}

#[test]
fn what_has_not_returned_when_the_report_is_made_is_counted() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let (mut gate, (tell, told)) = (Gate::new(), unbounded());
    let task = supervisor.handle().add(no_op("job")).unwrap();
    let hold = gate.hold();
    task.on_end(move |_| hold());
    task.on_end(says(&tell, "late"));
    gate.wait_entered();
    let report = supervisor.shutdown().unwrap().shutdown;
    assert_eq!((report.values_leaked, report.stuck_hooks.len()), (1, 0), "{report}");
    gate.open();
    assert_eq!(next(&told).0, "late");
}

#[test]
fn after_the_end_of_the_supervisor_the_callback_is_called_before_the_call_returns() {
    let supervisor = Supervisor::builder().start().unwrap();
    let task = supervisor.handle().add(no_op("job")).unwrap();
    assert!(outcome_of(&task).is_success());
    supervisor.shutdown().unwrap();
    let (tell, told) = unbounded();
    // A panic does not meet the caller.
    task.on_end(|_| std::panic::resume_unwind(Box::new("on purpose")));
    task.on_end(says(&tell, "here"));
    let said = told.try_recv().unwrap();
    assert_eq!(said, ("here", thread_name(), "completed".to_owned()));
    assert!(words(&told).is_empty());
}
