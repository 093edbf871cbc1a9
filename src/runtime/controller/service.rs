//! What the controller knows of the tasks that the service cannot do without, and what it has told
//! to the service manager.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::machine::{State, Task};
use crate::output::event::EventKind;
use crate::runtime::pool::Work;
use crate::runtime::publish::About;
use crate::runtime::required::{RequiredTask, Standing};
use crate::runtime::service::{Facts, Service, ServiceSetup};
use crate::task::request::ServiceRequest;
use crate::vocabulary::id::{TaskAddr, TaskKey, TaskRef};
use crate::vocabulary::reason::TaskState;

/// What a shutdown may take beyond its grace and the event flush.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// What is told to a service manager, and how the controller finds out what that is: only a program
/// that asks for a service manager contains it.
pub(crate) struct ServiceLink {
    /// Boxed, because few supervisors have one.
    pub(super) service: Box<Service>,
    /// All required tasks were ready at one moment.
    were_ready: bool,
    look: fn(&mut Controller, &mut Self),
}

impl ServiceLink {
    /// `None` if nobody is to be told anything.
    pub(crate) fn new(setup: ServiceSetup) -> Option<Self> {
        let service = Service::new(setup)?;
        Some(Self { service, were_ready: false, look: Controller::look_for })
    }
}

impl Controller {
    pub(super) fn serve_service_request(&mut self, request: ServiceRequest) {
        if let Some(link) = &mut self.service {
            link.service.serve(request);
        }
    }

    /// Tells the service manager what is due.
    pub(super) fn serve_service(&mut self) {
        let Some(mut link) = self.service.take() else { return };
        if link.service.deadline() <= self.real {
            (link.look)(self, &mut link);
        }
        if let Some(chores) = link.service.take_chores() {
            self.pool.push(Work::Chores(chores));
        }
        self.service = Some(link);
    }

    fn look_for(&mut self, link: &mut ServiceLink) {
        let service = &mut link.service;
        let (ready, start_bound) = if service.awaits_ready() {
            (link.were_ready || self.is_ready(), self.start_bound())
        } else {
            (false, None)
        };
        let troubles = self.troubles();
        let sick = troubles.first().map(|(task, what)| format!("{} {what}", task.name));
        let text = service.text();
        let status = || self.status(text.as_deref());
        let facts = Facts { ready, start_bound, sick: sick.as_deref(), status: &status };
        let was_sick = service.is_sick();
        let error = service.speak(self.real, &facts);
        let kind = match (was_sick, service.is_sick()) {
            (false, true) => {
                let tasks = troubles.into_iter().map(|(task, _)| task).collect();
                Some(EventKind::ServiceSick { tasks })
            }
            // Once it stops, nobody is told any more whether it is.
            (true, false) if !service.is_stopping() => Some(EventKind::ServiceWell),
            _ => None,
        };
        if let Some(kind) = kind {
            self.publisher.publish(self.now, About::Supervisor, kind);
        }
        if let Some(error) = error {
            self.publish_unheard(error);
        }
    }

    /// A chore has failed.
    pub(super) fn chore_failed(&mut self, error: io::Error) {
        let error = self.service.as_mut().and_then(|link| link.service.note_failed(error));
        if let Some(error) = error {
            self.publish_unheard(error);
        }
    }

    fn publish_unheard(&mut self, error: io::Error) {
        let kind = EventKind::NotifyFailed { error: Arc::new(error) };
        self.publisher.publish(self.now, About::Supervisor, kind);
    }

    /// A drain or a shutdown begins: the service manager hears of it before any body is told.
    pub(super) fn begin_stopping(&mut self, rest_of_drain: Duration) {
        if let Some(link) = &mut self.service {
            let limits = self.machine.limits();
            let span = rest_of_drain.saturating_add(limits.grace);
            let span = span.saturating_add(limits.event_flush).saturating_add(STOP_MARGIN);
            link.service.begin_stopping(span);
            self.serve_service();
        }
    }

    /// Lets go of the watchdog of the hardware, unless something is stuck.
    pub(super) fn end_service(&mut self, stuck: u32) {
        let Some(mut link) = self.service.take().filter(|_| stuck == 0) else { return };
        link.service.release();
        if let Some(chores) = link.service.take_chores() {
            self.pool.push(Work::Chores(chores));
        }
    }

    /// A task was accepted. If the service depends on it, it must be seen to hang before the
    /// service manager misses a sign of life.
    pub(super) fn look_at_watchdog(&mut self, TaskAddr { key, id }: TaskAddr) {
        let Some(link) = self.service.as_mut().filter(|_| self.required.contains(id)) else {
            return;
        };
        let task = self.machine.tasks().get(key);
        let watchdog = task.and_then(|task| task.plan.watchdog);
        if let (Some(watchdog), Some(belongings)) = (watchdog, self.values.get(key)) {
            link.service.look_at_watchdog(&belongings.record().name, watchdog.max_silence);
        }
    }

    /// Whether no required task is in trouble.
    pub(super) fn is_well(&self) -> bool {
        self.required.is_empty() || self.troubles().is_empty()
    }

    /// What is wrong with the required tasks.
    fn troubles(&self) -> Vec<(TaskRef, String)> {
        let failed = self.required.failed().iter().map(|task| (task.clone(), "failed".to_owned()));
        let others = self.required.iter().filter_map(|required| {
            let standing = self.standing(required.key)?;
            let what = self.required.trouble(required, standing, self.now)?;
            Some((self.values.get(required.key)?.task_ref(), what))
        });
        failed.chain(others).collect()
    }

    /// A required task may just have become ready. This is asked at once: it may fail before the
    /// service manager is told of anything.
    pub(super) fn note_may_be_ready(&mut self) {
        let asks = |link: &ServiceLink| !link.were_ready && link.service.awaits_ready();
        if self.service.as_ref().is_some_and(asks) && self.is_ready() {
            self.service.as_mut().expect("it was there").were_ready = true;
        }
    }

    fn is_ready(&self) -> bool {
        self.required.failed().is_empty() && self.unready().next().is_none()
    }

    /// The required tasks that are not ready.
    fn unready(&self) -> impl Iterator<Item = &RequiredTask> {
        self.required.iter().filter(|task| {
            let standing = self.standing(task.key);
            !standing.is_some_and(|standing| task.is_ready(standing))
        })
    }

    /// How long it takes until the required tasks are ready, if each that is not says when it is at
    /// the latest, and has not failed.
    fn start_bound(&self) -> Option<Duration> {
        let mut bound = Duration::ZERO;
        for required in self.unready() {
            let task = self.machine.tasks().get(required.key)?;
            let within = task.plan.ready_within.filter(|_| task.streak == 0)?;
            let left = match task.state {
                State::Running { deadline, .. } if !deadline.is_never() => self.now.until(deadline),
                _ => within,
            };
            bound = bound.max(left);
        }
        Some(bound).filter(|_| self.required.failed().is_empty())
    }

    fn standing(&self, key: TaskKey) -> Option<Standing> {
        let task = self.machine.tasks().get(key)?;
        let runs_since = match task.state {
            State::Running { claimed_at, .. } => Some(claimed_at),
            _ => None,
        };
        Some(Standing {
            abandoned: matches!(task.state, State::Abandoned { .. }),
            rests: task.is_paused() && !task.state.holds_permit(),
            runs_since,
            has_run: task.attempt > u64::from(matches!(task.state, State::Starting { .. })),
            attempt: task.attempt,
            streak: task.streak,
            says_ready: task.plan.ready_within.is_some(),
        })
    }

    /// One line about the supervisor. It changes only when something goes wrong or right, so a task
    /// that runs once a second is not told of once a second.
    fn status(&self, text: Option<&str>) -> String {
        let tasks = self.machine.tasks();
        let mut status = text.map_or_else(String::new, |text| format!("{text}; "));
        if !self.machine.is_running() {
            status.push_str("stopping, ");
        } else if self.machine.is_draining() {
            status.push_str("draining, ");
        }
        let is_open = |task: &&Task| !task.state.is_over();
        let number = tasks.iter().filter(is_open).count();
        let _ = write!(status, "{number} task{}", if number == 1 { "" } else { "s" });

        let stable = |task: &Task| match task.state {
            State::Running { health, .. } => health.is_stable(self.now),
            _ => false,
        };
        self.count(&mut status, "failing", |task| task.streak > 0 && !stable(task));
        self.count(&mut status, "silent", |task| task.state.is_silent());
        self.count(&mut status, "abandoned", |task| task.state.name() == TaskState::Abandoned);
        status
    }

    /// Says how many tasks are like that, with the name of the first.
    fn count(&self, status: &mut String, word: &str, is: impl Fn(&Task) -> bool) {
        let mut found = self.machine.tasks().iter().filter(|task| is(task)).peekable();
        let Some(first) = found.peek() else { return };
        let name = self.values.get(first.addr.key).map_or("", |it| &it.record().name);
        let failures = match (word, first.streak) {
            ("failing", 1) => ", 1 failure".to_owned(),
            ("failing", streak) => format!(", {streak} failures"),
            _ => String::new(),
        };
        let _ = write!(status, ", {} {word} ({name}{failures})", found.count());
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
