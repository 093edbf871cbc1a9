//! The pool of threads that run user code, as the controller sees it: it offers them work, and
//! starts and retires them by the arithmetic of `machine::pool`. `README.md` in this folder
//! describes the life of a thread, of a hook and of a drop.
//!
//! Each module uses only those listed below it.

mod dedicated;
mod errand_threads;
mod worker;

mod run;

mod shared;

mod errands;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::pool::{Arithmetic, Counts, SLOW_SET_UP};
use crate::platform::linger::Linger;
use crate::platform::sync::channel::Receiver;
use crate::platform::sync::thread;
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::threads::ThreadSetup;
use crate::platform::user_value;
use crate::task::cell::Thread;
use crate::task::door::Door;
use crate::task::fact::{Fact, Role};
use crate::vocabulary::time::{RealTime, Time};

pub(super) use errands::Of;
pub(super) use shared::{Attempt, Dedicated, Examinee, Work};
use shared::{Group, Shared, State};

pub(super) struct Pool {
    shared: Arc<Shared>,
    arithmetic: Arithmetic,
    /// The work of this turn that is not offered yet.
    pending: Vec<Work>,
    errands: errand_threads::ErrandThreads,
    /// How long a drop may take that concerns no attempt any more.
    grace: Duration,
    dedicated: dedicated::Waiting,
    /// No thread for hooks is tried before this time; the arithmetic has the same for the others.
    refused_until: RealTime,
    /// When the latest thread of any kind was refused.
    last_refused: Option<RealTime>,
    /// The number of threads never to be sent home.
    keep: u32,
    /// When the threads need attention.
    deadline: RealTime,
    /// The number of revoked attempts that may still lie in the queue.
    revoked: usize,
    next_number: u64,
}

impl Pool {
    pub(super) fn new(
        door: Arc<Door>,
        unheard: Receiver<Fact>,
        threads: ThreadSetup,
        prespawn: u32,
        grace: Duration,
    ) -> Self {
        let (state, left) = (Mutex::new(State::default()), Condvar::new());
        let linger = Linger::default();
        let shared = Shared { state, left, unheard, door, linger, threads };
        // A burst of short work is done best by about as many threads as there are processors.
        let eager = thread::processors().clamp(1, 4);
        Self {
            shared: Arc::new(shared),
            arithmetic: Arithmetic::new(eager, prespawn),
            pending: Vec::new(),
            errands: errand_threads::ErrandThreads::default(),
            grace,
            dedicated: dedicated::Waiting::default(),
            refused_until: RealTime::ZERO,
            last_refused: None,
            keep: prespawn,
            deadline: RealTime::NEVER,
            revoked: 0,
            next_number: 1,
        }
    }

    /// Offers work at the end of the turn.
    pub(super) fn push(&mut self, work: Work) {
        self.pending.push(work);
    }

    /// Notes that an attempt was revoked; its husk may still lie in the queue.
    pub(super) fn note_revoked(&mut self) {
        self.revoked += 1;
    }

    /// When to call [`manage`](Self::manage) at the latest.
    pub(super) fn deadline(&self) -> RealTime {
        self.deadline.min(self.errands.next_nudge())
    }

    /// Has [`manage`](Self::manage) called by then.
    pub(super) fn wake_by(&mut self, due: RealTime) {
        self.deadline = self.deadline.min(due);
    }

    /// The number of attempts, drops and examinations that no thread has taken up.
    pub(super) fn offered(&self) -> usize {
        let state = self.shared.state.lock();
        state.queue.len() + state.errands.waiting_drops()
    }

    pub(super) fn counts(&self, now: RealTime) -> Counts {
        self.shared.state.lock().counts(now)
    }

    /// Whether work has waited for over a second while no thread can be started.
    pub(super) fn is_starving(&self, now: RealTime) -> bool {
        let (oldest, slow) = (self.dedicated.oldest(), self.dedicated.is_any_slow(now));
        let state = self.shared.state.lock();
        let oldest = state.oldest().into_iter().chain(oldest).min();
        // `None` comes before every time.
        let none_comes = self.last_refused.is_some() && self.last_refused >= state.arrived_at;
        let is_late = oldest.is_some_and(|oldest| oldest.until(now) > SLOW_SET_UP);
        is_late && (none_comes || slow || state.slow(now) > 0)
    }

    /// Waits until the threads that were started are set up, but no longer than a thread may take
    /// for that. An error is that of a thread whose set-up failed.
    pub(super) fn wait_set_up(&self) -> io::Result<()> {
        let Shared { state, left, unheard, door, .. } = &*self.shared;
        let due = door.clock.real.now().after(SLOW_SET_UP);
        let mut state = state.lock();
        while state.is_any_coming() && door.clock.real.now() < due {
            let Some(instant) = door.clock.real.instant(due) else { break };
            left.wait_until(&mut state, instant);
        }
        let failed = state.counts(RealTime::ZERO).threads < self.keep;
        drop(state);
        if !failed {
            return Ok(());
        }
        // A thread whose set-up failed says why once it is counted no more. The controller has no
        // thread yet, so the bell rings here; what else it rings for lies there for the controller.
        let due = door.clock.real.now().after(SLOW_SET_UP);
        loop {
            let is_late = door.clock.real.now() >= due;
            while let Ok(fact) = unheard.try_recv() {
                match fact {
                    Fact::SetUpFailed { error, .. } => return Err(error),
                    fact => self.shared.drop_value(fact),
                }
            }
            if is_late {
                return Ok(());
            }
            door.sleep(due, || !unheard.is_empty());
        }
    }

    /// The number of threads that run bodies and hooks, including those beside the pool.
    pub(super) fn threads(&self) -> u32 {
        self.shared.state.lock().staying()
    }

    /// How much work no thread has taken.
    pub(super) fn unstarted(&self) -> usize {
        self.shared.state.lock().untaken() + self.kept_back()
    }

    /// How much is not offered to any thread yet.
    fn kept_back(&self) -> usize {
        self.pending.len() + self.dedicated.len() + self.errands.pending()
    }

    /// Whether nothing waits for a thread, and every thread that works runs a body that rests.
    pub(super) fn is_at_rest(&self, resting: impl FnOnce() -> u32) -> bool {
        // Both under one lock, because a hook that has run may wait again.
        let state = self.shared.state.lock();
        let (untaken, working) = (state.untaken(), state.working());
        drop(state);
        // If nothing waits, the number of working threads can only fall from here on. So if as many
        // bodies rest a moment later, all of them do. A thread that runs hooks is none of them.
        untaken + self.kept_back() == 0 && working == resting()
    }

    /// The errands that are being run and that a manual clock waits for, their threads, and since
    /// when.
    pub(super) fn running_errands(&self) -> Vec<(Of, Thread, Time)> {
        let state = self.shared.state.lock();
        state.errands.running()
    }

    /// Offers this turn's work, and starts or retires threads. Returns facts for the controller.
    /// With `crowded`, as many attempts, hooks and closings are stuck as may be.
    pub(super) fn manage(&mut self, now: RealTime, crowded: bool) -> Vec<Fact> {
        let mut facts = Vec::new();
        let counts = self.offer(now, crowded);
        let orders = self.arithmetic.decide(now, counts);
        if orders.retire > 0 || orders.reset_peak {
            self.shared.lock().shrink(orders.retire);
        }
        for _ in 0..orders.start {
            if let Err(error) = self.start_thread() {
                facts.push(self.refused(now, error));
                break;
            }
        }

        self.deadline = self.arithmetic.deadline();
        self.start_dedicated(now, &mut facts);
        self.serve_errands(now, &mut facts);
        facts
    }

    fn offer(&mut self, now: RealTime, crowded: bool) -> Counts {
        let mut state = self.shared.lock();
        state.errands.crowded = crowded;
        self.errands.offer(&mut state, now);
        for work in self.pending.drain(..) {
            state.offer(work, now);
        }
        // If the system refuses threads, husks must not pile up.
        if self.revoked > 64 && self.revoked > state.queue.len() / 2 {
            state.queue.retain(|(work, _)| match work {
                Work::Attempt(attempt) => !attempt.cell.is_revoked(),
                Work::Examine(_) | Work::Chores(_) | Work::Warn(_) => true,
            });
            self.revoked = 0;
        }
        state.counts(now)
    }

    pub(super) fn start_thread(&mut self) -> io::Result<()> {
        let place = self.shared.place(Group::Pooled);
        let threads = &self.shared.threads;
        let run = move |name| worker::work(place, name);
        let started = threads.spawn(&self.role(), threads.stack_size, run);
        self.note_started(&started);
        started
    }

    /// The part of the next thread's name that distinguishes it.
    pub(super) fn role(&self) -> String {
        format!("w{}", self.next_number)
    }

    fn note_started(&mut self, started: &io::Result<()>) {
        self.next_number += u64::from(started.is_ok());
    }

    /// A thread was started but could not be used.
    pub(super) fn set_up_failed(&mut self, now: RealTime, role: Role, error: io::Error) -> Fact {
        match role {
            Role::Pooled => self.refused(now, error),
            Role::Dedicated => self.dedicated_refused(now, error),
            Role::Hooks => self.last_resort_refused(now, error),
        }
    }

    /// The system refused a thread of the pool, or that of last resort. For a while neither is
    /// tried again.
    fn refused(&mut self, now: RealTime, error: io::Error) -> Fact {
        let retry_in = self.arithmetic.refused(now);
        self.refused_until = now.after(retry_in);
        self.last_refused = Some(now);
        self.wake_by(self.refused_until);
        Fact::ThreadRefused { error, retry_in }
    }

    /// A thread beside the pool was refused: an idle one may be all that keeps it from being
    /// granted. In place of a thread of the pool, the idle one serves as well.
    fn make_room(&self) {
        self.shared.lock().make_room(self.keep);
    }

    /// A thread has left for others, so they are tried again.
    pub(super) fn room_made(&mut self, now: RealTime) {
        (self.refused_until, self.dedicated.refused_until) = (now, now);
        self.wake_by(now);
    }

    /// Sends every thread home once there is nothing left to do, and waits until they have left,
    /// but at most until `due`, because some may be stuck in user code. Returns how many values are
    /// not dropped by then; a thread that comes back later drops them.
    pub(super) fn close(mut self, stuck: u32, due: RealTime) -> usize {
        let shared = Arc::clone(&self.shared);
        for _ in 0..self.call_home() {
            // If it is refused, the values in the queue are counted below.
            let _ = self.start_thread();
        }

        let mut state = shared.state.lock();
        let undone = |state: &State| !state.queue.is_empty() || state.errands.undropped() > 0;
        let real = &shared.door.clock.real;
        while (state.alive() > stuck || undone(&state)) && real.now() < due {
            let Some(instant) = real.instant(due) else { break };
            shared.left.wait_until(&mut state, instant);
        }
        state.errands.undropped()
    }

    /// Has all threads leave once the queue is empty. Returns how many more it takes: nobody looks
    /// again, so each errand gets a thread at once, as far as there is room.
    fn call_home(&mut self) -> u32 {
        // All of this is under one lock, so a thread that leaves has seen the last of the work.
        let mut state = self.shared.lock();
        state.closed = true;
        // From now on, a thread that sends a fact drops it itself. This thread keeps the user
        // values of earlier facts, and they go to the queue.
        self.shared.unheard.try_iter().for_each(drop);
        self.dedicated = dedicated::Waiting::default();
        self.errands.forget_nudges();
        self.errands.call_home(&mut state);
        self.errands.push_kept(user_value::take_kept());
        self.errands.offer(&mut state, RealTime::ZERO);
        for work in self.pending.drain(..) {
            state.queue.push_back((work, RealTime::ZERO));
        }
        state.call_all();
        // Pooled threads may hang, even where that does not count as stuck; others take no work.
        let (available, awake) = state.available(self.shared.door.clock.real.now());
        let undone = !state.queue.is_empty() || state.errands.waiting_duties() > 0;
        let errands = state.errands.takeable().saturating_sub(available);
        let room = state.errands.room().saturating_sub(awake);
        errands.min(room).max(u32::from(available == 0 && undone))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::machine::pool::MAX_REPLACED;
    use crate::platform::model_clock::ModelClock;
    use crate::platform::sync::Mutex;
    use crate::platform::threads::StartCallback;
    use crate::platform::user_value::UserValue;
    use crate::task::class_names::ClassNames;

    pub(super) const fn setup(stack_size: Option<usize>) -> ThreadSetup {
        ThreadSetup { name: String::new(), stack_size, by_task: false, callbacks: None }
    }

    /// Without a controller.
    pub(super) fn pool(setup: ThreadSetup, prespawned: u32) -> (Arc<Door>, Pool) {
        let (door, inbox) = Door::new(ModelClock::start_now(), 1, ClassNames::default());
        let pool = Pool::new(Arc::clone(&door), inbox.facts, setup, prespawned, Duration::ZERO);
        (door, pool)
    }

    /// A program of 32 bits may be given half of its address space.
    const IMPOSSIBLE: usize = usize::MAX - (1 << 20);

    /// Minutes, seen in a moment: surplus threads would be sent home after ten seconds.
    #[test]
    fn prespawned_workers_stay_whatever_comes_and_goes_beside_them() {
        const PRESPAWNED: u32 = 4;
        let (door, mut pool) = pool(setup(None), PRESPAWNED);
        (0..PRESPAWNED).for_each(|_| pool.start_thread().unwrap());
        while pool.counts(RealTime::ZERO).idle < PRESPAWNED {
            thread::yield_now();
        }
        let mut facts = Vec::new();
        pool.start_last_resort(RealTime::ZERO, &mut facts);
        assert!(facts.is_empty());
        let mut beside = None;
        for second in 1..100_u32 {
            // A dedicated thread for ten seconds, then none.
            match second % 20 {
                1 => beside = Some(pool.shared.place(Group::Dedicated)),
                11 => drop(beside.take()),
                _ => {}
            }
            pool.manage(RealTime::ZERO.after(Duration::from_secs(1) * second), false);
            let counts = pool.counts(RealTime::ZERO);
            assert_eq!((counts.threads, counts.idle), (PRESPAWNED, PRESPAWNED), "at {second} s");
        }
        drop(beside);
        let soon = door.clock.real.now().after(Duration::from_secs(60));
        assert_eq!(pool.close(0, soon), 0);
    }

    /// Says on a channel that it is being dropped, and waits until the other end of a second one is
    /// gone.
    struct Hangs(mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>);

    impl Drop for Hangs {
        fn drop(&mut self) {
            let _ = self.0.send(());
            let _ = self.1.lock().recv();
        }
    }

    /// The first end says of each that it has begun; all end once the second is dropped.
    fn push_drops_that_hang(
        pool: &mut Pool,
        number: usize,
    ) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((say, begun), (gate, shut)) = (mpsc::channel(), mpsc::channel());
        let shut = Arc::new(Mutex::new(shut));
        let drops = (0..number).map(|_| Hangs(say.clone(), Arc::clone(&shut)));
        pool.push_kept(drops.map(|it| UserValue::new(Box::new(it) as _)).collect());
        (begun, gate)
    }

    #[test]
    fn a_burst_of_drops_gets_one_thread_and_more_only_when_they_take_long() {
        let (door, mut pool) = pool(setup(None), 0);
        let (begun, gate) = push_drops_that_hang(&mut pool, 40);
        let at = |micros| RealTime::ZERO.after(Duration::from_micros(micros));
        pool.manage(at(0), false);
        begun.recv().unwrap();
        for micros in [1, 100, 4999] {
            pool.manage(at(micros), false);
            assert_eq!(pool.counts(at(micros)).threads, 1, "after {micros} µs");
        }
        pool.manage(at(5000), false);
        assert_eq!(pool.counts(at(5000)).threads, 8);
        drop(gate);
        let soon = door.clock.real.now().after(Duration::from_secs(60));
        assert_eq!(pool.close(0, soon), 0);
    }

    /// The end of a supervisor looks once, so that no drop waits behind one that hangs.
    #[test]
    fn at_the_end_each_drop_has_a_thread_of_its_own() {
        let (door, mut pool) = pool(setup(None), 0);
        let (begun, gate) = push_drops_that_hang(&mut pool, 5);
        pool.manage(RealTime::ZERO, false);
        let soon = door.clock.real.now().after(Duration::from_secs(60));
        let (tell, closed) = mpsc::channel();
        let close = move |_| {
            let _ = tell.send(pool.close(0, soon));
        };
        setup(None).spawn("end", None, close).unwrap();
        (0..5).for_each(|_| begun.recv().unwrap());
        drop(gate);
        assert_eq!(closed.recv(), Ok(0));
    }

    #[test]
    fn while_no_thread_can_be_had_a_drop_that_waits_keeps_nobody_awake() {
        let (_, mut pool) = pool(setup(Some(IMPOSSIBLE)), 0);
        pool.push_kept(vec![UserValue::new(Box::new(()) as _)]);
        let (mut now, mut looks) = (RealTime::ZERO, 0);
        while now < RealTime::ZERO.after(Duration::from_secs(10)) {
            pool.manage(now, false);
            (now, looks) = (pool.deadline(), looks + 1);
        }
        assert!(looks < 150, "{looks} looks in ten seconds");
    }

    /// Minutes, seen in a moment, in which one drop waits.
    #[test]
    fn threads_that_hang_before_they_come_are_replaced_a_few_times() {
        let (gate, shut) = mpsc::channel::<()>();
        let shut = Mutex::new(shut);
        let mut setup = setup(None);
        let hang = move || shut.lock().recv().or(Ok(()));
        setup.callbacks_mut().on_start = Some(StartCallback::new("on_thread_start", hang));
        let (door, mut pool) = pool(setup, 0);
        pool.push_kept(vec![UserValue::new(Box::new(()) as _)]);
        let start = door.clock.real.now();
        for second in 0..100_u32 {
            pool.manage(start.after(Duration::from_secs(2) * second), false);
        }
        assert_eq!(pool.counts(start).threads, MAX_REPLACED + 1);
        drop(gate);
        assert_eq!(pool.close(0, start.after(Duration::from_secs(60))), 0);
    }

    /// Each refusal counts once, whoever hears of it.
    #[test]
    fn a_thread_that_cannot_be_had_is_tried_again_at_twice_the_distance() {
        let (_, mut pool) = pool(setup(Some(IMPOSSIBLE)), 0);
        pool.push(Work::Examine(Vec::new()));
        let mut now = RealTime::ZERO;
        let delays: Vec<_> = (0..4)
            .map(|_| {
                let mut facts = pool.manage(now, false);
                let Some(Fact::ThreadRefused { retry_in, .. }) = facts.pop() else {
                    panic!("no thread was refused");
                };
                assert!(facts.is_empty());
                now = now.after(retry_in);
                assert!(pool.deadline() <= now);
                retry_in
            })
            .collect();
        assert!(delays.windows(2).all(|pair| pair[1] == pair[0] * 2), "{delays:?}");
    }
}
