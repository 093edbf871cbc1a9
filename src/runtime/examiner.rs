//! Stuck attempts whose threads are looked at, where the system can tell what a thread does.

use std::sync::Arc;

use super::pool::{Examinee, Work};
use crate::task::cell::Cell;
use crate::vocabulary::id::AttemptAddr;

#[derive(Default)]
pub(super) struct Examiner {
    /// Those whose turn has not come.
    waiting: Vec<Examinee>,
    /// How many are being looked at.
    open: usize,
}

impl Examiner {
    /// Has the thread of an attempt looked at, if it can be.
    pub(super) fn push(&mut self, attempt: AttemptAddr, cell: &Arc<Cell>) {
        if cell.thread().is_some_and(|thread| thread.tid.is_some()) {
            self.waiting.push(Examinee { attempt, cell: Arc::clone(cell) });
        }
    }

    /// The next look. One at a time, however many hang: a crowd of looks would ask for a crowd of
    /// threads.
    pub(super) fn next_look(&mut self) -> Option<Work> {
        if self.waiting.is_empty() || self.open > 0 {
            return None;
        }
        let examinees = std::mem::take(&mut self.waiting);
        self.open = examinees.len();
        Some(Work::Examine(examinees))
    }

    /// One of them was looked at.
    pub(super) fn note_examined(&mut self) {
        self.open -= 1;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open == 0
    }
}
