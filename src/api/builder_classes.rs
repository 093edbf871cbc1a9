//! The classes of a supervisor: their declaration, and its check.

use std::sync::Arc;

use crate::api::builder::SupervisorBuilder;
use crate::output::setting_errors::InvalidSetting;
use crate::task::class_names::ClassNames;
use crate::task::spec::unusable;

impl SupervisorBuilder {
    /// Declares a class of tasks, and sets how many attempts of it may run at the same time, at
    /// least 1. [`TaskSpec::class`](crate::TaskSpec::class) puts a task into it. If the same class
    /// is declared twice, the last call counts. Default: there are no classes.
    ///
    /// Classes and their limits are fixed once the supervisor has started. For keys that come
    /// later, or limits that change, see [a limit for each
    /// key](crate::guide::from_threads#a-limit-for-each-key).
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
                let remedy = "give each class at least 1";
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
