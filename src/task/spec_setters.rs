//! The setters that only a spec has, and not the defaults of all tasks.

use std::time::Duration;

use crate::task::settings::Setting;
use crate::task::spec::TaskSpec;
use crate::vocabulary::plan::AtDrain;

impl TaskSpec {
    /// Puts the task into no class, even if the supervisor's
    /// [`TaskDefaults`](crate::TaskDefaults) name one: see [`class`](Self::class).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let defaults = TaskDefaults::new().class("upload");
    /// let supervisor = Supervisor::builder().class_limit("upload", 2).defaults(defaults).start()?;
    /// let local = TaskSpec::once("local", |ctx| {
    ///     assert_eq!(ctx.class_index(), None);
    ///     Ok(())
    /// });
    /// assert!(supervisor.handle().add(local.no_class())?.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_class(self) -> Self {
        self.with(Setting::Class(None))
    }

    /// Runs the body again `delay` (above zero) after each success, and implies
    /// [`RestartPolicy::Always`](crate::RestartPolicy::Always). After a failure the next attempt
    /// comes after the backoff, but never sooner than `delay` after the failure. With
    /// `Duration::MAX` it runs again only on request: by
    /// [`skip_wait`](crate::TaskHandle::skip_wait), [`restart`](crate::TaskHandle::restart), or
    /// `resume` after a pause, or with its group. Of this setting and [`every`](Self::every), the
    /// last one set counts. See the example of [`every`](Self::every), which compares the two.
    #[doc(alias = "delay")]
    #[doc(alias = "interval")]
    pub fn repeat_after(self, delay: Duration) -> Self {
        self.with(Setting::RepeatAfter(delay))
    }

    /// Runs the body on a grid of points that are `interval` (above zero) apart and begin at the
    /// first start, and implies [`RestartPolicy::Always`](crate::RestartPolicy::Always). Points
    /// that pass while the body runs are skipped, and no event says so: compare the `ran` of a
    /// success with the interval. After a failure the next attempt comes at the first point at or
    /// after the end of the backoff, so a point may be skipped: for a sampler, set a
    /// [`backoff`](Self::backoff) of 1 ms, which keeps to the grid. With
    /// [`retry_early`](Self::retry_early), a retry does not wait for the grid. Of this setting and
    /// [`repeat_after`](Self::repeat_after), the last one set counts. For runs on request as well,
    /// see [`from_threads`](crate::guide::from_threads#at-intervals-and-on-request).
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let minute = Duration::from_secs(60);
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let (started, starts) = std::sync::mpsc::channel();
    /// let now = clock.clone();
    /// let poll = TaskSpec::new("poll", move |ctx| {
    ///     started.send(now.now())?;
    ///     Ok(ctx.sleep(minute / 4)?) // `repeat_after` would start at 0, 75 and 150 s
    /// });
    /// supervisor.handle().add(poll.every(minute))?;
    /// clock.advance(minute * 2);
    /// assert_eq!(starts.try_iter().collect::<Vec<_>>(), [minute * 0, minute, minute * 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "interval")]
    #[doc(alias = "rate")]
    #[doc(alias = "cron")]
    pub fn every(self, interval: Duration) -> Self {
        self.with(Setting::Every(interval))
    }

    /// Lets the retry of a failed run come as soon as its backoff is over, and not only with the
    /// next run of [`every`](Self::every) or [`repeat_after`](Self::repeat_after). It suits a daily
    /// job that may fail only for a moment. The grid of `every` does not move. Without this
    /// setting, a retry does not come before the next run would. Either way, no run comes before
    /// the backoff is over, and a run that was due before that is skipped: so keep its longest
    /// delay far below the interval.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use threadvisor::{prelude::*, ManualClock};
    /// let clock = ManualClock::new();
    /// let supervisor = Supervisor::builder().clock(&clock).start()?;
    /// let backup = TaskOutput::new();
    /// let spec = TaskSpec::new("backup", backup.fill(|ctx| match ctx.attempt() {
    ///     1 => Err("the disk is not there yet".into()),
    ///     attempt => Ok(attempt),
    /// }));
    /// let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
    /// let spec = spec.every(day).backoff(BackoffPolicy::constant(minute)).retry_early();
    /// supervisor.handle().add(spec)?;
    /// clock.advance(minute);
    /// assert_eq!(backup.take(), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_early(self) -> Self {
        self.with(Setting::RetryEarly)
    }

    /// Delays the first attempt by `delay` after admission. During the delay, the task owns its
    /// slot but holds no thread and no permit. Default: zero. With `Duration::MAX` the task waits
    /// for [`skip_wait`](crate::TaskHandle::skip_wait). No jitter applies: to spread tasks that are
    /// added together, give them different delays. See the example of
    /// [`advance_to_next`](crate::ManualClock::advance_to_next).
    pub fn initial_delay(self, delay: Duration) -> Self {
        self.with(Setting::InitialDelay(delay))
    }

    /// Shuts the supervisor down when this task has ended by itself. It suits the task that is the
    /// purpose of the program. A task that is cancelled, rejected, or abandoned after a stop does
    /// not shut the supervisor down; one that panics or returns a fatal error when it is told to
    /// stop does.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let helper = TaskSpec::new("helper", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let main = TaskSpec::once("main", |_| Ok(())).shutdown_on_end();
    /// let report = supervisor.run([helper, main])?; // would not end without that
    /// assert!(matches!(report.shutdown.cause, ShutdownCause::TaskEnded(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "significant")]
    pub fn shutdown_on_end(self) -> Self {
        self.with(Setting::ShutdownOnEnd)
    }

    /// Stops this task when a drain begins, as [`cancel`](crate::TaskHandle::cancel) does, but with
    /// the reason [`Drain`](crate::StopReason::Drain); if it is queued for its slot, it is
    /// rejected. It suits a task that takes in work from outside, such as one that accepts
    /// connections: it then brings no work that would be refused. What its body still hands over
    /// until it returns is taken, and the drain waits for that. Then its body is dropped, and with
    /// it the sender of a channel: the reader gets what is left, and then
    /// [`RecvError::Disconnected`](crate::RecvError). Without this setting the channel stays open,
    /// and the drain waits for its reader up to the limit.
    ///
    /// Do not set it for a connection whose answers come later: its peer may lose them. Such a
    /// connection answers, shuts down its writing half, and reads to the end within a limit.
    ///
    /// During a drain, no such task is admitted. How idle connections learn of the drain is shown
    /// in [a server that drains](crate::guide::waking#a-server-that-drains).
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let accept = TaskSpec::new("accept", |ctx| {
    ///     ctx.cancelled().recv().unwrap_err(); // as an acceptor that is told to return
    ///     let last = TaskSpec::once("connection", |_| Ok(()));
    ///     ctx.handle().add(last)?;
    ///     Ok(())
    /// })
    /// .stop_at_drain();
    /// let accept = supervisor.handle().add(accept)?;
    /// accept.wait_started()?;
    /// let report = supervisor.drain(None)?;
    /// assert!(matches!(accept.wait()?, Outcome::Cancelled { reason: StopReason::Drain, .. }));
    /// assert_eq!(report.outcomes.completed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_at_drain(self) -> Self {
        self.with(Setting::AtDrain(AtDrain::Stop))
    }

    /// Lets a drain wait for the attempt that runs, and for nothing else of this task: no other
    /// attempt starts. A task that waits when the drain begins, for its slot, a permit, a delay or
    /// a retry, ends at once: in its slot's queue as `Rejected(ShuttingDown)`, otherwise as
    /// `Cancelled` with the reason [`Drain`](crate::StopReason::Drain). An attempt that a thread
    /// has taken up runs on, without hearing of it, up to the limit of the drain; this also holds
    /// under [`Always`](crate::RestartPolicy::Always) and in a group, where a drain would not wait
    /// otherwise. If it completes the task, the outcome is as ever. If another attempt would
    /// follow, a retry or the next run, the task is `Cancelled` instead, with what the body
    /// returned. A restart of its group still ends the attempt.
    ///
    /// It suits jobs that somebody else keeps until they are done, such as the messages of a
    /// broker: those that have begun are not cut short, and the others are done the next time.
    /// During a drain, no such task is admitted. Of this and
    /// [`stop_at_drain`](Self::stop_at_drain), the last call counts.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// # let handle = supervisor.handle();
    /// let (permit, permitted) = threadvisor::crossbeam_channel::unbounded::<()>();
    /// let job = move |ctx: &TaskContext| Ok(ctx.recv(&permitted)?);
    /// let begun = TaskSpec::new("job 1", job.clone()).slot("printer").finish_at_drain();
    /// let waits = TaskSpec::new("job 2", job).slot("printer").finish_at_drain();
    /// let begun = handle.submit(begun, AdmissionPolicy::Queue)?;
    /// let waits = handle.submit(waits, AdmissionPolicy::Queue)?;
    /// begun.wait_started()?;
    /// handle.request_drain(None);
    /// assert!(matches!(waits.wait()?, Outcome::Rejected(Rejection::ShuttingDown)));
    /// permit.send(())?;
    /// assert!(begun.wait()?.is_success());
    /// # supervisor.wait_shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish_at_drain(self) -> Self {
        self.with(Setting::AtDrain(AtDrain::Finish))
    }

    /// Makes the task a step of its [group](crate::GroupSpec): it is ready, so that the next phase
    /// may start, once its body has returned `Ok`. It then keeps its body, without a thread or a
    /// permit, and runs again with each restart of the group that includes its phase. Its outcome
    /// comes when the group ends.
    ///
    /// A step ends with its success, so it can neither have an interval, nor be under
    /// [`Always`](crate::RestartPolicy::Always) (that policy in the defaults does not apply to it),
    /// nor have `shutdown_on_end`. Only members of a group can be steps. See the example of
    /// [`GroupSpec`](crate::GroupSpec).
    pub fn step(self) -> Self {
        self.with(Setting::Step)
    }
}
