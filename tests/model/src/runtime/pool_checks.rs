//! The hand-off to workers: no job is lost, whoever is idle, retired, refused, revoked or sent home
//! at that moment; and in the end no thread is left.

#![warn(dead_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::device::{body_with_device, device};
use super::pool::{Attempt, Dedicated, Pool, Work};
use crate::checks::{attempt, load, record_of};
use crate::machine::Finality;
use crate::output::error::{TaskError, TaskResult};
use crate::platform::model_clock::ModelClock;
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::thread;
use crate::platform::threads::{StartCallback, ThreadCallbacks, ThreadOptions, ThreadSetup};
use crate::platform::user_value::{keep_user_values, Kept, UserValue};
use crate::runner::Check;
use crate::task::body::Body;
use crate::task::cell::{Allowance, Cell};
use crate::task::class_names::ClassNames;
use crate::task::context::TaskContext;
use crate::task::door::{Door, Inbox};
use crate::task::fact::{Fact, Returned};
use crate::vocabulary::id::AttemptAddr;
use crate::vocabulary::policy::PanicPolicy;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::{RealTime, Time};
use crate::world::{self, Timers};

pub(crate) const CHECKS: &[Check] = &[
    Check::some("pool: each job runs once", 1500, each_job_runs_once),
    Check::some("pool: each job runs once, timers or not", 1000, each_job_runs_once).timed(),
    Check::some("pool: none is lost to a thread that retires", 1500, none_is_lost_to_retirement),
    Check::some("pool: claimed or revoked", 1500, claimed_or_revoked),
    Check::some("pool: what is left is dropped at the end", 1500, what_is_left_is_dropped),
    Check::some("pool: the end does not wait for who is stuck", 1500, the_end_leaves_who_is_stuck),
    Check::some("pool: a hook finds a thread", 1500, a_hook_finds_a_thread),
    Check::some("pool: a hook finds a thread in time", 1000, a_hook_finds_a_thread).timed(),
    Check::some("pool: the thread of last resort serves", 1500, the_last_resort_serves).timed(),
    Check::some("pool: what comes back late is dropped", 1500, what_comes_back_late_is_dropped),
    Check::some("pool: the end is served by who was stuck", 1500, the_end_is_served_late),
    Check::some("pool: refused threads are had later", 1000, refused_threads).timed(),
    Check::some("pool: who cannot begin counts no more", 1000, who_cannot_begin_counts_no_more),
    Check::some("pool: a start hears of a failure", 1000, a_start_hears_of_a_failure),
    Check::some("pool: who hangs at first holds nothing", 500, who_hangs_at_first_holds_nothing),
];

/// The controller's part: it offers, hears, and waits no longer than it should.
pub(super) struct Ground {
    pool: Pool,
    inbox: Inbox,
    door: Arc<Door>,
    runs: Arc<AtomicUsize>,
    /// Threads that have begun and not ended.
    living: Arc<AtomicUsize>,
    jobs: u64,
}

const HOUR: Duration = Duration::from_secs(3600);
impl Ground {
    pub(super) fn new() -> Self {
        Self::with(0, || Ok(()))
    }

    fn with(prespawn: u32, on_start: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        let living = Arc::new(AtomicUsize::new(0));
        let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
        keep_user_values();
        let name = "model".to_owned();
        let (begun, ended) = (Arc::clone(&living), Arc::clone(&living));
        let on_start = move || {
            on_start()?;
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let on_stop = move || {
            ended.fetch_sub(1, Ordering::Relaxed);
        };
        let on_start = Some(StartCallback::new("on_start", on_start));
        let on_stop = Some(UserValue::new(Box::new(on_stop) as _));
        let callbacks = Some(Arc::new(ThreadCallbacks { on_start, on_stop }));
        let threads = ThreadSetup { name, stack_size: None, by_task: false, callbacks };
        let pool = Pool::new(Arc::clone(&door), inbox.facts.clone(), threads, prespawn, HOUR);
        Self { pool, inbox, door, runs: Arc::default(), living, jobs: 0 }
    }

    /// Pushes an attempt whose runs are counted.
    pub(super) fn push(
        &mut self,
        body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Arc<Cell> {
        self.push_to(None, body)
    }

    fn push_to(
        &mut self,
        dedicated: Option<ThreadOptions>,
        mut body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static,
    ) -> Arc<Cell> {
        let runs = Arc::clone(&self.runs);
        let body = Body::repeat(move |ctx| {
            runs.fetch_add(1, Ordering::Relaxed);
            body(ctx)
        });
        self.jobs += 1;
        let load = load(body, Allowance::default());
        let cell = Arc::new(Cell::offer(record_of(&self.door), attempt(self.jobs), load));
        let attempt = Attempt {
            cell: Arc::clone(&cell),
            finality: Finality { success: true, failure: true, panic: PanicPolicy::Failure },
            reports_claim: false,
            no_thread: None,
        };
        match dedicated.map(Box::new) {
            Some(options) => {
                self.pool.push_dedicated(Dedicated { attempt, options, offered_at: RealTime::ZERO })
            }
            None => self.pool.push(Work::Attempt(attempt)),
        }
        cell
    }

    /// Has a body dropped that will not run.
    pub(super) fn close_body(&mut self, body: Body) -> Arc<Cell> {
        self.jobs += 1;
        let (record, attempt) = (record_of(&self.door), attempt(self.jobs));
        let cell = Arc::new(Cell::closing(record, attempt, body, CancelReason::Stop));
        self.pool.push_close(Arc::clone(&cell));
        cell
    }

    /// Goes on like the controller until a body is closed.
    pub(super) fn until_closed(&mut self) -> AttemptAddr {
        loop {
            while let Ok(fact) = self.inbox.facts.try_recv() {
                match fact {
                    Fact::Closed { attempt } => return attempt,
                    fact => _ = self.serve(fact),
                }
            }
            self.manage();
            channel::wait_for_one(&[&self.inbox.facts], self.pool.deadline());
        }
    }

    pub(super) fn start_threads(&mut self, count: usize) {
        (0..count).for_each(|_| self.pool.start_thread().unwrap());
    }

    pub(super) fn manage(&mut self) {
        // Refusals are retried when the deadline says so.
        drop(self.pool.manage(self.door.clock.real.now(), false));
    }

    /// Goes on like the controller until so many more attempts have returned.
    pub(super) fn until_returned(&mut self, count: usize) -> Vec<Returned> {
        let mut returned = Vec::new();
        loop {
            while let Ok(fact) = self.inbox.facts.try_recv() {
                returned.extend(self.serve(fact));
            }
            if returned.len() >= count {
                return returned;
            }
            self.manage();
            let deadline = self.pool.deadline();
            channel::wait_for_one(&[&self.inbox.facts], deadline);
        }
    }

    /// Goes on like the controller until somebody has registered a hook.
    fn until_last_resort_wanted(&mut self) {
        loop {
            while let Ok(fact) = self.inbox.facts.try_recv() {
                if matches!(fact, Fact::LastResortWanted) {
                    return;
                }
                assert!(self.serve(fact).is_none(), "nothing wakes it yet");
            }
            self.manage();
            channel::wait_for_one(&[&self.inbox.facts], self.pool.deadline());
        }
    }

    fn serve(&mut self, fact: Fact) -> Option<Returned> {
        let now = self.door.clock.real.now();
        match fact {
            Fact::Returned(returned) => return Some(returned),
            Fact::RoomMade => self.pool.room_made(now),
            Fact::SetUpFailed { role, error } => drop(self.pool.set_up_failed(now, role, error)),
            Fact::HooksDue { cell, due } => self.pool.run_hooks_again(cell, due),
            Fact::DropPanicked { message } => panic!("{message}"),
            _ => {}
        }
        None
    }

    /// Tells a claimed attempt, and offers its hooks.
    fn stop(&mut self, cell: &Arc<Cell>) {
        while cell.claimed_at().is_none() {
            thread::yield_now();
        }
        cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
        if cell.has_hooks() {
            self.pool.push_hooks(cell);
        }
    }

    /// Everybody is sent home, and has gone when it is over. Says how many attempts have run.
    pub(super) fn close(self) -> usize {
        world::set_timers(Timers::Never);
        world::refuse_threads(false);
        let due = self.door.clock.real.now().after(HOUR);
        let leaked = self.pool.close(0, due);
        assert_eq!(self.living.load(Ordering::Relaxed), 0, "a thread is left");
        assert_eq!(leaked, 0);
        self.runs.load(Ordering::Relaxed)
    }
}

fn kept(body: Body) -> Kept {
    UserValue::new(Box::new(body))
}

fn each_job_runs_once() {
    let mut ground = Ground::new();
    ground.start_threads(2);
    ground.push(|_| Ok(()));
    ground.push(|_| Ok(()));
    ground.manage();
    ground.push(|_| Ok(()));
    ground.until_returned(3);
    ground.push(|_| Ok(()));
    ground.until_returned(1);
    assert_eq!(ground.close(), 4);
}

fn none_is_lost_to_retirement() {
    let mut ground = Ground::new();
    ground.start_threads(3);
    ground.manage();
    ground.push(|_| Ok(()));
    ground.until_returned(1);
    for _ in 0..3 {
        world::advance(Duration::from_secs(11));
        // The surplus goes home while a job comes.
        ground.manage();
        ground.push(|_| Ok(()));
        ground.until_returned(1);
    }
    assert_eq!(ground.close(), 4);
}

fn claimed_or_revoked() {
    let mut ground = Ground::new();
    ground.start_threads(1);
    let cells = [(); 2].map(|()| ground.push(|_| Ok(())));
    ground.manage();
    let revoked = cells.iter().filter(|cell| cell.revoke().is_ok()).count();
    ground.until_returned(2 - revoked);
    assert_eq!(ground.close(), 2 - revoked);
}

fn what_is_left_is_dropped() {
    let mut ground = Ground::new();
    ground.start_threads(usize::from(world::coin()));
    let (first, first_gone) = body_with_device();
    let (second, second_gone) = body_with_device();
    ground.pool.push_kept(vec![kept(first)]);
    ground.manage();
    ground.pool.push_kept(vec![kept(second)]);
    ground.close();
    assert!(first_gone.load(Ordering::Relaxed) && second_gone.load(Ordering::Relaxed));
}

/// The only thread sits in a body until it is freed, and a value waits to be dropped.
fn stuck_with_something_left() -> (Ground, Sender<()>, Arc<AtomicBool>) {
    let mut ground = Ground::new();
    ground.start_threads(1);
    let (free, go_on) = channel::bounded::<()>(1);
    ground.push(move |_| {
        let _ = go_on.recv();
        Ok(())
    });
    ground.manage();
    let (body, gone) = body_with_device();
    ground.pool.push_kept(vec![kept(body)]);
    // It counts as stuck only once it has the job.
    while ground.pool.counts(RealTime::ZERO).queued > 0 {
        thread::yield_now();
    }
    (ground, free, gone)
}

fn the_end_leaves_who_is_stuck() {
    let (ground, free, gone) = stuck_with_something_left();
    let due = ground.door.clock.real.now().after(HOUR);
    assert_eq!(ground.pool.close(1, due), 0);
    assert!(gone.load(Ordering::Relaxed), "what was left was not dropped");
    drop(free);
}

/// No thread can be had, but the one that was stuck comes free in time.
fn the_end_is_served_late() {
    let (ground, free, gone) = stuck_with_something_left();
    world::refuse_workers();
    let user = thread::spawn(move || drop(free));
    let due = ground.door.clock.real.now().after(HOUR);
    assert_eq!(ground.pool.close(1, due), 0);
    user.join().unwrap();
    while !gone.load(Ordering::Relaxed) {
        thread::yield_now();
    }
}

/// A thread of the pool, or none, and one of its own come back while the end does not wait for
/// them any more; the thread of last resort takes no jobs.
fn what_comes_back_late_is_dropped() {
    let mut ground = Ground::new();
    let mut kinds = vec![Some(ThreadOptions::new())];
    if world::coin() {
        ground.start_threads(1);
        kinds.push(None);
    }
    if world::coin() {
        ground.pool.start_last_resort(ground.door.clock.real.now(), &mut Vec::new());
    }
    let (free, go_on) = channel::unbounded::<()>();
    let (mut gone, mut cells) = (Vec::new(), Vec::new());
    for dedicated in kinds {
        let (device, flag) = device();
        gone.push(flag);
        let (go_on, mut device) = (go_on.clone(), Some(device));
        cells.push(ground.push_to(dedicated, move |_| {
            let _ = go_on.recv();
            Err(TaskError::fail(device.take().expect("it runs once")))
        }));
    }
    ground.manage();
    while cells.iter().any(|cell| cell.claimed_at().is_none()) {
        thread::yield_now();
    }
    let stuck = u32::try_from(cells.len()).unwrap();
    drop(cells);
    let user = thread::spawn(move || drop(free));
    let due = ground.door.clock.real.now().after(HOUR);
    assert_eq!(ground.pool.close(stuck, due), 0);
    user.join().unwrap();
    for gone in gone {
        while !gone.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    }
}

/// A body that sits in a call from which only its hook can wake it.
fn blocks_until_woken(ctx: &TaskContext) -> TaskResult {
    let (wake, woken) = channel::bounded::<()>(1);
    let hook = ctx.on_cancel(move || drop(wake.send(())));
    woken.recv().expect("the hook wakes it");
    drop(hook);
    Ok(())
}

fn a_hook_finds_a_thread() {
    let mut ground = Ground::new();
    let cells = [(); 2].map(|()| ground.push(blocks_until_woken));
    ground.start_threads(2);
    ground.manage();
    // Somebody registers a hook.
    ground.until_last_resort_wanted();
    for cell in &cells {
        ground.stop(cell);
    }
    ground.until_returned(2);
    assert_eq!(ground.close(), 2);
}

/// All threads of the pool are stuck, and no other can be had: the one that exists takes all hooks,
/// called once.
fn the_last_resort_serves() {
    let mut ground = Ground::new();
    ground.start_threads(2);
    let (serves, served) = channel::unbounded();
    let (free, go_on) = channel::bounded::<()>(1);
    let cells = [(); 2].map(|()| {
        let (serves, go_on) = (serves.clone(), go_on.clone());
        ground.push(move |ctx| {
            let serves = serves.clone();
            let _hook = ctx.on_cancel(move || drop(serves.send(())));
            let _ = go_on.recv();
            Ok(())
        })
    });
    ground.manage();
    ground.until_last_resort_wanted();
    ground.pool.start_last_resort(ground.door.clock.real.now(), &mut Vec::new());
    world::refuse_workers();
    for cell in &cells {
        ground.stop(cell);
    }
    ground.manage();
    // Nobody has taken them in time.
    world::advance(Duration::from_millis(10));
    ground.manage();
    for _ in &cells {
        served.recv().unwrap();
    }
    drop(free);
    ground.until_returned(2);
    assert_eq!(ground.close(), 2);
}

fn set_up(is_refused: bool) -> io::Result<()> {
    if is_refused {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

fn refused_threads() {
    let mut ground = Ground::with(0, || set_up(world::refuses_thread("")));
    world::refuse_threads(true);
    ground.push(|_| Ok(()));
    ground.push_to(Some(ThreadOptions::new()), |_| Ok(()));
    ground.until_returned(2);
    let cell = ground.push(blocks_until_woken);
    ground.until_last_resort_wanted();
    ground.pool.start_last_resort(ground.door.clock.real.now(), &mut Vec::new());
    ground.stop(&cell);
    ground.until_returned(1);
    assert_eq!(ground.close(), 3);
}

/// Whoever starts the supervisor hears why, although the thread is counted no more before that.
fn a_start_hears_of_a_failure() {
    let mut ground = Ground::with(1, || set_up(true));
    ground.start_threads(1);
    assert!(ground.pool.wait_set_up().is_err());
    assert_eq!(ground.close(), 0);
}

/// A thread whose set-up failed is not counted any more when the controller hears of it.
fn who_cannot_begin_counts_no_more() {
    let refuses = Arc::new(AtomicBool::new(true));
    let refused = Arc::clone(&refuses);
    let mut ground = Ground::with(0, move || set_up(refused.load(Ordering::Relaxed)));
    ground.start_threads(1);
    let hears_of_one = |ground: &Ground| {
        assert!(matches!(ground.inbox.facts.recv(), Ok(Fact::SetUpFailed { .. })));
        assert_eq!(ground.pool.threads(), 0);
    };
    hears_of_one(&ground);
    ground.pool.start_last_resort(ground.door.clock.real.now(), &mut Vec::new());
    hears_of_one(&ground);
    let cell = ground.push_to(Some(ThreadOptions::new()), |_| Ok(()));
    ground.manage();
    hears_of_one(&ground);
    assert!(cell.revoke().is_ok());
    // Somebody has to drop the body.
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(ground.close(), 0);
}

/// The set-up of the first dedicated thread hangs, or that of all: others are started for the
/// attempt, at most eight, and who comes late finds nothing to do.
fn who_hangs_at_first_holds_nothing() {
    let hanging = if world::coin() { 1 } else { usize::MAX };
    let (go_on, held) = channel::unbounded::<()>();
    let calls = AtomicUsize::new(0);
    let mut ground = Ground::with(0, move || {
        if calls.fetch_add(1, Ordering::Relaxed) < hanging {
            let _ = held.recv();
        }
        Ok(())
    });
    ground.push_to(Some(ThreadOptions::new()), |_| Ok(()));
    for _ in 0..12 {
        ground.manage();
        thread::yield_now();
        world::advance(Duration::from_secs(1));
    }
    assert!(ground.pool.threads() <= 9, "{} threads", ground.pool.threads());
    if hanging > 1 {
        assert_eq!(ground.pool.threads(), 9);
        assert!(ground.pool.is_starving(ground.door.clock.real.now()));
        drop(go_on);
        assert_eq!(ground.until_returned(1).len(), 1);
    } else {
        assert_eq!(ground.until_returned(1).len(), 1);
        drop(go_on);
    }
    let due = ground.door.clock.real.now().after(HOUR);
    assert_eq!(ground.pool.close(0, due), 0);
    assert_eq!(ground.runs.load(Ordering::Relaxed), 1);
}
