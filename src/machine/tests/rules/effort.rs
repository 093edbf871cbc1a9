//! What a step costs, in visits to tasks: as much in long queues as in short ones.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;
use core::time::Duration;

use super::super::spec::{ms, task};
use crate::machine::{Effect, GroupSubmission, Input, Machine, Submission, Task};
use crate::vocabulary::answer::{Return, RevokeAnswer};
use crate::vocabulary::group::{GroupState, Strategy};
use crate::vocabulary::id::{
    AttemptAddr, ClassKey, GroupAddr, GroupKey, SlotKey, TaskAddr, TaskId, TaskKey,
};
use crate::vocabulary::plan::{AtDrain, Limits, Plan, Watchdog};
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy, WatchdogPolicy};
use crate::vocabulary::reason::{CancelReason, ShutdownCause};
use crate::vocabulary::time::Time;

/// A machine with one permit, which the first task holds.
struct Line {
    machine: Machine,
    plan: Arc<Plan>,
    tasks: Vec<TaskAddr>,
    /// The most visits in one step.
    most: u64,
    /// How many notices were made.
    notices: usize,
}

const LONG: u32 = 20_000;

impl Line {
    fn new() -> Self {
        let limits = Limits {
            max_concurrent: Some(1),
            classes: [1].to_vec(),
            max_slot_queue: LONG,
            max_tasks: u32::MAX,
            max_abandoned: 16,
            grace: ms(1000),
            signal_drain: None,
            event_flush: ms(250),
            timer_slack: ms(0),
        };
        let plan = Arc::new(task("any").never().plan);
        let machine = Machine::new(limits, 7);
        let mut line = Self { machine, plan, tasks: Vec::new(), most: 0, notices: 0 };
        let first = line.submit(None);
        line.input(Input::Claimed { attempt: attempt(first), at: Time::ZERO });
        line
    }

    /// The same, with one permit of a class as well, which the first task holds in place of that.
    fn of_class() -> Self {
        let mut line = Self::new();
        line.run(line.tasks[0]);
        Arc::make_mut(&mut line.plan).class = Some(ClassKey(0));
        let first = line.submit(None);
        line.input(Input::Claimed { attempt: attempt(first), at: Time::ZERO });
        line
    }

    fn submit(&mut self, slot: Option<SlotKey>) -> TaskAddr {
        let submission = self.submission(slot);
        let addr = submission.addr;
        self.input(Input::Submitted(submission));
        addr
    }

    fn submission(&mut self, slot: Option<SlotKey>) -> Submission {
        let number = u32::try_from(self.tasks.len()).expect("few enough");
        let addr = TaskAddr { key: TaskKey(number), id: TaskId::new(u64::from(number) + 1) };
        self.tasks.push(addr);
        Submission {
            addr,
            slot,
            policy: AdmissionPolicy::Queue,
            plan: Arc::clone(&self.plan),
            submitted_at: Time::ZERO,
            cancelled: false,
            gives_back: false,
        }
    }

    /// A group that starts, restarts with all its members, and stops.
    fn run_group(&mut self, phases: Vec<u32>) {
        self.machine.limits.max_concurrent = None;
        Arc::make_mut(&mut self.plan).restart = RestartPolicy::OnFailure;
        let first = self.tasks.len();
        let members: Vec<_> = (0..phases.iter().sum()).map(|_| self.submission(None)).collect();
        let first = self.tasks[first];
        let group = GroupAddr { key: GroupKey(0), first: first.id };
        self.input(Input::GroupSubmitted(GroupSubmission {
            group,
            strategy: Strategy::OneForAll,
            restart_limit: None,
            phases,
            members: members.clone(),
            refused: None,
        }));
        let members: Vec<_> = members.iter().map(|member| member.addr).collect();
        for &member in &members {
            self.input(Input::Claimed { attempt: attempt(member), at: Time::ZERO });
        }
        assert_eq!(self.machine.group_state(group, |_| None), GroupState::Up);
        self.input(Input::GroupRestartRequested(group));
        for &member in members.iter().rev() {
            self.returns(attempt(member), Some(CancelReason::Group));
        }
        self.machine.step(Time::ZERO.after(ms(1)), Input::TimerDue, &mut Vec::new());
        self.input(Input::GroupStopRequested(group));
        for &task in &members {
            let attempt = AttemptAddr { task, number: 2 };
            self.input(Input::RevokeAnswered { attempt, answer: RevokeAnswer::Revoked });
        }
        assert_eq!(self.machine.group_state(group, |_| None), GroupState::Over);
    }

    fn input(&mut self, input: Input) {
        let before = self.machine.tasks.visits.get();
        let mut effects = Vec::new();
        self.machine.step(self.machine.now, input, &mut effects);
        self.notices += effects.iter().filter(|it| matches!(it, Effect::Publish(_))).count();
        self.most = self.most.max(self.machine.tasks.visits.get() - before);
    }

    /// The attempt of a task runs and returns.
    fn run(&mut self, task: TaskAddr) {
        let (attempt, at) = (attempt(task), Time::ZERO);
        self.input(Input::Claimed { attempt, at });
        self.returns(attempt, None);
    }

    fn returns(&mut self, attempt: AttemptAddr, told: Option<CancelReason>) {
        let (at, ret) = (Time::ZERO, Return::Ok);
        let (dropped, retry_after) = (told.is_none(), None);
        let input =
            Input::Returned { attempt, claimed_at: at, at, told, ret, dropped, retry_after };
        self.input(input);
    }
}

const fn attempt(task: TaskAddr) -> AttemptAddr {
    AttemptAddr { task, number: 1 }
}

#[test]
fn where_nobody_listens_a_task_that_goes_well_makes_one_notice() {
    let notices = |heard: bool| {
        let mut line = Line::new();
        line.machine.heard = heard;
        let task = line.submit(None);
        line.run(line.tasks[0]);
        line.notices = 0;
        line.submit(None);
        line.run(task);
        line.notices
    };
    // `Submitted`, `Admitted`, `WaitingForPermit`; of the other task and its attempt.
    assert_eq!((notices(true), notices(false)), (3 + 3, 1));
}

#[test]
fn no_step_is_longer_in_a_long_queue_of_a_slot() {
    let mut line = Line::new();
    let queue: Vec<_> = (0..LONG).map(|_| line.submit(Some(SlotKey(0)))).collect();
    let (last, half) = (*queue.last().expect("it is long"), queue.len() / 2);
    // Nobody waits for any of them: the owner waits for its permit.
    line.input(Input::StopRequested(queue[0]));
    // A body waits for the last, so that its owners need none.
    line.input(Input::WaitBegan(last));
    queue[1..half].iter().for_each(|&task| line.run(task));
    // It waits no more, and only the one that has started needs none.
    line.input(Input::WaitEnded(last));
    line.run(queue[half]);
    queue[half + 1..].iter().for_each(|&task| line.input(Input::StopRequested(task)));
    assert_eq!(line.machine.tasks().iter().count(), 1, "all but the first are over");
    assert!(line.most < 100, "one step visits {} tasks", line.most);
}

#[test]
fn no_step_is_longer_where_many_wait_for_a_permit() {
    let mut line = Line::new();
    let waiting: Vec<_> = (0..LONG).map(|_| line.submit(None)).collect();
    for &task in waiting.iter().step_by(2) {
        line.input(Input::WaitBegan(task));
        line.input(Input::WaitEnded(task));
        line.run(task);
    }
    let first = line.tasks[0];
    line.run(first);
    for &task in waiting.iter().skip(1).step_by(2) {
        line.run(task);
    }
    assert_eq!(line.machine.tasks().iter().count(), 0, "all are over");
    assert!(line.most < 100, "one step visits {} tasks", line.most);
}

#[test]
fn no_step_is_longer_where_many_wait_for_their_class() {
    let mut line = Line::of_class();
    let waiting: Vec<_> = (0..LONG).map(|_| line.submit(None)).collect();
    let behind = line.submit(Some(SlotKey(0)));
    let queue: Vec<_> = (0..LONG).map(|_| line.submit(Some(SlotKey(0)))).collect();
    // A body waits for one that is queued behind one that waits for its class, behind all others.
    line.input(Input::WaitBegan(*queue.last().expect("it is long")));
    for &task in &waiting[..waiting.len() / 2] {
        line.input(Input::WaitBegan(task));
        line.input(Input::WaitEnded(task));
    }
    for &task in waiting.iter().skip(1).step_by(2) {
        line.input(Input::StopRequested(task));
    }
    line.run(line.tasks[1]);
    for &task in waiting.iter().step_by(2) {
        line.run(task);
    }
    line.run(behind);
    for task in queue {
        line.run(task);
    }
    assert_eq!(line.machine.tasks().iter().count(), 0, "all are over");
    assert!(line.most < 100, "one step visits {} tasks", line.most);
}

/// The group is looked through when it starts, restarts or stops, but not whenever one of its
/// members changes.
#[test]
fn the_life_of_a_group_takes_few_visits_for_each_member() {
    for phases in [[LONG].to_vec(), (0..LONG).map(|_| 1).collect()] {
        let mut line = Line::new();
        line.run_group(phases);
        let visits = line.machine.tasks.visits.get() / u64::from(LONG);
        assert!(visits < 200, "{visits} visits for each member");
    }
}

/// Each paused task comes to own its slot when the drain stops the owner, and is no reason to look
/// through all tasks within that look.
#[test]
fn a_drain_looks_through_all_tasks_a_few_times_however_many_heirs_are_paused() {
    let mut line = Line::new();
    let mut slots = Vec::new();
    for n in 0..LONG / 10 {
        let mut submit = |at_drain| {
            Arc::make_mut(&mut line.plan).at_drain = at_drain;
            line.submit(Some(SlotKey(n)))
        };
        slots.push([AtDrain::Stop, AtDrain::GoOn, AtDrain::GoOn].map(&mut submit));
    }
    for [_, heir, _] in &slots {
        line.input(Input::PauseRequested(*heir));
    }
    let before = line.machine.tasks.visits.get();
    line.input(Input::DrainRequested { cause: ShutdownCause::Requested, limit: ms(50) });
    let visits = (line.machine.tasks.visits.get() - before) / u64::from(LONG / 10);
    assert!(visits < 100, "{visits} visits for each slot");
    let left: Vec<_> = line.machine.tasks().iter().map(|task| task.addr).collect();
    let heirs: Vec<_> = slots.iter().map(|[_, heir, _]| *heir).collect();
    assert_eq!(left[1..], heirs, "those behind a paused task are refused");
}

/// They are claimed at different times, and each look is at all of them.
#[test]
fn a_thousand_watched_attempts_cost_four_wake_ups_a_second() {
    let mut line = Line::new();
    line.run(line.tasks[0]);
    line.machine.limits.max_concurrent = None;
    let watchdog = Watchdog { max_silence: ms(1000), policy: WatchdogPolicy::Report };
    Arc::make_mut(&mut line.plan).watchdog = Some(watchdog);
    for n in 1..=1000 {
        let attempt = attempt(line.submit(None));
        let at = Time::ZERO.after(Duration::from_micros(200) * n);
        line.machine.step(at, Input::Claimed { attempt, at }, &mut Vec::new());
    }
    for n in 1..10 {
        let (at, mut effects) = (line.machine.deadline(), Vec::new());
        assert_eq!(at, Time::ZERO.after(ms(250) * n));
        line.machine.step(at, Input::TimerDue, &mut effects);
        assert_eq!(effects.len(), 1000);
        for effect in effects {
            let Effect::Look { attempt } = effect else { panic!("{effect:?}") };
            line.machine.step(at, Input::Looked { attempt, alive: true }, &mut Vec::new());
        }
    }
}

/// A task pays nothing for what only others use: a group, a watch, limits of failures.
#[test]
fn a_task_stays_small() {
    assert!(size_of::<Task>() <= 168, "{} bytes", size_of::<Task>());
}
