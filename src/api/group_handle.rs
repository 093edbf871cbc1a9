//! [`GroupHandle`]: one group, through all its restarts.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::api::task_handle::{Awaiting, TaskHandle};
use crate::output::error::WaitError;
use crate::output::outcome::Outcome;
use crate::runtime::requests;
use crate::task::current;
use crate::task::door::Door;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::task::token::CancelToken;
use crate::vocabulary::group::GroupState;

/// Observes, steers and stops a group of tasks, through all its restarts; returned from
/// [`SupervisorHandle::add_group`](crate::SupervisorHandle::add_group). It is cheap to clone and
/// can be used from any thread. Dropping it changes nothing.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let resident = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?));
/// let line = GroupSpec::new("line").then(resident("driver")).then(resident("reader"));
/// let line = supervisor.handle().add_group(line)?;
/// assert!(line.wait_ready(Duration::from_secs(60))?);
/// assert_eq!(line.state(), GroupState::Up);
/// line.cancel(); // the reader first, then the driver
/// assert!(line.wait()?.iter().all(Outcome::is_cancelled));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct GroupHandle {
    record: Arc<GroupRecord>,
    members: Arc<[TaskHandle]>,
}

impl GroupHandle {
    pub(super) fn new(record: Arc<GroupRecord>, members: Vec<Arc<Record>>) -> Self {
        let members = members.into_iter().map(|record| TaskHandle { record }).collect();
        Self { record, members }
    }

    /// Returns the group's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Returns the handles of the members, phase after phase, in the order in which they were given
    /// to [`then`](crate::GroupSpec::then).
    ///
    /// A member that is stopped alone, by [`cancel`](TaskHandle::cancel) or because another task
    /// takes over its slot, does not start again, and the others go on without it.
    /// [`restart`](TaskHandle::restart) of a member restarts the same members as a failure of it
    /// would, but does not count as a failure. A member cannot be [paused](TaskHandle::pause).
    pub fn members(&self) -> &[TaskHandle] {
        &self.members
    }

    fn door(&self) -> &Arc<Door> {
        // No group is without members.
        &self.members[0].record.door
    }

    /// Returns where the group is in its life: `Over` once every member has its outcome.
    ///
    /// Blocks for a round trip to the controller, so do not poll it:
    /// [`wait_ready`](Self::wait_ready) and [`wait`](Self::wait) wait, and events report what
    /// happens.
    pub fn state(&self) -> GroupState {
        requests::group_state(self.door(), &self.record)
    }

    /// Waits until all phases are ready, for at most `span`, and returns whether they are. With a
    /// `span` of zero, it returns at once; `Duration::MAX` means for ever. After a
    /// [`restart`](Self::restart), it waits for the new start.
    ///
    /// A body may call this, as it may call [`TaskHandle::wait`]: it keeps its permit, and
    /// meanwhile the members need none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # use threadvisor::WaitError;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let probe = TaskSpec::new("probe", |_| Err(TaskError::fatal("no such modem")));
    /// let reader = TaskSpec::new("reader", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    /// let line = GroupSpec::new("line").then(probe.step()).then(reader);
    /// let line = supervisor.handle().add_group(line)?;
    /// assert!(matches!(line.wait_ready(Duration::MAX), Err(WaitError::NotReady)));
    /// assert!(line.wait()?[0].is_fatal());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - `NotReady`: the group was stopped, or ended before it was ready; the outcomes of its
    ///   members say why.
    /// - `WouldDeadlock`: the caller is the body of a member, or of the same
    ///   [class](crate::TaskSpec::class) as a member, or a member is queued for its slot.
    /// - `Cancelled`: the caller is a body that was told to return; pass it on with `?`.
    /// - `Closed`: this is a child that was forked from the supervisor's process.
    pub fn wait_ready(&self, span: Duration) -> Result<bool, WaitError> {
        if self.door().is_forked() {
            return Err(WaitError::Closed);
        }
        let token = current::token_to_wait_with();
        let _awaiting = if span.is_zero() { Vec::new() } else { self.await_in_body(&token)? };
        self.record.wait_ready(&token.0, span)
    }

    /// Notes that the body of the token waits for all members.
    fn await_in_body(&self, token: &CancelToken) -> Result<Vec<Option<Awaiting<'_>>>, WaitError> {
        if self.members.iter().any(|member| current::runs(&member.record)) {
            return Err(WaitError::WouldDeadlock);
        }
        self.members.iter().map(|member| member.await_in_body(token, true)).collect()
    }

    /// Waits until every member has its outcome, and returns the outcomes in the order of the
    /// [members](Self::members). Once the group is over, every call returns them immediately, as
    /// [`TaskHandle::wait`] does. A body may call this, as it may call
    /// [`wait_ready`](Self::wait_ready). A body that was told, and has cancelled the group, waits
    /// for [`ended`](TaskHandle::ended) of each member instead.
    ///
    /// # Errors
    /// - `WouldDeadlock`: the caller is the body of a member, or of the same
    ///   [class](crate::TaskSpec::class) as a member, or a member is queued for its slot.
    /// - `Cancelled`: the caller is a body that was told to return; pass it on with `?`.
    /// - `Closed`: this is a child that was forked from the supervisor's process.
    #[doc(alias = "join")]
    pub fn wait(&self) -> Result<Vec<Outcome>, WaitError> {
        let _awaiting = self.await_in_body(&current::token_to_wait_with())?;
        self.members.iter().map(TaskHandle::wait).collect()
    }

    /// Asks the group to stop for good, and returns immediately. The members of the last phase are
    /// told to return; once they have returned, or their grace is over, those of the phase before
    /// it are told, and so on. No member starts again. [`wait`](Self::wait) waits for the end.
    #[doc(alias = "stop")]
    pub fn cancel(&self) {
        requests::cancel_group(self.door(), &self.record);
    }

    /// Restarts the group, for example when a link has come up: all members are told to return,
    /// last phase first, and start again in order. This counts neither as a failure nor towards
    /// [`restart_limit`](crate::GroupSpec::restart_limit). Returns false if the group is stopping
    /// or has ended.
    ///
    /// Blocks for a round trip to the controller, but not until any attempt has returned.
    pub fn restart(&self) -> bool {
        requests::restart_group(self.door(), &self.record)
    }
}

/// Two handles are equal if they refer to the same group of the same supervisor.
impl PartialEq for GroupHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for GroupHandle {}

impl Hash for GroupHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.members[0].hash(state);
    }
}

impl fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle")
            .field("name", &self.name())
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
