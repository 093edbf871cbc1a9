//! The classes of a supervisor: their declaration, its check, and other limits later.

use std::sync::Arc;

use crate::api::builder::{saturate, SupervisorBuilder};
use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::setting_errors::InvalidSetting;
use crate::runtime::requests;
use crate::task::class_names::ClassNames;
use crate::task::spec::unusable;

impl SupervisorBuilder {
    /// Declares a class of tasks, and sets how many attempts of it may run at the same time, at
    /// least 1. [`TaskSpec::class`](crate::TaskSpec::class) puts a task into it. If the same class
    /// is declared twice, the last call counts. Default: there are no classes.
    ///
    /// The set of classes is fixed once the supervisor has started; for keys that come later,
    /// see [a limit for each key](crate::guide::from_threads#a-limit-for-each-key).
    /// [`SupervisorHandle::set_class_limit`] changes a limit.
    ///
    /// A class with a lower limit than [`max_concurrent`](Self::max_concurrent) always leaves the
    /// rest of the permits to other tasks. Within a class, tasks start in the order in which they
    /// began to wait; for priorities, see [urgent
    /// work](crate::guide::from_threads#urgent-work). An attempt that is abandoned under `Hold`
    /// keeps its permit of the class until it has returned. If all permits may be held by such
    /// attempts, give the tasks an [`expires_in`](crate::TaskSpec::expires_in), so that they do not
    /// wait for ever.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder()
    ///     .max_concurrent(8)
    ///     .class_limit("flash", 1) // one writer to the flash at a time
    ///     .class_limit("upload", 3) // five permits are always left for the rest
    ///     .start()?;
    /// let handle = supervisor.handle();
    /// for tenant in 0..100 {
    ///     let sync = TaskSpec::once(format!("sync-{tenant}"), |_| Ok(()));
    ///     handle.submit(sync.class("upload"), AdmissionPolicy::KeepLatest)?;
    /// }
    /// let misspelt = handle.add(TaskSpec::once("update", |_| Ok(())).class("flsh")).unwrap_err();
    /// let text = "task \"update\": class cannot be \"flsh\": \
    ///             declare it with SupervisorBuilder::class_limit";
    /// assert_eq!(misspelt.to_string(), text);
    /// let update = handle.add(misspelt.into_spec().class("flash"))?;
    /// assert!(update.wait()?.is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "priority")]
    #[doc(alias = "semaphore")]
    pub fn class_limit(mut self, name: impl Into<Arc<str>>, attempts: usize) -> Self {
        self.classes.insert(name.into(), attempts);
        self
    }

    pub(super) fn check_classes(&self) -> Result<ClassNames, InvalidSetting> {
        for (name, attempts) in self.classes.iter() {
            if *attempts == 0 {
                let remedy = "give at least 1; set_class_limit can hold the class back later";
                return Err(InvalidSetting::new(
                    "class_limit",
                    format_args!("0 for class {name:?}"),
                    remedy,
                ));
            }
            if unusable(name) {
                let remedy = "give a name that is not empty and has no NUL";
                return Err(InvalidSetting::new("class_limit", name, remedy));
            }
        }
        let names =
            ClassNames::new(self.classes.iter().map(|(name, _)| Arc::clone(name)).collect());
        self.defaults.0.check_class(&names)?;
        Ok(names)
    }
}

impl SupervisorHandle {
    /// Sets how many attempts of a class may run at the same time from now on. With 0, the class is
    /// held back: no task of it gets a permit until a higher limit is set.
    ///
    /// A higher limit lets the first of those that wait go on at once: they start, or wait for a
    /// permit to run. A lower one takes no permit back. Whoever holds one keeps it, and no other
    /// task gets one until fewer than `attempts` are held; meanwhile,
    /// [`ClassSnapshot::held`](crate::ClassSnapshot) is above the limit. A task that holds one, and
    /// still waits for a permit to run, starts later all the same, even after a 0: so keep the
    /// limit low enough that [`max_concurrent`](SupervisorBuilder::max_concurrent) leaves a permit
    /// to run for each.
    ///
    /// [`TaskHandle::restart`](crate::TaskHandle::restart) makes a running task give its permit
    /// back, and wait for its turn. If bodies choose a port by their
    /// [`class_index`](crate::TaskContext::class_index), have as many ports as the highest limit
    /// that you ever set.
    ///
    /// Groups and drains wait for tasks that wait for the class. While the class is held back, or
    /// tasks that run for ever hold all its permits, a group with other members in the class is not
    /// ready, and a drain without a limit does not end. A group that is too large for the limit
    /// when it is handed over is refused (`GroupTooLarge`).
    ///
    /// Blocks for a round trip to the controller; when it returns, the limit is in force. Works on
    /// any thread. During a shutdown nothing starts, whatever the limit is. Once the supervisor has
    /// ended, and in a forked child, it changes nothing and returns `Ok` for a declared class.
    /// `max_concurrent` cannot change: for a pool whose size changes, put its tasks into a class.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// let supervisor = Supervisor::builder().class_limit("upload", 1).start()?;
    /// let handle = supervisor.handle();
    /// let upload = |name| {
    ///     let body = |ctx: &TaskContext| Ok(ctx.sleep(std::time::Duration::MAX)?);
    ///     TaskSpec::new(name, body).class("upload")
    /// };
    /// let (first, second) = (handle.add(upload("first"))?, handle.add(upload("second"))?);
    /// first.wait_started()?;
    /// assert_eq!(second.state(), TaskState::Runnable); // it waits for a permit of its class
    ///
    /// handle.set_class_limit("upload", 2)?; // the cable is plugged in
    /// second.wait_started()?;
    ///
    /// handle.set_class_limit("upload", 1)?; // unplugged: both go on, and no third starts
    /// let uploads = handle.snapshot()?.class("upload").cloned().expect("it is declared");
    /// assert_eq!((uploads.held, uploads.limit), (2, 1));
    ///
    /// let unknown = handle.set_class_limit("download", 1).unwrap_err();
    /// let text = "set_class_limit cannot be \"download\": \
    ///             declare it with SupervisorBuilder::class_limit";
    /// assert_eq!(unknown.to_string(), text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidSetting`]: there is no such class; declare it with
    /// [`SupervisorBuilder::class_limit`].
    #[doc(alias = "pause")]
    #[doc(alias = "resize")]
    #[doc(alias = "set_max_concurrent")]
    pub fn set_class_limit(&self, name: &str, attempts: usize) -> Result<(), InvalidSetting> {
        let undeclared = "declare it with SupervisorBuilder::class_limit";
        let class = self.door.classes.key(name);
        let class =
            class.ok_or_else(|| InvalidSetting::new("set_class_limit", name, undeclared))?;
        requests::set_class_limit(&self.door, class, saturate(attempts));
        Ok(())
    }
}
