//! The types that users hold: the supervisor, its builder, and the handles to the supervisor and to
//! one task.
//!
//! Each module uses only those listed below it.

pub(crate) mod builder;

pub(crate) mod supervisor;

pub(crate) mod manual_clock;
pub(crate) mod supervisor_handle;

pub(crate) mod refused;
pub(crate) mod task_handle;
