//! [`GroupSpec`]: the description of a group: its members in phases, and what a failure of one of
//! them means for the others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::output::setting_errors::InvalidSetting;
use crate::task::class_names::ClassNames;
use crate::task::group::{GroupEntry, GroupRecord};
use crate::task::spec::{unusable, TaskSpec};
use crate::vocabulary::group::{RestartLimit, Strategy};

/// Describes a group: tasks that start in phases, one after the other, and stop in the reverse
/// order; and what a failure of one of them means for the others.
///
/// Each call of [`then`](Self::then) adds a phase, which starts once every member of the phases
/// before it is *ready* or has its outcome. A member is ready
/// - as soon as a thread has taken up its attempt;
/// - with [`ready_within`](TaskSpec::ready_within), once its body calls
///   [`ready`](crate::TaskContext::ready);
/// - with [`step`](TaskSpec::step), once its body has returned `Ok`.
///
/// A member is an ordinary task in every other respect: it has its own slot, policies, backoff,
/// handle and outcome. When a member fails and is retried, the others go on as they are, unless
/// the group is [`one_for_all`](Self::one_for_all) or [`rest_for_one`](Self::rest_for_one). The
/// page [`guide::groups`](crate::guide::groups) says when to use a group and when something else.
///
/// Constructors and setters never fail; everything is checked by
/// [`add_group`](crate::SupervisorHandle::add_group). A spec is one pointer wide.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let configure = TaskSpec::new("configure", |_| Ok(())); // sets the modem up
/// let driver = TaskSpec::new("driver", |ctx| {
///     ctx.ready(); // the port is open: the readers may start
///     Ok(ctx.sleep(Duration::MAX)?)
/// });
/// let reader = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?));
///
/// let line = GroupSpec::new("line")
///     .one_for_all() // a failure of one restarts them all
///     .restart_limit(5, Duration::from_secs(600))
///     .then(configure.step())
///     .then(driver.restart(RestartPolicy::Always).ready_within(Duration::from_secs(10)))
///     .then([reader("gps"), reader("sms")]); // side by side
/// let line = supervisor.handle().add_group(line)?;
/// assert!(line.wait_ready(Duration::from_secs(30))?);
/// let report = supervisor.shutdown()?; // the readers first, then the driver
/// let text = "group line: stopped (shutdown) in order, configure last";
/// assert_eq!(report.groups[0].to_string(), text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a spec does nothing until it is handed to a supervisor"]
pub struct GroupSpec(Box<Inner>);

struct Inner {
    name: Arc<str>,
    strategy: Strategy,
    restart_limit: Option<RestartLimit>,
    required: bool,
    /// The members of all phases, in order.
    members: Vec<TaskSpec>,
    /// How many of them each phase has.
    phases: Vec<u32>,
}

impl GroupSpec {
    /// Creates a group without members. At most one group of a name exists at a time.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(Box::new(Inner {
            name: name.into(),
            strategy: Strategy::OneForOne,
            restart_limit: None,
            required: false,
            members: Vec::new(),
            phases: Vec::new(),
        }))
    }

    /// Returns the group's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Adds the next phase: one task, or several that start side by side. It starts once all phases
    /// before it are ready or over, and is stopped before them.
    pub fn then(mut self, members: impl IntoIterator<Item = TaskSpec>) -> Self {
        let before = self.0.members.len();
        self.0.members.extend(members);
        let count = self.0.members.len() - before;
        self.0.phases.push(u32::try_from(count).unwrap_or(u32::MAX));
        self
    }

    /// Restarts all members if one fails and is retried: they are told to return, last phase first,
    /// and start again in order once all have returned and the backoff of the failed member is
    /// over. If a member fails for good, the group stops. Of this setting and
    /// [`rest_for_one`](Self::rest_for_one), the last one set counts. Default: the other members go
    /// on; but if a member fails for good while the group starts, the group stops.
    pub fn one_for_all(mut self) -> Self {
        self.0.strategy = Strategy::OneForAll;
        self
    }

    /// Restarts, if a member fails and is retried, that member and all members of later phases, as
    /// [`one_for_all`](Self::one_for_all) restarts all. The others in its phase go on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let driver = TaskSpec::new("driver", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    /// let reader = TaskSpec::new("reader", |ctx| {
    ///     if ctx.attempt() == 1 { Err("no fix")? } // the driver goes on
    ///     ctx.ready();
    ///     Ok(ctx.sleep(Duration::MAX)?)
    /// });
    /// let line = GroupSpec::new("line")
    ///     .rest_for_one()
    ///     .then(driver)
    ///     .then(reader.ready_within(Duration::from_secs(60)));
    /// let line = supervisor.handle().add_group(line)?;
    /// assert!(line.wait_ready(Duration::MAX)?);
    /// let snapshot = supervisor.handle().snapshot()?;
    /// let attempts = line.members().iter().filter_map(|it| Some(snapshot.task(it.id())?.attempt));
    /// assert_eq!(attempts.collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rest_for_one(mut self) -> Self {
        self.0.strategy = Strategy::RestForOne;
        self
    }

    /// Stops the group when failures of members have caused more than `restarts` restarts of the
    /// group within a sliding window of `within`. Restarts are counted no matter which member
    /// failed, also if it is in the last phase and no other member goes back. A restart by
    /// [`GroupHandle::restart`](crate::GroupHandle::restart) does not count, nor does one because a
    /// member under [`Always`](crate::RestartPolicy::Always) returned `Ok`. To limit only the
    /// restarts that one member causes, set [`failure_limit`](TaskSpec::failure_limit) on that
    /// member. Under the default strategy, which restarts no other member, handing over a group
    /// with this limit is `Invalid`. Default: no limit.
    pub fn restart_limit(mut self, restarts: u32, within: Duration) -> Self {
        self.0.restart_limit = Some(RestartLimit { restarts, within });
        self
    }

    /// Marks every member as a task that the service cannot do without: see
    /// [`TaskSpec::required`](crate::TaskSpec::required). A member that waits for its phase has not
    /// failed, so if only some members are marked, mark those of the phases before them as well.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let first = TaskSpec::new("first", |_| Err("no such device")?).max_retries(0);
    /// let group = GroupSpec::new("radio").then([first]).required();
    /// let _ = supervisor.handle().add_group(group)?.wait()?;
    /// assert!(!supervisor.handle().snapshot()?.is_well());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn required(mut self) -> Self {
        self.0.required = true;
        self
    }

    /// Checks the group, and takes it apart; the rest of it, without the members, is kept for an
    /// error.
    pub(super) fn take_apart(mut self, classes: &ClassNames) -> Result<Parts, Refused> {
        if let Err(error) = self.validate_for(classes) {
            return Err((error, self));
        }
        let required = self.0.required;
        let members = std::mem::take(&mut self.0.members).into_iter();
        let members = members.map(|spec| if required { spec.required() } else { spec }).collect();
        let Inner { ref name, strategy, restart_limit, ref phases, .. } = *self.0;
        let record = Arc::new(GroupRecord::new(Arc::clone(name)));
        let entry = GroupEntry { record, strategy, restart_limit, phases: phases.clone() };
        Ok((self, members, entry))
    }

    /// Puts the members back.
    pub(super) fn with_members(mut self, members: Vec<TaskSpec>) -> Self {
        self.0.members = members;
        self
    }

    fn validate_for(&self, classes: &ClassNames) -> Result<(), InvalidSetting> {
        let of_group = |fault| InvalidSetting { group: Some(Arc::clone(&self.0.name)), ..fault };
        let members = &self.0.members;
        self.check().map_err(of_group)?;
        members.iter().try_for_each(|member| member.validate_member(classes)).map_err(of_group)
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let Inner { name, strategy, restart_limit, phases, .. } = &*self.0;
        if unusable(name) {
            let remedy = "give a text that is not empty and has no NUL";
            return Err(InvalidSetting::new("name", name, remedy));
        }
        if phases.is_empty() {
            return Err(InvalidSetting::new(
                "then",
                format_args!("missing"),
                "give the group at least one member",
            ));
        }
        if let Some(empty) = phases.iter().position(|&members| members == 0) {
            let remedy = "give each phase at least one member";
            return Err(InvalidSetting::new(
                "then",
                format_args!("empty in phase {empty}"),
                remedy,
            ));
        }
        match restart_limit {
            Some(RestartLimit { within, .. }) if within.is_zero() => {
                Err(InvalidSetting::new("restart_limit", within, "give a span above zero"))
            }
            Some(RestartLimit { restarts, .. }) if *strategy == Strategy::OneForOne => {
                let remedy =
                    "set one_for_all or rest_for_one as well, or max_retries or failure_limit of \
                              the members instead";
                Err(InvalidSetting::new("restart_limit", restarts, remedy))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A spec without its members, these, and what is handed over with them.
type Parts = (GroupSpec, Vec<TaskSpec>, GroupEntry);

type Refused = (InvalidSetting, GroupSpec);

/// Lets errors name the members of a group that they give back.
impl AsRef<[TaskSpec]> for GroupSpec {
    fn as_ref(&self) -> &[TaskSpec] {
        &self.0.members
    }
}

impl fmt::Debug for GroupSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSpec")
            .field("name", &self.0.name)
            .field("strategy", &self.0.strategy)
            .field("restart_limit", &self.0.restart_limit)
            .field("members", &self.0.members)
            .field("phases", &self.0.phases)
            .finish()
    }
}
