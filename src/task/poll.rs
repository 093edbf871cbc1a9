//! Waits for file descriptors that end on a cancel, so that bodies need not write them around
//! `poll`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use crate::task::context::TaskContext;
use crate::task::token::CancelToken;
use crate::vocabulary::time::RealTime;

/// Says how a wait for a file descriptor ended.
///
/// ```
/// # use std::time::Duration;
/// use std::os::unix::net::UnixStream;
/// use threadvisor::{Polled, TaskContext};
/// let (ctx, _canceller) = TaskContext::detached();
/// let (line, _peer) = UnixStream::pair()?; // from which nothing comes
/// let polled = ctx.wait_readable(&line, Duration::from_millis(5))?;
/// assert_eq!(polled, Polled::TimedOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Polled {
    /// The next call does not block; it may return an error or the end of the stream.
    Ready,
    /// The timeout has passed.
    TimedOut,
}

/// These methods need Unix and the feature `poll`.
impl TaskContext {
    /// Waits until a read from `fd` would not block, the attempt is told to return, or `timeout`
    /// has passed. With `None` there is no timeout.
    ///
    /// If the attempt was told, that comes first, also if there is something to read.
    ///
    /// Set the descriptor to non-blocking mode for the read: between the wait and the read, another
    /// reader may take the data.
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// # use std::time::Duration;
    /// # use threadvisor::{prelude::*, Cancelled, Polled};
    /// let (ctx, canceller) = TaskContext::detached();
    /// let (near, _far) = UnixStream::pair()?;
    /// assert_eq!(ctx.wait_readable(&near, Duration::from_millis(1))?, Polled::TimedOut);
    /// canceller.cancel();
    /// let error = ctx.wait_readable(&near, None).unwrap_err();
    /// assert!(error.get_ref().is_some_and(|inner| inner.is::<Cancelled>()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
    #[doc(alias = "poll")]
    pub fn wait_readable(
        &self,
        fd: impl AsFd,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<Polled> {
        self.token().wait_readable(fd, timeout)
    }

    /// Waits until a write to `fd` would not block. Everything else is as for
    /// [`wait_readable`](Self::wait_readable). So a connect ends, too, of a socket in non-blocking
    /// mode:
    ///
    /// ```
    /// use std::net::{SocketAddr, TcpStream};
    /// # use std::time::Duration;
    /// use rustix::io::Errno;
    /// use rustix::net::{self, sockopt, AddressFamily, SocketFlags, SocketType};
    /// use threadvisor::{prelude::*, Polled};
    ///
    /// fn connect(ctx: &TaskContext, peer: SocketAddr) -> TaskResult<TcpStream> {
    ///     let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    ///     let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    ///     let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    ///     match net::connect(&socket, &peer) {
    ///         Ok(()) | Err(Errno::INPROGRESS) => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    ///     if ctx.wait_writable(&socket, Duration::from_secs(2))? == Polled::TimedOut {
    ///         return Err(format!("{peer} does not answer").into());
    ///     }
    ///     sockopt::socket_error(&socket)??;
    ///     let stream = TcpStream::from(socket);
    ///     stream.set_nonblocking(false)?;
    ///     Ok(stream)
    /// }
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let (ctx, canceller) = TaskContext::detached();
    /// assert!(connect(&ctx, listener.local_addr()?).is_ok());
    /// canceller.cancel();
    /// assert!(connect(&ctx, listener.local_addr()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
    #[doc(alias = "poll")]
    pub fn wait_writable(
        &self,
        fd: impl AsFd,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<Polled> {
        self.token().wait_writable(fd, timeout)
    }

    /// Waits for a connection and accepts it. This sets the listener to non-blocking mode, because
    /// a pending connection may be gone by the time it is accepted. The returned stream is in
    /// blocking mode.
    ///
    /// ```
    /// # use std::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let (say, heard) = std::sync::mpsc::channel();
    /// let acceptor = TaskSpec::new("acceptor", move |ctx| loop {
    ///     match ctx.accept(&listener) {
    ///         Ok((_stream, peer)) => say.send(peer)?,
    ///         // Told to return, or one peer is gone, or there is no descriptor for the moment.
    ///         Err(_) => ctx.sleep(Duration::from_millis(10))?,
    ///     }
    /// });
    /// supervisor.handle().add(acceptor)?;
    /// let peer = TcpStream::connect(address)?;
    /// assert_eq!(heard.recv()?, peer.local_addr()?);
    /// # supervisor.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `accept`. `ConnectionAborted` and similar errors concern a single peer;
    ///   continue after them.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
    pub fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        self.token().accept(listener)
    }
}

/// These methods need Unix and the feature `poll`.
impl CancelToken {
    /// Waits until a read from `fd` would not block, the attempt is told to return, or `timeout`
    /// has passed. With `None` there is no timeout.
    ///
    /// Set the descriptor to non-blocking mode for the read: between the wait and the read, another
    /// reader may take the data. See the example of
    /// [`TaskContext::wait_readable`](crate::TaskContext::wait_readable).
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
    #[doc(alias = "poll")]
    pub fn wait_readable(
        &self,
        fd: impl AsFd,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<Polled> {
        self.wait_for_fd(fd, PollFlags::IN, timeout.into())
    }

    /// Waits until a write to `fd` would not block. Everything else is as for
    /// [`wait_readable`](Self::wait_readable). See the example of
    /// [`TaskContext::wait_readable`](crate::TaskContext::wait_readable).
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
    #[doc(alias = "poll")]
    pub fn wait_writable(
        &self,
        fd: impl AsFd,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<Polled> {
        self.wait_for_fd(fd, PollFlags::OUT, timeout.into())
    }

    /// Waits for a connection and accepts it. This sets the listener to non-blocking mode, because
    /// a pending connection may be gone by the time it is accepted. The returned stream is in
    /// blocking mode.
    ///
    /// # Errors
    /// - Kind `Other` with [`Cancelled`](crate::Cancelled) inside, once the attempt is told to
    ///   return; pass it on with `?`.
    /// - The errors of `accept`. `ConnectionAborted` and similar errors concern a single peer;
    ///   continue after them.
    /// - The errors of `poll`, and of [`cancel_fd`](Self::cancel_fd).
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
        let clock = self.0.clock().real;
        let due = timeout.map_or(RealTime::NEVER, |span| clock.now().after(span));
        let cancel = self.cancel_fd()?;
        // The cancel has its own descriptor, so that none is missed between the check and the wait.
        let mut fds = [PollFd::new(&fd, flags), PollFd::from_borrowed_fd(cancel, PollFlags::IN)];

        loop {
            // A body that was already told returns without a system call.
            self.check()?;
            let left =
                clock.remaining(due).map(|left| Timespec::try_from(left).unwrap_or(FOR_EVER));

            match poll(&mut fds, left.as_ref()) {
                Ok(0) if clock.now() >= due => return Ok(Polled::TimedOut),
                // If nothing is ready and time is left, the loop waits for the rest of it.
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

/// Longer than any machine runs, and in the range of every type of `tv_sec`.
const FOR_EVER: Timespec = Timespec { tv_sec: i32::MAX as _, tv_nsec: 0 };
