//! The examination of the threads of silent, overdue and abandoned attempts, where the system can
//! say what a thread does.

use std::sync::Arc;

use super::pool::{Examinee, Work};
use crate::task::cell::Cell;

#[derive(Default)]
pub(super) struct Examiner {
    /// Attempts that are not being examined yet.
    waiting: Vec<Examinee>,
    /// How many are being examined.
    open: usize,
}

impl Examiner {
    /// Has the thread of an attempt examined, if possible.
    pub(super) fn push(&mut self, cell: &Arc<Cell>) {
        if cell.thread().is_some_and(|thread| thread.tid.is_some()) {
            self.waiting.push(Examinee { cell: Arc::clone(cell) });
        }
    }

    /// The next examination. Only one runs at a time, however many attempts hang, because each one
    /// takes a thread.
    pub(super) fn next_look(&mut self) -> Option<Work> {
        if self.waiting.is_empty() || self.open > 0 {
            return None;
        }
        let examinees = std::mem::take(&mut self.waiting);
        self.open = examinees.len();
        Some(Work::Examine(examinees))
    }

    /// One of them was examined.
    pub(super) fn note_examined(&mut self) {
        self.open -= 1;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open == 0
    }
}
