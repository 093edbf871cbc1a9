//! How long an attempt has, and how its body asks for more.

use std::time::{Duration, Instant};

use crate::output::error::ExtendError;
use crate::task::context::TaskContext;

impl TaskContext {
    /// Returns the moment by which the attempt should be over: its deadline or, once it was told to
    /// return, the end of its grace. Until the body calls [`ready`](Self::ready), this is the end
    /// of [`ready_within`](crate::TaskSpec::ready_within) if that comes earlier. `None` if there is
    /// no limit. Under a [`ManualClock`](crate::ManualClock) it can only be compared with another
    /// deadline of the attempt, not with `Instant::now()`; use [`remaining`](Self::remaining). See
    /// the example of [`extend_deadline`](Self::extend_deadline).
    pub fn deadline(&self) -> Option<Instant> {
        self.token().deadline()
    }

    /// Returns the time left until the [`deadline`](Self::deadline): zero once that has passed,
    /// `None` if there is no limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.token().remaining()
    }

    /// Returns a timeout for a blocking call: the [remaining](Self::remaining) time, at most `max`,
    /// and at least 1 ms, because sockets refuse zero or treat it as no limit.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (ctx, _canceller) = threadvisor::TaskContext::detached();
    /// assert_eq!(ctx.io_timeout(Duration::from_secs(2)), Duration::from_secs(2));
    /// assert_eq!(ctx.io_timeout(Duration::ZERO), Duration::from_millis(1));
    /// ```
    pub fn io_timeout(&self, max: Duration) -> Duration {
        self.token().io_timeout(max)
    }

    /// Moves the deadline to `span` from now, unless it is already later; `Duration::MAX` lifts it,
    /// if [`max_timeout`](crate::TaskSpec::max_timeout) is `Duration::MAX`. Returns immediately. A
    /// body that extends its deadline before it is told to return is not told of the earlier
    /// deadline, even if the timer was already due.
    ///
    /// Without a [`timeout`](crate::TaskSpec::timeout) there is nothing to extend, and the call
    /// returns `Ok`. The end of [`ready_within`](crate::TaskSpec::ready_within) does not move.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let minute = Duration::from_secs(60);
    /// let flash = TaskSpec::once("flash", move |ctx| {
    ///     ctx.extend_deadline(2 * minute)?; // erasing takes longer than the rest
    ///     assert!(ctx.remaining() > Some(minute));
    ///     assert!(ctx.extend_deadline(10 * minute).is_err());
    ///     Ok(())
    /// });
    /// let flash = supervisor.handle().add(flash.timeout(minute).max_timeout(5 * minute))?;
    /// assert!(flash.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// After an error, the deadline is unchanged.
    /// - `Cancelled`: the attempt was already told to return; pass it on with `?`.
    /// - `NoMaxTimeout`: the spec does not allow it; set
    ///   [`max_timeout`](crate::TaskSpec::max_timeout).
    /// - `BeyondMaxTimeout`: the spec does not allow that much; ask for less than the error says is
    ///   left.
    pub fn extend_deadline(&self, span: Duration) -> Result<(), ExtendError> {
        self.cell().extend(span)
    }
}
