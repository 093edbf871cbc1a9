//! Subscribers: events in one order, panics contained, and nobody waits for them. Losses are in
//! `losses`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::WaitError;

use crate::support::{
    in_time, next, no_op, on_thread, outcome_of, resident, thread_name, Gate, Trace,
};

pub(crate) fn run_tasks(handle: &SupervisorHandle, count: usize) {
    for n in 0..count {
        assert!(outcome_of(&handle.add(no_op(&format!("task {n}"))).unwrap()).is_success());
    }
}

pub(crate) fn is_overflow(event: &Event) -> bool {
    matches!(event.kind, EventKind::SubscriberOverflow { .. })
}

#[test]
fn events_come_in_one_causal_order_without_gaps() {
    let trace = Trace::default();
    let other = Trace::default();
    let (tell, told) = unbounded();
    let supervisor = Supervisor::builder()
        .subscriber(trace.clone())
        .dedicated_subscriber(other.clone(), 10_000)
        .dedicated_on_event(move |event| tell.send(event.seq).unwrap(), 10_000)
        .event_capacity(10_000)
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let specs = (0..50).map(|n| {
        let mut left = n % 3;
        let body = move |_: &TaskContext| {
            if left > 0 {
                left -= 1;
                return Err("again".into());
            }
            Ok(())
        };
        TaskSpec::new(format!("task {n}"), body)
            .backoff(BackoffPolicy::constant(Duration::from_millis(1)))
    });
    let tasks = handle.add_all(specs).unwrap();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
    supervisor.shutdown().unwrap();

    let events = trace.events();
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.windows(2).all(|pair| pair[0].since_start <= pair[1].since_start));
    for (n, task) in tasks.iter().enumerate() {
        let mut story = vec!["submitted", "admitted"];
        for _ in 0..n % 3 {
            story.extend(["attempt_starting", "attempt_failed", "retry_scheduled"]);
        }
        story.extend(["attempt_starting", "attempt_succeeded", "task_ended"]);
        assert_eq!(trace.labels(Some(task)), story);
    }
    // Every lane tells the same story.
    assert_eq!(told.iter().collect::<Vec<_>>(), seqs);
    assert_eq!(other.labels(None), trace.labels(None));
    assert_eq!(trace.labels(None).last(), Some(&"shutdown_ended"));
}

/// Panics at every event with a payload whose destructor panics as well.
struct Panics {
    name: Option<&'static str>,
}

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("a subscriber's destructor");
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a payload's destructor"));
    }
}

impl Subscribe for Panics {
    fn on_event(&mut self, event: &Event) {
        if event.seq % 2 == 0 {
            std::panic::panic_any(Bomb);
        }
        std::panic::resume_unwind(Box::new("a callback's own"));
    }

    fn name(&self) -> &str {
        self.name.unwrap_or_else(|| panic!("a name's own"))
    }
}

#[test]
fn a_panicking_subscriber_is_reported_stays_subscribed_and_disturbs_nobody() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder()
        .subscriber(Panics { name: Some("clumsy") })
        .subscriber(trace.clone())
        .dedicated_subscriber(Panics { name: None }, 1000)
        .start()
        .unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 5);
    // Once for the events, once for the reports about them; the other lane's may be under way.
    handle.flush_events().unwrap();
    handle.flush_events().unwrap();
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.events_dropped, 0);

    let events = trace.events();
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    let mut reports = HashMap::new();
    for event in &events {
        if let EventKind::SubscriberPanicked { subscriber, message } = &event.kind {
            assert!(["a callback's own", "a panic without a text"].contains(&&**message));
            *reports.entry(subscriber.to_string()).or_insert(0) += 1;
        }
    }
    // 25 of the tasks, and no report of a panic at a report. Those of the shutdown come too late.
    assert_eq!(reports.remove("clumsy"), Some(25), "{reports:?}");
    assert!(reports.len() <= 1, "{reports:?}");
    assert!(reports.into_values().all(|count| count <= 25));
}

struct Call<F>(F);

impl<F: FnMut(&Event) + Send> Subscribe for Call<F> {
    fn on_event(&mut self, event: &Event) {
        (self.0)(event);
    }
}

#[test]
fn each_lane_has_a_thread_of_its_own_that_runs_nothing_else() {
    let (tell, told) = unbounded();
    let name = move |lane: &'static str| {
        let tell = tell.clone();
        move |_: &Event| drop(tell.send((lane, thread_name())))
    };
    let supervisor = Supervisor::builder()
        .thread_name("x")
        .on_event(name("shared"))
        .on_event(name("shared"))
        .dedicated_subscriber(Call(name("own")), 100)
        .start()
        .unwrap();
    run_tasks(&supervisor.handle(), 3);
    in_time(move || drop(supervisor));
    drop(name);
    let told: Vec<_> = told.iter().collect();
    assert!(told.contains(&("shared", "ev-x".to_owned())), "{told:?}");
    assert!(told.contains(&("own", "ev1-x".to_owned())), "{told:?}");
    assert!(told.iter().all(|(lane, thread)| (*lane == "own") == (thread == "ev1-x")));
}

#[test]
fn a_blocked_dedicated_subscriber_delays_nobody() {
    let (mut gate, trace) = (Gate::new(), Trace::default());
    let hold = gate.hold();
    let supervisor = Supervisor::builder()
        .dedicated_subscriber(Call(move |_: &Event| hold()), 1)
        .subscriber(trace.clone())
        .start()
        .unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 1);
    gate.wait_entered();
    run_tasks(&handle, 20);
    in_time({
        let handle = handle.clone();
        move || handle.flush_events().unwrap()
    });
    assert_eq!(trace.labels(None).len(), 21 * 5);
    gate.open();
    assert!(
        supervisor.shutdown().unwrap().shutdown.events_dropped > 0,
        "its own lane held one event"
    );
}

#[test]
fn a_blocked_subscriber_delays_no_task_and_no_request() {
    let gate = Gate::new();
    let hold = gate.hold();
    let supervisor =
        Supervisor::builder().event_capacity(2).on_event(move |_| hold()).start().unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 1);
    gate.wait_entered();
    run_tasks(&handle, 200);
    let resident = handle.add(resident("resident")).unwrap();
    assert_eq!(handle.snapshot().unwrap().tasks.len(), 1);
    resident.cancel();
    let _ = outcome_of(&resident);
    drop(gate);
}

#[test]
fn after_a_flush_everything_before_it_was_called_back() {
    let trace = Trace::default();
    let supervisor = Supervisor::builder().subscriber(trace.clone()).start().unwrap();
    let handle = supervisor.handle();
    handle.flush_events().unwrap();
    for n in 1..=200 {
        run_tasks(&handle, 1);
        handle.flush_events().unwrap();
        assert_eq!(trace.labels(None).len(), 5 * n);
    }
    let silent = Supervisor::builder().start().unwrap();
    run_tasks(&silent.handle(), 1);
    assert_eq!(in_time(move || silent.handle().flush_events()), Ok(()));
}

/// Nothing else happens until the watchdog of the test.
#[test]
fn an_event_needs_no_other_message_to_be_called_back() {
    let (tell, told) = unbounded();
    let heard = move |event: &Event| tell.send(event.kind.label()).unwrap();
    let supervisor = Supervisor::builder().on_event(heard).start().unwrap();
    let spec = no_op("later").initial_delay(Duration::MAX);
    let _task = supervisor.handle().submit(spec, AdmissionPolicy::Queue).unwrap();
    assert_eq!([next(&told), next(&told)], ["submitted", "admitted"]);
}

#[test]
fn losses_after_a_flush_do_not_end_it_early() {
    // Each callback needs a permission of its own.
    let (permit, permits) = unbounded::<()>();
    let (enter, entered) = unbounded();
    let returned = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&returned);
    let supervisor = Supervisor::builder()
        .event_capacity(4)
        .on_event(move |event| {
            let _ = enter.send(event.seq);
            let _ = permits.recv();
            if !is_overflow(event) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
        .start()
        .unwrap();
    let handle = supervisor.handle();
    handle.add(resident("a")).unwrap();
    assert_eq!(next(&entered), 1);
    // At least two more events lie in the lane by then.
    handle.add(resident("b")).unwrap();
    handle.snapshot().unwrap();
    let (tell, begun) = bounded(1);
    let flushed = on_thread({
        let (handle, returned) = (handle.clone(), Arc::clone(&returned));
        move || {
            tell.send(()).unwrap();
            handle.flush_events().unwrap();
            returned.load(Ordering::SeqCst)
        }
    });
    next(&begun);
    // Gives the flush ample time to be registered, and loses events behind it.
    for n in 0..200 {
        handle.submit(no_op(&format!("b {n}")), AdmissionPolicy::Queue).unwrap();
        handle.snapshot().unwrap();
    }
    permit.send(()).unwrap();
    // The report of the loss, then the first event that waited.
    next(&entered);
    permit.send(()).unwrap();
    next(&entered);
    let early = flushed.recv_timeout(Duration::from_millis(100));
    assert!(early.is_err(), "flushed after {early:?} of 3 callbacks");
    drop(permit);
    assert!(next(&flushed) >= 3);
}

#[test]
fn a_flush_ends_with_its_supervisor_even_if_a_subscriber_never_returns() {
    let gate = Gate::new();
    let hold = gate.hold();
    let supervisor = Supervisor::builder().on_event(move |_| hold()).start().unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 1);
    gate.wait_entered();
    let (tell, begun) = bounded(1);
    let flushed = on_thread({
        let handle = handle.clone();
        move || {
            tell.send(()).unwrap();
            handle.flush_events()
        }
    });
    next(&begun);
    // Gives the flush time to be registered.
    for _ in 0..200 {
        handle.snapshot().unwrap();
    }
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert!(report.events_dropped > 0, "{report}");
    // The events were counted as dropped, so the wait for them is over.
    assert_eq!(next(&flushed), Err(WaitError::Closed));
    drop(gate);
}

#[test]
fn a_blocked_subscriber_delays_the_end_by_the_flush_only_and_its_events_are_counted() {
    let mut gate = Gate::new();
    let hold = gate.hold();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (list, (closed, end)) = (Arc::clone(&seen), bounded::<()>(0));
    let supervisor = Supervisor::builder()
        .on_event(move |event| {
            let _open_until_dropped = &closed;
            hold();
            list.lock().unwrap().push(event.seq);
        })
        .start()
        .unwrap();
    run_tasks(&supervisor.handle(), 10);
    gate.wait_entered();
    let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(report.abandoned.len(), 0);
    // 50 of the tasks and 2 of the shutdown; not even the first was called back to its end.
    assert_eq!(report.events_dropped, 52);
    gate.open();
    assert!(end.recv_timeout(crate::support::WATCHDOG).is_err_and(|e| e.is_disconnected()));
    // What was counted as dropped does not come after all, but for the one under way.
    assert_eq!(*seen.lock().unwrap(), [1]);
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_subscriber_there_is_no_lane_and_no_thread_for_one() {
    let supervisor = Supervisor::builder().thread_name("silent").start().unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 1);
    let _ = outcome_of(&handle.add(TaskSpec::once("fails", |_| Err("no".into()))).unwrap());
    let names: Vec<_> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .collect();
    assert!(names.iter().any(|name| name.trim() == "ctl-silent"), "{names:?}");
    assert!(!names.iter().any(|name| name.trim() == "ev-silent"), "{names:?}");
    assert_eq!(supervisor.shutdown().unwrap().shutdown.events_dropped, 0);
}

/// Reads a line of `key=value` pairs, values with other signs than usual in quotes.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap_or_else(|| panic!("{rest:?} of {line}"));
        assert!(
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{line}"
        );
        let end = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let close = quoted.find(|c| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                close.unwrap_or_else(|| panic!("an open quote in {line}")) + 2
            }
            None => after.find(' ').unwrap_or(after.len()),
        };
        let (value, left) = after.split_at(end);
        assert!(!value.is_empty(), "{line}");
        fields.push((key.to_owned(), value.to_owned()));
        rest = match left.strip_prefix(' ') {
            Some(more) => more,
            None if left.is_empty() => "",
            None => panic!("{left:?} of {line}"),
        };
    }
    fields
}

const NASTY: &str = "a b=\"c\"\nd\\";

#[test]
fn every_event_is_one_line_of_key_and_value() {
    let mut gate = Gate::new();
    let (hold, trace) = (gate.hold(), Trace::default());
    let supervisor = Supervisor::builder()
        .subscriber(Panics { name: Some("clumsy \n one") })
        .subscriber(trace.clone())
        .max_concurrent(2)
        .start()
        .unwrap();
    let handle = supervisor.handle();
    let ms = Duration::from_millis(1);
    let nasty = |n: u32| TaskSpec::new(format!("{NASTY}{n}"), |_| Err(NASTY.into())).slot(NASTY);
    let _ = outcome_of(
        &handle.add(nasty(1).max_retries(1).backoff(BackoffPolicy::constant(ms))).unwrap(),
    );
    let panics = TaskSpec::once("p", |_| std::panic::resume_unwind(Box::new(NASTY)));
    let _ = outcome_of(&handle.add(panics).unwrap());
    let late = TaskSpec::once("late", |ctx| {
        ctx.sleep(Duration::MAX).unwrap_err();
        Err(NASTY.into())
    });
    let _ = outcome_of(&handle.add(late.timeout(ms)).unwrap());
    let stuck = TaskSpec::once(NASTY, move |_| {
        hold();
        Err(NASTY.into())
    });
    let stuck = handle.add(stuck.grace(Duration::ZERO)).unwrap();
    gate.wait_entered();
    let queued = handle.submit(no_op("q").slot(NASTY), AdmissionPolicy::Queue).unwrap();
    let _ =
        outcome_of(&handle.submit(no_op("d").slot(NASTY), AdmissionPolicy::DropIfRunning).unwrap());
    stuck.cancel();
    let _ = outcome_of(&stuck);
    let holder = handle.add(resident("holder")).unwrap();
    let ready = handle.add(no_op("runnable")).unwrap();
    gate.open();
    let _ = outcome_of(&queued);
    let _ = outcome_of(&ready);
    let ticks = handle.add(TaskSpec::new("ticks", |_| Ok(())).repeat_after(ms)).unwrap();
    let _ = outcome_of(&handle.add(TaskSpec::new("t", |_| Err(TaskError::cancelled()))).unwrap());
    while !trace.labels(Some(&ticks)).contains(&"run_scheduled") {
        handle.flush_events().unwrap();
    }
    holder.cancel();
    supervisor.shutdown().unwrap();

    let events = trace.events();
    let mut seen: Vec<_> = events.iter().map(|event| event.kind.label()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 21, "{seen:?}");
    for event in &events {
        let line = event.to_string();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let fields = fields(&line);
        assert_eq!(fields[0].0, "t");
        assert_eq!(fields[1], ("event".to_owned(), event.kind.label().to_owned()));
        let keys: Vec<_> = fields.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.contains(&"task"), event.task.is_some(), "{line}");
        let mut unique = keys.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), keys.len(), "{line}");
    }
}
