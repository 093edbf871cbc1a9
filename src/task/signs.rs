//! What a body says of itself: that it lives, where it is, how far it has got, that it is ready.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::output::mark::Progress;
use crate::task::context::TaskContext;
use crate::task::guards::SilenceGuard;

impl TaskContext {
    /// Declares that the attempt is ready: what others need of it is there. Returns immediately.
    /// The call publishes [`AttemptReady`](crate::EventKind::AttemptReady), and
    /// [`ready_within`](crate::TaskSpec::ready_within) waits for it. An attempt stays ready until
    /// it ends. A second call has no effect, nor has a call after the attempt was told to return.
    ///
    /// In a [group](crate::GroupSpec), the next phase waits for this call only if the spec sets
    /// `ready_within`. Without that, the member was ready as soon as a thread took its attempt up,
    /// and a warning is logged once. See the example of
    /// [`ready_within`](crate::TaskSpec::ready_within).
    pub fn ready(&self) {
        self.cell().say_ready();
    }

    /// Gives the task's [watchdog](crate::TaskSpec::watchdog) a sign of life. Costs one relaxed
    /// atomic store. See the example of [`watchdog`](crate::TaskSpec::watchdog).
    #[doc(alias = "checkpoint")]
    #[doc(alias = "keepalive")]
    pub fn heartbeat(&self) {
        self.cell().pulse.beat();
    }

    /// Gives a heartbeat that also says where the body is. Like any sign of life it
    /// counts even if the call that follows hangs. The latest mark appears in snapshots,
    /// and in events and reports about an attempt that is silent, abandoned or stuck at the end.
    /// The call takes a lock, which nobody holds for long.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let poller = TaskSpec::once("poller", |ctx| {
    ///     ctx.mark("sensor 3");
    ///     let snapshot = ctx.handle().snapshot()?;
    ///     let own = snapshot.task(ctx.id()).and_then(|task| task.mark.as_ref());
    ///     assert_eq!(own.map(|mark| &*mark.label), Some("sensor 3"));
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(poller)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "checkpoint")]
    pub fn mark(&self, label: impl Into<Cow<'static, str>>) {
        self.cell().pulse.mark(label.into(), self.cell().clock().now());
    }

    /// Gives a heartbeat that also says how far the body has got: `done` of `total`, in any unit;
    /// `total` is `None` if it is not known. The latest progress of the attempt appears in
    /// snapshots; there is no event. The call takes a lock, which nobody holds for long.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let copy = TaskSpec::once("copy", |ctx| {
    ///     ctx.progress(3, 10);
    ///     let snapshot = ctx.handle().snapshot()?;
    ///     let progress = snapshot.task(ctx.id()).and_then(|task| task.progress);
    ///     assert_eq!(progress.map(|it| (it.done, it.total)), Some((3, Some(10))));
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(copy)?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(&self, done: u64, total: impl Into<Option<u64>>) {
        self.cell().pulse.note_progress(Progress::new(done, total.into()));
    }

    /// Keeps the watchdog quiet for `span` or until the guard is dropped, whichever comes first.
    /// Use it for a call that is known to take long. After that, the watchdog counts its span
    /// again. With `Duration::MAX` only the guard counts. Meanwhile the attempt is taken to be
    /// alive, by a service manager as well: see [`is_well`](crate::Snapshot::is_well). So do not
    /// allow the silence of a body that waits for a device without which the service is not well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let second = Duration::from_secs(1);
    /// let flash = TaskSpec::once("flash", move |ctx| {
    ///     let quiet = ctx.allow_silence(60 * second);
    ///     ctx.sleep(30 * second)?; // erases; a watchdog of 5 s would have ended the attempt
    ///     drop(quiet);
    ///     Ok(())
    /// });
    /// let flash = flash.watchdog(5 * second).watchdog_policy(WatchdogPolicy::Cancel);
    /// let flash = supervisor.handle().add(flash)?;
    /// assert!(clock.advance_until(&flash, 60 * second).is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_silence(&self, span: Duration) -> SilenceGuard {
        SilenceGuard::new(Arc::clone(self.cell()), span)
    }
}
