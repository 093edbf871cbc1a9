//! [`Program`]: what a user says of a program that runs as a task.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::exit::ProcessExit;
use super::group;
use super::output::ProcessOutput;
use super::ready::ReadySign;
use super::run::{self, OnLine};
use super::settings::Settings;
use crate::output::error::{TaskError, TaskResult};
use crate::output::output_line::OutputLine;
use crate::output::setting_errors::InvalidSetting;
use crate::platform::children::Whom;
use crate::task::context::TaskContext;
use crate::task::settings::Setting;
use crate::task::spec::TaskSpec;
use crate::vocabulary::signal::Signal;

/// Describes a program, and how its processes are stopped, watched and judged: for
/// [`TaskSpec::process`], or for a body of your own that calls [`run`](Self::run). The page
/// [`guide::processes`](crate::guide::processes) explains how processes are started and stopped.
///
/// Setters never fail. Each process leads a process group of its own, so that its helpers are
/// stopped with it.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::{prelude::*, Program};
/// # let supervisor = Supervisor::builder().start()?;
/// let sleeper = Program::new("sleep").arg("1000").stop_timeout(Duration::from_secs(1));
/// let sleeper = supervisor.handle().add(TaskSpec::process("sleeper", sleeper))?;
/// sleeper.wait_started()?;
/// sleeper.cancel();
/// // It got SIGTERM, and has ended.
/// assert!(matches!(sleeper.wait()?, Outcome::Cancelled { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a program does nothing until it is run"]
pub struct Program {
    command: Command,
    settings: Settings,
    on_line: Option<OnLine>,
    /// What the system does with the exit status of a child was looked at.
    checked: bool,
}

impl Program {
    /// Takes a program by its name or path, which is looked up in `PATH` if it has no slash; or a
    /// [`Command`], for settings that this type does not have, such as
    /// [`pre_exec`](CommandExt::pre_exec). The command is started anew for each process.
    ///
    /// Standard input is `/dev/null` unless [`stdin`](Self::stdin) sets it; that of a `Command` is
    /// not used. Standard output and standard error are those of this process, or what the
    /// `Command` sets. Once the output of one process was captured or returned, what the `Command`
    /// sets is lost: a later process whose output is neither writes to the outputs of this process.
    pub fn new(program: impl Into<Self>) -> Self {
        program.into()
    }

    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).process_group(0);
        Self { command, settings: Settings::default(), on_line: None, checked: false }
    }

    /// Adds an argument.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let script = "cd /; echo $GREETING from $OLDPWD$HOME";
    /// let mut greet = Program::new("sh")
    ///     .arg("-c")
    ///     .arg(script)
    ///     .env("GREETING", "hello")
    ///     .env_remove("HOME")
    ///     .current_dir("/tmp");
    /// let output = greet.output(&ctx)?;
    /// assert_eq!(output.stdout, b"hello from /tmp\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments. See the example of [`arg`](Self::arg).
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable in the environment, which is otherwise that of this process; but what a
    /// service manager has told this process alone, such as `NOTIFY_SOCKET` and `LISTEN_FDS`, is
    /// not passed on unless it is set here. See the example of [`arg`](Self::arg).
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable out of the environment. See the example of [`arg`](Self::arg).
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the directory in which the program starts. Default: that of this process. See the
    /// example of [`arg`](Self::arg).
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets standard input. With [`Stdio::piped`] it is the reading end of a pipe that stays empty,
    /// and that is closed when your program ends in any way. So a program that reads its standard
    /// input notices that. Default: [`Stdio::null`].
    ///
    /// To feed the process, give it a file, or the reading end of a pipe or a socket of yours. The
    /// other end is written to by another thread, since this one waits for the process. A `Program`
    /// keeps what it is given, for the next start, until it is dropped. While it is there, whoever
    /// has the other end of a pipe does not see that the process is gone.
    ///
    /// ```
    /// # use std::fs::File;
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let mut count = Program::new("wc").arg("-l").stdin(File::open("/dev/null")?);
    /// assert_eq!(count.output(&ctx)?.stdout.trim_ascii(), b"0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Sets the signal that asks a process to stop. A signal without a name, such as a real-time
    /// signal, is refused. Default: [`Signal::TERM`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Program, Signal};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let server = Program::new("sleep").arg("1000")
    ///     .stop_signal(Signal::QUIT) // to the process alone; its helpers follow by themselves
    ///     .stop_leader_only()
    ///     .stop_timeout(Duration::from_secs(1));
    /// let server = supervisor.handle().add(TaskSpec::process("server", server))?;
    /// # while server.pid().is_none() { std::thread::yield_now() }
    /// server.cancel();
    /// assert!(server.wait()?.is_cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.settings.stop_signal = signal;
        self
    }

    /// Sets how long a process and its helpers may take to end once they are asked to stop, before
    /// they are killed. They are killed a moment before the [`grace`](TaskSpec::grace) ends in any
    /// case. [`TaskSpec::process`] raises a grace that the spec does not set to one and a half
    /// times this span. Default: two thirds of the grace.
    pub fn stop_timeout(mut self, span: Duration) -> Self {
        self.settings.stop_timeout = Some(span);
        self
    }

    /// Sends the stop signal only to the process itself, and not to its helpers: for a process that
    /// ends its helpers in an order of its own. Those that have not ended in time are still killed.
    /// See the example of [`stop_signal`](Self::stop_signal).
    pub fn stop_leader_only(mut self) -> Self {
        self.settings.stop_whom = Whom::Leader;
        self
    }

    /// Leaves helpers running that are still there when the process has ended by itself: nothing
    /// supervises them then. Without this, they are killed.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let daemon = Program::new("sh").args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    /// let pid = String::from_utf8(daemon.leave_helpers().output(&ctx)?.stdout)?;
    /// let end = Program::new("kill").arg(pid.trim()).run(&ctx)?; // the helper lives on until then
    /// assert_eq!(end.code, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leave_helpers(mut self) -> Self {
        self.settings.leave_helpers = true;
        self
    }

    /// Sets which exit statuses are a success. Default: 0.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let check = |script: &'static str| {
    ///     let check = Program::new("sh").args(["-c", script]);
    ///     TaskSpec::process(script, check.success_codes([0, 1]).fatal_codes([2]))
    /// };
    /// assert!(supervisor.handle().add(check("exit 1"))?.wait()?.is_success());
    /// assert!(supervisor.handle().add(check("exit 2"))?.wait()?.is_fatal()); // is not retried
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn success_codes(mut self, codes: impl IntoIterator<Item = u8>) -> Self {
        self.settings.codes.success = Some(codes.into_iter().collect());
        self
    }

    /// Sets which exit statuses are [fatal](TaskError::fatal), so that they are never retried: for
    /// example the status that means that the arguments are wrong. Default: none. See the example
    /// of [`success_codes`](Self::success_codes).
    pub fn fatal_codes(mut self, codes: impl IntoIterator<Item = u8>) -> Self {
        self.settings.codes.fatal = codes.into_iter().collect();
        self
    }

    /// Makes each end that nobody asked for a failure, whatever the exit status: for a service. So
    /// the backoff and the limits of its task apply to an exit status of 0, too. A process that was
    /// told to stop is judged as without this, and a [fatal code](Self::fatal_codes) stays fatal.
    /// Default: a success is a success.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let daemon = Program::new("true").must_not_end();
    /// let daemon = TaskSpec::process("daemon", daemon)
    ///     .restart(RestartPolicy::Always)
    ///     .backoff(BackoffPolicy::constant(Duration::from_millis(10)))
    ///     .failure_limit(2, Duration::from_secs(60));
    /// let outcome = supervisor.handle().add(daemon)?.wait()?;
    /// assert_eq!(outcome.error().unwrap().to_string(), "exit status 0, but it must not end");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn must_not_end(mut self) -> Self {
        self.settings.codes.must_not_end = true;
        self
    }

    /// Sets the sign by which the attempt is [ready](TaskContext::ready). A sign is captured output
    /// or a thing to look at, and does not come twice in an attempt. Bound the wait with
    /// [`TaskSpec::ready_within`]. Default: [`ReadySign::Started`] for [`TaskSpec::process`], and
    /// none in a body of your own, which calls `ready` itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Program, ReadySign};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let server = Program::new("sh").args(["-c", "echo listening; exec sleep 1000"]);
    /// let server = TaskSpec::process("server", server.ready_by(ReadySign::Line("listen".into())))
    ///     .ready_within(Duration::from_secs(60));
    /// let server = supervisor.handle().add(server)?;
    /// # while !supervisor.handle().snapshot()?.tasks[0].ready { std::thread::yield_now() }
    /// assert!(supervisor.handle().snapshot()?.tasks[0].ready);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ready_by(mut self, sign: ReadySign) -> Self {
        self.settings.ready_by = Some(sign);
        self
    }

    /// Makes each piece of output that the process writes a [heartbeat](TaskContext::heartbeat), so
    /// that the [`watchdog`](TaskSpec::watchdog) notices a process that is silent.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Program};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let hangs = Program::new("sleep").arg("1000").heartbeat_on_output();
    /// let hangs = TaskSpec::process("hangs", hangs)
    ///     .watchdog(Duration::from_millis(20))
    ///     .watchdog_policy(WatchdogPolicy::Cancel)
    ///     .max_retries(0);
    /// assert!(supervisor.handle().add(hangs)?.wait()?.is_unresponsive());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heartbeat_on_output(mut self) -> Self {
        self.settings.output.heartbeat = true;
        self
    }

    /// Sets the signal that [`TaskHandle::reload`](crate::TaskHandle::reload) sends; see the
    /// example there. A signal without a name is refused. Default: [`Signal::HUP`].
    pub fn reload_signal(mut self, signal: Signal) -> Self {
        self.settings.reload_signal = signal;
        self
    }

    /// Calls `take` with each line that the process writes to standard output and standard error,
    /// on the thread of the body: for a program whose output is a protocol. While it runs, nothing
    /// is read, and a process that goes on writing has to wait. The last lines are kept for the
    /// error as well, as with [`capture`](Self::capture).
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let (send, lines) = std::sync::mpsc::channel();
    /// let mut list = Program::new("echo").arg("hello").on_line(move |_, line| {
    ///     let _ = send.send(line.text.to_owned());
    /// });
    /// list.run(&ctx)?;
    /// assert_eq!(lines.recv()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_line(
        mut self,
        take: impl FnMut(&TaskContext, &OutputLine<'_>) + Send + 'static,
    ) -> Self {
        self.on_line = Some(Box::new(take));
        self
    }

    /// Hands each line that the process writes to standard output and standard error to
    /// [`SupervisorBuilder::on_output`](crate::SupervisorBuilder::on_output); it never waits for
    /// that. Without such a callback, only the last lines are kept, for the error. See the example
    /// of [`on_output`](crate::SupervisorBuilder::on_output).
    pub fn capture(mut self) -> Self {
        self.settings.output.capture = true;
        self
    }

    /// Has both outputs of the process go through one pipe, so that their lines keep their order,
    /// if they are captured. All of them are then lines of standard output.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let (send, lines) = std::sync::mpsc::channel();
    /// let script = "echo one; echo a-long-word-that-is-cut >&2; echo three";
    /// let mut program = Program::new("sh").args(["-c", script]).merge_stderr().max_line(16)
    ///     .on_line(move |_, line| drop(send.send(line.text.to_owned())));
    /// program.run(&ctx)?;
    /// # drop(program);
    /// let lines: Vec<_> = lines.iter().collect();
    /// assert_eq!(lines, ["one", "a-long-word-that", "-is-cut", "three"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge_stderr(mut self) -> Self {
        self.settings.output.merge_stderr = true;
        self
    }

    /// Sets how many bytes a captured line may have; a longer one is [cut](OutputLine::cut). At
    /// least 16. Default: 8 KiB. See the example of [`merge_stderr`](Self::merge_stderr).
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.settings.output.max_line = bytes;
        self
    }

    /// Starts a process and waits for its end, on this thread. If the attempt is told to return,
    /// the process is stopped.
    ///
    /// A process that was told and has obeyed is a success, and so is one with a [success
    /// code](Self::success_codes).
    ///
    /// # Errors
    /// - [`Cancelled`](crate::Cancelled), if the attempt was told before there was a process.
    /// - Fatal, if this process ignores SIGCHLD, because the exit status of a child is lost then.
    /// - Fatal, an [`InvalidSetting`], if the settings cannot work. (A [`TaskSpec::process`] is
    ///   refused then.)
    /// - The error of the system if it cannot start the program, which is a failure: a file system
    ///   may be mounted later.
    /// - A [`ProcessExit`] that is no success. Its exit code is that of the error.
    pub fn run(&mut self, ctx: &TaskContext) -> TaskResult<ProcessExit> {
        self.prepare()?;
        let Self { command, settings, on_line, .. } = self;
        run::run(command, settings, on_line.as_mut(), ctx, false).map(|(exit, _)| exit)
    }

    /// Runs a process as [`run`](Self::run) does, and returns what it has written: the first MiB of
    /// standard output and of standard error. The rest is read, counted and thrown away.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let (ctx, _canceller) = TaskContext::detached();
    /// let output = Program::new("echo").arg("hello").output(&ctx)?;
    /// assert_eq!((output.stdout.as_slice(), output.lost), (&b"hello\n"[..], 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`run`](Self::run), and [`Cancelled`](crate::Cancelled) if the attempt was told: the
    /// output may then be cut short. If the process fails, what it has written is not returned; the
    /// last lines of it are in the error. To have all of it in any case, use
    /// [`on_line`](Self::on_line) with `run`.
    pub fn output(&mut self, ctx: &TaskContext) -> TaskResult<ProcessOutput> {
        self.prepare()?;
        let Self { command, settings, on_line, .. } = self;
        let (exit, kept) = run::run(command, settings, on_line.as_mut(), ctx, true)?;
        let lost = kept.iter().map(|kept| kept.lost).sum();
        let mut kept = kept.into_iter().map(|kept| kept.bytes);
        let (stdout, stderr) = (kept.next().unwrap_or_default(), kept.next().unwrap_or_default());
        // What a process has written until it was stopped is no result.
        ctx.check()?;
        Ok(ProcessOutput { exit, stdout, stderr, lost })
    }

    /// Checks what [`TaskSpec::validate`] says of a program.
    fn check(&self) -> Result<(), InvalidSetting> {
        if self.command.get_program().is_empty() {
            return Err(InvalidSetting::new("program", "", "name one"));
        }
        self.settings.check()
    }

    fn prepare(&mut self) -> TaskResult {
        self.check().map_err(TaskError::fatal)?;
        if !std::mem::replace(&mut self.checked, true) && group::ignores_children() {
            self.checked = false;
            return Err(TaskError::fatal(
                "this process ignores SIGCHLD, so that the exit status of a child is lost: \
                 start it with the default effect of that signal",
            ));
        }
        let meant_for_us = |name: &&str| std::env::var_os(name).is_some();
        for name in OURS.into_iter().filter(meant_for_us) {
            if !self.command.get_envs().any(|(set, _)| set == name) {
                self.command.env_remove(name);
            }
        }
        Ok(())
    }
}

/// With these, a process would talk to our service manager in our name.
const OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

impl From<Command> for Program {
    fn from(command: Command) -> Self {
        Self::of(command)
    }
}

macro_rules! from_path {
    ($($path:ty),+) => {$(
        impl From<$path> for Program {
            fn from(program: $path) -> Self {
                Self::of(Command::new(program))
            }
        }
    )+};
}

from_path!(&str, String, &Path, PathBuf);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("command", &self.command).finish_non_exhaustive()
    }
}

/// This constructor needs Unix and the feature `process`.
impl TaskSpec {
    /// Creates a task whose body runs a process, as [`Program::run`] does, for each attempt.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Program};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let check = TaskSpec::process("check", Program::new("test").args(["-d", "/"]));
    /// assert!(supervisor.handle().add(check)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(name: impl Into<Arc<str>>, mut program: Program) -> Self {
        let refused = program.check().err();
        let Settings { stop_timeout, ready_by, is_new, .. } = &mut program.settings;
        *is_new.get_mut() = true;
        ready_by.get_or_insert(ReadySign::Started);
        let stop_timeout = *stop_timeout;
        let spec = Self::new(name, move |ctx| match program.run(ctx)? {
            // It has obeyed, but it is told what was missing.
            exit if exit.is_unready => Err(TaskError::fail(exit)),
            _ => Ok(()),
        });
        let refused = refused.map(|invalid| Setting::Refused(Box::new(invalid)));
        let settings = refused.into_iter().chain(stop_timeout.map(Setting::StopTimeout));
        settings.fold(spec, Self::with)
    }
}
