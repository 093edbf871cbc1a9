//! The rules of groups a second time: one group, on its own, with as many threads and permits as it
//! wants and bodies that need no drop.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::tests::rig::ms;
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::policy::RestartPolicy;
use crate::vocabulary::time::Time;

pub(super) const BACKOFF: Duration = ms(10);
pub(super) const GRACE: Duration = ms(20);
pub(super) const SHUTDOWN: Duration = ms(90);
pub(super) const WITHIN: Duration = ms(15);
pub(super) const TIMEOUT: Duration = ms(40);
const SPACING: Duration = ms(1);

/// When a member is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Claimed,
    Says,
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Stop,
    Timeout,
    Restart,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Turn,
    Starting,
    Running,
    Stopping { told: Told, stop: Option<&'static str> },
    Abandoned { over: bool },
    Backoff,
    Spacing,
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) phase: usize,
    pub(super) gate: Gate,
    pub(super) restart: RestartPolicy,
    pub(super) retries: u32,
    pub(super) has_timeout: bool,
    pub(super) place: Place,
    pub(super) due: Time,
    pub(super) set: u64,
    pub(super) attempt: u64,
    pub(super) streak: u32,
    pub(super) claimed_at: Option<Time>,
    pub(super) ready: bool,
    pub(super) back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Up,
    Restarting(usize),
    Stopping(&'static str),
    Over,
}

pub(super) struct Model {
    pub(super) now: Time,
    strategy: Strategy,
    limit: Option<RestartLimit>,
    pub(super) members: Vec<Member>,
    pub(super) mode: Mode,
    released: usize,
    was_up: bool,
    restarts: u32,
    counted: Vec<Time>,
    n_set: u64,
    pub(super) shutdown: Option<Time>,
    /// What was said and delivered since the last comparison.
    pub(super) said: Vec<String>,
}

impl Member {
    pub(super) fn new(phase: usize, gate: Gate, restart: RestartPolicy) -> Self {
        Self {
            phase,
            gate,
            restart,
            retries: u32::MAX,
            has_timeout: false,
            place: Place::Turn,
            due: Time::NEVER,
            set: 0,
            attempt: 0,
            streak: 0,
            claimed_at: None,
            ready: false,
            back: false,
        }
    }

    fn has_outcome(&self) -> bool {
        matches!(self.place, Place::Gone | Place::Abandoned { over: true })
    }

    fn is_done(&self) -> bool {
        self.gate == Gate::Returned && self.ready && self.place == Place::Turn
    }

    /// Told or about to be, and not yet at rest.
    fn is_busy(&self) -> bool {
        matches!(self.place, Place::Starting | Place::Running | Place::Stopping { .. })
    }
}

impl Model {
    pub(super) fn new(
        strategy: Strategy,
        limit: Option<RestartLimit>,
        members: Vec<Member>,
    ) -> Self {
        let mut model = Self {
            now: Time::ZERO,
            strategy,
            limit,
            members,
            mode: Mode::Up,
            released: 0,
            was_up: false,
            restarts: 0,
            counted: Vec::new(),
            n_set: 0,
            shutdown: None,
            said: Vec::new(),
        };
        model.said.push("starting".into());
        model.advance();
        model
    }

    pub(super) fn state(&self) -> String {
        let last = |is: &dyn Fn(&Member) -> bool| {
            self.members.iter().filter(|it| is(it)).map(|it| it.phase).max()
        };
        match self.mode {
            Mode::Up if self.was_up => "up".into(),
            Mode::Up => format!("starting {}", self.released.saturating_sub(1)),
            Mode::Restarting(from) => {
                let holds = |it: &&Member| it.back && matches!(it.place, Place::Abandoned { .. });
                let waits = if self.members.iter().any(|it| holds(&it)) { ", waits" } else { "" };
                format!("restarting {}{waits}", last(&|it| it.back && it.is_busy()).unwrap_or(from))
            }
            Mode::Stopping(_) => format!("stopping {}", last(&|it| !it.has_outcome()).unwrap_or(0)),
            Mode::Over => "over".into(),
        }
    }

    pub(super) fn enter(&mut self, at: usize, place: Place, due: Time) {
        self.n_set += 1;
        let member = &mut self.members[at];
        (member.place, member.due, member.set) = (place, due, self.n_set);
    }

    fn phases(&self) -> usize {
        self.members.iter().map(|it| it.phase + 1).max().unwrap_or(0)
    }

    // Who goes back.

    /// From where the group would restart for this member.
    fn restarts_from(&self, at: usize) -> Option<usize> {
        let from = match self.strategy {
            Strategy::OneForOne => return None,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => self.members[at].phase,
        };
        match self.mode {
            Mode::Up => Some(from),
            Mode::Restarting(now) => (from < now).then_some(from),
            Mode::Stopping(_) | Mode::Over => None,
        }
    }

    pub(super) fn is_spent(&self, at: usize) -> bool {
        let Some(limit) = self.limit.filter(|_| self.restarts_from(at).is_some()) else {
            return false;
        };
        let recent = self.counted.iter().filter(|it| self.now < it.after(limit.within)).count();
        recent >= limit.restarts as usize
    }

    pub(super) fn restart_others(&mut self, at: usize, counts: bool) {
        let Some(from) = self.restarts_from(at) else {
            if self.strategy != Strategy::OneForOne {
                self.members[at].back |= matches!(self.mode, Mode::Restarting(_));
            }
            return;
        };
        if counts {
            self.counted.push(self.now);
        }
        for (other, member) in self.members.iter_mut().enumerate() {
            let all = self.strategy == Strategy::OneForAll;
            member.back |= all || other == at || member.phase > from;
        }
        self.begin_restart(from, &format!(" for {at}"));
    }

    pub(super) fn begin_restart(&mut self, from: usize, culprit: &str) {
        self.mode = Mode::Restarting(from);
        self.was_up = false;
        self.restarts += 1;
        self.said.push(format!("restarting{culprit}, {}", self.restarts));
    }

    pub(super) fn stop_all(&mut self, why: &'static str, culprit: &str) {
        if !matches!(self.mode, Mode::Stopping(_) | Mode::Over) {
            self.mode = Mode::Stopping(why);
            self.said.push(format!("stopping, {why}{culprit}"));
        }
    }

    fn is_held(&self, at: usize) -> bool {
        match self.mode {
            Mode::Up | Mode::Over => false,
            Mode::Restarting(_) => self.members[at].back,
            Mode::Stopping(_) => true,
        }
    }

    // What becomes of one.

    pub(super) fn end(&mut self, at: usize, end: &str, own_failure: bool) {
        self.said.push(format!("{at} {end}"));
        self.enter(at, Place::Gone, Time::NEVER);
        if own_failure {
            self.lost(at);
        }
    }

    pub(super) fn lost(&mut self, at: usize) {
        if self.strategy != Strategy::OneForOne || !self.was_up {
            self.stop_all("group", &format!(" for {at}"));
        }
    }

    fn start(&mut self, at: usize) {
        let spacing = self.members[at].claimed_at.map_or(Time::ZERO, |it| it.after(SPACING));
        if spacing > self.now {
            return self.enter(at, Place::Spacing, spacing);
        }
        self.members[at].attempt += 1;
        self.enter(at, Place::Starting, Time::NEVER);
    }

    pub(super) fn go_on(&mut self, at: usize) {
        if self.is_held(at) {
            self.enter(at, Place::Turn, Time::NEVER);
        } else {
            self.start(at);
        }
    }

    pub(super) fn may_retry(&self, at: usize) -> bool {
        let member = &self.members[at];
        member.restart != RestartPolicy::Never && member.streak < member.retries
    }

    pub(super) fn failed(&mut self, at: usize, end: &str) {
        let last = self.is_spent(at) || !self.may_retry(at);
        self.members[at].streak += 1;
        if last {
            return self.end(at, end, true);
        }
        self.restart_others(at, true);
        self.back_off(at);
    }

    pub(super) fn back_off(&mut self, at: usize) {
        if matches!(self.mode, Mode::Stopping(_)) {
            self.enter(at, Place::Turn, Time::NEVER);
        } else {
            self.enter(at, Place::Backoff, self.now.after(BACKOFF));
        }
    }

    pub(super) fn tell(&mut self, at: usize, told: Told, stop: Option<&'static str>) {
        let grace = self.now.after(GRACE).min(self.shutdown_ends());
        self.enter(at, Place::Stopping { told, stop }, grace);
    }

    pub(super) fn shutdown_ends(&self) -> Time {
        self.shutdown.map_or(Time::NEVER, |began| began.after(SHUTDOWN))
    }

    /// Asks one to stop, for this reason.
    pub(super) fn stop(&mut self, at: usize, why: &'static str) {
        match self.members[at].place {
            Place::Turn if self.members[at].is_done() => self.end(at, "completed", false),
            Place::Turn | Place::Backoff | Place::Spacing | Place::Starting => {
                self.end(at, &format!("cancelled by {why}"), false);
            }
            Place::Running => self.tell(at, Told::Stop, Some(why)),
            Place::Stopping { told, stop: None } => {
                let due = self.members[at].due.min(self.shutdown_ends());
                self.enter(at, Place::Stopping { told, stop: Some(why) }, due);
            }
            Place::Abandoned { over: false } => {
                self.said.push(format!("{at} abandoned"));
                self.enter(at, Place::Abandoned { over: true }, Time::NEVER);
            }
            Place::Stopping { .. } | Place::Abandoned { .. } | Place::Gone => {}
        }
    }

    // What the group does by itself.

    pub(super) fn advance(&mut self) {
        loop {
            let before = (self.mode, self.n_set, self.released);
            match self.mode {
                Mode::Up => self.come_up(),
                Mode::Restarting(from) => self.send_back(from),
                Mode::Stopping(why) => self.stop_in_order(why),
                Mode::Over => return,
            }
            if self.mode != Mode::Over && self.members.iter().all(Member::has_outcome) {
                self.mode = Mode::Over;
                self.said.push("ended".into());
            }
            if before == (self.mode, self.n_set, self.released) {
                return;
            }
        }
    }

    fn come_up(&mut self) {
        let released = self.released;
        let settled = |it: &Member| it.ready || it.has_outcome();
        let waits = !self.members.iter().filter(|it| it.phase < released).all(settled);
        if waits || self.members.iter().all(Member::has_outcome) {
            return;
        }
        if released < self.phases() {
            self.released += 1;
            for at in 0..self.members.len() {
                let member = &self.members[at];
                if (member.phase, member.place, member.ready) == (released, Place::Turn, false) {
                    self.start(at);
                }
            }
            return;
        }
        if !self.was_up {
            self.was_up = true;
            self.said.push("ready".into());
        }
        if self.members.iter().all(|it| it.has_outcome() || it.is_done()) {
            self.mode = Mode::Stopping("stop");
        }
    }

    fn send_back(&mut self, from: usize) {
        for at in 0..self.members.len() {
            let place = self.members[at].place;
            if self.members[at].back && matches!(place, Place::Spacing | Place::Starting) {
                self.enter(at, Place::Turn, Time::NEVER);
            }
        }
        for phase in (0..self.phases()).rev() {
            for at in (0..self.members.len()).rev() {
                let member = &self.members[at];
                if (member.phase, member.back, member.place) == (phase, true, Place::Running) {
                    self.tell(at, Told::Group, None);
                }
            }
            if self.members.iter().any(|it| it.phase == phase && it.back && it.is_busy()) {
                return;
            }
        }
        let rests = |it: &&Member| matches!(it.place, Place::Turn | Place::Gone);
        if self.members.iter().filter(|it| it.back).all(|it| rests(&it)) {
            for member in self.members.iter_mut().filter(|it| it.back) {
                (member.back, member.ready) = (false, false);
            }
            (self.mode, self.released) = (Mode::Up, from);
        }
    }

    fn stop_in_order(&mut self, why: &'static str) {
        for at in 0..self.members.len() {
            let waits = [Place::Backoff, Place::Spacing, Place::Starting];
            if waits.contains(&self.members[at].place) {
                self.enter(at, Place::Turn, Time::NEVER);
            }
        }
        let last = self.phases() - 1;
        for phase in (0..=last).rev() {
            let later = self.members.iter().filter(|it| it.phase > phase);
            let shares = u32::try_from(last - phase).expect("few phases");
            let share = SHUTDOWN / u32::try_from(self.phases()).expect("few phases");
            let due = self.shutdown.map_or(Time::NEVER, |it| it.after(share * shares));
            if !later.clone().all(Member::has_outcome) && due > self.now {
                return;
            }
            for at in (0..self.members.len()).rev() {
                if self.members[at].phase == phase {
                    self.stop(at, why);
                }
            }
        }
    }
}
