//! By what a process shows that others may rely on it.

use std::borrow::Cow;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::task::context::TaskContext;

/// Determines when an attempt that runs a process is [ready](TaskContext::ready): see
/// [`Program::ready_by`](crate::Program::ready_by).
///
/// ```
/// # use std::time::Duration;
/// use threadvisor::{prelude::*, Program, ReadySign};
/// # let supervisor = Supervisor::builder().start()?;
/// let server = Program::new("sh")
///     .args(["-c", "echo listening; exec sleep 1000"])
///     .ready_by(ReadySign::Line("listening".into()));
/// let server = TaskSpec::process("server", server).ready_within(Duration::from_secs(60));
/// let group = supervisor.handle().add_group(GroupSpec::new("line").then(server))?;
/// assert!(group.wait_ready(Duration::from_secs(60))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadySign {
    /// The process was started.
    Started,
    /// The process has written something.
    FirstOutput,
    /// The process has written a line that contains this.
    Line(Cow<'static, str>),
    /// Something accepts connections at this address. This is tried ten times a second, from before
    /// the process can have opened the port, so no other program may listen there.
    Port(SocketAddr),
    /// The process has sent `READY=1` to the socket that `NOTIFY_SOCKET` names in its environment,
    /// as services of systemd do. Other messages count as well: `WATCHDOG=1` is a
    /// heartbeat, `STATUS=…` a mark, and `EXTEND_TIMEOUT_USEC=…` extends the deadline. Linux only.
    #[cfg(target_os = "linux")]
    Notify,
}

impl ReadySign {
    /// What has not been seen.
    pub(super) fn missed(&self) -> String {
        match self {
            Self::Started => "it was not started".to_owned(),
            Self::FirstOutput => "no output".to_owned(),
            Self::Line(part) => format!("no line that contains {part:?}"),
            Self::Port(address) => format!("nothing accepts connections at {address}"),
            #[cfg(target_os = "linux")]
            Self::Notify => "no READY=1".to_owned(),
        }
    }
}

/// Whether it was seen yet.
pub(super) struct Awaited<'a>(Option<&'a ReadySign>);

/// How often a port is tried.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// How long a try may take: the port is one of this machine.
const TRY: Duration = Duration::from_millis(20);

impl<'a> Awaited<'a> {
    pub(super) const fn new(sign: Option<&'a ReadySign>) -> Self {
        Self(sign)
    }

    pub(super) fn started(&mut self, ctx: &TaskContext) {
        self.say_if(ctx, |sign| matches!(sign, ReadySign::Started));
    }

    pub(super) fn heard(&mut self, ctx: &TaskContext) {
        self.say_if(ctx, |sign| matches!(sign, ReadySign::FirstOutput));
    }

    pub(super) fn line(&mut self, ctx: &TaskContext, text: &str) {
        self.say_if(ctx, |sign| matches!(sign, ReadySign::Line(part) if text.contains(&**part)));
    }

    pub(super) const fn tries_port(&self) -> bool {
        matches!(self.0, Some(ReadySign::Port(_)))
    }

    pub(super) fn try_port(&mut self, ctx: &TaskContext) {
        self.say_if(ctx, |sign| match sign {
            // While nobody listens, a connection may meet itself if the port is one of those that
            // the system gives to connections.
            ReadySign::Port(address) => TcpStream::connect_timeout(address, TRY)
                .is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok()),
            _ => false,
        });
    }

    fn say_if(&mut self, ctx: &TaskContext, seen: impl FnOnce(&ReadySign) -> bool) {
        if self.0.is_some_and(seen) {
            self.0 = None;
            ctx.ready();
        }
    }
}
