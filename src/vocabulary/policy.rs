//! The choices a user makes for a task: when to run again, who gets the slot, what a panic means.

use crate::vocabulary::label::named;

/// Says whether a task runs again after its body has returned. Set by
/// [`TaskSpec::restart`](crate::TaskSpec::restart).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// The body runs once, whatever it returns.
    Never,
    /// The body runs again after a failure, with backoff; a success completes the task. The
    /// default.
    #[default]
    OnFailure,
    /// The body runs again after a success too: at once, or after the pause that `repeat_after` or
    /// `every` sets.
    Always,
}

named!(RestartPolicy {
    Self::Never => "never",
    Self::OnFailure => "on_failure",
    Self::Always => "always",
});

/// Says what happens to a submission whose slot is busy. A slot is busy as long as it has an owner,
/// even one that only waits for its next tick; a slot without an owner starts every submission.
/// Used by [`SupervisorHandle::submit`](crate::SupervisorHandle::submit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdmissionPolicy {
    /// The submission waits behind those that already wait, up to `max_slot_queue` of them; more
    /// are rejected as [`QueueFull`](crate::Rejection::QueueFull). Behind an owner that never ends
    /// it waits for ever; bound that with [`TaskSpec::expires_in`](crate::TaskSpec::expires_in).
    Queue,
    /// The owner is asked to stop, and the submission owns the slot next. The submission that would
    /// have been next is rejected as [`Superseded`](crate::Rejection::Superseded). No limit
    /// applies.
    Replace,
    /// The submission is rejected as [`SlotBusy`](crate::Rejection::SlotBusy).
    DropIfRunning,
    /// The owner is left alone, and the submission replaces everything that waits for the slot.
    KeepLatest,
}

named!(AdmissionPolicy {
    Self::Queue => "queue",
    Self::Replace => "replace",
    Self::DropIfRunning => "drop_if_running",
    Self::KeepLatest => "keep_latest",
});

/// Says what a panic in a body means. Set by
/// [`TaskSpec::panic_policy`](crate::TaskSpec::panic_policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// A panic is a failure like any other, and the restart policy decides about a retry. The
    /// default.
    #[default]
    Failure,
    /// A panic ends the task, under every restart policy.
    Fatal,
    /// A panic ends the process, by `std::process::abort`, for programs that must not survive a
    /// crash.
    Abort,
}

named!(PanicPolicy { Self::Failure => "failure", Self::Fatal => "fatal", Self::Abort => "abort" });

/// Says what becomes of the slot and the permit when an attempt outlives its grace. Set by
/// [`TaskSpec::abandon_policy`](crate::TaskSpec::abandon_policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AbandonPolicy {
    /// Both stay held until the body returns, so that nothing it uses is used twice. The default.
    #[default]
    Hold,
    /// Both are given up, and the abandonment ends the attempt as a failure. A task made by
    /// `TaskSpec::shared` may then be retried beside the stuck thread; any other task ends, and its
    /// slot passes on while the old body still runs. Once `max_abandoned` attempts are stuck, this
    /// acts as `Hold`.
    Release,
}

named!(AbandonPolicy { Self::Hold => "hold", Self::Release => "release" });

/// Says what follows when a watched attempt gives no sign of life. Set by
/// [`TaskSpec::watchdog_policy`](crate::TaskSpec::watchdog_policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchdogPolicy {
    /// The silence is an event, and nothing else happens. The default.
    #[default]
    Report,
    /// The silence is an event, and the attempt is told to return as `Unresponsive`, which counts
    /// as a failure.
    Cancel,
}

named!(WatchdogPolicy { Self::Report => "report", Self::Cancel => "cancel" });
