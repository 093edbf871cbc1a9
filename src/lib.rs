//! Threadvisor supervises blocking work on OS threads, inside one process and without an async
//! runtime.
//!
//! You hand tasks to a supervisor. It runs each task on a worker thread, restarts it by policy and
//! with backoff, keeps conflicting tasks apart by slot, reports everything that happens, and shuts
//! down in bounded time.
//!
//! ```
//! use std::time::Duration;
//! use threadvisor::prelude::*;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let supervisor = Supervisor::builder()
//!         .on_event(|event| eprintln!("{event}"))
//!         .start()?;
//!     let uptime = TaskSpec::new("uptime", |ctx| {
//!         let text = std::fs::read_to_string("/proc/uptime").unwrap_or_else(|_| "0 0".into());
//!         let seconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
//!         println!("attempt {}: up for {seconds} s", ctx.attempt());
//!         if ctx.attempt() < 2 {
//!             Err("not yet")?; // any error is retried, after the backoff
//!         }
//!         Ok(())
//!     })
//!     .backoff(BackoffPolicy::constant(Duration::from_millis(10)))
//!     .timeout(Duration::from_secs(5));
//!     let report = supervisor.run([uptime])?; // until no task is left, or a shutdown is asked for
//!     println!("{report}");
//!     assert_eq!(report.exit_code(), 0);
//!     Ok(())
//! }
//! ```
//!
//! # Where to begin
//! - A program whose job is a set of tasks: [`Supervisor::run`].
//! - A program that adds tasks as it goes: [`Supervisor::handle`], [`SupervisorHandle::add`],
//!   [`TaskHandle::wait`].
//! - Work that must not run twice at once: [`TaskSpec::slot`] and [`AdmissionPolicy`].
//! - Work of which only so much may run at once: [`SupervisorBuilder::class_limit`] and
//!   [`TaskSpec::class`]; [`SupervisorHandle::set_class_limit`] changes how much.
//! - A value that a body returns: [`TaskOutput`], and [`guide::results`].
//! - Ending without losing work in hand: [`Supervisor::drain`],
//!   [`SupervisorBuilder::drain_on_signals`], [`TaskSpec::finish_at_drain`].
//! - Observing what happens: [`SupervisorBuilder::on_event`], [`LogEvents`],
//!   [`SupervisorHandle::snapshot`]; in a terminal, `Console` (feature `console`); as a picture:
//!   [`guide::timeline`]; for the crates `tracing` and `metrics`: [`guide::telemetry`]; as JSON:
//!   [`guide::json`].
//! - Writing a body that can be stopped: [`TaskContext`], and [`guide::waking`] if it blocks in a
//!   call that a flag cannot wake.
//! - Noticing a body that hangs: [`TaskSpec::watchdog`], [`TaskSpec::timeout`],
//!   [`Snapshot::abandoned`].
//!
//! # Which to use
//! - Body: a [`TaskSpec::new`] body keeps its state between attempts; a [`TaskSpec::once`] body is
//!   consumed by its one attempt; a [`TaskSpec::shared`] body can be retried beside a stuck
//!   attempt.
//! - Repetition: [`TaskSpec::repeat_after`] counts from the end of a run, [`TaskSpec::every`] keeps
//!   to a grid, [`RestartPolicy::Always`] runs again immediately.
//! - Order: a [`GroupSpec`] starts tasks one after the other, stops them in the reverse order, and
//!   says what a failure of one means for the others: [`guide::groups`].
//! - Adding: [`SupervisorHandle::add`] gives the spec back if it is refused;
//!   [`SupervisorHandle::submit`] takes an [`AdmissionPolicy`] and does not wait for the decision.
//! - By hand: [`TaskHandle::skip_wait`] and [`TaskHandle::restart`] start the next attempt now,
//!   [`TaskHandle::pause`] holds it back, [`TaskHandle::set_interval`] changes how often it comes.
//! - Time limits: [`TaskSpec::timeout`] limits how long an attempt runs, [`TaskSpec::watchdog`] how
//!   long it is silent, [`TaskSpec::expires_in`] how long a task waits for its first attempt,
//!   [`TaskSpec::grace`] how long a body may take to return once it is told. Nothing limits a task
//!   over all its attempts: let a task with [`TaskSpec::initial_delay`] cancel it. For a limit on
//!   silence that names no watchdog, let the body move its deadline while it gets on:
//!   [`TaskContext::extend_deadline`], up to [`TaskSpec::max_timeout`].
//! - Urgent work: there are no priorities; [`guide::from_threads`](guide::from_threads#urgent-work)
//!   says what takes their place.
//! - Running under systemd, s6 or procd: [`ServiceManager`], [`TaskSpec::required`],
//!   [`guide::services`].
//! - Testing tasks without waiting: [`ManualClock`], [`guide::testing`].
//! - Ending: [`guide::stopping`] says which call to use when.
//! - Coming from threads of your own: [`guide::from_threads`]; from another library:
//!   [`guide::migrating`]. Costs: [`guide::performance`].
//!
//! # Features
//! | feature | provides |
//! |---|---|
//! | `signals`, on by default | [`shutdown_on_signals`](SupervisorBuilder::shutdown_on_signals) and `drain_on_signals` for SIGINT and SIGTERM, `on_signal` for any signal (Unix; depends on `signal-hook`); on Windows, the first two for Ctrl-C (depends on `ctrlc`) |
//! | `poll` | `ctx.wait_readable`, `ctx.wait_writable` and `ctx.accept`: waits that a cancel ends (Unix; depends on `rustix`); `name_threads_by_task`, so that `top -H` shows which task a thread runs (Linux); the time that systemd's `notify-reload` wants |
//! | `process` | `TaskSpec::process` and `Program`: processes as tasks, stopped with their helpers (Unix; depends on `rustix`) |
//! | `console` | `Console`: on a terminal, the tasks as a table that is drawn in place, below what the program prints; elsewhere, lines (on Unix depends on `rustix`) |
//! | `timeline` | `Timeline`: a picture of what ran when, on which thread, and why it waited |
//! | `serde` | `Serialize` and `Deserialize` for events, snapshots, reports and outcomes (depends on `serde`) |
//! | `tracing` | `TraceEvents`: attempts as spans, and events, for the crate `tracing` (depends on `tracing`) |
//! | `metrics` | `CountEvents`: counters and a histogram for the crate `metrics` (depends on `metrics`) |
//!
//! Reports of what a stuck thread is doing exist on Linux only.
//!
//! # The contract
//! [`guide::rules`] is the contract: what each word means, how an attempt ends and what follows,
//! admission, cancellation, shutdown, all events and their order, and what is promised and what is
//! not. These words are enough to read on: a *task* has a *body*, which runs in numbered
//! *attempts*; a *slot* has at most one *owner*; an attempt that is *told* to return has its
//! *grace*, and is *abandoned* if it outlives that; each task has one *outcome*.
//!
//! # Threads
//! ```text
//! handles ── submissions (bounded) ──►┌────────────┐── work ─────► workers ── run bodies, hooks
//!         ── requests ───────────────►│ controller │◄─ facts ─────────┘
//! signals ── requests ───────────────►│            │── events ───► lanes ── call subscribers
//!                   deadline ────────►└────────────┘
//!                              Machine::step(now, input) → effects
//! ```
//! There is one controller; one worker for each running attempt, which is kept for later attempts
//! and retired when it is surplus; one thread for each lane that has subscribers; one thread of
//! last resort for hooks, started with the first of them; and one thread for signals, if asked for.
//! A waiting task holds no thread. User code, destructors included, runs on workers and lanes,
//! never on the controller.
//!
//! # Code map
//! | folder | what it is | may use |
//! |---|---|---|
//! | `vocabulary` | plain values: ids, time, policies, reasons; without `std` | nothing else |
//! | `machine` | every rule, as one pure step; without `std`, threads, clocks, user values | `vocabulary` |
//! | `platform` | what the system provides: locks, threads, time, panics | `vocabulary` |
//! | `output` | results as values: errors, outcomes, events, snapshots, reports | all above except `machine` |
//! | `task` | one task, as threads share it: spec, context, cell, hooks, record, door | all above except `machine` |
//! | `process` | processes as bodies of tasks | all above except `machine` |
//! | `runtime` | the threads around the machine | all above except `process` |
//! | `api` | what users hold: supervisor, builder, handles | all above except `machine` and `process` |
//! | `console` | a subscriber that draws on a terminal (feature `console`) | `vocabulary`, `platform`, `output`, `api` |
//! | `timeline` | a subscriber that draws pictures (feature `timeline`) | `vocabulary`, `platform`, `output`, `api` |
//! | `bridge` | subscribers for other crates (features `tracing`, `metrics`) | `vocabulary`, `platform`, `output`, `task`, `api` |
//! | `guide` | the longer pages | – |
//!
//! Inside a folder, a module uses only the modules that `mod.rs` lists below it. The one exception
//! is an import cycle in `task`, which its `mod.rs` names and its `README.md` explains. A test
//! checks the imports.
//!
//! **Invariant:** the machine holds only ids, so no destructor of a user value can run inside it.
//! **Invariant:** time is read only in `platform/clock`, panics are caught only in
//! `platform/unwind`, and threads are started only in `platform/threads`. **Invariant:** every
//! value whose destructor is user code is in a `UserValue`, which never drops it on the controller.
//! **Invariant:** until it ends, the controller waits in one place only, and none of its sends
//! blocks.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

extern crate alloc;

mod api;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod bridge;
#[cfg(feature = "console")]
mod console;
mod machine;
mod output;
mod platform;
#[cfg(all(unix, feature = "process"))]
mod process;
mod runtime;
mod task;
#[cfg(feature = "timeline")]
mod timeline;
mod vocabulary;

pub use crossbeam_channel;

pub use api::builder::SupervisorBuilder;
pub use api::group_handle::GroupHandle;
pub use api::group_spec::GroupSpec;
pub use api::manual_clock::ManualClock;
pub use api::refused::{AddError, SubmitError};
pub use api::service_manager::{ReloadGuard, ServiceManager};
pub use api::subscribe::Subscribe;
pub use api::supervisor::Supervisor;
pub use api::supervisor_handle::SupervisorHandle;
pub use api::task_handle::TaskHandle;
pub use api::task_output::TaskOutput;
#[cfg(feature = "metrics")]
pub use bridge::count::CountEvents;
#[cfg(feature = "tracing")]
pub use bridge::trace::{AttemptSpans, TraceEvents};
#[cfg(feature = "console")]
pub use console::Console;
pub use output::counts::{OutcomeCounts, RejectionCount};
pub use output::drain_report::DrainReport;
pub use output::error::{
    Cancelled, Closed, ExtendError, RecvError, TaskError, TaskResult, WaitError, WouldDeadlock,
};
pub use output::event::{Event, EventKind};
pub use output::group::{EndedGroup, GroupSnapshot};
pub use output::hook::{HookSource, RunningHook};
pub use output::line::LogEvents;
pub use output::mark::{Mark, Progress};
pub use output::not_quiet::{BusyAttempt, NotQuiet};
pub use output::outcome::{NotCompleted, Outcome, TaskOutputError};
#[cfg(all(unix, feature = "process"))]
pub use output::output_line::{OutputLine, OutputStream};
pub use output::report::{AbandonedAttempt, FailedTask, RunReport, ShutdownReport, TroubledTask};
pub use output::setting_errors::{InvalidSetting, StartError};
pub use output::snapshot::{
    ClassSnapshot, PermitCounts, SlotSnapshot, SlotStatus, Snapshot, TaskSnapshot, WorkerCounts,
};
pub use platform::stall::Stall;
pub use platform::threads::ThreadOptions;
pub use platform::unwind::{panic_places, PANIC_ISOLATION};
#[cfg(all(unix, feature = "process"))]
pub use process::exit::ProcessExit;
#[cfg(all(unix, feature = "process"))]
pub use process::output::ProcessOutput;
#[cfg(all(unix, feature = "process"))]
pub use process::program::Program;
#[cfg(all(unix, feature = "process"))]
pub use process::ready::ReadySign;
pub use task::context::TaskContext;
pub use task::guards::{CancelGuard, SilenceGuard};
#[cfg(all(unix, feature = "poll"))]
pub use task::poll::Polled;
pub use task::setters::TaskDefaults;
pub use task::spec::TaskSpec;
pub use task::token::{CancelToken, Canceller};
#[cfg(feature = "timeline")]
pub use timeline::{Timeline, TimelineLog};
pub use vocabulary::backoff::{BackoffPolicy, JitterPolicy};
pub use vocabulary::group::GroupState;
pub use vocabulary::id::{TaskId, TaskRef};
pub use vocabulary::not_retried::{NoRetry, NotRetried};
pub use vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};
pub use vocabulary::reason::{
    CancelReason, Decision, FailureCause, Rejection, ShutdownCause, SlotCancelled, StopReason,
    TaskState,
};
pub use vocabulary::signal::Signal;

pub mod guide;

/// What programs need: `use threadvisor::prelude::*;`. It leaves out the names that a program may
/// well have itself, such as `Closed`, `Mark` and `Stall`.
pub mod prelude {
    #[cfg(all(unix, feature = "poll"))]
    pub use crate::Polled;
    pub use crate::{
        AbandonPolicy, AddError, AdmissionPolicy, BackoffPolicy, CancelGuard, CancelReason,
        CancelToken, Cancelled, Canceller, Decision, Event, EventKind, ExtendError, FailureCause,
        GroupHandle, GroupSpec, GroupState, InvalidSetting, JitterPolicy, LogEvents, NotCompleted,
        Outcome, PanicPolicy, Rejection, RestartPolicy, RunReport, ServiceManager, ShutdownCause,
        ShutdownReport, Signal, SilenceGuard, Snapshot, StartError, StopReason, SubmitError,
        Subscribe, Supervisor, SupervisorBuilder, SupervisorHandle, TaskContext, TaskDefaults,
        TaskError, TaskHandle, TaskId, TaskOutput, TaskOutputError, TaskRef, TaskResult,
        TaskSnapshot, TaskSpec, TaskState, ThreadOptions, WaitError, WatchdogPolicy, WouldDeadlock,
    };
    #[cfg(all(unix, feature = "process"))]
    pub use crate::{Program, ReadySign};
}
