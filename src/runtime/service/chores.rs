//! What is done for a service manager on a worker, because it may block: files and devices.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::platform::chain::chain;
use crate::platform::sync::Mutex;
use crate::platform::unwind;

/// Files and devices, and what is still to be done with them. One worker at a time does it.
pub(in crate::runtime) struct Chores {
    state: Mutex<State>,
    /// Locked by the worker alone.
    files: Mutex<Files>,
    /// How one is done. Here, so that a program without a service manager does not contain it.
    serve: fn(&mut Files, Chore, &mut dyn FnMut(io::Error)),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chore>,
    at_work: bool,
}

#[derive(Default)]
pub(super) struct Files {
    /// Where a newline says that the service is ready.
    pub(super) ready_fd: Option<File>,
    /// The file that exists while the service is ready.
    pub(super) ready_file: Option<PathBuf>,
    pub(super) watchdog: Option<PathBuf>,
    /// The watchdog, once it is open.
    pub(super) device: Option<File>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Say that the service is ready.
    Ready,
    /// The service stops.
    Stopping,
    /// Pet the watchdog of the hardware.
    Pet,
    /// Let go of that watchdog, so that it does not bite.
    Release,
    /// Log this: a logger is user code.
    Warn(String),
}

impl Chores {
    pub(super) fn new(files: Files) -> Self {
        let state = Mutex::new(State::default());
        Self { state, files: Mutex::new(files), serve: Files::serve }
    }

    /// True if a worker must be sent for it.
    pub(super) fn add(&self, chore: Chore) -> bool {
        let mut state = self.state.lock();
        // While the device blocks, signs of life must not pile up.
        if chore != Chore::Pet || !state.waiting.contains(&Chore::Pet) {
            state.waiting.push_back(chore);
        }
        !std::mem::replace(&mut state.at_work, true)
    }

    /// Does what waits. Called by a worker.
    pub(in crate::runtime) fn work_off(&self, mut failed: impl FnMut(io::Error)) {
        while let Some(chore) = self.next() {
            (self.serve)(&mut self.files.lock(), chore, &mut failed);
        }
    }

    fn next(&self) -> Option<Chore> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        state.at_work = next.is_some();
        next
    }
}

impl Files {
    fn serve(&mut self, chore: Chore, failed: &mut dyn FnMut(io::Error)) {
        match chore {
            Chore::Ready => {
                if let Some(mut fd) = self.ready_fd.take() {
                    fd.write_all(b"\n").unwrap_or_else(|error| failed(named("ready_fd", &error)));
                }
                if let Some(path) = &self.ready_file {
                    let written = fs::write(path, format!("{}\n", std::process::id()));
                    written.unwrap_or_else(|error| failed(named(path.display(), &error)));
                }
            }
            Chore::Stopping => {
                if let Some(path) = self.ready_file.take() {
                    let removed = remove(&path);
                    removed.unwrap_or_else(|error| failed(named(path.display(), &error)));
                }
            }
            Chore::Pet => {
                let Some(path) = &self.watchdog else { return };
                let open = |path| OpenOptions::new().write(true).open(path);
                let pet = |device: Option<File>| -> io::Result<File> {
                    let mut device = device.map_or_else(|| open(path), Ok)?;
                    device.write_all(b"\n")?;
                    Ok(device)
                };
                match pet(self.device.take()) {
                    Ok(device) => self.device = Some(device),
                    Err(error) => failed(named(path.display(), &error)),
                }
            }
            Chore::Warn(text) => {
                let _ = unwind::catch(|| log::warn!(target: "threadvisor", "{text}"));
            }
            Chore::Release => {
                if let (Some(mut device), Some(path)) = (self.device.take(), &self.watchdog) {
                    // The drivers take this as the last word; without it they bite after a close.
                    let released = device.write_all(b"V");
                    released.unwrap_or_else(|error| failed(named(path.display(), &error)));
                }
            }
        }
    }
}

/// Removes a file that need not be there.
pub(super) fn remove(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn named(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {}", chain(error)))
}
