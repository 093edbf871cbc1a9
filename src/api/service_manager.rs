//! [`ServiceManager`]: how the supervisor tells systemd, s6, scripts and the hardware's watchdog
//! what its required tasks really do.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::supervisor_handle::SupervisorHandle;
use crate::output::setting_errors::{InvalidSetting, StartError};
use crate::platform::notify::NotifySocket;
use crate::runtime::requests;
use crate::runtime::service::{remove_stale, ServiceSetup};
use crate::task::request::ServiceRequest;
use crate::vocabulary::escaped::Escaped;

/// Determines how a supervisor tells a service manager that the service is ready, alive, reloading
/// or stopping. Pass it to [`service_manager`](crate::SupervisorBuilder::service_manager). Unix
/// only: elsewhere, [`start`](crate::SupervisorBuilder::start) returns `Unsupported`.
///
/// The messages depend on the tasks that are [`required`](crate::TaskSpec::required): the service
/// is ready once all of them are ready, and it gives signs of life only while all of them are in
/// order ([`Snapshot::is_well`](crate::Snapshot::is_well)). Without a required task, the signs of
/// life only show that the controller runs. The guide page [services](crate::guide::services) says
/// what to write for systemd, procd, BusyBox init and s6.
///
/// ```
/// # use std::time::Duration;
/// # use threadvisor::prelude::*;
/// # if cfg!(not(unix)) { return Ok(()); }
/// let service = ServiceManager::from_env() // silent if nobody has asked
///     .sick_after(Duration::from_secs(60)); // for how long `gps` may fail again and again
/// let supervisor = Supervisor::builder().service_manager(service).start()?;
/// let gps = TaskSpec::once("gps", |ctx| {
///     ctx.ready(); // the service is ready once all required tasks have said so
///     Ok(())
/// })
/// .ready_within(Duration::from_secs(10))
/// .required();
/// let report = supervisor.run([gps])?;
/// assert_eq!(report.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing until passed to a builder"]
pub struct ServiceManager {
    address: Option<Address>,
    watchdog: Option<Duration>,
    sick_after: Option<Duration>,
    ready_fd: Option<PathBuf>,
    ready_file: Option<PathBuf>,
    hardware: Option<(PathBuf, Duration)>,
    /// The variables of the environment that could not be understood.
    ignored: Vec<String>,
}

#[derive(Clone, Debug)]
enum Address {
    /// Given by the environment, and perhaps meant for another program.
    Found(OsString),
    Given(OsString),
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, as systemd sets them for a
    /// service of `Type=notify` or `notify-reload`, and with `WatchdogSec=`. Without the first,
    /// nothing is sent. The environment stays as it is.
    ///
    /// A variable that cannot be understood is ignored, with a warning in the log at the start: an
    /// invalid number, or an address that is neither a path nor an abstract name.
    pub fn from_env() -> Self {
        Self::from_vars(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut this =
            Self { address: var("NOTIFY_SOCKET").map(Address::Found), ..Self::default() };
        let mut number = |name: &str| {
            let value = var(name)?;
            let number = value.to_str().and_then(|value| value.parse::<u64>().ok());
            if number.is_none() {
                let value = value.to_string_lossy();
                this.ignored.push(format!("{name}={}", Escaped(&value)));
            }
            Some(number)
        };
        // A variable that is garbage names no process, this one included.
        let is_ours =
            number("WATCHDOG_PID").map_or(true, |pid| pid == Some(std::process::id().into()));
        let period = number("WATCHDOG_USEC").flatten().filter(|period| *period > 0 && is_ours);
        this.watchdog = period.map(Duration::from_micros);
        this
    }

    /// Sends to this address, and gives two signs of life in each `watchdog` period: for tests, and
    /// for a program that has removed the variables. The address has the form of `NOTIFY_SOCKET`: a
    /// path that begins with `/`, or, on Linux, `@` and an abstract name.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # #[cfg(unix)] {
    /// # use std::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("threadvisor-doc-{}", std::process::id()));
    /// # let _ = std::fs::remove_file(&path);
    /// let receiver = UnixDatagram::bind(&path)?;
    /// let service = ServiceManager::socket(&path, Duration::from_secs(60));
    /// let supervisor = Supervisor::builder().service_manager(service).start()?;
    /// supervisor.handle().set_status("3 links");
    /// supervisor.handle().announce_ready(); // no task is required, so the service is ready
    /// let mut message = [0; 128];
    /// let length = receiver.recv(&mut message)?;
    /// assert!(message[..length].starts_with(b"READY=1\nSTATUS=3 links; "));
    /// # std::fs::remove_file(&path)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn socket(address: impl AsRef<OsStr>, watchdog: impl Into<Option<Duration>>) -> Self {
        let address = Some(Address::Given(address.as_ref().to_owned()));
        Self { address, watchdog: watchdog.into(), ..Self::default() }
    }

    /// Announces that the service is ready by writing a newline to this file, which is opened at
    /// the start: for s6 with a `notification-fd` of 3, `/dev/fd/3`. The supervisor then closes
    /// what it has opened; the descriptor 3 itself stays open. A file that exists works just as
    /// well: see the example of [`ready_file`](Self::ready_file). If the path cannot be opened,
    /// [`start`](crate::SupervisorBuilder::start) fails.
    pub fn ready_fd(mut self, path: impl Into<PathBuf>) -> Self {
        self.ready_fd = Some(path.into());
        self
    }

    /// Creates this file when the service is ready, with the process id in it: for scripts of procd
    /// or BusyBox. The file is removed when a drain or a shutdown begins. If the file exists at the
    /// start, it is removed then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # if cfg!(not(unix)) { return Ok(()); }
    /// # let path = std::env::temp_dir().join(format!("threadvisor-pid-{}", std::process::id()));
    /// let service = ServiceManager::default().ready_file(&path);
    /// let supervisor = Supervisor::builder().service_manager(service).start()?;
    /// let gps = TaskSpec::new("gps", |ctx| Ok(ctx.sleep(Duration::MAX)?)).required();
    /// supervisor.handle().add(gps)?;
    /// assert!(!path.exists());
    /// supervisor.handle().announce_ready(); // all required tasks are handed over
    /// while !path.exists() { std::thread::yield_now() } // a worker writes it
    /// supervisor.shutdown()?;
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ready_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ready_file = Some(path.into());
        self
    }

    /// Sets how long a required task may be down after its first failure before the service is
    /// sick: [`is_well`](crate::Snapshot::is_well) says what that means, and applies this span even
    /// if nobody is to be told anything. Default: the period of the service manager's watchdog, or
    /// 30 s if there is none.
    ///
    /// With a span of zero, a failure makes it sick unless the next attempt follows at once. An
    /// attempt that begins within the span puts this off until it ends. If attempts take long to
    /// fail, choose a span below the first delay of the backoff.
    ///
    /// With `Duration::MAX`, failures never make the service sick: only silence, an attempt that is
    /// abandoned under [`Hold`](crate::AbandonPolicy::Hold), and a required task that has failed
    /// for good do. It is still not ready before its required tasks are.
    ///
    /// Without a watchdog, nothing wakes the controller at the end of this span. Then the event
    /// `service_sick` comes with the next change that the controller hears of, at the latest with
    /// the next attempt of the task.
    pub fn sick_after(mut self, span: Duration) -> Self {
        self.sick_after = Some(span);
        self
    }

    /// Resets the timer of the hardware's watchdog, such as `/dev/watchdog`, once in each `period`:
    /// while the required tasks are in order, and from the beginning of a drain or a shutdown until
    /// the supervisor ends. `period` must be above zero, and at most half of the device's own
    /// timeout.
    ///
    /// The device is opened once the service is ready. From then on, the board is reset if the
    /// supervisor does not end in order. The device is disarmed only at the end, and only if
    /// nothing is stuck. If it cannot be opened or written to, the event `notify_failed` says so,
    /// and it is opened anew in the next period.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use threadvisor::prelude::*;
    /// # if cfg!(not(unix)) { return Ok(()); }
    /// # let device = std::env::temp_dir().join(format!("threadvisor-dog-{}", std::process::id()));
    /// # std::fs::write(&device, "")?; // in place of /dev/watchdog
    /// let service = ServiceManager::default().hardware_watchdog(&device, Duration::from_secs(10));
    /// let supervisor = Supervisor::builder().service_manager(service).start()?;
    /// let gps = TaskSpec::new("gps", |ctx| Ok(ctx.sleep(Duration::from_millis(50))?)).required();
    /// supervisor.run([gps])?;
    /// assert!(std::fs::read(&device)?.ends_with(b"V")); // disarmed, as all went well
    /// # std::fs::remove_file(&device)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hardware_watchdog(mut self, path: impl Into<PathBuf>, period: Duration) -> Self {
        self.hardware = Some((path.into(), period));
        self
    }

    /// How long a required task may be down.
    pub(super) fn may_be_down(&self) -> Duration {
        self.sick_after.or(self.watchdog).unwrap_or(SICK_AFTER)
    }

    /// Opens what is asked for.
    pub(super) fn open(self) -> Result<ServiceSetup, StartError> {
        if cfg!(not(unix)) {
            return Err(StartError::Unsupported("service_manager"));
        }
        for what in self.ignored {
            log::warn!(
                target: "threadvisor",
                "{what} is ignored: it is not a number; correct it, or unset it"
            );
        }
        let socket = match self.address {
            None => None,
            Some(Address::Found(address)) => NotifySocket::open(&address)
                .map_err(|error| {
                    let address = Escaped(address.to_string_lossy());
                    let what = format!("NOTIFY_SOCKET={address}");
                    log::warn!(target: "threadvisor", "{what} is ignored: {error}");
                })
                .ok(),
            Some(Address::Given(address)) => Some(NotifySocket::open(&address).map_err(|_| {
                let remedy = "give a path of at most 107 bytes that begins with `/`, or on Linux \
                              `@` and a name";
                InvalidSetting::new("service_manager", &address, remedy)
            })?),
        };

        let of = |path: &PathBuf| {
            let path = path.clone();
            move |source| StartError::ServiceManager { path, source }
        };
        let ready_fd = self
            .ready_fd
            .as_ref()
            .map(|path| OpenOptions::new().write(true).open(path).map_err(of(path)));
        if let Some(path) = &self.ready_file {
            remove_stale(path).map_err(of(path))?;
        }
        if let Some((_, Duration::ZERO)) = &self.hardware {
            let remedy = "give a span above zero, of at most half of the device's own timeout";
            return Err(InvalidSetting::new("hardware_watchdog", Duration::ZERO, remedy).into());
        }
        Ok(ServiceSetup {
            socket,
            watchdog: self.watchdog,
            ready_fd: ready_fd.transpose()?,
            ready_file: self.ready_file,
            hardware: self.hardware,
        })
    }
}

impl SupervisorHandle {
    /// Says that all required tasks have been handed over, so that the service is ready once they
    /// are ready. [`run`](crate::Supervisor::run), [`run_group`](crate::Supervisor::run_group) and
    /// [`wait_shutdown`](crate::Supervisor::wait_shutdown) do so themselves. Without a [service
    /// manager](crate::ServiceManager), this changes nothing. Returns immediately: a task that is
    /// handed over right after this call may be decided first, and the service is then ready once
    /// that task is, too. See the example of [`ready_file`](ServiceManager::ready_file).
    pub fn announce_ready(&self) {
        requests::service(&self.door, ServiceRequest::Announce);
    }

    /// Sets a text that `systemctl status` shows before the supervisor's own status; an empty text
    /// removes it. It is sent within a second, and not before the service is ready; of several
    /// texts within a second, only the last one is certain to be sent. Without a [service
    /// manager](crate::ServiceManager), this changes nothing. Returns immediately. See the example
    /// of [`socket`](ServiceManager::socket).
    pub fn set_status(&self, text: impl Into<String>) {
        requests::service(&self.door, ServiceRequest::Status(text.into()));
    }

    /// Tells the service manager that the service is reloading its configuration, until the guard
    /// is dropped, or the last of several guards. Before the service is ready, nothing is sent.
    /// Returns immediately.
    ///
    /// systemd's `Type=notify-reload` also wants to know when the reload began, by a clock that the
    /// standard library does not offer. That needs the feature `poll` or `process`.
    ///
    /// ```
    /// # use threadvisor::{prelude::*, Signal};
    /// # if cfg!(not(all(unix, feature = "signals"))) { return Ok(()); }
    /// let supervisor = Supervisor::builder()
    ///     .on_signal(Signal::HUP, |supervisor| {
    ///         let _reload = supervisor.begin_reload();
    ///         // read the configuration, and restart the tasks that it concerns
    ///     })
    ///     .start()?;
    /// assert!(supervisor.handle().snapshot()?.is_well());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_reload(&self) -> ReloadGuard {
        requests::service(&self.door, ServiceRequest::BeginReload);
        ReloadGuard(self.clone())
    }
}

/// Ends the reload of a service when dropped; returned from
/// [`SupervisorHandle::begin_reload`].
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let reload = supervisor.handle().begin_reload();
/// // read the configuration here
/// drop(reload); // the service is ready again
/// assert!(supervisor.handle().snapshot()?.is_well());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the reload ends when this is dropped"]
pub struct ReloadGuard(SupervisorHandle);

impl Drop for ReloadGuard {
    fn drop(&mut self) {
        requests::service(&self.0.door, ServiceRequest::EndReload);
    }
}

/// How long a required task may be down without a watchdog that says it.
pub(super) const SICK_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog_of(vars: &[(&str, &str)]) -> (Option<Duration>, usize) {
        let value = |name: &str| vars.iter().find(|(known, _)| *known == name);
        let service = ServiceManager::from_vars(|name| value(name).map(|(_, it)| it.into()));
        (service.watchdog, service.ignored.len())
    }

    #[test]
    fn the_period_counts_for_this_process_or_for_any() {
        let own = std::process::id().to_string();
        let period = ("WATCHDOG_USEC", "30000000");
        let half_a_minute = Some(Duration::from_secs(30));
        assert_eq!(watchdog_of(&[]), (None, 0));
        assert_eq!(watchdog_of(&[period]), (half_a_minute, 0));
        assert_eq!(watchdog_of(&[period, ("WATCHDOG_PID", &own)]), (half_a_minute, 0));
        assert_eq!(watchdog_of(&[period, ("WATCHDOG_PID", "1")]), (None, 0));
    }

    #[test]
    fn numbers_that_are_none_are_ignored_and_named() {
        for garbage in ["30s", "-1", "18446744073709551616", "1.5", " 7"] {
            assert_eq!(watchdog_of(&[("WATCHDOG_USEC", garbage)]), (None, 1), "{garbage}");
        }
        let usec = ("WATCHDOG_USEC", "5");
        assert_eq!(watchdog_of(&[usec, ("WATCHDOG_PID", "me")]), (None, 1));
        assert_eq!(watchdog_of(&[("WATCHDOG_USEC", "0")]), (None, 0));
        let most = Some(Duration::from_micros(u64::MAX));
        assert_eq!(watchdog_of(&[("WATCHDOG_USEC", "18446744073709551615")]), (most, 0));
    }
}
