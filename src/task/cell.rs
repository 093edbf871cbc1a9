//! The cell of one attempt: what worker, controller and body share about it, under one lock.
//!
//! ```text
//! Offered ──claim (worker)──► Claimed ──return──► Leaving ──► Returned (worker)
//!    └─────revoke (controller)──► Revoked
//! ```
//!
//! While `Claimed`, and only then, the controller may tell and abandon, and until it was told the
//! body may extend its deadline. Every order says what it found, so that an order which comes too
//! late does no harm. The cell is also the cancel token: sticky, first reason wins, and fresh for
//! each attempt, so that an old cancel cannot hit a new attempt.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::error::{Cancelled, ExtendError, TaskError};
use crate::platform::clock::Clock;
use crate::platform::sync::atomic::{AtomicU8, Ordering};
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::unwind;
use crate::task::body::Body;
use crate::task::door::Door;
use crate::task::hook::Hook;
use crate::task::leftover::Leftover;
use crate::task::pulse::Pulse;
use crate::task::record::Record;
use crate::task::request::Request;
use crate::vocabulary::answer::TellAnswer;
use crate::vocabulary::id::{AttemptRef, TaskAddr, TaskKey};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

pub(crate) struct Cell {
    pub(crate) record: Arc<Record>,
    pub(crate) attempt: AttemptRef,
    /// The reason, or `NOT_TOLD`: a copy of what is under the lock, for reading without it.
    told: AtomicU8,
    /// It was offered with bodies of earlier owners of its slot.
    inherits: bool,
    /// Signs of life, for the watchdog.
    pub(crate) pulse: Pulse,
    state: Mutex<State>,
    /// Signalled when told; waited on by the body's sleeps.
    changed: Condvar,
    #[cfg(unix)]
    fd: crate::platform::wake_fd::WakeFd,
}

struct State {
    phase: Phase,
    claimed_at: Time,
    /// Until told: when the attempt is overdue. Then: when its grace ends.
    until: Time,
    /// The latest deadline that the body may ask for; `None` if it may not ask.
    max_until: Option<Time>,
    /// The body will not run again, whatever it returns.
    finalized: bool,
    abandoned: bool,
    /// Who runs it, once claimed.
    thread: Option<Thread>,
    /// Made when first asked for; disconnected by dropping the sender.
    done: Option<(Option<Sender<Infallible>>, Receiver<Infallible>)>,
    hooks: Vec<Armed>,
    /// When the controller was asked to have nudges run again: one wake-up serves them all.
    nudge_due: Time,
    /// Some thread runs the hooks.
    hooks_run: bool,
}

enum Phase {
    Offered(Load),
    Claimed,
    /// The body has returned; what it leaves is being dropped, which may take long as well.
    Leaving {
        last: bool,
    },
    Returned,
    Revoked,
}

/// The thread that runs an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) name: Arc<str>,
    /// The kernel's number for it, on Linux.
    pub(crate) tid: Option<u32>,
}

/// A hook, and when it is to be run (again) once the token is cancelled.
pub(crate) struct Armed {
    hook: Arc<Hook>,
    due: Time,
}

/// What an attempt carries to its worker.
pub(crate) struct Load {
    pub(crate) body: Body,
    /// Bodies of earlier owners of the slot, to be dropped before this one starts.
    pub(crate) inherited: Vec<Leftover>,
    pub(crate) allowance: Allowance,
    /// Failures since the last success, and the latest of them.
    pub(crate) failures: u32,
    pub(crate) last_failure: Option<TaskError>,
}

/// How long an attempt may run, and how long it may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_timeout: Option<Duration>,
}

/// What the worker finds when the body has returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    /// The body will not run again.
    pub(crate) last: bool,
}

/// A hook that runs longer than this is worth an event.
pub(crate) const SLOW_HOOK: Duration = Duration::from_millis(100);

const NOT_TOLD: u8 = u8::MAX;
const REASONS: [CancelReason; 6] = [
    CancelReason::Stop,
    CancelReason::Replace,
    CancelReason::Shutdown,
    CancelReason::Timeout,
    CancelReason::Unresponsive,
    CancelReason::Restart,
];

impl Cell {
    pub(crate) fn offer(record: Arc<Record>, attempt: AttemptRef, load: Load) -> Self {
        Self::new(record, attempt, Phase::Offered(load))
    }

    /// The cell of an attempt that no supervisor knows of.
    pub(crate) fn detached(record: Arc<Record>) -> Self {
        let task = TaskAddr { key: TaskKey(0), id: record.id };
        Self::new(record, AttemptRef { task, attempt: 1 }, Phase::Claimed)
    }

    fn new(record: Arc<Record>, attempt: AttemptRef, phase: Phase) -> Self {
        Self {
            record,
            attempt,
            told: AtomicU8::new(NOT_TOLD),
            inherits: matches!(&phase, Phase::Offered(load) if !load.inherited.is_empty()),
            pulse: Pulse::default(),
            state: Mutex::new(State {
                phase,
                claimed_at: Time::ZERO,
                until: Time::NEVER,
                max_until: None,
                finalized: false,
                abandoned: false,
                thread: None,
                done: None,
                hooks: Vec::new(),
                nudge_due: Time::NEVER,
                hooks_run: false,
            }),
            changed: Condvar::new(),
            #[cfg(unix)]
            fd: crate::platform::wake_fd::WakeFd::default(),
        }
    }

    /// Worker: takes the attempt up, with all it carries, and says when. `None` if it was revoked.
    pub(crate) fn claim(&self, thread: &Thread) -> Option<(Load, Time)> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Claimed) {
            Phase::Offered(load) => {
                state.thread = Some(thread.clone());
                let at = self.begin(&mut state, load.allowance);
                Some((load, at))
            }
            other => {
                state.phase = other;
                None
            }
        }
    }

    /// Worker: what must be gone before the attempt is claimed.
    pub(crate) fn inherited(&self) -> Vec<Leftover> {
        if !self.inherits {
            return Vec::new();
        }
        match &self.state.lock().phase {
            Phase::Offered(load) => load.inherited.clone(),
            Phase::Claimed | Phase::Leaving { .. } | Phase::Returned | Phase::Revoked => Vec::new(),
        }
    }

    fn begin(&self, state: &mut State, allowance: Allowance) -> Time {
        let now = self.clock().now();
        state.claimed_at = now;
        if self.reason().is_none() {
            state.until = allowance.timeout.map_or(Time::NEVER, |timeout| now.after(timeout));
        }
        state.max_until = match allowance.timeout {
            Some(_) => allowance.max_timeout.map(|most| now.after(most)),
            None => Some(Time::NEVER),
        };
        now
    }

    /// Worker: the body has returned, and the token is not cancelled any more. What is decided now
    /// is whether it was the last time. The hooks left behind will never run, and come back to be
    /// dropped.
    pub(crate) fn returned(
        &self,
        is_final: impl FnOnce(Option<CancelReason>, Time) -> bool,
    ) -> (Seen, Vec<Armed>) {
        let mut state = self.state.lock();
        let (told, at) = (self.reason(), self.clock().now());
        let last = state.finalized || (!state.abandoned && is_final(told, at));
        state.phase = Phase::Leaving { last };
        let seen = Seen { claimed_at: state.claimed_at, at, told, last };
        (seen, std::mem::take(&mut state.hooks))
    }

    /// Worker: everything is dropped. Nothing the controller orders reaches the attempt any more.
    pub(crate) fn left(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Returned;
        // Who was given up is about to be named.
        if !state.abandoned {
            state.thread = None;
        }
    }

    /// Controller: takes the attempt back, or says when it was claimed.
    pub(crate) fn revoke(&self) -> Result<Load, Time> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Revoked) {
            Phase::Offered(load) => Ok(load),
            other => {
                state.phase = other;
                Err(state.claimed_at)
            }
        }
    }

    /// Controller: cancels the token; the first reason counts.
    pub(crate) fn tell(&self, reason: CancelReason, now: Time, grace_until: Time) -> TellAnswer {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Claimed) {
            return TellAnswer::AlreadyReturned;
        }
        if self.reason().is_some() {
            return TellAnswer::Told;
        }
        if reason == CancelReason::Timeout && state.until > now {
            return TellAnswer::DeadlineMoved(state.until);
        }
        let position = REASONS.iter().position(|&known| known == reason).unwrap_or_default();
        self.told.store(u8::try_from(position).unwrap_or_default(), Ordering::Release);
        state.until = grace_until;
        if let Some((sender, _)) = &mut state.done {
            *sender = None;
        }
        self.changed.notify_all();
        #[cfg(unix)]
        self.fd.wake();
        TellAnswer::Told
    }

    /// Controller: a told attempt's body will not run again, and its grace ends then.
    pub(crate) fn finalize(&self, grace_until: Time) {
        let mut state = self.state.lock();
        state.finalized = true;
        // One that was not told, having asked for more time, is about to be.
        if self.reason().is_some() {
            state.until = grace_until;
        }
    }

    /// Controller: gives up an attempt whose grace is over; says whether its body will not run
    /// again. `None` if it has returned, or was not told.
    pub(crate) fn abandon(&self) -> Option<bool> {
        let mut state = self.state.lock();
        let last = match state.phase {
            // One that was not told, having asked for more time, is not given up either.
            Phase::Claimed if self.reason().is_some() => state.finalized,
            Phase::Leaving { last } => last,
            Phase::Claimed | Phase::Offered(_) | Phase::Returned | Phase::Revoked => return None,
        };
        state.abandoned = true;
        Some(last)
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Revoked)
    }

    /// When the attempt was claimed, if it was; it may have returned since.
    pub(crate) fn claimed_at(&self) -> Option<Time> {
        let state = self.state.lock();
        match state.phase {
            Phase::Claimed | Phase::Leaving { .. } | Phase::Returned => Some(state.claimed_at),
            Phase::Offered(_) | Phase::Revoked => None,
        }
    }

    /// Whether a thread is in the body.
    pub(crate) fn is_claimed(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Claimed | Phase::Leaving { .. })
    }

    /// The thread that runs the attempt.
    pub(crate) fn thread(&self) -> Option<Thread> {
        self.state.lock().thread.clone()
    }

    pub(crate) fn reason(&self) -> Option<CancelReason> {
        REASONS.get(usize::from(self.told.load(Ordering::Acquire))).copied()
    }

    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        self.reason().map_or(Ok(()), |reason| Err(Cancelled::new(reason)))
    }

    /// Sleeps until `span` has passed, or the token is cancelled.
    pub(crate) fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        let due = self.clock().now().after(span);
        let instant = self.clock().instant(due);
        let mut state = self.state.lock();
        loop {
            self.check()?;
            match instant {
                None => self.changed.wait(&mut state),
                Some(_) if self.clock().now() >= due => return Ok(()),
                Some(instant) => {
                    self.changed.wait_until(&mut state, instant);
                }
            }
        }
    }

    /// A channel that disconnects when the token is cancelled.
    pub(crate) fn done(&self) -> Receiver<Infallible> {
        let mut state = self.state.lock();
        let told = self.reason().is_some();
        let (_, receiver) = state.done.get_or_insert_with(|| {
            let (sender, receiver) = channel::bounded(0);
            (Some(sender).filter(|_| !told), receiver)
        });
        receiver.clone()
    }

    /// A descriptor that is readable for ever once the token is cancelled.
    #[cfg(unix)]
    pub(crate) fn fd(&self) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
        let fd = self.fd.get()?;
        // Who told before the descriptor was there could not wake it. The lock orders the two.
        let _state = self.state.lock();
        if self.reason().is_some() {
            self.fd.wake();
        }
        Ok(fd)
    }

    /// When the attempt should be over: its deadline until it is told, then the end of its grace.
    pub(crate) fn until(&self) -> Time {
        self.state.lock().until
    }

    /// Body: moves the deadline to `span` from now, unless it is later already.
    pub(crate) fn extend(&self, span: Duration) -> Result<(), ExtendError> {
        let mut state = self.state.lock();
        self.check().map_err(ExtendError::Cancelled)?;
        let wanted = self.clock().now().after(span);
        let Some(most) = state.max_until else { return Err(ExtendError::NoMaxTimeout) };
        if state.until.is_never() {
            return Ok(());
        }
        if wanted > most {
            return Err(ExtendError::BeyondMaxTimeout { left: self.clock().now().until(most) });
        }
        state.until = state.until.max(wanted);
        Ok(())
    }

    /// Body: hangs a hook on the token. If that is cancelled already, the hook runs now, here.
    pub(crate) fn hook(self: &Arc<Self>, hook: &Arc<Hook>) {
        let mut state = self.state.lock();
        let told = self.reason().is_some();
        if !told && matches!(state.phase, Phase::Leaving { .. } | Phase::Returned) {
            // Never to be cancelled: the guard keeps what is left.
            return;
        }
        let due = match (told, hook.period) {
            (false, _) => Time::ZERO,
            // Once the body has returned, nobody is left to be woken again.
            (true, Some(period)) if matches!(state.phase, Phase::Claimed) => {
                self.clock().now().after(period)
            }
            (true, _) => Time::NEVER,
        };
        state.hooks.push(Armed { hook: Arc::clone(hook), due });
        let sooner = told && due < state.nudge_due;
        if sooner {
            state.nudge_due = due;
        }
        drop(state);
        if told {
            let began = self.clock().now();
            self.run_hook(Arc::clone(hook));
            let ran = began.until(self.clock().now());
            if ran > SLOW_HOOK {
                self.door().send(Request::HookSlow { cell: Arc::clone(self), ran });
            }
            if sooner {
                self.door().send(Request::Nudge { cell: Arc::clone(self), due });
            }
        } else {
            self.door().want_hook_thread();
        }
    }

    /// Runs the hooks that are due, in the order in which they were hung up. Says when one is due
    /// again. One thread at a time does so for an attempt.
    pub(crate) fn run_hooks(self: &Arc<Self>) -> Option<Time> {
        if std::mem::replace(&mut self.state.lock().hooks_run, true) {
            return None;
        }
        // Each hook once at most: a nudge that takes longer than its period must not starve the
        // others.
        let now = self.clock().now();
        loop {
            let mut state = self.state.lock();
            let Some(armed) = state.hooks.iter_mut().find(|armed| armed.due <= now) else {
                state.hooks_run = false;
                if state.nudge_due <= self.clock().now() {
                    state.nudge_due = Time::NEVER;
                }
                let next = state.hooks.iter().map(|armed| armed.due).min();
                let next = next.filter(|due| *due < state.nudge_due)?;
                state.nudge_due = next;
                return Some(next);
            };
            armed.due = armed.hook.period.map_or(Time::NEVER, |period| now.after(period));
            let hook = Arc::clone(&armed.hook);
            drop(state);
            self.run_hook(hook);
        }
    }

    fn run_hook(self: &Arc<Self>, hook: Arc<Hook>) {
        let panicked = hook.run();
        if hook.is_spent() {
            self.unhook(&hook);
        }
        // A body that has returned meanwhile leaves the last reference to us.
        let dropped = unwind::drop_caught(hook).err();
        if let Some(message) = panicked.or(dropped) {
            self.door().send(Request::HookPanicked { cell: Arc::clone(self), message });
        }
    }

    /// Whether a cancel leaves something to be run.
    pub(crate) fn has_hooks(&self) -> bool {
        !self.state.lock().hooks.is_empty()
    }

    /// The guard of a hook is gone: the hook need not be kept.
    pub(crate) fn unhook(&self, hook: &Arc<Hook>) {
        self.state.lock().hooks.retain(|armed| !Arc::ptr_eq(&armed.hook, hook));
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.door().clock
    }

    fn door(&self) -> &Door {
        &self.record.door
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("told", &self.reason()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
