//! Real supervisors, drawn.

use threadvisor::crossbeam_channel::bounded;
use threadvisor::ManualClock;

use super::*;
use crate::support::{next, outcome_of, resident, Gate};

#[test]
fn every_attempt_stands_once_with_its_task_and_once_with_its_thread() {
    let (timeline, log) = Timeline::new();
    let supervisor =
        Supervisor::builder().max_concurrent(4).dedicated_subscriber(timeline, 100_000);
    let supervisor = supervisor.start().unwrap();
    let specs = (0..60).map(|n| {
        let body = move |ctx: &TaskContext| match ctx.attempt() {
            attempt if attempt <= n % 3 => Err("again".into()),
            _ => Ok(()),
        };
        TaskSpec::new(format!("task {n}"), body).backoff(BackoffPolicy::constant(ms(1)))
    });
    let expected: usize = (0..60).map(|n| n % 3 + 1).sum();
    let report = supervisor.run(specs.collect::<Vec<_>>()).unwrap();
    assert_eq!(report.outcomes.completed, 60);
    let slices = read(&log);
    assert_eq!(log.dropped(), 0);
    for group in ["slots and tasks", "threads"] {
        let attempts = slices.iter().filter(|it| it.group == group && it.is_attempt());
        assert_eq!(attempts.count(), expected, "{group}");
    }
    let tasks = slices.iter().filter(|it| it.label == "task");
    assert_eq!(tasks.count(), 60);
    assert!(slices.iter().any(|it| it.label == "shutdown"));
    assert!(slices.iter().all(|it| it.args["unfinished"].is_null()));
}

#[test]
fn what_goes_on_is_drawn_as_unfinished_up_to_now() {
    let (timeline, log) = Timeline::new();
    let mut gate = Gate::new();
    let supervisor = Supervisor::builder().subscriber(timeline).grace(ms(1)).start().unwrap();
    let handle = supervisor.handle();
    let running = handle.add(resident("running")).unwrap();
    running.wait_started().unwrap();
    let stuck = handle.add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    stuck.cancel();
    assert_eq!(outcome_of(&stuck).label(), "abandoned");
    handle.flush_events().unwrap();
    let slices = read(&log);
    let open = |label: &str| {
        let found = slices.iter().find(|it| it.label == label && it.args["unfinished"] == true);
        found.unwrap_or_else(|| panic!("{label}: {slices:?}")).clone()
    };
    let (runs, hangs) = (open("runs"), open(STUCK));
    assert_eq!(runs.end, hangs.end, "both go on");
    assert!(hangs.text().starts_with("told: stop"), "{hangs:?}");
    gate.open();
    supervisor.shutdown().unwrap();
}

#[test]
fn it_is_drawn_by_several_threads_at_once_and_after_the_end() {
    let (timeline, log) = Timeline::new();
    let supervisor = Supervisor::builder().subscriber(timeline).start().unwrap();
    let handle = supervisor.handle();
    let writers = (0..2).map(|_| {
        let log = log.clone();
        crate::support::on_thread(move || {
            for _ in 0..5 {
                read(&log);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for n in 0..50 {
        handle.add(no_op(&format!("task {n}"))).unwrap();
    }
    for writer in &writers {
        next(writer);
    }
    supervisor.run([]).unwrap();
    drop(handle);
    let pages = (0..2).map(|_| log.clone());
    let pages: Vec<_> =
        pages.map(|log| crate::support::on_thread(move || read_page(&log))).collect();
    let pages: Vec<_> = pages.iter().map(next).collect();
    assert_eq!(pages[0], pages[1]);
    let mut seen: Vec<_> = pages[0]
        .iter()
        .filter(|it| it.1 == "succeeded" && it.0 == it.2.split('#').next().unwrap())
        .map(|it| it.0.clone())
        .collect();
    let mut expected: Vec<_> = (0..50).map(|n| format!("task {n}")).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "each attempt stands with its task");
    let on_threads = pages[0].iter().filter(|it| it.1 == "succeeded" && it.0.starts_with('w'));
    assert_eq!(on_threads.count(), 50);
    let of_trace: Vec<_> = read(&log).into_iter().map(|it| (it.row.1, it.label)).collect();
    let of_page: Vec<_> = pages[0].iter().map(|it| (it.0.clone(), it.1.clone())).collect();
    assert_eq!(of_trace, of_page, "the trace and the page have the same slices");
}

#[test]
fn with_a_manual_clock_the_picture_has_its_times() {
    let (timeline, log) = Timeline::new();
    let clock = ManualClock::new();
    let supervisor = Supervisor::builder().clock(&clock).subscriber(timeline).start().unwrap();
    let sleeps = TaskSpec::new("sleeps", |ctx| Ok(ctx.sleep(Duration::from_secs(3600))?));
    let task = supervisor.handle().add(sleeps.initial_delay(Duration::from_secs(60))).unwrap();
    clock.advance(Duration::from_secs(3660));
    assert!(outcome_of(&task).is_success());
    supervisor.handle().flush_events().unwrap();
    let slices = read(&log);
    let seconds = |label: &str| {
        let it = slices.iter().find(|it| it.label == label).unwrap();
        (it.start / 1_000_000_000, it.end / 1_000_000_000)
    };
    assert_eq!(seconds("waits to start"), (0, 60));
    assert_eq!(seconds("succeeded"), (60, 3660));
}

/// The lane goes on when it has lost events, and the picture says how many.
#[test]
fn a_lane_that_is_too_small_is_told_of() {
    let (timeline, log) = Timeline::new();
    let (open, gate) = bounded::<()>(0);
    let mut gate = Some(gate);
    let supervisor = Supervisor::builder()
        .event_capacity(4)
        .on_event(move |_| {
            let _ = gate.take().map(|gate| gate.recv());
        })
        .subscriber(timeline)
        .start()
        .unwrap();
    let handle = supervisor.handle();
    for n in 0..50 {
        let _ = outcome_of(&handle.add(no_op(&format!("lost {n}"))).unwrap());
    }
    drop(open);
    handle.flush_events().unwrap();
    let _ = outcome_of(&handle.add(no_op("seen")).unwrap());
    handle.flush_events().unwrap();
    assert!(log.dropped() > 100, "{}", log.dropped());
    let slices = read(&log);
    let seen = slices.iter().find(|it| it.is_attempt() && it.args["task"] == "seen");
    assert_eq!(seen.unwrap().label, "succeeded");
    supervisor.shutdown().unwrap();
}

/// Whatever comes, no more is kept than was allowed.
#[test]
fn no_more_is_kept_than_was_allowed() {
    let (timeline, log) = Timeline::new();
    let supervisor = Supervisor::builder();
    let supervisor =
        supervisor.dedicated_subscriber(timeline.capacity(100), 100_000).start().unwrap();
    let specs = (0..500).map(|n| no_op(&format!("task {n}")).no_slot()).collect::<Vec<_>>();
    supervisor.run(specs).unwrap();
    let spans: std::collections::BTreeSet<_> = read(&log)
        .iter()
        .map(|it| (it.args["id"].as_u64(), it.label.clone(), it.args["attempt"].as_u64()))
        .collect();
    assert!(spans.len() <= 100, "{}", spans.len());
    assert!(log.dropped() >= 900, "{}", log.dropped());
}
