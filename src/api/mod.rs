//! The types that users hold: the supervisor, its builder, the handles to the supervisor, to a
//! group and to one task, the spec of a group, and the output of a task.
//!
//! Each module uses only those listed below it.

mod signals;
mod classes;
mod builder_threads;
mod find;
#[cfg(all(unix, feature = "process"))]
mod task_process;

pub(crate) mod builder;

pub(crate) mod supervisor;

pub(crate) mod manual_clock;
pub(crate) mod service_manager;
pub(crate) mod subscribe;
pub(crate) mod supervisor_handle;

pub(crate) mod group_handle;
pub(crate) mod group_spec;
pub(crate) mod refused;
pub(crate) mod task_output;

pub(crate) mod task_handle;
