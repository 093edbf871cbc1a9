//! Files and devices that say whether the service is ready, and that it lives.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;

use super::{Place, MS};
use crate::support::{in_time, next, on_thread, resident, Gate, Rig};

fn start(service: ServiceManager) -> Result<Supervisor, StartError> {
    Supervisor::builder().service_manager(service).start()
}

#[test]
fn a_ready_file_is_there_while_the_service_is_ready() {
    let place = Place::new();
    fs::write(&place.0, "left behind by an earlier life").unwrap();
    let supervisor = start(ServiceManager::default().ready_file(&place.0)).unwrap();
    assert!(!place.0.exists());
    supervisor.handle().add(resident("a").required()).unwrap();
    supervisor.handle().announce_ready();
    let pid = format!("{}\n", std::process::id());
    while fs::read_to_string(&place.0).ok().as_ref() != Some(&pid) {}
    let _ = supervisor.shutdown().unwrap();
    assert!(!place.0.exists());
}

#[test]
fn a_file_that_cannot_be_there_is_an_error_of_the_start() {
    let missing = Place::new();
    let inside = missing.0.join("ready");
    for service in [
        ServiceManager::default().ready_file(&inside),
        ServiceManager::default().ready_file(std::env::temp_dir()),
        ServiceManager::default().ready_fd(&inside),
        ServiceManager::default().ready_fd("/dev/fd/9999"),
    ] {
        let error = start(service).unwrap_err();
        assert!(matches!(error, StartError::ServiceManager { .. }), "{error}");
        assert!(error.to_string().starts_with("service_manager cannot use /"), "{error}");
    }
    let no_time = ServiceManager::default().hardware_watchdog("/dev/watchdog", Duration::ZERO);
    let error = start(no_time).unwrap_err().to_string();
    assert!(error.starts_with("hardware_watchdog cannot be 0ns: "), "{error}");
}

/// A program that reads from its standard input what the service writes.
#[test]
fn a_descriptor_gets_one_newline_when_the_service_is_ready() {
    let mut reader = Command::new("cat");
    let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, output) = (reader.stdin.take().unwrap(), reader.stdout.take().unwrap());
    let path = format!("/dev/fd/{}", stdin.as_raw_fd());
    let supervisor = start(ServiceManager::default().ready_fd(path)).unwrap();
    // As if the supervisor's own descriptor were the only one.
    drop(stdin);
    supervisor.handle().announce_ready();
    // It ends once the descriptor is closed, and not with the supervisor.
    let read = in_time(move || {
        let mut read = String::new();
        BufReader::new(output).read_to_string(&mut read).unwrap();
        read
    });
    assert_eq!(read, "\n");
    assert!(reader.wait().unwrap().success());
    drop(supervisor);
}

#[test]
fn a_failure_to_write_a_file_is_published() {
    let place = Place::new();
    fs::create_dir(&place.0).unwrap();
    let file = place.0.join("ready");
    let service = ServiceManager::default().ready_file(&file);
    let rig = Rig::start(Supervisor::builder().service_manager(service));
    fs::remove_dir(&place.0).unwrap();
    rig.handle.announce_ready();
    let EventKind::NotifyFailed { error } = rig.until_label("notify_failed").kind else {
        unreachable!()
    };
    assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
}

/// A pipe in place of the device.
fn device() -> Place {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(&place.0).status().unwrap().success());
    place
}

#[test]
fn the_hardware_is_petted_while_the_service_is_well_and_let_go_at_the_end() {
    let place = device();
    let service = ServiceManager::default().hardware_watchdog(&place.0, 5 * MS);
    let supervisor = start(service).unwrap();
    let handle = supervisor.handle();
    let gps = handle.add(resident("gps").required()).unwrap();
    // Until the service is ready nobody opens the device, so this waits.
    let path = place.0.clone();
    let opened = on_thread(move || BufReader::new(File::open(path).unwrap()));
    gps.wait_started().unwrap();
    handle.announce_ready();
    let mut device = next(&opened);
    for _ in 0..3 {
        let mut line = String::new();
        device.read_line(&mut line).unwrap();
        assert_eq!(line, "\n");
    }
    let rest = on_thread(move || {
        let mut rest = String::new();
        device.read_to_string(&mut rest).unwrap();
        rest
    });
    let _ = supervisor.shutdown().unwrap();
    let rest = next(&rest);
    assert_eq!(rest.trim_start_matches('\n'), "V");
}

#[test]
fn the_hardware_is_not_let_go_while_a_body_is_stuck() {
    let place = device();
    let service = ServiceManager::default().hardware_watchdog(&place.0, 5 * MS);
    let builder = Supervisor::builder().grace(MS).service_manager(service);
    let supervisor = builder.start().unwrap();
    let gate = Gate::new();
    supervisor.handle().add(TaskSpec::new("stuck", gate.body())).unwrap();
    gate.wait_entered();
    let path = place.0.clone();
    let (petted, is_petted) = unbounded();
    let rest = on_thread(move || {
        let (mut device, mut rest) = (File::open(path).unwrap(), String::new());
        device.read_exact(&mut [0]).unwrap();
        petted.send(()).unwrap();
        device.read_to_string(&mut rest).unwrap();
        rest
    });
    supervisor.handle().announce_ready();
    next(&is_petted);
    let report = supervisor.shutdown().unwrap();
    assert_eq!(report.shutdown.abandoned.len(), 1);
    assert_eq!(next(&rest).trim_matches('\n'), "");
}
