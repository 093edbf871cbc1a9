//! Groups: members start phase by phase, go back and start again together, and stop in reverse.
//! [`advance_groups`](Machine::advance_groups) is the only place that releases them, sends them
//! back or stops them by order; all other rules only note what has happened to them.

use alloc::vec::Vec;

use super::effect::{Effect, GroupNotice};
use super::ending::End;
use super::input::GroupSubmission;
use super::roster::{Group, GroupAct, Member, Mode};
use super::step::Machine;
use super::task::{Closing, State, Task, Wait};
use crate::vocabulary::group::Strategy;
use crate::vocabulary::id::{GroupAddr, GroupKey, TaskKey};
use crate::vocabulary::reason::{CancelReason, StopReason};
use crate::vocabulary::time::Time;

impl Machine {
    /// Admits a group as a whole, or none of its members.
    pub(super) fn submit_group(&mut self, submission: GroupSubmission, out: &mut Vec<Effect>) {
        let GroupSubmission { group, strategy, restart_limit, phases, members, refused } =
            submission;
        let sizes = (0..).zip(phases);
        let phases = sizes.flat_map(|(phase, size)| (0..size).map(move |_| phase));
        let roster = members.iter().zip(phases).map(|(member, phase)| Member {
            task: member.addr,
            phase,
            released: false,
            ready: false,
            back: false,
        });
        let roster: Vec<_> = roster.collect();
        let refusal = self.refusal_of_batch(&members);
        let refusal = refusal.or_else(|| Some((group.first, refused?)));
        if refusal.is_none() {
            let residents = members.iter().filter(|member| member.plan.is_resident()).count();
            let entry = Group::new(group, strategy, restart_limit, roster, residents, self.now);
            self.groups.insert(entry);
        }
        self.decide_batch(members, refusal, refusal.is_none(), out);
        if refusal.is_some() {
            return out.push(Effect::ForgetGroup { group });
        }
        out.push(Effect::PublishGroup { group, notice: GroupNotice::Starting });
        self.groups.touched.insert(group.key, ());
    }

    /// A caller stops a group.
    pub(super) fn stop_group(&mut self, group: GroupAddr, out: &mut Vec<Effect>) {
        if self.find_group(group) {
            self.begin_stop(group.key, StopReason::Stop, None, out);
        }
    }

    /// A caller restarts a group, and has probably mended the cause of what failed, so the delays
    /// begin anew. False once the group stops.
    pub(super) fn restart_group(&mut self, group: GroupAddr, out: &mut Vec<Effect>) -> bool {
        if !self.find_group(group) {
            return false;
        }
        let now = self.now;
        let Some(entry) = self.groups.get_mut(group.key) else { return false };
        if let Mode::Stopping { .. } = entry.mode {
            return false;
        }
        let all_go_back = entry.members.iter().all(|member| member.back);
        if !all_go_back {
            entry.begin_restart(0, None, now);
            let notice = GroupNotice::Restarting { culprit: None, restarts: entry.restarts };
            out.push(Effect::PublishGroup { group, notice });
        }
        entry.by_hand = true;
        for key in self.members(group.key, |_| true) {
            if let State::Waiting(Wait::Backoff { .. }) = self.tasks[key].state {
                self.task_mut(key).begin_delays_anew();
                self.enter(key, State::Waiting(Wait::Phase), Time::NEVER);
            }
        }
        self.groups.touched.insert(group.key, ());
        true
    }

    /// Asks all groups to stop, for a shutdown.
    pub(super) fn stop_groups(&mut self, out: &mut Vec<Effect>) {
        let keys: Vec<_> = self.groups.iter().map(|group| group.addr.key).collect();
        for key in keys {
            self.begin_stop(key, StopReason::Shutdown, None, out);
            self.pull_back(key, out);
        }
        self.groups.touch_all();
    }

    /// Whether the group still exists.
    fn find_group(&mut self, group: GroupAddr) -> bool {
        let found = self.groups.find(group).is_some();
        self.stale += u64::from(!found);
        found
    }

    /// Lets the group stop, last phase first. The first reason counts.
    fn begin_stop(
        &mut self,
        key: GroupKey,
        why: StopReason,
        culprit: Option<TaskKey>,
        out: &mut Vec<Effect>,
    ) {
        let culprit = culprit.map(|culprit| self.tasks[culprit].addr);
        let Some(group) = self.groups.get_mut(key) else { return };
        if let Mode::Stopping { .. } = group.mode {
            return;
        }
        group.hold(Mode::Stopping { reason: why });
        let (group, notice) = (group.addr, GroupNotice::Stopping { why, culprit });
        out.push(Effect::PublishGroup { group, notice });
        self.groups.touched.insert(key, ());
    }

    /// The state of a member has changed: its group is advanced before the step ends.
    pub(super) fn touch_group(&mut self, key: TaskKey) {
        let task = &self.tasks[key];
        let Some(group) = self.groups.key_of(task) else { return };
        // It was claimed before its offer was taken back, or is stopped by itself.
        let anew = matches!(task.state, State::Running { .. } | State::Closing(_));
        self.groups.touched.insert(group, ());
        if let Some(group) = self.groups.get_mut(group) {
            if anew && matches!(group.mode, Mode::Restarting { .. }) {
                group.look_anew();
            }
        }
    }

    /// A task is about to be forgotten, or its group is.
    pub(super) fn leave_group(&mut self, key: TaskKey) {
        if self.tasks[key].is_member {
            self.touch_group(key);
            self.groups.forget_member(key);
            self.task_mut(key).is_member = false;
        }
    }

    pub(super) fn group_of(&self, key: TaskKey) -> Option<(&Group, &Member)> {
        self.groups.member(&self.tasks[key])
    }

    /// The members of this kind that exist.
    fn members(&self, key: GroupKey, is: impl Fn(&Member) -> bool) -> Vec<TaskKey> {
        let members = self.groups.get(key).map_or(&[][..], |group| &group.members);
        members.iter().filter(|it| is(it)).filter_map(|it| self.tasks.find(it.task)).collect()
    }

    /// A member is ready: its attempt was claimed or has said so, or a step has returned `Ok`. Of
    /// one that was asked to stop before, only the outcome counts.
    pub(super) fn member_ready(&mut self, key: TaskKey) {
        let task = &self.tasks[key];
        if let (Some(member), false) = (self.groups.member_mut(task), task.state.stop_recorded()) {
            member.ready = true;
            self.touch_group(key);
        }
    }

    /// Whether a member that would go on by itself waits for its phase instead, because its group
    /// restarts or stops.
    pub(super) fn is_held(&self, key: TaskKey) -> bool {
        self.group_of(key).is_some_and(|(group, member)| match group.mode {
            Mode::Up => false,
            Mode::Restarting { .. } => member.back,
            Mode::Stopping { .. } => true,
        })
    }

    /// Whether nothing of its group will start any more.
    pub(super) fn group_stops(&self, key: TaskKey) -> bool {
        let mode = self.group_of(key).map(|(group, _)| group.mode);
        matches!(mode, Some(Mode::Stopping { .. }))
    }

    /// A member gives its permit back: it passes to none of those that go back with it.
    pub(super) fn hold_others_back(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        if let Some(group) = self.groups.key_of(&self.tasks[key]) {
            self.by_group_rules(GroupAct::PullBack(group), out);
        }
    }

    /// Whether a failure of this member now is one too many for its group.
    pub(super) fn is_group_spent(&self, key: TaskKey) -> bool {
        self.group_of(key).is_some_and(|(group, member)| {
            group.restarts_from(member).is_some() && group.is_spent(self.now)
        })
    }

    /// A member will start again: so do those that its group's strategy says. A failure counts.
    pub(super) fn restart_others(&mut self, key: TaskKey, counts: bool, out: &mut Vec<Effect>) {
        let Some((group, member)) = self.group_of(key) else { return };
        let (from, addr, culprit) = (group.restarts_from(member), group.addr, member.task);
        let now = self.now;
        let Some(group) = self.groups.get_mut(addr.key) else { return };
        if let Some(from) = from {
            if counts {
                group.count_restart(now);
            }
            group.begin_restart(from, Some(key), now);
            let notice =
                GroupNotice::Restarting { culprit: Some(culprit), restarts: group.restarts };
            out.push(Effect::PublishGroup { group: addr, notice });
            self.groups.touched.insert(addr.key, ());
        } else if let (Mode::Restarting { .. }, true) =
            (group.mode, group.strategy != Strategy::OneForOne)
        {
            // A neighbour of the culprit: those that go back rely on it as well.
            if let Some(member) = self.groups.member_mut(&self.tasks[key]) {
                member.back = true;
            }
        }
    }

    /// A member has its outcome.
    pub(super) fn member_decided(&mut self, key: TaskKey) {
        let task = &self.tasks[key];
        let group = self.groups.key_of(task);
        if let Some(group) = group.and_then(|group| self.groups.get_mut(group)) {
            group.residents -= usize::from(task.plan.is_resident());
        }
    }

    /// A member has ended. If it has failed for good by itself, its group cannot go on without it,
    /// unless nobody relies on it.
    pub(super) fn member_over(&mut self, key: TaskKey, end: End, out: &mut Vec<Effect>) {
        let Some((group, _)) = self.group_of(key) else { return };
        let group_key = group.addr.key;
        let goes_on = group.strategy == Strategy::OneForOne && group.starting_since.is_none();
        let own = end.is_own() && !self.tasks[key].state.stop_asked();
        if own && end.is_failure() && !goes_on {
            self.begin_stop(group_key, StopReason::Group, Some(key), out);
        }
    }

    /// Advances every group of which something has changed, as far as it comes.
    pub(super) fn advance_groups(&mut self, out: &mut Vec<Effect>) {
        while let Some((key, ())) = self.groups.touched.pop_first_if(|_| true) {
            let Some(group) = self.groups.get(key) else { continue };
            match group.mode {
                Mode::Up => self.release_phases(key, out),
                Mode::Restarting { from } => self.send_back(key, from, out),
                Mode::Stopping { reason } => self.stop_phases(key, reason, out),
            }
        }
    }

    /// Releases phase after phase, for as long as all that were released are ready or over.
    fn release_phases(&mut self, key: GroupKey, out: &mut Vec<Effect>) {
        loop {
            let Some(group) = self.groups.get(key) else { return };
            let (next, phases) = (group.released, group.phases());
            let is_settled = |it: &&Member| it.phase < next && (it.ready || self.has_outcome(it));
            let more = group.members[group.settled..].iter().take_while(is_settled).count();
            let settled = group.settled + more;
            let holds_up = group.members.get(settled).is_some_and(|it| it.phase < next);
            let of_next = group.members[settled..].iter().take_while(|it| it.phase == next);
            let of_next: Vec<_> = of_next.filter(|it| !it.ready).copied().collect();
            let Some(group) = self.groups.get_mut(key) else { return };
            group.settled = settled;
            if holds_up {
                return;
            }
            if next == phases {
                return self.come_up(key, out);
            }

            group.released += 1;
            for member in &of_next {
                if self.state_of(member) == Some(State::Waiting(Wait::Phase)) {
                    self.release(member, out);
                }
            }
        }
    }

    /// Every phase is ready. If nothing is left but steps that are done, the group ends.
    fn come_up(&mut self, key: GroupKey, out: &mut Vec<Effect>) {
        let now = self.now;
        let goes_on = |this: &Self, it: &Member| !this.has_outcome(it) && !this.is_parked(it);
        let done = self.latest(key, goes_on).is_none();
        let over = done && self.members(key, |it| !self.has_outcome(it)).is_empty();
        let Some(group) = self.groups.get_mut(key) else { return };
        // One of which every member has ended was never up.
        if let Some(since) = group.starting_since.take().filter(|_| !over) {
            let notice = GroupNotice::Ready { took: since.until(now) };
            out.push(Effect::PublishGroup { group: group.addr, notice });
        }
        if done {
            group.hold(Mode::Stopping { reason: StopReason::Stop });
            self.groups.touched.insert(key, ());
        }
    }

    /// Lets a member start that has waited for its phase.
    fn release(&mut self, member: &Member, out: &mut Vec<Effect>) {
        let (key, now) = (member.task.key, self.now);
        let task = &self.tasks[key];
        let (delay, spacing) = (task.plan.initial_delay, task.spacing_until());
        if let Some(member) = self.groups.member_mut(task) {
            member.released = true;
        }
        if !member.released && !delay.is_zero() {
            self.task_mut(key).forgive_wait(now);
            self.enter(key, State::Waiting(Wait::InitialDelay), now.after(delay));
        } else if spacing > now {
            self.task_mut(key).forgive_wait(now);
            self.enter(key, State::Waiting(Wait::Spacing), spacing);
        } else {
            self.end_wait(key, out);
        }
    }

    /// Sends those back that restart, and releases them again once they are at rest.
    fn send_back(&mut self, key: GroupKey, from: u32, out: &mut Vec<Effect>) {
        self.pull_back(key, out);
        // The last phase first; the next one follows only when that is at rest, or abandoned.
        let busy =
            |this: &Self, it: &Member| it.back && this.state_of(it).is_some_and(State::goes_back);
        if let Some(phase) = self.latest(key, busy) {
            while let Some(member) = self.next_told(key, phase) {
                let state = self.state_of(&member).filter(|_| member.back);
                if let Some(State::Running { claimed_at, .. }) = state {
                    self.tell(member.task.key, claimed_at, CancelReason::Group, None, out);
                }
            }
            return;
        }

        let phase = State::Waiting(Wait::Phase);
        let Some(group) = self.groups.get(key) else { return };
        let waits = |it: &Member| !it.back || self.state_of(it).map_or(true, |it| it == phase);
        let all_wait = group.members.iter().all(waits);
        // An abandoned body holds up nobody if there is nobody.
        let all_over = group.members.iter().all(|it| self.has_outcome(it));
        if let (Some(group), true) = (self.groups.get_mut(key), all_wait || all_over) {
            group.end_restart(from);
            self.groups.touched.insert(key, ());
        }
    }

    /// Stops phase after phase, the last first. The next one follows when that is over, or has had
    /// its share of the time of a shutdown.
    fn stop_phases(&mut self, key: GroupKey, reason: StopReason, out: &mut Vec<Effect>) {
        self.pull_back(key, out);
        let last = self.groups.get(key).map_or(0, |group| group.phases() - 1);
        let due = last.saturating_sub(self.phase.steps());
        while let Some(phase) = self.latest(key, |this, it| !this.has_outcome(it)) {
            let Some(member) = self.next_told(key, phase.min(due)) else { return };
            if self.state_of(&member).is_some_and(|state| !state.stop_recorded()) {
                self.stop(member.task.key, reason, out);
            }
        }
        self.end_group(key, out);
    }

    /// The phase of the last member of this kind. Those behind it are not looked at again.
    fn latest(&mut self, key: GroupKey, is: impl Fn(&Self, &Member) -> bool) -> Option<u32> {
        let group = self.groups.get(key)?;
        let place = group.members[..group.rest].iter().rposition(|it| is(self, it));
        let phase = place.map(|place| group.members[place].phase);
        self.groups.get_mut(key)?.rest = place.map_or(0, |place| place + 1);
        phase
    }

    /// The next member, from the last on, that is to be told if its phase is this or a later one.
    fn next_told(&mut self, key: GroupKey, phase: u32) -> Option<Member> {
        let group = self.groups.get_mut(key)?;
        let place = group.told.checked_sub(1)?;
        let member = group.members.get(place).copied().filter(|it| it.phase >= phase)?;
        group.told = place;
        Some(member)
    }

    /// Lets those that go back or stop wait for their phase, of which no body runs. A retry comes
    /// first when it is due, if the group does not stop. Once is enough: they start nothing then.
    pub(super) fn pull_back(&mut self, key: GroupKey, out: &mut Vec<Effect>) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(key) else { return };
        if core::mem::replace(&mut group.held, true) {
            return;
        }
        let stops = matches!(group.mode, Mode::Stopping { .. });
        let keys = self.members(key, |it| stops || it.back);
        for &key in &keys {
            let state = self.tasks[key].state;
            if state == State::Runnable {
                self.leave_line(key, false);
            }
            if state.waits_otherwise(stops) {
                self.task_mut(key).forgive_wait(now);
                self.enter(key, State::Waiting(Wait::Phase), Time::NEVER);
            }
        }
        // Only now, so that what they held passes to none of them.
        for key in keys {
            let state = self.tasks[key].state;
            if let State::Starting { stop: None, expired: false, sent_back: false } = state {
                let state = State::Starting { stop: None, expired: false, sent_back: true };
                self.enter(key, state, Time::NEVER);
                out.push(Effect::Revoke { attempt: self.tasks[key].attempt_addr() });
            } else if let State::Waiting(_) = state {
                self.return_class(key, out);
            }
        }
    }

    /// Forgets a group of which every member has its outcome.
    fn end_group(&mut self, key: GroupKey, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.remove(key) else { return };
        for member in group.members {
            if let Some(key) = self.tasks.find(member.task) {
                self.leave_group(key);
            }
        }
        let group = group.addr;
        out.push(Effect::PublishGroup { group, notice: GroupNotice::Ended });
        out.push(Effect::ForgetGroup { group });
    }

    pub(super) fn state_of(&self, member: &Member) -> Option<State> {
        self.tasks.find(member.task).map(|key| self.tasks[key].state)
    }

    pub(super) fn has_outcome(&self, member: &Member) -> bool {
        self.state_of(member).map_or(true, State::is_over)
    }

    /// Whether it is a step that is done and waits for a restart.
    fn is_parked(&self, member: &Member) -> bool {
        let task = self.tasks.get(member.task.key).filter(|it| it.addr == member.task);
        let waits = |task: &Task| task.plan.step && task.state == State::Waiting(Wait::Phase);
        member.ready && task.is_some_and(waits)
    }

    /// Whether it is a member that has done all it has to, unless its group restarts.
    pub(super) fn is_done_step(&self, key: TaskKey) -> bool {
        self.group_of(key).is_some_and(|(_, member)| self.is_parked(member))
    }

    /// Whether a member will not end by itself: a step that is done, or one of a group that has a
    /// resident.
    pub(super) fn stays_with_group(&self, task: &Task) -> bool {
        let Some((group, member)) = self.groups.member(task) else { return false };
        self.is_parked(member) || group.residents > 0
    }
}

impl State {
    /// Whether a member that goes back is on its way, and those of earlier phases wait for it.
    pub(super) const fn goes_back(self) -> bool {
        match self {
            Self::Starting { .. } | Self::Running { .. } | Self::Stopping { .. } => true,
            Self::Closing(Closing { stuck, over, .. }) => !stuck && !over,
            Self::Intake
            | Self::Queued
            | Self::Runnable
            | Self::Abandoned { .. }
            | Self::Waiting(_)
            | Self::Over => false,
        }
    }

    /// Whether a member without a body that runs waits for something other than its phase, a retry
    /// only if its group stops.
    const fn waits_otherwise(self, stops: bool) -> bool {
        match self {
            Self::Runnable => true,
            Self::Waiting(Wait::Backoff { .. }) => stops,
            Self::Waiting(wait) => !matches!(wait, Wait::Phase),
            Self::Intake
            | Self::Queued
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Abandoned { .. }
            | Self::Closing(_)
            | Self::Over => false,
        }
    }

    /// Whether it outlived its grace, and its group starts again only once it has returned.
    pub(super) const fn holds_group_up(self) -> bool {
        matches!(self, Self::Abandoned { .. } | Self::Closing(Closing { stuck: true, .. }))
    }
}
