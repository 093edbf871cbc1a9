//! The bodies that the benchmarks of the runtime run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, never};
use threadvisor::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn started() -> Supervisor {
    Supervisor::builder().max_concurrent(2000).start().expect("it starts")
}

pub(crate) fn no_op(name: &Arc<str>) -> TaskSpec {
    TaskSpec::once(Arc::clone(name), |_| Ok(()))
}

pub(crate) fn submit(handle: &SupervisorHandle, spec: TaskSpec) -> TaskHandle {
    handle.submit(spec, AdmissionPolicy::Queue).expect("the door is open")
}

pub(crate) fn all_completed(tasks: Vec<TaskHandle>) {
    for task in tasks {
        assert!(matches!(task.wait(), Ok(Outcome::Completed)), "{task:?}");
    }
}

/// A task whose body sleeps until it is told to return.
pub(crate) fn sleeper(handle: &SupervisorHandle, name: &str) -> TaskHandle {
    let (ready_in, ready) = bounded(1);
    let task = submit(
        handle,
        TaskSpec::once(name, move |ctx| {
            ready_in.send(())?;
            Ok(ctx.sleep(Duration::MAX)?)
        }),
    );
    ready.recv().expect("the body runs");
    task
}

/// A task that waits for an hour.
pub(crate) fn later(name: &str) -> TaskSpec {
    TaskSpec::new(name, |_| Ok(())).repeat_after(HOUR).initial_delay(HOUR)
}

pub(crate) fn waiting(handle: &SupervisorHandle, name: &str) -> TaskHandle {
    handle.add(later(name)).expect("the slot is free")
}

/// As [`waiting`], with a body that needs a drop.
pub(crate) fn owning(handle: &SupervisorHandle, name: &str, shared: &Arc<()>) -> TaskHandle {
    let shared = Arc::clone(shared);
    let spec = TaskSpec::new(name, move |_| {
        drop(Arc::clone(&shared));
        Ok(())
    });
    handle.add(spec.repeat_after(HOUR).initial_delay(HOUR)).expect("the slot is free")
}

/// Bodies that block their threads, and the threads they blocked.
#[derive(Clone, Default)]
pub(crate) struct Blocked(Arc<Mutex<HashSet<ThreadId>>>);

impl Blocked {
    pub(crate) fn body(&self, span: Duration) -> TaskSpec {
        let seen = self.clone();
        let spec = TaskSpec::once("blocking", move |_| {
            let mut threads = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.insert(thread::current().id());
            drop(threads);
            // Blocks as a system call would: no cancel ends it.
            let _ = never::<()>().recv_timeout(span);
            Ok(())
        });
        spec.no_slot()
    }

    pub(crate) fn threads(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// With a thread that computes on each core, as on a busy machine.
pub(crate) fn on_busy_cores(work: impl FnOnce()) {
    /// Also when an assertion fails, or the threads would be waited for without end.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let _end = End(&over);
        work();
    });
}

/// On a thread that is pinned to one core, like all threads that it starts. Where that cannot be
/// had, it says so and does nothing.
pub(crate) fn on_one_core(work: impl FnOnce() + Send) {
    #[cfg(target_os = "linux")]
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut one = rustix::thread::CpuSet::new();
            one.set(0);
            match rustix::thread::sched_setaffinity(None, &one) {
                Ok(()) => work(),
                Err(error) => println!("not pinned to one core: {error}"),
            }
        });
    });
    #[cfg(not(target_os = "linux"))]
    drop(work);
}

/// Long enough for a body that has just announced itself to be asleep.
pub(crate) fn settle() {
    let _ = never::<()>().recv_timeout(Duration::from_micros(200));
}

/// Wants all spans and events of the crate `tracing`, and does nothing with them.
#[cfg(feature = "tracing")]
pub(crate) struct All;

#[cfg(feature = "tracing")]
impl tracing::Subscriber for All {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}
