//! The choices a user makes for a task: when to run again, who gets the slot, what a panic means.

use core::fmt;
use core::time::Duration;

use crate::backoff::BackoffPolicy;

/// Gives an enum of plain variants its stable `snake_case` names, for metrics and messages.
macro_rules! labels {
    ($name:ty { $($variant:pat => $label:literal),+ $(,)? }) => {
        impl $name {
            /// A stable `snake_case` name, for metrics and logs.
            pub const fn label(&self) -> &'static str {
                match self { $($variant => $label),+ }
            }
        }
    };
}
pub(crate) use labels;

/// Whether a task runs again after its body has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// One attempt, whatever it returns.
    Never,
    /// Again after a failure, with backoff; done after a success. The default.
    #[default]
    OnFailure,
    /// Again after a success too, at once or after the pause set by `every` or `at_rate`.
    Always,
}

labels!(RestartPolicy {
    Self::Never => "never",
    Self::OnFailure => "on_failure",
    Self::Always => "always",
});

/// What happens to a submission whose slot is busy, that is, has an owner in whatever state (also
/// one that sleeps until its next tick). An idle slot starts every submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdmissionPolicy {
    /// Waits behind those that wait, up to `max_slot_queue`. Behind an owner that never ends it
    /// waits for ever; `expires_in` is the remedy.
    Queue,
    /// Asks the owner to stop and is next, overwriting whoever was; never limited.
    Replace,
    /// Is refused with [`Rejection::SlotBusy`](crate::Rejection::SlotBusy).
    DropIfRunning,
    /// Leaves the owner alone and replaces all that waits.
    KeepLatest,
}

labels!(AdmissionPolicy {
    Self::Queue => "queue",
    Self::Replace => "replace",
    Self::DropIfRunning => "drop_if_running",
    Self::KeepLatest => "keep_latest",
});

impl fmt::Display for AdmissionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What a panic in a body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// A failure like any other: retried by the restart policy. The default.
    #[default]
    Failure,
    /// The end of the task, under every restart policy.
    Fatal,
    /// The end of the process, by `std::process::abort`, for those who do not want crashes
    /// survived.
    Abort,
}

labels!(PanicPolicy { Self::Failure => "failure", Self::Fatal => "fatal", Self::Abort => "abort" });

/// What becomes of slot and permit when an attempt outlives its grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AbandonPolicy {
    /// They stay held until the body returns, so that nothing it uses is used twice. The default.
    #[default]
    Hold,
    /// They are given up, and the abandonment is the attempt's end and a failure. A task made by
    /// `TaskSpec::from_task` may be retried beside the stuck thread; any other ends, and its slot
    /// passes on while the old body still runs. Bounded by `max_abandoned`: at that many, it acts
    /// as `Hold`.
    Release,
}

labels!(AbandonPolicy { Self::Hold => "hold", Self::Release => "release" });

/// What follows when a watched attempt gives no sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WatchdogPolicy {
    /// An event. The default.
    #[default]
    Report,
    /// An event, and the attempt is told to return as `Unresponsive`: a failure, with all that
    /// follows.
    Cancel,
}

labels!(WatchdogPolicy { Self::Report => "report", Self::Cancel => "cancel" });

/// How long a watched attempt may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watchdog {
    pub(crate) max_silence: Duration,
    pub(crate) policy: WatchdogPolicy,
}

/// What follows a success under [`RestartPolicy::Always`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Pause {
    #[default]
    None,
    /// A fixed delay from the end of one attempt to the start of the next.
    Delay(Duration),
    /// The next point of a grid anchored at the first start.
    Rate(Duration),
}

/// At most so many failures within a sliding span; one more ends the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureLimit {
    pub(crate) failures: u32,
    pub(crate) within: Duration,
}

/// Everything about a task that is not a user value, with all defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) restart: RestartPolicy,
    pub(crate) pause: Pause,
    pub(crate) initial_delay: Duration,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) max_retries: Option<u32>,
    pub(crate) stable_after: Duration,
    pub(crate) failure_limit: Option<FailureLimit>,
    pub(crate) timeout: Option<Duration>,
    /// How far a body may extend its deadline.
    pub(crate) max_timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) panic: PanicPolicy,
    pub(crate) abandon: AbandonPolicy,
    pub(crate) watchdog: Option<Watchdog>,
    pub(crate) significant: bool,
    /// The body is consumed by its first attempt.
    pub(crate) once: bool,
    /// The body can run again beside an attempt that never came back.
    pub(crate) shared: bool,
}

/// The bounds of one supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Attempts at a time; `u32::MAX` is unlimited.
    pub(crate) max_concurrent: u32,
    pub(crate) max_slot_queue: u32,
    pub(crate) max_tasks: u32,
    /// Attempts and hooks past their grace, before `Release` acts as `Hold`.
    pub(crate) max_abandoned: u32,
    /// Bounds a shutdown as a whole.
    pub(crate) grace: Duration,
    /// Bounds the delivery of the last events after that.
    pub(crate) event_drain: Duration,
}
