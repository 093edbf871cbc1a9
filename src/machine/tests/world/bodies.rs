//! Where every body is. A body is one value: it leaves for its attempt, comes back or is dropped
//! there as no longer needed, and in the end is dropped once, before the next owner of its slot is
//! let in. Only what a released attempt took with it stays out; and a body that may run again
//! beside such an attempt leaves a copy behind.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

use crate::vocabulary::id::TaskId;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "copies may be in several places")]
struct Body {
    /// The slot's name.
    slot: Option<u32>,
    /// It leaves a copy behind.
    is_copied: bool,
    /// With the runtime.
    on_shelf: bool,
    /// With a job, on a thread, or on its way home.
    is_away: bool,
    /// With released attempts.
    n_lost: u32,
    was_offered: bool,
    is_discarded: bool,
    /// Bodies to be dropped by the job that starts this one.
    inherited: Vec<TaskId>,
}

#[derive(Default)]
pub(super) struct Bodies(BTreeMap<TaskId, Body>);

impl Bodies {
    pub(super) fn arrives(&mut self, task: TaskId, slot: Option<u32>, is_copied: bool) {
        let body = Body {
            slot,
            is_copied,
            on_shelf: true,
            is_away: false,
            n_lost: 0,
            was_offered: false,
            is_discarded: false,
            inherited: Vec::new(),
        };
        assert!(self.0.insert(task, body).is_none(), "an id is used twice");
    }

    /// Its attempt is offered.
    pub(super) fn leaves(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.on_shelf && !body.is_away, "{task} is started without its body");
        assert!(!body.is_discarded, "{task} is started although its body is given up");
        assert!(body.n_lost == 0 || body.is_copied, "{task} runs twice at a time");
        (body.on_shelf, body.is_away, body.was_offered) = (body.is_copied, true, true);
    }

    /// The offer was taken back.
    pub(super) fn comes_back(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.is_away);
        (body.on_shelf, body.is_away) = (true, false);
    }

    /// The job first drops what it inherited, then runs the body.
    pub(super) fn is_claimed(&mut self, task: TaskId, slot: Option<u32>) {
        for inherited in mem::take(&mut self.body(task).inherited) {
            self.drop_body(inherited);
        }
        let same_slot = |body: &&Body| slot.is_some() && body.slot == slot;
        let still_open = self.0.values().filter(same_slot).any(|body| !body.inherited.is_empty());
        assert!(!still_open, "{task} runs while the body of an owner before it is open");
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
    }

    /// The report of the return has come, with the body or without.
    pub(super) fn comes_home(&mut self, task: TaskId, carried: bool, released: bool) {
        let body = self.body(task);
        if released {
            body.n_lost -= u32::from(carried);
        } else {
            assert_eq!(body.is_away, carried);
            (body.on_shelf, body.is_away) = (carried, false);
        }
    }

    /// Gives a body up. Those that nobody inherits are to be dropped by a job of their own.
    pub(super) fn discard(&mut self, task: TaskId, heir: Option<TaskId>) -> Vec<TaskId> {
        let body = self.body(task);
        assert!(!mem::replace(&mut body.is_discarded, true), "{task} is discarded twice");
        assert!(!body.is_away, "{task} is discarded while a thread has it");
        let mut bodies = mem::take(&mut body.inherited);
        if body.on_shelf {
            bodies.push(task);
        }
        let Some(heir) = heir else { return bodies };
        let heir_body = self.body(heir);
        assert!(!heir_body.was_offered, "{heir} was started before it inherited from {task}");
        heir_body.inherited.append(&mut bodies);
        bodies
    }

    pub(super) fn drop_body(&mut self, task: TaskId) {
        let body = self.body(task);
        assert!(body.is_discarded, "the body of {task} is dropped unasked");
        assert!(mem::replace(&mut body.on_shelf, false), "a body is dropped twice");
    }

    /// But for what is lost.
    pub(super) fn is_dropped(&self, task: TaskId) -> bool {
        !self.0[&task].on_shelf && !self.0[&task].is_away
    }

    pub(super) fn finish(&self) {
        for (task, body) in &self.0 {
            assert!(self.is_dropped(*task) && body.n_lost == 0, "the body of {task} is left");
            assert!(body.is_discarded, "{task} was never discarded");
        }
    }

    fn body(&mut self, task: TaskId) -> &mut Body {
        self.0.get_mut(&task).expect("the body of a task that was submitted")
    }
}
