//! A worker: a thread that takes jobs from the queue it shares with the others, and runs user code.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::garbage::Garbage;
use super::{Report, Returned};
use crate::machine::pool::Counts;
use crate::machine::Finality;
use crate::output::error::{Cancelled, TaskError};
use crate::platform::linger::Linger;
use crate::platform::sync::atomic::{AtomicU8, Ordering};
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::platform::threads::{ThreadOptions, Threads};
use crate::platform::{stall, unwind};
use crate::task::body::Body;
use crate::task::cell::{Cell, Seen, Thread};
use crate::task::context::TaskContext;
use crate::task::current;
use crate::task::door::Door;
use crate::vocabulary::answer::Return;
use crate::vocabulary::id::AttemptRef;
use crate::vocabulary::policy::PanicPolicy;
use crate::vocabulary::time::Time;

/// Something for a worker to do.
pub(super) enum Job {
    Attempt(Attempt),
    Drop(Vec<Garbage>),
    Examine(Vec<Examinee>),
}

/// One attempt on its way to a thread. The body lies in the cell, from where a revocation can take
/// it back.
pub(super) struct Attempt {
    pub(super) cell: Arc<Cell>,
    pub(super) finality: Finality,
    /// Whether anybody needs to know of the claim before the return.
    pub(super) reports_claim: bool,
}

/// An attempt that wants a thread of its own.
pub(super) struct Dedicated {
    pub(super) attempt: Attempt,
    pub(super) options: Box<ThreadOptions>,
}

/// A stuck attempt whose thread is to be looked at.
pub(super) struct Examinee {
    pub(super) attempt: AttemptRef,
    pub(super) cell: Arc<Cell>,
}

/// The hooks of one attempt, to be run.
pub(super) struct HookJob {
    pub(super) cell: Arc<Cell>,
    pub(super) offered_at: Time,
}

/// Hooks that run right now.
pub(super) struct HookRun {
    pub(super) cell: Arc<Cell>,
    pub(super) thread: Thread,
    pub(super) since: Time,
    /// It was said that they are slow.
    pub(super) slow: bool,
    /// They count as abandoned.
    pub(super) counted: bool,
}

/// What all threads that run bodies and hooks share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Signalled when a thread has ended.
    pub(super) ended: Condvar,
    pub(super) reports: Sender<Report>,
    /// Where threads find what the controller does not take any more.
    pub(super) unheard: Receiver<Report>,
    pub(super) door: Arc<Door>,
    pub(super) linger: Linger,
    pub(super) threads: Threads,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<(Job, Time)>,
    /// Before all jobs: whoever waits for them does so with its grace running out.
    pub(super) hooks: VecDeque<HookJob>,
    pub(super) hook_runs: Vec<HookRun>,
    /// Threads that wait, the latest last: reused first, so that the others can retire.
    pub(super) idle: Vec<Arc<Seat>>,
    /// Threads that run or are starting.
    pub(super) alive: u32,
    /// Those of them that are not the pool's: of a single attempt, or for hooks.
    pub(super) beside: u32,
    /// Those of them that were sent home.
    pub(super) leaving: u32,
    pub(super) busy: u32,
    pub(super) peak_busy: u32,
    pub(super) picked: u32,
    pub(super) closed: bool,
}

/// Where an idle thread waits to be called. Changed under the pool's lock only.
pub(super) struct Seat {
    call: AtomicU8,
    called: Condvar,
}

pub(super) const WAIT: u8 = 0;
pub(super) const WORK: u8 = 1;
pub(super) const LEAVE: u8 = 2;

impl Seat {
    pub(super) const fn new() -> Self {
        Self { call: AtomicU8::new(WAIT), called: Condvar::new() }
    }

    pub(super) fn call(&self, call: u8) {
        self.call.store(call, Ordering::Relaxed);
        self.called.notify_one();
    }

    /// Waits to be called, and says for what.
    fn wait(&self, state: &mut MutexGuard<'_, State>) -> u8 {
        while self.call.load(Ordering::Relaxed) == WAIT {
            self.called.wait(state);
        }
        self.call.swap(WAIT, Ordering::Relaxed)
    }
}

impl State {
    pub(super) fn counts(&self) -> Counts {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Counts {
            queued: small(self.queue.len()),
            oldest: self.queue.front().map(|(_, offered_at)| *offered_at),
            threads: self.pooled(),
            idle: small(self.idle.len()),
            busy: self.busy,
            peak_busy: self.peak_busy,
            picked: self.picked,
        }
    }

    /// Threads of the pool that stay.
    pub(super) fn pooled(&self) -> u32 {
        self.alive.saturating_sub(self.beside + self.leaving)
    }

    fn has_work(&self) -> bool {
        self.closed || !self.hooks.is_empty() || !self.queue.is_empty()
    }

    pub(super) fn call_one(&mut self) {
        if let Some(seat) = self.idle.pop() {
            seat.call(WORK);
        }
    }

    fn begin_hooks(&mut self, job: HookJob, thread: &Thread, now: Time) -> Arc<Cell> {
        let (cell, thread) = (Arc::clone(&job.cell), thread.clone());
        let run = HookRun { cell: job.cell, thread, since: now, slow: false, counted: false };
        self.hook_runs.push(run);
        cell
    }
}

/// How a thread counts when it leaves.
#[derive(Clone, Copy)]
enum Part {
    Pooled,
    Beside,
    /// It counts no more since it was sent home.
    Leaving,
}

/// What a worker found to do.
enum Work {
    Job(Job),
    Hooks(Arc<Cell>),
}

impl Shared {
    /// The life of a pooled worker.
    pub(super) fn work(&self, name: Arc<str>) {
        let thread = match self.begin_thread(name) {
            Ok(thread) => thread,
            Err(error) => {
                self.leave(Part::Pooled);
                return self.report(Report::ThreadRefused { error, unserved: None });
            }
        };
        let seat = Arc::new(Seat::new());
        let mut worked = false;
        while let Some(work) = self.next_work(&seat, &thread, worked) {
            worked = true;
            match work {
                Work::Hooks(cell) => {
                    self.run_hooks(&cell, &thread);
                    self.drop_value(cell);
                }
                Work::Job(Job::Attempt(attempt)) => self.run(attempt, &thread),
                Work::Job(Job::Examine(examinees)) => self.examine(examinees),
                Work::Job(Job::Drop(values)) => {
                    for value in values {
                        self.drop_garbage(value);
                    }
                }
            }
        }
        self.end_thread(Part::Leaving);
    }

    /// The life of a thread that was made for one attempt.
    pub(super) fn work_once(&self, dedicated: Dedicated, name: Arc<str>) {
        match self.begin_thread(name) {
            Ok(thread) => {
                self.run(dedicated.attempt, &thread);
                self.end_thread(Part::Beside);
            }
            Err(error) => {
                self.leave(Part::Beside);
                let unserved = Some(Box::new(dedicated));
                self.report(Report::ThreadRefused { error, unserved });
                self.drop_unheard();
            }
        }
    }

    /// The life of the thread of last resort for hooks: it runs those that nobody else took in
    /// time.
    pub(super) fn work_on_hooks(&self, name: Arc<str>, seat: &Seat) {
        let thread = match self.begin_thread(name) {
            Ok(thread) => thread,
            Err(error) => {
                self.leave(Part::Beside);
                return self.report(Report::HookThreadRefused { error });
            }
        };
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.hooks.pop_front() {
                let cell = state.begin_hooks(job, &thread, self.door.clock.now());
                drop(state);
                self.run_hooks(&cell, &thread);
                self.drop_value(cell);
                state = self.state.lock();
            } else if state.closed {
                break;
            } else {
                seat.wait(&mut state);
            }
        }
        drop(state);
        self.end_thread(Part::Beside);
    }

    fn begin_thread(&self, name: Arc<str>) -> Result<Thread, io::Error> {
        current::belong_to(&self.door);
        let hooks = self.threads.hooks.as_deref();
        if let Some(on_start) = hooks.and_then(|hooks| hooks.on_start.as_ref()) {
            unwind::catch(|| on_start().map_err(without_user_value))
                .unwrap_or_else(|message| Err(io::Error::other(message)))?;
        }
        Ok(Thread { name, tid: stall::own_tid() })
    }

    fn end_thread(&self, part: Part) {
        self.drop_unheard();
        let hooks = self.threads.hooks.as_deref();
        if let Some(on_stop) = hooks.and_then(|hooks| hooks.on_stop.as_ref()) {
            if let Err(message) = unwind::catch(&***on_stop) {
                self.report(Report::DropPanicked { message });
            }
        }
        self.leave(part);
    }

    fn leave(&self, part: Part) {
        let mut state = self.state.lock();
        state.alive -= 1;
        match part {
            Part::Pooled => {}
            Part::Beside => state.beside -= 1,
            Part::Leaving => state.leaving -= 1,
        }
        drop(state);
        self.ended.notify_all();
    }

    fn next_work(&self, seat: &Arc<Seat>, thread: &Thread, worked: bool) -> Option<Work> {
        let mut state = self.state.lock();
        state.busy -= u32::from(worked);
        // Whoever has worked may be needed again in a moment.
        let mut lingers = worked;
        loop {
            if let Some(work) = self.take_work(&mut state, thread) {
                return Some(work);
            }
            if state.closed {
                state.leaving += 1;
                return None;
            }
            if lingers {
                drop(state);
                let look = || self.state.lock().has_work().then_some(());
                self.linger.until(&self.door.clock, look);
                state = self.state.lock();
            } else {
                state.idle.push(Arc::clone(seat));
                if seat.wait(&mut state) == LEAVE {
                    return None;
                }
            }
            lingers = !lingers;
        }
    }

    fn take_work(&self, state: &mut State, thread: &Thread) -> Option<Work> {
        let work = if let Some(job) = state.hooks.pop_front() {
            Work::Hooks(state.begin_hooks(job, thread, self.door.clock.now()))
        } else {
            let (job, _) = state.queue.pop_front()?;
            state.picked = state.picked.wrapping_add(1);
            Work::Job(job)
        };
        state.busy += 1;
        state.peak_busy = state.peak_busy.max(state.busy);
        Some(work)
    }

    fn run_hooks(&self, cell: &Arc<Cell>, thread: &Thread) {
        let next = cell.run_hooks();
        let mut state = self.state.lock();
        // Another thread may hang in a hook of the same attempt.
        let is_own = |run: &HookRun| {
            Arc::ptr_eq(&run.cell, cell) && Arc::ptr_eq(&run.thread.name, &thread.name)
        };
        let found = state.hook_runs.iter().position(is_own);
        let run = found.map(|position| state.hook_runs.swap_remove(position));
        drop(state);
        if run.is_some_and(|run| run.counted) {
            self.report(Report::HookReturned);
        }
        if let Some(due) = next {
            self.report(Report::HooksDue { cell: Arc::clone(cell), due });
        }
    }

    fn run(&self, job: Attempt, thread: &Thread) {
        // What an earlier owner of the slot held open is closed before this body begins.
        for leftover in job.cell.inherited() {
            if let Some(message) = leftover.clear(|| job.cell.is_revoked()) {
                self.report(Report::DropPanicked { message });
            }
        }
        let Some((load, at)) = job.cell.claim(thread) else { return self.drop_value(job) };
        if job.reports_claim {
            self.report(Report::Claimed { attempt: job.cell.attempt, at });
        }
        let ctx = TaskContext::new(Arc::clone(&job.cell), load.failures, load.last_failure);
        let mut body = load.body;
        // Until all is dropped: a destructor must not wait for its own task either.
        let current = current::enter(ctx.token());
        let (ret, error) = run_body(&mut body, &ctx);
        if ret == Return::Panicked && job.finality.panic == PanicPolicy::Abort {
            std::process::abort();
        }
        let is_final = |told, at| job.finality.is_final(told, ret, at);
        let (Seen { claimed_at, at, told, last }, hooks) = job.cell.returned(is_final);
        // One by one, here and below: a second panic while another unwinds would end the process.
        for hook in hooks {
            self.drop_value(hook);
        }
        let body = if last {
            self.drop_value(body);
            None
        } else {
            Some(body)
        };
        self.drop_value(ctx);
        drop(current);
        job.cell.left();
        let error = error.filter(|error| !is_own_cancel(error, told.is_some()));
        let attempt = job.cell.attempt;
        let returned = Returned { attempt, claimed_at, at, told, ret, error, body };
        self.report(Report::Returned(returned));
        // By now the controller may have let go of it.
        self.drop_value(job);
    }

    /// Looks at all of them twice, with one pause in between.
    fn examine(&self, examinees: Vec<Examinee>) {
        // A thread whose body has returned does something else by now.
        let stuck = |it: &Examinee| it.cell.thread().filter(|_| it.cell.is_claimed());
        let tids = examinees.iter().map(|it| stuck(it).and_then(|thread| thread.tid));
        let stalls = stall::look(&tids.collect::<Vec<_>>(), || {
            let began = self.door.clock.now();
            let _ = channel::never::<()>().recv_timeout(LOOK);
            began.until(self.door.clock.now())
        });
        for (examinee, stall) in examinees.into_iter().zip(stalls) {
            self.report(Report::Examined { attempt: examinee.attempt, stall });
        }
    }

    pub(super) fn drop_value<T>(&self, value: T) {
        if let Err(message) = unwind::drop_caught(value) {
            self.report(Report::DropPanicked { message });
        }
    }

    /// Cannot fail: we hold a receiver.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }
}

/// How long a stuck thread is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the user's error says, for threads where its destructor must not run.
fn without_user_value(error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(user) => io::Error::new(error.kind(), user.to_string()),
        None => error,
    }
}

fn run_body(body: &mut Body, ctx: &TaskContext) -> (Return, Option<TaskError>) {
    match unwind::catch(|| body.run(ctx)) {
        Ok(Ok(())) => (Return::Ok, None),
        Ok(Err(error)) if error.is_fatal() => (Return::Fatal, Some(error)),
        Ok(Err(error)) if error.is_cancelled() => (Return::Cancelled, Some(error)),
        Ok(Err(error)) => (Return::Failed, Some(error)),
        Err(message) => (Return::Panicked, Some(TaskError::panic(message))),
    }
}

/// A body that was told and passes on what its token said adds nothing to the reason.
fn is_own_cancel(error: &TaskError, told: bool) -> bool {
    told && error.downcast_ref::<Cancelled>().is_some()
}
