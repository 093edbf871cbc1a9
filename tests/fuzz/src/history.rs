//! A history of the machine out of bytes: each says what happens next, among all that could. Any
//! message under way may arrive next; the audit follows each step; and in the end, everything ends.

mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::audit_face::{audit_face, audit_face_empty, audit_held, held_of_classes, is_overdue};
use crate::bytes::Bytes;
use crate::cell_model::Seen;
use crate::cells::{Cell, Cells};
use crate::closings::Closings;
use crate::machine::{Effect, Input, Machine, Notice};
use crate::plans;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, GroupAddr, GroupKey, SlotKey, TaskAddr, TaskKey};
use crate::vocabulary::plan::Plan;
use crate::vocabulary::reason::{Decision, ShutdownCause};
use crate::vocabulary::time::Time;

/// More steps than this to the end, and it does not end.
const MAX_STEPS: u32 = 5000;
/// Half of what a machine's clock can show; nobody lives longer.
const END_OF_TIME: Time = Time::from_nanos(u64::MAX / 2);

/// What is known of a submission.
struct Known {
    task: TaskAddr,
    slot: Option<SlotKey>,
    plan: Arc<Plan>,
    decided: bool,
    delivered: bool,
    forgotten: bool,
}

struct History {
    machine: Machine,
    now: Time,
    cells: Cells,
    closings: Closings,
    tasks: Vec<Known>,
    free_keys: Vec<TaskKey>,
    n_keys: u32,
    slots: BTreeMap<u8, SlotKey>,
    free_slots: Vec<SlotKey>,
    n_slots: u32,
    /// All that were ever handed over.
    groups: Vec<GroupAddr>,
    free_groups: Vec<GroupKey>,
    n_groups: u32,
    /// Messages under way.
    under_way: Vec<Input>,
    /// Reports that arrived: their attempts are over.
    arrived: Vec<Input>,
    answers_at_once: bool,
    stuck_hooks: u32,
    closed: bool,
    drains: bool,
    flushing: bool,
    finished: bool,
    steps: u32,
}

/// Lives through the history that the bytes describe.
///
/// # Panics
/// If the machine breaks a promise.
pub fn history(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut history = History::new(&mut bytes);
    while !bytes.is_empty() && !history.finished {
        history.turn(&mut bytes);
    }
    history.end();
}

impl History {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        Self {
            machine: Machine::new(plans::limits(bytes), 7),
            now: Time::ZERO,
            cells: Cells::default(),
            closings: Closings::default(),
            tasks: Vec::new(),
            free_keys: Vec::new(),
            n_keys: 0,
            slots: BTreeMap::new(),
            free_slots: Vec::new(),
            n_slots: 0,
            groups: Vec::new(),
            free_groups: Vec::new(),
            n_groups: 0,
            under_way: Vec::new(),
            arrived: Vec::new(),
            answers_at_once: !bytes.flag(),
            stuck_hooks: 0,
            closed: false,
            drains: false,
            flushing: false,
            finished: false,
            steps: 0,
        }
    }

    fn turn(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 27 {
            0..=3 => {
                let submission = self.submission(bytes);
                self.submit(vec![submission], false);
            }
            4 => {
                let n = 1 + bytes.below(3);
                let batch = (0..n).map(|_| self.submission(bytes)).collect();
                self.submit(batch, true);
            }
            5 | 6 => self.ask(bytes, Input::StopRequested),
            7 => self.ask(bytes, Input::SkipRequested),
            8 => self.ask(bytes, Input::RestartRequested),
            9 => {
                let name = bytes.byte() % 4;
                if let Some(&slot) = self.slots.get(&name) {
                    self.step(Input::SlotStopRequested(slot));
                }
            }
            10..=12 => self.claim_one(bytes),
            13..=15 => self.return_one(bytes),
            16 | 17 => self.deliver_one(bytes),
            18 | 19 => self.reach_deadline(),
            20 => self.pass(bytes.span()),
            21 => self.extend_one(bytes),
            22 => self.repeat_one(bytes),
            23 => self.submit_group(bytes),
            24 => self.ask_group(bytes),
            _ => self.rarely(bytes),
        }
    }

    fn one_of(&self, bytes: &mut Bytes<'_>, fits: impl Fn(&Cell) -> bool) -> Option<AttemptAddr> {
        let found: Vec<_> = self.cells.all().filter(|cell| fits(cell)).collect();
        (!found.is_empty()).then(|| found[bytes.below(found.len())].attempt)
    }

    fn claim_one(&mut self, bytes: &mut Bytes<'_>) {
        if let Some(attempt) = self.one_of(bytes, Cell::is_offered) {
            self.claim(attempt, bytes.flag());
        }
    }

    fn claim(&mut self, attempt: AttemptAddr, reports: bool) {
        let plan = &self.known(attempt.task).plan;
        let (timeout, watched) = (plan.timeout, plan.watchdog.is_some());
        self.cells.claim(attempt, self.now, timeout);
        // The report may travel with the return, unless a timer hangs on it.
        if reports || timeout.is_some() || watched {
            self.under_way.push(Input::Claimed { attempt, at: self.now });
        }
    }

    fn return_one(&mut self, bytes: &mut Bytes<'_>) {
        let returns =
            [Return::Ok, Return::Failed, Return::Fatal, Return::Cancelled, Return::Panicked];
        if let Some(attempt) = self.one_of(bytes, Cell::runs) {
            let ret = bytes.pick(&returns);
            let asks = bytes.seldom() && !matches!(ret, Return::Ok | Return::Panicked);
            self.returns(attempt, ret, asks.then(|| bytes.span()));
        } else {
            self.close_one(bytes);
        }
    }

    /// Some body is dropped, or goes on being dropped, which may be slow.
    fn close_one(&mut self, bytes: &mut Bytes<'_>) {
        let slow = self.closings.slow(self.now);
        if !slow.is_empty() && bytes.flag() {
            let (attempt, since) = slow[bytes.below(slow.len())];
            return self.under_way.push(Input::ClosingSlow { attempt, since });
        }
        let undone = self.closings.undone();
        if !undone.is_empty() {
            self.go_on_closing(undone[bytes.below(undone.len())]);
        }
    }

    fn go_on_closing(&mut self, attempt: AttemptAddr) {
        if self.closings.go_on(attempt, self.now) {
            self.under_way.push(Input::Closed { attempt });
        }
    }

    fn returns(&mut self, attempt: AttemptAddr, ret: Return, retry_after: Option<Duration>) {
        let Cell { shared, finality, .. } = self.cells.get(attempt);
        let is_final = |told, abandoned| finality.is_final(told, ret, abandoned);
        let Seen { claimed_at, told, last: dropped } = shared.returned(is_final);
        shared.left();
        let at = self.now;
        let report = Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after };
        self.under_way.push(report);
    }

    fn extend_one(&mut self, bytes: &mut Bytes<'_>) {
        if let Some(attempt) = self.one_of(bytes, Cell::runs) {
            self.cells.get(attempt).shared.extend(self.now, bytes.span());
        }
    }

    /// Some message arrives; but those of one worker do not overtake each other.
    fn deliver_one(&mut self, bytes: &mut Bytes<'_>) {
        if self.under_way.is_empty() {
            return;
        }
        let mut at = bytes.below(self.under_way.len());
        if let Input::Returned { attempt, .. } = self.under_way[at] {
            let claim = self.under_way.iter().position(
                |other| matches!(other, Input::Claimed { attempt: own, .. } if *own == attempt),
            );
            at = claim.unwrap_or(at);
        }
        let message = self.under_way.remove(at);
        self.step(message);
    }

    /// A report that comes a second time changes nothing.
    fn repeat_one(&mut self, bytes: &mut Bytes<'_>) {
        if self.arrived.is_empty() {
            return;
        }
        let input = self.arrived[bytes.below(self.arrived.len())].clone();
        let mut effects = Vec::new();
        self.machine.step(self.now, input.clone(), &mut effects);
        assert!(effects.is_empty(), "a stale {input:?} led to {effects:?}");
        audit_face(&self.machine, 0);
    }

    fn pass(&mut self, span: Duration) {
        let later = self.now.after(span);
        if later <= END_OF_TIME {
            self.now = later;
        }
    }

    fn reach_deadline(&mut self) {
        let deadline = self.machine.deadline();
        if deadline <= END_OF_TIME {
            self.now = self.now.max(deadline);
            self.step(Input::TimerDue);
        }
    }

    /// No more requests. The shutdown ends within the grace though no body returns; then they do,
    /// and nothing may be left.
    fn end(&mut self) {
        let mut nothing = Bytes::new(&[]);
        self.step(Input::ShutdownRequested(ShutdownCause::Requested));
        let bound = self.now.after(self.machine.limits().grace);
        while !self.under_way.is_empty() || self.machine.deadline() <= END_OF_TIME {
            self.deliver_one(&mut nothing);
            if self.under_way.is_empty() {
                self.reach_deadline();
            }
        }
        assert!(self.finished || bound > END_OF_TIME, "the shutdown waits for a body");
        assert!(self.now <= bound, "the shutdown takes longer than its grace");
        loop {
            let undone = self.closings.undone();
            undone.iter().for_each(|attempt| self.go_on_closing(*attempt));
            let idle = self.under_way.is_empty() && undone.is_empty();
            if idle && !self.cells.all().any(Cell::runs) {
                break;
            }
            self.deliver_one(&mut nothing);
            if let Some(attempt) = self.one_of(&mut nothing, Cell::runs) {
                self.returns(attempt, Return::Ok, None);
            }
        }
        assert!(self.finished, "the shutdown does not end");
        assert!(self.cells.all().all(|cell| !cell.is_offered()), "an offer was never taken back");
        for known in &self.tasks {
            assert!(known.delivered && known.forgotten, "{:?} has no outcome", known.task);
        }
        assert!(self.slots.is_empty(), "a slot is never forgotten");
        assert_eq!(self.free_groups.len(), self.n_groups as usize, "a group is never forgotten");
        audit_face_empty(&self.machine);
        assert!(self.machine.deadline().is_never(), "somebody would wake for nothing");
    }

    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.steps += 1;
            assert!(self.steps < MAX_STEPS, "it does not end");
            let mut effects = Vec::new();
            let held = held_of_classes(&self.machine);
            self.machine.step(self.now, input.clone(), &mut effects);
            audit_held(&self.machine, &held);
            audit_face(&self.machine, 0);
            let still_due = is_overdue(&self.machine, self.now);
            assert!(input != Input::TimerDue || !still_due, "a timer that was due is still set");
            if let Input::Returned { .. } = input {
                self.arrived.push(input);
            }
            let answers: Vec<_> = effects.into_iter().filter_map(|it| self.perform(it)).collect();
            if self.answers_at_once {
                inputs.extend(answers);
            } else {
                self.under_way.extend(answers);
            }
        }
    }

    fn known(&mut self, task: TaskAddr) -> &mut Known {
        let at = usize::try_from(task.id.get()).expect("few tasks") - 1;
        let known = &mut self.tasks[at];
        assert!(known.task == task && !known.forgotten, "{task:?} is no more");
        known
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Decide { task, decision } => {
                let known = self.known(task);
                assert!(!known.decided && !known.delivered, "{task:?} is decided twice");
                known.decided = true;
                assert!(!self.closed || matches!(decision, Decision::Rejected(_)));
            }
            Effect::Start { attempt, finality, .. } => {
                assert!(!self.closed, "{attempt:?} starts in a shutdown");
                let slot = self.known(attempt.task).slot;
                self.cells.offer(attempt, slot, finality);
            }
            Effect::Revoke { attempt } => {
                let answer = self.cells.get(attempt).shared.revoke();
                return Some(Input::RevokeAnswered { attempt, answer });
            }
            Effect::Tell { attempt, reason, grace_until } => {
                let answer = self.cells.tell(attempt, reason, self.now, grace_until);
                return Some(Input::TellAnswered { attempt, answer });
            }
            Effect::Abandon { attempt } => {
                let answer = self.cells.get(attempt).shared.abandon();
                return Some(Input::AbandonAnswered { attempt, answer });
            }
            Effect::Look { attempt } => {
                // Some show signs of life, others never.
                let alive = attempt.task.id.get() % 2 == 0;
                return Some(Input::Looked { attempt, alive });
            }
            Effect::Finalize { attempt, grace_until } => {
                self.cells.get(attempt).shared.finalize(grace_until);
            }
            Effect::Close { attempt, .. } => self.closings.offer(attempt),
            Effect::AbandonClosing { attempt } => {
                let answer = self.closings.abandon(attempt);
                return Some(Input::ClosingAnswered { attempt, answer });
            }
            Effect::Release { attempt, .. } if self.closings.has(attempt) => {}
            Effect::Release { attempt, .. } => self.cells.release(attempt),
            Effect::Deliver { task, .. } => {
                let known = self.known(task);
                assert!(known.decided, "{task:?} has an outcome before a decision");
                assert!(!known.delivered, "{task:?} has two outcomes");
                known.delivered = true;
            }
            Effect::Forget { task } => {
                let known = self.known(task);
                assert!(known.delivered, "{task:?} is forgotten without an outcome");
                known.forgotten = true;
                self.free_keys.push(task.key);
            }
            Effect::ForgetSlot { slot } => {
                let n_known = self.slots.len();
                self.slots.retain(|_, known| *known != slot);
                assert_eq!(self.slots.len() + 1, n_known, "a slot is forgotten once");
                self.free_slots.push(slot);
            }
            Effect::Publish(notice) => self.hear(notice),
            Effect::BeginDrain { .. } => {
                assert!(!self.closed, "a drain begins in a shutdown");
                self.drains = true;
            }
            Effect::NoteUnfinished { task } => {
                let known = self.known(task);
                assert!(known.decided && !known.delivered, "{task:?} is finished");
                assert!(self.drains && !self.closed, "{task:?} is unfinished without a drain");
            }
            Effect::CloseDoor { .. } => {
                assert!(!self.closed, "the door closes twice");
                self.closed = true;
            }
            Effect::FlushEvents => {
                assert!(self.closed && !self.flushing && self.machine.is_idle());
                self.flushing = true;
                self.under_way.push(Input::EventsFlushed);
            }
            Effect::Finish => {
                assert!(self.flushing && !self.finished, "the end comes too soon, or twice");
                self.finished = true;
            }
            Effect::ForgetGroup { group } => {
                assert!(self.groups.contains(&group), "{group:?} was never handed over");
                assert!(!self.free_groups.contains(&group.key), "{group:?} is forgotten twice");
                self.free_groups.push(group.key);
            }
            Effect::PublishGroup { group, .. } => {
                assert!(!self.free_groups.contains(&group.key), "{group:?} is no more");
            }
            Effect::Examine { .. }
            | Effect::NoteFailure { .. }
            | Effect::ForgetReleased { .. }
            | Effect::Answer(_)
            | Effect::RestoreSignals => {}
        }
        None
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::AttemptEnded { attempt, .. } | Notice::AttemptAbandoned { attempt, .. } => {
                self.cells.end(attempt);
            }
            Notice::AttemptReturned { attempt, .. } => {
                assert!(self.cells.get(attempt).ended, "{attempt:?} returned late without an end");
            }
            _ => {}
        }
    }
}
