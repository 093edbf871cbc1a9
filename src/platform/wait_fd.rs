//! A descriptor that becomes readable when a child process has ended, before it is reaped.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{waitid, Pid, WaitId, WaitIdOptions, WaitIdStatus};

use crate::platform::sync::channel::{self, Sender};
use crate::platform::threads;

/// Everything that can be refused, taken before there is a process.
pub(crate) enum Prepared {
    /// Holds the place of the descriptor to come.
    PidFd(OwnedFd),
    /// A thread that waits for the process it is told of, and ends if it is told of none.
    Thread { told: Sender<Pid>, end: UnixStream },
}

pub(crate) enum WaitFd {
    PidFd(OwnedFd),
    Thread(UnixStream),
}

impl Prepared {
    /// Kernels before 5.3 have no pidfd, and some sandboxes refuse it, each in its own way.
    pub(crate) fn new() -> io::Result<Self> {
        if std::env::var_os(NO_PIDFD).is_none() {
            if let Ok(own) = pidfd_open(rustix::process::getpid()) {
                return Ok(Self::PidFd(own));
            }
        }
        let (end, other) = UnixStream::pair()?;
        let (told, of) = channel::bounded::<Pid>(1);
        threads::spawn_waiter(move || {
            let Ok(pid) = of.recv() else { return };
            until_ended(pid);
            // This fails only if nobody listens any more.
            let _ = other.shutdown(Shutdown::Both);
        })?;
        Ok(Self::Thread { told, end })
    }

    /// The descriptor for this process.
    pub(crate) fn watch(self, pid: Pid) -> io::Result<WaitFd> {
        match self {
            Self::PidFd(place) => {
                drop(place);
                match pidfd_open(pid) {
                    // Somebody else has reaped it: one end of a pair is as good.
                    Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                        Ok(WaitFd::Thread(UnixStream::pair()?.0))
                    }
                    opened => opened.map(WaitFd::PidFd),
                }
            }
            Self::Thread { told, end } => {
                // The thread waits for it.
                let _ = told.send(pid);
                Ok(WaitFd::Thread(end))
            }
        }
    }
}

impl AsFd for WaitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::PidFd(fd) => fd.as_fd(),
            Self::Thread(end) => end.as_fd(),
        }
    }
}

/// How the process has ended, if it has and can be reaped; an error if somebody else has reaped it.
pub(crate) fn find_ended(pid: Pid) -> io::Result<Option<ExitStatus>> {
    let options = ENDED | WaitIdOptions::NOHANG;
    let found = match waitid(WaitId::Pid(pid), options) {
        Err(Errno::CHILD) => return Err(Errno::CHILD.into()),
        found => found.ok().flatten(),
    };
    let dumped = found.as_ref().is_some_and(WaitIdStatus::dumped);
    // As `wait` writes it.
    Ok(found.map(|found| match (found.exit_status(), found.terminating_signal()) {
        (Some(code), _) => ExitStatus::from_raw((code & 0xff) << 8),
        (None, signal) => ExitStatus::from_raw(signal.unwrap_or(0) | i32::from(dumped) << 7),
    }))
}

/// Waits until the process has ended.
pub(crate) fn until_ended(pid: Pid) {
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), ENDED) {}
}

/// It is not reaped.
const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOWAIT);

#[cfg(target_os = "linux")]
fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn pidfd_open(_pid: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// If this variable is set, a thread waits in any case: for tests.
const NO_PIDFD: &str = "THREADVISOR_NO_PIDFD";
