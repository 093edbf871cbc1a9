//! Settings: what each of them does, which value wins, and which values are refused.

use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;
use threadvisor::{
    AddError, InvalidSetting, ManualClock, StartError, SubmitError, SupervisorBuilder,
};

use crate::support::{next, no_op, outcome_of, resident, End, Puppet, Rig};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
const ZERO: Duration = Duration::ZERO;

type Shape<T> = fn(T) -> T;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A task whose attempts return so, one after the other, and then end it.
fn scripted(ends: &'static [End]) -> TaskSpec {
    let (spec, puppet) = Puppet::new("scripted");
    for end in ends.iter().chain(&[End::Cancelled; 2]) {
        puppet.end(*end);
    }
    spec.restart(RestartPolicy::Always).backoff(BackoffPolicy::constant(SHORT))
}

/// Runs a task to its end, which must be this one, after so many attempts.
#[track_caller]
fn check(rig: &Rig, spec: TaskSpec, attempts: usize, outcome: &str) -> TaskHandle {
    let task = rig.handle.add(spec).unwrap();
    assert_eq!(outcome_of(&task).to_string(), outcome);
    let story = rig.story(&task);
    let started = story.iter().filter(|event| event.starts_with("attempt_starting"));
    assert_eq!(started.count(), attempts, "{story:?}");
    task
}

#[test]
fn so_many_retries_may_follow_the_first_failure_of_a_streak() {
    use End::{Fail, Ok, Panic};
    let rig = Rig::new();
    let failed = "failed: boom";
    check(&rig, scripted(&[Fail; 9]).max_retries(0), 1, failed);
    check(&rig, scripted(&[Fail; 9]).max_retries(1), 2, failed);
    check(&rig, scripted(&[Fail; 9]).max_retries(3), 4, failed);
    check(&rig, scripted(&[Fail; 9]).max_retries(None), 10, "cancelled (by_task)");
    check(&rig, scripted(&[Fail; 9]), 10, "cancelled (by_task)");
    check(&rig, scripted(&[Fail, Panic, Fail, Panic]).max_retries(3), 4, "panicked: ouch");
    // A success ends the streak, and its own restarts count nowhere.
    check(&rig, scripted(&[Fail, Ok, Fail, Ok, Ok, Fail, Fail, Ok]).max_retries(1), 7, failed);
    check(&rig, scripted(&[Ok; 9]).max_retries(1), 10, "cancelled (by_task)");
    // However long an attempt ran: stability calms the delays, it does not end the streak.
    let stable = || scripted(&[Fail; 9]).max_retries(2).stable_after(ZERO);
    check(&rig, stable().timeout(LONG), 3, failed);
    check(&rig, stable(), 10, "cancelled (by_task)");
}

#[test]
fn a_failure_limit_ends_a_task_whose_streaks_a_success_resets() {
    use End::{Fail, Ok, Panic};
    let rig = Rig::new();
    let flapping = || scripted(&[Fail, Ok, Ok, Panic, Ok, Fail, Ok]).max_retries(1);
    check(&rig, flapping().failure_limit(2, LONG), 6, "failed: boom");
    check(&rig, flapping().failure_limit(3, LONG), 8, "cancelled (by_task)");
    check(&rig, flapping(), 8, "cancelled (by_task)");
}

/// The delays of all retries of a task that fails this often.
fn delays(rig: &Rig, shape: impl FnOnce(TaskSpec) -> TaskSpec) -> Vec<Duration> {
    let task = rig.handle.add(shape(scripted(&[End::Fail; 6]))).unwrap();
    let _ = outcome_of(&task);
    let events = rig.events();
    let of_task = events.iter().filter(|e| e.task.as_ref().is_some_and(|t| t.id == task.id()));
    of_task
        .filter_map(|event| match event.kind {
            EventKind::RetryScheduled { delay, .. } => Some(delay),
            _ => None,
        })
        .collect()
}

#[test]
fn a_retry_comes_after_the_delay_of_its_policy() {
    let rig = Rig::new();
    let exponential = BackoffPolicy::exponential(ms(1), ms(4)).jitter(JitterPolicy::None);
    assert_eq!(delays(&rig, |spec| spec), [SHORT; 6]);
    let grown = delays(&rig, |spec| spec.backoff(exponential));
    assert_eq!(grown, [ms(1), ms(2), ms(4), ms(4), ms(4), ms(4)]);
    let tripled = delays(&rig, |spec| spec.backoff(exponential.factor(3.0)));
    assert_eq!(tripled, [ms(1), ms(3), ms(4), ms(4), ms(4), ms(4)]);
    let stable = delays(&rig, |spec| spec.backoff(exponential).stable_after(ZERO));
    assert_eq!(stable, [SHORT; 6], "an attempt that ran long enough begins anew");
    for jitter in [JitterPolicy::Full, JitterPolicy::Equal, JitterPolicy::Decorrelated] {
        let policy = BackoffPolicy::exponential(ms(2), ms(8)).jitter(jitter);
        let drawn = delays(&rig, |spec| spec.backoff(policy));
        for (delay, range) in drawn.iter().zip(policy.preview(6)) {
            assert!(range.contains(delay), "{jitter:?}: {delay:?} not in {range:?}");
        }
    }
}

#[test]
fn a_success_begins_the_delays_anew() {
    use End::{Fail, Ok};
    let rig = Rig::new();
    let spec = scripted(&[Fail, Fail, Ok, Fail, Fail]);
    let policy = BackoffPolicy::exponential(ms(1), ms(64)).jitter(JitterPolicy::None);
    let task = check(&rig, spec.backoff(policy), 6, "cancelled (by_task)");
    for (attempt, delay) in [(1, ms(1)), (2, ms(2)), (4, ms(1)), (5, ms(2))] {
        match rig.until(&task, &format!("retry_scheduled {attempt}: failed")).kind {
            EventKind::RetryScheduled { delay: drawn, .. } => assert_eq!(drawn, delay),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_delays() {
    let jittered = BackoffPolicy::exponential(ms(1), ms(8)).jitter(JitterPolicy::Full);
    let drawn =
        |seed| delays(&Rig::start(Supervisor::builder().seed(seed)), |spec| spec.backoff(jittered));
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

#[test]
fn a_panic_means_what_its_policy_says() {
    use End::{Ok, Panic};
    let rig = Rig::new();
    let panics = || scripted(&[Panic, Ok, Panic]);
    check(&rig, panics(), 4, "cancelled (by_task)");
    check(&rig, panics().panic_policy(PanicPolicy::Failure), 4, "cancelled (by_task)");
    check(&rig, panics().panic_policy(PanicPolicy::Fatal), 1, "panicked: ouch");
    check(&rig, panics().restart(RestartPolicy::Never), 1, "panicked: ouch");
    check(&rig, panics().restart(RestartPolicy::OnFailure), 2, "completed");
}

/// How long a body sees itself left.
fn deadline_of(
    spec: impl FnOnce(TaskSpec) -> TaskSpec,
    handle: &SupervisorHandle,
) -> Option<Duration> {
    let (say, said) = bounded(1);
    let body = move |ctx: &TaskContext| Ok(say.send(ctx.remaining())?);
    handle.add(spec(TaskSpec::once("sees", body).no_slot())).unwrap();
    next(&said)
}

#[test]
fn defaults_apply_to_every_task_and_its_own_setting_beats_them() {
    use End::{Cancelled, Fail, Ok, Panic};
    let defaults = TaskDefaults::new()
        .restart(RestartPolicy::Always)
        .backoff(BackoffPolicy::constant(SHORT))
        .max_retries(1)
        .timeout(LONG)
        .panic_policy(PanicPolicy::Fatal)
        .stable_after(ZERO)
        .failure_limit(4, LONG)
        .expires_in(LONG);
    let rig = Rig::start(Supervisor::builder().defaults(defaults));
    let bare = |ends: &'static [End]| {
        let (spec, puppet) = Puppet::new("bare");
        for end in ends {
            puppet.end(*end);
        }
        spec
    };
    check(&rig, bare(&[Ok, Fail, Ok, Fail, Fail]), 5, "failed: boom");
    check(&rig, bare(&[Panic]), 1, "panicked: ouch");
    let flapping: &[End] = &[Fail, Ok, Fail, Ok, Fail, Ok, Fail, Ok, Fail, Ok, Cancelled];
    check(&rig, bare(flapping), 9, "failed: boom");
    // Each of them is beaten.
    check(&rig, bare(&[Ok]).restart(RestartPolicy::OnFailure), 1, "completed");
    check(&rig, bare(&[Fail, Fail, Fail, Cancelled]).max_retries(None), 4, "cancelled (by_task)");
    check(&rig, bare(&[Fail]).max_retries(0), 1, "failed: boom");
    let survives = bare(&[Panic, Cancelled]).panic_policy(PanicPolicy::Failure);
    check(&rig, survives, 2, "cancelled (by_task)");
    check(&rig, bare(flapping).failure_limit(9, LONG), 11, "cancelled (by_task)");
    check(&rig, bare(flapping).failure_limit(None, LONG), 11, "cancelled (by_task)");
    // A body that runs once runs once, whatever the defaults say.
    check(&rig, no_op("once"), 1, "completed");

    let near =
        |left: Option<Duration>, span| left.is_some_and(|left| left <= span && left > span / 2);
    assert!(near(deadline_of(|spec| spec, &rig.handle), LONG));
    assert!(near(deadline_of(|spec| spec.timeout(LONG * 4), &rig.handle), LONG * 4));
    assert_eq!(deadline_of(|spec| spec.timeout(None), &rig.handle), None);
}

#[test]
fn defaults_apply_however_a_task_is_handed_over() {
    let limited =
        || Supervisor::builder().defaults(TaskDefaults::new().timeout(SHORT).max_retries(0));
    let supervisor = limited().start().unwrap();
    let handle = supervisor.handle();
    let mut tasks = handle.add_all([resident("a"), resident("b")]).unwrap();
    tasks.push(handle.add(resident("c")).unwrap());
    for submit in [SupervisorHandle::submit, SupervisorHandle::try_submit] {
        tasks.push(submit(&handle, resident("d").no_slot(), AdmissionPolicy::Queue).unwrap());
    }
    for task in tasks {
        assert_eq!(outcome_of(&task).to_string(), "timed out");
    }
    let report = limited().start().unwrap().run(["e", "f"].map(resident)).unwrap();
    assert_eq!((report.outcomes.timed_out, report.outcomes.total()), (2, 2));
}

#[test]
fn a_submission_that_waits_too_long_expires() {
    let rig = Rig::start(Supervisor::builder().defaults(TaskDefaults::new().expires_in(ms(20))));
    let (spec, puppet) = Puppet::new("owner");
    // What runs does not expire, however long it waits between its attempts.
    rig.handle.add(spec.expires_in(None)).unwrap();
    puppet.started();
    let queued =
        |spec: TaskSpec| rig.handle.submit(spec.slot("owner"), AdmissionPolicy::Queue).unwrap();
    let (inherits, patient) =
        (queued(no_op("inherits")), queued(no_op("patient").expires_in(None)));
    let own = queued(no_op("own").expires_in(SHORT));
    for task in [&inherits, &own] {
        assert!(matches!(outcome_of(task), Outcome::Rejected(Rejection::Expired)));
        assert_eq!(rig.story(task).last().unwrap(), "rejected expired");
    }
    // Late for the decision already.
    let lapsed = rig.handle.add(no_op("lapsed").expires_in(Duration::from_nanos(1))).unwrap_err();
    assert_eq!(lapsed.rejection(), Some(Rejection::Expired));
    assert_eq!(lapsed.into_spec().name(), "lapsed");
    puppet.end(End::Ok);
    assert!(outcome_of(&patient).is_success());
}

#[test]
fn no_wait_of_its_own_counts_against_the_expiry() {
    let clock = ManualClock::new().patience(Duration::from_secs(60));
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let (expiry, wait) = (ms(500), ms(800));
    let delayed = no_op("delayed").initial_delay(wait).expires_in(expiry);
    let delayed = supervisor.handle().add(delayed).unwrap();
    let twice = TaskSpec::new("twice", |ctx| match ctx.attempt() {
        1 => Ok(()),
        _ => Err(TaskError::cancelled()),
    });
    let twice = supervisor.handle().add(twice.repeat_after(wait).expires_in(expiry)).unwrap();
    clock.advance(wait);
    assert!(delayed.outcome().unwrap().is_success());
    assert_eq!(twice.outcome().unwrap().to_string(), "cancelled (by_task)");
}

/// A spec that must be refused, whichever way it is handed over: for this field and value.
#[track_caller]
fn refused(field: &str, value: &str, spec: impl Fn() -> TaskSpec) {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let name = spec().name().to_owned();
    let check = |error: InvalidSetting, back: Option<&TaskSpec>| {
        assert_eq!((&*error.value, error.field), (value, field), "{error}");
        assert_eq!(error.task.as_deref(), Some(&*name));
        assert!(back.map_or(true, |spec| spec.name() == name));
        let text = error.to_string();
        let parts = [field, value, error.remedy, &format!("{name:?}")];
        assert!(!error.remedy.is_empty() && parts.iter().all(|part| text.contains(part)), "{text}");
    };
    check(spec().validate().unwrap_err(), None);
    match handle.add(spec()).unwrap_err() {
        AddError::Invalid { error, spec } => check(error, Some(&spec)),
        other => panic!("{other:?}"),
    }
    for submit in [SupervisorHandle::submit, SupervisorHandle::try_submit] {
        match submit(&handle, spec(), AdmissionPolicy::Queue).unwrap_err() {
            SubmitError::Invalid { error, spec } => check(error, Some(&spec)),
            other => panic!("{other:?}"),
        }
    }
    match handle.add_all([no_op("valid"), spec()]).unwrap_err() {
        AddError::Invalid { error, spec } => check(error, spec.get(1)),
        other => panic!("{other:?}"),
    }
    assert!(handle.snapshot().unwrap().tasks.is_empty());
    match supervisor.run([spec()]).unwrap_err() {
        AddError::Invalid { error, spec } => check(error, spec.first()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_that_cannot_work_is_refused_with_its_remedy_and_the_spec() {
    let task = || resident("task");
    let backoff = BackoffPolicy::exponential;
    refused("name", "\"\"", || resident(""));
    refused("name", "\"a\\0b\"", || resident("a\0b"));
    refused("slot", "\"\"", || task().slot(""));
    refused("slot", "\"a\\0\"", || task().slot("a\0"));
    refused("repeat_after", "0ns", || task().repeat_after(ZERO));
    refused("every", "0ns", || task().every(ZERO));
    refused("timeout", "0ns", || task().timeout(ZERO));
    refused("expires_in", "0ns", || task().expires_in(ZERO));
    refused("give_up_after", "0ns", || task().give_up_after(ZERO));
    let both = || task().timeout(LONG).max_timeout(SHORT);
    refused("max_timeout", &format!("{SHORT:?} with a timeout of {LONG:?}"), both);
    let both = || task().timeout(SHORT).ready_within(LONG);
    refused("ready_within", &format!("{LONG:?} with a timeout of {SHORT:?}"), both);
    refused("failure_limit", "0", || task().failure_limit(0, LONG));
    refused("failure_limit", "0ns", || task().failure_limit(1, ZERO));
    refused("backoff.first", "2s with a max of 1s", || task().backoff(backoff(ms(2000), ms(1000))));
    refused("backoff", "0ns", || task().backoff(backoff(ZERO, ZERO)));
    refused("backoff.max", "1ns", || task().backoff(backoff(ZERO, Duration::from_nanos(1))));
    refused("backoff.factor", "below 1", || task().backoff(backoff(SHORT, LONG).factor(0.5)));
    refused("backoff.factor", "NaN", || task().backoff(backoff(SHORT, LONG).factor(f64::NAN)));
    let infinite = backoff(SHORT, LONG).factor(f64::INFINITY);
    refused("backoff.factor", "infinite", || task().backoff(infinite));
    refused("restart", "Always", || no_op("task").restart(RestartPolicy::Always));
    refused("restart", "OnFailure", || no_op("task").restart(RestartPolicy::OnFailure));
    refused("repeat_after", "3600s", || no_op("task").repeat_after(LONG));
    refused("restart", "Never", || task().repeat_after(LONG).restart(RestartPolicy::Never));
    // What sounds odd but works.
    let odd = task().initial_delay(ZERO).grace(ZERO).stable_after(ZERO).timeout(Duration::MAX);
    odd.max_retries(0).no_slot().validate().unwrap();
}

#[test]
fn a_supervisor_that_cannot_work_does_not_start() {
    let cases: [(&str, Shape<SupervisorBuilder>); 7] = [
        ("max_concurrent", |builder| builder.max_concurrent(0)),
        ("max_tasks", |builder| builder.max_tasks(0)),
        ("max_slot_queue", |builder| builder.max_slot_queue(0)),
        ("intake_capacity", |builder| builder.intake_capacity(0)),
        ("event_capacity", |builder| builder.event_capacity(0)),
        ("dedicated_subscriber", |builder| builder.dedicated_subscriber(LogEvents::new(), 0)),
        ("timeout", |builder| builder.defaults(TaskDefaults::new().timeout(ZERO))),
    ];
    for (field, shape) in cases {
        match shape(Supervisor::builder()).start() {
            Err(StartError::Invalid(error)) => {
                assert_eq!((error.field, error.task.as_deref()), (field, None));
                assert!(error.value.starts_with('0') && !error.remedy.is_empty(), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_largest_numbers_are_a_fault_or_no_trouble() {
    const MOST: usize = usize::MAX;
    let builder = Supervisor::builder().max_concurrent(MOST).max_tasks(MOST).max_slot_queue(MOST);
    let builder = builder.max_abandoned(MOST).event_capacity(MOST).grace(Duration::MAX);
    let supervisor = builder.dedicated_subscriber(LogEvents::new(), MOST).start().unwrap();
    assert!(outcome_of(&supervisor.handle().add(no_op("task")).unwrap()).is_success());
    for capacity in [MOST, MOST / 2, u32::MAX as usize] {
        match Supervisor::builder().intake_capacity(capacity).start() {
            Err(StartError::Invalid(error)) => assert_eq!(error.field, "intake_capacity"),
            other => panic!("{other:?}"),
        }
    }
    Supervisor::builder().intake_capacity(1 << 20).start().unwrap();
}

#[test]
fn none_is_no_limit_wherever_there_is_a_limit() {
    let builder = Supervisor::builder().max_concurrent(None).max_tasks(None).max_slot_queue(None);
    let supervisor = builder.max_abandoned(None).grace(None).start().unwrap();
    let forever = resident("task").max_retries(None).timeout(None).max_timeout(None).grace(None);
    let forever =
        forever.expires_in(None).give_up_after(None).watchdog(None).failure_limit(None, ZERO);
    let task = supervisor.handle().add(forever).unwrap();
    let queued = supervisor.handle().submit(resident("task"), AdmissionPolicy::Queue).unwrap();
    assert_eq!(queued.wait_decided().unwrap(), Decision::Queued { ahead: 0 });
    assert_eq!(supervisor.handle().snapshot().unwrap().permits.limit, None);
    task.cancel();
    assert_eq!(outcome_of(&task).to_string(), "cancelled (stop)");
}

#[test]
fn what_was_set_can_be_read_back() {
    let (limit, policy) = (Duration::from_secs(5), BackoffPolicy::constant(SHORT));
    let spec = resident("task").slot("tty").timeout(limit).backoff(policy).timeout(None);
    let text = format!("{spec:?}");
    for part in ["\"task\"", "\"tty\"", "Timeout(Some(5s))", "Backoff(", "Timeout(None)"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("Grace"), "what was not set is not shown: {text}");
    let policy = BackoffPolicy::exponential(SHORT, limit).factor(3.0).jitter(JitterPolicy::Full);
    let BackoffPolicy { first, max, factor, jitter, .. } = policy;
    assert_eq!((first, max, factor, jitter), (SHORT, limit, 3.0, JitterPolicy::Full));
}

#[test]
fn the_last_of_two_pauses_wins() {
    let rig = Rig::new();
    let shapes: [(Shape<TaskSpec>, Duration); 2] = [
        (|spec| spec.every(LONG).repeat_after(LONG * 9), LONG * 9),
        (|spec| spec.repeat_after(LONG * 9).every(LONG), LONG),
    ];
    for (shape, expected) in shapes {
        let (spec, puppet) = Puppet::new("paused");
        puppet.end(End::Ok);
        let task = rig.handle.add(shape(spec.no_slot())).unwrap();
        match rig.until(&task, "run_scheduled 1").kind {
            EventKind::RunScheduled { delay, .. } => {
                assert!(delay <= expected && delay > expected / 2, "{delay:?}, not {expected:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What a body adds to the word that it was told counts as its own error does.
#[test]
fn a_cancelled_with_a_delay_a_code_or_an_end_is_an_error_of_the_body() {
    let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let (say, starts) = bounded(9);
    let now = clock.clone();
    let slow = TaskSpec::new("slow", move |ctx| {
        say.send(now.now()).unwrap();
        ctx.sleep(60 * second).map_err(|told| TaskError::fail(told).retry_after(10 * second))
    });
    let slow = slow.timeout(2 * second).backoff(BackoffPolicy::constant(second));
    let slow = supervisor.handle().add(slow).unwrap();
    clock.advance(30 * second);
    assert_eq!(starts.try_iter().collect::<Vec<_>>(), [0, 12, 24].map(|n| n * second));
    // Whoever is stopped is not retried, so there the delay adds nothing.
    clock.advance(7 * second); // into the next attempt
    slow.cancel();
    assert!(matches!(outcome_of(&slow), Outcome::Cancelled { returned: None, .. }));

    // A code counts after a stop as well; without one, the body only passes on that it was told.
    let stopped = |error: fn() -> TaskError| {
        let spec = TaskSpec::once("t", move |ctx| ctx.sleep(60 * second).map_err(|_| error()));
        let task = supervisor.handle().add(spec).unwrap();
        task.wait_started().unwrap();
        task.cancel();
        let Outcome::Cancelled { returned, .. } = outcome_of(&task) else { panic!("{task:?}") };
        returned.map(|it| it.unwrap_err().exit_code())
    };
    assert_eq!(stopped(|| TaskError::cancelled().with_exit_code(9)), Some(Some(9)));
    assert_eq!(stopped(TaskError::cancelled), None);

    let ends = |change: fn(Cancelled) -> TaskError| {
        let spec = TaskSpec::once("t", move |ctx| ctx.sleep(60 * second).map_err(change));
        let task = supervisor.handle().add(spec.timeout(2 * second)).unwrap();
        clock.advance_until(&task, 60 * second)
    };
    let coded = ends(|told| TaskError::fail(told).with_exit_code(9));
    assert_eq!((coded.label(), coded.exit_code()), ("timed_out", 9));
    let coded = ends(|_| TaskError::cancelled().with_exit_code(9));
    assert_eq!((coded.label(), coded.exit_code()), ("timed_out", 9));
    assert_eq!(ends(TaskError::fatal).to_string(), "fatal: cancelled: timeout");
    assert_eq!(ends(TaskError::fail).to_string(), ends(Into::into).to_string());
}
