//! The order of the events, as a subscriber sees them who sees nothing else: each has its cause
//! before it, a slot has one owner at a time, no more attempts run than may, and nothing follows an
//! end but the late return of what was given up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::machine::{Ending, Input, Notice};
use crate::vocabulary::id::{AttemptAddr, ClassKey, TaskAddr, TaskId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Submitted,
    Queued,
    /// Admitted; a permit, a thread or a moment is waited for.
    Owner,
    Runs,
    /// The attempt ended so; what follows was not said yet.
    Between(Between),
    /// Given up, and held by its task.
    Held,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Success,
    Failure,
    /// It may go on at once.
    Other,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what was said, not what state it is in")]
struct Story {
    slot: Option<u32>,
    class: Option<ClassKey>,
    /// The first member of its group.
    group: Option<TaskId>,
    place: Place,
    attempt: u64,
    waits_for_permit: bool,
    waits_for_class: bool,
    /// How many bodies wait for it.
    awaited: u32,
    /// Its next attempt, or the one that runs, may need no permit: a body waits, or has waited, for
    /// the task or for one in the queue of its slot.
    is_urgent: bool,
    is_silent: bool,
    is_ready: bool,
    is_terminating: bool,
    was_warned: bool,
    is_paused: bool,
    /// Its body is being dropped; and that outlived its grace.
    is_closing: bool,
    is_stuck: bool,
    /// Given up and run on; held by its task, or not.
    held: Option<u64>,
    released: Vec<u64>,
}

pub(super) struct Events {
    max_concurrent: usize,
    stories: BTreeMap<TaskId, Story>,
    /// By the slot's name.
    owners: BTreeMap<u32, TaskId>,
    queued: BTreeMap<u32, u32>,
    running: usize,
    /// So many of those that run may have needed no permit.
    urgent: usize,
    has_begun_to_end: bool,
    has_ended: bool,
}

impl Events {
    pub(super) fn new(max_concurrent: Option<u32>) -> Self {
        Self {
            max_concurrent: max_concurrent.map_or(usize::MAX, |most| most as usize),
            stories: BTreeMap::new(),
            owners: BTreeMap::new(),
            queued: BTreeMap::new(),
            running: 0,
            urgent: 0,
            has_begun_to_end: false,
            has_ended: false,
        }
    }

    /// Waits of bodies are no events, but decide who needs a permit.
    pub(super) fn input(&mut self, input: &Input) {
        if let Input::GroupSubmitted(submission) = input {
            for member in &submission.members {
                self.story(member.addr).group = Some(submission.group.first);
            }
        }
        match *input {
            Input::WaitBegan(task) => {
                self.story(task).awaited += 1;
                for id in self.awaited() {
                    let story = self.stories.get_mut(&id).expect("a task that was submitted");
                    // One that runs has the permit that it needed; only what follows is urgent.
                    story.is_urgent |= story.place != Place::Runs && story.held.is_none();
                    if let Some(class) = story.class {
                        self.hurry(class);
                    }
                }
            }
            Input::WaitEnded(task) => self.story(task).awaited -= 1,
            _ => {}
        }
    }

    /// The tasks that bodies wait for, the owners of the slots for which these are queued, and all
    /// that may have to be ready before one of them starts.
    fn awaited(&self) -> BTreeSet<TaskId> {
        let direct = self.stories.iter().filter(|(_, it)| it.awaited > 0);
        let mut found: BTreeSet<_> = direct.map(|(id, _)| *id).collect();
        let mut unseen: Vec<_> = found.iter().copied().collect();
        while let Some(id) = unseen.pop() {
            let story = &self.stories[&id];
            let owner = story.slot.filter(|_| story.place == Place::Queued);
            let owner = owner.and_then(|slot| self.owners.get(&slot).copied());
            let beside = self.stories.iter().filter(|(_, it)| {
                let lives = story.place != Place::Ended && it.place != Place::Ended;
                story.group.is_some() && it.group == story.group && lives
            });
            let before = beside.map(|(id, _)| *id).chain(owner);
            unseen.extend(before.filter(|id| found.insert(*id)));
        }
        found
    }

    fn is_awaited(&self, task: TaskId) -> bool {
        self.awaited().contains(&task)
    }

    /// If a body waits for one that waits for this class, or did until a moment ago, those that
    /// hold that up may need no permit.
    fn hurry(&mut self, class: ClassKey) {
        let in_line = |it: &Story| it.waits_for_class && it.place == Place::Owner && !it.is_closing;
        let waits = |it: &Story| it.class == Some(class) && in_line(it);
        if self.stories.iter().any(|(id, it)| waits(it) && self.is_awaited(*id)) {
            let waits = |it: &&mut Story| it.place != Place::Runs && it.held.is_none();
            let members = self.stories.values_mut().filter(|it| it.class == Some(class));
            members.filter(waits).for_each(|it| it.is_urgent = true);
        }
    }

    /// An attempt is in nobody's way any more.
    fn makes_way(&mut self, task: TaskId) {
        let is_awaited = self.is_awaited(task);
        let story = self.stories.get_mut(&task).expect("a task that was submitted");
        self.running -= 1;
        self.urgent -= usize::from(core::mem::replace(&mut story.is_urgent, is_awaited));
    }

    pub(super) fn submitted(&mut self, task: TaskId, slot: Option<u32>, class: Option<ClassKey>) {
        let story = Story {
            slot,
            class,
            group: None,
            place: Place::Ended,
            attempt: 0,
            waits_for_permit: false,
            waits_for_class: false,
            awaited: 0,
            is_urgent: false,
            is_silent: false,
            is_ready: false,
            is_terminating: false,
            was_warned: false,
            is_paused: false,
            is_closing: false,
            is_stuck: false,
            held: None,
            released: Vec::new(),
        };
        assert!(self.stories.insert(task, story).is_none(), "an id is used twice");
    }

    pub(super) fn see(&mut self, notice: Notice) {
        match notice {
            Notice::Submitted { task, .. } => {
                let story = self.story(task);
                assert_eq!((story.place, story.attempt), (Place::Ended, 0), "submitted twice");
                story.place = Place::Submitted;
            }
            Notice::Queued { task, depth } => {
                let story = self.story(task);
                assert_eq!(story.place, Place::Submitted, "{story:?}");
                story.place = Place::Queued;
                let slot = story.slot.expect("a queue belongs to a slot");
                let queued = self.queued.entry(slot).or_default();
                *queued += 1;
                assert_eq!(depth, *queued, "the queue of slot {slot} is misread");
            }
            Notice::Admitted { task } => self.admitted(task),
            Notice::Rejected { task, .. } => {
                let story = self.story(task);
                let may = matches!(story.place, Place::Submitted | Place::Queued | Place::Owner);
                assert!(may && story.attempt == 0, "{task:?} is refused after its start");
                self.ends(task);
            }
            Notice::WaitingForPermit { task, class } => {
                let story = self.story(task);
                let between = matches!(story.place, Place::Owner | Place::Between(_));
                assert!(between && !story.is_paused, "{story:?}");
                // A member may have left the line, as its group restarts.
                let again = story.waits_for_permit || (class.is_some() && story.waits_for_class);
                assert!(!again || story.group.is_some(), "{story:?}");
                story.place = Place::Owner;
                if let Some(class) = class {
                    story.waits_for_class = true;
                    return self.hurry(class);
                }
                (story.waits_for_class, story.waits_for_permit) = (false, true);
                story.is_urgent = false;
                assert!(!self.is_awaited(task.id), "{task:?} waits, and a body waits for it");
            }
            Notice::TaskPaused { .. } | Notice::TaskResumed { .. } => self.see_pause(notice),
            Notice::SlotTransition { task, terminating } => {
                let story = self.story(task);
                assert_ne!(story.is_terminating, terminating, "{story:?}");
                story.is_terminating = terminating;
                let slot = story.slot.expect("only a slot can be on its way out");
                assert!(!terminating || self.owners.get(&slot) == Some(&task.id), "no owner");
            }
            Notice::TaskEnded { task, .. } => {
                let (place, attempt) = (self.story(task).place, self.story(task).attempt);
                // One that is revoked has waited for a thread; one that ends while it runs is
                // given up, and was seen to be; one that is stopped may never have been admitted.
                let may = !matches!(place, Place::Runs | Place::Ended);
                assert!(may, "{task:?} ends after {place:?} of attempt {attempt}");
                self.ends(task);
            }
            Notice::TaskClosing { .. }
            | Notice::ClosingAbandoned { .. }
            | Notice::ClosingReturned { .. } => self.see_closing(notice),
            Notice::DrainRequested { .. } => {
                assert!(!self.has_begun_to_end, "a drain begins in a shutdown");
            }
            Notice::ShutdownRequested { .. } => {
                assert!(!self.has_begun_to_end, "the shutdown begins twice");
                self.has_begun_to_end = true;
            }
            Notice::ShutdownEnded => {
                assert!(self.has_begun_to_end && !self.has_ended, "an end without beginning");
                let open = self.stories.values().find(|story| story.place != Place::Ended);
                assert!(open.is_none(), "the shutdown ends before {open:?}");
                self.has_ended = true;
            }
            _ => self.see_attempt(notice),
        }
    }

    fn see_pause(&mut self, notice: Notice) {
        match notice {
            Notice::TaskPaused { task } => {
                let story = self.story(task);
                assert!(!story.is_paused && !story.is_closing, "{story:?}");
                assert!(!matches!(story.place, Place::Submitted | Place::Ended), "{story:?}");
                story.is_paused = true;
                (story.waits_for_permit, story.waits_for_class) = (false, false);
                assert!(!self.has_begun_to_end, "a pause in a shutdown");
            }
            Notice::TaskResumed { task } => {
                let story = self.story(task);
                assert!(story.is_paused && !story.is_closing, "{story:?}");
                assert_ne!(story.place, Place::Ended, "{story:?}");
                story.is_paused = false;
                if let Place::Between(_) = story.place {
                    story.place = Place::Owner;
                }
            }
            _ => unreachable!("{notice:?} is not about a pause"),
        }
    }

    fn see_closing(&mut self, notice: Notice) {
        match notice {
            Notice::TaskClosing { attempt } => {
                let story = self.story(attempt.task);
                let may = story.held.is_none() && !story.is_closing && story.place != Place::Runs;
                assert!(may, "{story:?}");
                story.is_closing = true;
                if let (Place::Queued, Some(slot)) = (story.place, story.slot) {
                    story.place = Place::Submitted;
                    *self.queued.entry(slot).or_default() -= 1;
                }
            }
            Notice::ClosingAbandoned { attempt } => {
                let story = self.story(attempt.task);
                assert!(story.is_closing && !story.is_stuck, "{story:?}");
                story.is_stuck = true;
            }
            Notice::ClosingReturned { attempt, .. } => {
                let story = self.story(attempt.task);
                assert!(story.is_stuck && story.place == Place::Ended, "{story:?}");
                story.is_stuck = false;
                let slot = story.slot;
                self.leave(attempt.task, slot);
            }
            _ => unreachable!("{notice:?} is not about a closing"),
        }
    }

    fn see_attempt(&mut self, notice: Notice) {
        match notice {
            Notice::AttemptStarting { attempt } => self.starts(attempt),
            Notice::AttemptOverdue { attempt, .. } => _ = self.runs(attempt),
            Notice::AttemptReady { attempt, .. } => {
                let story = self.runs(attempt);
                assert!(!core::mem::replace(&mut story.is_ready, true), "ready twice");
            }
            Notice::AttemptStable { attempt, .. } => {
                assert!(!self.runs(attempt).is_silent, "stable while it is silent");
            }
            Notice::AttemptsTooShort { attempt, .. } => {
                let story = self.story(attempt.task);
                assert_eq!(story.place, Place::Between(Between::Success), "{story:?}");
                assert!(!core::mem::replace(&mut story.was_warned, true), "warned twice");
            }
            Notice::AttemptSilent { attempt, .. } => {
                let story = self.runs(attempt);
                assert!(!core::mem::replace(&mut story.is_silent, true), "silent twice");
            }
            Notice::AttemptResponsive { attempt } => {
                let story = self.runs(attempt);
                assert!(core::mem::replace(&mut story.is_silent, false), "was not silent");
            }
            Notice::AttemptEnded { attempt, ending, .. } => {
                self.runs(attempt).place = Place::Between(match ending {
                    Ending::Succeeded => Between::Success,
                    Ending::Cancelled => Between::Other,
                    Ending::Failed | Ending::Panicked | Ending::TimedOut | Ending::Unresponsive => {
                        Between::Failure
                    }
                });
                self.makes_way(attempt.task.id);
            }
            Notice::AttemptAbandoned { attempt, released: true, .. } => {
                let story = self.runs(attempt);
                story.place = Place::Between(Between::Failure);
                story.released.push(attempt.number);
                self.makes_way(attempt.task.id);
            }
            Notice::AttemptAbandoned { attempt, released: false, .. } => {
                let story = self.runs(attempt);
                (story.place, story.held) = (Place::Held, Some(attempt.number));
            }
            Notice::AttemptReturned { attempt, .. } => self.returned(attempt),
            Notice::RetryScheduled { attempt, .. } => {
                self.goes_on(attempt, Place::Between(Between::Failure));
            }
            Notice::RunScheduled { attempt, .. } => {
                self.goes_on(attempt, Place::Between(Between::Success));
            }
            _ => unreachable!("{notice:?} is not about an attempt"),
        }
    }

    fn starts(&mut self, attempt: AttemptAddr) {
        let story = self.story(attempt.task);
        assert!(!story.is_closing, "{story:?}");
        let goes_on =
            matches!(story.place, Place::Owner | Place::Between(Between::Other | Between::Success));
        assert!(goes_on, "{story:?}");
        // The offers to a member that were taken back had numbers, too.
        let skips = story.group.is_some() && attempt.number > story.attempt;
        assert!(skips || attempt.number == story.attempt + 1, "attempts are misnumbered");
        story.attempt = attempt.number;
        story.place = Place::Runs;
        (story.waits_for_class, story.waits_for_permit) = (false, false);
        (story.is_silent, story.is_ready) = (false, false);
        let is_urgent = story.is_urgent;
        self.running += 1;
        self.urgent += usize::from(is_urgent);
        assert!(self.running - self.urgent <= self.max_concurrent, "too many attempts run");
    }

    fn goes_on(&mut self, attempt: AttemptAddr, after: Place) {
        let story = self.story(attempt.task);
        let known = (story.place, story.attempt, story.is_paused);
        assert_eq!(known, (after, attempt.number, false), "{story:?}");
        story.place = Place::Owner;
        assert!(!self.has_begun_to_end, "another attempt in a shutdown");
    }

    fn admitted(&mut self, task: TaskAddr) {
        assert!(!self.has_begun_to_end, "{task:?} is admitted in a shutdown");
        let story = self.story(task);
        let (slot, was_queued) = (story.slot, story.place == Place::Queued);
        assert!(was_queued || story.place == Place::Submitted, "{story:?}");
        story.place = Place::Owner;
        let Some(slot) = slot else { return };
        if let Some(owner) = self.owners.get(&slot) {
            let owner = &self.stories[owner];
            if owner.is_stuck && owner.place == Place::Ended {
                self.owners.remove(&slot);
            }
        }
        let before = self.owners.insert(slot, task.id);
        assert_eq!(before, None, "slot {slot} has two owners");
        *self.queued.entry(slot).or_default() -= u32::from(was_queued);
        if self.is_awaited(task.id) {
            self.story(task).is_urgent = true;
        }
    }

    fn ends(&mut self, task: TaskAddr) {
        let story = self.story(task);
        let (slot, place) = (story.slot, story.place);
        story.place = Place::Ended;
        match (place, slot) {
            (Place::Queued, Some(slot)) => *self.queued.entry(slot).or_default() -= 1,
            (Place::Held, _) => {}
            _ if self.stories[&task.id].is_stuck => {}
            _ => self.leave(task, slot),
        }
    }

    fn leave(&mut self, task: TaskAddr, slot: Option<u32>) {
        if let Some(slot) = slot.filter(|slot| self.owners.get(slot) == Some(&task.id)) {
            self.owners.remove(&slot);
        }
    }

    /// One that was given up has come back.
    fn returned(&mut self, attempt: AttemptAddr) {
        let story = self.story(attempt.task);
        if story.held == Some(attempt.number) {
            story.held = None;
            let (slot, ended) = (story.slot, story.place == Place::Ended);
            if ended {
                self.leave(attempt.task, slot);
            } else {
                story.place = Place::Between(Between::Failure);
            }
            self.makes_way(attempt.task.id);
        } else {
            let at = story.released.iter().position(|released| *released == attempt.number);
            story.released.swap_remove(at.expect("only what was given up is noted"));
        }
    }

    fn runs(&mut self, attempt: AttemptAddr) -> &mut Story {
        let story = self.story(attempt.task);
        let known = (story.place, story.attempt);
        assert_eq!(known, (Place::Runs, attempt.number), "{attempt:?} does not run");
        story
    }

    fn story(&mut self, task: TaskAddr) -> &mut Story {
        self.stories.get_mut(&task.id).expect("a task that was submitted")
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        assert!(self.has_ended && (self.running, self.urgent) == (0, 0) && self.owners.is_empty());
        for (task, story) in &self.stories {
            let left = story.held.is_some() || !story.released.is_empty() || story.is_terminating;
            assert!(story.place == Place::Ended && !left, "{task} has no end: {story:?}");
        }
        assert!(self.queued.values().all(|queued| *queued == 0));
    }
}
