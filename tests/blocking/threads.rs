//! Threads as people need them: their names, stacks and hooks, and what happens when none is to be
//! had.

use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, Sender};
use threadvisor::prelude::*;

use crate::support::{next, no_op, outcome_of, thread_name, Gate};
use crate::{child, deaf, ms, plays, Refusals, Stage};

thread_local! {
    static VISITS: Cell<u32> = const { Cell::new(0) };
}

fn visit() -> u32 {
    VISITS.with(|visits| visits.replace(visits.get() + 1))
}

#[test]
fn a_dedicated_thread_is_fresh_for_each_attempt_and_gone_after_it() {
    struct SaysGoodbye(Sender<thread::ThreadId>);
    impl Drop for SaysGoodbye {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }
    thread_local! {
        static GOODBYE: std::cell::RefCell<Option<SaysGoodbye>> =
            const { std::cell::RefCell::new(None) };
    }
    let stage = Stage::new();
    let (say, said) = unbounded();
    let (leave, left) = unbounded();
    let body = move |ctx: &TaskContext| {
        GOODBYE.with(|place| *place.borrow_mut() = Some(SaysGoodbye(leave.clone())));
        let _ = say.send((thread_name(), thread::current().id(), visit()));
        if ctx.attempt() < 5 {
            return Err("again".into());
        }
        Ok(())
    };
    let again = BackoffPolicy::constant(ms(1));
    let options = ThreadOptions::new().name("modem");
    let task = stage.add(TaskSpec::new("m", body).backoff(again).dedicated_thread(options));
    assert!(outcome_of(&task).is_success());
    let mut ids = Vec::new();
    for (name, id, visits) in said.try_iter() {
        assert_eq!((&*name, visits), ("modem", 0));
        assert!(!ids.contains(&id), "a thread was used twice");
        ids.push(id);
    }
    assert_eq!(ids.len(), 5);
    let mut gone: Vec<_> = (0..5).map(|_| next(&left)).collect();
    gone.retain(|id| !ids.contains(id));
    assert!(gone.is_empty(), "thread-locals are destroyed with each thread");
    // Pooled ones are reused; that is what this is for.
    let seen = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let seen = Arc::clone(&seen);
        let pooled = TaskSpec::once("pooled", move |_| {
            seen.fetch_max(visit() as usize, Ordering::SeqCst);
            Ok(())
        });
        let _ = outcome_of(&stage.add(pooled));
        stage.events();
    }
    assert!(seen.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_dedicated_thread_has_the_stack_that_was_asked_for() {
    #[inline(never)]
    fn fill(depth: usize) -> usize {
        let room = std::hint::black_box([1_u8; 16 * 1024]);
        if depth == 0 {
            return usize::from(room[0]);
        }
        fill(depth - 1) + usize::from(room[depth])
    }
    let stage = Stage::new();
    // More than the usual 2 MiB, of which the body uses 8.
    let deep = TaskSpec::once("deep", |_| {
        assert_eq!(fill(500), 501);
        Ok(())
    });
    let options = ThreadOptions::new().stack_size(32 << 20);
    assert!(outcome_of(&stage.add(deep.dedicated_thread(options))).is_success());
    let stage = Stage::start(Supervisor::builder().stack_size(32 << 20));
    for own in [None, Some(ThreadOptions::new())] {
        let deep = TaskSpec::once("deep", |_| {
            assert_eq!(fill(500), 501);
            Ok(())
        });
        let deep = match own {
            Some(options) => deep.dedicated_thread(options),
            None => deep,
        };
        assert!(outcome_of(&stage.add(deep)).is_success());
    }
}

#[test]
fn names_fit_and_what_tells_threads_apart_comes_first() {
    let long = "a supervisor with a very long näme";
    let stage = Stage::start(Supervisor::builder().thread_name(long));
    let (say, said) = unbounded();
    let mut gate = Gate::new();
    let tell = |name: &str| {
        let (say, hold) = (say.clone(), gate.hold());
        TaskSpec::once(name, move |_| {
            let _ = say.send(thread_name());
            hold();
            Ok(())
        })
    };
    let tasks = [
        stage.add(tell("one")),
        stage.add(tell("two")),
        stage.add(tell("three").dedicated_thread(ThreadOptions::new())),
        stage.add(tell("four").dedicated_thread(ThreadOptions::new().name("übergroße-namen\0"))),
    ];
    let mut names: Vec<_> = tasks.iter().map(|_| next(&said)).collect();
    names.sort();
    assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
    assert_eq!(names.pop().unwrap(), "übergroße-nam");
    let mut starts: Vec<_> = names.iter().map(|name| name.split('-').next().unwrap()).collect();
    assert!(starts.iter().all(|start| start[1..].parse::<u32>().is_ok()), "{names:?}");
    starts.dedup();
    assert_eq!(starts.len(), 3, "{names:?}");
    let workers = stage.snapshot().tasks;
    let mut known: Vec<_> = workers.iter().map(|it| it.thread.clone().unwrap()).collect();
    known.sort();
    assert_eq!(known.len(), 4);
    assert!(names.iter().all(|name| known.iter().any(|it| **it == **name)), "{known:?}");
    gate.open();
}

#[test]
fn start_and_stop_hooks_are_called_in_pairs_on_every_thread_that_runs_user_code() {
    type Log = Arc<Mutex<Vec<(&'static str, thread::ThreadId, String)>>>;
    let log = Log::default();
    let note = |what| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push((what, thread::current().id(), thread_name()))
    };
    let (start, stop) = (note("start"), note("stop"));
    let builder = Supervisor::builder().thread_name("p").prespawn(3).on_thread_stop(stop);
    let stage = Stage::start(builder.on_thread_start(move || {
        start();
        Ok(())
    }));
    let (enter, entered) = unbounded();
    let own = ThreadOptions::new().name("own");
    stage.add(deaf("own", &enter).dedicated_thread(own));
    (0..4).for_each(|n| drop(stage.add(deaf(&format!("pooled {n}"), &enter))));
    for _ in 0..5 {
        next(&entered);
    }
    // Ready to run a body before any user code does.
    let here = Arc::clone(&log);
    let body = move |_: &TaskContext| {
        let id = thread::current().id();
        assert!(here.lock().unwrap().iter().any(|it| it.0 == "start" && it.1 == id));
        Ok(())
    };
    assert!(outcome_of(&stage.add(TaskSpec::once("checks", body))).is_success());
    stage.end();
    let log = log.lock().unwrap();
    let of = |what| {
        let mut ids: Vec<_> =
            log.iter().filter(|it| it.0 == what).map(|it| (&it.2, it.1)).collect();
        ids.sort_by_key(|(name, id)| ((*name).clone(), format!("{id:?}")));
        ids
    };
    assert_eq!(of("start"), of("stop"));
    let names: Vec<_> = of("start").iter().map(|(name, _)| (*name).clone()).collect();
    assert!(names.contains(&"own".to_owned()) && names.contains(&"hook-p".to_owned()), "{names:?}");
    assert!(names.iter().filter(|name| name.starts_with('w')).count() >= 4, "{names:?}");
    assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len());
}

#[test]
fn a_panicking_stop_hook_harms_nobody() {
    let builder = Supervisor::builder();
    let stage = Stage::start(builder.on_thread_stop(|| panic::resume_unwind(Box::new("stop"))));
    let spec = no_op("own").dedicated_thread(ThreadOptions::new());
    assert!(outcome_of(&stage.add(spec)).is_success());
    stage.until("the panic is reported", |event| event.to_string().contains("stop"));
    assert!(outcome_of(&stage.add(no_op("next"))).is_success());
    let (report, _) = stage.end();
    assert!(report.abandoned.is_empty());
}

/// Fails in turn by an error and by a panic.
#[test]
fn a_failing_start_hook_is_a_refused_thread_and_nothing_is_lost() {
    for dedicated in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let builder = Supervisor::builder().on_thread_start(move || {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 | 2 => Err(std::io::Error::other("no priority")),
                1 => panic::resume_unwind(Box::new("no machine")),
                _ => Ok(()),
            }
        });
        let stage = Stage::start(builder);
        let drops = crate::Drops::default();
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let value = drops.value();
                let spec = TaskSpec::once(format!("task {n}"), move |_| {
                    drop(value);
                    Ok(())
                });
                let own = ThreadOptions::new();
                stage.add(if dedicated { spec.dedicated_thread(own) } else { spec })
            })
            .collect();
        for task in &tasks {
            assert!(outcome_of(task).is_success());
        }
        assert_eq!(drops.count(), 10);
        let refused: Vec<_> = stage
            .events()
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::ThreadRefused { error, retry_in } => {
                    assert!(*retry_in >= ms(10) && *retry_in <= ms(1000), "{event}");
                    Some(error.to_string())
                }
                _ => None,
            })
            .collect();
        assert_eq!(refused.len(), 3, "{refused:?}");
        for reason in ["no priority", "no machine"] {
            let text = format!("on_thread_start failed: {reason}");
            assert!(refused.contains(&text), "{refused:?}");
        }
        let starting = tasks.iter().map(|task| stage.seen(task, &["attempt_starting"]).len());
        assert_eq!(starting.collect::<Vec<_>>(), [1; 10]);
    }
}

#[test]
fn what_waits_for_a_refused_thread_can_be_cancelled_expires_and_is_shut_down() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    refusals.begin();
    let stage = Stage::start(builder);
    for dedicated in [false, true] {
        let own = |spec: TaskSpec| {
            if dedicated {
                spec.dedicated_thread(ThreadOptions::new())
            } else {
                spec
            }
        };
        let expires = stage.add(own(no_op("expires").expires_in(ms(30))));
        let cancelled = stage.add(own(no_op("cancelled")));
        let left = stage.add(own(no_op("left")).slot(format!("left {dedicated}")));
        stage.until("a refusal", |event| event.kind.label() == "thread_refused");
        assert_eq!(cancelled.state(), TaskState::Starting);
        cancelled.cancel();
        assert!(matches!(outcome_of(&cancelled), Outcome::Cancelled { .. }));
        assert!(matches!(outcome_of(&expires), Outcome::Rejected(Rejection::Expired)));
        assert!(left.outcome().is_none());
    }
    let (report, events) = stage.end();
    assert_eq!((report.stopped, report.abandoned.len()), (2, 0), "{report}");
    assert!(!events.iter().any(|event| event.kind.label() == "attempt_starting"));
}

#[test]
fn the_hook_thread_is_refused_like_any_other_and_tried_again() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    let stage = Stage::start(builder);
    let (enter, entered) = unbounded();
    let _ = outcome_of(&stage.add(no_op("makes a worker")));
    refusals.begin();
    let task = loop {
        // Its worker may have been on its way to its seat.
        let task = stage.add(deaf("deaf", &enter).no_slot());
        if entered.recv_timeout(Duration::from_secs(5)).is_ok() {
            break task;
        }
        task.cancel();
    };
    stage.until("the hook thread is refused", |event| event.kind.label() == "thread_refused");
    task.cancel();
    stage.until_next("again while a hook waits", |it| it.kind.label() == "thread_refused");
    assert!(task.outcome().is_none(), "no thread, no hook");
    refusals.end();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { .. }));
}

#[test]
fn prespawned_workers_are_there_when_no_thread_can_be_had() {
    let (builder, refusals) = Refusals::of(Supervisor::builder());
    let stage = Stage::start(builder.prespawn(6));
    (0..6).for_each(|_| refusals.wait_started("w"));
    refusals.begin();
    assert_eq!(stage.snapshot().workers.threads, 6);
    let (meet, together) = (Arc::new(std::sync::Barrier::new(6)), unbounded());
    for n in 0..6 {
        let (meet, say) = (Arc::clone(&meet), together.0.clone());
        stage.add(TaskSpec::once(format!("at once {n}"), move |_| {
            meet.wait();
            let _ = say.send(());
            Ok(())
        }));
    }
    for _ in 0..6 {
        next(&together.1);
    }
}

/// The limit is the system's own, so in a process of its own, and not as root, who has none.
#[cfg(target_os = "linux")]
#[test]
fn refusals_by_the_system_are_back_pressure() {
    const PART: &str = "refused";
    if plays(PART) {
        return under_a_limit();
    }
    let Some(before) = unprivileged_with_limit(12) else {
        return println!("skipped: no way to a limited user here");
    };
    let before: Vec<_> = before.iter().map(String::as_str).collect();
    let output = child("threads::refusals_by_the_system_are_back_pressure", PART, &before);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{errors}");
    println!("{said}");
}

#[cfg(target_os = "linux")]
fn under_a_limit() {
    let stage = Stage::start(Supervisor::builder().grace(ms(10_000)));
    let (enter, entered) = unbounded();
    let tasks: Vec<_> = (0..40).map(|n| stage.add(deaf(&format!("deaf {n}"), &enter))).collect();
    let event = stage.until("a refusal", |event| event.kind.label() == "thread_refused");
    println!("{event}");
    // Those that got a thread run; their hooks find one as well, and the others follow.
    for task in &tasks {
        next(&entered);
        let running = tasks.iter().find(|task| task.state() == TaskState::Running);
        running.unwrap_or(task).cancel();
    }
    for task in &tasks {
        assert!(matches!(outcome_of(task), Outcome::Cancelled { .. }), "{:?}", outcome_of(task));
    }
    assert!(outcome_of(&stage.add(no_op("after"))).is_success());
}

/// The words that run a program with a limit on the threads of its user.
#[cfg(target_os = "linux")]
fn unprivileged_with_limit(threads: usize) -> Option<Vec<String>> {
    use std::process::Command;
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let limit = format!("prlimit --nproc={threads}:{threads}");
    // The limit counts all processes of a user, so this one is nobody else's.
    let user = 100_000 + std::process::id();
    let user = format!("setpriv --reuid={user} --regid={user} --clear-groups");
    for way in [format!("{limit} {user}"), limit] {
        let before = words(way);
        // Only where it can run this program, and not a root, whom no limit binds.
        let shell = [&before[..], &words("sh -c".to_owned())].concat();
        let exe = std::env::current_exe().unwrap();
        let ask = format!("test $(id -u) -ne 0 && test -x {}", exe.display());
        let mut command = Command::new(&shell[0]);
        let fits = command.args(&shell[1..]).arg(ask).status().is_ok_and(|it| it.success());
        if fits {
            return Some(before);
        }
    }
    None
}
