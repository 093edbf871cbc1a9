//! Waits for file descriptors that a cancel ends: what every body that does I/O would have to write
//! for itself around `poll`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use crate::task::context::TaskContext;
use crate::vocabulary::time::Time;

/// How a wait for a file descriptor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// The next call will not block; it may report an error or the end of the stream.
    Ready,
    /// The time was up.
    TimedOut,
}

/// With the feature `poll`, on Unix.
impl TaskContext {
    /// Waits until a read from `fd` would not block, the attempt is told to return, or `timeout`
    /// has passed; `None` waits for ever.
    ///
    /// Read with a descriptor in non-blocking mode: between the wait and the read somebody else may
    /// have taken what was there.
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Cancelled, Polled};
    /// let (ctx, canceller) = TaskContext::detached();
    /// let (near, _far) = UnixStream::pair()?;
    /// let short = Some(Duration::from_millis(1));
    /// assert_eq!(ctx.wait_readable(&near, short)?, Polled::TimedOut);
    /// canceller.cancel();
    /// let error = ctx.wait_readable(&near, None).unwrap_err();
    /// assert!(error.get_ref().is_some_and(|inner| inner.is::<Cancelled>()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return.
    /// - What `poll` says, and what making the cancel descriptor may say.
    pub fn wait_readable(&self, fd: impl AsFd, timeout: Option<Duration>) -> io::Result<Polled> {
        self.wait_for_fd(fd, PollFlags::IN, timeout)
    }

    /// Waits until a write to `fd` would not block. Otherwise as
    /// [`wait_readable`](Self::wait_readable).
    ///
    /// # Errors
    /// As [`wait_readable`](Self::wait_readable).
    pub fn wait_writable(&self, fd: impl AsFd, timeout: Option<Duration>) -> io::Result<Polled> {
        self.wait_for_fd(fd, PollFlags::OUT, timeout)
    }

    /// Accepts a connection. Sets the listener to non-blocking mode, because a connection that was
    /// there may be gone when it is accepted; the stream is in blocking mode.
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return.
    /// - What `accept` says; `ConnectionAborted` and its like concern one peer only.
    pub fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.set_nonblocking(true)?;
        loop {
            self.wait_readable(listener, None)?;
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok((stream, peer)) => {
                    stream.set_nonblocking(false)?;
                    return Ok((stream, peer));
                }
            }
        }
    }

    fn wait_for_fd(
        &self,
        fd: impl AsFd,
        flags: PollFlags,
        timeout: Option<Duration>,
    ) -> io::Result<Polled> {
        let clock = self.clock();
        let due = timeout.map_or(Time::NEVER, |span| clock.now().after(span));
        let cancel = self.cancel_fd()?;
        let mut fds = [PollFd::new(&fd, flags), PollFd::from_borrowed_fd(cancel, PollFlags::IN)];
        loop {
            self.check()?;
            let left =
                clock.remaining(due).map(|left| Timespec::try_from(left).unwrap_or(FOR_EVER));
            match poll(&mut fds, left.as_ref()) {
                Ok(0) if clock.now() >= due => return Ok(Polled::TimedOut),
                Ok(_) => {
                    self.check()?;
                    if !fds[0].revents().is_empty() {
                        return Ok(Polled::Ready);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Longer than any machine runs, and within every range of seconds.
const FOR_EVER: Timespec = Timespec { tv_sec: i32::MAX as _, tv_nsec: 0 };
