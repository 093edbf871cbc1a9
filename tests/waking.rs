//! A cancel wakes what blocks, whenever it comes: just before the call, just after, or at the very
//! moment. Each kind of call that the examples wake, round after round with other timings.
//!
//! `THREADVISOR_ROUNDS` sets how many rounds each kind has (200), `THREADVISOR_SEED` the first of
//! the seeds that a failure names.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

#[path = "it/runner.rs"]
mod runner;

use std::any::Any;
use std::hint;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, select, unbounded};
use threadvisor::prelude::*;
use threadvisor::CancelToken;

/// No round takes this long unless a cancel was lost.
const WATCHDOG: Duration = Duration::from_secs(60);

fn setting(name: &str, default: u32) -> u32 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn rounds() -> u32 {
    setting("THREADVISOR_ROUNDS", 200)
}

/// Small, seeded, and good enough for timings.
struct Dice(u32);

impl Dice {
    fn roll(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Turns of a spin loop: of any order of magnitude, from nothing to about a millisecond.
    fn spins(&mut self) -> u32 {
        let magnitude = self.roll() % 16;
        self.roll() % (1 << magnitude)
    }
}

/// Gives way now and then, or the thread that cancels might wait for this one's core.
fn spin(turns: u32) {
    for turn in 1..=turns {
        hint::spin_loop();
        if turn % 256 == 0 {
            thread::yield_now();
        }
    }
}

/// Waits without sleeping, so that what follows comes at once.
#[track_caller]
fn spin_until(what: &str, holds: impl Fn() -> bool) {
    let late = after(WATCHDOG);
    while !holds() {
        assert!(late.try_recv().is_err(), "{what}");
        spin(256);
    }
}

/// When the cancel comes, as far as that can be arranged.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The body is told before it registers its hook, or makes its descriptor.
    BeforeHook,
    /// The body is told between that and the call.
    BeforeCall,
    /// The call has probably begun.
    InCall,
    /// Nobody waits for anybody.
    Any,
}

/// One round, as its body sees it.
struct Round {
    moment: Moment,
    /// The body is where the cancel is to be asked for.
    here: AtomicBool,
    /// What the body does between that and the call, and the canceller before it cancels.
    spins: [u32; 3],
}

impl Round {
    fn meet(&self, token: &CancelToken, wait: bool) {
        self.here.store(true, Ordering::Release);
        if wait {
            spin_until("never told", || token.is_cancelled());
        }
    }

    /// The body calls this before it registers its hook,
    fn before_hook(&self, token: &CancelToken) {
        match self.moment {
            Moment::BeforeHook => self.meet(token, true),
            Moment::Any => self.meet(token, false),
            Moment::BeforeCall | Moment::InCall => {}
        }
        spin(self.spins[0]);
    }

    /// and this right before the call.
    fn before_call(&self, token: &CancelToken) {
        match self.moment {
            Moment::BeforeCall => self.meet(token, true),
            Moment::InCall => self.meet(token, false),
            Moment::BeforeHook | Moment::Any => {}
        }
        spin(self.spins[1]);
    }
}

/// All rounds, each with what a failure says of it. The next one begins when this one is over.
fn rounds_of(kind: &str) -> impl Iterator<Item = (String, Arc<Round>)> + '_ {
    let first_seed = setting("THREADVISOR_SEED", 1);
    (first_seed..first_seed.saturating_add(rounds())).map(move |seed| {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9) | 1);
        dice.roll();
        let moments = [Moment::BeforeHook, Moment::BeforeCall, Moment::InCall, Moment::Any];
        let moment = moments[seed as usize % moments.len()];
        let spins = [dice.spins(), dice.spins(), dice.spins()];
        let what = format!("{kind}, THREADVISOR_SEED={seed}: {moment:?}, {spins:?}");
        (what, Arc::new(Round { moment, here: AtomicBool::new(false), spins }))
    })
}

/// Runs a body that blocks for ever, and has the supervisor cancel it: `rounds()` times, at another
/// moment each time. The body must return because of that.
fn wake_supervised<F>(kind: &str, body: &Arc<F>)
where
    F: Fn(&TaskContext, &Round) -> io::Result<()> + Send + Sync + 'static,
{
    let supervisor = Supervisor::builder().start().unwrap();
    for (what, round) in rounds_of(kind) {
        let (run, its_round) = (Arc::clone(body), Arc::clone(&round));
        let spec = TaskSpec::once(kind, move |ctx| Ok(run(ctx, &its_round)?));
        let task = supervisor.handle().add(spec.no_slot().grace(WATCHDOG)).unwrap();
        spin_until(&what, || round.here.load(Ordering::Acquire) || task.outcome().is_some());
        spin(round.spins[2]);
        task.cancel();
        let outcome = task.wait_timeout(WATCHDOG).unwrap();
        let outcome = outcome.unwrap_or_else(|| panic!("{what}: hangs"));
        let woken = matches!(outcome, Outcome::Cancelled { returned: Some(Ok(())), .. });
        assert!(woken, "{what}: {outcome}");
    }
    let report = supervisor.shutdown().unwrap().shutdown;
    assert!(report.abandoned.is_empty(), "{kind}: {report}");
}

/// The same without a supervisor: cancelled by this thread, so that no message on its way blurs the
/// moment.
fn wake_detached<F>(kind: &str, body: &Arc<F>)
where
    F: Fn(&TaskContext, &Round) -> io::Result<()> + Send + Sync + 'static,
{
    let (orders, take) = unbounded::<(TaskContext, Arc<Round>)>();
    let (done, results) = unbounded();
    let run = Arc::clone(body);
    let serve = move || take.iter().for_each(|(ctx, round)| drop(done.send(run(&ctx, &round))));
    thread::Builder::new().spawn(serve).unwrap();
    for (what, round) in rounds_of(kind) {
        let (ctx, canceller) = TaskContext::detached();
        orders.send((ctx, Arc::clone(&round))).unwrap();
        spin_until(&what, || round.here.load(Ordering::Acquire) || !results.is_empty());
        spin(round.spins[2]);
        canceller.cancel();
        let result = results.recv_timeout(WATCHDOG);
        result
            .unwrap_or_else(|_| panic!("{what}: hangs"))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
    }
}

fn wake_each_round<F>(kind: &str, body: F)
where
    F: Fn(&TaskContext, &Round) -> io::Result<()> + Send + Sync + 'static,
{
    let body = Arc::new(body);
    wake_supervised(kind, &body);
    wake_detached(&format!("{kind}, detached"), &body);
}

#[test]
fn accept_is_woken_by_a_connection_to_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    wake_each_round("accept", move |ctx, round| {
        round.before_hook(ctx.token());
        let _hook = ctx.on_cancel(move || drop(TcpStream::connect(address)));
        round.before_call(ctx.token());
        listener.accept().map(drop)
    });
}

/// A stream to read from, what wakes its reader, and what must live on meanwhile.
type Line = (Box<dyn Read>, Box<dyn FnOnce() + Send>, Box<dyn Any>);

fn tcp_line(listener: &TcpListener, address: SocketAddr) -> io::Result<Line> {
    let stream = TcpStream::connect(address)?;
    let (waker, peer) = (stream.try_clone()?, listener.accept()?);
    let wake = move || waker.shutdown(Shutdown::Both).unwrap();
    Ok((Box::new(stream), Box::new(wake), Box::new(peer)))
}

/// Each TCP stream holds a port for a while after its end.
#[cfg(unix)]
fn unix_line() -> io::Result<Line> {
    let (stream, peer) = std::os::unix::net::UnixStream::pair()?;
    let waker = stream.try_clone()?;
    let wake = move || waker.shutdown(Shutdown::Both).unwrap();
    Ok((Box::new(stream), Box::new(wake), Box::new(peer)))
}

#[test]
fn a_stream_is_woken_by_shutting_it_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let opened = AtomicUsize::new(0);
    wake_each_round("stream", move |ctx, round| {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        #[cfg(unix)]
        let line = if number < 1000 { tcp_line(&listener, address) } else { unix_line() };
        #[cfg(not(unix))]
        let line = tcp_line(&listener, address);
        let (mut stream, wake, _peer) = line?;
        round.before_hook(ctx.token());
        let _hook = ctx.on_cancel(wake);
        round.before_call(ctx.token());
        assert_eq!(stream.read(&mut [0; 16])?, 0, "the peer sent nothing");
        Ok(())
    });
}

#[test]
fn a_udp_socket_is_woken_by_a_datagram_to_itself() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    wake_each_round("udp", move |ctx, round| {
        let waker = socket.try_clone()?;
        round.before_hook(ctx.token());
        let _hook = ctx.on_cancel(move || drop(waker.send_to(&[], address)));
        round.before_call(ctx.token());
        socket.recv_from(&mut [0; 16]).map(drop)
    });
}

/// A pseudo-terminal: its device's end, which must live on, and its port's.
#[cfg(unix)]
fn pty() -> io::Result<(std::fs::File, std::fs::File)> {
    use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
    use std::os::unix::ffi::OsStringExt;
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&device)?;
    unlockpt(&device)?;
    let path = std::ffi::OsString::from_vec(ptsname(&device, [])?.into_bytes());
    let port = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    Ok((device.into(), port))
}

#[cfg(unix)]
#[test]
fn poll_is_woken_by_the_cancel_descriptor() {
    use rustix::event::{poll, PollFd, PollFlags};
    let (_device, port) = pty().unwrap();
    wake_each_round("poll", move |ctx, round| {
        round.before_hook(ctx.token());
        let cancel = ctx.cancel_fd()?;
        round.before_call(ctx.token());
        let mut fds = [PollFd::new(&port, PollFlags::IN), PollFd::new(&cancel, PollFlags::IN)];
        poll(&mut fds, None)?;
        assert!(fds[0].revents().is_empty() && fds[1].revents().contains(PollFlags::IN));
        Ok(())
    });
}

#[cfg(all(unix, feature = "poll"))]
mod io_helpers {
    use super::*;

    /// What a helper returns when it was cancelled.
    fn expect_cancelled<T>(result: io::Result<T>) -> io::Result<()> {
        let error =
            result.err().ok_or("it came back without an error").map_err(io::Error::other)?;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        inner.map(|_: &Cancelled| ()).ok_or(error)
    }

    #[test]
    fn wait_readable_is_woken() {
        let (_device, port) = pty().unwrap();
        wake_each_round("wait_readable", move |ctx, round| {
            round.before_hook(ctx.token());
            round.before_call(ctx.token());
            expect_cancelled(ctx.wait_readable(&port, None))
        });
    }

    #[test]
    fn the_helper_for_accept_is_woken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        wake_each_round("ctx.accept", move |ctx, round| {
            round.before_hook(ctx.token());
            round.before_call(ctx.token());
            expect_cancelled(ctx.accept(&listener))
        });
    }
}

#[test]
fn select_is_woken_by_the_cancel_channel() {
    let (_jobs, queue) = unbounded::<u32>();
    wake_each_round("consumer", move |ctx, round| {
        round.before_hook(ctx.token());
        let cancelled = ctx.cancelled();
        round.before_call(ctx.token());
        select! {
            recv(queue) -> _ => Err(io::ErrorKind::InvalidData.into()),
            recv(cancelled) -> _ => Ok(()),
        }
    });
}

/// A call of a C library whose interrupt is lost unless the call runs.
#[derive(Default)]
struct EdgeLost {
    /// Whether the call runs, and whether it was interrupted.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl EdgeLost {
    fn call(&self) {
        let mut state = self.state.lock().unwrap();
        *state = (true, false);
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
        state.0 = false;
    }

    fn interrupt(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 = state.0;
        self.changed.notify_all();
    }
}

#[test]
fn a_call_that_loses_an_early_interrupt_is_woken_by_nudges() {
    // Supervised only: a detached context knows nobody who would nudge.
    let body = |ctx: &TaskContext, round: &Round| {
        let library = Arc::new(EdgeLost::default());
        let handle = Arc::clone(&library);
        round.before_hook(ctx.token());
        let nudge = ctx.on_cancel_every(Duration::from_millis(1), move || handle.interrupt());
        round.before_call(ctx.token());
        library.call();
        drop(nudge);
        // Nothing uses the handle once the guard is gone, so C could free it.
        Arc::try_unwrap(library).map(drop).map_err(|_| io::Error::other("in use"))
    };
    wake_supervised("nudge", &Arc::new(body));
}

/// What a hook uses may be freed after the guard is gone, however the two meet.
#[test]
fn a_hook_and_a_return_that_race_do_not_meet_after_the_guard() {
    let (hooks_run, used_after_free) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (ran, misused) = (Arc::clone(&hooks_run), Arc::clone(&used_after_free));
    wake_each_round("return", move |ctx, round| {
        let freed = Arc::new(AtomicBool::new(false));
        let (ran, misused, gone) = (Arc::clone(&ran), Arc::clone(&misused), Arc::clone(&freed));
        round.before_hook(ctx.token());
        let guard = ctx.on_cancel(move || {
            let before = gone.load(Ordering::Relaxed);
            spin(1000);
            misused
                .fetch_add(usize::from(before || gone.load(Ordering::Relaxed)), Ordering::Relaxed);
            ran.fetch_add(1, Ordering::Relaxed);
        });
        round.before_call(ctx.token());
        spin(round.spins[2]);
        drop(guard);
        freed.store(true, Ordering::Relaxed);
        spin_until("never told", || ctx.is_cancelled());
        Ok(())
    });
    assert_eq!(used_after_free.load(Ordering::Relaxed), 0);
    // At least in each round in which the body waited to be told before it registered the hook.
    assert!(hooks_run.load(Ordering::Relaxed) >= rounds() as usize / 2);
}

#[test]
fn a_body_that_is_told_before_it_hangs_up_its_hook_runs_it_itself() {
    wake_each_round("late hook", |ctx, round| {
        round.meet(ctx.token(), true);
        let (wake, woken) = mpsc::channel();
        let hook = move || wake.send(thread::current().id()).unwrap();
        let thread = ctx.interruptible(hook, || woken.recv().map_err(io::Error::other))?;
        assert_eq!(thread, thread::current().id());
        Ok(())
    });
}

#[test]
fn a_thousand_blocked_bodies_are_woken_within_the_grace() {
    const BODIES: usize = 1000;
    let blocked = Arc::new(AtomicUsize::new(0));
    let supervisor = Supervisor::builder().stack_size(128 * 1024).start().unwrap();
    let specs = (0..BODIES).map(|number| {
        let blocked = Arc::clone(&blocked);
        TaskSpec::once(format!("body {number}"), move |ctx| {
            let (wake, woken) = mpsc::channel();
            let call = || {
                blocked.fetch_add(1, Ordering::Relaxed);
                woken.recv()
            };
            Ok(ctx.interruptible(move || wake.send(()).unwrap(), call)?)
        })
    });
    supervisor.handle().add_all(specs).unwrap();
    spin_until("some never ran", || blocked.load(Ordering::Relaxed) == BODIES);
    let report = supervisor.shutdown().unwrap().shutdown;
    println!("{report}");
    assert_eq!((report.stopped, report.abandoned.len()), (BODIES, 0), "{report}");
}

/// As they were built beside this test: `cargo test` builds all, `cargo test --test waking` none.
#[test]
fn the_examples_end_by_themselves_and_well() {
    let names = ["accept", "stream", "udp", "serial", "consumer", "nudge", "stuck", "watchdog"];
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(Path::parent).unwrap().join("examples");
    let (ended, ends) = unbounded();
    let mut running = 0;
    for name in names {
        let example = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !example.exists() {
            println!("{name} was not built");
            continue;
        }
        let mut words = runner::runner();
        words.push(example.to_string_lossy().into_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        running += 1;
        let ended = ended.clone();
        let wait = move || drop(ended.send((name, child.wait_with_output().unwrap())));
        thread::Builder::new().spawn(wait).unwrap();
    }
    for _ in 0..running {
        let (name, output) = ends.recv_timeout(WATCHDOG).expect("an example hangs");
        assert!(output.status.success(), "{name}: {output:#?}");
    }
}
