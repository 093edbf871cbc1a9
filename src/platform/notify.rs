//! What the protocol of the service manager needs from the system: its socket, and the clock that
//! it compares with.

use std::ffi::OsStr;
use std::io;

/// A socket for messages to a service manager. Sending never blocks.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: std::os::unix::net::UnixDatagram,
    /// Not connected: if the receiver is replaced, the next message finds the new one.
    address: std::os::unix::net::SocketAddr,
}

#[cfg(unix)]
impl NotifySocket {
    /// The address is that of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub(crate) fn open(address: &OsStr) -> io::Result<Self> {
        let address = address_of(address)?;
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    pub(crate) fn send(&self, text: &str) -> io::Result<()> {
        self.socket.send_to_addr(text.as_bytes(), &self.address).map(drop)
    }
}

#[cfg(unix)]
fn address_of(address: &OsStr) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::unix::ffi::OsStrExt;
    match address.as_bytes() {
        [b'/', ..] => std::os::unix::net::SocketAddr::from_pathname(address),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] if !name.is_empty() => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
        }
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name"))
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) enum NotifySocket {}

#[cfg(not(unix))]
impl NotifySocket {
    pub(crate) fn open(_: &OsStr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn send(&self, _: &str) -> io::Result<()> {
        match *self {}
    }
}

/// What `CLOCK_MONOTONIC` shows, in microseconds. The standard library has no call for it.
#[cfg(all(unix, any(feature = "poll", feature = "process")))]
pub(crate) fn monotonic_micros() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (secs, nanos) = (u64::try_from(now.tv_sec).ok()?, u64::try_from(now.tv_nsec).ok()?);
    Some(secs * 1_000_000 + nanos / 1_000)
}

#[cfg(not(all(unix, any(feature = "poll", feature = "process"))))]
pub(crate) const fn monotonic_micros() -> Option<u64> {
    None
}
