//! The cell as a cancel token: whether the attempt was told, and how a body waits for that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::Cell;
use crate::output::error::{Cancelled, RecvError};
use crate::platform::sync::atomic::{AtomicU8, Ordering};
use crate::platform::sync::channel::{select_biased, Receiver, TryRecvError};
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

/// The reason for a cancel, once there is one: written under the cell's lock, read without it.
pub(super) struct Told(AtomicU8);

/// Longer than a controller takes, on a busy machine or with many waiting tasks, too, from the
/// request for a shutdown to the last body that it tells.
const TOLD_SOON: Duration = Duration::from_secs(1);

const NOT_TOLD: u8 = u8::MAX;

/// Lists all reasons, and fails to compile if one is missing: that one would be read as "not told".
macro_rules! reasons {
    ($($reason:ident),+) => {
        const REASONS: &[CancelReason] = &[$(CancelReason::$reason),+];

        const fn code(reason: CancelReason) -> u8 {
            match reason {
                $(CancelReason::$reason => reason as u8),+
            }
        }
    };
}

reasons!(Stop, Replace, Shutdown, Timeout, Unresponsive, Restart, Group);

impl Default for Told {
    fn default() -> Self {
        Self(AtomicU8::new(NOT_TOLD))
    }
}

impl Told {
    pub(super) fn set(&self, reason: CancelReason) {
        self.0.store(code(reason), Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != NOT_TOLD
    }

    fn reason(&self) -> Option<CancelReason> {
        let told = self.0.load(Ordering::Acquire);
        REASONS.iter().copied().find(|&reason| code(reason) == told)
    }
}

impl Cell {
    pub(crate) fn is_told(&self) -> bool {
        self.told.is_set()
    }

    pub(crate) fn reason(&self) -> Option<CancelReason> {
        self.told.reason()
    }

    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        self.reason().map_or(Ok(()), |reason| Err(Cancelled::new(reason)))
    }

    /// Sleeps until `span` has passed, or the token is cancelled.
    pub(crate) fn sleep(self: &Arc<Self>, span: Duration) -> Result<(), Cancelled> {
        let due = self.clock().now().after(span);
        self.wait_until(due, || false)
    }

    /// Waits until `done` says so, `due` has come, or the token is cancelled. `done` is called
    /// under the lock of this cell, and whoever changes what it looks at has to
    /// [`wake`](super::Waiting::wake_all) the cell.
    pub(crate) fn wait_until(
        self: &Arc<Self>,
        due: Time,
        done: impl Fn() -> bool,
    ) -> Result<(), Cancelled> {
        if let Some(seat) = self.clock().seat() {
            return self.park(seat, due, done).map(drop);
        }
        let instant = self.clock().instant(due);
        let mut state = self.state.lock();
        loop {
            self.check()?;
            if done() {
                return Ok(());
            }
            match instant {
                None => self.changed.wait(&mut state),
                Some(_) if self.clock().now() >= due => return Ok(()),
                Some(instant) => {
                    self.changed.wait_until(&mut state, instant);
                }
            }
        }
    }

    /// Receives a message; `None` if `span` has passed.
    pub(crate) fn receive<T: Send + 'static>(
        self: &Arc<Self>,
        channel: &Receiver<T>,
        span: Duration,
    ) -> Result<Option<T>, RecvError> {
        let seat = self.clock().seat();
        let due = seat.map(|seat| seat.now().after(span));
        loop {
            self.check()?;
            match channel.try_recv() {
                Ok(message) => return Ok(Some(message)),
                Err(TryRecvError::Disconnected) => return Err(self.disconnected(span)),
                Err(TryRecvError::Empty) => {}
            }
            let Some((seat, due)) = seat.zip(due) else { break };
            let taken = Arc::default();
            let woken = self.park_for(seat, channel, due, &taken);
            let taken = taken.lock().take();
            if taken.is_some() || !woken? {
                return Ok(taken);
            }
        }
        let real = &self.door().clock.real;
        let began = real.now();
        let left = || span.saturating_sub(began.until(real.now()));
        // Of two that are ready, the token counts: a message that a hook has sent, because the
        // token was cancelled, must not hide that.
        select_biased! {
            recv(self.told_channel()) -> _ => self.check().map(|()| None).map_err(RecvError::from),
            recv(channel) -> message => message.map(Some).map_err(|_| self.disconnected(left())),
            default(span) => Ok(None),
        }
    }

    /// At a shutdown, a body that is about to be told waits for that, at most for `span`: so what
    /// the shutdown does to it does not look like a failure. Not so in a group: there, a phase may
    /// have to return before another is told.
    pub(crate) fn hear_of_shutdown(&self, span: Duration) -> Result<(), Cancelled> {
        let door = self.door();
        if !door.stops_bodies() || self.record.group().is_some() || door.is_forked() {
            return self.check();
        }
        // The attempt to which a token belongs may have returned, and is never told then.
        let real = &door.clock.real;
        let due = real.now().after(TOLD_SOON.min(span));
        let Some(instant) = real.instant(due) else { return self.check() };
        let mut state = self.state.lock();
        while !self.told.is_set() && real.now() < due {
            self.changed.wait_until(&mut state, instant);
        }
        drop(state);
        self.check()
    }

    /// All senders are gone. At a shutdown they were held, perhaps, by a body that was told a
    /// moment before this one.
    fn disconnected(&self, span: Duration) -> RecvError {
        self.hear_of_shutdown(span).map_or_else(RecvError::from, |()| RecvError::Disconnected)
    }

    /// A channel that disconnects when the token is cancelled.
    pub(crate) fn told_channel(&self) -> Receiver<Infallible> {
        let mut state = self.state.lock();
        let told = self.told.is_set();
        state.told_channel.receiver(told)
    }

    /// A descriptor that stays readable once the token is cancelled.
    #[cfg(unix)]
    pub(crate) fn fd(&self) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
        let fd = self.fd.get()?;
        // A tell before the descriptor was there could not wake it. The lock orders the two.
        let _state = self.state.lock();
        if self.told.is_set() {
            self.fd.wake();
        }
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_as_it_was_written() {
        let told = Told::default();
        assert_eq!((told.is_set(), told.reason()), (false, None));
        for &reason in REASONS {
            told.set(reason);
            assert_eq!((told.is_set(), told.reason()), (true, Some(reason)));
        }
    }
}
