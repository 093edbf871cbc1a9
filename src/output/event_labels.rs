//! What an event is called, and which attempt it is about.

use crate::output::event::EventKind;
use crate::output::hook::HookSource;
use crate::vocabulary::label::labels;

labels!(EventKind {
    Self::Submitted { .. } => "submitted",
    Self::Queued { .. } => "queued",
    Self::Admitted => "admitted",
    Self::Rejected { .. } => "rejected",
    Self::WaitingForPermit { .. } => "waiting_for_permit",
    Self::AttemptStarting { .. } => "attempt_starting",
    Self::AttemptStopping { .. } => "attempt_stopping",
    Self::AttemptOverdue { .. } => "attempt_overdue",
    Self::AttemptSilent { .. } => "attempt_silent",
    Self::AttemptResponsive { .. } => "attempt_responsive",
    Self::AttemptReady { .. } => "attempt_ready",
    Self::AttemptStable { .. } => "attempt_stable",
    Self::AttemptsTooShort { .. } => "attempts_too_short",
    Self::StallReport { .. } => "stall_report",
    Self::HookSlow { .. } => "hook_slow",
    Self::HookPanicked { .. } => "hook_panicked",
    Self::ProcessStarted { .. } => "process_started",
    Self::ProcessKilled { .. } => "process_killed",
    Self::ProcessExited { .. } => "process_exited",
    Self::AttemptSucceeded { .. } => "attempt_succeeded",
    Self::AttemptCancelled { .. } => "attempt_cancelled",
    Self::AttemptFailed { .. } => "attempt_failed",
    Self::AttemptPanicked { .. } => "attempt_panicked",
    Self::AttemptTimedOut { .. } => "attempt_timed_out",
    Self::AttemptUnresponsive { .. } => "attempt_unresponsive",
    Self::AttemptAbandoned { .. } => "attempt_abandoned",
    Self::AttemptReturned { .. } => "attempt_returned",
    Self::RetryScheduled { .. } => "retry_scheduled",
    Self::RunScheduled { .. } => "run_scheduled",
    Self::TaskPaused => "task_paused",
    Self::TaskResumed => "task_resumed",
    Self::SlotTransition { .. } => "slot_transition",
    Self::TaskClosing => "task_closing",
    Self::ClosingAbandoned { .. } => "closing_abandoned",
    Self::ClosingReturned { .. } => "closing_returned",
    Self::TaskEnded { .. } => "task_ended",
    Self::GroupStarting => "group_starting",
    Self::GroupReady { .. } => "group_ready",
    Self::GroupRestarting { .. } => "group_restarting",
    Self::GroupStopping { .. } => "group_stopping",
    Self::GroupEnded => "group_ended",
    Self::DropPanicked { .. } => "drop_panicked",
    Self::ThreadRefused { .. } => "thread_refused",
    Self::ServiceSick { .. } => "service_sick",
    Self::ServiceWell => "service_well",
    Self::NotifyFailed { .. } => "notify_failed",
    Self::SubscriberOverflow { .. } => "subscriber_overflow",
    Self::SubscriberPanicked { .. } => "subscriber_panicked",
    Self::DrainRequested { .. } => "drain_requested",
    Self::ShutdownRequested { .. } => "shutdown_requested",
    Self::ShutdownEnded => "shutdown_ended",
});

impl EventKind {
    /// Returns the number of the attempt that the event is about; `None` if it is not about an
    /// attempt.
    pub const fn attempt(&self) -> Option<u64> {
        match self {
            Self::AttemptStarting { attempt, .. }
            | Self::AttemptStopping { attempt, .. }
            | Self::AttemptOverdue { attempt, .. }
            | Self::AttemptSilent { attempt, .. }
            | Self::AttemptResponsive { attempt }
            | Self::AttemptReady { attempt, .. }
            | Self::AttemptStable { attempt, .. }
            | Self::AttemptsTooShort { attempt, .. }
            | Self::StallReport { attempt, .. }
            | Self::ProcessStarted { attempt, .. }
            | Self::ProcessKilled { attempt, .. }
            | Self::ProcessExited { attempt, .. }
            | Self::AttemptSucceeded { attempt, .. }
            | Self::AttemptCancelled { attempt, .. }
            | Self::AttemptFailed { attempt, .. }
            | Self::AttemptPanicked { attempt, .. }
            | Self::AttemptTimedOut { attempt, .. }
            | Self::AttemptUnresponsive { attempt, .. }
            | Self::AttemptAbandoned { attempt, .. }
            | Self::AttemptReturned { attempt, .. }
            | Self::RetryScheduled { attempt, .. }
            | Self::RunScheduled { attempt, .. } => Some(*attempt),
            Self::HookSlow { source, .. } | Self::HookPanicked { source, .. } => match source {
                HookSource::Attempt(attempt) => Some(*attempt),
                HookSource::Signal(_) | HookSource::TaskEnd => None,
            },
            Self::Submitted { .. }
            | Self::Queued { .. }
            | Self::Admitted
            | Self::Rejected { .. }
            | Self::WaitingForPermit { .. }
            | Self::TaskPaused
            | Self::TaskResumed
            | Self::SlotTransition { .. }
            | Self::TaskClosing
            | Self::ClosingAbandoned { .. }
            | Self::ClosingReturned { .. }
            | Self::TaskEnded { .. }
            | Self::GroupStarting
            | Self::GroupReady { .. }
            | Self::GroupRestarting { .. }
            | Self::GroupStopping { .. }
            | Self::GroupEnded
            | Self::DropPanicked { .. }
            | Self::ThreadRefused { .. }
            | Self::ServiceSick { .. }
            | Self::ServiceWell
            | Self::NotifyFailed { .. }
            | Self::SubscriberOverflow { .. }
            | Self::SubscriberPanicked { .. }
            | Self::DrainRequested { .. }
            | Self::ShutdownRequested { .. }
            | Self::ShutdownEnded => None,
        }
    }

    /// Whether the event is about a subscriber. A panic while a subscriber handles such an event is
    /// not reported.
    pub(crate) const fn is_diagnostic(&self) -> bool {
        matches!(self, Self::SubscriberOverflow { .. } | Self::SubscriberPanicked { .. })
    }
}
