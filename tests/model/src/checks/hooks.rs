//! Cancel hooks and their guards: run once, after the flag, in order, and never once the guard is
//! gone; and there is always a thread for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{cancel, Stage, LONG};
use crate::platform::sync::thread;
use crate::runner::Check;
use crate::task::cell::Cell;
use crate::task::on_signal::SignalHook;
use crate::task::token::CancelToken;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("hooks: registered or told, it runs once", 2000, it_runs_once),
    Check::some("hooks: two threads run them, each runs once", 2000, two_threads_run_them),
    Check::some("hooks: registered at any time, each runs once", 2000, each_runs_once),
    Check::some("hooks: in the order of registration", 2000, they_run_in_order),
    Check::some("hooks: the flag is set before", 1000, the_flag_is_set_before),
    Check::some("hooks: gone with the guard", 2000, gone_with_the_guard),
    Check::some("hooks: a guard's end waits for it", 2000, the_end_of_a_guard_waits),
    Check::some("hooks: what it holds is gone as well", 2000, what_it_holds_is_gone),
    Check::every("hooks: a guard in its own hook", a_guard_in_its_own_hook),
    Check::some("hooks: disarmed or run", 2000, disarmed_or_run),
    Check::some("hooks: told, returned and let go at once", 2000, told_returned_and_let_go),
    Check::every("hooks: one thread is asked for", one_thread_is_asked_for),
    Check::some("hooks: a refused thread is asked for again", 1500, a_refused_thread_is_asked_for),
    Check::some("hooks: after each signal, one at a time", 2000, after_each_signal),
];

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn token(cell: &Arc<Cell>) -> CancelToken {
    CancelToken(Arc::clone(cell))
}

fn it_runs_once() {
    let stage = Stage::running();
    let runs = Count::default();
    let (body, up) = (token(&stage.cell), runs.clone());
    let body = thread::spawn(move || body.on_cancel(move || up.up()).forget());
    cancel(&stage.cell, CancelReason::Stop);
    body.join().unwrap();
    assert_eq!(runs.get(), 1);
}

/// One after the other, on one thread or the other.
fn two_threads_run_them() {
    let stage = Stage::running();
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 1..=3 {
        let log = Arc::clone(&order);
        token(&stage.cell).on_cancel(move || log.lock().unwrap().push(number)).forget();
    }
    stage.cell.tell(CancelReason::Stop, Time::ZERO, Time::NEVER);
    let runners = [(); 2].map(|()| {
        let cell = Arc::clone(&stage.cell);
        thread::spawn(move || cell.run_hooks())
    });
    for runner in runners {
        runner.join().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
}

fn each_runs_once() {
    let stage = Stage::running();
    let runs = [(); 4].map(|()| Count::default());
    let bodies = [0, 2].map(|first| {
        let (token, runs) = (token(&stage.cell), [runs[first].clone(), runs[first + 1].clone()]);
        thread::spawn(move || runs.map(|up| token.on_cancel(move || up.up())))
    });
    let cell = Arc::clone(&stage.cell);
    let controller = thread::spawn(move || cancel(&cell, CancelReason::Stop));
    let guards = bodies.map(|body| body.join().unwrap());
    controller.join().unwrap();
    assert_eq!(runs.map(|run| run.get()), [1; 4]);
    drop(guards);
}

fn they_run_in_order() {
    let stage = Stage::running();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (body, log) = (token(&stage.cell), Arc::clone(&order));
    let body = thread::spawn(move || {
        for number in 1..=2 {
            let log = Arc::clone(&log);
            body.on_cancel(move || log.lock().unwrap().push(number)).forget();
        }
    });
    cancel(&stage.cell, CancelReason::Stop);
    body.join().unwrap();
    let order = order.lock().unwrap().clone();
    // One that is registered late runs where it is registered, beside those that run already.
    assert!(order == [1, 2] || order == [2, 1] && stage.last_resorts_asked() > 0, "{order:?}");
}

fn the_flag_is_set_before() {
    let stage = Stage::running();
    let too_early = Count::default();
    let (body, up, look) = (token(&stage.cell), too_early.clone(), token(&stage.cell));
    let body = thread::spawn(move || {
        let hook = move || (0..usize::from(!look.is_cancelled())).for_each(|_| up.up());
        body.on_cancel(hook).forget();
    });
    cancel(&stage.cell, CancelReason::Stop);
    body.join().unwrap();
    assert_eq!(too_early.get(), 0);
}

/// What a hook uses: freed once its guard is gone.
#[derive(Default)]
struct Used {
    inside: AtomicBool,
    freed: AtomicBool,
    misused: AtomicBool,
}

impl Used {
    fn using(self: &Arc<Self>) -> impl Fn() + Send + 'static {
        let used = Arc::clone(self);
        move || {
            used.inside.store(true, Ordering::Relaxed);
            used.misused.fetch_or(used.freed.load(Ordering::Relaxed), Ordering::Relaxed);
            thread::yield_now();
            used.misused.fetch_or(used.freed.load(Ordering::Relaxed), Ordering::Relaxed);
            used.inside.store(false, Ordering::Relaxed);
        }
    }

    fn free(&self) {
        self.freed.store(true, Ordering::Relaxed);
        self.misused.fetch_or(self.inside.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn check(&self) {
        assert!(!self.misused.load(Ordering::Relaxed), "a hook ran after its guard was gone");
    }
}

fn gone_with_the_guard() {
    let stage = Stage::running();
    let used = Arc::new(Used::default());
    let guard = token(&stage.cell).on_cancel(used.using());
    let freed = Arc::clone(&used);
    let body = thread::spawn(move || {
        drop(guard);
        freed.free();
    });
    cancel(&stage.cell, CancelReason::Stop);
    body.join().unwrap();
    used.check();
}

fn the_end_of_a_guard_waits() {
    let stage = Stage::running();
    let used = Arc::new(Used::default());
    let (body, freed) = (token(&stage.cell), Arc::clone(&used));
    let body = thread::spawn(move || {
        let first = body.on_cancel(freed.using());
        let second = body.on_cancel(freed.using());
        drop(first);
        drop(second);
        freed.free();
    });
    let cell = Arc::clone(&stage.cell);
    let other = thread::spawn(move || cell.run_hooks());
    cancel(&stage.cell, CancelReason::Stop);
    other.join().unwrap();
    body.join().unwrap();
    used.check();
}

fn what_it_holds_is_gone() {
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            thread::yield_now();
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stage = Stage::running();
    let gone = Arc::new(AtomicBool::new(false));
    let held = Held(Arc::clone(&gone));
    // Unlike one that runs once, it keeps what it holds when it has run.
    let guard = token(&stage.cell).on_cancel_every(LONG, move || {
        let _ = &held;
    });
    let body = thread::spawn(move || {
        drop(guard);
        assert!(gone.load(Ordering::Relaxed), "what the hook holds outlived the guard");
    });
    cancel(&stage.cell, CancelReason::Stop);
    body.join().unwrap();
}

fn a_guard_in_its_own_hook() {
    let stage = Stage::running();
    let own = Arc::new(Mutex::new(None));
    let found = Arc::clone(&own);
    let guard = token(&stage.cell).on_cancel(move || drop(found.lock().unwrap().take()));
    *own.lock().unwrap() = Some(guard);
    let cell = Arc::clone(&stage.cell);
    let controller = thread::spawn(move || cancel(&cell, CancelReason::Stop));
    thread::yield_now();
    controller.join().unwrap();
    assert!(own.lock().unwrap().is_none());
}

fn disarmed_or_run() {
    let stage = Stage::running();
    let (runs, inside) = (Count::default(), Arc::new(AtomicBool::new(false)));
    let (up, flag) = (runs.clone(), Arc::clone(&inside));
    let guard = token(&stage.cell).on_cancel(move || {
        flag.store(true, Ordering::Relaxed);
        thread::yield_now();
        up.up();
        flag.store(false, Ordering::Relaxed);
    });
    let seen = runs.clone();
    let body = thread::spawn(move || {
        let quiet = guard.disarm();
        (quiet, inside.load(Ordering::Relaxed), seen.get())
    });
    cancel(&stage.cell, CancelReason::Stop);
    let (quiet, inside, before) = body.join().unwrap();
    if quiet {
        assert!(!inside, "it was said not to run, and ran");
        assert_eq!(runs.get(), before, "it was said never to run again, and did");
    } else {
        assert_eq!(runs.get(), 1);
    }
}

/// A hook that is still registered runs once if the attempt was told, and never if it was not. One
/// that is registered once the token is cancelled runs at once.
fn told_returned_and_let_go() {
    let stage = Stage::running();
    let runs = Count::default();
    let (body, up) = (token(&stage.cell), runs.clone());
    let worker = thread::spawn(move || {
        let guard = body.on_cancel(move || up.up());
        let (seen, hooks) = body.0.returned(|_, _| true);
        drop(hooks);
        body.0.left();
        drop(guard);
        seen.told.is_some()
    });
    let (late, late_runs) = (token(&stage.cell), Count::default());
    let up = late_runs.clone();
    let other = thread::spawn(move || late.on_cancel(move || up.up()).forget());
    cancel(&stage.cell, CancelReason::Stop);
    let told = worker.join().unwrap();
    other.join().unwrap();
    assert!(runs.get() <= usize::from(told), "a hook ran in an attempt that was not told");
    assert!(late_runs.get() <= usize::from(stage.cell.reason().is_some()));
}

fn one_thread_is_asked_for() {
    let stage = Stage::running();
    let body = token(&stage.cell);
    let body = thread::spawn(move || body.on_cancel(|| ()).forget());
    token(&stage.cell).on_cancel(|| ()).forget();
    body.join().unwrap();
    assert_eq!(stage.last_resorts_asked(), 1);
}

/// Each registration asks again, as long as the answer was no.
fn a_refused_thread_is_asked_for() {
    let stage = Stage::running();
    token(&stage.cell).on_cancel(|| ()).forget();
    let bodies = [(); 2].map(|()| {
        let body = token(&stage.cell);
        thread::spawn(move || body.on_cancel(|| ()).forget())
    });
    assert!(stage.inbox.facts.recv().is_ok());
    stage.cell.record.door.last_resort_refused();
    token(&stage.cell).on_cancel(|| ()).forget();
    bodies.into_iter().for_each(|body| body.join().unwrap());
    assert_eq!(stage.last_resorts_asked(), 1);
}

/// A worker that has run the hook runs it again where that is due, as the pool would have it.
fn after_each_signal() {
    const SIGNALS: usize = 3;
    let (came, seen) = (Count::default(), Arc::new(AtomicUsize::new(0)));
    let running = Arc::new(AtomicBool::new(false));
    let (now, last, busy) = (came.clone(), Arc::clone(&seen), Arc::clone(&running));
    let hook = Arc::new(SignalHook::new(Signal::HUP, move || {
        assert!(!busy.swap(true, Ordering::Relaxed), "two at a time");
        last.store(now.get(), Ordering::Relaxed);
        busy.store(false, Ordering::Relaxed);
    }));
    let mut workers = Vec::new();
    for _ in 0..SIGNALS {
        came.up();
        if hook.ask() {
            let hook = Arc::clone(&hook);
            workers.push(thread::spawn(move || loop {
                assert!(hook.run().is_empty());
                if !hook.end() {
                    break;
                }
            }));
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(seen.load(Ordering::Relaxed), SIGNALS, "a signal was lost");
}
