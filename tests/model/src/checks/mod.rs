//! Checks of what users' threads and the supervisor's share.

// A check that is not listed is one that does not run.
#![warn(dead_code)]

pub(crate) mod attempt;
pub(crate) mod bell;
pub(crate) mod door;
pub(crate) mod group;
pub(crate) mod hooks;
pub(crate) mod nudges;
pub(crate) mod output;
pub(crate) mod parking;
pub(crate) mod record;
pub(crate) mod token;
#[cfg(not(feature = "loom"))]
pub(crate) mod whole;

use std::sync::Arc;
use std::time::Duration;

use crate::platform::model_clock::ModelClock;
use crate::task::body::Body;
use crate::task::cell::{Allowance, Cell, Load, Thread};
use crate::task::class_names::ClassNames;
use crate::task::door::{Door, Inbox};
use crate::task::fact::Fact;
use crate::task::record::Record;
use crate::vocabulary::id::{AttemptAddr, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::{RealTime, Time};

/// An attempt, and what its supervisor would hear of it.
pub(crate) struct Stage {
    pub(crate) cell: Arc<Cell>,
    pub(crate) inbox: Inbox,
}

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn body() -> Body {
    Body::repeat(|_| Ok(()))
}

/// One that only its handles know.
pub(crate) fn record() -> Arc<Record> {
    let (door, _inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
    record_of(&door)
}

pub(crate) fn record_of(door: &Arc<Door>) -> Arc<Record> {
    Arc::new(Record::new(Arc::clone(door), TaskId::new(1), Arc::from("task"), None))
}

pub(crate) const fn attempt(attempt: u64) -> AttemptAddr {
    AttemptAddr { task: TaskAddr { key: TaskKey(0), id: TaskId::new(1) }, number: attempt }
}

pub(crate) fn load(body: Body, allowance: Allowance) -> Load {
    Load { body, allowance, class_index: None, failures: 0, last_failure: None }
}

pub(crate) fn me() -> Thread {
    Thread { name: Arc::from("w1"), tid: None }
}

impl Stage {
    pub(crate) fn offered(allowance: Allowance) -> Self {
        let (door, inbox) = Door::new(ModelClock::start_now(), 4, ClassNames::default());
        let load = load(body(), allowance);
        Self { cell: Arc::new(Cell::offer(record_of(&door), attempt(1), load)), inbox }
    }

    pub(crate) fn claimed(allowance: Allowance) -> Self {
        let stage = Self::offered(allowance);
        assert!(stage.cell.claim(&me()).is_some());
        stage
    }

    pub(crate) fn running() -> Self {
        Self::claimed(Allowance::default())
    }

    /// How often somebody asked for the thread of last resort for hooks.
    pub(crate) fn last_resorts_asked(&self) -> usize {
        self.inbox.facts.try_iter().filter(|it| matches!(it, Fact::LastResortWanted)).count()
    }
}

/// What a controller does with a token, and then a worker with its hooks.
pub(crate) fn cancel(cell: &Arc<Cell>, reason: CancelReason) -> Option<RealTime> {
    cell.tell(reason, Time::ZERO, Time::NEVER);
    if !cell.has_hooks() {
        return None;
    }
    cell.run_hooks()
}
