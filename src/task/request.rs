//! Requests of callers to the controller.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::output::hook::RunningHook;
use crate::output::not_quiet::BusyAttempt;
use crate::platform::user_value::UserValue;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::{RealTime, Time};

/// An order or a question to the controller.
pub(crate) enum Request {
    /// Do this. Its asker brings the answer along, so that a program contains only the answers to
    /// questions that it asks.
    Ask(Question),
    /// Let what will end by itself end, for at most so long, then shut down.
    Drain(Duration),
    /// Have the callbacks of a task run, which is over.
    EndCalls(UserValue<DueCalls>),
    /// Shut down.
    Shutdown(ShutdownCause),
    /// The process received a signal at this time.
    // Only a signal makes one.
    #[cfg_attr(not(all(unix, feature = "signals")), allow(dead_code))]
    Signal(Signal, RealTime),
}

/// What the controller runs for a caller, with itself.
pub(crate) type Question = Box<dyn FnOnce(&mut dyn Any) + Send>;

/// A group that has not ended, and its members.
pub(crate) type FoundGroup = (Arc<GroupRecord>, Vec<Arc<Record>>);

/// What the program has to say to the service manager.
pub(crate) enum ServiceRequest {
    /// All required tasks are handed over.
    Announce,
    /// This text stands in the status.
    Status(String),
    BeginReload,
    EndReload,
}

/// What a caller waits for who waits for the supervisor as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Every task has its outcome.
    Idle,
    IdleOrShutdown,
    /// A shutdown has begun.
    Shutdown,
}

/// Nothing more happens before the clock moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// When something is due.
    pub(crate) next: Time,
    /// How much the machine has been told so far; wraps around. If it was told nothing between two
    /// answers, nothing happened in between.
    pub(crate) inputs: u32,
}

/// What keeps a supervisor from settling.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) busy: Vec<BusyAttempt>,
    /// The hooks that run and belong to no attempt.
    pub(crate) hooks: Vec<RunningHook>,
    /// How many other destructors run.
    pub(crate) drops: u32,
    /// Attempts, hooks and drops that no thread has taken.
    pub(crate) unstarted: usize,
    /// Lanes that have not called back all their events.
    pub(crate) lanes: usize,
    pub(crate) next: Time,
}

/// The duty to run the callbacks of a task that is over, on its way to the controller. If the
/// supervisor has ended, whoever drops the duty runs them. It travels as a user value, so that this
/// is not the controller.
pub(crate) struct DueCalls(Option<Arc<Record>>);

impl DueCalls {
    pub(super) fn of(record: &Arc<Record>) -> UserValue<Self> {
        UserValue::new(Self(Some(Arc::clone(record))))
    }

    /// The task whose callbacks the taker must have run.
    pub(crate) fn take(&mut self) -> Option<Arc<Record>> {
        self.0.take()
    }
}

impl Drop for DueCalls {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            // No subscriber gets events any more.
            record.run_end_calls(|message| {
                let (of, text) = (record.task_ref(), Escaped(message));
                log::warn!(target: "threadvisor", "a callback of {of} panicked: {text}");
            });
        }
    }
}
