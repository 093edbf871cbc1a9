//! What the types promise at compile time, and that the example of the front page is a program.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::process::ExitCode;
use std::time::Duration;

use threadvisor::crossbeam_channel::Receiver;
use threadvisor::prelude::*;
use threadvisor::{
    AbandonedAttempt, AddError, CancelToken, Cancelled, Canceller, ClassSnapshot, Closed,
    DrainReport, ExtendError, FailedTask, FailureCause, InvalidSetting, NotCompleted,
    OutcomeCounts, PermitCounts, RejectionCount, RunReport, ShutdownCause, ShutdownReport,
    SlotCancelled, SlotSnapshot, SlotStatus, Snapshot, StartError, SubmitError, SupervisorBuilder,
    TaskId, TaskRef, TaskSnapshot, TroubledTask, WaitError, WorkerCounts, WouldDeadlock,
    PANIC_ISOLATION,
};

fn shared<T: Send + Sync + Debug + 'static>() {}
fn cloned<T: Clone + Send + Sync + Debug + 'static>() {}
fn shown<T: Display>() {}
fn error<T: Error + Send + Sync + 'static>() {}

/// Fails to compile where a type is `Clone`: then both implementations fit the call.
macro_rules! not_clone {
    ($($type:ty),+) => {$({
        trait Ambiguous<A> { fn check() {} }
        impl<T> Ambiguous<()> for T {}
        struct IsClone;
        impl<T: Clone> Ambiguous<IsClone> for T {}
        <$type as Ambiguous<_>>::check();
    })+};
}

#[test]
fn every_public_type_can_be_shared_and_printed() {
    shared::<Supervisor>();
    shared::<TaskContext>();
    shared::<TaskSpec>();
    shared::<Canceller>();
    cloned::<SupervisorHandle>();
    cloned::<TaskHandle>();
    cloned::<CancelToken>();
    cloned::<TaskDefaults>();
    cloned::<TaskError>();
    cloned::<TaskId>();
    cloned::<TaskRef>();
    cloned::<Decision>();
    cloned::<Event>();
    cloned::<EventKind>();
    cloned::<LogEvents>();
    cloned::<Snapshot>();
    cloned::<(TaskSnapshot, SlotSnapshot, SlotStatus, WorkerCounts, PermitCounts, ClassSnapshot)>();
    cloned::<DrainReport>();
    cloned::<(RunReport, ShutdownReport, AbandonedAttempt, FailedTask, OutcomeCounts)>();
    cloned::<(Outcome, Rejection, StopReason, CancelReason, ShutdownCause, FailureCause)>();
    cloned::<(RestartPolicy, AdmissionPolicy, PanicPolicy, BackoffPolicy, JitterPolicy)>();
    cloned::<(TaskState, SlotCancelled, InvalidSetting, RejectionCount, TroubledTask)>();
    not_clone!(TaskSpec, Supervisor, TaskContext, Canceller, SupervisorBuilder);
    shown::<Event>();
    shown::<Outcome>();
    shown::<Snapshot>();
    shown::<RunReport>();
    shown::<RejectionCount>();
    shown::<TroubledTask>();
    shown::<ShutdownReport>();
    shown::<DrainReport>();
    shown::<TaskError>();
    shown::<TaskId>();
    shown::<TaskState>();
}

#[test]
fn policies_and_decisions_are_shown_by_stable_labels() {
    fn check<T: Display + Hash + Copy + Eq>(value: T, label: &str, expected: &str) {
        assert_eq!((label, &*value.to_string()), (expected, expected));
    }
    check(RestartPolicy::OnFailure, RestartPolicy::OnFailure.label(), "on_failure");
    check(AdmissionPolicy::KeepLatest, AdmissionPolicy::KeepLatest.label(), "keep_latest");
    check(PanicPolicy::Abort, PanicPolicy::Abort.label(), "abort");
    check(AbandonPolicy::Hold, AbandonPolicy::Hold.label(), "hold");
    check(WatchdogPolicy::Report, WatchdogPolicy::Report.label(), "report");
    check(JitterPolicy::Decorrelated, JitterPolicy::Decorrelated.label(), "decorrelated");
    check(Decision::Admitted, Decision::Admitted.label(), "admitted");
    check(SlotStatus::Idle, SlotStatus::Idle.label(), "idle");
    check(TaskState::Over, TaskState::Over.label(), "over");
}

#[test]
fn errors_are_errors_and_small() {
    error::<AddError>();
    error::<AddError<Vec<TaskSpec>>>();
    error::<SubmitError>();
    error::<StartError>();
    error::<WaitError>();
    error::<InvalidSetting>();
    error::<Cancelled>();
    error::<Closed>();
    error::<WouldDeadlock>();
    error::<NotCompleted>();
    assert_eq!(size_of::<TaskError>(), size_of::<usize>());
    assert_eq!(size_of::<Option<TaskError>>(), size_of::<usize>());
    assert_eq!(size_of::<TaskSpec>(), size_of::<usize>());
    // What clippy calls a large error in the code of users.
    for size in [
        size_of::<AddError>(),
        size_of::<AddError<Vec<TaskSpec>>>(),
        size_of::<SubmitError>(),
        size_of::<StartError>(),
        size_of::<NotCompleted>(),
    ] {
        assert!(size < 128, "{size}");
    }
    // Passed around by value in the hot path of users.
    assert!(size_of::<Outcome>() <= 40, "{}", size_of::<Outcome>());
}

#[test]
fn the_text_of_an_error_names_all_its_sources_and_they_can_be_had() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no config")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    fn check(error: &dyn Error, expected: &[&str]) {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        assert_eq!(chain.map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
    let refused = || std::io::Error::other("refused");
    let failed = Outcome::Failed { error: Outer(refused()).into() };
    let failed = failed.into_result().unwrap_err();
    let text = "the task did not complete: failed: no config: refused";
    check(&failed, &[text, "no config", "refused"]);
    assert_eq!(format!("{failed:?}"), text, "what `main` prints");
    let thread = StartError::Thread { name: "w0".to_owned(), source: refused() };
    let text = "thread \"w0\" could not be started (check `ulimit -u` and the cgroup's pids.max): \
                refused";
    check(&thread, &[text, "refused"]);
    let signals = StartError::Signals(refused());
    check(&signals, &["signal handlers could not be installed: refused", "refused"]);
    // Out of the crate it is an error like any other, whose sources follow it.
    let out = || Box::<dyn Error>::from(TaskError::from(Outer(refused())));
    check(&*out(), &["no config", "refused"]);
    assert_eq!(format!("{:?}", out()), "no config: refused", "what `main` prints");

    let spec = || TaskSpec::new("t", |_| Ok(())).timeout(Duration::ZERO);
    let text = "task \"t\": timeout cannot be 0ns: give a span above zero, or None for no limit";
    let supervisor = Supervisor::builder().start().unwrap();
    check(&supervisor.handle().add(spec()).unwrap_err(), &[text]);
    let submit = supervisor.handle().submit(spec(), AdmissionPolicy::Queue);
    check(&submit.unwrap_err(), &[text]);
}

#[test]
fn small_values_compare_and_hash() {
    fn hash(value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }
    assert_eq!(hash(&StopReason::Stop), hash(&StopReason::Stop));
    assert_eq!(hash(&TaskState::Over), hash(&TaskState::Over));
    assert_eq!(hash(&AdmissionPolicy::Queue), hash(&AdmissionPolicy::Queue));
    assert_eq!(hash(&CancelReason::Timeout), hash(&CancelReason::Timeout));
    assert_ne!(Rejection::Removed, Rejection::Expired);
    assert_ne!(ShutdownCause::Idle, ShutdownCause::Dropped);
}

/// A body that is not `Sync` and needs no lock, and a context that can be lent to scoped threads.
#[test]
fn bodies_own_their_state_and_lend_their_context() {
    let supervisor = Supervisor::builder().start().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    send.send(3).unwrap();
    let mut sum = std::cell::Cell::new(1);
    let spec = TaskSpec::new("owns", move |ctx| {
        *sum.get_mut() += receive.recv()?;
        std::thread::scope(|scope| {
            let lent = || ctx.check().map(|()| ctx.name().len());
            let helper = std::thread::Builder::new().spawn_scoped(scope, lent)?;
            assert_eq!(helper.join().map_err(|_| "the helper panicked")??, 4);
            TaskResult::Ok(())
        })?;
        assert_eq!(sum.get(), 4);
        Ok(())
    });
    assert!(supervisor.handle().add(spec).unwrap().wait().unwrap().is_success());
}

#[test]
fn subscribers_are_objects() {
    struct Silent;
    impl Subscribe for Silent {
        fn on_event(&mut self, _: &Event) {}
    }
    let mut boxed: Vec<Box<dyn Subscribe>> = vec![Box::new(Silent), Box::new(LogEvents::new())];
    assert!(boxed[0].name().ends_with("Silent"));
    assert_eq!(boxed[1].name(), "LogEvents");
    let _ = boxed.pop();
}

#[test]
fn every_error_converts_into_a_task_error_and_out() {
    fn cancelled(ctx: &TaskContext) -> TaskResult {
        ctx.check()?;
        Ok(ctx.sleep(Duration::ZERO)?)
    }
    fn several(handle: &SupervisorHandle) -> TaskResult<Receiver<std::convert::Infallible>> {
        let task = handle.add(TaskSpec::once("a", |_| Ok(())))?;
        task.wait()?.into_result()?;
        let task = handle.submit(TaskSpec::once("b", |_| Ok(())), AdmissionPolicy::Queue)?;
        let _ = task.wait_decided()?;
        handle.snapshot()?;
        handle.flush_events()?;
        "8".parse::<u8>()?;
        Ok(task.ended())
    }
    fn out(handle: &SupervisorHandle) -> Result<(), Box<dyn Error>> {
        let _ended = several(handle)?;
        Err(TaskError::fail("out"))?
    }
    let (ctx, canceller) = TaskContext::detached();
    assert!(cancelled(&ctx).is_ok());
    canceller.cancel();
    assert_eq!(cancelled(&ctx).unwrap_err().to_string(), "cancelled: stop");
    let supervisor = Supervisor::builder().start().unwrap();
    assert_eq!(out(&supervisor.handle()).unwrap_err().to_string(), "out");
    let error = TaskError::from(std::io::Error::from(std::io::ErrorKind::NotFound));
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert!(error.clone().into_error().source().is_none());
}

#[test]
fn a_detached_attempt_has_no_deadline_to_move() {
    let (ctx, canceller) = TaskContext::detached();
    assert_eq!(ctx.extend_deadline(Duration::from_secs(1)), Ok(()));
    canceller.cancel();
    assert!(matches!(ctx.extend_deadline(Duration::ZERO), Err(ExtendError::Cancelled(_))));
}

#[test]
fn panic_isolation_is_known_at_compile_time() {
    const CAUGHT: bool = PANIC_ISOLATION;
    assert_eq!(CAUGHT, cfg!(panic = "unwind"));
}

#[test]
fn the_example_of_the_front_page_is_a_program() {
    // As users write it, but for the path, which not every machine has, and the end.
    fn main(path: &'static str) -> Result<ExitCode, Box<dyn Error>> {
        let supervisor = Supervisor::builder().on_event(|event| println!("{event}")).start()?;
        let sensor = TaskSpec::new("sensor", move |ctx| {
            let raw = std::fs::read_to_string(path)?;
            println!("attempt {}: {}", ctx.attempt(), raw.trim().len());
            ctx.handle().request_shutdown();
            Ok(())
        })
        .repeat_after(Duration::from_secs(1))
        .backoff(BackoffPolicy::exponential(Duration::from_millis(200), Duration::from_secs(30)))
        .timeout(Duration::from_secs(5));
        let report = supervisor.run([sensor])?;
        println!("{report}");
        Ok(ExitCode::from(&report))
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let code = main(manifest).unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn an_outcome_is_of_one_kind() {
    let error = || TaskError::fail("x");
    let (reason, stop) = (CancelReason::Stop, Some(StopReason::Stop));
    let cancelled = Outcome::Cancelled { reason: StopReason::Stop, returned: None };
    let outcomes = [
        Outcome::Completed,
        cancelled,
        Outcome::Failed { error: error() },
        Outcome::Fatal { error: error() },
        Outcome::Panicked { error: error() },
        Outcome::TimedOut { error: None },
        Outcome::Unresponsive { error: None },
        Outcome::Abandoned { reason, stop },
        Outcome::Rejected(Rejection::Removed),
        Outcome::Lost,
    ];
    for (place, outcome) in outcomes.iter().enumerate() {
        let kinds = [
            outcome.is_success(),
            outcome.is_cancelled(),
            outcome.is_failed(),
            outcome.is_fatal(),
            outcome.is_panicked(),
            outcome.is_timed_out(),
            outcome.is_unresponsive(),
            outcome.is_abandoned(),
            outcome.is_rejected(),
            outcome.is_lost(),
        ];
        let own: Vec<_> = (0..kinds.len()).filter(|&kind| kinds[kind]).collect();
        assert_eq!(own, [place], "{outcome}");
    }
}

#[test]
fn an_id_is_known_to_its_own_supervisor_only() {
    let [mine, others] = [(); 2].map(|()| Supervisor::builder().start().unwrap());
    let [task, other] = [&mine, &others].map(|supervisor| {
        let spec = TaskSpec::new("resident", |ctx| Ok(ctx.sleep(Duration::MAX)?));
        supervisor.handle().add(spec).unwrap()
    });
    assert_eq!((task.id().get(), task.id().to_string()), (other.id().get(), "#1".to_owned()));
    assert_ne!(task.id(), other.id());
    assert!(mine.handle().task(task.id()).is_some());
    assert!(mine.handle().task(other.id()).is_none());
    assert!(mine.handle().snapshot().unwrap().task(other.id()).is_none());
}

#[test]
fn a_token_alone_is_enough_for_code_that_blocks() {
    let (ctx, canceller) = TaskContext::detached();
    let token = ctx.token().clone();
    let second = Duration::from_secs(1);
    assert_eq!((token.deadline(), token.remaining()), (None, None));
    assert_eq!(token.io_timeout(second), second);
    canceller.cancel_with_grace(CancelReason::Stop, Duration::ZERO);
    assert_eq!(token.remaining(), Some(Duration::ZERO));
    assert!(token.deadline().is_some());
    assert_eq!(token.io_timeout(second), Duration::from_millis(1));
    let (wake, woken) = std::sync::mpsc::channel();
    assert_eq!(token.interruptible(move || wake.send(7).unwrap(), || woken.recv()), Ok(7));
    #[cfg(all(unix, feature = "poll"))]
    {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(token.wait_readable(&near, None).is_err());
        assert!(token.wait_writable(&near, None).is_err());
    }
}
