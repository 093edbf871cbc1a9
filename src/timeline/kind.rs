//! What a span shows, and how that looks.

/// What a span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Task,
    Queued,
    Starting,
    Permit,
    Backoff,
    Interval,
    Paused,
    Held,
    Closing,
    Running,
    Succeeded,
    Cancelled,
    Failed,
    Panicked,
    TimedOut,
    Unresponsive,
    Abandoned,
    Stopping,
    /// The abandoned thread, until it comes back.
    Stuck,
    Drain,
    Shutdown,
    /// A moment.
    Note,
}

impl Kind {
    /// Its name, its colour, and the one of those that Chrome knows; in the order of the variants.
    pub(super) const LOOKS: [(&'static str, &'static str, &'static str); 22] = [
        ("task", "#e4e9f0", "grey"),
        ("queued", "#c9b8e8", "grey"),
        ("waits to start", "#bcc7d6", "grey"),
        ("waits for a permit", "#f3d98b", "yellow"),
        ("backoff", "#f4b6a6", "olive"),
        ("waits for its next run", "#d3dbe6", "grey"),
        ("paused", "#b9c0c9", "grey"),
        ("holds its slot", "#777777", "black"),
        ("is dropped", "#a9b7c6", "grey"),
        ("runs", "#7fb2e5", "thread_state_running"),
        ("succeeded", "#55a868", "good"),
        ("cancelled", "#98a3af", "grey"),
        ("failed", "#d9534f", "bad"),
        ("panicked", "#8b1a1a", "terrible"),
        ("timed out", "#e8872b", "terrible"),
        ("unresponsive", "#8e44ad", "terrible"),
        ("abandoned", "#222222", "black"),
        ("told to return", "#f7e463", "yellow"),
        ("abandoned, and its thread is stuck", "#222222", "black"),
        ("drain", "#8fc1d4", "grey"),
        ("shutdown", "#5b7f95", "grey"),
        ("event", "#b5179e", "terrible"),
    ];

    pub(super) const fn look(self) -> (&'static str, &'static str, &'static str) {
        Self::LOOKS[self as usize]
    }

    /// Whether a reader who looks for trouble wants to see it first.
    pub(super) const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Failed
                | Self::Panicked
                | Self::TimedOut
                | Self::Unresponsive
                | Self::Abandoned
                | Self::Stuck
        )
    }

    pub(super) const fn is_attempt(self) -> bool {
        self as u8 >= Self::Running as u8 && self as u8 <= Self::Abandoned as u8
    }
}
