//! A file descriptor that becomes readable when a token is cancelled, and stays so. Under the
//! feature `process` it hangs up if the grace is made shorter after that.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

/// A socket pair, created on first use. Once one end cannot be written to any more, the other is
/// readable for ever, and once the first cannot be read from either, the other has hung up. This
/// takes two descriptors where an eventfd takes one, but it works on every Unix and without unsafe
/// code. A hang-up is only sure to wake a poll on Linux.
#[derive(Debug, Default)]
pub(crate) struct WakeFd(OnceLock<(UnixStream, UnixStream)>);

impl WakeFd {
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if self.0.get().is_none() {
            // If another thread was faster, this pair is closed again.
            let _ = self.0.set(UnixStream::pair()?);
        }
        let pair = self.0.get().ok_or(io::ErrorKind::Other)?;
        Ok(pair.0.as_fd())
    }

    pub(crate) fn wake(&self) {
        self.shut(Shutdown::Write);
    }

    #[cfg(feature = "process")]
    pub(crate) fn hang_up(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        if let Some((_, other)) = self.0.get() {
            // This fails only if it is already shut down.
            let _ = other.shutdown(how);
        }
    }
}
