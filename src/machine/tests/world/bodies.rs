//! Where every body is. A body is one value: it leaves for its attempt, comes back or is dropped
//! there as no longer needed. In the end it is dropped once, before its slot has another owner and
//! before the outcome of its task. Only what a released attempt or a stuck drop took with it stays
//! out; and a body that may run again beside such an attempt leaves a copy behind.

use alloc::collections::BTreeMap;
use core::mem;

use crate::machine::End;
use crate::vocabulary::id::TaskId;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "copies may be in several places")]
struct Body {
    /// The slot's name.
    slot: Option<u32>,
    /// It leaves a copy behind.
    is_copied: bool,
    needs_drop: bool,
    /// Its task has become the owner of its slot.
    is_owner: bool,
    /// With the runtime.
    on_shelf: bool,
    /// With a job, on a thread, or on its way home.
    is_away: bool,
    /// Offered to be dropped, or being dropped.
    is_closing: bool,
    was_closed: bool,
    /// Its drop outlived its grace.
    is_stuck: bool,
    /// Nobody took its drop up before the end of a shutdown.
    is_untaken: bool,
    /// With released attempts.
    n_lost: u32,
    /// The latest attempt was released: what it has left may go any time.
    is_left: bool,
}

#[derive(Default)]
pub(super) struct Bodies(BTreeMap<TaskId, Body>);

impl Body {
    /// But for what is lost.
    fn is_gone(&self) -> bool {
        !self.needs_drop || !(self.on_shelf || self.is_away || self.is_closing)
    }
}

impl Bodies {
    pub(super) fn arrives(
        &mut self,
        task: TaskId,
        slot: Option<u32>,
        is_copied: bool,
        needs_drop: bool,
    ) {
        let body = Body {
            slot,
            is_copied,
            needs_drop,
            is_owner: false,
            on_shelf: true,
            is_away: false,
            is_closing: false,
            was_closed: false,
            is_stuck: false,
            is_untaken: false,
            n_lost: 0,
            is_left: false,
        };
        assert!(self.0.insert(task, body).is_none(), "an id is used twice");
    }

    /// The task is the owner of its slot: no body of an owner before it is open, unless it is
    /// stuck.
    pub(super) fn is_admitted(&mut self, task: TaskId) {
        let slot = self.body(task).slot;
        let before = self.0.iter().filter(|(_, body)| body.is_owner && body.slot == slot);
        let open = before.clone().find(|(_, body)| {
            !body.is_gone() && !body.is_stuck && !body.is_left && body.n_lost == 0
        });
        assert!(slot.is_none() || open.is_none(), "{task} is admitted while {open:?} is open");
        self.body(task).is_owner = true;
    }

    /// The spec went back to the caller.
    pub(super) fn is_given_back(&mut self, task: TaskId) {
        self.body(task).on_shelf = false;
    }

    /// Its attempt is offered.
    pub(super) fn leaves(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.on_shelf && !body.is_away, "{task} is started without its body");
        assert!(body.n_lost == 0 || body.is_copied, "{task} runs twice at a time");
        (body.on_shelf, body.is_away, body.is_left) = (body.is_copied, true, false);
    }

    /// The offer was taken back.
    pub(super) fn comes_back(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.is_away);
        (body.on_shelf, body.is_away) = (true, false);
    }

    /// The attempt has returned, and the worker drops the body because that was the last.
    pub(super) fn is_dropped_there(&mut self, task: TaskId, released: bool) {
        let body = self.body(task);
        if released {
            body.n_lost -= 1;
        } else {
            assert!(mem::replace(&mut body.is_away, false), "a body is dropped twice");
        }
    }

    /// The attempt is its task's no more.
    pub(super) fn is_released(&mut self, task: TaskId) {
        let body = self.body(task);
        body.n_lost += u32::from(mem::replace(&mut body.is_away, false));
        body.is_left = true;
    }

    /// The report of the return has come, with the body or without. Gives whether none is left.
    pub(super) fn comes_home(&mut self, task: TaskId, carried: bool, released: bool) -> bool {
        let body = self.body(task);
        if released {
            body.n_lost -= u32::from(carried);
        } else {
            assert_eq!(body.is_away, carried);
            (body.on_shelf, body.is_away) = (carried || body.on_shelf, false);
        }
        !body.on_shelf
    }

    /// A worker is to drop it.
    pub(super) fn closes(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.on_shelf && !body.is_away, "{task} is closed without its body");
        assert!(body.needs_drop, "{task} is closed for nothing");
        assert!(!mem::replace(&mut body.was_closed, true), "{task} is closed twice");
        (body.on_shelf, body.is_closing) = (false, true);
    }

    /// It is dropped.
    pub(super) fn is_closed(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(mem::replace(&mut body.is_closing, false), "a body is dropped twice");
        body.is_stuck = false;
    }

    /// Its drop is given up, for it hangs or nobody has begun with it.
    pub(super) fn is_given_up(&mut self, task: TaskId, untaken: bool) {
        let body = self.body(task);
        (body.is_stuck, body.is_untaken) = (!untaken, untaken);
    }

    /// The outcome is delivered: it means closed.
    pub(super) fn is_over(&mut self, task: TaskId, end: End) {
        let body = self.body(task);
        let excused = matches!(end, End::Abandoned { .. }) || body.is_stuck || body.is_untaken;
        assert!(excused || body.is_gone(), "{end:?} is the end of {task}, whose body is open");
    }

    /// The runtime has nothing of it any more.
    pub(super) fn is_forgotten(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(!body.is_away, "{task} is forgotten while a thread has its body");
        body.on_shelf = false;
    }

    pub(super) fn finish(&self) {
        for (task, body) in &self.0 {
            let left = body.on_shelf || body.is_away || body.is_closing || body.n_lost > 0;
            assert!(!left, "the body of {task} is left: {body:?}");
        }
    }

    fn body(&mut self, task: TaskId) -> &mut Body {
        self.0.get_mut(&task).expect("the body of a task that was submitted")
    }
}
