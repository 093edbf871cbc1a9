//! A file descriptor that becomes readable when a token is cancelled, and stays so.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

/// A socket pair, made when first asked for. One end shut down makes the other readable for ever:
/// two descriptors instead of an eventfd's one, but on every Unix and without unsafe code.
#[derive(Debug, Default)]
pub(crate) struct WakeFd(OnceLock<(UnixStream, UnixStream)>);

impl WakeFd {
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if self.0.get().is_none() {
            // Another thread may have been faster; then this pair is closed again.
            let _ = self.0.set(UnixStream::pair()?);
        }
        let pair = self.0.get().ok_or(io::ErrorKind::Other)?;
        Ok(pair.0.as_fd())
    }

    pub(crate) fn wake(&self) {
        if let Some((_, other)) = self.0.get() {
            // Fails only when it is shut down already.
            let _ = other.shutdown(Shutdown::Both);
        }
    }
}
