//! A user's value that says when it is dropped.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::platform::sync::thread::{self, ThreadId};
use crate::task::body::Body;

/// Says when it is dropped, which must not be by the controller.
#[derive(Debug)]
pub(super) struct Device {
    gone: Arc<AtomicBool>,
    controller: ThreadId,
}

impl Drop for Device {
    fn drop(&mut self) {
        thread::yield_now();
        assert_ne!(thread::current().id(), self.controller, "dropped by the controller");
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device")
    }
}

impl std::error::Error for Device {}

pub(super) fn device() -> (Device, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    (Device { gone: Arc::clone(&gone), controller: thread::current().id() }, gone)
}

pub(super) fn body_with_device() -> (Body, Arc<AtomicBool>) {
    let (device, gone) = device();
    let body = Body::repeat(move |_| {
        let _ = &device;
        Ok(())
    });
    (body, gone)
}
