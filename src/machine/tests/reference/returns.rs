//! What follows when a body returns.

use core::time::Duration;

use super::job::{Place, Wait};
use super::model::Model;
use crate::machine::tests::as_stop;
use crate::machine::tests::rig::ms;
use crate::machine::End;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::plan::BodyKind;
use crate::vocabulary::policy::{PanicPolicy, RestartPolicy};
use crate::vocabulary::reason::{CancelReason, FailureCause, StopReason};
use crate::vocabulary::time::Time;

impl Model {
    /// With the delay that the error asks for.
    pub(super) fn returned(
        &mut self,
        id: TaskId,
        attempt: u64,
        (ret, delay): (Return, Option<Duration>),
        dropped: bool,
    ) {
        if self.released.contains(&(id, attempt)) {
            return self.released.retain(|released| *released != (id, attempt));
        }
        self.job(id).is_gone |= dropped;
        let job = self.job(id).clone();
        let asked = job.stop.map(|reason| End::Cancelled { reason, ret: Some(ret) });
        let told_to_stop = job.told.and_then(as_stop);
        let told = told_to_stop.map(|reason| End::Cancelled { reason, ret: Some(ret) });
        let last = End::Cancelled { reason: StopReason::Drain, ret: Some(ret) };
        let last = self.finishes(id).then_some(last);
        match (ret, job.told) {
            _ if job.over => self.end(id, End::Completed),
            (Return::Fatal, _) if job.place == Place::Abandoned => self.end(id, End::Fatal),
            _ if job.place == Place::Abandoned => self.retry(id, None),
            (Return::Fatal, _) => self.end(id, End::Fatal),
            (Return::Panicked, _)
                if job.plan.panic != PanicPolicy::Failure || told_to_stop.is_some() =>
            {
                self.end(id, End::Panicked);
            }
            _ if told.is_some() => self.end(id, asked.or(told).expect("it was")),
            // A stop on top of an interruption.
            _ if asked.is_some() => self.end(id, asked.expect("it was")),
            (_, Some(CancelReason::Timeout)) => self.fail(id, FailureCause::TimedOut, delay, last),
            (Return::Panicked, _) => self.fail(id, FailureCause::Panicked, None, last),
            (_, Some(_)) if last.is_some() => self.end(id, last.expect("it is")),
            (_, Some(_)) => self.go_on(id, None),
            (Return::Cancelled, _) => {
                self.end(id, End::Cancelled { reason: StopReason::ByTask, ret: Some(ret) });
            }
            (Return::Failed, _) => self.fail(id, FailureCause::Failed, delay, last),
            (Return::Ok, _) => self.succeed(id, last),
        }
    }

    fn succeed(&mut self, id: TaskId, last: Option<End>) {
        let now = self.now;
        let job = self.job(id);
        (job.streak, job.n_delays) = (0, 0);
        if job.plan.body == BodyKind::Once || job.plan.restart != RestartPolicy::Always {
            return self.end(id, End::Completed);
        }
        if let Some(last) = last {
            return self.end(id, last);
        }
        self.go_on(id, Some(Wait { since: now, until: None }));
    }

    fn fail(
        &mut self,
        id: TaskId,
        cause: FailureCause,
        asked: Option<Duration>,
        last: Option<End>,
    ) {
        let now = self.now;
        let job = self.job(id);
        let may_retry = job.may_retry(now);
        job.streak += 1;
        job.failures.push(now);
        match cause {
            _ if may_retry && last.is_some() => self.end(id, last.expect("it is")),
            _ if may_retry => self.retry(id, asked),
            FailureCause::Panicked => self.end(id, End::Panicked),
            FailureCause::TimedOut => self.end(id, End::TimedOut),
            _ => self.end(id, End::Failed),
        }
    }

    pub(super) fn retry(&mut self, id: TaskId, asked: Option<Duration>) {
        let now = self.now;
        let job = self.job(id);
        let backoff = job.plan.backoff;
        let factor = if backoff.factor > 1.0 { 2 } else { 1 };
        let grow = |delay: Duration, _| delay.saturating_mul(factor).min(backoff.max);
        let grown = (0..job.n_delays).fold(backoff.first, grow);
        let delay = asked.unwrap_or_else(|| grown.min(backoff.max)).max(ms(1));
        job.n_delays += u32::from(asked.is_none());
        let until = Some(now.after(delay));
        self.go_on(id, Some(Wait { since: now, until }));
    }

    /// Gives the permit back and waits until then, but never less than a millisecond after the last
    /// start.
    fn go_on(&mut self, id: TaskId, wait: Option<Wait>) {
        let now = self.now;
        let job = self.job(id);
        job.has_class = false;
        job.wait = wait.filter(|_| !job.paused);
        let due = wait.map_or(now, |wait| job.due_after(wait)).max(job.last_start.after(ms(1)));
        let due = if job.paused { Time::NEVER } else { due };
        self.put(id, Place::Waiting, due);
        self.settle();
        if due <= self.now {
            self.get_ready(id);
        }
    }
}
