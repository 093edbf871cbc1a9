//! One process, from its start until it is reaped, on the thread of its attempt.
//!
//! ```text
//! Running ──told──► Stopping ──too long──► Killed
//!    │ exits           │ exits               │ exits
//!    │                 ├──► Helpers ─────────┤ none is left, or too long
//!    ▼                 ▼                     ▼
//!    └──────────────► Draining ◄─────────────┘ ──► reaped
//! ```
//!
//! The thread waits in one place, for whatever comes first: the end of the process, output, the
//! cancel, or the next moment at which something is due. The process is reaped last: until then its
//! number, which is also that of its group, belongs to nobody else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::exit::{self, Ended, ProcessExit};
use super::group;
#[cfg(target_os = "linux")]
use super::notify::Notify;
use super::output::{self, Kept, Pipe, Take};
use super::ready::{Awaited, ReadySign, BETWEEN_TRIES};
use super::settings::Settings;
use super::start::start;
use crate::output::error::TaskResult;
use crate::output::event::EventKind;
use crate::output::output_line::{OutputLine, OutputStream};
use crate::platform::children::{Child, Children, Whom};
use crate::platform::clock::RealClock;
use crate::platform::unwind;
use crate::platform::wait_fd::{find_ended, until_ended, Prepared, WaitFd};
use crate::task::context::TaskContext;
use crate::task::fact::Fact;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::{RealTime, Seconds};

#[path = "stop.rs"]
mod stop;

pub(super) type OnLine = Box<dyn FnMut(&TaskContext, &OutputLine<'_>) + Send>;

/// Runs a process. Returns what it has written as well, if that is wanted.
pub(super) fn run(
    command: &mut Command,
    settings: &Settings,
    mut on_line: Option<&mut OnLine>,
    ctx: &TaskContext,
    keeps: bool,
) -> TaskResult<(ProcessExit, Vec<Kept>)> {
    ctx.check()?;
    let (task, heard) = (ctx.record().task_ref(), on_line.is_some());
    let listener = ctx.record().door.output.get().filter(|_| settings.output.capture);
    let mut awaited = Awaited::new(settings.ready_by.as_ref());
    let mut take = |stream, text: &str, cut| {
        awaited.line(ctx, text);
        let (task, attempt) = (&task, ctx.attempt());
        let line = OutputLine { task, attempt, stream, text, cut, lost: 0 };
        if let Some(listener) = listener {
            listener.push(&line);
        }
        if let Some(on_line) = &mut on_line {
            on_line(ctx, &line);
        }
    };
    let piped = settings.output.capture || settings.hears() || heard || keeps;
    let mut running = Running::start(command, settings, ctx, piped, keeps)?;
    running.watch(&mut take);
    running.end(&mut take)
}

struct Running<'a> {
    ctx: &'a TaskContext,
    settings: &'a Settings,
    children: &'a Children,
    clock: RealClock,
    child: Child,
    process: std::process::Child,
    started_at: RealTime,
    wait: Option<WaitFd>,
    pipes: Vec<Pipe>,
    told: Told,
    cancel: BorrowedFd<'a>,
    /// What it was sent to stop, if it was.
    asked: Option<Signal>,
    /// Why it was killed, if it was.
    killed: Option<String>,
    /// How it ended, and after what time; without a status if somebody else has reaped it.
    end: Option<(Option<ExitStatus>, Duration)>,
    /// Somebody else has reaped it, so that its number may belong to anybody.
    stolen: bool,
    reaped: bool,
    awaited: Awaited<'a>,
    #[cfg(target_os = "linux")]
    notify: Option<Notify>,
}

/// Whether the attempt was told to return.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
    /// Its grace was made shorter after that.
    Hurried,
}

#[derive(Clone, Copy)]
enum Stage {
    Running,
    /// It was told, and has until then.
    Stopping {
        told_at: RealTime,
        kill_at: RealTime,
    },
    /// Nobody survives that, but it may take time.
    Killed,
    /// It has ended, and others of its group have not. The next look at them, and the pause before.
    Helpers {
        told_at: RealTime,
        kill_at: RealTime,
        look_at: RealTime,
        pause: Duration,
    },
    /// It has ended; what is left in the pipes is read.
    Draining {
        until: RealTime,
        quiet_at: RealTime,
    },
}

impl<'a> Running<'a> {
    fn start(
        command: &mut Command,
        settings: &'a Settings,
        ctx: &'a TaskContext,
        piped: bool,
        keeps: bool,
    ) -> TaskResult<Self> {
        // Whatever can be refused comes first, so that there is no process yet.
        let cancel = ctx.cancel_fd()?;
        let prepared = Prepared::new()?;
        #[cfg(target_os = "linux")]
        let notify = match settings.ready_by {
            Some(ReadySign::Notify) => {
                let (notify, name) = Notify::new()?;
                command.env("NOTIFY_SOCKET", name);
                Some(notify)
            }
            _ => None,
        };
        let merged = if piped && settings.output.merge_stderr {
            let (reader, writer) = output::new_pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            Some(reader)
        } else {
            if piped {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            None
        };

        let door = &ctx.record().door;
        let (clock, children) = (door.clock.real, &door.children);
        let started_at = clock.now();
        let started = start(command, settings.reload_signal, ctx);
        if piped {
            // The command keeps what it was given: the next process may not be read from, and a
            // writing end that stays open has no end.
            command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        }
        let (child, process) = started?;
        let mut running = Self {
            ctx,
            settings,
            children,
            clock,
            child,
            process,
            started_at,
            wait: None,
            pipes: Vec::new(),
            told: Told::No,
            cancel,
            asked: None,
            killed: None,
            end: None,
            stolen: false,
            reaped: false,
            awaited: Awaited::new(settings.ready_by.as_ref()),
            #[cfg(target_os = "linux")]
            notify,
        };
        running.post(EventKind::ProcessStarted { attempt: ctx.attempt(), pid: child.number() });
        if ctx.token().0.is_abandoned() {
            // Whoever has abandoned the attempt may have looked before the process was there.
            children.signal(child.pid, Signal::KILL, Whom::Group);
        }
        let mut pipe = |stream, fd: std::os::fd::OwnedFd| {
            running.pipes.push(Pipe::new(stream, fd, settings.output.max_line, keeps)?);
            io::Result::Ok(())
        };
        if let Some(fd) = running.process.stdout.take().map(Into::into).or(merged) {
            pipe(OutputStream::Stdout, fd)?;
        }
        if let Some(fd) = running.process.stderr.take() {
            pipe(OutputStream::Stderr, fd.into())?;
        }
        running.wait = Some(prepared.watch(child.pid)?);
        running.awaited.started(ctx);
        Ok(running)
    }

    /// Waits until the process has ended and has nothing more to say.
    fn watch(&mut self, take: Take<'_>) {
        let (mut stage, mut buffer) = (Stage::Running, vec![0; READ]);
        let mut try_at = self.clock.now();
        loop {
            if self.told == Told::No && self.ctx.is_cancelled() {
                self.told = Told::Yes;
                stage = self.tell(stage);
            }
            stage = self.advance(stage);
            if matches!(stage, Stage::Running) && try_at <= self.clock.now() {
                try_at = self.try_port();
            }
            let open = self.pipes.iter().any(|pipe| pipe.fd().is_some());
            let now = self.clock.now();
            let due = match stage {
                Stage::Draining { until, quiet_at } if !open || until.min(quiet_at) <= now => {
                    return
                }
                Stage::Draining { until, quiet_at } => until.min(quiet_at),
                Stage::Stopping { kill_at, .. } => kill_at,
                Stage::Helpers { kill_at, look_at, .. } => kill_at.min(look_at),
                Stage::Running => try_at,
                Stage::Killed => RealTime::NEVER,
            };
            let looks = self.told == Told::Yes && !SEES_HANG_UP;
            let due = if looks { due.min(now.after(BETWEEN_LOOKS)) } else { due };
            let (ended, readable, hurried) = self.poll(stage, due);
            if hurried {
                self.told = Told::Hurried;
            }
            if hurried || looks {
                stage = self.hurry(stage);
            }

            let mut heard = false;
            for (pipe, _) in self.pipes.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
                heard |= pipe.read(&mut buffer, take);
            }
            if heard {
                self.note_output();
            }
            if let (true, Stage::Draining { quiet_at, .. }) = (heard, &mut stage) {
                *quiet_at = self.clock.now().after(QUIET);
            }
            if ended && self.has_ended() {
                stage = self.ended(stage);
            }
        }
    }

    /// Returns when to try again.
    fn try_port(&mut self) -> RealTime {
        self.awaited.try_port(self.ctx);
        let waits = self.awaited.tries_port();
        if waits {
            self.clock.now().after(BETWEEN_TRIES)
        } else {
            RealTime::NEVER
        }
    }

    fn note_output(&mut self) {
        self.awaited.heard(self.ctx);
        if self.settings.output.heartbeat {
            self.ctx.heartbeat();
        }
    }

    /// Waits for what this stage waits for: whether the process may have ended, which pipes have
    /// something, and whether the grace is shorter now.
    fn poll(&self, stage: Stage, due: RealTime) -> (bool, [bool; 2], bool) {
        let lives = matches!(stage, Stage::Running | Stage::Stopping { .. } | Stage::Killed);
        let wait = self.wait.as_ref().filter(|_| lives);
        // Once it is readable or has hung up, it is so for ever.
        let cancel_flags = match self.told {
            Told::No => Some(PollFlags::IN),
            Told::Yes => Some(PollFlags::empty()),
            Told::Hurried => None,
        };
        let pipes = self.pipes.iter().filter_map(Pipe::fd);
        #[cfg(target_os = "linux")]
        let notify = self.notify.as_ref().filter(|_| lives);
        let fds = wait.map(AsFd::as_fd).into_iter().chain(pipes);
        #[cfg(target_os = "linux")]
        let fds = fds.chain(notify.map(Notify::fd));
        let fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let cancel = cancel_flags.map(|flags| PollFd::from_borrowed_fd(self.cancel.as_fd(), flags));
        let mut fds: Vec<_> = fds.chain(cancel).collect();
        let left = self.clock.remaining(due).and_then(|left| Timespec::try_from(left).ok());
        if poll(&mut fds, left.as_ref()).is_err() {
            // Interrupted: the next turn waits again.
            return (false, [false; 2], false);
        }

        let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
        let ended = wait.is_some() && found.next().unwrap_or(false);
        let mut readable = [false; 2];
        for (pipe, readable) in self.pipes.iter().zip(&mut readable) {
            *readable = pipe.fd().is_some() && found.next().unwrap_or(false);
        }
        #[cfg(target_os = "linux")]
        if let Some(notify) = notify.filter(|_| found.next().unwrap_or(false)) {
            notify.receive(self.ctx, self.child.pid);
        }
        let hurried = self.told == Told::Yes && found.next().unwrap_or(false);
        (ended, readable, hurried)
    }

    /// Whether it has really ended, and can be reaped. Tells of that once.
    fn has_ended(&mut self) -> bool {
        if self.end.is_some() {
            return true;
        }
        let found = find_ended(self.child.pid);
        let Some(status) = found.map_or_else(|_| Some(None), |found| found.map(Some)) else {
            return false;
        };
        // What it has said last is told before its end; but a helper may never be silent.
        #[cfg(target_os = "linux")]
        if let Some(notify) = &self.notify {
            let _ = (0..1000).find(|_| !notify.receive(self.ctx, self.child.pid));
        }
        if self.killed.is_none() && self.ctx.token().0.is_abandoned() {
            self.killed = Some("killed: it outlived its grace".to_owned());
        }
        let ran = self.started_at.until(self.clock.now());
        self.stolen = status.is_none();
        if self.stolen {
            self.children.forget(&self.child);
        }
        self.end = Some((status, ran));
        let ((code, signal), pid) = (exit::parts(status), self.child.number());
        self.post(EventKind::ProcessExited { attempt: self.ctx.attempt(), pid, code, signal, ran });
        true
    }

    /// The number of a process that somebody else has reaped may be that of a stranger.
    fn send(&self, signal: Signal, whom: Whom) {
        if !self.stolen {
            self.children.signal(self.child.pid, signal, whom);
        }
    }

    fn post(&self, kind: EventKind) {
        let record = self.ctx.record();
        record.door.post(Fact::Process { record: Arc::clone(record), kind });
    }

    fn end(mut self, take: Take<'_>) -> TaskResult<(ProcessExit, Vec<Kept>)> {
        self.warn_of_loss();
        for pipe in &mut self.pipes {
            pipe.end(take);
        }
        // Those that came while others were killed.
        if self.asked.is_some() || !self.settings.leave_helpers {
            self.send(Signal::KILL, Whom::Group);
        }
        let exit = self.reap().judge(&self.settings.codes)?;
        let kept = std::mem::take(&mut self.pipes).into_iter().map(Pipe::into_kept).collect();
        Ok((exit, kept))
    }

    /// Says once that the pipes of a process that has ended were not read to their end: whoever
    /// starts such a program can mend that.
    fn warn_of_loss(&self) {
        let is_held = self.pipes.iter().any(|pipe| pipe.fd().is_some());
        if is_held && !self.settings.has_warned.replace(true) {
            let task = self.ctx.record().task_ref();
            // A logger is user code.
            let _ = unwind::catch(|| {
                log::warn!(
                    target: "threadvisor",
                    "the output of {task} was not read to its end, and the rest is lost: if a \
                     process outlives that of the task and holds it open, redirect its output; \
                     otherwise let on_line or on_output be quicker"
                );
            });
        }
    }

    fn reap(&mut self) -> Ended {
        self.has_ended();
        let (status, ran) = self.end.unwrap_or_default();
        let is_late = self.ctx.token().0.not_ready().is_some();
        let sign = self.settings.ready_by.as_ref().filter(|_| is_late);
        self.reaped = true;
        if !self.stolen {
            let _ = self.children.reap(&self.child, &mut self.process);
        }
        let last_lines = self.pipes.iter().rev().map(Pipe::last_lines);
        let last_lines = last_lines.map(|lines| lines.cloned().collect::<Vec<_>>());
        let last_lines = last_lines.into_iter().find(|lines| !lines.is_empty());
        Ended {
            pid: self.child.number(),
            status,
            ran,
            asked: self.asked,
            killed: self.killed.take(),
            last_lines: last_lines.unwrap_or_default(),
            missed: sign.map(ReadySign::missed),
        }
    }
}

/// After an error or a panic, nothing is left of the process either.
impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if !self.stolen {
            self.send(Signal::KILL, Whom::Group);
            // Not while the lock of all processes is held.
            until_ended(self.child.pid);
        }
        self.reap();
    }
}

/// Whether a hang-up ends a poll that waits for nothing else. Where it does not, the time that is
/// left to a process that was told is looked at again and again.
const SEES_HANG_UP: bool = cfg!(any(target_os = "linux", target_os = "android"));
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How much is read at once.
const READ: usize = 16 * 1024;

/// How long a pipe that somebody else holds open is read after the end of the process, without a
/// byte.
const QUIET: Duration = Duration::from_millis(100);
