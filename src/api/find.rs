//! How a handle finds tasks, groups and slots, and sees everything at one moment.

use crate::api::group_handle::GroupHandle;
use crate::api::supervisor_handle::SupervisorHandle;
use crate::api::task_handle::TaskHandle;
use crate::output::error::Closed;
use crate::output::snapshot::Snapshot;
use crate::runtime::requests;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::SlotCancelled;

impl SupervisorHandle {
    /// Returns the task with this id; `None` if there is no such task, it already has its outcome,
    /// or the id is one of another supervisor.
    ///
    /// Blocks for a round trip to the controller, which searches all its tasks.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let gate = TaskSpec::new("gate", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let id = handle.add(gate)?.id(); // the id is `Copy`, and fits into a map or a log
    /// assert_eq!(handle.task(id).map(|task| task.name().to_owned()), Some("gate".to_owned()));
    /// handle.task(id).expect("it runs").cancel();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task(&self, id: TaskId) -> Option<TaskHandle> {
        let record = requests::task(&self.door, id)?;
        Some(TaskHandle { record })
    }

    /// Returns the group of this name; `None` if there is none, or it has ended.
    ///
    /// Blocks for a round trip to the controller.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let reader = TaskSpec::new("reader", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let line = supervisor.handle().add_group(GroupSpec::new("line").then(reader))?;
    /// assert_eq!(supervisor.handle().group("line"), Some(line));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, name: &str) -> Option<GroupHandle> {
        let (record, members) = requests::group(&self.door, name)?;
        Some(GroupHandle::new(record, members))
    }

    /// Returns the task that owns this slot; `None` if the slot is free. An abandoned task that
    /// holds its slot owns it until its body has returned, even if its outcome is already known.
    ///
    /// Blocks for a round trip to the controller.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let sync = TaskSpec::new("sync", |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// let sync = handle.add(sync.slot("tenant-42"))?;
    /// assert_eq!(handle.owner("tenant-42"), Some(sync));
    /// assert_eq!(handle.owner("tenant-43"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "whereis")]
    pub fn owner(&self, slot: &str) -> Option<TaskHandle> {
        let record = requests::owner(&self.door, slot)?;
        Some(TaskHandle { record })
    }

    /// Stops the owner of a slot and removes all submissions that wait for the slot, which end as
    /// [`Removed`](crate::Rejection::Removed): those whose call had returned before, on whatever
    /// thread. To let the next in the queue run instead, cancel only the [`owner`](Self::owner).
    ///
    /// Blocks for a round trip to the controller, but not until the owner has stopped. Once the
    /// supervisor has ended, it finds nothing.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// # let supervisor = Supervisor::builder().start()?;
    /// let handle = supervisor.handle();
    /// let shell = |name| TaskSpec::new(name, |ctx| Ok(ctx.sleep(std::time::Duration::MAX)?));
    /// handle.add(shell("first").slot("tty0"))?;
    /// handle.submit(shell("second").slot("tty0"), AdmissionPolicy::Queue)?;
    /// let found = handle.cancel_slot("tty0");
    /// assert_eq!((found.owner_asked, found.removed), (true, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_slot(&self, slot: &str) -> SlotCancelled {
        requests::cancel_slot(&self.door, slot)
    }

    /// Returns the state of all tasks, slots, threads and permits at one moment.
    ///
    /// Blocks for a round trip to the controller. The snapshot is made on this thread, which looks
    /// at every task and slot; the controller is hardly kept, even by 100 000 tasks (0.3 ms).
    ///
    /// # Errors
    /// [`Closed`] once the supervisor has ended, or in a child that was forked from its process.
    #[doc(alias = "status")]
    #[doc(alias = "list")]
    pub fn snapshot(&self) -> Result<Snapshot, Closed> {
        requests::snapshot(&self.door)
    }
}
