//! The choices a user makes for a task: when to run again, who gets the slot, what a panic means.

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

/// The same, and it is shown by that name.
macro_rules! named {
    ($name:ty { $($variant:pat => $label:literal),+ $(,)? }) => {
        crate::vocabulary::policy::labels!($name { $($variant => $label),+ });

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}
pub(crate) use {labels, named};

/// Whether a task runs again after its body has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// One attempt, whatever it returns.
    Never,
    /// Again after a failure, with backoff; done after a success. The default.
    #[default]
    OnFailure,
    /// Again after a success too, at once or after the pause set by `repeat_after` or `every`.
    Always,
}

named!(RestartPolicy {
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

named!(AdmissionPolicy {
    Self::Queue => "queue",
    Self::Replace => "replace",
    Self::DropIfRunning => "drop_if_running",
    Self::KeepLatest => "keep_latest",
});

/// What a panic in a body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
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

named!(PanicPolicy { Self::Failure => "failure", Self::Fatal => "fatal", Self::Abort => "abort" });

/// What becomes of slot and permit when an attempt outlives its grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AbandonPolicy {
    /// They stay held until the body returns, so that nothing it uses is used twice. The default.
    #[default]
    Hold,
    /// They are given up, and the abandonment is the attempt's end and a failure. A task made by
    /// `TaskSpec::shared` may be retried beside the stuck thread; any other ends, and its slot
    /// passes on while the old body still runs. Bounded by `max_abandoned`: at that many, it acts
    /// as `Hold`.
    Release,
}

named!(AbandonPolicy { Self::Hold => "hold", Self::Release => "release" });

/// What follows when a watched attempt gives no sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchdogPolicy {
    /// An event. The default.
    #[default]
    Report,
    /// An event, and the attempt is told to return as `Unresponsive`: a failure, with all that
    /// follows.
    Cancel,
}

named!(WatchdogPolicy { Self::Report => "report", Self::Cancel => "cancel" });
