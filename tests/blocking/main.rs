//! What blocking work needs, on real threads: hooks, guards, nudges, wake-up descriptors, stuck
//! bodies, watchdogs, deadlines, threads refused, panics that end the process.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod deadline;
mod guards;
mod guards_in_numbers;
mod hooks;
mod nudges;
mod own_threads;
mod panics;
mod hook_threads;
mod stuck;
#[allow(dead_code, reason = "shared with the test crate `it`, which uses the rest")]
#[path = "../it/support.rs"]
mod support;
mod threads;
mod threads_not_had;
mod watchdog;

use std::cell::RefCell;
use std::env;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver, RecvTimeoutError, Sender};
use threadvisor::prelude::*;
use threadvisor::{AbandonedAttempt, ShutdownReport, Snapshot, SupervisorBuilder, WaitError};

use support::{in_time, next, thread_name, WATCHDOG};

/// A supervisor whose events can be waited for, whatever they are about.
pub(crate) struct Stage {
    pub(crate) supervisor: Supervisor,
    pub(crate) handle: SupervisorHandle,
    coming: Receiver<Event>,
    kept: RefCell<Vec<Event>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::start(Supervisor::builder())
    }

    pub(crate) fn start(builder: SupervisorBuilder) -> Self {
        let (keep, coming) = unbounded();
        let keep = move |event: &Event| drop(keep.send(event.clone()));
        let supervisor = builder.event_capacity(1 << 16).on_event(keep).start().unwrap();
        Self { handle: supervisor.handle(), supervisor, coming, kept: RefCell::default() }
    }

    #[track_caller]
    pub(crate) fn add(&self, spec: TaskSpec) -> TaskHandle {
        self.handle.add(spec).unwrap()
    }

    /// The first event that fits, waited for if it has not come yet.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        if let Some(event) = self.kept.borrow().iter().find(|event| fits(event)) {
            return event.clone();
        }
        self.until_next(what, fits)
    }

    /// The first event that fits among those that were not looked at.
    #[track_caller]
    pub(crate) fn until_next(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.coming.recv_timeout(WATCHDOG);
            let event = event.unwrap_or_else(|_| panic!("{what}: no such event"));
            self.kept.borrow_mut().push(event.clone());
            if fits(&event) {
                return event;
            }
        }
    }

    /// The first event of that label about the task.
    #[track_caller]
    pub(crate) fn until_label(&self, task: &TaskHandle, label: &str) -> Event {
        self.until(label, |event| is_about(event, task) && event.kind.label() == label)
    }

    /// All events of these labels about the task so far.
    pub(crate) fn seen(&self, task: &TaskHandle, labels: &[&str]) -> Vec<Event> {
        let fits = |event: &&Event| is_about(event, task) && labels.contains(&event.kind.label());
        self.events().iter().filter(fits).cloned().collect()
    }

    /// All events so far; to the last one, if the supervisor has ended.
    pub(crate) fn events(&self) -> Vec<Event> {
        match self.handle.flush_events() {
            Ok(()) => self.kept.borrow_mut().extend(self.coming.try_iter()),
            Err(WaitError::Closed) => loop {
                match self.coming.recv_timeout(WATCHDOG) {
                    Ok(event) => self.kept.borrow_mut().push(event),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => panic!("the last event never came"),
                }
            },
            Err(error) => panic!("{error}"),
        }
        self.kept.borrow().clone()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.handle.snapshot().unwrap()
    }

    /// The ledger's only entry.
    #[track_caller]
    pub(crate) fn abandoned(&self) -> AbandonedAttempt {
        let snapshot = self.snapshot();
        assert_eq!(snapshot.abandoned.len(), 1, "{snapshot}");
        snapshot.abandoned[0].clone()
    }

    /// Shuts down; all events can be had afterwards.
    pub(crate) fn end(self) -> (ShutdownReport, Vec<Event>) {
        let Self { supervisor, handle: _, coming, kept } = self;
        let report = in_time(move || supervisor.shutdown().unwrap().shutdown);
        let mut events = kept.into_inner();
        events.extend(coming.try_iter());
        (report, events)
    }
}

pub(crate) fn is_about(event: &Event, task: &TaskHandle) -> bool {
    event.task.as_ref().is_some_and(|about| about.id == task.id())
}

/// What a body waits for that only a hook can wake, and what the hook calls for it.
pub(crate) fn foreign_call() -> (impl Fn() + Clone + Send + 'static, impl Fn()) {
    let (wake, woken) = unbounded::<()>();
    let keep = wake.clone();
    let call = move || {
        let _connected = &keep;
        woken.recv().unwrap();
    };
    (
        move || {
            let _ = wake.send(());
        },
        call,
    )
}

/// A task that nothing but its cancel hook can wake.
pub(crate) fn deaf(name: &str, entered: &Sender<()>) -> TaskSpec {
    let entered = entered.clone();
    TaskSpec::new(name, move |ctx| {
        let (wake, call) = foreign_call();
        let _hook = ctx.on_cancel(wake);
        let _ = entered.send(());
        call();
        Ok(ctx.check()?)
    })
}

/// Counts the drops of the values it makes.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn value(&self) -> impl Send + 'static {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        Counted(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Refuses threads when told to, by `on_thread_start`.
pub(crate) struct Refusals {
    refuse: Arc<AtomicBool>,
    started: Receiver<String>,
}

impl Refusals {
    pub(crate) fn of(builder: SupervisorBuilder) -> (SupervisorBuilder, Self) {
        let refuse = Arc::new(AtomicBool::new(false));
        let (start, started) = unbounded();
        let refuses = Arc::clone(&refuse);
        let hook = move || {
            if refuses.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("no thread for you"));
            }
            let _ = start.send(thread_name());
            Ok(())
        };
        (builder.on_thread_start(hook), Self { refuse, started })
    }

    pub(crate) fn begin(&self) {
        self.refuse.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.refuse.store(false, Ordering::SeqCst);
    }

    /// Waits until a thread has started whose name begins so.
    #[track_caller]
    pub(crate) fn wait_started(&self, prefix: &str) {
        while !next(&self.started).starts_with(prefix) {}
    }

    /// Keeps every worker busy that there is. `besides` counts the threads that are no workers.
    pub(crate) fn fill_workers(&self, stage: &Stage, besides: usize) {
        self.begin();
        let (enter, entered) = unbounded();
        loop {
            let now = stage.snapshot();
            if now.workers.idle > 0 {
                stage.add(deaf("fill", &enter).no_slot());
                next(&entered);
            } else if now.workers.threads == now.permits.held + besides {
                return;
            }
        }
    }
}

/// Says which part a child process plays.
const PART: &str = "THREADVISOR_BLOCKING_PART";

/// Whether this process is the child that plays the part.
pub(crate) fn plays(part: &str) -> bool {
    env::var(PART).is_ok_and(|own| own == part)
}

/// Runs one test of this program again as a child process that plays a part.
pub(crate) fn child(test: &str, part: &str, before: &[&str]) -> Output {
    let runner = env::vars()
        .find(|(name, _)| name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER"))
        .map(|(_, words)| words);
    let program = env::current_exe().unwrap().to_string_lossy().into_owned();
    let mut words: Vec<String> = before.iter().map(ToString::to_string).collect();
    words.extend(runner.iter().flat_map(|words| words.split_whitespace()).map(str::to_owned));
    words.extend([program, "--exact".to_owned(), test.to_owned(), "--nocapture".to_owned()]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(PART, part).env_remove("RUST_BACKTRACE");
    in_time(move || command.output().unwrap())
}

/// What a call that takes its time does, and tells nobody.
pub(crate) fn call_for(span: Duration) {
    let (_sender, never) = bounded::<()>(0);
    let _ = never.recv_timeout(span);
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
