//! Attempts and closings that were abandoned and released: they still run, but their tasks no
//! longer wait for them.

use std::sync::Arc;

use super::values::Belongings;
use crate::output::error::TaskError;
use crate::platform::stall::Stall;
use crate::task::cell::Cell;
use crate::vocabulary::id::{AttemptAddr, TaskRef};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// One such attempt.
pub(super) struct Released {
    attempt: AttemptAddr,
    pub(super) task: TaskRef,
    pub(super) cell: Arc<Cell>,
    /// What it was told, as the machine knows it: one that was about to return may not have heard.
    pub(super) told: CancelReason,
    pub(super) since: Time,
    pub(super) stall: Option<Stall>,
    /// The error that it returned, if it has returned one.
    pub(super) error: Option<TaskError>,
}

impl Released {
    /// An attempt and the closing after it have the same address.
    fn is(&self, attempt: AttemptAddr, closing: bool) -> bool {
        self.attempt == attempt && self.cell.closing == closing
    }
}

/// All released attempts. There are few at a time, because `max_abandoned` limits them.
#[derive(Default)]
pub(super) struct ReleasedAttempts(Vec<Released>);

impl ReleasedAttempts {
    /// Takes over the latest attempt of a task, or its closing.
    pub(super) fn enter(
        &mut self,
        attempt: AttemptAddr,
        belongings: &mut Belongings,
        told: CancelReason,
        since: Time,
    ) {
        let Some(cell) = belongings.cell.take() else { return };
        let (task, stall) = (belongings.task_ref(), belongings.stall().cloned());
        self.0.push(Released { attempt, task, cell, told, since, stall, error: None });
    }

    pub(super) fn find(&self, attempt: AttemptAddr, closing: bool) -> Option<&Released> {
        self.0.iter().find(|it| it.is(attempt, closing))
    }

    pub(super) fn find_mut(
        &mut self,
        attempt: AttemptAddr,
        closing: bool,
    ) -> Option<&mut Released> {
        self.0.iter_mut().find(|it| it.is(attempt, closing))
    }

    /// Forgets what has returned.
    pub(super) fn remove(&mut self, attempt: AttemptAddr, closing: bool) {
        self.0.retain(|it| !it.is(attempt, closing));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Released> {
        self.0.iter()
    }
}
