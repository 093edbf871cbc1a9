//! What threads report to the controller: each message is a fact about an attempt, a hook, a thread
//! or a lane, sent without waiting for an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::TaskError;
use crate::output::hook::{HookSource, RunningHook};
use crate::platform::stall::Stall;
use crate::task::body::Body;
use crate::task::cell::{Cell, Thread};
use crate::task::on_signal::SignalHook;
use crate::task::record::Record;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::AttemptAddr;
use crate::vocabulary::id::TaskRef;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::{RealTime, Time};

/// Something that a thread reports, or the pool on its behalf.
pub(crate) enum Fact {
    /// A thread has taken up an attempt.
    Claimed { attempt: AttemptAddr, at: Time },
    /// A body says that its attempt is ready, which is now overdue at `until`.
    Ready { attempt: AttemptAddr, claimed_at: Time, at: Time, until: Time },
    /// A body does something in vain. A logger is user code, so another thread says so.
    Warning { text: String },
    /// A body says what its process does.
    #[cfg(all(unix, feature = "process"))]
    Process { record: Arc<Record>, kind: crate::output::event::EventKind },
    /// A body has returned.
    Returned(Returned),
    /// The destructor of a user value panicked.
    DropPanicked { message: String },
    /// A body that will not run again is dropped.
    Closed { attempt: AttemptAddr },
    /// That drop has taken over 100 ms so far.
    ClosingSlow { attempt: AttemptAddr, since: Time },
    /// A thread was examined; `None` if it had moved on.
    Examined { cell: Arc<Cell>, stall: Option<Stall> },
    /// A hook was registered, and there is no thread of last resort yet.
    LastResortWanted,
    /// A hook panicked.
    HookPanicked { owner: HookOwner, message: String },
    /// Hooks of one owner take, or took, over 100 ms.
    HookSlow { owner: HookOwner, ran: Duration },
    /// A hook outlived its grace.
    HookAbandoned,
    /// A hook that counted as abandoned has returned.
    HookReturned,
    /// Nudges of an attempt are due again at that time.
    HooksDue { cell: Arc<Cell>, due: RealTime },
    /// The system refused a thread; the next try is after `retry_in`.
    ThreadRefused { error: io::Error, retry_in: Duration },
    /// A thread that was sent home to make room for another has left.
    RoomMade,
    /// A thread was started, but the user's `on_thread_start` failed on it.
    SetUpFailed { role: Role, error: io::Error },
    /// A subscriber panicked.
    SubscriberPanicked { subscriber: Arc<str>, message: String },
    /// A body has parked, or a thread has nothing more to do, where a manual clock holds the time.
    CameToRest,
    /// A file or a device for the service manager could not be written.
    ChoreFailed { error: io::Error },
    /// A lane has served its last event.
    LaneFlushed,
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Pooled,
    /// One attempt, which waits for another thread now.
    Dedicated,
    /// The one of last resort for hooks.
    Hooks,
}

/// Whose hooks wait or run.
#[derive(Clone)]
pub(crate) enum HookOwner {
    Attempt(Arc<Cell>),
    Signal(Arc<SignalHook>),
    /// Callbacks of `on_end`.
    TaskEnd(Arc<Record>),
}

impl HookOwner {
    /// When hooks that began to run at `since` outlive their grace. Those that belong to no attempt
    /// have the supervisor's `grace`.
    pub(crate) fn until(&self, since: Time, grace: Duration) -> Time {
        match self {
            Self::Attempt(cell) => cell.until(),
            Self::Signal(_) | Self::TaskEnd(_) => since.after(grace),
        }
    }

    /// As reports name what this thread runs.
    pub(crate) fn running(&self, Thread { name, tid }: Thread, since: Time) -> RunningHook {
        let (source, task, since) = (self.source(), self.task(), since.since_start());
        RunningHook { source, task, since, thread: name, tid }
    }

    pub(crate) fn source(&self) -> HookSource {
        match self {
            Self::Attempt(cell) => HookSource::Attempt(cell.attempt.number),
            Self::Signal(hook) => HookSource::Signal(hook.signal),
            Self::TaskEnd(_) => HookSource::TaskEnd,
        }
    }

    pub(crate) fn task(&self) -> Option<TaskRef> {
        match self {
            Self::Attempt(cell) => Some(cell.record.task_ref()),
            Self::Signal(_) => None,
            Self::TaskEnd(record) => Some(record.task_ref()),
        }
    }
}

/// How an attempt returned, with its error and its body.
pub(crate) struct Returned {
    pub(crate) attempt: AttemptAddr,
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    pub(crate) ret: Return,
    pub(crate) error: Option<TaskError>,
    /// The body; `None` if it will not run again, because then it is already dropped.
    pub(crate) body: Option<Body>,
}
