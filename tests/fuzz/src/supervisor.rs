//! Builders out of bytes: whatever they say, `start` gives a supervisor or a typed error, and what
//! is handed to that supervisor comes back or gets its outcome, while every event is one line.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, RunReport, StartError, SubmitError, SupervisorBuilder};

use crate::bytes::Bytes;
use crate::line::pairs;
use crate::settings::{check_fault, defaults, spec, Made};

type Events = Arc<Mutex<Vec<Event>>>;

/// Builds a supervisor, uses it and shuts it down.
///
/// # Panics
/// If it does not keep what it promises.
pub fn supervisor(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let events = Events::default();
    let (builder, faults, odd_threads) = builder(&mut bytes, &events);
    let _ = format!("{builder:?}");
    let supervisor = match builder.start() {
        Ok(supervisor) => supervisor,
        Err(StartError::Invalid(error)) => return check_fault(&error, &faults, None),
        Err(StartError::Thread { .. }) if odd_threads => return,
        Err(error) => panic!("{error}"),
    };
    assert!(faults.is_empty(), "{faults:?} went unnoticed");
    let mut tasks = Vec::new();
    for _ in 0..bytes.byte() % 6 {
        use_it(&mut bytes, &supervisor.handle(), &mut tasks);
    }
    if bytes.seldom() {
        let made = spec(&mut bytes);
        supervisor.handle().request_shutdown();
        look_at_run(supervisor.run([made.spec]));
    } else if bytes.seldom() {
        look_at_run(Ok(supervisor.drain(Duration::ZERO).expect("on a thread of my own")));
    } else {
        let report = supervisor.shutdown().expect("on a thread of my own").shutdown;
        let _ = format!("{report} {report:?} {supervisor:?}");
    }
    for task in tasks {
        let outcome = task.outcome().unwrap_or_else(|| panic!("{task:?} has no outcome"));
        let _ = format!("{outcome} {outcome:?} {:?}", task.wait_decided());
        assert!(!task.skip_wait() && !task.restart() && !task.pause() && !task.resume());
        assert!(!task.set_interval(Duration::MAX));
    }
    let events = events.lock().expect("nobody panics");
    events.iter().for_each(look_at_event);
}

fn builder(bytes: &mut Bytes<'_>, events: &Events) -> (SupervisorBuilder, Vec<&'static str>, bool) {
    let mut sizes = [1024, 1000, 100, 16, 64, 4096];
    let mut lane = None;
    let mut odd_threads = false;
    let mut faults = Vec::new();
    // Bodies that ignore their tokens there are not, so nobody waits for a grace to end.
    let mut builder = Supervisor::builder();
    for _ in 0..bytes.byte() % 12 {
        builder = match bytes.byte() % 12 {
            which @ 0..=5 => {
                sizes[usize::from(which)] = bytes.size();
                builder
            }
            6 => builder.max_concurrent(None).seed(bytes.number()),
            7 => builder.grace(bytes.span()),
            8 => builder.thread_name(bytes.text()).prespawn(bytes.below(3)),
            9 => {
                odd_threads = true;
                builder.stack_size(bytes.size())
            }
            10 => {
                let refused = bytes.seldom();
                let answer = move || if refused { Err(io::Error::other("no")) } else { Ok(()) };
                builder.on_thread_start(answer).on_thread_stop(|| ())
            }
            _ => {
                let (values, wrong) = defaults(bytes);
                faults = wrong;
                builder.defaults(values)
            }
        };
    }
    if bytes.seldom() {
        let capacity = bytes.size();
        lane = Some(capacity);
        builder = builder.dedicated_subscriber(LogEvents::new(), capacity);
    }
    let [concurrent, tasks, queue, abandoned, intake, capacity] = sizes;
    builder = builder.max_concurrent(concurrent).max_tasks(tasks).max_slot_queue(queue);
    builder = builder.max_abandoned(abandoned).intake_capacity(intake).event_capacity(capacity);
    let mut wrong = |zero: bool, field| faults.extend(zero.then_some(field));
    wrong(concurrent == 0, "max_concurrent");
    wrong(tasks == 0, "max_tasks");
    wrong(queue == 0, "max_slot_queue");
    wrong(intake == 0 || intake > 1 << 20, "intake_capacity");
    wrong(capacity == 0, "event_capacity");
    wrong(lane == Some(0), "dedicated_subscriber");
    let events = Arc::clone(events);
    let keep = move |event: &Event| events.lock().expect("nobody panics").push(event.clone());
    (builder.on_event(keep), faults, odd_threads)
}

fn use_it(bytes: &mut Bytes<'_>, handle: &SupervisorHandle, tasks: &mut Vec<TaskHandle>) {
    let policies = [
        AdmissionPolicy::Queue,
        AdmissionPolicy::Replace,
        AdmissionPolicy::DropIfRunning,
        AdmissionPolicy::KeepLatest,
    ];
    match bytes.byte() % 10 {
        0 | 1 => {
            let made = spec(bytes);
            made.check();
            let (name, faults) = (made.name, made.faults);
            match handle.submit(made.spec, bytes.pick(&policies)) {
                Ok(task) => keep(task, &name, &faults, tasks),
                Err(SubmitError::Invalid { error, spec }) => {
                    check_fault(&error, &faults, Some(&name));
                    assert_eq!(spec.name(), name);
                }
                // A task with `shutdown_on_end` may have ended already.
                Err(SubmitError::Closed { spec }) => assert_eq!(spec.name(), name),
                Err(error) => panic!("{error}"),
            }
        }
        2 | 3 => {
            let made = spec(bytes);
            let (name, faults) = (made.name, made.faults);
            match handle.add(made.spec) {
                Ok(task) => keep(task, &name, &faults, tasks),
                Err(error) => {
                    look_at(&error);
                    assert_eq!(error.into_spec().name(), name);
                }
            }
        }
        4 => {
            let made: Vec<_> = (0..bytes.below(4)).map(|_| spec(bytes)).collect();
            let names: Vec<_> = made.iter().map(|made| made.name.clone()).collect();
            match handle.add_all(made.into_iter().map(|made| made.spec)) {
                Ok(added) => {
                    assert!(added.iter().map(TaskHandle::name).eq(names));
                    tasks.extend(added);
                }
                Err(error) => {
                    look_at(&error);
                    let back = error.into_spec();
                    assert!(back.iter().map(TaskSpec::name).eq(names));
                }
            }
        }
        5 => {
            let made = spec(bytes);
            tasks.extend(handle.try_submit(made.spec, bytes.pick(&policies)).ok());
        }
        6 => {
            let key = bytes.text();
            let _ = format!("{:?} {:?}", handle.cancel_slot(&key), handle.owner(&key));
        }
        7 => {
            let snapshot = handle.snapshot();
            let _ = snapshot.map(|snapshot| format!("{snapshot:?} {}", snapshot.is_healthy()));
        }
        8 => drop(handle.flush_events()),
        _ if tasks.is_empty() => {}
        _ => {
            let task = &tasks[bytes.below(tasks.len())];
            match bytes.byte() % 8 {
                0 => task.cancel(),
                1 => drop(task.skip_wait()),
                2 => drop(task.restart()),
                3 => drop(task.wait_timeout(Duration::ZERO)),
                4 => drop(task.pause()),
                5 => drop(task.resume()),
                6 => drop(task.set_interval(bytes.span())),
                _ => drop(format!("{task:?} {} {:?}", task.state(), handle.task(task.id()))),
            }
        }
    }
}

fn keep(task: TaskHandle, name: &str, faults: &[&str], tasks: &mut Vec<TaskHandle>) {
    assert!(faults.is_empty(), "{faults:?} of {name:?} went unnoticed");
    assert_eq!(task.name(), name);
    tasks.push(task);
}

fn look_at<S: AsRef<[TaskSpec]>>(error: &AddError<S>) {
    let _ = format!("{error} {error:?}");
}

fn look_at_run(result: Result<RunReport, AddError<Vec<TaskSpec>>>) {
    match result {
        Ok(report) => drop(format!("{report} {report:?} {:?}", report.exit_code())),
        Err(error) => {
            look_at(&error);
            assert_eq!(error.into_spec().len(), 1);
        }
    }
}

fn look_at_event(event: &Event) {
    let _ = format!("{event:?} {}", event.kind);
    let pairs = pairs(&event.to_string());
    let value = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    assert_eq!(value("event"), Some(event.kind.label()));
    if let Some(task) = &event.task {
        assert_eq!(value("task"), Some(&*task.name), "{event}");
        let slot = task.slot.as_deref().filter(|slot| *slot != &*task.name);
        assert_eq!(value("slot"), slot, "{event}");
    }
    if let EventKind::AttemptFailed { error, .. } = &event.kind {
        assert_eq!(value("error"), Some(error.to_string().as_str()));
    }
}
