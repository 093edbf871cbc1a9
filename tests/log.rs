//! What is logged: everything by `LogEvents`, failures if nobody subscribed, what the end leaks,
//! and nothing else. The logger belongs to the process, hence a program of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use threadvisor::crossbeam_channel::{after, bounded, Receiver};
use threadvisor::prelude::*;

struct Line {
    level: Level,
    target: String,
    text: String,
}

#[derive(Default)]
struct Logger {
    lines: Mutex<Vec<Line>>,
    /// Blocks the lane of the supervisor named `blocked`, and the workers of another, until it
    /// disconnects.
    gate: Mutex<Option<Receiver<()>>>,
}

static LOGGER: Logger = Logger { lines: Mutex::new(Vec::new()), gate: Mutex::new(None) };
static TURN: Mutex<()> = Mutex::new(());

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        if name == "ev-blocked" || name.ends_with(BLOCKED_WORKERS) {
            let gate = self.gate.lock().unwrap().clone();
            let _ = gate.map(|gate| gate.recv());
            // What it says comes too late for its own test.
            return;
        }
        assert_ne!(thread::current().name(), Some(NO_LOGGING));
        let (level, target) = (record.level(), record.target().to_owned());
        let line = Line { level, target, text: record.args().to_string() };
        self.lines.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// A supervisor whose workers block when they log.
const BLOCKED_WORKERS: &str = "stands";

/// On a thread of this name the logger panics.
const NO_LOGGING: &str = "no logging";

/// One test at a time, and an empty log.
fn begin(max: LevelFilter) -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(max);
    LOGGER.lines.lock().unwrap().clear();
    turn
}

/// The levels and texts of what this crate has logged.
fn logged() -> Vec<(Level, String)> {
    let lines = LOGGER.lines.lock().unwrap();
    let own = lines.iter().filter(|line| line.target == "threadvisor");
    own.map(|line| (line.level, line.text.clone())).collect()
}

/// Fails three times, recovers, fails once more at last.
fn run_failing_tasks(handle: &SupervisorHandle) {
    let retried = TaskSpec::new("retried", |ctx| match ctx.attempt() {
        1..=3 => Err(format!("failure {}", ctx.attempt()).into()),
        _ => Ok(()),
    });
    let fast = BackoffPolicy::constant(Duration::from_millis(1));
    assert!(handle.add(retried.backoff(fast)).unwrap().wait().unwrap().is_success());
    let hopeless = TaskSpec::once("hopeless", |_| Err(TaskError::fatal("no device")));
    assert!(handle.add(hopeless).unwrap().wait().unwrap().is_failure());
    let fine = TaskSpec::once("fine", |_| Ok(()));
    assert!(handle.add(fine).unwrap().wait().unwrap().is_success());
    let _ = handle.flush_events();
}

#[test]
fn without_a_subscriber_the_first_failure_of_a_streak_and_failed_outcomes_are_logged() {
    let _turn = begin(LevelFilter::Trace);
    let supervisor = Supervisor::builder().start().unwrap();
    run_failing_tasks(&supervisor.handle());
    supervisor.shutdown().unwrap();
    let lines = logged();
    let of = |start: &str| {
        let texts = lines.iter().map(|(_, text)| text.as_str());
        texts.filter(|text| text.contains(start)).collect::<Vec<_>>()
    };
    let failures = of("event=attempt_failed task=retried");
    assert!(matches!(failures[..], [first] if first.contains("failure 1")), "{lines:?}");
    let ends = of("event=task_ended task=hopeless");
    assert!(matches!(ends[..], [end] if end.contains("outcome=fatal")), "{lines:?}");
    // A failure that ends its task is logged once.
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|(level, _)| *level <= Level::Warn), "{lines:?}");
}

/// A resident body has no success that could end its streak, but it may run for long.
#[test]
fn without_a_subscriber_the_first_failure_after_a_stable_moment_is_logged_again() {
    const STABLE: Duration = Duration::from_millis(2);
    let _turn = begin(LevelFilter::Trace);
    let supervisor = Supervisor::builder().start().unwrap();
    let link = TaskSpec::new("link", |ctx| {
        if ctx.attempt() > 1 {
            ctx.sleep(STABLE)?;
        }
        if ctx.attempt() > 3 {
            Err(TaskError::cancelled())
        } else {
            Err("no carrier".into())
        }
    });
    let fast = BackoffPolicy::constant(Duration::from_millis(1));
    let link = link.restart(RestartPolicy::Always).backoff(fast).stable_after(STABLE);
    let _ = supervisor.handle().add(link).unwrap().wait().unwrap();
    supervisor.shutdown().unwrap();
    let lines = logged();
    let failures = lines.iter().filter(|(_, text)| text.contains("event=attempt_failed"));
    assert_eq!(failures.count(), 3, "{lines:?}");
}

#[test]
fn without_a_subscriber_a_group_that_stops_because_of_a_member_is_logged() {
    let _turn = begin(LevelFilter::Trace);
    let supervisor = Supervisor::builder().start().unwrap();
    let resident = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let well = GroupSpec::new("well").then(resident("a"));
    assert!(supervisor.handle().add_group(well).unwrap().wait_ready(Duration::MAX).unwrap());
    let hopeless = TaskSpec::new("driver", |_| Err(TaskError::fatal("no port"))).step();
    let line = GroupSpec::new("line").then(hopeless).then(resident("reader"));
    let _ = supervisor.handle().add_group(line).unwrap().wait().unwrap();
    supervisor.shutdown().unwrap();
    let lines = logged();
    let of_groups = lines.iter().filter(|(_, text)| text.contains("event=group_"));
    let of_groups: Vec<_> = of_groups.collect();
    let [(Level::Warn, text)] = of_groups[..] else { panic!("{lines:?}") };
    let text = text.split_once(' ').unwrap().1;
    assert!(
        text.starts_with("event=group_stopping group=line why=group culprit=driver "),
        "{text}"
    );
}

#[test]
fn a_member_is_warned_of_whose_word_orders_nothing_or_who_completes_after_it() {
    let _turn = begin(LevelFilter::Warn);
    let supervisor = Supervisor::builder().on_event(|_| {}).start().unwrap();
    let body = |ctx: &TaskContext| {
        ctx.ready();
        ctx.ready();
        ctx.check()?;
        if ctx.attempt() < 3 {
            Err("again".into())
        } else {
            Ok(())
        }
    };
    let task = |name| {
        let spec = TaskSpec::new(name, body);
        spec.backoff(BackoffPolicy::constant(Duration::from_millis(1)))
    };
    let awaited = task("awaited").ready_within(Duration::from_secs(60));
    let line = GroupSpec::new("line").then(awaited).then(task("for nothing"));
    let line = supervisor.handle().add_group(line).unwrap();
    let alone = supervisor.handle().add(task("alone")).unwrap();
    assert!(line.wait().unwrap().iter().all(Outcome::is_success));
    assert!(alone.wait().unwrap().is_success());
    supervisor.shutdown().unwrap();
    let mut said = logged();
    said.sort_by(|(_, a), (_, b)| a.cmp(b));
    let texts = [
        "task awaited was ready and has completed, and group line goes on without it: if it must \
         not end, set restart(Always)",
        "task for nothing of group line has said that it is ready, but no phase waits for that: \
         set ready_within",
        "task for nothing was ready and has completed, and group line goes on without it: if it \
         must not end, set restart(Always)",
    ];
    assert_eq!(said, texts.map(|text| (Level::Warn, text.to_owned())));
}

#[cfg(unix)]
#[test]
fn a_watchdog_that_comes_after_that_of_the_service_manager_is_warned_of() {
    const SECOND: Duration = Duration::from_secs(1);
    let _turn = begin(LevelFilter::Warn);
    let service = ServiceManager::socket("/nowhere", 30 * SECOND);
    let supervisor = Supervisor::builder().service_manager(service).start().unwrap();
    let add = |name, watchdog, required| {
        let spec = TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?)).watchdog(watchdog);
        let spec = if required { spec.required() } else { spec };
        supervisor.handle().add(spec).unwrap().wait_started().unwrap();
    };
    add("soon", 14 * SECOND, true);
    add("unwatched", 20 * SECOND, false);
    add("la\nte", 15 * SECOND, true);
    wait_for_warning(
        "the watchdog of the required task la\\nte, 15.000 s, is not below half of the service \
         manager's, which may act before the task's own remedy: set a shorter one",
    );
    let lines = logged();
    let warnings = lines.iter().filter(|(_, text)| text.starts_with("the watchdog"));
    assert_eq!(warnings.count(), 1, "{lines:?}");
}

#[test]
fn that_abandoned_attempts_are_no_longer_released_is_warned_of_once() {
    let _turn = begin(LevelFilter::Warn);
    let (open, gate) = bounded::<()>(0);
    let builder = Supervisor::builder().max_abandoned(1).grace(Duration::from_millis(50));
    let supervisor = builder.start().unwrap();
    let add = |name: &'static str| {
        let gate = gate.clone();
        let spec = TaskSpec::once(name, move |_| {
            let _ = gate.recv();
            Ok(())
        });
        let spec = spec.grace(Duration::ZERO).abandon_policy(AbandonPolicy::Release);
        supervisor.handle().add(spec).unwrap()
    };
    let stuck = ["released", "held", "held as well"].map(add);
    for task in stuck {
        task.wait_started().unwrap();
        task.cancel();
        let _ = task.wait().unwrap();
    }
    let text = "max_abandoned, 1, are stuck: abandoned attempts are no longer released, but hold \
                their slots and permits until they return";
    wait_for_warning(text);
    drop((supervisor, open));
    assert_eq!(logged().iter().filter(|(_, line)| line == text).count(), 1, "{:?}", logged());
}

#[cfg(all(unix, feature = "process"))]
#[test]
fn a_program_that_goes_into_the_background_is_warned_of_once() {
    let _turn = begin(LevelFilter::Warn);
    let supervisor = Supervisor::builder().on_event(|_| ()).start().unwrap();
    let run = |name: &'static str, script: &str| {
        let program = Program::new("sh").args(["-c", script]);
        let spec = TaskSpec::process(name, program).restart(RestartPolicy::Always);
        let task = supervisor.handle().add(spec).unwrap();
        while supervisor.handle().snapshot().unwrap().task(task.id()).unwrap().attempt < 3 {}
        task.cancel();
        let _ = task.wait().unwrap();
    };
    run("alone", "exit 0");
    assert_eq!(logged(), []);
    // Its first process does not get so far.
    let flag = std::env::temp_dir().join(format!("threadvisor-daemon-{}", std::process::id()));
    let flag = flag.display();
    run("daemon", &format!("[ -e {flag} ] || {{ touch {flag}; exit 1; }}; sleep 1000 & exit 0"));
    std::fs::remove_file(flag.to_string()).unwrap();
    let text = "the process of daemon#2 has ended at once, and what it has left in the background \
                is killed: run it in the foreground, or leave_helpers";
    assert_eq!(logged(), [(Level::Warn, text.to_owned())]);
}

/// Its body returns `Ok`, so nothing else would tell of it.
#[cfg(all(unix, feature = "process"))]
#[test]
fn without_a_subscriber_a_helper_that_must_be_killed_is_logged() {
    let _turn = begin(LevelFilter::Warn);
    let supervisor = Supervisor::builder().start().unwrap();
    let (tell, told) = bounded(1);
    let script = "(trap '' TERM; echo up; while :; do sleep 0.01; done) & wait";
    let program = Program::new("sh").args(["-c", script]).on_line(move |_, _| {
        let _ = tell.try_send(());
    });
    let program = program.stop_timeout(Duration::from_millis(10));
    let task = supervisor.handle().add(TaskSpec::process("shell", program)).unwrap();
    told.recv().unwrap();
    task.cancel();
    assert!(matches!(task.wait().unwrap(), Outcome::Cancelled { .. }));
    supervisor.handle().flush_events().unwrap();
    let lines = logged();
    assert!(lines.iter().any(|(_, line)| line.contains("process_killed")), "{lines:?}");
}

#[test]
fn without_a_subscriber_and_without_trouble_nothing_is_logged() {
    let _turn = begin(LevelFilter::Trace);
    let supervisor = Supervisor::builder().start().unwrap();
    let cancelled = TaskSpec::new("cancelled", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let cancelled = supervisor.handle().add(cancelled).unwrap();
    cancelled.cancel();
    let _ = cancelled.wait().unwrap();
    supervisor.run([TaskSpec::once("fine", |_| Ok(()))]).unwrap();
    let lines = logged();
    assert!(lines.is_empty(), "{lines:?}");
}

/// A last flush that fails must be seen.
#[test]
fn an_error_that_a_stopped_body_returns_is_logged() {
    let _turn = begin(LevelFilter::Trace);
    for watched in [false, true] {
        LOGGER.lines.lock().unwrap().clear();
        let builder = Supervisor::builder();
        let builder = if watched { builder.subscriber(LogEvents::new()) } else { builder };
        let supervisor = builder.start().unwrap();
        let (tell, told) = bounded(1);
        let writer = TaskSpec::new("writer", move |ctx| {
            tell.send(())?;
            let _ = ctx.sleep(Duration::MAX);
            Err("disk full".into())
        });
        let writer = supervisor.handle().add(writer).unwrap();
        told.recv().unwrap();
        writer.cancel();
        let _ = writer.wait().unwrap();
        supervisor.shutdown().unwrap();
        let text = "text=\"cancelled (stop), the body returned an error: disk full\"";
        let lines = logged();
        let own = |(level, line): &&(Level, String)| *level == Level::Warn && line.ends_with(text);
        assert_eq!(lines.iter().filter(own).count(), 1, "{lines:?}");
        assert!(watched || lines.len() == 1, "{lines:?}");
    }
}

#[test]
fn where_warnings_are_not_wanted_they_are_not_made() {
    let _turn = begin(LevelFilter::Error);
    let supervisor = Supervisor::builder().start().unwrap();
    run_failing_tasks(&supervisor.handle());
    assert_eq!(supervisor.shutdown().unwrap().shutdown.events_dropped, 0);
    let lines = logged();
    assert!(lines.iter().all(|(level, _)| *level == Level::Error), "{lines:?}");
}

/// How many lanes the supervisors of this name have.
#[cfg(target_os = "linux")]
fn lanes(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|it| std::fs::read_to_string(it.path().join("comm")).ok());
    names.filter(|it| it.trim_end() == format!("ev-{name}")).count()
}

#[cfg(target_os = "linux")]
#[test]
fn no_lane_is_started_before_there_is_a_warning_that_somebody_wants() {
    for (max, wanted) in [(LevelFilter::Trace, 1), (LevelFilter::Off, 0)] {
        let _turn = begin(max);
        let supervisor = Supervisor::builder().thread_name("lazy").start().unwrap();
        let tasks = supervisor.handle();
        let fine = TaskSpec::once("fine", |_| Ok(()));
        assert!(tasks.add(fine).unwrap().wait().unwrap().is_success());
        tasks.flush_events().unwrap();
        assert_eq!(lanes("lazy"), 0, "{max}: nothing is to be said");
        run_failing_tasks(&tasks);
        assert_eq!(lanes("lazy"), wanted, "{max}");
        supervisor.shutdown().unwrap();
    }
}

#[test]
fn with_a_subscriber_nothing_is_logged_unasked() {
    let _turn = begin(LevelFilter::Trace);
    let supervisor = Supervisor::builder().on_event(|_| ()).start().unwrap();
    run_failing_tasks(&supervisor.handle());
    supervisor.shutdown().unwrap();
    let lines = logged();
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn log_events_writes_every_event_at_the_level_of_its_weight() {
    let _turn = begin(LevelFilter::Trace);
    let (tell, told) = bounded(1000);
    let supervisor = Supervisor::builder()
        .subscriber(LogEvents::new())
        .on_event(move |event| tell.send(event.to_string()).unwrap())
        .start()
        .unwrap();
    run_failing_tasks(&supervisor.handle());
    drop(supervisor.drain(None).unwrap().shutdown);
    let lines = logged();
    let texts: Vec<_> = lines.iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(texts, told.try_iter().collect::<Vec<_>>());
    for (label, level) in [
        ("submitted", Level::Debug),
        ("attempt_starting", Level::Debug),
        ("attempt_succeeded", Level::Debug),
        ("attempt_failed", Level::Warn),
        ("retry_scheduled", Level::Info),
        ("drain_requested", Level::Info),
        ("shutdown_requested", Level::Info),
    ] {
        let word = format!("event={label} ");
        let mut found = lines.iter().filter(|(_, text)| format!("{text} ").contains(&word));
        assert!(found.clone().count() > 0, "{label}");
        assert!(found.all(|(found, _)| *found == level), "{label}");
    }
    let failed = lines.iter().find(|(_, text)| text.contains("outcome=fatal")).unwrap();
    assert_eq!(failed.0, Level::Error);
}

/// With a subscriber too: there is no event after the end.
#[test]
fn values_for_which_no_thread_could_be_had_are_logged_after_the_end() {
    let _turn = begin(LevelFilter::Trace);
    let refuse = || Err(std::io::ErrorKind::WouldBlock.into());
    let supervisor = Supervisor::builder().on_thread_start(refuse).start().unwrap();
    let value = Box::new(7);
    let never = TaskSpec::once("never", move |_| {
        drop(value);
        Ok(())
    });
    supervisor.handle().add(never).unwrap();
    let leaked = supervisor.shutdown().unwrap().shutdown.values_leaked;
    assert!(leaked > 0);
    wait_for_warning(&format!("{leaked} user values were not dropped in time"));
}

/// Waits for a warning that begins so; it may come after the end.
fn wait_for_warning(text: &str) {
    let late = after(Duration::from_secs(60));
    while !logged().iter().any(|(_, line)| line.starts_with(text)) {
        assert!(late.try_recv().is_err(), "{:?}", logged());
        thread::yield_now();
    }
}

#[test]
fn a_logger_that_blocks_delays_no_task_and_no_end() {
    let _turn = begin(LevelFilter::Trace);
    let (open, gate) = bounded(0);
    *LOGGER.gate.lock().unwrap() = Some(gate);
    let supervisor = Supervisor::builder().thread_name("blocked").start().unwrap();
    let fails = TaskSpec::once("fails", |_| Err("no".into()));
    assert!(supervisor.handle().add(fails).unwrap().wait().unwrap().is_failure());
    let report = supervisor.shutdown().unwrap().shutdown;
    assert!(report.events_dropped > 0, "{report}");
    drop(open);
}

/// A warning about a member is no matter of the thread that the member runs on.
#[test]
fn a_logger_that_blocks_delays_no_body_that_is_warned_of() {
    let _turn = begin(LevelFilter::Warn);
    let (open, gate) = bounded(0);
    *LOGGER.gate.lock().unwrap() = Some(gate);
    let builder = Supervisor::builder().thread_name(BLOCKED_WORKERS).max_concurrent(1);
    let supervisor = builder.on_event(|_| {}).start().unwrap();
    let member = TaskSpec::new("member", |ctx| {
        ctx.ready();
        Ok(())
    });
    let line = supervisor.handle().add_group(GroupSpec::new("line").then(member)).unwrap();
    assert!(line.wait().unwrap()[0].is_success());
    let next = TaskSpec::once("next", |_| Ok(()));
    assert!(supervisor.handle().add(next).unwrap().wait().unwrap().is_success());
    drop(open);
    supervisor.shutdown().unwrap();
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Two panics that meet would end the process.
#[test]
fn a_logger_that_panics_meets_no_other_panic() {
    let _turn = begin(LevelFilter::Warn);
    let unheard = || {
        let value = PanicsWhenDropped;
        TaskSpec::once("unheard", move |_| {
            drop(value);
            Ok(())
        })
    };
    let builder = || thread::Builder::new().name(NO_LOGGING.to_owned());
    let drops = builder().spawn(move || drop(unheard())).unwrap();
    assert!(drops.join().is_ok());
    let unwinds = builder().spawn(move || {
        let _spec = unheard();
        panic!("of its own");
    });
    let message = unwinds.unwrap().join().unwrap_err();
    assert_eq!(message.downcast_ref(), Some(&"of its own"));
    assert_eq!(logged(), []);
}
