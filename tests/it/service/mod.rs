//! What a service manager hears, at its socket. What is said and when is checked without threads,
//! moment by moment, in `src/runtime/service/state_tests.rs`.
#![cfg(unix)]

mod files;
mod pages;
mod ready;
mod well;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use threadvisor::crossbeam_channel::{after, unbounded};
use threadvisor::prelude::*;

use crate::program::{is_child, say, say_warnings, Program};
use crate::support::{no_op, outcome_of, resident, Gate, Puppet, Rig, WATCHDOG};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// A place in the file system that no other test has, and that is gone afterwards.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static LATEST: AtomicU32 = AtomicU32::new(0);
        let number = LATEST.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadvisor-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A service manager: its end of the socket.
struct Manager {
    place: Place,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let place = Place::new();
        let socket = UnixDatagram::bind(&place.0).unwrap();
        Self { place, socket }
    }

    fn service(&self, watchdog: Option<Duration>) -> ServiceManager {
        ServiceManager::socket(&self.place.0, watchdog)
    }

    /// The next message, which must come.
    #[track_caller]
    fn next(&self) -> String {
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        self.read().expect("nothing was said")
    }

    /// What has been said by now.
    fn so_far(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| self.read()).collect()
    }

    /// What of that is no status, which a slow machine may have a reason to change.
    fn acts(&self) -> Vec<String> {
        let mut said = self.so_far();
        said.retain(|text| !text.starts_with("STATUS="));
        said
    }

    fn read(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer).map_err(|error| error.kind()) {
                Ok(length) => return Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                // Other tests of this process send it signals.
                Err(ErrorKind::Interrupted) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Everything up to the message that begins so.
    #[track_caller]
    fn until(&self, start: &str) -> Vec<String> {
        let mut said = vec![self.next()];
        while !said.last().unwrap().starts_with(start) {
            said.push(self.next());
        }
        said
    }
}

#[test]
fn a_service_is_ready_once_its_last_required_task_is() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let (say, may_say) = unbounded::<()>();
    let gps = TaskSpec::new("gps", move |ctx| {
        let _ = may_say.recv();
        ctx.ready();
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let gps = handle.add(gps.ready_within(LONG).required()).unwrap();
    handle.add(resident("modem").required()).unwrap().wait_started().unwrap();
    handle.announce_ready();
    gps.wait_started().unwrap();
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().is_empty());
    drop(say);
    assert_eq!(manager.next(), "READY=1\nSTATUS=2 tasks");
    // It was ready before, and is so again.
    assert!(gps.restart());
    drop(supervisor);
    let said = manager.so_far();
    assert!(said.iter().all(|text| !text.contains("READY")), "{said:?}");
}

#[test]
fn a_service_is_ready_once_all_of_a_required_group_is() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let (say, may_say) = unbounded::<()>();
    let last = TaskSpec::new("last", move |ctx| {
        let _ = may_say.recv();
        ctx.ready();
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let group = GroupSpec::new("line").then(resident("first")).then(last.ready_within(LONG));
    let group = handle.add_group(group.required()).unwrap();
    handle.announce_ready();
    let last = &group.members()[1];
    last.wait_started().unwrap();
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().is_empty());
    drop(say);
    assert_eq!(manager.next(), "READY=1\nSTATUS=2 tasks");
}

/// Nobody looks at it: its own setting would have to ask for that.
#[test]
fn a_task_without_a_watchdog_that_hangs_stops_no_sign() {
    let manager = Manager::new();
    let service = manager.service(Some(20 * MS));
    let supervisor = Supervisor::builder().service_manager(service).grace(MS).start().unwrap();
    let gate = Gate::new();
    supervisor.handle().add(TaskSpec::new("hangs", gate.body()).required()).unwrap();
    gate.wait_entered();
    supervisor.handle().announce_ready();
    assert!(manager.next().starts_with("READY=1"));
    for _ in 0..3 {
        let _ = manager.until("WATCHDOG=1");
    }
}

#[test]
fn a_service_that_misses_a_task_for_good_is_not_ready() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let gps = || TaskSpec::once("gps", |_| Err("no such device")?).required();
    let _ = outcome_of(&handle.add(gps()).unwrap());
    handle.announce_ready();
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().is_empty());
}

#[test]
fn what_was_refused_is_not_waited_for() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    handle.add(resident("gps").required()).unwrap();
    let second = || resident("gps").required();
    assert!(handle.add(second()).is_err());
    let policy = AdmissionPolicy::DropIfRunning;
    let _ = outcome_of(&handle.submit(second(), policy).unwrap());
    assert!(handle.add_all([resident("modem").required(), second()]).is_err());
    handle.announce_ready();
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 task");
    assert!(handle.snapshot().unwrap().is_well());
}

#[test]
fn a_service_without_required_tasks_is_ready_once_the_program_says_so() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    supervisor.handle().add(resident("a")).unwrap().wait_started().unwrap();
    assert!(manager.so_far().is_empty());
    supervisor.handle().announce_ready();
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 task");
}

#[test]
fn a_run_announces_and_a_shutdown_is_told_with_the_time_it_needs() {
    for tasks in [0, 1] {
        let manager = Manager::new();
        let builder = Supervisor::builder().grace(Duration::from_secs(2));
        let supervisor = builder.service_manager(manager.service(None)).start().unwrap();
        let specs = (0..tasks).map(|_| no_op("a").required());
        let _ = supervisor.run(specs).unwrap();
        let said = manager.acts();
        assert!(said[0].starts_with("READY=1\nSTATUS="), "{said:?}");
        // The grace, the event flush and a second.
        assert_eq!(said[1..], ["STOPPING=1\nEXTEND_TIMEOUT_USEC=3250000"]);
    }
}

#[test]
fn the_service_manager_hears_of_the_end_before_any_body_does() {
    for drains in [false, true] {
        let manager = Manager::new();
        let builder = Supervisor::builder().grace(None);
        let supervisor = builder.service_manager(manager.service(None)).start().unwrap();
        let (spec, puppet) = Puppet::new("told");
        supervisor.handle().add(spec.stop_at_drain()).unwrap();
        puppet.started();
        if drains {
            supervisor.handle().request_drain(LONG);
        } else {
            supervisor.handle().request_shutdown();
        }
        puppet.told();
        // What is endless is a day.
        assert_eq!(manager.acts(), ["STOPPING=1\nEXTEND_TIMEOUT_USEC=86400000000"]);
        drop(puppet);
        let _ = supervisor.shutdown().unwrap();
        assert!(manager.so_far().iter().all(|text| !text.contains("STOPPING")));
    }
}

#[test]
fn a_drain_is_told_with_the_time_that_it_may_take() {
    let manager = Manager::new();
    let builder = Supervisor::builder().grace(Duration::from_secs(2));
    let supervisor = builder.service_manager(manager.service(None)).start().unwrap();
    supervisor.handle().add(resident("a").stop_at_drain()).unwrap();
    let limit = 1000 * Duration::from_secs(1);
    let _ = supervisor.drain(limit).unwrap();
    let said = manager.until("STOPPING=1");
    let span = said.last().unwrap().strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=").unwrap();
    // The limit, the grace, the event flush and a second, but for the moment that has passed.
    let span = Duration::from_micros(span.parse().unwrap());
    assert!(span > limit && span <= limit + 3250 * MS, "{span:?}");
}

#[test]
fn signs_of_life_come_while_the_service_is_well() {
    let manager = Manager::new();
    let service = manager.service(Some(20 * MS));
    let supervisor = Supervisor::builder().service_manager(service).start().unwrap();
    supervisor.handle().announce_ready();
    assert!(manager.next().starts_with("READY=1"));
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
}

#[test]
fn a_silent_task_stops_the_signs_until_an_attempt_shows_life() {
    let manager = Manager::new();
    let rig = Rig::start(Supervisor::builder().service_manager(manager.service(Some(40 * MS))));
    let (go_on, wait) = unbounded::<()>();
    let spec = TaskSpec::new("gps", move |ctx| {
        ctx.ready();
        let _ = wait.recv();
        while ctx.sleep(MS).is_ok() {
            ctx.heartbeat();
        }
        Ok(())
    });
    let gps = rig.handle.add(spec.watchdog(20 * MS).required()).unwrap();
    rig.handle.announce_ready();
    let sick = rig.until_label("service_sick");
    assert!(matches!(&sick.kind, EventKind::ServiceSick { tasks } if tasks[0].id == gps.id()));
    assert_eq!(sick.kind.to_string(), "service_sick tasks=gps#1");
    assert!(!rig.handle.snapshot().unwrap().is_well());
    // What was said before stands before this.
    let _reload = rig.handle.begin_reload();
    let _ = manager.until("RELOADING=1");
    let _ = after(100 * MS).recv();
    let said = manager.so_far();
    assert!(!said.contains(&"WATCHDOG=1".to_owned()), "{said:?}");
    drop(go_on);
    let _ = manager.until("WATCHDOG=1");
    assert_eq!(rig.until_label("service_well").kind.to_string(), "service_well");
    assert!(rig.handle.snapshot().unwrap().is_well());
}

#[test]
fn a_status_has_the_text_of_the_program_and_what_is_wrong() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let fails = TaskSpec::new("mo\ndem", |_| Err("no carrier")?);
    let fails = fails.backoff(BackoffPolicy::constant(LONG));
    let modem = handle.add(fails.required()).unwrap();
    handle.add(resident("gps").required()).unwrap().wait_started().unwrap();
    while handle.snapshot().unwrap().task(modem.id()).unwrap().failures == 0 {}
    handle.announce_ready();
    handle.set_status("port 80");
    // A required task that has failed is not ready.
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().is_empty());
    // What was cancelled is no longer waited for.
    modem.cancel();
    let _ = outcome_of(&modem);
    assert_eq!(manager.next(), "READY=1\nSTATUS=port 80; 1 task");
    let again = TaskSpec::new("mo\ndem", |_| Err("no carrier")?);
    let again = again.backoff(BackoffPolicy::constant(LONG));
    handle.add(again).unwrap();
    let _ = manager.until(r"STATUS=port 80; 2 tasks, 1 failing (mo\ndem, 1 failure)");
    handle.set_status("");
    let _ = manager.until(r"STATUS=2 tasks, 1 failing (mo\ndem, 1 failure)");
}

#[test]
fn ready_arrives_once_a_full_queue_has_room_and_before_the_end() {
    let manager = Manager::new();
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.set_nonblocking(true).unwrap();
    while stranger.send_to(b"junk", &manager.place.0).is_ok() {}
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    supervisor.handle().announce_ready();
    let _ = supervisor.handle().snapshot().unwrap();
    let (spec, puppet) = Puppet::new("stays");
    supervisor.handle().add(spec).unwrap();
    puppet.started();
    supervisor.handle().request_shutdown();
    puppet.told();
    let said = manager.until("STOPPING=1");
    let own: Vec<_> = said.iter().filter(|text| *text != "junk").collect();
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own[0].starts_with("READY=1"));
}

#[test]
fn a_receiver_that_comes_late_or_anew_gets_the_next_message() {
    let mut manager = Manager::new();
    fs::remove_file(&manager.place.0).unwrap();
    let rig = Rig::start(Supervisor::builder().service_manager(manager.service(Some(40 * MS))));
    rig.handle.announce_ready();
    let failed = rig.until_label("notify_failed");
    let EventKind::NotifyFailed { error } = failed.kind else { unreachable!() };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for first in ["READY=1", "WATCHDOG=1"] {
        let _ = fs::remove_file(&manager.place.0);
        manager.socket = UnixDatagram::bind(&manager.place.0).unwrap();
        assert!(manager.next().starts_with(first));
    }
    // Of the many messages that nobody got, the first of each row is told of.
    let told = rig.events().into_iter().filter(|it| it.kind.label() == "notify_failed").count();
    assert!(told <= 2, "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_without_a_file_is_heard_too() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("threadvisor-{}-abstract", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let manager = Manager { place: Place::new(), socket };
    let service = ServiceManager::socket(format!("@{name}"), None);
    let supervisor = Supervisor::builder().service_manager(service).start().unwrap();
    supervisor.handle().announce_ready();
    assert!(manager.next().starts_with("READY=1"));
}

#[test]
fn an_address_that_cannot_be_one_is_an_error_of_the_start() {
    let long = format!("/tmp/{}", "n".repeat(108));
    for address in ["vsock:2:1234", "relative", "", "@", long.as_str()] {
        let service = ServiceManager::socket(address, None);
        let error = Supervisor::builder().service_manager(service).start().unwrap_err();
        assert!(matches!(error, StartError::Invalid(_)), "{error}");
        assert!(error.to_string().starts_with("service_manager cannot be "), "{error}");
    }
}

/// A program that asks for what the environment says.
#[test]
fn the_environment_is_read_and_what_means_nothing_is_ignored() {
    const NAME: &str = "service::the_environment_is_read_and_what_means_nothing_is_ignored";
    if is_child() {
        say_warnings();
        let service = ServiceManager::from_env();
        let supervisor = Supervisor::builder().service_manager(service).start().unwrap();
        assert_eq!(supervisor.run([no_op("a").required()]).unwrap().outcomes.completed, 1);
        say("done");
        return;
    }
    let manager = Manager::new();
    let long = format!("/tmp/{}", "n".repeat(108));
    for (address, why) in [
        (manager.place.0.to_str().unwrap(), None),
        ("vsock:2:1234", Some("neither a path nor an abstract name")),
        (long.as_str(), Some("path must be shorter than SUN_LEN")),
    ] {
        let before = ["env", &format!("NOTIFY_SOCKET={address}"), "WATCHDOG_USEC=soon"];
        let program = Program::start(NAME, &before);
        let said = program.until("done");
        assert!(program.status().success());
        let mut warnings =
            vec!["WATCHDOG_USEC=soon is ignored: it is not a number; correct it, or unset it"
                .to_owned()];
        warnings.extend(why.map(|why| format!("NOTIFY_SOCKET={address} is ignored: {why}")));
        let said: Vec<_> = said.into_iter().filter(|line| line.contains(" is ignored: ")).collect();
        assert_eq!(said, warnings);
        let acts = manager.acts();
        let starts: Vec<_> = acts.iter().map(|text| text.split('\n').next().unwrap()).collect();
        let expected: &[_] = if why.is_none() { &["READY=1", "STOPPING=1"] } else { &[] };
        assert_eq!(starts, expected);
    }
}

#[test]
fn a_supervisor_inside_another_does_not_speak_for_it() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let inner = TaskSpec::once("inner", |_| {
        let inner = Supervisor::builder().start()?;
        inner.run([no_op("a").required()])?;
        Ok(())
    });
    let _ = supervisor.run([inner]).unwrap();
    let said = manager.so_far();
    assert_eq!(said.iter().filter(|text| text.starts_with("STOPPING")).count(), 1, "{said:?}");
}

#[test]
fn a_supervisor_that_cannot_start_says_nothing() {
    let manager = Manager::new();
    let builder = Supervisor::builder().service_manager(manager.service(None)).prespawn(1);
    let error = builder.on_thread_start(|| Err(std::io::Error::other("no"))).start().unwrap_err();
    assert!(matches!(error, StartError::Thread { .. }), "{error}");
    assert!(manager.so_far().is_empty());
}

#[test]
fn a_reload_is_told_at_once_and_ends_with_its_guard() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    handle.announce_ready();
    let _ = manager.next();
    let (first, second) = (handle.begin_reload(), handle.begin_reload());
    let told = manager.next();
    #[cfg(any(feature = "poll", feature = "process"))]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let told = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let told = Duration::from_micros(told.parse().unwrap());
        let now = Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap());
        assert!(told <= now && now.saturating_sub(told) < WATCHDOG, "{told:?} {now:?}");
    }
    #[cfg(not(any(feature = "poll", feature = "process")))]
    assert_eq!(told, "RELOADING=1");
    drop(first);
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().is_empty());
    drop(second);
    assert_eq!(manager.next(), "READY=1");
}
