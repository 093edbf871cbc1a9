//! What the handles of a group, its members' submissions and the controller share of it.

use std::sync::Arc;
use std::time::Duration;

use crate::output::error::WaitError;
use crate::platform::sync::Mutex;
use crate::task::cell::{Cell, Waiting};
use crate::vocabulary::group::{RestartLimit, Strategy};

pub(crate) struct GroupRecord {
    pub(crate) name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    readiness: Readiness,
    waiting: Waiting,
}

/// What those hear who wait until a group is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Readiness {
    /// Nothing yet.
    #[default]
    Awaited,
    Ready,
    /// It stops, or has ended.
    Never,
}

impl GroupRecord {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, state: Mutex::default() }
    }

    pub(crate) fn note(&self, readiness: Readiness) {
        self.change(|_| readiness);
    }

    fn change(&self, next: impl FnOnce(Readiness) -> Readiness) {
        let mut state = self.state.lock();
        state.readiness = next(state.readiness);
        let waiting = std::mem::take(&mut state.waiting);
        // A cell has a lock of its own, under which this one is taken.
        drop(state);
        waiting.wake_all();
    }

    /// Waits until the group is ready (true), `span` has passed (false), or the token of the cell
    /// is cancelled.
    pub(crate) fn wait_ready(&self, cell: &Arc<Cell>, span: Duration) -> Result<bool, WaitError> {
        let due = cell.clock().now().after(span);
        // One that was told before is answered at once.
        let hears = cell.check().is_ok() && !span.is_zero();
        loop {
            // The time is read first, so that what came in time is not missed.
            let late = cell.clock().now() >= due;
            let mut state = self.state.lock();
            match state.readiness {
                Readiness::Ready => return Ok(true),
                Readiness::Never => {
                    drop(state);
                    if hears {
                        cell.hear_of_shutdown(Duration::MAX)?;
                    }
                    return Err(WaitError::NotReady);
                }
                Readiness::Awaited if late => return Ok(false),
                // It may be over again by the time this thread looks.
                Readiness::Awaited => state.waiting.add(cell),
            }
            drop(state);
            cell.wait_until(due, || !self.state.lock().waiting.contains(cell))?;
        }
    }
}

/// A group on its way to the controller, and as long as that knows of it: when it is dropped, the
/// group has ended.
pub(crate) struct GroupEntry {
    pub(crate) record: Arc<GroupRecord>,
    pub(crate) strategy: Strategy,
    pub(crate) restart_limit: Option<RestartLimit>,
    /// How many members each phase has.
    pub(crate) phases: Vec<u32>,
}

impl Drop for GroupEntry {
    fn drop(&mut self) {
        // One that was ready, and ended because its members did, has been what it was to be.
        self.record.change(|readiness| match readiness {
            Readiness::Ready => Readiness::Ready,
            Readiness::Awaited | Readiness::Never => Readiness::Never,
        });
    }
}
