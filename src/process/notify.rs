//! The socket by which a process tells its supervisor how it is, as services tell systemd.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::net::{recvmsg, sockopt, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{getuid, Pid};

use super::group;
use crate::task::context::TaskContext;

pub(super) struct Notify(UnixDatagram);

impl Notify {
    /// A new socket, and its name as `NOTIFY_SOCKET` gives it.
    pub(super) fn new() -> io::Result<(Self, String)> {
        // A name that nobody else has, and that no file is left of.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let name = format!("threadvisor-{}-{random:016x}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok((Self(socket), format!("@{name}")))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes one message; false if there is none. Anybody on this machine can send one, but only
    /// those of our user count, and those of the process's group: it may have given up that user.
    /// Descriptors that come with it are closed, which is what the sender of `BARRIER=1` waits for.
    pub(super) fn receive(&self, ctx: &TaskContext, group: Pid) -> bool {
        let (mut text, mut space) = ([0; 4096], [MaybeUninit::uninit(); SPACE]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut text)];
        let Ok(received) = recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
        else {
            return false;
        };
        let own = getuid();
        let is_ours = control.drain().any(|message| match message {
            RecvAncillaryMessage::ScmCredentials(from) => {
                let is_member = || group::has_member(group, from.pid);
                from.uid == own || from.uid.is_root() || is_member()
            }
            _ => false,
        });
        let text = String::from_utf8_lossy(&text[..received.bytes.min(text.len())]);
        for (key, value) in text.lines().filter(|_| is_ours).filter_map(|it| it.split_once('=')) {
            match (key, value) {
                ("READY", "1") => ctx.ready(),
                ("WATCHDOG", "1") => ctx.heartbeat(),
                ("STATUS", status) => ctx.mark(status.to_owned()),
                ("EXTEND_TIMEOUT_USEC", span) => {
                    // What the spec does not allow is not granted.
                    let span = span.parse().map(Duration::from_micros);
                    let _ = span.map(|span| ctx.extend_deadline(span));
                }
                _ => {}
            }
        }
        true
    }
}

/// Room for the credentials of the sender.
const SPACE: usize = rustix::cmsg_space!(ScmCredentials(1));
