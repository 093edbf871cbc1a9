//! Processes as tasks: a body that starts a program, waits for it, stops it and judges its end.
//!
//! Each module uses only those listed below it.

pub(crate) mod program;

pub(crate) mod run;

pub(crate) mod output;

pub(crate) mod settings;

pub(crate) mod exit;
#[cfg(target_os = "linux")]
pub(crate) mod notify;
pub(crate) mod ready;
pub(crate) mod start;

pub(crate) mod group;
pub(crate) mod lines;
