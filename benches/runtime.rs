//! What the supervisor costs with its threads: bursts, round trips (also beside threads that
//! compute), cancels, admission, fan-out, snapshots, shutdown. `cargo bench --bench runtime`,
//! `cargo bench --bench runtime -- NAME`.
//!
//! Every outcome is asserted. Set-up and clean-up are outside the timer; specs are made inside it
//! where the name of the row says so. No row times a sleep, but for the burst of blocking bodies,
//! which is about them.

#[path = "harness/busy.rs"]
mod busy;
mod harness;
#[allow(dead_code, reason = "the footprint needs the rest")]
#[path = "harness/proc.rs"]
mod proc;
#[path = "harness/saturation.rs"]
mod saturation;
#[path = "harness/work.rs"]
mod work;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use harness::{float, timed, Harness};
use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use work::{
    all_completed, later, no_op, on_one_core, owning, sleeper, started, submit, waiting, Blocked,
};

fn main() {
    let harness = Harness::from_args();
    lifetimes(&harness);
    bursts(&harness);
    latencies(&harness);
    admission(&harness);
    fan_out(&harness);
    subscribers(&harness);
    snapshots(&harness);
    shutdowns(&harness);
    blocking(&harness);
    busy::round_trips(&harness);
    saturation::table(&harness);
}

fn lifetimes(harness: &Harness) {
    harness.bench(
        "started, one task, shut down",
        1,
        501,
        || (),
        |()| {
            let supervisor = started();
            all_completed(vec![submit(&supervisor.handle(), no_op(&"only".into()))]);
            supervisor.shutdown().expect("this is no thread of the supervisor")
        },
    );
}

fn bursts(harness: &Harness) {
    let supervisor = started();
    let handle = supervisor.handle();
    for n in [1000, 10_000, 100_000, 1_000_000].map(|n| harness.scaled(n)) {
        let name: Arc<str> = Arc::from("no-op");
        let make = || no_op(&name).no_slot();
        let burst = |()| all_completed((0..n).map(|_| submit(&handle, make())).collect());
        let runs = if n > 100_000 { 3 } else { 11 };
        harness.bench(&format!("burst of {n}, specs made too"), n, runs, || (), burst);
    }
    let n = harness.scaled(100_000);
    harness.bench(
        &format!("burst of {n}, a slot each"),
        n,
        11,
        || (0..n).map(|i| no_op(&format!("task-{i}").into())).collect(),
        |specs: Vec<_>| all_completed(specs.into_iter().map(|it| submit(&handle, it)).collect()),
    );
    harness.bench(
        &format!("burst of {n}, with a timeout"),
        n,
        11,
        || (0..n).map(|_| no_op(&"t".into()).no_slot().timeout(Duration::from_secs(60))).collect(),
        |specs: Vec<_>| all_completed(specs.into_iter().map(|it| submit(&handle, it)).collect()),
    );
}

fn latencies(harness: &Harness) {
    let supervisor = started();
    let handle = supervisor.handle();
    round_trips(harness, &handle);
    let n = 2000;
    harness.bench(
        "add, with reply",
        1,
        n,
        || no_op(&"added".into()).no_slot(),
        |spec| {
            let task = handle.add(spec).expect("it has no slot");
            Finished(task)
        },
    );
    harness.bench(
        "cancel to outcome, running",
        1,
        n,
        || sleeper(&handle, "sleeper"),
        |task| {
            task.cancel();
            let outcome = task.wait().expect("it is not our own");
            assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Stop, .. }));
        },
    );
    harness.bench(
        "cancel to outcome, waiting",
        1,
        n,
        || waiting(&handle, "later"),
        |task| {
            task.cancel();
            let outcome = task.wait().expect("it is not our own");
            assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Stop, .. }));
        },
    );
    let shared = Arc::new(());
    harness.bench(
        "cancel to outcome, waiting, owns an Arc",
        1,
        n,
        || owning(&handle, "later", &shared),
        |task| {
            task.cancel();
            let outcome = task.wait().expect("it is not our own");
            assert!(matches!(outcome, Outcome::Cancelled { reason: StopReason::Stop, .. }));
        },
    );
    cancel_to_awake(harness, &handle);
}

fn round_trips(harness: &Harness, handle: &SupervisorHandle) {
    let name: Arc<str> = Arc::from("no-op");
    all_completed(vec![submit(handle, no_op(&name))]);
    on_one_core(|| switches(harness));
    harness.bench(
        "round trip: submit to outcome",
        1,
        2000,
        || no_op(&name),
        |spec| {
            let task = submit(handle, spec);
            assert!(task.wait().expect("it is not our own").is_success());
        },
    );
    harness.bench(
        "  for scale: thread::spawn and join",
        1,
        2000,
        || (),
        |()| {
            #[allow(clippy::disallowed_methods, reason = "this is the thing to compare with")]
            let thread = std::thread::spawn(|| 7);
            assert_eq!(thread.join().expect("it does not panic"), 7);
        },
    );
}

/// Those of all threads, from the submission to the outcome. To yield is one, too, as long as
/// another thread wants the core.
fn switches(harness: &Harness) {
    let name = "switches of a round trip";
    if !harness.wants(name) {
        return;
    }
    let (supervisor, n) = (started(), harness.scaled(2000));
    let handle = supervisor.handle();
    let trip = || all_completed(vec![submit(&handle, no_op(&"no-op".into()))]);
    trip();
    let before = proc::switches();
    (0..n).for_each(|_| trip());
    let after = proc::switches();
    let each = [0, 1].map(|at| float(after[at] - before[at]) / float(n));
    let switches = format!("{:.1} + {:.1}", each[0], each[1]);
    println!("{name}, one core: {switches}");
    harness.tell(name, switches);
}

/// A task that is waited for outside the timer, so that it does not disturb the next run.
struct Finished(TaskHandle);

impl Drop for Finished {
    fn drop(&mut self) {
        assert!(self.0.wait().expect("it is not our own").is_success());
    }
}

/// From `cancel()` to the moment at which the sleeping body is awake, by its own clock.
fn cancel_to_awake(harness: &Harness, handle: &SupervisorHandle) {
    let name = "cancel() to sleeping body awake";
    if !harness.wants(name) {
        return;
    }
    let (awake_in, awake) = unbounded();
    let times = (0..harness.scaled(2000)).map(|_| {
        let awake_in = awake_in.clone();
        let (ready_in, ready) = unbounded();
        let spec = TaskSpec::once("sleeper", move |ctx| {
            ready_in.send(())?;
            let slept = ctx.sleep(Duration::MAX);
            awake_in.send(harness::now())?;
            Ok(slept?)
        });
        let task = submit(handle, spec);
        ready.recv().expect("the body runs");
        work::settle();
        let asked = harness::now();
        task.cancel();
        let woke = awake.recv().expect("the body wakes up");
        assert!(matches!(task.wait(), Ok(Outcome::Cancelled { .. })));
        woke - asked
    });
    let times = times.collect();
    harness.report(name, 1, times);
}

fn admission(harness: &Harness) {
    let supervisor = Supervisor::builder().max_slot_queue(100_000).start().expect("it starts");
    let handle = supervisor.handle();
    let n = harness.scaled(1000);
    let name: Arc<str> = Arc::from("keyed");
    let slotted = || (0..n).map(|_| no_op(&name)).collect::<Vec<_>>();
    let submit_all = |specs: Vec<TaskSpec>, policy| {
        let each = specs.into_iter().map(|spec| handle.submit(spec, policy).expect("it is open"));
        each.collect::<Vec<_>>()
    };

    harness.bench(&format!("queue: {n} through one slot"), n, 21, slotted, |specs| {
        all_completed(submit_all(specs, AdmissionPolicy::Queue));
    });
    harness.bench(
        &format!("replace: storm of {n} on one slot"),
        n,
        21,
        || {
            let owner = sleeper(&handle, "keyed");
            let rest = || TaskSpec::once("keyed", |ctx| Ok(ctx.sleep(Duration::MAX)?));
            (owner, (0..n).map(|_| rest()).collect())
        },
        |(owner, specs): (_, Vec<_>)| {
            let mut tasks = submit_all(specs, AdmissionPolicy::Replace);
            let newest = tasks.pop().expect("there are some");
            for task in tasks {
                let outcome = task.wait().expect("it is not our own");
                let rejected = Outcome::Rejected(Rejection::Superseded { by: newest.id() });
                let replaced = StopReason::Replace;
                assert!(
                    matches!(outcome, Outcome::Cancelled { reason, .. } if reason == replaced)
                        || outcome.label() == rejected.label()
                );
            }
            assert!(matches!(owner.wait(), Ok(Outcome::Cancelled { .. })));
            Cancelled(newest)
        },
    );
    let owner = sleeper(&handle, "keyed");
    harness.bench(&format!("drop: {n} rejections by a busy slot"), n, 21, slotted, |specs| {
        for task in submit_all(specs, AdmissionPolicy::DropIfRunning) {
            let outcome = task.wait().expect("it is not our own");
            assert!(matches!(outcome, Outcome::Rejected(Rejection::SlotBusy { .. })));
        }
    });
    drop(Cancelled(owner));
}

/// A task that is cancelled and waited for outside the timer.
struct Cancelled(TaskHandle);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancel();
        assert!(matches!(self.0.wait(), Ok(Outcome::Cancelled { .. })));
    }
}

/// Every subscriber of the shared lane gets all five events of every task; none waits for a permit.
fn fan_out(harness: &Harness) {
    const EVENTS: usize = 5;
    let n = harness.scaled(20_000);
    let medians = [0, 1, 4, 8].map(|subscribers| {
        let seen = Arc::new(AtomicUsize::new(0));
        let mut builder = Supervisor::builder().max_concurrent(None).event_capacity(EVENTS * n + 1);
        for _ in 0..subscribers {
            let seen = Arc::clone(&seen);
            builder = builder.on_event(move |_| {
                seen.fetch_add(1, Ordering::Relaxed);
            });
        }
        let supervisor = builder.start().expect("it starts");
        let handle = supervisor.handle();
        let name: Arc<str> = Arc::from("no-op");
        let mut runs = 0;
        let median = harness.bench(
            &format!("fan-out to {subscribers} subscribers, {n} tasks"),
            n,
            11,
            || (0..n).map(|_| no_op(&name).no_slot()).collect(),
            |specs: Vec<_>| {
                all_completed(specs.into_iter().map(|it| submit(&handle, it)).collect());
                handle.flush_events().expect("this is no thread of the supervisor");
                runs += 1;
                assert_eq!(seen.load(Ordering::Relaxed), runs * n * EVENTS * subscribers);
            },
        );
        let report = supervisor.shutdown().expect("this is no thread of the supervisor").shutdown;
        assert_eq!(report.events_dropped, 0, "the lane is large enough");
        median
    });
    if let [Some(without), .., Some(with)] = medians {
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        harness.tell("fan-out to", format!("{ratio:.2} ×"));
    }
}

/// The burst of `fan_out` with one subscriber of each kind, in turn. The time ends when the
/// subscriber has had all events, so its own work counts; nothing collects what it passes on.
fn subscribers(harness: &Harness) {
    const NO_OP: &str = "a no-op";
    let n = harness.scaled(20_000);
    let builder = || Supervisor::builder().max_concurrent(None).event_capacity(5 * n + 1);
    let mut kinds = vec![(NO_OP, builder().on_event(|_| ()))];
    kinds.push(("LogEvents", builder().subscriber(LogEvents::new())));
    #[cfg(feature = "console")]
    kinds.push(("Console", { builder().subscriber(threadvisor::Console::to(std::io::sink())) }));
    #[cfg(feature = "timeline")]
    kinds.push(("Timeline", builder().subscriber(threadvisor::Timeline::new().0)));
    #[cfg(feature = "tracing")]
    kinds.push(("TraceEvents", {
        let _ = tracing::dispatcher::set_global_default(tracing::Dispatch::new(work::All));
        builder().subscriber(threadvisor::TraceEvents::new())
    }));
    #[cfg(feature = "metrics")]
    kinds.push(("CountEvents", builder().subscriber(threadvisor::CountEvents::new())));

    let title = |kind: &str| format!("burst of {n}, heard by {kind}");
    let kinds = kinds.into_iter().filter(|(kind, _)| *kind == NO_OP || harness.wants(&title(kind)));
    let kinds: Vec<_> = kinds.map(|(kind, it)| (kind, it.start().expect("it starts"))).collect();
    if kinds.len() == 1 && !harness.wants(&title(NO_OP)) {
        return;
    }
    let name: Arc<str> = Arc::from("no-op");
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..harness.runs(21) {
        for ((_, supervisor), times) in kinds.iter().zip(&mut times) {
            let handle = supervisor.handle();
            let specs: Vec<_> = (0..n).map(|_| no_op(&name).no_slot()).collect();
            let (spent, ()) = timed(|| {
                all_completed(specs.into_iter().map(|it| submit(&handle, it)).collect());
                handle.flush_events().expect("this is no thread of the supervisor");
            });
            times.push(spent);
        }
    }
    let mut base = None;
    for ((kind, supervisor), times) in kinds.into_iter().zip(times) {
        let median = harness.report(&title(kind), n, times).as_secs_f64();
        println!("  {:.2} times {NO_OP}", median / *base.get_or_insert(median));
        let report = supervisor.shutdown().expect("this is no thread of the supervisor").shutdown;
        assert_eq!(report.events_dropped, 0, "the lane is large enough");
    }
}

fn snapshots(harness: &Harness) {
    for n in [32, 256, 1024, 100_000].map(|n| harness.scaled(n)) {
        let name = format!("snapshot of {n} tasks");
        let controller = format!("{name}, controller busy"); // where the system tells it
        if !harness.wants(&controller) {
            continue;
        }
        let supervisor = started();
        let handle = supervisor.handle();
        let tasks: Vec<_> = (0..n).map(|i| waiting(&handle, &format!("task-{i}"))).collect();
        harness.bench(
            &name,
            1,
            51,
            || (),
            |()| {
                let snapshot = handle.snapshot().expect("it runs");
                assert_eq!(snapshot.tasks.len(), tasks.len());
                snapshot
            },
        );
        let busy = (0..harness.scaled(51)).filter_map(|_| {
            work::settle();
            let before = proc::time_on_core("ctl-")?;
            drop(handle.snapshot().expect("it runs"));
            work::settle();
            proc::time_on_core("ctl-")?.checked_sub(before)
        });
        let busy: Vec<_> = busy.collect();
        if !busy.is_empty() {
            harness.report(&controller, 1, busy);
        }
    }
}

fn shutdowns(harness: &Harness) {
    for n in [0, 32, 1000].map(|n| harness.scaled(n)) {
        harness.bench(
            &format!("shutdown, {n} sleeping bodies"),
            1,
            11,
            || {
                let supervisor = started();
                let handle = supervisor.handle();
                let tasks: Vec<_> = (0..n).map(|i| sleeper(&handle, &format!("{i}"))).collect();
                (supervisor, tasks)
            },
            |(supervisor, tasks)| {
                let report =
                    supervisor.shutdown().expect("this is no thread of the supervisor").shutdown;
                assert_eq!((report.stopped, report.abandoned.len()), (n, 0));
                (supervisor, tasks)
            },
        );
    }

    let n = harness.scaled(100_000);
    harness.bench(
        &format!("shutdown, {n} waiting bodies that own an Arc"),
        1,
        7,
        || {
            let supervisor = started();
            let (handle, shared) = (supervisor.handle(), Arc::new(()));
            let tasks = (0..n).map(|i| owning(&handle, &format!("{i}"), &shared));
            let tasks: Vec<_> = tasks.collect();
            (supervisor, tasks)
        },
        |(supervisor, tasks)| {
            let report =
                supervisor.shutdown().expect("this is no thread of the supervisor").shutdown;
            assert_eq!((report.stopped, report.values_leaked), (n, 0));
            (supervisor, tasks)
        },
    );

    let n = harness.scaled(1_000_000);
    let grace = Duration::from_millis(50);
    harness.bench(
        &format!("shutdown, {n} waiting, grace of 50 ms"),
        1,
        3,
        || {
            let supervisor = Supervisor::builder().grace(grace).start().expect("it starts");
            let handle = supervisor.handle();
            let spec = || later("later").no_slot();
            (1..n).for_each(|_| drop(submit(&handle, spec())));
            let last = submit(&handle, spec());
            assert!(matches!(last.wait_decided(), Ok(Decision::Admitted)));
            supervisor
        },
        |supervisor| {
            let report =
                supervisor.shutdown().expect("this is no thread of the supervisor").shutdown;
            assert_eq!((report.stopped, report.values_leaked), (n, 0));
            supervisor
        },
    );
}

/// A supervisor that has run one task gets `n` bodies that block for 100 ms each.
fn blocking(harness: &Harness) {
    const BLOCK: Duration = Duration::from_millis(100);
    let n = harness.scaled(1000);
    let name = format!("burst of {n} bodies that block 100 ms");
    if !harness.wants(&name) {
        return;
    }
    let mut threads = Vec::new();
    let mut times = Vec::new();
    for _ in 0..harness.runs(7) {
        let supervisor = started();
        let handle = supervisor.handle();
        all_completed(vec![submit(&handle, no_op(&"first".into()))]);
        let blocked = Blocked::default();
        let (spent, ()) = timed(|| {
            let tasks = (0..n).map(|_| submit(&handle, blocked.body(BLOCK)));
            all_completed(tasks.collect());
        });
        times.push(spent);
        threads.push(blocked.threads());
    }
    threads.sort_unstable();
    harness.report(&name, 1, times);
    println!("  threads that ran them: {threads:?}");
}
