//! [`Subscribe`]: what users implement to receive events.

use std::sync::Arc;

use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::event::Event;
use crate::output::line::LogEvents;
use crate::runtime::Listen;
use crate::task::door::Door;

/// Receives events, on a thread of the supervisor that runs only subscribers.
///
/// A slow callback delays the other subscribers of its lane and, once the lane is full, makes them
/// lose events. It never delays a task. A panic in a callback is caught and reported as an event.
/// Callbacks may use a [`SupervisorHandle`], but a wait for the supervisor itself fails with
/// `WouldDeadlock`. A call that asks the controller finds the state to which the event has led, or
/// a later one; take an outcome from the event, because [`outcome`](crate::TaskHandle::outcome) may
/// be a moment behind.
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use threadvisor::prelude::*;
/// struct Names(Arc<Mutex<Vec<&'static str>>>);
/// impl Subscribe for Names {
///     fn on_event(&mut self, event: &Event) {
///         self.0.lock().unwrap().push(event.kind.label());
///     }
/// }
/// let names = Arc::new(Mutex::new(Vec::new()));
/// let supervisor = Supervisor::builder().subscriber(Names(Arc::clone(&names))).start()?;
/// supervisor.run([TaskSpec::once("a", |_| Ok(()))])?;
/// assert!(names.lock().unwrap().contains(&"attempt_succeeded"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Subscribe: Send {
    /// Called once, before the first event, on the thread of the lane: to take a handle for later,
    /// or to say that the subscriber is there. [`start`](crate::SupervisorBuilder::start) does not
    /// wait for it, and the events that come meanwhile wait in the lane. A kept handle keeps
    /// nothing alive. Default: does nothing.
    ///
    /// ```
    /// # use threadvisor::prelude::*;
    /// /// Ends the supervisor with the first failure.
    /// #[derive(Default)]
    /// struct Strict(Option<SupervisorHandle>);
    /// impl Subscribe for Strict {
    ///     fn on_start(&mut self, supervisor: &SupervisorHandle) {
    ///         self.0 = Some(supervisor.clone());
    ///     }
    ///     fn on_event(&mut self, event: &Event) {
    ///         let failed = matches!(event.kind, EventKind::AttemptFailed { .. });
    ///         if let Some(supervisor) = self.0.as_ref().filter(|_| failed) {
    ///             supervisor.request_shutdown();
    ///         }
    ///     }
    /// }
    /// let supervisor = Supervisor::builder().subscriber(Strict::default()).start()?;
    /// let report = supervisor.run([TaskSpec::new("a", |_| Err("no".into()))])?;
    /// assert_eq!(report.outcomes.cancelled, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn on_start(&mut self, supervisor: &SupervisorHandle) {
        let _ = supervisor;
    }

    /// Called for each event, one at a time, in the order of [`Event::seq`], except that
    /// [`SubscriberOverflow`](crate::EventKind::SubscriberOverflow) comes as soon as the lane moves
    /// again. Between two of these comes at least one event that was kept.
    fn on_event(&mut self, event: &Event);

    /// Returns the name that events about this subscriber show. It is read once, at the start.
    /// Default: the name of the type.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

impl<S: Subscribe> Listen for S {
    fn on_start(&mut self, door: &Arc<Door>) {
        Subscribe::on_start(self, &SupervisorHandle::new(Arc::clone(door)));
    }

    fn on_event(&mut self, event: &Event) {
        Subscribe::on_event(self, event);
    }

    fn name(&self) -> &str {
        Subscribe::name(self)
    }
}

impl Subscribe for LogEvents {
    fn on_event(&mut self, event: &Event) {
        Self::log(event);
    }

    fn name(&self) -> &'static str {
        "LogEvents"
    }
}
