//! Histories by chance, lived through by the machine and by the reference, which have to agree
//! after each act on every task, queue, permit, timer and outcome.
//!
//! Here a thread answers each order at once and truly; what late answers lead to is the subject of
//! the simulation. `THREADVISOR_HISTORIES=n` lives through so many.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::chances::history;
use super::job::Place;
use super::model::Model;
use crate::machine::line::Line;
use crate::machine::tests::audit::{audit, members};
use crate::machine::tests::cell_model::{CellModel, Seen};
use crate::machine::tests::number;
use crate::machine::tests::shrinking::{fewest, survives, Failure};
use crate::machine::{Answer, Effect, End, Finality, Input, Machine, Submission};
use crate::vocabulary::answer::{ClosingAnswer, Return};
use crate::vocabulary::id::{AttemptAddr, ClassKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::{BodyKind, Limits};
use crate::vocabulary::policy::AbandonPolicy;
use crate::vocabulary::reason::ShutdownCause;

/// Histories of an ordinary run.
const HISTORIES: u64 = 1500;
pub(super) const SLOTS: u32 = 3;

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a history is short")]
pub(super) enum Act {
    Submit(Submission),
    /// Of those there are, the one that this number falls on; so with the others.
    Stop(usize),
    StopSlot(u32),
    Skip(usize),
    Restart(usize),
    Pause(usize),
    Resume(usize),
    SetInterval(usize, Duration),
    SetClassLimit(u32, u32),
    /// A body waits for it, or no longer does.
    Await(usize),
    Leave(usize),
    Claim(usize),
    /// With the delay that its error asks for.
    Return(usize, Return, Option<Duration>),
    /// What was released returns.
    ReturnLate(usize, Return),
    /// A body is dropped, or its drop takes long.
    Drop(usize),
    Hang(usize),
    /// A drop that was released is over.
    DropLate(usize),
    Pass(Duration),
    Drain(Duration),
    IntakeEmpty,
    ShutDown,
}

const ANYBODY: &[Place] = &[
    Place::Queued,
    Place::Waiting,
    Place::Runnable,
    Place::Starting,
    Place::Running,
    Place::Stopping,
    Place::Abandoned,
];

struct Pair {
    machine: Machine,
    model: Model,
    cells: BTreeMap<(TaskId, u64), (CellModel, Finality)>,
    ended: Vec<(TaskId, End)>,
    taken: Option<bool>,
    /// Drops that threads are at.
    taken_up: BTreeSet<TaskId>,
}

pub(super) fn addr(id: TaskId) -> TaskAddr {
    TaskAddr { key: TaskKey(u32::try_from(id.get()).expect("few tasks")), id }
}

impl Pair {
    fn new(limits: Limits) -> Self {
        Self {
            machine: Machine::new(limits.clone(), 0),
            model: Model::new(limits),
            cells: BTreeMap::new(),
            ended: Vec::new(),
            taken: None,
            taken_up: BTreeSet::new(),
        }
    }

    /// Those in one of these places, one of them by number.
    fn pick(&self, which: usize, places: &[Place]) -> Option<AttemptAddr> {
        let there = self.model.jobs.iter().filter(|job| places.contains(&job.place));
        let there: Vec<_> = there.collect();
        let job = there.get(which % there.len().max(1))?;
        Some(AttemptAddr { task: addr(job.id), number: job.attempt })
    }

    fn act(&mut self, act: &Act) {
        let of = |which| self.pick(which, ANYBODY);
        match *act {
            Act::Submit(ref submission) => {
                let submission = submission.clone();
                self.model.submit(&submission);
                self.feed(Input::Submitted(submission));
            }
            Act::Stop(which) => {
                let Some(AttemptAddr { task, .. }) = of(which) else { return };
                self.model.stop(task.id, crate::vocabulary::reason::StopReason::Stop);
                self.feed(Input::StopRequested(task));
            }
            Act::StopSlot(slot) => {
                self.model.stop_slot(slot);
                self.feed(Input::SlotStopRequested(SlotKey(slot)));
            }
            Act::Await(which) => {
                let Some(AttemptAddr { task, .. }) = of(which) else { return };
                self.model.wait_began(task.id);
                self.feed(Input::WaitBegan(task));
            }
            Act::Leave(which) => self.leave(of(which)),
            Act::Claim(which) => {
                let Some(attempt) = self.pick(which, &[Place::Starting]) else { return };
                let at = self.model.now;
                self.model.claim(attempt.task.id);
                let timeout = self.model.job(attempt.task.id).plan.timeout;
                assert!(self.cell(attempt).claim(at, timeout, None, None));
                self.feed(Input::Claimed { attempt, at });
            }
            Act::Return(which, ret, asked) => {
                let there = [Place::Running, Place::Stopping, Place::Abandoned];
                let Some(attempt) = self.pick(which, &there) else { return };
                self.returns(attempt, ret, asked);
            }
            Act::ReturnLate(which, ret) => {
                let released = &self.model.released;
                let late = released.get(which % released.len().max(1));
                let Some(&(id, attempt)) = late else { return };
                self.returns(AttemptAddr { task: addr(id), number: attempt }, ret, None);
            }
            Act::Drop(_) | Act::Hang(_) | Act::DropLate(_) => self.act_on_drop(act),
            Act::Pass(span) => self.pass(span),
            Act::SetClassLimit(class, limit) => {
                self.model.set_class_limit(class, limit);
                self.feed(Input::ClassLimitRequested { class: ClassKey(class), limit });
            }
            Act::Drain(limit) => {
                self.model.begin_drain(limit);
                let cause = ShutdownCause::Requested;
                self.feed(Input::DrainRequested { cause, limit });
            }
            Act::IntakeEmpty => {
                self.model.intake_empty();
                self.feed(Input::IntakeEmpty);
            }
            Act::ShutDown => {
                self.model.shut_down();
                self.feed(Input::ShutdownRequested(ShutdownCause::Requested));
            }
            _ => self.act_by_hand(act),
        }
    }

    /// A body no longer waits.
    fn leave(&mut self, of: Option<AttemptAddr>) {
        let Some(AttemptAddr { task, .. }) = of else { return };
        let job = self.model.job(task.id);
        if job.awaited > 0 {
            job.awaited -= 1;
            self.feed(Input::WaitEnded(task));
        }
    }

    fn act_by_hand(&mut self, act: &Act) {
        let (Act::Skip(which)
        | Act::Restart(which)
        | Act::Pause(which)
        | Act::Resume(which)
        | Act::SetInterval(which, _)) = *act
        else {
            unreachable!("{act:?} is not asked by hand");
        };
        let Some(AttemptAddr { task, .. }) = self.pick(which, ANYBODY) else { return };
        let (taken, input) = match *act {
            Act::Skip(_) => (self.model.skip(task.id), Input::SkipRequested(task)),
            Act::Restart(_) => (self.model.restart(task.id), Input::RestartRequested(task)),
            Act::Pause(_) => (self.model.pause(task.id), Input::PauseRequested(task)),
            Act::SetInterval(_, interval) => {
                let input = Input::IntervalRequested { task, interval };
                (self.model.set_interval(task.id, interval), input)
            }
            _ => (self.model.resume(task.id), Input::ResumeRequested(task)),
        };
        self.feed(input);
        assert_eq!(self.taken, Some(taken), "{act:?}");
    }

    fn act_on_drop(&mut self, act: &Act) {
        match *act {
            Act::Drop(which) => {
                let Some(attempt) = self.pick(which, &[Place::Closing]) else { return };
                self.model.closed(attempt.task.id);
                self.feed(Input::Closed { attempt });
            }
            Act::Hang(which) => {
                let Some(attempt) = self.pick(which, &[Place::Closing]) else { return };
                if !self.model.job(attempt.task.id).is_taken {
                    let since = self.model.now;
                    self.taken_up.insert(attempt.task.id);
                    self.model.hang(attempt.task.id);
                    self.feed(Input::ClosingSlow { attempt, since });
                }
            }
            Act::DropLate(which) => {
                let released = self.machine.released.iter().filter(|it| it.closing);
                let released: Vec<_> = released.map(|it| it.attempt).collect();
                let Some(&attempt) = released.get(which % released.len().max(1)) else { return };
                self.model.released_drops.retain(|id| *id != attempt.task.id);
                self.feed(Input::Closed { attempt });
            }
            _ => unreachable!("{act:?} is not about a drop"),
        }
    }

    fn returns(&mut self, attempt: AttemptAddr, ret: Return, asked: Option<Duration>) {
        let at = self.model.now;
        // What succeeds or panics has no error.
        let retry_after = asked.filter(|_| !matches!(ret, Return::Ok | Return::Panicked));
        let (cell, finality) = self.cells.get_mut(&(attempt.task.id, attempt.number)).expect("it");
        let is_final = |told, given_up| finality.is_final(told, ret, given_up);
        let Seen { claimed_at, told, last } = cell.returned(is_final);
        cell.left();
        // A share of it may be left.
        let job = self.model.jobs.iter().find(|job| job.id == attempt.task.id);
        let plan = job.map(|job| (job.plan.body, job.plan.abandon));
        let dropped = last && plan != Some((BodyKind::Shared, AbandonPolicy::Release));
        self.model.returned(attempt.task.id, attempt.number, (ret, retry_after), dropped);
        self.feed(Input::Returned { attempt, claimed_at, at, told, ret, dropped, retry_after });
    }

    fn cell(&mut self, attempt: AttemptAddr) -> &mut CellModel {
        let id = (attempt.task.id, attempt.number);
        &mut self.cells.get_mut(&id).expect("an attempt that was ordered").0
    }

    /// Each timer is noticed when it is due, and both stop there.
    fn pass(&mut self, span: Duration) {
        let until = self.model.now.after(span);
        while let Some(due) = Some(self.machine.deadline()).filter(|due| *due <= until) {
            let due = due.max(self.model.now);
            self.model.pass(due);
            self.feed(Input::TimerDue);
            self.compare();
        }
        self.model.pass(until);
    }

    /// Performs what the machine orders, at once.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.machine.step(self.model.now, input, &mut effects);
            audit(&self.machine, self.model.n_waits);
            for effect in effects {
                match effect {
                    Effect::Start { attempt, finality, .. } => {
                        let id = (attempt.task.id, attempt.number);
                        self.cells.insert(id, (CellModel::offered(), finality));
                    }
                    Effect::Revoke { attempt } => {
                        let answer = self.cell(attempt).revoke();
                        inputs.push_back(Input::RevokeAnswered { attempt, answer });
                    }
                    Effect::Tell { attempt, reason, grace_until } => {
                        let now = self.model.now;
                        let answer = self.cell(attempt).tell(reason, now, grace_until);
                        inputs.push_back(Input::TellAnswered { attempt, answer });
                    }
                    Effect::Finalize { attempt, grace_until } => {
                        self.cell(attempt).finalize(grace_until);
                    }
                    Effect::Abandon { attempt } => {
                        let answer = self.cell(attempt).abandon();
                        inputs.push_back(Input::AbandonAnswered { attempt, answer });
                    }
                    Effect::AbandonClosing { attempt } => {
                        let answer = if self.taken_up.contains(&attempt.task.id) {
                            ClosingAnswer::Abandoned
                        } else {
                            ClosingAnswer::Untaken
                        };
                        inputs.push_back(Input::ClosingAnswered { attempt, answer });
                    }
                    Effect::Deliver { task, end, .. } => self.ended.push((task.id, end)),
                    Effect::Answer(Answer::Taken(taken)) => self.taken = Some(taken),
                    _ => {}
                }
            }
        }
    }

    fn compare(&mut self) {
        let (machine, model) = (&self.machine, &self.model);
        let known: Vec<_> = machine.tasks().iter().map(|task| task.addr.id).collect();
        let expected: Vec<_> = model.jobs.iter().map(|job| job.id).collect();
        assert_eq!(known, expected, "the tasks");
        for (task, job) in machine.tasks().iter().zip(&model.jobs) {
            let known = (task.state.name().label(), machine.due(task.addr.key));
            let expected = (format!("{:?}", job.place).to_lowercase(), job.due);
            assert_eq!(known, (&*expected.0, expected.1), "the state of {}", job.id);
            // At its end, a task that had recovered is not failing.
            let streak = if job.place == Place::Closing { task.streak } else { job.streak };
            assert_eq!((task.attempt, task.streak), (job.attempt, streak), "of {}", job.id);
            let waits = task.is_paused() && job.place == Place::Waiting;
            assert!(!waits || job.paused, "whether {} is paused", job.id);
        }
        for slot in 0..SLOTS {
            let entry = machine.slots().get(SlotKey(slot));
            let owner = entry.owner.map(|key| machine.tasks()[key].addr.id);
            assert_eq!(owner, model.owner(slot), "the owner of slot {slot}");
            let queue = model.queues.get(&slot).cloned().unwrap_or_default();
            let known = members(machine, entry.queue);
            let known: Vec<_> = known.iter().map(|key| machine.tasks()[*key].addr.id).collect();
            assert_eq!(known, queue, "the queue of slot {slot}");
        }
        let id = |key| machine.tasks()[key].addr.id;
        let line =
            |line: Line| -> Vec<_> { members(machine, line.list).into_iter().map(id).collect() };
        let permits = (machine.permits_held(), line(machine.runnable));
        assert_eq!(permits, (model.permits(), model.line.clone()));
        for (class, known) in (0..).zip(machine.classes()) {
            let expected = (model.class_permits(class), model.class_line(class));
            assert_eq!((known.held(), line(known.line)), expected, "class {class}");
        }
        let drops = machine.released.iter().filter(|it| it.closing).count();
        assert_eq!(drops, model.released_drops.len(), "what drops are released");
        let attempts = machine.released.iter().filter(|it| !it.closing);
        let mut released: Vec<_> = attempts.map(|it| it.attempt).collect();
        released.sort_by_key(|attempt| (attempt.task.id, attempt.number));
        let mut expected = model.released.clone();
        expected.sort_unstable();
        let released: Vec<_> = released.iter().map(|it| (it.task.id, it.number)).collect();
        assert_eq!(released, expected, "what is released");
        assert_eq!(machine.is_running(), model.closes.is_none(), "the door");
        assert_eq!(machine.is_draining(), model.drain.is_some(), "the drain");
        assert_eq!(machine.has_drained(), model.has_drained(), "what the drain waits for");
        let by_id = |ended: &[(TaskId, End)]| {
            let mut ended: Vec<_> = ended.iter().map(|(id, end)| (*id, label(*end))).collect();
            ended.sort_unstable();
            ended
        };
        assert_eq!(by_id(&self.ended), by_id(&model.ended), "the outcomes");
        self.ended.clear();
        self.model.ended.clear();
    }
}

/// Of a rejection, why; the numbers in it are compared by the tests of admission.
fn label(end: End) -> String {
    match end {
        End::Rejected(why) => why.label().to_owned(),
        _ => format!("{end:?}"),
    }
}

fn live(limits: &Limits, acts: &[Act]) {
    let mut pair = Pair::new(limits.clone());
    for act in acts {
        pair.act(act);
        pair.compare();
    }
}

#[test]
fn the_machine_agrees_with_the_reference() {
    let histories = number("THREADVISOR_HISTORIES").unwrap_or(HISTORIES);
    let (mut n_acts, mut failed) = (0, Vec::new());
    for seed in 1..=histories {
        let (limits, acts) = history(seed);
        n_acts += acts.len();
        if let Err(failure) = survives(|| live(&limits, &acts)) {
            failed.push((seed, failure));
        }
    }
    println!("{histories} histories, {n_acts} acts; {} failed", failed.len());
    let Some((seed, _)) = failed.first() else { return };
    let (limits, acts) = history(*seed);
    let acts = fewest(acts, |acts| survives(|| live(&limits, acts)).is_err());
    let Failure { why, .. } = survives(|| live(&limits, &acts)).expect_err("the fewest that fail");
    panic!("{why}\nhistory {seed}: {limits:?}\n{acts:#?}");
}
