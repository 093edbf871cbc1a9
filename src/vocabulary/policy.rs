//! The policies that a user chooses for a task: restart, admission, panic, abandonment, watchdog.

use crate::vocabulary::label::named;

/// Determines whether a task runs again after its body has returned. Set by
/// [`TaskSpec::restart`](crate::TaskSpec::restart).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let thrice = TaskSpec::new("thrice", |ctx| match ctx.attempt() {
///     1 | 2 => Ok(()), // it runs again all the same
///     _ => Err(TaskError::cancelled()),
/// });
/// let thrice = supervisor.handle().add(thrice.restart(RestartPolicy::Always))?;
/// assert!(thrice.wait()?.is_cancelled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// The body does not run again by itself, whatever it returns; it does by
    /// [`restart`](crate::TaskHandle::restart), and with its group.
    Never,
    /// The body runs again after a failure, with backoff; a success completes the task. The
    /// default.
    #[default]
    OnFailure,
    /// The body runs again after a success, too: immediately, or after the interval that
    /// `repeat_after` or `every` sets. A body that succeeds at once, again and again, keeps a
    /// processor busy: neither the backoff nor a limit of failures applies to a success. Set an
    /// interval, or have the body fail if it should not have returned, as
    /// `Program::must_not_end` does.
    Always,
}

named!(RestartPolicy {
    Self::Never => "never",
    Self::OnFailure => "on_failure",
    Self::Always => "always",
});

/// Determines what happens to a submission whose slot is busy. A slot is busy while it has an
/// owner, even one that only waits for its next run. A slot without an owner admits every
/// submission. Used by [`SupervisorHandle::submit`](crate::SupervisorHandle::submit).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let handle = supervisor.handle();
/// let sync = || TaskSpec::new("sync", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
/// let first = handle.submit(sync(), AdmissionPolicy::Queue)?;
/// let second = handle.submit(sync(), AdmissionPolicy::DropIfRunning)?; // the slot is busy
/// assert!(matches!(second.wait_decided()?, Decision::Rejected(Rejection::SlotBusy { .. })));
/// let third = handle.submit(TaskSpec::once("sync", |_| Ok(())), AdmissionPolicy::Replace)?;
/// assert!(third.wait()?.is_success());
/// assert!(first.wait()?.is_cancelled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AdmissionPolicy {
    /// The submission waits at the end of the slot's queue. If `max_slot_queue` submissions already
    /// wait there, it is rejected as [`QueueFull`](crate::Rejection::QueueFull). Behind an owner
    /// that never ends it waits for ever, unless
    /// [`TaskSpec::expires_in`](crate::TaskSpec::expires_in) limits the wait.
    Queue,
    /// The owner is asked to stop, and the submission becomes the next owner. The submission that
    /// would have been next is rejected as [`Superseded`](crate::Rejection::Superseded), even if
    /// it waits by `Queue`; those behind it stay. To put work in front and lose nothing, keep the
    /// queue yourself: see [urgent work](crate::guide::from_threads#urgent-work).
    /// `max_slot_queue` does not apply.
    Replace,
    /// The submission is rejected as [`SlotBusy`](crate::Rejection::SlotBusy).
    DropIfRunning,
    /// The owner goes on undisturbed, and the submission takes the place of all that wait for the
    /// slot, which are rejected as [`Superseded`](crate::Rejection::Superseded). `max_slot_queue`
    /// does not apply.
    #[doc(alias = "coalesce")]
    KeepLatest,
}

named!(AdmissionPolicy {
    Self::Queue => "queue",
    Self::Replace => "replace",
    Self::DropIfRunning => "drop_if_running",
    Self::KeepLatest => "keep_latest",
});

/// Determines what follows a panic in a body. Set by
/// [`TaskSpec::panic_policy`](crate::TaskSpec::panic_policy).
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let parse = TaskSpec::new("parse", |_| panic!("no header")).panic_policy(PanicPolicy::Fatal);
/// let outcome = supervisor.handle().add(parse)?.wait()?; // without a retry
/// assert_eq!(outcome.to_string(), "panicked: no header");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// A panic is a failure like any other, and may be retried. The default.
    #[default]
    Failure,
    /// A panic ends the task, under every restart policy. The panic of an attempt that was
    /// abandoned before changes nothing: its retry follows all the same.
    Fatal,
    /// A panic ends the process with `std::process::abort`: for programs that must not survive a
    /// panic.
    Abort,
}

named!(PanicPolicy { Self::Failure => "failure", Self::Fatal => "fatal", Self::Abort => "abort" });

/// Determines what happens to the slot and the permit when an attempt outlives its grace. Set by
/// [`TaskSpec::abandon_policy`](crate::TaskSpec::abandon_policy).
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let handle = supervisor.handle();
/// let (_open, gate) = std::sync::mpsc::channel::<()>();
/// let stuck = TaskSpec::once("stuck", move |_| Ok(drop(gate.recv())))
///     .slot("host")
///     .timeout(Duration::from_millis(10))
///     .grace(Duration::from_millis(10))
///     .abandon_policy(AbandonPolicy::Release);
/// assert!(handle.add(stuck)?.wait()?.is_abandoned());
/// let next = handle.add(TaskSpec::once("next", |_| Ok(())).slot("host"))?; // the slot is free
/// assert!(next.wait()?.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AbandonPolicy {
    /// Both stay held until the body returns, so that nothing else uses what the body still uses.
    /// The default. If a retry is left, the task has no outcome until the body returns, however
    /// long that takes, and whoever waits for it waits as long; cancel it to get one.
    #[default]
    Hold,
    /// The permit is given back, and the attempt counts as a failure. A task with a
    /// `TaskSpec::shared` body may then be retried beside the stuck thread; it keeps its slot. Any
    /// other task ends, and its slot passes on while the old body still runs. While `max_abandoned`
    /// attempts, closings and hooks are stuck, this policy acts as `Hold`; attempts still start
    /// then, and may hang as well. While more are stuck, new submissions are refused.
    Release,
}

named!(AbandonPolicy { Self::Hold => "hold", Self::Release => "release" });

/// Determines what follows when a watched attempt gives no sign of life. Set by
/// [`TaskSpec::watchdog_policy`](crate::TaskSpec::watchdog_policy).
///
/// ```
/// # use std::time::Duration;
/// use threadvisor::{prelude::*, ManualClock};
/// let clock = ManualClock::new();
/// # let clock = clock.patience(Duration::from_secs(60)); // for a machine under load
/// let supervisor = Supervisor::builder().clock(&clock).start()?;
/// let hangs = TaskSpec::once("hangs", |ctx| Ok(ctx.sleep(Duration::MAX)?))
///     .watchdog(Duration::from_secs(10))
///     .watchdog_policy(WatchdogPolicy::Cancel);
/// let hangs = supervisor.handle().add(hangs)?;
/// let outcome = clock.advance_until(&hangs, Duration::from_secs(60));
/// assert!(outcome.is_unresponsive());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchdogPolicy {
    /// An event reports the silence, and nothing else happens. The default.
    #[default]
    Report,
    /// An event reports the silence, and the attempt is told to return with the reason
    /// `Unresponsive`, which makes it a failure.
    Cancel,
}

named!(WatchdogPolicy { Self::Report => "report", Self::Cancel => "cancel" });
