//! Threadvisor supervises blocking work on OS threads, inside one process, with no async runtime.
//!
//! You hand it tasks; it runs each on a worker thread, restarts it by policy with backoff, keeps
//! conflicting work apart by slot, tells subscribers everything that happens, and stops all of it
//! in bounded time.
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
//!             Err("not yet")?; // any error: tried again, after the backoff
//!         }
//!         Ok(())
//!     })
//!     .backoff(BackoffPolicy::constant(Duration::from_millis(10)))
//!     .timeout(Duration::from_secs(5));
//!     let report = supervisor.run([uptime])?; // until nothing is left, or shutdown is asked for
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
//! - Knowing what happens: [`SupervisorBuilder::on_event`], [`LogEvents`],
//!   [`SupervisorHandle::snapshot`].
//! - Writing a body that can be stopped: [`TaskContext`]; one that sits in a call which a flag
//!   cannot wake: [`guide::waking`].
//! - Noticing a body that hangs: [`TaskSpec::watchdog`], [`TaskSpec::timeout`],
//!   [`Snapshot::abandoned`].
//!
//! # Words
//! | word | meaning |
//! |---|---|
//! | task | a named unit of supervised work, described by a [`TaskSpec`], known by a [`TaskId`] |
//! | body | the user's closure or [`Task`] value |
//! | attempt | one run of the body, numbered from 1 within its task, on one thread |
//! | slot | a named place that at most one task owns at a time; its key defaults to the task's name |
//! | owner | the task that holds a slot, from admission until its last attempt has returned |
//! | permit | the right to run an attempt; there are `max_concurrent` of them |
//! | worker | a pooled thread that runs attempts |
//! | controller | the one thread that owns all state and decides everything |
//! | lane | one bounded queue of events and the one thread that serves it |
//! | stop | a request after which nothing follows: Stop, Replace, Shutdown |
//! | interruption | a request after which the task may go on: Timeout, Unresponsive, Restart |
//! | grace | the time a body has to return once told |
//! | abandoned | an attempt that outlived its grace and still runs |
//! | outcome | how a task ended; exactly one for each accepted submission |
//!
//! # How an attempt ends, and what follows
//! What the body was *told* before it returned decides how its end is judged; what was *asked* of
//! the task decides whether it goes on. The first line that fits:
//!
//! | when the body returns | terminal event | what follows |
//! |---|---|---|
//! | the attempt was abandoned before | none; `AttemptReturned` is a note | see [`Outcome::Abandoned`] |
//! | an error that is fatal | `AttemptFailed` | `Fatal`, under every policy |
//! | a panic, and `PanicPolicy::Fatal`, or a stop was told | `AttemptPanicked` | `Panicked` |
//! | told to stop, `Ok` | `AttemptSucceeded` | `Cancelled`, `returned_ok: true` |
//! | told to stop, any other error | `AttemptCancelled` | `Cancelled`, never retried |
//! | told of the deadline, whatever it returned | `AttemptTimedOut` | a failure; `TimedOut` when not retried |
//! | told it is unresponsive, whatever it returned | `AttemptUnresponsive` | a failure; `Unresponsive` when not retried |
//! | told to restart, and no panic | `AttemptSucceeded` or `AttemptCancelled` | the next attempt at once |
//! | `TaskError::cancelled()` of its own accord | `AttemptCancelled` | `Cancelled` by itself, never retried |
//! | a panic | `AttemptPanicked` | a failure; `Panicked` when not retried |
//! | any other error | `AttemptFailed` | a failure; `Failed` when not retried |
//! | `Ok` | `AttemptSucceeded` | `Completed`; under `Always` a pause and the next attempt |
//!
//! # Events
//! A subscriber sees, for each task, some of these in this order; [`EventKind`] has their fields.
//!
//! | event | says |
//! |---|---|
//! | `Submitted` | taken from the intake |
//! | `Admitted`, `Queued`, `Rejected` | the decision; a queued task is admitted or rejected later |
//! | `WaitingForPermit` | could start but for a permit |
//! | `AttemptStarting` | a thread took the attempt up |
//! | `AttemptOverdue` | passed its deadline and was told |
//! | `AttemptSilent`, `AttemptResponsive` | gives no sign of life; does so again |
//! | `AttemptSucceeded`, `…Cancelled`, `…Failed`, `…Panicked`, `…TimedOut`, `…Unresponsive` | came back |
//! | `AttemptAbandoned`, `AttemptReturned` | outlived its grace; came back after all |
//! | `StallReport` | what the kernel knows of one that is silent, overdue or abandoned |
//! | `HookSlow`, `HookPanicked` | a cancel hook takes over 100 ms; panicked |
//! | `RetryScheduled`, `RunScheduled` | when the next attempt comes, and why |
//! | `SlotTransition` | the slot's owner is on its way out, or no longer |
//! | `TaskEnded` | the outcome |
//! | `ShutdownRequested`, `ShutdownEnded` | of the supervisor as a whole |
//! | `ThreadRefused`, `DropPanicked`, `SubscriberOverflow`, `SubscriberPanicked` | trouble |
//!
//! # Threads
//! ```text
//!  Handle ── submissions (bounded) ──►┌────────────┐── jobs ─────► workers ── run bodies
//!         ── requests ───────────────►│ controller │◄─ reports ───────┘
//! signals ── requests ───────────────►│   Select   │── events ───► lanes ── subscribers
//!                   deadline ────────►└────────────┘
//!                              Machine::step(now, input) → effects
//! ```
//! One controller; a worker for each running attempt, cached between attempts and retired when
//! surplus; one thread for each lane that has subscribers; one for signals if asked for. A task
//! that waits, for whatever, holds no thread. User code, destructors included, runs on workers and
//! lanes, never on the controller.
//!
//! # Code map
//! Each layer may use the ones above it; a test reads the imports against this table.
//!
//! | layer | files | what it is |
//! |---|---|---|
//! | vocabulary | `id time backoff policy reason` | plain values, without `std` |
//! | machine | `machine/` | every rule, as one pure step; without `std`, threads, clocks, user values |
//! | shared | `spec settings context cell hook leftover pulse record link linger handle event line outcome error snapshot report stall`, `clock unwind sync threads current wake_fd wait_io` | the types that users and threads share |
//! | runtime | `runtime/` | the threads around the machine |
//! | front | `supervisor`, `waking` | builds and owns it all |
//!
//! **Invariant:** the machine holds ids only, so no destructor of a user can run under it.
//! **Invariant:** time is read in `clock`, panics are caught in `unwind`, threads are made in
//! `threads`, and nowhere else. **Invariant:** the controller waits in one place, and every send it
//! makes returns at once.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

extern crate alloc;

mod api;
mod machine;
mod output;
mod platform;
mod runtime;
mod task;
mod vocabulary;

pub use crossbeam_channel;

pub use api::builder::SupervisorBuilder;
pub use api::refused::{AddError, SubmitError};
pub use api::supervisor::Supervisor;
pub use api::supervisor_handle::SupervisorHandle;
pub use api::task_handle::TaskHandle;
pub use output::error::{
    Cancelled, Closed, ExtendError, InvalidSetting, StartError, TaskError, TaskResult, WaitError,
    WouldDeadlock,
};
pub use output::event::{Event, EventKind, Subscribe};
pub use output::line::LogEvents;
pub use output::mark::Mark;
pub use output::outcome::{NotCompleted, Outcome};
pub use output::report::{AbandonedAttempt, FailedTask, OutcomeCounts, RunReport, ShutdownReport};
pub use output::snapshot::{
    PermitCounts, SlotSnapshot, SlotStatus, Snapshot, TaskSnapshot, WorkerCounts,
};
pub use platform::stall::Stall;
pub use platform::threads::ThreadOptions;
pub use platform::unwind::PANIC_ISOLATION;
pub use task::context::TaskContext;
pub use task::guards::{CancelGuard, SilenceGuard};
#[cfg(all(unix, feature = "poll"))]
pub use task::poll::Polled;
pub use task::setters::TaskDefaults;
pub use task::spec::TaskSpec;
pub use task::token::{CancelToken, Canceller};
pub use vocabulary::backoff::{BackoffPolicy, JitterPolicy};
pub use vocabulary::id::{TaskId, TaskRef};
pub use vocabulary::policy::{
    AbandonPolicy, AdmissionPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy,
};
pub use vocabulary::reason::{
    CancelReason, Decision, FailureCause, Rejection, ShutdownCause, SlotCancelled, StopReason,
    TaskState,
};

pub mod guide;

/// What most programs need: `use threadvisor::prelude::*;`.
pub mod prelude {
    #[cfg(all(unix, feature = "poll"))]
    pub use crate::Polled;
    pub use crate::{
        AbandonPolicy, AdmissionPolicy, BackoffPolicy, CancelGuard, CancelReason, CancelToken,
        Cancelled, Decision, Event, EventKind, JitterPolicy, LogEvents, Outcome, PanicPolicy,
        Rejection, RestartPolicy, RunReport, StopReason, Subscribe, Supervisor, SupervisorHandle,
        TaskContext, TaskDefaults, TaskError, TaskHandle, TaskId, TaskResult, TaskSpec, TaskState,
        ThreadOptions, WaitError, WatchdogPolicy,
    };
}
