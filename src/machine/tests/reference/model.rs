//! The rules of slots, permits and restarts a second time, written from `guide::rules` and as naive
//! as can be: plain lists that are searched, no orders and no answers, everything at once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::job::{Job, Place};
use crate::machine::{End, Submission};
use crate::vocabulary::id::{ClassKey, TaskId};
use crate::vocabulary::plan::{BodyKind, Limits, Plan};
use crate::vocabulary::policy::{AbandonPolicy, AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::{CancelReason, Rejection, StopReason};
use crate::vocabulary::time::Time;

pub(super) struct Model {
    pub(super) now: Time,
    pub(super) limits: Limits,
    pub(super) jobs: Vec<Job>,
    pub(super) queues: BTreeMap<u32, Vec<TaskId>>,
    pub(super) line: Vec<TaskId>,
    /// Who waits for a class.
    pub(super) class_lines: BTreeMap<u32, Vec<TaskId>>,
    pub(super) released: Vec<(TaskId, u64)>,
    pub(super) released_drops: Vec<TaskId>,
    pub(super) ended: Vec<(TaskId, End)>,
    /// When the drain ends that has begun.
    pub(super) drain: Option<Time>,
    /// When the grace of the shutdown ends that has begun.
    pub(super) closes: Option<Time>,
    /// How many waits of bodies have begun.
    pub(super) n_waits: usize,
    n_set: u64,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            now: Time::ZERO,
            limits,
            jobs: Vec::new(),
            queues: BTreeMap::new(),
            line: Vec::new(),
            class_lines: BTreeMap::new(),
            released: Vec::new(),
            released_drops: Vec::new(),
            ended: Vec::new(),
            drain: None,
            closes: None,
            n_waits: 0,
            n_set: 0,
        }
    }

    pub(super) fn job(&mut self, id: TaskId) -> &mut Job {
        self.jobs.iter_mut().find(|job| job.id == id).expect("a job")
    }

    pub(super) fn owner(&self, slot: u32) -> Option<TaskId> {
        let owns = |job: &&Job| job.slot == Some(slot) && job.is_owner;
        self.jobs.iter().find(owns).map(|job| job.id)
    }

    pub(super) fn permits(&self) -> u32 {
        let holds = |place| {
            matches!(place, Place::Starting | Place::Running | Place::Stopping | Place::Abandoned)
        };
        self.jobs.iter().filter(|job| holds(job.place)).count().try_into().expect("few jobs")
    }

    pub(super) fn stuck(&self) -> usize {
        let held = self.jobs.iter().filter(|job| job.place == Place::Abandoned || job.is_stuck);
        held.count() + self.released.len() + self.released_drops.len()
    }

    pub(super) fn put(&mut self, id: TaskId, place: Place, due: Time) {
        self.n_set += 1;
        let set = self.n_set;
        let job = self.job(id);
        (job.place, job.due, job.set) = (place, due, set);
    }

    pub(super) fn submit(&mut self, submission: &Submission) {
        let (id, policy) = (submission.addr.id, submission.policy);
        let (plan, slot) = (Plan::clone(&submission.plan), submission.slot.map(|slot| slot.0));
        let expiry = plan.expires_in.map(|span| submission.submitted_at.after(span));
        let expires_at = expiry.unwrap_or(Time::NEVER);
        let job = Job::new(id, slot, plan, expires_at);
        let n_jobs = self.jobs.len();
        self.jobs.push(job);
        let owner = slot.and_then(|slot| self.owner(slot));
        let queue = slot.and_then(|slot| self.queues.get(&slot)).cloned().unwrap_or_default();
        let limit = self.limits.max_slot_queue as usize;
        let refusal = match (policy, owner) {
            _ if self.closes.is_some() || self.is_refused(submission, owner) => {
                Some(Rejection::ShuttingDown)
            }
            _ if submission.cancelled => Some(Rejection::Removed),
            _ if expires_at <= self.now => Some(Rejection::Expired),
            _ if n_jobs >= self.limits.max_tasks as usize => {
                Some(Rejection::TooManyTasks { limit: 0 })
            }
            _ if self.stuck() > self.limits.max_abandoned as usize => {
                Some(Rejection::TooManyAbandoned { limit: 0 })
            }
            (AdmissionPolicy::DropIfRunning, Some(owner)) => {
                Some(Rejection::SlotBusy { owner, since: Duration::ZERO })
            }
            (AdmissionPolicy::Queue, Some(_)) if queue.len() >= limit => {
                Some(Rejection::QueueFull { depth: queue.len(), limit })
            }
            _ => None,
        };
        if let Some(why) = refusal {
            let stopped = End::Cancelled { reason: StopReason::Stop, ret: None };
            let end = if why == Rejection::Removed { stopped } else { End::Rejected(why) };
            let at_once = submission.gives_back || self.closes.is_some();
            self.job(id).is_gone |= at_once;
            return self.end(id, end);
        }
        let (Some(slot), Some(owner)) = (slot, owner) else { return self.own(id) };
        let superseded = match policy {
            AdmissionPolicy::Replace => queue.len().min(1),
            AdmissionPolicy::KeepLatest => queue.len(),
            AdmissionPolicy::Queue | AdmissionPolicy::DropIfRunning => 0,
        };
        for &old in &queue[..superseded] {
            self.end(old, End::Rejected(Rejection::Superseded { by: id }));
        }
        self.put(id, Place::Queued, expires_at);
        let queue = self.queues.entry(slot).or_default();
        if policy == AdmissionPolicy::Replace {
            queue.insert(0, id);
            self.stop(owner, StopReason::Replace);
        } else {
            queue.push(id);
        }
    }

    fn own(&mut self, id: TaskId) {
        self.job(id).is_owner = true;
        let (now, delay) = (self.now, self.job(id).plan.initial_delay);
        if self.job(id).paused {
            self.put(id, Place::Waiting, Time::NEVER);
            if self.drain.is_some() {
                self.stop_for_drain();
            }
            return;
        }
        if delay.is_zero() {
            return self.get_ready(id);
        }
        self.job(id).delayed_since = Some(now);
        self.put(id, Place::Waiting, now.after(delay));
    }

    pub(super) fn get_ready(&mut self, id: TaskId) {
        let class = self.job(id).plan.class.map(|class| class.0);
        if let Some(class) = class.filter(|class| self.is_full(*class)) {
            self.class_lines.entry(class).or_default().push(id);
        } else {
            self.job(id).has_class = class.is_some();
            self.line.push(id);
        }
        let expiry = self.expiry(id);
        self.put(id, Place::Runnable, expiry);
        self.settle();
    }

    pub(super) fn expiry(&mut self, id: TaskId) -> Time {
        let job = self.job(id);
        let stands = job.first_start.is_some() || job.paused;
        if stands {
            Time::NEVER
        } else {
            job.expires_at
        }
    }

    /// Permits go to those who wait for them, idle slots to those who wait for these.
    pub(super) fn settle(&mut self) {
        while self.grant() || self.grant_class() {}
        let slots: Vec<_> = self.queues.keys().copied().collect();
        for slot in slots {
            if self.owner(slot).is_none() && !self.queues[&slot].is_empty() {
                let heir = self.queues.get_mut(&slot).expect("it has one").remove(0);
                self.own(heir);
            }
        }
    }

    pub(super) fn class_permits(&self, class: u32) -> u32 {
        let holds = |job: &&Job| job.plan.class == Some(ClassKey(class)) && job.has_class;
        self.jobs.iter().filter(holds).count().try_into().expect("few jobs")
    }

    pub(super) fn class_line(&self, class: u32) -> Vec<TaskId> {
        self.class_lines.get(&class).cloned().unwrap_or_default()
    }

    pub(super) fn set_class_limit(&mut self, class: u32, limit: u32) {
        self.limits.classes[class as usize] = limit;
        let mut served = Vec::new();
        while let Some(next) = self.next_of_class(class) {
            served.push(next);
        }
        for id in served {
            self.line.push(id);
            while self.grant() {}
        }
    }

    fn is_full(&self, class: u32) -> bool {
        self.class_permits(class) >= self.limits.classes[class as usize]
    }

    /// Gives a class permit to the first that waits for one, which goes on to the end of the line.
    fn grant_class(&mut self) -> bool {
        let classes: Vec<_> = self.class_lines.keys().copied().collect();
        let next = classes.into_iter().find_map(|class| self.next_of_class(class));
        self.line.extend(next);
        next.is_some()
    }

    fn next_of_class(&mut self, class: u32) -> Option<TaskId> {
        let line = self.class_line(class);
        let first = line.iter().copied().find(|id| self.job(*id).place == Place::Runnable);
        let has_room = !self.is_full(class) && self.closes.is_none();
        let first = first.filter(|_| has_room)?;
        self.class_lines.entry(class).or_default().retain(|waiting| *waiting != first);
        self.job(first).has_class = true;
        Some(first)
    }

    /// Gives a permit to one that waits for it.
    fn grant(&mut self) -> bool {
        let most = self.limits.max_concurrent.unwrap_or(u32::MAX);
        // Those that close only keep a place.
        let line = self.line.clone();
        let waits =
            |id: &TaskId| self.jobs.iter().any(|job| job.id == *id && job.place == Place::Runnable);
        let awaited = line.iter().position(|id| waits(id) && self.is_awaited(*id));
        let first = line.iter().position(waits).filter(|_| self.permits() < most);
        let Some(at) = awaited.or(first) else { return false };
        let id = self.line.remove(at);
        self.job(id).attempt += 1;
        let expiry = self.expiry(id);
        self.put(id, Place::Starting, expiry);
        true
    }

    /// Whether a body waits for it, or for one that waits for its slot; or so for one that waits
    /// for its class.
    fn is_awaited(&self, id: TaskId) -> bool {
        let job = self.jobs.iter().find(|job| job.id == id).expect("a job");
        let class = job.plan.class.filter(|_| job.has_class);
        let line = class.and_then(|class| self.class_lines.get(&class.0));
        let is_waiting = |waiting: &&TaskId| {
            self.jobs.iter().any(|job| job.id == **waiting && job.place == Place::Runnable)
        };
        let mut line = line.into_iter().flatten().filter(is_waiting);
        if line.any(|waiting| self.is_awaited(*waiting)) {
            return true;
        }
        let waits = |it: &Job| it.slot == job.slot && it.place == Place::Queued && it.awaited > 0;
        job.awaited > 0 || (job.slot.is_some() && self.jobs.iter().any(waits))
    }

    pub(super) fn wait_began(&mut self, id: TaskId) {
        self.job(id).awaited += 1;
        self.n_waits += 1;
        self.settle();
    }

    /// The outcome; with it goes all that the job holds.
    pub(super) fn finish(&mut self, id: TaskId, end: End) {
        // Whatever follows from the outcome finds its body gone.
        self.job(id).is_gone |= self.job(id).place == Place::Closing;
        let job = self.job(id).clone();
        if !job.over {
            self.deliver(id, end);
        }
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else { return };
        self.jobs.remove(at);
        self.queues.values_mut().for_each(|queue| queue.retain(|queued| *queued != id));
        let class = job.plan.class;
        // Whose line it is in, or left with a permit of the class.
        let in_line = class.filter(|_| !job.has_class).map(|class| class.0);
        let line = in_line.map_or(&self.line, |class| self.class_lines.entry(class).or_default());
        let place = line.iter().position(|ready| *ready == id);
        // Of those that close, only the replaced are still in the line.
        let replaced = matches!(end, End::Cancelled { reason: StopReason::Replace, .. })
            || job.place == Place::Closing;
        let queue = job.slot.and_then(|slot| self.queues.get_mut(&slot));
        match (place, queue) {
            // The successor takes over the place of an owner that waits for its permit.
            (Some(place), Some(queue)) if replaced && !queue.is_empty() => {
                let heir = queue.remove(0);
                self.line_mut(in_line).remove(place);
                let plan = self.job(heir).plan.clone();
                let waits = in_line.map_or(true, |class| self.is_full(class));
                if plan.initial_delay.is_zero()
                    && plan.class == class
                    && waits
                    && !self.job(heir).paused
                {
                    self.job(heir).is_owner = true;
                    self.job(heir).has_class = job.has_class;
                    self.line_mut(in_line).insert(place, heir);
                    let expiry = self.expiry(heir);
                    self.put(heir, Place::Runnable, expiry);
                } else {
                    self.own(heir);
                }
            }
            (Some(place), _) => _ = self.line_mut(in_line).remove(place),
            (None, _) => {}
        }
        self.settle();
    }

    fn line_mut(&mut self, class: Option<u32>) -> &mut Vec<TaskId> {
        match class {
            Some(class) => self.class_lines.entry(class).or_default(),
            None => &mut self.line,
        }
    }

    pub(super) fn deliver(&mut self, id: TaskId, end: End) {
        self.ended.push((id, end));
        let job = self.job(id);
        job.over = true;
        let own = match end {
            End::Rejected(_) => false,
            End::Cancelled { reason, .. } => reason == StopReason::ByTask,
            End::Abandoned { stop, .. } => stop.is_none(),
            _ => true,
        };
        if job.plan.shutdown_on_end && own {
            self.shut_down();
        }
    }

    pub(super) fn stop(&mut self, id: TaskId, reason: StopReason) {
        let closes = self.closes.unwrap_or(Time::NEVER);
        let shutdown = reason == StopReason::Shutdown;
        let job = self.job(id);
        let due = job.due.min(closes);
        match job.place {
            Place::Queued if shutdown => self.end(id, End::Rejected(Rejection::ShuttingDown)),
            Place::Queued | Place::Runnable | Place::Starting | Place::Waiting => {
                self.end(id, End::Cancelled { reason, ret: None });
            }
            Place::Running => {
                job.stop = Some(reason);
                self.tell(id, reason.as_cancel());
            }
            Place::Stopping if job.stop.is_none() || shutdown => {
                job.stop.get_or_insert(reason);
                self.put(id, Place::Stopping, due);
                self.end_grace(id);
            }
            Place::Abandoned if !job.over => {
                let told = job.told.expect("it was told");
                job.stop = Some(reason);
                self.deliver(id, End::Abandoned { reason: told, stop: Some(reason) });
            }
            Place::Closing if shutdown && !job.is_stuck && !job.is_gone => {
                self.put(id, Place::Closing, due);
                if due <= self.now {
                    self.end_closing(id);
                }
            }
            Place::Stopping | Place::Abandoned | Place::Closing => {}
        }
    }

    pub(super) fn stop_slot(&mut self, slot: u32) {
        for id in self.queues.get(&slot).cloned().unwrap_or_default() {
            self.end(id, End::Rejected(Rejection::Removed));
        }
        if let Some(owner) = self.owner(slot) {
            self.stop(owner, StopReason::Stop);
        }
    }

    pub(super) fn shut_down(&mut self) {
        if self.closes.is_some() {
            return;
        }
        (self.drain, self.closes) = (None, Some(self.now.after(self.limits.grace)));
        let waits = |job: &Job| matches!(job.place, Place::Runnable | Place::Waiting);
        let ids = |of: &dyn Fn(&Job) -> bool| -> Vec<_> {
            let open = |job: &&Job| !job.over || job.place == Place::Closing;
            self.jobs.iter().filter(open).filter(|job| of(job)).map(|job| job.id).collect()
        };
        let queued = ids(&|job| job.place == Place::Queued);
        let waiting = ids(&waits);
        let others = ids(&|job| job.place != Place::Queued && !waits(job));
        for id in [queued, waiting, others].concat() {
            self.stop(id, StopReason::Shutdown);
        }
    }

    pub(super) fn tell(&mut self, id: TaskId, reason: CancelReason) {
        let (now, closes) = (self.now, self.closes.unwrap_or(Time::NEVER));
        let job = self.job(id);
        job.told = Some(reason);
        let due = now.after(job.plan.grace).min(closes);
        self.put(id, Place::Stopping, due);
        self.end_grace(id);
    }

    /// Gives it up if its grace is over.
    fn end_grace(&mut self, id: TaskId) {
        let (now, crowded) = (self.now, self.stuck() >= self.limits.max_abandoned as usize);
        let finishes = self.finishes(id);
        let job = self.job(id);
        if job.due > now {
            return;
        }
        let follows = job.stop.is_none() && !finishes && job.may_retry(now);
        let (reason, stop) = (job.told.expect("it was told"), job.stop);
        let end = End::Abandoned { reason, stop };
        job.streak += 1;
        job.failures.push(now);
        if job.plan.abandon == AbandonPolicy::Release && !crowded {
            let (attempt, shared) = (job.attempt, job.plan.body == BodyKind::Shared);
            self.released.push((id, attempt));
            return if follows && shared { self.retry(id, None) } else { self.finish(id, end) };
        }
        self.put(id, Place::Abandoned, Time::NEVER);
        if !follows {
            self.deliver(id, end);
        }
    }

    pub(super) fn claim(&mut self, id: TaskId) {
        let now = self.now;
        let job = self.job(id);
        job.first_start.get_or_insert(now);
        job.grid.get_or_insert(now);
        if core::mem::take(&mut job.grid_begins) {
            job.grid = Some(now);
        }
        (job.last_start, job.told) = (now, None);
        job.deadline = job.plan.timeout.map_or(Time::NEVER, |timeout| now.after(timeout));
        let in_streak = job.streak > 0;
        job.stable_at = if in_streak { now.after(job.plan.stable_after) } else { Time::NEVER };
        let due = job.deadline.min(job.stable_at);
        self.put(id, Place::Running, due);
    }

    /// A streak has an attempt that has run for long enough.
    fn stable(&mut self, id: TaskId) {
        let job = self.job(id);
        (job.n_delays, job.stable_at) = (0, Time::NEVER);
        let resident = job.plan.restart == RestartPolicy::Always || job.plan.stable_is_stated;
        if resident && job.plan.timeout.is_none() {
            job.streak = 0;
        }
        let due = job.deadline;
        self.put(id, Place::Running, due);
    }

    pub(super) fn end_wait(&mut self, id: TaskId) {
        let now = self.now;
        let job = self.job(id);
        if let Some(since) = job.delayed_since.take() {
            job.expires_at = job.expires_at.after(since.until(now));
        }
        self.get_ready(id);
    }

    /// Time passes, and what is due until then happens.
    pub(super) fn pass(&mut self, until: Time) {
        loop {
            let next = self.jobs.iter().map(|job| (job.due, job.set, job.id)).min();
            let Some((due, _, id)) = next.filter(|(due, ..)| *due <= until) else { break };
            assert!(self.drain.map_or(true, |end| due <= end), "the drain ended before");
            self.now = self.now.max(due);
            let (place, deadline) = (self.job(id).place, self.job(id).deadline);
            match place {
                Place::Queued | Place::Runnable | Place::Starting => {
                    self.end(id, End::Rejected(Rejection::Expired));
                }
                Place::Running if deadline > due => self.stable(id),
                Place::Running => self.tell(id, CancelReason::Timeout),
                Place::Stopping => self.end_grace(id),
                Place::Waiting => self.end_wait(id),
                Place::Closing => self.end_closing(id),
                Place::Abandoned => unreachable!("it has no timer"),
            }
        }
        self.now = until;
        if self.drain.is_some_and(|end| end <= until) {
            self.shut_down();
        }
    }
}
