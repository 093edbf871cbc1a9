//! One attempt on its thread, and the examination of other threads.

use super::shared::{Attempt, Examinee, Shared};
use crate::output::error::TaskError;
use crate::platform::stall::{self, Stall};
use crate::platform::threads::{self, ThreadOptions};
use crate::platform::unwind::{self, Payload};
use crate::task::body::Body;
use crate::task::cell::{Seen, Thread};
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::fact::{Fact, Returned};
use crate::vocabulary::answer::Return;
use crate::vocabulary::policy::PanicPolicy;

impl Shared {
    /// With the options of its thread, if the thread was started for it.
    pub(super) fn run(&self, mut job: Attempt, thread: &Thread, options: Option<&ThreadOptions>) {
        let Some((load, at)) = job.cell.claim(thread) else { return self.drop_value(job) };
        let shows_task = self.threads.shows_task(options);
        if shows_task {
            threads::show_as(&job.cell.record.name);
        }
        if job.reports_claim {
            self.door.post(Fact::Claimed { attempt: job.cell.attempt, at });
        }
        job.cell.record.note_started();

        let ctx = TaskContext::new(job.cell.clone(), load.failures, load.last_failure);
        let mut body = load.body;
        // Until everything is dropped, because a destructor must not wait for its own task either.
        let body_here = job.cell.enter_body();
        let current = current::enter(ctx.token());
        let (ret, error, payload) = match job.no_thread.take() {
            None => run_body(&mut body, &ctx, options),
            Some(error) => (Return::Fatal, Some(TaskError::fatal(error)), None),
        };
        if ret == Return::Panicked && job.finality.panic == PanicPolicy::Abort {
            std::process::abort();
        }

        // From here on the attempt can no longer be told, and it is known whether it was the last.
        let is_final = |told, abandoned| job.finality.is_final(told, ret, abandoned);
        let (seen, hooks) = job.cell.returned(is_final);
        let Seen { claimed_at, at, told, last, not_ready } = seen;
        let (spent, body) = if last { (Some(body), None) } else { (None, Some(body)) };
        self.drop_value((hooks, spent, ctx));
        drop((current, body_here));
        job.cell.left();
        if shows_task {
            threads::show_as(&thread.name);
        }

        // Only now, so that the body is dropped before the return is known.
        let error = error.filter(|error| told.map_or(true, |told| !error.is_passed_on(told)));
        let error = match not_ready.filter(|_| !matches!(ret, Return::Fatal | Return::Panicked)) {
            Some(within) => Some(TaskError::not_ready(within, error)),
            None => error,
        };
        let attempt = job.cell.attempt;
        if (last, told, ret) == (true, None, Return::Ok) {
            job.cell.warn_of_completed();
        }
        let returned = Returned { attempt, claimed_at, at, told, ret, error, body };
        self.report_and_drop(returned, &job.cell, payload, thread);
        // By now this may be the last reference to the attempt.
        self.drop_value(job);
    }

    /// Looks at all of them twice, with one pause in between.
    pub(super) fn examine(&self, examinees: Vec<Examinee>) {
        // A thread whose body has returned does something else by now.
        let still_there = |it: &Examinee| it.cell.thread().filter(|_| it.cell.has_thread());
        let of_each = examinees.iter().map(|it| {
            let tid = still_there(it)?.tid?;
            Some(self.door.process_of(it.cell.attempt).map_or((tid, None), |pid| (pid, Some(pid))))
        });
        let of_each: Vec<_> = of_each.collect();
        let ids: Vec<_> = of_each.iter().map(|it| it.map(|(id, _)| id)).collect();
        let stalls = stall::examine(&ids, &self.door.clock.real);
        for ((examinee, of), stall) in examinees.into_iter().zip(of_each).zip(stalls) {
            let pid = of.and_then(|(_, pid)| pid);
            let stall = stall.map(|stall| Stall { pid, ..stall });
            self.door.post(Fact::Examined { cell: examinee.cell, stall });
        }
    }
}

fn run_body(
    body: &mut Body,
    ctx: &TaskContext,
    options: Option<&ThreadOptions>,
) -> (Return, Option<TaskError>, Option<Payload>) {
    if let Some(begun) = options.and_then(ThreadOptions::begin) {
        // An attempt that was told or even abandoned meanwhile must not begin to work.
        if let Err(error) = begun.and_then(|()| Ok(ctx.check()?)) {
            return (Return::Failed, Some(TaskError::fail(error)), None);
        }
    }
    match unwind::catch_with(|| body.run(ctx), TaskError::text_of_payload) {
        Ok(Ok(())) => (Return::Ok, None, None),
        Ok(Err(error)) if error.is_fatal() => (Return::Fatal, Some(error), None),
        Ok(Err(error)) if error.is_cancelled() => (Return::Cancelled, Some(error), None),
        Ok(Err(error)) => (Return::Failed, Some(error), None),
        Err((message, payload)) => {
            (Return::Panicked, Some(TaskError::panic(message)), Some(payload))
        }
    }
}
