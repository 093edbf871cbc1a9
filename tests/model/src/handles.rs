//! Of the crate's `api`, what needs no threads behind it.

#[path = "../../../src/api/group_handle.rs"]
pub(crate) mod group_handle;
#[path = "../../../src/api/group_spec.rs"]
pub(crate) mod group_spec;
#[path = "../../../src/api/refused.rs"]
pub(crate) mod refused;
#[path = "../../../src/api/supervisor_handle.rs"]
pub(crate) mod supervisor_handle;
#[path = "../../../src/api/task_handle.rs"]
pub(crate) mod task_handle;
#[path = "../../../src/api/task_output.rs"]
pub(crate) mod task_output;
