//! User code that panics, in bodies and destructors: contained, reported, never on the
//! controller's thread.

use std::fmt;
use std::panic::{panic_any, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, RecvTimeoutError, Sender};
use threadvisor::prelude::*;

use crate::support::{
    in_time, next, no_op, on_thread, outcome_of, resident, thread_name, Gate, Trace, WATCHDOG,
};

/// Gives out values and hears on which threads they are dropped.
pub(crate) struct Drops {
    tell: Sender<String>,
    told: Receiver<String>,
    panicking: bool,
}

/// A user's value: an error, or what a body owns.
#[derive(Debug)]
pub(crate) struct Value {
    tell: Sender<String>,
    panicking: bool,
}

impl Drop for Value {
    fn drop(&mut self) {
        let _ = self.tell.send(thread_name());
        if self.panicking {
            resume_unwind(Box::new("a value's destructor"));
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value as an error")
    }
}

impl std::error::Error for Value {}

impl Drops {
    pub(crate) fn new(panicking: bool) -> Self {
        let (tell, told) = unbounded();
        Self { tell, told, panicking }
    }

    pub(crate) fn value(&self) -> Value {
        Value { tell: self.tell.clone(), panicking: self.panicking }
    }

    /// Makes values wherever it is called.
    pub(crate) fn maker(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        let (tell, panicking) = (self.tell.clone(), self.panicking);
        move || Value { tell: tell.clone(), panicking }
    }

    /// A task that owns a value, does nothing, and obeys.
    fn resident(&self, name: &str) -> TaskSpec {
        let value = self.value();
        TaskSpec::new(name, move |ctx| {
            let _owned = &value;
            Ok(ctx.sleep(Duration::MAX)?)
        })
    }

    /// A body that returns a new value as an error each time.
    pub(crate) fn failing(&self) -> impl FnMut(&TaskContext) -> TaskResult + Send + 'static {
        let (tell, panicking) = (self.tell.clone(), self.panicking);
        move |_| Err(Value { tell: tell.clone(), panicking }.into())
    }

    /// Once everybody has let go, so many values were dropped, none of them by the controller.
    #[track_caller]
    pub(crate) fn check(self, count: usize) {
        let threads = self.check_threads();
        assert_eq!(threads.len(), count, "{threads:?}");
    }

    /// Once everybody has let go, no value was dropped by the controller. Gives the names of the
    /// threads that dropped one.
    #[track_caller]
    pub(crate) fn check_threads(self) -> Vec<String> {
        drop(self.tell);
        let mut threads = Vec::new();
        loop {
            match self.told.recv_timeout(WATCHDOG) {
                Ok(thread) => threads.push(thread),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("some are not dropped: {threads:?}"),
            }
        }
        let wrong = threads.iter().filter(|thread| thread.starts_with("ctl")).count();
        assert_eq!(wrong, 0, "of {} values dropped", threads.len());
        threads
    }
}

const MS: Duration = Duration::from_millis(1);

fn retried(spec: TaskSpec) -> TaskSpec {
    spec.backoff(BackoffPolicy::constant(MS))
}

#[test]
fn a_panic_is_a_failure_with_a_message_and_is_retried() {
    let supervisor = Supervisor::builder().start().unwrap();
    let (tell, told) = unbounded();
    let spec = TaskSpec::new("shaky", move |ctx| {
        let last = ctx.last_failure().map(|error| (error.is_panic(), error.to_string()));
        tell.send((ctx.failures(), last))?;
        match ctx.attempt() {
            1 => resume_unwind(Box::new("plain")),
            2 => resume_unwind(Box::new(format!("number {}", 2))),
            3 => panic_any(7),
            4 => panic_any(std::io::Error::other("no device")),
            5 => panic_any(TaskError::fail("an error")),
            6 => panic_any(Box::<dyn std::error::Error + Send + Sync>::from("boxed")),
            _ => Ok(()),
        }
    });
    let task = supervisor.handle().add(retried(spec)).unwrap();
    assert!(outcome_of(&task).is_success());
    let panic = |message: &str| Some((true, message.to_owned()));
    let expected = [
        (0, None),
        (1, panic("plain")),
        (2, panic("number 2")),
        (3, panic("a panic without a text")),
        (4, panic("no device")),
        (5, panic("an error")),
        (6, panic("boxed")),
    ];
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_panic_without_retry_is_the_outcome() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let once = handle.add(TaskSpec::once("once", |_| resume_unwind(Box::new("boom")))).unwrap();
    let fatal = TaskSpec::new("fatal", |_| resume_unwind(Box::new("boom")))
        .restart(RestartPolicy::Always)
        .panic_policy(PanicPolicy::Fatal);
    let fatal = handle.add(fatal).unwrap();
    let told = TaskSpec::new("told", |ctx| {
        ctx.sleep(Duration::MAX).unwrap_err();
        resume_unwind(Box::new("boom"))
    });
    let told = handle.add(told).unwrap();
    told.cancel();
    for task in [once, fatal, told] {
        let outcome = outcome_of(&task);
        let Outcome::Panicked { error } = &outcome else {
            // Cancelled before a thread took it up.
            assert!(task.name() == "told" && !outcome.is_failure(), "{task:?}: {outcome}");
            continue;
        };
        assert!(error.is_panic());
        assert_eq!(outcome.to_string(), "panicked: boom");
    }
}

#[test]
fn a_payload_whose_destructor_panics_is_contained() {
    let drops = Drops::new(true);
    let supervisor = Supervisor::builder().start().unwrap();
    let (tell, panicking) = (drops.tell.clone(), true);
    let spec = TaskSpec::new("bomb", move |_| panic_any(Value { tell: tell.clone(), panicking }));
    let task = supervisor.handle().add(retried(spec).max_retries(2)).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::Panicked { .. }));
    assert!(outcome_of(&supervisor.handle().add(no_op("after")).unwrap()).is_success());
    drops.check(3);
}

/// Takes specs with values through every end there is, and lets go of all handles.
fn all_ends(drops: &Drops, builder: SupervisorBuilder) -> usize {
    let supervisor = builder.max_slot_queue(1).max_concurrent(4).start().unwrap();
    let handle = supervisor.handle();
    let submit = |spec, policy| handle.submit(spec, policy).unwrap();
    let mut values = 0;
    let mut spec = |name: &str| {
        values += 1;
        drops.resident(name).slot("s")
    };
    // Refused: the slot is busy, the queue is full, superseded, removed, expired, the end.
    let owner = submit(spec("owner"), AdmissionPolicy::Queue);
    let mut refused = vec![submit(spec("busy"), AdmissionPolicy::DropIfRunning)];
    refused.push(submit(spec("superseded"), AdmissionPolicy::Queue));
    refused.push(submit(spec("full"), AdmissionPolicy::Queue));
    refused.push(submit(spec("superseded too"), AdmissionPolicy::KeepLatest));
    let removed = submit(spec("removed"), AdmissionPolicy::KeepLatest);
    // Cancelled before it is decided, it would supersede nobody.
    let _ = removed.wait_decided().unwrap();
    removed.cancel();
    refused.push(removed);
    refused.push(submit(spec("expired").expires_in(MS), AdmissionPolicy::Queue));
    for task in refused {
        let outcome = outcome_of(&task);
        let stopped = task.name() == "removed" && matches!(outcome, Outcome::Cancelled { .. });
        assert!(stopped || matches!(outcome, Outcome::Rejected(_)), "{task:?}: {outcome}");
    }
    // Stopped while it runs; while it waits for its delay; replaced.
    owner.cancel();
    let _ = outcome_of(&owner);
    let waiting = submit(spec("waiting").initial_delay(Duration::MAX), AdmissionPolicy::Queue);
    let heir = submit(spec("heir"), AdmissionPolicy::Replace);
    let _ = outcome_of(&waiting);
    let last = submit(spec("last"), AdmissionPolicy::Replace);
    let _ = outcome_of(&heir);
    // The spec of a refused `add` comes back here.
    let back = handle.add(spec("back")).unwrap_err().into_spec();
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(back)));
    // Refused by the end, in the queue and in the intake; stopped by it.
    let queued = submit(spec("queued"), AdmissionPolicy::Queue);
    let delayed = drops.resident("delayed").initial_delay(Duration::MAX);
    let delayed = submit(delayed, AdmissionPolicy::Queue);
    in_time(move || drop(supervisor));
    for task in [last, queued, delayed] {
        assert!(task.outcome().is_some());
    }
    values + 1
}

#[test]
fn no_body_is_dropped_on_the_controller_however_its_task_ends() {
    let drops = Drops::new(false);
    let values = all_ends(&drops, Supervisor::builder());
    drops.check(values);
    let drops = Drops::new(false);
    let values = all_ends(&drops, Supervisor::builder().subscriber(Trace::default()));
    drops.check(values);
}

#[test]
fn bodies_whose_destructors_panic_change_nothing() {
    let (drops, trace) = (Drops::new(true), Trace::default());
    let values = all_ends(&drops, Supervisor::builder().subscriber(trace.clone()));
    drops.check(values);
    for event in trace.events() {
        // Those of late drops may come after the last event.
        if let EventKind::DropPanicked { message } = event.kind {
            assert_eq!(&*message, "a value's destructor");
        }
    }
}

#[test]
fn a_panic_of_a_destructor_is_reported() {
    let drops = Drops::new(true);
    let (tell, told) = unbounded();
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            if let EventKind::DropPanicked { message } = &event.kind {
                tell.send(message.to_string()).unwrap();
            }
        })
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let task = handle.add(drops.resident("slot")).unwrap();
    // Of a refused spec, on its way out of the intake.
    handle.submit(drops.resident("slot"), AdmissionPolicy::DropIfRunning).unwrap();
    assert_eq!(next(&told), "a value's destructor");
    // Of a body that will not run again.
    task.cancel();
    assert_eq!(next(&told), "a value's destructor");
    assert!(!outcome_of(&task).is_failure());
}

/// Lets 20 tasks fail twice, and then a third time or not.
fn fail_often(drops: &Drops, watched: bool, recover: bool) {
    let builder = Supervisor::builder();
    // A lane of one event loses most, and so lets go of them at various times.
    let builder = if watched { builder.event_capacity(1).on_event(|_| ()) } else { builder };
    let supervisor = builder.start().unwrap();
    let handle = supervisor.handle();
    for n in 0..20 {
        let mut fail = drops.failing();
        let body = move |ctx: &TaskContext| match ctx.attempt() {
            3 if recover => Ok(()),
            _ => fail(ctx),
        };
        let spec = TaskSpec::new(format!("task {n}"), body).max_retries(2);
        let task = handle.add(retried(spec)).unwrap();
        if n % 2 == 0 {
            // Else nobody has a handle when the outcome comes.
            assert!(task.ended().recv().is_err());
        }
    }
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!(report.outcomes.failed, if recover { 0 } else { 20 });
}

#[test]
fn no_error_is_dropped_on_the_controller_whoever_lets_go_last() {
    for watched in [false, true] {
        let drops = Drops::new(false);
        fail_often(&drops, watched, false);
        drops.check(60);
        for panicking in [false, true] {
            let drops = Drops::new(panicking);
            fail_often(&drops, watched, true);
            drops.check(40);
        }
    }
}

#[test]
fn a_request_about_an_ended_task_does_not_drop_its_error_on_the_controller() {
    let drops = Drops::new(false);
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    // The report keeps the first failures.
    for _ in 0..64 {
        let _ = outcome_of(&handle.add(TaskSpec::once("kept", |_| Err("no".into()))).unwrap());
    }
    let calls: [fn(&TaskHandle); 4] = [
        TaskHandle::cancel,
        |task| assert!(!task.skip_wait()),
        |task| assert!(!task.restart()),
        |task| assert_eq!(task.state(), TaskState::Over),
    ];
    for n in 0..200 {
        let task = handle.add(TaskSpec::once("fails", drops.failing())).unwrap();
        assert!(task.ended().recv().is_err());
        // By now the handle has the last reference, or will soon.
        let _ = outcome_of(&handle.add(no_op("between")).unwrap());
        handle.snapshot().unwrap();
        calls[n % 4](&task);
        drop(task);
    }
    in_time(move || drop(supervisor));
    drop(handle);
    drops.check(200);
}

#[test]
fn an_error_kept_for_a_stuck_attempt_is_not_dropped_on_the_controller() {
    let (drops, gate) = (Drops::new(false), Gate::new());
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let (hold, mut fail) = (gate.hold(), drops.failing());
    let (tell, started) = bounded(1);
    let spec = TaskSpec::new("stuck", move |ctx| {
        if ctx.attempt() == 1 {
            tell.send(())?;
            ctx.sleep(Duration::MAX).unwrap_err();
            return fail(ctx);
        }
        hold();
        Ok(())
    });
    // Its own grace is not that of the supervisor, so that the restart is obeyed in time.
    let task = supervisor.handle().add(spec.grace(WATCHDOG)).unwrap();
    next(&started);
    assert!(task.restart());
    gate.wait_entered();
    assert_eq!(in_time(move || supervisor.shutdown().unwrap().shutdown).abandoned.len(), 1);
    drop((task, gate));
    drops.check(1);
}

#[test]
fn what_a_stuck_attempt_brings_at_the_very_end_is_not_dropped_on_the_controller() {
    let (drops, mut gate, slow_drop) = (Drops::new(false), Gate::new(), Gate::new());
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let handle = supervisor.handle();
    let (hold, mut fail) = (gate.hold(), drops.failing());
    let stuck = TaskSpec::new("stuck", move |ctx| {
        hold();
        fail(ctx)
    });
    handle.add(stuck).unwrap();
    gate.wait_entered();
    // A slow destructor on a worker holds the end for a while, but the controller has looked at
    // its last report.
    let hold = slow_drop.hold();
    let slow = crate::support::OnDrop(hold);
    let queued = TaskSpec::new("queued", move |_| {
        let _owned = &slow;
        Ok(())
    });
    handle.submit(queued.slot("stuck"), AdmissionPolicy::Queue).unwrap();
    let report = on_thread(move || supervisor.shutdown().unwrap().shutdown);
    slow_drop.wait_entered();
    gate.open();
    // It came back in time to be heard, or not.
    assert!(next(&report).abandoned.len() <= 1);
    drop((slow_drop, handle));
    drops.check(1);
}

#[test]
fn a_report_that_nobody_takes_is_not_dropped_on_the_controller() {
    for _ in 0..20 {
        let drops = Drops::new(false);
        let place: Arc<Mutex<Option<Supervisor>>> = Arc::default();
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let fails = handle.add(TaskSpec::once("fails", drops.failing())).unwrap();
        assert!(fails.ended().recv().is_err());
        *place.lock().unwrap() = Some(supervisor);
        let drops_it = TaskSpec::once("drops it", move |_| {
            drop(place.lock().unwrap().take());
            Ok(())
        });
        drop((handle.add(drops_it).unwrap(), fails, handle));
        drops.check(1);
    }
}

#[test]
fn what_a_shutdown_refuses_is_dropped_though_all_workers_are_stuck() {
    let (drops, gate) = (Drops::new(false), Gate::new());
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let handle = supervisor.handle();
    for n in 0..6 {
        handle.add(TaskSpec::new(format!("stuck {n}"), gate.body())).unwrap();
    }
    (0..6).for_each(|_| gate.wait_entered());
    handle.submit(drops.resident("queued").slot("stuck 0"), AdmissionPolicy::Queue).unwrap();
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!((report.abandoned.len(), report.rejected), (6, 1), "{report}");
    let dropped = drops.told.try_iter().count();
    assert_eq!(dropped + report.values_leaked, 1, "neither dropped nor counted as leaked");
}

/// An error that cannot be shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        resume_unwind(Box::new("a text's own"))
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_that_panics_when_shown_hurts_only_who_shows_it() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder()
        .on_event(|event| drop(event.to_string()))
        .subscriber(trace.clone())
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let spec = TaskSpec::new("mute", |_| Err(Unspeakable.into()));
    let task = handle.add(retried(spec).max_retries(1)).unwrap();
    match outcome_of(&task) {
        Outcome::Failed { error } => assert!(error.downcast_ref::<Unspeakable>().is_some()),
        other => panic!("{}", other.label()),
    }
    let late = handle.add(resident("late").timeout(MS).max_retries(0)).unwrap();
    assert!(outcome_of(&late).is_failure());
    // What a subscriber does once the lanes are closed is no event any more.
    handle.flush_events().unwrap();
    let report = in_time(move || supervisor.run([]).unwrap());
    assert_eq!((report.outcomes.failed, report.outcomes.timed_out), (1, 1));
    assert!(trace.labels(None).contains(&"subscriber_panicked"));
}
