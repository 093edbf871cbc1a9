//! [`NotQuiet`]: why a manual clock could not go on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::hook::RunningHook;
use crate::output::mark::Mark;
use crate::platform::stall::Stall;
use crate::vocabulary::id::TaskRef;

/// Describes a body, a cancel hook or a destructor that runs while a
/// [`ManualClock`](crate::ManualClock) waits for quiet.
///
/// ```
/// # use std::time::Duration;
/// use threadvisor::{prelude::*, ManualClock};
/// let clock = ManualClock::new().patience(Duration::from_millis(20));
/// let supervisor = Supervisor::builder().clock(&clock).start()?;
/// let (open, gate) = std::sync::mpsc::channel::<()>();
/// let blocks = TaskSpec::once("blocks", move |_| Ok(drop(gate.recv())));
/// supervisor.handle().add(blocks)?;
/// let not_quiet = clock.try_advance(Duration::from_secs(1)).unwrap_err();
/// assert_eq!(not_quiet.busy[0].task.name.as_ref(), "blocks");
/// drop(open);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusyAttempt {
    /// The task.
    pub task: TaskRef,
    /// The number of the attempt.
    pub attempt: u64,
    /// Whether a cancel hook of the attempt runs, and not its body.
    pub hook: bool,
    /// Whether the body is being dropped, or something that it left. The number of the attempt is
    /// that of the last one then; 0 if there was none.
    pub closing: bool,
    /// The name of the thread it runs on.
    pub thread: Option<Arc<str>>,
    /// The kernel's id of that thread. Linux only.
    pub tid: Option<u32>,
    /// The last [mark](crate::TaskContext::mark) of the body.
    pub mark: Option<Mark>,
    /// What the kernel knows about the thread: in which system call it is. If the thread waits for
    /// a process, this is about the process.
    pub stall: Option<Stall>,
}

impl fmt::Display for BusyAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.hook, self.closing) {
            (_, true) => write!(f, "a destructor of {}", self.task)?,
            (true, _) => write!(f, "a hook of {} attempt {}", self.task, self.attempt)?,
            (false, _) => write!(f, "{} attempt {}", self.task, self.attempt)?,
        }
        if let Some(thread) = &self.thread {
            write!(f, " on thread {thread}")?;
        }
        if let Some(mark) = &self.mark {
            write!(f, ", last at {mark:?}", mark = mark.label)?;
        }
        self.stall.as_ref().map_or(Ok(()), |stall| write!(f, ", {stall}"))
    }
}

/// An error returned from [`ManualClock::try_advance`](crate::ManualClock::try_advance): something
/// was still running when the clock's patience ended. Its text says what.
///
/// ```
/// # use std::time::Duration;
/// use threadvisor::{ManualClock, TaskContext};
/// let clock = ManualClock::new().patience(Duration::from_millis(20));
/// let (_ctx, _canceller) = TaskContext::detached_with(&clock); // it never sleeps
/// let not_quiet = clock.try_advance(Duration::from_secs(1)).unwrap_err();
/// assert_eq!((not_quiet.detached, not_quiet.busy.len()), (1, 0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NotQuiet {
    /// How long the clock waited, in real time.
    pub waited: Duration,
    /// How many due moments it had passed by then.
    pub steps: u64,
    /// The time that the clock shows: where it stopped.
    pub now: Duration,
    /// The bodies, hooks and destructors that run.
    pub busy: Vec<BusyAttempt>,
    /// The callbacks of [`on_signal`](crate::SupervisorBuilder::on_signal) and
    /// [`on_end`](crate::TaskHandle::on_end) that run.
    pub hooks: Vec<RunningHook>,
    /// The number of destructors that run and belong to no attempt, such as those of errors.
    pub drops: u32,
    /// The number of attempts, hooks and drops for which no thread could be started yet.
    pub unstarted: usize,
    /// The number of lanes whose subscribers are not done with their events.
    pub lanes: usize,
    /// The number of [detached](crate::TaskContext::detached_with) bodies that run.
    pub detached: usize,
    /// Whether the clock still took steps in the second half of the time, or nobody was busy. Then
    /// probably nothing hangs, but there was more to come than fits, and those named only happened
    /// to be running.
    pub more_to_come: bool,
    /// Whether the caller is a thread of a supervisor on this clock, which would wait for itself.
    pub own_thread: bool,
}

impl NotQuiet {
    pub(crate) fn after(waited: Duration, steps: u64, now: Duration) -> Self {
        let (busy, hooks) = (Vec::new(), Vec::new());
        let (drops, unstarted, lanes, detached) = (0, 0, 0, 0);
        Self {
            waited,
            steps,
            now,
            busy,
            hooks,
            drops,
            unstarted,
            lanes,
            detached,
            more_to_come: false,
            own_thread: false,
        }
    }

    /// Judges whether there was more to come: the clock was still taking steps, or nobody is busy.
    pub(crate) fn judged(mut self, takes_steps: bool) -> Self {
        let named = self.busy.len() + self.hooks.len() + self.unstarted + self.lanes;
        self.more_to_come = takes_steps || (named + self.detached == 0 && self.drops == 0);
        self
    }

    pub(crate) fn own_thread(now: Duration) -> Self {
        Self { own_thread: true, ..Self::after(Duration::ZERO, 0, now) }
    }
}

impl fmt::Display for NotQuiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own_thread {
            return f.write_str(
                "a body, hook or subscriber cannot advance the clock of its own supervisor: it \
                 would wait for itself; advance it from the thread of the test",
            );
        }
        write!(f, "not quiet after {:.1?}", self.waited)?;
        if self.steps > 0 {
            write!(f, " and {} steps, at {:?}", self.steps, self.now)?;
        }
        if self.more_to_come {
            f.write_str(
                "; probably there was more to come: take smaller steps, or more `patience`",
            )?;
        }
        let first = if self.more_to_come { "; just then:" } else { ":" };
        for (number, busy) in self.busy.iter().enumerate() {
            write!(f, "{} {busy}", if number == 0 { first } else { ";" })?;
        }
        for hook in &self.hooks {
            write!(f, "; {hook} runs")?;
        }
        if self.drops > 0 {
            write!(f, "; {} other destructors run", self.drops)?;
        }
        if self.unstarted > 0 {
            write!(f, "; {} wait for a thread", self.unstarted)?;
        }
        if self.lanes > 0 {
            write!(f, "; subscribers on {} lanes are not done", self.lanes)?;
        }
        if self.detached > 0 {
            let (count, them) = (self.detached, if self.detached == 1 { "body" } else { "bodies" });
            write!(
                f,
                "; {count} detached {them} busy: each must sleep, or have dropped its context"
            )?;
        }
        if self.busy.iter().any(|busy| !busy.hook && !busy.closing) && !self.more_to_come {
            f.write_str("; let a body wait by `sleep`, or `ignore` its task: see guide::testing")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotQuiet {}
