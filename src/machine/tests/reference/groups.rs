//! Histories of one group by chance, lived through by the machine and by the reference, which have
//! to agree after each act on every member, on where the group is, and on what was said.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::groups_model::{
    Gate, Member, Model, Place, Told, BACKOFF, GRACE, SHUTDOWN, TIMEOUT, WITHIN,
};
use crate::machine::task::Wait;
use crate::machine::tests::audit::audit;
use crate::machine::tests::dice::Dice;
use crate::machine::tests::number;
use crate::machine::tests::rig::{ms, task};
use crate::machine::tests::shrinking::{fewest, survives, Failure};
use crate::machine::{
    Answer, Effect, End, GroupNotice, GroupSubmission, Input, Machine, Notice, State, Submission,
};
use crate::vocabulary::answer::{AbandonAnswer, Return, RevokeAnswer, TellAnswer};
use crate::vocabulary::group::{GroupState, RestartLimit, Strategy};
use crate::vocabulary::id::{AttemptAddr, GroupAddr, GroupKey, TaskAddr, TaskId, TaskKey};
use crate::vocabulary::plan::Limits;
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::{CancelReason, ShutdownCause, StopReason};
use crate::vocabulary::time::Time;

/// Histories of an ordinary run.
const HISTORIES: u64 = 1500;

#[derive(Clone, Debug)]
struct Setting {
    strategy: Strategy,
    limit: Option<RestartLimit>,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Of those of which it can be true, the one that this number falls on; so with the others.
    Claim(usize),
    Says(usize),
    Return(usize, Return),
    Stop(usize),
    Skip(usize),
    Restart(usize),
    StopGroup,
    RestartGroup,
    ShutDown,
    Pass(Duration),
}

struct Pair {
    machine: Machine,
    model: Model,
    now: Time,
    told: Vec<Option<CancelReason>>,
    claimed_at: Vec<Time>,
    said: Vec<String>,
    taken: Option<bool>,
}

fn group() -> GroupAddr {
    GroupAddr { key: GroupKey(0), first: TaskId::new(1) }
}

fn addr(at: usize) -> TaskAddr {
    let key = u32::try_from(at).expect("few members");
    TaskAddr { key: TaskKey(key), id: TaskId::new(u64::from(key) + 1) }
}

fn at(task: TaskAddr) -> usize {
    task.key.0 as usize
}

impl Setting {
    fn submission(&self) -> GroupSubmission {
        let last = self.members.last().expect("a group has members").phase;
        let size = |phase| self.members.iter().filter(|it| it.phase == phase).count();
        let phases = (0..=last).map(|phase| u32::try_from(size(phase)).expect("few members"));
        let members = self.members.iter().zip(0..).map(|(member, number)| {
            let mut plan = task("m").grace(GRACE).plan;
            plan.backoff = crate::vocabulary::backoff::BackoffPolicy::constant(BACKOFF);
            plan.restart = member.restart;
            plan.max_retries = member.retries;
            plan.timeout = member.has_timeout.then_some(TIMEOUT);
            plan.ready_within = (member.gate == Gate::Says).then_some(WITHIN);
            plan.step = member.gate == Gate::Returned;
            plan.stable_after = Duration::MAX;
            Submission {
                addr: addr(number),
                slot: None,
                policy: AdmissionPolicy::DropIfRunning,
                plan: plan.into(),
                submitted_at: Time::ZERO,
                cancelled: false,
                gives_back: false,
            }
        });
        GroupSubmission {
            group: group(),
            strategy: self.strategy,
            restart_limit: self.limit,
            phases: phases.collect(),
            members: members.collect(),
            refused: None,
        }
    }
}

impl Pair {
    fn new(setting: &Setting) -> Self {
        let limits = Limits {
            max_concurrent: None,
            classes: Vec::new(),
            max_slot_queue: 1,
            max_tasks: 20,
            max_abandoned: 20,
            grace: SHUTDOWN,
            signal_drain: None,
            event_flush: ms(5),
            timer_slack: ms(0),
        };
        let n_members = setting.members.len();
        let mut pair = Self {
            machine: Machine::new(limits, 0),
            model: Model::new(setting.strategy, setting.limit, setting.members.clone()),
            now: Time::ZERO,
            told: vec![None; n_members],
            claimed_at: vec![Time::ZERO; n_members],
            said: Vec::new(),
            taken: None,
        };
        pair.feed(Input::GroupSubmitted(setting.submission()));
        pair.compare();
        pair
    }

    fn pick(&self, which: usize, is: impl Fn(&Member) -> bool) -> Option<usize> {
        let there: Vec<_> = (0..self.model.members.len()).collect();
        let there: Vec<_> = there.into_iter().filter(|&at| is(&self.model.members[at])).collect();
        there.get(which % there.len().max(1)).copied()
    }

    fn attempt(&self, at: usize) -> AttemptAddr {
        AttemptAddr { task: addr(at), number: self.model.members[at].attempt }
    }

    fn act(&mut self, act: Act) {
        let now = self.now;
        let anybody = |it: &Member| it.place != Place::Gone;
        match act {
            Act::Claim(which) => {
                let Some(at) = self.pick(which, |it| it.place == Place::Starting) else { return };
                let attempt = self.attempt(at);
                (self.claimed_at[at], self.told[at]) = (now, None);
                self.model.claim(at);
                self.feed(Input::Claimed { attempt, at: now });
            }
            Act::Says(which) => {
                let says = |it: &Member| it.place == Place::Running && it.gate == Gate::Says;
                let Some(at) = self.pick(which, says) else { return };
                let attempt = self.attempt(at);
                let (claimed_at, until) = self.model.says(at);
                self.feed(Input::Ready { attempt, claimed_at, at: now, until });
            }
            Act::Return(which, ret) => {
                let runs = |it: &Member| {
                    let stops =
                        matches!(it.place, Place::Stopping { .. } | Place::Abandoned { .. });
                    it.place == Place::Running || stops
                };
                let Some(at) = self.pick(which, runs) else { return };
                let (attempt, told) = (self.attempt(at), self.told[at]);
                let claimed_at = self.claimed_at[at];
                self.model.returns(at, ret);
                self.feed(Input::Returned {
                    attempt,
                    claimed_at,
                    at: now,
                    told,
                    ret,
                    dropped: true,
                    retry_after: None,
                });
            }
            Act::Stop(which) => {
                let Some(at) = self.pick(which, anybody) else { return };
                self.model.stop_one(at);
                self.feed(Input::StopRequested(addr(at)));
            }
            Act::Skip(which) => {
                let Some(at) = self.pick(which, anybody) else { return };
                let taken = self.model.skip(at);
                self.feed(Input::SkipRequested(addr(at)));
                assert_eq!(self.taken.take(), Some(taken), "the answer to a skip");
            }
            Act::Restart(which) => {
                let Some(at) = self.pick(which, anybody) else { return };
                let taken = self.model.restart(at);
                self.feed(Input::RestartRequested(addr(at)));
                assert_eq!(self.taken.take(), Some(taken), "the answer to a restart");
            }
            Act::StopGroup => {
                self.model.stop_group();
                self.feed(Input::GroupStopRequested(group()));
            }
            Act::RestartGroup => {
                let taken = self.model.restart_group();
                self.feed(Input::GroupRestartRequested(group()));
                assert_eq!(self.taken.take(), Some(taken), "the answer to a restart of the group");
            }
            Act::ShutDown if self.machine.is_running() => {
                self.model.shut_down();
                self.feed(Input::ShutdownRequested(ShutdownCause::Requested));
            }
            Act::ShutDown => {}
            Act::Pass(span) => self.pass(now.after(span)),
        }
    }

    /// Lets time pass, and each timer come due in time.
    fn pass(&mut self, until: Time) {
        while self.machine.deadline() <= until {
            self.now = self.machine.deadline();
            self.model.pass(self.now);
            self.feed(Input::TimerDue);
            self.compare();
        }
        self.now = until;
        self.model.pass(until);
    }

    /// Threads answer at once and truly.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            effects.clear();
            self.machine.step(self.now, input, &mut effects);
            audit(&self.machine, 0);
            for &effect in &effects {
                match effect {
                    Effect::Revoke { attempt } => {
                        let answer = RevokeAnswer::Revoked;
                        inputs.push_back(Input::RevokeAnswered { attempt, answer });
                    }
                    Effect::Tell { attempt, reason, .. } => {
                        self.told[at(attempt.task)] = Some(reason);
                        let answer = TellAnswer::Told;
                        inputs.push_back(Input::TellAnswered { attempt, answer });
                    }
                    Effect::Abandon { attempt } => {
                        let answer = AbandonAnswer::Abandoned { last: false };
                        inputs.push_back(Input::AbandonAnswered { attempt, answer });
                    }
                    Effect::Answer(Answer::Taken(taken)) => self.taken = Some(taken),
                    Effect::PublishGroup { notice, .. } => self.said.push(said(notice)),
                    Effect::Publish(Notice::TaskEnded { task, end, .. }) => {
                        self.said.push(format!("{} {}", at(task), label(end)));
                    }
                    _ => {}
                }
            }
        }
    }

    fn compare(&mut self) {
        let machine = &self.machine;
        for (number, member) in self.model.members.iter().enumerate() {
            let found = machine.tasks().get(addr(number).key);
            let expected = (member.place != Place::Gone)
                .then(|| (place(member.place), member.due, member.attempt, member.streak));
            let known =
                found.map(|it| (state(it.state), machine.due(it.addr.key), it.attempt, it.streak));
            assert_eq!(known, expected, "member {number}");
        }
        let mut waits = false;
        let state = machine.group_state(group(), |_| {
            waits = true;
            None
        });
        let known = match state {
            GroupState::Starting { phase } => format!("starting {phase}"),
            GroupState::Up => "up".into(),
            GroupState::Restarting { phase, .. } => {
                format!("restarting {phase}{}", if waits { ", waits" } else { "" })
            }
            GroupState::Stopping { phase } => format!("stopping {phase}"),
            GroupState::Over => "over".into(),
        };
        assert_eq!(known, self.model.state(), "where the group is");
        self.said.sort_unstable();
        self.model.said.sort_unstable();
        assert_eq!(self.said, self.model.said, "what was said");
        self.said.clear();
        self.model.said.clear();
    }
}

fn said(notice: GroupNotice) -> String {
    let of = |culprit: Option<TaskAddr>| {
        culprit.map_or_else(String::new, |task| format!(" for {}", at(task)))
    };
    match notice {
        GroupNotice::Starting => "starting".into(),
        GroupNotice::Ready { .. } => "ready".into(),
        GroupNotice::Restarting { culprit, restarts } => {
            format!("restarting{}, {restarts}", of(culprit))
        }
        GroupNotice::Stopping { why, culprit } => format!("stopping, {why}{}", of(culprit)),
        GroupNotice::Ended => "ended".into(),
    }
}

fn label(end: End) -> String {
    match end {
        End::Completed => "completed".into(),
        End::Cancelled { reason, .. } => format!("cancelled by {reason}"),
        End::Failed => "failed".into(),
        End::Fatal => "fatal".into(),
        End::Panicked => "panicked".into(),
        End::TimedOut => "timed_out".into(),
        End::Abandoned { .. } => "abandoned".into(),
        End::Unresponsive | End::Rejected(_) => panic!("{end:?} is the end of a member"),
    }
}

/// Of what the two have in common, a name and what was told.
fn place(place: Place) -> (&'static str, Option<CancelReason>, Option<StopReason>) {
    let name = match place {
        Place::Turn => "turn",
        Place::Starting => "starting",
        Place::Running => "running",
        Place::Stopping { told, stop } => {
            let told = match told {
                Told::Stop if stop == Some("shutdown") => CancelReason::Shutdown,
                Told::Stop => CancelReason::Stop,
                Told::Timeout => CancelReason::Timeout,
                Told::Restart => CancelReason::Restart,
                Told::Group => CancelReason::Group,
            };
            let all = [StopReason::Stop, StopReason::Shutdown, StopReason::Group];
            let stop = stop.and_then(|stop| all.into_iter().find(|it| it.label() == stop));
            return ("stopping", Some(told), stop);
        }
        Place::Abandoned { over: false } => "abandoned",
        Place::Abandoned { over: true } => "abandoned, over",
        Place::Backoff => "backoff",
        Place::Spacing => "spacing",
        Place::Gone => "gone",
    };
    (name, None, None)
}

fn state(state: State) -> (&'static str, Option<CancelReason>, Option<StopReason>) {
    let name = match state {
        State::Waiting(Wait::Phase) => "turn",
        State::Waiting(Wait::Backoff { .. }) => "backoff",
        State::Waiting(Wait::Spacing | Wait::Interval) => "spacing",
        State::Starting { .. } => "starting",
        State::Running { .. } => "running",
        State::Stopping { told, stop, .. } => {
            return ("stopping", Some(told), stop.map(|stop| stop.reason));
        }
        State::Abandoned { over: false, .. } => "abandoned",
        State::Abandoned { over: true, .. } => "abandoned, over",
        _ => panic!("a member is {state:?}"),
    };
    (name, None, None)
}

fn history(seed: u64) -> (Setting, Vec<Act>) {
    let mut dice = Dice::of(&[seed, 21]);
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let mut members = Vec::new();
    for phase in 0..=dice.below(4) as usize {
        for _ in 0..=dice.below(2) {
            let gate = dice.one_of(&[Gate::Claimed, Gate::Claimed, Gate::Says, Gate::Returned]);
            let policies =
                [RestartPolicy::OnFailure, RestartPolicy::OnFailure, RestartPolicy::Never];
            let restart = dice.one_of(&policies);
            let always = dice.chance(30) && gate != Gate::Returned;
            let mut member =
                Member::new(phase, gate, if always { RestartPolicy::Always } else { restart });
            if dice.chance(20) {
                member.retries = dice.below(3);
            }
            member.has_timeout = dice.chance(30);
            members.push(member);
        }
    }
    let limit = RestartLimit { restarts: dice.below(4), within: ms(1) + dice.span(ms(60)) };
    let limit = dice.chance(40).then_some(limit);
    let setting = Setting { strategy: dice.one_of(&strategies), limit, members };

    let soft = [Return::Failed, Return::Failed, Return::Cancelled, Return::Ok, Return::Ok];
    let fatal = dice.one_of(&[0, 2, 10]);
    let acts = (0..20 + dice.below(120)).map(|_| {
        let which = dice.below(1000) as usize;
        match dice.below(100) {
            0..=34 => Act::Claim(which),
            35..=42 => Act::Says(which),
            43..=66 => {
                let hard = dice.one_of(&[Return::Fatal, Return::Panicked]);
                let hit = dice.chance(fatal);
                Act::Return(which, if hit { hard } else { dice.one_of(&soft) })
            }
            67..=68 => Act::Stop(which),
            69..=71 => Act::Skip(which),
            72..=74 => Act::Restart(which),
            75..=76 => Act::RestartGroup,
            77 if dice.chance(40) => Act::StopGroup,
            78 if dice.chance(40) => Act::ShutDown,
            _ => Act::Pass(dice.span(ms(25))),
        }
    });
    (setting, acts.collect())
}

fn live(setting: &Setting, acts: &[Act]) {
    let mut pair = Pair::new(setting);
    for &act in acts {
        pair.act(act);
        pair.compare();
    }
}

#[test]
fn the_machine_agrees_with_the_reference_of_groups() {
    let histories = number("THREADVISOR_HISTORIES").unwrap_or(HISTORIES);
    let (mut n_acts, mut failed) = (0, Vec::new());
    for seed in 1..=histories {
        let (setting, acts) = history(seed);
        n_acts += acts.len();
        if survives(|| live(&setting, &acts)).is_err() {
            failed.push(seed);
        }
    }
    println!("{histories} histories, {n_acts} acts; {} failed", failed.len());
    let Some(seed) = failed.first() else { return };
    let (setting, acts) = history(*seed);
    let acts = fewest(acts, |acts| survives(|| live(&setting, acts)).is_err());
    let Failure { why, at } = survives(|| live(&setting, &acts)).expect_err("the fewest that fail");
    panic!("{at}: {why}\nhistory {seed}: {setting:?}\n{acts:#?}");
}
