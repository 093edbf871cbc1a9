//! A process that not even SIGKILL ends, because it waits in the kernel: for a file system whose
//! program does not answer.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;
use threadvisor::Signal;

use super::{heard, is_alive, sh, state_of, until_so, MS};
use crate::service::Place;
use crate::support::{next, on_thread, outcome_of};

/// A file system, and this end of it.
struct Mount {
    device: Option<File>,
    place: Place,
}

impl Mount {
    /// An error where that is not allowed.
    fn new() -> std::io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let place = Place::new();
        fs::create_dir(&place.0)?;
        let mount = Self { device: Some(device.try_clone()?), place };
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        let mut command = Command::new("mount");
        command.args(["-i", "-t", "fuse", "-o", options, "threadvisor"]).arg(&mount.place.0);
        let output = command.stdin(device.try_clone()?).output()?;
        if !output.status.success() {
            return Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr)));
        }
        mount.agree();
        Ok(mount)
    }

    /// Answers the first request, which is about the version.
    fn agree(&self) {
        let request = read_from(self.device.as_ref().unwrap());
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        // The length, no error, whose answer it is; then the version, and how much is written.
        let header = [80, 0, word(8), word(12)];
        let answer = [7, word(44), 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let words = header.iter().chain(&answer);
        let bytes: Vec<u8> = words.flat_map(|word: &u32| word.to_ne_bytes()).collect();
        self.device.as_ref().unwrap().write_all(&bytes).unwrap();
    }

    /// Waits until a process asks for something.
    fn wait_asked_by(&self, pid: &str) {
        let (device, pid) = (self.device.as_ref().unwrap().try_clone().unwrap(), pid.to_owned());
        next(&on_thread(move || {
            let asks = || u32::from_ne_bytes(read_from(&device)[32..36].try_into().unwrap());
            while asks().to_string() != pid {}
        }));
    }

    fn answer_nobody(&mut self) {
        self.device = None;
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.answer_nobody();
        let _ = Command::new("umount").arg("-l").arg(&self.place.0).output();
        let _ = fs::remove_dir(&self.place.0);
    }
}

fn read_from(mut device: &File) -> Vec<u8> {
    let mut request = vec![0; 16 * 1024];
    let length = device.read(&mut request).unwrap();
    request.truncate(length);
    request
}

#[test]
fn a_process_that_the_kernel_holds_is_abandoned_and_reaped_when_it_ends() {
    let mut mount = match Mount::new() {
        Ok(mount) => mount,
        Err(error) => return println!("NOT RUN: no file system can be mounted: {error}"),
    };
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().on_event(move |event| {
        let _ = tell.send(event.kind.clone());
    });
    let supervisor = builder.start().unwrap();
    let file: PathBuf = mount.place.0.join("file");
    let (program, lines) =
        heard(sh(&format!("trap '' TERM; echo $$; exec cat {}", file.display())));
    let spec = TaskSpec::process("held", program.stop_timeout(20 * MS)).grace(200 * MS);
    let task = supervisor.handle().add(spec).unwrap();
    let pid = next(&lines);
    mount.wait_asked_by(&pid);

    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }));
    until_so(|| state_of(&pid) == Some('D'));
    let snapshot = supervisor.handle().snapshot().unwrap();
    let [stuck] = &*snapshot.abandoned else { panic!("{snapshot:?}") };
    assert_eq!(stuck.task.name.as_ref(), "held");
    supervisor.handle().flush_events().unwrap();
    let before: Vec<_> = told.try_iter().collect();
    let killed = |kinds: &[EventKind]| {
        let killed = |kind: &&EventKind| matches!(kind, EventKind::ProcessKilled { .. });
        kinds.iter().filter(killed).count()
    };
    assert_eq!(killed(&before), 1, "{before:?}");
    assert!(is_alive(&pid) && !before.iter().any(|kind| kind.label() == "process_exited"));

    mount.answer_nobody();
    let mut rest = vec![next(&told)];
    while rest.last().unwrap().label() != "attempt_returned" {
        rest.push(next(&told));
    }
    assert_eq!(killed(&rest), 0, "{rest:?}");
    let exits = |kind: &EventKind| match kind {
        EventKind::ProcessExited { pid: own, signal, .. } => {
            own.to_string() == pid && *signal == Some(Signal::KILL)
        }
        _ => false,
    };
    assert!(rest.iter().any(exits), "{rest:?}");
    assert_eq!(state_of(&pid), None, "it is reaped");
    assert!(supervisor.handle().snapshot().unwrap().abandoned.is_empty());
}
