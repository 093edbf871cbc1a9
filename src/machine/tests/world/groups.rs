//! What a world has seen of its groups: who is ready, who goes back and who is stopped, told from
//! what was ordered and said alone. It knows the rules of the page, and nothing of the machine.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::cells::Cells;
use super::coverage::Coverage;
use crate::machine::{Effect, Ending, GroupNotice, GroupSubmission, Input, Notice, Submission};
use crate::vocabulary::answer::RevokeAnswer;
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::id::{AttemptAddr, GroupAddr, SlotKey, TaskAddr, TaskId};
use crate::vocabulary::plan::AtDrain;
use crate::vocabulary::reason::{CancelReason, StopReason};
use crate::vocabulary::time::Time;

/// What worlds with groups have to have met.
pub(super) const SIGHTS: &[&str] = &[
    "admitted",
    "refused",
    "up",
    "up again",
    "restarts for a failure",
    "restarts for an abandoned body",
    "restarts by hand",
    "restarts for a member by hand",
    "restarts from an earlier phase",
    "told group",
    "stops by hand",
    "stops for a member",
    "stops in a shutdown",
    "its budget is spent",
    "a phase has had its share",
    "ends by itself",
    "an offer is taken back",
    "a step runs again",
    "a member is abandoned",
];

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what is known of it")]
struct Member {
    task: TaskId,
    phase: usize,
    waits_for_word: bool,
    is_step: bool,
    stops_at_drain: bool,
    slot: Option<SlotKey>,
    /// Ready since it last went back.
    ready: bool,
    /// The restart in which it goes back, if it has not started since.
    back: Option<u32>,
    /// An attempt was ordered, and has neither ended nor was it abandoned.
    busy: bool,
    /// Its body is being dropped.
    closing: bool,
    runs: u32,
    attempt: u64,
    /// It was asked to stop for itself.
    asked: bool,
    over: bool,
}

#[derive(Debug)]
struct Group {
    addr: GroupAddr,
    strategy: Strategy,
    limit: Option<RestartLimit>,
    counted: Vec<Time>,
    members: Vec<Member>,
    from: Option<usize>,
    n_restarts: u32,
    n_ups: u32,
    stops: Option<StopReason>,
    up: bool,
    ended: bool,
}

pub(super) struct Watch {
    groups: Vec<Group>,
    of: BTreeMap<TaskId, usize>,
    grace: Duration,
    /// When the shutdown began.
    shutdown: Option<Time>,
    /// It was asked for once more.
    urgent: bool,
    now: Time,
}

impl Watch {
    pub(super) const fn new(grace: Duration) -> Self {
        Self {
            groups: Vec::new(),
            of: BTreeMap::new(),
            grace,
            shutdown: None,
            urgent: false,
            now: Time::ZERO,
        }
    }

    pub(super) fn group_of(&self, task: TaskId) -> Option<GroupAddr> {
        self.of.get(&task).map(|&at| self.groups[at].addr)
    }

    pub(super) fn step(
        &mut self,
        now: Time,
        input: &Input,
        effects: &[Effect],
        cells: &Cells,
        coverage: &mut Coverage,
    ) {
        self.now = now;
        self.input(input);
        let mut sights = Vec::new();
        for &effect in effects {
            self.effect(effect, effects, input, cells, &mut sights);
        }
        for sight in sights {
            coverage.met("groups", sight);
        }
    }

    fn input(&mut self, input: &Input) {
        match input {
            Input::GroupSubmitted(submission) => self.submitted(submission),
            Input::StopRequested(task) => self.ask(|member| member.task == task.id),
            Input::SlotStopRequested(slot) => self.ask(|member| member.slot == Some(*slot)),
            Input::Submitted(Submission { slot: Some(slot), .. }) => {
                self.ask(|member| member.slot == Some(*slot));
            }
            Input::BatchSubmitted(batch) => {
                for slot in batch.iter().filter_map(|submission| submission.slot) {
                    self.ask(|member| member.slot == Some(slot));
                }
            }
            Input::DrainRequested { .. } => self.ask(|member| member.stops_at_drain),
            Input::SignalReceived(_) => {
                self.urgent |= self.shutdown.is_some();
                self.ask(|member| member.stops_at_drain);
            }
            Input::RevokeAnswered { attempt, answer: RevokeAnswer::Revoked } => {
                if let Some((_, member)) = self.member(attempt.task) {
                    member.busy &= member.attempt != attempt.number;
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, is: impl Fn(&Member) -> bool) {
        let members = self.groups.iter_mut().flat_map(|group| &mut group.members);
        members.filter(|it| !it.over && is(it)).for_each(|member| member.asked = true);
    }

    fn submitted(&mut self, submission: &GroupSubmission) {
        let mut members = submission.members.iter();
        let mut all = Vec::new();
        for (phase, &size) in submission.phases.iter().enumerate() {
            for it in members.by_ref().take(size as usize) {
                self.of.insert(it.addr.id, self.groups.len());
                all.push(Member {
                    task: it.addr.id,
                    phase,
                    waits_for_word: it.plan.ready_within.is_some(),
                    is_step: it.plan.step,
                    stops_at_drain: it.plan.at_drain != AtDrain::GoOn,
                    slot: it.slot,
                    ready: false,
                    back: None,
                    busy: false,
                    closing: false,
                    runs: 0,
                    attempt: 0,
                    asked: false,
                    over: false,
                });
            }
        }
        self.groups.push(Group {
            addr: submission.group,
            strategy: submission.strategy,
            limit: submission.restart_limit,
            counted: Vec::new(),
            members: all,
            from: None,
            n_restarts: 0,
            n_ups: 0,
            stops: None,
            up: false,
            ended: false,
        });
    }

    fn effect(
        &mut self,
        effect: Effect,
        effects: &[Effect],
        input: &Input,
        cells: &Cells,
        sights: &mut Vec<&'static str>,
    ) {
        match effect {
            Effect::PublishGroup { group, notice } => {
                let now = self.now;
                let known = self.groups.iter_mut().rev().find(|it| it.addr == group);
                known
                    .expect("a group that was submitted")
                    .notice(now, notice, effects, input, sights);
            }
            Effect::ForgetGroup { group } => {
                let known = self.groups.iter().rev().find(|it| it.addr == group);
                let known = known.expect("a group that was submitted");
                // One that was refused never was.
                if !known.ended {
                    assert!(known.members.iter().all(|it| it.runs == 0), "{known:?} was refused");
                    sights.push("refused");
                }
            }
            Effect::Start { attempt, .. } => self.start(attempt, cells, sights),
            Effect::Tell { attempt, reason, .. } => self.tell(attempt, reason, sights),
            Effect::Revoke { attempt } => {
                let own = self.member(attempt.task).filter(|(_, it)| !it.asked);
                sights.extend(own.map(|_| "an offer is taken back"));
            }
            Effect::Deliver { task, .. } => {
                if let Some((_, member)) = self.member(task) {
                    assert!(!member.over, "{member:?} has two outcomes");
                    (member.over, member.closing, member.busy) = (true, false, false);
                }
            }
            Effect::CloseDoor { .. } => self.shutdown = Some(self.now),
            Effect::Publish(notice) => self.notice(notice, sights),
            _ => {}
        }
    }

    fn notice(&mut self, notice: Notice, sights: &mut Vec<&'static str>) {
        match notice {
            Notice::AttemptStarting { attempt } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    it.ready |= it.back.is_none() && !it.waits_for_word && !it.is_step;
                }
            }
            Notice::AttemptReady { attempt, .. } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    it.ready |= it.back.is_none() && !it.is_step;
                }
            }
            Notice::AttemptEnded { attempt, told, ending, .. } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    let done = it.is_step && told.is_none() && ending == Ending::Succeeded;
                    it.ready |= it.back.is_none() && done;
                    it.busy = false;
                }
            }
            Notice::AttemptAbandoned { attempt, .. } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    it.busy = false;
                    sights.push("a member is abandoned");
                }
            }
            Notice::TaskClosing { attempt } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    // What was abandoned has its outcome already.
                    it.closing = !it.over;
                }
            }
            Notice::ClosingAbandoned { attempt } => {
                if let Some((_, it)) = self.member(attempt.task) {
                    it.closing = false;
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, attempt: AttemptAddr, cells: &Cells, sights: &mut Vec<&'static str>) {
        let Some(&at) = self.of.get(&attempt.task.id) else { return };
        let group = &mut self.groups[at];
        let own = group.members.iter().position(|it| it.task == attempt.task.id);
        let own = own.expect("a member of its group");
        let (phase, back) = (group.members[own].phase, group.members[own].back);
        assert_eq!(group.stops, None, "{attempt:?} starts while its group stops: {group:?}");
        for other in &group.members {
            let settled = other.ready || other.over;
            assert!(other.phase >= phase || settled, "{attempt:?} starts before {other:?}");
            // One that was stopped by hand is out of it with its outcome, even if it still runs.
            let is_out = other.over && other.asked;
            // A neighbour may go back in a later restart, of which this one is no part.
            let with_it = back.is_some() && other.back == back;
            let runs = with_it && !is_out && cells.runs(other.task);
            assert!(!runs, "{attempt:?} starts while {other:?} runs from before");
        }
        let member = &mut group.members[own];
        if member.back.take().is_some() {
            member.ready = false;
            group.from = None;
        }
        (member.busy, member.attempt) = (true, attempt.number);
        member.runs += 1;
        if member.is_step && member.runs > 1 {
            sights.push("a step runs again");
        }
    }

    fn tell(&self, attempt: AttemptAddr, reason: CancelReason, sights: &mut Vec<&'static str>) {
        let Some(&at) = self.of.get(&attempt.task.id) else {
            assert_ne!(reason, CancelReason::Group, "{attempt:?} is in no group");
            return;
        };
        let last_share = self.last_share(at, attempt.task.id);
        let group = &self.groups[at];
        let own = group.members.iter().find(|it| it.task == attempt.task.id);
        let own = own.expect("a member of its group");
        let mut later = group.members.iter().filter(|it| it.phase > own.phase);
        match reason {
            CancelReason::Group => {
                sights.push("told group");
                let goes_back = own.back.is_some() && group.from.is_some();
                assert!(goes_back, "{own:?} is told for nothing: {group:?}");
                let mut busy = later.filter(|it| it.back.is_some() && (it.busy || it.closing));
                assert!(busy.next().is_none(), "{own:?} is told too soon: {group:?}");
            }
            CancelReason::Stop | CancelReason::Shutdown if !own.asked && !self.urgent => {
                assert!(group.stops.is_some(), "{own:?} is stopped for nothing: {group:?}");
                let waits = later.any(|it| !it.over);
                assert!(!waits || last_share, "{own:?} is stopped too soon: {group:?}");
                if waits {
                    sights.push("a phase has had its share");
                }
            }
            _ => {}
        }
    }

    /// Whether the phases after that of this member have had their shares of a shutdown.
    fn last_share(&self, at: usize, task: TaskId) -> bool {
        let Some(began) = self.shutdown else { return false };
        let members = &self.groups[at].members;
        let last = members.iter().map(|it| it.phase).max().unwrap_or(0);
        let own = members.iter().find(|it| it.task == task).map_or(0, |it| it.phase);
        // With more phases elsewhere, a share is smaller; there are at most 4 phases.
        let after = u32::try_from(last - own).expect("few phases");
        began.after((self.grace / 4).saturating_mul(after)) <= self.now
    }

    fn member(&mut self, task: TaskAddr) -> Option<(GroupAddr, &mut Member)> {
        let group = &mut self.groups[*self.of.get(&task.id)?];
        let addr = group.addr;
        group.members.iter_mut().find(|it| it.task == task.id).map(|member| (addr, member))
    }
}

impl Group {
    fn notice(
        &mut self,
        now: Time,
        notice: GroupNotice,
        effects: &[Effect],
        input: &Input,
        sights: &mut Vec<&'static str>,
    ) {
        assert!(!self.ended, "{self:?} says {notice:?} after its end");
        match notice {
            GroupNotice::Starting => sights.push("admitted"),
            GroupNotice::Ready { .. } => {
                assert!(self.stops.is_none() && !self.up, "{self:?} is up twice");
                let ready = |it: &Member| it.ready && it.back.is_none();
                let lives = self.members.iter().any(|it| !it.over);
                let ready = lives && self.members.iter().all(|it| ready(it) || it.over);
                assert!(ready, "{self:?} is up too soon");
                (self.up, self.from) = (true, None);
                self.n_ups += 1;
                sights.push(if self.n_ups > 1 { "up again" } else { "up" });
            }
            GroupNotice::Restarting { culprit, restarts } => {
                self.n_restarts += 1;
                assert_eq!(restarts, self.n_restarts, "{self:?} miscounts its restarts");
                self.restart(now, culprit, effects, input, sights);
            }
            GroupNotice::Stopping { why, culprit } => {
                assert_eq!(self.stops, None, "{self:?} stops twice");
                self.stops = Some(why);
                let failed = why == StopReason::Group;
                assert_eq!(failed, culprit.is_some(), "{self:?} stops, {why}, for {culprit:?}");
                sights.push(match why {
                    StopReason::Shutdown => "stops in a shutdown",
                    StopReason::Group => "stops for a member",
                    _ => "stops by hand",
                });
                let spent =
                    self.limit.is_some_and(|limit| self.in_window(now, limit) >= limit.restarts);
                if failed && spent && self.limit.is_some_and(|limit| limit.restarts > 0) {
                    sights.push("its budget is spent");
                }
            }
            GroupNotice::Ended => {
                assert!(self.members.iter().all(|it| it.over), "{self:?} has ended too soon");
                self.ended = true;
                if self.stops.is_none() {
                    sights.push("ends by itself");
                }
            }
        }
    }

    fn restart(
        &mut self,
        now: Time,
        culprit: Option<TaskAddr>,
        effects: &[Effect],
        input: &Input,
        sights: &mut Vec<&'static str>,
    ) {
        assert_eq!(self.stops, None, "{self:?} restarts while it stops");
        self.up = false;
        let Some(culprit) = culprit else {
            assert!(matches!(input, Input::GroupRestartRequested(_)), "nobody asked for a restart");
            sights.push("restarts by hand");
            self.from = Some(0);
            return self.members.iter_mut().for_each(|it| it.back = Some(self.n_restarts));
        };
        let own = self.members.iter().find(|it| it.task == culprit.id).expect("a member").phase;
        let from = match self.strategy {
            Strategy::OneForOne => panic!("{self:?} restarts although each is on its own"),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => own,
        };
        let restarts = self.members.iter().any(|it| it.back.is_some());
        if let Some(before) = self.from.filter(|_| restarts) {
            // Those that go back may be about to start, so that this is another restart.
            assert!(from <= before, "{self:?} restarts from {from} while it does from {before}");
            if from < before {
                sights.push("restarts from an earlier phase");
            }
        }
        self.from = Some(from);
        for it in &mut self.members {
            let all = self.strategy == Strategy::OneForAll;
            if all || it.phase > from || it.task == culprit.id {
                it.back = Some(self.n_restarts);
            }
        }

        let mut counts = None;
        for effect in effects {
            match effect {
                Effect::Publish(Notice::RetryScheduled { attempt, .. })
                    if attempt.task == culprit =>
                {
                    counts = counts.or(Some("restarts for a failure"));
                }
                Effect::Publish(Notice::AttemptAbandoned { attempt, .. })
                    if attempt.task == culprit =>
                {
                    counts = Some("restarts for an abandoned body");
                }
                _ => {}
            }
        }
        sights.push(counts.unwrap_or("restarts for a member by hand"));
        if let (Some(_), Some(limit)) = (counts, self.limit) {
            assert!(self.in_window(now, limit) < limit.restarts, "{self:?} restarts too often");
            self.counted.push(now);
        }
    }

    fn in_window(&self, now: Time, limit: RestartLimit) -> u32 {
        let counted = self.counted.iter().filter(|at| now < at.after(limit.within));
        u32::try_from(counted.count()).expect("few restarts")
    }
}
