//! What the standard library and the kernel provide: locks, threads, time, panics. Each is used in
//! one place only.
//!
//! Each module uses only those listed below it.

pub(crate) mod model_clock;

pub(crate) mod bell;
pub(crate) mod linger;
pub(crate) mod manual;

pub(crate) mod stall;

#[cfg(all(unix, feature = "process"))]
pub(crate) mod children;
#[cfg(all(unix, feature = "process"))]
pub(crate) mod wait_fd;

pub(crate) mod clock;
pub(crate) mod notify;
pub(crate) mod threads;

pub(crate) mod user_value;

pub(crate) mod unwind;

pub(crate) mod chain;

pub(crate) mod sync;
#[cfg(unix)]
pub(crate) mod wake_fd;
