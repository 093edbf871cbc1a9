//! Threadvisor.
#![allow(dead_code, unused_imports)]
extern crate alloc;
mod backoff;
mod id;
mod machine;
mod policy;
mod reason;
mod time;
pub use backoff::*;
pub use id::TaskId;
pub use policy::*;
pub use reason::*;
