//! The pool of worker threads as the controller sees it: what it offers them, when it starts and
//! retires them by the arithmetic of `machine::pool`, and who runs the cancel hooks.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::garbage::Garbage;
use super::worker::{Dedicated, HookJob, Job, Seat, Shared, State, LEAVE, WORK};
use super::Report;
use crate::machine::pool::{Counts, Pool};
use crate::platform::linger::Linger;
use crate::platform::sync::channel::{Receiver, Sender};
use crate::platform::sync::{thread, Condvar, Mutex};
use crate::platform::threads::Threads;
use crate::task::cell::{Cell, Thread, SLOW_HOOK};
use crate::task::door::Door;
use crate::vocabulary::time::Time;

pub(super) struct Workers {
    shared: Arc<Shared>,
    pool: Pool,
    /// Jobs and hooks of this turn, not yet offered.
    pending: Vec<Job>,
    pending_hooks: Vec<Arc<Cell>>,
    /// Attempts that want a thread of their own and have none yet.
    dedicated: VecDeque<Dedicated>,
    /// Hooks to be run again: when, and in which order they came.
    nudges: BTreeMap<(Time, u64), Arc<Cell>>,
    nudge_number: u64,
    /// Where the thread of last resort for hooks waits, once it was asked for and exists.
    hook_seat: Option<Arc<Seat>>,
    /// Threads started for the hooks that wait now.
    hook_starts: u32,
    /// No thread is tried before this.
    refused_until: Time,
    dedicated_refused_until: Time,
    /// When the pool, the dedicated threads or the hooks need attention.
    deadline: Time,
    /// Attempts that were revoked and may still lie in the queue.
    revoked: usize,
    next_number: u64,
}

/// What the controller should know after a turn.
pub(super) enum News {
    Refused { error: io::Error, retry_in: Duration },
    HookSlow { cell: Arc<Cell>, ran: Duration },
    HookAbandoned,
}

/// A hook that hangs.
pub(super) struct StuckHook {
    pub(super) cell: Arc<Cell>,
    pub(super) thread: Thread,
    pub(super) since: Time,
}

/// Threads that hooks may have beside those of the pool.
const MAX_HOOK_STARTS: u32 = 8;
/// What nobody has taken for so long goes to the thread of last resort.
const HOOK_PATIENCE: Duration = Duration::from_millis(5);
/// How long until a dedicated thread that was refused is tried again.
const DEDICATED_RETRY: Duration = Duration::from_millis(100);
/// Dedicated threads started in one turn.
const STARTS_PER_TURN: usize = 8;

impl Workers {
    pub(super) fn new(
        door: Arc<Door>,
        (reports, unheard): (Sender<Report>, Receiver<Report>),
        threads: Threads,
        prespawn: u32,
    ) -> Self {
        let state = Mutex::new(State::default());
        let ended = Condvar::new();
        let linger = Linger::default();
        let shared = Shared { state, ended, reports, unheard, door, linger, threads };
        let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let eager = u32::try_from(cores.clamp(1, 4)).unwrap_or(1);
        Self {
            shared: Arc::new(shared),
            pool: Pool::new(eager, prespawn),
            pending: Vec::new(),
            pending_hooks: Vec::new(),
            dedicated: VecDeque::new(),
            nudges: BTreeMap::new(),
            nudge_number: 0,
            hook_seat: None,
            hook_starts: 0,
            refused_until: Time::ZERO,
            dedicated_refused_until: Time::ZERO,
            deadline: Time::NEVER,
            revoked: 0,
            next_number: 1,
        }
    }

    /// Offers a job at the end of the turn.
    pub(super) fn push(&mut self, job: Job) {
        self.pending.push(job);
    }

    /// Offers an attempt to a thread of its own at the end of the turn.
    pub(super) fn push_dedicated(&mut self, dedicated: Dedicated) {
        self.dedicated.push_back(dedicated);
    }

    /// Has the hooks of a told attempt run after the turn, in which all flags are set first.
    pub(super) fn run_hooks(&mut self, cell: &Arc<Cell>) {
        self.pending_hooks.push(Arc::clone(cell));
    }

    /// Has the hooks of an attempt run again.
    pub(super) fn nudge(&mut self, cell: Arc<Cell>, due: Time) {
        self.nudge_number += 1;
        self.nudges.insert((due, self.nudge_number), cell);
    }

    /// Notes that an attempt was revoked; its husk may still lie in the queue.
    pub(super) fn note_revoked(&mut self) {
        self.revoked += 1;
    }

    /// When to call [`manage`](Self::manage) at the latest.
    pub(super) fn deadline(&self) -> Time {
        let nudge = self.nudges.keys().next().map_or(Time::NEVER, |(due, _)| *due);
        self.deadline.min(nudge)
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.state.lock().counts()
    }

    /// All threads that run bodies and hooks, those beside the pool included.
    pub(super) fn threads(&self) -> u32 {
        let state = self.shared.state.lock();
        state.alive - state.leaving
    }

    /// Offers this turn's jobs and hooks, and starts or retires threads.
    pub(super) fn manage(&mut self, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        let counts = self.offer(now);
        let orders = self.pool.decide(now, counts);
        if orders.retire > 0 || orders.reset_peak {
            self.shrink(orders.retire);
        }
        for _ in 0..orders.start {
            if let Err(error) = self.start_thread() {
                news.push(self.refused(now, error));
                break;
            }
        }
        self.deadline = self.pool.deadline();
        self.start_dedicated(now, &mut news);
        self.serve_hooks(now, &mut news);
        news
    }

    fn offer(&mut self, now: Time) -> Counts {
        while let Some(entry) = self.nudges.first_entry().filter(|entry| entry.key().0 <= now) {
            self.pending_hooks.push(entry.remove());
        }
        let mut state = self.shared.state.lock();
        for cell in self.pending_hooks.drain(..) {
            state.hooks.push_back(HookJob { cell, offered_at: now });
            state.call_one();
        }
        for job in self.pending.drain(..) {
            state.queue.push_back((job, now));
            state.call_one();
        }
        // Where no thread can be had, revoked attempts must not pile up.
        if self.revoked > 64 && self.revoked > state.queue.len() / 2 {
            state.queue.retain(|(job, _)| match job {
                Job::Attempt(attempt) => !attempt.cell.is_revoked(),
                Job::Drop(_) | Job::Examine(_) => true,
            });
            self.revoked = 0;
        }
        state.counts()
    }

    /// Sends home the threads that have been idle longest, and begins a new window.
    fn shrink(&self, retire: u32) {
        let mut state = self.shared.state.lock();
        let retire = (retire as usize).min(state.idle.len());
        state.leaving += u32::try_from(retire).unwrap_or_default();
        for seat in state.idle.drain(..retire) {
            seat.call(LEAVE);
        }
        state.peak_busy = state.busy;
    }

    pub(super) fn start_thread(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let role = format!("w{}", self.next_number);
        self.shared.state.lock().alive += 1;
        let threads = &self.shared.threads;
        let started = threads.spawn(&role, threads.stack_size, move |name| shared.work(name));
        match started {
            Ok(()) => self.next_number += 1,
            Err(_) => self.shared.state.lock().alive -= 1,
        }
        started
    }

    /// A thread could not be had. No other is tried for a while.
    pub(super) fn refused(&mut self, now: Time, error: io::Error) -> News {
        let retry_in = self.pool.refused(now);
        self.refused_until = now.after(retry_in);
        // What was refused is not one of the threads that hooks may have.
        self.hook_starts = self.hook_starts.saturating_sub(1);
        self.deadline = self.deadline.min(self.refused_until);
        News::Refused { error, retry_in }
    }

    /// A thread of its own could not be had for an attempt. The others come first now: what this
    /// one wants may never be had.
    pub(super) fn put_back(&mut self, now: Time, dedicated: Dedicated, error: io::Error) -> News {
        self.dedicated.push_back(dedicated);
        self.dedicated_refused(now, error)
    }

    fn dedicated_refused(&mut self, now: Time, error: io::Error) -> News {
        self.dedicated_refused_until = now.after(DEDICATED_RETRY);
        News::Refused { error, retry_in: DEDICATED_RETRY }
    }

    /// What is left to be dropped at the end.
    pub(super) fn take_dedicated(&mut self) -> impl Iterator<Item = Garbage> + '_ {
        self.dedicated.drain(..).map(|dedicated| Garbage::Attempt(dedicated.attempt))
    }

    fn start_dedicated(&mut self, now: Time, news: &mut Vec<News>) {
        for _ in 0..STARTS_PER_TURN {
            if now < self.dedicated_refused_until {
                break;
            }
            let Some(dedicated) = self.dedicated.pop_front() else { break };
            if dedicated.attempt.cell.is_revoked() {
                self.pending.push(Job::Drop(vec![Garbage::Attempt(dedicated.attempt)]));
                continue;
            }
            if let Err(error) = self.start_dedicated_thread(dedicated) {
                news.push(self.dedicated_refused(now, error));
            }
        }
        if !self.dedicated.is_empty() || !self.pending.is_empty() {
            self.deadline = self.deadline.min(now.max(self.dedicated_refused_until));
        }
    }

    /// Puts the attempt back if its thread is refused.
    fn start_dedicated_thread(&mut self, dedicated: Dedicated) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let role = format!("w{}", self.next_number);
        let options = dedicated.options.clone();
        // What the thread would take with it must be there still if there is no thread.
        let hand = Arc::new(Mutex::new(Some(dedicated)));
        let taken = Arc::clone(&hand);
        self.count_beside_pool(1);
        let started = self.shared.threads.spawn_with(&options, &role, move |name| {
            let dedicated = taken.lock().take();
            if let Some(dedicated) = dedicated {
                shared.work_once(dedicated, name);
            }
        });
        let Err(error) = started else {
            self.next_number += 1;
            return Ok(());
        };
        self.count_beside_pool(-1);
        self.dedicated.extend(hand.lock().take());
        Err(error)
    }

    /// A thread beside the pool counts as busy all its life, so that the pool's arithmetic ignores
    /// it.
    fn count_beside_pool(&self, change: i32) {
        let mut state = self.shared.state.lock();
        state.alive = state.alive.saturating_add_signed(change);
        state.beside = state.beside.saturating_add_signed(change);
    }

    /// Sees to it that every hook finds a thread, and that hooks which hang are noticed.
    fn serve_hooks(&mut self, now: Time, news: &mut Vec<News>) {
        let mut state = self.shared.state.lock();
        let mut deadline = Time::NEVER;
        for run in &mut state.hook_runs {
            let ran = run.since.until(now);
            if !run.slow && ran >= SLOW_HOOK {
                run.slow = true;
                news.push(News::HookSlow { cell: Arc::clone(&run.cell), ran });
            }
            let late = run.since.after(SLOW_HOOK).max(run.cell.until());
            if !run.counted && late <= now {
                run.counted = true;
                news.push(News::HookAbandoned);
            }
            deadline = match (run.slow, run.counted) {
                (false, _) => deadline.min(run.since.after(SLOW_HOOK)),
                (true, false) => deadline.min(late),
                (true, true) => deadline,
            };
        }
        let oldest = state.hooks.front().map(|job| job.offered_at.after(HOOK_PATIENCE));
        let Some(patience_ends) = oldest else {
            self.hook_starts = 0;
            self.deadline = self.deadline.min(deadline);
            return;
        };
        let coming = state.pooled().saturating_sub(state.busy);
        let waiting = u32::try_from(state.hooks.len()).unwrap_or(u32::MAX);
        let missing = waiting.saturating_sub(coming).min(MAX_HOOK_STARTS - self.hook_starts);
        drop(state);
        self.deadline = self.deadline.min(deadline);
        for _ in 0..missing {
            if now < self.refused_until {
                // The thread of last resort may hang in a hook: look again.
                self.deadline = self.deadline.min(self.refused_until);
                break;
            }
            self.hook_starts += 1;
            if let Err(error) = self.start_thread() {
                news.push(self.refused(now, error));
            }
        }
        if patience_ends > now {
            self.deadline = self.deadline.min(patience_ends);
        } else if let Some(seat) = &self.hook_seat {
            // It takes all that is there, as soon as it can; nobody need look again.
            let _state = self.shared.state.lock();
            seat.call(WORK);
        } else {
            self.start_hook_thread(now, news);
            self.deadline = self.deadline.min(self.refused_until.max(now));
        }
    }

    /// Starts the thread of last resort for hooks, if it is not there.
    pub(super) fn start_hook_thread(&mut self, now: Time, news: &mut Vec<News>) {
        if self.hook_seat.is_some() {
            return;
        }
        if now < self.refused_until {
            // The next hook asks again.
            return self.hook_thread_refused();
        }
        let (shared, seat) = (Arc::clone(&self.shared), Arc::new(Seat::new()));
        let waits = Arc::clone(&seat);
        self.count_beside_pool(1);
        let threads = &self.shared.threads;
        let started = threads
            .spawn("hook", threads.stack_size, move |name| shared.work_on_hooks(name, &waits));
        match started {
            Ok(()) => self.hook_seat = Some(seat),
            Err(error) => {
                self.count_beside_pool(-1);
                self.hook_thread_refused();
                news.push(self.refused(now, error));
            }
        }
    }

    pub(super) fn hook_thread_refused(&mut self) {
        self.hook_seat = None;
        self.shared.door.hook_thread_refused();
    }

    /// Hooks that outlived the grace of their attempts.
    pub(super) fn stuck_hooks(&self) -> Vec<StuckHook> {
        let state = self.shared.state.lock();
        let stuck = state.hook_runs.iter().filter(|run| run.counted);
        stuck
            .map(|run| StuckHook {
                cell: Arc::clone(&run.cell),
                thread: run.thread.clone(),
                since: run.since,
            })
            .collect()
    }

    /// Sends every thread home once there is nothing left to do, and waits for those that come; at
    /// most until `due`, because some may be stuck in user code. Says how many values nobody has
    /// dropped by then: a thread that comes back later does so.
    pub(super) fn close(mut self, stuck: u32, due: Time) -> usize {
        let mut state = self.shared.state.lock();
        for job in self.pending.drain(..) {
            state.queue.push_back((job, Time::ZERO));
        }
        state.closed = true;
        // From now on, whoever reports drops what nobody takes.
        let unheard = self.shared.unheard.try_iter().filter(Report::may_hold_user_values);
        // A nudge may be the last to know how its task ended.
        let nudges = std::mem::take(&mut self.nudges).into_iter();
        let nudges = nudges.map(|((due, _), cell)| Report::HooksDue { cell, due });
        let nudges = nudges.filter(Report::may_hold_user_values);
        let unheard: Vec<_> = unheard.chain(nudges).map(Garbage::Report).collect();
        if !unheard.is_empty() {
            state.queue.push_back((Job::Drop(unheard), Time::ZERO));
        }
        for seat in std::mem::take(&mut state.idle) {
            seat.call(WORK);
        }
        if let Some(seat) = &self.hook_seat {
            seat.call(WORK);
        }
        // Those of the pool may be stuck, even in what does not count as such; others take no jobs.
        let nobody = state.pooled() <= state.busy && !state.queue.is_empty();
        drop(state);
        if nobody {
            // If it is refused, what lies there is counted below.
            let _ = self.start_thread();
        }
        let mut state = self.shared.state.lock();
        while (state.alive > stuck || !state.queue.is_empty()) && self.shared.door.clock.now() < due
        {
            let Some(instant) = self.shared.door.clock.instant(due) else { break };
            self.shared.ended.wait_until(&mut state, instant);
        }
        let values_of = |(job, _): &(Job, Time)| match job {
            Job::Attempt(_) | Job::Examine(_) => 0,
            Job::Drop(values) => values.len(),
        };
        let left = state.queue.iter().map(values_of).sum();
        drop(state);
        // Whoever has the last reference drops what is left; that must not be the controller.
        if let Some(shared) = Arc::into_inner(self.shared) {
            shared.forget_user_values();
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::Clock;
    use crate::platform::sync::channel;

    /// Minutes, seen in a moment: surplus threads would be sent home after ten seconds.
    #[test]
    fn prespawned_workers_stay_whatever_comes_and_goes_beside_them() {
        const PRESPAWNED: u32 = 4;
        let (door, _inbox) = Door::new(Clock::start_now(), 1);
        let threads = Threads { name: "test".to_owned(), stack_size: None, hooks: None };
        let reports = channel::unbounded();
        let mut workers = Workers::new(Arc::clone(&door), reports, threads, PRESPAWNED);
        (0..PRESPAWNED).for_each(|_| workers.start_thread().unwrap());
        while workers.counts().idle < PRESPAWNED {
            thread::yield_now();
        }
        let mut news = Vec::new();
        workers.start_hook_thread(Time::ZERO, &mut news);
        assert!(news.is_empty());
        for second in 1..100_u32 {
            // A dedicated thread for ten seconds, then none.
            match second % 20 {
                1 => workers.count_beside_pool(1),
                11 => workers.count_beside_pool(-1),
                _ => {}
            }
            workers.manage(Time::ZERO.after(Duration::from_secs(1) * second));
            let counts = workers.counts();
            assert_eq!((counts.threads, counts.idle), (PRESPAWNED, PRESPAWNED), "at {second} s");
        }
        let soon = door.clock.now().after(Duration::from_secs(60));
        assert_eq!(workers.close(0, soon), 0);
    }
}
