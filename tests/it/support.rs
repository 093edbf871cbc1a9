//! What the tests share: watchdogs, gates and bodies. Nothing here sleeps for something to happen.

use std::cell::RefCell;
use std::panic;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{
    bounded, select, unbounded, Receiver, RecvTimeoutError, Sender,
};
use threadvisor::prelude::*;
use threadvisor::{SupervisorBuilder, WaitError};

/// No wait takes this long unless the promise is broken.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// The next message, which must come.
#[track_caller]
pub(crate) fn next<T>(messages: &Receiver<T>) -> T {
    messages.recv_timeout(WATCHDOG).expect("nothing came")
}

/// The outcome, which must come.
#[track_caller]
pub(crate) fn outcome_of(task: &TaskHandle) -> Outcome {
    task.wait_timeout(WATCHDOG).unwrap().unwrap_or_else(|| panic!("{task:?} has no outcome"))
}

/// Runs a call on a thread of its own, so that one that hangs fails the test.
#[track_caller]
pub(crate) fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let result = on_thread(call);
    next(&result)
}

/// Starts a call on a thread of its own. Its result comes on the channel.
pub(crate) fn on_thread<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Receiver<T> {
    let (send, result) = bounded(1);
    let run = move || drop(send.send(call()));
    thread::Builder::new().name("caller".to_owned()).spawn(run).unwrap();
    result
}

/// The name of the thread that calls this.
pub(crate) fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// Holds bodies that take no notice of their tokens, until opened or dropped.
pub(crate) struct Gate {
    entered: Receiver<()>,
    enter: Sender<()>,
    closed: Option<Sender<()>>,
    opened: Receiver<()>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (enter, entered) = unbounded();
        let (closed, opened) = bounded(0);
        Self { entered, enter, closed: Some(closed), opened }
    }

    /// What a body calls to be held. Repeatedly usable; passes at once when open.
    pub(crate) fn hold(&self) -> impl Fn() + Send + Sync + 'static {
        let (enter, opened) = (self.enter.clone(), self.opened.clone());
        move || {
            let _ = enter.send(());
            let _ = opened.recv();
        }
    }

    /// A body that is held once and then succeeds.
    pub(crate) fn body(&self) -> impl FnMut(&TaskContext) -> TaskResult + Send + 'static {
        let hold = self.hold();
        move |_| {
            hold();
            Ok(())
        }
    }

    /// Waits until one more caller is held here.
    #[track_caller]
    pub(crate) fn wait_entered(&self) {
        next(&self.entered);
    }

    /// Lets everybody pass.
    pub(crate) fn open(&mut self) {
        self.closed = None;
    }
}

/// A task that does nothing until told to return, and then obeys.
pub(crate) fn resident(name: &str) -> TaskSpec {
    TaskSpec::new(name, |ctx| Ok(ctx.sleep(Duration::MAX)?))
}

/// A task that succeeds at once.
pub(crate) fn no_op(name: &str) -> TaskSpec {
    TaskSpec::once(name, |_| Ok(()))
}

/// Keeps all events it is told of.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<Event>>>);

impl Trace {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// The labels of all events, or of those of one task.
    pub(crate) fn labels(&self, task: Option<&TaskHandle>) -> Vec<&'static str> {
        let events = self.0.lock().unwrap();
        let of_task = |event: &&Event| {
            task.map_or(true, |task| event.task.as_ref().is_some_and(|own| own.id == task.id()))
        };
        events.iter().filter(of_task).map(|event| event.kind.label()).collect()
    }
}

impl Subscribe for Trace {
    fn on_event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A supervisor whose events are kept, and can be waited for.
pub(crate) struct Rig {
    pub(crate) supervisor: Supervisor,
    pub(crate) handle: SupervisorHandle,
    coming: Receiver<Event>,
    kept: RefCell<Vec<Event>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::start(Supervisor::builder())
    }

    pub(crate) fn start(builder: SupervisorBuilder) -> Self {
        let (keep, coming) = unbounded();
        let keep = move |event: &Event| drop(keep.send(event.clone()));
        let supervisor = builder.event_capacity(1 << 20).on_event(keep).start().unwrap();
        Self { handle: supervisor.handle(), supervisor, coming, kept: RefCell::default() }
    }

    /// Waits until the task's event comes that reads so, if it has not come yet; see [`brief`].
    #[track_caller]
    pub(crate) fn until(&self, task: &TaskHandle, text: &str) -> Event {
        self.until_one(text, |event| is_about(event, task))
    }

    /// Does the same for an event of a group.
    #[track_caller]
    pub(crate) fn until_group(&self, group: &str, text: &str) -> Event {
        self.until_one(text, |event| is_of_group(event, group))
    }

    #[track_caller]
    fn until_one(&self, text: &str, is_about: impl Fn(&Event) -> bool) -> Event {
        let fits = |event: &Event| is_about(event) && brief(&event.kind) == text;
        if let Some(event) = self.kept.borrow().iter().find(|event| fits(event)) {
            return event.clone();
        }
        loop {
            let event = self.coming.recv_timeout(WATCHDOG);
            let event = event.unwrap_or_else(|_| panic!("{text:?} never came"));
            self.kept.borrow_mut().push(event.clone());
            if fits(&event) {
                return event;
            }
        }
    }

    /// Waits until an event with this label comes, if none has come yet.
    #[track_caller]
    pub(crate) fn until_label(&self, label: &str) -> Event {
        let fits = |event: &&Event| event.kind.label() == label;
        if let Some(event) = self.kept.borrow().iter().find(fits) {
            return event.clone();
        }
        loop {
            let event = self.coming.recv_timeout(WATCHDOG);
            let event = event.unwrap_or_else(|_| panic!("{label:?} never came"));
            self.kept.borrow_mut().push(event.clone());
            if fits(&&event) {
                return event;
            }
        }
    }

    /// All events so far; to the last one, if the supervisor has ended.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.catch_up();
        self.kept.borrow().clone()
    }

    /// The task's events so far, in brief.
    pub(crate) fn story(&self, task: &TaskHandle) -> Vec<String> {
        self.catch_up();
        let kept = self.kept.borrow();
        // Whether a slow machine had a thread looked at is not part of the story.
        let told = |event: &&Event| {
            is_about(event, task) && !matches!(event.kind, EventKind::StallReport { .. })
        };
        kept.iter().filter(told).map(|event| brief(&event.kind)).collect()
    }

    /// The events of a group so far, in brief.
    pub(crate) fn group_story(&self, group: &str) -> Vec<String> {
        self.catch_up();
        let kept = self.kept.borrow();
        let told = kept.iter().filter(|event| is_of_group(event, group));
        told.map(|event| brief(&event.kind)).collect()
    }

    fn catch_up(&self) {
        let mut kept = self.kept.borrow_mut();
        match self.handle.flush_events() {
            Ok(()) => kept.extend(self.coming.try_iter()),
            Err(WaitError::Closed) => loop {
                match self.coming.recv_timeout(WATCHDOG) {
                    Ok(event) => kept.push(event),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => panic!("the last event never came"),
                }
            },
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_about(event: &Event, task: &TaskHandle) -> bool {
    event.task.as_ref().is_some_and(|about| about.id == task.id())
}

fn is_of_group(event: &Event, group: &str) -> bool {
    event.task.is_none() && event.group.as_deref() == Some(group)
}

/// An event without what differs from run to run: its label, the attempt, and what a reader would
/// ask next.
pub(crate) fn brief(kind: &EventKind) -> String {
    let text = |error: &Option<TaskError>| match error {
        Some(error) => error.to_string(),
        None => "-".to_owned(),
    };
    let fields = match kind {
        EventKind::Submitted { policy } => policy.to_string(),
        EventKind::Queued { depth } => depth.to_string(),
        EventKind::Rejected { why } => why.label().to_owned(),
        EventKind::WaitingForPermit { class } => class.as_deref().unwrap_or_default().to_owned(),
        EventKind::SlotTransition { terminating } => terminating.to_string(),
        EventKind::AttemptStarting { attempt, .. }
        | EventKind::AttemptSucceeded { attempt, .. }
        | EventKind::AttemptOverdue { attempt, .. }
        | EventKind::RunScheduled { attempt, .. } => attempt.to_string(),
        EventKind::AttemptCancelled { attempt, error, .. }
        | EventKind::AttemptTimedOut { attempt, error, .. } => {
            format!("{attempt}: {}", text(error))
        }
        EventKind::AttemptFailed { attempt, error, .. }
        | EventKind::AttemptPanicked { attempt, error, .. } => format!("{attempt}: {error}"),
        EventKind::AttemptReturned { attempt, returned_ok: true, .. } => format!("{attempt}: ok"),
        EventKind::AttemptReturned { attempt, error, .. } => format!("{attempt}: {}", text(error)),
        EventKind::AttemptStopping { attempt, reason, .. }
        | EventKind::AttemptAbandoned { attempt, reason, .. } => format!("{attempt}: {reason}"),
        EventKind::RetryScheduled { attempt, cause, .. } => format!("{attempt}: {cause}"),
        EventKind::AttemptReady { attempt, .. } => format!("{attempt}"),
        EventKind::AttemptStable { attempt, failures } => format!("{attempt}: {failures}"),
        EventKind::TaskEnded { outcome, .. } => outcome.to_string(),
        EventKind::GroupRestarting { culprit: Some(task), restarts } => {
            format!("{restarts}: {}", task.name)
        }
        EventKind::GroupRestarting { culprit: None, restarts } => restarts.to_string(),
        EventKind::GroupStopping { why, culprit: Some(task) } => format!("{why}: {}", task.name),
        EventKind::GroupStopping { why, culprit: None } => why.to_string(),
        _ => String::new(),
    };
    format!("{} {fields}", kind.label()).trim_end().to_owned()
}

/// How a puppet returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ok,
    Fail,
    Fatal,
    /// `TaskError::cancelled()`.
    Cancelled,
    /// What its own token says; `Ok` if that says nothing.
    Obey,
    /// What the cancelled token of something else says.
    Foreign,
    Panic,
}

/// The strings of a task whose body does nothing of its own accord: it takes note of its token, and
/// returns when and as it is told here. Once the strings are dropped it succeeds at once.
pub(crate) struct Puppet {
    started: Receiver<u64>,
    told: Receiver<CancelReason>,
    ends: Sender<End>,
}

impl Puppet {
    pub(crate) fn new(name: &str) -> (TaskSpec, Self) {
        let (start, started) = unbounded();
        let (tell, told) = unbounded();
        let (ends, orders) = unbounded();
        let body = move |ctx: &TaskContext| {
            let _ = start.send(ctx.attempt());
            let order = select! {
                recv(orders) -> order => order,
                recv(ctx.cancelled()) -> _ => {
                    let _ = tell.send(ctx.reason().unwrap());
                    orders.recv()
                }
            };
            perform(order.unwrap_or(End::Ok), ctx)
        };
        (TaskSpec::new(name, body), Self { started, told, ends })
    }

    /// Waits for the start of the next attempt and says its number.
    #[track_caller]
    pub(crate) fn started(&self) -> u64 {
        next(&self.started)
    }

    /// Whether no attempt has started since the last one waited for.
    pub(crate) fn rests(&self) -> bool {
        self.started.is_empty()
    }

    /// Waits until the body has seen its token cancelled, and says why it was.
    #[track_caller]
    pub(crate) fn told(&self) -> CancelReason {
        next(&self.told)
    }

    /// Lets one attempt return. False if the body has been dropped.
    pub(crate) fn end(&self, end: End) -> bool {
        self.ends.send(end).is_ok()
    }
}

fn perform(end: End, ctx: &TaskContext) -> TaskResult {
    match end {
        End::Ok => Ok(()),
        End::Fail => Err("boom".into()),
        End::Fatal => Err(TaskError::fatal("hopeless")),
        End::Cancelled => Err(TaskError::cancelled()),
        End::Obey => Ok(ctx.check()?),
        End::Foreign => {
            let (other, canceller) = TaskContext::detached();
            canceller.cancel();
            Ok(other.check()?)
        }
        // Spares the log what the hook of an unexpected panic writes.
        End::Panic => panic::resume_unwind(Box::new("ouch")),
    }
}

/// A body whose destructor says that it runs, and does not return before the sender is gone.
pub(crate) fn slow_to_drop(
) -> (impl FnMut(&TaskContext) -> TaskResult + Send + 'static, Receiver<()>, Sender<()>) {
    let (drops, dropping) = unbounded();
    let (may, waits) = bounded::<()>(0);
    let owned = OnDrop(move || {
        let _ = drops.send(());
        let _ = waits.recv();
    });
    let body = move |_: &TaskContext| {
        let _ = &owned;
        Ok(())
    };
    (body, dropping, may)
}

/// A value that runs a call when it is dropped: a stand-in for the port or file that a body owns.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
