//! What a step costs, in visits to tasks: as much in long queues as in short ones.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;

use super::super::spec::{ms, task};
use crate::machine::{Input, Machine, Submission, Task};
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::{AttemptAddr, ClassKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::{Limits, Plan};
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::time::Time;

/// A machine with one permit, which the first task holds.
struct Line {
    machine: Machine,
    plan: Arc<Plan>,
    tasks: Vec<TaskAddr>,
    /// The most visits in one step.
    most: u64,
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
        };
        let plan = Arc::new(task("any").never().plan);
        let machine = Machine::new(limits, 7);
        let mut line = Self { machine, plan, tasks: Vec::new(), most: 0 };
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
        let number = u32::try_from(self.tasks.len()).expect("few enough");
        let addr = TaskAddr { key: TaskKey(number), id: TaskId::new(u64::from(number) + 1) };
        self.tasks.push(addr);
        self.input(Input::Submitted(Submission {
            addr,
            slot,
            policy: AdmissionPolicy::Queue,
            plan: Arc::clone(&self.plan),
            submitted_at: Time::ZERO,
            cancelled: false,
            gives_back: false,
        }));
        addr
    }

    fn input(&mut self, input: Input) {
        let before = self.machine.tasks.visits.get();
        self.machine.step(Time::ZERO, input, &mut Vec::new());
        self.most = self.most.max(self.machine.tasks.visits.get() - before);
    }

    /// The attempt of a task runs and returns.
    fn run(&mut self, task: TaskAddr) {
        let (attempt, at) = (attempt(task), Time::ZERO);
        self.input(Input::Claimed { attempt, at });
        let ret = Return::Ok;
        let (told, dropped, retry_after) = (None, true, None);
        let input =
            Input::Returned { attempt, claimed_at: at, at, told, ret, dropped, retry_after };
        self.input(input);
    }
}

const fn attempt(task: TaskAddr) -> AttemptAddr {
    AttemptAddr { task, number: 1 }
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

/// A task without a group pays nothing for those that have one.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_task_stays_small() {
    assert!(size_of::<Task>() <= 208);
}
