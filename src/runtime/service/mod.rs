//! What is told to a service manager, and to the hardware's watchdog. The controller owns it; there
//! is no thread of its own.
//!
//! Each module uses only those listed below it.

mod chores;
mod state;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use chores::Chores;
use chores::{remove, Chore, Files};
pub(super) use state::Facts;
use state::{Again, ServiceState};

use crate::platform::notify::{monotonic_micros, NotifySocket};
use crate::task::request::ServiceRequest;
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::time::{RealTime, Seconds};

/// How the service manager is to be told.
#[derive(Debug, Default)]
pub(crate) struct ServiceSetup {
    pub(crate) socket: Option<NotifySocket>,
    pub(crate) watchdog: Option<Duration>,
    pub(crate) ready_fd: Option<File>,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) hardware: Option<(PathBuf, Duration)>,
}

pub(super) struct Service {
    state: ServiceState,
    socket: Option<NotifySocket>,
    chores: Arc<Chores>,
    /// The chores, if a worker must be sent for them.
    due_chores: Option<Arc<Chores>>,
    announced: bool,
    text: Option<Arc<str>>,
    news: News,
    /// The latest message, or chore, has failed, and that was published.
    failing: bool,
}

/// What has changed that nobody was told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    No,
    /// Only the status waits for its time.
    InStatus,
    Any,
}

/// Removes what an earlier life of the service has left behind.
pub(crate) fn remove_stale(ready_file: &std::path::Path) -> io::Result<()> {
    let folder = ready_file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if !folder.map_or(Ok(true), |it| std::fs::metadata(it).map(|it| it.is_dir()))? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its parent is not a folder"));
    }
    remove(ready_file)
}

impl Service {
    /// `None` if nobody is to be told anything.
    pub(super) fn new(setup: ServiceSetup) -> Option<Box<Self>> {
        let ServiceSetup { socket, watchdog, ready_fd, ready_file, hardware } = setup;
        let is_needed =
            socket.is_some() || ready_fd.is_some() || ready_file.is_some() || hardware.is_some();
        let (device, period) = hardware.unzip();
        let files = Files { ready_fd, ready_file, watchdog: device, ..Files::default() };
        is_needed.then(|| {
            Box::new(Self {
                state: ServiceState::new(socket.is_some(), watchdog, period),
                socket,
                chores: Arc::new(Chores::new(files)),
                due_chores: None,
                announced: false,
                text: None,
                news: News::Any,
                failing: false,
            })
        })
    }

    pub(super) fn serve(&mut self, request: ServiceRequest) {
        self.touch();
        match request {
            ServiceRequest::Announce => self.announced = true,
            ServiceRequest::Status(text) => {
                self.text = Some(text).filter(|text| !text.is_empty()).map(Arc::from);
            }
            ServiceRequest::BeginReload => self.state.begin_reload(monotonic_micros()),
            ServiceRequest::EndReload => self.state.end_reload(),
        }
    }

    /// Something has changed.
    pub(super) fn touch(&mut self) {
        self.news = News::Any;
    }

    /// The text of the program, which stands before what the supervisor counts.
    pub(super) fn text(&self) -> Option<Arc<str>> {
        self.text.clone()
    }

    /// Whether the start waits for nothing but the required tasks.
    pub(super) fn awaits_ready(&self) -> bool {
        self.announced && self.state.is_starting()
    }

    pub(super) fn deadline(&self) -> RealTime {
        let look = match self.news {
            News::No => RealTime::NEVER,
            News::InStatus => self.state.next_status(),
            News::Any => self.state.next_look(),
        };
        self.state.deadline().min(look)
    }

    pub(super) const fn is_sick(&self) -> bool {
        self.state.is_sick()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.is_stopping()
    }

    /// A drain or a shutdown begins, which may take so long.
    pub(super) fn begin_stopping(&mut self, extension: Duration) {
        if !self.state.is_stopping() {
            self.state.begin_stopping(extension);
            self.add(Chore::Stopping);
        }
    }

    /// Says what is to be said now. Returns an error that is to be published.
    pub(super) fn speak(&mut self, now: RealTime, facts: &Facts<'_>) -> Option<io::Error> {
        // A status that comes too soon after the last waits, whatever else is said meanwhile.
        let waits = self.news != News::No && self.state.next_status() > now;
        self.news = if waits { News::InStatus } else { News::No };
        let was_starting = self.state.is_starting();
        let mut error = None;
        while let Some(datagram) = self.state.step(now, facts) {
            let Some(socket) = &self.socket else { continue };
            match socket.send(&datagram.text) {
                Ok(()) => self.failing = false,
                Err(again) if again.kind() == io::ErrorKind::WouldBlock => {
                    self.state.undelivered(now, datagram, Again::Soon);
                }
                Err(none) => {
                    self.state.undelivered(now, datagram, Again::WithNext);
                    error = error.or_else(|| self.note_failed(none));
                }
            }
        }
        if was_starting && !self.state.is_starting() && !self.state.is_stopping() {
            self.news = News::No;
            self.add(Chore::Ready);
        }
        if self.state.pets(now, facts) {
            self.add(Chore::Pet);
        }
        error
    }

    /// Warns of a required task whose watchdog comes too late.
    pub(super) fn look_at_watchdog(&mut self, task: &str, span: Duration) {
        if self.state.ping_period().is_some_and(|period| span >= period) {
            let (task, span) = (Escaped(task), Seconds(span));
            self.add(Chore::Warn(format!(
                "the watchdog of the required task {task}, {span} s, is not below half of the \
                 service manager's, which may act before the task's own remedy: set a shorter one"
            )));
        }
    }

    /// Only the first failure in a row is published.
    pub(super) fn note_failed(&mut self, error: io::Error) -> Option<io::Error> {
        (!std::mem::replace(&mut self.failing, true)).then_some(error)
    }

    /// The supervisor has ended, and nothing of it is stuck.
    pub(super) fn release(&mut self) {
        self.add(Chore::Release);
    }

    fn add(&mut self, chore: Chore) {
        if self.chores.add(chore) {
            self.due_chores = Some(Arc::clone(&self.chores));
        }
    }

    /// The chores, if a worker must be sent for them.
    pub(super) fn take_chores(&mut self) -> Option<Arc<Chores>> {
        self.due_chores.take()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_comes_too_soon_is_made_in_time_whatever_is_said_meanwhile() {
        let name = format!("@threadvisor-status-{}", std::process::id());
        let socket = NotifySocket::open(name.as_ref()).unwrap();
        let watchdog = Some(Duration::from_secs(60));
        let setup = ServiceSetup { socket: Some(socket), watchdog, ..ServiceSetup::default() };
        let mut service = Service::new(setup).unwrap();
        let facts = |status| Facts { ready: true, start_bound: None, sick: None, status };
        let at = |millis| RealTime::ZERO.after(Duration::from_millis(millis));

        let _ = service.speak(at(1000), &facts(&|| "1 task".to_owned()));
        assert!(service.deadline() > at(20_000), "nothing is to be said but a sign of life");
        service.touch();
        let _ = service.speak(at(1500), &facts(&|| "2 tasks".to_owned()));
        assert_eq!(service.deadline(), at(2000));
        let _ = service.speak(at(2000), &facts(&|| "2 tasks".to_owned()));
        assert!(service.deadline() > at(20_000));
    }
}
