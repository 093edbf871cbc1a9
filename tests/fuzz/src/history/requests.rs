//! What the users of a history ask for.

use std::sync::Arc;

use super::{History, Known};
use crate::bytes::Bytes;
use crate::machine::{GroupSubmission, Input, Submission};
use crate::plans;
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::id::{ClassKey, GroupAddr, GroupKey, SlotKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::{AtDrain, BodyKind, Interval, Plan};
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::ShutdownCause;

impl History {
    pub(super) fn rarely(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 12 {
            8 => self.ask(bytes, Input::PauseRequested),
            9 => self.ask(bytes, Input::ResumeRequested),
            10 => {
                let interval = bytes.span();
                self.ask(bytes, |task| Input::IntervalRequested { task, interval });
            }
            11 => {
                let byte = bytes.byte();
                let class = ClassKey(u32::from(byte % 2));
                let limit = u32::from(byte / 2 % 5);
                self.step(Input::ClassLimitRequested { class, limit });
            }
            0 | 1 => {
                self.stuck_hooks += 1;
                self.step(Input::HookAbandoned);
            }
            2 | 3 if self.stuck_hooks > 0 => {
                self.stuck_hooks -= 1;
                self.step(Input::HookReturned);
            }
            4 => self.step(Input::SignalReceived(15.into())),
            5 => self.step(Input::ShutdownRequested(ShutdownCause::Requested)),
            6 => self.close_one(bytes),
            _ => match bytes.byte() % 4 {
                1 => {
                    let (cause, limit) = (ShutdownCause::Requested, bytes.span());
                    self.step(Input::DrainRequested { cause, limit });
                }
                2 => self.step(Input::IntakeEmpty),
                // Somebody wakes too soon, or for nothing.
                _ => self.step(Input::TimerDue),
            },
        }
    }

    pub(super) fn submission(&mut self, bytes: &mut Bytes<'_>) -> Submission {
        let key = self.free_keys.pop().unwrap_or_else(|| {
            self.n_keys += 1;
            TaskKey(self.n_keys - 1)
        });
        let task = TaskAddr { key, id: TaskId::new(self.tasks.len() as u64 + 1) };
        let slot = match bytes.byte() % 5 {
            4 => None,
            name => Some(self.slot(name)),
        };
        let policy = plans::admission(bytes);
        let id = task.id.get();
        let class = [Some(ClassKey(0)), None, Some(ClassKey(1)), None, None][id as usize % 5];
        let plan = Arc::new(Plan {
            needs_drop: id % 3 == 1,
            class,
            at_drain: match id % 5 {
                2 => AtDrain::Stop,
                3 => AtDrain::Finish,
                _ => AtDrain::GoOn,
            },
            ..plans::plan(bytes)
        });
        let gives_back = id % 4 == 1;
        let known = Known {
            task,
            slot,
            plan: Arc::clone(&plan),
            decided: false,
            delivered: false,
            forgotten: false,
        };
        self.tasks.push(known);
        let cancelled = bytes.seldom();
        let submitted_at = self.now;
        Submission { addr: task, slot, policy, plan, submitted_at, cancelled, gives_back }
    }

    fn slot(&mut self, name: u8) -> SlotKey {
        let (free, n) = (&mut self.free_slots, &mut self.n_slots);
        *self.slots.entry(name).or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                *n += 1;
                SlotKey(*n - 1)
            })
        })
    }

    pub(super) fn submit(&mut self, mut batch: Vec<Submission>, whole: bool) {
        if whole {
            return self.step(Input::BatchSubmitted(batch));
        }
        if let Some(submission) = batch.pop() {
            self.step(Input::Submitted(submission));
        }
    }

    /// A request about any task there ever was.
    pub(super) fn ask(&mut self, bytes: &mut Bytes<'_>, request: impl FnOnce(TaskAddr) -> Input) {
        if !self.tasks.is_empty() {
            let at = bytes.below(self.tasks.len());
            self.step(request(self.tasks[at].task));
        }
    }

    /// Phases of one or two members, some of them steps.
    pub(super) fn submit_group(&mut self, bytes: &mut Bytes<'_>) {
        let phases: Vec<_> = (0..=bytes.below(3)).map(|_| 1 + u32::from(bytes.flag())).collect();
        let members: Vec<_> = (0..phases.iter().sum()).map(|_| self.member(bytes)).collect();
        let key = self.free_groups.pop().unwrap_or_else(|| {
            self.n_groups += 1;
            GroupKey(self.n_groups - 1)
        });
        let group = GroupAddr { key, first: members[0].addr.id };
        self.groups.push(group);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let strategy = bytes.pick(&strategies);
        let restart_limit = bytes.maybe(|bytes| {
            let restarts = u32::from(bytes.byte() % 4);
            RestartLimit { restarts, within: bytes.span() }
        });
        let refused = None;
        let submission =
            GroupSubmission { group, strategy, restart_limit, phases, members, refused };
        self.step(Input::GroupSubmitted(submission));
    }

    /// A task as a group may have it.
    fn member(&mut self, bytes: &mut Bytes<'_>) -> Submission {
        let mut submission = self.submission(bytes);
        submission.policy = AdmissionPolicy::DropIfRunning;
        let plan = Arc::make_mut(&mut submission.plan);
        if plan.body == BodyKind::Once {
            plan.body = BodyKind::Repeat;
        }
        plan.step = bytes.flag() && !plan.shutdown_on_end;
        if plan.step && plan.restart == RestartPolicy::Always {
            (plan.restart, plan.interval) = (RestartPolicy::OnFailure, Interval::None);
        }
        self.known(submission.addr).plan = Arc::clone(&submission.plan);
        submission
    }

    /// A request about any group there ever was.
    pub(super) fn ask_group(&mut self, bytes: &mut Bytes<'_>) {
        if self.groups.is_empty() {
            return;
        }
        let group = self.groups[bytes.below(self.groups.len())];
        self.step(if bytes.flag() {
            Input::GroupStopRequested(group)
        } else {
            Input::GroupRestartRequested(group)
        });
    }
}
